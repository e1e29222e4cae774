//! Elastic Load Balancing: load balancers, target groups and the health of targets. They were made before Slipway came.
//!
//! Whoever plays the load balancer asks [`World::due_probes`] what to probe, and says what came of it; the thresholds and
//! states are judged here.
//!
//! | rule | source |
//! |---|---|
//! | a new target is `initial`; one passed check makes it healthy, as many failures as the threshold unhealthy | user guide, target-group-health-checks |
//! | a healthy or unhealthy one changes after as many in a row as the threshold | same |
//! | a group that no listener forwards to is not probed: `unused`, `Target.NotInUse` | same |
//! | one that is deregistered drains, then is gone | user guide, target groups |
//! | a group with unhealthy targets alone gets requests all the same | user guide, fail-open |
//! | whether it does | switch `sick-groups-get-nothing` says that it does not |

use std::net::Ipv4Addr;
use std::time::Duration;

use jiff::Timestamp;

use super::World;

mod describe;
mod served;
#[cfg(test)]
mod tests;

pub use served::Served;

/// A call.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the AWS operation of that name")]
pub enum Call {
    DescribeLoadBalancers { arns: Vec<String>, names: Vec<String> },
    DescribeTargetGroups { arns: Vec<String>, names: Vec<String>, balancer_arn: Option<String> },
    DescribeTargetHealth { group_arn: String, targets: Vec<(String, Option<u16>)> },
}

/// The answer to a [`Call`].
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the AWS answer of that name")]
pub enum Reply {
    LoadBalancers(Vec<Balancer>),
    TargetGroups(Vec<TargetGroup>),
    TargetHealth(Vec<Target>),
}

/// An application load balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct Balancer {
    pub arn: String,
    pub name: String,
    pub dns_name: String,
    pub zone_id: String,
    pub vpc_id: String,
    /// `provisioning`, `active`, `active_impaired` or `failed`.
    pub state: String,
    pub created: Timestamp,
    /// What its name resolves to.
    pub addresses: Vec<Ipv4Addr>,
    /// Where it forwards to.
    pub group_arns: Vec<String>,
    /// What it did since the last tick.
    pub(super) served: served::Tally,
}

/// A target group of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct TargetGroup {
    pub arn: String,
    pub name: String,
    pub port: u16,
    pub vpc_id: String,
    pub check: Check,
    /// The load balancers that forward to it.
    pub balancer_arns: Vec<String>,
    pub targets: Vec<Target>,
    /// Whose turn it is.
    turn: usize,
}

/// How a target group's targets are probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// `/healthz`
    pub path: String,
    /// As it is shown; how often it really is, [`super::Delays`] says.
    pub interval_seconds: u32,
    /// How long a target may take.
    pub timeout_seconds: u32,
    /// In a row.
    pub healthy_threshold: u32,
    /// In a row.
    pub unhealthy_threshold: u32,
}

impl Default for Check {
    fn default() -> Self {
        Self {
            path: "/healthz".to_owned(),
            interval_seconds: 5,
            timeout_seconds: 2,
            healthy_threshold: 2,
            unhealthy_threshold: 2,
        }
    }
}

/// A target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its address.
    pub address: Ipv4Addr,
    /// Where it listens.
    pub port: u16,
    /// How it is.
    pub health: Health,
    /// How often in a row a probe said the opposite of `health`.
    against: u32,
    next_probe: Timestamp,
}

/// The health of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Not judged yet.
    Initial,
    /// It gets requests.
    Healthy,
    /// It gets none, for this reason.
    Unhealthy(Failure),
    /// No listener forwards to its group.
    Unused,
    /// It was deregistered, and is gone then.
    Draining(Timestamp),
}

/// Why a probe failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No answer, or the connection was refused.
    Failed,
    /// Too late.
    Timeout,
    /// Another status than 200.
    Status(u16),
}

impl Health {
    /// The API's words: state, reason and description.
    pub fn words(self) -> (&'static str, Option<&'static str>, Option<String>) {
        let unhealthy = |reason, text: String| ("unhealthy", Some(reason), Some(text));
        match self {
            Self::Initial => (
                "initial",
                Some("Elb.InitialHealthChecking"),
                Some("Initial health checks in progress".to_owned()),
            ),
            Self::Healthy => ("healthy", None, None),
            Self::Unhealthy(Failure::Failed) => {
                unhealthy("Target.FailedHealthChecks", "Health checks failed".to_owned())
            }
            Self::Unhealthy(Failure::Timeout) => unhealthy("Target.Timeout", "Request timed out".to_owned()),
            Self::Unhealthy(Failure::Status(code)) => unhealthy(
                "Target.ResponseCodeMismatch",
                format!("Health checks failed with these codes: [{code}]"),
            ),
            Self::Unused => (
                "unused",
                Some("Target.NotInUse"),
                Some("Target group is not configured to receive traffic from the load balancer".to_owned()),
            ),
            Self::Draining(_) => (
                "draining",
                Some("Target.DeregistrationInProgress"),
                Some("Target deregistration is in progress".to_owned()),
            ),
        }
    }
}

/// A probe that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Of which group.
    pub group_arn: String,
    /// Which target.
    pub address: Ipv4Addr,
    /// Where it listens.
    pub port: u16,
    /// What to ask for.
    pub path: String,
    /// How long it may take.
    pub timeout: Duration,
}

/// Load balancers and target groups.
#[derive(Clone, Debug, Default)]
pub(super) struct Balancers {
    pub(super) all: Vec<Balancer>,
    pub(super) groups: Vec<TargetGroup>,
}

impl Balancers {
    fn group_mut(&mut self, arn: &str) -> Option<&mut TargetGroup> {
        self.groups.iter_mut().find(|group| group.arn == arn)
    }
}

impl World {
    /// Makes a load balancer that forwards to one new target group of the same name, as a person did, and returns the
    /// ARNs of both.
    pub fn keep_balancer(
        &mut self,
        name: &str,
        dns_name: &str,
        addresses: Vec<Ipv4Addr>,
        check: Check,
    ) -> (String, String) {
        let tail = format!("{:016x}", 0x5a1d_0000_0000_0000_u64 + self.balancers.all.len() as u64);
        let of = |kind: &str, name: &str| {
            self.names
                .arn("elasticloadbalancing", kind, name)
                .replace(&format!("{kind}:"), &format!("{kind}/"))
        };
        let arn = of("loadbalancer", &format!("app/{name}/{tail}"));
        let vpc_id =
            self.names.subnets.first().map_or_else(|| "vpc-0".to_owned(), |subnet| subnet.vpc.clone());
        let group_arn = self.keep_group(name, check, Some(&arn));
        self.balancers.all.push(Balancer {
            arn: arn.clone(),
            name: name.to_owned(),
            dns_name: dns_name.trim_end_matches('.').to_ascii_lowercase(),
            // The zone of us-east-1's load balancers: AWS General Reference, Elastic Load Balancing endpoints.
            zone_id: "Z35SXDOTRQ7X7K".to_owned(),
            vpc_id,
            state: "active".to_owned(),
            created: self.now,
            addresses,
            group_arns: vec![group_arn.clone()],
            served: served::Tally::default(),
        });
        (arn, group_arn)
    }

    /// Makes a target group, as a person did, and returns its ARN. Without a load balancer its targets are unused.
    pub fn keep_group(&mut self, name: &str, check: Check, balancer_arn: Option<&str>) -> String {
        let tail = format!("{:016x}", 0x5a1d_1000_0000_0000_u64 + self.balancers.groups.len() as u64);
        let arn = self.names.arn("elasticloadbalancing", "targetgroup", &format!("{name}/{tail}"));
        let arn = arn.replace("targetgroup:", "targetgroup/");
        self.balancers.groups.push(TargetGroup {
            arn: arn.clone(),
            name: name.to_owned(),
            port: 80,
            vpc_id: self
                .names
                .subnets
                .first()
                .map_or_else(|| "vpc-0".to_owned(), |subnet| subnet.vpc.clone()),
            check,
            balancer_arns: balancer_arn.into_iter().map(str::to_owned).collect(),
            targets: Vec::new(),
            turn: 0,
        });
        arn
    }

    /// Registers a target. One that drains is taken back.
    pub fn register(&mut self, group_arn: &str, address: Ipv4Addr, port: u16) {
        let now = self.now;
        let Some(group) = self.balancers.group_mut(group_arn) else { return };
        let health = if group.balancer_arns.is_empty() { Health::Unused } else { Health::Initial };
        group.targets.retain(|target| {
            (target.address, target.port) != (address, port) || !matches!(target.health, Health::Draining(_))
        });
        if !group.targets.iter().any(|target| (target.address, target.port) == (address, port)) {
            group.targets.push(Target { address, port, health, against: 0, next_probe: now });
        }
    }

    /// Deregisters a target: it drains, then it is gone.
    pub fn deregister(&mut self, group_arn: &str, address: Ipv4Addr, port: u16) {
        let gone = self.now + self.delays.target_drain;
        let Some(group) = self.balancers.group_mut(group_arn) else { return };
        let found = group.targets.iter_mut().find(|target| (target.address, target.port) == (address, port));
        if let Some(target) = found {
            target.health = Health::Draining(gone);
        }
    }

    /// The load balancers, to look at or to spoil.
    pub fn balancers_mut(&mut self) -> &mut Vec<Balancer> {
        &mut self.balancers.all
    }

    /// The target groups.
    pub fn target_groups(&self) -> &[TargetGroup] {
        &self.balancers.groups
    }

    /// The probes that are due; each is handed out once, and again an interval later.
    pub fn due_probes(&mut self, now: Timestamp) -> Vec<Probe> {
        self.pass(now);
        let (now, interval) = (self.now, self.delays.target_probe);
        let mut due = Vec::new();
        for group in &mut self.balancers.groups {
            group.targets.retain(|target| !matches!(target.health, Health::Draining(gone) if gone <= now));
            for target in &mut group.targets {
                let judged = !matches!(target.health, Health::Unused | Health::Draining(_));
                if judged && target.next_probe <= now {
                    target.next_probe = now + interval;
                    due.push(Probe {
                        group_arn: group.arn.clone(),
                        address: target.address,
                        port: target.port,
                        path: group.check.path.clone(),
                        timeout: Duration::from_secs(u64::from(group.check.timeout_seconds)),
                    });
                }
            }
        }
        due
    }

    /// Hears what came of a probe.
    pub fn probed(&mut self, probe: &Probe, result: Result<(), Failure>, now: Timestamp) {
        self.pass(now);
        let Some(group) = self.balancers.group_mut(&probe.group_arn) else { return };
        let check = group.check.clone();
        let found = group
            .targets
            .iter_mut()
            .find(|target| (target.address, target.port) == (probe.address, probe.port));
        let Some(target) = found else { return };
        let threshold = match (target.health, result) {
            (Health::Unused | Health::Draining(_), _) => return,
            (Health::Healthy, Ok(())) => {
                target.against = 0;
                return;
            }
            (Health::Unhealthy(_), Err(failure)) => {
                target.against = 0;
                target.health = Health::Unhealthy(failure);
                return;
            }
            (Health::Initial, Ok(())) => 1,
            (Health::Unhealthy(_), Ok(())) => check.healthy_threshold,
            (Health::Initial | Health::Healthy, Err(_)) => check.unhealthy_threshold,
        };
        target.against += 1;
        if target.against >= threshold {
            target.against = 0;
            target.health = result.map_or_else(Health::Unhealthy, |()| Health::Healthy);
        }
    }

    /// The next target of a load balancer, in turn among those that are healthy; none if it has none to send to.
    pub fn next_target(&mut self, balancer_arn: &str) -> Option<(String, Ipv4Addr, u16)> {
        let nothing = self.switches.sick_groups_get_nothing;
        let balancer = self.balancers.all.iter().find(|balancer| balancer.arn == balancer_arn)?;
        let group_arn = balancer.group_arns.first()?.clone();
        let group = self.balancers.group_mut(&group_arn)?;
        let of = |wanted: fn(Health) -> bool| -> Vec<(Ipv4Addr, u16)> {
            let wanted = group.targets.iter().filter(|target| wanted(target.health));
            wanted.map(|target| (target.address, target.port)).collect()
        };
        let mut targets = of(|health| health == Health::Healthy);
        if targets.is_empty() && !nothing {
            targets = of(|health| matches!(health, Health::Unhealthy(_)));
        }
        if targets.is_empty() {
            return None;
        }
        group.turn = group.turn.wrapping_add(1);
        let (address, port) = targets[group.turn % targets.len()];
        Some((group_arn, address, port))
    }

    pub(super) fn balancer_named(&self, dns_name: &str) -> Option<&Balancer> {
        let name = dns_name.trim_end_matches('.');
        let name = name.strip_prefix("dualstack.").unwrap_or(name);
        self.balancers.all.iter().find(|balancer| balancer.dns_name == name)
    }

    pub(super) fn balancer_is_healthy(&self, balancer: &Balancer) -> bool {
        balancer.group_arns.iter().all(|arn| {
            let group = self.balancers.groups.iter().find(|group| group.arn == *arn);
            group.is_some_and(|group| group.targets.iter().any(|target| target.health == Health::Healthy))
        })
    }
}

//! The spec, parsed once into checked values. Later steps never look at the raw spec.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

mod check;
mod parse;

use crate::api::FINALIZER;
use crate::api::application::{
    self as api, ApplicationMigration, ApplicationMigrationStatus, DatabaseKind, DeletionPolicy, OnFailure,
    Protocol,
};
use crate::api::condition::Reason;
use crate::aws::inventory::Kind;
use crate::aws::{Account, Ownership};
use crate::database::goal::{GivenUp, Migration, wrong_place};
use crate::fault::Blocked;
use crate::gate::Gate;

/// What one migration is to reach, and everything needed to get there.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::struct_excessive_bools)] // each is a switch of its own in the resource
pub struct Goal {
    /// Which migration this is.
    pub migration: Migration,
    /// How far it may go.
    pub reach: api::Goal,
    /// Traffic goes no further.
    pub suspended: bool,
    /// It is being deleted, and how.
    pub deletion: Option<DeletionPolicy>,
    /// The finalizer is on it and the status says that something may exist.
    pub claimed: bool,
    /// The names of everything made for it.
    pub names: Names,
    /// Where the data is.
    pub database: DatabaseGoal,
    /// The application as it is today.
    pub source: SourceGoal,
    /// How health is seen.
    pub health: HealthGoal,
    /// The application on AWS.
    pub target: TargetGoal,
    /// The record.
    pub record: RecordGoal,
    /// Highest weight allowed.
    pub max_weight: u8,
    /// The weights that are passed; the last is 100.
    pub steps: Vec<StepGoal>,
    /// What a failing gate does.
    pub on_failure: OnFailure,
    /// What must hold.
    pub gates: Vec<Gate>,
    /// Alarms and dashboard to have, if any.
    pub alarms: Option<AlarmGoal>,
    /// Which attempt.
    pub attempt: i32,
    /// The emergency brake, and for which attempts.
    pub abort_attempt: Option<i32>,
    /// What was given up and stays given up, from the status.
    pub latch: Option<GivenUp>,
    /// What was last asked of Route 53, from the status.
    pub requested: Option<Requested>,
    /// In which attempt the records were looked after last, from the status.
    pub tended_in: Option<i32>,
    /// All steps were passed once, from the status.
    pub settled: bool,
    /// The way back is being removed, from the status.
    pub no_return: bool,
}

/// Where the data is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseGoal {
    /// In a database that this `DatabaseMigration` carries.
    Migration(String),
    /// In one that both sides use, or nowhere.
    Declared,
}

/// The application as it is today.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceGoal {
    /// Its addresses.
    Addresses(Vec<String>),
    /// Its name.
    Hostname(String),
}

impl SourceGoal {
    /// Where it is asked: each address, or the name.
    pub fn places(&self) -> &[String] {
        match self {
            Self::Addresses(addresses) => addresses,
            Self::Hostname(host) => std::slice::from_ref(host),
        }
    }
}

/// How health is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct HealthGoal {
    pub protocol: Protocol,
    pub port: u16,
    pub path: String,
}

/// The application on AWS.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct TargetGoal {
    pub balancer: String,
    pub group: String,
    pub cluster: String,
    pub service: String,
}

/// The record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordGoal {
    /// Its hosted zone.
    pub zone_id: String,
    /// Its name.
    pub name: String,
    /// Seconds for which resolvers keep it.
    pub ttl: u32,
    /// A simple record of the name may be replaced.
    pub replace: bool,
}

impl RecordGoal {
    /// The name of the marker.
    pub fn marker(&self) -> String {
        crate::marker::beside(&self.name)
    }
}

/// One weight that is passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepGoal {
    /// Percent at the target.
    pub weight: u8,
    /// How long it stays there at least.
    pub hold: SignedDuration,
    /// Names of the gates judged there; `None` means all.
    pub gates: Option<Vec<String>>,
}

/// The alarms to have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct AlarmGoal {
    pub topic: String,
    pub errors_per_minute: i32,
    pub p99_latency: SignedDuration,
}

/// What was last asked of Route 53. Written to the status before the records are changed; the records themselves are the
/// truth about what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requested {
    /// Percent at the target.
    pub weight: u8,
    /// In which attempt.
    pub attempt: i32,
    /// Route 53's change that carries it; `None` until it was submitted.
    pub change: Option<String>,
    /// When it was seen on all of Route 53's servers; `None` until then.
    pub since: Option<Timestamp>,
    /// When the weighted records were first seen there.
    pub staged_at: Option<Timestamp>,
}

const ALARM_ERRORS: &str = "alarm-target-5xx-";
const ALARM_LATENCY: &str = "alarm-target-latency-";
const ALARM_HOSTS: &str = "alarm-unhealthy-hosts-";
const DASHBOARD: &str = "dashboard-";

/// What the names of everything of one kind begin with, whatever migration it is made for.
pub fn heads(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Alarm => &[ALARM_ERRORS, ALARM_LATENCY, ALARM_HOSTS],
        Kind::Dashboard => &[DASHBOARD],
        Kind::Task | Kind::Endpoint | Kind::Certificate | Kind::Instance | Kind::SubnetGroup => &[],
    }
}

/// The names of everything made for one migration: type first, the migration's name, the suffix last.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Names {
    pub alarm_errors: String,
    pub alarm_latency: String,
    pub alarm_hosts: String,
    pub dashboard: String,
}

impl Names {
    pub(crate) fn new(name: &str, suffix: &str) -> Self {
        let tail = format!("{name}-{suffix}");
        Self {
            alarm_errors: format!("{ALARM_ERRORS}{tail}"),
            alarm_latency: format!("{ALARM_LATENCY}{tail}"),
            alarm_hosts: format!("{ALARM_HOSTS}{tail}"),
            dashboard: format!("{DASHBOARD}{tail}"),
        }
    }

    /// Whether something of this kind and name is made for this migration.
    pub fn has(&self, kind: Kind, identifier: &str) -> bool {
        match kind {
            Kind::Alarm => self.alarms().iter().any(|name| name == identifier),
            Kind::Dashboard => self.dashboard == identifier,
            Kind::Task | Kind::Endpoint | Kind::Certificate | Kind::Instance | Kind::SubnetGroup => false,
        }
    }

    /// All alarms.
    pub fn alarms(&self) -> Vec<String> {
        vec![self.alarm_errors.clone(), self.alarm_latency.clone(), self.alarm_hosts.clone()]
    }
}

impl Goal {
    /// Checks again what admission checked: an object may be older than the CRD's rules.
    pub fn parse(object: &ApplicationMigration) -> Result<Self, Blocked> {
        let spec = &object.spec;
        let name = object.name_any();
        if let Some((field, wrong)) = check::wrong(&name, spec) {
            return Err(parse::invalid(&field, &wrong));
        }
        let goal = Self {
            migration: Migration {
                namespace: object.namespace().unwrap_or_default(),
                name: name.clone(),
                uid: object.uid().unwrap_or_default(),
            },
            reach: spec.goal,
            suspended: spec.suspend.unwrap_or(false),
            names: Names::new(&name, &spec.environment_suffix),
            database: match (spec.database.kind, &spec.database.migration_ref) {
                (DatabaseKind::Migration, Some(migration)) => DatabaseGoal::Migration(migration.name.clone()),
                (DatabaseKind::Shared | DatabaseKind::None, None) => DatabaseGoal::Declared,
                _ => return Err(parse::invalid("spec.database", check::MIGRATION_REF)),
            },
            source: match (&spec.source.ipv4_addresses, &spec.source.hostname) {
                (Some(addresses), None) => SourceGoal::Addresses(addresses.clone()),
                (None, Some(host)) => SourceGoal::Hostname(host.clone()),
                _ => {
                    let wrong = "must have exactly one of ipv4Addresses and hostname";
                    return Err(parse::invalid("spec.source", wrong));
                }
            },
            health: HealthGoal {
                protocol: spec.source.health_check.protocol,
                port: spec.source.health_check.port,
                path: spec.source.health_check.path.clone(),
            },
            target: TargetGoal {
                balancer: spec.target.load_balancer_arn.clone(),
                group: spec.target.target_group_arn.clone(),
                cluster: spec.target.ecs_service.cluster.clone(),
                service: spec.target.ecs_service.service.clone(),
            },
            record: RecordGoal {
                zone_id: spec.traffic.route53.zone_id.clone(),
                name: spec.traffic.route53.name.clone(),
                ttl: spec.traffic.route53.ttl_seconds,
                replace: spec.traffic.route53.existing_record == api::ExistingRecord::Replace,
            },
            max_weight: spec.traffic.max_weight,
            steps: parse::steps(&spec.traffic.steps)?,
            on_failure: spec.traffic.on_failure,
            gates: parse::gates(&spec.gates)?,
            alarms: spec.alarms.as_ref().map(parse::alarms).transpose()?,
            attempt: spec.attempt,
            abort_attempt: spec.abort_attempt,
            deletion: None,
            claimed: false,
            latch: None,
            requested: None,
            tended_in: None,
            settled: false,
            no_return: false,
        };
        Ok(goal.as_of(object))
    }

    /// The same spec, and what the resource says now beside it.
    #[must_use]
    pub fn as_of(&self, object: &ApplicationMigration) -> Self {
        let status = object.status.as_ref();
        Self {
            deletion: object.metadata.deletion_timestamp.as_ref().map(|_| object.spec.deletion_policy),
            claimed: object.finalizers().iter().any(|f| f == FINALIZER)
                && status.is_some_and(|s| s.provisioned_at.is_some()),
            latch: status.and_then(|status| status.latch.as_ref()).map(|latch| GivenUp {
                attempt: latch.attempt,
                message: latch.message.clone().unwrap_or_else(|| latch.reason.clone()),
            }),
            requested: status.and_then(requested),
            tended_in: status.and_then(|status| status.traffic.as_ref()).and_then(|traffic| traffic.attempt),
            settled: status.is_some_and(|status| status.phase.as_deref() == Some("Shifted")),
            no_return: status.is_some_and(|status| status.point_of_no_return_at.is_some()),
            ..self.clone()
        }
    }

    /// An earlier attempt was given up, and no later one was ordered.
    pub fn is_latched(&self) -> bool {
        self.latch.as_ref().is_some_and(|latch| latch.attempt >= self.attempt)
    }

    /// The emergency brake is on for this attempt.
    pub fn is_aborted(&self) -> bool {
        self.abort_attempt.is_some_and(|abort| abort >= self.attempt)
    }

    /// The highest weight that Git, the latch and the brake together allow: that of a step, or 0.
    pub fn ceiling(&self) -> u8 {
        if self.reach < api::Goal::Shift || self.is_latched() || self.is_aborted() {
            return 0;
        }
        self.steps
            .iter()
            .map(|step| step.weight)
            .filter(|weight| *weight <= self.max_weight)
            .max()
            .unwrap_or(0)
    }

    /// The highest step not above a weight, counted from 1; 0 is before the first.
    pub fn index_of(&self, weight: u8) -> usize {
        self.steps.iter().filter(|step| step.weight <= weight).count()
    }

    /// That step.
    pub fn step_at(&self, weight: u8) -> Option<&StepGoal> {
        self.steps.get(self.index_of(weight).checked_sub(1)?)
    }

    /// The weight of the step before that of a weight; 0 before the first.
    pub fn weight_before(&self, weight: u8) -> u8 {
        self.steps.iter().map(|step| step.weight).filter(|step| *step < weight).max().unwrap_or(0)
    }

    /// The step after it.
    pub fn step_after(&self, weight: u8) -> Option<&StepGoal> {
        self.steps.get(self.index_of(weight))
    }

    /// The gates that decide at a weight. Before the first step, those of the first.
    pub fn gates_at(&self, weight: u8) -> impl Iterator<Item = &Gate> {
        let named = self.step_at(weight).or_else(|| self.steps.first()).and_then(|step| step.gates.as_ref());
        self.gates
            .iter()
            .filter(move |gate| gate.enforced && named.is_none_or(|named| named.contains(&gate.name)))
    }

    /// For how long resolvers may keep an answer. An alias has the load balancer's own 60 seconds.
    pub fn ttl(&self) -> SignedDuration {
        let own = i64::from(self.record.ttl);
        SignedDuration::from_secs(match self.source {
            SourceGoal::Addresses(_) => own.max(60),
            SourceGoal::Hostname(_) => own,
        })
    }

    /// Whether all that the spec names in AWS is where the operator looks.
    pub fn is_within(&self, account: &Account) -> Result<(), Blocked> {
        let region = account.region.as_str();
        let own = account.account_id.as_deref();
        let topic =
            self.alarms.as_ref().map(|alarms| ("spec.alarms.snsTopicARN", alarms.topic.as_str(), None));
        let named = [
            Some(("spec.target.loadBalancerARN", self.target.balancer.as_str(), own)),
            Some(("spec.target.targetGroupARN", self.target.group.as_str(), own)),
            topic,
        ];
        let wrong = named
            .into_iter()
            .flatten()
            .find_map(|(field, arn, account)| Some((field, wrong_place(arn, region, account)?)));
        match wrong {
            None => Ok(()),
            Some((field, wrong)) => Err(Blocked::new(
                Reason::InvalidSpec,
                format_args!("{field} {wrong}"),
                "Name one that is there, or ask the operator's administrator for another region or account",
            )),
        }
    }

    /// How AWS resources show whose they are.
    pub fn ownership(&self) -> Ownership {
        Ownership { uid: self.migration.uid.clone(), resource: self.migration.resource() }
    }
}

/// What a status says was asked for; `None` too for numbers that no version of Slipway writes, as if they were lost.
fn requested(status: &ApplicationMigrationStatus) -> Option<Requested> {
    let traffic = status.traffic.as_ref()?;
    let weight = u8::try_from(traffic.requested_weight?).ok().filter(|weight| *weight <= 100)?;
    Some(Requested {
        weight,
        attempt: traffic.attempt?,
        change: traffic.change_id.clone(),
        since: traffic.since.as_ref().map(|at| at.0),
        staged_at: traffic.staged_at.as_ref().map(|at| at.0),
    })
}

#[cfg(test)]
mod tests;

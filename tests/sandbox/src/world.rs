//! The pure model of AWS: (state, call, now) to (state, reply), with the effects wanted outside.
//!
//! It never reads a clock, a socket or a source of randomness: the caller says what time it is, and generated names
//! come from a seeded counter. Two worlds given the same words at the same times are equal in everything they say, so
//! the server in front of it and a simulator that steps it by the thousand cannot disagree about what AWS does.
//!
//! | service | module | rules from |
//! |---|---|---|
//! | Database Migration Service | [`dms`] | AWS's API model; the table of each submodule names the fact |
//! | `CloudWatch` | [`cloudwatch`] | AWS's API model |
//! | RDS, as far as describing goes | [`rds`] | AWS's API model |
//! | Secrets Manager, reading and writing values | [`secrets`] | AWS's API model |
//! | Route 53 | [`route53`] | AWS's API model and developer guide |
//! | Elastic Load Balancing, as far as describing goes | [`balancer`] | AWS's API model and user guide |
//! | ECS, as far as describing services goes | [`ecs`] | AWS's API model |
//! | STS | here | AWS's API model |
//!
//! What nobody could verify without an account is a field of [`Switches`], and tests run with it both ways.

use jiff::Timestamp;

use crate::plane::{Effect, Report};

mod delays;
mod meddling;
mod names;
mod refusal;

pub mod balancer;
pub mod cloudwatch;
pub mod dms;
pub mod ecs;
pub mod rds;
pub mod route53;
pub mod secrets;

#[cfg(test)]
mod rules;

pub use delays::Delays;
pub use meddling::{Meddling, RowState, StopKind, UnknownThing};
pub use names::{Names, Subnet};
pub use refusal::Refusal;

/// What the world is made with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Account number.
    pub account: String,
    /// Region.
    pub region: String,
    /// Generated names follow from it.
    pub seed: u64,
    /// The subnets that exist.
    pub subnets: Vec<Subnet>,
    /// The database instances that exist.
    pub databases: Vec<rds::Instance>,
    /// How long things take.
    pub delays: Delays,
    /// How unverified facts are answered.
    pub switches: Switches,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            account: "111122223333".to_owned(),
            region: "eu-central-1".to_owned(),
            seed: 1,
            subnets: Subnet::three(),
            databases: Vec::new(),
            delays: Delays::none(),
            switches: Switches::default(),
        }
    }
}

/// Facts about AWS that nobody could verify, or that differ between accounts. The default is the likelier answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own with two answers")]
pub struct Switches {
    /// A describe whose filter matches nothing answers an empty list instead of `ResourceNotFoundFault`.
    pub empty_list_for_nothing: bool,
    /// The account lacks the IAM role `dms-vpc-role`.
    pub vpc_role_missing: bool,
    /// A start right after a successful connection test is refused once all the same.
    pub start_refused_once_after_test: bool,
    /// A task that ended by an error shows `stopped` instead of `failed`.
    pub failed_shows_stopped: bool,
    /// `TestConnection` while a test runs answers instead of refusing.
    pub test_while_testing: bool,
    /// Stopped tasks go on publishing their last metrics.
    pub stopped_tasks_publish: bool,
    /// A task whose role lost its rights or its login tries until they are back, instead of ending by an error. It is
    /// said to a task when it starts.
    pub task_waits_for_rights: bool,
    /// A zone refuses changes until the one before is INSYNC, not only while Route 53 is at it.
    pub changes_wait_for_insync: bool,
    /// `InvalidChangeBatch` comes as a document of its own, without the wrapping and the code of all other errors.
    pub bare_change_refusals: bool,
    /// A load balancer whose targets are all unhealthy answers 503 itself, instead of trying them all the same.
    pub sick_groups_get_nothing: bool,
}

impl Switches {
    /// Every switch by name.
    pub const NAMES: [&str; 10] = [
        "empty-list-for-nothing",
        "vpc-role-missing",
        "start-refused-once-after-test",
        "failed-shows-stopped",
        "test-while-testing",
        "stopped-tasks-publish",
        "task-waits-for-rights",
        "changes-wait-for-insync",
        "bare-change-refusals",
        "sick-groups-get-nothing",
    ];

    /// Sets one by name; false if there is none of that name.
    pub fn set(&mut self, name: &str, on: bool) -> bool {
        let switch = match name {
            "empty-list-for-nothing" => &mut self.empty_list_for_nothing,
            "vpc-role-missing" => &mut self.vpc_role_missing,
            "start-refused-once-after-test" => &mut self.start_refused_once_after_test,
            "failed-shows-stopped" => &mut self.failed_shows_stopped,
            "test-while-testing" => &mut self.test_while_testing,
            "stopped-tasks-publish" => &mut self.stopped_tasks_publish,
            "task-waits-for-rights" => &mut self.task_waits_for_rights,
            "changes-wait-for-insync" => &mut self.changes_wait_for_insync,
            "bare-change-refusals" => &mut self.bare_change_refusals,
            "sick-groups-get-nothing" => &mut self.sick_groups_get_nothing,
            _ => return false,
        };
        *switch = on;
        true
    }
}

/// A call of any service.
#[derive(Clone, Debug)]
pub enum Call {
    /// Database Migration Service.
    Dms(dms::Call),
    /// `CloudWatch`.
    CloudWatch(cloudwatch::Call),
    /// RDS `DescribeDBInstances`.
    DescribeDatabases(rds::Describe),
    /// Secrets Manager.
    Secrets(secrets::Call),
    /// Route 53.
    Route53(route53::Call),
    /// Elastic Load Balancing.
    Balancer(balancer::Call),
    /// ECS `DescribeServices`.
    DescribeServices(ecs::Describe),
    /// STS `GetCallerIdentity`.
    GetCallerIdentity,
}

/// The answer to a [`Call`].
#[derive(Clone, Debug)]
pub enum Reply {
    /// Database Migration Service.
    Dms(dms::Reply),
    /// `CloudWatch`.
    CloudWatch(cloudwatch::Reply),
    /// RDS `DescribeDBInstances`.
    Databases(Vec<rds::Instance>),
    /// Secrets Manager.
    Secrets(secrets::Reply),
    /// Route 53.
    Route53(route53::Reply),
    /// Elastic Load Balancing.
    Balancer(balancer::Reply),
    /// ECS `DescribeServices`.
    Services(ecs::Described),
    /// STS `GetCallerIdentity`.
    Identity {
        /// Account number.
        account: String,
        /// ARN of the caller.
        arn: String,
    },
}

/// AWS, one account, one region.
#[derive(Clone, Debug)]
pub struct World {
    now: Timestamp,
    names: Names,
    delays: Delays,
    switches: Switches,
    dms: dms::Dms,
    cloudwatch: cloudwatch::CloudWatch,
    databases: Vec<rds::Instance>,
    secrets: secrets::Secrets,
    route53: route53::Route53,
    balancers: balancer::Balancers,
    services: Vec<ecs::Service>,
    spoilt: meddling::Spoilt,
    outbox: Vec<Effect>,
}

impl World {
    /// A world that begins at `now`.
    pub fn new(config: Config, now: Timestamp) -> Self {
        let Config { account, region, seed, subnets, databases, delays, switches } = config;
        Self {
            now,
            names: Names::new(account, region, seed, subnets),
            delays,
            switches,
            dms: dms::Dms::default(),
            cloudwatch: cloudwatch::CloudWatch::new(now),
            databases,
            secrets: secrets::Secrets::default(),
            route53: route53::Route53::new(now),
            balancers: balancer::Balancers::default(),
            services: Vec::new(),
            spoilt: meddling::Spoilt::default(),
            outbox: Vec::new(),
        }
    }

    /// Answers one call. Effects that it asks for are handed out by the next [`World::advance`].
    pub fn call(&mut self, call: Call, now: Timestamp) -> Result<Reply, Refusal> {
        self.pass(now);
        match call {
            Call::Dms(call) => self.dms_call(call).map(Reply::Dms),
            Call::CloudWatch(call) => self.cloudwatch_call(call).map(Reply::CloudWatch),
            Call::DescribeDatabases(call) => rds::describe(&self.databases, &call).map(Reply::Databases),
            Call::Secrets(call) => self.secrets.call(call).map(Reply::Secrets),
            Call::Route53(call) => self.route53_call(call).map(Reply::Route53),
            Call::Balancer(call) => self.balancer_call(call).map(Reply::Balancer),
            Call::DescribeServices(call) => self.describe_services(&call).map(Reply::Services),
            Call::GetCallerIdentity => Ok(Reply::Identity {
                account: self.names.account().to_owned(),
                arn: format!("arn:aws:sts::{}:assumed-role/slipway/slipway", self.names.account()),
            }),
        }
    }

    /// Gives a secret a value, as a person does, and makes it if there is none of this name; the answer is its ARN.
    pub fn keep_secret(&mut self, name: &str, value: &str) -> String {
        let arn = self.names.arn("secretsmanager", "secret", &format!("{name}-5a1d00"));
        let all = &mut self.secrets.all;
        if !all.iter().any(|secret| secret.arn == arn) {
            let (arn, name) = (arn.clone(), name.to_owned());
            all.push(secrets::Secret { arn, name, deleted: false, versions: Vec::new() });
        }
        if let Some(secret) = all.iter_mut().find(|secret| secret.arn == arn) {
            let id = format!("5a1d0000-0000-4000-8000-{:012}", secret.versions.len() + 1);
            secret.add(id, value.to_owned());
        }
        arn
    }

    /// The secrets, to look at or to spoil.
    pub fn secrets_mut(&mut self) -> &mut Vec<secrets::Secret> {
        &mut self.secrets.all
    }

    /// Lets time pass, and hands out the effects wanted since the last time.
    pub fn advance(&mut self, now: Timestamp) -> Vec<Effect> {
        self.pass(now);
        std::mem::take(&mut self.outbox)
    }

    /// Lets time pass, and keeps the effects for the next [`Self::advance`].
    pub fn advance_to(&mut self, now: Timestamp) {
        self.pass(now);
    }

    /// Hears what the data plane did.
    pub fn tell(&mut self, report: Report, now: Timestamp) {
        self.pass(now);
        match report {
            Report::ConnectionTested { instance_arn, endpoint_arn, result } => {
                self.connection_tested(&(instance_arn, endpoint_arn), result);
            }
            Report::TaskRunning { task_arn, slot } => self.task_running(&task_arn, slot),
            Report::TaskProgress { .. } => self.task_progress(report),
            Report::TaskStopped { task_arn, reason, applied_lsn } => {
                self.task_stopped(&task_arn, reason, applied_lsn);
            }
        }
        self.pass(now);
    }

    /// When something changes next by itself, if anything will.
    pub fn next_change(&self) -> Option<Timestamp> {
        if !self.outbox.is_empty() {
            return Some(self.now);
        }
        let tick = self.publishes().then_some(self.cloudwatch.next_tick);
        self.dms.next_due().into_iter().chain(tick).min()
    }

    /// How unverified facts are answered; may be changed while the world runs.
    pub fn switches_mut(&mut self) -> &mut Switches {
        &mut self.switches
    }

    /// How unverified facts are answered.
    pub fn switches(&self) -> Switches {
        self.switches
    }

    /// The time of the last word.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Steps through everything that falls due up to `now`, in the order of time. A clock that steps back is ignored.
    fn pass(&mut self, now: Timestamp) {
        loop {
            let tick = self.publishes().then_some(self.cloudwatch.next_tick);
            let Some(due) = self.dms.next_due().into_iter().chain(tick).min() else { break };
            if due > now {
                break;
            }
            self.now = self.now.max(due);
            self.settle_dms();
            if self.cloudwatch.next_tick <= self.now {
                self.tick();
            }
        }
        self.now = self.now.max(now);
        if !self.publishes() {
            self.cloudwatch.skip_ticks(self.now, self.delays.metric_period);
        }
    }
}

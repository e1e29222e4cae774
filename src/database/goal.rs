//! The spec, parsed once into checked values. Later steps never look at the raw spec.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

pub(crate) use check::arn as wrong_place;
pub use writer::{ConnectionGoal, CutoverGoal, Decided, GivenUp, Intent, RecordGoal};

mod check;
mod writer;

use crate::api::FINALIZER;
use crate::api::condition::Reason;
use crate::api::database::{self as api, DatabaseMigration, DeletionPolicy};
use crate::aws::dms::EndpointTls;
use crate::aws::inventory::Kind;
use crate::aws::{Account, Ownership};
use crate::duration;
use crate::fault::Blocked;
use crate::postgres::Selection;
use crate::side::{Side, Sides};

/// What one migration is to reach, and everything needed to get there.
#[derive(Clone, Debug, PartialEq)]
pub struct Goal {
    /// Which migration this is.
    pub migration: Migration,
    /// How far it may go.
    pub reach: api::Goal,
    /// No new step is begun.
    pub suspended: bool,
    /// It is being deleted, and how.
    pub deletion: Option<DeletionPolicy>,
    /// The finalizer is on it and the status says that something may exist.
    pub claimed: bool,
    /// The names of everything made for it.
    pub names: Names,
    /// The applications that write to it.
    pub applications: Vec<String>,
    /// The two databases.
    pub sides: Sides<SideGoal>,
    /// The tables to carry.
    pub tables: Selection,
    /// The replication instance.
    pub instance: InstanceGoal,
    /// Numbers of the task.
    pub tuning: api::Tuning,
    /// WAL kept by the slot above which a warning is sent, in bytes.
    pub slot_warn_bytes: i64,
    /// Alarms to have, if any.
    pub alarms: Option<AlarmGoal>,
    /// Which attempt at the cutover.
    pub attempt: i32,
    /// The emergency brake, and for which attempts.
    pub abort_attempt: Option<i32>,
    /// What was given up and stays given up, from the status.
    pub latch: Option<GivenUp>,
    /// What was last decided about the writer, from the status.
    pub decided: Option<Decided>,
    /// How the writer moves.
    pub cutover: CutoverGoal,
}

/// Which migration: what ownership is proved by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Migration {
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`
    pub uid: String,
}

impl Migration {
    /// `namespace/name`, as tags and records have it.
    pub fn resource(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// The slot of the way back. Slots of a whole server share their names, so it carries the uid.
    pub fn move_slot(&self) -> String {
        let uid: String = self.uid.chars().filter(char::is_ascii_alphanumeric).take(16).collect();
        format!("slipway_rev_{}", uid.to_ascii_lowercase())
    }
}

/// One database of the migration.
#[derive(Clone, Debug, PartialEq)]
pub struct SideGoal {
    /// Where it listens.
    pub address: Address,
    /// Name of the database.
    pub database: String,
    /// What is checked of its certificate.
    pub tls: api::TlsMode,
    /// Where the certificate authorities are kept.
    pub ca: api::CaRef,
    /// Secret of the operator's role.
    pub operator_secret: String,
    /// Secret of the role that DMS logs in as.
    pub replication_secret: String,
    /// Roles with which applications write.
    pub application_roles: Vec<String>,
}

impl SideGoal {
    /// What DMS is told to check.
    pub fn endpoint_tls(&self) -> EndpointTls {
        match self.tls {
            api::TlsMode::VerifyFull => EndpointTls::VerifyFull,
            api::TlsMode::VerifyCA => EndpointTls::VerifyCa,
        }
    }
}

/// Where a database listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// As the spec says.
    Given {
        /// Host name or address.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// As RDS says of this instance.
    Rds {
        /// Its identifier.
        identifier: String,
    },
}

/// The replication instance.
#[derive(Clone, Debug, PartialEq)]
pub enum InstanceGoal {
    /// Somebody else's, used and never changed.
    Existing {
        /// Its ARN.
        arn: String,
    },
    /// Made for this migration.
    Managed(api::ManagedInstance),
}

/// The alarms to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmGoal {
    /// The SNS topic they notify.
    pub topic: String,
    /// Lag above which the alarm rings.
    pub lag_threshold: SignedDuration,
}

const TASK: &str = "dms-task-";
const ALARM: &str = "alarm-dms-";
const ENDPOINT: &str = "dms-endpoint-";
const CERTIFICATE: &str = "dms-certificate-";
const INSTANCE: &str = "dms-instance-";
const SUBNET_GROUP: &str = "dms-subnet-group-";

/// What the names of everything of one kind begin with, whatever migration it is made for.
pub fn heads(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Task => &[TASK],
        Kind::Alarm => &[ALARM],
        Kind::Dashboard => &[],
        Kind::Endpoint => &[ENDPOINT],
        Kind::Certificate => &[CERTIFICATE],
        Kind::Instance => &[INSTANCE],
        Kind::SubnetGroup => &[SUBNET_GROUP],
    }
}

/// The names of everything made for one migration: type first, the migration's name, the suffix last. The same every
/// time, so that a repeated create finds its own work.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Names {
    tail: String,
    pub instance: String,
    pub subnet_group: String,
    pub endpoints: Sides<String>,
    pub task: String,
    pub alarm_lag: String,
    pub alarm_task: String,
    pub alarm_data: String,
}

impl Names {
    pub(crate) fn new(name: &str, suffix: &str) -> Self {
        let tail = format!("{name}-{suffix}");
        Self {
            instance: format!("{INSTANCE}{tail}"),
            subnet_group: format!("{SUBNET_GROUP}{tail}"),
            endpoints: Sides {
                source: format!("{ENDPOINT}source-{tail}"),
                target: format!("{ENDPOINT}target-{tail}"),
            },
            task: format!("{TASK}{tail}"),
            alarm_lag: format!("{ALARM}lag-{tail}"),
            alarm_task: format!("{ALARM}task-{tail}"),
            alarm_data: format!("{ALARM}no-data-{tail}"),
            tail,
        }
    }

    /// The name of an imported certificate authority. It carries the content's fingerprint, because DMS can't change an
    /// imported certificate: another authority is another certificate.
    pub fn certificate(&self, side: Side, fingerprint: &str) -> String {
        format!("{CERTIFICATE}{side}-{fingerprint}-{}", self.tail)
    }

    /// Whether a certificate of this name was made for this migration, with whatever content.
    pub fn is_certificate(&self, identifier: &str) -> bool {
        identifier.strip_suffix(&self.tail).is_some_and(|head| {
            Side::BOTH.iter().any(|side| {
                head.strip_prefix(&format!("{CERTIFICATE}{side}-"))
                    .and_then(|rest| rest.strip_suffix('-'))
                    .is_some_and(|fingerprint| fingerprint.bytes().all(|b| b.is_ascii_hexdigit()))
            })
        })
    }

    /// Whether something of this kind and name is made for this migration.
    pub fn has(&self, kind: Kind, identifier: &str) -> bool {
        match kind {
            Kind::Task => self.task == identifier,
            Kind::Alarm => self.alarms().iter().any(|name| name == identifier),
            Kind::Dashboard => false,
            Kind::Endpoint => Side::BOTH.iter().any(|side| self.endpoints.get(*side) == identifier),
            Kind::Certificate => self.is_certificate(identifier),
            Kind::Instance => self.instance == identifier,
            Kind::SubnetGroup => self.subnet_group == identifier,
        }
    }

    /// All alarms.
    pub fn alarms(&self) -> Vec<String> {
        vec![self.alarm_lag.clone(), self.alarm_task.clone(), self.alarm_data.clone()]
    }
}

impl Goal {
    /// Checks again what admission checked: an object may be older than the CRD's rules.
    pub fn parse(object: &DatabaseMigration) -> Result<Self, Blocked> {
        let spec = &object.spec;
        let name = object.name_any();
        let invalid = |field: &str, wrong: &str| {
            Blocked::new(
                Reason::InvalidSpec,
                format_args!("{field} {wrong}"),
                "Correct the field and apply the resource again",
            )
        };
        if name.len() + spec.environment_suffix.len() > 40 || !is_identifier(&name) {
            return Err(invalid(
                "metadata.name",
                "must be lower case letters, digits and single hyphens, and with spec.environmentSuffix at most 40 characters",
            ));
        }
        if let Some((field, wrong)) = check::wrong(spec) {
            return Err(invalid(&field, &wrong));
        }
        let target_address = match (&spec.target.endpoint, &spec.target.rds_instance_identifier) {
            (Some(endpoint), None) => Address::Given { host: endpoint.host.clone(), port: endpoint.port },
            (None, Some(identifier)) => Address::Rds { identifier: identifier.clone() },
            _ => {
                return Err(invalid(
                    "spec.target",
                    "must have exactly one of endpoint and rdsInstanceIdentifier",
                ));
            }
        };
        let instance = match (&spec.replication.instance.arn, &spec.replication.instance.managed) {
            (Some(arn), None) => InstanceGoal::Existing { arn: arn.clone() },
            (None, Some(managed)) => InstanceGoal::Managed(managed.clone()),
            _ => {
                return Err(invalid("spec.replication.instance", "must have exactly one of arn and managed"));
            }
        };
        let alarms = match &spec.alarms {
            None => None,
            Some(alarms) => Some(AlarmGoal {
                topic: alarms.sns_topic_arn.clone(),
                lag_threshold: duration::parse(&alarms.lag_threshold)
                    .ok_or_else(|| invalid("spec.alarms.lagThreshold", "must be a duration such as 60s"))?,
            }),
        };
        Ok(Self {
            migration: Migration {
                namespace: object.namespace().unwrap_or_default(),
                name: name.clone(),
                uid: object.uid().unwrap_or_default(),
            },
            reach: spec.goal,
            suspended: spec.suspend.unwrap_or(false),
            deletion: object.metadata.deletion_timestamp.as_ref().map(|_| spec.deletion_policy),
            claimed: is_claimed(object),
            names: Names::new(&name, &spec.environment_suffix),
            sides: Sides {
                source: SideGoal {
                    address: Address::Given {
                        host: spec.source.endpoint.host.clone(),
                        port: spec.source.endpoint.port,
                    },
                    database: spec.source.endpoint.database.clone(),
                    tls: spec.source.tls.mode,
                    ca: spec.source.tls.ca_ref.clone(),
                    operator_secret: spec.source.operator_credentials_ref.name.clone(),
                    replication_secret: spec.source.replication_credentials.secret_ref.name.clone(),
                    application_roles: spec.source.application_roles.clone(),
                },
                target: SideGoal {
                    address: target_address,
                    database: spec.target.database.clone(),
                    tls: spec.target.tls.mode,
                    ca: spec.target.tls.ca_ref.clone(),
                    operator_secret: spec.target.operator_credentials_ref.name.clone(),
                    replication_secret: spec.target.replication_credentials.secret_ref.name.clone(),
                    application_roles: spec.target.application_roles.clone(),
                },
            },
            tables: Selection {
                include: spec.tables.include.clone(),
                exclude: spec.tables.exclude.clone().unwrap_or_default(),
            },
            instance,
            tuning: spec.replication.tuning.clone(),
            slot_warn_bytes: i64::from(spec.replication.slot.warn_retained_gib) << 30,
            alarms,
            attempt: spec.attempt,
            abort_attempt: spec.abort_attempt,
            latch: writer::latch(object.status.as_ref()),
            decided: writer::decided(object.status.as_ref()),
            cutover: writer::cutover(spec, invalid)?,
            applications: spec.applications.clone(),
        })
    }

    /// The same spec, and what the resource says now beside it.
    #[must_use]
    pub fn as_of(&self, object: &DatabaseMigration) -> Self {
        let status = object.status.as_ref();
        Self {
            deletion: object.metadata.deletion_timestamp.as_ref().map(|_| object.spec.deletion_policy),
            claimed: is_claimed(object),
            latch: writer::latch(status),
            decided: writer::decided(status),
            ..self.clone()
        }
    }

    /// What a move that has begun goes on by when its spec became one that can't be used: by the spec that it began with, and
    /// by what the resource's status says now. To leave the fence standing until a person comes would be worse.
    #[must_use]
    pub fn in_the_midst(&self, object: &DatabaseMigration) -> Option<Self> {
        let goal = Self { claimed: self.claimed, ..self.as_of(object) };
        let same = object.uid().is_some_and(|uid| uid == goal.migration.uid);
        (same && self.is_moving()).then_some(goal)
    }

    /// Whether all that the spec names in AWS is where the operator looks.
    pub fn is_within(&self, account: &Account) -> Result<(), Blocked> {
        let region = account.region.as_str();
        let mut named = Vec::new();
        match &self.instance {
            InstanceGoal::Existing { arn } => {
                let wrong = check::arn(arn, region, account.account_id.as_deref());
                named.push(("spec.replication.instance.arn", wrong));
            }
            InstanceGoal::Managed(api::ManagedInstance { kms_key_arn: Some(arn), .. }) => {
                named.push(("spec.replication.instance.managed.kmsKeyARN", check::arn(arn, region, None)));
            }
            InstanceGoal::Managed(_) => {}
        }
        if let Some(alarms) = &self.alarms {
            named.push(("spec.alarms.snsTopicARN", check::arn(&alarms.topic, region, None)));
        }
        if let Some(ConnectionGoal::Secret { arn }) = &self.cutover.connection {
            named.push(("spec.cutover.connection.secret.secretARN", check::arn(arn, region, None)));
        }
        match named.into_iter().find_map(|(field, wrong)| Some((field, wrong?))) {
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

    /// Lag above which the migration is not Ready: the alarm's, or a minute.
    pub fn lag_threshold(&self) -> SignedDuration {
        self.alarms.as_ref().map_or(SignedDuration::from_secs(60), |alarms| alarms.lag_threshold)
    }
}

fn is_claimed(object: &DatabaseMigration) -> bool {
    object.finalizers().iter().any(|f| f == FINALIZER)
        && object.status.as_ref().is_some_and(|s| s.provisioned_at.is_some())
}

/// When something is due, given when it last happened.
pub fn due(last: Option<Timestamp>, every: SignedDuration, now: Timestamp) -> bool {
    last.is_none_or(|last| now.duration_since(last) >= every)
}

/// Lower case letters, digits and single hyphens, as names and suffixes are made of.
pub(crate) fn is_identifier(text: &str) -> bool {
    let bytes = text.as_bytes();
    !bytes.is_empty()
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
        && !text.contains("--")
}

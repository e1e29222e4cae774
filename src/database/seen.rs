//! What is true now, as far as it could be learned: the input of `decide` beside the goal. Plain data.

use jiff::Timestamp;

use crate::aws::cloudwatch::{SeenAlarm, TaskLag};
use crate::aws::dms::{Certificate, Connection, Endpoint, Instance, SubnetGroup, TableStatistics, Task};
use crate::fault::Fault;
use crate::postgres::{Lag, Server};
use crate::side::Sides;

/// A fact, or why it is not known.
pub type Known<T> = Result<T, Fault>;

/// Everything that was observed for one decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// When. The only clock that `decide` knows.
    pub now: Timestamp,
    /// The credentials at hand belong to the account that the administrator mapped this namespace to.
    pub account: Known<()>,
    /// What the Secrets and certificate authorities of each side are, without what they hold.
    pub material: Sides<Known<MaterialSeen>>,
    /// Where each side listens.
    pub address: Sides<Known<(String, u16)>>,
    /// What each database says to the operator's role.
    pub database: Sides<Known<Server>>,
    /// Whether the role that DMS uses can log in, tried by the operator itself.
    pub replication_login: Sides<Known<()>>,
    /// What AWS says.
    pub aws: Known<AwsSeen>,
    /// What this process remembers of what it did; empty after a restart, and nothing may depend on it but repetition.
    pub memory: MemorySeen,
}

/// What is known of a side's Secrets without knowing the secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaterialSeen {
    /// Role that DMS logs in as.
    pub replication_username: String,
    /// Which version of its Secret: uid and resourceVersion.
    pub replication_version: String,
    /// First 8 hexadecimal digits of the SHA-256 of the certificate authorities.
    pub ca_fingerprint: String,
}

/// What AWS has of this migration.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct AwsSeen {
    pub instance: Option<Instance>,
    pub subnet_group: Option<SubnetGroup>,
    /// Every certificate made for this migration, of whatever content.
    pub certificates: Vec<Certificate>,
    pub endpoints: Sides<Option<Endpoint>>,
    pub connections: Sides<Option<Connection>>,
    pub task: Option<Task>,
    pub tables: Vec<TableStatistics>,
    pub alarms: Vec<SeenAlarm>,
    pub task_lag: Option<TaskLag>,
}

/// What this process remembers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MemorySeen {
    /// When a connection test was last begun, by side.
    pub tested_at: Sides<Option<Timestamp>>,
    /// When the target was last fenced by this process.
    pub fenced_at: Option<Timestamp>,
    /// The last measured lag.
    pub lag: Option<Lag>,
}

//! DMS, in our words. Statuses are plain strings in AWS's API, so each enum keeps what it does not know.
//!
//! Reads see a missing resource as `None`, whether AWS says `ResourceNotFoundFault` or sends an empty list. Changes to
//! what exists read its owner's tag anew in the same call, and refuse when it is not ours.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use aws_sdk_databasemigration::Client;
use jiff::Timestamp;

use super::call::Caller;
use super::identity::Identity;
use crate::side::Side;

mod endpoint;
mod instance;
mod list;
mod read;
pub mod settings;
mod tags;
mod task;
#[cfg(test)]
mod tests;
pub mod words;

pub use instance::NewInstance;
pub use task::NewTask;

/// DMS of one account in one region.
pub struct Dms {
    client: Client,
    caller: Caller,
    identity: Arc<Identity>,
    /// (ARN, uid) of what was proved to belong to that uid, to save reads a call. No change relies on it.
    proved: Mutex<HashSet<(String, String)>>,
}

impl Dms {
    pub(super) fn new(client: Client, caller: Caller, identity: Arc<Identity>) -> Self {
        Self { client, caller, identity, proved: Mutex::default() }
    }
}

/// Whose a resource is, read from its tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Tagged with this migration's uid.
    Us,
    /// Anyone else's, with what the tag says, if there is one.
    Other(Option<String>),
}

/// A replication instance.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Instance {
    pub arn: String,
    pub identifier: String,
    pub status: InstanceStatus,
    pub owner: Owner,
}

/// `ReplicationInstanceStatus`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum InstanceStatus {
    Available,
    Creating,
    Modifying,
    Deleting,
    Failed,
    /// Any other word, as AWS wrote it.
    Other(String),
}

/// A subnet group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct SubnetGroup {
    pub identifier: String,
    pub complete: bool,
    pub owner: Owner,
}

/// An imported certificate authority.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Certificate {
    pub arn: String,
    pub identifier: String,
    pub owner: Owner,
}

/// An endpoint, with all that is compared with what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its ARN.
    pub arn: String,
    /// Its identifier.
    pub identifier: String,
    /// Being deleted: neither usable nor gone.
    pub deleting: bool,
    /// Usable (`active`).
    pub active: bool,
    /// Its settings as AWS has them; the password can't be read back.
    pub settings: EndpointSettings,
    /// Whose it is.
    pub owner: Owner,
}

/// What an endpoint is made of, wished or seen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct EndpointSettings {
    pub side: Side,
    pub host: String,
    pub port: u16,
    pub database: String,
    pub username: String,
    pub tls: EndpointTls,
    pub certificate_arn: Option<String>,
    /// Which version of the Secret the password came from (uid and resourceVersion); kept in a tag, since a password
    /// can't be read back. Not a secret.
    pub secret_version: Option<String>,
}

/// `SslMode`; the two that Slipway uses.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum EndpointTls {
    VerifyCa,
    VerifyFull,
    Other(String),
}

/// The result of the last connection test of one endpoint from one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Connection {
    pub endpoint_arn: String,
    pub instance_arn: String,
    pub status: ConnectionStatus,
}

/// `Connection.Status`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ConnectionStatus {
    Testing,
    Successful,
    Failed,
    Deleting,
    Other(String),
}

/// A replication task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its ARN; the tail is the resource id that `CloudWatch`'s dimension wants.
    pub arn: String,
    /// Its identifier.
    pub identifier: String,
    /// What it does now.
    pub status: TaskStatus,
    /// Why it stopped, if it did.
    pub stop_reason: Option<StopReason>,
    /// Set once it was started for the first time.
    pub started_at: Option<Timestamp>,
    /// When it last stopped.
    pub stopped_at: Option<Timestamp>,
    /// All tables were loaded and none is queued, loading or in error.
    pub full_load_finished: bool,
    /// Percent of the load, AWS's estimate.
    pub full_load_percent: i32,
    /// Endpoints and instance it was made with.
    pub source_endpoint_arn: String,
    /// See `source_endpoint_arn`.
    pub target_endpoint_arn: String,
    /// See `source_endpoint_arn`.
    pub instance_arn: String,
    /// Whose it is.
    pub owner: Owner,
}

impl Task {
    /// What the names of its replication slots begin with; see [`slot_prefix`].
    pub fn slot_prefix(&self) -> Option<String> {
        slot_prefix(&self.arn)
    }

    /// The generated tail of the ARN: the value of `CloudWatch`'s dimension `ReplicationTaskIdentifier`
    /// (prometheus-community/yet-another-cloudwatch-exporter, its `task:` pattern; AWS documents it nowhere).
    pub fn resource_id(&self) -> &str {
        resource_id(&self.arn)
    }
}

fn resource_id(arn: &str) -> &str {
    arn.rsplit(':').next().unwrap_or_default()
}

/// What the names of a task's replication slots begin with: the first 16 characters of its ARN's tail, in lower case. `None`
/// where the tail is too short to tell its slots from others'.
pub fn slot_prefix(task_arn: &str) -> Option<String> {
    resource_id(task_arn).get(..16).map(str::to_ascii_lowercase)
}

/// `ReplicationTask.Status`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum TaskStatus {
    Creating,
    Ready,
    Starting,
    Running,
    Stopping,
    Stopped,
    Failed,
    Modifying,
    Testing,
    Deleting,
    Other(String),
}

/// `StopReason` without its prefix "Stop Reason ".
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum StopReason {
    Normal,
    RecoverableError,
    FatalError,
    Other(String),
}

/// How a task is started. There is no `reload-target` here: it would load every table again over what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StartType {
    /// `start-replication`: the only legal type for the first run.
    First,
    /// `resume-processing`: goes on from the checkpoint.
    Resume,
}

/// One row of the table statistics.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct TableStatistics {
    pub schema: String,
    pub name: String,
    pub state: TableState,
    pub full_load_rows: i64,
    pub validation: ValidationState,
}

/// `TableState`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum TableState {
    BeforeLoad,
    FullLoad,
    Completed,
    Error,
    DoesNotExist,
    Other(String),
}

/// `ValidationState`, as far as it changes what Slipway says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ValidationState {
    Validated,
    Pending,
    Mismatched,
    Suspended,
    NoPrimaryKey,
    NotEnabled,
    Error,
    Other(String),
}

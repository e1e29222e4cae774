//! `DatabaseMigration`: one PostgreSQL database, carried to AWS by DMS.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::form;

mod connection;
mod place;
mod status;

pub use connection::*;
pub use place::*;
pub use status::*;

/// One PostgreSQL database, carried to AWS by DMS. `spec.goal` says how far the migration may go; the operator walks
/// there and reports in the status.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "slipway.dev",
    version = "v1alpha1",
    kind = "DatabaseMigration",
    plural = "databasemigrations",
    singular = "databasemigration",
    shortname = "dbmigration",
    shortname = "dbm",
    category = "migrations",
    namespaced,
    status = "DatabaseMigrationStatus",
    derive = "PartialEq",
    doc = "One PostgreSQL database, carried to AWS by DMS. Move spec.goal to say how far; watch the status.",
    selectable = ".spec.goal",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Writer", type_ = "string", json_path = ".status.writer"),
    printcolumn(name = "Lag", type_ = "string", json_path = ".status.replication.lag"),
    printcolumn(name = "Tables", type_ = "string", json_path = ".status.tables.summary"),
    printcolumn(name = "Verified", type_ = "date", json_path = ".status.verification.verifiedAt"),
    printcolumn(name = "Rollback", type_ = "string", json_path = ".status.rollback.mode"),
    printcolumn(name = "Next", type_ = "string", json_path = ".status.next"),
    printcolumn(name = "Goal", type_ = "string", json_path = ".spec.goal", priority = 1),
    printcolumn(name = "Attempt", type_ = "integer", json_path = ".spec.attempt", priority = 1),
    printcolumn(name = "Observed", type_ = "date", json_path = ".status.observedAt", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([a-z0-9]|-[a-z0-9])*$') && size(self.metadata.name) + size(self.spec.environmentSuffix) <= 40").message("metadata.name: lower case letters, digits and single hyphens, and with environmentSuffix at most 40 characters, or AWS refuses the identifiers made from them"),
    validation = Rule::new("self.spec.goal == oldSelf.spec.goal || self.spec.goal != 'Plan' || !has(oldSelf.status) || !has(oldSelf.status.provisionedAt)").message("spec.goal: cannot return to Plan once replication exists; set suspend to stop, set Replicate to go back, delete the resource to give up"),
    validation = Rule::new("self.spec.goal == oldSelf.spec.goal || !has(oldSelf.status) || !has(oldSelf.status.pointOfNoReturnAt)").message("spec.goal: the way back was removed (status.pointOfNoReturnAt); only Finish is possible"),
    validation = Rule::new("!(self.spec.goal in ['CutOver', 'Finish']) || has(self.spec.cutover.connection)").message("spec.cutover.connection: goals CutOver and Finish need it: how do applications find the writer?"),
    validation = Rule::new("!has(self.spec.target.endpoint) || self.spec.target.endpoint.host.lowerAscii() != self.spec.source.endpoint.host.lowerAscii() || self.spec.target.endpoint.port != self.spec.source.endpoint.port || self.spec.target.database != self.spec.source.endpoint.database").message("spec.target: this is the source's own database; name the one that it is carried to"),
    validation = Rule::new("!has(oldSelf.status) || !has(oldSelf.status.provisionedAt) || (self.spec.source.endpoint.database == oldSelf.spec.source.endpoint.database && self.spec.target.database == oldSelf.spec.target.database && self.spec.tables == oldSelf.spec.tables)").message("spec.source.endpoint.database, spec.target.database and spec.tables cannot change once replication exists"),
)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseMigrationSpec {
    /// How far the migration may go: Plan changes nothing and lists in status.plan what would be done; Replicate loads
    /// the target and follows the source; `CutOver` moves the writer to the target; Finish removes what the migration made,
    /// and with it every way back. Required, no default: a line lost from Git must never mean "go back".
    pub goal: Goal,

    /// Which attempt at the cutover this is. A cutover that the operator gave up by itself stays given up
    /// (status.latch), whatever Git says, until this exceeds the latch's attempt. A lower value is accepted and means
    /// nothing, so that a git revert always applies.
    #[serde(default = "first_attempt")]
    #[schemars(range(min = 1, max = 10_000))]
    pub attempt: i32,

    /// The emergency brake: while it is not less than attempt, the migration goes back and stays back. Set it with
    /// kubectl and leave it out of Git: a sync does not remove a field that Git never had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub abort_attempt: Option<i32>,

    /// True: no new step is begun. What runs goes on running (a stopped task would fill the source's disk) and the target
    /// stays fenced. Inside a cutover it means: give up before Promote, complete after. Leave it out of Git, so that a
    /// sync does not undo it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,

    /// Ends the name of every AWS resource made for this migration, as in dms-task-payments-db-dev. Lower case letters,
    /// digits and single hyphens. Cannot be changed.
    #[x_kube(validation = Rule::new("self == oldSelf").message("environmentSuffix is immutable"))]
    #[schemars(length(min = 1, max = 20), regex(pattern = r"^[a-z0-9]([a-z0-9]|-[a-z0-9])*$"))]
    pub environment_suffix: String,

    /// Every `ApplicationMigration` of this namespace that writes to this database; each names this one in
    /// spec.database.migrationRef. One that is missing, or that is not listed, blocks the cutover.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 63), regex(pattern = form::OBJECT_NAME)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub applications: Vec<String>,

    /// The database that is carried away, as it is today.
    pub source: Source,

    /// The database on AWS that it is carried to.
    pub target: Target,

    /// The tables to carry.
    pub tables: Tables,

    /// How DMS carries them.
    pub replication: Replication,

    /// What is compared before the writer moves, beside every row of every table.
    #[serde(default)]
    pub verification: Verification,

    /// How the writer moves to the target.
    #[serde(default)]
    #[x_kube(validation = Rule::new("!has(self.notBefore) || !has(self.notAfter) || self.notBefore < self.notAfter").message("spec.cutover: notBefore must be earlier than notAfter"))]
    #[x_kube(validation = Rule::new("duration(self.maxWriteOutage) >= duration('5s') && duration(self.maxWriteOutage) <= duration('10m')").message("spec.cutover.maxWriteOutage must be between 5s and 10m"))]
    #[x_kube(validation = Rule::new("duration(self.maxLag) > duration('0s')").message("spec.cutover.maxLag must be longer than nothing; it is never exactly zero"))]
    #[x_kube(validation = Rule::new("(!has(self.notBefore) || self.notBefore < timestamp('9999-01-01T00:00:00Z')) && (!has(self.notAfter) || self.notAfter < timestamp('9999-01-01T00:00:00Z'))").message("spec.cutover: notBefore and notAfter must be before the year 9999"))]
    pub cutover: Cutover,

    /// What is kept for the way back after the cutover.
    #[serde(default)]
    pub rollback: Rollback,

    /// CloudWatch alarms for this migration. None are made if this is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarms: Option<Alarms>,

    /// What deleting this resource does: Delete removes what the operator made for it (never the target's rows, and the
    /// target stays fenced); Retain removes nothing and leaves the task running.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// How far a migration may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Goal {
    /// Change nothing; list what would be done.
    Plan,
    /// Load the target and follow the source.
    Replicate,
    /// Move the writer to the target.
    CutOver,
    /// Remove what the migration made, the way back included.
    Finish,
}

fn first_attempt() -> i32 {
    1
}

/// What deleting the resource does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// Remove what the operator made.
    #[default]
    Delete,
    /// Leave everything.
    Retain,
}

/// The source database.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.operatorCredentialsRef.name != self.replicationCredentials.secretRef.name").message("spec.source: operatorCredentialsRef and replicationCredentials name the same Secret; the operator and DMS need roles of their own"))]
pub struct Source {
    /// Where the server listens.
    pub endpoint: SourceEndpoint,
    /// How its certificate is checked, by the operator and by DMS alike.
    pub tls: Tls,
    /// The operator's own login: a kubernetes.io/basic-auth Secret of this namespace (keys username, password).
    /// examples/sql/roles-source.sql has its grants.
    pub operator_credentials_ref: SecretRef,
    /// The role that DMS logs in as.
    pub replication_credentials: ReplicationCredentials,
    /// All roles with which applications write.
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 63), regex(pattern = form::TEXT)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub application_roles: Vec<String>,
}

/// The target database.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.endpoint) != has(self.rdsInstanceIdentifier)").message("spec.target: exactly one of endpoint and rdsInstanceIdentifier"))]
#[x_kube(validation = Rule::new("self.operatorCredentialsRef.name != self.replicationCredentials.secretRef.name").message("spec.target: operatorCredentialsRef and replicationCredentials name the same Secret; the operator and DMS need roles of their own"))]
pub struct Target {
    /// Where the server listens, if it is not found through rdsInstanceIdentifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<HostPort>,
    /// The RDS instance in the operator's account and region; its address and port are read from AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z]([a-z0-9]|-[a-z0-9])*$"))]
    pub rds_instance_identifier: Option<String>,
    /// Name of the database on the target.
    #[schemars(length(min = 1, max = 63), regex(pattern = form::TEXT))]
    pub database: String,
    /// How its certificate is checked, by the operator and by DMS alike.
    pub tls: Tls,
    /// The operator's own login: a kubernetes.io/basic-auth Secret of this namespace (keys username, password).
    /// examples/sql/roles-target.sql has its grants.
    pub operator_credentials_ref: SecretRef,
    /// The role that DMS logs in as.
    pub replication_credentials: ReplicationCredentials,
    /// All roles with which applications will write here. They are fenced out from the start.
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 63), regex(pattern = form::TEXT)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub application_roles: Vec<String>,
}

/// The tables to carry.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tables {
    /// Carried: every table of these schemas, or the one named.
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub include: Vec<TableSelector>,
    /// Left out of what `include` chose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub exclude: Option<Vec<TableSelector>>,
}

/// A schema and a table's name, or `*` for all of the schema's tables.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TableSelector {
    /// Schema, written exactly.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[^%*\x00-\x1f\x7f]+$"))]
    #[x_kube(validation = Rule::new("!self.matches('^(pg_|awsdms)') && self != 'slipway' && self != 'information_schema'").message("schema: the tables of PostgreSQL itself, of DMS and of Slipway are never carried; name a schema of the application"))]
    pub schema: String,
    /// Table, written exactly, or `*` for all.
    #[serde(default = "every_table")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^([^%*\x00-\x1f\x7f]+|[*])$"))]
    pub name: String,
}

fn every_table() -> String {
    "*".to_owned()
}

/// How DMS carries the tables.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Replication {
    /// The replication instance that does the work.
    pub instance: Instance,
    /// A few numbers of the task. Everything else is set for strictness and can't be loosened.
    #[serde(default)]
    pub tuning: Tuning,
    /// The replication slot on the source.
    #[serde(default)]
    pub slot: Slot,
}

/// The replication instance.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.arn) != has(self.managed)").message("spec.replication.instance: exactly one of arn (existing, never changed or deleted) and managed"))]
pub struct Instance {
    /// An existing instance. It is never changed or deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 512),
        regex(pattern = r"^arn:aws[a-z-]*:dms:[a-z0-9-]+:[0-9]{12}:rep:[A-Za-z0-9-]+$")
    )]
    pub arn: Option<String>,
    /// One that the operator makes for this migration and deletes with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedInstance>,
}

/// A replication instance made for this migration: private, encrypted, without automatic upgrades.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManagedInstance {
    /// Instance class, such as dms.r6i.large.
    #[schemars(length(max = 32), regex(pattern = r"^dms\.[a-z0-9]+\.[a-z0-9]+$"))]
    pub class: String,
    /// Storage in GiB.
    #[serde(rename = "storageGiB")]
    #[schemars(range(min = 5, max = 6144))]
    pub storage_gib: i32,
    /// A standby in a second availability zone.
    #[serde(default = "yes", rename = "multiAZ")]
    pub multi_az: bool,
    /// DMS engine version; AWS's default if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = r"^[0-9]+(\.[0-9]+){1,2}$"))]
    pub engine_version: Option<String>,
    /// At least two subnets in different availability zones of one VPC.
    #[serde(rename = "subnetIDs")]
    #[schemars(length(min = 2, max = 16), inner(length(max = 32), regex(pattern = r"^subnet-[0-9a-f]+$")))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub subnet_ids: Vec<String>,
    /// Security groups that may reach both databases.
    #[serde(rename = "securityGroupIDs")]
    #[schemars(length(min = 1, max = 5), inner(length(max = 32), regex(pattern = r"^sg-[0-9a-f]+$")))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub security_group_ids: Vec<String>,
    /// The KMS key for its storage; AWS's own key for DMS if left out. Cannot be changed later.
    #[serde(default, rename = "kmsKeyARN", skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 512),
        regex(pattern = r"^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:(key|alias)/[A-Za-z0-9/_-]+$")
    )]
    pub kms_key_arn: Option<String>,
}

fn yes() -> bool {
    true
}

/// The numbers of the task that may be tuned.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tuning {
    /// Tables loaded at once.
    #[serde(default = "parallel_tables")]
    #[schemars(range(min = 1, max = 49))]
    pub parallel_tables: i32,
    /// Rows per commit during the load.
    #[serde(default = "commit_rate")]
    #[schemars(range(min = 1, max = 50000))]
    pub commit_rate: i32,
    /// Largest large object (text, bytea, jsonb) in KiB. The task stops at a larger one instead of cutting it off.
    #[serde(default = "max_lob_kib", rename = "maxLOBKiB")]
    #[schemars(range(min = 1, max = 102_400))]
    pub max_lob_kib: i32,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { parallel_tables: parallel_tables(), commit_rate: commit_rate(), max_lob_kib: max_lob_kib() }
    }
}

fn parallel_tables() -> i32 {
    8
}

fn commit_rate() -> i32 {
    10_000
}

fn max_lob_kib() -> i32 {
    32
}

/// The replication slot on the source, which keeps WAL until it was read.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Slot {
    /// A warning event is sent when the slot keeps more WAL than this, in GiB, on the source's disk.
    #[serde(default = "warn_retained_gib", rename = "warnRetainedGiB")]
    #[schemars(range(min = 1, max = 16384))]
    pub warn_retained_gib: i32,
}

impl Default for Slot {
    fn default() -> Self {
        Self { warn_retained_gib: warn_retained_gib() }
    }
}

fn warn_retained_gib() -> i32 {
    20
}

/// CloudWatch alarms for this migration: lag, a task that failed or stopped, and an instance that sends no data.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alarms {
    /// The SNS topic they notify.
    #[serde(rename = "snsTopicARN")]
    #[schemars(
        length(max = 256),
        regex(pattern = r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]+$")
    )]
    pub sns_topic_arn: String,
    /// Lag above which the alarm rings and the migration is not Ready, as 60s or 2m30s.
    #[serde(default = "lag_threshold")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s')").message("lagThreshold must be at least 1s"))]
    #[schemars(length(max = 16), regex(pattern = form::DURATION))]
    pub lag_threshold: String,
}

fn lag_threshold() -> String {
    "60s".to_owned()
}

/// What is compared before the writer moves.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// Questions that must have the same answer on both sides, such as the sum of all balances.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub invariants: Vec<Invariant>,
}

/// A question to both databases.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Invariant {
    /// How it is called in messages.
    #[schemars(length(min = 1, max = 63), regex(pattern = form::TEXT))]
    pub name: String,
    /// One SELECT that returns one value. It runs read-only on both sides, while nobody can write.
    #[schemars(length(min = 1, max = 4096), regex(pattern = r"^[^\x00]+$"))]
    #[x_kube(validation = Rule::new("self.matches('(?i)^[[:space:]]*(select|with|values|table)([^a-z0-9_]|$)')").message("sql: one query that begins with SELECT, WITH, VALUES or TABLE"))]
    pub sql: String,
}

/// How the writer moves.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cutover {
    /// Which comes first; said here and nowhere else. `TrafficFirst`: the writer moves once every one of spec.applications is
    /// Shifted. `DatabaseFirst`: they wait with all traffic at the source until the target is the writer.
    #[serde(default)]
    pub order: Order,
    /// The cutover begins only while the target is not further behind than this, as 5s.
    #[serde(default = "max_lag")]
    #[schemars(length(max = 16), regex(pattern = form::DURATION))]
    pub max_lag: String,
    /// For how long nobody may be able to write, from 5s to 10m. When it passes before the target was promoted, the source
    /// is opened again by itself.
    #[serde(default = "max_write_outage")]
    #[schemars(length(max = 16), regex(pattern = form::DURATION))]
    pub max_write_outage: String,
    /// The cutover does not begin before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Time>,
    /// The cutover does not begin after this. One that has begun goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,
    /// How applications find the writer. Needed for the goals `CutOver` and Finish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<ConnectionBy>,
}

impl Default for Cutover {
    fn default() -> Self {
        Self {
            order: Order::default(),
            max_lag: max_lag(),
            max_write_outage: max_write_outage(),
            not_before: None,
            not_after: None,
            connection: None,
        }
    }
}

fn max_lag() -> String {
    "5s".to_owned()
}

fn max_write_outage() -> String {
    "60s".to_owned()
}

/// Which comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Order {
    /// All traffic, then the writer.
    #[default]
    TrafficFirst,
    /// The writer, then the traffic.
    DatabaseFirst,
}

/// What is kept for the way back.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollback {
    /// Goal Finish is honoured only this long after the target became the writer, as 72h.
    #[serde(default = "min_soak")]
    #[schemars(length(max = 16), regex(pattern = form::DURATION))]
    pub min_soak: String,
}

impl Default for Rollback {
    fn default() -> Self {
        Self { min_soak: min_soak() }
    }
}

fn min_soak() -> String {
    "72h".to_owned()
}

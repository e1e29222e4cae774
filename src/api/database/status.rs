//! The status of a `DatabaseMigration`: what was observed, and when. No enums: a newer operator must be able to write to
//! an older CRD.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was observed, and when; never what was wished.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseMigrationStatus {
    /// The `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When what is below was seen. Written on news, else at most every 5 minutes while replicating, never at rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<Time>,
    /// Pending, Assessing, Provisioning, Loading, Replicating, `CuttingOver`, Soaking, Finishing, Finished or Deleting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub phase: Option<String>,
    /// Which database takes the applications' writes: Source, None, Target, Both (a violation) or Unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub writer: Option<String>,
    /// What happens next, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub next: Option<String>,
    /// Set before the first effect outside this resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioned_at: Option<Time>,
    /// Set when the way back was removed: from then on only goal Finish is possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point_of_no_return_at: Option<Time>,
    /// What was last decided about the writer; written before its first effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<Decided>,
    /// A cutover that was given up and stays given up until spec.attempt exceeds this attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latch: Option<Latch>,
    /// What a way back would cost now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackStatus>,
    /// What was compared before the writer moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<VerificationStatus>,
    /// How replication stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication: Option<ReplicationStatus>,
    /// How the tables stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tables: Option<TablesStatus>,
    /// What would still be done to reach Replicate; written while the goal is Plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanStatus>,
    /// The phases passed, newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub history: Vec<HistoryEntry>,
    /// Ready, Reconciling, Stalled and what they rest on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// How replication stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicationStatus {
    /// Age of the operator's own heartbeat row as seen on the target. Absent when unknown, never a stale number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub lag: Option<String>,
    /// When the lag was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured_at: Option<Time>,
    /// The same as `CloudWatch` has it (the larger of `CDCLatencySource` and `CDCLatencyTarget`), a second witness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub cloud_watch_lag: Option<String>,
    /// The DMS task.
    #[serde(default, rename = "taskARN", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub task_arn: Option<String>,
    /// What DMS says of the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub task_status: Option<String>,
    /// The DMS replication instance.
    #[serde(default, rename = "instanceARN", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub instance_arn: Option<String>,
    /// The replication slots of this migration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["side", "name"]))]
    pub slots: Vec<SlotStatus>,
}

/// One replication slot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SlotStatus {
    /// Source or Target.
    #[schemars(length(max = 8))]
    pub side: String,
    /// Its name.
    #[schemars(length(max = 63))]
    pub name: String,
    /// WAL that it keeps on that side's disk, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retained_bytes: Option<i64>,
    /// `wal_status` as PostgreSQL has it: reserved, extended, unreserved or lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub wal_status: Option<String>,
}

/// How the tables stand.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TablesStatus {
    /// Loaded of all, as 214/214.
    #[schemars(length(max = 32))]
    pub summary: String,
    /// Tables to carry.
    pub total: i32,
    /// Tables loaded.
    pub loaded: i32,
    /// Tables in error.
    pub errored: i32,
    /// Tables whose rows DMS compared and found equal.
    pub validated: i32,
    /// Rows copied by the load.
    pub rows: i64,
    /// The tables that need a look, the worst first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub worst: Vec<TableStatus>,
}

/// One table that needs a look.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TableStatus {
    /// Schema and name.
    #[schemars(length(max = 130))]
    pub name: String,
    /// What DMS says of it.
    #[schemars(length(max = 64))]
    pub state: String,
}

/// What would be done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanStatus {
    /// SHA-256 of the steps: the same plan has the same hash.
    #[schemars(length(max = 64))]
    pub hash: String,
    /// When this plan was made.
    pub at: Time,
    /// The steps in their order.
    #[schemars(length(max = 40))]
    pub steps: Vec<PlanStep>,
}

/// One step of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanStep {
    /// What is done.
    #[schemars(length(max = 64))]
    pub action: String,
    /// To what.
    #[schemars(length(max = 256))]
    pub on: String,
    /// Whether deleting the resource undoes it. The target's rows and its fence stay.
    pub reversible: bool,
}

/// A decision about the writer. Each has a new number, and both databases refuse what an older one still sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Decided {
    /// Its number.
    pub epoch: i64,
    /// What it is: Steady, Move, Return or Finish.
    #[schemars(length(max = 16))]
    pub intent: String,
    /// The attempt that it belongs to.
    pub attempt: i32,
    /// When it was made.
    pub at: Time,
}

/// A cutover that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Latch {
    /// Which attempt.
    pub attempt: i32,
    /// Why, in a word.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// Why, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub message: Option<String>,
    /// When.
    pub at: Time,
}

/// What a way back would cost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RollbackStatus {
    /// Instant: the source is the writer. None: there is no way back by Slipway.
    #[schemars(length(max = 24))]
    pub mode: String,
    /// Why it is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub reason: Option<String>,
}

/// What was compared before the writer moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerificationStatus {
    /// Equal or Different.
    #[schemars(length(max = 16))]
    pub state: String,
    /// When, while nobody could write.
    pub verified_at: Time,
    /// Tables compared in full.
    pub tables: i32,
    /// Rows compared on each side.
    pub rows: i64,
}

/// One phase that was entered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// When.
    pub at: Time,
    /// Which phase.
    #[schemars(length(max = 32))]
    pub phase: String,
    /// Which step of it was done, in a phase that has steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub step: Option<String>,
    /// What was known then; of a step, how long it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub evidence: Option<String>,
}

//! The status of an `ApplicationMigration`: what was observed, and when. No enums: a newer operator must be able to write to
//! an older CRD.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::api::database::Latch;

/// What was observed, and when; never what was wished.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationMigrationStatus {
    /// The `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When what is below was seen. Written on news, never at rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<Time>,
    /// Pending, Assessing, Staging, Shifting, Shifted, `RollingBack`, `RolledBack`, Finishing, Finished or Deleting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub phase: Option<String>,
    /// Which database takes the application's writes, as its `DatabaseMigration` says.
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
    /// Set before the way back is removed: from then on only goal Finish is possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point_of_no_return_at: Option<Time>,
    /// An attempt that was given up and stays given up until spec.attempt exceeds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latch: Option<Latch>,
    /// How traffic stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<TrafficStatus>,
    /// Gates that pass, of those that decide, as 4/4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub gate_summary: Option<String>,
    /// How the gates stand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub gates: Vec<GateStatus>,
    /// What a way back would cost now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<WayBack>,
    /// What would be done; written while the goal is Plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// The phases and steps passed, newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub history: Vec<Passed>,
    /// Ready, Reconciling, Stalled and what they rest on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// How traffic stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrafficStatus {
    /// Percent that goes to the target, read back from Route 53 once it was on all of its servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<i32>,
    /// The percent that was last asked for; written before the records are changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_weight: Option<i32>,
    /// Which step of spec.traffic.steps that is, from 1; 0 is before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_index: Option<i32>,
    /// The attempt that it was asked for in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i32>,
    /// Route 53's change that carries it.
    #[serde(default, rename = "changeID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub change_id: Option<String>,
    /// When it was seen on all of Route 53's servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// When the weighted records were first seen there: resolvers may keep what stood before for its TTL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged_at: Option<Time>,
    /// The step is held at least until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_until: Option<Time>,
    /// The step, of how many, as 3/6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub step_summary: Option<String>,
    /// How the records differ from what was asked for: somebody else changed them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub drift: Option<String>,
}

/// How one gate stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GateStatus {
    /// Its name.
    #[schemars(length(max = 63))]
    pub name: String,
    /// Pass, Fail or Unknown.
    #[schemars(length(max = 16))]
    pub result: String,
    /// What was found, if anything was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub value: Option<String>,
    /// When that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged_at: Option<Time>,
    /// Why it stands so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub reason: Option<String>,
}

/// What a way back would cost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WayBack {
    /// Instant: new weights are enough, and the source is proved able to serve. None: there is no way back by Slipway now.
    #[schemars(length(max = 24))]
    pub mode: String,
    /// Why it is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub reason: Option<String>,
}

/// What would be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// SHA-256 of the steps: the same plan has the same hash.
    #[schemars(length(max = 64))]
    pub hash: String,
    /// When this plan was made.
    pub at: Time,
    /// The steps in their order.
    #[schemars(length(max = 60))]
    pub steps: Vec<PlannedStep>,
}

/// One step of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlannedStep {
    /// What is done.
    #[schemars(length(max = 64))]
    pub action: String,
    /// To what.
    #[schemars(length(max = 256))]
    pub on: String,
    /// Whether it can be taken back.
    pub reversible: bool,
}

/// One phase or step that was entered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Passed {
    /// When.
    pub at: Time,
    /// Which phase.
    #[schemars(length(max = 32))]
    pub phase: String,
    /// The weight of a step of it, as 25 %.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub step: Option<String>,
    /// What was known then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub evidence: Option<String>,
}

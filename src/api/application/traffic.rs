//! How traffic moves: the record, the steps, and what a failing gate does.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::form;

/// How traffic moves.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Traffic {
    /// The record that clients resolve.
    pub route53: Route53,
    /// Highest weight allowed, in percent. Required, no default. Lowering it below the present weight goes back, at once, to
    /// the highest step not above it (0 if there is none).
    #[schemars(range(min = 0, max = 100), extend("format" = "int32"))]
    pub max_weight: u8,
    /// The weights that are passed, one after the other.
    #[schemars(length(min = 1, max = 20))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[x_kube(validation = Rule::new("self.map(s, s.weight).isSorted() && self.all(s, self.exists_one(t, t.weight == s.weight)) && self[size(self) - 1].weight == 100").message("spec.traffic.steps: weights must strictly rise and end at 100"))]
    pub steps: Vec<TrafficStep>,
    /// What a failing gate does: Rollback takes all traffic back to the source, if that is proved able to serve; Hold stops
    /// where it is.
    #[serde(default)]
    pub on_failure: OnFailure,
}

/// A record of a hosted zone in the operator's account.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Route53 {
    /// The hosted zone.
    #[serde(rename = "zoneID")]
    #[schemars(length(max = 32), regex(pattern = r"^Z[A-Z0-9]+$"))]
    pub zone_id: String,
    /// The name, in lower case and without a dot at the end. Short enough for the marker beside it, slipway.NAME.
    #[schemars(length(min = 1, max = 245), regex(pattern = form::RECORD))]
    pub name: String,
    /// Seconds for which resolvers keep an answer.
    #[serde(default = "record_ttl")]
    #[schemars(range(min = 1, max = 300), extend("format" = "int32"))]
    pub ttl_seconds: u32,
    /// What to do with a simple record of this name that leads to the source. Refuse: nothing, and say so. Replace: it is
    /// replaced by the weighted ones in one batch that moves no traffic; deleting this resource restores it.
    #[serde(default)]
    pub existing_record: ExistingRecord,
}

fn record_ttl() -> u32 {
    30
}

/// What to do with a record that stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ExistingRecord {
    /// Leave it alone.
    #[default]
    Refuse,
    /// Put weighted ones in its place.
    Replace,
}

/// What a failing gate does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OnFailure {
    /// All traffic goes back.
    #[default]
    Rollback,
    /// It stays where it is.
    Hold,
}

/// One weight that is passed.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrafficStep {
    /// Percent of the traffic that goes to the target.
    #[schemars(range(min = 1, max = 100), extend("format" = "int32"))]
    pub weight: u8,
    /// How long it stays there at least, after every resolver has the new weight, as 30m.
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s')").message("spec.traffic.steps: hold must be at least 1s"))]
    #[schemars(length(max = 16), regex(pattern = form::DURATION))]
    pub hold: String,
    /// The gates that are judged at this step; all of them if this is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 63)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub gates: Option<Vec<String>>,
}

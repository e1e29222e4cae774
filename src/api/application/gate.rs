//! Gates: what must hold for traffic to stay and to go further.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::form;

/// One gate. It passes, fails, or is not known; not known never lets anything go further.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.alarm), has(self.metric), has(self.http), has(self.databaseLag), has(self.databaseVerified), has(self.sql)].filter(x, x).size() == 1").message("spec.gates: exactly one of alarm, metric, http, databaseLag, databaseVerified and sql in each"))]
pub struct Gate {
    /// How it is called.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Observe: it is judged and told of, and decides nothing.
    #[serde(default)]
    pub mode: GateMode,
    /// How often it is judged. What is older than two of these is not known.
    #[serde(default = "interval")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s')").message("spec.gates: interval must be at least 1s"))]
    #[schemars(length(max = 16), regex(pattern = form::DURATION))]
    pub interval: String,
    /// Failures in a row after which it fails.
    #[serde(default = "once")]
    #[schemars(range(min = 1, max = 10), extend("format" = "int32"))]
    pub failures_to_trip: u32,
    /// A CloudWatch alarm of the operator's account and region, whoever made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm: Option<AlarmGate>,
    /// A CloudWatch metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<MetricGate>,
    /// An answer of one side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpGate>,
    /// How far the other database is behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database_lag: Option<DatabaseLagGate>,
    /// Both databases were compared and found equal when the writer moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database_verified: Option<DatabaseVerifiedGate>,
    /// A question to the database that takes the writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<SqlGate>,
}

fn interval() -> String {
    "1m".to_owned()
}

fn once() -> u32 {
    1
}

/// Whether a gate decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum GateMode {
    /// It decides.
    #[default]
    Enforce,
    /// It is told of.
    Observe,
}

/// Passes at OK, judged after the weight was reached; fails at ALARM. `INSUFFICIENT_DATA`, or no such alarm, is not known.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlarmGate {
    /// Its name.
    #[schemars(length(min = 1, max = 255), regex(pattern = form::TEXT))]
    pub alarm_name: String,
}

/// A CloudWatch metric against a number, or against the same metric of the source.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.threshold) != has(self.maxRatioToSourcePercent)").message("spec.gates: exactly one of metric.threshold and metric.maxRatioToSourcePercent"))]
#[x_kube(validation = Rule::new("has(self.maxRatioToSourcePercent) == has(self.sourceDimensions)").message("spec.gates: metric.sourceDimensions says which metric is the source's; it is needed with maxRatioToSourcePercent and forbidden otherwise"))]
#[x_kube(validation = Rule::new("!has(self.maxRatioToSourcePercent) || self.operator == 'LessThanOrEqual'").message("spec.gates: metric.maxRatioToSourcePercent is a maximum; its operator is LessThanOrEqual"))]
pub struct MetricGate {
    /// Its namespace, as AWS/ApplicationELB.
    #[schemars(length(min = 1, max = 255), regex(pattern = form::TEXT))]
    pub namespace: String,
    /// Its name.
    #[schemars(length(min = 1, max = 255), regex(pattern = form::TEXT))]
    pub metric_name: String,
    /// Its dimensions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 10, "additionalProperties" = {"type": "string", "maxLength": 255, "pattern": "^[ -~]*$"}))]
    #[x_kube(validation = Rule::new("self.all(k, size(k) >= 1 && size(k) <= 255 && size(self[k]) >= 1)").message("spec.gates: metric.dimensions must have names and values of 1 to 255 characters"))]
    pub dimensions: BTreeMap<String, String>,
    /// The dimensions of the same metric of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 10, "additionalProperties" = {"type": "string", "maxLength": 255, "pattern": "^[ -~]*$"}))]
    #[x_kube(validation = Rule::new("self.all(k, size(k) >= 1 && size(k) <= 255 && size(self[k]) >= 1)").message("spec.gates: metric.sourceDimensions must have names and values of 1 to 255 characters"))]
    pub source_dimensions: Option<BTreeMap<String, String>>,
    /// `Average`, `Sum`, `Maximum`, `Minimum`, `SampleCount`, or a percentile such as `p99`.
    #[schemars(
        length(max = 16),
        regex(pattern = r"^(Average|Sum|Maximum|Minimum|SampleCount|p[0-9]{1,2}(\.[0-9]{1,2})?)$")
    )]
    pub statistic: String,
    /// On which side of the limit it passes.
    pub operator: MetricOperator,
    /// The limit, as a decimal number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24), regex(pattern = r"^-?[0-9]+(\.[0-9]+)?$"))]
    pub threshold: Option<String>,
    /// The limit as a share of the source's value: 120 lets the target be a fifth worse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_ratio_to_source_percent: Option<i32>,
    /// Fewer samples than this are not enough to know anything, on either side.
    #[serde(default = "min_samples")]
    #[schemars(range(min = 1, max = 100_000))]
    pub min_samples: i32,
}

fn min_samples() -> i32 {
    30
}

/// On which side of the limit a metric passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum MetricOperator {
    /// At the limit and below.
    LessThanOrEqual,
    /// At the limit and above.
    GreaterThanOrEqual,
}

/// An answer of one side. Host and port come from spec.source or the load balancer: there is no URL to forge.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpGate {
    /// Which side is asked.
    pub side: GateSide,
    /// Path, and no more.
    #[schemars(length(min = 1, max = 255), regex(pattern = form::PATH))]
    pub path: String,
    /// The status that passes; any other fails. No answer in time is not known.
    #[serde(default = "ok_status")]
    #[schemars(range(min = 100, max = 599), extend("format" = "int32"))]
    pub expected_status: u16,
}

fn ok_status() -> u16 {
    200
}

/// Which side is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum GateSide {
    /// The application as it is today.
    Source,
    /// The application on AWS.
    Target,
}

/// How far the other database is behind, as the `DatabaseMigration` measured it last.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseLagGate {
    /// The most that passes, as 5s.
    #[x_kube(validation = Rule::new("duration(self) > duration('0s')").message("spec.gates: databaseLag.max must be longer than nothing"))]
    #[schemars(length(max = 16), regex(pattern = form::DURATION))]
    pub max: String,
}

/// Nothing to say.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseVerifiedGate {}

/// A question to the database that takes the writes, read-only, with the operator's role of the `DatabaseMigration`.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SqlGate {
    /// One SELECT that returns one value. Tables are named with their schema.
    #[schemars(length(min = 1, max = 4096), regex(pattern = r"^[^\x00]+$"))]
    #[x_kube(validation = Rule::new("self.matches('(?i)^[[:space:]]*(select|with|values|table)([^a-z0-9_]|$)')").message("spec.gates: sql.query is one query that begins with SELECT, WITH, VALUES or TABLE"))]
    pub query: String,
    /// The value that passes, as text.
    #[schemars(length(max = 128), regex(pattern = r"^[^\x00]*$"))]
    pub expect: String,
}

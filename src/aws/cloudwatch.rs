//! `CloudWatch`, in our words: a migration's alarms and dashboard, what gates are judged by, and DMS's own lag as a second
//! witness.

use aws_sdk_cloudwatch::Client;
use jiff::Timestamp;

use super::call::Caller;

mod alarm;
mod dashboard;
mod lag;
mod sample;
#[cfg(test)]
mod tests;

pub use dashboard::Dashboard;
pub use sample::{AlarmState, Datapoint, Metric};

/// `CloudWatch` of one account in one region.
pub struct CloudWatch {
    client: Client,
    caller: Caller,
}

impl CloudWatch {
    pub(super) fn new(client: Client, caller: Caller) -> Self {
        Self { client, caller }
    }
}

/// Where DMS publishes.
pub const DMS: &str = "AWS/DMS";
/// Seconds: DMS and load balancers publish once a minute.
const PERIOD: i32 = 60;

/// One metric alarm, wished or seen: everything that is compared. Static threshold, period 60 s.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Alarm {
    pub name: String,
    pub description: String,
    /// [`DMS`], `AWS/ApplicationELB` …
    pub namespace: String,
    pub metric: String,
    pub dimensions: Vec<(String, String)>,
    pub statistic: Statistic,
    pub comparison: Comparison,
    pub threshold: f64,
    /// Periods of 60 s.
    pub periods: i32,
    /// What a period without data counts as.
    pub missing_data: MissingData,
    pub sns_topic_arn: String,
}

/// Which statistic.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Statistic {
    Average,
    Maximum,
    SampleCount,
    Sum,
    /// A percentile: `p99`.
    Extended(String),
    /// One that is seen and never wished for.
    Other(String),
}

/// Which comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Comparison {
    GreaterThanThreshold,
    LessThanThreshold,
    Other(String),
}

/// `TreatMissingData`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum MissingData {
    Breaching,
    NotBreaching,
    Other(String),
}

/// An alarm as `CloudWatch` has it.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenAlarm {
    /// Its definition.
    pub alarm: Alarm,
    /// OK, ALARM or `INSUFFICIENT_DATA`, as AWS wrote it.
    pub state: String,
    /// Whose it is.
    pub owner: super::dms::Owner,
}

/// DMS's own lag: the larger of `CDCLatencySource` and `CDCLatencyTarget` (never their sum: the second includes the
/// first, AWS DMS user guide, troubleshooting latency).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TaskLag {
    /// Seconds.
    pub seconds: f64,
    /// Of the newest datapoint.
    pub at: Timestamp,
}

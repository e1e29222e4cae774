//! What gates are judged by: states of alarms of anybody, and datapoints of any metric.

use jiff::Timestamp;

/// The state of an alarm that a gate names; it may be anybody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmState {
    /// Its name.
    pub name: String,
    /// `OK`, `ALARM` or `INSUFFICIENT_DATA`, as AWS writes it.
    pub value: String,
    /// When it was last judged to be so (`StateUpdatedTimestamp`).
    pub updated_at: Option<Timestamp>,
}

/// Which metric.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Metric {
    /// `AWS/ApplicationELB`, or an application's own.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Name and value of each.
    pub dimensions: Vec<(String, String)>,
    /// `Average`, `Sum`, `Maximum`, `p99` …
    pub statistic: String,
}

/// The newest whole period of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Datapoint {
    /// When its period began.
    pub at: Timestamp,
    /// By the statistic that was asked for.
    pub value: f64,
    /// How many samples it rests on.
    pub samples: f64,
}

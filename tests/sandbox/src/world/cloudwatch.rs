//! `CloudWatch`: the metrics that DMS publishes, and alarms on them.
//!
//! | rule | source |
//! |---|---|
//! | task metrics carry both dimensions, instance identifier and the task's resource id; host metrics the first alone | user guide, CHAP_Monitoring; yet-another-cloudwatch-exporter PR 492 |
//! | once a minute, readable a minute late | unverified; [`super::Delays`] |
//! | a stopped task publishes nothing | unverified; switch `stopped-tasks-publish` |
//! | dimensions must match exactly; a wrong one gives no data and no error | API model of GetMetricData |

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{Refusal, World};

mod alarm;
mod metric;

pub use alarm::{Alarm, AlarmPage, DescribeAlarms, PutMetricAlarm};
pub use metric::{GetMetricData, MetricQuery, MetricResult, Point, Series, Statistic};

/// A call.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the AWS operation of that name")]
pub enum Call {
    GetMetricData(GetMetricData),
    PutMetricAlarm(Box<PutMetricAlarm>),
    DescribeAlarms(DescribeAlarms),
    DeleteAlarms { names: Vec<String> },
    ListTagsForResource { arn: String },
}

/// The answer to a [`Call`].
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the AWS answer of that name")]
pub enum Reply {
    MetricData(Vec<MetricResult>),
    Alarms(AlarmPage),
    Tags(BTreeMap<String, String>),
    Done,
}

/// Metrics and alarms.
#[derive(Clone, Debug)]
pub(super) struct CloudWatch {
    pub(super) next_tick: Timestamp,
    pub(super) series: BTreeMap<Series, Vec<Point>>,
    pub(super) alarms: BTreeMap<String, Alarm>,
}

impl CloudWatch {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { next_tick: now, series: BTreeMap::new(), alarms: BTreeMap::new() }
    }

    /// While nothing publishes and nothing watches, ticks are not worth waking for.
    pub(super) fn skip_ticks(&mut self, now: Timestamp, period: SignedDuration) {
        if self.next_tick <= now {
            self.next_tick = metric::floor(now, period) + period;
        }
    }
}

impl World {
    pub(super) fn cloudwatch_call(&mut self, call: Call) -> Result<Reply, Refusal> {
        match call {
            Call::GetMetricData(call) => self.get_metric_data(&call),
            Call::PutMetricAlarm(call) => self.put_metric_alarm(*call),
            Call::DescribeAlarms(call) => self.describe_alarms(&call),
            Call::DeleteAlarms { names } => {
                // A wrong name does not keep the right ones from being deleted: API model of DeleteAlarms.
                self.cloudwatch.alarms.retain(|name, _| !names.contains(name));
                Ok(Reply::Done)
            }
            Call::ListTagsForResource { arn } => {
                let alarm = self.cloudwatch.alarms.values().find(|alarm| alarm.arn == arn);
                alarm.map(|alarm| Reply::Tags(alarm.tags.clone())).ok_or_else(|| {
                    Refusal::new("ResourceNotFoundException", format!("no alarm has the ARN {arn}"))
                })
            }
        }
    }

    /// Whether ticks matter.
    pub(super) fn publishes(&self) -> bool {
        !self.dms.instances.is_empty() || !self.cloudwatch.alarms.is_empty()
    }

    /// Publishes what there is to publish, then judges the alarms.
    pub(super) fn tick(&mut self) {
        let now = self.now;
        self.cloudwatch.next_tick = metric::floor(now, self.delays.metric_period) + self.delays.metric_period;
        if !self.spoilt.no_datapoints {
            self.publish();
        }
        let oldest = now - SignedDuration::from_hours(3);
        for points in self.cloudwatch.series.values_mut() {
            points.retain(|point| point.at >= oldest);
        }
        self.cloudwatch.series.retain(|_, points| !points.is_empty());
        self.judge_alarms();
    }
}

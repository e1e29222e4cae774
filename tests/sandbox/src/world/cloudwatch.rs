//! `CloudWatch`: the metrics that DMS and load balancers publish and that applications put, alarms on them, dashboards.
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
mod composite;
mod dashboard;
mod metric;

pub use alarm::{Alarm, AlarmPage, DescribeAlarms, PutMetricAlarm, SetAlarmState};
pub use composite::{Composite, PutCompositeAlarm};
pub use dashboard::{Dashboard, PutDashboard};
pub use metric::{GetMetricData, MetricQuery, MetricResult, Point, PutMetric, Sample, Series, Statistic};

use metric::Data;
pub(super) use metric::Dimensions;

/// A call.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the AWS operation of that name")]
pub enum Call {
    GetMetricData(GetMetricData),
    PutMetricData(Vec<PutMetric>),
    PutMetricAlarm(Box<PutMetricAlarm>),
    DescribeAlarms(DescribeAlarms),
    PutCompositeAlarm(PutCompositeAlarm),
    SetAlarmState(SetAlarmState),
    DeleteAlarms { names: Vec<String> },
    PutDashboard(PutDashboard),
    GetDashboard { name: String },
    ListDashboards,
    DeleteDashboards { names: Vec<String> },
    ListTagsForResource { arn: String },
}

/// The answer to a [`Call`].
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the AWS answer of that name")]
pub enum Reply {
    MetricData(Vec<MetricResult>),
    Alarms(AlarmPage),
    Tags(BTreeMap<String, String>),
    Dashboard(Dashboard),
    Dashboards(Vec<Dashboard>),
    /// Path and message of each.
    DashboardValidation(Vec<(String, String)>),
    Done,
}

/// Metrics and alarms.
#[derive(Clone, Debug)]
pub(super) struct CloudWatch {
    pub(super) next_tick: Timestamp,
    pub(super) series: BTreeMap<Series, Data>,
    pub(super) alarms: BTreeMap<String, Alarm>,
    pub(super) composites: BTreeMap<String, Composite>,
    pub(super) dashboards: BTreeMap<String, Dashboard>,
}

impl CloudWatch {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            next_tick: now,
            series: BTreeMap::new(),
            alarms: BTreeMap::new(),
            composites: BTreeMap::new(),
            dashboards: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, series: Series, unit: &str, sample: Sample) {
        let data = self.series.entry(series).or_default();
        unit.clone_into(&mut data.unit);
        data.samples.push(sample);
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
            Call::PutMetricData(metrics) => self.put_metric_data(metrics),
            Call::PutMetricAlarm(call) => self.put_metric_alarm(*call),
            Call::DescribeAlarms(call) => self.describe_alarms(&call),
            Call::PutCompositeAlarm(call) => self.put_composite_alarm(call),
            Call::SetAlarmState(call) => self.set_alarm_state(call),
            Call::DeleteAlarms { names } => {
                // A wrong name does not keep the right ones from being deleted: API model of DeleteAlarms.
                self.cloudwatch.alarms.retain(|name, _| !names.contains(name));
                self.cloudwatch.composites.retain(|name, _| !names.contains(name));
                Ok(Reply::Done)
            }
            Call::PutDashboard(call) => self.put_dashboard(call),
            Call::GetDashboard { name } => self.cloudwatch.dashboard(&name).cloned().map(Reply::Dashboard),
            // All at once: nobody here has a thousand, where AWS would begin another page.
            Call::ListDashboards => {
                Ok(Reply::Dashboards(self.cloudwatch.dashboards.values().cloned().collect()))
            }
            Call::DeleteDashboards { names } => {
                // One wrong name, and none is deleted: API model of DeleteDashboards.
                names.iter().try_for_each(|name| self.cloudwatch.dashboard(name).map(drop))?;
                self.cloudwatch.dashboards.retain(|name, _| !names.contains(name));
                Ok(Reply::Done)
            }
            Call::ListTagsForResource { arn } => {
                let of_metric = self.cloudwatch.alarms.values().find(|it| it.arn == arn).map(|it| &it.tags);
                let composite =
                    self.cloudwatch.composites.values().find(|it| it.arn == arn).map(|it| &it.tags);
                let dashboard =
                    self.cloudwatch.dashboards.values().find(|it| it.arn == arn).map(|it| &it.tags);
                of_metric.or(composite).or(dashboard).map(|tags| Reply::Tags(tags.clone())).ok_or_else(|| {
                    Refusal::new("ResourceNotFoundException", format!("nothing has the ARN {arn}"))
                })
            }
        }
    }

    /// Whether ticks matter.
    pub(super) fn publishes(&self) -> bool {
        !self.dms.instances.is_empty() || !self.cloudwatch.alarms.is_empty() || !self.balancers.all.is_empty()
    }

    /// Publishes what there is to publish, then judges the alarms.
    pub(super) fn tick(&mut self) {
        let now = self.now;
        self.cloudwatch.next_tick = metric::floor(now, self.delays.metric_period) + self.delays.metric_period;
        // What load balancers did is gone with its minute, published or not.
        let served = self.take_served();
        if !self.spoilt.no_datapoints {
            self.publish();
            for (series, unit, sample) in served {
                self.cloudwatch.add(series, unit, sample);
            }
        }
        let oldest = now - SignedDuration::from_hours(3);
        for data in self.cloudwatch.series.values_mut() {
            data.samples.retain(|sample| sample.at >= oldest);
        }
        self.cloudwatch.series.retain(|_, data| !data.samples.is_empty());
        self.judge_alarms();
    }
}

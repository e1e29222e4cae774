//! Metric alarms.
//!
//! | rule | source |
//! |---|---|
//! | a new alarm is `INSUFFICIENT_DATA`; putting one that exists keeps its state and replaces all its settings | API model of PutMetricAlarm |
//! | tags are taken only when an alarm is made | API model of PutMetricAlarm |
//! | missing data is missing, notBreaching, breaching or ignored | API model of PutMetricAlarm |
//! | a wrong name in a describe is no error; composite alarms are only shown to who asks for their type | API model of DescribeAlarms |
//! | a state that somebody set lasts until the next judgement | API model of SetAlarmState |
//! | the time of a state is when it last changed, however often it was judged since | API model of MetricAlarm, `StateTransitionedTimestamp` |

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::metric::{Series, Statistic, check_period, floor};
use super::{Composite, Reply};
use crate::world::{Refusal, World};

/// `PutMetricAlarm`, for one metric without expressions.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct PutMetricAlarm {
    pub name: String,
    pub description: Option<String>,
    pub actions_enabled: bool,
    pub ok_actions: Vec<String>,
    pub alarm_actions: Vec<String>,
    pub insufficient_data_actions: Vec<String>,
    pub series: Series,
    pub statistic: Statistic,
    pub period_seconds: i64,
    pub evaluation_periods: i64,
    pub datapoints_to_alarm: Option<i64>,
    pub threshold: f64,
    pub comparison_operator: String,
    pub treat_missing_data: Option<String>,
    pub unit: Option<String>,
    pub tags: BTreeMap<String, String>,
}

/// An alarm and its state.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct Alarm {
    pub arn: String,
    pub settings: PutMetricAlarm,
    pub tags: BTreeMap<String, String>,
    pub state: &'static str,
    pub state_reason: String,
    pub state_updated: Timestamp,
    pub configured: Timestamp,
}

/// `DescribeAlarms`
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct DescribeAlarms {
    pub names: Vec<String>,
    pub name_prefix: Option<String>,
    pub state: Option<String>,
    pub max_records: Option<usize>,
    pub next_token: Option<String>,
    /// `MetricAlarm`, `CompositeAlarm`; the former alone if it is empty.
    pub kinds: Vec<String>,
}

/// `SetAlarmState`
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct SetAlarmState {
    pub name: String,
    pub state: String,
    pub reason: String,
}

/// One page of alarms.
#[derive(Clone, Debug)]
pub struct AlarmPage {
    /// In the order of their names.
    pub alarms: Vec<Alarm>,
    /// In the order of their names, and on the first page.
    pub composites: Vec<Composite>,
    /// Where the next page begins.
    pub next_token: Option<String>,
}

impl World {
    pub(super) fn put_metric_alarm(&mut self, call: PutMetricAlarm) -> Result<Reply, Refusal> {
        check(&call)?;
        let now = self.now;
        let arn = self.names.arn("cloudwatch", "alarm", &call.name);
        let mut alarm = self.cloudwatch.alarms.remove(&call.name).unwrap_or_else(|| Alarm {
            arn,
            settings: call.clone(),
            tags: call.tags.clone(),
            state: "INSUFFICIENT_DATA",
            state_reason: "Unchecked: Initial alarm creation".to_owned(),
            state_updated: now,
            configured: now,
        });
        alarm.configured = now;
        alarm.settings = call;
        self.cloudwatch.alarms.insert(alarm.settings.name.clone(), alarm);
        Ok(Reply::Done)
    }

    pub(super) fn describe_alarms(&self, call: &DescribeAlarms) -> Result<Reply, Refusal> {
        let size = call.max_records.unwrap_or(50);
        if !(1..=100).contains(&size) {
            return Err(Refusal::new(
                "ValidationError",
                format!("MaxRecords {size} is not between 1 and 100"),
            ));
        }
        let asked = |kind: &str| call.kinds.iter().any(|wanted| wanted == kind);
        let metric = asked("MetricAlarm") || call.kinds.is_empty();
        let fits = |name: &String, state: &str| {
            (call.names.is_empty() || call.names.contains(name))
                && call.name_prefix.as_ref().is_none_or(|prefix| name.starts_with(prefix))
                && call.state.as_ref().is_none_or(|wanted| wanted == state)
        };
        let mut alarms: Vec<Alarm> = self
            .cloudwatch
            .alarms
            .values()
            .filter(|alarm| metric && fits(&alarm.settings.name, alarm.state))
            .filter(|alarm| call.next_token.as_ref().is_none_or(|token| alarm.settings.name > *token))
            .take(size + 1)
            .cloned()
            .collect();
        let first = asked("CompositeAlarm") && call.next_token.is_none();
        let composites = self.cloudwatch.composites.values();
        let composites =
            composites.filter(|alarm| first && fits(&alarm.settings.name, alarm.state)).cloned().collect();
        let more = alarms.len() > size;
        alarms.truncate(size);
        let next_token = alarms.last().filter(|_| more).map(|alarm| alarm.settings.name.clone());
        Ok(Reply::Alarms(AlarmPage { alarms, composites, next_token }))
    }

    pub(super) fn set_alarm_state(&mut self, call: SetAlarmState) -> Result<Reply, Refusal> {
        let SetAlarmState { name, state, reason } = call;
        let states = ["OK", "ALARM", "INSUFFICIENT_DATA"];
        let Some(state) = states.into_iter().find(|known| *known == state) else {
            return Err(Refusal::new(
                "ValidationError",
                format!("StateValue {state:?} is not one of {states:?}"),
            ));
        };
        let now = self.now;
        if let Some(alarm) = self.cloudwatch.alarms.get_mut(&name) {
            (alarm.state, alarm.state_reason, alarm.state_updated) = (state, reason, now);
        } else if let Some(alarm) = self.cloudwatch.composites.get_mut(&name) {
            (alarm.state, alarm.state_reason, alarm.state_updated) = (state, reason, now);
        } else {
            return Err(Refusal::new("ResourceNotFound", format!("Unknown alarm {name}")));
        }
        Ok(Reply::Done)
    }

    /// The state of an alarm of either kind.
    pub(in crate::world) fn alarm_state(&self, name: &str) -> Option<&'static str> {
        let of_metric = self.cloudwatch.alarms.get(name).map(|alarm| alarm.state);
        of_metric.or_else(|| self.cloudwatch.composites.get(name).map(|alarm| alarm.state))
    }

    pub(super) fn judge_alarms(&mut self) {
        let now = self.now;
        let verdicts: Vec<_> = self
            .cloudwatch
            .alarms
            .iter()
            .map(|(name, alarm)| (name.clone(), self.judge(&alarm.settings)))
            .collect();
        for (name, verdict) in verdicts {
            let (Some((state, reason)), Some(alarm)) = (verdict, self.cloudwatch.alarms.get_mut(&name))
            else {
                continue;
            };
            if alarm.state != state {
                alarm.state = state;
                alarm.state_reason = reason;
                alarm.state_updated = now;
            }
        }
        self.judge_composites();
    }

    /// The state that the last periods ask for; none if it is to stay.
    fn judge(&self, alarm: &PutMetricAlarm) -> Option<(&'static str, String)> {
        let minute = i64::try_from(self.delays.alarm_minute.as_millis()).unwrap_or(i64::MAX);
        let period = SignedDuration::from_millis(alarm.period_seconds.saturating_mul(minute) / 60);
        let values = self.periods(&alarm.series, period, alarm.statistic);
        let current = floor(self.now - self.delays.metric_lateness, period);
        let last = if values.contains_key(&current) { current } else { current - period };
        let mut found = 0;
        let mut breaching = 0;
        let missing = alarm.treat_missing_data.as_deref().unwrap_or("missing");
        for back in 0..alarm.evaluation_periods {
            let at = last - period.saturating_mul(i32::try_from(back).unwrap_or(i32::MAX));
            match values.get(&at) {
                Some(value) => {
                    found += 1;
                    breaching += i64::from(breaches(*value, &alarm.comparison_operator, alarm.threshold));
                }
                None => breaching += i64::from(missing == "breaching"),
            }
        }
        if found == 0 && missing == "ignore" {
            return None;
        }
        if found == 0 && missing == "missing" {
            return Some(("INSUFFICIENT_DATA", "Insufficient Data: no datapoints were received".to_owned()));
        }
        let needed =
            alarm.datapoints_to_alarm.unwrap_or(alarm.evaluation_periods).min(alarm.evaluation_periods);
        let reason = format!(
            "Threshold Crossed: {breaching} of the last {} periods breach the threshold ({}), {found} with data",
            alarm.evaluation_periods, alarm.threshold
        );
        Some(if breaching >= needed { ("ALARM", reason) } else { ("OK", reason) })
    }
}

fn breaches(value: f64, operator: &str, threshold: f64) -> bool {
    match operator {
        "GreaterThanThreshold" => value > threshold,
        "GreaterThanOrEqualToThreshold" => value >= threshold,
        "LessThanThreshold" => value < threshold,
        _ => value <= threshold,
    }
}

fn check(call: &PutMetricAlarm) -> Result<(), Refusal> {
    let refuse = |why: String| Err(Refusal::new("ValidationError", why));
    check_period(call.period_seconds)?;
    if call.name.is_empty() || call.name.chars().count() > 255 {
        return refuse(format!("AlarmName {:?} must have 1 to 255 characters", call.name));
    }
    if call.evaluation_periods < 1 || call.period_seconds * call.evaluation_periods > 7 * 86_400 {
        return refuse(format!(
            "EvaluationPeriods {} must be at least 1, and cover at most a week",
            call.evaluation_periods
        ));
    }
    if call.datapoints_to_alarm.is_some_and(|points| !(1..=call.evaluation_periods).contains(&points)) {
        return refuse("DatapointsToAlarm must be between 1 and EvaluationPeriods".to_owned());
    }
    let operators = [
        "GreaterThanThreshold",
        "GreaterThanOrEqualToThreshold",
        "LessThanThreshold",
        "LessThanOrEqualToThreshold",
    ];
    if !operators.contains(&call.comparison_operator.as_str()) {
        return refuse(format!(
            "ComparisonOperator {:?} is not one of {operators:?}",
            call.comparison_operator
        ));
    }
    let missing = ["missing", "notBreaching", "breaching", "ignore"];
    match &call.treat_missing_data {
        Some(word) if !missing.contains(&word.as_str()) => {
            refuse(format!("TreatMissingData {word:?} is not one of {missing:?}"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Sample;
    use super::*;
    use crate::world::{Config, Delays};

    /// The state that a world with these minutes (none: no data) would give the alarm `> 10, 2 of 3 minutes`.
    fn judged(minutes: [Option<f64>; 3], missing: &str) -> Option<&'static str> {
        let start = Timestamp::from_second(1_800_000_000).expect("a time");
        let delays = Delays { alarm_minute: SignedDuration::from_mins(1), ..Delays::none() };
        let mut world = World::new(Config { delays, ..Config::default() }, start);
        let series = Series {
            namespace: "AWS/DMS".into(),
            name: "CDCLatencyTarget".into(),
            dimensions: BTreeMap::new(),
        };
        let alarm = PutMetricAlarm {
            name: "lag".into(),
            description: None,
            actions_enabled: true,
            ok_actions: Vec::new(),
            alarm_actions: Vec::new(),
            insufficient_data_actions: Vec::new(),
            series: series.clone(),
            statistic: Statistic::Maximum,
            period_seconds: 60,
            evaluation_periods: 3,
            datapoints_to_alarm: Some(2),
            threshold: 10.0,
            comparison_operator: "GreaterThanThreshold".into(),
            treat_missing_data: Some(missing.into()),
            unit: None,
            tags: BTreeMap::new(),
        };
        check(&alarm).expect("legal");
        for (minute, value) in (0..).zip(minutes) {
            let at = start + SignedDuration::from_mins(minute);
            if let Some(value) = value {
                world.cloudwatch.add(series.clone(), "Seconds", Sample { at, value, count: 1.0 });
            }
        }
        // The fourth minute has begun and has no data yet.
        world.now = start + SignedDuration::from_mins(3);
        world.judge(&alarm).map(|(state, _)| state)
    }

    /// Source: CloudWatch API model, PutMetricAlarm: DatapointsToAlarm and TreatMissingData.
    #[test]
    #[allow(clippy::doc_markdown)]
    fn two_of_three_minutes_raise_the_alarm_and_missing_ones_count_as_told() {
        let (low, high) = (Some(1.0), Some(11.0));
        for missing in ["missing", "notBreaching", "breaching", "ignore"] {
            assert_eq!(judged([high, low, high], missing), Some("ALARM"), "{missing}");
            assert_eq!(judged([low, low, high], missing), Some("OK"), "{missing}");
        }
        assert_eq!(judged([None, low, high], "breaching"), Some("ALARM"));
        assert_eq!(judged([None, low, high], "notBreaching"), Some("OK"));
        let nothing = [None; 3];
        assert_eq!(judged(nothing, "missing"), Some("INSUFFICIENT_DATA"));
        assert_eq!(judged(nothing, "notBreaching"), Some("OK"));
        assert_eq!(judged(nothing, "breaching"), Some("ALARM"));
        assert_eq!(judged(nothing, "ignore"), None);
    }
}

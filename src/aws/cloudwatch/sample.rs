//! What gates are judged by: states of alarms of anybody, and datapoints of any metric.

use std::collections::BTreeMap;

use aws_sdk_cloudwatch::types::{
    AlarmType, Dimension, Metric as WireMetric, MetricDataQuery, MetricDataResult, MetricStat, ScanBy,
    StateValue, StatusCode,
};
use aws_smithy_types::DateTime;
use jiff::{SignedDuration, Timestamp};

use super::CloudWatch;
use crate::aws::call::{Operation, pages};
use crate::fault::Fault;

const STATES: Operation = Operation::read("cloudwatch", "DescribeAlarms", "spec.gates");
const DATA: Operation = Operation::read("cloudwatch", "GetMetricData", "spec.gates");
/// What DescribeAlarms takes of names, and gives of alarms.
const NAMES_MAX: usize = 100;
/// How far back a datapoint is looked for, at least: some services publish minutes late.
const LOOK_BACK: SignedDuration = SignedDuration::from_mins(10);
const VALUE: &str = "value";
const SAMPLES: &str = "samples";

impl CloudWatch {
    /// The states of those of these alarms that exist, whoever made them, metric and composite ones.
    pub async fn alarm_states(&self, names: &[String]) -> Result<Vec<AlarmState>, Fault> {
        let mut states = Vec::new();
        for names in names.chunks(NAMES_MAX) {
            let on = names.join(", ");
            let found = pages(
                &on,
                |token| {
                    let request = self
                        .client
                        .describe_alarms()
                        .set_alarm_names(Some(names.to_vec()))
                        .alarm_types(AlarmType::MetricAlarm)
                        .alarm_types(AlarmType::CompositeAlarm)
                        .max_records(100)
                        .set_next_token(token);
                    self.caller.call(STATES, &on, request.send())
                },
                |page| {
                    let metric = page.metric_alarms.unwrap_or_default().into_iter();
                    let metric =
                        metric.map(|seen| (seen.alarm_name, seen.state_value, seen.state_updated_timestamp));
                    let composite = page.composite_alarms.unwrap_or_default().into_iter();
                    let composite = composite
                        .map(|seen| (seen.alarm_name, seen.state_value, seen.state_updated_timestamp));
                    (Some(metric.chain(composite).collect()), page.next_token)
                },
            )
            .await?;
            let found = found.into_iter().map(|(name, value, updated)| state(name, value, updated));
            states.extend(found.filter(|state| names.contains(&state.name)));
        }
        Ok(states)
    }

    /// The newest period that is over and has data, looked for in the last five periods, and in the last ten minutes if they
    /// are shorter. `None` without one that both the statistic and the number of samples are known of.
    ///
    /// `period_seconds` is a multiple of 60, or 10 or 30 for a metric of high resolution; AWS refuses anything else. A service
    /// that publishes late can still add to the newest period.
    pub async fn datapoint(
        &self,
        metric: &Metric,
        period_seconds: u32,
        now: Timestamp,
    ) -> Result<Option<Datapoint>, Fault> {
        let on = format!("{} {}", metric.namespace, metric.name);
        let dimensions = metric.dimensions.iter();
        let dimensions = dimensions.map(|(name, value)| Dimension::builder().name(name).value(value).build());
        let wire = WireMetric::builder()
            .namespace(&metric.namespace)
            .metric_name(&metric.name)
            .set_dimensions(Some(dimensions.collect()))
            .build();
        let period = i64::from(period_seconds.max(1));
        let query = |id: &str, statistic: &str| {
            let stat = MetricStat::builder().metric(wire.clone()).stat(statistic);
            let stat = stat.period(i32::try_from(period).unwrap_or(i32::MAX)).build();
            MetricDataQuery::builder().id(id).metric_stat(stat).return_data(true).build()
        };
        // Periods begin at whole multiples of their length; the present one is not over.
        let end = now.as_second() - now.as_second().rem_euclid(period);
        let start = end - (5 * period).max(LOOK_BACK.as_secs());
        let request = self
            .client
            .get_metric_data()
            .metric_data_queries(query(VALUE, &metric.statistic))
            .metric_data_queries(query(SAMPLES, "SampleCount"))
            .start_time(DateTime::from_secs(start))
            .end_time(DateTime::from_secs(end))
            .scan_by(ScanBy::TimestampDescending);
        let reply = self.caller.call(DATA, &on, request.send()).await?;
        if reply.next_token().is_some_and(|token| !token.is_empty()) {
            return Ok(None);
        }
        Ok(newest(reply.metric_data_results(), end))
    }
}

fn state(name: Option<String>, value: Option<StateValue>, updated: Option<DateTime>) -> AlarmState {
    AlarmState {
        name: name.unwrap_or_default(),
        value: value.map(|value| value.as_str().to_owned()).unwrap_or_default(),
        updated_at: updated.and_then(|at| Timestamp::new(at.secs(), 0).ok()),
    }
}

/// The newest point before `end` (seconds) of which value and number of samples are known.
fn newest(results: &[MetricDataResult], end: i64) -> Option<Datapoint> {
    let points = |id: &str| -> Option<BTreeMap<i64, f64>> {
        let result = results.iter().find(|result| result.id() == Some(id))?;
        if result.status_code() != Some(&StatusCode::Complete) {
            return None;
        }
        let points = result.timestamps().iter().map(DateTime::secs).zip(result.values().iter().copied());
        Some(points.filter(|(at, value)| *at < end && value.is_finite()).collect())
    };
    let (values, samples) = (points(VALUE)?, points(SAMPLES)?);
    values.into_iter().rev().find_map(|(at, value)| {
        let samples = *samples.get(&at)?;
        Some(Datapoint { at: Timestamp::from_second(at).ok()?, value, samples })
    })
}

/// The state of an alarm that a gate names; it may be anybody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmState {
    /// Its name.
    pub name: String,
    /// `OK`, `ALARM` or `INSUFFICIENT_DATA`, as AWS writes it.
    pub value: String,
    /// When state or evaluation last changed (`StateUpdatedTimestamp`, API model of `MetricAlarm`). While a metric alarm stays
    /// `OK` this stands still, so an old one does not say that nobody looked since.
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    fn result(id: &str, status: StatusCode, points: &[(i64, f64)]) -> MetricDataResult {
        MetricDataResult::builder()
            .id(id)
            .status_code(status)
            .set_timestamps(Some(points.iter().map(|(at, _)| DateTime::from_secs(*at)).collect()))
            .set_values(Some(points.iter().map(|(_, value)| *value).collect()))
            .build()
    }

    fn of(values: &[(i64, f64)], samples: &[(i64, f64)]) -> Option<(i64, f64, f64)> {
        let results =
            [result(VALUE, StatusCode::Complete, values), result(SAMPLES, StatusCode::Complete, samples)];
        newest(&results, 300).map(|point| (point.at.as_second(), point.value, point.samples))
    }

    #[test]
    fn the_newest_period_that_both_are_known_of_counts() {
        let all = [(240, 7.0), (180, 5.0)];
        assert_eq!(of(&[(240, 0.2), (180, 0.1)], &all), Some((240, 0.2, 7.0)));
        assert_eq!(of(&[(180, 0.1), (240, 0.2)], &all), Some((240, 0.2, 7.0)), "in any order");
        assert_eq!(of(&[(180, 0.1)], &all), Some((180, 0.1, 5.0)));
        assert_eq!(of(&[(240, 0.2), (180, 0.1)], &[(180, 5.0)]), Some((180, 0.1, 5.0)));
        assert_eq!(
            of(&[(300, 0.3), (240, 0.2)], &[(300, 1.0), (240, 7.0)]),
            Some((240, 0.2, 7.0)),
            "not over"
        );
    }

    #[test]
    fn what_is_no_number_or_no_whole_answer_is_no_datapoint() {
        let samples = [(240, 7.0), (180, 5.0)];
        for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(of(&[(240, odd)], &samples), None);
            assert_eq!(of(&[(240, odd), (180, 0.1)], &samples), Some((180, 0.1, 5.0)));
            assert_eq!(of(&[(240, 0.2)], &[(240, odd)]), None);
        }
        assert_eq!(of(&[], &samples), None);
        assert_eq!(of(&[(240, 0.2)], &[]), None);
        let full = |id| result(id, StatusCode::Complete, &[(240, 1.0)]);
        assert!(newest(&[full(VALUE), full(SAMPLES)], 300).is_some());
        assert_eq!(newest(&[full(VALUE)], 300), None);
        for status in [StatusCode::PartialData, StatusCode::InternalError, StatusCode::from("Forbidden")] {
            assert_eq!(newest(&[full(VALUE), result(SAMPLES, status.clone(), &[(240, 1.0)])], 300), None);
            assert_eq!(newest(&[result(VALUE, status, &[(240, 1.0)]), full(SAMPLES)], 300), None);
        }
    }
}

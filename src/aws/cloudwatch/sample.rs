//! What gates are judged by: states of alarms of anybody, and datapoints of any metric.

use std::collections::BTreeMap;

use aws_sdk_cloudwatch::types::{
    AlarmType, Dimension, Metric as WireMetric, MetricAlarm, MetricDataQuery, MetricDataResult, MetricStat,
    ScanBy, StateValue, StatusCode,
};
use aws_smithy_types::DateTime;
use jiff::{SignedDuration, Timestamp};

use super::CloudWatch;
use crate::aws::call::{Operation, pages};
use crate::fault::Fault;

const STATES: Operation = Operation::read("cloudwatch", "DescribeAlarms", "spec.gates");
const DATA: Operation = Operation::read("cloudwatch", "GetMetricData", "spec.gates");
/// What `DescribeAlarms` takes of names, and gives of alarms.
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
                    let metric = metric.map(|seen| AlarmState {
                        window: window(&seen),
                        keeps: seen.treat_missing_data.as_deref() == Some("ignore"),
                        ..state(seen.alarm_name, seen.state_value)
                    });
                    let composite = page.composite_alarms.unwrap_or_default().into_iter();
                    let composite = composite.map(|seen| state(seen.alarm_name, seen.state_value));
                    (Some(metric.chain(composite).collect()), page.next_token)
                },
            )
            .await?;
            states.extend(found.into_iter().filter(|state: &AlarmState| names.contains(&state.name)));
        }
        Ok(states)
    }

    /// What a gate is judged by: [`Self::datapoint`], where for a load balancer's count of answers nothing counted out of some
    /// requests is a zero.
    pub async fn measured(
        &self,
        metric: &Metric,
        period_seconds: u32,
        now: Timestamp,
    ) -> Result<Option<Datapoint>, Fault> {
        let counted = self.datapoint(metric, period_seconds, now).await?;
        if !counts_what_there_is(metric) {
            return Ok(counted);
        }
        let requests =
            Metric { name: "RequestCount".to_owned(), statistic: "Sum".to_owned(), ..metric.clone() };
        Ok(of_requests(counted, self.datapoint(&requests, period_seconds, now).await?))
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

fn state(name: Option<String>, value: Option<StateValue>) -> AlarmState {
    AlarmState {
        name: name.unwrap_or_default(),
        value: value.map(|value| value.as_str().to_owned()).unwrap_or_default(),
        window: None,
        keeps: false,
    }
}

/// Over how much time an alarm's state speaks: its periods, or those of the longest of the metrics that it computes with.
fn window(seen: &MetricAlarm) -> Option<SignedDuration> {
    let of_metrics = seen.metrics().iter().filter_map(|query| {
        let of_metric = query.metric_stat().and_then(|stat| stat.period);
        of_metric.or(query.period)
    });
    let period = seen.period.into_iter().chain(of_metrics).max()?;
    Some(SignedDuration::from_secs(
        i64::from(period) * i64::from(seen.evaluation_periods.unwrap_or(1).max(1)),
    ))
}

/// A load balancer publishes counts of answers by their status only where there are any (user guide, CloudWatch metrics,
/// "there is a nonzero value"), and how many requests there were always.
fn counts_what_there_is(metric: &Metric) -> bool {
    metric.namespace == "AWS/ApplicationELB" && metric.name.starts_with("HTTPCode_")
}

/// Such a count, out of so many requests: where nothing was counted and requests there were, it is none.
fn of_requests(counted: Option<Datapoint>, requests: Option<Datapoint>) -> Option<Datapoint> {
    match (counted, requests) {
        (Some(counted), Some(requests)) if counted.at == requests.at => {
            Some(Datapoint { samples: requests.samples, ..counted })
        }
        (Some(counted), Some(requests)) if counted.at > requests.at => Some(counted),
        (_, Some(requests)) => Some(Datapoint { value: 0.0, ..requests }),
        (counted, None) => counted,
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
    /// Over how much time its state speaks: all of its evaluation periods. `None` for a composite alarm. (When it was last
    /// judged is not to be had: `StateUpdatedTimestamp` stands still while an alarm stays `OK`.)
    pub window: Option<SignedDuration>,
    /// Without data it keeps the state that it had (`TreatMissingData: ignore`), so that what it says may be old.
    pub keeps: bool,
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
    fn nothing_counted_out_of_some_requests_is_none_and_out_of_nothing_is_not_known() {
        let at = |second, value, samples| {
            Some(Datapoint { at: Timestamp::from_second(second).unwrap(), value, samples })
        };
        assert_eq!(of_requests(None, at(240, 900.0, 900.0)), at(240, 0.0, 900.0));
        assert_eq!(of_requests(at(240, 3.0, 3.0), at(240, 900.0, 900.0)), at(240, 3.0, 900.0));
        assert_eq!(of_requests(at(180, 3.0, 3.0), at(240, 900.0, 900.0)), at(240, 0.0, 900.0), "older");
        assert_eq!(of_requests(at(240, 3.0, 3.0), at(180, 900.0, 900.0)), at(240, 3.0, 3.0), "late");
        assert_eq!(of_requests(None, None), None);
    }

    #[test]
    fn an_alarm_speaks_of_all_its_periods() {
        use aws_sdk_cloudwatch::types::MetricStat;
        let plain = MetricAlarm::builder().period(60).evaluation_periods(3).build();
        assert_eq!(window(&plain), Some(SignedDuration::from_mins(3)));
        let query = |period| {
            let stat = MetricStat::builder().period(period).stat("Sum").build();
            MetricDataQuery::builder().id("q").metric_stat(stat).build()
        };
        let math =
            MetricAlarm::builder().metrics(query(60)).metrics(query(300)).evaluation_periods(2).build();
        assert_eq!(window(&math), Some(SignedDuration::from_mins(10)));
        assert_eq!(window(&MetricAlarm::builder().build()), None);
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

//! DMS's own lag. What can't be read is unknown, never zero.

use aws_sdk_cloudwatch::types::{
    Dimension, Metric, MetricDataQuery, MetricDataResult, MetricStat, ScanBy, StatusCode,
};
use aws_smithy_types::DateTime;
use jiff::{SignedDuration, Timestamp};

use super::{CloudWatch, DMS, PERIOD, TaskLag};
use crate::aws::call::Operation;
use crate::fault::Fault;

const GET_METRIC_DATA: Operation =
    Operation::read("cloudwatch", "GetMetricData", "spec.replication.instance");
const LATENCIES: [(&str, &str); 2] = [("source", "CDCLatencySource"), ("target", "CDCLatencyTarget")];
const LOOK_BACK: SignedDuration = SignedDuration::from_mins(5);

impl CloudWatch {
    /// The lag of a task in the last five minutes; `None` unless both metrics have a datapoint and all of them were read.
    pub async fn task_lag(
        &self,
        instance_identifier: &str,
        task_resource_id: &str,
        now: Timestamp,
    ) -> Result<Option<TaskLag>, Fault> {
        let dimension = |name: &str, value: &str| Dimension::builder().name(name).value(value).build();
        let queries = LATENCIES.map(|(id, metric)| {
            let metric = Metric::builder()
                .namespace(DMS)
                .metric_name(metric)
                .dimensions(dimension("ReplicationInstanceIdentifier", instance_identifier))
                .dimensions(dimension("ReplicationTaskIdentifier", task_resource_id))
                .build();
            let stat = MetricStat::builder().metric(metric).period(PERIOD).stat("Maximum").build();
            MetricDataQuery::builder().id(id).metric_stat(stat).return_data(true).build()
        });
        let start = now.saturating_sub(LOOK_BACK).unwrap_or(now);
        let request = self
            .client
            .get_metric_data()
            .set_metric_data_queries(Some(queries.into()))
            .start_time(DateTime::from_secs(start.as_second()))
            .end_time(DateTime::from_secs(now.as_second()))
            .scan_by(ScanBy::TimestampDescending);
        let reply = self.caller.call(GET_METRIC_DATA, task_resource_id, request.send()).await?;
        if reply.next_token().is_some_and(|token| !token.is_empty()) {
            return Ok(None);
        }
        Ok(lag(reply.metric_data_results()))
    }
}

/// The larger of the two newest values, as old as the older of the two.
fn lag(results: &[MetricDataResult]) -> Option<TaskLag> {
    let newest = |id: &str| {
        let result = results.iter().find(|result| result.id() == Some(id))?;
        if result.status_code() != Some(&StatusCode::Complete) {
            return None;
        }
        let points = result.timestamps().iter().zip(result.values());
        let (at, seconds) = points.max_by_key(|(at, _)| at.secs())?;
        Some(TaskLag { seconds: *seconds, at: Timestamp::from_second(at.secs()).ok()? })
    };
    let (source, target) = (newest(LATENCIES[0].0)?, newest(LATENCIES[1].0)?);
    Some(TaskLag { seconds: source.seconds.max(target.seconds), at: source.at.min(target.at) })
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

    #[test]
    fn the_larger_of_the_newest_counts() {
        let source = result("source", StatusCode::Complete, &[(180, 1.0), (120, 90.0)]);
        let target = result("target", StatusCode::Complete, &[(60, 80.0), (120, 4.5)]);
        let at = Timestamp::from_second(120).unwrap();
        assert_eq!(lag(&[source, target]), Some(TaskLag { seconds: 4.5, at }));
    }

    #[test]
    fn what_is_missing_or_partial_is_unknown() {
        let full = |id| result(id, StatusCode::Complete, &[(60, 1.0)]);
        assert!(lag(&[full("source"), full("target")]).is_some());
        assert_eq!(lag(&[]), None);
        assert_eq!(lag(&[full("source")]), None);
        assert_eq!(lag(&[full("source"), result("target", StatusCode::Complete, &[])]), None);
        assert_eq!(lag(&[full("source"), result("target", StatusCode::PartialData, &[(60, 1.0)])]), None);
    }
}

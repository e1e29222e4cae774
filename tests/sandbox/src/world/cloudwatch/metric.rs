//! Datapoints: publishing and reading them.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::Reply;
use crate::world::dms::Status;
use crate::world::{Refusal, World};

/// Dimensions of a metric, by name.
pub(in crate::world) type Dimensions = BTreeMap<String, String>;

/// Which metric.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    /// `AWS/DMS`
    pub namespace: String,
    /// `CDCLatencyTarget` and so on.
    pub name: String,
    /// All of its dimensions.
    pub dimensions: Dimensions,
}

/// One datapoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// When.
    pub at: Timestamp,
    /// What.
    pub value: f64,
}

/// How the datapoints of one period become one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistic {
    /// The largest.
    Maximum,
    /// The smallest.
    Minimum,
    /// The mean.
    Average,
    /// All together.
    Sum,
    /// Their number.
    SampleCount,
}

impl Statistic {
    /// From the API's word.
    pub fn parse(word: &str) -> Result<Self, Refusal> {
        match word {
            "Maximum" => Ok(Self::Maximum),
            "Minimum" => Ok(Self::Minimum),
            "Average" => Ok(Self::Average),
            "Sum" => Ok(Self::Sum),
            "SampleCount" => Ok(Self::SampleCount),
            other => Err(Refusal::not_modelled(format!("the statistic {other}"))),
        }
    }

    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Maximum => "Maximum",
            Self::Minimum => "Minimum",
            Self::Average => "Average",
            Self::Sum => "Sum",
            Self::SampleCount => "SampleCount",
        }
    }

    fn of(self, values: &[f64]) -> f64 {
        let count = f64::from(u32::try_from(values.len()).unwrap_or(u32::MAX));
        match self {
            Self::Maximum => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Self::Minimum => values.iter().copied().fold(f64::INFINITY, f64::min),
            Self::Average => values.iter().sum::<f64>() / count,
            Self::Sum => values.iter().sum(),
            Self::SampleCount => count,
        }
    }
}

/// `GetMetricData`, for metrics without expressions.
#[derive(Clone, Debug)]
pub struct GetMetricData {
    /// What to read.
    pub queries: Vec<MetricQuery>,
    /// From, inclusive.
    pub start: Timestamp,
    /// To, exclusive.
    pub end: Timestamp,
    /// Oldest first instead of newest first.
    pub ascending: bool,
}

/// One query.
#[derive(Clone, Debug)]
pub struct MetricQuery {
    /// Handed back.
    pub id: String,
    /// Handed back; the metric's name without.
    pub label: Option<String>,
    /// Which metric.
    pub series: Series,
    /// Seconds.
    pub period_seconds: i64,
    /// How a period becomes one value.
    pub statistic: Statistic,
    /// Only datapoints of this unit.
    pub unit: Option<String>,
}

/// The answer to one query.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricResult {
    /// From the query.
    pub id: String,
    /// From the query.
    pub label: String,
    /// One for each period that has data.
    pub points: Vec<Point>,
}

/// The beginning of the period that an instant is in.
pub(super) fn floor(at: Timestamp, period: SignedDuration) -> Timestamp {
    let period = period.as_millis().max(1);
    let millis = i128::from(at.as_millisecond());
    let floored = millis - millis.rem_euclid(period);
    i64::try_from(floored).ok().and_then(|millis| Timestamp::from_millisecond(millis).ok()).unwrap_or(at)
}

/// The unit that DMS publishes a metric in.
fn unit(name: &str) -> &'static str {
    match name {
        "CDCLatencySource" | "CDCLatencyTarget" => "Seconds",
        "CPUUtilization" => "Percent",
        "FreeableMemory" => "Bytes",
        _ => "Count",
    }
}

pub(super) fn check_period(seconds: i64) -> Result<(), Refusal> {
    if [10, 20, 30].contains(&seconds) || (seconds > 0 && seconds % 60 == 0) {
        Ok(())
    } else {
        Err(Refusal::new(
            "ValidationError",
            format!("Period {seconds} is not 10, 20, 30 or a multiple of 60"),
        ))
    }
}

impl World {
    pub(super) fn publish(&mut self) {
        const NAMESPACE: &str = "AWS/DMS";
        let mut news: Vec<(Series, f64)> = Vec::new();
        for (arn, instance) in
            self.dms.instances.iter().filter(|(_, instance)| instance.status == "available")
        {
            let host =
                Dimensions::from([("ReplicationInstanceIdentifier".to_owned(), instance.identifier.clone())]);
            let series = |name: &str, dimensions: &Dimensions| Series {
                namespace: NAMESPACE.to_owned(),
                name: name.to_owned(),
                dimensions: dimensions.clone(),
            };
            let mut running = 0.0;
            for task in self.dms.tasks.values().filter(|task| task.instance_arn == *arn) {
                let runs = task.status == Status::Running;
                let stopped = task.status == Status::Stopped && self.switches.stopped_tasks_publish;
                let Some(progress) = task.progress.as_ref().filter(|_| runs || stopped) else { continue };
                running += 1.0;
                let mut both = host.clone();
                both.insert("ReplicationTaskIdentifier".to_owned(), task.resource_id.clone());
                news.push((series("CDCLatencySource", &both), progress.latency_source_seconds));
                news.push((series("CDCLatencyTarget", &both), progress.latency_target_seconds));
                #[expect(clippy::cast_precision_loss, reason = "a count of changes, far below 2^52")]
                news.push((series("CDCIncomingChanges", &both), progress.waiting_changes as f64));
            }
            // There is no host to measure: a resting machine, and a little for each running task.
            news.push((series("CPUUtilization", &host), 2.0 + 5.0 * running));
            news.push((series("FreeableMemory", &host), 4e9 - 2e8 * running));
        }
        let at = self.now;
        for (series, value) in news {
            self.cloudwatch.series.entry(series).or_default().push(Point { at, value });
        }
    }

    pub(super) fn get_metric_data(&self, call: &GetMetricData) -> Result<Reply, Refusal> {
        if call.start >= call.end {
            return Err(Refusal::new(
                "ValidationError",
                "The parameter StartTime must be less than the parameter EndTime",
            ));
        }
        if call.queries.len() > 500 {
            return Err(Refusal::new("ValidationError", "GetMetricData takes at most 500 queries"));
        }
        let mut results = Vec::new();
        for query in &call.queries {
            check_period(query.period_seconds)?;
            let period = SignedDuration::from_secs(query.period_seconds);
            let fits = query.unit.as_ref().is_none_or(|wanted| wanted == unit(&query.series.name));
            let start = floor(call.start, period);
            let mut points: Vec<Point> = self
                .periods(&query.series, period, query.statistic)
                .into_iter()
                .filter(|(at, _)| fits && (start..call.end).contains(at))
                .map(|(at, value)| Point { at, value })
                .collect();
            if !call.ascending {
                points.reverse();
            }
            results.push(MetricResult {
                id: query.id.clone(),
                label: query.label.clone().unwrap_or_else(|| query.series.name.clone()),
                points,
            });
        }
        Ok(Reply::MetricData(results))
    }

    /// The readable datapoints of a metric, one value for each period that has any.
    pub(super) fn periods(
        &self,
        series: &Series,
        period: SignedDuration,
        statistic: Statistic,
    ) -> BTreeMap<Timestamp, f64> {
        let readable = self.now - self.delays.metric_lateness;
        let mut buckets: BTreeMap<Timestamp, Vec<f64>> = BTreeMap::new();
        for point in self.cloudwatch.series.get(series).into_iter().flatten() {
            if point.at <= readable {
                buckets.entry(floor(point.at, period)).or_default().push(point.value);
            }
        }
        buckets.into_iter().map(|(at, values)| (at, statistic.of(&values))).collect()
    }
}

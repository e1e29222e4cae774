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

/// Samples of the same value at the same time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// When.
    pub at: Timestamp,
    /// What.
    pub value: f64,
    /// How many.
    pub count: f64,
}

/// What was published of one metric.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::world) struct Data {
    /// `Count`, `Seconds` …
    pub(in crate::world) unit: String,
    pub(in crate::world) samples: Vec<Sample>,
}

/// One datapoint: a period, and its value by a statistic.
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
    /// `p99.9`: the value that so many thousandths of the samples do not exceed.
    Percentile(u16),
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
            other => other
                .strip_prefix('p')
                .and_then(thousandths)
                .map(Self::Percentile)
                .ok_or_else(|| Refusal::not_modelled(format!("the statistic {other}"))),
        }
    }

    /// The API's word.
    pub fn word(self) -> String {
        match self {
            Self::Maximum => "Maximum".to_owned(),
            Self::Minimum => "Minimum".to_owned(),
            Self::Average => "Average".to_owned(),
            Self::Sum => "Sum".to_owned(),
            Self::SampleCount => "SampleCount".to_owned(),
            Self::Percentile(thousandths) if thousandths % 10 == 0 => format!("p{}", thousandths / 10),
            Self::Percentile(thousandths) => format!("p{}.{}", thousandths / 10, thousandths % 10),
        }
    }

    /// Of samples, of which there is at least one.
    fn of(self, samples: &mut [Sample]) -> f64 {
        let count: f64 = samples.iter().map(|sample| sample.count).sum();
        let sum = || samples.iter().map(|sample| sample.value * sample.count).sum::<f64>();
        let values = || samples.iter().map(|sample| sample.value);
        match self {
            Self::Maximum => values().fold(f64::NEG_INFINITY, f64::max),
            Self::Minimum => values().fold(f64::INFINITY, f64::min),
            Self::Average => sum() / count,
            Self::Sum => sum(),
            Self::SampleCount => count,
            Self::Percentile(thousandths) => {
                samples.sort_by(|one, other| one.value.total_cmp(&other.value));
                let wanted = count * f64::from(thousandths) / 1000.0;
                let mut seen = 0.0;
                let reached = samples.iter().find(|sample| {
                    seen += sample.count;
                    seen >= wanted
                });
                reached.or(samples.last()).map_or(f64::NAN, |sample| sample.value)
            }
        }
    }
}

/// `99.9` as 999; none if it is not from 0 to 100 with at most one digit after the point.
fn thousandths(percent: &str) -> Option<u16> {
    let (whole, tenth) = percent.split_once('.').unwrap_or((percent, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(tenth) || tenth.len() != 1 {
        return None;
    }
    let thousandths = whole.parse::<u16>().ok()?.checked_mul(10)?.checked_add(tenth.parse().ok()?)?;
    (thousandths <= 1000).then_some(thousandths)
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

/// `PutMetricData` for one metric of one request.
#[derive(Clone, Debug)]
pub struct PutMetric {
    /// Which.
    pub series: Series,
    /// When; now without.
    pub at: Option<Timestamp>,
    /// Values, and how often each.
    pub values: Vec<(f64, f64)>,
    /// `None` without.
    pub unit: Option<String>,
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
            let unit = unit(&series.name);
            self.cloudwatch.add(series, unit, Sample { at, value, count: 1.0 });
        }
    }

    pub(super) fn put_metric_data(&mut self, metrics: Vec<PutMetric>) -> Result<Reply, Refusal> {
        let now = self.now;
        for metric in &metrics {
            let at = metric.at.unwrap_or(now);
            if metric.series.namespace.starts_with("AWS/") {
                return Err(refuse("The value AWS/ for parameter Namespace is invalid."));
            }
            if metric.values.is_empty() || metric.values.iter().any(|(value, _)| !value.is_finite()) {
                return Err(refuse("The parameter MetricData.member.1.Value must be a number."));
            }
            // Source: API model of PutMetricData.
            if at < now - SignedDuration::from_hours(14 * 24) || at > now + SignedDuration::from_hours(2) {
                return Err(refuse("The parameter MetricData.member.1.Timestamp must be within two weeks."));
            }
        }
        for PutMetric { series, at, values, unit } in metrics {
            let at = at.unwrap_or(now);
            for (value, count) in values {
                let unit = unit.as_deref().unwrap_or("None");
                self.cloudwatch.add(series.clone(), unit, Sample { at, value, count });
            }
        }
        Ok(Reply::Done)
    }

    pub(super) fn get_metric_data(&self, call: &GetMetricData) -> Result<Reply, Refusal> {
        if call.start >= call.end {
            return Err(refuse("The parameter StartTime must be less than the parameter EndTime"));
        }
        if call.queries.len() > 500 {
            return Err(refuse("GetMetricData takes at most 500 queries"));
        }
        let mut results = Vec::new();
        for query in &call.queries {
            check_period(query.period_seconds)?;
            let period = SignedDuration::from_secs(query.period_seconds);
            let published = self.cloudwatch.series.get(&query.series).map(|data| &data.unit);
            let fits = query.unit.as_ref().is_none_or(|wanted| published == Some(wanted));
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
        let mut buckets: BTreeMap<Timestamp, Vec<Sample>> = BTreeMap::new();
        for sample in self.cloudwatch.series.get(series).into_iter().flat_map(|data| &data.samples) {
            if sample.at <= readable {
                buckets.entry(floor(sample.at, period)).or_default().push(*sample);
            }
        }
        buckets.into_iter().map(|(at, mut samples)| (at, statistic.of(&mut samples))).collect()
    }
}

fn refuse(why: &str) -> Refusal {
    Refusal::new("ValidationError", why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[(f64, f64)]) -> Vec<Sample> {
        let at = Timestamp::UNIX_EPOCH;
        values.iter().map(|&(value, count)| Sample { at, value, count }).collect()
    }

    #[test]
    fn statistics_weigh_samples_by_their_number() {
        let of = |statistic: &str| {
            let statistic = Statistic::parse(statistic).expect(statistic);
            statistic.of(&mut samples(&[(3.0, 1.0), (1.0, 98.0), (2.0, 1.0)]))
        };
        let seen = ["Maximum", "Minimum", "Sum", "SampleCount", "p50", "p98", "p99", "p99.9", "p100"].map(of);
        assert_eq!(format!("{seen:?}"), "[3.0, 1.0, 103.0, 100.0, 1.0, 1.0, 2.0, 3.0, 3.0]");
        assert!((of("Average") - 1.03).abs() < 1e-9);
    }

    #[test]
    fn statistics_are_said_as_they_are_read() {
        for word in ["Average", "p50", "p99.9", "p0.1", "p100"] {
            assert_eq!(Statistic::parse(word).expect(word).word(), word);
        }
        for word in ["p", "p101", "p99.99", "p-1", "tm99", "average"] {
            Statistic::parse(word).expect_err(word);
        }
    }
}

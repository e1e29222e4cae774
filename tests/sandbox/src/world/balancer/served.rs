//! What a load balancer did, and the metrics that become of it.
//!
//! | rule | source |
//! |---|---|
//! | counts and times once a minute, for the load balancer alone and with its group; nothing for what did not happen | user guide, load-balancer-cloudwatch-metrics |
//! | hosts are counted while the group is probed | same |
//! | answers of the load balancer itself are counted apart from those of targets, and for it alone | same |

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::{Health, World};
use crate::world::cloudwatch::{Dimensions, Sample, Series};

/// One request, answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// The group whose target answered, and its status; none if the load balancer answered itself.
    pub target: Option<(String, u16)>,
    /// What the client was told.
    pub status: u16,
    /// How long the target took.
    pub took: Duration,
}

/// What was done since the last tick.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::world) struct Tally {
    requests: u32,
    /// 5xx answers of its own.
    own_errors: u32,
    groups: BTreeMap<String, GroupTally>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct GroupTally {
    /// By the first digit of the status.
    statuses: BTreeMap<u16, u32>,
    /// By the time in tenths of a millisecond.
    times: BTreeMap<u32, u32>,
}

/// A metric, its unit and a sample.
type News = (Series, &'static str, Sample);

impl World {
    /// Hears of a request that a load balancer answered.
    pub fn served(&mut self, balancer_arn: &str, served: Served, now: Timestamp) {
        self.pass(now);
        let found = self.balancers.all.iter_mut().find(|balancer| balancer.arn == balancer_arn);
        let Some(balancer) = found else { return };
        let tally = &mut balancer.served;
        tally.requests += 1;
        match served.target {
            None => tally.own_errors += u32::from(served.status >= 500),
            Some((group_arn, status)) => {
                let group = tally.groups.entry(group_arn).or_default();
                *group.statuses.entry(status / 100).or_default() += 1;
                *group.times.entry(tenths(served.took)).or_default() += 1;
            }
        }
    }

    /// What there is to publish of the time since the last tick, under the time when it began.
    pub(in crate::world) fn take_served(&mut self) -> Vec<News> {
        let at = self.now - self.delays.metric_period;
        let mut news = Vec::new();
        for balancer in &mut self.balancers.all {
            let tally = std::mem::take(&mut balancer.served);
            let alone = Dimensions::from([("LoadBalancer".to_owned(), tail(&balancer.arn, "loadbalancer/"))]);
            let mut count = |name: &str, dimensions: &Dimensions, count: u32| {
                if count > 0 {
                    news.push(sample(name, "Count", dimensions, at, 1.0, count));
                }
            };
            count("RequestCount", &alone, tally.requests);
            count("HTTPCode_ELB_5XX_Count", &alone, tally.own_errors);
            for (group_arn, group) in &tally.groups {
                let both = with_group(&alone, group_arn);
                count("RequestCount", &both, group.statuses.values().sum());
                for (digit, times) in &group.statuses {
                    let name = format!("HTTPCode_Target_{digit}XX_Count");
                    count(&name, &alone, *times);
                    count(&name, &both, *times);
                }
            }
            for (group_arn, group) in tally.groups {
                let both = with_group(&alone, &group_arn);
                for (time, times) in group.times {
                    let seconds = f64::from(time) / 10_000.0;
                    for dimensions in [&alone, &both] {
                        news.push(sample("TargetResponseTime", "Seconds", dimensions, at, seconds, times));
                    }
                }
            }
            for group in self.balancers.groups.iter().filter(|group| balancer.group_arns.contains(&group.arn))
            {
                let both = with_group(&alone, &group.arn);
                let hosts = |wanted: fn(Health) -> bool| {
                    let hosts = group.targets.iter().filter(|target| wanted(target.health)).count();
                    f64::from(u32::try_from(hosts).unwrap_or(u32::MAX))
                };
                let healthy = hosts(|health| health == Health::Healthy);
                let unhealthy = hosts(|health| matches!(health, Health::Unhealthy(_)));
                news.push(sample("HealthyHostCount", "Count", &both, at, healthy, 1));
                news.push(sample("UnHealthyHostCount", "Count", &both, at, unhealthy, 1));
            }
        }
        news
    }
}

/// In tenths of a millisecond, to two digits: otherwise nearly every request would be a sample of its own.
fn tenths(took: Duration) -> u32 {
    let tenths = u32::try_from(took.as_micros() / 100).unwrap_or(u32::MAX);
    let step = 10_u32.pow(tenths.max(1).ilog10().saturating_sub(1));
    tenths / step * step
}

fn sample(
    name: &str,
    unit: &'static str,
    dimensions: &Dimensions,
    at: Timestamp,
    value: f64,
    count: u32,
) -> News {
    let (namespace, name, dimensions) =
        ("AWS/ApplicationELB".to_owned(), name.to_owned(), dimensions.clone());
    (Series { namespace, name, dimensions }, unit, Sample { at, value, count: f64::from(count) })
}

fn with_group(alone: &Dimensions, group_arn: &str) -> Dimensions {
    let mut both = alone.clone();
    both.insert("TargetGroup".to_owned(), format!("targetgroup/{}", tail(group_arn, "targetgroup/")));
    both
}

/// What follows a word in an ARN: `app/alb-dev/5a1d000000000000`.
fn tail(arn: &str, word: &str) -> String {
    arn.split_once(word).map_or(arn, |(_, tail)| tail).to_owned()
}

//! What CloudWatch should have beside the records: alarms and a dashboard of the target.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::{Decision, Phase, Step, View, stalled, step, walking};
use crate::api::condition::Reason;
use crate::application::goal::Goal;
use crate::aws::cloudwatch::{Alarm, Comparison, MissingData, Statistic};
use crate::aws::dms::Owner;
use crate::fault::Fault;
use crate::hex::hex;

const NAMESPACE: &str = "AWS/ApplicationELB";

/// The dimensions of the target: its load balancer and its target group, as CloudWatch writes them.
fn dimensions(goal: &Goal) -> Vec<(String, String)> {
    let tail = |arn: &str, start: &str| arn.split_once(start).map_or("", |(_, tail)| tail).to_owned();
    vec![
        ("LoadBalancer".to_owned(), tail(&goal.target.balancer, ":loadbalancer/")),
        ("TargetGroup".to_owned(), format!("targetgroup/{}", tail(&goal.target.group, ":targetgroup/"))),
    ]
}

/// The alarms to have.
///
/// A load balancer publishes no count of errors where there are none, and no latency where nobody asks: there, missing data
/// breaches nothing. How many hosts are unhealthy it publishes as long as it has a target: there, missing data does.
pub fn alarms(goal: &Goal) -> Vec<Alarm> {
    let Some(wish) = &goal.alarms else { return Vec::new() };
    let migration = goal.migration.resource();
    let alarm = |name: &str, what: &str, metric: &str, statistic, threshold, periods, missing_data| Alarm {
        name: name.to_owned(),
        description: format!("The target of ApplicationMigration {migration} {what}"),
        namespace: NAMESPACE.to_owned(),
        metric: metric.to_owned(),
        dimensions: dimensions(goal),
        statistic,
        comparison: Comparison::GreaterThanThreshold,
        threshold,
        periods,
        missing_data,
        sns_topic_arn: wish.topic.clone(),
    };
    vec![
        alarm(
            &goal.names.alarm_errors,
            "answers with server errors",
            "HTTPCode_Target_5XX_Count",
            Statistic::Sum,
            f64::from(wish.errors_per_minute),
            1,
            MissingData::NotBreaching,
        ),
        alarm(
            &goal.names.alarm_latency,
            "is slow",
            "TargetResponseTime",
            Statistic::Extended("p99".to_owned()),
            wish.p99_latency.as_secs_f64(),
            3,
            MissingData::NotBreaching,
        ),
        alarm(
            &goal.names.alarm_hosts,
            "has unhealthy hosts, or none",
            "UnHealthyHostCount",
            Statistic::Maximum,
            0.0,
            2,
            MissingData::Breaching,
        ),
    ]
}

/// The dashboard to have, as JSON. CloudWatch may write it otherwise than it was sent, so it carries its own fingerprint.
pub fn dashboard(goal: &Goal) -> String {
    let region = goal.target.balancer.split(':').nth(3).unwrap_or_default();
    let widget = |title: &str, at: usize, metrics: &[(&str, &str)]| {
        let metrics = metrics.iter().map(|(metric, statistic)| {
            let mut line = vec![json!(NAMESPACE), json!(metric)];
            line.extend(dimensions(goal).into_iter().flat_map(|(name, value)| [json!(name), json!(value)]));
            line.push(json!({"stat": statistic}));
            json!(line)
        });
        let properties = json!({
            "title": title,
            "region": region,
            "period": 60,
            "view": "timeSeries",
            "metrics": metrics.collect::<Vec<_>>(),
        });
        json!({
            "type": "metric",
            "x": at % 2 * 12,
            "y": 2 + at / 2 * 6,
            "width": 12,
            "height": 6,
            "properties": properties,
        })
    };
    let mut widgets = vec![
        widget("Requests", 0, &[("RequestCount", "Sum")]),
        widget("Server errors", 1, &[("HTTPCode_Target_5XX_Count", "Sum")]),
        widget("Latency", 2, &[("TargetResponseTime", "p50"), ("TargetResponseTime", "p99")]),
        widget("Hosts", 3, &[("HealthyHostCount", "Minimum"), ("UnHealthyHostCount", "Maximum")]),
    ];
    let heading = format!("# {} ({})", goal.record.name, goal.migration.resource());
    let digest = hex(&Sha256::digest(format!("{heading}{widgets:?}")));
    let text = format!("{heading}\n\nmade by Slipway, {}", &digest[..16]);
    let properties = json!({"markdown": text});
    widgets.insert(
        0,
        json!({"type": "text", "x": 0, "y": 0, "width": 24, "height": 2, "properties": properties}),
    );
    json!({"widgets": widgets}).to_string()
}

/// The fingerprint within a dashboard of ours.
fn fingerprint(body: &str) -> Option<&str> {
    let (_, rest) = body.split_once("made by Slipway, ")?;
    rest.get(..16)
}

/// The next thing to make, or what is in the way of making it.
pub(super) fn make(view: &View, phase: Phase) -> Option<Decision> {
    let goal = view.goal;
    match next(view) {
        Ok(None) => None,
        Ok(Some(next)) => Some(step(goal, phase, Reason::Staging, next)),
        Err(Fault::Blocked(blocked)) => Some(stalled(Some(phase), blocked)),
        Err(fault) => Some(walking(phase, Reason::Retrying, fault.message())),
    }
}

fn next(view: &View) -> Result<Option<Step>, Fault> {
    let (goal, seen) = (view.goal, view.seen);
    if goal.alarms.is_none() {
        return remove(view);
    }
    let standing = seen.alarms.as_ref().map_err(Clone::clone)?;
    for alarm in alarms(goal) {
        let found = standing.iter().find(|seen| seen.alarm.name == alarm.name);
        if found.is_none_or(|found| found.alarm != alarm || found.owner != Owner::Us) {
            // One that is not ours is refused where it would be written, with words.
            return Ok(Some(Step::PutAlarm(Box::new(alarm))));
        }
    }
    let body = dashboard(goal);
    let found = seen.dashboard.as_ref().map_err(Clone::clone)?;
    let is_current = found
        .as_ref()
        .is_some_and(|found| found.owner == Owner::Us && fingerprint(&found.body) == fingerprint(&body));
    Ok((!is_current).then_some(Step::PutDashboard { body }))
}

/// The next thing to remove: only what is ours.
pub(super) fn remove(view: &View) -> Result<Option<Step>, Fault> {
    let standing = view.seen.alarms.as_ref().map_err(Clone::clone)?;
    let ours = standing.iter().filter(|seen| seen.owner == Owner::Us);
    let names: Vec<String> = ours.map(|seen| seen.alarm.name.clone()).collect();
    if !names.is_empty() {
        return Ok(Some(Step::DeleteAlarms(names)));
    }
    let dashboard = view.seen.dashboard.as_ref().map_err(Clone::clone)?;
    Ok(dashboard.as_ref().filter(|found| found.owner == Owner::Us).map(|_| Step::DeleteDashboard))
}

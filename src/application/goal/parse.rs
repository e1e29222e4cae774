//! Parts of a spec that need more than to be copied.

use jiff::SignedDuration;

use super::{AlarmGoal, StepGoal};
use crate::api::application as api;
use crate::api::condition::Reason;
use crate::aws::cloudwatch::Metric;
use crate::duration;
use crate::fault::Blocked;
use crate::gate::{Bound, Gate, Limit, Rule};
use crate::side::Side;

pub(super) fn invalid(field: &str, wrong: &str) -> Blocked {
    Blocked::new(
        Reason::InvalidSpec,
        format_args!("{field} {wrong}"),
        "Correct the field and apply the resource again",
    )
}

fn time(field: &str, text: &str) -> Result<SignedDuration, Blocked> {
    duration::parse(text).ok_or_else(|| invalid(field, "must be a duration such as 5s or 1m30s"))
}

pub(super) fn steps(steps: &[api::TrafficStep]) -> Result<Vec<StepGoal>, Blocked> {
    let step = |(index, step): (usize, &api::TrafficStep)| {
        Ok(StepGoal {
            weight: step.weight,
            hold: time(&format!("spec.traffic.steps[{index}].hold"), &step.hold)?,
            gates: step.gates.clone(),
        })
    };
    steps.iter().enumerate().map(step).collect()
}

pub(super) fn alarms(alarms: &api::Alarms) -> Result<AlarmGoal, Blocked> {
    Ok(AlarmGoal {
        topic: alarms.sns_topic_arn.clone(),
        errors_per_minute: alarms.max_server_errors_per_minute,
        p99_latency: time("spec.alarms.maxP99Latency", &alarms.max_p99_latency)?,
    })
}

pub(super) fn gates(gates: &[api::Gate]) -> Result<Vec<Gate>, Blocked> {
    gates.iter().enumerate().map(|(index, gate)| parse(&format!("spec.gates[{index}]"), gate)).collect()
}

fn parse(field: &str, gate: &api::Gate) -> Result<Gate, Blocked> {
    let mut rules = Vec::new();
    if let Some(alarm) = &gate.alarm {
        rules.push(Rule::Alarm { name: alarm.alarm_name.clone() });
    }
    if let Some(wish) = &gate.metric {
        rules.push(metric(field, wish)?);
    }
    if let Some(http) = &gate.http {
        rules.push(Rule::Http {
            side: match http.side {
                api::GateSide::Source => Side::Source,
                api::GateSide::Target => Side::Target,
            },
            path: http.path.clone(),
            status: http.expected_status,
        });
    }
    if let Some(lag) = &gate.database_lag {
        rules.push(Rule::DatabaseLag { max: time(&format!("{field}.databaseLag.max"), &lag.max)? });
    }
    if let Some(api::DatabaseVerifiedGate {}) = gate.database_verified {
        rules.push(Rule::DatabaseVerified);
    }
    if let Some(sql) = &gate.sql {
        rules.push(Rule::Sql { query: sql.query.clone(), expect: sql.expect.clone() });
    }
    let Ok([rule]) = <[Rule; 1]>::try_from(rules) else {
        return Err(invalid(
            field,
            "must have exactly one of alarm, metric, http, databaseLag, databaseVerified and sql",
        ));
    };
    Ok(Gate {
        name: gate.name.clone(),
        enforced: gate.mode == api::GateMode::Enforce,
        interval: time(&format!("{field}.interval"), &gate.interval)?,
        failures_to_trip: gate.failures_to_trip,
        rule,
    })
}

fn metric(field: &str, wish: &api::MetricGate) -> Result<Rule, Blocked> {
    let of = |dimensions: &std::collections::BTreeMap<String, String>| Metric {
        namespace: wish.namespace.clone(),
        name: wish.metric_name.clone(),
        dimensions: dimensions.clone().into_iter().collect(),
        statistic: wish.statistic.clone(),
    };
    let limit = match (&wish.threshold, wish.max_ratio_to_source_percent, &wish.source_dimensions) {
        (Some(threshold), None, None) => match threshold.parse::<f64>() {
            Ok(number) if number.is_finite() => Limit::Fixed(number),
            Ok(_) | Err(_) => {
                return Err(invalid(&format!("{field}.metric.threshold"), "must be a decimal number"));
            }
        },
        (None, Some(percent), Some(dimensions)) if wish.operator == api::MetricOperator::LessThanOrEqual => {
            Limit::OfSource { metric: of(dimensions), percent: u32::try_from(percent).unwrap_or(0) }
        }
        _ => {
            return Err(invalid(
                &format!("{field}.metric"),
                "must have either threshold, or maxRatioToSourcePercent with sourceDimensions and operator LessThanOrEqual",
            ));
        }
    };
    Ok(Rule::Metric {
        metric: of(&wish.dimensions),
        bound: match wish.operator {
            api::MetricOperator::LessThanOrEqual => Bound::AtMost,
            api::MetricOperator::GreaterThanOrEqual => Bound::AtLeast,
        },
        limit,
        min_samples: u32::try_from(wish.min_samples).unwrap_or(1),
    })
}

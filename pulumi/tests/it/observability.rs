//! Alarms, the dashboard and the trail.

use slipway_infra::pulumi::Value;

use crate::components::{has, text};
use crate::mock::{build, variants};

#[test]
fn every_alarm_tells_the_topic_and_looks_at_something_of_ours() {
    for (variant, record) in variants() {
        let alarms = record.of_kind("aws:cloudwatch/metricAlarm:MetricAlarm");
        assert!(alarms.len() >= 8, "{variant}");
        for alarm in alarms {
            let Value::List(told) = &alarm.inputs["alarmActions"] else { panic!() };
            assert!(format!("{told:?}").contains("arn<topic-alerts-"), "{variant}: {}", alarm.name);
            let Value::Map(dimensions) = &alarm.inputs["dimensions"] else { panic!() };
            assert!(
                !dimensions.is_empty() && dimensions.values().all(|it| *it != Value::Null),
                "{}",
                alarm.name
            );
        }
        let vpn = record.resources().any(|it| it.name.starts_with("alarm-vpn-down"));
        assert_eq!(vpn, variant != "transit gateway", "{variant}");
    }
}

#[test]
fn the_trail_sees_all_regions_and_can_be_checked() {
    let record = build(&[]);
    has(
        record.named("trail-dev"),
        &[
            ("isMultiRegionTrail", Value::Bool(true)),
            ("enableLogFileValidation", Value::Bool(true)),
            ("s3BucketName", text("bucket-trail-111122223333-dev")),
            ("cloudWatchLogsGroupArn", text("arn<log-group-trail-dev>:*")),
        ],
    );
    has(
        record.named("bucket-trail-dev"),
        &[("objectLockEnabled", Value::Bool(false)), ("forceDestroy", Value::Bool(true))],
    );
    assert!(
        format!("{:?}", record.named("bucket-encryption-trail-dev").inputs)
            .contains("arn<kms-key-trail-dev>")
    );
}

#[test]
fn somebody_is_told_if_they_are_named() {
    assert!(build(&[]).of_kind("aws:sns/topicSubscription:TopicSubscription").is_empty());
    has(
        build(&[("alertEmail", "oncall@bank.example")]).named("subscription-email-dev"),
        &[("endpoint", text("oncall@bank.example")), ("protocol", text("email"))],
    );
}

#[test]
fn the_dashboard_is_what_cloudwatch_takes() {
    let record = build(&[]);
    let Value::Text(body) = &record.named("dashboard-dev").inputs["dashboardBody"] else { panic!() };
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let widgets = body["widgets"].as_array().unwrap();
    assert!(widgets.len() > 8);
    let mut places = std::collections::BTreeSet::new();
    for widget in widgets {
        assert!(places.insert((widget["x"].as_u64().unwrap(), widget["y"].as_u64().unwrap())));
        assert!(widget["x"].as_u64().unwrap() + widget["width"].as_u64().unwrap() <= 24);
        assert!(!widget["properties"]["metrics"].as_array().unwrap().is_empty());
    }
}

//! `CloudWatch`'s real client, which speaks CBOR, against replies written down before.

#![allow(clippy::unwrap_used, clippy::panic)]

use ciborium::Value;

use super::*;
use crate::api::condition::Reason;
use crate::aws::Ownership;
use crate::aws::dms::Owner;
use crate::aws::responder::{Reply, Responder, lead};
use crate::fault::Fault;

const ARN: &str = "arn:aws:cloudwatch:eu-central-1:123456789012:alarm:slipway-lag";

fn ours() -> Ownership {
    Ownership { uid: "u-1".into(), resource: "bank/payments-db".into() }
}

fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Map(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
}

fn ok(body: &Value) -> Reply {
    Reply::cbor(200, body)
}

fn list(values: impl IntoIterator<Item = Value>) -> Value {
    Value::Array(values.into_iter().collect())
}

fn tags(uid: &str) -> Reply {
    let tag = map([("Key", "slipway.dev/uid".into()), ("Value", uid.into())]);
    ok(&map([("Tags", list([tag]))]))
}

fn wish() -> Alarm {
    Alarm {
        name: "slipway-lag".into(),
        description: "lag".into(),
        metric: "CDCLatencyTarget".into(),
        dimensions: vec![("ReplicationInstanceIdentifier".into(), "i".into())],
        statistic: Statistic::Maximum,
        comparison: Comparison::GreaterThanThreshold,
        threshold: 60.0,
        periods: 3,
        missing_data: MissingData::Breaching,
        sns_topic_arn: "arn:aws:sns:eu-central-1:123456789012:pager".into(),
    }
}

fn stored(enabled: bool, period: i32) -> Reply {
    let wish = wish();
    let dimension = map([("Name", "ReplicationInstanceIdentifier".into()), ("Value", "i".into())]);
    ok(&map([(
        "MetricAlarms",
        list([map([
            ("AlarmName", wish.name.as_str().into()),
            ("AlarmArn", ARN.into()),
            ("AlarmDescription", "lag".into()),
            ("ActionsEnabled", enabled.into()),
            ("AlarmActions", list([wish.sns_topic_arn.as_str().into()])),
            ("OKActions", list([wish.sns_topic_arn.as_str().into()])),
            ("StateValue", "INSUFFICIENT_DATA".into()),
            ("Namespace", "AWS/DMS".into()),
            ("MetricName", "CDCLatencyTarget".into()),
            ("Dimensions", list([dimension])),
            ("Statistic", "Maximum".into()),
            ("ComparisonOperator", "GreaterThanThreshold".into()),
            ("Threshold", 60.0.into()),
            ("Period", period.into()),
            ("EvaluationPeriods", 3.into()),
            ("TreatMissingData", "breaching".into()),
        ])]),
    )]))
}

#[tokio::test]
async fn an_alarm_that_is_as_wished_is_seen_so_and_any_other_is_not() {
    let aws = Responder::start([
        ("DescribeAlarms", vec![stored(true, 60), stored(false, 60), stored(true, 300), ok(&map([]))]),
        ("ListTagsForResource", vec![tags("u-1")]),
    ])
    .await;
    let (cloudwatch, names) = (&aws.aws.cloudwatch, [wish().name]);
    let seen = cloudwatch.alarms(&names, &ours()).await.unwrap();
    assert_eq!(seen, [SeenAlarm { alarm: wish(), state: "INSUFFICIENT_DATA".into(), owner: Owner::Us }]);
    for _ in 0..2 {
        assert_ne!(cloudwatch.alarms(&names, &ours()).await.unwrap()[0].alarm, wish());
    }
    assert_eq!(cloudwatch.alarms(&names, &ours()).await.unwrap(), []);
}

#[tokio::test]
async fn an_alarm_is_put_with_its_owner_and_both_actions() {
    let aws = Responder::start([
        ("DescribeAlarms", vec![ok(&map([("MetricAlarms", list([]))]))]),
        ("PutMetricAlarm", vec![ok(&map([]))]),
    ])
    .await;
    let leadership = lead().await;
    aws.aws.cloudwatch.put_alarm(&leadership.permit(), &ours(), &wish()).await.unwrap();
    let body = aws.last("PutMetricAlarm");
    assert_eq!(body["ActionsEnabled"], true);
    assert_eq!(body["AlarmActions"][0], wish().sns_topic_arn);
    assert_eq!(body["OKActions"][0], wish().sns_topic_arn);
    assert_eq!((&body["Period"], &body["EvaluationPeriods"]), (&60.into(), &3.into()));
    assert_eq!(body["Tags"][0]["Value"], "u-1");
}

#[tokio::test]
async fn anybody_elses_alarm_is_neither_overwritten_nor_deleted() {
    // No reply is written for a change: a test that sends one fails.
    let aws = Responder::start([
        ("DescribeAlarms", vec![stored(true, 60)]),
        ("ListTagsForResource", vec![tags("u-2")]),
    ])
    .await;
    let leadership = lead().await;
    let (permit, cloudwatch) = (leadership.permit(), &aws.aws.cloudwatch);
    for refused in [
        cloudwatch.put_alarm(&permit, &ours(), &wish()).await,
        cloudwatch.delete_alarms(&permit, &ours(), &[wish().name]).await,
    ] {
        let fault = refused.unwrap_err();
        assert!(matches!(&fault, Fault::Blocked(b) if b.reason == Reason::NotOurs), "{fault}");
    }
    assert!(!aws.operations().iter().any(|o| o == "PutMetricAlarm" || o == "DeleteAlarms"));
}

#[tokio::test]
async fn lag_is_asked_for_by_both_dimensions() {
    let result = |id: &str, value: f64| {
        let at = Value::Tag(1, Box::new(1_700_000_000.into()));
        map([
            ("Id", id.into()),
            ("StatusCode", "Complete".into()),
            ("Timestamps", list([at])),
            ("Values", list([value.into()])),
        ])
    };
    let aws = Responder::start([(
        "GetMetricData",
        vec![ok(&map([("MetricDataResults", list([result("source", 1.5), result("target", 4.0)]))]))],
    )])
    .await;
    let now = Timestamp::from_second(1_700_000_030).unwrap();
    let lag = aws.aws.cloudwatch.task_lag("i", "XYZ", now).await.unwrap().unwrap();
    assert_eq!((lag.seconds, lag.at.as_second()), (4.0, 1_700_000_000));
    let query = &aws.last("GetMetricData")["MetricDataQueries"][0]["MetricStat"];
    assert_eq!(query["Metric"]["Dimensions"][1]["Value"], "XYZ");
    assert_eq!((&query["Stat"], &query["Period"]), (&"Maximum".into(), &60.into()));
}

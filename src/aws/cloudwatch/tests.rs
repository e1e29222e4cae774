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
        namespace: DMS.into(),
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

#[tokio::test]
async fn an_alarm_of_another_namespace_and_statistic_is_put_and_seen_as_wished() {
    for (statistic, field, word) in [
        (Statistic::Sum, "Statistic", "Sum"),
        (Statistic::Average, "Statistic", "Average"),
        (Statistic::Extended("p99".into()), "ExtendedStatistic", "p99"),
    ] {
        let wish = Alarm {
            namespace: "AWS/ApplicationELB".into(),
            metric: "TargetResponseTime".into(),
            statistic,
            ..wish()
        };
        let topic = || list([wish.sns_topic_arn.as_str().into()]);
        let stored = |more: Option<(&str, Value)>| {
            let dimension = map([("Name", "ReplicationInstanceIdentifier".into()), ("Value", "i".into())]);
            let mut entries = vec![
                ("AlarmName", wish.name.as_str().into()),
                ("AlarmArn", ARN.into()),
                ("AlarmDescription", "lag".into()),
                ("ActionsEnabled", true.into()),
                ("AlarmActions", topic()),
                ("OKActions", topic()),
                ("Namespace", "AWS/ApplicationELB".into()),
                ("MetricName", "TargetResponseTime".into()),
                ("Dimensions", list([dimension])),
                (field, word.into()),
                ("ComparisonOperator", "GreaterThanThreshold".into()),
                ("Threshold", 60.0.into()),
                ("Period", 60.into()),
                ("EvaluationPeriods", 3.into()),
                ("TreatMissingData", "breaching".into()),
            ];
            entries.extend(more);
            let entries = entries.into_iter().map(|(key, value)| (key.into(), value)).collect();
            ok(&map([("MetricAlarms", list([Value::Map(entries)]))]))
        };
        let replies = vec![
            ok(&map([])),
            stored(None),
            stored(Some(("EvaluateLowSampleCountPercentile", "ignore".into()))),
        ];
        let aws = Responder::start([
            ("DescribeAlarms", replies),
            ("PutMetricAlarm", vec![ok(&map([]))]),
            ("ListTagsForResource", vec![tags("u-1")]),
        ])
        .await;
        let leadership = lead().await;
        let (cloudwatch, names) = (&aws.aws.cloudwatch, [wish.name.clone()]);
        cloudwatch.put_alarm(&leadership.permit(), &ours(), &wish).await.unwrap();
        let body = aws.last("PutMetricAlarm");
        assert_eq!((&body["Namespace"], &body[field]), (&"AWS/ApplicationELB".into(), &word.into()));
        let other = if field == "Statistic" { "ExtendedStatistic" } else { "Statistic" };
        assert!(body[other].is_null(), "{body}");
        assert_eq!(cloudwatch.alarms(&names, &ours()).await.unwrap()[0].alarm, wish);
        let changed = &cloudwatch.alarms(&names, &ours()).await.unwrap()[0].alarm;
        assert_eq!(
            *changed == wish,
            field == "Statistic",
            "a percentile of few samples was told to be ignored"
        );
    }
}

#[tokio::test]
async fn states_of_anybodys_alarms_are_read_of_both_kinds_and_all_pages() {
    let alarm = |name: &str, state: &str| {
        map([
            ("AlarmName", name.into()),
            ("StateValue", state.into()),
            ("Period", 60.into()),
            ("EvaluationPeriods", 2.into()),
            ("TreatMissingData", if name == "latency" { "ignore" } else { "missing" }.into()),
        ])
    };
    let first = map([
        ("MetricAlarms", list([alarm("errors", "OK"), alarm("not asked for", "ALARM")])),
        ("NextToken", "2".into()),
    ]);
    let second = map([
        ("MetricAlarms", list([alarm("latency", "INSUFFICIENT_DATA")])),
        ("CompositeAlarms", list([alarm("all", "ALARM"), map([("AlarmName", "bare".into())])])),
    ]);
    let aws = Responder::start([("DescribeAlarms", vec![ok(&first), ok(&second)])]).await;
    let names = ["errors", "latency", "all", "bare", "absent"].map(str::to_owned);
    let states = aws.aws.cloudwatch.alarm_states(&names).await.unwrap();
    let state = |name: &str, value: &str, minutes: Option<i64>, keeps| AlarmState {
        name: name.into(),
        value: value.into(),
        window: minutes.map(jiff::SignedDuration::from_mins),
        keeps,
    };
    let expected = [
        state("errors", "OK", Some(2), false),
        state("latency", "INSUFFICIENT_DATA", Some(2), true),
        state("all", "ALARM", None, false),
        state("bare", "", None, false),
    ];
    assert_eq!(states, expected);
    let asked = aws.last("DescribeAlarms");
    assert_eq!(asked["AlarmTypes"], serde_json::json!(["MetricAlarm", "CompositeAlarm"]));
    assert_eq!((&asked["NextToken"], &asked["AlarmNames"][4]), (&"2".into(), &"absent".into()));
    // No tags are read: whose they are does not matter.
    assert_eq!(aws.operations(), ["DescribeAlarms", "DescribeAlarms"]);
}

#[tokio::test]
async fn many_alarms_are_asked_for_by_the_hundred_and_none_not_at_all() {
    let aws = Responder::start([("DescribeAlarms", vec![ok(&map([]))])]).await;
    let names: Vec<String> = (0..205).map(|n| format!("alarm-{n}")).collect();
    assert_eq!(aws.aws.cloudwatch.alarm_states(&names).await, Ok(vec![]));
    assert_eq!(aws.operations().len(), 3);
    assert_eq!(aws.last("DescribeAlarms")["AlarmNames"].as_array().unwrap().len(), 5);
    assert_eq!(aws.aws.cloudwatch.alarm_states(&[]).await, Ok(vec![]));
    assert_eq!(aws.operations().len(), 3);
}

#[tokio::test]
async fn a_datapoint_is_asked_for_with_its_samples_in_whole_periods() {
    let at = |second: i64| Value::Tag(1, Box::new(second.into()));
    let result = |id: &str, values: [f64; 2]| {
        map([
            ("Id", id.into()),
            ("StatusCode", "Complete".into()),
            ("Timestamps", list([at(1_700_000_100), at(1_700_000_040)])),
            ("Values", list(values.map(Value::from))),
        ])
    };
    let results = |value| {
        ok(&map([("MetricDataResults", list([result("value", value), result("samples", [40.0, 30.0])]))]))
    };
    let more = ok(&map([
        ("MetricDataResults", list([result("value", [0.1, 0.2]), result("samples", [1.0, 1.0])])),
        ("NextToken", "2".into()),
    ]));
    let replies = vec![
        results([0.25, 0.5]),
        results([f64::NAN, 0.5]),
        results([f64::NAN, f64::NAN]),
        more,
        ok(&map([])),
    ];
    let aws = Responder::start([("GetMetricData", replies)]).await;
    let metric = Metric {
        namespace: "AWS/ApplicationELB".into(),
        name: "TargetResponseTime".into(),
        dimensions: vec![("LoadBalancer".into(), "app/bank/50dc6c495c0c9188".into())],
        statistic: "p99".into(),
    };
    let now = Timestamp::from_second(1_700_000_199).unwrap();
    let asked = || aws.aws.cloudwatch.datapoint(&metric, 60, now);
    let point =
        |at, value, samples| Some(Datapoint { at: Timestamp::from_second(at).unwrap(), value, samples });
    assert_eq!(asked().await, Ok(point(1_700_000_100, 0.25, 40.0)));
    assert_eq!(asked().await, Ok(point(1_700_000_040, 0.5, 30.0)));
    for why in ["no number", "half an answer", "nothing"] {
        assert_eq!(asked().await, Ok(None), "{why}");
    }
    let body = aws.last("GetMetricData");
    let queries = body["MetricDataQueries"].as_array().unwrap();
    let stats: Vec<&str> =
        queries.iter().map(|query| query["MetricStat"]["Stat"].as_str().unwrap()).collect();
    assert_eq!(stats, ["p99", "SampleCount"]);
    for query in queries {
        let stat = &query["MetricStat"];
        assert_eq!(
            (&stat["Period"], &stat["Metric"]["MetricName"]),
            (&60.into(), &"TargetResponseTime".into())
        );
        assert_eq!(stat["Metric"]["Dimensions"][0]["Value"], "app/bank/50dc6c495c0c9188");
    }
    // 1 700 000 160 is the last whole minute before now.
    assert_eq!(body["EndTime"].as_f64(), Some(1_700_000_160.0));
    assert_eq!(body["StartTime"].as_f64(), Some(1_700_000_160.0 - 600.0));
    aws.aws.cloudwatch.datapoint(&metric, 300, now).await.unwrap();
    let body = aws.last("GetMetricData");
    assert_eq!(body["EndTime"].as_f64(), Some(1_700_000_100.0));
    assert_eq!(body["StartTime"].as_f64(), Some(1_700_000_100.0 - 1500.0));
}

const DASHBOARD: &str = "arn:aws:cloudwatch::123456789012:dashboard/dashboard-payments";

fn dashboard() -> Reply {
    ok(&map([
        ("DashboardArn", DASHBOARD.into()),
        ("DashboardBody", "{\"widgets\":[]}".into()),
        ("DashboardName", "dashboard-payments".into()),
    ]))
}

fn not_found() -> Reply {
    Reply::cbor(404, &map([("__type", "ResourceNotFound".into()), ("message", "LEAK".into())]))
}

#[tokio::test]
async fn a_dashboard_is_put_with_its_owner_and_a_faulty_one_is_a_fault() {
    let message = |text: &str| map([("DataPath", "/widgets/0".into()), ("Message", text.into())]);
    let replies = vec![
        ok(&map([])),
        ok(&map([("DashboardValidationMessages", list([]))])),
        ok(&map([("DashboardValidationMessages", list([message("LEAK"), message("LEAK")]))])),
    ];
    let aws = Responder::start([
        ("GetDashboard", vec![not_found(), dashboard()]),
        ("ListTagsForResource", vec![tags("u-1")]),
        ("PutDashboard", replies),
    ])
    .await;
    let leadership = lead().await;
    let put = || async {
        let permit = leadership.permit();
        aws.aws.cloudwatch.put_dashboard(&permit, &ours(), "dashboard-payments", "{\"widgets\":[]}").await
    };
    assert_eq!(put().await, Ok(()));
    let body = aws.last("PutDashboard");
    assert_eq!(
        (&body["DashboardName"], &body["Tags"][0]["Value"]),
        (&"dashboard-payments".into(), &"u-1".into())
    );
    assert_eq!(body["DashboardBody"], "{\"widgets\":[]}");
    assert_eq!(put().await, Ok(()));
    assert_eq!(aws.last("ListTagsForResource")["ResourceARN"], DASHBOARD);
    let fault = put().await.unwrap_err();
    assert!(
        matches!(&fault, Fault::Bug(why) if why.contains("2 places") && !why.contains("LEAK")),
        "{fault:?}"
    );
}

#[tokio::test]
async fn a_dashboard_is_told_with_its_owner_and_deleted_if_it_is_ours() {
    let aws = Responder::start([
        ("GetDashboard", vec![dashboard(), not_found(), dashboard(), not_found(), dashboard()]),
        ("ListTagsForResource", vec![tags("u-1")]),
        ("DeleteDashboards", vec![ok(&map([])), not_found()]),
    ])
    .await;
    let leadership = lead().await;
    let (permit, cloudwatch) = (leadership.permit(), &aws.aws.cloudwatch);
    let expected =
        Dashboard { name: "dashboard-payments".into(), body: "{\"widgets\":[]}".into(), owner: Owner::Us };
    assert_eq!(cloudwatch.dashboard("dashboard-payments", &ours()).await, Ok(Some(expected)));
    assert_eq!(cloudwatch.dashboard("dashboard-payments", &ours()).await, Ok(None));
    let names = ["dashboard-payments", "gone"].map(str::to_owned);
    assert_eq!(cloudwatch.delete_dashboards(&permit, &ours(), &names).await, Ok(()));
    assert_eq!(aws.last("DeleteDashboards")["DashboardNames"], serde_json::json!(["dashboard-payments"]));
    // Gone since it was looked for.
    assert_eq!(cloudwatch.delete_dashboards(&permit, &ours(), &names[..1]).await, Ok(()));
}

#[tokio::test]
async fn anybody_elses_dashboard_is_neither_overwritten_nor_deleted() {
    // No reply is written for a change: a test that sends one fails.
    let aws = Responder::start([
        ("GetDashboard", vec![dashboard()]),
        ("ListTagsForResource", vec![tags("u-2"), ok(&map([]))]),
    ])
    .await;
    let leadership = lead().await;
    let (permit, cloudwatch) = (leadership.permit(), &aws.aws.cloudwatch);
    for refused in [
        cloudwatch.put_dashboard(&permit, &ours(), "dashboard-payments", "{}").await,
        cloudwatch.delete_dashboards(&permit, &ours(), &["dashboard-payments".to_owned()]).await,
    ] {
        let fault = refused.unwrap_err();
        assert!(matches!(&fault, Fault::Blocked(b) if b.reason == Reason::NotOurs), "{fault}");
    }
    assert!(!aws.operations().iter().any(|o| o == "PutDashboard" || o == "DeleteDashboards"));
}

//! `CloudWatch`, RDS and STS.

use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{
    ComparisonOperator, Dimension, Metric, MetricDataQuery, MetricStat, ScanBy, StateValue, Statistic, Tag,
};
use aws_sdk_cloudwatch::{Client, error::ProvideErrorMetadata};
use aws_sdk_databasemigration::types::StartReplicationTaskTypeValue as Start;
use sandbox::serve::fault::{Order, Rule, Word};
use sandbox::world::Meddling;

use super::{Bench, eventually};

fn dimensions(task: &str) -> Vec<Dimension> {
    let resource_id = task.rsplit(':').next().expect("a tail");
    [
        ("ReplicationInstanceIdentifier", "replication-instance-prod"),
        ("ReplicationTaskIdentifier", resource_id),
    ]
    .map(|(name, value)| Dimension::builder().name(name).value(value).build())
    .to_vec()
}

async fn values(client: &Client, dimensions: Vec<Dimension>) -> Vec<f64> {
    let metric = Metric::builder()
        .namespace("AWS/DMS")
        .metric_name("CDCLatencyTarget")
        .set_dimensions(Some(dimensions))
        .build();
    let stat = MetricStat::builder().metric(metric).period(60).stat("Maximum").build();
    let now = jiff::Timestamp::now().as_second();
    let answer = client
        .get_metric_data()
        .metric_data_queries(MetricDataQuery::builder().id("lag").metric_stat(stat).build())
        .start_time(DateTime::from_secs(now - 600))
        .end_time(DateTime::from_secs(now + 60))
        .scan_by(ScanBy::TimestampDescending)
        .send()
        .await
        .expect("data");
    let result = &answer.metric_data_results()[0];
    assert_eq!(result.id(), Some("lag"));
    assert_eq!(result.values().len(), result.timestamps().len());
    result.values().to_vec()
}

#[tokio::test]
async fn a_running_task_publishes_and_its_alarms_are_judged() {
    let bench = Bench::start().await;
    let made = bench.provision().await;
    let client = Client::new(&bench.config);
    let put = |name: &'static str, threshold: f64| {
        client
            .put_metric_alarm()
            .alarm_name(name)
            .namespace("AWS/DMS")
            .metric_name("CDCLatencyTarget")
            .set_dimensions(Some(dimensions(&made.task)))
            .statistic(Statistic::Maximum)
            .period(60)
            .evaluation_periods(1)
            .threshold(threshold)
            .comparison_operator(ComparisonOperator::GreaterThanThreshold)
            .tags(Tag::builder().key("owner").value("slipway").build())
    };
    put("calm", 60.0).treat_missing_data("missing").send().await.expect("put");
    let alarms =
        client.describe_alarms().alarm_names("calm").alarm_names("absent").send().await.expect("described");
    assert_eq!(alarms.metric_alarms().len(), 1);
    let alarm = &alarms.metric_alarms()[0];
    assert_eq!(alarm.state_value(), Some(&StateValue::InsufficientData));
    assert!(alarm.state_updated_timestamp().is_some());
    let tags = client.list_tags_for_resource().resource_arn(alarm.alarm_arn().expect("an ARN")).send().await;
    assert_eq!(tags.expect("tags").tags()[0].key(), Some("owner"));

    bench.start_as(&made.task, Start::StartReplication).await.expect("started");
    bench.task_becomes(&made.task, "running").await;
    eventually("datapoints come", async || {
        values(&client, dimensions(&made.task)).await.first() == Some(&2.5)
    })
    .await;
    assert!(values(&client, dimensions("arn:wrong:tail")).await.is_empty(), "no data, and no error");
    let state = async |name: &str| {
        let seen = client.describe_alarms().alarm_names(name).send().await.expect("described");
        seen.metric_alarms().first().and_then(|alarm| alarm.state_value().cloned())
    };
    eventually("the calm alarm is OK", async || state("calm").await == Some(StateValue::Ok)).await;

    put("calm", 1.0).send().await.expect("put again");
    eventually("it fires at a lower threshold", async || state("calm").await == Some(StateValue::Alarm))
        .await;
    client.delete_alarms().alarm_names("calm").alarm_names("absent").send().await.expect("deleted");
    assert_eq!(state("calm").await, None);
}

#[tokio::test]
async fn alarm_faults_and_missing_datapoints() {
    let bench = Bench::start().await;
    let client = Client::new(&bench.config);
    let put = |missing: &'static str, period: i32| {
        client
            .put_metric_alarm()
            .alarm_name("lag")
            .namespace("AWS/DMS")
            .metric_name("CDCLatencyTarget")
            .statistic(Statistic::Maximum)
            .period(period)
            .evaluation_periods(1)
            .threshold(1.0)
            .comparison_operator(ComparisonOperator::GreaterThanThreshold)
            .treat_missing_data(missing)
            .send()
    };
    let error = put("breaching", 61).await.expect_err("a strange period").into_service_error();
    assert_eq!(error.code(), Some("ValidationError"));
    bench.server.order(Order::World(Meddling::NoDatapoints { on: true })).expect("ordered");
    put("breaching", 60).await.expect("put");
    eventually("missing data breaches", async || {
        let seen = client.describe_alarms().state_value(StateValue::Alarm).send().await.expect("described");
        !seen.metric_alarms().is_empty()
    })
    .await;
    let rule = Rule {
        operation: "cloudwatch:*".into(),
        kind: Word::Throttle,
        times: Some(1),
        for_seconds: None,
        lag_seconds: None,
        access_key: None,
    };
    bench.server.order(Order::Fault(rule)).expect("ordered");
    let error = client.describe_alarms().send().await.expect_err("throttled").into_service_error();
    assert_eq!(error.code(), Some("ThrottlingException"));
    let unknown = client.list_metric_streams().send().await.expect_err("not modelled").into_service_error();
    assert_eq!(unknown.code(), Some("UnknownOperationException"));
}

#[tokio::test]
async fn rds_and_sts_answer_in_xml() {
    let bench = Bench::start().await;
    let identity = aws_sdk_sts::Client::new(&bench.config).get_caller_identity().send().await.expect("known");
    assert_eq!(identity.account(), Some("111122223333"));

    let client = aws_sdk_rds::Client::new(&bench.config);
    let found = client.describe_db_instances().db_instance_identifier("bank").send().await.expect("found");
    let instance = &found.db_instances()[0];
    assert_eq!(instance.endpoint().and_then(aws_sdk_rds::types::Endpoint::port), Some(5433));
    assert_eq!(instance.master_username(), Some("root<&>"));
    assert_eq!(instance.storage_encrypted(), Some(true));
    assert_eq!(instance.db_parameter_groups()[0].parameter_apply_status(), Some("in-sync"));
    let pending = Meddling::Database {
        identifier: "bank".into(),
        status: None,
        parameter_apply_status: Some("pending-reboot".into()),
        encrypted: None,
    };
    bench.server.order(Order::World(pending)).expect("ordered");
    let found = client.describe_db_instances().send().await.expect("all");
    assert_eq!(
        found.db_instances()[0].db_parameter_groups()[0].parameter_apply_status(),
        Some("pending-reboot")
    );
    let absent =
        client.describe_db_instances().db_instance_identifier("nope").send().await.expect_err("absent");
    assert!(absent.into_service_error().is_db_instance_not_found_fault());
}

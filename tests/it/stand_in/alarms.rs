//! `CloudWatch` as gates see it: an application's own metrics, alarms of both kinds, dashboards.

use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::error::ProvideErrorMetadata;
use aws_sdk_cloudwatch::operation::put_metric_alarm::builders::PutMetricAlarmFluentBuilder;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{
    AlarmType, ComparisonOperator, Metric, MetricDataQuery, MetricDatum, MetricStat, StandardUnit,
    StateValue, Statistic,
};

use super::{Bench, eventually};

fn alarm(client: &Client, name: &str) -> PutMetricAlarmFluentBuilder {
    client
        .put_metric_alarm()
        .alarm_name(name)
        .namespace("Bank")
        .metric_name("Errors")
        .statistic(Statistic::Sum)
        .period(60)
        .evaluation_periods(1)
        .threshold(10.0)
        .comparison_operator(ComparisonOperator::GreaterThanThreshold)
}

async fn put(client: &Client, name: &str, values: &[f64]) {
    let datum = MetricDatum::builder()
        .metric_name(name)
        .set_values(Some(values.to_vec()))
        .unit(StandardUnit::Count)
        .build();
    client.put_metric_data().namespace("Bank").metric_data(datum).send().await.expect("put");
}

async fn state(client: &Client, name: &str) -> Option<StateValue> {
    let asked = client.describe_alarms().alarm_names(name);
    let asked = asked.alarm_types(AlarmType::MetricAlarm).alarm_types(AlarmType::CompositeAlarm);
    let seen = asked.send().await.expect("described");
    let of_metric = seen.metric_alarms().first().and_then(|alarm| alarm.state_value().cloned());
    of_metric.or_else(|| seen.composite_alarms().first().and_then(|alarm| alarm.state_value().cloned()))
}

async fn becomes(client: &Client, name: &str, wanted: StateValue) {
    eventually("the alarm's state is as expected", async || {
        state(client, name).await == Some(wanted.clone())
    })
    .await;
}

#[tokio::test]
async fn an_alarm_is_judged_by_what_was_put_and_keeps_its_state_when_put_again() {
    let bench = Bench::start().await;
    let client = Client::new(&bench.config);
    alarm(&client, "errors").send().await.expect("put");
    assert_eq!(state(&client, "errors").await, Some(StateValue::InsufficientData));
    put(&client, "Errors", &[4.0, 7.0]).await;
    becomes(&client, "errors", StateValue::Alarm).await;
    // A minute of an alarm is short without delays: soon the data is missing again, and missing data says nothing.
    becomes(&client, "errors", StateValue::InsufficientData).await;
    // What somebody sets lasts until the next judgement; putting the alarm again changes nothing of it. Judgements are
    // seconds apart, but one may fall in between.
    eventually("its state is kept", async || {
        let set = client.set_alarm_state().alarm_name("errors").state_value(StateValue::Alarm);
        set.state_reason("a test").send().await.expect("set");
        alarm(&client, "errors").treat_missing_data("notBreaching").send().await.expect("put again");
        state(&client, "errors").await == Some(StateValue::Alarm)
    })
    .await;
    becomes(&client, "errors", StateValue::Ok).await;
    let absent =
        client.set_alarm_state().alarm_name("none").state_value(StateValue::Ok).state_reason("a test");
    let absent = absent.send().await.expect_err("absent").into_service_error();
    assert!(absent.is_resource_not_found(), "{absent:?}");
}

#[tokio::test]
async fn composite_alarms_follow_others_and_are_shown_to_who_asks_for_them() {
    let bench = Bench::start().await;
    let client = Client::new(&bench.config);
    let compose = |rule: &str| client.put_composite_alarm().alarm_name("bank").alarm_rule(rule).send();
    let refused = compose("ALARM(\"errors\")").await.expect_err("no such alarm").into_service_error();
    assert_eq!(refused.code(), Some("ValidationError"));
    alarm(&client, "errors").treat_missing_data("notBreaching").send().await.expect("put");
    compose("ALARM(\"errors\") AND NOT FALSE").await.expect("put");
    let plain = client.describe_alarms().send().await.expect("described");
    assert_eq!(
        (plain.metric_alarms().len(), plain.composite_alarms().len()),
        (1, 0),
        "only who asks sees it"
    );
    becomes(&client, "bank", StateValue::Ok).await;
    put(&client, "Errors", &[11.0]).await;
    becomes(&client, "bank", StateValue::Alarm).await;
    client.delete_alarms().alarm_names("bank").alarm_names("errors").send().await.expect("deleted");
    assert_eq!(state(&client, "bank").await, None);
}

#[tokio::test]
async fn metrics_of_an_application_have_every_statistic() {
    let bench = Bench::start().await;
    let client = Client::new(&bench.config);
    let values: Vec<f64> = (1..=100).map(f64::from).collect();
    put(&client, "Latency", &values).await;
    let query = |(number, (name, statistic)): (usize, (&str, &str))| {
        let metric = Metric::builder().namespace("Bank").metric_name(name).build();
        let stat = MetricStat::builder().metric(metric).period(60).stat(statistic).build();
        MetricDataQuery::builder().id(format!("q{number}")).metric_stat(stat).build()
    };
    let asked = [
        ("Latency", "Average"),
        ("Latency", "Sum"),
        ("Latency", "Maximum"),
        ("Latency", "SampleCount"),
        ("Latency", "p99"),
        ("Nothing", "Sum"),
    ];
    let queries: Vec<MetricDataQuery> = asked.into_iter().enumerate().map(query).collect();
    let now = jiff::Timestamp::now().as_second();
    let get = client.get_metric_data().set_metric_data_queries(Some(queries));
    let get = get.start_time(DateTime::from_secs(now - 600)).end_time(DateTime::from_secs(now + 60));
    let answer = get.send().await.expect("data");
    let values: Vec<Option<f64>> =
        answer.metric_data_results().iter().map(|result| result.values().first().copied()).collect();
    assert_eq!(values, [Some(50.5), Some(5050.0), Some(100.0), Some(100.0), Some(99.0), None]);

    let datum = MetricDatum::builder().metric_name("Errors").value(1.0).build();
    let refused = client.put_metric_data().namespace("AWS/DMS").metric_data(datum).send().await;
    assert_eq!(refused.expect_err("AWS's own").into_service_error().code(), Some("ValidationError"));
    alarm(&client, "slow")
        .set_statistic(None)
        .extended_statistic("p99.9")
        .send()
        .await
        .expect("a percentile");
    let seen = client.describe_alarms().send().await.expect("described");
    let slow = &seen.metric_alarms()[0];
    assert_eq!((slow.extended_statistic(), slow.statistic()), (Some("p99.9"), None));
}

#[tokio::test]
async fn dashboards_are_kept_and_odd_ones_are_told() {
    let bench = Bench::start().await;
    let client = Client::new(&bench.config);
    let put = |body: &str| client.put_dashboard().dashboard_name("bank-dev").dashboard_body(body).send();
    let body =
        r#"{"widgets":[{"type":"metric","properties":{"metrics":[["AWS/ApplicationELB","RequestCount"]]}}]}"#;
    assert!(put(body).await.expect("put").dashboard_validation_messages().is_empty());
    let seen = client.get_dashboard().dashboard_name("bank-dev").send().await.expect("there");
    assert_eq!(seen.dashboard_body(), Some(body));
    assert_eq!(seen.dashboard_arn(), Some("arn:aws:cloudwatch::111122223333:dashboard/bank-dev"));
    let odd = put(r#"{"widgets":[{"type":"metric"}]}"#).await.expect("stored all the same");
    assert_eq!(odd.dashboard_validation_messages()[0].data_path(), Some("/widgets/0"));
    let refused = put("{").await.expect_err("no JSON").into_service_error();
    assert!(refused.is_dashboard_invalid_input_error(), "{refused:?}");

    let both = || client.delete_dashboards().dashboard_names("bank-dev").dashboard_names("none").send();
    let absent = both().await.expect_err("one is absent").into_service_error();
    assert_eq!(absent.code(), Some("ResourceNotFound"));
    client.delete_dashboards().dashboard_names("bank-dev").send().await.expect("it was kept");
    let gone = client.get_dashboard().dashboard_name("bank-dev").send().await.expect_err("gone");
    assert!(gone.into_service_error().is_dashboard_not_found_error());
}

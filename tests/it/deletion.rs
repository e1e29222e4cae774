//! Deleting a migration removes what it made, and nothing else.

use std::time::Duration;

use jiff::Timestamp;
use sandbox::bank;
use sandbox::postgres::connect_local;
use sandbox::serve::Server;
use sandbox::world::Call;
use sandbox::world::cloudwatch::{self, PutMetricAlarm, Series, Statistic};
use sandbox::world::dms::{self, CreateEndpoint, ImportCertificate, Tag};
use tokio::time::sleep;

use crate::crash::EVERY;
use crate::crash::bench::Bench;
use crate::crash::inventory::{self, Lines};
use crate::journey::{NAME, View, texts};

/// Somebody else's endpoint.
fn endpoint(aws: &Server, identifier: &str, tags: &[(&str, &str)]) {
    let word = |text: &str| Some(text.to_owned());
    let call = CreateEndpoint {
        endpoint_identifier: identifier.to_owned(),
        endpoint_type: "source".to_owned(),
        engine_name: "postgres".to_owned(),
        username: word("somebody"),
        password: word("secret"),
        server_name: word("db.somebody.example"),
        port: Some(5432),
        database_name: word("theirs"),
        tags: tags
            .iter()
            .map(|(key, value)| Tag {
                key: (*key).to_owned(),
                value: (*value).to_owned(),
                resource_arn: None,
            })
            .collect(),
        ..CreateEndpoint::default()
    };
    ask(aws, Call::Dms(dms::Call::CreateEndpoint(Box::new(call))));
}

/// Somebody else's certificate.
fn certificate(aws: &Server, identifier: &str, pem: &str) {
    let call = ImportCertificate {
        certificate_identifier: identifier.to_owned(),
        certificate_pem: pem.to_owned(),
        tags: Vec::new(),
    };
    ask(aws, Call::Dms(dms::Call::ImportCertificate(call)));
}

/// Somebody else's alarm.
fn alarm(aws: &Server, name: &str) {
    let call = PutMetricAlarm {
        name: name.to_owned(),
        description: None,
        actions_enabled: true,
        ok_actions: Vec::new(),
        alarm_actions: Vec::new(),
        insufficient_data_actions: Vec::new(),
        series: Series {
            namespace: "AWS/DMS".to_owned(),
            name: "CPUUtilization".to_owned(),
            dimensions: [("ReplicationInstanceIdentifier".to_owned(), "theirs".to_owned())].into(),
        },
        statistic: Statistic::parse("Maximum").unwrap(),
        period_seconds: 60,
        evaluation_periods: 1,
        datapoints_to_alarm: None,
        threshold: 90.0,
        comparison_operator: "GreaterThanThreshold".to_owned(),
        treat_missing_data: None,
        unit: None,
        tags: std::collections::BTreeMap::new(),
    };
    ask(aws, Call::CloudWatch(cloudwatch::Call::PutMetricAlarm(Box::new(call))));
}

fn ask(aws: &Server, call: Call) {
    aws.with_world(|world, now: Timestamp| world.call(call, now)).unwrap();
}

/// What is there and belongs to nobody, once all of it is made.
async fn others(bench: &Bench) -> Lines {
    loop {
        let all = inventory::take(&bench.journey.sandbox.aws).of_others("");
        if !all.iter().any(|line| line.contains("\"creating\"")) {
            return all;
        }
        sleep(Duration::from_millis(5)).await;
    }
}

async fn rows_on_target(bench: &Bench) -> String {
    texts(&bench.journey.sandbox.target, "SELECT count(*)::text FROM public.entries").await.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn others_things_stay_and_a_second_migration_starts_from_an_empty_target() {
    let mut bench = Box::pin(Bench::begin_at_once("deletion")).await;
    let aws = &bench.journey.sandbox.aws;
    let ca = bench.journey.sandbox.source.ca();
    // Names of their own, our pattern with another migration's name, and our tags with another uid.
    endpoint(aws, "reporting", &[]);
    endpoint(aws, "dms-endpoint-source-payments-db-prod", &[("slipway.dev/uid", "11111111-0000")]);
    endpoint(
        aws,
        "dms-endpoint-source-payments-db-dev-two",
        &[("slipway.dev/resource", "default/payments-db")],
    );
    certificate(aws, "dms-certificate-source-abc-other-db-dev", ca);
    alarm(aws, "disk-full");
    alarm(aws, "alarm-dms-lag-payments-db-prod");
    bench.others = others(&bench).await;
    assert_eq!(bench.others.len(), 6);

    bench.apply().await;
    let view = bench.ready().await;
    bench.new_operator().await;
    bench.journey.delete(NAME).await;
    bench.gone(&view).await;
    let rows = rows_on_target(&bench).await;
    assert_ne!(rows, "0", "the target's rows stay");

    // Its rows may be somebody's only copy.
    bench.new_operator().await;
    let changes = bench.journey.mutating_calls().len();
    bench.apply().await;
    let full = |view: &View| view.is("Stalled", "True", "TargetNotEmpty");
    let second = bench.journey.until(NAME, "TargetNotEmpty", full).await;
    assert_ne!(second.uid(), view.uid());
    assert_eq!(rows_on_target(&bench).await, rows, "nothing was written");
    assert_eq!(bench.journey.mutating_calls().len(), changes, "nothing was made");
    assert!(!second.is_held(), "nothing to clean up, so nothing holds it");
    bench.empty_target().await;
    let view = bench.journey.until_replicating(NAME).await;
    bench.proved(&view).await;
    bench.clear(&view).await;
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_at_any_time_nothing_is_left() {
    let mut bench = Box::pin(Bench::begin_at_once("midway")).await;
    let numbers = if std::env::var_os(EVERY).is_some() { (1..=13).collect() } else { vec![2, 5, 9] };
    for number in numbers {
        println!("deleted after change {number}");
        let before = bench.counts().changes;
        bench.apply().await;
        while bench.counts().changes < before + number {
            sleep(Duration::from_millis(1)).await;
        }
        let view = bench.journey.view(NAME).await;
        bench.journey.delete(NAME).await;
        bench.gone(&view).await;
        bench.empty_target().await;
        bench.new_operator().await;
    }

    // In the middle of the load, which waits for a lock.
    let holder = connect_local(&bench.journey.sandbox.target.superuser_dsn(bank::DATABASE)).await.unwrap();
    holder.batch_execute("BEGIN; LOCK TABLE public.documents IN EXCLUSIVE MODE").await.unwrap();
    bench.apply().await;
    let view = bench.journey.until(NAME, "Loading", |view| view.phase() == "Loading").await;
    bench.journey.delete(NAME).await;
    bench.journey.until(NAME, "Deleting", |view| view.phase() == "Deleting").await;
    holder.batch_execute("ROLLBACK").await.unwrap();
    bench.gone(&view).await;
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_down_is_waited_for() {
    let mut bench = Box::pin(Bench::begin_at_once("down")).await;
    bench.apply().await;
    let view = bench.ready().await;
    bench.journey.sandbox.source.kill().await.unwrap();
    bench.journey.delete(NAME).await;
    let waiting = bench
        .journey
        .until(NAME, "Stalled, with what is to be done", |view| {
            view.condition("Stalled").is_some_and(|(status, _, _)| status == "True")
        })
        .await;
    let message = waiting.message("Stalled");
    assert!(waiting.is("Stalled", "True", "Deleting"), "{}", waiting.describe());
    for word in ["source", "must be cleaned up", "deletionPolicy", "Retain"] {
        assert!(message.contains(word), "{word} in {message}");
    }
    bench.journey.sandbox.source.restart().await.unwrap();
    bench.gone(&view).await;
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_our_name_and_is_not_ours_is_left_alone() {
    let mut bench = Box::pin(Bench::begin_at_once("foreign")).await;
    let aws = &bench.journey.sandbox.aws;
    endpoint(aws, "dms-endpoint-source-payments-db-dev", &[]);
    bench.others = others(&bench).await;

    // Before anything is made.
    let changes = bench.journey.mutating_calls().len();
    bench.apply().await;
    let not_ours = |view: &View| view.is("Stalled", "True", "NotOurs");
    let view = bench.journey.until(NAME, "NotOurs", not_ours).await;
    assert!(view.message("Stalled").contains("dms-endpoint-source-payments-db-dev"), "{}", view.describe());
    bench.journey.delete(NAME).await;
    bench.journey.until_gone(NAME).await;
    let left = inventory::take(&bench.journey.sandbox.aws).of_others(view.uid());
    assert_eq!(left, bench.others, "somebody else's endpoint");
    assert_eq!(bench.journey.mutating_calls().len(), changes, "nothing was made or removed");
    bench.journey.sandbox.aws.with_world(|world, now| {
        let resource = "dms-endpoint-source-payments-db-dev".to_owned();
        world.meddle(sandbox::world::Meddling::DeleteResource { resource }, now).unwrap();
    });

    // When some of it is made.
    bench.new_operator().await;
    bench.others = Lines::new();
    bench.apply().await;
    while inventory::take(&bench.journey.sandbox.aws).names().is_empty() {
        sleep(Duration::from_millis(1)).await;
    }
    alarm(&bench.journey.sandbox.aws, "alarm-dms-task-payments-db-dev");
    bench.others = others(&bench).await;
    bench.others.retain(|line| line.starts_with("alarm "));
    bench.new_operator().await;
    let view = bench.journey.until(NAME, "NotOurs", not_ours).await;
    assert!(view.message("Stalled").contains("alarm-dms-task-payments-db-dev"), "{}", view.describe());
    bench.new_operator().await;
    bench.journey.delete(NAME).await;
    bench.gone(&view).await;
    bench.end().await;
}

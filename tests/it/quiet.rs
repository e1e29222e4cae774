//! At rest nothing is written: not to Kubernetes, and not to AWS.

use std::time::Duration;

use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::crash::replies::order;
use crate::journey::{Journey, NAME, spec};
use crate::traffic::stage::{Stage, weight};

/// The event about the last status comes after it, within this time.
const LAST_EVENT: Duration = Duration::from_secs(3);

/// Reconciles that ended well, by the operator's own count.
async fn reconciles(journey: &Journey) -> u64 {
    let log = std::fs::read_to_string(journey.operator().unwrap().log()).unwrap();
    let Some(line) = log.lines().find(|line| line.contains("/metrics")) else { return 0 };
    let address = line.split_once("address=").unwrap().1.split_whitespace().next().unwrap();
    let Ok(mut stream) = TcpStream::connect(address).await else { return 0 };
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let count = text.lines().find_map(|line| line.strip_prefix("slipway_reconciles_total{outcome=\"ok\"} "));
    count.map_or(0, |count| count.parse().unwrap())
}

/// Lets the operator look `looks` times, and counts what it wrote. Whoever is to be poked is looked at more often.
async fn look_often(journey: &Journey, looks: u64, poke: Option<(&Api<DynamicObject>, &str)>) {
    sleep(LAST_EVENT).await;
    let written = journey.writes_by_operator().len();
    let changes = journey.mutating_calls().len();
    let begun = reconciles(journey).await;
    let mut pokes = 0;
    journey
        .eventually(crate::journey::PATIENCE, "many looks", || {
            pokes += 1;
            async move {
                if let Some((api, name)) = poke {
                    // An annotation is no news, but the operator is told of it, and looks.
                    let annotation = json!({"metadata": {"annotations": {"poke": pokes.to_string()}}});
                    api.patch(name, &PatchParams::default(), &Patch::Merge(annotation)).await.unwrap();
                    sleep(Duration::from_millis(150)).await;
                }
                let seen = reconciles(journey).await - begun;
                if seen >= looks { Ok(()) } else { Err(format!("{seen} looks")) }
            }
        })
        .await;
    let writes = journey.writes_by_operator().split_off(written);
    assert!(writes.is_empty(), "written in {looks} looks: {writes:?}");
    let changes = journey.mutating_calls().split_off(changes);
    assert!(changes.is_empty(), "asked of AWS in {looks} looks: {changes:?}");
}

/// Kills the operator and starts another, whose allowance of AWS calls is not used up.
async fn another(journey: &mut Journey) {
    sleep(LAST_EVENT).await;
    let writes = journey.writes_by_operator().len();
    journey.kill_operator().await;
    journey.start_operator();
    journey
        .eventually(crate::journey::PATIENCE, "a look", || async {
            if reconciles(journey).await > 0 { Ok(()) } else { Err("none".to_owned()) }
        })
        .await;
    let written = journey.writes_by_operator().split_off(writes);
    assert!(written.is_empty(), "written by a new operator: {written:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_rest_nothing_is_written() {
    let mut journey = Box::pin(Journey::begin("quiet")).await;
    journey.start_operator();
    let migrations = journey.migrations();
    journey.apply(|migration| migration["spec"]["goal"] = json!("Plan")).await;
    journey.until(NAME, "a plan", |view| view.is_current() && view.is("Ready", "True", "Planned")).await;
    look_often(&journey, 12, None).await;
    // To start again is no news either.
    another(&mut journey).await;
    look_often(&journey, 12, Some((&migrations, NAME))).await;
    assert_eq!(journey.mutating_calls().len(), 0, "goal Plan changes nothing");

    // A person is waited for: the same look again and again.
    journey
        .on_target("INSERT INTO public.rates (currency, valid_on, rate) VALUES ('XTS', '2026-01-01', 1)")
        .await;
    journey.patch(NAME, spec(json!({"goal": "Replicate"}))).await.unwrap();
    journey
        .until(NAME, "TargetNotEmpty", |view| {
            view.is_current() && view.is("Stalled", "True", "TargetNotEmpty")
        })
        .await;
    another(&mut journey).await;
    look_often(&journey, 12, None).await;
    journey.on_target("TRUNCATE public.rates").await;

    // Replicating without news; statuses of the first seconds tell of what was just done.
    journey.until_replicating(NAME).await;
    sleep(Duration::from_secs(3)).await;
    look_often(&journey, 20, Some((&migrations, NAME))).await;
    another(&mut journey).await;
    look_often(&journey, 20, Some((&migrations, NAME))).await;
    journey.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_at_rest_writes_nothing() {
    const QUICK: &str = "quick-api";
    let mut stage = Box::pin(Stage::begin_with("quiet-application", |options| {
        options.delays.dns_in_sync = options.delays.dns_change;
    }))
    .await;
    let applications = stage.applications();
    let poke = Some((&applications, QUICK));
    let object = stage.quick(QUICK, |object| {
        let spec = &mut object["spec"];
        spec["goal"] = json!("Plan");
        spec["alarms"] = json!({"snsTopicARN": "arn:aws:sns:us-east-1:111122223333:alerts-dev"});
        spec["gates"] =
            json!([{"name": "healthy", "interval": "1s", "http": {"side": "Target", "path": "/healthz"}}]);
    });
    stage.journey.start_operator();
    stage.journey.try_apply(&object).await.unwrap();
    stage.until_of(QUICK, "a plan", |view| view.is_current() && view.is("Ready", "True", "Planned")).await;
    look_often(&stage.journey, 10, poke).await;
    assert_eq!(stage.journey.mutating_calls().len(), 0, "goal Plan changes nothing");

    stage.patch_of(QUICK, json!({"goal": "Stage"})).await;
    stage.until_of(QUICK, "staged", |view| view.is_current() && view.is("Ready", "True", "Staging")).await;
    look_often(&stage.journey, 10, poke).await;
    stage.patch_of(QUICK, json!({"goal": "Shift", "traffic": {"maxWeight": 50}})).await;
    let held = |view: &crate::journey::View| {
        view.is_current() && view.is("Ready", "True", "Shifting") && weight(view) == Some(50)
    };
    stage.until_of(QUICK, "held at half of it", held).await;
    look_often(&stage.journey, 10, poke).await;
    another(&mut stage.journey).await;
    look_often(&stage.journey, 10, poke).await;

    // A gate that may not be asked is waited for: AWS refuses each time under another id.
    order(&stage.journey, "access-denied cloudwatch:GetMetricData");
    let spec = json!({"traffic": {"maxWeight": 100}, "gates": [{"name": "load", "interval": "1s", "metric": {
        "namespace": "AWS/ApplicationELB", "metricName": "RequestCount", "statistic": "Sum",
        "operator": "LessThanOrEqual", "threshold": "5", "minSamples": 1}}]});
    stage.patch_of(QUICK, spec).await;
    stage
        .until_of(QUICK, "waiting for its gate", |view| {
            let next = view.status()["next"].as_str().unwrap_or_default();
            view.is_current() && next.contains("gate load") && next.contains("AccessDenied")
        })
        .await;
    look_often(&stage.journey, 10, poke).await;
    stage.journey.end().await;
}

//! At rest nothing is written: not to Kubernetes, and not to AWS.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::journey::{Journey, NAME, spec};

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

/// Lets the operator look `looks` times, and counts what it wrote.
async fn look_often(journey: &Journey, looks: u64, poke: bool) {
    sleep(LAST_EVENT).await;
    let written = journey.writes_by_operator().len();
    let changes = journey.mutating_calls().len();
    let begun = reconciles(journey).await;
    let mut pokes = 0;
    journey
        .eventually(crate::journey::PATIENCE, "many looks", || {
            pokes += 1;
            async move {
                if poke {
                    // An annotation is no news, but the operator is told of it, and looks.
                    let annotation = json!({"metadata": {"annotations": {"poke": pokes.to_string()}}});
                    journey.patch(NAME, annotation).await.unwrap();
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
    journey.apply(|migration| migration["spec"]["goal"] = json!("Plan")).await;
    journey.until(NAME, "a plan", |view| view.is_current() && view.is("Ready", "True", "Planned")).await;
    look_often(&journey, 12, false).await;
    // To start again is no news either.
    another(&mut journey).await;
    look_often(&journey, 12, true).await;
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
    look_often(&journey, 12, false).await;
    journey.on_target("TRUNCATE public.rates").await;

    // Replicating without news; statuses of the first seconds tell of what was just done.
    journey.until_replicating(NAME).await;
    sleep(Duration::from_secs(3)).await;
    look_often(&journey, 20, true).await;
    another(&mut journey).await;
    look_often(&journey, 20, true).await;
    journey.end().await;
}

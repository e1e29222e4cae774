//! Two operators at once, one of them paused: what it still sends when it wakes up finds a later decision.

use std::path::PathBuf;
use std::time::Duration;

use sandbox::bank::probe::Side;
use sandbox::process::Signal;
use sandbox::sandbox as stage;
use tokio::time::sleep;

use super::Night;
use crate::crash::EVERY;
use crate::journey::{NAME, PATIENCE};

/// The steps after whose effect the first operator is paused.
const STEPS: [&str; 8] = [
    "DecideMove",
    "ClaimSide",
    "CreateReverseSlot",
    "Fence",
    "WriteMarker",
    "Freeze",
    "ArmReverse",
    "Promote",
];

async fn arrives_when_paused_after(step: &str) {
    println!("paused after {step}");
    let mut night = Box::pin(Night::begin(&format!("paused-{}", step.to_lowercase()), |_| {})).await;
    let first = night.journey.operator().unwrap();
    let words = format!("action=\"{step}\"");
    night.goal("CutOver").await;
    let begun = tokio::time::Instant::now();
    while !std::fs::read_to_string(first.log()).unwrap().contains(&words) {
        assert!(begun.elapsed() < PATIENCE, "{step} never came\n{}", night.journey.operator_log());
        sleep(Duration::from_millis(1)).await;
    }
    first.signal(Signal::STOP).unwrap();
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_slipway"));
    let flags = ["--retry".to_owned(), "0.2".to_owned()];
    let second =
        stage::start_operator_with(night.journey.environment(), &binary, Duration::from_millis(200), &flags)
            .unwrap();
    let view = Box::pin(night.until_phase("Soaking")).await;
    assert_eq!(view.status()["writer"], "Target", "{}", view.describe());
    night.writes().await;
    first.signal(Signal::CONT).unwrap();
    // It looks, and finds that it was overtaken; both are quiet in the end.
    night.writes().await;
    let view = Box::pin(night.until_phase("Soaking")).await;
    assert_eq!(view.status()["writer"], "Target", "{}", view.describe());
    let findings = night.proved().await;
    assert_eq!(findings.writer(), Some(Side::Target));
    assert_eq!(findings.moves().len(), 1, "{:?}", findings.moves());
    assert!(night.journey.view(NAME).await.status()["latch"].is_null());
    second.stop(Duration::from_secs(30)).await.unwrap();
    night.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_slept_changes_nothing_when_it_wakes() {
    let steps: Vec<&str> = if std::env::var_os(EVERY).is_some() {
        STEPS.to_vec()
    } else {
        vec!["ClaimSide", "Fence", "Promote"]
    };
    for step in steps {
        Box::pin(arrives_when_paused_after(step)).await;
    }
}

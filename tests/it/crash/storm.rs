//! Everything is throttled for a while: nobody is needed, and AWS is not pressed harder for it.

use std::time::Duration;

use sandbox::serve::journal::Record;
use tokio::time::sleep;

use super::bench::Bench;
use super::replies::order;
use crate::journey::NAME;

/// Seconds of throttling; 6 if not set.
const SECONDS: &str = "SLIPWAY_STORM_SECONDS";

fn seconds() -> u64 {
    std::env::var(SECONDS).map_or(6, |text| text.parse().unwrap())
}

fn refused(calls: &[Record]) -> usize {
    calls.iter().filter(|call| call.outcome.starts_with("Throttling")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_of_everything_passes_by_itself() {
    let mut bench = Box::pin(Bench::begin("storm")).await;
    let seconds = seconds();

    let before = bench.counts();
    bench.apply().await;
    let half = bench.clean.changes.len() / 2;
    while bench.counts().changes < before.changes + half {
        sleep(Duration::from_millis(5)).await;
    }
    order(&bench.journey, &format!("throttle * --for {seconds}"));
    let view = bench.ready().await;
    let calls = bench.journey.sandbox.aws.calls().split_off(before.calls);
    assert!(refused(&calls) > 0, "no call met the storm");
    let clean = bench.clean.calls;
    assert!(calls.len() <= 2 * clean, "{} calls, {clean} in a clean run", calls.len());

    // The first look at rest asks for everything; from then on it is the pace of a task that follows.
    bench.new_operator().await;
    let at_rest = async |bench: &Bench| {
        let before = bench.counts().calls;
        sleep(Duration::from_secs(seconds)).await;
        bench.journey.sandbox.aws.calls().split_off(before)
    };
    bench.journey.until_replicating(NAME).await;
    let quiet = at_rest(&bench).await.len();
    order(&bench.journey, &format!("throttle * --for {seconds}"));
    let stormy = at_rest(&bench).await;
    assert!(refused(&stormy) > 0, "no call met the storm");
    assert!(stormy.len() <= 2 * quiet.max(4), "{} calls, {quiet} in as long a time of peace", stormy.len());
    let view = bench
        .journey
        .until(NAME, "Ready again", |now| now.is("Ready", "True", "Replicating") && now.uid() == view.uid())
        .await;
    bench.proved(&view).await;
    assert_eq!(bench.warnings(&view).await, Vec::<String>::new(), "nobody was needed");

    // In a deletion, too.
    bench.new_operator().await;
    let before = bench.counts();
    bench.journey.delete(NAME).await;
    while bench.counts().changes < before.changes + 2 {
        sleep(Duration::from_millis(5)).await;
    }
    order(&bench.journey, &format!("throttle * --for {}", seconds / 2));
    bench.gone(&view).await;
    bench.end().await;
}

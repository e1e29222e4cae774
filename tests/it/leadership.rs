//! One operator acts at a time, and the next one goes on where it stopped.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use sandbox::bank::probe::Side;
use sandbox::process::{Running, Signal};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::cutover::Night;
use crate::journey::{Journey, PATIENCE, View};
use crate::traffic::stage::{Stage, full, weight};

/// 15 s without a renewal, and a look each second.
const TAKEOVER: Duration = Duration::from_secs(20);
/// Once the Lease was given back.
const HANDOVER: Duration = Duration::from_secs(3);

/// What is under way when it is told to stop may take this long.
const GRACE: Duration = Duration::from_secs(10);

/// A write outage that outlasts a takeover, so that the move is finished and not given up.
async fn night(test: &str) -> Night {
    let patient = |object: &mut serde_json::Value| {
        object["spec"]["cutover"]["maxWriteOutage"] = json!("60s");
    };
    Box::pin(Night::begin_with(test, 15, patient)).await
}

fn log(operator: &Running) -> String {
    std::fs::read_to_string(operator.log()).unwrap()
}

/// Whether the log tells of a change of anything.
fn acted(log: &str) -> bool {
    log.contains("action=") || log.contains("changing AWS")
}

/// Who holds the Lease, by its name.
async fn leader(journey: &Journey) -> Option<String> {
    let leases: Api<Lease> = Api::namespaced(journey.client.clone(), "slipway-system");
    let holder = leases.get_opt("slipway").await.unwrap()?.spec.unwrap().holder_identity?;
    holder.split_once('_').map(|(pod, _)| pod.to_owned())
}

/// Waits until this pod holds it, and says how long that took.
async fn until_leads(journey: &Journey, pod: &str) -> Duration {
    let begun = Instant::now();
    journey
        .eventually(PATIENCE, &format!("{pod} to lead"), || async {
            let leader = leader(journey).await;
            if leader.as_deref() == Some(pod) { Ok(()) } else { Err(format!("{leader:?}")) }
        })
        .await;
    begun.elapsed()
}

impl Night {
    async fn until_leads(&self, pod: &str) -> Duration {
        until_leads(&self.journey, pod).await
    }

    /// Begins the move, and returns when the operator has told of the fence.
    async fn begins_to_move(&self) {
        self.goal("CutOver").await;
        let operator = self.journey.operator().unwrap();
        self.journey
            .eventually(PATIENCE, "the fence in the log", || async {
                if log(operator).contains("action=\"Fence\"") { Ok(()) } else { Err(operator.describe()) }
            })
            .await;
    }
}

/// What an operator answers at its health address.
async fn asked(operator: &Running, path: &str) -> String {
    let text = log(operator);
    let line = text.lines().find(|line| line.contains("/metrics")).unwrap_or_else(|| panic!("{text}"));
    let address = line.split_once("address=").unwrap().1.split_whitespace().next().unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn until_logged(operator: &Running, words: &str) {
    let begun = Instant::now();
    while !log(operator).contains(words) {
        assert!(begun.elapsed() < PATIENCE, "{words:?} never came\n{}", operator.describe());
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_operator_goes_on_after_a_kill_within_20_s_and_after_a_stop_within_3_s() {
    let mut night = Box::pin(night("leader-killed")).await;
    let unfit = night.journey.start_beside("slipway-9", &["--lease-name", "of-somebody-else"]);
    tokio::time::timeout(PATIENCE, unfit.ended()).await.unwrap();
    assert!(
        log(&unfit).contains("get, create and update leases.coordination.k8s.io"),
        "{}",
        unfit.describe()
    );

    let second = night.journey.start_beside("slipway-1", &[]);
    until_logged(&second, "who leads").await;
    assert!(asked(&second, "/readyz").await.contains(" 200 "), "{}", second.describe());
    assert!(asked(&second, "/metrics").await.contains("slipway_leader 0"));
    assert!(asked(night.journey.operator().unwrap(), "/metrics").await.contains("slipway_leader 1"));
    night.begins_to_move().await;
    assert!(!acted(&log(&second)), "{}", second.describe());
    night.journey.kill_operator().await;
    let took = night.until_leads("slipway-1").await;
    println!("after a kill the next one led within {took:?}");
    assert!(took <= TAKEOVER, "{took:?}");
    night.journey.replace_operator(second);
    let view = Box::pin(night.until_phase("Soaking")).await;
    assert_eq!(view.status()["writer"], "Target", "{}", view.describe());
    night.writes().await;

    let third = night.journey.start_beside("slipway-2", &[]);
    until_logged(&third, "who leads").await;
    let second = night.journey.replace_operator(third).unwrap();
    let told = Instant::now();
    second.signal(Signal::TERM).unwrap();
    night.until_leads("slipway-2").await;
    let took = told.elapsed();
    println!("after a stop the next one led within {took:?}");
    assert!(took <= HANDOVER, "{took:?}");
    second.ended().await;
    assert!(second.describe().contains("exit status: 0"), "{}", second.describe());
    night.goal("Finish").await;
    let view = Box::pin(night.until_phase("Finished")).await;
    assert_eq!(view.status()["writer"], "Target", "{}", view.describe());
    let findings = night.proved().await;
    assert_eq!(findings.moves().len(), 1, "{:?}", findings.moves());
    night.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_slept_changes_nothing_when_it_wakes_and_ends() {
    let mut night = Box::pin(night("leader-asleep")).await;
    let second = night.journey.start_beside("slipway-1", &[]);
    until_logged(&second, "who leads").await;
    night.begins_to_move().await;
    let first = night.journey.replace_operator(second).unwrap();
    first.signal(Signal::STOP).unwrap();
    let took = night.until_leads("slipway-1").await;
    assert!(took <= TAKEOVER, "{took:?}");
    let view = Box::pin(night.until_phase("Soaking")).await;
    assert_eq!(view.status()["writer"], "Target", "{}", view.describe());
    night.writes().await;

    let before = log(&first);
    first.signal(Signal::CONT).unwrap();
    tokio::time::timeout(Duration::from_secs(5), first.ended()).await.unwrap();
    assert!(first.describe().contains("exit status: 1"), "{}", first.describe());
    let said = log(&first).split_off(before.len());
    println!("woken up, it said: {said}");
    assert!(said.contains("ending at once"), "{said}");
    assert!(!said.contains("changing AWS"), "{said}");
    assert!(!said.lines().any(|line| line.contains("action=") && line.contains("outcome=\"ok\"")), "{said}");
    night.writes().await;
    assert_eq!(leader(&night.journey).await.as_deref(), Some("slipway-1"));
    let findings = night.proved().await;
    assert_eq!(findings.writer(), Some(Side::Target));
    assert_eq!(findings.moves().len(), 1, "{:?}", findings.moves());
    night.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_is_gone_for_long_ends_the_operator_and_a_shorter_while_does_not() {
    let mut night = Box::pin(night("leader-alone")).await;
    let api_server = |signal| night.journey.sandbox.cluster.signal_api_server(signal).unwrap();
    api_server(Signal::STOP);
    sleep(Duration::from_secs(5)).await;
    api_server(Signal::CONT);
    night.writes().await;
    assert!(night.journey.operator().unwrap().is_running(), "{}", night.journey.operator_log());

    let held = night.held_in_the_fence().await;
    let since = Instant::now();
    api_server(Signal::STOP);
    let operator = night.journey.operator().unwrap();
    tokio::time::timeout(Duration::from_secs(15), operator.ended()).await.unwrap();
    println!("without an API server it ended after {:?}", since.elapsed());
    assert!(since.elapsed() > Duration::from_secs(7), "{}", operator.describe());
    assert!(operator.describe().contains("exit status: 1"), "{}", operator.describe());
    sleep(Duration::from_secs(15).saturating_sub(since.elapsed())).await;
    api_server(Signal::CONT);
    // Nobody opened the source meanwhile: it waits for an operator.
    night.holder("none").await;
    drop(held);
    night.journey.start_operator();
    let view = Box::pin(night.until_phase("Soaking")).await;
    assert_eq!(view.status()["writer"], "Target", "{}", view.describe());
    night.writes().await;
    let findings = night.proved().await;
    assert_eq!(findings.moves().len(), 1, "{:?}", findings.moves());
    night.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_in_the_midst_of_a_move_hands_it_over_even_if_a_server_hangs() {
    let mut night = Box::pin(night("leader-stopped")).await;
    let second = night.journey.start_beside("slipway-1", &[]);
    until_logged(&second, "who leads").await;
    let held = night.held_in_the_fence().await;
    // A step that waits for this server does not end by itself soon.
    night.journey.sandbox.target.pause().unwrap();
    let first = night.journey.replace_operator(second).unwrap();
    let told = Instant::now();
    first.signal(Signal::TERM).unwrap();
    let ended = tokio::time::timeout(GRACE + HANDOVER, first.ended()).await;
    assert!(ended.is_ok(), "it goes on: {}", first.describe());
    println!("a stop in the midst of a move took {:?}", told.elapsed());
    assert!(first.describe().contains("exit status: 0"), "{}", first.describe());
    let took = night.until_leads("slipway-1").await;
    assert!(took <= HANDOVER, "{took:?}");
    night.journey.sandbox.target.resume().unwrap();
    drop(held);
    let view = Box::pin(night.until_phase("Soaking")).await;
    assert_eq!(view.status()["writer"], "Target", "{}", view.describe());
    night.writes().await;
    let findings = night.proved().await;
    assert_eq!(findings.moves().len(), 1, "{:?}", findings.moves());
    night.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_operator_goes_on_with_the_traffic_and_one_that_slept_moves_none() {
    const NAME: &str = "slept-api";
    let mut stage = Box::pin(Stage::begin_with("leader-traffic", |options| {
        options.delays.dns_in_sync = options.delays.dns_change;
    }))
    .await;
    stage.journey.lease = 15;
    let object = stage.quick(NAME, |object| object["spec"]["goal"] = json!("Shift"));
    stage.journey.start_operator();
    until_leads(&stage.journey, "slipway-0").await;
    let second = stage.journey.start_beside("slipway-1", &[]);
    until_logged(&second, "who leads").await;
    // Asleep in the midst of it: the records stand, and half of the traffic was asked for.
    stage.journey.try_apply(&object).await.unwrap();
    stage.until_of(NAME, "on its way", |view| view.phase() == "Shifting").await;
    assert!(!acted(&log(&second)), "{}", second.describe());
    let first = stage.journey.replace_operator(second).unwrap();
    first.signal(Signal::STOP).unwrap();
    let took = until_leads(&stage.journey, "slipway-1").await;
    assert!(took <= TAKEOVER, "{took:?}");
    let shifted = |view: &View| view.is("Ready", "True", "Shifted") && weight(view) == Some(100);
    stage.until_of(NAME, "shifted", shifted).await;
    let (records, calls) = (stage.records_of(&full(NAME)), stage.journey.mutating_calls().len());

    let before = log(&first).len();
    first.signal(Signal::CONT).unwrap();
    tokio::time::timeout(Duration::from_secs(5), first.ended()).await.unwrap();
    assert!(first.describe().contains("exit status: 1"), "{}", first.describe());
    let said = log(&first).split_off(before);
    assert!(said.contains("ending at once") && !said.contains("changing AWS"), "{said}");
    assert_eq!(stage.records_of(&full(NAME)), records);
    assert_eq!(stage.journey.mutating_calls().len(), calls, "{:?}", stage.journey.mutating_calls());
    // Each weight was set once: by the one or by the other.
    let changes = stage.journey.changes();
    let batches = changes.iter().filter(|change| *change == "route53:ChangeResourceRecordSets").count();
    assert!((3..=4).contains(&batches), "{changes:?}");
    stage.journey.end().await;
}

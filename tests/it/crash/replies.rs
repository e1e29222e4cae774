//! Replies that are lost, and requests that fail: each call that makes something meets each fault once.

use sandbox::serve::fault::Command;

use super::EVERY;
use super::bench::Bench;
use crate::journey::{Journey, NAME};

/// Every call of the way to Ready that makes something, and how often a clean run makes it.
const MAKING: [(&str, u32); 8] = [
    ("dms:CreateReplicationSubnetGroup", 1),
    ("dms:CreateReplicationInstance", 1),
    ("dms:ImportCertificate", 2),
    ("dms:CreateEndpoint", 2),
    ("dms:TestConnection", 2),
    ("dms:CreateReplicationTask", 1),
    ("dms:StartReplicationTask", 1),
    ("cloudwatch:PutMetricAlarm", 3),
];
/// Every call of the way back.
const REMOVING: [(&str, u32); 7] = [
    ("dms:StopReplicationTask", 1),
    ("dms:DeleteReplicationTask", 1),
    ("cloudwatch:DeleteAlarms", 1),
    ("dms:DeleteEndpoint", 2),
    ("dms:DeleteCertificate", 2),
    ("dms:DeleteReplicationInstance", 1),
    ("dms:DeleteReplicationSubnetGroup", 1),
];

/// Sets faults and the like, as `cargo sandbox fault` takes them.
pub fn order(journey: &Journey, words: &str) {
    let words: Vec<&str> = words.split(' ').collect();
    match Command::parse(&words).unwrap() {
        Command::Order(order) => journey.sandbox.aws.order(order).unwrap(),
        Command::Clear => journey.sandbox.aws.clear_faults(),
        Command::List => panic!("nothing is listed here"),
    }
}

/// What a fault is called in the journal of calls.
pub const FAULTS: [(&str, &str); 4] = [
    ("timeout-after", "lost-after"),
    ("timeout-before", "lost-before"),
    ("error500", "InternalFailure"),
    ("expired-token", "ExpiredTokenException"),
];

/// There and back, with a fault on every call that changes something: these faults in turn. Nobody is needed, and nothing
/// is there twice.
async fn there_and_back(bench: &mut Bench, faults: &[(&str, &str)]) {
    let before = set(&bench.journey, &MAKING, faults);
    bench.apply().await;
    let view = bench.ready().await;
    met(&bench.journey, before, &MAKING, faults);

    bench.new_operator().await;
    let before = set(&bench.journey, &REMOVING, faults);
    bench.journey.delete(NAME).await;
    bench.gone(&view).await;
    met(&bench.journey, before, &REMOVING, faults);
    bench.empty_target().await;
    bench.new_operator().await;
}

/// Sets these faults in turn on these calls, and says how many calls were made before.
pub fn set(journey: &Journey, calls: &[(&str, u32)], faults: &[(&str, &str)]) -> usize {
    for ((call, times), (fault, _)) in calls.iter().zip(faults.iter().cycle()) {
        order(journey, &format!("{fault} {call} --times {times}"));
    }
    journey.mutating_calls().len()
}

/// The faults were met by each of the calls, as often as they were set.
pub fn met(journey: &Journey, before: usize, calls: &[(&str, u32)], faults: &[(&str, &str)]) {
    let made = &journey.mutating_calls()[before..];
    for ((call, times), (_, outcome)) in calls.iter().zip(faults.iter().cycle()) {
        let met = made.iter().filter(|made| made.operation == *call && made.outcome == *outcome).count();
        assert_eq!(met, *times as usize, "{call} {outcome}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_to_any_change_is_found_out() {
    let mut bench = Box::pin(Bench::begin("replies")).await;
    for (call, times) in MAKING {
        let clean = bench.clean.changes.iter().filter(|change| *change == call).count();
        assert_eq!(clean, times as usize, "{call}: a clean run makes other calls than are listed here");
    }
    Box::pin(there_and_back(&mut bench, &FAULTS[..1])).await;
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_fails_is_made_again() {
    let mut bench = Box::pin(Bench::begin("failures")).await;
    if std::env::var_os(EVERY).is_some() {
        for fault in &FAULTS[1..] {
            Box::pin(there_and_back(&mut bench, std::slice::from_ref(fault))).await;
        }
    } else {
        Box::pin(there_and_back(&mut bench, &FAULTS[1..])).await;
    }
    bench.end().await;
}

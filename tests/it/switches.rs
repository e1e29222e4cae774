//! What nobody could verify of AWS is a switch of the stand-in. Every other test runs with all of them off; here the
//! whole journey, there and back, is made with all of them on, and the operator logs all that it can.

use sandbox::world::{Meddling, StopKind, Switches};

use serde_json::json;

use crate::journey::{Journey, NAME, PATIENCE, View, spec, texts};

const NO_ROLE: &str = "vpc-role-missing";

#[tokio::test(flavor = "multi_thread")]
async fn the_journey_ends_the_same_whichever_way_unverified_facts_turn_out() {
    let traced = |options: &mut sandbox::sandbox::Options| options.operator_log = Some("trace".to_owned());
    let mut journey = Box::pin(Journey::begin_with("switches", traced)).await;
    for switch in Switches::NAMES {
        assert!(
            journey.sandbox.aws.with_world(|world, _| world.switches_mut().set(switch, true)),
            "{switch}"
        );
    }
    journey.start_operator();
    Box::pin(journey.apply(|_| {})).await;
    let stalled = |view: &View| view.is("Stalled", "True", "AccessDenied");
    let view = journey.until(NAME, "Stalled for the missing role", stalled).await;
    assert!(view.message("Stalled").contains("dms-vpc-role"), "{}", view.describe());
    journey.sandbox.aws.with_world(|world, _| world.switches_mut().set(NO_ROLE, false));
    journey.until_replicating(NAME).await;
    // A task that ended by an error goes on by itself, whatever its status is called.
    journey.sandbox.aws.with_world(|world, now| {
        let (task, reason) = ("dms-task-payments-db-dev".to_owned(), StopKind::Recoverable);
        world.meddle(Meddling::FailTask { task, reason, message: None }, now).unwrap();
    });
    let failed = |view: &View| view.is("Ready", "False", "Replicating");
    journey.until(NAME, "the task's failure to be seen", failed).await;
    journey.until_replicating(NAME).await;
    Box::pin(given_up_and_tried_again(&journey)).await;
    journey.delete(NAME).await;
    journey.until_gone(NAME).await;
    journey.end().await;
}

/// A cutover that is given up after the freeze, when the task waits for the rights that were taken from it; then one
/// that moves the writer, and the end of the migration.
async fn given_up_and_tried_again(journey: &Journey) {
    let never = json!([{"name": "never", "sql": "SELECT pg_backend_pid()"}]);
    let order =
        json!({"goal": "CutOver", "rollback": {"minSoak": "0s"}, "verification": {"invariants": never}});
    journey.patch(NAME, spec(order)).await.unwrap();
    let back = |view: &View| {
        view.is("Stalled", "True", "GivenUp")
            && view.phase() == "Replicating"
            && view.status()["writer"] == "Source"
            && view.status()["replication"]["taskStatus"] == "running"
    };
    journey.until(NAME, "the source is the writer again, and the task runs", back).await;
    // What is written now arrives: the task has its rights back.
    let row = "INSERT INTO rates (currency, valid_on, rate) VALUES ('NEW', '2026-01-01', 1)";
    journey.on_source(row).await;
    let arrived = "SELECT currency::text FROM rates WHERE currency = 'NEW'";
    journey
        .eventually(PATIENCE, "the row on the target", || async {
            let rows = texts(&journey.sandbox.target, arrived).await;
            if rows.is_empty() { Err("not there".to_owned()) } else { Ok(()) }
        })
        .await;

    let order = json!({"attempt": 2, "verification": {"invariants": null}});
    journey.patch(NAME, spec(order)).await.unwrap();
    for (goal, phase) in [("CutOver", "Soaking"), ("Finish", "Finished")] {
        journey.patch(NAME, spec(json!({"goal": goal}))).await.unwrap();
        let reached =
            |view: &View| view.is_current() && view.phase() == phase && view.status()["writer"] == "Target";
        journey.until(NAME, phase, reached).await;
    }
}

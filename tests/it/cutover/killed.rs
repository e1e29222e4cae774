//! The operator is killed after each step of the move: the writer arrives all the same, or the source is the writer again.

use std::time::Duration;

use sandbox::bank::probe::Side;
use tokio::time::sleep;

use super::Night;
use crate::crash::EVERY;
use crate::journey::{NAME, PATIENCE};

/// The steps after whose effect the operator is killed, as its log names them.
const STEPS: [&str; 16] = [
    "DecideMove",
    "ClaimSide",
    "CreateReverseSlot",
    "Fence",
    "EndSessions",
    "WriteMarker",
    "Freeze",
    "Verify",
    "SetSequences",
    "ArmReverse",
    "Promote",
    "Open",
    "StopTask",
    "DeleteTask",
    "DropMoveSlot",
    "DecideSteady",
];

/// Waits until the operator's log has this step, and kills it. The line follows the effect, so the kill may fall into a
/// later step, too.
async fn kill_after(night: &mut Night, step: &str) {
    let words = format!("action=\"{step}\"");
    let log = night.journey.operator().unwrap().log().to_path_buf();
    let begun = tokio::time::Instant::now();
    loop {
        let text = std::fs::read_to_string(&log).unwrap();
        if text.contains(&words) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{step} never came\n{}", night.journey.operator_log());
        sleep(Duration::from_millis(1)).await;
    }
    night.journey.kill_operator().await;
}

async fn arrives_when_killed_after(step: &str) {
    println!("killed after {step}");
    let mut night = Box::pin(Night::begin(&format!("killed-{}", step.to_lowercase()), |_| {})).await;
    night.goal("CutOver").await;
    kill_after(&mut night, step).await;
    night.journey.start_operator();
    let view = Box::pin(night.until_phase("Soaking")).await;
    assert_eq!(view.status()["writer"], "Target", "{}", view.describe());
    night.writes().await;
    let findings = night.proved().await;
    assert_eq!(findings.writer(), Some(Side::Target));
    // One task was made, and it is gone; nothing was made twice.
    let made = night.journey.changes().iter().filter(|change| *change == "dms:CreateReplicationTask").count();
    assert_eq!(made, 1);
    assert_eq!(night.journey.view(NAME).await.status()["rollback"]["mode"], "None");
    night.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_any_step_the_writer_arrives() {
    let steps: Vec<&str> = if std::env::var_os(EVERY).is_some() {
        STEPS.to_vec()
    } else {
        vec!["CreateReverseSlot", "Fence", "Freeze", "Promote"]
    };
    for step in steps {
        Box::pin(arrives_when_killed_after(step)).await;
    }
}

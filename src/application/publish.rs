//! Write the report: the status by server-side apply, events on transitions, gauges.

use jiff::Timestamp;
use kube::Resource;
use kube::runtime::events::EventType;

use crate::api::application::{ApplicationMigration, ApplicationMigrationStatus};
use crate::application::decide::{Decision, State};
use crate::application::goal::Goal;
use crate::application::report;
use crate::application::seen::Seen;
use crate::fault::{Blocked, Fault};
use crate::gate::Verdict;
use crate::metrics::Of;
use crate::operator::context::Context;
use crate::operator::objects::{self, Told};

/// Writes the status if it says something new, tells events, sets gauges.
pub async fn publish(
    object: &ApplicationMigration,
    context: &Context,
    goal: &Goal,
    seen: &Seen,
    decision: &Decision,
) -> Result<(), Fault> {
    let empty = ApplicationMigrationStatus::default();
    let previous = object.status.as_ref().unwrap_or(&empty);
    let status = report(object, goal, seen, decision);
    gauges(context, goal, &status, decision);
    if report::is_news(previous, &status) {
        write(object, context, previous, &status).await?;
        tell_gates(object, context, previous, &status).await;
    }
    Ok(())
}

/// The status after this decision.
pub fn report(
    object: &ApplicationMigration,
    goal: &Goal,
    seen: &Seen,
    decision: &Decision,
) -> ApplicationMigrationStatus {
    let empty = ApplicationMigrationStatus::default();
    let previous = object.status.as_ref().unwrap_or(&empty);
    report::status(goal, seen, decision, previous, object.metadata.generation)
}

/// Tells events of a status that a step wrote.
pub async fn tell(object: &ApplicationMigration, context: &Context, written: &ApplicationMigration) {
    let empty = ApplicationMigrationStatus::default();
    let [previous, status] = [object, written].map(|object| object.status.as_ref().unwrap_or(&empty));
    objects::transitions(&object.object_ref(&()), context, &told(previous), &told(status)).await;
    tell_gates(object, context, previous, status).await;
}

/// Says that the spec can't be used.
pub async fn refused(
    object: &ApplicationMigration,
    context: &Context,
    blocked: &Blocked,
    now: Timestamp,
) -> Result<(), Fault> {
    let empty = ApplicationMigrationStatus::default();
    let previous = object.status.as_ref().unwrap_or(&empty);
    let status = report::refused(blocked, previous, object.metadata.generation, now);
    if report::is_news(previous, &status) { write(object, context, previous, &status).await } else { Ok(()) }
}

/// Tells that a step was performed. The words are the action, too: events with the same reason and action are folded into
/// one, and the same weight comes once on the way forth and once on the way back.
pub async fn note(object: &ApplicationMigration, context: &Context, action: &str, words: &str) {
    objects::tell(&object.object_ref(&()), context, EventType::Normal, action, words, words).await;
}

/// The migration as a metric's label.
pub fn of(goal: &Goal) -> Of {
    Of {
        kind: "ApplicationMigration",
        namespace: goal.migration.namespace.clone(),
        name: goal.migration.name.clone(),
    }
}

async fn write(
    object: &ApplicationMigration,
    context: &Context,
    previous: &ApplicationMigrationStatus,
    status: &ApplicationMigrationStatus,
) -> Result<(), Fault> {
    objects::publish(object, context, status, &told(previous), &told(status)).await
}

fn told(status: &ApplicationMigrationStatus) -> Told<'_> {
    // A weight that was reached is an entry, too, and is told of as the step that it is.
    let entered = status.history.iter().rev().find(|entry| entry.step.is_none());
    Told {
        phase: status.phase.as_deref(),
        entered: entered.map(|entry| (entry.phase.as_str(), entry.evidence.as_deref().unwrap_or_default())),
        conditions: &status.conditions,
    }
}

/// An event for each gate that began to fail: the way back that may follow should not be the first that a person hears.
async fn tell_gates(
    object: &ApplicationMigration,
    context: &Context,
    old: &ApplicationMigrationStatus,
    new: &ApplicationMigrationStatus,
) {
    let fails = |status: &ApplicationMigrationStatus, name: &str| {
        status.gates.iter().any(|gate| gate.name == name && gate.result == Verdict::Fail.as_str())
    };
    for gate in new.gates.iter().filter(|gate| fails(new, &gate.name) && !fails(old, &gate.name)) {
        let value = gate.value.as_deref().unwrap_or("no value");
        let note = format!(
            "Gate {} fails: {value}, {}",
            gate.name,
            gate.reason.as_deref().unwrap_or("without a reason")
        );
        let object = object.object_ref(&());
        objects::tell(&object, context, EventType::Warning, "GateFailed", &gate.name, &note).await;
    }
}

fn gauges(context: &Context, goal: &Goal, status: &ApplicationMigrationStatus, decision: &Decision) {
    let of = of(goal);
    let metrics = &context.metrics;
    metrics.ready.get_or_create(&of).set(i64::from(matches!(decision.state, State::Ready { .. })));
    metrics.stalled.get_or_create(&of).set(i64::from(matches!(decision.state, State::Stalled(_))));
    match status.traffic.as_ref().and_then(|traffic| traffic.weight) {
        Some(weight) => {
            metrics.weight.get_or_create(&of).set(i64::from(weight));
        }
        None => {
            metrics.weight.remove(&of);
        }
    }
}

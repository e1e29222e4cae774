//! Write the report: the status by server-side apply, events on transitions, gauges.

use jiff::Timestamp;
use kube::Resource;
use kube::runtime::events::EventType;

use crate::api::database::{DatabaseMigration, DatabaseMigrationStatus};
use crate::database::context::Memory;
use crate::database::decide::{Decision, State};
use crate::database::goal::Goal;
use crate::database::outage::Spans;
use crate::database::report;
use crate::database::seen::Seen;
use crate::fault::{Blocked, Fault};
use crate::metrics::Of;
use crate::operator::context::Context;
use crate::operator::objects::{self, Told};
use crate::postgres::Record;

/// Writes the status if it says something new or is due, tells events, sets gauges.
pub async fn publish(
    object: &DatabaseMigration,
    context: &Context,
    memory: &mut Memory,
    goal: &Goal,
    seen: &Seen,
    decision: &Decision,
) -> Result<(), Fault> {
    gauges(context, goal, seen, decision);
    warn_of_slot(object, context, memory, goal, seen).await;
    let empty = DatabaseMigrationStatus::default();
    let previous = object.status.as_ref().unwrap_or(&empty);
    let status = report::status(goal, seen, decision, &memory.spans, previous, object.metadata.generation);
    if !report::is_news(previous, &status) && !report::is_due(previous, decision, seen.now) {
        return Ok(());
    }
    write(object, context, previous, &status).await?;
    memory.spans = Spans::default();
    Ok(())
}

/// Says how a move stands that takes long.
pub async fn underway(
    object: &DatabaseMigration,
    context: &Context,
    memory: &mut Memory,
    goal: &Goal,
    seen: &Seen,
    decision: &Decision,
) -> Result<(), Fault> {
    let empty = DatabaseMigrationStatus::default();
    let previous = object.status.as_ref().unwrap_or(&empty);
    let status = report::underway(goal, seen, decision, &memory.spans, previous, object.metadata.generation);
    if report::is_news(previous, &status) {
        write(object, context, previous, &status).await?;
        memory.spans.done.clear();
    }
    Ok(())
}

/// Says that the spec can't be used.
pub async fn refused(
    object: &DatabaseMigration,
    context: &Context,
    blocked: &Blocked,
    now: Timestamp,
) -> Result<(), Fault> {
    let empty = DatabaseMigrationStatus::default();
    let previous = object.status.as_ref().unwrap_or(&empty);
    let status = report::refused(blocked, previous, object.metadata.generation, now);
    if report::is_news(previous, &status) { write(object, context, previous, &status).await } else { Ok(()) }
}

/// Tells that a step was performed. The object is the action, because events with the same reason and action are folded
/// into one, and only the first one's note is kept.
pub async fn note(object: &DatabaseMigration, context: &Context, action: &str, on: &str, words: &str) {
    send(object, context, EventType::Normal, action, on, words).await;
}

/// The migration as a metric's label.
pub fn of(goal: &Goal) -> Of {
    Of {
        kind: "DatabaseMigration",
        namespace: goal.migration.namespace.clone(),
        name: goal.migration.name.clone(),
    }
}

async fn write(
    object: &DatabaseMigration,
    context: &Context,
    previous: &DatabaseMigrationStatus,
    status: &DatabaseMigrationStatus,
) -> Result<(), Fault> {
    objects::publish(object, context, status, &told(previous), &told(status)).await
}

fn told(status: &DatabaseMigrationStatus) -> Told<'_> {
    let entered = status.history.last();
    Told {
        phase: status.phase.as_deref(),
        entered: entered.map(|entry| (entry.phase.as_str(), entry.evidence.as_deref().unwrap_or_default())),
        conditions: &status.conditions,
    }
}

fn gauges(context: &Context, goal: &Goal, seen: &Seen, decision: &Decision) {
    let of = of(goal);
    let metrics = &context.metrics;
    metrics.ready.get_or_create(&of).set(i64::from(matches!(decision.state, State::Ready { .. })));
    metrics.stalled.get_or_create(&of).set(i64::from(matches!(decision.state, State::Stalled(_))));
    match seen.memory.lag {
        Some(lag) if seen.now.duration_since(lag.at) <= crate::database::decide::LAG_FRESH_FOR => {
            metrics.lag_seconds.get_or_create(&of).set(lag.age.as_secs_f64());
        }
        _ => {
            metrics.lag_seconds.remove(&of);
        }
    }
}

/// A slot that keeps much WAL may fill the source's disk: said once when it begins.
async fn warn_of_slot(
    object: &DatabaseMigration,
    context: &Context,
    memory: &mut Memory,
    goal: &Goal,
    seen: &Seen,
) {
    let Ok(source) = &seen.database.source else { return };
    let Record::Present { slots: ours, .. } = &source.record else { return };
    let heavy = source
        .slots
        .iter()
        .filter(|slot| ours.contains(&slot.name))
        .find(|slot| slot.retained_bytes.is_some_and(|bytes| bytes > goal.slot_warn_bytes));
    if let Some(slot) = heavy
        && !memory.slot_warned
    {
        let note = format!(
            "Slot {} keeps more than {} GiB of WAL on the source's disk. Check that the task runs and keeps up; a stopped task keeps WAL until the disk is full",
            slot.name,
            goal.slot_warn_bytes >> 30
        );
        send(object, context, EventType::Warning, "SlotRetainsWAL", "Observed", &note).await;
    }
    memory.slot_warned = heavy.is_some();
}

async fn send(
    object: &DatabaseMigration,
    context: &Context,
    type_: EventType,
    reason: &str,
    action: &str,
    note: &str,
) {
    objects::tell(&object.object_ref(&()), context, type_, reason, action, note).await;
}

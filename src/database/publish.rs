//! Write the report: the status by server-side apply, events on transitions, gauges.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::events::{Event, EventType};
use kube::{Resource, ResourceExt};
use serde_json::json;

use crate::api::FIELD_MANAGER;
use crate::api::condition::{READY, Reason, STALLED};
use crate::api::database::{DatabaseMigration, DatabaseMigrationStatus};
use crate::database::act::kubernetes;
use crate::database::context::{Context, Memory};
use crate::database::decide::{Decision, State};
use crate::database::goal::Goal;
use crate::database::outage::Spans;
use crate::database::report;
use crate::database::seen::Seen;
use crate::fault::{Blocked, Fault};
use crate::metrics::Of;
use crate::postgres::Record;
use crate::report::clip;

/// The API refuses an event's note of more than 1 KiB.
const NOTE_MAX: usize = 1_000;
/// And an action of more than 128 characters.
const ACTION_MAX: usize = 120;

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

/// Says in an event that an object can't be read at all. Its status is left alone: it could not be read either, and what
/// was decided stands there.
pub async fn malformed(object: &ObjectReference, context: &Context, error: &str) {
    let note = format!(
        "The resource does not fit the CRD and is left alone: {error}. Correct it, or apply the CRD of this version and then the resource again"
    );
    let reason = Reason::InvalidSpec.as_str();
    tell(object, context, EventType::Warning, reason, "Observed", &note).await;
}

/// Tells that a step was performed. The object is the action, because events with the same reason and action are folded
/// into one, and only the first one's note is kept.
pub async fn note(object: &DatabaseMigration, context: &Context, action: &str, on: &str, words: &str) {
    send(object, context, EventType::Normal, action, on, words).await;
}

/// The migration as a metric's label.
pub fn of(goal: &Goal) -> Of {
    Of { namespace: goal.migration.namespace.clone(), name: goal.migration.name.clone() }
}

async fn write(
    object: &DatabaseMigration,
    context: &Context,
    previous: &DatabaseMigrationStatus,
    status: &DatabaseMigrationStatus,
) -> Result<(), Fault> {
    let namespace = object.meta().namespace.as_deref().unwrap_or_default();
    let api = Api::<DatabaseMigration>::namespaced(context.client.clone(), namespace);
    // With the resourceVersion: a status made from an older object must not overwrite a newer one's memory.
    let patch = json!({
        "apiVersion": DatabaseMigration::api_version(&()),
        "kind": DatabaseMigration::kind(&()),
        "metadata": {"resourceVersion": object.resource_version()},
        "status": status,
    });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    context.leadership.permit().check("writing the status")?;
    api.patch_status(&object.name_any(), &params, &Patch::Apply(patch))
        .await
        .map_err(|error| kubernetes("writing the status", &error))?;
    context.metrics.status_writes.inc();
    transitions(object, context, previous, status).await;
    Ok(())
}

/// Events for what changed: the phase, and the word under Stalled or Ready.
async fn transitions(
    object: &DatabaseMigration,
    context: &Context,
    old: &DatabaseMigrationStatus,
    new: &DatabaseMigrationStatus,
) {
    if old.phase != new.phase
        && let Some(entry) = new.history.last()
    {
        let text = entry.evidence.clone().unwrap_or_default();
        send(object, context, EventType::Normal, &entry.phase, "PhaseChanged", &text).await;
    }
    for (kind, type_) in [(STALLED, EventType::Warning), (READY, EventType::Normal)] {
        let is_true = |status: &DatabaseMigrationStatus| {
            status
                .conditions
                .iter()
                .find(|c| c.type_ == kind && c.status == "True")
                .map(|c| (c.reason.clone(), c.message.clone()))
        };
        let (before, after) = (is_true(old), is_true(new));
        if let Some((reason, message)) = &after
            && before.as_ref().map(|(reason, _)| reason) != Some(reason)
        {
            let word = if kind == READY { "Ready" } else { reason.as_str() };
            send(object, context, type_, word, reason, message).await;
        }
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
    tell(&object.object_ref(&()), context, type_, reason, action, note).await;
}

async fn tell(
    object: &ObjectReference,
    context: &Context,
    type_: EventType,
    reason: &str,
    action: &str,
    note: &str,
) {
    let event = Event {
        type_,
        reason: reason.to_owned(),
        note: Some(clip(note, NOTE_MAX)),
        action: clip(action, ACTION_MAX),
        secondary: None,
    };
    if let Err(fault) = context.leadership.permit().check("sending an event") {
        return tracing::debug!(%fault, reason, "event not sent");
    }
    // An event is a courtesy: the status says the same.
    if let Err(error) = context.recorder.publish(&event, object).await {
        tracing::debug!(%error, reason, "event not sent");
    }
}

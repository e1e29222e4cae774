//! Decision and outcome → status and events. The status says what was observed and when, never what was wished.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::condition::{self, Reason, Truth};
use crate::api::database::{
    DatabaseMigrationStatus, Goal as Reach, HistoryEntry, PlanStatus, ReplicationStatus, RollbackStatus,
    SlotStatus, TableStatus, TablesStatus, VerificationStatus,
};
use crate::aws::dms::{StopReason, TableState, Task, TaskStatus, ValidationState};
use crate::database::cname;
use crate::database::decide::assess::assess;
use crate::database::decide::{Decision, LAG_FRESH_FOR, Phase, State, wanted};
use crate::database::goal::{Goal, Intent};
use crate::database::outage::{Span, Spans};
use crate::database::plan;
use crate::database::seen::{Known, Seen};
use crate::duration;
use crate::fault::{Blocked, Fault};
use crate::postgres::{Holder, Record, Server};
use crate::report::{MESSAGE_MAX, NEXT_MAX, clip, plan_hash, summary, without_request_id};
use crate::side::Side;

/// While replicating without news the status is refreshed this often, and not more often.
pub const REFRESH_EVERY: SignedDuration = SignedDuration::from_mins(5);

const HISTORY_MAX: usize = 50;
const SLOTS_MAX: usize = 8;
const WORST_MAX: usize = 20;
const PLAN_MAX: usize = 40;

/// The status after this decision. `previous` is carried on where it holds memory: history, transition times.
pub fn status(
    goal: &Goal,
    seen: &Seen,
    decision: &Decision,
    spans: &Spans,
    previous: &DatabaseMigrationStatus,
    generation: Option<i64>,
) -> DatabaseMigrationStatus {
    let now = seen.now;
    let phase = decision.phase.map(Phase::as_str).map(str::to_owned).or_else(|| previous.phase.clone());
    let mut conditions = previous.conditions.clone();
    summary(&mut conditions, &decision.state, generation, now);
    let mut set = |kind: &str, (truth, reason, message): Verdict| {
        condition::set(&mut conditions, kind, truth, reason, clip(&message, MESSAGE_MAX), generation, now);
    };
    set(condition::SOURCE_CONNECTED, connected(seen, Side::Source));
    set(condition::TARGET_CONNECTED, connected(seen, Side::Target));
    if is_before_the_cutover(decision.phase) {
        set(condition::ASSESSED, assessed(goal, seen));
    }
    if goal.claimed {
        set(condition::TARGET_FENCED, fenced(goal, seen));
        set(condition::REPLICATING, replicating(&decision.state));
    }
    let mut history = previous.history.clone();
    history.extend(spans.done.iter().map(passed));
    if phase.is_some() && phase != previous.phase {
        history.push(HistoryEntry {
            at: Time(now),
            phase: phase.clone().unwrap_or_default(),
            step: None,
            evidence: Some(clip(&evidence(seen, decision, spans), 512)),
        });
    }
    let surplus = history.len().saturating_sub(HISTORY_MAX);
    history.drain(..surplus);
    DatabaseMigrationStatus {
        observed_generation: generation,
        observed_at: Some(Time(now)),
        phase,
        writer: writer(goal, seen).map(str::to_owned),
        next: Some(clip(&decision.next, NEXT_MAX)),
        provisioned_at: previous.provisioned_at.clone(),
        point_of_no_return_at: previous.point_of_no_return_at.clone(),
        decided: previous.decided.clone(),
        latch: previous.latch.clone(),
        rollback: rollback(goal, seen).or_else(|| previous.rollback.clone()),
        verification: verification(seen).or_else(|| previous.verification.clone()),
        replication: goal.claimed.then(|| replication(seen)),
        // Afterwards the task that tells of them is gone.
        tables: tables(seen)
            .filter(|_| is_before_the_cutover(decision.phase))
            .or_else(|| previous.tables.clone()),
        plan: planned(goal, seen, previous),
        history,
        conditions,
    }
}

/// The status in the midst of a move, when only the two databases were asked: the rest stays as it was said.
pub fn underway(
    goal: &Goal,
    seen: &Seen,
    decision: &Decision,
    spans: &Spans,
    previous: &DatabaseMigrationStatus,
    generation: Option<i64>,
) -> DatabaseMigrationStatus {
    let mut status = previous.clone();
    status.observed_generation = generation;
    status.observed_at = Some(Time(seen.now));
    status.phase = decision.phase.map(|phase| phase.as_str().to_owned());
    status.writer = writer(goal, seen).map(str::to_owned);
    status.next = Some(clip(&decision.next, NEXT_MAX));
    status.verification = verification(seen).or(status.verification);
    summary(&mut status.conditions, &decision.state, generation, seen.now);
    status.history.extend(spans.done.iter().map(passed));
    let surplus = status.history.len().saturating_sub(HISTORY_MAX);
    status.history.drain(..surplus);
    status
}

/// The copy's fitness is judged before the writer moves; afterwards the questions mean something else.
fn is_before_the_cutover(phase: Option<Phase>) -> bool {
    !matches!(phase, Some(Phase::CuttingOver | Phase::Soaking | Phase::Finishing | Phase::Finished))
}

/// One part of a move, as history has it.
fn passed(span: &Span) -> HistoryEntry {
    HistoryEntry {
        at: Time(span.at),
        phase: Phase::CuttingOver.as_str().to_owned(),
        step: Some(span.stage.as_str().to_owned()),
        evidence: Some(clip(&format!("{}ms: {}", span.took.as_millis(), span.what), 512)),
    }
}

/// What a way back would cost now.
fn rollback(goal: &Goal, seen: &Seen) -> Option<RollbackStatus> {
    if !goal.claimed {
        return None;
    }
    let holder = match &seen.database.source.as_ref().ok()?.record {
        Record::Present { uid, token, .. } if *uid == goal.migration.uid => &token.holder,
        Record::Present { .. } | Record::Absent => return None,
    };
    let (mode, reason) = match holder {
        Holder::Side(Side::Source) => ("Instant", "the source is the writer"),
        Holder::None => ("Instant", "the source is fenced and can be opened again"),
        Holder::Side(Side::Target) => {
            ("None", "the target is the writer, and this version keeps no replication back to the source")
        }
        Holder::Fenced | Holder::Refused | Holder::Other(_) => return None,
    };
    Some(RollbackStatus { mode: mode.to_owned(), reason: Some(reason.to_owned()) })
}

fn verification(seen: &Seen) -> Option<VerificationStatus> {
    let verified = seen.memory.verified.as_ref()?;
    Some(VerificationStatus {
        state: if verified.difference.is_none() { "Equal" } else { "Different" }.to_owned(),
        // As the API server keeps it, or each look would find another time.
        verified_at: Time(Timestamp::from_second(verified.at.as_second()).unwrap_or(verified.at)),
        tables: i32::try_from(verified.tables).unwrap_or(i32::MAX),
        rows: i64::try_from(verified.rows).unwrap_or(i64::MAX),
    })
}

/// What was known when a phase was entered.
fn evidence(seen: &Seen, decision: &Decision, spans: &Spans) -> String {
    let meaning = decision.phase.map_or("", Phase::meaning);
    let tables = tables(seen).filter(|tables| tables.loaded > 0);
    let slots = all_slots(seen);
    let mut facts = Vec::new();
    if let Some(tables) = tables {
        facts.push(format!("tables {}, {} rows copied", tables.summary, tables.rows));
    }
    if let Some(slot) = slots.first() {
        facts.push(format!("slot {}", slot.name));
    }
    if let Some(outage) = spans.outage {
        facts.push(format!("nobody could write for {} ms", outage.as_millis()));
    }
    if let State::Stalled(blocked) = &decision.state {
        facts.push(blocked.message.clone());
    }
    if facts.is_empty() { meaning.to_owned() } else { format!("{meaning} ({})", facts.join("; ")) }
}

/// The status of a resource whose spec can't be used at all.
pub fn refused(
    blocked: &Blocked,
    previous: &DatabaseMigrationStatus,
    generation: Option<i64>,
    now: Timestamp,
) -> DatabaseMigrationStatus {
    let mut status = DatabaseMigrationStatus {
        observed_generation: generation,
        observed_at: Some(Time(now)),
        next: Some(format!("waiting for a person: {} (see the Stalled condition)", blocked.reason)),
        ..previous.clone()
    };
    summary(&mut status.conditions, &State::Stalled(blocked.clone()), generation, now);
    status
}

/// Whether a person reading `new` learns something that `old` did not say.
pub fn is_news(old: &DatabaseMigrationStatus, new: &DatabaseMigrationStatus) -> bool {
    without_noise(old) != without_noise(new)
}

/// Whether the status is due for its refresh: only what moves by itself is refreshed.
pub fn is_due(old: &DatabaseMigrationStatus, decision: &Decision, now: Timestamp) -> bool {
    decision.phase == Some(Phase::Replicating)
        && old.observed_at.as_ref().is_none_or(|at| now.duration_since(at.0) >= REFRESH_EVERY)
}

/// What changes all the time without meaning anything new.
fn without_noise(status: &DatabaseMigrationStatus) -> DatabaseMigrationStatus {
    let mut status = status.clone();
    status.observed_at = None;
    for condition in &mut status.conditions {
        condition.message = without_request_id(&condition.message);
    }
    status.next = status.next.map(|next| without_request_id(&next));
    if let Some(replication) = &mut status.replication {
        replication.lag = replication.lag.as_ref().map(|_| String::new());
        replication.measured_at = None;
        replication.cloud_watch_lag = None;
        for slot in &mut replication.slots {
            slot.retained_bytes = None;
        }
    }
    if let Some(tables) = &mut status.tables {
        tables.validated = 0;
        tables.rows = 0;
    }
    if let Some(plan) = &mut status.plan {
        plan.at = Time(Timestamp::UNIX_EPOCH);
    }
    status
}

type Verdict = (Truth, Reason, String);

fn unknown<T>(fact: &Known<T>) -> Option<Verdict> {
    match fact {
        Ok(_) => None,
        Err(Fault::Blocked(blocked)) => Some((Truth::False, blocked.reason, blocked.message.clone())),
        Err(fault) => Some((Truth::Unknown, Reason::Retrying, fault.message().to_owned())),
    }
}

fn connected(seen: &Seen, side: Side) -> Verdict {
    unknown(seen.material.get(side))
        .or_else(|| unknown(seen.address.get(side)))
        .or_else(|| unknown(seen.database.get(side)))
        .or_else(|| unknown(seen.replication_login.get(side)))
        .unwrap_or_else(|| {
            let version = seen.database.get(side).as_ref().map_or(0, |s| s.identity.version / 10_000);
            (
                Truth::True,
                Reason::Connected,
                format!("PostgreSQL {version} answers the operator's and DMS's roles over verified TLS"),
            )
        })
}

fn assessed(goal: &Goal, seen: &Seen) -> Verdict {
    match assess(goal, seen) {
        Err(message) => (Truth::Unknown, Reason::Retrying, message),
        Ok(blockers) => match blockers.first() {
            None => (
                Truth::True,
                Reason::Assessed,
                std::iter::once(format!(
                    "Nothing is in the way of carrying {} tables",
                    seen.database.source.as_ref().map_or(0, |s| wanted::tables(&s.tables).count())
                ))
                .chain(cname::warning(goal))
                .collect::<Vec<_>>()
                .join(". "),
            ),
            Some(first) => {
                let all: Vec<String> = blockers
                    .iter()
                    .enumerate()
                    .map(|(index, blocked)| format!("{}. {}: {}", index + 1, blocked.reason, blocked.message))
                    .collect();
                let text = if all.len() == 1 { first.message.clone() } else { all.join(" ") };
                (Truth::False, first.reason, text)
            }
        },
    }
}

fn fenced(goal: &Goal, seen: &Seen) -> Verdict {
    let Ok(target) = &seen.database.target else {
        let (_, _, message) = connected(seen, Side::Target);
        return (Truth::Unknown, Reason::Unknown, message);
    };
    match (&target.record, target.writers.as_slice()) {
        (Record::Present { uid, token, .. }, _)
            if *uid == goal.migration.uid && token.holder == Holder::Side(Side::Target) =>
        {
            (Truth::False, Reason::Soaking, "The target is the writer".to_owned())
        }
        (Record::Present { .. }, []) => {
            (Truth::True, Reason::Fenced, "No application can write to the target".to_owned())
        }
        (Record::Absent, _) => (Truth::False, Reason::NotFenced, "The target was not fenced yet".to_owned()),
        (Record::Present { .. }, writers) => (
            Truth::False,
            Reason::UnlistedWriter,
            format!("These roles can write to the target: {}", writers.join(", ")),
        ),
    }
}

fn replicating(state: &State) -> Verdict {
    match state {
        State::Ready { reason: Reason::Replicating, message } => {
            (Truth::True, Reason::Replicating, message.clone())
        }
        State::Ready { reason, message } | State::Walking { reason, message } => {
            (Truth::False, *reason, message.clone())
        }
        State::Stalled(blocked) => {
            (Truth::False, blocked.reason, "The Stalled condition says why".to_owned())
        }
        State::Uncertain(message) => (Truth::Unknown, Reason::Retrying, message.clone()),
    }
}

/// Who takes the applications' writes. Said from the moment on at which the target was fenced: before, nobody kept
/// anyone out, and an answer would be a guess.
fn writer(goal: &Goal, seen: &Seen) -> Option<&'static str> {
    if let Some(decided) = &goal.decided
        && decided.intent == Intent::Finished
    {
        return Some("Target");
    }
    let row = |side: Side| match (seen.standing.get(side), seen.database.get(side)) {
        (Some(Ok(standing)), _) => Ok(Some((&standing.token.holder, !standing.writers.is_empty()))),
        (Some(Err(_)), _) | (None, Err(_)) => Err(()),
        (None, Ok(server)) => Ok(match &server.record {
            Record::Present { uid, token, .. } if *uid == goal.migration.uid => {
                Some((&token.holder, !server.writers.is_empty()))
            }
            Record::Present { .. } | Record::Absent => None,
        }),
    };
    let (source, target) = (row(Side::Source), row(Side::Target));
    // The status may have been lost; the rows still know that something was begun.
    let ours = goal.claimed || [&source, &target].iter().any(|row| matches!(row, Ok(Some(_))));
    if !ours {
        return None;
    }
    let (Ok(source), Ok(target)) = (source, target) else { return Some("Unknown") };
    let (target, target_open) = target?;
    let source_open = match source {
        // At the end it was let go of, and stays fenced; the target's row tells so also where the status was lost.
        None if *target == Holder::Side(Side::Target) => false,
        // Before its record is made the source is as the migration found it: the writer.
        None | Some((Holder::Side(Side::Source), _)) => true,
        Some((_, open)) => open,
    };
    let target_open = target_open || *target == Holder::Side(Side::Target);
    Some(match (source_open, target_open) {
        (true, true) => "Both",
        (true, false) => "Source",
        (false, true) => "Target",
        (false, false) => "None",
    })
}

fn replication(seen: &Seen) -> ReplicationStatus {
    let aws = seen.aws.as_ref().ok();
    let task = aws.and_then(|aws| aws.task.as_ref());
    let lag =
        seen.memory.lag.filter(|lag| task.is_some() && seen.now.duration_since(lag.at) <= LAG_FRESH_FOR);
    ReplicationStatus {
        lag: lag.map(|lag| duration::format(lag.age)),
        measured_at: lag.map(|lag| Time(lag.at)),
        cloud_watch_lag: aws
            .and_then(|aws| aws.task_lag)
            .and_then(|lag| SignedDuration::try_from_secs_f64(lag.seconds).ok())
            .map(duration::format),
        task_arn: task.map(|task| task.arn.clone()),
        task_status: task.map(task_status),
        instance_arn: aws.and_then(|aws| aws.instance.as_ref()).map(|instance| instance.arn.clone()),
        slots: all_slots(seen),
    }
}

fn task_status(task: &Task) -> String {
    let word = match &task.status {
        TaskStatus::Creating => "creating",
        TaskStatus::Ready => "ready",
        TaskStatus::Starting => "starting",
        TaskStatus::Running => "running",
        TaskStatus::Stopping => "stopping",
        TaskStatus::Stopped => "stopped",
        TaskStatus::Failed => "failed",
        TaskStatus::Modifying => "modifying",
        TaskStatus::Testing => "testing",
        TaskStatus::Deleting => "deleting",
        TaskStatus::Other(word) => word,
    };
    let reason = match (&task.status, &task.stop_reason) {
        (TaskStatus::Stopped | TaskStatus::Failed, Some(reason)) => match reason {
            StopReason::Normal => " (NORMAL)".to_owned(),
            StopReason::RecoverableError => " (RECOVERABLE_ERROR)".to_owned(),
            StopReason::FatalError => " (FATAL_ERROR)".to_owned(),
            StopReason::Other(word) => format!(" ({word})"),
        },
        _ => String::new(),
    };
    clip(&format!("{word}{reason}"), 64)
}

fn all_slots(seen: &Seen) -> Vec<SlotStatus> {
    let of =
        |side: Side| seen.database.get(side).as_ref().map(|server| slots(side, server)).unwrap_or_default();
    Side::BOTH.into_iter().flat_map(of).take(SLOTS_MAX).collect()
}

fn slots(side: Side, server: &Server) -> Vec<SlotStatus> {
    let Record::Present { slots: ours, .. } = &server.record else { return Vec::new() };
    let word = match side {
        Side::Source => "Source",
        Side::Target => "Target",
    };
    let slots = server.slots.iter().filter(|slot| ours.contains(&slot.name));
    slots
        .map(|slot| SlotStatus {
            side: word.to_owned(),
            name: slot.name.clone(),
            retained_bytes: slot.retained_bytes,
            wal_status: slot.wal_status.clone(),
        })
        .collect()
}

fn tables(seen: &Seen) -> Option<TablesStatus> {
    let (Ok(source), Ok(aws)) = (&seen.database.source, &seen.aws) else { return None };
    let mut status = TablesStatus::default();
    let mut worst = Vec::new();
    for table in wanted::tables(&source.tables) {
        status.total += 1;
        let Some(statistics) = aws.tables.iter().find(|s| s.schema == table.schema && s.name == table.name)
        else {
            continue;
        };
        status.rows += statistics.full_load_rows;
        status.loaded += i32::from(statistics.state == TableState::Completed);
        status.validated += i32::from(statistics.validation == ValidationState::Validated);
        let errored = matches!(statistics.state, TableState::Error | TableState::DoesNotExist);
        status.errored += i32::from(errored);
        if let Some(state) = noteworthy(&statistics.state, &statistics.validation) {
            worst.push((
                !errored,
                TableStatus { name: format!("{}.{}", table.schema, table.name), state: clip(&state, 64) },
            ));
        }
    }
    worst.sort_by(|a, b| (a.0, &a.1.name).cmp(&(b.0, &b.1.name)));
    status.worst = worst.into_iter().take(WORST_MAX).map(|(_, table)| table).collect();
    status.summary = format!("{}/{}", status.loaded, status.total);
    Some(status)
}

fn noteworthy(state: &TableState, validation: &ValidationState) -> Option<String> {
    match (state, validation) {
        (TableState::Error, _) => Some("Table error".to_owned()),
        (TableState::DoesNotExist, _) => Some("Table does not exist".to_owned()),
        (TableState::Other(word), _) => Some(word.clone()),
        (_, ValidationState::Mismatched) => Some("Mismatched records".to_owned()),
        (_, ValidationState::Suspended) => Some("Suspended records".to_owned()),
        (_, ValidationState::NoPrimaryKey) => Some("No primary key".to_owned()),
        (_, ValidationState::Error) => Some("Validation error".to_owned()),
        (
            TableState::BeforeLoad | TableState::FullLoad | TableState::Completed,
            ValidationState::Validated
            | ValidationState::Pending
            | ValidationState::NotEnabled
            | ValidationState::Other(_),
        ) => None,
    }
}

/// The plan is written while the goal is Plan, and left as it is while it says the same.
fn planned(goal: &Goal, seen: &Seen, previous: &DatabaseMigrationStatus) -> Option<PlanStatus> {
    if goal.reach != Reach::Plan || goal.deletion.is_some() {
        return None;
    }
    let mut steps = plan::steps(goal, seen);
    if steps.is_empty() {
        // Something is in the way or not known: an older plan would promise what may not hold.
        return None;
    }
    steps.truncate(PLAN_MAX);
    let hash = plan_hash(steps.iter().map(|step| (step.action.as_str(), step.on.as_str(), step.reversible)));
    match &previous.plan {
        Some(plan) if plan.hash == hash => Some(plan.clone()),
        _ => Some(PlanStatus { hash, at: Time(seen.now), steps }),
    }
}

#[cfg(test)]
mod tests;

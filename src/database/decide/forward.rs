//! The next step towards Replicate, given that nothing is in the way.

use crate::api::condition::Reason;
use crate::aws::cloudwatch::SeenAlarm;
use crate::aws::dms::{
    Connection, ConnectionStatus, Endpoint, EndpointSettings, Instance, InstanceStatus, Owner, StartType,
    StopReason, TableState, Task, TaskStatus, ValidationState,
};
use crate::database::decide::assess::has_started;
use crate::database::decide::{
    BEAT_EVERY, Found, Phase, REFENCE_AFTER, RESUME_AFTER, RESUME_AFTER_FATAL, RETEST_AFTER, Step,
    TEST_FRESH_FOR, wanted,
};
use crate::database::goal::{Goal, InstanceGoal, due};
use crate::database::seen::{AwsSeen, Seen};
use crate::fault::Blocked;
use crate::postgres::{Holder, Record, Server};
use crate::side::Side;

/// Where the migration stands by what exists; `None` where that can't be seen.
pub(crate) fn phase(goal: &Goal, seen: &Seen) -> Option<Phase> {
    if !goal.claimed {
        return Some(Phase::Assessing);
    }
    let aws = seen.aws.as_ref().ok()?;
    Some(match &aws.task {
        Some(task) if has_started(aws) && task.full_load_finished => Phase::Replicating,
        Some(_) if has_started(aws) => Phase::Loading,
        Some(_) | None => Phase::Provisioning,
    })
}

/// The guard of the target's fence: a target that nobody fenced yet, or that came open. Never one that may be the writer:
/// where no record of ours says that it is not, the source's must not say that the role was given away.
pub(crate) fn fence(goal: &Goal, seen: &Seen) -> Option<Step> {
    let target = seen.database.target.as_ref().ok()?;
    let held = matches!(&target.record, Record::Present { uid, .. } if *uid == goal.migration.uid);
    let source_writes = match &seen.database.source {
        Ok(Server { record: Record::Present { token, .. }, .. }) => {
            token.holder == Holder::Side(Side::Source)
        }
        Ok(Server { record: Record::Absent, .. }) => true,
        Err(_) => false,
    };
    let open = (!held && source_writes) || (held && !target.writers.is_empty());
    (open && due(seen.memory.fenced_at, REFENCE_AFTER, seen.now)).then_some(Step::FenceTarget)
}

/// What is done even while something is in the way: the fence, the note of a slot, the heartbeat.
pub(crate) fn guard(goal: &Goal, seen: &Seen) -> Option<Step> {
    if let Some(step) = fence(goal, seen) {
        return Some(step);
    }
    let (Ok(aws), Ok(source), Ok(target)) = (&seen.aws, &seen.database.source, &seen.database.target) else {
        return None;
    };
    let task =
        aws.task.as_ref().filter(|task| task.owner == Owner::Us && task.status == TaskStatus::Running)?;
    let ours =
        |server: &Server| matches!(&server.record, Record::Present { uid, .. } if *uid == goal.migration.uid);
    if !ours(source) || !ours(target) {
        return None;
    }
    [note_slot(seen, task, source), if task.full_load_finished { beat(seen) } else { Found::Done }]
        .into_iter()
        .find_map(|found| match found {
            Found::Do(step) => Some(step),
            Found::Wait(_) | Found::Stall(_) | Found::Done => None,
        })
}

/// The next step. Called only when `assess` found nothing, so every fact is known.
pub(crate) fn next(goal: &Goal, seen: &Seen) -> Found {
    let (Ok(aws), Ok(source), Ok(target)) = (&seen.aws, &seen.database.source, &seen.database.target) else {
        return Found::Wait("waiting for both databases and AWS to answer".to_owned());
    };
    if !goal.claimed {
        return Found::Do(Step::Claim);
    }
    first([
        databases(goal, seen, source, target),
        instance(goal, aws),
        endpoints(goal, seen, aws),
        usable(aws),
        connections(seen, aws),
        task(seen, aws, source),
        load(aws, source),
        upkeep(goal, seen, aws),
        beat(seen),
    ])
}

/// The first of these that is not done.
fn first<const N: usize>(parts: [Found; N]) -> Found {
    parts.into_iter().find(|found| *found != Found::Done).unwrap_or(Found::Done)
}

fn databases(goal: &Goal, seen: &Seen, source: &Server, target: &Server) -> Found {
    if let Some(step) = fence(goal, seen) {
        return Found::Do(step);
    }
    if !target.writers.is_empty() {
        return Found::Stall(Blocked::new(
            Reason::UnlistedWriter,
            format_args!("The fence did not stop {} from writing to the target", target.writers.join(", ")),
            "Revoke their privileges or their login; a grant by another grantor or an owner's own rights outlive a REVOKE by the operator's role",
        ));
    }
    if source.record == Record::Absent {
        return Found::Do(Step::PrepareSource);
    }
    Found::Done
}

fn instance(goal: &Goal, aws: &AwsSeen) -> Found {
    if matches!(goal.instance, InstanceGoal::Existing { .. }) {
        return Found::Done;
    }
    match (&aws.subnet_group, &aws.instance) {
        (None, _) => Found::Do(Step::CreateSubnetGroup),
        (Some(group), None) if !group.complete => {
            Found::Wait("waiting for the replication subnet group".to_owned())
        }
        (Some(_), None) => Found::Do(Step::CreateInstance),
        (Some(_), Some(_)) => Found::Done,
    }
}

fn endpoints(goal: &Goal, seen: &Seen, aws: &AwsSeen) -> Found {
    for side in Side::BOTH {
        let Some(identifier) = wanted::certificate(goal, seen, side) else {
            return Found::Wait(format!("waiting for the certificate authority of the {side}"));
        };
        if !aws.certificates.iter().any(|c| c.identifier == identifier) {
            return Found::Do(Step::ImportCertificate(side));
        }
    }
    either(|side| {
        let Some(wish) = wanted::endpoint(goal, seen, aws, side) else {
            return Found::Wait(format!("waiting for the certificate of the {side}"));
        };
        match aws.endpoints.get(side) {
            None => Found::Do(Step::CreateEndpoint(side)),
            Some(endpoint) if endpoint.deleting => {
                Found::Wait(format!("waiting for endpoint {} to be gone", endpoint.identifier))
            }
            Some(endpoint) if !endpoint.active => {
                Found::Wait(format!("waiting for endpoint {}", endpoint.identifier))
            }
            Some(endpoint) => modification(aws.task.as_ref(), endpoint, &wish, side),
        }
    })
}

/// What is to be done on either side goes before what is waited for on the other.
fn either(look: impl Fn(Side) -> Found) -> Found {
    let [source, target] = Side::BOTH.map(look);
    match (source, target) {
        (Found::Do(step), _) | (_, Found::Do(step)) => Found::Do(step),
        (Found::Done, found) | (found, _) => found,
    }
}

/// DMS refuses to change an endpoint while a task runs on it. Another place or certificate is worth a stop; another
/// version of the same role's password is not: it is handed over when the task next stops.
fn modification(task: Option<&Task>, endpoint: &Endpoint, wish: &EndpointSettings, side: Side) -> Found {
    if endpoint.settings == *wish {
        return Found::Done;
    }
    let same_place =
        EndpointSettings { secret_version: wish.secret_version.clone(), ..endpoint.settings.clone() }
            == *wish;
    match task.map(|task| &task.status) {
        Some(TaskStatus::Running) if same_place => Found::Done,
        Some(TaskStatus::Running) => Found::Do(Step::StopTask),
        Some(TaskStatus::Starting | TaskStatus::Stopping | TaskStatus::Modifying | TaskStatus::Testing) => {
            Found::Wait("waiting for the task before the endpoint is changed".to_owned())
        }
        Some(
            TaskStatus::Creating
            | TaskStatus::Ready
            | TaskStatus::Stopped
            | TaskStatus::Failed
            | TaskStatus::Deleting
            | TaskStatus::Other(_),
        )
        | None => Found::Do(Step::ModifyEndpoint(side)),
    }
}

fn usable(aws: &AwsSeen) -> Found {
    match aws.instance.as_ref() {
        None => Found::Wait("waiting for the replication instance".to_owned()),
        Some(Instance { status: InstanceStatus::Available, .. }) => Found::Done,
        Some(Instance { status: InstanceStatus::Creating, identifier, .. }) => {
            Found::Wait(format!("waiting for replication instance {identifier} to be created"))
        }
        Some(Instance { status: InstanceStatus::Modifying, identifier, .. }) => {
            Found::Wait(format!("waiting for replication instance {identifier} to be modified"))
        }
        Some(Instance { status: InstanceStatus::Deleting, identifier, .. }) => {
            Found::Wait(format!("waiting for replication instance {identifier} to be gone"))
        }
        Some(Instance { status: InstanceStatus::Failed, identifier, .. }) => Found::Stall(Blocked::new(
            Reason::InstanceUnfit,
            format_args!("Replication instance {identifier} has failed"),
            "Its events in the DMS console say why; delete it there, and it is made again",
        )),
        Some(Instance { status: InstanceStatus::Other(status), identifier, .. }) => {
            Found::Stall(Blocked::new(
                Reason::InstanceUnfit,
                format_args!("Replication instance {identifier} is {status}"),
                "It must become available again; its events in the DMS console say more",
            ))
        }
    }
}

fn connections(seen: &Seen, aws: &AwsSeen) -> Found {
    let needs_tests = match aws.task.as_ref().map(|task| &task.status) {
        None | Some(TaskStatus::Creating | TaskStatus::Ready | TaskStatus::Stopped | TaskStatus::Failed) => {
            true
        }
        Some(
            TaskStatus::Starting
            | TaskStatus::Running
            | TaskStatus::Stopping
            | TaskStatus::Modifying
            | TaskStatus::Testing
            | TaskStatus::Deleting
            | TaskStatus::Other(_),
        ) => false,
    };
    if !needs_tests {
        return Found::Done;
    }
    either(|side| {
        let tested_at = *seen.memory.tested_at.get(side);
        match aws.connections.get(side) {
            None => Found::Do(Step::TestConnection(side)),
            Some(Connection { status: ConnectionStatus::Testing, .. }) => {
                Found::Wait(format!("waiting for the connection test of the {side}"))
            }
            Some(Connection { status: ConnectionStatus::Successful, .. }) => {
                if due(tested_at, TEST_FRESH_FOR, seen.now) {
                    Found::Do(Step::TestConnection(side))
                } else {
                    Found::Done
                }
            }
            Some(Connection { status: ConnectionStatus::Deleting, .. }) => {
                Found::Wait(format!("waiting for an earlier connection of the {side} to be gone"))
            }
            Some(Connection { status: ConnectionStatus::Failed | ConnectionStatus::Other(_), .. }) => {
                if due(tested_at, RETEST_AFTER, seen.now) {
                    Found::Do(Step::TestConnection(side))
                } else {
                    Found::Stall(Blocked::new(
                        Reason::ConnectionTestFailed,
                        format_args!(
                            "The replication instance can't connect to the {side}, though the operator can"
                        ),
                        "Check the route, the security groups and pg_hba.conf for the instance's address; the DMS console shows the test's message. It is tried again by itself",
                    ))
                }
            }
        }
    })
}

fn task(seen: &Seen, aws: &AwsSeen, source: &Server) -> Found {
    let Some(task) = &aws.task else { return Found::Do(Step::CreateTask) };
    let made_with = [Some(&task.source_endpoint_arn), Some(&task.target_endpoint_arn)];
    let there = [&aws.endpoints.source, &aws.endpoints.target].map(|e| e.as_ref().map(|e| &e.arn));
    if made_with != there {
        return Found::Stall(Blocked::new(
            Reason::TaskFailed,
            format_args!("Task {} was made with endpoints that are gone", task.identifier),
            "Something deleted them outside Slipway. Delete this resource, empty the target's tables and apply it again",
        ));
    }
    if let Some(lost) = lost_slot(task, source) {
        return Found::Stall(lost);
    }
    match &task.status {
        TaskStatus::Creating => Found::Wait(format!("waiting for task {} to be created", task.identifier)),
        TaskStatus::Modifying | TaskStatus::Testing => {
            Found::Wait(format!("waiting for task {}", task.identifier))
        }
        TaskStatus::Ready if task.started_at.is_none() => Found::Do(Step::StartTask(StartType::First)),
        TaskStatus::Ready => Found::Do(Step::StartTask(StartType::Resume)),
        TaskStatus::Starting => Found::Wait(format!("waiting for task {} to start", task.identifier)),
        TaskStatus::Stopping => Found::Wait(format!("waiting for task {} to stop", task.identifier)),
        TaskStatus::Deleting => Found::Wait(format!("waiting for task {} to be gone", task.identifier)),
        TaskStatus::Other(status) => Found::Wait(format!("waiting for task {} ({status})", task.identifier)),
        TaskStatus::Stopped | TaskStatus::Failed => stopped(seen, task),
        TaskStatus::Running => note_slot(seen, task, source),
    }
}

fn stopped(seen: &Seen, task: &Task) -> Found {
    // A task that never ran has nothing to resume.
    let start = if task.started_at.is_some() { StartType::Resume } else { StartType::First };
    let (reason, after) = match &task.stop_reason {
        Some(StopReason::FatalError) => ("FATAL_ERROR", RESUME_AFTER_FATAL),
        Some(StopReason::RecoverableError) => ("RECOVERABLE_ERROR", RESUME_AFTER),
        Some(StopReason::Normal) => ("NORMAL", RESUME_AFTER),
        Some(StopReason::Other(_)) | None => ("another reason", RESUME_AFTER),
    };
    if due(task.stopped_at, after, seen.now) {
        return Found::Do(Step::StartTask(start));
    }
    if task.stop_reason == Some(StopReason::FatalError) {
        return Found::Stall(Blocked::new(
            Reason::TaskFailed,
            format_args!("Task {} stopped with {reason}", task.identifier),
            "Its log (CloudWatch Logs, group dms-tasks-…) names the row and the error. Mend the cause; the task is resumed by itself every minute and goes on where it stopped",
        ));
    }
    Found::Wait(format!("task {} stopped ({reason}) and is about to be resumed", task.identifier))
}

/// A slot that DMS used for this task and that is gone or lost: what was written since can't be had from it. Resuming
/// would leave a gap that nobody sees.
fn lost_slot(task: &Task, source: &Server) -> Option<Blocked> {
    let Record::Present { slots: ours, .. } = &source.record else { return None };
    task.started_at?;
    let alive = |name: &String| {
        source.slots.iter().any(|slot| slot.name == *name && slot.wal_status.as_deref() != Some("lost"))
    };
    if ours.is_empty() || ours.iter().any(alive) {
        return None;
    }
    Some(Blocked::new(
        Reason::SlotLost,
        format_args!("The replication slot of task {} is lost: {}", task.identifier, ours.join(", ")),
        "Changes since then can't be had from the source any more, so the target must be loaded again: delete this resource, empty the target's tables and apply it again",
    ))
}

/// Slots that this task made: used by the role that DMS logs in as, or named after the task (DMS begins a slot's name
/// with the task's resource id; seen, not documented, so it only adds to the first).
pub(crate) fn slots_to_note<'a>(seen: &'a Seen, task: &Task, source: &'a Server) -> Vec<&'a String> {
    let Record::Present { slots: noted, .. } = &source.record else { return Vec::new() };
    let role = seen.material.source.as_ref().ok().map(|m| &m.replication_username);
    let prefix = task.slot_prefix();
    source
        .slots
        .iter()
        .filter(|slot| !noted.contains(&slot.name))
        .filter(|slot| {
            (slot.used_by.is_some() && slot.used_by.as_ref() == role)
                || prefix.as_ref().is_some_and(|prefix| slot.name.starts_with(prefix))
        })
        .map(|slot| &slot.name)
        .collect()
}

fn note_slot(seen: &Seen, task: &Task, source: &Server) -> Found {
    slots_to_note(seen, task, source)
        .first()
        .map_or(Found::Done, |slot| Found::Do(Step::NoteSlot((*slot).clone())))
}

fn load(aws: &AwsSeen, source: &Server) -> Found {
    let errored: Vec<String> = aws
        .tables
        .iter()
        .filter(|t| matches!(t.state, TableState::Error | TableState::DoesNotExist))
        .map(|t| format!("{}.{}", t.schema, t.name))
        .collect();
    if !errored.is_empty() {
        return Found::Stall(Blocked::new(
            Reason::TableErrored,
            format_args!("DMS reports an error on {}", errored.join(", ")),
            "Its log (CloudWatch Logs, group dms-tasks-…) names the error; mend the cause, and the task goes on",
        ));
    }
    let mismatched: Vec<String> = aws
        .tables
        .iter()
        .filter(|t| matches!(t.validation, ValidationState::Mismatched))
        .map(|t| format!("{}.{}", t.schema, t.name))
        .collect();
    if !mismatched.is_empty() {
        return Found::Stall(Blocked::new(
            Reason::DataMismatch,
            format_args!("DMS finds rows that differ between source and target in {}", mismatched.join(", ")),
            "Somebody else wrote to the target, or a change was lost: awsdms_control.awsdms_validation_failures_v1 on the target lists the keys. Delete this resource, empty the target's tables and apply it again",
        ));
    }
    let task_done = aws.task.as_ref().is_some_and(|task| task.full_load_finished);
    let left_out: Vec<String> = wanted::tables(&source.tables)
        .filter(|table| !aws.tables.iter().any(|s| s.schema == table.schema && s.name == table.name))
        .map(|table| format!("{}.{}", table.schema, table.name))
        .collect();
    if task_done && !left_out.is_empty() {
        return Found::Stall(Blocked::new(
            Reason::TableNotCarried,
            format_args!("The task does not carry {}", left_out.join(", ")),
            "Tables made after the task began are not loaded by it. Drop them if they are not needed; else delete this resource, empty the target's tables and apply it again",
        ));
    }
    let total = wanted::tables(&source.tables).count();
    let loaded = loaded(aws, source);
    if loaded < total || !task_done {
        return Found::Wait(format!("loading: {loaded} of {total} tables are complete"));
    }
    Found::Done
}

/// How many of the tables to carry are completely loaded. A table that the statistics don't list is not.
pub(crate) fn loaded(aws: &AwsSeen, source: &Server) -> usize {
    wanted::tables(&source.tables)
        .filter(|table| {
            aws.tables.iter().any(|statistics| {
                statistics.schema == table.schema
                    && statistics.name == table.name
                    && statistics.state == TableState::Completed
            })
        })
        .count()
}

fn upkeep(goal: &Goal, seen: &Seen, aws: &AwsSeen) -> Found {
    let in_use: Vec<String> =
        Side::BOTH.into_iter().filter_map(|side| wanted::certificate(goal, seen, side)).collect();
    let stale = aws.certificates.iter().find(|c| {
        let used = [&aws.endpoints.source, &aws.endpoints.target]
            .into_iter()
            .flatten()
            .any(|endpoint| endpoint.settings.certificate_arn.as_ref() == Some(&c.arn));
        !used && !in_use.contains(&c.identifier)
    });
    if let Some(certificate) = stale {
        return Found::Do(Step::DeleteCertificate {
            arn: certificate.arn.clone(),
            identifier: certificate.identifier.clone(),
        });
    }
    let (Some(instance), Some(task)) = (&aws.instance, &aws.task) else { return Found::Done };
    let alarms = wanted::alarms(goal, instance, task);
    if alarms.is_empty() {
        let left = ours(&aws.alarms);
        return if left.is_empty() { Found::Done } else { Found::Do(Step::DeleteAlarms(left)) };
    }
    alarms
        .into_iter()
        .find(|wish| !aws.alarms.iter().any(|seen| seen.alarm == *wish))
        .map_or(Found::Done, |alarm| Found::Do(Step::PutAlarm(Box::new(alarm))))
}

/// Names of the alarms that are ours.
pub(crate) fn ours(alarms: &[SeenAlarm]) -> Vec<String> {
    alarms.iter().filter(|a| a.owner == Owner::Us).map(|a| a.alarm.name.clone()).collect()
}

fn beat(seen: &Seen) -> Found {
    if due(seen.memory.lag.map(|lag| lag.at), BEAT_EVERY, seen.now) {
        Found::Do(Step::Beat)
    } else {
        Found::Done
    }
}

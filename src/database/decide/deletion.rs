//! The next step of a deletion: what was made is removed, in reverse, and nothing else. The target's rows and its fence
//! stay, so that deleting a resource never opens a second writable database.

use crate::api::condition::Reason;
use crate::aws::dms::{InstanceStatus, Owner, Task, TaskStatus};
use crate::database::cname;
use crate::database::decide::{Found, Step, forward};
use crate::database::goal::{Goal, InstanceGoal};
use crate::database::seen::{AwsSeen, Seen};
use crate::fault::{Blocked, Fault};
use crate::postgres::{Record, Server};
use crate::side::Side;

/// The next step, or why it can't be told.
pub(crate) fn next(goal: &Goal, seen: &Seen) -> Result<Found, Fault> {
    seen.account.clone()?;
    let aws = seen.aws.as_ref().map_err(Clone::clone)?;
    if let Some(found) = task(goal, seen, aws)? {
        return Ok(found);
    }
    if let Some(found) = resources(goal, aws) {
        return Ok(found);
    }
    if let Some(found) = cname::give_back(goal, seen)? {
        return Ok(found);
    }
    databases(goal, seen)
}

/// Nothing of this migration is there. A database that nobody can reach at all can't hold up the deletion of a resource
/// for which nothing was made elsewhere.
pub(crate) fn is_nothing_ours(goal: &Goal, seen: &Seen) -> bool {
    let is_free = |side: Side| match seen.database.get(side) {
        Ok(server) => !matches!(&server.record, Record::Present { uid, .. } if *uid == goal.migration.uid),
        Err(fault) => matches!(fault, Fault::Blocked(_)),
    };
    let is_aws_free = seen.aws.as_ref().is_ok_and(|aws| {
        aws.task.as_ref().is_none_or(|task| task.owner != Owner::Us) && resources(goal, aws).is_none()
    });
    let is_record_free = matches!(cname::give_back(goal, seen), Ok(None));
    is_aws_free && is_record_free && Side::BOTH.into_iter().all(is_free)
}

fn task(goal: &Goal, seen: &Seen, aws: &AwsSeen) -> Result<Option<Found>, Fault> {
    let Some(task) = aws.task.as_ref().filter(|task| task.owner == Owner::Us) else { return Ok(None) };
    // While the task is there its slot can be told from others': write it down before that is lost.
    if task.started_at.is_some() {
        let source = reachable(goal, seen, Side::Source)?;
        if let Some(slot) = forward::slots_to_note(seen, task, source).first() {
            return Ok(Some(Found::Do(Step::NoteSlot((*slot).clone()))));
        }
    }
    Ok(Some(retire(task)))
}

/// Towards a task that is gone.
pub(crate) fn retire(task: &Task) -> Found {
    match (way_out_of_task(&task.status), &task.status) {
        (WayOut::Stop, _) => Found::Do(Step::StopTask),
        (WayOut::Delete, _) => Found::Do(Step::DeleteTask),
        (WayOut::Wait, TaskStatus::Other(status)) => {
            Found::Wait(format!("waiting for task {} ({status})", task.identifier))
        }
        (WayOut::Wait, _) => Found::Wait(format!("waiting for task {} to be gone", task.identifier)),
    }
}

/// What may be done, in the state that it is in, with something that is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WayOut {
    Stop,
    Delete,
    /// AWS takes neither, or it is going already.
    Wait,
}

pub(crate) fn way_out_of_task(status: &TaskStatus) -> WayOut {
    match status {
        TaskStatus::Running => WayOut::Stop,
        TaskStatus::Ready | TaskStatus::Stopped | TaskStatus::Failed => WayOut::Delete,
        TaskStatus::Creating
        | TaskStatus::Starting
        | TaskStatus::Stopping
        | TaskStatus::Modifying
        | TaskStatus::Testing
        | TaskStatus::Deleting
        | TaskStatus::Other(_) => WayOut::Wait,
    }
}

pub(crate) fn way_out_of_instance(status: &InstanceStatus) -> WayOut {
    match status {
        InstanceStatus::Deleting | InstanceStatus::Creating | InstanceStatus::Modifying => WayOut::Wait,
        InstanceStatus::Available | InstanceStatus::Failed | InstanceStatus::Other(_) => WayOut::Delete,
    }
}

pub(crate) fn resources(goal: &Goal, aws: &AwsSeen) -> Option<Found> {
    let alarms = forward::ours(&aws.alarms);
    if !alarms.is_empty() {
        return Some(Found::Do(Step::DeleteAlarms(alarms)));
    }
    for side in Side::BOTH {
        if let Some(endpoint) = aws.endpoints.get(side).as_ref().filter(|e| e.owner == Owner::Us) {
            return Some(if endpoint.deleting {
                Found::Wait(format!("waiting for endpoint {} to be gone", endpoint.identifier))
            } else {
                Found::Do(Step::DeleteEndpoint(side))
            });
        }
    }
    if let Some(certificate) = aws.certificates.iter().find(|c| c.owner == Owner::Us) {
        return Some(Found::Do(Step::DeleteCertificate {
            arn: certificate.arn.clone(),
            identifier: certificate.identifier.clone(),
        }));
    }
    if matches!(goal.instance, InstanceGoal::Existing { .. }) {
        return None;
    }
    if let Some(instance) = aws.instance.as_ref().filter(|i| i.owner == Owner::Us) {
        return Some(match way_out_of_instance(&instance.status) {
            WayOut::Wait => {
                Found::Wait(format!("waiting for replication instance {} to be gone", instance.identifier))
            }
            WayOut::Stop | WayOut::Delete => Found::Do(Step::DeleteInstance),
        });
    }
    aws.subnet_group.as_ref().filter(|g| g.owner == Owner::Us).map(|_| Found::Do(Step::DeleteSubnetGroup))
}

fn databases(goal: &Goal, seen: &Seen) -> Result<Found, Fault> {
    let source = reachable(goal, seen, Side::Source)?;
    if let Record::Present { uid, slots, .. } = &source.record
        && *uid == goal.migration.uid
    {
        // The slot first: the record is what proves that it is ours.
        if let Some(slot) = source.slots.iter().find(|slot| slots.contains(&slot.name)) {
            return Ok(Found::Do(Step::DropSlot(slot.name.clone())));
        }
        return Ok(Found::Do(Step::DropSourceRecord));
    }
    let target = reachable(goal, seen, Side::Target)?;
    if let Record::Present { uid, .. } = &target.record
        && *uid == goal.migration.uid
    {
        return Ok(Found::Do(Step::ReleaseTarget));
    }
    Ok(Found::Done)
}

/// A database that must be asked before the resource may go. Where it can't be, the person is told the way out.
fn reachable<'a>(goal: &Goal, seen: &'a Seen, side: Side) -> Result<&'a Server, Fault> {
    let first_fault = [seen.material.get(side).as_ref().err(), seen.address.get(side).as_ref().err()]
        .into_iter()
        .flatten()
        .next();
    let fault = match (first_fault, seen.database.get(side)) {
        (None, Ok(server)) => return Ok(server),
        (Some(fault), _) | (None, Err(fault)) => fault,
    };
    Err(match fault {
        Fault::Blocked(blocked) => Fault::Blocked(Blocked::new(
            Reason::Deleting,
            format_args!(
                "The {side} must be cleaned up before {} may go: {}",
                goal.migration.resource(),
                blocked.message
            ),
            "If that database is gone for good, set spec.deletionPolicy to Retain; a replication slot left behind keeps WAL on the source's disk until it is dropped",
        )),
        other => other.clone(),
    })
}

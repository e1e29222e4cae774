//! The plan: the steps that `decide` would take from here if each had its expected effect. It is made by walking
//! `decide` itself over assumed effects, so it can't tell another story than the one that is then acted out.

use crate::api::database::{Goal as Reach, PlanStep};
use crate::aws::cloudwatch::SeenAlarm;
use crate::aws::dms::{
    Certificate, Connection, ConnectionStatus, Endpoint, Instance, InstanceStatus, Owner, SubnetGroup,
    TableState, TableStatistics, Task, TaskStatus, ValidationState,
};
use crate::database::decide::{self, Step, wanted};
use crate::database::goal::Goal;
use crate::database::seen::{AwsSeen, Seen};
use crate::postgres::{Holder, Lag, Record, Token};
use crate::side::Side;

/// More steps than any migration takes; a plan that long is a loop.
const STEPS_MAX: usize = 40;

/// The steps to goal Replicate, from what was seen. Empty where something is in the way or nothing is left to do.
pub fn steps(goal: &Goal, seen: &Seen) -> Vec<PlanStep> {
    let mut goal = Goal { reach: Reach::Replicate, suspended: false, deletion: None, ..goal.clone() };
    let mut seen = seen.clone();
    let mut steps = Vec::new();
    while steps.len() < STEPS_MAX {
        let Some(step) = decide::decide(&goal, &seen).step else { break };
        if step.is_routine() {
            break;
        }
        if step != Step::Claim {
            steps.push(PlanStep {
                action: step.action().to_owned(),
                on: step.on(&goal),
                reversible: step.is_reversible(),
            });
        }
        assume(&mut goal, &mut seen, &step);
    }
    steps
}

/// What is seen after a step that had its expected effect.
pub fn assume(goal: &mut Goal, seen: &mut Seen, step: &Step) {
    let now = seen.now;
    match step {
        Step::Claim => goal.claimed = true,
        Step::FenceTarget => {
            seen.memory.fenced_at = Some(now);
            if let Ok(target) = &mut seen.database.target {
                target.writers.clear();
                target.record = record(goal, Holder::Fenced, target.identity.system_identifier);
            }
        }
        Step::PrepareSource => {
            if let Ok(source) = &mut seen.database.source {
                source.record = record(goal, Holder::Side(Side::Source), source.identity.system_identifier);
            }
        }
        Step::TestConnection(side) => *seen.memory.tested_at.get_mut(*side) = Some(now),
        Step::NoteSlot(name) => note(seen, name),
        Step::Beat => {
            seen.memory.lag = Some(Lag { age: jiff::SignedDuration::ZERO, arrived: true, at: now });
        }
        Step::DropSlot(name) => {
            if let Ok(source) = &mut seen.database.source {
                source.slots.retain(|slot| slot.name != *name);
            }
        }
        Step::DropSourceRecord => {
            if let Ok(source) = &mut seen.database.source {
                source.record = Record::Absent;
            }
        }
        Step::ReleaseTarget => {
            if let Ok(target) = &mut seen.database.target
                && let Record::Present { uid, .. } = &mut target.record
            {
                uid.clear();
            }
        }
        Step::ImportCertificate(_)
        | Step::DeleteCertificate { .. }
        | Step::CreateSubnetGroup
        | Step::CreateInstance
        | Step::CreateEndpoint(_)
        | Step::ModifyEndpoint(_)
        | Step::CreateTask
        | Step::StartTask(_)
        | Step::StopTask
        | Step::PutAlarm(_)
        | Step::DeleteAlarms(_)
        | Step::DeleteTask
        | Step::DeleteEndpoint(_)
        | Step::DeleteInstance
        | Step::DeleteSubnetGroup
        | Step::DropReverseSlot(_)
        | Step::DropTargetRecord
        | Step::ReleaseSource
        | Step::LowerTtl
        | Step::GiveBackRecord
        | Step::Decide(_)
        | Step::Latch(_)
        | Step::Move(_)
        | Step::Release => {}
    }
    let wishes = |side| seen.aws.as_ref().ok().and_then(|aws| wanted::endpoint(goal, seen, aws, side));
    let endpoints = [wishes(Side::Source), wishes(Side::Target)];
    let certificates = Side::BOTH.map(|side| wanted::certificate(goal, seen, side));
    let tables = seen.database.source.as_ref().map(|source| source.tables.clone()).unwrap_or_default();
    let Ok(aws) = &mut seen.aws else { return };
    let index = |side: Side| usize::from(side == Side::Target);
    match step {
        Step::ImportCertificate(side) => {
            if let Some(identifier) = certificates[index(*side)].clone() {
                aws.certificates.push(Certificate {
                    arn: assumed_arn("cert", &identifier),
                    identifier,
                    owner: Owner::Us,
                });
            }
        }
        Step::DeleteCertificate { arn, .. } => aws.certificates.retain(|c| c.arn != *arn),
        Step::CreateSubnetGroup => {
            aws.subnet_group = Some(SubnetGroup {
                identifier: goal.names.subnet_group.clone(),
                complete: true,
                owner: Owner::Us,
            });
        }
        Step::CreateInstance => {
            aws.instance = Some(Instance {
                arn: assumed_arn("rep", &goal.names.instance),
                identifier: goal.names.instance.clone(),
                status: InstanceStatus::Available,
                owner: Owner::Us,
            });
        }
        Step::CreateEndpoint(side) | Step::ModifyEndpoint(side) => {
            if let Some(settings) = endpoints[index(*side)].clone() {
                let identifier = goal.names.endpoints.get(*side).clone();
                *aws.endpoints.get_mut(*side) = Some(Endpoint {
                    arn: assumed_arn("endpoint", &identifier),
                    identifier,
                    deleting: false,
                    active: true,
                    settings,
                    owner: Owner::Us,
                });
            }
        }
        Step::TestConnection(side) => assume_connected(aws, *side),
        Step::CreateTask => assume_task(goal, aws),
        Step::StartTask(_) => {
            if let Some(task) = &mut aws.task {
                task.status = TaskStatus::Running;
                task.started_at.get_or_insert(now);
                task.full_load_finished = true;
                task.full_load_percent = 100;
            }
            aws.tables = wanted::tables(&tables)
                .map(|table| TableStatistics {
                    schema: table.schema.clone(),
                    name: table.name.clone(),
                    state: TableState::Completed,
                    full_load_rows: 0,
                    validation: ValidationState::Pending,
                })
                .collect();
        }
        Step::StopTask => {
            if let Some(task) = &mut aws.task {
                task.status = TaskStatus::Stopped;
                task.stopped_at = Some(now);
            }
        }
        Step::PutAlarm(alarm) => {
            aws.alarms.retain(|seen| seen.alarm.name != alarm.name);
            aws.alarms.push(SeenAlarm {
                alarm: (**alarm).clone(),
                state: "INSUFFICIENT_DATA".to_owned(),
                owner: Owner::Us,
            });
        }
        Step::DeleteAlarms(names) => aws.alarms.retain(|seen| !names.contains(&seen.alarm.name)),
        Step::DeleteTask => {
            aws.task = None;
            aws.tables.clear();
        }
        Step::DeleteEndpoint(side) => {
            *aws.endpoints.get_mut(*side) = None;
            *aws.connections.get_mut(*side) = None;
        }
        Step::DeleteInstance => aws.instance = None,
        Step::DeleteSubnetGroup => aws.subnet_group = None,
        Step::Claim
        | Step::FenceTarget
        | Step::PrepareSource
        | Step::NoteSlot(_)
        | Step::Beat
        | Step::DropSlot(_)
        | Step::DropSourceRecord
        | Step::ReleaseTarget
        | Step::DropReverseSlot(_)
        | Step::DropTargetRecord
        | Step::ReleaseSource
        | Step::LowerTtl
        | Step::GiveBackRecord
        | Step::Decide(_)
        | Step::Latch(_)
        | Step::Move(_)
        | Step::Release => {}
    }
}

fn record(goal: &Goal, holder: Holder, system_identifier: i64) -> Record {
    Record::Present {
        migration: goal.migration.resource(),
        uid: goal.migration.uid.clone(),
        token: Token::fresh(holder),
        system_identifier,
        slots: Vec::new(),
    }
}

fn note(seen: &mut Seen, name: &str) {
    if let Ok(source) = &mut seen.database.source
        && let Record::Present { slots, .. } = &mut source.record
    {
        slots.push(name.to_owned());
    }
}

fn assume_connected(aws: &mut AwsSeen, side: Side) {
    let (Some(instance), Some(endpoint)) = (&aws.instance, aws.endpoints.get(side)) else { return };
    let connection = Connection {
        endpoint_arn: endpoint.arn.clone(),
        instance_arn: instance.arn.clone(),
        status: ConnectionStatus::Successful,
    };
    *aws.connections.get_mut(side) = Some(connection);
}

fn assume_task(goal: &Goal, aws: &mut AwsSeen) {
    let (Some(instance), Some(source), Some(target)) =
        (&aws.instance, &aws.endpoints.source, &aws.endpoints.target)
    else {
        return;
    };
    aws.task = Some(Task {
        arn: assumed_arn("task", &goal.names.task),
        identifier: goal.names.task.clone(),
        status: TaskStatus::Ready,
        stop_reason: None,
        started_at: None,
        stopped_at: None,
        full_load_finished: false,
        full_load_percent: 0,
        source_endpoint_arn: source.arn.clone(),
        target_endpoint_arn: target.arn.clone(),
        instance_arn: instance.arn.clone(),
        owner: Owner::Us,
    });
}

/// A real ARN's tail is generated by AWS; this one only has to be the same each time.
fn assumed_arn(kind: &str, identifier: &str) -> String {
    format!("arn:aws:dms:assumed:000000000000:{kind}:{identifier}")
}

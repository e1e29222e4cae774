//! Replication tasks: the calls. How their state moves on is in `lifecycle`.
//!
//! | from | call | to | source |
//! |---|---|---|---|
//! | - | create | creating, ready; does not start | API model of ReplicationTask.Status |
//! | ready | start `start-replication` | starting, running; the only legal type of a first run | API model of StartReplicationTask |
//! | stopped, failed | start `resume-processing` | starting, running; goes on from the checkpoint | API model |
//! | stopped, failed | start `reload-target` | starting, running; every table again | API model |
//! | stopped, failed | start `start-replication` | refused: full-load-and-cdc has run before | Terraform provider issue 24047 |
//! | any | start without two successful connections | `InvalidResourceStateFault` | cockroach issue 82182 |
//! | running | stop | stopping, stopped | API model |
//! | ready, stopped, failed | delete | deleting, gone | Terraform's provider; API model |
//! | other | any of these | `InvalidResourceStateFault` | API model |

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::statistics::{Progress, TaskStatsView};
use super::{Describe, Filter, Reply, Tag, epoch, filter, mappings, settings, tags};
use crate::plane::{Effect, Selection, Start, Stopped};
use crate::world::{Refusal, World, names};

/// The states of a task that this model passes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::world) enum Status {
    Creating,
    Ready,
    Starting,
    Running,
    Stopping,
    Stopped,
    Failed,
    Deleting,
}

impl Status {
    pub(in crate::world) fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Ready => "ready",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Deleting => "deleting",
        }
    }
}

#[derive(Clone, Debug)]
pub(in crate::world) struct Task {
    pub(in crate::world) identifier: String,
    pub(in crate::world) resource_id: String,
    pub(in crate::world) instance_arn: String,
    pub(super) source_arn: String,
    pub(super) target_arn: String,
    migration_type: String,
    mappings: String,
    pub(super) selections: Vec<Selection>,
    pub(super) settings: settings::Parsed,
    pub(in crate::world) status: Status,
    pub(super) due: Option<Timestamp>,
    pub(super) created: Timestamp,
    /// The first start, or the last reload.
    pub(super) fresh_start: Option<Timestamp>,
    pub(super) started: Option<Timestamp>,
    pub(super) ended: Option<Timestamp>,
    pub(super) stop_reason: Option<String>,
    pub(super) failure: Option<String>,
    pub(super) applied_lsn: Option<String>,
    /// Made by the first start, kept by a stop, replaced by a reload.
    pub(super) slot: Option<String>,
    pub(super) start: Option<Start>,
    /// A fault decided how this run will be said to have ended.
    pub(in crate::world) forced: Option<Stopped>,
    /// The data plane has ended, but `stopping` has not lasted long enough.
    pub(super) outcome: Option<Stopped>,
    pub(in crate::world) progress: Option<Progress>,
}

impl Task {
    pub(super) fn uses_endpoint(&self, arn: &str) -> bool {
        self.source_arn == arn || self.target_arn == arn
    }
}

/// `CreateReplicationTask`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct CreateReplicationTask {
    pub replication_task_identifier: String,
    pub source_endpoint_arn: String,
    pub target_endpoint_arn: String,
    pub replication_instance_arn: String,
    pub migration_type: String,
    pub table_mappings: String,
    pub replication_task_settings: Option<String>,
    #[serde(default)]
    pub tags: Vec<Tag>,
    pub resource_identifier: Option<String>,
}

/// `DescribeReplicationTasks`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct DescribeReplicationTasks {
    #[serde(default)]
    pub filters: Vec<Filter>,
    pub max_records: Option<usize>,
    pub marker: Option<String>,
    pub without_settings: Option<bool>,
}

/// `StartReplicationTask`
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct StartReplicationTask {
    pub replication_task_arn: String,
    pub start_replication_task_type: String,
}

/// `StopReplicationTask` and `DeleteReplicationTask`
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct TaskByArn {
    pub replication_task_arn: String,
}

/// A task as AWS shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct TaskView {
    pub replication_task_identifier: String,
    pub replication_task_arn: String,
    pub source_endpoint_arn: String,
    pub target_endpoint_arn: String,
    pub replication_instance_arn: String,
    pub migration_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table_mappings: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replication_task_settings: Option<String>,
    pub status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure_message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<String>,
    #[serde(with = "epoch")]
    pub replication_task_creation_date: Option<Timestamp>,
    #[serde(with = "epoch", skip_serializing_if = "Option::is_none")]
    pub replication_task_start_date: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery_checkpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replication_task_stats: Option<TaskStatsView>,
}

impl World {
    pub(super) fn create_task(&mut self, call: CreateReplicationTask) -> Result<Reply, Refusal> {
        let identifier = call.replication_task_identifier.clone();
        names::check("ReplicationTaskIdentifier", &identifier, 255)?;
        let new_tags = tags::checked(&call.tags)?;
        match call.migration_type.as_str() {
            "full-load-and-cdc" => {}
            other @ ("full-load" | "cdc") => {
                return Err(Refusal::not_modelled(format!("tasks with MigrationType {other}")));
            }
            other => return Err(Refusal::value(format!("MigrationType {other:?} is not known"))),
        }
        let selections = mappings::parse(&call.table_mappings)?;
        let settings = settings::parse(call.replication_task_settings.as_deref())?;
        self.check_parts(&call)?;
        if let Some((arn, _)) =
            self.dms.tasks.iter().find(|(_, task)| task.identifier.eq_ignore_ascii_case(&identifier))
        {
            return Err(Refusal::exists("replication task", &identifier, arn));
        }
        if self.dms.tasks.len() >= 600 {
            return Err(Refusal::quota("replication tasks", 600));
        }
        let resource_id = self.names.tail(call.resource_identifier.as_deref())?;
        let arn = self.names.arn("dms", "task", &resource_id);
        if self.dms.tasks.contains_key(&arn) {
            return Err(Refusal::exists("replication task", &resource_id, &arn));
        }
        let task = Task {
            identifier,
            resource_id,
            instance_arn: call.replication_instance_arn,
            source_arn: call.source_endpoint_arn,
            target_arn: call.target_endpoint_arn,
            migration_type: call.migration_type,
            mappings: call.table_mappings,
            selections,
            settings,
            status: Status::Creating,
            due: Some(self.now + self.delays.task_create),
            created: self.now,
            fresh_start: None,
            started: None,
            ended: None,
            stop_reason: None,
            failure: None,
            applied_lsn: None,
            slot: None,
            start: None,
            forced: None,
            outcome: None,
            progress: None,
        };
        let view = self.task_view(&arn, &task, true);
        self.dms.tasks.insert(arn.clone(), task);
        self.dms.tags.insert(arn, new_tags);
        Ok(Reply::Task(Box::new(view)))
    }

    /// The instance is there and available, the endpoints are there, active, and of the right kinds.
    fn check_parts(&self, call: &CreateReplicationTask) -> Result<(), Refusal> {
        let instance_arn = &call.replication_instance_arn;
        let instance = self.dms.instances.get(instance_arn).ok_or_else(|| {
            Refusal::not_found(format!("replication instance {instance_arn} does not exist"))
        })?;
        if instance.status != "available" {
            return Err(Refusal::state(format!(
                "replication instance {} is {}, a task can be created when it is available",
                instance.identifier, instance.status
            )));
        }
        for (arn, source) in [(&call.source_endpoint_arn, true), (&call.target_endpoint_arn, false)] {
            let endpoint = self
                .dms
                .endpoints
                .get(arn)
                .ok_or_else(|| Refusal::not_found(format!("endpoint {arn} does not exist")))?;
            if endpoint.source != source {
                return Err(Refusal::combination(format!(
                    "endpoint {} is not a {} endpoint",
                    endpoint.identifier,
                    if source { "source" } else { "target" }
                )));
            }
            if endpoint.status != "active" {
                return Err(Refusal::state(format!(
                    "endpoint {} is {}, a task can be created when it is active",
                    endpoint.identifier, endpoint.status
                )));
            }
        }
        Ok(())
    }

    pub(super) fn describe_tasks(&self, call: &DescribeReplicationTasks) -> Result<Reply, Refusal> {
        let DescribeReplicationTasks { filters, max_records, marker, without_settings } = call.clone();
        let whole = without_settings != Some(true);
        let attributes = [
            "replication-task-id",
            "replication-task-arn",
            "migration-type",
            "endpoint-arn",
            "replication-instance-arn",
        ];
        // A task has two endpoints, and the filter means either: one asked for is shown as the one it has.
        let either: Vec<String> = filters
            .iter()
            .filter(|filter| filter.name == "endpoint-arn")
            .flat_map(|filter| filter.values.clone())
            .collect();
        let call = Describe { filters, max_records, marker };
        let all = self.dms.tasks.iter().map(|(arn, task)| {
            let endpoint = either.iter().find(|endpoint| task.uses_endpoint(endpoint)).cloned();
            let have = vec![
                task.identifier.clone(),
                arn.clone(),
                task.migration_type.clone(),
                endpoint.unwrap_or_default(),
                task.instance_arn.clone(),
            ];
            (arn.clone(), have, self.task_view(arn, task, whole))
        });
        filter::page(&call, 100, &attributes, self.switches, "replication task", all).map(Reply::Tasks)
    }

    pub(super) fn start_task(&mut self, call: &StartReplicationTask) -> Result<Reply, Refusal> {
        let arn = &call.replication_task_arn;
        let task = self.dms.tasks.get(arn).ok_or_else(|| unknown(arn))?;
        let again = match task.status {
            Status::Ready => false,
            Status::Stopped | Status::Failed => true,
            Status::Creating | Status::Starting | Status::Running | Status::Stopping | Status::Deleting => {
                return Err(wrong_state(task, "started"));
            }
        };
        let start = match (call.start_replication_task_type.as_str(), again) {
            ("start-replication", false) => Start::FullLoadAndCdc,
            ("start-replication", true) => {
                return Err(Refusal::combination(
                    "Start Type : START_REPLICATION, valid only for tasks running for the first time",
                ));
            }
            // A first run that never got as far as a slot has nothing to resume: it begins anew.
            ("resume-processing", true) => match &task.slot {
                Some(slot) => Start::Resume { slot: slot.clone() },
                None => Start::FullLoadAndCdc,
            },
            ("reload-target", true) => Start::Reload,
            ("resume-processing" | "reload-target", false) => {
                return Err(Refusal::state(format!(
                    "replication task {} has never run: start it with start-replication",
                    task.identifier
                )));
            }
            (other, _) => {
                return Err(Refusal::value(format!("StartReplicationTaskType {other:?} is not known")));
            }
        };
        let (instance_arn, endpoints) =
            (task.instance_arn.clone(), [task.source_arn.clone(), task.target_arn.clone()]);
        if let Some(refusal) = self.untested(&instance_arn, [&endpoints[0], &endpoints[1]]) {
            return Err(refusal);
        }
        let due = self.now + self.delays.task_start;
        let task = self.dms.tasks.get_mut(arn).ok_or_else(|| unknown(arn))?;
        task.status = Status::Starting;
        task.due = Some(due);
        task.start = Some(start);
        task.stop_reason = None;
        task.failure = None;
        task.outcome = None;
        task.forced = None;
        Ok(self.task_reply(arn))
    }

    pub(super) fn stop_task(&mut self, call: &TaskByArn) -> Result<Reply, Refusal> {
        let arn = &call.replication_task_arn;
        let due = self.now + self.delays.task_stop;
        let task = self.dms.tasks.get_mut(arn).ok_or_else(|| unknown(arn))?;
        if task.status != Status::Running {
            return Err(wrong_state(task, "stopped"));
        }
        task.status = Status::Stopping;
        task.due = Some(due);
        self.outbox.push(Effect::StopTask { task_arn: arn.clone() });
        Ok(self.task_reply(arn))
    }

    pub(super) fn delete_task(&mut self, call: &TaskByArn) -> Result<Reply, Refusal> {
        let arn = &call.replication_task_arn;
        let due = self.now + self.delays.task_delete;
        let task = self.dms.tasks.get_mut(arn).ok_or_else(|| unknown(arn))?;
        if ![Status::Ready, Status::Stopped, Status::Failed].contains(&task.status) {
            return Err(wrong_state(task, "deleted"));
        }
        task.status = Status::Deleting;
        task.due = Some(due);
        Ok(self.task_reply(arn))
    }

    fn task_reply(&self, arn: &str) -> Reply {
        Reply::Task(Box::new(self.task_view(arn, &self.dms.tasks[arn], true)))
    }

    fn task_view(&self, arn: &str, task: &Task, whole: bool) -> TaskView {
        let at_rest = [Status::Stopped, Status::Failed].contains(&task.status);
        TaskView {
            replication_task_identifier: task.identifier.clone(),
            replication_task_arn: arn.to_owned(),
            source_endpoint_arn: task.source_arn.clone(),
            target_endpoint_arn: task.target_arn.clone(),
            replication_instance_arn: task.instance_arn.clone(),
            migration_type: task.migration_type.clone(),
            table_mappings: whole.then(|| task.mappings.clone()),
            replication_task_settings: whole.then(|| task.settings.shown(&task.resource_id)),
            status: task.status.as_str().to_owned(),
            last_failure_message: task.failure.clone(),
            stop_reason: task.stop_reason.clone(),
            replication_task_creation_date: Some(task.created),
            replication_task_start_date: task.started,
            recovery_checkpoint: task.applied_lsn.as_ref().filter(|_| at_rest).map(|lsn| checkpoint(lsn)),
            replication_task_stats: task.stats(self.now),
        }
    }
}

/// `4AF/B00000D0` as the third field of a checkpoint.
fn checkpoint(lsn: &str) -> String {
    let (high, low) = lsn.split_once('/').unwrap_or(("0", lsn));
    format!("checkpoint:V1#1#{high:0>8}/{low:0>8}#0#0#*#0#0")
}

fn unknown(arn: &str) -> Refusal {
    Refusal::not_found(format!("replication task {arn} does not exist"))
}

fn wrong_state(task: &Task, wish: &str) -> Refusal {
    Refusal::state(format!(
        "replication task {} is {}, so it can't be {wish}",
        task.identifier,
        task.status.as_str()
    ))
}

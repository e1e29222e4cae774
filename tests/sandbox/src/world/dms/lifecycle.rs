//! How a task's state moves on by itself: as time passes, and as the data plane reports.
//!
//! | from | when | to | source |
//! |---|---|---|---|
//! | creating | time | ready | API model of ReplicationTask.Status |
//! | starting | time, then the data plane holds its connections and slot | running | same |
//! | stopping | time, and the data plane has ended | stopped, `Stop Reason NORMAL` | API model of StopReason |
//! | starting, running, stopping | an error | failed, `Stop Reason RECOVERABLE_ERROR` or `FATAL_ERROR` | API model; switch `failed-shows-stopped` |
//! | running | its role loses its rights or its login on a database | failed, and nothing is skipped | unverified; switch `task-waits-for-rights`: running until they are back |
//! | deleting | time | gone | `ReplicationTaskDeleted` waiter |

use super::statistics::Progress;
use super::task::{Status, Task};
use crate::plane::{self, Effect, Report, Start, Stopped};
use crate::world::World;

impl World {
    pub(super) fn settle_tasks(&mut self) {
        let now = self.now;
        let due: Vec<String> = self
            .dms
            .tasks
            .iter()
            .filter(|(_, task)| task.due.is_some_and(|due| due <= now))
            .map(|(arn, _)| arn.clone())
            .collect();
        for arn in due {
            self.settle_task(&arn);
        }
    }

    fn settle_task(&mut self, arn: &str) {
        let Some(task) = self.dms.tasks.get_mut(arn) else { return };
        task.due = None;
        match task.status {
            Status::Creating => task.status = Status::Ready,
            Status::Starting => self.begin_run(arn),
            Status::Stopping => {
                if let Some(reason) = task.outcome.take() {
                    self.end_run(arn, reason);
                }
            }
            Status::Deleting => self.forget_task(arn),
            // Nothing is scheduled for these.
            Status::Ready | Status::Running | Status::Stopped | Status::Failed => {}
        }
    }

    /// Asks the data plane to run the task with its endpoints as they are now.
    fn begin_run(&mut self, arn: &str) {
        let Some(task) = self.dms.tasks.get(arn) else { return };
        let (Some(source), Some(target)) =
            (self.database_of(&task.source_arn), self.database_of(&task.target_arn))
        else {
            self.end_run(arn, Stopped::Fatal("an endpoint of the task no longer exists".to_owned()));
            return;
        };
        let run = plane::Task {
            resource_id: task.resource_id.clone(),
            source,
            target,
            selections: task.selections.clone(),
            settings: task.settings.plane.clone(),
            waits_for_rights: self.switches.task_waits_for_rights,
            apply_latency: self.delays.apply.unsigned_abs(),
        };
        let now = self.now;
        let Some(task) = self.dms.tasks.get_mut(arn) else { return };
        let start = task.start.take().unwrap_or(Start::FullLoadAndCdc);
        if !matches!(start, Start::Resume { .. }) {
            task.fresh_start = Some(now);
            task.progress = None;
            task.applied_lsn = None;
        }
        task.started = Some(now);
        task.ended = None;
        self.outbox.push(Effect::StartTask { task_arn: arn.to_owned(), task: Box::new(run), start });
    }

    pub(in crate::world) fn task_running(&mut self, arn: &str, slot: String) {
        let Some(task) = self.dms.tasks.get_mut(arn) else { return };
        if task.status == Status::Starting && task.due.is_none() {
            task.status = Status::Running;
            task.slot = Some(slot);
        }
    }

    pub(in crate::world) fn task_progress(&mut self, report: Report) {
        let now = self.now;
        let Report::TaskProgress {
            task_arn,
            tables,
            full_load_done,
            latency_source_seconds,
            latency_target_seconds,
            waiting_changes,
            applied_lsn,
        } = report
        else {
            return;
        };
        let Some(task) = self.dms.tasks.get_mut(&task_arn) else { return };
        if !task.runs() {
            return;
        }
        task.applied_lsn = applied_lsn.or_else(|| task.applied_lsn.take());
        task.progress = Some(Progress {
            tables,
            full_load_done,
            latency_source_seconds,
            latency_target_seconds,
            waiting_changes,
            at: now,
        });
    }

    pub(in crate::world) fn task_stopped(&mut self, arn: &str, reason: Stopped, applied_lsn: Option<String>) {
        let Some(task) = self.dms.tasks.get_mut(arn) else { return };
        if !task.runs() {
            return;
        }
        task.applied_lsn = applied_lsn.or_else(|| task.applied_lsn.take());
        let reason = task.forced.take().unwrap_or(reason);
        if task.status == Status::Stopping && task.due.is_some() && reason == Stopped::Normal {
            task.outcome = Some(reason);
        } else {
            self.end_run(arn, reason);
        }
    }

    fn end_run(&mut self, arn: &str, reason: Stopped) {
        let (now, shows_stopped) = (self.now, self.switches.failed_shows_stopped);
        let Some(task) = self.dms.tasks.get_mut(arn) else { return };
        let (reason, failure) = match reason {
            Stopped::Normal => ("NORMAL", None),
            Stopped::Recoverable(message) => ("RECOVERABLE_ERROR", Some(message)),
            Stopped::Fatal(message) => ("FATAL_ERROR", Some(message)),
        };
        task.status = if failure.is_none() || shows_stopped { Status::Stopped } else { Status::Failed };
        task.due = None;
        task.stop_reason = Some(format!("Stop Reason {reason}"));
        task.failure = failure;
        task.ended = Some(now);
    }

    pub(in crate::world) fn forget_task(&mut self, arn: &str) {
        self.dms.tasks.remove(arn);
        self.dms.tags.remove(arn);
    }
}

impl Task {
    /// The data plane has been asked to run it, and has not reported its end.
    pub(in crate::world) fn runs(&self) -> bool {
        match self.status {
            Status::Starting => self.due.is_none(),
            Status::Running => true,
            Status::Stopping => self.outcome.is_none(),
            Status::Creating | Status::Ready | Status::Stopped | Status::Failed | Status::Deleting => false,
        }
    }
}

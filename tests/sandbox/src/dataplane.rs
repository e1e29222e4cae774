//! What a running DMS task really does: connects as the DMS role, copies at a snapshot, decodes a slot, applies.
//!
//! Each task lives on its own connections and in its own tokio tasks. It shares nothing with the world but the words of
//! [`crate::plane`]: it learns by effects and answers by reports. All that must outlive a lost connection is on the two
//! servers: the slot on the source, the position and the finished loads in the control schema on the target.
//!
//! | module | holds |
//! |---|---|
//! | `connect` | connections with the endpoint's TLS mode, connection tests, which errors pass and which don't |
//! | `replication` | the replication protocol: slots, snapshots, the stream of a slot |
//! | `decoding` | the text of `test_decoding` |
//! | `catalog` | which tables are selected, their columns and keys |
//! | `control` | the control tables on the target |
//! | `copy` | the load of the tables at one snapshot |
//! | `capture` | reads the slot, keeps what is selected, confirms what is on the target |
//! | `statement` | SQL for one change |
//! | `apply` | source transactions onto the target, the position with them |
//! | `progress` | what was measured, and the reports |
//! | `validate` | compares both sides row by row in the background |
//! | `task` | one task from start to stop, over as many connections as it takes |

mod apply;
mod capture;
mod catalog;
mod connect;
mod control;
mod copy;
mod decoding;
mod progress;
mod replication;
mod statement;
mod task;
mod validate;

#[cfg(test)]
mod tests;

use std::{collections::HashMap, future::Future};

use tokio::{
    sync::{mpsc, watch},
    task::{JoinError, JoinHandle, JoinSet},
};

use crate::plane::{Effect, Report, Stopped};
use progress::Ledger;

/// A tokio task that ends when its owner does.
pub(crate) struct Owned<T>(JoinHandle<T>);

impl<T: Send + 'static> Owned<T> {
    pub(crate) fn spawn(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }

    /// Waits for the end of the work; `None` if it was aborted or panicked.
    pub(crate) async fn ended(&mut self) -> Option<T> {
        (&mut self.0).await.ok()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The data plane: takes effects, does the work, sends reports. Dropping it ends all its work and connections.
pub struct DataPlane {
    manager: Owned<()>,
}

impl DataPlane {
    /// Starts working on `effects`. Must be called within a tokio runtime.
    pub fn start(effects: mpsc::Receiver<Effect>, reports: mpsc::Sender<Report>) -> Self {
        Self { manager: Owned::spawn(manage(effects, reports)) }
    }

    /// Ends all work now, as a power cut would: what was not committed on a server is not there.
    pub async fn stop(mut self) {
        self.manager.0.abort();
        self.manager.ended().await;
    }
}

/// A task that was started at least once. Its counters outlive a stop, as AWS's do.
struct Known {
    stop: watch::Sender<bool>,
    ledger: Ledger,
    running: Option<tokio::task::Id>,
}

async fn manage(mut effects: mpsc::Receiver<Effect>, reports: mpsc::Sender<Report>) {
    // Each ends with its last report. It's sent from here, when the task may be started again already: whoever hears
    // that a task has stopped may order its start at once.
    let mut work: JoinSet<Report> = JoinSet::new();
    let mut tasks: HashMap<String, Known> = HashMap::new();
    loop {
        let effect = tokio::select! {
            effect = effects.recv() => match effect {
                Some(effect) => effect,
                None => return,
            },
            Some(ended) = work.join_next_with_id() => {
                let (id, report) = match ended {
                    Ok((id, report)) => (id, Some(report)),
                    Err(error) => (error.id(), crashed(&tasks, &error)),
                };
                for task in tasks.values_mut().filter(|task| task.running == Some(id)) {
                    task.running = None;
                }
                if let Some(report) = report {
                    // Nobody left to tell is no reason to fail.
                    let _ = reports.send(report).await;
                }
                continue;
            }
        };
        match effect {
            Effect::TestConnection { instance_arn, endpoint_arn, database } => {
                work.spawn(async move {
                    let result = connect::test(&database).await;
                    Report::ConnectionTested { instance_arn, endpoint_arn, result }
                });
            }
            Effect::StartTask { task_arn, task, start } => {
                let known = tasks.entry(task_arn.clone()).or_insert_with(|| Known {
                    stop: watch::Sender::new(false),
                    ledger: Ledger::default(),
                    running: None,
                });
                if known.running.is_some() {
                    tracing::warn!(task_arn, "asked to start a task that runs already");
                    continue;
                }
                known.stop = watch::Sender::new(false);
                let run = task::run(
                    task_arn,
                    *task,
                    start,
                    known.ledger.clone(),
                    known.stop.subscribe(),
                    reports.clone(),
                );
                known.running = Some(work.spawn(run).id());
            }
            Effect::StopTask { task_arn } => {
                if let Some(known) = tasks.get(&task_arn) {
                    known.stop.send_replace(true);
                } else {
                    let reason = Stopped::Normal;
                    let _ = reports.send(Report::TaskStopped { task_arn, reason, applied_lsn: None }).await;
                }
            }
        }
    }
}

/// The last report of a task that could not give it.
fn crashed(tasks: &HashMap<String, Known>, error: &JoinError) -> Option<Report> {
    tracing::error!(%error, "a task of the data plane ended badly");
    let (task_arn, _) = tasks.iter().find(|(_, task)| task.running == Some(error.id()))?;
    let reason = Stopped::Fatal(format!("the replication task crashed: {error}"));
    Some(Report::TaskStopped { task_arn: task_arn.clone(), reason, applied_lsn: None })
}

//! Places at which the operator is killed, each found by its effect and never by the time.

use std::path::Path;
use std::time::Duration;

use kube::Api;
use kube::api::DynamicObject;
use sandbox::bank;
use sandbox::cluster::audit;
use sandbox::postgres::{Server, connect_local};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::journey::{Journey, View};

const LOOK: Duration = Duration::from_millis(1);

/// The migration during whose course the operator is killed.
#[derive(Clone)]
pub struct Subject {
    pub name: &'static str,
    /// As the API server's log has it.
    pub resource: &'static str,
    pub api: Api<DynamicObject>,
}

/// Where the operator is killed. Counts begin at 1, when the point is armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// This call that changes AWS has had its effect, and the operator never has the answer.
    Change(usize),
    /// The operator has had the answer to this call that changes AWS, and makes its next call.
    Answer(usize),
    /// This write to the migration is done: the finalizer, the intent, a status.
    Write(usize),
    /// A transaction waits in its midst, and is never committed.
    Inside(Work),
    /// A transaction was committed.
    Committed(Work),
}

/// What the operator does in a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    FenceTarget,
    PrepareSource,
    NoteSlot,
    Beat,
    DropSlot,
    DropSourceRecord,
    ReleaseTarget,
}

/// The schema's lock, that every change of the record takes first.
const RECORD: &str = "SELECT pg_advisory_lock(x'736c6970776179'::bigint)";
const WAITS: &str = "SELECT EXISTS (SELECT FROM pg_stat_activity
    WHERE usename = 'slipway_operator' AND wait_event_type = 'Lock')";

impl Work {
    /// Whether this happens on the source.
    fn on_source(self) -> bool {
        !matches!(self, Self::FenceTarget | Self::ReleaseTarget | Self::Beat)
    }

    /// Whether it was committed; fails while a table is missing.
    fn is_done(self) -> &'static str {
        match self {
            Self::FenceTarget => "SELECT EXISTS (SELECT FROM slipway.token WHERE uid <> '')",
            Self::PrepareSource => "SELECT to_regclass('slipway.token') IS NOT NULL",
            Self::NoteSlot => "SELECT EXISTS (SELECT FROM slipway.slot)",
            Self::Beat => "SELECT EXISTS (SELECT FROM slipway.marker)",
            Self::DropSlot => "SELECT NOT EXISTS (SELECT FROM pg_replication_slots WHERE NOT temporary)",
            Self::DropSourceRecord => "SELECT to_regclass('slipway.token') IS NULL",
            Self::ReleaseTarget => "SELECT EXISTS (SELECT FROM slipway.token WHERE uid = '')",
        }
    }

    /// What makes it wait half done; fails while there is nothing to lock.
    fn lock(self) -> &'static str {
        match self {
            Self::NoteSlot => "BEGIN; LOCK TABLE slipway.slot IN EXCLUSIVE MODE",
            _ => RECORD,
        }
    }
}

/// A point that the operator runs towards.
pub struct Armed<'a> {
    journey: &'a Journey,
    subject: Subject,
    looker: Option<JoinHandle<()>>,
}

/// Sees to it that the running operator is killed there.
pub fn arm<'a>(journey: &'a Journey, subject: &Subject, point: Point) -> Armed<'a> {
    let kill = journey.operator().unwrap().killer();
    let server = |work: Work| -> String {
        let sandbox = &journey.sandbox;
        let server: &Server = if work.on_source() { &sandbox.source } else { &sandbox.target };
        server.superuser_dsn(bank::DATABASE)
    };
    let looker = match point {
        Point::Change(number) => {
            let mut seen = 0;
            journey.sandbox.aws.on_call(move |call| {
                seen += usize::from(call.mutating);
                if seen == number && call.mutating {
                    kill();
                }
            });
            None
        }
        Point::Answer(number) => {
            let mut seen = 0;
            journey.sandbox.aws.on_call(move |call| {
                if seen == number {
                    kill();
                }
                seen += usize::from(call.mutating);
            });
            None
        }
        Point::Write(number) => {
            let log = journey.sandbox.cluster.audit_log.clone();
            let resource = subject.resource;
            let before = writes(&log, resource);
            Some(tokio::spawn(async move {
                while writes(&log, resource) < before + number {
                    sleep(LOOK).await;
                }
                kill();
            }))
        }
        Point::Inside(work) => {
            let dsn = server(work);
            Some(tokio::spawn(async move {
                let holder = connect_local(&dsn).await.unwrap();
                while holder.batch_execute(work.lock()).await.is_err() {
                    let _ = holder.batch_execute("ROLLBACK").await;
                    sleep(LOOK).await;
                }
                let looker = connect_local(&dsn).await.unwrap();
                while !looker.query_one(WAITS, &[]).await.unwrap().get::<_, bool>(0) {
                    sleep(LOOK).await;
                }
                kill();
            }))
        }
        Point::Committed(work) => {
            let dsn = server(work);
            Some(tokio::spawn(async move {
                let looker = connect_local(&dsn).await.unwrap();
                while !looker.query_one(work.is_done(), &[]).await.is_ok_and(|row| row.get(0)) {
                    sleep(LOOK).await;
                }
                kill();
            }))
        }
    };
    Armed { journey, subject: subject.clone(), looker }
}

impl Armed<'_> {
    /// Waits until the operator was killed there. False if it had reached the end before.
    pub async fn struck(self, reached: impl Fn(Option<&View>) -> bool) -> bool {
        let struck = dead_or(self.journey, &self.subject, reached).await;
        self.journey.sandbox.aws.off_call();
        if let Some(looker) = self.looker {
            looker.abort();
            // Its sessions are closed, and its locks free, when it is gone.
            let _ = looker.await;
        }
        struck
    }
}

/// Waits until the operator is dead, or, which is false, until the migration is as wanted; `None` is a migration that is
/// gone.
pub async fn dead_or(journey: &Journey, subject: &Subject, reached: impl Fn(Option<&View>) -> bool) -> bool {
    let begun = tokio::time::Instant::now();
    loop {
        if !journey.operator().unwrap().is_running() {
            return true;
        }
        let found = subject.api.get_opt(subject.name).await.unwrap();
        let view = found.as_ref().map(View::of);
        if reached(view.as_ref()) {
            return false;
        }
        assert!(
            begun.elapsed() < crate::journey::PATIENCE,
            "neither killed nor at the end: {}\n{}",
            view.map(|view| view.describe()).unwrap_or_default(),
            journey.operator_log()
        );
        sleep(Duration::from_millis(20)).await;
    }
}

/// How often the operator wrote resources of a kind, by the API server's log.
pub fn writes(log: &Path, resource: &str) -> usize {
    let all = audit::writes(log).unwrap();
    all.iter().filter(|write| write.is_by_operator() && write.resource == resource).count()
}

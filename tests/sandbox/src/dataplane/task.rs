//! One task from start to stop, over as many connections as it takes.
//!
//! Every error ends the session, that is all of the task's connections; the next session reads from the servers where
//! things stand. A table's load and a transaction's changes are each committed with the note that says so, so a session
//! may end anywhere.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::{mpsc, watch};

use super::{
    Owned,
    apply::Applier,
    capture::{Capture, Followed},
    catalog::{self, Shape},
    connect::{Failure, Session, session, target_session},
    control::Control,
    copy::{self, Load, source_position},
    progress::Ledger,
    replication::{Lsn, Replication},
    validate::Validator,
};
use crate::plane::{Report, Start, Stopped, TableName, Task};

/// Failures without a session in between are borne for so long.
const PATIENCE: Duration = Duration::from_mins(1);
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// A session that lived so long was a good one: the next may follow at once.
const LIVED: Duration = Duration::from_secs(1);

/// Runs a task and reports on it until it has ended; the last report is the result.
pub(super) async fn run(
    task_arn: String,
    task: Task,
    start: Start,
    ledger: Ledger,
    stop: watch::Receiver<bool>,
    reports: mpsc::Sender<Report>,
) -> Report {
    if !matches!(start, Start::Resume { .. }) {
        ledger.reset();
    }
    let control = Control::new(&task);
    let slot = match &start {
        Start::Resume { slot } => Slot::Made(slot.clone()),
        Start::FullLoadAndCdc => Slot::Unnamed { drop_older: false },
        Start::Reload => Slot::Unnamed { drop_older: true },
    };
    let mut run = Run {
        task_arn: task_arn.clone(),
        task,
        control,
        ledger: ledger.clone(),
        stop,
        reports: reports.clone(),
        forget: !matches!(slot, Slot::Made(_)),
        slot,
        tables: Vec::new(),
        load_end: Lsn::default(),
        sessions: 0,
        told: false,
        reached: false,
    };
    let mut reporter = Owned::spawn(ledger.clone().keep_reporting(task_arn.clone(), reports.clone()));
    let reason = run.until_stopped().await;
    reporter.0.abort();
    reporter.ended().await;
    drop(run);
    // Nobody left to tell is no reason to fail.
    let _ = reports.send(ledger.report(&task_arn)).await;
    Report::TaskStopped { task_arn, reason, applied_lsn: ledger.applied() }
}

/// How far the task's slot has come.
enum Slot {
    Unnamed {
        /// A reload makes a new slot instead of those before.
        drop_older: bool,
    },
    /// It may be there: the answer to its creation may have been lost.
    Named(String),
    /// It was there. If it isn't now, changes are lost.
    Made(String),
}

struct Run {
    task_arn: String,
    task: Task,
    control: Control,
    ledger: Ledger,
    stop: watch::Receiver<bool>,
    reports: mpsc::Sender<Report>,
    /// What the control tables hold of an earlier start is not wanted; until that was done once.
    forget: bool,
    slot: Slot,
    tables: Vec<TableName>,
    /// The full load is done when the target is here: where the source was when the last table was loaded.
    load_end: Lsn,
    sessions: u32,
    told: bool,
    /// The session got as far as holding its slot and connections.
    reached: bool,
}

/// What a session holds once it is set up.
struct Ground {
    slot: String,
    source: Session,
    target: Session,
    at: Lsn,
    followed: HashMap<TableName, Followed>,
    stream: Replication,
    load: Option<(Load, Replication)>,
}

impl Run {
    async fn until_stopped(&mut self) -> Stopped {
        let mut failing: Option<Instant> = None;
        let mut pause = BACKOFF.0;
        loop {
            self.reached = false;
            let begun = Instant::now();
            let failure = match Box::pin(self.session()).await {
                Ok(()) => return Stopped::Normal,
                Err(failure) => failure,
            };
            let (why, denied) = match failure {
                Failure::Denied(why) if self.task.waits_for_rights => (why, true),
                Failure::Fatal(why) | Failure::Denied(why) => {
                    tracing::error!(task = self.task_arn, error = why, "the task has failed");
                    return Stopped::Fatal(why);
                }
                Failure::Lost(why) => (why, false),
            };
            tracing::warn!(task = self.task_arn, error = why, "the task's session was lost");
            if self.reached || denied {
                failing = None;
            }
            if begun.elapsed() >= LIVED {
                pause = BACKOFF.0;
            }
            if !denied && failing.get_or_insert_with(Instant::now).elapsed() >= PATIENCE {
                return Stopped::Recoverable(format!(
                    "no session for {} s, giving up: {why}",
                    PATIENCE.as_secs()
                ));
            }
            tokio::select! {
                _ = self.stop.wait_for(|stop| *stop) => return Stopped::Normal,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(BACKOFF.1);
        }
    }

    /// From connecting to the first error, or to the order to stop.
    async fn session(&mut self) -> Result<(), Failure> {
        self.sessions += 1;
        let mut stop = self.stop.clone();
        let ground = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
            ground = Box::pin(self.prepare()) => ground?,
        };
        let Ground { slot, source, target, at, followed, stream, load } = ground;
        self.reached = true;
        if !self.told {
            let _ = self.reports.send(Report::TaskRunning { task_arn: self.task_arn.clone(), slot }).await;
            self.told = true;
        }

        let followed = Arc::new(followed);
        let (applied, applied_seen) = watch::channel(at);
        let (safe, mut safe_seen) = watch::channel(at);
        let (capture, mut transactions) =
            Capture::new(stream, at, followed.clone(), self.ledger.clone(), applied_seen, safe);
        let mut capture = Owned::spawn(capture.run());
        let reader_ended = |failure: Option<Failure>| {
            failure.unwrap_or(Failure::Lost("the reader of the slot ended".into()))
        };

        if let Some((load, holder)) = load {
            let mut load = Owned::spawn(copy::run(load, holder));
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
                failure = capture.ended() => return Err(reader_ended(failure)),
                ended = load.ended() => {
                    ended.unwrap_or_else(|| Err(Failure::Lost("the load ended".into())))?;
                }
            }
            self.load_end = source_position(&source).await?;
        }
        drop(source);

        let mut writer = Applier {
            target,
            control: self.control.clone(),
            settings: self.task.settings.clone(),
            latency: self.task.apply_latency,
            ledger: self.ledger.clone(),
            at,
            applied,
        };
        let validator = Validator {
            task: self.task.clone(),
            followed,
            ledger: self.ledger.clone(),
            safe: safe_seen.clone(),
        };
        let (ledger, load_end) = (self.ledger.clone(), self.load_end);
        let validation = self.task.settings.validation;
        let _afterwards = Owned::spawn(async move {
            if safe_seen.wait_for(|safe| *safe >= load_end).await.is_ok() {
                ledger.full_load_is_done();
                if validation {
                    validator.run().await;
                }
            }
        });
        tokio::select! {
            biased;
            ended = writer.run(&mut transactions, &mut stop) => ended,
            failure = capture.ended() => Err(reader_ended(failure)),
        }
    }

    async fn prepare(&mut self) -> Result<Ground, Failure> {
        let schema = &self.task.settings.control_schema;
        let target = target_session(&self.task.target, "AWS DMS apply").await?;
        self.control.prepare(&target.client, schema).await?;
        if self.forget {
            self.control.forget(&target.client).await?;
            self.forget = false;
        }
        let at = self.control.position(&target.client).await?;
        self.ledger.reconnected(at);

        let source = session(&self.task.source, "AWS DMS").await?;
        if self.tables.is_empty() {
            self.tables = catalog::tables(&source.client, &self.task.selections).await?;
        }
        if self.tables.is_empty() {
            return Err(Failure::Fatal(
                "No tables were found at task initialization: no table of the source fits the selection rules"
                    .into(),
            ));
        }
        let source_shapes = catalog::shapes(&source.client, &self.tables).await?;
        let target_shapes = catalog::shapes(&target.client, &self.tables).await?;
        let loads = self.control.loads(&target.client, &self.tables).await?;
        let loaded = self.tables.iter().map(|table| (table, loads.get(table)));
        self.ledger.tables(loaded, self.task.settings.validation);
        let pending: Vec<TableName> =
            self.tables.iter().filter(|table| !loads.contains_key(table)).cloned().collect();
        for table in &self.tables {
            let missing = if source_shapes.contains_key(table) { "target" } else { "source" };
            if source_shapes.contains_key(table) && target_shapes.contains_key(table) {
                continue;
            }
            self.ledger.load_fails(table);
            return Err(Failure::Fatal(format!(
                "table {}.{} does not exist on the {missing} as an ordinary table; load the schema there first",
                table.schema, table.name
            )));
        }

        let slot = self.hold_slot(&source).await?;
        let mut snapshot_at = Lsn::default();
        let mut load = None;
        if !pending.is_empty() {
            // A second slot, for its snapshot alone: every load, also one after a lost connection, knows exactly which
            // transactions of the first slot it holds already.
            let mut holder = Replication::connect(&self.task.source).await?;
            let created = holder.create_slot(&format!("{slot}_l{}", self.sessions), true, true).await?;
            snapshot_at = created.consistent;
            let tables = pending
                .iter()
                .filter_map(|table| Some((table.clone(), source_shapes.get(table)?.clone())))
                .collect();
            let work = Load {
                task: self.task.clone(),
                control: self.control.clone(),
                ledger: self.ledger.clone(),
                tables,
                created,
            };
            load = Some((work, holder));
        }
        let mut followed = HashMap::new();
        for (table, shape) in target_shapes {
            let loaded_at = loads.get(&table).map_or(snapshot_at, |loaded| loaded.at);
            self.load_end = self.load_end.max(loaded_at);
            let whole_row_identity = source_shapes.get(&table).is_some_and(|shape| shape.whole_row_identity);
            followed.insert(table, Followed { shape: Shape { whole_row_identity, ..shape }, loaded_at });
        }
        let mut stream = Replication::connect(&self.task.source).await?;
        let system = stream.identify().await?;
        stream.start(&slot, at).await?;
        tracing::info!(task = self.task_arn, slot, system, %at, "following the source");
        Ok(Ground { slot, source, target, at, followed, stream, load })
    }

    /// Makes the slot, or makes sure that it's there.
    async fn hold_slot(&mut self, source: &Session) -> Result<String, Failure> {
        let failed = |error| Failure::of("reading the source's replication slots", &error);
        let (name, made) = match &self.slot {
            Slot::Made(name) => (name.clone(), true),
            Slot::Named(name) => (name.clone(), false),
            Slot::Unnamed { drop_older } => {
                let sql = "SELECT oid FROM pg_database WHERE datname = current_database()";
                let oid: u32 = source.client.query_one(sql, &[]).await.map_err(failed)?.get(0);
                let prefix = slot_prefix(&self.task.resource_id, oid);
                if *drop_older {
                    let sql = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots \
                               WHERE starts_with(slot_name::text, $1) AND NOT active AND NOT temporary";
                    source.client.execute(sql, &[&prefix]).await.map_err(failed)?;
                }
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let name = format!("{prefix}{:08x}", now.as_nanos() & 0xFFFF_FFFF);
                self.slot = Slot::Named(name.clone());
                (name, false)
            }
        };
        let sql = "SELECT COALESCE(wal_status, 'reserved'), COALESCE(plugin::text, '') \
                   FROM pg_replication_slots WHERE slot_name = $1";
        match source.client.query_opt(sql, &[&name]).await.map_err(failed)? {
            Some(row) if row.get::<_, &str>(0) == "lost" => {
                return Err(Failure::Fatal(format!(
                    "replication slot {name} was lost: the source removed log that it needed \
                     (max_slot_wal_keep_size); only a reload helps"
                )));
            }
            Some(row) if row.get::<_, &str>(1) != "test_decoding" => {
                let plugin: &str = row.get(1);
                return Err(Failure::Fatal(format!(
                    "replication slot {name} uses plugin {plugin:?}, not test_decoding"
                )));
            }
            Some(_) => {}
            None if made => {
                return Err(Failure::Fatal(format!(
                    "replication slot {name} does not exist on the source any more; changes since then can't be had, \
                     only a reload helps"
                )));
            }
            None => {
                Replication::connect(&self.task.source).await?.create_slot(&name, false, false).await?;
            }
        }
        self.slot = Slot::Made(name.clone());
        Ok(name)
    }
}

/// What DMS's own slot names begin with: the start of the task's resource id and the database's oid.
fn slot_prefix(resource_id: &str, database: u32) -> String {
    let id: String =
        resource_id.to_lowercase().chars().filter(char::is_ascii_alphanumeric).take(16).collect();
    format!("{id}_{database:08}_")
}

#[cfg(test)]
mod tests {
    use super::slot_prefix;

    #[test]
    fn slots_are_named_as_dms_names_them() {
        assert_eq!(slot_prefix("XPTO3XWNVEK6KQ3ZK7GNXQ5U3Y", 16_402), "xpto3xwnvek6kq3z_00016402_");
        assert_eq!(slot_prefix("A-b/C", 5), "abc_00000005_");
    }
}

//! What a task measured, and the reports made of it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::sync::mpsc;

use super::{control::Loaded, replication::Lsn};
use crate::plane::{Changes, Load, Report, TableName, TableReport, Validation};

/// Which counter a change belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Insert,
    Update,
    Delete,
}

/// A change that was captured: its table, its kind, and whether there is anything to apply.
pub(super) type Counted = (TableName, Kind, bool);

#[derive(Clone, Debug, Default)]
struct Entry {
    loading: Option<Load>,
    rows: u64,
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
    /// Captured, and the transaction is done with.
    settled: Changes,
    /// Captured, and still to be committed on the target.
    waiting: Changes,
    applied: Changes,
    validation: Option<Validation>,
    failed: u64,
}

struct InFlight {
    end: Lsn,
    committed: Timestamp,
    changes: Vec<Counted>,
}

#[derive(Default)]
struct Book {
    tables: BTreeMap<TableName, Entry>,
    in_flight: VecDeque<InFlight>,
    applied: Lsn,
    full_load_done: bool,
    /// The commit time of the last transaction captured and when that was; `None` while there is nothing to read.
    reading: Option<(Timestamp, Instant)>,
    /// The reader waits for room, not for the source.
    held_back: bool,
    version: u64,
}

/// The counters of one task, shared by its own tokio tasks only.
#[derive(Clone, Default)]
pub(super) struct Ledger(Arc<Mutex<Book>>);

fn count(changes: &mut Changes, kind: Kind, up: bool) {
    let counter = match kind {
        Kind::Insert => &mut changes.inserts,
        Kind::Update => &mut changes.updates,
        Kind::Delete => &mut changes.deletes,
    };
    *counter = if up { *counter + 1 } else { counter.saturating_sub(1) };
}

impl Ledger {
    fn read(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For news.
    fn book(&self) -> MutexGuard<'_, Book> {
        let mut book = self.read();
        book.version += 1;
        book
    }

    /// Begins again from nothing.
    pub(super) fn reset(&self) {
        *self.book() = Book::default();
    }

    /// New connections: what the target holds up to `applied` is settled, the rest will be captured again.
    pub(super) fn reconnected(&self, applied: Lsn) {
        self.settle(applied, &[]);
        let mut book = self.book();
        book.in_flight.clear();
        book.reading = None;
        book.held_back = false;
        book.tables.values_mut().for_each(|entry| entry.waiting = Changes::default());
    }

    /// The tables of the task, and the loads that are finished.
    pub(super) fn tables<'a>(
        &self,
        tables: impl Iterator<Item = (&'a TableName, Option<&'a Loaded>)>,
        validation: bool,
    ) {
        let mut book = self.book();
        for (table, loaded) in tables {
            let entry = book.tables.entry(table.clone()).or_default();
            entry.validation.get_or_insert(if validation {
                Validation::Pending
            } else {
                Validation::NotEnabled
            });
            match loaded {
                Some(loaded) => {
                    entry.loading = Some(Load::Completed);
                    entry.rows = loaded.rows;
                    entry.started = Some(loaded.started);
                    entry.ended = Some(loaded.ended);
                }
                None => entry.loading = Some(Load::Before),
            }
        }
    }

    /// A table's load begins.
    pub(super) fn load_begins(&self, table: &TableName) {
        if let Some(entry) = self.book().tables.get_mut(table) {
            entry.loading = Some(Load::Loading);
            entry.rows = 0;
            entry.started = Some(Timestamp::now());
            entry.ended = None;
        }
    }

    /// Rows copied so far.
    pub(super) fn loaded_rows(&self, table: &TableName, rows: u64) {
        if let Some(entry) = self.book().tables.get_mut(table) {
            entry.rows = rows;
        }
    }

    /// A table's load was committed.
    pub(super) fn load_ends(&self, table: &TableName, loaded: &Loaded) {
        if let Some(entry) = self.book().tables.get_mut(table) {
            entry.loading = Some(Load::Completed);
            entry.rows = loaded.rows;
            entry.started = Some(loaded.started);
            entry.ended = Some(loaded.ended);
        }
    }

    /// A table can't be loaded.
    pub(super) fn load_fails(&self, table: &TableName) {
        if let Some(entry) = self.book().tables.get_mut(table) {
            entry.loading = Some(Load::Error);
        }
    }

    /// All loads ended and what was cached meanwhile is applied.
    pub(super) fn full_load_is_done(&self) {
        self.book().full_load_done = true;
    }

    /// A transaction came out of the slot.
    pub(super) fn captured(&self, end: Lsn, committed: Timestamp, changes: Vec<Counted>) {
        let mut book = self.book();
        book.reading = Some((committed, Instant::now()));
        for (table, kind, _) in &changes {
            if let Some(entry) = book.tables.get_mut(table) {
                count(&mut entry.waiting, *kind, true);
            }
        }
        if !changes.is_empty() {
            book.in_flight.push_back(InFlight { end, committed, changes });
        }
    }

    /// The source has nothing more to read at the moment.
    pub(super) fn reader_idle(&self) {
        self.read().reading = None;
    }

    /// The reader waits until some of what it read is applied.
    pub(super) fn held_back(&self, held_back: bool) {
        self.book().held_back = held_back;
    }

    /// All transactions up to `end` are on the target, but for the `skipped` changes.
    pub(super) fn settle(&self, end: Lsn, skipped: &[(TableName, Kind)]) {
        let mut book = self.book();
        book.applied = end;
        while let Some(transaction) = book.in_flight.pop_front_if(|transaction| transaction.end <= end) {
            for (table, kind, applicable) in transaction.changes {
                let Some(entry) = book.tables.get_mut(&table) else { continue };
                count(&mut entry.waiting, kind, false);
                count(&mut entry.settled, kind, true);
                if applicable {
                    count(&mut entry.applied, kind, true);
                }
            }
        }
        for (table, kind) in skipped {
            if let Some(entry) = book.tables.get_mut(table) {
                count(&mut entry.applied, *kind, false);
            }
        }
    }

    /// How many changes of a table were captured.
    pub(super) fn captured_of(&self, table: &TableName) -> u64 {
        let book = self.read();
        let sum = |changes: &Changes| changes.inserts + changes.updates + changes.deletes;
        book.tables.get(table).map_or(0, |entry| sum(&entry.settled) + sum(&entry.waiting))
    }

    /// The outcome of a validation pass.
    pub(super) fn validated(&self, table: &TableName, validation: Validation, failed: u64) {
        if let Some(entry) = self.book().tables.get_mut(table) {
            entry.validation = Some(validation);
            entry.failed = failed;
        }
    }

    /// The last position applied, if any was.
    pub(super) fn applied(&self) -> Option<String> {
        let applied = self.read().applied;
        (applied > Lsn::default()).then(|| applied.to_string())
    }

    fn version(&self) -> u64 {
        self.read().version
    }

    /// The news as a report.
    pub(super) fn report(&self, task_arn: &str) -> Report {
        /// After so long without a commit the reader is idle, whether or not the source said so.
        const IDLE: Duration = Duration::from_millis(500);
        let book = self.read();
        let now = Timestamp::now();
        let age = |commit: Timestamp| now.duration_since(commit).as_secs_f64().max(0.0);
        let tables = book.tables.iter().map(|(table, entry)| TableReport {
            table: table.clone(),
            load: entry.loading.unwrap_or(Load::Before),
            full_load_rows: entry.rows,
            load_started: entry.started,
            load_ended: entry.ended,
            captured: Changes {
                inserts: entry.settled.inserts + entry.waiting.inserts,
                updates: entry.settled.updates + entry.waiting.updates,
                deletes: entry.settled.deletes + entry.waiting.deletes,
            },
            applied: entry.applied,
            validation: entry.validation.unwrap_or(Validation::NotEnabled),
            validation_failed: entry.failed,
        });
        Report::TaskProgress {
            task_arn: task_arn.to_owned(),
            tables: tables.collect(),
            full_load_done: book.full_load_done,
            latency_source_seconds: match book.reading {
                Some((commit, seen)) if book.held_back || seen.elapsed() < IDLE => age(commit),
                _ => 0.0,
            },
            latency_target_seconds: book.in_flight.front().map_or(0.0, |first| age(first.committed)),
            waiting_changes: book.in_flight.iter().map(|transaction| transaction.changes.len() as u64).sum(),
            applied_lsn: (book.applied > Lsn::default()).then(|| book.applied.to_string()),
        }
    }

    /// Sends reports for as long as anyone listens: soon after news, and now and then without.
    pub(super) async fn keep_reporting(self, task_arn: String, reports: mpsc::Sender<Report>) {
        const LOOK: Duration = Duration::from_millis(500);
        const WITHOUT_NEWS: Duration = Duration::from_secs(2);
        let (mut told, mut at) = (0, Instant::now());
        loop {
            tokio::time::sleep(LOOK).await;
            let version = self.version();
            if version != told || at.elapsed() >= WITHOUT_NEWS {
                (told, at) = (version, Instant::now());
                if reports.send(self.report(&task_arn)).await.is_err() {
                    return;
                }
            }
        }
    }
}

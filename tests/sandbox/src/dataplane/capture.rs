//! Reads the slot, keeps what is selected and new, and confirms to the source what is safe on the target.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::{Instant, Interval, MissedTickBehavior, interval},
};

use super::{
    catalog::Shape,
    connect::Failure,
    decoding::{Change, Line, parse},
    progress::{Kind, Ledger},
    replication::{Frame, Lsn, Replication},
    statement::statement,
};
use crate::plane::TableName;

/// A change ready to be applied.
#[derive(Clone, Debug)]
pub(super) struct Ready {
    pub(super) table: TableName,
    pub(super) kind: Kind,
    /// `None`: nothing to do for it on the target.
    pub(super) sql: Option<String>,
}

/// A source transaction with at least one change of a followed table.
#[derive(Debug)]
pub(super) struct Transaction {
    /// The end of its commit record.
    pub(super) end: Lsn,
    /// Its commit time as the source wrote it.
    pub(super) commit_time: String,
    pub(super) changes: Vec<Ready>,
    /// When it was read.
    pub(super) captured: Instant,
    /// Given back when it's done with.
    _room: OwnedSemaphorePermit,
}

/// A table that is followed.
pub(super) struct Followed {
    pub(super) shape: Shape,
    /// The position of the snapshot that its rows were loaded at: what was committed up to there is in them.
    pub(super) loaded_at: Lsn,
}

/// The size of the changes read and not yet applied, in KiB, at which reading stops: the rest stays in the source's log.
/// Small in tests, so that they meet it.
const ROOM: u32 = if cfg!(test) { 64 } else { 64 * 1024 };
/// How often positions are confirmed if they moved.
const TICK: Duration = Duration::from_millis(100);
/// How often they are confirmed even if not: the source ends a silent walsender's session.
const PULSE: Duration = Duration::from_secs(5);

pub(super) struct Capture {
    stream: Replication,
    followed: Arc<HashMap<TableName, Followed>>,
    ledger: Ledger,
    out: mpsc::UnboundedSender<Transaction>,
    room: Arc<Semaphore>,
    /// Position of the last transaction committed on the target, from the applier.
    applied: watch::Receiver<Lsn>,
    /// All selected changes up to here are on the target, for whoever waits for that.
    safe: watch::Sender<Lsn>,
    /// What is on the target already is skipped.
    from: Lsn,
    received: Lsn,
    last_sent: Lsn,
    confirmed: Lsn,
    confirmed_when: Instant,
    open: Option<Vec<(TableName, Change)>>,
    tick: Interval,
}

impl Capture {
    /// `stream` was started at `from`.
    pub(super) fn new(
        stream: Replication,
        from: Lsn,
        followed: Arc<HashMap<TableName, Followed>>,
        ledger: Ledger,
        applied: watch::Receiver<Lsn>,
        safe: watch::Sender<Lsn>,
    ) -> (Self, mpsc::UnboundedReceiver<Transaction>) {
        let (out, transactions) = mpsc::unbounded_channel();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let capture = Self {
            stream,
            followed,
            ledger,
            out,
            room: Arc::new(Semaphore::new(ROOM as usize)),
            applied,
            safe,
            from,
            received: from,
            last_sent: from,
            confirmed: Lsn::default(),
            confirmed_when: Instant::now(),
            open: None,
            tick,
        };
        (capture, transactions)
    }

    /// Reads until something fails.
    pub(super) async fn run(mut self) -> Failure {
        loop {
            if let Err(failure) = self.step().await {
                return failure;
            }
        }
    }

    async fn step(&mut self) -> Result<(), Failure> {
        let frame = tokio::select! {
            frame = self.stream.frame() => frame?,
            _ = self.tick.tick() => return self.confirm(false).await,
        };
        match frame {
            Frame::Data { start, text } => self.line(start, &text).await,
            Frame::Keepalive { end, reply } => {
                // What is still open will commit after this.
                if self.open.is_none() {
                    self.received = self.received.max(end);
                    self.ledger.reader_idle();
                }
                self.confirm(reply).await
            }
        }
    }

    async fn line(&mut self, start: Lsn, text: &str) -> Result<(), Failure> {
        match parse(text).map_err(|error| Failure::Fatal(format!("at {start}: {error}")))? {
            Line::Begin => self.open = Some(Vec::new()),
            Line::Change { table, change } => {
                if self.followed.contains_key(&table) {
                    self.open.get_or_insert_default().push((table, change));
                }
            }
            Line::Truncate(tables) => {
                for table in tables.iter().filter(|table| self.followed.contains_key(table)) {
                    // As with AWS: TRUNCATE is not carried over.
                    tracing::warn!(schema = table.schema, table = table.name, %start, "TRUNCATE on the source ignored");
                }
            }
            Line::Message => {}
            Line::Commit { at } => {
                let changes = self.open.take().unwrap_or_default();
                self.commit(start, at, changes).await?;
                self.received = self.received.max(start);
            }
        }
        Ok(())
    }

    async fn commit(
        &mut self,
        end: Lsn,
        commit_time: String,
        changes: Vec<(TableName, Change)>,
    ) -> Result<(), Failure> {
        let committed: Timestamp = commit_time
            .parse()
            .map_err(|error| Failure::Fatal(format!("commit time {commit_time:?} at {end}: {error}")))?;
        let mut ready = Vec::with_capacity(changes.len());
        if end > self.from {
            for (table, change) in changes {
                let Some(followed) = self.followed.get(&table).filter(|followed| end > followed.loaded_at)
                else {
                    continue;
                };
                let sql = statement(&table, &followed.shape, &change);
                let kind = match change {
                    Change::Insert(_) => Kind::Insert,
                    Change::Update { .. } => Kind::Update,
                    Change::Delete(_) => Kind::Delete,
                };
                ready.push(Ready { table, kind, sql });
            }
        }
        let counted =
            ready.iter().map(|ready| (ready.table.clone(), ready.kind, ready.sql.is_some())).collect();
        self.ledger.captured(end, committed, counted);
        if ready.is_empty() {
            return Ok(());
        }
        let bytes: usize = ready.iter().filter_map(|ready| ready.sql.as_ref()).map(String::len).sum();
        let room = self.take_room(u32::try_from(bytes / 1024).unwrap_or(ROOM)).await?;
        self.last_sent = end;
        let transaction =
            Transaction { end, commit_time, changes: ready, captured: Instant::now(), _room: room };
        self.out.send(transaction).map_err(|_| Failure::Lost("the session that applies has ended".to_owned()))
    }

    async fn take_room(&mut self, size: u32) -> Result<OwnedSemaphorePermit, Failure> {
        let size = size.clamp(1, ROOM);
        let ended = |_| Failure::Lost("the session that applies has ended".to_owned());
        if let Ok(room) = self.room.clone().try_acquire_many_owned(size) {
            return Ok(room);
        }
        self.ledger.held_back(true);
        let room = self.room.clone().acquire_many_owned(size);
        tokio::pin!(room);
        let room = loop {
            tokio::select! {
                room = &mut room => break room.map_err(ended)?,
                _ = self.tick.tick() => self.confirm(false).await?,
            }
        };
        self.ledger.held_back(false);
        Ok(room)
    }

    async fn confirm(&mut self, asked: bool) -> Result<(), Failure> {
        let applied = *self.applied.borrow_and_update();
        // With nothing in flight all that was read is safe, also what held no selected change: else an idle task would
        // keep the source's log for ever.
        let safe = if applied >= self.last_sent { self.received.max(applied) } else { applied };
        self.safe.send_if_modified(|known| {
            let moved = safe > *known;
            if moved {
                *known = safe;
            }
            moved
        });
        if asked || safe != self.confirmed || self.confirmed_when.elapsed() >= PULSE {
            self.confirmed = safe;
            self.confirmed_when = Instant::now();
            self.stream.confirm(self.received.max(safe), safe).await?;
        }
        Ok(())
    }
}

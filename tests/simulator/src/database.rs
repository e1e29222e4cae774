//! One PostgreSQL database as far as Slipway touches it: an executable specification of `slipway::postgres`.
//!
//! Plain data. Each call of `slipway::postgres` that changes something has a method of the same name here, with exactly the
//! checks that its SQL makes, and either all of its effect or none. A test (`tests/it/postgres/conformance.rs`) holds both
//! against each other. What PostgreSQL's privileges are in detail is reduced to three questions: may applications write
//! (`open`), may DMS's role connect, may it write.

mod clients;
mod guarded;
mod record;
mod refused;
mod slots;
mod views;

pub use clients::{Session, Stage};
pub use guarded::Guard;
pub use refused::Refused;
pub use slots::{SlotName, Slots};
pub use views::{Names, base};

use slipway::postgres;
use slipway::side::Side;

/// The number of a decision.
pub type Epoch = u16;
/// Which fence: the number of the decision that first built it.
pub type Fence = Epoch;
/// Which migration; 0 is none, as the empty text in `slipway.token`.
pub type Uid = u8;
/// A write, told from every other by the value that it drew from the sequence.
pub type WriteId = u16;
/// A place in the log: so many entries lie before it.
pub type Position = u16;

/// One database.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools)] // each is a fact of its own, and all combinations occur
pub struct Database {
    /// Which of the two.
    pub side: Side,
    /// Its own clock, in milliseconds.
    pub clock: i64,
    /// Its timeline.
    pub timeline: u8,
    /// `slipway.token`, and with it the other tables of the record but the marker's.
    pub row: Option<Row>,
    /// `slipway.marker` is there.
    pub marker_table: bool,
    /// `slipway.slot`.
    pub noted: Slots,
    /// Applications' roles may log in and write.
    pub open: bool,
    /// A table's owner could write past the privileges, were it not for the triggers.
    pub needs_layer: bool,
    /// Those triggers are there and enabled.
    pub layered: bool,
    /// DMS's role may connect.
    pub dms_connects: bool,
    /// DMS's role may change tables. On the source it only ever reads.
    pub dms_writes: bool,
    /// DMS's role has a session that is no walsender.
    pub dms_session: bool,
    /// Sessions of applications.
    pub sessions: Vec<Session>,
    /// Prepared transactions, each with its write.
    pub prepared: Vec<WriteId>,
    /// What was committed, in order.
    pub log: Vec<Entry>,
    /// The slot that the forward task reads, on the source.
    pub forward: Option<Slot>,
    /// The slot of the way back, on the target.
    pub back: Option<Slot>,
    /// The last value that the sequence gave out.
    pub sequence: WriteId,
}

/// The row `slipway.token`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    /// Whose.
    pub uid: Uid,
    /// Who holds the writer's role.
    pub holder: Holder,
    /// The highest decision that claimed it.
    pub epoch: Epoch,
    /// Which fence.
    pub fence: Option<Fence>,
    /// Since when the holder is what it is.
    pub since: i64,
    /// Where the way back begins.
    pub reverse: Option<Position>,
}

/// The words of `slipway.token.holder`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Holder {
    Side(Side),
    None,
    Fenced,
    Refused,
}

impl From<Holder> for postgres::Holder {
    fn from(holder: Holder) -> Self {
        match holder {
            Holder::Side(side) => Self::Side(side),
            Holder::None => Self::None,
            Holder::Fenced => Self::Fenced,
            Holder::Refused => Self::Refused,
        }
    }
}

/// One entry of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Entry {
    /// An application's write.
    Write(WriteId),
    /// The marker of a fence.
    Marker(Fence),
    /// Our heartbeat.
    Beat(u16),
    /// All carried tables were emptied, the marker's too, as a load begins.
    Truncate,
}

/// A replication slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    /// Everything before this was confirmed.
    pub position: Position,
    /// A walsender uses it.
    pub active: bool,
    /// What it kept is lost.
    pub lost: bool,
}

impl Database {
    /// As it is before Slipway ever saw it: applications write to it, or could.
    pub fn new(side: Side) -> Self {
        Self {
            side,
            clock: 0,
            timeline: 1,
            row: None,
            marker_table: false,
            noted: Slots::default(),
            open: true,
            needs_layer: false,
            layered: false,
            dms_connects: true,
            dms_writes: side == Side::Target,
            dms_session: false,
            sessions: Vec::new(),
            prepared: Vec::new(),
            log: Vec::new(),
            forward: None,
            back: None,
            sequence: 0,
        }
    }

    /// The end of the log.
    pub fn end(&self) -> Position {
        Position::try_from(self.log.len()).unwrap_or(Position::MAX)
    }

    /// What its tables hold: everything since they were last emptied.
    fn content(&self) -> &[Entry] {
        let from = self.log.iter().rposition(|entry| *entry == Entry::Truncate).map_or(0, |at| at + 1);
        &self.log[from..]
    }

    /// The applications' writes that its tables hold.
    pub fn writes(&self) -> impl Iterator<Item = WriteId> + '_ {
        self.content().iter().filter_map(|entry| match entry {
            Entry::Write(id) => Some(*id),
            Entry::Marker(_) | Entry::Beat(_) | Entry::Truncate => None,
        })
    }

    /// Whether the marker of a fence is here.
    pub fn has_marker(&self, fence: Fence) -> bool {
        self.marker_table && self.content().contains(&Entry::Marker(fence))
    }

    /// DMS's role could write here: what `standing` calls `replication_may_write`.
    pub fn replication_may_write(&self) -> bool {
        self.side == Side::Target && (self.dms_connects || self.dms_writes)
    }

    /// A write of an application could still be committed here, whatever Slipway does not do from now on.
    pub fn accepts_writes(&self) -> bool {
        self.open
            || !self.prepared.is_empty()
            || self.sessions.iter().any(|session| matches!(session.stage, Stage::Wrote(_)))
            || (self.needs_layer && !self.layered && !self.sessions.is_empty())
    }

    /// The row, if it is this migration's.
    pub fn row_of(&self, uid: Uid) -> Option<&Row> {
        self.row.as_ref().filter(|row| row.uid == uid)
    }
}

//! What must hold of the two databases at every moment, by the numbers of the design's invariants.

use slipway::side::Sides;

use crate::database::{Database, Entry, Fence, Holder, Stage, WriteId};

/// What happened, as far as the two databases do not show it themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct History {
    /// Writes whose commit was answered.
    pub acknowledged: Vec<WriteId>,
    /// A person ordered the goal Finish, and that was recorded: the way back may be removed.
    pub finish_ordered: bool,
    /// Somebody else dropped, or the server lost, the slot of the way back after the side was opened.
    pub way_back_lost: bool,
}

/// A broken invariant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Violation {
    /// 1: a write could be committed on both sides.
    TwoWriters,
    /// 1: a side accepts applications' writes and replication's at once.
    WritesAndReplication,
    /// 1: a side is open without holding the writer's role by the old side's row.
    OpenedWithoutTheRole,
    /// 2: a write that was acknowledged is not where applications write now.
    WriteLost,
    /// 2: a write is there twice, or two writes drew the same value from the sequence.
    WriteTwice,
    /// 2 and 15: the side was opened, or is open, without the slot of the way back, and nobody ordered Finish.
    NoWayBack,
    /// 3: a write was or could be committed behind the marker of the fence that stands.
    FenceNotProved,
    /// 4: the role was given away, and the new side lacks a write.
    NotDrained,
    /// 15: Finish was recorded, and the goal was not Finish.
    FinishNotOrdered,
    /// 16: a deleted migration moved the writer, or let go of a fence that it opened.
    MovedByDeletion,
    /// 2: a guarded call was performed under an epoch lower than one that came before on that side.
    EpochWentBack,
}

impl Violation {
    /// The number of the invariant in the design.
    pub fn invariant(self) -> u8 {
        match self {
            Self::TwoWriters
            | Self::WritesAndReplication
            | Self::OpenedWithoutTheRole
            | Self::EpochWentBack => 1,
            Self::WriteLost | Self::WriteTwice | Self::NoWayBack => 2,
            Self::FenceNotProved => 3,
            Self::NotDrained => 4,
            Self::FinishNotOrdered => 15,
            Self::MovedByDeletion => 16,
        }
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::TwoWriters => "a write could be committed on both sides",
            Self::WritesAndReplication => "one side accepts applications' writes and replication's at once",
            Self::OpenedWithoutTheRole => "a side is open that the old side's row does not name",
            Self::WriteLost => "an acknowledged write is not where applications write now",
            Self::WriteTwice => "a write is there twice, or two drew the same value from the sequence",
            Self::NoWayBack => {
                "the target is open without its slot of the way back, and nobody ordered Finish"
            }
            Self::FenceNotProved => "a write comes, or can still come, behind the marker of the fence",
            Self::NotDrained => "the writer's role was given to a side that lacks a write",
            Self::FinishNotOrdered => "Finish was recorded while the goal was another",
            Self::MovedByDeletion => "a deleted migration moved the writer or opened a fence",
            Self::EpochWentBack => "the epoch of a side went back",
        }
    }
}

/// Checks the pair of databases: invariants 1 to 4, and 15 as far as databases show it.
pub fn check(sides: &Sides<Database>, history: &History) -> Result<(), Violation> {
    Reader::default().check(sides, history)
}

/// Checks the same pair again and again, as it grows: of each log it reads what came since the last time. An entry that was
/// read may become another one, as markers do when their table is dropped, but a write stays a write.
#[derive(Default)]
pub struct Reader {
    sides: Sides<Ledger>,
    /// So much of the source's log was found on the target.
    drained: usize,
    /// So much of the target's log was found on the source.
    shared: usize,
}

/// What a log holds, as far as it was read.
#[derive(Default)]
struct Ledger {
    read: usize,
    /// The writes that the tables hold: those since they were last emptied.
    writes: Ids,
    /// Where those begin.
    begins: usize,
    /// Of all that was acknowledged, so much was found here since then.
    acknowledged: usize,
    /// The last write of all.
    last_write: Option<usize>,
    /// Where markers are.
    markers: Vec<usize>,
}

impl Ledger {
    /// False if a write is there twice.
    fn read(&mut self, log: &[Entry]) -> bool {
        for (at, entry) in log.iter().enumerate().skip(self.read) {
            match entry {
                Entry::Write(id) => {
                    if !self.writes.insert(*id) {
                        return false;
                    }
                    self.last_write = Some(at);
                }
                Entry::Marker(_) => self.markers.push(at),
                Entry::Beat(_) => {}
                Entry::Truncate => {
                    self.writes = Ids::default();
                    self.begins = at + 1;
                    self.acknowledged = 0;
                }
            }
        }
        self.read = log.len();
        true
    }

    fn marker(&self, log: &[Entry], fence: Fence) -> Option<usize> {
        self.markers.iter().copied().find(|at| log[*at] == Entry::Marker(fence))
    }
}

impl Reader {
    /// As [`check`].
    pub fn check(&mut self, sides: &Sides<Database>, history: &History) -> Result<(), Violation> {
        let (source, target) = (&sides.source, &sides.target);
        if source.accepts_writes() && target.accepts_writes() {
            return Err(Violation::TwoWriters);
        }
        if [source, target].iter().any(|side| side.open && side.replication_may_write()) {
            return Err(Violation::WritesAndReplication);
        }
        let given = source.row.map(|row| row.holder) == Some(Holder::Side(target.side));
        if source.row.is_some() && target.row.is_some() && target.open && !given {
            return Err(Violation::OpenedWithoutTheRole);
        }
        for (database, ledger) in [(source, &mut self.sides.source), (target, &mut self.sides.target)] {
            let emptied = ledger.begins;
            if !ledger.read(&database.log) {
                return Err(Violation::WriteTwice);
            }
            if ledger.begins != emptied {
                (self.drained, self.shared) = (0, 0);
            }
            while database.open
                && let Some(id) = history.acknowledged.get(ledger.acknowledged)
            {
                if !ledger.writes.has(*id) {
                    return Err(Violation::WriteLost);
                }
                ledger.acknowledged += 1;
            }
        }
        let ordered = history.finish_ordered || history.way_back_lost;
        if target.open && given && !ordered && !self.way_back(sides) {
            return Err(Violation::NoWayBack);
        }
        if let Some(row) = source.row
            && row.holder != Holder::Side(source.side)
            && let Some(fence) = row.fence
            && let Some(at) = self.sides.source.marker(&source.log, fence)
        {
            let behind = self.sides.source.last_write.is_some_and(|write| write > at);
            let could = !source.prepared.is_empty()
                || source.sessions.iter().any(|session| matches!(session.stage, Stage::Wrote(_)));
            if behind || could {
                return Err(Violation::FenceNotProved);
            }
        }
        if given {
            let there = &self.sides.target.writes;
            self.drained = self.drained.max(self.sides.source.begins);
            self.drained = found(&source.log, self.drained, there);
            if self.drained < source.log.len() {
                return Err(Violation::NotDrained);
            }
        }
        Ok(())
    }

    /// The slot of the way back is there and keeps every write that an application made on the target.
    fn way_back(&mut self, sides: &Sides<Database>) -> bool {
        let (source, target) = (&sides.source, &sides.target);
        let Some(slot) = target.back.filter(|_| target.back_is_usable()) else { return false };
        let Some(begins) = source.row.and_then(|row| row.reverse) else { return false };
        self.shared = found(&target.log, self.shared, &self.sides.source.writes);
        slot.position <= begins && usize::from(begins) <= self.shared
    }
}

/// The first place from `from` on with a write that is not in the set; the end, if there is none.
fn found(log: &[Entry], from: usize, writes: &Ids) -> usize {
    let strange = |entry: &Entry| matches!(entry, Entry::Write(id) if !writes.has(*id));
    log[from..].iter().position(strange).map_or(log.len(), |at| from + at)
}

/// A set of writes, whose numbers are small.
#[derive(Default)]
struct Ids(Vec<u64>);

impl Ids {
    /// False if it was in the set already.
    fn insert(&mut self, id: WriteId) -> bool {
        let (word, bit) = (usize::from(id / 64), 1 << (id % 64));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }

    fn has(&self, id: WriteId) -> bool {
        self.0.get(usize::from(id / 64)).is_some_and(|word| word & (1 << (id % 64)) != 0)
    }
}

//! What the two logs forget: entries that nobody asks for any more, and the places behind them move up.

use slipway::side::Side;

use super::forget::wrote;
use super::state::{Kept, State, Task, What};
use crate::database::{Database, Entry, Epoch, Holder, Position, WriteId};

impl Database {
    /// Every number of a decision or a fence; those of markers only if asked for.
    pub(super) fn numbers(&mut self, markers: bool, visit: &mut dyn FnMut(&mut Epoch)) {
        if let Some(row) = &mut self.row {
            visit(&mut row.epoch);
            if let Some(fence) = &mut row.fence {
                visit(fence);
            }
        }
        if markers {
            for entry in &mut self.log {
                if let Entry::Marker(fence) = entry {
                    visit(fence);
                }
            }
        }
    }
}

impl State {
    /// Markers that nobody asks for, places that mean nothing, and what a reload has replaced.
    pub(super) fn forget_logs(&mut self) {
        let mut named = 0_u64;
        self.numbers(false, &mut |number| named |= 1 << (*number).min(63));
        let void = |entry: &Entry| match entry {
            Entry::Marker(fence) => *fence < 63 && named & (1 << *fence) == 0,
            Entry::Beat(_) => true,
            Entry::Write(_) | Entry::Truncate => false,
        };
        for operator in [Some(&mut self.operator), self.deposed.as_mut()].into_iter().flatten() {
            if let Some(Kept::Side(kept)) = &mut operator.kept {
                kept.log.retain(|entry| !void(entry));
            }
        }
        if self.history.finish_ordered || self.history.way_back_lost {
            // Where the way back begins is asked no more.
            self.places(&mut |place| *place = 0);
        }
        let mut at = 0;
        while at < self.sides.target.log.len() {
            if (void(&self.sides.target.log[at]) || self.is_replaced(at)) && self.nothing_ends_at(at) {
                self.sides.target.log.remove(at);
                self.places(&mut |place| *place -= u16::from(usize::from(*place) > at));
            } else {
                at += 1;
            }
        }
        self.still_slot();
        let mut at = 0;
        while at < self.sides.source.log.len() {
            if void(&self.sides.source.log[at]) && !self.may_be_carried(at) {
                self.forget_source_entry(at);
            } else {
                at += 1;
            }
        }
    }

    /// The places in the target's log that are named.
    fn places(&mut self, visit: &mut dyn FnMut(&mut Position)) {
        if let Some(slot) = &mut self.sides.target.back {
            visit(&mut slot.position);
        }
        if let Some(place) = self.sides.source.row.as_mut().and_then(|row| row.reverse.as_mut()) {
            visit(place);
        }
        for call in self.call.iter_mut().chain(&mut self.late) {
            if let What::Arm(place) = &mut call.what {
                visit(place);
            }
        }
    }

    /// Taking this entry out makes no two places one.
    fn nothing_ends_at(&mut self, at: usize) -> bool {
        let (mut before, mut behind) = (false, false);
        self.places(&mut |place| {
            before |= usize::from(*place) == at;
            behind |= usize::from(*place) == at + 1;
        });
        !(before && behind)
    }

    /// The target's tables were emptied behind this, and each write up to there is the source's.
    fn is_replaced(&self, at: usize) -> bool {
        let log = &self.sides.target.log;
        let Some(emptied) = log.iter().rposition(|entry| *entry == Entry::Truncate) else { return false };
        at <= emptied
            && log[..emptied].iter().all(|entry| match entry {
                Entry::Write(id) => self.sides.source.writes().any(|there| there == *id),
                _ => true,
            })
    }

    /// A slot that nothing is read from any more stands anywhere.
    fn still_slot(&mut self) {
        let quiet = self.task == Task::Gone;
        let faults = self.left.faults > 0;
        if let Some(slot) = &mut self.sides.source.forward
            && (quiet || slot.lost && !faults)
        {
            slot.position = 0;
        }
    }

    /// The task could still carry an entry of the source's log.
    fn may_be_carried(&self, at: usize) -> bool {
        let Some(slot) = self.sides.source.forward.filter(|_| self.task != Task::Gone) else { return false };
        // A reload begins at the beginning.
        self.left.faults > 0 || !slot.lost && at >= usize::from(slot.position)
    }

    fn forget_source_entry(&mut self, at: usize) {
        self.sides.source.log.remove(at);
        if let Some(slot) = &mut self.sides.source.forward {
            slot.position -= u16::from(usize::from(slot.position) > at);
        }
    }

    /// Once no write is left to begin: what the sequences stand at, and writes that are on both sides for good.
    pub(super) fn forget_writes(&mut self) {
        if self.left.writes > 0 {
            return;
        }
        for database in [&mut self.sides.source, &mut self.sides.target] {
            database.sequence = 0;
        }
        for call in self.call.iter_mut().chain(&mut self.late) {
            if let What::Sequences(value) = &mut call.what {
                *value = 0;
            }
        }
        self.forget_carried();
        self.name_writes();
    }

    fn forget_carried(&mut self) {
        let (source, target) = (&self.sides.source, &self.sides.target);
        let twice = |database: &Database| {
            let mut ids: Vec<WriteId> = database.writes().collect();
            ids.sort_unstable();
            ids.windows(2).any(|pair| pair[0] == pair[1])
        };
        let behind = source.row.is_some_and(|row| {
            row.holder != Holder::Side(Side::Source)
                && row
                    .fence
                    .and_then(|fence| source.log.iter().position(|entry| *entry == Entry::Marker(fence)))
                    .is_some_and(|at| source.log[at..].iter().any(|entry| matches!(entry, Entry::Write(_))))
        });
        if twice(source) || twice(target) || behind || target.log.contains(&Entry::Truncate) {
            return;
        }
        let mut at = 0;
        while at < self.sides.source.log.len() {
            let Entry::Write(id) = self.sides.source.log[at] else {
                at += 1;
                continue;
            };
            let there = self.sides.target.log.iter().position(|entry| *entry == Entry::Write(id));
            let known = self.history.acknowledged.contains(&id);
            match there {
                Some(there) if known && !self.may_be_carried(at) && self.nothing_ends_at(there) => {
                    self.forget_source_entry(at);
                    self.sides.target.log.remove(there);
                    self.places(&mut |place| *place -= u16::from(usize::from(*place) > there));
                    self.history.acknowledged.retain(|other| *other != id);
                }
                _ => at += 1,
            }
        }
    }

    /// Writes are only told from each other: the first that is found is 1.
    fn name_writes(&mut self) {
        let mut names: Vec<WriteId> = Vec::new();
        let mut name = |id: &mut WriteId| {
            let at = names.iter().position(|other| other == id).unwrap_or_else(|| {
                names.push(*id);
                names.len() - 1
            });
            *id = WriteId::try_from(at + 1).unwrap_or(WriteId::MAX);
        };
        for database in [&mut self.sides.source, &mut self.sides.target] {
            for entry in &mut database.log {
                if let Entry::Write(id) = entry {
                    name(id);
                }
            }
            database.prepared.iter_mut().for_each(&mut name);
        }
        for database in [&mut self.sides.source, &mut self.sides.target] {
            database.sessions.sort_unstable_by_key(|session| (session.stage, session.client));
            database.sessions.iter_mut().filter_map(|session| wrote(&mut session.stage)).for_each(&mut name);
            database.sessions.sort_unstable();
        }
        self.history.acknowledged.iter_mut().for_each(&mut name);
        self.history.acknowledged.sort_unstable();
    }
}

//! The changes of a side under a decision: `src/postgres/{guarded,fence,handover,freeze,marker,sequences}.rs`.

use slipway::postgres::ClaimAs;
use slipway::side::Side;

use super::{Database, Entry, Epoch, Fence, Holder, Refused, Row, Stage, Uid, WriteId};

/// `postgres::Guard`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Guard {
    /// Whose record it must be.
    pub uid: Uid,
    /// The number of the decision.
    pub epoch: Epoch,
    /// The fence that the decision is about.
    pub fence: Fence,
}

/// `guarded::Epoch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    UpTo,
    Exactly,
}

/// `guarded::not_writable`.
pub(super) fn not_writable(side: Side) -> [Holder; 4] {
    [Holder::None, Holder::Fenced, Holder::Refused, Holder::Side(side.other())]
}

impl Database {
    /// `guarded::enter`: claims the row for the guard's decision and returns it as it was before.
    pub(super) fn enter(
        &mut self,
        guard: Guard,
        holders: &[Holder],
        rule: Rule,
    ) -> Result<(Row, &mut Row), Refused> {
        let row = self.row.as_mut().ok_or(Refused::NoRow)?;
        if row.uid != guard.uid {
            return Err(Refused::OtherMigration);
        }
        let claimed = match rule {
            Rule::UpTo => row.epoch <= guard.epoch,
            Rule::Exactly => row.epoch == guard.epoch,
        };
        if !claimed || !holders.contains(&row.holder) {
            return Err(Refused::Overtaken);
        }
        let before = *row;
        row.epoch = guard.epoch;
        Ok((before, row))
    }

    /// `guarded::look`: demands that the row was claimed by this very decision, and writes nothing.
    pub(super) fn look(&self, guard: Guard, holders: &[Holder]) -> Result<Row, Refused> {
        let row = self.row.as_ref().ok_or(Refused::NoRow)?;
        if row.uid != guard.uid {
            return Err(Refused::OtherMigration);
        }
        if row.epoch != guard.epoch || !holders.contains(&row.holder) {
            return Err(Refused::Overtaken);
        }
        Ok(*row)
    }

    /// A transaction: what was refused changed nothing.
    pub(super) fn transaction<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let row = self.row;
        let done = work(self);
        if done.is_err() {
            // Every check comes before every other effect, so that the row is all that a refusal may have touched.
            self.row = row;
        }
        done
    }

    /// `fence::fence`.
    pub fn fence(&mut self, guard: &Guard) -> Result<(), Refused> {
        let (us, clock) = (Holder::Side(self.side), self.clock);
        let (before, row) = self.enter(*guard, &[us, Holder::None], Rule::UpTo)?;
        if before.holder == us {
            row.holder = Holder::None;
            row.fence = Some(guard.fence);
            row.since = clock;
            row.reverse = None;
        }
        self.open = false;
        Ok(())
    }

    /// `fence::end_sessions`. Those that have not appeared yet are not seen.
    pub fn end_sessions(&mut self, guard: &Guard) -> Result<(), Refused> {
        self.enter(*guard, &not_writable(self.side), Rule::UpTo)?;
        self.sessions.retain(|session| session.stage == Stage::Arriving);
        Ok(())
    }

    /// `fence::add_layer`.
    pub fn add_layer(&mut self, guard: &Guard) -> Result<(), Refused> {
        self.enter(*guard, &[Holder::None], Rule::UpTo)?;
        self.layered = self.needs_layer;
        Ok(())
    }

    /// `fence::unfence`.
    pub fn unfence(&mut self, guard: &Guard) -> Result<(), Refused> {
        let (us, clock) = (Holder::Side(self.side), self.clock);
        let (before, row) = self.enter(*guard, &[us, Holder::None], Rule::UpTo)?;
        if before.holder == us {
            return Ok(());
        }
        row.holder = us;
        row.fence = None;
        row.since = clock;
        row.reverse = None;
        self.open = true;
        self.layered = false;
        Ok(())
    }

    /// `marker::mark`.
    pub fn mark(&mut self, guard: &Guard) -> Result<(), Refused> {
        self.transaction(|database| {
            let (before, _) = database.enter(*guard, &[Holder::None], Rule::Exactly)?;
            if before.fence != Some(guard.fence) {
                return Err(Refused::OtherFence);
            }
            if !database.marker_table {
                return Err(Refused::NoRow);
            }
            if !database.has_marker(guard.fence) {
                database.log.push(Entry::Marker(guard.fence));
            }
            Ok(())
        })
    }

    /// `freeze::freeze`.
    pub fn freeze(&mut self, guard: &Guard) -> Result<(), Refused> {
        self.enter(*guard, &not_writable(self.side), Rule::UpTo)?;
        self.dms_connects = false;
        self.dms_writes = false;
        self.dms_session = false;
        Ok(())
    }

    /// `freeze::thaw`.
    pub fn thaw(&mut self, guard: &Guard) -> Result<(), Refused> {
        self.enter(*guard, &not_writable(self.side), Rule::UpTo)?;
        self.dms_connects = true;
        self.dms_writes = self.side == Side::Target;
        Ok(())
    }

    /// The second half of `sequences::move_sequences`: `value` is what was read on the other side, before.
    pub fn move_sequences(&mut self, guard: &Guard, value: WriteId) -> Result<(), Refused> {
        self.enter(*guard, &not_writable(self.side), Rule::UpTo)?;
        // Nor is it left behind a value that a row holds.
        let held = self.writes().max().unwrap_or(0);
        self.sequence = self.sequence.max(value).max(held);
        Ok(())
    }

    /// `handover::claim`.
    pub fn claim(&mut self, guard: &Guard, claim_as: ClaimAs) -> Result<(), Refused> {
        let (us, them) = (Holder::Side(self.side), Holder::Side(self.side.other()));
        let clock = self.clock;
        let mut holders = vec![us, them, Holder::Fenced, Holder::Refused];
        if claim_as == ClaimAs::Unchanged {
            holders.push(Holder::None);
        }
        self.transaction(|database| {
            let (before, row) = database.enter(*guard, &holders, Rule::UpTo)?;
            let holder = match claim_as {
                ClaimAs::Unchanged => return Ok(()),
                _ if before.holder == us => return Ok(()),
                ClaimAs::Fenced if before.holder == Holder::Refused && before.epoch == guard.epoch => {
                    return Err(Refused::Overtaken);
                }
                ClaimAs::Fenced => Holder::Fenced,
                ClaimAs::Refused => Holder::Refused,
            };
            if row.holder != holder {
                row.since = clock;
            }
            row.holder = holder;
            row.fence = Some(guard.fence);
            Ok(())
        })
    }

    /// `handover::give`.
    pub fn give(&mut self, guard: &Guard, expect_timeline: u8) -> Result<(), Refused> {
        let (them, clock) = (Holder::Side(self.side.other()), self.clock);
        self.transaction(|database| {
            let (timeline, open) = (database.timeline, database.open);
            let (before, row) = database.enter(*guard, &[Holder::None, them], Rule::Exactly)?;
            if before.fence != Some(guard.fence) {
                return Err(Refused::OtherFence);
            }
            if before.holder == them {
                return Ok(());
            }
            if before.reverse.is_none() {
                return Err(Refused::NotArmed);
            }
            if timeline != expect_timeline {
                return Err(Refused::OtherTimeline);
            }
            if open {
                return Err(Refused::StillOpen);
            }
            row.holder = them;
            row.since = clock;
            Ok(())
        })
    }

    /// `handover::open`.
    pub fn open(&mut self, guard: &Guard) -> Result<(), Refused> {
        let (us, clock) = (Holder::Side(self.side), self.clock);
        self.transaction(|database| {
            let (frozen, usable) = (!database.replication_may_write(), database.back_is_usable());
            let (before, row) = database.enter(*guard, &[Holder::Fenced, us], Rule::Exactly)?;
            if before.fence != Some(guard.fence) {
                return Err(Refused::OtherFence);
            }
            if before.holder == us {
                return Ok(());
            }
            if !frozen {
                return Err(Refused::NotFrozen);
            }
            if !usable {
                return Err(Refused::SlotLost);
            }
            row.holder = us;
            row.since = clock;
            database.open = true;
            database.layered = false;
            Ok(())
        })
    }

    /// `handover::take_back`.
    pub fn take_back(&mut self, guard: &Guard) -> Result<(), Refused> {
        let (them, clock) = (Holder::Side(self.side.other()), self.clock);
        let (before, row) = self.enter(*guard, &[them, Holder::None], Rule::UpTo)?;
        if before.holder == them {
            row.holder = Holder::None;
            row.since = clock;
        }
        Ok(())
    }
}

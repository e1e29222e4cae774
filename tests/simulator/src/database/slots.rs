//! Slots, and where the way back begins: `src/postgres/slots.rs`, and those calls of `record.rs` that are about slots.

use super::guarded::{Guard, Rule};
use super::{Database, Holder, Position, Refused, Slot};

/// Which slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SlotName {
    /// The forward task's, on the source.
    Forward,
    /// That of the way back, on the target.
    Back,
}

/// A set of slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Slots {
    /// The forward task's.
    pub forward: bool,
    /// That of the way back.
    pub back: bool,
}

impl Slots {
    /// Whether it is in the set.
    pub fn has(self, name: SlotName) -> bool {
        match name {
            SlotName::Forward => self.forward,
            SlotName::Back => self.back,
        }
    }

    /// Puts it in, or takes it out.
    pub fn set(&mut self, name: SlotName, there: bool) {
        match name {
            SlotName::Forward => self.forward = there,
            SlotName::Back => self.back = there,
        }
    }
}

impl Database {
    /// A slot.
    pub fn slot(&self, name: SlotName) -> Option<&Slot> {
        match name {
            SlotName::Forward => self.forward.as_ref(),
            SlotName::Back => self.back.as_ref(),
        }
    }

    /// A slot, to change it.
    pub fn slot_mut(&mut self, name: SlotName) -> &mut Option<Slot> {
        match name {
            SlotName::Forward => &mut self.forward,
            SlotName::Back => &mut self.back,
        }
    }

    /// What `standing` calls usable.
    pub fn back_is_usable(&self) -> bool {
        self.back.is_some_and(|slot| !slot.lost) && self.noted.back
    }

    /// `slots::create_slot`.
    pub fn create_slot(&mut self, guard: &Guard) -> Result<(), Refused> {
        let (back, noted) = (self.back, self.noted.back);
        self.transaction(|database| {
            database.enter(*guard, &[Holder::Fenced], Rule::Exactly)?;
            if back.is_some() && !noted { Err(Refused::NotOurs) } else { Ok(()) }
        })?;
        if back.is_some_and(|slot| !slot.lost) {
            return Ok(());
        }
        self.noted.back = true;
        if back.is_some_and(|slot| slot.active) || self.has_open_writes() {
            return Err(Refused::Busy);
        }
        self.back = Some(Slot { position: self.end(), active: false, lost: false });
        Ok(())
    }

    /// `slots::drop_move_slot`.
    pub fn drop_move_slot(&mut self, guard: &Guard, name: SlotName) -> Result<(), Refused> {
        let allowed = [Holder::Fenced, Holder::Refused, Holder::Side(self.side.other())];
        self.look(*guard, &allowed)?;
        self.drop_noted(name)
    }

    /// The first half of `slots::arm`, on the side that the writer goes to: the end of its log.
    pub fn arm_from(&mut self, guard: &Guard) -> Result<Position, Refused> {
        self.transaction(|database| {
            database.enter(*guard, &[Holder::Fenced], Rule::Exactly)?;
            let Some(slot) = database.back else { return Err(Refused::SlotLost) };
            if !database.noted.back {
                return Err(Refused::NotOurs);
            }
            if slot.lost {
                return Err(Refused::SlotLost);
            }
            if database.has_open_writes() {
                return Err(Refused::Busy);
            }
            if slot.position > database.end() { Err(Refused::SlotLost) } else { Ok(database.end()) }
        })
    }

    /// The second half, on the side that is left.
    pub fn arm(&mut self, guard: &Guard, position: Position) -> Result<(), Refused> {
        self.transaction(|database| {
            let (before, row) = database.enter(*guard, &[Holder::None], Rule::Exactly)?;
            if before.fence != Some(guard.fence) {
                return Err(Refused::OtherFence);
            }
            row.reverse = Some(position);
            Ok(())
        })
    }

    /// `record::note_slot`.
    pub fn note_slot(&mut self, name: SlotName) -> Result<(), Refused> {
        if self.row.is_none() {
            return Err(Refused::NoRow);
        }
        self.noted.set(name, true);
        Ok(())
    }

    /// `record::drop_slot`, under no decision.
    pub fn drop_slot(&mut self, name: SlotName) -> Result<(), Refused> {
        self.drop_noted(name)
    }

    fn drop_noted(&mut self, name: SlotName) -> Result<(), Refused> {
        if let Some(slot) = self.slot(name) {
            if !self.noted.has(name) {
                return Err(Refused::NotOurs);
            }
            if slot.active {
                return Err(Refused::Busy);
            }
            *self.slot_mut(name) = None;
        }
        self.noted.set(name, false);
        Ok(())
    }

    /// A transaction that has written is open: making a slot waits for it.
    fn has_open_writes(&self) -> bool {
        !self.prepared.is_empty()
            || self.sessions.iter().any(|session| matches!(session.stage, super::Stage::Wrote(_)))
    }
}

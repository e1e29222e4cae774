//! Calls without one of their checks.

use super::super::effect::{perform, recorded};
use super::super::state::{Call, State, What};
use super::Lax;
use crate::database::{Database, Guard, Holder, Refused, Row};
use slipway::side::Side;

/// What a call does instead, if a check that is not made is one of its own.
pub fn lax(state: &mut State, call: &Call, guard: &Guard, weak: &[Lax]) -> Option<Result<(), Refused>> {
    let mut call = *call;
    let mut bent = false;
    let mut undo = None;
    for weak in weak {
        match (weak, call.what) {
            (Lax::NoEpoch, _) => {
                if let Some(row) = call.side().and_then(|side| state.sides.get(side).row)
                    && row.epoch > call.epoch
                    && call.epoch > 0
                {
                    call.epoch = row.epoch;
                    bent = true;
                }
            }
            (Lax::NoHolders, What::Freeze | What::Thaw | What::Sequences(_) | What::CreateSlot)
            | (Lax::ThawOpens, What::Thaw) => {
                return Some(as_if(state, Side::Target, Holder::Fenced, &call));
            }
            (Lax::NoHolders, What::DropMoveSlot(side, _)) => {
                return Some(as_if(state, side, Holder::Fenced, &call));
            }
            (Lax::UnfenceGiven, What::Unfence) => {
                bend_row(state, Side::Source, &mut undo, |row| {
                    if row.holder == Holder::Side(Side::Target) {
                        row.holder = Holder::None;
                    }
                });
            }
            (Lax::OpenUnfrozen, What::Open) => {
                let target = &mut state.sides.target;
                let (connects, writes) = (target.dms_connects, target.dms_writes);
                (target.dms_connects, target.dms_writes) = (false, false);
                let done = perform(state, &call, &[]);
                let target = &mut state.sides.target;
                (target.dms_connects, target.dms_writes) = (connects, writes);
                return Some(done);
            }
            (Lax::OpenWithoutSlot, What::Open) => {
                let target = &mut state.sides.target;
                let (back, noted) = (target.back, target.noted);
                target.back = Some(crate::database::Slot { position: 0, active: false, lost: false });
                target.noted.back = true;
                let done = perform(state, &call, &[]);
                let target = &mut state.sides.target;
                (target.back, target.noted) = (back, noted);
                return Some(done);
            }
            (Lax::OpenRefused, What::Open) => {
                bend_row(state, Side::Target, &mut undo, |row| {
                    if row.holder == Holder::Refused {
                        row.holder = Holder::Fenced;
                    }
                });
            }
            (Lax::GiveUnarmed, What::Give(_)) => {
                bend_row(state, Side::Source, &mut undo, |row| row.reverse = row.reverse.or(Some(0)));
            }
            (Lax::DropSlotUnguarded, What::DropMoveSlot(side, name)) => {
                return Some(state.sides.get_mut(side).drop_slot(name));
            }
            (Lax::ArmLate, What::Arm(_)) => {
                let end = state.sides.target.end();
                if let Some(row) = &mut state.sides.source.row {
                    row.reverse = Some(end);
                }
                return Some(Ok(()));
            }
            (Lax::NoCompare, What::Record { decided, latch, .. }) => {
                recorded(state, decided, latch);
                return Some(Ok(()));
            }
            (Lax::SequencesEarly, What::Sequences(value)) => {
                return Some(without_rows(&mut state.sides.target, *guard, value.saturating_sub(1)));
            }
            (Lax::UnfencePrivilegesFirst, What::Unfence) => state.sides.source.open = true,
            (Lax::OpenPrivilegesFirst, What::Open) => state.sides.target.open = true,
            (Lax::FencePrivilegesFirst, What::Fence) => state.sides.source.open = false,
            (Lax::ReleaseOpens, What::ReleaseSide(side)) => state.sides.get_mut(side).open = true,
            _ => {}
        }
    }
    if !bent && undo.is_none() {
        return None;
    }
    let done = perform(state, &call, &[]);
    if let (Err(_), Some((side, row))) = (done, undo) {
        state.sides.get_mut(side).row = row;
    }
    Some(done)
}

/// Changes a row before a call looks at it, and notes how it was, should the call be refused all the same.
fn bend_row(
    state: &mut State,
    side: Side,
    undo: &mut Option<(Side, Option<Row>)>,
    bend: impl FnOnce(&mut Row),
) {
    let row = &mut state.sides.get_mut(side).row;
    *undo = Some((side, *row));
    if let Some(row) = row {
        bend(row);
    }
}

/// Performs a call as if the row's holder were another one.
fn as_if(state: &mut State, side: Side, holder: Holder, call: &Call) -> Result<(), Refused> {
    let before = state.sides.get(side).row.map(|row| row.holder);
    if let Some(row) = &mut state.sides.get_mut(side).row {
        row.holder = holder;
    }
    let done = perform(state, call, &[]);
    if let (Some(row), Some(before)) = (&mut state.sides.get_mut(side).row, before) {
        row.holder = before;
    }
    done
}

/// Sets the sequence without a look at the rows that are there.
fn without_rows(target: &mut Database, guard: Guard, value: u16) -> Result<(), Refused> {
    let (log, before) = (std::mem::take(&mut target.log), target.sequence);
    let done = target.move_sequences(&guard, value);
    target.log = log;
    if done.is_ok() {
        target.sequence = before.max(value);
    }
    done
}

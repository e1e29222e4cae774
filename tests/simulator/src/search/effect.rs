//! What a call does when, if ever, it takes effect; and what an operator makes of its answer.

use slipway::api::database::Goal as Reach;
use slipway::database::decide::ends_the_move;
use slipway::side::Side;

use super::mutants::{Lax, lax};
use super::state::{Call, OURS, Operator, State, Task, What, Word};
use crate::database::{Guard, Holder, Refused};
use crate::invariants::Violation;

/// Performs a call, as far as it is not refused.
pub fn perform(state: &mut State, call: &Call, weak: &[Lax]) -> Result<(), Refused> {
    let guard = Guard { uid: OURS, epoch: call.epoch, fence: call.fence };
    if !weak.is_empty()
        && let Some(done) = lax(state, call, &guard, weak)
    {
        return done;
    }
    let (source, target) = (&mut state.sides.source, &mut state.sides.target);
    match call.what {
        What::Record { expected, decided, latch } => {
            if state.object != expected || state.object.released {
                return Err(Refused::Overtaken);
            }
            recorded(state, decided, latch);
            Ok(())
        }
        What::Latch { expected } => {
            if state.object != expected || state.object.released {
                return Err(Refused::Overtaken);
            }
            state.object.latch = Some(expected.attempt);
            Ok(())
        }
        What::ClaimObject { expected } => {
            if state.object != expected || state.object.released {
                return Err(Refused::Overtaken);
            }
            state.object.claimed = true;
            Ok(())
        }
        What::Release { expected } => {
            if state.object != expected || state.object.released {
                return Err(Refused::Overtaken);
            }
            state.object.released = true;
            Ok(())
        }
        What::Claim(side, how) => state.sides.get_mut(side).claim(&guard, how),
        What::CreateSlot => target.create_slot(&guard),
        What::Fence => source.fence(&guard),
        What::EndSessions => source.end_sessions(&guard),
        What::AddLayer => source.add_layer(&guard),
        What::Mark => source.mark(&guard),
        What::Freeze => target.freeze(&guard),
        What::Verify | What::Repoint => Ok(()),
        What::Sequences(value) => target.move_sequences(&guard, value),
        What::Arm(position) => source.arm(&guard, position),
        What::Give(timeline) => source.give(&guard, timeline),
        What::Open => target.open(&guard),
        What::Unfence => source.unfence(&guard),
        What::TakeBack => source.take_back(&guard),
        What::DropMoveSlot(side, name) => {
            let side = state.sides.get_mut(side);
            side.claim(&guard, slipway::postgres::ClaimAs::Unchanged)?;
            side.drop_move_slot(&guard, name)
        }
        What::Thaw => target.thaw(&guard),
        What::NoteSlot => source.note_slot(crate::database::SlotName::Forward),
        What::DropSlot(side, name) => state.sides.get_mut(side).drop_slot(name),
        What::PrepareSource => source.prepare_source(OURS),
        What::FenceTarget => target.fence_target(OURS),
        What::ReleaseSide(side) => state.sides.get_mut(side).release(OURS),
        What::DropRecord(side) => state.sides.get_mut(side).drop_record(OURS),
        What::StartTask => start(state),
        What::StopTask => {
            if state.task != Task::Running {
                return Err(Refused::Busy);
            }
            state.set_task(Task::Stopped);
            Ok(())
        }
        What::DeleteTask => {
            // AWS deletes no task that runs.
            if !matches!(state.task, Task::Stopped | Task::Failed) {
                return Err(Refused::Busy);
            }
            state.set_task(Task::Gone);
            Ok(())
        }
        What::DeleteResources => {
            state.provisioned = false;
            Ok(())
        }
        What::Refused(refused) => Err(refused),
    }
}

fn start(state: &mut State) -> Result<(), Refused> {
    if !matches!(state.task, Task::Stopped | Task::Failed) {
        return Err(Refused::Busy);
    }
    let slot = state.sides.source.forward.is_some_and(|slot| !slot.lost);
    let connects = state.sides.target.dms_connects;
    state.set_task(if slot && connects { Task::Running } else { Task::Failed });
    Ok(())
}

/// A decision is in the status.
pub fn recorded(state: &mut State, decided: super::state::Decided, latch: bool) {
    let object = &mut state.object;
    let before = object.decided.map_or(Word::Steady, |decided| decided.intent);
    let begins = state.sides.source.row.is_some_and(|row| row.holder == Holder::Side(Side::Source));
    if decided.intent == Word::Move && before == Word::Steady && begins && object.deletion.is_some() {
        state.broken = Some(Violation::MovedByDeletion);
    }
    if matches!(decided.intent, Word::Finish | Word::Finished) {
        if object.reach != Reach::Finish {
            state.broken = Some(Violation::FinishNotOrdered);
        }
        state.history.finish_ordered = true;
    }
    object.decided = Some(decided);
    if latch {
        object.latch = Some(decided.attempt.max(object.attempt));
    }
}

/// What reading and writing right before the call gives it: values that may be old when it takes effect.
pub fn issue(state: &mut State, operator: &mut Operator, call: Call) -> Call {
    let guard = Guard { uid: OURS, epoch: call.epoch, fence: call.fence };
    let what = match call.what {
        What::Sequences(_) => What::Sequences(state.sides.source.sequence),
        What::Arm(_) => match state.sides.target.arm_from(&guard) {
            Ok(position) => What::Arm(position),
            Err(refused) => What::Refused(refused),
        },
        What::Fence => {
            operator.memory.quiet_looks = 0;
            call.what
        }
        What::Freeze if call.in_outage && state.task != Task::Gone => {
            // The task is asked to stop, and nobody waits for it.
            state.leave_in_flight(Call { what: What::StopTask, epoch: 0, fence: 0, in_outage: false });
            call.what
        }
        what => what,
    };
    Call { what, ..call }
}

/// The answer has come.
pub fn answered(state: &State, operator: &mut Operator, call: &Call, answer: Result<(), Refused>) {
    let memory = &mut operator.memory;
    match (&call.what, answer) {
        (What::Record { decided, .. }, Ok(())) => {
            memory.led = Some(decided.epoch);
            memory.quiet_looks = 0;
            memory.failed = None;
            operator.read = state.object;
        }
        (What::Record { .. } | What::Latch { .. } | What::ClaimObject { .. } | What::Release { .. }, _) => {
            operator.read = state.object;
        }
        (What::Verify, Ok(())) => memory.verified = Some((call.fence, false)),
        (What::Sequences(_), Ok(())) => memory.sequences = Some((call.fence, call.epoch)),
        (What::Repoint, Ok(())) => memory.repointed = Some(call.epoch),
        (_, Err(refused)) if call.in_outage && ends_the_move(&refused.fault()).is_some() => {
            memory.failed = Some(refused);
        }
        (_, Ok(()) | Err(_)) => {}
    }
}

/// `slipway unfence --side source`, run by a person at once.
pub fn unfence_by_hand(state: &mut State) -> Result<(), Refused> {
    use slipway::postgres::ClaimAs;
    let (source, target) = (&mut state.sides.source, &mut state.sides.target);
    let ours = *source.row_of(OURS).ok_or(Refused::NoRow)?;
    let theirs = target.row_of(OURS).copied();
    let them = Holder::Side(Side::Target);
    let given = ours.holder == them;
    if given && theirs.is_none_or(|theirs| theirs.holder == them) {
        return Err(Refused::StillOpen);
    }
    // As `cli::unfence::ROOM`: above every decision that the status may have and no row yet.
    let epoch = 8 + theirs.map_or(0, |theirs| theirs.epoch).max(ours.epoch);
    let guard = Guard { uid: OURS, epoch, fence: ours.fence.unwrap_or(0) };
    if let Some(theirs) = theirs {
        let unchanged = ours.holder == Holder::Side(Side::Source) || theirs.holder == Holder::None;
        let how = if unchanged { ClaimAs::Unchanged } else { ClaimAs::Refused };
        target.claim(&guard, how)?;
    }
    if given {
        let shut = target.row.is_some_and(|row| row.holder == Holder::Refused) && !target.open;
        if !shut || !target.sessions.is_empty() {
            return Err(Refused::StillOpen);
        }
        source.take_back(&guard)?;
    }
    source.unfence(&guard)
}

//! The target is the writer. What the migration made is kept until goal Finish, then removed, in an order that never
//! leaves a slot without its record.

use jiff::{SignedDuration, Timestamp, Unit};

use crate::api::condition::Reason;
use crate::api::database::Goal as Reach;
use crate::database::cname;
use crate::database::decide::{
    Decide, Decision, Found, LookAgain, Phase, State, Step, blocked_next, cutover, deletion,
};
use crate::database::goal::{Decided, Goal, Intent};
use crate::database::seen::Seen;
use crate::fault::{Blocked, Fault};
use crate::postgres::{Holder, Record, Server, Token};
use crate::side::Side;

/// The row of a side, if it is this migration's.
pub(crate) fn token<'a>(goal: &Goal, server: &'a Server) -> Option<&'a Token> {
    match &server.record {
        Record::Present { uid, token, .. } if *uid == goal.migration.uid => Some(token),
        Record::Present { .. } | Record::Absent => None,
    }
}

/// Whether the target is the writer, by the rows of those that answer.
pub(crate) fn is_target_the_writer(goal: &Goal, seen: &Seen) -> bool {
    let says = |side: Side| {
        let server = seen.database.get(side).as_ref().ok();
        server.and_then(|server| token(goal, server)).map(|token| &token.holder)
    };
    [says(Side::Source), says(Side::Target)].contains(&Some(&Holder::Side(Side::Target)))
}

/// What is to be done while the target is the writer and nothing moves.
pub(crate) fn decide(goal: &Goal, seen: &Seen) -> Decision {
    let decision = |step, state, next: String, look_again| Decision {
        phase: Some(Phase::Soaking),
        step,
        state,
        next,
        look_again,
    };
    let stalled = |blocked: Blocked| {
        let next = blocked_next(&blocked);
        decision(None, State::Stalled(blocked), next, LookAgain::Steady)
    };
    // The target's row says who the writer is; that nobody writes to the source too, and that nothing of the move is left
    // there, the source alone can tell.
    let unseen = match &seen.database.source {
        Ok(_) => None,
        Err(Fault::Blocked(blocked)) => Some(stalled(blocked.clone())),
        Err(fault) => {
            let state = State::Uncertain(fault.message().to_owned());
            Some(decision(None, state, "looking again at the source".to_owned(), LookAgain::Soon))
        }
    };
    let ready = |next: &str| {
        let message = "The target is the writer; the source is fenced".to_owned();
        decision(None, State::Ready { reason: Reason::Soaking, message }, next.to_owned(), LookAgain::Steady)
    };
    let (source, target) = (&seen.database.source, &seen.database.target);
    if let Ok(source) = source
        && !source.writers.is_empty()
    {
        return stalled(cutover::two_writers());
    }
    let Some(token) = target.as_ref().ok().and_then(|target| token(goal, target)) else {
        let words =
            target.as_ref().err().map_or("slipway.token on the target is gone", |fault| fault.message());
        return decision(
            None,
            State::Uncertain(words.to_owned()),
            "looking again at the target".to_owned(),
            LookAgain::Soon,
        );
    };
    if goal.deletion.is_some() && goal.reach < Reach::Finish {
        return stalled(Blocked::new(
            Reason::Deleting,
            "Deleting this resource now would remove what a way back needs, so it is held",
            "Remove what asked for the deletion, or set spec.goal to Finish and let that end first",
        ));
    }
    if goal.deletion.is_none() && goal.wanted_writer() == Side::Source {
        return stalled(Blocked::new(
            Reason::NoWayBack,
            "The target is the writer, and this version of Slipway can't take the writer back",
            "Set spec.goal to CutOver (and spec.attempt above the latch, if there is one) to go on with the target",
        ));
    }
    if let Some(unseen) = unseen {
        return unseen;
    }
    match goal.reach {
        Reach::Plan | Reach::Replicate | Reach::CutOver => ready("waiting for goal Finish"),
        Reach::Finish if goal.suspended => ready("suspended: waiting for spec.suspend to be removed"),
        Reach::Finish if token.age < goal.cutover.min_soak => {
            let until = soaked(seen.now, token.age, goal.cutover.min_soak);
            ready(&format!("soaking until {until} (spec.rollback.minSoak), then finishing"))
        }
        Reach::Finish => {
            let decide = Decide {
                intent: Intent::Finish,
                epoch: cutover::epoch_above(seen, goal.decided.as_ref().map_or(0, |d| d.epoch)),
                attempt: goal.attempt,
                latch: None,
                why: "removing what the migration made, and with it every way back".to_owned(),
            };
            let words = decide.why.clone();
            let state = State::Walking { reason: Reason::Finishing, message: words.clone() };
            decision(Some(Step::Decide(decide)), state, words, LookAgain::Soon)
        }
    }
}

/// To the minute, or it would change at each look.
fn soaked(now: Timestamp, age: SignedDuration, soak: SignedDuration) -> Timestamp {
    let end = now.checked_add(soak - age).unwrap_or(now);
    end.round(Unit::Minute).unwrap_or(end)
}

/// Removes what the migration made, once a person ordered it.
pub(crate) fn finish(goal: &Goal, seen: &Seen, decided: &Decided) -> Decision {
    let decision = |step, state, next: String| Decision {
        phase: Some(Phase::Finishing),
        step,
        state,
        next,
        look_again: LookAgain::Soon,
    };
    let walking = |message: String| State::Walking { reason: Reason::Finishing, message };
    let found = match left(goal, seen, decided) {
        Ok(found) => found,
        Err(words) => {
            return decision(None, State::Uncertain(words), "looking again at what is left".to_owned());
        }
    };
    match found {
        Found::Do(_) if goal.suspended && goal.deletion.is_none() => {
            let words = "suspended: waiting for spec.suspend to be removed".to_owned();
            decision(None, State::Walking { reason: Reason::Suspended, message: words.clone() }, words)
        }
        Found::Do(step) => {
            let words = step.describe(goal);
            decision(Some(step), walking(words.clone()), words)
        }
        Found::Wait(words) => decision(None, walking(words.clone()), words),
        Found::Stall(blocked) => {
            let next = blocked_next(&blocked);
            decision(None, State::Stalled(blocked), next)
        }
        Found::Done => {
            let words = "everything that the migration made is removed".to_owned();
            let decide = Decide {
                intent: Intent::Finished,
                epoch: decided.epoch,
                attempt: decided.attempt,
                latch: None,
                why: words.clone(),
            };
            decision(Some(Step::Decide(decide)), walking(words.clone()), words)
        }
    }
}

fn left(goal: &Goal, seen: &Seen, decided: &Decided) -> Result<Found, String> {
    let aws = seen.aws.as_ref().map_err(|fault| fault.message().to_owned())?;
    if let Some(found) = cutover::retire_task(aws) {
        return Ok(found);
    }
    let of = |side: Side| seen.database.get(side).as_ref().map_err(|fault| fault.message().to_owned());
    // The slot before its record, which proves that it is ours; and before the rest, since it fills the target's disk.
    let target = of(Side::Target)?;
    if let Record::Present { uid, slots, .. } = &target.record
        && *uid == goal.migration.uid
        && let Some(slot) = target.slots.iter().find(|slot| slots.contains(&slot.name))
    {
        return Ok(Found::Do(Step::DropReverseSlot(slot.name.clone())));
    }
    if let Some(found) = deletion::resources(goal, aws) {
        return Ok(found);
    }
    match cname::give_back(goal, seen) {
        Ok(None) => {}
        Ok(Some(found)) => return Ok(found),
        Err(Fault::Blocked(blocked)) => return Ok(Found::Stall(blocked)),
        Err(fault) => return Err(fault.message().to_owned()),
    }
    let source = of(Side::Source)?;
    // The move drops it; but a status that was lost may have hidden that the move was not at its end.
    if let Some(slot) = cutover::noted_slot(source) {
        return Ok(Found::Do(Step::DropSlot(slot.name.clone())));
    }
    if token(goal, source).is_some() {
        return Ok(Found::Do(Step::ReleaseSource));
    }
    if token(goal, target).is_some() {
        return Ok(Found::Do(Step::DropTargetRecord));
    }
    debug_assert!(decided.intent == Intent::Finish, "only a recorded decision leads here");
    Ok(Found::Done)
}

/// The end.
pub(crate) fn finished(goal: &Goal) -> Decision {
    let (step, next) = if goal.deletion.is_some() {
        (Some(Step::Release), "nothing is left")
    } else {
        (None, "nothing: the migration is finished, and this resource may be deleted")
    };
    Decision {
        phase: Some(Phase::Finished),
        step,
        state: State::Ready {
            reason: Reason::Finished,
            message: "The target is the writer, and everything that the migration made is removed".to_owned(),
        },
        next: next.to_owned(),
        look_again: LookAgain::Rarely,
    }
}

//! What becomes of a decision.

use slipway::database::decide::{Decision, LookAgain, MoveStep, Step};
use slipway::database::goal::{Goal, Intent};
use slipway::database::seen::Seen;
use slipway::postgres::{ClaimAs, Holder, Record};
use slipway::side::Side;

fn given(seen: &Seen) -> bool {
    matches!(&seen.standing.source, Some(Ok(old)) if old.token.holder == Holder::Side(Side::Target))
}

fn returning(goal: &Goal) -> bool {
    goal.decided.as_ref().is_some_and(|decided| decided.intent == Intent::Return)
}

/// A leader gives all its decisions the number of its first.
pub fn one_epoch_a_leader(goal: &Goal, seen: &Seen, decision: &mut Decision) {
    let known = goal.decided.as_ref().map(|decided| decided.epoch);
    if let Some(Step::Decide(decide)) = &mut decision.step
        && let Some(known) = known
        && seen.memory.led == Some(known)
    {
        decide.epoch = known;
    }
}

/// All decisions have one number.
pub fn one_epoch(_: &Goal, _: &Seen, decision: &mut Decision) {
    if let Some(Step::Decide(decide)) = &mut decision.step {
        decide.epoch = 1;
    }
}

/// The target is opened before the source's row gives the role away.
pub fn open_first(_: &Goal, _: &Seen, decision: &mut Decision) {
    if let Some(Step::Move(step)) = &mut decision.step
        && step.what == MoveStep::Promote
    {
        step.what = MoveStep::Open;
    }
}

/// Given up after the role was given away: un-fenced without a look at the target.
pub fn unfence_blindly(goal: &Goal, seen: &Seen, decision: &mut Decision) {
    if let Some(Step::Move(step)) = &mut decision.step
        && returning(goal)
        && given(seen)
    {
        step.what = MoveStep::Unfence;
    }
}

/// Given up after the role was given away: taken back without telling the target to refuse.
pub fn take_back_blindly(goal: &Goal, seen: &Seen, decision: &mut Decision) {
    if let Some(Step::Move(step)) = &mut decision.step
        && matches!(step.what, MoveStep::Claim(Side::Target, ClaimAs::Refused))
        && returning(goal)
        && given(seen)
    {
        step.what = MoveStep::TakeBack;
    }
}

/// The outage is too long although the role was given away: given up, and un-fenced blindly.
pub fn limit_after_the_decision(goal: &Goal, seen: &Seen, decision: &mut Decision) {
    if let (Some(Ok(old)), Some(decided)) = (&seen.standing.source, &goal.decided)
        && given(seen)
        && decided.intent == Intent::Move
        && old.token.age > goal.cutover.max_write_outage
        && matches!(&decision.step, Some(Step::Move(step)) if step.what == MoveStep::Open)
    {
        decision.step = Some(Step::Decide(slipway::database::decide::Decide {
            intent: Intent::Return,
            epoch: decided.epoch + 1,
            attempt: decided.attempt,
            latch: None,
            why: "a mutant gives up".to_owned(),
        }));
        return;
    }
    unfence_blindly(goal, seen, decision);
}

/// The slot of the way back is dropped while soaking.
pub fn soaking_drops(_: &Goal, seen: &Seen, decision: &mut Decision) {
    let soaking = decision.phase == Some(slipway::database::decide::Phase::Soaking);
    if soaking
        && decision.step.is_none()
        && let Ok(target) = &seen.database.target
        && let Some(slot) = target.slots.first()
    {
        decision.step = Some(Step::DropReverseSlot(slot.name.clone()));
    }
}

/// A deletion in the midst of a move lets go at once.
pub fn let_go_at_once(goal: &Goal, _: &Seen, decision: &mut Decision) {
    if goal.deletion.is_some() && goal.is_moving() {
        decision.step = Some(Step::Release);
        decision.look_again = LookAgain::Soon;
    }
}

/// What the rows tell of a move that the status does not know is not heard.
pub fn rows_unheard(goal: &Goal, _: &Seen, decision: &mut Decision) {
    let knows = goal.decided.as_ref().is_some_and(|decided| decided.intent != Intent::Steady);
    if let Some(Step::Decide(decide)) = &decision.step
        && !knows
        && decide.why.starts_with("the databases' own rows")
    {
        decision.step = None;
        decision.look_again = LookAgain::Rarely;
    }
}

/// The target's record is let go of while it is being finished, before the slot of the way back.
pub fn record_first(_: &Goal, seen: &Seen, decision: &mut Decision) {
    if matches!(decision.step, Some(Step::DropReverseSlot(_)))
        && seen.database.target.as_ref().is_ok_and(|target| target.record != Record::Absent)
    {
        decision.step = Some(Step::DropTargetRecord);
    }
}

/// A goal that goes back in the midst of a move is not heard.
pub fn goal_unheard(goal: &Goal, _: &Seen, decision: &mut Decision) {
    let moving = goal.decided.as_ref().is_some_and(|decided| decided.intent == Intent::Move);
    if moving
        && matches!(&decision.step, Some(Step::Decide(decide)) if decide.intent == Intent::Return && decide.latch.is_none())
    {
        decision.step = None;
    }
}

/// The freeze and what rests on it are left out, and the sides are opened the one beside the other.
pub fn unfence_and_open(goal: &Goal, seen: &Seen, decision: &mut Decision) {
    if let Some(Step::Move(step)) = &mut decision.step
        && step.what == MoveStep::Thaw
        && returning(goal)
        && !given(seen)
    {
        step.what = MoveStep::Open;
    }
}

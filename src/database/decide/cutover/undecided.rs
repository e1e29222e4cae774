//! A move before the writer's role is given away: the fence and its proof, the drain, the freeze, the comparison, the
//! sequences, the way back. Every failure here leads back to the old side.

use super::{BY_HAND, QUIET_LOOKS, Scene, Turn, two_writers};
use crate::api::condition::Reason;
use crate::database::applications::{self, Coupling};
use crate::database::decide::{Found, MoveStep, precheck};
use crate::database::goal::Intent;
use crate::postgres::{ClaimAs, Holder, Standing};

impl Scene<'_> {
    /// Before the role is given away: every failure leads back.
    pub(super) fn undecided(&self, old: &Standing) -> Turn {
        let (goal, seen, epoch) = (self.goal, self.seen, self.decided.epoch);
        let fenced = old.token.holder == Holder::None;
        if let Some(turn) = self.reason_to_return(old) {
            return turn;
        }
        let new = match self.standing(self.way.to()) {
            Ok(new) => new,
            Err(words) if fenced => return Turn::Unknown(words),
            Err(words) => return Turn::Rest(Found::Wait(words)),
        };
        if new.token.holder == Holder::Side(self.way.to()) {
            return Turn::Rest(Found::Stall(two_writers()));
        }
        if self.is_somebody_elses(old, new) {
            return self.give_up(Reason::DecidedElsewhere, BY_HAND);
        }
        let fence_id = self.fence_id();
        let claimed = new.token.epoch == epoch
            && new.token.holder == Holder::Fenced
            && new.token.fence_id.as_ref() == Some(&fence_id);
        if !claimed {
            return Turn::Do(MoveStep::Claim(self.way.to(), ClaimAs::Fenced));
        }
        match &new.slot {
            Some(slot) if slot.usable => {}
            None if !fenced => return Turn::Do(MoveStep::CreateSlot),
            Some(_) | None => {
                let why = format!("the slot of the way back on the {} is gone or lost", self.way.to());
                return self.give_up(Reason::SlotLost, why);
            }
        }
        if !fenced && let Some(turn) = self.in_the_way() {
            return turn;
        }
        if !fenced || old.token.epoch != epoch {
            return Turn::Do(MoveStep::Fence);
        }
        if let Some((_, timeline)) = seen.memory.timeline.as_ref().filter(|(fence, _)| *fence == fence_id)
            && *timeline != old.timeline
        {
            let why = format!("a standby of the {} was promoted in the midst of the fence", self.way.from);
            return self.give_up(Reason::OtherServer, why);
        }
        if let Some(turn) = self.prove(old) {
            return turn;
        }
        if !old.marker {
            return Turn::Do(MoveStep::Mark);
        }
        if let Some(turn) = self.drain_and_freeze(new) {
            return turn;
        }
        // From here on nobody can change either side.
        match seen.memory.verified.as_ref().filter(|verified| verified.fence_id == fence_id) {
            None => return Turn::Do(MoveStep::Verify),
            Some(verified) => {
                if let Some(difference) = &verified.difference {
                    let why = format!("the two sides differ: {difference}");
                    return self.give_up(Reason::DataMismatch, why);
                }
            }
        }
        if seen.memory.sequences != Some((fence_id, epoch)) {
            return Turn::Do(MoveStep::Sequences);
        }
        let slot = goal.migration.move_slot();
        if old.token.reverse.as_ref().is_none_or(|reverse| reverse.slot != slot) {
            return Turn::Do(MoveStep::ArmReverse);
        }
        Turn::Do(MoveStep::Promote)
    }

    /// The rows carry this decision's own number, and what they say no move ever makes: a person opened the old side, or had
    /// the new one refuse, under a number that was taken from the rows before this decision had claimed one.
    fn is_somebody_elses(&self, old: &Standing, new: &Standing) -> bool {
        let epoch = self.decided.epoch;
        (old.token.epoch == epoch && old.token.holder == Holder::Side(self.way.from))
            || (new.token.epoch == epoch && new.token.holder == Holder::Refused)
    }

    /// Why this goes back, if it does: asked for, or not possible, or for too long.
    fn reason_to_return(&self, old: &Standing) -> Option<Turn> {
        let goal = self.goal;
        let softly = |why: &str| Some(Turn::Decide(self.next_decision(Intent::Return, None, why)));
        if let Some(blocked) = &self.seen.memory.failed {
            return Some(self.give_up(blocked.reason, blocked.message.clone()));
        }
        if goal.is_aborted() {
            return Some(self.give_up(Reason::Aborted, "spec.abortAttempt was set"));
        }
        if goal.wanted_writer() != self.way.to() {
            return softly("the goal went back before the target was promoted");
        }
        if goal.suspended {
            return softly("spec.suspend was set before the target was promoted");
        }
        if old.token.holder == Holder::None && old.token.age > goal.cutover.max_write_outage {
            let limit = crate::duration::format(goal.cutover.max_write_outage);
            let why = format!("nobody could write for {limit} (spec.cutover.maxWriteOutage)");
            return Some(self.give_up(Reason::WriteOutageExceeded, why));
        }
        None
    }

    /// Looked at once more right before the fence. Nothing has happened yet, so nothing is latched.
    fn in_the_way(&self) -> Option<Turn> {
        let not_begun = |why: &str| {
            let why = format!("not begun after all: {why}");
            Some(Turn::Decide(self.next_decision(Intent::Return, None, why)))
        };
        match applications::coupling(self.goal, self.seen.applications.as_ref()) {
            Coupling::Free => {}
            // Theirs was first, or it is taken for that: traffic that must go back waits for nobody.
            Coupling::Waits(words) => return not_begun(&words),
            Coupling::Stalls(blocked) => return not_begun(&blocked.message),
            Coupling::Unknown(words) => return Some(Turn::Rest(Found::Wait(words))),
        }
        match precheck::verdict(self.goal, self.seen) {
            Ok(None) => None,
            Ok(Some(blocked)) => not_begun(&blocked.message),
            Err(words) => Some(Turn::Rest(Found::Wait(words))),
        }
    }

    /// The fence is proved by what is not there any more, never by a command's success.
    fn prove(&self, old: &Standing) -> Option<Turn> {
        if !old.prepared.is_empty() {
            let why = format!(
                "a prepared transaction stands in the way of the fence ({}); it is for its owner to commit or roll back",
                old.prepared.join(", ")
            );
            return Some(self.give_up(Reason::PreparedTransaction, why));
        }
        if !old.writers.is_empty() {
            let why = format!("the fence did not stop {}", old.writers.join(", "));
            return Some(self.give_up(Reason::UnlistedWriter, why));
        }
        if old.sessions > 0 {
            return Some(Turn::Do(MoveStep::EndSessions));
        }
        if old.write_locks > 0 {
            return Some(Turn::Poll("waiting for the last writers' locks to be gone".to_owned()));
        }
        if !old.unlayered.is_empty() {
            return Some(Turn::Do(MoveStep::AddLayer));
        }
        if self.seen.memory.quiet_looks < QUIET_LOOKS {
            return Some(Turn::Poll("proving the fence".to_owned()));
        }
        None
    }

    /// The marker counts only when it is read after the freeze: what arrives late must not change what it proved.
    fn drain_and_freeze(&self, new: &Standing) -> Option<Turn> {
        if new.replication_may_write {
            return Some(if new.marker {
                Turn::Do(MoveStep::Freeze)
            } else {
                Turn::Poll("waiting for the marker to arrive on the target".to_owned())
            });
        }
        if new.replication_sessions > 0 {
            return Some(Turn::Do(MoveStep::Freeze));
        }
        if !new.marker {
            let why = "the target was closed to replication before it had everything";
            return Some(self.give_up(Reason::NotDrained, why));
        }
        None
    }
}

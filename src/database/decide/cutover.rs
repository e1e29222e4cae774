//! How the writer moves: from the decision to the opened target, or back to the opened source. One row decides, the old
//! side's `slipway.token`; the rules here only say what is asked of it next.
//!
//! "Old" is the side that the writer leaves. A fact that holds under our own epoch can't be undone by anybody else, so
//! the two sides need not be seen in the same instant.

mod undecided;

use jiff::SignedDuration;

use crate::api::condition::Reason;
use crate::aws::dms::Owner;
use crate::database::cname;
use crate::database::decide::{
    Decide, Decision, Found, LatchWhy, LookAgain, Move, MoveStep, Phase, State, Step, blocked_next, deletion,
};
use crate::database::goal::{ConnectionGoal, Decided, Goal, Intent};
use crate::database::seen::{AwsSeen, Seen};
use crate::fault::{Blocked, Fault};
use crate::postgres::{ClaimAs, Holder, Record, Server, Slot, Standing};
use crate::side::{Direction, Side};

/// So many looks in a row must find the old side quiet: a login that passed its check before the fence may appear after
/// the first.
pub const QUIET_LOOKS: u32 = 2;

/// A side that was given the writer's role and does not answer is waited for this long before a person is told.
const SILENT_FOR: SignedDuration = SignedDuration::from_secs(10);

/// Why a move is given up whose rows were changed by somebody else.
const BY_HAND: &str =
    "A later decision was made outside of this resource (slipway unfence, or another operator)";

/// What a look at a move led to.
#[derive(Clone, Debug, PartialEq)]
enum Turn {
    /// To be done now.
    Do(MoveStep),
    /// To be decided now.
    Decide(Decide),
    /// To be looked at again at once: something that takes milliseconds is awaited.
    Poll(String),
    /// Facts are missing; they are asked for again at once.
    Unknown(String),
    /// Nobody waits for what is left: applications can write.
    Rest(Found),
}

/// The decision while the writer moves.
pub(crate) fn decide(goal: &Goal, seen: &Seen, decided: &Decided) -> Decision {
    let scene = Scene { goal, seen, decided, way: Direction::FORWARD };
    let walking = |message: String| State::Walking { reason: Reason::CuttingOver, message };
    let decision = |step, state, next: String, look_again| Decision {
        phase: Some(Phase::CuttingOver),
        step,
        state,
        next,
        look_again,
    };
    match scene.turn() {
        Turn::Do(what) => {
            let step = Step::Move(scene.under(what));
            let words = step.describe(goal);
            decision(Some(step), walking(words.clone()), words, LookAgain::AtOnce)
        }
        Turn::Decide(decide) => {
            let words = decide.why.clone();
            decision(Some(Step::Decide(decide)), walking(words.clone()), words, LookAgain::AtOnce)
        }
        Turn::Poll(words) => decision(None, walking(words.clone()), words, LookAgain::AtOnce),
        Turn::Unknown(words) => {
            let next = "looking again at what could not be seen".to_owned();
            decision(None, State::Uncertain(words), next, LookAgain::AtOnce)
        }
        Turn::Rest(Found::Do(step)) => {
            let words = step.describe(goal);
            decision(Some(step), walking(words.clone()), words, LookAgain::Soon)
        }
        Turn::Rest(Found::Wait(words)) => decision(None, walking(words.clone()), words, LookAgain::Soon),
        Turn::Rest(Found::Stall(blocked)) => {
            let next = blocked_next(&blocked);
            decision(None, State::Stalled(blocked), next, LookAgain::Soon)
        }
        Turn::Rest(Found::Done) => {
            let words = "the move is at its end".to_owned();
            decision(None, walking(words.clone()), words, LookAgain::Soon)
        }
    }
}

/// A move that the rows tell of and the status does not: the status was lost, or somebody changed a row by hand. Its end
/// is safe to find again.
pub(crate) fn unfinished(goal: &Goal, seen: &Seen) -> Option<Decide> {
    if goal.decided.as_ref().is_some_and(|decided| decided.intent != Intent::Steady) {
        return None;
    }
    let holder = |server: &Server| match &server.record {
        Record::Present { uid, token, .. } if *uid == goal.migration.uid => Some(token.holder.clone()),
        Record::Present { .. } | Record::Absent => None,
    };
    let way = Direction::FORWARD;
    let (old_side, new_side) =
        (seen.database.get(way.from).as_ref().ok()?, seen.database.get(way.to()).as_ref().ok());
    let intent = match (holder(old_side)?, new_side.and_then(holder)) {
        (Holder::None, _) => Intent::Return,
        (Holder::Side(side), Some(new)) if side == way.to() && new != Holder::Side(way.to()) => Intent::Move,
        // The target is open, and the forward task or its slot is still there.
        (Holder::Side(side), Some(_)) if side == way.to() && forward_is_left(seen, old_side) => Intent::Move,
        // The source is open, and the slot of the way back, the last to go, is still there.
        (Holder::Side(side), Some(_))
            if side == way.from && new_side.is_some_and(|new| has_move_slot(goal, new)) =>
        {
            Intent::Return
        }
        _ => return None,
    };
    let (reason, message) = match &goal.decided {
        None => (Reason::StatusLost, "The status was lost in the midst of a cutover, which was given up"),
        Some(_) => (
            Reason::DecidedElsewhere,
            "slipway.token told of a cutover of which this resource knew nothing, and which was given up",
        ),
    };
    Some(Decide {
        intent,
        epoch: epoch_above(seen, goal.decided.as_ref().map_or(0, |decided| decided.epoch)),
        attempt: goal.attempt,
        latch: (intent == Intent::Return).then(|| LatchWhy { reason, message: message.to_owned() }),
        why: "the databases' own rows tell of a move that is not at its end, and the status does not"
            .to_owned(),
    })
}

fn forward_is_left(seen: &Seen, old: &Server) -> bool {
    let task =
        seen.aws.as_ref().is_ok_and(|aws| aws.task.as_ref().is_some_and(|task| task.owner == Owner::Us));
    task || noted_slot(old).is_some()
}

fn has_move_slot(goal: &Goal, new: &Server) -> bool {
    let name = goal.migration.move_slot();
    new.slots.iter().any(|slot| slot.name == name)
        && matches!(&new.record, Record::Present { slots, .. } if slots.contains(&name))
}

/// A slot that is there and is ours.
pub(crate) fn noted_slot(server: &Server) -> Option<&Slot> {
    let Record::Present { slots: ours, .. } = &server.record else { return None };
    server.slots.iter().find(|slot| ours.contains(&slot.name))
}

/// A number above all that were ever used on what can be seen.
pub(crate) fn epoch_above(seen: &Seen, known: i64) -> i64 {
    let standing = [&seen.standing.source, &seen.standing.target];
    let standing = standing.into_iter().flatten().flatten().map(|standing| standing.token.epoch);
    let servers = [&seen.database.source, &seen.database.target];
    let records = servers.into_iter().flatten().map(|server| match &server.record {
        Record::Present { token, .. } => token.epoch,
        Record::Absent => 0,
    });
    standing.chain(records).fold(known, i64::max) + 1
}

/// One look.
struct Scene<'a> {
    goal: &'a Goal,
    seen: &'a Seen,
    decided: &'a Decided,
    way: Direction,
}

impl<'a> Scene<'a> {
    fn turn(&self) -> Turn {
        if self.seen.memory.led != Some(self.decided.epoch) {
            // Another process wrote it, or this one before it ended. What that one still sends must find a higher number.
            return Turn::Decide(self.next_decision(
                self.decided.intent,
                None,
                "taking over the decision of an operator that is gone",
            ));
        }
        let old = match self.standing(self.way.from) {
            Ok(old) => old,
            Err(words) => return Turn::Unknown(words),
        };
        if old.token.epoch > self.decided.epoch
            || self.standing(self.way.to()).is_ok_and(|new| new.token.epoch > self.decided.epoch)
        {
            return self.give_up(Reason::DecidedElsewhere, BY_HAND);
        }
        match self.decided.intent {
            Intent::Move => self.forward(old),
            Intent::Return => self.back(old),
            Intent::Steady | Intent::Finish | Intent::Finished => Turn::Rest(Found::Done),
        }
    }

    fn standing(&self, side: Side) -> Result<&'a Standing, String> {
        match self.seen.standing.get(side) {
            Some(Ok(standing)) => Ok(standing),
            Some(Err(fault)) => Err(fault.message().to_owned()),
            None => Err(format!("the {side} was not asked")),
        }
    }

    /// The fence that this is about: the one that stands, or the one that this decision will build.
    fn fence_id(&self) -> String {
        let standing =
            self.standing(self.way.from).ok().filter(|old| old.token.holder != Holder::Side(self.way.from));
        standing.and_then(|old| old.token.fence_id.clone()).unwrap_or_else(|| self.decided.epoch.to_string())
    }

    fn under(&self, what: MoveStep) -> Move {
        Move {
            epoch: self.decided.epoch,
            fence_id: self.fence_id(),
            direction: self.way,
            slot: self.goal.migration.move_slot(),
            what,
        }
    }

    fn next_decision(&self, intent: Intent, latch: Option<LatchWhy>, why: impl Into<String>) -> Decide {
        Decide {
            intent,
            epoch: epoch_above(self.seen, self.decided.epoch),
            attempt: self.decided.attempt,
            latch,
            why: why.into(),
        }
    }

    /// Back, and not again until a higher attempt is ordered.
    fn give_up(&self, reason: Reason, message: impl Into<String>) -> Turn {
        if self.decided.intent == Intent::Return && self.seen.memory.led == Some(self.decided.epoch) {
            // It was given up already: the same with a number above what was found.
            return Turn::Decide(self.next_decision(Intent::Return, None, message));
        }
        let message = message.into();
        let why = format!("giving up: {message}");
        Turn::Decide(self.next_decision(Intent::Return, Some(LatchWhy { reason, message }), why))
    }

    /// Towards the opened new side.
    fn forward(&self, old: &Standing) -> Turn {
        let to = self.way.to();
        match &old.token.holder {
            Holder::Side(side) if *side == to => self.decided_forward(old),
            Holder::Side(_) | Holder::None => self.undecided(old),
            Holder::Fenced | Holder::Refused | Holder::Other(_) => Turn::Rest(Found::Stall(Blocked::new(
                Reason::InternalError,
                format_args!(
                    "slipway.token on the {} says {}, which no move leaves there",
                    self.way.from,
                    old.token.holder.as_str()
                ),
                "Somebody changed it by hand: `slipway diagnose` says who can write where",
            ))),
        }
    }

    /// The role was given away: only forward, unless the new side refuses.
    fn decided_forward(&self, old: &Standing) -> Turn {
        let to = self.way.to();
        let new = match self.standing(to) {
            Ok(new) => new,
            Err(words) if old.token.age > SILENT_FOR => return Turn::Rest(Found::Stall(silent(to, &words))),
            Err(words) => return Turn::Unknown(words),
        };
        if new.token.holder == Holder::Side(to) {
            let told = self.seen.memory.repointed == Some(self.decided.epoch);
            if !told
                && matches!(
                    self.goal.cutover.connection,
                    Some(ConnectionGoal::Secret { .. } | ConnectionGoal::Record(_))
                )
            {
                // What was refused is told, and tried again at the pace of what a person must mend.
                return match &self.seen.memory.failed {
                    Some(_) => Turn::Rest(Found::Do(Step::Move(self.under(MoveStep::Repoint)))),
                    None => Turn::Do(MoveStep::Repoint),
                };
            }
            return Turn::Rest(self.retire());
        }
        if let Some(blocked) = &self.seen.memory.failed {
            return self.give_up(blocked.reason, blocked.message.clone());
        }
        let ready = new.token.epoch == self.decided.epoch
            && new.token.holder == Holder::Fenced
            && new.token.fence_id == old.token.fence_id;
        Turn::Do(if ready { MoveStep::Open } else { MoveStep::Claim(to, ClaimAs::Fenced) })
    }

    /// Applications write to the new side. The forward task and its slot go before anything else may write to the old
    /// side, so that nothing late can come round.
    fn retire(&self) -> Found {
        let aws = match &self.seen.aws {
            Ok(aws) => aws,
            Err(fault) => return Found::Wait(fault.message().to_owned()),
        };
        if let Some(found) = retire_task(aws) {
            return found;
        }
        let old = match self.seen.database.get(self.way.from) {
            Ok(old) => old,
            Err(fault) => return Found::Wait(fault.message().to_owned()),
        };
        if let Some(slot) = noted_slot(old) {
            let drop = MoveStep::DropSlot(self.way.from, slot.name.clone());
            return Found::Do(Step::Move(self.under(drop)));
        }
        match cname::arrived(self.goal, self.seen, self.way.to()) {
            Found::Done => self.settle("the target is the writer"),
            found => found,
        }
    }

    fn settle(&self, why: &str) -> Found {
        Found::Do(Step::Decide(Decide {
            intent: Intent::Steady,
            // No new number: nothing is begun.
            epoch: self.decided.epoch,
            attempt: self.decided.attempt,
            latch: None,
            why: why.to_owned(),
        }))
    }

    /// Back to the opened old side.
    fn back(&self, old: &Standing) -> Turn {
        let (from, to, epoch) = (self.way.from, self.way.to(), self.decided.epoch);
        if old.token.holder == Holder::Side(to) {
            let new = match self.standing(to) {
                Ok(new) => new,
                Err(words) => return Turn::Rest(Found::Stall(silent(to, &words))),
            };
            if new.token.holder == Holder::Side(to) {
                let why = "the target was opened after all; going forward";
                return Turn::Decide(self.next_decision(Intent::Move, None, why));
            }
            let refused = new.token.holder == Holder::Refused && new.token.epoch == epoch;
            return Turn::Do(if refused {
                MoveStep::TakeBack
            } else {
                MoveStep::Claim(to, ClaimAs::Refused)
            });
        }
        if old.token.holder != Holder::Side(from) || old.token.epoch != epoch {
            return Turn::Do(MoveStep::Unfence);
        }
        let new = match self.standing(to) {
            Ok(new) => new,
            Err(words) => return Turn::Rest(Found::Wait(words)),
        };
        if new.token.holder == Holder::Side(to) {
            return Turn::Rest(Found::Stall(two_writers()));
        }
        let step = if new.token.epoch != epoch {
            MoveStep::Claim(to, ClaimAs::Fenced)
        } else if !new.replication_may_write {
            MoveStep::Thaw
        } else if new.slot.is_some() {
            // The last to go: should the status be lost, it tells that something is left.
            MoveStep::DropSlot(to, self.goal.migration.move_slot())
        } else {
            return Turn::Rest(self.settle("the source is the writer, as before"));
        };
        Turn::Rest(Found::Do(Step::Move(self.under(step))))
    }
}

/// The forward task, until it is gone.
pub(crate) fn retire_task(aws: &AwsSeen) -> Option<Found> {
    let task = aws.task.as_ref().filter(|task| task.owner == Owner::Us)?;
    Some(match deletion::retire(task) {
        Found::Wait(words) => Found::Wait(format!("the target is the writer; {words}")),
        found => found,
    })
}

/// Both sides take writes: a violation that no step of ours leads to.
pub(crate) fn two_writers() -> Blocked {
    Blocked::new(
        Reason::TwoWriters,
        "Applications can write to both databases",
        "Stop them now. Somebody changed privileges or slipway.token by hand: `slipway diagnose` says who can write where",
    )
}

fn silent(side: Side, words: &str) -> Blocked {
    Blocked::new(
        Reason::WriterUnknown,
        format_args!(
            "The writer's role was given to the {side}, and the {side} does not answer, so nobody can tell whether it takes writes ({words})"
        ),
        "Bring it back, and the migration goes on by itself. Opening the other side now is a person's order: see docs/recovery.md",
    )
}

/// What a failed call says about a move: whether it can go on.
pub fn ends_the_move(fault: &Fault) -> Option<Blocked> {
    match fault {
        Fault::Blocked(blocked) => Some(blocked.clone()),
        Fault::Bug(message) => Some(Blocked::new(
            Reason::InternalError,
            message,
            "This is an error in Slipway: please report it with the operator's log",
        )),
        Fault::Again(_) | Fault::Wait(_) | Fault::Unknown(_) => None,
    }
}

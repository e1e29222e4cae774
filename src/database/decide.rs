//! (goal, seen) → decision. Pure: no I/O, no clock but `seen.now`, no randomness, no async. At most one step.

pub mod assess;
mod cutover;
pub(crate) mod deletion;
mod forward;
mod move_step;
pub(crate) mod precheck;
#[cfg(test)]
pub(crate) mod scene;
mod soak;
mod step;
#[cfg(test)]
mod tests;
pub mod wanted;

pub use cutover::{QUIET_LOOKS, ends_the_move};
pub use move_step::{Decide, LatchWhy, Move, MoveStep, Stage};
pub use step::Step;

use jiff::SignedDuration;

use crate::api::condition::Reason;
use crate::api::database::{DeletionPolicy, Goal as Reach};
use crate::database::goal::{Goal, Intent};
use crate::database::seen::Seen;
use crate::fault::{Blocked, Fault};
use crate::side::Side;

/// How often our own heartbeat is written and its arrival measured.
pub const BEAT_EVERY: SignedDuration = SignedDuration::from_secs(10);
/// A measured lag older than this is no knowledge.
pub const LAG_FRESH_FOR: SignedDuration = SignedDuration::from_secs(60);
/// A successful connection test older than this is history, not a proof (aws-facts: the API has no time of its own).
pub const TEST_FRESH_FOR: SignedDuration = SignedDuration::from_hours(1);
/// A failed connection test is repeated after this.
pub const RETEST_AFTER: SignedDuration = SignedDuration::from_secs(20);
/// A fence that left a writer is tried again after this.
pub const REFENCE_AFTER: SignedDuration = SignedDuration::from_secs(60);
/// A task that stopped for a passing reason is resumed after this.
pub const RESUME_AFTER: SignedDuration = SignedDuration::from_secs(5);
/// A task that stopped at an error is resumed after this: long enough to mend the cause, and an unmended one stops it
/// again at the same place, since every error policy is strict.
pub const RESUME_AFTER_FATAL: SignedDuration = SignedDuration::from_mins(1);

/// What to do and what to say.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Where the migration stands; `None` if that can't be told now, and then the last word stands.
    pub phase: Option<Phase>,
    /// The one step to perform now.
    pub step: Option<Step>,
    /// How it is.
    pub state: State,
    /// What happens next, in one sentence that does not change by itself.
    pub next: String,
    /// When to look again if nothing was done.
    pub look_again: LookAgain,
}

/// Where a migration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Nothing was made; both sides are fit.
    Pending,
    /// Nothing was made; facts are missing or something is in the way.
    Assessing,
    /// Making what is needed.
    Provisioning,
    /// The task copies tables.
    Loading,
    /// The target follows the source.
    Replicating,
    /// The writer moves.
    CuttingOver,
    /// The target is the writer, and what was made is kept.
    Soaking,
    /// Removing what was made, the way back included.
    Finishing,
    /// Nothing is left.
    Finished,
    /// Removing what was made.
    Deleting,
}

impl Phase {
    /// What being in it means, for those who read events and history.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Pending => "Nothing was made yet, and nothing is in the way",
            Self::Assessing => "Nothing was made yet, and something is in the way",
            Self::Provisioning => "Making what replication needs",
            Self::Loading => "The task copies the tables",
            Self::Replicating => "Every table is loaded; the task applies each change of the source",
            Self::CuttingOver => "The writer moves: nobody can write until it has arrived, or is back",
            Self::Soaking => "The target is the writer; the source is fenced",
            Self::Finishing => "Removing what the migration made, and with it every way back",
            Self::Finished => "The target is the writer, and everything that the migration made is removed",
            Self::Deleting => "Removing what was made; the target's rows and its fence stay",
        }
    }

    /// The word as the status shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Assessing => "Assessing",
            Self::Provisioning => "Provisioning",
            Self::Loading => "Loading",
            Self::Replicating => "Replicating",
            Self::CuttingOver => "CuttingOver",
            Self::Soaking => "Soaking",
            Self::Finishing => "Finishing",
            Self::Finished => "Finished",
            Self::Deleting => "Deleting",
        }
    }
}

/// How a migration is.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// What Git allows is reached and healthy.
    Ready {
        /// The word.
        reason: Reason,
        /// The sentence.
        message: String,
    },
    /// On its way.
    Walking {
        /// The word.
        reason: Reason,
        /// The sentence.
        message: String,
    },
    /// A person must change something.
    Stalled(Blocked),
    /// The facts could not be had; the sentence says which. Says nothing about the migration yet.
    Uncertain(String),
}

/// When to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookAgain {
    /// Applications can't write: within milliseconds.
    AtOnce,
    /// AWS is at work: soon.
    Soon,
    /// Replicating: at the pace of the heartbeat.
    Steady,
    /// A person must act, or nothing is to be done.
    Rarely,
}

/// What `forward` and `deletion` found: exactly one of these.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Found {
    /// To be done now.
    Do(Step),
    /// Something is at work; the sentence says what.
    Wait(String),
    /// A person must change something.
    Stall(Blocked),
    /// Nothing is left to do.
    Done,
}

/// The decision. Total: every goal and every observation has one.
pub fn decide(goal: &Goal, seen: &Seen) -> Decision {
    if let Some(decided) = &goal.decided {
        match decided.intent {
            Intent::Move | Intent::Return => return cutover::decide(goal, seen, decided),
            Intent::Finish => return soak::finish(goal, seen, decided),
            Intent::Finished => return soak::finished(goal),
            Intent::Steady => {}
        }
    }
    if let Some(decide) = cutover::unfinished(goal, seen) {
        let words = decide.why.clone();
        return Decision {
            phase: Some(Phase::CuttingOver),
            step: Some(Step::Decide(decide)),
            state: State::Walking { reason: Reason::CuttingOver, message: words.clone() },
            next: words,
            look_again: LookAgain::AtOnce,
        };
    }
    if soak::is_target_the_writer(goal, seen) {
        return soak::decide(goal, seen);
    }
    match (goal.deletion, goal.reach) {
        (Some(policy), _) => delete(goal, seen, policy),
        (None, Reach::Plan) => plan(goal, seen),
        (None, Reach::Replicate | Reach::CutOver | Reach::Finish) => replicate(goal, seen),
    }
}

fn plan(goal: &Goal, seen: &Seen) -> Decision {
    let state = match assess::assess(goal, seen) {
        Err(message) => State::Uncertain(message),
        Ok(blockers) => match blockers.into_iter().next() {
            Some(first) => State::Stalled(first),
            None => State::Ready {
                reason: Reason::Planned,
                message: "Nothing was changed; status.plan lists what goal Replicate would do".to_owned(),
            },
        },
    };
    let next = match &state {
        State::Ready { .. } => "waiting for goal Replicate".to_owned(),
        State::Stalled(blocked) => blocked_next(blocked),
        State::Walking { .. } | State::Uncertain(_) => "looking at both sides".to_owned(),
    };
    let phase = match &state {
        State::Ready { .. } => Some(Phase::Pending),
        State::Stalled(_) => Some(Phase::Assessing),
        State::Walking { .. } | State::Uncertain(_) => None,
    };
    Decision { phase, step: None, state, next, look_again: LookAgain::Rarely }
}

fn replicate(goal: &Goal, seen: &Seen) -> Decision {
    let blockers = match assess::assess(goal, seen) {
        Ok(blockers) => blockers,
        Err(message) => {
            return Decision {
                phase: forward::phase(goal, seen),
                step: None,
                state: State::Uncertain(message),
                next: "looking again at what could not be seen".to_owned(),
                look_again: LookAgain::Soon,
            };
        }
    };
    let phase = forward::phase(goal, seen);
    if let Some(first) = blockers.into_iter().next() {
        // Forward nothing; but a target that came open is fenced again whatever else is wrong, and the lag is measured.
        let step = if goal.claimed { forward::guard(goal, seen) } else { None };
        let next = blocked_next(&first);
        let phase = if goal.claimed { phase } else { Some(Phase::Assessing) };
        return Decision { phase, step, state: State::Stalled(first), next, look_again: LookAgain::Rarely };
    }
    match forward::next(goal, seen) {
        Found::Do(step) if goal.suspended && !step.is_guard() => Decision {
            phase,
            step: None,
            state: State::Walking {
                reason: Reason::Suspended,
                message: format!("spec.suspend holds the next step: {}", step.describe(goal)),
            },
            next: "suspended: waiting for spec.suspend to be removed".to_owned(),
            look_again: LookAgain::Steady,
        },
        // What repeats for ever changes nothing of how it stands.
        Found::Do(step) if step.is_routine() => Decision { step: Some(step), ..following(goal, seen, phase) },
        Found::Do(step) => {
            let message = step.describe(goal);
            Decision {
                phase,
                step: Some(step),
                state: State::Walking { reason: walking_reason(phase), message: message.clone() },
                next: message,
                look_again: LookAgain::Soon,
            }
        }
        Found::Wait(message) => Decision {
            phase,
            step: None,
            state: State::Walking { reason: walking_reason(phase), message: message.clone() },
            next: message,
            look_again: LookAgain::Soon,
        },
        Found::Stall(blocked) => {
            let next = blocked_next(&blocked);
            Decision {
                phase,
                step: None,
                state: State::Stalled(blocked),
                next,
                look_again: LookAgain::Steady,
            }
        }
        Found::Done => following(goal, seen, phase),
    }
}

/// The target follows the source: is more wanted?
fn following(goal: &Goal, seen: &Seen, phase: Option<Phase>) -> Decision {
    let (state, next, look_again) = standing(goal, seen);
    let as_it_is = Decision { phase, step: None, state, next, look_again };
    if goal.reach < Reach::CutOver || !matches!(as_it_is.state, State::Ready { .. }) {
        return as_it_is;
    }
    if goal.is_aborted() && !goal.is_latched() {
        let why = LatchWhy { reason: Reason::Aborted, message: "spec.abortAttempt was set".to_owned() };
        // A heartbeat goes first where one is due: soon, none is.
        return Decision { step: Some(Step::Latch(why)), look_again: LookAgain::Soon, ..as_it_is };
    }
    if let Some(latch) = goal.latch.as_ref().filter(|_| goal.is_latched()) {
        let blocked = Blocked::new(
            Reason::GivenUp,
            format_args!("Attempt {} at the cutover was given up: {}", latch.attempt, latch.message),
            format_args!(
                "The source is the writer, and the target follows. Mend the cause, then set spec.attempt above {}",
                latch.attempt
            ),
        );
        let next = blocked_next(&blocked);
        return Decision { state: State::Stalled(blocked), next, look_again: LookAgain::Steady, ..as_it_is };
    }
    if goal.suspended {
        return Decision { next: "suspended: waiting for spec.suspend to be removed".to_owned(), ..as_it_is };
    }
    match precheck::gate(goal, seen) {
        Found::Do(step) => {
            let words = step.describe(goal);
            let state = State::Walking { reason: Reason::CuttingOver, message: words.clone() };
            Decision { step: Some(step), state, next: words, look_again: LookAgain::Soon, ..as_it_is }
        }
        Found::Wait(words) => Decision { next: words, ..as_it_is },
        Found::Stall(blocked) => {
            let next = blocked_next(&blocked);
            Decision { state: State::Stalled(blocked), next, look_again: LookAgain::Steady, ..as_it_is }
        }
        Found::Done => as_it_is,
    }
}

/// The task runs and nothing is left to do but to follow: how healthy is that?
fn standing(goal: &Goal, seen: &Seen) -> (State, String, LookAgain) {
    let following = match goal.wanted_writer() {
        Side::Source => "following the source; Replicate is reached".to_owned(),
        Side::Target => "following the source; the cutover comes next".to_owned(),
    };
    let Some(lag) = seen.memory.lag.filter(|lag| !is_older(lag.at, LAG_FRESH_FOR, seen)) else {
        return (
            State::Walking {
                reason: Reason::Replicating,
                message: "The heartbeat has not been seen on the target yet, so the lag is unknown"
                    .to_owned(),
            },
            "measuring the lag".to_owned(),
            LookAgain::Soon,
        );
    };
    if lag.age > goal.lag_threshold() {
        let limit = crate::duration::format(goal.lag_threshold());
        return (
            State::Walking {
                reason: Reason::Replicating,
                message: format!("The target is more than {limit} behind the source"),
            },
            "waiting for the target to catch up".to_owned(),
            LookAgain::Steady,
        );
    }
    (
        State::Ready {
            reason: Reason::Replicating,
            message: "Every table is loaded and the target follows the source".to_owned(),
        },
        following,
        LookAgain::Steady,
    )
}

fn delete(goal: &Goal, seen: &Seen, policy: DeletionPolicy) -> Decision {
    let walking = |message: String| State::Walking { reason: Reason::Deleting, message: message.clone() };
    let decision = |step, state, next, look_again| Decision {
        phase: Some(Phase::Deleting),
        step,
        state,
        next,
        look_again,
    };
    // A status that was lost tells of nothing; what was made is seen all the same.
    if policy == DeletionPolicy::Retain || (!goal.claimed && deletion::is_nothing_ours(goal, seen)) {
        let message = "letting go of everything that was made".to_owned();
        return decision(Some(Step::Release), walking(message.clone()), message, LookAgain::Soon);
    }
    match deletion::next(goal, seen) {
        Err(Fault::Blocked(blocked)) | Ok(Found::Stall(blocked)) => {
            let next = blocked_next(&blocked);
            decision(None, State::Stalled(blocked), next, LookAgain::Rarely)
        }
        Err(fault) => decision(
            None,
            State::Uncertain(fault.message().to_owned()),
            "looking again at what is left".to_owned(),
            LookAgain::Soon,
        ),
        Ok(Found::Do(step)) => {
            let message = step.describe(goal);
            decision(Some(step), walking(message.clone()), message, LookAgain::Soon)
        }
        Ok(Found::Wait(message)) => decision(None, walking(message.clone()), message, LookAgain::Soon),
        Ok(Found::Done) => {
            let message = "nothing is left".to_owned();
            decision(Some(Step::Release), walking(message.clone()), message, LookAgain::Soon)
        }
    }
}

fn blocked_next(blocked: &Blocked) -> String {
    format!("waiting for a person: {} (see the Stalled condition)", blocked.reason)
}

fn walking_reason(phase: Option<Phase>) -> Reason {
    match phase {
        Some(Phase::Loading) => Reason::Loading,
        Some(Phase::Replicating) => Reason::Replicating,
        Some(Phase::Deleting) => Reason::Deleting,
        Some(Phase::CuttingOver) => Reason::CuttingOver,
        Some(Phase::Soaking) => Reason::Soaking,
        Some(Phase::Finishing) => Reason::Finishing,
        Some(Phase::Finished) => Reason::Finished,
        Some(Phase::Pending | Phase::Assessing | Phase::Provisioning) | None => Reason::Provisioning,
    }
}

fn is_older(at: jiff::Timestamp, than: SignedDuration, seen: &Seen) -> bool {
    seen.now.duration_since(at) > than
}

//! (goal, seen) → decision. Pure: no I/O, no clock but `seen.now`, no randomness, no async. At most one step.
//!
//! What may happen is looked for in this order, and the first is done: what must go back goes back, what was asked for is
//! submitted and waited for, what is needed beside it is made, and only then traffic goes on.

mod deletion;
mod finish;
pub mod fit;
mod forward;
mod stage;
mod step;
#[cfg(test)]
pub(crate) mod tests;
mod walk;
pub mod wanted;
mod words;

pub use step::{Batch, Intend, Step};

use jiff::{SignedDuration, Timestamp};

use crate::api::application::{DeletionPolicy, Goal as Reach};
use crate::api::condition::Reason;
use crate::application::goal::Goal;
use crate::application::records::{self, Stands};
use crate::application::seen::Seen;
use crate::aws::balancer::Balancer;
pub use crate::database::decide::State;
use crate::fault::{Blocked, Fault};
use crate::gate::{self, Gate, Judgement, Verdict};

/// While Route 53 carries a change to its servers: `GetChange` is asked no more often (AWS allows few requests a second for a
/// whole account).
const PROPAGATION_LOOK: SignedDuration = SignedDuration::from_secs(5);
/// While traffic should go back and can't.
const URGENT_LOOK: SignedDuration = SignedDuration::from_secs(2);
/// While something that changes by itself is in the way.
const SOON: SignedDuration = SignedDuration::from_secs(5);
/// While nothing is to be done but to look.
const RARELY: SignedDuration = SignedDuration::from_secs(15);

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
    pub look_again: SignedDuration,
    /// How the records differ from what was asked for.
    pub drift: Option<String>,
    /// Until when the step is held at least.
    pub hold_until: Option<Timestamp>,
}

/// Where a migration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Nothing was made; nothing is in the way.
    Pending,
    /// Nothing was made; facts are missing or something is in the way.
    Assessing,
    /// Both sides and the records are made ready; all traffic goes to the source.
    Staging,
    /// Traffic moves by steps.
    Shifting,
    /// All steps were passed.
    Shifted,
    /// Traffic goes back.
    RollingBack,
    /// All traffic went back, and stays.
    RolledBack,
    /// The name is left to the target alone.
    Finishing,
    /// Nothing is left but the target's record.
    Finished,
    /// What stood before is restored.
    Deleting,
}

impl Phase {
    /// What being in it means, for those who read events and history.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Pending => "Nothing was made yet, and nothing is in the way",
            Self::Assessing => "Nothing was made yet, and something is in the way",
            Self::Staging => "All traffic goes to the source; both sides are made ready",
            Self::Shifting => "Traffic moves to the target, step by step",
            Self::Shifted => "All traffic goes to the target, and the last step was passed",
            Self::RollingBack => "Traffic goes back to the source",
            Self::RolledBack => "All traffic went back to the source, and stays there",
            Self::Finishing => "The name is left to the target alone, without a way back by weights",
            Self::Finished => "The name leads to the target alone, and what the migration made is removed",
            Self::Deleting => "What stood at the name before is restored, and what was made is removed",
        }
    }

    /// The word as the status shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Assessing => "Assessing",
            Self::Staging => "Staging",
            Self::Shifting => "Shifting",
            Self::Shifted => "Shifted",
            Self::RollingBack => "RollingBack",
            Self::RolledBack => "RolledBack",
            Self::Finishing => "Finishing",
            Self::Finished => "Finished",
            Self::Deleting => "Deleting",
        }
    }
}

/// What every part of a decision looks at.
struct View<'a> {
    goal: &'a Goal,
    seen: &'a Seen,
    stands: &'a Stands,
}

impl View<'_> {
    fn balancer(&self) -> Option<&Balancer> {
        self.seen.balancer.as_ref().ok()?.as_ref()
    }

    /// When the present weight was reached; `None` while it changes.
    fn since(&self) -> Option<Timestamp> {
        self.goal.requested.as_ref()?.since
    }

    fn standing(&self, gate: &Gate) -> Judgement {
        self.standing_since(gate, self.since())
    }

    /// The same, where a pass counts if it is from after `since`.
    fn standing_since(&self, gate: &Gate, since: Option<Timestamp>) -> Judgement {
        gate::standing(gate, self.seen.gates.get(&gate.name), since, self.seen.now)
    }

    /// The first gate that decides at this weight and has this verdict.
    fn gate_with(&self, weight: u8, verdict: Verdict) -> Option<(String, Judgement)> {
        let judged = self.goal.gates_at(weight).map(|gate| (gate.name.clone(), self.standing(gate)));
        judged.into_iter().find(|(_, judgement)| judgement.verdict == verdict)
    }

    /// When to look again if only gates and time bring news: the next gate that is due, or `at`.
    fn by(&self, at: Option<Timestamp>) -> SignedDuration {
        let due = self.goal.gates.iter().map(|gate| match self.seen.gates.get(&gate.name) {
            Some(track) => gate.interval.saturating_sub(self.seen.now.duration_since(track.judged_at)),
            None => SignedDuration::ZERO,
        });
        let at = at.map(|at| at.duration_since(self.seen.now));
        let soonest = due.chain(at).chain([RARELY]).min().unwrap_or(RARELY);
        soonest.max(SignedDuration::from_millis(500))
    }
}

/// How the gates stand, in the order of the spec.
pub fn gates<'a>(goal: &'a Goal, seen: &Seen) -> Vec<(&'a Gate, Judgement)> {
    let since = goal.requested.as_ref().and_then(|requested| requested.since);
    let judge = |gate: &'a Gate| (gate, gate::standing(gate, seen.gates.get(&gate.name), since, seen.now));
    goal.gates.iter().map(judge).collect()
}

/// The decision. Total: every goal and every observation has one.
pub fn decide(goal: &Goal, seen: &Seen) -> Decision {
    if goal.deletion == Some(DeletionPolicy::Retain) {
        return deletion::release(goal, "letting go of everything as it is");
    }
    let records = match (&seen.account, &seen.records) {
        (Ok(()), Ok(records)) => records,
        // Where there is no zone its records can't be read; that there is none says more.
        (Ok(()), Err(_)) if matches!(seen.zone, Ok(None)) => {
            return stalled((!goal.claimed).then_some(Phase::Assessing), stage::no_zone(goal));
        }
        (Err(fault), _) | (_, Err(fault)) => return unreadable(goal, fault),
    };
    let stands = records::stands(goal, records);
    let view = View { goal, seen, stands: &stands };
    if goal.no_return {
        return finish::decide(&view);
    }
    if goal.deletion.is_some() {
        return deletion::decide(&view);
    }
    match goal.reach {
        Reach::Plan if !goal.claimed => stage::plan(&view),
        Reach::Plan | Reach::Stage | Reach::Shift | Reach::Finish if goal.claimed => walk::decide(&view),
        Reach::Plan | Reach::Stage | Reach::Shift | Reach::Finish => stage::begin(&view),
    }
}

fn unreadable(goal: &Goal, fault: &Fault) -> Decision {
    let phase = (!goal.claimed).then_some(Phase::Assessing);
    match fault {
        Fault::Blocked(blocked) => stalled(phase, blocked.clone()),
        Fault::Again(_) | Fault::Wait(_) | Fault::Unknown(_) | Fault::Bug(_) => Decision {
            phase,
            step: None,
            state: State::Uncertain(fault.message().to_owned()),
            next: "looking again at what could not be seen".to_owned(),
            look_again: SOON,
            drift: None,
            hold_until: None,
        },
    }
}

fn stalled(phase: Option<Phase>, blocked: Blocked) -> Decision {
    Decision {
        phase,
        step: None,
        next: format!("waiting for a person: {} (see the Stalled condition)", blocked.reason),
        state: State::Stalled(blocked),
        look_again: RARELY,
        drift: None,
        hold_until: None,
    }
}

fn walking(phase: Phase, reason: Reason, words: impl Into<String>) -> Decision {
    let words = words.into();
    Decision {
        phase: Some(phase),
        step: None,
        state: State::Walking { reason, message: words.clone() },
        next: words,
        look_again: SOON,
        drift: None,
        hold_until: None,
    }
}

fn step(goal: &Goal, phase: Phase, reason: Reason, step: Step) -> Decision {
    let words = step.describe(goal);
    Decision { step: Some(step), ..walking(phase, reason, words) }
}

fn ready(phase: Phase, reason: Reason, message: impl Into<String>, next: impl Into<String>) -> Decision {
    let message = message.into();
    Decision { state: State::Ready { reason, message }, next: next.into(), ..walking(phase, reason, "") }
}

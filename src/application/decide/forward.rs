//! At rest at a weight: is it to go on, and may it?

use jiff::Timestamp;

use super::fit::{self, Fit};
use super::walk::{intend_forward, phase_at, suspended};
use super::{Decision, Phase, View, finish, ready, stalled, walking, wanted, words};
use crate::api::application::Goal as Reach;
use crate::api::condition::Reason;
use crate::application::goal::Requested;
use crate::application::records::Ours;
use crate::fault::Blocked;
use crate::gate::{Judgement, Verdict};
use crate::side::Side;

/// The records are as asked for, on all servers.
pub(super) fn decide(view: &View, asked: &Requested, ours: &Ours) -> Decision {
    let goal = view.goal;
    let phase = phase_at(view, Some(asked.weight)).unwrap_or(Phase::Shifting);
    let until = hold_until(view, asked, ours);
    let with = |decision: Decision| Decision { hold_until: until, ..decision };
    if goal.deletion.is_none()
        && !goal.suspended
        && let Some(decision) = wanted::make(view, phase)
    {
        return with(decision);
    }
    if goal.is_latched() || goal.is_aborted() {
        return with(given_up(view));
    }
    with(if asked.weight < goal.ceiling() {
        onwards(view, asked.weight, until)
    } else if asked.weight == 0 {
        staged(view, until)
    } else if asked.weight < 100 {
        at_the_ceiling(view, asked.weight, until)
    } else {
        at_the_end(view, until)
    })
}

/// Until when this weight is held at least: every resolver must have it, and then its hold passes.
fn hold_until(view: &View, asked: &Requested, ours: &Ours) -> Option<Timestamp> {
    let goal = view.goal;
    let since = asked.since?;
    let hold = goal.step_at(asked.weight).map_or(jiff::SignedDuration::ZERO, |step| step.hold);
    let end = since.checked_add(goal.ttl().saturating_add(hold)).unwrap_or(Timestamp::MAX);
    // What stood there before stays with resolvers for its own TTL. Until that has passed they do not even ask.
    let old = ours.marker.replaced.as_ref().map_or(0, |replaced| i64::from(replaced.ttl));
    let staged = asked.staged_at.unwrap_or(since);
    let known = staged.checked_add(jiff::SignedDuration::from_secs(old)).unwrap_or(Timestamp::MAX);
    Some(end.max(known))
}

fn given_up(view: &View) -> Decision {
    let goal = view.goal;
    let (attempt, why) = goal.latch.as_ref().filter(|_| goal.is_latched()).map_or_else(
        || (goal.abort_attempt.unwrap_or(goal.attempt), "spec.abortAttempt was set"),
        |latch| (latch.attempt, latch.message.as_str()),
    );
    let above = attempt.max(goal.abort_attempt.unwrap_or(attempt));
    let blocked = Blocked::new(
        Reason::GivenUp,
        format_args!("Attempt {attempt} was given up: {why}"),
        format_args!(
            "All traffic goes to the source. Mend the cause, then set spec.attempt above {above}; it goes on from the first step"
        ),
    );
    stalled(Some(Phase::RolledBack), blocked)
}

/// There is a higher weight that Git allows.
fn onwards(view: &View, weight: u8, until: Option<Timestamp>) -> Decision {
    let Some(next) = view.goal.step_after(weight) else { return at_the_end(view, until) };
    if view.goal.suspended {
        return suspended(view, weight);
    }
    if view.goal.deletion.is_some() {
        return deletion_holds(weight);
    }
    if let Some(decision) = holds(view, weight, until, &format!("then weight {}", next.weight)) {
        return decision;
    }
    match may_go_forward(view) {
        Fit::Proved => {
            let why = if weight == 0 {
                "both sides are ready".to_owned()
            } else {
                format!("the hold at {weight} % passed with every gate")
            };
            intend_forward(view, next.weight, why)
        }
        refused => {
            waits(view, phase_at(view, Some(weight)).unwrap_or(Phase::Shifting), next.weight, &refused)
        }
    }
}

/// Whether anything but time and gates lets traffic go to the target.
fn may_go_forward(view: &View) -> Fit {
    let (goal, seen) = (view.goal, view.seen);
    fit::side(goal, seen, Side::Target).and(|| fit::still(goal, seen)).and(|| fit::in_order(goal, seen))
}

/// What holds a weight that was asked for and not submitted: all that would have held asking for it, without the time. Its
/// gates passed then; where one failed since, or is not known any more, the weight before is asked for again, and held anew.
pub(super) fn held(view: &View, weight: u8) -> Option<Decision> {
    if view.goal.suspended {
        return Some(suspended(view, weight));
    }
    if view.goal.deletion.is_some() {
        return Some(deletion_holds(weight));
    }
    let in_order = fit::in_order(view.goal, view.seen);
    if !in_order.is_proved() {
        return Some(waits(view, Phase::Shifting, weight, &in_order));
    }
    let below = view.goal.weight_before(weight);
    unpassed(view, below, Timestamp::MIN).map(|(name, judgement)| {
        let why = format!("gate {name} must pass again before weight {weight}: {}", judgement.reason);
        intend_forward(view, below, why)
    })
}

/// The hold and the gates of a weight, if they are not passed.
fn holds(view: &View, weight: u8, until: Option<Timestamp>, then: &str) -> Option<Decision> {
    let phase = phase_at(view, Some(weight)).unwrap_or(Phase::Shifting);
    let since = view.since()?;
    let now = view.seen.now;
    if let Some(until) = until.filter(|until| now < *until) {
        let why = if weight == 0 { "until resolvers have the new records: " } else { "" };
        let words = format!("{why}hold until {}, {then}", words::until(until, since));
        return Some(Decision { look_again: view.by(Some(until)), ..walking(phase, reason(weight), words) });
    }
    let (name, judgement) = unpassed(view, weight, since)?;
    let words = format!("waiting for gate {name}: {}, {then}", judgement.reason);
    Some(Decision { look_again: view.by(None), ..walking(phase, reason(weight), words) })
}

/// The first gate that has not passed. Before the first step nothing can be known that rests on the target's traffic: such a
/// gate then only must not fail. A pass counts if it is from after `since`.
fn unpassed(view: &View, weight: u8, since: Timestamp) -> Option<(String, Judgement)> {
    let judged = view.goal.gates_at(weight).map(|gate| (gate, view.standing_since(gate, Some(since))));
    let mut judged = judged.into_iter().filter(|(gate, judgement)| match judgement.verdict {
        Verdict::Pass => false,
        Verdict::Fail => true,
        Verdict::Unknown => weight > 0 || !gate.rule.needs_traffic(),
    });
    judged.next().map(|(gate, judgement)| (gate.name.clone(), judgement))
}

fn reason(weight: u8) -> Reason {
    if weight == 0 { Reason::Staging } else { Reason::Shifting }
}

/// Traffic does not go to `weight` for now.
pub(super) fn waits(view: &View, phase: Phase, weight: u8, refused: &Fit) -> Decision {
    let because = refused.why().unwrap_or_default();
    let words = format!("waiting with weight {weight}: {because}");
    Decision { look_again: view.by(None), ..walking(phase, reason(weight), words) }
}

/// All traffic is at the source, and no more is allowed.
fn staged(view: &View, until: Option<Timestamp>) -> Decision {
    let goal = view.goal;
    if let Some(until) = until.filter(|until| view.seen.now < *until)
        && let Some(since) = view.since()
    {
        let words =
            format!("until resolvers have the new records: hold until {}", words::until(until, since));
        return Decision {
            look_again: view.by(Some(until)),
            ..walking(Phase::Staging, Reason::Staging, words)
        };
    }
    let both = fit::side(goal, view.seen, Side::Target).and(|| fit::side(goal, view.seen, Side::Source));
    if let Some(why) = both.why() {
        let words = format!("waiting until both sides are ready: {why}");
        return Decision { look_again: view.by(None), ..walking(Phase::Staging, Reason::Staging, words) };
    }
    let next = if goal.reach < Reach::Shift {
        "waiting for goal Shift".to_owned()
    } else {
        let first = goal.steps.first().map_or(100, |step| step.weight);
        format!("waiting for spec.traffic.maxWeight of at least {first}")
    };
    let message = "Both sides are ready, and all traffic goes to the source";
    Decision { look_again: view.by(None), ..ready(Phase::Staging, Reason::Staging, message, next) }
}

/// Git allows no more for now.
fn at_the_ceiling(view: &View, weight: u8, until: Option<Timestamp>) -> Decision {
    let next = view.goal.step_after(weight).map_or(100, |step| step.weight);
    let then = format!("then waiting for spec.traffic.maxWeight of at least {next}");
    if let Some(decision) = holds(view, weight, until, &then) {
        return decision;
    }
    let message = format!("{weight} % go to the target, and every gate passes");
    let next = format!("waiting for spec.traffic.maxWeight of at least {next}");
    Decision { look_again: view.by(None), ..ready(Phase::Shifting, Reason::Shifting, message, next) }
}

/// All traffic goes to the target.
fn at_the_end(view: &View, until: Option<Timestamp>) -> Decision {
    if let Some(decision) = holds(view, 100, until, "then all steps are passed") {
        return decision;
    }
    // That all is shifted is told before the end begins; of a resource that is being deleted the phase tells that instead.
    if view.goal.reach == Reach::Finish && (view.goal.settled || view.goal.deletion.is_some()) {
        return finish::begin(view);
    }
    let next = match view.goal.reach {
        Reach::Finish => "then finishing",
        Reach::Plan | Reach::Stage | Reach::Shift => "waiting for goal Finish",
    };
    let message = "All traffic goes to the target, and every gate passes";
    Decision { look_again: view.by(None), ..ready(Phase::Shifted, Reason::Shifted, message, next) }
}

/// The resource is being deleted while traffic goes to the target: that moves nothing, and ends no way back.
pub(super) fn deletion_holds(weight: u8) -> Decision {
    let finish = if weight == 100 { ", or to Finish to leave it at the target" } else { "" };
    let blocked = Blocked::new(
        Reason::Deleting,
        format_args!(
            "Deleting this resource never moves traffic, and {weight} % go to the target, so it is held"
        ),
        format_args!(
            "Set spec.goal to Stage to take all traffic back first{finish}; or spec.deletionPolicy to Retain to leave all as it is"
        ),
    );
    stalled(Some(Phase::Deleting), blocked)
}

//! The walk of a claimed migration: what must go back, what was asked for, and whether the records are as they should be.

use super::fit::{self, Fit};
use super::step::latch;
use super::{
    Batch, Decision, Intend, PROPAGATION_LOOK, Phase, RARELY, Step, URGENT_LOOK, View, forward, stage,
    stalled, step, walking,
};
use crate::api::application::{Goal as Reach, OnFailure};
use crate::api::condition::Reason;
use crate::application::goal::Requested;
use crate::application::records::{self, Ours, Stands};
use crate::application::weights::Share;
use crate::aws::route53::Propagation;
use crate::database::decide::{LatchWhy, State};
use crate::fault::{Blocked, Fault};
use crate::gate::Verdict;
use crate::side::Side;

pub(super) fn decide(view: &View) -> Decision {
    match (&view.goal.requested, view.stands) {
        (_, Stands::Foreign(blocked)) => stalled(phase_at(view, None), blocked.clone()),
        (None, Stands::Free | Stands::Simple(_)) => first(view),
        (None, Stands::Ours(ours)) => adopt(view, ours),
        (Some(asked), Stands::Free | Stands::Simple(_)) => {
            // Only what leads nowhere new may be made where nothing of ours stands.
            if asked.change.is_none() && asked.weight == 0 { make(view) } else { gone(view, asked) }
        }
        (Some(asked), Stands::Ours(ours)) => with_records(view, asked, ours),
    }
}

/// No weight was asked for yet: the records come with all traffic at the source, where it is.
fn first(view: &View) -> Decision {
    intend_records(view, "the weighted records come with all traffic where it is")
}

fn intend_records(view: &View, why: &str) -> Decision {
    match blocked(view) {
        Some(decision) => decision,
        None if view.goal.suspended => suspended(view, 0),
        None => intend(view, Phase::Staging, Reason::Staging, 0, why.to_owned(), None),
    }
}

/// Makes the weighted records where none of ours stand.
fn make(view: &View) -> Decision {
    match blocked(view) {
        Some(decision) => decision,
        None if view.goal.suspended => suspended(view, 0),
        None => submit(view, Phase::Staging, Reason::Staging, 0, false),
    }
}

/// What is in the way of making the records.
fn blocked(view: &View) -> Option<Decision> {
    match stage::assess(view) {
        Ok(None) => None,
        Ok(Some(blocked)) | Err(Fault::Blocked(blocked)) => Some(stalled(Some(Phase::Staging), blocked)),
        Err(fault) => Some(Decision {
            state: State::Uncertain(fault.message().to_owned()),
            ..walking(Phase::Staging, Reason::Retrying, "looking again at what could not be seen")
        }),
    }
}

/// The records are ours and the status does not know of them: it was lost. If they are as Slipway would set them for a step,
/// that is what was asked for; else nobody knows, until a person orders a new attempt.
fn adopt(view: &View, ours: &Ours) -> Decision {
    let goal = view.goal;
    let actual = records::share(goal, &ours.sets);
    let weights = || [0].into_iter().chain(goal.steps.iter().map(|step| step.weight));
    let sources = goal.source.places().len();
    let of_a_step = weights().find(|weight| actual == Some(Share::asked(*weight, sources)));
    let intend = |weight: u8, why: &str| {
        let phase = phase_at(view, Some(weight)).unwrap_or(Phase::Shifting);
        intend(view, phase, Reason::Shifting, weight, why.to_owned(), None)
    };
    if let Some(weight) = of_a_step {
        return intend(weight, "the status was lost, and the records say so");
    }
    if goal.tended_in.is_some_and(|attempt| goal.attempt > attempt) && !records::has_strangers(ours) {
        let reached =
            weights().take_while(|weight| actual.is_some_and(|a| Share::asked(*weight, sources) <= a));
        let weight = reached.last().unwrap_or(0).min(goal.ceiling());
        return match may_move(view, actual, weight) {
            Fit::Proved => intend(weight, "spec.attempt was raised to take the records over again"),
            refused => Decision {
                drift: Some(format!("the records of {} are of no step", goal.record.name)),
                ..forward::waits(view, Phase::Shifting, weight, &refused)
            },
        };
    }
    drifted(
        view,
        None,
        format!("the status was lost, and the records of {} are of no step", goal.record.name),
        "Raise spec.attempt to have them set to the step below, or set them right by hand",
    )
}

/// The weighted records are not there any more.
fn gone(view: &View, asked: &Requested) -> Decision {
    let drift = format!("somebody removed the weighted records of {}", view.goal.record.name);
    if view.goal.attempt > asked.attempt {
        let decision = intend_records(view, "spec.attempt was raised to make the records anew");
        let drift = decision.step.is_none().then_some(drift);
        return Decision { drift, ..decision };
    }
    drifted(
        view,
        Some(asked.weight),
        drift,
        "Raise spec.attempt to have them made anew with all traffic at the source, which must be where the name leads",
    )
}

fn drifted(view: &View, weight: Option<u8>, drift: String, remedy: &str) -> Decision {
    let blocked = Blocked::new(
        Reason::RecordDrift,
        format_args!("{}; they are left as they are", upper(&drift)),
        remedy,
    );
    Decision { drift: Some(drift), ..stalled(phase_at(view, weight), blocked) }
}

fn upper(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn with_records(view: &View, asked: &Requested, ours: &Ours) -> Decision {
    let (goal, seen) = (view.goal, view.seen);
    let actual = records::share(goal, &ours.sets);
    if let Some(decision) = must_go_back(view, asked, actual) {
        return decision;
    }
    if goal.is_aborted() && !goal.is_latched() {
        let why = latch(Reason::Aborted, "spec.abortAttempt was set");
        return step(goal, Phase::RolledBack, Reason::Aborted, Step::Latch(why));
    }
    let Some(_) = &asked.change else { return submit_when_allowed(view, asked, actual) };
    if let Some(drift) = records::difference(goal, ours, view.balancer(), asked.weight) {
        return take_over_or_tell(view, asked, ours, drift);
    }
    if asked.since.is_none() {
        return propagation(view, asked);
    }
    if let Some(decision) = failing(view, asked.weight) {
        return decision;
    }
    debug_assert!(seen.records.is_ok(), "the records were read");
    forward::decide(view, asked, ours)
}

/// Everything that takes traffic back by itself, before anything is waited for.
fn must_go_back(view: &View, asked: &Requested, actual: Option<Share>) -> Option<Decision> {
    let goal = view.goal;
    let ceiling = goal.ceiling();
    if asked.weight > ceiling {
        let (why, given_up) = if goal.is_aborted() {
            let why = "spec.abortAttempt was set";
            (why.to_owned(), (!goal.is_latched()).then(|| latch(Reason::Aborted, why)))
        } else if goal.reach < Reach::Shift {
            ("the goal went back".to_owned(), None)
        } else if goal.is_latched() {
            ("this attempt was given up".to_owned(), None)
        } else {
            (format!("spec.traffic.maxWeight is {}", goal.max_weight), None)
        };
        return Some(back(view, actual, ceiling, why, given_up));
    }
    if asked.weight == 0 || goal.on_failure == OnFailure::Hold {
        return None;
    }
    let (name, judgement) = view.gate_with(asked.weight, Verdict::Fail)?;
    let found = judgement.value.map_or_else(String::new, |value| format!("{value}, "));
    let why = format!("gate {name} failed: {found}{}", judgement.reason);
    let given_up = latch(Reason::GateFailed, why.clone());
    Some(back(view, actual, 0, why, Some(given_up)))
}

/// A failing gate where the spec says that it holds.
fn failing(view: &View, weight: u8) -> Option<Decision> {
    if view.goal.on_failure != OnFailure::Hold {
        return None;
    }
    let (name, judgement) = view.gate_with(weight, Verdict::Fail)?;
    let blocked = Blocked::new(
        Reason::GateFailed,
        format_args!("Gate {name} failed: {}", judgement.reason),
        "spec.traffic.onFailure is Hold, so traffic stays where it is; mend the cause, or lower spec.traffic.maxWeight",
    );
    Some(Decision { look_again: view.by(None), ..stalled(phase_at(view, Some(weight)), blocked) })
}

/// Back to `weight`, at once, if the source is proved able to serve. Where it is not: hold, and tell.
fn back(view: &View, actual: Option<Share>, weight: u8, why: String, given_up: Option<LatchWhy>) -> Decision {
    match may_move(view, actual, weight) {
        Fit::Proved => intend(view, Phase::RollingBack, Reason::RollingBack, weight, why, given_up),
        refused => cannot_go_back(weight, &why, &refused),
    }
}

fn cannot_go_back(weight: u8, why: &str, refused: &Fit) -> Decision {
    let because = refused.why().unwrap_or_default();
    let words = format!("Traffic should go back to {weight} % ({why}), and stays: {because}");
    let decision = match refused {
        Fit::Unknown(_) => walking(Phase::RollingBack, Reason::RollingBack, words),
        Fit::Refuted(_) | Fit::Proved => stalled(
            Some(Phase::RollingBack),
            Blocked::new(
                Reason::NotHealthy,
                words,
                "It goes back by itself once that is mended; no side is given traffic that is not proved able to serve",
            ),
        ),
    };
    let next = format!("back to {weight} % as soon as the source is proved able to serve");
    Decision { look_again: URGENT_LOOK, next, ..decision }
}

/// Whether traffic may move from what it is to `weight`.
fn may_move(view: &View, actual: Option<Share>, weight: u8) -> Fit {
    let (goal, seen) = (view.goal, view.seen);
    let side = |side| fit::side(goal, seen, side).and(|| fit::still(goal, seen));
    let wanted = Share::asked(weight, goal.source.places().len());
    match actual {
        Some(actual) if actual == wanted => Fit::Proved,
        Some(actual) if actual > wanted => side(Side::Source),
        Some(_) => side(Side::Target),
        // Nobody knows where it goes now.
        None if wanted.is_none() => side(Side::Source),
        None if wanted.is_all() => side(Side::Target),
        None => side(Side::Source).and(|| side(Side::Target)),
    }
}

/// A weight that was asked for and not submitted, as far as anybody knows.
fn submit_when_allowed(view: &View, asked: &Requested, actual: Option<Share>) -> Decision {
    let goal = view.goal;
    let wanted = Share::asked(asked.weight, goal.source.places().len());
    let forward = actual.is_none_or(|actual| actual < wanted) && !wanted.is_none();
    if forward && let Some(decision) = forward::held(view, asked.weight) {
        return decision;
    }
    let going_back = actual.is_none_or(|actual| actual > wanted);
    match may_move(view, actual, asked.weight) {
        Fit::Proved if going_back => {
            submit(view, Phase::RollingBack, Reason::RollingBack, asked.weight, true)
        }
        Fit::Proved => {
            let phase = if asked.weight == 0 { Phase::Staging } else { Phase::Shifting };
            submit(view, phase, Reason::Shifting, asked.weight, false)
        }
        refused if going_back => cannot_go_back(asked.weight, "it was asked for", &refused),
        refused => forward::waits(view, Phase::Shifting, asked.weight, &refused),
    }
}

/// Somebody changed the records. They are left alone, unless a person ordered a new attempt.
fn take_over_or_tell(view: &View, asked: &Requested, ours: &Ours, drift: String) -> Decision {
    let actual = records::share(view.goal, &ours.sets);
    if records::has_strangers(ours) {
        let remedy = "Remove the record that Slipway did not make; it is not Slipway's to delete";
        return drifted(view, Some(asked.weight), drift, remedy);
    }
    if view.goal.attempt > asked.attempt {
        return match may_move(view, actual, asked.weight) {
            Fit::Proved => {
                let why = "spec.attempt was raised to take the records over again".to_owned();
                let phase = phase_at(view, Some(asked.weight)).unwrap_or(Phase::Shifting);
                intend(view, phase, Reason::Shifting, asked.weight, why, None)
            }
            refused => Decision {
                drift: Some(drift),
                ..forward::waits(view, Phase::Shifting, asked.weight, &refused)
            },
        };
    }
    let remedy = format!(
        "Raise spec.attempt to have them set to {} % again, as spec.source and spec.target say, or set them so by hand",
        asked.weight
    );
    drifted(view, Some(asked.weight), drift, &remedy)
}

/// Route 53 carries the change to its servers.
fn propagation(view: &View, asked: &Requested) -> Decision {
    let phase = phase_at(view, Some(asked.weight)).unwrap_or(Phase::Shifting);
    let waiting = |words: &str| Decision {
        look_again: PROPAGATION_LOOK,
        ..walking(phase, Reason::Shifting, format!("{words} {} %", asked.weight))
    };
    match &view.seen.change {
        Some(Ok(Some(Propagation::InSync))) => step(view.goal, phase, Reason::Shifting, Step::Hold),
        Some(Ok(Some(Propagation::Pending))) => waiting("waiting until all of Route 53's servers have"),
        // It keeps changes for a while only. The records are as asked for: asking once more gives a change to wait for.
        Some(Ok(None)) => {
            let why = "Route 53 does not know its change any more".to_owned();
            intend(view, phase, Reason::Shifting, asked.weight, why, None)
        }
        Some(Err(Fault::Blocked(blocked))) => stalled(Some(phase), blocked.clone()),
        Some(Err(fault)) => Decision {
            state: State::Uncertain(fault.message().to_owned()),
            ..waiting("looking again at whether all of Route 53's servers have")
        },
        None => waiting("looking at whether all of Route 53's servers have"),
    }
}

fn intend(
    view: &View,
    phase: Phase,
    reason: Reason,
    weight: u8,
    why: String,
    latch: Option<LatchWhy>,
) -> Decision {
    step(view.goal, phase, reason, Step::Intend(Intend { weight, why, latch }))
}

pub(super) fn intend_forward(view: &View, weight: u8, why: String) -> Decision {
    intend(view, Phase::Shifting, Reason::Shifting, weight, why, None)
}

fn submit(view: &View, phase: Phase, reason: Reason, weight: u8, urgent: bool) -> Decision {
    let balancer = view.balancer();
    if let Some(changes) = records::set_weights(view.goal, view.stands, balancer, weight) {
        return step(view.goal, phase, reason, Step::SetWeights(Batch { changes, weight, urgent }));
    }
    let why = match &view.seen.balancer {
        Err(fault) => fault.message(),
        Ok(_) => "the load balancer does not exist",
    };
    walking(phase, reason, format!("waiting for the load balancer: {why}"))
}

pub(super) fn suspended(view: &View, weight: u8) -> Decision {
    let phase = phase_at(view, Some(weight)).unwrap_or(Phase::Staging);
    let words = "suspended: waiting for spec.suspend to be removed";
    Decision { look_again: view.by(None).min(RARELY), ..walking(phase, Reason::Suspended, words) }
}

/// The phase of a weight at rest.
pub(super) fn phase_at(view: &View, weight: Option<u8>) -> Option<Phase> {
    let goal = view.goal;
    match weight? {
        0 if goal.is_latched() || goal.is_aborted() => Some(Phase::RolledBack),
        0 => Some(Phase::Staging),
        100 if goal.settled => Some(Phase::Shifted),
        _ => Some(Phase::Shifting),
    }
}

//! Deletion. It never moves traffic: with all of it at the source, what stood before is restored; else it is held, and ways
//! back stay open.

use super::forward::deletion_holds;
use super::{Batch, Decision, Phase, Step, View, stalled, step, walk, walking, wanted};
use crate::api::condition::Reason;
use crate::application::goal::Goal;
use crate::application::records::{self, Stands};
use crate::fault::{Blocked, Fault};

pub(super) fn release(goal: &Goal, words: &str) -> Decision {
    Decision { next: words.to_owned(), ..step(goal, Phase::Deleting, Reason::Deleting, Step::Release) }
}

pub(super) fn decide(view: &View) -> Decision {
    let goal = view.goal;
    // Without our marker nothing at the name is ours.
    let Stands::Ours(ours) = view.stands else { return leftovers(view) };
    let Some(share) = records::share(goal, &ours.sets) else {
        let drift =
            format!("the records of {} are not the weighted ones that Slipway made", goal.record.name);
        let blocked = Blocked::new(
            Reason::RecordDrift,
            format_args!(
                "Somebody changed the records, and restoring what stood before could move traffic: {drift}"
            ),
            "Set them right by hand, or set spec.deletionPolicy to Retain to leave all as it is",
        );
        return Decision { drift: Some(drift), ..stalled(Some(Phase::Deleting), blocked) };
    };
    if share.is_none() {
        let changes = records::restore(goal, ours);
        let batch = Batch { changes, weight: 0, urgent: false };
        return step(goal, Phase::Deleting, Reason::Deleting, Step::Restore(batch));
    }
    if !goal.claimed {
        // The status was lost, and with it what was asked for: it is looked after again, so that a goal that is set back finds
        // the way back.
        return step(goal, Phase::Deleting, Reason::Deleting, Step::Claim);
    }
    // A goal that is set back takes traffic back while the deletion waits; and so does a failing gate.
    let decision = walk::decide(view);
    match &decision.step {
        Some(_) => decision,
        None if matches!(decision.phase, Some(Phase::RollingBack)) || decision.drift.is_some() => decision,
        None => Decision {
            look_again: decision.look_again,
            hold_until: decision.hold_until,
            ..deletion_holds(share.percent())
        },
    }
}

fn leftovers(view: &View) -> Decision {
    match wanted::remove(view) {
        Ok(Some(left)) => step(view.goal, Phase::Deleting, Reason::Deleting, left),
        Err(Fault::Blocked(blocked)) => stalled(Some(Phase::Deleting), blocked),
        Err(fault) => walking(Phase::Deleting, Reason::Deleting, fault.message()),
        Ok(None) => release(view.goal, "nothing is left"),
    }
}

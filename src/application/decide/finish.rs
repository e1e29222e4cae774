//! The end: the name is left to the target alone. From then on no weight leads back.

use super::fit::{self, Fit};
use super::{Batch, Decision, Phase, Step, View, deletion, ready, stalled, step, walking, wanted};
use crate::api::condition::Reason;
use crate::application::records::{self, Stands};
use crate::fault::{Blocked, Fault};
use crate::side::Side;

/// All steps are passed and the goal is Finish.
pub(super) fn begin(view: &View) -> Decision {
    let (goal, seen) = (view.goal, view.seen);
    if goal.suspended {
        let words = "suspended: waiting for spec.suspend to be removed";
        return walking(Phase::Shifted, Reason::Suspended, words);
    }
    match fit::side(goal, seen, Side::Target).and(|| fit::writer_is_home(goal, seen)) {
        Fit::Proved => step(goal, Phase::Finishing, Reason::Finishing, Step::EndWayBack),
        refused => {
            let words = format!("waiting with the end: {}", refused.why().unwrap_or_default());
            Decision { look_again: view.by(None), ..walking(Phase::Shifted, Reason::Shifted, words) }
        }
    }
}

/// The end was begun.
pub(super) fn decide(view: &View) -> Decision {
    let goal = view.goal;
    if let Stands::Ours(ours) = view.stands {
        let all = records::share(goal, &ours.sets).is_some_and(super::super::weights::Share::is_all);
        return match records::leave_to_target(goal, ours) {
            // Whatever somebody else set there, the end moves no traffic.
            Some(changes) if all => {
                let batch = Batch { changes, weight: 100, urgent: false };
                step(goal, Phase::Finishing, Reason::Finishing, Step::LeaveToTarget(batch))
            }
            Some(_) | None => {
                let drift = format!("not all traffic of {} goes to the target any more", goal.record.name);
                let blocked = Blocked::new(
                    Reason::RecordDrift,
                    format_args!("Somebody changed the records while they were to be removed: {drift}"),
                    "Give the target all of the weight by hand, and it goes on",
                );
                Decision { drift: Some(drift), ..stalled(Some(Phase::Finishing), blocked) }
            }
        };
    }
    match wanted::remove(view) {
        Ok(Some(left)) => step(goal, Phase::Finishing, Reason::Finishing, left),
        Err(Fault::Blocked(blocked)) => stalled(Some(Phase::Finishing), blocked),
        Err(fault) => walking(Phase::Finishing, Reason::Finishing, fault.message()),
        Ok(None) if goal.deletion.is_some() => deletion::release(goal, "nothing is left"),
        Ok(None) => Decision {
            look_again: super::RARELY,
            ..ready(
                Phase::Finished,
                Reason::Finished,
                "The name leads to the target alone, and what the migration made is removed",
                "nothing: the migration is finished, and this resource may be deleted",
            )
        },
    }
}

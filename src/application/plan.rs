//! The plan: the steps that `decide` would take from here if each had its expected effect, and time passed with every gate. It
//! is made by walking `decide` itself over assumed effects, so it can't tell another story than the one that is then acted
//! out.

use jiff::SignedDuration;

use crate::api::application::{Goal as Reach, PlannedStep};
use crate::application::decide::{self, Step};
use crate::application::goal::{Goal, Requested};
use crate::application::seen::Seen;
use crate::aws::cloudwatch::{Dashboard, SeenAlarm};
use crate::aws::dms::Owner;
use crate::aws::route53::{Change, Propagation, RecordSet};
use crate::database::seen::Known;
use crate::gate::{Judgement, Track, Verdict};

/// More steps than any migration takes; a plan that long is a loop.
const STEPS_MAX: usize = 200;

/// The steps to goal Shift at `spec.traffic.maxWeight`, from what was seen, without those that only remember. They end where
/// something is in the way.
pub fn steps(goal: &Goal, seen: &Seen) -> Vec<PlannedStep> {
    let mut goal = Goal { reach: Reach::Shift, suspended: false, deletion: None, ..goal.clone() };
    let mut seen = seen.clone();
    let mut steps = Vec::new();
    let mut waited = false;
    for _ in 0..STEPS_MAX {
        pass(&goal, &mut seen);
        let decision = decide::decide(&goal, &seen);
        let Some(step) = decision.step else {
            // A hold is over when its time has passed. Whatever else is waited for is not of the plan.
            let until = decision.hold_until.filter(|until| *until > seen.now && !waited);
            let Some(until) = until else { break };
            seen.now = until;
            waited = true;
            continue;
        };
        waited = false;
        if !step.is_memory() {
            steps.push(PlannedStep {
                action: step.action().to_owned(),
                on: step.on(&goal),
                reversible: step.is_reversible(),
            });
        }
        assume(&mut goal, &mut seen, &step);
    }
    steps
}

/// Every gate passes now.
fn pass(goal: &Goal, seen: &mut Seen) {
    for gate in &goal.gates {
        let last =
            Judgement { verdict: Verdict::Pass, value: None, reason: "assumed for the plan".to_owned() };
        seen.gates.insert(gate.name.clone(), Track { judged_at: seen.now, last, failures: 0 });
    }
}

/// What is seen after a step that had its expected effect.
pub fn assume(goal: &mut Goal, seen: &mut Seen, step: &Step) {
    match step {
        Step::Claim => goal.claimed = true,
        Step::Intend(intend) => {
            let staged_at = goal.requested.as_ref().and_then(|requested| requested.staged_at);
            goal.requested = Some(Requested {
                weight: intend.weight,
                attempt: goal.attempt,
                change: None,
                since: None,
                staged_at,
            });
            if let Some(latch) = &intend.latch {
                goal.latch = Some(crate::database::goal::GivenUp {
                    attempt: goal.attempt,
                    message: latch.message.clone(),
                });
            }
            goal.settled = false;
        }
        Step::SetWeights(batch) => {
            apply(&mut seen.records, &batch.changes);
            if let Some(requested) = &mut goal.requested {
                requested.change = Some("assumed".to_owned());
            }
            seen.change = Some(Ok(Some(Propagation::InSync)));
        }
        Step::Hold => {
            if let Some(requested) = &mut goal.requested {
                requested.since = Some(seen.now);
                requested.staged_at.get_or_insert(seen.now);
            }
        }
        Step::Latch(latch) => {
            goal.latch = Some(crate::database::goal::GivenUp {
                attempt: goal.attempt,
                message: latch.message.clone(),
            });
        }
        Step::PutAlarm(alarm) => {
            if let Ok(alarms) = &mut seen.alarms {
                alarms.retain(|seen| seen.alarm.name != alarm.name);
                alarms.push(SeenAlarm {
                    alarm: (**alarm).clone(),
                    state: "INSUFFICIENT_DATA".to_owned(),
                    owner: Owner::Us,
                });
            }
        }
        Step::DeleteAlarms(names) => {
            if let Ok(alarms) = &mut seen.alarms {
                alarms.retain(|seen| !names.contains(&seen.alarm.name));
            }
        }
        Step::PutDashboard { body } => {
            let name = goal.names.dashboard.clone();
            seen.dashboard = Ok(Some(Dashboard { name, body: body.clone(), owner: Owner::Us }));
        }
        Step::DeleteDashboard => seen.dashboard = Ok(None),
        Step::EndWayBack => goal.no_return = true,
        Step::LeaveToTarget(batch) | Step::Restore(batch) => apply(&mut seen.records, &batch.changes),
        Step::Release => goal.claimed = false,
    }
    // Time passes, if only a little.
    seen.now = seen.now.checked_add(SignedDuration::from_millis(1)).unwrap_or(seen.now);
}

/// A batch, as Route 53 carries it out: a deletion must repeat every value, and one change that is refused refuses all.
pub fn apply(records: &mut Known<Vec<RecordSet>>, changes: &[Change]) {
    let Ok(standing) = records else { return };
    let mut after = standing.clone();
    for change in changes {
        let is = |set: &RecordSet, of: &RecordSet| {
            set.name == of.name && set.kind == of.kind && identifier(set) == identifier(of)
        };
        match change {
            Change::Delete(set) => {
                let Some(index) = after.iter().position(|standing| standing == set) else { return };
                after.remove(index);
            }
            Change::Create(set) => {
                if after.iter().any(|standing| is(standing, set)) {
                    return;
                }
                after.push(set.clone());
            }
            Change::Upsert(set) => {
                after.retain(|standing| !is(standing, set));
                after.push(set.clone());
            }
        }
    }
    *standing = after;
}

fn identifier(set: &RecordSet) -> Option<&str> {
    match &set.routing {
        crate::aws::route53::Routing::Weighted { set_identifier, .. } => Some(set_identifier),
        crate::aws::route53::Routing::Simple | crate::aws::route53::Routing::Other(_) => None,
    }
}

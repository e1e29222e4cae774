//! Decision and outcome → status. The status says what was observed and when, never what was wished.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::application::{
    ApplicationMigrationStatus, GateStatus, Goal as Reach, Passed, Plan, TrafficStatus, WayBack,
};
use crate::api::condition::{self, Reason, Truth};
use crate::application::decide::fit::{self, Fit};
use crate::application::decide::{self, Decision, Phase, State};
use crate::application::goal::Goal;
use crate::application::plan;
use crate::application::records::{self, Stands};
use crate::application::seen::Seen;
use crate::fault::Blocked;
use crate::gate::Verdict;
use crate::report::{MESSAGE_MAX, NEXT_MAX, clip, plan_hash, summary, without_request_id};
use crate::side::Side;

const HISTORY_MAX: usize = 50;
const PLAN_MAX: usize = 60;

/// The status after this decision. `previous` is carried on where it holds memory: what was asked for, the latch, history.
pub fn status(
    goal: &Goal,
    seen: &Seen,
    decision: &Decision,
    previous: &ApplicationMigrationStatus,
    generation: Option<i64>,
) -> ApplicationMigrationStatus {
    let now = seen.now;
    let phase = decision.phase.map(|phase| phase.as_str().to_owned()).or_else(|| previous.phase.clone());
    let mut conditions = previous.conditions.clone();
    summary(&mut conditions, &decision.state, generation, now);
    let mut set = |kind: &str, (truth, reason, message): Verdicted| {
        condition::set(&mut conditions, kind, truth, reason, clip(&message, MESSAGE_MAX), generation, now);
    };
    if !goal.no_return {
        set(condition::SOURCE_READY, ready(goal, seen, Side::Source));
        set(condition::TARGET_READY, ready(goal, seen, Side::Target));
        if goal.claimed {
            set(condition::RECORDS_HELD, held(goal, seen, decision));
        }
    }
    let gates = gates(goal, seen, previous);
    let traffic = traffic(goal, seen, decision, previous.traffic.as_ref());
    let history = history(goal, decision, phase.as_deref(), traffic.as_ref(), previous, now);
    ApplicationMigrationStatus {
        observed_generation: generation,
        observed_at: Some(Time(now)),
        phase,
        writer: writer(seen).or_else(|| previous.writer.clone()),
        next: Some(clip(&decision.next, NEXT_MAX)),
        provisioned_at: previous.provisioned_at.clone(),
        point_of_no_return_at: previous.point_of_no_return_at.clone(),
        latch: previous.latch.clone(),
        gate_summary: gate_summary(goal, seen),
        gates,
        rollback: goal.claimed.then(|| way_back(goal, seen)),
        plan: planned(goal, seen, previous),
        history,
        conditions,
        traffic,
    }
}

/// The status of a resource whose spec can't be used at all.
pub fn refused(
    blocked: &Blocked,
    previous: &ApplicationMigrationStatus,
    generation: Option<i64>,
    now: Timestamp,
) -> ApplicationMigrationStatus {
    let mut status = ApplicationMigrationStatus {
        observed_generation: generation,
        observed_at: Some(Time(now)),
        next: Some(format!("waiting for a person: {} (see the Stalled condition)", blocked.reason)),
        ..previous.clone()
    };
    summary(&mut status.conditions, &State::Stalled(blocked.clone()), generation, now);
    status
}

/// Whether a person reading `new` learns something that `old` did not say.
pub fn is_news(old: &ApplicationMigrationStatus, new: &ApplicationMigrationStatus) -> bool {
    without_noise(old) != without_noise(new)
}

/// What changes all the time without meaning anything new: times of looking, and what a gate measured.
fn without_noise(status: &ApplicationMigrationStatus) -> ApplicationMigrationStatus {
    let mut status = status.clone();
    status.observed_at = None;
    for gate in &mut status.gates {
        gate.judged_at = None;
        gate.value = None;
        gate.reason = None;
    }
    for condition in &mut status.conditions {
        condition.message = without_request_id(&condition.message);
    }
    // What is waited for may be what AWS refuses.
    status.next = status.next.map(|next| without_request_id(&next));
    if let Some(way) = &mut status.rollback {
        way.reason = way.reason.as_deref().map(without_request_id);
    }
    if let Some(plan) = &mut status.plan {
        plan.at = Time(Timestamp::UNIX_EPOCH);
    }
    status
}

type Verdicted = (Truth, Reason, String);

/// Whether a side may be given traffic.
fn ready(goal: &Goal, seen: &Seen, side: Side) -> Verdicted {
    match fit::side(goal, seen, side) {
        Fit::Proved => (
            Truth::True,
            Reason::Connected,
            format!("The {side} is healthy, and writes to the present writer"),
        ),
        Fit::Refuted(why) => (Truth::False, Reason::NotHealthy, sentence(&why)),
        Fit::Unknown(why) => (Truth::Unknown, Reason::Unknown, sentence(&why)),
    }
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Whether the records are ours and as they were asked for.
fn held(goal: &Goal, seen: &Seen, decision: &Decision) -> Verdicted {
    let Ok(records) = &seen.records else {
        return (Truth::Unknown, Reason::Unknown, "The records could not be read".to_owned());
    };
    if let Some(drift) = &decision.drift {
        return (Truth::False, Reason::RecordDrift, sentence(drift));
    }
    let beside = if records::has_ipv6(goal, records) {
        "; beside them stands an AAAA record that no weight is part of: clients with IPv6 follow it"
    } else {
        ""
    };
    match records::stands(goal, records) {
        Stands::Ours(ours) => match records::share(goal, &ours.sets) {
            Some(share) => (
                Truth::True,
                Reason::Staging,
                format!(
                    "The weighted records are Slipway's, with {} % at the target{beside}",
                    share.percent()
                ),
            ),
            None => (Truth::False, Reason::RecordDrift, "The weighted records are not whole".to_owned()),
        },
        Stands::Foreign(blocked) => (Truth::False, blocked.reason, blocked.message),
        Stands::Free | Stands::Simple(_) => {
            (Truth::False, Reason::Staging, "The weighted records were not made yet".to_owned())
        }
    }
}

fn writer(seen: &Seen) -> Option<String> {
    let database = seen.database.as_ref()?.as_ref().ok()?.as_ref()?;
    Some(clip(&database.writer_word, 16))
}

/// The gates, without a new time for each look that found the same.
fn gates(goal: &Goal, seen: &Seen, previous: &ApplicationMigrationStatus) -> Vec<GateStatus> {
    let judged = decide::gates(goal, seen).into_iter();
    let of = |name: &str| previous.gates.iter().find(|gate| gate.name == name);
    judged
        .map(|(gate, judgement)| GateStatus {
            name: gate.name.clone(),
            result: judgement.verdict.as_str().to_owned(),
            value: judgement.value.map(|value| clip(&value, 64)),
            judged_at: seen
                .gates
                .get(&gate.name)
                .map(|track| Time(track.judged_at))
                .or_else(|| of(&gate.name).and_then(|gate| gate.judged_at.clone())),
            reason: Some(clip(&judgement.reason, 256)),
        })
        .collect()
}

/// Passing, of those that decide.
fn gate_summary(goal: &Goal, seen: &Seen) -> Option<String> {
    let judged = decide::gates(goal, seen);
    let deciding: Vec<_> = judged.iter().filter(|(gate, _)| gate.enforced).collect();
    let passing = deciding.iter().filter(|(_, judgement)| judgement.verdict == Verdict::Pass).count();
    (!goal.gates.is_empty()).then(|| format!("{passing}/{}", deciding.len()))
}

/// How traffic stands. The weight is what was read back once all of Route 53's servers had it.
fn traffic(
    goal: &Goal,
    seen: &Seen,
    decision: &Decision,
    previous: Option<&TrafficStatus>,
) -> Option<TrafficStatus> {
    if !goal.claimed && previous.is_none() {
        return None;
    }
    let mut traffic = previous.cloned().unwrap_or_default();
    let share = match seen.records.as_ref().map(|records| records::stands(goal, records)) {
        Ok(Stands::Ours(ours)) => records::share(goal, &ours.sets),
        Ok(Stands::Free | Stands::Simple(_) | Stands::Foreign(_)) | Err(_) => None,
    };
    let settled = goal.requested.as_ref().is_some_and(|asked| asked.since.is_some());
    if settled && let Some(share) = share {
        traffic.weight = Some(i32::from(share.percent()));
    }
    // An attempt that was raised before somebody changed the records is no order to take them over.
    if decision.drift.is_none() {
        traffic.attempt = traffic.attempt.max(Some(goal.attempt));
    } else {
        traffic.attempt = traffic.attempt.or(Some(goal.attempt));
    }
    if let Some(asked) = &goal.requested {
        let index = goal.index_of(asked.weight);
        traffic.step_index = i32::try_from(index).ok();
        traffic.step_summary = Some(format!("{index}/{}", goal.steps.len()));
    }
    traffic.hold_until =
        decision.hold_until.map(|at| Time(Timestamp::from_second(at.as_second()).unwrap_or(at)));
    traffic.drift = decision.drift.as_ref().map(|drift| clip(drift, 256));
    Some(traffic)
}

/// What a way back would cost now.
fn way_back(goal: &Goal, seen: &Seen) -> WayBack {
    let none = |reason: &str| WayBack { mode: "None".to_owned(), reason: Some(clip(reason, 256)) };
    if goal.no_return {
        return none("the name is left to the target alone");
    }
    match fit::side(goal, seen, Side::Source).and(|| fit::still(goal, seen)) {
        Fit::Proved => WayBack {
            mode: "Instant".to_owned(),
            reason: Some("new weights are enough, and the source is proved able to serve".to_owned()),
        },
        Fit::Refuted(why) | Fit::Unknown(why) => none(&why),
    }
}

/// The plan is written while the goal is Plan, and left as it is while it says the same.
fn planned(goal: &Goal, seen: &Seen, previous: &ApplicationMigrationStatus) -> Option<Plan> {
    if goal.reach != Reach::Plan || goal.deletion.is_some() {
        return None;
    }
    let mut steps = plan::steps(goal, seen);
    if steps.is_empty() {
        // Something is in the way or not known: an older plan would promise what may not hold.
        return None;
    }
    steps.truncate(PLAN_MAX);
    let hash = plan_hash(steps.iter().map(|step| (step.action.as_str(), step.on.as_str(), step.reversible)));
    match &previous.plan {
        Some(plan) if plan.hash == hash => Some(plan.clone()),
        _ => Some(Plan { hash, at: Time(seen.now), steps }),
    }
}

/// The phases that were entered, and the weights that were reached.
fn history(
    goal: &Goal,
    decision: &Decision,
    phase: Option<&str>,
    traffic: Option<&TrafficStatus>,
    previous: &ApplicationMigrationStatus,
    now: Timestamp,
) -> Vec<Passed> {
    let mut history = previous.history.clone();
    let word = phase.unwrap_or_default().to_owned();
    if phase.is_some() && phase != previous.phase.as_deref() {
        let meaning = decision.phase.map_or("", Phase::meaning);
        let evidence = match &decision.state {
            State::Stalled(blocked) => format!("{meaning} ({})", blocked.message),
            State::Ready { .. } | State::Walking { .. } | State::Uncertain(_) => meaning.to_owned(),
        };
        history.push(Passed {
            at: Time(now),
            phase: word.clone(),
            step: None,
            evidence: Some(clip(&evidence, 512)),
        });
    }
    let reached = traffic.and_then(|traffic| traffic.weight);
    let before = previous.traffic.as_ref().and_then(|traffic| traffic.weight);
    if let Some(weight) = reached.filter(|weight| before != Some(*weight)) {
        let summary = traffic.and_then(|traffic| traffic.step_summary.clone()).unwrap_or_default();
        let evidence =
            format!("read back from Route 53, on all of its servers; step {summary} of {}", goal.record.name);
        history.push(Passed {
            at: Time(now),
            phase: word,
            step: Some(format!("{weight} %")),
            evidence: Some(clip(&evidence, 512)),
        });
    }
    let surplus = history.len().saturating_sub(HISTORY_MAX);
    history.drain(..surplus);
    history
}

#[cfg(test)]
mod tests;

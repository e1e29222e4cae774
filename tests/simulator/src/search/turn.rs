//! Everything that can happen in a state: the operator's next step, calls that take effect, applications, the task,
//! people, time, and what goes wrong.

use slipway::api::database::Goal as Reach;
use slipway::side::Side;

use super::effect::{answered, issue, perform, unfence_by_hand};
use super::eyes::{Eyes, Plan, glance};
use super::forget::Form;
use super::mutants::Lax;
use super::state::{Call, Deletion, Kept, LONG_AGO, Memory, Operator, State, Task, What, Word};
use crate::database::{Entry, Holder, Refused, Stage};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Act {
    Look,
    Issue(Call),
    Answer(Call, Result<(), Refused>),
    Late(Call, Result<(), Refused>),
    NeverHappens(Call),
    Watch,
    Carry,
    Tick,
    Client(u8, &'static str, Side),
    Keep(&'static str),
    Person(&'static str),
    Fault(&'static str),
    TimedOut(Call),
    Crash,
    Deposed(Option<Call>),
}

/// Who acts. The first six go on when nothing goes wrong any more, each again and again while it can.
pub const FAIR: usize = 6;

impl Act {
    /// Whose it is: below [`FAIR`] a fair one; `FAIR` the applications; above it faults and people.
    pub fn actor(&self) -> u8 {
        match self {
            Self::Look | Self::Issue(_) => 0,
            Self::Answer(..) => 1,
            Self::Late(..) | Self::NeverHappens(_) => 2,
            Self::Carry => 3,
            Self::Tick => 4,
            Self::Watch => 5,
            Self::Client(..) => 6,
            Self::Keep(_)
            | Self::Person(_)
            | Self::Fault(_)
            | Self::TimedOut(_)
            | Self::Crash
            | Self::Deposed(_) => 7,
        }
    }
}

/// All successors of `state`, in a form. Returns what the operator plans, if no call is under way.
pub fn next(
    state: &State,
    eyes: &mut Eyes,
    form: Form,
    weak: &[Lax],
    out: &mut Vec<(Act, State)>,
) -> Option<Plan> {
    let plan = operator(state, eyes, weak, out);
    late(state, weak, out);
    deposed(state, eyes, out);
    task(state, out);
    clients(state, weak, out);
    tick(state, out);
    people(state, out);
    faults(state, out);
    for (_, next) in out.iter_mut() {
        next.take(form, weak);
    }
    plan
}

fn operator(state: &State, eyes: &mut Eyes, weak: &[Lax], out: &mut Vec<(Act, State)>) -> Option<Plan> {
    if let Some(call) = state.call {
        let mut next = state.clone();
        next.call = None;
        let answer = perform(&mut next, &call, weak);
        let mut operator = next.operator.clone();
        answered(&next, &mut operator, &call, answer);
        next.operator = operator;
        if call.what == What::Verify && state.left.faults > 0 {
            let mut next = next.clone();
            next.left.faults -= 1;
            next.operator.memory.verified = Some((call.fence, true));
            out.push((Act::Fault("the comparison finds a difference"), next));
        }
        out.push((Act::Answer(call, answer), next));
        if state.left.timeouts > 0 {
            let mut next = state.clone();
            next.left.timeouts -= 1;
            next.call = None;
            if matches!(
                call.what,
                What::Record { .. } | What::Latch { .. } | What::ClaimObject { .. } | What::Release { .. }
            ) {
                next.operator.read = state.object;
            }
            next.leave_in_flight(call);
            out.push((Act::TimedOut(call), next));
        }
        return None;
    }
    if state.operator.read.released {
        return None;
    }
    let seen = state.object;
    let behind = state.operator.memory.led > state.operator.read.decided.map(|decided| decided.epoch);
    if state.operator.read != seen {
        let mut next = state.clone();
        next.operator.read = seen;
        out.push((Act::Watch, next));
    }
    let mut looking = state.clone();
    if behind {
        // The watch is behind what this very process wrote.
        looking.operator.read = seen;
    }
    let plan = eyes.plan(&looking, &looking.operator);
    looking.operator.kept = None;
    looking.operator.memory = plan.memory;
    if let Some(call) = plan.call {
        let mut operator = looking.operator.clone();
        let call = issue(&mut looking, &mut operator, call);
        looking.operator = operator;
        looking.call = Some(call);
        out.push((Act::Issue(call), looking));
    } else {
        out.push((Act::Look, looking));
    }
    if state.left.stale > 0 && state.operator.kept.is_none() && !behind {
        let mut keep = |kept: Kept, words: &'static str| {
            let mut next = state.clone();
            next.operator.kept = Some(kept);
            out.push((Act::Keep(words), next));
        };
        keep(Kept::Side(Box::new(glance(&state.sides.source))), "the source");
        keep(Kept::Side(Box::new(glance(&state.sides.target))), "the target");
        keep(Kept::Task(state.task), "AWS");
    }
    // With a resource that is known to be old, this is not how it stands.
    (state.operator.kept.is_none() && (!behind || state.operator.read == seen)).then_some(plan)
}

fn late(state: &State, weak: &[Lax], out: &mut Vec<(Act, State)>) {
    for (at, call) in state.late.iter().enumerate() {
        if at > 0 && state.late[at - 1] == *call {
            continue;
        }
        let mut next = state.clone();
        next.late.remove(at);
        out.push((Act::NeverHappens(*call), next.clone()));
        let done = perform(&mut next, call, weak);
        // A wrong version may change something although it refuses.
        if done.is_ok() || !weak.is_empty() {
            out.push((Act::Late(*call, done), next));
        }
    }
}

fn deposed(state: &State, eyes: &mut Eyes, out: &mut Vec<(Act, State)>) {
    let Some(operator) = &state.deposed else { return };
    let plan = eyes.plan(state, operator);
    let mut next = state.clone();
    if let Some(call) = plan.call {
        next.deposed = None;
        let mut operator = operator.clone();
        let call = issue(&mut next, &mut operator, call);
        next.leave_in_flight(call);
        out.push((Act::Deposed(Some(call)), next));
    } else {
        next.deposed = Some(Operator { memory: plan.memory, kept: None, ..operator.clone() });
        out.push((Act::Deposed(None), next));
    }
}

/// The forward task carries the next entry of the source's log.
fn task(state: &State, out: &mut Vec<(Act, State)>) {
    if state.task != Task::Running {
        return;
    }
    let mut next = state.clone();
    let Some(slot) = state.sides.source.forward.filter(|slot| !slot.lost) else {
        next.set_task(Task::Failed);
        out.push((Act::Carry, next));
        return;
    };
    let Some(entry) = state.sides.source.log.get(usize::from(slot.position)).copied() else { return };
    let target = &mut next.sides.target;
    if target.dms_connects && target.dms_writes && (target.marker_table || matches!(entry, Entry::Write(_))) {
        target.log.push(entry);
        if let Some(slot) = &mut next.sides.source.forward {
            slot.position += 1;
        }
    } else {
        next.set_task(Task::Failed);
    }
    out.push((Act::Carry, next));
}

fn clients(state: &State, weak: &[Lax], out: &mut Vec<(Act, State)>) {
    for client in 0..state.left.fleets {
        let mut put = |words: &'static str, side: Side, change: &mut dyn FnMut(&mut State) -> bool| {
            let mut next = state.clone();
            if change(&mut next) {
                out.push((Act::Client(client, words, side), next));
            }
        };
        let on =
            Side::BOTH.into_iter().find_map(|side| Some((side, state.sides.get(side).stage_of(client)?)));
        match on {
            // Who can't write any more has no reason to come.
            None if state.left.writes == 0 => {}
            None => {
                for side in Side::BOTH {
                    put("logs in to", side, &mut |next| next.sides.get_mut(side).log_in(client).is_ok());
                }
            }
            Some((side, Stage::Arriving)) => {
                put("appears on", side, &mut |next| next.sides.get_mut(side).appear(client).is_ok());
            }
            Some((side, Stage::Idle)) => {
                let begins = state.left.writes > 0;
                put("writes on", side, &mut |next| {
                    if !begins {
                        return false;
                    }
                    next.left.writes -= 1;
                    let database = next.sides.get_mut(side);
                    let open = database.open;
                    // With privileges that were not taken away.
                    database.open |= weak.contains(&Lax::FenceTakesLoginsOnly);
                    let done = database.write(client).is_ok();
                    database.open = open;
                    done
                });
                put("leaves", side, &mut |next| {
                    next.sides.get_mut(side).leave(client);
                    true
                });
            }
            Some((side, Stage::Wrote(_))) => {
                put("COMMITS on", side, &mut |next| {
                    let Ok(id) = next.sides.get_mut(side).commit(client) else { return false };
                    next.history.acknowledged.push(id);
                    next.history.acknowledged.sort_unstable();
                    true
                });
                if state.left.faults > 0 {
                    put("leaves a prepared transaction on", side, &mut |next| {
                        next.left.faults -= 1;
                        next.sides.get_mut(side).prepare(client).is_ok()
                    });
                }
            }
        }
    }
    for side in Side::BOTH {
        for commit in [true, false] {
            let mut next = state.clone();
            if let Some(id) = next.sides.get_mut(side).end_prepared(commit) {
                if commit {
                    next.history.acknowledged.push(id);
                    next.history.acknowledged.sort_unstable();
                }
                let words =
                    if commit { "commits what was prepared on" } else { "rolls back what was prepared on" };
                out.push((Act::Client(0, words, side), next));
            }
        }
    }
}

/// So much time passes that every limit is over: of the outage, of a silence, or of the soak.
fn tick(state: &State, out: &mut Vec<(Act, State)>) {
    let opened = state.sides.target.open;
    for (side, holder) in [
        (Side::Source, Holder::None),
        (if opened { Side::Target } else { Side::Source }, Holder::Side(Side::Target)),
    ] {
        let waits = |row: &crate::database::Row| row.holder == holder && row.since == 0;
        if state.sides.get(side).row.as_ref().is_some_and(waits) {
            let mut next = state.clone();
            if let Some(row) = &mut next.sides.get_mut(side).row {
                row.since = LONG_AGO;
            }
            out.push((Act::Tick, next));
        }
    }
}

fn people(state: &State, out: &mut Vec<(Act, State)>) {
    let object = state.object;
    if state.left.goals == 0 || object.released {
        return;
    }
    let mut put = |words: &'static str, change: &dyn Fn(&mut State)| {
        let mut next = state.clone();
        next.left.goals -= 1;
        change(&mut next);
        out.push((Act::Person(words), next));
    };
    let no_return =
        object.decided.is_some_and(|decided| matches!(decided.intent, Word::Finish | Word::Finished));
    for (reach, words) in [
        (Reach::Replicate, "sets goal Replicate"),
        (Reach::CutOver, "sets goal CutOver"),
        (Reach::Finish, "sets goal Finish"),
    ] {
        // Admission refuses another goal once the way back is being removed.
        if reach != object.reach && !no_return {
            put(words, &|next| next.object.reach = reach);
        }
    }
    put("raises spec.attempt", &|next| next.object.attempt += 1);
    if state.left.people == 0 {
        return;
    }
    if object.abort.is_none_or(|abort| abort < object.attempt) {
        put("sets spec.abortAttempt", &|next| next.object.abort = Some(next.object.attempt));
    }
    if object.suspended {
        put("takes spec.suspend off", &|next| next.object.suspended = false);
    } else {
        put("sets spec.suspend", &|next| next.object.suspended = true);
    }
    if object.deletion.is_none() {
        put("deletes the resource", &|next| next.object.deletion = Some(Deletion::Delete));
        put("deletes the resource, policy Retain", &|next| next.object.deletion = Some(Deletion::Retain));
    }
}

fn faults(state: &State, out: &mut Vec<(Act, State)>) {
    if state.left.crashes > 0 && !state.object.released {
        let mut next = state.clone();
        next.left.crashes -= 1;
        if let Some(call) = next.call.take() {
            next.leave_in_flight(call);
        }
        if state.left.zombies > 0 {
            next.deposed = Some(Operator { kept: None, ..state.operator.clone() });
        }
        next.operator = Operator { memory: Memory::default(), read: state.object, kept: None };
        out.push((Act::Crash, next));
    }
    if state.left.by_hand > 0 {
        let mut next = state.clone();
        next.left.by_hand -= 1;
        if unfence_by_hand(&mut next).is_ok() {
            out.push((Act::Person("runs `slipway unfence`"), next));
        }
        if state.object.decided.is_some() {
            let mut next = state.clone();
            next.left.by_hand -= 1;
            next.object.decided = None;
            out.push((Act::Fault("status.decided is lost, or another version's word"), next.clone()));
            next.object.latch = None;
            next.object.claimed = false;
            out.push((Act::Fault("the status is lost"), next));
        }
    }
    if state.left.faults == 0 {
        return;
    }
    let mut put = |words: &'static str, change: &dyn Fn(&mut State)| {
        let mut next = state.clone();
        next.left.faults -= 1;
        change(&mut next);
        out.push((Act::Fault(words), next));
    };
    if state.task == Task::Running {
        put("the task fails", &|next| next.set_task(Task::Failed));
    }
    if state.sides.source.forward.is_some_and(|slot| !slot.lost) {
        put("the forward slot is lost", &|next| {
            if let Some(slot) = &mut next.sides.source.forward {
                slot.lost = true;
            }
        });
    }
    if state.sides.target.back.is_some() {
        put("somebody drops the slot of the way back", &|next| {
            next.sides.target.back = None;
            next.history.way_back_lost |= next.sides.target.open;
        });
    }
    if matches!(state.task, Task::Stopped | Task::Failed) {
        // Asked for at any time before, it comes now. With the target closed it fails.
        put("somebody's reload of the target begins", &|next| {
            let target = &mut next.sides.target;
            if target.dms_connects && target.dms_writes {
                target.log.push(Entry::Truncate);
                if let Some(slot) = &mut next.sides.source.forward {
                    slot.position = 0;
                    slot.lost = false;
                }
                next.set_task(Task::Running);
            } else {
                next.set_task(Task::Failed);
            }
        });
    }
}

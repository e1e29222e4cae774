//! A run in words.

use std::fmt::Write;

use slipway::side::Side;

use super::state::{Call, State, Task, What};
use super::turn::Act;
use crate::database::{Database, Entry, Holder, Refused, Stage};

/// What happened, and what it led to.
pub type Line = (Act, State);

/// The whole story; with `full`, what every step led to.
pub fn tell(story: &[Line], full: bool) -> String {
    let mut text = String::new();
    for (at, (act, state)) in story.iter().enumerate() {
        // Writing to a text does not fail.
        let _ = writeln!(text, "  {:3}  {}", at + 1, words(act));
        if full || at + 1 == story.len() {
            let _ = writeln!(text, "       {}", stands(state));
        }
    }
    text
}

/// One step in words.
pub fn words(act: &Act) -> String {
    let answer = |answer: &Result<(), Refused>| match answer {
        Ok(()) => "done".to_owned(),
        Err(refused) => format!("refused ({refused:?})"),
    };
    match act {
        Act::Look => "the operator looks, and waits".to_owned(),
        Act::Issue(call) => format!("the operator calls {}", name(call)),
        Act::Answer(call, how) => format!("{}: {}", name(call), answer(how)),
        Act::Late(call, _) => format!("LATE: {} takes effect", name(call)),
        Act::NeverHappens(call) => format!("{} never happens", name(call)),
        Act::Watch => "the operator's watch brings the resource".to_owned(),
        Act::Carry => "the task carries one change".to_owned(),
        Act::Tick => "more time passes than any limit allows".to_owned(),
        Act::Client(client, what, side) => format!("client {client} {what} the {side}"),
        Act::Keep(part) => format!("the operator reads {part}, and reads the rest later"),
        Act::Person(what) => format!("somebody {what}"),
        Act::Fault(what) => (*what).to_owned(),
        Act::TimedOut(call) => format!("{} is not answered, and stays in flight", name(call)),
        Act::Crash => "the operator is gone, and another takes over".to_owned(),
        Act::Deposed(Some(call)) => format!("the operator that is gone still calls {}", name(call)),
        Act::Deposed(None) => "the operator that is gone still looks".to_owned(),
    }
}

fn name(call: &Call) -> String {
    let what = match &call.what {
        What::Record { decided, latch, .. } => {
            let latch = if *latch { ", latched" } else { "" };
            return format!("Record {:?} epoch {}{latch}", decided.intent, decided.epoch);
        }
        What::Latch { .. } => "Latch".to_owned(),
        What::Release { .. } => "Release".to_owned(),
        other => format!("{other:?}"),
    };
    if call.epoch == 0 { what } else { format!("{what} epoch {}", call.epoch) }
}

/// How a state stands, in one line.
pub fn stands(state: &State) -> String {
    let task = match state.task {
        Task::Gone => "gone",
        Task::Stopped => "stopped",
        Task::Running => "runs",
        Task::Failed => "failed",
    };
    let object = &state.object;
    let decided = object.decided.map_or_else(
        || "nothing".to_owned(),
        |decided| format!("{:?} epoch {}", decided.intent, decided.epoch),
    );
    let late: Vec<String> = state.late.iter().map(name).collect();
    format!(
        "source[{}] target[{}] task {task}; goal {:?} attempt {}{}{}; decided {decided}; leads {:?}; late {late:?}",
        side(&state.sides.source),
        side(&state.sides.target),
        object.reach,
        object.attempt,
        object.latch.map_or_else(String::new, |latch| format!(" latch {latch}")),
        if object.deletion.is_some() { " deleted" } else { "" },
        state.operator.memory.led,
    )
}

fn side(database: &Database) -> String {
    let row = database.row.map_or_else(
        || "no row".to_owned(),
        |row| {
            let holder = match row.holder {
                Holder::Side(Side::Source) => "source",
                Holder::Side(Side::Target) => "target",
                Holder::None => "none",
                Holder::Fenced => "fenced",
                Holder::Refused => "refused",
            };
            format!(
                "{holder} e{}{}",
                row.epoch,
                row.fence.map_or_else(String::new, |fence| format!(" f{fence}"))
            )
        },
    );
    let log: Vec<String> = database
        .log
        .iter()
        .map(|entry| match entry {
            Entry::Write(id) => id.to_string(),
            Entry::Marker(fence) => format!("m{fence}"),
            Entry::Beat(_) => "-".to_owned(),
            Entry::Truncate => "emptied".to_owned(),
        })
        .collect();
    let sessions: Vec<&str> = database
        .sessions
        .iter()
        .map(|session| match session.stage {
            Stage::Arriving => "arriving",
            Stage::Idle => "idle",
            Stage::Wrote(_) => "wrote",
        })
        .collect();
    format!(
        "{row}{}{}{} log {} {}{}",
        if database.open { " OPEN" } else { "" },
        if database.replication_may_write() { " dms" } else { "" },
        if database.back.is_some() { " slot" } else { "" },
        log.join(","),
        sessions.join(","),
        if database.prepared.is_empty() { "" } else { " prepared" },
    )
}

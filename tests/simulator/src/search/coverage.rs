//! What a search met, so that "holds" is not empty.

use super::state::{State, Task, What, Word};
use crate::database::Holder;
use slipway::side::Side;

/// A situation, and whether a state is one of it.
pub type Situation = (&'static str, fn(&State) -> bool);

fn intent(state: &State) -> Word {
    state.object.decided.map_or(Word::Steady, |decided| decided.intent)
}

fn holder(state: &State) -> Option<Holder> {
    state.sides.source.row.map(|row| row.holder)
}

const TARGET: Holder = Holder::Side(Side::Target);

/// Situations that a wide search must meet.
pub const MET: [Situation; 16] = [
    ("the target is the writer and nothing moves", |s| s.sides.target.open && intent(s) == Word::Steady),
    ("a write was accepted on the target", |s| {
        s.sides.target.open && s.sides.target.writes().count() > s.sides.source.writes().count()
    }),
    ("given up before the role was given away", |s| {
        intent(s) == Word::Return && holder(s) == Some(Holder::None)
    }),
    ("given up after the role was given away", |s| intent(s) == Word::Return && holder(s) == Some(TARGET)),
    ("given up with the opening of the target in flight", |s| {
        intent(s) == Word::Return && s.late.iter().any(|call| call.what == What::Open)
    }),
    ("given up, and the target was opened after all", |s| intent(s) == Word::Return && s.sides.target.open),
    ("the target refused, and the role is taken back", |s| {
        s.sides.target.row.is_some_and(|row| row.holder == Holder::Refused) && holder(s) == Some(TARGET)
    }),
    ("a late call of an earlier decision meets a later claim", |s| {
        s.late
            .iter()
            .any(|call| call.epoch > 0 && s.sides.source.row.is_some_and(|row| row.epoch > call.epoch))
    }),
    ("a late start of the task while the target is the writer", |s| {
        s.sides.target.open && s.late.iter().any(|call| call.what == What::StartTask)
    }),
    ("a login that passed before the fence appears behind it", |s| {
        holder(s) == Some(Holder::None) && !s.sides.source.sessions.is_empty()
    }),
    ("a session has a write open behind the fence", |s| {
        holder(s) == Some(Holder::None)
            && s.sides
                .source
                .sessions
                .iter()
                .any(|session| matches!(session.stage, crate::database::Stage::Wrote(_)))
    }),
    ("frozen, and the marker is not there", |s| {
        intent(s) == Word::Move
            && !s.sides.target.replication_may_write()
            && s.sides.source.row.is_some_and(|row| {
                row.fence.is_some_and(|fence| {
                    s.sides.source.has_marker(fence) && !s.sides.target.has_marker(fence)
                })
            })
    }),
    ("the task runs again after a return", |s| {
        s.task == Task::Running && s.object.latch.is_some() && s.sides.source.open
    }),
    ("a second attempt moves", |s| intent(s) == Word::Move && s.object.attempt > 1),
    ("finished", |s| intent(s) == Word::Finished),
    ("the resource is gone", |s| s.object.released),
];

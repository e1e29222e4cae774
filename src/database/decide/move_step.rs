//! The steps of a move of the writer, and the decisions that begin and end one.

use crate::api::condition::Reason;
use crate::database::goal::{Goal, Intent};
use crate::fault::Blocked;
use crate::postgres::ClaimAs;
use crate::side::{Direction, Side};

/// A decision about the writer. Its number is new, so that both databases can tell its calls from those of every other
/// decision, earlier ones of this very process included.
#[derive(Clone, Debug, PartialEq)]
pub struct Decide {
    /// What is decided.
    pub intent: Intent,
    /// Its number.
    pub epoch: i64,
    /// The attempt that it belongs to.
    pub attempt: i32,
    /// The attempt stays given up until a higher one is ordered.
    pub latch: Option<LatchWhy>,
    /// Why, in one sentence.
    pub why: String,
}

impl Decide {
    pub(crate) fn action(&self) -> &'static str {
        match self.intent {
            Intent::Steady => "DecideSteady",
            Intent::Move => "DecideMove",
            Intent::Return => "DecideReturn",
            Intent::Finish => "DecideFinish",
            Intent::Finished => "DecideFinished",
        }
    }

    pub(crate) fn describe(&self) -> String {
        self.why.clone()
    }
}

/// Why an attempt was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatchWhy {
    /// The word.
    pub reason: Reason,
    /// The sentence.
    pub message: String,
}

impl From<&Blocked> for LatchWhy {
    fn from(blocked: &Blocked) -> Self {
        Self { reason: blocked.reason, message: blocked.message.clone() }
    }
}

/// One step of a move, under the decision that it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct Move {
    /// The number of the decision.
    pub epoch: i64,
    /// The fence that it is about.
    pub fence_id: String,
    /// Which way the writer moves.
    pub direction: Direction,
    /// The slot of the way back.
    pub slot: String,
    /// What is done.
    pub what: MoveStep,
}

/// What is done. "Old" is the side that the writer leaves, "new" the one that it goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MoveStep {
    /// Claim a side that is not the writer for this decision.
    Claim(Side, ClaimAs),
    /// Make the slot of the way back on the new side, before an application writes there.
    CreateSlot,
    /// Take from applications what lets them write to the old side: the row and all privileges in one transaction.
    Fence,
    /// End what is left of their sessions there.
    EndSessions,
    /// Stop those that privileges don't stop.
    AddLayer,
    /// Commit the marker behind the proved fence.
    Mark,
    /// Take from replication what lets it write to the new side.
    Freeze,
    /// Compare every row of both sides.
    Verify,
    /// Bring the new side's sequences to where the old side's are.
    Sequences,
    /// Note where the way back begins.
    ArmReverse,
    /// Give the writer's role away, in the old side's row. This is the decision.
    Promote,
    /// Open the new side.
    Open,
    /// Tell applications that read it from a secret, or find it by a record.
    Repoint,
    /// Open the old side again.
    Unfence,
    /// Take the writer's role back from a new side that was proved not to have opened.
    TakeBack,
    /// Drop a slot on a side that is not the writer.
    DropSlot(Side, String),
    /// Let replication write to the new side again.
    Thaw,
}

/// The parts of a move, as history and logs name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Stage {
    PreCheck,
    Fence,
    Drain,
    Freeze,
    Verify,
    Sequences,
    ArmReverse,
    Promote,
    Repoint,
    Return,
}

impl Stage {
    /// The word as the status shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PreCheck => "PreCheck",
            Self::Fence => "Fence",
            Self::Drain => "Drain",
            Self::Freeze => "Freeze",
            Self::Verify => "Verify",
            Self::Sequences => "Sequences",
            Self::ArmReverse => "ArmReverse",
            Self::Promote => "Promote",
            Self::Repoint => "Repoint",
            Self::Return => "Return",
        }
    }
}

impl MoveStep {
    pub(crate) fn action(&self) -> &'static str {
        match self {
            Self::Claim(..) => "ClaimSide",
            Self::CreateSlot => "CreateReverseSlot",
            Self::Fence => "Fence",
            Self::EndSessions => "EndSessions",
            Self::AddLayer => "AddTriggerLayer",
            Self::Mark => "WriteMarker",
            Self::Freeze => "Freeze",
            Self::Verify => "Verify",
            Self::Sequences => "SetSequences",
            Self::ArmReverse => "ArmReverse",
            Self::Promote => "Promote",
            Self::Open => "Open",
            Self::Repoint => "Repoint",
            Self::Unfence => "Unfence",
            Self::TakeBack => "TakeBack",
            Self::DropSlot(..) => "DropMoveSlot",
            Self::Thaw => "Thaw",
        }
    }

    /// The part of the move that it belongs to.
    pub fn stage(&self) -> Stage {
        match self {
            Self::Claim(_, ClaimAs::Fenced | ClaimAs::Unchanged) | Self::CreateSlot => Stage::PreCheck,
            Self::Fence | Self::EndSessions | Self::AddLayer => Stage::Fence,
            Self::Mark => Stage::Drain,
            Self::Freeze => Stage::Freeze,
            Self::Verify => Stage::Verify,
            Self::Sequences => Stage::Sequences,
            Self::ArmReverse => Stage::ArmReverse,
            Self::Promote | Self::Open => Stage::Promote,
            Self::Repoint => Stage::Repoint,
            Self::Claim(_, ClaimAs::Refused)
            | Self::Unfence
            | Self::TakeBack
            | Self::DropSlot(..)
            | Self::Thaw => Stage::Return,
        }
    }
}

impl Move {
    pub(super) fn on(&self, goal: &Goal) -> String {
        let database = |side: Side| format!("database {} on the {side}", goal.sides.get(side).database);
        let (from, to) = (self.direction.from, self.direction.to());
        match &self.what {
            MoveStep::Claim(side, _) => database(*side),
            MoveStep::DropSlot(side, slot) => format!("slot {slot} on the {side}"),
            MoveStep::CreateSlot | MoveStep::ArmReverse => format!("slot {} on the {to}", self.slot),
            MoveStep::Fence
            | MoveStep::EndSessions
            | MoveStep::AddLayer
            | MoveStep::Mark
            | MoveStep::Promote
            | MoveStep::Unfence
            | MoveStep::TakeBack => database(from),
            MoveStep::Freeze | MoveStep::Sequences | MoveStep::Open | MoveStep::Thaw => database(to),
            MoveStep::Verify => "both databases".to_owned(),
            MoveStep::Repoint => "the applications' connection".to_owned(),
        }
    }

    pub(crate) fn describe(&self, goal: &Goal) -> String {
        let on = self.on(goal);
        match &self.what {
            MoveStep::Claim(_, ClaimAs::Fenced | ClaimAs::Unchanged) => {
                format!("claim {on} for this decision")
            }
            MoveStep::Claim(_, ClaimAs::Refused) => format!("see to it that {on} can't be opened any more"),
            MoveStep::CreateSlot => format!("create {on}"),
            MoveStep::Fence => format!("fence {on}: applications can't write"),
            MoveStep::EndSessions => format!("end the applications' sessions in {on}"),
            MoveStep::AddLayer => {
                format!("put a trigger on tables of {on} whose owners could get past the fence")
            }
            MoveStep::Mark => format!("write the marker in {on}"),
            MoveStep::Freeze => format!("stop replication from writing to {on}"),
            MoveStep::Verify => format!("compare every row of {on}"),
            MoveStep::Sequences => format!("set the sequences of {on}"),
            MoveStep::ArmReverse => format!("note where the way back begins in {on}"),
            MoveStep::Promote => format!("give the writer's role away in {on}"),
            MoveStep::Open => format!("open {on} to applications"),
            MoveStep::Repoint => format!("point {on} to the {}", self.direction.to()),
            MoveStep::Unfence => format!("open {on} to applications again"),
            MoveStep::TakeBack => format!("take the writer's role back in {on}"),
            MoveStep::DropSlot(..) => format!("drop {on}"),
            MoveStep::Thaw => format!("let replication write to {on} again"),
        }
    }
}

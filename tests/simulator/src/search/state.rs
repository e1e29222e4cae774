//! One state of the whole: two databases, the forward task, the resource, operators, calls in flight, and what may still
//! go wrong.

use slipway::api::database::{DeletionPolicy, Goal as Reach};
use slipway::database::goal::Intent;
use slipway::postgres::ClaimAs;
use slipway::side::{Side, Sides};

use super::bounds::Bounds;
use crate::database::{
    Database, Epoch, Fence, Holder, Position, Refused, Row, Slot, SlotName, Slots, Uid, WriteId,
};
use crate::invariants::History;

/// The one migration's number.
pub const OURS: Uid = 1;
/// When a row was written whose age is above every limit.
pub const LONG_AGO: i64 = -864_000_000;
/// More calls than these are never in flight at once, unless the bounds allow for it; what comes beside them never happens.
const LATE_MAX: usize = 2;

/// A state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The two databases.
    pub sides: Sides<Database>,
    /// The forward task.
    pub task: Task,
    /// Everything else that was made in AWS is there.
    pub provisioned: bool,
    /// The resource, as the API server has it.
    pub object: Object,
    /// The operator that leads.
    pub operator: Operator,
    /// One that led before and is not gone yet: it takes one step more.
    pub deposed: Option<Operator>,
    /// The call that the operator waits for.
    pub call: Option<Call>,
    /// Calls that nobody waits for any more: each may take effect at any moment, or never.
    pub late: Vec<Call>,
    /// What the databases don't show.
    pub history: History,
    /// What may still happen.
    pub left: Bounds,
    /// A promise that was broken by a transition, and not by a state.
    pub broken: Option<crate::invariants::Violation>,
}

/// The forward task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Task {
    Gone,
    Stopped,
    Running,
    Failed,
}

/// The resource: what people order and what its status remembers. Whoever writes it names the one that was read, and is
/// refused if it is another by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Object {
    /// `spec.goal`
    pub reach: Reach,
    /// `spec.attempt`
    pub attempt: u8,
    /// `spec.abortAttempt`
    pub abort: Option<u8>,
    /// `spec.suspend`
    pub suspended: bool,
    /// A deletion was ordered, and by which policy.
    pub deletion: Option<Deletion>,
    /// `status.decided`
    pub decided: Option<Decided>,
    /// `status.latch.attempt`
    pub latch: Option<u8>,
    /// The finalizer is on, and `status.provisionedAt` is set.
    pub claimed: bool,
    /// The finalizer is off, and so it is gone.
    pub released: bool,
}

/// `spec.deletionPolicy` of a resource that is being deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Deletion {
    Delete,
    Retain,
}

impl From<Deletion> for DeletionPolicy {
    fn from(deletion: Deletion) -> Self {
        match deletion {
            Deletion::Delete => Self::Delete,
            Deletion::Retain => Self::Retain,
        }
    }
}

/// `status.decided`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub struct Decided {
    pub epoch: Epoch,
    pub intent: Word,
    pub attempt: u8,
}

/// `Intent`, in an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Word {
    Steady,
    Move,
    Return,
    Finish,
    Finished,
}

impl From<Intent> for Word {
    fn from(intent: Intent) -> Self {
        match intent {
            Intent::Steady => Self::Steady,
            Intent::Move => Self::Move,
            Intent::Return => Self::Return,
            Intent::Finish => Self::Finish,
            Intent::Finished => Self::Finished,
        }
    }
}

impl From<Word> for Intent {
    fn from(word: Word) -> Self {
        match word {
            Word::Steady => Self::Steady,
            Word::Move => Self::Move,
            Word::Return => Self::Return,
            Word::Finish => Self::Finish,
            Word::Finished => Self::Finished,
        }
    }
}

/// A process of the operator: what it remembers of itself, and the resource as it last read it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Operator {
    /// What it remembers.
    pub memory: Memory,
    /// The resource as it last read it.
    pub read: Object,
    /// One part of what it sees is older than the rest.
    pub kept: Option<Kept>,
}

/// A part of an observation that is older than the rest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kept {
    /// What one database said.
    Side(Box<Database>),
    /// What AWS said.
    Task(Task),
}

/// The part of `MemorySeen` that steers a move, and the fence whose marker is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct Memory {
    pub led: Option<Epoch>,
    pub quiet_looks: u8,
    pub asked: Option<Fence>,
    pub timeline: Option<(Fence, u8)>,
    pub verified: Option<(Fence, bool)>,
    pub sequences: Option<(Fence, Epoch)>,
    pub repointed: Option<Epoch>,
    pub failed: Option<Refused>,
}

/// A call, with everything that it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Call {
    /// What.
    pub what: What,
    /// The number of its decision; 0 where it carries none.
    pub epoch: Epoch,
    /// The fence that it is about.
    pub fence: Fence,
    /// It was made in the loop in which applications wait.
    pub in_outage: bool,
}

impl Call {
    /// The side whose row a guarded call asks.
    pub fn side(&self) -> Option<Side> {
        Some(match self.what {
            What::Fence
            | What::EndSessions
            | What::AddLayer
            | What::Mark
            | What::Arm(_)
            | What::Give(_)
            | What::Unfence
            | What::TakeBack => Side::Source,
            What::CreateSlot | What::Freeze | What::Thaw | What::Sequences(_) | What::Open => Side::Target,
            What::Claim(side, _) | What::DropMoveSlot(side, _) => side,
            _ => return None,
        })
    }
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum What {
    Record {
        expected: Object,
        decided: Decided,
        latch: bool,
    },
    Latch {
        expected: Object,
    },
    ClaimObject {
        expected: Object,
    },
    Release {
        expected: Object,
    },
    Claim(Side, ClaimAs),
    CreateSlot,
    Fence,
    EndSessions,
    AddLayer,
    Mark,
    Freeze,
    Verify,
    Sequences(WriteId),
    Arm(Position),
    /// The timeline that was seen.
    Give(u8),
    Open,
    Repoint,
    Unfence,
    TakeBack,
    DropMoveSlot(Side, SlotName),
    Thaw,
    NoteSlot,
    DropSlot(Side, SlotName),
    PrepareSource,
    FenceTarget,
    ReleaseSide(Side),
    DropRecord(Side),
    StartTask,
    StopTask,
    DeleteTask,
    DeleteResources,
    /// Its first half was refused: nothing is in flight.
    Refused(Refused),
}

impl State {
    /// The target follows the source; nothing moves yet.
    pub fn new(bounds: Bounds) -> Self {
        let row = |holder| Row { uid: OURS, holder, epoch: 0, fence: None, since: 0, reverse: None };
        let mut source = Database {
            row: Some(row(Holder::Side(Side::Source))),
            marker_table: true,
            noted: Slots { forward: true, back: false },
            forward: Some(Slot { position: 0, active: true, lost: false }),
            needs_layer: bounds.owners > 0,
            ..Database::new(Side::Source)
        };
        source.dms_writes = false;
        let target = Database {
            row: Some(row(Holder::Fenced)),
            marker_table: true,
            open: false,
            ..Database::new(Side::Target)
        };
        let object = Object {
            reach: Reach::Replicate,
            attempt: 1,
            abort: None,
            suspended: false,
            deletion: None,
            decided: None,
            latch: None,
            claimed: true,
            released: false,
        };
        Self {
            sides: Sides { source, target },
            task: Task::Running,
            provisioned: true,
            object,
            operator: Operator { memory: Memory::default(), read: object, kept: None },
            deposed: None,
            call: None,
            late: Vec::new(),
            history: History::default(),
            left: bounds,
            broken: None,
        }
    }

    /// No more calls can be in flight.
    pub fn is_crowded(&self) -> bool {
        self.late.len() >= LATE_MAX + usize::from(self.left.more)
    }

    /// Leaves a call in flight.
    pub fn leave_in_flight(&mut self, call: Call) {
        if !self.is_crowded() && !matches!(call.what, What::Refused(_) | What::Verify) {
            self.late.push(call);
            self.late.sort_unstable();
        }
    }

    /// Sets the task, and with it whether its slot is in use.
    pub fn set_task(&mut self, task: Task) {
        self.task = task;
        if let Some(slot) = &mut self.sides.source.forward {
            slot.active = task == Task::Running;
        }
    }
}

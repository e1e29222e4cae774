//! Why a call changed nothing.

use slipway::api::condition::Reason;
use slipway::fault::Fault;

/// Why a call changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refused {
    /// There is no `slipway.token`, or no row in it.
    NoRow,
    /// The record is another migration's.
    OtherMigration,
    /// A later decision holds the row, or the row's holder is not one that may be changed so.
    Overtaken,
    /// The row is about another fence.
    OtherFence,
    /// Where the way back begins is not known yet.
    NotArmed,
    /// The server is on another timeline than expected.
    OtherTimeline,
    /// Applications can still write.
    StillOpen,
    /// Replication can still write.
    NotFrozen,
    /// The slot is gone or lost.
    SlotLost,
    /// The slot is not noted as ours.
    NotOurs,
    /// The slot is in use, or a transaction is open that must end first.
    Busy,
    /// A call for the one side reached the other, or was made while it makes no sense.
    Bug,
    /// A login or a statement of an application was refused.
    Denied,
}

impl Refused {
    /// What the product's call would have returned.
    pub fn fault(self) -> Fault {
        let words = || format!("refused: {self:?}");
        let blocked = |reason| Fault::blocked(reason, words(), "This is a model's word");
        match self {
            Self::NoRow => blocked(Reason::NotFenced),
            Self::OtherMigration => blocked(Reason::OtherMigration),
            Self::OtherTimeline => blocked(Reason::OtherServer),
            Self::StillOpen => blocked(Reason::UnlistedWriter),
            Self::NotFrozen => blocked(Reason::NotFrozen),
            Self::SlotLost => blocked(Reason::SlotLost),
            Self::NotOurs => blocked(Reason::NotOurs),
            Self::Overtaken | Self::OtherFence | Self::NotArmed | Self::Busy => Fault::Wait(words()),
            Self::Denied => Fault::Again(words()),
            Self::Bug => Fault::Bug(words()),
        }
    }
}

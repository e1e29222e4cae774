//! The row that decides who may write: its words, and under which decision it may be changed.

use jiff::SignedDuration;
use tokio_postgres::Row;
use tokio_postgres::types::PgLsn;

use super::record::Holding;
use crate::side::Side;

/// Who holds the writer's role, as one side's own row `slipway.token` says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The side that is named. On that side itself: applications can write here. On the other: the role was given away,
    /// and this side is fenced for good.
    Side(Side),
    /// Nobody: this side is fenced, and nobody was given the role yet.
    None,
    /// Not this side, and it may be opened by the decision that holds the row's epoch.
    Fenced,
    /// Not this side, and it may not be opened: a decision to give up came first.
    Refused,
    /// A word that this version does not know.
    Other(String),
}

impl Holder {
    /// From the column's text.
    pub fn parse(word: &str) -> Self {
        match word {
            "source" => Self::Side(Side::Source),
            "target" => Self::Side(Side::Target),
            "none" => Self::None,
            "fenced" => Self::Fenced,
            "refused" => Self::Refused,
            other => Self::Other(other.to_owned()),
        }
    }

    /// The column's text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Side(side) => side.as_str(),
            Self::None => "none",
            Self::Fenced => "fenced",
            Self::Refused => "refused",
            Self::Other(word) => word,
        }
    }
}

/// One side's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Who holds the writer's role.
    pub holder: Holder,
    /// The highest decision that claimed this side.
    pub epoch: i64,
    /// Which fence this is; stays the same while the side stays fenced.
    pub fence_id: Option<String>,
    /// Since when the holder is what it is, by this server's clock.
    pub age: SignedDuration,
    /// Where the way back begins on the other side; written before the role is given away.
    pub reverse: Option<ReverseStart>,
}

impl Token {
    /// What [`Self::from_row`] reads, in order.
    pub(super) const COLUMNS: &str = "holder, epoch, fence_id, \
         extract(epoch FROM clock_timestamp() - since)::float8, reverse_slot, reverse_lsn";

    /// A row as it is when its side's record was just made.
    pub fn fresh(holder: Holder) -> Self {
        Self { holder, epoch: 0, fence_id: None, age: SignedDuration::ZERO, reverse: None }
    }

    /// From [`Self::COLUMNS`], of which the first is the row's column `first`.
    pub(super) fn from_row(row: &Row, first: usize) -> Self {
        let reverse: (Option<String>, Option<PgLsn>) = (row.get(first + 4), row.get(first + 5));
        Self {
            holder: Holder::parse(row.get(first)),
            epoch: row.get(first + 1),
            fence_id: row.get(first + 2),
            age: SignedDuration::try_from_secs_f64(row.get(first + 3)).unwrap_or(SignedDuration::ZERO),
            reverse: match reverse {
                (Some(slot), Some(lsn)) => Some(ReverseStart { slot, lsn }),
                _ => None,
            },
        }
    }
}

/// Where the replication of the way back begins: nothing before this position is to be carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReverseStart {
    /// The slot, on the side that the writer goes to.
    pub slot: String,
    /// The end of that side's log when nothing but replication had written to it.
    pub lsn: PgLsn,
}

/// Under which decision a side is changed. Every change of a side claims its row for this epoch in the same transaction,
/// and finds no row where a later decision came first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// Whose record it must be, and DMS's role on this side.
    pub holding: Holding,
    /// The number of the decision, new for each.
    pub epoch: i64,
    /// The fence that the decision is about: the text of the epoch that first built it.
    pub fence_id: String,
}

/// How a side that is not the writer is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ClaimAs {
    /// To be opened by the same decision.
    Fenced,
    /// Never to be opened by an earlier decision.
    Refused,
    /// Whatever it is, it stays so: only the decision's number is raised.
    Unchanged,
}

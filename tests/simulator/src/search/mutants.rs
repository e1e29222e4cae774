//! Wrong versions of the product, each of which a search must find out, or of which it is said what covers for it.
//!
//! A mutant tells `decide` a lie, bends what it decided, or takes a check out of a database or the API server. So none
//! needs another build.

mod bends;
mod checks;
mod lies;
mod table;

pub use checks::lax;
pub use table::MUTANTS;

use super::bounds::Bounds;
use slipway::database::decide::Decision;
use slipway::database::goal::Goal;
use slipway::database::seen::Seen;

/// A wrong version.
pub struct Mutant {
    /// Its name: M as in the model check of the protocol, O for our own.
    pub id: &'static str,
    /// What is broken.
    pub breaks: &'static str,
    /// What `decide` is told instead of the truth.
    pub lie: Option<fn(&mut Goal, &mut Seen)>,
    /// What becomes of its decision.
    pub bend: Option<fn(&Goal, &Seen, &mut Decision)>,
    /// Checks that a database, or the API server, does not make.
    pub lax: &'static [Lax],
    /// The bounds within which it is searched for, besides a watch that lags.
    pub bounds: &'static str,
    /// What becomes of it.
    pub fate: Fate,
}

impl Mutant {
    /// The bounds within which it is searched for.
    pub fn bounds(&self) -> Result<Bounds, String> {
        Ok(Bounds { lag: 1, ..self.bounds.parse()? })
    }
}

/// What becomes of a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A search finds it.
    Killed,
    /// Another rule covers for it; this says which.
    Covered(&'static str),
    /// It is about something that does not exist yet; this says what.
    NotYet(&'static str),
}

/// A check that is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lax {
    /// The fence takes logins away and leaves privileges.
    FenceTakesLoginsOnly,
    /// No number of a decision is compared.
    NoEpoch,
    /// Freeze, thaw, sequences and the slot's making and dropping look at no holder.
    NoHolders,
    /// Un-fencing is not refused once the role was given away.
    UnfenceGiven,
    /// Opening does not ask whether replication may write.
    OpenUnfrozen,
    /// Opening does not ask for the slot of the way back.
    OpenWithoutSlot,
    /// Opening is not refused on a side that was told to refuse.
    OpenRefused,
    /// Giving the role away does not ask where the way back begins.
    GiveUnarmed,
    /// The slot of the move is dropped under no decision.
    DropSlotUnguarded,
    /// Where the way back begins is read and written at the end, under no decision.
    ArmLate,
    /// The status is written whatever it has become since it was read.
    NoCompare,
    /// The sequences are set to a value that was read before the fence.
    SequencesEarly,
    /// Un-fencing gives the privileges back first, and looks at the row then.
    UnfencePrivilegesFirst,
    /// Opening gives the privileges first, and looks at the row then.
    OpenPrivilegesFirst,
    /// The fence takes the privileges first, and looks at the row then.
    FencePrivilegesFirst,
    /// Letting go of a fenced side opens it.
    ReleaseOpens,
    /// The marker of any fence counts.
    AnyMarker,
    /// Thawing is not refused on a side that applications write to.
    ThawOpens,
}

//! Wrong versions of the product, each of which a search must find out.

use slipway::database::decide::Decision;
use slipway::database::goal::Goal;
use slipway::database::seen::Seen;

use crate::database::{Guard, Refused};
use crate::search::state::{Call, State};

/// A wrong version.
pub struct Mutant {
    /// Its name: M for those of the protocol's own model check, O for our own.
    pub id: &'static str,
    /// What is broken.
    pub breaks: &'static str,
    /// What `decide` is told instead of the truth.
    pub lie: Option<fn(&mut Goal, &mut Seen)>,
    /// What becomes of its decision.
    pub bend: Option<fn(&Goal, &Seen, &mut Decision)>,
    /// A check that a database, or the API server, does not make.
    pub lax: Option<Lax>,
}

/// A check that is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Lax {
    FenceTakesLoginsOnly,
}

/// What a call does instead, if the check that is not made is one of its own.
pub fn lax(_state: &mut State, _call: &Call, _guard: &Guard, _weak: Lax) -> Option<Result<(), Refused>> {
    None
}

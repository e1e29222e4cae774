//! An explicit-state search: the product's own `decide` against every order of events within bounds.
//!
//! | module | holds |
//! |---|---|
//! | [`bounds`] | how much may happen |
//! | [`state`] | a state of the whole |
//! | [`scene`] | the migration that the search begins with |
//! | [`eyes`] | what an operator sees of a state, and what the product's `decide` makes of it |
//! | [`forget`] | what can make no difference any more |
//! | [`prove`] | that it makes none |
//! | [`turn`] | everything that can happen in a state |
//! | [`effect`] | what a call does when it takes effect |
//! | [`explore`] | breadth first over all states: safety, and the shortest story of what is broken |
//! | [`fairness`] | liveness: no run that is fair and quiet stays away from rest for ever |
//! | [`coverage`] | what a search met, so that "holds" is not empty |
//! | [`mutants`] | wrong versions of the product, to be found out |
//! | [`story`] | a run in words |
//! | [`cli`] | the verb |

pub mod bounds;
pub mod cli;
pub mod coverage;
pub mod effect;
pub mod explore;
pub mod eyes;
pub mod fairness;
pub mod fingerprint;
pub mod forget;
mod forget_logs;
pub mod mutants;
pub mod prove;
pub mod scene;
pub mod state;
pub mod story;
pub mod turn;

use std::collections::BTreeMap;
use std::time::Instant;

use bounds::Bounds;
use coverage::MET;
use eyes::Rest;

use crate::invariants::Violation;
use mutants::{Lax, Mutant};

/// What to search.
#[derive(Clone, Copy)]
pub struct Settings {
    /// How much may happen.
    pub bounds: Bounds,
    /// A wrong version of the product instead of the right one.
    pub mutant: Option<&'static Mutant>,
    /// So many threads.
    pub threads: usize,
    /// A search that met more states is given up.
    pub limit: usize,
    /// Whether to look for runs that never come to rest.
    pub liveness: bool,
}

impl Settings {
    /// How much states forget.
    pub fn form(&self) -> forget::Form {
        if self.mutant.is_some() { forget::Form::Plain } else { forget::Form::Canonical }
    }

    /// Checks that are not made.
    pub fn weak(&self) -> &'static [Lax] {
        self.mutant.map_or(&[], |mutant| mutant.lax)
    }
}

/// What is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// An invariant.
    Broken(Violation),
    /// A fair run in which nothing goes wrong any more never comes to rest with somebody able to write.
    NeverRests,
    /// The product took a step that this model does not know.
    Unmodelled(&'static str),
}

impl Finding {
    /// A short word for tables.
    pub fn word(&self) -> String {
        match self {
            Self::Broken(violation) => format!("{} {violation:?}", violation.invariant()),
            Self::NeverRests => "8 NeverRests".to_owned(),
            Self::Unmodelled(action) => format!("unmodelled step {action}"),
        }
    }
}

/// What a search found.
pub struct Report {
    /// States met.
    pub states: usize,
    /// Changes from one to another.
    pub edges: usize,
    /// Steps from the first state to the last one found.
    pub depth: usize,
    /// How long it took.
    pub seconds: f64,
    /// What is broken, and the shortest story that leads there.
    pub finding: Option<(Finding, Vec<story::Line>)>,
    /// No state within the bounds was left out.
    pub complete: bool,
    /// How many states of each situation were met.
    pub met: [usize; MET.len()],
    /// How it came to rest, and in how many states.
    pub rests: BTreeMap<Rest, usize>,
    /// Different decisions that were asked of the product.
    pub decisions: usize,
}

/// Searches.
pub fn search(settings: Settings) -> Report {
    let began = Instant::now();
    let mut report = explore::explore(settings);
    report.seconds = began.elapsed().as_secs_f64();
    report
}

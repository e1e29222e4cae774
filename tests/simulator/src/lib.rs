//! Slipway's own decisions, run against models of everything around them.
//!
//! | module | holds |
//! |---|---|
//! | [`database`] | one PostgreSQL database as far as Slipway touches it: an executable specification of `slipway::postgres` |
//! | [`invariants`] | what must hold of the two databases at every moment |

pub mod database;
pub mod invariants;
pub mod search;

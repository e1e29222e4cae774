//! The bank: what is migrated, the load on it, and the check that both sides are equal.
//!
//! `api` serves it over HTTP, and `visitor` is who asks it. `prepare` makes the database on both servers from the same role files that a bank's DBA would run, `seed` fills the
//! source, [`Load`] keeps writing and puts down what it wrote, a [`probe`] watches who takes writes, `compare` says whether
//! both sides hold the same rows, and the [`journal`] whether every write is there once.

pub mod api;
mod compare;
pub mod journal;
mod load;
mod prepare;
pub mod probe;
pub mod visitor;
mod writes;

pub use compare::{Comparison, Difference, Following, How, compare};
pub use load::{Config, Load, Totals, Way, writer};
pub use prepare::{Bank, Passwords, Side, prepare, renew, seed, widen};

/// The bank's database, as the role files name it.
pub const DATABASE: &str = "payments";
/// The schema of the bank's tables.
pub const SCHEMA: &str = "public";

#[cfg(test)]
mod tests;

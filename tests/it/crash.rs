//! `kill -9` of the operator anywhere, lost replies and throttling: the same end, and nothing twice.

mod bench;
pub mod inventory;
mod killed;
mod points;

pub use bench::Bench;

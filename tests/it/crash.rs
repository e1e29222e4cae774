//! `kill -9` of the operator anywhere, lost replies and throttling: the same end, and nothing twice.

mod application;
pub mod bench;
pub mod inventory;
mod killed;
mod points;
pub mod replies;
mod storm;

/// Set: every point and every fault is tried, which takes some minutes; else a sample.
pub const EVERY: &str = "SLIPWAY_EVERY_CRASH";

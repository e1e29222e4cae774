//! `kill -9` of the operator anywhere, lost replies and throttling: the same end, and nothing twice.

pub mod bench;
pub mod inventory;
mod killed;
mod points;
pub mod replies;
mod storm;

//! Slipway's own decisions, run against models of everything around them.
//!
//! | module | holds |
//! |---|---|
//! | [`database`] | one PostgreSQL database as far as Slipway touches it: an executable specification of `slipway::postgres` |
//! | [`invariants`] | what must hold of the two databases at every moment |
//! | [`search`] | every order of events within bounds, by exhaustive search |
//! | [`clock`] | the virtual clock and what runs on it |
//! | [`world`] | AWS, the Kubernetes API, tasks, applications, people, and what goes wrong |
//! | [`operator`] | an operator's process, call by call |
//! | [`journey`] | what people order, by name |
//! | [`history`] | one history from its begin to its end |
//! | [`seeds`] | histories by chance, each from one number |
//! | [`exhaustive`] | every call of every journey with every fault |
//! | [`pairs`] | every pair of places of both kinds, with every pair of orders |
//! | [`simulate`] | `cargo simulate` |

pub mod clock;
pub mod database;
pub mod exhaustive;
pub mod history;
pub mod invariants;
pub mod journey;
pub mod operator;
pub mod pairs;
pub mod random;
pub mod search;
pub mod seeds;
pub mod simulate;
pub mod world;

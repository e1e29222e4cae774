//! Slipway: carries a running application and its PostgreSQL database to AWS, gradually and reversibly.
//!
//! Data goes one way: **resource → goal → observe → decide → act → report**.
//!
//! | module | holds | must never hold |
//! |---|---|---|
//! | [`api`] | the custom resources and their conditions | anything else of ours |
//! | [`address`], [`side`], [`fault`], [`permit`], [`secret`] | words that all of the below share | I/O |
//! | [`aws`] | one file per AWS service, in our words | a decision |
//! | [`postgres`] | everything that speaks SQL | a decision |
//! | [`probe`] | the operator's own look at an application | anything of an answer but its status |
//! | [`marker`] | whose a DNS record is, by a TXT record beside it | I/O |
//! | [`report`], [`turn`] | what both kinds share: their reports, and what follows from a turn | I/O |
//! | [`cleanup`] | what an operator left in AWS, found and removed without a cluster | anything of Kubernetes or a database |

pub mod address;
pub mod api;
pub mod application;
pub mod aws;
pub mod cleanup;
pub mod cli;
pub mod database;
pub mod duration;
pub mod fault;
pub mod gate;
pub mod hex;
pub mod marker;
pub mod metrics;
pub mod operator;
pub mod permit;
pub mod postgres;
pub mod probe;
pub mod report;
pub mod secret;
pub mod side;
pub mod turn;

//! AWS, in our words: one file per service, and the only place that names the SDK's types.
//!
//! Every call that changes something takes a [`Permit`](crate::permit::Permit). No call is retried here: a failed call
//! becomes a [`Fault`](crate::fault::Fault), and the next reconcile observes before it tries again. So a lost reply
//! can't be re-sent by anybody who does not know what it did.

pub mod cloudwatch;
pub mod dms;
pub mod rds;

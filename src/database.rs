//! Reconcile one `DatabaseMigration`: goal, observe, decide, act, report.

pub mod decide;
pub mod goal;
pub mod material;
pub mod plan;
pub mod report;
pub mod seen;

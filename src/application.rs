//! One `ApplicationMigration`: goal, observe, decide, act, report.

pub mod decide;
pub mod goal;
pub mod marker;
pub mod memory;
pub mod plan;
pub mod records;
pub mod report;
pub mod seen;
pub mod weights;

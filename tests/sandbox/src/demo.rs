//! One migration from nothing to a proved copy, told as it happens.

pub mod build;
pub mod check;

use crate::cli::Demo;

/// Runs the demo.
pub async fn run(_flags: &Demo) -> Result<(), String> {
    Err("being written".to_owned())
}

//! `check`: are source and target equal, row by row?

use std::path::Path;

use crate::demo::check::compare;
use crate::sandbox::Environment;

/// Compares, prints the outcome, and fails on any difference.
pub(super) async fn check(directory: &Path) -> Result<(), String> {
    let environment = Environment::read(directory).map_err(|error| error.to_string())?;
    let comparison = Box::pin(compare(&environment)).await.map_err(|error| error.to_string())?;
    if comparison.equal() {
        println!("{comparison}");
        Ok(())
    } else {
        Err(comparison.to_string())
    }
}

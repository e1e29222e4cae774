//! `down`: end a sandbox.

use std::path::Path;

use crate::sandbox::{end_leftovers, held_by};

/// Ends the sandbox of a directory, whether it runs or was killed.
pub(super) async fn down(directory: &Path) -> Result<(), String> {
    let shown = directory.display();
    if let Some(holder) = held_by(directory).map_err(|error| error.to_string())? {
        println!("ending the sandbox in {shown} (pid {})", holder.pid());
        holder.end().await.map_err(|error| error.to_string())?;
        println!("ended: Kubernetes, both PostgreSQL servers, AWS");
        return Ok(());
    }
    let ended = end_leftovers(directory).map_err(|error| error.to_string())?;
    if ended.is_empty() {
        println!("no sandbox runs in {shown}");
    } else {
        println!("the sandbox in {shown} was killed; ended what it left: {}", ended.join(", "));
    }
    Ok(())
}

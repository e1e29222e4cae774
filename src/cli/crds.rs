//! `slipway crds`: the CRDs as the types have them.

use std::io::Write;

use super::Crds;
use crate::api::all_crds;

/// Prints or writes them.
///
/// # Errors
/// When a file can't be written.
pub fn crds(flags: &Crds) -> Result<(), String> {
    let all = all_crds().map_err(|error| error.to_string())?;
    for (name, yaml) in all {
        match &flags.write {
            Some(folder) => {
                let path = folder.join(name);
                std::fs::write(&path, yaml)
                    .map_err(|error| format!("writing {}: {error}", path.display()))?;
            }
            None => writeln!(std::io::stdout(), "---\n{}", yaml.trim_end())
                .map_err(|error| format!("printing: {error}"))?,
        }
    }
    Ok(())
}

//! The programs that the demo runs, built from this repository.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

/// Where they are.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) operator: PathBuf,
    pub(crate) sandbox: PathBuf,
}

/// Builds what isn't there. The sandbox is this very program, unless a test calls the demo as a library.
pub(crate) async fn programs() -> Result<Programs, String> {
    let own = std::env::current_exe().map_err(|error| format!("finding our own program: {error}"))?;
    let sandbox = if own.file_name() == Some(OsStr::new("sandbox")) { own } else { build("sandbox").await? };
    Ok(Programs { operator: operator().await?, sandbox })
}

/// Builds the operator and says where it is.
pub async fn operator() -> Result<PathBuf, String> {
    build("slipway").await
}

/// Builds a program by its name, with the cargo that runs us and as we were built: what is measured by an optimised program
/// should be one too. No package is named: its own features alone would have many dependencies compiled anew.
async fn build(name: &str) -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
    let output = Command::new(&cargo)
        .args(["build", "--quiet", "--bin", name])
        .args((!cfg!(debug_assertions)).then_some("--release"))
        .args(["--message-format", "json-render-diagnostics", "--manifest-path"])
        .arg(&manifest)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| {
            format!("cannot run {}: {error}: install Rust from https://rustup.rs", cargo.display())
        })?;
    if !output.status.success() {
        return Err(format!("cargo build --bin {name} failed, as said above ({})", output.status));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .ok_or_else(|| format!("cargo built {name} and did not say where it put it"))
}

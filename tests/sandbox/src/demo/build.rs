//! The operator's program, built from this repository.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

/// Builds `slipway` with the cargo that built us and says where it is.
pub async fn operator_binary() -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
    let output = Command::new(&cargo)
        .args(["build", "--quiet", "--package", "slipway", "--bin", "slipway"])
        .args(["--message-format", "json-render-diagnostics", "--manifest-path"])
        .arg(&manifest)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| format!("running {}: {error}", cargo.display()))?;
    if !output.status.success() {
        return Err(format!(
            "building the operator failed: cargo build --bin slipway ended with {}",
            output.status
        ));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "slipway")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .ok_or_else(|| "cargo built the operator and did not say where it put it".to_owned())
}

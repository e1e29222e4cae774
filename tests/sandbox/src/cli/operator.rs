//! `operator`: the operator of this repository in a sandbox that runs.

use std::path::Path;
use std::time::Duration;

use super::told_to_end;
use crate::demo::build;
use crate::sandbox::{Environment, install_crds, start_operator};

/// Installs the CRDs, then runs the operator until Ctrl-C.
pub(super) async fn operator(directory: &Path) -> Result<(), String> {
    let environment = Environment::read(directory).map_err(|error| error.to_string())?;
    println!("building the operator: cargo build --bin slipway");
    let binary = build::operator().await?;
    let kubeconfig = environment.get("KUBECONFIG").map_err(|error| error.to_string())?.to_owned();
    let client = crate::cluster::client(Path::new(&kubeconfig)).await.map_err(|error| error.to_string())?;
    for name in Box::pin(install_crds(&client)).await.map_err(|error| error.to_string())? {
        println!("installed CRD {name}");
    }
    let operator =
        start_operator(&environment, &binary, Duration::from_secs(1)).map_err(|error| error.to_string())?;
    println!("the operator runs (pid {}); its log is {}", operator.pid(), operator.log().display());
    tokio::select! {
        told = told_to_end() => told.map_err(|error| format!("waiting for a signal: {error}"))?,
        () = operator.ended() => return Err(operator.describe()),
    }
    operator.stop(Duration::from_secs(30)).await.map_err(|error| error.to_string())
}

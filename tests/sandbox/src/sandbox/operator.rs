//! The operator as its own process, with its own identity and nothing of ours.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

use super::{Environment, Error};
use crate::process::{self, Running, Spec};

/// Starts `slipway run` with the operator's kubeconfig and the AWS variables as its whole environment. It looks again
/// every `poll` while AWS works. Its log is `operator.log` in the sandbox's directory, begun anew.
pub fn start_operator(environment: &Environment, binary: &Path, poll: Duration) -> Result<Running, Error> {
    start_operator_with(environment, binary, poll, &[])
}

/// As [`start_operator`], with more flags of `slipway run`.
pub fn start_operator_with(
    environment: &Environment,
    binary: &Path,
    poll: Duration,
    flags: &[String],
) -> Result<Running, Error> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    let health = listener.map_err(Error::io("find a free port on 127.0.0.1 for the operator"))?;
    let log = environment.directory().join("operator.log");
    std::fs::write(&log, "").map_err(Error::io(format!("write {}", log.display())))?;
    let args = [
        "run",
        "--health-address",
        &health.to_string(),
        "--poll",
        &poll.as_secs_f64().to_string(),
        "--log",
        "text",
    ];
    Ok(process::start_alone(&Spec {
        program: binary.to_owned(),
        args: args.into_iter().map(ToOwned::to_owned).chain(flags.iter().cloned()).collect(),
        envs: environment.for_operator()?,
        user: None,
        log,
    })?)
}

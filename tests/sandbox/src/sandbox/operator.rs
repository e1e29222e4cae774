//! The operator as its own process, with its own identity and nothing of ours.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

use super::{Environment, Error};
use crate::process::{self, Running, Spec};

/// The pod that the operator believes to be in, if no other is named.
const POD: &str = "slipway-0";

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
    start_operator_in(POD, environment, binary, poll, flags)
}

/// As [`start_operator_with`], in a pod of this name. Started again under the same name it is the same pod, whose container
/// was started again: then the one before must have ended. The log of another pod than the usual is its own: `POD.log`.
pub fn start_operator_in(
    pod: &str,
    environment: &Environment,
    binary: &Path,
    poll: Duration,
    flags: &[String],
) -> Result<Running, Error> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    let health = listener.map_err(Error::io("find a free port on 127.0.0.1 for the operator"))?;
    let log = environment.directory().join(if pod == POD {
        "operator.log".to_owned()
    } else {
        format!("{pod}.log")
    });
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
    let mut envs = environment.for_operator()?;
    envs.extend(
        [("POD_NAME", pod), ("POD_UID", pod)].map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    Ok(process::start_alone(&Spec {
        program: binary.to_owned(),
        args: args.into_iter().map(ToOwned::to_owned).chain(flags.iter().cloned()).collect(),
        envs,
        user: None,
        log,
    })?)
}

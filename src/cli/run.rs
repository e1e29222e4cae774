//! `slipway run`: the operator, until it is told to stop.

use std::io::IsTerminal;
use std::time::Duration;

use futures::FutureExt;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::{LogFormat, Run};
use crate::operator::accounts::Accounts;
use crate::operator::context::Pace;
use crate::operator::leader::{self, Candidate};
use crate::operator::lease::Timing;
use crate::operator::{self, Settings};

/// kube's client repeats an answer that it can't read, whatever is in it. Its errors come to us without.
const QUIET: [&str; 1] = ["kube_client::client=error"];

/// Runs the operator until SIGTERM or Ctrl-C.
///
/// # Errors
/// When it can't start: what was attempted, and why it failed.
pub async fn run(flags: Run) -> Result<(), String> {
    log(flags.log);
    let accounts = match &flags.accounts {
        None => Accounts::Own { region: flags.region },
        Some(path) => {
            let yaml = std::fs::read_to_string(path)
                .map_err(|error| format!("reading the accounts file {}: {error}", path.display()))?;
            Accounts::parse(&yaml).map_err(|error| format!("{}: {error}", path.display()))?
        }
    };
    let mut terminate =
        signal(SignalKind::terminate()).map_err(|error| format!("listening for SIGTERM: {error}"))?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: letting running steps finish"),
            _ = tokio::signal::ctrl_c() => tracing::info!("interrupt: letting running steps finish"),
        }
    }
    .boxed()
    .shared();
    let pace = Pace { soon: flags.poll, rarely: flags.retry, ..Pace::default() };
    let candidate = Candidate {
        namespace: flags.lease_namespace,
        name: flags.lease_name,
        timing: Timing::lasting(Duration::from_secs(flags.lease_duration)),
        identity: leader::identity(flags.pod_name.as_deref(), flags.pod_uid.as_deref()),
    };
    let settings = Settings { health_address: flags.health_address, accounts, pace, candidate };
    match operator::run(settings, stop).await {
        Ok(()) => Ok(()),
        Err(error @ (operator::Error::Leader(_) | operator::Error::Renewal(_))) => {
            tracing::error!(%error, "ending at once");
            // What other tasks still do must not go on, and is not waited for.
            std::process::exit(1)
        }
        Err(error) => Err(error.to_string()),
    }
}

fn log(format: LogFormat) {
    let asked = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,kube=warn"));
    let builder = tracing_subscriber::fmt().with_env_filter(quiet(asked)).with_writer(std::io::stderr);
    match format {
        LogFormat::Json => builder.json().init(),
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).init(),
    }
}

/// Not even `RUST_LOG=trace` may show a password.
fn quiet(asked: EnvFilter) -> EnvFilter {
    crate::aws::QUIET
        .into_iter()
        .chain(crate::postgres::QUIET)
        .chain(QUIET)
        .filter_map(|directive| directive.parse().ok())
        .fold(asked, EnvFilter::add_directive)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// kube warns of an answer that it can't read, and repeats it: that of a Secret, too.
    #[test]
    fn answers_of_the_api_server_are_in_no_log() {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(quiet(EnvFilter::new("trace")))
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(target: "kube_client::client", "{{\"password\": \"kanarienvogel");
            tracing::trace!(target: "kube_client::client", "Status from kanarienvogel");
            tracing::error!(target: "kube_client::client::builder", "failed with status 403");
            tracing::info!("ready");
        });
        let log = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        assert!(!log.contains("kanarienvogel"), "{log}");
        assert!(log.contains("failed with status 403") && log.contains("ready"), "{log}");
    }
}

//! A real Kubernetes API: etcd and kube-apiserver on loopback, with RBAC, an audit log, and the operator's own identity.
//!
//! There is no controller-manager and no kubelet. So nothing runs pods, deletes what belongs to a deleted owner, empties
//! a deleted namespace, or makes the `default` service account of a new one.

pub mod audit;
pub mod binaries;
mod credentials;
pub mod manifests;
pub mod operator;
mod servers;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};

use crate::process::{self, Running, Signal};
use binaries::Binaries;
use credentials::Credentials;
use operator::OperatorIdentity;

/// Why the cluster isn't there, or didn't do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No etcd and kube-apiserver.
    #[error(transparent)]
    Binaries(#[from] binaries::Error),
    /// A server process could not be started or ended.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// A certificate could not be made.
    #[error("cannot make the cluster's certificates: {0}")]
    Certificates(#[from] rcgen::Error),
    /// A file operation failed.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was attempted, and on what.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// A server ended, or never became ready.
    #[error("the Kubernetes API server did not become ready: {0}")]
    NotReady(String),
    /// A kubeconfig can't be used.
    #[error("cannot use {}: {source}", path.display())]
    Kubeconfig {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: kube::config::KubeconfigError,
    },
    /// The API server refused a call.
    #[error("cannot {what}: {source}")]
    Api {
        /// What was attempted, and on what.
        what: String,
        /// What it said.
        source: Box<kube::Error>,
    },
    /// A manifest, rule list or log line can't be read.
    #[error("cannot read {what}: {reason}")]
    Malformed {
        /// Which.
        what: String,
        /// Why not.
        reason: String,
    },
    /// Something accepted did not come true in time.
    #[error("waited {waited:?} in vain for {what}")]
    TimedOut {
        /// What was expected.
        what: String,
        /// For how long.
        waited: Duration,
    },
}

/// A running cluster. Dropping it kills its processes.
#[derive(Debug)]
pub struct Cluster {
    /// Client certificate of the group `system:masters`; everything is embedded, so it works from anywhere.
    pub admin_kubeconfig: PathBuf,
    /// Every write that the API server answered, with who and what, without bodies: see [`audit::writes`].
    pub audit_log: PathBuf,
    directory: PathBuf,
    server: String,
    authority: String,
    etcd: Running,
    apiserver: Running,
}

impl Cluster {
    /// Starts an empty cluster, and waits until it serves. Data of an earlier one in `directory` is removed.
    /// If this machine has no etcd and kube-apiserver yet, they are built first, which takes minutes, once.
    pub async fn start(directory: &Path) -> Result<Self, Error> {
        let binaries = tokio::task::spawn_blocking(Binaries::find_or_build)
            .await
            .map_err(|error| io_error(|| "look for etcd and kube-apiserver".to_owned())(error.into()))??;
        let directory = std::path::absolute(directory)
            .map_err(io_error(|| format!("resolve {}", directory.display())))?;
        fs::create_dir_all(&directory).map_err(io_error(|| format!("make {}", directory.display())))?;
        process::end_leftovers(&directory)?;
        let credentials = Credentials::create(&directory)?;
        let servers = servers::start(&binaries, &credentials, &directory).await?;
        Ok(Self {
            admin_kubeconfig: servers.admin_kubeconfig,
            audit_log: servers.audit_log,
            directory,
            server: servers.url,
            authority: credentials.cluster_authority,
            etcd: servers.etcd,
            apiserver: servers.apiserver,
        })
    }

    /// The API server's address, `https://127.0.0.1:<port>`.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The process ids of etcd and kube-apiserver.
    pub fn pids(&self) -> [i32; 2] {
        [self.etcd.pid(), self.apiserver.pid()]
    }

    /// Sends the API server a signal: `STOP` makes it hang for everybody until `CONT`.
    pub fn signal_api_server(&self, signal: Signal) -> Result<(), Error> {
        Ok(self.apiserver.signal(signal)?)
    }

    /// A new client with all rights.
    pub async fn client(&self) -> Result<Client, Error> {
        client(&self.admin_kubeconfig).await
    }

    /// Makes the identity that the operator runs as: see [`OperatorIdentity::create`].
    pub async fn operator_identity(&self, namespaces: &[&str]) -> Result<OperatorIdentity, Error> {
        OperatorIdentity::create(self, namespaces).await
    }

    /// Freezes the API server: connections stay open and nothing answers.
    pub fn pause(&self) -> Result<(), Error> {
        Ok(self.apiserver.signal(Signal::STOP)?)
    }

    /// Ends [`Self::pause`].
    pub fn resume(&self) -> Result<(), Error> {
        Ok(self.apiserver.signal(Signal::CONT)?)
    }

    /// Ends both servers, the API server first, and returns when both are gone.
    pub async fn stop(&self) -> Result<(), Error> {
        let grace = Duration::from_secs(10);
        // etcd must be ended even if the API server could not be.
        let apiserver = self.apiserver.stop(grace).await;
        self.etcd.stop(grace).await?;
        Ok(apiserver?)
    }
}

/// A client with the identity of a kubeconfig file.
pub async fn client(kubeconfig: &Path) -> Result<Client, Error> {
    let config = config(kubeconfig).await?;
    Client::try_from(config).map_err(api_error(|| format!("make a client from {}", kubeconfig.display())))
}

async fn config(kubeconfig: &Path) -> Result<Config, Error> {
    let refuse = |source| Error::Kubeconfig { path: kubeconfig.to_owned(), source };
    let read = Kubeconfig::read_from(kubeconfig).map_err(refuse)?;
    Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await.map_err(refuse)
}

fn io_error(what: impl FnOnce() -> String) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { what: what(), source }
}

fn api_error(what: impl FnOnce() -> String) -> impl FnOnce(kube::Error) -> Error {
    move |source| Error::Api { what: what(), source: Box::new(source) }
}

#[cfg(test)]
mod chart_tests;
#[cfg(test)]
mod tests;

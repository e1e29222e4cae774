//! The verbs and their flags, as types.

pub mod cleanup;
pub mod crds;
pub mod diagnose;
pub mod run;
pub mod sides;
pub mod unfence;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// Carries a running application and its PostgreSQL database to AWS, gradually and reversibly.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the operator.
    Run(Run),
    /// Print the CRDs, or write them to a folder.
    Crds(Crds),
    /// Say who can write where, what the databases' own rows say, and what is safe. Needs database credentials alone.
    Diagnose(Box<sides::Reach>),
    /// Open a fenced side again, by the same rules as the operator. Needs database credentials alone.
    Unfence(Box<unfence::Unfence>),
    /// Show, and with --delete remove, what an operator left in AWS, by names and tags. Needs no cluster and no database.
    Cleanup(cleanup::Cleanup),
}

/// Flags of `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// Where /metrics, /healthz and /readyz listen.
    #[arg(long, default_value = "0.0.0.0:8080", env = "SLIPWAY_HEALTH_ADDRESS")]
    pub health_address: SocketAddr,
    /// YAML file that maps namespaces to AWS accounts: `namespaces: {<namespace>: {accountID, region, roleARN, externalID}}`.
    /// Without it every namespace uses the operator's own identity in --region.
    #[arg(long, env = "SLIPWAY_ACCOUNTS")]
    pub accounts: Option<PathBuf>,
    /// AWS region if there is no accounts file.
    #[arg(long, default_value = "us-east-1", env = "AWS_REGION")]
    pub region: String,
    /// Seconds between looks while AWS is at work.
    #[arg(long, default_value = "2", value_parser = seconds)]
    pub poll: Duration,
    /// Seconds between looks while a person must change something, or nothing is to be done.
    #[arg(long, default_value = "15", value_parser = seconds)]
    pub retry: Duration,
    /// The Lease that lets one operator act at a time.
    #[arg(long, default_value = "slipway", env = "SLIPWAY_LEASE_NAME")]
    pub lease_name: String,
    /// The Lease's namespace; else that of the operator's credentials.
    #[arg(long, env = "POD_NAMESPACE")]
    pub lease_namespace: Option<String>,
    /// Seconds that others wait for the holder's next renewal before they take over. The holder ends when it could not renew
    /// for two thirds of it.
    #[arg(long, default_value = "15", value_parser = clap::value_parser!(u64).range(5..=3600))]
    pub lease_duration: u64,
    /// The pod's name. With --pod-uid it says who holds the Lease, so that a container that starts again in the same pod has
    /// it back at once.
    #[arg(long, env = "POD_NAME")]
    pub pod_name: Option<String>,
    /// The pod's metadata.uid. Never set it to the same for two operators that run at once.
    #[arg(long, env = "POD_UID")]
    pub pod_uid: Option<String>,
    /// Log as JSON lines, or as text for a terminal.
    #[arg(long, value_enum, default_value = "json")]
    pub log: LogFormat,
}

/// How to log.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For a person.
    Text,
}

/// Flags of `crds`.
#[derive(Debug, Args)]
pub struct Crds {
    /// The folder to write one file for each kind to; printed if left out.
    #[arg(long)]
    pub write: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse::<f64>()
        .ok()
        .filter(|s| (0.05..=60.0).contains(s))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "a number of seconds from 0.05 to 60".to_owned())
}

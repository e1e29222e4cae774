//! Parse, install the TLS provider, run a verb, map the outcome to an exit code.

use std::process::ExitCode;

use clap::Parser;
use slipway::cli::{Cli, Verb, cleanup, crds, diagnose, run, unfence};

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    // One provider for every TLS user of the process; with two compiled in, rustls could not choose.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("slipway: another TLS provider is installed already");
        return ExitCode::FAILURE;
    }
    let result = match cli.verb {
        Verb::Run(flags) => Box::pin(run::run(flags)).await,
        Verb::Crds(flags) => crds::crds(&flags),
        Verb::Diagnose(reach) => Box::pin(diagnose::diagnose(&reach)).await,
        Verb::Cleanup(flags) => Box::pin(cleanup::cleanup(&flags)).await,
        Verb::Unfence(flags) => Box::pin(unfence::unfence(&flags)).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("slipway: {message}");
            ExitCode::FAILURE
        }
    }
}

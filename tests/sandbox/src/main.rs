//! `sandbox`: a whole world for Slipway, by hand. `cargo sandbox` and `cargo demo` run it.

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = sandbox::cli::Cli::parse();
    // One provider for every TLS user of the process; with two compiled in, rustls could not choose.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("sandbox: another TLS provider is installed already");
        return ExitCode::FAILURE;
    }
    match Box::pin(sandbox::cli::run(cli)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("sandbox: {message}");
            ExitCode::FAILURE
        }
    }
}

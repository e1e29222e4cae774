//! `cargo simulate`: see `docs/simulation.md`.

use std::process::ExitCode;

use clap::Parser;
use simulator::simulate::{Simulate, simulate};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    simulate: Simulate,
}

fn main() -> ExitCode {
    if simulate(&Cli::parse().simulate) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

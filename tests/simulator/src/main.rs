//! `cargo simulate`: see `docs/simulation.md`.

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(about = "Runs Slipway's own decisions against models of everything around them")]
enum Cli {
    /// Search every order of events within bounds.
    Search(simulator::search::cli::Flags),
}

fn main() -> ExitCode {
    match Cli::parse() {
        Cli::Search(flags) => simulator::search::cli::run(&flags),
    }
}

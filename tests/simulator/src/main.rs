//! `cargo simulate`: see `docs/simulation.md`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use simulator::simulate::{self, Flags};

#[derive(Parser)]
#[command(
    about = "Runs Slipway's own decisions against models of everything around them",
    args_conflicts_with_subcommands = true
)]
struct Cli {
    #[command(subcommand)]
    search: Option<Search>,
    #[command(flatten)]
    histories: Flags,
}

#[derive(Subcommand)]
enum Search {
    /// Search every order of events within bounds.
    Search(simulator::search::cli::Flags),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.search {
        Some(Search::Search(flags)) => simulator::search::cli::run(&flags),
        None => simulate::run(&cli.histories),
    }
}

//! `cargo simulate search`.

use std::process::ExitCode;

use clap::Args;

use super::bounds::Bounds;
use super::coverage::MET;
use super::{Report, Settings, search, story};

/// Flags of `search`.
#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// How much may happen: a letter and a number for each, see docs/simulation.md.
    #[arg(long, default_value = "w2 f1 g2 c0 k1 t1")]
    pub bounds: Bounds,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    pub threads: usize,
    /// Give up beyond so many states.
    #[arg(long, default_value_t = 60_000_000)]
    pub limit: usize,
    /// Only look for broken invariants, not for runs that never rest.
    #[arg(long)]
    pub safety_only: bool,
    /// Tell what every step of a story led to.
    #[arg(long)]
    pub full: bool,
}

/// Runs it.
pub fn run(flags: &Flags) -> ExitCode {
    let settings = Settings {
        bounds: flags.bounds,
        mutant: None,
        threads: flags.threads,
        limit: flags.limit,
        liveness: !flags.safety_only,
    };
    let report = search(settings);
    println!("{}", sum(&flags.bounds, &report));
    for ((words, _), count) in MET.iter().zip(report.met) {
        println!("  {count:>9}  {words}");
    }
    for (rest, count) in &report.rests {
        println!("  {count:>9}  rests {rest:?}");
    }
    match &report.finding {
        None if report.complete => ExitCode::SUCCESS,
        None => {
            println!("not finished: more than {} states", flags.limit);
            ExitCode::FAILURE
        }
        Some((finding, lines)) => {
            println!(
                "BROKEN: {}, after {} steps\n{}",
                finding.word(),
                lines.len(),
                story::tell(lines, flags.full)
            );
            ExitCode::FAILURE
        }
    }
}

fn sum(bounds: &Bounds, report: &Report) -> String {
    format!(
        "{bounds}: {} states, {} edges, depth {}, {:.1} s, {} decisions of the product",
        report.states, report.edges, report.depth, report.seconds, report.decisions
    )
}

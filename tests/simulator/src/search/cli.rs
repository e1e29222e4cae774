//! `cargo simulate search`.

use std::process::ExitCode;

use clap::Args;

use super::bounds::Bounds;
use super::coverage::MET;
use super::mutants::{Fate, MUTANTS, Mutant};
use super::{Report, Settings, search, story};

/// Flags of `search`.
#[derive(Args, Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // each is a flag of the command line
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
    /// Search a wrong version of the product instead, by its id.
    #[arg(long)]
    pub mutant: Option<String>,
    /// Search every mutant within its own bounds, and print the table.
    #[arg(long)]
    pub all_mutants: bool,
    /// Walk the states as they are, and prove that what the search forgets makes no difference.
    #[arg(long)]
    pub prove: bool,
    /// Tell what every step of a story led to.
    #[arg(long)]
    pub full: bool,
}

/// Runs it.
pub fn run(flags: &Flags) -> ExitCode {
    if flags.all_mutants {
        return all(flags.threads);
    }
    if flags.prove {
        return prove(flags);
    }
    let mutant = flags.mutant.as_ref().map(|id| MUTANTS.iter().find(|mutant| mutant.id == id));
    if matches!(mutant, Some(None)) {
        eprintln!("no such mutant: see docs/simulation.md");
        return ExitCode::FAILURE;
    }
    let mutant = mutant.flatten();
    let settings = Settings {
        bounds: flags.bounds,
        mutant,
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

fn prove(flags: &Flags) -> ExitCode {
    match super::prove::prove(flags.bounds, flags.limit) {
        Ok(proof) => {
            println!("{}: {proof}", flags.bounds);
            if proof.complete { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(words) => {
            println!("{}: {words}", flags.bounds);
            ExitCode::FAILURE
        }
    }
}

/// Every mutant, a line each.
fn all(threads: usize) -> ExitCode {
    println!(
        "| id | what is broken | within | caught by | steps | states | s |\n|---|---|---|---|---|---|---|"
    );
    let mut unexpected = 0;
    for mutant in MUTANTS {
        let line = match mutate(mutant, threads) {
            Err(why) => format!("{why} | | | "),
            Ok(report) => {
                let caught = match (&report.finding, mutant.fate) {
                    (Some((finding, story)), _) => format!("{} | {}", finding.word(), story.len()),
                    (None, Fate::Covered(by)) => format!("not caught: {by} | "),
                    (None, _) => "NOT CAUGHT | ".to_owned(),
                };
                if !as_expected(mutant, &report) {
                    unexpected += 1;
                }
                format!("{caught} | {} | {:.1}", report.states, report.seconds)
            }
        };
        println!("| {} | {} | {} | {line} |", mutant.id, mutant.breaks, mutant.bounds);
    }
    println!("{} mutants, {unexpected} not as expected", MUTANTS.len());
    if unexpected == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Searches for one mutant within its bounds; or why it is not searched for.
pub fn mutate(mutant: &'static Mutant, threads: usize) -> Result<Report, &'static str> {
    if let Fate::NotYet(why) = mutant.fate {
        return Err(why);
    }
    let bounds = mutant.bounds().map_err(|_| "its bounds can't be read")?;
    Ok(search(Settings { bounds, mutant: Some(mutant), threads, limit: 8_000_000, liveness: true }))
}

/// Whether what a search found of a mutant is what the table says of it.
pub fn as_expected(mutant: &Mutant, report: &Report) -> bool {
    match mutant.fate {
        Fate::Killed => report.finding.is_some(),
        Fate::Covered(_) => report.finding.is_none() && report.complete,
        Fate::NotYet(_) => false,
    }
}

fn sum(bounds: &Bounds, report: &Report) -> String {
    format!(
        "{bounds}: {} states, {} edges, depth {}, {:.1} s, {} decisions of the product",
        report.states, report.edges, report.depth, report.seconds, report.decisions
    )
}

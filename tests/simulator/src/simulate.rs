//! `cargo simulate`: histories by seed, every single fault of every journey, and the wrong versions that must be found out.

use std::process::ExitCode;
use std::time::Instant;

use clap::Args;

use crate::history::{Outcome, Setup, run as run_one};
use crate::seeds::{Family, Mutant};
use crate::{exhaustive, journey, pairs, seeds};

/// Lines of a story that are shown unless all are asked for.
const LAST: usize = 60;

/// What to run.
#[derive(Args, Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // Flags of a command line.
pub struct Flags {
    /// So many seeds, after those that failed once.
    #[arg(long)]
    pub seeds: Option<u64>,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    pub from: u64,
    /// One seed.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Tell the whole story of it.
    #[arg(long)]
    pub trace: bool,
    /// Every single fault of every journey.
    #[arg(long)]
    pub exhaustive: bool,
    /// Histories with an `ApplicationMigration`, alone and with its database.
    #[arg(long)]
    pub traffic: bool,
    /// Every pair of places of both kinds, with every pair of orders.
    #[arg(long)]
    pub pairs: bool,
    /// Only one in so many of these.
    #[arg(long, default_value_t = 1)]
    pub share: usize,
    /// Only this journey, or pairs with these words in their names.
    #[arg(long)]
    pub journey: Option<String>,
    /// Each journey without a fault.
    #[arg(long)]
    pub clean: bool,
    /// Only the faults of this call of the journey, told.
    #[arg(long, requires = "journey")]
    pub point: Option<usize>,
    /// With a wrong version of a rule.
    #[arg(long)]
    pub mutant: Option<String>,
    /// With each wrong version in turn; each must be found out.
    #[arg(long)]
    pub mutants: bool,
    /// Processors to use; all of them if left out.
    #[arg(long)]
    pub threads: Option<usize>,
}

/// Runs it.
pub fn run(flags: &Flags) -> ExitCode {
    let threads = flags
        .threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    let good = if let Some(seed) = flags.seed {
        one(family(flags), seed, mutant(flags), flags.trace)
    } else if flags.clean {
        clean(flags)
    } else if flags.pairs {
        every_pair(flags, threads)
    } else if let Some(point) = flags.point {
        each_fate(flags, point)
    } else if flags.exhaustive {
        every_fault(flags, threads)
    } else if flags.mutants {
        every_mutant(family(flags), flags.seeds.unwrap_or(2_000), threads)
    } else {
        many(flags, threads)
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn mutant(flags: &Flags) -> Option<&'static str> {
    let wanted = flags.mutant.as_deref()?;
    mutants(family(flags)).iter().find(|mutant| mutant.name == wanted).map(|mutant| mutant.name)
}

fn family(flags: &Flags) -> Family {
    if flags.traffic { Family::Traffic } else { Family::Database }
}

fn mutants(family: Family) -> &'static [Mutant] {
    match family {
        Family::Database => &seeds::MUTANTS,
        Family::Traffic => &seeds::traffic::MUTANTS,
    }
}

fn one(family: Family, seed: u64, mutant: Option<&'static str>, whole: bool) -> bool {
    let setup = Setup { told: true, mutant, ..family.setup(seed) };
    println!(
        "seed {seed}: {}; {} operators, {} applications, {} of a thousand calls fail; beside it: {:?}",
        setup.journey.name, setup.operators, setup.applications, setup.rate, setup.meddling
    );
    let outcome = run_one(&setup);
    tell(&outcome, whole);
    match &outcome.violation {
        Some(found) => println!("seed {seed} breaks invariant {}: {}", found.invariant, found.words),
        None => {
            println!("seed {seed} holds: {}, {} steps, {:016x}", outcome.end, outcome.steps, outcome.hash);
        }
    }
    outcome.violation.is_none()
}

fn tell(outcome: &Outcome, whole: bool) {
    let skipped = if whole { 0 } else { outcome.story.len().saturating_sub(LAST) };
    if skipped > 0 {
        println!("({skipped} lines before; --trace shows them)");
    }
    for line in &outcome.story[skipped..] {
        println!("{line}");
    }
}

fn each_fate(flags: &Flags, point: usize) -> bool {
    let journeys = journeys(flags);
    let journey = journeys.iter().find(|journey| flags.journey.as_deref() == Some(journey.name));
    let tried = journey.map_or_else(Vec::new, |journey| exhaustive::try_point(journey, point));
    for (fate, outcome, wrong) in &tried {
        tell(outcome, flags.trace);
        println!("call {point}, {fate:?}: {}\n", wrong.as_deref().unwrap_or("holds"));
    }
    if tried.is_empty() {
        println!("there is no such journey (--clean lists them), or it has no call {point}");
    }
    !tried.is_empty() && tried.iter().all(|(_, _, wrong)| wrong.is_none())
}

fn many(flags: &Flags, threads: usize) -> bool {
    let (family, mutant) = (family(flags), mutant(flags));
    for seed in seeds::regressions(family) {
        if let (_, Some(wrong)) = seeds::judge(family, seed, mutant) {
            println!("seed {seed}, which failed before, fails again: {wrong}");
            return false;
        }
    }
    let began = Instant::now();
    let count = flags.seeds.unwrap_or(1_000);
    let tally = seeds::sweep(family, (flags.from, count), threads, mutant, 10);
    for (seed, wrong) in &tally.failed {
        println!("seed {seed}: {wrong}");
    }
    println!(
        "{} seeds from {} on, {} steps, {:.0} s on {threads} processors, {} failed, {:016x}",
        tally.seeds,
        flags.from,
        tally.steps,
        began.elapsed().as_secs_f64(),
        tally.failed.len(),
        tally.digest
    );
    if let Some((seed, _)) = tally.failed.first() {
        one(family, *seed, mutant, flags.trace);
    }
    tally.failed.is_empty()
}

fn journeys(flags: &Flags) -> Vec<journey::Journey> {
    if flags.traffic { journey::of_traffic() } else { journey::all() }
}

fn clean(flags: &Flags) -> bool {
    let mut good = true;
    for journey in journeys(flags) {
        if flags.journey.as_ref().is_some_and(|only| only != journey.name) {
            continue;
        }
        let outcome = run_one(&Setup { told: true, listed: true, ..Setup::clean(journey.clone()) });
        println!(
            "{}: {} ({} calls, {} steps)",
            journey.name,
            outcome.end,
            outcome.calls.len(),
            outcome.steps
        );
        if outcome.violation.is_some() || flags.trace {
            for line in &outcome.story {
                println!("{line}");
            }
        }
        good &= outcome.violation.is_none();
    }
    good
}

fn every_fault(flags: &Flags, threads: usize) -> bool {
    let began = Instant::now();
    let rows =
        exhaustive::try_all(&journeys(flags), threads, (0, flags.share.max(1)), flags.journey.as_deref());
    println!("| journey | calls | points | runs | failed |\n|---|---|---|---|---|");
    for row in &rows {
        println!("| {} | {} | {} | {} | {} |", row.name, row.calls, row.points, row.runs, row.failed.len());
    }
    let sum = |of: fn(&exhaustive::Row) -> usize| rows.iter().map(of).sum::<usize>();
    println!(
        "| all | {} | {} | {} | {} |\n\n{:.0} s on {threads} processors",
        sum(|row| row.calls),
        sum(|row| row.points),
        sum(|row| row.runs),
        sum(|row| row.failed.len()),
        began.elapsed().as_secs_f64()
    );
    for row in &rows {
        for words in row.failed.iter().take(40) {
            println!("{}: {words}", row.name);
        }
    }
    rows.iter().all(|row| row.failed.is_empty())
}

fn every_pair(flags: &Flags, threads: usize) -> bool {
    let began = Instant::now();
    let tally = pairs::try_all(threads, (0, flags.share.max(1)), flags.journey.as_deref());
    for words in tally.failed.iter().take(40) {
        println!("{words}");
    }
    println!("| end | times |\n|---|---|");
    for (end, times) in &tally.ends {
        println!("| {end} | {times} |");
    }
    println!(
        "\n{} histories, {} failed, {:.0} s on {threads} processors",
        tally.run,
        tally.failed.len(),
        began.elapsed().as_secs_f64()
    );
    tally.failed.is_empty()
}

fn every_mutant(family: Family, count: u64, threads: usize) -> bool {
    let mut good = true;
    println!("| wrong version | found out by |\n|---|---|");
    for mutant in mutants(family) {
        let tally = seeds::sweep(family, (0, count), threads, Some(mutant.name), 1);
        let by = match (tally.failed.first(), mutant.covered) {
            (Some((seed, wrong)), _) => format!("seed {seed}: {wrong}"),
            (None, Some(covered)) => format!("not in {} seeds: {covered}", tally.seeds),
            (None, None) => format!("NOT FOUND in {} seeds", tally.seeds),
        };
        println!("| `{}`: {} | {by} |", mutant.name, mutant.what);
        good &= tally.failed.is_empty() == mutant.covered.is_some();
    }
    good
}

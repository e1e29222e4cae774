//! `cargo simulate`: histories by seed, or every single fault of every journey.

use clap::Args;

use crate::history::{Setup, run};
use crate::journey;

/// What to run.
#[derive(Args, Clone, Debug)]
pub struct Simulate {
    /// So many seeds.
    #[arg(long)]
    pub seeds: Option<u64>,
    /// One seed.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Tell the whole story of it.
    #[arg(long)]
    pub trace: bool,
    /// Every single fault of every journey.
    #[arg(long)]
    pub exhaustive: bool,
    /// Each journey without a fault.
    #[arg(long)]
    pub clean: bool,
}

/// Runs it; false if an invariant was broken.
pub fn simulate(flags: &Simulate) -> bool {
    let mut good = true;
    if flags.clean {
        for journey in journey::all() {
            let setup = Setup { told: true, listed: true, ..Setup::clean(journey) };
            let outcome = run(&setup);
            println!(
                "{}: {:?} {} {} calls {} steps; {}",
                setup.journey.name,
                outcome.violation,
                outcome.end,
                outcome.calls.len(),
                outcome.steps,
                outcome.left
            );
            if outcome.violation.is_some() || flags.trace {
                good = false;
                for line in &outcome.story {
                    println!("{line}");
                }
                break;
            }
        }
    }
    good
}

//! The verbs of `cargo sandbox` and their flags.

mod check;
mod down;
mod fault;
mod load;
mod operator;
mod up;

pub use load::{journal_of, totals_of};

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use crate::demo;
use crate::world;

/// A Kubernetes API server, two PostgreSQL servers and a stand-in for AWS, on this machine's loopback.
#[derive(Debug, Parser)]
#[command(name = "cargo sandbox", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Start a sandbox.
    Up(Up),
    /// End a sandbox. Does nothing if none runs.
    Down(Of),
    /// Build the operator and run it in a sandbox, until Ctrl-C.
    Operator(Of),
    /// Make AWS misbehave: `fault --dir DIR list` shows what is in force, `fault --dir DIR help` what can be said.
    Fault(Fault),
    /// Write as the bank's application would, to whichever side takes its writes.
    Load(Load),
    /// Compare a load's journal with the database that takes the application's writes: is each write there once?
    Journal(JournalCheck),
    /// Compare every row of source and target, under load or not.
    Check(Of),
    /// Carry the examples from one side to the other, from nothing: the API's traffic, then its database, under load; and
    /// prove that no write is missing or there twice.
    Demo(Demo),
    /// Cut over many times under load, and say how long each part took and whether anything was lost.
    CutoverBench(CutoverBench),
    /// Carry out many migrations under load while things go wrong at random, and check that nothing is lost.
    Torture(Torture),
}

/// Flags of `up`.
#[derive(Debug, Args)]
pub struct Up {
    /// Where its files go: a new or an empty directory, or that of an earlier sandbox.
    #[arg(long)]
    pub dir: PathBuf,
    /// How long AWS takes.
    #[arg(long, value_enum, default_value = "none")]
    pub delays: Delays,
    /// Rows in the bank's tables on the source, about; 0 leaves them empty.
    #[arg(long, default_value = "10000", value_parser = clap::value_parser!(u64).range(0..=50_000_000))]
    pub rows: u64,
    /// Run in the background.
    #[arg(long)]
    pub detach: bool,
}

/// Which sandbox.
#[derive(Debug, Args)]
pub struct Of {
    /// The sandbox's directory.
    #[arg(long)]
    pub dir: PathBuf,
}

/// Flags and words of `fault`.
#[derive(Debug, Args)]
pub struct Fault {
    /// The sandbox's directory.
    #[arg(long)]
    pub dir: PathBuf,
    /// What is to go wrong, as `throttle dms:CreateEndpoint --times 3`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    pub words: Vec<String>,
}

/// Flags of `load`.
#[derive(Debug, Args)]
pub struct Load {
    /// The sandbox's directory.
    #[arg(long)]
    pub dir: PathBuf,
    /// Transactions per second.
    #[arg(long, default_value = "300", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub writes_per_second: u32,
    /// For how many seconds; without it, until Ctrl-C.
    #[arg(long = "for", value_name = "SECONDS")]
    pub seconds: Option<u64>,
    /// Send each write to the bank's API by its public name, as its clients do, and not to a database.
    #[arg(long)]
    pub by_name: bool,
    /// Where each write is put down before it goes out; DIR/load.journal if left out.
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,
}

/// Flags of `journal`.
#[derive(Debug, Args)]
pub struct JournalCheck {
    /// The sandbox's directory.
    #[arg(long)]
    pub dir: PathBuf,
    /// The journal; DIR/load.journal if left out.
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,
}

/// Which story the demo tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// The traffic by steps, then the database, then the end of both.
    Whole,
    /// The new side becomes sick at 25 %, and the traffic goes back by itself.
    Rollback,
    /// The database alone.
    Database,
}

/// Flags of `demo`.
#[derive(Clone, Debug, Args)]
pub struct Demo {
    /// Which story.
    #[arg(long, value_enum, default_value = "whole")]
    pub scenario: Scenario,
    /// How long AWS takes. Without it the story is told without delays, and then that of the database alone with AWS's.
    #[arg(long, value_enum)]
    pub delays: Option<Delays>,
    /// Leave everything running at the end, until Ctrl-C or `cargo sandbox down`.
    #[arg(long)]
    pub keep: bool,
    /// Rows in the bank's tables at the start, about.
    #[arg(long, default_value = "200000", value_parser = clap::value_parser!(u64).range(1000..=50_000_000))]
    pub rows: u64,
    /// Transactions per second, all the time.
    #[arg(long, default_value = "300", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub writes_per_second: u32,
    /// Delete one row on the target behind everybody's back before the check. The demo must then fail: this is the proof
    /// that the check can.
    #[arg(long)]
    pub delete_one_row_on_target: bool,
    /// Delete one acknowledged write from the target behind everybody's back at the end. The demo must then fail: this is
    /// the proof that the journal's check can.
    #[arg(long)]
    pub delete_one_write: bool,
}

/// Flags of `cutover-bench`.
#[derive(Clone, Debug, Args)]
pub struct CutoverBench {
    /// Cutovers, each in databases made anew.
    #[arg(long, default_value = "10", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub runs: u32,
    /// Transactions per second.
    #[arg(long, default_value = "500", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rate: u32,
    /// Tables.
    #[arg(long, default_value = "200", value_parser = clap::value_parser!(u32).range(11..=2_000))]
    pub tables: u32,
    /// Rows in them at the start, about.
    #[arg(long, default_value = "20000", value_parser = clap::value_parser!(u64).range(1000..=50_000_000))]
    pub rows: u64,
    /// Kill the operator (SIGKILL) one to three times at random moments of each cutover, and start it again.
    #[arg(long)]
    pub kill: bool,
    /// Between two probes of a side, in milliseconds; 20 if left out, and 5 with --kill. A login that is refused costs a
    /// server some milliseconds, which small machines feel.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub probe: Option<u64>,
    /// Where the random moments begin; the clock, if left out. The output says it.
    #[arg(long)]
    pub seed: Option<u64>,
    /// How long AWS takes.
    #[arg(long, value_enum, default_value = "none")]
    pub delays: Delays,
}

impl CutoverBench {
    /// Runs of this size, without kills and delays.
    pub(crate) fn like(rate: u32, tables: u32, rows: u64) -> Self {
        Self { runs: 1, rate, tables, rows, kill: false, probe: None, seed: None, delays: Delays::None }
    }
}

/// Flags of `torture`.
#[derive(Clone, Debug, Args)]
pub struct Torture {
    /// Migrations, each with its own misfortunes.
    #[arg(long, default_value = "10", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rounds: u32,
    /// What the first round's misfortunes are drawn from, each other round's from one more; the clock, if left out. The
    /// output says it.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Begin no round after so many minutes.
    #[arg(long)]
    pub minutes: Option<u64>,
    /// Transactions per second.
    #[arg(long, default_value = "300", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rate: u32,
}

/// How long AWS takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Delays {
    /// Next to nothing.
    None,
    /// What AWS takes, with the waits for provisioning cut from minutes to seconds.
    Aws,
}

impl Delays {
    /// For the world.
    pub fn of_world(self) -> world::Delays {
        match self {
            Self::None => world::Delays::none(),
            Self::Aws => world::Delays::aws(),
        }
    }

    /// As the flag has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Aws => "aws",
        }
    }

    /// In words.
    pub fn describe(self) -> &'static str {
        match self {
            Self::None => "without delays; a minute of an alarm lasts 5 s",
            Self::Aws => "with AWS's delays, but its minutes of provisioning shortened to seconds",
        }
    }
}

/// Runs a verb.
///
/// # Errors
/// What was attempted, on what, and why it failed.
pub async fn run(cli: Cli) -> Result<(), String> {
    match cli.verb {
        Verb::Up(flags) if flags.detach => up::detached(&flags).await,
        Verb::Up(flags) => Box::pin(up::foreground(&flags)).await,
        Verb::Down(of) => down::down(&of.dir).await,
        Verb::Operator(of) => operator::operator(&of.dir).await,
        Verb::Fault(flags) => fault::fault(&flags).await,
        Verb::Load(flags) => load::load(&flags).await,
        Verb::Journal(flags) => load::journal(&flags).await,
        Verb::Check(of) => check::check(&of.dir).await,
        Verb::Demo(flags) => Box::pin(demo::run(&flags)).await,
        Verb::CutoverBench(flags) => Box::pin(crate::bench::run(&flags)).await,
        Verb::Torture(flags) => Box::pin(crate::torture::run(&flags)).await.map(drop),
    }
}

/// Resolves when a person or a program wants this process to end.
pub(crate) async fn told_to_end() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    Ok(())
}

/// Lets what the sandbox logs go to a file: the terminal is for the account of what happens.
pub(crate) fn log_to(directory: &Path) -> Result<(), String> {
    let path = directory.join("sandbox.log");
    let file = File::create(&path).map_err(|error| format!("writing {}: {error}", path.display()))?;
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,sandbox=info"));
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(Mutex::new(file));
    // A test that runs the demo as a library may log in its own way.
    let _ = log.try_init();
    Ok(())
}

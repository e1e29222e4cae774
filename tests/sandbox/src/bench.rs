//! `cargo cutover-bench`: the same cutover many times, each in databases made anew, under load and watched from outside.
//!
//! The first run in which a write is missing or there twice, both sides take writes at once, or nothing moves any more
//! ends it, and its logs stay. So whatever the table says was measured in runs that lost nothing.

mod figures;

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::Client;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::bank::journal::Ledger;
use crate::bank::probe::{self, Prober, Side};
use crate::bank::{self};
use crate::canary;
use crate::cli::{CutoverBench, log_to, told_to_end};
use crate::demo::account::Account;
use crate::demo::build::{Programs, programs};
use crate::demo::check;
use crate::demo::watch::{Migration, Watch};
use crate::dice::Dice;
use crate::process::{self, Running, Signal, Spec};
use crate::sandbox::{
    Example, Options, Sandbox, apply_example, install_crds, migrations, start_operator_with,
};
use figures::{Figures, Run};

/// How long the load runs with both sides probed, before the goal moves and after the writer did.
const SETTLE: Duration = Duration::from_secs(1);
/// The operator's looks at what it waits for.
const POLL: Duration = Duration::from_millis(200);
/// A run that takes longer is stuck.
const PATIENCE: Duration = Duration::from_mins(3);
const GRACE: Duration = Duration::from_secs(30);
/// Between two probes, where the question is how long and not whether.
const CALM: Duration = Duration::from_millis(20);
/// A kill comes at a random moment so long after the goal moved or the operator started, ...
const AFTER_START_MS: u64 = 2_000;
/// ... or so long after the source was found closed: in the midst of it.
const AFTER_FENCE_MS: u64 = 1_200;
/// The first look of an operator that was started again takes seconds, on a machine with more to do.
const FENCE: Duration = Duration::from_secs(15);

/// Runs the benchmark and prints its table.
///
/// # Errors
/// What went wrong in the first run that did not end as it should.
pub async fn run(flags: &CutoverBench) -> Result<(), String> {
    let account = Account::begin();
    let seed = flags.seed.unwrap_or_else(|| jiff::Timestamp::now().as_millisecond().unsigned_abs());
    let CutoverBench { runs, rate, tables, rows, .. } = flags;
    account.say(&format!(
        "{runs} cutovers, {rate} writes/s, {tables} tables, {rows} rows, {}{}",
        flags.delays.describe(),
        if flags.kill {
            format!("; the operator is killed at random moments, --seed {seed}")
        } else {
            String::new()
        }
    ));
    let told = told_to_end();
    tokio::pin!(told);
    let directory = std::env::temp_dir().join(format!("slipway-bench-{}", std::process::id()));
    let outcome = tokio::select! {
        biased;
        told = &mut told => Err(told.map_or_else(|error| error.to_string(), |()| "interrupted".to_owned())),
        outcome = Box::pin(all(flags, seed, &account, &directory)) => outcome,
    };
    match outcome {
        Ok(figures) => {
            std::fs::remove_dir_all(&directory)
                .map_err(|error| format!("removing {}: {error}", directory.display()))?;
            println!("{}", figures.table());
            Ok(())
        }
        Err(error) => Err(format!("{error}\nlogs are in {}", directory.display())),
    }
}

async fn all(
    flags: &CutoverBench,
    seed: u64,
    account: &Account,
    directory: &Path,
) -> Result<Figures, String> {
    account.say("building the operator: cargo build --bin slipway");
    let programs = programs().await?;
    account.say("starting");
    let options = Options { delays: flags.delays.of_world(), ..Options::new(directory) };
    let sandbox = Box::pin(Sandbox::start(&options)).await.map_err(text)?;
    log_to(directory)?;
    let client = sandbox.cluster.client().await.map_err(text)?;
    Box::pin(install_crds(&client)).await.map_err(text)?;
    let mut bench = Bench::new(flags, programs, sandbox, client, Dice::new(seed));
    let mut figures = Figures::default();
    for number in 1..=flags.runs {
        bench.number = number;
        let run = Box::pin(bench.once()).await.map_err(|error| format!("run {number}: {error}"))?;
        account.say(&format!("run {number:>3}: {}", run.describe()));
        figures.add(run);
    }
    let leaks = canary::search(&bench.client, directory).await?;
    if let Some(leak) = leaks.first() {
        return Err(leak.to_string());
    }
    Box::pin(bench.sandbox.stop()).await.map_err(text)?;
    Ok(figures)
}

/// A sandbox in which one migration after the other is made, each in databases made anew.
pub(crate) struct Bench<'a> {
    pub(crate) flags: &'a CutoverBench,
    programs: Programs,
    pub(crate) sandbox: Sandbox,
    pub(crate) client: Client,
    pub(crate) operator: Option<Running>,
    dice: Dice,
    pub(crate) number: u32,
    kills: u32,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(
        flags: &'a CutoverBench,
        programs: Programs,
        sandbox: Sandbox,
        client: Client,
        dice: Dice,
    ) -> Self {
        Self { flags, programs, sandbox, client, operator: None, dice, number: 0, kills: 0 }
    }

    /// One migration from nothing to its end.
    async fn once(&mut self) -> Result<Run, String> {
        self.kills = 0;
        let Sandbox { source, target, bank, .. } = &self.sandbox;
        if self.number > 1 {
            bank::renew(source, target, bank).await.map_err(text)?;
        }
        bank::seed(source, self.flags.rows).await.map_err(text)?;
        bank::widen(source, target, self.flags.tables).await.map_err(text)?;
        let journal = self.file("journal");
        let load = self.start_load(&journal)?;
        let loaded_since = Instant::now();
        self.start_operator()?;
        let example = apply_example(&self.client, &self.sandbox.environment, Some("Replicate"));
        let example = Box::pin(example).await.map_err(text)?;
        self.until(&example, "replicating", false, Migration::is_replicating).await?;

        let Sandbox { source, target, .. } = &self.sandbox;
        let every = self.flags.probe.map(Duration::from_millis);
        let every = every.unwrap_or(if self.flags.kill { probe::EVERY } else { CALM });
        let prober = Prober::start(source, target, every).map_err(text)?;
        sleep(SETTLE).await;
        self.patch(&example, &json!({"spec": {"goal": "CutOver", "rollback": {"minSoak": "1s"}}})).await?;
        if self.flags.kill {
            self.kill_at_random_moments(&prober).await?;
        }
        let over = |migration: &Migration| migration.is_soaking() || migration.is_given_up();
        let migration = self.until(&example, "the writer moved, or the cutover given up", true, over).await?;
        sleep(SETTLE).await;
        if !load.is_running() {
            return Err(load.describe());
        }
        let loaded = loaded_since.elapsed();
        load.stop(GRACE).await.map_err(text)?;

        let findings = prober.stop();
        if let Some((source, target)) = findings.overlaps().first() {
            return Err(format!("both sides took writes at once: {source:?} and {target:?}"));
        }
        let wanted = if migration.is_soaking() { Side::Target } else { Side::Source };
        if findings.writer() != Some(wanted) {
            return Err(format!(
                "the {wanted} should take the writes: {:?}, refusals {:?}",
                findings.writer(),
                findings.last_refusal
            ));
        }
        let ledger = Ledger::read(&journal)?;
        let verdict = Box::pin(check::journal(&self.sandbox.environment, &ledger)).await?;
        if !verdict.holds() {
            return Err(format!("{verdict}\n{}", verdict.complaints().join("\n")));
        }
        let outage = findings.moves().first().map(probe::Outage::length);
        let open = loaded.saturating_sub(outage.unwrap_or_default()).as_millis();
        let run = Run {
            outage,
            rate: u64::try_from(u128::from(verdict.acknowledged) * 1000 / open.max(1)).unwrap_or(0),
            spans: migration.spans(),
            acknowledged: verdict.acknowledged,
            unknown: verdict.present + verdict.absent,
            kills: self.kills,
        };
        self.clear(&example, wanted == Side::Target).await?;
        Ok(run)
    }

    /// To the end of the migration, whichever it is, and away with the resource.
    pub(crate) async fn clear(&mut self, example: &Example, moved: bool) -> Result<(), String> {
        if moved {
            self.patch(example, &json!({"spec": {"goal": "Finish"}})).await?;
            self.until(example, "finished", true, Migration::is_finished).await?;
        }
        let api = migrations(self.client.clone(), &example.namespace);
        let deleted = api.delete(&example.name, &DeleteParams::default()).await;
        deleted.map_err(|error| format!("deleting {}: {error}", example.name))?;
        let begun = Instant::now();
        while let Some(object) =
            api.get_opt(&example.name).await.map_err(|error| format!("reading {}: {error}", example.name))?
        {
            if begun.elapsed() > PATIENCE {
                return Err(format!("{} is not gone: {}", example.name, object.data["status"]));
            }
            sleep(Duration::from_millis(50)).await;
        }
        if let Some(operator) = self.operator.take() {
            operator.stop(GRACE).await.map_err(text)?;
        }
        Ok(())
    }

    /// `kill -9`, one to three times, each followed by a new start as a Deployment would make it.
    async fn kill_at_random_moments(&mut self, prober: &Prober) -> Result<(), String> {
        for _ in 0..=self.dice.below(3) {
            let moment = if self.dice.below(3) == 0 {
                self.dice.below(AFTER_START_MS)
            } else {
                let began = Instant::now();
                while prober.findings().open == [true, false] && began.elapsed() < FENCE {
                    sleep(Duration::from_millis(2)).await;
                }
                self.dice.below(AFTER_FENCE_MS)
            };
            sleep(Duration::from_millis(moment)).await;
            self.kill_operator().await?;
        }
        Ok(())
    }

    /// `kill -9`, and a new start.
    pub(crate) async fn kill_operator(&mut self) -> Result<(), String> {
        let operator = self.operator.as_ref().ok_or("there is no operator")?;
        operator.signal(Signal::KILL).map_err(text)?;
        operator.ended().await;
        self.kills += 1;
        self.keep_operator_log()?;
        self.start_operator()
    }

    /// Of a run that ended well.
    pub(crate) fn forget_logs(&self) -> Result<(), String> {
        let directory = self.sandbox.directory().path();
        let of_this_run = format!("run-{}-", self.number);
        for entry in std::fs::read_dir(directory).map_err(text)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(&of_this_run) {
                std::fs::remove_file(entry.path()).map_err(text)?;
            }
        }
        Ok(())
    }

    /// The next operator begins its log anew.
    pub(crate) fn keep_operator_log(&mut self) -> Result<(), String> {
        let operator = self.operator.take().ok_or("there is no operator")?;
        let names = (1..).map(|number| self.file(&format!("operator-{number}.log")));
        let kept = names.into_iter().find(|name| !name.exists()).ok_or("no name is left")?;
        std::fs::rename(operator.log(), &kept)
            .map_err(|error| format!("keeping the operator's log as {}: {error}", kept.display()))
    }

    pub(crate) fn start_load(&self, journal: &Path) -> Result<Running, String> {
        let shown = |path: &Path| path.display().to_string();
        let directory = shown(self.sandbox.directory().path());
        let args = ["load", "--dir", &directory, "--journal", &shown(journal), "--writes-per-second"];
        process::start(&Spec {
            program: self.programs.sandbox.clone(),
            args: args.into_iter().map(ToOwned::to_owned).chain([self.flags.rate.to_string()]).collect(),
            envs: Vec::new(),
            user: None,
            log: self.file("load.log"),
        })
        .map_err(text)
    }

    pub(crate) fn start_operator(&mut self) -> Result<(), String> {
        let flags = ["--retry", "0.2"].map(ToOwned::to_owned);
        let started = start_operator_with(&self.sandbox.environment, &self.programs.operator, POLL, &flags);
        self.operator = Some(started.map_err(text)?);
        Ok(())
    }

    pub(crate) async fn patch(&self, example: &Example, patch: &Value) -> Result<(), String> {
        let api = migrations(self.client.clone(), &example.namespace);
        let patched = api.patch(&example.name, &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.map(drop).map_err(|error| format!("patching {} with {patch}: {error}", example.name))
    }

    async fn until(
        &self,
        example: &Example,
        wanted: &str,
        one_writer: bool,
        reached: impl Fn(&Migration) -> bool,
    ) -> Result<Migration, String> {
        let silent = Account::silent();
        let watch = Watch::new(&silent, self.client.clone(), example, self.operator.as_ref(), PATIENCE);
        let watch = if one_writer { watch.one_writer() } else { watch };
        watch.until(wanted, reached).await
    }

    /// A file of this run.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.sandbox.directory().path().join(format!("run-{}-{name}", self.number))
    }
}

pub(crate) fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

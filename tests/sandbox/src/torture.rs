//! `cargo torture`: whole migrations under load, each with its own misfortunes, drawn from a seed.
//!
//! A round loads, follows and cuts over while things go wrong in AWS, in both databases, in Kubernetes, with the operator
//! and with the person who moves the goal. When the last misfortune is over it must come to rest by itself: the writer
//! moved, or the source is the writer. Then nothing may be lost or doubled, at no time may both sides have taken writes,
//! and no secret may have got out. The first round in which that is not so ends it, and its logs stay.

mod deed;
mod plan;
mod settled;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::bank::journal::Ledger;
use crate::bank::probe::{self, Prober, Side};
use crate::bank::{self};
use crate::bench::{Bench, text};
use crate::canary;
use crate::cli::{CutoverBench, Torture, log_to, told_to_end};
use crate::demo::account::Account;
use crate::demo::build::programs;
use crate::demo::check;
use crate::dice::Dice;
use crate::process::Running;
use crate::sandbox::{Example, Options, Sandbox, apply_example, install_crds};
use deed::World;
pub use deed::hold_the_marker;
use plan::{Plan, Stage};
use settled::End;

/// Until it must have come to rest. A task that ended by an error is resumed a minute later.
const PATIENCE: Duration = Duration::from_mins(4);
/// The load runs on for so long once all is at rest.
const SETTLE: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_secs(30);
/// For the source to be found closed. A cutover that is held up elsewhere does not come so far.
const FENCE: Duration = Duration::from_secs(20);

/// How many rounds ended how.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// By the words for the end.
    pub ends: BTreeMap<String, u32>,
    /// Writes that were acknowledged; none of them was lost or doubled.
    pub acknowledged: u64,
    /// Writes whose answer was lost: there once or not at all.
    pub unknown: u64,
    /// Misfortunes, by their kind.
    pub deeds: BTreeMap<String, u32>,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = |map: &BTreeMap<String, u32>| {
            map.iter().map(|(word, times)| format!("{times} {word}")).collect::<Vec<_>>().join(", ")
        };
        let rounds: u32 = self.ends.values().sum();
        writeln!(f, "{rounds} rounds: {}", count(&self.ends))?;
        writeln!(f, "misfortunes: {}", count(&self.deeds))?;
        write!(
            f,
            "{} acknowledged writes: 0 missing, 0 doubled; {} unknown; overlaps 0; secrets found 0",
            self.acknowledged, self.unknown
        )
    }
}

/// Runs the rounds and prints how each ended.
///
/// # Errors
/// What went wrong in the first round that did not end as it should.
pub async fn run(flags: &Torture) -> Result<Summary, String> {
    let account = Account::begin();
    let seed = flags.seed.unwrap_or_else(|| jiff::Timestamp::now().as_millisecond().unsigned_abs());
    account.say(&format!("{} rounds, {} writes/s, --seed {seed}", flags.rounds, flags.rate));
    let told = told_to_end();
    tokio::pin!(told);
    let directory = std::env::temp_dir().join(format!("slipway-torture-{}", std::process::id()));
    let outcome = tokio::select! {
        biased;
        told = &mut told => Err(told.map_or_else(|error| error.to_string(), |()| "interrupted".to_owned())),
        outcome = Box::pin(all(flags, seed, &account, &directory)) => outcome,
    };
    match outcome {
        Ok(summary) => {
            std::fs::remove_dir_all(&directory)
                .map_err(|error| format!("removing {}: {error}", directory.display()))?;
            println!("{summary}");
            Ok(summary)
        }
        Err(error) => Err(format!("{error}\nlogs are in {}", directory.display())),
    }
}

async fn all(flags: &Torture, seed: u64, account: &Account, directory: &Path) -> Result<Summary, String> {
    let until = flags.minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    account.say("building the operator: cargo build --bin slipway");
    let programs = programs().await?;
    // A trace says most, and could say too much.
    let options = Options { operator_log: Some(OPERATOR_LOG.to_owned()), ..Options::new(directory) };
    let sandbox = Box::pin(Sandbox::start(&options)).await.map_err(text)?;
    log_to(directory)?;
    let client = sandbox.cluster.client().await.map_err(text)?;
    Box::pin(install_crds(&client)).await.map_err(text)?;
    let (rate, tables, rows) = (flags.rate, 20, 5_000);
    let like = CutoverBench::like(rate, tables, rows);
    let mut bench = Bench::new(&like, programs, sandbox, client, Dice::new(seed));
    let mut summary = Summary::default();
    for number in 1..=flags.rounds {
        if until.is_some_and(|until| Instant::now() > until) {
            break;
        }
        bench.number = number;
        let own = seed.wrapping_add(u64::from(number) - 1);
        let plan = Plan::draw(&mut Dice::new(own));
        account.say(&format!("round {number} (--seed {own}): {plan}"));
        let mut round = Round { bench: &mut bench, plan: &plan, world: World::default(), told: Vec::new() };
        let ended = Box::pin(round.live_through()).await;
        let told = std::mem::take(&mut round.told);
        let verdict = ended.map_err(|error| {
            format!(
                "round {number}, again with --seed {own} --rounds 1: {error}\nit had: {}",
                told.join("; ")
            )
        })?;
        account.note(&format!(
            "{}; {} acknowledged, {} unknown{}",
            verdict.end,
            verdict.acknowledged,
            verdict.unknown,
            verdict
                .outage
                .map_or(String::new(), |outage| format!(", write outage {} ms", outage.as_millis()))
        ));
        *summary.ends.entry(verdict.end.to_string()).or_default() += 1;
        summary.acknowledged += verdict.acknowledged;
        summary.unknown += verdict.unknown;
        for deed in plan.kinds() {
            *summary.deeds.entry(deed).or_default() += 1;
        }
    }
    Box::pin(bench.sandbox.stop()).await.map_err(text)?;
    Ok(summary)
}

/// All of ours, and what others say of our calls.
const OPERATOR_LOG: &str = "info,slipway=trace,kube=debug,tower=debug,hyper=debug,rustls=debug";

struct Verdict {
    end: End,
    acknowledged: u64,
    unknown: u64,
    outage: Option<Duration>,
}

struct Round<'a, 'b> {
    bench: &'a mut Bench<'b>,
    plan: &'a Plan,
    world: World,
    /// What was done so far.
    told: Vec<String>,
}

impl Round<'_, '_> {
    async fn live_through(&mut self) -> Result<Verdict, String> {
        let bench = &mut *self.bench;
        let Sandbox { source, target, bank, .. } = &bench.sandbox;
        if bench.number > 1 {
            bank::renew(source, target, bank).await.map_err(text)?;
        }
        bank::seed(source, bench.flags.rows).await.map_err(text)?;
        bank::widen(source, target, bench.flags.tables).await.map_err(text)?;
        let journal = bench.file("journal");
        let load = bench.start_load(&journal)?;
        bench.start_operator()?;
        let example = apply_example(&bench.client, &bench.sandbox.environment, Some("Replicate"));
        let example = Box::pin(example).await.map_err(text)?;
        let outage = self.plan.max_write_outage;
        let limits = json!({"spec": {"cutover": {"maxWriteOutage": outage}, "rollback": {"minSoak": "0s"}}});
        bench.patch(&example, &limits).await?;

        self.stage(Stage::Making, &example, None).await?;
        self.until(&example, "replicating", |end| matches!(end, End::Following | End::NeedsAPerson(_)))
            .await?;
        let Sandbox { source, target, .. } = &self.bench.sandbox;
        let prober = Prober::start(source, target, probe::EVERY).map_err(text)?;
        self.stage(Stage::Following, &example, Some(&prober)).await?;
        if self.plan.holds_the_marker() {
            self.until(&example, "replicating", |end| matches!(end, End::Following | End::NeedsAPerson(_)))
                .await?;
            self.world.hold = Some(hold_the_marker(&self.bench.sandbox.target).await.map_err(text)?);
        }
        self.bench.patch(&example, &json!({"spec": {"goal": "CutOver"}})).await?;
        self.stage(Stage::Moving, &example, Some(&prober)).await?;
        if self.plan.has(Stage::Fenced) && self.until_fenced(&prober).await {
            self.stage(Stage::Fenced, &example, Some(&prober)).await?;
        }
        self.heal().await?;
        let end = self.until(&example, "rest", End::is_rest).await?;
        sleep(SETTLE).await;
        if !load.is_running() {
            return Err(load.describe());
        }
        load.stop(GRACE).await.map_err(text)?;
        let findings = prober.stop();
        if let Some((source, target)) = findings.overlaps().first() {
            return Err(format!("both sides took writes at once: {source:?} and {target:?}"));
        }
        let wanted = if end == End::Moved { Side::Target } else { Side::Source };
        if findings.writer() != Some(wanted) {
            return Err(format!("the {wanted} should take the writes: {:?}", findings.last_refusal));
        }
        let ledger = Ledger::read(&journal)?;
        let verdict = Box::pin(check::journal(&self.bench.sandbox.environment, &ledger)).await?;
        if !verdict.holds() {
            return Err(format!("{verdict}\n{}", verdict.complaints().join("\n")));
        }
        let leaks = canary::search(&self.bench.client, self.bench.sandbox.directory().path()).await?;
        if let Some(leak) = leaks.first() {
            return Err(leak.to_string());
        }
        self.clear(&example, &end).await?;
        self.bench.forget_logs()?;
        Ok(Verdict {
            end,
            acknowledged: verdict.acknowledged,
            unknown: verdict.present + verdict.absent,
            outage: findings.moves().first().map(probe::Outage::length),
        })
    }

    /// Does what the plan has for a stage, each at its time since now.
    async fn stage(
        &mut self,
        stage: Stage,
        example: &Example,
        prober: Option<&Prober>,
    ) -> Result<(), String> {
        let begun = Instant::now();
        for (at, deed) in self.plan.of(stage) {
            while begun.elapsed() < at {
                sleep(Duration::from_millis(5).min(at.saturating_sub(begun.elapsed()))).await;
                self.keep_the_operator()?;
            }
            let open =
                prober.map(|prober| format!(" (open {:?})", prober.findings().open)).unwrap_or_default();
            self.told.push(format!("{stage} +{} ms {deed}{open}", begun.elapsed().as_millis()));
            Box::pin(self.world.suffer(self.bench, example, &deed))
                .await
                .map_err(|e| format!("{deed}: {e}"))?;
        }
        Ok(())
    }

    /// Waits until nobody may write to the source. False if that does not come, as when the cutover is given up.
    async fn until_fenced(&mut self, prober: &Prober) -> bool {
        let closed = async {
            while prober.findings().open[0] {
                sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(FENCE, closed).await.is_ok()
    }

    /// Everything that was taken away is given back.
    async fn heal(&mut self) -> Result<(), String> {
        self.world.heal(self.bench).await?;
        self.keep_the_operator()
    }

    /// A Deployment starts an operator again that has ended: one that lost its lease ends by itself.
    fn keep_the_operator(&mut self) -> Result<(), String> {
        if self.bench.operator.as_ref().is_none_or(Running::is_running) {
            return Ok(());
        }
        self.told.push("the operator ended and was started again".to_owned());
        self.bench.keep_operator_log()?;
        self.bench.start_operator()
    }

    async fn until(
        &mut self,
        example: &Example,
        wanted: &str,
        reached: impl Fn(&End) -> bool,
    ) -> Result<End, String> {
        let begun = Instant::now();
        let mut watch = settled::Watch::new(&self.bench.client, example);
        loop {
            self.keep_the_operator()?;
            let end = watch.look().await?;
            if reached(&end) {
                return Ok(end);
            }
            if begun.elapsed() > PATIENCE {
                let operator = self.bench.operator.as_ref().map(Running::describe).unwrap_or_default();
                return Err(format!("waited in vain for {wanted}; {}\n{operator}", watch.describe()));
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// To the end of the migration, whichever it is, and away with the resource.
    async fn clear(&mut self, example: &Example, end: &End) -> Result<(), String> {
        let released = json!({"spec": {"abortAttempt": null, "suspend": null}});
        self.bench.patch(example, &released).await?;
        Box::pin(self.bench.clear(example, *end == End::Moved)).await
    }
}

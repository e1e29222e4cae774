//! One migration from nothing to its end, told as it happens: load, follow, cut over, finish.
//!
//! It does what a user would do, through the API server and nothing else: applies the example, reads `status.plan`, moves
//! the goal, watches. The operator and the application are processes of their own. What the demo knows of the databases
//! it uses for the checks only: every row compared before the cutover, both sides probed through it, and the application's
//! own journal compared with the writer at the end.

pub(crate) mod account;
pub mod build;
pub mod check;
mod moving;
mod shift;
pub(crate) mod spans;
mod table;
pub(crate) mod watch;

use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kube::Client;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::bank::probe::Prober;
use crate::bank::{self, Comparison};
use crate::canary;
use crate::cli::{Delays, Demo, Scenario, log_to, told_to_end};
use crate::process::{self, Running, Spec};
use crate::sandbox::{
    Example, Fleets, Options, RECORD, Sandbox, apply_example, install_crds, migrations, start_operator,
};
use account::{Account, thousands};
use build::{Programs, programs};
use watch::{Migration, Watch};

/// How long the target follows the load before the check.
const FOLLOW: Duration = Duration::from_secs(5);
/// How long a child may take to end.
const GRACE: Duration = Duration::from_secs(30);

/// Runs the demo: once with each kind of delays, unless one is asked for. An error is what a person should read; on a
/// difference, the rows that differ.
pub async fn run(flags: &Demo) -> Result<(), String> {
    let account = Account::begin();
    let told = told_to_end();
    tokio::pin!(told);
    account.say("building the operator: cargo build --bin slipway");
    let programs = tokio::select! {
        biased;
        told = &mut told => return Err(ended(told)),
        programs = programs() => programs?,
    };
    let runs = match flags.delays {
        Some(delays) => vec![(delays, flags.scenario)],
        // What makes it long is the TTL of the records, whatever AWS takes.
        None if flags.scenario == Scenario::Rollback => vec![(Delays::None, flags.scenario)],
        // What is kept is one world.
        None if flags.keep => vec![(Delays::None, flags.scenario)],
        // What AWS takes matters to the database; the traffic waits for its TTL all the same.
        None => vec![(Delays::None, flags.scenario), (Delays::Aws, Scenario::Database)],
    };
    let mut verdicts = Vec::new();
    for (delays, scenario) in runs {
        let flags = Demo { delays: Some(delays), scenario, ..flags.clone() };
        let verdict = Box::pin(story(&flags, delays, &programs, told.as_mut())).await?;
        verdicts.push(format!("{}: {verdict}", delays.describe()));
    }
    if verdicts.len() > 1 {
        println!();
        for verdict in verdicts {
            println!("{verdict}");
        }
    }
    Ok(())
}

fn ended(told: std::io::Result<()>) -> String {
    match told {
        Ok(()) => "interrupted; everything was ended".to_owned(),
        Err(error) => format!("waiting for a signal: {error}"),
    }
}

/// One whole story in a world of its own. Returns its last line.
async fn story(
    flags: &Demo,
    delays: Delays,
    programs: &Programs,
    mut told: Pin<&mut impl Future<Output = std::io::Result<()>>>,
) -> Result<String, String> {
    // A test may tell two stories in one process.
    static STORIES: AtomicU32 = AtomicU32::new(1);
    let account = Account::begin();
    let number = STORIES.fetch_add(1, Ordering::Relaxed);
    let directory = std::env::temp_dir().join(format!("slipway-demo-{}-{number}", std::process::id()));
    println!();
    account.say(&format!("starting Kubernetes, two PostgreSQL servers and AWS, {}", delays.describe()));
    let options = Options { delays: delays.of_world(), ..Options::new(&directory) };
    let started = tokio::select! {
        biased;
        told = &mut told => Err(ended(told)),
        sandbox = Box::pin(Sandbox::start(&options)) => sandbox.map_err(|error| error.to_string()),
    };
    let sandbox = match started {
        Ok(sandbox) => sandbox,
        Err(error) => return Err(failed(&directory, error)),
    };
    log_to(&directory)?;
    let programs = programs.clone();
    let mut stage =
        Stage { account, sandbox, operator: None, fleets: None, load: None, prober: None, programs, delays };
    let (outcome, interrupted) = tokio::select! {
        biased;
        told = &mut told => (Err(ended(told)), true),
        outcome = Box::pin(stage.play(flags)) => (outcome, false),
    };
    if flags.keep && !interrupted {
        how_to_look(&stage);
        match outcome {
            Ok(ref verdict) => println!("{verdict}"),
            Err(ref error) => eprintln!("sandbox: {error}"),
        }
        told.await.map_err(|error| format!("waiting for a signal: {error}"))?;
        Box::pin(stage.clear()).await?;
        remove(&directory)?;
        return outcome.map_err(|_| "the demo failed, as said above".to_owned());
    }
    Box::pin(stage.clear()).await?;
    match outcome {
        Ok(verdict) => {
            remove(&directory)?;
            println!("{verdict}");
            Ok(verdict)
        }
        Err(error) if interrupted || flags.delete_one_row_on_target || flags.delete_one_write => {
            remove(&directory)?;
            Err(error)
        }
        Err(error) => Err(failed(&directory, error)),
    }
}

/// Everything that runs.
struct Stage {
    account: Account,
    sandbox: Sandbox,
    operator: Option<Running>,
    fleets: Option<Fleets>,
    load: Option<Running>,
    prober: Option<Prober>,
    programs: Programs,
    delays: Delays,
}

impl Stage {
    /// The whole story. Returns the last line when nothing is missing and nothing is there twice.
    async fn play(&mut self, flags: &Demo) -> Result<String, String> {
        let client = self.sandbox.cluster.client().await.map_err(text)?;
        self.prepare(&client, flags).await?;
        let example = self.plan(&client).await?;
        self.replicate(&client, &example).await?;
        if flags.scenario == Scenario::Rollback {
            return self.roll_back(&client, &example).await;
        }
        let comparison = self.prove(flags).await?;
        if !comparison.equal() {
            return Err(comparison.to_string());
        }
        let Comparison { lsn, tables, rows, .. } = comparison;
        self.account
            .say(&format!("source and target equal at {lsn} under load: {tables} tables, {rows} rows"));
        let with_traffic = flags.scenario == Scenario::Whole;
        if with_traffic {
            self.shift(&client, &example).await?;
        }
        let spans = self.cut_over(&client, &example).await?;
        if with_traffic {
            self.finish_traffic(&client).await?;
        }
        self.finish(&client, &example).await?;
        let leaks = canary::search(&client, self.sandbox.directory().path()).await?;
        if let Some(leak) = leaks.first() {
            return Err(leak.to_string());
        }
        self.judge(&spans, flags).await
    }

    /// What is there before a migration: the bank, its application, the operator.
    async fn prepare(&mut self, client: &Client, flags: &Demo) -> Result<(), String> {
        let Self { account, sandbox, .. } = self;
        account.note(&format!(
            "source and target: PostgreSQL on localhost:{} and localhost:{}",
            sandbox.source.port(),
            sandbox.target.port()
        ));
        account.say("filling the source");
        bank::seed(&sandbox.source, flags.rows).await.map_err(text)?;
        let (tables, rows) = check::count(&sandbox.environment).await.map_err(text)?;
        account.note(&format!(
            "{tables} tables, {} rows; the target has the same tables, empty",
            thousands(rows)
        ));

        let rate = flags.writes_per_second.to_string();
        let directory = sandbox.directory().path();
        let dir = directory.display().to_string();
        let mut args = vec!["load", "--dir", &dir, "--writes-per-second", &rate];
        let mut way = "to it".to_owned();
        if flags.scenario != Scenario::Database {
            let fleets = Fleets::start(&sandbox.aws, &sandbox.traffic, &sandbox.environment).await;
            self.fleets = Some(fleets.map_err(text)?);
            account.say("the bank's API is served by one machine of its own and two tasks on AWS, which nobody asks yet");
            args.push("--by-name");
            way = format!("by the name {RECORD}");
        }
        let load = process::start(&Spec {
            program: self.programs.sandbox.clone(),
            args: args.into_iter().map(ToOwned::to_owned).collect(),
            envs: Vec::new(),
            user: None,
            log: directory.join("load.log"),
        })
        .map_err(text)?;
        account
            .say(&format!("the application writes {rate} transactions a second {way} (pid {})", load.pid()));
        self.load = Some(load);

        for name in Box::pin(install_crds(client)).await.map_err(text)? {
            account.say(&format!("CRD {name} is installed"));
        }
        let poll = match self.delays {
            Delays::None => Duration::from_millis(200),
            Delays::Aws => Duration::from_secs(2),
        };
        let operator = start_operator(&sandbox.environment, &self.programs.operator, poll).map_err(text)?;
        account.say(&format!("the operator runs under its own identity (pid {})", operator.pid()));
        self.operator = Some(operator);
        Ok(())
    }

    /// Applies the example with goal Plan, and shows what the operator would do.
    async fn plan(&mut self, client: &Client) -> Result<Example, String> {
        let example =
            Box::pin(apply_example(client, &self.sandbox.environment, Some("Plan"))).await.map_err(text)?;
        self.account.command("kubectl apply -f examples/secrets.yaml -f examples/database-migration.yaml");
        self.account.note(&format!("with this sandbox's passwords, and {}", example.replaced.join(", ")));
        self.account.blank();
        let watch = self.watch(client, &example);
        let migration = watch.until("status.plan", Migration::is_planned).await?;
        self.account.blank();
        let steps = migration.plan();
        self.account.say(&format!("status.plan has {} steps; nothing was touched", steps.len()));
        let width = steps.iter().map(|(action, _)| action.chars().count()).max().unwrap_or(0);
        for (number, (action, on)) in steps.iter().enumerate() {
            self.account.note(&format!("{:>2}  {action:<width$}  {on}", number + 1));
        }
        Ok(example)
    }

    /// Moves the goal, and watches until it is reached.
    async fn replicate(&mut self, client: &Client, example: &Example) -> Result<(), String> {
        let namespace = &example.namespace;
        self.patch(client, example, &json!({"spec": {"goal": "Replicate"}})).await?;
        let watch = self.watch(client, example);
        watch.until("READY True", Migration::is_replicating).await?;
        self.account.blank();
        self.account.command("kubectl get dbmigration");
        for line in table::get(client, namespace, None).await?.lines() {
            self.account.note(line);
        }
        self.account.blank();
        self.account.command("kubectl get events");
        for line in watch.events().await? {
            self.account.note(&line);
        }
        Ok(())
    }

    /// Lets the target follow for a while, then compares every row while the load goes on.
    async fn prove(&mut self, flags: &Demo) -> Result<Comparison, String> {
        let environment = &self.sandbox.environment;
        self.account.blank();
        self.account.say(&format!("the target follows for {} s", FOLLOW.as_secs()));
        tokio::time::sleep(FOLLOW).await;
        self.account.note(&self.written()?);
        if flags.delete_one_row_on_target {
            let row = check::delete_one_row_on_target(environment).await.map_err(text)?;
            self.account.say(&format!("deleted one row on the target by hand: {row}"));
        }
        self.account.say("comparing every row of both databases, while the application goes on writing");
        let before = check::position(environment).await.map_err(text)?;
        let comparison = Box::pin(check::compare(environment)).await.map_err(text)?;
        self.account.note(&self.written()?);
        let after = check::position(environment).await.map_err(text)?;
        if before == after {
            return Err(format!("nothing was written during the check: the source stands at {after}"));
        }
        Ok(comparison)
    }

    /// The load's own count so far; an error if it has ended.
    fn written(&self) -> Result<String, String> {
        let Some(load) = &self.load else { return Err("there is no load".to_owned()) };
        if !load.is_running() {
            return Err(load.describe());
        }
        let log = std::fs::read_to_string(load.log())
            .map_err(|error| format!("reading the load's log: {error}"))?;
        let last = log.lines().last().and_then(|line| line.split_once("s  ")).map_or("", |(_, rest)| rest);
        Ok(format!("so far {last}"))
    }

    /// As a user does, and shown as a user would type it.
    async fn patch(&self, client: &Client, example: &Example, patch: &Value) -> Result<(), String> {
        let Example { name, namespace, .. } = example;
        self.account.blank();
        self.account.command(&format!("kubectl patch dbmigration {name} --type merge --patch '{patch}'"));
        self.account.blank();
        let patched = migrations(client.clone(), namespace)
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await;
        patched.map(drop).map_err(|error| format!("patching {name} with {patch}: {error}"))
    }

    fn watch<'a>(&'a self, client: &Client, example: &Example) -> Watch<'a> {
        let patience = match self.delays {
            Delays::None => Duration::from_mins(5),
            Delays::Aws => Duration::from_mins(15),
        };
        Watch::new(&self.account, client.clone(), example, self.operator.as_ref(), patience)
    }

    /// Ends everything, those first that use the others.
    async fn clear(self) -> Result<(), String> {
        let Self { sandbox, operator, fleets, load, prober, .. } = self;
        drop(prober);
        let (load, operator) = tokio::join!(end(load), end(operator));
        drop(fleets);
        Box::pin(sandbox.stop()).await.map_err(text)?;
        load.and(operator)
    }
}

async fn end(child: Option<Running>) -> Result<(), String> {
    match child {
        Some(child) => child.stop(GRACE).await.map_err(text),
        None => Ok(()),
    }
}

fn how_to_look(stage: &Stage) {
    let directory = stage.sandbox.directory().path().display();
    println!();
    println!("everything goes on running:");
    println!("  to look:  source {directory}/env");
    println!("            kubectl get dbmigration; kubectl describe dbmigration");
    println!("            psql \"$SOURCE_DSN\"; psql \"$TARGET_DSN\"");
    println!("  logs:     {directory}/*.log");
    println!("  to end:   Ctrl-C, or cargo sandbox down --dir {directory}");
    println!();
}

fn failed(directory: &Path, error: String) -> String {
    if directory.exists() { format!("{error}\nlogs are in {}", directory.display()) } else { error }
}

fn remove(directory: &Path) -> Result<(), String> {
    std::fs::remove_dir_all(directory).map_err(|error| format!("removing {}: {error}", directory.display()))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

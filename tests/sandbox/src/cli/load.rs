//! `load`: the bank's application at work, in a process of its own; and `journal`: is all that it wrote there, once?

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::{JournalCheck, Load, told_to_end};
use crate::bank::journal::{Journal, Ledger};
use crate::bank::visitor::Public;
use crate::bank::{self, Totals, Way};
use crate::demo::check;
use crate::sandbox::Environment;

const SESSIONS: u32 = 8;
/// Above so many writes a second, twice the sessions.
const MANY: u32 = 1000;
const SEED: u64 = 7;
const TELL: Duration = Duration::from_secs(1);

/// Writes until the time is up or somebody says stop, and tells what was done.
pub(super) async fn load(flags: &Load) -> Result<(), String> {
    let environment = Environment::read(&flags.dir).map_err(|error| error.to_string())?;
    let login = |name| environment.login(name).map_err(|error| error.to_string());
    let path = flags.journal.clone().unwrap_or_else(|| journal_of(&flags.dir));
    let journal =
        Journal::open(&path).map_err(|error| format!("opening the journal {}: {error}", path.display()))?;
    let journal = Arc::new(journal);
    // As a driver with two hosts: the writer is the first that lets the application in.
    let logins = vec![login("SOURCE_APP_DSN")?, login("TARGET_APP_DSN")?];
    // Wrong logins would show in the numbers only: better to fail at once.
    drop(bank::writer(&logins, "bank load").await.map_err(|error| error.to_string())?);
    let config = bank::Config {
        way: if flags.by_name {
            Way::Public(Public::read(&environment).map_err(|error| error.to_string())?)
        } else {
            Way::Databases(logins)
        },
        clients: if flags.writes_per_second > MANY { 2 * SESSIONS } else { SESSIONS },
        writes_per_second: flags.writes_per_second,
        seed: SEED,
        journal: Some(Arc::clone(&journal)),
    };
    if check::count(&environment).await.map_err(|error| error.to_string())?.1 == 0 {
        return Err(
            "the source's tables are empty, so there is nothing to work on: start the sandbox with --rows"
                .to_owned(),
        );
    }
    let totals = totals_of(&flags.dir);
    let begun = Instant::now();
    let load = bank::Load::start(&config);
    let mut ticks = interval_at(begun + TELL, TELL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let end = async {
        match flags.seconds {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    let told = told_to_end();
    tokio::pin!(end, told);
    loop {
        tokio::select! {
            _ = ticks.tick() => tell(begun, &load.totals(), &totals)?,
            () = &mut end => break,
            told = &mut told => {
                told.map_err(|error| format!("waiting for a signal: {error}"))?;
                break;
            }
        }
    }
    tell(begun, &load.stop().await, &totals)?;
    journal.sync().map_err(|error| format!("writing the journal {}: {error}", path.display()))
}

/// Where a load of a sandbox keeps its journal if nothing else is said.
pub fn journal_of(directory: &std::path::Path) -> PathBuf {
    directory.join("load.journal")
}

/// Compares the journal with the database that takes the application's writes, and fails on any difference.
pub(super) async fn journal(flags: &JournalCheck) -> Result<(), String> {
    let environment = Environment::read(&flags.dir).map_err(|error| error.to_string())?;
    let path = flags.journal.clone().unwrap_or_else(|| journal_of(&flags.dir));
    let verdict = Box::pin(check::journal(&environment, &Ledger::read(&path)?)).await?;
    println!("{verdict}");
    if verdict.holds() { Ok(()) } else { Err(verdict.complaints().join("\n")) }
}

/// Where a load of a sandbox keeps its own count, for those who watch it.
pub fn totals_of(directory: &std::path::Path) -> PathBuf {
    directory.join("load.json")
}

fn tell(begun: Instant, totals: &Totals, file: &std::path::Path) -> Result<(), String> {
    let Totals { inserts, updates, deletes, transfers, refused, unknown, present, last_error, .. } = totals;
    let error = last_error.as_ref().and_then(|error| error.lines().next());
    let error = error.map(|error| format!("; last error: {error}")).unwrap_or_default();
    println!(
        "{:>4}s  {} transactions: {inserts} inserts, {updates} updates, {deletes} deletes, {transfers} transfers; \
         {refused} refused, {unknown} unanswered, {present} found done when sent again{error}",
        begun.elapsed().as_secs(),
        totals.acknowledged(),
    );
    // Under its name at once, so that nobody reads half of it.
    let unfinished = file.with_extension("new");
    let text = serde_json::to_string(totals).map_err(|error| error.to_string())?;
    let written = std::fs::write(&unfinished, text).and_then(|()| std::fs::rename(&unfinished, file));
    written.map_err(|error| format!("writing {}: {error}", file.display()))
}

//! `load`: the bank's application at work, in a process of its own.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::{Load, told_to_end};
use crate::bank::{self, Totals};
use crate::demo::check;
use crate::sandbox::Environment;

const SESSIONS: u32 = 8;
const SEED: u64 = 7;
const TELL: Duration = Duration::from_secs(1);

/// Writes until the time is up or somebody says stop, and tells what was done.
pub(super) async fn load(flags: &Load) -> Result<(), String> {
    let environment = Environment::read(&flags.dir).map_err(|error| error.to_string())?;
    let config = bank::Config {
        login: environment.login("SOURCE_APP_DSN").map_err(|error| error.to_string())?,
        clients: SESSIONS,
        writes_per_second: flags.writes_per_second,
        seed: SEED,
    };
    // A wrong login would show in the numbers only: better to fail at once.
    drop(config.login.connect("bank load").await.map_err(|error| error.to_string())?);
    if check::count(&environment).await.map_err(|error| error.to_string())?.1 == 0 {
        return Err(
            "the source's tables are empty, so there is nothing to work on: start the sandbox with --rows"
                .to_owned(),
        );
    }
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
            _ = ticks.tick() => tell(begun, &load.totals()),
            () = &mut end => break,
            told = &mut told => {
                told.map_err(|error| format!("waiting for a signal: {error}"))?;
                break;
            }
        }
    }
    tell(begun, &load.stop().await);
    Ok(())
}

fn tell(begun: Instant, totals: &Totals) {
    let Totals { inserts, updates, deletes, transfers, refused, unknown, last_error, .. } = totals;
    let error = last_error.as_ref().and_then(|error| error.lines().next());
    let error = error.map(|error| format!("; last error: {error}")).unwrap_or_default();
    println!(
        "{:>4}s  {} transactions: {inserts} inserts, {updates} updates, {deletes} deletes, {transfers} transfers; \
         {refused} refused, {unknown} unanswered{error}",
        begun.elapsed().as_secs(),
        totals.acknowledged(),
    );
}

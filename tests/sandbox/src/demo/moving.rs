//! The demo's second half: the writer moves under load, and the way back is given up.

use std::time::Duration;

use kube::Client;
use serde_json::json;

use super::check;
use super::spans::Spans;
use super::watch::Migration;
use super::{Demo, GRACE, Stage, account::thousands, text};
use crate::bank::journal::Ledger;
use crate::bank::probe::{self, Outage, Prober, Side};
use crate::cli::journal_of;
use crate::sandbox::Example;

/// How long the application writes on the target before the goal moves on.
const SOAK: Duration = Duration::from_secs(3);

impl Stage {
    /// Moves the goal to `CutOver`, and watches until the target takes the writes. Returns how long each step took.
    pub(super) async fn cut_over(&mut self, client: &Client, example: &Example) -> Result<Spans, String> {
        let every = probe::EVERY.as_millis();
        self.account
            .say(&format!("from here on the application's login is tried on both sides every {every} ms"));
        // Not before: until it is fenced the target takes anybody's writes, as every new database does.
        let prober = Prober::start(&self.sandbox.source, &self.sandbox.target, probe::EVERY).map_err(text)?;
        self.prober = Some(prober);
        // A day's wait is not for a demo.
        let patch = json!({"spec": {"goal": "CutOver", "rollback": {"minSoak": "1s"}}});
        self.patch(client, example, &patch).await?;
        let watch = self.watch(client, example).one_writer();
        let migration = watch.until("the target to be the writer", Migration::is_soaking).await?;
        let spans = migration.spans();
        self.account.blank();
        self.account.say("what status.history says of the steps");
        for (step, took, what) in &spans.steps {
            self.account.note(&format!("{step:<10}  {:>6} ms  {what}", took.as_millis()));
        }
        if !spans.missing().is_empty() {
            return Err(format!("status.history does not have the steps {}", spans.missing().join(", ")));
        }
        self.account.blank();
        tokio::time::sleep(SOAK).await;
        self.account.say(&format!("the application goes on by itself on the target; {}", self.written()?));
        Ok(spans)
    }

    /// Moves the goal to `Finish`, and watches until it is reached.
    pub(super) async fn finish(&mut self, client: &Client, example: &Example) -> Result<(), String> {
        self.patch(client, example, &json!({"spec": {"goal": "Finish"}})).await?;
        let watch = self.watch(client, example).one_writer();
        watch.until("the migration to be finished", Migration::is_finished).await?;
        self.account.blank();
        Ok(())
    }

    /// Ends the load and the probes, and compares what they wrote down with what is there.
    pub(super) async fn judge(&mut self, spans: &Spans, flags: &Demo) -> Result<String, String> {
        let environment = self.sandbox.environment.clone();
        let load = self.load.take().ok_or("there is no load")?;
        if !load.is_running() {
            return Err(load.describe());
        }
        load.stop(GRACE).await.map_err(text)?;
        let findings = self.prober.take().ok_or("there are no probes")?.stop();
        self.account.say(&format!(
            "the application has ended; of the probes {} were accepted and {} refused",
            thousands(findings.accepted()),
            thousands(findings.refused)
        ));
        if flags.delete_one_write {
            let key = check::delete_one_write(&environment).await.map_err(text)?;
            self.account.say(&format!("deleted one acknowledged write on the target by hand: {key}"));
        }
        let overlaps = findings.overlaps();
        if let Some((source, target)) = overlaps.first() {
            return Err(format!(
                "both sides took writes at once, {} times: first the source from {:?} to {:?} and the target from {:?} to \
                 {:?}, since the probes began",
                overlaps.len(),
                source.from,
                source.to,
                target.from,
                target.to
            ));
        }
        self.account
            .say("accepted writes of the two sides never overlap; comparing the journal with the target");
        let outage = match findings.moves()[..] {
            [outage] if outage.before == Side::Source => outage,
            ref moves => return Err(format!("the writer should have moved once, the probes saw {moves:?}")),
        };
        let ledger = Ledger::read(&journal_of(environment.directory()))?;
        let verdict = Box::pin(check::journal(&environment, &ledger)).await?;
        let line = format!("{verdict}; {}", describe(outage, spans));
        if verdict.holds() { Ok(line) } else { Err(format!("{line}\n{}", verdict.complaints().join("\n"))) }
    }
}

/// The outage as the application saw it, and its parts.
fn describe(outage: Outage, spans: &Spans) -> String {
    let whole = outage.length();
    // The first write may be answered before the operator hears that the target is open.
    let promote = spans.fence_to_promote().min(whole);
    let seconds = |duration: Duration| format!("{:.3} s", duration.as_secs_f64());
    format!(
        "write outage {} (fence to promote {}, promote to first write {})",
        seconds(whole),
        seconds(promote),
        seconds(whole.saturating_sub(promote))
    )
}

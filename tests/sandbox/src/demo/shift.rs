//! The demo's middle: traffic moves to AWS by steps, while clients go on writing by the bank's public name; and how it goes
//! back by itself.

use std::time::Duration;

use kube::Client;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::account::thousands;
use super::{GRACE, Stage, check, text};
use crate::bank::Totals;
use crate::bank::journal::Ledger;
use crate::cli::{journal_of, totals_of};
use crate::cluster::manifests;
use crate::process::Running;
use crate::sandbox::{Example, application_example, applications};

const LOOK: Duration = Duration::from_millis(100);
/// A step takes more than a minute: an alias has the load balancer's own TTL of 60 s.
const PATIENCE: Duration = Duration::from_mins(6);
/// A measured share further from its weight than so many standard deviations fails the demo. Chance alone takes one of two
/// shares beyond three in 1 of 185 runs, beyond four in 1 of 8,000.
const DEVIATIONS: f64 = 4.0;
/// The most attempts of requests that may fail while only weights change: one in a thousand.
const FAILED_ONE_IN: u64 = 1_000;

/// What was last seen of the application's migration.
struct Seen(Value);

impl Seen {
    fn word(&self, pointer: &str) -> String {
        match self.0.pointer(pointer) {
            Some(Value::String(text)) => text.clone(),
            None | Some(Value::Null) => String::new(),
            Some(other) => other.to_string(),
        }
    }

    fn is(&self, kind: &str, reason: &str) -> bool {
        let conditions = self.0["status"]["conditions"].as_array().into_iter().flatten();
        let current = self.0["status"]["observedGeneration"] == self.0["metadata"]["generation"];
        let mut fits =
            conditions.filter(|c| c["type"] == kind && c["status"] == "True" && c["reason"] == reason);
        current && fits.next().is_some()
    }

    fn weight(&self) -> Option<i64> {
        self.0["status"]["traffic"]["weight"].as_i64()
    }

    fn requested(&self) -> Option<i64> {
        self.0["status"]["traffic"]["requestedWeight"].as_i64()
    }

    fn line(&self) -> String {
        let cells = [
            "phase",
            "traffic/stepSummary",
            "traffic/weight",
            "writer",
            "gateSummary",
            "rollback/mode",
            "next",
        ];
        let [phase, step, weight, writer, gates, back, next] =
            cells.map(|cell| self.word(&format!("/status/{cell}")));
        format!("{phase:<11}  {step:<4}  {weight:<6}  {writer:<6}  {gates:<5}  {back:<8}  {next}")
    }
}

impl Stage {
    /// Both kinds together: the traffic by steps to the target. The writer stays where it is.
    pub(super) async fn shift(&mut self, client: &Client, example: &Example) -> Result<(), String> {
        let steps = [10, 50, 100];
        self.stage(client, example, &steps).await?;
        self.move_application(client, &json!({"spec": {"goal": "Shift", "traffic": {"maxWeight": 100}}}))
            .await?;
        let mut measured = Vec::new();
        for weight in steps {
            self.until(client, &format!("{weight} %"), |seen| seen.weight() == Some(weight)).await?;
            let before = self.totals()?;
            let passed = |seen: &Seen| {
                seen.is("Ready", "Shifted") || seen.requested().is_some_and(|requested| requested > weight)
            };
            self.until(client, &format!("{weight} % to be passed"), passed).await?;
            measured.push((weight, before, self.totals()?));
        }
        self.account.blank();
        self.account.say("what was asked for, and what the clients measured in each hold");
        self.account.note("WEIGHT  SHARE OF ANSWERS      REQUESTS  FAILED ATTEMPTS");
        let mut complaints = Vec::new();
        for (weight, before, after) in &measured {
            let (line, complaint) = compare(*weight, before, after);
            self.account.note(&line);
            complaints.extend(complaint);
        }
        if complaints.is_empty() { Ok(()) } else { Err(complaints.join("\n")) }
    }

    /// The new side becomes sick at a quarter of the traffic. Returns the last line.
    pub(super) async fn roll_back(&mut self, client: &Client, example: &Example) -> Result<String, String> {
        self.stage(client, example, &[25, 100]).await?;
        self.move_application(client, &json!({"spec": {"goal": "Shift", "traffic": {"maxWeight": 25}}}))
            .await?;
        self.until(client, "25 % held with every gate", |seen| {
            seen.weight() == Some(25) && seen.is("Ready", "Shifting")
        })
        .await?;
        self.account.blank();
        self.account.say("the tasks on AWS begin to answer everything with 500");
        let began = Instant::now();
        for machine in self.fleets.iter().flat_map(|fleets| &fleets.target) {
            machine.sicken(true);
        }
        self.until(client, "all traffic to be asked back", |seen| seen.requested() == Some(0)).await?;
        let took = began.elapsed();
        self.until(client, "the attempt to be given up", |seen| seen.is("Stalled", "GivenUp")).await?;
        self.account.blank();
        self.account.command("kubectl events --for appmigration/payments-api");
        for line in self.watch(client, &Example { name: NAME.to_owned(), ..example.clone() }).events().await?
        {
            self.account.note(&line);
        }
        let load = self.load.take().ok_or("there is no load")?;
        load.stop(GRACE).await.map_err(text)?;
        let environment = self.sandbox.environment.clone();
        let ledger = Ledger::read(&journal_of(environment.directory()))?;
        let verdict = Box::pin(check::journal(&environment, &ledger)).await?;
        let line =
            format!("{verdict}; asked back {:.1} s after the first failing answer", took.as_secs_f64());
        if verdict.holds() { Ok(line) } else { Err(format!("{line}\n{}", verdict.complaints().join("\n"))) }
    }

    /// Applies the example, and watches until both sides are ready with all traffic at the source.
    async fn stage(&mut self, client: &Client, example: &Example, steps: &[i64]) -> Result<(), String> {
        self.account.blank();
        self.account.say("the API's traffic: it names the database's migration, and that one names it");
        self.patch(client, example, &json!({"spec": {"applications": [NAME]}})).await?;
        let steps: Vec<Value> = steps.iter().map(|weight| json!({"weight": weight, "hold": "5s"})).collect();
        let (object, replaced) =
            application_example(&self.sandbox.environment, &json!(steps)).map_err(text)?;
        Box::pin(manifests::apply(client, &object.to_string())).await.map_err(text)?;
        self.account.command("kubectl apply -f examples/application-migration.yaml");
        for line in replaced {
            self.account.note(&format!("with {line}"));
        }
        self.account.blank();
        self.account.note("PHASE        STEP  WEIGHT  WRITER  GATES  ROLLBACK  NEXT");
        self.until(client, "both sides to be ready", |seen| seen.is("Ready", "Staging")).await.map(drop)
    }

    async fn move_application(&self, client: &Client, patch: &Value) -> Result<(), String> {
        self.account.blank();
        self.account.command(&format!("kubectl patch appmigration {NAME} --type merge --patch '{patch}'"));
        self.account.blank();
        let api = applications(client.clone(), "default");
        let patched = api.patch(NAME, &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.map(drop).map_err(|error| format!("patching {NAME} with {patch}: {error}"))
    }

    /// Leaves the name to the target alone.
    pub(super) async fn finish_traffic(&self, client: &Client) -> Result<(), String> {
        self.move_application(client, &json!({"spec": {"goal": "Finish"}})).await?;
        self.until(client, "the traffic to be finished", |seen| seen.is("Ready", "Finished")).await.map(drop)
    }

    /// Prints a line on every change until the application's migration is as wanted.
    async fn until(
        &self,
        client: &Client,
        wanted: &str,
        reached: impl Fn(&Seen) -> bool,
    ) -> Result<Seen, String> {
        let api = applications(client.clone(), "default");
        let begun = Instant::now();
        let mut shown = String::new();
        loop {
            let object = api.get(NAME).await.map_err(|error| format!("reading {NAME}: {error}"))?;
            let mut data = object.data.clone();
            data["metadata"] = json!(object.metadata);
            let seen = Seen(data);
            let line = seen.line();
            if line != shown {
                self.account.say(&line);
                shown = line;
            }
            if reached(&seen) {
                return Ok(seen);
            }
            let ended = self.operator.as_ref().is_some_and(|operator| !operator.is_running());
            if ended || begun.elapsed() > PATIENCE {
                let why = if ended { "the operator ended" } else { "waited in vain" };
                let operator = self.operator.as_ref().map(Running::describe).unwrap_or_default();
                return Err(format!("{why} for {wanted}; last seen: {:#}\n{operator}", seen.0["status"]));
            }
            sleep(LOOK).await;
        }
    }

    /// The load's own count, at most a second old.
    fn totals(&self) -> Result<Totals, String> {
        let path = totals_of(self.sandbox.directory().path());
        let read =
            std::fs::read_to_string(&path).map_err(|error| format!("reading {}: {error}", path.display()))?;
        serde_json::from_str(&read).map_err(|error| format!("reading {}: {error}", path.display()))
    }
}

/// The example's name.
const NAME: &str = "payments-api";

/// What was measured at a weight, and what is wrong with it.
fn compare(weight: i64, before: &Totals, after: &Totals) -> (String, Option<String>) {
    let less = |pair: fn(&Totals) -> [u64; 2]| {
        let ([a, b], [c, d]) = (pair(after), pair(before));
        [a.saturating_sub(c), b.saturating_sub(d)]
    };
    let ([source, target], [attempts, failed]) =
        (less(|totals| totals.resolved), less(|totals| totals.attempts));
    #[expect(clippy::cast_precision_loss, reason = "counts of one minute are far below 2^52")]
    let (all, to_target) = ((source + target) as f64, target as f64);
    let share = if all > 0.0 { to_target / all } else { f64::NAN };
    let wanted = f64::from(i32::try_from(weight).unwrap_or(0)) / 100.0;
    let deviation = (wanted * (1.0 - wanted) / all).sqrt();
    let line = format!(
        "{weight:>4} %  {:>5.1} % of {:>5}        {:>8}  {failed}",
        share * 100.0,
        thousands(source + target),
        thousands(attempts)
    );
    // Answers of before the step may still be on their way when it begins, at most one of each client.
    let off = (share - wanted).abs();
    let complaint = if all < 20.0 {
        Some(format!("{weight} %: only {all} answers of the name server, too few to measure"))
    } else if off > DEVIATIONS * deviation + 1e-9 {
        Some(format!(
            "{weight} %: measured {:.1} %, which is more than {DEVIATIONS} deviations off",
            share * 100.0
        ))
    } else if failed * FAILED_ONE_IN > attempts {
        Some(format!("{weight} %: {failed} of {attempts} attempts failed"))
    } else {
        None
    };
    (line, complaint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_that_is_off_and_attempts_that_fail_are_complained_about() {
        let totals = |resolved, attempts| Totals { resolved, attempts, ..Totals::default() };
        let none = totals([0, 0], [0, 0]);
        let complaint = |weight, resolved, attempts| compare(weight, &none, &totals(resolved, attempts)).1;
        assert_eq!(complaint(50, [101, 99], [2_000, 2]), None);
        assert_eq!(complaint(100, [0, 200], [2_000, 0]), None);
        assert!(complaint(100, [1, 199], [2_000, 0]).is_some(), "at 100 % nothing goes to the source");
        assert!(complaint(10, [100, 100], [2_000, 0]).is_some());
        assert!(complaint(50, [100, 100], [2_000, 3]).is_some());
        assert!(complaint(50, [5, 5], [2_000, 0]).is_some());
    }
}

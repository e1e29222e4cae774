//! Watches one migration as `kubectl get dbmigration --watch` would, and gives up with the reason.

use std::time::Duration;

use k8s_openapi::api::events::v1::Event;
use kube::api::{DynamicObject, ListParams};
use kube::{Api, Client};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::account::Account;
use super::spans::Spans;
use super::table;
use crate::process::Running;
use crate::sandbox::{Example, migrations};

const LOOK: Duration = Duration::from_millis(100);
/// A person is needed, and nobody will come. But what was in the way may be mended by the operator's next look.
const STALLED_FOR_GOOD: Duration = Duration::from_secs(20);
/// What is shown of each change, with the width of the usual words.
const COLUMNS: [(&str, usize); 6] =
    [("PHASE", 12), ("READY", 7), ("WRITER", 6), ("LAG", 7), ("TABLES", 6), ("NEXT", 0)];

/// What was last seen of a migration.
pub(crate) struct Migration(Value);

impl Migration {
    fn of(object: &DynamicObject) -> Self {
        let mut data = object.data.clone();
        data["generation"] = object.metadata.generation.into();
        Self(data)
    }

    fn condition(&self, kind: &str) -> Option<&Value> {
        self.0["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
    }

    fn is(&self, kind: &str) -> bool {
        self.condition(kind).is_some_and(|condition| condition["status"] == "True")
    }

    /// The status speaks of the resource as it is now, not of an earlier goal.
    fn is_current(&self) -> bool {
        self.0["status"]["observedGeneration"] == self.0["generation"]
    }

    pub(crate) fn is_planned(&self) -> bool {
        self.is_current() && !self.plan().is_empty()
    }

    pub(crate) fn is_replicating(&self) -> bool {
        self.is_current() && self.is("Ready") && self.0["status"]["phase"] == "Replicating"
    }

    /// The target takes the applications' writes, and nobody waits any more.
    pub(crate) fn is_soaking(&self) -> bool {
        self.is_current() && self.is_in("Soaking") && self.0["status"]["writer"] == "Target"
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.is_current() && self.is_in("Finished")
    }

    /// The cutover was given up: the source is the writer, and the operator does not try again by itself.
    pub(crate) fn is_given_up(&self) -> bool {
        self.is_current()
            && self.is_in("Replicating")
            && self.0["status"]["writer"] == "Source"
            && self.0["status"]["latch"].is_object()
    }

    fn is_in(&self, phase: &str) -> bool {
        self.0["status"]["phase"] == phase
    }

    /// What history has of the cutover.
    pub(crate) fn spans(&self) -> Spans {
        Spans::of(&self.0["status"]["history"])
    }

    /// Action and object of each step of the plan.
    pub(crate) fn plan(&self) -> Vec<(String, String)> {
        let word = |step: &Value, key: &str| step[key].as_str().unwrap_or_default().to_owned();
        let steps = self.0["status"]["plan"]["steps"].as_array().into_iter().flatten();
        steps.map(|step| (word(step, "action"), word(step, "on"))).collect()
    }

    /// One paragraph on where it stands, for an error.
    fn describe(&self) -> String {
        let phase = self.0["status"]["phase"].as_str().unwrap_or("no phase");
        let next = self.0["status"]["next"].as_str().unwrap_or("nothing");
        let text = format!("last seen: {phase}; next: {next}");
        for kind in ["Stalled", "Ready"] {
            let message = self.condition(kind).and_then(|condition| condition["message"].as_str());
            if let Some(message) = message.filter(|message| !message.is_empty()) {
                return format!("{text}\n{kind}: {message}");
            }
        }
        text
    }
}

/// A look at one migration, repeated.
pub(crate) struct Watch<'a> {
    account: &'a Account,
    client: Client,
    name: String,
    namespace: String,
    operator: Option<&'a Running>,
    patience: Duration,
    one_writer: bool,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(
        account: &'a Account,
        client: Client,
        example: &Example,
        operator: Option<&'a Running>,
        patience: Duration,
    ) -> Self {
        let Example { name, namespace, .. } = example.clone();
        Self { account, client, name, namespace, operator, patience, one_writer: false }
    }

    /// From here on the status may never say that both sides take writes. Before the target is fenced it may.
    pub(crate) fn one_writer(self) -> Self {
        Self { one_writer: true, ..self }
    }

    /// Prints a line on every change until the migration is as wanted.
    pub(crate) async fn until(
        &self,
        wanted: &str,
        reached: impl Fn(&Migration) -> bool,
    ) -> Result<Migration, String> {
        let api = migrations(self.client.clone(), &self.namespace);
        let headings = COLUMNS.map(|(heading, _)| heading);
        self.account.note(&line(&headings.map(ToOwned::to_owned)));
        let mut shown: Option<Vec<String>> = None;
        let mut stalled: Option<Instant> = None;
        let begun = Instant::now();
        loop {
            let object =
                api.get(&self.name).await.map_err(|error| format!("reading {}: {error}", self.name))?;
            let migration = Migration::of(&object);
            let cells = table::read(&self.client, &self.namespace, Some(&self.name)).await?.first(&headings);
            if migration.is_current() && news(shown.as_deref(), &cells) {
                self.account.say(&line(&cells));
                shown = Some(cells);
            }
            if reached(&migration) {
                return Ok(migration);
            }
            stalled = if migration.is("Stalled") { stalled.or(Some(Instant::now())) } else { None };
            let failure = if self.operator.is_some_and(|operator| !operator.is_running()) {
                Some("the operator ended".to_owned())
            } else if self.one_writer && migration.0["status"]["writer"] == "Both" {
                Some("status.writer says Both".to_owned())
            } else if stalled.is_some_and(|since| since.elapsed() > STALLED_FOR_GOOD) {
                Some(format!("{} is stalled", self.name))
            } else if begun.elapsed() > self.patience {
                Some(format!("waited {} s in vain for {wanted}", self.patience.as_secs()))
            } else {
                None
            };
            if let Some(failure) = failure {
                let operator = self.operator.map(Running::describe).unwrap_or_default();
                return Err(format!("{failure}; {}\n{operator}", migration.describe()));
            }
            sleep(LOOK).await;
        }
    }

    /// What `kubectl get events` shows of it, oldest first.
    pub(crate) async fn events(&self) -> Result<Vec<String>, String> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let list =
            api.list(&ListParams::default()).await.map_err(|error| format!("listing events: {error}"))?;
        let mut events = list.items;
        events.retain(|event| {
            event.regarding.as_ref().and_then(|object| object.name.as_ref()) == Some(&self.name)
        });
        events.sort_by(|one, other| one.event_time.cmp(&other.event_time));
        let width = |word: fn(&Event) -> Option<&String>| {
            events.iter().filter_map(word).map(|word| word.chars().count()).max().unwrap_or(0)
        };
        let (types, reasons) = (width(|event| event.type_.as_ref()), width(|event| event.reason.as_ref()));
        Ok(events
            .iter()
            .map(|event| {
                let word = |word: &Option<String>| word.clone().unwrap_or_default();
                let (kind, reason, note) = (word(&event.type_), word(&event.reason), word(&event.note));
                format!("{kind:<types$}  {reason:<reasons$}  {note}")
            })
            .collect())
    }
}

/// The lag changes all the time; that alone is no news.
fn news(shown: Option<&[String]>, cells: &[String]) -> bool {
    let Some(shown) = shown else { return true };
    let lag = COLUMNS.iter().position(|(heading, _)| *heading == "LAG");
    shown.iter().zip(cells).enumerate().any(|(column, (old, new))| Some(column) != lag && old != new)
}

fn line(cells: &[String]) -> String {
    let padded = cells.iter().zip(COLUMNS).map(|(cell, (_, width))| format!("{cell:<width$}"));
    padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

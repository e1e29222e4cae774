//! Whether a migration has come to rest, and where.

use std::fmt;
use std::time::Duration;

use kube::api::DynamicObject;
use kube::{Api, Client};
use serde_json::Value;
use tokio::time::{Instant, timeout};

use crate::sandbox::{Example, migrations};

/// A person is needed, and nobody will come. But what was in the way may be gone at the next look.
const STALLED_FOR_GOOD: Duration = Duration::from_secs(15);
const CALL: Duration = Duration::from_secs(5);

/// How a migration stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// On its way.
    Walking,
    /// The source is the writer and the target follows, and that is what the goal asks for.
    Following,
    /// The target is the writer.
    Moved,
    /// The cutover was given up, and the source is the writer.
    GivenUp(String),
    /// Something that only a person can mend, and the source is the writer.
    NeedsAPerson(String),
}

impl End {
    pub(super) fn is_rest(&self) -> bool {
        *self != Self::Walking
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Walking => f.write_str("on its way"),
            Self::Following => f.write_str("went back"),
            Self::Moved => f.write_str("moved"),
            Self::GivenUp(why) => write!(f, "given up ({why})"),
            Self::NeedsAPerson(why) => write!(f, "waiting for a person ({why})"),
        }
    }
}

pub(super) struct Watch {
    api: Api<DynamicObject>,
    name: String,
    last: Value,
    stalled: Option<Instant>,
}

impl Watch {
    pub(super) fn new(client: &Client, example: &Example) -> Self {
        let api = migrations(client.clone(), &example.namespace);
        Self { api, name: example.name.clone(), last: Value::Null, stalled: None }
    }

    /// # Errors
    /// Where the status says that both sides take writes.
    pub(super) async fn look(&mut self) -> Result<End, String> {
        // An API server that thaws may owe an answer.
        let Ok(Ok(object)) = timeout(CALL, self.api.get(&self.name)).await else { return Ok(End::Walking) };
        self.last = object.data;
        self.last["generation"] = object.metadata.generation.into();
        let status = &self.last["status"];
        if status["writer"] == "Both" && status["phase"] != "Provisioning" && status["phase"] != "Loading" {
            return Err(format!("status.writer says Both: {}", self.describe()));
        }
        if status["observedGeneration"] != self.last["generation"] {
            self.stalled = None;
            return Ok(End::Walking);
        }
        let stalled = self.reason("Stalled");
        self.stalled = if stalled.is_some() { self.stalled.or(Some(Instant::now())) } else { None };
        let for_good = self.stalled.is_some_and(|since| since.elapsed() > STALLED_FOR_GOOD);
        let (source, target) = (status["writer"] == "Source", status["writer"] == "Target");
        let replicating = status["phase"] == "Replicating" && source;
        if status["phase"] == "Soaking" && target {
            return Ok(End::Moved);
        }
        if replicating && status["latch"].is_object() && status["decided"]["intent"] != "Return" {
            let why = status["latch"]["reason"].as_str().unwrap_or_default();
            return Ok(End::GivenUp(why.to_owned()));
        }
        if replicating && self.reason("Ready").is_some() && self.last["spec"]["goal"] == "Replicate" {
            return Ok(End::Following);
        }
        match stalled {
            Some(reason) if for_good && !target => Ok(End::NeedsAPerson(reason)),
            _ => Ok(End::Walking),
        }
    }

    /// The reason of a condition that is true.
    fn reason(&self, kind: &str) -> Option<String> {
        let conditions = self.last["status"]["conditions"].as_array()?;
        let condition = conditions.iter().find(|condition| condition["type"] == kind)?;
        (condition["status"] == "True").then(|| condition["reason"].as_str().unwrap_or_default().to_owned())
    }

    /// Where it stands, for an error.
    pub(super) fn describe(&self) -> String {
        let mut status = self.last["status"].clone();
        if let Some(status) = status.as_object_mut() {
            status.remove("history");
            status.remove("plan");
        }
        format!("goal {}, status {status:#}", self.last["spec"]["goal"])
    }
}

//! A migration as its user sees it.

use std::fmt::Write as _;

use kube::api::DynamicObject;
use serde_json::{Value, json};

/// One look at a migration.
#[derive(Clone, Debug)]
pub struct View(Value);

impl View {
    /// Of the object as the API server has it.
    pub fn of(object: &DynamicObject) -> Self {
        let mut data = object.data.clone();
        data["metadata"] = json!(object.metadata);
        Self(data)
    }

    /// The status, or null.
    pub fn status(&self) -> &Value {
        &self.0["status"]
    }

    /// `metadata.uid`
    pub fn uid(&self) -> &str {
        self.0["metadata"]["uid"].as_str().unwrap_or_default()
    }

    /// Whether the operator holds the resource until it has cleaned up.
    pub fn is_held(&self) -> bool {
        self.0["metadata"]["finalizers"].as_array().is_some_and(|held| !held.is_empty())
    }

    /// The status speaks of the resource as it is now, not of an earlier spec.
    pub fn is_current(&self) -> bool {
        self.status()["observedGeneration"] == self.0["metadata"]["generation"]
    }

    /// `status.phase`, or nothing.
    pub fn phase(&self) -> &str {
        self.status()["phase"].as_str().unwrap_or_default()
    }

    /// Status, reason and message of a condition.
    pub fn condition(&self, kind: &str) -> Option<(&str, &str, &str)> {
        let conditions = self.status()["conditions"].as_array()?;
        let condition = conditions.iter().find(|condition| condition["type"] == kind)?;
        let word = |key: &str| condition[key].as_str().unwrap_or_default();
        Some((word("status"), word("reason"), word("message")))
    }

    /// Whether a condition has this status and reason.
    pub fn is(&self, kind: &str, status: &str, reason: &str) -> bool {
        self.condition(kind).is_some_and(|found| (found.0, found.1) == (status, reason))
    }

    /// The message of a condition, or nothing.
    pub fn message(&self, kind: &str) -> &str {
        self.condition(kind).map_or("", |(_, _, message)| message)
    }

    /// Phase, next and all conditions, as `kubectl describe` would show them.
    pub fn describe(&self) -> String {
        let next = self.status()["next"].as_str().unwrap_or_default();
        let mut text = format!("phase {:?}, next {next:?}, current: {}", self.phase(), self.is_current());
        for condition in self.status()["conditions"].as_array().into_iter().flatten() {
            let word = |key: &str| condition[key].as_str().unwrap_or_default();
            let (kind, status, reason) = (word("type"), word("status"), word("reason"));
            let _ = write!(text, "\n  {kind}={status} ({reason}) {}", word("message"));
        }
        text
    }
}

//! The Kubernetes API, as far as one resource and one Lease go: versions, conflicts, and watches that lag.

use std::rc::Rc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::Status;
use serde_json::Value;
use slipway::api::FINALIZER;
use slipway::api::database::{DatabaseMigration, DatabaseMigrationSpec, DatabaseMigrationStatus};
use slipway::operator::lease::Record;

use crate::clock::Micros;

/// A resource as it was at one version.
pub type Object = Rc<DatabaseMigration>;

/// The API server.
#[derive(Default)]
pub struct Cluster {
    version: u64,
    /// Each version of the resource, and since when it is the present one.
    past: Vec<(Micros, Option<Object>)>,
    /// The Lease.
    pub lease: Option<Record>,
    /// How often the status was written.
    pub status_writes: u64,
    /// Once the resource is deleted: whether the target was open by then.
    pub open_when_deleted: Option<bool>,
    /// Texts that people can read: statuses and events.
    pub said: Vec<String>,
}

/// How the API server says no.
pub fn refusal(code: u16, reason: &str) -> kube::Error {
    kube::Error::Api(Box::new(Status::failure("refused by the simulator", reason).with_code(code)))
}

impl Cluster {
    /// The resource as it is.
    pub fn newest(&self) -> Option<&Object> {
        self.past.last().and_then(|(_, object)| object.as_ref())
    }

    /// Which version that is.
    pub fn newest_version(&self) -> usize {
        self.past.len().saturating_sub(1)
    }

    /// The resource as a watch has it that is `lag` behind, and which of its versions that is. A watch that had version
    /// `least` does not go back behind it.
    pub fn seen(&self, now: Micros, lag: Micros, least: usize) -> Option<(usize, &Object)> {
        let newest = self.past.iter().rposition(|(at, _)| *at + lag <= now)?;
        let seen = newest.max(least);
        self.past[seen].1.as_ref().map(|object| (seen, object))
    }

    /// The resource is gone, or finished.
    pub fn is_over(&self) -> bool {
        self.newest().is_none_or(|object| {
            object.status.as_ref().is_some_and(|status| {
                let decided = status.decided.as_ref().map(|decided| decided.intent.as_str());
                status.phase.as_deref() == Some("Finished") || decided == Some("Finished")
            })
        })
    }

    /// The version before the present one: what a read from a server that lags would answer.
    pub fn stale(&self) -> Option<&Object> {
        self.past.iter().rev().nth(1).and_then(|(_, object)| object.as_ref())
    }

    fn keep(&mut self, now: Micros, mut object: DatabaseMigration) -> Object {
        self.version += 1;
        object.metadata.resource_version = Some(self.version.to_string());
        let gone = object.metadata.deletion_timestamp.is_some()
            && object.metadata.finalizers.as_ref().is_none_or(Vec::is_empty);
        let object = Rc::new(object);
        self.past.push((now, (!gone).then(|| Rc::clone(&object))));
        object
    }

    /// Somebody applies the resource for the first time.
    pub fn create(&mut self, now: Micros, mut object: DatabaseMigration) {
        object.metadata.generation = Some(1);
        self.keep(now, object);
    }

    /// A person changes the spec.
    pub fn edit(&mut self, now: Micros, change: impl FnOnce(&mut DatabaseMigrationSpec)) {
        let Some(object) = self.newest() else { return };
        let mut object = (**object).clone();
        let before = object.spec.clone();
        change(&mut object.spec);
        if object.spec != before {
            object.metadata.generation = object.metadata.generation.map(|generation| generation + 1);
            self.keep(now, object);
        }
    }

    /// A person deletes the resource.
    pub fn delete(&mut self, now: Micros, time: Timestamp, open: bool) {
        let Some(object) = self.newest() else { return };
        if object.metadata.deletion_timestamp.is_some() {
            return;
        }
        let mut object = (**object).clone();
        object.metadata.deletion_timestamp = Some(Time(time));
        object.metadata.generation = object.metadata.generation.map(|generation| generation + 1);
        self.open_when_deleted = Some(open);
        self.keep(now, object);
    }

    /// The status is lost, as when the resource is restored from a backup.
    pub fn lose_status(&mut self, now: Micros) {
        let Some(object) = self.newest() else { return };
        let mut object = (**object).clone();
        object.status = None;
        self.keep(now, object);
    }

    fn at(&self, version: Option<&str>) -> Result<&Object, kube::Error> {
        let Some(object) = self.newest() else { return Err(refusal(404, "NotFound")) };
        match version {
            Some(version) if object.metadata.resource_version.as_deref() != Some(version) => {
                Err(refusal(409, "Conflict"))
            }
            _ => Ok(object),
        }
    }

    /// Sets the finalizers, on this version.
    pub fn patch_finalizers(
        &mut self,
        now: Micros,
        version: Option<&str>,
        finalize: bool,
    ) -> Result<Object, kube::Error> {
        let mut object = (**self.at(version)?).clone();
        let finalizers = object.metadata.finalizers.get_or_insert_default();
        finalizers.retain(|one| one != FINALIZER);
        if finalize {
            finalizers.push(FINALIZER.to_owned());
        }
        Ok(self.keep(now, object))
    }

    /// Merges a patch into the status, on this version.
    pub fn patch_status(
        &mut self,
        now: Micros,
        version: Option<&str>,
        patch: &Value,
    ) -> Result<Object, kube::Error> {
        let mut object = (**self.at(version)?).clone();
        let mut status = serde_json::to_value(&object.status).unwrap_or_default();
        merge(&mut status, patch);
        object.status = serde_json::from_value(status).unwrap_or_default();
        self.status_writes += 1;
        Ok(self.keep(now, object))
    }

    /// Writes the whole status, on this version.
    pub fn apply_status(
        &mut self,
        now: Micros,
        version: Option<&str>,
        status: &DatabaseMigrationStatus,
    ) -> Result<Object, kube::Error> {
        let mut object = (**self.at(version)?).clone();
        // As the server keeps it: times in whole seconds.
        let kept = serde_json::to_vec(status).unwrap_or_default();
        object.status = serde_json::from_slice(&kept).unwrap_or_default();
        self.status_writes += 1;
        Ok(self.keep(now, object))
    }

    /// Writes the Lease, on the version that was read.
    pub fn write_lease(&mut self, record: Record) -> Result<Record, kube::Error> {
        let present = self.lease.as_ref().and_then(|lease| lease.version.clone());
        if present != record.version {
            return Err(refusal(409, "Conflict"));
        }
        self.version += 1;
        let record = Record { version: Some(self.version.to_string()), ..record };
        self.lease = Some(record.clone());
        Ok(record)
    }
}

/// A JSON merge patch.
fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = Value::Object(serde_json::Map::new());
    }
    if let Value::Object(into) = into {
        for (key, value) in patch {
            if value.is_null() {
                into.remove(key);
            } else {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
    }
}

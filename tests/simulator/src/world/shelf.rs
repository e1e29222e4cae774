//! One resource, as the API server keeps it: every version that it had, conflicts, and what a watch that lags has of it.

use std::rc::Rc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Resource;
use kube::core::object::{HasSpec, HasStatus};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use slipway::api::FINALIZER;

use super::cluster::refusal;
use crate::clock::Micros;

/// A kind of resource.
pub trait Kind:
    Resource
    + Clone
    + HasSpec<Spec: Clone + PartialEq>
    + HasStatus<Status: Clone + Default + Serialize + DeserializeOwned>
{
}

impl<K> Kind for K where
    K: Resource
        + Clone
        + HasSpec<Spec: Clone + PartialEq>
        + HasStatus<Status: Clone + Default + Serialize + DeserializeOwned>
{
}

/// A resource in all its versions.
pub struct Shelf<K> {
    version: u64,
    /// Each version, and since when it is the present one.
    past: Vec<(Micros, Option<Rc<K>>)>,
    /// How often the status was written.
    pub status_writes: u64,
}

impl<K> Default for Shelf<K> {
    fn default() -> Self {
        Self { version: 0, past: Vec::new(), status_writes: 0 }
    }
}

impl<K: Kind> Shelf<K> {
    /// Somebody applied it once.
    pub fn was_applied(&self) -> bool {
        !self.past.is_empty()
    }

    /// The resource as it is.
    pub fn newest(&self) -> Option<&Rc<K>> {
        self.past.last().and_then(|(_, object)| object.as_ref())
    }

    /// Which version that is.
    pub fn newest_version(&self) -> usize {
        self.past.len().saturating_sub(1)
    }

    /// The resource as a watch has it that is `lag` behind, and which of its versions that is. A watch that had version
    /// `least` does not go back behind it.
    pub fn seen(&self, now: Micros, lag: Micros, least: usize) -> Option<(usize, &Rc<K>)> {
        let newest = self.past.iter().rposition(|(at, _)| *at + lag <= now)?;
        let seen = newest.max(least);
        self.past[seen].1.as_ref().map(|object| (seen, object))
    }

    /// A person deleted it, and it may be gone.
    pub fn is_deleted(&self) -> bool {
        self.newest().is_none_or(|object| object.meta().deletion_timestamp.is_some())
    }

    fn keep(&mut self, now: Micros, mut object: K) -> Rc<K> {
        self.version += 1;
        object.meta_mut().resource_version = Some(self.version.to_string());
        let gone = object.meta().deletion_timestamp.is_some()
            && object.meta().finalizers.as_ref().is_none_or(Vec::is_empty);
        let object = Rc::new(object);
        self.past.push((now, (!gone).then(|| Rc::clone(&object))));
        object
    }

    /// Somebody applies the resource for the first time.
    pub fn create(&mut self, now: Micros, mut object: K) {
        object.meta_mut().generation = Some(1);
        self.keep(now, object);
    }

    /// A person changes the spec.
    pub fn edit(&mut self, now: Micros, change: impl FnOnce(&mut K::Spec)) {
        let Some(object) = self.newest() else { return };
        let mut object = (**object).clone();
        let before = object.spec().clone();
        change(object.spec_mut());
        if *object.spec() != before {
            let meta = object.meta_mut();
            meta.generation = meta.generation.map(|generation| generation + 1);
            self.keep(now, object);
        }
    }

    /// A person deletes the resource; false if that was done before.
    pub fn delete(&mut self, now: Micros, time: Timestamp) -> bool {
        let Some(object) = self.newest() else { return false };
        if object.meta().deletion_timestamp.is_some() {
            return false;
        }
        let mut object = (**object).clone();
        let meta = object.meta_mut();
        meta.deletion_timestamp = Some(Time(time));
        meta.generation = meta.generation.map(|generation| generation + 1);
        self.keep(now, object);
        true
    }

    /// The status is lost, as when the resource is restored from a backup.
    pub fn lose_status(&mut self, now: Micros) {
        let Some(object) = self.newest() else { return };
        let mut object = (**object).clone();
        *object.status_mut() = None;
        self.keep(now, object);
    }

    fn at(&self, version: Option<&str>) -> Result<&Rc<K>, kube::Error> {
        let Some(object) = self.newest() else { return Err(refusal(404, "NotFound")) };
        match version {
            Some(version) if object.meta().resource_version.as_deref() != Some(version) => {
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
    ) -> Result<Rc<K>, kube::Error> {
        let mut object = (**self.at(version)?).clone();
        let finalizers = object.meta_mut().finalizers.get_or_insert_default();
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
    ) -> Result<Rc<K>, kube::Error> {
        let mut object = (**self.at(version)?).clone();
        let mut status = serde_json::to_value(object.status()).unwrap_or_default();
        merge(&mut status, patch);
        *object.status_mut() = serde_json::from_value(status).unwrap_or_default();
        self.status_writes += 1;
        Ok(self.keep(now, object))
    }

    /// Writes the whole status, on this version.
    pub fn apply_status(
        &mut self,
        now: Micros,
        version: Option<&str>,
        status: &K::Status,
    ) -> Result<Rc<K>, kube::Error> {
        let mut object = (**self.at(version)?).clone();
        // As the server keeps it: times in whole seconds.
        let kept = serde_json::to_vec(status).unwrap_or_default();
        *object.status_mut() = serde_json::from_slice(&kept).unwrap_or_default();
        self.status_writes += 1;
        Ok(self.keep(now, object))
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

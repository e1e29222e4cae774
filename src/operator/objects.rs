//! What reconciling writes to Kubernetes, of either kind: the finalizer, the status, events.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::events::{Event, EventType};
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::api::condition::{READY, Reason, STALLED};
use crate::api::{FIELD_MANAGER, FINALIZER};
use crate::fault::Fault;
use crate::operator::context::Context;
use crate::permit::Permit;
use crate::report::clip;

/// The API refuses an event's note of more than 1 KiB.
const NOTE_MAX: usize = 1_000;
/// And an action of more than 128 characters.
const ACTION_MAX: usize = 120;

/// A kind of migration, as far as Kubernetes is concerned.
pub trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Sync
{
}

impl<K> Kind for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Sync
{
}

/// The API of an object's namespace.
pub fn api<K: Kind>(client: &Client, object: &K) -> Api<K> {
    Api::namespaced(client.clone(), object.meta().namespace.as_deref().unwrap_or_default())
}

/// What a failed call to Kubernetes means.
pub fn kubernetes(doing: &str, error: &kube::Error) -> Fault {
    match error {
        kube::Error::Api(status) if status.is_conflict() => {
            Fault::Wait(format!("{doing}: the resource changed meanwhile"))
        }
        kube::Error::Api(status) if status.is_not_found() => Fault::Wait(format!("{doing}: it is gone")),
        kube::Error::Api(status) if status.is_forbidden() => Fault::blocked(
            Reason::AccessDenied,
            format_args!("{doing}: the operator may not"),
            "Install the chart's roles of this version",
        ),
        kube::Error::Api(status) => {
            Fault::Again(format!("{doing} failed: {} ({})", status.reason, status.code))
        }
        _ => Fault::Unknown(format!("{doing}: the API server did not answer")),
    }
}

/// Reads an object anew.
pub async fn read<K: Kind>(client: &Client, object: &K) -> Result<K, Fault> {
    let read = api(client, object).get(&object.name_any()).await;
    read.map_err(|error| kubernetes("reading the resource", &error))
}

/// Puts the finalizer on an object, unless it is there, and returns the resourceVersion that it then has. It carries the
/// resourceVersion, so that a goal that changed since is looked at again first.
pub async fn hold<K: Kind>(
    client: &Client,
    permit: &Permit<'_>,
    object: &K,
) -> Result<Option<String>, Fault> {
    let version = object.resource_version();
    if object.finalizers().iter().any(|f| f == FINALIZER) {
        return Ok(version);
    }
    let mut finalizers = object.finalizers().to_vec();
    finalizers.push(FINALIZER.to_owned());
    let patch = json!({"metadata": {"resourceVersion": version, "finalizers": finalizers}});
    permit.check("adding the finalizer")?;
    let patched = api(client, object)
        .patch(&object.name_any(), &PatchParams::default(), &Patch::Merge(patch))
        .await
        .map_err(|error| kubernetes("adding the finalizer", &error))?;
    Ok(patched.resource_version())
}

/// Takes the finalizer off an object.
pub async fn release<K: Kind>(client: &Client, permit: &Permit<'_>, object: &K) -> Result<(), Fault> {
    let finalizers: Vec<&String> = object.finalizers().iter().filter(|f| *f != FINALIZER).collect();
    let patch = json!({"metadata": {"resourceVersion": object.resource_version(), "finalizers": finalizers}});
    permit.check("removing the finalizer")?;
    match api(client, object).patch(&object.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(kubernetes("removing the finalizer", &error)),
    }
}

/// Writes a whole status by server-side apply, and returns the object as it then is. With the resourceVersion: a status made
/// from an older object must not overwrite a newer one's memory.
pub async fn write_status<K: Kind, S: Serialize + Sync>(
    client: &Client,
    permit: &Permit<'_>,
    object: &K,
    version: Option<String>,
    status: &S,
    doing: &str,
) -> Result<K, Fault> {
    let patch = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"resourceVersion": version},
        "status": status,
    });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    permit.check(doing)?;
    api(client, object)
        .patch_status(&object.name_any(), &params, &Patch::Apply(patch))
        .await
        .map_err(|error| kubernetes(doing, &error))
}

/// The part of a status of which events tell.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// The phase.
    pub phase: Option<&'a str>,
    /// The phase that was entered last, and what was known then.
    pub entered: Option<(&'a str, &'a str)>,
    /// The conditions.
    pub conditions: &'a [Condition],
}

/// Writes a status that says something new, and tells what changed.
pub async fn publish<K: Kind, S: Serialize + Sync>(
    object: &K,
    context: &Context,
    status: &S,
    old: &Told<'_>,
    new: &Told<'_>,
) -> Result<(), Fault> {
    let (permit, version) = (context.leadership.permit(), object.resource_version());
    write_status(&context.client, &permit, object, version, status, "writing the status").await?;
    context.metrics.status_writes.inc();
    transitions(&object.object_ref(&()), context, old, new).await;
    Ok(())
}

/// Events for what changed: the phase, and the word under Stalled or Ready.
pub async fn transitions(object: &ObjectReference, context: &Context, old: &Told<'_>, new: &Told<'_>) {
    if old.phase != new.phase
        && let Some((phase, evidence)) = new.entered
    {
        tell(object, context, EventType::Normal, phase, "PhaseChanged", evidence).await;
    }
    for (kind, type_) in [(STALLED, EventType::Warning), (READY, EventType::Normal)] {
        let is_true = |told: &Told| {
            let found = told.conditions.iter().find(|c| c.type_ == kind && c.status == "True");
            found.map(|c| (c.reason.clone(), c.message.clone()))
        };
        let (before, after) = (is_true(old), is_true(new));
        if let Some((reason, message)) = &after
            && before.as_ref().map(|(reason, _)| reason) != Some(reason)
        {
            let word = if kind == READY { "Ready" } else { reason.as_str() };
            tell(object, context, type_, word, reason, message).await;
        }
    }
}

/// Says in an event that an object can't be read at all. Its status is left alone: it could not be read either, and what
/// was decided stands there.
pub async fn malformed(object: &ObjectReference, context: &Context, error: &str) {
    let note = format!(
        "The resource does not fit the CRD and is left alone: {error}. Correct it, or apply the CRD of this version and then the resource again"
    );
    let reason = Reason::InvalidSpec.as_str();
    tell(object, context, EventType::Warning, reason, "Observed", &note).await;
}

/// Sends an event. Events with the same reason and action are folded into one, and only the first one's note is kept.
pub async fn tell(
    object: &ObjectReference,
    context: &Context,
    type_: EventType,
    reason: &str,
    action: &str,
    note: &str,
) {
    let event = Event {
        type_,
        reason: reason.to_owned(),
        note: Some(clip(note, NOTE_MAX)),
        action: clip(action, ACTION_MAX),
        secondary: None,
    };
    if let Err(fault) = context.leadership.permit().check("sending an event") {
        return tracing::debug!(%fault, reason, "event not sent");
    }
    // An event is a courtesy: the status says the same.
    if let Err(error) = context.recorder.publish(&event, object).await {
        tracing::debug!(%error, reason, "event not sent");
    }
}

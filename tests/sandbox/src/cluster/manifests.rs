//! `kubectl apply` without kubectl: any kind the API server knows, by server-side apply.

use std::future::Future;
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DynamicObject, GroupVersionKind, Patch, PatchParams, TypeMeta};
use kube::discovery::{ApiCapabilities, ApiResource, Scope, pinned_kind};
use kube::error::DiscoveryError;
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Client, ResourceExt};
use tokio::time::{Instant, sleep, timeout};

use super::{Error, api_error};

/// How long the API server may take to serve a kind that it was just given.
const PATIENCE: Duration = Duration::from_mins(1);

/// Who the applied fields belong to.
const FIELD_MANAGER: &str = "slipway-sandbox";

/// Applies every document of a YAML text in order, and waits until each CRD among them is served. Objects without a
/// namespace go to `default`. Returns the objects as stored.
pub async fn apply(client: &Client, yaml: &str) -> Result<Vec<DynamicObject>, Error> {
    let objects: Vec<DynamicObject> = serde_saphyr::from_multiple(yaml)
        .map_err(|error| Error::Malformed { what: "the manifests".to_owned(), reason: error.to_string() })?;
    let mut stored = Vec::with_capacity(objects.len());
    for object in objects {
        stored.push(apply_one(client, object).await?);
    }
    Ok(stored)
}

async fn apply_one(client: &Client, object: DynamicObject) -> Result<DynamicObject, Error> {
    let name = object.name_any();
    let types = object.types.clone().unwrap_or_default();
    let what = || format!("apply {} {name}", types.kind);
    if types.kind.is_empty() || name.is_empty() {
        return Err(Error::Malformed {
            what: "a manifest".to_owned(),
            reason: format!(
                "it needs kind and metadata.name, and has kind {:?} and name {name:?}",
                types.kind
            ),
        });
    }
    let (resource, capabilities) = resource(client, &types).await?;
    let api: Api<DynamicObject> = match capabilities.scope {
        Scope::Cluster => Api::all_with(client.clone(), &resource),
        Scope::Namespaced => {
            let namespace = object.namespace().unwrap_or_else(|| "default".to_owned());
            Api::namespaced_with(client.clone(), &namespace, &resource)
        }
    };
    let force = PatchParams::apply(FIELD_MANAGER).force();
    let stored = api.patch(&name, &force, &Patch::Apply(&object)).await.map_err(api_error(what))?;
    if resource.kind == "CustomResourceDefinition" {
        wait_until_served(client, &name).await?;
    }
    Ok(stored)
}

/// Looks up how a kind is served; one whose CRD was established a moment ago may not be listed yet.
async fn resource(client: &Client, types: &TypeMeta) -> Result<(ApiResource, ApiCapabilities), Error> {
    let kind = GroupVersionKind::try_from(types).map_err(|error| Error::Malformed {
        what: format!("the manifest of a {}", types.kind),
        reason: error.to_string(),
    })?;
    let begun = Instant::now();
    loop {
        match pinned_kind(client, &kind).await {
            Ok(found) => return Ok(found),
            Err(error) if is_unknown(&error) && begun.elapsed() < Duration::from_secs(10) => {
                sleep(Duration::from_millis(100)).await;
            }
            Err(error) => {
                return Err(api_error(|| {
                    format!("find out how {} {} is served", types.api_version, types.kind)
                })(error));
            }
        }
    }
}

fn is_unknown(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.is_not_found(),
        kube::Error::Discovery(DiscoveryError::MissingKind(_) | DiscoveryError::MissingApiGroup(_)) => true,
        _ => false,
    }
}

async fn wait_until_served(client: &Client, name: &str) -> Result<(), Error> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let established = await_condition(definitions, name, conditions::is_crd_established());
    match timeout(PATIENCE, boxed(established)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => {
            Err(Error::Malformed { what: format!("the state of CRD {name}"), reason: error.to_string() })
        }
        Err(_) => Err(Error::TimedOut { what: format!("CRD {name} to be established"), waited: PATIENCE }),
    }
}

/// A watch is a large future; on the heap it doesn't swell those of all callers.
fn boxed<F: Future>(future: F) -> std::pin::Pin<Box<F>> {
    Box::pin(future)
}

//! The custom resources: the vocabulary that everything else speaks. Imports nothing of ours.

pub mod application;
pub mod condition;
pub mod database;
mod form;
pub mod schema;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::Value;

/// The API group of every kind.
pub const GROUP: &str = "slipway.dev";

/// Held on a resource from before its first effect until everything it made is gone.
pub const FINALIZER: &str = "slipway.dev/cleanup";

/// Owner of the fields that the operator applies.
pub const FIELD_MANAGER: &str = "slipway";

/// Every CRD, as (file name, YAML).
///
/// # Errors
/// When a CRD can't be written as YAML, which a test would find first.
pub fn all_crds() -> Result<Vec<(String, String)>, serde_saphyr::ser::Error> {
    let all = [application::ApplicationMigration::crd(), database::DatabaseMigration::crd()];
    let file = |crd: CustomResourceDefinition| {
        let name = format!("{}.yaml", crd.metadata.name.clone().unwrap_or_default());
        let mut tree = serde_json::json!(crd);
        unwrap_descriptions(&mut tree);
        Ok((name, serde_saphyr::to_string(&tree)?))
    };
    all.into_iter().map(file).collect()
}

/// Our comments are wrapped for the editor; `kubectl explain` wraps for its own terminal.
fn unwrap_descriptions(tree: &mut Value) {
    match tree {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(text) if name == "description" => *text = text.replace('\n', " "),
                    other => unwrap_descriptions(other),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(unwrap_descriptions),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

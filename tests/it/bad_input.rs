//! Resources that no careful person would write: refused by the API server or told of by the operator, with the field's
//! name and what to do, and nothing is touched for them.

use futures::StreamExt;
use kube::api::{DynamicObject, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::bad_input::kind::Kind;
use crate::journey::{Journey, View, texts};

pub(crate) mod generate;
mod generated;
pub mod kind;
mod lax;
mod parse;
mod written;

/// Requests to the API server at once.
const AT_ONCE: usize = 16;

/// Whether a message names one of these fields, or what it stands in.
fn names_one(message: &str, fields: &[String]) -> bool {
    fields.iter().any(|field| {
        let parent = field.rsplit_once('.').map_or(field.as_str(), |(parent, _)| parent);
        // An entry of a list may be wrong only beside the others.
        let list = parent.rsplit_once('[').map_or(parent, |(list, _)| list);
        let leaf = field.rsplit('.').next().unwrap_or(field);
        let leaf = leaf.split('[').next().unwrap_or(leaf);
        message.contains(field.as_str())
            || [parent, list].iter().any(|whole| {
                [": ", " ", "."].iter().any(|after| message.contains(&format!("{whole}{after}")))
            })
            || message.split(|c: char| !c.is_alphanumeric()).any(|word| word == leaf)
    })
}

/// What the API server says of each, in their order; nothing is kept. Unknown fields are refused, as `kubectl` has it.
async fn admission(
    client: &Client,
    kind: Kind,
    objects: impl IntoIterator<Item = &Value>,
) -> Vec<Result<(), String>> {
    let requests = objects.into_iter().map(|object| submit(client, kind, object.clone(), true));
    futures::stream::iter(requests).buffered(AT_ONCE).collect().await
}

async fn submit(client: &Client, kind: Kind, object: Value, dry_run: bool) -> Result<(), String> {
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default");
    let api: Api<DynamicObject> = kind.api(client.clone(), namespace);
    let params = PostParams { dry_run, ..PostParams::default() };
    let request = kube::core::Request::new(api.resource_url());
    let mut request = request.create(&params, serde_json::to_vec(&object).unwrap()).unwrap();
    let uri = request.uri().to_string();
    let joint = if uri.contains('?') { '&' } else { '?' };
    *request.uri_mut() = format!("{uri}{joint}fieldValidation=Strict").parse().unwrap();
    client.request::<Value>(request).await.map(drop).map_err(|error| error.to_string())
}

/// A resource under another name, in another namespace.
fn renamed(object: &Value, name: &str, namespace: &str) -> Value {
    let mut object = object.clone();
    object["metadata"]["name"] = json!(name);
    object["metadata"]["namespace"] = json!(namespace);
    object
}

/// What the operator says of each resource of a namespace, once it has spoken of all of them.
async fn told(journey: &Journey, kind: Kind, namespace: &str, names: &[String]) -> Vec<View> {
    let api = kind.api(journey.client.clone(), namespace);
    journey
        .eventually(crate::journey::PATIENCE, "a status of each", || async {
            let list =
                api.list(&kube::api::ListParams::default()).await.map_err(|error| error.to_string())?;
            let views: Vec<(String, View)> = list
                .items
                .iter()
                .map(|object| (object.metadata.name.clone().unwrap_or_default(), View::of(object)))
                .collect();
            let mut found = Vec::new();
            for name in names {
                match views.iter().find(|(of, _)| of == name) {
                    Some((_, view)) if view.is_current() => found.push(view.clone()),
                    Some((_, view)) => return Err(format!("{name}: {}", view.describe())),
                    None => return Err(format!("{name} is not there")),
                }
            }
            Ok(found)
        })
        .await
}

/// The operator runs and never panicked, AWS was not changed, and nothing was made in either database.
async fn nothing_was_touched(journey: &Journey) {
    let log = std::fs::read_to_string(journey.operator().unwrap().log()).unwrap();
    assert!(!log.contains("panicked") && !log.contains("\"bug\"") && !log.contains(" bug "), "{log}");
    assert!(journey.operator().unwrap().is_running());
    assert_eq!(journey.changes(), Vec::<String>::new());
    assert!(journey.mutating_calls().is_empty(), "{:?}", journey.mutating_calls());
    let ours = "SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname IN ('slipway', 'awsdms_control')
                UNION ALL SELECT slot_name::text FROM pg_replication_slots";
    for server in [&journey.sandbox.source, &journey.sandbox.target] {
        assert_eq!(texts(server, ours).await, Vec::<String>::new(), "on {}", server.name());
    }
}

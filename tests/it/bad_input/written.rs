//! The tables of bad resources that people thought of: `written.yaml` and `application.yaml`.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use serde::Deserialize;
use serde_json::{Value, json};

use super::kind::Kind;
use super::{admission, nothing_was_touched, renamed, submit, told};
use crate::journey::{Journey, View};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    what: String,
    #[serde(default)]
    by: By,
    #[serde(default)]
    base: usize,
    patch: Value,
    #[serde(default)]
    says: Vec<String>,
    /// Data of Secrets to be made, by their names.
    #[serde(default)]
    secrets: Value,
    /// The same of `ConfigMap`s.
    #[serde(default)]
    config_maps: Value,
}

/// Who refuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum By {
    #[default]
    Admission,
    Operator,
    Nobody,
}

fn table(kind: Kind) -> Vec<Written> {
    let text = match kind {
        Kind::Database => include_str!("written.yaml"),
        Kind::Application => include_str!("application.yaml"),
    };
    let mut entries: Vec<Written> = serde_saphyr::from_str(text).unwrap();
    for entry in &mut entries {
        repeat(&mut entry.patch);
        repeat(&mut entry.secrets);
    }
    entries
}

/// Puts long texts where the table has their recipe.
fn repeat(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some((times, unit)) = text.strip_prefix("@repeat ").and_then(|rest| rest.split_once(' ')) {
                *text = unit.repeat(times.parse().unwrap());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(repeat),
        Value::Object(fields) => fields.values_mut().for_each(repeat),
        _ => {}
    }
}

/// A JSON merge patch (RFC 7396).
pub fn merge(into: &mut Value, change: &Value) {
    let Some(change) = change.as_object() else {
        *into = change.clone();
        return;
    };
    for (key, value) in change {
        if value.is_null() {
            into.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut into[key], value);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_thought_of_is_refused_with_the_words_of_the_table() {
    let journey = Box::pin(all_of(Kind::Database, "written", 100)).await;
    let secrets = Api::<Secret>::namespaced(journey.client.clone(), "default");
    secrets.delete("s-huge", &DeleteParams::default()).await.unwrap();
    journey.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_thought_of_applications_is_refused_with_the_words_of_the_table() {
    let journey = Box::pin(all_of(Kind::Application, "written-application", 80)).await;
    journey.end().await;
}

/// Goes through the table of a kind, which has at least so many entries.
async fn all_of(kind: Kind, test: &str, least: usize) -> Journey {
    let traced = |options: &mut sandbox::sandbox::Options| options.operator_log = Some("trace".to_owned());
    let mut journey = Box::pin(Journey::begin_with(test, traced)).await;
    let good = kind.good(&kind.placed(&journey));
    let entries = table(kind);
    assert!(entries.len() >= least, "{}", entries.len());
    let objects: Vec<Value> = entries
        .iter()
        .map(|entry| {
            let mut object = good[entry.base].clone();
            merge(&mut object, &entry.patch);
            object
        })
        .collect();
    let verdicts = admission(&journey.client, kind, &objects).await;
    let mut wrong = Vec::new();
    for (entry, verdict) in entries.iter().zip(&verdicts) {
        let as_expected = match (verdict, entry.by) {
            (Ok(()), By::Operator | By::Nobody) => true,
            (Err(message), By::Admission) => entry.says.iter().all(|words| message.contains(words)),
            _ => false,
        };
        if !as_expected {
            wrong.push(format!(
                "{}: {verdict:?}, expected {:?} to say {:?}",
                entry.what, entry.by, entry.says
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");

    // A look costs calls to AWS, which have their pace: each is looked at once.
    journey.retry = Duration::from_mins(1);
    // What only the operator can know: beside the example's own Secrets and both databases, so that nothing but the refusal
    // keeps it from beginning.
    let mut names = Vec::new();
    let mut told_of = Vec::new();
    for (entry, object) in entries.iter().zip(&objects).filter(|(entry, _)| entry.by == By::Operator) {
        for (kind, data, all) in
            [("Secret", "stringData", &entry.secrets), ("ConfigMap", "data", &entry.config_maps)]
        {
            for (name, content) in all.as_object().into_iter().flatten() {
                let mut made = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}});
                made[data] = content.clone();
                journey.try_apply(&made).await.unwrap();
            }
        }
        let name = format!("w{}", names.len());
        let mut object = renamed(object, &name, "default");
        // One RDS instance and one bank would do for one migration; these never come so far.
        object["spec"]["environmentSuffix"] = json!("bad");
        submit(&journey.client, kind, object, false).await.unwrap();
        names.push(name);
        told_of.push(entry);
    }
    journey.start_operator();
    let mut wrong = Vec::new();
    let api = kind.api(journey.client.clone(), "default");
    for (name, entry) in names.iter().zip(&told_of) {
        let view = journey
            .eventually(crate::journey::PATIENCE, &entry.what, || async {
                let object = api.get(name).await.map_err(|error| error.to_string())?;
                let view = View::of(&object);
                let stalled = view.is_current() && !view.message("Stalled").is_empty();
                if stalled { Ok(view) } else { Err(view.describe()) }
            })
            .await;
        let message = view.message("Stalled");
        if !entry.says.iter().all(|words| message.contains(words)) || !message.contains(". ") {
            wrong.push(format!("{}: expected {:?}\n{}", entry.what, entry.says, view.describe()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    nothing_was_touched(&journey).await;
    let _ = told(&journey, kind, "default", &names).await;

    // Deleted with a spec that is still wrong: nothing was made, so nothing holds them.
    for name in &names {
        api.delete(name, &DeleteParams::default()).await.unwrap();
    }
    journey
        .eventually(crate::journey::PATIENCE, "all of them to be gone", || async {
            let left = api.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
            if left.items.is_empty() { Ok(()) } else { Err(format!("{} are left", left.items.len())) }
        })
        .await;
    journey
}

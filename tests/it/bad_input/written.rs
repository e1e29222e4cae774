//! The table of bad resources that people thought of: `written.yaml`.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::DeleteParams;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{admission, generate, nothing_was_touched, renamed, submit, told};
use crate::journey::Journey;

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

fn table() -> Vec<Written> {
    let mut entries: Vec<Written> = serde_saphyr::from_str(include_str!("written.yaml")).unwrap();
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
    let traced = |options: &mut sandbox::sandbox::Options| options.operator_log = Some("trace".to_owned());
    let mut journey = Box::pin(Journey::begin_with("written", traced)).await;
    let good = generate::good(&journey.example(|_| {}));
    let entries = table();
    assert!(entries.len() >= 100, "{}", entries.len());
    let objects: Vec<Value> = entries
        .iter()
        .map(|entry| {
            let mut object = good[entry.base].clone();
            merge(&mut object, &entry.patch);
            object
        })
        .collect();
    let verdicts = admission(&journey.client, &objects).await;
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
        submit(&journey.client, object, false).await.unwrap();
        names.push(name);
        told_of.push(entry);
    }
    journey.start_operator();
    let mut wrong = Vec::new();
    for (name, entry) in names.iter().zip(&told_of) {
        let stalled = |view: &crate::journey::View| view.is_current() && !view.message("Stalled").is_empty();
        let view = journey.until(name, &entry.what, stalled).await;
        let message = view.message("Stalled");
        if !entry.says.iter().all(|words| message.contains(words)) || !message.contains(". ") {
            wrong.push(format!("{}: expected {:?}\n{}", entry.what, entry.says, view.describe()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    nothing_was_touched(&journey).await;
    let _ = told(&journey, "default", &names).await;

    // Deleted with a spec that is still wrong: nothing was made, so nothing holds them.
    for name in &names {
        journey.delete(name).await;
    }
    for name in &names {
        journey.until_gone(name).await;
    }
    let secrets = Api::<Secret>::namespaced(journey.client.clone(), "default");
    secrets.delete("s-huge", &DeleteParams::default()).await.unwrap();
    journey.end().await;
}

//! The Helm chart against what the sandbox grants. There is no helm here, so its templates are kept so plain that these
//! few substitutions render them; anything else in a template fails this test.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::operator;

fn chart() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../charts/slipway")
}

fn read(path: &str) -> String {
    fs::read_to_string(chart().join(path)).unwrap_or_else(|error| panic!("charts/slipway/{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap()
}

/// Renders a template for the release `slipway` in `slipway-system` with the chart's own values.
fn render(template: &str, values: &Value) -> String {
    let mut text = template.to_owned();
    if let Some((before, rest)) = text.split_once("{{- range .Values.namespaces }}") {
        let (body, after) = rest.split_once("{{- end }}").unwrap();
        let repeated: String = values["namespaces"]
            .as_array()
            .unwrap()
            .iter()
            .map(|namespace| body.replace("{{ . }}", namespace.as_str().unwrap()).replace("{{ $.", "{{ ."))
            .collect();
        text = format!("{before}{repeated}{after}");
    }
    if let Some((before, rest)) = text.split_once("{{- with .Values.serviceAccount.annotations }}") {
        assert_eq!(values["serviceAccount"]["annotations"], serde_json::json!({}));
        let (_, after) = rest.split_once("{{- end }}").unwrap();
        text = format!("{before}{after}");
    }
    text = text
        .replace("{{ .Release.Name }}", operator::SERVICE_ACCOUNT)
        .replace("{{ .Release.Namespace }}", operator::NAMESPACE)
        .replace("{{ .Values.serviceAccount.name }}", values["serviceAccount"]["name"].as_str().unwrap());
    while let Some((before, rest)) = text.split_once("{{ .Files.Get \"") {
        let (file, after) = rest.split_once("\" }}").unwrap();
        text = format!("{before}{}{after}", read(file));
    }
    assert!(!text.contains("{{"), "not rendered: {text}");
    text
}

#[test]
fn the_sandbox_grants_what_the_chart_grants() {
    let values = yaml("values.yaml");
    let mut rendered: Vec<Value> = Vec::new();
    for entry in fs::read_dir(chart().join("templates")).unwrap() {
        let template = fs::read_to_string(entry.unwrap().path()).unwrap();
        let documents: Vec<Value> = serde_saphyr::from_multiple(&render(&template, &values)).unwrap();
        rendered.extend(documents.into_iter().filter(|document| !document.is_null()));
    }
    let namespaces: Vec<&str> =
        values["namespaces"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let mut granted = operator::chart_objects(&namespaces).unwrap();
    // A chart doesn't make its namespaces: Helm and the cluster's owner do.
    granted.retain(|object| object["kind"] != "Namespace");
    let order = |objects: &mut Vec<Value>| objects.sort_by_key(ToString::to_string);
    order(&mut rendered);
    order(&mut granted);
    assert_eq!(rendered, granted);
}

#[test]
fn the_chart_has_the_crates_version() {
    let chart = yaml("Chart.yaml");
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
}

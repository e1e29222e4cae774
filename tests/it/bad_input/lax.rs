//! A CRD without rules, as an older one may be: what comes past it harms nobody else.

use std::time::Duration;

use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use sandbox::bank::probe::Side;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::kind::Kind;
use super::{renamed, submit};
use crate::cutover::Night;
use crate::journey::{Journey, NAME, PATIENCE, View, spec};
use crate::traffic::stage::Stage;

/// Takes all rules from a CRD, and waits until the API server goes by that.
async fn loosen(journey: &Journey, kind: Kind) {
    let (crd, word) = match kind {
        Kind::Database => ("databasemigrations.slipway.dev", "DatabaseMigration"),
        Kind::Application => ("applicationmigrations.slipway.dev", "ApplicationMigration"),
    };
    let api = Api::<
        k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    >::all(journey.client.clone());
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let patch = json!([
        {"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema", "value": anything},
    ]);
    let patch: Patch<()> = Patch::Json(serde_json::from_value(patch).unwrap());
    // Selectable fields must be in the schema.
    let fields = json!([{"op": "remove", "path": "/spec/versions/0/selectableFields"}]);
    let fields: Patch<()> = Patch::Json(serde_json::from_value(fields).unwrap());
    api.patch(crd, &PatchParams::default(), &fields).await.unwrap();
    api.patch(crd, &PatchParams::default(), &patch).await.unwrap();
    journey
        .eventually(PATIENCE, "a CRD without rules", || async {
            submit(
                &journey.client,
                kind,
                json!({"apiVersion": "slipway.dev/v1alpha1", "kind": word,
                "metadata": {"name": "probe"}, "spec": 5}),
                true,
            )
            .await
        })
        .await;
}

/// Specs that can't be read: nobody knows what was meant.
fn unreadable() -> Vec<(&'static str, Value)> {
    let deep = (0..60).fold(json!("end"), |inner, _| json!({"deeper": inner}));
    vec![
        ("number", json!(5)),
        ("null", json!(null)),
        ("list", json!([1, 2])),
        ("text", json!("kanarienvogel")),
        ("empty", json!({})),
        ("deep", deep),
        ("huge", json!("x".repeat(500_000))),
        ("goal", json!({"goal": "kanarienvogel"})),
        ("number-for-text", json!({"goal": "Plan", "environmentSuffix": 7})),
    ]
}

/// Bends of a good spec that can be read, past every rule, and what the operator says of them.
fn readable() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("r-host", json!({"source": {"endpoint": {"host": "169.254.169.254"}}}), "spec.source.endpoint.host"),
        (
            "r-url",
            json!({"source": {"endpoint": {"host": "file:///etc/passwd"}}}),
            "spec.source.endpoint.host",
        ),
        ("r-suffix", json!({"environmentSuffix": "../x"}), "spec.environmentSuffix"),
        ("r-attempt", json!({"attempt": 0}), "spec.attempt"),
        (
            "r-secret",
            json!({"source": {"operatorCredentialsRef": {"name": "../../kube-system/secrets/x"}}}),
            "spec.source.operatorCredentialsRef.name",
        ),
        (
            "r-same-secret",
            json!({"target": {"operatorCredentialsRef": {"name": "target-dms"}}}),
            "spec.target.operatorCredentialsRef",
        ),
        (
            "r-storage",
            json!({"replication": {"instance": {"managed": {"storageGiB": -1}}}}),
            "spec.replication.instance.managed.storageGiB",
        ),
        ("r-roles", json!({"source": {"applicationRoles": []}}), "spec.source.applicationRoles"),
        ("r-outage", json!({"cutover": {"maxWriteOutage": "99999h"}}), "spec.cutover.maxWriteOutage"),
        (
            "r-tables",
            json!({"tables": {"include": [{"schema": "pg_catalog"}]}}),
            "spec.tables.include[0].schema",
        ),
        ("r-both", json!({"target": {"endpoint": {"host": "x", "port": 1}}}), "spec.target"),
        ("r-port", json!({"source": {"endpoint": {"port": 0}}}), "spec.source.endpoint.port"),
    ]
}

/// Each that can't be read is told of once, and not again until it changes.
async fn told_once_each(journey: &Journey) {
    journey
        .eventually(PATIENCE, "an event of each that can't be read", || async {
            let events = Api::<Event>::all(journey.client.clone());
            let events = events.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
            for (name, _) in unreadable() {
                let told = events.items.iter().any(|event| {
                    event.regarding.as_ref().and_then(|of| of.name.as_deref()) == Some(&format!("u-{name}"))
                        && event.note.as_deref().is_some_and(|note| note.contains("does not fit the CRD"))
                });
                if !told {
                    return Err(format!("nothing of u-{name}"));
                }
            }
            Ok(())
        })
        .await;
    let log = || std::fs::read_to_string(journey.operator().unwrap().log()).unwrap();
    let count = |log: &str| log.matches("does not fit its CRD").count();
    let before = count(&log());
    sleep(Duration::from_secs(3)).await;
    assert_eq!(count(&log()), before, "a loop over what can't be read");
    assert!(before < 3 * unreadable().len(), "{before} lines of {} resources", unreadable().len());
    assert!(!log().contains("panicked"), "{}", log());
}

#[tokio::test(flavor = "multi_thread")]
async fn past_a_lax_crd_the_malformed_are_told_of_and_the_healthy_reaches_ready() {
    let traced = |options: &mut sandbox::sandbox::Options| options.operator_log = Some("trace".to_owned());
    let mut journey = Box::pin(Journey::begin_with("lax", traced)).await;
    loosen(&journey, Kind::Database).await;
    let good = Kind::Database.good(&journey.example(|_| {}))[0].clone();
    for (name, spec) in unreadable() {
        let mut object = renamed(&good, &format!("u-{name}"), "default");
        object["spec"] = spec;
        submit(&journey.client, Kind::Database, object, false).await.unwrap();
    }
    for (name, bend, _) in readable() {
        let mut object = renamed(&good, name, "default");
        super::written::merge(&mut object["spec"], &bend);
        submit(&journey.client, Kind::Database, object, false).await.unwrap();
    }
    journey.retry = Duration::from_mins(1);
    journey.start_operator();
    Box::pin(journey.apply(|_| {})).await;
    journey.until_replicating(NAME).await;

    for (name, _, field) in readable() {
        let view = journey.until(name, "InvalidSpec", |view| view.is("Stalled", "True", "InvalidSpec")).await;
        assert!(view.message("Stalled").contains(field), "{name}: {}", view.describe());
        assert!(!view.is_held(), "{}", view.describe());
    }
    told_once_each(&journey).await;
    // They can be taken away, or mended, at any time.
    for (name, _) in unreadable() {
        journey.delete(&format!("u-{name}")).await;
        journey.until_gone(&format!("u-{name}")).await;
    }
    journey
        .patch("r-host", spec(json!({"source": {"endpoint": {"host": "localhost"}}, "goal": "Plan"})))
        .await
        .unwrap();
    journey
        .until("r-host", "no more InvalidSpec", |view| {
            view.is_current() && !view.is("Stalled", "True", "InvalidSpec")
        })
        .await;
    journey.delete(NAME).await;
    journey.until_gone(NAME).await;
    journey.end().await;
}

/// Bends of a good application that can be read, past every rule, and what the operator says of them.
fn readable_applications() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        (
            "r-address",
            json!({"source": {"ipv4Addresses": ["169.254.169.254"]}}),
            "spec.source.ipv4Addresses[0]",
        ),
        (
            "r-path",
            json!({"source": {"healthCheck": {"path": "http://169.254.169.254/"}}}),
            "healthCheck.path",
        ),
        ("r-both", json!({"source": {"hostname": "old.bank.example"}}), "spec.source"),
        ("r-suffix", json!({"environmentSuffix": "../x"}), "spec.environmentSuffix"),
        ("r-weight", json!({"traffic": {"maxWeight": 101}}), "spec.traffic.maxWeight"),
        ("r-steps", json!({"traffic": {"steps": []}}), "spec.traffic.steps"),
        (
            "r-wildcard",
            json!({"traffic": {"route53": {"name": "*.bank.example"}}}),
            "spec.traffic.route53.name",
        ),
        (
            "r-ttl",
            json!({"traffic": {"route53": {"ttlSeconds": 2_000_000}}}),
            "spec.traffic.route53.ttlSeconds",
        ),
        (
            "r-gates",
            json!({"gates": [{"name": "q", "sql": {"query": "DROP TABLE x", "expect": ""}}],
            "traffic": {"steps": [{"weight": 100, "hold": "1s"}]}}),
            "spec.gates[0].sql.query",
        ),
        (
            "r-ref",
            json!({"database": {"migrationRef": {"name": "../../x"}}}),
            "spec.database.migrationRef.name",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn past_a_lax_crd_malformed_applications_are_told_of_and_the_healthy_one_is_shifted() {
    const HEALTHY: &str = "healthy";
    let mut stage = Box::pin(Stage::begin_with("lax-application", |options| {
        options.operator_log = Some("trace".to_owned());
        options.delays.dns_in_sync = options.delays.dns_change;
    }))
    .await;
    loosen(&stage.journey, Kind::Application).await;
    let good = Kind::Application.good(&Kind::Application.placed(&stage.journey))[0].clone();
    for (name, spec) in unreadable() {
        let mut object = renamed(&good, &format!("u-{name}"), "default");
        object["spec"] = spec;
        submit(&stage.journey.client, Kind::Application, object, false).await.unwrap();
    }
    for (name, bend, _) in readable_applications() {
        let mut object = renamed(&good, name, "default");
        super::written::merge(&mut object["spec"], &bend);
        submit(&stage.journey.client, Kind::Application, object, false).await.unwrap();
    }
    stage.journey.retry = Duration::from_mins(1);
    stage.journey.start_operator();
    let healthy = stage.quick(HEALTHY, |object| object["spec"]["goal"] = json!("Shift"));
    stage.journey.try_apply(&healthy).await.unwrap();
    stage.until_of(HEALTHY, "shifted", |view| view.is("Ready", "True", "Shifted")).await;
    for (name, _, field) in readable_applications() {
        let view =
            stage.until_of(name, "InvalidSpec", |view| view.is("Stalled", "True", "InvalidSpec")).await;
        assert!(view.message("Stalled").contains(field), "{name}: {}", view.describe());
        assert!(!view.is_held(), "{}", view.describe());
    }
    told_once_each(&stage.journey).await;
    for (name, _) in unreadable() {
        stage.applications().delete(&format!("u-{name}"), &DeleteParams::default()).await.unwrap();
    }
    stage.journey.end().await;
}

/// Spoilt while nobody can write: the move ends by what it began with, and the source takes writes again.
#[tokio::test(flavor = "multi_thread")]
async fn a_spec_that_is_spoilt_in_the_fence_does_not_keep_the_source_closed() {
    let night = Box::pin(Night::begin("spoilt", |object| {
        object["spec"]["cutover"]["maxWriteOutage"] = json!("5s");
    }))
    .await;
    loosen(&night.journey, Kind::Database).await;
    let held = night.held_in_the_fence().await;
    let host = |host: &str| spec(json!({"source": {"endpoint": {"host": host}}}));
    night.journey.patch(NAME, host("169.254.169.254")).await.unwrap();
    night.holder("source").await;
    night.writes().await;
    let told = |view: &View| view.is("Stalled", "True", "InvalidSpec");
    let view = night.journey.until(NAME, "what is wrong with the spec", told).await;
    assert!(view.message("Stalled").contains("spec.source.endpoint.host"), "{}", view.describe());
    drop(held);
    night.journey.patch(NAME, host("localhost")).await.unwrap();
    Box::pin(night.until_back()).await;
    Box::pin(night.ends_with(Side::Source)).await;
}

//! What the status tells, and what it leaves out.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::*;
use crate::application::decide::decide;
use crate::application::decide::tests::world::{World, fault};

fn report(world: &mut World) -> ApplicationMigrationStatus {
    let goal = world.look();
    let decision = decide(&goal, &world.seen);
    status(&goal, &world.seen, &decision, &world.status, Some(1))
}

fn truth(status: &ApplicationMigrationStatus, kind: &str) -> String {
    status.conditions.iter().find(|c| c.type_ == kind).map(|c| c.status.clone()).unwrap_or_default()
}

#[test]
fn a_new_measurement_is_no_news_and_a_new_verdict_is() {
    let mut world = World::at(10).bend(|w| w.spec["traffic"]["maxWeight"] = json!(10));
    world.walk();
    let before = world.status.clone();
    world.pass(SignedDuration::from_secs(90));
    let mut after = report(&mut world);
    assert_ne!(before.gates[0].judged_at, after.gates[0].judged_at);
    assert!(!is_news(&before, &after));
    after.gates[0].result = "Fail".to_owned();
    assert!(is_news(&before, &after));
}

/// A gate whose metric may not be read is waited for, and each refusal has an id of its own.
#[test]
fn another_request_id_is_no_news_wherever_it_stands() {
    let mut world = World::at(10);
    world.walk();
    let refused = |id: &str, end: &str| {
        format!("waiting for gate errors: GetMetricData x: AccessDenied (client error, request {id}{end}")
    };
    let with = |next: String, reason: String| {
        let mut status = world.status.clone();
        status.next = Some(next);
        status.rollback.get_or_insert_default().reason = Some(reason);
        status
    };
    for end in ["): allow it, then weight 50", "): allow it (request it), request y)", ""] {
        let (first, second) = (refused("1-a", end), refused("2-b", end));
        assert!(!is_news(&with(first.clone(), second.clone()), &with(second, first)), "{end}");
    }
    let (denied, gone) = (refused("1-a", "): allow it"), refused("1-a", "): it is not there"));
    assert!(is_news(&with(denied.clone(), String::new()), &with(gone, String::new())));
    assert!(is_news(&with(denied.clone(), denied.clone()), &with(denied, String::new())));
}

#[test]
fn the_status_says_how_both_sides_and_the_gates_stand() {
    let mut world = World::at(10).bend(|w| w.spec["traffic"]["maxWeight"] = json!(10));
    let well = report(&mut world);
    assert_eq!(well.gate_summary.as_deref(), Some("2/2"), "the one that only observes does not count");
    assert_eq!(well.gates.len(), 3);
    assert_eq!(well.writer.as_deref(), Some("Source"));
    assert_eq!(well.rollback.clone().map(|way| way.mode).as_deref(), Some("Instant"));
    for kind in ["Ready", "SourceReady", "TargetReady", "RecordsHeld"] {
        assert_eq!(truth(&well, kind), "True", "{kind}");
    }
    assert_eq!(well.next.as_deref(), Some("waiting for spec.traffic.maxWeight of at least 50"));
    world.sick(Side::Source);
    world.seen.service = Err(fault());
    world.seen.records = Err(fault());
    let sick = report(&mut world);
    assert_eq!(truth(&sick, "SourceReady"), "False");
    assert_eq!(truth(&sick, "TargetReady"), "Unknown");
    assert_eq!(truth(&sick, "RecordsHeld"), "Unknown");
    assert_eq!(truth(&sick, "Ready"), "Unknown");
    assert_eq!(sick.traffic.and_then(|traffic| traffic.weight), Some(10), "as it was read back last");
}

/// While a hold lasts the sentence does not change by itself.
#[test]
fn what_comes_next_has_an_absolute_time() {
    let mut world = World::at(10);
    let mut said = std::collections::BTreeSet::new();
    for _ in 0..200 {
        world.turn(None);
        said.extend(world.status.next.clone().filter(|next| next.contains("hold until")));
    }
    assert_eq!(said.len(), 2, "one for each of the two holds left: {said:?}");
    assert!(said.iter().any(|next| next.contains("then weight 100")), "{said:?}");
}

/// Everything that is written fits the CRD, or the API server would refuse all of it.
#[test]
fn what_is_written_fits_the_crd() {
    use kube::CustomResourceExt;
    fn check(schema: &Value, value: &Value, path: &str) {
        match value {
            Value::String(text) => {
                let most = schema["maxLength"].as_u64().unwrap_or(u64::MAX);
                assert!(text.chars().count() as u64 <= most, "{path}: {text}");
            }
            Value::Array(items) => {
                assert!(items.len() as u64 <= schema["maxItems"].as_u64().unwrap_or(u64::MAX), "{path}");
                for item in items {
                    check(&schema["items"], item, path);
                }
            }
            Value::Object(fields) => {
                for (name, value) in fields {
                    assert!(schema["properties"][name].is_object(), "{path}.{name} is not in the CRD");
                    check(&schema["properties"][name], value, &format!("{path}.{name}"));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let crd = json!(crate::api::application::ApplicationMigration::crd());
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"];
    let long = "x".repeat(5_000);
    let mut world = World::at(50).bend(|w| {
        w.database().writer_word.clone_from(&long);
        w.database().writer = None;
        w.seen.health.source = Err(crate::fault::Fault::Again(long.clone()));
        w.spec["goal"] = json!("Stage");
    });
    for _ in 0..100 {
        let goal = world.look();
        let decision = decide(&goal, &world.seen);
        let decision = Decision { drift: Some(long.clone()), next: long.clone(), ..decision };
        world.status = status(&goal, &world.seen, &decision, &world.status, Some(1));
        // Another phase each time: the history stays bounded.
        world.status.phase = None;
    }
    assert_eq!(world.status.history.len(), HISTORY_MAX);
    check(schema, &json!(world.status), "status");
}

//! What a spec becomes, and what is refused.

use serde_json::{Value, json};

use super::*;
use crate::api::application::ApplicationMigration;
use crate::gate::{Limit, Rule};

fn example() -> Value {
    let text = include_str!("../../../examples/application-migration.yaml");
    let object: ApplicationMigration = serde_saphyr::from_str(text).expect("it can be read");
    json!(object)
}

fn parse(object: &Value) -> Result<Goal, Blocked> {
    Goal::parse(&serde_json::from_value(object.clone()).expect("an ApplicationMigration"))
}

#[test]
fn the_example_is_a_goal() {
    let goal = parse(&example()).expect("a goal");
    assert_eq!(goal.names.alarm_errors, "alarm-target-5xx-payments-api-dev");
    assert_eq!(goal.names.dashboard, "dashboard-payments-api-dev");
    assert_eq!(goal.record.marker(), "slipway.api.bank.example");
    assert_eq!((goal.ceiling(), goal.index_of(25), goal.steps.len()), (25, 3, 5));
    assert!(matches!(&goal.gates[1].rule, Rule::Metric { limit: Limit::OfSource { percent: 120, .. }, .. }));
    assert_eq!(goal.gates[1].failures_to_trip, 3);
}

#[test]
fn the_ceiling_is_a_step_and_falls_with_the_latch_and_the_brake() {
    for (bend, expected) in [
        (json!({}), 25),
        (json!({"goal": "Stage"}), 0),
        (json!({"goal": "Plan"}), 0),
        (json!({"goal": "Finish"}), 25),
        (json!({"attempt": 2, "abortAttempt": 1}), 25),
        (json!({"attempt": 2, "abortAttempt": 2}), 0),
        (json!({"attempt": 2, "abortAttempt": 3}), 0),
    ] {
        let mut object = example();
        for (field, value) in bend.as_object().expect("fields") {
            object["spec"][field] = value.clone();
        }
        assert_eq!(parse(&object).expect("a goal").ceiling(), expected, "{bend}");
    }
    for (most, expected) in [(0, 0), (1, 1), (9, 1), (10, 10), (99, 50), (100, 100)] {
        let mut object = example();
        object["spec"]["traffic"]["maxWeight"] = json!(most);
        assert_eq!(parse(&object).expect("a goal").ceiling(), expected, "{most}");
    }
    let mut object = example();
    object["status"] = json!({"latch": {"attempt": 1, "reason": "GateFailed", "at": "2026-11-23T12:00:00Z"}});
    assert_eq!(parse(&object).expect("a goal").ceiling(), 0);
    object["spec"]["attempt"] = json!(2);
    assert_eq!(parse(&object).expect("a goal").ceiling(), 25);
}

/// An object may have come past the CRD's rules: each is held here, too.
#[test]
fn what_admission_refuses_is_refused_here_too() {
    type Bend = fn(&mut Value);
    let bends: [(&str, Bend); 32] = [
        ("metadata.name", |o| o["metadata"]["name"] = json!("a--b")),
        ("metadata.name", |o| o["metadata"]["name"] = json!("x".repeat(38))),
        ("spec.environmentSuffix", |o| o["spec"]["environmentSuffix"] = json!("Dev")),
        ("spec.attempt", |o| o["spec"]["attempt"] = json!(0)),
        ("spec.database", |o| o["spec"]["database"] = json!({"type": "Migration"})),
        ("spec.gates[3]", |o| o["spec"]["database"] = json!({"type": "None"})),
        ("spec.source", |o| o["spec"]["source"]["hostname"] = json!("old.bank.example")),
        ("spec.source.ipv4Addresses[0]", |o| {
            o["spec"]["source"]["ipv4Addresses"] = json!(["169.254.169.254"]);
        }),
        ("spec.source.ipv4Addresses[0]", |o| {
            o["spec"]["source"]["ipv4Addresses"] = json!(["169.254.169.254"]);
        }),
        ("spec.source.ipv4Addresses[0]", |o| o["spec"]["source"]["ipv4Addresses"] = json!(["010.0.0.1"])),
        ("spec.source.ipv4Addresses", |o| o["spec"]["source"]["ipv4Addresses"] = json!([])),
        ("spec.source.hostname", |o| {
            o["spec"]["source"] = json!({"hostname": "2130706433", "healthCheck": {"path": "/"}});
        }),
        ("spec.source.hostname", |o| {
            o["spec"]["source"] =
                json!({"hostname": "metadata.google.internal", "healthCheck": {"path": "/"}});
        }),
        ("spec.source.healthCheck.path", |o| o["spec"]["source"]["healthCheck"]["path"] = json!("//x y")),
        ("spec.target.loadBalancerARN", |o| o["spec"]["target"]["loadBalancerARN"] = json!("arn:aws:s3:::x")),
        ("spec.traffic.route53.ttlSeconds", |o| o["spec"]["traffic"]["route53"]["ttlSeconds"] = json!(301)),
        ("spec.traffic.route53.name", |o| o["spec"]["traffic"]["route53"]["name"] = json!("*.bank.example")),
        ("spec.traffic.maxWeight", |o| o["spec"]["traffic"]["maxWeight"] = json!(101)),
        ("spec.traffic.steps", |o| o["spec"]["traffic"]["steps"] = json!([{"weight": 50, "hold": "1m"}])),
        ("spec.traffic.steps", |o| {
            o["spec"]["traffic"]["steps"] =
                json!([{"weight": 100, "hold": "1m"}, {"weight": 100, "hold": "1m"}]);
        }),
        ("spec.traffic.steps[0].hold", |o| o["spec"]["traffic"]["steps"][0]["hold"] = json!("500ms")),
        ("spec.traffic.steps[0].gates", |o| o["spec"]["traffic"]["steps"][0]["gates"] = json!(["nobody"])),
        ("spec.gates[0]", |o| o["spec"]["gates"][0]["databaseVerified"] = json!({})),
        ("spec.gates[0].interval", |o| o["spec"]["gates"][0]["interval"] = json!("0s")),
        ("spec.gates[1].metric", |o| o["spec"]["gates"][1]["metric"]["threshold"] = json!("5")),
        ("spec.gates[1].metric.dimensions", |o| {
            o["spec"]["gates"][1]["metric"]["dimensions"] = json!({"": "x"});
        }),
        ("spec.gates[1].metric.dimensions", |o| {
            o["spec"]["gates"][1]["metric"]["dimensions"] = json!({("k".repeat(256)): "x"});
        }),
        ("spec.gates[1].metric.dimensions", |o| {
            o["spec"]["gates"][1]["metric"]["dimensions"] = json!({":a": "x"});
        }),
        ("spec.gates[1].metric.sourceDimensions", |o| {
            o["spec"]["gates"][1]["metric"]["sourceDimensions"] = json!({"LoadBalancer": ""});
        }),
        ("spec.gates[2].http.path", |o| o["spec"]["gates"][2]["http"]["path"] = json!("/login#top")),
        ("spec.gates[2].http.path", |o| o["spec"]["gates"][2]["http"]["path"] = json!("/<login>")),
        ("spec.gates[3].databaseLag.max", |o| o["spec"]["gates"][3]["databaseLag"]["max"] = json!("0s")),
    ];
    for (field, bend) in bends {
        let mut object = example();
        bend(&mut object);
        let blocked = parse(&object).expect_err(field);
        assert_eq!(blocked.reason, Reason::InvalidSpec);
        assert!(blocked.message.starts_with(&format!("{field} ")), "{field}: {}", blocked.message);
    }
}

#[test]
fn numbers_of_a_status_that_no_version_writes_are_as_if_lost() {
    for traffic in [
        json!({"requestedWeight": 101, "attempt": 1}),
        json!({"requestedWeight": -1, "attempt": 1}),
        json!({"requestedWeight": 10}),
        json!({}),
    ] {
        let mut object = example();
        object["status"] = json!({"traffic": traffic});
        assert_eq!(parse(&object).expect("a goal").requested, None, "{traffic}");
    }
}

/// A message that refuses names the field and says what to do, so that nobody has to look for either.
#[test]
fn every_rule_of_the_crd_names_a_field_and_a_remedy() {
    use kube::CustomResourceExt;
    fn collect(schema: &Value, found: &mut Vec<String>) {
        match schema {
            Value::Object(fields) => {
                if let Some(rules) = fields.get("x-kubernetes-validations").and_then(Value::as_array) {
                    found.extend(
                        rules.iter().map(|rule| rule["message"].as_str().unwrap_or_default().to_owned()),
                    );
                }
                fields.values().for_each(|value| collect(value, found));
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let crd = json!(ApplicationMigration::crd());
    let mut messages = Vec::new();
    collect(&crd, &mut messages);
    assert!(messages.len() >= 20, "{messages:#?}");
    for message in messages {
        let names = ["spec.", "metadata.", "environmentSuffix"].iter().any(|word| message.contains(word));
        assert!(names && message.len() > 25, "{message:?}");
    }
    let names = &crd["spec"]["names"];
    assert_eq!(names["shortNames"], json!(["appmigration", "appm"]));
    assert_eq!(names["categories"], json!(["migrations"]));
    let columns: Vec<&str> = crd["spec"]["versions"][0]["additionalPrinterColumns"]
        .as_array()
        .expect("columns")
        .iter()
        .filter(|column| column["priority"].as_i64().unwrap_or(0) == 0)
        .filter_map(|column| column["name"].as_str())
        .collect();
    assert_eq!(columns, ["Phase", "Ready", "Step", "Weight", "Writer", "Gates", "Rollback", "Next", "Age"]);
}

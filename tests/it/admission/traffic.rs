//! The same for `ApplicationMigration`.

use serde_json::{Value, json};

use super::{Case, remove};

/// The example's manifest.
pub(super) fn example() -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/application-migration.yaml");
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = of_places();
    cases.extend(of_traffic());
    cases.extend(of_gates());
    cases
}

fn of_places() -> Vec<Case> {
    vec![
        ("the example", |_| {}, None),
        ("no goal", |o| drop(remove(o, "/spec", "goal")), Some("spec.goal: Required value")),
        ("a database's goal", |o| o["spec"]["goal"] = json!("CutOver"), Some("spec.goal: Unsupported value")),
        ("a name with a dot", |o| o["metadata"]["name"] = json!("a.b"), Some("metadata.name: lower case")),
        (
            "a migration without its name",
            |o| drop(remove(o, "/spec/database", "migrationRef")),
            Some("spec.database: migrationRef is needed"),
        ),
        (
            "a name without a migration",
            |o| o["spec"]["database"]["type"] = json!("Shared"),
            Some("spec.database: migrationRef is needed"),
        ),
        (
            "no place of the source",
            |o| drop(remove(o, "/spec/source", "ipv4Addresses")),
            Some("spec.source: exactly one of ipv4Addresses and hostname"),
        ),
        (
            "two places of the source",
            |o| o["spec"]["source"]["hostname"] = json!("old.bank.example"),
            Some("spec.source: exactly one of ipv4Addresses and hostname"),
        ),
        (
            "the cloud's metadata",
            |o| o["spec"]["source"]["ipv4Addresses"] = json!(["169.254.169.254"]),
            Some("spec.source.ipv4Addresses"),
        ),
        (
            "no address",
            |o| o["spec"]["source"]["ipv4Addresses"] = json!(["bank"]),
            Some("spec.source.ipv4Addresses"),
        ),
        (
            "a URL as a path",
            |o| o["spec"]["source"]["healthCheck"]["path"] = json!("http://x/"),
            Some("spec.source.healthCheck.path"),
        ),
        (
            "a load balancer of another kind",
            |o| {
                o["spec"]["target"]["loadBalancerARN"] =
                    json!("arn:aws:elasticloadbalancing:us-east-1:111122223333:loadbalancer/net/x/1");
            },
            Some("spec.target.loadBalancerARN"),
        ),
    ]
}

fn of_traffic() -> Vec<Case> {
    vec![
        (
            "no highest weight",
            |o| drop(remove(o, "/spec/traffic", "maxWeight")),
            Some("spec.traffic.maxWeight: Required value"),
        ),
        ("101 %", |o| o["spec"]["traffic"]["maxWeight"] = json!(101), Some("spec.traffic.maxWeight")),
        (
            "steps that fall",
            |o| {
                o["spec"]["traffic"]["steps"] =
                    json!([{"weight": 50, "hold": "1m"}, {"weight": 10, "hold": "1m"}]);
            },
            Some("weights must strictly rise and end at 100"),
        ),
        (
            "steps that end below 100",
            |o| o["spec"]["traffic"]["steps"] = json!([{"weight": 50, "hold": "1m"}]),
            Some("weights must strictly rise and end at 100"),
        ),
        (
            "a step without a hold",
            |o| o["spec"]["traffic"]["steps"] = json!([{"weight": 100, "hold": "0s"}]),
            Some("hold must be at least 1s"),
        ),
        (
            "a step with a gate that is not there",
            |o| o["spec"]["traffic"]["steps"][0]["gates"] = json!(["nobody"]),
            Some("a step names a gate that spec.gates does not define"),
        ),
        (
            "a name with a dot at its end",
            |o| o["spec"]["traffic"]["route53"]["name"] = json!("api.bank.example."),
            Some("spec.traffic.route53.name"),
        ),
        (
            "a TTL of an hour",
            |o| o["spec"]["traffic"]["route53"]["ttlSeconds"] = json!(3600),
            Some("spec.traffic.route53.ttlSeconds"),
        ),
    ]
}

fn of_gates() -> Vec<Case> {
    vec![
        (
            "a gate of two kinds",
            |o| o["spec"]["gates"][0]["databaseVerified"] = json!({}),
            Some("spec.gates: exactly one of alarm"),
        ),
        (
            "a gate of no kind",
            |o| drop(remove(o, "/spec/gates/0", "alarm")),
            Some("spec.gates: exactly one of alarm"),
        ),
        (
            "two gates of a name",
            |o| o["spec"]["gates"][1]["name"] = json!("errors"),
            Some("spec.gates[1]: Duplicate value"),
        ),
        (
            "a gate that is judged all the time",
            |o| o["spec"]["gates"][0]["interval"] = json!("10ms"),
            Some("interval must be at least 1s"),
        ),
        (
            "a metric with two limits",
            |o| o["spec"]["gates"][1]["metric"]["threshold"] = json!("5"),
            Some("exactly one of metric.threshold and metric.maxRatioToSourcePercent"),
        ),
        (
            "a question to no database",
            |o| {
                o["spec"]["database"] = json!({"type": "None"});
            },
            Some("databaseLag, databaseVerified and sql need spec.database.type Migration"),
        ),
        (
            "a question that is none",
            |o| {
                o["spec"]["gates"][0] =
                    json!({"name": "q", "sql": {"query": "DELETE FROM t", "expect": "1"}});
            },
            Some("sql.query is one query that begins with SELECT"),
        ),
    ]
}

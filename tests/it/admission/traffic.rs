//! The same for `ApplicationMigration`.

use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
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

/// Rules that look at what was before. What stands in Route 53, and what the writer's proof rests on, does not change under it.
pub(super) async fn transitions(api: &Api<DynamicObject>, wrong: &mut Vec<String>) {
    let name = "payments-api";
    let object: DynamicObject = serde_json::from_value(example()).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap();
    let params = PatchParams::default();
    let dry = PatchParams { dry_run: true, ..PatchParams::default() };
    let mut expect = async |what: &str, spec: &Value, words: Option<&str>| {
        let patch = Patch::Merge(json!({ "spec": spec }));
        let verdict = api.patch(name, &dry, &patch).await.map(|_| ()).map_err(|error| error.to_string());
        match (&verdict, words) {
            (Ok(()), None) => {}
            (Err(message), Some(words)) if message.contains(words) => {}
            _ => wrong.push(format!("{what} {spec}: {verdict:?}, expected {words:?}")),
        }
    };
    let balancer = "arn:aws:elasticloadbalancing:us-east-1:111122223333:loadbalancer/app/other/1";
    let group = "arn:aws:elasticloadbalancing:us-east-1:111122223333:targetgroup/other/1";
    let fixed = [
        json!({"target": {"loadBalancerARN": balancer}}),
        json!({"target": {"targetGroupARN": group}}),
        json!({"target": {"ecsService": {"cluster": "other"}}}),
        json!({"target": {"ecsService": {"service": "other"}}}),
        json!({"database": {"migrationRef": {"name": "other"}}}),
        json!({"database": {"type": "Shared", "migrationRef": null}, "gates": null}),
        json!({"traffic": {"route53": {"zoneID": "Z0OTHER"}}}),
        json!({"traffic": {"route53": {"name": "other.bank.example"}}}),
        json!({"source": {"ipv4Addresses": null, "hostname": "old.bank.example"}}),
    ];
    let free = [
        json!({"goal": "Stage"}),
        json!({"goal": "Finish"}),
        json!({"attempt": 7}),
        json!({"attempt": 1}),
        json!({"abortAttempt": 1}),
        json!({"suspend": true}),
        json!({"source": {"ipv4Addresses": ["203.0.113.12"]}}),
        json!({"source": {"healthCheck": {"protocol": "HTTP", "port": 80, "path": "/"}}}),
        json!({"traffic": {"route53": {"ttlSeconds": 10, "existingRecord": "Refuse"}}}),
        json!({"traffic": {"maxWeight": 0}}),
        json!({"traffic": {"steps": [{"weight": 100, "hold": "1m"}], "onFailure": "Hold"}}),
        json!({"gates": null}),
        json!({"alarms": null}),
        json!({"deletionPolicy": "Retain"}),
    ];
    let suffix = json!({"environmentSuffix": "prod"});
    for change in fixed.iter().chain(&free) {
        expect("while nothing is made", change, None).await;
    }
    expect("while nothing is made", &json!({"goal": "Plan"}), None).await;
    expect("at any time", &suffix, Some("environmentSuffix is immutable")).await;
    let status = |status: Value| Patch::Merge(json!({ "status": status }));
    let staged = status(json!({"provisionedAt": "2026-11-23T12:00:00Z"}));
    api.patch_status(name, &params, &staged).await.unwrap();
    for change in &fixed {
        expect("once something is staged", change, Some("cannot change once something was staged")).await;
    }
    for change in &free {
        expect("once something is staged", change, None).await;
    }
    expect("staged", &json!({"goal": "Plan"}), Some("spec.goal: cannot return to Plan")).await;
    let ended = status(json!({"pointOfNoReturnAt": "2026-11-23T13:00:00Z"}));
    api.patch_status(name, &params, &ended).await.unwrap();
    expect("after the way back was removed", &json!({"goal": "Stage"}), Some("only Finish is possible"))
        .await;
    expect("after the way back was removed", &json!({"goal": "Finish"}), None).await;
    // The goal as it is may stay, whatever it is: nobody is kept from changing something else.
    expect("after the way back was removed", &json!({"suspend": true}), None).await;
}

//! What the API server itself refuses, with the field's name, before the operator ever sees it.

use std::path::Path;

use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use sandbox::cluster::Cluster;
use serde_json::{Value, json};

mod traffic;

fn example() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/database-migration.yaml");
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// How a manifest is bent, and what the refusal must say; `None` where it must be accepted.
type Case = (&'static str, fn(&mut Value), Option<&'static str>);

fn cases() -> Vec<Case> {
    vec![
        ("the example", |_| {}, None),
        ("goal Plan", |o| o["spec"]["goal"] = json!("Plan"), None),
        ("no goal", |o| drop(remove(o, "/spec", "goal")), Some("spec.goal: Required value")),
        (
            "a goal that is none",
            |o| o["spec"]["goal"] = json!("Rollback"),
            Some("spec.goal: Unsupported value: \"Rollback\""),
        ),
        (
            "an upper case suffix",
            |o| o["spec"]["environmentSuffix"] = json!("Dev"),
            Some("spec.environmentSuffix"),
        ),
        (
            "a suffix with two hyphens",
            |o| o["spec"]["environmentSuffix"] = json!("a--b"),
            Some("spec.environmentSuffix"),
        ),
        (
            "a long suffix",
            |o| o["spec"]["environmentSuffix"] = json!("a".repeat(21)),
            Some("spec.environmentSuffix: Too long"),
        ),
        (
            "a name with a dot",
            |o| o["metadata"]["name"] = json!("payments.db"),
            Some("metadata.name: lower case"),
        ),
        (
            "name and suffix too long",
            |o| o["metadata"]["name"] = json!("p".repeat(38)),
            Some("at most 40 characters"),
        ),
        (
            "no host",
            |o| o["spec"]["source"]["endpoint"]["host"] = json!(""),
            Some("spec.source.endpoint.host"),
        ),
        (
            "a host with userinfo",
            |o| o["spec"]["source"]["endpoint"]["host"] = json!("a@b"),
            Some("spec.source.endpoint.host"),
        ),
        (
            "a host that is a URL",
            |o| o["spec"]["source"]["endpoint"]["host"] = json!("http://x/"),
            Some("spec.source.endpoint.host"),
        ),
        ("port 0", |o| o["spec"]["source"]["endpoint"]["port"] = json!(0), Some("spec.source.endpoint.port")),
        (
            "port 65536",
            |o| o["spec"]["source"]["endpoint"]["port"] = json!(65536),
            Some("spec.source.endpoint.port"),
        ),
        ("no CA", |o| drop(remove(o, "/spec/source", "tls")), Some("spec.source.tls: Required value")),
        (
            "TLS switched off",
            |o| o["spec"]["source"]["tls"]["mode"] = json!("Disable"),
            Some("spec.source.tls.mode: Unsupported value"),
        ),
        (
            "a CA of another kind",
            |o| o["spec"]["source"]["tls"]["caRef"]["kind"] = json!("Pod"),
            Some("spec.source.tls.caRef.kind"),
        ),
        (
            "another namespace's secret",
            |o| o["spec"]["source"]["operatorCredentialsRef"]["namespace"] = json!("kube-system"),
            Some("unknown field"),
        ),
        ("a password in the spec", |o| o["spec"]["source"]["password"] = json!("x"), Some("unknown field")),
        (
            "no application role",
            |o| o["spec"]["source"]["applicationRoles"] = json!([]),
            Some("spec.source.applicationRoles"),
        ),
        (
            "a role twice",
            |o| o["spec"]["source"]["applicationRoles"] = json!(["a", "a"]),
            Some("Duplicate value"),
        ),
        (
            "both targets",
            |o| o["spec"]["target"]["endpoint"] = json!({"host": "x"}),
            Some("exactly one of endpoint and rdsInstanceIdentifier"),
        ),
        (
            "no target",
            |o| drop(remove(o, "/spec/target", "rdsInstanceIdentifier")),
            Some("exactly one of endpoint and rdsInstanceIdentifier"),
        ),
        (
            "a target by address",
            |o| {
                remove(o, "/spec/target", "rdsInstanceIdentifier");
                o["spec"]["target"]["endpoint"] = json!({"host": "db.example"});
            },
            None,
        ),
        ("no table", |o| o["spec"]["tables"]["include"] = json!([]), Some("spec.tables.include")),
        (
            "a wildcard of DMS's",
            |o| o["spec"]["tables"]["include"] = json!([{"schema": "pub%"}]),
            Some("spec.tables.include[0].schema"),
        ),
        (
            "an existing instance",
            |o| {
                o["spec"]["replication"]["instance"] =
                    json!({"arn": "arn:aws:dms:us-east-1:111122223333:rep:ABC"});
            },
            None,
        ),
        (
            "both instances",
            |o| {
                o["spec"]["replication"]["instance"]["arn"] =
                    json!("arn:aws:dms:us-east-1:111122223333:rep:ABC");
            },
            Some("exactly one of arn"),
        ),
        (
            "another service's ARN",
            |o| {
                o["spec"]["replication"]["instance"] =
                    json!({"arn": "arn:aws:rds:us-east-1:111122223333:db:x"});
            },
            Some("spec.replication.instance.arn"),
        ),
        ("an EC2 class", |o| managed(o)["class"] = json!("r6i.large"), Some("managed.class")),
        ("no storage", |o| managed(o)["storageGiB"] = json!(1), Some("managed.storageGiB")),
        ("one subnet", |o| managed(o)["subnetIDs"] = json!(["subnet-0a"]), Some("managed.subnetIDs")),
        (
            "a subnet by name",
            |o| managed(o)["subnetIDs"] = json!(["subnet-0a", "private"]),
            Some("managed.subnetIDs[1]"),
        ),
        (
            "no security group",
            |o| managed(o)["securityGroupIDs"] = json!([]),
            Some("managed.securityGroupIDs"),
        ),
        (
            "too many tables at once",
            |o| o["spec"]["replication"]["tuning"] = json!({"parallelTables": 50}),
            Some("tuning.parallelTables"),
        ),
        ("raw settings", |o| o["spec"]["replication"]["settings"] = json!("{}"), Some("unknown field")),
        (
            "a threshold without a unit",
            |o| o["spec"]["alarms"]["lagThreshold"] = json!("60"),
            Some("spec.alarms.lagThreshold"),
        ),
        (
            "a threshold of nothing",
            |o| o["spec"]["alarms"]["lagThreshold"] = json!("0s"),
            Some("at least 1s"),
        ),
        (
            "a topic that is none",
            |o| o["spec"]["alarms"]["snsTopicARN"] = json!("alerts"),
            Some("spec.alarms.snsTopicARN"),
        ),
        ("CutOver", |o| o["spec"]["goal"] = json!("CutOver"), None),
        (
            "CutOver without a connection",
            |o| {
                o["spec"]["goal"] = json!("CutOver");
                remove(o, "/spec/cutover", "connection");
            },
            Some("spec.cutover.connection: goals CutOver and Finish need it"),
        ),
        (
            "CutOver with nothing about it",
            |o| {
                o["spec"]["goal"] = json!("Finish");
                remove(o, "/spec", "cutover");
            },
            Some("spec.cutover.connection: goals CutOver and Finish need it"),
        ),
        (
            "two connections",
            |o| {
                let arn = "arn:aws:secretsmanager:us-east-1:111122223333:secret:app-AbCdEf";
                o["spec"]["cutover"]["connection"]["secret"] = json!({"secretARN": arn});
            },
            Some("exactly one of record, secret and multiHost"),
        ),
        (
            "a record alone",
            |o| {
                o["spec"]["cutover"]["connection"] =
                    json!({"record": {"zoneID": "Z0A1", "name": "db.bank.example"}});
            },
            None,
        ),
        (
            "a secret that is none of Secrets Manager",
            |o| o["spec"]["cutover"]["connection"] = json!({"secret": {"secretARN": "app"}}),
            Some("spec.cutover.connection.secret.secretARN"),
        ),
        (
            "an outage too short to be one",
            |o| o["spec"]["cutover"]["maxWriteOutage"] = json!("1s"),
            Some("spec.cutover.maxWriteOutage must be between 5s and 10m"),
        ),
        (
            "a window that ends before it begins",
            |o| {
                o["spec"]["cutover"]["notBefore"] = json!("2026-12-01T02:00:00Z");
                o["spec"]["cutover"]["notAfter"] = json!("2026-12-01T01:00:00Z");
            },
            Some("notBefore must be earlier than notAfter"),
        ),
        ("attempt 0", |o| o["spec"]["attempt"] = json!(0), Some("spec.attempt")),
        (
            "an invariant without a question",
            |o| o["spec"]["verification"] = json!({"invariants": [{"name": "money", "sql": ""}]}),
            Some("spec.verification.invariants[0].sql"),
        ),
        (
            "two invariants of one name",
            |o| {
                let one = json!({"name": "money", "sql": "SELECT 1"});
                o["spec"]["verification"] = json!({"invariants": [one, one]});
            },
            Some("Duplicate value"),
        ),
        (
            "another deletion policy",
            |o| o["spec"]["deletionPolicy"] = json!("Orphan"),
            Some("spec.deletionPolicy: Unsupported value"),
        ),
    ]
}

fn managed(object: &mut Value) -> &mut Value {
    &mut object["spec"]["replication"]["instance"]["managed"]
}

fn remove(object: &mut Value, parent: &str, key: &str) -> Option<Value> {
    object.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_refuses_what_can_not_be_with_the_fields_name() {
    let directory = std::env::temp_dir().join(format!("slipway-admission-{}", std::process::id()));
    let cluster = Cluster::start(&directory).await.unwrap();
    let client = cluster.client().await.unwrap();
    Box::pin(sandbox::sandbox::install_crds(&client)).await.unwrap();
    let api: Api<DynamicObject> = sandbox::sandbox::migrations(client.clone(), "default");
    let of_traffic = sandbox::sandbox::applications(client, "default");
    let strict = PostParams { dry_run: true, ..PostParams::default() };
    let mut wrong = Vec::new();
    let databases = cases().into_iter().map(|case| (&api, example(), case));
    let applications = traffic::cases().into_iter().map(|case| (&of_traffic, traffic::example(), case));
    for (api, mut object, (what, bend, expected)) in databases.chain(applications) {
        bend(&mut object);
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        let verdict = create_strictly(api, &strict, &object).await;
        match (&verdict, expected) {
            (Ok(()), None) => {}
            (Err(message), Some(words)) if message.contains(words) => {}
            _ => wrong.push(format!("{what}: {verdict:?}, expected {expected:?}")),
        }
    }
    transitions(&api, &mut wrong).await;
    Box::pin(traffic::transitions(&of_traffic, &mut wrong)).await;
    cluster.stop().await.unwrap();
    let _ = std::fs::remove_dir_all(&directory);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// As `kubectl` does it: unknown fields are refused, not dropped.
async fn create_strictly(
    api: &Api<DynamicObject>,
    params: &PostParams,
    object: &DynamicObject,
) -> Result<(), String> {
    let mut request = kube::core::Request::new(api.resource_url())
        .create(params, serde_json::to_vec(object).unwrap())
        .unwrap();
    let uri = request.uri().to_string();
    let joint = if uri.contains('?') { '&' } else { '?' };
    *request.uri_mut() = format!("{uri}{joint}fieldValidation=Strict").parse().unwrap();
    api.clone().into_client().request::<DynamicObject>(request).await.map(|_| ()).map_err(|e| e.to_string())
}

/// Rules that look at what was before.
async fn transitions(api: &Api<DynamicObject>, wrong: &mut Vec<String>) {
    let object: DynamicObject = serde_json::from_value(example()).unwrap();
    let name = "payments-db";
    api.create(&PostParams::default(), &object).await.unwrap();
    let params = PatchParams::default();
    let mut expect = async |what: &str, patch: Value, words: Option<&str>| {
        let verdict =
            api.patch(name, &params, &Patch::Merge(patch)).await.map(|_| ()).map_err(|e| e.to_string());
        match (&verdict, words) {
            (Ok(()), None) => {}
            (Err(message), Some(words)) if message.contains(words) => {}
            _ => wrong.push(format!("{what}: {verdict:?}, expected {words:?}")),
        }
    };
    expect("back to Plan while nothing is made", json!({"spec": {"goal": "Plan"}}), None).await;
    expect(
        "another suffix",
        json!({"spec": {"environmentSuffix": "prod"}}),
        Some("environmentSuffix is immutable"),
    )
    .await;
    expect("forward", json!({"spec": {"goal": "Replicate"}}), None).await;
    expect(
        "other tables while nothing is made",
        json!({"spec": {"tables": {"include": [{"schema": "bank"}]}}}),
        None,
    )
    .await;
    let status = json!({"status": {"provisionedAt": "2026-11-23T12:00:00Z"}});
    api.patch_status(name, &params, &Patch::Merge(status)).await.unwrap();
    expect("back to Plan", json!({"spec": {"goal": "Plan"}}), Some("spec.goal: cannot return to Plan")).await;
    expect(
        "other tables",
        json!({"spec": {"tables": {"include": [{"schema": "public"}]}}}),
        Some("cannot change once replication exists"),
    )
    .await;
    expect(
        "another database",
        json!({"spec": {"target": {"database": "x"}}}),
        Some("cannot change once replication exists"),
    )
    .await;
    expect("a lower attempt", json!({"spec": {"attempt": 1}}), None).await;
    expect("the cutover", json!({"spec": {"goal": "CutOver"}}), None).await;
    expect("back from it", json!({"spec": {"goal": "Replicate"}}), None).await;
    expect("the brake", json!({"spec": {"abortAttempt": 1}}), None).await;
    expect("the end", json!({"spec": {"goal": "Finish"}}), None).await;
    expect("suspend", json!({"spec": {"suspend": true}}), None).await;
    expect(
        "another host after a failover",
        json!({"spec": {"source": {"endpoint": {"host": "pg02.bank.example"}}}}),
        None,
    )
    .await;
    let status = json!({"status": {"pointOfNoReturnAt": "2026-11-23T13:00:00Z"}});
    api.patch_status(name, &params, &Patch::Merge(status)).await.unwrap();
    expect(
        "back after the point of no return",
        json!({"spec": {"goal": "CutOver"}}),
        Some("only Finish is possible"),
    )
    .await;
}

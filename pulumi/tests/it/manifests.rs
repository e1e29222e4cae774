//! What is handed to the control cluster is what its API takes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value as Json;
use slipway_infra::pulumi::Value;

use crate::mock::{Mock, Record, build_with, config, urn};

/// As AWS answers them.
fn answers() -> BTreeMap<String, BTreeMap<String, Value>> {
    let answer = |kind: &str, property: &str, value: &str| {
        let fields = BTreeMap::from([(property.to_owned(), Value::Text(value.to_owned()))]);
        (format!("aws:{kind}"), fields)
    };
    let elb = "arn:aws:elasticloadbalancing:us-east-1:111122223333";
    BTreeMap::from([
        answer(
            "dms/replicationInstance:ReplicationInstance",
            "replicationInstanceArn",
            "arn:aws:dms:us-east-1:111122223333:rep:ABCDEFGHIJ",
        ),
        answer("sns/topic:Topic", "arn", "arn:aws:sns:us-east-1:111122223333:topic-alerts-dev"),
        answer("lb/loadBalancer:LoadBalancer", "arn", &format!("{elb}:loadbalancer/app/alb-dev/1")),
        answer("lb/targetGroup:TargetGroup", "arn", &format!("{elb}:targetgroup/tg-ecs-dev/1")),
        answer("route53/zone:Zone", "zoneId", "Z0123456789"),
        answer("iam/role:Role", "arn", "arn:aws:iam::111122223333:role/x"),
    ])
}

fn run(changes: &[(&str, &str)]) -> Record {
    let (record, end) = build_with(Mock { answers: answers(), ..Mock::default() }, &config(changes));
    assert_eq!(end, Ok(()));
    record
}

fn output(record: &Record, name: &str) -> Json {
    json(&record.outputs[&urn("pulumi:pulumi:Stack", "slipway-dev")][name])
}

fn json(value: &Value) -> Json {
    match value {
        Value::Bool(it) => (*it).into(),
        Value::Number(it) if it.fract() == 0.0 => serde_json::from_str(&format!("{it}")).unwrap(),
        Value::Text(it) => it.as_str().into(),
        Value::List(it) => it.iter().map(json).collect(),
        Value::Map(it) => it.iter().map(|(name, it)| (name.clone(), json(it))).collect(),
        other => panic!("{other:?} in a manifest"),
    }
}

/// The schema of `spec` of a kind: the generated one, or, as long as none is served, the one that was agreed on.
fn schema(kind: &str) -> Json {
    let plural = format!("{}s", kind.to_lowercase());
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let served = root.join(format!("../crds/{plural}.slipway.dev.yaml"));
    let agreed = root.join(format!("tests/crds/{plural}.json"));
    let text = std::fs::read_to_string(if served.exists() { served } else { agreed }).unwrap();
    let crd: Json = serde_saphyr::from_str(&text).unwrap();
    let version = &crd["spec"]["versions"][0];
    assert_eq!(version["name"], "v1alpha1");
    version["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
}

/// All that the API server would refuse, but for rules in CEL.
fn refused(path: &str, value: &Json, schema: &Json, found: &mut Vec<String>) {
    let kind = match value {
        Json::String(_) => "string",
        Json::Bool(_) => "boolean",
        Json::Number(it) if it.is_i64() || it.is_u64() => "integer",
        Json::Number(_) => "number",
        Json::Array(_) => "array",
        _ => "object",
    };
    if schema["type"] != kind {
        found.push(format!("{path}: {kind} for {}", schema["type"]));
        return;
    }
    if let Some(values) = schema["enum"].as_array()
        && !values.contains(value)
    {
        found.push(format!("{path}: {value} is not in the enum"));
    }
    if let (Some(text), Some(pattern)) = (value.as_str(), schema["pattern"].as_str())
        && !regex_lite::Regex::new(pattern).unwrap().is_match(text)
    {
        found.push(format!("{path}: {text} does not match {pattern}"));
    }
    let length = value.as_str().map(str::len).or(value.as_array().map(Vec::len));
    for (limit, least) in [("minLength", true), ("minItems", true), ("maxLength", false), ("maxItems", false)]
    {
        if let (Some(length), Some(limit)) = (length, schema[limit].as_u64()) {
            let limit = usize::try_from(limit).unwrap();
            if if least { length < limit } else { length > limit } {
                found.push(format!("{path}: has {length}, and {limit} is the limit"));
            }
        }
    }
    if let Some(number) = value.as_i64()
        && (schema["minimum"].as_i64().is_some_and(|it| number < it)
            || schema["maximum"].as_i64().is_some_and(|it| number > it))
    {
        found.push(format!("{path}: {number} is out of range"));
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        refused(&format!("{path}[{index}]"), item, &schema["items"], found);
    }
    let Some(fields) = value.as_object() else { return };
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str) {
        if !fields.contains_key(name) {
            found.push(format!("{path} lacks {name}"));
        }
    }
    for (name, field) in fields {
        match &schema["properties"][name] {
            Json::Null => found.push(format!("{path} has no field {name}")),
            schema => refused(&format!("{path}.{name}"), field, schema, found),
        }
    }
}

fn all_refused(item: &Json) -> Vec<String> {
    let mut found = Vec::new();
    refused("spec", &item["spec"], &schema(item["kind"].as_str().unwrap()), &mut found);
    found
}

#[test]
fn both_resources_are_what_the_api_takes() {
    for changes in [vec![], vec![("profile", "production"), ("sourceDatabaseHost", "pg01.bank.example")]] {
        let list = output(&run(&changes), "manifests");
        assert_eq!((&list["apiVersion"], &list["kind"]), (&"v1".into(), &"List".into()));
        let kinds: Vec<&Json> = list["items"].as_array().unwrap().iter().map(|it| &it["kind"]).collect();
        assert_eq!(kinds, ["DatabaseMigration", "ApplicationMigration"]);
        for item in list["items"].as_array().unwrap() {
            assert_eq!(item["apiVersion"], "slipway.dev/v1alpha1");
            assert_eq!(item["metadata"]["namespace"], "migrations");
            assert_eq!(all_refused(item), Vec::<String>::new());
            // Nothing happens before a person says so.
            assert_eq!(item["spec"]["goal"], "Plan");
        }
    }
    // The check can fail.
    let mut item = output(&run(&[]), "manifests")["items"][0].clone();
    item["spec"]["goal"] = "Run".into();
    item["spec"]["targets"] = 1.into();
    item["spec"]["replication"]["instance"]["arn"] = "arn:aws:rds:x".into();
    item["spec"].as_object_mut().unwrap().remove("tables");
    assert_eq!(all_refused(&item).len(), 4);
}

#[test]
fn the_resources_name_what_was_made() {
    let list = output(&run(&[]), "manifests");
    let (database, application) = (&list["items"][0]["spec"], &list["items"][1]["spec"]);
    assert_eq!(database["target"]["rdsInstanceIdentifier"], "db-instance-dev");
    assert_eq!(database["source"]["endpoint"]["host"], "172.20.1.10");
    assert_eq!(
        database["replication"]["instance"]["arn"],
        "arn:aws:dms:us-east-1:111122223333:rep:ABCDEFGHIJ"
    );
    assert_eq!(application["database"]["migrationRef"]["name"], list["items"][0]["metadata"]["name"]);
    assert_eq!(application["target"]["ecsService"]["service"], "ecs-service-dev");
    assert_eq!(application["traffic"]["route53"]["zoneID"], "Z0123456789");
    assert_eq!(application["traffic"]["maxWeight"], 0);
}

#[test]
fn without_a_service_there_is_nothing_to_shift_to() {
    let list = output(&run(&[("applicationTag", "-")]), "manifests");
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
}

/// Every name of a secret in the resources, and no other; and no value of one.
#[test]
fn the_secrets_that_are_named_are_listed() {
    let record = run(&[]);
    let mut wanted = BTreeSet::new();
    let list = output(&record, "manifests");
    for side in ["source", "target"] {
        let side = &list["items"][0]["spec"][side];
        wanted.insert(side["operatorCredentialsRef"]["name"].clone().to_string());
        wanted.insert(side["replicationCredentials"]["secretRef"]["name"].clone().to_string());
        wanted.insert(side["tls"]["caRef"]["name"].clone().to_string());
    }
    let listed = output(&record, "manifestSecrets");
    let names: BTreeSet<String> =
        listed.as_array().unwrap().iter().map(|it| it["name"].to_string()).collect();
    assert_eq!(names, wanted);
    for item in listed.as_array().unwrap() {
        let fields: Vec<&String> = item.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["keys", "kind", "name", "namespace", "what"], "no value, nor a place for one");
    }
}

/// The values are ones that the chart has, and the accounts' file is as docs/operating.md has it.
#[test]
fn the_chart_takes_its_values() {
    let record = run(&[]);
    let values = output(&record, "chartValues");
    let chart: Json = serde_saphyr::from_str(include_str!("../../../charts/slipway/values.yaml")).unwrap();
    for (name, value) in values.as_object().unwrap() {
        assert!(!chart[name].is_null(), "{name} is no value of the chart");
        for field in value.as_object().into_iter().flatten() {
            assert!(!chart[name][field.0].is_null(), "{name}.{} is no value of the chart", field.0);
        }
    }
    assert_eq!(values["serviceAccount"]["name"], chart["serviceAccount"]["name"]);
    assert_eq!(values["namespaces"][0], "migrations");
    let account = &output(&record, "accounts")["namespaces"]["migrations"];
    assert_eq!((&account["accountID"], &account["region"]), (&"111122223333".into(), &"us-east-1".into()));
}

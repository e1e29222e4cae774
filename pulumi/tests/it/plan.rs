//! What is registered, as a plan of Terraform's, for tools that judge such plans: `pulumi/check` gives it to checkov. And what
//! checkov does not see.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value as Json, json};
use slipway_infra::pulumi::{Registration, Value};

use crate::mock::{Record, build, urn, variants};

/// `camelCase` as `snake_case`.
fn snake(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// What Terraform calls a type: `aws:rds/instance:Instance` is `aws_db_instance`.
fn terraform(kind: &str) -> String {
    let module = kind.split([':', '/']).nth(1).unwrap_or_default();
    let name = snake(kind.rsplit(':').next().unwrap_or_default());
    match (module, name.as_str()) {
        ("ec2", _) => format!("aws_{name}"),
        ("ec2transitgateway", _) => format!("aws_ec2_transit_gateway_{name}"),
        ("rds", _) => format!("aws_db_{name}"),
        ("lb", "load_balancer") => "aws_lb".to_owned(),
        ("cloudtrail", _) => "aws_cloudtrail".to_owned(),
        ("eks", "node_group" | "cluster" | "addon" | "pod_identity_association") => format!("aws_eks_{name}"),
        _ => format!("aws_{module}_{name}"),
    }
}

/// Terraform has a block for each object; Pulumi has an object for a block that can be there once, and a plural for others.
fn convert(name: &str, value: &Value) -> (String, Json) {
    let name = snake(name);
    match value {
        Value::List(items) if items.iter().all(|it| matches!(it, Value::Map(_))) && !items.is_empty() => {
            let kept = ["block_device_mappings", "tag_specifications"].contains(&name.as_str());
            let one = if kept { name.clone() } else { name.strip_suffix('s').unwrap_or(&name).to_owned() };
            (one, items.iter().map(block).collect())
        }
        // These are maps in Terraform, too.
        Value::Map(_) if ["tags", "dimensions"].contains(&name.as_str()) => (name, plain(value)),
        Value::Map(_) => (name, json!([block(value)])),
        other => (name, plain(other)),
    }
}

fn block(value: &Value) -> Json {
    let Value::Map(fields) = value else { return plain(value) };
    Json::Object(fields.iter().map(|(name, it)| convert(name, it)).collect())
}

fn plain(value: &Value) -> Json {
    match value {
        Value::Null | Value::Unknown => Json::Null,
        Value::Bool(it) => (*it).into(),
        Value::Number(it) if it.fract() == 0.0 => serde_json::from_str(&format!("{it}")).unwrap(),
        Value::Number(it) => (*it).into(),
        Value::Text(it) => it.as_str().into(),
        Value::Secret(_) => "(sensitive)".into(),
        Value::List(it) => it.iter().map(plain).collect(),
        Value::Map(it) => Json::Object(it.iter().map(|(name, it)| (name.clone(), plain(it))).collect()),
    }
}

fn plan(record: &Record) -> Json {
    let address = |it: &Registration| format!("{}.{}", terraform(&it.kind), it.name.replace('.', "_"));
    let by_urn: BTreeMap<String, String> =
        record.resources().map(|it| (urn(&it.kind, &it.name), address(it))).collect();
    let (mut planned, mut changes, mut configured) = (Vec::new(), Vec::new(), Vec::new());
    for it in record.resources() {
        let head = json!({
            "address": address(it), "mode": "managed", "type": terraform(&it.kind),
            "name": it.name.replace('.', "_"), "provider_name": "registry.terraform.io/hashicorp/aws",
        });
        let with = |name: &str, value: Json| {
            let mut item = head.clone();
            item[name] = value;
            item
        };
        let values: Map<String, Json> = it.inputs.iter().map(|(name, value)| convert(name, value)).collect();
        let mut expressions = Map::new();
        for (input, needs) in &it.property_needs {
            let references: Vec<&String> = needs.iter().filter_map(|urn| by_urn.get(urn)).collect();
            if let (Some(value), false) = (it.inputs.get(input), references.is_empty()) {
                let name = convert(input, value).0;
                let both: Vec<String> =
                    references.iter().flat_map(|it| [format!("{it}.id"), (*it).clone()]).collect();
                expressions.insert(name, json!({ "references": both }));
            }
        }
        planned.push(with("values", Json::Object(values.clone())));
        changes.push(with("change", json!({ "actions": ["create"], "before": null, "after": values })));
        configured.push(with("expressions", Json::Object(expressions)));
    }
    json!({
        "format_version": "1.2",
        "terraform_version": "1.9.0",
        "planned_values": { "root_module": { "resources": planned } },
        "resource_changes": changes,
        "configuration": { "root_module": { "resources": configured } },
    })
}

/// `pulumi/check` takes them from there.
#[test]
fn plans_are_written_for_checkov() {
    for (variant, record) in variants() {
        let plan = plan(&record);
        let resources = plan["planned_values"]["root_module"]["resources"].as_array().unwrap();
        assert_eq!(resources.len(), record.resources().count());
        let named = |address: &str| {
            let found = resources.iter().find(|it| it["address"] == address);
            found.unwrap_or_else(|| panic!("{variant}: {address}"))["values"].clone()
        };
        if variant == "development" {
            assert_eq!(named("aws_db_instance.db-instance-dev")["storage_encrypted"], true);
            let listener = named("aws_lb_listener.listener-dev");
            assert_eq!(listener["default_action"][0]["forward"][0]["target_group"][0]["weight"], 100);
            assert_eq!(
                named("aws_eks_cluster.eks-cluster-dev")["vpc_config"][0]["endpoint_public_access"],
                false
            );
        }
        assert!(!plan.to_string().contains("canary"), "{variant}: a secret in the plan");
        let file = format!("plan-{}.json", variant.replace([' ', ','], "-"));
        std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(file), plan.to_string()).unwrap();
    }
}

/// A plan with faults, by which `pulumi/check` sees that checkov sees.
#[test]
fn a_plan_with_faults_is_written_too() {
    let mut record = build(&[]);
    let mut plant = |name: &str, input: &str, value: Value| {
        let found = record.registrations.iter_mut().find(|it| it.name == name);
        found.unwrap_or_else(|| panic!("{name}")).inputs.insert(input.to_owned(), value);
    };
    plant("db-instance-dev", "storageEncrypted", Value::Bool(false));
    plant("db-instance-dev", "publiclyAccessible", Value::Bool(true));
    plant("replication-instance-dev", "publiclyAccessible", Value::Bool(true));
    plant("trail-dev", "enableLogFileValidation", Value::Bool(false));
    plant("listener-dev", "sslPolicy", Value::Text("ELBSecurityPolicy-2016-08".to_owned()));
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults.json");
    std::fs::write(file, plan(&record).to_string()).unwrap();
}

// What checkov does not see ------------------------------------------------------------------------------------------------

fn unseen(record: &Record) -> Vec<String> {
    let mut found = Vec::new();
    for group in record.of_kind("aws:rds/parameterGroup:ParameterGroup") {
        let Value::List(parameters) = &group.inputs["parameters"] else { continue };
        let set = |name: &str, value: &str| {
            let wanted = [("name", name), ("value", value)].map(|(k, v)| (k, Value::Text(v.to_owned())));
            parameters
                .iter()
                .any(|it| matches!(it, Value::Map(it) if wanted.iter().all(|(k, v)| it.get(*k) == Some(v))))
        };
        if !set("rds.force_ssl", "1") {
            found.push(format!("{} lets connections in that are not encrypted", group.name));
        }
    }
    for it in record.resources() {
        for (input, value) in &it.inputs {
            let word = input.to_lowercase();
            let secret = ["password", "secretstring", "presharedkey"].iter().any(|it| word.ends_with(it));
            if secret && !matches!(value, Value::Secret(_)) {
                found.push(format!("{}.{input} is in clear text", it.name));
            }
        }
        let port = it.inputs.get("fromPort") == Some(&Value::Number(5432.0));
        let wide = |it: &Value| matches!(it, Value::Text(it) if it.ends_with("/0"));
        if port && it.inputs.get("cidrIpv4").is_some_and(wide) {
            found.push(format!("{}: 5432 and everybody", it.name));
        }
    }
    found
}

#[test]
fn what_checkov_does_not_see_is_not_there() {
    for (variant, record) in variants() {
        assert_eq!(unseen(&record), Vec::<String>::new(), "{variant}");
    }
    // The check can fail.
    let plant = |name: &str, input: &str, value: Value| {
        let mut record =
            build(&[("vpnPresharedKey1", "canaryFirst.key_1"), ("vpnPresharedKey2", "canarySecond.key_2")]);
        let found = record.registrations.iter_mut().find(|it| it.name == name);
        found.unwrap_or_else(|| panic!("{name}")).inputs.insert(input.to_owned(), value);
        unseen(&record).len()
    };
    let text = |it: &str| Value::Text(it.to_owned());
    assert_eq!(plant("db-parameter-group-17-dev", "parameters", Value::List(Vec::new())), 1);
    assert_eq!(plant("db-instance-dev", "password", text("x")), 1);
    assert_eq!(plant("vpn-connection-dev", "tunnel1PresharedKey", text("x")), 1);
    assert_eq!(plant("security-group-rule-application-database-in-dev", "cidrIpv4", text("0.0.0.0/0")), 1);
}

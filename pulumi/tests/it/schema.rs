//! Checks what is registered against the provider's schema: names, required inputs, nested types, enums.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde_json::Value as Json;
use slipway_infra::pulumi::{Invocation, Registration, Value};

static SCHEMA: LazyLock<Json> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../schema/aws.json")).unwrap());

fn resource(kind: &str) -> &'static Json {
    let found = &SCHEMA["resources"][kind];
    assert!(found.is_object(), "{kind} is not in the schema");
    found
}

/// Panics in words if the registration is not what the provider takes.
pub fn check(registration: &Registration) {
    let Registration { kind, name, inputs, version, .. } = registration;
    let resource = resource(kind);
    assert_eq!(version, SCHEMA["version"].as_str().unwrap());
    object(&format!("{kind} {name}"), inputs, &resource["inputProperties"], &resource["requiredInputs"]);
    for (property, schema) in resource["inputProperties"].as_object().unwrap() {
        if schema["secret"] == true
            && let Some(value) = inputs.get(property)
        {
            assert!(matches!(value, Value::Secret(_)), "{kind} {name}: {property} is in clear text");
        }
    }
}

pub fn check_call(call: &Invocation) {
    let inputs = &SCHEMA["functions"][&call.token]["inputs"];
    object(&call.token, &call.arguments, &inputs["properties"], &inputs["required"]);
}

fn object(path: &str, fields: &BTreeMap<String, Value>, properties: &Json, required: &Json) {
    for name in required.as_array().into_iter().flatten() {
        assert!(fields.contains_key(name.as_str().unwrap()), "{path} lacks {name}");
    }
    for (name, value) in fields {
        assert!(properties[name].is_object(), "{path} has no input {name}");
        typed(&format!("{path}.{name}"), value, &properties[name]);
    }
}

fn typed(path: &str, value: &Value, schema: &Json) {
    match value {
        Value::Unknown => return,
        Value::Secret(inner) => return typed(path, inner, schema),
        _ => {}
    }
    if let Some(reference) = schema["$ref"].as_str() {
        let nested = &SCHEMA["types"][reference.strip_prefix("#/types/").unwrap()];
        if let Some(values) = nested["enum"].as_array() {
            let Value::Text(text) = value else { panic!("{path}: {value:?} is no text") };
            assert!(
                values.iter().any(|it| it["value"] == text.as_str()),
                "{path}: {text} is not in the enum"
            );
            return;
        }
        let Value::Map(fields) = value else { panic!("{path}: {value:?} is no object") };
        return object(path, fields, &nested["properties"], &nested["required"]);
    }
    match (schema["type"].as_str().unwrap(), value) {
        ("string", Value::Text(_)) | ("boolean", Value::Bool(_)) | ("number", Value::Number(_)) => {}
        ("integer", Value::Number(it)) => assert!(it.fract() == 0.0, "{path}: {it} is no integer"),
        ("array", Value::List(items)) => items.iter().for_each(|it| typed(path, it, &schema["items"])),
        ("object", Value::Map(fields)) => {
            for (name, value) in fields {
                typed(&format!("{path}.{name}"), value, &schema["additionalProperties"]);
            }
        }
        (kind, value) => panic!("{path}: {value:?} is no {kind}"),
    }
}

/// What the provider may answer beside the inputs, with its type.
pub fn computed(kind: &str) -> impl Iterator<Item = (String, &'static str)> {
    let properties = resource(kind)["properties"].as_object().unwrap();
    properties.iter().filter_map(|(name, it)| {
        let kind = it["type"].as_str()?;
        Some((name.clone(), if it["items"]["type"] == "string" { "strings" } else { kind }))
    })
}

pub fn has_input(kind: &str, name: &str) -> bool {
    resource(kind)["inputProperties"][name].is_object()
}

#[test]
fn the_schema_is_what_is_wanted() {
    let wanted =
        include_str!("../../schema/wanted.txt").lines().map(|it| it.split(['#', ' ']).next().unwrap());
    let wanted: BTreeSet<String> = wanted.filter(|it| !it.is_empty()).map(|it| format!("aws:{it}")).collect();
    let tokens = |of: &str| SCHEMA[of].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let there: BTreeSet<String> = [tokens("resources"), tokens("functions")].concat().into_iter().collect();
    assert_eq!(there, wanted, "run schema/extract.py, as docs/infrastructure.md says");
}

/// The check itself must be able to fail.
#[test]
fn what_the_provider_does_not_take_is_found() {
    let text = |it: &str| Value::Text(it.to_owned());
    let subnet = |inputs: &[(&str, Value)]| Registration {
        kind: "aws:ec2/subnet:Subnet".to_owned(),
        version: SCHEMA["version"].as_str().unwrap().to_owned(),
        inputs: inputs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        ..Registration::default()
    };
    check(&subnet(&[("vpcId", text("vpc-1")), ("mapPublicIpOnLaunch", Value::Bool(false))]));
    check(&subnet(&[("vpcId", Value::Unknown)]));
    let database = |inputs: &[(&str, Value)]| Registration {
        kind: "aws:rds/instance:Instance".to_owned(),
        ..subnet(&[&[("instanceClass", text("db.r7g.large"))], inputs].concat())
    };
    check(&database(&[("storageType", text("gp3")), ("password", text("x").secret())]));
    let group = |parameter: Value| Registration {
        kind: "aws:rds/parameterGroup:ParameterGroup".to_owned(),
        ..subnet(&[("family", text("postgres17")), ("parameters", Value::List(vec![parameter]))])
    };
    let parameter = |fields: &[(&str, Value)]| {
        Value::Map(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
    };
    check(&group(parameter(&[("name", text("a")), ("value", text("b"))])));
    let wrong = [
        ("a required input is missing", subnet(&[])),
        ("no such input", subnet(&[("vpcId", text("vpc-1")), ("cidrBlocks", text("10.0.0.0/8"))])),
        ("a wrong type", subnet(&[("vpcId", text("vpc-1")), ("mapPublicIpOnLaunch", text("false"))])),
        ("a value outside the enum", database(&[("storageType", text("gp9"))])),
        ("a fraction for an integer", database(&[("port", Value::Number(1.5))])),
        ("a secret in clear text", database(&[("password", text("x"))])),
        ("a required field of a nested type is missing", group(parameter(&[("name", text("a"))]))),
        (
            "no such field of a nested type",
            group(parameter(&[("name", text("a")), ("value", text("b")), ("valu", text("c"))])),
        ),
        (
            "another version",
            Registration { version: "7.0.0".to_owned(), ..subnet(&[("vpcId", text("vpc-1"))]) },
        ),
    ];
    for (what, registration) in wrong {
        assert!(std::panic::catch_unwind(|| check(&registration)).is_err(), "{what} was not found");
    }
}

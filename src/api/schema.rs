//! A spec held against the schema of its own CRD once more: an object may be older than the CRD, or come past a laxer one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use kube::CustomResourceExt;
use regex_lite::Regex;
use serde::Serialize;
use serde_json::{Value, json};

use super::application::ApplicationMigration;
use super::database::DatabaseMigration;

/// The first place where a spec does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// Where, as `spec.tables.include[0].schema`.
    pub field: String,
    /// What is wrong there, as `must be at most 49`.
    pub wrong: String,
}

/// The spec of one kind, as its CRD has it.
pub struct Schema {
    spec: Value,
    patterns: BTreeMap<String, Regex>,
}

/// Of [`DatabaseMigration`].
pub static DATABASE: LazyLock<Schema> = LazyLock::new(Schema::of::<DatabaseMigration>);
/// Of [`ApplicationMigration`].
pub static APPLICATION: LazyLock<Schema> = LazyLock::new(Schema::of::<ApplicationMigration>);

fn collect(schema: &Value, patterns: &mut BTreeMap<String, Regex>) {
    // A test reads every pattern, so none is left out for being wrong.
    if let Some(pattern) = schema["pattern"].as_str()
        && let Ok(regex) = Regex::new(pattern)
    {
        patterns.insert(pattern.to_owned(), regex);
    }
    for property in schema["properties"].as_object().into_iter().flat_map(|all| all.values()) {
        collect(property, patterns);
    }
    if schema["items"].is_object() {
        collect(&schema["items"], patterns);
    }
    if schema["additionalProperties"].is_object() {
        collect(&schema["additionalProperties"], patterns);
    }
}

impl Schema {
    fn of<K: CustomResourceExt>() -> Self {
        let crd = json!(K::crd());
        let spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone();
        let mut patterns = BTreeMap::new();
        collect(&spec, &mut patterns);
        Self { spec, patterns }
    }

    /// Where a spec that could be read does not fit the schema: lengths, limits, patterns, lists. Its CEL rules are not
    /// among it. Types and enums are the reader's.
    pub fn misfit(&self, spec: &impl Serialize) -> Option<Misfit> {
        let value = match serde_json::to_value(spec) {
            Ok(value) => value,
            Err(error) => {
                return Some(Misfit {
                    field: "spec".to_owned(),
                    wrong: format!("can't be written: {error}"),
                });
            }
        };
        check(self, &self.spec, &value, "spec").err()
    }
}

fn check(all: &Schema, schema: &Value, value: &Value, field: &str) -> Result<(), Misfit> {
    let wrong = |wrong: String| Err(Misfit { field: field.to_owned(), wrong });
    match value {
        Value::String(text) => {
            let length = text.chars().count() as u64;
            if let Some(most) = schema["maxLength"].as_u64().filter(|most| length > *most) {
                return wrong(format!("must have at most {most} characters"));
            }
            if let Some(least) = schema["minLength"].as_u64().filter(|least| length < *least) {
                return wrong(format!("must have at least {least} characters"));
            }
            let pattern = schema["pattern"].as_str();
            if let Some(regex) = pattern.and_then(|pattern| all.patterns.get(pattern))
                && !regex.is_match(text)
            {
                return wrong(format!("must match {regex}"));
            }
        }
        Value::Number(number) => {
            let number = number.as_f64();
            if let Some(least) = schema["minimum"].as_f64().filter(|least| number < Some(*least)) {
                return wrong(format!("must be at least {least}"));
            }
            if let Some(most) = schema["maximum"].as_f64().filter(|most| number > Some(*most)) {
                return wrong(format!("must be at most {most}"));
            }
        }
        Value::Array(items) => {
            let count = items.len() as u64;
            if let Some(most) = schema["maxItems"].as_u64().filter(|most| count > *most) {
                return wrong(format!("must have at most {most} entries"));
            }
            if let Some(least) = schema["minItems"].as_u64().filter(|least| count < *least) {
                return wrong(format!("must have at least {least} entries"));
            }
            let mut seen = BTreeSet::new();
            let is_set = schema["x-kubernetes-list-type"] == "set";
            let keys = schema["x-kubernetes-list-map-keys"].as_array();
            for (index, item) in items.iter().enumerate() {
                let key = match keys {
                    Some(keys) => keys.iter().filter_map(Value::as_str).map(|key| &item[key]).collect(),
                    None if is_set => vec![item],
                    None => Vec::new(),
                };
                if !key.is_empty() && !seen.insert(json!(key).to_string()) {
                    return Err(Misfit {
                        field: format!("{field}[{index}]"),
                        wrong: "is there twice".to_owned(),
                    });
                }
                check(all, &schema["items"], item, &format!("{field}[{index}]"))?;
            }
        }
        Value::Object(fields) => {
            let count = fields.len() as u64;
            if let Some(most) = schema["maxProperties"].as_u64().filter(|most| count > *most) {
                return wrong(format!("must have at most {most} entries"));
            }
            for (name, value) in fields {
                // A map has the same schema for each of its values.
                let of = schema["properties"].get(name).unwrap_or(&schema["additionalProperties"]);
                check(all, of, value, &format!("{field}.{name}"))?;
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::api::application::ApplicationMigrationSpec;
    use crate::api::database::DatabaseMigrationSpec;

    fn example() -> DatabaseMigrationSpec {
        let text = include_str!("../../examples/database-migration.yaml");
        serde_saphyr::from_str::<DatabaseMigration>(text).unwrap().spec
    }

    fn of(spec: &DatabaseMigrationSpec) -> (String, String) {
        DATABASE.misfit(spec).map(|misfit| (misfit.field, misfit.wrong)).unwrap_or_default()
    }

    #[test]
    fn every_pattern_of_the_schema_can_be_read_here() {
        fn count(schema: &Value, found: &mut BTreeSet<String>) {
            if let Some(pattern) = schema["pattern"].as_str() {
                found.insert(pattern.to_owned());
            }
            let properties = schema["properties"].as_object().into_iter().flat_map(|all| all.values());
            let values = schema.get("additionalProperties");
            properties.chain(schema.get("items")).chain(values).for_each(|schema| count(schema, found));
        }
        for schema in [&*DATABASE, &*APPLICATION] {
            let mut found = BTreeSet::new();
            count(&schema.spec, &mut found);
            assert!(found.len() > 10, "{found:?}");
            assert!(found.iter().eq(schema.patterns.keys()));
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        assert_eq!(DATABASE.misfit(&example()), None);
        let mut spec = example();
        spec.source.endpoint.host = "a b".to_owned();
        assert!(of(&spec).0 == "spec.source.endpoint.host" && of(&spec).1.starts_with("must match ^"));
        let mut spec = example();
        spec.source.operator_credentials_ref.name = "../../kube-system/secrets/x".to_owned();
        assert_eq!(of(&spec).0, "spec.source.operatorCredentialsRef.name");
        let mut spec = example();
        spec.replication.tuning.parallel_tables = 50;
        let expected = ("spec.replication.tuning.parallelTables".to_owned(), "must be at most 49".to_owned());
        assert_eq!(of(&spec), expected);
        let mut spec = example();
        spec.target.application_roles = vec!["a".to_owned(), "a".to_owned()];
        assert_eq!(of(&spec), ("spec.target.applicationRoles[1]".to_owned(), "is there twice".to_owned()));
        let mut spec = example();
        spec.tables.include.clear();
        assert_eq!(of(&spec).0, "spec.tables.include");
    }

    #[test]
    fn the_example_of_an_application_fits_and_what_is_bent_does_not() {
        let text = include_str!("../../examples/application-migration.yaml");
        let spec = || serde_saphyr::from_str::<ApplicationMigration>(text).unwrap().spec;
        let wrong = |spec: &ApplicationMigrationSpec| APPLICATION.misfit(spec).unwrap();
        assert_eq!(APPLICATION.misfit(&spec()), None);
        let mut bent = spec();
        bent.traffic.steps[0].weight = 101;
        assert_eq!(wrong(&bent).field, "spec.traffic.steps[0].weight");
        let mut bent = spec();
        bent.traffic.route53.name = "api..bank.example".to_owned();
        assert_eq!(wrong(&bent).field, "spec.traffic.route53.name");
        let mut bent = spec();
        let twice = bent.gates[0].clone();
        bent.gates.push(twice);
        assert!(wrong(&bent).wrong == "is there twice");
        let mut bent = spec();
        let metric = bent.gates.iter_mut().find_map(|gate| gate.metric.as_mut()).unwrap();
        metric.dimensions.insert("LoadBalancer".to_owned(), "x".repeat(256));
        assert!(wrong(&bent).field.ends_with("metric.dimensions.LoadBalancer"), "{:?}", wrong(&bent));
        metric_with_many_dimensions(&mut bent);
        assert_eq!(wrong(&bent).wrong, "must have at most 10 entries");
    }

    fn metric_with_many_dimensions(spec: &mut ApplicationMigrationSpec) {
        let metric = spec.gates.iter_mut().find_map(|gate| gate.metric.as_mut()).unwrap();
        metric.dimensions = (0..11).map(|i| (format!("d{i}"), "x".to_owned())).collect();
    }
}

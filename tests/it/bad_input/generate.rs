//! Bad resources from the CRD's own schema: for each field everything that a careless hand could write there.

use sandbox::dice::Dice;
use serde_json::{Map, Value, json};

use super::kind::Kind;

/// One resource, and where it differs from a good one.
#[derive(Clone, Debug)]
pub struct Bent {
    /// The fields that were bent, as `spec.source.endpoint.port`, or `metadata.name`.
    pub fields: Vec<String>,
    /// How, for messages.
    pub how: String,
    /// The whole resource.
    pub object: Value,
}

/// Each field bent in each way, then pairs of them at random: the same ones for the same seed.
pub fn all(kind: Kind, example: &Value, pairs: usize, seed: u64) -> Vec<Bent> {
    let schema = kind.schema();
    let mut bent = Vec::new();
    for base in kind.good(example) {
        let before: Vec<(String, String)> =
            bent.iter().map(|bent: &Bent| (bent.fields[0].clone(), bent.how.clone())).collect();
        let mut found = Vec::new();
        walk(&schema, &base, "spec", &mut found);
        for (field, how, change) in found {
            if before.iter().any(|(f, h)| *f == field && *h == how) {
                continue;
            }
            let mut object = base.clone();
            apply(&mut object, &field, change);
            bent.push(Bent { fields: vec![field], how, object });
        }
    }
    bent.extend(names(example));
    let mut dice = Dice::new(seed);
    let singles = bent.len();
    for _ in 0..pairs {
        let (one, two) = (&bent[dice.index(singles)], &bent[dice.index(singles)]);
        let field = &two.fields[0];
        let mut object = one.object.clone();
        match get(&two.object, field) {
            Some(value) => put(&mut object, field, value.clone()),
            None => remove(&mut object, field),
        }
        let fields = vec![one.fields[0].clone(), field.clone()];
        let how = format!("{}, and {field}: {}", one.how, two.how);
        bent.push(Bent { fields, how, object });
    }
    bent
}

fn names(example: &Value) -> Vec<Bent> {
    ["", "UPPER", "a.b", "a--b", "-a", "a-", "a_b", "ü", "a/b", "../x", "a b"]
        .into_iter()
        .map(ToOwned::to_owned)
        // With the suffix dev: one too many, and far too many.
        .chain([38, 60, 253, 300].map(|length| "n".repeat(length)))
        .map(|name| {
            let mut object = example.clone();
            object["metadata"]["name"] = json!(name);
            Bent { fields: vec!["metadata.name".to_owned()], how: format!("{name:?}"), object }
        })
        .collect()
}

/// `None` takes the field away.
type Change = Option<Value>;

fn walk(schema: &Value, good: &Value, field: &str, found: &mut Vec<(String, String, Change)>) {
    let Some(value) = get(good, field) else { return };
    let mut bend = |how: &str, change: Value| found.push((field.to_owned(), how.to_owned(), Some(change)));
    for (how, other) in [
        ("null", Value::Null),
        ("a number", json!(7)),
        ("a fraction", json!(1.5)),
        ("true", json!(true)),
        ("a text", json!("x")),
        ("a list", json!(["x"])),
        ("an object", json!({"x": 1})),
    ] {
        bend(how, other);
    }
    match value {
        Value::String(text) => texts(schema, text, &mut bend),
        Value::Number(_) => numbers(schema, &mut bend),
        Value::Bool(_) => {
            bend("the word true", json!("true"));
            bend("0", json!(0));
        }
        Value::Array(items) => lists(schema, items, &mut bend),
        Value::Object(_) => {
            bend("empty", json!({}));
            let mut more = value.clone();
            more["surprise"] = json!("x");
            bend("an unknown field", more);
            if schema["additionalProperties"].is_object() {
                maps(schema, value, &mut bend);
            }
        }
        Value::Null => {}
    }
    found.push((field.to_owned(), "left out".to_owned(), None));
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(property, good, &format!("{field}.{name}"), found);
    }
    if schema["items"].is_object() {
        // Entries that are objects may each have other fields than the first.
        let entries = value
            .as_array()
            .map_or(0, |items| if items.iter().all(Value::is_object) { items.len() } else { 1 });
        for index in 0..entries.max(1) {
            walk(&schema["items"], good, &format!("{field}[{index}]"), found);
        }
    }
}

/// A map whose keys are anybody's.
fn maps(schema: &Value, good: &Value, bend: &mut impl FnMut(&str, Value)) {
    for (how, key, value) in [
        ("an empty key", "", json!("x")),
        ("a huge key", &*"k".repeat(20_000), json!("x")),
        ("a key with a line break", "a\nb", json!("x")),
        ("a key beyond ASCII", "naïve-🙂", json!("x")),
        ("an empty value", "x", json!("")),
        ("a value that is a number", "x", json!(7)),
        ("a value that is null", "x", Value::Null),
        ("a huge value", "x", json!("v".repeat(20_000))),
        ("a value with NUL", "x", json!("a\0b")),
    ] {
        let mut more = good.clone();
        more[key] = value;
        bend(how, more);
    }
    if let Some(most) = schema["maxProperties"].as_u64() {
        let many: Map<String, Value> = (0..=most).map(|number| (format!("k{number}"), json!("x"))).collect();
        bend("one entry too many", Value::Object(many));
    }
}

fn texts(schema: &Value, text: &str, bend: &mut impl FnMut(&str, Value)) {
    if let Some(most) = schema["maxLength"].as_u64().and_then(|most| usize::try_from(most).ok()) {
        bend("as long as can be", json!("a".repeat(most)));
        bend("one too long", json!("a".repeat(most + 1)));
        bend("one too long in two bytes each", json!("ü".repeat(most + 1)));
    }
    for (how, odd) in [
        ("empty", String::new()),
        ("a space", " ".to_owned()),
        ("with a space before", format!(" {text}")),
        ("with a line break after", format!("{text}\n")),
        ("with NUL", format!("{text}\0")),
        ("with an escape", format!("\u{1b}[2J{text}")),
        ("written backwards", format!("\u{202e}{text}")),
        ("beyond ASCII", "naïve-🙂".to_owned()),
        ("as SQL", "'; DROP TABLE accounts; --".to_owned()),
        ("quoted", format!("\"{text}\"")),
        ("a path", "../../kube-system/secrets/x".to_owned()),
        ("a template", "${jndi:ldap://x}{{.x}}%s".to_owned()),
        ("a wildcard", "*%".to_owned()),
        ("shouted", text.to_uppercase()),
        ("twice", format!("{text}{text}")),
        ("huge", "x".repeat(20_000)),
    ] {
        bend(how, json!(odd));
    }
    if schema["format"] == "date-time" {
        for odd in ["yesterday", "2026-13-01T00:00:00Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59Z"] {
            bend(odd, json!(odd));
        }
    }
    if schema["pattern"].as_str().is_some_and(|pattern| pattern.contains("h|m|s|ms")) {
        for odd in
            ["0s", "0ms", "1", "s", "-1s", "1.5s", "1d", "99999h", "99999h99999h", "1s1s", "5S", "1h1h1h1h"]
        {
            bend(odd, json!(odd));
        }
    }
}

fn numbers(schema: &Value, bend: &mut impl FnMut(&str, Value)) {
    for key in ["minimum", "maximum"] {
        if let Some(limit) = schema[key].as_f64() {
            // The limits of this CRD are whole numbers far below 2^53.
            #[allow(clippy::cast_possible_truncation)]
            let limit = limit as i64;
            for near in [limit - 1, limit, limit + 1] {
                bend(&near.to_string(), json!(near));
            }
        }
    }
    for odd in [0, -1, i64::from(i32::MAX), i64::from(i32::MAX) + 1, i64::from(i32::MIN), i64::MAX, i64::MIN]
    {
        bend(&odd.to_string(), json!(odd));
    }
    bend("1e100", json!(1e100));
    bend("a number in quotes", json!("7"));
}

fn lists(schema: &Value, items: &[Value], bend: &mut impl FnMut(&str, Value)) {
    bend("empty", json!([]));
    bend("with null", json!([null]));
    if let Some(first) = items.first() {
        bend("an entry twice", json!([first, first]));
        if let Some(most) = schema["maxItems"].as_u64() {
            let many: Vec<Value> = (0..=most).map(|number| another(first, number)).collect();
            bend("one entry too many", json!(many));
        }
    }
}

/// An entry like this one and different from all others.
fn another(entry: &Value, number: u64) -> Value {
    match entry {
        Value::String(text) => json!(format!("{text}{number}")),
        Value::Object(fields) => {
            let fields: Map<String, Value> =
                fields.iter().map(|(name, value)| (name.clone(), another(value, number))).collect();
            Value::Object(fields)
        }
        other => other.clone(),
    }
}

fn apply(object: &mut Value, field: &str, change: Change) {
    match change {
        Some(value) => put(object, field, value),
        None => remove(object, field),
    }
}

fn pointer(field: &str) -> String {
    format!("/{}", field.replace('[', ".").replace(']', "").replace('.', "/"))
}

pub fn get<'a>(object: &'a Value, field: &str) -> Option<&'a Value> {
    object.pointer(&pointer(field))
}

/// Sets a field where its parent is there; where another change took that away, there is nothing to set.
pub fn put(object: &mut Value, field: &str, value: Value) {
    let pointer = pointer(field);
    let Some((parent, name)) = pointer.rsplit_once('/') else { return };
    match object.pointer_mut(parent) {
        Some(Value::Object(fields)) => {
            fields.insert(name.to_owned(), value);
        }
        Some(Value::Array(items)) => {
            if let Some(item) = name.parse::<usize>().ok().and_then(|index| items.get_mut(index)) {
                *item = value;
            }
        }
        _ => {}
    }
}

pub fn remove(object: &mut Value, field: &str) {
    let pointer = pointer(field);
    let Some((parent, name)) = pointer.rsplit_once('/') else { return };
    match object.pointer_mut(parent) {
        Some(Value::Object(fields)) => drop(fields.remove(name)),
        Some(Value::Array(items)) => items.clear(),
        _ => {}
    }
}

//! Turns the committed part of the AWS provider's schema (schema/aws.json, made by schema/extract.py) into typed Rust.
//!
//! Each resource gets a struct with its outputs and an `Args` with a setter for each input. What the provider requires is
//! a field of `Required`, which `Args::new` takes, so that forgetting one does not compile. Enums are enums; secret inputs
//! are made secret by their setter.

use std::collections::BTreeMap;
use std::path::Path;
use std::{env, fs};

use serde_json::Value;

macro_rules! put {
    ($code:expr, $($format:tt)*) => { $code.push_str(&format!($($format)*)) };
}

const SCHEMA: &str = "schema/aws.json";

fn main() {
    println!("cargo::rerun-if-changed={SCHEMA}");
    println!("cargo::rerun-if-changed=build.rs");
    let text = fs::read_to_string(SCHEMA).expect("the schema is committed beside this file");
    let schema: Value = serde_json::from_str(&text).expect("extract.py writes JSON");
    let folder = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::write(Path::new(&folder).join("aws.rs"), generate(&schema)).expect("OUT_DIR can be written");
}

/// A module's code, and that of its nested types.
#[derive(Default)]
struct Module {
    items: String,
    types: String,
}

fn generate(schema: &Value) -> String {
    let mut modules: BTreeMap<String, Module> = BTreeMap::new();
    for (token, resource) in entries(&schema["resources"]) {
        let (module, name) = parts(token);
        write_resource(&mut modules.entry(module).or_default().items, token, &name, resource);
    }
    for (token, function) in entries(&schema["functions"]) {
        let (module, name) = parts(token);
        write_function(&mut modules.entry(module).or_default().items, token, &name, function);
    }
    for (token, nested) in entries(&schema["types"]) {
        let (module, name) = parts(token);
        write_type(&mut modules.entry(module).or_default().types, token, &name, nested);
    }
    let version = schema["version"].as_str().expect("the schema has a version");
    let mut code = format!(
        "/// The provider's version that the schema was taken from.\npub const VERSION: &str = {version:?};\n"
    );
    for (module, Module { items, types }) in modules {
        let uses = "use std::collections::BTreeMap;\nuse crate::pulumi::{Context, Fields, Input, Node, Options, Output, Resource, Value};\n";
        put!(
            code,
            "/// Module `{module}` of the provider.\npub mod {module} {{\n{uses}use super::VERSION;\n{items}\
             /// Nested types.\npub mod types {{\n{uses}{types}}}\n}}\n"
        );
    }
    code
}

fn write_resource(code: &mut String, token: &str, name: &str, resource: &Value) {
    let secrets: Vec<&str> = entries(&resource["properties"])
        .filter(|(_, it)| it["secret"] == true)
        .map(|(name, _)| name)
        .collect();
    let mut outputs = String::new();
    for (wire, property) in entries(&resource["properties"]) {
        let (method, kind) = (ident(wire), rust_type(property));
        put!(outputs, "pub fn {method}(&self) -> Output<{kind}> {{ self.0.output({wire:?}) }}\n");
    }
    put!(
        code,
        "/// `{token}`.\n#[derive(Clone)]\npub struct {name}(Resource);\n\
         impl {name} {{\n\
         /// Registers it.\n\
         pub fn new(context: &Context, name: &str, args: {name}Args, mut options: Options) -> Self {{\n\
         options.rules.secret_outputs.extend({secrets:?}.map(str::to_owned));\n\
         Self(context.register({token:?}, VERSION, name, args.0, options))\n}}\n\
         pub fn id(&self) -> Output<String> {{ self.0.id() }}\n\
         pub fn resource(&self) -> &Resource {{ &self.0 }}\n\
         {outputs}}}\n"
    );
    write_args(code, &format!("{name}Args"), name, &resource["inputProperties"], &resource["requiredInputs"]);
}

fn write_function(code: &mut String, token: &str, name: &str, function: &Value) {
    let (method, args) = (ident(name), format!("{}Args", capital(name)));
    let result = format!("{}Result", capital(name));
    put!(
        code,
        "/// What `{token}` answers.\npub struct {result};\n\
         /// `{token}`.\n\
         pub fn {method}(context: &Context, args: {args}, options: &Options) -> Output<{result}> {{\n\
         context.invoke({token:?}, VERSION, args.0, options)\n}}\n"
    );
    write_args(
        code,
        &args,
        &capital(name),
        &function["inputs"]["properties"],
        &function["inputs"]["required"],
    );
    write_fields(code, &result, &function["outputs"]["properties"]);
}

fn write_type(code: &mut String, token: &str, name: &str, nested: &Value) {
    if let Some(values) = nested["enum"].as_array() {
        let (mut variants, mut words) = (String::new(), String::new());
        for value in values {
            let value = value["value"].as_str().expect("the enums used are of strings");
            let variant: String = value.split(['-', '_', '.']).map(capital).collect();
            put!(variants, "/// `{value}`.\n{variant},\n");
            put!(words, "{name}::{variant} => {value:?},\n");
        }
        put!(
            code,
            "/// `{token}`.\n#[derive(Clone, Copy, Debug, PartialEq, Eq)]\npub enum {name} {{\n{variants}}}\n\
             impl From<{name}> for Node {{\nfn from(value: {name}) -> Self {{\nmatch value {{\n{words}}}.into()\n}}\n}}\n"
        );
        return;
    }
    write_args(code, name, name, &nested["properties"], &nested["required"]);
    write_fields(code, name, &nested["properties"]);
    put!(
        code,
        "impl From<{name}> for Node {{\nfn from(value: {name}) -> Self {{ Node::Map(value.0) }}\n}}\n"
    );
}

/// A struct of inputs with a setter for each, made from those that are required.
fn write_args(code: &mut String, args: &str, base: &str, properties: &Value, required: &Value) {
    let required: Vec<&str> = required.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let (mut fields, mut take) = (String::new(), String::new());
    for wire in &required {
        let (field, kind) = (ident(wire), rust_type(&properties[wire]));
        put!(fields, "/// `{wire}`.\npub {field}: Input<{kind}>,\n");
        let node = secret(&properties[wire], &format!("required.{field}"));
        put!(take, "fields.insert({wire:?}.to_owned(), {node});\n");
    }
    put!(code, "/// Inputs.\n#[derive(Clone)]\npub struct {args}(pub(crate) Fields);\n");
    if required.is_empty() {
        put!(
            code,
            "impl {args} {{\n/// Nothing is required.\npub fn new() -> Self {{ Self(Fields::new()) }}\n\
             }}\nimpl Default for {args} {{\nfn default() -> Self {{ Self::new() }}\n}}\n"
        );
    } else {
        put!(
            code,
            "/// What is required.\npub struct {base}Required {{\n{fields}}}\n\
             impl {args} {{\n/// Begins with what is required.\npub fn new(required: {base}Required) -> Self {{\n\
             let mut fields = Fields::new();\n{take}Self(fields)\n}}\n}}\n"
        );
    }
    put!(code, "impl {args} {{\n");
    for (wire, property) in entries(properties).filter(|(wire, _)| !required.contains(wire)) {
        let (method, kind) = (ident(wire), rust_type(property));
        let node = secret(property, "value.into()");
        put!(
            code,
            "#[must_use]\npub fn {method}(mut self, value: impl Into<Input<{kind}>>) -> Self {{\n\
             self.0.insert({wire:?}.to_owned(), {node});\nself\n}}\n"
        );
    }
    put!(code, "}}\n");
}

/// Accessors for the fields of an object that a provider answers.
fn write_fields(code: &mut String, name: &str, properties: &Value) {
    put!(code, "impl Output<{name}> {{\n");
    for (wire, property) in entries(properties) {
        let (method, kind) = (ident(wire), rust_type(property));
        put!(code, "pub fn {method}(&self) -> Output<{kind}> {{ self.property({wire:?}) }}\n");
    }
    put!(code, "}}\n");
}

fn secret(property: &Value, input: &str) -> String {
    if property["secret"] == true {
        format!("Input::secret({input}).into()")
    } else {
        format!("Node::from({input})")
    }
}

fn rust_type(property: &Value) -> String {
    if let Some(reference) = property["$ref"].as_str() {
        let Some(token) = reference.strip_prefix("#/types/") else { return "Value".to_owned() };
        let (module, name) = parts(token);
        return format!("crate::aws::{module}::types::{name}");
    }
    match property["type"].as_str() {
        Some("string") => "String".to_owned(),
        Some("integer") => "i64".to_owned(),
        Some("number") => "f64".to_owned(),
        Some("boolean") => "bool".to_owned(),
        Some("array") => format!("Vec<{}>", rust_type(&property["items"])),
        Some("object") => format!("BTreeMap<String, {}>", rust_type(&property["additionalProperties"])),
        other => unreachable!("no rule for type {other:?}"),
    }
}

/// Module and name of `aws:ec2/natGateway:NatGateway`.
fn parts(token: &str) -> (String, String) {
    let mut parts = token.split(':').skip(1);
    let module = parts.next().and_then(|it| it.split('/').next()).expect("a token has a module");
    (module.to_owned(), parts.next().expect("a token has a name").to_owned())
}

fn entries(object: &Value) -> impl Iterator<Item = (&str, &Value)> {
    object.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|it| it.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// `cidrBlock` → `cidr_block`; keywords are escaped.
fn ident(wire: &str) -> String {
    let mut snake = String::new();
    for letter in wire.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    match snake.as_str() {
        "type" | "match" | "ref" | "use" | "move" => format!("r#{snake}"),
        "self" => "self_".to_owned(),
        _ => snake,
    }
}

//! Rules of the house that no compiler checks: what is generated is current, what the spec offers is read, what layers
//! may name, what TLS stack is shipped, what the documentation promises.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kube::CustomResourceExt;
use serde_json::Value;
use slipway::api::application::ApplicationMigration;
use slipway::api::database::DatabaseMigration;
use slipway::aws::inventory::Kind;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn the_committed_crds_are_current() {
    for (name, yaml) in slipway::api::all_crds().unwrap() {
        for folder in ["crds", "charts/slipway/crds"] {
            let path = root().join(folder).join(&name);
            let committed = fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(
                committed,
                yaml,
                "{} is stale: run `cargo run -- crds --write crds` and `cargo run -- crds --write charts/slipway/crds`",
                path.display()
            );
        }
    }
}

/// Both kinds, and the properties of each: its spec and its status.
fn schemas() -> [(&'static str, Value); 2] {
    [("database", DatabaseMigration::crd()), ("application", ApplicationMigration::crd())].map(
        |(kind, crd)| {
            let crd = serde_json::to_value(crd).unwrap();
            (kind, crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"].clone())
        },
    )
}

/// Every property of each spec, as (kind, path, name).
fn spec_fields() -> Vec<(&'static str, String, String)> {
    let mut found = Vec::new();
    for (kind, schema) in schemas() {
        walk(&schema["spec"], "spec", &mut |path, name, _| {
            found.push((kind, path.to_owned(), name.to_owned()));
        });
    }
    found
}

fn walk(schema: &Value, path: &str, see: &mut impl FnMut(&str, &str, &Value)) {
    if let Some(properties) = schema["properties"].as_object() {
        for (name, property) in properties {
            let path = format!("{path}.{name}");
            see(&path, name, property);
            walk(property, &path, see);
        }
    }
    if schema["items"].is_object() {
        walk(&schema["items"], path, see);
    }
}

fn snake(name: &str) -> String {
    let name = name.replace("ID", "Id").replace("ARN", "Arn").replace("GiB", "Gib").replace("KiB", "Kib");
    let name = name.replace("LOB", "Lob").replace("AZ", "Az");
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

/// A field that nothing reads promises what does not happen.
#[test]
fn every_field_of_the_spec_is_read_by_code() {
    let code: String = files(&root().join("src"), "rs")
        .into_iter()
        .filter(|path| !path.starts_with(root().join("src/api")) && !path.ends_with("tests.rs"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let fields = spec_fields();
    for (kind, _) in schemas() {
        let count = fields.iter().filter(|(of, ..)| *of == kind).count();
        assert!(count > 40, "the walk found only {count} of {kind}");
    }
    let unread: Vec<(&str, &String)> = fields
        .iter()
        .filter(|(_, _, name)| {
            let name = match name.as_str() {
                // Words of Rust, or more than one thing.
                "type" => "kind".to_owned(),
                name => snake(name),
            };
            // Read as a field, or taken apart in a pattern.
            !code.contains(&format!(".{name}"))
                && !code.contains(&format!("{name}, "))
                && !code.contains(&format!("{name} }}"))
        })
        .map(|(kind, path, _)| (*kind, path))
        .collect();
    assert!(unread.is_empty(), "nothing reads {unread:?}");
}

/// Unbounded input is a way to bring an API server down.
#[test]
fn every_string_and_list_is_bounded_and_every_field_described() {
    let mut wrong = Vec::new();
    let parts =
        schemas().map(|(kind, schema)| ["spec", "status"].map(|part| (kind, part, schema[part].clone())));
    for (kind, part, schema) in parts.into_iter().flatten() {
        walk(&schema, part, &mut |path, _, property| {
            // Conditions are Kubernetes' own type.
            if path.starts_with("status.conditions") {
                return;
            }
            let mut check = |property: &Value, what: &str| match property["type"].as_str() {
                Some("string")
                    if property["enum"].is_null()
                        && property["format"].is_null()
                        && property["maxLength"].is_null() =>
                {
                    wrong.push(format!("{what} has no maxLength"));
                }
                Some("array") if property["maxItems"].is_null() => {
                    wrong.push(format!("{what} has no maxItems"));
                }
                _ => {}
            };
            let path = format!("{kind} {path}");
            check(property, &path);
            check(&property["items"], &format!("{path}[]"));
            check(&property["additionalProperties"], &format!("{path}{{}}"));
            if property["description"].as_str().is_none_or(str::is_empty) {
                wrong.push(format!("{path} has no description"));
            }
        });
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_field_takes_a_secret_or_names_another_namespace() {
    for (_, path, name) in spec_fields() {
        let lower = name.to_ascii_lowercase();
        let holds = ["password", "token", "accesskey", "secretkey"].iter().any(|word| lower.contains(word));
        // CloudWatch calls the place of a metric so.
        let elsewhere = lower == "namespace" && path != "spec.gates.metric.namespace";
        assert!(!holds && !elsewhere && lower != "url", "{path}");
    }
}

#[test]
fn layers_name_only_what_they_may() {
    let source = root().join("src");
    let mut wrong = Vec::new();
    for path in files(&source, "rs") {
        let text = fs::read_to_string(&path).unwrap();
        // Comments may speak of anything.
        let text: String =
            text.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        let within = |folder: &str| {
            path.starts_with(source.join(folder)) || path == source.join(format!("{folder}.rs"))
        };
        let mut forbid = |words: &[&str], why: &str| {
            for word in words {
                if text.contains(word) {
                    wrong.push(format!(
                        "{} names {word}: {why}",
                        path.strip_prefix(&source).unwrap().display()
                    ));
                }
            }
        };
        if !within("aws") {
            forbid(&["aws_sdk_", "aws_config", "aws_smithy"], "only src/aws speaks to AWS");
        }
        if !within("postgres") {
            forbid(&["tokio_postgres"], "only src/postgres speaks SQL");
        }
        if within("api") {
            forbid(
                &["crate::database", "crate::aws", "crate::postgres", "crate::operator"],
                "the API imports nothing of ours",
            );
        }
        let pure = within("database/cname")
            || ["database", "application"].iter().any(|kind| {
                ["decide", "goal", "seen", "plan"].iter().any(|n| within(&format!("{kind}/{n}")))
            });
        if pure {
            forbid(&["async ", ".await", "tokio", "Timestamp::now", "std::env"], "decisions are pure");
        }
        forbid(&["_permit: "], "a permit that is not asked for is none");
        if pure && !path.ends_with("tests.rs") && !path.ends_with("goal.rs") {
            forbid(&["kube::"], "decisions know no Kubernetes");
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_can_be_read_in_one_sitting() {
    let mut long = Vec::new();
    for folder in ["src", "tests"] {
        for path in files(&root().join(folder), "rs") {
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            if lines > 600 {
                long.push(format!("{}: {lines} lines", path.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    assert!(long.is_empty(), "{long:#?}");
}

/// One TLS stack: rustls 0.23 on aws-lc-rs, in everything that is shipped.
#[test]
fn the_shipped_graph_has_one_tls_stack() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--package", "slipway", "--edges", "normal,build", "--prefix", "none"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let crates: BTreeSet<(&str, &str)> = text
        .lines()
        .filter_map(|line| {
            line.split_once(" v").map(|(name, rest)| (name, rest.split(' ').next().unwrap_or(rest)))
        })
        .collect();
    let versions =
        |name: &str| -> Vec<&str> { crates.iter().filter(|(n, _)| *n == name).map(|(_, v)| *v).collect() };
    for banned in ["ring", "openssl", "openssl-sys", "native-tls", "chrono"] {
        assert!(versions(banned).is_empty(), "{banned} is shipped; `cargo tree -i {banned}` says by whom");
    }
    let rustls = versions("rustls");
    assert!(matches!(rustls[..], [one] if one.starts_with("0.23.")), "rustls {rustls:?}");
    assert_eq!(versions("aws-lc-rs").len(), 1);
}

/// An operation that the product calls.
struct Call {
    changes: bool,
    service: String,
    name: String,
}

/// All of them, wherever lines are broken. Tests have operations of their own.
fn calls() -> Vec<Call> {
    let call = r#"Operation::(read|change)\(\s*"([a-z0-9]+)",\s*"([A-Za-z0-9]+)""#;
    let call = regex_lite::Regex::new(call).unwrap();
    let mut calls = Vec::new();
    for path in files(&root().join("src/aws"), "rs") {
        let text = fs::read_to_string(&path).unwrap();
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let before = calls.len();
        calls.extend(call.captures_iter(text).map(|found| Call {
            changes: &found[1] == "change",
            service: found[2].to_owned(),
            name: found[3].to_owned(),
        }));
        assert_eq!(
            calls.len() - before,
            text.matches("Operation::read(").count() + text.matches("Operation::change(").count(),
            "an operation of {} is written so that this test can't read it",
            path.display()
        );
    }
    calls
}

/// Least privilege: the permissions that are asked for are those of the calls that are made.
#[test]
fn the_permissions_asked_for_are_those_of_the_calls() {
    let mut made: BTreeSet<(String, String)> =
        calls().into_iter().map(|call| (call.service, call.name)).collect();
    assert!(made.len() > 30, "{made:?}");
    // PutMetricAlarm and PutDashboard are refused without the right to tag.
    made.insert(("cloudwatch".to_owned(), "TagResource".to_owned()));
    let page = fs::read_to_string(root().join("docs/operating.md")).unwrap();
    let mut asked = BTreeSet::new();
    for row in page.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")) {
        if let Some((service, actions)) = row.split_once("` | ")
            && made.iter().any(|(known, _)| known == service)
        {
            asked.extend(actions.split(", ").map(|action| (service.to_owned(), action.to_owned())));
        }
    }
    assert_eq!(asked, made, "docs/operating.md, IAM actions");
}

/// What the operator learns to make, `slipway cleanup` must learn to find.
#[test]
fn whatever_the_operator_makes_a_cleanup_finds() {
    // These leave nothing behind that would not be there without them.
    const LEAVE_NOTHING: [&str; 7] = [
        "AddTagsToResource",
        // Records lead clients somewhere: to remove them would stop traffic, which is a person's to do.
        "ChangeResourceRecordSets",
        "ModifyEndpoint",
        "PutSecretValue",
        "StartReplicationTask",
        "StopReplicationTask",
        "TestConnection",
    ];
    let made: BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.made_by()).collect();
    let found: BTreeSet<String> =
        calls().into_iter().filter(|call| call.changes).map(|call| call.name).collect();
    for made in &made {
        assert!(found.contains(*made), "nothing makes a thing by {made}");
    }
    let forgotten: Vec<&String> = found
        .iter()
        .filter(|name| !name.starts_with("Delete"))
        .filter(|name| !made.contains(name.as_str()) && !LEAVE_NOTHING.contains(&name.as_str()))
        .collect();
    assert!(
        forgotten.is_empty(),
        "src/aws/inventory.rs has no kind of thing for {forgotten:?}: add one, or say here that it leaves nothing"
    );
}

/// Whoever meets a reason finds what it means and what to do.
#[test]
fn every_reason_is_explained() {
    let code = fs::read_to_string(root().join("src/api/condition.rs")).unwrap();
    let page = fs::read_to_string(root().join("docs/conditions.md")).unwrap();
    let reasons: Vec<&str> = code
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Self::")?.split_once(" => \""))
        .map(|(_, word)| word.trim_end_matches("\","))
        .filter(|word| !["True", "False"].contains(word))
        .collect();
    assert!(reasons.len() > 30, "{reasons:?}");
    let missing: Vec<&&str> = reasons.iter().filter(|word| !page.contains(&format!("| {word} |"))).collect();
    assert!(missing.is_empty(), "docs/conditions.md does not explain {missing:?}");
}

/// Links within the documentation lead somewhere.
#[test]
fn links_between_pages_are_alive() {
    let mut pages = files(&root().join("docs"), "md");
    pages.extend(
        ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"].map(|name| root().join(name)),
    );
    let mut dead = Vec::new();
    for page in pages {
        let text = fs::read_to_string(&page).unwrap_or_else(|e| panic!("{}: {e}", page.display()));
        for target in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            let local = !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:");
            if local && !page.parent().unwrap().join(target).exists() {
                dead.push(format!("{} -> {target}", page.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
}

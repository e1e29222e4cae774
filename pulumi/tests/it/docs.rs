//! The documentation's tables are what the program prints.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use slipway_infra::{config, flows};

use crate::mock::{build, variants};

#[test]
fn the_tables_in_the_documentation_are_current() {
    let page = page();
    for (what, table) in [("keys", config::table()), ("flows", flows::table())] {
        assert!(
            page.contains(&table),
            "the table of {what} in docs/infrastructure.md is stale: take what `cargo run -p slipway-infra -- tables` prints"
        );
    }
}

/// How many resources each component has, as in the documentation.
#[test]
fn the_numbers_of_resources_in_the_documentation_are_current() {
    let mut counts: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    for (column, profile) in ["development", "production"].into_iter().enumerate() {
        // As in "Run it": one network, database and fleet on-premises.
        let record = build(&[
            ("profile", profile),
            ("onPremisesNetworks", "172.20.0.0/16"),
            ("onPremisesDatabases", "172.20.1.10"),
        ]);
        for it in record.resources() {
            let component = it.parent.rsplit("::").nth(1).and_then(|it| it.rsplit(':').next()).unwrap();
            for row in [component, "all"] {
                counts.entry(row.to_owned()).or_default()[column] += 1;
            }
        }
    }
    let page = page();
    let mut table = "| resources | development | production |\n|---|---|---|\n".to_owned();
    for word in [
        "keys",
        "network",
        "security",
        "database",
        "migration",
        "application",
        "traffic",
        "control",
        "observability",
        "all",
    ] {
        let [development, production] = counts[word];
        writeln!(table, "| {word} | {development} | {production} |").unwrap();
    }
    assert!(page.contains(&table), "the numbers in docs/infrastructure.md are stale:\n{table}");
}

fn page() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/infrastructure.md");
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Whoever deploys needs every service of which something is registered, and no other.
#[test]
fn the_rights_of_whoever_deploys_are_those_services() {
    let prefix = |module: &str| match module {
        "vpc" | "ec2transitgateway" => "ec2".to_owned(),
        "cloudwatch" => "cloudwatch logs".to_owned(),
        "appautoscaling" => "application-autoscaling".to_owned(),
        "lb" => "elasticloadbalancing".to_owned(),
        other => other.to_owned(),
    };
    let mut used = BTreeSet::new();
    for (_, record) in variants() {
        for it in record.resources() {
            let module = it.kind.split([':', '/']).nth(1).unwrap();
            used.extend(prefix(module).split(' ').filter(|it| *it != "iam").map(|it| format!("{it}:*")));
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/deploying.md");
    let page = std::fs::read_to_string(path).unwrap();
    let rights = page.split("## Rights of whoever deploys").nth(1).unwrap();
    let said: BTreeSet<String> =
        rights.split([' ', '\n']).filter(|it| it.ends_with(":*")).map(str::to_owned).collect();
    assert_eq!(said, used);
}

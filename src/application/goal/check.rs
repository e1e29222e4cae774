//! What the CRD's CEL rules ask for, asked once more. They are not part of its schema, and an object may have come past
//! them.

use std::net::Ipv4Addr;

use jiff::SignedDuration;

use crate::address;
use crate::api::application::{ApplicationMigrationSpec, DatabaseKind, Gate};
use crate::api::schema;
use crate::duration;

pub(super) const MIGRATION_REF: &str = "must have migrationRef for type Migration, and not otherwise";

/// The first field that is wrong, and what is wrong with it.
pub(super) fn wrong(name: &str, spec: &ApplicationMigrationSpec) -> Option<(String, String)> {
    if name.len() + spec.environment_suffix.len() > 40 || !is_identifier(name) {
        return Some((
            "metadata.name".to_owned(),
            "must be lower case letters, digits and single hyphens, and with spec.environmentSuffix at most 40 characters"
                .to_owned(),
        ));
    }
    if let Some(misfit) = schema::APPLICATION.misfit(spec) {
        return Some((misfit.field, misfit.wrong));
    }
    source(spec)
        .or_else(|| steps(spec))
        .or_else(|| gates(spec))
        .or_else(|| positive("spec.alarms.maxP99Latency", &spec.alarms.as_ref()?.max_p99_latency))
        .map(|(field, wrong)| (field, wrong.to_owned()))
}

type Wrong = Option<(String, &'static str)>;

fn positive(field: &str, text: &str) -> Wrong {
    let fits = duration::parse(text).is_some_and(|time| time.is_positive());
    (!fits).then(|| (field.to_owned(), "must be a duration longer than nothing, such as 5s"))
}

fn at_least_a_second(field: String, text: &str) -> Wrong {
    let fits = duration::parse(text).is_some_and(|time| time >= SignedDuration::from_secs(1));
    (!fits).then_some((field, "must be a duration of at least 1s, such as 30m"))
}

fn source(spec: &ApplicationMigrationSpec) -> Wrong {
    for (index, text) in spec.source.ipv4_addresses.iter().flatten().enumerate() {
        let fits =
            text.parse::<Ipv4Addr>().is_ok_and(|address| !address::is_metadata_or_worse(address.into()));
        if !fits {
            return Some((
                format!("spec.source.ipv4Addresses[{index}]"),
                "must be the application's own address, and not a link-local, multicast or metadata address",
            ));
        }
    }
    let host = spec.source.hostname.as_deref().unwrap_or_default();
    let last = host.rsplit('.').next().unwrap_or(host);
    let is_number = !last.is_empty()
        && (last.bytes().all(|b| b.is_ascii_digit())
            || last.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit())));
    let metadata = ["metadata", "metadata.google.internal", "instance-data", "instance-data.ec2.internal"];
    (is_number || metadata.contains(&host)).then(|| {
        ("spec.source.hostname".to_owned(), "must be a name, and not an address or the cloud's metadata")
    })
}

fn steps(spec: &ApplicationMigrationSpec) -> Wrong {
    let steps = &spec.traffic.steps;
    let rising = steps.windows(2).all(|pair| pair[0].weight < pair[1].weight);
    if !rising || steps.last().is_none_or(|last| last.weight != 100) {
        return Some((
            "spec.traffic.steps".to_owned(),
            "must have weights that strictly rise and end at 100",
        ));
    }
    for (index, step) in steps.iter().enumerate() {
        let field = format!("spec.traffic.steps[{index}]");
        if let Some(wrong) = at_least_a_second(format!("{field}.hold"), &step.hold) {
            return Some(wrong);
        }
        let known = |name: &String| spec.gates.iter().any(|gate| gate.name == *name);
        if !step.gates.iter().flatten().all(known) {
            return Some((format!("{field}.gates"), "must name gates that spec.gates defines"));
        }
    }
    None
}

fn gates(spec: &ApplicationMigrationSpec) -> Wrong {
    let of_database =
        |gate: &Gate| gate.database_lag.is_some() || gate.database_verified.is_some() || gate.sql.is_some();
    for (index, gate) in spec.gates.iter().enumerate() {
        let field = format!("spec.gates[{index}]");
        if of_database(gate) && spec.database.kind != DatabaseKind::Migration {
            return Some((field, "must not ask a database: that needs spec.database.type Migration"));
        }
        let lag = gate.database_lag.as_ref();
        let wrong = at_least_a_second(format!("{field}.interval"), &gate.interval)
            .or_else(|| positive(&format!("{field}.databaseLag.max"), &lag?.max))
            .or_else(|| query(&field, &gate.sql.as_ref()?.query))
            .or_else(|| {
                let metric = gate.metric.as_ref()?;
                let of_source = metric.source_dimensions.iter().flatten();
                dimensions(&field, "dimensions", metric.dimensions.iter())
                    .or_else(|| dimensions(&field, "sourceDimensions", of_source))
            });
        if wrong.is_some() {
            return wrong;
        }
    }
    None
}

/// As CloudWatch takes them (API reference, Dimension).
fn dimensions<'a>(gate: &str, which: &str, mut all: impl Iterator<Item = (&'a String, &'a String)>) -> Wrong {
    let fits = |text: &String| {
        (1..=255).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
    };
    let wrong = all.any(|(name, value)| !fits(name) || name.starts_with(':') || !fits(value));
    wrong.then(|| {
        let field = format!("{gate}.metric.{which}");
        (field, "must have names and values of 1 to 255 printable ASCII characters, and no name that begins with a colon")
    })
}

fn query(field: &str, query: &str) -> Wrong {
    let first: String = query.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let fits = ["select", "with", "values", "table"].contains(&first.to_ascii_lowercase().as_str());
    (!fits).then(|| {
        (format!("{field}.sql.query"), "must be one query that begins with SELECT, WITH, VALUES or TABLE")
    })
}

fn is_identifier(text: &str) -> bool {
    let bytes = text.as_bytes();
    !bytes.is_empty()
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
        && !text.contains("--")
}

//! Is everything as it must be before anything is made, or before another step is taken? Finds every blocker, in the
//! order in which a person would mend them.

use std::collections::BTreeMap;

use crate::api::condition::Reason;
use crate::aws::dms::Owner;
use crate::database::decide::wanted;
use crate::database::goal::{Goal, InstanceGoal};
use crate::database::seen::{AwsSeen, Known, Seen};
use crate::fault::{Blocked, Fault};
use crate::postgres::{Record, Server, Table, TableKind};
use crate::side::Side;

/// Everything in the way; or `Err` with what could not be learned, which is no verdict at all.
pub fn assess(goal: &Goal, seen: &Seen) -> Result<Vec<Blocked>, String> {
    let mut found = Findings::default();
    found.known(&seen.account);
    for side in Side::BOTH {
        found.known(seen.material.get(side));
        found.known(seen.address.get(side));
        // A side whose Secret or address is missing was not asked; its own finding says why.
        if seen.material.get(side).is_ok() && seen.address.get(side).is_ok() {
            found.known(seen.database.get(side));
            found.known(seen.replication_login.get(side));
        }
    }
    found.known(&seen.aws);
    if let Ok(aws) = &seen.aws {
        foreign(goal, aws, &mut found);
        if let (InstanceGoal::Existing { arn }, None) = (&goal.instance, &aws.instance) {
            found.block(
                Reason::InstanceMissing,
                format_args!("spec.replication.instance.arn: there is no replication instance {arn}"),
                "Correct the ARN, or use managed to have one made",
            );
        }
    }
    if let (Ok(source), Ok(target)) = (&seen.database.source, &seen.database.target) {
        let started = seen.aws.as_ref().is_ok_and(has_started);
        identity(goal, source, target, &mut found);
        source_fit(source, started, &mut found);
        target_fit(goal, seen, source, target, &mut found);
    }
    match found {
        Findings { unknown: Some(message), .. } => Err(message),
        Findings { blockers, unknown: None } => Ok(blockers),
    }
}

/// The task was started once: from then on a target with rows is our own work.
pub(crate) fn has_started(aws: &AwsSeen) -> bool {
    aws.task.as_ref().is_some_and(|task| task.owner == Owner::Us && task.started_at.is_some())
}

#[derive(Default)]
struct Findings {
    blockers: Vec<Blocked>,
    unknown: Option<String>,
}

impl Findings {
    fn known<T>(&mut self, fact: &Known<T>) {
        match fact {
            Ok(_) => {}
            Err(Fault::Blocked(blocked)) => {
                if !self.blockers.contains(blocked) {
                    self.blockers.push(blocked.clone());
                }
            }
            Err(fault) => {
                self.unknown.get_or_insert_with(|| fault.message().to_owned());
            }
        }
    }

    fn block(&mut self, reason: Reason, wrong: impl std::fmt::Display, remedy: impl std::fmt::Display) {
        self.blockers.push(Blocked::new(reason, wrong, remedy));
    }
}

fn foreign(goal: &Goal, aws: &AwsSeen, found: &mut Findings) {
    let mut seen = Vec::new();
    if let (InstanceGoal::Managed(_), Some(instance)) = (&goal.instance, &aws.instance) {
        seen.push(("replication instance", &instance.identifier, &instance.owner));
    }
    if let Some(group) = &aws.subnet_group {
        seen.push(("replication subnet group", &group.identifier, &group.owner));
    }
    for certificate in &aws.certificates {
        seen.push(("certificate", &certificate.identifier, &certificate.owner));
    }
    for endpoint in [&aws.endpoints.source, &aws.endpoints.target].into_iter().flatten() {
        seen.push(("endpoint", &endpoint.identifier, &endpoint.owner));
    }
    if let Some(task) = &aws.task {
        seen.push(("replication task", &task.identifier, &task.owner));
    }
    for alarm in &aws.alarms {
        seen.push(("alarm", &alarm.alarm.name, &alarm.owner));
    }
    for (kind, identifier, owner) in seen {
        if let Owner::Other(whose) = owner {
            let whose = whose.as_deref().map_or_else(
                || "carries no tag slipway.dev/uid".to_owned(),
                |uid| format!("is tagged with the uid {uid} of another resource"),
            );
            found.block(
                Reason::NotOurs,
                format_args!("The {kind} {identifier} exists and {whose}, so it is left alone"),
                "Delete it, or use another metadata.name or environmentSuffix",
            );
        }
    }
}

fn identity(goal: &Goal, source: &Server, target: &Server, found: &mut Findings) {
    let same_server = source.identity.system_identifier == target.identity.system_identifier;
    if same_server && goal.sides.source.database == goal.sides.target.database {
        found.block(
            Reason::InvalidSpec,
            "spec.source and spec.target are the same database of the same server",
            "Correct spec.source.endpoint or spec.target",
        );
    }
    for (side, server) in [(Side::Source, source), (Side::Target, target)] {
        if let Record::Present { migration, uid, system_identifier, .. } = &server.record {
            if uid.is_empty() {
                // Its migration let go of it; the next one takes it over.
            } else if *uid != goal.migration.uid {
                found.block(
                    Reason::OtherMigration,
                    format_args!(
                        "The {side} database belongs to the DatabaseMigration {migration} (uid {uid}) by its row in slipway.token"
                    ),
                    "Delete that resource first; if it is gone for good, drop the tables of the schema slipway as their owner",
                );
            } else if *system_identifier != server.identity.system_identifier {
                found.block(
                    Reason::OtherServer,
                    format_args!(
                        "The {side} is another server than the one that this migration began with (system identifier {} instead of {system_identifier})",
                        server.identity.system_identifier
                    ),
                    "Point the endpoint at the server itself or at a physical standby of it that was promoted",
                );
            }
        }
    }
    if target.identity.version / 10_000 < source.identity.version / 10_000 {
        found.block(
            Reason::TableUnsupported,
            format_args!(
                "The target runs PostgreSQL {} and the source {}",
                target.identity.version / 10_000,
                source.identity.version / 10_000
            ),
            "Use a target of the same or a newer major version",
        );
    }
}

fn source_fit(source: &Server, started: bool, found: &mut Findings) {
    if source.wal_level != "logical" {
        found.block(
            Reason::WalLevelNotLogical,
            format_args!("wal_level of the source is {}", source.wal_level),
            "Run ALTER SYSTEM SET wal_level = logical on the source and restart it",
        );
    }
    if !started {
        for (free, setting) in
            [(source.free_slots, "max_replication_slots"), (source.free_wal_senders, "max_wal_senders")]
        {
            if free < 1 {
                found.block(
                    Reason::SlotsExhausted,
                    format_args!("The source has none left of {setting}"),
                    format_args!("Raise {setting} and restart the source, or remove what is no longer used"),
                );
            }
        }
    }
    if wanted::tables(&source.tables).next().is_none() {
        found.block(
            Reason::NoTables,
            "spec.tables.include selects no table on the source",
            "Correct the schema or table names; they are written exactly, without quotes",
        );
    }
    let without_key: Vec<_> = wanted::tables(&source.tables).filter(|t| !t.has_primary_key).collect();
    if !without_key.is_empty() {
        found.block(
            Reason::TableWithoutKey,
            format_args!(
                "{} on the source without a primary key: {}; DMS would ignore their updates and deletes",
                count(&without_key),
                list(&without_key)
            ),
            "Add a primary key, or leave them out with spec.tables.exclude",
        );
    }
    let unlogged: Vec<_> = source.tables.iter().filter(|t| t.kind == TableKind::Unlogged).collect();
    if !unlogged.is_empty() {
        found.block(
            Reason::TableUnsupported,
            format_args!(
                "{} on the source UNLOGGED: {}; their changes never reach a replication slot",
                count(&unlogged),
                list(&unlogged)
            ),
            "Run ALTER TABLE … SET LOGGED, or leave them out with spec.tables.exclude",
        );
    }
    privileges(Side::Source, source, found);
}

fn target_fit(goal: &Goal, seen: &Seen, source: &Server, target: &Server, found: &mut Findings) {
    let on_target: BTreeMap<(&str, &str), &Table> =
        target.tables.iter().map(|t| ((t.schema.as_str(), t.name.as_str()), t)).collect();
    let mut missing = Vec::new();
    let mut different = Vec::new();
    for table in wanted::tables(&source.tables) {
        match on_target.get(&(table.schema.as_str(), table.name.as_str())) {
            None => missing.push(table),
            Some(twin) if twin.columns != table.columns => different.push(table),
            Some(_) => {}
        }
    }
    if !missing.is_empty() || !different.is_empty() {
        let wrong = match (missing.is_empty(), different.is_empty()) {
            (false, true) => format!("{} missing on the target: {}", count(&missing), list(&missing)),
            (true, false) => {
                format!("{} with other columns on the target: {}", count(&different), list(&different))
            }
            _ => format!(
                "{} missing on the target: {}; {} with other columns: {}",
                count(&missing),
                list(&missing),
                count(&different),
                list(&different)
            ),
        };
        found.block(
            Reason::TargetSchemaMissing,
            wrong,
            format_args!(
                "Carry the schema over, so that its tables' owner on the target is the same role: {}",
                schema_command(goal, seen)
            ),
        );
    }
    if !seen.aws.as_ref().is_ok_and(has_started) {
        let filled: Vec<_> =
            wanted::tables(&target.tables).filter(|table| table.empty == Some(false)).collect();
        if !filled.is_empty() {
            found.block(
                Reason::TargetNotEmpty,
                format_args!("{} on the target with rows in it: {}", count(&filled), list(&filled)),
                "A load would mix them with the source's. If they are not needed, empty them with TRUNCATE as their owner; if they are, this is not the target that you mean",
            );
        }
    }
    privileges(Side::Target, target, found);
}

/// The command that carries the schema over, ready to be pasted by a person who has the owner's rights.
fn schema_command(goal: &Goal, seen: &Seen) -> String {
    let schemas: std::collections::BTreeSet<_> =
        goal.tables.include.iter().map(|t| format!("--schema='{}'", t.schema)).collect();
    let at = |side: Side| {
        // Both are known, since both databases answered.
        let place = seen.address.get(side).as_ref().map_or_else(
            |_| String::new(),
            |(host, port)| format!("--host={host} --port={port} "),
        );
        format!("{place}--dbname='{}'", goal.sides.get(side).database)
    };
    format!(
        "pg_dump --schema-only {} {} | psql {}",
        schemas.into_iter().collect::<Vec<_>>().join(" "),
        at(Side::Source),
        at(Side::Target)
    )
}

fn privileges(side: Side, server: &Server, found: &mut Findings) {
    if let Some((first, rest)) = server.missing_privileges.split_first() {
        let more = if rest.is_empty() { String::new() } else { format!("; and {} more", rest.len()) };
        found.block(
            Reason::PrivilegeMissing,
            format_args!("{first}{more}"),
            format_args!("examples/sql/roles-{side}.sql has every grant that is needed"),
        );
    }
}

fn count(tables: &[&Table]) -> String {
    match tables.len() {
        1 => "1 table".to_owned(),
        n => format!("{n} tables"),
    }
}

fn list(tables: &[&Table]) -> String {
    const SHOWN: usize = 5;
    let mut names: Vec<String> =
        tables.iter().take(SHOWN).map(|table| format!("{}.{}", table.schema, table.name)).collect();
    if tables.len() > SHOWN {
        names.push(format!("and {} more", tables.len() - SHOWN));
    }
    names.join(", ")
}

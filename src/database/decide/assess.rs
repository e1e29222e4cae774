//! Is everything as it must be before anything is made, or before another step is taken? Finds every blocker, in the
//! order in which a person would mend them.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::condition::Reason;
use crate::aws::dms::Owner;
use crate::database::decide::wanted;
use crate::database::goal::{Goal, InstanceGoal};
use crate::database::seen::{AwsSeen, Known, Seen};
use crate::fault::{Blocked, Fault};
use crate::postgres::{Holder, Record, Server, Table, TableKind};
use crate::side::Side;

/// Everything in the way; or `Err` with what could not be learned, which is no verdict at all.
pub fn assess(goal: &Goal, seen: &Seen) -> Result<Vec<Blocked>, String> {
    let mut found = Findings::default();
    // A side whose Secret or address is missing was not asked; its own finding says why.
    let was_asked = |side: Side| seen.material.get(side).is_ok() && seen.address.get(side).is_ok();
    found.known(&seen.account);
    for side in Side::BOTH {
        found.known(seen.material.get(side));
        found.known(seen.address.get(side));
        if was_asked(side) {
            found.known(seen.database.get(side));
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
    let both = (&seen.database.source, &seen.database.target);
    if let (Ok(source), Ok(target)) = both {
        identity(goal, source, target, &mut found);
    }
    // Whose a database is comes first: a login to one that was carried away is not to be mended.
    for side in Side::BOTH.into_iter().filter(|side| was_asked(*side)) {
        found.known(seen.replication_login.get(side));
    }
    if let (Ok(source), Ok(target)) = both {
        let started = seen.aws.as_ref().is_ok_and(has_started);
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
        if let Record::Present { migration, uid, system_identifier, token, .. } = &server.record {
            if uid.is_empty() && side == Side::Source && token.holder != Holder::Side(side) {
                found.block(
                    Reason::OtherMigration,
                    format_args!(
                        "The source is fenced: the DatabaseMigration {migration} moved its writer away and was finished"
                    ),
                    "If this database is to be carried away once more, open it first, and drop the tables of the schema slipway as their owner",
                );
            } else if uid.is_empty() {
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
                "{} UNLOGGED on the source: {}; their changes never reach a replication slot",
                if unlogged.len() == 1 {
                    "1 table is".to_owned()
                } else {
                    format!("{} are", count(&unlogged))
                },
                list(&unlogged)
            ),
            "Run ALTER TABLE … SET LOGGED, or leave them out with spec.tables.exclude",
        );
    }
    privileges(Side::Source, source, found);
}

fn target_fit(goal: &Goal, seen: &Seen, source: &Server, target: &Server, found: &mut Findings) {
    let on_target: BTreeMap<(&str, &str), &Table> =
        target.tables.iter().map(|table| (key(table), table)).collect();
    let mut missing = Vec::new();
    let mut different = Vec::new();
    for table in wanted::tables(&source.tables) {
        match on_target.get(&key(table)) {
            None => missing.push(table),
            Some(twin) if twin.columns != table.columns => different.push((table, difference(table, twin))),
            Some(_) => {}
        }
    }
    if !missing.is_empty() || !different.is_empty() {
        let mut wrong = Vec::new();
        if !missing.is_empty() {
            wrong.push(format!("{} missing on the target: {}", count(&missing), list(&missing)));
        }
        if !different.is_empty() {
            let others =
                different.iter().map(|(table, how)| format!("{}.{} ({how})", table.schema, table.name));
            let these = tables(different.len());
            wrong.push(format!("{these} with other columns on the target: {}", shortened(others)));
        }
        let to_carry: Vec<&Table> = if missing.is_empty() {
            different.into_iter().map(|(table, _)| table).collect()
        } else {
            missing
        };
        let whole = to_carry.len() == wanted::tables(&source.tables).count();
        let advice = if on_target.contains_key(&key(to_carry[0])) {
            "Alter them there, or drop them there and carry them over"
        } else {
            "Carry them over, and see that the same role owns them there"
        };
        found.block(
            Reason::TargetSchemaMissing,
            wrong.join("; "),
            format_args!("{advice}: {}", schema_command(goal, seen, if whole { &[] } else { &to_carry })),
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

fn key(table: &Table) -> (&str, &str) {
    (&table.schema, &table.name)
}

/// The command that carries these tables over, or all of the schemas, ready to be pasted by a person who has the
/// owner's rights.
fn schema_command(goal: &Goal, seen: &Seen, tables: &[&Table]) -> String {
    const NAMED: usize = 20;
    let what: BTreeSet<String> = if tables.is_empty() || tables.len() > NAMED {
        goal.tables.include.iter().map(|t| format!("--schema='\"{}\"'", t.schema)).collect()
    } else {
        tables.iter().map(|t| format!("--table='\"{}\".\"{}\"'", t.schema, t.name)).collect()
    };
    let at = |side: Side| {
        // Both are known, since both databases answered.
        let place = seen
            .address
            .get(side)
            .as_ref()
            .map_or_else(|_| String::new(), |(host, port)| format!("--host={host} --port={port} "));
        format!("{place}--dbname='{}'", goal.sides.get(side).database)
    };
    format!(
        "pg_dump --schema-only {} {} | psql {}",
        what.into_iter().collect::<Vec<_>>().join(" "),
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

fn count(found: &[&Table]) -> String {
    tables(found.len())
}

fn tables(count: usize) -> String {
    match count {
        1 => "1 table".to_owned(),
        n => format!("{n} tables"),
    }
}

fn list(tables: &[&Table]) -> String {
    shortened(tables.iter().map(|table| format!("{}.{}", table.schema, table.name)))
}

fn shortened(items: impl ExactSizeIterator<Item = String>) -> String {
    const SHOWN: usize = 5;
    let more = items.len().saturating_sub(SHOWN);
    let mut shown: Vec<String> = items.take(SHOWN).collect();
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    shown.join(", ")
}

/// The first way in which the columns of two tables differ.
fn difference(source: &Table, target: &Table) -> String {
    for (name, source_type) in &source.columns {
        match target.columns.iter().find(|(twin, _)| twin == name) {
            None => return format!("{name} is missing"),
            Some((_, target_type)) if target_type != source_type => {
                return format!("{name} is {target_type} on the target and {source_type} on the source");
            }
            Some(_) => {}
        }
    }
    let more = target.columns.iter().find(|(name, _)| !source.columns.iter().any(|(twin, _)| twin == name));
    more.map_or_else(|| "in another order".to_owned(), |(name, _)| format!("{name} is not on the source"))
}

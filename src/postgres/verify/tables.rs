//! Which tables are compared, and in which form.

use std::collections::HashMap;

use super::super::TableKind;
use super::super::connect::Connection;
use super::super::selection::Selection;
use super::expression::{self, Column, Form, Hash};
use crate::fault::Fault;

/// Count and sum of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) rows: i64,
    pub(super) hashes: String,
}

/// One selected table.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    schema: String,
    name: String,
    quoted: String,
    kind: Kind,
    columns: Vec<Column>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Ordinary,
    Unlogged,
    /// Schema and name of its parts that hold rows, and were not selected.
    Partitioned(Vec<(String, String)>),
}

// A type's form in a row: 'binary' if PostgreSQL brought it along with a form to send; the base's name for a domain over such
// a type; else text. reg* are sent as numbers of objects, and "char"-like oddities without a send function have text only.
const COLUMNS: &str = "
WITH RECURSIVE used AS (
  SELECT DISTINCT atttypid AS type FROM pg_attribute WHERE attrelid = ANY ($1) AND attnum > 0 AND NOT attisdropped),
base AS (
  SELECT type, type AS base FROM used
  UNION ALL
  SELECT b.type, t.typbasetype FROM base b JOIN pg_type t ON t.oid = b.base AND t.typtype = 'd'),
form AS (
  SELECT b.type,
         CASE WHEN s.plain THEN CASE WHEN b.base = b.type THEN 'binary' ELSE format_type(b.base, -1) END
              WHEN EXISTS (SELECT FROM pg_cast c WHERE c.castsource IN (b.type, b.base) AND c.casttarget = 25)
              THEN 'output' ELSE 'text' END AS word
    FROM base b JOIN pg_type t ON t.oid = b.base AND t.typtype <> 'd'
    LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
   CROSS JOIN LATERAL (
         SELECT t.oid < 16384 AND t.typtype IN ('b', 'r', 'm') AND t.typsend <> 0
                AND t.typname !~ '^_?reg' AND coalesce(e.typsend <> 0 AND e.typtype IN ('b', 'r', 'm'), true) AS plain) s)
SELECT a.attrelid, a.attname::text, format_type(a.atttypid, a.atttypmod), quote_ident(a.attname), f.word
  FROM pg_attribute a JOIN form f ON f.type = a.atttypid
 WHERE a.attrelid = ANY ($1) AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attrelid, a.attnum";

// Of a partitioned table, the parts are compared, if they are selected.
const PARTS: &str = "
SELECT p.oid, n.nspname::text, c.relname::text
  FROM unnest($1::oid[]) p(oid)
 CROSS JOIN LATERAL pg_partition_tree(p.oid) t
  JOIN pg_class c ON c.oid = t.relid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE t.isleaf AND c.relkind <> 'p' AND c.oid <> ALL ($2)
 ORDER BY 2, 3";

/// The selected tables as they are in the transaction's snapshot, and what the probe of the hash gave.
pub(super) async fn find(
    connection: &Connection,
    selection: &Selection,
) -> Result<(Vec<Subject>, Option<i64>), Fault> {
    let selected = selection.find(connection).await?;
    let oids: Vec<u32> = selected.iter().map(|table| table.oid).collect();
    let mut columns: HashMap<u32, Vec<Column>> = HashMap::new();
    for row in connection.query("reading the columns", COLUMNS, &[&oids]).await? {
        columns.entry(row.get(0)).or_default().push(Column {
            name: row.get(1),
            kind: row.get(2),
            quoted: row.get(3),
            form: Form::parse(row.get(4)),
        });
    }
    let parents: Vec<u32> = selected
        .iter()
        .filter(|table| table.table.kind == TableKind::Partitioned)
        .map(|table| table.oid)
        .collect();
    let mut parts: HashMap<u32, Vec<(String, String)>> = HashMap::new();
    if !parents.is_empty() {
        for row in connection.query("reading the partitions", PARTS, &[&parents, &oids]).await? {
            parts.entry(row.get(0)).or_default().push((row.get(1), row.get(2)));
        }
    }
    let subjects = selected.into_iter().map(|found| {
        let kind = match found.table.kind {
            TableKind::Ordinary => Kind::Ordinary,
            TableKind::Unlogged => Kind::Unlogged,
            TableKind::Partitioned => Kind::Partitioned(parts.remove(&found.oid).unwrap_or_default()),
        };
        Subject {
            schema: found.table.schema,
            name: found.table.name,
            quoted: found.quoted,
            kind,
            columns: columns.remove(&found.oid).unwrap_or_default(),
        }
    });
    let subjects = subjects.collect();
    let supported = connection.row("probing the hash", expression::PROBE_SUPPORTED, &[]).await?;
    let probe = if supported.get(0) {
        Some(connection.row("probing the hash", expression::PROBE, &[]).await?.get(0))
    } else {
        None
    };
    Ok((subjects, probe))
}

impl Subject {
    pub(super) fn key(&self) -> (String, String) {
        (self.schema.clone(), self.name.clone())
    }

    pub(super) fn object(&self) -> String {
        format!("table {}.{}", self.schema, self.name)
    }

    /// It keeps rows itself.
    pub(super) fn holds_rows(&self) -> bool {
        !matches!(self.kind, Kind::Partitioned(_))
    }

    /// Why it can't be compared, or not all of it.
    pub(super) fn unfit(&self, selection: &Selection) -> Option<String> {
        match &self.kind {
            Kind::Ordinary => None,
            Kind::Unlogged => Some("is UNLOGGED, and so was not carried".to_owned()),
            Kind::Partitioned(parts) => {
                let left_out = |(schema, name): &(String, String)| {
                    let mut exclude = selection.exclude.iter();
                    exclude.any(|s| s.schema == *schema && (s.name == "*" || s.name == *name))
                };
                let missed = parts.iter().find(|part| !left_out(part));
                missed.map(|(schema, name)| format!("its partition {schema}.{name} is not selected"))
            }
        }
    }

    /// In what the columns differ, if they do. Their order may.
    pub(super) fn other_columns(&self, twin: &Self) -> Option<String> {
        if twin.kind != Kind::Ordinary {
            return Some("is of another kind on the other side".to_owned());
        }
        let there = |column: &Column, others: &[Column]| {
            others.iter().any(|other| other.name == column.name && other.kind == column.kind)
        };
        let missing = self.columns.iter().find(|column| !there(column, &twin.columns));
        let missing = missing.or_else(|| twin.columns.iter().find(|column| !there(column, &self.columns)));
        missing.map(|column| format!("column {} is not the same on both sides", column.name))
    }

    /// The statement that sums it up, in the form that suits both sides.
    pub(super) fn sum(&self, twin: &Self, hash: Hash) -> String {
        let whole = self.columns == twin.columns;
        hash.sum(&expression::row(&self.columns, whole), &format!("ONLY {} t", self.quoted))
    }

    /// The same for its twin: the columns in the first one's order and form.
    pub(super) fn sum_as(&self, first: &Self, hash: Hash) -> String {
        let whole = self.columns == first.columns;
        hash.sum(&expression::row(&first.columns, whole), &format!("ONLY {} t", self.quoted))
    }
}

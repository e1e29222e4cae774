//! One table in a comparison: how it is defined, what its rows hash to, and which rows differ.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokio_postgres::{Client, GenericClient, Row};

use crate::plane::TableName;
use crate::postgres::Error;

use super::How;

/// So many groups of rows are compared before single rows are.
const BUCKETS: i64 = 1024;
/// Keys in one look.
const KEYS_AT_ONCE: usize = 2000;

/// The values of a primary key as text.
pub(super) type Key = Vec<String>;

/// One version of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Of all its values.
    pub(super) hash: i64,
    /// The transaction that wrote this version, and where it lies.
    version: String,
}

#[cfg(test)]
impl Seen {
    pub(super) fn new(hash: i64, version: &str) -> Self {
        Self { hash, version: version.to_owned() }
    }
}

/// Count and sum of hashes by bucket. A sum, because XOR would see nothing of two equal extra rows.
pub(super) struct Buckets(BTreeMap<i64, (i64, String)>);

impl Buckets {
    pub(super) fn rows(&self) -> u64 {
        self.0.values().map(|(count, _)| count.unsigned_abs()).sum()
    }

    pub(super) fn differing(&self, other: &Self) -> Vec<i64> {
        let all: BTreeSet<i64> = self.0.keys().chain(other.0.keys()).copied().collect();
        all.into_iter().filter(|bucket| self.0.get(bucket) != other.0.get(bucket)).collect()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Column {
    name: String,
    /// As declared, with its modifier and schema.
    declared: String,
    /// Its values carry the number of a type that each database numbers for itself.
    numbered: bool,
    /// Its place in the primary key.
    key: Option<i32>,
}

/// A table that both sides define alike.
pub(super) struct Table {
    pub(super) name: TableName,
    columns: Vec<Column>,
}

/// The tables of the schemas, which must be the same on both sides, with the same columns and keys.
pub(super) async fn discover(
    source: &Client,
    target: &Client,
    schemas: &[&str],
) -> Result<Vec<Table>, Error> {
    let wrong =
        |cause: String| Error::Sql { attempt: format!("comparing schemas {}", schemas.join(", ")), cause };
    let here = definitions(source, "source", schemas).await?;
    let mut there = definitions(target, "target", schemas).await?;
    if here.is_empty() {
        return Err(wrong("the source has no table there, and nothing compared is not equal".to_owned()));
    }
    let mut tables = Vec::new();
    for (name, columns) in here {
        let shown = format!("{}.{}", name.schema, name.name);
        let other = there.remove(&name).ok_or_else(|| wrong(format!("the target has no table {shown}")))?;
        if columns != other {
            return Err(wrong(format!(
                "table {shown} is defined otherwise on the target: {columns:?}, {other:?}"
            )));
        }
        if columns.iter().all(|column| column.key.is_none()) {
            return Err(wrong(format!("table {shown} has no primary key, so its rows can't be told apart")));
        }
        tables.push(Table { name, columns });
    }
    match there.into_keys().next() {
        Some(extra) => Err(wrong(format!("the source has no table {}.{}", extra.schema, extra.name))),
        None => Ok(tables),
    }
}

async fn definitions(
    client: &Client,
    side: &str,
    schemas: &[&str],
) -> Result<BTreeMap<TableName, Vec<Column>>, Error> {
    // Types from 16384 on were made by users; an array of one is numbered too, and so is a domain's or range's own.
    let sql = "SELECT n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
                      a.atttypid >= 16384,
                      (SELECT array_position(i.indkey::int2[], a.attnum)
                       FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)
               FROM pg_class c
               JOIN pg_namespace n ON n.oid = c.relnamespace
               LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
               WHERE c.relkind = 'r' AND n.nspname = ANY ($1)
               ORDER BY 1, 2, 3";
    let attempt = format!("listing the tables of the {side}");
    let mut tables: BTreeMap<TableName, Vec<Column>> = BTreeMap::new();
    for row in client.query(sql, &[&schemas]).await.map_err(Error::sql(attempt))? {
        let columns = tables.entry(TableName { schema: row.get(0), name: row.get(1) }).or_default();
        if let Some(name) = row.get(2) {
            columns.push(Column { name, declared: row.get(3), numbered: row.get(4), key: row.get(5) });
        }
    }
    Ok(tables)
}

impl Table {
    /// Counts and sums of all rows, from one snapshot.
    pub(super) async fn buckets(&self, client: &impl GenericClient) -> Result<Buckets, Error> {
        let sql = format!(
            "SELECT {} AS bucket, count(*), sum({})::text FROM ONLY {} AS t GROUP BY 1",
            self.bucket(),
            self.hash(),
            self.quoted(),
        );
        let rows = client.query(&sql, &[]).await.map_err(Error::sql(format!("hashing {}", self.quoted())))?;
        Ok(Buckets(rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect()))
    }

    /// The rows of these buckets that are not the same on both sides just now.
    pub(super) async fn differing_rows(
        &self,
        source: &Client,
        target: &Client,
        buckets: &[i64],
    ) -> Result<Vec<(Key, How)>, Error> {
        if buckets.is_empty() {
            return Ok(Vec::new());
        }
        let here = self.rows(source, buckets).await?;
        let mut there = self.rows(target, buckets).await?;
        let mut differing = Vec::new();
        for (key, hash) in here {
            match there.remove(&key) {
                Some(other) if other == hash => {}
                Some(_) => differing.push((key, How::Different)),
                None => differing.push((key, How::MissingOnTarget)),
            }
        }
        differing.extend(there.into_keys().map(|key| (key, How::ExtraOnTarget)));
        Ok(differing)
    }

    async fn rows(&self, client: &Client, buckets: &[i64]) -> Result<HashMap<Key, i64>, Error> {
        let sql = format!(
            "SELECT {}, {} FROM ONLY {} AS t WHERE {} = ANY ($1)",
            self.key_text(),
            self.hash(),
            self.quoted(),
            self.bucket(),
        );
        let attempt = format!("reading keys of {}", self.quoted());
        let rows = client.query(&sql, &[&buckets]).await.map_err(Error::sql(attempt))?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// The present version of each of these rows, in the order of the keys.
    pub(super) async fn look(
        &self,
        client: &Client,
        side: &str,
        keys: &[&Key],
    ) -> Result<Vec<Option<Seen>>, Error> {
        let names: Vec<String> = (0..self.key().len()).map(|place| format!("k{place}")).collect();
        let parameters: Vec<String> = (1..=names.len()).map(|place| format!("${place}::text[]")).collect();
        // Cast to the key's own type, so that its index is used.
        let matches: Vec<String> = self
            .key()
            .iter()
            .zip(&names)
            .map(|(column, name)| format!("t.{} = k.{name}::{}", quote(&column.name), column.declared))
            .collect();
        let sql = format!(
            "SELECT k.place, {}, t.xmin::text || ' ' || t.ctid::text
             FROM ROWS FROM (unnest({})) WITH ORDINALITY AS k ({}, place)
             JOIN ONLY {} AS t ON {}",
            self.hash(),
            parameters.join("), unnest("),
            names.join(", "),
            self.quoted(),
            matches.join(" AND "),
        );
        let mut seen = Vec::new();
        for keys in keys.chunks(KEYS_AT_ONCE) {
            let columns: Vec<Vec<&str>> =
                (0..names.len()).map(|place| keys.iter().map(|key| key[place].as_str()).collect()).collect();
            let values: Vec<_> =
                columns.iter().map(|c| c as &(dyn tokio_postgres::types::ToSql + Sync)).collect();
            let attempt = format!("looking at rows of {} on the {side}", self.quoted());
            let rows = client.query(&sql, &values).await.map_err(Error::sql(attempt))?;
            let mut found: HashMap<i64, Seen> = rows
                .iter()
                .map(|row: &Row| (row.get(0), Seen { hash: row.get(1), version: row.get(2) }))
                .collect();
            seen.extend((1i64..).take(keys.len()).map(|place| found.remove(&place)));
        }
        Ok(seen)
    }

    /// The hash of a row as it would be sent: the values of a numeric or jsonb that compare as equal are told apart.
    fn hash(&self) -> String {
        let values: Vec<String> = self
            .columns
            .iter()
            .map(|column| {
                let cast = if column.numbered { "::text" } else { "" };
                format!("t.{}{cast}", quote(&column.name))
            })
            .collect();
        sent_hash(&values)
    }

    fn bucket(&self) -> String {
        format!("({} & {})", sent_hash(&[self.key_text()]), BUCKETS - 1)
    }

    fn key_text(&self) -> String {
        let values: Vec<String> =
            self.key().iter().map(|column| format!("t.{}::text", quote(&column.name))).collect();
        format!("ARRAY[{}]", values.join(", "))
    }

    fn key(&self) -> Vec<&Column> {
        let mut key: Vec<&Column> = self.columns.iter().filter(|column| column.key.is_some()).collect();
        key.sort_by_key(|column| column.key);
        key
    }

    fn quoted(&self) -> String {
        format!("{}.{}", quote(&self.name.schema), quote(&self.name.name))
    }
}

fn sent_hash(values: &[String]) -> String {
    let row = values.join(", ");
    format!("hash_record_extended(ROW(record_send(ROW({row}))), 0)")
}

/// An identifier as SQL takes it, whatever is in it.
pub(super) fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

//! Which tables a migration is about.

use super::connect::Connection;
use super::{Table, TableKind};
use crate::api::database::TableSelector;
use crate::fault::Fault;

/// The tables that the spec selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Carried: every table of a schema, or the one named.
    pub include: Vec<TableSelector>,
    /// Left out of what `include` chose.
    pub exclude: Vec<TableSelector>,
}

/// One selected table with the handles by which the server knows it.
pub(super) struct Selected {
    pub(super) oid: u32,
    /// Schema and name, quoted where they must be.
    pub(super) quoted: String,
    pub(super) table: Table,
}

const SELECT: &str = "
SELECT c.oid, format('%I.%I', n.nspname, c.relname), n.nspname::text, c.relname::text,
       c.relkind = 'p', c.relpersistence = 'u',
       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND i.indisvalid),
       a.names, a.types
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
 CROSS JOIN LATERAL (
       SELECT coalesce(array_agg(attname::text ORDER BY attnum), '{}') AS names,
              coalesce(array_agg(format_type(atttypid, atttypmod) ORDER BY attnum), '{}') AS types
         FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped) a
";

// Slipway's and DMS's own tables are never carried as if they were the application's, whatever the selectors say.
const CHOSEN: &str = "
 WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
   AND n.nspname NOT IN ('slipway', 'information_schema')
   AND n.nspname !~ '^(pg_|awsdms)' AND c.relname !~ '^awsdms_'
   AND EXISTS (SELECT FROM unnest($1::text[], $2::text[]) s(schema, name)
                WHERE s.schema = n.nspname AND s.name IN ('*', c.relname))
   AND NOT EXISTS (SELECT FROM unnest($3::text[], $4::text[]) s(schema, name)
                    WHERE s.schema = n.nspname AND s.name IN ('*', c.relname))";

/// Whether a schema `n` holds tables of an application.
pub(super) const OF_APPLICATIONS: &str =
    "n.nspname NOT IN ('slipway', 'information_schema') AND n.nspname !~ '^(pg_|awsdms)'";

impl Selection {
    /// The selected tables as they are now, sorted by name.
    pub(super) async fn find(&self, connection: &Connection) -> Result<Vec<Selected>, Fault> {
        let (schemas, names) = columns(&self.include);
        let (not_schemas, not_names) = columns(&self.exclude);
        let sql = format!("{SELECT} {CHOSEN} ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\"");
        let rows = connection
            .query_long("reading the tables", &sql, &[&schemas, &names, &not_schemas, &not_names])
            .await?;
        let found = rows.iter().map(|row| {
            let kind = match (row.get(4), row.get(5)) {
                (true, _) => TableKind::Partitioned,
                (false, true) => TableKind::Unlogged,
                (false, false) => TableKind::Ordinary,
            };
            let (columns, types): (Vec<String>, Vec<String>) = (row.get(7), row.get(8));
            let table = Table {
                schema: row.get(2),
                name: row.get(3),
                kind,
                has_primary_key: row.get(6),
                columns: columns.into_iter().zip(types).collect(),
                empty: None,
            };
            Selected { oid: row.get(0), quoted: row.get(1), table }
        });
        Ok(found.collect())
    }

    /// The same, by nothing but the server's handles.
    pub(super) async fn oids(&self, connection: &Connection) -> Result<Vec<u32>, Fault> {
        let (schemas, names) = columns(&self.include);
        let (not_schemas, not_names) = columns(&self.exclude);
        let sql = chosen();
        let rows = connection
            .query("reading the tables", &sql, &[&schemas, &names, &not_schemas, &not_names])
            .await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Every table of an application that is there, for those who know of no spec.
    pub async fn of_everything(connection: &Connection) -> Result<Self, Fault> {
        let sql = format!("SELECT n.nspname::text FROM pg_namespace n WHERE {OF_APPLICATIONS} ORDER BY 1");
        let rows = connection.query("reading the schemas", &sql, &[]).await?;
        let include =
            rows.iter().map(|row| TableSelector { schema: row.get(0), name: "*".to_owned() }).collect();
        Ok(Self { include, exclude: Vec::new() })
    }
}

/// A query of the selected tables' oid, owner and quoted name, with [`columns`] of both lists as `$1` to `$4`.
pub(super) fn chosen() -> String {
    format!(
        "SELECT c.oid, c.relowner, format('%I.%I', n.nspname, c.relname) AS name
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace {CHOSEN}"
    )
}

pub(super) fn columns(selectors: &[TableSelector]) -> (Vec<&str>, Vec<&str>) {
    selectors.iter().map(|selector| (selector.schema.as_str(), selector.name.as_str())).unzip()
}

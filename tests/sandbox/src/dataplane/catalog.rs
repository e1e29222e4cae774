//! Which tables the selections choose, and what the catalogs say about them.

use std::collections::HashMap;

use tokio_postgres::Client;

use super::connect::Failure;
use crate::plane::{Selection, TableName};

/// Writes an identifier so that it is taken as it is.
pub(super) fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// Writes a string constant.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Writes a table's name with its schema.
pub(super) fn qualified(table: &TableName) -> String {
    format!("{}.{}", quoted(&table.schema), quoted(&table.name))
}

/// Whether the selection rules choose a table: some include matches and no exclude does.
pub(super) fn selected(selections: &[Selection], table: &TableName) -> bool {
    let matches = |selection: &&Selection| {
        matches(&selection.schema, &table.schema) && matches(&selection.table, &table.name)
    };
    let mut chosen = false;
    for selection in selections.iter().filter(matches) {
        if !selection.include {
            return false;
        }
        chosen = true;
    }
    chosen
}

/// Whether `text` fits a pattern in which `%` stands for anything, `_` for any one character, and `[_]` for an underscore
/// (DMS user guide, table mapping: wildcards in the object locator).
fn matches(pattern: &str, text: &str) -> bool {
    if let Some(rest) = pattern.strip_prefix("[_]") {
        return text.strip_prefix('_').is_some_and(|text| matches(rest, text));
    }
    let Some(first) = pattern.chars().next() else { return text.is_empty() };
    let rest = &pattern[first.len_utf8()..];
    match first {
        '%' => (0..=text.len()).filter(|at| text.is_char_boundary(*at)).any(|at| matches(rest, &text[at..])),
        '_' => text.chars().next().is_some_and(|any| matches(rest, &text[any.len_utf8()..])),
        literal => text.strip_prefix(literal).is_some_and(|text| matches(rest, text)),
    }
}

/// The base tables of a source that the selections choose. Not partitioned parents: their partitions are tables.
pub(super) async fn tables(source: &Client, selections: &[Selection]) -> Result<Vec<TableName>, Failure> {
    let rows = source
        .query(
            "SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
               AND c.relname NOT LIKE 'awsdms\\_%' ORDER BY 1, 2",
            &[],
        )
        .await
        .map_err(|error| Failure::of("listing the source's tables", &error))?;
    let all = rows.iter().map(|row| TableName { schema: row.get(0), name: row.get(1) });
    Ok(all.filter(|table| selected(selections, table)).collect())
}

/// A column as both load and apply need to know it.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    /// Computed by the server: never written.
    pub(super) generated: bool,
    /// `GENERATED ALWAYS AS IDENTITY`: an INSERT may override it, an UPDATE may not.
    pub(super) identity_always: bool,
    /// The type has an equality that tells what its text tells.
    pub(super) comparable: bool,
}

/// A table as a server has it.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) columns: Vec<Column>,
    /// Names of the primary key's columns; empty if there is none.
    pub(super) key: Vec<String>,
    /// `REPLICA IDENTITY FULL`.
    pub(super) whole_row_identity: bool,
}

impl Shape {
    /// The columns that hold data of their own.
    pub(super) fn stored(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| !column.generated)
    }

    /// Their quoted names, as a list.
    pub(super) fn column_list(&self) -> String {
        self.stored().map(|column| quoted(&column.name)).collect::<Vec<_>>().join(", ")
    }

    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// Reads the shapes of `tables`; those that the server does not have, or not as ordinary tables, are missing from the
/// answer.
pub(super) async fn shapes(
    client: &Client,
    tables: &[TableName],
) -> Result<HashMap<TableName, Shape>, Failure> {
    let schemas: Vec<&str> = tables.iter().map(|table| table.schema.as_str()).collect();
    let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    let rows = client
        .query(
            "SELECT n.nspname::text, c.relname::text, a.attname::text, a.attgenerated <> '', a.attidentity = 'a',
                    COALESCE(array_position((i.indkey::int2[])[0:i.indnkeyatts - 1], a.attnum), -1)::int, c.relreplident = 'f',
                    t.typname NOT IN ('json', 'xml', 'point', 'box', 'line', 'lseg', 'path', 'polygon', 'circle',
                        '_json', '_xml', '_point', '_box', '_line', '_lseg', '_path', '_polygon', '_circle')
             FROM unnest($1::text[], $2::text[]) AS wanted(schema, name)
             JOIN pg_namespace n ON n.nspname = wanted.schema
             JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name AND c.relkind = 'r'
             LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
             LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
             LEFT JOIN pg_type t ON t.oid = a.atttypid
             ORDER BY 1, 2, a.attnum",
            &[&schemas, &names],
        )
        .await
        .map_err(|error| Failure::of("reading the tables' columns", &error))?;
    let mut shapes: HashMap<TableName, Shape> = HashMap::new();
    let mut keys: HashMap<TableName, Vec<(i32, String)>> = HashMap::new();
    for row in rows {
        let table = TableName { schema: row.get(0), name: row.get(1) };
        let shape = shapes.entry(table.clone()).or_insert_with(|| Shape {
            columns: Vec::new(),
            key: Vec::new(),
            whole_row_identity: row.get(6),
        });
        let Some(name) = row.get::<_, Option<String>>(2) else { continue };
        let position: i32 = row.get(5);
        if position >= 0 {
            keys.entry(table).or_default().push((position, name.clone()));
        }
        shape.columns.push(Column {
            name,
            generated: row.get(3),
            identity_always: row.get(4),
            comparable: row.get(7),
        });
    }
    for (table, mut key) in keys {
        key.sort();
        if let Some(shape) = shapes.get_mut(&table) {
            shape.key = key.into_iter().map(|(_, name)| name).collect();
        }
    }
    Ok(shapes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_stands_for_anything() {
        for (pattern, text, fits) in [
            ("%", "", true),
            ("public", "public", true),
            ("public", "publicx", false),
            ("acc%", "accounts", true),
            ("%log", "audit_log", true),
            ("%log", "logs", false),
            ("a%b%c", "aXbYbZc", true),
            ("a%a", "a", false),
            ("a_c", "abbc", false),
            ("%%", "x", true),
            ("tmp[_]x", "tmp_x", true),
            ("tmp[_]x", "tmpax", false),
            ("tmp_x", "tmpax", true),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn exclude_wins_in_any_order() {
        let rule = |include, table: &str| Selection { include, schema: "public".into(), table: table.into() };
        let rules = [rule(false, "secret%"), rule(true, "%")];
        let table = |name: &str| TableName { schema: "public".into(), name: name.into() };
        assert!(selected(&rules, &table("accounts")));
        assert!(!selected(&rules, &table("secrets")));
        assert!(!selected(&rules, &TableName { schema: "other".into(), name: "accounts".into() }));
    }
}

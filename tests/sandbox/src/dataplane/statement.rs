//! SQL that repeats one change on the target.
//!
//! Values are written as quoted constants, so the target's own types read them; text forms are pinned for both sides.

use super::{
    catalog::{Column, Shape, literal, qualified, quoted},
    decoding::{Change, Datum, Tuple},
};
use crate::plane::TableName;

/// The statement for a change; `None` if there is nothing to do: as with AWS, an update or delete of a table that has
/// neither a key nor a whole-row identity is ignored.
pub(super) fn statement(table: &TableName, shape: &Shape, change: &Change) -> Option<String> {
    let name = qualified(table);
    match change {
        Change::Insert(row) => {
            let stored: Vec<_> = row.iter().filter(|(column, _)| is_stored(shape, column)).collect();
            if stored.is_empty() {
                return Some(format!("INSERT INTO {name} DEFAULT VALUES"));
            }
            let columns: Vec<_> = stored.iter().map(|(column, _)| quoted(column)).collect();
            let values: Vec<_> = stored.iter().map(|(_, datum)| constant(datum)).collect();
            Some(format!(
                "INSERT INTO {name} ({}) OVERRIDING SYSTEM VALUE VALUES ({})",
                columns.join(", "),
                values.join(", ")
            ))
        }
        Change::Update { old, new } => {
            let which = which_row(&name, shape, old.as_ref(), Some(new))?;
            let sets: Vec<_> = new
                .iter()
                .filter(|(column, datum)| *datum != Datum::Unchanged && is_stored(shape, column))
                .filter(|(column, datum)| {
                    // The server refuses to set such a column, even to what it is. If it really changed, the
                    // refusal is the truth.
                    let same = old.as_ref().and_then(|old| old.iter().find(|(name, _)| name == column));
                    !shape.column(column).is_some_and(|column| column.identity_always)
                        || same.is_some_and(|(_, old)| old != datum)
                })
                .map(|(column, datum)| format!("{} = {}", quoted(column), constant(datum)))
                .collect();
            if sets.is_empty() {
                return None;
            }
            Some(format!("UPDATE {name} SET {} WHERE {which}", sets.join(", ")))
        }
        Change::Delete(old) => {
            let which = which_row(&name, shape, old.as_ref(), None)?;
            Some(format!("DELETE FROM {name} WHERE {which}"))
        }
    }
}

/// A column that the target does not know is written all the same, so that its refusal names it.
fn is_stored(shape: &Shape, column: &str) -> bool {
    shape.column(column).is_none_or(|column| !column.generated)
}

fn constant(datum: &Datum) -> String {
    match datum {
        Datum::Text(text) => literal(text),
        Datum::Null | Datum::Unchanged => "NULL".to_owned(),
    }
}

fn which_row(name: &str, shape: &Shape, old: Option<&Tuple>, new: Option<&Tuple>) -> Option<String> {
    let identity = old.or(new)?;
    let find = |column: &str| identity.iter().find(|(name, _)| name == column).map(|(_, datum)| datum);
    let by_key: Option<Vec<_>> = shape
        .key
        .iter()
        .map(|column| match find(column)? {
            Datum::Text(text) => Some(format!("{} = {}", quoted(column), literal(text))),
            Datum::Null | Datum::Unchanged => None,
        })
        .collect();
    match by_key {
        Some(conditions) if !conditions.is_empty() => return Some(conditions.join(" AND ")),
        _ => {}
    }
    let old = old?;
    let conditions: Vec<_> = if shape.whole_row_identity {
        // An old row leaves out what was NULL.
        shape.stored().filter_map(|column| is(column, find(&column.name))).collect()
    } else {
        old.iter().filter_map(|(name, datum)| is(shape.column(name)?, Some(datum))).collect()
    };
    // Rows that equal each other in all columns are interchangeable, but only one of them changed.
    let conditions = conditions.join(" AND ");
    Some(format!("ctid = (SELECT ctid FROM {name} WHERE {conditions} LIMIT 1)"))
}

fn is(column: &Column, datum: Option<&Datum>) -> Option<String> {
    let name = quoted(&column.name);
    match datum {
        Some(Datum::Text(text)) if column.comparable => Some(format!("{name} = {}", literal(text))),
        Some(Datum::Text(text)) => Some(format!("{name}::text = {}", literal(text))),
        Some(Datum::Unchanged) => None,
        Some(Datum::Null) | None => Some(format!("{name} IS NULL")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str) -> Column {
        Column { name: name.into(), generated: false, identity_always: false, comparable: true }
    }

    fn text(column: &str, value: &str) -> (String, Datum) {
        (column.into(), Datum::Text(value.into()))
    }

    #[test]
    fn writes_each_change_for_one_row() {
        let table = TableName { schema: "public".into(), name: "T".into() };
        let mut shape = Shape {
            columns: vec![
                Column { identity_always: true, ..column("id") },
                column("v"),
                Column { generated: true, ..column("g") },
                Column { comparable: false, ..column("j") },
            ],
            key: vec!["id".into()],
            whole_row_identity: false,
        };
        let row = vec![text("id", "1"), text("v", "it's"), text("g", "2"), ("j".into(), Datum::Unchanged)];
        let say = |shape: &Shape, change: Change| statement(&table, shape, &change);
        assert_eq!(
            say(&shape, Change::Insert(row[..3].to_vec())).as_deref(),
            Some(r#"INSERT INTO "public"."T" ("id", "v") OVERRIDING SYSTEM VALUE VALUES ('1', 'it''s')"#)
        );
        assert_eq!(
            say(&shape, Change::Update { old: None, new: row.clone() }).as_deref(),
            Some(r#"UPDATE "public"."T" SET "v" = 'it''s' WHERE "id" = '1'"#)
        );
        assert_eq!(
            say(&shape, Change::Update { old: Some(vec![text("id", "7")]), new: row.clone() }).as_deref(),
            Some(r#"UPDATE "public"."T" SET "id" = '1', "v" = 'it''s' WHERE "id" = '7'"#)
        );
        shape.key.clear();
        assert_eq!(say(&shape, Change::Update { old: None, new: row.clone() }), None);
        assert_eq!(say(&shape, Change::Delete(None)), None);
        shape.whole_row_identity = true;
        assert_eq!(
            say(&shape, Change::Delete(Some(vec![text("id", "1"), text("j", "{}")]))).as_deref(),
            Some(
                r#"DELETE FROM "public"."T" WHERE ctid = (SELECT ctid FROM "public"."T" WHERE "id" = '1' AND "v" IS NULL AND "j"::text = '{}' LIMIT 1)"#
            )
        );
    }
}

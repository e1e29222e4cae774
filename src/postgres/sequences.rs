//! Sequences: replication carries rows and not these, so they are moved by hand, exactly, while nobody can use them.

use std::collections::HashMap;

use super::connect::Connection;
use super::guarded::{Epoch, guarded, not_writable};
use super::selection::Selection;
use super::token::Guard;
use crate::api::condition::Reason;
use crate::fault::Fault;
use crate::permit::Permit;

/// So many sequences are handled in one transaction, so that their locks do not add up.
const AT_ONCE: usize = 200;

/// What [`move_sequences`] saw at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SequencesMoved {
    /// So many were read on both sides, and none on the new side is behind.
    pub count: usize,
    /// So many of them had to be set.
    pub set: usize,
}

// Those that a selected table owns or uses by default, and those of a selected schema that no table owns: an application
// may call nextval itself. Both deptypes count: 'a' for serial and OWNED BY, 'i' for identity.
const FIND: &str = "
WITH used AS (
  SELECT d.objid AS sequence FROM pg_depend d
   WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY ($1)
     AND d.deptype IN ('a', 'i')
  UNION
  SELECT d.refobjid FROM pg_attrdef a JOIN pg_depend d
      ON d.classid = 'pg_attrdef'::regclass AND d.objid = a.oid AND d.refclassid = 'pg_class'::regclass
   WHERE a.adrelid = ANY ($1)),
free AS (
  SELECT c.oid AS sequence FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE n.nspname = ANY ($2::text[])
     AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                       AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i'))
     AND NOT EXISTS (SELECT FROM unnest($3::text[], $4::text[]) s(schema, name)
                      WHERE s.schema = n.nspname AND s.name IN ('*', c.relname)))
SELECT n.nspname::text, c.relname::text
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND c.oid IN (SELECT sequence FROM used UNION SELECT sequence FROM free)
 ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\"";

// The names are bound; what is read is named by the server itself, quoted.
const DEFINITIONS: &str = "
SELECT w.i::integer, format('%I.%I', n.nspname, c.relname),
       has_schema_privilege(n.oid, 'USAGE') AND has_sequence_privilege(c.oid, 'SELECT'),
       has_sequence_privilege(c.oid, 'UPDATE'), s.seqincrement, s.seqmin, s.seqmax, s.seqcycle
  FROM unnest($1::text[], $2::text[]) WITH ORDINALITY w(schema, name, i)
  JOIN pg_namespace n ON n.nspname = w.schema
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name AND c.relkind = 'S'
  JOIN pg_sequence s ON s.seqrelid = c.oid
 ORDER BY w.i";

// Columns of whole numbers whose default is the plain next value, so that their largest value says where the sequence was.
const COLUMNS: &str = "
SELECT w.i::integer,
       CASE t.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END || format('%I.%I', tn.nspname, t.relname), quote_ident(a.attname)
  FROM unnest($1::text[], $2::text[]) WITH ORDINALITY w(schema, name, i)
  JOIN pg_namespace n ON n.nspname = w.schema
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name AND c.relkind = 'S'
  JOIN LATERAL (
       SELECT d.refobjid AS relation, d.refobjsubid AS number FROM pg_depend d
        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_class'::regclass
          AND d.deptype = 'i' AND d.refobjsubid > 0
       UNION
       SELECT f.adrelid, f.adnum FROM pg_depend d JOIN pg_attrdef f ON f.oid = d.objid
        WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid
          AND pg_get_expr(f.adbin, f.adrelid) ~ '^\\(*nextval\\(''.+''::regclass\\)\\)*(::(integer|smallint|bigint))?$'
       ) u ON true
  JOIN pg_class t ON t.oid = u.relation AND t.oid = ANY ($3)
  JOIN pg_namespace tn ON tn.oid = t.relnamespace
  JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = u.number AND a.atttypid IN (20, 21, 23)
 ORDER BY w.i";

/// A sequence as one side defines it.
#[derive(Clone, Debug)]
struct Sequence {
    quoted: String,
    increment: i64,
    min: i64,
    max: i64,
    cycle: bool,
}

/// Where a sequence stands: the value, and whether it was given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    last: i64,
    called: bool,
}

impl Position {
    /// The one of the two that is further on in the direction of `increment`.
    fn further(self, other: Self, increment: i64) -> Self {
        let rank = |position: Self| {
            let last = i128::from(position.last);
            (if increment < 0 { -last } else { last }, position.called)
        };
        if rank(other) > rank(self) { other } else { self }
    }
}

/// Brings every sequence of the selected tables and schemas on `to` to where it stands on `from`: never backwards in its own
/// direction, and never behind a value that a column already holds. Reads it back. `guard` is that of `to`, which must not
/// be the writer; `from` must be fenced, for only then is what is read here the last word.
pub async fn move_sequences(
    from: &Connection,
    to: &Connection,
    permit: &Permit<'_>,
    guard: &Guard,
    selection: &Selection,
) -> Result<SequencesMoved, Fault> {
    let (names, tables) = tokio::try_join!(names(from, selection), selected(to, selection))?;
    let mut moved = SequencesMoved::default();
    for some in names.chunks(AT_ONCE) {
        let schemas: Vec<&str> = some.iter().map(|(schema, _)| schema.as_str()).collect();
        let sequences: Vec<&str> = some.iter().map(|(_, name)| name.as_str()).collect();
        let old = async {
            let old = definitions(from, &schemas, &sequences, false).await?;
            let stand = positions(from, &old).await?;
            Ok::<_, Fault>((old, stand))
        };
        let new = async {
            let new = definitions(to, &schemas, &sequences, true).await?;
            let held = held(to, &schemas, &sequences, &new, &tables).await?;
            Ok::<_, Fault>((new, held))
        };
        let ((old, stand), (new, held)) = tokio::try_join!(old, new)?;
        let set = async {
            let present = positions(to, &new).await?;
            let mut wanted = Vec::new();
            for i in 0..some.len() {
                wanted.push(want(to, (&old[i], stand[i]), (&new[i], present[i]), held.get(&i).copied())?);
            }
            let behind: Vec<usize> = (0..some.len()).filter(|&i| wanted[i] != present[i]).collect();
            set(to, &new, &wanted, &behind).await?;
            Ok((wanted, behind.len()))
        };
        let allowed = not_writable(to.side());
        let (wanted, set) =
            guarded(to, permit, guard, Epoch::UpTo, &allowed, "setting the sequences", Box::pin(set)).await?;
        let reached = positions(to, &new).await?;
        if let Some(i) = (0..some.len()).find(|&i| reached[i] != wanted[i]) {
            return Err(Fault::Again(format!(
                "sequence {} on {} was set and stands elsewhere",
                new[i].quoted,
                to.at()
            )));
        }
        moved.count += some.len();
        moved.set += set;
    }
    Ok(moved)
}

async fn selected(connection: &Connection, selection: &Selection) -> Result<Vec<u32>, Fault> {
    Ok(selection.find(connection).await?.iter().map(|selected| selected.oid).collect())
}

/// Schema and name of every sequence that belongs to the selection.
async fn names(connection: &Connection, selection: &Selection) -> Result<Vec<(String, String)>, Fault> {
    let tables = selected(connection, selection).await?;
    let schemas: Vec<&str> = selection.include.iter().map(|selector| selector.schema.as_str()).collect();
    let (not_schemas, not_names): (Vec<&str>, Vec<&str>) =
        selection.exclude.iter().map(|selector| (selector.schema.as_str(), selector.name.as_str())).unzip();
    let rows = connection
        .query("reading the sequences", FIND, &[&tables, &schemas, &not_schemas, &not_names])
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// The sequences in the order of their names; one that is missing or may not be read or `set` is a person's to mend.
async fn definitions(
    connection: &Connection,
    schemas: &[&str],
    names: &[&str],
    set: bool,
) -> Result<Vec<Sequence>, Fault> {
    let rows =
        connection.query("reading the sequences' definitions", DEFINITIONS, &[&schemas, &names]).await?;
    let mut found = Vec::new();
    let mut rows = rows.iter().peekable();
    for (i, (schema, name)) in (1_i32..).zip(schemas.iter().zip(names)) {
        let Some(row) = rows.next_if(|row| row.get::<_, i32>(0) == i) else {
            return Err(Fault::blocked(
                Reason::TargetSchemaMissing,
                format_args!("sequence {schema}.{name} is missing on {}", connection.at()),
                "Create it there as it is on the other side, or leave it out with spec.tables.exclude",
            ));
        };
        let quoted: String = row.get(1);
        let privilege = if set { "SELECT, UPDATE" } else { "SELECT" };
        if !row.get::<_, bool>(2) || (set && !row.get::<_, bool>(3)) {
            return Err(Fault::blocked(
                Reason::PrivilegeMissing,
                format_args!(
                    "the operator's role lacks {privilege} on sequence {quoted} of {}",
                    connection.at()
                ),
                format_args!("GRANT {privilege} ON SEQUENCE {quoted} TO {}", connection.role()),
            ));
        }
        let (increment, min, max, cycle) = (row.get(4), row.get(5), row.get(6), row.get(7));
        found.push(Sequence { quoted, increment, min, max, cycle });
    }
    Ok(found)
}

/// Where each stands. From the sequence itself: the view `pg_sequences` shows NULL both for one that was never used and for
/// one that may not be read.
async fn positions(connection: &Connection, sequences: &[Sequence]) -> Result<Vec<Position>, Fault> {
    if sequences.is_empty() {
        return Ok(Vec::new());
    }
    let parts: Vec<String> = sequences
        .iter()
        .enumerate()
        .map(|(i, sequence)| format!("SELECT {i}, last_value, is_called FROM {}", sequence.quoted))
        .collect();
    let sql = format!("SELECT * FROM ({}) p ORDER BY 1", parts.join(" UNION ALL "));
    let rows = connection.query("reading the sequences", &sql, &[]).await?;
    let positions: Vec<Position> =
        rows.iter().map(|row| Position { last: row.get(1), called: row.get(2) }).collect();
    if positions.len() == sequences.len() {
        return Ok(positions);
    }
    Err(Fault::Again(format!("reading the sequences of {}: some had no row", connection.at())))
}

/// The value, furthest on in the sequence's direction and within its bounds, that a column fed by it holds already.
async fn held(
    connection: &Connection,
    schemas: &[&str],
    names: &[&str],
    sequences: &[Sequence],
    tables: &[u32],
) -> Result<HashMap<usize, i64>, Fault> {
    let rows = connection
        .query("reading which columns use sequences", COLUMNS, &[&schemas, &names, &tables])
        .await?;
    let parts: Vec<String> = rows
        .iter()
        .filter_map(|row| {
            let i = usize::try_from(row.get::<_, i32>(0)).ok()?.checked_sub(1)?;
            let (table, column): (&str, &str) = (row.get(1), row.get(2));
            let Sequence { increment, min, max, .. } = sequences.get(i)?;
            let furthest = if *increment < 0 { "min" } else { "max" };
            Some(format!(
                "SELECT {i}, (SELECT {furthest}({column}) FROM {table}
                   WHERE {column} BETWEEN '{min}'::bigint AND '{max}'::bigint)::bigint"
            ))
        })
        .collect();
    let mut held: HashMap<usize, i64> = HashMap::new();
    for some in parts.chunks(AT_ONCE / 2) {
        let sql = some.join(" UNION ALL ");
        for row in connection.query("reading the columns that use sequences", &sql, &[]).await? {
            let (Ok(i), Some(value)) = (usize::try_from(row.get::<_, i32>(0)), row.get::<_, Option<i64>>(1))
            else {
                continue;
            };
            let descending = sequences[i].increment < 0;
            let known = held.entry(i).or_insert(value);
            *known = if descending { value.min(*known) } else { value.max(*known) };
        }
    }
    Ok(held)
}

/// Where a sequence has to stand.
fn want(
    to: &Connection,
    (old, stand): (&Sequence, Position),
    (new, present): (&Sequence, Position),
    held: Option<i64>,
) -> Result<Position, Fault> {
    let unfit = |how: &str| {
        Fault::blocked(
            Reason::TargetSchemaMissing,
            format_args!("sequence {} of {} {how}", new.quoted, to.at()),
            "Make it there as it is on the other side: ALTER SEQUENCE … AS, INCREMENT, MINVALUE, MAXVALUE, CYCLE",
        )
    };
    if (old.increment < 0) != (new.increment < 0) || old.cycle != new.cycle {
        return Err(unfit("goes another way than the other side's"));
    }
    let wanted = if new.cycle {
        // It may have begun anew, and then what is further on is what was long ago.
        stand
    } else {
        let held = held.map_or(stand, |last| Position { last, called: true });
        stand.further(held, new.increment).further(present, new.increment)
    };
    if wanted.last < new.min || wanted.last > new.max {
        return Err(unfit(&format!("ends before {}, where the other side's stands", wanted.last)));
    }
    Ok(wanted)
}

async fn set(
    connection: &Connection,
    sequences: &[Sequence],
    wanted: &[Position],
    which: &[usize],
) -> Result<(), Fault> {
    if which.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = which.iter().map(|&i| sequences[i].quoted.as_str()).collect();
    let values: Vec<i64> = which.iter().map(|&i| wanted[i].last).collect();
    let called: Vec<bool> = which.iter().map(|&i| wanted[i].called).collect();
    let sql = "SELECT count(setval(s.name::regclass, s.value, s.called))
                 FROM unnest($1::text[], $2::bigint[], $3::boolean[]) s(name, value, called)";
    connection.query("setting the sequences", sql, &[&names, &values, &called]).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: i64, called: bool) -> Position {
        Position { last, called }
    }

    #[test]
    fn further_on_is_so_in_the_sequences_own_direction() {
        for (one, other, increment, further) in [
            (at(5, true), at(7, true), 1, at(7, true)),
            (at(7, true), at(5, true), 1, at(7, true)),
            (at(5, false), at(5, true), 1, at(5, true)),
            (at(5, true), at(5, false), 1, at(5, true)),
            (at(-5, true), at(-7, true), -1, at(-7, true)),
            (at(-5, true), at(-5, false), -1, at(-5, true)),
            (at(i64::MIN, true), at(i64::MAX, false), -1, at(i64::MIN, true)),
            (at(i64::MIN, true), at(i64::MAX, false), 1, at(i64::MAX, false)),
        ] {
            assert_eq!(one.further(other, increment), further, "{one:?} {other:?} {increment}");
        }
    }
}

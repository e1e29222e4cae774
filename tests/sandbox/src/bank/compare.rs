//! Are both sides equal, while the application writes to the one and the replication to the other?
//!
//! Every row of every table is compared byte for byte, as PostgreSQL would send it: a scale of a number or `''` for NULL
//! is a difference. First both sides are read once in full, the target after it has applied all that the source's
//! snapshot held. Rows that differ then are suspects: differences, or still on their way. Each round looks at the suspects
//! on the source, waits until the target has applied at least that position, looks there, and on the source again. A row
//! that was not touched meanwhile and still differs, twice, is a difference. One that never holds still is reported as
//! unresolved, and unresolved is not equal.

mod table;

use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_postgres::types::PgLsn;
use tokio_postgres::{Client, IsolationLevel};

use crate::plane::TableName;
use crate::postgres::Error;
use table::{Key, Seen, Table};

/// A suspect that moved in each of so many rounds is unresolved.
const ROUNDS: u32 = 20;
/// Everything that the text form of a value depends on; and no search path, so that type names come with their schema.
const SETTINGS: &str = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; \
    SET extra_float_digits = 3; SET bytea_output = 'hex'; SET search_path = ''; SET statement_timeout = 0";

/// How the target gets what the source has.
#[derive(Clone, Debug)]
pub enum Following {
    /// Nothing is replicated and nobody writes: both sides are taken as they are.
    AtRest,
    /// A replication applies the source's transactions in the order of their commits, and notes the position of the
    /// last one in the same transaction, in `SCHEMA.awsdms_txn_state` under its name.
    Position {
        /// The control schema on the target.
        control_schema: String,
        /// The task's name there.
        task: String,
        /// How long the target may take to apply a position.
        patience: Duration,
    },
}

/// How a row differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// The source has it, the target does not.
    MissingOnTarget,
    /// The target has it, the source does not.
    ExtraOnTarget,
    /// Both have it, with other values.
    Different,
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MissingOnTarget => "missing on target",
            Self::ExtraOnTarget => "extra on target",
            Self::Different => "different",
        })
    }
}

/// One row that is not the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// Its table.
    pub table: TableName,
    /// The values of its primary key, as text.
    pub key: Vec<String>,
    /// How it differs.
    pub how: How,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} ({}): {}", self.table.schema, self.table.name, self.key.join(", "), self.how)
    }
}

/// What a comparison found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// The source's position that the target had applied when the last suspect was settled.
    pub lsn: PgLsn,
    /// Tables compared.
    pub tables: usize,
    /// Rows of the source that were compared.
    pub rows: u64,
    /// Rows that differ for good.
    pub differences: Vec<Difference>,
    /// Rows that changed in every round and could not be judged.
    pub unresolved: Vec<Difference>,
}

impl Comparison {
    /// Every row was seen equal.
    pub fn equal(&self) -> bool {
        self.differences.is_empty() && self.unresolved.is_empty()
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lsn, tables, rows, differences, unresolved } = self;
        if self.equal() {
            return write!(f, "source and target equal at {lsn}: {tables} tables, {rows} rows");
        }
        let (found, open) = (differences.len(), unresolved.len());
        write!(
            f,
            "source and target differ at {lsn}: {found} rows of {rows} differ, {open} could not be judged"
        )?;
        differences.iter().chain(unresolved).take(10).try_for_each(|row| write!(f, "\n  {row}"))
    }
}

/// A suspect and the number of rounds in which it was found different while nobody touched it.
struct Suspect {
    table: usize,
    key: Key,
    confirmed: u32,
    how: How,
}

/// Compares every table of `schemas`, in full. Both clients need to read all of them and the catalogs. An error, an
/// empty list of tables, or definitions that differ is an error, and says nothing about the rows.
pub async fn compare(
    source: &mut Client,
    target: &mut Client,
    schemas: &[&str],
    following: &Following,
) -> Result<Comparison, Error> {
    for (side, client) in [("source", &*source), ("target", &*target)] {
        let attempt = format!("preparing the comparison on the {side}");
        client.batch_execute(SETTINGS).await.map_err(Error::sql(attempt))?;
    }
    let tables = table::discover(source, target, schemas).await?;

    let (contents, rows) = read_all(source, "source", &tables).await?;
    let mut lsn = position(source).await?;
    wait_applied(source, target, following, lsn).await?;
    let (other, _) = read_all(target, "target", &tables).await?;

    let mut suspects = Vec::new();
    for (index, table) in tables.iter().enumerate() {
        let buckets = contents[index].differing(&other[index]);
        for (key, how) in table.differing_rows(source, target, &buckets).await? {
            suspects.push(Suspect { table: index, key, confirmed: 0, how });
        }
    }

    let mut differences = Vec::new();
    let mut round = 0;
    while !suspects.is_empty() && round < ROUNDS {
        round += 1;
        let before = look(source, "source", &tables, &suspects).await?;
        lsn = position(source).await?;
        wait_applied(source, target, following, lsn).await?;
        let there = look(target, "target", &tables, &suspects).await?;
        let after = look(source, "source", &tables, &suspects).await?;

        let seen = before.into_iter().zip(there).zip(after);
        suspects = suspects
            .into_iter()
            .zip(seen)
            .filter_map(|(suspect, ((s1, d), s2))| judge(suspect, s1.as_ref(), d.as_ref(), s2.as_ref()))
            .collect();
        let (settled, open): (Vec<_>, Vec<_>) =
            suspects.into_iter().partition(|suspect| suspect.confirmed >= 2);
        differences.extend(settled);
        suspects = open;
    }

    let name = |suspect: Suspect| Difference {
        table: tables[suspect.table].name.clone(),
        key: suspect.key,
        how: suspect.how,
    };
    let mut differences: Vec<_> = differences.into_iter().map(name).collect();
    let mut unresolved: Vec<_> = suspects.into_iter().map(name).collect();
    differences.sort();
    unresolved.sort();
    Ok(Comparison { lsn, tables: tables.len(), rows, differences, unresolved })
}

/// What one round says about a suspect; nothing if it was seen equal.
fn judge(mut suspect: Suspect, s1: Option<&Seen>, d: Option<&Seen>, s2: Option<&Seen>) -> Option<Suspect> {
    let hash = |seen: Option<&Seen>| seen.map(|seen| seen.hash);
    if hash(d) == hash(s1) || hash(d) == hash(s2) {
        return None;
    }
    suspect.how = match (s2, d) {
        (_, None) => How::MissingOnTarget,
        (None, _) => How::ExtraOnTarget,
        _ => How::Different,
    };
    // The same version of the row, not just the same values: it might have changed there and back.
    suspect.confirmed = if s1 == s2 { suspect.confirmed + 1 } else { 0 };
    Some(suspect)
}

async fn read_all(
    client: &mut Client,
    side: &str,
    tables: &[Table],
) -> Result<(Vec<table::Buckets>, u64), Error> {
    let attempt = || format!("reading the {side} in one snapshot");
    let snapshot = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
    let transaction = snapshot.start().await.map_err(Error::sql(attempt()))?;
    let mut contents = Vec::new();
    let mut rows = 0;
    for table in tables {
        let buckets = table.buckets(&transaction).await?;
        rows += buckets.rows();
        contents.push(buckets);
    }
    transaction.commit().await.map_err(Error::sql(attempt()))?;
    Ok((contents, rows))
}

/// The present state of every suspect, in their order.
async fn look(
    client: &Client,
    side: &str,
    tables: &[Table],
    suspects: &[Suspect],
) -> Result<Vec<Option<Seen>>, Error> {
    let mut seen = vec![None; suspects.len()];
    for (index, table) in tables.iter().enumerate() {
        let places: Vec<usize> =
            (0..suspects.len()).filter(|place| suspects[*place].table == index).collect();
        let keys: Vec<&Key> = places.iter().map(|place| &suspects[*place].key).collect();
        for (place, row) in places.iter().zip(table.look(client, side, &keys).await?) {
            seen[*place] = row;
        }
    }
    Ok(seen)
}

/// Not before the commit of anything that a snapshot taken earlier could see, flushed or not.
async fn position(source: &Client) -> Result<PgLsn, Error> {
    let row = source.query_one("SELECT pg_current_wal_insert_lsn()", &[]).await;
    Ok(row.map_err(Error::sql("reading the source's position"))?.get(0))
}

/// Waits until the target has everything that the source had committed before `lsn`.
async fn wait_applied(
    source: &Client,
    target: &Client,
    following: &Following,
    lsn: PgLsn,
) -> Result<(), Error> {
    let Following::Position { control_schema, task, patience } = following else { return Ok(()) };
    let quoted = table::quote(control_schema);
    let noted = format!("SELECT applied_lsn FROM {quoted}.awsdms_txn_state WHERE task_name = $1");
    // On a source where nobody writes the noted position stands still while the log goes on. A replication confirms to
    // the slot only what it has on the target. Were one to confirm more, rows would be called different that are only
    // late; none would be called equal.
    let confirmed = "SELECT min(confirmed_flush_lsn) FROM pg_replication_slots \
                     WHERE slot_type = 'logical' AND database = current_database()";
    let attempt = || format!("waiting until the target has applied {lsn}");
    let deadline = Instant::now() + *patience;
    loop {
        let row = target.query_opt(&noted, &[task]).await.map_err(Error::sql(attempt()))?;
        let applied: Option<PgLsn> = row.and_then(|row| row.get(0));
        let slots = source.query_one(confirmed, &[]).await.map_err(Error::sql(attempt()))?;
        let slots: Option<PgLsn> = slots.get(0);
        if applied.max(slots) >= Some(lsn) {
            return Ok(());
        }
        if Instant::now() > deadline {
            let shown =
                |position: Option<PgLsn>| position.map_or("nothing".to_owned(), |lsn| lsn.to_string());
            let (applied, slots) = (shown(applied), shown(slots));
            return Err(Error::Sql {
                attempt: attempt(),
                cause: format!("after {patience:?} task {task} has applied {applied} and confirmed {slots}"),
            });
        }
        sleep(Duration::from_millis(50)).await;
    }
}

#[cfg(test)]
mod tests;

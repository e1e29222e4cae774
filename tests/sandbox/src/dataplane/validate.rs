//! Compares both sides row by row while both move, as DMS's validation does: with plain SELECTs as the DMS role.
//!
//! A pass compares sums of row hashes by bucket, then the rows of the buckets that differ. Rows that differ may be in
//! flight, so each is read on the source, then on the target once that has applied all that the source held, then on the
//! source again. Only a row that stood still on the source and still differs, twice, is called different.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{
    capture::Followed,
    catalog::{Shape, literal, qualified, quoted},
    connect::{Failure, Session, session},
    copy::source_position,
    progress::Ledger,
    replication::Lsn,
};
use crate::plane::{TableName, Task, Validation};

/// Rest between two tables: validation must not slow down what it watches.
const REST: Duration = Duration::from_millis(500);
/// A table that did not change is looked at again after so long.
const AGAIN: Duration = Duration::from_mins(1);
/// How long a pass waits for the target to arrive where the source was.
const ARRIVAL: Duration = Duration::from_secs(10);
/// Suspects of one pass. More are left to the next one.
const SUSPECTS: usize = 1000;
const ROUNDS: usize = 4;
/// A mask: many, so that few rows are read for each that moves.
const BUCKETS: i32 = 0x3FFF;

pub(super) struct Validator {
    pub(super) task: Task,
    pub(super) followed: Arc<HashMap<TableName, Followed>>,
    pub(super) ledger: Ledger,
    /// All selected changes up to here are on the target.
    pub(super) safe: watch::Receiver<Lsn>,
}

/// A row as it was read: its hash, and on the source also its version.
type Seen = BTreeMap<String, (i64, String)>;

struct Sides {
    source: Session,
    target: Session,
}

impl Validator {
    /// Validates for ever. Losing a connection only delays it.
    pub(super) async fn run(mut self) {
        let mut passes: HashMap<TableName, (u64, Instant)> = HashMap::new();
        loop {
            if let Err(failure) = self.pass(&mut passes).await {
                tracing::warn!(error = failure.why(), "validation interrupted");
            }
            tokio::time::sleep(REST * 4).await;
        }
    }

    async fn pass(&mut self, passes: &mut HashMap<TableName, (u64, Instant)>) -> Result<(), Failure> {
        let sides = Sides {
            source: session(&self.task.source, "AWS DMS validation").await?,
            target: session(&self.task.target, "AWS DMS validation").await?,
        };
        loop {
            let followed = self.followed.clone();
            for (table, Followed { shape, .. }) in followed.iter() {
                if shape.key.is_empty() {
                    self.ledger.validated(table, Validation::NoKey, 0);
                    continue;
                }
                let captured = self.ledger.captured_of(table);
                match passes.get(table) {
                    Some((then, when)) if *then == captured && when.elapsed() < AGAIN => continue,
                    _ => {}
                }
                let begun = Instant::now();
                let (validation, failed) = self.table(&sides, table, shape).await?;
                self.ledger.validated(table, validation, failed);
                if validation == Validation::Validated {
                    passes.insert(table.clone(), (captured, Instant::now()));
                }
                // A quarter of the time at most.
                tokio::time::sleep(REST.max(begun.elapsed() * 3)).await;
            }
            tokio::time::sleep(REST).await;
        }
    }

    async fn table(
        &mut self,
        sides: &Sides,
        table: &TableName,
        shape: &Shape,
    ) -> Result<(Validation, u64), Failure> {
        let query = Query::new(table, shape);
        let source = query.buckets(&sides.source, "source").await?;
        if !self.arrive(&sides.source).await? {
            return Ok((Validation::PendingRecords, 0));
        }
        let target = query.buckets(&sides.target, "target").await?;
        let mut buckets: Vec<i32> = source.keys().chain(target.keys()).copied().collect();
        buckets.sort_unstable();
        buckets.dedup();
        buckets.retain(|bucket| source.get(bucket) != target.get(bucket));
        if buckets.is_empty() {
            return Ok((Validation::Validated, 0));
        }
        let (source, target) = tokio::try_join!(
            query.rows(&sides.source, "source", Which::Buckets(&buckets)),
            query.rows(&sides.target, "target", Which::Buckets(&buckets))
        )?;
        let mut suspects: Vec<String> = source.keys().chain(target.keys()).cloned().collect();
        suspects.sort();
        suspects.dedup();
        suspects.retain(|key| source.get(key).map(hash) != target.get(key).map(hash));
        let cut = suspects.len() > SUSPECTS;
        suspects.truncate(SUSPECTS);
        self.settle(sides, &query, suspects, cut).await
    }

    /// Looks at suspects until each has converged or proved to be different.
    async fn settle(
        &mut self,
        sides: &Sides,
        query: &Query,
        mut suspects: Vec<String>,
        cut: bool,
    ) -> Result<(Validation, u64), Failure> {
        let mut before: HashMap<String, String> = HashMap::new();
        let mut different = 0;
        for _ in 0..ROUNDS {
            if suspects.is_empty() {
                break;
            }
            let first = query.rows(&sides.source, "source", Which::Keys(&suspects)).await?;
            if !self.arrive(&sides.source).await? {
                break;
            }
            let target = query.rows(&sides.target, "target", Which::Keys(&suspects)).await?;
            let second = query.rows(&sides.source, "source", Which::Keys(&suspects)).await?;
            let mut still = HashMap::new();
            suspects.retain(|key| {
                let (s1, d, s2) = (first.get(key), target.get(key), second.get(key));
                if d.map(hash) == s1.map(hash) || d.map(hash) == s2.map(hash) {
                    return false;
                }
                if s1 == s2 {
                    let look = format!("{s1:?} {:?}", d.map(hash));
                    if before.get(key) == Some(&look) {
                        different += 1;
                        return false;
                    }
                    still.insert(key.clone(), look);
                }
                true
            });
            before = still;
        }
        let open = suspects.len() as u64;
        Ok(if different > 0 {
            (Validation::Mismatched, different)
        } else if open > 0 || cut {
            (Validation::PendingRecords, open)
        } else {
            (Validation::Validated, 0)
        })
    }

    /// Waits until the target holds all that the source held just now.
    async fn arrive(&mut self, source: &Session) -> Result<bool, Failure> {
        let position = source_position(source).await?;
        match tokio::time::timeout(ARRIVAL, self.safe.wait_for(|safe| *safe >= position)).await {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(_)) => Err(Failure::Lost("the task's session has ended".to_owned())),
            Err(_) => Ok(false),
        }
    }
}

fn hash(seen: &(i64, String)) -> i64 {
    seen.0
}

enum Which<'a> {
    Buckets(&'a [i32]),
    Keys(&'a [String]),
}

struct Query {
    name: String,
    /// The key as one text: a row's text form is unambiguous.
    key: String,
    /// The whole row as one hash, over the columns that are carried over, in one order for both sides.
    hash: String,
}

impl Query {
    fn new(table: &TableName, shape: &Shape) -> Self {
        let row = |columns: Vec<String>| format!("(ROW({})::text COLLATE \"C\")", columns.join(", "));
        let key = row(shape.key.iter().map(|column| quoted(column)).collect());
        let columns = row(shape.stored().map(|column| quoted(&column.name)).collect());
        Self { name: qualified(table), key, hash: format!("hashtextextended({columns}, 0)") }
    }

    async fn buckets(&self, side: &Session, what: &str) -> Result<HashMap<i32, (i64, String)>, Failure> {
        // Sums, not XOR: two equal rows too many must not cancel each other.
        let sql = format!(
            "SELECT hashtext({}) & {BUCKETS}, count(*), sum({})::text FROM ONLY {} GROUP BY 1",
            self.key, self.hash, self.name
        );
        let rows = side.client.query(&sql, &[]).await.map_err(|error| self.failed(what, &error))?;
        Ok(rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect())
    }

    async fn rows(&self, side: &Session, what: &str, which: Which<'_>) -> Result<Seen, Failure> {
        let condition = match which {
            Which::Buckets(buckets) => {
                let list: Vec<_> = buckets.iter().map(i32::to_string).collect();
                format!("(hashtext({}) & {BUCKETS}) IN ({})", self.key, list.join(", "))
            }
            Which::Keys(keys) => {
                let list: Vec<_> = keys.iter().map(|key| literal(key)).collect();
                format!("{} IN ({})", self.key, list.join(", "))
            }
        };
        let sql = format!(
            "SELECT {}, {}, xmin::text FROM ONLY {} WHERE {condition}",
            self.key, self.hash, self.name
        );
        let rows = side.client.query(&sql, &[]).await.map_err(|error| self.failed(what, &error))?;
        Ok(rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect())
    }

    fn failed(&self, what: &str, error: &tokio_postgres::Error) -> Failure {
        Failure::of(&format!("validating table {} on the {what}", self.name), error)
    }
}

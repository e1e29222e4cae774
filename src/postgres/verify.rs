//! Are two databases the same, row by row? Every selected table is read in full on both sides at once, and what is
//! compared are a count and a sum of hashes of whole rows in the form in which PostgreSQL sends them: it is exact where a
//! comparison by value is not (scales of numbers, intervals, bounds of arrays).

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::connect::Connection;
use super::selection::Selection;
use crate::fault::Fault;

mod expression;
mod invariant;
mod tables;

pub use invariant::Invariant;
use tables::{Subject, Sum};

/// So many tables are read in one statement, and their locks held until it ends.
const AT_ONCE: usize = 100;

// Everything that the text of a value depends on. No just-in-time compilation: it takes longer than most tables do.
const SETTINGS: &str = "SET LOCAL \"TimeZone\" = 'UTC'; SET LOCAL \"DateStyle\" = 'ISO, MDY'; \
     SET LOCAL \"IntervalStyle\" = 'postgres'; SET LOCAL extra_float_digits = 3; SET LOCAL bytea_output = 'hex'; \
     SET LOCAL lc_monetary = 'C'; SET LOCAL xmloption = 'content'; SET LOCAL jit = off";

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// So many tables were compared in full.
    pub tables: usize,
    /// So many rows they hold on the side that the writer leaves.
    pub rows: i64,
    /// So many invariants were evaluated on both sides.
    pub invariants: usize,
    /// What is not equal, or was not compared.
    pub differences: Vec<Difference>,
}

/// One thing that is not equal, or could not be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// `table public.accounts` or `invariant total`.
    pub object: String,
    /// In what. Never a value of a row.
    pub detail: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.object, self.detail)
    }
}

impl Verdict {
    /// Everything was compared and nothing differs. Of nothing, nothing can be said.
    pub fn is_equal(&self) -> bool {
        self.tables > 0 && self.differences.is_empty()
    }

    fn differs(&mut self, object: String, detail: String) {
        self.differences.push(Difference { object, detail });
    }
}

/// Compares the selected tables of both sides in full, and evaluates the invariants. A fault, and a verdict that took
/// longer than `within`, is no verdict. Both sessions must be for this alone: what does not end in time costs them.
pub async fn verify(
    from: &Connection,
    to: &Connection,
    selection: &Selection,
    invariants: &[Invariant],
    within: Duration,
) -> Result<Verdict, Fault> {
    let until = Instant::now() + within;
    let mode = "ISOLATION LEVEL REPEATABLE READ READ ONLY";
    let work = async {
        let work =
            to.transaction("comparing", mode, Box::pin(compare(from, to, selection, invariants, until)));
        from.transaction("comparing", mode, Box::pin(work)).await
    };
    let outcome = Box::pin(work).await;
    if outcome.is_err() {
        // One side's failure ends the other's work half-way.
        tokio::join!(stop(from), stop(to));
    }
    let mut verdict = outcome?;
    invariant::explain(from, invariants, &mut verdict, until).await;
    Ok(verdict)
}

async fn stop(connection: &Connection) {
    if connection.is_usable() {
        connection.abandon().await;
    }
}

async fn compare(
    from: &Connection,
    to: &Connection,
    selection: &Selection,
    invariants: &[Invariant],
    until: Instant,
) -> Result<Verdict, Fault> {
    tokio::try_join!(prepare(from, until), prepare(to, until))?;
    let ((old, probe), (new, other_probe)) =
        tokio::try_join!(tables::find(from, selection), tables::find(to, selection))?;
    let hash = expression::Hash::agreed(probe, other_probe);
    let mut verdict = Verdict::default();
    let pairs = pair(old, new, selection, &mut verdict);
    let old_side: Vec<String> = pairs.iter().map(|(old, new)| old.sum(new, hash)).collect();
    let new_side: Vec<String> = pairs.iter().map(|(old, new)| new.sum_as(old, hash)).collect();
    let (old_sums, new_sums) = tokio::try_join!(sums(from, &old_side, until), sums(to, &new_side, until))?;
    for (((old, _), old_sum), new_sum) in pairs.iter().zip(&old_sums).zip(&new_sums) {
        verdict.tables += 1;
        verdict.rows += old_sum.rows;
        if let Some(detail) = difference(from, to, old_sum, new_sum) {
            verdict.differs(old.object(), detail);
        }
    }
    invariant::evaluate(from, to, invariants, &mut verdict, until).await?;
    Ok(verdict)
}

fn remaining(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}

async fn prepare(connection: &Connection, until: Instant) -> Result<(), Fault> {
    let timeout = remaining(until).as_millis();
    let sql = format!("SET LOCAL statement_timeout = '{timeout}ms'; {SETTINGS}; SELECT; SAVEPOINT here");
    connection.run("beginning to compare", &sql).await
}

/// Tables that are on both sides with the same columns; all else is a difference.
fn pair(
    old: Vec<Subject>,
    new: Vec<Subject>,
    selection: &Selection,
    verdict: &mut Verdict,
) -> Vec<(Subject, Subject)> {
    let mut others: HashMap<(String, String), Subject> =
        new.into_iter().map(|subject| (subject.key(), subject)).collect();
    let mut pairs = Vec::new();
    for subject in old {
        let twin = others.remove(&subject.key());
        if let Some(why) = subject.unfit(selection) {
            verdict.differs(subject.object(), why);
        } else if subject.holds_rows() {
            match twin {
                None => verdict.differs(subject.object(), "is on one side only".to_owned()),
                Some(twin) => match subject.other_columns(&twin) {
                    Some(how) => verdict.differs(subject.object(), how),
                    None => pairs.push((subject, twin)),
                },
            }
        }
    }
    let mut rest: Vec<Subject> = others.into_values().filter(Subject::holds_rows).collect();
    rest.sort_by_key(Subject::key);
    for subject in rest {
        verdict.differs(subject.object(), "is on one side only".to_owned());
    }
    pairs
}

/// Reads the tables in their order. The savepoint lets go of the locks of those that were read, and keeps the snapshot.
async fn sums(connection: &Connection, parts: &[String], until: Instant) -> Result<Vec<Sum>, Fault> {
    let doing = "reading the tables to compare";
    let mut all = vec![None; parts.len()];
    for (chunk, some) in parts.chunks(AT_ONCE).enumerate() {
        let numbered: Vec<String> = some
            .iter()
            .enumerate()
            .map(|(i, part)| part.replacen("SELECT", &format!("SELECT {i},"), 1))
            .collect();
        let sql = numbered.join(" UNION ALL ");
        for row in connection.query_within(remaining(until), doing, &sql, &[]).await? {
            let i = usize::try_from(row.get::<_, i32>(0)).unwrap_or(usize::MAX);
            if let Some(place) = all.get_mut(chunk * AT_ONCE + i) {
                *place = Some(Sum { rows: row.get(1), hashes: row.get(2) });
            }
        }
        connection.run(doing, "ROLLBACK TO SAVEPOINT here").await?;
    }
    let all: Option<Vec<Sum>> = all.into_iter().collect();
    all.ok_or_else(|| Fault::Bug(format!("{doing} of {} gave no sum for some", connection.at())))
}

fn difference(from: &Connection, to: &Connection, old: &Sum, new: &Sum) -> Option<String> {
    if old == new {
        return None;
    }
    Some(if old.rows == new.rows {
        format!("{} rows on both sides, with other content", old.rows)
    } else {
        format!("{} rows on the {}, {} on the {}", old.rows, from.side(), new.rows, to.side())
    })
}

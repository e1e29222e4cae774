//! Invariants: questions of the user's own, that must have the same answer on both sides.

use tokio::time::Instant;

use super::super::connect::Connection;
use super::{SETTINGS, Verdict, remaining};
use crate::fault::Fault;

/// A query that gives one value, such as the sum of all balances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invariant {
    /// By which it is spoken of.
    pub name: String,
    /// SELECT or VALUES, without parameters.
    pub sql: String,
}

/// What one side answered.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    /// One value: its type, and the row in text, in which NULL and '' differ.
    Value { kind: String, text: String },
    /// Why it is none.
    None(String),
}

/// What a value that is not the same on both sides is called; [`explain`] may find a better word.
const OTHER: &str = "gives another value on the other side";

/// Asks both sides at once, in their snapshots.
pub(super) async fn evaluate(
    from: &Connection,
    to: &Connection,
    invariants: &[Invariant],
    verdict: &mut Verdict,
    until: Instant,
) -> Result<(), Fault> {
    for invariant in invariants {
        let (old, new) = tokio::try_join!(ask(from, invariant, until), ask(to, invariant, until))?;
        verdict.invariants += 1;
        let detail = match (old, new) {
            (Answer::Value { kind, .. }, Answer::Value { kind: other, .. }) if kind != other => {
                format!("gives {kind} on one side and {other} on the other")
            }
            (old @ Answer::Value { .. }, new @ Answer::Value { .. }) if old == new => continue,
            (Answer::Value { .. }, Answer::Value { .. }) => OTHER.to_owned(),
            (Answer::None(why), _) => format!("{why} on the {}", from.side()),
            (_, Answer::None(why)) => format!("{why} on the {}", to.side()),
        };
        verdict.differs(object(invariant), detail);
    }
    Ok(())
}

fn object(invariant: &Invariant) -> String {
    format!("invariant {}", invariant.name)
}

/// A query that gives another value even on the same side can never pass: the person should know that, and not look for a
/// difference in the data. It makes no verdict better.
pub(super) async fn explain(
    connection: &Connection,
    invariants: &[Invariant],
    verdict: &mut Verdict,
    until: Instant,
) {
    for invariant in invariants {
        let object = object(invariant);
        let Some(found) = verdict.differences.iter_mut().find(|d| d.object == object && d.detail == OTHER)
        else {
            continue;
        };
        let again = async || {
            let work = async {
                connection.run("asking again", &format!("{SETTINGS}; SAVEPOINT here")).await?;
                ask(connection, invariant, until).await
            };
            let mode = "ISOLATION LEVEL REPEATABLE READ READ ONLY";
            connection.transaction("asking again", mode, Box::pin(work)).await.ok()
        };
        if let (Some(first), Some(second)) = (again().await, again().await)
            && first != second
        {
            "gives another value each time it is asked, so it can't be compared"
                .clone_into(&mut found.detail);
        }
    }
}

async fn ask(connection: &Connection, invariant: &Invariant, until: Instant) -> Result<Answer, Fault> {
    let doing = format!("asking invariant {}", invariant.name);
    // As a sub-query it can be nothing but a query. The line ends of a comment stay its own.
    let sql = format!(
        "SELECT ROW(q.*)::text, q.* FROM (\n{}\n) q LIMIT 2",
        invariant.sql.trim().trim_end_matches(';')
    );
    let answer = match connection.query_of_a_person(remaining(until), &doing, &sql).await {
        Ok(rows) => match rows.as_slice() {
            [] => Answer::None("gives no row".to_owned()),
            [_, _, ..] => Answer::None("gives more than one row".to_owned()),
            [row] if row.columns().len() != 2 => Answer::None("gives more than one column".to_owned()),
            [row] => match row.get::<_, Option<String>>(0) {
                Some(text) if text != "()" => {
                    Answer::Value { kind: row.columns()[1].type_().name().to_owned(), text }
                }
                _ => Answer::None("gives NULL, which is no evidence (see coalesce),".to_owned()),
            },
        },
        // A statement that the server refused; the session and its transaction go on.
        Err(fault) if connection.is_usable() => Answer::None(format!("failed ({})", fault.message())),
        Err(fault) => return Err(fault),
    };
    connection.run(&doing, "ROLLBACK TO SAVEPOINT here").await?;
    Ok(answer)
}

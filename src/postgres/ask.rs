//! One question of a user's own, asked read-only: the `sql` gate.

use std::time::Duration;

use super::connect::Connection;
use crate::fault::Fault;

/// A question that takes longer is given up.
const LIMIT: Duration = Duration::from_secs(2);
/// And the session with it, if the server does not say by itself that it gave it up.
const PATIENCE: Duration = Duration::from_secs(5);

/// The one value that a query gives, as text; `None` if it gives none (NULL too), more than one row, or more than one column.
///
/// It runs in a read-only transaction and as a sub-query, where nothing but a query is one. What it set is set back, and what
/// it locked is let go: the session serves others after it, and a lock that it kept would stop whoever moves the writer.
pub async fn ask(connection: &Connection, query: &str) -> Result<Option<String>, Fault> {
    let doing = "asking the gate's question";
    // The line ends of a comment stay its own.
    let query = query.trim().trim_end_matches([';', ' ', '\n', '\t', '\r']);
    let sql = format!("SELECT answer.value::text, answer.* FROM (\n{query}\n) answer (value) LIMIT 2");
    let work = async {
        let begin = format!("SET LOCAL statement_timeout = '{}ms'; SAVEPOINT asked", LIMIT.as_millis());
        connection.run(doing, &begin).await?;
        let rows = connection.query_of_a_person(PATIENCE, doing, &sql).await?;
        connection.run(doing, "ROLLBACK TO SAVEPOINT asked").await?;
        Ok(rows)
    };
    let answer = connection.transaction(doing, "READ ONLY", Box::pin(work)).await;
    let let_go = connection.run(doing, "SELECT pg_advisory_unlock_all()").await;
    let rows = answer?;
    let_go?;
    Ok(match rows.as_slice() {
        [row] if row.columns().len() == 2 => row.get(0),
        _ => None,
    })
}

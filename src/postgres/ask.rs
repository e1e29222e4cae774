//! One question of a user's own, asked read-only: the `sql` gate.

use std::time::Duration;

use super::connect::Connection;
use crate::fault::Fault;

/// A question that takes longer is given up.
const LIMIT: Duration = Duration::from_secs(2);

/// The one value that a query gives, as text; `None` if it gives none (NULL too), more than one row, or more than one column.
///
/// It runs in a read-only transaction and as a sub-query, where nothing but a query is one.
pub async fn ask(connection: &Connection, query: &str) -> Result<Option<String>, Fault> {
    let doing = "asking the gate's question";
    // The line ends of a comment stay its own.
    let query = query.trim().trim_end_matches(';');
    let sql = format!("SELECT answer.value::text, answer.* FROM (\n{query}\n) answer (value) LIMIT 2");
    let work = async {
        let timeout = format!("SET LOCAL statement_timeout = '{}ms'", LIMIT.as_millis());
        connection.run(doing, &timeout).await?;
        connection.query(doing, &sql, &[]).await
    };
    let rows = connection.transaction(doing, "READ ONLY", Box::pin(work)).await?;
    Ok(match rows.as_slice() {
        [row] if row.columns().len() == 2 => row.get(0),
        _ => None,
    })
}

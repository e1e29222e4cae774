//! The marker of a fence: a row committed after the fence was proved. Seen on the other side, it says that everything
//! before it has arrived.

use tokio_postgres::types::PgLsn;

use super::connect::Connection;
use super::guarded::{Epoch, guarded};
use super::token::{Guard, Holder};
use crate::fault::Fault;
use crate::permit::Permit;

/// Under which key the marker of a fence is found.
pub fn marker_key(fence_id: &str) -> String {
    format!("move:{fence_id}")
}

/// Writes the marker of the guard's fence, once, on the side that is fenced. Returns the end of its log on disk: all that
/// was ever committed there lies before it.
pub async fn mark(connection: &Connection, permit: &Permit<'_>, guard: &Guard) -> Result<PgLsn, Fault> {
    let doing = "writing the marker";
    let key = marker_key(&guard.fence_id);
    let work = async {
        // Another fence's marker would prove nothing.
        let insert = "
            INSERT INTO slipway.marker (k, attempt, fence_id, at)
            SELECT $1, attempt, fence_id, clock_timestamp() FROM slipway.token WHERE fence_id = $2
            ON CONFLICT (k) DO NOTHING";
        connection.query(doing, insert, &[&key, &guard.fence_id]).await?;
        let there = "
            SELECT FROM slipway.marker m JOIN slipway.token t ON t.fence_id = m.fence_id
             WHERE m.k = $1 AND t.fence_id = $2";
        if connection.query(doing, there, &[&key, &guard.fence_id]).await?.is_empty() {
            return Err(Fault::Wait(format!(
                "{doing}: the fence of {} is not fence {}",
                connection.at(),
                guard.fence_id
            )));
        }
        Ok(())
    };
    guarded(connection, permit, guard, Epoch::Exactly, &[Holder::None], doing, work).await?;
    // After the commit, and it was a synchronous one: before it, the end on disk could lie behind an acknowledged commit.
    let row = connection.row("reading the end of the log", "SELECT pg_current_wal_flush_lsn()", &[]).await?;
    Ok(row.get(0))
}

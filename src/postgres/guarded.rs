//! The frame of everything that changes a side during a move: behind the lock, and only for the newest decision.

use super::connect::Connection;
use super::token::{Guard, Holder};
use crate::api::condition::Reason;
use crate::fault::Fault;

/// Which epoch the row may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Epoch {
    /// The guard's own or an earlier one, which is raised.
    UpTo,
    /// The guard's own: this decision claimed the side before.
    Exactly,
}

// The lock comes before the first write, so that nobody holds a transaction id while he waits for it.
const BEGIN: &str = "SET LOCAL lock_timeout = '500ms'; SET LOCAL synchronous_commit = on; \
     SELECT pg_advisory_xact_lock(x'736c6970776179'::bigint)";

/// Runs `work` in a transaction that first claims the side's row for the guard's epoch. `allowed` says of whom the role
/// may be.
pub(super) async fn guarded<T>(
    connection: &Connection,
    guard: &Guard,
    epoch: Epoch,
    allowed: &[&str],
    doing: &str,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    let claim = match epoch {
        Epoch::UpTo => {
            "UPDATE slipway.token SET epoch = $1 WHERE epoch <= $1 AND uid = $2 AND holder = ANY ($3)"
        }
        Epoch::Exactly => {
            "UPDATE slipway.token SET epoch = $1 WHERE epoch = $1 AND uid = $2 AND holder = ANY ($3)"
        }
    };
    let claim = format!("{claim} RETURNING epoch");
    let work = async {
        connection.run(doing, BEGIN).await?;
        let rows = connection.query(doing, &claim, &[&guard.epoch, &guard.holding.uid, &allowed]).await?;
        if rows.is_empty() {
            return Err(refused(connection, guard, doing).await);
        }
        work.await
    };
    connection.transaction(doing, "", Box::pin(work)).await
}

/// The same for what PostgreSQL refuses in a transaction that has written: reads the row and holds the lock meanwhile. The
/// epoch must be the guard's own, so the side was claimed before.
pub(super) async fn locked<T>(
    connection: &Connection,
    guard: &Guard,
    allowed: &[&str],
    doing: &str,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    let claimed = "SELECT FROM slipway.token WHERE epoch = $1 AND uid = $2 AND holder = ANY ($3)";
    let work = async {
        connection.run(doing, BEGIN).await?;
        let rows = connection.query(doing, claimed, &[&guard.epoch, &guard.holding.uid, &allowed]).await?;
        if rows.is_empty() {
            return Err(refused(connection, guard, doing).await);
        }
        work.await
    };
    connection.transaction(doing, "", Box::pin(work)).await
}

/// Whoever was deposed learns it, and looks again. Nobody has to mend anything.
async fn refused(connection: &Connection, guard: &Guard, doing: &str) -> Fault {
    let sql = "SELECT epoch, holder, uid, migration FROM slipway.token";
    let rows = match connection.query("reading slipway.token", sql, &[]).await {
        Ok(rows) => rows,
        Err(fault) => return fault,
    };
    let at = connection.at();
    let Some(row) = rows.first() else {
        return Fault::Wait(format!("{doing}: slipway.token on {at} has no row"));
    };
    let (epoch, holder, uid): (i64, String, String) = (row.get(0), row.get(1), row.get(2));
    if uid != guard.holding.uid {
        let other: String = row.get(3);
        return Fault::blocked(
            Reason::OtherMigration,
            format_args!("{at} belongs to another migration: DatabaseMigration {other}, uid {uid}"),
            "Delete that DatabaseMigration first",
        );
    }
    if epoch > guard.epoch {
        return Fault::Wait(format!("{doing}: a later decision (epoch {epoch}) holds {at}"));
    }
    let holder = Holder::parse(&holder);
    Fault::Wait(format!(
        "{doing}: the token of {at} is held by {} at epoch {epoch}, which does not allow it at epoch {}",
        holder.as_str(),
        guard.epoch
    ))
}

/// The holders that say that this side is not the writer, whoever is.
pub(super) fn not_the_writer(connection: &Connection) -> [&'static str; 4] {
    ["none", "fenced", "refused", connection.side().other().as_str()]
}

//! The freeze: the replication's role loses its rights on the side that applications are about to write to. A database
//! accepts the one or the other, never both: a task that AWS starts or reloads late then finds a closed door.

use super::acl::{self, Why};
use super::connect::Connection;
use super::guarded::{self, Epoch};
use super::selection::Selection;
use super::token::Guard;
use crate::fault::Fault;
use crate::permit::Permit;

/// Notes and revokes what lets DMS's role connect, or change a selected table or the marker; then tells its sessions to
/// end, once. Whether it is frozen is for [`super::standing()`] to say. Refused while applications may write here.
pub async fn freeze(
    connection: &Connection,
    permit: &Permit<'_>,
    guard: &Guard,
    selection: &Selection,
) -> Result<(), Fault> {
    let holders = guarded::not_writable(connection.side());
    let dms_role = &guard.holding.dms_role;
    let work = async {
        guarded::enter(connection, guard, &holders, Epoch::UpTo).await?;
        let mut tables = selection.oids(connection).await?;
        let marker = "SELECT oid FROM pg_class WHERE oid = to_regclass('slipway.marker')";
        let marker = connection.query("looking for the marker", marker, &[]).await?;
        tables.extend(marker.iter().map(|row| row.get::<_, u32>(0)));
        acl::note(connection, Why::Freeze, dms_role, &tables).await?;
        acl::revoke(connection, Why::Freeze, dms_role, &tables).await
    };
    connection.change(permit, "freezing replication", Box::pin(work)).await?;
    // Only after the commit: a session that is ended before could be begun again.
    let work = async {
        guarded::enter(connection, guard, &holders, Epoch::UpTo).await?;
        let end = "
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND backend_type <> 'walsender' AND usename = $1";
        connection.query("ending DMS's sessions", end, &[&dms_role]).await.map(|_| ())
    };
    connection.change(permit, "ending DMS's sessions", Box::pin(work)).await
}

/// Gives back exactly what [`freeze`] took. Refused while applications may write here. Returns what could not be given
/// back exactly.
pub async fn thaw(connection: &Connection, permit: &Permit<'_>, guard: &Guard) -> Result<Vec<String>, Fault> {
    let work = async {
        guarded::enter(connection, guard, &guarded::not_writable(connection.side()), Epoch::UpTo).await?;
        acl::restore(connection, Why::Freeze, &guard.holding.dms_role).await
    };
    connection.change(permit, "thawing replication", Box::pin(work)).await
}

//! Which machines have sessions of an application's roles: that a fleet really writes to this database is read here.

use std::net::IpAddr;

use super::connect::Connection;
use crate::fault::Fault;

/// The sessions that clients have as one of `roles` in this database, counted by the address that they come from: the fleet's
/// own, unless a proxy or pooler stands between. `None` is an address that can't be told: a Unix socket, or the operator's
/// role may not see other roles' sessions (`pg_read_all_stats`). Changes nothing.
pub async fn sessions(
    connection: &Connection,
    roles: &[String],
) -> Result<Vec<(Option<IpAddr>, i64)>, Fault> {
    // What may not be seen is NULL, and of a parallel worker, which is nobody's session, the address too.
    let sql = "
        SELECT client_addr, count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND usename = ANY ($1::text[]::name[])
           AND coalesce(backend_type, 'client backend') = 'client backend'
         GROUP BY client_addr ORDER BY client_addr NULLS LAST";
    let rows = connection.query("reading where sessions come from", sql, &[&roles]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

//! What one side says of itself during a move: little, and quickly.

use tokio_postgres::Row;
use tokio_postgres::types::PgLsn;

use super::Identity;
use super::connect::Connection;
use super::privileges;
use super::selection::{self, OF_APPLICATIONS, Selection};
use super::token::Token;
use crate::api::condition::Reason;
use crate::fault::Fault;

/// What to look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingQuestion {
    /// The tables that the spec selects.
    pub selection: Selection,
    /// The role that DMS logs in as on this side.
    pub dms_role: String,
    /// The fence whose marker is looked for.
    pub fence_id: String,
    /// The slot of the way back, looked for on the side that the writer goes to.
    pub slot: String,
}

/// One side during a move, read in one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which server.
    pub identity: Identity,
    /// Its timeline: another one is another history.
    pub timeline: i32,
    /// It is a standby, and so can't be changed.
    pub in_recovery: bool,
    /// The row.
    pub token: Token,
    /// Roles, other than superusers, the operator and DMS, that could log in and change a selected table.
    pub writers: Vec<String>,
    /// Sessions that the fence ends: of every kind but walsenders, autovacuum workers, the operator and DMS.
    pub sessions: i64,
    /// The barrier: granted locks on application tables of those who write, prepared transactions included.
    pub write_locks: i64,
    /// Prepared transactions of this database.
    pub prepared: Vec<String>,
    /// Selected tables that need the third layer (an owner who can log in, or a SECURITY DEFINER function of a role that
    /// may write) and do not have it.
    pub unlayered: Vec<String>,
    /// DMS's role can connect or change a selected table.
    pub replication_may_write: bool,
    /// Sessions of DMS's role, walsenders aside.
    pub replication_sessions: i64,
    /// The marker of the fence in question is here.
    pub marker: bool,
    /// The slot of the way back.
    pub slot: Option<MoveSlot>,
    /// Other transactions of this server that have written something.
    pub busy: i64,
    /// The end of the log that is on disk.
    pub flushed: PgLsn,
}

/// The slot of the way back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoveSlot {
    /// It is a logical one of this database, of the plugin that DMS uses (`test_decoding`), noted as ours, and reserved.
    pub usable: bool,
    /// A walsender uses it now.
    pub active: bool,
    /// Everything before this was confirmed.
    pub confirmed: Option<PgLsn>,
}

/// The timeline that this server writes now. The control file's lags behind a promotion until the next checkpoint.
pub(super) const TIMELINE: &str = "
    CASE WHEN pg_is_in_recovery() THEN (SELECT timeline_id FROM pg_control_checkpoint())
         ELSE ('x' || left(pg_walfile_name(pg_current_wal_flush_lsn()), 8))::bit(32)::integer END";

/// The tables of a WITH that ends in `unlayered(name)`, after `selected(oid, relowner, name)`: whose owner somebody can be
/// who can log in, or who may be written to by a function that runs as its owner; and where our trigger does not fire.
fn unlayered_sql(dms: &str) -> String {
    format!(
        "powerful AS MATERIALIZED (
            SELECT r.oid FROM (SELECT DISTINCT relowner AS oid FROM selected) r
             WHERE EXISTS (SELECT FROM pg_roles l
                            WHERE l.rolcanlogin AND NOT l.rolsuper AND l.rolname NOT IN (current_user, {dms}::text)
                              AND l.rolname <> ALL ({}) AND pg_has_role(l.oid, r.oid, 'MEMBER'))),
         definers AS MATERIALIZED (
            SELECT DISTINCT p.proowner AS oid FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
             WHERE p.prosecdef AND {OF_APPLICATIONS}
               AND NOT EXISTS (SELECT FROM pg_depend d
                                WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')),
         unlayered AS MATERIALIZED (
            SELECT t.name FROM selected t
             WHERE (t.relowner IN (SELECT oid FROM powerful)
                    OR EXISTS (SELECT FROM definers d
                                WHERE has_table_privilege(d.oid, t.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
                                   OR has_any_column_privilege(d.oid, t.oid, 'INSERT, UPDATE')))
               AND NOT EXISTS (SELECT FROM pg_trigger g
                                WHERE g.tgrelid = t.oid AND g.tgenabled IN ('O', 'A')
                                  AND g.tgfoid = to_regprocedure('slipway.fence()')))",
        privileges::OF_RDS
    )
}

/// Whether DMS's role may connect, or change a table of `selected(oid, relowner)` or the marker.
fn replication_sql(dms: &str) -> String {
    format!(
        "EXISTS (SELECT FROM pg_roles d
                  WHERE d.rolname = {dms}::text
                    AND (d.rolsuper OR has_database_privilege(d.oid, current_database(), 'CONNECT')
                         OR EXISTS (SELECT FROM (SELECT oid, relowner FROM selected
                                                 UNION ALL SELECT oid, relowner FROM pg_class
                                                            WHERE oid = to_regclass('slipway.marker')) t
                                     CROSS JOIN pg_roles r
                                     WHERE pg_has_role(d.oid, r.oid, 'MEMBER')
                                       AND (t.relowner = r.oid
                                            OR has_table_privilege(r.oid, t.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
                                            OR has_any_column_privilege(r.oid, t.oid, 'INSERT, UPDATE')))))"
    )
}

/// A slot's usability, whether it is in use, and its position, of `pg_replication_slots s`.
const SLOT: &str = "
    coalesce(s.slot_type = 'logical' AND s.plugin = 'test_decoding' AND s.database = current_database()
             AND s.wal_status IN ('reserved', 'extended')
             AND EXISTS (SELECT FROM slipway.slot o WHERE o.name = s.slot_name), false),
    s.active, s.confirmed_flush_lsn";

/// Everything at once, for it is asked a hundred times a second while nobody may write. `$1` to `$4` are the selection,
/// `$5` is DMS's role, `$6` the marker's key, `$7` the slot.
fn everything() -> String {
    let (chosen, writing, unlayered) = (selection::chosen(), privileges::writing("$5"), unlayered_sql("$5"));
    let (sessions, replication) = (privileges::of_applications("$5"), replication_sql("$5"));
    // A lock that was granted, of a kind that changes rows: who holds one may go on writing whatever he was refused since,
    // for his next statement need not ask again.
    format!(
        "WITH selected AS MATERIALIZED ({chosen}), {writing}, {unlayered},
              activity AS MATERIALIZED (SELECT * FROM pg_stat_activity)
         SELECT (SELECT system_identifier FROM pg_control_system()),
                current_setting('server_version_num')::integer,
                {TIMELINE}, pg_is_in_recovery(),
                ARRAY(SELECT name FROM writing ORDER BY name COLLATE \"C\"),
                (SELECT count(*) FROM activity a
                  WHERE a.backend_type NOT IN ('walsender', 'autovacuum worker') AND {sessions}),
                (SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
                   JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                    AND l.locktype = 'relation' AND l.granted AND c.relkind IN ('r', 'p') AND {OF_APPLICATIONS}
                    AND l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
                    AND l.pid IS DISTINCT FROM pg_backend_pid()
                    AND NOT EXISTS (SELECT FROM activity a
                                     WHERE a.pid = l.pid AND a.backend_type = 'autovacuum worker')),
                ARRAY(SELECT format('%s of %s', gid, owner) FROM pg_prepared_xacts
                       WHERE database = current_database() ORDER BY 1),
                ARRAY(SELECT name FROM unlayered ORDER BY name COLLATE \"C\"),
                {replication},
                (SELECT count(*) FROM activity a
                  WHERE a.datname = current_database() AND a.usename = $5::text AND a.backend_type <> 'walsender'),
                EXISTS (SELECT FROM slipway.marker WHERE k = $6),
                (SELECT count(*) FROM activity a WHERE a.backend_xid IS NOT NULL AND a.pid <> pg_backend_pid())
                + (SELECT count(*) FROM pg_prepared_xacts),
                CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END,
                s.slot_name IS NOT NULL, {SLOT},
                {}
           FROM slipway.token LEFT JOIN pg_replication_slots s ON s.slot_name = $7::text::name",
        Token::COLUMNS
    )
}

/// Reads one side during a move: one statement, and so one snapshot. Changes nothing.
pub async fn standing(connection: &Connection, question: &StandingQuestion) -> Result<Standing, Fault> {
    let (schemas, names) = selection::columns(&question.selection.include);
    let (not_schemas, not_names) = selection::columns(&question.selection.exclude);
    let marker = format!("move:{}", question.fence_id);
    let rows = connection
        .query(
            "reading how a side stands",
            &everything(),
            &[&schemas, &names, &not_schemas, &not_names, &question.dms_role, &marker, &question.slot],
        )
        .await?;
    let Some(row) = rows.first() else {
        return Err(Fault::blocked(
            Reason::NotFenced,
            format_args!(
                "slipway.token on {} has no row, so nothing says who may write there",
                connection.at()
            ),
            "Find out who removed it; `slipway diagnose` shows what is left",
        ));
    };
    Ok(Standing {
        identity: Identity { system_identifier: row.get(0), version: row.get(1) },
        timeline: row.get(2),
        in_recovery: row.get(3),
        writers: row.get(4),
        sessions: row.get(5),
        write_locks: row.get(6),
        prepared: row.get(7),
        unlayered: row.get(8),
        replication_may_write: row.get(9),
        replication_sessions: row.get(10),
        marker: row.get(11),
        busy: row.get(12),
        flushed: row.get(13),
        slot: row.get::<_, bool>(14).then(|| slot(row, 15)),
        token: Token::from_row(row, 18),
    })
}

fn slot(row: &Row, first: usize) -> MoveSlot {
    let active: Option<bool> = row.get(first + 1);
    MoveSlot { usable: row.get(first), active: active == Some(true), confirmed: row.get(first + 2) }
}

/// [`Standing::slot`] alone.
pub(super) async fn move_slot(connection: &Connection, name: &str) -> Result<Option<MoveSlot>, Fault> {
    let sql = format!("SELECT {SLOT} FROM pg_replication_slots s WHERE s.slot_name = $1::text::name");
    let rows = connection.query("looking for the slot of the way back", &sql, &[&name]).await?;
    Ok(rows.first().map(|row| slot(row, 0)))
}

/// [`Standing::replication_may_write`] alone.
pub(super) async fn replication_may_write(
    connection: &Connection,
    dms_role: &str,
    selection: &Selection,
) -> Result<bool, Fault> {
    let sql = format!(
        "WITH selected AS MATERIALIZED (SELECT oid, relowner FROM pg_class WHERE oid = ANY ($1)) SELECT {}",
        replication_sql("$2")
    );
    let tables = selection.oids(connection).await?;
    Ok(connection.row("reading what DMS may do", &sql, &[&tables, &dms_role]).await?.get(0))
}

/// [`Standing::unlayered`] alone.
pub(super) async fn unlayered(
    connection: &Connection,
    dms_role: &str,
    selection: &Selection,
) -> Result<Vec<String>, Fault> {
    let sql = format!(
        "WITH selected AS MATERIALIZED (
            SELECT c.oid, c.relowner, format('%I.%I', n.nspname, c.relname) AS name
              FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY ($1)), {}
         SELECT name FROM unlayered ORDER BY name COLLATE \"C\"",
        unlayered_sql("$2")
    );
    let tables = selection.oids(connection).await?;
    let rows = connection.query("reading which tables need a trigger", &sql, &[&tables, &dms_role]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

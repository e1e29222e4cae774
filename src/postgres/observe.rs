//! What one side says of itself. Reads only, in one snapshot.

use super::connect::Connection;
use super::selection::{Selected, Selection};
use super::token::Token;
use super::{Identity, Record, Server, Slot, privileges};
use crate::fault::Fault;
use crate::side::Side;

/// What to look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The tables that the spec selects.
    pub selection: Selection,
    /// The role that DMS logs in as on this side.
    pub dms_role: String,
}

// So many tables are looked at in one statement. More would need more locks than a server is sure to have.
const TABLES_AT_ONCE: usize = 100;

// On a standby the present position is what was replayed; a standby is refused elsewhere, in better words than an error.
const SLOTS: &str = "
SELECT s.slot_name::text, s.active, a.usename::text, s.wal_status,
       pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
                       s.restart_lsn)::bigint
  FROM pg_replication_slots s
  LEFT JOIN pg_stat_activity a ON a.pid = s.active_pid
 WHERE s.slot_type = 'logical' AND NOT s.temporary AND s.database = current_database()
 ORDER BY 1";

const SERVER: &str = "
SELECT (SELECT system_identifier FROM pg_control_system()),
       current_setting('server_version_num')::integer,
       current_setting('wal_level'),
       current_setting('max_replication_slots')::integer - (SELECT count(*)::integer FROM pg_replication_slots),
       current_setting('max_wal_senders')::integer - (SELECT count(*)::integer FROM pg_stat_replication),
       to_regclass('slipway.token') IS NOT NULL AND to_regclass('slipway.slot') IS NOT NULL";

/// Reads everything about one side that decisions rest on. Changes nothing.
pub async fn observe(connection: &Connection, question: &Question) -> Result<Server, Fault> {
    let snapshot = "ISOLATION LEVEL REPEATABLE READ READ ONLY";
    let reading = Box::pin(read(connection, question));
    let (mut server, mut selected) = connection.long_transaction("observing", snapshot, reading).await?;
    if connection.side() == Side::Target {
        // Outside the snapshot: in one transaction, the locks on thousands of tables would add up.
        look_for_rows(connection, &mut selected).await?;
    }
    server.tables = selected.into_iter().map(|selected| selected.table).collect();
    Ok(server)
}

async fn read(connection: &Connection, question: &Question) -> Result<(Server, Vec<Selected>), Fault> {
    let row = connection.row("reading the server's settings", SERVER, &[]).await?;
    let record = if row.get(5) { record(connection).await? } else { Record::Absent };
    let selected = question.selection.find(connection).await?;
    let oids: Vec<u32> = selected.iter().map(|selected| selected.oid).collect();
    let slots = connection.query("reading the replication slots", SLOTS, &[]).await?;
    let slots = slots.iter().map(|row| Slot {
        name: row.get(0),
        active: row.get(1),
        used_by: row.get(2),
        wal_status: row.get(3),
        retained_bytes: row.get(4),
    });
    let server = Server {
        identity: Identity { system_identifier: row.get(0), version: row.get(1) },
        wal_level: row.get(2),
        free_slots: row.get(3),
        free_wal_senders: row.get(4),
        record,
        tables: Vec::new(),
        slots: slots.collect(),
        missing_privileges: privileges::missing(connection, &question.dms_role, &oids).await?,
        writers: privileges::writers(connection, &question.dms_role, &oids).await?,
        application_sessions: privileges::application_sessions(connection, &question.dms_role).await?,
    };
    Ok((server, selected))
}

async fn record(connection: &Connection) -> Result<Record, Fault> {
    let sql = format!("SELECT migration, uid, system_identifier, {} FROM slipway.token", Token::COLUMNS);
    let rows = connection.query("reading slipway.token", &sql, &[]).await?;
    let Some(row) = rows.first() else { return Ok(Record::Absent) };
    let slots = "SELECT name FROM slipway.slot ORDER BY name";
    let slots = connection.query("reading slipway.slot", slots, &[]).await?;
    Ok(Record::Present {
        migration: row.get(0),
        uid: row.get(1),
        token: Token::from_row(row, 3),
        system_identifier: row.get(2),
        slots: slots.iter().map(|row| row.get(0)).collect(),
    })
}

/// Fills `empty` for every table that the operator may read; of the others a missing privilege speaks already.
async fn look_for_rows(connection: &Connection, selected: &mut [Selected]) -> Result<(), Fault> {
    let oids: Vec<u32> = selected.iter().map(|selected| selected.oid).collect();
    let readable = "
        SELECT c.oid FROM pg_class c
         WHERE c.oid = ANY ($1) AND has_table_privilege(c.oid, 'SELECT')
           AND has_schema_privilege(c.relnamespace, 'USAGE')";
    let rows = connection.query("reading which tables are readable", readable, &[&oids]).await?;
    let readable: std::collections::HashSet<u32> = rows.iter().map(|row| row.get(0)).collect();
    let mut looked: Vec<&mut Selected> =
        selected.iter_mut().filter(|selected| readable.contains(&selected.oid)).collect();
    for some in looked.chunks_mut(TABLES_AT_ONCE) {
        let empty: Vec<String> =
            some.iter().map(|selected| format!("NOT EXISTS (SELECT FROM {})", selected.quoted)).collect();
        let sql = format!("SELECT ARRAY[{}]", empty.join(", "));
        let row = connection.row("looking whether the tables are empty", &sql, &[]).await?;
        for (selected, empty) in some.iter_mut().zip(row.get::<_, Vec<bool>>(0)) {
            selected.table.empty = Some(empty);
        }
    }
    Ok(())
}

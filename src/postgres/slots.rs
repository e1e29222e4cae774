//! The slot of the way back: made before the side it is on becomes the writer, so that no write is missed.
//!
//! PostgreSQL makes no slot in a transaction that has written. So these calls hold the record's lock and read the row.

use tokio_postgres::Row;
use tokio_postgres::types::PgLsn;

use super::connect::Connection;
use super::guarded::{Epoch, guarded, locked};
use super::token::{Guard, Holder, ReverseStart};
use crate::api::condition::Reason;
use crate::fault::Fault;
use crate::permit::Permit;

/// The plugin that the DMS endpoint is told to use.
const PLUGIN: &str = "test_decoding";

const LOOK: &str = "
SELECT s.active,
       s.slot_type = 'logical' AND s.database = current_database()
       AND EXISTS (SELECT FROM slipway.slot n WHERE n.name = $1),
       s.plugin = 'test_decoding' AND NOT s.temporary AND s.wal_status IN ('reserved', 'extended'),
       s.confirmed_flush_lsn
  FROM pg_replication_slots s WHERE s.slot_name = $1::text::name";

/// A slot as it is now.
struct Found {
    active: bool,
    /// Of this database, and noted.
    ours: bool,
    /// What DMS can read from, and with nothing lost.
    sound: bool,
    confirmed: Option<PgLsn>,
}

impl Found {
    fn read(row: &Row) -> Self {
        let held = |column| row.get::<_, Option<bool>>(column).unwrap_or(false);
        Self { active: held(0), ours: held(1), sound: held(2), confirmed: row.get(3) }
    }
}

async fn find(connection: &Connection, slot: &str) -> Result<Option<Found>, Fault> {
    let rows = connection.query("looking for a replication slot", LOOK, &[&slot]).await?;
    Ok(rows.first().map(Found::read))
}

fn not_ours(connection: &Connection, slot: &str) -> Fault {
    Fault::blocked(
        Reason::NotOurs,
        format_args!("replication slot {slot} on {} is not this migration's", connection.at()),
        "Find out who uses it, and drop it with pg_drop_replication_slot if nobody does",
    )
}

fn in_use(connection: &Connection, slot: &str) -> Fault {
    Fault::Wait(format!("replication slot {slot} on {} is in use", connection.at()))
}

/// Makes the slot of the way back on the side that the writer will go to, or finds it made. It waits for every
/// transaction of the server that has written something, so it can fail after some seconds, and then leaves none behind.
pub async fn create_slot(
    connection: &Connection,
    permit: &Permit<'_>,
    guard: &Guard,
    slot: &str,
) -> Result<(), Fault> {
    let doing = "making the slot of the way back";
    let note = async {
        match find(connection, slot).await? {
            Some(found) if !found.ours => return Err(not_ours(connection, slot)),
            Some(found) if found.sound => return Ok(true),
            // Noted first: what is made and not noted, nobody would dare to drop.
            _ => {}
        }
        let sql = "INSERT INTO slipway.slot (name) VALUES ($1) ON CONFLICT DO NOTHING";
        connection.query("noting a replication slot", sql, &[&slot]).await?;
        Ok(false)
    };
    if guarded(connection, permit, guard, Epoch::Exactly, &[Holder::Fenced], doing, note).await? {
        return Ok(());
    }
    let make = async {
        match find(connection, slot).await? {
            Some(found) if !found.ours => return Err(not_ours(connection, slot)),
            Some(found) if found.sound => return Ok(()),
            Some(found) if found.active => return Err(in_use(connection, slot)),
            Some(_) => {
                let drop = "SELECT pg_drop_replication_slot($1::text::name)";
                connection.query("dropping a lost replication slot", drop, &[&slot]).await?;
            }
            None => {}
        }
        let make = "SELECT pg_create_logical_replication_slot($1::text::name, $2::text::name)";
        connection.query(doing, make, &[&slot, &PLUGIN]).await.map(|_| ())
    };
    match locked(connection, permit, guard, &[Holder::Fenced], doing, make).await {
        Err(Fault::Again(why)) => Err(Fault::Again(format!("{why}{}", waits_for(connection).await))),
        done => done,
    }
}

/// Which transactions a new slot waits for.
async fn waits_for(connection: &Connection) -> String {
    let sql = "
        SELECT format('session %s of %s in database %s', pid, usename, datname) FROM pg_stat_activity
         WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()
        UNION ALL
        SELECT format('prepared transaction %s of %s in database %s', gid, owner, database) FROM pg_prepared_xacts
         LIMIT 3";
    let Ok(rows) = connection.query("looking for open transactions", sql, &[]).await else {
        return String::new();
    };
    let open: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    if open.is_empty() { String::new() } else { format!("; open transactions: {}", open.join(", ")) }
}

/// Drops a slot of this move from a side that is not the writer, and forgets it. One that is gone is no fault, one in use
/// is waited for. While a fence is undecided, the slots on its side are still needed.
pub async fn drop_move_slot(
    connection: &Connection,
    permit: &Permit<'_>,
    guard: &Guard,
    slot: &str,
) -> Result<(), Fault> {
    let doing = "dropping a slot of the move";
    let work = async {
        if let Some(found) = find(connection, slot).await? {
            if !found.ours {
                return Err(not_ours(connection, slot));
            }
            if found.active {
                return Err(in_use(connection, slot));
            }
            let drop = "SELECT pg_drop_replication_slot($1::text::name)";
            connection.query("dropping a replication slot", drop, &[&slot]).await?;
        }
        let forget = "DELETE FROM slipway.slot WHERE name = $1";
        connection.query("forgetting a replication slot", forget, &[&slot]).await.map(|_| ())
    };
    let allowed = [Holder::Fenced, Holder::Refused, Holder::Side(connection.side().other())];
    locked(connection, permit, guard, &allowed, doing, work).await
}

/// Settles where the way back begins, and writes it into the row of the side that is left, before the role is given away.
/// `to` must be frozen: what its slot holds up to here is replication's own work and is not to come back.
pub async fn arm(
    from: &Connection,
    to: &Connection,
    permit: &Permit<'_>,
    guard: &Guard,
    slot: &str,
) -> Result<ReverseStart, Fault> {
    let doing = "arming the way back";
    let touch = async {
        let Some(found) = find(to, slot).await? else {
            return Err(lost(to, slot, "is gone"));
        };
        if !found.ours {
            return Err(not_ours(to, slot));
        }
        if !found.sound {
            return Err(lost(to, slot, "lost what it kept"));
        }
        let busy = "
            SELECT (SELECT count(*) FROM pg_stat_activity
                     WHERE datname = current_database() AND backend_xid IS NOT NULL AND pid <> pg_backend_pid()
                       AND backend_type <> 'autovacuum worker')
                 + (SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database())";
        let busy: i64 = to.row("looking for open transactions", busy, &[]).await?.get(0);
        if busy > 0 {
            return Err(Fault::Wait(format!("{busy} transactions on {} have written and are open", to.at())));
        }
        Ok(found.confirmed)
    };
    // This commits synchronously, so whatever committed there before without waiting for the disk is on disk after it.
    let confirmed = guarded(to, permit, guard, Epoch::Exactly, &[Holder::Fenced], doing, touch).await?;
    let lsn: PgLsn =
        to.row("reading the end of the log", "SELECT pg_current_wal_flush_lsn()", &[]).await?.get(0);
    if confirmed.is_none_or(|confirmed| confirmed > lsn) {
        return Err(lost(to, slot, "is already past the end of the log"));
    }
    let write = async {
        let sql = "
            UPDATE slipway.token SET reverse_slot = $1, reverse_lsn = $2
             WHERE holder = 'none' AND fence_id = $3 RETURNING epoch";
        let rows = from.query("recording the way back", sql, &[&slot, &lsn, &guard.fence_id]).await?;
        if rows.is_empty() {
            return Err(Fault::Wait(format!(
                "{doing}: the fence of {} is not fence {}",
                from.at(),
                guard.fence_id
            )));
        }
        Ok(())
    };
    guarded(from, permit, guard, Epoch::Exactly, &[Holder::None], doing, write).await?;
    Ok(ReverseStart { slot: slot.to_owned(), lsn })
}

fn lost(connection: &Connection, slot: &str, what: &str) -> Fault {
    Fault::blocked(
        Reason::SlotLost,
        format_args!("replication slot {slot} on {}, which the way back needs, {what}", connection.at()),
        "Find out who removed it or what filled max_slot_wal_keep_size; the next attempt makes a new one",
    )
}

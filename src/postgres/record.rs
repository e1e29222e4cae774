//! The schema `slipway`: what each database itself knows of its migration.

use super::connect::Connection;
use super::layer;
use super::token::{Holder, Token};
use crate::api::condition::Reason;
use crate::fault::Fault;
use crate::permit::Permit;
use crate::side::Side;

/// Who holds a database: whose record it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// `namespace/name`.
    pub resource: String,
    /// `metadata.uid`.
    pub uid: String,
    /// The role that DMS logs in as on this side.
    pub dms_role: String,
}

/// What a side's record says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// `namespace/name` of the migration.
    pub migration: String,
    /// Its uid; empty once it let go of this side.
    pub uid: String,
    /// Its row.
    pub token: Token,
}

// Whatever changes the record or what it guards holds this lock until its transaction ends.
const LOCK: &str = "SELECT pg_advisory_xact_lock(x'736c6970776179'::bigint)";

// marker: rows that replication carries across, told apart by k; the heartbeat is one of them.
// token: who may write to this database. One row; whoever changes it does so in the transaction that changes privileges.
// token_acl: one row for each grant that a fence (or a freeze, of DMS's role) took away, so that exactly those can be given
// back; and, as lent, each that Slipway made so that the operator and DMS can go on, to be taken back then.
// slot: the replication slots that are this migration's, and so may be dropped.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS slipway.marker (
    k text PRIMARY KEY, attempt integer NOT NULL, fence_id text, at timestamptz NOT NULL, beat bigint);
CREATE TABLE IF NOT EXISTS slipway.token (
    one boolean PRIMARY KEY DEFAULT true CHECK (one), holder text NOT NULL, attempt integer NOT NULL DEFAULT 0,
    epoch bigint NOT NULL DEFAULT 0, fence_id text, since timestamptz NOT NULL DEFAULT clock_timestamp(),
    reverse_slot text, reverse_lsn pg_lsn,
    migration text NOT NULL, uid text NOT NULL, system_identifier bigint NOT NULL);
CREATE TABLE IF NOT EXISTS slipway.token_acl (
    kind text NOT NULL CHECK (kind IN ('database', 'relation', 'column')), object text NOT NULL,
    attribute text NOT NULL DEFAULT '', grantor text NOT NULL, grantee text NOT NULL, privilege text NOT NULL,
    grantable boolean NOT NULL, saved_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    why text NOT NULL DEFAULT 'fence' CHECK (why IN ('fence', 'freeze', 'lent')),
    PRIMARY KEY (kind, object, attribute, grantor, grantee, privilege, why));
CREATE TABLE IF NOT EXISTS slipway.slot (
    name text PRIMARY KEY, seen_at timestamptz NOT NULL DEFAULT clock_timestamp());";

/// Makes the record on the source, or finds it made. Another migration's record is left alone and named.
pub async fn prepare_source(
    connection: &Connection,
    permit: &Permit<'_>,
    migration: &Holding,
) -> Result<(), Fault> {
    expect(connection, Side::Source)?;
    let work = make(connection, migration, "source", &["SELECT"]);
    connection.change(permit, "preparing schema slipway", Box::pin(work)).await
}

/// Removes the record from a side where applications may write, if it is this migration's. The schema stays: it was there
/// before. A fenced side is refused, for the record alone knows what its fence took away.
pub async fn drop_record(
    connection: &Connection,
    permit: &Permit<'_>,
    migration: &Holding,
) -> Result<(), Fault> {
    let work = async {
        lock(connection).await?;
        let Some(holder) = held(connection, migration).await? else { return Ok(()) };
        if holder != Holder::Side(connection.side()) {
            return Err(Fault::Bug(format!(
                "the record of {} was to be dropped while its holder is {}",
                connection.at(),
                holder.as_str()
            )));
        }
        let slots = "SELECT s.name FROM slipway.slot s JOIN pg_replication_slots r ON r.slot_name = s.name";
        let slots = connection.query("reading slipway.slot", slots, &[]).await?;
        if let Some(row) = slots.first() {
            // Forgotten, nobody would dare to drop it, and it would fill this server's disk.
            let slot: String = row.get(0);
            return Err(Fault::Wait(format!("replication slot {slot} is still on {}", connection.at())));
        }
        layer::remove(connection).await?;
        let tables = "DROP TABLE IF EXISTS slipway.marker, slipway.token, slipway.token_acl, slipway.slot; \
                      DROP FUNCTION IF EXISTS slipway.fence()";
        connection.run("dropping the tables of schema slipway", tables).await
    };
    connection.change(permit, "removing the record", Box::pin(work)).await
}

/// Lets go of a fenced side, if it is this migration's: the marker table goes, and another migration may take the record
/// over. The fence stays, and with it the note of what it took away.
pub async fn release(connection: &Connection, permit: &Permit<'_>, migration: &Holding) -> Result<(), Fault> {
    let work = async {
        lock(connection).await?;
        let Some(holder) = held(connection, migration).await? else { return Ok(()) };
        if holder == Holder::Side(connection.side()) {
            return Err(Fault::Bug(format!("{} was to be released while it is the writer", connection.at())));
        }
        let release = "DROP TABLE IF EXISTS slipway.marker; UPDATE slipway.token SET uid = ''";
        connection.run("releasing a side", release).await
    };
    connection.change(permit, "releasing a side", Box::pin(work)).await
}

/// Whose record a side has and what its row says; `None` where there is none.
pub async fn recorded(connection: &Connection) -> Result<Option<Recorded>, Fault> {
    let there = "SELECT to_regclass('slipway.token') IS NOT NULL";
    if !connection.row("looking for slipway.token", there, &[]).await?.get::<_, bool>(0) {
        return Ok(None);
    }
    let sql = format!("SELECT {}, migration, uid FROM slipway.token", Token::COLUMNS);
    let rows = connection.query("reading slipway.token", &sql, &[]).await?;
    Ok(rows.first().map(|row| Recorded {
        migration: row.get("migration"),
        uid: row.get("uid"),
        token: Token::from_row(row, 0),
    }))
}

/// Remembers that a slot is this migration's.
pub async fn note_slot(connection: &Connection, permit: &Permit<'_>, name: &str) -> Result<(), Fault> {
    permit.check("noting a replication slot")?;
    let sql = "INSERT INTO slipway.slot (name) VALUES ($1) ON CONFLICT DO NOTHING";
    connection.query("noting a replication slot", sql, &[&name]).await.map(|_| ())
}

/// Drops a slot that [`note_slot`] remembered; one that is gone already is no fault, one in use is waited for.
pub async fn drop_slot(connection: &Connection, permit: &Permit<'_>, name: &str) -> Result<(), Fault> {
    let look = "
        SELECT s.active, s.database = current_database() AND s.slot_type = 'logical',
               to_regclass('slipway.slot') IS NOT NULL
          FROM (SELECT $1::text AS wanted) w LEFT JOIN pg_replication_slots s ON s.slot_name = w.wanted";
    let row = connection.row("looking for a replication slot", look, &[&name]).await?;
    let (active, of_database): (Option<bool>, Option<bool>) = (row.get(0), row.get(1));
    let noted = row.get(2) && {
        let noted = "SELECT FROM slipway.slot WHERE name = $1";
        !connection.query("reading slipway.slot", noted, &[&name]).await?.is_empty()
    };
    if let Some(active) = active {
        if !noted || of_database != Some(true) {
            return Err(Fault::blocked(
                Reason::NotOurs,
                format_args!("replication slot {name} on {} is not this migration's", connection.at()),
                "Find out who uses it; Slipway drops only slots that it saw its own task use",
            ));
        }
        if active {
            return Err(Fault::Wait(format!("replication slot {name} on {} is in use", connection.at())));
        }
        permit.check("dropping a replication slot")?;
        let drop = "SELECT pg_drop_replication_slot($1::text::name)";
        connection.query("dropping a replication slot", drop, &[&name]).await?;
    }
    if noted {
        permit.check("forgetting a replication slot")?;
        let forget = "DELETE FROM slipway.slot WHERE name = $1";
        connection.query("forgetting a replication slot", forget, &[&name]).await?;
    }
    Ok(())
}

/// Keeps everyone else from the record until the transaction ends.
pub(super) async fn lock(connection: &Connection) -> Result<(), Fault> {
    connection.run("waiting for another change of the record", LOCK).await
}

/// A call for the one side that reached the other would be a mistake of ours.
pub(super) fn expect(connection: &Connection, side: Side) -> Result<(), Fault> {
    if connection.side() == side {
        return Ok(());
    }
    Err(Fault::Bug(format!("a change meant for the {side} was sent to {}", connection.at())))
}

/// Makes what is missing of schema and tables, claims the token for this migration, and lets DMS have `rights` on the
/// marker. To be called in a transaction.
pub(super) async fn make(
    connection: &Connection,
    migration: &Holding,
    holder: &str,
    rights: &[&str],
) -> Result<(), Fault> {
    lock(connection).await?;
    if let Some(Recorded { migration: other, uid, .. }) = recorded(connection).await?
        && uid != migration.uid
        && !uid.is_empty()
    {
        return Err(Fault::blocked(
            Reason::OtherMigration,
            format_args!(
                "{} belongs to another migration: DatabaseMigration {other}, uid {uid}",
                connection.at()
            ),
            "Delete that DatabaseMigration first. If it exists no more, run DELETE FROM slipway.token there; \
             slipway.token_acl tells what its fence took away",
        ));
    }
    let there = "SELECT to_regnamespace('slipway') IS NOT NULL";
    if !connection.row("looking for schema slipway", there, &[]).await?.get::<_, bool>(0) {
        connection.run("creating schema slipway", "CREATE SCHEMA slipway").await?;
    }
    connection.run("creating the tables of schema slipway", TABLES).await?;
    let claim = "
        INSERT INTO slipway.token (holder, migration, uid, system_identifier)
        SELECT $1, $2, $3, system_identifier FROM pg_control_system()
        ON CONFLICT (one) DO UPDATE SET migration = excluded.migration, uid = excluded.uid WHERE token.uid = ''";
    let (resource, uid) = (&migration.resource, &migration.uid);
    connection.query("claiming slipway.token", claim, &[&holder, resource, uid]).await?;
    grant_marker(connection, &migration.dms_role, rights).await
}

/// The row's holder, if the record is this migration's.
async fn held(connection: &Connection, migration: &Holding) -> Result<Option<Holder>, Fault> {
    let found = recorded(connection).await?;
    Ok(found.filter(|found| found.uid == migration.uid).map(|found| found.token.holder))
}

/// Grants only what is missing: a grant rewrites the catalog even if it changes nothing.
async fn grant_marker(connection: &Connection, dms_role: &str, rights: &[&str]) -> Result<(), Fault> {
    let held = "
        SELECT quote_ident(d.rolname), has_schema_privilege(d.oid, 'slipway', 'USAGE'),
               NOT EXISTS (SELECT FROM unnest($2::text[]) r WHERE NOT has_table_privilege(d.oid, 'slipway.marker', r))
          FROM pg_roles d WHERE d.rolname = $1";
    let look =
        async || connection.query("reading DMS's rights on the marker", held, &[&dms_role, &rights]).await;
    let refused = |what: &str, remedy: String| {
        let wrong = format!("DMS's role {dms_role} {what} on {}", connection.at());
        Fault::blocked(Reason::PrivilegeMissing, wrong, remedy)
    };
    let rows = look().await?;
    let Some(row) = rows.first() else {
        return Err(refused("does not exist", format!("CREATE ROLE \"{dms_role}\" LOGIN")));
    };
    let role: String = row.get(0);
    let granted = rights.join(", ");
    if !row.get::<_, bool>(1) {
        connection
            .run("granting schema slipway to DMS", &format!("GRANT USAGE ON SCHEMA slipway TO {role}"))
            .await?;
    }
    if !row.get::<_, bool>(2) {
        connection
            .run("granting the marker to DMS", &format!("GRANT {granted} ON slipway.marker TO {role}"))
            .await?;
    }
    // A grant by someone who may not give it can succeed and do nothing.
    let rows = look().await?;
    if rows.first().is_some_and(|row| row.get(1) && row.get(2)) {
        return Ok(());
    }
    Err(refused(
        "could not be given its rights on slipway.marker",
        format!("GRANT USAGE ON SCHEMA slipway TO {role}; GRANT {granted} ON slipway.marker TO {role}"),
    ))
}

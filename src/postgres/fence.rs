//! The fence: nobody but the operator and DMS may connect to a database or change a selected table; and its undoing.
//!
//! What it takes away it notes first, in the same transaction. Whether it stands is never concluded from a command's
//! success: that is judged by [`super::standing()`] or [`super::observe()`], asked afterwards.

use std::collections::BTreeSet;
use std::time::Duration;

use super::acl::{self, Why};
use super::connect::Connection;
use super::guarded::{self, Epoch};
use super::record::{self, Holding};
use super::selection::Selection;
use super::token::{Guard, Holder};
use super::{layer, privileges};
use crate::fault::Fault;
use crate::permit::Permit;
use crate::side::Side;

/// How long sessions may take to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Fences the target from birth: makes the record there, notes and revokes what lets anyone but the operator and DMS
/// connect to the database or change a selected table, and ends the sessions that are left. Doing it again changes
/// nothing, and never touches what was noted before.
pub async fn fence_target(
    connection: &Connection,
    permit: &Permit<'_>,
    migration: &Holding,
    selection: &Selection,
) -> Result<(), Fault> {
    record::expect(connection, Side::Target)?;
    let work = async {
        // Without the first, a table that someone alters would stop all who want to read it while we wait in the queue.
        let limits = "SET LOCAL lock_timeout = '500ms'; SET LOCAL synchronous_commit = on";
        connection.run("fencing", limits).await?;
        record::make(connection, migration, "fenced", &["SELECT", "INSERT", "UPDATE", "DELETE"]).await?;
        let holder = "SELECT holder FROM slipway.token FOR UPDATE";
        let holder: String = connection.row("reading slipway.token", holder, &[]).await?.get(0);
        if !matches!(Holder::parse(&holder), Holder::Fenced | Holder::Refused) {
            return Err(Fault::Bug(format!(
                "{} was to be fenced, but its token is held by {holder}",
                connection.at()
            )));
        }
        take_away(connection, &migration.dms_role, selection).await
    };
    connection.long_change(permit, "fencing", Box::pin(work)).await?;
    await_their_end(connection, permit, &migration.dms_role).await
}

/// Fences the writer: its role goes from this side to nobody, in the transaction that revokes the privileges. On a side
/// that nobody holds already it closes what was opened meanwhile, and stays the fence it was.
pub async fn fence(
    connection: &Connection,
    permit: &Permit<'_>,
    guard: &Guard,
    selection: &Selection,
) -> Result<(), Fault> {
    let us = Holder::Side(connection.side());
    let work = async {
        let token = guarded::enter(connection, guard, &[us.clone(), Holder::None], Epoch::UpTo).await?;
        if token.holder == us {
            acl::forget(connection).await?;
            let fence = "
                UPDATE slipway.token SET holder = 'none', fence_id = $1, since = clock_timestamp(),
                       reverse_slot = NULL, reverse_lsn = NULL";
            connection.query("taking the writer's role", fence, &[&guard.fence_id]).await?;
        }
        take_away(connection, &guard.holding.dms_role, selection).await
    };
    connection.change(permit, "fencing", Box::pin(work)).await
}

async fn take_away(connection: &Connection, dms_role: &str, selection: &Selection) -> Result<(), Fault> {
    let tables = selection.oids(connection).await?;
    acl::keep_ourselves_in(connection, dms_role).await?;
    acl::note(connection, Why::Fence, dms_role, &tables).await?;
    acl::revoke(connection, Why::Fence, dms_role, &tables).await
}

/// Tells every session that a fence ends to end, once; whether they did is for [`super::standing()`] to say. Refused while
/// applications may write here.
pub async fn end_sessions(connection: &Connection, permit: &Permit<'_>, guard: &Guard) -> Result<(), Fault> {
    let work = async {
        guarded::enter(connection, guard, &guarded::not_writable(connection.side()), Epoch::UpTo).await?;
        end(connection, &guard.holding.dms_role).await.map(|_| ())
    };
    connection.change(permit, "ending sessions", Box::pin(work)).await
}

/// Gives the tables that need it the trigger that refuses writes. Meant for when the sessions are gone: it waits for
/// whoever still writes, and not for long.
pub async fn add_layer(
    connection: &Connection,
    permit: &Permit<'_>,
    guard: &Guard,
    selection: &Selection,
) -> Result<(), Fault> {
    let work = async {
        guarded::enter(connection, guard, &[Holder::None], Epoch::UpTo).await?;
        layer::add(connection, &guard.holding.dms_role, selection).await
    };
    connection.change(permit, "adding the fence's triggers", Box::pin(work)).await
}

/// Opens the side again whose role nobody was given: everything as it was before its fence. On a side that is open it
/// only claims the row, so that a fence under way finds a later decision. Returns what could not be given back exactly.
pub async fn unfence(
    connection: &Connection,
    permit: &Permit<'_>,
    guard: &Guard,
) -> Result<Vec<String>, Fault> {
    let us = Holder::Side(connection.side());
    let dms_role = &guard.holding.dms_role;
    let work = async {
        let token = guarded::enter(connection, guard, &[us.clone(), Holder::None], Epoch::UpTo).await?;
        if token.holder == us {
            return acl::differences(connection, Why::Fence, dms_role).await;
        }
        let differences = acl::restore(connection, Why::Fence, dms_role).await?;
        acl::end_the_loan(connection).await?;
        layer::disable(connection).await?;
        let open = "
            UPDATE slipway.token SET holder = $1, fence_id = NULL, since = clock_timestamp(),
                   reverse_slot = NULL, reverse_lsn = NULL";
        connection.query("giving the writer's role back", open, &[&us.as_str()]).await?;
        Ok(differences)
    };
    let mut differences = connection.change(permit, "un-fencing", Box::pin(work)).await?;
    differences.extend(clear_layer(connection, permit, guard).await);
    Ok(differences)
}

/// After a side was opened: drops the triggers, which are disabled by now. It is open already, so whatever goes wrong
/// here is told and no fault; the next call tries again.
pub(super) async fn clear_layer(connection: &Connection, permit: &Permit<'_>, guard: &Guard) -> Vec<String> {
    match layer::left(connection).await {
        Ok(left) if left.is_empty() => return left,
        Ok(_) => {}
        Err(fault) => return vec![fault.message().to_owned()],
    }
    let us = Holder::Side(connection.side());
    let work = async {
        guarded::enter(connection, guard, &[us], Epoch::UpTo).await?;
        layer::remove(connection).await
    };
    let removed = connection.change(permit, "dropping the fence's triggers", Box::pin(work)).await;
    match (removed, layer::left(connection).await) {
        (_, Ok(left)) => left,
        (Err(fault), _) | (_, Err(fault)) => vec![fault.message().to_owned()],
    }
}

/// Sends each session of an application the signal to end, and says whose they were.
async fn end(connection: &Connection, dms_role: &str) -> Result<Vec<String>, Fault> {
    let sql = format!(
        "SELECT a.usename::text, pg_terminate_backend(a.pid) FROM pg_stat_activity a
          WHERE a.backend_type NOT IN ('walsender', 'autovacuum worker') AND {}",
        privileges::of_applications("$1")
    );
    let rows = connection.query("ending sessions", &sql, &[&dms_role]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// A session outlives the right to begin it. Ends those of applications until two looks in a row find none: a login
/// that passed its check before the commit may appear after the first.
async fn await_their_end(connection: &Connection, permit: &Permit<'_>, dms_role: &str) -> Result<(), Fault> {
    let began = tokio::time::Instant::now();
    let mut quiet = 0;
    loop {
        permit.check("ending sessions")?;
        let roles = end(connection, dms_role).await?;
        quiet = if roles.is_empty() { quiet + 1 } else { 0 };
        if quiet == 2 {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            let roles: BTreeSet<String> = roles.into_iter().collect();
            let roles: Vec<String> = roles.into_iter().collect();
            return Err(Fault::Again(format!(
                "sessions of {} on {} did not end within {} s",
                roles.join(", "),
                connection.at(),
                PATIENCE.as_secs()
            )));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

//! How the writer's role changes sides: claimed by a decision, given away on the one side, taken up on the other; and
//! taken back. Each is a compare-and-set of the row, in the transaction of what it stands for.

use super::acl::{self, Why};
use super::connect::Connection;
use super::guarded::{self, Epoch};
use super::selection::Selection;
use super::standing::TIMELINE;
use super::token::{ClaimAs, Guard, Holder};
use super::{fence, layer, privileges, standing};
use crate::api::condition::Reason;
use crate::fault::Fault;
use crate::permit::Permit;

/// Claims the side that the writer goes to, or would have gone to, for a decision. An open side stays open, and only
/// learns of the decision.
pub async fn claim(
    connection: &Connection,
    permit: &Permit<'_>,
    guard: &Guard,
    claim_as: ClaimAs,
) -> Result<(), Fault> {
    let side = connection.side();
    let mut holders = vec![Holder::Side(side), Holder::Side(side.other()), Holder::Fenced, Holder::Refused];
    if claim_as == ClaimAs::Unchanged {
        holders.push(Holder::None);
    }
    let work = async {
        let token = guarded::enter(connection, guard, &holders, Epoch::UpTo).await?;
        let holder = match claim_as {
            ClaimAs::Unchanged => return Ok(()),
            _ if token.holder == Holder::Side(side) => return Ok(()),
            // A decision that refused it does not change its mind; a call of its own that comes late may say otherwise.
            ClaimAs::Fenced if token.holder == Holder::Refused && token.epoch == guard.epoch => {
                return Err(Fault::Wait(format!(
                    "epoch {} itself refuses that {} is opened",
                    guard.epoch,
                    connection.at()
                )));
            }
            ClaimAs::Fenced => Holder::Fenced,
            ClaimAs::Refused => Holder::Refused,
        };
        let sql = "
            UPDATE slipway.token SET holder = $1, fence_id = $2,
                   since = CASE WHEN holder = $1 THEN since ELSE clock_timestamp() END";
        connection.query("claiming the side", sql, &[&holder.as_str(), &guard.fence_id]).await.map(|_| ())
    };
    connection.change(permit, "claiming the side", Box::pin(work)).await
}

/// The decision: this side, fenced and nobody's, gives the writer's role to the other one, for good. Only under the very
/// epoch that claimed it, on the timeline that was observed, with nobody who could still write, and with the place known
/// from which the way back begins.
pub async fn give(
    connection: &Connection,
    permit: &Permit<'_>,
    guard: &Guard,
    selection: &Selection,
    expect_timeline: i32,
) -> Result<(), Fault> {
    let at = connection.at();
    let them = Holder::Side(connection.side().other());
    let work = async {
        let token = guarded::enter(connection, guard, &[Holder::None, them.clone()], Epoch::Exactly).await?;
        guarded::same_fence(connection, guard, &token)?;
        if token.holder == them {
            return Ok(());
        }
        if token.reverse.is_none() {
            return Err(Fault::Wait(format!("{at} does not know yet where the way back begins")));
        }
        let timeline = format!("SELECT {TIMELINE}");
        let timeline: i32 = connection.row("reading the timeline", &timeline, &[]).await?.get(0);
        if timeline != expect_timeline {
            return Err(Fault::blocked(
                Reason::OtherServer,
                format_args!(
                    "{at} is on timeline {timeline} and was on {expect_timeline}: a standby was promoted"
                ),
                "The move is given up; begin it again once the new server is known to hold everything",
            ));
        }
        let tables = selection.oids(connection).await?;
        let writers = privileges::writers(connection, &guard.holding.dms_role, &tables).await?;
        if !writers.is_empty() {
            return Err(Fault::blocked(
                Reason::UnlistedWriter,
                format_args!("These roles can write to {at} in spite of its fence: {}", writers.join(", ")),
                "Take from them what lets them in, and begin the move again",
            ));
        }
        let give = "UPDATE slipway.token SET holder = $1, since = clock_timestamp()";
        connection.query("giving the writer's role away", give, &[&them.as_str()]).await.map(|_| ())
    };
    connection.change(permit, "giving the writer's role away", Box::pin(work)).await
}

/// Opens the side that was given the role: everything that its fence took is given back. Only under the very epoch that
/// claimed it, while replication may not write here and `slot`, where the way back begins, is there. Returns what could
/// not be given back exactly.
pub async fn open(
    connection: &Connection,
    permit: &Permit<'_>,
    guard: &Guard,
    selection: &Selection,
    slot: &str,
) -> Result<Vec<String>, Fault> {
    let us = Holder::Side(connection.side());
    let dms_role = &guard.holding.dms_role;
    let work = async {
        let token = guarded::enter(connection, guard, &[Holder::Fenced, us.clone()], Epoch::Exactly).await?;
        guarded::same_fence(connection, guard, &token)?;
        if token.holder == us {
            return acl::differences(connection, Why::Fence, dms_role).await;
        }
        refuse_unready(connection, dms_role, selection, slot).await?;
        acl::leave_to_the_freeze(connection, dms_role).await?;
        let differences = acl::restore(connection, Why::Fence, dms_role).await?;
        acl::end_the_loan(connection).await?;
        layer::disable(connection).await?;
        let open = "UPDATE slipway.token SET holder = $1, since = clock_timestamp()";
        connection.query("taking the writer's role", open, &[&us.as_str()]).await?;
        Ok(differences)
    };
    let mut differences = connection.change(permit, "opening the side", Box::pin(work)).await?;
    differences.extend(fence::clear_layer(connection, permit, guard).await);
    Ok(differences)
}

async fn refuse_unready(
    connection: &Connection,
    dms_role: &str,
    selection: &Selection,
    slot: &str,
) -> Result<(), Fault> {
    let at = connection.at();
    if standing::replication_may_write(connection, dms_role, selection).await? {
        return Err(Fault::blocked(
            Reason::NotFrozen,
            format_args!("DMS's role {dms_role} may still connect to {at} or change a table there"),
            "Find out who gave it the right; a database takes an application's writes or replication, never both",
        ));
    }
    if standing::move_slot(connection, slot).await?.is_none_or(|slot| !slot.usable) {
        return Err(Fault::blocked(
            Reason::SlotLost,
            format_args!("Replication slot {slot}, where the way back would begin, is not usable on {at}"),
            "Find out who dropped it; the move is given up and can be begun again",
        ));
    }
    Ok(())
}

/// Takes the role back that this side had given away: it is nobody's again. Only for a decision that has claimed the
/// other side as refused, and seen it fenced.
pub async fn take_back(connection: &Connection, permit: &Permit<'_>, guard: &Guard) -> Result<(), Fault> {
    let them = Holder::Side(connection.side().other());
    let work = async {
        let token = guarded::enter(connection, guard, &[them.clone(), Holder::None], Epoch::UpTo).await?;
        if token.holder == them {
            let take = "UPDATE slipway.token SET holder = 'none', since = clock_timestamp()";
            connection.query("taking the writer's role back", take, &[]).await?;
        }
        Ok(())
    };
    connection.change(permit, "taking the writer's role back", Box::pin(work)).await
}

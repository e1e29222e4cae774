//! Perform one step of a move, and write the decisions that begin and end one.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::{Hands, cname, material, session, vanished};
use crate::api::FIELD_MANAGER;
use crate::api::database::DatabaseMigration;
use crate::aws::secrets::Place;
use crate::database::context::Memory;
use crate::database::decide::{Decide, LatchWhy, Move, MoveStep};
use crate::database::goal::{ConnectionGoal, Goal, Intent};
use crate::database::observe::{self, Ends};
use crate::database::seen::{Seen, Verified};
use crate::fault::Fault;
use crate::operator::objects::{api, kubernetes};
use crate::postgres::{self, Connection, Guard, Holding, Invariant};
use crate::report::clip;
use crate::side::Side;

/// Differences that are named in one sentence.
const NAMED: usize = 5;
/// A comparison that may take this long at least, however little of the outage is left.
const VERIFY_LEAST: Duration = Duration::from_secs(1);

/// Writes a decision before its first effect. It carries the resourceVersion, so that a goal that changed, and a decision
/// of another operator, are looked at first. Returns the resource as it is now.
pub async fn record(
    hands: &Hands<'_>,
    object: &DatabaseMigration,
    goal: &Goal,
    memory: &mut Memory,
    decide: &Decide,
) -> Result<DatabaseMigration, Fault> {
    let status = decision(goal, decide, jiff::Timestamp::now());
    let recorded = patch(hands, object, status, "recording status.decided").await?;
    memory.seen.decided(decide.epoch);
    Ok(recorded)
}

/// What the status says of a decision.
pub fn decision(goal: &Goal, decide: &Decide, now: jiff::Timestamp) -> serde_json::Value {
    let now = Time(now);
    let mut status = json!({
        "decided": {
            "epoch": decide.epoch, "intent": decide.intent.as_str(), "attempt": decide.attempt, "at": now,
        },
    });
    if let Some(latch) = &decide.latch {
        status["latch"] = self::latch(goal, latch, &now);
    }
    match decide.intent {
        Intent::Move | Intent::Return => {
            status["phase"] = json!("CuttingOver");
            status["next"] = json!(clip(&decide.why, 256));
        }
        Intent::Finish => status["pointOfNoReturnAt"] = json!(now),
        Intent::Steady | Intent::Finished => {}
    }
    status
}

/// Writes that this attempt is given up.
pub(super) async fn record_latch(
    hands: &Hands<'_>,
    object: &DatabaseMigration,
    goal: &Goal,
    why: &LatchWhy,
) -> Result<(), Fault> {
    let status = given_up(goal, why, jiff::Timestamp::now());
    patch(hands, object, status, "recording status.latch").await.map(|_| ())
}

/// What the status says of an attempt that is given up.
pub fn given_up(goal: &Goal, why: &LatchWhy, now: jiff::Timestamp) -> serde_json::Value {
    json!({"latch": latch(goal, why, &Time(now))})
}

fn latch(goal: &Goal, why: &LatchWhy, now: &Time) -> serde_json::Value {
    json!({
        "attempt": goal.attempt, "reason": why.reason.as_str(), "message": clip(&why.message, 512), "at": now,
    })
}

async fn patch(
    hands: &Hands<'_>,
    object: &DatabaseMigration,
    status: serde_json::Value,
    doing: &str,
) -> Result<DatabaseMigration, Fault> {
    let patch = json!({"metadata": {"resourceVersion": object.resource_version()}, "status": status});
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    hands.permit.check(doing)?;
    api(hands.client, object)
        .patch_status(&object.name_any(), &params, &Patch::Merge(patch))
        .await
        .map_err(|error| kubernetes(doing, &error))
}

/// Performs one step.
pub async fn moving(
    hands: &Hands<'_>,
    goal: &Goal,
    seen: &Seen,
    memory: &mut Memory,
    ends: &Ends,
    step: &Move,
) -> Result<(), Fault> {
    let (from, to) = (step.direction.from, step.direction.to());
    let (permit, tables) = (hands.permit, &goal.tables);
    let guard = |side: Side| -> Result<Guard, Fault> {
        let dms_role = material(hands, side)?.replication.username.clone();
        let holding =
            Holding { resource: goal.migration.resource(), uid: goal.migration.uid.clone(), dms_role };
        Ok(Guard { holding, epoch: step.epoch, fence_id: step.fence_id.clone() })
    };
    let on = |side: Side| session(hands, side);
    match &step.what {
        MoveStep::Claim(side, how) => postgres::claim(on(*side)?, permit, &guard(*side)?, *how).await,
        MoveStep::CreateSlot => postgres::create_slot(on(to)?, permit, &guard(to)?, &step.slot).await,
        MoveStep::Fence => postgres::fence(on(from)?, permit, &guard(from)?, tables).await,
        MoveStep::EndSessions => postgres::end_sessions(on(from)?, permit, &guard(from)?).await,
        MoveStep::AddLayer => postgres::add_layer(on(from)?, permit, &guard(from)?, tables).await,
        MoveStep::Mark => postgres::mark(on(from)?, permit, &guard(from)?).await.map(|_| ()),
        MoveStep::Freeze => postgres::freeze(on(to)?, permit, &guard(to)?, tables).await,
        MoveStep::Verify => verify(goal, seen, memory, ends, step).await,
        MoveStep::Sequences => {
            postgres::move_sequences(on(from)?, on(to)?, permit, &guard(to)?, tables).await?;
            memory.seen.moved(step);
            Ok(())
        }
        MoveStep::ArmReverse => {
            postgres::arm(on(from)?, on(to)?, permit, &guard(from)?, &step.slot).await.map(|_| ())
        }
        MoveStep::Promote => {
            let timeline = timeline(seen, from)?;
            postgres::give(on(from)?, permit, &guard(from)?, tables, timeline).await
        }
        MoveStep::Open => {
            let different = postgres::open(on(to)?, permit, &guard(to)?, tables, &step.slot).await?;
            tell(to, &different);
            Ok(())
        }
        MoveStep::Repoint => {
            repoint(hands, goal, seen, memory, step).await?;
            memory.seen.moved(step);
            Ok(())
        }
        MoveStep::Unfence => {
            let different = postgres::unfence(on(from)?, permit, &guard(from)?).await?;
            tell(from, &different);
            Ok(())
        }
        MoveStep::TakeBack => postgres::take_back(on(from)?, permit, &guard(from)?).await,
        MoveStep::DropSlot(side, slot) => {
            postgres::claim(on(*side)?, permit, &guard(*side)?, postgres::ClaimAs::Unchanged).await?;
            postgres::drop_move_slot(on(*side)?, permit, &guard(*side)?, slot).await
        }
        MoveStep::Thaw => {
            let different = postgres::thaw(on(to)?, permit, &guard(to)?).await?;
            tell(to, &different);
            Ok(())
        }
    }
}

/// The timeline that the fence was proved on: another one means another history.
fn timeline(seen: &Seen, side: Side) -> Result<i32, Fault> {
    match seen.standing.get(side) {
        Some(Ok(standing)) => Ok(standing.timeline),
        Some(Err(fault)) => Err(fault.clone()),
        None => Err(Fault::Bug(format!("the {side} was not asked before a step that rests on it"))),
    }
}

/// What could not be given back as it was. The side is open all the same: that matters more.
fn tell(side: Side, different: &[String]) {
    for difference in different {
        tracing::warn!(%side, difference, "a privilege could not be given back as it was");
    }
}

/// Compares all rows, in sessions of its own: a comparison that takes too long is cut off, and its sessions with it.
async fn verify(
    goal: &Goal,
    seen: &Seen,
    memory: &mut Memory,
    ends: &Ends,
    step: &Move,
) -> Result<(), Fault> {
    observe::hold_spares(goal, memory, ends).await;
    let spare = |side: Side| -> Result<Arc<Connection>, Fault> {
        let held = memory.spares.get(side).as_ref().map(|(_, connection)| Arc::clone(connection));
        held.ok_or_else(|| Fault::Again(format!("no second session with the {side} for the comparison")))
    };
    let (old, new) = (spare(step.direction.from)?, spare(step.direction.to())?);
    let spent = match seen.standing.get(step.direction.from) {
        Some(Ok(standing)) => standing.token.age,
        Some(Err(_)) | None => jiff::SignedDuration::ZERO,
    };
    let left = Duration::try_from(goal.cutover.max_write_outage - spent).unwrap_or_default();
    let invariants: Vec<Invariant> = goal
        .cutover
        .invariants
        .iter()
        .map(|invariant| Invariant { name: invariant.name.clone(), sql: invariant.sql.clone() })
        .collect();
    let verdict = postgres::verify(&old, &new, &goal.tables, &invariants, left.max(VERIFY_LEAST)).await?;
    let difference = (!verdict.is_equal()).then(|| {
        let named: Vec<String> = verdict.differences.iter().take(NAMED).map(ToString::to_string).collect();
        match verdict.differences.len().saturating_sub(NAMED) {
            _ if verdict.differences.is_empty() => "nothing was compared".to_owned(),
            0 => named.join("; "),
            more => format!("{}; and {more} more", named.join("; ")),
        }
    });
    memory.seen.verified = Some(Verified {
        fence_id: step.fence_id.clone(),
        difference,
        tables: verdict.tables,
        rows: u64::try_from(verdict.rows).unwrap_or_default(),
        at: jiff::Timestamp::now(),
    });
    Ok(())
}

async fn repoint(
    hands: &Hands<'_>,
    goal: &Goal,
    seen: &Seen,
    memory: &mut Memory,
    step: &Move,
) -> Result<(), Fault> {
    let (to, epoch) = (step.direction.to(), step.epoch);
    let arn = match &goal.cutover.connection {
        Some(ConnectionGoal::Secret { arn }) => arn,
        Some(ConnectionGoal::Record(record)) => {
            return cname::repoint(hands, goal, seen, memory, record, step).await;
        }
        Some(ConnectionGoal::MultiHost) | None => return Ok(()),
    };
    let (host, port) = seen.address.get(to).as_ref().map_err(Clone::clone)?.clone();
    let place = Place { host, port, database: goal.sides.get(to).database.clone() };
    if place.host.is_empty() {
        return Err(vanished("address of the new side"));
    }
    // The same for a repeat, so that AWS recognises it; 32 characters at least, as it asks.
    let token = format!("slipway-{}-{epoch:0>12}", goal.migration.uid);
    hands.aws.secrets.point(hands.permit, arn, &place, &token).await
}

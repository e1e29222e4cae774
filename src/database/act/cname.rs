//! Lead the record by which applications find the writer, and give it back. Each looks anew before its batch: what stands there
//! may have changed, and an answer that was lost may have been a yes.

use super::Hands;
use crate::aws::route53::{Change, RecordSet, Route53};
use crate::database::cname;
use crate::database::context::Memory;
use crate::database::decide::Move;
use crate::database::goal::{Goal, RecordGoal};
use crate::database::observe::cname_sets;
use crate::database::seen::Seen;
use crate::fault::Fault;
use crate::marker::Changed;
use crate::side::Side;

/// Lowers its TTL, long before it is led elsewhere.
pub(super) async fn lower(
    hands: &Hands<'_>,
    goal: &Goal,
    seen: &Seen,
    memory: &mut Memory,
) -> Result<(), Fault> {
    let record = wanted(goal)?;
    let epoch = goal.decided.as_ref().map_or(0, |decided| decided.epoch);
    let host = host(seen, Side::Source)?;
    let route53 = &hands.aws.connections;
    change(hands, route53, goal, record, memory, |sets| {
        cname::lead(goal, record, sets, &[host], host, Changed { epoch, at: seen.now })
    })
    .await
}

/// Leads it to the new writer. Where it leads there already the same batch is sent again: nothing changes, and there is a
/// change of our own whose progress can be asked for.
pub(super) async fn repoint(
    hands: &Hands<'_>,
    goal: &Goal,
    seen: &Seen,
    memory: &mut Memory,
    record: &RecordGoal,
    step: &Move,
) -> Result<(), Fault> {
    let (old, new) = (host(seen, step.direction.from)?, host(seen, step.direction.to())?);
    let changed = Changed { epoch: step.epoch, at: seen.now };
    let route53 = hands.aws.connections.urgent();
    change(hands, &route53, goal, record, memory, |sets| {
        cname::lead(goal, record, sets, &[old, new], new, changed)
    })
    .await
}

/// Gives it its own TTL again and removes the marker.
pub(super) async fn give_back(hands: &Hands<'_>, goal: &Goal, memory: &mut Memory) -> Result<(), Fault> {
    let record = wanted(goal)?;
    let route53 = &hands.aws.connections;
    change(hands, route53, goal, record, memory, |sets| Ok(cname::give_back_batch(goal, record, sets))).await
}

async fn change(
    hands: &Hands<'_>,
    route53: &Route53,
    goal: &Goal,
    record: &RecordGoal,
    memory: &mut Memory,
    batch: impl FnOnce(&[RecordSet]) -> Result<Vec<Change>, Fault>,
) -> Result<(), Fault> {
    // Done or not: what was known of it is old from here on.
    memory.cname = Default::default();
    memory.seen.cname_change = None;
    let batch = batch(&cname_sets(route53, record).await?)?;
    if batch.is_empty() {
        return Ok(());
    }
    let comment = format!("Slipway: DatabaseMigration {}", goal.migration.resource());
    let id = route53.change(hands.permit, &record.zone_id, &comment, &batch).await?;
    memory.seen.cname_change = Some(id);
    Ok(())
}

fn wanted(goal: &Goal) -> Result<&RecordGoal, Fault> {
    cname::of(goal).ok_or_else(|| Fault::Bug("applications find the writer by no record".to_owned()))
}

fn host(seen: &Seen, side: Side) -> Result<&str, Fault> {
    seen.address.get(side).as_ref().map(|(host, _)| host.as_str()).map_err(Clone::clone)
}

//! What stands at the name by which applications find the writer.

use jiff::{SignedDuration, Timestamp};

use crate::aws::Aws;
use crate::aws::route53::{RecordSet, Route53};
use crate::database::cname::CnameSeen;
use crate::database::context::Memory;
use crate::database::goal::{Goal, Intent, RecordGoal};
use crate::database::seen::Known;

/// The applications' record is looked at again this often while something waits for it: how far a change has got is to be
/// asked no faster.
const CNAME_SOON: SignedDuration = SignedDuration::from_secs(5);
/// And this often while a cutover waits to begin, which may take weeks.
const CNAME_STEADY: SignedDuration = SignedDuration::from_secs(30);

/// The writer moves, or everything is given back.
pub fn concerns_record(goal: &Goal) -> bool {
    let finishing = goal.decided.as_ref().is_some_and(|decided| decided.intent == Intent::Finish);
    goal.is_moving() || finishing || goal.deletion.is_some()
}

/// How old a look at that record may be.
pub fn cname_every(goal: &Goal) -> SignedDuration {
    if concerns_record(goal) { CNAME_SOON } else { CNAME_STEADY }
}

/// What stands at the name by which applications find the writer.
pub(super) async fn cname(
    aws: &Aws,
    goal: &Goal,
    record: &RecordGoal,
    memory: &mut Memory,
    now: Timestamp,
) -> Known<CnameSeen> {
    if let Some(known) = memory.cname.younger(cname_every(goal), now) {
        return Ok(known);
    }
    let route53 = &aws.connections;
    let zone = route53.zone(&record.zone_id).await?;
    // Without a zone there is nothing at the name.
    let sets = if zone.is_some() { cname_sets(route53, record).await? } else { Vec::new() };
    let change = match &memory.seen.cname_change {
        Some(id) => Some(route53.propagation(id).await),
        None => None,
    };
    Ok(memory.cname.keep(now, CnameSeen { zone, sets, change }))
}

/// Every record of the name and of its marker's name.
pub async fn cname_sets(route53: &Route53, record: &RecordGoal) -> Known<Vec<RecordSet>> {
    let at_name = route53.records(&record.zone_id, &record.name).await?;
    let at_marker = route53.records(&record.zone_id, &record.marker()).await?;
    Ok(at_name.into_iter().chain(at_marker).collect())
}

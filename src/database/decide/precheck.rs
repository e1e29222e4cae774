//! May the cutover begin? Everything that would make the fence slow, incomplete or without a way back is looked for while
//! nothing has happened yet.

use crate::api::condition::Reason;
use crate::database::applications::{self, Coupling};
use crate::database::cname;
use crate::database::decide::{Decide, Found, LAG_FRESH_FOR, Step, cutover};
use crate::database::goal::{Goal, Intent};
use crate::database::seen::Seen;
use crate::fault::{Blocked, Fault};
use crate::postgres::PreCheck;
use crate::side::Side;

/// Heartbeats in a row that must have come within `spec.cutover.maxLag`.
pub(crate) const PROMPT_BEATS: u32 = 2;
/// Sessions that the operator wants to be able to open, beside those that it holds.
const FREE_CONNECTIONS: i64 = 3;

/// What to do about a cutover that the goal asks for, while the target follows the source.
pub(crate) fn gate(goal: &Goal, seen: &Seen) -> Found {
    // Before the window is waited for: what resolvers keep must be old by then.
    match cname::gate(goal, seen) {
        Found::Done => {}
        found => return found,
    }
    if let Some(before) = goal.cutover.not_before.filter(|before| seen.now < *before) {
        return Found::Wait(format!("waiting for {before} (spec.cutover.notBefore)"));
    }
    if let Some(after) = goal.cutover.not_after.filter(|after| seen.now > *after) {
        return Found::Stall(Blocked::new(
            Reason::WindowPassed,
            format_args!("The window for the cutover ended at {after} (spec.cutover.notAfter)"),
            "Set a new window, or remove it",
        ));
    }
    match applications::coupling(goal, seen.applications.as_ref()) {
        Coupling::Free => {}
        Coupling::Waits(words) | Coupling::Unknown(words) => return Found::Wait(words),
        Coupling::Stalls(blocked) => return Found::Stall(blocked),
    }
    match verdict(goal, seen) {
        Err(words) => return Found::Wait(words),
        Ok(Some(blocked)) => return Found::Stall(blocked),
        Ok(None) => {}
    }
    // Only here: the same call in the midst of the move would make it wait for AWS.
    match &seen.secret {
        Some(Err(Fault::Blocked(blocked))) => return Found::Stall(blocked.clone()),
        Some(Err(fault)) => return Found::Wait(fault.message().to_owned()),
        Some(Ok(_)) | None => {}
    }
    let fresh = seen.memory.lag.is_some_and(|lag| seen.now.duration_since(lag.at) <= LAG_FRESH_FOR);
    if seen.memory.prompt_beats < PROMPT_BEATS || !fresh {
        // Looked at again at once, or a busy minute would decide.
        return Found::Do(Step::Beat);
    }
    Found::Do(Step::Decide(Decide {
        intent: Intent::Move,
        epoch: cutover::epoch_above(seen, goal.decided.as_ref().map_or(0, |decided| decided.epoch)),
        attempt: goal.attempt,
        latch: None,
        why: std::iter::once("moving the writer to the target".to_owned())
            .chain(unheld(seen))
            .chain(cname::warning(goal))
            .collect::<Vec<_>>()
            .join("; "),
    }))
}

/// What is in the way of a fence; `Err` with what is not known.
pub(crate) fn verdict(goal: &Goal, seen: &Seen) -> Result<Option<Blocked>, String> {
    for side in Side::BOTH {
        let found = match seen.precheck.get(side) {
            Some(Ok(found)) => found,
            Some(Err(Fault::Blocked(blocked))) => return Ok(Some(blocked.clone())),
            Some(Err(fault)) => return Err(fault.message().to_owned()),
            None => return Err(format!("looking at what is in the way on the {side}")),
        };
        if let Some(blocked) = of_side(goal, side, found) {
            return Ok(Some(blocked));
        }
    }
    Ok(None)
}

fn of_side(goal: &Goal, side: Side, found: &PreCheck) -> Option<Blocked> {
    let list = |items: &[String]| items.join(", ");
    if side == Side::Source {
        let listed = &goal.sides.source.application_roles;
        let unlisted: Vec<String> =
            found.writers.iter().filter(|role| !listed.contains(role)).cloned().collect();
        if !unlisted.is_empty() {
            return Some(Blocked::new(
                Reason::UnlistedWriter,
                format_args!(
                    "These roles could write to the source and are not in spec.source.applicationRoles: {}",
                    list(&unlisted)
                ),
                "List them there if the cutover may end their sessions, or take their privileges",
            ));
        }
        if !found.foreign_grants.is_empty() {
            return Some(Blocked::new(
                Reason::PrivilegeMissing,
                format_args!(
                    "The operator could not take these grants away: {}",
                    list(&found.foreign_grants)
                ),
                "Make the operator's role a member of their grantors, or have them granted by the tables' owner",
            ));
        }
        if !found.subscriptions.is_empty() {
            return Some(Blocked::new(
                Reason::UnlistedWriter,
                format_args!("These subscriptions write to the source: {}", list(&found.subscriptions)),
                "Disable them: ALTER SUBSCRIPTION … DISABLE",
            ));
        }
    }
    if let Some(first) = found.operator_lacks.first() {
        return Some(Blocked::new(
            Reason::PrivilegeMissing,
            format_args!("On the {side}, {first}"),
            format_args!("examples/sql/roles-{side}.sql has every grant that is needed"),
        ));
    }
    if !found.prepared.is_empty() {
        return Some(Blocked::new(
            Reason::PreparedTransaction,
            format_args!("Prepared transactions on the {side} hold locks: {}", list(&found.prepared)),
            "Commit them or roll them back; the operator never does",
        ));
    }
    if !found.long_transactions.is_empty() {
        return Some(Blocked::new(
            Reason::LongTransaction,
            format_args!(
                "Transactions on the {side} that wrote something are open for long: {}",
                list(&found.long_transactions)
            ),
            "They would be cut off by the fence. Wait for their end, or end them; it is looked at again by itself",
        ));
    }
    if !found.open_ddl.is_empty() {
        return Some(Blocked::new(
            Reason::SchemaChanging,
            format_args!("Somebody changes tables on the {side}: {}", list(&found.open_ddl)),
            "Wait for its end; it is looked at again by itself",
        ));
    }
    if found.lost_synchronous_standby {
        return Some(Blocked::new(
            Reason::StandbyMissing,
            format_args!(
                "synchronous_standby_names of the {side} is set and no such standby streams, so that every COMMIT hangs"
            ),
            "Bring the standby back, or take it out of synchronous_standby_names",
        ));
    }
    if found.free_connections < FREE_CONNECTIONS {
        return Some(Blocked::new(
            Reason::ConnectionsExhausted,
            format_args!(
                "The {side} has {} connections left, and the operator needs {FREE_CONNECTIONS}",
                found.free_connections
            ),
            "Lower the applications' pools or their roles' CONNECTION LIMIT, or raise max_connections",
        ));
    }
    None
}

/// What no fence holds: named, so that a person can answer for it.
fn unheld(seen: &Seen) -> Vec<String> {
    let Some(Ok(found)) = &seen.precheck.source else { return Vec::new() };
    let mut named = Vec::new();
    if !found.superusers.is_empty() {
        named.push(format!("no fence holds superusers: {}", found.superusers.join(", ")));
    }
    if !found.standbys.is_empty() {
        named.push(format!(
            "see that nobody promotes these meanwhile, they may not have the fence yet: {}",
            found.standbys.join(", ")
        ));
    }
    named
}

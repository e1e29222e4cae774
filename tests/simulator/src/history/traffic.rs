//! Where an `ApplicationMigration` comes to rest, and what must hold there.

use slipway::api::application::{ApplicationMigration, Goal as Reach};
use slipway::api::database::{Goal, Order};
use slipway::side::Side;

use crate::world::World;
use crate::world::traffic::Stands;

/// What begins the names of what is made for it.
pub const NAMED: &str = "payments-api";

/// The end of the traffic in short, if this is one; nothing where there is no such resource.
pub fn settled(world: &World) -> Option<String> {
    if world.traffic.is_none() {
        return Some(String::new());
    }
    let Some(object) = world.cluster.traffic.newest() else { return Some("traffic gone".to_owned()) };
    let status = object.status.as_ref()?;
    if status.observed_generation != object.metadata.generation {
        return None;
    }
    let is = |kind: &str| {
        status.conditions.iter().find(|c| c.type_ == kind && c.status == "True").map(|c| c.reason.clone())
    };
    let (ready, stalled) = (is("Ready").is_some(), is("Stalled").unwrap_or_default());
    let phase = status.phase.as_deref().unwrap_or_default();
    let back = is_given_up(object);
    let asked = status.traffic.as_ref().and_then(|traffic| traffic.requested_weight);
    let max = if back || object.spec.goal < Reach::Shift { 0 } else { object.spec.traffic.max_weight };
    let over = status.point_of_no_return_at.is_some();
    let finishes = object.spec.goal == Reach::Finish && !back && ends(world);
    let planned =
        object.spec.goal == Reach::Plan && status.provisioned_at.is_none() && phase == "Pending" && ready;
    let fits = if has_strangers(world) && object.metadata.deletion_timestamp.is_none() {
        stalled == "NotOurs" || planned
    } else if world.traffic_lost_at_the_end && stalled == "RecordConflict" {
        // Nothing but the status knew that it was the end: the name's one record leads to the target, whoever made it.
        true
    } else if object.metadata.deletion_timestamp.is_some() {
        let held = asked.is_some_and(|asked| asked > 0) && !(finishes && asked == Some(100));
        phase == "Deleting" && stalled == "Deleting" && held
    } else if over || finishes {
        phase == "Finished" && ready
    } else if object.spec.goal == Reach::Plan && status.provisioned_at.is_none() {
        planned
    } else if back && asked == Some(0) {
        phase == "RolledBack" && stalled == "GivenUp"
    } else if max >= 10 && !shifts(world) && asked == Some(0) && phase == "Staging" {
        // The other's order, or that there is no such other, holds it, and it says so.
        let says = |next: &String| next.contains("DatabaseMigration") || next.contains("gate lag");
        status.next.as_ref().is_some_and(says)
    } else if !back
        && world.lost_at_the_end
        && status.next.as_ref().is_some_and(|next| next.contains("gate lag"))
    {
        // The database waits for a person, who is told there that its end was forgotten; so the gate of its lag waits.
        true
    } else if back || (max >= 10 && !shifts(world) && !world.cluster.database.is_deleted()) {
        false
    } else {
        let tells_of_database =
            || status.next.as_ref().is_some_and(|next| next.contains("writer of DatabaseMigration"));
        match max {
            0..10 => {
                phase == "Staging"
                    && asked == Some(0)
                    && (ready || (only_planned(world) && tells_of_database()))
            }
            10..100 => phase == "Shifting" && ready && asked == Some(10),
            _ => phase == "Shifted" && asked == Some(100) && (ready || object.spec.goal == Reach::Finish),
        }
    };
    // Without a database to write to nobody can be proved: everything stays, and says why.
    let orphaned = object.spec.database.migration_ref.is_some()
        && world.cluster.database.newest().is_none()
        && (["MigrationMissing", "NotHealthy"].contains(&stalled.as_str())
            || status.next.as_ref().is_some_and(|next| next.contains("DatabaseMigration")));
    (fits || orphaned).then(|| {
        let stalled = if stalled.is_empty() { "" } else { " stalled" };
        format!("traffic {phase}/{}{stalled}", asked.unwrap_or(0))
    })
}

/// Its attempt is aborted or latched.
fn is_given_up(object: &ApplicationMigration) -> bool {
    let attempt = object.spec.attempt;
    let latch = object.status.as_ref().and_then(|status| status.latch.as_ref());
    object.spec.abort_attempt.is_some_and(|abort| abort >= attempt)
        || latch.is_some_and(|latch| latch.attempt >= attempt)
}

/// Its database is only planned: nobody measures which side is the writer, so no side is proved ready.
fn only_planned(world: &World) -> bool {
    world.cluster.database.newest().is_some_and(|other| other.spec.goal == Goal::Plan)
}

fn has_strangers(world: &World) -> bool {
    world.traffic.as_ref().is_some_and(|traffic| traffic.theirs.is_some())
}

/// Whether the other lets traffic go forward.
fn shifts(world: &World) -> bool {
    let Some(object) = world.cluster.traffic.newest() else { return false };
    if object.spec.database.migration_ref.is_none() {
        return true;
    }
    let Some(other) = world.cluster.database.newest() else { return false };
    // A database that is only planned is not measured, and the gate of its lag is not known.
    other.spec.goal > Goal::Plan
        && (other.spec.cutover.order == Order::TrafficFirst || world.writer() == Some(Side::Target))
}

/// Whether the way back may end, once its goal is Finish.
fn ends(world: &World) -> bool {
    let Some(object) = world.cluster.traffic.newest() else { return false };
    let all = object.spec.traffic.max_weight == 100;
    let home = object.spec.database.migration_ref.is_none()
        || (world.writer() == Some(Side::Target) && world.cluster.database.newest().is_some());
    all && home && shifts(world)
}

/// Whether traffic is, or will be, Shifted by its own orders; so long the writer of `TrafficFirst` waits.
pub fn will_be_shifted(world: &World) -> bool {
    let Some(object) = world.cluster.traffic.newest() else { return false };
    let status = object.status.as_ref();
    let back = is_given_up(object);
    let over = status.is_some_and(|status| status.point_of_no_return_at.is_some());
    let deleted = object.metadata.deletion_timestamp.is_some();
    let stranger = has_strangers(world);
    over || (!stranger
        && object.spec.goal >= Reach::Shift
        && object.spec.traffic.max_weight == 100
        && !back
        && !deleted)
}

/// Where it stands, for a history that does not end.
pub fn stand(world: &World) -> String {
    if world.traffic.is_none() {
        return String::new();
    }
    let Some(object) = world.cluster.traffic.newest() else { return "; traffic gone".to_owned() };
    let status = object.status.clone().unwrap_or_default();
    let conditions: Vec<String> = status
        .conditions
        .iter()
        .filter(|c| c.status == "True" && matches!(c.type_.as_str(), "Ready" | "Reconciling" | "Stalled"))
        .map(|c| format!("{} {} {}", c.type_, c.reason, c.message))
        .collect();
    format!(
        "; traffic: goal {:?} up to {}, phase {:?}, asked for {:?}, next {:?}; {}; {:?}",
        object.spec.goal,
        object.spec.traffic.max_weight,
        status.phase,
        status.traffic.as_ref().and_then(|traffic| traffic.requested_weight),
        status.next,
        conditions.join(" | "),
        world.stands(),
    )
}

/// What must hold at the end, and can't be seen in each state.
pub fn at_the_end(world: &mut World) {
    if world.traffic.is_none() {
        return;
    }
    let theirs = world.traffic.as_ref().and_then(|traffic| traffic.theirs.clone());
    if let Some((stranger, before)) = theirs {
        let now = world.stranger_stands(stranger);
        if now != before {
            world.fail(10, format!("what is somebody else's was changed: {before}, now {now}"));
        }
        return;
    }
    let inventory = world.inventory();
    let left: Vec<String> = inventory
        .into_iter()
        .map(|item| item.name)
        .filter(|name| name.contains(NAMED) && !world.orphans.contains(name))
        .collect();
    let stands = world.stands();
    let object = world.cluster.traffic.newest().cloned();
    let status = object.as_ref().and_then(|object| object.status.clone()).unwrap_or_default();
    let retained = world.traffic_retained;
    match &object {
        None if retained => {}
        None => {
            if !left.is_empty() {
                world.fail(9, format!("left behind of the traffic: {}", left.join(", ")));
            }
            // Even a batch that arrives late gives the target nothing, as it was asked for.
            let late = world.stood.is_some() && matches!(stands, Stands::Weighted(share) if share.is_none());
            if !late && !matches!(stands, Stands::Before | Stands::TargetAlone) {
                world.fail(9, format!("what stood at the name is not restored: {stands:?}"));
            }
        }
        Some(_) if status.phase.as_deref() == Some("Finished") => {
            if !left.is_empty() || stands != Stands::TargetAlone {
                world.fail(9, format!("left at the end of the traffic: {}, {stands:?}", left.join(", ")));
            }
        }
        Some(_) => {
            let said = status.traffic.as_ref().and_then(|traffic| traffic.weight);
            let found = world.share().map(|share| i32::from(share.percent()));
            if said.is_some() && said != found {
                world.fail(13, format!("the status says {said:?} %, and Route 53 has {found:?}"));
            }
        }
    }
}

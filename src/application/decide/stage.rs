//! Before the first effect: what is in the way, and what would be done.

use super::{Decision, Phase, RARELY, SOON, Step, View, ready, stalled, step, walking};
use crate::api::condition::Reason;
use crate::application::goal::{DatabaseGoal, Goal, SourceGoal};
use crate::application::records::{self, Stands};
use crate::database::decide::State;
use crate::database::seen::Known;
use crate::fault::{Blocked, Fault};

/// Goal Plan: nothing is changed.
pub(super) fn plan(view: &View) -> Decision {
    match assess(view) {
        Err(fault) => uncertain(&fault),
        Ok(Some(blocked)) => stalled(Some(Phase::Assessing), blocked),
        Ok(None) => Decision {
            look_again: RARELY,
            ..ready(
                Phase::Pending,
                Reason::Planned,
                "Nothing was changed; status.plan lists what would be done",
                "waiting for goal Stage",
            )
        },
    }
}

/// Nothing was claimed yet.
pub(super) fn begin(view: &View) -> Decision {
    if let Stands::Ours(_) = view.stands {
        // The status was lost. What is ours is looked after, whatever is in the way of making it.
        return step(view.goal, Phase::Staging, Reason::Staging, Step::Claim);
    }
    match assess(view) {
        Err(fault) => uncertain(&fault),
        Ok(Some(blocked)) => stalled(Some(Phase::Assessing), blocked),
        Ok(None) if view.goal.suspended => {
            walking(Phase::Pending, Reason::Suspended, "suspended: waiting for spec.suspend to be removed")
        }
        Ok(None) => step(view.goal, Phase::Staging, Reason::Staging, Step::Claim),
    }
}

fn uncertain(fault: &Fault) -> Decision {
    match fault {
        Fault::Blocked(blocked) => stalled(Some(Phase::Assessing), blocked.clone()),
        Fault::Again(_) | Fault::Wait(_) | Fault::Unknown(_) | Fault::Bug(_) => Decision {
            state: State::Uncertain(fault.message().to_owned()),
            phase: Some(Phase::Assessing),
            look_again: SOON,
            ..walking(Phase::Assessing, Reason::Retrying, "looking again at what could not be seen")
        },
    }
}

pub(super) fn no_zone(goal: &Goal) -> Blocked {
    Blocked::new(
        Reason::ZoneMissing,
        format_args!("There is no hosted zone {}", goal.record.zone_id),
        "Correct spec.traffic.route53.zoneID; it is in the account that this namespace is mapped to",
    )
}

/// The first thing that is in the way of staging, or why that can't be told.
pub(super) fn assess(view: &View) -> Result<Option<Blocked>, Fault> {
    fn found<T>(fact: &Known<Option<T>>) -> Result<Option<&T>, Fault> {
        fact.as_ref().map(Option::as_ref).map_err(Clone::clone)
    }
    let (goal, seen) = (view.goal, view.seen);
    let missing = |what: String, remedy: &str| Ok(Some(Blocked::new(Reason::TargetMissing, what, remedy)));
    let Some(zone) = found(&seen.zone)? else { return Ok(Some(no_zone(goal))) };
    let (name, of_zone) = (goal.record.name.as_str(), zone.name.as_str());
    let is_apex = name == of_zone;
    if !is_apex && !name.strip_suffix(of_zone).is_some_and(|head| head.ends_with('.')) {
        return Ok(Some(Blocked::new(
            Reason::ZoneMissing,
            format_args!("{name} does not lie in hosted zone {} ({of_zone})", goal.record.zone_id),
            "Correct spec.traffic.route53.zoneID or name",
        )));
    }
    if is_apex && matches!(goal.source, SourceGoal::Hostname(_)) {
        return Ok(Some(Blocked::new(
            Reason::RecordConflict,
            format_args!("{name} is its zone's own name, which can't be a CNAME"),
            "Give the source by spec.source.ipv4Addresses",
        )));
    }
    match view.stands {
        Stands::Free | Stands::Ours(_) => {}
        Stands::Simple(set) => {
            if let Some(blocked) = records::in_the_way(goal, set) {
                return Ok(Some(blocked));
            }
        }
        Stands::Foreign(blocked) => return Ok(Some(blocked.clone())),
    }
    if found(&seen.balancer)?.is_none() {
        return missing(
            format!("There is no load balancer {}", goal.target.balancer),
            "Correct spec.target.loadBalancerARN, or make it",
        );
    }
    let Some(group) = found(&seen.group)? else {
        return missing(
            format!("There is no target group {}", goal.target.group),
            "Correct spec.target.targetGroupARN, or make it",
        );
    };
    if !group.balancers.contains(&goal.target.balancer) {
        return missing(
            "The load balancer does not forward to the target group".to_owned(),
            "Add a listener rule that does, or correct spec.target",
        );
    }
    let Some(service) = found(&seen.service)? else {
        return missing(
            format!("There is no ECS service {} in cluster {}", goal.target.service, goal.target.cluster),
            "Correct spec.target.ecsService, or make it",
        );
    };
    if !service.target_groups.contains(&goal.target.group) {
        return missing(
            format!("ECS service {} does not register its tasks with the target group", goal.target.service),
            "Add the target group to the service, or correct spec.target",
        );
    }
    let DatabaseGoal::Migration(name) = &goal.database else { return Ok(None) };
    match &seen.database {
        Some(Err(fault)) => Err(fault.clone()),
        None => Err(Fault::Wait(format!("DatabaseMigration {name} was not looked at yet"))),
        Some(Ok(None)) => Ok(Some(Blocked::new(
            Reason::MigrationMissing,
            format_args!("There is no DatabaseMigration {name} in this namespace"),
            "Correct spec.database.migrationRef, or apply it",
        ))),
        Some(Ok(Some(database))) if !database.lists_us => Ok(Some(Blocked::new(
            Reason::MigrationMissing,
            format_args!("DatabaseMigration {name} does not name this application"),
            "Add it to that one's spec.applications",
        ))),
        Some(Ok(Some(_))) => Ok(None),
    }
}

//! Whether a side may be given traffic: it is healthy, and its fleet is proved to write to the present writer. One rule for both
//! directions and both orders.

use std::net::IpAddr;

use crate::api::database::Order;
use crate::application::goal::{DatabaseGoal, Goal};
use crate::application::seen::{DatabaseSeen, Seen};
use crate::aws::balancer::{Target, TargetHealth};
use crate::aws::ecs::Service;
use crate::database::seen::Known;
use crate::gate::Answer;
use crate::side::Side;

/// What is known of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It holds.
    Proved,
    /// It does not; why, in a sentence.
    Refuted(String),
    /// Nobody knows; why, in a sentence.
    Unknown(String),
}

impl Fit {
    /// It holds.
    pub fn is_proved(&self) -> bool {
        *self == Self::Proved
    }

    /// Why it is not proved.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Proved => None,
            Self::Refuted(why) | Self::Unknown(why) => Some(why),
        }
    }

    /// Both hold. What is refuted is more than what is not known.
    #[must_use]
    pub fn and(self, other: impl FnOnce() -> Self) -> Self {
        match self {
            Self::Proved => other(),
            Self::Refuted(_) => self,
            Self::Unknown(_) => match other() {
                Self::Refuted(why) => Self::Refuted(why),
                Self::Proved | Self::Unknown(_) => self,
            },
        }
    }
}

/// Passes a fact on, or says why it is not known.
fn known<'a, T>(fact: &'a Known<T>, then: impl FnOnce(&'a T) -> Fit) -> Fit {
    match fact {
        Ok(fact) => then(fact),
        Err(fault) => Fit::Unknown(fault.message().to_owned()),
    }
}

/// Whether a side may be given traffic.
pub fn side(goal: &Goal, seen: &Seen, side: Side) -> Fit {
    healthy(goal, seen, side).and(|| follows(goal, seen, side))
}

/// Whether a side is able to serve.
pub fn healthy(goal: &Goal, seen: &Seen, side: Side) -> Fit {
    match side {
        Side::Source => answers(seen, Side::Source),
        Side::Target => target(goal, seen).and(|| answers(seen, Side::Target)),
    }
}

fn answers(seen: &Seen, side: Side) -> Fit {
    known(seen.health.get(side), |answers| {
        if answers.is_empty() {
            return Fit::Unknown(format!("the {side} was not asked for its health"));
        }
        let of = |(place, answer): &(String, Answer)| match answer {
            Answer::Status(200..=399) => Fit::Proved,
            Answer::Status(status) => {
                Fit::Refuted(format!("the {side} at {place} answers its health check with {status}"))
            }
            Answer::Refused(word) => {
                Fit::Refuted(format!("the {side} at {place} does not answer its health check: {word}"))
            }
            Answer::Silent(word) => {
                Fit::Unknown(format!("whether the {side} at {place} is healthy is not known: {word}"))
            }
        };
        answers.iter().fold(Fit::Proved, |fit, answer| fit.and(|| of(answer)))
    })
}

fn target(goal: &Goal, seen: &Seen) -> Fit {
    let balancer = known(&seen.balancer, |balancer| match balancer {
        Some(balancer) if balancer.state == "active" => Fit::Proved,
        Some(balancer) => Fit::Refuted(format!("the load balancer is {}", balancer.state)),
        None => Fit::Refuted("the load balancer does not exist".to_owned()),
    });
    let group = || {
        known(&seen.group, |group| match group {
            Some(group) if group.balancers.contains(&goal.target.balancer) => Fit::Proved,
            Some(_) => Fit::Refuted("the load balancer does not forward to the target group".to_owned()),
            None => Fit::Refuted("the target group does not exist".to_owned()),
        })
    };
    let service = || {
        known(&seen.service, |service| match service {
            Some(service) => {
                stable(goal, service).and(|| known(&seen.targets, |targets| enough(service.desired, targets)))
            }
            None => Fit::Refuted(format!("ECS service {} does not exist", goal.target.service)),
        })
    };
    balancer.and(group).and(service)
}

/// One deployment, rolled out, and as many tasks as there should be.
fn stable(goal: &Goal, service: &Service) -> Fit {
    let name = &goal.target.service;
    let refuted = |why: String| Fit::Refuted(format!("ECS service {name} {why}"));
    if service.status != "ACTIVE" {
        return refuted(format!("is {}", service.status));
    }
    if !service.target_groups.contains(&goal.target.group) {
        return refuted("does not register its tasks with spec.target.targetGroupARN".to_owned());
    }
    match service.deployments.as_slice() {
        [one] if one.status == "PRIMARY" && one.rollout.as_deref() == Some("COMPLETED") => {}
        [one] => {
            return refuted(format!("is not rolled out ({})", one.rollout.as_deref().unwrap_or("no state")));
        }
        several => return refuted(format!("has {} deployments under way", several.len())),
    }
    if service.desired < 1 || service.running != service.desired || service.pending != 0 {
        return refuted(format!(
            "runs {} of {} tasks, and {} start",
            service.running, service.desired, service.pending
        ));
    }
    Fit::Proved
}

fn enough(desired: i32, targets: &[Target]) -> Fit {
    let healthy = targets.iter().filter(|target| target.health == TargetHealth::Healthy).count();
    if healthy >= usize::try_from(desired).unwrap_or(0) && healthy > 0 {
        return Fit::Proved;
    }
    let why = targets.iter().find_map(|target| target.reason.as_deref());
    let why = why.map_or_else(String::new, |why| format!(" ({why})"));
    Fit::Refuted(format!("{healthy} of {desired} targets are healthy{why}"))
}

/// Whether the writer stands still and is known, so that weights may change at all.
pub fn still(goal: &Goal, seen: &Seen) -> Fit {
    with_database(goal, seen, |name, database| {
        if !database.lists_us {
            return Fit::Refuted(format!(
                "DatabaseMigration {name} does not name this application in spec.applications"
            ));
        }
        if database.is_moving() {
            return Fit::Refuted(format!("DatabaseMigration {name} is moving the writer"));
        }
        match database.writer {
            _ if !database.fresh => {
                Fit::Unknown(format!("what DatabaseMigration {name} says of the writer is too old"))
            }
            None => Fit::Unknown(format!(
                "the writer of DatabaseMigration {name} is {}, so nobody may be sent anywhere",
                database.writer_word
            )),
            Some(_) => Fit::Proved,
        }
    })
}

/// Whether traffic may go forward in the order that the database's migration asks for.
pub fn in_order(goal: &Goal, seen: &Seen) -> Fit {
    with_database(goal, seen, |name, database| match (database.order, database.writer) {
        (Order::TrafficFirst, _) | (Order::DatabaseFirst, Some(Side::Target)) => Fit::Proved,
        (Order::DatabaseFirst, Some(Side::Source) | None) => Fit::Refuted(format!(
            "DatabaseMigration {name} says DatabaseFirst, and its writer is {}",
            database.writer_word
        )),
    })
}

/// Whether a way back by the writer is over, too: the target takes the writes.
pub fn writer_is_home(goal: &Goal, seen: &Seen) -> Fit {
    still(goal, seen).and(|| {
        with_database(goal, seen, |name, database| match database.writer {
            Some(Side::Target) => Fit::Proved,
            Some(Side::Source) | None => Fit::Refuted(format!(
                "the writer of DatabaseMigration {name} is {}, not the target",
                database.writer_word
            )),
        })
    })
}

/// Whether a side's fleet writes to the present writer. The other database refuses logins by its fence, so that a session on
/// the writer is the proof.
pub fn follows(goal: &Goal, seen: &Seen, side: Side) -> Fit {
    still(goal, seen).and(|| {
        with_database(goal, seen, |_, database| {
            known(&database.sessions, |sessions| {
                known(&seen.targets, |targets| sessions_of(side, sessions, targets, &database.writer_word))
            })
        })
    })
}

fn sessions_of(side: Side, sessions: &[IpAddr], targets: &[Target], writer: &str) -> Fit {
    let address = |target: &Target| target.id.parse::<IpAddr>().ok();
    match side {
        Side::Target => {
            for target in targets.iter().filter(|target| target.health == TargetHealth::Healthy) {
                match address(target) {
                    None => {
                        return Fit::Unknown(format!(
                            "target {} is not registered by its address, so that its sessions can't be told",
                            target.id
                        ));
                    }
                    Some(address) if !sessions.contains(&address) => {
                        return Fit::Refuted(format!(
                            "target {} has no session on the writer ({writer})",
                            target.id
                        ));
                    }
                    Some(_) => {}
                }
            }
            Fit::Proved
        }
        Side::Source => {
            let of_targets: Vec<IpAddr> = targets.iter().filter_map(address).collect();
            if sessions.iter().any(|session| !of_targets.contains(session)) {
                return Fit::Proved;
            }
            Fit::Refuted(format!("nothing of the source has a session on the writer ({writer})"))
        }
    }
}

fn with_database(goal: &Goal, seen: &Seen, then: impl FnOnce(&str, &DatabaseSeen) -> Fit) -> Fit {
    let DatabaseGoal::Migration(name) = &goal.database else { return Fit::Proved };
    match &seen.database {
        None => Fit::Unknown(format!("DatabaseMigration {name} was not looked at")),
        Some(Err(fault)) => Fit::Unknown(fault.message().to_owned()),
        Some(Ok(None)) => Fit::Refuted(format!("there is no DatabaseMigration {name} in this namespace")),
        Some(Ok(Some(database))) => then(name, database),
    }
}

//! The applications that write to this database, as their own migrations tell of them, and what that lets the writer do.
//!
//! The mutex between the two kinds: each side writes its own intent first (`status.decided` here,
//! `status.traffic.requestedWeight` there) and then reads the other anew. So of two that begin at once at least one sees
//! the other; if both do, this side takes its decision back, and traffic goes on.

use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};

use crate::api::application::ApplicationMigration;
use crate::api::condition::Reason;
use crate::api::database::Order;
use crate::database::goal::Goal;
use crate::database::seen::Known;
use crate::fault::Blocked;
use crate::operator::objects::kubernetes;

/// An `ApplicationMigration` that names this database.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ApplicationSeen {
    /// Its name.
    pub name: String,
    /// Its phase, as its status has it.
    pub phase: String,
    /// A weight was asked for, and is not on all of Route 53's servers as far as anybody knows.
    pub changing: bool,
    /// Percent that was last asked for.
    pub weight: Option<i32>,
}

impl ApplicationSeen {
    /// What a resource says of itself.
    pub fn read(object: &ApplicationMigration) -> Self {
        let status = object.status.clone().unwrap_or_default();
        let traffic = status.traffic.unwrap_or_default();
        Self {
            name: object.name_any(),
            phase: status.phase.unwrap_or_default(),
            changing: traffic.requested_weight.is_some() && traffic.since.is_none(),
            weight: traffic.requested_weight,
        }
    }

    /// Its last step was passed.
    fn is_shifted(&self) -> bool {
        matches!(self.phase.as_str(), "Shifted" | "Finishing" | "Finished")
    }
}

/// Every `ApplicationMigration` of the namespace that names this database, read anew.
pub async fn read(client: &Client, goal: &Goal) -> Known<Vec<ApplicationSeen>> {
    let api = Api::<ApplicationMigration>::namespaced(client.clone(), &goal.migration.namespace);
    let of_ours = format!("spec.database.migrationRef.name={}", goal.migration.name);
    match api.list(&ListParams::default().fields(&of_ours)).await {
        Ok(found) => Ok(found.items.iter().map(ApplicationSeen::read).collect()),
        // The kind is not installed, so there are none.
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(Vec::new()),
        Err(error) => Err(kubernetes("reading the ApplicationMigrations of this database", &error)),
    }
}

/// What the applications let the writer do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coupling {
    /// Move.
    Free,
    /// Move later, by itself.
    Waits(String),
    /// Not move before a person changes something.
    Stalls(Blocked),
    /// Nobody knows.
    Unknown(String),
}

/// Whether the writer may move, as far as the applications are concerned.
pub fn coupling(goal: &Goal, seen: Option<&Known<Vec<ApplicationSeen>>>) -> Coupling {
    let found = match seen {
        Some(Ok(found)) => found,
        Some(Err(fault)) => return Coupling::Unknown(fault.message().to_owned()),
        None => return Coupling::Unknown("looking at the applications".to_owned()),
    };
    if let Some(missing) =
        goal.applications.iter().find(|name| !found.iter().any(|application| application.name == **name))
    {
        return Coupling::Stalls(Blocked::new(
            Reason::ApplicationMissing,
            format_args!(
                "spec.applications names {missing}, and no ApplicationMigration of that name in this namespace has this one as spec.database.migrationRef"
            ),
            "Apply it, or take its name out of spec.applications",
        ));
    }
    if let Some(unlisted) = found.iter().find(|application| !goal.applications.contains(&application.name)) {
        return Coupling::Stalls(Blocked::new(
            Reason::ApplicationMissing,
            format_args!(
                "ApplicationMigration {} writes to this database and is not in spec.applications",
                unlisted.name
            ),
            "Add its name to spec.applications",
        ));
    }
    // Whatever the order, nobody knows where the requests of one that changes go just now.
    if let Some(changing) = found.iter().find(|application| application.changing) {
        return Coupling::Waits(format!("waiting for application {}: its weight changes", changing.name));
    }
    match (goal.cutover.order, found.iter().find(|application| !application.is_shifted())) {
        (Order::DatabaseFirst, _) | (Order::TrafficFirst, None) => Coupling::Free,
        (Order::TrafficFirst, Some(behind)) => {
            let weight = behind.weight.unwrap_or(0);
            Coupling::Waits(format!(
                "waiting for application {} to be Shifted: {weight} % of its requests go to the target",
                behind.name
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::decide::scene::Scene;
    use crate::fault::Fault;

    fn goal(order: Order, applications: &[&str]) -> Goal {
        let mut goal = Scene::replicating().goal;
        goal.applications = applications.iter().map(|name| (*name).to_owned()).collect();
        goal.cutover.order = order;
        goal
    }

    fn application(name: &str, phase: &str, changing: bool) -> ApplicationSeen {
        ApplicationSeen { name: name.to_owned(), phase: phase.to_owned(), changing, weight: Some(10) }
    }

    #[test]
    fn the_writer_moves_only_with_every_application_known_and_at_rest() {
        use Order::{DatabaseFirst, TrafficFirst};
        let shifted = || application("a", "Shifted", false);
        let word = |coupling: &Coupling| match coupling {
            Coupling::Free => "free",
            Coupling::Waits(_) => "waits",
            Coupling::Stalls(_) => "stalls",
            Coupling::Unknown(_) => "unknown",
        };
        let cases: [(Order, &[&str], Vec<ApplicationSeen>, &str); 10] = [
            (TrafficFirst, &[], vec![], "free"),
            (TrafficFirst, &["a"], vec![shifted()], "free"),
            (TrafficFirst, &["a"], vec![application("a", "Finished", false)], "free"),
            (TrafficFirst, &["a"], vec![], "stalls"),
            (TrafficFirst, &[], vec![shifted()], "stalls"),
            (TrafficFirst, &["a", "b"], vec![shifted(), application("b", "Shifting", false)], "waits"),
            (TrafficFirst, &["a"], vec![application("a", "Shifted", true)], "waits"),
            (DatabaseFirst, &["a"], vec![application("a", "Staging", false)], "free"),
            (DatabaseFirst, &["a"], vec![application("a", "", false)], "free"),
            (DatabaseFirst, &["a"], vec![application("a", "Staging", true)], "waits"),
        ];
        for (order, listed, found, expected) in cases {
            let verdict = coupling(&goal(order, listed), Some(&Ok(found.clone())));
            assert_eq!(word(&verdict), expected, "{order:?} {listed:?} {found:?}");
        }
        let fault = Err(Fault::Again("no answer".to_owned()));
        assert_eq!(word(&coupling(&goal(DatabaseFirst, &[]), Some(&fault))), "unknown");
        assert_eq!(word(&coupling(&goal(DatabaseFirst, &[]), None)), "unknown");
    }
}

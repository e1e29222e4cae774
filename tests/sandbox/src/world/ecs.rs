//! ECS, as far as describing services goes: they were made before Slipway came, and run what the sandbox runs.
//!
//! | rule | source |
//! |---|---|
//! | an absent service is no error but a failure `MISSING`; an absent cluster is `ClusterNotFoundException` | API model of DescribeServices |
//! | one to ten services in a call | same |
//! | a rollout is COMPLETED when as many tasks run, and are healthy, as there should be | API model of Deployment |

use std::net::Ipv4Addr;

use serde::Deserialize;

use super::balancer::Health;
use super::{Refusal, World};

/// `DescribeServices`
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct Describe {
    pub cluster: Option<String>,
    pub services: Vec<String>,
}

/// The answer: those that are there, and the ARNs of those that are not.
#[derive(Clone, Debug)]
pub struct Described {
    /// As shown.
    pub services: Vec<Shown>,
    /// `MISSING`
    pub missing: Vec<String>,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its cluster's name.
    pub cluster: String,
    /// Its name.
    pub name: String,
    /// `ACTIVE`, `DRAINING` or `INACTIVE`.
    pub status: String,
    /// How many tasks there should be.
    pub desired: u32,
    /// Where its tasks are registered.
    pub group_arn: Option<String>,
    /// The tasks that run, by their address and port.
    pub tasks: Vec<(Ipv4Addr, u16)>,
    /// A second deployment is being rolled out, as after a new image.
    pub rolling: bool,
}

/// A service, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The service.
    pub service: Service,
    /// Its ARN.
    pub arn: String,
    /// Its cluster's ARN.
    pub cluster_arn: String,
    /// Tasks that run.
    pub running: u32,
    /// Tasks that are still to run.
    pub pending: u32,
    /// Status, rollout state and tasks of each deployment.
    pub deployments: Vec<(&'static str, &'static str, u32)>,
}

impl World {
    /// Makes a service without tasks, as a person did.
    pub fn keep_service(&mut self, cluster: &str, name: &str, desired: u32, group_arn: Option<&str>) {
        self.services.push(Service {
            cluster: cluster.to_owned(),
            name: name.to_owned(),
            status: "ACTIVE".to_owned(),
            desired,
            group_arn: group_arn.map(str::to_owned),
            tasks: Vec::new(),
            rolling: false,
        });
    }

    /// A task of a service runs from now on, and is registered where the service says.
    pub fn run_task(&mut self, service: &str, address: Ipv4Addr, port: u16) {
        let Some(found) = self.services.iter_mut().find(|it| it.name == service) else { return };
        found.tasks.push((address, port));
        if let Some(group) = found.group_arn.clone() {
            self.register(&group, address, port);
        }
    }

    /// A task of a service ended.
    pub fn end_task(&mut self, service: &str, address: Ipv4Addr, port: u16) {
        let Some(found) = self.services.iter_mut().find(|it| it.name == service) else { return };
        found.tasks.retain(|task| *task != (address, port));
        if let Some(group) = found.group_arn.clone() {
            self.deregister(&group, address, port);
        }
    }

    /// The services, to look at or to spoil.
    pub fn services_mut(&mut self) -> &mut Vec<Service> {
        &mut self.services
    }

    pub(super) fn describe_services(&self, call: &Describe) -> Result<Described, Refusal> {
        if !(1..=10).contains(&call.services.len()) {
            return Err(Refusal::new(
                "InvalidParameterException",
                "Services must have 1 to 10 names or ARNs.",
            ));
        }
        let cluster = call.cluster.as_deref().unwrap_or("default");
        let cluster = cluster.rsplit('/').next().unwrap_or(cluster);
        if !self.services.iter().any(|service| service.cluster == cluster) {
            return Err(Refusal::new("ClusterNotFoundException", "Cluster not found."));
        }
        let (mut services, mut missing) = (Vec::new(), Vec::new());
        for wanted in &call.services {
            let name = wanted.rsplit('/').next().unwrap_or(wanted);
            match self.services.iter().find(|it| it.cluster == cluster && it.name == name) {
                Some(service) => services.push(self.shown(service)),
                None => missing.push(self.ecs_arn("service", &format!("{cluster}/{name}"))),
            }
        }
        Ok(Described { services, missing })
    }

    fn shown(&self, service: &Service) -> Shown {
        let running = u32::try_from(service.tasks.len()).unwrap_or(u32::MAX);
        let group = service.group_arn.as_ref();
        let group = group.and_then(|arn| self.balancers.groups.iter().find(|group| group.arn == *arn));
        let healthy = service.tasks.iter().all(|task| {
            group.is_none_or(|group| {
                group
                    .targets
                    .iter()
                    .any(|target| (target.address, target.port) == *task && target.health == Health::Healthy)
            })
        });
        let complete = running == service.desired && healthy && !service.rolling;
        let mut deployments = vec![("PRIMARY", if complete { "COMPLETED" } else { "IN_PROGRESS" }, running)];
        if service.rolling {
            deployments.push(("ACTIVE", "COMPLETED", running));
        }
        Shown {
            arn: self.ecs_arn("service", &format!("{}/{}", service.cluster, service.name)),
            cluster_arn: self.ecs_arn("cluster", &service.cluster),
            running,
            pending: service.desired.saturating_sub(running),
            deployments,
            service: service.clone(),
        }
    }

    fn ecs_arn(&self, kind: &str, tail: &str) -> String {
        self.names.arn("ecs", kind, tail).replacen(&format!("{kind}:"), &format!("{kind}/"), 1)
    }
}

//! Elastic Load Balancing, in our words: the load balancer and the targets behind it.

/// An application load balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balancer {
    /// Its ARN.
    pub arn: String,
    /// The name that clients reach it by.
    pub dns_name: String,
    /// The zone of that name, which an alias needs.
    pub zone_id: String,
    /// `provisioning`, `active`, `active_impaired` or `failed`, as AWS writes it.
    pub state: String,
}

/// A target group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetGroup {
    /// Its ARN.
    pub arn: String,
    /// The load balancers that forward to it.
    pub balancers: Vec<String>,
}

/// One target of a target group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// An address, or the id of an instance.
    pub id: String,
    /// Where it listens.
    pub port: u16,
    /// How it is.
    pub health: TargetHealth,
    /// AWS's word for why: `Target.FailedHealthChecks`.
    pub reason: Option<String>,
}

/// How a target is. A word that nobody knows is not healthy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum TargetHealth {
    Healthy,
    Initial,
    Unhealthy,
    Unused,
    Draining,
    Unavailable,
    Other(String),
}

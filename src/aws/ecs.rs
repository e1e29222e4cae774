//! ECS, in our words: whether a service is stable.

/// A service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its ARN.
    pub arn: String,
    /// `ACTIVE`, `DRAINING` or `INACTIVE`, as AWS writes it.
    pub status: String,
    /// Tasks that there should be.
    pub desired: i32,
    /// Tasks that run.
    pub running: i32,
    /// Tasks that start.
    pub pending: i32,
    /// What it runs: one when nothing is being rolled out.
    pub deployments: Vec<Deployment>,
    /// The target groups that its tasks are registered with.
    pub target_groups: Vec<String>,
}

/// One deployment of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// `PRIMARY`, `ACTIVE` or `INACTIVE`, as AWS writes it.
    pub status: String,
    /// `IN_PROGRESS`, `COMPLETED` or `FAILED`, as AWS writes it.
    pub rollout: Option<String>,
}

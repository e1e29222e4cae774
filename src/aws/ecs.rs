//! ECS, in our words: whether a service is stable. Only read.

use aws_sdk_ecs::Client;
use aws_sdk_ecs::types;

use super::call::{Caller, Operation, present};
use crate::fault::Fault;

const FIELD: &str = "spec.target.ecsService";
const DESCRIBE: Operation = Operation::read("ecs", "DescribeServices", FIELD);
/// ECS's word for what it does not have, in an answer that is otherwise a success.
const MISSING: &str = "MISSING";

/// ECS of one account in one region.
pub struct Ecs {
    client: Client,
    caller: Caller,
}

impl Ecs {
    pub(super) fn new(client: Client, caller: Caller) -> Self {
        Self { client, caller }
    }

    /// The service of this name, or ARN, in this cluster; `None` if there is none, or no such cluster. One that was deleted
    /// is told for a while, as `INACTIVE`.
    pub async fn service(&self, cluster: &str, service: &str) -> Result<Option<Service>, Fault> {
        let on = format!("{service} in {cluster}");
        let request = self.client.describe_services().cluster(cluster).services(service).send();
        let Some(reply) = present(self.caller.call(DESCRIBE, &on, request).await)? else { return Ok(None) };
        let mut found = reply.services.unwrap_or_default().into_iter();
        if let (Some(seen), None) = (found.next(), found.next()) {
            return Ok(Some(read(seen)));
        }
        let failures = reply.failures.unwrap_or_default();
        if failures.iter().any(|failure| failure.reason() == Some(MISSING)) {
            return Ok(None);
        }
        // An answer that says neither what it is nor that there is none says nothing.
        Err(Fault::Again(format!(
            "{} {on}: the answer names no such service; it is tried again",
            DESCRIBE.name
        )))
    }
}

fn read(seen: types::Service) -> Service {
    let deployments = seen.deployments.unwrap_or_default().into_iter().map(|deployment| Deployment {
        status: deployment.status.unwrap_or_default(),
        rollout: deployment.rollout_state.map(|state| state.as_str().to_owned()),
    });
    let target_groups = seen.load_balancers.unwrap_or_default().into_iter();
    Service {
        arn: seen.service_arn.unwrap_or_default(),
        status: seen.status.unwrap_or_default(),
        desired: seen.desired_count,
        running: seen.running_count,
        pending: seen.pending_count,
        deployments: deployments.collect(),
        target_groups: target_groups.filter_map(|balancer| balancer.target_group_arn).collect(),
    }
}

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use serde_json::json;

    use super::*;
    use crate::api::condition::Reason;
    use crate::aws::responder::{Reply, Responder};

    const ARN: &str = "arn:aws:ecs:eu-central-1:111122223333:service/bank/payments";
    const GROUP: &str =
        "arn:aws:elasticloadbalancing:eu-central-1:111122223333:targetgroup/bank/73e2d6bc24d8a067";

    #[tokio::test]
    async fn a_service_is_told_with_its_deployments_and_target_groups() {
        let service = json!({
            "serviceArn": ARN, "serviceName": "payments", "status": "ACTIVE", "desiredCount": 3, "runningCount": 2,
            "pendingCount": 1, "loadBalancers": [{ "targetGroupArn": GROUP, "containerName": "c", "containerPort": 80 },
            { "loadBalancerName": "classic" }], "createdAt": 1_700_000_000.5, "deployments": [
            { "id": "d1", "status": "PRIMARY", "rolloutState": "IN_PROGRESS" }, { "id": "d0", "status": "ACTIVE" }] });
        let found = Reply::json(200, &json!({ "services": [service], "failures": [] }));
        let aws = Responder::start([("DescribeServices", vec![found])]).await;
        let seen = aws.aws.ecs.service("bank", "payments").await.unwrap().unwrap();
        let deployment = |status: &str, rollout: Option<&str>| Deployment {
            status: status.into(),
            rollout: rollout.map(str::to_owned),
        };
        let expected = Service {
            arn: ARN.into(),
            status: "ACTIVE".into(),
            desired: 3,
            running: 2,
            pending: 1,
            deployments: vec![deployment("PRIMARY", Some("IN_PROGRESS")), deployment("ACTIVE", None)],
            target_groups: vec![GROUP.into()],
        };
        assert_eq!(seen, expected);
        assert_eq!(aws.last("DescribeServices"), json!({ "cluster": "bank", "services": ["payments"] }));
    }

    #[tokio::test]
    async fn what_is_missing_is_absent_and_an_empty_answer_is_unknown() {
        let failure =
            |reason: &str| json!({ "services": [], "failures": [{ "arn": ARN, "reason": reason }] });
        let replies = vec![
            Reply::json(200, &failure("MISSING")),
            Reply::error("ClusterNotFoundException"),
            Reply::json(200, &failure("SOMETHING")),
            Reply::json(200, &json!({ "services": [], "failures": [] })),
            Reply::json(200, &json!({ "services": [{ "serviceArn": "a" }, { "serviceArn": "b" }] })),
            Reply::json(200, &json!({})),
        ];
        let aws = Responder::start([("DescribeServices", replies)]).await;
        for _ in 0..2 {
            assert_eq!(aws.aws.ecs.service("bank", "payments").await, Ok(None));
        }
        for _ in 0..4 {
            let fault = aws.aws.ecs.service("bank", "payments").await.unwrap_err();
            assert!(matches!(fault, Fault::Again(_)), "{fault:?}");
        }
    }

    #[tokio::test]
    async fn a_refusal_names_the_field_or_the_permission() {
        for (code, reason, says) in [
            ("AccessDeniedException", Reason::AccessDenied, "ecs:DescribeServices"),
            ("InvalidParameterException", Reason::RequestRefused, "spec.target.ecsService"),
        ] {
            let aws = Responder::start([("DescribeServices", vec![Reply::error(code)])]).await;
            let fault = aws.aws.ecs.service("bank", "payments").await.unwrap_err();
            assert!(matches!(&fault, Fault::Blocked(b) if b.reason == reason), "{fault:?}");
            assert!(fault.message().contains(says) && !fault.message().contains("LEAK"), "{fault}");
        }
    }
}

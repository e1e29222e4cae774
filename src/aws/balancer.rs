//! Elastic Load Balancing, in our words: the load balancer and the targets behind it. Only read.

use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::types::{self, TargetHealthDescription};

use super::call::{Caller, Operation, present};
use crate::fault::Fault;

const BALANCERS: Operation =
    Operation::read("elasticloadbalancing", "DescribeLoadBalancers", "spec.target.loadBalancerARN");
const GROUPS: Operation =
    Operation::read("elasticloadbalancing", "DescribeTargetGroups", "spec.target.targetGroupARN");
const TARGETS: Operation =
    Operation::read("elasticloadbalancing", "DescribeTargetHealth", "spec.target.targetGroupARN");

/// Load balancers of one account in one region.
pub struct Balancers {
    client: Client,
    caller: Caller,
}

impl Balancers {
    pub(super) fn new(client: Client, caller: Caller) -> Self {
        Self { client, caller }
    }

    /// The load balancer of this ARN.
    pub async fn balancer(&self, arn: &str) -> Result<Option<Balancer>, Fault> {
        let request = self.client.describe_load_balancers().load_balancer_arns(arn).send();
        let reply = present(self.caller.call(BALANCERS, arn, request).await)?;
        let found = reply.and_then(|reply| reply.load_balancers).unwrap_or_default();
        Ok(found.into_iter().find(|seen| seen.load_balancer_arn() == Some(arn)).map(balancer))
    }

    /// The target group of this ARN.
    pub async fn target_group(&self, arn: &str) -> Result<Option<TargetGroup>, Fault> {
        let request = self.client.describe_target_groups().target_group_arns(arn).send();
        let reply = present(self.caller.call(GROUPS, arn, request).await)?;
        let found = reply.and_then(|reply| reply.target_groups).unwrap_or_default();
        let found = found.into_iter().find(|seen| seen.target_group_arn() == Some(arn));
        Ok(found.map(|seen| TargetGroup {
            arn: seen.target_group_arn.unwrap_or_default(),
            balancers: seen.load_balancer_arns.unwrap_or_default(),
        }))
    }

    /// Every target of a target group, those that are going away included; `None` if there is no such group.
    pub async fn targets(&self, target_group_arn: &str) -> Result<Option<Vec<Target>>, Fault> {
        let request = self.client.describe_target_health().target_group_arn(target_group_arn).send();
        let reply = present(self.caller.call(TARGETS, target_group_arn, request).await)?;
        let targets = reply.map(|reply| reply.target_health_descriptions.unwrap_or_default());
        Ok(targets.map(|targets| targets.into_iter().map(target).collect()))
    }
}

fn balancer(seen: types::LoadBalancer) -> Balancer {
    let state = seen.state.and_then(|state| state.code);
    Balancer {
        arn: seen.load_balancer_arn.unwrap_or_default(),
        dns_name: seen.dns_name.unwrap_or_default().to_ascii_lowercase(),
        zone_id: seen.canonical_hosted_zone_id.unwrap_or_default(),
        state: state.map(|code| code.as_str().to_owned()).unwrap_or_default(),
    }
}

fn target(seen: TargetHealthDescription) -> Target {
    let (id, port) = seen.target.map(|target| (target.id, target.port)).unwrap_or_default();
    let (state, reason) = seen.target_health.map(|health| (health.state, health.reason)).unwrap_or_default();
    let state = state.map(|state| state.as_str().to_owned()).unwrap_or_default();
    Target {
        id: id.unwrap_or_default(),
        // No target listens on 0, so none is found by it.
        port: port.and_then(|port| u16::try_from(port).ok()).unwrap_or_default(),
        health: match state.as_str() {
            "healthy" => TargetHealth::Healthy,
            "initial" => TargetHealth::Initial,
            "unhealthy" => TargetHealth::Unhealthy,
            "unused" => TargetHealth::Unused,
            "draining" => TargetHealth::Draining,
            "unavailable" => TargetHealth::Unavailable,
            _ => TargetHealth::Other(state),
        },
        reason: reason.map(|reason| reason.as_str().to_owned()),
    }
}

/// An application load balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balancer {
    /// Its ARN.
    pub arn: String,
    /// The name that clients reach it by, in lower case, as Route 53 writes it.
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use crate::api::condition::Reason;
    use crate::aws::responder::{Reply, Responder};

    const BALANCER: &str =
        "arn:aws:elasticloadbalancing:eu-central-1:111122223333:loadbalancer/app/bank/50dc6c495c0c9188";
    const GROUP: &str =
        "arn:aws:elasticloadbalancing:eu-central-1:111122223333:targetgroup/bank/73e2d6bc24d8a067";

    fn xml(operation: &str, body: &str) -> Reply {
        let namespace = "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/";
        Reply::xml(
            200,
            &format!(
                "<{operation}Response xmlns=\"{namespace}\"><{operation}Result>{body}</{operation}Result></{operation}Response>"
            ),
        )
    }

    #[tokio::test]
    async fn a_balancer_is_told_with_what_an_alias_needs_or_is_absent() {
        let found = |arn: &str| {
            xml(
                "DescribeLoadBalancers",
                &format!(
                    "<LoadBalancers><member><LoadBalancerArn>{arn}</LoadBalancerArn><DNSName>Bank-1.elb.example</DNSName>\
                     <CanonicalHostedZoneId>Z215JYRZR1TBD5</CanonicalHostedZoneId>\
                     <State><Code>active_impaired</Code></State></member></LoadBalancers>"
                ),
            )
        };
        let aws = Responder::start([(
            "DescribeLoadBalancers",
            vec![
                found(BALANCER),
                found("arn:another"),
                xml("DescribeLoadBalancers", ""),
                Reply::xml_error(400, "LoadBalancerNotFound"),
            ],
        )])
        .await;
        let balancers = &aws.aws.balancers;
        let seen = balancers.balancer(BALANCER).await.unwrap().unwrap();
        let expected = Balancer {
            arn: BALANCER.into(),
            dns_name: "bank-1.elb.example".into(),
            zone_id: "Z215JYRZR1TBD5".into(),
            state: "active_impaired".into(),
        };
        assert_eq!(seen, expected);
        for _ in 0..3 {
            assert_eq!(balancers.balancer(BALANCER).await, Ok(None));
        }
        let body = aws.last("DescribeLoadBalancers");
        assert!(body.as_str().unwrap().contains("LoadBalancerArns.member.1=arn%3Aaws%3Aelastic"), "{body}");
        assert_eq!(aws.seen()[0].signed_for, "eu-central-1/elasticloadbalancing");
    }

    #[tokio::test]
    async fn a_target_group_names_its_balancers() {
        let found = xml(
            "DescribeTargetGroups",
            &format!(
                "<TargetGroups><member><TargetGroupArn>{GROUP}</TargetGroupArn><LoadBalancerArns><member>{BALANCER}</member>\
                 </LoadBalancerArns></member></TargetGroups>"
            ),
        );
        let gone = Reply::xml_error(400, "TargetGroupNotFound");
        let aws = Responder::start([("DescribeTargetGroups", vec![found, gone])]).await;
        let expected = TargetGroup { arn: GROUP.into(), balancers: vec![BALANCER.into()] };
        assert_eq!(aws.aws.balancers.target_group(GROUP).await, Ok(Some(expected)));
        assert_eq!(aws.aws.balancers.target_group(GROUP).await, Ok(None));
    }

    #[tokio::test]
    async fn only_what_is_said_to_be_healthy_is_healthy() {
        let target = |state: &str| {
            format!(
                "<member><Target><Id>10.0.0.1</Id><Port>8080</Port></Target><TargetHealth>{state}</TargetHealth></member>"
            )
        };
        let states = [
            ("<State>healthy</State>", TargetHealth::Healthy),
            ("<State>initial</State>", TargetHealth::Initial),
            ("<State>unhealthy</State>", TargetHealth::Unhealthy),
            ("<State>unhealthy.draining</State>", TargetHealth::Other("unhealthy.draining".into())),
            ("<State>unused</State>", TargetHealth::Unused),
            ("<State>draining</State>", TargetHealth::Draining),
            ("<State>unavailable</State>", TargetHealth::Unavailable),
            ("<State>Healthy</State>", TargetHealth::Other("Healthy".into())),
            ("", TargetHealth::Other(String::new())),
        ];
        let members: String = states.iter().map(|(state, _)| target(state)).collect();
        let reason = target("<State>unhealthy</State><Reason>Target.FailedHealthChecks</Reason>");
        let all = format!("<TargetHealthDescriptions>{members}{reason}<member/></TargetHealthDescriptions>");
        let aws = Responder::start([(
            "DescribeTargetHealth",
            vec![
                xml("DescribeTargetHealth", &all),
                xml("DescribeTargetHealth", "<TargetHealthDescriptions/>"),
                Reply::xml_error(400, "TargetGroupNotFound"),
            ],
        )])
        .await;
        let balancers = &aws.aws.balancers;
        let targets = balancers.targets(GROUP).await.unwrap().unwrap();
        assert_eq!(targets.len(), states.len() + 2);
        for (target, (_, health)) in targets.iter().zip(&states) {
            let expected = Target { id: "10.0.0.1".into(), port: 8080, health: health.clone(), reason: None };
            assert_eq!(target, &expected);
        }
        assert_eq!(targets[states.len()].reason.as_deref(), Some("Target.FailedHealthChecks"));
        assert_eq!(targets[states.len() + 1].health, TargetHealth::Other(String::new()));
        assert_eq!(balancers.targets(GROUP).await, Ok(Some(vec![])), "empty is not absent");
        assert_eq!(balancers.targets(GROUP).await, Ok(None));
    }

    #[tokio::test]
    async fn a_refusal_names_the_field_or_the_permission() {
        for (reply, reason, says) in [
            (
                Reply::xml_error(403, "AccessDenied"),
                Reason::AccessDenied,
                "elasticloadbalancing:DescribeTargetHealth",
            ),
            (Reply::xml_error(400, "ValidationError"), Reason::RequestRefused, "spec.target.targetGroupARN"),
        ] {
            let aws = Responder::start([("DescribeTargetHealth", vec![reply])]).await;
            let fault = aws.aws.balancers.targets(GROUP).await.unwrap_err();
            assert!(matches!(&fault, Fault::Blocked(b) if b.reason == reason), "{fault:?}");
            assert!(fault.message().contains(says) && !fault.message().contains("LEAK"), "{fault}");
        }
        for reply in [Reply::lost(), Reply::xml_error(400, "Throttling"), Reply::xml(503, "<html>")] {
            let aws = Responder::start([("DescribeTargetHealth", vec![reply])]).await;
            let fault = aws.aws.balancers.targets(GROUP).await.unwrap_err();
            assert!(matches!(fault, Fault::Again(_)), "{fault:?}");
        }
    }
}

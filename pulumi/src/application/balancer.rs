//! The load balancer: TLS 1.2 and 1.3 only, access logs, and a target group for each fleet.

use std::collections::BTreeMap;

use serde_json::json;

use crate::aws::{ec2, lb};
use crate::bucket::{self, Encryption};
use crate::flows::Party;
use crate::names::{ALB, LISTENER, TARGET, TARGET_GROUP};
use crate::network::{Network, ids};
use crate::pulumi::Output;
use crate::scope::Scope;
use crate::security::Security;

pub(super) struct Front {
    pub(super) balancer: lb::LoadBalancer,
    pub(super) targets: lb::TargetGroup,
    pub(super) on_premises: lb::TargetGroup,
    pub(super) listener: lb::Listener,
}

pub(super) fn new(scope: &Scope, network: &Network, security: &Security) -> Front {
    let region = scope.config().region.clone();
    let logs = bucket::new(scope, "access-logs", Encryption::S3, move |bucket, account| {
        vec![json!({
            "Sid": "LoadBalancersOfThisAccount",
            "Effect": "Allow",
            "Principal": { "Service": "logdelivery.elasticloadbalancing.amazonaws.com" },
            "Action": "s3:PutObject",
            "Resource": format!("{bucket}/AWSLogs/{account}/*"),
            "Condition": { "ArnLike": {
                "aws:SourceArn": format!("arn:aws:elasticloadbalancing:{region}:{account}:loadbalancer/*"),
            } },
        })]
    });
    let name = scope.name(&ALB);
    let groups: Vec<Output<String>> =
        security.group(Party::LoadBalancer).map(ec2::SecurityGroup::id).into_iter().collect();
    let access = lb::types::LoadBalancerAccessLogs::new(lb::types::LoadBalancerAccessLogsRequired {
        bucket: (&logs.name).into(),
    })
    .enabled(true);
    let args = lb::LoadBalancerArgs::new()
        .name(name.as_str())
        .load_balancer_type("application")
        .internal(false)
        .subnets(ids(&network.public))
        .security_groups(groups)
        .access_logs(access)
        .drop_invalid_header_fields(true)
        .desync_mitigation_mode("strictest")
        .enable_deletion_protection(false)
        .tags(scope.tags(&name));
    // AWS tries to write to the bucket before it takes the load balancer.
    let balancer = lb::LoadBalancer::new(scope.context(), &name, args, scope.named().after(&logs.ready));
    let targets = target_group(scope, network, "ecs");
    let on_premises = target_group(scope, network, "onprem");
    attach(scope, &on_premises);
    let listener = listener(scope, &balancer, [(&targets, 100), (&on_premises, 0)]);
    Front { balancer, targets, on_premises, listener }
}

fn target_group(scope: &Scope, network: &Network, part: &str) -> lb::TargetGroup {
    let config = scope.config();
    let name = scope.part(&TARGET_GROUP, part);
    let health = lb::types::TargetGroupHealthCheck::new()
        .path(config.application.health_path.as_str())
        .protocol("HTTP")
        .matcher("200")
        .interval(10)
        .timeout(5)
        .healthy_threshold(3)
        .unhealthy_threshold(3);
    let args = lb::TargetGroupArgs::new()
        .name(name.as_str())
        .target_type("ip")
        .protocol("HTTP")
        .port(i64::from(config.application_port))
        .vpc_id(network.vpc.id())
        .deregistration_delay(30)
        .health_check(health)
        .tags(scope.tags(&name));
    lb::TargetGroup::new(scope.context(), &name, args, scope.named())
}

/// Single addresses of the fleet on-premises. A whole network of them says who may call the database, not who serves.
fn attach(scope: &Scope, group: &lb::TargetGroup) {
    for network in &scope.config().on_premises.applications {
        if network.prefix_len() < 32 {
            continue;
        }
        let address = network.addr().to_string();
        let name = scope.part(&TARGET, &address);
        let required = lb::TargetGroupAttachmentRequired {
            target_group_arn: group.arn().into(),
            target_id: address.into(),
        };
        // An address outside the VPC is in no zone of it.
        let args = lb::TargetGroupAttachmentArgs::new(required)
            .port(i64::from(scope.config().application_port))
            .availability_zone("all");
        lb::TargetGroupAttachment::new(scope.context(), &name, args, scope.options());
    }
}

/// All goes to AWS. The other group is in the rule with nothing, so that its health is known, and the weights are not changed
/// back if a person shifts them.
fn listener(
    scope: &Scope,
    balancer: &lb::LoadBalancer,
    groups: [(&lb::TargetGroup, i64); 2],
) -> lb::Listener {
    use lb::types::{
        ListenerDefaultAction as Action, ListenerDefaultActionForward as Forward,
        ListenerDefaultActionForwardRequired as ForwardRequired,
        ListenerDefaultActionForwardTargetGroup as Group,
        ListenerDefaultActionForwardTargetGroupRequired as GroupRequired,
        ListenerDefaultActionRequired as ActionRequired,
    };
    let groups: Vec<Group> = groups
        .into_iter()
        .map(|(group, weight)| Group::new(GroupRequired { arn: group.arn().into() }).weight(weight))
        .collect();
    let action = Action::new(ActionRequired { r#type: "forward".into() })
        .forward(Forward::new(ForwardRequired { target_groups: groups.into() }));
    let name = scope.name(&LISTENER);
    let required = lb::ListenerRequired {
        default_actions: vec![action].into(),
        load_balancer_arn: balancer.arn().into(),
    };
    let tags: BTreeMap<String, String> = scope.tags(&name);
    let args = lb::ListenerArgs::new(required)
        .port(443)
        .protocol("HTTPS")
        .ssl_policy("ELBSecurityPolicy-TLS13-1-2-Res-2021-06")
        .certificate_arn(scope.config().application.certificate.as_str())
        .routing_http_response_strict_transport_security_header_value("max-age=31536000")
        .routing_http_response_server_enabled(false)
        .tags(tags);
    let options = scope.options().rules(|it| it.ignore_changes = vec!["defaultActions".to_owned()]);
    lb::Listener::new(scope.context(), &name, args, options)
}

//! What went over the network, kept.

use serde_json::json;

use crate::aws::{cloudwatch, ec2, iam};
use crate::keys::Keys;
use crate::names::{FLOW_LOG, LOG_GROUP, ROLE_POLICY};
use crate::scope::Scope;

/// Records every flow of the VPC, accepted or not.
pub(super) fn new(scope: &Scope, vpc: &ec2::Vpc, keys: &Keys) {
    let group = log_group(scope, "flow-logs", keys);
    let role = scope.service_role("flow-logs", "vpc-flow-logs.amazonaws.com");
    let region = scope.config().region.clone();
    let policy = group.arn().zip(scope.account()).map(move |(group, account)| {
        json!({ "Version": "2012-10-17", "Statement": [
            {
                "Effect": "Allow",
                "Action": ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
                "Resource": format!("{group}:*"),
            },
            {
                "Effect": "Allow",
                "Action": "logs:DescribeLogGroups",
                "Resource": format!("arn:aws:logs:{region}:{account}:log-group:*"),
            },
        ] })
        .to_string()
    });
    let name = scope.part(&ROLE_POLICY, "flow-logs");
    let args =
        iam::RolePolicyArgs::new(iam::RolePolicyRequired { policy: policy.into(), role: role.id().into() })
            .name(name.as_str());
    let rights = iam::RolePolicy::new(scope.context(), &name, args, scope.named());
    let name = scope.name(&FLOW_LOG);
    let args = ec2::FlowLogArgs::new()
        .vpc_id(vpc.id())
        .traffic_type("ALL")
        .log_destination_type("cloud-watch-logs")
        .log_destination(group.arn())
        .iam_role_arn(role.arn())
        .max_aggregation_interval(60)
        .tags(scope.tags(&name));
    ec2::FlowLog::new(scope.context(), &name, args, scope.options().after([rights.resource()]));
}

/// An encrypted log group that goes with the environment.
pub(super) fn log_group(scope: &Scope, part: &str, keys: &Keys) -> cloudwatch::LogGroup {
    let name = scope.part(&LOG_GROUP, part);
    let args = cloudwatch::LogGroupArgs::new()
        .name(name.as_str())
        .retention_in_days(i64::from(scope.config().log_days))
        .kms_key_id(keys.logs.arn())
        .tags(scope.tags(&name));
    cloudwatch::LogGroup::new(scope.context(), &name, args, scope.named())
}

//! What went over the network, kept.

use serde_json::json;

use crate::aws::ec2;
use crate::keys::Keys;
use crate::names::FLOW_LOG;
use crate::scope::Scope;

/// Records every flow of the VPC, accepted or not.
pub(super) fn new(scope: &Scope, vpc: &ec2::Vpc, keys: &Keys) {
    let group = scope.log_group("flow-logs", keys);
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
    let rights = scope.rights("flow-logs", &role, policy);
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

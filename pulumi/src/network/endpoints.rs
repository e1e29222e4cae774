//! Ways to AWS's APIs that do not leave the VPC. S3's costs nothing and is always there; the others cost by the hour and zone.

use serde_json::json;

use super::{Network, ids};
use crate::aws::ec2;
use crate::flows::Party;
use crate::names::VPC_ENDPOINT;
use crate::pulumi::Output;
use crate::scope::Scope;
use crate::security::Security;

/// What the environment calls all the time: images, logs, secrets and their keys, identity, DMS and its figures.
pub const INTERFACES: [&str; 8] =
    ["dms", "ecr.api", "ecr.dkr", "kms", "logs", "monitoring", "secretsmanager", "sts"];

pub(super) fn new(network: &Network, security: &Security) {
    let scope = &network.scope;
    // Images, packages and agents come from buckets of AWS's own, so everybody's objects may be read; written is only to
    // buckets by this account's identities.
    let policy = scope.account().map(|account| {
        json!({ "Version": "2012-10-17", "Statement": [
            {
                "Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*",
                "Condition": { "StringEquals": { "aws:PrincipalAccount": account } },
            },
            { "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "*" },
        ] })
        .to_string()
    });
    let tables: Vec<Output<String>> = network.route_tables().map(|(_, table)| table.id()).collect();
    endpoint(network, "s3", |it| it.vpc_endpoint_type("Gateway").route_table_ids(tables).policy(policy));

    let Some(group) = security.group(Party::Endpoints) else { return };
    for service in INTERFACES {
        endpoint(network, service, |it| {
            it.vpc_endpoint_type("Interface")
                .private_dns_enabled(true)
                .subnet_ids(ids(&network.private))
                .security_group_ids(vec![group.id()])
                .policy(of_this_account(scope))
        });
    }
}

/// Nobody can carry data to an account of their own through an endpoint. Who asks STS for a role by a token of the cluster's has
/// no account yet.
fn of_this_account(scope: &Scope) -> Output<String> {
    scope.account().map(|account| {
        json!({ "Version": "2012-10-17", "Statement": [
            {
                "Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*",
                "Condition": { "StringEquals": { "aws:PrincipalAccount": account } },
            },
            { "Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRoleWithWebIdentity", "Resource": "*" },
        ] })
        .to_string()
    })
}

fn endpoint(
    network: &Network,
    service: &str,
    with: impl FnOnce(ec2::VpcEndpointArgs) -> ec2::VpcEndpointArgs,
) {
    let scope = &network.scope;
    let name = scope.part(&VPC_ENDPOINT, &service.replace('.', "-"));
    let required = ec2::VpcEndpointRequired { vpc_id: network.vpc.id().into() };
    let args = ec2::VpcEndpointArgs::new(required)
        .service_name(format!("com.amazonaws.{}.{service}", scope.config().region))
        .tags(scope.tags(&name));
    ec2::VpcEndpoint::new(scope.context(), &name, with(args), scope.options());
}

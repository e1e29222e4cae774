//! What MGN wants before it can carry servers: its roles, a subnet for its replication servers, and one for tests that reaches
//! nothing.
//!
//! MGN itself is set up once for an account and region, and the AWS provider has no resource for it. What it is to be told is
//! therefore an output: the body of `aws mgn create-replication-configuration-template`.

use ipnet::Ipv4Net;
use serde_json::json;

use crate::account_roles::{self, AccountRoles};
use crate::aws::ec2;
use crate::flows::Party;
use crate::names::{ROUTE_TABLE, ROUTE_TABLE_ASSOCIATION, SUBNET};
use crate::network::Network;
use crate::pulumi::Output;
use crate::scope::Scope;
use crate::security::Security;

/// Which sixteenth of the VPC's network each is.
const STAGING: usize = 12;
const TEST: usize = 13;

pub(super) fn new(
    scope: &Scope,
    network: &Network,
    security: &Security,
    roles: &AccountRoles,
) -> Output<String> {
    for role in &account_roles::MGN {
        roles.make(scope, role);
    }
    roles.make_linked(scope);
    let staging = subnet(scope, network, "staging", STAGING);
    associate(scope, "staging", &staging, &network.private_routes()[0].id());
    // No route but the VPC's own: what is launched as a test can't write anywhere, and nobody takes it for the real one.
    let name = scope.part(&ROUTE_TABLE, "test");
    let required = ec2::RouteTableRequired { vpc_id: network.vpc.id().into() };
    let alone = ec2::RouteTable::new(
        scope.context(),
        &name,
        ec2::RouteTableArgs::new(required).tags(scope.tags(&name)),
        scope.options(),
    );
    let test = subnet(scope, network, "test", TEST);
    associate(scope, "test", &test, &alone.id());
    scope.context().export("testSubnetId", test.id());

    let group =
        |party| Output::of(security.group(party).map(ec2::SecurityGroup::id).into_iter().collect::<Vec<_>>());
    let tags = scope.tags("mgn-staging");
    staging.id().zip(&group(Party::Staging)).map(move |(subnet, groups): (String, Vec<String>)| {
        json!({
            "stagingAreaSubnetId": subnet,
            "associateDefaultSecurityGroup": false,
            "replicationServersSecurityGroupsIDs": groups,
            "replicationServerInstanceType": "t3.small",
            "useDedicatedReplicationServer": false,
            "defaultLargeStagingDiskType": "GP3",
            "ebsEncryption": "DEFAULT",
            "bandwidthThrottling": 0,
            "dataPlaneRouting": "PRIVATE_IP",
            "createPublicIP": false,
            "stagingAreaTags": tags,
        })
        .to_string()
    })
}

fn subnet(scope: &Scope, network: &Network, word: &str, slice: usize) -> ec2::Subnet {
    let name = scope.part(&SUBNET, word);
    let vpc = scope.config().vpc;
    let slices: Vec<Ipv4Net> = vpc.subnets(vpc.prefix_len() + 4).map(Iterator::collect).unwrap_or_default();
    let args = ec2::SubnetArgs::new(ec2::SubnetRequired { vpc_id: network.vpc.id().into() })
        .cidr_block(slices.get(slice).map(ToString::to_string).unwrap_or_default())
        .availability_zone(network.private[0].availability_zone())
        .map_public_ip_on_launch(false)
        .tags(scope.tags(&name));
    ec2::Subnet::new(scope.context(), &name, args, scope.options())
}

fn associate(scope: &Scope, word: &str, subnet: &ec2::Subnet, table: &Output<String>) {
    let required = ec2::RouteTableAssociationRequired { route_table_id: table.into() };
    let args = ec2::RouteTableAssociationArgs::new(required).subnet_id(subnet.id());
    let name = scope.part(&ROUTE_TABLE_ASSOCIATION, word);
    ec2::RouteTableAssociation::new(scope.context(), &name, args, scope.options());
}

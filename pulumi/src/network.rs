//! The network: a VPC with public and private subnets in three zones, the ways out of it, and the link to on-premises.
//!
//! A sixteenth of the VPC's network is one subnet: the first three are private, the ninth to eleventh public, the rest is
//! left for what comes later. Databases stand in private subnets only.

use ipnet::Ipv4Net;

use crate::aws::{ec2, index};
use crate::config::Nat;
use crate::keys::Keys;
use crate::names::{
    DEFAULT_SECURITY_GROUP, EIP, INTERNET_GATEWAY, NAT_GATEWAY, ROUTE, ROUTE_TABLE, ROUTE_TABLE_ASSOCIATION,
    SUBNET, VPC,
};
use crate::pulumi::{Fields, Node, Output};
use crate::scope::{Ground, Scope};
use crate::security::Security;

mod endpoints;
mod flow_log;
mod link;

/// The zones, as names have them.
pub const ZONES: [&str; 3] = ["a", "b", "c"];
const EVERYWHERE: &str = "0.0.0.0/0";

/// The network.
pub struct Network<'a> {
    scope: Scope<'a>,
    /// The VPC.
    pub vpc: ec2::Vpc,
    /// One public subnet in each zone.
    pub public: Vec<ec2::Subnet>,
    /// One private subnet in each zone.
    pub private: Vec<ec2::Subnet>,
    /// One table for the public subnets.
    public_routes: ec2::RouteTable,
    /// A table for each private subnet.
    private_routes: Vec<ec2::RouteTable>,
    /// The VPN's connection, if there is one.
    vpn: Option<Output<String>>,
}

impl<'a> Network<'a> {
    /// Makes it, but for the endpoints.
    pub fn new(ground: &'a Ground<'a>, keys: &Keys) -> Self {
        let scope = ground.component("network");
        let name = scope.name(&VPC);
        let args = ec2::VpcArgs::new()
            .cidr_block(scope.config().vpc.to_string())
            .enable_dns_support(true)
            .enable_dns_hostnames(true)
            .tags(scope.tags(&name));
        let vpc = ec2::Vpc::new(scope.context(), &name, args, scope.options());
        close_default_group(&scope, &vpc);
        flow_log::new(&scope, &vpc, keys);

        let zones = zones(&scope);
        let public = subnets(&scope, &vpc, &zones, "public", 8);
        let private = subnets(&scope, &vpc, &zones, "private", 0);

        let internet = internet_gateway(&scope, &vpc);
        let public_routes = route_table(&scope, &vpc, "public");
        for (zone, subnet) in ZONES.iter().zip(&public) {
            associate(&scope, &public_routes, subnet, &format!("public-{zone}"));
        }
        let out =
            route(&scope, &public_routes, "public-internet", EVERYWHERE, |it| it.gateway_id(internet.id()));
        let nats: Vec<ec2::NatGateway> = ZONES
            .iter()
            .zip(&public)
            .take(if scope.config().nat == Nat::PerZone { ZONES.len() } else { 1 })
            .map(|(zone, subnet)| nat_gateway(&scope, subnet, zone, &internet, &out))
            .collect();
        let private_routes: Vec<ec2::RouteTable> = ZONES
            .iter()
            .enumerate()
            .map(|(index, zone)| {
                let part = format!("private-{zone}");
                let table = route_table(&scope, &vpc, &part);
                associate(&scope, &table, &private[index], &part);
                // The zone's own gateway, or the only one.
                let nat = nats.get(index).or(nats.first()).map(ec2::NatGateway::id);
                if let Some(nat) = nat {
                    route(&scope, &table, &format!("{part}-internet"), EVERYWHERE, |it| {
                        it.nat_gateway_id(nat)
                    });
                }
                table
            })
            .collect();
        let mut network = Self { scope, vpc, public, private, public_routes, private_routes, vpn: None };
        network.vpn = link::new(&network, keys);
        network
    }

    /// Ends the component with the endpoints, which need their security group.
    pub fn finish(self, security: &Security) {
        endpoints::new(&self, security);
        let outputs = Fields::from([
            ("vpcId".to_owned(), Node::from(self.vpc.id())),
            ("publicSubnetIds".to_owned(), ids(&self.public).into()),
            ("privateSubnetIds".to_owned(), ids(&self.private).into()),
        ]);
        self.scope.end(outputs);
    }

    /// The tables of the private subnets, in the order of zones.
    pub fn private_routes(&self) -> &[ec2::RouteTable] {
        &self.private_routes
    }

    /// The VPN's connection, if there is one.
    pub fn vpn(&self) -> Option<Output<String>> {
        self.vpn.clone()
    }

    /// All route tables with their names. The public one leads on-premises too: the load balancer stands in public subnets
    /// and reaches the old fleet by its addresses.
    fn route_tables(&self) -> impl Iterator<Item = (String, &ec2::RouteTable)> {
        let private = ZONES.iter().map(|zone| format!("private-{zone}")).zip(&self.private_routes);
        private.chain(std::iter::once(("public".to_owned(), &self.public_routes)))
    }
}

/// The subnets' ids.
pub fn ids(subnets: &[ec2::Subnet]) -> Vec<Output<String>> {
    subnets.iter().map(ec2::Subnet::id).collect()
}

/// Zones that every account has: no local ones, none to opt in for.
fn zones(scope: &Scope) -> Output<Vec<String>> {
    let usual =
        index::types::GetAvailabilityZonesFilter::new(index::types::GetAvailabilityZonesFilterRequired {
            name: "opt-in-status".into(),
            values: vec!["opt-in-not-required".to_owned()].into(),
        });
    let args = index::GetAvailabilityZonesArgs::new().state("available").filters(vec![usual]);
    index::get_availability_zones(scope.context(), args, &scope.options()).names()
}

/// The group that AWS makes with a VPC gets no rules: what nobody gave a group can reach nothing.
fn close_default_group(scope: &Scope, vpc: &ec2::Vpc) {
    let name = scope.name(&DEFAULT_SECURITY_GROUP);
    let args = ec2::DefaultSecurityGroupArgs::new().vpc_id(vpc.id()).tags(scope.tags(&name));
    ec2::DefaultSecurityGroup::new(scope.context(), &name, args, scope.options());
}

fn subnets(
    scope: &Scope,
    vpc: &ec2::Vpc,
    zones: &Output<Vec<String>>,
    word: &str,
    first: usize,
) -> Vec<ec2::Subnet> {
    let network = scope.config().vpc;
    // The configuration allows /16 to /20, so that four bits more are always possible.
    let slices: Vec<Ipv4Net> =
        network.subnets(network.prefix_len() + 4).map(Iterator::collect).unwrap_or_default();
    let slices = slices.iter().skip(first);
    ZONES
        .iter()
        .zip(slices)
        .enumerate()
        .map(|(index, (zone, slice))| {
            let name = scope.part(&SUBNET, &format!("{word}-{zone}"));
            let args = ec2::SubnetArgs::new(ec2::SubnetRequired { vpc_id: vpc.id().into() })
                .cidr_block(slice.to_string())
                .availability_zone(zones.at(index))
                .map_public_ip_on_launch(false)
                .tags(scope.tags(&name));
            ec2::Subnet::new(scope.context(), &name, args, scope.options())
        })
        .collect()
}

fn internet_gateway(scope: &Scope, vpc: &ec2::Vpc) -> ec2::InternetGateway {
    let name = scope.name(&INTERNET_GATEWAY);
    let args = ec2::InternetGatewayArgs::new().vpc_id(vpc.id()).tags(scope.tags(&name));
    ec2::InternetGateway::new(scope.context(), &name, args, scope.options())
}

/// AWS refuses to detach an internet gateway while a public address is in use, and a NAT gateway without a way out fails:
/// both come after the gateway, and go before it, although no input says so.
fn nat_gateway(
    scope: &Scope,
    subnet: &ec2::Subnet,
    zone: &str,
    internet: &ec2::InternetGateway,
    out: &ec2::Route,
) -> ec2::NatGateway {
    let name = scope.part(&EIP, &format!("nat-{zone}"));
    let args = ec2::EipArgs::new().domain("vpc").tags(scope.tags(&name));
    let address = ec2::Eip::new(scope.context(), &name, args, scope.options().after([internet.resource()]));
    let name = scope.part(&NAT_GATEWAY, zone);
    let args = ec2::NatGatewayArgs::new()
        .subnet_id(subnet.id())
        .allocation_id(address.id())
        .connectivity_type("public")
        .tags(scope.tags(&name));
    ec2::NatGateway::new(
        scope.context(),
        &name,
        args,
        scope.options().after([internet.resource(), out.resource()]),
    )
}

fn route_table(scope: &Scope, vpc: &ec2::Vpc, part: &str) -> ec2::RouteTable {
    let name = scope.part(&ROUTE_TABLE, part);
    let args =
        ec2::RouteTableArgs::new(ec2::RouteTableRequired { vpc_id: vpc.id().into() }).tags(scope.tags(&name));
    ec2::RouteTable::new(scope.context(), &name, args, scope.options())
}

fn associate(scope: &Scope, table: &ec2::RouteTable, subnet: &ec2::Subnet, part: &str) {
    let required = ec2::RouteTableAssociationRequired { route_table_id: table.id().into() };
    let args = ec2::RouteTableAssociationArgs::new(required).subnet_id(subnet.id());
    ec2::RouteTableAssociation::new(
        scope.context(),
        &scope.part(&ROUTE_TABLE_ASSOCIATION, part),
        args,
        scope.options(),
    );
}

/// A route to `to`, by way of what `way` sets.
fn route(
    scope: &Scope,
    table: &ec2::RouteTable,
    part: &str,
    to: &str,
    way: impl FnOnce(ec2::RouteArgs) -> ec2::RouteArgs,
) -> ec2::Route {
    let required = ec2::RouteRequired { route_table_id: table.id().into() };
    let args = way(ec2::RouteArgs::new(required).destination_cidr_block(to));
    ec2::Route::new(scope.context(), &scope.part(&ROUTE, part), args, scope.named())
}

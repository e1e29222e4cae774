//! Who can open a connection to whom, worked out of what is registered: groups and their rules, subnets and their routes. Both
//! are needed: a rule without a route leads nowhere, and so does a route without a rule.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;
use slipway_infra::flows::FLOWS;
use slipway_infra::pulumi::{Registration, Value};

use crate::mock::{Record, build, variants};

fn text<'a>(it: &'a Registration, input: &str) -> &'a str {
    if let Some(Value::Text(text)) = it.inputs.get(input) { text } else { "" }
}

fn number(it: &Registration, input: &str) -> u16 {
    let Value::Number(number) = &it.inputs[input] else { panic!("{}.{input}", it.name) };
    format!("{number}").parse().unwrap()
}

fn texts(value: Option<&Value>, found: &mut Vec<String>) {
    match value {
        Some(Value::Text(text)) => found.push(text.clone()),
        Some(Value::List(items)) => items.iter().for_each(|it| texts(Some(it), found)),
        Some(Value::Map(fields)) => fields.values().for_each(|it| texts(Some(it), found)),
        _ => {}
    }
}

/// One side of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Peer {
    Group(String),
    Network(Ipv4Net),
}

/// Rules by direction, group, protocol and port.
struct Graph<'a> {
    record: &'a Record,
    inward: BTreeSet<(String, String, u16, Peer)>,
    outward: BTreeSet<(String, String, u16, Peer)>,
    /// Where each subnet's packets go, by the network they are for.
    routes: BTreeMap<String, Vec<(Ipv4Net, String)>>,
}

impl<'a> Graph<'a> {
    fn new(record: &'a Record) -> Self {
        let rules = |kind: &str| {
            let of = |it: &Registration| {
                let peer = match text(it, "cidrIpv4") {
                    "" => Peer::Group(text(it, "referencedSecurityGroupId").to_owned()),
                    network => Peer::Network(network.parse().unwrap()),
                };
                let group = text(it, "securityGroupId").to_owned();
                (group, text(it, "ipProtocol").to_owned(), number(it, "fromPort"), peer)
            };
            record.of_kind(kind).into_iter().map(of).collect::<BTreeSet<_>>()
        };
        let mut tables: BTreeMap<String, Vec<(Ipv4Net, String)>> = BTreeMap::new();
        for route in record.of_kind("aws:ec2/route:Route") {
            let way = ["gatewayId", "natGatewayId", "transitGatewayId"].map(|it| text(route, it)).concat();
            let to = text(route, "destinationCidrBlock").parse().unwrap();
            tables.entry(text(route, "routeTableId").to_owned()).or_default().push((to, way));
        }
        // What a VPN's gateway tells to the tables that listen to it.
        for it in record.of_kind("aws:ec2/vpnGatewayRoutePropagation:VpnGatewayRoutePropagation") {
            let told = ["172.20.0.0/16", "192.168.7.0/24"].map(|to| (to.parse().unwrap(), "vpn".to_owned()));
            tables.entry(text(it, "routeTableId").to_owned()).or_default().extend(told);
        }
        let routes = record
            .of_kind("aws:ec2/routeTableAssociation:RouteTableAssociation")
            .into_iter()
            .map(|it| {
                let table = tables.get(text(it, "routeTableId")).cloned().unwrap_or_default();
                (text(it, "subnetId").to_owned(), table)
            })
            .collect();
        Self {
            record,
            inward: rules("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"),
            outward: rules("aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"),
            routes,
        }
    }

    fn suffix(&self) -> String {
        self.record.of_kind("aws:ec2/vpc:Vpc")[0].name["vpc-".len()..].to_owned()
    }

    fn group(&self, word: &str) -> String {
        format!("id<security-group-{word}-{}>", self.suffix())
    }

    /// From a group to a group: out of the one and into the other. Within a VPC there is always a route.
    fn within(&self, from: &str, to: &str, port: u16) -> bool {
        let (from, to) = (self.group(from), self.group(to));
        let rule =
            |at: &str, peer: &str| (at.to_owned(), "tcp".to_owned(), port, Peer::Group(peer.to_owned()));
        self.outward.contains(&rule(&from, &to)) && self.inward.contains(&rule(&to, &from))
    }

    /// From a group, which stands in these subnets, to an address outside: out of the group, and by a route of each subnet.
    fn outside(&self, from: &str, subnets: &[String], address: &str, port: u16) -> Option<BTreeSet<String>> {
        let address: Ipv4Net = format!("{address}/32").parse().unwrap();
        let from = self.group(from);
        let allowed = self.outward.iter().any(|(group, _, at, peer)| {
            *group == from && *at == port && matches!(peer, Peer::Network(it) if it.contains(&address))
        });
        let way = |subnet: &String| {
            let routes = self.routes.get(subnet)?.iter().filter(|it| it.0.contains(&address));
            routes.max_by_key(|it| it.0.prefix_len()).map(|it| it.1.clone())
        };
        let ways: Option<BTreeSet<String>> = subnets.iter().map(way).collect();
        ways.filter(|it| allowed && !it.is_empty())
    }

    fn subnets(&self, word: &str) -> Vec<String> {
        ["a", "b", "c"].map(|zone| format!("id<subnet-{word}-{zone}-{}>", self.suffix())).to_vec()
    }
}

/// Subnets that a resource is put into, by whatever input, itself or by a group of subnets.
fn stands_in(record: &Record, it: &Registration) -> BTreeSet<String> {
    let mut all = Vec::new();
    it.inputs.values().for_each(|value| texts(Some(value), &mut all));
    for group in record.resources().filter(|group| group.kind.contains("ubnetGroup")) {
        if all.iter().any(|it| it.contains(&format!("<{}>", group.name)) || *it == group.name) {
            texts(group.inputs.get("subnetIds"), &mut all);
        }
    }
    all.into_iter().filter(|it| it.starts_with("id<subnet-")).collect()
}

#[test]
fn dms_reaches_both_databases() {
    for (variant, record) in variants() {
        let graph = Graph::new(&record);
        let instance = record.of_kind("aws:dms/replicationInstance:ReplicationInstance")[0];
        let mut groups = Vec::new();
        texts(instance.inputs.get("vpcSecurityGroupIds"), &mut groups);
        assert_eq!(groups, [graph.group("replication")], "{variant}");
        let subnets: Vec<String> = stands_in(&record, instance).into_iter().collect();
        assert_eq!(subnets, graph.subnets("private"), "{variant}");
        assert!(graph.within("replication", "database", 5432), "{variant}: the target");
        for address in ["172.20.1.10", "172.20.1.11"] {
            let ways = graph.outside("replication", &subnets, address, 5432);
            assert!(
                ways.as_ref().is_some_and(|it| it.iter().all(|way| !way.contains("nat"))),
                "{variant}: {ways:?}"
            );
        }
        // And nothing else of on-premises.
        assert_eq!(graph.outside("replication", &subnets, "172.20.2.1", 5432), None, "{variant}");
        let database = record.of_kind("aws:rds/instance:Instance")[0];
        let mut groups = Vec::new();
        texts(database.inputs.get("vpcSecurityGroupIds"), &mut groups);
        assert_eq!(groups, [graph.group("database")], "{variant}");
    }
    // The check can fail.
    let mut record = build(&[]);
    record.registrations.retain(|it| it.name != "security-group-rule-replication-database-in-dev");
    assert!(!Graph::new(&record).within("replication", "database", 5432));
    let mut record = build(&[]);
    record.registrations.retain(|it| it.name != "route-propagation-private-b-dev");
    let graph = Graph::new(&record);
    let ways = graph.outside("replication", &graph.subnets("private"), "172.20.1.10", 5432);
    assert!(ways.is_none_or(|it| it.iter().any(|way| way.contains("nat"))), "one zone goes astray");
}

#[test]
fn slipway_and_the_application_reach_both_databases_too() {
    for (variant, record) in variants() {
        let graph = Graph::new(&record);
        for party in ["control", "application"] {
            assert!(graph.within(party, "database", 5432), "{variant}: {party}");
            let ways = graph.outside(party, &graph.subnets("private"), "172.20.1.10", 5432);
            assert!(ways.is_some(), "{variant}: {party}");
        }
        assert!(graph.within("load-balancer", "application", 8080), "{variant}");
        assert!(
            graph.outside("load-balancer", &graph.subnets("public"), "172.20.2.7", 8080).is_some(),
            "{variant}"
        );
        assert!(graph.within("control", "control-plane", 443), "{variant}");
    }
}

/// From anywhere in the world a packet gets to the load balancer's port 443, and nowhere else.
fn open_to_the_world(record: &Record) -> BTreeSet<(String, u16)> {
    let somebody: Ipv4Net = "198.18.7.7/32".parse().unwrap();
    let graph = Graph::new(record);
    let let_in = graph
        .inward
        .iter()
        .filter(|(_, _, _, peer)| matches!(peer, Peer::Network(it) if it.contains(&somebody)));
    let mut open: BTreeSet<(String, u16)> =
        let_in.map(|(group, _, port, _)| (group.clone(), *port)).collect();
    // What has a public address besides, whatever its group.
    for it in record.resources() {
        for input in
            ["publiclyAccessible", "assignPublicIp", "associatePublicIpAddress", "endpointPublicAccess"]
        {
            if format!("{:?}", it.inputs).contains(&format!("\"{input}\": true"))
                || it.inputs.get(input) == Some(&Value::Bool(true))
            {
                open.insert((it.name.clone(), 0));
            }
        }
    }
    open
}

#[test]
fn from_the_internet_only_the_load_balancer_is_reached() {
    for (variant, record) in variants() {
        let graph = Graph::new(&record);
        assert_eq!(
            open_to_the_world(&record),
            BTreeSet::from([(graph.group("load-balancer"), 443)]),
            "{variant}"
        );
        // What stands where a route to the internet gateway leads back.
        let public: BTreeSet<String> = graph
            .routes
            .iter()
            .filter(|(_, routes)| routes.iter().any(|(_, way)| way.contains("internet-gateway")))
            .map(|(subnet, _)| subnet.clone())
            .collect();
        assert_eq!(public, graph.subnets("public").into_iter().collect(), "{variant}");
        for it in record.resources() {
            let there = !stands_in(&record, it).is_disjoint(&public);
            let plumbing = ["NatGateway", "RouteTableAssociation", "LoadBalancer"]
                .iter()
                .any(|word| it.kind.ends_with(word));
            assert!(!there || plumbing, "{variant}: {} is in a public subnet", it.name);
        }
        let balancer = record.of_kind("aws:lb/loadBalancer:LoadBalancer")[0];
        assert_eq!(stands_in(&record, balancer), public, "{variant}");
    }
    // The check can fail.
    let mut record = build(&[]);
    let rule =
        record.registrations.iter_mut().find(|it| it.name == "security-group-rule-control-database-in-dev");
    rule.unwrap().inputs.insert("cidrIpv4".to_owned(), Value::Text("198.18.0.0/15".to_owned()));
    assert_eq!(open_to_the_world(&record).len(), 2);
}

#[test]
fn databases_and_all_that_holds_data_are_in_private_subnets() {
    let mut seen = 0;
    for (variant, record) in variants() {
        let private: BTreeSet<String> = Graph::new(&record).subnets("private").into_iter().collect();
        for it in record.resources() {
            let kinds = [
                "rds/instance:",
                "dms/replicationInstance:",
                "ecs/service:",
                "eks/cluster:",
                "eks/nodeGroup:",
            ];
            if kinds.iter().any(|kind| it.kind.contains(kind)) {
                assert_eq!(stands_in(&record, it), private, "{variant}: {}", it.name);
                seen += 1;
            }
        }
    }
    assert!(seen > 20, "{seen}");
}

/// A group is somebody's, and a rule is for a flow: of every rule both ends are there, and every flow is possible.
#[test]
fn no_rule_is_without_its_other_end_and_no_group_without_anybody_in_it() {
    for (variant, record) in variants() {
        let graph = Graph::new(&record);
        for (rules, others) in [(&graph.inward, &graph.outward), (&graph.outward, &graph.inward)] {
            for (group, protocol, port, peer) in rules {
                let Peer::Group(other) = peer else { continue };
                let back = (other.clone(), protocol.clone(), *port, Peer::Group(group.clone()));
                assert!(others.contains(&back), "{variant}: {group} {port} {other}");
            }
        }
        let ports: BTreeSet<u16> = FLOWS.iter().map(|it| it.port.number(&crate::mock::config(&[]))).collect();
        assert!(graph.inward.iter().chain(&graph.outward).all(|it| ports.contains(&it.2)), "{variant}");
        for group in record.of_kind("aws:ec2/securityGroup:SecurityGroup") {
            let id = format!("id<{}>", group.name);
            // What MGN launches gets these two from its template, and an image must be there before the application.
            let later =
                ["staging", "test"].iter().any(|it| group.name.starts_with(&format!("security-group-{it}-")))
                    || (variant.contains("no image") && group.name.contains("-application-"));
            let used = record.resources().any(|it| {
                let mut all = Vec::new();
                it.inputs.values().for_each(|value| texts(Some(value), &mut all));
                !it.kind.contains("securityGroup") && all.contains(&id)
            });
            assert!(used || later, "{variant}: nobody is in {}", group.name);
        }
    }
}

/// What is launched as a test reaches nobody: no route leads out of its subnet, and its group opens no connection.
#[test]
fn a_server_that_is_tested_reaches_nobody() {
    let record = build(&[("serverMigration", "true")]);
    let graph = Graph::new(&record);
    assert!(graph.routes["id<subnet-test-dev>"].is_empty());
    assert!(graph.outward.iter().all(|(group, ..)| *group != graph.group("test")));
    assert!(graph.within("control", "test", 8080));
}

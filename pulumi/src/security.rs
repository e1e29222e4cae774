//! A security group for each party in AWS, and a rule for each flow of `flows.rs`: nothing else can connect.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;

use crate::aws::{ec2, vpc};
use crate::config::Config;
use crate::flows::{FLOWS, Flow, Party};
use crate::names::{SECURITY_GROUP, SECURITY_GROUP_RULE};
use crate::pulumi::{Fields, Node, Output};
use crate::scope::{Ground, Scope};

/// The security groups.
pub struct Security {
    groups: BTreeMap<Party, ec2::SecurityGroup>,
}

impl Security {
    /// Makes them in the VPC.
    pub fn new(ground: &Ground, vpc_id: &Output<String>) -> Self {
        let scope = ground.component("security");
        let groups = Party::GROUPS
            .into_iter()
            .filter(|party| party.exists(scope.config()))
            .map(|party| (party, group(&scope, vpc_id, party)))
            .collect();
        let security = Self { groups };
        for flow in FLOWS {
            security.rules(&scope, &flow);
        }
        let ids =
            security.groups.iter().map(|(party, group)| (party.word().to_owned(), Node::from(group.id())));
        scope.end(ids.collect::<Fields>());
        security
    }

    /// A party's group, if it has one here.
    pub fn group(&self, party: Party) -> Option<&ec2::SecurityGroup> {
        self.groups.get(&party)
    }

    /// Every group's id by its party's word.
    pub fn ids(&self) -> BTreeMap<String, Output<String>> {
        self.groups.iter().map(|(party, group)| (party.word().to_owned(), group.id())).collect()
    }

    /// The flow's rules: one where it leaves, one where it arrives.
    fn rules(&self, scope: &Scope, flow: &Flow) {
        for (own, other, inward) in [(flow.from, flow.to, false), (flow.to, flow.from, true)] {
            let Some(group) = self.group(own) else { continue };
            if let Some(other) = self.group(other) {
                rules(scope, group, flow, inward, Peer::Group(other));
            } else {
                for network in networks(scope.config(), other) {
                    rules(scope, group, flow, inward, Peer::Network(network));
                }
            }
        }
    }
}

/// Where a party outside AWS is.
fn networks(config: &Config, party: Party) -> Vec<Ipv4Net> {
    match party {
        Party::Clients => config.clients.clone(),
        Party::Internet => vec![Ipv4Net::default()],
        Party::OnPremisesDatabase => config.on_premises.databases.clone(),
        Party::OnPremisesApplication => config.on_premises.applications.clone(),
        Party::OnPremisesAdministrators => config.on_premises.administrators.clone(),
        // A group that was not made.
        _ => Vec::new(),
    }
}

fn group(scope: &Scope, vpc_id: &Output<String>, party: Party) -> ec2::SecurityGroup {
    let name = scope.part(&SECURITY_GROUP, party.word());
    let args = ec2::SecurityGroupArgs::new()
        .name(name.as_str())
        .description(format!("Slipway: {}", party.word()))
        .vpc_id(vpc_id)
        .revoke_rules_on_delete(true)
        .tags(scope.tags(&name));
    ec2::SecurityGroup::new(scope.context(), &name, args, scope.named())
}

#[derive(Clone, Copy)]
enum Peer<'a> {
    Group(&'a ec2::SecurityGroup),
    Network(Ipv4Net),
}

fn rules(scope: &Scope, group: &ec2::SecurityGroup, flow: &Flow, inward: bool, peer: Peer) {
    for protocol in flow.port.protocols() {
        rule(scope, group, flow, inward, peer, protocol);
    }
}

fn rule(
    scope: &Scope,
    group: &ec2::SecurityGroup,
    flow: &Flow,
    inward: bool,
    peer: Peer,
    protocol: &'static str,
) {
    let port = i64::from(flow.port.number(scope.config()));
    let mut word = format!("{}-{}", flow.name(), if inward { "in" } else { "out" });
    if let Peer::Network(network) = &peer {
        word = format!("{word}-{}", network.to_string().replace('/', "-"));
    }
    if protocol != "tcp" {
        word = format!("{word}-{protocol}");
    }
    let name = scope.part(&SECURITY_GROUP_RULE, &word);
    let mut tags = scope.tags(&name);
    tags.insert("slipway.dev/flow".to_owned(), flow.name());
    // Two types with the same inputs.
    macro_rules! make {
        ($rule:ident, $args:ident, $required:ident) => {{
            let required =
                vpc::$required { ip_protocol: protocol.into(), security_group_id: group.id().into() };
            let args =
                vpc::$args::new(required).from_port(port).to_port(port).description(flow.why).tags(tags);
            let args = match peer {
                Peer::Group(other) => args.referenced_security_group_id(other.id()),
                Peer::Network(network) => args.cidr_ipv4(network.to_string()),
            };
            vpc::$rule::new(scope.context(), &name, args, scope.named());
        }};
    }
    if inward {
        make!(SecurityGroupIngressRule, SecurityGroupIngressRuleArgs, SecurityGroupIngressRuleRequired);
    } else {
        make!(SecurityGroupEgressRule, SecurityGroupEgressRuleArgs, SecurityGroupEgressRuleRequired);
    }
}

//! Where the application is called: its public zone, a private one for names within the VPC, and checks of both sides from
//! outside.
//!
//! The records belong to the operator, which moves the traffic by them, and an empty zone is handed to it. Both zones go with
//! all that is in them. No record of the operator's has a health check: Route 53 then never moves traffic by itself. These
//! checks are for people and their alarms.

use ipnet::Ipv4Net;

use crate::application::Application;
use crate::aws::route53;
use crate::names::{HEALTH_CHECK, ZONE};
use crate::network::Network;
use crate::pulumi::{Fields, Node, Output};
use crate::scope::{Ground, Scope};

/// The zones.
pub struct Traffic {
    /// The application's.
    pub public: route53::Zone,
    /// The VPC's.
    pub private: route53::Zone,
}

impl Traffic {
    /// Makes them.
    pub fn new(ground: &Ground, network: &Network, application: &Application) -> Self {
        let scope = ground.component("traffic");
        let public = zone(&scope, "public", &scope.config().traffic.domain.clone(), None);
        let inside = format!("{}.slipway.internal", scope.config().suffix);
        let private = zone(&scope, "private", &inside, Some(network.vpc.id()));
        for address in &scope.config().traffic.source_addresses {
            check(&scope, &format!("source-{address}"), |it| it.ip_address(address.to_string()));
        }
        // The checks come from Route 53's own addresses, all over the world.
        if scope.config().clients.contains(&Ipv4Net::default()) {
            let target = application.balancer.dns_name();
            check(&scope, "target", |it| it.fqdn(target));
        }
        scope.end(Fields::from([
            ("publicZoneId".to_owned(), Node::from(public.zone_id())),
            ("privateZoneId".to_owned(), private.zone_id().into()),
        ]));
        Self { public, private }
    }
}

fn zone(scope: &Scope, part: &str, domain: &str, vpc: Option<Output<String>>) -> route53::Zone {
    let name = scope.part(&ZONE, part);
    let mut args = route53::ZoneArgs::new()
        .name(domain)
        .comment(format!("Slipway: {name}"))
        .force_destroy(true)
        .tags(scope.tags(&name));
    if let Some(vpc) = vpc {
        args = args
            .vpcs(vec![route53::types::ZoneVpc::new(route53::types::ZoneVpcRequired { vpc_id: vpc.into() })]);
    }
    route53::Zone::new(scope.context(), &name, args, scope.options())
}

fn check(scope: &Scope, part: &str, at: impl FnOnce(route53::HealthCheckArgs) -> route53::HealthCheckArgs) {
    let name = scope.part(&HEALTH_CHECK, part);
    let args = route53::HealthCheckArgs::new(route53::HealthCheckRequired { r#type: "HTTPS".into() })
        .port(443)
        .resource_path(scope.config().application.health_path.as_str())
        .enable_sni(true)
        .request_interval(30)
        .failure_threshold(3)
        .tags(scope.tags(&name));
    // Asked by its address, a server still wants to hear the name: with both, Route 53 sends it as the Host.
    let args = at(args.fqdn(scope.config().traffic.domain.as_str()));
    route53::HealthCheck::new(scope.context(), &name, args, scope.options());
}

//! The link to on-premises: a VPN of our own, or a transit gateway that exists.

use std::net::Ipv4Addr;

use super::{Network, ids, route};
use crate::aws::{cloudwatch, ec2, ec2transitgateway};
use crate::config::Link;
use crate::keys::Keys;
use crate::names::{
    CUSTOMER_GATEWAY, ROUTE_PROPAGATION, TRANSIT_GATEWAY_ATTACHMENT, VPN_CONNECTION, VPN_GATEWAY, VPN_ROUTE,
};
use crate::pulumi::{Output, Setting};

/// Makes it; gives the VPN's connection, if it is one.
pub(super) fn new(network: &Network, keys: &Keys) -> Option<Output<String>> {
    match &network.scope.config().on_premises.link {
        Link::Vpn { gateway, bgp_asn, preshared_keys } => {
            Some(vpn(network, keys, *gateway, *bgp_asn, preshared_keys.as_ref()))
        }
        Link::TransitGateway { id } => {
            transit_gateway(network, id);
            None
        }
    }
}

fn transit_gateway(network: &Network, id: &str) {
    let scope = &network.scope;
    let name = scope.name(&TRANSIT_GATEWAY_ATTACHMENT);
    let required = ec2transitgateway::VpcAttachmentRequired {
        subnet_ids: ids(&network.private).into(),
        transit_gateway_id: id.into(),
        vpc_id: network.vpc.id().into(),
    };
    let args =
        ec2transitgateway::VpcAttachmentArgs::new(required).dns_support("enable").tags(scope.tags(&name));
    let attachment = ec2transitgateway::VpcAttachment::new(scope.context(), &name, args, scope.options());
    // A route to a gateway that the VPC is not attached to is refused.
    let through: Output<String> = attachment.transit_gateway_id();
    for (part, table) in network.route_tables() {
        for to in &scope.config().on_premises.networks {
            let part = format!("{part}-{}", to.to_string().replace('/', "-"));
            route(scope, table, &part, &to.to_string(), |it| it.transit_gateway_id(&through));
        }
    }
    scope.context().export("transitGatewayAttachmentId", attachment.id());
}

fn vpn(
    network: &Network,
    keys: &Keys,
    address: Ipv4Addr,
    bgp_asn: Option<u32>,
    preshared_keys: Option<&[Setting; 2]>,
) -> Output<String> {
    let scope = &network.scope;
    let name = scope.name(&CUSTOMER_GATEWAY);
    // Without BGP the number means nothing, and AWS wants one.
    let asn = bgp_asn.unwrap_or(65000).to_string();
    let required = ec2::CustomerGatewayRequired { r#type: "ipsec.1".into() };
    // From 2^31 on, AWS has another field for it.
    let args =
        ec2::CustomerGatewayArgs::new(required).ip_address(address.to_string()).tags(scope.tags(&name));
    let wide = bgp_asn.is_some_and(|it| it > 2_147_483_647);
    let args = if wide { args.bgp_asn_extended(asn) } else { args.bgp_asn(asn) };
    let theirs = ec2::CustomerGateway::new(scope.context(), &name, args, scope.options());

    let name = scope.name(&VPN_GATEWAY);
    let args =
        ec2::VpnGatewayArgs::new().vpc_id(network.vpc.id()).amazon_side_asn("64512").tags(scope.tags(&name));
    let ours = ec2::VpnGateway::new(scope.context(), &name, args, scope.options());
    for (part, table) in network.route_tables() {
        let args = ec2::VpnGatewayRoutePropagationArgs::new(ec2::VpnGatewayRoutePropagationRequired {
            route_table_id: table.id().into(),
            vpn_gateway_id: ours.id().into(),
        });
        let name = scope.part(&ROUTE_PROPAGATION, &part);
        ec2::VpnGatewayRoutePropagation::new(scope.context(), &name, args, scope.options());
    }

    let logs = scope.log_group("vpn", keys);
    let name = scope.name(&VPN_CONNECTION);
    let required =
        ec2::VpnConnectionRequired { customer_gateway_id: theirs.id().into(), r#type: "ipsec.1".into() };
    let args = ec2::VpnConnectionArgs::new(required)
        .vpn_gateway_id(ours.id())
        .static_routes_only(bgp_asn.is_none())
        .tags(scope.tags(&name));
    let args = strong(args, &logs);
    let args = match preshared_keys {
        None => args,
        Some([first, second]) => args.tunnel1_preshared_key(first).tunnel2_preshared_key(second),
    };
    let connection = ec2::VpnConnection::new(scope.context(), &name, args, scope.options());
    if bgp_asn.is_none() {
        for to in &scope.config().on_premises.networks {
            let args = ec2::VpnConnectionRouteArgs::new(ec2::VpnConnectionRouteRequired {
                destination_cidr_block: to.to_string().into(),
                vpn_connection_id: connection.id().into(),
            });
            let name = scope.part(&VPN_ROUTE, &to.to_string().replace('/', "-"));
            ec2::VpnConnectionRoute::new(scope.context(), &name, args, scope.options());
        }
    }
    scope.context().export("vpnConnectionId", connection.id());
    scope
        .context()
        .export("vpnTunnelAddresses", vec![connection.tunnel1_address(), connection.tunnel2_address()]);
    connection.id()
}

/// `IKEv2` with AES-256, SHA-2 and no old Diffie-Hellman group: AWS's own defaults still take SHA-1 and group 2.
fn strong(args: ec2::VpnConnectionArgs, logs: &cloudwatch::LogGroup) -> ec2::VpnConnectionArgs {
    let texts = |words: &[&str]| words.iter().map(|&it| it.to_owned()).collect::<Vec<String>>();
    let (versions, ciphers) = (texts(&["ikev2"]), texts(&["AES256", "AES256-GCM-16"]));
    let (hashes, groups) = (texts(&["SHA2-256", "SHA2-384", "SHA2-512"]), vec![14_i64, 19, 20, 21]);
    let first = ec2::types::VpnConnectionTunnel1LogOptionsCloudwatchLogOptions::new()
        .log_enabled(true)
        .log_group_arn(logs.arn())
        .log_output_format("json");
    let second = ec2::types::VpnConnectionTunnel2LogOptionsCloudwatchLogOptions::new()
        .log_enabled(true)
        .log_group_arn(logs.arn())
        .log_output_format("json");
    args.tunnel1_ike_versions(versions.clone())
        .tunnel2_ike_versions(versions)
        .tunnel1_phase1_encryption_algorithms(ciphers.clone())
        .tunnel1_phase2_encryption_algorithms(ciphers.clone())
        .tunnel2_phase1_encryption_algorithms(ciphers.clone())
        .tunnel2_phase2_encryption_algorithms(ciphers)
        .tunnel1_phase1_integrity_algorithms(hashes.clone())
        .tunnel1_phase2_integrity_algorithms(hashes.clone())
        .tunnel2_phase1_integrity_algorithms(hashes.clone())
        .tunnel2_phase2_integrity_algorithms(hashes)
        .tunnel1_phase1_dh_group_numbers(groups.clone())
        .tunnel1_phase2_dh_group_numbers(groups.clone())
        .tunnel2_phase1_dh_group_numbers(groups.clone())
        .tunnel2_phase2_dh_group_numbers(groups)
        .tunnel1_log_options(ec2::types::VpnConnectionTunnel1LogOptions::new().cloudwatch_log_options(first))
        .tunnel2_log_options(ec2::types::VpnConnectionTunnel2LogOptions::new().cloudwatch_log_options(second))
}

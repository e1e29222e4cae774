//! The keys that are addresses and networks.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::read::{Reader, quoted};
use super::{Link, OnPremises};

fn net(a: u8, b: u8, c: u8, d: u8, bits: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), bits)
}

/// A network, or one address.
pub(super) fn any(text: &str) -> Result<Ipv4Net, String> {
    let network = match text.parse::<Ipv4Addr>() {
        Ok(address) => Ipv4Net::from(address),
        Err(_) => text
            .parse()
            .map_err(|_| format!("has {}, which is no network such as 172.20.0.0/16", quoted(text)))?,
    };
    if network.trunc() != network {
        return Err(format!("has {text}, whose network is {}", network.trunc()));
    }
    Ok(network)
}

/// A network that can be on-premises.
fn on_premises_network(text: &str) -> Result<Ipv4Net, String> {
    let network = any(text)?;
    if network.prefix_len() < 8 {
        return Err(format!("has {network}, which is too much to be on-premises: /8 is the most"));
    }
    let never = [net(0, 0, 0, 0, 8), net(127, 0, 0, 0, 8), net(169, 254, 0, 0, 16), net(224, 0, 0, 0, 3)];
    match never.iter().find(|it| overlap(**it, network)) {
        Some(never) => Err(format!("has {network}, and nothing can be routed to {never}")),
        None => Ok(network),
    }
}

/// The VPC's own network.
pub(super) fn vpc(text: &str) -> Result<Ipv4Net, String> {
    let network = any(text)?;
    if !(16..=20).contains(&network.prefix_len()) {
        return Err("is not from /16 to /20: its subnets are a sixteenth each".to_owned());
    }
    let private = [net(10, 0, 0, 0, 8), net(172, 16, 0, 0, 12), net(192, 168, 0, 0, 16)];
    if !private.iter().any(|it| it.contains(&network)) {
        return Err("is no private network".to_owned());
    }
    if overlap(network, net(172, 17, 0, 0, 16)) {
        return Err("overlaps 172.17.0.0/16, which Docker has on many hosts".to_owned());
    }
    Ok(network)
}

pub(super) fn overlap(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b) || b.contains(&a)
}

/// A list: `a,b`, or the JSON that Pulumi makes of a list in the stack's file. None may be in another.
pub(super) fn list(
    text: &str,
    most: usize,
    parse: impl Fn(&str) -> Result<Ipv4Net, String>,
) -> Result<Vec<Ipv4Net>, String> {
    let items: Vec<String> = if text.starts_with('[') {
        serde_json::from_str(text).map_err(|_| "is no list of texts".to_owned())?
    } else {
        text.split(',').map(|it| it.trim().to_owned()).collect()
    };
    if items.is_empty() || items.len() > most {
        return Err(format!("has {} entries, and 1 to {most} are possible", items.len()));
    }
    let mut networks: Vec<Ipv4Net> = Vec::new();
    for item in items {
        let network = parse(&item)?;
        if let Some(other) = networks.iter().find(|it| overlap(**it, network)) {
            return Err(format!("has both {other} and {network}, which overlap"));
        }
        networks.push(network);
    }
    Ok(networks)
}

pub(super) fn on_premises(reader: &mut Reader, vpc: Option<Ipv4Net>) -> Option<OnPremises> {
    let link = link(reader);
    let networks = reader.get("onPremisesNetworks", |text| list(text, 20, on_premises_network));
    let databases = reader.get("onPremisesDatabases", |text| list(text, 10, on_premises_network));
    let applications = reader.get("onPremisesApplications", |text| list(text, 20, on_premises_network));
    let administrators = reader.get("onPremisesAdministrators", |text| list(text, 10, on_premises_network));
    if let (Some(vpc), Some(networks)) = (vpc, &networks)
        && let Some(network) = networks.iter().find(|it| overlap(**it, vpc))
    {
        let why =
            format!("overlaps {network} of onPremisesNetworks, so that addresses there could not be reached");
        reader.refuse("vpcCidr", &format!("{vpc} {why}"), false);
    }
    for (key, parts) in [
        ("onPremisesDatabases", &databases),
        ("onPremisesApplications", &applications),
        ("onPremisesAdministrators", &administrators),
    ] {
        let (Some(parts), Some(networks)) = (parts, &networks) else { continue };
        if let Some(outside) = parts.iter().find(|part| !networks.iter().any(|it| it.contains(*part))) {
            let why = format!(
                "has {outside}, which is in none of onPremisesNetworks, so that nothing is routed to it"
            );
            reader.refuse(key, &why, false);
        }
    }
    Some(OnPremises {
        link: link?,
        networks: networks?,
        databases: databases?,
        applications: applications?,
        administrators: administrators?,
    })
}

fn link(reader: &mut Reader) -> Option<Link> {
    let vpn = reader.get("onPremisesLink", |text| match text {
        "vpn" => Ok(true),
        "transitGateway" => Ok(false),
        _ => Err("is neither vpn nor transitGateway".to_owned()),
    })?;
    let others: &[&str] = if vpn {
        &["transitGatewayId"]
    } else {
        &["onPremisesGatewayAddress", "onPremisesBgpAsn", "vpnPresharedKey1", "vpnPresharedKey2"]
    };
    for name in others {
        if reader.setting(name).is_some() {
            reader.refuse(name, "is set, but onPremisesLink says otherwise", false);
        }
    }
    if !vpn {
        let id = reader.get("transitGatewayId", |text| {
            let hex = text.strip_prefix("tgw-").unwrap_or_default();
            let good = [8, 17].contains(&hex.len()) && hex.bytes().all(|it| it.is_ascii_hexdigit());
            if good { Ok(text.to_owned()) } else { Err("is no transit gateway's id".to_owned()) }
        });
        return id.map(|id| Link::TransitGateway { id });
    }
    let gateway = reader.get("onPremisesGatewayAddress", |text| {
        let address: Ipv4Addr = text.parse().map_err(|_| "is no IPv4 address".to_owned())?;
        if public(address) {
            Ok(address)
        } else {
            Err("is no public address, and AWS reaches the gateway over the internet".to_owned())
        }
    });
    // AWS's side is AS 64512.
    let bgp_asn = reader.optional("onPremisesBgpAsn", |text| match super::number(text, 1, 4_294_967_294)? {
        64512 => Err("is the AS of AWS's side".to_owned()),
        asn => Ok(asn),
    });
    let keys = preshared_keys(reader);
    Some(Link::Vpn { gateway: gateway?, bgp_asn, preshared_keys: keys })
}

pub(super) fn public(address: Ipv4Addr) -> bool {
    let shared = net(100, 64, 0, 0, 10).contains(&address);
    let unroutable = net(0, 0, 0, 0, 8).contains(&address) || net(224, 0, 0, 0, 3).contains(&address);
    !(address.is_private() || address.is_loopback() || address.is_link_local() || shared || unroutable)
}

fn preshared_keys(reader: &mut Reader) -> Option<[crate::pulumi::Setting; 2]> {
    let names = ["vpnPresharedKey1", "vpnPresharedKey2"];
    let keys = names.map(|name| reader.setting(name).cloned());
    if let [None, None] = keys {
        return None;
    }
    for (name, key) in names.iter().zip(&keys) {
        let why = match key {
            None => "is not set, but the other one is",
            Some(key) if !key.secret => "is in the stack's file in clear text: set it with --secret",
            Some(key) if !well_formed(&key.text) => {
                "is not 8 to 64 letters, digits, dots and underscores that begin with no 0"
            }
            Some(_) => continue,
        };
        reader.refuse(name, why, false);
    }
    let [Some(first), Some(second)] = keys else { return None };
    if first.text == second.text {
        reader.refuse(names[1], "is the same as the first", false);
    }
    Some([first, second])
}

fn well_formed(key: &str) -> bool {
    let plain = |it: u8| it.is_ascii_alphanumeric() || it == b'.' || it == b'_';
    (8..=64).contains(&key.len()) && key.bytes().all(plain) && !key.starts_with('0')
}

//! docs/infrastructure.svg: the parties, where they stand and who connects to whom, drawn from what is registered. Where on
//! the page a party is, is said here; everything else comes from the record.
//!
//! `UPDATE_PICTURE=1 cargo test -p slipway-infra picture` draws it anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use slipway_infra::flows::{FLOWS, Flow, Party, Port};
use slipway_infra::pulumi::{Registration, Value};

use crate::mock::{Record, build, config};

const WIDTH: i32 = 200;
const HEIGHT: i32 = 64;
/// How far a line goes straight at first, beneath its port.
const STRAIGHT: i32 = 34;

/// Left upper corner and colour. Calls to AWS's own APIs are told by a mark instead of lines.
fn place(party: Party) -> Option<(i32, i32, &'static str)> {
    Some(match party {
        Party::Clients => (40, 120, "#6b7280"),
        Party::OnPremisesApplication => (40, 300, "#b45309"),
        Party::OnPremisesDatabase => (40, 440, "#92400e"),
        Party::OnPremisesAdministrators => (40, 640, "#6b7280"),
        Party::LoadBalancer => (400, 120, "#7c3aed"),
        Party::Application => (680, 270, "#2563eb"),
        Party::Replication => (680, 440, "#047857"),
        Party::Control => (720, 600, "#be185d"),
        Party::ControlPlane => (380, 640, "#9d174d"),
        Party::Database => (1000, 380, "#1e3a8a"),
        Party::Endpoints | Party::Internet | Party::Staging | Party::Test => return None,
    })
}

/// What of the record is in the party's group: names without the suffix.
fn members(record: &Record, party: Party) -> Vec<String> {
    let id = format!("\"id<security-group-{}-dev>\"", party.word());
    let inside = |it: &&Registration| {
        !it.kind.contains("ecurityGroup") && it.inputs.values().any(|it| format!("{it:?}").contains(&id))
    };
    record.resources().filter(inside).map(|it| it.name.trim_end_matches("-dev").to_owned()).collect()
}

/// Flows that really have a rule.
fn recorded(record: &Record) -> Vec<Flow> {
    let mut named = BTreeSet::new();
    for rule in record.resources().filter(|it| it.kind.starts_with("aws:vpc/securityGroup")) {
        if let Value::Map(tags) = &rule.inputs["tags"]
            && let Value::Text(flow) = &tags["slipway.dev/flow"]
        {
            named.insert(flow.clone());
        }
    }
    FLOWS.into_iter().filter(|it| named.contains(&it.name())).collect()
}

fn frame(svg: &mut String, x: i32, y: i32, width: i32, height: i32, title: &str) {
    writeln!(
        svg,
        r##"<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="10" fill="#f8fafc" stroke="#94a3b8"/><text x="{}" y="{}" class="frame">{title}</text>"##,
        x + 12,
        y + 22
    )
    .unwrap();
}

/// A line from one party to another, with its port at its beginning. Lines of one party leave it one below the other, and
/// arrive likewise; this one is the `nth` of the one and the `to_nth` of the other.
fn line(svg: &mut String, flow: &Flow, port: u16, nth: i32, to_nth: i32) {
    let (Some((x1, y1, colour)), Some((x2, y2, _))) = (place(flow.from), place(flow.to)) else { return };
    let right = x2 > x1;
    let (from_y, to_y) = if right { (y1 + 12, y2 + 10) } else { (y1 + 34, y2 + 26) };
    let (from_y, to_y) = (from_y + nth * 13, to_y + to_nth * 12);
    let (from_x, to_x) = if right { (x1 + WIDTH, x2 - 4) } else { (x1, x2 + WIDTH + 4) };
    let curve_x = if right { from_x + STRAIGHT } else { from_x - STRAIGHT };
    let middle = i32::midpoint(curve_x, to_x);
    writeln!(
        svg,
        r#"<path d="M{from_x} {from_y} H{curve_x} C{middle} {from_y} {middle} {to_y} {to_x} {to_y}" fill="none" stroke="{colour}" stroke-width="1.6" marker-end="url(#end)"/><text x="{}" y="{}" class="port" fill="{colour}"{}>{port}</text>"#,
        if right { from_x + 5 } else { from_x - 5 },
        from_y - 3,
        if right { "" } else { r#" text-anchor="end""# },
    )
    .unwrap();
}

/// What a component has that is not in the network: how many of which.
fn summary(record: &Record, component: &str) -> String {
    const SHOWN: [(&str, &str); 20] = [
        (":Subnet", "subnets"),
        (":RouteTable", "route tables"),
        (":SecurityGroup", "security groups"),
        ("Rule", "rules"),
        (":Key", "keys"),
        (":LogGroup", "log groups"),
        (":Secret", "secrets"),
        (":Bucket", "buckets"),
        (":Repository", "image repositories"),
        (":Service", "services"),
        (":WebAcl", "web ACLs"),
        (":TargetGroup", "target groups"),
        (":Zone", "zones"),
        (":HealthCheck", "health checks"),
        (":Addon", "addons"),
        (":MetricAlarm", "alarms"),
        (":Topic", "topics"),
        (":Trail", "trails"),
        (":Dashboard", "dashboards"),
        (":Role", "roles"),
    ];
    let own = || record.resources().filter(|it| it.parent.contains(&format!("slipway:infra:{component}::")));
    let mut parts = Vec::new();
    for (kind, word) in SHOWN {
        let count = own().filter(|it| it.kind.ends_with(kind)).count();
        let word = if count == 1 {
            word.strip_suffix("ies").map_or(word.trim_end_matches('s').to_owned(), |it| format!("{it}y"))
        } else {
            word.to_owned()
        };
        if count > 0 {
            parts.push(format!("{count} {word}"));
        }
    }
    format!("{component} ({} resources): {}", own().count(), parts.join(", "))
}

fn draw(record: &Record) -> String {
    let mut svg = String::from(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1260 960" font-family="sans-serif">
<style>.frame{font-size:14px;fill:#475569;font-weight:bold}.name{font-size:13px;font-weight:bold;fill:#fff}.in{font-size:11px;fill:#fff}.port{font-size:10px}.small{font-size:12px;fill:#334155}</style>
<defs><marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="#334155"/></marker></defs>
<rect width="1260" height="960" fill="#fff"/>
"##,
    );
    let subnets =
        |word: &str| record.resources().filter(|it| it.name.starts_with(&format!("subnet-{word}"))).count();
    let nats = record.of_kind("aws:ec2/natGateway:NatGateway").len();
    frame(&mut svg, 20, 80, 270, 120, "Internet");
    frame(&mut svg, 20, 250, 270, 470, "On-premises");
    frame(&mut svg, 340, 40, 900, 690, "VPC");
    frame(
        &mut svg,
        360,
        80,
        860,
        120,
        &format!("{} public subnets, with {nats} NAT gateway", subnets("public")),
    );
    frame(&mut svg, 360, 230, 860, 480, &format!("{} private subnets", subnets("private")));
    let flows = recorded(record);
    // From above to below, as they arrive.
    let placed = |it: &&Flow| it.from != it.to && place(it.from).is_some() && place(it.to).is_some();
    let mut lines: Vec<&Flow> = flows.iter().filter(placed).collect();
    lines.sort_by_key(|it| place(it.from).map(|(x, y, _)| (y, x)));
    let (mut left, mut arrived) = (BTreeMap::new(), BTreeMap::new());
    for flow in lines {
        let (nth, to_nth) = (left.entry(flow.from).or_default(), arrived.entry(flow.to).or_default());
        line(&mut svg, flow, flow.port.number(&config(&[])), *nth, *to_nth);
        *nth += 1;
        *to_nth += 1;
    }
    let parties: BTreeSet<Party> = flows.iter().flat_map(|it| [it.from, it.to]).collect();
    for party in parties {
        let Some((x, y, colour)) = place(party) else { continue };
        let members = members(record, party).join(", ");
        let out =
            flows.iter().any(|it| it.from == party && it.to == Party::Internet && it.port == Port::Https);
        let out = if out { "calls AWS, 443 ↗" } else { "" };
        writeln!(
            svg,
            r#"<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="{colour}"/><text x="{}" y="{}" class="name">{}</text><text x="{}" y="{}" class="in">{members}</text><text x="{}" y="{}" class="in">{out}</text>"#,
            x + 10, y + 20, party.word().trim_start_matches("on-premises-"), x + 10, y + 38, x + 10, y + 55,
        )
        .unwrap();
    }
    for (index, component) in [
        "keys",
        "network",
        "security",
        "database",
        "migration",
        "application",
        "traffic",
        "control",
        "observability",
    ]
    .iter()
    .enumerate()
    {
        let y = 765 + 20 * i32::try_from(index).unwrap();
        writeln!(svg, r#"<text x="30" y="{y}" class="small">{}</text>"#, summary(record, component)).unwrap();
    }
    svg.push_str("</svg>\n");
    svg
}

#[test]
fn the_picture_in_the_documentation_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/infrastructure.svg");
    // As in "Run it": one network, database and fleet on-premises.
    let drawn =
        draw(&build(&[("onPremisesNetworks", "172.20.0.0/16"), ("onPremisesDatabases", "172.20.1.10")]));
    if std::env::var_os("UPDATE_PICTURE").is_some() {
        std::fs::write(path, &drawn).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == drawn,
        "docs/infrastructure.svg is stale: UPDATE_PICTURE=1 cargo test -p slipway-infra picture"
    );
}

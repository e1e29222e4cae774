//! Route 53: paths and XML in, XML out.

use hyper::http::request::Parts;

use super::xml::{Element, maybe, tag, text};
use crate::world::route53::{
    Action, Alias, Answer, Call, ChangeBatch, ChangeInfo, CheckConfig, CreateHealthCheck, HealthCheck, List,
    Page, RecordSet, Reply, Routing, Wanted, ZoneInfo,
};
use crate::world::{self, Refusal};

const SPACE: &str = "https://route53.amazonaws.com/doc/2013-04-01/";

/// A request as an operation and a call; none if it is not for Route 53.
pub(super) fn decode(parts: &Parts, body: &[u8]) -> Option<(String, Result<world::Call, Refusal>)> {
    let path = parts.uri.path().strip_prefix("/2013-04-01/")?;
    let segments: Vec<&str> = path.trim_end_matches('/').split('/').collect();
    let (operation, call) = match (parts.method.as_str(), segments.as_slice()) {
        ("GET", ["hostedzone", id]) => ("GetHostedZone", Ok(Call::GetHostedZone { id: (*id).to_owned() })),
        ("GET", ["hostedzone", id, "rrset"]) => {
            let call = list(id, parts.uri.query().unwrap_or_default());
            ("ListResourceRecordSets", call.map(Call::ListResourceRecordSets))
        }
        ("POST", ["hostedzone", id, "rrset"]) => {
            ("ChangeResourceRecordSets", changes(id, body).map(Call::ChangeResourceRecordSets))
        }
        ("GET", ["change", id]) => ("GetChange", Ok(Call::GetChange { id: (*id).to_owned() })),
        ("POST", ["healthcheck"]) => ("CreateHealthCheck", check(body).map(Call::CreateHealthCheck)),
        ("GET", ["healthcheck", id]) => ("GetHealthCheck", Ok(Call::GetHealthCheck { id: (*id).to_owned() })),
        ("GET", ["healthcheck", id, "status"]) => {
            ("GetHealthCheckStatus", Ok(Call::GetHealthCheckStatus { id: (*id).to_owned() }))
        }
        ("DELETE", ["healthcheck", id]) => {
            ("DeleteHealthCheck", Ok(Call::DeleteHealthCheck { id: (*id).to_owned() }))
        }
        (method, _) => {
            let what = format!("route53:{method} {path}");
            let refusal = Refusal::not_modelled(&what);
            return Some((what, Err(refusal)));
        }
    };
    Some((format!("route53:{operation}"), call.map(world::Call::Route53)))
}

fn list(zone_id: &str, query: &str) -> Result<List, Refusal> {
    let mut list = List { zone_id: zone_id.to_owned(), ..List::default() };
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let value = value.into_owned();
        match name.as_ref() {
            "name" => list.name = Some(value),
            "type" => list.kind = Some(value),
            "identifier" => list.identifier = Some(value),
            "maxitems" => {
                let number = value.parse().map_err(|_| {
                    Refusal::new("InvalidInput", format!("MaxItems {value:?} is not a number"))
                })?;
                list.max_items = Some(number);
            }
            other => return Err(Refusal::not_modelled(format!("the parameter {other} of a listing"))),
        }
    }
    Ok(list)
}

fn changes(zone_id: &str, body: &[u8]) -> Result<ChangeBatch, Refusal> {
    let mut root = Element::read(body)?;
    let mut batch = root.take("ChangeBatch").ok_or_else(|| missing("ChangeBatch"))?;
    root.end()?;
    let comment = batch.text("Comment");
    let changes = batch.take("Changes").ok_or_else(|| missing("Changes"))?.all("Change")?;
    batch.end()?;
    let change = |mut change: Element| {
        let action = Action::parse(&change.needed("Action")?)?;
        let set = change.take("ResourceRecordSet").ok_or_else(|| missing("ResourceRecordSet"))?;
        change.end()?;
        Ok((action, record_set(set)?))
    };
    let changes = changes.into_iter().map(change).collect::<Result<_, Refusal>>()?;
    Ok(ChangeBatch { zone_id: zone_id.to_owned(), comment, changes })
}

fn missing(name: &str) -> Refusal {
    Refusal::new("InvalidInput", format!("Invalid request: Missing field '{name}'"))
}

fn record_set(mut set: Element) -> Result<Wanted, Refusal> {
    let routing = ["Region", "Failover", "MultiValueAnswer"];
    let mut other_routing = None;
    for field in routing {
        if let Some(value) = set.text(field) {
            other_routing = Some((field.to_owned(), value));
        }
    }
    let alias = match set.take("AliasTarget") {
        None => None,
        Some(mut alias) => {
            let target = Alias {
                hosted_zone_id: alias.needed("HostedZoneId")?,
                dns_name: alias.needed("DNSName")?,
                evaluate_target_health: alias.flag("EvaluateTargetHealth")?,
            };
            alias.end()?;
            Some(target)
        }
    };
    let records = set.take("ResourceRecords").map_or(Ok(Vec::new()), |all| all.all("ResourceRecord"))?;
    let value = |mut record: Element| {
        let value = record.needed("Value")?;
        record.end().map(|()| value)
    };
    let wanted = Wanted {
        name: set.needed("Name")?,
        kind: set.needed("Type")?,
        set_identifier: set.text("SetIdentifier"),
        weight: set.number("Weight")?,
        other_routing,
        ttl: set.number("TTL")?,
        values: records.into_iter().map(value).collect::<Result<_, Refusal>>()?,
        alias,
        health_check: set.text("HealthCheckId"),
    };
    set.end()?;
    Ok(wanted)
}

fn check(body: &[u8]) -> Result<CreateHealthCheck, Refusal> {
    let mut root = Element::read(body)?;
    let caller_reference = root.needed("CallerReference")?;
    let mut config = root.take("HealthCheckConfig").ok_or_else(|| missing("HealthCheckConfig"))?;
    root.end()?;
    let alarm_name = match config.take("AlarmIdentifier") {
        None => None,
        Some(mut alarm) => {
            // Alarms of other regions are not known here.
            let _region = alarm.needed("Region")?;
            Some(alarm.needed("Name")?)
        }
    };
    let wanted = CheckConfig {
        kind: config.needed("Type")?,
        ip_address: config.text("IPAddress"),
        port: config.number("Port")?,
        resource_path: config.text("ResourcePath"),
        fully_qualified_domain_name: config.text("FullyQualifiedDomainName"),
        request_interval: config.number("RequestInterval")?.unwrap_or(30),
        failure_threshold: config.number("FailureThreshold")?.unwrap_or(3),
        alarm_name,
        insufficient_data_health_status: config.text("InsufficientDataHealthStatus"),
        inverted: config.flag("Inverted")?,
        disabled: config.flag("Disabled")?,
    };
    config.end()?;
    Ok(CreateHealthCheck { caller_reference, config: wanted })
}

/// A reply or an error as a document. `bare` lets `InvalidChangeBatch` come without the wrapping of other errors.
pub(super) fn encode(
    operation: &str,
    result: Result<world::Reply, Refusal>,
    request_id: &str,
    bare: bool,
) -> String {
    let action = operation.split_once(':').map_or(operation, |(_, action)| action);
    let inner = match result {
        Ok(world::Reply::Route53(reply)) => content(reply),
        Ok(other) => {
            return error("InternalFailure", &format!("not an answer of {operation}: {other:?}"), request_id);
        }
        Err(Refusal { code: "InvalidChangeBatch", message, .. }) if bare => {
            let messages = tag("Messages", &text("Message", message.trim_matches(['[', ']'])));
            let id = text("RequestId", request_id);
            return format!("<InvalidChangeBatch xmlns=\"{SPACE}\">{messages}{id}</InvalidChangeBatch>");
        }
        Err(refusal) => return error(refusal.code, &refusal.message, request_id),
    };
    format!("<?xml version=\"1.0\"?>\n<{action}Response xmlns=\"{SPACE}\">{inner}</{action}Response>")
}

fn error(code: &str, message: &str, request_id: &str) -> String {
    let kind = if code == "InternalFailure" { "Receiver" } else { "Sender" };
    let fields = text("Type", kind) + &text("Code", code) + &text("Message", message);
    let inner = tag("Error", &fields) + &text("RequestId", request_id);
    format!("<?xml version=\"1.0\"?>\n<ErrorResponse xmlns=\"{SPACE}\">{inner}</ErrorResponse>")
}

fn content(reply: Reply) -> String {
    match reply {
        Reply::Zone(ZoneInfo { id, name, private, records }) => {
            let config = tag("Config", &text("PrivateZone", &private.to_string()));
            let zone = [
                text("Id", &format!("/hostedzone/{id}")),
                text("Name", &name),
                text("CallerReference", "5a1d"),
                config,
                text("ResourceRecordSetCount", &records.to_string()),
            ];
            let servers =
                text("NameServer", "ns-1.awsdns-01.org") + &text("NameServer", "ns-2.awsdns-02.com");
            let delegation = tag("DelegationSet", &tag("NameServers", &servers));
            tag("HostedZone", &zone.concat()) + if private { "" } else { &delegation }
        }
        Reply::Records(Page { records, next, max_items }) => {
            let all: String = records.iter().map(record).collect();
            let next_one = next.as_ref().map(|next| {
                text("NextRecordName", &next.name)
                    + &text("NextRecordType", &next.kind)
                    + &maybe("NextRecordIdentifier", next.set_identifier())
            });
            tag("ResourceRecordSets", &all)
                + &text("IsTruncated", &next.is_some().to_string())
                + &next_one.unwrap_or_default()
                + &text("MaxItems", &max_items.to_string())
        }
        Reply::Change(ChangeInfo { id, in_sync, submitted, comment }) => {
            let fields = text("Id", &format!("/change/{id}"))
                + &text("Status", if in_sync { "INSYNC" } else { "PENDING" })
                + &text("SubmittedAt", &submitted.to_string())
                + &maybe("Comment", comment.as_deref());
            tag("ChangeInfo", &fields)
        }
        Reply::HealthCheck { check, .. } => tag("HealthCheck", &health_check(&check)),
        Reply::HealthCheckStatus { healthy, at } => {
            let status =
                if healthy { "Success: HTTP Status Code 200, OK" } else { "Failure: Connection refused" };
            let report =
                tag("StatusReport", &(text("Status", status) + &text("CheckedTime", &at.to_string())));
            let one = text("Region", "us-east-1") + &text("IPAddress", "192.0.2.1") + &report;
            tag("HealthCheckObservations", &tag("HealthCheckObservation", &one))
        }
        Reply::Done => String::new(),
    }
}

fn record(set: &RecordSet) -> String {
    let RecordSet { name, kind, routing, answer, health_check } = set;
    let routing = match routing {
        Routing::Simple => String::new(),
        Routing::Weighted { set_identifier, weight } => {
            text("SetIdentifier", set_identifier) + &text("Weight", &weight.to_string())
        }
        Routing::Other { set_identifier, field, value } => {
            text("SetIdentifier", set_identifier) + &text(field, value)
        }
    };
    let answer = match answer {
        Answer::Values { ttl, values } => {
            let values: String =
                values.iter().map(|value| tag("ResourceRecord", &text("Value", value))).collect();
            text("TTL", &ttl.to_string()) + &tag("ResourceRecords", &values)
        }
        Answer::Alias(Alias { hosted_zone_id, dns_name, evaluate_target_health }) => {
            let fields = text("HostedZoneId", hosted_zone_id)
                + &text("DNSName", dns_name)
                + &text("EvaluateTargetHealth", &evaluate_target_health.to_string());
            tag("AliasTarget", &fields)
        }
    };
    let fields = text("Name", name)
        + &text("Type", kind)
        + &routing
        + &answer
        + &maybe("HealthCheckId", health_check.as_deref());
    tag("ResourceRecordSet", &fields)
}

fn health_check(check: &HealthCheck) -> String {
    let HealthCheck { id, caller_reference, config, .. } = check;
    let alarm = config
        .alarm_name
        .as_ref()
        .map(|name| tag("AlarmIdentifier", &(text("Region", "us-east-1") + &text("Name", name))));
    let fields = maybe("IPAddress", config.ip_address.as_deref())
        + &maybe("Port", config.port.map(|port| port.to_string()).as_deref())
        + &text("Type", &config.kind)
        + &maybe("ResourcePath", config.resource_path.as_deref())
        + &maybe("FullyQualifiedDomainName", config.fully_qualified_domain_name.as_deref())
        + &text("RequestInterval", &config.request_interval.to_string())
        + &text("FailureThreshold", &config.failure_threshold.to_string())
        + &text("Inverted", &config.inverted.to_string())
        + &text("Disabled", &config.disabled.to_string())
        + &alarm.unwrap_or_default()
        + &maybe("InsufficientDataHealthStatus", config.insufficient_data_health_status.as_deref());
    text("Id", id)
        + &text("CallerReference", caller_reference)
        + &tag("HealthCheckConfig", &fields)
        + &text("HealthCheckVersion", "1")
}

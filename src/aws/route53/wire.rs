//! Record sets as Route 53 writes them, and ours.

use aws_sdk_route53::types::{self, AliasTarget, ChangeAction, ResourceRecord, ResourceRecordSet, RrType};

use super::{Answer, Change, RecordSet, Routing};

/// A name in lower case, without the last dot and without escapes that it can do without. Route 53 lists names with every
/// character but letters, digits, hyphens and underscores as `\ooo`, a wildcard as `\052`, and takes both (Route 53
/// developer guide, DNS domain name format). A dot or backslash within a label, and what can't be printed, stay escaped.
pub(super) fn plain(name: &str) -> String {
    let name = name.strip_suffix('.').unwrap_or(name);
    let mut plain = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        if let Some((decoded, len)) = escape(rest) {
            plain.push(decoded);
            rest = &rest[len..];
        } else {
            plain.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    plain.make_ascii_lowercase();
    plain
}

/// What the escape at the beginning of `text` stands for, and how long it is.
fn escape(text: &str) -> Option<(char, usize)> {
    let digits = text.strip_prefix('\\')?.get(..3)?;
    if !digits.bytes().all(|digit| matches!(digit, b'0'..=b'7')) {
        return None;
    }
    let byte = u8::from_str_radix(digits, 8).ok()?;
    (byte.is_ascii_graphic() && !matches!(byte, b'.' | b'\\')).then_some((char::from(byte), 4))
}

/// A record set as it is. What [`RecordSet`] has no words for is told as a routing that can't be written.
pub(super) fn read(seen: ResourceRecordSet) -> RecordSet {
    let routing = routing(&seen);
    let answer = match seen.alias_target {
        Some(alias) => Answer::Alias {
            zone_id: alias.hosted_zone_id,
            dns_name: plain(&alias.dns_name),
            evaluate_target_health: alias.evaluate_target_health,
        },
        None => Answer::Values {
            ttl: seen.ttl.and_then(|ttl| u32::try_from(ttl).ok()).unwrap_or_default(),
            values: seen
                .resource_records
                .unwrap_or_default()
                .into_iter()
                .map(|record| record.value)
                .collect(),
        },
    };
    RecordSet {
        name: plain(&seen.name),
        kind: seen.r#type.as_str().to_owned(),
        routing,
        answer,
        health_check: seen.health_check_id,
    }
}

fn routing(seen: &ResourceRecordSet) -> Routing {
    let others = [
        (seen.traffic_policy_instance_id.is_some(), "traffic policy"),
        (seen.region.is_some(), "latency"),
        (seen.geo_location.is_some(), "geolocation"),
        (seen.geo_proximity_location.is_some(), "geoproximity"),
        (seen.failover.is_some(), "failover"),
        (seen.multi_value_answer.is_some(), "multivalue"),
        (seen.cidr_routing_config.is_some(), "address"),
    ];
    if let Some((_, word)) = others.into_iter().find(|(is, _)| *is) {
        return Routing::Other(word.to_owned());
    }
    match (&seen.set_identifier, seen.weight) {
        (None, None) => Routing::Simple,
        (Some(set_identifier), Some(weight)) => match u8::try_from(weight) {
            Ok(weight) => Routing::Weighted { set_identifier: set_identifier.clone(), weight },
            Err(_) => Routing::Other(format!("weight {weight}")),
        },
        (_, _) => Routing::Other("unknown".to_owned()),
    }
}

/// A change as Route 53 takes it, or why it can't be said.
pub(super) fn write(change: &Change) -> Result<types::Change, String> {
    let action = match change {
        Change::Create(_) => ChangeAction::Create,
        Change::Upsert(_) => ChangeAction::Upsert,
        Change::Delete(_) => ChangeAction::Delete,
    };
    let record = change.record();
    let whole = |_| format!("the record set {} {} is not whole", record.kind, record.name);
    types::Change::builder().action(action).resource_record_set(record_set(record)?).build().map_err(whole)
}

fn record_set(record: &RecordSet) -> Result<ResourceRecordSet, String> {
    let whole = |_| format!("the record set {} {} is not whole", record.kind, record.name);
    let set = ResourceRecordSet::builder()
        .name(&record.name)
        .r#type(RrType::from(record.kind.as_str()))
        .set_health_check_id(record.health_check.clone());
    let set = match &record.routing {
        Routing::Simple => set,
        Routing::Weighted { set_identifier, weight } => {
            set.set_identifier(set_identifier).weight(i64::from(*weight))
        }
        Routing::Other(word) => {
            return Err(format!("the record set {} {} is routed by {word}", record.kind, record.name));
        }
    };
    let set = match &record.answer {
        Answer::Values { ttl, values } => {
            let values = values.iter().map(|value| ResourceRecord::builder().value(value).build());
            let values = values.collect::<Result<Vec<_>, _>>().map_err(whole)?;
            set.ttl(i64::from(*ttl)).set_resource_records(Some(values))
        }
        Answer::Alias { zone_id, dns_name, evaluate_target_health } => {
            let alias = AliasTarget::builder()
                .hosted_zone_id(zone_id)
                .dns_name(dns_name)
                .evaluate_target_health(*evaluate_target_health)
                .build()
                .map_err(whole)?;
            set.alias_target(alias)
        }
    };
    set.build().map_err(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_in_their_plain_form() {
        for (listed, expected) in [
            ("payments.bank.example.", "payments.bank.example"),
            ("Payments.BANK.example", "payments.bank.example"),
            ("\\052.bank.example.", "*.bank.example"),
            ("*.bank.example", "*.bank.example"),
            ("_sip._tcp.bank.example.", "_sip._tcp.bank.example"),
            ("a\\057b\\100c.bank.example.", "a/b@c.bank.example"),
            // Plain, these would be other names.
            ("a\\056b.bank.example.", "a\\056b.bank.example"),
            ("a\\134b.bank.example.", "a\\134b.bank.example"),
            ("a\\344b\\000.bank.example.", "a\\344b\\000.bank.example"),
            // No escapes of Route 53's.
            ("a\\9b.bank", "a\\9b.bank"),
            ("a\\05", "a\\05"),
            ("ä\\05ä.bank", "ä\\05ä.bank"),
            ("", ""),
        ] {
            assert_eq!(plain(listed), expected);
            assert_eq!(plain(expected), expected, "once more");
        }
    }
}

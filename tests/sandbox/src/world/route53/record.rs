//! Record sets: what they say, in which order they are listed, and what Route 53 refuses about one alone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use super::invalid_input;
use crate::world::Refusal;

/// One record set, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordSet {
    /// In lower case and with the last dot, other characters as `\052`.
    pub name: String,
    /// `A`, `CNAME`, `TXT` …
    pub kind: String,
    /// How Route 53 chooses among the sets of a name and type.
    pub routing: Routing,
    /// What it answers.
    pub answer: Answer,
    /// Only answered while this health check passes.
    pub health_check: Option<String>,
}

/// How Route 53 chooses among the sets of a name and type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Routing {
    /// The only one.
    Simple,
    /// By its share of the sum of all weights.
    Weighted {
        /// Tells the sets of a name apart.
        set_identifier: String,
        /// 0 to 255.
        weight: u8,
    },
    /// `Region`, `Failover` or `MultiValueAnswer`, kept and listed; the responder answers the first such set.
    Other {
        /// Tells the sets of a name apart.
        set_identifier: String,
        /// The API's field.
        field: String,
        /// Its value.
        value: String,
    },
}

/// What a record set answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Values of its own.
    Values {
        /// Seconds.
        ttl: u32,
        /// As the API writes them.
        values: Vec<String>,
    },
    /// Whatever another name answers.
    Alias(Alias),
}

/// `AliasTarget`
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct Alias {
    pub hosted_zone_id: String,
    pub dns_name: String,
    pub evaluate_target_health: bool,
}

/// `ResourceRecordSet` as a request has it, not yet checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct Wanted {
    pub name: String,
    pub kind: String,
    pub set_identifier: Option<String>,
    pub weight: Option<i64>,
    /// `Region`, `Failover` or `MultiValueAnswer`, and its value.
    pub other_routing: Option<(String, String)>,
    pub ttl: Option<i64>,
    pub values: Vec<String>,
    pub alias: Option<Alias>,
    pub health_check: Option<String>,
}

/// Where a record set stands in a listing: by name with its labels reversed, then by type, then by set identifier.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    labels: Vec<String>,
    /// The type.
    pub kind: String,
    /// Empty for a simple record.
    pub set_identifier: String,
}

/// The record sets of a zone.
pub(in crate::world) type Records = BTreeMap<Key, RecordSet>;

const KINDS: [&str; 12] =
    ["A", "AAAA", "CAA", "CNAME", "DS", "MX", "NAPTR", "NS", "PTR", "SOA", "SRV", "TXT"];

impl Key {
    /// For a listing that starts at a name, or at a name and type.
    pub fn new(name: &str, kind: &str, set_identifier: &str) -> Self {
        let labels = name.trim_end_matches('.').rsplit('.').map(str::to_owned).collect();
        Self { labels, kind: kind.to_owned(), set_identifier: set_identifier.to_owned() }
    }

    pub(super) fn same_name(&self, other: &Self) -> bool {
        self.labels == other.labels
    }
}

impl RecordSet {
    /// Where it stands.
    pub fn key(&self) -> Key {
        Key::new(&self.name, &self.kind, self.set_identifier().unwrap_or(""))
    }

    /// What tells it from others of its name and type; none for a simple one.
    pub fn set_identifier(&self) -> Option<&str> {
        match &self.routing {
            Routing::Simple => None,
            Routing::Weighted { set_identifier, .. } | Routing::Other { set_identifier, .. } => {
                Some(set_identifier)
            }
        }
    }

    /// Whether a deletion that says `other` means this one: every value must be the same, in whatever order.
    pub(super) fn is_said_by(&self, other: &Self) -> bool {
        let sorted = |set: &Self| {
            let mut set = set.clone();
            if let Answer::Values { values, .. } = &mut set.answer {
                values.sort();
            }
            set
        };
        sorted(self) == sorted(other)
    }
}

/// A name as Route 53 keeps and lists it.
pub(in crate::world) fn normal(name: &str) -> String {
    use std::fmt::Write as _;
    let mut normal = String::with_capacity(name.len() + 1);
    for byte in name.trim_end_matches('.').bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.\\".contains(&byte) {
            normal.push(char::from(byte.to_ascii_lowercase()));
        } else {
            // Writing to a string can't fail.
            let _ = write!(normal, "\\{byte:03o}");
        }
    }
    normal.push('.');
    normal
}

/// How Route 53 names a change in its complaints.
pub(super) fn in_change(action: &str, wanted: &Wanted) -> String {
    let set = wanted.set_identifier.as_deref().unwrap_or("null");
    format!("Change with [Action={action}, Name={}, Type={}, SetIdentifier={set}]", wanted.name, wanted.kind)
}

/// Parses one record set, or says what is wrong with it alone, in the words of `InvalidInput`.
pub(super) fn check(action: &str, wanted: &Wanted) -> Result<RecordSet, Refusal> {
    let refuse =
        |why: String| invalid_input(format!("Invalid request: {why} in {}", in_change(action, wanted)));
    let constraint = |field: &str, value: &str, rule: &str| {
        invalid_input(format!(
            "Value '{value}' at '{field}' failed to satisfy constraint: Member must {rule}"
        ))
    };
    if wanted.name.is_empty() || wanted.name.len() > 1024 {
        return Err(constraint("resourceRecordSet.name", &wanted.name, "have length from 1 to 1024"));
    }
    if !KINDS.contains(&wanted.kind.as_str()) {
        return Err(constraint(
            "resourceRecordSet.type",
            &wanted.kind,
            &format!("satisfy enum value set: {KINDS:?}"),
        ));
    }
    if let Some(set) = &wanted.set_identifier
        && !(1..=128).contains(&set.chars().count())
    {
        return Err(constraint("resourceRecordSet.setIdentifier", set, "have length from 1 to 128"));
    }
    let routing = routing(wanted, &refuse, &constraint)?;
    let answer = match (&wanted.alias, wanted.ttl, wanted.values.as_slice()) {
        (Some(alias), None, []) => {
            Answer::Alias(Alias { dns_name: normal(&alias.dns_name), ..alias.clone() })
        }
        (None, Some(ttl), [_, ..]) => {
            let ttl = u32::try_from(ttl).ok().filter(|ttl| *ttl <= 0x7fff_ffff).ok_or_else(|| {
                constraint("resourceRecordSet.tTL", &ttl.to_string(), "be between 0 and 2147483647")
            })?;
            Answer::Values { ttl, values: wanted.values.clone() }
        }
        (alias, ..) => {
            let found = if alias.is_some() { "more than one" } else { "none" };
            return Err(refuse(format!(
                "Expected exactly one of [AliasTarget, all of [TTL, and ResourceRecords], or \
                 TrafficPolicyInstanceId], but found {found}"
            )));
        }
    };
    Ok(RecordSet {
        name: normal(&wanted.name),
        kind: wanted.kind.clone(),
        routing,
        answer,
        health_check: wanted.health_check.clone(),
    })
}

fn routing(
    wanted: &Wanted,
    refuse: &dyn Fn(String) -> Refusal,
    constraint: &dyn Fn(&str, &str, &str) -> Refusal,
) -> Result<Routing, Refusal> {
    const ONE_OF: &str = "Expected exactly one of [Weight, Region, Failover, MultiValueAnswer, GeoLocation, \
                          GeoProximityLocation, or CidrRoutingConfig], but found";
    match (&wanted.set_identifier, wanted.weight, &wanted.other_routing) {
        (None, None, None) => Ok(Routing::Simple),
        (Some(_), None, None) => Err(refuse(format!("{ONE_OF} none"))),
        (_, Some(_), Some(_)) => Err(refuse(format!("{ONE_OF} more than one"))),
        (None, ..) => Err(refuse("Missing field 'SetIdentifier'".to_owned())),
        (Some(set_identifier), Some(weight), None) => {
            let weight = u8::try_from(weight).map_err(|_| {
                constraint("resourceRecordSet.weight", &weight.to_string(), "be between 0 and 255")
            })?;
            Ok(Routing::Weighted { set_identifier: set_identifier.clone(), weight })
        }
        (Some(set_identifier), None, Some((field, value))) => Ok(Routing::Other {
            set_identifier: set_identifier.clone(),
            field: field.clone(),
            value: value.clone(),
        }),
    }
}

/// What is wrong with the values, in the words of `InvalidChangeBatch`.
pub(super) fn faults(set: &RecordSet) -> Vec<String> {
    let Answer::Values { values, .. } = &set.answer else { return Vec::new() };
    let mut faults = Vec::new();
    let mut known = BTreeSet::new();
    for value in values {
        if !known.insert(value) {
            faults.push(format!("Duplicate Resource Record: '{value}'"));
        }
        let wrong = match set.kind.as_str() {
            "A" => value.parse::<Ipv4Addr>().is_err().then_some("ARRDATAIllegalIPv4Address"),
            "AAAA" => value.parse::<Ipv6Addr>().is_err().then_some("AAAARRDATAIllegalIPv6Address"),
            "CNAME" | "PTR" | "NS" => (!is_name(value)).then_some("DomainNameIllegal"),
            "TXT" => strings(value).is_none().then_some("InvalidCharacterString"),
            _ => None,
        };
        if let Some(word) = wrong {
            faults
                .push(format!("Invalid Resource Record: 'FATAL problem: {word} encountered with '{value}''"));
        }
    }
    let one_only = set.kind == "CNAME" || matches!(set.routing, Routing::Weighted { .. });
    if one_only && values.len() > 1 {
        faults.push(format!(
            "RRSet with DNS name {}, type {} may have only one resource record: it has {}",
            set.name,
            set.kind,
            values.len()
        ));
    }
    faults
}

fn is_name(value: &str) -> bool {
    let labels = value.trim_end_matches('.');
    !labels.is_empty()
        && labels.len() <= 253
        && labels.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_\\*".contains(&byte))
        })
}

/// The character strings of a TXT value: `"one" "two"`; none if it is not written like that, or one is longer than 255.
pub(super) fn strings(value: &str) -> Option<Vec<String>> {
    let mut strings = Vec::new();
    let mut rest = value.trim();
    while !rest.is_empty() {
        rest = rest.strip_prefix('"')?;
        let mut string = String::new();
        let mut characters = rest.char_indices();
        let end = loop {
            match characters.next()? {
                (at, '"') => break at + 1,
                (_, '\\') => string.push(characters.next()?.1),
                (_, other) => string.push(other),
            }
        };
        if string.len() > 255 {
            return None;
        }
        strings.push(string);
        rest = rest[end..].trim_start();
    }
    (!strings.is_empty()).then_some(strings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_in_lower_case_with_a_last_dot_and_escapes() {
        assert_eq!(normal("API.Bank.Example"), "api.bank.example.");
        assert_eq!(normal("*.bank.example."), "\\052.bank.example.");
        assert_eq!(normal("\\052.bank.example"), "\\052.bank.example.");
    }

    #[test]
    fn a_listing_goes_by_reversed_labels_then_type_then_identifier() {
        let key = Key::new;
        let sorted = [
            key("example.", "NS", ""),
            key("example.", "SOA", ""),
            key("a.example.", "A", "1"),
            key("a.example.", "A", "2"),
            key("z.a.example.", "A", ""),
            key("b.example.", "A", ""),
        ];
        assert!(sorted.is_sorted());
    }

    #[test]
    fn txt_values_are_one_or_more_quoted_strings() {
        assert_eq!(strings(r#""a" "b \"c\"""#), Some(vec!["a".to_owned(), "b \"c\"".to_owned()]));
        let long = format!("\"{}\"", "x".repeat(256));
        for bad in ["", "a", "\"a", "\"a\" b", long.as_str()] {
            assert_eq!(strings(bad), None, "{bad}");
        }
    }
}

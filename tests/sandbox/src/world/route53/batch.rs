//! `ChangeResourceRecordSets`: everything or nothing.
//!
//! | rule | source |
//! |---|---|
//! | a batch happens as a whole or not at all | API model of ChangeResourceRecordSets |
//! | CREATE of what exists, DELETE of what does not or with another value: `InvalidChangeBatch` | same |
//! | a name and type is simple or weighted, never both; identifiers differ; at most 100 in a group | API model of ResourceRecordSet |
//! | one value in a weighted record; the same TTL in all of a group that have one | same |
//! | no CNAME at the apex, nor beside another type | same |
//! | at most 1000 values and 32 000 characters in a batch, an UPSERT counting twice | developer guide, DNSLimitations |
//! | whether a conflict that a later change of the batch mends is one | unverified: it is here |

use super::record::{self, Records};
use super::{Answer, Key, RecordSet, Routing, Wanted, Zone, invalid_input};
use crate::world::{Refusal, World};

/// `ChangeResourceRecordSets`
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct ChangeBatch {
    pub zone_id: String,
    pub comment: Option<String>,
    pub changes: Vec<(Action, Wanted)>,
}

/// What is to become of a record set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the API's own words")]
pub enum Action {
    Create,
    Delete,
    Upsert,
}

impl Action {
    /// From the API's word.
    pub fn parse(word: &str) -> Result<Self, Refusal> {
        match word {
            "CREATE" => Ok(Self::Create),
            "DELETE" => Ok(Self::Delete),
            "UPSERT" => Ok(Self::Upsert),
            other => Err(invalid_input(format!("Action {other:?} is not CREATE, DELETE or UPSERT"))),
        }
    }

    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Delete => "DELETE",
            Self::Upsert => "UPSERT",
        }
    }
}

impl World {
    /// What the zone's records would be after a batch. Nothing is changed.
    pub(super) fn changed(&self, call: &ChangeBatch) -> Result<Records, Refusal> {
        let zone = self.route53.zone(&call.zone_id)?;
        if call.changes.is_empty() {
            return Err(invalid_input("The change batch has no changes"));
        }
        check_size(&call.changes)?;
        let mut records = zone.records.clone();
        let mut faults = Vec::new();
        let mut touched = Vec::new();
        for (action, wanted) in &call.changes {
            let set = record::check(action.as_str(), wanted)?;
            if let Some(id) = &set.health_check
                && *action != Action::Delete
            {
                self.route53.check(id)?;
            }
            faults.extend(record::faults(&set));
            faults.extend(zone.refuses(*action, &set));
            if *action != Action::Delete {
                faults.extend(self.alias_fault(&call.zone_id, &set, &records));
            }
            let key = set.key();
            touched.push(key.clone());
            if let Some(fault) = apply(&mut records, *action, set) {
                faults.push(fault);
            } else if *action != Action::Delete {
                faults.extend(conflicts(&records, &key, &zone.name));
            }
        }
        touched.sort();
        touched.dedup_by(|one, other| one.same_name(other) && one.kind == other.kind);
        faults.extend(touched.iter().filter_map(|key| group_fault(&records, key)));
        if faults.is_empty() {
            return Ok(records);
        }
        faults.dedup();
        Err(Refusal::new("InvalidChangeBatch", format!("[{}]", faults.join(", "))))
    }

    /// An alias must lead to something in the zone that it names, as far as this world knows that zone.
    fn alias_fault(&self, zone_id: &str, set: &RecordSet, records: &Records) -> Option<String> {
        let Answer::Alias(alias) = &set.answer else { return None };
        let says = |why: &str| {
            Some(format!(
                "Tried to create an alias that targets {}, type {} in zone {}, but {why}",
                alias.dns_name, set.kind, alias.hosted_zone_id
            ))
        };
        if alias.hosted_zone_id == zone_id {
            let there = records.values().any(|it| it.name == alias.dns_name && it.kind == set.kind);
            return (!there).then(|| says("that target was not found")).flatten();
        }
        match self.balancer_named(&alias.dns_name) {
            Some(balancer) if balancer.zone_id != alias.hosted_zone_id => {
                says("the alias target name does not lie within the target zone")
            }
            Some(_) if !["A", "AAAA"].contains(&set.kind.as_str()) => {
                says("that target has no records of this type")
            }
            _ => None,
        }
    }
}

impl Zone {
    fn refuses(&self, action: Action, set: &RecordSet) -> Option<String> {
        let RecordSet { name, kind, .. } = set;
        let zone = &self.name;
        let apex = name == zone;
        if !apex && !name.ends_with(&format!(".{zone}")) {
            return Some(format!("RRSet with DNS name {name} is not permitted in zone {zone}"));
        }
        if apex && kind == "CNAME" {
            return Some(format!(
                "RRSet of type CNAME with DNS name {name} is not permitted at apex in zone {zone}"
            ));
        }
        if apex && ["NS", "SOA"].contains(&kind.as_str()) && action == Action::Delete {
            return Some(format!(
                "A HostedZone must contain at least one {kind} record for the zone itself."
            ));
        }
        None
    }
}

fn shown(set: &RecordSet) -> String {
    let identifier = set.set_identifier().map(|set| format!(", set identifier='{set}'"));
    format!("[name='{}', type='{}'{}]", set.name, set.kind, identifier.unwrap_or_default())
}

fn apply(records: &mut Records, action: Action, set: RecordSet) -> Option<String> {
    let key = set.key();
    match (action, records.get(&key)) {
        (Action::Create, Some(_)) => {
            Some(format!("Tried to create resource record set {} but it already exists", shown(&set)))
        }
        (Action::Delete, None) => {
            Some(format!("Tried to delete resource record set {} but it was not found", shown(&set)))
        }
        (Action::Delete, Some(standing)) if !standing.is_said_by(&set) => Some(format!(
            "Tried to delete resource record set {} but the values provided do not match the current values",
            shown(&set)
        )),
        (Action::Delete, Some(_)) => {
            records.remove(&key);
            None
        }
        (Action::Create | Action::Upsert, _) => {
            records.insert(key, set);
            None
        }
    }
}

/// What a record that was just put beside the others must not be beside.
fn conflicts(records: &Records, key: &Key, zone: &str) -> Option<String> {
    let set = records.get(key)?;
    let others = || records.iter().filter(|(other, _)| other.same_name(key) && *other != key);
    let of_type = || others().filter(|(other, _)| other.kind == key.kind);
    let RecordSet { name, kind, .. } = set;
    if others().any(|(other, _)| other.kind != key.kind && (other.kind == "CNAME" || key.kind == "CNAME")) {
        return Some(format!(
            "RRSet of type {kind} with DNS name {name} is not permitted because a conflicting RRSet of type CNAME with \
             the same DNS name already exists in zone {zone}, or it is the CNAME beside others"
        ));
    }
    let policy = |set: &RecordSet| match &set.routing {
        Routing::Simple => "simple".to_owned(),
        Routing::Weighted { .. } => "weighted".to_owned(),
        Routing::Other { field, .. } => field.clone(),
    };
    let (_, other) = of_type().find(|(_, other)| policy(other) != policy(set))?;
    Some(format!(
        "RRSet with DNS name {name}, type {kind}, SetIdentifier {} cannot be created: a {} RRSet with the same name and \
         type exists, and this one is {}",
        set.set_identifier().unwrap_or("null"),
        policy(other),
        policy(set)
    ))
}

/// What the weighted records of one name and type must have in common.
fn group_fault(records: &Records, key: &Key) -> Option<String> {
    let group: Vec<&RecordSet> = records
        .iter()
        .filter(|(other, _)| other.same_name(key) && other.kind == key.kind)
        .map(|(_, set)| set)
        .filter(|set| matches!(set.routing, Routing::Weighted { .. }))
        .collect();
    let first = group.first()?;
    if group.len() > 100 {
        return Some(format!(
            "RRSet with DNS name {}, type {} has more than 100 weights",
            first.name, first.kind
        ));
    }
    let mut ttls: Vec<u32> = group
        .iter()
        .filter_map(|set| match set.answer {
            Answer::Values { ttl, .. } => Some(ttl),
            Answer::Alias(_) => None,
        })
        .collect();
    ttls.sort_unstable();
    ttls.dedup();
    (ttls.len() > 1).then(|| {
        format!(
            "RRSets with DNS name {}, type {} and weights must have the same TTL: they have {ttls:?}",
            first.name, first.kind
        )
    })
}

fn check_size(changes: &[(Action, Wanted)]) -> Result<(), Refusal> {
    let (mut values, mut characters) = (0, 0);
    for (action, wanted) in changes {
        let times = if *action == Action::Upsert { 2 } else { 1 };
        values += times * wanted.values.len().max(1);
        characters += times * wanted.values.iter().map(|value| value.chars().count()).sum::<usize>();
    }
    if values > 1000 || characters > 32_000 {
        return Err(Refusal::new(
            "InvalidChangeBatch",
            format!(
                "[The batch has {values} ResourceRecord elements and {characters} characters of values; it may have 1000 \
                 and 32000, each UPSERT counting twice]"
            ),
        ));
    }
    Ok(())
}

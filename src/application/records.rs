//! The records of the name: what is to stand there, what stands there and whose it is, and the one batch that leads from the
//! one to the other.

use std::collections::BTreeSet;

use crate::api::condition::Reason;
use crate::application::goal::{Goal, SourceGoal};
use crate::application::weights::{Share, weights};
use crate::aws::balancer::Balancer;
use crate::aws::route53::{Answer, Change, RecordSet, Routing, normal};
use crate::fault::Blocked;
use crate::marker::{Marker, Replaced};

/// The set identifier of the target's record.
pub const TARGET: &str = "slipway-target";

/// The set identifiers of the source's records.
fn identifiers(source: &SourceGoal) -> Vec<String> {
    match source {
        SourceGoal::Hostname(_) => vec!["slipway-source".to_owned()],
        SourceGoal::Addresses(addresses) => {
            (1..=addresses.len()).map(|number| format!("slipway-source-{number}")).collect()
        }
    }
}

/// The type of the records: it follows the source.
pub fn kind(source: &SourceGoal) -> &'static str {
    match source {
        SourceGoal::Addresses(_) => "A",
        SourceGoal::Hostname(_) => "CNAME",
    }
}

/// What stands at the name, as far as it matters here.
#[derive(Clone, Debug, PartialEq)]
pub enum Stands {
    /// Nothing that would be in the way.
    Free,
    /// One simple record, not ours.
    Simple(RecordSet),
    /// Our marker, and beside it what should be our records.
    Ours(Ours),
    /// Something that is left alone.
    Foreign(Blocked),
}

/// Our marker, and what stands beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct Ours {
    /// What the marker says.
    pub marker: Marker,
    /// The marker as it stands.
    pub marker_set: RecordSet,
    /// Every record of our type at the name, ours or not.
    pub sets: Vec<RecordSet>,
}

/// Reads what stands.
pub fn stands(goal: &Goal, records: &[RecordSet]) -> Stands {
    let (name, marker_name) = (&goal.record.name, goal.record.marker());
    let marker = records.iter().find(|set| set.name == marker_name && set.kind == "TXT");
    let at_name = records.iter().filter(|set| set.name == *name);
    if let Some(set) = marker {
        return match Marker::ours(set, &goal.migration, name, "spec.traffic.route53.name") {
            Ok(marker) => {
                let sets = at_name.filter(|set| set.kind == kind(&goal.source)).cloned().collect();
                Stands::Ours(Ours { marker, marker_set: set.clone(), sets })
            }
            Err(blocked) => Stands::Foreign(blocked),
        };
    }
    // A CNAME stands alone at its name; an A record suffers all others but a CNAME.
    let in_the_way: Vec<&RecordSet> = match kind(&goal.source) {
        "A" => at_name.filter(|set| matches!(set.kind.as_str(), "A" | "CNAME")).collect(),
        _ => at_name.collect(),
    };
    match in_the_way.as_slice() {
        [] => Stands::Free,
        [one] if one.routing == Routing::Simple && matches!(one.kind.as_str(), "A" | "CNAME") => {
            Stands::Simple((*one).clone())
        }
        [first, ..] => {
            let routing = match &first.routing {
                Routing::Simple => "simple",
                Routing::Weighted { .. } => "weighted",
                Routing::Other(word) => word.as_str(),
            };
            Stands::Foreign(Blocked::new(
                Reason::NotOurs,
                format_args!(
                    "{name} has a {routing} record of type {} that Slipway did not make",
                    first.kind
                ),
                "Remove it, or choose another spec.traffic.route53.name; only one simple record of type A or CNAME can be replaced",
            ))
        }
    }
}

/// Why a simple record can't be replaced, if it can't: to replace it must move no traffic.
pub fn in_the_way(goal: &Goal, set: &RecordSet) -> Option<Blocked> {
    let name = &goal.record.name;
    let conflict = |wrong: String, remedy: &str| Some(Blocked::new(Reason::RecordConflict, wrong, remedy));
    let Answer::Values { values, .. } = &set.answer else {
        return conflict(
            format!("{name} is an alias, so it does not lead to spec.source"),
            "Slipway replaces only a record that leads to the source; change the record, or choose another name",
        );
    };
    let (expected, field) = match &goal.source {
        SourceGoal::Addresses(addresses) => (addresses.clone(), "spec.source.ipv4Addresses"),
        SourceGoal::Hostname(host) => (vec![host.clone()], "spec.source.hostname"),
    };
    let normal = |values: &[String]| values.iter().map(|value| normal(value)).collect::<BTreeSet<_>>();
    if set.kind != kind(&goal.source) || normal(values) != normal(&expected) {
        return conflict(
            format!("{name} is {} {}, and {field} is {}", set.kind, values.join(" "), expected.join(" ")),
            "Replacing it would move traffic; correct spec.source so that it is what the record leads to",
        );
    }
    if !goal.record.replace {
        return conflict(
            format!("{name} has a record already, and spec.traffic.route53.existingRecord is Refuse"),
            "Set it to Replace, and the record is replaced by weighted ones in one batch that moves no traffic",
        );
    }
    let marker = Marker::of(&goal.migration, replaced(set));
    if marker.encode().is_none() {
        return conflict(
            format!("{name} has too many values for all of them to be kept in the marker"),
            "Slipway could not restore it; use fewer values",
        );
    }
    None
}

/// What to keep of a simple record.
pub fn replaced(set: &RecordSet) -> Option<Replaced> {
    match &set.answer {
        Answer::Values { ttl, values } => Some(Replaced {
            kind: set.kind.clone(),
            ttl: *ttl,
            values: values.clone(),
            health_check: set.health_check.clone(),
        }),
        Answer::Alias { .. } => None,
    }
}

/// Clients with IPv6 follow a record that no weight is part of.
pub fn has_ipv6(goal: &Goal, records: &[RecordSet]) -> bool {
    records.iter().any(|set| set.name == goal.record.name && set.kind == "AAAA")
}

/// The share that goes to the target. `None` unless exactly our records stand there and weigh something.
pub fn share(goal: &Goal, sets: &[RecordSet]) -> Option<Share> {
    let mut target = None;
    let mut sources = Vec::new();
    let mut seen = BTreeSet::new();
    for set in sets {
        let Routing::Weighted { set_identifier, weight } = &set.routing else { return None };
        // A health check would let Route 53 move traffic by itself.
        if !is_own(set)
            || set.kind != kind(&goal.source)
            || !seen.insert(set_identifier)
            || set.health_check.is_some()
        {
            return None;
        }
        if set_identifier == TARGET { target = Some(*weight) } else { sources.push(*weight) }
    }
    if sources.is_empty() {
        return None;
    }
    Share::new(target?, sources.into_iter())
}

/// A record by one of our set identifiers.
fn is_own(set: &RecordSet) -> bool {
    match &set.routing {
        Routing::Weighted { set_identifier, .. } => {
            set_identifier == TARGET
                || set_identifier == "slipway-source"
                || set_identifier.strip_prefix("slipway-source-").is_some_and(|n| n.parse::<u8>().is_ok())
        }
        Routing::Simple | Routing::Other(_) => false,
    }
}

/// Somebody else's record stands among ours.
pub fn has_strangers(ours: &Ours) -> bool {
    !ours.sets.iter().all(is_own)
}

/// The weighted records for `percent` at the target.
pub fn weighted(goal: &Goal, target: Answer, percent: u8) -> Vec<RecordSet> {
    let identifiers = identifiers(&goal.source);
    let (to_target, to_source) = weights(percent, identifiers.len());
    let set = |set_identifier: String, weight, answer| RecordSet {
        name: goal.record.name.clone(),
        kind: kind(&goal.source).to_owned(),
        routing: Routing::Weighted { set_identifier, weight },
        answer,
        health_check: None,
    };
    let values = match &goal.source {
        SourceGoal::Addresses(addresses) => addresses.clone(),
        SourceGoal::Hostname(host) => vec![host.clone()],
    };
    let ttl = goal.record.ttl;
    let sources = identifiers.into_iter().zip(values);
    let mut sets: Vec<RecordSet> = sources
        .map(|(identifier, value)| set(identifier, to_source, Answer::Values { ttl, values: vec![value] }))
        .collect();
    sets.push(set(TARGET.to_owned(), to_target, target));
    sets
}

/// What leads to the load balancer: an alias, which costs no second look-up, or a CNAME where the source is one.
pub fn to_target(goal: &Goal, balancer: &Balancer) -> Answer {
    let dns_name = normal(&balancer.dns_name);
    match goal.source {
        SourceGoal::Addresses(_) => {
            Answer::Alias { zone_id: balancer.zone_id.clone(), dns_name, evaluate_target_health: false }
        }
        SourceGoal::Hostname(_) => Answer::Values { ttl: goal.record.ttl, values: vec![dns_name] },
    }
}

/// What leads to the target now, by our own record.
fn standing_target(ours: &Ours) -> Option<&Answer> {
    ours.sets.iter().find_map(|set| match &set.routing {
        Routing::Weighted { set_identifier, .. } if set_identifier == TARGET => Some(&set.answer),
        Routing::Weighted { .. } | Routing::Simple | Routing::Other(_) => None,
    })
}

fn marker_set(goal: &Goal, marker: &Marker) -> Option<RecordSet> {
    marker.set(&goal.record.name, goal.record.ttl)
}

/// The batch that sets the weights. `None` if what leads to the target is not known.
///
/// It deletes exactly what was read, and a deletion is refused unless every value is the same: so the whole batch fails if
/// anybody changed a record or the marker in between. The marker has another number afterwards, so that a batch of ours that
/// arrives late, or twice, fails, too.
pub fn set_weights(
    goal: &Goal,
    stands: &Stands,
    balancer: Option<&Balancer>,
    percent: u8,
) -> Option<Vec<Change>> {
    let (before, marker, target) = match stands {
        Stands::Free => (Vec::new(), marker_set(goal, &Marker::of(&goal.migration, None))?, None),
        Stands::Simple(set) => {
            (vec![set.clone()], marker_set(goal, &Marker::of(&goal.migration, replaced(set)))?, None)
        }
        Stands::Ours(ours) => {
            // What somebody else put among them is not ours to delete.
            let own = ours.sets.iter().filter(|set| is_own(set));
            let before = own.chain([&ours.marker_set]).cloned().collect();
            (before, marker_set(goal, &ours.marker.next())?, standing_target(ours).cloned())
        }
        Stands::Foreign(_) => return None,
    };
    // A way back must not wait for the load balancer to be described: the record that stands leads there, too.
    let target = balancer.map(|balancer| to_target(goal, balancer)).or(target)?;
    let after = weighted(goal, target, percent).into_iter().chain([marker]);
    Some(before.into_iter().map(Change::Delete).chain(after.map(Change::Create)).collect())
}

/// The batch that leaves the name to the target alone.
pub fn leave_to_target(goal: &Goal, ours: &Ours) -> Option<Vec<Change>> {
    Some(instead(goal, ours, kind(&goal.source), standing_target(ours)?.clone(), None))
}

/// The batch that restores what stood there before. Where nothing stood, the source's own values stay: without them the name
/// would be gone.
pub fn restore(goal: &Goal, ours: &Ours) -> Vec<Change> {
    if let Some(old) = &ours.marker.replaced {
        let answer = Answer::Values { ttl: old.ttl, values: old.values.clone() };
        return instead(goal, ours, &old.kind, answer, old.health_check.clone());
    }
    let values = match &goal.source {
        SourceGoal::Addresses(addresses) => addresses.clone(),
        SourceGoal::Hostname(host) => vec![host.clone()],
    };
    instead(goal, ours, kind(&goal.source), Answer::Values { ttl: goal.record.ttl, values }, None)
}

fn instead(
    goal: &Goal,
    ours: &Ours,
    kind: &str,
    answer: Answer,
    health_check: Option<String>,
) -> Vec<Change> {
    let simple = RecordSet {
        name: goal.record.name.clone(),
        kind: kind.to_owned(),
        routing: Routing::Simple,
        answer,
        health_check,
    };
    let before = ours.sets.iter().chain([&ours.marker_set]).cloned().map(Change::Delete);
    before.chain([Change::Create(simple)]).collect()
}

/// How what stands differs from what was asked for, if it does. What leads to the target is compared once it is known.
pub fn difference(goal: &Goal, ours: &Ours, balancer: Option<&Balancer>, percent: u8) -> Option<String> {
    let name = &goal.record.name;
    let Some(found) = share(goal, &ours.sets) else {
        return Some(format!("the records of {name} are not the weighted ones that Slipway made"));
    };
    let known = balancer.map(|balancer| to_target(goal, balancer)).or_else(|| standing_target(ours).cloned());
    let wanted = weighted(goal, known?, percent);
    if found != Share::asked(percent, wanted.len() - 1) {
        return Some(format!(
            "{name} has {} % at the target, and {percent} % was asked for",
            found.percent()
        ));
    }
    let same = wanted.len() == ours.sets.len()
        && wanted.iter().all(|want| ours.sets.iter().any(|set| is_same(set, want)));
    (!same).then(|| format!("the records of {name} lead elsewhere than spec.source and spec.target say"))
}

fn is_same(seen: &RecordSet, wanted: &RecordSet) -> bool {
    let answers = match (&seen.answer, &wanted.answer) {
        (Answer::Values { ttl: a, values: seen }, Answer::Values { ttl: b, values: wanted }) => {
            a == b
                && seen.len() == wanted.len()
                && seen.iter().zip(wanted).all(|(a, b)| normal(a) == normal(b))
        }
        (
            Answer::Alias { zone_id: a, dns_name: seen, evaluate_target_health: c },
            Answer::Alias { zone_id: b, dns_name: wanted, evaluate_target_health: d },
        ) => a == b && normal(seen) == normal(wanted) && c == d,
        (Answer::Values { .. }, Answer::Alias { .. }) | (Answer::Alias { .. }, Answer::Values { .. }) => {
            false
        }
    };
    answers
        && seen.routing == wanted.routing
        && seen.kind == wanted.kind
        && seen.health_check == wanted.health_check
}

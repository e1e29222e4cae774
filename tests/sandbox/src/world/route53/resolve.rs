//! What Route 53's servers answer, as a resolver would see it after following every name that this world knows.
//!
//! | rule | source |
//! |---|---|
//! | among the weighted records of a name those that are healthy, by their weights | developer guide, WeightedRecords |
//! | those with weight 0 only if all others are unhealthy; all with 0: equal shares | developer guide, health-checks-how-route-53-chooses-records |
//! | if none is healthy, all are taken for healthy | same |
//! | a record without a check is healthy; an alias that evaluates its target is as healthy as that | same |
//! | a load balancer is healthy if each of its groups has a healthy target; an empty group has none | same |
//! | an alias to a load balancer is answered with its addresses, for 60 seconds | developer guide, resource-record-sets-choosing-alias-non-alias |

use super::record::{Records, normal, strings};
use super::{Alias, Answer, RecordSet, Routing, Zone};
use crate::dice::Dice;
use crate::world::World;

/// The TTL of a load balancer's own name.
const BALANCER_TTL: u32 = 60;
/// A chain of names is followed no further.
const LONGEST_CHAIN: u32 = 8;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsAnswer {
    /// No zone of this world holds the name.
    Refused,
    /// A zone does, and has nothing of this name.
    NoSuchName,
    /// The records, in order; none if the name has only other types.
    Records(Vec<DnsRecord>),
}

/// One record of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsRecord {
    /// With the last dot.
    pub name: String,
    /// `A`, `CNAME`, `TXT` …
    pub kind: String,
    /// Seconds.
    pub ttl: u32,
    /// An address, a name, or the strings of a TXT record.
    pub values: Vec<String>,
}

impl World {
    /// Answers a question as the servers do now. `dice` draws among weighted records.
    pub fn resolve(&self, name: &str, kind: &str, dice: &mut Dice) -> DnsAnswer {
        let mut records = Vec::new();
        match self.follow(&normal(name), kind, dice, LONGEST_CHAIN, &mut records) {
            Found::Yes => DnsAnswer::Records(records),
            // A chain that leads out of this world is answered as far as it goes.
            _ if !records.is_empty() => DnsAnswer::Records(records),
            Found::NoName => DnsAnswer::NoSuchName,
            Found::NoZone => DnsAnswer::Refused,
        }
    }

    fn follow(
        &self,
        name: &str,
        kind: &str,
        dice: &mut Dice,
        left: u32,
        records: &mut Vec<DnsRecord>,
    ) -> Found {
        if let Some(addresses) = self.own_addresses(name) {
            if kind == "A" {
                records.extend(addresses.into_iter().map(|address| DnsRecord {
                    name: name.to_owned(),
                    kind: "A".to_owned(),
                    ttl: BALANCER_TTL,
                    values: vec![address],
                }));
            }
            return Found::Yes;
        }
        let Some(zone) = self.zone_of(name) else { return Found::NoZone };
        let served = zone.served(self.now);
        let of = |kind: &str| -> Vec<&RecordSet> {
            served.values().filter(|set| set.name == name && set.kind == kind).collect()
        };
        let (sets, found_kind) = match of(kind) {
            sets if sets.is_empty() && kind != "CNAME" => (of("CNAME"), "CNAME"),
            sets => (sets, kind),
        };
        let Some(set) = self.choose(&sets, served, dice) else {
            let there = served.values().any(|set| set.name == name);
            return if there { Found::Yes } else { Found::NoName };
        };
        match &set.answer {
            Answer::Values { ttl, values } => {
                for value in values {
                    let values = match set.kind.as_str() {
                        "TXT" => strings(value).unwrap_or_default(),
                        "CNAME" => vec![normal(value)],
                        _ => vec![value.clone()],
                    };
                    let (name, kind) = (name.to_owned(), set.kind.clone());
                    records.push(DnsRecord { name, kind, ttl: *ttl, values });
                }
                if found_kind == "CNAME" && kind != "CNAME" && left > 0 {
                    let next = normal(values.first().map_or("", String::as_str));
                    self.follow(&next, kind, dice, left - 1, records);
                }
            }
            Answer::Alias(Alias { dns_name, .. }) if left > 0 => {
                let mut behind = Vec::new();
                self.follow(dns_name, kind, dice, left - 1, &mut behind);
                // An alias hides the name behind it.
                records
                    .extend(behind.into_iter().map(|record| DnsRecord { name: name.to_owned(), ..record }));
            }
            Answer::Alias(_) => {}
        }
        Found::Yes
    }

    /// The addresses of a name that is an address itself, of this machine, or of a load balancer.
    fn own_addresses(&self, name: &str) -> Option<Vec<String>> {
        if let Some(balancer) = self.balancer_named(name) {
            return Some(balancer.addresses.iter().map(ToString::to_string).collect());
        }
        let plain = name.trim_end_matches('.');
        if plain == "localhost" {
            return Some(vec!["127.0.0.1".to_owned()]);
        }
        plain.parse::<std::net::Ipv4Addr>().is_ok().then(|| vec![plain.to_owned()])
    }

    fn zone_of(&self, name: &str) -> Option<&Zone> {
        self.route53
            .zones
            .values()
            .filter(|zone| name == zone.name || name.ends_with(&format!(".{}", zone.name)))
            .max_by_key(|zone| zone.name.len())
    }

    fn choose<'a>(&self, sets: &[&'a RecordSet], served: &Records, dice: &mut Dice) -> Option<&'a RecordSet> {
        let weighted: Vec<(&RecordSet, u64)> = sets
            .iter()
            .filter_map(|set| match set.routing {
                Routing::Weighted { weight, .. } => Some((*set, u64::from(weight))),
                Routing::Simple | Routing::Other { .. } => None,
            })
            .collect();
        if weighted.is_empty() {
            return sets.first().copied();
        }
        let healthy = |set: &RecordSet| self.is_healthy(set, served);
        let with = |wanted: &dyn Fn(&RecordSet, u64) -> bool| -> Vec<(&'a RecordSet, u64)> {
            weighted.iter().copied().filter(|(set, weight)| wanted(set, *weight)).collect()
        };
        let mut among = with(&|set, weight| weight > 0 && healthy(set));
        if among.is_empty() {
            among = with(&|set, weight| weight == 0 && healthy(set));
        }
        if among.is_empty() {
            among = with(&|_, weight| weight > 0);
        }
        if among.is_empty() {
            among.clone_from(&weighted);
        }
        let sum: u64 = among.iter().map(|(_, weight)| weight).sum();
        if sum == 0 {
            return Some(among[dice.index(among.len())].0);
        }
        let mut drawn = dice.below(sum);
        among
            .into_iter()
            .find(|(_, weight)| {
                let here = drawn < *weight;
                drawn = drawn.saturating_sub(*weight);
                here
            })
            .map(|(set, _)| set)
    }

    fn is_healthy(&self, set: &RecordSet, served: &Records) -> bool {
        if let Some(id) = &set.health_check
            && !self.passes(id)
        {
            return false;
        }
        match &set.answer {
            Answer::Alias(alias) if alias.evaluate_target_health => {
                match self.balancer_named(&alias.dns_name) {
                    Some(balancer) => self.balancer_is_healthy(balancer),
                    // Another record: healthy if one of its sets is, by their checks alone.
                    None => served
                        .values()
                        .filter(|other| other.name == alias.dns_name && other.kind == set.kind)
                        .any(|other| other.health_check.as_ref().is_none_or(|id| self.passes(id))),
                }
            }
            _ => true,
        }
    }
}

enum Found {
    Yes,
    NoName,
    NoZone,
}

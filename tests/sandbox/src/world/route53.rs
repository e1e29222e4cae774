//! Route 53: hosted zones, their records, health checks, and what its servers answer.
//!
//! | rule | source |
//! |---|---|
//! | 10 calls a second for the account, 50 at once; more is HTTP 400, `Throttling` | developer guide, DNSLimitations |
//! | a change is PENDING, then INSYNC; servers answer the old until then | API model of GetChange |
//! | a change of a zone that is still at the one before is `PriorRequestNotComplete` | API model of ChangeResourceRecordSets |
//! | whether that lasts until INSYNC | unverified; switch `changes-wait-for-insync` |
//! | a listing goes by name with reversed labels, then by type; at most 300 in a page | API model of ListResourceRecordSets |

use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::{Refusal, World};

mod batch;
mod health;
mod record;
mod resolve;
#[cfg(test)]
mod tests;

pub use batch::{Action, ChangeBatch};
pub use health::{CheckConfig, CreateHealthCheck, HealthCheck};
pub use record::{Alias, Answer, Key, RecordSet, Routing, Wanted};
pub use resolve::{DnsAnswer, DnsRecord};

use record::{Records, normal};

/// A call.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the AWS operation of that name")]
pub enum Call {
    GetHostedZone { id: String },
    ListResourceRecordSets(List),
    ChangeResourceRecordSets(ChangeBatch),
    GetChange { id: String },
    CreateHealthCheck(CreateHealthCheck),
    GetHealthCheck { id: String },
    GetHealthCheckStatus { id: String },
    DeleteHealthCheck { id: String },
}

/// The answer to a [`Call`].
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the AWS answer of that name")]
pub enum Reply {
    Zone(ZoneInfo),
    Records(Page),
    Change(ChangeInfo),
    HealthCheck { check: HealthCheck, made: bool },
    HealthCheckStatus { healthy: bool, at: Timestamp },
    Done,
}

/// `ListResourceRecordSets`
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct List {
    pub zone_id: String,
    pub name: Option<String>,
    pub kind: Option<String>,
    pub identifier: Option<String>,
    pub max_items: Option<usize>,
}

/// One page of records.
#[derive(Clone, Debug)]
pub struct Page {
    /// In the order of a listing.
    pub records: Vec<RecordSet>,
    /// The first of the next page, if there is one.
    pub next: Option<RecordSet>,
    /// How many a page may hold.
    pub max_items: usize,
}

/// A hosted zone, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct ZoneInfo {
    pub id: String,
    pub name: String,
    pub private: bool,
    pub records: usize,
}

/// Where a change has got to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct ChangeInfo {
    pub id: String,
    pub in_sync: bool,
    pub submitted: Timestamp,
    pub comment: Option<String>,
}

/// Everything of the service.
#[derive(Clone, Debug)]
pub(super) struct Route53 {
    pub(super) zones: BTreeMap<String, Zone>,
    changes: BTreeMap<String, Change>,
    pub(super) checks: BTreeMap<String, HealthCheck>,
    budget: Budget,
}

#[derive(Clone, Debug)]
pub(super) struct Zone {
    name: String,
    private: bool,
    /// What the API shows.
    records: Records,
    /// What the servers answer from each of these times on, oldest first.
    served: VecDeque<(Timestamp, Records)>,
    /// The change before is still at work until then.
    busy_until: Timestamp,
}

#[derive(Clone, Debug)]
struct Change {
    submitted: Timestamp,
    in_sync_at: Timestamp,
    comment: Option<String>,
}

/// How many calls the account has left, in thousandths.
#[derive(Clone, Debug)]
struct Budget {
    left: i64,
    at: Timestamp,
}

impl Budget {
    const BURST: i64 = 50_000;
    /// Each millisecond.
    const REFILL: i64 = 10;

    fn take(&mut self, now: Timestamp) -> Result<(), Refusal> {
        let passed = i64::try_from(now.duration_since(self.at).as_millis()).unwrap_or(0).max(0);
        self.left = passed.saturating_mul(Self::REFILL).saturating_add(self.left).min(Self::BURST);
        self.at = self.at.max(now);
        if self.left < 1000 {
            return Err(Refusal::new("Throttling", "Rate exceeded"));
        }
        self.left -= 1000;
        Ok(())
    }
}

impl Route53 {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            zones: BTreeMap::new(),
            changes: BTreeMap::new(),
            checks: BTreeMap::new(),
            budget: Budget { left: Budget::BURST, at: now },
        }
    }

    fn zone(&self, id: &str) -> Result<&Zone, Refusal> {
        self.zones.get(id).ok_or_else(|| no_zone(id))
    }
}

fn no_zone(id: &str) -> Refusal {
    Refusal::new("NoSuchHostedZone", format!("No hosted zone found with ID: {id}"))
}

fn invalid_input(why: impl Into<String>) -> Refusal {
    Refusal::new("InvalidInput", why)
}

impl Zone {
    fn new(name: &str, private: bool, now: Timestamp) -> Self {
        let record = |kind: &str, ttl, values: &[&str]| RecordSet {
            name: name.to_owned(),
            kind: kind.to_owned(),
            routing: Routing::Simple,
            answer: Answer::Values { ttl, values: values.iter().map(|&value| value.to_owned()).collect() },
            health_check: None,
        };
        let apex = [
            record("NS", 172_800, &["ns-1.awsdns-01.org.", "ns-2.awsdns-02.com."]),
            record(
                "SOA",
                900,
                &["ns-1.awsdns-01.org. awsdns-hostmaster.amazon.com. 1 7200 900 1209600 86400"],
            ),
        ];
        let records: Records = apex.into_iter().map(|set| (set.key(), set)).collect();
        Self {
            name: name.to_owned(),
            private,
            served: VecDeque::from([(now, records.clone())]),
            records,
            busy_until: now,
        }
    }

    /// What the servers answer now.
    fn served(&self, now: Timestamp) -> &Records {
        let in_sync = self.served.iter().rev().find(|(from, _)| *from <= now);
        in_sync.or(self.served.front()).map_or(&self.records, |(_, records)| records)
    }

    /// From `at` on the servers answer what the API shows.
    fn serve_from(&mut self, at: Timestamp, now: Timestamp) {
        self.served.push_back((at, self.records.clone()));
        while self.served.get(1).is_some_and(|(from, _)| *from <= now) {
            self.served.pop_front();
        }
    }
}

impl World {
    pub(super) fn route53_call(&mut self, call: Call) -> Result<Reply, Refusal> {
        self.route53.budget.take(self.now)?;
        match call {
            Call::GetHostedZone { id } => {
                let zone = self.route53.zone(&id)?;
                let (name, private, records) = (zone.name.clone(), zone.private, zone.records.len());
                Ok(Reply::Zone(ZoneInfo { id, name, private, records }))
            }
            Call::ListResourceRecordSets(call) => self.list_records(&call),
            Call::ChangeResourceRecordSets(call) => self.change_records(call),
            Call::GetChange { id } => self.get_change(&id),
            Call::CreateHealthCheck(call) => self.create_health_check(call),
            Call::GetHealthCheck { id } => {
                let check = self.route53.check(&id)?.clone();
                Ok(Reply::HealthCheck { check, made: false })
            }
            Call::GetHealthCheckStatus { id } => {
                self.route53.check(&id)?;
                Ok(Reply::HealthCheckStatus { healthy: self.passes(&id), at: self.now })
            }
            Call::DeleteHealthCheck { id } => {
                // Records that name it do not hold it back: API model of DeleteHealthCheck.
                self.route53.check(&id)?;
                self.route53.checks.remove(&id);
                Ok(Reply::Done)
            }
        }
    }

    /// Makes a zone as a person does, and returns its id. One of the same name is another zone.
    pub fn keep_zone(&mut self, name: &str, private: bool) -> String {
        let id = self.route53_id('Z');
        self.route53.zones.insert(id.clone(), Zone::new(&normal(name), private, self.now));
        id
    }

    /// Puts a record into a zone as a person did long ago: it is answered at once, and asks no budget.
    pub fn keep_record(&mut self, zone_id: &str, wanted: Wanted) -> Result<(), Refusal> {
        let changes = vec![(Action::Upsert, wanted)];
        let call = ChangeBatch { zone_id: zone_id.to_owned(), comment: None, changes };
        let records = self.changed(&call)?;
        let now = self.now;
        let zone = self.route53.zones.get_mut(zone_id).ok_or_else(|| no_zone(zone_id))?;
        zone.records = records;
        zone.serve_from(now, now);
        Ok(())
    }

    /// The records of a zone, as the API shows them; none if there is no such zone.
    pub fn records(&self, zone_id: &str) -> Vec<RecordSet> {
        self.route53.zones.get(zone_id).into_iter().flat_map(|zone| zone.records.values().cloned()).collect()
    }

    /// `Z` or `C`, and letters and digits as AWS generates them.
    fn route53_id(&mut self, first: char) -> String {
        // Only a wanted name could be refused.
        let tail = self.names.tail(None).unwrap_or_default();
        format!("{first}0{}", &tail[..tail.len().min(19)])
    }

    fn list_records(&self, call: &List) -> Result<Reply, Refusal> {
        let zone = self.route53.zone(&call.zone_id)?;
        let max_items = call.max_items.unwrap_or(300).min(300);
        if max_items == 0 {
            return Err(invalid_input("MaxItems 0 is less than 1"));
        }
        let start = match (&call.name, &call.kind, &call.identifier) {
            (None, None, None) => None,
            (None, ..) => {
                return Err(invalid_input("The resource record set name must be given with its type"));
            }
            (Some(_), None, Some(_)) => {
                return Err(invalid_input("The resource record set type must be given with its identifier"));
            }
            (Some(name), kind, identifier) => Some(Key::new(
                &normal(name),
                kind.as_deref().unwrap_or(""),
                identifier.as_deref().unwrap_or(""),
            )),
        };
        let mut rest =
            zone.records.iter().filter(|(key, _)| start.as_ref().is_none_or(|start| *key >= start));
        let records = rest.by_ref().take(max_items).map(|(_, set)| set.clone()).collect();
        let next = rest.next().map(|(_, set)| set.clone());
        Ok(Reply::Records(Page { records, next, max_items }))
    }

    fn change_records(&mut self, call: ChangeBatch) -> Result<Reply, Refusal> {
        let now = self.now;
        let zone = self.route53.zone(&call.zone_id)?;
        let waits = if self.switches.changes_wait_for_insync {
            zone.served.back().map_or(zone.busy_until, |(from, _)| zone.busy_until.max(*from))
        } else {
            zone.busy_until
        };
        if now < waits {
            return Err(Refusal::new(
                "PriorRequestNotComplete",
                format!(
                    "The request was rejected because Route 53 was still processing a prior request for zone {}.",
                    call.zone_id
                ),
            ));
        }
        let records = self.changed(&call)?;
        let id = self.route53_id('C');
        let in_sync_at = now + self.delays.dns_in_sync;
        let zone = self.route53.zones.get_mut(&call.zone_id).ok_or_else(|| no_zone(&call.zone_id))?;
        zone.records = records;
        zone.busy_until = now + self.delays.dns_change;
        zone.serve_from(in_sync_at, now);
        let change = Change { submitted: now, in_sync_at, comment: call.comment };
        let old = now - SignedDuration::from_hours(24);
        self.route53.changes.retain(|_, change| change.submitted > old);
        self.route53.changes.insert(id.clone(), change);
        self.get_change(&id)
    }

    fn get_change(&self, id: &str) -> Result<Reply, Refusal> {
        let Some(change) = self.route53.changes.get(id) else {
            return Err(Refusal::new("NoSuchChange", format!("Could not find resource with ID: {id}")));
        };
        Ok(Reply::Change(ChangeInfo {
            id: id.to_owned(),
            in_sync: change.in_sync_at <= self.now,
            submitted: change.submitted,
            comment: change.comment.clone(),
        }))
    }
}

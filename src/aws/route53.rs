//! Route 53, in our words: every record of one name, and changes of them in one batch.

use aws_config::{Region, SdkConfig};
use aws_sdk_route53::types::{ChangeBatch, ChangeStatus, HostedZone, RrType};
use aws_sdk_route53::{Client, config};

use super::call::{Caller, Operation, PAGES_MAX, endless, present};
use crate::fault::Fault;
use crate::permit::Permit;

#[cfg(test)]
mod tests;
mod wire;

use wire::plain;

const FIELD: &str = "spec.traffic.route53";
const CONNECTION: &str = "spec.cutover.connection.record";
const ZONE: Operation = Operation::read("route53", "GetHostedZone", FIELD);
const LIST: Operation = Operation::read("route53", "ListResourceRecordSets", FIELD);
const CHANGE: Operation = Operation::change("route53", "ChangeResourceRecordSets", FIELD);
const PROGRESS: Operation = Operation::read("route53", "GetChange", FIELD);

/// A name has few records, and what follows them in the zone is of no interest.
const PAGE: i32 = 100;
/// What Route 53 takes of a comment.
const COMMENT_MAX: usize = 256;

/// Route 53 of one account.
pub struct Route53 {
    client: Client,
    caller: Caller,
    /// Where zone and name come from, for a person who reads of a refusal.
    field: &'static str,
}

impl Route53 {
    pub(super) fn new(config: &SdkConfig, caller: Caller) -> Self {
        let region = config.region().map(|region| Region::new(signing_region(region.as_ref()).to_owned()));
        let config = config::Builder::from(config).region(region).build();
        Self { client: Client::from_conf(config), caller, field: FIELD }
    }

    /// The same, for the record by which applications find the writer.
    pub(super) fn of_connections(&self) -> Self {
        let Self { client, caller, field: _ } = self;
        Self { client: client.clone(), caller: caller.clone(), field: CONNECTION }
    }

    /// The same, for calls that wait behind no routine one: looking and changing on the way back.
    #[must_use]
    pub fn urgent(&self) -> Self {
        Self { client: self.client.clone(), caller: self.caller.urgent(), field: self.field }
    }

    fn here(&self, operation: Operation) -> Operation {
        Operation { fields: self.field, ..operation }
    }

    /// The hosted zone of this id.
    pub async fn zone(&self, id: &str) -> Result<Option<Zone>, Fault> {
        let request = self.client.get_hosted_zone().id(id).send();
        let reply = present(self.caller.call(self.here(ZONE), id, request).await)?;
        Ok(reply.and_then(|reply| reply.hosted_zone).map(zone))
    }

    /// Every record set of exactly this name, whatever its type; none if the name has none. Blocked if there is no such zone.
    pub async fn records(&self, zone_id: &str, name: &str) -> Result<Vec<RecordSet>, Fault> {
        let on = format!("{name} in {zone_id}");
        let wanted = plain(name);
        let mut records = Vec::new();
        let mut from: (String, Option<RrType>, Option<String>) = (wanted.clone(), None, None);
        for _ in 0..PAGES_MAX {
            let (name, kind, set_identifier) = from.clone();
            let request = self
                .client
                .list_resource_record_sets()
                .hosted_zone_id(zone_id)
                .start_record_name(name)
                .set_start_record_type(kind)
                .set_start_record_identifier(set_identifier)
                .max_items(PAGE);
            let page = self.caller.call(self.here(LIST), &on, request.send()).await?;
            for seen in page.resource_record_sets {
                let record = wire::read(seen);
                // The list is sorted by name, so ours come first and together.
                if record.name != wanted {
                    return Ok(records);
                }
                records.push(record);
            }
            let next = page.next_record_name.filter(|_| page.is_truncated);
            let Some(next) = next else {
                return if page.is_truncated { Err(endless(&on)) } else { Ok(records) };
            };
            if plain(&next) != wanted {
                return Ok(records);
            }
            let next = (next, page.next_record_type, page.next_record_identifier);
            if next == from {
                break;
            }
            from = next;
        }
        Err(endless(&on))
    }

    /// Makes all these changes or none, and says under which id their progress can be asked for. `comment` is what a person
    /// finds in `CloudTrail`; it is cut at 256 characters.
    ///
    /// Where a record stands otherwise than the batch takes for granted, nothing is changed, and it is to be looked at anew.
    pub async fn change(
        &self,
        permit: &Permit<'_>,
        zone_id: &str,
        comment: &str,
        changes: &[Change],
    ) -> Result<String, Fault> {
        let names: std::collections::BTreeSet<&str> =
            changes.iter().map(|change| change.record().name.as_str()).collect();
        let on = format!("{} in {zone_id}", names.into_iter().collect::<Vec<_>>().join(", "));
        let unfit = |why: &str| Fault::Bug(format!("{} {on}: not sent, since {why}", CHANGE.name));
        let changes = changes.iter().map(wire::write).collect::<Result<Vec<_>, _>>();
        let batch = ChangeBatch::builder()
            .comment(comment.chars().take(COMMENT_MAX).collect::<String>())
            .set_changes(Some(changes.map_err(|why| unfit(&why))?))
            .build()
            .map_err(|_| unfit("the batch is not whole"))?;
        let request =
            self.client.change_resource_record_sets().hosted_zone_id(zone_id).change_batch(batch).send();
        let reply = self.caller.change(permit, self.here(CHANGE), &on, request).await?;
        let id = reply.change_info.map(|info| bare(&info.id).to_owned()).filter(|id| !id.is_empty());
        id.ok_or_else(|| {
            Fault::Unknown(format!("{} {on}: the answer has no change id; looking", CHANGE.name))
        })
    }

    /// Where a change has got to; `None` if Route 53 does not know it (any more).
    pub async fn propagation(&self, change_id: &str) -> Result<Option<Propagation>, Fault> {
        let request = self.client.get_change().id(change_id).send();
        let reply = present(self.caller.call(self.here(PROGRESS), change_id, request).await)?;
        Ok(reply.and_then(|reply| reply.change_info).map(|info| match info.status {
            ChangeStatus::Insync => Propagation::InSync,
            // A word that nobody knows does not say that it is done.
            _ => Propagation::Pending,
        }))
    }
}

/// The region that requests are signed for. Route 53 has one for each partition of AWS. The SDK knows it, but only where
/// it also chooses the endpoint; behind an endpoint that somebody set (`AWS_ENDPOINT_URL_ROUTE_53`) it signs for the
/// account's own, which Route 53 refuses.
fn signing_region(region: &str) -> &str {
    match region.split('-').next() {
        Some("cn") => "cn-northwest-1",
        Some("us") if region.starts_with("us-gov-") => "us-gov-west-1",
        // Partitions with rules of their own; the SDK's apply.
        Some("us") if region.starts_with("us-iso") => region,
        Some("eusc") => region,
        Some("eu") if region.starts_with("eu-iso") => region,
        _ => "us-east-1",
    }
}

fn zone(seen: HostedZone) -> Zone {
    Zone {
        id: bare(&seen.id).to_owned(),
        name: plain(&seen.name),
        private: seen.config.is_some_and(|config| config.private_zone),
    }
}

/// An id without `/hostedzone/` or `/change/` before it.
fn bare(id: &str) -> &str {
    id.rsplit('/').next().unwrap_or(id)
}

/// Names are the same in capitals and with a dot at the end.
pub fn normal(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// A hosted zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Without the prefix `/hostedzone/`.
    pub id: String,
    /// Without the last dot.
    pub name: String,
    /// Only VPCs see it.
    pub private: bool,
}

/// One record set. `Eq`, since a deletion must repeat every value of what stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordSet {
    /// In lower case, without the last dot.
    pub name: String,
    /// As Route 53 writes it: `A`, `CNAME`, `TXT`.
    pub kind: String,
    /// How Route 53 chooses among the sets of a name.
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
    /// By share: its weight among the sum of all.
    Weighted {
        /// Tells the sets of one name apart.
        set_identifier: String,
        /// 0 to 255.
        weight: u8,
    },
    /// Latency, geolocation, failover, multivalue …: the word for it.
    Other(String),
}

/// What a record set answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Values of its own.
    Values {
        /// Seconds for which resolvers keep it.
        ttl: u32,
        /// As Route 53 writes them; those of TXT in quotes.
        values: Vec<String>,
    },
    /// Whatever another name of AWS answers; no TTL of its own.
    Alias {
        /// The zone of that name: for a load balancer its `CanonicalHostedZoneId`.
        zone_id: String,
        /// That name, in lower case and without the last dot.
        dns_name: String,
        /// Answered only while that name is healthy.
        evaluate_target_health: bool,
    },
}

/// One change of a batch, which happens as a whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Made; refused if it exists.
    Create(RecordSet),
    /// Made, or set anew.
    Upsert(RecordSet),
    /// Removed; refused unless every value is the same.
    Delete(RecordSet),
}

impl Change {
    fn record(&self) -> &RecordSet {
        match self {
            Self::Create(record) | Self::Upsert(record) | Self::Delete(record) => record,
        }
    }
}

/// Where a change has got to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Not on every server of Route 53 yet.
    Pending,
    /// On all of them; resolvers may keep the old answer for its TTL.
    InSync,
}

//! The marker: a TXT record beside the records that were changed, which says whose they are and what stood there before. It is
//! written and removed in the same batch as they are, so that Route 53 itself is the memory.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::api::condition::Reason;
use crate::aws::route53::{Answer, RecordSet, Routing};
use crate::database::goal::Migration;
use crate::fault::Blocked;

/// A string of a TXT record holds this much.
const STRING_MAX: usize = 255;
/// And its value, quotes and spaces included, this much (Route 53 developer guide, TXT record type).
const VALUE_MAX: usize = 4_000;

/// Batches are numbered with six digits, so that a marker never grows. They begin anew long after any call is gone.
const BATCHES: u32 = 1_000_000;

/// What a marker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The `metadata.uid` of whose the records are.
    pub uid: String,
    /// Its `namespace/name`, for a person who looks.
    pub resource: String,
    /// The number of the batch that wrote it. Each batch deletes the marker as it was read, so one that arrives late, after
    /// another, is refused, even where the weights are again as it thinks them to be.
    pub batch: u32,
    /// The simple record that stood there before; `None` if there was none.
    pub replaced: Option<Replaced>,
    /// What it was changed for last; only of a record that is changed in its place.
    pub changed: Option<Changed>,
}

/// Tells one change of a record from another, so that a batch that arrives late finds another marker than it deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The decision that it was changed for; 0 before the first.
    pub epoch: i64,
    /// When, to the second.
    pub at: Timestamp,
}

/// A simple record that was replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// `A` or `CNAME`.
    pub kind: String,
    /// Seconds for which resolvers kept it.
    pub ttl: u32,
    /// Its values.
    pub values: Vec<String>,
    /// Its health check.
    pub health_check: Option<String>,
}

impl Marker {
    /// The first marker of a migration.
    pub fn of(migration: &Migration, replaced: Option<Replaced>) -> Self {
        Self { uid: migration.uid.clone(), resource: migration.resource(), batch: 1, replaced, changed: None }
    }

    /// The marker of the next batch.
    #[must_use]
    pub fn next(&self) -> Self {
        Self { batch: (self.batch + 1) % BATCHES, ..self.clone() }
    }

    /// Ours, as it stands in this TXT record beside `name`. `field` is where the name comes from.
    pub fn ours(set: &RecordSet, migration: &Migration, name: &str, field: &str) -> Result<Self, Blocked> {
        let found = match &set.answer {
            Answer::Values { values, .. } if set.routing == Routing::Simple => match values.as_slice() {
                [one] => Self::decode(one),
                _ => None,
            },
            Answer::Values { .. } | Answer::Alias { .. } => None,
        };
        match found {
            Some(marker) if marker.uid == migration.uid && !marker.uid.is_empty() => Ok(marker),
            Some(marker) => Err(Blocked::new(
                Reason::NotOurs,
                format_args!(
                    "{name} belongs to {} (uid {}), as TXT {} says",
                    marker.resource, marker.uid, set.name
                ),
                format_args!("Delete that one first, or choose another {field}"),
            )),
            None => Err(Blocked::new(
                Reason::NotOurs,
                format_args!(
                    "There is a TXT record {} that Slipway did not write, in the marker's place",
                    set.name
                ),
                format_args!("Remove it, or choose another {field}"),
            )),
        }
    }

    /// The TXT record beside `name`. `None` if the replaced record is too large to be kept.
    pub fn set(&self, name: &str, ttl: u32) -> Option<RecordSet> {
        Some(RecordSet {
            name: beside(name),
            kind: "TXT".to_owned(),
            routing: Routing::Simple,
            answer: Answer::Values { ttl, values: vec![self.encode()?] },
            health_check: None,
        })
    }

    /// The value as Route 53 takes it: strings in quotes. `None` if the replaced record is too large to be kept.
    pub fn encode(&self) -> Option<String> {
        let mut strings = vec![format!(
            "heritage=slipway,uid={},resource={},batch={:06}",
            escape(&self.uid),
            escape(&self.resource),
            self.batch
        )];
        if let Some(changed) = &self.changed {
            strings.push(format!("changed={};at={}", changed.epoch, changed.at.as_second()));
        }
        if let Some(replaced) = &self.replaced {
            let values: Vec<String> = replaced.values.iter().map(|value| escape(value)).collect();
            let check = replaced.health_check.as_ref().map(|id| format!(";check={}", escape(id)));
            let text = format!(
                "replaced={};ttl={};values={}{}",
                escape(&replaced.kind),
                replaced.ttl,
                values.join(","),
                check.unwrap_or_default()
            );
            // All of it is ASCII, so that any place is one to cut at.
            let chunks = text.as_bytes().chunks(STRING_MAX);
            strings.extend(chunks.map(|chunk| String::from_utf8_lossy(chunk).into_owned()));
        }
        let fits = strings.iter().all(|string| string.len() <= STRING_MAX);
        let value = strings.iter().map(|string| format!("\"{string}\"")).collect::<Vec<_>>().join(" ");
        (fits && value.len() <= VALUE_MAX).then_some(value)
    }

    /// Reads what `encode` wrote; `None` for anything else.
    pub fn decode(value: &str) -> Option<Self> {
        let strings = strings(value)?;
        let (owner, rest) = strings.split_first()?;
        let owner = owner.strip_prefix("heritage=slipway,uid=")?;
        let (uid, rest_of_owner) = owner.split_once(",resource=")?;
        let (resource, batch) = rest_of_owner.split_once(",batch=")?;
        let batch = batch.parse().ok().filter(|batch| *batch < BATCHES)?;
        let (changed, rest) = match rest.split_first() {
            Some((first, rest)) if first.starts_with("changed=") => (Some(changed(first)?), rest),
            Some(_) | None => (None, rest),
        };
        let text = rest.concat();
        let replaced = if text.is_empty() { None } else { Some(replaced(&text)?) };
        Some(Self { uid: unescape(uid)?, resource: unescape(resource)?, batch, replaced, changed })
    }
}

/// The name of the marker beside this name.
pub fn beside(name: &str) -> String {
    format!("slipway.{name}")
}

fn changed(text: &str) -> Option<Changed> {
    let (epoch, at) = text.strip_prefix("changed=")?.split_once(";at=")?;
    Some(Changed { epoch: epoch.parse().ok()?, at: Timestamp::from_second(at.parse().ok()?).ok()? })
}

fn replaced(text: &str) -> Option<Replaced> {
    let mut fields = text.split(';');
    let kind = unescape(fields.next()?.strip_prefix("replaced=")?)?;
    let ttl = fields.next()?.strip_prefix("ttl=")?.parse().ok()?;
    let values = fields.next()?.strip_prefix("values=")?;
    let values: Vec<String> = values.split(',').map(unescape).collect::<Option<_>>()?;
    let health_check = match fields.next() {
        None => None,
        Some(field) => Some(unescape(field.strip_prefix("check=")?)?),
    };
    let whole = fields.next().is_none() && matches!(kind.as_str(), "A" | "CNAME");
    (whole && values.iter().all(|value| !value.is_empty())).then_some(Replaced {
        kind,
        ttl,
        values,
        health_check,
    })
}

/// The strings of a value, without their quotes. None of ours holds a quote or a backslash.
fn strings(value: &str) -> Option<Vec<&str>> {
    let inner = value.trim().strip_prefix('"')?.strip_suffix('"')?;
    let strings: Vec<&str> = inner.split("\" \"").collect();
    strings.iter().all(|string| !string.contains(['"', '\\'])).then_some(strings)
}

/// What a TXT record or our own form could take for something else is written by its number.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'/' | b':' => {
                escaped.push(char::from(byte));
            }
            _ => {
                // Writing to a String can't fail.
                let _ = write!(escaped, "%{byte:02X}");
            }
        }
    }
    escaped
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn marker(replaced: Option<Replaced>) -> Marker {
        Marker {
            uid: "u-1".into(),
            resource: "default/payments-api".into(),
            batch: 1,
            replaced,
            changed: None,
        }
    }

    #[test]
    fn a_marker_reads_as_a_person_expects() {
        assert_eq!(
            marker(None).encode().as_deref(),
            Some(r#""heritage=slipway,uid=u-1,resource=default/payments-api,batch=000001""#)
        );
        let replaced = Replaced {
            kind: "A".into(),
            ttl: 300,
            values: vec!["203.0.113.10".into(), "203.0.113.11".into()],
            health_check: Some("4-5".into()),
        };
        let mut whole = marker(Some(replaced));
        let text = whole.encode().expect("it fits");
        assert_eq!(
            text,
            r#""heritage=slipway,uid=u-1,resource=default/payments-api,batch=000001" "replaced=A;ttl=300;values=203.0.113.10,203.0.113.11;check=4-5""#
        );
        assert_eq!(Marker::decode(&text), Some(whole.clone()));
        let at = "2026-11-23T12:00:00Z".parse().expect("a timestamp");
        whole.changed = Some(Changed { epoch: 7, at });
        let text = whole.encode().expect("it fits");
        assert_eq!(
            text,
            r#""heritage=slipway,uid=u-1,resource=default/payments-api,batch=000001" "changed=7;at=1795435200" "replaced=A;ttl=300;values=203.0.113.10,203.0.113.11;check=4-5""#
        );
        assert_eq!(Marker::decode(&text), Some(whole));
    }

    #[test]
    fn what_slipway_did_not_write_is_no_marker() {
        for text in [
            "",
            "\"",
            "\"\"",
            "\"v=spf1 -all\"",
            "\"heritage=external-dns,external-dns/owner=x\"",
            "\"heritage=slipway,uid=u-1\"",
            "heritage=slipway,uid=u-1,resource=x",
            "\"heritage=slipway,uid=u-1,resource=a\"",
            "\"heritage=slipway,uid=u-1,resource=a,batch=x\"",
            "\"heritage=slipway,uid=u-1,resource=a,batch=1000000\"",
            "\"heritage=slipway,uid=u-1,resource=a,batch=1\" \"replaced=A;ttl=300\"",
            "\"heritage=slipway,uid=u-1,resource=a,batch=1\" \"replaced=A;ttl=x;values=1.2.3.4\"",
            "\"heritage=slipway,uid=u-1,resource=a,batch=1\" \"replaced=A;ttl=1;values=\"",
            "\"heritage=slipway,uid=u-1,resource=a,batch=1\" \"replaced=MX;ttl=1;values=a\"",
            "\"heritage=slipway,uid=u-1,resource=a,batch=1\" \"replaced=A;ttl=1;values=1.2.3.4;other=1\"",
            "\"heritage=slipway,uid=%zz,resource=a\"",
            "\"heritage=slipway,uid=u-1,resource=a,batch=1\" \"changed=7\"",
            "\"heritage=slipway,uid=u-1,resource=a,batch=1\" \"changed=x;at=1\"",
            "\"heritage=slipway,uid=u-1,resource=a,batch=1\" \"changed=7;at=99999999999999\"",
        ] {
            assert_eq!(Marker::decode(text), None, "{text}");
        }
    }

    #[test]
    fn a_record_that_does_not_fit_is_not_cut_off() {
        let values = (0..=255).map(|i| format!("203.0.113.{i}")).collect();
        let replaced = Replaced { kind: "A".into(), ttl: 300, values, health_check: None };
        let text = marker(Some(replaced.clone())).encode().expect("256 addresses fit");
        assert_eq!(Marker::decode(&text).and_then(|marker| marker.replaced), Some(replaced.clone()));
        let twice = Replaced {
            values: [replaced.values.clone(), replaced.values].concat(),
            kind: "A".into(),
            ttl: 1,
            health_check: None,
        };
        assert_eq!(marker(Some(twice)).encode(), None);
    }

    proptest! {
        /// Whatever stood there comes back as it was.
        #[test]
        fn what_is_written_is_read(
            uid in "\\PC{1,36}",
            resource in "\\PC{1,40}",
            kind in prop_oneof![Just("A"), Just("CNAME")],
            ttl in any::<u32>(),
            values in proptest::collection::vec("\\PC{1,60}", 1..8),
            health_check in proptest::option::of("[a-z0-9-]{1,36}"),
            bare in any::<bool>(),
            changed in proptest::option::of((any::<i64>(), 0..4_000_000_000_i64)),
            batch in 0..BATCHES,
        ) {
            let replaced = (!bare).then(|| Replaced { kind: kind.to_owned(), ttl, values, health_check });
            let changed = changed.map(|(epoch, at)| {
                Changed { epoch, at: Timestamp::from_second(at).expect("a timestamp") }
            });
            let whole = Marker { uid, resource, batch, replaced, changed };
            if let Some(text) = whole.encode() {
                prop_assert!(text.is_ascii());
                prop_assert!(text.split("\" \"").all(|string| string.len() <= STRING_MAX + 2));
                prop_assert_eq!(Marker::decode(&text), Some(whole));
            }
        }

        /// Nothing that stands in a TXT record can bring the reader down.
        #[test]
        fn any_text_can_be_looked_at(text in "\\PC{0,300}") {
            let _ = Marker::decode(&text);
            let _ = Marker::decode(&format!("\"heritage=slipway,uid={text}\""));
        }
    }
}

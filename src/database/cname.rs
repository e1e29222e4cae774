//! The CNAME by which applications find the writer: where it leads, whether it may be led elsewhere, and the one batch that
//! leads it there. It is the applications' own: it is there before, and only its value and TTL are changed.

use jiff::{SignedDuration, Timestamp};

use crate::api::condition::Reason;
use crate::aws::route53::{Answer, Change, Propagation, RecordSet, Routing, Zone, normal};
use crate::database::decide::{Found, Step};
use crate::database::goal::{ConnectionGoal, Goal, RecordGoal};
use crate::database::seen::{Known, Seen};
use crate::fault::{Blocked, Fault};
use crate::marker::{Changed, Marker, Replaced};
use crate::side::Side;

const NAME: &str = "spec.cutover.connection.record.name";
/// Route 53 has a change on all its servers within this (its developer guide).
const IN_SYNC_WITHIN: SignedDuration = SignedDuration::from_secs(60);

/// What was seen of the name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CnameSeen {
    /// Its hosted zone; `None` if there is none of this id.
    pub zone: Option<Zone>,
    /// Every record of the name and of its marker's name.
    pub sets: Vec<RecordSet>,
    /// Where the last change that this process made has got to.
    pub change: Option<Known<Option<Propagation>>>,
}

/// The CNAME as it stands.
struct Cname {
    set: RecordSet,
    /// Where it leads, in lower case and without the last dot.
    host: String,
    ttl: u32,
    /// Ours, and as it stands.
    marker: Option<(Marker, RecordSet)>,
}

impl Cname {
    /// The TTL that the applications' owners gave it, as far as that is known.
    fn ttl_before(&self) -> u32 {
        let replaced = self.marker.as_ref().and_then(|(marker, _)| marker.replaced.as_ref());
        replaced.map_or(self.ttl, |replaced| replaced.ttl.max(self.ttl))
    }

    fn ttl_wanted(&self, record: &RecordGoal) -> u32 {
        record.ttl.min(self.ttl_before())
    }

    fn led(&self, host: &str, ttl: u32) -> RecordSet {
        let values = vec![host.to_owned()];
        RecordSet { answer: Answer::Values { ttl, values }, ..self.set.clone() }
    }
}

/// The record, if applications find the writer by one.
pub fn of(goal: &Goal) -> Option<&RecordGoal> {
    match &goal.cutover.connection {
        Some(ConnectionGoal::Record(record)) => Some(record),
        Some(ConnectionGoal::Secret { .. } | ConnectionGoal::MultiHost) | None => None,
    }
}

/// What a person should know who chose it.
pub(crate) fn warning(goal: &Goal) -> Option<String> {
    let name = &of(goal)?.name;
    Some(format!(
        "TLS verify-full fails through {name} unless the target's certificate carries that name, and RDS's do not: \
         applications must use verify-ca, or another spec.cutover.connection"
    ))
}

/// May the cutover begin, as far as the CNAME goes? It must lead to the source, and no resolver may still keep it for longer
/// than it is to be kept when the writer moves.
pub(crate) fn gate(goal: &Goal, seen: &Seen) -> Found {
    let Some(record) = of(goal) else { return Found::Done };
    let found = match &seen.cname {
        Some(Ok(found)) => found,
        Some(Err(fault)) => return not_known(fault),
        None => return Found::Wait(format!("looking where {} leads", record.name)),
    };
    let (source, target) = match (&seen.address.source, &seen.address.target) {
        (Ok(source), Ok(target)) => (source, target),
        (Err(fault), _) | (_, Err(fault)) => return not_known(fault),
    };
    if let Some(blocked) = misplaced(record, found.zone.as_ref()).or_else(|| alike(source, target)) {
        return Found::Stall(blocked);
    }
    let cname = match read(goal, record, &found.sets).and_then(|cname| led_to(cname, record, &[&source.0])) {
        Ok(cname) => cname,
        Err(blocked) => return Found::Stall(blocked),
    };
    let Some(changed) = cname.marker.as_ref().and_then(|(marker, _)| marker.changed) else {
        return Found::Do(Step::LowerTtl);
    };
    if cname.ttl > cname.ttl_wanted(record) {
        return Found::Do(Step::LowerTtl);
    }
    let before = cname.ttl_before();
    if before == cname.ttl {
        return Found::Done;
    }
    let kept_for = IN_SYNC_WITHIN + SignedDuration::from_secs(before.into());
    let until = changed.at.checked_add(kept_for).unwrap_or(Timestamp::MAX);
    if seen.now < until {
        return Found::Wait(format!(
            "waiting until {until}: resolvers may keep {} as it was before its TTL was lowered from {before} s",
            record.name
        ));
    }
    match &found.change {
        Some(Ok(Some(Propagation::Pending))) => Found::Wait(in_sync(record)),
        Some(Err(fault)) => not_known(fault),
        Some(Ok(Some(Propagation::InSync) | None)) | None => Found::Done,
    }
}

/// Whether the name leads to this side everywhere, after it was led there by this process.
pub(crate) fn arrived(goal: &Goal, seen: &Seen, side: Side) -> Found {
    let Some(record) = of(goal) else { return Found::Done };
    let found = match &seen.cname {
        Some(Ok(found)) => found,
        Some(Err(fault)) => return not_known(fault),
        None => return Found::Wait(format!("looking where {} leads", record.name)),
    };
    let host = match seen.address.get(side) {
        Ok((host, _)) => host,
        Err(fault) => return not_known(fault),
    };
    if let Err(blocked) = read(goal, record, &found.sets).and_then(|cname| led_to(cname, record, &[host])) {
        return Found::Stall(blocked);
    }
    match &found.change {
        Some(Ok(Some(Propagation::InSync) | None)) => Found::Done,
        Some(Ok(Some(Propagation::Pending))) | None => Found::Wait(in_sync(record)),
        Some(Err(fault)) => not_known(fault),
    }
}

/// The record is given back before the migration goes: its own TTL, and no marker.
pub(crate) fn give_back(goal: &Goal, seen: &Seen) -> Result<Option<Found>, Fault> {
    let Some(record) = of(goal) else { return Ok(None) };
    match &seen.cname {
        Some(Ok(found)) if give_back_batch(goal, record, &found.sets).is_empty() => Ok(None),
        Some(Ok(_)) => Ok(Some(Found::Do(Step::GiveBackRecord))),
        Some(Err(fault)) => Err(fault.clone()),
        None => Ok(Some(Found::Wait(format!("looking where {} leads", record.name)))),
    }
}

/// The batch that leads the name to `to`, if it leads to one of `from` now. It deletes exactly what was read, and a deletion
/// is refused unless every value is the same: so the whole batch fails if anybody changed the record or the marker in between.
pub fn lead(
    goal: &Goal,
    record: &RecordGoal,
    sets: &[RecordSet],
    from: &[&str],
    to: &str,
    changed: Changed,
) -> Result<Vec<Change>, Fault> {
    let cname =
        read(goal, record, sets).and_then(|cname| led_to(cname, record, from)).map_err(Fault::Blocked)?;
    let ttl = cname.ttl_wanted(record);
    // Through all changes it is the owners' own record that is remembered.
    let first = cname.marker.as_ref().and_then(|(marker, _)| marker.replaced.clone());
    let first = first.unwrap_or_else(|| Replaced {
        kind: cname.set.kind.clone(),
        ttl: cname.ttl,
        values: vec![cname.host.clone()],
        health_check: cname.set.health_check.clone(),
    });
    let replaced = Replaced { ttl: cname.ttl_before(), ..first };
    let marker = Marker { changed: Some(changed), ..Marker::of(&goal.migration, Some(replaced)) };
    let marker = marker
        .set(&record.name, ttl)
        .ok_or_else(|| Fault::Bug(format!("the marker of {} does not fit into a TXT record", record.name)))?;
    let after = [cname.led(to, ttl), marker];
    let before = [Some(cname.set), cname.marker.map(|(_, set)| set)];
    Ok(before.into_iter().flatten().map(Change::Delete).chain(after.map(Change::Create)).collect())
}

/// The batch that gives the record back. Empty if the marker is not ours; and a record that somebody else has changed since
/// is left as it is.
pub fn give_back_batch(goal: &Goal, record: &RecordGoal, sets: &[RecordSet]) -> Vec<Change> {
    let Ok(Some((marker, marker_set))) = marker(goal, record, sets) else { return Vec::new() };
    let mut batch = vec![Change::Delete(marker_set)];
    let cname = read(goal, record, sets).ok();
    if let (Some(cname), Some(replaced)) = (cname, marker.replaced)
        && cname.ttl < replaced.ttl
    {
        let Answer::Values { values, .. } = &cname.set.answer else { return batch };
        let answer = Answer::Values { ttl: replaced.ttl, values: values.clone() };
        let after = RecordSet { answer, ..cname.set.clone() };
        batch.extend([Change::Delete(cname.set), Change::Create(after)]);
    }
    batch
}

/// The CNAME, unless what stands there is not to be changed.
fn read(goal: &Goal, record: &RecordGoal, sets: &[RecordSet]) -> Result<Cname, Blocked> {
    let name = &record.name;
    let marker = marker(goal, record, sets)?;
    let conflict = |what: &str| {
        Blocked::new(
            Reason::RecordConflict,
            format_args!("{NAME}: {name} in zone {} {what}", record.zone_id),
            "It must be one simple CNAME by which applications reach the database already. Make it so; Slipway only leads it \
             elsewhere",
        )
    };
    let at_name: Vec<&RecordSet> = sets.iter().filter(|set| set.name == *name).collect();
    let set = match at_name.as_slice() {
        [] => return Err(conflict("has no record")),
        [one] if one.kind == "CNAME" && one.routing == Routing::Simple => *one,
        [one] => return Err(conflict(&format!("is no simple CNAME, but of type {}", one.kind))),
        _ => return Err(conflict("has more than one record")),
    };
    match &set.answer {
        Answer::Values { ttl, values } if values.len() == 1 => {
            Ok(Cname { host: normal(&values[0]), ttl: *ttl, set: set.clone(), marker })
        }
        Answer::Values { .. } | Answer::Alias { .. } => Err(conflict("is an alias, or has not one value")),
    }
}

fn marker(
    goal: &Goal,
    record: &RecordGoal,
    sets: &[RecordSet],
) -> Result<Option<(Marker, RecordSet)>, Blocked> {
    let name = record.marker();
    let Some(set) = sets.iter().find(|set| set.name == name && set.kind == "TXT") else { return Ok(None) };
    Marker::ours(set, &goal.migration, &record.name, NAME).map(|marker| Some((marker, set.clone())))
}

/// The same CNAME, if it leads to one of these.
fn led_to(cname: Cname, record: &RecordGoal, hosts: &[&str]) -> Result<Cname, Blocked> {
    if hosts.iter().any(|host| normal(host) == cname.host) {
        return Ok(cname);
    }
    Err(Blocked::new(
        Reason::RecordConflict,
        format_args!("{NAME}: {} leads to {}, and not to {}", record.name, cname.host, hosts.join(" or ")),
        "Somebody else leads it, so it is left alone: lead it there yourself, or correct the name",
    ))
}

fn misplaced(record: &RecordGoal, zone: Option<&Zone>) -> Option<Blocked> {
    let name = &record.name;
    let Some(zone) = zone else {
        return Some(Blocked::new(
            Reason::ZoneMissing,
            format_args!("spec.cutover.connection.record.zoneID: there is no hosted zone {}", record.zone_id),
            "Correct it; the zone is in the account that this namespace is mapped to",
        ));
    };
    let within = name.strip_suffix(zone.name.as_str()).is_some_and(|head| head.ends_with('.'));
    (!within).then(|| {
        Blocked::new(
            Reason::ZoneMissing,
            format_args!("{NAME}: {name} does not lie in hosted zone {} ({})", record.zone_id, zone.name),
            "Correct spec.cutover.connection.record.zoneID or name",
        )
    })
}

/// What a CNAME can't tell apart.
fn alike(source: &(String, u16), target: &(String, u16)) -> Option<Blocked> {
    let wrong = if normal(&source.0) == normal(&target.0) {
        format!("both sides have the host {}", source.0)
    } else if source.1 != target.1 {
        format!("the source listens on port {} and the target on {}", source.1, target.1)
    } else {
        return None;
    };
    Some(Blocked::new(
        Reason::InvalidSpec,
        format_args!("spec.cutover.connection.record: {wrong}, and a CNAME leads to a host alone"),
        "Use spec.cutover.connection.secret, which carries the port too, or let both listen on the same port",
    ))
}

fn in_sync(record: &RecordGoal) -> String {
    format!("waiting for all of Route 53's servers to have the change of {}", record.name)
}

fn not_known(fault: &Fault) -> Found {
    match fault {
        Fault::Blocked(blocked) => Found::Stall(blocked.clone()),
        other => Found::Wait(other.message().to_owned()),
    }
}

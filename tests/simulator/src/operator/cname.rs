//! `observe::cname` and `act::cname`: the record by which applications find the writer.

use jiff::Timestamp;
use sandbox::world::route53::{Call, ChangeBatch, List, Reply};
use sandbox::world::{Call as Any, Reply as Answer};
use slipway::aws::route53::{Change, Propagation, RecordSet, Zone, normal};
use slipway::database::cname::{self, CnameSeen};
use slipway::database::decide::Move;
use slipway::database::goal::{Goal, RecordGoal};
use slipway::database::observe::cname_every;
use slipway::database::seen::{Known, Seen};
use slipway::fault::Fault;
use slipway::marker::Changed;
use slipway::side::Side;

use super::aws::strange;
use super::{Memory, Process, traffic};

impl Process {
    /// `observe::cname`.
    pub(super) async fn cname(
        &self,
        goal: &Goal,
        record: &RecordGoal,
        memory: &mut Memory,
        now: Timestamp,
    ) -> Known<CnameSeen> {
        if let Some(known) = memory.cname.younger(cname_every(goal), now) {
            return Ok(known);
        }
        let zone_id = &record.zone_id;
        let call = Call::GetHostedZone { id: zone_id.clone() };
        let Reply::Zone(zone) = self.call_route53("GetHostedZone", false, zone_id, call).await? else {
            return Err(strange("GetHostedZone").fault);
        };
        let zone = Zone { id: zone.id, name: normal(&zone.name), private: zone.private };
        let sets = self.cname_sets(record).await?;
        let change = match &memory.seen.cname_change {
            Some(id) => Some(self.propagation_of(id).await),
            None => None,
        };
        Ok(memory.cname.keep(now, CnameSeen { zone: Some(zone), sets, change }))
    }

    async fn propagation_of(&self, id: &str) -> Known<Option<Propagation>> {
        let call = Call::GetChange { id: id.to_owned() };
        match self.call_route53("GetChange", false, "the last change", call).await? {
            Reply::Change(change) if change.in_sync => Ok(Some(Propagation::InSync)),
            Reply::Change(_) => Ok(Some(Propagation::Pending)),
            _ => Err(strange("GetChange").fault),
        }
    }

    async fn cname_sets(&self, record: &RecordGoal) -> Known<Vec<RecordSet>> {
        let mut sets = Vec::new();
        for name in [record.name.clone(), record.marker()] {
            let list = List {
                zone_id: record.zone_id.clone(),
                name: Some(name.clone()),
                max_items: Some(100),
                ..List::default()
            };
            let call = Call::ListResourceRecordSets(list);
            match self.call_route53("ListResourceRecordSets", false, &name, call).await? {
                Reply::Records(page) => {
                    let found = page.records.into_iter().map(traffic::read);
                    sets.extend(found.filter(|set| set.name == name));
                }
                _ => return Err(strange("ListResourceRecordSets").fault),
            }
        }
        Ok(sets)
    }

    /// `act::cname::lower`.
    pub(super) async fn lower(&self, goal: &Goal, seen: &Seen, memory: &mut Memory) -> Result<(), Fault> {
        let epoch = goal.decided.as_ref().map_or(0, |decided| decided.epoch);
        let host = host(seen, Side::Source)?;
        let changed = Changed { epoch, at: seen.now };
        self.change_cname(goal, memory, |record, sets| {
            cname::lead(goal, record, sets, &[host], host, changed)
        })
        .await
    }

    /// `act::cname::repoint`.
    pub(super) async fn repoint_cname(
        &self,
        goal: &Goal,
        seen: &Seen,
        memory: &mut Memory,
        step: &Move,
    ) -> Result<(), Fault> {
        let (old, new) = (host(seen, step.direction.from)?, host(seen, step.direction.to())?);
        let changed = Changed { epoch: step.epoch, at: seen.now };
        self.change_cname(goal, memory, |record, sets| {
            cname::lead(goal, record, sets, &[old, new], new, changed)
        })
        .await
    }

    /// `act::cname::give_back`.
    pub(super) async fn give_back(&self, goal: &Goal, memory: &mut Memory) -> Result<(), Fault> {
        self.change_cname(goal, memory, |record, sets| Ok(cname::give_back_batch(goal, record, sets))).await
    }

    async fn change_cname(
        &self,
        goal: &Goal,
        memory: &mut Memory,
        batch: impl FnOnce(&RecordGoal, &[RecordSet]) -> Result<Vec<Change>, Fault>,
    ) -> Result<(), Fault> {
        let Some(record) = cname::of(goal) else { return Err(Fault::Bug("there is no record".to_owned())) };
        memory.cname = slipway::database::sight::Kept::default();
        memory.seen.cname_change = None;
        let batch = batch(record, &self.cname_sets(record).await?)?;
        if batch.is_empty() {
            return Ok(());
        }
        let changes = batch.iter().filter_map(|change| traffic::write(change, false)).collect();
        let call = ChangeBatch { zone_id: record.zone_id.clone(), comment: None, changes };
        let call = Call::ChangeResourceRecordSets(call);
        match self.call_route53("ChangeResourceRecordSets", true, &record.name, call).await? {
            Reply::Change(change) => {
                memory.seen.cname_change = Some(change.id);
                Ok(())
            }
            _ => Err(strange("ChangeResourceRecordSets").fault),
        }
    }

    /// One call to Route 53.
    pub(super) async fn call_route53(
        &self,
        name: &'static str,
        mutates: bool,
        on: &str,
        call: Call,
    ) -> Result<Reply, Fault> {
        match self.aws("route53", name, mutates, on, Any::Route53(call)).await {
            Ok(Answer::Route53(reply)) => Ok(reply),
            Ok(_) => Err(strange(name).fault),
            // The product tells by the answer's prose that a record stands otherwise than was read.
            Err(refusal) if refusal.code == "InvalidChangeBatch" => {
                Err(Fault::Again(format!("{name} {on}: a record stands otherwise than was thought")))
            }
            Err(refusal) => Err(refusal.fault),
        }
    }
}

fn host(seen: &Seen, side: Side) -> Result<&str, Fault> {
    seen.address.get(side).as_ref().map(|(host, _)| host.as_str()).map_err(Clone::clone)
}

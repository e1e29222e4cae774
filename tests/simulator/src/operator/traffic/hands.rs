//! One step, as the calls that it is made of: `src/application/act.rs`, and what stands below it.

use std::net::IpAddr;

use jiff::Timestamp;
use sandbox::world::{Call, cloudwatch as cw, route53};
use slipway::api::FINALIZER;
use slipway::api::application::{ApplicationMigration, ApplicationMigrationStatus};
use slipway::application::decide::{Batch, Decision, Step};
use slipway::application::goal::Goal;
use slipway::application::memory;
use slipway::application::seen::Seen;
use slipway::aws::cloudwatch::Alarm;
use slipway::aws::route53::{self as records, Change, Propagation, RecordSet};
use slipway::database::sight::Eyes;
use slipway::fault::Fault;
use slipway::gate::{Answer as Told, Verdict};

use super::super::aws::{present, strange};
use super::super::provision::tag_map;
use super::super::{Process, tell_watches};
use crate::clock::Kind;
use crate::world::cluster::Traffic as Object;

impl Process {
    /// `act::act`.
    pub(super) async fn act_on_traffic(
        &self,
        object: &Object,
        goal: &Goal,
        step: &Step,
        report: &ApplicationMigrationStatus,
        now: Timestamp,
    ) -> Result<Option<Object>, Fault> {
        let read = object.metadata.resource_version.clone();
        match step {
            Step::Claim => {
                let version = self.hold(object).await?;
                self.remember(version, goal, step, report, now).await.map(Some)
            }
            Step::Intend(_) | Step::Hold | Step::Latch(_) | Step::EndWayBack => {
                self.remember(read, goal, step, report, now).await.map(Some)
            }
            Step::SetWeights(batch) => {
                let change = self.send(goal, batch).await?;
                let status = memory::submitted(&status(object), &change);
                self.write_traffic(read, status).await.map(Some)
            }
            Step::LeaveToTarget(batch) | Step::Restore(batch) => self.send(goal, batch).await.map(|_| None),
            Step::PutAlarm(alarm) => self.put_alarm_of_traffic(goal, alarm).await.map(|()| None),
            Step::DeleteAlarms(names) => self.delete_alarms_of_traffic(goal, names).await.map(|()| None),
            Step::PutDashboard { body } => self.put_dashboard(goal, body).await.map(|()| None),
            Step::DeleteDashboard => self.delete_dashboard(goal).await.map(|()| None),
            Step::Release => self.let_go(object).await.map(|()| None),
        }
    }

    /// `act::remember`.
    async fn remember(
        &self,
        version: Option<String>,
        goal: &Goal,
        step: &Step,
        report: &ApplicationMigrationStatus,
        now: Timestamp,
    ) -> Result<Object, Fault> {
        let status = memory::after(goal, step, report, now)
            .ok_or_else(|| Fault::Bug(format!("{} leaves nothing in the status", step.action())))?;
        self.write_traffic(version, status).await
    }

    /// `objects::hold`.
    async fn hold(&self, object: &Object) -> Result<Option<String>, Fault> {
        let version = object.metadata.resource_version.clone();
        if object.metadata.finalizers.iter().flatten().any(|one| one == FINALIZER) {
            return Ok(version);
        }
        let patched = self
            .kubernetes("PatchFinalizers of the traffic", true, move |world| {
                let patched =
                    world.cluster.traffic.patch_finalizers(world.clock.now, version.as_deref(), true);
                tell_watches(world, Kind::Traffic);
                patched
            })
            .await?;
        Ok(patched.metadata.resource_version.clone())
    }

    /// `objects::release`.
    async fn let_go(&self, object: &Object) -> Result<(), Fault> {
        let version = object.metadata.resource_version.clone();
        self.kubernetes("PatchFinalizers of the traffic", true, move |world| {
            let patched = world.cluster.traffic.patch_finalizers(world.clock.now, version.as_deref(), false);
            tell_watches(world, Kind::Traffic);
            match patched {
                Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
                other => other.map(|_| ()),
            }
        })
        .await
    }

    /// `act::send`, `Route53::change`.
    async fn send(&self, goal: &Goal, batch: &Batch) -> Result<String, Fault> {
        let (name, zone_id) = ("ChangeResourceRecordSets", goal.record.zone_id.clone());
        let upsert = self.sim.with(|world| world.mutant == Some("upsert"));
        let changes = batch.changes.iter().filter_map(|change| write(change, upsert)).collect();
        let on = format!("{} in {zone_id}", goal.record.name);
        let call =
            route53::Call::ChangeResourceRecordSets(route53::ChangeBatch { zone_id, comment: None, changes });
        match self.call_route53(name, true, &on, call).await? {
            route53::Reply::Change(change) => Ok(change.id),
            _ => Err(strange(name).fault),
        }
    }

    /// `CloudWatch::put_alarm`.
    async fn put_alarm_of_traffic(&self, goal: &Goal, alarm: &Alarm) -> Result<(), Fault> {
        let ours = goal.ownership();
        for seen in Eyes::alarms(self, std::slice::from_ref(&alarm.name), &ours).await? {
            ours.require("PutMetricAlarm", &alarm.name, &seen.owner)?;
        }
        self.put_alarm(&ours, alarm).await
    }

    /// `CloudWatch::delete_alarms`.
    async fn delete_alarms_of_traffic(&self, goal: &Goal, names: &[String]) -> Result<(), Fault> {
        let ours = goal.ownership();
        let seen = Eyes::alarms(self, names, &ours).await?;
        for seen in &seen {
            ours.require("DeleteAlarms", &seen.alarm.name, &seen.owner)?;
        }
        let names: Vec<String> = seen.into_iter().map(|seen| seen.alarm.name).collect();
        if names.is_empty() {
            return Ok(());
        }
        let on = names.join(", ");
        let call = Call::CloudWatch(cw::Call::DeleteAlarms { names });
        present(self.aws("cloudwatch", "DeleteAlarms", true, &on, call).await)?;
        Ok(())
    }

    /// `CloudWatch::put_dashboard`.
    async fn put_dashboard(&self, goal: &Goal, body: &str) -> Result<(), Fault> {
        let name = goal.names.dashboard.clone();
        if let Some(seen) = self.dashboard(goal).await? {
            goal.ownership().require("PutDashboard", &name, &seen.owner)?;
        }
        let call =
            cw::PutDashboard { name: name.clone(), body: body.to_owned(), tags: tag_map(&goal.ownership()) };
        let call = Call::CloudWatch(cw::Call::PutDashboard(call));
        self.aws("cloudwatch", "PutDashboard", true, &name, call).await?;
        Ok(())
    }

    /// `CloudWatch::delete_dashboards`.
    async fn delete_dashboard(&self, goal: &Goal) -> Result<(), Fault> {
        let name = goal.names.dashboard.clone();
        let Some(seen) = self.dashboard(goal).await? else { return Ok(()) };
        goal.ownership().require("DeleteDashboards", &name, &seen.owner)?;
        let call = Call::CloudWatch(cw::Call::DeleteDashboards { names: vec![name.clone()] });
        present(self.aws("cloudwatch", "DeleteDashboards", true, &name, call).await)?;
        Ok(())
    }
}

fn status(object: &ApplicationMigration) -> ApplicationMigrationStatus {
    object.status.clone().unwrap_or_default()
}

/// A change as Route 53 takes it. `upsert`: the wrong version that overwrites whatever stands there.
pub(in crate::operator) fn write(
    change: &Change,
    upsert: bool,
) -> Option<(route53::Action, route53::Wanted)> {
    let action = match change {
        Change::Delete(set) if upsert && set.kind == "A" && set.routing != records::Routing::Simple => {
            return None;
        }
        Change::Create(set) if upsert && set.routing != records::Routing::Simple => route53::Action::Upsert,
        Change::Create(_) => route53::Action::Create,
        Change::Upsert(_) => route53::Action::Upsert,
        Change::Delete(_) => route53::Action::Delete,
    };
    let (Change::Create(set) | Change::Upsert(set) | Change::Delete(set)) = change;
    Some((action, wanted(set)))
}

fn wanted(set: &RecordSet) -> route53::Wanted {
    let mut wanted = route53::Wanted {
        name: set.name.clone(),
        kind: set.kind.clone(),
        health_check: set.health_check.clone(),
        ..route53::Wanted::default()
    };
    if let records::Routing::Weighted { set_identifier, weight } = &set.routing {
        wanted.set_identifier = Some(set_identifier.clone());
        wanted.weight = Some(i64::from(*weight));
    }
    match &set.answer {
        records::Answer::Values { ttl, values } => {
            wanted.ttl = Some(i64::from(*ttl));
            wanted.values.clone_from(values);
        }
        records::Answer::Alias { zone_id, dns_name, evaluate_target_health } => {
            wanted.alias = Some(route53::Alias {
                hosted_zone_id: zone_id.clone(),
                dns_name: dns_name.clone(),
                evaluate_target_health: *evaluate_target_health,
            });
        }
    }
    wanted
}

/// A wrong version that takes each hold for over.
pub(super) fn without_hold(mut goal: Goal) -> Goal {
    for step in &mut goal.steps {
        step.hold = jiff::SignedDuration::ZERO;
    }
    goal
}

/// Wrong versions of what is seen.
pub(super) fn lie(mutant: &str, seen: &mut Seen) {
    match mutant {
        "unknown-passes" => {
            for track in seen.gates.values_mut() {
                if track.last.verdict == Verdict::Unknown {
                    track.last.verdict = Verdict::Pass;
                }
            }
        }
        "blind-health" => {
            for health in [&mut seen.health.source, &mut seen.health.target] {
                for (_, answer) in health.iter_mut().flatten() {
                    *answer = Told::Status(200);
                }
            }
        }
        "no-insync" => {
            if let Some(Ok(Some(at))) = &mut seen.change {
                *at = Propagation::InSync;
            }
        }
        "blind-mutex" => {
            if let Some(Ok(Some(database))) = &mut seen.database {
                if database.is_moving() {
                    "Replicating".clone_into(&mut database.phase);
                }
                database.writer = database.writer.or(Some(slipway::side::Side::Source));
                database.sessions = Ok(everybody());
            }
        }
        "no-proof" => {
            if let Some(Ok(Some(database))) = &mut seen.database {
                database.sessions = Ok(everybody());
            }
        }
        _ => {}
    }
}

fn everybody() -> Vec<IpAddr> {
    ["10.0.1.20", "203.0.113.10"].into_iter().filter_map(|address| address.parse().ok()).collect()
}

/// Wrong versions of what is decided.
pub(super) fn bend(mutant: &str, decision: &mut Decision) {
    let Some(step) = &mut decision.step else { return };
    match (mutant, step) {
        ("zero-zero", Step::SetWeights(batch)) if batch.weight == 0 => {
            for change in &mut batch.changes {
                if let Change::Create(RecordSet {
                    routing: records::Routing::Weighted { weight, .. }, ..
                }) = change
                {
                    *weight = 0;
                }
            }
        }
        ("one-sided", Step::SetWeights(batch)) if batch.weight == 100 => {
            let gone = |set: &RecordSet| matches!(&set.routing, records::Routing::Weighted { weight: 0, .. });
            batch.changes.retain(|change| !matches!(change, Change::Create(set) if gone(set)));
        }
        _ => {}
    }
}

//! A small world in which a migration is walked: Route 53, a status that is kept, and everything that is looked at. Its steps are
//! applied as the operator applies them, through the same memory and the same report.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::api::application::{ApplicationMigration, ApplicationMigrationStatus};
use crate::api::database::Order;
use crate::application::decide::{Decision, Step, decide};
use crate::application::goal::Goal;
use crate::application::memory;
use crate::application::plan;
use crate::application::records::{self, Stands};
use crate::application::report;
use crate::application::seen::{DatabaseSeen, Seen};
use crate::application::weights::Share;
use crate::aws::balancer::{Balancer, Target, TargetGroup, TargetHealth};
use crate::aws::cloudwatch::{Dashboard, SeenAlarm};
use crate::aws::dms::Owner;
use crate::aws::ecs::{Deployment, Service};
use crate::aws::route53::{Answer as Records, Propagation, RecordSet, Routing, Zone};
use crate::database::seen::Known;
use crate::fault::Fault;
use crate::gate::{self, Answer, Judgement, Track, Verdict};
use crate::marker::Marker;
use crate::side::{Side, Sides};

pub(crate) const BALANCER: &str =
    "arn:aws:elasticloadbalancing:us-east-1:111122223333:loadbalancer/app/alb-dev/1";
pub(crate) const GROUP: &str = "arn:aws:elasticloadbalancing:us-east-1:111122223333:targetgroup/tg-dev/1";
pub(crate) const NAME: &str = "api.bank.example";

pub(crate) fn start() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().expect("a timestamp")
}

/// Where a turn ends by a crash, if it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    /// Nothing happened.
    Before,
    /// The effect took place and nobody knows.
    AfterEffect,
    /// All but the report was done.
    AfterRecord,
}

#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) spec: Value,
    pub(crate) status: ApplicationMigrationStatus,
    pub(crate) finalizer: bool,
    pub(crate) deleting: bool,
    pub(crate) released: bool,
    /// What is seen, records, alarms and dashboard included: they are the world's own state.
    pub(crate) seen: Seen,
    /// Verdict that each gate finds when it is judged.
    pub(crate) verdicts: BTreeMap<String, Verdict>,
    /// Changes that were submitted, and when the last one is on all servers.
    pub(crate) changes: u32,
    pub(crate) in_sync_at: Timestamp,
    pub(crate) status_writes: u32,
}

fn target(address: &str) -> Target {
    Target { id: address.to_owned(), port: 8080, health: TargetHealth::Healthy, reason: None }
}

pub(crate) fn simple(ttl: u32) -> RecordSet {
    RecordSet {
        name: NAME.into(),
        kind: "A".into(),
        routing: Routing::Simple,
        answer: Records::Values { ttl, values: vec!["203.0.113.11".into(), "203.0.113.10".into()] },
        health_check: None,
    }
}

impl World {
    /// Goal Shift up to 100 %, both sides well, the name a simple record with a TTL of 300 s.
    pub(crate) fn new() -> Self {
        let spec = json!({
            "goal": "Shift",
            "environmentSuffix": "dev",
            "database": {"type": "Migration", "migrationRef": {"name": "payments-db"}},
            "source": {"ipv4Addresses": ["203.0.113.10", "203.0.113.11"], "healthCheck": {"path": "/healthz"}},
            "target": {
                "loadBalancerARN": BALANCER,
                "targetGroupARN": GROUP,
                "ecsService": {"cluster": "ecs-dev", "service": "api-dev"},
            },
            "traffic": {
                "route53": {"zoneID": "Z0123456789", "name": NAME, "ttlSeconds": 60, "existingRecord": "Replace"},
                "maxWeight": 100,
                "steps": [
                    {"weight": 10, "hold": "2m"},
                    {"weight": 50, "hold": "3m"},
                    {"weight": 100, "hold": "4m"},
                ],
            },
            "gates": [
                {"name": "errors", "alarm": {"alarmName": "alarm-5xx-dev"}},
                {"name": "login", "http": {"side": "Target", "path": "/login"}},
                {"name": "watched", "mode": "Observe", "databaseLag": {"max": "5s"}},
            ],
            "alarms": {"snsTopicARN": "arn:aws:sns:us-east-1:111122223333:alerts-dev"},
        });
        let answers =
            |places: &[&str]| Ok(places.iter().map(|p| ((*p).to_owned(), Answer::Status(200))).collect());
        let seen = Seen {
            now: start(),
            account: Ok(()),
            zone: Ok(Some(Zone { id: "Z0123456789".into(), name: "bank.example".into(), private: false })),
            records: Ok(vec![simple(300)]),
            change: None,
            balancer: Ok(Some(Balancer {
                arn: BALANCER.into(),
                dns_name: "ALB-dev-1.us-east-1.elb.amazonaws.com".into(),
                zone_id: "Z35SXDOTRQ7X7K".into(),
                state: "active".into(),
            })),
            group: Ok(Some(TargetGroup { arn: GROUP.into(), balancers: vec![BALANCER.into()] })),
            targets: Ok(vec![target("10.0.1.1"), target("10.0.1.2")]),
            service: Ok(Some(Service {
                arn: "arn:aws:ecs:us-east-1:111122223333:service/ecs-dev/api-dev".into(),
                status: "ACTIVE".into(),
                desired: 2,
                running: 2,
                pending: 0,
                deployments: vec![Deployment { status: "PRIMARY".into(), rollout: Some("COMPLETED".into()) }],
                target_groups: vec![GROUP.into()],
            })),
            health: Sides {
                source: answers(&["203.0.113.10", "203.0.113.11"]),
                target: answers(&["alb-dev-1.us-east-1.elb.amazonaws.com"]),
            },
            database: Some(Ok(Some(DatabaseSeen {
                lists_us: true,
                order: Order::TrafficFirst,
                phase: "Replicating".into(),
                writer: Some(Side::Source),
                writer_word: "Source".into(),
                fresh: true,
                lag: None,
                verified: None,
                sessions: Ok(["10.0.1.1", "10.0.1.2", "192.0.2.10"]
                    .map(|a| a.parse().expect("an address"))
                    .to_vec()),
            }))),
            alarms: Ok(vec![]),
            dashboard: Ok(None),
            gates: BTreeMap::new(),
        };
        let verdicts = ["errors", "login", "watched"].map(|gate| (gate.to_owned(), Verdict::Pass)).into();
        Self {
            spec,
            status: ApplicationMigrationStatus::default(),
            finalizer: false,
            deleting: false,
            released: false,
            seen,
            verdicts,
            changes: 0,
            in_sync_at: start(),
            status_writes: 0,
        }
    }

    pub(crate) fn bend(mut self, how: impl FnOnce(&mut Self)) -> Self {
        how(&mut self);
        self
    }

    pub(crate) fn database(&mut self) -> &mut DatabaseSeen {
        self.seen.database.as_mut().expect("asked").as_mut().expect("known").as_mut().expect("there")
    }

    pub(crate) fn object(&self) -> ApplicationMigration {
        let mut metadata =
            json!({"name": "payments-api", "namespace": "default", "uid": "u-1", "generation": 1});
        if self.finalizer {
            metadata["finalizers"] = json!(["slipway.dev/cleanup"]);
        }
        if self.deleting {
            metadata["deletionTimestamp"] = json!("2026-11-23T12:00:00Z");
        }
        serde_json::from_value(json!({
            "apiVersion": "slipway.dev/v1alpha1",
            "kind": "ApplicationMigration",
            "metadata": metadata,
            "spec": self.spec,
            "status": self.status,
        }))
        .expect("an ApplicationMigration")
    }

    pub(crate) fn goal(&self) -> Goal {
        Goal::parse(&self.object()).expect("a goal")
    }

    /// Looks, as `observe` does: gates that are due are judged, an open change is asked for.
    pub(crate) fn look(&mut self) -> Goal {
        let goal = self.goal();
        let now = self.seen.now;
        for gate in &goal.gates {
            let track = self.seen.gates.get(&gate.name);
            if gate::is_due(gate, track, now) {
                let verdict = self.verdicts[&gate.name];
                let last = Judgement { verdict, value: None, reason: format!("it is {}", verdict.as_str()) };
                let track = Track::after(track, last, now);
                self.seen.gates.insert(gate.name.clone(), track);
            }
        }
        let open = goal.requested.as_ref().filter(|asked| asked.change.is_some() && asked.since.is_none());
        self.seen.change = open.map(|_| {
            Ok(Some(if now >= self.in_sync_at { Propagation::InSync } else { Propagation::Pending }))
        });
        goal
    }

    /// One reconcile. Time passes only where nothing was to be done.
    pub(crate) fn turn(&mut self, crash: Option<Crash>) -> Decision {
        let goal = self.look();
        let decision = decide(&goal, &self.seen);
        if crash == Some(Crash::Before) {
            return self.restart(decision);
        }
        if let Some(step) = &decision.step {
            let report = report::status(&goal, &self.seen, &decision, &self.status, Some(1));
            if let Some(status) = memory::after(&goal, step, &report, self.seen.now) {
                self.finalizer |= *step == Step::Claim;
                self.write(status);
                return if crash.is_some() { self.restart(decision) } else { decision };
            }
            let before = self.changes;
            self.apply(&goal, step);
            if crash == Some(Crash::AfterEffect) {
                return self.restart(decision);
            }
            if matches!(step, Step::SetWeights(_)) && self.changes > before {
                self.write(memory::submitted(&self.status, &format!("C{}", self.changes)));
            }
            if crash.is_some() {
                return self.restart(decision);
            }
        }
        if !self.released {
            let goal = self.goal();
            let status = report::status(&goal, &self.seen, &decision, &self.status, Some(1));
            if report::is_news(&self.status, &status) {
                self.write(status);
            }
        }
        if decision.step.is_none() {
            self.pass(decision.look_again);
        }
        decision
    }

    fn restart(&mut self, decision: Decision) -> Decision {
        self.seen.gates.clear();
        decision
    }

    fn write(&mut self, status: ApplicationMigrationStatus) {
        self.status = status;
        self.status_writes += 1;
    }

    pub(crate) fn pass(&mut self, time: SignedDuration) {
        self.seen.now = self.seen.now.checked_add(time).expect("a time");
    }

    fn apply(&mut self, goal: &Goal, step: &Step) {
        match step {
            Step::SetWeights(batch) | Step::LeaveToTarget(batch) | Step::Restore(batch) => {
                let before = self.seen.records.clone();
                plan::apply(&mut self.seen.records, &batch.changes);
                // The same records by another batch are a change, too.
                let refused = before == self.seen.records && !records_are(&before, &batch.changes);
                if !refused {
                    self.changes += 1;
                    self.in_sync_at =
                        self.seen.now.checked_add(SignedDuration::from_secs(40)).expect("a time");
                }
            }
            Step::PutAlarm(alarm) => {
                let alarms = self.seen.alarms.as_mut().expect("known");
                alarms.retain(|seen| seen.alarm.name != alarm.name);
                let state = "OK".to_owned();
                alarms.push(SeenAlarm { alarm: (**alarm).clone(), state, owner: Owner::Us });
            }
            Step::DeleteAlarms(names) => {
                self.seen.alarms.as_mut().expect("known").retain(|seen| !names.contains(&seen.alarm.name));
            }
            Step::PutDashboard { body } => {
                let name = goal.names.dashboard.clone();
                self.seen.dashboard = Ok(Some(Dashboard { name, body: body.clone(), owner: Owner::Us }));
            }
            Step::DeleteDashboard => self.seen.dashboard = Ok(None),
            Step::Release => {
                self.finalizer = false;
                self.released = true;
            }
            Step::Claim | Step::Intend(_) | Step::Hold | Step::Latch(_) | Step::EndWayBack => {
                unreachable!("remembered")
            }
        }
    }

    /// Turns until nothing is done for ten minutes of the world, longer than any hold, or it is let go. The actions taken.
    pub(crate) fn walk(&mut self) -> Vec<String> {
        let mut actions = Vec::new();
        let mut quiet_since = self.seen.now;
        for _ in 0..20_000 {
            if self.released || self.seen.now.duration_since(quiet_since) > SignedDuration::from_mins(10) {
                return actions;
            }
            let goal = self.goal();
            if let Some(step) = self.turn(None).step {
                quiet_since = self.seen.now;
                actions.push(match &step {
                    Step::Intend(intend) => format!("Intend {}", intend.weight),
                    Step::SetWeights(batch) => format!("SetWeights {}", batch.weight),
                    step => step.action().to_owned(),
                });
                assert!(actions.len() < 200, "{}: {actions:#?}", step.describe(&goal));
            }
        }
        panic!("it never comes to rest: {actions:?} {:?}", self.status.next)
    }

    /// Turns until this weight is held and reported.
    pub(crate) fn at(weight: u8) -> Self {
        let mut world = Self::new();
        world.spec["traffic"]["maxWeight"] = json!(weight);
        world.walk();
        assert_eq!(world.percent(), Some(weight));
        world.spec["traffic"]["maxWeight"] = json!(100);
        world
    }

    pub(crate) fn share(&self) -> Option<Share> {
        let goal = self.goal();
        match records::stands(&goal, self.seen.records.as_ref().expect("known")) {
            Stands::Ours(ours) => records::share(&goal, &ours.sets),
            Stands::Free | Stands::Simple(_) | Stands::Foreign(_) => None,
        }
    }

    pub(crate) fn percent(&self) -> Option<u8> {
        self.share().map(Share::percent)
    }

    /// The name's own records, without the marker.
    pub(crate) fn at_name(&self) -> Vec<&RecordSet> {
        self.seen.records.as_ref().expect("known").iter().filter(|set| set.name == NAME).collect()
    }

    /// All records, without the number of the batch that wrote the marker: after a crash one more may have been sent.
    pub(crate) fn unnumbered(&self) -> Vec<RecordSet> {
        let mut sets = self.seen.records.clone().expect("known");
        for set in sets.iter_mut().filter(|set| set.kind == "TXT") {
            let Records::Values { values, .. } = &mut set.answer else { continue };
            for value in values {
                if let Some(marker) = Marker::decode(value) {
                    *value = Marker { batch: 0, ..marker }.encode().expect("it fits");
                }
            }
        }
        sets
    }

    /// Somebody sets the weight of the target by hand.
    pub(crate) fn set_by_hand(&mut self, new: u8) {
        for set in self.seen.records.as_mut().expect("known") {
            if let Routing::Weighted { set_identifier, weight } = &mut set.routing
                && set_identifier == records::TARGET
            {
                *weight = new;
            }
        }
    }

    pub(crate) fn sick(&mut self, side: Side) {
        for (_, answer) in self.seen.health.get_mut(side).as_mut().expect("known") {
            *answer = Answer::Status(503);
        }
    }

    pub(crate) fn well(&mut self, side: Side) {
        for (_, answer) in self.seen.health.get_mut(side).as_mut().expect("known") {
            *answer = Answer::Status(200);
        }
    }

    /// The gate finds this from now on, and is judged at the next look.
    pub(crate) fn fail(&mut self, gate: &str, verdict: Verdict) {
        self.verdicts.insert(gate.to_owned(), verdict);
        self.seen.gates.remove(gate);
    }
}

fn records_are(records: &Known<Vec<RecordSet>>, changes: &[crate::aws::route53::Change]) -> bool {
    let standing = records.as_deref().unwrap_or_default();
    changes.iter().all(|change| match change {
        crate::aws::route53::Change::Delete(set) => standing.contains(set),
        crate::aws::route53::Change::Create(_) | crate::aws::route53::Change::Upsert(_) => true,
    })
}

pub(crate) fn fault() -> Fault {
    Fault::Again("throttled".into())
}

//! A migration and what is seen of it, for tests to bend.

use jiff::Timestamp;
use serde_json::json;

use crate::api::condition::Reason;
use crate::api::database::DatabaseMigration;
use crate::aws::dms::Task;
use crate::database::decide::{Decision, State, Step, decide};
use crate::database::goal::Goal;
use crate::database::plan::assume;
use crate::database::seen::{AwsSeen, MaterialSeen, MemorySeen, Seen};
use crate::postgres::{Identity, Record, Server, Table, TableKind};
use crate::side::{Side, Sides};

/// A migration and what is seen of it, ready to be bent.
#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) object: DatabaseMigration,
    pub(crate) goal: Goal,
    pub(crate) seen: Seen,
}

pub(crate) fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().expect("a timestamp")
}

fn table(name: &str) -> Table {
    Table {
        schema: "public".into(),
        name: name.into(),
        kind: TableKind::Ordinary,
        has_primary_key: true,
        columns: vec![("id".into(), "bigint".into())],
        empty: Some(true),
    }
}

fn server(system_identifier: i64) -> Server {
    Server {
        identity: Identity { system_identifier, version: 150_018 },
        wal_level: "logical".into(),
        free_slots: 5,
        free_wal_senders: 5,
        record: Record::Absent,
        tables: vec![table("accounts"), table("entries")],
        slots: vec![],
        missing_privileges: vec![],
        writers: vec!["payments_app".into()],
        application_sessions: 0,
    }
}

impl Scene {
    /// Goal Replicate, both sides fit, nothing made yet.
    pub(crate) fn fresh() -> Self {
        let side = |name: &str| {
            json!({
                "database": "payments",
                "tls": {"caRef": {"kind": "ConfigMap", "name": "ca", "key": "ca.crt"}},
                "operatorCredentialsRef": {"name": format!("{name}-operator")},
                "replicationCredentials": {"secretRef": {"name": format!("{name}-dms")}},
                "applicationRoles": ["payments_app"],
            })
        };
        let (mut source, mut target) = (side("source"), side("target"));
        source["endpoint"] = json!({"host": "pg01.bank.example", "database": "payments"});
        source.as_object_mut().expect("an object").remove("database");
        target["rdsInstanceIdentifier"] = json!("rds-payments-dev");
        let object: DatabaseMigration = serde_json::from_value(json!({
            "apiVersion": "slipway.dev/v1alpha1",
            "kind": "DatabaseMigration",
            "metadata": {"name": "payments-db", "namespace": "default", "uid": "u-1", "generation": 1},
            "spec": {
                "goal": "Replicate",
                "environmentSuffix": "dev",
                "source": source,
                "target": target,
                "tables": {"include": [{"schema": "public"}]},
                "replication": {"instance": {"managed": {
                    "class": "dms.r6i.large", "storageGiB": 100,
                    "subnetIDs": ["subnet-0a", "subnet-0b"], "securityGroupIDs": ["sg-0c"],
                }}},
                "alarms": {"snsTopicARN": "arn:aws:sns:us-east-1:111122223333:alerts-dev"},
            },
        }))
        .expect("a good manifest");
        let material = MaterialSeen {
            replication_username: "slipway_dms".into(),
            replication_version: "s-1/7".into(),
            ca_fingerprint: "0badcafe".into(),
        };
        let seen = Seen {
            now: now(),
            account: Ok(()),
            material: Sides { source: Ok(material.clone()), target: Ok(material) },
            address: Sides {
                source: Ok(("pg01.bank.example".into(), 5432)),
                target: Ok(("rds.example".into(), 5432)),
            },
            database: Sides { source: Ok(server(1)), target: Ok(server(2)) },
            standing: Sides::default(),
            precheck: Sides::default(),
            applications: Some(Ok(Vec::new())),
            secret: None,
            cname: None,
            replication_login: Sides { source: Ok(()), target: Ok(()) },
            aws: Ok(AwsSeen::default()),
            memory: MemorySeen::default(),
        };
        Self { goal: Goal::parse(&object).expect("a good goal"), object, seen }
    }

    /// Everything done, by walking there.
    pub(crate) fn replicating() -> Self {
        let mut scene = Self::fresh();
        scene.walk();
        scene
    }

    pub(crate) fn decide(&self) -> Decision {
        decide(&self.goal, &self.seen)
    }

    pub(crate) fn step(&self) -> Option<&'static str> {
        self.decide().step.map(|step| step.action())
    }

    pub(crate) fn stalled(&self) -> Option<Reason> {
        match self.decide().state {
            State::Stalled(blocked) => Some(blocked.reason),
            _ => None,
        }
    }

    pub(crate) fn apply(&mut self, step: &Step) {
        assume(&mut self.goal, &mut self.seen, step);
    }

    /// Takes every step until none is left; panics if that never happens.
    pub(crate) fn walk(&mut self) -> Vec<&'static str> {
        let mut actions = Vec::new();
        while let Some(step) = self.decide().step {
            assert!(actions.len() < 60, "no end: {actions:?}");
            actions.push(step.action());
            let last = step == Step::Release;
            self.apply(&step);
            if last {
                break;
            }
        }
        actions
    }

    pub(crate) fn aws(&mut self) -> &mut AwsSeen {
        self.seen.aws.as_mut().expect("AWS is seen")
    }

    pub(crate) fn task(&mut self) -> &mut Task {
        self.aws().task.as_mut().expect("a task")
    }

    pub(crate) fn on(&mut self, side: Side) -> &mut Server {
        self.seen.database.get_mut(side).as_mut().expect("the database is seen")
    }

    pub(crate) fn bend(mut self, how: impl FnOnce(&mut Self)) -> Self {
        how(&mut self);
        self
    }
}

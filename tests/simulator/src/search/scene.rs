//! A migration whose target follows its source, made by the product's own walk there.

use jiff::Timestamp;
use serde_json::json;
use slipway::api::database::DatabaseMigration;
use slipway::aws::dms::TaskStatus;
use slipway::database::decide::decide;
use slipway::database::goal::Goal;
use slipway::database::plan::assume;
use slipway::database::seen::{AwsSeen, MaterialSeen, MemorySeen, Seen};
use slipway::postgres::Lag;
use slipway::side::Sides;

use crate::database::{Names, base};

/// More steps than the walk takes.
const STEPS_MAX: usize = 60;

fn object() -> DatabaseMigration {
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
    if let Some(source) = source.as_object_mut() {
        source.remove("database");
    }
    target["rdsInstanceIdentifier"] = json!("rds-payments-dev");
    serde_json::from_value(json!({
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
            "cutover": {"connection": {"multiHost": {}}},
        },
    }))
    .expect("the manifest is a good one")
}

/// The goal, what is seen of it, and what things are called.
pub fn replicating() -> (Goal, Seen, Names) {
    let mut goal = Goal::parse(&object()).expect("the goal is a good one");
    let now: Timestamp = "2026-11-24T12:00:00Z".parse().expect("a timestamp");
    let material = MaterialSeen {
        replication_username: "slipway_dms".to_owned(),
        replication_version: "s-1/7".to_owned(),
        ca_fingerprint: "0badcafe".to_owned(),
    };
    let mut seen = Seen {
        now,
        account: Ok(()),
        material: Sides { source: Ok(material.clone()), target: Ok(material) },
        address: Sides {
            source: Ok(("pg01.bank.example".to_owned(), 5432)),
            target: Ok(("rds.example".to_owned(), 5432)),
        },
        database: Sides { source: Ok(base(1)), target: Ok(base(2)) },
        standing: Sides::default(),
        precheck: Sides::default(),
        applications: Some(Ok(Vec::new())),
        secret: None,
        cname: None,
        replication_login: Sides { source: Ok(()), target: Ok(()) },
        aws: Ok(AwsSeen::default()),
        memory: MemorySeen::default(),
    };
    for _ in 0..STEPS_MAX {
        let Some(step) = decide(&goal, &seen).step else { break };
        assume(&mut goal, &mut seen, &step);
    }
    let running = seen
        .aws
        .as_ref()
        .is_ok_and(|aws| aws.task.as_ref().is_some_and(|task| task.status == TaskStatus::Running));
    assert!(running, "the walk ends with a task that runs: {:?}", decide(&goal, &seen));
    // What is measured is measured well, and what is tested was tested just now: the search is about something else.
    seen.memory.lag = Some(Lag { age: jiff::SignedDuration::ZERO, arrived: true, at: now });
    seen.memory.prompt_beats = 2;
    seen.memory.tested_at = Sides { source: Some(now), target: Some(now) };
    seen.memory.fenced_at = None;
    let names = Names {
        resource: goal.migration.resource(),
        uid: goal.migration.uid.clone(),
        forward: "forward_of_dms".to_owned(),
        back: goal.migration.move_slot(),
        application: "payments_app".to_owned(),
        dms: "slipway_dms".to_owned(),
    };
    (goal, seen, names)
}

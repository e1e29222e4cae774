//! The journeys of a migration: what people order, in words that a test can repeat.

use serde_json::json;
use slipway::api::database::{DatabaseMigration, Goal};

use crate::world::RDS;
use crate::world::people::{Order, When};

/// One journey.
#[derive(Clone, Debug)]
pub struct Journey {
    /// Its name.
    pub name: &'static str,
    /// The goal that it begins with.
    pub goal: Goal,
    /// How applications find the writer.
    pub by: By,
    /// What is ordered then.
    pub orders: Vec<(When, Order)>,
    /// Ends that a fault may lead to instead of the clean run's: the order came too early or too late for it.
    pub other_ends: &'static [&'static str],
}

/// How applications find the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Their driver tries both hosts.
    Hosts,
    /// They read it from a secret.
    Secret,
    /// They resolve a name.
    Record,
}

/// The source is the writer, everything is made and follows.
const REPLICATES: &str = "Replicating/Source";
/// The target is the writer.
const SOAKS: &str = "Soaking/Target";
/// Nothing is left.
const GONE: &str = "gone";

/// Every journey.
pub fn all() -> Vec<Journey> {
    use Goal::{CutOver, Finish, Plan, Replicate};
    use Order as O;
    use When::{After, Fenced, Phase, Ready};
    let journey = |name, goal, orders: &[(When, Order)], other_ends| Journey {
        name,
        goal,
        by: By::Hosts,
        orders: orders.to_vec(),
        other_ends,
    };
    let cut = (Ready("Replicating"), O::Goal(CutOver));
    vec![
        journey("replicate", Replicate, &[], &[]),
        journey("plan, then replicate", Plan, &[(Ready("Pending"), O::Goal(Replicate))], &[]),
        journey("replicate, delete", Replicate, &[(Ready("Replicating"), O::Delete)], &[]),
        // What was fenced by then is the other end's row: it depends on the moment.
        journey("delete while provisioning", Replicate, &[(Phase("Provisioning"), O::Delete)], &[GONE]),
        journey("delete while loading", Replicate, &[(Phase("Loading"), O::Delete)], &[GONE]),
        journey(
            "replicate, delete and retain",
            Replicate,
            &[(Ready("Replicating"), O::Retain), (After(30), O::Delete)],
            &[],
        ),
        journey(
            "suspended while loading",
            Replicate,
            &[(Phase("Loading"), O::Suspend(true)), (After(60), O::Suspend(false))],
            &[],
        ),
        journey("cut over", CutOver, &[], &[]),
        journey("cut over, finish", Replicate, &[cut, (Ready("Soaking"), O::Goal(Finish))], &[]),
        journey("straight to finish, delete", Finish, &[(Ready("Finished"), O::Delete)], &[]),
        Journey {
            by: By::Secret,
            ..journey(
                "cut over by a secret, finish",
                Replicate,
                &[cut, (Ready("Soaking"), O::Goal(Finish))],
                &[],
            )
        },
        Journey {
            by: By::Record,
            ..journey(
                "cut over by a record, finish",
                Replicate,
                &[cut, (Ready("Soaking"), O::Goal(Finish))],
                &[],
            )
        },
        journey(
            "cut over, aborted",
            Replicate,
            &[cut, (Fenced, O::Abort)],
            &[REPLICATES, "Soaking/Target stalled"],
        ),
        journey(
            "cut over, goal back",
            Replicate,
            &[cut, (Fenced, O::Goal(Replicate))],
            &[REPLICATES, "Soaking/Target stalled"],
        ),
        journey(
            "cut over, suspended, resumed",
            Replicate,
            &[cut, (Fenced, O::Suspend(true)), (After(60), O::Suspend(false))],
            &[SOAKS],
        ),
        journey(
            "cut over, unfenced by hand, again",
            Replicate,
            &[cut, (Fenced, O::Unfence), (After(90), O::Attempt)],
            &[SOAKS],
        ),
        journey(
            "cut over, outage too long, again",
            Replicate,
            &[cut, (Fenced, O::Stall(120)), (After(120), O::Attempt)],
            &[SOAKS],
        ),
        journey(
            "cut over, deleted on the way",
            Replicate,
            &[cut, (Fenced, O::Delete)],
            &[GONE, "Soaking/Target stalled"],
        ),
        journey(
            "status lost",
            Replicate,
            &[(Ready("Replicating"), O::LoseStatus), (After(30), O::Goal(CutOver))],
            &[SOAKS],
        ),
        journey(
            "status lost in the cutover, again",
            Replicate,
            &[cut, (Fenced, O::LoseStatus), (After(120), O::Attempt)],
            &[SOAKS],
        ),
    ]
}

/// The ARN of the applications' secret.
pub const SECRET: &str = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:payments-5a1d00";

/// The zone of the applications' record, and the record.
pub const ZONE: &str = "bank.example";
/// See [`ZONE`].
pub const RECORD: &str = "db.bank.example";

/// The resource as a person applies it; the zone has this id.
pub fn manifest(goal: Goal, by: By, zone_id: &str) -> Result<DatabaseMigration, serde_json::Error> {
    let side = |name: &str| {
        json!({
            "tls": {"caRef": {"kind": "ConfigMap", "name": "ca", "key": "ca.crt"}},
            "operatorCredentialsRef": {"name": format!("{name}-operator")},
            "replicationCredentials": {"secretRef": {"name": format!("{name}-dms")}},
            "applicationRoles": ["payments_app"],
        })
    };
    let (mut source, mut target) = (side("source"), side("target"));
    source["endpoint"] = json!({"host": "pg01.bank.example", "database": "payments"});
    target["rdsInstanceIdentifier"] = json!(RDS);
    target["database"] = json!("payments");
    let connection = match by {
        By::Hosts => json!({"multiHost": {}}),
        By::Secret => json!({"secret": {"secretARN": SECRET}}),
        By::Record => json!({"record": {"zoneID": zone_id, "name": RECORD}}),
    };
    serde_json::from_value(json!({
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "DatabaseMigration",
        "metadata": {"name": "payments-db", "namespace": "bank", "uid": "0b5e9a52-2f61-4a59-8d3f-6f1f0a4b7c10"},
        "spec": {
            "goal": goal,
            "environmentSuffix": "dev",
            "source": source,
            "target": target,
            "tables": {"include": [{"schema": "public"}]},
            "replication": {"instance": {"managed": {
                "class": "dms.r6i.large", "storageGiB": 100,
                "subnetIDs": ["subnet-0a5a1d0000000000a", "subnet-0b5a1d0000000000b"],
                "securityGroupIDs": ["sg-05a1d000000000001"],
            }}},
            "cutover": {"connection": connection},
            "rollback": {"minSoak": "30s"},
            "alarms": {"snsTopicARN": "arn:aws:sns:eu-central-1:111122223333:alerts-dev"},
        },
    }))
}

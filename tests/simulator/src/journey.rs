//! The journeys of a migration: what people order, in words that a test can repeat.

use serde_json::json;
use slipway::api::application::{ApplicationMigration, Goal as Reach};
use slipway::api::database::{DatabaseMigration, Goal};

use slipway::side::Side;

use crate::world::RDS;
use crate::world::people::{Order, When};
use crate::world::traffic::{self, Traffic};

/// One journey.
#[derive(Clone, Debug)]
pub struct Journey {
    /// Its name.
    pub name: &'static str,
    /// The goal that it begins with.
    pub goal: Goal,
    /// How applications find the writer.
    pub by: By,
    /// The traffic's part, if there is an `ApplicationMigration`.
    pub traffic: Option<TrafficJourney>,
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

/// The traffic's part.
#[derive(Clone, Debug)]
pub struct TrafficJourney {
    /// The goal that it begins with.
    pub goal: Reach,
    /// How much traffic may go to the target.
    pub max_weight: u8,
    /// There is no `DatabaseMigration`.
    pub alone: bool,
    /// Which comes first, where there is one.
    pub order: &'static str,
    /// What is ordered then, beside the orders of the other kind.
    pub orders: Vec<(When, Order)>,
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
        traffic: None,
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

/// Journeys with an `ApplicationMigration`: of the traffic alone, and with its database.
pub fn of_traffic() -> Vec<Journey> {
    use Order as O;
    use Reach::{Finish, Plan, Shift, Stage};
    use When::{After, Changing, Held, Traffic, TrafficReady};
    let part = |goal, max_weight, orders: &[(When, Order)]| TrafficJourney {
        goal,
        max_weight,
        alone: true,
        order: "TrafficFirst",
        orders: orders.to_vec(),
    };
    let alone = |name, part, other_ends| Journey {
        name,
        goal: Goal::Plan,
        by: By::Hosts,
        traffic: Some(part),
        orders: Vec::new(),
        other_ends,
    };
    let both = |name, goal, orders: &[(When, Order)], order, part, other_ends| Journey {
        name,
        goal,
        by: By::Hosts,
        traffic: Some(TrafficJourney { alone: false, order, ..part }),
        orders: orders.to_vec(),
        other_ends,
    };
    let again = (After(60), O::AttemptTraffic);
    vec![
        alone("stage", part(Stage, 0, &[]), &[]),
        alone("plan, then stage", part(Plan, 0, &[(TrafficReady("Pending"), O::Reach(Stage))]), &[]),
        alone("shift", part(Shift, 100, &[]), &[]),
        alone(
            "shift to 10, then to 100",
            part(Shift, 10, &[(TrafficReady("Shifting"), O::MaxWeight(100))]),
            &[],
        ),
        alone("shift, finish", part(Finish, 100, &[]), &[]),
        alone(
            "shift, finish, delete",
            part(Finish, 100, &[(TrafficReady("Finished"), O::DeleteTraffic)]),
            &[],
        ),
        alone("stage, delete", part(Stage, 0, &[(TrafficReady("Staging"), O::DeleteTraffic)]), &[]),
        alone("delete while staging", part(Stage, 0, &[(Changing(0), O::DeleteTraffic)]), &[]),
        alone("shift, goal back", part(Shift, 100, &[(Held(10), O::Reach(Stage))]), &[]),
        alone("goal back while it changes", part(Shift, 100, &[(Changing(10), O::Reach(Stage))]), &[]),
        alone("shift, less allowed", part(Shift, 100, &[(TrafficReady("Shifted"), O::MaxWeight(10))]), &[]),
        alone(
            "sick at 10, well again",
            part(
                Shift,
                100,
                &[(Held(10), O::Sick(Side::Target, true)), (After(90), O::Sick(Side::Target, false))],
            ),
            &[],
        ),
        alone(
            "sick on the way to 100, well again",
            part(
                Shift,
                100,
                &[(Changing(100), O::Sick(Side::Target, true)), (After(90), O::Sick(Side::Target, false))],
            ),
            &[],
        ),
        alone(
            "both sick at 10, the source well again",
            part(
                Shift,
                100,
                &[
                    (Held(10), O::Sick(Side::Target, true)),
                    (After(0), O::Sick(Side::Source, true)),
                    (After(90), O::Sick(Side::Source, false)),
                    (After(60), O::Sick(Side::Target, false)),
                ],
            ),
            &[],
        ),
        alone(
            "aborted while it changes, again",
            part(Shift, 100, &[(Changing(10), O::AbortTraffic), again]),
            &[],
        ),
        alone(
            "suspended while it changes, resumed",
            part(
                Shift,
                100,
                &[(Changing(10), O::SuspendTraffic(true)), (After(60), O::SuspendTraffic(false))],
            ),
            &[],
        ),
        alone(
            "deleted at 10, goal back",
            part(Shift, 100, &[(Held(10), O::DeleteTraffic), (After(40), O::Reach(Stage))]),
            &[],
        ),
        alone(
            "deleted at 10 and retained",
            part(Shift, 10, &[(Held(10), O::RetainTraffic), (After(30), O::DeleteTraffic)]),
            &[],
        ),
        alone("status lost at 10", part(Shift, 100, &[(Held(10), O::LoseTrafficStatus)]), &[]),
        alone("status lost while it changes", part(Shift, 100, &[(Changing(10), O::LoseTrafficStatus)]), &[]),
        alone(
            "no data at 10, then some",
            part(Shift, 100, &[(Held(10), O::Publish(false)), (After(200), O::Publish(true))]),
            &[],
        ),
        alone("changed by hand at 10, again", part(Shift, 100, &[(Held(10), O::Meddle(200)), again]), &[]),
        both("both finish, traffic first", Goal::Finish, &[], "TrafficFirst", part(Finish, 100, &[]), &[]),
        both("both finish, database first", Goal::Finish, &[], "DatabaseFirst", part(Finish, 100, &[]), &[]),
        both(
            "traffic back while the writer moves",
            Goal::Replicate,
            &[(TrafficReady("Shifted"), O::Goal(Goal::CutOver)), (When::Fenced, O::Reach(Stage))],
            "TrafficFirst",
            part(Shift, 100, &[]),
            // A writer that could not move waits for traffic that is back.
            &["Replicating/Source, traffic Staging/0"],
        ),
        both(
            "database first, traffic back",
            Goal::CutOver,
            &[],
            "DatabaseFirst",
            part(Shift, 100, &[(Traffic("Shifted"), O::Reach(Stage))]),
            &[],
        ),
        both(
            "the target's fleet is cut off, then not",
            Goal::Replicate,
            &[],
            "TrafficFirst",
            part(
                Shift,
                100,
                &[
                    (After(0), O::CutOff(Some(Side::Source))),
                    (Traffic("Staging"), O::CutOff(Some(Side::Source))),
                    (After(200), O::CutOff(None)),
                ],
            ),
            &[],
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
pub fn manifest(
    goal: Goal,
    by: By,
    zone_id: &str,
    traffic: Option<&TrafficJourney>,
) -> Result<DatabaseMigration, serde_json::Error> {
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
    let (applications, order) = match traffic {
        Some(traffic) => (vec![APPLICATION], traffic.order),
        None => (Vec::new(), "TrafficFirst"),
    };
    serde_json::from_value(json!({
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "DatabaseMigration",
        "metadata": {"name": "payments-db", "namespace": "bank", "uid": "0b5e9a52-2f61-4a59-8d3f-6f1f0a4b7c10"},
        "spec": {
            "goal": goal,
            "applications": applications,
            "environmentSuffix": "dev",
            "source": source,
            "target": target,
            "tables": {"include": [{"schema": "public"}]},
            "replication": {"instance": {"managed": {
                "class": "dms.r6i.large", "storageGiB": 100,
                "subnetIDs": ["subnet-0a5a1d0000000000a", "subnet-0b5a1d0000000000b"],
                "securityGroupIDs": ["sg-05a1d000000000001"],
            }}},
            "cutover": {"connection": connection, "order": order},
            "rollback": {"minSoak": "30s"},
            "alarms": {"snsTopicARN": "arn:aws:sns:eu-central-1:111122223333:alerts-dev"},
        },
    }))
}

/// The name of the `ApplicationMigration`.
pub const APPLICATION: &str = "payments-api";

/// The `ApplicationMigration` as a person applies it.
pub fn traffic_manifest(
    journey: &TrafficJourney,
    world: &Traffic,
) -> Result<ApplicationMigration, serde_json::Error> {
    let mut gates = vec![
        json!({"name": "login", "interval": "15s", "http": {"side": "Target", "path": "/login"}}),
        json!({"name": "errors", "interval": "30s", "failuresToTrip": 1, "metric": {
            "namespace": traffic::ERRORS.0, "metricName": traffic::ERRORS.1, "statistic": "Maximum",
            "operator": "LessThanOrEqual", "threshold": "5", "minSamples": 5,
        }}),
    ];
    let mut database = json!({"type": "None"});
    if !journey.alone {
        gates.push(json!({"name": "lag", "interval": "20s", "databaseLag": {"max": "30s"}}));
        database = json!({"type": "Migration", "migrationRef": {"name": "payments-db"}});
    }
    serde_json::from_value(json!({
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "ApplicationMigration",
        "metadata": {"name": APPLICATION, "namespace": "bank", "uid": "5a1d9a52-2f61-4a59-8d3f-6f1f0a4b7c20"},
        "spec": {
            "goal": journey.goal,
            "environmentSuffix": "dev",
            "database": database,
            "source": {"ipv4Addresses": traffic::ADDRESSES, "healthCheck": {"path": "/healthz"}},
            "target": {
                "loadBalancerARN": world.balancer,
                "targetGroupARN": world.group,
                "ecsService": {"cluster": "ecs-dev", "service": traffic::SERVICE},
            },
            "traffic": {
                "route53": {
                    "zoneID": world.zone, "name": traffic::NAME, "ttlSeconds": 60, "existingRecord": "Replace",
                },
                "maxWeight": journey.max_weight,
                "steps": [{"weight": 10, "hold": "2m"}, {"weight": 100, "hold": "1m"}],
            },
            "gates": gates,
            "alarms": {"snsTopicARN": "arn:aws:sns:eu-central-1:111122223333:alerts-dev"},
        },
    }))
}

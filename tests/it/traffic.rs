//! Traffic really moves: a name server that answers by weight, two fleets, an operator, and what a user sees of it.

use std::sync::Arc;
use std::time::Duration;

use kube::api::{DynamicObject, Patch, PatchParams};
use kube::{Api, ResourceExt};
use sandbox::bank::api::Machine;
use sandbox::bank::journal::{Journal, Ledger};
use sandbox::bank::visitor::Public;
use sandbox::bank::{self, Load, Way};
use sandbox::postgres::connect_local;
use sandbox::sandbox as stage;
use sandbox::sandbox::{CLUSTER, Fleets, RECORD, SERVICE};
use sandbox::world::route53::Routing;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::crash::inventory;
use crate::journey::{self, View};

const NAME: &str = "payments-api";
/// An alias has the load balancer's TTL of a minute, and each step waits for it.
const PATIENCE: Duration = Duration::from_mins(4);

/// A journey with both fleets.
struct Stage {
    journey: journey::Journey,
    fleets: Fleets,
}

impl Stage {
    async fn begin(test: &str) -> Self {
        let mut journey = journey::Journey::begin(test).await;
        let sandbox = &journey.sandbox;
        let fleets = Fleets::start(&sandbox.aws, &sandbox.traffic, &sandbox.environment).await.unwrap();
        journey.start_operator();
        Self { journey, fleets }
    }

    /// A migration of the bank's API, with what `change` makes of it.
    fn example(&self, change: impl FnOnce(&mut Value)) -> Value {
        let traffic = &self.journey.sandbox.traffic;
        let mut object = json!({
            "apiVersion": "slipway.dev/v1alpha1",
            "kind": "ApplicationMigration",
            "metadata": {"name": NAME, "namespace": "default"},
            "spec": {
                "goal": "Stage",
                "environmentSuffix": "dev",
                "database": {"type": "None"},
                "source": {
                    "ipv4Addresses": ["127.0.0.2"],
                    "healthCheck": {"protocol": "HTTP", "port": traffic.balancer.port(), "path": "/healthz"},
                },
                "target": {
                    "loadBalancerARN": traffic.balancer_arn,
                    "targetGroupARN": traffic.group_arn,
                    "ecsService": {"cluster": CLUSTER, "service": SERVICE},
                },
                "traffic": {
                    "route53": {
                        "zoneID": traffic.zone_id, "name": RECORD, "ttlSeconds": 5, "existingRecord": "Replace",
                    },
                    "maxWeight": 100,
                    "steps": [{"weight": 50, "hold": "1s"}, {"weight": 100, "hold": "1s"}],
                },
                "gates": [{"name": "healthy", "interval": "1s", "http": {"side": "Target", "path": "/healthz"}}],
                "alarms": {"snsTopicARN": "arn:aws:sns:us-east-1:111122223333:alerts-dev"},
            },
        });
        change(&mut object);
        object
    }

    fn applications(&self) -> Api<DynamicObject> {
        stage::applications(self.journey.client.clone(), "default")
    }

    async fn patch(&self, spec: Value) {
        let merge = Patch::Merge(json!({"spec": spec}));
        self.applications().patch(NAME, &PatchParams::default(), &merge).await.unwrap();
    }

    async fn until(&self, what: &str, reached: impl Fn(&View) -> bool) -> View {
        self.journey
            .eventually(PATIENCE, what, || async {
                let object = self.applications().get(NAME).await.map_err(|error| error.to_string())?;
                let view = View::of(&object);
                let traffic = &view.status()["traffic"];
                let seen =
                    format!("{}\n  traffic {traffic}\n  gates {}", view.describe(), view.status()["gates"]);
                if reached(&view) { Ok(view) } else { Err(seen) }
            })
            .await
    }

    /// Type, set identifier and weight of each record that Route 53 has, in order.
    fn records(&self) -> Vec<(String, Option<String>, String)> {
        let zone = self.journey.sandbox.traffic.zone_id.clone();
        self.journey.sandbox.aws.with_world(|world, _| {
            let sets = world.records(&zone).into_iter();
            let sets = sets.filter(|set| set.name.trim_end_matches('.').ends_with(RECORD));
            sets.map(|set| {
                (set.kind.clone(), set.set_identifier().map(str::to_owned), format!("{:?}", set.routing))
            })
            .collect()
        })
    }

    /// Of the target's record.
    fn target_weight(&self) -> Option<u64> {
        let zone = self.journey.sandbox.traffic.zone_id.clone();
        self.journey.sandbox.aws.with_world(|world, _| {
            world.records(&zone).into_iter().find_map(|set| match &set.routing {
                Routing::Weighted { set_identifier, weight } if set_identifier == "slipway-target" => {
                    Some(u64::from(*weight))
                }
                _ => None,
            })
        })
    }
}

fn weight(view: &View) -> Option<i64> {
    view.status()["traffic"]["weight"].as_i64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sick_target_takes_traffic_back_at_once_and_a_deletion_restores_what_stood_there() {
    let stage = Stage::begin("traffic").await;
    let before = stage.records();
    let plan = stage.example(|object| object["spec"]["goal"] = json!("Plan"));
    stage.journey.try_apply(&plan).await.unwrap();
    let view = stage.until("a plan", |view| view.is("Ready", "True", "Planned")).await;
    let steps = view.status()["plan"]["steps"].as_array().unwrap().len();
    assert!(steps > 5, "{:#}", view.status());
    assert_eq!(stage.records(), before, "a plan changes nothing");
    assert!(!view.is_held());

    stage.patch(json!({"goal": "Stage"})).await;
    stage.until("staged", |view| view.is_current() && view.is("Ready", "True", "Staging")).await;
    assert_eq!(stage.target_weight(), Some(0));
    stage.patch(json!({"goal": "Shift", "traffic": {"maxWeight": 50}})).await;
    stage.until("half of it", |view| weight(view) == Some(50)).await;
    let view =
        stage.until("held there", |view| view.is_current() && view.is("Ready", "True", "Shifting")).await;
    assert_eq!(view.status()["gateSummary"], "1/1", "{:#}", view.status());
    assert_eq!(view.status()["rollback"]["mode"], "Instant");

    for machine in &stage.fleets.target {
        machine.sicken(true);
    }
    let sick = Instant::now();
    stage
        .journey
        .eventually(Duration::from_secs(20), "no weight at the target", || async {
            match stage.target_weight() {
                Some(0) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    let took = sick.elapsed();
    println!("from the first failing answer to the weights submitted: {took:?}");
    let view = stage.until("given up", |view| view.is("Stalled", "True", "GivenUp")).await;
    assert_eq!((view.phase(), weight(&view)), ("RolledBack", Some(0)), "{:#}", view.status());
    assert_eq!(view.status()["latch"]["reason"], "GateFailed");

    stage.applications().delete(NAME, &kube::api::DeleteParams::default()).await.unwrap();
    stage
        .journey
        .eventually(PATIENCE, "it to be gone", || async {
            match stage.applications().get_opt(NAME).await {
                Ok(None) => Ok(()),
                Ok(Some(object)) => Err(View::of(&object).describe() + &object.name_any()),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
    assert_eq!(stage.records(), before, "what stood there before stands there again");
    let left = inventory::take(&stage.journey.sandbox.aws).all();
    let ours: Vec<&String> = left.iter().filter(|line| line.contains(NAME)).collect();
    assert!(ours.is_empty(), "{ours:?}");
    stage.journey.end().await;
}

/// Both goals are moved at once, and requests go on all the time: all traffic first, then the writer, and nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_goals_at_once_move_the_traffic_first_and_then_the_writer_and_lose_nothing() {
    let stage = Stage::begin("coupled").await;
    let journey = &stage.journey;
    let path = journey.sandbox.directory().path().join("coupled.journal");
    let book = Arc::new(Journal::open(&path).unwrap());
    let load = Load::start(&bank::Config {
        way: Way::Public(Public::read(journey.environment()).unwrap()),
        clients: 4,
        writes_per_second: 50,
        seed: 3,
        journal: Some(Arc::clone(&book)),
    });
    journey
        .apply(|object| {
            object["spec"]["goal"] = json!("CutOver");
            object["spec"]["applications"] = json!([NAME]);
            object["spec"]["rollback"] = json!({"minSoak": "0s"});
        })
        .await;
    let both = stage.example(|object| {
        object["spec"]["goal"] = json!("Shift");
        object["spec"]["database"] = json!({"type": "Migration", "migrationRef": {"name": journey::NAME}});
        object["spec"]["traffic"]["steps"] = json!([{"weight": 100, "hold": "1s"}]);
        object["spec"]["gates"].as_array_mut().unwrap().push(json!({
            "name": "one-bank", "interval": "1s",
            "sql": {"query": "SELECT count(*) > 0 FROM public.accounts", "expect": "true"},
        }));
    });
    journey.try_apply(&both).await.unwrap();

    // While the traffic is not there the writer stays, and says what it waits for.
    let waits = |view: &View| view.status()["next"].as_str().is_some_and(|next| next.contains(NAME));
    journey.until(journey::NAME, "waiting for the application", waits).await;
    let view = stage.until("shifted", |view| view.phase() == "Shifted").await;
    assert_eq!(weight(&view), Some(100), "{:#}", view.status());
    let soaking = |view: &View| view.phase() == "Soaking" && view.status()["writer"] == "Target";
    let database = journey.until(journey::NAME, "the target is the writer", soaking).await;
    let at = |view: &View, entry: &dyn Fn(&Value) -> bool| {
        let history = view.status()["history"].as_array().unwrap();
        let found =
            history.iter().find(|it| entry(it)).and_then(|it| it["at"].as_str().map(ToOwned::to_owned));
        found.unwrap_or_else(|| panic!("{:#}", view.status()["history"]))
    };
    let shifted = at(&view, &|it| it["phase"] == "Shifted");
    let moved = at(&database, &|it| it["phase"] == "CuttingOver");
    assert!(shifted <= moved, "traffic at {shifted}, the writer at {moved}");
    stage.until("follows the writer", |view| view.status()["writer"] == "Target").await;
    let served: u64 = stage.fleets.target.iter().map(Machine::served).sum();
    assert!(served > 0 && stage.fleets.source.served() > 0);

    // The end of both: the name is left to the target, and nothing of the way back is left.
    stage.patch(json!({"goal": "Finish"})).await;
    stage.until("finished", |view| view.is("Ready", "True", "Finished")).await;
    assert_eq!(stage.records().len(), 1, "{:?}", stage.records());
    journey.patch(journey::NAME, json!({"spec": {"goal": "Finish"}})).await.unwrap();
    journey.until(journey::NAME, "finished", |view| view.phase() == "Finished").await;

    let totals = load.stop().await;
    book.sync().unwrap();
    println!("{totals:?}");
    let [attempts, failed] = totals.attempts;
    assert!(attempts > 500 && failed * 10 < attempts, "{totals:?}");
    let target = journey.sandbox.target.superuser_dsn(bank::DATABASE);
    let reader = connect_local(&target).await.unwrap();
    let verdict = bank::journal::check(&reader, &Ledger::read(&path).unwrap()).await.unwrap();
    assert!(verdict.holds() && verdict.acknowledged > 200, "{verdict}\n{}", verdict.complaints().join("\n"));
    stage.journey.end().await;
}

//! Traffic really moves: a name server that answers by weight, two fleets, an operator, and what a user sees of it.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use sandbox::bank::api::Machine;
use sandbox::bank::journal::{Journal, Ledger};
use sandbox::bank::visitor::Public;
use sandbox::bank::{self, Load, Way};
use sandbox::postgres::connect_local;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::crash::inventory;
use crate::journey::{self, View};
use stage::{NAME, PATIENCE, Stage, weight};

mod deleting;
mod isolation;
pub mod stage;

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

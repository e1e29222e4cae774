//! The same for an application's traffic, in one sandbox again and again: staged, shifted, given up, deleted.

use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::EVERY;
use super::bench::events;
use super::inventory::{self, Lines};
use super::killed::live_and_die;
use super::points::{Point, Subject, arm, writes};
use super::replies::{FAULTS, met, set};
use crate::journey::View;
use crate::traffic::stage::{Stage, weight};

const NAME: &str = "ledger-api";

/// One way of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// From nothing to all traffic at the target.
    There,
    /// Back to the source, where it is held.
    Back,
    /// To what stood there before.
    Gone,
}

const WAYS: [Way; 3] = [Way::There, Way::Back, Way::Gone];

/// What each way changes in AWS, and how often a clean run does.
fn calls(way: Way) -> &'static [(&'static str, u32)] {
    match way {
        Way::There => &[
            ("route53:ChangeResourceRecordSets", 2),
            ("cloudwatch:PutMetricAlarm", 3),
            ("cloudwatch:PutDashboard", 1),
        ],
        Way::Back => &[("route53:ChangeResourceRecordSets", 1)],
        Way::Gone => &[
            ("route53:ChangeResourceRecordSets", 1),
            ("cloudwatch:DeleteAlarms", 1),
            ("cloudwatch:DeleteDashboards", 1),
        ],
    }
}

/// One way, undisturbed.
#[derive(Debug, Default)]
struct Clean {
    /// What is in AWS at its end: what is ours, and all of the zone's records.
    left: Lines,
    changes: Vec<String>,
    writes: usize,
}

struct Bench {
    stage: Stage,
    object: Value,
    subject: Subject,
    clean: [Clean; 3],
}

impl Bench {
    /// Starts everything, and goes each way once undisturbed.
    async fn begin(test: &str) -> Self {
        let stage = Box::pin(Stage::begin_with(test, |options| {
            options.delays.dns_in_sync = options.delays.dns_change;
        }))
        .await;
        let object = stage.quick(NAME, |object| {
            let spec = &mut object["spec"];
            spec["goal"] = json!("Shift");
            spec["traffic"]["steps"] = json!([{"weight": 100, "hold": "1s"}]);
            spec["alarms"] = json!({"snsTopicARN": "arn:aws:sns:us-east-1:111122223333:alerts-dev"});
        });
        let subject = Subject { name: NAME, resource: "applicationmigrations", api: stage.applications() };
        let mut bench = Self { stage, object, subject, clean: Default::default() };
        let before = bench.left("nobody's");
        let mut uid = String::new();
        for (number, way) in WAYS.into_iter().enumerate() {
            bench.new_operator().await;
            let begun = (bench.stage.journey.changes().len(), bench.writes());
            bench.start(way).await;
            if let Some(view) = bench.reached(way).await {
                view.uid().clone_into(&mut uid);
            }
            let changes = bench.stage.journey.changes().split_off(begun.0);
            for (call, times) in calls(way) {
                let made = changes.iter().filter(|change| change == call).count();
                assert_eq!(made, *times as usize, "{way:?} {call}: {changes:?}");
            }
            assert_eq!(changes.len(), calls(way).iter().map(|(_, times)| *times as usize).sum::<usize>());
            bench.clean[number] = Clean { left: bench.left(&uid), changes, writes: bench.writes() - begun.1 };
        }
        assert_eq!(bench.clean[2].left, before, "what stood there before stands there again");
        bench
    }

    fn writes(&self) -> usize {
        writes(&self.stage.journey.sandbox.cluster.audit_log, self.subject.resource)
    }

    /// What is in AWS of this uid, and every record of the zone.
    fn left(&self, uid: &str) -> Lines {
        let (aws, zone) = (&self.stage.journey.sandbox.aws, &self.stage.journey.sandbox.traffic.zone_id);
        let ours = inventory::take(aws);
        assert_eq!(ours.of_others(uid), Lines::new(), "something without our tags");
        ours.of(uid).into_iter().chain(inventory::records(aws, zone, uid)).collect()
    }

    async fn new_operator(&mut self) {
        if self.stage.journey.operator().is_some() {
            self.stage.journey.kill_operator().await;
        }
        self.stage.journey.start_operator();
    }

    async fn start(&self, way: Way) {
        match way {
            Way::There => drop(self.stage.journey.try_apply(&self.object).await.unwrap()),
            Way::Back => self.stage.patch_of(NAME, json!({"abortAttempt": 1})).await,
            Way::Gone => drop(self.subject.api.delete(NAME, &DeleteParams::default()).await.unwrap()),
        }
    }

    /// Waits until the end of a way is reached.
    async fn reached(&self, way: Way) -> Option<View> {
        self.stage
            .journey
            .eventually(crate::journey::PATIENCE, &format!("the end of {way:?}"), || async {
                let found = self.subject.api.get_opt(NAME).await.map_err(|error| error.to_string())?;
                let view = found.as_ref().map(View::of);
                if is_at_the_end(way, view.as_ref()) {
                    return Ok(view);
                }
                Err(view.map(|view| view.describe()).unwrap_or_default())
            })
            .await
    }

    /// The end of a way is that of the clean run.
    fn proved(&self, way: Way, uid: &str) {
        let clean = &self.clean[WAYS.iter().position(|one| *one == way).unwrap()];
        assert_eq!(self.left(uid), clean.left, "{way:?}: another end than a clean run's");
    }

    /// Goes one way, killed at a point of it if there is one.
    async fn pass(&mut self, way: Way, point: Option<Point>, uid: &str) -> String {
        self.new_operator().await;
        if let Some(point) = point {
            let armed = arm(&self.stage.journey, &self.subject, point);
            self.start(way).await;
            if armed.struck(|view| is_at_the_end(way, view)).await {
                self.stage.journey.start_operator();
            } else {
                // How many statuses are written depends on what each look happens to find.
                assert!(matches!(point, Point::Write(3..)), "{way:?}: the end was reached before {point:?}");
            }
        } else {
            self.start(way).await;
        }
        self.arrive(way, uid).await
    }

    /// Waits for the end, and proves it. Returns whose it is.
    async fn arrive(&self, way: Way, uid: &str) -> String {
        let view = self.reached(way).await;
        let uid = view.as_ref().map_or(uid, View::uid).to_owned();
        self.proved(way, &uid);
        if let Some(view) = view.filter(|_| way == Way::There) {
            let events = events(&self.stage.journey, &view).await.into_iter();
            let warnings: Vec<_> = events.filter(|(kind, _)| kind == "Warning").collect();
            assert!(warnings.is_empty(), "nobody was needed: {warnings:?}");
        }
        uid
    }
}

fn is_at_the_end(way: Way, view: Option<&View>) -> bool {
    match way {
        Way::There => view.is_some_and(|view| {
            view.is_current() && view.is("Ready", "True", "Shifted") && weight(view) == Some(100)
        }),
        Way::Back => view.is_some_and(|view| {
            view.is_current() && view.is("Stalled", "True", "GivenUp") && weight(view) == Some(0)
        }),
        Way::Gone => view.is_none(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_reaches_the_same_end_wherever_the_operator_is_killed_once() {
    let mut bench = Box::pin(Bench::begin("traffic-killed")).await;
    println!("a clean run: {:#?}", bench.clean);
    let points: [Vec<Point>; 3] = if std::env::var_os(EVERY).is_some() {
        [0, 1, 2].map(|way| {
            let Clean { changes, writes, .. } = &bench.clean[way];
            let of_aws =
                (1..=changes.len()).flat_map(|number| [Point::Change(number), Point::Answer(number)]);
            of_aws.chain((1..=*writes).map(Point::Write)).collect()
        })
    } else {
        [
            // The records; the intent of all traffic, before and after it was carried out.
            vec![Point::Change(1), Point::Answer(5), Point::Change(6)],
            vec![Point::Change(1), Point::Write(1), Point::Answer(1)],
            vec![Point::Change(1), Point::Answer(2), Point::Change(3)],
        ]
    };
    let most = points.iter().map(Vec::len).max().unwrap_or_default();
    for number in 0..most {
        let mut uid = String::new();
        for (way, points) in WAYS.into_iter().zip(&points) {
            let point = points.get(number).copied();
            println!("{way:?}, killed at {point:?}");
            uid = Box::pin(bench.pass(way, point, &uid)).await;
        }
    }
    bench.stage.journey.end().await;
}

/// Each life of the operator ends with one change of AWS more, and it never learns that it was made.
#[tokio::test(flavor = "multi_thread")]
async fn traffic_reaches_the_same_end_when_the_operator_is_killed_at_every_change() {
    let mut bench = Box::pin(Bench::begin("traffic-lives")).await;
    let mut uid = String::new();
    for (number, way) in WAYS.into_iter().enumerate() {
        bench.new_operator().await;
        bench.start(way).await;
        let changes = bench.clean[number].changes.clone();
        let subject = bench.subject.clone();
        let end = |view: Option<&View>| is_at_the_end(way, view);
        let lives = Box::pin(live_and_die(&mut bench.stage.journey, &subject, &changes, end)).await;
        uid = bench.arrive(way, &uid).await;
        println!("{way:?} after {lives} lives");
    }
    bench.stage.journey.end().await;
}

/// A reply that is lost, a request that is, an error and a token that has expired: each call that changes something meets one.
#[tokio::test(flavor = "multi_thread")]
async fn traffic_reaches_the_same_end_whatever_becomes_of_replies() {
    let mut bench = Box::pin(Bench::begin("traffic-replies")).await;
    let rounds: Vec<Vec<(&str, &str)>> = if std::env::var_os(EVERY).is_some() {
        FAULTS.iter().map(|fault| vec![*fault]).collect()
    } else {
        vec![vec![FAULTS[0]], FAULTS[1..].to_vec()]
    };
    for faults in rounds {
        let mut uid = String::new();
        for way in WAYS {
            bench.new_operator().await;
            let before = set(&bench.stage.journey, calls(way), &faults);
            bench.start(way).await;
            uid = bench.arrive(way, &uid).await;
            met(&bench.stage.journey, before, calls(way), &faults);
        }
    }
    bench.stage.journey.end().await;
}

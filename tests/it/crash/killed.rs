//! Kills the operator, at one point or at all of them, and starts it again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::EVERY;
use super::bench::{Bench, replicates};
use super::points::{Point, Subject, Work, arm, dead_or};
use crate::journey::{Journey, NAME, View};

/// One way of the migration: to Ready, or to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    There,
    Back,
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_once_anywhere_it_reaches_the_same_end() {
    let mut bench = Box::pin(Bench::begin("killed")).await;
    println!("a clean run: {:#?}", (&bench.clean.changes, &bench.clean.removals, bench.clean.writes));
    let (there, back) = if std::env::var_os(EVERY).is_some() { every(&bench) } else { sample(&bench) };
    for number in 0..there.len().max(back.len()) {
        let (there, back) = (there.get(number).copied(), back.get(number).copied());
        println!("killed at {there:?} and {back:?}");
        let view = Box::pin(pass(&mut bench, Way::There, there, None)).await;
        Box::pin(pass(&mut bench, Way::Back, back, Some(view))).await;
    }
    bench.end().await;
}

/// Goes one way, killed at a point of it if there is one.
async fn pass(bench: &mut Bench, way: Way, point: Option<Point>, view: Option<View>) -> View {
    let reached = |view: Option<&View>| match way {
        Way::There => replicates(view),
        Way::Back => view.is_none(),
    };
    let begin = async |bench: &Bench| match way {
        Way::There => bench.apply().await,
        Way::Back => bench.journey.delete(NAME).await,
    };
    bench.new_operator().await;
    if let Some(point) = point {
        let armed = arm(&bench.journey, &subject(&bench.journey), point);
        begin(bench).await;
        if armed.struck(reached).await {
            bench.journey.start_operator();
        } else {
            // How many statuses are written depends on what each look happens to find; all else is the same in each run.
            assert!(matches!(point, Point::Write(3..)), "the end was reached before {point:?}");
        }
    } else {
        begin(bench).await;
    }
    match way {
        Way::There => bench.ready().await,
        Way::Back => {
            let view = view.unwrap();
            bench.gone(&view).await;
            bench.empty_target().await;
            view
        }
    }
}

fn subject(journey: &Journey) -> Subject {
    Subject { name: NAME, resource: "databasemigrations", api: journey.migrations() }
}

/// Some of each kind, spread over the whole way.
fn sample(bench: &Bench) -> (Vec<Point>, Vec<Point>) {
    let (changes, removals) = (bench.clean.changes.len(), bench.clean.removals.len());
    (
        vec![Point::Write(1), Point::Inside(Work::FenceTarget), Point::Answer(changes / 2)],
        vec![
            Point::Change(removals / 3),
            Point::Inside(Work::DropSourceRecord),
            Point::Committed(Work::ReleaseTarget),
        ],
    )
}

/// All of them.
fn every(bench: &Bench) -> (Vec<Point>, Vec<Point>) {
    let numbers = |count: usize| 1..=count;
    let (changes, removals) = (bench.clean.changes.len(), bench.clean.removals.len());
    let [writes, last_writes] = bench.clean.writes;
    let both = |work| [Point::Inside(work), Point::Committed(work)];
    let there = numbers(changes)
        .flat_map(|number| [Point::Change(number), Point::Answer(number)])
        .chain(numbers(writes).map(Point::Write))
        .chain([Work::FenceTarget, Work::PrepareSource, Work::NoteSlot].into_iter().flat_map(both))
        .chain([Point::Committed(Work::Beat)])
        .collect();
    let back = numbers(removals)
        .flat_map(|number| [Point::Change(number), Point::Answer(number)])
        .chain(numbers(last_writes).map(Point::Write))
        .chain([Work::DropSourceRecord, Work::ReleaseTarget].into_iter().flat_map(both))
        .chain([Point::Committed(Work::DropSlot)])
        .collect();
    (there, back)
}

/// Each life of the operator ends with one change of AWS more, and it never learns that it was made.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_change_it_reaches_the_same_end() {
    let mut bench = Box::pin(Bench::begin("lives")).await;
    let changes = bench.clean.changes.clone();
    bench.apply().await;
    let subject = subject(&bench.journey);
    let lives = Box::pin(live_and_die(&mut bench.journey, &subject, &changes, replicates)).await;
    let view = bench.ready().await;
    println!("replicating after {lives} lives");
    let removals = bench.clean.removals.clone();
    bench.new_operator().await;
    bench.journey.delete(NAME).await;
    let lives = Box::pin(live_and_die(&mut bench.journey, &subject, &removals, |view| view.is_none())).await;
    bench.gone(&view).await;
    println!("gone after {lives} lives");
    bench.end().await;
}

type Kill = Box<dyn Fn() + Send>;

/// Kills and starts the operator until the end is reached: once at each of these changes. A test that is begun again in
/// each life, because its time is remembered in the process only, would otherwise never end.
pub async fn live_and_die(
    journey: &mut Journey,
    subject: &Subject,
    changes: &[String],
    reached: impl Fn(Option<&View>) -> bool,
) -> usize {
    let mut left: HashMap<String, usize> = HashMap::new();
    for change in changes {
        *left.entry(change.clone()).or_default() += 1;
    }
    let kill: Arc<Mutex<Option<Kill>>> = Arc::default();
    let killer = Arc::clone(&kill);
    journey.sandbox.aws.on_call(move |call| {
        let Some(left) = left.get_mut(&call.operation).filter(|left| **left > 0) else { return };
        // A call of the dead that came late is no life.
        if let Some(kill) = killer.lock().unwrap().take() {
            *left -= 1;
            kill();
        }
    });
    let mut lives = 1;
    loop {
        let killer = journey.operator().unwrap().killer();
        *kill.lock().unwrap() = Some(Box::new(killer));
        if !dead_or(journey, subject, &reached).await {
            break;
        }
        journey.start_operator();
        lives += 1;
    }
    journey.sandbox.aws.off_call();
    assert!(lives > changes.len(), "{lives} lives for {changes:?}");
    lives
}

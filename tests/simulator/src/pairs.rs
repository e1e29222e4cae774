//! No order of moving the two goals, both at once included, leads to a deadlock: from every pair of places where the two kinds
//! can stand, every pair of orders is given at the same moment, and each history must come to an end that its orders explain.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use slipway::api::application::Goal as Reach;
use slipway::api::database::Goal;

use crate::history::{Setup, run};
use crate::journey::{By, Journey, TrafficJourney};
use crate::world::people::{Order, When};

/// Where a `DatabaseMigration` stands when the orders come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Writer {
    Pending,
    Replicating,
    CuttingOver,
    Soaking,
    Finished,
}

/// Where an `ApplicationMigration` stands then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weight {
    Pending,
    Staging,
    Changing,
    Held,
    Shifted,
    RolledBack,
    Finished,
}

const WRITERS: [Writer; 5] =
    [Writer::Pending, Writer::Replicating, Writer::CuttingOver, Writer::Soaking, Writer::Finished];
const WEIGHTS: [Weight; 7] = [
    Weight::Pending,
    Weight::Staging,
    Weight::Changing,
    Weight::Held,
    Weight::Shifted,
    Weight::RolledBack,
    Weight::Finished,
];
const ORDERS: [&str; 2] = ["TrafficFirst", "DatabaseFirst"];

/// What is ordered of one kind: at once, and a minute later.
type Move = (&'static str, Vec<Order>, Option<Order>);

fn moves_of_the_writer() -> Vec<Move> {
    vec![
        ("nothing", vec![], None),
        ("Replicate", vec![Order::Goal(Goal::Replicate)], None),
        ("CutOver", vec![Order::Goal(Goal::CutOver)], None),
        ("Finish", vec![Order::Goal(Goal::Finish)], None),
        ("suspend, resume", vec![Order::Suspend(true)], Some(Order::Suspend(false))),
        ("abort, again", vec![Order::Abort], Some(Order::Attempt)),
        ("delete", vec![Order::Delete], None),
    ]
}

fn moves_of_the_weight() -> Vec<Move> {
    let shift = |weight| vec![Order::MaxWeight(weight), Order::Reach(Reach::Shift)];
    vec![
        ("nothing", vec![], None),
        ("Stage", vec![Order::Reach(Reach::Stage)], None),
        ("Shift up to 10", shift(10), None),
        ("Shift up to 100", shift(100), None),
        ("Finish", vec![Order::MaxWeight(100), Order::Reach(Reach::Finish)], None),
        ("suspend, resume", vec![Order::SuspendTraffic(true)], Some(Order::SuspendTraffic(false))),
        ("abort, again", vec![Order::AbortTraffic], Some(Order::AttemptTraffic)),
        ("delete", vec![Order::DeleteTraffic], None),
    ]
}

/// The orders that lead there; `None` where the two kinds keep each other from it.
fn way(order: &str, writer: Writer, weight: Weight) -> Option<Vec<(When, Order)>> {
    use When::{After, Changing, Fenced, Held, Phase, Ready, Traffic, TrafficReady};
    let now = After(0);
    let stage = || vec![(now, Order::MaxWeight(0)), (now, Order::Reach(Reach::Stage))];
    let shift = |weight| vec![(now, Order::MaxWeight(weight)), (now, Order::Reach(Reach::Shift))];
    let nothing = (now, Order::Publish(true));
    let seen = |when| vec![(when, Order::Publish(true))];
    let all = || [shift(100), seen(Held(10)), seen(Held(100)), seen(TrafficReady("Shifted"))].concat();
    // From the beginning, or, where traffic had to be shifted for the writer to move, from there.
    let forth = |from_all: bool| -> Option<Vec<(When, Order)>> {
        Some(match weight {
            Weight::Pending if from_all => return None,
            Weight::Pending => seen(TrafficReady("Pending")),
            Weight::Staging => [stage(), seen(TrafficReady("Staging"))].concat(),
            Weight::Changing => [shift(10), seen(Changing(10))].concat(),
            Weight::Held => [shift(10), seen(TrafficReady("Shifting"))].concat(),
            Weight::Shifted if from_all => vec![nothing],
            Weight::Shifted => all(),
            Weight::RolledBack if from_all => {
                [vec![(now, Order::AbortTraffic)], seen(Traffic("RolledBack"))].concat()
            }
            Weight::RolledBack => [
                stage(),
                seen(TrafficReady("Staging")),
                vec![(now, Order::AbortTraffic)],
                seen(Traffic("RolledBack")),
            ]
            .concat(),
            Weight::Finished if from_all => {
                [vec![(now, Order::Reach(Reach::Finish))], seen(TrafficReady("Finished"))].concat()
            }
            Weight::Finished => {
                [all(), vec![(now, Order::Reach(Reach::Finish))], seen(TrafficReady("Finished"))].concat()
            }
        })
    };
    let goal = |goal| vec![(now, Order::Goal(goal))];
    let moved = || match writer {
        Writer::CuttingOver => [goal(Goal::CutOver), seen(Fenced)].concat(),
        Writer::Soaking => [goal(Goal::CutOver), seen(Ready("Soaking"))].concat(),
        _ => [goal(Goal::CutOver), seen(Ready("Soaking")), goal(Goal::Finish), seen(Ready("Finished"))]
            .concat(),
    };
    let replicate =
        || [goal(Goal::Replicate), seen(Phase("Replicating")), seen(Ready("Replicating"))].concat();
    let at_zero = matches!(weight, Weight::Pending | Weight::Staging | Weight::RolledBack);
    match (order, writer) {
        // Who follows the writer is proved once there is one.
        (_, Writer::Pending) if weight == Weight::Pending => Some(seen(Ready("Pending"))),
        (_, Writer::Pending) => None,
        ("TrafficFirst", Writer::Replicating) => (weight != Weight::Finished)
            .then(|| forth(false))
            .flatten()
            .map(|way| [replicate(), way].concat()),
        ("TrafficFirst", Writer::CuttingOver) => {
            (weight == Weight::Shifted).then(|| [replicate(), all(), moved()].concat())
        }
        ("TrafficFirst", _) => forth(true).map(|way| [replicate(), all(), moved(), way].concat()),
        (_, Writer::Replicating) => {
            at_zero.then(|| forth(false)).flatten().map(|way| [replicate(), way].concat())
        }
        (_, Writer::CuttingOver) => {
            at_zero.then(|| forth(false)).flatten().map(|way| [replicate(), way, moved()].concat())
        }
        (_, _) => forth(false).map(|way| [replicate(), moved(), way].concat()),
    }
}

/// All of them, by name.
pub fn all() -> Vec<(String, Journey)> {
    let mut all = Vec::new();
    for order in ORDERS {
        for (writer, weight) in WRITERS.into_iter().flat_map(|writer| WEIGHTS.map(|weight| (writer, weight)))
        {
            let Some(way) = way(order, writer, weight) else { continue };
            for (of_writer, first, later) in moves_of_the_writer() {
                for (of_weight, also, afterwards) in moves_of_the_weight() {
                    let at_once =
                        [first.clone(), also].concat().into_iter().map(|order| (When::After(0), order));
                    let mut orders = way.clone();
                    orders.push((When::After(0), Order::Arrived));
                    orders.extend(at_once);
                    orders.push((When::After(60), Order::Publish(true)));
                    orders.extend(
                        [later, afterwards].into_iter().flatten().map(|order| (When::After(0), order)),
                    );
                    let name = format!("{order}: {writer:?} and {weight:?}, {of_writer} and {of_weight}");
                    all.push((name, journey(order, orders)));
                }
            }
        }
    }
    all
}

fn journey(order: &'static str, orders: Vec<(When, Order)>) -> Journey {
    Journey {
        name: "both",
        goal: Goal::Plan,
        by: By::Hosts,
        traffic: Some(TrafficJourney {
            goal: Reach::Plan,
            max_weight: 0,
            alone: false,
            order,
            orders: Vec::new(),
        }),
        orders,
        other_ends: &[],
    }
}

/// What came of them.
#[derive(Debug, Default)]
pub struct Tally {
    /// How many were run.
    pub run: usize,
    /// Those that did not come to an end, or broke an invariant.
    pub failed: Vec<String>,
    /// How often each end was reached.
    pub ends: std::collections::BTreeMap<String, usize>,
}

/// Tries all that are in the share `(part, of)`.
pub fn try_all(threads: usize, (part, of): (usize, usize), only: Option<&str>) -> Tally {
    let cases: Vec<(String, Journey)> = all()
        .into_iter()
        .enumerate()
        .filter(|(number, (name, _))| number % of == part && only.is_none_or(|only| name.contains(only)))
        .map(|(_, case)| case)
        .collect();
    let (next, tally) = (AtomicUsize::new(0), Mutex::new(Tally::default()));
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while let Some((name, journey)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = run(&Setup::clean(journey.clone()));
                    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                    tally.run += 1;
                    *tally.ends.entry(outcome.end.clone()).or_default() += 1;
                    if let Some(found) = outcome.violation {
                        tally.failed.push(format!("{name}: invariant {}: {}", found.invariant, found.words));
                    }
                }
            });
        }
    });
    let mut tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    tally.failed.sort_unstable();
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_forty_pairs_of_places_and_orders() {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let tally = try_all(threads, (3, 40), None);
        assert!(tally.failed.is_empty(), "{:#?}", tally.failed);
        assert!(tally.run >= 50 && tally.ends.len() >= 10, "{tally:?}");
    }
}

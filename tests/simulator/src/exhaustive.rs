//! Every call of every journey, with every fault that can happen to it: one run each. A run must end as the clean one does,
//! or, where an order came at a moment that the fault moved, in one of the ends that the journey names.
//!
//! A read that is repeated while nothing was changed in between is tried twice, and not each of the hundred times that a
//! wait asks it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::history::{Outcome, Setup, run};
use crate::journey::Journey;
use crate::world::faults::{Fate, Point};

/// What was tried of one journey.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// Calls of its clean run, up to its end.
    pub calls: usize,
    /// Those that are tried.
    pub points: usize,
    /// Runs, one for each point and fault.
    pub runs: usize,
    /// What was wrong.
    pub failed: Vec<String>,
}

/// The clean run of a journey.
pub fn clean(journey: &Journey) -> Outcome {
    run(&Setup { listed: true, ..Setup::clean(journey.clone()) })
}

/// Which calls to try: all that change something, and each read twice between two changes.
fn points(calls: &[Point]) -> Vec<usize> {
    let mut asked: HashMap<(&str, &str), u32> = HashMap::new();
    let mut chosen = Vec::new();
    for (index, point) in calls.iter().enumerate() {
        let lease = point.name.ends_with("Lease");
        if point.mutates && !lease && point.name != "beat" {
            asked.clear();
            chosen.push(index);
            continue;
        }
        let times = asked.entry((point.name, point.on.as_str())).or_default();
        *times += 1;
        if *times <= 2 {
            chosen.push(index);
        }
    }
    chosen
}

/// Tries every point of every journey, or of those in the share `(part, of)`.
pub fn try_all(journeys: &[Journey], threads: usize, share: (usize, usize), only: Option<&str>) -> Vec<Row> {
    journeys
        .iter()
        .filter(|journey| only.is_none_or(|only| journey.name == only))
        .map(|journey| try_journey(journey, threads, share))
        .collect()
}

fn try_journey(journey: &Journey, threads: usize, (part, of): (usize, usize)) -> Row {
    let clean = clean(journey);
    let mut row = Row { name: journey.name, calls: clean.calls_to_the_end, ..Row::default() };
    if let Some(found) = &clean.violation {
        row.failed.push(format!("the clean run: invariant {}: {}", found.invariant, found.words));
        return row;
    }
    let calls = &clean.calls[..clean.calls_to_the_end.min(clean.calls.len())];
    let chosen = points(calls);
    row.points = chosen.len();
    let cases: Vec<(usize, Fate)> = chosen
        .into_iter()
        .flat_map(|index| Fate::EACH.map(|fate| (index, fate)))
        .filter(|(index, fate)| fate.fits(&calls[*index]))
        .enumerate()
        .filter(|(number, _)| number % of == part)
        .map(|(_, case)| case)
        .collect();
    row.runs = cases.len();
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while let Some((index, fate)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (_, wrong) = try_one(journey, &clean, (*index, *fate), false);
                    if let Some(wrong) = wrong {
                        let point = &calls[*index];
                        let words = format!("call {index}, {} {}, {fate:?}: {wrong}", point.name, point.on);
                        failed.lock().unwrap_or_else(PoisonError::into_inner).push(words);
                    }
                }
            });
        }
    });
    row.failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    row.failed.sort_unstable();
    row
}

/// Tries every fault of one call, and tells what happened and what was wrong with it.
pub fn try_point(journey: &Journey, index: usize) -> Vec<(Fate, Outcome, Option<String>)> {
    let clean = clean(journey);
    let Some(point) = clean.calls.get(index) else { return Vec::new() };
    let fates = Fate::EACH.into_iter().filter(|fate| fate.fits(point));
    fates
        .map(|fate| {
            let (outcome, wrong) = try_one(journey, &clean, (index, fate), true);
            (fate, outcome, wrong)
        })
        .collect()
}

fn try_one(
    journey: &Journey,
    clean: &Outcome,
    fault: (usize, Fate),
    told: bool,
) -> (Outcome, Option<String>) {
    let outcome = run(&Setup { one: Some(fault), told, ..Setup::clean(journey.clone()) });
    let wrong = wrong(journey, clean, &outcome);
    (outcome, wrong)
}

/// What is wrong with a run, if anything is.
fn wrong(journey: &Journey, clean: &Outcome, outcome: &Outcome) -> Option<String> {
    if let Some(found) = &outcome.violation {
        return Some(format!("invariant {}: {}", found.invariant, found.words));
    }
    if !outcome.reached {
        return Some("the call was never reached".to_owned());
    }
    if journey.other_ends.contains(&outcome.end.as_str()) {
        return None;
    }
    if outcome.end != clean.end {
        return Some(format!("it ended as {:?}, the clean run as {:?}", outcome.end, clean.end));
    }
    (outcome.left != clean.left)
        .then(|| format!("it left {:?}, the clean run {:?}", outcome.left, clean.left))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journey;

    #[test]
    fn a_share_of_the_single_faults_and_each_clean_run() {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let rows = try_all(&journey::all(), threads, (7, 100), None);
        let failed: Vec<_> = rows.iter().flat_map(|row| &row.failed).collect();
        assert!(failed.is_empty(), "{failed:#?}");
        assert!(rows.len() >= 20);
        let rows = try_all(&journey::of_traffic(), threads, (7, 400), None);
        let failed: Vec<_> = rows.iter().flat_map(|row| &row.failed).collect();
        assert!(failed.is_empty(), "{failed:#?}");
        assert!(rows.len() >= 27);
    }
}

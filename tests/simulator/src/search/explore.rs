//! Breadth first over every state within the bounds: the first broken one has the shortest story.

use std::collections::BTreeMap;

use super::coverage::MET;
use super::eyes::{Eyes, Plan, Rest};
use super::fairness::{self, Graph};
use super::fingerprint::{Known, of};
use super::state::{Deletion, State, Task};
use super::story::Line;
use super::turn::next;
use super::{Finding, Report, Settings};
use crate::invariants::{Violation, check};
use slipway::api::condition::Reason;

/// So many states are expanded by one thread before all are joined.
const SHARE: usize = 16_384;

/// What expanding one state found.
struct Expanded {
    finding: Option<Finding>,
    rest: Option<Rest>,
    met: u32,
    /// Fingerprint, whose act, and the state itself if it was not known before.
    edges: Vec<(u64, u8, Option<State>)>,
}

/// Explores.
pub fn explore(settings: Settings) -> Report {
    let mut first = State::new(settings.bounds);
    first.take(settings.form(), settings.weak());
    let mut known: Known<u32> = Known::default();
    let mut prints = vec![of(&first)];
    let mut parents = vec![0_u32];
    let mut graph = Graph::default();
    known.insert(prints[0], 0);
    let mut eyes: Vec<Eyes> = (0..settings.threads.max(1)).map(|_| Eyes::new(settings.mutant)).collect();
    let mut report = Report {
        states: 1,
        edges: 0,
        depth: 0,
        seconds: 0.0,
        finding: None,
        complete: true,
        met: [0; MET.len()],
        rests: BTreeMap::new(),
        decisions: 0,
    };
    let mut level = vec![first];
    let mut at = 0_u32;
    while !level.is_empty() {
        let mut following = Vec::new();
        for share in level.chunks(SHARE * eyes.len()) {
            for expanded in expand(share, &mut eyes, settings, &known) {
                if let Some(finding) = expanded.finding {
                    report.finding = Some((finding, path(at, &parents, &prints, settings)));
                    report.states = prints.len();
                    report.complete = false;
                    return report;
                }
                graph.rest.push(expanded.rest.is_some());
                if let Some(rest) = expanded.rest {
                    *report.rests.entry(rest).or_default() += 1;
                }
                for (bit, met) in report.met.iter_mut().enumerate() {
                    *met += usize::from(expanded.met & (1 << bit) != 0);
                }
                for (print, actor, state) in expanded.edges {
                    report.edges += 1;
                    let fresh = u32::try_from(prints.len()).unwrap_or(u32::MAX);
                    let id = *known.entry(print).or_insert(fresh);
                    if id == fresh
                        && let Some(state) = state
                    {
                        prints.push(print);
                        parents.push(at);
                        following.push(state);
                    }
                    if settings.liveness {
                        graph.add(id, actor);
                    }
                }
                graph.end();
                at += 1;
            }
            if prints.len() > settings.limit {
                report.complete = false;
                report.states = prints.len();
                return report;
            }
        }
        report.depth += usize::from(!following.is_empty());
        level = following;
    }
    report.states = prints.len();
    report.decisions = eyes.iter().map(Eyes::decisions).max().unwrap_or_default();
    if settings.liveness {
        drop(known);
        if let Some(id) = fairness::stays_away(&graph) {
            report.finding = Some((Finding::NeverRests, path(id, &parents, &prints, settings)));
        }
    }
    report
}

fn expand(share: &[State], eyes: &mut [Eyes], settings: Settings, known: &Known<u32>) -> Vec<Expanded> {
    let part = share.len().div_ceil(eyes.len()).max(1);
    std::thread::scope(|scope| {
        let parts: Vec<_> = share
            .chunks(part)
            .zip(eyes.iter_mut())
            .map(|(states, eyes)| {
                scope.spawn(move || {
                    let mut out = Vec::new();
                    states.iter().map(|state| one(state, eyes, settings, known, &mut out)).collect::<Vec<_>>()
                })
            })
            .collect();
        parts
            .into_iter()
            .flat_map(|part| part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

fn one(
    state: &State,
    eyes: &mut Eyes,
    settings: Settings,
    known: &Known<u32>,
    out: &mut Vec<Line>,
) -> Expanded {
    let mut met = 0;
    for (bit, (_, is)) in MET.iter().enumerate() {
        met |= u32::from(is(state)) << bit;
    }
    if let Some(violation) = broken(state) {
        return Expanded { finding: Some(Finding::Broken(violation)), rest: None, met, edges: Vec::new() };
    }
    out.clear();
    let plan = next(state, eyes, settings.form(), settings.weak(), out);
    let unmodelled = plan.and_then(|plan| plan.unmodelled).map(Finding::Unmodelled);
    let this = of(state);
    let edges = out
        .drain(..)
        .filter_map(|(act, next)| {
            let print = of(&next);
            (print != this).then(|| (print, act.actor(), (!known.contains_key(&print)).then_some(next)))
        })
        .collect();
    Expanded { finding: unmodelled, rest: rest(state, plan), met, edges }
}

/// What is broken in a state, or was on the way to it.
pub fn broken(state: &State) -> Option<Violation> {
    if state.broken.is_some() {
        return state.broken;
    }
    check(&state.sides, &state.history).err()
}

/// Whether a migration may stay like this: somebody can write, the operator has nothing left to do or told a person what
/// to change, and nothing of a cutover is left behind that would fill a disk.
pub(super) fn rest(state: &State, plan: Option<Plan>) -> Option<Rest> {
    let (source, target) = (&state.sides.source, &state.sides.target);
    if !(source.open || target.open) {
        return None;
    }
    if state.object.released {
        let left = source.row_of(super::state::OURS).is_some() || source.forward.is_some();
        let retained = state.object.deletion == Some(Deletion::Retain);
        return (retained || !left).then_some(Rest::Ready(Reason::Deleting));
    }
    let rest = plan?.rest?;
    let idle = state.late.is_empty() && state.operator.read == state.object;
    if idle && source.open && rest == Rest::Ready(Reason::Replicating) && target.back.is_some() {
        return None;
    }
    if idle && rest == Rest::Ready(Reason::Soaking) && (source.forward.is_some() || state.task != Task::Gone)
    {
        return None;
    }
    if rest == Rest::Ready(Reason::Finished) && (source.forward.is_some() || target.back.is_some()) {
        return None;
    }
    Some(rest)
}

/// The shortest way to a state, walked again.
fn path(to: u32, parents: &[u32], prints: &[u64], settings: Settings) -> Vec<Line> {
    let mut ids = vec![to];
    let mut id = to;
    while id != 0 {
        id = parents[id as usize];
        ids.push(id);
    }
    ids.reverse();
    let mut eyes = Eyes::new(settings.mutant);
    let mut state = State::new(settings.bounds);
    state.take(settings.form(), settings.weak());
    let mut story = Vec::new();
    for id in ids.into_iter().skip(1) {
        let mut out = Vec::new();
        next(&state, &mut eyes, settings.form(), settings.weak(), &mut out);
        let Some(line) = out.into_iter().find(|(_, next)| of(next) == prints[id as usize]) else { break };
        state = line.1.clone();
        story.push(line);
    }
    story
}

//! Liveness: once nothing goes wrong any more and nobody changes the goal, a run in which the operator, its calls, the
//! task and time all go on must come to rest. What breaks that is a part of the graph in which such a run can stay (a
//! strongly connected component) with a state that is no rest.

use super::turn::FAIR;

/// The changes that happen without a fault.
#[derive(Default)]
pub struct Graph {
    /// Whether a state is one of rest.
    pub rest: Vec<bool>,
    offsets: Vec<u64>,
    to: Vec<u32>,
    actors: Vec<u8>,
}

impl Graph {
    /// One change of the state that is being told of.
    pub fn add(&mut self, to: u32, actor: u8) {
        if usize::from(actor) <= FAIR {
            self.to.push(to);
            self.actors.push(actor);
        }
    }

    /// All of its changes were told.
    pub fn end(&mut self) {
        self.offsets.push(self.to.len() as u64);
    }

    fn edges(&self, state: usize) -> std::ops::Range<usize> {
        let begin = if state == 0 { 0 } else { self.offsets[state - 1] };
        // They index vectors of this machine.
        let index = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
        index(begin)..index(self.offsets[state])
    }
}

const NONE: u32 = u32::MAX;

/// A state in which, or around which, a fair run can stay for ever without rest. Tarjan's components, without recursion.
pub fn stays_away(graph: &Graph) -> Option<u32> {
    let count = graph.rest.len();
    let mut index = vec![NONE; count];
    let mut low = vec![0_u32; count];
    let mut component = vec![NONE; count];
    let mut stack: Vec<u32> = Vec::new();
    let mut calls: Vec<(u32, usize)> = Vec::new();
    let (mut next, mut components) = (0_u32, 0_u32);
    let mut members = Vec::new();
    for root in 0..count {
        if index[root] != NONE {
            continue;
        }
        let mut open = Some(u32::try_from(root).unwrap_or(NONE));
        loop {
            if let Some(state) = open.take() {
                let at = state as usize;
                index[at] = next;
                low[at] = next;
                next += 1;
                stack.push(state);
                calls.push((state, graph.edges(at).start));
            }
            let Some((state, edge)) = calls.last_mut() else { break };
            let at = *state as usize;
            if *edge < graph.edges(at).end {
                let to = graph.to[*edge];
                *edge += 1;
                if index[to as usize] == NONE {
                    open = Some(to);
                } else if component[to as usize] == NONE {
                    low[at] = low[at].min(index[to as usize]);
                }
                continue;
            }
            calls.pop();
            if let Some((above, _)) = calls.last() {
                low[*above as usize] = low[*above as usize].min(low[at]);
            }
            if low[at] != index[at] {
                continue;
            }
            members.clear();
            while let Some(member) = stack.pop() {
                component[member as usize] = components;
                members.push(member);
                if member as usize == at {
                    break;
                }
            }
            if let Some(found) = away(graph, &members, &component, components) {
                return Some(found);
            }
            components += 1;
        }
    }
    None
}

/// Whether a fair run can stay in a component: everybody who is fair acts within it, or can't act somewhere in it.
fn away(graph: &Graph, members: &[u32], component: &[u32], this: u32) -> Option<u32> {
    let restless = members.iter().copied().filter(|member| !graph.rest[*member as usize]).min()?;
    let (mut pauses, mut acts) = ([false; FAIR], [false; FAIR]);
    for member in members {
        let mut can = [false; FAIR];
        for edge in graph.edges(*member as usize) {
            let actor = usize::from(graph.actors[edge]);
            if actor < FAIR {
                can[actor] = true;
                acts[actor] |= component[graph.to[edge] as usize] == this;
            }
        }
        for actor in 0..FAIR {
            pauses[actor] |= !can[actor];
        }
    }
    (0..FAIR).all(|actor| pauses[actor] || acts[actor]).then_some(restless)
}

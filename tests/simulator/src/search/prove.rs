//! That what a search forgets makes no difference: the raw states are walked, and from each of them must follow the same
//! as from its canonical form.

use std::fmt;

use super::bounds::Bounds;
use super::explore::{broken, rest};
use super::eyes::Eyes;
use super::fingerprint::{Prints, of};
use super::forget::Form;
use super::state::State;
use super::story::{stands, words};
use super::turn::{Act, next};

/// What was compared.
#[derive(Clone, Copy, Debug)]
pub struct Proof {
    /// Raw states.
    pub raw: usize,
    /// Canonical forms that they have.
    pub canonical: usize,
    /// Raw states with as many calls in flight as there may be: one more never happens, and where the canonical form has
    /// forgotten one of them, it does. So more follows from that form, and they can't be compared.
    pub crowded: usize,
    /// No raw state within the bounds was left out.
    pub complete: bool,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { raw, canonical, crowded, complete } = self;
        let so_far = if *complete { "" } else { ", not to the end" };
        write!(f, "{raw} raw states, {canonical} canonical, {crowded} not compared{so_far}")
    }
}

/// Walks the raw states within bounds, at most `limit` of them.
pub fn prove(bounds: Bounds, limit: usize) -> Result<Proof, String> {
    let mut eyes = Eyes::new(None);
    let mut first = State::new(bounds);
    first.take(Form::Raw, &[]);
    let (mut known, mut forms) = (Prints::default(), Prints::default());
    known.insert(of(&first));
    let mut proof = Proof { raw: 0, canonical: 0, crowded: 0, complete: true };
    let mut level = vec![first];
    while let Some(state) = level.pop() {
        proof.raw += 1;
        let form = canonical(&state);
        forms.insert(of(&form));
        if broken(&state) != broken(&form) {
            return Err(format!("{:?} is {:?}\n{}", broken(&state), broken(&form), both(&state, &form)));
        }
        let (mut of_state, mut of_form) = (Vec::new(), Vec::new());
        let plan = next(&state, &mut eyes, Form::Raw, &[], &mut of_state);
        if broken(&state).is_some() {
            continue;
        }
        if state.is_crowded() && !form.is_crowded() {
            proof.crowded += 1;
        } else {
            let plan_of_form = next(&form, &mut eyes, Form::Raw, &[], &mut of_form);
            let (mine, its) = (rest(&state, plan), rest(&form, plan_of_form));
            // With fewer calls in flight, less may be left undone.
            if mine != its && (its.is_some() || state.late.len() == form.late.len()) {
                return Err(format!("{mine:?} is {its:?}\n{}", both(&state, &form)));
            }
            let this = of(&form);
            let (mine, its) = (follow(&of_state, this), follow(&of_form, this));
            for (some, others, whose) in [(&mine, &its, "state"), (&its, &mine, "form")] {
                if let Some((_, _, act, to)) = some.iter().find(|one| {
                    others.binary_search_by_key(&(one.0, one.1), |other| (other.0, other.1)).is_err()
                }) {
                    return Err(format!(
                        "only of the {whose}: {}\n{}\nleads to {to:#?}",
                        words(act),
                        both(&state, &form)
                    ));
                }
            }
        }
        if proof.raw + level.len() > limit {
            proof.complete = false;
            break;
        }
        for (_, state) in of_state {
            if known.insert(of(&state)) {
                level.push(state);
            }
        }
    }
    proof.canonical = forms.len();
    Ok(proof)
}

fn canonical(state: &State) -> State {
    let mut form = state.clone();
    form.take(Form::Canonical, &[]);
    form
}

/// What follows, in canonical form and in order, but for what leads nowhere else.
fn follow(lines: &[(Act, State)], this: u64) -> Vec<(u64, u8, Act, State)> {
    let mut follow: Vec<_> = lines
        .iter()
        .map(|(act, state)| {
            let form = canonical(state);
            (of(&form), act.actor(), *act, form)
        })
        .filter(|(print, ..)| *print != this)
        .collect();
    follow.sort_unstable_by_key(|(print, actor, ..)| (*print, *actor));
    follow
}

fn both(state: &State, form: &State) -> String {
    format!("{}\n{}\n{state:#?}\n{form:#?}", stands(state), stands(form))
}

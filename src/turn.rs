//! What both kinds of migration make of a turn that did not go well: what is said of it, and when to look again.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::api::condition::Reason;
use crate::database::decide::State;
use crate::fault::Fault;
use crate::operator::backoff;
use crate::operator::context::Pace;

/// Facts that could not be had for a shorter time than this change nothing in the status.
const UNCERTAIN_FOR: SignedDuration = SignedDuration::from_secs(30);
/// A step that failed this often in a row is told of; once or twice is a passing trouble.
const FAILURES_TOLD: u32 = 3;

/// What is said of a step that failed: at once if a person must act, else once it has failed for a while.
pub fn tell_of_failure(state: &mut State, next: &mut String, outcome: &Result<(), Fault>, failures: u32) {
    match outcome {
        Err(Fault::Blocked(blocked)) => {
            *state = State::Stalled(blocked.clone());
            *next = format!("waiting for a person: {} (see the Stalled condition)", blocked.reason);
        }
        Err(fault) if failures >= FAILURES_TOLD => {
            *state = State::Walking { reason: Reason::Retrying, message: fault.message().to_owned() };
        }
        Err(_) | Ok(()) => {}
    }
}

/// A blink of the network is no news: facts that can't be had are reported once that has lasted.
pub fn held_back(state: &State, uncertain_since: &mut Option<Timestamp>, now: Timestamp) -> bool {
    if !matches!(state, State::Uncertain(_)) {
        *uncertain_since = None;
        return false;
    }
    let since = *uncertain_since.get_or_insert(now);
    now.duration_since(since) < UNCERTAIN_FOR
}

/// When to look again after what did not go well; `None` if all did. `failures` counts those in a row.
pub fn pause_after(
    state: &State,
    outcome: &Result<(), Fault>,
    pace: &Pace,
    failures: &mut u32,
    uid: &str,
) -> Option<Duration> {
    let failed = match outcome {
        Err(Fault::Again(_) | Fault::Bug(_)) => true,
        Ok(()) | Err(Fault::Wait(_) | Fault::Unknown(_) | Fault::Blocked(_)) => {
            matches!(state, State::Uncertain(_))
        }
    };
    if failed {
        let wait = backoff::after(*failures, backoff::spread(uid, *failures));
        *failures = failures.saturating_add(1);
        return Some(wait);
    }
    *failures = 0;
    match outcome {
        // Something may have happened: look before anything else.
        Err(Fault::Unknown(_)) => Some(Duration::ZERO),
        Err(Fault::Wait(_)) => Some(pace.soon),
        Err(_) => Some(pace.rarely),
        Ok(()) => None,
    }
}

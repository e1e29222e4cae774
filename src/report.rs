//! What the reports of both kinds share: the three conditions that sum a state up, texts that fit, and what is no news.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use sha2::{Digest, Sha256};

use crate::api::condition::{self, Reason, Truth};
use crate::database::decide::State;
use crate::hex::hex;

/// The longest text of a condition.
pub const MESSAGE_MAX: usize = 2_000;
/// The longest `status.next`.
pub const NEXT_MAX: usize = 256;

/// Ready, Reconciling and Stalled.
pub fn summary(conditions: &mut Vec<Condition>, state: &State, generation: Option<i64>, now: Timestamp) {
    let (is_ready, is_walking, is_stalled, reason, message) = match state {
        State::Ready { reason, message } => (Truth::True, Truth::False, Truth::False, *reason, message),
        State::Walking { reason, message } => (Truth::False, Truth::True, Truth::False, *reason, message),
        State::Stalled(blocked) => {
            (Truth::False, Truth::False, Truth::True, blocked.reason, &blocked.message)
        }
        State::Uncertain(message) => (Truth::Unknown, Truth::True, Truth::False, Reason::Retrying, message),
    };
    let message = clip(message, MESSAGE_MAX);
    for (kind, truth) in
        [(condition::READY, is_ready), (condition::RECONCILING, is_walking), (condition::STALLED, is_stalled)]
    {
        // The sentence stands at Ready and at the one that says why it is not.
        let text = if kind == condition::READY || truth == Truth::True { message.as_str() } else { "" };
        condition::set(conditions, kind, truth, reason, text, generation, now);
    }
}

/// A call that AWS refuses again for the same reason has another request id each time. One that was cut off in its midst is
/// left out, too.
pub fn without_request_id(message: &str) -> String {
    let mut parts = message.split(", request ");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for (_, rest) in parts.filter_map(|part| part.split_once(')')) {
        text.push(')');
        text.push_str(rest);
    }
    text
}

/// At most `max` bytes, cut between characters, with a mark that something is missing.
pub fn clip(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = (0..=max.saturating_sub('…'.len_utf8())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    format!("{}…", &text[..end])
}

/// SHA-256 of a plan's steps, hexadecimal: of each what is done, to what, and whether it can be taken back.
pub fn plan_hash<'a>(steps: impl Iterator<Item = (&'a str, &'a str, bool)>) -> String {
    let mut hasher = Sha256::new();
    for (action, on, reversible) in steps {
        for part in [action, on] {
            hasher.update(part.len().to_le_bytes());
            hasher.update(part);
        }
        hasher.update([u8::from(reversible)]);
    }
    hex(&hasher.finalize())
}

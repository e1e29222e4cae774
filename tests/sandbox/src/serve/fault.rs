//! Faults, switchable while the stand-in runs: per operation here, to the whole world in [`Meddling`].

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::world::Meddling;

mod client;
mod words;

pub use client::{Client, ClientError};
pub use words::{Command, USAGE, WordsError};

/// What is to be done to calls of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// `dms:CreateEndpoint`, `dms:Describe*`, `dms:*` or `*`.
    pub operation: String,
    /// What happens.
    pub kind: Word,
    /// To how many calls; without, and without `for_seconds`, until cleared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// For how long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_seconds: Option<u32>,
    /// How old the answers of [`Word::Stale`] are; 30 seconds without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_seconds: Option<u32>,
    /// Only to calls signed with this access key id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key: Option<String>,
}

/// The kinds of faults, as they are named in words and JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// `ThrottlingException`
    Throttle,
    /// HTTP 500, `InternalFailure`
    Error500,
    /// The connection is closed; nothing happened.
    TimeoutBefore,
    /// The call is answered, whatever the answer, but the connection is closed instead of giving it.
    TimeoutAfter,
    /// `AccessDeniedException`
    AccessDenied,
    /// `ExpiredTokenException`
    ExpiredToken,
    /// Reads show the world as it was a while ago.
    Stale,
}

/// What happens to one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Throttle,
    Error500,
    TimeoutBefore,
    TimeoutAfter,
    AccessDenied,
    ExpiredToken,
    Stale { lag: SignedDuration },
}

/// A fault of an operation, or something that happens to the world.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Order {
    /// From now on.
    Fault(Rule),
    /// At once.
    World(Meddling),
}

impl Order {
    /// From JSON; `kind` says which of both it is.
    pub(crate) fn read(body: &[u8]) -> Result<Self, serde_json::Error> {
        let value: serde_json::Value = serde_json::from_slice(body)?;
        if serde_json::from_value::<Word>(value["kind"].clone()).is_ok() {
            serde_json::from_value(value).map(Self::Fault)
        } else {
            serde_json::from_value(value).map(Self::World)
        }
    }
}

/// The faults in force, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    rules: Vec<(Rule, Option<Timestamp>)>,
}

impl Faults {
    pub(crate) fn add(&mut self, rule: Rule, now: Timestamp) {
        let until = rule.for_seconds.map(|seconds| now + SignedDuration::from_secs(i64::from(seconds)));
        self.rules.push((rule, until));
    }

    pub(crate) fn clear(&mut self) {
        self.rules.clear();
    }

    /// What is still in force, with what is left of `times`.
    pub(crate) fn list(&mut self, now: Timestamp) -> Vec<Rule> {
        self.rules.retain(|(rule, until)| rule.times != Some(0) && until.is_none_or(|until| now < until));
        self.rules.iter().map(|(rule, _)| rule.clone()).collect()
    }

    /// The fault that this call meets: the oldest that fits, and one of its times is used up.
    pub(crate) fn meet(&mut self, operation: &str, access_key: &str, now: Timestamp) -> Option<Kind> {
        self.list(now);
        let fits = |rule: &Rule| {
            let named = match rule.operation.strip_suffix('*') {
                Some(beginning) => operation.starts_with(beginning),
                None => operation == rule.operation,
            };
            named && rule.access_key.as_ref().is_none_or(|key| key == access_key)
        };
        let (rule, _) = self.rules.iter_mut().find(|(rule, _)| fits(rule))?;
        rule.times = rule.times.map(|times| times.saturating_sub(1));
        let lag = SignedDuration::from_secs(i64::from(rule.lag_seconds.unwrap_or(30)));
        Some(match rule.kind {
            Word::Throttle => Kind::Throttle,
            Word::Error500 => Kind::Error500,
            Word::TimeoutBefore => Kind::TimeoutBefore,
            Word::TimeoutAfter => Kind::TimeoutAfter,
            Word::AccessDenied => Kind::AccessDenied,
            Word::ExpiredToken => Kind::ExpiredToken,
            Word::Stale => Kind::Stale { lag },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(operation: &str, times: Option<u32>, for_seconds: Option<u32>) -> Rule {
        let operation = operation.to_owned();
        Rule { operation, kind: Word::Throttle, times, for_seconds, lag_seconds: None, access_key: None }
    }

    #[test]
    fn a_rule_ends_after_its_times_or_its_seconds() {
        let now = Timestamp::UNIX_EPOCH;
        let mut faults = Faults::default();
        faults.add(rule("dms:*", Some(2), None), now);
        faults.add(rule("dms:CreateEndpoint", None, Some(10)), now);
        assert_eq!(faults.meet("rds:DescribeDBInstances", "K", now), None);
        for _ in 0..3 {
            assert_eq!(faults.meet("dms:CreateEndpoint", "K", now), Some(Kind::Throttle));
        }
        assert_eq!(faults.meet("dms:DescribeEndpoints", "K", now), None);
        assert_eq!(faults.meet("dms:CreateEndpoint", "K", now + SignedDuration::from_secs(10)), None);
    }

    #[test]
    fn a_key_on_a_rule_spares_the_others() {
        let mut faults = Faults::default();
        faults.add(Rule { access_key: Some("BAD".into()), ..rule("*", None, None) }, Timestamp::UNIX_EPOCH);
        assert_eq!(faults.meet("sts:GetCallerIdentity", "GOOD", Timestamp::UNIX_EPOCH), None);
        assert_eq!(faults.meet("sts:GetCallerIdentity", "BAD", Timestamp::UNIX_EPOCH), Some(Kind::Throttle));
    }
}

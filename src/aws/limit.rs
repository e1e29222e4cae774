//! Keeps the operator's calls to one service below what AWS allows an account, so that others can call too.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Account;

/// How long a call may be left waiting by others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// First come, first served.
    Routine,
    /// Never behind a routine call: for what takes traffic back.
    Urgent,
}

/// Token buckets, first come first served. Shared by every migration of one account.
#[derive(Debug)]
pub(super) struct Limit(Mutex<Lanes>);

#[derive(Debug)]
struct Lanes {
    routine: Bucket,
    /// What routine calls must leave.
    urgent: Option<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    burst: f64,
    per_second: f64,
    /// Below zero once calls wait: each of them holds its own place.
    tokens: f64,
    counted: Instant,
}

impl Limit {
    /// A full bucket of `burst` calls, refilled `per_second`. Nothing is urgent.
    pub(super) fn new(burst: u32, per_second: u32) -> Self {
        Self(Mutex::new(Lanes { routine: Bucket::full(burst, per_second), urgent: None }))
    }

    /// Two such buckets, (burst, per second) each. Together they are the limit; urgent calls may use both.
    pub(super) fn with_urgent(routine: (u32, u32), urgent: (u32, u32)) -> Self {
        let routine = Bucket::full(routine.0, routine.1);
        Self(Mutex::new(Lanes { routine, urgent: Some(Bucket::full(urgent.0, urgent.1)) }))
    }

    /// Returns when the caller may make one call. A caller that goes away while it waits has used up its turn: the rate
    /// is then lower than allowed, never higher.
    pub(super) async fn take(&self, turn: Turn) {
        let wait = self.reserve(turn, Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    fn reserve(&self, turn: Turn, now: Instant) -> Duration {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Lanes { routine, urgent } = &mut *lanes;
        match (turn, urgent) {
            // Its own line holds urgent calls only, and another is taken if that is shorter: no routine call is ever waited
            // for. Each bucket keeps its own rate, so both together keep theirs.
            (Turn::Urgent, Some(urgent)) if urgent.wait(now) <= routine.wait(now) => urgent.reserve(now),
            (Turn::Urgent | Turn::Routine, _) => routine.reserve(now),
        }
    }
}

impl Bucket {
    fn full(burst: u32, per_second: u32) -> Self {
        let burst = f64::from(burst);
        Self { burst, per_second: f64::from(per_second), tokens: burst, counted: Instant::now() }
    }

    /// How many calls could go now.
    fn tokens(&self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.counted).as_secs_f64();
        (self.tokens + passed * self.per_second).min(self.burst)
    }

    /// How long one more call would wait.
    fn wait(&self, now: Instant) -> Duration {
        let missing = (1.0 - self.tokens(now)).max(0.0);
        Duration::from_secs_f64(missing / self.per_second)
    }

    fn reserve(&mut self, now: Instant) -> Duration {
        let wait = self.wait(now);
        self.tokens = self.tokens(now) - 1.0;
        self.counted = self.counted.max(now);
        wait
    }
}

/// The one limit of an account for calls to Route 53, whatever the region and role: Route 53 is global, and its quota is the
/// account's, 50 requests and 10 more each second (Route 53 developer guide, quotas). Half is left to others, and of our own
/// half two fifths to what is urgent. An account that is told by neither id nor role is the operator's own.
pub(super) fn of_route53(account: &Account) -> Arc<Limit> {
    static LIMITS: LazyLock<Mutex<HashMap<String, Arc<Limit>>>> = LazyLock::new(Mutex::default);
    let id = account.account_id.as_deref().or_else(|| account.role_arn.as_deref()?.split(':').nth(4));
    let mut limits = LIMITS.lock().unwrap_or_else(PoisonError::into_inner);
    let limit = limits.entry(id.unwrap_or_default().to_owned());
    Arc::clone(limit.or_insert_with(|| Arc::new(route53())))
}

/// One for Route 53 that nobody shares.
pub(super) fn route53() -> Limit {
    Limit::with_urgent((15, 3), (10, 2))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    fn began(limit: &Limit) -> Instant {
        limit.0.lock().unwrap().routine.counted
    }

    fn millis(limit: &Limit, turn: Turn, now: Instant) -> u128 {
        // Rounded, for the buckets were not made at the same nanosecond.
        (limit.reserve(turn, now).as_secs_f64() * 1000.0).round().to_string().parse().unwrap()
    }

    #[test]
    fn a_burst_passes_then_calls_wait_in_line() {
        let limit = Limit::new(3, 4);
        let now = began(&limit);
        for _ in 0..3 {
            assert_eq!(limit.reserve(Turn::Routine, now), Duration::ZERO);
        }
        assert_eq!(limit.reserve(Turn::Routine, now), Duration::from_millis(250));
        // Where nothing is urgent, all wait in one line.
        assert_eq!(limit.reserve(Turn::Urgent, now), Duration::from_millis(500));
    }

    #[test]
    fn it_refills_up_to_the_burst_and_no_further() {
        let limit = Limit::new(2, 4);
        let now = began(&limit);
        for _ in 0..4 {
            limit.reserve(Turn::Routine, now);
        }
        let later = now + Duration::from_hours(1);
        assert_eq!(limit.reserve(Turn::Routine, later), Duration::ZERO);
        assert_eq!(limit.reserve(Turn::Routine, later), Duration::ZERO);
        assert_eq!(limit.reserve(Turn::Routine, later), Duration::from_millis(250));
        // A clock that was read before another caller's gives nothing twice.
        assert_eq!(limit.reserve(Turn::Routine, now), Duration::from_millis(500));
    }

    #[test]
    fn an_urgent_call_waits_behind_no_routine_one() {
        let limit = route53();
        let now = began(&limit) + Duration::from_secs(1);
        for _ in 0..15 {
            assert_eq!(limit.reserve(Turn::Routine, now), Duration::ZERO);
        }
        for nth in 1..=1000 {
            assert_eq!(millis(&limit, Turn::Routine, now), (nth * 1000 + 1) / 3, "{nth} in line");
        }
        for _ in 0..10 {
            assert_eq!(limit.reserve(Turn::Urgent, now), Duration::ZERO);
        }
        // From here on urgent calls wait for each other, and a thousand routine ones are still not before them.
        assert_eq!(millis(&limit, Turn::Urgent, now), 500);
        assert_eq!(millis(&limit, Turn::Urgent, now), 1000);
    }

    #[test]
    fn urgent_calls_use_what_nobody_else_wants() {
        let limit = route53();
        let now = began(&limit) + Duration::from_secs(1);
        for nth in 1..=25 {
            assert_eq!(limit.reserve(Turn::Urgent, now), Duration::ZERO, "{nth}");
        }
        // Both refill, so five go in a second.
        let waits: Vec<u128> = (0..5).map(|_| millis(&limit, Turn::Urgent, now)).collect();
        assert_eq!(waits, [333, 500, 667, 1000, 1000]);
    }

    #[test]
    fn whatever_the_turns_no_more_than_half_the_quota_is_used() {
        let limit = route53();
        let now = began(&limit) + Duration::from_secs(1);
        let mut starts: Vec<Duration> = Vec::new();
        for nth in 0_u32..2_000 {
            let arrives = Duration::from_millis(u64::from(nth * 7));
            let turn = if nth % 3 == 0 { Turn::Urgent } else { Turn::Routine };
            starts.push(arrives + limit.reserve(turn, now + arrives));
        }
        starts.sort();
        for (first, start) in starts.iter().enumerate() {
            for (last, end) in starts.iter().enumerate().skip(first) {
                let calls = f64::from(u32::try_from(last - first).unwrap() + 1);
                let allowed = 25.0 + 5.0 * (*end - *start).as_secs_f64();
                assert!(calls <= allowed + 0.01, "{calls} calls where {allowed} are allowed");
            }
        }
    }

    #[test]
    fn the_regions_and_roles_of_an_account_share_one_limit_for_route53() {
        let account = |id: Option<&str>, region: &str, role: Option<&str>| Account {
            account_id: id.map(str::to_owned),
            region: region.to_owned(),
            role_arn: role.map(str::to_owned),
            external_id: None,
        };
        let first = of_route53(&account(Some("000000000001"), "us-east-1", None));
        let role = "arn:aws:iam::000000000001:role/slipway";
        let second = of_route53(&account(None, "eu-central-1", Some(role)));
        let third = of_route53(&account(Some("000000000002"), "us-east-1", Some(role)));
        assert!(Arc::ptr_eq(&first, &second));
        assert!(!Arc::ptr_eq(&first, &third));
    }
}

//! Keeps the operator's calls to one service below what AWS allows an account, so that others can call too.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A token bucket, first come first served. Shared by every migration of one account.
#[derive(Debug)]
pub(super) struct Limit {
    burst: f64,
    per_second: f64,
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    /// Below zero once calls wait: each of them holds its own place.
    tokens: f64,
    counted: Instant,
}

impl Limit {
    /// A full bucket of `burst` calls, refilled `per_second`.
    pub(super) fn new(burst: u32, per_second: u32) -> Self {
        let burst = f64::from(burst);
        let bucket = Bucket { tokens: burst, counted: Instant::now() };
        Self { burst, per_second: f64::from(per_second), bucket: Mutex::new(bucket) }
    }

    /// Returns when the caller may make one call. A caller that goes away while it waits has used up its turn: the rate
    /// is then lower than allowed, never higher.
    pub(super) async fn take(&self) {
        let wait = self.reserve(Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    fn reserve(&self, now: Instant) -> Duration {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(bucket.counted).as_secs_f64();
        bucket.tokens = (bucket.tokens + passed * self.per_second).min(self.burst) - 1.0;
        bucket.counted = bucket.counted.max(now);
        if bucket.tokens >= 0.0 {
            return Duration::ZERO;
        }
        Duration::from_secs_f64(-bucket.tokens / self.per_second)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_burst_passes_then_calls_wait_in_line() {
        let limit = Limit::new(3, 4);
        let now = limit.bucket.lock().unwrap().counted;
        for _ in 0..3 {
            assert_eq!(limit.reserve(now), Duration::ZERO);
        }
        assert_eq!(limit.reserve(now), Duration::from_millis(250));
        assert_eq!(limit.reserve(now), Duration::from_millis(500));
    }

    #[test]
    fn it_refills_up_to_the_burst_and_no_further() {
        let limit = Limit::new(2, 4);
        let now = limit.bucket.lock().unwrap().counted;
        for _ in 0..4 {
            limit.reserve(now);
        }
        let later = now + Duration::from_hours(1);
        assert_eq!(limit.reserve(later), Duration::ZERO);
        assert_eq!(limit.reserve(later), Duration::ZERO);
        assert_eq!(limit.reserve(later), Duration::from_millis(250));
        // A clock that was read before another caller's gives nothing twice.
        assert_eq!(limit.reserve(now), Duration::from_millis(500));
    }
}

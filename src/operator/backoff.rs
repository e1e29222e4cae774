//! How long to wait after a failure: doubling from a second to half a minute, with jitter, so that many migrations that
//! failed together don't come back together.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// The wait after `failures` failures in a row, 0 being the first. `spread` in 0..=1 picks the point between half the wait
/// and all of it.
pub fn after(failures: u32, spread: f64) -> Duration {
    let full = FIRST.saturating_mul(2_u32.saturating_pow(failures.min(16))).min(LONGEST);
    full.mul_f64(0.5 + 0.5 * spread.clamp(0.0, 1.0))
}

/// A number in 0..1 that differs by resource and failure; no randomness is needed for a spread.
pub fn spread(uid: &str, failures: u32) -> f64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    (uid, failures).hash(&mut hasher);
    f64::from(u32::try_from(hasher.finish() >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_and_stays_within_half_a_minute() {
        assert_eq!(after(0, 1.0), Duration::from_secs(1));
        assert_eq!(after(3, 1.0), Duration::from_secs(8));
        assert_eq!(after(40, 1.0), LONGEST);
        assert_eq!(after(40, 0.0), LONGEST / 2);
        assert!((0.0..=1.0).contains(&spread("a", 1)));
    }
}

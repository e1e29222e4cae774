//! Percent ↔ weights. Route 53 gives each record its weight's share of the sum, 0 to 255 each, and treats a sum of 0 as equal
//! shares; so the sum is never 0, and both sides always have their records.

use std::cmp::Ordering;

/// The target's weight, and that of each of `sources` source records, for `percent` at the target: the nearest share that
/// weights up to 255 can give, by the smallest numbers that give it.
pub fn weights(percent: u8, sources: usize) -> (u8, u8) {
    let percent = u64::from(percent.min(100));
    let sources = sources.max(1) as u64;
    match percent {
        0 => return (0, 1),
        100 => return (1, 0),
        _ => {}
    }
    let mut best = (1, 1);
    let mut least = (u64::MAX, 1);
    for source in 1..=255_u8 {
        let of_sources = sources * u64::from(source);
        let exact = percent * of_sources;
        let nearest = ((2 * exact + (100 - percent)) / (2 * (100 - percent))).clamp(1, 255);
        // How far the share is off: |100·t − p·(t + s)| / (t + s), compared without dividing.
        let sum = nearest + of_sources;
        let off = (100 * nearest).abs_diff(percent * sum);
        if u128::from(off) * u128::from(least.1) < u128::from(least.0) * u128::from(sum) {
            least = (off, sum);
            best = (u8::try_from(nearest).unwrap_or(u8::MAX), source);
        }
    }
    best
}

/// The share of the target: its weight of the sum of all, which is above 0.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    target: u32,
    total: u32,
}

impl Share {
    /// Of these weights. `None` if their sum is 0: then Route 53 splits equally, which nobody asked for.
    pub fn new(target: u8, sources: impl Iterator<Item = u8>) -> Option<Self> {
        let target = u32::from(target);
        let total = sources.map(u32::from).fold(target, u32::saturating_add);
        (total > 0).then_some(Self { target, total })
    }

    /// What asking for `percent` gives.
    pub fn asked(percent: u8, sources: usize) -> Self {
        let (target, source) = weights(percent, sources);
        let total =
            u32::from(target) + u32::from(source) * u32::try_from(sources.max(1)).unwrap_or(u32::MAX >> 8);
        Self { target: target.into(), total }
    }

    /// Rounded.
    pub fn percent(self) -> u8 {
        let rounded = (200 * u64::from(self.target) + u64::from(self.total)) / (2 * u64::from(self.total));
        u8::try_from(rounded).unwrap_or(100)
    }

    /// All of it goes to the source.
    pub fn is_none(self) -> bool {
        self.target == 0
    }

    /// All of it goes to the target.
    pub fn is_all(self) -> bool {
        self.target == self.total
    }
}

impl PartialEq for Share {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Share {}

impl PartialOrd for Share {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Share {
    fn cmp(&self, other: &Self) -> Ordering {
        let (mine, theirs) = (
            u64::from(self.target) * u64::from(other.total),
            u64::from(other.target) * u64::from(self.total),
        );
        mine.cmp(&theirs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(percent: u8, sources: usize) -> Share {
        let (target, source) = weights(percent, sources);
        Share::new(target, std::iter::repeat_n(source, sources)).expect("a sum above 0")
    }

    #[test]
    fn weights_are_the_smallest_that_give_the_share() {
        for (percent, sources, expected) in [
            (0, 1, (0, 1)),
            (0, 8, (0, 1)),
            (100, 3, (1, 0)),
            (1, 1, (1, 99)),
            (25, 1, (1, 3)),
            (50, 1, (1, 1)),
            (99, 1, (99, 1)),
            (50, 2, (2, 1)),
            (10, 2, (2, 9)),
            (99, 8, (255, 1)),
        ] {
            assert_eq!(weights(percent, sources), expected, "{percent} % of {sources}");
        }
    }

    /// Every plan there is: 101 weights, up to 8 sources.
    #[test]
    fn every_share_has_both_sides_rises_with_the_percent_and_can_be_read_back() {
        for sources in 1..=8 {
            for percent in 0..=100_u8 {
                let (target, source) = weights(percent, sources);
                assert_eq!(target == 0, percent == 0);
                assert_eq!(source == 0, percent == 100);
                let found = share(percent, sources);
                assert_eq!(found, Share::asked(percent, sources));
                assert!(found.percent() <= 100 && found.is_none() == (percent == 0));
                assert_eq!(found.is_all(), percent == 100);
                // 255 against eight is 97 %: more can't be said with eight sources.
                let exact = u64::from(percent) * sources as u64 <= 255 * u64::from(100 - percent.min(99));
                assert!(
                    found.percent() == percent || (!exact && found.percent() >= 96),
                    "{percent} {sources}"
                );
                if percent > 0 {
                    assert!(share(percent - 1, sources) <= found);
                }
            }
        }
    }

    #[test]
    fn no_weight_at_all_is_no_share() {
        assert!(Share::new(0, [0, 0].into_iter()).is_none());
        assert!(Share::new(0, std::iter::empty()).is_none());
    }
}

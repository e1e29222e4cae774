//! Numbers that follow from a seed, the same on every machine.

/// xorshift64*: small, fast, and good enough to pick what happens next.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// From a seed; neighbouring seeds are unrelated.
    pub fn new(seed: u64) -> Self {
        let mut bits = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Self((bits ^ (bits >> 31)) | 1)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number from `from` up to, and without, `to`.
    pub fn within(&mut self, from: i64, to: i64) -> i64 {
        let span = u64::try_from(to - from).unwrap_or(0).max(1);
        from + i64::try_from(self.bits() % span).unwrap_or(0)
    }

    /// True so many times in a thousand.
    pub fn permille(&mut self, rate: u32) -> bool {
        self.bits() % 1_000 < u64::from(rate)
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        let index = self.bits() % (of.len().max(1) as u64);
        &of[usize::try_from(index).unwrap_or(0)]
    }
}

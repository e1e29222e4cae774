//! Fingerprints: 64 bits for a state, so that millions can be told apart without keeping them. Two of 20 million states
//! share one with a probability of about one in 100,000.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// A map from fingerprints.
pub type Known<T> = HashMap<u64, T, BuildHasherDefault<AsItIs>>;

/// A set of fingerprints.
pub type Prints = HashSet<u64, BuildHasherDefault<AsItIs>>;

/// The fingerprint of a value.
pub fn of(value: &impl Hash) -> u64 {
    let mut mixer = Mixer(0x9e37_79b9_7f4a_7c15);
    value.hash(&mut mixer);
    mixer.finish()
}

struct Mixer(u64);

impl Mixer {
    fn mix(&mut self, word: u64) {
        let wide = u128::from(self.0 ^ word.wrapping_mul(0xa076_1d64_78bd_642f)) * 0xe703_7ed1_a0b4_28db;
        let folded = wide ^ (wide >> 64);
        // The low half is what is wanted.
        #[allow(clippy::cast_possible_truncation)]
        let low = folded as u64;
        self.0 = low.rotate_left(23) ^ word;
    }
}

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        for some in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..some.len()].copy_from_slice(some);
            self.mix(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.mix(u64::from(number));
    }

    fn write_u16(&mut self, number: u16) {
        self.mix(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        self.mix(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.mix(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.mix(number as u64);
    }

    fn finish(&self) -> u64 {
        let mut last = Self(self.0);
        last.mix(0x2d35_8dcc_aa6c_78a5);
        last.mix(self.0 >> 32);
        last.0
    }
}

/// The hasher of a map whose keys are fingerprints already.
#[derive(Default)]
pub struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

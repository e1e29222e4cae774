//! What happened, in words; and as a number, by which two runs of one seed are compared.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::clock::{Micros, SECOND};

/// The story of one history.
#[derive(Default)]
pub struct Trace {
    /// The words are kept.
    pub wanted: bool,
    /// The words.
    pub lines: Vec<String>,
    hasher: DefaultHasher,
}

impl Trace {
    /// Tells something, if anybody listens.
    pub fn say(&mut self, at: Micros, words: impl FnOnce() -> String) {
        if self.wanted {
            let line = format!("{:>5}.{:03} {}", at / SECOND, at % SECOND / 1_000, words());
            self.lines.push(line);
        }
    }

    /// Remembers that something happened.
    pub fn note(&mut self, what: impl Hash) {
        what.hash(&mut self.hasher);
    }

    /// One number for all that was noted.
    pub fn hash(&self) -> u64 {
        self.hasher.finish()
    }
}

//! How much may happen in a search.

use std::fmt;
use std::str::FromStr;

/// How much may happen, and, in a state, how much still may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// Writes that are begun.
    pub writes: u8,
    /// Clients, each with one session at a time.
    pub fleets: u8,
    /// Changes of the goal, or new attempts.
    pub goals: u8,
    /// Such changes may also be suspend, abortAttempt and deletion.
    pub people: u8,
    /// Crashes, after which another operator takes over.
    pub crashes: u8,
    /// The one that was taken over from takes one more step.
    pub zombies: u8,
    /// Failures by third parties: the task fails or is reloaded, a slot is lost or dropped, a transaction stays prepared,
    /// the comparison finds a difference.
    pub faults: u8,
    /// Hard ones: the status is lost, or somebody runs `slipway unfence`.
    pub by_hand: u8,
    /// Calls that time out and stay in flight.
    pub timeouts: u8,
    /// One part of an observation may be older than the rest.
    pub stale: u8,
    /// A table's owner could write past the privileges.
    pub owners: u8,
    /// The operator's copy of the resource may be older than the resource.
    pub lag: u8,
    /// So many more calls than two may be in flight at once.
    pub more: u8,
}

impl Bounds {
    fn fields(&mut self) -> [(char, &mut u8); 13] {
        [
            ('w', &mut self.writes),
            ('f', &mut self.fleets),
            ('g', &mut self.goals),
            ('p', &mut self.people),
            ('c', &mut self.crashes),
            ('z', &mut self.zombies),
            ('k', &mut self.faults),
            ('h', &mut self.by_hand),
            ('t', &mut self.timeouts),
            ('s', &mut self.stale),
            ('o', &mut self.owners),
            ('l', &mut self.lag),
            ('m', &mut self.more),
        ]
    }
}

impl FromStr for Bounds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut bounds = Self::default();
        for word in text.split_whitespace() {
            let mut chars = word.chars();
            let letter = chars.next().unwrap_or(' ');
            let number: u8 =
                chars.as_str().parse().map_err(|_| format!("{word}: a letter and a number, such as w2"))?;
            let mut fields = bounds.fields();
            let field = fields
                .iter_mut()
                .find(|(name, _)| *name == letter)
                .ok_or_else(|| format!("{word}: no such bound; see docs/simulation.md"))?;
            *field.1 = number;
        }
        Ok(bounds)
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut copy = *self;
        let words: Vec<String> = copy
            .fields()
            .into_iter()
            .filter(|(letter, number)| **number > 0 || "wfgckt".contains(*letter))
            .map(|(letter, number)| format!("{letter}{number}"))
            .collect();
        f.write_str(&words.join(" "))
    }
}

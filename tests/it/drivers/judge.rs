//! Holds what the application was told against what the two databases hold.

use std::collections::{BTreeMap, BTreeSet};

use super::application::{Attempt, WRITERS};

/// The application's rows on both sides, after its end.
pub(super) struct Held {
    /// Ports of the first and the second host.
    pub(super) ports: [u16; 2],
    /// Keys of the rows on each. The table's key is what keeps one from being there twice.
    pub(super) keys: [BTreeSet<String>; 2],
    /// Whether the second side follows the first.
    pub(super) replicated: bool,
}

impl Held {
    pub(super) fn judge(&self, attempts: &[Attempt]) {
        let ([first, second], [on_first, on_second]) = (self.ports, &self.keys);
        let mut of_key: BTreeMap<&str, Vec<&Attempt>> = BTreeMap::new();
        for attempt in attempts {
            of_key.entry(&attempt.key).or_default().push(attempt);
        }
        for (key, attempts) in &of_key {
            let acknowledged: Vec<u16> =
                attempts.iter().filter_map(|attempt| attempt.acknowledged()).collect();
            let unknown = attempts.iter().any(|attempt| attempt.outcome == "unknown");
            let (there, here) = (on_first.contains(*key), on_second.contains(*key));
            let right = match acknowledged[..] {
                [port] if port == first => there && here == self.replicated,
                // The first side has it only if it was committed there without an answer, before its repetition.
                [port] if port == second => here && (!there || unknown),
                // Its writer was ended before it could repeat it.
                [] => !(there || here) || unknown,
                _ => false,
            };
            assert!(right, "{key}: on the first side {there}, on the second {here}: {attempts:#?}");
        }
        let strange: Vec<_> =
            on_first.union(on_second).filter(|key| !of_key.contains_key(key.as_str())).collect();
        assert!(strange.is_empty(), "rows of which the application told nothing: {strange:?}");
        if self.replicated {
            assert!(on_first.is_subset(on_second), "the second side lacks what the first had");
        }
        for writer in 0..WRITERS {
            let own = attempts.iter().filter(|attempt| attempt.writer == writer);
            let ports: Vec<u16> = own.filter_map(Attempt::acknowledged).collect();
            let moved = ports.iter().position(|port| *port == second).unwrap();
            assert!(ports[moved..].iter().all(|port| *port == second), "writer {writer} went back");
        }
    }
}

//! What was called: for tests that count calls, and for people who wonder.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Older calls are forgotten.
const KEPT: usize = 100_000;

/// One call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Counts from 1.
    pub sequence: u64,
    /// When it was answered.
    pub time: Timestamp,
    /// `dms:CreateEndpoint`
    pub operation: String,
    /// Whether the operation changes anything when it succeeds.
    pub mutating: bool,
    /// `ok`, or the error's code, or `lost-before` or `lost-after` its effect.
    pub outcome: String,
}

/// Told of a call before its caller is.
pub(crate) type Hook = Box<dyn FnMut(&Record) + Send>;

/// The calls so far.
#[derive(Default)]
pub(crate) struct Journal {
    records: VecDeque<Record>,
    made: u64,
    hook: Option<Hook>,
}

impl Journal {
    pub(crate) fn add(&mut self, time: Timestamp, operation: &str, outcome: &str) {
        self.made += 1;
        let record = Record {
            sequence: self.made,
            time,
            operation: operation.to_owned(),
            mutating: !is_read(operation),
            outcome: outcome.to_owned(),
        };
        if let Some(hook) = &mut self.hook {
            hook(&record);
        }
        self.records.push_back(record);
        if self.records.len() > KEPT {
            self.records.pop_front();
        }
    }

    pub(crate) fn tell(&mut self, hook: Option<Hook>) {
        self.hook = hook;
    }

    /// Every call kept whose number is greater.
    pub(crate) fn since(&self, sequence: u64) -> Vec<Record> {
        self.records.iter().filter(|record| record.sequence > sequence).cloned().collect()
    }
}

/// Whether an operation only reads, by AWS's own naming.
pub(crate) fn is_read(operation: &str) -> bool {
    let name = operation.split_once(':').map_or(operation, |(_, name)| name);
    ["Describe", "List", "Get"].iter().any(|verb| name.starts_with(verb))
}

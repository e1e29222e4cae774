//! What a call that failed means for the next step. A fault answers one question: what now?

use crate::api::condition::Reason;

/// Something that a person must change before the migration can go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The word for it: the condition's reason.
    pub reason: Reason,
    /// What is wrong, on what, and what to do about it. Never a secret, never a response's body.
    pub message: String,
}

impl Blocked {
    /// `what_is_wrong` and `remedy` are sentences; the remedy says what to do.
    pub fn new(
        reason: Reason,
        what_is_wrong: impl std::fmt::Display,
        remedy: impl std::fmt::Display,
    ) -> Self {
        Self { reason, message: format!("{what_is_wrong}. {remedy}") }
    }
}

/// A call that did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Throttled, a 5xx, a refused connection, a code that nobody knows: try again later.
    Again(String),
    /// Busy with an earlier step of our own: look again soon.
    Wait(String),
    /// It may have been carried out: observe before anything else.
    Unknown(String),
    /// A person must change something.
    Blocked(Blocked),
    /// One of our own invariants broke.
    Bug(String),
}

impl Fault {
    /// Shorthand for [`Fault::Blocked`].
    pub fn blocked(reason: Reason, wrong: impl std::fmt::Display, remedy: impl std::fmt::Display) -> Self {
        Self::Blocked(Blocked::new(reason, wrong, remedy))
    }

    /// A bounded word for metrics.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Again(_) => "again",
            Self::Wait(_) => "wait",
            Self::Unknown(_) => "unknown",
            Self::Blocked(_) => "blocked",
            Self::Bug(_) => "bug",
        }
    }

    /// What was attempted, on what, and why it failed.
    pub fn message(&self) -> &str {
        match self {
            Self::Again(message) | Self::Wait(message) | Self::Unknown(message) | Self::Bug(message) => {
                message
            }
            Self::Blocked(blocked) => &blocked.message,
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Fault {}

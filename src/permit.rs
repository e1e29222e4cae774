//! Permits: nothing outside is changed without one, and only leadership hands them out.

use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::fault::Fault;

static HELD: AtomicBool = AtomicBool::new(false);
static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The monotonic clock that leases and permits go by. It does not jump when somebody sets the time, and goes on while the
/// process is stopped. It stands still while the whole machine sleeps: what an operator then sends when it wakes up finds
/// a later decision's epoch in the databases, and a later resourceVersion in Kubernetes.
pub fn clock() -> Duration {
    BEGAN.elapsed()
}

/// Until when this process holds the lease. Written by the one who renews it, read by every permit.
#[derive(Clone, Debug, Default)]
pub struct Term(Arc<AtomicU64>);

impl Term {
    /// May act while [`clock`] reads less than `until`; `None`: not any more, or not yet.
    pub fn set(&self, until: Option<Duration>) {
        // Rounded down, which is the careful side; a u64 of milliseconds outlasts everything.
        let until = until.map_or(0, |until| u64::try_from(until.as_millis()).unwrap_or(u64::MAX));
        self.0.store(until, Ordering::SeqCst);
    }

    /// Whether it may act now.
    pub fn is_valid(&self) -> bool {
        clock() < Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// The right to act, held by one part of one process.
#[derive(Debug)]
pub struct Leadership {
    term: Option<Term>,
}

/// Shown to every call that changes something outside. Can't be made, kept or copied apart from its [`Leadership`].
#[derive(Debug)]
pub struct Permit<'a>(&'a Leadership);

impl Leadership {
    /// The only way to get it; `None` while another part of this process holds it. Without a lease, for a person at the
    /// command line: what they do is held apart from an operator's work by the epochs in the databases alone.
    pub fn acquire() -> Option<Self> {
        (!HELD.swap(true, Ordering::SeqCst)).then_some(Self { term: None })
    }

    /// The same, only while the lease is held.
    #[must_use]
    pub fn within(mut self, term: Term) -> Self {
        self.term = Some(term);
        self
    }

    /// A permit for one step.
    pub fn permit(&self) -> Permit<'_> {
        Permit(self)
    }
}

impl Permit<'_> {
    /// To be asked right before anything is sent that changes something. `doing` is what would be sent.
    ///
    /// # Errors
    /// When the lease is over: this process ends in a moment, and whoever leads now goes on.
    pub fn check(&self, doing: impl std::fmt::Display) -> Result<(), Fault> {
        match &self.0.term {
            Some(term) if !term.is_valid() => Err(Fault::Again(format!(
                "{doing}: not sent, since this operator does not hold the lease any more"
            ))),
            Some(_) | None => Ok(()),
        }
    }
}

impl Drop for Leadership {
    fn drop(&mut self) {
        HELD.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leadership_is_held_once_and_its_permits_end_with_the_lease() {
        let first = Leadership::acquire().expect("nobody holds it");
        assert!(Leadership::acquire().is_none());
        assert_eq!(first.permit().check("anything"), Ok(()));
        let term = Term::default();
        let first = first.within(term.clone());
        let permit = first.permit();
        assert!(permit.check("a call").is_err(), "not held yet");
        term.set(Some(clock() + Duration::from_mins(1)));
        assert_eq!(permit.check("a call"), Ok(()));
        term.set(Some(clock()));
        let fault = permit.check("a call").expect_err("over by the clock");
        assert!(matches!(&fault, Fault::Again(why) if why.starts_with("a call: not sent")), "{fault}");
        drop(first);
        assert!(Leadership::acquire().is_some());
    }
}

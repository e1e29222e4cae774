//! Permits: nothing outside is changed without one, and only leadership hands them out.

use std::sync::atomic::{AtomicBool, Ordering};

static HELD: AtomicBool = AtomicBool::new(false);

/// The right to act, held by one part of one process. Until leases come it is a lock within the process; the chart runs
/// one replica.
#[derive(Debug)]
pub struct Leadership(());

/// Shown to every call that changes something outside. Can't be made, kept or copied apart from its [`Leadership`].
#[derive(Debug)]
pub struct Permit<'a>(#[allow(dead_code)] &'a Leadership);

impl Leadership {
    /// The only way to get it; `None` while another part of this process holds it.
    pub fn acquire() -> Option<Self> {
        (!HELD.swap(true, Ordering::SeqCst)).then_some(Self(()))
    }

    /// A permit for one step.
    pub fn permit(&self) -> Permit<'_> {
        Permit(self)
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
    fn leadership_is_held_once() {
        let first = Leadership::acquire().expect("nobody holds it");
        assert!(Leadership::acquire().is_none());
        drop(first);
        assert!(Leadership::acquire().is_some());
    }
}

//! A text that must not be seen: no log, event, status, metric or error can print it by accident.

/// A password or key. Neither `Display` nor `Serialize`, and `Debug` hides it, so that only [`reveal`](Self::reveal)
/// shows it, and a search for that word finds every place that does.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself: only to hand it to the one that asks for a password.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    #[test]
    fn debug_hides_it_also_inside_other_types() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?}"), "***");
        assert!(!format!("{:#?}", Some((1, secret.clone()))).contains("hunter2"));
        assert_eq!(secret.reveal(), "hunter2");
    }
}

//! The account of what happens: one line each, with the seconds since the start.

use std::time::Instant;

/// What is told so far.
pub(crate) struct Account {
    begun: Instant,
    silent: bool,
}

impl Account {
    pub(crate) fn begin() -> Self {
        Self { begun: Instant::now(), silent: false }
    }

    /// For whoever watches a hundred migrations.
    pub(crate) fn silent() -> Self {
        Self { begun: Instant::now(), silent: true }
    }

    fn print(&self, line: &str) {
        if !self.silent {
            println!("{line}");
        }
    }

    /// Something happens now.
    pub(crate) fn say(&self, line: &str) {
        self.print(&format!("{:>4}s  {line}", self.begun.elapsed().as_secs()));
    }

    /// Something that a user would type.
    pub(crate) fn command(&self, line: &str) {
        self.say(&format!("$ {line}"));
    }

    /// More about the line before.
    pub(crate) fn note(&self, line: &str) {
        self.print(&format!("       {line}"));
    }

    pub(crate) fn blank(&self) {
        self.print("");
    }
}

/// A number as people write it.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::thousands;

    #[test]
    fn numbers_get_their_commas() {
        for (number, written) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(number), written);
        }
    }
}

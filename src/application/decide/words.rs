//! Times in sentences, such that a sentence does not change by itself.

use jiff::{Timestamp, Unit};

/// A time to the minute, never too early; with its date unless it is on the day of `from`.
pub(super) fn until(at: Timestamp, from: Timestamp) -> String {
    let up = at
        .checked_add(jiff::SignedDuration::from_millis(59_999))
        .ok()
        .and_then(|later| {
            later.round(jiff::TimestampRound::new().smallest(Unit::Minute).mode(jiff::RoundMode::Trunc)).ok()
        })
        .unwrap_or(at);
    let day = |at: Timestamp| at.strftime("%F").to_string();
    if day(up) == day(from) {
        up.strftime("%H:%MZ").to_string()
    } else {
        up.strftime("%F %H:%MZ").to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_to_the_minute_and_never_too_early() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let from = at("2026-11-23T12:00:00Z");
        for (time, expected) in [
            ("2026-11-23T14:05:00Z", "14:05Z"),
            ("2026-11-23T14:05:01Z", "14:06Z"),
            ("2026-11-23T14:04:59.5Z", "14:05Z"),
            ("2026-11-23T23:59:30Z", "2026-11-24 00:00Z"),
            ("2026-11-24T00:10:00Z", "2026-11-24 00:10Z"),
        ] {
            assert_eq!(until(at(time), from), expected);
        }
    }
}

//! Durations as Gateway API writes them (GEP-2257): `1h30m`, `60s`, `1s200ms`. No fractions, no sign.

use jiff::SignedDuration;

/// Reads a duration; `None` if it is not one. The CRD's pattern refuses the same text at admission.
pub fn parse(text: &str) -> Option<SignedDuration> {
    let mut total = SignedDuration::ZERO;
    let mut rest = text;
    let mut parts = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        if !(1..=5).contains(&digits) || parts == 4 {
            return None;
        }
        let number: i64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (unit, length) = match rest.as_bytes() {
            [b'm', b's', ..] => (SignedDuration::from_millis(number), 2),
            [b'h', ..] => (SignedDuration::from_hours(number), 1),
            [b'm', ..] => (SignedDuration::from_mins(number), 1),
            [b's', ..] => (SignedDuration::from_secs(number), 1),
            _ => return None,
        };
        total += unit;
        rest = &rest[length..];
        parts += 1;
    }
    (parts > 0).then_some(total)
}

/// Writes a duration for a person: hundredths of a second below ten seconds don't matter, and neither do seconds above
/// an hour. A negative one is written as zero.
pub fn format(duration: SignedDuration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(0);
    let seconds = millis / 1000;
    match seconds {
        0 => format!("{}ms", millis / 10 * 10),
        1..10 => match millis % 1000 / 100 {
            0 => format!("{seconds}s"),
            tenths => format!("{seconds}s{tenths}00ms"),
        },
        10..60 => format!("{seconds}s"),
        60..3600 => match seconds % 60 {
            0 => format!("{}m", seconds / 60),
            rest => format!("{}m{rest}s", seconds / 60),
        },
        _ => match seconds / 60 % 60 {
            0 => format!("{}h", seconds / 3600),
            rest => format!("{}h{rest}m", seconds / 3600),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_gep_2257_allows_and_nothing_else() {
        assert_eq!(parse("1h30m"), Some(SignedDuration::from_mins(90)));
        assert_eq!(parse("2m30s"), Some(SignedDuration::from_secs(150)));
        assert_eq!(parse("1s200ms"), Some(SignedDuration::from_millis(1200)));
        assert_eq!(parse("99999h"), Some(SignedDuration::from_hours(99_999)));
        for bad in ["", "1", "s", "1.5s", "-1s", "100000s", "1d", "1h1m1s1ms1h", " 1s", "1s "] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn writes_what_it_can_read_again() {
        for (millis, text) in [
            (-5, "0ms"),
            (0, "0ms"),
            (37, "30ms"),
            (1_000, "1s"),
            (1_234, "1s200ms"),
            (59_999, "59s"),
            (60_000, "1m"),
            (61_500, "1m1s"),
            (3_600_000, "1h"),
            (5_430_000, "1h30m"),
        ] {
            let written = format(SignedDuration::from_millis(millis));
            assert_eq!(written, text);
            assert!(parse(&written).is_some());
        }
    }
}

//! Points in time as the lines spell them (RFC 3339), without a library for calendars: the engine has none.

/// Milliseconds since 1970; none of what is no point in time.
pub fn millis(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| {
        let digits = bytes.get(from..to).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
        std::str::from_utf8(digits).ok()?.parse::<i64>().ok()
    };
    let mark = |at: usize, allowed: &[u8]| bytes.get(at).is_some_and(|byte| allowed.contains(byte)).then_some(());
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    for (at, allowed) in [(4, b"-".as_slice()), (7, b"-"), (10, b"Tt "), (13, b":"), (16, b":")] {
        mark(at, allowed)?;
    }
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut rest = text.get(19..)?;
    let mut fraction = 0;
    if let Some(digits) = rest.strip_prefix('.') {
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        let padded = format!("{:0<3.3}", &digits[..end]);
        fraction = padded.parse::<i64>().ok()?;
        rest = &digits[end..];
    }
    let offset = match rest {
        "" | "Z" | "z" => 0,
        _ => {
            let (sign, rest) = (if rest.starts_with('-') { -1 } else { 1 }, rest.strip_prefix(['+', '-'])?);
            let (hours, minutes) = rest.split_once(':')?;
            sign * (i64::from(hours.parse::<u8>().ok()?) * 60 + i64::from(minutes.parse::<u8>().ok()?))
        }
    };
    let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute - offset) * 60 + second;
    Some(seconds * 1000 + fraction)
}

/// Days since 1970-01-01 of the Gregorian calendar; years begin in March here, so that leap days are last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// `14:03:09` of a day, UTC.
pub fn of_day(millis: i64) -> String {
    let seconds = millis.div_euclid(1000).rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// `850 ms`, `12.5 s`, `3 min 4 s`, `2 h 5 min`
pub fn duration(millis: i64) -> String {
    let seconds = millis / 1000;
    match millis {
        ..1000 => format!("{millis} ms"),
        1000..60_000 => format!("{:.1} s", millis as f64 / 1000.0),
        60_000..3_600_000 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn no_text_is_too_odd(text in "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9][.0-9+:Zé-]{0,12}|.{0,30}") {
            if let Some(millis) = millis(&text) {
                of_day(millis);
            }
        }
    }

    #[test]
    fn points_in_time_are_read_with_fractions_and_offsets() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2026-11-26T23:47:13.250Z", Some(1_795_736_833_250)),
            ("2026-11-27T00:47:13.25+01:00", Some(1_795_736_833_250)),
            ("2000-02-29T12:00:00.123456789Z", Some(951_825_600_123)),
            ("2026-11-27T00:47:13+-9223372036854775808:00", None),
            ("yesterday", None),
            ("2026-13-26T23:47:13Z", None),
            ("2026-11-26T23:47:1\u{e9}Z", None),
            ("2026-11-26T23:47:13 o'clock", None),
        ] {
            assert_eq!(millis(text), expected, "{text}");
        }
        assert_eq!(of_day(1_795_736_833_250), "23:47:13");
        assert_eq!(duration(184_000), "3 min 4 s");
    }
}

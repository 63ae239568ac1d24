//! Points in time as ISO 8601 spells them, without a clock.

use super::flow::Millis;

/// `2026-01-02T03:04:05.678Z`.
pub(super) fn spell(at: Millis) -> String {
    let (seconds, millis) = (at / 1000, at % 1000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date_of(days as i64);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Reads what programs write for it: any number of digits of a second, `Z`, an offset or (read as UTC) nothing. None
/// for what is no such time or lies before 1970.
pub(super) fn read(text: &str) -> Option<Millis> {
    let text = text.trim();
    let (date, rest) = text.split_at_checked(10)?;
    let mut parts = date.split('-');
    let mut number = |least: i64, most: i64| {
        let part = parts.next()?;
        let value = part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<i64>().ok())??;
        (least..=most).contains(&value).then_some(value)
    };
    let (year, month, day) = (number(1970, 9999)?, number(1, 12)?, number(1, 31)?);
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let end = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at(end);
    let (clock, fraction) = clock.trim_end().split_once(['.', ',']).unwrap_or((clock.trim_end(), ""));
    let mut parts = clock.split(':');
    let mut number = |most: i64| {
        let part = parts.next().filter(|part| part.len() == 2)?;
        let value = part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<i64>().ok())??;
        (value <= most).then_some(value)
    };
    let (hour, minute) = (number(24)?, number(59)?);
    // A leap second is told as the one after it.
    let second = if clock.len() > 5 { number(60)? } else { 0 };
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let millis = format!("{fraction:0<3}").get(..3)?.parse::<i64>().ok()?;
    let seconds = days_of(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset(zone)?;
    (seconds * 1000 + millis).try_into().ok()
}

/// Seconds east of Greenwich.
fn offset(zone: &str) -> Option<i64> {
    if matches!(zone, "" | "Z" | "z") {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let digits = zone.get(1..)?.replace(':', "");
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes) = match digits.len() {
        2 => (digits.parse::<i64>().ok()?, 0),
        4 => (digits.get(..2)?.parse().ok()?, digits.get(2..)?.parse().ok()?),
        _ => return None,
    };
    (hours <= 18 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// Days since 1970-01-01 of the Gregorian calendar, by eras of 400 years that begin in March.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let year = year.rem_euclid(400);
    era * 146_097 + year * 365 + year / 4 - year / 100 + day_of_year - 719_468
}

/// The inverse of `days_of`.
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{read, spell};

    #[test]
    fn times_are_read_as_programs_write_them() {
        let expected = Some(1_767_323_045_678);
        for text in [
            "2026-01-02T03:04:05.678Z",
            "2026-01-02T03:04:05.678912+00:00",
            "2026-01-02T05:04:05.678+02:00",
            "2026-01-01T22:04:05.6780000-0500",
            "2026-01-02 03:04:05,678",
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        assert_eq!(read("2026-01-02T03:04Z"), Some(1_767_323_040_000));
        for text in ["", "yesterday", "2026-13-02T03:04:05Z", "2026-01-02", "1969-01-02T03:04:05Z", "2026-01-02T3:4:5Z"]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_spelled_is_read_again(at in 0u64..253_402_300_799_999) {
            prop_assert_eq!(read(&spell(at)), Some(at));
        }

        #[test]
        fn no_text_is_too_much(text in "\\PC{0,40}") {
            let _ = read(&text);
        }
    }
}

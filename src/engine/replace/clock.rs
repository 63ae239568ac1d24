//! Zone, clock and language, generalised together: UTC and American English.

/// An offset in any spelling, with nothing but zeros: `+08:00` is `+00:00`, `UTC+8` is `UTC+0`.
pub(super) fn zero_offset(value: &str) -> String {
    // Minutes; four digits after a sign are hours and minutes.
    let digits = value.strip_prefix('-').unwrap_or(value);
    if digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits.len() != 4 || digits.len() == value.len()) {
        return "0".to_owned();
    }
    if value.starts_with("Etc/") {
        return "Etc/UTC".to_owned();
    }
    let (offset, name) = split_name(value);
    let zeros = offset.chars().map(|c| match c {
        '0'..='9' => '0',
        '-' | '\u{2212}' => '+',
        c => c,
    });
    zeros.chain(name.map_or("", utc_name).chars()).collect()
}

/// `GMT+0800 (China Standard Time)`: the offset, and the zone's name in brackets.
fn split_name(value: &str) -> (&str, Option<&str>) {
    match value.find(" (") {
        Some(at) => (&value[..at], Some(&value[at..])),
        None => (value, None),
    }
}

fn utc_name(bracketed: &str) -> &'static str {
    // The short name is of capitals alone: ` (CST)`.
    if bracketed.bytes().any(|byte| byte.is_ascii_lowercase()) { " (Coordinated Universal Time)" } else { " (UTC)" }
}

/// A local time as UTC, in the same spelling. `offset` is the clock's, for times that do not say.
///
/// None for a date alone, which cannot be converted, and for what is no time.
pub(super) fn in_utc(value: &str, offset: Option<i32>) -> Option<String> {
    let (stamp, name) = split_name(value);
    let mut fields = Fields::default();
    let zone_at = fields.read(stamp)?;
    let zone = &stamp[zone_at..];
    let minutes = if zone.trim().is_empty() { offset? } else { offset_minutes(zone.trim())? };
    let local = i64::from(fields.days()) * 1440 + i64::from(fields.hour.value * 60 + fields.minute.value);
    let utc = local - i64::from(minutes);
    let (days, minute_of_day) = (utc.div_euclid(1440) as i32, utc.rem_euclid(1440) as u32);
    let (year, month, day) = civil(days);

    let year = u32::try_from(year).ok()?;

    let mut out = stamp[..zone_at].to_owned();
    let mut values = vec![
        (fields.minute, minute_of_day % 60),
        (fields.hour, minute_of_day / 60),
        (fields.day, day),
        (fields.year, year),
    ];
    if fields.month_name {
        // Of one length each, so nothing else moves.
        out.replace_range(fields.month.at..fields.month.at + 3, &MONTHS[month as usize - 1][..3]);
        if let Some(at) = fields.weekday_at {
            out.replace_range(at..at + 3, &WEEKDAYS[weekday(days)][..3]);
        }
    } else {
        values.push((fields.month, month));
    }
    // From the last on: a day that gains a digit moves what follows it.
    values.sort_by_key(|(field, _)| std::cmp::Reverse(field.at));
    for (field, value) in values {
        field.put(&mut out, value);
    }
    if !zone.trim().is_empty() {
        out.push_str(&zero_offset(zone));
    }
    out.push_str(name.map_or("", utc_name));
    Some(out)
}

/// One number of a time stamp and where it stands.
#[derive(Clone, Copy, Default)]
struct Field {
    at: usize,
    len: usize,
    value: u32,
}

impl Field {
    fn put(self, out: &mut String, value: u32) {
        if self.len > 0 {
            out.replace_range(self.at..self.at + self.len, &format!("{value:0width$}", width = self.len));
        }
    }
}

#[derive(Default)]
struct Fields {
    year: Field,
    month: Field,
    month_name: bool,
    weekday_at: Option<usize>,
    day: Field,
    hour: Field,
    minute: Field,
}

impl Fields {
    /// Reads `2026-11-22T20:29:12.138` or `Sun Nov 22 2026 20:29:12`; says where the zone begins.
    fn read(&mut self, stamp: &str) -> Option<usize> {
        let mut cursor = Cursor { text: stamp, at: 0 };
        if stamp.starts_with(|c: char| c.is_ascii_digit()) {
            self.year = cursor.number(4)?;
            let separator = cursor.one_of("-/.")?;
            self.month = cursor.number(2)?;
            cursor.one_of(separator)?;
            self.day = cursor.number(2)?;
        } else {
            self.weekday_at = Some(cursor.at);
            cursor.word(&WEEKDAYS)?;
            cursor.spaces();
            self.month = Field { at: cursor.at, len: 3, value: cursor.word(&MONTHS)? as u32 + 1 };
            self.month_name = true;
            cursor.spaces();
            self.day = cursor.number(2)?;
            cursor.spaces();
            self.year = cursor.number(4)?;
        }
        if !matches!(self.month.value, 1..=12) || !matches!(self.day.value, 1..=31) {
            return None;
        }
        cursor.one_of("T ")?;
        cursor.spaces();
        self.hour = cursor.number(2)?;
        cursor.one_of(":")?;
        self.minute = cursor.number(2)?;
        if cursor.one_of(":").is_some() {
            cursor.number(2)?;
            if cursor.one_of(".,").is_some() {
                cursor.digits();
            }
        }
        (self.hour.value < 24 && self.minute.value < 60).then_some(cursor.at)
    }

    fn days(&self) -> i32 {
        days_of(self.year.value as i32, self.month.value, self.day.value)
    }
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn number(&mut self, most: usize) -> Option<Field> {
        let start = self.at;
        let len = self.text[start..].bytes().take(most).take_while(u8::is_ascii_digit).count();
        let value = self.text[start..start + len].parse().ok()?;
        self.at += len;
        Some(Field { at: start, len, value })
    }

    fn one_of(&mut self, set: &str) -> Option<&'a str> {
        let c = self.text[self.at..].chars().next().filter(|c| set.contains(*c))?;
        let found = &self.text[self.at..self.at + c.len_utf8()];
        self.at += c.len_utf8();
        Some(found)
    }

    /// One of `words` by its first three letters, and nothing longer.
    fn word(&mut self, words: &[&str]) -> Option<usize> {
        let start = self.text.get(self.at..self.at + 3)?;
        let found = words.iter().position(|word| word[..3].eq_ignore_ascii_case(start))?;
        self.at += 3;
        self.one_of(",");
        Some(found)
    }

    fn spaces(&mut self) {
        while self.one_of(" ").is_some() {}
    }

    fn digits(&mut self) {
        self.at += self.text[self.at..].bytes().take_while(u8::is_ascii_digit).count();
    }
}

/// `Z`, `+08:00`, `+0800`, `+8`, `GMT+8`, `UTC` in minutes; also a bare number of minutes.
pub(in crate::engine) fn offset_minutes(zone: &str) -> Option<i32> {
    let zone = zone.strip_prefix("UTC").or_else(|| zone.strip_prefix("GMT")).unwrap_or(zone).trim();
    if zone.is_empty() || zone == "Z" || zone == "z" {
        return Some(0);
    }
    let (sign, digits) = match zone.strip_prefix('+') {
        Some(digits) => (1, digits),
        None => (-1, zone.strip_prefix('-').or_else(|| zone.strip_prefix('\u{2212}'))?),
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some((hours, minutes)) => (hours, minutes),
        None if digits.len() == 4 => digits.split_at_checked(2)?,
        None => (digits, "0"),
    };
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours <= 14 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// From the first of January 1970 on.
const WEEKDAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

fn weekday(days: i32) -> usize {
    days.rem_euclid(7) as usize
}

/// Days since 1970-01-01 of the Gregorian calendar, by eras of 400 years that begin in March.
fn days_of(year: i32, month: u32, day: u32) -> i32 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month as i32 + 9) % 12) + 2) / 5 + day as i32 - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date of a day counted from 1970-01-01.
fn civil(days: i32) -> (i32, u32, u32) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = (of_year - (153 * month + 2) / 5 + 1) as u32;
    let month = if month < 10 { month + 3 } else { month - 9 } as u32;
    (year + era * 400 + i32::from(month <= 2), month, day)
}

/// American English in the spelling of the value.
pub(super) fn common_locale(kind: &str, value: &str) -> Option<String> {
    match kind {
        "locale.accept_language" => Some("en-US,en;q=0.9".to_owned()),
        "locale.country" => Some(if value.len() == 2 { "US" } else { "United States" }.to_owned()),
        "locale.keyboard" => Some("us".to_owned()),
        "locale.format" => american_date(value),
        _ => {
            let (locale, charset) = match value.find(['.', '@']) {
                Some(at) => value.split_at(at),
                None => (value, ""),
            };
            if locale == "C" || locale == "POSIX" {
                return None;
            }
            let separator = if locale.contains('_') { "_" } else { "-" };
            let country = if locale.contains(['-', '_']) { format!("{separator}US") } else { String::new() };
            let charset = charset.split('@').next().unwrap_or_default();
            Some(format!("en{country}{charset}"))
        }
    }
}

/// A date spelled as another country does, as America does; none where the spelling is not known.
fn american_date(value: &str) -> Option<String> {
    let numbers: Vec<u32> = value
        .split(|c: char| !c.is_ascii_digit())
        .filter(|part| !part.is_empty())
        .filter_map(|n| n.parse().ok())
        .collect();
    let &[a, b, c] = numbers.as_slice() else { return None };
    let valid = |month: u32, day: u32| (1..=12).contains(&month) && (1..=31).contains(&day);
    if value.contains(['年', '년']) && valid(b, c) && (1000..10_000).contains(&a) {
        let weekday = WEEKDAYS[weekday(days_of(a as i32, b, c))];
        return Some(format!("{weekday}, {} {c}, {a}", MONTHS[b as usize - 1]));
    }
    let plain = value.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'/' | b' '));
    if plain && c > 31 && (value.contains('.') || a > 12) && valid(b, a) {
        return Some(format!("{b}/{a}/{c}"));
    }
    None
}

//! Dates as people and locales write them.

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const OTHERS: &[&str] = &[
    "mon", "tue", "wed", "thu", "fri", "sat", "sun", "am", "pm", "a", "p", "m", "t", "at", "on", "of", "the", "st",
    "nd", "rd", "th", "utc", "gmt", "de", "le", "年", "月", "日", "时", "分", "秒", "点", "星期", "周", "上午", "下午",
    "晚上",
];

/// A day with its year, with or without a clock: `2026-11-22`, `11/22/2026, 8:29:12 PM`, `Sunday, 22 November 2026`,
/// `2026年11月22日 星期日 20:29`. Nothing else may stand there.
pub fn is_date_time(value: &str) -> bool {
    let (mut numbers, mut month, mut year) = (0, false, false);
    let mut rest = value.trim();
    if rest.len() > 64 || rest.ends_with(['Z', 'z']) {
        return false;
    }
    while let Some(first) = rest.chars().next() {
        let same: fn(char) -> bool = match first {
            c if c.is_ascii_digit() => |c| c.is_ascii_digit(),
            c if c.is_ascii_alphabetic() => |c| c.is_ascii_alphabetic(),
            c if c.is_alphabetic() => |c| c.is_alphabetic() && !c.is_ascii(),
            _ => |_| false,
        };
        let length = rest.find(|c| !same(c)).unwrap_or(rest.len()).max(first.len_utf8());
        let (word, behind) = rest.split_at(length);
        rest = behind;
        match first {
            c if c.is_ascii_digit() => {
                numbers += 1;
                year |= word.len() == 4 && (word.starts_with("19") || word.starts_with("20"));
                if word.len() > 9 || (word.len() == 3 && numbers < 4) {
                    return false;
                }
            }
            c if c.is_ascii_alphabetic() => {
                let lower = word.to_ascii_lowercase();
                let name = |list: &[&str], least: usize| {
                    list.iter().any(|known| {
                        lower == *known || (lower.len() > least && known.len() == 3 && lower.starts_with(known))
                    })
                };
                month |= name(MONTHS, 3);
                if !name(MONTHS, 3) && !name(OTHERS, 5) {
                    return false;
                }
            }
            c if c.is_alphabetic() => {
                let known = |mut word: &str| {
                    while let Some(next) = OTHERS.iter().find_map(|known| word.strip_prefix(known)) {
                        word = next;
                    }
                    // The day of the week: `星期日`, `周三`.
                    word.chars().all(|c| "一二三四五六日天期".contains(c))
                };
                if !known(word) {
                    return false;
                }
            }
            ' ' | ',' | '.' | ':' | '-' | '/' | '+' | '\u{202f}' | '\u{a0}' | '(' | ')' => {}
            _ => return false,
        }
    }
    year && numbers + usize::from(month) >= 3
}

#[cfg(test)]
mod tests {
    use super::is_date_time;

    #[test]
    fn dates_of_any_locale_are_taken_and_other_numbers_are_not() {
        for value in [
            "2026-11-22",
            "2026/11/22 20:29",
            "11/22/2026, 8:29:12 PM",
            "22.11.2026",
            "Sunday, November 22, 2026",
            "Sun Nov 22 2026 20:29:12 GMT+0800",
            "22 November 2026",
            "2026年11月22日星期日",
            "2026年11月22日 星期日 20:29",
            "2026-11-22T20:29:12.138+08:00",
        ] {
            assert!(is_date_time(value), "{value}");
        }
        for value in
            ["2026", "1.2.3", "10.0.26100", "next week 2026-11-22", "2026-11-22T12:29:12Z", "v2026.11.22 beta", ""]
        {
            assert!(!is_date_time(value), "{value}");
        }
    }
}

//! Text for a terminal: columns, colours, counts and sizes, and the list of files that were sent.
//!
//! Everything that came from the wire is escaped: nothing in it can move a cursor or hide a line.

use std::fmt::Write;

use crate::engine::line::is_hidden;
use crate::engine::{Action, Severity};
use crate::session::files::SentFile;

/// Files of one host that are shown.
const SHOWN_FILES: usize = 40;

/// How the table looks.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    pub color: bool,
    /// Columns; lines are cut to them, locations excepted.
    pub width: usize,
    /// Raw values, for the user's own eyes.
    pub reveal: bool,
}

impl Default for Style {
    fn default() -> Self {
        Self { color: false, width: 120, reveal: false }
    }
}

/// Files of the working tree that were sent, host by host.
pub(super) fn files(files: &[SentFile], paint: Paint, out: &mut String) {
    for of_host in files.chunk_by(|a, b| a.host == b.host) {
        out.push('\n');
        let host = visible(&of_host[0].host);
        line(out, &format!("{} {host}", paint.bold("sent from the disk to")));
        let widest = of_host.iter().map(|file| columns(&visible(&file.file))).max().unwrap_or(0).min(60);
        for file in of_host.iter().take(SHOWN_FILES) {
            line(out, &format!("  {}  {}", padded(&visible(&file.file), widest), file.said(size)));
        }
        if of_host.len() > SHOWN_FILES {
            line(out, &format!("  and {} more files", of_host.len() - SHOWN_FILES));
        }
    }
}

pub(super) fn line(out: &mut String, text: &str) {
    out.push_str(text.trim_end());
    out.push('\n');
}

pub(super) fn plural(count: u64, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

/// `812 bytes`, `184.2 KiB`, `3.1 MiB`
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return plural(bytes, "byte");
    }
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

/// `99.8%`; 100% only where nothing at all is missing.
pub fn share(part: u64, whole: u64) -> String {
    if part >= whole {
        return "100%".to_owned();
    }
    let share = (part as f64 / whole as f64 * 1000.0).floor() / 10.0;
    format!("{share:.1}%")
}

/// Text that a terminal shows as it is: control, direction and invisible characters are spelled out.
pub fn visible(text: &str) -> String {
    if !text.contains(is_hidden) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_hidden(c) => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// Columns that `text` takes on a terminal.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(wide).sum()
}

fn wide(c: char) -> usize {
    match c {
        '\u{300}'..='\u{36f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

pub(super) fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(columns(text))))
}

pub(super) fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        used += wide(c);
        if used + 1 > width {
            break;
        }
        out.push(c);
    }
    out.push('…');
    out
}

#[derive(Clone, Copy)]
pub(super) struct Paint {
    pub color: bool,
}

impl Paint {
    pub(super) fn with(self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    pub(super) fn severity(self, severity: Severity, text: &str) -> String {
        match severity {
            Severity::High => self.with("31", text),
            Severity::Medium => self.with("33", text),
            Severity::Low => self.with("2", text),
        }
    }

    pub(super) fn action(self, action: Action, text: &str) -> String {
        match action {
            Action::Allow | Action::Log => text.to_owned(),
            Action::Warn => self.with("33", text),
            Action::Generalize | Action::Redact | Action::Pseudonym | Action::Strip => self.with("32", text),
            Action::Block => self.with("35", text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_whole_only_where_nothing_is_missing() {
        assert_eq!(share(0, 0), "100%");
        assert_eq!(share(999_999, 1_000_000), "99.9%");
        assert_eq!(size(1023), "1023 bytes");
        assert_eq!(size(1024 * 1024), "1.0 MiB");
    }
}

//! Requests side by side as a terminal shows them: what differs, with what is the same beside it.

use super::{Change, Comparison, Pair};
use crate::report::compare::words::{Op, Piece};
use crate::report::compare::{Look, What};
use crate::report::text::{plural, visible};

/// Columns of a value that is shown whole.
const SHOWN_VALUE: usize = 160;
/// Characters of what is the same, on each side of a difference.
const SHOWN_SAME: usize = 24;

impl Comparison {
    /// With a line end after each line.
    pub fn render(&self, look: Look) -> String {
        let mut out = String::new();
        let (same, other): (Vec<&Pair>, Vec<&Pair>) = self.requests.iter().partition(|pair| pair.is_same());
        // A single pair is shown whatever it is; of many, those that differ.
        let shown = if self.requests.len() == 1 { self.requests.iter().collect() } else { other };
        for pair in &shown {
            if !out.is_empty() {
                out.push('\n');
            }
            pair.render(look, &mut out);
        }
        if self.requests.len() > 1 && !same.is_empty() {
            let text = format!("{} the same, noise aside", plural(same.len() as u64, "request"));
            out.push_str(&format!("\n{}\n", look.grey(&text)));
        }
        out
    }
}

impl Pair {
    fn render(&self, look: Look, out: &mut String) {
        let count = |what| self.changes.iter().filter(|change| change.what == what && change.noise.is_none()).count();
        let noise = self.changes.iter().filter(|change| change.noise.is_some()).count();
        let mut about = vec![
            format!("{} new", count(What::New)),
            format!("{} gone", count(What::Gone)),
            format!("{} changed", count(What::Changed)),
            format!("{noise} noise"),
            format!("{} the same", self.same),
        ];
        if self.repeats.0 > 1 || self.repeats.1 > 1 {
            about.push(format!("{} and {} repeats", self.repeats.0, self.repeats.1));
        }
        let endpoint = look.paint("1", &visible(&self.endpoint));
        match (&self.a, &self.b) {
            (Some(_), None) => about = vec![look.what(What::Gone, "gone"), plural(self.repeats.0 as u64, "request")],
            (None, Some(_)) => about = vec![look.what(What::New, "new"), plural(self.repeats.1 as u64, "request")],
            _ => {}
        }
        out.push_str(&format!("{endpoint}  {}\n", about.join(" · ")));
        let mut changes: Vec<&Change> = self.changes.iter().collect();
        changes.sort_by_key(|change| (change.noise.is_some(), change.what));
        changes.iter().for_each(|change| change.render(look, out));
        if self.spelling {
            out.push_str(
                "  the bodies differ in bytes that no value holds: white space, order of members or spelling\n",
            );
        }
    }
}

impl Change {
    fn render(&self, look: Look, out: &mut String) {
        let mut place = visible(&self.location);
        if let Some(from) = &self.from {
            place.push_str(&format!(" (was {})", visible(from)));
        }
        if let Some(noise) = self.noise {
            let value =
                |value: &Option<String>| value.as_deref().map_or("nothing".to_owned(), |value| short(value, 40));
            let text = format!("  {:<9}{place}  {} -> {}", noise.name(), value(&self.a), value(&self.b));
            out.push_str(&look.grey(&text));
            out.push('\n');
            return;
        }
        let what = look.what(self.what, &format!("{:<9}", self.what.name()));
        let value = match self.what {
            What::Changed => self.pieces(look),
            What::New => look.what(What::New, &short(self.b.as_deref().unwrap_or(""), SHOWN_VALUE)),
            What::Gone => look.what(What::Gone, &short(self.a.as_deref().unwrap_or(""), SHOWN_VALUE)),
        };
        out.push_str(&format!("  {what}{place}  {value}\n"));
        for points in &self.code_points {
            let list = |points: &[String]| if points.is_empty() { "nothing".to_owned() } else { points.join(" ") };
            out.push_str(&format!("  {:<9}{} -> {}\n", "", list(&points.a), list(&points.b)));
        }
    }

    fn pieces(&self, look: Look) -> String {
        if self.words.iter().all(|piece| piece.op == Op::Same) {
            return "another value, masked alike".to_owned();
        }
        let last = self.words.len().saturating_sub(1);
        let piece = |(at, piece): (usize, &Piece)| {
            let text = visible(&piece.text);
            match piece.op {
                Op::Same => around(&text, at > 0, at < last),
                _ if piece.noise => {
                    look.grey(&if piece.op == Op::Gone { format!("[~{text}~]") } else { String::new() })
                }
                Op::Gone => look.what(What::Gone, &format!("[-{}-]", short(&text, SHOWN_VALUE))),
                Op::New => look.what(What::New, &format!("{{+{}+}}", short(&text, SHOWN_VALUE))),
            }
        };
        self.words.iter().enumerate().map(piece).collect()
    }
}

fn short(text: &str, most: usize) -> String {
    let text = visible(text);
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}… ({} characters)", &text[..end], text.chars().count()),
        None => text,
    }
}

/// What is the same, cut to what stands beside a difference.
fn around(text: &str, before: bool, after: bool) -> String {
    let chars: Vec<char> = text.chars().collect();
    let (start, end) = (if before { SHOWN_SAME } else { 0 }, if after { SHOWN_SAME } else { 0 });
    if chars.len() <= start + end + 3 {
        return text.to_owned();
    }
    let first: String = chars[..start].iter().collect();
    let last: String = chars[chars.len() - end..].iter().collect();
    format!("{first} … {last}")
}

//! What assistants tell a model about the machine, in sentences: `Working directory: /home/ann/p`,
//! `操作系统：Linux 6.8`, `<timezone>Asia/Tokyo</timezone>`.
//!
//! The scanner looks for the literals of all text rules; a rule's pattern is tried only around its own.
//! A line by itself may be about any machine, so its confidence comes from what stands around it: other
//! lines of such a block, the sign that opens one, and whose words they are.

use std::ops::Range;

use super::inspector::Inspector;
use super::labelled;
use super::named::in_parts;
use super::region::{self, Region};
use super::{RawFinding, examples};
use crate::engine::location::{Location, Root};
use crate::engine::rules::rule::Matching;
use crate::engine::rules::validate::home_of;
use crate::engine::visit::{Leaf, LeafKind, Place};

/// What opens a block about the machine.
pub(crate) const BLOCK_SIGNS: &[&str] = &[
    "<env>",
    "<environment",
    "<session_context",
    "<system-reminder",
    "<user_info",
    "<workspace_info",
    "<workspace_context",
    "<system_info",
    "<machine",
    "<context",
    "<runtime",
    "<host_info",
    "<user_context",
    "<os_info",
    "<环境",
    "<上下文",
    "<current_datetime",
    "<editor_context",
    "about the environment",
    "environment information",
    "environment details",
    "# environment",
    "# env\n",
    "# system information",
    "# session context",
    "# currentdate",
    "system information:",
    "environment:",
    "current context",
    "user's environment",
    "user environment",
    "环境信息",
    "运行环境",
    "系统信息",
    "当前环境",
    "环境上下文",
    "环境如下",
];

/// Whether a block's sign at `start` is one: `environment:` on an indented line is a key of somebody's configuration.
pub(super) fn announces(text: &[u8], start: usize) -> bool {
    const DEEPEST: usize = 64;
    let blanks = text[..start].iter().rev().take(DEEPEST).take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let line = start - blanks;
    let indented = blanks > 0 && (line == 0 || text[line - 1] == b'\n');
    !(indented && text.get(start).is_some_and(u8::is_ascii_lowercase))
}

/// Shorter texts hold no labelled value.
const SHORTEST: usize = 8;
/// How far around a literal a pattern may look.
const BEFORE: usize = 64;
const AFTER: usize = 512;
/// What is longer is no heading, nor a line that follows one.
const LONGEST_LINE: usize = 4096;
/// The same for values of many lines.
const AFTER_OF_BLOCK: usize = 16 << 10;
/// How far apart the lines of one block stand, and how far a block reaches from its sign.
const BLOCK: usize = 900;
const SIGN_REACH: usize = 2500;
/// Most lines that follow one heading.
const FOLLOWING: usize = 40;

/// A line that alone is this sure is strong: it names a place, a person or the time, not a product.
const STRONG: f32 = 0.4;
/// A line this sure counts by itself in an assistant's own prompt.
const ALONE_IN_SYSTEM: f32 = 0.45;
const IN_BLOCK: f32 = 0.9;
const IN_PAIR: f32 = 0.65;
/// Below the default: looked like it, but in words that may be about any machine.
const DOUBTFUL: f32 = 0.45;

/// Room for one text's hits, kept from leaf to leaf.
#[derive(Default)]
pub(super) struct Prompt {
    hits: Vec<Hit>,
    signs: Vec<Sign>,
    /// Where fenced code begins and ends, in turns.
    fences: Vec<usize>,
}

struct Sign {
    at: usize,
    /// `<env>` is written by a program, `Environment:` by anybody.
    tag: bool,
}

struct Hit {
    rule: u16,
    window: Range<usize>,
}

impl Inspector<'_> {
    pub(super) fn try_text(&mut self, leaf: &Leaf<'_>, place: &dyn Place) {
        let holds_text = match leaf.kind {
            LeafKind::Method
            | LeafKind::PathSegment
            | LeafKind::JsonNumber
            | LeafKind::JsonBool
            | LeafKind::JsonNull
            | LeafKind::PbVarint
            | LeafKind::PbFixed => false,
            LeafKind::JsonName | LeafKind::FieldName => leaf.text.iter().any(|byte| matches!(byte, b'/' | b'\\')),
            _ => true,
        };
        if !holds_text || leaf.text.len() < SHORTEST {
            return;
        }
        if self.hits.literals.is_empty() {
            return;
        }
        let mut prompt = std::mem::take(&mut self.prompt);
        prompt.hits.clear();
        prompt.signs.clear();
        let mut text = None;
        // Of labels that end alike the longest comes first and has the value: `temporary directory` is no `directory`.
        let mut taken: Vec<(usize, usize)> = Vec::new();
        for hit in &self.hits.literals {
            let Some(meaning) = self.rules.literals.meanings.get(hit.number as usize) else { continue };
            if meaning.sign && announces(leaf.text, hit.start) {
                prompt.signs.push(Sign { at: hit.start, tag: leaf.text.get(hit.start) == Some(&b'<') });
            }
            let labelled: &[u16] = if hit.labels { &meaning.label } else { &[] };
            for &number in meaning.near.iter().chain(labelled) {
                if !self.is_active(number) {
                    continue;
                }
                // Read as text only when something is near.
                let Some(text) = *text.get_or_insert_with(|| simdutf8::basic::from_utf8(leaf.text).ok()) else {
                    continue;
                };
                if let Some(rule) = self.rules.rules().get(usize::from(number)) {
                    let before = prompt.hits.len();
                    collect(number, &rule.matching, text, hit.start..hit.end, &mut prompt.hits);
                    if hit.labels
                        && prompt.hits.len() == before
                        && !rule.matching.labels.is_empty()
                        && let Some(window) = labelled::value_behind(text, hit.start..hit.end, &rule.matching)
                        && !taken
                            .iter()
                            .rev()
                            .take_while(|taken| taken.0 == hit.end)
                            .any(|taken| taken.1 == window.start)
                        && !has(&prompt.hits, number, &window)
                    {
                        taken.push((hit.end, window.start));
                        prompt.hits.push(Hit { rule: number, window });
                    }
                }
            }
        }
        prompt.hits.retain(|hit| !examples::is_example(leaf.text, hit.window.start));
        if !prompt.hits.is_empty() {
            self.weigh(leaf, place, &mut prompt);
        }
        self.prompt = prompt;
    }

    /// Turns the hits of one text into findings, each as sure as its surroundings make it.
    fn weigh(&mut self, leaf: &Leaf<'_>, place: &dyn Place, prompt: &mut Prompt) {
        let location = place.location();
        let region = self.region(&location, place);
        // A text that is all of a body or of a part of one, or of several lines in a document: a page, a file.
        let page = location.root == Root::Body && matches!(leaf.kind, LeafKind::Text | LeafKind::MultipartText)
            || region == Region::Client && region::is_document(leaf);
        prompt.hits.sort_by_key(|hit| (hit.window.start, hit.window.end, hit.rule));
        prompt.fences.clear();
        // In most texts there is none, and to look for one character is cheaper than to make ready to look for three.
        if let Some(first) = memchr::memchr(b'`', leaf.text) {
            prompt.fences.extend(memchr::memmem::find_iter(&leaf.text[first..], "```").map(|at| first + at));
        }
        let Prompt { hits, signs, fences } = prompt;
        signs.sort_by_key(|sign| sign.at);
        // The last tag at or before each sign.
        let mut tag = None;
        let tags: Vec<Option<usize>> = signs
            .iter()
            .map(|sign| {
                tag = if sign.tag { Some(sign.at) } else { tag };
                tag
            })
            .collect();
        let rules = self.rules.rules();
        let mut first = 0;
        for at in 0..hits.len() {
            let hit = &hits[at];
            let Some(rule) = rules.get(usize::from(hit.rule)) else { continue };
            if !in_parts(rule, leaf.kind, &location.root) || (region.is_shared() && !rule.select.conversation) {
                continue;
            }
            if !rule.select.path.is_empty() && !rule.select.path.iter().any(|glob| glob.matches(place.pointer())) {
                continue;
            }
            while hits[first].window.start + BLOCK < hit.window.start {
                first += 1;
            }
            let block = hits[first..].iter().take_while(|other| other.window.start <= hit.window.start + BLOCK);
            // A handful of kinds settles it; texts full of hits need not be counted out.
            // Two rules may name one value twice over; that makes no two witnesses.
            let (mut kinds, mut strong, mut covered) = ([""; 4], false, 0);
            for other in block.take(64) {
                if other.window.start < covered {
                    continue;
                }
                covered = other.window.end;
                let Some(other) = rules.get(usize::from(other.rule)) else { continue };
                strong |= other.confidence >= STRONG;
                if let Some(free) = kinds.iter_mut().find(|kind| kind.is_empty() || ***kind == *other.kind) {
                    *free = &other.kind;
                }
            }
            let kinds = kinds.iter().filter(|kind| !kind.is_empty()).count();
            let last = signs.partition_point(|sign| sign.at <= hit.window.start).checked_sub(1);
            let reaches = |at: usize| hit.window.start - at <= SIGN_REACH;
            let around = Around {
                kinds,
                strong,
                signed: last.is_some_and(|last| reaches(signs[last].at)),
                tagged: last.and_then(|last| tags[last]).is_some_and(reaches),
                fenced: fences.partition_point(|&fence| fence < hit.window.start) % 2 == 1,
                region,
            };
            let confidence = around.weigh(rule.confidence);
            self.add(hit.rule, leaf, Location::clone(&location), hit.window.clone(), confidence);
            if let Some(found) = self.found.last_mut() {
                // Whoever wrote it: only what is known of this machine says that it is about it.
                found.unsigned = (region.is_shared() || page) && !around.signed;
            }
        }
    }
}

/// Whether `rule` has that window already. Labels come in the order of their ends, so it would stand among the last.
fn has(hits: &[Hit], rule: u16, window: &Range<usize>) -> bool {
    const LAST: usize = 64;
    hits.iter().rev().take(LAST).any(|hit| hit.rule == rule && hit.window == *window)
}

/// What stands around a hit.
#[derive(Clone, Copy)]
struct Around {
    /// Different kinds of hits nearby, itself among them.
    kinds: usize,
    /// One of them is strong.
    strong: bool,
    /// Something announced a block about the machine.
    signed: bool,
    /// A tag did.
    tagged: bool,
    /// In fenced code: quoted, not said.
    fenced: bool,
    region: Region,
}

impl Around {
    /// How sure a hit is that by itself is `alone` sure.
    fn weigh(self, alone: f32) -> f32 {
        let system = self.region == Region::System;
        let sure = match self.kinds {
            _ if self.tagged && (self.kinds >= 2 || self.strong) => IN_BLOCK,
            2.. if self.strong && self.signed => IN_BLOCK,
            3.. if self.strong => IN_BLOCK,
            2.. if self.strong || system => IN_PAIR,
            _ if system && alone >= ALONE_IN_SYSTEM => IN_PAIR,
            _ if self.signed && alone >= ALONE_IN_SYSTEM => IN_PAIR,
            _ => DOUBTFUL.min(alone),
        };
        let quoted = self.fenced && !system || matches!(self.region, Region::ToolResult | Region::Tools);
        if quoted && !self.tagged && alone < IN_PAIR { sure.min(DOUBTFUL) } else { sure.max(alone) }
    }
}

/// Whether the bytes `start..end` are a label: a word of its own, and then, behind emphasis, quotes or a remark in
/// brackets, what joins a label to its value.
pub(super) fn is_label(text: &[u8], start: usize, end: usize) -> bool {
    let starts_word = text.get(start).is_some_and(u8::is_ascii_alphanumeric);
    if starts_word && start > 0 && text.get(start - 1).is_some_and(|byte| byte.is_ascii_alphabetic()) {
        return false;
    }
    // The end of an element names what stands before it.
    if text[..start].ends_with(b"</") {
        return false;
    }
    let mut rest = text.get(end..).unwrap_or_default();
    if let Some(bracket) = rest.strip_prefix(b" (")
        && let Some(close) = memchr::memchr(b')', &bracket[..bracket.len().min(64)])
    {
        rest = &bracket[close + 1..];
    }
    let emphasis = rest.iter().take(4).take_while(|byte| b"\"'*_`".contains(byte)).count();
    rest = rest.get(emphasis..).unwrap_or_default();
    let joint = rest.strip_prefix(b" ").unwrap_or(rest);
    const JOINTS: &[&str] = &[":", "=", ">", "|", "：", "is", "are", "为", "是"];
    // Behind a heading the value stands on the next line.
    let heading = || {
        let line = start_of_line(text, start);
        text.get(line) == Some(&b'#') && matches!(joint.first(), Some(b'\n' | b'\r'))
    };
    JOINTS.iter().any(|known| joint.starts_with(known.as_bytes())) || heading()
}

/// Tries one rule around one of its literals.
fn collect(number: u16, matching: &Matching, text: &str, near: Range<usize>, hits: &mut Vec<Hit>) {
    let Some(pattern) = matching.value.as_ref().and_then(|value| value.regex()) else { return };
    // Two literals of a rule in one line call for it twice.
    let taken = hits.iter().rev().take(16).find(|hit| hit.rule == number).map_or(0, |hit| hit.window.end);
    if matching.follow {
        let mut line_end = end_of_line(text, near.end, LONGEST_LINE);
        for _ in 0..FOLLOWING {
            let start = line_end + 1;
            if start >= text.len() || !text.is_char_boundary(start) {
                break;
            }
            line_end = end_of_line(text, start, LONGEST_LINE);
            let Some(window) = window_at(pattern, text, start, boundary(text, line_end.min(start + AFTER))) else {
                break;
            };
            if window.start >= taken && matching.takes(&text[window.clone()]) {
                hits.push(Hit { rule: number, window });
            }
        }
        return;
    }
    // No further than the pattern may look: a line of a megabyte would be gone through for each of its literals.
    let start = boundary(text, near.start.saturating_sub(BEFORE));
    let start = memchr::memrchr(b'\n', &text.as_bytes()[start..near.start]).map_or(start, |line| start + line + 1);
    let end = match matching.block {
        true => boundary(text, near.end + AFTER_OF_BLOCK),
        false => boundary(text, end_of_line(text, near.end, AFTER)),
    };
    if near.start < taken || end < start {
        return;
    }
    if let Some(window) = window_at(pattern, text, start.max(taken), end)
        && matching.takes(&text[window.clone()])
    {
        hits.push(Hit { rule: number, window });
    }
}

/// The window of the first match between `start` and `end`; `^` and `$` see the whole text before `end`.
fn window_at(pattern: &regex::Regex, text: &str, start: usize, end: usize) -> Option<Range<usize>> {
    let window = value_of(pattern, &pattern.captures_at(&text[..end], start)?)?;
    (!window.is_empty()).then_some(window)
}

/// What the group `value` matched, or all of it for a pattern without groups. A branch that leaves the group
/// out names what is not meant.
pub(super) fn value_of(pattern: &regex::Regex, captures: &regex::Captures<'_>) -> Option<Range<usize>> {
    match captures.name("value") {
        Some(group) => Some(group.range()),
        None if pattern.captures_len() == 1 => captures.get(0).map(|whole| whole.range()),
        None => None,
    }
}

/// Where the line begins that `at` is in. Of a longer one than any with a label: somewhere in it, so that a text of one line is
/// not gone through for each of its words.
pub(super) fn start_of_line(text: &[u8], at: usize) -> usize {
    let from = at.saturating_sub(LONGEST_LINE);
    memchr::memrchr(b'\n', &text[from..at]).map_or(from, |line| from + line + 1)
}

/// Where the line ends that `from` is in, or `most` bytes behind it.
fn end_of_line(text: &str, from: usize, most: usize) -> usize {
    let end = text.len().min(from + most);
    memchr::memchr2(b'\n', b'\r', &text.as_bytes()[from..end]).map_or(end, |line| from + line)
}

/// The nearest character boundary at or before `at`.
pub(super) fn boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// A home folder in a text may be anybody's; it is this person's where a surer finding names the same.
pub(super) fn confirm_homes<'a>(findings: impl Iterator<Item = &'a mut RawFinding>) {
    let findings: Vec<_> = findings.collect();
    let known: std::collections::HashSet<String> = findings
        .iter()
        .filter(|finding| finding.confidence >= super::DEFAULT_CONFIDENCE && finding.kind.starts_with("path."))
        .filter_map(|finding| home_of(&finding.value).map(str::to_owned))
        .collect();
    if known.is_empty() {
        return;
    }
    for finding in findings {
        if finding.confidence < super::DEFAULT_CONFIDENCE
            && &*finding.kind == "path.home"
            && known.contains(&*finding.value)
        {
            finding.confidence = IN_BLOCK;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_a_configuration_announces_nothing() {
        for (text, announced) in [
            ("environment:\n- Platform: linux", true),
            ("  Environment:\n  - Platform: linux", true),
            ("your environment: linux", true),
            ("  <env>\n  Platform: linux", true),
            ("services:\n  db:\n    environment:\n      POSTGRES_USER: dev", false),
            ("\tenvironment: staging", false),
        ] {
            let start = text.find('<').or_else(|| text.to_lowercase().find("environment:")).expect("a sign");
            assert_eq!(announces(text.as_bytes(), start), announced, "{text}");
        }
    }

    #[test]
    fn a_line_is_as_sure_as_what_stands_around_it() {
        let line = Around {
            kinds: 1,
            strong: true,
            signed: false,
            tagged: false,
            fenced: false,
            region: Region::Conversation,
        };
        for (said, around, alone, reported) in [
            ("one line in a conversation", line, 0.45, false),
            ("one strong line in a system prompt", Around { region: Region::System, ..line }, 0.45, true),
            ("two kinds in a conversation", Around { kinds: 2, ..line }, 0.4, true),
            ("products alone", Around { kinds: 4, strong: false, signed: true, ..line }, 0.3, false),
            ("products in a tag", Around { kinds: 2, strong: false, signed: true, tagged: true, ..line }, 0.3, true),
            ("fenced code", Around { kinds: 4, fenced: true, ..line }, 0.4, false),
            ("what a tool returned", Around { kinds: 4, region: Region::ToolResult, ..line }, 0.4, false),
            (
                "a tag in what a tool returned",
                Around { kinds: 4, signed: true, tagged: true, region: Region::ToolResult, ..line },
                0.4,
                true,
            ),
            ("a certain shape in what a tool returned", Around { region: Region::ToolResult, ..line }, 0.9, true),
        ] {
            assert_eq!(around.weigh(alone) >= super::super::DEFAULT_CONFIDENCE, reported, "{said}");
        }
    }
}

//! One text beside what is known of its places: spellings, words, the order of sentences and which of them are there.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::book::Page;
use super::text::{self, Reading, Segment, Side, Spot, Toward, mix};
use super::unlike::{Odd, differences};
use super::{Scan, Worth};
use crate::engine::finding::Severity;

/// Places next to one, on both sides together, that must be those of a known text.
const AROUND: usize = 4;
/// Places in a row on one side.
const ASIDE: usize = 3;
/// Findings of words and sentences in one text.
const FEW: usize = 8;
/// Other requests that must agree on words: a setting that never changed looks the same.
const WORDS: u32 = 5;
/// On which sentences are there.
const PRESENT: u32 = 4;
/// On their order.
const ORDERED: u32 = 3;

const NEXT: u64 = 31;
const BAG: u64 = 32;
const SKIP: u64 = 34;
const STRETCH: u64 = 33;
/// Bytes of a person's file that tell it from others.
const FILE: usize = 400;
/// What stands before the first sentence, and after the last one.
const EDGE: u32 = 0;

/// At least three others agree, and none differs.
const SURE: f32 = 0.9;

/// Two spellings are both common: which is the mark cannot be told.
const EITHER: Worth = (0.55, Severity::Low);
const CHOSEN: Worth = (0.5, Severity::Low);

impl Scan<'_> {
    /// Notes what `text` teaches, and says where it differs from what is known.
    pub(super) fn compare(&mut self, text: &str, around: u64, reading: &Reading, users: usize) -> Vec<(Odd, Worth)> {
        let spots = &reading.spots;
        let own = self.templates.own();
        let known: Vec<bool> = match self.page {
            Some(page) => spots.iter().map(|spot| page.knows(spot.place, own)).collect(),
            None => Vec::new(),
        };
        let mut found = Vec::new();
        let stretch = mix(around, STRETCH);
        let file = text.get(users..).map_or(0, |rest| text::digest(9, &rest.as_bytes()[..rest.len().min(FILE)]));
        self.lesson.note_code(stretch, file as u32);
        let everybodys = self.page.map_or(0, |page| (page.requests_with(stretch).saturating_sub(own) * 9).div_ceil(10));
        // Beside one project's file nothing tells the client's words from the person's.
        let files = self.page.map_or(0, |page| page.spellings_of(stretch));
        let everywhere =
            |place| self.page.is_some_and(|page| page.requests_with(place).saturating_sub(own) >= everybodys);
        let mut words = 0;
        let mut spelling = String::new();
        for (index, spot) in spots.iter().enumerate() {
            text::spelling(text, spot, &mut spelling);
            let spelled = self.lesson.note(spot.place, &spelling);
            let mut here = known.get(index).copied();
            if spot.word.end > users && (files < 2 || !everywhere(spot.place)) {
                // A file of one project, not what the client says around it.
                here = None;
            }
            if here == Some(true) && in_known_text(&known, index) {
                let sure = spot.own || spot.word.end <= users && everywhere(spot.place);
                // Two files may say the same in two ways.
                let least = if spot.word.end > users { SURE } else { 0.0 };
                self.spelled(text, spot, (spelled, sure, least), &mut found);
            }
            let mut sided = false;
            for side in spot.sides.iter().flatten() {
                let part = &text[side.part.clone()];
                let spelled = self.lesson.note(side.place, part);
                if here == Some(false) && !sided {
                    let before = found.len();
                    self.sided(text, spot, side, (spelled, &known, index), &mut found);
                    sided = found.len() > before;
                }
            }
            if let Some((place, code)) = spot.choice {
                let code = self.lesson.note_code(place, code);
                if here == Some(false) && words < FEW {
                    words += usize::from(self.chosen(spot, (place, code), &known, index, &mut found));
                }
            }
        }
        self.segments(around, &reading.segments, &mut found);
        found
    }

    /// A place that others have, by the words on both sides.
    fn spelled(
        &self,
        text: &str,
        spot: &Spot,
        (spelled, sure, least): (u32, bool, f32),
        found: &mut Vec<(Odd, Worth)>,
    ) {
        let Some(page) = self.page else { return };
        let (usual, worth) = match page.unlike(spot.place, spelled, self.templates.own()) {
            Some(usual) => {
                let confidence = match usual.agree {
                    agree if usual.others * 3 >= agree => 0.6,
                    3.. if usual.others == 0 => SURE,
                    _ => 0.75,
                };
                (usual, (confidence, Severity::Medium))
            }
            // Where people may have put in words, two of them may spell the same words in two ways.
            None if sure => match page.variants(spot.place, spelled) {
                Some(usual) => (usual, EITHER),
                None => return,
            },
            None => return,
        };
        if worth.0 < least {
            return;
        }
        if usual.spelling == spelled {
            // The other variant is what the place shows nothing of; what stands here is kept.
            let window = if spot.gap.is_empty() { spot.word.clone() } else { spot.gap.clone() };
            let other = page.other_than(spot.place, spelled).and_then(|other| self.templates.text(other));
            let Some((odd, _)) = differences(text, spot, other).into_iter().map(|odd| (odd, ())).next() else { return };
            let kept = text.get(window.clone()).map(str::to_owned);
            found.push((Odd { kind: odd.kind, window, restored: kept }, worth));
            return;
        }
        let odd = differences(text, spot, self.templates.text(usual.spelling)).into_iter();
        // Where people may have put in words, they may have changed their minds about one.
        let odd = odd.filter(|odd| spot.own || odd.kind != "cov.word");
        found.extend(odd.map(|odd| (odd, worth)));
    }

    /// A gap beside something that varies.
    fn sided(
        &self,
        text: &str,
        spot: &Spot,
        side: &Side,
        (spelled, known, index): (u32, &[bool], usize),
        found: &mut Vec<(Odd, Worth)>,
    ) {
        let Some(page) = self.page else { return };
        let Some(usual) = page.unlike(side.place, spelled, self.templates.own()) else { return };
        if usual.agree < 3 || usual.others > 0 {
            return;
        }
        let anchored = match side.toward {
            Toward::Before => is_anchored(known[..index].iter().rev()),
            Toward::After => is_anchored(known[index + 1..].iter().skip(usize::from(spot.date))),
            Toward::Label => true,
        };
        let confidence = match (anchored, side.lined && spot.own) {
            (true, _) => 0.75,
            (false, true) => 0.6,
            (false, false) => return,
        };
        let usual_text = self.templates.text(usual.spelling);
        let spaces = |text: &str| text.bytes().all(|byte| byte == b' ');
        if spaces(&text[side.part.clone()]) && usual_text.is_some_and(|usual| usual.len() > 1 && spaces(usual)) {
            // How wide a column is depends on what stands in it.
            return;
        }
        let end = side.part.end;
        let part = Spot { gap: side.part.clone(), word: end..end, sides: [None, None, None], ..spot.clone() };
        let odd = differences(text, &part, usual_text).into_iter().map(|mut odd| {
            if side.toward == Toward::Label && odd.kind == "cov.space" {
                odd.kind = "cov.trailing_ws";
            }
            odd
        });
        let odd = odd.filter(|odd| !odd.window.is_empty());
        found.extend(odd.map(|odd| (odd, (confidence, Severity::Medium))));
    }

    /// A word where others have another one; whether one was found.
    fn chosen(
        &self,
        spot: &Spot,
        (place, code): (u64, u32),
        known: &[bool],
        index: usize,
        found: &mut Vec<(Odd, Worth)>,
    ) -> bool {
        let Some(page) = self.page else { return false };
        let Some(usual) = page.unlike(place, code, self.templates.own()) else { return false };
        if usual.others > 0 || usual.agree < WORDS {
            return false;
        }
        // A word is part of the four places around it, so those are not known.
        let before = is_anchored(known[..index.saturating_sub(1)].iter().rev());
        if !before || !is_anchored(known.get(index + 3..).unwrap_or_default().iter()) {
            return false;
        }
        found.push((Odd { kind: "cov.word", window: spot.word.clone(), restored: None }, CHOSEN));
        true
    }

    /// Which sentences follow which, and the words of each in their order.
    fn segments(&mut self, around: u64, segments: &[Segment], found: &mut Vec<(Odd, Worth)>) {
        let mut times: HashMap<u32, usize> = HashMap::with_capacity(segments.len());
        for segment in segments {
            *times.entry(segment.code).or_default() += 1;
        }
        let code = |index: usize| segments.get(index).map_or(EDGE, |segment| segment.code);
        let here: HashSet<u32> = times.keys().copied().collect();
        let mut pairs: HashMap<(u32, u32), usize> = HashMap::new();
        for pair in segments.windows(2) {
            *pairs.entry((pair[0].code, pair[1].code)).or_default() += 1;
        }
        let follows = |code: u64| mix(mix(around, NEXT), code);
        let skips = |code: u64| mix(mix(around, SKIP), code);
        let (mut told, mut moved) = (0, false);
        // Each pair of neighbours, from before the first to after the last.
        for index in 0..=segments.len() {
            let one = if index == 0 { EDGE } else { code(index - 1) };
            if segments.is_empty() {
                continue;
            }
            // What is said twice is told by what stands before it.
            let before = if index < 2 { EDGE } else { code(index - 2) };
            let one = match () {
                _ if index == 0 || times.get(&one) == Some(&1) => u64::from(one),
                _ if index < 2 || pairs.get(&(before, one)) == Some(&1) => mix(u64::from(before), u64::from(one)),
                _ => continue,
            };
            let next = self.lesson.note_code(follows(one), code(index));
            let second = self.lesson.note_code(skips(one), if next == EDGE { EDGE } else { code(index + 1) });
            let Some(page) = self.page else { continue };
            if told < FEW
                && page.only(follows(one), 1).is_none()
                && let Some(window) = self.beside_slot(page, segments, index, (skips(one), second))
            {
                told += 1;
                found.push((Odd { kind: "cov.presence", window, restored: None }, CHOSEN));
                continue;
            }
            let (usual, sure) = match page.unlike(follows(one), next, self.templates.own()) {
                Some(usual) if usual.others == 0 => (usual, true),
                Some(_) => continue,
                None => match page.variants(follows(one), next) {
                    Some(usual) => (usual, false),
                    None => continue,
                },
            };
            let expected = match usual.spelling {
                same if same == next => page.other_than(follows(one), same).unwrap_or(same),
                other => other,
            };
            let least = |count: u32| !sure || usual.agree >= count;
            let seen = segments.get(index).or(segments.last());
            let Some(segment) = seen.filter(|_| told < FEW) else { continue };
            let own = self.templates.own();
            // Whether others let something else follow.
            let leads_on = |code: u32| {
                page.disagree(follows(u64::from(code)), expected, own).is_some()
                    && page.only(follows(u64::from(code)), 1) != Some(expected)
            };
            let extra = next != EDGE && code(index + 1) == expected;
            let order = text::is_prose(expected) && text::is_prose(next) && least(ORDERED);
            let kind = if here.contains(&next) && extra && leads_on(next) || here.contains(&expected) && !extra {
                (order && !std::mem::replace(&mut moved, true)).then_some("cov.list_order")
            } else if extra {
                (least(PRESENT) && text::is_prose(next)).then_some("cov.presence")
            } else if expected != EDGE
                && (page.only(follows(u64::from(expected)), 2) == Some(next)
                    || second != EDGE
                        && page.only(skips(u64::from(expected)), 2) == Some(second)
                        && !here.contains(&expected))
            {
                (least(PRESENT) && text::is_prose(expected)).then_some("cov.presence")
            } else {
                None
            };
            if let Some(kind) = kind {
                told += 1;
                let worth = if sure && kind == "cov.list_order" { (0.7, Severity::Low) } else { CHOSEN };
                found.push((Odd { kind, window: segment.range.clone(), restored: None }, worth));
            }
        }
        for segment in segments.iter().filter(|segment| segment.is_prose()) {
            let place = mix(mix(mix(around, BAG), segment.bag), u64::from(segment.words));
            let code = self.lesson.note_code(place, segment.code);
            let Some(page) = self.page.filter(|_| told < FEW) else { continue };
            let worth = match page.unlike(place, code, self.templates.own()) {
                Some(usual) if usual.others == 0 && usual.agree >= ORDERED => (0.7, Severity::Low),
                Some(_) => continue,
                None if page.variants(place, code).is_some() => CHOSEN,
                None => continue,
            };
            told += 1;
            found.push((Odd { kind: "cov.list_order", window: segment.range.clone(), restored: None }, worth));
        }
    }
}

impl Scan<'_> {
    /// One sentence more beside one that varies: the next but one, which always follows, comes one later.
    fn beside_slot(
        &self,
        page: &Page,
        segments: &[Segment],
        index: usize,
        (place, second): (u64, u32),
    ) -> Option<Range<usize>> {
        let usual = page.unlike(place, second, self.templates.own())?;
        let [one, two, next] = segments.get(index..index + 3)? else { return None };
        let extra = next.code == usual.spelling && (one.is_prose() || two.is_prose());
        (extra && usual.others == 0 && usual.agree >= PRESENT).then_some(one.range.start..two.range.end)
    }
}

/// Whether the place at `index` stands in a text that others have too, and not in words that came together twice.
fn in_known_text(known: &[bool], index: usize) -> bool {
    let before = known[..index].iter().rev().take(AROUND).take_while(|known| **known).count();
    let after = known[index + 1..].iter().take(AROUND).take_while(|known| **known).count();
    before + after >= AROUND.min(known.len() - 1)
}

/// Whether the words that lead away from a place are those of a known text. The nearest place may not be known: what
/// varies is part of it.
fn is_anchored<'k>(mut known: impl Iterator<Item = &'k bool>) -> bool {
    let first = known.next();
    let mut run = usize::from(first == Some(&true));
    for known in known {
        match known {
            true => run += 1,
            false => break,
        }
        if run >= ASIDE {
            break;
        }
    }
    run >= ASIDE
}

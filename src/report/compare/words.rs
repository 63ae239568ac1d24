//! Two texts word by word, and the code points of what looks alike.

use serde::Serialize;
use unicode_security::skeleton;

use crate::report::place::is_id;

/// Tables beyond this size are not filled: long texts are aligned as long as few of their words differ, and what lies between
/// the common ends is one piece where many do.
const MOST_CELLS: usize = 4_000_000;
const MOST_EDITS: usize = 1500;

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    Same,
    Gone,
    New,
}

/// A run of words that share their fate.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Piece {
    pub op: Op,
    pub text: String,
    /// It varies by itself.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub noise: bool,
    /// Its words, by number, in the text that it is of.
    #[serde(skip)]
    pub tokens: std::ops::Range<usize>,
}

/// Code points of two spellings that look alike.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct CodePoints {
    pub a: Vec<String>,
    pub b: Vec<String>,
}

/// Words, runs of white space, and all else character by character.
pub(crate) fn tokens(text: &str) -> Vec<&str> {
    #[derive(Eq, PartialEq)]
    enum Sort {
        Word,
        Space,
        Other,
    }
    let sort = |c: char| match c {
        c if c.is_alphanumeric() || c == '_' => Sort::Word,
        c if c.is_ascii_whitespace() => Sort::Space,
        _ => Sort::Other,
    };
    let mut tokens = Vec::new();
    let mut start = 0;
    let mut before: Option<Sort> = None;
    for (at, c) in text.char_indices() {
        let now = sort(c);
        if before.as_ref().is_some_and(|before| *before != now || now == Sort::Other) {
            tokens.push(&text[start..at]);
            start = at;
        }
        before = Some(now);
    }
    if start < text.len() {
        tokens.push(&text[start..]);
    }
    tokens
}

/// How `a` becomes `b`.
pub fn compare(a: &str, b: &str) -> Vec<Piece> {
    let (left, right) = (tokens(a), tokens(b));
    // Two ids that share a digit or two have nothing in common.
    let pairs = if a != b && is_id(a) && is_id(b) { Vec::new() } else { common(&left, &right, |a, b| a == b) };
    let mut pieces = Vec::new();
    let (mut i, mut j) = (0, 0);
    for (x, y) in pairs.into_iter().chain([(left.len(), right.len())]) {
        push(&mut pieces, Op::Gone, &left, i..x);
        push(&mut pieces, Op::New, &right, j..y);
        if x < left.len() {
            push(&mut pieces, Op::Same, &left, x..x + 1);
        }
        (i, j) = (x + 1, y + 1);
    }
    pieces
}

fn push(pieces: &mut Vec<Piece>, op: Op, tokens: &[&str], range: std::ops::Range<usize>) {
    if range.is_empty() {
        return;
    }
    let text = tokens[range.clone()].concat();
    match pieces.last_mut() {
        Some(last) if last.op == op => {
            last.text.push_str(&text);
            last.tokens.end = range.end;
        }
        _ => pieces.push(Piece { op, text, noise: false, tokens: range }),
    }
}

/// Pairs of positions at which `a` and `b` agree: a longest common subsequence within bounds.
pub(crate) fn common<T>(a: &[T], b: &[T], same: impl Fn(&T, &T) -> bool) -> Vec<(usize, usize)> {
    let prefix = a.iter().zip(b).take_while(|(a, b)| same(a, b)).count();
    let (rest_a, rest_b) = (&a[prefix..], &b[prefix..]);
    let suffix = rest_a.iter().rev().zip(rest_b.iter().rev()).take_while(|(a, b)| same(a, b)).count();
    let (middle_a, middle_b) = (&rest_a[..rest_a.len() - suffix], &rest_b[..rest_b.len() - suffix]);
    let mut pairs: Vec<(usize, usize)> = (0..prefix).map(|at| (at, at)).collect();
    let inner = match middle_a.len().saturating_mul(middle_b.len()) <= MOST_CELLS {
        true => longest(middle_a.len(), middle_b.len(), |i, j| u32::from(same(&middle_a[i], &middle_b[j]))),
        false => few_edits(middle_a, middle_b, &same),
    };
    pairs.extend(inner.into_iter().map(|(i, j)| (i + prefix, j + prefix)));
    pairs.extend((0..suffix).map(|at| (a.len() - suffix + at, b.len() - suffix + at)));
    pairs
}

/// As the greedy algorithm of Myers (1986) finds them, in time and memory that grow with the edits; none where those are too many.
fn few_edits<T>(a: &[T], b: &[T], same: impl Fn(&T, &T) -> bool) -> Vec<(usize, usize)> {
    // By diagonal, from `-edits - 1` on: the furthest position in `a`, before each number of edits.
    let mut trace: Vec<Vec<usize>> = Vec::new();
    let mut furthest = vec![0, 0, 0];
    let step = |furthest: &[usize], edits: usize, at: usize| {
        let down = at == 1 || (at != 2 * edits + 1 && furthest[at - 1] < furthest[at + 1]);
        if down { (at + 1, furthest[at + 1]) } else { (at - 1, furthest[at - 1] + 1) }
    };
    for edits in 0..=MOST_EDITS.min(a.len() + b.len()) {
        trace.push(furthest.clone());
        let mut next = vec![0; 2 * edits + 5];
        for at in (1..=2 * edits + 1).step_by(2) {
            let mut x = if edits == 0 { 0 } else { step(&furthest, edits, at).1 };
            // The diagonal is `at - edits - 1`; beyond the edges of the table there is nothing.
            let Some(mut y) = (x + edits + 1).checked_sub(at) else { continue };
            while x < a.len() && y < b.len() && same(&a[x], &b[y]) {
                (x, y) = (x + 1, y + 1);
            }
            next[at + 1] = x;
            if x >= a.len() && y >= b.len() {
                return followed_back(&trace, (a.len(), b.len()), step);
            }
        }
        furthest = next;
    }
    Vec::new()
}

fn followed_back(
    trace: &[Vec<usize>],
    (mut x, mut y): (usize, usize),
    step: impl Fn(&[usize], usize, usize) -> (usize, usize),
) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    for (edits, furthest) in trace.iter().enumerate().rev() {
        let (from_x, from_y) = match edits {
            0 => (0, 0),
            _ => {
                let (from, _) = step(furthest, edits, x + edits + 1 - y);
                (furthest[from], furthest[from] + edits + 1 - from)
            }
        };
        while x > from_x && y > from_y {
            (x, y) = (x - 1, y - 1);
            pairs.push((x, y));
        }
        (x, y) = (from_x, from_y);
    }
    pairs.reverse();
    pairs
}

/// The pairs, in order, whose weights add up to the most; pairs without weight are none.
pub(super) fn longest(rows: usize, columns: usize, weight: impl Fn(usize, usize) -> u32) -> Vec<(usize, usize)> {
    let width = columns + 1;
    let mut best = vec![0_u32; (rows + 1) * width];
    for i in (0..rows).rev() {
        for j in (0..columns).rev() {
            let with = match weight(i, j) {
                0 => 0,
                weight => weight + best[(i + 1) * width + j + 1],
            };
            best[i * width + j] = with.max(best[(i + 1) * width + j]).max(best[i * width + j + 1]);
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut pairs = Vec::new();
    while i < rows && j < columns {
        let here = best[i * width + j];
        let weight = weight(i, j);
        if weight > 0 && here == weight + best[(i + 1) * width + j + 1] {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if here == best[(i + 1) * width + j] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

/// Spells out what differs without being seen: quotes, look-alike letters, spaces, invisible characters.
pub fn code_points(pieces: &[Piece]) -> Vec<CodePoints> {
    let mut spelled: Vec<CodePoints> = Vec::new();
    let mut at = 0;
    while at < pieces.len() {
        let (gone, new, used) = match (&pieces[at], pieces.get(at + 1)) {
            (Piece { op: Op::Gone, text, .. }, Some(Piece { op: Op::New, text: new, .. })) => {
                (text.as_str(), new.as_str(), 2)
            }
            (Piece { op: Op::Gone, text, .. }, _) => (text.as_str(), "", 1),
            (Piece { op: Op::New, text, .. }, _) => ("", text.as_str(), 1),
            _ => ("", "", 1),
        };
        at += used;
        if gone == new || !alike(gone, new) {
            continue;
        }
        let (gone, new) = differing(gone, new);
        let entry = CodePoints { a: named(&gone), b: named(&new) };
        if !spelled.contains(&entry) {
            spelled.push(entry);
        }
    }
    spelled
}

fn alike(a: &str, b: &str) -> bool {
    let plain = |text: &str| -> String {
        let seen: String = text.chars().filter(|&c| !is_invisible(c)).collect();
        skeleton(&seen).map(|c| if c.is_whitespace() { ' ' } else { c }).collect::<String>()
    };
    let (a, b) = (plain(a), plain(b));
    a.trim() == b.trim()
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
        || (c.is_control() && !c.is_whitespace())
}

/// What is left of both without their common beginning and end.
fn differing(a: &str, b: &str) -> (Vec<char>, Vec<char>) {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let start = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let most = a.len().min(b.len()) - start;
    let end = a.iter().rev().zip(b.iter().rev()).take(most).take_while(|(a, b)| a == b).count();
    (a[start..a.len() - end].to_vec(), b[start..b.len() - end].to_vec())
}

fn named(chars: &[char]) -> Vec<String> {
    const MOST: usize = 64;
    chars.iter().take(MOST).map(|&c| format!("U+{:04X}", u32::from(c))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(a: &str, b: &str) -> String {
        let piece = |piece: Piece| match piece.op {
            Op::Same => piece.text,
            Op::Gone => format!("[-{}-]", piece.text),
            Op::New => format!("{{+{}+}}", piece.text),
        };
        compare(a, b).into_iter().map(piece).collect()
    }

    #[test]
    fn texts_are_compared_word_by_word() {
        for (a, b, expected) in [
            ("the same", "the same", "the same"),
            ("one two three", "one four three", "one [-two-]{+four+} three"),
            ("a b", "a b c", "a b{+ c+}"),
            ("", "new", "{+new+}"),
            (
                "1b4e28ba-2fa1-41d2-883f-0016d3cca427",
                "1b4e28ba-aaaa-41d2-bbbb-0016d3cca428",
                "[-1b4e28ba-2fa1-41d2-883f-0016d3cca427-]{+1b4e28ba-aaaa-41d2-bbbb-0016d3cca428+}",
            ),
            ("user's zone", "user\u{2019}s zone", "user[-'-]{+\u{2019}+}s zone"),
        ] {
            assert_eq!(shown(a, b), expected);
        }
    }

    #[test]
    fn what_looks_alike_is_spelled_out_and_what_does_not_is_not() {
        for (a, b, expected) in [
            ("user's", "user\u{2019}s", Some((vec!["U+0027"], vec!["U+2019"]))),
            ("admin", "\u{430}dmin", Some((vec!["U+0061"], vec!["U+0430"]))),
            ("a b", "a\u{a0}b", Some((vec!["U+0020"], vec!["U+00A0"]))),
            ("ab", "a\u{200b}b", Some((vec![], vec!["U+200B"]))),
            ("caf\u{e9}", "cafe\u{301}", Some((vec!["U+00E9"], vec!["U+0065", "U+0301"]))),
            ("one", "two", None),
        ] {
            let found = code_points(&compare(a, b));
            let expected: Vec<CodePoints> = expected
                .into_iter()
                .map(|(a, b)| CodePoints {
                    a: a.into_iter().map(str::to_owned).collect(),
                    b: b.into_iter().map(str::to_owned).collect(),
                })
                .collect();
            assert_eq!(found, expected, "{a} and {b}");
        }
    }

    #[test]
    fn long_texts_are_aligned_where_little_differs() {
        let words: Vec<String> = (0..20_000).map(|n| format!("w{}", n * 7919 % 977)).collect();
        let mut other = words.clone();
        other[10] = "changed".into();
        other.insert(9_000, "inserted".into());
        other.remove(15_000);
        let (a, b) = (words.join(" "), other.join(" "));
        let pieces = compare(&a, &b);
        let told: Vec<&str> =
            pieces.iter().filter(|piece| piece.op == Op::New).map(|piece| piece.text.trim()).collect();
        assert_eq!(told, ["changed", "inserted"]);
        assert_eq!(joined(&pieces, Op::Gone), a);
    }

    fn joined(pieces: &[Piece], with: Op) -> String {
        let of = |piece: &&Piece| piece.op == Op::Same || piece.op == with;
        pieces.iter().filter(of).map(|piece| piece.text.as_str()).collect()
    }

    proptest::proptest! {
        #[test]
        fn the_pieces_make_up_both_texts(a in "[ab \u{2019}'.]{0,40}", b in "[ab \u{2019}'.]{0,40}") {
            let pieces = compare(&a, &b);
            proptest::prop_assert_eq!(joined(&pieces, Op::Gone), a);
            proptest::prop_assert_eq!(joined(&pieces, Op::New), b);
        }

        #[test]
        fn both_ways_of_aligning_find_as_much(a in proptest::collection::vec(0..4, 0..40), b in proptest::collection::vec(0..4, 0..40)) {
            let few = few_edits(&a, &b, |x, y| x == y);
            let table = longest(a.len(), b.len(), |i, j| u32::from(a[i] == b[j]));
            proptest::prop_assert!(few.iter().all(|&(i, j)| a[i] == b[j]));
            proptest::prop_assert!(few.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1));
            proptest::prop_assert_eq!(few.len(), table.len());
        }
    }

    #[test]
    fn texts_too_long_for_a_table_are_one_piece_between_their_common_ends() {
        let long = |word: &str| format!("start {} end", format!("{word} ").repeat(3000));
        let pieces = compare(&long("a"), &long("b"));
        assert_eq!(pieces.iter().map(|piece| piece.op).collect::<Vec<_>>(), [Op::Same, Op::Gone, Op::New, Op::Same]);
    }
}

//! Tells another machine's description from this one's, where this one's facts are known.
//!
//! A report that somebody pasted, a fixture of a test, another customer's ticket: lines about a machine, and none of
//! them is about this one. What stands in a block that names a stranger, and nobody known, is not reported.

use std::collections::HashMap;
use std::ops::Range;

use super::RawFinding;
use super::facts::Matcher;
use super::hash::Keyed;
use super::inspector::Found;
use crate::engine::finding::Detector;
use crate::engine::rules::validate::home_of;
use crate::engine::visit::LayerId;

/// How far apart the lines of one description stand, in bytes.
const BLOCK: usize = 900;

/// A text in which another machine is described, and where in it.
pub(super) type Strange = (LayerId, u32, Range<usize>);

/// Says of each finding whether it is about a stranger, and where strangers are named.
pub(super) fn are_strangers<'f>(found: &'f [Found], facts: &Matcher) -> (Vec<bool>, Vec<Strange>) {
    let findings: Vec<&'f RawFinding> = found.iter().map(|found| &found.finding).collect();
    // A conversation names the same few folders again and again.
    let mut known: HashMap<(&str, &str), Option<Says>, Keyed> = HashMap::default();
    let mut says = |finding: &&'f RawFinding| {
        *known.entry((&finding.kind, &finding.value)).or_insert_with(|| says(finding, facts))
    };
    let says: Vec<Option<Says>> = findings.iter().map(&mut says).collect();
    let start = |finding: &RawFinding| finding.window.as_ref().map_or(0, |window| window.start);
    let value = |index: usize| {
        let target = findings[index].target;
        (target.layer.0, target.raw.start, target.raw.end)
    };
    // They come in this order, all but a few.
    let mut sorted: Vec<usize> = (0..findings.len()).collect();
    sorted.sort_by_key(|&index| (value(index), start(findings[index])));
    let mut strangers = vec![false; findings.len()];
    let mut places = Vec::new();
    for members in sorted.chunk_by(|&a, &b| value(a) == value(b)) {
        let mut at = 0;
        while at < members.len() {
            let mut end = at + 1;
            while end < members.len() && start(findings[members[end]]) - start(findings[members[end - 1]]) <= BLOCK {
                end += 1;
            }
            let block = &members[at..end];
            let any = |wanted: Says| block.iter().any(|&index| says[index] == Some(wanted));
            // A zone is many people's: in words of anybody it does not make the lines around it this machine's.
            let announced = || !block.iter().any(|&index| found[index].unsigned);
            let ours = any(Says::Known) || any(Says::Neighbour) && announced();
            if !ours {
                let stranger = any(Says::Stranger);
                if stranger && let [first, .., last] = block {
                    let (first, last) = (findings[*first], findings[*last]);
                    places.push((first.target.layer, first.target.raw.start, start(first)..start(last)));
                }
                for &index in block {
                    let doubtful = stranger || found[index].unsigned;
                    // A credential says whose it is by itself.
                    let about =
                        findings[index].detector == Detector::Prompt && !findings[index].kind.starts_with("secret.");
                    strangers[index] = doubtful && about;
                }
            }
            at = end;
        }
    }
    (strangers, places)
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Says {
    /// This machine or its user.
    Known,
    /// Whoever lives where this machine stands.
    Neighbour,
    Stranger,
}

/// Whom a value names: only what names a person or machine says anything.
fn says(finding: &RawFinding, facts: &Matcher) -> Option<Says> {
    if facts.is_telling(&finding.value) {
        return Some(Says::Known);
    }
    if facts.is_neighbour(&finding.value) {
        return Some(Says::Neighbour);
    }
    let family = finding.kind.split('.').next()?;
    let value = match &*finding.kind {
        "user.uid" | "git.branch" | "git.commit" | "host.model" => return None,
        "net.mac" | "net.ip.local" | "net.ip.public" | "net.ip6" => &*finding.value,
        _ if matches!(family, "user" | "git" | "host") => &finding.value,
        _ if family == "path" => home_of(&finding.value)?,
        _ => return None,
    };
    let kinds: &[&str] = match family {
        "user" | "git" => &["user.", "git."],
        "host" => &["host.", "net.hostname_dns"],
        "path" => &["path.home", "path.cwd", "path.project"],
        _ => &["net."],
    };
    facts.says_of(kinds, value).map(|known| if known { Says::Known } else { Says::Stranger })
}

//! Where a finding belongs that was made inside an encoding.
//!
//! An encoding of the bare value is no step of its location: the place is the leaf, and the finding shows the form.
//! Percent-encoding and character references leave most of a text as it is, so a value may be read twice, as spelled
//! and behind the encoding; and the encoding may have been meant for nothing but the value.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::RawFinding;
use super::hash::Keyed;
use crate::engine::decode::{Codec, Layer, Origin};
use crate::engine::location::Step;
use crate::engine::rewrite::{Spans, spelled_text};
use crate::engine::visit::{LayerId, Spelling, Target};

/// Leaves each finding at one place, the right one.
pub(in crate::engine) fn settle(found: &mut Vec<RawFinding>, layers: &[Layer]) {
    let coded = |layer: LayerId| match layers.get(layer.0 as usize).map(|layer| &layer.origin) {
        Some(Origin::Leaf { leaf, codec: Codec::Percent | Codec::Html, .. }) => Some(*leaf),
        _ => None,
    };
    let mut behind: HashSet<(&str, String, LayerId, u32), Keyed> = HashSet::default();
    for raw in found.iter() {
        let mut layer = raw.target.layer;
        while let Some(leaf) = coded(layer) {
            behind.insert((&raw.kind, raw.value.to_lowercase(), leaf.layer, leaf.raw.start));
            layer = leaf.layer;
        }
    }
    if !behind.is_empty() {
        let twice: Vec<bool> = found
            .iter()
            .map(|raw| {
                let target = raw.target;
                behind.contains(&(&*raw.kind, raw.value.to_lowercase(), target.layer, target.raw.start))
            })
            .collect();
        let mut twice = twice.into_iter();
        found.retain(|_| !twice.next().unwrap_or_default());
    }
    once_in_each_reading(found, layers);
    let mut spans = Spans::new(layers);
    for raw in found {
        move_outward(raw, layers, &mut spans);
    }
}

/// Bytes of protobuf that are a text and a message as well are handed out as both: what is found in the message's own field, or
/// in what that field holds, is not found in the text around it again.
fn once_in_each_reading(found: &mut Vec<RawFinding>, layers: &[Layer]) {
    let mut inner: HashMap<(&str, &str, LayerId), Vec<Span>, Keyed> = HashMap::default();
    for raw in found.iter() {
        for target in outwards(raw.target, layers) {
            let span = (target.raw.start, target.raw.end);
            inner.entry((&raw.kind, &raw.value, target.layer)).or_default().push(span);
        }
    }
    if inner.values().all(|spans| spans.len() < 2) {
        return;
    }
    let around: Vec<bool> = found
        .iter()
        .map(|raw| {
            outwards(raw.target, layers).any(|target| {
                let Some(spans) = inner.get(&(&*raw.kind, &*raw.value, target.layer)) else { return false };
                let (start, end) = (target.raw.start, target.raw.end);
                // Where in it the value stands is known of what is spelled there, not of what is behind an encoding.
                let at = raw.window.as_ref().filter(|_| target == raw.target).map(|window| start + window.start as u32);
                let holds = |&(from, to): &Span| {
                    start <= from && to <= end && to - from < end - start && at.is_none_or(|at| from <= at && at < to)
                };
                spans.iter().take(MOST_READINGS).any(holds)
            })
        })
        .collect();
    let mut around = around.into_iter();
    found.retain(|_| !around.next().unwrap_or_default());
}

/// The value at `target` and those in whose encodings it stands, as far as they are spelled as they are.
fn outwards(target: Target, layers: &[Layer]) -> impl Iterator<Item = Target> + '_ {
    let around = |target: &Target| match layers.get(target.layer.0 as usize).map(|layer| &layer.origin) {
        Some(Origin::Leaf { leaf, .. }) => Some(*leaf),
        _ => None,
    };
    std::iter::successors(Some(target), around).filter(|target| target.spelling == Spelling::Raw)
}

/// The first byte of a value and the one behind its last.
type Span = (u32, u32);

/// Places of one value in one layer that are compared with each other.
const MOST_READINGS: usize = 64;

/// The text that `levels` encodings around `layer` are spelled in.
fn spelled(layers: &[Layer], mut layer: LayerId, levels: usize) -> Option<Spelled> {
    let mut form = None;
    for _ in 0..levels {
        let Origin::Leaf { leaf, window, .. } = &layers.get(layer.0 as usize)?.origin else { return form };
        let outer = layers.get(leaf.layer.0 as usize)?.content.get(leaf.raw.range())?;
        let text = spelled_text(leaf.spelling, outer);
        let text = String::from_utf8_lossy(text.get(window.range())?).into_owned();
        form = Some(Spelled { text, leaf: *leaf, window: window.range() });
        layer = leaf.layer;
    }
    form
}

struct Spelled {
    text: String,
    leaf: Target,
    window: Range<usize>,
}

/// Takes the encodings of the bare value off the location.
fn move_outward(raw: &mut RawFinding, layers: &[Layer], spans: &mut Spans<'_>) {
    let whole = |target: &Target| {
        layers.get(target.layer.0 as usize).is_some_and(|layer| layer.content.len() == target.raw.len())
    };
    let (mut layer, mut window) = match &raw.window {
        Some(window) if whole(&raw.target) => (raw.target.layer, window.clone()),
        Some(_) => return,
        None => {
            let before = raw.location.steps.len();
            raw.location.leave_encodings();
            let Some(form) = spelled(layers, raw.target.layer, before - raw.location.steps.len()) else { return };
            raw.observed = Some(form.text);
            // The encoding was a token of a text, which may be an encoding's content itself.
            if !whole(&form.leaf) {
                return;
            }
            (form.leaf.layer, form.window)
        }
    };
    while let Some(outer) = spans.outward(layer, window.clone()) {
        let spelled = outer.text.get(outer.range.clone()).unwrap_or_default();
        let decoded = layers.get(layer.0 as usize).and_then(|layer| layer.content.get(window.clone()));
        // What stands in the text as it is needs no decoding to be read, where the text was not encoded as a whole.
        let plain = decoded == Some(spelled);
        let steps = &mut raw.location.steps;
        let end = steps.len() - usize::from(matches!(steps.last(), Some(Step::Window(..))));
        if outer.more && !(plain && outer.piecemeal) || !matches!(steps[..end].last(), Some(Step::Url | Step::Html)) {
            return;
        }
        steps.truncate(end - 1);
        if !plain {
            raw.observed = Some(String::from_utf8_lossy(spelled).into_owned());
        }
        if outer.range.len() == outer.text.len() {
            raw.location.leave_encodings();
            return;
        }
        raw.location.steps.push(Step::Window(outer.range.start as u32, outer.range.end as u32));
        (layer, window) = (outer.leaf.layer, outer.range);
        // Only a layer that is one text can be an encoding's content.
        if outer.leaf.raw.len() != layers.get(layer.0 as usize).map_or(0, |layer| layer.content.len()) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use crate::engine::{DecodeLimits, Engine, EngineParts, Fact, Facts, OnError, Part, Policy, Request, RuleSet};
    use crate::wire::head::RequestHead;

    /// Where the facts of a machine are found in a text, each with what was observed there.
    fn places(text: &str) -> Vec<(String, String, Option<String>)> {
        let facts = [("host.fqdn", "kestrel-7.corp.example"), ("git.email", "ann@corp.example")];
        let engine = Engine::new(EngineParts {
            rules: RuleSet::builtin(),
            facts: Facts::new(facts.iter().map(|(kind, value)| Fact::new(kind, value)).collect()),
            policy: Policy::preset("audit").unwrap(),
            digest_key: [7; 32],
            limits: DecodeLimits::default(),
            on_error: OnError::Open,
        });
        let fields = [(&b"host"[..], &b"api.example.com"[..]), (b"content-type", b"application/json")];
        let head = RequestHead::from_parts("POST", "/v1", fields);
        let request = Request { host: "api.example.com".into(), port: 443, secure: true, head };
        let body = serde_json::json!({ "x": text }).to_string();
        let audit = Arc::new(engine).open("1".into(), Arc::new(request)).audit(Part::Document(Bytes::from(body)));
        let found = audit.findings.iter().filter(|finding| ["host.fqdn", "git.email"].contains(&&*finding.kind));
        found
            .map(|finding| {
                (finding.kind.to_string(), finding.location.to_string(), finding.observed.as_deref().map(str::to_owned))
            })
            .collect()
    }

    #[test]
    fn what_is_spelled_plainly_is_placed_there_whatever_else_is_encoded() {
        let place = |kind: &str, place: &str, observed: Option<&str>| {
            (kind.to_owned(), place.to_owned(), observed.map(str::to_owned))
        };
        assert_eq!(
            places("at: kestrel-7.corp.example\nby: &#97;nn@corp.example\nnote: a &amp; b"),
            [place("host.fqdn", "body!json:/x@4-26", None), place("git.email", "body!json:/x!html@31-47", None),]
        );
        assert_eq!(
            places("at: kestrel-7.corp.example\nby: &#97;nn@corp.example"),
            [
                place("host.fqdn", "body!json:/x@4-26", None),
                place("git.email", "body!json:/x@31-51", Some("&#97;nn@corp.example")),
            ]
        );
    }
}

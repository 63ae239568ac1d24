//! Values under a telling name, or of a telling shape at a telling place.

use std::ops::Range;

use super::inspector::Inspector;
use super::prompt::value_of;
use super::region;
use crate::engine::location::Root;
use crate::engine::rules::rule::{JsonType, Matching, Part, Rule};
use crate::engine::visit::{Leaf, LeafKind, Place, Segment};

/// Longer values are texts, not identifiers.
pub(super) const LONGEST_VALUE: usize = 4096;
/// What is left of a name's word among people's, models' and files' words.
const SHARED: f32 = 0.5;

impl Inspector<'_> {
    /// Tries one rule that the leaf's name called for.
    pub(super) fn try_named(&mut self, number: u16, leaf: &Leaf<'_>, place: &dyn Place) {
        if !self.is_active(number) || leaf.text.len() > LONGEST_VALUE {
            return;
        }
        let Some(rule) = self.rules.rules().get(usize::from(number)) else { return };
        let select = &rule.select;
        if !select.header.is_empty() {
            if !matches!(leaf.kind, LeafKind::Header | LeafKind::Trailer | LeafKind::CookieValue) {
                return;
            }
            if !select.header.iter().any(|header| header == leaf.name) {
                return;
            }
        }
        if !select.path.is_empty() && !select.path.iter().any(|glob| glob.matches(place.pointer())) {
            return;
        }
        if !select.list && !self.in_pair && matches!(place.pointer().last(), Some(Segment::Index(_))) {
            return;
        }
        let Ok(text) = std::str::from_utf8(leaf.text) else { return };
        let Some(window) = rule.matching.window(leaf.kind, text) else { return };
        let location = place.location();
        if !in_parts(rule, leaf.kind, &location.root) {
            return;
        }
        let region = self.region(&location, place);
        let shared = region.is_shared() || region::is_filed(&location);
        if shared && !select.conversation {
            return;
        }
        let confidence = if shared && select.path.is_empty() { rule.confidence * SHARED } else { rule.confidence };
        self.add(number, leaf, location, window, confidence);
    }
}

impl Matching {
    /// The part of `text` that is the value; `None` where it is not what the rule looks for.
    pub(super) fn window(&self, kind: LeafKind, text: &str) -> Option<Range<usize>> {
        if !self.json_types.is_empty() && !self.json_types.contains(&JsonType::of(kind)) {
            return None;
        }
        let window = match &self.value {
            Some(pattern) => {
                let regex = pattern.regex()?;
                // A pattern without the group describes the whole value.
                match regex.captures_len() {
                    1 if regex.is_match(text) => 0..text.len(),
                    1 => return None,
                    _ => value_of(regex, &regex.captures(text)?)?,
                }
            }
            None => 0..text.len(),
        };
        self.takes(&text[window.clone()]).then_some(window)
    }

    /// Whether validators and exceptions let `value` pass.
    pub(super) fn takes(&self, value: &str) -> bool {
        (self.validators.is_empty() || self.validators.iter().any(|validator| validator.accepts(value)))
            && self.unless.as_ref().is_none_or(|unless| !unless.is_match(value))
            && !value.is_empty()
    }
}

/// Whether a leaf under `root` is in one of `parts`.
pub(super) fn in_parts(rule: &Rule, kind: LeafKind, root: &Root) -> bool {
    rule.select.parts.is_empty()
        || rule.select.parts.iter().any(|part| match part {
            Part::Head => kind == LeafKind::Method || matches!(root, Root::Head),
            Part::Path => matches!(root, Root::Path(_)),
            Part::Query => matches!(root, Root::Query),
            Part::Header => matches!(root, Root::Header { .. } | Root::Trailer(_)),
            Part::Body => matches!(root, Root::Body),
            Part::Ws => matches!(root, Root::Message(_)),
        })
}

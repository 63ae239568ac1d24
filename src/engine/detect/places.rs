//! Where a finding belongs that was made inside an encoding.
//!
//! An encoding of the bare value is no step of its location: the place is the leaf, and the finding shows the form.
//! Percent-encoding and character references leave most of a text as it is, so a value may be read twice, as spelled
//! and behind the encoding; and the encoding may have been meant for nothing but the value.

use std::collections::HashSet;

use super::RawFinding;
use crate::engine::decode::{Codec, Layer, Origin, html, percent};
use crate::engine::location::Step;
use crate::engine::rewrite::outward;
use crate::engine::visit::LayerId;

/// Leaves each finding at one place, the right one.
pub(in crate::engine) fn settle(found: &mut Vec<RawFinding>, layers: &[Layer]) {
    let coded = |layer: LayerId| match layers.get(layer.0 as usize).map(|layer| &layer.origin) {
        Some(Origin::Leaf { leaf, codec: Codec::Percent | Codec::Html, .. }) => Some(*leaf),
        _ => None,
    };
    let mut behind: HashSet<(&str, String, LayerId, u32)> = HashSet::new();
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
    for raw in found {
        move_outward(raw, layers);
    }
}

/// Takes the encodings of the bare value off the location.
fn move_outward(raw: &mut RawFinding, layers: &[Layer]) {
    if raw.window.is_none() {
        raw.location.leave_encodings();
        return;
    }
    let (mut layer, mut window) = (raw.target.layer, raw.window.clone().unwrap_or_default());
    if raw.target.raw.len() != layers.get(layer.0 as usize).map_or(0, |layer| layer.content.len()) {
        return;
    }
    while let Some(outer) = outward(layers, layer, window.clone()) {
        let sides = [&outer.text[..outer.range.start], &outer.text[outer.range.end..]];
        let more = match outer.codec {
            Codec::Percent => sides.into_iter().any(percent::holds_units),
            _ => sides.into_iter().any(html::holds_units),
        };
        let steps = &mut raw.location.steps;
        let end = steps.len() - usize::from(matches!(steps.last(), Some(Step::Window(..))));
        if more || !matches!(steps[..end].last(), Some(Step::Url | Step::Html)) {
            return;
        }
        steps.truncate(end - 1);
        raw.observed = Some(String::from_utf8_lossy(&outer.text[outer.range.clone()]).into_owned());
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

//! White space between the values of a document, which a client's library always writes alike.

use std::ops::Range;

use super::structure::STRUCTURE;
use super::text::mix;
use super::{Scan, raw};
use crate::engine::decode::Layer;
use crate::engine::location::Location;
use crate::engine::visit::{LayerId, Leaf, Place, Target};

/// Longer gaps hold values, or are drawn for the eye.
const WIDEST: u32 = 64;
/// Gaps of one unit.
const MOST_GAPS: usize = 8192;
const WHITE: u64 = 13;

/// What was seen of it in one unit.
#[derive(Default)]
pub(super) struct Space {
    /// Where the last value ended.
    last: Option<(LayerId, u32)>,
    gaps: Vec<Gap>,
    /// One of them was found to be odd.
    named: bool,
}

/// What stands between two values.
struct Gap {
    /// The later one.
    target: Target,
    gap: Range<u32>,
    pattern: u64,
    location: Option<Location>,
    /// It stands before the first value of an element.
    around: bool,
}

impl Space {
    /// Bytes were passed over.
    pub fn skip(&mut self) {
        self.last = None;
    }

    /// Where the last value of `layer` ended.
    pub fn last(&self, layer: LayerId) -> Option<u32> {
        self.last.filter(|(last, _)| *last == layer).map(|(_, end)| end)
    }

    pub fn ends_at(&mut self, last: Option<(LayerId, u32)>) {
        self.last = last;
    }

    /// What stands between the last value and the one at `target`, which is the last one from now on.
    fn gap(&mut self, target: Target) -> Option<Range<u32>> {
        let last = self.last.replace((target.layer, target.raw.end));
        let (_, start) = last.filter(|(layer, _)| *layer == target.layer)?;
        let gap = start..target.raw.start;
        (gap.start < gap.end && gap.end - gap.start <= WIDEST).then_some(gap)
    }
}

/// Remembers what stands between two values in a row; its bytes are at hand when the element or the walk is over.
pub(super) fn note(scan: &mut Scan<'_>, leaf: &Leaf<'_>, place: &dyn Place, here: u64) {
    let around = scan.starts_element(leaf.target, here, place);
    let Some(gap) = scan.structure.space.gap(leaf.target) else { return };
    if scan.structure.space.gaps.len() < MOST_GAPS {
        // Only what can be compared can be found, and needs to be named.
        let location = scan.page.map(|_| place.location());
        scan.structure.space.gaps.push(Gap { target: leaf.target, gap, pattern: here, location, around });
    }
}

/// Notes what stands before the value at `target`, with which an element begins that is known.
pub(super) fn before_element(
    scan: &mut Scan<'_>,
    within: &[u8],
    target: Target,
    pattern: u64,
    location: &dyn Fn() -> Location,
) {
    let Some(gap) = scan.structure.space.gap(target) else { return };
    let gap = Gap { target, gap, pattern, location: None, around: true };
    if let Some(spelled) = odd_space(scan, within, &gap) {
        name_space(scan, &spelled, location(), target);
    }
}

/// Notes what stands between values of `layer`, whose bytes are `within`.
pub(super) fn settle(scan: &mut Scan<'_>, layer: LayerId, within: &[u8]) {
    let mut others = Vec::new();
    for gap in std::mem::take(&mut scan.structure.space.gaps) {
        if gap.target.layer != layer {
            others.push(gap);
        } else if gap.around {
            scan.outside(|scan| note_gap(scan, within, gap));
        } else {
            note_gap(scan, within, gap);
        }
    }
    scan.structure.space.gaps = others;
}

/// The same of those of `layers` from number `from` on.
pub(super) fn settle_from(scan: &mut Scan<'_>, layers: &[Layer], from: usize) {
    let mut others = Vec::new();
    for gap in std::mem::take(&mut scan.structure.space.gaps) {
        let number = gap.target.layer.0 as usize;
        match layers.get(number) {
            Some(layer) if number >= from => note_gap(scan, &layer.content, gap),
            _ => others.push(gap),
        }
    }
    scan.structure.space.gaps = others;
}

fn note_gap(scan: &mut Scan<'_>, content: &[u8], gap: Gap) {
    if let (Some(spelled), Some(location)) = (odd_space(scan, content, &gap), gap.location) {
        name_space(scan, &spelled, location, gap.target);
    }
}

/// The first of a unit is named.
fn name_space(scan: &mut Scan<'_>, spelled: &str, location: Location, target: Target) {
    if !std::mem::replace(&mut scan.structure.space.named, true) {
        let value = format!("{spelled:?} between members");
        scan.push(raw("cov.json_ws", location, target, value, STRUCTURE));
    }
}

/// Notes the white space around each sign between values; the first that is unlike the others'.
fn odd_space(scan: &mut Scan<'_>, content: &[u8], gap: &Gap) -> Option<String> {
    let bytes = content.get(gap.gap.start as usize..gap.gap.end as usize)?;
    if !bytes.iter().all(|byte| b"\":,{}[] \t\r\n".contains(byte)) {
        return None;
    }
    let mut odd = None;
    let mut before = b'v';
    let mut at = 0;
    while at <= bytes.len() {
        let blank = bytes[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let after = bytes.get(at + blank).map_or(b'v', |&sign| if sign == b'"' { b'v' } else { sign });
        let white = &bytes[at..at + blank];
        // How deep a line stands follows from what it stands in.
        let spelled = match white.contains(&b'\n') {
            true if white.contains(&b'\r') => "\r\n",
            true => "\n",
            false => std::str::from_utf8(white).unwrap_or_default(),
        };
        if before != b'v' || after != b'v' {
            let place = scan.form(WHITE, mix(gap.pattern, u64::from(before) << 8 | u64::from(after)));
            if scan.differs(place, spelled) {
                odd.get_or_insert(spelled.to_owned());
            }
        }
        before = after;
        at += blank + 1;
    }
    odd
}

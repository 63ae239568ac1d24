//! Lengths written beside the bytes they count: Connect and gRPC envelopes, protobuf fields.

use std::collections::HashMap;
use std::ops::Range;

use super::splice::{Splice, apply};
use crate::engine::decode::protobuf::{fields, fixed_text};
use crate::engine::decode::{Format, Layer};
use crate::engine::decode::{event_stream, http, msgpack, sentry};

/// Adds the splices of all lengths that change with `splices`.
pub(super) fn follow(layer: &Layer, splices: &mut Vec<Splice>) -> Option<()> {
    let mut lengths = Vec::new();
    match layer.format {
        Format::Plain => {}
        Format::Frames => frames(&layer.content, splices, &mut lengths)?,
        Format::MsgPack => packed(&layer.content, splices, &mut lengths)?,
        Format::Http => request(&layer.content, splices, &mut lengths)?,
        Format::Items => items(&layer.content, splices, &mut lengths)?,
        Format::Events => events(&layer.content, splices, &mut lengths)?,
        Format::Protobuf => {
            let all: Vec<&Splice> = splices.iter().collect();
            message(&layer.content, 0..layer.content.len(), &all, &mut lengths, 0)?;
        }
    }
    splices.extend(lengths);
    Some(())
}

/// Envelopes: a byte of flags, four of length, the message.
fn frames(content: &[u8], splices: &[Splice], out: &mut Vec<Splice>) -> Option<()> {
    let mut at = 0;
    while let Some(prefix) = content.get(at..at + 5) {
        let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
        let body = at + 5..(at + 5).checked_add(length as usize)?.min(content.len());
        let growth: isize = inside(splices, &body).map(Splice::growth).sum();
        if growth != 0 {
            let length = u32::try_from(i64::from(length) + growth as i64).ok()?;
            out.push(Splice::length(at + 1..at + 5, length.to_be_bytes().into()));
        }
        at = body.end;
    }
    Some(())
}

/// Strings and bytes of MessagePack, each behind a length of its own.
fn packed(content: &[u8], splices: &[Splice], out: &mut Vec<Splice>) -> Option<()> {
    for item in msgpack::texts(content) {
        let growth: isize = inside(splices, &item.value).map(Splice::growth).sum();
        if growth != 0 {
            let head = msgpack::head_of(content.get(item.head.clone())?, item.value.len().checked_add_signed(growth)?)?;
            out.push(Splice::length(item.head, head));
        }
    }
    Some(())
}

/// A request inside a part.
fn request(content: &[u8], splices: &[Splice], out: &mut Vec<Splice>) -> Option<()> {
    let message = http::Message::of(content)?;
    let growth: isize = inside(splices, &message.body).map(Splice::growth).sum();
    let Some(place) = message.field(content, "content-length").filter(|_| growth != 0) else { return Some(()) };
    // One that is edited itself is left as it was edited.
    if inside(splices, &place).next().is_none()
        && let Some(length) = std::str::from_utf8(content.get(place.clone())?).ok()?.parse::<usize>().ok()
    {
        out.push(Splice::length(place, length.checked_add_signed(growth)?.to_string().into()));
    }
    Some(())
}

/// Items of a Sentry envelope.
fn items(content: &[u8], splices: &[Splice], out: &mut Vec<Splice>) -> Option<()> {
    for item in sentry::items(content) {
        let growth: isize = inside(splices, &item.payload).map(Splice::growth).sum();
        if let Some(length) = item.length.filter(|_| growth != 0) {
            let new = item.payload.len().checked_add_signed(growth)?.to_string();
            out.push(Splice::length(length, new.into()));
        }
    }
    Some(())
}

/// Those of `splices` (in order) whose leaf is in `range`.
fn inside<'a>(splices: &'a [Splice], range: &Range<usize>) -> impl Iterator<Item = &'a Splice> {
    let from = splices.partition_point(|splice| splice.range.start < range.start);
    let to = splices.partition_point(|splice| splice.range.start <= range.end).max(from);
    let range = range.clone();
    splices[from..to].iter().filter(move |splice| within(&splice.leaf, &range))
}

/// Messages of an event stream. Checksums that were wrong stay so.
fn events(content: &[u8], splices: &[Splice], out: &mut Vec<Splice>) -> Option<()> {
    let mut at = 0;
    while let Some(message) = event_stream::message_at(content, at) {
        let whole = message.whole.clone();
        at = whole.end;
        let mut own: Vec<Splice> = inside(splices, &whole).cloned().collect();
        if own.is_empty() {
            continue;
        }
        let growth = |own: &[Splice], range: &Range<usize>| -> isize { inside(own, range).map(Splice::growth).sum() };
        let mut follow = Vec::new();
        for header in event_stream::headers(content, message.headers.clone()) {
            let grown = growth(&own, &header.value);
            if let Some(length) = header.length.filter(|_| grown != 0) {
                let new = u16::try_from(header.value.len().checked_add_signed(grown)?).ok()?;
                follow.push(Splice::length(length, new.to_be_bytes().into()));
            }
        }
        let start = whole.start;
        let (total, headers) = (growth(&own, &whole), growth(&own, &message.headers));
        for (place, grown) in [(start..start + 4, total), (start + 4..start + 8, headers)] {
            let old = u32::from_be_bytes(content.get(place.clone())?.try_into().ok()?);
            let new = u32::try_from(i64::from(old) + grown as i64).ok()?;
            follow.push(Splice::length(place, new.to_be_bytes().into()));
        }
        own.extend(follow.iter().cloned());
        for (place, sound) in [(start + 8..start + 12, true), (whole.end - 4..whole.end, message.sound)] {
            if !sound {
                continue;
            }
            // Over the message as it will be, up to the checksum.
            let mut before: Vec<Splice> =
                own.iter().filter(|splice| splice.range.end <= place.start).cloned().collect();
            super::splice::order(&mut before).ok()?;
            for splice in &mut before {
                splice.range.start -= start;
                splice.range.end -= start;
            }
            let crc = crc32fast::hash(&apply(content.get(start..place.start)?, &before));
            let crc = Splice::length(place, crc.to_be_bytes().into());
            own.push(crc.clone());
            follow.push(crc);
        }
        follow.retain(|splice| content.get(splice.range.clone()) != Some(&splice.bytes));
        out.extend(follow);
    }
    Some(())
}

/// Nested deeper than the walk reads.
const DEEPEST: usize = 128;

/// Corrects the lengths of the fields in `range` that hold a splice, innermost first. Gives how much the range
/// grows.
fn message(
    content: &[u8],
    range: Range<usize>,
    splices: &[&Splice],
    out: &mut Vec<Splice>,
    depth: usize,
) -> Option<isize> {
    if depth > DEEPEST {
        return None;
    }
    let mut growth = 0;
    let mut seen = 0;
    let expected = splices.len();
    for field in fields(content, range) {
        // In order, so those of one field stand together.
        let from = splices.partition_point(|splice| splice.range.start < field.whole.start);
        let to = splices.partition_point(|splice| splice.range.start <= field.whole.end).max(from);
        let splices = &splices[from..to];
        let Some(length) = field.length.clone() else {
            let whole = splices.iter().filter(|splice| within(&splice.leaf, &field.whole));
            seen += whole.clone().count();
            growth += whole.map(|splice| splice.growth()).sum::<isize>();
            continue;
        };
        // A field that goes whole takes its length with it.
        let gone = splices.iter().filter(|splice| splice.leaf == field.whole);
        seen += gone.clone().count();
        growth += gone.map(|splice| splice.growth()).sum::<isize>();
        let inside: Vec<&Splice> = splices
            .iter()
            .filter(|splice| within(&splice.leaf, &field.value) && splice.leaf != field.whole)
            .copied()
            .collect();
        if inside.is_empty() {
            continue;
        }
        seen += inside.len();
        let (own, deeper): (Vec<&Splice>, Vec<&Splice>) =
            inside.into_iter().partition(|splice| splice.leaf == field.value);
        let mut inner: isize = own.iter().map(|splice| splice.growth()).sum();
        if !deeper.is_empty() {
            let mark = out.len();
            inner += match message(content, field.value.clone(), &deeper, out, depth + 1) {
                Some(grown) => grown,
                // No message: numbers that are packed.
                None => {
                    out.truncate(mark);
                    deeper.iter().map(|splice| splice.growth()).sum()
                }
            };
        }
        if inner != 0 {
            let bytes = varint((field.value.len() as u64).checked_add_signed(inner as i64)?);
            growth += bytes.len() as isize - length.len() as isize;
            out.push(Splice::length(length, bytes));
        }
        growth += inner;
    }
    (seen == expected).then_some(growth)
}

fn within(inner: &Range<usize>, outer: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

pub(super) fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(10);
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

pub(super) fn varint_of(text: &str) -> Option<Vec<u8>> {
    let text = if text.is_empty() { "0" } else { text };
    let value = text.parse::<u64>().ok().or_else(|| text.parse::<i64>().ok().map(|value| value as u64))?;
    Some(varint(value))
}

/// `text` as a number of as many bytes as `raw`, an integer or a float as `raw` was read.
pub(super) fn fixed_of(text: &str, raw: &[u8]) -> Option<Vec<u8>> {
    let text = if text.is_empty() { "0" } else { text };
    let (_, float) = fixed_text(raw);
    match (raw.len(), float) {
        (4, true) => text.parse::<f32>().ok().map(|value| value.to_le_bytes().into()),
        (4, false) => text.parse::<u32>().ok().map(|value| value.to_le_bytes().into()),
        (_, true) => text.parse::<f64>().ok().map(|value| value.to_le_bytes().into()),
        (_, false) => text.parse::<u64>().ok().map(|value| value.to_le_bytes().into()),
    }
}

/// The innermost field around each of `values`, found in one pass.
pub(super) fn fields_around(content: &[u8], mut values: Vec<Range<usize>>) -> HashMap<Range<usize>, Range<usize>> {
    values.sort_by_key(|value| (value.start, value.end));
    let mut found = HashMap::with_capacity(values.len());
    around(content, 0..content.len(), &values, &mut found, 0);
    found
}

fn around(
    content: &[u8],
    range: Range<usize>,
    values: &[Range<usize>],
    found: &mut HashMap<Range<usize>, Range<usize>>,
    depth: usize,
) {
    if depth > DEEPEST {
        return;
    }
    for field in fields(content, range) {
        let from = values.partition_point(|value| value.start < field.value.start);
        let to = values.partition_point(|value| value.start <= field.value.end).max(from);
        let inside = &values[from..to];
        if inside.is_empty() {
            continue;
        }
        if inside.contains(&field.value) {
            found.insert(field.value.clone(), field.whole.clone());
        }
        if field.length.is_some() && inside.iter().any(|value| *value != field.value) {
            around(content, field.value, inside, found, depth + 1);
        }
    }
}

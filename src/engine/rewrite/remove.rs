//! Taking a whole leaf out: with its name, and with the separator that would be left over.

use std::collections::HashMap;
use std::ops::Range;

use memchr::{memchr, memrchr};

use super::lengths;
use super::splice::Splice;
use super::{Edit, RewriteError};
use crate::engine::decode::{Format, Layer, Origin, json_blank, json_value_end, split_target};
use crate::engine::visit::Spelling;
use crate::wire::head::RequestHead;

/// One of a list of things that stand between separators.
#[derive(Clone, Debug)]
struct Item {
    edit: usize,
    core: Range<usize>,
    /// The separator and white space in front; none for the first of its list.
    before: Option<Range<usize>>,
    /// The separator and white space behind; none for the last.
    after: Option<Range<usize>>,
    /// What goes when the whole list goes, if more than its items.
    list: Option<Range<usize>>,
}

/// The splices that remove the leaves of `removals`, indices into `edits`, all in `layer`.
pub(super) fn splices(
    head: &RequestHead,
    layer: &Layer,
    edits: &[Edit],
    removals: &[usize],
) -> Result<Vec<Splice>, RewriteError> {
    let content = &layer.content;
    let mut items = Vec::new();
    let mut out = Vec::new();
    let fields = match layer.format {
        Format::Protobuf => {
            let values = removals.iter().map(|&edit| edits[edit].target.raw.range());
            lengths::fields_around(content, values.collect())
        }
        _ => HashMap::new(),
    };
    for &edit in removals {
        let target = &edits[edit].target;
        let raw = target.raw.range();
        let emptied =
            |bytes: &[u8]| Splice { range: raw.clone(), bytes: bytes.to_vec(), edits: vec![edit], leaf: raw.clone() };
        let item = match (&layer.origin, layer.format, target.spelling) {
            (Origin::Head, _, spelling) => match in_head(head, raw.clone(), spelling, edit)? {
                Some(item) => Some(item),
                None => {
                    out.push(emptied(b"-"));
                    continue;
                }
            },
            (_, Format::Protobuf, Spelling::Raw | Spelling::Varint | Spelling::Fixed) => {
                fields.get(&raw).map(|field| alone(edit, field.clone()))
            }
            (_, _, Spelling::JsonString) => {
                let start = raw.start.checked_sub(1).ok_or(RewriteError::Misplaced { edit })?;
                member(content, start..raw.end + 1, edit)
            }
            (_, _, Spelling::JsonToken) => member(content, raw.clone(), edit),
            (_, _, Spelling::Form) => Some(pair(content, 0..content.len(), raw.clone(), b'&', None, edit)),
            _ => None,
        };
        match item {
            Some(item) => items.push(item),
            None => out.push(emptied(match (target.spelling, content.get(raw.start)) {
                (Spelling::JsonToken, Some(b't' | b'f')) => b"false",
                (Spelling::JsonToken, Some(b'n')) => b"null",
                (Spelling::JsonToken, _) => b"0",
                (Spelling::Packed, _) => b"\0",
                _ => b"",
            })),
        }
    }
    items.sort_by_key(|item| item.core.start);
    let mut rest = items.as_slice();
    while let Some(first) = rest.first() {
        // Neighbours go together, so that no separator goes twice and none stays behind.
        let linked = |pair: &[Item]| pair[0].after.is_some() && pair[0].after == pair[1].before;
        let run = 1 + rest.windows(2).take_while(|pair| linked(pair)).count();
        let last = &rest[run - 1];
        let range = match (&first.before, &last.after) {
            (_, Some(after)) => first.core.start..after.end,
            (Some(before), None) => before.start..last.core.end,
            (None, None) => first.list.clone().unwrap_or(first.core.start..last.core.end),
        };
        let leaf = first.core.start..last.core.end;
        let edits = rest[..run].iter().map(|item| item.edit).collect();
        out.push(Splice { range, bytes: Vec::new(), edits, leaf });
        rest = &rest[run..];
    }
    Ok(out)
}

fn alone(edit: usize, range: Range<usize>) -> Item {
    Item { edit, core: range, before: None, after: None, list: None }
}

/// The member that the value (or name) at `value` belongs to; none for an element of an array and for a
/// document that is a single value.
fn member(content: &[u8], value: Range<usize>, edit: usize) -> Option<Item> {
    let behind = json_blank(content, value.end);
    let core = if content.get(behind) == Some(&b':') {
        value.start..json_value_end(content, json_blank(content, behind + 1))
    } else {
        let before = content.get(..value.start)?.trim_ascii_end();
        let name = before.strip_suffix(b":")?.trim_ascii_end().strip_suffix(b"\"")?;
        opening_quote(name)?..value.end
    };
    let front = content.get(..core.start)?.trim_ascii_end();
    let before = front.ends_with(b",").then(|| front.len() - 1..core.start);
    let comma = json_blank(content, core.end);
    let after = (content.get(comma) == Some(&b',')).then(|| core.end..json_blank(content, comma + 1));
    // Neighbours know their separator by its comma, with all the white space around it.
    let before = before.map(|range| front[..range.start].trim_ascii_end().len()..core.start);
    Some(Item { edit, core, before, after, list: None })
}

/// Where the string starts that `text` ends in, just before its closing quote.
fn opening_quote(mut text: &[u8]) -> Option<usize> {
    loop {
        let quote = memrchr(b'"', text)?;
        let slashes = text[..quote].iter().rev().take_while(|&&byte| byte == b'\\').count();
        if slashes % 2 == 0 {
            return Some(quote);
        }
        text = &text[..quote];
    }
}

/// The pair around `value` in the list `bounds`, whose items are parted by `separator`.
fn pair(
    content: &[u8],
    bounds: Range<usize>,
    value: Range<usize>,
    separator: u8,
    list: Option<Range<usize>>,
    edit: usize,
) -> Item {
    let front = memrchr(separator, &content[bounds.start..value.start]).map(|at| bounds.start + at);
    let behind = memchr(separator, &content[value.end..bounds.end]).map(|at| value.end + at);
    let spaces = |from: usize| content[from..bounds.end].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let start = front.map_or(bounds.start, |at| at + 1);
    let start = start + spaces(start);
    let before = front.map(|at| at..start);
    let after = behind.map(|at| at..at + 1 + spaces(at + 1));
    // Of a name the pair goes with its value.
    let named = content[value.end..bounds.end].first() == Some(&b'=');
    let end = if named { behind.unwrap_or(bounds.end) } else { value.end };
    Item { edit, core: start..end, before, after, list }
}

/// A leaf of the head. None for a path segment, which keeps its place.
fn in_head(
    head: &RequestHead,
    raw: Range<usize>,
    spelling: Spelling,
    edit: usize,
) -> Result<Option<Item>, RewriteError> {
    let (_, query) = split_target(head.raw(), head.target_span());
    if let Some(query) = query.filter(|query| query.start <= raw.start && raw.end <= query.end) {
        let list = query.start - 1..query.end;
        return Ok(Some(pair(head.raw(), query, raw, b'&', Some(list), edit)));
    }
    if spelling == Spelling::Percent {
        return Ok(None);
    }
    let around = |span: crate::wire::span::Span| span.range().start <= raw.start && raw.end <= span.range().end;
    let field = head.fields().iter().find(|field| around(field.value) || around(field.name));
    let field = field.ok_or(RewriteError::NotRemovable { edit })?;
    if head.bytes(field.name).eq_ignore_ascii_case(b"cookie") && field.value.range() != raw && around(field.value) {
        let value = field.value.range();
        // The quotes around a value go with it.
        let quoted = head.raw().get(raw.end) == Some(&b'"') && head.raw()[..raw.start].ends_with(b"\"");
        let raw = raw.start..raw.end + usize::from(quoted);
        return Ok(Some(pair(head.raw(), value, raw, b';', Some(field.line.range()), edit)));
    }
    Ok(Some(alone(edit, field.line.range())))
}

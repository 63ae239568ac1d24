//! Form that says nothing by itself: the order of fields and members, the case of names, white space between
//! tokens, the spelling of numbers.

use std::collections::HashMap;

use super::space::{self, Space};
use super::text::{digest, mix};
use super::{Scan, name_of, pattern, raw};
use crate::engine::audit::Request;
use crate::engine::detect::region::Region;
use crate::engine::finding::Severity;
use crate::engine::location::{Location, Root, Step};
use crate::engine::visit::{LayerId, Leaf, LeafKind, Place, Segment, Spelling, Target};
use crate::wire::span::Span;

/// Members before one whose order with it counts.
const NEAR: usize = 8;
/// Findings of one sort in one unit.
const FEW: usize = 8;
/// Longer strings are no items of a list of names.
const LONGEST_ITEM: usize = 80;
/// Lists of one unit, and items of one list.
const MOST_LISTS: usize = 512;
const MOST_ITEMS: usize = 512;
/// What a model or a tool wrote: its form is not the client's.
const FREE: &[&str] = &["input", "arguments", "args", "output", "parameters_json", "functionCall", "functionResponse"];

const ORDER: u64 = 11;
const CASE: u64 = 12;
const NUMBER: u64 = 14;
const ITEMS: u64 = 15;
const MEMBERS: u64 = 16;

/// Members of one object.
const MOST_MEMBERS: usize = 64;
/// Names and indices around an object whose members are counted.
const DEEPEST_OBJECT: usize = 4;
/// Others that must have the same members: a field that is there now and then is no mark.
const MANY: u32 = 20;

#[derive(Default)]
pub(super) struct Structure {
    open: Vec<Object>,
    pub space: Space,
    orders: usize,
    declared: Option<Tool>,
    lists: HashMap<u64, List>,
    reordered: usize,
    numbers: usize,
}

/// An object whose members are being read.
struct Object {
    layer: LayerId,
    depth: usize,
    /// Its place, elements of lists told apart.
    exact: u64,
    names: Vec<u64>,
    reported: bool,
    /// Whether which members it has is the client's affair alone.
    counts: bool,
    around: u64,
    first: Option<(Target, Location)>,
    spelled: Vec<Box<str>>,
}

/// The tool that is being declared.
#[derive(Clone, Copy)]
struct Tool {
    at: u64,
    name: u64,
    /// Its name says that it is not the client's own.
    foreign: bool,
}

/// The items of a list so far.
#[derive(Default)]
struct List {
    items: Vec<(u64, String)>,
    reported: bool,
}

impl Structure {
    /// Whether the value at `pointer` belongs to a tool of a server that the person added: its words come from there.
    pub fn is_foreign_tool(&self, pointer: &[Segment<'_>]) -> bool {
        self.declared.is_some_and(|tool| tool.foreign) && self.tool(pointer) != 0
    }

    /// The digest of the name of the tool that the value at `pointer` belongs to; 0 where that is not known.
    pub fn tool(&self, pointer: &[Segment<'_>]) -> u64 {
        let here = tool_at(pointer);
        self.declared.filter(|tool| here.is_some_and(|at| at == tool.at)).map_or(0, |tool| tool.name)
    }

    /// Objects that are being read.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// A list is over.
    pub fn forget(&mut self, list: u64) {
        self.lists.remove(&list);
    }
}

impl Scan<'_> {
    /// Notes how the form at `place` is spelled; whether at least three others agree on another.
    pub(super) fn differs(&mut self, place: u64, spelling: &str) -> bool {
        let spelled = self.lesson.note(place, spelling);
        let own = self.templates.own();
        if let Some(disagree) = self.page.and_then(|page| page.disagree(place, spelled, own)) {
            self.counts.forms += 1;
            self.counts.unstable += u32::from(disagree);
        }
        self.page
            .and_then(|page| page.unlike(place, spelled, own))
            .is_some_and(|usual| usual.agree >= 3 && usual.others * 3 < usual.agree)
    }

    /// Takes the next item of a list; names it and the one that it should not follow, where others agree. `list` tells
    /// the list from all others of the unit, `around` is its place.
    fn in_order(&mut self, list: u64, around: u64, item: String) -> Option<(String, (f32, Severity))> {
        let code = digest(0, item.as_bytes());
        let lists = &mut self.structure.lists;
        if lists.len() >= MOST_LISTS && !lists.contains_key(&list) {
            return None;
        }
        if let Some(element) = self.element.as_mut().filter(|_| !lists.contains_key(&list)) {
            element.lists.push(list);
        }
        let mut held = std::mem::take(lists.entry(list).or_default());
        let mut told = None;
        let again = held.items.len() >= MOST_ITEMS || held.items.iter().any(|(other, _)| *other == code);
        let near = if again { 0 } else { held.items.len().min(NEAR) };
        for (other, name) in held.items.iter().rev().take(near) {
            let place = self.form(ITEMS, mix(mix(around, code.min(*other)), code.max(*other)));
            let spelled = self.lesson.note(place, if *other < code { "<" } else { ">" });
            let Some(page) = self.page else { continue };
            let own = self.templates.own();
            if let Some(disagree) = page.disagree(place, spelled, own) {
                self.counts.pairs += 1;
                self.counts.loose_pairs += u32::from(disagree);
            }
            let worth = match page.unlike(place, spelled, own) {
                Some(usual) if usual.agree >= 3 && usual.others == 0 => STRUCTURE,
                Some(_) => continue,
                None if page.variants(place, spelled).is_some() => (0.5, Severity::Low),
                None => continue,
            };
            if !held.reported {
                held.reported = true;
                told = Some((format!("{name}, {item}"), worth));
            }
        }
        if !again {
            held.items.push((code, item));
        }
        self.structure.lists.insert(list, held);
        told
    }

    /// The digest of a place of `sort`. What calls itself otherwise is another program of the same client.
    pub(super) fn form(&self, sort: u64, place: u64) -> u64 {
        mix(mix(self.seed, sort), place)
    }
}

/// Whether a mark of `kind` is one of order and form.
pub(super) fn is_form(kind: &str) -> bool {
    matches!(kind, "cov.header_order" | "cov.header_case" | "cov.key_order" | "cov.json_ws" | "cov.number")
}

pub(super) const STRUCTURE: (f32, Severity) = (0.7, Severity::Low);

pub(super) fn head(scan: &mut Scan<'_>, request: &Request) {
    let head = &request.head;
    let agent = digest(0, head.get("user-agent").unwrap_or_default());
    let mut seen: Vec<(u64, String)> = Vec::new();
    let mut moved: Vec<String> = Vec::new();
    let mut cased: Vec<String> = Vec::new();
    for field in head.fields().iter().take(100) {
        let spelled = String::from_utf8_lossy(head.bytes(field.name)).into_owned();
        let name = spelled.to_ascii_lowercase();
        let code = digest(0, name.as_bytes());
        if let Ok(value) = std::str::from_utf8(head.bytes(field.value)) {
            items_of_header(scan, &name, value);
        }
        if seen.iter().any(|(other, _)| *other == code) {
            continue;
        }
        let place = scan.form(CASE, mix(agent, code));
        if scan.differs(place, &spelled) {
            cased.push(spelled);
        }
        for (other, before) in &seen {
            let place = scan.form(ORDER, mix(mix(agent, code.min(*other)), code.max(*other)));
            if scan.differs(place, if *other < code { "<" } else { ">" }) {
                moved.extend([before.clone(), name.clone()]);
            }
        }
        seen.push((code, name));
    }
    // Most names in another case: sent by another library, or over another version of the protocol.
    if cased.len() > 2 && cased.len() * 2 > seen.len() {
        cased.clear();
    }
    let target = Target { layer: LayerId(0), raw: Span::new(0, 0), spelling: Spelling::Raw };
    for (kind, mut names) in [("cov.header_order", moved), ("cov.header_case", cased)] {
        if names.is_empty() {
            continue;
        }
        names.truncate(FEW * 2);
        let location = Location { root: Root::Head, steps: Vec::new() };
        scan.push(raw(kind, location, target, names.join(", "), STRUCTURE));
    }
}

/// The items of a value that is a list of names, as in `accept-encoding: gzip, br`.
fn items_of_header(scan: &mut Scan<'_>, name: &str, value: &str) {
    const NO_LISTS: &[&str] = &[
        "date",
        "expires",
        "if-modified-since",
        "cookie",
        "user-agent",
        "via",
        "forwarded",
        "x-forwarded-for",
        "authorization",
        "baggage",
        "tracestate",
    ];
    if !value.contains(',') || value.len() > 1024 || NO_LISTS.contains(&name) {
        return;
    }
    let list = digest(1, name.as_bytes());
    for item in value.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        if let Some((names, worth)) = scan.in_order(list, list, item.to_owned()) {
            let location = Location { root: Root::Header { name: name.into(), repeat: 0 }, steps: Vec::new() };
            let target = Target { layer: LayerId(0), raw: Span::new(0, 0), spelling: Spelling::Raw };
            scan.push(raw("cov.list_order", location, target, names, worth));
        }
    }
}

pub(super) fn leaf(scan: &mut Scan<'_>, leaf: &Leaf<'_>, place: &dyn Place) {
    let json = matches!(
        leaf.kind,
        LeafKind::JsonName | LeafKind::JsonString | LeafKind::JsonNumber | LeafKind::JsonBool | LeafKind::JsonNull
    );
    // Other formats than JSON have leaves of these kinds too, and no spelling.
    let json = json && matches!(leaf.target.spelling, Spelling::JsonString | Spelling::JsonToken);
    let pointer = place.pointer();
    if !json || pointer.iter().skip(1).any(|segment| FREE.contains(&name_of(segment))) {
        scan.structure.space.skip();
        if let Some(element) = &mut scan.element {
            element.is_free();
        }
        return;
    }
    let here = mix(pattern(pointer), place.depth() as u64);
    space::note(scan, leaf, place, here);
    match leaf.kind {
        LeafKind::JsonString => item(scan, leaf, place),
        LeafKind::JsonName => member(scan, leaf, place),
        LeafKind::JsonNumber => number(scan, leaf, place, here),
        _ => {}
    }
}

/// The tool that a value is about, by its place in the document: `/tools/3`, `/tools/0/functionDeclarations/3`.
fn tool_at(pointer: &[Segment<'_>]) -> Option<u64> {
    let at = pointer.iter().position(|segment| matches!(segment, Segment::Name("tools" | "functions")))?;
    let mut last = at + 1;
    if let Some([Segment::Name("functionDeclarations" | "function_declarations"), Segment::Index(_)]) =
        pointer.get(at + 2..at + 4)
    {
        last = at + 3;
    }
    matches!(pointer.get(last), Some(Segment::Index(_))).then(|| exact(&pointer[..=last]))
}

/// A place in a document, elements of lists told apart.
fn exact(pointer: &[Segment<'_>]) -> u64 {
    pointer.iter().fold(5, |hash, segment| match segment {
        Segment::Name(name) => mix(hash, digest(0, name.as_bytes())),
        Segment::Index(index) => mix(hash, *index),
    })
}

/// An item of a list that is told by a name of its own: a string, or an object's `name`.
fn item(scan: &mut Scan<'_>, leaf: &Leaf<'_>, place: &dyn Place) {
    let pointer = place.pointer();
    let tools = Region::of_steps(pointer.iter().map(name_of)) == Region::Tools;
    let list = match pointer {
        [list @ .., Segment::Index(_)] => list,
        [list @ .., Segment::Index(_), Segment::Name("name")] if tools => list,
        [list @ .., Segment::Index(_), Segment::Name("function"), Segment::Name("name")] if tools => list,
        _ => return,
    };
    if tools
        && leaf.name == "name"
        && let Some(at) = tool_at(pointer).filter(|_| list.len() < 4)
    {
        let foreign = leaf.text.starts_with(b"mcp_");
        scan.structure.declared = Some(Tool { at, name: digest(1, leaf.text), foreign });
    }
    // Lists inside records, as in telemetry, may be of anything.
    let listed = list.iter().any(|segment| matches!(segment, Segment::Index(_)));
    let region = Region::of_steps(list.iter().map(name_of));
    let fixed = region == Region::Tools || region == Region::Client && !listed;
    if !fixed || leaf.text.len() > LONGEST_ITEM || scan.structure.is_foreign_tool(pointer) && listed {
        return;
    }
    let layer = leaf.target.layer;
    let named = scan.element.as_mut().filter(|element| element.layer() == layer && list.len() < element.depth);
    if let Some(element) = named {
        element.is_named(leaf.text, leaf.target, place);
        let location = || place.location();
        return scan.outside(|scan| item_of(scan, list, place.depth(), leaf.text, leaf.target, &location));
    }
    let around = mix(pattern(list), place.depth() as u64);
    // The lists of each tool are its own.
    let around =
        if listed && tools && leaf.name != "name" { mix(around, scan.structure.tool(pointer)) } else { around };
    put(scan, (exact(list), around), leaf.text, leaf.target, &|| place.location());
}

/// The next item of the list at `list`, which is in no element.
pub(super) fn item_of(
    scan: &mut Scan<'_>,
    list: &[Segment<'_>],
    depth: usize,
    text: &[u8],
    target: Target,
    location: &dyn Fn() -> Location,
) {
    put(scan, (exact(list), mix(pattern(list), depth as u64)), text, target, location);
}

fn put(scan: &mut Scan<'_>, list: (u64, u64), text: &[u8], target: Target, location: &dyn Fn() -> Location) {
    let value = String::from_utf8_lossy(text).into_owned();
    if let Some((names, worth)) = scan.in_order(mix(list.0, u64::from(target.layer.0)), list.1, value)
        && scan.structure.reordered < FEW
    {
        scan.structure.reordered += 1;
        scan.push(raw("cov.list_order", location(), target, names, worth));
    }
}

fn member(scan: &mut Scan<'_>, leaf: &Leaf<'_>, place: &dyn Place) {
    let Some((Segment::Name(_), above)) = place.pointer().split_last() else { return };
    // Records of a list, as in telemetry, may be of any sort, each with an order of its own.
    let listed = above.iter().any(|segment| matches!(segment, Segment::Index(_)));
    if listed && Region::of_steps(above.iter().map(name_of)) == Region::Client {
        return;
    }
    let (layer, depth) = (leaf.target.layer, above.len());
    let exact = above.iter().fold(3, |hash, segment| match segment {
        Segment::Name(name) => mix(hash, digest(0, name.as_bytes())),
        Segment::Index(index) => mix(hash, *index),
    });
    let name = digest(0, leaf.text);
    let around = mix(pattern(above), place.depth() as u64);
    let open = &mut scan.structure.open;
    // What was opened inside is closed by now.
    let inside = open.iter().rposition(|object| object.layer == layer && object.depth <= depth).map(|at| at + 1);
    let mut closed: Vec<Object> = open.drain(inside.unwrap_or(open.len())..).collect();
    let same = open.last().is_some_and(|object| {
        object.layer == layer && object.depth == depth && object.exact == exact && !object.names.contains(&name)
    });
    if !same {
        if open.last().is_some_and(|object| object.layer == layer && object.depth == depth) {
            closed.extend(open.pop());
        }
        let region = Region::of_steps(above.iter().map(name_of));
        let counts = depth <= DEEPEST_OBJECT && !matches!(region, Region::Conversation | Region::ToolResult);
        let first = scan.page.filter(|_| counts).map(|_| (leaf.target, object_of(place)));
        let (names, spelled) = (Vec::new(), Vec::new());
        open.push(Object { layer, depth, exact, names, reported: false, counts, around, first, spelled });
    }
    let Some(object) = open.last_mut() else { return };
    let near: Vec<u64> = object.names.iter().rev().take(NEAR).copied().collect();
    if object.names.len() < MOST_MEMBERS {
        object.names.push(name);
        if object.counts {
            object.spelled.push(String::from_utf8_lossy(leaf.text).into());
        }
    }
    let mut reported = object.reported;
    for other in near {
        let at = scan.form(ORDER, mix(mix(around, name.min(other)), name.max(other)));
        if scan.differs(at, if other < name { "<" } else { ">" }) && !reported && scan.structure.orders < FEW {
            reported = true;
            scan.structure.orders += 1;
            let value = String::from_utf8_lossy(leaf.text).into_owned();
            scan.push(raw("cov.key_order", object_of(place), leaf.target, value, STRUCTURE));
        }
    }
    if let Some(object) = scan.structure.open.last_mut() {
        object.reported = reported;
    }
    closed.into_iter().for_each(|object| members(scan, object));
}

/// Notes which members objects have that are open from number `from` on, which are over.
pub(super) fn close_from(scan: &mut Scan<'_>, from: usize) {
    let open = &mut scan.structure.open;
    let closed: Vec<Object> = open.drain(from.min(open.len())..).collect();
    closed.into_iter().for_each(|object| members(scan, object));
    scan.structure.declared = None;
}

/// The same of all that stand in an object of `layer` `depth` names and indices deep, and of those inside them.
pub(super) fn close_above(scan: &mut Scan<'_>, layer: LayerId, depth: usize) {
    let around = |object: &Object| object.layer == layer && object.depth < depth;
    let from = scan.structure.open.iter().rposition(around).map_or(usize::MAX, |at| at + 1);
    close_from(scan, from);
}

/// Notes which members an object has, as all of them but one, and which that one is. Where many others have the same
/// members and one more, or one fewer, that is named.
fn members(scan: &mut Scan<'_>, object: Object) {
    if !object.counts || object.names.len() < 2 || object.names.len() >= MOST_MEMBERS {
        return;
    }
    let all = object.names.iter().fold(0u64, |sum, &name| sum.wrapping_add(mix(9, name)));
    let without =
        object.names.iter().zip(&object.spelled).map(|(&name, text)| (all.wrapping_sub(mix(9, name)), &**text));
    let mut odd = None;
    for (set, spelled) in std::iter::once((all, "")).chain(without).filter(|(_, text)| text.len() <= LONGEST_ITEM) {
        let place = scan.form(MEMBERS, mix(object.around, set));
        let spelling = scan.lesson.note(place, spelled);
        let usual = scan.page.and_then(|page| page.unlike(place, spelling, scan.templates.own()));
        if let Some(usual) = usual.filter(|usual| usual.others == 0 && usual.agree >= MANY) {
            let usual = scan.templates.text(usual.spelling).unwrap_or_default();
            match (spelled, usual) {
                ("", missing) => odd = odd.or(Some(missing.to_owned())),
                (extra, "") => odd = odd.or(Some(extra.to_owned())),
                // One for another: neither was left out.
                _ => {}
            }
        }
    }
    if let (Some(name), Some((target, location))) = (odd, object.first) {
        scan.push(raw("cov.presence", location, target, name, (0.5, Severity::Low)));
    }
}

/// The object that holds the member at `place`.
fn object_of(place: &dyn Place) -> Location {
    let mut location = place.location();
    if let Some(Step::Json(pointer)) = location.steps.last_mut() {
        let end = pointer.rfind('/').unwrap_or(0);
        *pointer = pointer[..end].into();
    }
    location
}

fn number(scan: &mut Scan<'_>, leaf: &Leaf<'_>, place: &dyn Place, here: u64) {
    let Some(style) = style(leaf.text) else { return };
    let at = scan.form(NUMBER, here);
    if scan.differs(at, style) && scan.structure.numbers < FEW {
        scan.structure.numbers += 1;
        let value = String::from_utf8_lossy(leaf.text).into_owned();
        scan.push(raw("cov.number", place.location(), leaf.target, value, STRUCTURE));
    }
}

/// How a whole number is spelled, whatever it is: `1`, `1.0`, `1e3`, `1E3`, `-0` and `01` each otherwise. Of others nothing
/// can be said: `0.5` and `1.0` are both what a program writes that counts in fractions.
fn style(number: &[u8]) -> Option<&'static str> {
    let exponent = number.iter().position(|byte| matches!(byte, b'e' | b'E'));
    let (mantissa, exponent) = number.split_at(exponent.unwrap_or(number.len()));
    let whole = mantissa.split(|&byte| byte == b'.').nth(1).is_none_or(|part| part.iter().all(|&byte| byte == b'0'));
    match (exponent, mantissa) {
        ([_, b'-', ..], _) => None,
        ([b'e', ..], _) => Some("e"),
        ([_, ..], _) => Some("E"),
        _ if !whole => None,
        (_, b"-0") => Some("-0"),
        (_, [b'0', b'0'..=b'9', ..] | [b'-', b'0', b'0'..=b'9', ..]) => Some("01"),
        _ if mantissa.contains(&b'.') => Some("1.0"),
        _ => Some("1"),
    }
}

#[cfg(test)]
mod tests {
    use super::style;

    #[test]
    fn whole_numbers_have_a_style_and_fractions_none() {
        for (number, expected) in [
            ("1", Some("1")),
            ("-12", Some("1")),
            ("1.0", Some("1.0")),
            ("2.00", Some("1.0")),
            ("1e3", Some("e")),
            ("1.5E3", Some("E")),
            ("-0", Some("-0")),
            ("01", Some("01")),
            ("0", Some("1")),
            ("0.7", None),
            ("1.50", None),
            ("5e-7", None),
        ] {
            assert_eq!(style(number.as_bytes()), expected, "{number}");
        }
    }
}

//! Values that are named by their neighbour, as telemetry has them.
//!
//! ```text
//! {"key":"host.name","value":{"stringValue":"ws17"}}      OTLP JSON; arrays and lists of pairs within as well
//! KeyValue { 1: "host.name", 2: AnyValue { 1: "ws17" } }  OTLP protobuf, and the entries of any map
//! {"acme_key":82,"value":"linux"}                         numbers that a pack names (`[labels]`)
//! ```

use std::collections::{BTreeMap, HashMap};

use crate::engine::visit::{Leaf, LeafKind, Place, Segment};

/// What numbers stand for under a name: `acme_key` → `82` → `os.name`.
#[derive(Debug, Default)]
pub(crate) struct LabelTables(Vec<Table>);

/// Every number in every body is asked about, and there are only a few tables: compared by name, one after the other.
type Table = (Box<str>, HashMap<Box<str>, Box<str>>);

impl LabelTables {
    pub fn new<'a>(tables: impl Iterator<Item = &'a BTreeMap<String, BTreeMap<String, String>>>) -> Self {
        let mut all = Self::default();
        for (name, table) in tables.flatten() {
            let known = match all.0.iter().position(|(known, _)| **known == **name) {
                Some(at) => at,
                None => {
                    all.0.push((name.as_str().into(), HashMap::new()));
                    all.0.len() - 1
                }
            };
            all.0[known].1.extend(table.iter().map(|(number, label)| (number.as_str().into(), label.as_str().into())));
        }
        all
    }

    fn get(&self, name: &str, number: &[u8]) -> Option<&str> {
        let (_, table) = self.0.iter().find(|(known, _)| **known == *name)?;
        Some(table.get(std::str::from_utf8(number).ok()?)?)
    }
}

/// The last label, and where it stands.
#[derive(Default)]
pub(super) struct Label {
    text: String,
    /// Digest and number of the parts of the path around the label.
    parent: (u64, usize),
    /// In a protobuf message: the field of the label. The next one holds the value.
    field: Option<u64>,
    set: bool,
    /// The label around a list of pairs, and where that list's pairs stand.
    outer: String,
    inner: Option<(u64, usize)>,
    /// In a protobuf message: a text inside the value that may be the key of a map; empty where there is none.
    key: String,
}

/// What the name of a member says of it.
#[derive(PartialEq)]
enum Says {
    Label,
    Value,
    /// A value inside one, called by its type.
    Typed,
    Nothing,
}

impl Says {
    fn of(name: &str) -> Self {
        match name {
            "key" | "name" | "k" | "Key" | "Name" | "field" | "attribute" | "label" => Self::Label,
            "value" | "v" | "Value" | "val" => Self::Value,
            "stringValue" | "intValue" | "doubleValue" | "boolValue" | "string_value" | "int_value" => Self::Typed,
            _ => Self::Nothing,
        }
    }
}

/// Steps from a JSON value to the pair that it belongs to: `value/stringValue`, and an array's
/// `value/arrayValue/values/0/stringValue`.
const PLAIN: usize = 2;
const ARRAY: usize = 5;
/// The same from a pair in a list to the one around: `value/kvlistValue/values/0/key`.
const LIST: usize = 5;
/// From a field that is a value to what it holds at most: arrays of lists.
const DEEPEST_VALUE: usize = 6;

impl Label {
    const LONGEST: usize = 64;

    pub fn text(&self) -> &str {
        &self.text
    }

    /// What was noted names nothing any more.
    pub fn forget(&mut self) {
        (self.set, self.field, self.inner) = (false, None, None);
    }

    /// Whether a string called `name` may be a label or bear one.
    pub fn minds(name: &str) -> bool {
        Says::of(name) != Says::Nothing
    }

    /// Notes a label, or says whether the last one names this leaf.
    pub fn step(&mut self, leaf: &Leaf<'_>, place: &dyn Place, tables: &LabelTables) -> bool {
        match leaf.kind {
            LeafKind::PbString | LeafKind::PbVarint | LeafKind::PbFixed => return self.field(leaf, place),
            LeafKind::JsonString | LeafKind::JsonNumber | LeafKind::JsonBool => {}
            _ => return false,
        }
        match Says::of(leaf.name) {
            Says::Label if leaf.kind == LeafKind::JsonString => {
                let pointer = place.pointer();
                self.keep(leaf.text, parent_of(pointer, 1), parent_of(pointer, LIST), None);
                false
            }
            Says::Value => self.is_set(None) && parent_of(place.pointer(), 1) == self.parent,
            Says::Typed => {
                let labels = |depth| parent_of(place.pointer(), depth) == self.parent;
                self.is_set(None) && (labels(PLAIN) || labels(ARRAY))
            }
            _ => {
                if leaf.kind == LeafKind::JsonNumber
                    && let Some(label) = tables.get(leaf.name, leaf.text)
                {
                    self.keep(label.as_bytes(), parent_of(place.pointer(), 1), (0, usize::MAX), None);
                }
                false
            }
        }
    }

    /// A text names what the next field of its message holds.
    fn field(&mut self, leaf: &Leaf<'_>, place: &dyn Place) -> bool {
        let pointer = place.pointer();
        let Some(Segment::Index(number)) = pointer.last() else { return false };
        if let Some(field) = self.field.filter(|_| self.set) {
            let (digest, length) = self.parent;
            let below = pointer.len().saturating_sub(length);
            let beside = pointer.get(length) == Some(&Segment::Index(field + 1));
            if beside && below <= DEEPEST_VALUE && parent_of(pointer, below) == (digest, length) {
                // A list of pairs (field 6 of AnyValue), in which this is the first field of one.
                let is_key = matches!(
                    pointer.get(length + 1..),
                    Some([Segment::Index(6), Segment::Index(1), Segment::Index(1)])
                );
                // Or the first entry of a map beside a name: `{1: event, 2: {1: key, 2: value}}`.
                match pointer.get(length + 1) {
                    Some(Segment::Index(1)) if below == 2 && leaf.kind == LeafKind::PbString => {
                        self.note_key(leaf.text)
                    }
                    Some(Segment::Index(2)) if !self.key.is_empty() => self.adopt(parent_of(pointer, below - 1)),
                    _ => {}
                }
                if !is_key {
                    return true;
                }
            }
        }
        if leaf.kind == LeafKind::PbString {
            self.keep(leaf.text, parent_of(pointer, 1), parent_of(pointer, 4), Some(*number));
        }
        false
    }

    /// The text may be the key of a map, in which case the value that follows it is called so.
    fn note_key(&mut self, text: &[u8]) {
        self.key.clear();
        if Self::names(text, false) {
            self.key.push_str(std::str::from_utf8(text).unwrap_or_default());
        }
    }

    /// The text was a key: what stands beside it bears its name, and so will the entries that follow.
    fn adopt(&mut self, parent: (u64, usize)) {
        std::mem::swap(&mut self.text, &mut self.key);
        self.key.clear();
        self.parent = parent;
        self.field = Some(1);
        self.inner = None;
    }

    fn is_set(&self, field: Option<u64>) -> bool {
        self.set && self.field == field
    }

    /// Takes `text` for the label of the pair at `parent`; `around` is the pair whose value that pair is in, if it is in
    /// a list of pairs.
    fn keep(&mut self, text: &[u8], parent: (u64, usize), around: (u64, usize), field: Option<u64>) {
        let first = self.is_set(self.field) && self.parent == around;
        if first {
            self.outer.clear();
            self.outer.push_str(&self.text);
            self.inner = Some(around);
        } else if self.inner != Some(around) {
            self.inner = None;
        }
        self.set = Self::names(text, field.is_none());
        self.key.clear();
        self.text.clear();
        if self.inner.is_some() {
            self.text.push_str(&self.outer);
            self.text.push('.');
        }
        self.text.push_str(std::str::from_utf8(text).unwrap_or_default());
        self.parent = parent;
        self.field = field;
    }

    /// `blanks`: a label may be of several words, `Device Id`, where it is called one.
    fn names(text: &[u8], blanks: bool) -> bool {
        // Letters of any script.
        let letter = |byte: &u8| byte.is_ascii_alphabetic() || !byte.is_ascii();
        (2..=Self::LONGEST).contains(&text.len())
            && text
                .iter()
                .all(|byte| letter(byte) || byte.is_ascii_digit() || b"._-:".contains(byte) || blanks && *byte == b' ')
            && text.split(|&byte| byte == b' ').count() <= 4
            && text.iter().any(letter)
            && (text.is_ascii() || std::str::from_utf8(text).is_ok())
    }
}

/// FNV-1a over the segments, the last `without` left out, and how many they are.
fn parent_of(pointer: &[Segment<'_>], without: usize) -> (u64, usize) {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut put = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let parent = &pointer[..pointer.len().saturating_sub(without)];
    for segment in parent {
        match segment {
            Segment::Name(name) => name.bytes().for_each(&mut put),
            Segment::Index(index) => index.to_le_bytes().into_iter().for_each(&mut put),
        }
        put(b'/');
    }
    (hash, parent.len())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Label, LabelTables};
    use crate::engine::visit::{Leaf, LeafKind, Place, Visitor};
    use crate::engine::{DecodeLimits, Part, Request, Unit, walk};
    use crate::wire::head::RequestHead;

    /// What each value is called by its neighbour.
    #[derive(Default)]
    struct Named {
        label: Label,
        tables: LabelTables,
        found: Vec<String>,
    }

    impl Visitor for Named {
        fn leaf(&mut self, leaf: &Leaf<'_>, place: &dyn Place) {
            if leaf.kind != LeafKind::JsonName && self.label.step(leaf, place, &self.tables) {
                self.found.push(format!("{} = {}", self.label.text(), String::from_utf8_lossy(leaf.text)));
            }
        }

        fn unread(&mut self, _: &dyn Place, _: &[u8], _: &'static str) {}
    }

    fn named(kind: &str, body: &[u8]) -> Vec<String> {
        let head = RequestHead::from_parts("POST", "/", [(&b"content-type"[..], kind.as_bytes())]);
        let request = Request { host: "telemetry.example.com".into(), port: 443, secure: true, head };
        let part = Part::Document(Bytes::copy_from_slice(body));
        let table = [("82".to_owned(), "os_name".to_owned())].into();
        let tables = LabelTables::new([[("acme_key".to_owned(), table)].into()].iter());
        let mut named = Named { tables, ..Named::default() };
        walk(&Unit { request: &request, part }, &DecodeLimits::default(), &mut named);
        named.found
    }

    #[test]
    fn pairs_of_json_name_their_values() {
        let body = br#"{"resource":{"attributes":[
            {"key":"host.name","value":{"stringValue":"ws17"}},
            {"key":"not a name, a sentence","value":{"stringValue":"x"}},
            {"key":"process.command_args","value":{"arrayValue":{"values":[{"stringValue":"acme"},{"stringValue":"-p"}]}}},
            {"key":"os","value":{"kvlistValue":{"values":[
                {"key":"type","value":{"stringValue":"linux"}},{"key":"version","value":{"stringValue":"6.8"}}]}}},
            {"key":"cores","value":{"intValue":"8"}}]},
            "flat":[{"name":"tz","value":"Asia/Shanghai"},{"acme_key":82,"value":"linux"},{"acme_key":83,"value":"x"}],
            "value":"unnamed"}"#;
        let expected = [
            "host.name = ws17",
            "process.command_args = acme",
            "process.command_args = -p",
            "os.type = linux",
            "os.version = 6.8",
            "cores = 8",
            "tz = Asia/Shanghai",
            "os_name = linux",
        ];
        assert_eq!(named("application/json", body), expected);
    }

    fn pb(number: u8, value: &[u8]) -> Vec<u8> {
        // Two bytes of length, whether they are needed or not.
        [&[number << 3 | 2, value.len() as u8 | 0x80, (value.len() >> 7) as u8], value].concat()
    }

    #[test]
    fn pairs_of_protobuf_name_their_values() {
        let text = |value: &str| pb(1, value.as_bytes());
        let pair = |key: &str, value: &[u8]| pb(1, &[text(key), pb(2, value)].concat());
        let list = [pb(1, &text("acme")), pb(1, &text("--print"))].concat();
        let pairs = [pair("type", &text("linux")), pair("version", &text("6.8.0-45"))].concat();
        let attributes = [
            pair("host.name", &text("ws17")),
            pair("cpu.cores", &[0x18, 8]),
            pair("a sentence, no name", &text("left alone")),
            pair("process.command_args", &pb(5, &list)),
            pair("os", &pb(6, &pairs)),
            pair("tz_name", &text("Asia/Shanghai")),
            pair("plain", b"a value in a map"),
        ];
        let body = pb(1, &pb(1, &attributes.concat()));
        let expected = [
            "host.name = ws17",
            "cpu.cores = 8",
            "process.command_args = acme",
            "process.command_args = --print",
            "os.type = linux",
            "os.version = 6.8.0-45",
            "tz_name = Asia/Shanghai",
            "plain = a value in a map",
        ];
        assert_eq!(named("application/x-protobuf", &body), expected);

        // A map beside a name: its keys name their values, and the name before it those of other fields.
        let entry = |key: &str, value: &str| pb(2, &[text(key), pb(2, &text(value))].concat());
        let event = [text("agent.start"), entry("os", "linux"), entry("prompt_hash", "9f86d081")].concat();
        let expected = ["agent.start = os", "os = linux", "prompt_hash = 9f86d081"];
        assert_eq!(named("application/x-protobuf", &pb(1, &event)), expected);
        assert!(named("application/x-protobuf", &[text("tz"), text("UTC"), pb(7, b"bash")].concat()).is_empty());
    }
}

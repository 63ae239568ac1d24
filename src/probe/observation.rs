//! What one run sent, as places and their values: the same whatever the bytes were packed in.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::visit::{self, LeafKind, Place, Visitor};
use crate::engine::{DecodeLimits, Evidence, Part, Request, Unit, walk};
use crate::report::place::{path_template, pattern};
use crate::session::flow::Exchange;

/// Places of one request beyond which it is read no further. What is left out is counted.
const MOST_LEAVES: usize = 100_000;

/// All requests of one run, in the order in which they began.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Observation {
    pub requests: Vec<Seen>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Seen {
    pub host: String,
    pub method: String,
    /// Without the query.
    pub path: String,
    pub template: String,
    pub leaves: Vec<Leaf>,
    pub bytes_sent: u64,
    pub bytes_read: u64,
    /// Places beyond the most that are kept.
    #[serde(default)]
    pub beyond: u64,
}

/// One value, or one trait of how the request is spelled.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Leaf {
    pub aspect: Aspect,
    /// As findings spell places.
    #[serde(with = "shared")]
    pub at: Arc<str>,
    /// The same with positions in lists left open.
    #[serde(with = "shared")]
    pub pattern: Arc<str>,
    #[serde(with = "shared")]
    pub text: Arc<str>,
}

/// Texts that are shared in memory and plain in files.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(text)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
        String::deserialize(deserializer).map(Arc::from)
    }
}

/// What of a place is looked at.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aspect {
    Value,
    /// Names of the header fields in their order, lower case.
    HeaderOrder,
    /// The same as they are spelled.
    HeaderCase,
    /// What stands between the names of header fields and their values, and after those.
    HeaderSpace,
    /// Members of an object in their order.
    KeyOrder,
    /// White space between the tokens of a document.
    JsonSpace,
    /// Ways in which characters are escaped.
    Escapes,
}

/// Keeps equal texts once.
#[derive(Default)]
pub struct Texts(HashSet<Arc<str>>);

impl Texts {
    pub fn keep(&mut self, text: &str) -> Arc<str> {
        match self.0.get(text) {
            Some(known) => known.clone(),
            None => {
                let kept: Arc<str> = text.into();
                self.0.insert(kept.clone());
                kept
            }
        }
    }

    /// `observation` with its texts shared.
    pub fn share(&mut self, mut observation: Observation) -> Observation {
        for leaf in observation.requests.iter_mut().flat_map(|seen| &mut seen.leaves) {
            leaf.at = self.keep(&leaf.at);
            leaf.pattern = self.keep(&leaf.pattern);
            leaf.text = self.keep(&leaf.text);
        }
        observation
    }
}

/// Reads `exchanges`. `secrets` finds the credentials of a request: they are masked wherever they stand.
pub fn observe(
    exchanges: &[Exchange],
    texts: &mut Texts,
    secrets: impl Fn(&Exchange, &Arc<Request>) -> Vec<String>,
) -> Observation {
    let mut requests = Vec::new();
    for exchange in exchanges {
        let Ok(request) = exchange.request() else { continue };
        let secrets = secrets(exchange, &request);
        requests.push(seen(exchange, &request, &secrets, texts));
    }
    Observation { requests }
}

fn seen(exchange: &Exchange, request: &Request, secrets: &[String], texts: &mut Texts) -> Seen {
    let target = request.head.path_and_query();
    let path = target.split(['?', '#']).next().unwrap_or(&target).to_owned();
    let mut reader = Reader { secrets, texts, leaves: Vec::new(), orders: BTreeMap::new(), beyond: 0 };
    reader.head(request.head.raw());
    if let Some((_, query)) = target.split_once('?') {
        reader.percent("query!form:", query.as_bytes());
    }
    let (mut bytes_sent, mut bytes_read) = (0, 0);
    for part in exchange.parts() {
        let root = match &part {
            Part::Message { index, .. } => format!("ws:/{index}"),
            _ => "body".to_owned(),
        };
        let unit = Unit { request, part };
        let before = reader.leaves.len();
        let decoded = walk(&unit, &DecodeLimits::default(), &mut reader);
        (bytes_sent, bytes_read) = (bytes_sent + decoded.bytes_sent, bytes_read + decoded.bytes_read);
        if let Some(layer) = decoded.body.and_then(|body| decoded.layers.get(body.0 as usize)) {
            // The document itself has no place of its own in the walk: that of its first value, up to where it begins.
            let first = reader.leaves[before..].iter().find(|leaf| leaf.at.starts_with(&root));
            let at = first.and_then(|leaf| leaf.at.find("!json:").map(|end| leaf.at[..end].to_owned() + "!json:"));
            let form = first.and_then(|leaf| leaf.at.find("!form:").map(|end| leaf.at[..end].to_owned() + "!form:"));
            match form {
                Some(form) => reader.percent(&form, &layer.content),
                None => reader.spelling(&at.unwrap_or(root), &layer.content),
            }
        }
    }
    let orders = std::mem::take(&mut reader.orders);
    for (object, names) in orders.iter().filter(|(_, names)| names.len() > 1) {
        reader.add(Aspect::KeyOrder, object, &names.join(SEPARATOR));
    }
    Seen {
        host: request.host.clone(),
        method: request.head.method().to_owned(),
        template: path_template(&path),
        path,
        leaves: reader.leaves,
        bytes_sent,
        bytes_read,
        beyond: reader.beyond,
    }
}

/// Between the names of an order.
pub const SEPARATOR: &str = "\u{1f}";

/// What says nothing of its own: the length follows from the rest.
const DERIVED: [&str; 1] = ["header:/content-length"];

struct Reader<'a> {
    secrets: &'a [String],
    texts: &'a mut Texts,
    leaves: Vec<Leaf>,
    /// By object, its members in their order.
    orders: BTreeMap<String, Vec<String>>,
    beyond: u64,
}

impl Reader<'_> {
    fn add(&mut self, aspect: Aspect, at: &str, text: &str) {
        if self.leaves.len() >= MOST_LEAVES {
            self.beyond += 1;
            return;
        }
        let mut shown = std::borrow::Cow::Borrowed(text);
        for secret in self.secrets {
            if shown.contains(secret.as_str()) {
                shown = shown.replace(secret.as_str(), &Evidence::of(secret).to_string()).into();
            }
        }
        let pattern = pattern(at);
        self.leaves.push(Leaf {
            aspect,
            at: self.texts.keep(at),
            pattern: self.texts.keep(&pattern),
            text: self.texts.keep(&shown),
        });
    }

    fn head(&mut self, raw: &[u8]) {
        let mut spaces = BTreeSet::new();
        let mut names = Vec::new();
        for line in raw.split(|&byte| byte == b'\n').skip(1) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let Some(colon) = memchr::memchr(b':', line) else { continue };
            names.push(String::from_utf8_lossy(&line[..colon]).into_owned());
            let value = &line[colon + 1..];
            let before = value.len() - value.trim_ascii_start().len();
            let after = value.trim_ascii_start().len() - value.trim_ascii().len();
            let after = &value[value.len() - after..];
            spaces.insert(format!("{:?}{:?}", lossy(&value[..before]), lossy(after)));
        }
        let lower: Vec<String> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        self.add(Aspect::HeaderOrder, "head", &lower.join(SEPARATOR));
        self.add(Aspect::HeaderCase, "head", &names.join(SEPARATOR));
        self.add(Aspect::HeaderSpace, "head", &spaces.into_iter().collect::<Vec<_>>().join(" "));
    }

    /// Notes the field of a form or a cookie that `at` is in, by its name there: the shortest ones are no leaves.
    fn field(&mut self, at: &str) {
        for step in ["!form:/", "!cookie:/"] {
            let Some(start) = at.find(step) else { continue };
            let list = &at[..start + step.len() - 1];
            let name = at[start + step.len()..].split(['!', '@']).next().unwrap_or("");
            if self.orders.get(list).and_then(|names| names.last()).is_none_or(|last| last != name) {
                self.ordered(list, name.as_bytes());
            }
        }
    }

    /// Notes the next name of an object or a list of fields.
    fn ordered(&mut self, list: &str, name: &[u8]) {
        // Arguments and maps keyed by ids make orders that nobody compares.
        let names = self.orders.entry(list.to_owned()).or_default();
        if names.len() < 256 {
            names.push(lossy(name).into_owned());
        }
    }

    /// Ways of percent-encoding in the fields of a form.
    fn percent(&mut self, at: &str, fields: &[u8]) {
        self.add(Aspect::Escapes, at, &percent_escapes(fields));
    }

    /// White space and escapes of a document.
    fn spelling(&mut self, at: &str, content: &[u8]) {
        if let Some((space, escapes)) = spelling(content) {
            self.add(Aspect::JsonSpace, at, &space);
            self.add(Aspect::Escapes, at, &escapes);
        }
    }
}

fn lossy(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// The kinds of white space that stand between tokens, each with where, and the kinds of escapes. None of what
/// is no JSON document.
fn spelling(content: &[u8]) -> Option<(String, String)> {
    let first = content.iter().find(|byte| !byte.is_ascii_whitespace())?;
    if !matches!(first, b'{' | b'[') {
        return None;
    }
    let mut spaces: BTreeSet<(&'static str, String)> = BTreeSet::new();
    let mut escapes: BTreeSet<&'static str> = BTreeSet::new();
    let mut before = b'^';
    let mut at = 0;
    loop {
        // A string that is not closed ends where the document does.
        at = at.min(content.len());
        let start = at;
        while content.get(at).is_some_and(u8::is_ascii_whitespace) {
            at += 1;
        }
        let next = content.get(at).copied().unwrap_or(b'$');
        if let Some(place) = between(before, next) {
            // How deep an indentation is follows from where it stands.
            let run = lossy(&content[start..at]);
            let run = if run.contains('\n') { run.trim_end_matches(' ').to_owned() + "…" } else { run.into_owned() };
            spaces.insert((place, run));
        }
        if at >= content.len() {
            break;
        }
        at += 1;
        if next == b'"' {
            while let Some(&inside) = content.get(at).filter(|&&inside| inside != b'"') {
                if inside == b'\\' {
                    escapes.extend(escape(content, at));
                    at += 1;
                }
                at += 1;
            }
            at += 1;
        }
        before = next;
    }
    let shown = |(place, run): &(&str, String)| format!("{place}{run:?}");
    let spaces: Vec<String> = spaces.iter().map(shown).collect();
    Some((spaces.join(" "), escapes.into_iter().collect::<Vec<_>>().join(" ")))
}

/// Names the place between two tokens; none between those of one word, or of what is empty.
fn between(before: u8, next: u8) -> Option<&'static str> {
    match (before, next) {
        (b'{' | b'[', b'}' | b']') => None,
        (b'^', _) => Some("^"),
        (_, b'$') => Some("$"),
        (b':', _) => Some(":"),
        (_, b':') => Some("<:"),
        (b',', _) => Some(","),
        (_, b',') => Some("<,"),
        (b'{' | b'[', _) => Some("{"),
        (_, b'}' | b']') => Some("}"),
        _ => None,
    }
}

/// The way in which a character is escaped, where there is another one; which characters there are, the values tell.
fn escape(content: &[u8], at: usize) -> Option<&'static str> {
    match content.get(at + 1)? {
        b'/' => Some("\\/"),
        b'u' => match content.get(at + 2..at + 6)? {
            hex if hex.iter().any(u8::is_ascii_uppercase) => Some("\\uABCD"),
            hex if hex.iter().any(u8::is_ascii_lowercase) => Some("\\uabcd"),
            // Control characters have no other spelling.
            [b'0', b'0', b'0' | b'1', _] => None,
            _ => Some("\\u0123"),
        },
        _ => None,
    }
}

/// The ways in which fields are percent-encoded, where there is another one.
fn percent_escapes(fields: &[u8]) -> String {
    let mut ways: BTreeSet<&'static str> = BTreeSet::new();
    for (at, &byte) in fields.iter().enumerate() {
        let code = || fields.get(at + 1..at + 3).filter(|code| code.iter().all(u8::is_ascii_hexdigit));
        match (byte, if byte == b'%' { code() } else { None }) {
            (b'+', _) => _ = ways.insert("+"),
            (b'%', Some(b"20")) => _ = ways.insert("%20"),
            (b'%', Some(code)) if code.iter().any(u8::is_ascii_uppercase) => _ = ways.insert("%2F"),
            (b'%', Some(code)) if code.iter().any(u8::is_ascii_lowercase) => _ = ways.insert("%2f"),
            _ => {}
        }
    }
    ways.into_iter().collect::<Vec<_>>().join(" ")
}

impl Visitor for Reader<'_> {
    fn leaf(&mut self, leaf: &visit::Leaf<'_>, place: &dyn Place) {
        if leaf.kind == LeafKind::Method {
            return;
        }
        let at = place.location().to_string();
        self.field(&at);
        if leaf.kind == LeafKind::FieldName {
            return;
        }
        if leaf.kind == LeafKind::JsonName {
            self.ordered(at.rfind('/').map_or(&at[..], |end| &at[..end]), leaf.text);
            return;
        }
        if !DERIVED.contains(&at.as_str()) {
            self.add(Aspect::Value, &at, &lossy(leaf.text));
        }
    }

    fn around(&mut self, value: &visit::Leaf<'_>, place: &dyn Place) {
        let at = place.location().to_string() + "!json:";
        self.spelling(&at, value.text);
    }

    fn unread(&mut self, _: &dyn Place, _: &[u8], _: &'static str) {}
}

/// Names of members that say which of its kind an element of a list is, the surest first.
const NAMING: [&str; 12] =
    ["event_name", "eventName", "event", "name", "key", "metric", "title", "kind", "type", "role", "op", "id"];
/// The longest name that an element is known by.
const LONGEST_NAMING: usize = 64;

/// By the place of an element of a list, the name that it is known by.
pub fn named_elements(seen: &Seen) -> HashMap<&str, &str> {
    let mut named: HashMap<&str, (usize, &str)> = HashMap::new();
    for leaf in seen.leaves.iter().filter(|leaf| leaf.aspect == Aspect::Value) {
        let Some((element, rest)) = innermost_element(&leaf.at) else { continue };
        let mut names = rest.trim_start_matches('/').split('/');
        let (Some(first), second, None) = (names.next(), names.next(), names.next()) else { continue };
        let name = second.unwrap_or(first);
        let Some(rank) = NAMING.iter().position(|known| *known == name) else { continue };
        let rank = rank * 2 + usize::from(second.is_some());
        if leaf.text.is_empty() || leaf.text.len() > LONGEST_NAMING || crate::report::place::is_id(&leaf.text) {
            continue;
        }
        let best = named.entry(element).or_insert((rank, &leaf.text));
        if rank < best.0 {
            *best = (rank, &leaf.text);
        }
    }
    named.into_iter().map(|(element, (_, name))| (element, name)).collect()
}

/// The place of the innermost element of a list that `at` is in, and what follows.
fn innermost_element(at: &str) -> Option<(&str, &str)> {
    let from = at.rfind('!').map_or(0, |from| from + 1);
    elements(at)
        .last()
        .filter(|end| *end > from)
        .map(|end| (&at[..end], &at[end..]))
        .filter(|(_, rest)| !rest.is_empty())
}

/// Where the places of the elements of lists end in `at`, outermost first.
pub fn elements(at: &str) -> impl Iterator<Item = usize> + '_ {
    let bytes = at.as_bytes();
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let slash = from + memchr::memchr(b'/', bytes.get(from..)?)?;
            let digits = bytes[slash + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            from = slash + 1 + digits;
            let ends = matches!(bytes.get(from), None | Some(b'/' | b'!'));
            // Segments of a path, parts of a token and fields of a message bear numbers as names.
            let step = &at[at[..slash].rfind('!').map_or(0, |at| at + 1)..slash];
            let named = ["path:", "jwt:", "pb:"].iter().any(|label| step.starts_with(label));
            if digits > 0 && ends && !named {
                return Some(from);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_lists_are_found_in_places() {
        let ends = |at: &'static str| elements(at).map(|end| &at[..end]).collect::<Vec<_>>();
        assert_eq!(
            ends("body!json:/events/3/meta!b64!json:/list/0/a"),
            ["body!json:/events/3", "body!json:/events/3/meta!b64!json:/list/0"]
        );
        assert_eq!(ends("body!lines:/7!json:/a"), ["body!lines:/7"]);
        assert!(
            ends("path:/3").is_empty() && ends("body!pb:/1/5.3/7").is_empty() && ends("body!json:/a1/b2").is_empty()
        );
        assert_eq!(innermost_element("body!json:/events/3/name"), Some(("body!json:/events/3", "/name")));
        assert_eq!(innermost_element("body!json:/events/3/meta!json:/name"), None);
    }

    #[test]
    fn white_space_and_escapes_are_told_by_kind() {
        let (one, none) = spelling(br#"{"a":1,"b":[true,"x"]}"#).unwrap();
        let (again, _) = spelling(br#"{"c":[null,"y"],"d":22.5}"#).unwrap();
        assert_eq!((one, none.as_str()), (again.clone(), ""));
        let (spaced, _) = spelling(br#"{"c":[null,"y"],"d": 22.5}"#).unwrap();
        assert_ne!(again, spaced);
        let (_, escapes) = spelling("{\"a\":\"\\u00e9 é \\/\"}".as_bytes()).unwrap();
        assert_eq!(escapes, "\\/ \\uabcd");
        let (deep, _) = spelling(b"{\n  \"a\": {\n    \"b\": 1\n  }\n}").unwrap();
        let (deeper, _) = spelling(b"{\n  \"a\": {\n    \"b\": 1,\n    \"c\": 1\n  }\n}").unwrap();
        assert!(deep != deeper, "a comma with a line end is new");
        assert!(spelling(b"a=1&b=2").is_none());
        for torn in ["{\"a", "{\"a\\", "{\"a\":1,", "[", "{\"a\\u00"] {
            assert!(spelling(torn.as_bytes()).is_some());
        }
    }
}

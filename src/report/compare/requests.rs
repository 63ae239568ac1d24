//! Requests side by side, leaf by leaf. Several of one side are repeats: what varies among them is noise.

mod matched;
mod render;

use aho_corasick::{AhoCorasick, MatchKind};
use serde::Serialize;

use self::matched::{Repeated, aligned, by_endpoint};
use super::What;
use super::noise::{self, Learned, Noise};
use super::tree::{self, Leaf, Node};
use super::words::{self, CodePoints, Piece};
use crate::engine::visit::{LeafKind, Place, Visitor};
use crate::engine::{DecodeLimits, Evidence, Part, Unit, visit, walk};
use crate::report::place::path_template;
use crate::session::raw::Captured;

/// One request of a side.
pub struct Request {
    /// The file it came from.
    pub name: String,
    pub captured: Captured,
    /// One message of a WebSocket in place of the body.
    pub message: Option<Part>,
    /// Values that are masked wherever they stand.
    pub secrets: Vec<String>,
}

/// All requests of two sides, endpoint by endpoint.
#[derive(Debug, Serialize)]
pub struct Comparison {
    pub schema: u32,
    pub r#type: &'static str,
    pub requests: Vec<Pair>,
}

/// The requests to one endpoint.
#[derive(Debug, Serialize)]
pub struct Pair {
    pub endpoint: String,
    /// The file that stands for each side; none where the side has no such request.
    pub a: Option<String>,
    pub b: Option<String>,
    /// How many each side has.
    pub repeats: (usize, usize),
    /// Leaves that are the same.
    pub same: usize,
    pub changes: Vec<Change>,
    /// The bodies differ in bytes that no value holds: white space, order of members, spelling.
    pub spelling: bool,
}

#[derive(Debug, Serialize)]
pub struct Change {
    pub what: What,
    /// Where it stands in the second request; of what is gone, in the first.
    pub location: String,
    /// Where it stood, if that is elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    pub a: Option<String>,
    pub b: Option<String>,
    /// Why it varies by itself, where it does.
    pub noise: Option<Noise>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<Piece>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub code_points: Vec<CodePoints>,
}

impl Comparison {
    pub fn of(a: &[Request], b: &[Request]) -> Self {
        let pairs = match (a, b) {
            // Two requests are compared whatever they are.
            ([one], [other]) => vec![(vec![one], vec![other])],
            _ => by_endpoint(a, b),
        };
        let requests = pairs.into_iter().map(|(a, b)| pair(&a, &b)).collect();
        Self { schema: 1, r#type: "diff of requests", requests }
    }

    /// All requests of two captures, one by one: those to the same endpoint are matched by likeness, in order. Several captures
    /// of one side are repeats of the first: what varies among them is noise. Ids and clocks are known by their form too.
    pub fn of_captures(a: &[Vec<Request>], b: &[Vec<Request>]) -> Self {
        let (left, right) = (Repeated::of(a), Repeated::of(b));
        let mut requests = Vec::new();
        for (one, other) in aligned(left.first, right.first) {
            let lists = (left.repeats(one), right.repeats(other));
            let both = one.is_some() && other.is_some();
            let pair = pair(&lists.0, &lists.1);
            requests.push(if both { pair.with_noise_by_form() } else { pair });
        }
        Self { schema: 1, r#type: "diff of requests", requests }
    }

    /// Whether the second side has anything that the first has not, noise aside.
    pub fn has_new(&self) -> bool {
        let fresh = |change: &Change| change.what == What::New && change.noise.is_none();
        self.requests.iter().any(|pair| pair.a.is_none() || pair.changes.iter().any(fresh))
    }
}

impl Request {
    fn endpoint(&self) -> String {
        let request = &self.captured.request;
        let target = request.head.path_and_query();
        let path = target.split(['?', '#']).next().unwrap_or(&target);
        format!("{} {} {}", request.head.method(), request.host, path_template(path))
    }

    /// The endpoint as it is printed.
    pub(crate) fn shown_endpoint(&self) -> String {
        Masks::of(&self.secrets).applied(&self.endpoint())
    }

    /// What is compared beside the head.
    fn body(&self) -> &[u8] {
        match &self.message {
            Some(Part::Message { bytes, .. }) => bytes,
            _ => self.captured.body(),
        }
    }

    fn tree(&self) -> Node {
        let mut leaves = Leaves { masks: Masks::of(&self.secrets), root: Node::default() };
        let part = self.message.clone().unwrap_or_else(|| self.captured.part());
        let unit = Unit { request: &self.captured.request, part };
        walk(&unit, &DecodeLimits::default(), &mut leaves);
        leaves.root.seal();
        leaves.root
    }

    /// The names of the fields as they are spelled, in order.
    fn field_names(&self) -> Vec<String> {
        let head = self.captured.request.head.raw();
        let names = head.split(|&byte| byte == b'\n').skip(1).filter_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            Some(String::from_utf8_lossy(&line[..colon]).into_owned())
        });
        names.collect()
    }
}

struct Leaves {
    masks: Masks,
    root: Node,
}

impl Visitor for Leaves {
    fn leaf(&mut self, leaf: &visit::Leaf<'_>, place: &dyn Place) {
        // A member's name is the place of its value.
        if leaf.kind == LeafKind::JsonName {
            return;
        }
        let location = place.location();
        let shown = self.masks.applied(&String::from_utf8_lossy(leaf.text));
        let named = self.masks.applied(&location.to_string());
        self.root.add(&location, Leaf { location: named, raw: leaf.text.to_vec(), shown });
    }

    fn unread(&mut self, _: &dyn Place, _: &[u8], _: &'static str) {}
}

/// Values that are shown by their evidence alone.
struct Masks(Option<AhoCorasick>);

/// What is shorter is masked where it stands as a word: within other words it says nothing.
const SHORT_VALUE: usize = 4;

impl Masks {
    fn of(values: &[String]) -> Self {
        let values: Vec<&String> = values.iter().filter(|value| !value.is_empty()).collect();
        // A value that holds another is masked first, or what is left of it would show.
        let automaton = || AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(values.iter());
        Self((!values.is_empty()).then(automaton).and_then(Result::ok))
    }

    fn applied(&self, text: &str) -> String {
        let Some(automaton) = &self.0 else { return text.to_owned() };
        let word = |found: char| found.is_alphanumeric();
        let mut out = String::with_capacity(text.len());
        automaton.replace_all_with(text, &mut out, |found, value, out| {
            let within = text[..found.start()].ends_with(word) || text[found.end()..].starts_with(word);
            if value.len() < SHORT_VALUE && within {
                out.push_str(value);
            } else {
                out.push_str(&Evidence::of(value).to_string());
            }
            true
        });
        out
    }
}

fn pair(a: &[&Request], b: &[&Request]) -> Pair {
    let name = |side: &[&Request]| side.first().map(|request| request.name.clone());
    let mut pair = Pair {
        endpoint: a.first().or(b.first()).map(|request| request.shown_endpoint()).unwrap_or_default(),
        a: name(a),
        b: name(b),
        repeats: (a.len(), b.len()),
        same: 0,
        changes: Vec::new(),
        spelling: false,
    };
    let (Some(first), Some(second)) = (a.first(), b.first()) else { return pair };
    let (left, right) = (first.tree(), second.tree());
    let (a_knows, b_knows) = (learned(&left, first, a), learned(&right, second, b));
    let mut missing = 0;
    tree::compare(&left, &right, &mut |(a, b)| {
        missing += usize::from(a.is_some());
        pair.changes.extend(change(a, b, &a_knows, &b_knows));
    });
    if first.body() != second.body() {
        let length = |change: &&mut Change| change.location == "header:/content-length";
        pair.changes.iter_mut().filter(length).for_each(|change| change.noise = Some(Noise::Length));
    }
    pair.same = left.count().saturating_sub(missing);
    if let Some((a, b)) = order(first, second) {
        let leaf = |shown: String| Leaf { location: "head".into(), raw: shown.clone().into_bytes(), shown };
        pair.changes.extend(change(Some(&leaf(a)), Some(&leaf(b)), &a_knows, &b_knows));
    }
    let in_body = |change: &Change| change.location.starts_with("body") || change.location.starts_with("ws");
    pair.spelling = first.body() != second.body() && !pair.changes.iter().any(in_body);
    pair
}

fn learned(root: &Node, first: &Request, side: &[&Request]) -> Learned {
    let mut learned = Learned::default();
    for repeat in side.iter().skip(1) {
        let other = repeat.tree();
        tree::compare(root, &other, &mut |pair| match pair {
            (Some(a), Some(b)) => {
                learned.changed(&a.location, &a.shown, &b.shown, &words::compare(&a.shown, &b.shown));
            }
            (Some(a), None) => learned.absent(&a.location),
            (None, Some(b)) => learned.present(&b.location),
            (None, None) => {}
        });
        if let Some((a, b)) = order(first, repeat) {
            learned.changed("head", &a, &b, &words::compare(&a, &b));
        }
    }
    learned
}

/// The names of the fields that both have, where their order or spelling differs.
fn order(a: &Request, b: &Request) -> Option<(String, String)> {
    let (a, b) = (a.field_names(), b.field_names());
    let common = |names: &[String], others: &[String]| -> Vec<String> {
        let known = |name: &&String| others.iter().any(|other| other.eq_ignore_ascii_case(name));
        names.iter().filter(known).cloned().collect()
    };
    let (a, b) = (common(&a, &b), common(&b, &a));
    (a != b).then(|| (a.join(" "), b.join(" ")))
}

fn change(a: Option<&Leaf>, b: Option<&Leaf>, a_knows: &Learned, b_knows: &Learned) -> Option<Change> {
    let shown = |leaf: Option<&Leaf>| leaf.map(|leaf| leaf.shown.clone());
    let mut change = Change {
        what: What::Changed,
        location: b.or(a)?.location.clone(),
        from: None,
        a: shown(a),
        b: shown(b),
        noise: None,
        words: Vec::new(),
        code_points: Vec::new(),
    };
    match (a, b) {
        (Some(a), Some(b)) => {
            change.from = (a.location != b.location).then(|| a.location.clone());
            change.words = words::compare(&a.shown, &b.shown);
            change.code_points = words::code_points(&change.words);
            change.noise = noise::of_change((a_knows, b_knows), (&a.location, &b.location), &mut change.words);
        }
        (Some(a), None) => {
            change.what = What::Gone;
            change.noise = noise::of_presence(a_knows, b_knows, &a.location);
        }
        (None, Some(b)) => {
            change.what = What::New;
            change.noise = noise::of_presence(b_knows, a_knows, &b.location);
        }
        (None, None) => return None,
    }
    Some(change)
}

impl Pair {
    /// Whether nothing differs but what varies by itself.
    fn is_same(&self) -> bool {
        let both = self.a.is_some() && self.b.is_some();
        both && !self.spelling && self.changes.iter().all(|change| change.noise.is_some())
    }

    fn with_noise_by_form(mut self) -> Self {
        for change in self.changes.iter_mut().filter(|change| change.noise.is_none()) {
            if let (Some(a), Some(b)) = (&change.a, &change.b) {
                change.noise = noise::by_form(a, b);
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::compare::Look;

    fn request(body: &str) -> Request {
        with_head("", body)
    }

    fn with_head(fields: &str, body: &str) -> Request {
        let text = format!(
            "POST /v1/x?tz=UTC HTTP/1.1\nHost: api.example.com\n{fields}Content-Type: application/json\n\n{body}"
        );
        let captured = Captured::read(text.into_bytes().into()).expect("a request");
        Request { name: "a".into(), captured, message: None, secrets: Vec::new() }
    }

    fn told(a: &[Request], b: &[Request]) -> Vec<String> {
        let comparison = Comparison::of(a, b);
        let told = |change: &Change| {
            let noise = change.noise.map_or(String::new(), |noise| format!(" ({})", noise.name()));
            format!("{} {}{noise}", change.what.name(), change.location)
        };
        comparison.requests.iter().flat_map(|pair| &pair.changes).map(told).collect()
    }

    #[test]
    fn an_element_that_is_put_in_does_not_move_the_others() {
        let a =
            request(r#"{"messages":[{"role":"user","text":"hello there"},{"role":"assistant","text":"good day"}]}"#);
        let b = request(
            r#"{"messages":[{"role":"system","text":"be kind to all"},{"role":"user","text":"hello there"},
                {"role":"assistant","text":"good evening"}]}"#,
        );
        let expected =
            ["new body!json:/messages/0/role", "new body!json:/messages/0/text", "changed body!json:/messages/2/text"];
        assert_eq!(told(&[a], &[b]), expected);
    }

    #[test]
    fn encodings_are_seen_through_and_members_have_no_order() {
        let a = request(r#"{"a":"1","inner":"{\"id\":1,\"zone\":\"UTC\"}"}"#);
        let b = request(r#"{"inner":"{\"id\":1,\"zone\":\"CET\"}","a":"1"}"#);
        assert_eq!(told(&[a], &[b]), ["changed body!json:/inner!json:/zone"]);
        let pair = &Comparison::of(&[request(r#"{"a":1,"b":2}"#)], &[request("{\"b\": 2,\"a\":1}")]).requests[0];
        assert!(pair.spelling && pair.changes.is_empty());
    }

    #[test]
    fn headers_and_the_query_are_compared_too_and_their_order_is_told() {
        let a = with_head("X-A: 1\nX-B: 2\n", "{}");
        let b = with_head("X-B: 2\nx-a: 3\n", "{}");
        assert_eq!(told(&[a], &[b]), ["changed header:/x-a", "changed head"]);
    }

    #[test]
    fn what_varies_among_repeats_is_noise_and_what_else_differs_is_not() {
        let side = |zone: &str, extra: &str| -> Vec<Request> {
            [("9f86d081-884c-4d65-9a2f-eaa0c55ad015", 1), ("1b4e28ba-2fa1-41d2-883f-0016d3cca427", 2)]
                .map(|(id, n)| {
                    let at = 1_795_736_833_250_u64 + n * 6000;
                    request(&format!(
                        r#"{{"id":"{id}","at":{at},"n":{n},"text":"call {n} of today in {zone} zone"{extra}}}"#
                    ))
                })
                .into()
        };
        let mut a = side("the", "");
        let mut b = side("a", r#","device":"x""#);
        // Another pair of ids, times and numbers than those that were learned from.
        a.reverse();
        b.swap(0, 1);
        b.reverse();
        assert_eq!(
            told(&a, &b),
            [
                "changed body!json:/id (id)",
                "changed body!json:/at (clock)",
                "changed body!json:/n (varies)",
                "changed body!json:/text",
                "new body!json:/device"
            ]
        );
        let comparison = Comparison::of(&a, &b);
        let text = comparison.requests[0].changes.iter().find(|change| change.location.ends_with("/text")).unwrap();
        let noisy: Vec<&str> = text.words.iter().filter(|piece| piece.noise).map(|piece| piece.text.as_str()).collect();
        assert_eq!(noisy, ["2", "1"]);
        assert!(comparison.has_new());
    }

    #[test]
    fn requests_of_sessions_are_matched_by_likeness() {
        let turn = |id: &str, n: usize| {
            let messages: Vec<String> = (0..n).map(|m| format!(r#"{{"role":"user","text":"question {m}"}}"#)).collect();
            request(&format!(r#"{{"id":"{id}","messages":[{}]}}"#, messages.join(",")))
        };
        let (x, y) = ("9f86d081-884c-4d65-9a2f-eaa0c55ad015", "1b4e28ba-2fa1-41d2-883f-0016d3cca427");
        let a = [turn(x, 1), turn(x, 9), turn(x, 20)];
        let b = [turn(y, 9), turn(y, 20), turn(y, 40)];
        let text = Comparison::of_captures(&[a.into()], &[b.into()]).render(Look::default());
        assert!(text.contains("  gone · 1 request\n") && text.contains("  new · 1 request\n"), "{text}");
        assert!(text.contains("2 requests the same, noise aside"), "{text}");
    }

    #[test]
    fn a_credential_is_masked_and_its_change_still_seen() {
        let one = |secret: &str| {
            let mut request = request(&format!(r#"{{"key":"{secret}"}}"#));
            request.secrets = vec![secret.to_owned()];
            request
        };
        let comparison = Comparison::of(&[one("sk-invented-0123456789")], &[one("sk-invented-9876543210")]);
        let text = comparison.render(Look::default());
        assert!(text.contains("another value, masked alike"), "{text}");
        assert!(!text.contains("invented-"), "{text}");
    }

    #[test]
    fn look_alikes_are_spelled_out() {
        let a = request(r#"{"system":"The user's date is set"}"#);
        let b = request("{\"system\":\"The user\u{2019}s date is set\"}");
        let text = Comparison::of(&[a], &[b]).render(Look::default());
        assert!(text.contains("The user[-'-]{+\u{2019}+}s date is set") && text.contains("U+0027 -> U+2019"), "{text}");
    }
}

//! A JSON document as spans: where each value stands, and what is inside what.

use crate::engine::decode::{json_blank, json_string, json_unescape, json_value_end};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sort {
    Object,
    Array,
    String,
    Other,
}

/// A value. Spans of strings and names are what stands between the quotes.
#[derive(Clone, Copy)]
pub(super) struct Node {
    pub sort: Sort,
    pub start: usize,
    pub end: usize,
    pub name: (usize, usize),
    name_escaped: bool,
    pub named: bool,
    /// The number of the first node after this one and all inside it.
    pub after: usize,
    /// Has been dealt with: a string that is restored, or a value in which nothing is looked for.
    pub taken: bool,
    pub name_taken: bool,
}

/// No answer has more values.
const MOST_NODES: usize = 1 << 20;

/// Nodes in the order of the document; kept and filled again, so that a stream costs no allocation an event.
#[derive(Default)]
pub(super) struct Dom {
    pub nodes: Vec<Node>,
    open: Vec<usize>,
}

impl Dom {
    /// Reads the one document that `data` is. False where it is none.
    pub fn read(&mut self, data: &[u8]) -> bool {
        self.nodes.clear();
        self.open.clear();
        let Some(end) = self.values(data) else { return false };
        json_blank(data, end) == data.len()
    }

    fn values(&mut self, data: &[u8]) -> Option<usize> {
        let mut at = json_blank(data, 0);
        let mut name = None;
        loop {
            let first = *data.get(at)?;
            let new = self.nodes.len();
            if new == MOST_NODES {
                return None;
            }
            let (sort, start, end) = match first {
                b'"' => {
                    let text = json_string(data, at + 1);
                    (text.end < data.len()).then_some((Sort::String, text.start, text.end))?
                }
                b'{' => (Sort::Object, at, at + 1),
                b'[' => (Sort::Array, at, at + 1),
                _ => {
                    let end = json_value_end(data, at);
                    (end > at).then_some((Sort::Other, at, end))?
                }
            };
            let (span, name_escaped) = name.take().unwrap_or(((0, 0), false));
            let named = self.open.last().is_some_and(|&open| self.nodes[open].sort == Sort::Object);
            self.nodes.push(Node {
                sort,
                start,
                end,
                name: span,
                name_escaped,
                named,
                after: new + 1,
                taken: false,
                name_taken: false,
            });
            at = json_blank(data, if sort == Sort::String { end + 1 } else { end });
            if matches!(sort, Sort::Object | Sort::Array) {
                self.open.push(new);
                if !matches!((sort, data.get(at)), (Sort::Object, Some(b'}')) | (Sort::Array, Some(b']'))) {
                    if sort == Sort::Object {
                        (name, at) = member(data, at)?;
                    }
                    continue;
                }
            }
            // What follows a value.
            loop {
                let Some(&open) = self.open.last() else { return Some(at) };
                let sort = self.nodes[open].sort;
                match (sort, data.get(at)?) {
                    (Sort::Array, b',') => {
                        at = json_blank(data, at + 1);
                        break;
                    }
                    (Sort::Object, b',') => {
                        (name, at) = member(data, json_blank(data, at + 1))?;
                        break;
                    }
                    (Sort::Array, b']') | (Sort::Object, b'}') => {
                        self.open.pop();
                        self.nodes[open].end = at + 1;
                        self.nodes[open].after = self.nodes.len();
                        at = json_blank(data, at + 1);
                    }
                    _ => return None,
                }
            }
        }
    }

    /// The children of `node`.
    pub fn children(&self, node: usize) -> impl Iterator<Item = usize> + '_ {
        let (mut at, after) = self.nodes.get(node).map_or((0, 0), |it| (node + 1, it.after));
        std::iter::from_fn(move || {
            let child = (at < after).then_some(at)?;
            at = self.nodes[child].after;
            Some(child)
        })
    }

    /// The member `name`; of several the last, as readers take it.
    pub fn get(&self, data: &[u8], node: usize, name: &str) -> Option<usize> {
        if self.nodes.get(node)?.sort != Sort::Object {
            return None;
        }
        self.children(node).filter(|&child| self.is_named(data, child, name)).last()
    }

    fn is_named(&self, data: &[u8], node: usize, name: &str) -> bool {
        let node = &self.nodes[node];
        let raw = &data[node.name.0..node.name.1];
        if !node.name_escaped {
            return raw == name.as_bytes();
        }
        let mut text = Vec::new();
        json_unescape(raw, &mut text);
        text == name.as_bytes()
    }

    /// The string at `node` as it is spelled; empty where it is none.
    pub fn text<'d>(&self, data: &'d [u8], node: Option<usize>) -> &'d [u8] {
        match node.and_then(|node| self.nodes.get(node)) {
            Some(node) if node.sort == Sort::String => &data[node.start..node.end],
            _ => b"",
        }
    }

    /// The count at `node`.
    pub fn number(&self, data: &[u8], node: Option<usize>) -> Option<u64> {
        let node = self.nodes.get(node?)?;
        (node.sort == Sort::Other).then(|| std::str::from_utf8(&data[node.start..node.end]).ok()?.parse().ok())?
    }
}

type Name = Option<((usize, usize), bool)>;

/// `"name":` at `at`, and where its value begins.
fn member(data: &[u8], at: usize) -> Option<(Name, usize)> {
    if data.get(at) != Some(&b'"') {
        return None;
    }
    let text = json_string(data, at + 1);
    if text.end >= data.len() {
        return None;
    }
    let colon = json_blank(data, text.end + 1);
    (data.get(colon) == Some(&b':'))
        .then(|| (Some(((text.start, text.end), text.escaped)), json_blank(data, colon + 1)))
}

#[cfg(test)]
mod tests {
    use super::{Dom, Sort};

    #[test]
    fn members_are_found_by_name_and_the_last_of_a_name_counts() {
        let data = br#" {"a":[1,{"b":"x"},[]],"a\u0062":{"c":"\"y\""},"n":12,"n":13,"e":{}} "#;
        let mut dom = Dom::default();
        assert!(dom.read(data));
        let inner = dom.get(data, 0, "ab").unwrap();
        assert_eq!(dom.text(data, dom.get(data, inner, "c")), br#"\"y\""#);
        assert_eq!(dom.number(data, dom.get(data, 0, "n")), Some(13));
        assert_eq!(dom.children(dom.get(data, 0, "a").unwrap()).count(), 3);
        assert_eq!(dom.nodes[dom.get(data, 0, "e").unwrap()].sort, Sort::Object);
        assert_eq!(dom.get(data, 0, "b"), None);
    }

    #[test]
    fn what_is_no_document_is_not_read() {
        for text in ["", "{", "[DONE]", "{\"a\":}", "{\"a\"}", "[1,]", "\"a", "{}x", "{\"a\":1]"] {
            assert!(!Dom::default().read(text.as_bytes()), "{text}");
        }
    }
}

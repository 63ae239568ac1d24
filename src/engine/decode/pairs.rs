//! Pairs of name and value that are written into one value.
//!
//! ```text
//! ddtags: env:prod,host:ws17                      Datadog
//! baggage: userId=alice,serverNode=n1;p=1         W3C Baggage; tracestate: vendor=value,…
//! sec-ch-ua-platform: "Linux"                     structured fields (RFC 9651): items, lists, dictionaries
//! x-acme-client: os=linux; tz="Asia/Shanghai"     what headers of one's own hold
//! ```
//!
//! Each value is looked at under the name it has there; its place stays that of the whole, with its window.

use std::ops::Range;

use crate::engine::visit::{Leaf, LeafKind};

/// More than any list of them that means something.
const MOST: usize = 256;

/// Headers whose parameters are about the message, or that are read as what they are.
const OTHERS: &[&str] = &[
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "authorization",
    "cache-control",
    "connection",
    "content-disposition",
    "content-type",
    "cookie",
    "keep-alive",
    "link",
    "origin",
    "prefer",
    "proxy-authorization",
    "range",
    "referer",
    "sec-websocket-extensions",
    "set-cookie",
    "te",
    "user-agent",
    "via",
    "x-forwarded-for",
];

/// The values of a leaf that is a list of pairs, each with its name.
pub(crate) fn of<'l>(leaf: &Leaf<'l>) -> Pairs<'l> {
    named(leaf.kind, leaf.name, leaf.text)
}

pub(super) fn named<'l>(kind: LeafKind, name: &'l str, text: &'l [u8]) -> Pairs<'l> {
    let syntax = match kind {
        LeafKind::Header | LeafKind::Trailer => {
            let other = matches!(text.first(), None | Some(b'{' | b'['))
                || !text.iter().any(|byte| matches!(byte, b'=' | b'"' | b':'))
                || OTHERS.contains(&name);
            (!other).then_some(Syntax::Fields)
        }
        LeafKind::JsonString | LeafKind::QueryValue | LeafKind::FormValue => {
            matches!(name, "ddtags" | "dd_tags" | "tags").then_some(Syntax::Tags)
        }
        _ => None,
    };
    Pairs { text, outer: name, syntax, at: 0, left: MOST }
}

#[derive(Clone, Copy)]
enum Syntax {
    /// `name:value,…`
    Tags,
    /// `name=value`, parted by commas and semicolons; strings in quotes.
    Fields,
}

pub(crate) struct Pairs<'l> {
    text: &'l [u8],
    outer: &'l str,
    syntax: Option<Syntax>,
    at: usize,
    left: usize,
}

impl<'l> Iterator for Pairs<'l> {
    type Item = (&'l str, Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        let syntax = self.syntax?;
        while self.at < self.text.len() && self.left > 0 {
            self.left -= 1;
            let start = self.at;
            let end = start + self.item_end(syntax);
            self.at = end + 1;
            let found = match syntax {
                Syntax::Tags => self.split(start..end, b':'),
                Syntax::Fields => self.split(start..end, b'='),
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }
}

impl<'l> Pairs<'l> {
    /// How long the item at `self.at` is: to the next separator outside quotes.
    fn item_end(&self, syntax: Syntax) -> usize {
        let rest = &self.text[self.at..];
        let mut quoted = false;
        let mut escaped = false;
        for (index, &byte) in rest.iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = quoted,
                b'"' if matches!(syntax, Syntax::Fields) => quoted = !quoted,
                b',' if !quoted => return index,
                b';' if !quoted && matches!(syntax, Syntax::Fields) => return index,
                _ => {}
            }
        }
        rest.len()
    }

    fn split(&self, item: Range<usize>, mark: u8) -> Option<(&'l str, Range<usize>)> {
        let text = &self.text[item.clone()];
        let whole = text.trim_ascii();
        if whole.starts_with(b"\"") || (whole.starts_with(b":") && whole.ends_with(b":")) {
            // A string or bytes without a name: the field's own.
            return Some((self.outer, self.trimmed(item)?));
        }
        let at = memchr::memchr(mark, text)?;
        let name = std::str::from_utf8(text[..at].trim_ascii()).ok()?;
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.*-/@$".contains(&byte);
        let value = self.trimmed(item.start + at + 1..item.end)?;
        (!name.is_empty() && name.bytes().all(is_name)).then_some((name, value))
    }

    /// Without white space, quotes, and the colons of a byte sequence.
    fn trimmed(&self, range: Range<usize>) -> Option<Range<usize>> {
        let text = self.text.get(range.clone())?;
        let start = range.start + (text.len() - text.trim_ascii_start().len());
        let mut value = start..start + text.trim_ascii().len();
        for mark in [b'"', b':'] {
            let text = self.text.get(value.clone())?;
            if text.len() > 1 && text.first() == Some(&mark) && text.last() == Some(&mark) {
                value = value.start + 1..value.end - 1;
            }
        }
        // `==` is padding, not a pair.
        let ends = self.text.get(value.start) == Some(&b'=');
        (!value.is_empty() && !ends).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::{LeafKind, named};

    fn pairs(kind: LeafKind, name: &str, text: &str) -> Vec<String> {
        named(kind, name, text.as_bytes()).map(|(name, range)| format!("{name} = {}", &text[range])).collect()
    }

    #[test]
    fn values_are_found_under_their_own_names() {
        for (kind, name, text, expected) in [
            (
                LeafKind::JsonString,
                "ddtags",
                "env:prod,host:ws17,url:http://a,,x",
                "env = prod|host = ws17|url = http://a",
            ),
            (LeafKind::Header, "baggage", "userId=ann, node = n1;p=1,k", "userId = ann|node = n1|p = 1"),
            (LeafKind::Header, "tracestate", "rojo=00f067aa,t@v=k:1", "rojo = 00f067aa|t@v = k:1"),
            (LeafKind::Header, "sec-ch-ua-platform", "\"Linux\"", "sec-ch-ua-platform = Linux"),
            (LeafKind::Header, "x-acme", "tz=\"Asia/Shanghai; x\", b=:YWJj:;c", "tz = Asia/Shanghai; x|b = YWJj"),
            (LeafKind::Header, "x-token", "YWJjZA==", ""),
            (LeafKind::Header, "x-bytes", "tok/en, :YWJj:;a=?1", "x-bytes = YWJj|a = ?1"),
            (LeafKind::Header, "x-words", "where a is b = c", ""),
            (LeafKind::Header, "accept", "text/html;q=0.5", ""),
            (LeafKind::Header, "x-meta", "{\"a\":\"b=c\"}", ""),
            (LeafKind::JsonString, "text", "env:prod,a=b", ""),
        ] {
            assert_eq!(pairs(kind, name, text).join("|"), expected, "{name}: {text}");
        }
    }
}

//! `key=value&…`: query strings and form bodies (WHATWG URL, application/x-www-form-urlencoded).

use std::ops::Range;

use super::connect;
use super::percent;
use super::place::Tail;
use super::walker::Walker;
use crate::engine::visit::{LayerId, LeafKind, Spelling, Target, Visitor};
use crate::wire::span::Span;

impl<V: Visitor> Walker<'_, V> {
    /// Hands out the pairs in `range` of `bytes`. A pair without `=` is a value without a name: what stands
    /// there may be the fact itself, and names show in locations.
    pub(super) fn pairs(&mut self, layer: LayerId, bytes: &[u8], range: Range<usize>, kind: LeafKind) {
        let connect = (kind == LeafKind::QueryValue).then(|| connect::Get::of(&bytes[range.clone()])).flatten();
        let mut key = self.scratch();
        let mut value = self.scratch();
        let mut at = range.start;
        for pair in bytes[range].split(|&byte| byte == b'&') {
            let start = at;
            at += pair.len() + 1;
            if pair.is_empty() {
                continue;
            }
            let (name, from) = match memchr::memchr(b'=', pair) {
                Some(equals) => (&pair[..equals], equals + 1),
                None => (&pair[..0], 0),
            };
            key.clear();
            percent::decode(name, true, &mut key);
            let raw = &pair[from..];
            let target = Target { layer, raw: Span::of(start + from..start + pair.len()), spelling: Spelling::Form };
            let text = if percent::is_coded(raw, true) {
                value.clear();
                percent::decode(raw, true, &mut value);
                &value
            } else {
                raw
            };
            let name = String::from_utf8_lossy(&key);
            if !name.is_empty() {
                let raw = Span::of(start..start + from.saturating_sub(1));
                self.field_name(&key, Target { layer, raw, spelling: Spelling::Form }, Tail::Form(&name));
            }
            match connect {
                Some(get) if name == "message" => self.connect_message(get, text, target),
                _ => self.value(kind, &name, text, target, Tail::Form(&name)),
            }
        }
        self.give_back(key);
        self.give_back(value);
    }
}

//! Connect's unary GET (connectrpc.com/docs/protocol, Unary-Get-Request): the message stands in the query.
//!
//! ```text
//! ?connect=v1&encoding=proto&base64=1&compression=gzip&message=CgV…
//! ```

use super::base64;
use super::coding::Coding;
use super::layer::{Base64, Codec};
use super::place::Tail;
use super::walker::Walker;
use crate::engine::location::Step;
use crate::engine::visit::{LeafKind, Target, Visitor};
use crate::wire::span::Span;

/// What a query says of its message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Get {
    protobuf: bool,
    base64: bool,
    coding: Option<Coding>,
}

impl Get {
    pub fn of(query: &[u8]) -> Option<Self> {
        let (mut message, mut encoding, mut get) = (false, false, Get { protobuf: false, base64: false, coding: None });
        for pair in query.split(|&byte| byte == b'&') {
            match pair {
                [b'm', b'e', b's', b's', b'a', b'g', b'e', b'=', ..] => message = true,
                b"encoding=proto" => (encoding, get.protobuf) = (true, true),
                b"encoding=json" => encoding = true,
                b"base64=1" => get.base64 = true,
                pair => {
                    let coding = pair.strip_prefix(b"compression=").and_then(|name| std::str::from_utf8(name).ok());
                    get.coding = get.coding.or(coding.and_then(Coding::named));
                }
            }
        }
        (message && encoding).then_some(get)
    }
}

impl<V: Visitor> Walker<'_, V> {
    pub(super) fn connect_message(&mut self, get: Get, text: &[u8], target: Target) {
        let tail = Tail::Form("message");
        let padded = text.ends_with(b"=");
        let url = !text.iter().any(|byte| matches!(byte, b'+' | b'/'));
        let spelling = Base64 { url, padded, wrap: None };
        let decoded = if get.base64 { base64::decode(text, spelling) } else { None };
        let plain = decoded.is_none() && get.coding.is_none() && !get.protobuf;
        if text.is_empty() || self.is_deepest() || plain || !self.spend(text.len()) {
            self.value(LeafKind::QueryValue, "message", text, target, tail);
            return;
        }
        let step = decoded.as_ref().map(|_| if url { Step::B64Url } else { Step::B64 });
        let codec = if decoded.is_some() { Codec::Base64(spelling) } else { Codec::Identity };
        self.inside(tail, |walker| {
            walker.steps.extend(step);
            let content = decoded.unwrap_or_else(|| text.to_vec());
            let mut layer = walker.open(content.into(), target, Span::of(0..text.len()), codec);
            if let Some(coding) = get.coding {
                let target = walker.layers[layer.0 as usize].target(layer);
                let Some(inner) = walker.undo(target, coding, "content-coding") else { return };
                layer = inner;
            }
            if get.protobuf { walker.said_protobuf(layer, "message") } else { walker.sniffed(layer, "message") }
        });
    }
}

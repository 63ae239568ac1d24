//! What a request asks: alike from run to run.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::session::flow::Exchange;
use crate::session::http::uncoded;

/// What a recorded request asks, and where in the recording it stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Question {
    pub index: usize,
    pub method: String,
    pub host: String,
    /// Without the query.
    pub path: String,
    /// SHA-256 of its body.
    pub exactly: [u8; 32],
    /// The same without its content coding, ids and numbers aside.
    pub asked: [u8; 32],
}

impl Question {
    /// None of one that was not answered.
    pub fn of(index: usize, exchange: &Exchange) -> Option<Self> {
        let request = exchange.request().ok()?;
        let status = exchange.response.as_ref()?.status()?;
        if status < 200 && status != 101 {
            return None;
        }
        Some(Self {
            index,
            method: method_of(request.head.method(), status, !exchange.messages.is_empty()),
            host: exchange.host.clone(),
            path: path_of(request.head.target()),
            exactly: digest(&exchange.request.body),
            asked: asked(&uncoded(&exchange.request.body, exchange.request.field("content-encoding"))),
        })
    }
}

/// A WebSocket is the same question over HTTP/1.1 and HTTP/2.
fn method_of(method: &str, status: u16, messages: bool) -> String {
    match status == 101 || (method == "CONNECT" && messages) {
        true => WEBSOCKET.to_owned(),
        false => method.to_owned(),
    }
}

/// Stands for the method of a request for a WebSocket.
pub const WEBSOCKET: &str = "websocket";

pub fn digest(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}

pub fn path_of(target: &str) -> String {
    let target = target.split_once("://").map_or(target, |(_, rest)| rest.find('/').map_or("/", |at| &rest[at..]));
    target.split(['?', '#']).next().unwrap_or(target).to_owned()
}

/// What is asked, ids and numbers aside: they differ from run to run, and so does the order of members, of which many programs
/// keep none. A word with a digit in it is taken for an id.
pub fn asked(body: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    match serde_json::from_slice(body) {
        Ok(value) => put_value(&value, TEXTS, &mut hash),
        Err(_) => put_text(body, &mut hash),
    }
    hash.finalize().into()
}

/// Texts inside of texts that are looked into where they are JSON.
const TEXTS: usize = 4;

fn put_value(value: &Value, texts: usize, hash: &mut Sha256) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            hash.update(b"{");
            for (name, value) in members {
                put_text(name.as_bytes(), hash);
                hash.update(b":");
                put_value(value, texts, hash);
            }
            hash.update(b"}");
        }
        Value::Array(list) => {
            hash.update(b"[");
            list.iter().for_each(|value| put_value(value, texts, hash));
            hash.update(b"]");
        }
        Value::String(text) => {
            let inner = if text.starts_with(['{', '[']) && texts > 0 { serde_json::from_str(text).ok() } else { None };
            match inner {
                Some(value) => put_value(&value, texts - 1, hash),
                None => put_text(text.as_bytes(), hash),
            }
            hash.update(b",");
        }
        Value::Number(_) => hash.update(b"#,"),
        Value::Bool(_) | Value::Null => hash.update(format!("{value},")),
    }
}

fn put_text(text: &[u8], hash: &mut Sha256) {
    for run in text.chunk_by(|one, other| is_of_word(*one) && is_of_word(*other)) {
        let id = run.iter().any(u8::is_ascii_digit);
        hash.update(if id { b"#" } else { run });
    }
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::asked;

    #[test]
    fn ids_and_numbers_make_no_other_question() {
        let one = asked(br#"{"id":"9f86d081-884c-4d65-9a2f-eaa0c55ad015","n":17,"text":"decade"}"#);
        assert_eq!(one, asked(br#"{"id":"1d0c65fb-1111-4d65-9a2f-eaa0c55ad015","n":4,"text":"decade"}"#));
        assert_ne!(one, asked(br#"{"id":"1d0c65fb-1111-4d65-9a2f-eaa0c55ad015","n":4,"text":"facade"}"#));
        assert_eq!(asked(b"id=msg_01Kx-Pz; sum=a81c0"), asked(b"id=msg_02ab; sum=77e1f"));
        assert_ne!(asked(b"id=msg_01Kx; of=a"), asked(b"id=msg_01Kx; of=b"));
    }

    #[test]
    fn the_order_of_members_makes_no_other_question() {
        let one = asked(br#"{"model":"m","in":[{"a":true,"b":"{\"x\":1,\"y\":\"z\"}"}]}"#);
        assert_eq!(one, asked(br#"{"in":[{"b":"{\"y\":\"z\",\"x\":2}","a":true}],"model":"m"}"#));
        for other in [
            r#"{"in":[{"b":"{\"y\":\"w\",\"x\":2}","a":true}],"model":"m"}"#,
            r#"{"in":[{"b":"{\"y\":\"z\",\"x\":2}","a":false}],"model":"m"}"#,
            r#"{"in":[{"b":"{\"y\":\"z\",\"x\":2}"},{"a":true}],"model":"m"}"#,
        ] {
            assert_ne!(one, asked(other.as_bytes()), "{other}");
        }
    }
}

//! What a request asks: alike from run to run.

use sha2::{Digest, Sha256};

use crate::session::flow::Exchange;

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
    /// The same with ids and numbers aside.
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
            asked: asked(&exchange.request.body),
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

/// What is asked, ids and numbers aside: they differ from run to run.
pub fn asked(body: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut at = 0;
    while at < body.len() {
        let run = body[at..].iter().take_while(|byte| byte.is_ascii_hexdigit() || **byte == b'-').count();
        let digits = body[at..at + run].iter().filter(|byte| byte.is_ascii_digit()).count();
        match run {
            0 => {
                hash.update(&body[at..=at]);
                at += 1;
            }
            run if digits > 0 && (digits == run || run >= 8) => {
                hash.update(b"#");
                at += run;
            }
            run => {
                hash.update(&body[at..at + run]);
                at += run;
            }
        }
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::asked;

    #[test]
    fn ids_and_numbers_make_no_other_question() {
        let one = asked(br#"{"id":"9f86d081-884c-4d65-9a2f-eaa0c55ad015","n":17,"text":"decade"}"#);
        assert_eq!(one, asked(br#"{"id":"1d0c65fb-1111-4d65-9a2f-eaa0c55ad015","n":4,"text":"decade"}"#));
        assert_ne!(one, asked(br#"{"id":"1d0c65fb-1111-4d65-9a2f-eaa0c55ad015","n":4,"text":"facade"}"#));
    }
}

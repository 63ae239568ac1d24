//! A second opinion: whatever the strict parser takes, httparse takes with the same fields.

use bytes::BytesMut;
use divulge::wire::{BodyReader, ForwardRequest, Framing, Limits, RequestHead, ResponseHead};
use proptest::prelude::*;

use crate::common::{Dice, forwarded, request, shown};

const REQUESTS: [&str; 5] = [
    "POST /v1/messages?beta=true HTTP/1.1\r\nHost: api.example.com\r\nContent-Type: application/json\r\n\
     X-Stainless-OS: Linux\r\nUser-Agent: client/1.0 (external, cli)\r\nConnection: keep-alive\r\nContent-Length: 12\r\n\r\n",
    "GET http://a.example.com/x HTTP/1.1\r\nHost: a.example.com\r\nProxy-Connection: close\r\nA:\r\n\r\n",
    "CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n",
    "PUT / HTTP/1.1\r\nHost: [::1]:80\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\nExpect: 100-continue\r\n\r\n",
    "GET /ws HTTP/1.1\r\nHost: a.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
];

const RESPONSES: [&str; 3] = [
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
    "HTTP/1.0 304 Not Modified\r\nContent-Length: 123\r\nETag: \"a\"\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n",
];

/// What a mutation puts in: bytes that mean something to one parser or another.
const TELLING: [&str; 28] = [
    "\r",
    "\n",
    "\r\n",
    " ",
    "\t",
    ":",
    ",",
    ";",
    "\0",
    "\u{7f}",
    "\u{b}",
    "\u{c}",
    "\u{85}",
    "\u{e4}",
    "#",
    "\"",
    "(",
    "0",
    "1",
    "chunked",
    "HTTP/1.1",
    "Host: b\r\n",
    "Content-Length: 1\r\n",
    "\r\n\r\n",
    "A: 1\r\n B: 2",
    "*",
    "/",
    "_",
];

fn mutated(seed: &str, dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seed.as_bytes().to_vec();
    for _ in 0..=dice.below(3) {
        if bytes.is_empty() {
            break;
        }
        let at = dice.below(bytes.len());
        match dice.below(6) {
            0 => bytes[at] = dice.below(256) as u8,
            1 => {
                bytes.remove(at);
            }
            2 => {
                let telling = TELLING[dice.below(TELLING.len())].as_bytes();
                bytes.splice(at..at, telling.iter().copied());
            }
            3 => {
                let end = (at + dice.below(20)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                let to = dice.below(bytes.len());
                bytes.splice(to..to, copy);
            }
            4 => {
                let end = (at + dice.below(10)).min(bytes.len());
                bytes.drain(at..end);
            }
            _ => bytes[at] ^= 1 << dice.below(8),
        }
    }
    bytes
}

#[test]
fn whatever_request_is_taken_httparse_takes_with_the_same_fields() {
    let mut dice = Dice::new(1);
    let (mut taken, mut stricter) = (0, 0);
    for round in 0..60_000 {
        let bytes = mutated(REQUESTS[round % REQUESTS.len()], &mut dice);
        let mut buffer = BytesMut::from(&bytes[..]);
        let mut fields = [httparse::EMPTY_HEADER; 200];
        let mut theirs = httparse::Request::new(&mut fields);
        let verdict = theirs.parse(&bytes);
        let Ok(Some(ours)) = RequestHead::parse(&mut buffer, &Limits::default()) else {
            stricter += usize::from(matches!(verdict, Ok(httparse::Status::Complete(_))));
            continue;
        };
        taken += 1;
        let text = shown(&bytes);
        assert_eq!(verdict, Ok(httparse::Status::Complete(bytes.len() - buffer.len())), "{text}");
        assert_eq!((theirs.method, theirs.path), (Some(ours.method()), Some(ours.target())), "{text}");
        assert_eq!(theirs.version, Some(ours.minor_version()), "{text}");
        let mine: Vec<_> =
            ours.fields().iter().map(|field| (ours.bytes(field.name), ours.bytes(field.value))).collect();
        let other: Vec<_> = theirs.headers.iter().map(|field| (field.name.as_bytes(), field.value)).collect();
        assert_eq!(mine, other, "{text}");

        // What leaves is taken again, and nothing is left in it to drop.
        let out = forwarded(&ours, &ForwardRequest::default());
        let again = request(out.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(forwarded(&again, &ForwardRequest::default()), out, "{text}");
        assert_eq!((again.framing(), again.target()), (ours.framing(), ours.target()), "{text}");
    }
    assert!(taken > 10_000 && stricter > 1_000, "{taken} taken, {stricter} refused that httparse takes");
}

#[test]
fn whatever_response_is_taken_httparse_takes_with_the_same_fields() {
    let mut dice = Dice::new(2);
    let mut taken = 0;
    for round in 0..40_000 {
        let bytes = mutated(RESPONSES[round % RESPONSES.len()], &mut dice);
        let mut buffer = BytesMut::from(&bytes[..]);
        let Ok(Some(ours)) = ResponseHead::parse(&mut buffer, "GET", false, &Limits::default()) else { continue };
        taken += 1;
        let mut fields = [httparse::EMPTY_HEADER; 200];
        let mut theirs = httparse::Response::new(&mut fields);
        let text = shown(&bytes);
        assert_eq!(theirs.parse(&bytes), Ok(httparse::Status::Complete(bytes.len() - buffer.len())), "{text}");
        assert_eq!((theirs.version, theirs.code), (Some(ours.minor_version()), Some(ours.status())), "{text}");
        let mine: Vec<_> =
            ours.fields().iter().map(|field| (ours.bytes(field.name), ours.bytes(field.value))).collect();
        let other: Vec<_> = theirs.headers.iter().map(|field| (field.name.as_bytes(), field.value)).collect();
        assert_eq!(mine, other, "{text}");
    }
    assert!(taken > 10_000, "{taken} taken");
}

#[test]
fn whatever_chunk_size_is_taken_httparse_reads_as_the_same_number() {
    let mut dice = Dice::new(3);
    let mut taken = 0;
    for _ in 0..40_000 {
        let bytes = mutated("1a;b=c\r\n", &mut dice);
        let mut input = BytesMut::from(&bytes[..]);
        let mut out = BytesMut::new();
        let found = BodyReader::new(Framing::Chunked, Limits::default()).pass(&mut input, &mut out, &mut |_| ());
        // A size was taken if it was passed on; what follows need not be a chunk.
        let (Ok(_), Some(line)) = (found, out.iter().position(|&byte| byte == b'\n')) else { continue };
        taken += 1;
        let digits = std::str::from_utf8(&out[..line - 1]).unwrap();
        let expected = u64::from_str_radix(digits, 16).unwrap();
        match httparse::parse_chunk_size(&bytes) {
            Ok(httparse::Status::Complete((_, size))) => assert_eq!(size, expected, "{}", shown(&bytes)),
            other => panic!("{other:?}: {}", shown(&bytes)),
        }
    }
    assert!(taken > 500, "{taken} taken");
}

proptest! {
    #[test]
    fn any_legal_head_is_taken_and_leaves_as_it_came(
        method in "[A-Z]{3,12}x",
        target in "/[!-\"$-~]{0,60}",
        fields in prop::collection::vec(("x[!#$%&'*+.^_`|~0-9A-Za-z-]{0,20}", "[ \\t]{0,3}", "[!-~\u{80}-\u{2ff}]{0,5}[ -~\\t]{0,40}"), 0..40),
        length in 0u64..1_000_000,
    ) {
        let mut text = format!("{method} {target} HTTP/1.1\r\nHost: a.example.com\r\n");
        for (name, space, value) in &fields {
            text.push_str(&format!("{name}:{space}{value}\r\n"));
        }
        text.push_str(&format!("Content-Length: {length}\r\n\r\n"));
        let head = request(text.as_bytes()).unwrap();
        prop_assert_eq!(forwarded(&head, &ForwardRequest::default()), text);
        let found: Vec<_> = head.fields()[1..=fields.len()].iter().map(|field| (head.bytes(field.name), head.bytes(field.value))).collect();
        let trim = |value: &'static [char], text: &str| text.trim_matches(value).as_bytes().to_vec();
        let values: Vec<_> = fields.iter().map(|(_, _, value)| trim(&[' ', '\t'], value)).collect();
        let expected: Vec<_> = fields.iter().zip(&values).map(|((name, _, _), value)| (name.as_bytes(), &value[..])).collect();
        prop_assert_eq!(found, expected);
    }
}

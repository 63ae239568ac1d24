//! The walk on whole units: which values come out, and where.

use std::io::Write;

use ::base64::Engine;
use ::base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;

use super::{DecodeLimits, Decoded, walk};
use crate::engine::audit::{Part, Request, Unit};
use crate::engine::visit::{Leaf, LeafKind, Place, Visitor};
use crate::wire::head::RequestHead;

/// Keeps what it is handed, as `location = text`.
#[derive(Default)]
struct Seen {
    leaves: Vec<(String, LeafKind, String, String)>,
    unread: Vec<(String, usize, &'static str)>,
}

impl Visitor for Seen {
    fn leaf(&mut self, leaf: &Leaf<'_>, place: &dyn Place) {
        let text = String::from_utf8_lossy(leaf.text).into_owned();
        self.leaves.push((place.location().to_string(), leaf.kind, leaf.name.to_owned(), text));
    }

    fn unread(&mut self, place: &dyn Place, bytes: &[u8], reason: &'static str) {
        self.unread.push((place.location().to_string(), bytes.len(), reason));
    }
}

impl Seen {
    /// What was read in the body, names aside.
    fn body(&self) -> Vec<String> {
        self.shown(|at, kind| !at.starts_with("header") && !at.starts_with("head") && kind != LeafKind::JsonName)
    }

    fn shown(&self, keep: impl Fn(&str, LeafKind) -> bool) -> Vec<String> {
        let kept = self.leaves.iter().filter(|(at, kind, ..)| keep(at, *kind));
        kept.map(|(at, _, _, text)| format!("{at} = {text}")).collect()
    }

    #[track_caller]
    fn has(&self, location: &str, text: &str) {
        let found = self.leaves.iter().any(|(at, _, _, value)| at == location && value == text);
        assert!(found, "no {location} = {text} in {:#?}", self.shown(|_, _| true));
    }
}

fn request(target: &str, fields: &[(&str, &str)]) -> Request {
    let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let head = RequestHead::from_parts("POST", target, fields);
    Request { host: "api.example.com".into(), port: 443, secure: true, head }
}

fn seen(request: &Request, part: Part) -> (Seen, Decoded) {
    let mut seen = Seen::default();
    let decoded = walk(&Unit { request, part }, &DecodeLimits::default(), &mut seen);
    (seen, decoded)
}

fn document(fields: &[(&str, &str)], body: impl Into<Vec<u8>>) -> (Seen, Decoded) {
    seen(&request("/", fields), Part::Document(Bytes::from(body.into())))
}

fn json(body: impl Into<Vec<u8>>) -> (Seen, Decoded) {
    document(&[("content-type", "application/json")], body)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn the_head_is_read_in_wire_order_with_its_places() {
    let request = request(
        "/v1/custom%20agents/ann?beta=true&tz=Asia%2FShanghai+x&bare",
        &[("Host", "api.example.com"), ("X-A", "1"), ("Cookie", "sid=abc; tz=UTC"), ("x-a", "{\"id\":[7]}")],
    );
    let (seen, decoded) = seen(&request, Part::Head);
    let expected = [
        "head = POST",
        "path:/0 = v1",
        "path:/1 = custom agents",
        "path:/2 = ann",
        "query!form:/beta = true",
        "query!form:/tz = Asia/Shanghai x",
        "query!form:/ = bare",
        "header:/host = api.example.com",
        "header:/x-a = 1",
        "header:/cookie!cookie:/sid = abc",
        "header:/cookie!cookie:/tz = UTC",
        "header:/x-a[1]!json:/id = id",
        "header:/x-a[1]!json:/id/0 = 7",
    ];
    assert_eq!(seen.shown(|_, _| true), expected);
    assert_eq!((decoded.bytes_sent, decoded.bytes_read), (0, 0));
}

#[test]
fn json_is_read_with_names_escapes_and_every_number() {
    let body = r#" {"a/b":{"~!@":[1.50e+2,true,null,"x\u00e9\ud83d\ude00\n"]},"a/b":-0,"e\u006e":""} "#;
    let (seen, decoded) = json(body);
    let expected = [
        "body!json:/a~1b/~0~2~3/0 = 1.50e+2",
        "body!json:/a~1b/~0~2~3/1 = true",
        "body!json:/a~1b/~0~2~3/2 = null",
        "body!json:/a~1b/~0~2~3/3 = xé😀\n",
        "body!json:/a~1b = -0",
        "body!json:/en = ",
    ];
    assert_eq!(seen.body(), expected);
    assert_eq!(decoded.bytes_read, body.len() as u64);
    let names: Vec<_> = seen.leaves.iter().filter(|leaf| leaf.1 == LeafKind::JsonName).map(|leaf| &leaf.3).collect();
    assert_eq!(names, ["a/b", "~!@", "a/b", "en"]);
}

#[test]
fn documents_inside_strings_and_base64_are_entered() {
    let inner = r#"{"device_id":"9f86d0"}"#;
    let packed = BASE64_STANDARD.encode(gzip(inner.as_bytes()));
    let url = BASE64_URL_SAFE_NO_PAD.encode(r#"{"rh":"~~~???>>"}"#);
    let text = BASE64_STANDARD.encode("cwd=/home/ann/project tz=Asia/Shanghai");
    let body = serde_json::json!({
        "metadata": { "user_id": inner }, "process": packed, "url": url, "text": text,
        "id": "550e8400-e29b-41d4-a716-446655440000", "word": "internationalisation",
    });
    let (seen, decoded) = json(body.to_string());
    let expected = [
        "body!json:/metadata/user_id!json:/device_id = 9f86d0".to_owned(),
        "body!json:/process!b64!gzip!json:/device_id = 9f86d0".to_owned(),
        "body!json:/url!b64url!json:/rh = ~~~???>>".to_owned(),
        format!("body!json:/text = {text}"),
        "body!json:/text!b64 = cwd=/home/ann/project tz=Asia/Shanghai".to_owned(),
        "body!json:/id = 550e8400-e29b-41d4-a716-446655440000".to_owned(),
        "body!json:/word = internationalisation".to_owned(),
    ];
    assert_eq!(seen.body(), expected);
    assert_eq!(decoded.bytes_read, decoded.bytes_sent);
}

#[test]
fn stacked_content_codings_are_undone_last_first() {
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    zlib.write_all(br#"{"a":1}"#).unwrap();
    let body = zstd::encode_all(&gzip(&zlib.finish().unwrap())[..], 3).unwrap();
    let fields = [("Content-Encoding", "deflate, gzip"), ("content-encoding", "zstd"), ("content-type", "text/json")];
    let (seen, decoded) = document(&fields, body);
    assert_eq!(seen.body(), ["body!zstd!gzip!deflate!json:/a = 1"]);
    assert!(decoded.unread.is_empty());
}

#[test]
fn a_form_body_gives_its_pairs() {
    let (seen, _) = document(&[("content-type", "application/x-www-form-urlencoded")], "a=1&b+c=%7B%22d%22%3A2%7D&&=x");
    assert_eq!(seen.body(), ["body!form:/a = 1", "body!form:/b c!json:/d = 2", "body!form:/ = x"]);
}

#[test]
fn what_cannot_be_read_is_reported_with_its_share() {
    let (seen, decoded) = json(r#"{"a":"kept","b":oops and /home/ann}"#);
    seen.has("body!json:/a", "kept");
    seen.has("body!json:/b", "oops and /home/ann}");
    assert_eq!(seen.unread, [("body!json:/b".to_owned(), 19, "malformed")]);
    assert_eq!((decoded.bytes_read, decoded.bytes_sent), (16, 35));

    let (_, decoded) = document(&[("content-encoding", "snappy")], vec![0xff; 50]);
    assert_eq!((decoded.bytes_read, decoded.unread[0].reason), (0, "content-coding"));
}

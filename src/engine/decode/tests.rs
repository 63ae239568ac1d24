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
pub(super) struct Seen {
    pub leaves: Vec<(String, LeafKind, String, String)>,
    pub unread: Vec<(String, usize, &'static str)>,
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
    pub fn body(&self) -> Vec<String> {
        let name = |kind| matches!(kind, LeafKind::JsonName | LeafKind::FieldName);
        self.shown(|at, kind| !at.starts_with("header") && !at.starts_with("head") && !name(kind))
    }

    fn shown(&self, keep: impl Fn(&str, LeafKind) -> bool) -> Vec<String> {
        let kept = self.leaves.iter().filter(|(at, kind, ..)| keep(at, *kind));
        kept.map(|(at, _, _, text)| format!("{at} = {text}")).collect()
    }

    #[track_caller]
    pub fn has(&self, location: &str, text: &str) {
        let found = self.leaves.iter().any(|(at, _, _, value)| at == location && value == text);
        assert!(found, "no {location} = {text} in {:#?}", self.shown(|_, _| true));
    }
}

pub(super) fn request(target: &str, fields: &[(&str, &str)]) -> Request {
    let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let head = RequestHead::from_parts("POST", target, fields);
    Request { host: "api.example.com".into(), port: 443, secure: true, head }
}

pub(super) fn seen(request: &Request, part: Part) -> (Seen, Decoded) {
    let mut seen = Seen::default();
    let decoded = walk(&Unit { request, part }, &DecodeLimits::default(), &mut seen);
    (seen, decoded)
}

pub(super) fn document(fields: &[(&str, &str)], body: impl Into<Vec<u8>>) -> (Seen, Decoded) {
    seen(&request("/", fields), Part::Document(Bytes::from(body.into())))
}

pub(super) fn json(body: impl Into<Vec<u8>>) -> (Seen, Decoded) {
    document(&[("content-type", "application/json")], body)
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
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
    assert_eq!(seen.shown(|_, kind| kind != LeafKind::FieldName), expected);
    let names: Vec<_> = seen.leaves.iter().filter(|leaf| leaf.1 == LeafKind::FieldName).map(|leaf| &*leaf.3).collect();
    assert_eq!(names, ["beta", "Host", "Cookie"]);
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
fn a_document_in_an_encoding_in_the_middle_of_a_text_is_entered_at_its_window() {
    let packed = BASE64_STANDARD.encode(r#"{"device":"9f86d0","tz":"Asia/Shanghai"}"#);
    let token = format!(
        "eyJhbGciOiJIUzI1NiJ9.{}.c2lnbmF0dXJl",
        BASE64_URL_SAFE_NO_PAD.encode(r#"{"sub":"ann","iss":"https://id.example.com"}"#)
    );
    let text = format!("state={packed}; token {token} in src/components/RequestHandlerFactory2/index");
    let (seen, decoded) = json(serde_json::json!({ "log": text }).to_string());
    seen.has(&format!("body!json:/log@6-{}!b64!json:/tz", 6 + packed.len()), "Asia/Shanghai");
    let start = 6 + packed.len() + 8;
    seen.has(&format!("body!json:/log@{start}-{}!jwt:/1!json:/sub", start + token.len()), "ann");
    seen.has("body!json:/log", &text);
    assert_eq!((decoded.layers.len(), decoded.bytes_read), (5, decoded.bytes_sent));
}

#[test]
fn compression_without_a_signature_is_told_by_what_comes_out() {
    let inner = r#"{"env":{"shell":"/bin/zsh","cwd":"/home/ann/project","tz":"Asia/Shanghai"}}"#;
    let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    deflate.write_all(inner.as_bytes()).unwrap();
    let mut brotli = Vec::new();
    brotli::CompressorWriter::new(&mut brotli, 4096, 11, 22).write_all(inner.as_bytes()).unwrap();
    for (step, bytes) in [("deflate", deflate.finish().unwrap()), ("br", brotli)] {
        let (seen, decoded) = json(format!("{{\"p\":\"{}\\n\"}}", BASE64_STANDARD.encode(bytes)));
        seen.has(&format!("body!json:/p!b64!{step}!json:/env/tz"), "Asia/Shanghai");
        assert!(decoded.unread.is_empty());
    }
}

#[test]
fn compression_without_a_signature_is_read_in_hex_as_well() {
    let text = br#"{"zone":"Asia/Shanghai","home":"/home/ann"}"#;
    let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    deflate.write_all(text).unwrap();
    let coded = crate::engine::line::hex(&deflate.finish().unwrap());
    let (seen, _) = json(serde_json::json!({ "a": coded }).to_string());
    seen.has("body!json:/a!hex!deflate!json:/home", "/home/ann");
}

#[test]
fn pairs_in_a_header_are_encoded_one_by_one() {
    let request = request("/", &[("baggage", "path=%2Fhome%2Fann,zone=UTC"), ("x-note", "%2Fhome%2Fann")]);
    let (seen, _) = seen(&request, Part::Head);
    seen.has("header:/baggage", "path=%2Fhome%2Fann,zone=UTC");
    seen.has("header:/x-note!url", "/home/ann");
    assert!(!seen.leaves.iter().any(|(at, _, _, text)| at == "header:/baggage!url" && text.contains("UTC")));
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
    // A plus sign is a blank, in a document as well, whose text is then as long as it is spelled.
    let (seen, _) =
        document(&[("content-type", "application/x-www-form-urlencoded")], "a={\"b+c\":\"/home/ann/my+project\"}");
    assert_eq!(seen.body(), ["body!form:/a!json:/b c = /home/ann/my project"]);
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
    let (_, decoded) = document(&[("content-encoding", "gzip")], &gzip(&[b'x'; 5000])[..30]);
    assert_eq!(decoded.unread[0].reason, "content-coding");
    assert_eq!(decoded.unread[0].location.to_string(), "body!gzip");
    let (seen, decoded) = document(&[("content-encoding", "gzip")], r#"{"a":1}"#);
    seen.has("body!json:/a", "1");
    assert!(decoded.unread.is_empty());
}

#[test]
fn what_stands_beside_compressed_data_is_reported() {
    let brotli = |content: &[u8]| {
        let mut packed = Vec::new();
        let mut writer = brotli::CompressorWriter::new(&mut packed, 4096, 5, 22);
        writer.write_all(content).unwrap();
        drop(writer);
        packed
    };
    let named = {
        let mut member = gzip(br#"{"a":1}"#);
        member[3] |= 8;
        member.splice(10..10, *b"a name\0");
        member
    };
    let skipped = [&0x184d_2a53u32.to_le_bytes()[..], &5u32.to_le_bytes(), b"aside"].concat();
    let zstd = [&skipped[..], &zstd::encode_all(&br#"{"a":1}"#[..], 3).unwrap()].concat();
    for (coding, body, bytes) in [
        ("gzip", named, 7),
        ("zstd", zstd, 5),
        ("br", [&brotli(br#"{"a":1}"#)[..], b"after it"].concat(), 8),
        ("gzip", [&gzip(br#"{"a":1}"#)[..], b"after it"].concat(), 8),
    ] {
        let (seen, decoded) = document(&[("content-encoding", coding)], body);
        seen.has(&format!("body!{coding}!json:/a"), "1");
        let unread: Vec<_> = decoded.unread.iter().map(|unread| (unread.location.to_string(), unread.bytes)).collect();
        assert_eq!(unread, [(format!("body!{coding}"), bytes)]);
    }
    let (seen, decoded) = document(&[("content-encoding", "br")], brotli(br#"{"a":1}"#));
    seen.has("body!br!json:/a", "1");
    assert!(decoded.unread.is_empty());
}

/// A protobuf field with a length.
pub(super) fn pb(number: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = value.len();
    while length > 127 {
        out.push(length as u8 | 128);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(value);
    out
}

pub(super) fn frame(flags: u8, message: &[u8]) -> Vec<u8> {
    [&[flags][..], &(message.len() as u32).to_be_bytes(), message].concat()
}

fn cursor_message() -> Vec<u8> {
    let inner = [pb(10, b"Asia/Shanghai"), pb(10, b"/home/ann/project"), vec![8, 0xe0, 3]].concat();
    let mut fixed = vec![0x19];
    fixed.extend(31.2304f64.to_le_bytes());
    [pb(2, &inner), pb(4, br#"{"shell":"bash"}"#), fixed, pb(5, &[0xff; 16]), pb(6, b"")].concat()
}

#[test]
fn protobuf_is_read_without_its_schema() {
    let (seen, decoded) = document(&[("content-type", "application/proto")], cursor_message());
    assert_eq!(
        seen.body(),
        [
            "body!pb:/2/10 = Asia/Shanghai",
            "body!pb:/2/10.1 = /home/ann/project",
            "body!pb:/2/1 = 480",
            "body!pb:/4!json:/shell = bash",
            "body!pb:/3 = 31.2304",
            &format!("body!pb:/5 = {}", "\u{fffd}".repeat(16)),
            "body!pb:/6 = ",
        ]
    );
    assert!(decoded.unread.is_empty());
}

#[test]
fn envelopes_are_read_one_by_one_and_as_a_body() {
    let body = [frame(1, &gzip(&cursor_message())), frame(0, &pb(1, b"plain text")), frame(2, br#"{"error":{}}"#)];
    let fields = [("content-type", "application/connect+proto"), ("connect-content-encoding", "gzip")];
    let (seen, decoded) = document(&fields, body.concat());
    seen.has("body!frame:/0!gzip!pb:/2/10", "Asia/Shanghai");
    seen.has("body!frame:/1!pb:/1", "plain text");
    seen.has("body!frame:/2!json:/error", "error");
    assert_eq!(decoded.bytes_read, decoded.bytes_sent);

    let part = Part::Frame { index: 7, bytes: body[0].clone().into() };
    let (seen, _) = self::seen(&request("/", &fields), part);
    seen.has("body!frame:/7!gzip!pb:/4!json:/shell", "bash");
    assert!(!seen.leaves.iter().any(|leaf| leaf.0.starts_with("header")));

    let (seen, _) = document(&[("content-type", "application/octet-stream")], body.concat());
    seen.has("body!frame:/0!gzip!pb:/2/10", "Asia/Shanghai");
}

#[test]
fn parts_are_read_inside_one_another() {
    let body = "preamble\r\n--b1\r\nContent-Disposition: form-data; name=\"me/ta\"\r\nContent-Type: application/json\r\n\r\n\
        {\"id\":7}\r\n--b1\r\ncontent-disposition: form-data; name=note; filename=\"C:\\Users\\ann\\x.txt\"\r\n\r\n\
        two\r\nlines\r\n--b1\r\ncontent-type: multipart/mixed; boundary=b2\r\n\r\n--b2\r\n\r\ninner\r\n--b2--\r\n--b1--\r\n";
    let (seen, _) = document(&[("content-type", "multipart/form-data; boundary=\"b1\"")], body);
    seen.has("body!multipart:/me~1ta!json:/id", "7");
    seen.has("body!multipart:/note", "two\r\nlines");
    seen.has("body!multipart:/note", "form-data; name=note; filename=\"C:\\Users\\ann\\x.txt\"");
    seen.has("body!multipart:/2!multipart:/0", "inner");
    seen.has("body", "preamble\r\n");
}

#[test]
fn tokens_wrapped_lines_and_escapes_are_undone() {
    let part = |json: &str| BASE64_URL_SAFE_NO_PAD.encode(json);
    let token = format!("{}.{}.c2lnbmF0dXJl", part(r#"{"alg":"HS256"}"#), part(r#"{"email":"ann@example.com"}"#));
    let basic = format!("Basic {}", BASE64_STANDARD.encode("ann:correct horse"));
    let fields = [("authorization", &*format!("Bearer {token}")), ("proxy-authorization", &basic)];
    let (seen, _) = seen(&request("/", &fields), Part::Head);
    seen.has("header:/authorization", &format!("Bearer {token}"));
    seen.has("header:/authorization!jwt:/1!json:/email", "ann@example.com");
    seen.has("header:/proxy-authorization!b64", "ann:correct horse");

    let lines = BASE64_STANDARD.encode(r#"{"k":"a rather long value, so that there are lines"}"#);
    let lines = lines.as_bytes().chunks(20).map(|line| String::from_utf8_lossy(line) + "\n").collect::<String>();
    let body = serde_json::json!({
        "t": token, "mime": lines, "html": "{&quot;a&quot;:&#x31;}", "url": "%7B%22b%22%3A2%7D",
        "data": format!("data:text/plain;base64,{}", BASE64_STANDARD.encode("cwd=/home/ann/project")),
        "hex": "7b2263223a337d20202020202020202020", "twice": "\"{\\\"d\\\":4}\"",
        "prose": "50% of R&D in [brackets] {and} braces", "sha": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    });
    let (seen, _) = json(body.to_string());
    seen.has("body!json:/t!jwt:/0!json:/alg", "HS256");
    seen.has("body!json:/mime!b64!json:/k", "a rather long value, so that there are lines");
    seen.has("body!json:/html!html!json:/a", "1");
    seen.has("body!json:/url!url!json:/b", "2");
    seen.has("body!json:/data!b64", "cwd=/home/ann/project");
    seen.has("body!json:/hex!hex!json:/c", "3");
    seen.has("body!json:/twice!json:!json:/d", "4");
    let of = |name: &str| seen.leaves.iter().filter(|leaf| leaf.2 == name).count();
    assert_eq!((of("prose"), of("sha")), (1, 1));
}

#[test]
fn a_body_in_an_alphabet_of_its_own_is_read() {
    let json = r#"[{"mid":"0011","payload":"{\"cwd\":\"/home/ann\"}","git_remote":"git@example.com:ann/p.git"}]"#;
    for exchanged in [true, false] {
        let body = super::qoder::encode(json.as_bytes(), exchanged);
        for kind in ["application/json", "application/x-www-form-urlencoded", ""] {
            let (seen, _) = document(&[("content-type", kind)], body.clone());
            seen.has("body!qoder!json:/0/mid", "0011");
            seen.has("body!qoder!json:/0/payload!json:/cwd", "/home/ann");
            let coded = super::qoder::encode(BASE64_STANDARD.encode(json).as_bytes(), exchanged);
            let (seen, _) = document(&[], coded);
            seen.has("body!qoder!b64!json:/0/mid", "0011");
        }
    }
}

#[test]
fn documents_in_a_row_are_numbered() {
    let lines = "{\"a\":1}\n\n{\"a\":2}\r\n{\"a\":3,x";
    for fields in [[("content-type", "application/x-ndjson")], [("content-type", "text/plain")]] {
        let (seen, decoded) = document(&fields, lines);
        assert_eq!(
            seen.body()[..3],
            ["body!lines:/0!json:/a = 1", "body!lines:/1!json:/a = 2", "body!lines:/2!json:/a = 3"]
        );
        assert_eq!(decoded.unread[0].reason, "malformed");
    }
    let (seen, _) = json("\u{feff}{\"a\":1} {\"a\":2}\u{1e}[3]");
    assert_eq!(seen.body(), ["body!json:/a = 1", "body!lines:/1!json:/a = 2", "body!lines:/2!json:/0 = 3"]);
    let part = Part::Line { index: 4, bytes: "{\"a\":1}\n".into() };
    assert_eq!(self::seen(&request("/", &[]), part).0.body(), ["body!lines:/4!json:/a = 1"]);
    let part = Part::Message { index: 2, text: true, bytes: "{\"a\":1}".into() };
    assert_eq!(self::seen(&request("/", &[]), part).0.body(), ["ws:/2!json:/a = 1"]);
}

#[test]
fn opaque_bytes_are_searched_for_text_and_reported() {
    let mut state = 1u32;
    let mut noise = |count: usize| -> Vec<u8> {
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8 | 0x80
        };
        (0..count).map(|_| next()).collect()
    };
    let body = [noise(400), b"\0/home/ann\0".to_vec(), noise(400)].concat();
    let (seen, decoded) = document(&[("content-type", "application/octet-stream")], body.clone());
    seen.has("body", "/home/ann");
    assert_eq!((decoded.bytes_sent, decoded.bytes_read), (811, 0));
    assert!(decoded.unread[0].entropy > 6.0);

    let text = BASE64_STANDARD.encode(&body);
    let (seen, decoded) = json(format!(r#"{{"message":"{text}"}}"#));
    seen.has("body!json:/message", &text);
    seen.has("body!json:/message!b64", "/home/ann");
    assert_eq!(decoded.bytes_sent - decoded.bytes_read, text.len() as u64);
    assert_eq!(seen.unread, [("body!json:/message!b64".to_owned(), 811, "opaque")]);
}

#[test]
fn a_bomb_stops_early_and_is_reported() {
    let zeros = vec![b' '; 80 << 20];
    for (coding, body) in [
        ("gzip", gzip(&zeros)),
        ("zstd", zstd::encode_all(&zeros[..], 1).unwrap()),
        ("gzip, gzip", gzip(&gzip(&zeros))),
    ] {
        let (_, decoded) = document(&[("content-encoding", coding)], body);
        assert!(decoded.layers.iter().map(|layer| layer.content.len()).sum::<usize>() < 70 << 20, "{coding}");
        assert!(decoded.unread.iter().any(|unread| matches!(unread.reason, "limit" | "ratio")), "{coding}");
    }
    // A string of JSON inside a string of JSON, and so on: the budget and the depth hold.
    let mut text = "1".to_owned();
    for _ in 0..16 {
        text = serde_json::json!({ "a": text }).to_string();
    }
    let (seen, decoded) = json(text);
    seen.has(&format!("body!json:/a{}", "!json:/a".repeat(6)), "a");
    assert_eq!(decoded.unread[0].reason, "depth");
}

#[test]
fn deep_nesting_costs_no_stack() {
    for body in ["[".repeat(100_000), "{\"a\":".repeat(100_000), "[".repeat(100_000) + &"]".repeat(100_000)] {
        let (_, decoded) = json(format!("[\"first\",{body}"));
        assert_eq!(decoded.unread[0].reason, "depth");
    }
    let mut message = b"x".to_vec();
    for _ in 0..5000 {
        message = pb(1, &message);
    }
    let (_, decoded) = document(&[("content-type", "application/proto")], message);
    assert!(!decoded.unread.is_empty());
}

#[test]
fn a_body_cut_anywhere_is_read_up_to_there() {
    let body =
        br#"{"a":[1,{"b":"x\u00e9\ud83d\ude00"}],"c":"{\"d\":\"YWJjZGVmZ2hpamtsbW5vcA==\"}","e":-1.5e3,"f":null}"#;
    for end in 0..=body.len() {
        let (seen, decoded) = json(&body[..end]);
        if end > 8 {
            seen.has("body!json:/a/0", "1");
        }
        let unread: u64 = decoded.unread.iter().map(|unread| unread.bytes).sum();
        assert_eq!(decoded.bytes_read + unread, end as u64, "cut at {end}");
    }
    let coded = [&gzip(body)[..], &gzip(b" ")].concat();
    let multipart = "--b\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\nx\r\n--b--\r\n".as_bytes();
    let framed = [frame(1, &gzip(&cursor_message())), frame(0, &cursor_message())].concat();
    let brotli = {
        let mut out = Vec::new();
        brotli::CompressorWriter::new(&mut out, 4096, 5, 22).write_all(body).unwrap();
        out
    };
    for (kind, coding, body) in [
        ("application/json", "gzip", &coded[..]),
        ("application/json", "br", &brotli),
        ("application/json", "deflate", &coded[10..]),
        ("application/json", "zstd", &zstd::encode_all(&body[..], 3).unwrap()),
        ("multipart/form-data; boundary=b", "", multipart),
        ("application/grpc", "", &framed),
        ("application/proto", "", &cursor_message()),
        ("", "", &framed),
    ] {
        for end in 0..=body.len() {
            let (_, decoded) = document(&[("content-type", kind), ("content-encoding", coding)], &body[..end]);
            assert!(decoded.bytes_read <= decoded.bytes_sent);
        }
    }
}

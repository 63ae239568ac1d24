//! Bodies made to cost more than they weigh: each stops early and says what it left unread. What is bounded is the work,
//! counted in leaves and bytes handed out; time is no measure on a busy machine.

use std::io::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use divulge::engine::visit::{Leaf, Place, Visitor};
use divulge::engine::{DecodeLimits, Decoded, Part, Request, Unit, walk};
use divulge::wire::head::RequestHead;

/// Small limits, so that small bodies reach them.
const LIMITS: DecodeLimits = DecodeLimits { depth: 10, json_depth: 1024, decoded_bytes: 4 << 20, ratio: 1000 };

#[derive(Default)]
struct Work {
    leaves: usize,
    bytes: usize,
}

impl Visitor for Work {
    fn leaf(&mut self, leaf: &Leaf<'_>, _: &dyn Place) {
        self.leaves += 1;
        self.bytes += leaf.text.len();
    }

    fn unread(&mut self, _: &dyn Place, _: &[u8], _: &'static str) {
        self.leaves += 1;
    }
}

/// Walks `body` and holds the work against what the limits allow.
#[track_caller]
fn walked(fields: &[(&str, &str)], body: Vec<u8>) -> Decoded {
    let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let head = RequestHead::from_parts("POST", "/", fields);
    let request = Request { host: "api.example.com".into(), port: 443, secure: true, head };
    let mut work = Work::default();
    let sent = body.len();
    let decoded = walk(&Unit { request: &request, part: Part::Document(Bytes::from(body)) }, &LIMITS, &mut work);
    // Each of the layers inside one another may hand out what it holds, and once more as a spelling.
    let bound = (sent + LIMITS.decoded_bytes) * 2;
    assert!(work.bytes <= bound, "{} bytes handed out of {sent}", work.bytes);
    assert!(work.leaves <= bound / 2, "{} leaves of {sent} bytes", work.leaves);
    let made: usize = decoded.layers.iter().skip(2).map(|layer| layer.content.len()).sum();
    assert!(made <= (sent + LIMITS.decoded_bytes) * LIMITS.depth, "{made} bytes in layers");
    assert!(decoded.unread.len() <= 1000);
    let unread: u64 = decoded.unread.iter().map(|unread| unread.bytes).sum();
    assert_eq!(decoded.bytes_read + unread, decoded.bytes_sent);
    decoded
}

#[track_caller]
fn stopped(decoded: &Decoded, reasons: &[&str]) {
    let found: Vec<_> = decoded.unread.iter().map(|unread| unread.reason).collect();
    assert!(found.iter().any(|reason| reasons.contains(reason)), "{found:?}");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn brotli(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    brotli::CompressorWriter::new(&mut out, 4096, 5, 22).write_all(bytes).unwrap();
    out
}

/// A protobuf field with a length.
fn pb(number: u8, value: &[u8]) -> Vec<u8> {
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

#[test]
fn compressed_blanks_stop_at_the_limits() {
    let blanks = vec![b' '; 16 << 20];
    let zstd = zstd::encode_all(&blanks[..], 1).unwrap();
    for (coding, body) in [
        ("gzip", gzip(&blanks)),
        ("br", brotli(&blanks)),
        ("zstd", zstd.clone()),
        ("gzip, gzip", gzip(&gzip(&blanks))),
        ("br, gzip, zstd", zstd::encode_all(&gzip(&brotli(&blanks))[..], 1).unwrap()),
    ] {
        stopped(&walked(&[("content-encoding", coding)], body), &["limit", "ratio"]);
    }
    // The same in values, many times over: the budget is one for all of them.
    let value = BASE64_STANDARD.encode(zstd);
    let body = format!("[{}0]", format!("\"{value}\",").repeat(50));
    stopped(&walked(&[("content-type", "application/json")], body.into()), &["limit", "ratio"]);
}

#[test]
fn a_million_members_cost_what_they_weigh() {
    let empty = gzip(b"");
    let one = gzip(b"x");
    let skippable = b"\x50\x2a\x4d\x18\0\0\0\0";
    for (coding, body) in [
        ("gzip", empty.repeat(1_000_000)),
        ("gzip", one.repeat(200_000)),
        ("zstd", skippable.repeat(1_000_000)),
        ("zstd", zstd::encode_all(&b"x"[..], 1).unwrap().repeat(200_000)),
    ] {
        let decoded = walked(&[("content-encoding", coding)], body);
        stopped(&decoded, &["limit"]);
        assert!(decoded.layers.iter().map(|layer| layer.content.len()).skip(2).sum::<usize>() < 1 << 20);
    }
}

#[test]
fn envelopes_events_and_fields_by_the_million_are_counted() {
    let mut message = vec![0, 0, 0, 16, 0, 0, 0, 0];
    let crc = |bytes: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum().to_be_bytes()
    };
    message.extend(crc(&message));
    message.extend(crc(&message));
    for (kind, body) in [
        ("application/grpc", b"\0\0\0\0\x02\x08\x01".repeat(500_000)),
        ("application/grpc", b"\x01\0\0\0\x02\x1f\x8b".repeat(500_000)),
        ("application/grpc", b"\0\0\0\0\0".repeat(500_000)),
        ("application/vnd.amazon.eventstream", message.repeat(200_000)),
        ("application/proto", b"\x08\x01".repeat(1_000_000)),
        ("application/proto", b"\x0b".repeat(1_000_000)),
        ("application/proto", b"\x0b\x0c".repeat(500_000)),
        ("application/proto", pb(1, &[0x81, 1].repeat(500_000))),
    ] {
        walked(&[("content-type", kind)], body);
    }
    let mut message = b"x".to_vec();
    for _ in 0..2000 {
        message = pb(1, &message);
    }
    stopped(&walked(&[("content-type", "application/proto")], message), &["depth"]);
}

#[test]
fn boundaries_and_lines_without_end_are_linear() {
    let kind = "multipart/form-data; boundary=-";
    for body in [
        b"-".repeat(2 << 20),
        b"---\r\n\r\n".repeat(200_000),
        b"---\r\n\r\nx\r\n".repeat(200_000),
        b"---\r\na:b\r\n".repeat(200_000),
        b"---\r\ncontent-type: multipart/mixed; boundary=-\r\n\r\n".repeat(40_000),
        [&b"---\r\n"[..], &b"a\r\n".repeat(500_000)].concat(),
    ] {
        walked(&[("content-type", kind)], body);
    }
    for (kind, body) in [
        ("text/event-stream", b"data:{\"a\n".repeat(200_000)),
        ("application/x-ndjson", b"{\"a\":\n".repeat(200_000)),
        ("application/x-ndjson", b"{}\n".repeat(500_000)),
        (
            "application/x-sentry-envelope",
            [&b"{}\n"[..], &b"{\"type\":\"a\",\"length\":0}\n\n".repeat(80_000)].concat(),
        ),
        ("application/json", b"1 ".repeat(500_000)),
    ] {
        walked(&[("content-type", kind)], body);
    }
}

#[test]
fn escapes_inside_escapes_stop_at_the_depth() {
    let mut percent = "%7B%22a%22%3A1%7D".to_owned();
    for _ in 0..14 {
        percent = percent.replace('%', "%25");
    }
    let body = format!("a={}", percent.repeat(500));
    walked(&[("content-type", "application/x-www-form-urlencoded")], body.into());
    let entities = "&amp;".repeat(400_000);
    walked(&[("content-type", "text/plain")], entities.clone().into());
    walked(&[("content-type", "text/plain")], ("&#".to_owned() + &"0".repeat(1 << 20)).into());
    let nested = serde_json::json!({ "h": entities.replace('&', "&amp;") }).to_string();
    walked(&[("content-type", "application/json")], nested.into());
    // A string of quotes, each level with twice the backslashes.
    let mut text = "\"".repeat(500);
    for _ in 0..12 {
        text = serde_json::json!({ "a": text }).to_string();
    }
    stopped(&walked(&[("content-type", "application/json")], text.into()), &["depth"]);
    let mut text = BASE64_STANDARD.encode(r#"{"a":"the innermost of many"}"#.repeat(1000));
    for _ in 0..14 {
        text = BASE64_STANDARD.encode(serde_json::json!({ "a": text }).to_string());
    }
    stopped(&walked(&[], text.into()), &["depth", "limit"]);
}

#[test]
fn a_limit_reached_in_one_value_does_not_hide_the_others() {
    let bomb = BASE64_STANDARD.encode(gzip(&vec![b' '; 8 << 20]));
    let body = format!("{{\"first\":\"ann\",\"bomb\":\"{bomb}\",\"last\":\"bob\"}}");
    let sent = body.len() as u64;
    let decoded = walked(&[("content-type", "application/json")], body.into());
    stopped(&decoded, &["limit", "ratio"]);
    assert!(decoded.bytes_read > 0 && decoded.bytes_read < sent);
    let unread = &decoded.unread[0];
    assert_eq!(unread.location.to_string(), "body!json:/bomb!b64!gzip");
    assert!(unread.bytes > 0 && unread.entropy >= 0.0);
}

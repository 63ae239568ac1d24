//! What must hold of the decoders for any bytes: no panic, no hang, and none of the statements below broken.
//!
//! The first bytes of an input choose what is said of the rest.

use std::io::Read;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use divulge::engine::decode::{Base64, Codec};
use divulge::engine::visit::{Leaf, LeafKind, Place, Spelling, Target, Visitor};
use divulge::engine::{
    Change, DecodeLimits, Decoded, Edit, Engine, EngineParts, Facts, OnError, Outgoing, Part, Policy, Request, RuleSet,
    Unit, codec, rewrite, walk as walk_unit,
};
use divulge::wire::{Limits, RequestHead};

#[path = "json_oracle.rs"]
mod oracle;

/// Small enough to be reached.
const BOUNDS: DecodeLimits = DecodeLimits { depth: 10, json_depth: 64, decoded_bytes: 1 << 20, ratio: 1000 };

struct Found {
    location: String,
    kind: LeafKind,
    text: Vec<u8>,
    target: Target,
}

#[derive(Default)]
struct Collect(Vec<Found>);

impl Visitor for Collect {
    fn leaf(&mut self, leaf: &Leaf<'_>, place: &dyn Place) {
        let location = place.location().to_string();
        self.0.push(Found { location, kind: leaf.kind, text: leaf.text.to_vec(), target: leaf.target });
    }

    fn unread(&mut self, _: &dyn Place, _: &[u8], reason: &'static str) {
        assert!(!reason.is_empty(), "what is unread says why");
    }
}

fn request(target: &str, fields: &[(&str, &str)]) -> Request {
    let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let head = RequestHead::from_parts("POST", target, fields);
    Request { host: "api.example.com".into(), port: 443, secure: true, head }
}

fn read(unit: &Unit<'_>) -> (Vec<Found>, Decoded) {
    let mut found = Collect::default();
    let decoded = walk_unit(unit, &BOUNDS, &mut found);
    sound(&found.0, &decoded);
    (found.0, decoded)
}

/// What holds of every walk.
fn sound(found: &[Found], decoded: &Decoded) {
    let unread: u64 = decoded.unread.iter().map(|unread| unread.bytes).sum();
    assert_eq!(decoded.bytes_read + unread, decoded.bytes_sent, "every byte is read or reported");
    assert!(decoded.unread.iter().all(|unread| (0.0..=8.0).contains(&unread.entropy)));
    let content = |layer: u32| &decoded.layers[layer as usize].content;
    let made: usize = decoded.layers.iter().skip(2).map(|layer| layer.content.len()).sum();
    // Slices of what is there already are free.
    assert!(made <= (BOUNDS.decoded_bytes + decoded.bytes_sent as usize) * 20);
    for leaf in found {
        let raw = &content(leaf.target.layer.0)[leaf.target.raw.range()];
        match leaf.target.spelling {
            Spelling::Varint | Spelling::Fixed | Spelling::Packed => {}
            spelling => assert_eq!(codec::text(spelling, raw), leaf.text, "{} is spelled otherwise", leaf.location),
        }
    }
    for layer in &decoded.layers {
        let divulge::engine::decode::Origin::Leaf { leaf, window, codec } = &layer.origin else { continue };
        let text = codec::text(leaf.spelling, &content(leaf.layer.0)[leaf.raw.range()]);
        let coded = &text[window.range()];
        if !layer.whole {
            continue;
        }
        let again = codec::decode(codec, coded);
        assert_eq!(again.as_deref(), Some(&layer.content[..]), "{codec:?} decodes to its layer");
        if matches!(codec, Codec::Percent | Codec::Html | Codec::QuotedPrintable | Codec::Hex { .. } | Codec::Identity)
        {
            // Edited byte by byte: there is no making again.
            continue;
        }
        let again = codec::encode(codec, coded, &layer.content).expect("what is whole can be made again");
        if again != coded {
            assert!(!matches!(codec, Codec::Gzip(_) | Codec::Zstd(_)), "untouched members stay");
            let content = codec::decode(codec, &again);
            assert_eq!(content.as_deref(), Some(&layer.content[..]), "{codec:?} says the same again");
        }
    }
}

/// Walks a body, and changes one of its values and takes one out.
fn body(fields: &[(&str, &str)], bytes: &[u8]) {
    let request = request("/v1/log?a=b", fields);
    let part = Part::Document(Bytes::copy_from_slice(bytes));
    let unit = Unit { request: &request, part };
    let (found, decoded) = read(&unit);
    if found.is_empty() {
        return;
    }
    let pick = bytes.iter().fold(7usize, |sum, &byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    for change in [Change::Replace("70000".into()), Change::Remove] {
        let target = found[pick % found.len()].target;
        let edit = Edit { target, window: None, change };
        let Ok(result) = rewrite(&unit, &decoded, vec![edit]) else { continue };
        assert_eq!(result.rest_before, result.rest_after, "something else moved");
        read(&Unit { request: &request, part: Part::Document(result.payload) });
    }
}

fn chosen<'a, 'b>(data: &'a [u8], list: &[&'b str]) -> Option<(&'b str, &'a [u8])> {
    let (&first, rest) = data.split_first()?;
    Some((list.get(usize::from(first) % list.len())?, rest))
}

const KINDS: &[&str] = &[
    "application/json",
    "application/x-ndjson",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=b",
    "application/proto",
    "application/msgpack",
    "application/grpc",
    "application/connect+proto",
    "application/grpc-web-text",
    "application/vnd.amazon.eventstream",
    "text/event-stream",
    "application/x-sentry-envelope",
    "text/plain",
    "",
];
const CODINGS: &[&str] = &["", "gzip", "deflate", "br", "zstd", "gzip, br"];

/// Any body under any type and content coding.
pub fn walk(data: &[u8]) {
    let Some((kind, rest)) = chosen(data, KINDS) else { return };
    let Some((coding, bytes)) = chosen(rest, CODINGS) else { return };
    body(&[("content-type", kind), ("content-encoding", coding), ("connect-content-encoding", "br")], bytes);
    let request = request("/", &[]);
    for part in [
        Part::Frame { index: 1, bytes: Bytes::copy_from_slice(bytes) },
        Part::Line { index: 1, bytes: Bytes::copy_from_slice(bytes) },
        Part::Message { index: 1, text: false, bytes: Bytes::copy_from_slice(bytes) },
        Part::Chunk { offset: 1, bytes: Bytes::copy_from_slice(bytes) },
    ] {
        read(&Unit { request: &request, part });
    }
}

/// A head, or the same bytes as a form.
pub fn head(data: &[u8]) {
    if let Ok(Some(head)) = RequestHead::parse(&mut data.into(), &Limits::default()) {
        let request = Request { host: "api.example.com".into(), port: 443, secure: true, head };
        let unit = Unit { request: &request, part: Part::Head };
        let (found, decoded) = read(&unit);
        for leaf in &found {
            for change in [Change::Replace("x y".into()), Change::Remove] {
                let edit = Edit { target: leaf.target, window: None, change };
                if let Ok(result) = rewrite(&unit, &decoded, vec![edit]) {
                    assert_eq!(result.rest_before, result.rest_after, "something else moved");
                }
            }
        }
    }
    body(&[("content-type", "application/x-www-form-urlencoded")], data);
}

/// The span lexer beside serde_json: the same values for whatever that reads, duplicate names included.
pub fn json(data: &[u8]) {
    let (ours, end) = codec::json(data, 1024);
    assert!(end.unwrap_or_else(|at| at) <= data.len());
    let mut theirs = Vec::new();
    if let Ok(end) = oracle::values(data, &mut theirs) {
        assert_eq!(codec::json(data, 1024).1.ok(), Some(end), "serde_json reads it to there");
        let ours: Vec<_> = ours.into_iter().map(|(at, kind, text)| (at, oracle::Scalar::of(kind, &text))).collect();
        assert_eq!(ours, theirs);
    }
    body(&[("content-type", "application/json")], data);
}

const TEXTS: [Codec; 11] = [
    Codec::Base64(Base64 { url: false, padded: true, wrap: None }),
    Codec::Base64(Base64 { url: false, padded: false, wrap: None }),
    Codec::Base64(Base64 { url: true, padded: true, wrap: None }),
    Codec::Base64(Base64 { url: true, padded: false, wrap: None }),
    Codec::Hex { upper: false },
    Codec::Hex { upper: true },
    Codec::Percent,
    Codec::Html,
    Codec::QuotedPrintable,
    Codec::Qoder { exchanged: false },
    Codec::Qoder { exchanged: true },
];

/// Encodings in text: what is encoded decodes to itself, and any text may stand in a string (tokens among them).
pub fn text(data: &[u8]) {
    let Some((&choice, bytes)) = data.split_first() else { return };
    let codec = &TEXTS[usize::from(choice) % TEXTS.len()];
    let coded = codec::encode(codec, b"", bytes).expect("any bytes can be encoded");
    assert_eq!(codec::decode(codec, &coded).as_deref(), Some(bytes), "{codec:?}");
    if let Some(content) = codec::decode(codec, bytes) {
        let again = codec::encode(codec, bytes, &content).expect("any bytes can be encoded");
        assert_eq!(codec::decode(codec, &again), Some(content), "{codec:?}");
    }
    for text in [bytes, &coded] {
        let string = String::from_utf8_lossy(text);
        body(&[("content-type", "application/json")], serde_json::json!({ "v": string }).to_string().as_bytes());
        body(&[("content-type", "text/plain")], text);
    }
}

/// Compressed bytes beside the libraries that made them.
pub fn compression(data: &[u8]) {
    const MOST: usize = 1 << 16;
    let Some((coding, bytes)) = chosen(data, &["gzip", "zlib", "deflate", "br", "zstd"]) else { return };
    let ours = codec::decompress(coding, bytes, MOST, 1000).expect("the coding is known");
    assert!(ours.content.len() <= MOST + (1 << 16) && ours.consumed <= bytes.len());
    if let Some(theirs) = theirs(coding, bytes, MOST) {
        if ours.stop.is_none() {
            assert_eq!(ours.content, theirs, "{coding}");
        } else if coding == "gzip" {
            panic!("flate2 reads all of it, and {:?} does not", ours.stop);
        }
    }
    let made = compressed(coding, bytes);
    let ours = codec::decompress(coding, &made, usize::MAX, usize::MAX).expect("the coding is known");
    assert_eq!((&ours.content[..], ours.stop, ours.consumed), (bytes, None, made.len()), "{coding}");
    body(&[("content-encoding", coding)], bytes);
}

fn theirs(coding: &str, bytes: &[u8], most: usize) -> Option<Vec<u8>> {
    let mut reader: Box<dyn Read + '_> = match coding {
        "gzip" => Box::new(flate2::read::MultiGzDecoder::new(bytes)),
        "zlib" => Box::new(flate2::read::ZlibDecoder::new(bytes)),
        "br" => Box::new(brotli::Decompressor::new(bytes, 4096)),
        "zstd" => Box::new(zstd::Decoder::new(bytes).ok()?),
        // Raw or wrapped: the libraries have two readers for what is one coding here.
        _ => return None,
    };
    let mut out = Vec::new();
    reader.by_ref().take(most as u64).read_to_end(&mut out).ok()?;
    (out.len() < most).then_some(out)
}

fn compressed(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let level = flate2::Compression::fast();
    let read = match coding {
        "gzip" => flate2::read::GzEncoder::new(bytes, level).read_to_end(&mut out),
        "zlib" => flate2::read::ZlibEncoder::new(bytes, level).read_to_end(&mut out),
        "deflate" => flate2::read::DeflateEncoder::new(bytes, level).read_to_end(&mut out),
        "br" => brotli::CompressorReader::new(bytes, 4096, 1, 18).read_to_end(&mut out),
        _ => zstd::Encoder::new(&mut out, 1).and_then(|mut encoder| {
            std::io::Write::write_all(&mut encoder, bytes)?;
            encoder.finish().map(|_| 0)
        }),
    };
    read.expect("memory can be read");
    out
}

pub fn multipart(data: &[u8]) {
    let Some((kind, bytes)) = chosen(data, &["multipart/form-data; boundary=b", "multipart/mixed; boundary=\"b\""])
    else {
        return;
    };
    body(&[("content-type", kind)], bytes);
}

pub fn lines(data: &[u8]) {
    let kinds = ["application/x-ndjson", "text/event-stream", "application/x-sentry-envelope", ""];
    let Some((kind, bytes)) = chosen(data, &kinds) else { return };
    body(&[("content-type", kind)], bytes);
}

/// A message with a field of every sort.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Sample {
    #[prost(string, tag = "1")]
    pub text: String,
    #[prost(bytes = "vec", tag = "2")]
    pub bytes: Vec<u8>,
    #[prost(uint64, tag = "3")]
    pub number: u64,
    #[prost(message, optional, boxed, tag = "4")]
    pub inner: Option<Box<Sample>>,
    #[prost(string, repeated, tag = "5")]
    pub texts: Vec<String>,
    #[prost(uint32, repeated, tag = "6")]
    pub packed: Vec<u32>,
    #[prost(double, tag = "7")]
    pub double: f64,
    #[prost(fixed32, tag = "8")]
    pub fixed: u32,
}

/// Protobuf beside prost: every field that it writes is read where it stands.
pub fn protobuf(data: &[u8]) {
    let fields = [("content-type", "application/proto")];
    body(&fields, data);
    let Ok(sample) = <Sample as prost::Message>::decode(data) else { return };
    let bytes = prost::Message::encode_to_vec(&sample);
    let request = request("/", &fields);
    let (found, decoded) = read(&Unit { request: &request, part: Part::Document(bytes.into()) });
    if !decoded.unread.iter().any(|unread| matches!(unread.reason, "depth" | "limit")) {
        holds(&sample, "body!pb:", &found);
    }
}

/// MessagePack beside rmpv: every word that it reads is read where it stands.
pub fn msgpack(data: &[u8]) {
    let fields = [("content-type", "application/msgpack")];
    body(&fields, data);
    let mut rest = data;
    let Ok(value) = rmpv::decode::read_value(&mut rest) else { return };
    let request = request("/", &fields);
    let (found, decoded) = read(&Unit { request: &request, part: Part::Document(Bytes::copy_from_slice(data)) });
    // What begins as another format is read as that.
    if !rest.is_empty() || !decoded.unread.is_empty() || found.iter().any(|f| !f.location.starts_with("body!msgpack:"))
    {
        return;
    }
    let mut expected = Vec::new();
    words(&value, "body!msgpack:".to_owned(), &mut expected);
    for (location, text) in expected {
        assert!(
            found.iter().any(|found| found.location == location && found.text == text.as_bytes()),
            "no {location} = {text}"
        );
    }
}

fn words(value: &rmpv::Value, at: String, out: &mut Vec<(String, String)>) {
    let word = |text: &str| (1..16).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase());
    match value {
        rmpv::Value::String(text) => out.extend(text.as_str().filter(|text| word(text)).map(|text| (at, text.into()))),
        rmpv::Value::Integer(number) => out.push((at, number.to_string())),
        rmpv::Value::Array(list) => {
            list.iter().enumerate().for_each(|(index, one)| words(one, format!("{at}/{index}"), out));
        }
        rmpv::Value::Map(map) => {
            let named = map.iter().filter_map(|(name, one)| Some((name.as_str().filter(|name| word(name))?, one)));
            named.for_each(|(name, one)| words(one, format!("{at}/{name}"), out));
        }
        _ => {}
    }
}

/// Whether the fields of `sample` are among what was found.
pub fn holds_of(bytes: &[u8], sample: &Sample) {
    let request = request("/", &[("content-type", "application/proto")]);
    let (found, _) = read(&Unit { request: &request, part: Part::Document(Bytes::copy_from_slice(bytes)) });
    holds(sample, "body!pb:", &found);
}

fn holds(sample: &Sample, at: &str, found: &[Found]) {
    let begins = |location: &str| found.iter().any(|found| found.location.starts_with(location));
    let is = |location: &str, text: &str| {
        assert!(
            found.iter().any(|found| found.location == location && found.text == text.as_bytes()),
            "no {location} = {text}"
        );
    };
    // A word holds nothing further, so it is a value itself.
    let word = |text: &str| text.len() < 16 && text.bytes().all(|byte| byte.is_ascii_lowercase());
    let texts = sample.texts.iter().enumerate().map(|(index, text)| match index {
        0 => (format!("{at}/5"), text),
        _ => (format!("{at}/5.{index}"), text),
    });
    for (place, text) in [(format!("{at}/1"), &sample.text)].into_iter().chain(texts) {
        if word(text) && !text.is_empty() {
            is(&place, text);
        }
        // `[]` is a document without a value.
        let says = text.chars().any(char::is_alphanumeric);
        assert!(!says || begins(&place), "nothing at {place}");
    }
    if sample.number != 0 {
        is(&format!("{at}/3"), &sample.number.to_string());
    }
    if sample.fixed != 0 {
        assert!(begins(&format!("{at}/8")), "no fixed number");
    }
    if let Some(inner) = &sample.inner {
        let inside = format!("{at}/4");
        assert!(**inner == Sample::default() || begins(&inside), "nothing at {inside}");
        if word(&inner.text) && inner.text.len() * 2 > prost::Message::encoded_len(&**inner) {
            is(&format!("{inside}/1"), &inner.text);
        }
    }
}

pub fn frames(data: &[u8]) {
    let kinds =
        ["application/grpc", "application/connect+proto", "application/connect+json", "application/grpc-web-text", ""];
    let Some((kind, rest)) = chosen(data, &kinds) else { return };
    let Some((coding, bytes)) = chosen(rest, &["gzip", "br", "zstd", "deflate", ""]) else { return };
    body(&[("content-type", kind), ("grpc-encoding", coding)], bytes);
}

/// Any bytes as an event stream, and a sound message made of them.
pub fn event_stream(data: &[u8]) {
    body(&[("content-type", "application/vnd.amazon.eventstream")], data);
    let (name, payload) = data.split_at(data.len().min(5));
    let name: String = name.iter().map(|byte| char::from(b'a' + byte % 26)).collect();
    let crc = |bytes: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum().to_be_bytes()
    };
    let header = [&[name.len() as u8][..], name.as_bytes(), &[7, 0, 3], b"ann"].concat();
    let header = if name.is_empty() { Vec::new() } else { header };
    let mut message = ((16 + header.len() + payload.len()) as u32).to_be_bytes().to_vec();
    message.extend((header.len() as u32).to_be_bytes());
    message.extend(crc(&message));
    message.extend([&header, payload].concat());
    message.extend(crc(&message));
    let request = request("/", &[]);
    let (found, _) = read(&Unit { request: &request, part: Part::Document(message.into()) });
    if !name.is_empty() {
        let place = format!("body!event:/0!header:/{name}");
        assert!(found.iter().any(|found| found.location == place && found.text == b"ann"), "no header {name}");
    }
}

static STRICT: LazyLock<Arc<Engine>> = LazyLock::new(|| {
    let facts = [("user.name", "ann-example"), ("tz.iana", "Asia/Shanghai"), ("path.home", "/home/ann-example")];
    Arc::new(Engine::new(EngineParts {
        rules: RuleSet::builtin(),
        facts: Facts::of(facts.map(|(kind, value)| (kind.to_owned(), value.to_owned()))),
        policy: Policy::preset("strict").expect("the preset is there"),
        digest_key: [3; 32],
        limits: BOUNDS,
        on_error: OnError::Open,
    }))
});

/// The whole engine under the strictest policy: what leaves is what came, the edits of its certificate aside.
pub fn audit(data: &[u8]) {
    let Some((kind, rest)) = chosen(data, KINDS) else { return };
    let Some((coding, bytes)) = chosen(rest, CODINGS) else { return };
    let fields =
        [("content-type", kind), ("content-encoding", coding), ("x-device-id", "ann-example; tz=Asia/Shanghai")];
    let request = Arc::new(request("/v1/events?user=ann-example", &fields));
    let mut flow = STRICT.open("1".into(), request);
    let audit = flow.audit(Part::Document(Bytes::copy_from_slice(bytes)));
    // A detector that panics is caught there and reported like this.
    assert!(audit.unread.iter().all(|unread| unread.reason != "inspector"), "a panic");
    assert_eq!(audit.bytes_sent, bytes.len() as u64);
    let unread: u64 = audit.unread.iter().map(|unread| unread.bytes).sum();
    assert_eq!(audit.bytes_read + unread, audit.bytes_sent);
    if let Outgoing::Unchanged(same) = &audit.outgoing {
        assert_eq!(&same[..], bytes);
    }
    if let Some(certificate) = flow.close().certificate {
        assert_eq!(certificate.rest_before, certificate.rest_after, "something else moved");
    }
}

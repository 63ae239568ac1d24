//! Edits through every layer: what leaves decodes to the same values in the same places, the edited one aside,
//! and no byte outside the declared spans has moved.

use std::io::Write;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use divulge::engine::visit::{Leaf, LeafKind, Place, Target, Visitor};
use divulge::engine::{Change, DecodeLimits, Decoded, Edit, Part, Request, Rewrite, RewriteError, Unit, rewrite, walk};
use divulge::wire::head::RequestHead;
use proptest::prelude::*;

#[path = "roundtrip/framed.rs"]
mod framed;

#[derive(Clone, Debug)]
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

    fn unread(&mut self, _: &dyn Place, _: &[u8], _: &'static str) {}
}

fn request(target: &str, fields: &[(&str, &str)]) -> Request {
    let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let head = RequestHead::from_parts("POST", target, fields);
    Request { host: "api.example.com".into(), port: 443, secure: true, head }
}

fn read(request: &Request, part: &Part) -> (Vec<Found>, Decoded) {
    let mut found = Collect::default();
    let decoded = walk(&Unit { request, part: part.clone() }, &DecodeLimits::default(), &mut found);
    (found.0, decoded)
}

/// The head with its edits made.
fn edited_head(request: &Request, result: &Rewrite) -> String {
    let raw = request.head.raw();
    let mut out = Vec::new();
    let mut at = 0;
    for edit in &result.head {
        out.extend_from_slice(&raw[at..edit.span.start as usize]);
        out.extend_from_slice(&edit.bytes);
        at = edit.span.end as usize;
    }
    out.extend_from_slice(&raw[at..]);
    String::from_utf8(out).unwrap()
}

#[track_caller]
fn find<'a>(found: &'a [Found], location: &str) -> &'a Found {
    let hit = found
        .iter()
        .find(|found| found.location == location && !matches!(found.kind, LeafKind::JsonName | LeafKind::FieldName));
    hit.unwrap_or_else(|| panic!("no {location} in {:#?}", found.iter().map(|f| &f.location).collect::<Vec<_>>()))
}

#[track_caller]
fn edits(found: &[Found], changes: &[(&str, Change)]) -> Vec<Edit> {
    let edit =
        |(at, change): &(&str, Change)| Edit { target: find(found, at).target, window: None, change: change.clone() };
    changes.iter().map(edit).collect()
}

fn put(text: &str) -> Change {
    Change::Replace(text.into())
}

#[track_caller]
fn change(request: &Request, part: &Part, changes: &[(&str, Change)]) -> Rewrite {
    let (found, decoded) = read(request, part);
    let result = rewrite(&Unit { request, part: part.clone() }, &decoded, edits(&found, changes)).unwrap();
    assert_eq!(result.rest_before, result.rest_after, "something else moved");
    result
}

/// Edits a body and gives it back as text.
#[track_caller]
fn change_json(body: &str, changes: &[(&str, Change)]) -> String {
    let request = request("/", &[("content-type", "application/json")]);
    let part = Part::Document(Bytes::copy_from_slice(body.as_bytes()));
    String::from_utf8(change(&request, &part, changes).payload.to_vec()).unwrap()
}

/// Replaces the value at `location` and checks that a second walk finds the same values elsewhere.
#[track_caller]
fn replaced(request: &Request, part: &Part, location: &str, text: &str) -> Bytes {
    let (before, _) = read(request, part);
    let payload = change(request, part, &[(location, put(text))]).payload;
    let again = match part {
        Part::Document(_) => Part::Document(payload.clone()),
        Part::Frame { index, .. } => Part::Frame { index: *index, bytes: payload.clone() },
        Part::Line { index, .. } => Part::Line { index: *index, bytes: payload.clone() },
        Part::Message { index, text, .. } => Part::Message { index: *index, text: *text, bytes: payload.clone() },
        other => other.clone(),
    };
    let (after, _) = read(request, &again);
    let values = |found: &[Found]| {
        let kept = found.iter().filter(|found| found.location != location && !location.starts_with(&found.location));
        kept.map(|found| (found.location.clone(), found.text.clone())).collect::<Vec<_>>()
    };
    assert_eq!(values(&before), values(&after));
    assert_eq!(String::from_utf8_lossy(&find(&after, location).text), text);
    payload
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::GzBuilder::new().mtime(77).filename("events").write(Vec::new(), Default::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn without_edits_the_very_same_bytes_leave() {
    let request = request("/", &[("content-encoding", "gzip"), ("content-length", "9")]);
    let bytes = Bytes::from(gzip(br#"{"a":1}"#));
    let part = Part::Document(bytes.clone());
    let result = change(&request, &part, &[]);
    assert_eq!((result.payload.as_ptr(), result.payload.len()), (bytes.as_ptr(), bytes.len()));
    assert!(result.head.is_empty() && result.applied.is_empty());
}

#[test]
fn a_member_goes_with_its_comma_wherever_it_stands() {
    let remove = |names: &[&str]| -> Vec<(String, Change)> {
        names.iter().map(|name| (format!("body!json:/{name}"), Change::Remove)).collect()
    };
    for (names, expected) in [
        (&["a"][..], r#"{ "b\"": "x", "c": null , "d":[1]}"#),
        (&["b\""], r#"{ "a" : 1, "c": null , "d":[1]}"#),
        (&["c"], r#"{ "a" : 1, "b\"": "x", "d":[1]}"#),
        (&["a", "b\"", "c"], r#"{ "d":[1]}"#),
        (&["b\"", "c"], r#"{ "a" : 1, "d":[1]}"#),
        (&["a", "c"], r#"{ "b\"": "x", "d":[1]}"#),
        (&["d/0"], r#"{ "a" : 1, "b\"": "x", "c": null , "d":[0]}"#),
    ] {
        let changes = remove(names);
        let changes: Vec<_> = changes.iter().map(|(at, change)| (at.as_str(), change.clone())).collect();
        let body = r#"{ "a" : 1, "b\"": "x", "c": null , "d":[1]}"#;
        assert_eq!(change_json(body, &changes), expected, "without {names:?}");
    }
    for (body, names, expected) in [
        (r#"{"a":1,"b":2}"#, &["b"][..], r#"{"a":1}"#),
        (r#"{"a":1,"b":2,"c":3}"#, &["b", "c"], r#"{"a":1}"#),
        (r#"{"a":1,"b":2}"#, &["a", "b"], "{}"),
        (
            r#"{"a":{"x":true,"y":"s"},"b":["k",false,null]}"#,
            &["a/x", "b/0", "b/1", "b/2"],
            r#"{"a":{"y":"s"},"b":["",false,null]}"#,
        ),
    ] {
        let changes = remove(names);
        let changes: Vec<_> = changes.iter().map(|(at, change)| (at.as_str(), change.clone())).collect();
        assert_eq!(change_json(body, &changes), expected, "without {names:?}");
    }
}

#[test]
fn only_the_bytes_that_spell_a_window_are_replaced() {
    let body = r#"{"t":"\u0061\/é\u00e9 Asia\/Shanghai \ud83d\ude00!","n":1.50E+2}"#;
    let request = request("/", &[("content-type", "application/json")]);
    let part = Part::Document(Bytes::from_static(body.as_bytes()));
    let (found, decoded) = read(&request, &part);
    let leaf = find(&found, "body!json:/t");
    let text = std::str::from_utf8(&leaf.text).unwrap();
    let unit = Unit { request: &request, part: part.clone() };
    let edit = |what: &str, with: &str| {
        let start = text.find(what).unwrap();
        Edit { target: leaf.target, window: Some(start..start + what.len()), change: put(with) }
    };
    let result = rewrite(&unit, &decoded, vec![edit("😀", "\"\u{1}"), edit("Asia/Shanghai", "Etc/UTC")]).unwrap();
    let expected = r#"{"t":"\u0061\/é\u00e9 Etc/UTC \"\u0001!","n":1.50E+2}"#;
    assert_eq!(std::str::from_utf8(&result.payload).unwrap(), expected);
    assert_eq!(result.rest_before, result.rest_after);
    let spans: Vec<_> = result.applied.iter().map(|applied| (applied.edit, applied.before.range())).collect();
    let at = |what: &str| body.find(what).unwrap();
    assert_eq!(spans, [(Some(1), at("Asia")..at("Asia") + 14), (Some(0), at(r"\ud83d")..at(r"\ud83d") + 12)]);

    let inside = Edit { target: leaf.target, window: Some(1..3), change: put("x") };
    assert!(rewrite(&unit, &decoded, vec![inside]).is_ok());
    let smiley = text.find('😀').unwrap();
    let split = Edit { target: leaf.target, window: Some(smiley..smiley + 1), change: put("x") };
    assert_eq!(rewrite(&unit, &decoded, vec![split]).unwrap_err(), RewriteError::Misplaced { edit: 0 });
    let overlapping = vec![edit("Asia/Shanghai", "a"), edit("Shanghai", "b")];
    let error = rewrite(&unit, &decoded, overlapping).unwrap_err();
    assert_eq!(error, RewriteError::Overlap { first: 0, second: 1 });
}

#[test]
fn tokens_keep_their_type() {
    let body = r#"{"n":-1.5e3,"b":true,"z":null}"#;
    let changed = change_json(body, &[("body!json:/n", put("0")), ("body!json:/b", put("false"))]);
    assert_eq!(changed, r#"{"n":0,"b":false,"z":null}"#);
    let request = request("/", &[("content-type", "application/json")]);
    let part = Part::Document(Bytes::from_static(body.as_bytes()));
    let (found, decoded) = read(&request, &part);
    for (at, text) in [("n", "x"), ("n", "true"), ("b", "1"), ("z", "0"), ("n", "1 2")] {
        let edits = edits(&found, &[(&format!("body!json:/{at}"), put(text))]);
        let error = rewrite(&Unit { request: &request, part: part.clone() }, &decoded, edits).unwrap_err();
        assert_eq!(error, RewriteError::WrongType { edit: 0 }, "{at} = {text}");
    }
}

#[test]
fn an_edit_passes_out_through_every_layer() {
    let inner = r#"{"device":"0011","keep":"\u00e9\/"}"#;
    let layers = [
        ("!json:", inner.to_owned()),
        ("!b64!json:", BASE64_STANDARD.encode(inner)),
        ("!b64url!json:", BASE64_URL_SAFE_NO_PAD.encode(r#"{"keep":"???>>>~~~","device":"00"}"#)),
        ("!b64!gzip!json:", BASE64_STANDARD.encode(gzip(inner.as_bytes()))),
        ("!hex!json:", inner.bytes().map(|byte| format!("{byte:02X}")).collect()),
        ("!url!json:", inner.bytes().map(|byte| format!("%{byte:02x}")).collect()),
        ("!b64!zstd!json:", BASE64_STANDARD.encode(zstd::encode_all(inner.as_bytes(), 5).unwrap())),
        ("!html!json:", inner.replace('"', "&quot;").replace('/', "&#47;")),
        ("!json:/in!b64!json:", serde_json::json!({ "in": BASE64_STANDARD.encode(inner) }).to_string()),
    ];
    for (steps, value) in layers {
        let body = serde_json::json!({ "before": "x", "value": value, "after": [1.5] }).to_string();
        for coding in ["identity", "gzip", "deflate", "br", "zstd"] {
            let request = request("/", &[("content-type", "application/json"), ("content-encoding", coding)]);
            let body = match coding {
                "gzip" => gzip(body.as_bytes()),
                "deflate" => {
                    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Default::default());
                    encoder.write_all(body.as_bytes()).unwrap();
                    encoder.finish().unwrap()
                }
                "br" => {
                    let mut out = Vec::new();
                    let mut writer = brotli::CompressorWriter::new(&mut out, 4096, 11, 22);
                    writer.write_all(body.as_bytes()).unwrap();
                    drop(writer);
                    out
                }
                "zstd" => zstd::encode_all(body.as_bytes(), 3).unwrap(),
                _ => body.clone().into_bytes(),
            };
            let step = if coding == "identity" { String::new() } else { format!("!{coding}") };
            let location = format!("body{step}!json:/value{steps}/device");
            let part = Part::Document(body.into());
            replaced(&request, &part, &location, "a \"longer\" one");
            replaced(&request, &part, &location, "");
        }
    }
}

#[test]
fn an_alphabet_of_its_own_is_written_again() {
    let theirs = b"_doRTgHZBKcGVjlvpC,@aFSx#DPuNJme&i*MzLOEn)sUrthbf%Y^w.(kIQyXqWA!$";
    let ours = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
    let coded = |json: &str| {
        let swap = |byte: u8| theirs[ours.iter().position(|&known| known == byte).unwrap()];
        let text: Vec<u8> = BASE64_STANDARD.encode(json).bytes().map(swap).collect();
        let third = text.len() / 3;
        let (last, first) = (text.len() - third, &text[..third]);
        [&text[last..], &text[third..last], first].concat()
    };
    let request = request("/v1/tracking?Encode=1", &[("content-type", "application/json")]);
    let part = Part::Document(coded(r#"[{"mid":"0011","n": 1.50}]"#).into());
    let payload = replaced(&request, &part, "body!qoder!json:/0/mid", "a longer one");
    assert_eq!(payload, coded(r#"[{"mid":"a longer one","n": 1.50}]"#));
}

#[test]
fn gzip_members_that_hold_no_edit_stay_as_they_were() {
    let (first, second, third) = (gzip(br#"{"a":"one","#), gzip(br#""b":"two","#), gzip(br#""c":"three"}"#));
    let body = [&first[..], &second, &third].concat();
    let request = request("/", &[("content-encoding", "gzip"), ("content-length", &body.len().to_string())]);
    let result = change(&request, &Part::Document(body.into()), &[("body!gzip!json:/b", put("something else"))]);
    assert!(result.payload.starts_with(&first) && result.payload.ends_with(&third));
    // The header's time and name are the sender's.
    assert!(result.payload[first.len()..].starts_with(&second[..17]));
    let expected = format!("content-length: {}\r\n", result.payload.len());
    assert!(edited_head(&request, &result).contains(&expected));
}

#[test]
fn head_edits_touch_their_own_bytes() {
    let request = request(
        "/v1/ann%20l/x?tz=Asia%2FShanghai&a=1&id=7",
        &[
            ("Host", "api.example.com"),
            ("X-Device", "0011"),
            ("Cookie", "sid=abc; tz=UTC;  id=9"),
            ("X-Meta", r#"{"id":"0011","v":1}"#),
            ("X-Device", "2233"),
        ],
    );
    let result = change(
        &request,
        &Part::Head,
        &[
            ("path:/1", put("b c")),
            ("query!form:/tz", put("Etc/UTC x")),
            ("query!form:/id", Change::Remove),
            ("header:/x-device", Change::Remove),
            ("header:/x-device[1]", put("0000")),
            ("header:/cookie!cookie:/tz", Change::Remove),
            ("header:/x-meta!json:/id", put("-")),
        ],
    );
    let expected = "POST /v1/b%20c/x?tz=Etc%2FUTC+x&a=1 HTTP/1.1\r\nHost: api.example.com\r\n\
        Cookie: sid=abc; id=9\r\nX-Meta: {\"id\":\"-\",\"v\":1}\r\nX-Device: 0000\r\n\r\n";
    assert_eq!(edited_head(&request, &result), expected);

    let all = ["query!form:/tz", "query!form:/a", "query!form:/id"].map(|at| (at, Change::Remove));
    let result = change(&request, &Part::Head, &all);
    assert!(edited_head(&request, &result).starts_with("POST /v1/ann%20l/x HTTP/1.1\r\n"));
    let all = ["sid", "tz", "id"].map(|name| format!("header:/cookie!cookie:/{name}"));
    let all: Vec<_> = all.iter().map(|at| (at.as_str(), Change::Remove)).collect();
    assert!(!edited_head(&request, &change(&request, &Part::Head, &all)).contains("Cookie"));

    let (found, decoded) = read(&request, &Part::Head);
    let unit = Unit { request: &request, part: Part::Head };
    let edits = edits(&found, &[("header:/x-device", put("a\r\nb: c"))]);
    assert_eq!(rewrite(&unit, &decoded, edits).unwrap_err(), RewriteError::Unspellable { edit: 0 });
}

#[test]
fn a_form_body_keeps_the_spelling_of_what_stays() {
    let request = request("/", &[("content-type", "application/x-www-form-urlencoded"), ("content-length", "27")]);
    let part = Part::Document(Bytes::from_static(b"a=%7e+x&b=1&c=%7B%22d%22:2%7d"));
    let result = change(&request, &part, &[("body!form:/b", Change::Remove), ("body!form:/c!json:/d", put("33"))]);
    assert_eq!(&result.payload[..], b"a=%7e+x&c=%7B%22d%22:33%7d");
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while value > 127 {
        out.push(value as u8 | 128);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// A protobuf field with a length.
fn pb(number: u8, value: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2], &varint(value.len())[..], value].concat()
}

fn frame(flags: u8, message: &[u8]) -> Vec<u8> {
    [&[flags][..], &(message.len() as u32).to_be_bytes(), message].concat()
}

fn message(zone: &str) -> Vec<u8> {
    let inner = [pb(10, zone.as_bytes()), pb(3, b"bash"), vec![8, 1], pb(4, br#"{"cwd":"/home/ann"}"#)].concat();
    [pb(2, &pb(1, &inner)), vec![0x3d, 1, 0, 0, 0], pb(5, &[0xff; 16]), pb(6, b"last")].concat()
}

#[test]
fn the_lengths_around_an_edit_follow() {
    let long = "x".repeat(300);
    for text in ["Etc/UTC", "", long.as_str(), "Asia/Shanghai"] {
        let proto = request("/", &[("content-type", "application/proto")]);
        let part = Part::Document(message("Asia/Shanghai").into());
        let payload = replaced(&proto, &part, "body!pb:/2/1/10", text);
        assert_eq!(&payload[..], message(text));

        let fields = [("content-type", "application/connect+proto"), ("connect-content-encoding", "gzip")];
        let connect = request("/", &fields);
        let (first, last) = (frame(0, &message("Asia/Shanghai")), frame(2, br#"{"metadata":{}}"#));
        let zipped = frame(1, &gzip(&message("Asia/Shanghai")));
        let body = [&first[..], &zipped, &last].concat();
        let payload = replaced(&connect, &Part::Document(body.clone().into()), "body!frame:/0!pb:/2/1/10", text);
        assert_eq!(&payload[..], [&frame(0, &message(text))[..], &zipped, &last].concat());
        let payload = replaced(&connect, &Part::Document(body.into()), "body!frame:/1!gzip!pb:/2/1/10", text);
        assert!(payload.starts_with(&first) && payload.ends_with(&last));
        let part = Part::Frame { index: 3, bytes: zipped.into() };
        replaced(&connect, &part, "body!frame:/3!gzip!pb:/2/1/4!json:/cwd", text);
    }
}

#[test]
fn protobuf_numbers_and_fields_change_and_go() {
    let request = request("/", &[("content-type", "application/proto")]);
    let part = Part::Document(message("UTC").into());
    let changes = [("body!pb:/2/1/1", put("70000")), ("body!pb:/7", put("2")), ("body!pb:/6", Change::Remove)];
    let inner = [pb(10, b"UTC"), pb(3, b"bash"), vec![8, 0xf0, 0xa2, 4], pb(4, br#"{"cwd":"/home/ann"}"#)].concat();
    let expected = [pb(2, &pb(1, &inner)), vec![0x3d, 2, 0, 0, 0], pb(5, &[0xff; 16])].concat();
    assert_eq!(&change(&request, &part, &changes).payload[..], expected);
    let changes = [("body!pb:/2/1/10", Change::Remove), ("body!pb:/2/1/1", Change::Remove)];
    let inner = [pb(3, b"bash"), pb(4, br#"{"cwd":"/home/ann"}"#)].concat();
    let expected = [pb(2, &pb(1, &inner)), vec![0x3d, 1, 0, 0, 0], pb(5, &[0xff; 16]), pb(6, b"last")].concat();
    assert_eq!(&change(&request, &part, &changes).payload[..], expected);
}

#[test]
fn parts_lines_and_messages_change_in_place() {
    let multipart = request("/", &[("content-type", "multipart/form-data; boundary=b"), ("content-length", "1")]);
    let body = "--b\r\ncontent-disposition: form-data; name=\"m\"\r\n\r\n{\"id\": 7}\r\n--b\r\n\
        content-disposition: form-data; name=\"n\"\r\n\r\nnote\r\n--b--\r\n";
    let changes = [("body!multipart:/m!json:/id", put("88")), ("body!multipart:/n", Change::Replace("n".into()))];
    let (found, decoded) = read(&multipart, &Part::Document(body.into()));
    let note = found.iter().find(|found| found.text == b"note").unwrap().target;
    let mut edits = edits(&found, &changes[..1]);
    edits.push(Edit { target: note, window: None, change: Change::Remove });
    let unit = Unit { request: &multipart, part: Part::Document(body.into()) };
    let result = rewrite(&unit, &decoded, edits).unwrap();
    let expected = body.replace("{\"id\": 7}", "{\"id\": 88}").replace("note", "");
    assert_eq!(&result.payload[..], expected.as_bytes());
    assert!(edited_head(&multipart, &result).contains(&format!("content-length: {}\r\n", expected.len())));

    let lines = request("/", &[("content-type", "application/x-ndjson")]);
    let part = Part::Document(Bytes::from_static(b"{\"a\":1}\n\n{\"a\":\"b\"}\r\n"));
    let payload = replaced(&lines, &part, "body!lines:/1!json:/a", "longer");
    assert_eq!(&payload[..], b"{\"a\":1}\n\n{\"a\":\"longer\"}\r\n");
    let part = Part::Line { index: 9, bytes: Bytes::from_static(b" {\"a\":\"b\"}\n") };
    assert_eq!(&replaced(&lines, &part, "body!lines:/9!json:/a", "c")[..], b" {\"a\":\"c\"}\n");
    let part = Part::Message { index: 1, text: true, bytes: Bytes::from_static(b"{\"m\":\"{\\\"a\\\":\\\"b\\\"}\"}") };
    let payload = replaced(&lines, &part, "ws:/1!json:/m!json:/a", "\"");
    assert_eq!(&payload[..], br#"{"m":"{\"a\":\"\\\"\"}"}"#);
}

#[test]
fn two_edits_in_one_encoded_value_share_its_place() {
    let inner = BASE64_STANDARD.encode(gzip(br#"{"a":"one","b":"two"}"#));
    let body = format!(r#"{{"x":"{inner}","y":1}}"#);
    let request = request("/", &[]);
    let part = Part::Document(body.clone().into());
    let changes = [("body!json:/x!b64!gzip!json:/a", put("1")), ("body!json:/x!b64!gzip!json:/b", Change::Remove)];
    let result = change(&request, &part, &changes);
    let edits: Vec<_> =
        result.applied.iter().map(|applied| (applied.edit, applied.old_length, applied.new_length)).collect();
    assert_eq!(edits, [(Some(0), 3, 1), (Some(1), 3, 0)]);
    assert_eq!(result.applied[0].before, result.applied[1].before);

    let (found, decoded) = read(&request, &part);
    let leaf = find(&found, "body!json:/x!b64!gzip!json:/a");
    let (_, span) = divulge::engine::span_of(&decoded, &leaf.target, None).unwrap();
    assert_eq!(&body[span.range()], inner);
}

#[test]
fn the_place_of_a_window_is_where_its_bytes_stand() {
    let inner = r#"{"k":"a\u00e9 Asia/Shanghai"}"#;
    let body = serde_json::json!({ "s": inner, "b": BASE64_STANDARD.encode(inner) }).to_string();
    let request = request("/p?tz=x%20Asia%2FShanghai", &[]);
    let (found, decoded) = read(&request, &Part::Document(body.clone().into()));
    for (at, start, shown) in [
        ("body!json:/s!json:/k", 4, "Asia/Shanghai".to_owned()),
        ("body!json:/b!b64!json:/k", 4, BASE64_STANDARD.encode(inner)[16..36].to_owned()),
        ("query!form:/tz", 2, "Asia%2FShanghai".to_owned()),
    ] {
        let target = find(&found, at).target;
        let (part, span) = divulge::engine::span_of(&decoded, &target, Some(start..start + 13)).unwrap();
        let bytes = if at.starts_with("body") { body.as_bytes() } else { request.head.raw() };
        assert_eq!(std::str::from_utf8(&bytes[span.range()]).unwrap(), shown, "{at} in {part:?}");
    }
}

#[test]
fn what_was_not_read_to_its_end_is_not_written() {
    let request = request("/", &[("content-encoding", "gzip")]);
    let mut body = gzip(br#"{"a":"one","b":"two"}"#);
    body.truncate(body.len() - 12);
    let part = Part::Document(body.into());
    let (found, decoded) = read(&request, &part);
    let edits = edits(&found, &[("body!gzip!json:/a", put("1"))]);
    let error = rewrite(&Unit { request: &request, part }, &decoded, edits).unwrap_err();
    assert_eq!(error, RewriteError::Incomplete { edit: 0 });
}

/// A document whose values hold further documents in all sorts of encodings.
fn nested() -> impl Strategy<Value = serde_json::Value> {
    let text = "([a-zA-Z0-9/~\"\\\\\n\t%&;<+ =.éß漢😀-]{0,40}|\\PC{0,20})";
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i32>().prop_map(serde_json::Value::from),
        any::<f32>().prop_map(serde_json::Value::from),
        text.prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(5, 32, 6, move |inner| {
        let member = (0u8..12, inner.clone()).prop_map(|(how, value)| wrapped(how, &value));
        prop_oneof![
            prop::collection::vec(member.clone(), 0..6).prop_map(serde_json::Value::from),
            prop::collection::vec(("[a-c/\"~é]{0,3}", member), 0..6).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

fn wrapped(how: u8, value: &serde_json::Value) -> serde_json::Value {
    let text = value.to_string();
    match how {
        0 => text.into(),
        1 => serde_json::to_string_pretty(value).unwrap().into(),
        2 => BASE64_STANDARD.encode(text).into(),
        3 => BASE64_URL_SAFE_NO_PAD.encode(text).into(),
        4 => BASE64_STANDARD.encode(gzip(text.as_bytes())).into(),
        5 => text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>().into(),
        6 => text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>().into(),
        7 => text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;").into(),
        _ => value.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_leaf_can_be_replaced_and_nothing_else_changes(
        value in nested(), pick: prop::sample::Index, text in "[a-zé\"\\\\\n 0-9]{0,30}", coded: bool,
    ) {
        let coding = if coded { "gzip" } else { "identity" };
        let request = request("/", &[("content-type", "application/json"), ("content-encoding", coding)]);
        let body = serde_json::json!({ "first": 1, "value": value }).to_string();
        let body = if coded { gzip(body.as_bytes()) } else { body.into_bytes() };
        let part = Part::Document(body.into());
        let (found, decoded) = read(&request, &part);
        let leaves: Vec<_> = found.iter().enumerate()
            .filter(|(_, found)| matches!(found.kind, LeafKind::JsonString | LeafKind::JsonNumber)).collect();
        let (index, leaf) = leaves[pick.index(leaves.len())];
        let text = if leaf.kind == LeafKind::JsonNumber { "-12.50".to_owned() } else { format!("x {text}") };
        let unit = Unit { request: &request, part: part.clone() };
        let edit = Edit { target: leaf.target, window: None, change: put(&text) };
        let result = rewrite(&unit, &decoded, vec![edit]).unwrap();
        prop_assert_eq!(result.rest_before, result.rest_after);

        let (after, _) = read(&request, &Part::Document(result.payload.clone()));
        // Other readings of the same value, and of those around it, change with it.
        let related = |other: &Found| other.location.starts_with(&leaf.location) || leaf.location.starts_with(&other.location);
        let rest = |found: &[Found]| found.iter().filter(|other| !related(other))
            .map(|found| (found.location.clone(), found.text.clone())).collect::<Vec<_>>();
        let steps_kept = after.iter().any(|found| found.location == leaf.location);
        if steps_kept {
            prop_assert!(after.iter().any(|found| found.location == leaf.location && found.text == text.as_bytes()), "{index}");
            prop_assert_eq!(rest(&found), rest(&after));
        }
    }

    #[test]
    fn any_two_windows_change_only_their_bytes(
        value in nested(), picks: [prop::sample::Index; 2], cuts: [prop::sample::Index; 4],
    ) {
        let request = request("/", &[("content-type", "application/json")]);
        let body = value.to_string();
        let part = Part::Document(body.clone().into());
        let (found, decoded) = read(&request, &part);
        let edits: Vec<_> = picks.iter().zip(cuts.chunks(2)).map(|(pick, cut)| {
            let leaf = &found[pick.index(found.len())];
            let (a, b) = (cut[0].index(leaf.text.len() + 1), cut[1].index(leaf.text.len() + 1));
            Edit { target: leaf.target, window: Some(a.min(b)..a.max(b)), change: put("Z") }
        }).collect();
        let unit = Unit { request: &request, part };
        let before: Vec<_> = edits.iter().map(|edit| divulge::engine::span_of(&decoded, &edit.target, edit.window.clone())).collect();
        if let Ok(result) = rewrite(&unit, &decoded, edits) {
            prop_assert_eq!(result.rest_before, result.rest_after);
            for applied in &result.applied {
                let place = applied.edit.and_then(|edit| before[edit]);
                prop_assert!(place.is_none_or(|(part, _)| part == applied.part));
            }
        }
    }

    #[test]
    fn any_bytes_are_walked_and_rewritten_without_a_panic(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            prop::collection::vec(prop::sample::select(&b"{}[]\":,\\u0az%&;=-\r\n\x00\x0a\x12\x08\xff\x1f\x8b"[..]), 0..120),
        ],
        kind in prop::sample::select(&["application/json", "application/proto", "application/grpc", "application/x-ndjson",
            "application/x-www-form-urlencoded", "multipart/mixed; boundary=a", "text/plain", ""][..]),
        coding in prop::sample::select(&["", "gzip", "deflate", "br", "zstd", "x, gzip"][..]),
        remove: bool,
    ) {
        let request = request("/a?b=%zz&c", &[("content-type", kind), ("content-encoding", coding), ("cookie", "a=b;c; d")]);
        for part in [
            Part::Document(bytes.clone().into()),
            Part::Frame { index: 0, bytes: bytes.clone().into() },
            Part::Message { index: 0, text: false, bytes: bytes.clone().into() },
            Part::Chunk { offset: 0, bytes: bytes.clone().into() },
        ] {
            let (found, decoded) = read(&request, &part);
            prop_assert!(decoded.bytes_read <= decoded.bytes_sent);
            let unit = Unit { request: &request, part: part.clone() };
            for leaf in &found {
                let change = if remove { Change::Remove } else { put("7") };
                let edit = Edit { target: leaf.target, window: None, change };
                if let Ok(result) = rewrite(&unit, &decoded, vec![edit]) {
                    prop_assert_eq!(result.rest_before, result.rest_after);
                }
            }
            let all = found.iter().map(|leaf| Edit { target: leaf.target, window: None, change: Change::Remove });
            let _ = rewrite(&unit, &decoded, all.collect());
        }
    }
}

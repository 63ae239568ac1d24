//! Protocol buffers, their frames, and AWS event streams, written by hand.

use crate::carrier::{Pieces, Sent, at, post, request, whole};
use crate::document::{self, prose};
use crate::load::{Load, compressed};
use crate::random::Rng;

pub fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A length-delimited field.
pub fn delimited(field: u32, bytes: &[u8], out: &mut Vec<u8>) {
    varint(u64::from(field) << 3 | 2, out);
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

pub fn number(field: u32, value: u64, out: &mut Vec<u8>) {
    varint(u64::from(field) << 3, out);
    varint(value, out);
}

/// A message that holds the loads some levels down, and the path to each.
pub fn message(rng: &mut Rng, loads: &[Load]) -> (Vec<u8>, Vec<String>) {
    let mut out = Vec::new();
    let mut paths = Vec::new();
    number(1, rng.between(1, 5000) as u64, &mut out);
    for (index, load) in loads.iter().enumerate() {
        let depth = rng.between(0, 4);
        // Its own first field, so that the loads do not count as repeats of each other.
        let field = 2 + 3 * index as u32 + rng.below(3) as u32;
        let repeat = rng.below(3);
        let leaf = rng.between(1, 20) as u32;
        let mut inner = Vec::new();
        let mut path;
        if depth == 0 {
            for _ in 0..repeat {
                delimited(field, prose(rng).as_bytes(), &mut out);
            }
            delimited(field, &load.bytes, &mut out);
            path = String::new();
        } else {
            number(21, rng.between(1, 90) as u64, &mut inner);
            delimited(leaf, &load.bytes, &mut inner);
            path = format!("/{leaf}");
            for _ in 1..depth {
                let field = rng.between(1, 12) as u32;
                let mut around = Vec::new();
                delimited(13, rng.pick(&["step", "user", "text"]).as_bytes(), &mut around);
                delimited(field, &inner, &mut around);
                inner = around;
                path.insert_str(0, &format!("/{field}"));
            }
            for _ in 0..repeat {
                let mut other = Vec::new();
                number(21, 5, &mut other);
                delimited(22, prose(rng).as_bytes(), &mut other);
                delimited(field, &other, &mut out);
            }
            delimited(field, &inner, &mut out);
        }
        let top = if repeat == 0 { format!("/{field}") } else { format!("/{field}.{repeat}") };
        paths.push(format!("!pb:{top}{path}"));
    }
    delimited(15, rng.uuid().as_bytes(), &mut out);
    (out, paths)
}

pub fn body(rng: &mut Rng, loads: &[Load]) -> Sent {
    let (bytes, paths) = message(rng, loads);
    let kind = rng.pick(&["application/proto", "application/x-protobuf", "application/protobuf"]);
    if rng.percent(20) {
        let raw = post(rng, kind, "content-encoding: gzip\r\n", &compressed("!gzip", &bytes));
        return whole(raw, paths.iter().map(|path| format!("body!gzip{path}")).collect());
    }
    whole(post(rng, kind, "", &bytes), paths.iter().map(|path| format!("body{path}")).collect())
}

fn frame(flags: u8, bytes: &[u8]) -> Vec<u8> {
    [&[flags][..], &(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

fn framed(rng: &mut Rng, loads: &[Load], kind: &str, coding: &str) -> Sent {
    let mut frames = Vec::new();
    let mut places = Vec::new();
    let named = rng.pick(&["gzip", "gzip", "br", "zstd", "deflate"]);
    for _ in 0..rng.below(2) {
        frames.push(frame(0, &message(rng, &[]).0));
    }
    for load in loads {
        let (bytes, paths) = message(rng, std::slice::from_ref(load));
        let number = frames.len();
        if rng.percent(50) {
            let step = match named {
                "deflate" => "!zlib",
                "br" => "!br",
                "zstd" => "!zstd",
                _ => "!gzip",
            };
            frames.push(frame(1, &compressed(step, &bytes)));
            let mut spellings = vec![format!("body!frame:/{number}{step}{}", paths[0])];
            if step == "!zlib" {
                spellings.push(format!("body!frame:/{number}!deflate{}", paths[0]));
            }
            places.push(spellings);
        } else {
            frames.push(frame(0, &bytes));
            places.push(vec![format!("body!frame:/{number}{}", paths[0])]);
        }
    }
    let fields = format!("content-type: {kind}\r\n{coding}: {named}\r\n");
    if rng.percent(50) {
        let raw = request(
            "POST /agent.v1.Agent/Run",
            "api.example.com",
            &format!("{fields}transfer-encoding: chunked\r\n"),
            b"",
        );
        return Sent { raw, pieces: Pieces::Frames(frames), places };
    }
    let raw = request("POST /agent.v1.Agent/Run", "api.example.com", &fields, &frames.concat());
    Sent { raw, pieces: Pieces::Whole, places }
}

pub fn grpc(rng: &mut Rng, loads: &[Load]) -> Sent {
    let kind = rng.pick(&["application/grpc", "application/grpc+proto", "application/grpc-web+proto"]);
    framed(rng, loads, kind, "grpc-encoding")
}

pub fn connect(rng: &mut Rng, loads: &[Load]) -> Sent {
    framed(rng, loads, "application/connect+proto", "connect-content-encoding")
}

/// Messages of an AWS event stream: lengths, headers, payload, CRC-32 of both parts.
pub fn event_stream(rng: &mut Rng, loads: &[Load]) -> Sent {
    let mut body = Vec::new();
    let before = rng.below(3);
    for _ in 0..before {
        body.extend(event(b"{\"ping\":1}"));
    }
    let (text, pointers) = document::json(rng, loads);
    body.extend(event(text.as_bytes()));
    let places = at(&format!("body!event:/{before}"), &pointers);
    whole(post(rng, "application/vnd.amazon.eventstream", "", &body), places)
}

fn event(payload: &[u8]) -> Vec<u8> {
    let mut headers = Vec::new();
    for (name, value) in [(":message-type", "event"), (":event-type", "chunk"), (":content-type", "application/json")] {
        headers.push(name.len() as u8);
        headers.extend_from_slice(name.as_bytes());
        // A string.
        headers.push(7);
        headers.extend_from_slice(&(value.len() as u16).to_be_bytes());
        headers.extend_from_slice(value.as_bytes());
    }
    let total = 12 + headers.len() + payload.len() + 4;
    let mut out = [(total as u32).to_be_bytes(), (headers.len() as u32).to_be_bytes()].concat();
    let check = crc32(&out);
    out.extend_from_slice(&check.to_be_bytes());
    out.extend_from_slice(&headers);
    out.extend_from_slice(payload);
    let check = crc32(&out);
    out.extend_from_slice(&check.to_be_bytes());
    out
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    };
    !bytes.iter().fold(!0, step)
}

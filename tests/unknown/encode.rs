//! What invented clients spell their bodies in: msgpack, protobuf, multipart, forms, messages of a WebSocket.

use std::fmt::Write;

use bytes::Bytes;
use divulge::engine::Part;

/// A value as most formats know it.
pub enum Value {
    Text(&'static str),
    Int(i64),
    Float(f64),
    Bool(bool),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Map(Vec<(&'static str, Value)>),
}

pub use Value::{Bool, Float, Int, List, Map, Text};

/// MessagePack, each value in its shortest form.
pub fn msgpack(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    pack(value, &mut out);
    out
}

fn pack(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Text(text) => pack_text(text, out),
        Value::Int(number @ 0..=127) => out.push(*number as u8),
        Value::Int(number @ -32..=-1) => out.push(*number as u8),
        Value::Int(number) => match u16::try_from(*number) {
            Ok(short) => {
                out.push(0xcd);
                out.extend(short.to_be_bytes());
            }
            Err(_) => {
                out.push(0xd3);
                out.extend(number.to_be_bytes());
            }
        },
        Value::Float(number) => {
            out.push(0xcb);
            out.extend(number.to_be_bytes());
        }
        Value::Bool(truth) => out.push(if *truth { 0xc3 } else { 0xc2 }),
        Value::Bytes(bytes) => {
            out.extend([0xc4, bytes.len() as u8]);
            out.extend(bytes);
        }
        Value::List(list) => {
            head(0x90, 0xdc, list.len(), out);
            list.iter().for_each(|one| pack(one, out));
        }
        Value::Map(map) => {
            head(0x80, 0xde, map.len(), out);
            for (name, one) in map {
                pack_text(name, out);
                pack(one, out);
            }
        }
    }
}

fn head(short: u8, long: u8, count: usize, out: &mut Vec<u8>) {
    match count {
        0..=15 => out.push(short | count as u8),
        _ => {
            out.push(long);
            out.extend((count as u16).to_be_bytes());
        }
    }
}

fn pack_text(text: &str, out: &mut Vec<u8>) {
    match text.len() {
        length @ 0..=31 => out.push(0xa0 | length as u8),
        length @ 32..=255 => out.extend([0xd9, length as u8]),
        length => {
            out.push(0xda);
            out.extend((length as u16).to_be_bytes());
        }
    }
    out.extend(text.as_bytes());
}

/// A field of a protobuf message.
pub enum Field {
    Str(u32, &'static str),
    Num(u32, u64),
    Msg(u32, Vec<Field>),
}

pub use Field::{Msg, Num, Str};

pub fn protobuf(fields: &[Field]) -> Vec<u8> {
    let mut out = Vec::new();
    for field in fields {
        match field {
            Str(number, text) => {
                varint(u64::from(number << 3 | 2), &mut out);
                varint(text.len() as u64, &mut out);
                out.extend(text.as_bytes());
            }
            Num(number, value) => {
                varint(u64::from(number << 3), &mut out);
                varint(*value, &mut out);
            }
            Msg(number, inner) => {
                let inner = protobuf(inner);
                varint(u64::from(number << 3 | 2), &mut out);
                varint(inner.len() as u64, &mut out);
                out.extend(inner);
            }
        }
    }
    out
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value > 127 {
        out.push(value as u8 | 128);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A gRPC or Connect envelope.
pub fn envelope(message: &[u8]) -> Vec<u8> {
    [&[0][..], &(message.len() as u32).to_be_bytes(), message].concat()
}

/// `multipart/form-data` with the boundary `cut`: name, content type or none, text.
pub fn multipart(parts: &[(&str, &str, &str)]) -> Vec<u8> {
    let mut out = String::new();
    for (name, kind, text) in parts {
        let _ = write!(out, "--cut\r\ncontent-disposition: form-data; name=\"{name}\"\r\n");
        if !kind.is_empty() {
            let _ = write!(out, "content-type: {kind}\r\n");
        }
        let _ = write!(out, "\r\n{text}\r\n");
    }
    out.push_str("--cut--\r\n");
    out.into_bytes()
}

/// As a form spells a value.
pub fn form_value(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => out.push(byte as char),
            b' ' => out.push('+'),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// A head that asks for a WebSocket, and what the client says on it.
pub fn messages(texts: &[&'static str]) -> Vec<Part> {
    let message = |(index, text): (usize, &&'static str)| Part::Message {
        index: index as u64,
        text: true,
        bytes: Bytes::from_static(text.as_bytes()),
    };
    std::iter::once(Part::Head).chain(texts.iter().enumerate().map(message)).collect()
}

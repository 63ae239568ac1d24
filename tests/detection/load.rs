//! What a carrier carries: a value in its encoding, in a sentence or document, in encodings around that.

use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

use crate::document;
use crate::encode::{Encoded, hex};
use crate::machine::{Known, telling_names};
use crate::random::Rng;

/// The bytes of one leaf.
pub struct Load {
    pub bytes: Vec<u8>,
    /// Steps from the leaf to the value; each is right, the first one by the letter.
    pub inner: Vec<String>,
    /// The name that the leaf should have.
    pub name: String,
    /// Whether the value counts only under that name.
    pub needs_name: bool,
    pub escaped: bool,
    pub is_binary: bool,
    /// The value and nothing else, readable, and one that no public list has.
    pub is_telling: bool,
    /// The encodings around a sentence or document, outermost last.
    pub wraps: Vec<&'static str>,
    /// The value alone, or in a sentence or an address: nothing was put around it that is a step.
    pub is_bare: bool,
}

impl Load {
    /// Whether it can stand in a head field as it is.
    pub fn fits_head(&self) -> bool {
        let printable = |byte: &u8| (b' '..=b'~').contains(byte);
        !self.escaped
            && self.bytes.len() < 3000
            && self.bytes.iter().all(printable)
            && self.text().trim() == self.text()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap_or_default()
    }
}

/// A value with up to `wraps` encodings around it.
pub fn load(rng: &mut Rng, known: &Known, encoded: &Encoded, wraps: usize) -> Load {
    let weak = known.is_weak();
    let name = match rng.below(100) {
        _ if weak => rng.pick(telling_names(known.kind)).to_owned(),
        0..=44 => rng.pick(telling_names(known.kind)).to_owned(),
        45..=84 => rng.pick(NEUTRAL).to_owned(),
        _ => rng.pick(MISLEADING).to_owned(),
    };
    let mut load = Load {
        bytes: encoded.bytes.clone(),
        inner: encoded.inner.iter().map(|&step| step.to_owned()).collect(),
        name,
        needs_name: weak,
        escaped: encoded.escaped,
        is_binary: encoded.is_binary,
        is_telling: encoded.readable && !weak && !known.is_listed(),
        wraps: Vec::new(),
        is_bare: true,
    };
    if wraps == 0 || encoded.is_binary {
        if encoded.readable && encoded.inner.len() == 1 && rng.percent(35) {
            say(rng, &mut load, known);
        }
        return load;
    }
    // An encoding of the value alone would be no step: something has to stand around it first.
    let mut left = wraps;
    if encoded.escaped || weak || encoded.inner != [""] || rng.percent(70) {
        document(rng, &mut load);
        left -= 1;
    } else {
        say(rng, &mut load, known);
    }
    for _ in 0..left {
        wrap(rng, &mut load);
    }
    load.name = rng.pick(NEUTRAL).to_owned();
    load.needs_name = false;
    load
}

pub const NEUTRAL: &[&str] = &[
    "a7", "ctx", "k", "v", "p1", "d", "x9", "data", "payload", "value", "attr_3", "blob", "extra", "m", "body",
    "detail",
];
const MISLEADING: &[&str] =
    &["color", "sku", "title", "note", "greeting", "checksum", "font", "animal", "unit_price", "genre"];

/// Puts the value into a sentence, a line of a log or an address. The location stays.
fn say(rng: &mut Rng, load: &mut Load, known: &Known) {
    let value = load.text().to_owned();
    let name = rng.pick(telling_names(known.kind));
    let spoken: String = name.replace(['_', '.'], " ");
    let telling = load.needs_name || (known.is_listed() && rng.percent(70));
    let sentence = match rng.below(if telling { 5 } else { 11 }) {
        0 => format!("Here is what we know. {spoken}: {value}\nThanks."),
        1 => format!("<env>\n{name}: {value}\n</env>"),
        2 => format!("export {name}={value}\n./start.sh"),
        3 => format!("- **{spoken}**: {value}\n- next item"),
        4 => format!("level=info msg=start {name}=\"{value}\" took=12ms"),
        5 => format!("as seen on {value} today"),
        6 => format!("2026-11-20T08:11:09Z INFO worker: using {value} for run 12"),
        7 => format!("It was there ({value}), then it was gone."),
        8 => format!("Compare `{value}` with what the test printed."),
        9 => format!("error at step 3: '{value}' refused; retrying"),
        _ => format!("{value} came first, we wrote the rest down later"),
    };
    load.bytes = sentence.into();
    load.is_telling = false;
    load.needs_name = false;
}

/// Puts the load under its name into a JSON document.
fn document(rng: &mut Rng, load: &mut Load) {
    let (text, pointers) = document::json(rng, std::slice::from_ref(load));
    put(load, &format!("!json:{}", pointers[0]), text.into(), "json");
    load.name = rng.pick(NEUTRAL).to_owned();
    load.needs_name = false;
    load.escaped = false;
}

fn put(load: &mut Load, step: &str, bytes: Vec<u8>, wrap: &'static str) {
    for inner in &mut load.inner {
        inner.insert_str(0, step);
    }
    load.bytes = bytes;
    load.wraps.push(wrap);
    load.is_bare = false;
}

/// Where the text has none of the letters in which the alphabets differ, nothing tells them apart.
fn base64(load: &mut Load, text: String, step: &str, wrap: &'static str) {
    let other = if step == "!b64" { "!b64url" } else { "!b64" };
    let both = !text.contains(['-', '_', '+', '/']);
    let others: Vec<String> = load.inner.iter().map(|inner| format!("{other}{inner}")).collect();
    put(load, step, text.into(), wrap);
    if both {
        load.inner.extend(others);
    }
}

fn wrap(rng: &mut Rng, load: &mut Load) {
    let bytes = std::mem::take(&mut load.bytes);
    match rng.below(16) {
        0..=2 => {
            let text = match rng.below(10) {
                0 => lines(&STANDARD.encode(&bytes)),
                1..=3 => STANDARD_NO_PAD.encode(&bytes),
                _ => STANDARD.encode(&bytes),
            };
            base64(load, text, "!b64", "base64");
        }
        3..=4 => {
            let text = if rng.percent(50) { URL_SAFE_NO_PAD.encode(&bytes) } else { URL_SAFE.encode(&bytes) };
            base64(load, text, "!b64url", "base64url");
        }
        5..=6 => {
            let text = hex(&bytes);
            let text = if rng.percent(30) { text.to_uppercase() } else { text };
            put(load, "!hex", text.into(), "hex");
        }
        7..=8 => {
            // Where nothing needs it, every byte is coded, or there would be no step.
            let needed = bytes.iter().any(|&byte| !byte.is_ascii_alphanumeric() && !b"-_.~".contains(&byte));
            put(load, "!url", percent(&bytes, !needed || rng.percent(30)).into(), "percent");
        }
        9 => {
            let text = html(rng, &String::from_utf8_lossy(&bytes));
            put(load, "!html", text.into(), "html");
        }
        10..=12 => {
            load.bytes = bytes;
            document(rng, load);
        }
        _ => {
            let (step, packed) = compress(rng, &bytes);
            let name = match step {
                "!gzip" => "gzip+base64",
                "!zlib" => "zlib+base64",
                "!deflate" => "deflate+base64",
                "!br" => "br+base64",
                _ => "zstd+base64",
            };
            put(load, step, Vec::new(), name);
            base64(load, STANDARD.encode(packed), "!b64", "");
            load.wraps.retain(|wrap| !wrap.is_empty());
        }
    }
}

/// Base64 as mail writes it (RFC 2045, section 6.8).
fn lines(text: &str) -> String {
    let chunks: Vec<&str> =
        text.as_bytes().chunks(76).map(|chunk| std::str::from_utf8(chunk).unwrap_or_default()).collect();
    chunks.join("\r\n")
}

/// As `encodeURIComponent` does, or every byte.
pub fn percent(bytes: &[u8], all: bool) -> String {
    let mut out = String::new();
    for &byte in bytes {
        if !all && (byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~')) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn html(rng: &mut Rng, text: &str) -> String {
    let first = text.chars().next();
    let mut out = String::new();
    for (at, c) in text.chars().enumerate() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str(rng.pick(&["&quot;", "&#34;"])),
            // So that there is one at least.
            c if at == 0 || Some(c) == first || rng.percent(5) => out.push_str(&format!("&#{};", c as u32)),
            c => out.push(c),
        }
    }
    out
}

pub fn compress(rng: &mut Rng, bytes: &[u8]) -> (&'static str, Vec<u8>) {
    let step = rng.pick(&["!gzip", "!gzip", "!gzip", "!zlib", "!deflate", "!br", "!zstd"]);
    (step, compressed(step, bytes))
}

pub fn compressed(step: &str, bytes: &[u8]) -> Vec<u8> {
    let level = flate2::Compression::new(6);
    // Writing to memory cannot fail.
    match step {
        "!gzip" => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), level);
            writer.write_all(bytes).and_then(|()| writer.finish()).expect("memory")
        }
        "!zlib" => {
            let mut writer = flate2::write::ZlibEncoder::new(Vec::new(), level);
            writer.write_all(bytes).and_then(|()| writer.finish()).expect("memory")
        }
        "!deflate" => {
            let mut writer = flate2::write::DeflateEncoder::new(Vec::new(), level);
            writer.write_all(bytes).and_then(|()| writer.finish()).expect("memory")
        }
        "!br" => {
            let mut out = Vec::new();
            let parameters = brotli::enc::BrotliEncoderParams { quality: 5, ..Default::default() };
            brotli::BrotliCompress(&mut &bytes[..], &mut out, &parameters).expect("memory");
            out
        }
        _ => zstd::encode_all(bytes, 3).expect("memory"),
    }
}

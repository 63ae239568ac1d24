//! Encodings of a bare value: what stands in a leaf in place of it. They add no step to the location.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use sha3::Sha3_256;

use crate::machine::Known;
use crate::random::Rng;

/// A value as it is sent.
pub struct Encoded {
    /// The row of the table.
    pub name: &'static str,
    pub bytes: Vec<u8>,
    /// Of the further list.
    pub further: bool,
    /// Steps that the bytes need beyond the leaf; any one of them may stand in the location.
    pub inner: Vec<&'static str>,
    /// To be spelled in JSON with an escape for every character.
    pub escaped: bool,
    /// Bytes that are no text.
    pub is_binary: bool,
    /// Only the value itself makes sense in a sentence or an address.
    pub readable: bool,
    /// Other kinds that the same bytes are rightly called.
    pub also: &'static [&'static str],
}

impl Encoded {
    fn new(name: &'static str, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self {
            name,
            bytes,
            further: false,
            inner: vec![""],
            escaped: false,
            is_binary: false,
            readable: false,
            also: &[],
        }
    }
}

pub fn plain(value: &str) -> Encoded {
    Encoded { readable: true, ..Encoded::new("raw", value) }
}

/// Of a short or common value: mostly spellings that leave it readable.
pub fn weak(rng: &mut Rng, value: &str) -> Encoded {
    let (name, bytes) = match rng.below(10) {
        0 => ("lower case", value.to_lowercase()),
        1 => ("upper case", value.to_uppercase()),
        2..=4 => {
            let which = rng.between(3, MAIN - 3);
            return main(rng, if (12..=20).contains(&which) { 3 } else { which }, value);
        }
        _ => return plain(value),
    };
    Encoded { readable: true, ..Encoded::new(name, bytes) }
}

pub const MAIN: usize = 42;

/// The `which`-th encoding of the main list.
pub fn main(rng: &mut Rng, which: usize, value: &str) -> Encoded {
    let bytes = value.as_bytes();
    let reversible = |rng: &mut Rng, text: &[u8]| REVERSIBLE[rng.below(REVERSIBLE.len())].1(text);
    match which {
        0 => plain(value),
        1 => Encoded { readable: true, ..Encoded::new("lower case", value.to_lowercase()) },
        2 => Encoded { readable: true, ..Encoded::new("upper case", value.to_uppercase()) },
        3..=10 => Encoded::new(REVERSIBLE[which - 3].0, REVERSIBLE[which - 3].1(bytes)),
        11 => Encoded { escaped: true, ..Encoded::new("json \\u", value) },
        12..=14 => aligned(
            rng,
            ["base64 of more, +0", "base64 of more, +1", "base64 of more, +2"][which - 12],
            which - 12,
            bytes,
            Blob::Whole,
        ),
        15..=17 => aligned(
            rng,
            ["base64 in prose, +0", "base64 in prose, +1", "base64 in prose, +2"][which - 15],
            which - 15,
            bytes,
            Blob::InProse,
        ),
        18..=20 => aligned(
            rng,
            ["base64 cut, +0", "base64 cut, +1", "base64 cut, +2"][which - 18],
            which - 18,
            bytes,
            Blob::Cut,
        ),
        21..=38 => digest(which - 21, value),
        39 => {
            let once = reversible(rng, bytes);
            Encoded::new("two encodings", reversible(rng, &once))
        }
        40 => {
            let once = reversible(rng, bytes);
            let twice = reversible(rng, &once);
            Encoded::new("three encodings", reversible(rng, &twice))
        }
        _ => {
            // Case folded first, then encoded.
            let lower = value.to_lowercase();
            Encoded::new("lower case, encoded", reversible(rng, lower.as_bytes()))
        }
    }
}

type Encoder = fn(&[u8]) -> Vec<u8>;

const REVERSIBLE: [(&str, Encoder); 8] = [
    ("base64 padded", |bytes| STANDARD.encode(bytes).into()),
    ("base64 unpadded", |bytes| STANDARD_NO_PAD.encode(bytes).into()),
    ("base64url", |bytes| URL_SAFE_NO_PAD.encode(bytes).into()),
    ("hex lower", |bytes| hex(bytes).into()),
    ("hex upper", |bytes| hex(bytes).to_uppercase().into()),
    ("percent", |bytes| bytes.iter().flat_map(|byte| format!("%{byte:02X}").into_bytes()).collect()),
    ("html decimal", |bytes| entities(bytes, |c| format!("&#{};", c as u32))),
    ("html hex", |bytes| entities(bytes, |c| format!("&#x{:x};", c as u32))),
];

fn entities(bytes: &[u8], write: fn(char) -> String) -> Vec<u8> {
    String::from_utf8_lossy(bytes).chars().map(write).collect::<String>().into_bytes()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

enum Blob {
    Whole,
    InProse,
    /// So that what is left does not decode as a whole.
    Cut,
}

/// Base64 of something that holds the value `shift` bytes off a multiple of three.
fn aligned(rng: &mut Rng, name: &'static str, shift: usize, value: &[u8], blob: Blob) -> Encoded {
    let before = 3 * rng.between(1, 6) + shift;
    let after = rng.between(0, 20);
    let around = |rng: &mut Rng, count: usize, text: bool| match text {
        true => rng.letters(b"abcdefghijklmnopqrstuvwxyz =;", count).into_bytes(),
        false => rng.bytes(count),
    };
    let text = rng.percent(60);
    let mut content = around(rng, before - 1, text);
    content.push(b' ');
    content.extend_from_slice(value);
    if after > 0 {
        content.push(b'\n');
        content.extend(around(rng, after, text));
    }
    let url = rng.percent(30);
    let encoded = match (url, rng.percent(50)) {
        (true, true) => URL_SAFE.encode(&content),
        (true, false) => URL_SAFE_NO_PAD.encode(&content),
        (false, true) => STANDARD.encode(&content),
        (false, false) => STANDARD_NO_PAD.encode(&content),
    };
    // The blob is no encoding of the bare value but of something around it, so the step belongs to it where all of the
    // leaf is the blob; a blob in a text has none, since a step decodes the whole.
    let leaf_or_step = match url {
        true => vec!["!b64url", "", "!b64"],
        false => vec!["!b64", "", "!b64url"],
    };
    let (bytes, inner) = match blob {
        Blob::Whole => (encoded, leaf_or_step),
        Blob::InProse => {
            let (start, end) = *[
                ("trace token=", " end"),
                ("saved blob ", ", 3 parts"),
                ("data:application/octet-stream;base64,", ""),
                ("[", "]"),
                ("blob: ", "\nnext line"),
            ]
            .get(rng.below(5))
            .unwrap_or(&("", ""));
            (format!("{start}{encoded}{end}"), vec!["", "!b64", "!b64url"])
        }
        Blob::Cut => {
            let bare = encoded.trim_end_matches('=');
            let front = rng.between(1, 3);
            // Never so much that a character of the value goes.
            let back = if after >= 6 { rng.between(0, 4) } else { 0 };
            (bare[front..bare.len() - back].to_owned(), vec!["", "!b64", "!b64url"])
        }
    };
    Encoded { inner, ..Encoded::new(name, bytes) }
}

/// MD5, SHA-1, SHA-256; of the value and of its lower-case form; in hex of both cases and in base64.
fn digest(which: usize, value: &str) -> Encoded {
    const NAMES: [&str; 18] = [
        "md5 hex",
        "md5 HEX",
        "md5 base64",
        "md5 of lower, hex",
        "md5 of lower, HEX",
        "md5 of lower, base64",
        "sha1 hex",
        "sha1 HEX",
        "sha1 base64",
        "sha1 of lower, hex",
        "sha1 of lower, HEX",
        "sha1 of lower, base64",
        "sha256 hex",
        "sha256 HEX",
        "sha256 base64",
        "sha256 of lower, hex",
        "sha256 of lower, HEX",
        "sha256 of lower, base64",
    ];
    let folded = if which / 3 % 2 == 1 { value.to_lowercase() } else { value.to_owned() };
    let digest = match which / 6 {
        0 => Md5::digest(folded.as_bytes()).to_vec(),
        1 => Sha1::digest(folded.as_bytes()).to_vec(),
        _ => Sha256::digest(folded.as_bytes()).to_vec(),
    };
    let text = match which % 3 {
        0 => hex(&digest),
        1 => hex(&digest).to_uppercase(),
        _ => [STANDARD.encode(&digest), STANDARD_NO_PAD.encode(&digest), URL_SAFE_NO_PAD.encode(&digest)]
            [usize::from(digest[0]) % 3]
            .clone(),
    };
    Encoded::new(NAMES[which], text)
}

pub const FURTHER: usize = 17;

/// The `which`-th encoding of the further list; none where the value has no such form.
pub fn further(rng: &mut Rng, which: usize, known: &Known) -> Option<Encoded> {
    let value = &*known.value;
    let bytes = value.as_bytes();
    let short = |rng: &mut Rng, digest: &[u8]| {
        let text = hex(digest);
        text[..*[12, 16, 20, 24, 32].get(rng.below(5)).unwrap_or(&16)].to_owned()
    };
    let letters = value.bytes().filter(u8::is_ascii_alphabetic).count();
    let line = format!("{value}\n");
    let units: Vec<u16> = value.encode_utf16().collect();
    let (name, bytes): (_, Vec<u8>) = match which {
        0 => ("sha512 hex", hex(&Sha512::digest(bytes)).into()),
        1 => ("sha3-256 hex", hex(&Sha3_256::digest(bytes)).into()),
        2 => ("md5 truncated", short(rng, &Md5::digest(bytes)).into()),
        3 => ("sha1 truncated", short(rng, &Sha1::digest(bytes)).into()),
        4 => ("sha256 truncated", short(rng, &Sha256::digest(bytes)).into()),
        5 => {
            let d = hex(&Md5::digest(bytes));
            ("md5 as uuid", format!("{}-{}-{}-{}-{}", &d[..8], &d[8..12], &d[12..16], &d[16..20], &d[20..]).into())
        }
        6 => ("md5 of line", hex(&Md5::digest(line.as_bytes())).into()),
        7 => ("sha1 of line", hex(&Sha1::digest(line.as_bytes())).into()),
        8 => ("sha256 of line", hex(&Sha256::digest(line.as_bytes())).into()),
        9 => ("base32", base32(bytes, rng.percent(50)).into()),
        10 => (
            "utf-16le base64",
            STANDARD.encode(units.iter().flat_map(|unit| unit.to_le_bytes()).collect::<Vec<_>>()).into(),
        ),
        11 => (
            "utf-16be base64",
            STANDARD.encode(units.iter().flat_map(|unit| unit.to_be_bytes()).collect::<Vec<_>>()).into(),
        ),
        12 => ("reversed", value.chars().rev().collect::<String>().into()),
        13 if letters >= 5 => ("rot13", value.chars().map(rot13).collect::<String>().into()),
        14 if known.kind.starts_with("path.") => {
            let dashed: String = value.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
            ("path dashed", dashed.into())
        }
        15 => return derived(rng, known),
        16 => {
            let little = rng.percent(50);
            let bytes = |unit: &u16| if little { unit.to_le_bytes() } else { unit.to_be_bytes() };
            ("utf-16 raw", units.iter().flat_map(bytes).collect())
        }
        _ => return None,
    };
    // The two bytes of a character are what the alphabet's reading says as well.
    let inner = if name.starts_with("utf-16") { vec!["", "!b64"] } else { vec![""] };
    Some(Encoded { further: true, inner, is_binary: which == 16, ..Encoded::new(name, bytes) })
}

/// What is known to be made of a value: an editor's machine id of a network card, a remote's digest.
fn derived(rng: &mut Rng, known: &Known) -> Option<Encoded> {
    let (name, text, also): (_, _, &[&str]) = match known.kind {
        "net.mac" => {
            let bare: String = known.value.to_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
            let pairs: Vec<&str> = (0..6).map(|at| &bare[2 * at..2 * at + 2]).collect();
            let text = match rng.below(3) {
                0 => pairs.join(":"),
                1 => pairs.join("-"),
                _ => bare.clone(),
            };
            ("sha256 of a mac", text, &["id.vscode_machine"])
        }
        "git.remote" => {
            let url = known.value.trim_end_matches(".git");
            let url = url.split_once("://").map_or(url, |(_, rest)| rest);
            let url = url.rsplit_once('@').map_or(url, |(_, rest)| rest);
            // `host:owner/repo` and `host:2222/owner/repo` are `host/owner/repo`.
            let (host, path) = url.split_once([':', '/'])?;
            ("sha256 of a remote", format!("{host}/{}", path.trim_start_matches("2222/")), &[])
        }
        _ => return None,
    };
    let digest = hex(&Sha256::digest(text.as_bytes()));
    let digest = if name.ends_with("remote") && rng.percent(50) { digest[..16].to_owned() } else { digest };
    Some(Encoded { further: true, also, ..Encoded::new(name, digest) })
}

fn rot13(c: char) -> char {
    let turn = |first: u8| char::from((c as u8 - first + 13) % 26 + first);
    match c {
        'a'..='z' => turn(b'a'),
        'A'..='Z' => turn(b'A'),
        c => c,
    }
}

/// RFC 4648, section 6.
fn base32(bytes: &[u8], padded: bool) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut out = String::new();
    for chunk in bytes.chunks(5) {
        let mut block = [0u8; 8];
        block[3..3 + chunk.len()].copy_from_slice(chunk);
        let bits = u64::from_be_bytes(block);
        let characters = (chunk.len() * 8).div_ceil(5);
        out.extend((0..characters).map(|at| char::from(ALPHABET[(bits >> (35 - 5 * at)) as usize & 31])));
        if padded {
            out.extend(std::iter::repeat_n('=', 8 - characters));
        }
    }
    out
}

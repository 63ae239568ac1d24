//! Credentials that prove themselves: by a checksum, or by what their letters spell.

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const PLAIN: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);

/// Header and claims are JSON objects, the header names an algorithm other than `none` (RFC 7519).
pub fn is_jwt(value: &str) -> bool {
    let mut parts = value.split('.');
    let mut object = || {
        let bytes = URL.decode(parts.next()?).ok()?;
        serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&bytes).ok()
    };
    let Some(header) = object() else { return false };
    object().is_some() && header.get("alg").and_then(|alg| alg.as_str()).is_some_and(|alg| alg != "none")
}

/// Base64 of `name:password` (RFC 7617).
pub fn is_basic(value: &str) -> bool {
    let Ok(bytes) = PLAIN.decode(value) else { return false };
    let Ok(pair) = std::str::from_utf8(&bytes) else { return false };
    pair.split_once(':').is_some_and(|(name, password)| {
        !name.is_empty() && password.len() >= 4 && !pair.contains(|letter: char| letter.is_control())
    })
}

/// Human-readable part, `1`, data and a checksum of six letters (BIP 173).
pub fn is_bech32(value: &str) -> bool {
    const LETTERS: &[u8] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    let lower = value.to_ascii_lowercase();
    let Some((name, data)) = lower.rsplit_once('1') else { return false };
    let symbols: Option<Vec<u32>> =
        data.bytes().map(|byte| LETTERS.iter().position(|letter| *letter == byte).map(|at| at as u32)).collect();
    let Some(symbols) = symbols.filter(|symbols| symbols.len() >= 6) else { return false };
    let name = name.bytes().map(u32::from);
    let expanded = name.clone().map(|byte| byte >> 5).chain([0]).chain(name.map(|byte| byte & 31));
    expanded.chain(symbols).fold(1, polymod) == 1
}

fn polymod(sum: u32, symbol: u32) -> u32 {
    const GENERATORS: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let top = sum >> 25;
    let sum = (sum & 0x01ff_ffff) << 5 ^ symbol;
    GENERATORS.iter().enumerate().filter(|(bit, _)| top >> bit & 1 == 1).fold(sum, |sum, (_, value)| sum ^ value)
}

//! The body encoding that Qoder and Lingma mark with `Encode=1`: base64 in an alphabet of its own, with `$` for
//! padding; the command line client also exchanges the first and the last third of the text.

use super::base64;
use super::layer::Base64;

const ALPHABET: &[u8; 64] = b"_doRTgHZBKcGVjlvpC,@aFSx#DPuNJme&i*MzLOEn)sUrthbf%Y^w.(kIQyXqWA!";
const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const SPELLING: Base64 = Base64 { url: false, padded: true, wrap: None };

/// What stands for what, both ways; 0 for what is in neither alphabet.
const TO_STANDARD: [u8; 256] = table(ALPHABET, STANDARD, b'$', b'=');
const FROM_STANDARD: [u8; 256] = table(STANDARD, ALPHABET, b'=', b'$');

const fn table(from: &[u8; 64], to: &[u8; 64], from_padding: u8, to_padding: u8) -> [u8; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 64 {
        table[from[index] as usize] = to[index];
        index += 1;
    }
    table[from_padding as usize] = to_padding;
    table
}

/// Shorter texts are something else.
const SHORTEST: usize = 24;

/// Whether `text` has only this alphabet, and some of it that no base64 has.
pub(super) fn is_likely(text: &[u8]) -> bool {
    let strange = |byte: &u8| !byte.is_ascii_alphanumeric() && *byte != b'_';
    text.len() >= SHORTEST
        && text.len().is_multiple_of(4)
        && text.iter().all(|&byte| TO_STANDARD[usize::from(byte)] != 0)
        && text.iter().any(strange)
}

pub(crate) fn decode(text: &[u8], exchanged: bool) -> Option<Vec<u8>> {
    let mut text = text.to_vec();
    if exchanged {
        exchange(&mut text);
    }
    for byte in &mut text {
        *byte = TO_STANDARD[usize::from(*byte)];
    }
    base64::decode(&text, SPELLING)
}

pub(crate) fn encode(bytes: &[u8], exchanged: bool) -> Vec<u8> {
    let mut text = base64::encode(bytes, SPELLING);
    for byte in &mut text {
        *byte = FROM_STANDARD[usize::from(*byte)];
    }
    if exchanged {
        exchange(&mut text);
    }
    text
}

/// Its own inverse.
fn exchange(text: &mut [u8]) {
    let third = text.len() / 3;
    let (first, rest) = text.split_at_mut(third);
    let last = rest.len() - third;
    first.swap_with_slice(&mut rest[last..]);
}

#[cfg(test)]
mod tests {
    use super::{decode, encode, is_likely};

    #[test]
    fn what_is_encoded_decodes_either_way() {
        for exchanged in [false, true] {
            for length in 40..80 {
                let text: Vec<u8> = (0..length).map(|byte: u8| byte.wrapping_mul(37)).collect();
                let coded = encode(&text, exchanged);
                assert!(is_likely(&coded));
                assert_eq!(decode(&coded, exchanged).unwrap(), text);
            }
        }
    }
}

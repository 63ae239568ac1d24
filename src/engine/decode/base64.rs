//! Base64 in either alphabet, with or without padding (RFC 4648): recognising, undoing, making again.

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::layer::Base64;

/// Shorter texts are words and numbers far more often than they hold anything.
const SHORTEST: usize = 16;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const DECODE: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const DECODE_URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);

/// What spelling `text` could be in, by its alphabet and its length.
pub(super) fn recognise(text: &[u8]) -> Option<Base64> {
    if text.len() < SHORTEST {
        return None;
    }
    let body = match text {
        [body @ .., b'=', b'='] => body,
        [body @ .., b'='] => body,
        body => body,
    };
    let padded = body.len() < text.len();
    if (padded && !text.len().is_multiple_of(4)) || body.len() % 4 == 1 {
        return None;
    }
    let mut seen = 0;
    for chunk in body.chunks(64) {
        seen = chunk.iter().fold(seen, |seen, &byte| seen | CLASS[usize::from(byte)]);
        if seen & OTHER != 0 {
            return None;
        }
    }
    let (standard, url) = (seen & STANDARD_ONLY != 0, seen & URL_ONLY != 0);
    if standard && url {
        return None;
    }
    // Where nothing in the text decides: what lacks its padding is the url alphabet's habit, and what needs none
    // has it in the standard one.
    let url = url || (!standard && !padded && body.len() % 4 != 0);
    Some(Base64 { url, padded: padded || (body.len() % 4 == 0 && !url) })
}

const OTHER: u8 = 1;
const STANDARD_ONLY: u8 = 2;
const URL_ONLY: u8 = 4;

const CLASS: [u8; 256] = {
    let mut class = [OTHER; 256];
    let mut byte = 0;
    while byte < 256 {
        if (byte as u8).is_ascii_alphanumeric() {
            class[byte] = 0;
        }
        byte += 1;
    }
    class[b'+' as usize] = STANDARD_ONLY;
    class[b'/' as usize] = STANDARD_ONLY;
    class[b'-' as usize] = URL_ONLY;
    class[b'_' as usize] = URL_ONLY;
    class
};

pub(super) fn decode(text: &[u8], spelling: Base64) -> Option<Vec<u8>> {
    let engine = if spelling.url { &DECODE_URL } else { &DECODE };
    engine.decode(text).ok()
}

pub(crate) fn encode(bytes: &[u8], spelling: Base64) -> String {
    let config = GeneralPurposeConfig::new().with_encode_padding(spelling.padded);
    let alphabet = if spelling.url { &URL_SAFE } else { &STANDARD };
    GeneralPurpose::new(alphabet, config).encode(bytes)
}

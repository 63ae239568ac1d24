//! JSON escapes (RFC 8259, section 7), undone a block at a time.

/// Undoes the escapes of `raw` into `out`. A wrong escape stands for itself, a lone surrogate becomes U+FFFD.
pub(crate) fn unescape(raw: &[u8], out: &mut Vec<u8>) {
    // Every escape is at least as long as what it stands for; a block more, so that whole blocks can be written.
    let mut to = out.len();
    out.resize(to + raw.len() + BLOCK, 0);
    let mut at = 0;
    while at < raw.len() {
        if let Some(block) = raw.get(at..).and_then(|rest| rest.first_chunk::<BLOCK>()) {
            out[to..to + BLOCK].copy_from_slice(block);
            if !block.iter().fold(false, |found, &byte| found | (byte == b'\\')) {
                at += BLOCK;
                to += BLOCK;
                continue;
            }
            let plain = u128::from_le_bytes(*block);
            let plain = match marks(plain as u64, b'\\') {
                0 => 8 + marks((plain >> 64) as u64, b'\\').trailing_zeros() as usize / 8,
                found => found.trailing_zeros() as usize / 8,
            };
            at += plain;
            to += plain;
        } else if raw[at] != b'\\' {
            out[to] = raw[at];
            at += 1;
            to += 1;
            continue;
        }
        // Line ends and quotes, nearly all that there are.
        if let Some(&byte) = raw.get(at + 1)
            && LETTERS[usize::from(byte)] != 0
        {
            out[to] = LETTERS[usize::from(byte)];
            to += 1;
            at += 2;
            continue;
        }
        let (length, unit) = escape(&raw[at..]);
        match unit {
            Unit::Byte(byte) => {
                out[to] = byte;
                to += 1;
            }
            Unit::Char(c) => to += c.encode_utf8(&mut out[to..]).len(),
            Unit::Itself => {
                out[to..to + length].copy_from_slice(&raw[at..at + length]);
                to += length;
            }
        }
        at += length;
    }
    out.truncate(to);
}

/// Looked at together.
const BLOCK: usize = 16;

/// What each letter stands for behind a backslash; zero where that is more than a letter or nothing.
const LETTERS: [u8; 256] = {
    let mut letters = [0; 256];
    let pairs = *b"\"\"\\\\//b\x08f\x0cn\nr\rt\t";
    let mut index = 0;
    while index < pairs.len() {
        letters[pairs[index] as usize] = pairs[index + 1];
        index += 2;
    }
    letters
};

#[derive(Clone, Copy)]
pub(crate) enum Unit {
    Byte(u8),
    Char(char),
    /// No escape that JSON knows: what is spelled is meant.
    Itself,
}

impl Unit {
    /// How many decoded bytes it stands for, if it is spelled in `length`.
    pub fn width(self, length: usize) -> usize {
        match self {
            Unit::Byte(_) => 1,
            Unit::Char(c) => c.len_utf8(),
            Unit::Itself => length,
        }
    }
}

/// The escape that `raw` starts with (its first byte is the backslash) and how long it is.
pub(crate) fn escape(raw: &[u8]) -> (usize, Unit) {
    match raw.get(1) {
        Some(b'u') => unicode(raw),
        Some(&letter) if LETTERS[usize::from(letter)] != 0 => (2, Unit::Byte(LETTERS[usize::from(letter)])),
        _ => (raw.len().min(1), Unit::Itself),
    }
}

fn unicode(raw: &[u8]) -> (usize, Unit) {
    let Some(unit) = four_digits(raw) else { return (2, Unit::Itself) };
    if let Some(c) = char::from_u32(unit) {
        return (6, Unit::Char(c));
    }
    let low = raw.get(6..).and_then(four_digits).filter(|low| (0xdc00..0xe000).contains(low));
    match low {
        Some(low) if unit < 0xdc00 => {
            let c = char::from_u32(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00));
            (12, Unit::Char(c.unwrap_or(char::REPLACEMENT_CHARACTER)))
        }
        _ => (6, Unit::Char(char::REPLACEMENT_CHARACTER)),
    }
}

fn four_digits(raw: &[u8]) -> Option<u32> {
    let [b'\\', b'u', digits @ ..] = raw.get(..6)? else { return None };
    digits.iter().try_fold(0, |sum, &digit| Some(sum * 16 + char::from(digit).to_digit(16)?))
}

#[inline]
pub(super) fn word(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|word| u64::from_le_bytes(*word))
}

/// The high bit of every byte of `word` that is `byte`; above the first such byte there may be others.
#[inline]
pub(super) fn marks(word: u64, byte: u8) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    let zero = word ^ (ONES * byte as u64);
    zero.wrapping_sub(ONES) & !zero & (ONES << 7)
}

#[cfg(test)]
mod tests {
    use super::{escape, unescape};

    #[test]
    fn escapes_stand_for_what_they_spell_or_for_themselves() {
        for (raw, text) in [
            (r#"\"\\\/\b\f\n\r\t"#, "\"\\/\u{8}\u{c}\n\r\t"),
            (r"\u0041\u00e9\uD83D\uDE00", "Aé😀"),
            (r"\ud83d\u0041\ude00x\ud83d", "\u{fffd}A\u{fffd}x\u{fffd}"),
            (r"\x\u12\u00zz\", r"\x\u12\u00zz\"),
        ] {
            let mut out = Vec::new();
            unescape(raw.as_bytes(), &mut out);
            assert_eq!(String::from_utf8_lossy(&out), text);
            let (mut at, mut width) = (0, 0);
            while at < raw.len() {
                let (length, unit) = escape(&raw.as_bytes()[at..]);
                let plain = raw.as_bytes()[at] != b'\\';
                width += if plain { 1 } else { unit.width(length) };
                at += if plain { 1 } else { length };
            }
            assert_eq!(width, text.len(), "{raw}");
        }
    }
}

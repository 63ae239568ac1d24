//! The smallest parts of a head: tokens, field values, line ends (RFC 9110, section 5.6; RFC 9112, section 5).
//!
//! Strict on purpose. Whatever two parsers may read in two ways (a bare LF, a folded line, a space in front
//! of a colon) is refused, so that the upstream cannot see another message than the one inspected.

use super::head::{Field, HeadError};
use super::span::Span;

const TOKEN: u8 = 1;
const TARGET: u8 = 2;
const HOST: u8 = 4;

static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0u8; 256];
    let mut byte = 0usize;
    while byte < 256 {
        let c = byte as u8;
        let mut class = 0;
        if c.is_ascii_alphanumeric() || is_in(c, b"!#$%&'*+-.^_`|~") {
            class |= TOKEN;
        }
        // Wider than a URI: clients do send `<`, `|` or a backtick, and servers take them. A fragment is
        // never sent, and where it would end is a matter of opinion.
        if c.is_ascii_graphic() && c != b'#' {
            class |= TARGET;
        }
        if c.is_ascii_alphanumeric() || is_in(c, b"-_.") {
            class |= HOST;
        }
        table[byte] = class;
        byte += 1;
    }
    table
}

const fn is_in(byte: u8, set: &[u8]) -> bool {
    let mut at = 0;
    while at < set.len() {
        if set[at] == byte {
            return true;
        }
        at += 1;
    }
    false
}

pub(super) fn is_token_byte(byte: u8) -> bool {
    CLASS[usize::from(byte)] & TOKEN != 0
}

pub(super) fn is_target_byte(byte: u8) -> bool {
    CLASS[usize::from(byte)] & TARGET != 0
}

pub(super) fn is_host_byte(byte: u8) -> bool {
    CLASS[usize::from(byte)] & HOST != 0
}

pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

/// `bytes` without spaces and tabs around them.
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Where the run of bytes that `wanted` takes, beginning at `at`, ends.
pub(super) fn run(raw: &[u8], at: usize, wanted: impl Fn(u8) -> bool) -> usize {
    match raw.get(at..) {
        Some(rest) => at + rest.iter().position(|&byte| !wanted(byte)).unwrap_or(rest.len()),
        None => at,
    }
}

/// Where the text of a field value that begins at `at` ends: at the first control byte but HTAB.
///
/// Eight bytes at a time: values are most of a head.
pub(super) fn text_end(raw: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    while let Some(word) = raw.get(at..at + 8) {
        let mut eight = [0u8; 8];
        eight.copy_from_slice(word);
        let word = u64::from_le_bytes(eight);
        let below_space = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let without_delete = word ^ (ONES * 0x7f);
        let delete = without_delete.wrapping_sub(ONES) & !without_delete & HIGH;
        let found = below_space | delete;
        if found == 0 {
            at += 8;
            continue;
        }
        // The lowest mark is exact: a borrow only ever runs upwards.
        at += (found.trailing_zeros() / 8) as usize;
        if raw[at] != b'\t' {
            return at;
        }
        at += 1;
    }
    run(raw, at, |byte| byte == b'\t' || (byte >= 0x20 && byte != 0x7f))
}

/// Which line ends are taken: those of the wire, or also those of a text editor.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Lines {
    Wire,
    /// A captured file: LF will do, and the end of the file ends the last line.
    Captured,
}

impl Lines {
    /// The offset after a line end at `at`. `None`: more bytes are needed.
    pub(super) fn end(self, raw: &[u8], at: usize) -> Result<Option<usize>, HeadError> {
        match (raw.get(at), raw.get(at + 1)) {
            (Some(b'\r'), Some(b'\n')) => Ok(Some(at + 2)),
            (Some(b'\n'), _) if self == Self::Captured => Ok(Some(at + 1)),
            (None, _) if self == Self::Captured => Ok(Some(at)),
            (None, _) => Ok(None),
            (Some(b'\r'), None) if self == Self::Wire => Ok(None),
            (Some(b'\r'), _) => Err(HeadError::bad("a carriage return without a line feed")),
            (Some(b'\n'), _) => Err(HeadError::bad("a line feed without a carriage return")),
            (Some(_), _) => Err(HeadError::bad("a control byte in a line")),
        }
    }
}

/// Reads field lines from `at` up to and with the empty line. Gives the offset after it, or `None` when
/// more bytes are needed. `note` sees every field as it is read.
pub(super) fn read_fields(
    raw: &[u8],
    mut at: usize,
    lines: Lines,
    most: usize,
    fields: &mut Vec<Field>,
    mut note: impl FnMut(&mut Field, usize) -> Result<(), HeadError>,
) -> Result<Option<usize>, HeadError> {
    loop {
        let start = at;
        match raw.get(at) {
            Some(&byte) if is_token_byte(byte) => {}
            Some(b' ' | b'\t') => return Err(HeadError::bad("a field folded over lines")),
            Some(b':') => return Err(HeadError::bad("a field without a name")),
            Some(b'\r' | b'\n') | None => return lines.end(raw, at),
            Some(_) => return Err(HeadError::bad("a field name may only hold token characters")),
        }
        if fields.len() == most {
            return Err(HeadError::new(431, "too many fields"));
        }
        at = run(raw, at + 1, is_token_byte);
        let name = Span::of(start..at);
        match raw.get(at) {
            Some(b':') => {}
            Some(b' ' | b'\t') => return Err(HeadError::bad("white space in front of a colon")),
            Some(b'\r' | b'\n') => return Err(HeadError::bad("a field line without a colon")),
            None if lines == Lines::Wire => return Ok(None),
            None => return Err(HeadError::bad("a field line without a colon")),
            Some(_) => return Err(HeadError::bad("a field name may only hold token characters")),
        }
        at = run(raw, at + 1, |byte| byte == b' ' || byte == b'\t');
        let value_start = at;
        at = text_end(raw, at);
        let Some(end) = lines.end(raw, at)? else { return Ok(None) };
        let value_end = value_start + trim(raw.get(value_start..at).unwrap_or_default()).len();
        let mut field = Field { name, value: Span::of(value_start..value_end), line: Span::of(start..end), hop: false };
        note(&mut field, fields.len())?;
        fields.push(field);
        at = end;
        if lines == Lines::Captured && at == raw.len() {
            return Ok(Some(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_value_is_found_at_any_offset_and_for_any_byte() {
        for length in 0..40 {
            for byte in 0..=255u8 {
                for fill in [b'a', b'\t', b' ', 0xff, 0x80, 0x7e, 0x20] {
                    let mut text = vec![fill; length];
                    text.push(byte);
                    text.extend_from_slice(b"\x01tail");
                    let plain = byte == b'\t' || (byte >= 0x20 && byte != 0x7f);
                    let expected = if plain { length + 1 } else { length };
                    assert_eq!(text_end(&text, 0), expected, "{length} of {fill:#x}, then {byte:#x}");
                }
            }
        }
    }
}

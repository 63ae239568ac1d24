//! Reads the little DER (X.690) that OCSP responses need and no library here reads.
//!
//! Strict in lengths, since a second spelling of a length is a second reading; blind to what it is not asked
//! about.

/// The bytes of a DER value that are still to be read.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

/// One value: its tag, its content, and all of it with tag and length.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    pub(super) whole: &'a [u8],
}

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const ENUMERATED: u8 = 0x0a;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;

/// `[n]`, constructed.
pub(super) const fn constructed(n: u8) -> u8 {
    0xa0 | n
}

/// `[n]`, primitive.
pub(super) const fn primitive(n: u8) -> u8 {
    0x80 | n
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// `bytes` as one value of `tag` with nothing behind it: a reader of its content.
    pub(super) fn only(bytes: &'a [u8], tag: u8) -> Option<Self> {
        let mut reader = Self::new(bytes);
        let content = reader.take(tag)?;
        reader.is_empty().then(|| Self::new(content))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn next(&mut self) -> Option<Value<'a>> {
        let (&tag, rest) = self.rest.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let length = match first {
            0..=0x7f => usize::from(first),
            0x81..=0x83 => {
                let count = usize::from(first & 0x7f);
                let (digits, behind) = rest.split_at_checked(count)?;
                rest = behind;
                let length = digits.iter().fold(0, |length, &digit| length << 8 | usize::from(digit));
                // The shortest spelling only.
                let shortest = if count == 1 { length >= 0x80 } else { length >> (8 * (count - 1)) != 0 };
                shortest.then_some(length)?
            }
            _ => return None,
        };
        let (content, behind) = rest.split_at_checked(length)?;
        let whole = &self.rest[..self.rest.len() - behind.len()];
        self.rest = behind;
        Some(Value { tag, content, whole })
    }

    /// The content of the next value, which must have this tag.
    pub(super) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|value| value.tag == tag).map(|value| value.content)
    }

    /// The content of the next value if it has this tag; else nothing is read.
    pub(super) fn take_if(&mut self, tag: u8) -> Option<&'a [u8]> {
        if self.rest.first() == Some(&tag) { self.take(tag) } else { None }
    }
}

/// A value with this content.
pub(super) fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = vec![tag];
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let digits = length.to_be_bytes();
        let digits = &digits[length.leading_zeros() as usize / 8..];
        out.push(0x80 | digits.len() as u8);
        out.extend_from_slice(digits);
    }
    out.extend_from_slice(content);
    out
}

/// The bytes of a BIT STRING that has no unused bits.
pub(super) fn whole_bits(content: &[u8]) -> Option<&[u8]> {
    match content {
        [0, bytes @ ..] => Some(bytes),
        _ => None,
    }
}

/// `20261231235959Z`, in seconds since 1970 (RFC 5280, 4.1.2.5.2: always in UTC, without fractions).
pub(super) fn instant(content: &[u8]) -> Option<i64> {
    let (digits, zone) = content.split_at_checked(14)?;
    if zone != b"Z" || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |from: usize, to: usize| digits[from..to].iter().fold(0u16, |n, d| n * 10 + u16::from(d - b'0'));
    let month = time::Month::try_from(u8::try_from(number(4, 6)).ok()?).ok()?;
    let date = time::Date::from_calendar_date(i32::from(number(0, 4)), month, u8::try_from(number(6, 8)).ok()?).ok()?;
    let clock = |from: usize| u8::try_from(number(from, from + 2)).ok();
    Some(date.with_hms(clock(8)?, clock(10)?, clock(12)?).ok()?.assume_utc().unix_timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrapped_is_read_again_and_nothing_else_is() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0x1_0000] {
            let content = vec![7; length];
            let whole = wrap(OCTET_STRING, &content);
            let mut reader = Reader::new(&whole);
            let value = reader.next().unwrap();
            assert_eq!((value.tag, value.content, value.whole), (OCTET_STRING, &content[..], &whole[..]));
            assert!(reader.is_empty());
            assert!(Reader::new(&whole[..whole.len() - 1]).next().is_none(), "cut");
        }
        for wrong in [&[4][..], &[4, 0x80], &[4, 0x81, 1, 0], &[4, 0x82, 0, 0x80], &[4, 0x84, 0, 0, 0, 0]] {
            assert!(Reader::new(wrong).next().is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn times_are_read_in_one_form_only() {
        assert_eq!(instant(b"19700101000000Z"), Some(0));
        assert_eq!(instant(b"20261231235959Z"), Some(1_798_761_599));
        for wrong in ["2026123123595Z", "20261231235959", "20261331235959Z", "20261231235959+0100", "20261231236059Z"] {
            assert_eq!(instant(wrong.as_bytes()), None, "{wrong}");
        }
    }
}

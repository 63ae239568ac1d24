//! The content coding `aws-chunked`: a body in signed pieces (Signature Version 4, "Signature calculations for a streaming
//! payload").
//!
//! ```text
//! 10000;chunk-signature=ad80…\r\n  data  \r\n  0;chunk-signature=b6c6…\r\n  x-amz-checksum-crc32:…\r\n  \r\n
//! ```
//!
//! It frames as chunks do, so it is no step of a location. It is not written back: a signature binds each piece, and a
//! field of the head says how long they are together.

use std::ops::Range;

/// Hex digits of a size: more than any body has.
const LONGEST_SIZE: usize = 16;

/// The data of all pieces, and where what follows the last one stands; none where the pieces are not sound.
pub(super) fn decode(coded: &[u8]) -> Option<(Vec<u8>, Range<usize>)> {
    let mut data = Vec::with_capacity(coded.len());
    let mut at = 0;
    loop {
        let line = memchr::memmem::find(coded.get(at..)?, b"\r\n")?;
        let head = coded.get(at..at + line)?;
        let digits = head.split(|&byte| byte == b';').next()?;
        if digits.is_empty() || digits.len() > LONGEST_SIZE {
            return None;
        }
        let size = usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        at += line + 2;
        if size == 0 {
            return Some((data, at..coded.len()));
        }
        let end = at.checked_add(size)?;
        data.extend_from_slice(coded.get(at..end)?);
        at = end;
        if coded.get(at..at + 2)? != b"\r\n" {
            return None;
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn pieces_are_joined_and_broken_ones_refused() {
        let body = b"5;chunk-signature=ab\r\n{\"a\":\r\n2;chunk-signature=cd\r\n1}\r\n0;chunk-signature=ef\r\nx-amz-checksum-crc32:AA==\r\n\r\n";
        let (data, rest) = decode(body).unwrap();
        assert_eq!(data, b"{\"a\":1}");
        assert_eq!(&body[rest], b"x-amz-checksum-crc32:AA==\r\n\r\n");
        for end in 0..body.len() - 33 {
            assert!(decode(&body[..end]).is_none(), "cut at {end}");
        }
        for broken in [&b"{\"a\":1}"[..], b"\r\n", b"ffffffffffffffff\r\na", b"2\r\nabc\r\n0\r\n"] {
            assert!(decode(broken).is_none());
        }
    }
}

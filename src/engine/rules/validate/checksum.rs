//! Tokens that end with a checksum of themselves, so that a made-up one can be told from a real one without asking anybody.

/// Letters and digits behind the prefix, and how many of them are the checksum.
const RANDOM: usize = 30;
const CHECKSUM: usize = 6;

/// `prefix_`, 30 letters and digits, and their CRC-32 in six digits of base 62: tokens of GitHub since 2021 and of npm.
pub(super) fn is_checked_token(value: &str) -> bool {
    let Some((_, rest)) = value.split_once('_') else { return false };
    if rest.len() != RANDOM + CHECKSUM || !rest.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return false;
    }
    let (random, checksum) = rest.split_at(RANDOM);
    base62(crc32fast::hash(random.as_bytes())).as_slice() == checksum.as_bytes()
}

fn base62(mut number: u32) -> [u8; CHECKSUM] {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut out = [b'0'; CHECKSUM];
    for digit in out.iter_mut().rev() {
        *digit = DIGITS[(number % 62) as usize];
        number /= 62;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_that_of_what_stands_before_it() {
        // The first is published as an example, the second was reckoned with zlib.
        assert!(is_checked_token("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"));
        assert!(is_checked_token("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"));
        assert!(!is_checked_token("ghp_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq18"));
        assert!(!is_checked_token("ghp_zQWBuTSOoRi4A9spHcVY5ncnsDkxkK0mLq17"));
        assert!(!is_checked_token("ghp_"));
        assert!(!is_checked_token("no prefix"));
    }
}

//! Shingles of a text: keyed digests of every run of [`LENGTH`] bytes, white space aside. Of a file's only some are kept, those
//! with small digests: whether one is depends on its own bytes alone, so what several files share is kept of all of them. Pure.

/// Bytes of one shingle, white space not counted.
pub const LENGTH: usize = 24;
/// A shingle stands for its file if its digest is below: one of six.
pub const SAMPLED: u64 = u64::MAX / 6;
/// As many stand for a file that has them.
pub const FEWEST: u32 = 16;

/// Without the key a digest says nothing about the text.
#[derive(Clone)]
pub struct Key {
    base: u64,
    /// `base` to the power of [`LENGTH`].
    leaving: u64,
    mask: u64,
}

impl Key {
    pub fn of(key: &[u8; 32]) -> Self {
        let word = |at: usize| key[at..at + 8].iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        // Odd, so that no byte is multiplied away.
        let base = word(0) | 1;
        let leaving = (0..LENGTH).fold(1_u64, |power, _| power.wrapping_mul(base));
        Self { base, leaving, mask: word(8) }
    }

    fn mixed(&self, sum: u64) -> u64 {
        let mut word = sum ^ self.mask;
        word = (word ^ word >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
        word = (word ^ word >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        word ^ word >> 33
    }

    /// Every shingle of `text`, in order.
    pub fn each(&self, text: &[u8], mut take: impl FnMut(u64)) {
        let mut last = [0_u8; LENGTH];
        let (mut sum, mut seen) = (0_u64, 0_usize);
        for line in text.split(|byte| *byte == b'\n') {
            for &byte in unnumbered(line).iter().filter(|byte| !byte.is_ascii_whitespace()) {
                let left = std::mem::replace(&mut last[seen % LENGTH], byte);
                // One is added, so that zero bytes count too.
                sum = sum.wrapping_mul(self.base).wrapping_add(u64::from(byte) + 1);
                if seen >= LENGTH {
                    sum = sum.wrapping_sub((u64::from(left) + 1).wrapping_mul(self.leaving));
                }
                seen += 1;
                if seen >= LENGTH {
                    take(self.mixed(sum));
                }
            }
        }
    }

    /// Those that stand for `text`, in order.
    pub fn kept(&self, text: &[u8]) -> Vec<u64> {
        let mut all = Vec::new();
        self.each(text, |shingle| all.push(shingle));
        all.sort_unstable();
        all.dedup();
        let sampled = all.partition_point(|shingle| *shingle < SAMPLED);
        all.truncate(sampled.max(FEWEST as usize));
        all
    }
}

/// The line without what tools put before it: its number, the signs of a difference, of a quotation. As often as there is
/// one: a file's own lines may begin so too (`- item`, `12: …`), and are taken alike.
fn unnumbered(mut line: &[u8]) -> &[u8] {
    loop {
        line = line.trim_ascii_start();
        line = match line {
            [b'+' | b'-' | b'>', rest @ ..] => rest,
            _ => match after_number(line) {
                Some(rest) => rest,
                None => return line,
            },
        };
    }
}

/// What stands behind `12→`, `12: `, `L12: `, `12 | ` and the like.
fn after_number(line: &[u8]) -> Option<&[u8]> {
    let number = line.strip_prefix(b"L").unwrap_or(line);
    let digits = number.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let rest = number.get(digits..).filter(|_| (1..=6).contains(&digits))?;
    ["→", "\t", "|", ":", " | "].iter().find_map(|mark| rest.strip_prefix(mark.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "pub fn total(rows: &[Row]) -> u64 {\n    rows.iter().map(|row| row.amount).sum()\n}\n\npub fn mean(rows: &[Row]) -> Option<u64> {\n    total(rows).checked_div(rows.len() as u64)\n}\n";

    fn shared(key: &Key, file: &str, text: &str) -> (usize, usize) {
        let kept = key.kept(file.as_bytes());
        let mut met = std::collections::HashSet::new();
        key.each(text.as_bytes(), |shingle| {
            met.insert(shingle);
        });
        (kept.iter().filter(|shingle| met.contains(shingle)).count(), kept.len())
    }

    #[test]
    fn a_copy_is_known_whatever_its_white_space_line_numbers_and_surroundings() {
        let key = Key::of(&[7; 32]);
        let numbered: String = FILE.lines().zip(1..).map(|(line, at)| format!("{at:>6}→{line}\r\n")).collect();
        let added: String = FILE.lines().map(|line| format!("+\t{line}\n")).collect();
        let listed: String = FILE.lines().zip(1..).map(|(line, at)| format!("{at:>6}\t{line}   \r\n")).collect();
        let cited: String = FILE.lines().zip(1..).map(|(line, at)| format!("> L{at}: {}\n", line.trim())).collect();
        for copy in [FILE.to_owned(), numbered, added, listed, cited, format!("before {FILE} and after")] {
            let (met, all) = shared(&key, FILE, &copy);
            assert!(all > 8 && met == all, "{met} of {all} in {copy:?}");
        }
    }

    #[test]
    fn lines_that_begin_like_what_tools_add_are_known_in_a_difference_and_by_number() {
        let key = Key::of(&[7; 32]);
        let file = "- first the bread is cut into slices\n- then it is toasted for a while\n-- a remark about butter\n12: a step with a number of its own\n> and a quotation\n";
        let added: String = file.lines().map(|line| format!("+{line}\n")).collect();
        let numbered: String = file.lines().zip(1..).map(|(line, at)| format!("{at}\t{line}\n")).collect();
        for copy in [added, numbered] {
            let (met, all) = shared(&key, file, &copy);
            assert!(all > 8 && met == all, "{met} of {all} in {copy:?}");
        }
    }

    #[test]
    fn a_part_is_known_as_a_part_and_another_text_not_at_all() {
        let key = Key::of(&[7; 32]);
        let (met, all) = shared(&key, FILE, &FILE[..FILE.len() / 2]);
        assert!(met * 4 > all && met < all, "{met} of {all}");
        assert_eq!(shared(&key, FILE, "The quick brown fox jumps over the lazy dog, again and again.").0, 0);
    }

    #[test]
    fn digests_depend_on_the_key() {
        assert_ne!(Key::of(&[7; 32]).kept(FILE.as_bytes()), Key::of(&[8; 32]).kept(FILE.as_bytes()));
    }
}

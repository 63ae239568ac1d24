//! Shannon entropy: what unread bytes are likely to be.

/// Only so much is measured.
const SAMPLE: usize = 64 * 1024;

/// Bits a byte of the first 64 KiB: 0 for one repeated byte, 8 for random ones.
pub fn entropy(bytes: &[u8]) -> f32 {
    let sample = &bytes[..bytes.len().min(SAMPLE)];
    let mut counts = [0u32; 256];
    for &byte in sample {
        counts[usize::from(byte)] += 1;
    }
    let total = sample.len() as f32;
    -counts.iter().filter(|&&count| count > 0).map(|&count| count as f32 / total).map(|p| p * p.log2()).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::entropy;

    #[test]
    fn entropy_tells_one_repeated_byte_from_all_bytes() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(entropy(b""), 0.0);
        assert_eq!(entropy(b"aaaa").abs(), 0.0);
        assert_eq!(entropy(&all), 8.0);
    }
}

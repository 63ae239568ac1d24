//! The cipher suites of both sides, the cheapest first.

use rustls::crypto::CryptoProvider;
use rustls::crypto::hash::HashAlgorithm;
use rustls::{CipherSuite, SupportedCipherSuite};

/// What TLS runs on. The suites with SHA-256 come first, as browsers offer them: processors have instructions for it, and not
/// for SHA-384, of which a handshake has two dozen. None is left out.
pub(crate) fn provider() -> CryptoProvider {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| {
        let (older, common) = match suite {
            SupportedCipherSuite::Tls13(suite) => (false, &suite.common),
            SupportedCipherSuite::Tls12(suite) => (true, &suite.common),
        };
        (older, common.hash_provider.algorithm() == HashAlgorithm::SHA384)
    });
    provider
}

/// Whether a client's list begins with ChaCha20: its processor has no instructions for AES, so its order is worth more than
/// ours.
pub(crate) fn prefers_chacha(suites: &[CipherSuite]) -> bool {
    // Values of this form mean nothing (RFC 8701).
    let real = |suite: &&CipherSuite| u16::from(**suite) & 0x0f0f != 0x0a0a;
    matches!(
        suites.iter().find(real),
        Some(
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
                | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_with_sha_256_come_first_and_none_is_left_out() {
        let mut all: Vec<_> = rustls::crypto::aws_lc_rs::default_provider().cipher_suites;
        let mut ours = provider().cipher_suites;
        assert_eq!(ours[0].suite(), CipherSuite::TLS13_AES_128_GCM_SHA256);
        assert!(ours.iter().position(|suite| suite.tls13().is_none()).is_some_and(|at| at == 3), "TLS 1.3 comes first");
        for suites in [&mut all, &mut ours] {
            suites.sort_by_key(|suite| u16::from(suite.suite()));
        }
        assert_eq!(all, ours);
    }

    #[test]
    fn a_list_that_begins_with_chacha20_is_that_of_a_client_without_aes() {
        let chacha = CipherSuite::TLS13_CHACHA20_POLY1305_SHA256;
        let (aes, grease) = (CipherSuite::TLS13_AES_256_GCM_SHA384, CipherSuite::Unknown(0x3a3a));
        assert!(prefers_chacha(&[chacha, aes]) && prefers_chacha(&[grease, chacha, aes]));
        assert!(!prefers_chacha(&[aes, chacha]) && !prefers_chacha(&[grease]) && !prefers_chacha(&[]));
    }
}

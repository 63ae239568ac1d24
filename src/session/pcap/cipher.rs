//! The ciphers of TLS 1.2 and 1.3 that authenticate, and how their keys are derived.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Sha256, Sha384};

/// A cipher suite as far as its records go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Suite {
    pub aead: Aead,
    pub sha384: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Aead {
    Aes128,
    Aes256,
    ChaCha,
}

impl Suite {
    pub fn of(code: u16) -> Option<Self> {
        let (aead, sha384) = match code {
            0x1301 | 0x009c | 0x009e | 0xc02b | 0xc02f => (Aead::Aes128, false),
            0x1302 | 0x009d | 0x009f | 0xc02c | 0xc030 => (Aead::Aes256, true),
            0x1303 | 0xcca8..=0xccaa => (Aead::ChaCha, false),
            _ => return None,
        };
        Some(Self { aead, sha384 })
    }

    fn mac(self, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        fn with<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
            let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length");
            for part in parts {
                mac.update(part);
            }
            mac.finalize().into_bytes().to_vec()
        }
        if self.sha384 { with::<Hmac<Sha384>>(key, parts) } else { with::<Hmac<Sha256>>(key, parts) }
    }

    /// HKDF-Expand-Label without a context (RFC 8446, 7.1); no more than one block is ever asked for.
    pub fn expand(self, secret: &[u8], label: &str, length: usize) -> Vec<u8> {
        let label = format!("tls13 {label}");
        let info = [&(length as u16).to_be_bytes()[..], &[label.len() as u8], label.as_bytes(), &[0, 1]].concat();
        let mut out = self.mac(secret, &[&info]);
        out.truncate(length);
        out
    }

    pub fn hash_bytes(self) -> usize {
        if self.sha384 { 48 } else { 32 }
    }

    pub fn key_bytes(self) -> usize {
        if self.aead == Aead::Aes128 { 16 } else { 32 }
    }

    /// The key block of TLS 1.2 (RFC 5246, 6.3).
    pub fn key_block(self, master: &[u8], server: &[u8; 32], client: &[u8; 32], length: usize) -> Vec<u8> {
        let seed = [b"key expansion", &server[..], &client[..]].concat();
        let mut out = Vec::new();
        let mut a = self.mac(master, &[&seed]);
        while out.len() < length {
            out.extend(self.mac(master, &[&a, &seed]));
            a = self.mac(master, &[&a]);
        }
        out.truncate(length);
        out
    }
}

/// Opens one record; none where it is not of this key, or no cipher is built in.
#[cfg(feature = "proxy")]
pub(super) fn open(aead: Aead, key: &[u8], nonce: [u8; 12], about: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
    let algorithm = match aead {
        Aead::Aes128 => &AES_128_GCM,
        Aead::Aes256 => &AES_256_GCM,
        Aead::ChaCha => &CHACHA20_POLY1305,
    };
    let key = LessSafeKey::new(UnboundKey::new(algorithm, key).ok()?);
    let mut bytes = sealed.to_vec();
    let length = key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(about), &mut bytes).ok()?.len();
    bytes.truncate(length);
    Some(bytes)
}

#[cfg(not(feature = "proxy"))]
pub(super) fn open(_: Aead, _: &[u8], _: [u8; 12], _: &[u8], _: &[u8]) -> Option<Vec<u8>> {
    None
}

/// Whether `open` can open anything.
pub(super) const BUILT_IN: bool = cfg!(feature = "proxy");

//! Key logs: the secrets of TLS sessions as programs write them for `SSLKEYLOGFILE`.

use std::collections::BTreeMap;

/// Secrets by the label and the client's random value that they belong to.
#[derive(Default)]
pub(super) struct Keys {
    secrets: BTreeMap<(String, [u8; 32]), Vec<u8>>,
}

impl Keys {
    /// Longest of the secrets that TLS has, in bytes.
    const MOST: usize = 64;

    pub fn add(&mut self, log: &[u8]) {
        for line in log.split(|&byte| byte == b'\n') {
            let Ok(line) = std::str::from_utf8(line) else { continue };
            let mut words = line.split_ascii_whitespace();
            let (Some(label), Some(random), Some(secret)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            let (Some(random), Some(secret)) = (unhex(random), unhex(secret)) else { continue };
            if let Ok(random) = random.try_into()
                && secret.len() <= Self::MOST
            {
                self.secrets.insert((label.to_owned(), random), secret);
            }
        }
    }

    pub fn get(&self, label: &str, random: &[u8; 32]) -> Option<&[u8]> {
        self.secrets.get(&(label.to_owned(), *random)).map(Vec::as_slice)
    }

    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes().chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

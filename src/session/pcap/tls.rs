//! What a TLS connection carried, with the secrets that its client logged.

use super::cipher::{self, Aead, Suite};
use super::keys::Keys;
use super::tcp::Stream;
use crate::session::damage::Damages;

/// Both directions without TLS.
pub(super) struct Plain {
    pub client: Stream,
    pub server: Stream,
    /// Whom the client asked for (SNI).
    pub name: Option<String>,
}

const CHANGE_CIPHER: u8 = 20;
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;

const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const KEY_UPDATE: u8 = 24;

pub(super) fn is_tls(data: &[u8]) -> bool {
    matches!(data, [HANDSHAKE, 3, 0..=4, _, _, CLIENT_HELLO, ..])
}

struct Record<'d> {
    kind: u8,
    /// With its head, which belongs to what is authenticated.
    head: &'d [u8],
    body: &'d [u8],
    at: usize,
}

/// Whole records from the start on.
fn records(data: &[u8]) -> Vec<Record<'_>> {
    let mut records = Vec::new();
    let mut at = 0;
    while let Some(head) = data.get(at..at + 5) {
        let end = at + 5 + usize::from(u16::from_be_bytes([head[3], head[4]]));
        let Some(body) = data.get(at + 5..end).filter(|_| head[1] == 3) else { break };
        records.push(Record { kind: head[0], head, body, at });
        at = end;
    }
    records
}

/// The first handshake messages, which nobody encrypts.
fn hello(records: &[Record<'_>], kind: u8) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for record in records.iter().take_while(|record| matches!(record.kind, HANDSHAKE | CHANGE_CIPHER)) {
        if record.kind == HANDSHAKE {
            bytes.extend_from_slice(record.body);
        }
        let mut rest = &bytes[..];
        while let [found, a, b, c, ..] = *rest {
            let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            let Some(body) = rest.get(4..4 + length) else { break };
            // A server that asks for another try says hello twice; the second counts.
            if found == kind && !(kind == SERVER_HELLO && body.get(2..34) == Some(&RETRY[..])) {
                return Some(body.to_vec());
            }
            rest = &rest[4 + length..];
        }
    }
    None
}

/// The random value of a HelloRetryRequest (RFC 8446, 4.1.3).
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// Takes bytes off the front.
struct Take<'d>(&'d [u8]);

impl<'d> Take<'d> {
    fn bytes(&mut self, length: usize) -> Option<&'d [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self, bytes: usize) -> Option<usize> {
        Some(self.bytes(bytes)?.iter().fold(0, |number, &byte| number << 8 | usize::from(byte)))
    }

    /// Bytes behind their length.
    fn vector(&mut self, length_bytes: usize) -> Option<&'d [u8]> {
        let length = self.number(length_bytes)?;
        self.bytes(length)
    }
}

fn extension(list: &[u8], wanted: usize) -> Option<&[u8]> {
    let mut list = Take(list);
    loop {
        let kind = list.number(2)?;
        let body = list.vector(2)?;
        if kind == wanted {
            return Some(body);
        }
    }
}

fn random(hello: &[u8]) -> Option<[u8; 32]> {
    hello.get(2..34)?.try_into().ok()
}

fn asked_name(hello: &[u8]) -> Option<String> {
    let mut rest = Take(hello.get(34..)?);
    let _session = rest.vector(1)?;
    let _suites = rest.vector(2)?;
    let _compressions = rest.vector(1)?;
    let names = extension(rest.vector(2)?, 0)?;
    let mut names = Take(Take(names).vector(2)?);
    let _kind = names.number(1)?;
    crate::session::http::authority(names.vector(2)?).map(|(host, _)| host)
}

/// Suite and version that the server chose.
fn chosen(hello: &[u8]) -> Option<(u16, u16)> {
    let mut rest = Take(hello);
    let legacy = rest.number(2)? as u16;
    rest.bytes(32)?;
    let _session = rest.vector(1)?;
    let suite = rest.number(2)? as u16;
    rest.number(1)?;
    let version = rest.vector(2).and_then(|list| extension(list, 43)).and_then(|version| Take(version).number(2));
    Some((suite, version.map_or(legacy, |version| version as u16)))
}

/// Undoes the encryption of both sides. An error says why nothing of it can be read.
pub(super) fn decrypt(client: &Stream, server: &Stream, keys: &Keys, damages: &mut Damages) -> Result<Plain, String> {
    let from_client = records(&client.data);
    let from_server = records(&server.data);
    let asked = hello(&from_client, CLIENT_HELLO).ok_or("its opening is not whole")?;
    let name = asked_name(&asked);
    let of = name.as_ref().map_or_else(String::new, |name| format!(" (to {name})"));
    if !cipher::BUILT_IN {
        return Err(format!("this build has no ciphers{of}"));
    }
    if keys.is_empty() {
        return Err(format!("there are no keys{of}"));
    }
    let client_random = random(&asked).ok_or("its opening is not whole")?;
    let answer =
        hello(&from_server, SERVER_HELLO).ok_or_else(|| format!("no answer to its opening was captured{of}"))?;
    let (code, version) = chosen(&answer).ok_or("the answer to its opening is not whole")?;
    let server_random = random(&answer).ok_or("the answer to its opening is not whole")?;
    let suite = Suite::of(code).ok_or_else(|| format!("cipher suite {code:#06x} is not known{of}"))?;
    let secret = |label: &str| keys.get(label, &client_random);
    let no_key = || format!("the key log does not know it{of}");
    let mut sides = match version {
        0x0304 => {
            let side = |labels: &[&str]| -> Vec<Secret> {
                labels
                    .iter()
                    .filter_map(|label| secret(label))
                    .map(|secret| Secret::new(suite, secret.to_vec()))
                    .collect()
            };
            let client =
                side(&["CLIENT_EARLY_TRAFFIC_SECRET", "CLIENT_HANDSHAKE_TRAFFIC_SECRET", "CLIENT_TRAFFIC_SECRET_0"]);
            let server = side(&["SERVER_HANDSHAKE_TRAFFIC_SECRET", "SERVER_TRAFFIC_SECRET_0"]);
            if secret("CLIENT_TRAFFIC_SECRET_0").is_none() && secret("SERVER_TRAFFIC_SECRET_0").is_none() {
                return Err(no_key());
            }
            [client, server].map(|secrets| Side::Newer { suite, secrets, current: 0, sequence: 0, begun: false })
        }
        0x0303 => {
            let master = secret("CLIENT_RANDOM").ok_or_else(no_key)?;
            let (key, iv) = (suite.key_bytes(), if suite.aead == Aead::ChaCha { 12 } else { 4 });
            let block = suite.key_block(master, &server_random, &client_random, 2 * (key + iv));
            let mut block = Take(&block);
            let mut next = |length| block.bytes(length).unwrap_or_default().to_vec();
            let keys = [next(key), next(key)];
            let ivs = [next(iv), next(iv)];
            let mut both =
                keys.into_iter().zip(ivs).map(|(key, iv)| Side::Older { suite, key, iv, sequence: 0, on: false });
            [both.next().ok_or("no keys")?, both.next().ok_or("no keys")?]
        }
        version => return Err(format!("version {version:#06x} of TLS is not read{of}")),
    };
    let [of_client, of_server] = &mut sides;
    let client = of_client.plain(client, &from_client, "the client", damages);
    let server = of_server.plain(server, &from_server, "the server", damages);
    Ok(Plain { client, server, name })
}

/// A traffic secret of TLS 1.3, and the key and nonce that follow from it.
struct Secret {
    secret: Vec<u8>,
    key: Vec<u8>,
    iv: Vec<u8>,
}

impl Secret {
    fn new(suite: Suite, secret: Vec<u8>) -> Self {
        Self { key: suite.expand(&secret, "key", suite.key_bytes()), iv: suite.expand(&secret, "iv", 12), secret }
    }
}

/// What one side encrypts with.
enum Side {
    /// TLS 1.3. Secrets follow one another; which is in force shows in what it opens.
    Newer { suite: Suite, secrets: Vec<Secret>, current: usize, sequence: u64, begun: bool },
    /// TLS 1.2.
    Older { suite: Suite, key: Vec<u8>, iv: Vec<u8>, sequence: u64, on: bool },
}

impl Side {
    fn plain(&mut self, stream: &Stream, records: &[Record<'_>], who: &str, damages: &mut Damages) -> Stream {
        let mut plain = Stream::default();
        plain.whole = stream.whole;
        let mut out = Vec::new();
        let mut end = 0;
        for record in records {
            end = record.at + 5 + record.body.len();
            match self.open(record) {
                Opened::Data(data) => plain.put(&mut out, &data, stream.time(record.at)),
                Opened::Nothing => {}
                Opened::Failed => {
                    damages.lost(format!("a record of {who} cannot be decrypted; nothing behind it is read"));
                    plain.whole = false;
                    break;
                }
            }
        }
        let sealed = records.iter().any(|record| record.kind == DATA);
        if sealed && matches!(self, Self::Newer { begun: false, .. }) {
            damages.lost(format!("what {who} sent cannot be decrypted with the keys that are known"));
            plain.whole = false;
        }
        if plain.whole && end < stream.data.len() {
            damages.lost(format!("the last record of {who} is not whole"));
            plain.whole = false;
        }
        plain.data = out.into();
        plain
    }

    fn open(&mut self, record: &Record<'_>) -> Opened {
        match self {
            Self::Newer { suite, secrets, current, sequence, begun } => {
                if record.kind != DATA {
                    return Opened::Nothing;
                }
                let first = *current;
                for (index, secret) in secrets.iter().enumerate().skip(first) {
                    let number = if index == first { *sequence } else { 0 };
                    let Some(inner) =
                        cipher::open(suite.aead, &secret.key, nonce(&secret.iv, number), record.head, record.body)
                    else {
                        continue;
                    };
                    (*current, *sequence, *begun) = (index, number + 1, true);
                    // Zeros, the true type, and in front of them what was said.
                    let Some(end) = inner.iter().rposition(|&byte| byte != 0) else { return Opened::Nothing };
                    let data = &inner[..end];
                    return match inner[end] {
                        DATA => Opened::Data(data.to_vec()),
                        HANDSHAKE if data.first() == Some(&KEY_UPDATE) => {
                            let next = suite.expand(&secret.secret, "traffic upd", suite.hash_bytes());
                            secrets[index] = Secret::new(*suite, next);
                            *sequence = 0;
                            Opened::Nothing
                        }
                        _ => Opened::Nothing,
                    };
                }
                // Early data that the server refuses may have a key that nobody logged.
                if *begun { Opened::Failed } else { Opened::Nothing }
            }
            Self::Older { suite, key, iv, sequence, on } => {
                if record.kind == CHANGE_CIPHER {
                    *on = true;
                    return Opened::Nothing;
                }
                if !*on {
                    return Opened::Nothing;
                }
                let number = sequence.to_be_bytes();
                let (nonce, sealed) = match suite.aead {
                    Aead::ChaCha => (nonce(iv, *sequence), record.body),
                    _ => {
                        let Some((explicit, sealed)) = record.body.split_at_checked(8) else { return Opened::Failed };
                        let mut nonce = [0; 12];
                        nonce[..4].copy_from_slice(&iv[..4]);
                        nonce[4..].copy_from_slice(explicit);
                        (nonce, sealed)
                    }
                };
                let Some(length) = sealed.len().checked_sub(16) else { return Opened::Failed };
                let about = [&number[..], &record.head[..3], &(length as u16).to_be_bytes()].concat();
                *sequence += 1;
                match cipher::open(suite.aead, key, nonce, &about, sealed) {
                    Some(data) if record.kind == DATA => Opened::Data(data),
                    Some(_) => Opened::Nothing,
                    None => Opened::Failed,
                }
            }
        }
    }
}

enum Opened {
    Data(Vec<u8>),
    /// Nothing of what is carried.
    Nothing,
    Failed,
}

fn nonce(iv: &[u8], sequence: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&sequence.to_be_bytes());
    for (byte, iv) in nonce.iter_mut().zip(iv) {
        *byte ^= iv;
    }
    nonce
}

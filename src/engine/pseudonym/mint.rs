//! What may stand for an atom: the same sort of thing, drawn by HMAC-SHA-256 with the key of the installation.
//!
//! ```text
//! ann                                   zovakemuta
//! 10.20.3.4                             10.81.7.143            private stays private
//! 3c:22:fb:01:02:03                     84:5d:0e:c1:77:9a      universally administered stays so
//! 9f86d081-884c-4d65-9a2f-eaa0c55ad015  e1c5b8d2-06f4-4a19-9c7d-40b3f2a86e51    version and variant stay
//! ```
//!
//! Lower-case ASCII. Names are made of syllables and begin with one of three rare letters, so that ordinary text
//! seldom looks as if a pseudonym began; addresses and ids are as long as all others of their sort, so that none
//! begins another.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::keyed;

/// What an atom is. Two values of one sort that are spelled alike have one pseudonym, whatever their kinds.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Sort {
    /// A login, a host label, a word of a name.
    Name,
    Ipv4,
    Ipv6,
    Mac,
    Uuid,
    /// Hex digits, decimal digits, or tokens of letters and digits.
    Id,
}

impl Sort {
    /// What `value` is; none where nothing that stood for it could be told from other text: too short a number,
    /// an address that is everybody's.
    pub fn of(kind: &str, value: &str) -> Option<Self> {
        if value.len() > LONGEST {
            return None;
        }
        if is_uuid(value.as_bytes()) {
            return Some(Sort::Uuid);
        }
        match value.parse::<IpAddr>() {
            Ok(IpAddr::V4(ip)) => return v4_class(ip).map(|_| Sort::Ipv4),
            Ok(IpAddr::V6(ip)) => return v6_class(ip).map(|_| Sort::Ipv6),
            Err(_) => {}
        }
        if is_mac(value.as_bytes()) {
            return Some(Sort::Mac);
        }
        let family = kind.split('.').next().unwrap_or_default();
        let named = matches!(family, "user" | "host" | "git" | "path" | "net")
            && !matches!(kind, "user.uid" | "host.machine_id" | "host.boot_id" | "host.serial" | "git.commit");
        if named {
            let name = value.chars().filter(|c| c.is_alphabetic()).count() >= 2;
            let breaks = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '\\' | '@' | '"' | ':');
            return (name && !value.contains(breaks)).then_some(Sort::Name);
        }
        let drawn = value.bytes().filter(u8::is_ascii_alphanumeric).count();
        (drawn >= SHORTEST_ID && value.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\')))
            .then_some(Sort::Id)
    }

    fn word(self) -> &'static [u8] {
        match self {
            Sort::Name => b"name",
            Sort::Ipv4 => b"ipv4",
            Sort::Ipv6 => b"ipv6",
            Sort::Mac => b"mac",
            Sort::Uuid => b"uuid",
            Sort::Id => b"id",
        }
    }
}

/// Shorter ones stand in other text by chance.
const SHORTEST_ID: usize = 8;
/// Longer ones are no atoms, bytes.
const LONGEST: usize = 256;

/// The candidate number `counter` for `value`. Nothing else goes in, so every machine with this key draws it.
pub fn candidate(key: &[u8; 32], sort: Sort, value: &str, counter: u32) -> String {
    let mut draw = Draw::new(key, sort, value, counter);
    match sort {
        Sort::Name => name(&mut draw, counter),
        Sort::Ipv4 => match value.parse() {
            Ok(ip) => v4(ip, &mut draw, counter),
            Err(_) => name(&mut draw, counter),
        },
        Sort::Ipv6 => match value.parse() {
            Ok(ip) => v6(ip, &mut draw),
            Err(_) => name(&mut draw, counter),
        },
        Sort::Mac => mac(value, &mut draw),
        Sort::Uuid => uuid(value, &mut draw),
        Sort::Id => id(value, &mut draw),
    }
}

/// What ordinary text seldom has: it waits where a pseudonym may have begun, so few characters begin one.
const RARE: &str = "qxz";
const DIGITS: &str = "0123456789";

/// Ten letters: 1.5 thousand million names; longer once many are taken.
fn name(draw: &mut Draw, counter: u32) -> String {
    let syllables = 5 + counter as usize / 64;
    let mut out = String::with_capacity(2 * syllables);
    for index in 0..syllables {
        out.push(draw.of(if index == 0 { RARE } else { "bdfghjklmnprstvwqxz" }));
        out.push(draw.of("aeiou"));
    }
    out
}

fn is_uuid(bytes: &[u8]) -> bool {
    bytes.len() == 36
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Six pairs of hex digits between colons or hyphens.
fn is_mac(bytes: &[u8]) -> bool {
    let Some(separator) = bytes.get(2).filter(|byte| matches!(byte, b':' | b'-')) else { return false };
    bytes.len() == 17
        && bytes.iter().enumerate().all(|(at, byte)| match at % 3 {
            2 => byte == separator,
            _ => byte.is_ascii_hexdigit(),
        })
}

fn uuid(value: &str, draw: &mut Draw) -> String {
    let like = |(at, c): (usize, char)| match at {
        8 | 13 | 18 | 23 => '-',
        // Version and variant (RFC 9562, section 4).
        14 => c.to_ascii_lowercase(),
        19 if matches!(c, '8'..='9' | 'a'..='b' | 'A'..='B') => draw.of("89ab"),
        19 => c.to_ascii_lowercase(),
        0 => draw.of(DIGITS),
        _ => draw.of("0123456789abcdef"),
    };
    value.char_indices().map(like).collect()
}

fn mac(value: &str, draw: &mut Draw) -> String {
    // The low bits of the second digit: group, and locally administered (IEEE 802, 8.2).
    let bits = value.chars().nth(1).and_then(|c| c.to_digit(16)).unwrap_or_default() & 3;
    let mut out = String::with_capacity(value.len());
    for (at, c) in value.char_indices() {
        out.push(match at {
            1 => char::from_digit(u32::from(draw.byte()) & 0xc | bits, 16).unwrap_or('0'),
            _ if at % 3 == 2 => c,
            0 => draw.of(DIGITS),
            _ => draw.of("0123456789abcdef"),
        });
    }
    out
}

fn id(value: &str, draw: &mut Draw) -> String {
    let hex = value.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    let digits = value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    value
        .chars()
        .enumerate()
        .map(|(at, c)| match c {
            // The first digit says how long a number is.
            '1'..='9' if digits && at == 0 => draw.of("123456789"),
            c if at == 0 && hex && c.is_ascii_hexdigit() => draw.of(DIGITS),
            c if at == 0 && c.is_ascii_alphabetic() => draw.of(RARE),
            '0'..='9' | 'a'..='f' | 'A'..='F' if hex && !digits => draw.of("0123456789abcdef"),
            '0'..='9' => draw.of("0123456789"),
            'a'..='z' | 'A'..='Z' => draw.of("abcdefghijklmnopqrstuvwxyz"),
            c => c,
        })
        .collect()
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum V4 {
    Ten,
    Twelve,
    Sixteen,
    Shared,
    Link,
    Public,
}

/// Which range an address belongs to (RFC 1918, 3927, 6598); none for those that are no machine's own.
fn v4_class(ip: Ipv4Addr) -> Option<V4> {
    let [a, b, ..] = ip.octets();
    Some(match (a, b) {
        _ if ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || a == 0 || a >= 240 => return None,
        (10, _) => V4::Ten,
        (172, 16..=31) => V4::Twelve,
        (192, 168) => V4::Sixteen,
        (100, 64..=127) => V4::Shared,
        (169, 254) => V4::Link,
        _ => V4::Public,
    })
}

/// Ends in three digits, so that none begins another.
fn v4(ip: Ipv4Addr, draw: &mut Draw, counter: u32) -> String {
    let last = 100 + draw.byte() % 155;
    let (b, c) = (draw.byte(), draw.byte());
    let [a, b, c] = match v4_class(ip).unwrap_or(V4::Public) {
        V4::Ten => [10, b, c],
        V4::Twelve => [172, 16 + b % 16, c],
        V4::Sixteen => [192, 168, c],
        V4::Shared => [100, 64 + b % 64, c],
        V4::Link => [169, 254, c],
        // Nobody's: the ranges for documentation (RFC 5737), and once they fill up that for benchmarks (RFC 2544).
        V4::Public if counter < 32 => [[192, 0, 2], [198, 51, 100], [203, 0, 113]][usize::from(b) % 3],
        V4::Public => [198, 18 + b % 2, c],
    };
    format!("{a}.{b}.{c}.{last}")
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum V6 {
    Link,
    Local,
    Public,
}

fn v6_class(ip: Ipv6Addr) -> Option<V6> {
    let first = ip.segments()[0];
    Some(match first {
        _ if ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() => return None,
        0xfe80..=0xfebf => V6::Link,
        0xfc00..=0xfdff => V6::Local,
        0x2000..=0x3fff => V6::Public,
        _ => return None,
    })
}

/// Groups are of four digits each, so that none begins another.
fn v6(ip: Ipv6Addr, draw: &mut Draw) -> String {
    let mut group = || format!("{}{:02x}{}", draw.of("123456789abcdef"), draw.byte(), draw.of("0123456789abcdef"));
    let mut groups = |count: usize| (0..count).map(|_| group()).collect::<Vec<_>>().join(":");
    match v6_class(ip).unwrap_or(V6::Public) {
        V6::Link => format!("fe80::{}", groups(4)),
        V6::Local => {
            let tail = groups(7);
            format!("fd{:02x}:{tail}", draw.byte())
        }
        // For documentation (RFC 3849).
        V6::Public => format!("2001:db8:{}", groups(6)),
    }
}

/// Bytes drawn by HMAC-SHA-256 in counter mode.
struct Draw {
    mac: Hmac<Sha256>,
    block: [u8; 32],
    used: usize,
    next: u32,
}

impl Draw {
    fn new(key: &[u8; 32], sort: Sort, value: &str, counter: u32) -> Self {
        let mut mac = keyed(key, b"pseudonym");
        mac.update(sort.word());
        mac.update(&[0]);
        mac.update(value.as_bytes());
        mac.update(&[0]);
        mac.update(&counter.to_be_bytes());
        Self { mac, block: [0; 32], used: 32, next: 0 }
    }

    fn byte(&mut self) -> u8 {
        if self.used == self.block.len() {
            let mut mac = self.mac.clone();
            mac.update(&self.next.to_be_bytes());
            self.block = mac.finalize().into_bytes().into();
            self.next += 1;
            self.used = 0;
        }
        self.used += 1;
        self.block[self.used - 1]
    }

    fn of(&mut self, alphabet: &'static str) -> char {
        alphabet.as_bytes()[usize::from(self.byte()) % alphabet.len()] as char
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::{Sort, candidate, v4_class, v6_class};

    const KEY: [u8; 32] = [7; 32];

    fn drawn(kind: &str, value: &str) -> Option<String> {
        Sort::of(kind, value).map(|sort| candidate(&KEY, sort, value, 0))
    }

    #[test]
    fn what_stands_for_a_value_is_of_its_sort_and_range() {
        for value in ["10.20.3.4", "172.20.1.1", "192.168.1.7", "100.100.1.1", "169.254.3.3", "203.0.114.9"] {
            let other: Ipv4Addr = drawn("net.ip.local", value).unwrap().parse().unwrap();
            assert_eq!(v4_class(other), v4_class(value.parse().unwrap()), "{value} {other}");
        }
        for value in ["fe80::1", "fd12:3456::1", "2001:470::5"] {
            let other: Ipv6Addr = drawn("net.ip6", value).unwrap().parse().unwrap();
            assert_eq!(v6_class(other), v6_class(value.parse().unwrap()), "{value} {other}");
        }
        for (value, bits) in [("3c:22:fb:01:02:03", 0), ("02-42-AC-11-00-02", 2), ("d2:00:00:00:00:01", 2)] {
            let other = drawn("net.mac", value).unwrap();
            assert_eq!(other.as_bytes()[2], value.as_bytes()[2]);
            assert_eq!(u8::from_str_radix(&other[..2], 16).unwrap() & 3, bits, "{other}");
        }
        let uuid = drawn("id.device", "0190A4D2-7C3F-7B1E-8A2F-EAA0C55AD015").unwrap();
        assert_eq!(&uuid[14..15], "7");
        assert!("89ab".contains(&uuid[19..20]) && uuid == uuid.to_lowercase());
        let id = drawn("host.machine_id", "9f86d081884c7d659a2feaa0c55ad015").unwrap();
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert!(drawn("user.name", "ann").unwrap().bytes().all(|byte| byte.is_ascii_lowercase()));
    }

    #[test]
    fn what_could_not_be_told_from_other_text_has_no_pseudonym() {
        for (kind, value) in [
            ("user.uid", "1000"),
            ("git.commit", "9f86d0"),
            ("net.ip.local", "127.0.0.1"),
            ("net.ip.local", "0.0.0.0"),
            ("net.ip6", "::1"),
            ("user.name", "a"),
            ("user.name", "a b"),
            ("host.name", "7"),
        ] {
            assert_eq!(drawn(kind, value), None, "{kind} {value}");
        }
    }

    #[test]
    fn one_value_is_drawn_alike_and_other_keys_and_counters_draw_others() {
        let one = candidate(&KEY, Sort::Name, "ann", 0);
        assert_eq!(one, candidate(&KEY, Sort::Name, "ann", 0));
        assert_ne!(one, candidate(&[8; 32], Sort::Name, "ann", 0));
        assert_ne!(one, candidate(&KEY, Sort::Name, "ann", 1));
        assert_ne!(one, candidate(&KEY, Sort::Name, "Ann", 0));
    }
}

//! `host[:port]` as it stands in a target or in `Host` (RFC 3986, section 3.2; RFC 9110, section 7.2).

use std::net::Ipv6Addr;

use super::lexer::is_host_byte;

/// A host, and a port where one is given. IPv6 addresses keep their brackets.
///
/// Narrower than a URI allows: no user information, no percent encoding, no `,` or `;`, no empty port. None
/// of them names a real server, and each is read differently by somebody.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Authority<'a> {
    pub host: &'a str,
    pub port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// The longest name that DNS knows, with its final dot.
    const HOST_BYTES: usize = 254;

    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (host, rest) = if text.starts_with('[') {
            let end = text.find(']')? + 1;
            let host = text.get(..end)?;
            host.get(1..end - 1)?.parse::<Ipv6Addr>().ok()?;
            (host, text.get(end..)?)
        } else {
            let end = text.find(':').unwrap_or(text.len());
            let host = text.get(..end)?;
            let named = host.strip_suffix('.').unwrap_or(host);
            let whole = named.split('.').all(|label| !label.is_empty() && label.len() <= 63);
            if !whole || host.len() > Self::HOST_BYTES || !host.bytes().all(is_host_byte) {
                return None;
            }
            (host, text.get(end..)?)
        };
        let port = match rest.strip_prefix(':') {
            Some(digits) => Some(port(digits)?),
            None if rest.is_empty() => None,
            None => return None,
        };
        Some(Self { host, port })
    }

    /// Whether both name one place when a missing port means `default`.
    pub fn same(&self, other: &Self, default: u16) -> bool {
        let bare = |host: &'a str| host.strip_suffix('.').unwrap_or(host);
        bare(self.host).eq_ignore_ascii_case(other.host.strip_suffix('.').unwrap_or(other.host))
            && self.port.unwrap_or(default) == other.port.unwrap_or(default)
    }
}

/// A port from 1 to 65535 in its only spelling: no sign, no leading zero.
fn port(digits: &str) -> Option<u16> {
    if digits.starts_with('0') || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_have_one_spelling() {
        let good = [
            ("example.com", "example.com", None),
            ("Example.COM:443", "Example.COM", Some(443)),
            ("example.com.", "example.com.", None),
            ("a_b-c.example.com:1", "a_b-c.example.com", Some(1)),
            ("localhost:65535", "localhost", Some(65535)),
            ("127.0.0.1:8080", "127.0.0.1", Some(8080)),
            ("[::1]", "[::1]", None),
            ("[2001:db8::1]:443", "[2001:db8::1]", Some(443)),
        ];
        for (text, host, port) in good {
            assert_eq!(Authority::parse(text.as_bytes()), Some(Authority { host, port }), "{text}");
        }
        let long = "a".repeat(64);
        let bad = [
            "",
            ".",
            ":443",
            "example.com:",
            "example.com:0",
            "example.com:080",
            "example.com:65536",
            "example.com:+1",
            "example.com:-1",
            "example.com: 1",
            "example.com:1:2",
            "example.com:x",
            "a..b",
            ".a",
            "user@example.com",
            "a,b",
            "a b",
            "a/b",
            "a\\b",
            "a%20b",
            "[::1",
            "::1",
            "[::1]443",
            "[::1]:",
            "[::1%25eth0]",
            "[v1.x]",
            "[]",
            "[127.0.0.1]",
            "a?b",
            "a#b",
            "a;b",
            "ex\u{e4}mple.com",
            &long,
        ];
        for text in bad {
            assert_eq!(Authority::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_missing_port_is_the_default_one() {
        let of = |text: &'static str| Authority::parse(text.as_bytes()).unwrap();
        assert!(of("Example.com").same(&of("example.com:443"), 443));
        assert!(of("example.com.").same(&of("example.com"), 443));
        assert!(!of("example.com").same(&of("example.com:443"), 80));
        assert!(!of("example.com").same(&of("example.org"), 80));
    }
}

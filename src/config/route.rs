//! Which way upstreams are reached: other addresses, a parent proxy, and what may be dialled at all.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use super::{Options, SettingsError};

/// `--connect-to HOST:PORT:ADDR:PORT`, as in curl.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConnectTo {
    pub host: Option<String>,
    pub port: Option<u16>,
    /// Empty in the option: the host that was asked for.
    pub to_host: Option<String>,
    pub to_port: Option<u16>,
}

impl ConnectTo {
    pub fn fits(&self, host: &str, port: u16) -> bool {
        self.host.as_deref().is_none_or(|h| h.eq_ignore_ascii_case(host)) && self.port.is_none_or(|p| p == port)
    }
}

impl FromStr for ConnectTo {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, SettingsError> {
        let bad = || {
            SettingsError::option(
                "--connect-to",
                format_args!("`{text}` is not HOST:PORT:ADDR:PORT, such as api.example.com:443:127.0.0.1:8443"),
            )
        };
        let mut parts = Vec::new();
        let mut rest = text;
        // An IPv6 address stands in brackets, so that its colons do not count.
        for _ in 0..3 {
            let end = if rest.starts_with('[') {
                rest.find(']').ok_or_else(bad)? + 1
            } else {
                rest.find(':').ok_or_else(bad)?
            };
            parts.push(&rest[..end]);
            rest = rest[end..].strip_prefix(':').ok_or_else(bad)?;
        }
        parts.push(rest);
        let name = |part: &str| {
            let part = part.trim_start_matches('[').trim_end_matches(']');
            (!part.is_empty()).then(|| part.to_ascii_lowercase())
        };
        let port = |part: &str| if part.is_empty() { Ok(None) } else { part.parse().map(Some).map_err(|_| bad()) };
        Ok(Self { host: name(parts[0]), port: port(parts[1])?, to_host: name(parts[2]), to_port: port(parts[3])? })
    }
}

/// The parent proxy of `--upstream-proxy`.
#[derive(Clone)]
pub struct UpstreamProxy {
    pub scheme: ProxyScheme,
    pub host: String,
    pub port: u16,
    pub user: Option<String>,
    pub password: Option<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProxyScheme {
    Http,
    Https,
    Socks5,
}

impl FromStr for UpstreamProxy {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, SettingsError> {
        // The URL is not repeated in the message: it may hold a password.
        let bad = |why: &str| {
            SettingsError::option(
                "--upstream-proxy",
                format_args!("{why}; expected http://[user:password@]host[:port], https:// or socks5://"),
            )
        };
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let (scheme, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (ProxyScheme::Http, 80),
            "https" => (ProxyScheme::Https, 443),
            "socks5" | "socks5h" => (ProxyScheme::Socks5, 1080),
            other => return Err(bad(&format!("scheme `{other}` is not known"))),
        };
        let rest = rest.trim_end_matches('/');
        let (credentials, address) = match rest.rsplit_once('@') {
            Some((credentials, address)) => (Some(credentials), address),
            None => (None, rest),
        };
        let decode =
            |part: &str| percent_decode(part).ok_or_else(|| bad("the credentials are not valid percent-encoding"));
        let (user, password) = match credentials {
            None => (None, None),
            Some(c) => match c.split_once(':') {
                Some((user, password)) => (Some(decode(user)?), Some(decode(password)?)),
                None => (Some(decode(c)?), None),
            },
        };
        let (host, port) = split_authority(address).ok_or_else(|| bad("the address is not host:port"))?;
        Ok(Self { scheme, host, port: port.unwrap_or(default_port), user, password })
    }
}

fn percent_decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b == b'%' {
            let hex = [bytes.next()?, bytes.next()?];
            out.push(u8::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok()?);
        } else {
            out.push(b);
        }
    }
    String::from_utf8(out).ok()
}

/// `host[:port]` with IPv6 in brackets: lower-case host without brackets, and the port.
pub fn split_authority(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        let port = match after {
            "" => None,
            after => Some(after.strip_prefix(':')?),
        };
        (host, port)
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':' | '~');
    if host.is_empty() || !host.chars().all(fine) {
        return None;
    }
    let port = match port {
        None | Some("") => None,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().ok()?),
        Some(_) => return None,
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    Some((host.to_ascii_lowercase(), port))
}

/// Which resolved addresses may be dialled.
#[derive(Clone, Debug, Default)]
pub struct DialPolicy {
    pub allow: Vec<ipnet::IpNet>,
    pub deny: Vec<ipnet::IpNet>,
    /// Listening beyond loopback: loopback, link-local and private ranges are denied too.
    pub public_only: bool,
}

/// Addresses at which clouds hand out credentials to whoever asks.
const METADATA: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V6(std::net::Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

impl DialPolicy {
    pub fn parse(options: &Options, listen: SocketAddr) -> Result<Self, SettingsError> {
        Ok(Self {
            allow: super::ranges("--dial-allow", &options.dial_allow)?,
            deny: super::ranges("--dial-deny", &options.dial_deny)?,
            public_only: !listen.ip().is_loopback(),
        })
    }

    pub fn permits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        if METADATA.contains(&address) || self.deny.iter().any(|net| net.contains(&address)) {
            return false;
        }
        if self.allow.iter().any(|net| net.contains(&address)) {
            return true;
        }
        !self.public_only || !is_internal(address)
    }
}

fn is_internal(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
                || (v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64)
                || v4.octets()[0] == 0
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || (v6.segments()[0] & 0xfe00) == 0xfc00
                || (v6.segments()[0] & 0xffc0) == 0xfe80
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_to_reads_what_curl_reads() {
        let full: ConnectTo = "Api.example.com:443:127.0.0.1:8443".parse().unwrap();
        assert!(full.fits("api.example.com", 443) && !full.fits("api.example.com", 80));
        assert_eq!((full.to_host.as_deref(), full.to_port), (Some("127.0.0.1"), Some(8443)));

        let any: ConnectTo = "::[::1]:9".parse().unwrap();
        assert!(any.fits("whatever.example.com", 1));
        assert_eq!((any.to_host.as_deref(), any.to_port), (Some("::1"), Some(9)));

        for wrong in ["", "a:1", "a:b:c:d", "a:1:b:99999", "[::1:1:b:2"] {
            assert!(wrong.parse::<ConnectTo>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_gateway_dials_no_internal_address_and_nobody_dials_metadata() {
        let local = DialPolicy::default();
        assert!(local.permits("127.0.0.1".parse().unwrap()));
        assert!(!local.permits("169.254.169.254".parse().unwrap()));
        assert!(!local.permits("::ffff:169.254.169.254".parse().unwrap()));
        let gateway = DialPolicy { public_only: true, ..DialPolicy::default() };
        for internal in
            ["127.0.0.1", "10.1.2.3", "::1", "fe80::1", "fd12::1", "::ffff:192.168.1.1", "0.0.0.0", "100.64.0.1"]
        {
            assert!(!gateway.permits(internal.parse().unwrap()), "{internal}");
        }
        assert!(gateway.permits("192.0.2.1".parse().unwrap()));
        let allowed = DialPolicy { allow: vec!["10.0.0.0/8".parse().unwrap()], ..gateway };
        assert!(allowed.permits("10.1.2.3".parse().unwrap()));
    }

    #[test]
    fn a_parent_proxy_keeps_its_credentials_out_of_the_message() {
        let proxy: UpstreamProxy = "http://ann:p%40ss@proxy.example.com:3128/".parse().unwrap();
        assert_eq!((proxy.user.as_deref(), proxy.password.as_deref()), (Some("ann"), Some("p@ss")));
        assert_eq!((proxy.host.as_str(), proxy.port), ("proxy.example.com", 3128));
        let error = "ftp://ann:secret@proxy.example.com".parse::<UpstreamProxy>().err().unwrap().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}

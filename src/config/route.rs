//! Which way upstreams are reached: other addresses, a parent proxy, and what may be dialled at all.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
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
        host.parse::<Ipv6Addr>().ok()?;
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
    /// For a sealed room, whose loopback is its own: this machine's loopback and link-local ranges are denied.
    pub no_loopback: bool,
}

/// Addresses at which clouds hand out credentials to whoever asks.
const METADATA: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

impl DialPolicy {
    pub fn parse(options: &Options, listen: SocketAddr) -> Result<Self, SettingsError> {
        Ok(Self {
            allow: super::ranges("--dial-allow", &options.dial_allow)?,
            deny: super::ranges("--dial-deny", &options.dial_deny)?,
            public_only: !listen.ip().is_loopback(),
            no_loopback: options.in_room,
        })
    }

    /// An address that stands for another, as gateways to IPv4 have them, is judged as both.
    pub fn permits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let within = match address {
            IpAddr::V6(v6) => embedded(v6),
            IpAddr::V4(_) => None,
        };
        self.permits_itself(address) && within.is_none_or(|v4| self.permits_itself(IpAddr::V4(v4)))
    }

    fn permits_itself(&self, address: IpAddr) -> bool {
        if METADATA.contains(&address) || self.deny.iter().any(|net| net.contains(&address)) {
            return false;
        }
        if self.allow.iter().any(|net| net.contains(&address)) {
            return true;
        }
        (!self.public_only || !is_internal(address)) && (!self.no_loopback || !is_local(address))
    }

    /// For an address that the user named.
    pub fn named(&self) -> Self {
        Self { public_only: false, no_loopback: false, ..self.clone() }
    }
}

/// Of this machine or its link.
fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local() || v4.octets()[0] == 0,
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unspecified() || (v6.segments()[0] & 0xffc0) == 0xfe80,
    }
}

/// The IPv4 address that an IPv6 address carries to a gateway, or that old systems dial in its place.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let octets = address.octets();
    let at = |start: usize| {
        let four = octets.get(start..start + 4)?;
        <[u8; 4]>::try_from(four).ok().map(Ipv4Addr::from)
    };
    match address.segments() {
        // IPv4-compatible (RFC 4291, 2.5.5.1); `::` and `::1` are none.
        [0, 0, 0, 0, 0, 0, high, low] if high > 0 || low > 1 => at(12),
        // NAT64, of everybody and of one's own (RFC 6052, RFC 8215).
        [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0x64, 0xff9b, 1, ..] => at(12),
        // 6to4 (RFC 3056).
        [0x2002, ..] => at(2),
        // Teredo (RFC 4380): the client's address, every bit turned.
        [0x2001, 0, ..] => at(12).map(|v4| Ipv4Addr::from_bits(!v4.to_bits())),
        // ISATAP (RFC 5214).
        [_, _, _, _, 0 | 0x200, 0x5efe, ..] => at(12),
        _ => None,
    }
}

/// The address that the C library reads in a host like `2130706433`, `0x7f.1` or `0177.0.0.1`.
pub fn numeric_address(host: &str) -> Option<Ipv4Addr> {
    let number = |text: &str| match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some("") => Some(0),
        Some(hex) if hex.bytes().all(|byte| byte.is_ascii_hexdigit()) => u32::from_str_radix(hex, 16).ok(),
        Some(_) => None,
        None if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) => None,
        None if text.len() > 1 && text.starts_with('0') => u32::from_str_radix(text, 8).ok(),
        None => text.parse().ok(),
    };
    let parts = host.split('.').map(number).collect::<Option<Vec<u32>>>()?;
    let (last, first) = parts.split_last()?;
    if first.len() > 3 || first.iter().any(|part| *part > 255) {
        return None;
    }
    // The last part is all that is left of the address.
    let room = 32 - 8 * first.len() as u32;
    if room < 32 && *last >> room != 0 {
        return None;
    }
    let start = first.iter().zip([24, 16, 8]).map(|(part, shift)| part << shift).sum::<u32>();
    Some(Ipv4Addr::from_bits(start | last))
}

fn is_internal(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_loopback()
                || v4.is_multicast()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
                || (v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64)
                || v4.octets()[0] == 0
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_multicast()
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
    fn a_room_does_not_reach_the_services_of_this_machine() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let options = Options { in_room: true, dial_allow: vec!["127.0.0.2".into()], ..Options::default() };
        let policy = DialPolicy::parse(&options, "127.0.0.1:0".parse().unwrap()).unwrap();
        for (ip, expected) in
            [("127.0.0.1", false), ("::1", false), ("::ffff:127.0.0.1", false), ("10.0.0.1", true), ("127.0.0.2", true)]
        {
            assert_eq!(policy.permits(address(ip)), expected, "{ip}");
        }
        assert!(policy.named().permits(address("127.0.0.1")));
    }

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
        for carried in [
            "::127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::192.168.0.1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            // Teredo's client 192.168.0.1, and ISATAP.
            "2001:0:c000:201::3f57:fffe",
            "2001:db8::5efe:172.16.0.1",
            "ff02::1",
            "224.0.0.1",
        ] {
            assert!(!gateway.permits(carried.parse().unwrap()), "{carried}");
        }
        for metadata in ["64:ff9b::169.254.169.254", "2002:a9fe:a9fe::1", "::169.254.169.254", "fd00:ec2::254"] {
            assert!(!local.permits(metadata.parse().unwrap()), "{metadata}");
        }
        for public in ["2001:db8::1", "64:ff9b::192.0.2.1", "2002:c000:201::1", "2001:0:c000:201::3fff:fdfe"] {
            assert!(gateway.permits(public.parse().unwrap()), "{public}");
        }
        let denied = DialPolicy { deny: vec!["198.51.100.0/24".parse().unwrap()], ..DialPolicy::default() };
        assert!(!denied.permits("64:ff9b::198.51.100.7".parse().unwrap()));
        assert!(gateway.permits("192.0.2.1".parse().unwrap()));
        let allowed = DialPolicy { allow: vec!["10.0.0.0/8".parse().unwrap()], ..gateway };
        assert!(allowed.permits("10.1.2.3".parse().unwrap()));
    }

    #[test]
    fn hosts_that_are_numbers_are_read_as_the_c_library_reads_them() {
        let expected = Ipv4Addr::new(127, 0, 0, 1);
        for text in
            ["127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001"]
        {
            assert_eq!(numeric_address(text), Some(expected), "{text}");
        }
        assert_eq!(numeric_address("0xA9FEA9FE"), Some(Ipv4Addr::new(169, 254, 169, 254)));
        for text in
            ["", "1.2.3.4.5", "256.1", "127.16777216", "1.2.65536", "08", "0xg", "a.example.com", "1..2", "4294967296"]
        {
            assert_eq!(numeric_address(text), None, "{text}");
        }
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

//! Value validators: what a zone, an address or an identifier looks like.
//!
//! A rule names one as `uuid`, or with a range as `hex:32-64`, `ip:private`. All take trimmed UTF-8.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

mod checksum;
mod machine;
mod places;
mod times;
mod tokens;

pub use places::{is_iana_zone, is_windows_zone};

/// A validator with its argument.
#[derive(Clone, Debug)]
pub struct Validator {
    check: Check,
    text: Box<str>,
}

#[derive(Clone, Debug)]
enum Check {
    Plain(fn(&str) -> bool),
    Hex { least: usize, most: usize },
    Uuid { version: Option<char> },
    Ip(Option<Range>),
    Digits { least: usize, most: usize },
}

/// Which addresses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Range {
    Private,
    Public,
    V4,
    V6,
}

/// What a rule may write.
pub const NAMES: &str = "iana_zone, windows_zone, utc_offset, offset_minutes, zone_abbr, offset_time, local_time, bcp47, \
    posix_locale, country, accept_language, ip, ip:private, ip:public, ip:v4, ip:v6, mac, uuid, uuid:N, hex:N, hex:N-M, \
    digits:N, digits:N-M, token, password, machine_id, home_path, path, url, email, host, version, os_name, arch, shell, user_agent, \
    base64, login, full_name, word, date_time, size, cores, remote, checked_token, \
    jwt, basic, bech32";

impl Validator {
    /// `None` for a name or range that is not known.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, argument) = match text.split_once(':') {
            Some((name, argument)) => (name, Some(argument)),
            None => (text, None),
        };
        let check = match (name, argument) {
            ("uuid", None) => Check::Uuid { version: None },
            ("uuid", Some(version)) => {
                let mut digits = version.chars();
                let version = digits.next().filter(char::is_ascii_digit)?;
                if digits.next().is_some() {
                    return None;
                }
                Check::Uuid { version: Some(version) }
            }
            ("hex", Some(lengths)) => {
                let (least, most) = lengths_of(lengths)?;
                Check::Hex { least, most }
            }
            ("digits", Some(lengths)) => {
                let (least, most) = lengths_of(lengths)?;
                Check::Digits { least, most }
            }
            ("ip", None) => Check::Ip(None),
            ("ip", Some(range)) => Check::Ip(Some(match range {
                "private" => Range::Private,
                "public" => Range::Public,
                "v4" => Range::V4,
                "v6" => Range::V6,
                _ => return None,
            })),
            (name, None) => Check::Plain(plain(name)?),
            _ => return None,
        };
        Some(Self { check, text: text.into() })
    }

    pub fn name(&self) -> &str {
        &self.text
    }

    /// Whether it takes only what looks like nothing else: a path, a zone, an address.
    pub fn is_shape(&self) -> bool {
        let name = self.text.split(':').next().unwrap_or_default();
        matches!(
            name,
            "iana_zone"
                | "windows_zone"
                | "utc_offset"
                | "offset_time"
                | "posix_locale"
                | "ip"
                | "mac"
                | "uuid"
                | "home_path"
                | "path"
                | "url"
                | "email"
                | "date_time"
                | "os_name"
                | "full_name"
                | "remote"
        )
    }

    pub fn accepts(&self, value: &str) -> bool {
        let value = value.trim();
        match &self.check {
            Check::Plain(check) => check(value),
            Check::Hex { least, most } => {
                (*least..=*most).contains(&value.len())
                    && value.bytes().all(|byte| byte.is_ascii_hexdigit())
                    && varied(value)
            }
            Check::Digits { least, most } => {
                (*least..=*most).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_digit())
            }
            Check::Uuid { version } => is_uuid(value, *version),
            Check::Ip(range) => is_ip(value, *range),
        }
    }
}

fn lengths_of(text: &str) -> Option<(usize, usize)> {
    let (least, most) = text.split_once('-').unwrap_or((text, text));
    let (least, most) = (least.parse().ok()?, most.parse().ok()?);
    (least <= most && least > 0).then_some((least, most))
}

fn plain(name: &str) -> Option<fn(&str) -> bool> {
    Some(match name {
        "iana_zone" => is_iana_zone,
        "windows_zone" => is_windows_zone,
        "utc_offset" => is_utc_offset,
        "offset_minutes" => is_offset_minutes,
        "zone_abbr" => places::is_zone_abbr,
        "offset_time" => |value| offset_of_time(value).is_some(),
        "local_time" => is_local_time,
        "bcp47" => places::is_bcp47,
        "posix_locale" => places::is_posix_locale,
        "country" => places::is_country,
        "accept_language" => places::is_accept_language,
        "mac" => is_mac,
        "token" => is_token,
        "password" => is_password,
        "machine_id" => {
            |value| is_uuid(value, None) || (is_hex(value) && matches!(value.len(), 32 | 40 | 64) && varied(value))
        }
        "home_path" => |value| home_of(value).is_some(),
        "path" => is_path,
        "url" => is_url,
        "email" => is_email,
        "host" => is_host,
        "version" => machine::is_version,
        "os_name" => machine::is_os_name,
        "arch" => machine::is_arch,
        "shell" => machine::is_shell,
        "user_agent" => is_user_agent,
        "base64" => is_base64,
        "login" => |value| !value.contains(char::is_whitespace) && is_login(value),
        "full_name" => is_full_name,
        "date_time" => times::is_date_time,
        "size" => machine::is_size,
        "cores" => machine::is_cores,
        "remote" => is_remote,
        "checked_token" => checksum::is_checked_token,
        "jwt" => tokens::is_jwt,
        "basic" => tokens::is_basic,
        "bech32" => tokens::is_bech32,
        "word" => |value| (1..=64).contains(&value.chars().count()) && !value.contains(char::is_whitespace),
        _ => return None,
    })
}

fn is_hex(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// More than three different characters: `000…0` and `ffff` fill a place and name nobody.
fn varied(value: &str) -> bool {
    let mut seen = 0_u128;
    for byte in value.bytes().filter(|byte| byte.is_ascii_alphanumeric()) {
        seen |= 1 << (byte.to_ascii_lowercase() & 127);
    }
    seen.count_ones() > 3
}

/// `8-4-4-4-12`, also without hyphens, in braces or as `urn:uuid:`.
fn is_uuid(value: &str, version: Option<char>) -> bool {
    let value = value.strip_prefix("urn:uuid:").unwrap_or(value);
    let value = value.strip_prefix('{').and_then(|value| value.strip_suffix('}')).unwrap_or(value);
    let bytes = value.as_bytes();
    let shaped = match bytes.len() {
        36 => bytes.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        }),
        32 => is_hex(value),
        _ => false,
    };
    let place = if bytes.len() == 36 { 14 } else { 12 };
    shaped && varied(value) && version.is_none_or(|version| bytes.get(place) == Some(&(version as u8)))
}

fn is_ip(value: &str, range: Option<Range>) -> bool {
    // `[::1]`, and a zone as in `fe80::1%eth0`.
    let value = value.strip_prefix('[').and_then(|value| value.strip_suffix(']')).unwrap_or(value);
    let value = value.split_once('%').map_or(value, |(address, _)| address);
    let Ok(address) = value.parse::<IpAddr>() else { return false };
    if address.is_loopback() || address.is_unspecified() || address.is_multicast() {
        return false;
    }
    match range {
        None => true,
        Some(Range::V4) => address.is_ipv4(),
        Some(Range::V6) => address.is_ipv6(),
        Some(Range::Private) => is_private(address),
        Some(Range::Public) => !is_private(address) && !is_documentation(address),
    }
}

fn is_private(address: IpAddr) -> bool {
    match address {
        // 100.64.0.0/10: behind a carrier's translation (RFC 6598).
        IpAddr::V4(v4) => {
            v4.is_private() || v4.is_link_local() || (v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64)
        }
        IpAddr::V6(v6) => v6.segments()[0] & 0xfe00 == 0xfc00 || v6.segments()[0] & 0xffc0 == 0xfe80,
    }
}

/// 0.0.0.0/8 and 255.255.255.255 are no addresses of anybody, and neither is a netmask.
fn is_documentation(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.octets()[0] == 0 || v4 == Ipv4Addr::BROADCAST || v4.octets()[0] == 255,
        IpAddr::V6(v6) => v6 == Ipv6Addr::UNSPECIFIED,
    }
}

/// Six pairs of hex digits joined by `:` or `-`, or three groups of four by `.`; neither all zeros nor all ones.
fn is_mac(value: &str) -> bool {
    let joined = |separator: char, groups: usize, digits: usize| {
        let mut count = 0;
        let even = value.split(separator).all(|group| {
            count += 1;
            group.len() == digits && is_hex(group)
        });
        even && count == groups
    };
    let shaped = joined(':', 6, 2) || joined('-', 6, 2) || joined('.', 3, 4);
    let mut digits = value.bytes().filter(u8::is_ascii_hexdigit);
    let first = digits.next();
    shaped && digits.any(|digit| Some(digit) != first)
}

/// An opaque identifier: 8 to 256 characters without spaces, with a digit in it, and not one repeated sign.
fn is_token(value: &str) -> bool {
    (8..=256).contains(&value.len())
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:|+/=~".contains(&byte))
        && value.bytes().any(|byte| byte.is_ascii_digit())
        && varied(value)
        && !machine::is_version(value)
        && !value.starts_with('/')
        && !value.contains("://")
}

/// What somebody or a generator made up so that nobody guesses it: no word, name, number, path or expression.
fn is_password(value: &str) -> bool {
    #[derive(Clone, Copy, Eq, PartialEq)]
    enum Class {
        Lower,
        Upper,
        Digit,
        Sign,
    }
    let fits = |byte: u8| byte.is_ascii_graphic() && !b"()[]{}<>".contains(&byte);
    if !(8..=256).contains(&value.len())
        || !value.bytes().all(fits)
        || !varied(value)
        || value.starts_with(['+', '-', '&'])
    {
        return false;
    }
    let folder = value.split_once('/').is_some_and(|(first, _)| first.bytes().all(|byte| byte.is_ascii_lowercase()));
    // `base64.b16encode`
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let member = value.len() < 32
        && value.split_once('.').is_some_and(|(of, name)| of.len() > 2 && of.bytes().chain(name.bytes()).all(word));
    let classes: Vec<Class> = value
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' => Class::Lower,
            b'A'..=b'Z' => Class::Upper,
            b'0'..=b'9' => Class::Digit,
            _ => Class::Sign,
        })
        .collect();
    let count = |class: Class| classes.iter().filter(|of| **of == class).count();
    let letters = count(Class::Lower) + count(Class::Upper);
    // Signs that join words and numbers say nothing.
    let signs = value.bytes().filter(|byte| byte.is_ascii_punctuation() && !b"-_.:/=".contains(byte)).count();
    // `hmacSha256` has three, what is drawn by chance about one for two letters.
    let turns = classes.windows(2).filter(|pair| pair[0] != pair[1]).count();
    let mixed = if signs > 0 { count(Class::Digit) >= 2 || turns >= 5 } else { count(Class::Digit) >= 2 && turns >= 5 };
    letters >= 2
        && mixed
        && !folder
        && !member
        && !machine::is_version(value)
        && !value.contains("://")
        && !value.contains("::")
}

/// `+08:00`, `-0330`, `+8`, `UTC+8`, `GMT-05:00`. `Z` and zero give no place away.
fn is_utc_offset(value: &str) -> bool {
    let value = value.strip_prefix("UTC").or_else(|| value.strip_prefix("GMT")).unwrap_or(value).trim_start();
    let Some(digits) = value.strip_prefix(['+', '-', '\u{2212}']) else { return false };
    let (hours, minutes) = match digits.split_once(':') {
        Some((hours, minutes)) if minutes.len() == 2 => (hours, minutes),
        Some(_) => return false,
        None if digits.len() == 4 && digits.is_ascii() => digits.split_at(2),
        None => (digits, "00"),
    };
    if !(1..=2).contains(&hours.len()) || !hours.bytes().chain(minutes.bytes()).all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    match (hours.parse::<u32>(), minutes.parse::<u32>()) {
        (Ok(hours), Ok(minutes)) => hours <= 14 && matches!(minutes, 0 | 15 | 30 | 45) && hours + minutes > 0,
        _ => false,
    }
}

/// Minutes or seconds from UTC in steps of a quarter of an hour: `480`, `-300`, `28800`. Zero gives no place away.
fn is_offset_minutes(value: &str) -> bool {
    match value.parse::<i64>() {
        Ok(0) => false,
        Ok(minutes) if minutes.abs() <= 14 * 60 => minutes % 15 == 0,
        Ok(seconds) => seconds.abs() <= 14 * 3600 && seconds % 900 == 0,
        Err(_) => false,
    }
}

/// Where the offset stands in `2026-11-22T20:29:12.138+08:00`. None for `Z` and zero.
pub fn offset_of_time(value: &str) -> Option<std::ops::Range<usize>> {
    let bytes = value.as_bytes();
    let date = bytes.len() >= 21
        && bytes[..10].iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-' || *byte == b'/',
            _ => byte.is_ascii_digit(),
        })
        && matches!(bytes[10], b'T' | b't' | b' ');
    if !date {
        return None;
    }
    let sign = 16 + bytes[16..].iter().position(|byte| matches!(byte, b'+' | b'-'))?;
    let clock = bytes[11..sign].iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.' | b',' | b' '));
    (clock && value.is_char_boundary(sign) && is_utc_offset(&value[sign..])).then_some(sign..value.len())
}

/// A date with or without a clock, as people and locales write it; not in UTC.
fn is_local_time(value: &str) -> bool {
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    (5..=20).contains(&digits) && value.len() <= 80 && !value.ends_with(['Z', 'z'])
}

/// The home folder that a path begins with: `/home/ann`, `/Users/ann`, `C:\Users\ann`, `/c/Users/ann`.
/// None where the name only stands for one (`user`, `<you>`, `$USER`).
pub fn home_of(path: &str) -> Option<&str> {
    let path = path.strip_prefix("file://").map_or(path, |rest| rest.trim_start_matches("localhost"));
    let after = |prefix: &str| path.strip_prefix(prefix).map(|rest| (path.len() - rest.len(), rest));
    let windows = || {
        let rest = path.strip_prefix('/').unwrap_or(path);
        let mut letters = rest.chars();
        let drive = letters.next().is_some_and(|letter| letter.is_ascii_alphabetic());
        let rest = letters.as_str();
        let rest = rest.strip_prefix(':').unwrap_or(rest);
        let users = ["\\\\Users\\\\", "\\Users\\", "/Users/"].into_iter().find_map(|users| rest.strip_prefix(users))?;
        drive.then_some((path.len() - users.len(), users))
    };
    let unix = ["/home/", "/Users/", "/export/home/", "/var/home/"].into_iter().find_map(after);
    let spaces = unix.is_none();
    let (start, rest) = unix.or_else(windows)?;
    let separator =
        |c: char| matches!(c, '/' | '\\' | '"' | '\'' | '`' | ':' | ';' | ',' | ')' | '>' | '<' | '|' | '\n');
    let name = rest.split(separator).next().unwrap_or(rest);
    // Only Windows has spaces in these names, and only a separator shows where such a name ends.
    let name =
        if spaces && name.len() < rest.len() { name } else { name.split(char::is_whitespace).next().unwrap_or(name) };
    let whole = path.len() - rest.len() + name.len();
    (start <= whole && is_login(name)).then(|| &path[..whole])
}

/// A login name that can be someone's.
pub fn is_login(name: &str) -> bool {
    const STAND_INS: &[&str] = &[
        "user",
        "users",
        "username",
        "user-name",
        "user_name",
        "you",
        "your",
        "yourname",
        "your-name",
        "your_name",
        "your-username",
        "your_username",
        "yourusername",
        "me",
        "name",
        "myuser",
        "someone",
        "somebody",
        "xxx",
        "foo",
        "bar",
        "example",
        "shared",
        "public",
        "default",
        "all users",
        "runner",
        "node",
        "app",
        "linuxbrew",
        "$user",
        "path",
        "login",
        "home",
        "student",
        "admin",
        "test",
        "currentuser",
        // What an interface calls the field, translated.
        "benutzername",
        "nutzername",
        "anmeldename",
        "gebruikersnaam",
        "användarnamn",
        "brukernavn",
        "utilisateur",
        "usuario",
        "用户名",
        "ユーザー名",
        "...",
        "..",
        ".",
    ];
    let known = name.to_ascii_lowercase();
    (1..=64).contains(&name.len())
        && !STAND_INS.contains(&known.as_str())
        && !name.contains(['<', '>', '{', '}', '$', '*', '%', '[', ']', '(', '?', '=', '"', '#', '\u{2026}'])
        && name.chars().any(char::is_alphanumeric)
}

/// An absolute path of any system, or one below `~`.
fn is_path(value: &str) -> bool {
    let bytes = value.as_bytes();
    let windows =
        bytes.len() > 3 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':' && matches!(bytes[2], b'\\' | b'/');
    let unix = value.starts_with('/') && !value.starts_with("//") && value.len() > 1;
    (windows || unix || value.starts_with("~/") || value.starts_with("file:///") || value.starts_with("\\\\"))
        && value.len() <= 1024
        && !value.contains(['\n', '<', '>', '{', '}', '*', '|'])
}

fn is_url(value: &str) -> bool {
    let rest = ["https://", "http://", "wss://", "ws://"].into_iter().find_map(|scheme| value.strip_prefix(scheme));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace))
}

fn is_email(value: &str) -> bool {
    let Some((local, domain)) = value.rsplit_once('@') else { return false };
    (1..=64).contains(&local.len())
        && value.len() <= 254
        && local.chars().all(|c| c.is_alphanumeric() || "._%+-'".contains(c))
        && domain.contains('.')
        && is_host(domain)
        && domain
            .rsplit('.')
            .next()
            .is_some_and(|last| last.len() >= 2 && !last.bytes().any(|byte| byte.is_ascii_digit()))
        && !local.eq_ignore_ascii_case("noreply")
        && !local.eq_ignore_ascii_case("git")
}

/// Labels of letters, digits and hyphens; not an address, not a bare number, not this host itself.
fn is_host(value: &str) -> bool {
    (2..=253).contains(&value.len())
        && value.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
                && !label.starts_with('-')
        })
        && value.bytes().any(|byte| byte.is_ascii_alphabetic())
        && value.parse::<IpAddr>().is_err()
        && ![
            "localhost",
            "localhost.localdomain",
            "unknown",
            "null",
            "none",
            "undefined",
            "true",
            "false",
            "host",
            "hostname",
            // What an interface calls the field, translated.
            "rechnername",
            "computername",
            "hostnaam",
            "servername",
            "datornamn",
        ]
        .contains(&value.to_ascii_lowercase().as_str())
}

/// `name/1.2 (details) …`
fn is_user_agent(value: &str) -> bool {
    let product = value.split([' ', '(']).next().unwrap_or(value);
    product.split_once('/').is_some_and(|(name, version)| {
        !name.is_empty() && version.bytes().next().is_some_and(|byte| byte.is_ascii_digit() || byte == b'v')
    })
}

/// `Ann Example`, `王小明`: two to five words of letters, or two to five Han characters.
fn is_full_name(value: &str) -> bool {
    let han = |c: char| matches!(c, '\u{4e00}'..='\u{9fff}');
    let count = value.chars().count();
    let words = value.split(' ').count();
    value.chars().next().is_some_and(|first| first.is_uppercase() || han(first))
        && ((2..=5).contains(&count) && value.chars().all(han)
            || (2..=5).contains(&words)
                && count <= 64
                && value.split(' ').all(|word| !word.is_empty())
                && value.chars().all(|c| c.is_alphabetic() || " .'-\u{2019}".contains(c)))
}

/// `git@git.example.com:acme/shop.git`, `https://git.example.com/acme/shop`.
fn is_remote(value: &str) -> bool {
    let path = value
        .strip_prefix("git@")
        .and_then(|rest| rest.split_once(':'))
        .or_else(|| value.split_once("://").and_then(|(_, rest)| rest.split_once('/')))
        .map(|(host, path)| (host.rsplit('@').next().unwrap_or(host), path));
    path.is_some_and(|(host, path)| {
        is_host(host.split(':').next().unwrap_or(host)) && path.trim_matches('/').contains('/')
    }) && !value.contains(char::is_whitespace)
}

fn is_base64(value: &str) -> bool {
    value.len() >= 16
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=-_".contains(&byte))
        && varied(value)
}

#[cfg(test)]
mod tests;

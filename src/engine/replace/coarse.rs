//! Facts of machine and person made coarse, or replaced by what everybody has.

/// What stands for a value of `kind` that is redacted: common, and spelled alike.
pub(super) fn placeholder(kind: &str, value: &str) -> String {
    let fixed = match kind {
        "host.name" | "net.hostname_dns" => return host(value),
        "host.fqdn" => "host.example.com",
        "user.name" => "user",
        "user.fullname" | "git.name" => "User",
        "user.uid" => "1000",
        "git.branch" => "main",
        "git.remote" => return remote(value),
        "api.base_host" | "net.proxy" => return url(value),
        "net.domain" => "example.com",
        "net.ssid" => "network",
        "net.vpn" => "vpn",
        "geo.country" => "ZZ",
        "geo.city" => "Unknown",
        "geo.latlon" => return value.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect(),
        "host.model" | "hw.cpu" | "hw.gpu" => "generic",
        "os.kernel" | "os.version" | "os.distro" | "hw.cores" | "hw.mem" | "hw.screen" | "hw.battery" | "os.name"
        | "os.arch" | "sw.runtime" | "env.shell" | "env.term" | "env.editor" => {
            return of_machine(kind, value).unwrap_or_else(|| value.to_owned());
        }
        _ if value.contains('@') && kind.ends_with("email") => "user@example.com",
        _ if kind.starts_with("net.") => return address(value),
        _ => "redacted",
    };
    fixed.to_owned()
}

fn host(value: &str) -> String {
    match value.split_once('.') {
        None => "host".to_owned(),
        Some((_, domain)) if ["local", "lan", "home", "localdomain", "internal"].contains(&domain) => {
            format!("host.{domain}")
        }
        Some(_) => "host.example.com".to_owned(),
    }
}

/// `git@host:owner/repository.git`, `https://host/owner/repository`, `host/owner/repository`.
fn remote(value: &str) -> String {
    let tail = if value.ends_with(".git") { ".git" } else { "" };
    match value.split_once("://") {
        Some((scheme, _)) => format!("{scheme}://git.example.com/user/project{tail}"),
        None if value.contains('@') => format!("git@git.example.com:user/project{tail}"),
        None if value.contains('/') => {
            let host = value.split('/').next().filter(|host| host.contains('.')).map_or("", |_| "git.example.com/");
            format!("{host}user/project{tail}")
        }
        None => "project".to_owned(),
    }
}

fn url(value: &str) -> String {
    match value.split_once("://") {
        Some((scheme, rest)) => {
            let path = rest.find(['/', '?']).map_or("", |at| &rest[at..]);
            format!("{scheme}://api.example.com{path}")
        }
        None => {
            let port = value.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
            format!("api.example.com{}", port.map_or(String::new(), |(_, port)| format!(":{port}")))
        }
    }
}

/// Addresses for documentation (RFC 5737, RFC 3849) and a locally administered MAC.
fn address(value: &str) -> String {
    let separators = value.bytes().filter(|byte| matches!(byte, b':' | b'-')).count();
    let hex = value.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'-'));
    if hex && separators == 5 && value.len() == 17 {
        return if value.contains('-') { "02-00-00-00-00-00" } else { "02:00:00:00:00:00" }.to_owned();
    }
    if hex && separators == 0 && value.len() == 12 {
        return "020000000000".to_owned();
    }
    let (address, suffix) = match value.find(['/', '%']) {
        Some(at) => value.split_at(at),
        None => (value, ""),
    };
    let (address, port) = match address.rsplit_once(':') {
        Some((v4, port)) if v4.contains('.') && !v4.contains(':') => (v4, format!(":{port}")),
        _ => (address, String::new()),
    };
    if address.parse::<std::net::Ipv4Addr>().is_ok() {
        let suffix = if suffix.starts_with('/') { suffix } else { "" };
        return format!("192.0.2.1{port}{suffix}");
    }
    if address.trim_matches(['[', ']']).parse::<std::net::Ipv6Addr>().is_ok() {
        let suffix = if suffix.starts_with('/') { suffix } else { "" };
        return if address.starts_with('[') { "[2001:db8::1]".to_owned() } else { format!("2001:db8::1{suffix}") };
    }
    if value.contains('.') { "host.example.com".to_owned() } else { "redacted".to_owned() }
}

/// A fact of the machine without its detail; none where nothing is lost by keeping it.
pub(super) fn of_machine(kind: &str, value: &str) -> Option<String> {
    match kind {
        "os.name" | "os.arch" | "sw.client_version" => None,
        "os.kernel" => Some(release(value.split(" #").next().unwrap_or(value), 2)),
        "os.version" | "os.distro" | "sw.runtime" => Some(release(value, 1)),
        "hw.cpu" | "hw.gpu" => Some("generic".to_owned()),
        "hw.cores" | "hw.mem" => Some(rounded(value)),
        "hw.screen" => Some(screen(value)),
        "hw.battery" => Some("100".to_owned()),
        "env.shell" => shell(value),
        "env.term" => Some("xterm-256color".to_owned()),
        "env.editor" => Some("editor".to_owned()),
        _ => Some("redacted".to_owned()),
    }
}

/// Versions with `kept` numbers of each and zeros after them: `6.1.0-18-amd64` is `6.1.0`.
fn release(value: &str, kept: usize) -> String {
    let mut out = String::with_capacity(value.len());
    for (at, word) in value.split(' ').enumerate() {
        if at > 0 {
            out.push(' ');
        }
        // Names may hold digits (`x86_64`): a version has a point between numbers.
        match word.find(|c: char| c.is_ascii_digit()) {
            Some(start) if word[start..].contains('.') => {
                out.push_str(&word[..start]);
                let number = &word[start..];
                let end = number.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(number.len());
                let numbers = number[..end].trim_end_matches('.').split('.');
                let coarse: Vec<_> = numbers.enumerate().map(|(at, part)| if at < kept { part } else { "0" }).collect();
                out.push_str(&coarse.join("."));
                // What closes a bracket or a list is not part of the version.
                let tail = number[end..].find([')', ';', ',', ']', '"']).map_or("", |at| &number[end + at..]);
                out.push_str(tail);
            }
            _ => out.push_str(word),
        }
    }
    out
}

/// The leading number as the nearest power of two, its unit kept: `15.3 GB` is `16 GB`.
fn rounded(value: &str) -> String {
    let end = value.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(value.len());
    let (number, unit) = value.split_at(end);
    match number.parse::<f64>() {
        Ok(number) if (0.5..1e18).contains(&number) => format!("{}{unit}", nearest_power(number)),
        _ => "0".to_owned(),
    }
}

pub(super) fn power_of_two(value: &str) -> String {
    value.parse::<f64>().map_or_else(|_| "0".to_owned(), |number| nearest_power(number).to_string())
}

fn nearest_power(number: f64) -> u64 {
    if number < 1.0 {
        return 1;
    }
    2u64.saturating_pow(number.log2().round() as u32)
}

fn screen(value: &str) -> String {
    let narrow = value.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse::<u32>().ok()).all(|n| n < 500);
    let separator = value.chars().find(|c| !c.is_ascii_digit()).unwrap_or('x');
    if narrow { format!("80{separator}24") } else { format!("1920{separator}1080") }
}

fn shell(value: &str) -> Option<String> {
    let name = value.rsplit(['/', '\\']).next().unwrap_or(value).trim_end_matches(".exe").to_ascii_lowercase();
    if ["powershell", "pwsh", "cmd"].contains(&name.as_str()) {
        return None;
    }
    Some(if value.contains('/') { "/bin/sh" } else { "sh" }.to_owned())
}

/// The text with its marks gone; none where this kind of mark has no plain form.
pub(super) fn without_marks(kind: &str, value: &str) -> Option<String> {
    let plain: fn(char) -> Option<char> = match kind {
        "cov.apostrophe" => {
            |c| Some(if matches!(c, '\u{2018}'..='\u{201b}' | '\u{2bc}' | '\u{2b9}' | '\u{ff07}') { '\'' } else { c })
        }
        "cov.space" => |c| Some(if c.is_whitespace() && !c.is_ascii() { ' ' } else { c }),
        "cov.zero_width" | "cov.tag" | "cov.varsel" | "cov.bidi" | "cov.ctrl" => |c| (!is_invisible(c)).then_some(c),
        _ => return None,
    };
    Some(value.chars().filter_map(plain).collect())
}

fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{ad}'
        | '\u{61c}' | '\u{180b}'..='\u{180f}' | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{34f}'
        | '\u{17b4}' | '\u{17b5}' | '\u{fff0}'..='\u{fff8}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e0fff}' | '\u{1bca0}'..='\u{1bca3}'
    ) || c.is_control() && !matches!(c, '\n' | '\r' | '\t')
}

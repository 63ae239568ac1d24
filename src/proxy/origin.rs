//! Where requests go, and which spellings name it.

use std::sync::Arc;

use crate::config::split_authority;

/// Where requests go: scheme, name and port.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Origin {
    /// Lower case, without brackets.
    pub host: Arc<str>,
    pub port: u16,
    pub secure: bool,
}

impl Origin {
    /// Whether an authority (`host`, `host:port`) is this one's.
    pub fn is_named(&self, authority: &str) -> bool {
        self.is_spelled_plainly(authority).unwrap_or_else(|| {
            split_authority(authority)
                .is_some_and(|(host, port)| host == *self.host && port.is_none_or(|port| port == self.port))
        })
    }

    /// The same for nearly all that is sent, told without a copy; none where a closer look is needed.
    fn is_spelled_plainly(&self, authority: &str) -> Option<bool> {
        let (host, rest) = authority.split_at_checked(self.host.len())?;
        if !host.eq_ignore_ascii_case(&self.host) || self.host.contains(':') {
            return None;
        }
        match rest.strip_prefix(':') {
            None => rest.is_empty().then_some(true),
            Some(port) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
                Some(port.parse() == Ok(self.port))
            }
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_named_by_its_host_with_its_port_or_none() {
        let origin = |host: &str| Origin { host: host.into(), port: 8443, secure: true };
        for (host, authority, named) in [
            ("api.example.com", "api.example.com", true),
            ("api.example.com", "API.example.com:8443", true),
            ("api.example.com", "api.example.com.", true),
            ("api.example.com", "api.example.com.:8443", true),
            ("api.example.com", "api.example.com:", true),
            ("api.example.com", "api.example.com:08443", true),
            ("api.example.com", "api.example.com:443", false),
            ("api.example.com", "api.example.com:+8443", false),
            ("api.example.com", "api.example.com:74000", false),
            ("api.example.com", "api.example.com.evil.example", false),
            ("api.example.com", "api.example.co", false),
            ("api.example.com", "user@api.example.com", false),
            ("api.example.com", "", false),
            ("2001:db8::1", "[2001:db8::1]:8443", true),
            ("2001:db8::1", "[2001:DB8::1]", true),
            ("2001:db8::1", "2001:db8::1", false),
        ] {
            assert_eq!(origin(host).is_named(authority), named, "{host} {authority:?}");
        }
    }
}

//! Which hosts a CA may speak for: X.509 name constraints (RFC 5280, 4.2.1.10), asked for and found.

use std::fmt;
use std::net::IpAddr;

use rcgen::{CidrSubnet, GeneralSubtree, NameConstraints};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};

use super::CaError;

/// What a new CA may speak for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Scope {
    /// The hosts of the rule packs, and no addresses: `packs`. Wildcards (`*.example.com`) are cut down to
    /// the names under which they lie.
    Packs(Vec<String>),
    /// Every host and address: `any`.
    Any,
    /// One DNS suffix, or several with commas between, and no addresses: `example.com`.
    Suffix(String),
}

impl Scope {
    /// Reads `packs`, `any` or a suffix; `packs` are the hosts of the rule packs.
    pub fn parse(text: &str, packs: &[String]) -> Result<Scope, CaError> {
        match text {
            "packs" => Ok(Scope::Packs(packs.to_vec())),
            "any" => Ok(Scope::Any),
            suffix => {
                suffixes(suffix.split(','))?;
                Ok(Scope::Suffix(suffix.to_owned()))
            }
        }
    }

    /// How it is written in the certificate's subject and on the command line.
    pub(super) fn label(&self) -> String {
        match self {
            Scope::Packs(_) => "packs".to_owned(),
            Scope::Any => "any".to_owned(),
            // The subject's part is bounded (RFC 5280, appendix A.1: 64 characters).
            Scope::Suffix(_) => "suffix".to_owned(),
        }
    }

    /// The permitted DNS names, shortest set, sorted; `None` for everything.
    pub(super) fn names(&self) -> Result<Option<Vec<String>>, CaError> {
        match self {
            Scope::Any => Ok(None),
            Scope::Packs(hosts) => suffixes(hosts.iter().map(String::as_str)).map(Some),
            Scope::Suffix(text) => suffixes(text.split(',')).map(Some),
        }
    }

    pub(super) fn constraints(&self) -> Result<Option<NameConstraints>, CaError> {
        let Some(names) = self.names()? else { return Ok(None) };
        Ok(Some(NameConstraints {
            permitted_subtrees: names.into_iter().map(GeneralSubtree::DnsName).collect(),
            // Permitted names say nothing about addresses (they are another type of name), so all are excluded.
            excluded_subtrees: vec![
                GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([0; 4], 0)),
                GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix([0; 16], 0)),
            ],
        }))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Packs(_) => f.write_str("packs"),
            Scope::Any => f.write_str("any"),
            Scope::Suffix(text) => f.write_str(text),
        }
    }
}

/// Host patterns as DNS suffixes: lower case, wildcards cut off, those under another one left out.
fn suffixes<'a>(patterns: impl Iterator<Item = &'a str>) -> Result<Vec<String>, CaError> {
    let mut names = Vec::new();
    for pattern in patterns {
        let whole = pattern.trim().trim_matches('.').to_ascii_lowercase();
        // A label with a wildcard in it permits any label there, so only what follows it is fixed.
        let fixed = match whole.rsplit_once(['*', '?']) {
            Some((_, rest)) => rest.split_once('.').map_or("", |(_, suffix)| suffix),
            None => whole.as_str(),
        };
        let wild = fixed.len() != whole.len();
        let reason = if fixed.is_empty() {
            Some("it names no domain; `any` is the scope without limits")
        } else if wild && !fixed.contains('.') {
            Some("it would permit a whole top-level domain")
        } else if fixed.parse::<IpAddr>().is_ok() {
            Some("it is an address; only `any` permits addresses")
        } else if !is_dns_name(fixed) {
            Some("it is no DNS name")
        } else {
            None
        };
        if let Some(reason) = reason {
            return Err(CaError::Scope { asked: pattern.to_owned(), reason });
        }
        names.push(fixed.to_owned());
    }
    if names.is_empty() {
        // An empty list of permitted names would permit every name.
        return Err(CaError::Scope { asked: "packs".to_owned(), reason: "the rule packs name no host" });
    }
    names.sort();
    names.dedup();
    let all = names.clone();
    names.retain(|name| !all.iter().any(|other| other != name && under(name, other)));
    Ok(names)
}

/// Whether `name` is usable as a dNSName: labels of letters, digits, `-` and `_` (which real hosts have).
pub(super) fn is_dns_name(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}

/// Whether `host` is `suffix` or lies under it; under `.suffix` the name itself does not lie. Both lower case.
fn under(host: &str, suffix: &str) -> bool {
    match suffix.strip_prefix('.') {
        Some(bare) => host.strip_suffix(bare).is_some_and(|rest| rest.ends_with('.')),
        None => host.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
    }
}

/// The constraints of every certificate from the issuer up: a host must pass each of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Constraints {
    levels: Vec<Level>,
    /// A directoryName constraint would have to hold for the leaf's subject, so leaves go without one.
    pub(super) bind_subject: bool,
}

#[derive(Clone, Debug, Default)]
struct Level {
    permitted_dns: Option<Vec<String>>,
    excluded_dns: Vec<String>,
    permitted_net: Option<Vec<Network>>,
    excluded_net: Vec<Network>,
}

/// Address and mask, both as long as the address.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Network {
    address: Vec<u8>,
    mask: Vec<u8>,
}

impl Network {
    /// 8 bytes are IPv4 address and mask, 32 IPv6.
    fn read(bytes: &[u8]) -> Option<Network> {
        if !matches!(bytes.len(), 8 | 32) {
            return None;
        }
        let (address, mask) = bytes.split_at(bytes.len() / 2);
        Some(Network { address: address.to_vec(), mask: mask.to_vec() })
    }

    fn holds(&self, address: &[u8]) -> bool {
        address.len() == self.address.len()
            && address.iter().zip(&self.address).zip(&self.mask).all(|((a, b), mask)| a & mask == b & mask)
    }
}

impl Constraints {
    /// Adds what `certificate` constrains, if it does.
    pub(super) fn add(&mut self, certificate: &X509Certificate<'_>) {
        for extension in certificate.extensions() {
            let ParsedExtension::NameConstraints(found) = extension.parsed_extension() else { continue };
            let mut level = Level::default();
            for subtree in found.permitted_subtrees.iter().flatten() {
                match &subtree.base {
                    GeneralName::DNSName(name) => {
                        level.permitted_dns.get_or_insert_default().push(name.to_ascii_lowercase());
                    }
                    GeneralName::IPAddress(bytes) => {
                        level.permitted_net.get_or_insert_default().extend(Network::read(bytes));
                    }
                    GeneralName::DirectoryName(_) => self.bind_subject = true,
                    _ => {}
                }
            }
            for subtree in found.excluded_subtrees.iter().flatten() {
                match &subtree.base {
                    GeneralName::DNSName(name) => level.excluded_dns.push(name.to_ascii_lowercase()),
                    GeneralName::IPAddress(bytes) => level.excluded_net.extend(Network::read(bytes)),
                    GeneralName::DirectoryName(_) => self.bind_subject = true,
                    _ => {}
                }
            }
            self.levels.push(level);
        }
    }

    /// Whether a leaf for `host` would be valid. `host` is normalised (see [`super::leaf::Host`]).
    pub(super) fn permit_name(&self, host: &str) -> bool {
        let matches = |constraint: &String| constraint.is_empty() || under(host, constraint);
        self.levels.iter().all(|level| {
            level.permitted_dns.as_ref().is_none_or(|names| names.iter().any(matches))
                && !level.excluded_dns.iter().any(matches)
        })
    }

    pub(super) fn permit_address(&self, address: IpAddr) -> bool {
        let octets = match address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        self.levels.iter().all(|level| {
            level.permitted_net.as_ref().is_none_or(|nets| nets.iter().any(|net| net.holds(&octets)))
                && !level.excluded_net.iter().any(|net| net.holds(&octets))
        })
    }

    /// The permitted DNS names of the issuer's own certificate, sorted; `None` without such a limit.
    pub(super) fn permitted_names(&self) -> Option<Vec<String>> {
        let mut names = self.levels.first()?.permitted_dns.clone()?;
        names.sort();
        Some(names)
    }

    pub(super) fn is_free(&self) -> bool {
        self.levels.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(patterns: &[&str]) -> Result<Vec<String>, CaError> {
        suffixes(patterns.iter().copied())
    }

    #[test]
    fn wildcards_are_cut_down_to_the_fixed_suffix() {
        let found =
            names(&["*.Example.com", "api.example.org", "ws-*.eu.example.net", "a.example.com", "x.example.org."]);
        assert_eq!(found.unwrap(), ["api.example.org", "eu.example.net", "example.com", "x.example.org"]);
    }

    #[test]
    fn a_scope_that_would_permit_too_much_or_nothing_is_refused() {
        for pattern in ["*", "*.com", "", ".", "192.0.2.1", "::1", "exa mple.com", "a..b"] {
            assert!(names(&[pattern]).is_err(), "{pattern:?} was taken");
        }
        assert!(names(&[]).is_err());
    }

    #[test]
    fn a_name_is_under_a_suffix_only_at_a_label() {
        assert!(under("example.com", "example.com"));
        assert!(under("a.example.com", "example.com"));
        assert!(!under("badexample.com", "example.com"));
        assert!(!under("com", "example.com"));
        assert!(under("a.example.com", ".example.com"));
        assert!(!under("example.com", ".example.com"));
    }
}

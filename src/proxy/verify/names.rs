//! Which names of a certificate count. webpki matches names; here it is decided which of them it may match by.

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};

/// Second levels under which the registries of countries let others register: `co.uk`, `com.au`, `or.jp`.
/// With a country's two letters behind them they are nobody's domain.
const SECOND_LEVELS: [&str; 18] = [
    "ac", "co", "com", "edu", "gob", "gouv", "gov", "gv", "mil", "muni", "ne", "net", "nhs", "nom", "or", "org", "plc",
    "sch",
];

/// Others of the kind that stand under one country only.
const SINGLE_SUFFIXES: [&str; 17] = [
    "asn.au",
    "id.au",
    "id.lv",
    "go.id",
    "go.jp",
    "go.ke",
    "go.kr",
    "go.th",
    "go.tz",
    "lg.jp",
    "ltd.uk",
    "me.uk",
    "police.uk",
    "web.id",
    "web.za",
    "priv.at",
    "gen.nz",
];

/// Whether a name of the certificate holds a byte that no name has. One reader takes such a name to its end,
/// another to the odd byte, and the two see different hosts.
pub(super) fn has_forged_name(certificate: &X509Certificate<'_>) -> bool {
    let names = certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
        _ => None,
    });
    let odd = |text: &str| text.bytes().any(|byte| byte < b' ' || byte == 0x7f);
    names.is_some_and(|names| names.iter().any(|name| matches!(name, GeneralName::DNSName(text) if odd(text))))
        || certificate.subject().iter_common_name().any(|name| name.as_slice().contains(&0))
}

/// The wildcard that speaks for a whole registry, if `host` is covered by no other of the `names`.
///
/// webpki has found that one of them covers it, so what is left is which.
pub(super) fn only_wide<'a>(host: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let mut wide = None;
    for name in names {
        let Some(suffix) = name.strip_prefix("*.") else {
            if name.eq_ignore_ascii_case(host) {
                return None;
            }
            continue;
        };
        let covers = host.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(suffix));
        if covers && !is_registry(suffix) {
            return None;
        }
        if covers {
            wide = Some(name.to_owned());
        }
    }
    wide
}

/// Whether anybody can register names under `suffix`.
fn is_registry(suffix: &str) -> bool {
    let suffix = suffix.to_ascii_lowercase();
    match suffix.split_once('.') {
        None => true,
        Some((second, country)) => {
            let by_rule = country.len() == 2
                && country.bytes().all(|byte| byte.is_ascii_alphabetic())
                && SECOND_LEVELS.contains(&second);
            by_rule || SINGLE_SUFFIXES.contains(&suffix.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_over_a_registry_covers_nothing() {
        for (host, names, wide) in [
            ("api.example.com", &["*.example.com"][..], None),
            ("example.co.uk", &["*.co.uk"], Some("*.co.uk")),
            ("example.CO.UK.", &["*.Co.Uk"], Some("*.Co.Uk")),
            ("example.co.uk", &["*.co.uk", "example.co.uk"], None),
            ("api.example.co.uk", &["*.example.co.uk"], None),
            ("example.com.au", &["*.com.au"], Some("*.com.au")),
            ("example.me.uk", &["*.me.uk"], Some("*.me.uk")),
            ("example.com", &["*.com"], Some("*.com")),
            // A company whose domain looks like one of these.
            ("www.co.com", &["*.co.com"], None),
            ("api.id.me", &["*.id.me"], None),
        ] {
            assert_eq!(only_wide(host, names.iter().copied()).as_deref(), wide, "{host} {names:?}");
        }
    }
}

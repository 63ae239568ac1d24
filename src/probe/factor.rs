//! What is varied: facts of the surroundings by name, each with values to try.

use serde::{Deserialize, Serialize};

/// One fact that the experiment changes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Factor {
    /// `tz`, `env:NAME` …
    pub name: String,
    /// The base case's first.
    pub values: Vec<String>,
}

/// What a factor is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sort<'a> {
    Tz,
    Lang,
    Hostname,
    User,
    Home,
    Cwd,
    Shell,
    Term,
    Ci,
    BaseUrl,
    Proxy,
    /// A variable of the environment; an empty value is none at all.
    Variable(&'a str),
}

/// Names, what they change, and the values that are tried where none are given, the base case's first.
pub const KNOWN: [(&str, Sort<'static>, &[&str]); 11] = [
    ("tz", Sort::Tz, &["America/New_York", "Asia/Shanghai", "Europe/Berlin", "Europe/Moscow", "Asia/Tehran"]),
    ("lang", Sort::Lang, &["en_US.UTF-8", "zh_CN.UTF-8", "de_DE.UTF-8", "ru_RU.UTF-8"]),
    ("hostname", Sort::Hostname, &["larch-2207", "wombat-9131", "tamarind-4418"]),
    ("user", Sort::User, &["robin", "zephyrine", "quillfeather"]),
    ("home", Sort::Home, &["", "/data/people/ospreyhome"]),
    ("cwd", Sort::Cwd, &["", "/srv/checkouts/marmoset-ledger"]),
    ("shell", Sort::Shell, &["/bin/bash", "/usr/bin/zsh"]),
    ("term", Sort::Term, &["xterm-256color", "screen", "vscode"]),
    ("ci", Sort::Ci, &["none", "true", "github"]),
    ("base_url", Sort::BaseUrl, &["official", "loopback", "gateway", "country", "lab"]),
    ("proxy", Sort::Proxy, &["variables", "redirect"]),
];

/// Where `base_url` leads, by class of host. Every one of them is answered by the built-in upstream; names that nobody owns
/// where the class allows it, and of the laboratories one whose interface clients are often pointed at.
pub const BASE_URLS: [(&str, &str); 5] = [
    ("official", ""),
    ("loopback", "http://127.0.0.1:8484"),
    ("gateway", "https://llm-gateway.example.net"),
    ("country", "https://llm-gateway.example.com.cn"),
    ("lab", "https://api.deepseek.com"),
];

/// Why `--vary` cannot be used.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub enum FactorError {
    #[error("--vary {0}: no such factor; known: {known}, and env:NAME", known = names().join(", "))]
    Unknown(String),
    #[error(
        "--vary {0}: a variable needs values, the base case's first: --vary {0}=,1 (an empty value is none at all)"
    )]
    NoValues(String),
    #[error("--vary {0}: one value alone cannot vary; give at least two, the base case's first")]
    OneValue(String),
    #[error("--vary {0}: the value {1:?} is given twice")]
    Twice(String, String),
    #[error("--vary {0} is given twice")]
    Again(String),
    #[error("--vary {0}: {1:?} is {2}")]
    Value(String, String, &'static str),
}

fn names() -> Vec<&'static str> {
    KNOWN.iter().map(|(name, ..)| *name).collect()
}

/// Values of one factor, the base case's included.
const MOST_VALUES: usize = 200;

impl Factor {
    /// `NAME=V1,V2[,…]`, or `NAME` for the values that are tried by default.
    pub fn parse(text: &str) -> Result<Self, FactorError> {
        let (name, values) = match text.split_once('=') {
            Some((name, values)) => (name.trim(), Some(values)),
            None => (text.trim(), None),
        };
        let variable = name.strip_prefix("env:").filter(|variable| is_variable(variable));
        let known = KNOWN.iter().find(|(known, ..)| *known == name);
        let values: Vec<String> = match (values, known) {
            (Some(values), _) => values.split(',').map(|value| value.trim().to_owned()).collect(),
            (None, Some((.., values))) => values.iter().map(|&value| value.to_owned()).collect(),
            (None, None) if variable.is_some() => return Err(FactorError::NoValues(name.to_owned())),
            (None, None) => return Err(FactorError::Unknown(name.to_owned())),
        };
        if known.is_none() && variable.is_none() {
            return Err(FactorError::Unknown(name.to_owned()));
        }
        if values.len() < 2 {
            return Err(FactorError::OneValue(name.to_owned()));
        }
        if values.len() > MOST_VALUES {
            return Err(FactorError::Value(name.to_owned(), values[MOST_VALUES].clone(), "one value too many (200)"));
        }
        for (at, value) in values.iter().enumerate() {
            if values[..at].contains(value) {
                return Err(FactorError::Twice(name.to_owned(), value.clone()));
            }
        }
        let factor = Self { name: name.to_owned(), values };
        for value in &factor.values {
            if let Some(wrong) = factor.sort().wrong(value) {
                return Err(FactorError::Value(factor.name, value.clone(), wrong));
            }
        }
        Ok(factor)
    }

    /// All that are given; the known ones with their default values where none is.
    pub fn parse_all(texts: &[String]) -> Result<Vec<Self>, FactorError> {
        if texts.is_empty() {
            return KNOWN.iter().map(|(name, ..)| Self::parse(name)).collect();
        }
        let mut factors: Vec<Self> = Vec::new();
        for text in texts {
            let factor = Self::parse(text)?;
            if factors.iter().any(|known| known.name == factor.name) {
                return Err(FactorError::Again(factor.name));
            }
            factors.push(factor);
        }
        Ok(factors)
    }

    pub fn sort(&self) -> Sort<'_> {
        match KNOWN.iter().find(|(known, ..)| *known == self.name) {
            Some((_, sort, _)) => *sort,
            None => Sort::Variable(self.name.strip_prefix("env:").unwrap_or(&self.name)),
        }
    }

    pub fn value(&self, level: u8) -> &str {
        self.values.get(usize::from(level)).map_or("", String::as_str)
    }

    /// The value that stands for `level` in a condition: another of its kind, invented, where `fresh` asks for one and
    /// any name would do.
    pub fn fresh_value(&self, level: u8, fresh: u32) -> String {
        let value = self.value(level);
        if fresh == 0 || level == 0 || value.is_empty() {
            return value.to_owned();
        }
        let word = invented(&self.name, u64::from(fresh) << 8 | u64::from(level));
        match self.sort() {
            Sort::Hostname => format!("{word}-{}", 1000 + fresh * 37 % 9000),
            Sort::User => word,
            Sort::Home => format!("/data/people/{word}"),
            Sort::Cwd => format!("/srv/checkouts/{word}"),
            _ => value.to_owned(),
        }
    }

    /// Whether any name would do, so that fresh values can be invented.
    pub fn is_open(&self) -> bool {
        matches!(self.sort(), Sort::Hostname | Sort::User | Sort::Home | Sort::Cwd)
    }
}

/// A name that stands in no dictionary, the same for the same number.
fn invented(salt: &str, number: u64) -> String {
    const STARTS: [&str; 16] =
        ["bra", "ki", "lo", "ve", "su", "tam", "or", "fen", "du", "pa", "mi", "gro", "ce", "yal", "hu", "zin"];
    let mut state = salt.bytes().fold(0xcbf2_9ce4_8422_2325_u64 ^ number, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mut word = String::new();
    for _ in 0..4 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        word.push_str(STARTS[(state >> 60) as usize]);
    }
    word
}

fn is_variable(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl Sort<'_> {
    /// Why a value cannot be had.
    fn wrong(self, value: &str) -> Option<&'static str> {
        let name = |value: &str| {
            !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        if value.contains(['\0', '\n', '\r']) {
            return Some("more than one line");
        }
        match self {
            Sort::Hostname if !name(value) || value.len() > 64 => {
                Some("no host name (letters, digits, - and ., at most 64)")
            }
            Sort::User if !name(value) || value.len() > 32 => {
                Some("no user name (letters, digits, -, _ and ., at most 32)")
            }
            Sort::Home | Sort::Cwd
                if !value.is_empty() && (!value.starts_with('/') || value.contains("..") || value.len() < 2) =>
            {
                Some("no absolute path below /")
            }
            Sort::Tz if value.is_empty() || value.starts_with('/') || value.contains("..") => {
                Some("no name of a time zone, such as Europe/Berlin")
            }
            Sort::BaseUrl if base_url(value).is_none() => {
                Some("neither a class (official, loopback, gateway, country, lab) nor a URL")
            }
            Sort::Proxy if !["variables", "redirect"].contains(&value) => Some("neither variables nor redirect"),
            _ => None,
        }
    }
}

/// The URL of a value of `base_url`, without a slash at its end; empty for `official`.
pub fn base_url(value: &str) -> Option<&str> {
    if let Some((_, url)) = BASE_URLS.iter().find(|(class, _)| *class == value) {
        return Some(url);
    }
    let rest = value.strip_prefix("https://").or_else(|| value.strip_prefix("http://"))?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    (!host.is_empty() && !authority.contains('@')).then(|| value.trim_end_matches('/'))
}

/// The host that a base URL names, lower case and without its port.
pub fn base_host(value: &str) -> Option<String> {
    let url = base_url(value)?;
    let rest = url.split_once("://")?.1;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    Some(host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_has_the_values_given_or_its_own() {
        let factor = Factor::parse("tz=UTC,Asia/Tokyo").unwrap();
        assert_eq!(
            (factor.name.as_str(), factor.values.as_slice()),
            ("tz", &["UTC".to_owned(), "Asia/Tokyo".to_owned()][..])
        );
        assert!(Factor::parse("lang").unwrap().values.len() > 2);
        assert_eq!(Factor::parse("env:DO_NOT_TRACK=,1").unwrap().values, ["", "1"]);
        assert_eq!(Factor::parse_all(&[]).unwrap().len(), KNOWN.len());
    }

    #[test]
    fn what_cannot_be_varied_says_why() {
        for (text, expected) in [
            ("zone", "--vary zone: no such factor; known: tz, lang,"),
            ("env:A", "--vary env:A: a variable needs values"),
            ("env:A B=1,2", "--vary env:A B: no such factor"),
            ("tz=UTC", "--vary tz: one value alone cannot vary"),
            ("tz=UTC,UTC", "--vary tz: the value \"UTC\" is given twice"),
            ("hostname=a b,c", "--vary hostname: \"a b\" is no host name"),
            ("home=/a,tmp", "--vary home: \"tmp\" is no absolute path"),
            ("base_url=official,ftp://x", "--vary base_url: \"ftp://x\" is neither"),
            ("proxy=variables,none", "--vary proxy: \"none\" is neither"),
        ] {
            let said = Factor::parse(text).unwrap_err().to_string();
            assert!(said.starts_with(expected), "{text}: {said}");
        }
        assert!(Factor::parse_all(&["tz".into(), "tz=A,B".into()]).is_err());
    }

    #[test]
    fn a_base_url_has_a_host() {
        for (value, host) in [
            ("loopback", Some("127.0.0.1")),
            ("https://Gate.example.com:8443/v1/", Some("gate.example.com")),
            ("http://[::1]:80", Some("[::1]")),
            ("official", None),
        ] {
            assert_eq!(base_host(value).as_deref(), host, "{value}");
        }
    }

    #[test]
    fn fresh_values_are_others_and_the_same_again() {
        let factor = Factor::parse("hostname=alpha,beta").unwrap();
        assert_eq!(factor.fresh_value(1, 0), "beta");
        assert_eq!(factor.fresh_value(0, 3), "alpha");
        let fresh = factor.fresh_value(1, 3);
        assert!(fresh != "beta" && fresh == factor.fresh_value(1, 3) && fresh != factor.fresh_value(1, 4), "{fresh}");
        assert_eq!(Factor::parse("tz=UTC,Asia/Tokyo").unwrap().fresh_value(1, 3), "Asia/Tokyo");
    }
}

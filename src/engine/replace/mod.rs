//! What stands in a value's place: something of the same type and shape that says less.
//!
//! ```text
//! redact      9f86d081-884c-4d65-9a2f-eaa0c55ad015 -> 1d0c65fb-…   keyed: one value, one stand-in, for ever
//! pseudonym   /home/ann/work -> /home/zovakemuta/work               keyed likewise, and put back in answers
//! generalize  Asia/Shanghai -> Etc/UTC, /home/ann/work -> /home/user/work, 6.1.0-18-amd64 -> 6.1.0
//! ```
//!
//! Deterministic: nothing but the value, its kind and the key of the installation goes in, so a prompt
//! prefix that was edited once is edited alike on every later turn and the provider's cache still holds.

mod clock;
mod coarse;
mod encoded;
mod path;
mod shape;

pub(in crate::engine) use clock::offset_minutes;
pub(in crate::engine) use shape::keyed;

use super::decode::Layer;
use super::finding::Action;
use super::pseudonym::{Replaced, Vault};

/// What draws pseudonyms, and the traffic that none of them may stand in by itself.
#[derive(Clone, Copy)]
pub struct Drawing<'a> {
    pub vault: &'a Vault,
    pub layers: &'a [Layer],
}

/// What the replacements depend on beside the value.
#[derive(Clone, Copy)]
pub struct StandIns<'a> {
    /// The key of the installation; not shown by any type that prints.
    pub key: &'a [u8; 32],
    /// Minutes east of UTC of this machine's clock, where known: local times without an offset need it.
    pub offset: Option<i32>,
    /// Where pseudonyms are drawn; what would get one is redacted without.
    pub drawing: Option<Drawing<'a>>,
}

/// How the value is spelled where it stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Token {
    /// Text of any sort.
    Text,
    /// A JSON number or a number of a binary format: the stand-in must be one too.
    Number,
    Bool,
}

impl StandIns<'_> {
    /// What stands for `value` after `action`; none where the value already says no more than that.
    pub fn of(&self, action: Action, kind: &str, value: &str, token: Token) -> Option<String> {
        let stand_in = match (action, token) {
            (_, Token::Bool) => "false".to_owned(),
            (_, Token::Number) => self.number(kind, value),
            (Action::Generalize, Token::Text) => self.generalize(kind, value)?,
            (Action::Pseudonym, Token::Text) => self.pseudonym(kind, value)?,
            (_, Token::Text) => self.redact(kind, value),
        };
        (stand_in != value).then_some(stand_in)
    }

    /// What stands for `observed`, which is `value` in some encoding of its own, or a digest of it.
    pub fn of_encoded(&self, action: Action, kind: &str, value: &str, observed: &str) -> Option<String> {
        let stand_in = self.of(action, kind, value, Token::Text)?;
        let written = encoded::like(value, observed, &stand_in).unwrap_or_else(|| shape::same(self.key, observed));
        (written != observed).then_some(written)
    }

    /// What is given back in answers; where nothing can, what is redacted.
    fn pseudonym(&self, kind: &str, value: &str) -> Option<String> {
        let family = kind.split('.').next().unwrap_or(kind);
        let Some(Drawing { vault, layers }) = self.drawing else { return Some(self.redact(kind, value)) };
        // Of what sort of machine, where and how written: nobody wants that back.
        if !matches!(family, "user" | "host" | "git" | "path" | "net" | "id" | "api") {
            return match family {
                "secret" => Some(self.redact(kind, value)),
                _ => self.generalize(kind, value),
            };
        }
        // A digest or an encoding of a name is no name.
        let kind = if shape::is_opaque(value) { "id.device" } else { kind };
        let in_traffic =
            |drawn: &str| layers.iter().any(|layer| memchr::memmem::find(&layer.content, drawn.as_bytes()).is_some());
        match vault.replace(kind, value, in_traffic) {
            Replaced::By(text) => Some(text),
            Replaced::Nothing => None,
            Replaced::Impossible => Some(self.redact(kind, value)),
        }
    }

    /// What stands for the rest of a path behind a value that has a pseudonym: folders that have one keep it there. None
    /// where nothing changes.
    pub fn rest_of_path(&self, rest: &str) -> Option<String> {
        self.drawing.and_then(|drawing| drawing.vault.known_folders(rest))
    }

    fn redact(&self, kind: &str, value: &str) -> String {
        let (family, _) = kind.split_once('.').unwrap_or((kind, ""));
        match family {
            "secret" => return value.chars().map(|c| if c.is_alphanumeric() { 'x' } else { c }).collect(),
            "cov" => return coarse::without_marks(kind, value).unwrap_or_default(),
            "tz" | "time" | "locale" if !shape::is_opaque(value) => {
                return self.generalize(kind, value).unwrap_or_else(|| value.to_owned());
            }
            _ => {}
        }
        // A digest or an encoding of the fact: whatever it is of, another of the same shape stands for it.
        if family == "id" || shape::is_opaque(value) {
            return shape::same(self.key, value);
        }
        match kind {
            "path.home" | "path.cwd" | "path.project" | "path.exec" | "path.tmp" => path::redact(kind, value),
            "host.machine_id" | "host.boot_id" | "host.serial" | "git.commit" => shape::same(self.key, value),
            _ => coarse::placeholder(kind, value),
        }
    }

    fn generalize(&self, kind: &str, value: &str) -> Option<String> {
        if shape::is_opaque(value) && !kind.starts_with("cov.") {
            return Some(shape::same(self.key, value));
        }
        match kind {
            "tz.iana" => Some("Etc/UTC".to_owned()),
            "tz.windows" | "tz.abbr" => Some("UTC".to_owned()),
            "tz.offset" => Some(clock::zero_offset(value)),
            "time.local" => clock::in_utc(value, self.offset),
            "locale.bcp47"
            | "locale.posix"
            | "locale.accept_language"
            | "locale.country"
            | "locale.format"
            | "locale.keyboard" => clock::common_locale(kind, value),
            kind if kind.starts_with("path.") => path::generalize(kind, value),
            kind if kind.starts_with("cov.") => coarse::without_marks(kind, value),
            kind if ["os.", "hw.", "sw.", "env."].iter().any(|family| kind.starts_with(family)) => {
                coarse::of_machine(kind, value)
            }
            // Of a kind that is not listed, as facts of a library's user may be: what these are redacted to is what they are here.
            kind if ["tz.", "time.", "locale."].iter().any(|family| kind.starts_with(family)) => {
                Some(coarse::placeholder(kind, value))
            }
            _ => Some(self.redact(kind, value)),
        }
    }

    fn number(&self, kind: &str, value: &str) -> String {
        let whole = value.bytes().all(|byte| byte.is_ascii_digit());
        match kind {
            kind if kind.starts_with("id.") && whole => shape::same_number(self.key, value),
            "user.uid" => "1000".to_owned(),
            "hw.cores" | "hw.mem" | "hw.screen" if whole => coarse::power_of_two(value),
            "hw.battery" => "1".to_owned(),
            _ => "0".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn stand_in(action: Action, kind: &str, value: &str) -> Option<String> {
        StandIns { key: &KEY, offset: Some(480), drawing: None }.of(action, kind, value, Token::Text)
    }

    #[test]
    fn generalized_values_keep_their_spelling() {
        for (kind, value, expected) in [
            ("tz.iana", "Asia/Shanghai", "Etc/UTC"),
            ("tz.windows", "China Standard Time", "UTC"),
            ("tz.offset", "+08:00", "+00:00"),
            ("tz.offset", "-0330", "+0000"),
            ("tz.offset", "UTC+8", "UTC+0"),
            ("tz.offset", "-480", "0"),
            ("tz.offset", "GMT+0800 (China Standard Time)", "GMT+0000 (Coordinated Universal Time)"),
            ("time.local", "2026-11-22T20:29:12.138+08:00", "2026-11-22T12:29:12.138+00:00"),
            ("time.local", "2026-01-01 03:00:00 +0530", "2025-12-31 21:30:00 +0000"),
            ("time.local", "2026-11-22 20:29", "2026-11-22 12:29"),
            ("time.local", "2026-9-30 23:05 -0500", "2026-10-01 04:05 +0000"),
            ("time.local", "Sun Nov 22 2026 20:29:12 GMT+0800 (CST)", "Sun Nov 22 2026 12:29:12 GMT+0000 (UTC)"),
            ("locale.bcp47", "zh-CN", "en-US"),
            ("locale.bcp47", "zh", "en"),
            ("locale.posix", "zh_CN.UTF-8", "en_US.UTF-8"),
            ("locale.posix", "de_AT", "en_US"),
            ("locale.accept_language", "zh-CN,zh;q=0.9", "en-US,en;q=0.9"),
            ("locale.country", "CN", "US"),
            ("locale.format", "2026年11月22日星期日", "Sunday, November 22, 2026"),
            ("locale.format", "22.11.2026", "11/22/2026"),
            ("path.home", "/home/ann", "/home/user"),
            ("path.cwd", "/home/ann/work/billing", "/home/user/work/billing"),
            ("path.cwd", r"C:\Users\Ann\src", r"C:\Users\user\src"),
            ("path.cwd", "/srv/acme/billing", "/project"),
            ("path.project", "-home-ann-work-billing", "-home-user-work-billing"),
            ("os.kernel", "6.1.0-18-amd64", "6.1.0"),
            ("os.kernel", "Linux 6.1.0-18-amd64 #1 SMP Debian 6.1.76-1", "Linux 6.1.0"),
            ("os.version", "15.7.3", "15.0.0"),
            ("os.distro", "Debian 12.4.0", "Debian 12.0.0"),
            ("hw.cpu", "Example Core i7-1185G7 @ 3.00GHz", "generic"),
            ("hw.mem", "15.3 GB", "16 GB"),
            ("hw.cores", "14", "16"),
            ("env.shell", "/usr/bin/zsh", "/bin/sh"),
            ("sw.runtime", "v20.20.2", "v20.0.0"),
            ("cov.zero_width", "a\u{200b}b", "ab"),
            ("cov.apostrophe", "\u{2019}", "'"),
            ("user.name", "ann", "user"),
        ] {
            assert_eq!(stand_in(Action::Generalize, kind, value).as_deref(), Some(expected), "{kind} {value}");
        }
    }

    #[test]
    fn kinds_that_are_not_listed_have_a_stand_in() {
        for family in ["tz", "time", "locale", "os", "hw", "path", "user", "net", "id", "geo", "other"] {
            for action in [Action::Generalize, Action::Redact, Action::Pseudonym] {
                let written = stand_in(action, &format!("{family}.unheard_of"), "Acme 17");
                assert_ne!(written.as_deref(), Some("Acme 17"), "{family} {action:?}");
            }
        }
        assert_eq!(stand_in(Action::Redact, "locale.unheard_of", "Acme 17").as_deref(), Some("redacted"));
    }

    #[test]
    fn a_value_that_says_nothing_more_is_left_alone() {
        for (kind, value) in [
            ("os.name", "linux"),
            ("os.arch", "x64"),
            ("path.exec", "/usr/bin/node"),
            ("path.home", "/root"),
            ("path.home", "~/.config"),
            ("tz.iana", "Etc/UTC"),
            ("time.local", "2026-11-22"),
            ("os.kernel", "6.1.0"),
            ("path.home", "/home/user"),
        ] {
            assert_eq!(stand_in(Action::Generalize, kind, value), None, "{kind} {value}");
        }
    }

    #[test]
    fn redacted_values_keep_type_and_shape() {
        let shape = |text: &str| -> String {
            text.chars()
                .map(|c| match c {
                    'a'..='f' | '0'..='9' => 'h',
                    c => c,
                })
                .collect()
        };
        for value in [
            "9f86d081-884c-4d65-9a2f-eaa0c55ad015",
            "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "0190a4d2-7c3f-7b1e-8a2f-eaa0c55ad015",
        ] {
            let redacted = stand_in(Action::Redact, "id.device", value).expect("an id is always redacted");
            assert_eq!(shape(&redacted), shape(value));
            assert_eq!(stand_in(Action::Redact, "id.device", value), Some(redacted), "the same again");
        }
        let uuid = stand_in(Action::Redact, "id.device", "0190a4d2-7c3f-7b1e-8a2f-eaa0c55ad015").unwrap_or_default();
        assert_eq!((&uuid[14..15], &uuid[19..20]), ("7", "8"), "version and variant");

        for (kind, value, expected) in [
            ("git.remote", "git@git.example.org:acme/billing.git", "git@git.example.com:user/project.git"),
            ("git.remote", "https://git.example.org/acme/billing", "https://git.example.com/user/project"),
            ("user.email", "ann@acme.example", "user@example.com"),
            ("host.name", "anns-laptop.local", "host.local"),
            ("host.name", "anns-laptop", "host"),
            ("net.ip.local", "10.1.2.3", "192.0.2.1"),
            ("net.ip6", "fe80::1ff:fe23:4567:890a", "2001:db8::1"),
            ("net.mac", "00-1B-44-11-3A-B7", "02-00-00-00-00-00"),
            ("path.home", "/home/ann", "/home/user"),
            ("path.cwd", "/home/ann/work/billing", "/home/user/project"),
            ("path.cwd", r"C:\Users\Ann\src", r"C:\Users\user\project"),
            ("secret.api_key", "sk-ab12-Cd", "xx-xxxx-xx"),
            ("api.base_host", "https://gateway.acme.example/v1", "https://api.example.com/v1"),
        ] {
            assert_eq!(stand_in(Action::Redact, kind, value).as_deref(), Some(expected), "{kind} {value}");
        }
    }

    #[test]
    fn a_number_stays_a_number() {
        let stand_ins = StandIns { key: &KEY, offset: None, drawing: None };
        for (kind, value) in [("id.account", "9007199254740993"), ("hw.mem", "33000000"), ("tz.offset", "480")] {
            let number = stand_ins.of(Action::Redact, kind, value, Token::Number).unwrap_or_default();
            assert!(serde_json::from_str::<serde_json::Number>(&number).is_ok(), "{kind}: {number}");
        }
        assert_eq!(stand_ins.of(Action::Redact, "env.ci", "true", Token::Bool).as_deref(), Some("false"));
    }

    #[test]
    fn what_stands_in_is_itself_left_alone_the_next_time() {
        for (kind, value) in [
            ("path.cwd", "/home/ann/work"),
            ("host.name", "anns-laptop"),
            ("git.remote", "git@git.example.org:acme/x.git"),
            ("net.mac", "00:1b:44:11:3a:b7"),
            ("secret.api_key", "sk-ab12"),
            ("env.term", "iTerm.app"),
        ] {
            let once = stand_in(Action::Redact, kind, value).unwrap_or_else(|| value.to_owned());
            assert_eq!(stand_in(Action::Redact, kind, &once), None, "{kind} {value}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_value_is_too_odd_to_be_replaced(
            index in 0..crate::engine::kinds::KINDS.len(),
            value in r"(?s)(\PC|[0-9:/.+ -]|/home/|C:\\Users\\|年|[a-f0-9]{8}-){0,24}.{0,8}",
        ) {
            let kind = crate::engine::kinds::KINDS[index].name;
            let stand_ins = StandIns { key: &KEY, offset: Some(-330), drawing: None };
            for action in [Action::Generalize, Action::Redact] {
                let once = stand_ins.of(action, kind, &value, Token::Text);
                proptest::prop_assert_eq!(&once, &stand_ins.of(action, kind, &value, Token::Text));
                let number = stand_ins.of(action, kind, &value, Token::Number);
                if let Some(number) = number {
                    proptest::prop_assert!(serde_json::from_str::<serde_json::Number>(&number).is_ok(), "{}", number);
                }
            }
        }
    }
}

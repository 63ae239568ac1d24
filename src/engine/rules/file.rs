//! Rule and pack files as written, before anything in them is compiled.
//!
//! Every value that may be wrong keeps its place in the file, so that a message can name the line.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::error::{RuleError, Source};
use crate::engine::finding::{Action, Severity};

/// `rules/<pack>/<rule>.toml`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleFile {
    /// Names what is found, not the cure: `device.machine-id`.
    pub id: Spanned<String>,
    pub kind: Spanned<String>,
    pub title: Spanned<String>,
    pub severity: Severity,
    /// What the pack suggests; a policy rule that matches wins.
    pub action: Option<Action>,
    /// 0 to 1; 0.9 for named values. For text rules the confidence of a line that stands alone.
    pub confidence: Option<Spanned<f32>>,
    pub why: Spanned<String>,
    #[serde(default)]
    pub references: Vec<String>,
    pub select: Spanned<SelectFile>,
    #[serde(default, rename = "match")]
    pub matching: Option<Spanned<MatchFile>>,
    /// Beginnings of credentials and the hosts that those are for: `"sk-ant-" = ["*.anthropic.com"]`.
    #[serde(default)]
    pub issuers: BTreeMap<Spanned<String>, Vec<Spanned<String>>>,
    #[serde(default, rename = "example")]
    pub examples: Vec<Spanned<ExampleFile>>,
}

/// Where the rule looks. All that is given must hold.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelectFile {
    /// `head path query header body ws any`
    pub part: Option<Spanned<OneOrMany>>,
    /// Field names, lower case.
    pub header: Option<Spanned<OneOrMany>>,
    /// Names in any spelling: `device_id` also means `deviceId`, `Device-ID`, `x-device-id`, `device.id`;
    /// `*_device_id` any name that ends in these words.
    pub names: Option<Spanned<OneOrMany>>,
    /// Regex on the nearest name as it is spelled.
    pub key: Option<Spanned<String>>,
    /// Globs on the pointer in the innermost document: `/events/*/env/**`.
    pub path: Option<Spanned<OneOrMany>>,
    /// Host globs: `api.example.com`, `*.example.com`.
    pub host: Option<Spanned<OneOrMany>>,
    /// Regex on the request's path.
    pub url: Option<Spanned<String>>,
    /// Free text, such as prompts: `match.near` finds the lines.
    #[serde(default)]
    pub text: bool,
    /// Only requests of this pack's client.
    pub client: Option<Spanned<String>>,
    /// Only requests to hosts that a pack lists as telemetry.
    #[serde(default)]
    pub telemetry: bool,
    /// `false`: not elements of an array.
    pub list: Option<bool>,
    /// `false`: not in what people and models say to each other.
    pub conversation: Option<bool>,
}

/// What the value must look like. All that is given must hold.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatchFile {
    /// Regex on the value, or on the line of a text; its group `value`, if any, names the window.
    pub value: Option<Spanned<String>>,
    /// Regex of values that are left alone: placeholders, constants.
    pub unless: Option<Spanned<String>>,
    /// One of the built-in validators, or several of which one must accept.
    pub validator: Option<Spanned<OneOrMany>>,
    /// `string number bool null`
    pub json_type: Option<Spanned<OneOrMany>>,
    /// Text rules: a line is looked at when it holds one of these, in any case.
    pub near: Option<Spanned<OneOrMany>>,
    /// Text rules: like `near`, but only as a label: a word of its own with `:`, `=`, `is`, `>` after it.
    pub label: Option<Spanned<OneOrMany>>,
    /// Text rules: `value` is tried on the lines after the one that holds `near`, until one fails.
    #[serde(default)]
    pub follow: bool,
    /// Text rules: the value may go on behind the end of the line.
    #[serde(default)]
    pub block: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExampleFile {
    pub name: Spanned<String>,
    /// The exact locations that this rule finds; empty for a request that it leaves alone.
    pub expect: Vec<Spanned<String>>,
    /// A whole request: request line, headers, empty line, body.
    pub request: Spanned<String>,
    /// `true`: what follows the head is the first WebSocket message.
    #[serde(default)]
    pub websocket: bool,
}

/// `rules/<pack>/pack.toml`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackFile {
    pub id: Spanned<String>,
    pub title: Spanned<String>,
    /// Yields to the packs that know a client where both name one value.
    #[serde(default)]
    pub generic: bool,
    /// `api.example.com` or `*.example.com`.
    #[serde(default)]
    pub hosts: Vec<Spanned<String>>,
    /// Hosts that serve telemetry alone.
    #[serde(default)]
    pub telemetry: Vec<Spanned<String>>,
    /// Telemetry services that any program may use: known when they are seen, but no reason to decrypt
    /// everybody's traffic to them, so neither of `--intercept ai` nor of the CA's scope.
    #[serde(default)]
    pub shared_telemetry: Vec<Spanned<String>>,
    #[serde(default)]
    pub client: Vec<Spanned<ClientFile>>,
    /// Names in other languages, and what they are called in rules: `"主机名" = "host_name"`.
    #[serde(default)]
    pub aliases: BTreeMap<String, String>,
    /// What numbers mean under a name: `[labels.acme_key]` with `82 = "os_name"`. They name the `value` beside them.
    #[serde(default)]
    pub labels: BTreeMap<String, BTreeMap<String, String>>,
    #[serde(default)]
    pub environment: EnvironmentFile,
    /// How what is said here is known: `real client 0.169`, `cited`.
    #[serde(default)]
    pub known_from: Vec<String>,
    /// What it speaks, in a few words each.
    #[serde(default)]
    pub wire: Vec<String>,
    /// Ways to trust a CA, and whether they work: `NODE_EXTRA_CA_CERTS = "works"`.
    #[serde(default)]
    pub trust: BTreeMap<String, String>,
    /// Switches against what is sent, and what each does: `DISABLE_TELEMETRY = "no events"`.
    #[serde(default)]
    pub opt_out: BTreeMap<String, String>,
    /// Values that bind the body, and what an edit does to them.
    #[serde(default)]
    pub integrity: BTreeMap<String, String>,
    /// What goes around a proxy, and what helps.
    #[serde(default)]
    pub bypass: BTreeMap<String, String>,
    /// What the client encrypts under a key of its own, so that nobody on the way can read it.
    #[serde(default)]
    pub encrypted: Vec<EncryptedFile>,
}

/// A place whose bytes are unread for a reason that is known.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncryptedFile {
    /// Regex on the request's path.
    pub url: Spanned<String>,
    /// `api.example.com` or `*.example.com`; any where it is left out.
    pub host: Option<Spanned<String>>,
    /// The place, with all that stands inside it: `body`, `body!json:/message`.
    pub location: Spanned<String>,
    /// How: `AES-GCM under a key that …`.
    pub how: Spanned<String>,
}

/// One way to know the client; any of them is enough.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientFile {
    pub header: Spanned<String>,
    /// Regex; its group `version`, if any, gives the version.
    pub value: Spanned<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentFile {
    /// Variables that point the client at another base URL.
    #[serde(default)]
    pub base_url: Vec<String>,
    /// Variables that the client needs to use the proxy and trust its CA, beside the usual ones.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
}

/// `"a"` or `["a", "b"]`.
#[derive(Debug, Default)]
pub struct OneOrMany(pub Vec<String>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> serde::de::Visitor<'de> for Either {
            type Value = OneOrMany;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string or a list of strings")
            }
            fn visit_str<E>(self, one: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany(vec![one.to_owned()]))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<OneOrMany, A::Error> {
                let mut all = Vec::new();
                while let Some(one) = list.next_element()? {
                    all.push(one);
                }
                Ok(OneOrMany(all))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl RuleFile {
    pub(crate) fn read(source: Source<'_>) -> Result<Self, RuleError> {
        toml::from_str(source.text).map_err(|error| {
            RuleError::of_toml(
                source,
                &error,
                "the keys id, kind, title, severity, why, select, match and two [[example]]",
            )
        })
    }
}

impl PackFile {
    pub(crate) fn read(source: Source<'_>) -> Result<Self, RuleError> {
        toml::from_str(source.text).map_err(|error| {
            RuleError::of_toml(source, &error, "the keys id and title, and hosts, client, aliases, labels, environment, wire, trust, opt_out, integrity, bypass, encrypted")
        })
    }
}

//! A policy as it is written: TOML, read strictly.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use toml::Spanned;

use super::{Mode, OnIntegrity};
use crate::engine::finding::{Action, Severity};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyFile {
    pub name: Option<String>,
    /// For readers of the file; the program does nothing with it.
    #[serde(rename = "title")]
    pub _title: Option<String>,
    #[serde(default)]
    pub mode: Mode,
    #[serde(default)]
    pub on_integrity: OnIntegrity,
    /// Hosts, as globs, to which tool calls may carry real values.
    pub restore_to: Option<Globs>,
    #[serde(default, rename = "rule", alias = "rules")]
    pub rules: Vec<Spanned<RuleFile>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleFile {
    pub name: Option<String>,
    /// The reason, for readers of the file.
    #[serde(rename = "why")]
    pub _why: Option<String>,
    pub kind: Option<Spanned<Globs>>,
    pub host: Option<Globs>,
    pub client: Option<Globs>,
    pub client_version: Option<Spanned<Globs>>,
    pub group: Option<Globs>,
    pub location: Option<Globs>,
    pub min_confidence: Option<Spanned<f32>>,
    pub severity: Option<Severity>,
    pub action: Spanned<Action>,
    /// Of paths, the project's folder has a pseudonym as well as the login.
    pub folders: Option<Spanned<bool>>,
}

/// One glob, or a list of them of which any may match.
#[derive(Debug)]
pub(super) struct Globs(pub Vec<String>);

impl<'de> Deserialize<'de> for Globs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;

        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Globs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a glob such as \"id.*\", or a list of globs")
            }

            fn visit_str<E: de::Error>(self, glob: &str) -> Result<Globs, E> {
                Ok(Globs(vec![glob.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Globs, A::Error> {
                let mut globs = Vec::new();
                while let Some(glob) = list.next_element::<String>()? {
                    globs.push(glob);
                }
                if globs.is_empty() {
                    return Err(de::Error::custom("an empty list matches nothing: leave the key out to match all"));
                }
                Ok(Globs(globs))
            }
        }

        deserializer.deserialize_any(OneOrMany)
    }
}

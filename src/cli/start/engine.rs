//! The engine that the settings ask for: rules, a policy, facts to look for, and pseudonyms to put in their place.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{StartError, kept_key, read};
use crate::config::Options;
use crate::engine::facts::{Fact, Facts};
use crate::engine::policy::{Mode, Policy};
use crate::engine::pseudonym::{Alias, parse_aliases};
use crate::engine::rules::{PackSource, RuleSet};
use crate::engine::{DecodeLimits, Engine, EngineParts, Vault};
use crate::pseudonyms::{KeepError, Kept, secret_file};

/// The pseudonyms of the state folder, from when a policy first asks for some.
#[derive(Default)]
pub struct KeptPseudonyms(Option<Kept>);

impl KeptPseudonyms {
    /// The vault that `policy` needs, with the pairs of `--aliases`; none for a policy without pseudonyms.
    pub fn vault(
        &mut self,
        options: &Options,
        policy: &Policy,
        aliases: &Aliases,
    ) -> Result<Option<Arc<Vault>>, StartError> {
        if !policy.may_restore() {
            return Ok(None);
        }
        if self.0.is_none() {
            let state = options.state_dir()?;
            let wrong = |error: KeepError| StartError::Wrong(format!("pseudonyms: {}", said(&error)));
            let secret = secret_file(&state).map_err(wrong)?;
            let secret = kept_key(&state, &secret).map_err(|source| {
                let what = format!("pseudonyms: {} can be neither read nor made: {source}", secret.display());
                StartError::Wrong(what)
            })?;
            self.0 = Some(Kept::open(&state, secret).map_err(wrong)?);
        }
        let Some(kept) = &self.0 else { return Ok(None) };
        kept.vault().pin(&aliases.file, &aliases.list).map_err(|e| StartError::Wrong(e.to_string()))?;
        Ok(Some(kept.vault().clone()))
    }

    /// Saves what was added.
    pub fn finish(&self) {
        if let Some(kept) = &self.0 {
            kept.finish();
        }
    }

    /// What became of pseudonyms in answers, for a summary; none where there was nothing to do.
    pub fn note(&self) -> Option<String> {
        let (restored, unrestored, withheld) = self.0.as_ref()?.vault().counted();
        let mut note = format!("pseudonyms: {restored} put back in answers, {unrestored} seen by the assistant");
        if withheld > 0 {
            note.push_str(&format!(" ({withheld} of them kept out of tool calls to other hosts)"));
        }
        (restored + unrestored > 0).then_some(note)
    }
}

/// An error with what caused it.
fn said(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// What `--aliases` says.
#[derive(Default)]
pub struct Aliases {
    file: String,
    list: Vec<Alias>,
}

impl Aliases {
    pub fn read(options: &Options) -> Result<Self, StartError> {
        let Some(path) = &options.aliases else { return Ok(Self::default()) };
        let file = path.display().to_string();
        let list = parse_aliases(&file, &read(path)?).map_err(|e| StartError::Wrong(e.to_string()))?;
        Ok(Self { file, list })
    }

    /// Their real values are looked for like those of the machine.
    pub fn among(&self, facts: Facts) -> Facts {
        if self.list.is_empty() {
            return facts;
        }
        let own = self.list.iter().map(|alias| Fact::new(&alias.kind, &alias.real));
        Facts::new(facts.list().iter().cloned().chain(own).collect())
    }
}

/// Everything that a snapshot of the engine is made of, read from the files that the settings name.
pub fn engine(options: &Options, digest_key: [u8; 32], kept: &mut KeptPseudonyms) -> Result<Engine, StartError> {
    engine_with(options, digest_key, facts(options)?, kept)
}

/// Those of `--facts`, else of this machine.
pub(in crate::cli) fn facts(options: &Options) -> Result<Facts, StartError> {
    match &options.facts {
        Some(path) => {
            let text = read(path)?;
            Facts::parse(&path.display().to_string(), &text).map_err(|e| StartError::Wrong(e.to_string()))
        }
        None => {
            let own = crate::facts::collect().into_iter().map(|(kind, value)| Fact::new(&kind, &value));
            let credentials = crate::facts::credentials().into_iter().map(|credential| Fact {
                host: Some(credential.host.as_str().into()),
                ..Fact::new("secret.api_key", &credential.value)
            });
            Ok(Facts::new(own.chain(credentials).collect()))
        }
    }
}

/// The same with facts from elsewhere.
pub fn engine_with(
    options: &Options,
    digest_key: [u8; 32],
    facts: Facts,
    kept: &mut KeptPseudonyms,
) -> Result<Engine, StartError> {
    let policy = policy(options)?;
    engine_of(options, policy, digest_key, facts, kept)
}

/// The same with another policy than the settings' own.
pub(in crate::cli) fn engine_of(
    options: &Options,
    policy: Policy,
    digest_key: [u8; 32],
    facts: Facts,
    kept: &mut KeptPseudonyms,
) -> Result<Engine, StartError> {
    for warning in policy.warnings() {
        tracing::warn!("{warning}");
    }
    let aliases = Aliases::read(options)?;
    let vault = kept.vault(options, &policy, &aliases)?;
    let engine = Engine::new(EngineParts {
        rules: rules(options)?,
        facts: aliases.among(facts),
        on_error: options.on_error(enforces(&policy)),
        policy,
        digest_key,
        limits: DecodeLimits::default(),
    });
    Ok(match vault {
        Some(vault) => engine.with_vault(vault),
        None => engine,
    })
}

/// Whether the policy is one that `--on-error` closes by default: any but `audit`, and any that only reports.
pub(in crate::cli) fn enforces(policy: &Policy) -> bool {
    policy.mode() == Mode::Enforce && policy.name() != "audit"
}

pub fn policy(options: &Options) -> Result<Policy, StartError> {
    policy_of(options.policy.as_deref().unwrap_or("audit"))
}

/// A preset by its name, or a file.
pub(in crate::cli) fn policy_of(name: &str) -> Result<Policy, StartError> {
    if let Some(preset) = Policy::preset(name) {
        return Ok(preset);
    }
    let path = Path::new(name);
    let text = std::fs::read_to_string(path).map_err(|error| {
        let hint = if name.contains(['/', '.']) { "" } else { "; the built-in ones are audit, balanced and strict" };
        StartError::Wrong(format!("--policy: {name} cannot be read: {error}{hint}"))
    })?;
    Policy::parse(name, &text).map_err(|e| StartError::Wrong(e.to_string()))
}

pub fn rules(options: &Options) -> Result<RuleSet, StartError> {
    rules_of(&options.rules)
}

/// The built-in packs, and those in `folders` beside them.
pub fn rules_of(folders: &[PathBuf]) -> Result<RuleSet, StartError> {
    if folders.is_empty() {
        return Ok(RuleSet::builtin());
    }
    let files = rule_files(folders)?;
    let sources: Vec<PackSource<'_>> = files.iter().map(|(name, text)| PackSource { name, text }).collect();
    RuleSet::load(&sources).map_err(|e| StartError::Wrong(e.to_string()))
}

/// The TOML files of the folders, each with its path, in a fixed order.
fn rule_files(folders: &[PathBuf]) -> Result<Vec<(String, String)>, StartError> {
    let mut files = Vec::new();
    let mut open: Vec<PathBuf> = folders.to_vec();
    while let Some(folder) = open.pop() {
        let wrong = |e: io::Error| StartError::Wrong(format!("--rules: {}: cannot be read: {e}", folder.display()));
        for entry in std::fs::read_dir(&folder).map_err(wrong)? {
            let path = entry.map_err(wrong)?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "toml") {
                files.push((path.display().to_string(), read(&path)?));
            }
        }
    }
    if files.is_empty() {
        let list: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
        return Err(StartError::Wrong(format!("--rules: {}: no rule files (*.toml) there", list.join(", "))));
    }
    files.sort();
    Ok(files)
}

//! Says what is done about a finding.
//!
//! ```text
//! policy.toml -> file.rs (as written) -> Policy (compiled) -> decide(finding) -> Decision
//! ```
//!
//! Rules are read from the top: the first that matches a finding decides it, and a finding that none
//! matches gets the action its own detector proposes. Findings that overlap are settled in `flow.rs`.

mod file;
mod matching;

use std::fmt;
use std::sync::Arc;

use super::finding::{Action, Severity};
use super::kinds;
use super::location::Location;
use file::{Globs, PolicyFile, RuleFile};
use matching::{Glob, Versions};

/// Whether decisions are carried out.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    #[default]
    Enforce,
    /// Everything is forwarded as it came; findings say what would have been done.
    Audit,
}

/// What happens where an edit would change bytes that an integrity value covers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnIntegrity {
    /// The edit is left undone, the finding logged.
    Log,
    /// The request is withheld.
    Block,
    /// The edit is made, and the certificate names the value that no longer fits.
    #[default]
    Edit,
}

/// A compiled policy.
#[derive(Clone, Debug)]
pub struct Policy {
    name: Arc<str>,
    mode: Mode,
    on_integrity: OnIntegrity,
    restore_to: Vec<Glob>,
    rules: Vec<PolicyRule>,
}

#[derive(Clone, Debug)]
struct PolicyRule {
    /// `balanced:12`, the line it starts on, or the name it was given.
    label: Arc<str>,
    line: usize,
    kind: Option<Vec<Glob>>,
    host: Option<Vec<Glob>>,
    client: Option<Vec<Glob>>,
    client_version: Option<Vec<Versions>>,
    group: Option<Vec<Glob>>,
    location: Option<Vec<Glob>>,
    min_confidence: Option<f32>,
    severity: Option<Severity>,
    action: Action,
    folders: bool,
}

/// Whom a request is from and where it goes: what the conditions of a rule may ask beside the finding.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subject<'a> {
    pub host: &'a str,
    pub client: Option<&'a str>,
    pub client_version: Option<&'a str>,
    /// The group of the user, where a gateway knows its users.
    pub group: Option<&'a str>,
}

/// The finding to decide, as far as a rule may ask about it.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub kind: &'a str,
    pub location: &'a Location,
    pub severity: Severity,
    pub confidence: f32,
    /// What the detector's own pack proposes.
    pub proposed: Action,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Decision {
    pub action: Action,
    /// The rule that decided; none where the proposed action stood.
    pub by: Option<Arc<str>>,
    /// Of paths, the project's folder has a pseudonym as well as the login.
    pub folders: bool,
}

/// A policy that cannot be used: where, and what was expected there.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub struct PolicyError {
    pub file: String,
    pub line: usize,
    pub message: String,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)
    }
}

/// The policies that come with the program, mildest first.
pub const PRESETS: &[(&str, &str)] = &[
    ("audit", include_str!("../../../rules/policies/audit.toml")),
    ("balanced", include_str!("../../../rules/policies/balanced.toml")),
    ("strict", include_str!("../../../rules/policies/strict.toml")),
];

impl Policy {
    /// One of [`PRESETS`].
    pub fn preset(name: &str) -> Option<Self> {
        let (name, text) = PRESETS.iter().find(|(preset, _)| *preset == name)?;
        Some(Self::parse(&format!("{name}.toml"), text).expect("the presets parse: a test reads them all"))
    }

    /// Reads a policy; `file_name` is for messages, and names the policy where it does not name itself.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, PolicyError> {
        let fail = |offset: usize, message: String| PolicyError {
            file: file_name.to_owned(),
            line: line_of(text, offset),
            message,
        };
        let file: PolicyFile = toml::from_str(text)
            .map_err(|error| fail(error.span().map_or(0, |span| span.start), error.message().replace('\n', "; ")))?;
        let name = file.name.unwrap_or_else(|| stem(file_name).to_owned());
        let mut rules = Vec::with_capacity(file.rules.len());
        for rule in file.rules {
            let line = line_of(text, rule.span().start);
            rules.push(
                PolicyRule::compile(rule.into_inner(), &name, line)
                    .map_err(|(offset, message)| fail(offset, message))?,
            );
        }
        let restore_to = file.restore_to.map(|globs| globs.0).unwrap_or_default();
        let restore_to = restore_to.iter().map(|glob| Glob::new(glob)).collect();
        Ok(Self { name: name.into(), mode: file.mode, on_integrity: file.on_integrity, restore_to, rules })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn mode(&self) -> Mode {
        self.mode
    }

    pub fn on_integrity(&self) -> OnIntegrity {
        self.on_integrity
    }

    /// Whether this policy could ever edit or withhold anything.
    pub fn edits(&self) -> bool {
        self.may_change(&Subject::default())
            || self.mode == Mode::Enforce
                && self.rules.iter().any(|rule| rule.action.edits() || rule.action == Action::Block)
    }

    /// The first matching rule decides; without one, what the detector proposes.
    pub fn decide(&self, subject: &Subject<'_>, question: &Question<'_>) -> Decision {
        let rule = self.rules.iter().find(|rule| rule.concerns(subject) && rule.matches(question));
        let (action, by, folders) = match rule {
            Some(rule) => (rule.action, Some(rule.label.clone()), rule.folders),
            None => (question.proposed, None, false),
        };
        Decision { action: possible(action, question.kind), by, folders }
    }

    /// How many rules it has.
    pub fn rules(&self) -> usize {
        self.rules.len()
    }

    /// The line on which the rule called `label` begins ([`Decision::by`]).
    pub fn line_of(&self, label: &str) -> Option<usize> {
        self.rules.iter().find(|rule| *rule.label == *label).map(|rule| rule.line)
    }

    /// Whether anything that leaves could have a pseudonym that is put back in answers.
    pub fn may_restore(&self) -> bool {
        // What no rule takes gets the action of its pack.
        let proposed = || !self.rules.iter().any(|rule| rule.takes_all() && rule.asks_nothing_of_subject());
        self.mode == Mode::Enforce && (self.rules.iter().any(|rule| rule.action == Action::Pseudonym) || proposed())
    }

    /// Whether real values may enter a tool call that goes to `host`, beside the host they were given to.
    pub fn restores_to(&self, host: &str) -> bool {
        self.restore_to.iter().any(|glob| glob.matches(host))
    }

    /// Whether anything of any request could be edited or withheld. Where not, [`Policy::may_change`] of none says so.
    pub fn ever_changes(&self) -> bool {
        self.ever(|action| action.edits() || action == Action::Block)
    }

    /// The same of warnings.
    pub fn ever_warns(&self) -> bool {
        self.ever(|action| action == Action::Warn)
    }

    fn ever(&self, is: impl Fn(Action) -> bool) -> bool {
        // What no rule takes gets the action of its pack.
        let decides = |rule: &&PolicyRule| is(rule.action) || rule.takes_all() && rule.asks_nothing_of_subject();
        self.mode == Mode::Enforce && self.rules.iter().find(decides).is_none_or(|rule| is(rule.action))
    }

    /// Whether anything of such a request could be edited or withheld.
    pub fn may_change(&self, subject: &Subject<'_>) -> bool {
        if self.mode == Mode::Audit {
            return false;
        }
        for rule in self.rules.iter().filter(|rule| rule.may_concern(subject)) {
            if rule.action.edits() || rule.action == Action::Block {
                return true;
            }
            if rule.takes_all() && rule.concerns(subject) {
                return false;
            }
        }
        // What no rule takes gets the action of its pack, which may be an edit.
        true
    }

    /// Whether anything of such a request could be warned of. `proposed`: whether packs propose it of what no rule takes.
    pub fn may_warn(&self, subject: &Subject<'_>, proposed: bool) -> bool {
        if self.mode == Mode::Audit {
            return false;
        }
        for rule in self.rules.iter().filter(|rule| rule.may_concern(subject)) {
            if rule.action == Action::Warn {
                return true;
            }
            if rule.takes_all() && rule.concerns(subject) {
                return false;
            }
        }
        proposed
    }

    /// What reads as a mistake though it is a valid policy: values that tell what the policy hides in
    /// another field, and rules that can never decide.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for (hidden, telling, why) in CONTRADICTIONS {
            if self.changes(hidden) && !self.changes(telling) {
                warnings.push(format!("policy {}: {hidden} is changed but {telling} is kept, {why}", self.name));
            }
        }
        if let Some(all) = self.rules.iter().position(|rule| rule.takes_all() && rule.asks_nothing_of_subject()) {
            for rule in &self.rules[all + 1..] {
                let (line, by) = (rule.line, self.rules[all].line);
                warnings
                    .push(format!("policy {}: the rule on line {line} never decides: line {by} takes all", self.name));
            }
        }
        warnings
    }

    /// Whether a sure finding of `kind` in a body would be edited or withheld.
    fn changes(&self, kind: &str) -> bool {
        let location = Location { root: super::location::Root::Body, steps: Vec::new() };
        let question =
            Question { kind, location: &location, severity: Severity::High, confidence: 1.0, proposed: Action::Log };
        let action = self.decide(&Subject::default(), &question).action;
        action.edits() || action == Action::Block
    }
}

/// Pairs of kinds of which the second gives the first away.
const CONTRADICTIONS: &[(&str, &str, &str)] = &[
    ("tz.iana", "tz.offset", "which narrows the zone down"),
    ("tz.iana", "time.local", "whose distance to UTC gives the zone's offset away"),
    ("tz.offset", "tz.iana", "which has that offset"),
    ("locale.bcp47", "locale.accept_language", "which names the language"),
    ("locale.bcp47", "locale.posix", "which names the same locale"),
    ("user.name", "path.home", "which ends in the login name"),
    ("user.name", "path.cwd", "which often lies in the home folder"),
    ("git.email", "git.name", "which the address mostly spells"),
];

/// What can be done about a kind: a value that binds the body is never rewritten, and a report of the
/// audit has no bytes of its own.
fn possible(action: Action, kind: &str) -> Action {
    match action {
        action if action.edits() && (kind.starts_with("integrity.") || kind.starts_with("audit.")) => Action::Log,
        action => action,
    }
}

impl PolicyRule {
    fn compile(file: RuleFile, policy: &str, line: usize) -> Result<Self, (usize, String)> {
        let globs = |globs: Globs| globs.0.iter().map(|glob| Glob::new(glob)).collect::<Vec<_>>();
        if let Some(kinds) = &file.kind {
            for glob in &kinds.get_ref().0 {
                let pattern = Glob::new(glob);
                if !kinds::is_known(glob) && !kinds::KINDS.iter().any(|kind| pattern.matches(kind.name)) {
                    let message = format!("`{glob}` is no kind; expected one such as `id.device`, or a glob, `id.*`");
                    return Err((kinds.span().start, message));
                }
            }
        }
        if let Some(least) = &file.min_confidence
            && !(0.0..=1.0).contains(least.get_ref())
        {
            let message = format!("min_confidence is {}; expected a number from 0 to 1", least.get_ref());
            return Err((least.span().start, message));
        }
        if let Some(folders) = &file.folders
            && *file.action.get_ref() != Action::Pseudonym
        {
            let message = "`folders` belongs to the action `pseudonym` alone";
            return Err((folders.span().start, message.to_owned()));
        }
        let client_version = match file.client_version {
            None => None,
            Some(versions) => {
                let start = versions.span().start;
                let versions = versions.into_inner().0;
                let versions: Result<Vec<_>, _> = versions.iter().map(|text| Versions::parse(text)).collect();
                Some(versions.map_err(|message| (start, message))?)
            }
        };
        Ok(Self {
            label: file.name.map_or_else(|| format!("{policy}:{line}").into(), |name| name.into()),
            line,
            kind: file.kind.map(|kinds| globs(kinds.into_inner())),
            host: file.host.map(globs),
            client: file.client.map(globs),
            client_version,
            group: file.group.map(globs),
            location: file.location.map(globs),
            min_confidence: file.min_confidence.map(|least| *least.get_ref()),
            severity: file.severity,
            action: *file.action.get_ref(),
            folders: file.folders.is_some_and(|folders| *folders.get_ref()),
        })
    }

    fn concerns(&self, subject: &Subject<'_>) -> bool {
        any(&self.host, Some(subject.host))
            && any(&self.client, subject.client)
            && any(&self.group, subject.group)
            && match (&self.client_version, subject.client_version) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(versions), Some(version)) => versions.iter().any(|range| range.matches(version)),
            }
    }

    /// As [`Self::concerns`] while the client is not known yet: then it may be any.
    fn may_concern(&self, subject: &Subject<'_>) -> bool {
        any(&self.host, Some(subject.host))
            && any(&self.group, subject.group)
            && (subject.client.is_none() || any(&self.client, subject.client))
    }

    fn matches(&self, question: &Question<'_>) -> bool {
        self.severity.is_none_or(|least| question.severity >= least)
            && self.min_confidence.is_none_or(|least| question.confidence >= least)
            && any(&self.kind, Some(question.kind))
            // Printed last: most rules ask no location, and most questions are settled before.
            && self.location.as_ref().is_none_or(|globs| {
                let location = question.location.to_string();
                globs.iter().any(|glob| glob.matches(&location))
            })
    }

    fn takes_all(&self) -> bool {
        let every = self.kind.as_ref().is_none_or(|globs| globs.iter().any(Glob::is_all));
        every && self.location.is_none() && self.min_confidence.is_none() && self.severity.is_none()
    }

    fn asks_nothing_of_subject(&self) -> bool {
        self.host.is_none() && self.client.is_none() && self.client_version.is_none() && self.group.is_none()
    }
}

fn any(globs: &Option<Vec<Glob>>, text: Option<&str>) -> bool {
    match (globs, text) {
        (None, _) => true,
        (Some(globs), Some(text)) => globs.iter().any(|glob| glob.matches(text)),
        (Some(globs), None) => globs.iter().any(Glob::is_all),
    }
}

/// The line of `offset`, counted from 1.
fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())].iter().filter(|&&byte| byte == b'\n').count() + 1
}

fn stem(file_name: &str) -> &str {
    let name = file_name.rsplit(['/', '\\']).next().unwrap_or(file_name);
    name.strip_suffix(".toml").unwrap_or(name)
}

#[cfg(test)]
mod tests;

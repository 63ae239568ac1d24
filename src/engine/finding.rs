//! A fact that leaves, and the exact bytes that carry it.

use std::sync::Arc;

use super::location::Location;
use crate::wire::span::Span;

/// What is done about a finding, mildest first. The order is the precedence: where findings overlap, the
/// greatest wins.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Allow,
    Log,
    Warn,
    Generalize,
    Redact,
    Pseudonym,
    Strip,
    Block,
}

impl Action {
    /// Whether the request leaves other than it came.
    pub fn edits(self) -> bool {
        matches!(self, Action::Generalize | Action::Redact | Action::Pseudonym | Action::Strip)
    }

    /// As policies and findings spell it.
    pub fn name(self) -> &'static str {
        match self {
            Action::Allow => "allow",
            Action::Log => "log",
            Action::Warn => "warn",
            Action::Generalize => "generalize",
            Action::Redact => "redact",
            Action::Pseudonym => "pseudonym",
            Action::Strip => "strip",
            Action::Block => "block",
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Low,
    Medium,
    High,
}

impl Severity {
    /// As rules and findings spell it.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
        }
    }
}

/// How a finding was found.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Detector {
    Rule,
    Fact,
    Prompt,
    Covert,
    Template,
    Integrity,
    Unread,
}

impl Detector {
    /// As findings spell it.
    pub fn name(self) -> &'static str {
        match self {
            Detector::Rule => "rule",
            Detector::Fact => "fact",
            Detector::Prompt => "prompt",
            Detector::Covert => "covert",
            Detector::Template => "template",
            Detector::Integrity => "integrity",
            Detector::Unread => "unread",
        }
    }
}

/// Which bytes a span counts in.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PartOf {
    /// The head as sent.
    Head,
    /// The body after its content codings.
    Body,
}

/// One finding. `value` is raw here and masked only when it is written (`Finding::line`): nothing but that
/// writer may store or show a finding, and the type has no `Debug` that prints values.
#[derive(Clone)]
pub struct Finding {
    /// `id.device`, `env.shell` … (the list is `kinds.rs`).
    pub kind: Arc<str>,
    pub location: Arc<Location>,
    /// The location as it is printed where found values are masked, if one stands in a name of it.
    pub shown_location: Option<Box<str>>,
    pub detector: Detector,
    /// The rule's id.
    pub rule: Option<Arc<str>>,
    pub severity: Severity,
    /// 0 to 1.
    pub confidence: f32,
    /// The fact itself, raw.
    pub value: Arc<str>,
    /// The text as it stands, where that is not the value (a digest, an encoding), raw.
    pub observed: Option<Arc<str>>,
    pub part: Option<PartOf>,
    /// Start and end in `part`, where the finding has a single place there.
    pub span: Option<Span>,
    /// What was done.
    pub action: Action,
    /// What the policy would have done, under `mode = "audit"`.
    pub would: Option<Action>,
    /// What stands in the value's place now.
    pub replacement: Option<Arc<str>>,
    /// Which policy rule decided (`--explain`).
    pub decided_by: Option<Arc<str>>,
}

impl std::fmt::Debug for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {} ({:?}, {} bytes)", self.kind, self.location, self.action, self.value.len())
    }
}

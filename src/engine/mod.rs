//! Inspects what an assistant sends and says what may leave.
//!
//! ```text
//! unit -> decode -> inspect -> decide -> rewrite -> Audit
//! ```
//!
//! Pure: no sockets, files, clock or randomness. The same units, rules, facts, templates and policy always
//! give the same [`Audit`]; replay and the rule examples rest on that.
#![forbid(unsafe_code)]

pub mod audit;
pub mod certificate;
pub mod codec;
pub mod decode;
pub mod detect;
mod detectors;
mod digest;
pub mod facts;
pub mod finding;
pub mod flow;
pub mod kinds;
pub mod line;
pub mod location;
pub mod names;
mod plain;
pub mod policy;
pub mod pseudonym;
pub mod refusal;
mod remembered;
mod repeat;
pub mod replace;
pub mod rewrite;
pub mod rules;
mod settle;
pub mod visit;

pub use audit::{Audit, Outgoing, Part, Refusal, Request, Rewritten, Unit};
pub use decode::{DecodeLimits, Decoded, walk};
pub use detect::template::{Lesson, Templates};
pub use facts::{Fact, Facts, FactsError};
pub use finding::{Action, Detector, Finding, Severity};
pub use flow::{Flow, FlowSummary, Unmasked, Verdict};
pub use line::{Evidence, LineContext, finding_line, flow_line};
pub use location::{Location, Root, Step};
pub use policy::{Policy, PolicyError};
pub use pseudonym::Vault;
pub use refusal::ApiShape;
pub use rewrite::{AppliedEdit, Change, Edit, Rewrite, RewriteError, rewrite, span_of};
pub use rules::RuleSet;

use std::sync::{Arc, PoisonError, RwLock};

use policy::Subject;
use pseudonym::{Carrier, Family, Guard, RestoreLimits, Restorer};

/// What a request gets that cannot be inspected or edited as it should: over a limit, in a content coding
/// that cannot be undone, after a detector failed, or when an edit cannot be made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnError {
    /// It is forwarded and reported.
    #[default]
    Open,
    /// It is withheld.
    Closed,
}

/// What an engine is made of.
pub struct EngineParts {
    pub rules: RuleSet,
    pub facts: Facts,
    pub policy: Policy,
    /// Links equal values in findings and draws what stands in for identifiers; kept per installation.
    pub digest_key: [u8; 32],
    pub limits: DecodeLimits,
    pub on_error: OnError,
}

/// Rules, facts and policy at one moment. A request sees one engine from its first byte to its last;
/// a reload makes another.
pub struct Engine {
    rules: RuleSet,
    facts: Facts,
    policy: Policy,
    digest_key: [u8; 32],
    limits: DecodeLimits,
    on_error: OnError,
    /// Looks for what rules and facts look for, in one pass.
    scanner: detect::Scanner,
    templates: RwLock<Arc<Templates>>,
    learns: bool,
    vault: Arc<Vault>,
    /// These save time and change nothing.
    texts: detect::template::Cache,
    repeats: repeat::Repeats,
    scans: Option<detect::Scans>,
    plain_names: Option<detectors::PlainNames>,
    /// Short texts that are plain are known again within a unit.
    repeated_texts: bool,
}

impl Engine {
    pub fn new(parts: EngineParts) -> Self {
        let EngineParts { rules, facts, policy, digest_key, limits, on_error } = parts;
        let scanner = detect::Scanner::new(&rules.literals, facts.matcher());
        let templates = RwLock::default();
        let texts = detect::template::Cache::default();
        let repeats = repeat::Repeats::default();
        let vault = Arc::new(Vault::new(digest_key));
        let engine = Self {
            rules,
            facts,
            policy,
            digest_key,
            limits,
            on_error,
            scanner,
            templates,
            learns: false,
            vault,
            texts,
            repeats,
            scans: Some(detect::Scans::default()),
            plain_names: Some(detectors::PlainNames::default()),
            repeated_texts: true,
        };
        engine.know_facts();
        engine
    }

    /// Draws and restores pseudonyms by `vault` rather than by one of its own that is forgotten with it.
    pub fn with_vault(mut self, vault: Arc<Vault>) -> Self {
        self.vault = vault;
        self.know_facts();
        self
    }

    /// No pseudonym meets a fact; and those of this machine's folders are drawn now, so that a path whose separators were
    /// turned into hyphens can be told apart wherever it stands first.
    fn know_facts(&self) {
        self.vault.avoid(self.facts.list().iter().map(|fact| &*fact.value));
        if !self.policy.may_restore() {
            return;
        }
        for kind in ["user.name", "path.home", "path.cwd", "path.project"] {
            for fact in self.facts.list().iter().filter(|fact| &*fact.kind == kind) {
                self.vault.replace(kind, &fact.value, |_| false);
            }
        }
    }

    /// The pseudonyms that this engine draws, and what models wrote with them.
    pub fn vault(&self) -> &Arc<Vault> {
        &self.vault
    }

    /// What puts real values back into the answer to `request`; none where nothing could stand in it that wants to be put
    /// back, or where its form is not known.
    pub fn restorer(&self, request: &Request, carrier: Carrier, limits: RestoreLimits) -> Option<Restorer> {
        let family = Family::of_path(request.head.target())?;
        if !self.policy.may_restore() {
            return None;
        }
        let table = self.vault.table();
        let restorer = || Restorer::new(table.clone(), family, carrier, self.guard(request), limits);
        let enveloped = Family::is_enveloped(request.head.target());
        (!table.is_empty()).then(|| if enveloped { restorer().in_envelopes() } else { restorer() })
    }

    /// Real values enter tool calls that stay on this machine or go to a host that has them already.
    fn guard(&self, request: &Request) -> Guard {
        let (policy, own) = (self.policy.clone(), request.host.to_ascii_lowercase());
        Guard::known(move |host| {
            let within = host.strip_suffix(own.as_str()).is_some_and(|head| head.is_empty() || head.ends_with('.'));
            within || policy.restores_to(host)
        })
    }

    /// Compares requests with `templates`. With `learns`, each flow's summary holds what it teaches.
    pub fn with_templates(mut self, templates: Arc<Templates>, learns: bool) -> Self {
        (self.templates, self.learns) = (RwLock::new(templates), learns);
        self
    }

    /// Works everything out anew, whatever was seen before: for comparisons. Nothing but time depends on it.
    pub fn without_memory(mut self) -> Self {
        self.texts = detect::template::Cache::off();
        self.repeats = repeat::Repeats::off();
        (self.scans, self.plain_names) = (None, None);
        self
    }

    /// Looks at a short text as often as it stands in a unit: for comparisons as well.
    pub fn without_repeats(mut self) -> Self {
        self.repeated_texts = false;
        self
    }

    /// For flows that are opened from now on; those under way keep the snapshot that they began with.
    pub fn set_templates(&self, templates: Arc<Templates>) {
        *self.templates.write().unwrap_or_else(PoisonError::into_inner) = templates;
    }

    /// What requests are compared with.
    pub fn templates(&self) -> Arc<Templates> {
        self.templates.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether flows say what they teach.
    pub fn learns(&self) -> bool {
        self.learns
    }

    pub fn rules(&self) -> &RuleSet {
        &self.rules
    }

    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    pub fn on_error(&self) -> OnError {
        self.on_error
    }

    /// Starts the audit of one request.
    pub fn open(self: &Arc<Self>, id: String, request: Arc<Request>) -> Flow {
        self.open_for(id, request, None)
    }

    /// Starts the audit of one request of a user in `group`.
    pub fn open_for(self: &Arc<Self>, id: String, request: Arc<Request>, group: Option<Arc<str>>) -> Flow {
        Flow::new(self.clone(), id, request, group)
    }

    /// Whether anything of such a request could be edited or withheld: if not, its body need not be held
    /// back until it has been read.
    pub fn may_change(&self, request: &Request, group: Option<&str>) -> bool {
        if self.on_error == OnError::Closed && self.policy.mode() == policy::Mode::Enforce {
            return true;
        }
        // Whoever sends it: a policy that only logs need not know who that is.
        if !self.policy.ever_changes() {
            return false;
        }
        let client = self.rules.client_of(request);
        self.policy.may_change(&subject(request, client.as_ref(), group))
    }

    /// Whether anything of such a request could be warned of.
    pub fn may_warn(&self, request: &Request, group: Option<&str>) -> bool {
        if !self.policy.ever_warns() {
            return false;
        }
        let proposed = self.rules.rules().iter().any(|rule| rule.action == Some(Action::Warn));
        let client = self.rules.client_of(request);
        self.policy.may_warn(&subject(request, client.as_ref(), group), proposed)
    }
}

fn subject<'a>(
    request: &'a Request,
    client: Option<&'a (Arc<str>, Option<String>)>,
    group: Option<&'a str>,
) -> Subject<'a> {
    Subject {
        host: &request.host,
        client: client.map(|(pack, _)| &**pack),
        client_version: client.and_then(|(_, version)| version.as_deref()),
        group,
    }
}

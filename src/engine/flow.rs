//! One request on its way: its units audited in the order they are sent, and what they came to.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;

use super::audit::{Audit, Outgoing, Part, Refusal, Request, Rewritten, Unit, Unread};
use super::certificate::{Certificate, CertifiedEdit};
use super::decode::{Decoded, Layer, Origin, walk};
use super::detect::RawFinding;
use super::detect::credentials::Destination;
use super::detect::facts::FactFindings;
use super::detect::template::{self, Lesson, Scan, Templates};
use super::detectors::{Detectors, PlainNames};
use super::digest::Digest;
use super::finding::{Action, Detector, Finding, PartOf, Severity};
use super::location::{Location, Root, Step};
use super::names::Names;
use super::plain::PlainTexts;
use super::policy::{Mode, Policy, Question, Subject};
use super::pseudonym::{Family, RestoreStats, Vault};
use super::replace::{Drawing, StandIns};
use super::rewrite::{Change, Rewrite, RewriteError, Spans, rewrite};
use super::settle::{Judge, Planned, Settled};
use super::visit::LayerId;
use super::{Engine, OnError};
use crate::wire::span::Span;

/// What became of a request as a whole, mildest first.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    #[default]
    Forwarded,
    Edited,
    Withheld,
}

impl Verdict {
    /// As lines of flows spell it.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Forwarded => "forwarded",
            Verdict::Edited => "edited",
            Verdict::Withheld => "withheld",
        }
    }
}

/// The audit of one request, from its head to its end.
pub struct Flow {
    engine: Arc<Engine>,
    id: String,
    request: Arc<Request>,
    client: Option<(Arc<str>, Option<String>)>,
    /// Of the user, where a gateway knows its users.
    group: Option<Arc<str>>,
    templates: Arc<Templates>,
    summary: FlowSummary,
}

/// What a flow came to.
#[derive(Debug, Default)]
pub struct FlowSummary {
    /// Payload bytes, before any edit.
    pub bytes_sent: u64,
    /// Those that were decoded to their leaves.
    pub bytes_read: u64,
    pub unread: Vec<Unread>,
    pub kinds: BTreeMap<Arc<str>, u64>,
    pub verdict: Verdict,
    /// Edits that the policy wanted and that could not be made: `on_error` decided about the request.
    pub unmade: u64,
    /// Of an edited request.
    pub certificate: Option<Certificate>,
    pub names: Names,
    /// The body of a conversation's turn as it leaves, until [`FlowSummary::place`] has compared it.
    pub turn: Option<(Arc<Request>, Bytes)>,
    /// How much of the turn is as in the one before it, once they are compared.
    pub prefix: Option<u64>,
    /// What became of pseudonyms in the answer, where any could stand in it.
    pub restored: Option<RestoreStats>,
    /// What the request teaches about its client, where that is asked for.
    pub lesson: Lesson,
}

impl FlowSummary {
    /// Compares the turn with the one before it, and writes into the certificate how much both begin with. To be called in
    /// the order in which the requests were complete; `noted` notes that this one is, and no other turn comes between. Compares
    /// nothing the second time.
    pub fn place(&mut self, vault: &Vault, noted: impl FnOnce()) {
        let Some((request, body)) = self.turn.take() else { return noted() };
        self.prefix = vault.turn(&request.host, request.head.target(), &body, noted);
        self.certify_prefix();
    }

    fn certify_prefix(&mut self) {
        if let Some(certificate) = &mut self.certificate {
            certificate.prefix = self.prefix;
        }
    }
}

impl Flow {
    pub(super) fn new(engine: Arc<Engine>, id: String, request: Arc<Request>, group: Option<Arc<str>>) -> Self {
        let client = engine.rules.client_of(&request);
        let templates = engine.templates();
        Self { engine, id, request, client, group, templates, summary: FlowSummary::default() }
    }

    pub fn request(&self) -> &Arc<Request> {
        &self.request
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// The pack of the client that sent this, and its version where the request states one.
    pub fn client(&self) -> Option<(&str, Option<&str>)> {
        self.client.as_ref().map(|(pack, version)| (&**pack, version.as_deref()))
    }

    fn sender(&self) -> Sender<'_> {
        Sender { client: self.client(), group: self.group.as_deref() }
    }

    /// The path without its query; found values in it masked unless `reveal`. Ask after the head's audit.
    pub fn path(&self, reveal: bool) -> String {
        let target = self.request.head.path_and_query();
        let path = target.split(['?', '#']).next().unwrap_or(&target);
        if reveal { path.to_owned() } else { self.summary.names.mask_path(path) }
    }

    /// Audits one unit, in wire order. Never fails: what cannot be read is reported, and the policy or
    /// `on_error` decides whether it may leave.
    pub fn audit(&mut self, part: Part) -> Audit {
        self.audit_by(part, true, |engine, unit, sender, templates| engine.audit(unit, sender, templates))
    }

    /// Lets a unit go, or not, that nobody inspects: `on_error` decides.
    pub fn pass_over(&mut self, part: Part, reason: &'static str) -> Audit {
        self.audit_by(part, false, |engine, unit, sender, _| engine.failed(unit, sender, reason))
    }

    /// `known`: what the same unit came to before may stand for it.
    fn audit_by(
        &mut self,
        part: Part,
        known: bool,
        inspect: impl FnOnce(&Engine, &Unit<'_>, Sender<'_>, &Templates) -> Audited,
    ) -> Audit {
        let unit = Unit { request: &self.request, part };
        let (engine, sender) = (&self.engine, self.sender());
        // What was found before decides how places are shown, so only the first unit can be one that was seen already.
        let first = known && self.summary.names.is_empty();
        let digest = first.then(|| engine.digest(&unit, sender, &self.templates)).flatten();
        let audited = match digest.and_then(|digest| engine.again(digest, &unit)) {
            Some(audited) => {
                self.summary.names.learn(&audited.findings);
                audited
            }
            None => {
                // A detector that panics costs its unit's findings, never the request or the process.
                let audited = catch_unwind(AssertUnwindSafe(|| inspect(engine, &unit, sender, &self.templates)));
                let digest = digest.filter(|_| audited.is_ok());
                let mut audited = audited.unwrap_or_else(|_| engine.failed(&unit, sender, "inspector"));
                self.summary.names.learn(&audited.findings);
                for finding in &mut audited.findings {
                    finding.shown_location = self.summary.names.masked(&finding.location);
                }
                if let Some(digest) = digest {
                    engine.remember(digest, &unit, &audited, &self.templates);
                }
                audited
            }
        };
        self.count(&audited);
        if let Some(body) = audited.turn {
            self.summary.turn = Some((self.request.clone(), body));
        }
        self.summary.lesson.add(audited.lesson);
        Audit {
            findings: audited.findings,
            unread: audited.unread,
            bytes_read: audited.bytes_read,
            bytes_sent: audited.bytes_sent,
            outgoing: audited.outgoing,
        }
    }

    /// Notes bytes that went by uninspected: over a limit, after an inspector failed.
    pub fn unread(&mut self, location: Location, bytes: u64, reason: &'static str) -> Finding {
        self.summary.bytes_sent += bytes;
        let unread = Unread { location, bytes, reason, entropy: 0.0 };
        let mut finding = self.engine.unread_finding(&unread, self.sender(), &self.request);
        finding.shown_location = self.summary.names.masked(&finding.location);
        *self.summary.kinds.entry(finding.kind.clone()).or_default() += 1;
        self.summary.unread.push(unread);
        finding
    }

    /// Whether the policy acts on what it finds.
    pub fn enforces(&self) -> bool {
        self.engine.policy.mode() == Mode::Enforce
    }

    /// Notes that a unit was withheld by the caller, which the engine could not know.
    pub fn withhold(&mut self) {
        self.summary.verdict = Verdict::Withheld;
    }

    /// The request is complete: see [`FlowSummary::place`].
    pub fn complete(&mut self, noted: impl FnOnce()) {
        self.summary.place(self.engine.vault(), noted);
    }

    pub fn close(mut self) -> FlowSummary {
        // Trailers that were edited may have made the certificate.
        self.summary.certify_prefix();
        if self.summary.verdict != Verdict::Edited {
            self.summary.certificate = None;
        }
        self.summary
    }

    fn count(&mut self, audited: &Audited) {
        let summary = &mut self.summary;
        summary.bytes_sent += audited.bytes_sent;
        summary.bytes_read += audited.bytes_read;
        summary.unmade += audited.unmade;
        summary.unread.extend(audited.unread.iter().cloned());
        for finding in &audited.findings {
            *summary.kinds.entry(finding.kind.clone()).or_default() += 1;
        }
        let verdict = match &audited.outgoing {
            Outgoing::Unchanged(_) => Verdict::Forwarded,
            Outgoing::Rewritten(_) => Verdict::Edited,
            Outgoing::Withheld(_) => Verdict::Withheld,
        };
        summary.verdict = summary.verdict.max(verdict);
        if let Some(certificate) = &audited.certificate {
            summary.certificate.get_or_insert_default().add(certificate);
        }
    }
}

/// What one unit came to.
pub(super) struct Audited {
    findings: Vec<Finding>,
    unread: Vec<Unread>,
    bytes_read: u64,
    bytes_sent: u64,
    outgoing: Outgoing,
    certificate: Option<Certificate>,
    lesson: Lesson,
    unmade: u64,
    /// A conversation's body as it leaves.
    turn: Option<Bytes>,
}

/// Not all of a unit could be masked.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a value in it cannot be replaced, or not all of it can be read")]
pub struct Unmasked;

type Client<'a> = Option<(&'a str, Option<&'a str>)>;

/// Whose request it is, as far as policies ask.
#[derive(Clone, Copy)]
struct Sender<'a> {
    client: Client<'a>,
    group: Option<&'a str>,
}

impl Engine {
    /// The unit with every value that is found in it replaced by one of its shape, whatever the policy says: for
    /// recordings. None where nothing is found; where a value cannot be replaced, an error.
    pub fn masked(&self, unit: &Unit<'_>) -> Result<Option<Rewritten>, Unmasked> {
        static MASK: LazyLock<Policy> =
            LazyLock::new(|| Policy::parse("mask", "[[rule]]\naction = 'redact'\n").expect("one rule that takes all"));
        let client = self.rules.client_of(unit.request);
        let client = client.as_ref().map(|(pack, version)| (&**pack, version.as_deref()));
        let masking = || {
            let sender = Sender { client, group: None };
            let (decoded, mut settled, _) = self.settle(unit, sender, &Templates::default(), &MASK, None);
            let (made, unmade) = make(unit, &decoded, &mut settled);
            if unmade > 0 || decoded.unread.iter().any(is_failure) {
                Err(Unmasked)
            } else {
                Ok(made.map(|made| made.rewritten))
            }
        };
        catch_unwind(AssertUnwindSafe(masking)).unwrap_or(Err(Unmasked))
    }

    /// By what the unit would be known again; none where more than its bytes decides what becomes of it.
    fn digest(&self, unit: &Unit<'_>, sender: Sender<'_>, templates: &Templates) -> Option<Digest> {
        let closed = self.on_error == OnError::Closed && self.policy.mode() == Mode::Enforce;
        // What a model wrote with pseudonyms is put back whatever the policy says of this host.
        if closed || self.policy.may_restore() || self.policy.may_change(&subject(unit.request, sender)) {
            return None;
        }
        self.repeats.digest(unit, template::revision(templates, &self.digest_key, unit.request, sender.client))
    }

    /// What a unit of this digest came to, if it is remembered.
    fn again(&self, digest: Digest, unit: &Unit<'_>) -> Option<Audited> {
        let outcome = self.repeats.get(digest)?;
        Some(Audited {
            findings: outcome.findings(unit, self.facts.list())?,
            unread: outcome.unread.to_vec(),
            bytes_read: outcome.bytes_read,
            bytes_sent: outcome.bytes_sent,
            outgoing: Outgoing::Unchanged(payload(&unit.part)),
            certificate: None,
            lesson: Lesson::default(),
            unmade: 0,
            turn: None,
        })
    }

    /// Remembers what a unit came to, unless there is more to be learned from it the next time.
    fn remember(&self, digest: Digest, unit: &Unit<'_>, audited: &Audited, templates: &Templates) {
        if self.learns && templates.gains_from(&audited.lesson) {
            return;
        }
        let bytes = (audited.bytes_read, audited.bytes_sent);
        self.repeats.put(digest, unit, self.facts.list(), &audited.findings, &audited.unread, bytes);
    }

    /// The path of a unit: decode, inspect, decide, rewrite.
    fn audit(&self, unit: &Unit<'_>, sender: Sender<'_>, templates: &Templates) -> Audited {
        let drawing = Some(&*self.vault);
        let (decoded, settled, lesson) = self.settle(unit, sender, templates, &self.policy, drawing);
        Audited { lesson, ..self.conclude(unit, sender, decoded, settled) }
    }

    /// Decodes and inspects a unit, and decides about what is found by `policy`. Pseudonyms come from `vault`; without one
    /// the unit leaves for a recording.
    fn settle(
        &self,
        unit: &Unit<'_>,
        sender: Sender<'_>,
        templates: &Templates,
        policy: &Policy,
        vault: Option<&Vault>,
    ) -> (Decoded, Settled, Lesson) {
        let mut detectors = Detectors {
            rules: self
                .rules
                .inspector_with(&self.scanner, unit.request, sender.client.map(|(pack, _)| pack))
                .knowing(self.facts.matcher())
                .remembering(self.scans.as_ref()),
            facts: self.facts.matcher(),
            found: FactFindings::default(),
            marks: Vec::new(),
            names: self.plain_names.as_ref().map(PlainNames::known).unwrap_or_default(),
            fresh: HashMap::default(),
            texts: PlainTexts::new(self.repeated_texts),
            template: self.scan(unit, sender.client, templates),
            memory: vault.filter(|vault| policy.may_restore() && vault.remembers()),
            recalled: Vec::new(),
            part: u64::from(matches!(unit.part, Part::Message { .. })),
            unknown: None,
            room: Vec::new(),
            element: None,
            form_only: false,
            follows_known: false,
        };
        let decoded = walk(unit, &self.limits, &mut detectors);
        let recalled = std::mem::take(&mut detectors.recalled);
        if let Some(names) = &self.plain_names {
            names.remember(&detectors.fresh);
        }
        let (mut found, lesson) = detectors.finish(&decoded.layers);
        if vault.is_none() {
            // A recording goes to nobody who would check what seals it.
            found.retain(|raw| !raw.kind.starts_with("integrity."));
        }
        let host = unit.request.host.as_str();
        Destination {
            host,
            known: self.rules.is_ai_host(host) || self.rules.is_telemetry_host(host),
            issuers: self.rules.issuers(),
            facts: self.facts.list(),
        }
        .mark(&mut found);
        let judge = Judge {
            policy,
            subject: subject(unit.request, sender),
            stand_ins: StandIns {
                key: &self.digest_key,
                offset: self.facts.offset(),
                drawing: vault.map(|vault| Drawing { vault, layers: &decoded.layers }),
            },
            layers: &decoded.layers,
            recalled,
            digests_follow: matches!(unit.part, Part::Document(_)),
        };
        let settled = judge.settle(in_wire_order(found, &decoded));
        (decoded, settled, lesson)
    }

    /// What one unit teaches about its client, and nothing else: for a first pass over many requests.
    pub fn lesson(&self, unit: &Unit<'_>) -> Lesson {
        let client = self.rules.client_of(unit.request);
        let client = client.as_ref().map(|(pack, version)| (&**pack, version.as_deref()));
        let nothing = Templates::default();
        let mut scan = Scan::new((&nothing, &self.texts), true, &self.digest_key, unit.request, client);
        scan.head(unit.request);
        let decoded = walk(unit, &self.limits, &mut scan);
        scan.finish(&decoded.layers).1
    }

    fn scan<'t>(&'t self, unit: &Unit<'_>, client: Client<'_>, templates: &'t Templates) -> Scan<'t> {
        let mut scan = Scan::new((templates, &self.texts), self.learns(), &self.digest_key, unit.request, client);
        if matches!(unit.part, Part::Head | Part::Document(_)) {
            scan.head(unit.request);
        }
        scan
    }

    fn conclude(&self, unit: &Unit<'_>, sender: Sender<'_>, mut decoded: Decoded, mut settled: Settled) -> Audited {
        let enforced = self.policy.mode() == Mode::Enforce;
        let mut refusal =
            settled.block.and_then(|index| settled.findings.get(index)).map(|finding| self.blocked(finding));
        let mut rewritten = None;
        let mut certificate = None;
        let mut edited_body = None;
        let mut unmade = 0;
        if refusal.is_none() && !settled.edits.is_empty() {
            let outcome;
            (outcome, unmade) = make(unit, &decoded, &mut settled);
            if let Some(made) = outcome {
                (rewritten, certificate, edited_body) = (Some(made.rewritten), Some(made.certificate), Some(made.body));
            }
            if unmade > 0 && self.on_error == OnError::Closed {
                refusal = Some(failure("edit", "a value that the policy hides cannot be replaced"));
            }
        }
        let mut spans = Spans::new(&decoded.layers);
        for (finding, spot) in settled.findings.iter_mut().zip(&settled.spots) {
            if let Some((part, span)) = spans.of(decoded.body, &spot.target, spot.window.clone()) {
                finding.part = Some(part);
                finding.span = Some(span);
            }
        }
        let mut findings = settled.findings;
        for unread in &mut decoded.unread {
            if unread.reason == "opaque" && self.rules.encryption(unit.request, &unread.location.to_string()).is_some()
            {
                unread.reason = "encrypted";
            }
            let finding = self.unread_finding(unread, sender, unit.request);
            if finding.action == Action::Block && enforced && refusal.is_none() {
                refusal = Some(self.blocked(&finding));
            }
            findings.push(finding);
        }
        if self.on_error == OnError::Closed
            && enforced
            && refusal.is_none()
            && let Some(unread) = decoded.unread.iter().find(|unread| is_failure(unread))
        {
            refusal = Some(failure(unread.reason, "the body cannot be read as far as the policy asks"));
        }
        let turn = refusal.is_none().then(|| self.turn(unit, sender.group, &decoded, edited_body)).flatten();
        let outgoing = match (refusal, rewritten) {
            (Some(refusal), _) => Outgoing::Withheld(refusal),
            (None, Some(rewritten)) => Outgoing::Rewritten(rewritten),
            (None, None) => Outgoing::Unchanged(payload(&unit.part)),
        };
        if matches!(outgoing, Outgoing::Withheld(_)) {
            certificate = None;
            for finding in &mut findings {
                // Nothing left, so nothing stands in its place.
                finding.replacement = None;
            }
        }
        Audited {
            findings,
            bytes_read: decoded.bytes_read,
            bytes_sent: decoded.bytes_sent,
            unread: decoded.unread,
            outgoing,
            certificate,
            lesson: Lesson::default(),
            unmade,
            turn,
        }
    }

    /// A conversation's body as it leaves, its content codings undone. Where nothing could have changed nobody asks.
    fn turn(&self, unit: &Unit<'_>, group: Option<&str>, decoded: &Decoded, edited: Option<Bytes>) -> Option<Bytes> {
        let whole = matches!(unit.part, Part::Document(_));
        if !whole
            || self.policy.mode() == Mode::Audit
            || Family::of_path(unit.request.head.target()).is_none()
            || !self.may_change(unit.request, group)
        {
            return None;
        }
        edited.or_else(|| Some(decoded.layers.get(decoded.body?.0 as usize)?.content.clone()))
    }

    /// What becomes of a unit whose inspection did not come to an end.
    fn failed(&self, unit: &Unit<'_>, sender: Sender<'_>, reason: &'static str) -> Audited {
        let bytes = payload(&unit.part);
        let sent = bytes.len() as u64;
        let location = Location { root: root_of(&unit.part), steps: Vec::new() };
        let unread = Unread { location, bytes: sent, reason, entropy: 0.0 };
        let outgoing = match self.on_error {
            OnError::Open => Outgoing::Unchanged(bytes),
            OnError::Closed if reason == "overload" => {
                Outgoing::Withheld(failure(reason, "too many large requests wait to be inspected"))
            }
            OnError::Closed => Outgoing::Withheld(failure(reason, "the inspection failed")),
        };
        Audited {
            findings: vec![self.unread_finding(&unread, sender, unit.request)],
            unread: vec![unread],
            bytes_read: 0,
            bytes_sent: sent,
            outgoing,
            certificate: None,
            lesson: Lesson::default(),
            unmade: 0,
            turn: None,
        }
    }

    fn unread_finding(&self, unread: &Unread, sender: Sender<'_>, request: &Request) -> Finding {
        let kind: Arc<str> = "audit.unread".into();
        // A few bytes of noise are in every body; what could hold a document is worth a look.
        let severity = if is_failure(unread) || unread.bytes >= 1024 { Severity::Medium } else { Severity::Low };
        let how = match unread.reason {
            "encrypted" => self.rules.encryption(request, &unread.location.to_string()),
            _ => None,
        };
        let how = how.map(|how| format!(" ({how})")).unwrap_or_default();
        let question =
            Question { kind: &kind, location: &unread.location, severity, confidence: 1.0, proposed: Action::Log };
        let decision = self.policy.decide(&subject(request, sender), &question);
        let (action, would) = match self.policy.mode() {
            Mode::Audit => (Action::Log, Some(decision.action)),
            Mode::Enforce => (decision.action, None),
        };
        Finding {
            kind,
            location: unread.location.clone().into(),
            shown_location: None,
            detector: Detector::Unread,
            rule: None,
            severity,
            confidence: 1.0,
            value: format!("{} bytes: {}{how}", unread.bytes, unread.reason).into(),
            observed: None,
            part: None,
            span: None,
            action,
            would,
            replacement: None,
            decided_by: decision.by,
        }
    }

    fn blocked(&self, finding: &Finding) -> Refusal {
        let rule = finding.rule.as_deref().map(|rule| format!(", found by {rule}")).unwrap_or_default();
        Refusal {
            reason: "policy",
            message: format!(
                "divulge withheld this request: policy \"{}\" blocks {}{rule}. Nothing was sent.",
                self.policy.name(),
                finding.kind,
            ),
        }
    }
}

/// By where the bytes stand on the wire, layer inside layer; the rules' findings before the facts'.
fn in_wire_order(found: Vec<RawFinding>, decoded: &Decoded) -> Vec<RawFinding> {
    let mut placed: Vec<(WirePlace, RawFinding)> = found
        .into_iter()
        .map(|raw| {
            let window = raw.window.as_ref().map_or(0, |window| window.start as u32);
            let (layer, start) = (raw.target.layer, raw.target.raw.start);
            (WirePlace::of(layer, start, window, &decoded.layers), raw)
        })
        .collect();
    placed.sort_by(|(a, _), (b, _)| a.cmp(b));
    placed.into_iter().map(|(_, raw)| raw).collect()
}

/// The outermost layer, where in it a value starts, where in the value a window, where in what is decoded from there a value …
#[derive(Eq, Ord, PartialEq, PartialOrd)]
struct WirePlace {
    outermost: [u32; 3],
    /// Of most there are none.
    inner: Vec<[u32; 2]>,
}

impl WirePlace {
    fn of(mut layer: LayerId, start: u32, window: u32, layers: &[Layer]) -> Self {
        let mut last = [start, window];
        let mut inner = Vec::new();
        while let Some(Layer { origin: Origin::Leaf { leaf, window, .. }, .. }) = layers.get(layer.0 as usize) {
            inner.push(std::mem::replace(&mut last, [leaf.raw.start, window.start]));
            layer = leaf.layer;
        }
        inner.reverse();
        Self { outermost: [layer.0, last[0], last[1]], inner }
    }
}

fn subject<'a>(request: &'a Request, sender: Sender<'a>) -> Subject<'a> {
    let client = sender.client;
    Subject {
        host: &request.host,
        client: client.map(|(pack, _)| pack),
        client_version: client.and_then(|(_, version)| version),
        group: sender.group,
    }
}

/// Edits that were made.
struct Made {
    rewritten: Rewritten,
    certificate: Certificate,
    /// The body as it leaves, its content codings undone.
    body: Bytes,
}

/// Makes the edits. An edit that cannot be made is left out and its findings say so; the others are made. Says how many
/// could not.
fn make(unit: &Unit<'_>, decoded: &Decoded, settled: &mut Settled) -> (Option<Made>, u64) {
    let mut unmade = 0;
    if matches!(unit.part, Part::Chunk { .. }) {
        // A piece of a body that goes on: its length is already promised, and a value may be cut at its ends.
        unmade = settled.edits.len() as u64;
        for edit in std::mem::take(&mut settled.edits) {
            undone(&mut settled.findings, &edit);
        }
    }
    loop {
        if settled.edits.is_empty() {
            return (None, unmade);
        }
        let edits = settled.edits.iter().map(|edit| edit.edit.clone()).collect();
        let error = match rewrite(unit, decoded, edits) {
            Ok(rewrite) => {
                let certified = settled.edits.iter().enumerate().map(|(index, edit)| CertifiedEdit {
                    place: place_of(index, &rewrite),
                    location: edit.location.clone(),
                    old: edit.old.as_str().into(),
                    new: match &edit.edit.change {
                        Change::Replace(text) => text.as_str().into(),
                        Change::Remove => "".into(),
                    },
                });
                let integrity = std::mem::take(&mut settled.integrity);
                let certificate =
                    Certificate::of(certified.collect(), rewrite.rest_before, rewrite.rest_after, integrity);
                let rewritten = Rewritten { head: rewrite.head, payload: rewrite.payload };
                return (Some(Made { rewritten, certificate, body: rewrite.body }), unmade);
            }
            Err(error) => error,
        };
        let at = error.edit();
        // What a request cannot be without, the name of a member that stays, is replaced where it stands.
        if matches!(error, RewriteError::NotRemovable { .. })
            && let Some(planned) = settled.edits.get_mut(at)
            && let Some(text) = planned.fallback.take()
        {
            for &index in &planned.findings {
                settled.findings[index].replacement = Some(text.as_str().into());
            }
            planned.edit.change = Change::Replace(text);
            continue;
        }
        if at >= settled.edits.len() {
            unmade += settled.edits.len() as u64;
            for edit in std::mem::take(&mut settled.edits) {
                undone(&mut settled.findings, &edit);
            }
        } else {
            unmade += 1;
            let edit = settled.edits.remove(at);
            undone(&mut settled.findings, &edit);
        }
    }
}

/// Says of an edit that was not made that it was not.
fn undone(findings: &mut [Finding], edit: &Planned) {
    for &index in &edit.findings {
        findings[index].action = Action::Log;
        findings[index].replacement = None;
    }
}

/// Where edit number `index` changed the head or the content-decoded body.
fn place_of(index: usize, rewrite: &Rewrite) -> Option<(PartOf, Span, Span)> {
    let applied = rewrite.applied.iter().find(|applied| applied.edit == Some(index))?;
    Some((applied.part, applied.before, applied.after))
}

fn failure(reason: &'static str, why: &str) -> Refusal {
    Refusal { reason, message: format!("divulge withheld this request: {why} ({reason}). Nothing was sent.") }
}

/// Whether this is for `on_error` to decide: a limit that was hit, a content coding that cannot be undone.
/// Values that are merely opaque, or spoilt, are for the policy.
fn is_failure(unread: &Unread) -> bool {
    match unread.reason {
        "limit" | "ratio" | "depth" | "inspector" | "overload" => true,
        "content-coding" => {
            let coding = |step: &Step| matches!(step, Step::Gzip | Step::Deflate | Step::Zlib | Step::Br | Step::Zstd);
            unread.location.root == Root::Body && unread.location.steps.iter().all(coding)
        }
        _ => false,
    }
}

fn payload(part: &Part) -> Bytes {
    match part {
        Part::Head => Bytes::new(),
        Part::Document(bytes)
        | Part::Frame { bytes, .. }
        | Part::Line { bytes, .. }
        | Part::Message { bytes, .. }
        | Part::Chunk { bytes, .. }
        | Part::Trailers(bytes) => bytes.clone(),
    }
}

fn root_of(part: &Part) -> Root {
    match part {
        Part::Head => Root::Head,
        Part::Message { index, .. } => Root::Message(*index),
        _ => Root::Body,
    }
}

#[cfg(test)]
#[path = "flow_tests.rs"]
mod tests;

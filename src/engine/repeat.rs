//! A request that is sent again: what was found in it holds, and need not be looked for.
//!
//! ```text
//! head, body, what is known of its client -> digest -> findings without their values
//!                                                        + the bytes at hand -> the same findings
//! ```
//!
//! Clients send the same telemetry, the same probe, the same request after a failure. Kept is where the values stand, never a
//! value; what cannot be read off the bytes of the request, or is no fact, is not kept. Only under a policy that changes
//! nothing: what stands in for a value is not drawn here.

use std::sync::{Arc, LazyLock};

use super::audit::{Part, Unit, Unread};
use super::digest::{Digest, DigestKey};
use super::facts::Fact;
use super::finding::{Detector, Finding, PartOf};
use super::location::{Location, Step};
use super::remembered::Remembered;
use super::rewrite::spelled_text;
use super::visit::Spelling;

/// Bytes of the newer half of what is kept.
const HALF: usize = 8 << 20;
const HALF_SEEN: usize = 1 << 20;
/// Longer bodies are remembered from the second time on: most never come again, and a digest of all of it costs as much as
/// a tenth of the audit.
const LONG: usize = 8 << 10;
/// Bytes at either end by which one that comes again is guessed.
const ENDS: usize = 256;

pub(super) struct Repeats {
    key: DigestKey,
    /// None where it is switched off.
    kept: Option<Remembered<Digest, Arc<Outcome>>>,
    /// Large requests that may come again, by little of them.
    seen: Remembered<Digest, ()>,
}

/// What auditing a unit came to.
pub(super) struct Outcome {
    findings: Box<[Kept]>,
    pub unread: Box<[Unread]>,
    pub bytes_read: u64,
    pub bytes_sent: u64,
}

struct Kept {
    /// All but its values.
    finding: Finding,
    value: Source,
    observed: Option<Source>,
}

/// Where a value is read off.
enum Source {
    /// It stands at the finding's place.
    Spelled,
    /// So it does, in the escapes of JSON.
    Escaped,
    /// The fact of this number.
    Fact(u32),
    /// How much was not read, and why: nothing of the request.
    Count(Arc<str>),
}

impl Default for Repeats {
    fn default() -> Self {
        Self { key: DigestKey::default(), kept: Some(Remembered::new(HALF)), seen: Remembered::new(HALF_SEEN) }
    }
}

impl Repeats {
    /// One that keeps nothing.
    pub fn off() -> Self {
        Self { key: DigestKey::default(), kept: None, seen: Remembered::new(HALF_SEEN) }
    }

    /// By what `unit` is known, if it may be; `about` is what its findings depend on beside its bytes.
    pub fn digest(&self, unit: &Unit<'_>, about: u64) -> Option<Digest> {
        self.kept.as_ref()?;
        let (body, number) = match &unit.part {
            Part::Document(body) => (&body[..], 1),
            Part::Head => (&[][..], 0),
            _ => return None,
        };
        let request = unit.request;
        let place = [u8::from(request.secure), number, (request.port >> 8) as u8, request.port as u8];
        if body.len() > LONG {
            let (first, last) = (&body[..ENDS], &body[body.len() - ENDS..]);
            let outline = self.key.of(&[&place, request.host.as_bytes(), first, last], body.len() as u64);
            if self.seen.get(outline).is_none() {
                self.seen.put(outline, (), 0);
                return None;
            }
        }
        Some(self.key.of(&[&place, request.host.as_bytes(), request.head.raw(), body], about))
    }

    pub fn get(&self, digest: Digest) -> Option<Arc<Outcome>> {
        self.kept.as_ref()?.get(digest)
    }

    /// Keeps what `unit` came to, if its findings can be told again by its bytes and `facts`.
    pub fn put(
        &self,
        digest: Digest,
        unit: &Unit<'_>,
        facts: &[Fact],
        findings: &[Finding],
        unread: &[Unread],
        bytes: (u64, u64),
    ) {
        let Some(kept) = &self.kept else { return };
        let told: Option<Box<[Kept]>> = findings.iter().map(|finding| Kept::of(finding, unit, facts)).collect();
        let Some(told) = told else { return };
        let weight = told.iter().map(Kept::weight).sum::<usize>() + size_of_val(unread);
        let outcome = Outcome { findings: told, unread: unread.into(), bytes_read: bytes.0, bytes_sent: bytes.1 };
        kept.put(digest, Arc::new(outcome), weight);
    }
}

impl Outcome {
    /// The findings, with the values that stand in `unit`. None where one does not, which cannot be.
    pub fn findings(&self, unit: &Unit<'_>, facts: &[Fact]) -> Option<Vec<Finding>> {
        self.findings.iter().map(|kept| kept.finding(unit, facts)).collect()
    }
}

impl Kept {
    fn of(finding: &Finding, unit: &Unit<'_>, facts: &[Fact]) -> Option<Self> {
        static NOTHING: LazyLock<Arc<str>> = LazyLock::new(|| "".into());
        // A name that holds a value is not kept either.
        if finding.shown_location.is_some() || finding.replacement.is_some() {
            return None;
        }
        let source = |value: &Arc<str>| Source::of(value, finding, unit, facts);
        let value = source(&finding.value)?;
        let observed = match &finding.observed {
            Some(observed) => Some(source(observed)?),
            None => None,
        };
        let finding = Finding { value: NOTHING.clone(), observed: None, ..finding.clone() };
        Some(Self { finding, value, observed })
    }

    fn finding(&self, unit: &Unit<'_>, facts: &[Fact]) -> Option<Finding> {
        let read = |source: &Source| source.read(&self.finding, unit, facts);
        let value = read(&self.value)?;
        let observed = match &self.observed {
            Some(source) => Some(read(source)?),
            None => None,
        };
        Some(Finding { value, observed, ..self.finding.clone() })
    }

    fn weight(&self) -> usize {
        size_of::<Self>() + weight_of(&self.finding.location)
    }
}

fn weight_of(location: &Location) -> usize {
    location.steps.iter().map(Step::weight).sum()
}

impl Source {
    fn of(value: &Arc<str>, finding: &Finding, unit: &Unit<'_>, facts: &[Fact]) -> Option<Self> {
        if finding.detector == Detector::Unread {
            return Some(Self::Count(value.clone()));
        }
        let spelled = [Self::Spelled, Self::Escaped].into_iter().find(|source| {
            let read = source.read(finding, unit, facts);
            read.is_some_and(|read| read == *value)
        });
        let fact = || facts.iter().position(|fact| fact.value == *value).map(|number| Self::Fact(number as u32));
        spelled.or_else(fact)
    }

    fn read(&self, finding: &Finding, unit: &Unit<'_>, facts: &[Fact]) -> Option<Arc<str>> {
        let there = || {
            let whole = match (finding.part?, &unit.part) {
                (PartOf::Head, _) => &unit.request.head.raw()[..],
                (PartOf::Body, Part::Document(body)) => body,
                (PartOf::Body, _) => return None,
            };
            whole.get(finding.span?.range())
        };
        match self {
            Self::Spelled => std::str::from_utf8(there()?).ok().map(Into::into),
            Self::Escaped => {
                let text = spelled_text(Spelling::JsonString, there()?);
                std::str::from_utf8(&text).ok().map(Into::into)
            }
            Self::Fact(number) => facts.get(*number as usize).map(|fact| fact.value.clone()),
            Self::Count(count) => Some(count.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::engine::{
        DecodeLimits, Engine, EngineParts, Facts, LineContext, OnError, Policy, Request, RuleSet, finding_line,
    };
    use crate::wire::head::RequestHead;

    const SECRET: &str = "/home/anderson/src/b\u{e4}ckerei";

    fn engine(policy: &str) -> Arc<Engine> {
        Arc::new(Engine::new(EngineParts {
            rules: RuleSet::builtin(),
            facts: Facts::new(vec![Fact::new("path.cwd", SECRET), Fact::new("user.name", "anderson")]),
            policy: Policy::preset(policy).expect("a preset"),
            digest_key: [7; 32],
            limits: DecodeLimits::default(),
            on_error: OnError::Open,
        }))
    }

    fn request(host: &str) -> Arc<Request> {
        let fields = [("host", host), ("user-agent", "curl/8.5.0"), ("content-type", "application/json")];
        let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let head = RequestHead::from_parts("POST", "/v1/events", fields);
        Arc::new(Request { host: host.into(), port: 443, secure: true, head })
    }

    /// The lines of what is found, and whether they were remembered.
    fn audit(engine: &Arc<Engine>, request: &Arc<Request>, body: &str) -> (Vec<String>, bool) {
        let part = Part::Document(Bytes::from(body.to_owned()));
        let mut flow = engine.open("f".into(), request.clone());
        let unit = Unit { request, part: part.clone() };
        let digest = engine.repeats.digest(&unit, 0);
        let known = digest.is_some_and(|digest| engine.repeats.get(digest).is_some());
        let findings = flow.audit(part).findings;
        let context = LineContext {
            time: "",
            session: "",
            flow: "",
            host: "",
            method: None,
            path: None,
            client: None,
            client_version: None,
            id: None,
            user: None,
            group: None,
            reveal: true,
            digest_key: &[7; 32],
        };
        (findings.iter().map(|finding| finding_line(finding, &context)).collect(), known)
    }

    #[test]
    fn what_was_found_once_is_found_again_without_a_look() {
        let (engine, request) = (engine("audit"), request("api.example.com"));
        let body =
            r#"{"cwd":"/home/anderson/src/b\u00e4ckerei","user":"anderson","note":"in /home/anderson/src/bäckerei"}"#;
        let (first, known) = audit(&engine, &request, body);
        assert!(!known && first.len() >= 3, "{first:?}");
        let (second, known) = audit(&engine, &request, body);
        assert!(known);
        assert_eq!(first, second);
    }

    #[test]
    fn another_body_another_head_or_a_policy_that_edits_is_looked_at() {
        let body = r#"{"user":"anderson"}"#;
        let plain = engine("audit");
        audit(&plain, &request("api.example.com"), body);
        assert!(!audit(&plain, &request("api.example.org"), body).1);
        assert!(!audit(&plain, &request("api.example.com"), r#"{"user":"andersen"}"#).1);
        assert!(audit(&plain, &request("api.example.com"), body).1);
        let strict = engine("strict");
        audit(&strict, &request("api.example.com"), body);
        assert!(!audit(&strict, &request("api.example.com"), body).1);
    }

    #[test]
    fn values_are_not_kept_and_what_only_an_encoding_holds_is_looked_at_again() {
        let (engine, request) = (engine("audit"), request("api.example.com"));
        // An identifier in base64, and a name that is a value.
        for body in [
            r#"{"blob":"eyJkZXZpY2VfaWQiOiI5Zjg2ZDA4MTg4NGM3ZDY1OWEyZmVhYTBjNTVhZDAxNWEzYmY0ZjFiMmIwYjgyMmNkMTVkNmMxNWIwZjAwYTA4In0="}"#,
            r#"{"/home/anderson/src/bäckerei":1,"cwd":"/home/anderson/src/bäckerei"}"#,
        ] {
            let (first, _) = audit(&engine, &request, body);
            assert!(!first.is_empty(), "{body}");
            let (second, known) = audit(&engine, &request, body);
            assert!(!known, "{body}");
            assert_eq!(first, second);
        }
        let body = r#"{"cwd":"/home/anderson/src/bäckerei","token":"ghp_0123456789abcdefghijklmnopqrstuvwxyz"}"#;
        assert!(!audit(&engine, &request, body).0.is_empty());
        let unit = Unit { request: &request, part: Part::Document(Bytes::from_static(body.as_bytes())) };
        let kept = engine.repeats.digest(&unit, 0).and_then(|digest| engine.repeats.get(digest)).expect("it is kept");
        for one in &kept.findings {
            assert!(one.finding.value.is_empty() && one.finding.observed.is_none(), "{:?}", one.finding);
        }
    }
}

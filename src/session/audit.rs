//! The audit of a captured request, step by step as the proxy takes them.

use bytes::{Bytes, BytesMut};

use super::flow::Step;
use crate::engine::{Finding, Flow, Location, OnError, Outgoing, Part, Refusal, Rewritten, Root};
use crate::wire::head::HeadEdit;

/// What a request came to.
#[derive(Debug)]
pub struct Audited {
    pub findings: Vec<Finding>,
    /// Head and body.
    pub outgoing: Outgoing,
    pub trailers: Outgoing,
    /// Messages of a WebSocket as they may leave, up to the first that may not.
    pub messages: Vec<Bytes>,
}

/// As the proxy does: a document over `limit` is not read, and `on_error` says whether it may leave. Nothing is audited after
/// what may not leave.
pub fn audit(flow: &mut Flow, steps: Vec<Step>, limit: usize, on_error: OnError) -> Audited {
    let mut audit = Running { flow, on_error, findings: Vec::new(), head: Vec::new(), body: Body::default() };
    let mut trailers = Outgoing::Unchanged(Bytes::new());
    let mut messages = Vec::new();
    for step in steps {
        let withheld = match step {
            Step::Audit(part @ Part::Trailers(_)) => match audit.part(part) {
                Outgoing::Withheld(refusal) => Some(refusal),
                may_leave => {
                    trailers = may_leave;
                    None
                }
            },
            Step::Audit(part @ Part::Message { .. }) => match audit.part(part) {
                Outgoing::Withheld(refusal) => Some(refusal),
                Outgoing::Unchanged(payload) | Outgoing::Rewritten(Rewritten { payload, .. }) => {
                    messages.push(payload);
                    None
                }
            },
            Step::Audit(Part::Document(body)) if body.len() > limit => {
                let location = Location { root: Root::Body, steps: Vec::new() };
                let bytes = body.len() as u64;
                let closed = audit.on_error == OnError::Closed;
                audit.piece(Part::Head).or_else(|| audit.unread(location, (bytes, "limit"), body, limit, closed))
            }
            Step::Audit(part) => audit.piece(part),
            Step::Unread { location, bytes, reason, kept, refused } => {
                let closed = audit.on_error == OnError::Closed || (refused && audit.flow.enforces());
                audit.unread(location, (bytes, reason), kept, limit, closed)
            }
        };
        if let Some(refusal) = withheld {
            return Audited { findings: audit.findings, outgoing: Outgoing::Withheld(refusal), trailers, messages };
        }
    }
    let Running { findings, head, body, .. } = audit;
    let payload = body.bytes.freeze();
    let outgoing = match body.changed || !head.is_empty() {
        true => Outgoing::Rewritten(Rewritten { head, payload }),
        false => Outgoing::Unchanged(payload),
    };
    Audited { findings, outgoing, trailers, messages }
}

struct Running<'a> {
    flow: &'a mut Flow,
    on_error: OnError,
    findings: Vec<Finding>,
    head: Vec<HeadEdit>,
    body: Body,
}

#[derive(Default)]
struct Body {
    bytes: BytesMut,
    changed: bool,
}

impl Body {
    fn push(&mut self, bytes: Bytes) {
        match self.bytes.is_empty() {
            // A whole document is not copied.
            true => self.bytes = bytes.into(),
            false => self.bytes.extend_from_slice(&bytes),
        }
    }
}

impl Running<'_> {
    fn part(&mut self, part: Part) -> Outgoing {
        let audit = self.flow.audit(part);
        self.findings.extend(audit.findings);
        audit.outgoing
    }

    /// A piece of head or body. The refusal, where it may not leave.
    fn piece(&mut self, part: Part) -> Option<Refusal> {
        match self.part(part) {
            Outgoing::Withheld(refusal) => return Some(refusal),
            Outgoing::Unchanged(payload) => self.body.push(payload),
            Outgoing::Rewritten(rewritten) => {
                self.head.extend(rewritten.head);
                self.body.push(rewritten.payload);
                self.body.changed = true;
            }
        }
        None
    }

    fn unread(
        &mut self,
        location: Location,
        (bytes, reason): (u64, &'static str),
        kept: Bytes,
        limit: usize,
        closed: bool,
    ) -> Option<Refusal> {
        self.findings.push(self.flow.unread(location, bytes, reason));
        if closed {
            self.flow.withhold();
            let message = match reason {
                "limit" => format!("the request body is longer than {limit} bytes and may not pass unread"),
                _ => "a frame of the request cannot be read".to_owned(),
            };
            return Some(Refusal { reason, message });
        }
        self.body.push(kept);
        None
    }
}

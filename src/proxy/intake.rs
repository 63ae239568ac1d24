//! A request body on its way to the engine: what passes at once, what is held until it is judged.
//!
//! Where the policy can change nothing, bytes go on as they come and a copy is inspected beside them. Where
//! it can, whole documents are held to their end, framed bodies to the end of each frame.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::gate::Treatment;
use super::restoring::Counts;
use super::told::Told;
use super::turns::Turns;
use super::{Peer, Shared};
use crate::engine::{Audit, Engine, Flow, Location, OnError, Outgoing, Part, Refusal, Request, Root, Verdict};
use crate::learning::Learner;
use crate::metrics::RequestResult;
use crate::record::{FlowMeta, Recorder};
use crate::recording::{SessionTape, Tape};
use crate::session::flow::Piece as Recorded;
use crate::wire::envelope::{EnvelopeEvent, EnvelopeReader, LineEvent, LineReader};
use crate::wire::head::{Framing, HeadEdit};

/// Inspected pieces of a body that is neither document nor framed.
const CHUNK: usize = 64 * 1024;
/// Bodies from here on are inspected without holding up the other connections of this thread.
const HEAVY: usize = 256 * 1024;

/// What may leave now.
#[derive(Debug, Default)]
pub struct Release {
    /// The head may go, with these edits. Comes once, first.
    pub head: Option<Vec<HeadEdit>>,
    pub payload: Bytes,
}

/// Room that is made for a body because its sender announces it; more is made once a quarter of that has come.
const FIRST_ROOM: usize = 256 << 10;

enum Shape {
    /// No body: the head is all.
    Bare,
    Document(BytesMut),
    Envelopes(EnvelopeReader, BytesMut),
    Lines(LineReader, BytesMut),
    Chunks {
        held: BytesMut,
        offset: u64,
    },
    /// The limit was passed and `--on-error open` lets the rest go by.
    Uninspected(u64),
}

pub struct Intake {
    /// From when something is asked of it until it is closed.
    flow: Option<Flow>,
    opened: bool,
    request: Arc<Request>,
    engine: Arc<Engine>,
    /// What became of pseudonyms in the answer.
    restored: Arc<Counts>,
    /// Where the exchange is recorded, if it is.
    tape: Option<Tape>,
    meta: Arc<FlowMeta>,
    told: Told,
    recorder: Recorder,
    shape: Shape,
    hold: bool,
    limit: usize,
    /// Bytes of the body, as far as its head tells.
    expected: usize,
    on_error: OnError,
    reveal: bool,
    learner: Learner,
    turns: Arc<Turns>,
    index: u64,
    head_due: bool,
    began: Instant,
}

/// What an intake needs to know beside the request.
#[derive(Clone)]
pub struct IntakeSettings {
    pub body_limit: usize,
    pub on_error: OnError,
    /// Raw values may be shown.
    pub reveal: bool,
    /// Takes what a request teaches about its client.
    pub learner: Learner,
    /// The session file, where one is kept.
    pub tape: Option<SessionTape>,
    /// Of large bodies to be inspected.
    pub turns: Arc<Turns>,
}

impl Intake {
    /// `framing` tells whether a body follows and whether its length is known.
    pub fn new(shared: &Shared, treatment: &Treatment, peer: &Peer, request: Request, framing: Framing) -> Self {
        let (engine, recorder, settings) = (&treatment.engine, &shared.recorder, treatment.intake(shared));
        let (id, user) = (shared.next_flow(), peer.user.as_ref());
        let group = user.and_then(|user| user.group.clone());
        // Closed means that nothing may pass unread, so even a policy that only logs has to see it first.
        let hold = engine.may_change(&request, group.as_deref()) || settings.on_error == OnError::Closed;
        let shape = shape_of(&request, framing, hold, settings.body_limit);
        let tape = settings.tape.as_ref().map(|tape| tape.flow(&id, &request));
        let request = Arc::new(request);
        let told = Told::new(&recorder.session, &id, engine.may_warn(&request, group.as_deref()));
        let meta = FlowMeta {
            flow: id,
            host: request.host.clone(),
            method: Some(request.head.method().to_owned()),
            path: None,
            client: None,
            client_version: None,
            user: user.and_then(|user| user.shown.clone()),
            group,
        };
        recorder.counters.flows.fetch_add(1, Ordering::Relaxed);
        recorder.counters.active.fetch_add(1, Ordering::Relaxed);
        Self {
            flow: None,
            opened: false,
            request,
            engine: engine.clone(),
            restored: Arc::default(),
            tape,
            meta: Arc::new(meta),
            told,
            recorder: recorder.clone(),
            shape,
            hold,
            limit: settings.body_limit,
            expected: match framing {
                Framing::Length(length) => usize::try_from(length).unwrap_or(usize::MAX).min(settings.body_limit),
                _ => 0,
            },
            on_error: settings.on_error,
            reveal: settings.reveal,
            learner: settings.learner.clone(),
            turns: settings.turns.clone(),
            index: 0,
            head_due: true,
            began: Instant::now(),
        }
    }

    /// Opens the flow, which need not be before a request leaves that nothing can change.
    fn open(&mut self) {
        if std::mem::replace(&mut self.opened, true) {
            return;
        }
        let meta = Arc::make_mut(&mut self.meta);
        let flow = self.engine.open_for(meta.flow.clone(), self.request.clone(), meta.group.clone());
        if let Some((client, version)) = flow.client() {
            meta.client = Some(client.to_owned());
            meta.client_version = version.map(str::to_owned);
        }
        self.flow = Some(flow);
    }

    pub fn request(&self) -> &Arc<Request> {
        &self.request
    }

    pub(super) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    pub(super) fn restored(&self) -> &Arc<Counts> {
        &self.restored
    }

    /// Where the exchange is recorded, if it is.
    pub fn tape(&self) -> Option<&Tape> {
        self.tape.as_ref()
    }

    pub fn meta(&self) -> &Arc<FlowMeta> {
        &self.meta
    }

    /// What the client is told beside the answer.
    pub fn told(&self) -> &Told {
        &self.told
    }

    /// Whether the body is held back until it is judged: then `take` is its way, else `observe`.
    pub fn holds(&self) -> bool {
        self.hold && !matches!(self.shape, Shape::Uninspected(_) | Shape::Bare)
    }

    /// Whether units may have to be edited or withheld.
    pub fn may_edit(&self) -> bool {
        self.hold
    }

    pub fn is_closed_on_error(&self) -> bool {
        self.on_error == OnError::Closed
    }

    /// Whether the body has an end that its sender is expected to reach soon, unlike a stream that stays open.
    pub fn is_document(&self) -> bool {
        matches!(self.shape, Shape::Document(_) | Shape::Bare)
    }

    /// Before the body: the head of a request that need not wait for it.
    pub fn begin(&mut self) -> Result<Release, Refusal> {
        if self.tape.as_ref().is_some_and(Tape::refuses) {
            return Err(self.refuse("recording", "the session cannot be written, and every request has to be".into()));
        }
        match (&self.shape, self.hold) {
            (Shape::Document(_), true) => Ok(Release::default()),
            // Nothing can change: inspected at the end, beside the traffic.
            (Shape::Document(_) | Shape::Bare, false) => {
                self.head_due = false;
                Ok(Release { head: Some(Vec::new()), payload: Bytes::new() })
            }
            (Shape::Bare, true) => {
                let release = self.audit(Part::Head);
                self.shape = Shape::Uninspected(0);
                release
            }
            _ => self.audit(Part::Head),
        }
    }

    /// A copy of body data that went on as it came.
    pub fn observe(&mut self, data: &[u8]) {
        match &mut self.shape {
            Shape::Document(body) if body.len() + data.len() <= self.limit => {
                make_room(body, data.len(), self.expected);
                body.extend_from_slice(data);
            }
            Shape::Document(_) => {
                // What was copied is still inspected; what follows is reported as unread.
                let _ = self.finish_document();
                self.shape = Shape::Uninspected(data.len() as u64);
            }
            Shape::Envelopes(_, waiting) | Shape::Lines(_, waiting) => {
                waiting.extend_from_slice(data);
                let _ = self.units(false);
            }
            Shape::Chunks { held, .. } => {
                held.extend_from_slice(data);
                if held.len() >= CHUNK {
                    let _ = self.chunk();
                }
            }
            Shape::Uninspected(bytes) => *bytes += data.len() as u64,
            Shape::Bare => {}
        }
    }

    /// Takes body data that is held back, and gives what may go on of it.
    pub fn take(&mut self, data: &mut BytesMut) -> Result<Release, Refusal> {
        match &mut self.shape {
            Shape::Document(body) if body.len() + data.len() <= self.limit => {
                if body.is_empty() && data.len() >= self.expected {
                    *body = data.split();
                } else {
                    make_room(body, data.len(), self.expected);
                    body.extend_from_slice(data);
                    data.clear();
                }
                Ok(Release::default())
            }
            Shape::Document(_) => self.over_limit(data),
            Shape::Envelopes(_, waiting) | Shape::Lines(_, waiting) => {
                waiting.unsplit(data.split());
                self.units(false)
            }
            Shape::Chunks { held, .. } => {
                held.unsplit(data.split());
                if held.len() >= CHUNK { self.chunk() } else { Ok(Release::default()) }
            }
            Shape::Uninspected(bytes) => {
                *bytes += data.len() as u64;
                Ok(Release { head: None, payload: data.split().freeze() })
            }
            Shape::Bare => Ok(Release::default()),
        }
    }

    /// A pause in a body without frames: what waits is judged now, so that an open stream is not held up.
    pub fn pause(&mut self) -> Result<Release, Refusal> {
        match &self.shape {
            Shape::Chunks { held, .. } if !held.is_empty() => self.chunk(),
            _ => Ok(Release::default()),
        }
    }

    /// The end of the body.
    pub fn finish(&mut self) -> Result<Release, Refusal> {
        self.open();
        let release = self.finish_body();
        self.told.judged();
        // Now, not when the flow has ended: the next turn may be under way before that.
        let tape = self.tape.as_ref();
        let noted = || tape.into_iter().for_each(Tape::requested);
        match &mut self.flow {
            Some(flow) => flow.complete(noted),
            None => noted(),
        }
        release
    }

    fn finish_body(&mut self) -> Result<Release, Refusal> {
        match &mut self.shape {
            Shape::Bare => {
                let release = self.audit(Part::Head);
                self.shape = Shape::Uninspected(0);
                if self.hold { release } else { Ok(Release::default()) }
            }
            Shape::Document(_) => self.finish_document(),
            Shape::Envelopes(..) | Shape::Lines(..) => self.units(true),
            Shape::Chunks { .. } => self.chunk(),
            Shape::Uninspected(bytes) => {
                let bytes = std::mem::take(bytes);
                if bytes > 0 {
                    self.leave_unread(bytes, "limit");
                }
                Ok(Release::default())
            }
        }
    }

    /// The fields after the body: what may go in their place. Asked last.
    pub fn trailers(&mut self, raw: &Bytes) -> Result<Bytes, Refusal> {
        let release = self.audit(Part::Trailers(raw.clone()));
        if self.hold { Ok(release?.payload) } else { Ok(raw.clone()) }
    }

    /// Ends the flow: its line is written. A body that broke off before is inspected as far as it came.
    pub fn close(&mut self) {
        self.open();
        if self.flow.is_none() {
            return;
        }
        if !matches!(&self.shape, Shape::Uninspected(0)) {
            let _ = self.finish();
        }
        if let Some(flow) = self.flow.take() {
            let mut summary = flow.close();
            summary.restored = self.restored.stats();
            let lesson = std::mem::take(&mut summary.lesson);
            // What says nothing new is not worth waking somebody.
            if self.engine.templates().gains_from(&lesson) {
                self.learner.learn(lesson);
            }
            self.recorder.counters.active.fetch_sub(1, Ordering::Relaxed);
            if let Some(tape) = &self.tape {
                tape.end();
            }
            let result = match summary.verdict {
                Verdict::Forwarded => RequestResult::Forwarded,
                Verdict::Edited => RequestResult::Edited,
                Verdict::Withheld => RequestResult::Withheld,
            };
            self.recorder.metrics.request(result, Some(self.began));
            self.recorder.closed(&self.meta, summary);
        }
    }

    /// Notes that the upstream never saw anything of the request.
    pub fn nothing_left(&mut self) {
        self.open();
        if let Some(flow) = &mut self.flow {
            flow.withhold();
        }
    }

    /// The refusal of a unit that the engine itself would have let pass.
    pub(super) fn refuse(&mut self, reason: &'static str, message: String) -> Refusal {
        self.open();
        if let Some(flow) = &mut self.flow {
            flow.withhold();
        }
        if let Some(tape) = &self.tape {
            tape.refused();
        }
        self.told.with_reference(Refusal { reason, message })
    }

    /// One message of a WebSocket: what may go in its place.
    pub fn message(&mut self, text: bool, payload: Bytes) -> Result<Option<Bytes>, Refusal> {
        let index = self.index;
        self.index += 1;
        let before = payload.clone();
        let release = self.audit(Part::Message { index, text, bytes: payload })?;
        Ok((release.payload != before).then_some(release.payload))
    }

    /// Bytes of a WebSocket message over the limit, or of an opaque upgrade.
    pub fn note_unread_message(&mut self, bytes: u64, reason: &'static str) {
        if let Some(tape) = &self.tape {
            tape.unread_message(self.index, bytes, reason);
        }
        self.note_unread(Root::Message(self.index), bytes, reason);
    }

    /// Bytes of a body that nobody reads or keeps.
    fn leave_unread(&mut self, bytes: u64, reason: &'static str) {
        if let Some(tape) = &self.tape {
            tape.sent_unseen(bytes, reason);
        }
        self.note_unread(Root::Body, bytes, reason);
    }

    fn note_unread(&mut self, root: Root, bytes: u64, reason: &'static str) {
        self.open();
        if let Some(flow) = &mut self.flow {
            let finding = flow.unread(Location { root, steps: Vec::new() }, bytes, reason);
            self.recorder.note(&self.meta, vec![finding]);
        }
    }

    fn finish_document(&mut self) -> Result<Release, Refusal> {
        let Shape::Document(body) = &mut self.shape else { return Ok(Release::default()) };
        let body = std::mem::take(body).freeze();
        self.shape = Shape::Uninspected(0);
        let heavy = body.len() >= HEAVY;
        let part = Part::Document(body);
        if !heavy {
            return self.audit(part);
        }
        let turns = self.turns.clone();
        tokio::task::block_in_place(|| match turns.take() {
            Some(_turn) => self.audit(part),
            None => self.pass_over(part, "overload"),
        })
    }

    /// A held document that outgrew the limit.
    fn over_limit(&mut self, data: &mut BytesMut) -> Result<Release, Refusal> {
        let Shape::Document(body) = &mut self.shape else { return Ok(Release::default()) };
        let mut held = std::mem::take(body);
        held.unsplit(data.split());
        self.shape = Shape::Uninspected(0);
        // The head is judged by itself: what it says is known however long the body is.
        let head = match self.head_due {
            true => self.audit(Part::Head)?.head,
            false => None,
        };
        if self.on_error == OnError::Closed {
            self.leave_unread(held.len() as u64, "limit");
            let message = format!("the request body is longer than {} bytes and may not pass unread", self.limit);
            return Err(self.refuse("limit", message));
        }
        self.shape = Shape::Uninspected(held.len() as u64);
        Ok(Release { head, payload: held.freeze() })
    }

    fn units(&mut self, end: bool) -> Result<Release, Refusal> {
        let mut out = BytesMut::new();
        let mut first: Option<Bytes> = None;
        let mut push = |bytes: Bytes| match (&first, out.is_empty()) {
            (None, true) => first = Some(bytes),
            _ => {
                if let Some(first) = first.take() {
                    out.extend_from_slice(&first);
                }
                out.extend_from_slice(&bytes);
            }
        };
        loop {
            let index = self.index;
            let part = match self.next_unit(end) {
                Some(Piece::Envelope(bytes)) => Part::Frame { index, bytes },
                Some(Piece::Line(bytes)) => Part::Line { index, bytes },
                Some(Piece::Unread(bytes, reason)) => {
                    self.over_frame(&bytes, reason)?;
                    push(bytes);
                    continue;
                }
                None => break,
            };
            self.index += 1;
            let release = self.audit(part)?;
            push(release.payload);
        }
        let payload = match first {
            Some(first) => first,
            None => out.freeze(),
        };
        Ok(Release { head: None, payload })
    }

    /// The next whole envelope or line of what waits.
    fn next_unit(&mut self, end: bool) -> Option<Piece> {
        match &mut self.shape {
            Shape::Envelopes(reader, waiting) => match reader.step(waiting) {
                Ok(Some(EnvelopeEvent::Envelope { raw, .. })) => Some(Piece::Envelope(raw)),
                Ok(Some(EnvelopeEvent::Oversize { raw, .. })) => Some(Piece::Unread(raw, "limit")),
                Ok(None) if end => reader.finish().map(|raw| Piece::Unread(raw, "malformed")),
                Ok(None) => None,
                Err(_) => {
                    let mut rest = BytesMut::from(reader.finish().unwrap_or_default());
                    rest.unsplit(waiting.split());
                    (!rest.is_empty()).then(|| Piece::Unread(rest.freeze(), "malformed"))
                }
            },
            Shape::Lines(reader, waiting) => {
                let event = reader.step(waiting).or_else(|| if end { reader.finish() } else { None });
                event.map(|event| match event {
                    LineEvent::Line(raw) => Piece::Line(raw),
                    LineEvent::Oversize { raw, .. } => Piece::Unread(raw, "limit"),
                })
            }
            _ => None,
        }
    }

    fn over_frame(&mut self, bytes: &Bytes, reason: &'static str) -> Result<(), Refusal> {
        if let Some(tape) = &self.tape {
            tape.unread(bytes, reason);
        }
        self.note_unread(Root::Body, bytes.len() as u64, reason);
        if self.hold && self.on_error == OnError::Closed {
            return Err(self.refuse(reason, "a frame of the request cannot be read".into()));
        }
        Ok(())
    }

    fn chunk(&mut self) -> Result<Release, Refusal> {
        let Shape::Chunks { held, offset } = &mut self.shape else { return Ok(Release::default()) };
        let bytes = held.split().freeze();
        if bytes.is_empty() {
            return Ok(Release::default());
        }
        let at = *offset;
        *offset += bytes.len() as u64;
        self.audit(Part::Chunk { offset: at, bytes })
    }

    /// Asks the engine. A failed inspection is `--on-error`'s affair, counted and shown.
    fn audit(&mut self, part: Part) -> Result<Release, Refusal> {
        self.judge(part, Flow::audit)
    }

    /// A unit for whose inspection there is no room: `--on-error` decides.
    fn pass_over(&mut self, part: Part, reason: &'static str) -> Result<Release, Refusal> {
        self.judge(part, |flow, part| flow.pass_over(part, reason))
    }

    fn judge(&mut self, part: Part, audit: impl FnOnce(&mut Flow, Part) -> Audit) -> Result<Release, Refusal> {
        self.open();
        let Some(flow) = &mut self.flow else { return Ok(Release::default()) };
        if let Some(tape) = &self.tape {
            match &part {
                Part::Message { text, bytes, .. } => tape.message(true, *text, bytes),
                Part::Document(bytes) => tape.sent(Recorded::Document, bytes),
                Part::Frame { bytes, .. } => tape.sent(Recorded::Frame, bytes),
                Part::Line { bytes, .. } => tape.sent(Recorded::Line, bytes),
                Part::Chunk { bytes, .. } => tape.sent(Recorded::Chunk, bytes),
                Part::Trailers(bytes) => tape.trailers(bytes),
                Part::Head => {}
            }
        }
        let first = std::mem::replace(&mut self.head_due, false);
        let audit = audit(flow, part);
        if self.meta.path.is_none() {
            // Known only now which parts of the path are findings, to be masked.
            Arc::make_mut(&mut self.meta).path = Some(flow.path(self.reveal));
        }
        if audit.unread.iter().any(|unread| matches!(unread.reason, "inspector" | "overload")) {
            self.recorder.counters.failed_inspections.fetch_add(1, Ordering::Relaxed);
            tracing::error!(flow = %self.meta.flow, host = %self.meta.host, "not inspected: it failed or had to wait too long; see --on-error");
        }
        self.told.note(&audit.findings);
        self.recorder.note(&self.meta, audit.findings);
        match audit.outgoing {
            Outgoing::Unchanged(payload) => Ok(Release { head: first.then(Vec::new), payload }),
            Outgoing::Rewritten(rewritten) => {
                Ok(Release { head: first.then_some(rewritten.head), payload: rewritten.payload })
            }
            Outgoing::Withheld(refusal) => Err(self.told.with_reference(refusal)),
        }
    }
}

/// What the reader of a framed body found next.
enum Piece {
    Envelope(Bytes),
    Line(Bytes),
    Unread(Bytes, &'static str),
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.close();
    }
}

/// Room for `more` bytes behind those of `body`, and for what is `expected` of it in all, so that it is copied once at most as it
/// grows.
fn make_room(body: &mut BytesMut, more: usize, expected: usize) {
    if body.capacity() - body.len() < more {
        let most = FIRST_ROOM.max(body.len().saturating_mul(4));
        body.reserve(more.max(expected.min(most).saturating_sub(body.len())));
    }
}

/// Framed bodies frame by frame, documents whole, the rest in pieces.
fn shape_of(request: &Request, framing: Framing, hold: bool, limit: usize) -> Shape {
    let known_length = matches!(framing, Framing::Length(_));
    match framing {
        Framing::None | Framing::Length(0) => return Shape::Bare,
        _ => {}
    }
    // A body of known length is a document whatever is in it: edits can then still correct its length.
    if known_length {
        return Shape::Document(BytesMut::new());
    }
    let kind = request.head.get("content-type").and_then(|v| std::str::from_utf8(v).ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let spelled_in_text = kind.starts_with("application/grpc-web-text");
    if (kind.starts_with("application/grpc") && !spelled_in_text) || kind.starts_with("application/connect+") {
        return Shape::Envelopes(EnvelopeReader::new(limit), BytesMut::new());
    }
    // Open for as long as the model listens, so that it is judged message by message.
    if kind == "application/vnd.amazon.eventstream" && request.head.get("content-encoding").is_none() {
        return Shape::Envelopes(EnvelopeReader::events(limit), BytesMut::new());
    }
    if matches!(
        kind.as_str(),
        "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/json-lines"
            | "application/x-json-stream"
    ) {
        return Shape::Lines(LineReader::new(limit), BytesMut::new());
    }
    let document = kind.contains("json")
        || spelled_in_text
        || kind.starts_with("multipart/")
        || kind.starts_with("text/")
        || kind.contains("xml")
        || matches!(
            kind.as_str(),
            "application/x-www-form-urlencoded"
                | "application/proto"
                | "application/x-protobuf"
                | "application/protobuf"
        );
    // Where nothing can change, any body may be read whole beside the traffic.
    if document || !hold {
        return Shape::Document(BytesMut::new());
    }
    Shape::Chunks { held: BytesMut::new(), offset: 0 }
}

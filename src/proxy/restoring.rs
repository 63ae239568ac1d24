//! Answers on their way to the client: where a pseudonym may stand, the real value is put back.
//!
//! ```text
//! response head -> Answers::restoring -> bytes -> content coding undone -> Restorer -> client
//!                                                                       \-> texts for the next turn
//! ```
//!
//! What a text was is remembered before its last bytes leave, so that the client's next request is recognised
//! however soon it comes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};

use super::intake::Intake;
use crate::engine::pseudonym::{Carrier, Counter, Family, RestoreLimits, RestoreStats, Restorer};
use crate::engine::{Engine, Request, Vault};
use crate::recording::Tape;
use crate::wire::coding::{CODINGS, Undoing};
use crate::wire::forward::OF_THE_BODY;
use crate::wire::websocket::{Deflate, Event, MessageReader, MessageWriter, Side};

/// What became of the pseudonyms in the answers to one request.
#[derive(Debug, Default)]
pub struct Counts {
    begun: AtomicBool,
    restored: AtomicU64,
    unrestored: AtomicU64,
    withheld: AtomicU64,
    unread: AtomicU64,
}

impl Counts {
    fn add(&self, stats: &RestoreStats) {
        self.restored.fetch_add(stats.restored, Ordering::Relaxed);
        self.unrestored.fetch_add(stats.unrestored, Ordering::Relaxed);
        self.withheld.fetch_add(stats.withheld, Ordering::Relaxed);
        self.unread.fetch_add(stats.unread, Ordering::Relaxed);
    }

    /// None where no answer was looked at.
    pub fn stats(&self) -> Option<RestoreStats> {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        self.begun.load(Ordering::Relaxed).then(|| RestoreStats {
            restored: read(&self.restored),
            unrestored: read(&self.unrestored),
            withheld: read(&self.withheld),
            unread: read(&self.unread),
            ..RestoreStats::default()
        })
    }
}

/// What is needed to restore the answers to one request.
#[derive(Clone)]
pub struct Answers {
    engine: Arc<Engine>,
    request: Arc<Request>,
    counts: Arc<Counts>,
}

impl Answers {
    /// None where nothing is ever restored by the policy.
    pub fn of(engine: &Arc<Engine>, request: &Arc<Request>, counts: &Arc<Counts>) -> Option<Self> {
        engine.policy().may_restore().then(|| Self {
            engine: engine.clone(),
            request: request.clone(),
            counts: counts.clone(),
        })
    }

    /// What counts the pseudonyms in the body of a response with these fields, which passes as it comes: nobody knows where
    /// in such an answer the assistant looks.
    pub fn counting<'h>(&self, status: u16, field: impl Fn(&'static str) -> Option<&'h [u8]>) -> Option<Counting> {
        let table = self.engine.vault().table();
        let text = |name: &'static str| field(name).and_then(|value| std::str::from_utf8(value).ok());
        let kind = text("content-type")?.split(';').next()?.trim().to_ascii_lowercase();
        let readable = ["text/", "application/json", "application/x-ndjson", "application/connect", "application/grpc"];
        let looked_at = readable.iter().any(|known| kind.starts_with(known)) || kind.ends_with("+json");
        if table.is_empty() || !looked_at || matches!(status, 204 | 304) || self.request.head.method() == "HEAD" {
            return None;
        }
        self.counts.begun.store(true, Ordering::Relaxed);
        let codings = codings(text("content-encoding").unwrap_or_default());
        let account = Account { vault: self.engine.vault().clone(), counts: self.counts.clone() };
        Some(Counting { counter: Counter::new(table), codings: codings.ok(), account, seen: 0 })
    }

    /// What restores the body of a response with these fields; none where it passes as it comes.
    pub fn restoring<'h>(&self, status: u16, field: impl Fn(&'static str) -> Option<&'h [u8]>) -> Option<Restoring> {
        let text = |name: &'static str| field(name).and_then(|value| std::str::from_utf8(value).ok());
        // A part of a document is none.
        if matches!(status, 204 | 206 | 304) || self.request.head.method() == "HEAD" {
            return None;
        }
        let kind = text("content-type")?.split(';').next()?.trim().to_ascii_lowercase();
        let carrier = match kind.as_str() {
            "text/event-stream" => Carrier::Events,
            kind if kind == "application/json" || kind.ends_with("+json") => Carrier::Document,
            _ => return None,
        };
        let restorer = self.engine.restorer(&self.request, carrier, RestoreLimits::default())?;
        self.counts.begun.store(true, Ordering::Relaxed);
        let codings = match codings(text("content-encoding").unwrap_or_default()) {
            Ok(codings) => codings,
            Err(coding) => {
                tracing::warn!(host = %self.request.host, coding, "an answer cannot be read; pseudonyms in it are not put back");
                self.counts.add(&RestoreStats { unread: 1, ..RestoreStats::default() });
                return None;
            }
        };
        let account = Account { vault: self.engine.vault().clone(), counts: self.counts.clone() };
        Some(Restoring { restorer, codings, account })
    }

    /// What restores the messages of the server of a WebSocket. `extensions`: the server's `Sec-WebSocket-Extensions`.
    pub fn messages(&self, extensions: Option<&str>) -> Option<RestoringMessages> {
        Family::of_path(self.request.head.target())?;
        let limits = RestoreLimits::default();
        let deflate = extensions.map(Deflate::from_response).transpose().ok()?.flatten();
        self.counts.begun.store(true, Ordering::Relaxed);
        Some(RestoringMessages {
            reader: MessageReader::new(Side::Server, deflate, limits.document_bytes),
            writer: MessageWriter::new(Side::Server, deflate),
            waiting: BytesMut::new(),
            restorer: None,
            account: Account { vault: self.engine.vault().clone(), counts: self.counts.clone() },
            answers: self.clone(),
            lost: false,
        })
    }
}

/// What undoes the codings of a list, the last one first (RFC 9110, section 8.4: listed in the order applied). The name of
/// one that cannot be undone otherwise.
fn codings(list: &str) -> Result<Vec<Undoing>, &str> {
    let named = list.split(',').map(str::trim);
    let named = named.filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"));
    let mut codings = named.map(|coding| Undoing::of(coding).ok_or(coding)).collect::<Result<Vec<_>, _>>()?;
    if codings.len() > CODINGS {
        return Err(list);
    }
    codings.reverse();
    Ok(codings)
}

/// A body that passes as it comes.
pub struct Counting {
    counter: Counter,
    /// None once a content coding could not be undone.
    codings: Option<Vec<Undoing>>,
    account: Account,
    seen: u64,
}

impl Counting {
    /// Looks at the next piece.
    pub fn push(&mut self, data: &[u8]) {
        let Some(codings) = &mut self.codings else { return };
        if codings.is_empty() {
            self.seen += self.counter.push(data);
            return;
        }
        let undone = codings.iter_mut().try_fold(data.to_vec(), |piece, undoing| {
            let mut out = Vec::new();
            undoing.push(&piece, &mut out).map(|()| out)
        });
        match undone {
            Ok(piece) => self.seen += self.counter.push(&piece),
            Err(_) => self.codings = None,
        }
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        let unread = u64::from(self.codings.is_none());
        self.account.close(&RestoreStats { unrestored: self.seen, unread, ..RestoreStats::default() });
    }
}

/// Where it is written down what became of the pseudonyms.
struct Account {
    vault: Arc<Vault>,
    counts: Arc<Counts>,
}

impl Account {
    fn remember(&self, restorer: &mut Restorer) {
        self.vault.note(&restorer.take_notes());
    }

    fn close(&self, stats: &RestoreStats) {
        self.counts.add(stats);
        self.vault.count(stats);
    }
}

/// The head of an answer as a session keeps it: as the client gets it, how the body is framed on the wire aside.
pub fn recorded_head<'a>(
    status: u16,
    reason: &[u8],
    decoded: bool,
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Bytes {
    let mut head = format!("HTTP/1.1 {status} ").into_bytes();
    head.extend_from_slice(reason);
    head.extend_from_slice(b"\r\n");
    for (name, value) in fields {
        let old = decoded && OF_THE_BODY.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
        if !old && !name.eq_ignore_ascii_case(b"transfer-encoding") {
            for part in [name, b": ", value, b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
    }
    head.extend_from_slice(b"\r\n");
    head.into()
}

/// What a server says over a WebSocket, for the session: read beside the traffic, which passes as it comes.
pub struct Overheard {
    reader: MessageReader,
    waiting: BytesMut,
    tape: Tape,
    lost: bool,
}

impl Overheard {
    /// `extensions`: the server's `Sec-WebSocket-Extensions`. None where nothing is recorded.
    pub fn of(intake: &Intake, extensions: Option<&str>, limit: usize) -> Option<Self> {
        let tape = intake.tape()?.clone();
        let deflate = extensions.map(Deflate::from_response).transpose().ok()?.flatten();
        let reader = MessageReader::new(Side::Server, deflate, limit);
        Some(Self { reader, waiting: BytesMut::new(), tape, lost: false })
    }

    pub fn listen(&mut self, data: &[u8]) {
        if self.lost {
            return;
        }
        self.waiting.extend_from_slice(data);
        loop {
            match self.reader.step(&mut self.waiting) {
                Ok(None) => return,
                Ok(Some(Event::Message { text, payload, .. })) => self.tape.message(false, text, &payload),
                Ok(Some(_)) => {}
                Err(_) => {
                    self.lost = true;
                    self.waiting = BytesMut::new();
                    return;
                }
            }
        }
    }
}

/// One body.
pub struct Restoring {
    restorer: Restorer,
    /// The one that was applied last comes first.
    codings: Vec<Undoing>,
    account: Account,
}

impl Restoring {
    /// Takes what came and appends what may go on. An error: the content coding cannot be undone, and what has left
    /// cannot be taken back.
    pub fn push(&mut self, data: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        match self.codings.as_mut_slice() {
            [] => self.restorer.push(data, out),
            codings => {
                let mut piece = data.to_vec();
                for undoing in codings {
                    let mut undone = Vec::new();
                    undoing.push(&piece, &mut undone)?;
                    piece = undone;
                }
                self.restorer.push(&piece, out);
            }
        }
        self.account.remember(&mut self.restorer);
        Ok(())
    }

    /// The end of the body: appends what was held back.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        for undoing in &mut self.codings {
            undoing.finish()?;
        }
        self.restorer.finish(out);
        self.account.remember(&mut self.restorer);
        Ok(())
    }
}

impl Drop for Restoring {
    fn drop(&mut self) {
        self.account.close(&self.restorer.stats());
    }
}

/// The messages of a server.
pub struct RestoringMessages {
    reader: MessageReader,
    writer: MessageWriter,
    waiting: BytesMut,
    /// Made with the first message that could hold a pseudonym.
    restorer: Option<Restorer>,
    account: Account,
    answers: Answers,
    /// Frames could not be followed any more: what comes passes as it is.
    lost: bool,
}

impl RestoringMessages {
    /// Takes what came and appends what may go on.
    pub fn walk(&mut self, data: &mut BytesMut, out: &mut BytesMut) {
        if self.lost {
            return out.unsplit(data.split());
        }
        self.waiting.unsplit(data.split());
        loop {
            match self.reader.step(&mut self.waiting) {
                Ok(None) => return,
                Ok(Some(Event::Control { raw, opcode, .. })) => {
                    const CLOSE: u8 = 8;
                    if opcode == CLOSE {
                        self.end(out);
                    }
                    out.extend_from_slice(&raw);
                }
                Ok(Some(Event::Oversize { raw, compressed, .. })) => {
                    self.account.counts.unread.fetch_add(1, Ordering::Relaxed);
                    if self.writer.oversize(&raw, compressed, out).is_err() {
                        return self.lose(out);
                    }
                }
                Ok(Some(Event::Message { raw, text, mask, payload, compressed })) => {
                    self.message(&raw, text, mask, &payload, compressed, out);
                }
                Err(error) => {
                    tracing::debug!(%error, "WebSocket frames of the server cannot be followed");
                    return self.lose(out);
                }
            }
        }
    }

    fn message(
        &mut self,
        raw: &Bytes,
        text: bool,
        mask: [u8; 4],
        payload: &Bytes,
        compressed: bool,
        out: &mut BytesMut,
    ) {
        let known = text.then(|| self.restorer()).flatten().is_some();
        let restored = match &mut self.restorer {
            Some(restorer) if known => restorer.message(payload),
            _ => return self.writer.unedited(raw, text, mask, compressed, payload, out),
        };
        if let Some(restorer) = &mut self.restorer {
            self.account.remember(restorer);
        }
        let (last, added) = match restored.split_last() {
            Some(split) => split,
            None => return,
        };
        for message in added {
            self.writer.edited(true, mask, compressed, message, out);
        }
        if last[..] == payload[..] {
            self.writer.unedited(raw, text, mask, compressed, payload, out);
        } else {
            self.writer.edited(text, mask, compressed, last, out);
        }
    }

    /// With the pairs as they are now, unless a text is under way.
    fn restorer(&mut self) -> Option<&mut Restorer> {
        match &mut self.restorer {
            Some(restorer) => restorer.renew(self.account.vault.table()),
            none => {
                *none = self.answers.engine.restorer(&self.answers.request, Carrier::Messages, RestoreLimits::default())
            }
        }
        self.restorer.as_mut()
    }

    /// The connection ends: what was held back goes before it.
    pub fn end(&mut self, out: &mut BytesMut) {
        let Some(restorer) = &mut self.restorer else { return };
        for message in restorer.end_messages() {
            self.writer.edited(true, [0; 4], false, &message, out);
        }
        self.account.remember(restorer);
    }

    fn lose(&mut self, out: &mut BytesMut) {
        self.lost = true;
        self.account.counts.unread.fetch_add(1, Ordering::Relaxed);
        out.unsplit(self.waiting.split());
    }
}

impl Drop for RestoringMessages {
    fn drop(&mut self) {
        if let Some(restorer) = &self.restorer {
            self.account.close(&restorer.stats());
        }
    }
}

impl Intake {
    /// What restores the answers to this request, if anything does.
    pub fn answers(&self) -> Option<Answers> {
        Answers::of(self.engine(), self.request(), self.restored())
    }
}

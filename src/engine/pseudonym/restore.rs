//! Puts real values back into answers, byte by byte as they come.
//!
//! ```text
//! bytes -> events or messages -> document -> texts -> edits of spans -> bytes
//! ```
//!
//! Everything but the restored spans passes as it came. What may still become a pseudonym waits for the next piece of
//! its text; a piece that waits as a whole goes out as an empty string in its place. Where a text ends, what waits is
//! written before the event that ends it, at the end of the text's piece in that event or as an event of its own;
//! later sequence numbers move up by one.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::channel::{Channel, Counts, Form};
use super::dom::{Dom, Sort};
use super::envelope::Envelope;
use super::family::{Closes, Family, Id, Leaf, Part, Plan};
use super::guard::Guard;
use super::live::Live;
use super::sse::{Frame, Framer};
use super::table::Table;
use crate::engine::decode::json_unescape;

/// What carries the documents.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Carrier {
    /// `text/event-stream`.
    Events,
    /// One JSON document, given out when it is whole.
    Document,
    /// Each push is one whole message (WebSocket); see [`Restorer::message`].
    Messages,
}

/// Of a tool's name, bytes.
const NAME: usize = 128;
/// A list of more values is no command.
const LIST: usize = 64;

/// Most bytes held.
#[derive(Clone, Copy, Debug)]
pub struct RestoreLimits {
    /// Of one event; a longer one passes as it is and is counted.
    pub event_bytes: usize,
    /// Of one document; likewise.
    pub document_bytes: usize,
    /// Of one text for the ledger, and eight times that of all that are not taken yet.
    pub note_bytes: usize,
    /// Texts that may go on at a time.
    pub channels: usize,
}

impl Default for RestoreLimits {
    fn default() -> Self {
        Self { event_bytes: 8 << 20, document_bytes: 32 << 20, note_bytes: 1 << 20, channels: 1024 }
    }
}

/// What was done to a response.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RestoreStats {
    pub restored: u64,
    /// Pseudonyms that the client sees: where nothing is restored (thinking, unknown fields), in what could not be
    /// read, and the withheld ones.
    pub unrestored: u64,
    /// Pseudonyms in tool calls that the guard left alone.
    pub withheld: u64,
    /// Events written in addition.
    pub added: u64,
    /// Events and documents that are no JSON or too long.
    pub unread: u64,
    /// Texts too long or too many for the ledger.
    pub unnoted: u64,
}

/// A text that ended, for the [`Ledger`](super::Ledger). Only texts that hold a pseudonym or a real value.
#[derive(Clone, Eq, PartialEq)]
pub struct Note {
    /// As the model wrote it.
    pub produced: String,
    /// As the client sees it.
    pub restored: String,
    /// Whether it is the JSON text of a tool's arguments.
    pub arguments: bool,
}

/// Restores one response.
pub struct Restorer {
    table: Arc<Table>,
    family: Family,
    carrier: Carrier,
    guard: Guard,
    limits: RestoreLimits,
    framer: Framer,
    live: HashMap<Id, Live>,
    /// The tools whose calls are under way, by block and call.
    names: HashMap<(u64, u64), String>,
    stats: RestoreStats,
    notes: Vec<Note>,
    note_bytes: usize,
    /// What texts that go on may still keep for the ledger, bytes.
    room: usize,
    /// Events added since numbers began, and the last number.
    added: u64,
    last_number: Option<u64>,
    document_passes: bool,
    work: Work,
    /// Of a gateway that has one.
    envelope: Option<Envelope>,
}

/// What one document is worked on with, kept for the next.
#[derive(Default)]
struct Work {
    dom: Dom,
    plan: Plan,
    /// The last piece of each text that ends with the document.
    ends: HashMap<Id, usize>,
    whole: Option<Channel>,
    scratch: Vec<u8>,
    edits: Vec<(Range<usize>, Range<usize>)>,
    /// Documents to be written before this one.
    added: Vec<(Id, Range<usize>)>,
    text: Vec<u8>,
    joined: Vec<u8>,
}

impl Restorer {
    pub fn new(table: Arc<Table>, family: Family, carrier: Carrier, guard: Guard, limits: RestoreLimits) -> Self {
        Self {
            table,
            family,
            carrier,
            guard,
            limits,
            framer: Framer::new(limits.event_bytes),
            live: HashMap::new(),
            names: HashMap::new(),
            stats: RestoreStats::default(),
            notes: Vec::new(),
            note_bytes: 0,
            room: 8 * limits.note_bytes,
            added: 0,
            last_number: None,
            document_passes: false,
            work: Work::default(),
            envelope: None,
        }
    }

    /// The documents of the answer come in documents of a gateway.
    pub fn in_envelopes(mut self) -> Self {
        self.envelope = Some(Envelope::default());
        self
    }

    /// From now on restores by `table`, unless a text is under way: its held end was told by the old one.
    pub fn renew(&mut self, table: Arc<Table>) {
        if self.live.is_empty() && !Arc::ptr_eq(&self.table, &table) {
            self.table = table;
            self.work.whole = None;
        }
    }

    /// Takes the next bytes of the decoded body and writes what goes to the client.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        match self.carrier {
            Carrier::Messages => {
                for message in self.message(bytes) {
                    out.extend_from_slice(&message);
                }
            }
            _ if self.document_passes => {
                self.stats.unrestored += self.table.count(bytes);
                out.extend_from_slice(bytes);
            }
            Carrier::Document => {
                self.framer.buffer.extend_from_slice(bytes);
                if self.framer.buffer.len() > self.limits.document_bytes {
                    self.document_passes = true;
                    self.stats.unread += 1;
                    let held = std::mem::take(&mut self.framer.buffer);
                    self.stats.unrestored += self.table.count(&held);
                    out.extend_from_slice(&held);
                }
            }
            Carrier::Events => {
                self.framer.buffer.extend_from_slice(bytes);
                while let Some(frame) = self.framer.next() {
                    self.frame(frame, false, out);
                }
                self.framer.forget();
            }
        }
    }

    /// The body has ended: writes all that was held back.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        match self.carrier {
            Carrier::Document if !self.document_passes => {
                let data = std::mem::take(&mut self.framer.buffer);
                self.document(&data, &[], true);
                self.splice(&data, 0..data.len(), &[], out);
            }
            Carrier::Events => {
                if let Some(frame) = self.framer.rest() {
                    self.frame(frame, true, out);
                }
                self.framer.buffer.clear();
                self.end(out);
            }
            _ => {
                for message in self.end_messages() {
                    out.extend_from_slice(&message);
                }
            }
        }
    }

    /// Takes one message and gives those that go to the client in its place.
    pub fn message(&mut self, message: &[u8]) -> Vec<Vec<u8>> {
        self.document(message, &[], false);
        let mut out = self.added_documents();
        let mut last = Vec::with_capacity(message.len());
        self.splice(message, 0..message.len(), &[], &mut last);
        out.push(last);
        out
    }

    /// What was held back when a connection ends, as messages.
    pub fn end_messages(&mut self) -> Vec<Vec<u8>> {
        self.begin();
        self.close(&Closes::everything(), None);
        self.added_documents()
    }

    pub fn stats(&self) -> RestoreStats {
        let mut stats = self.stats;
        stats.unread += self.framer.oversize;
        stats
    }

    /// Texts that ended since the last call.
    pub fn take_notes(&mut self) -> Vec<Note> {
        self.note_bytes = 0;
        std::mem::take(&mut self.notes)
    }

    /// How many spelled bytes of text wait for more.
    pub fn held(&self) -> usize {
        self.live.values().map(|live| live.channel.held()).sum()
    }

    fn frame(&mut self, frame: Frame, last: bool, out: &mut Vec<u8>) {
        let buffer = std::mem::take(&mut self.framer.buffer);
        match frame {
            Frame::Raw { start, end } => out.extend_from_slice(&buffer[start..end]),
            Frame::Event { start, end } => self.event(&buffer, start..end, last, out),
        }
        self.framer.buffer = buffer;
    }

    fn event(&mut self, buffer: &[u8], event: Range<usize>, last: bool, out: &mut Vec<u8>) {
        let lines = std::mem::take(&mut self.framer.data);
        match lines[..] {
            [] => out.extend_from_slice(&buffer[event]),
            [(start, end)] if self.envelope.is_some() => self.enveloped(buffer, event, start..end, last, out),
            [(start, end)] => {
                self.document(&buffer[start..end], &[], last);
                self.added_events(out);
                self.splice(buffer, event, &[(0, start)], out);
            }
            _ => {
                let mut joined = std::mem::take(&mut self.work.joined);
                joined.clear();
                let mut places = Vec::with_capacity(lines.len());
                for &(start, end) in &lines {
                    if !places.is_empty() {
                        joined.push(b'\n');
                    }
                    places.push((joined.len(), start));
                    joined.extend_from_slice(&buffer[start..end]);
                }
                self.document(&joined, &places, last);
                self.work.joined = joined;
                self.added_events(out);
                self.splice(buffer, event, &places, out);
            }
        }
        self.framer.data = lines;
    }

    /// An event whose data holds the document as a string. Documents that are added get an envelope like it.
    fn enveloped(&mut self, buffer: &[u8], event: Range<usize>, data: Range<usize>, last: bool, out: &mut Vec<u8>) {
        let Some(mut envelope) = self.envelope.take() else { return };
        let around = &buffer[data.clone()];
        match envelope.open(around) {
            Some(inside) => {
                let text = std::mem::take(&mut envelope.text);
                self.document(&text, &[], last);
                envelope.text = text;
                let beside = [&around[..inside.start], &around[inside.end..]];
                self.stats.unrestored += beside.iter().map(|part| self.table.count(part)).sum::<u64>();
                let end = self.framer.line_end;
                for (_, range) in &self.work.added {
                    out.extend_from_slice(b"data:");
                    out.extend_from_slice(&around[..inside.start]);
                    envelope.spell(&self.work.scratch[range.clone()], out);
                    out.extend_from_slice(&around[inside.end..]);
                    out.extend_from_slice(end);
                    out.extend_from_slice(end);
                }
                let mut at = event.start;
                for (range, text) in &self.work.edits {
                    let (from, to) = (envelope.place(range.start), envelope.place(range.end));
                    out.extend_from_slice(&buffer[at..data.start + from]);
                    envelope.spell(&self.work.scratch[text.clone()], out);
                    at = data.start + to;
                }
                out.extend_from_slice(&buffer[at..event.end]);
            }
            None => {
                self.document(around, &[], last);
                self.added_events(out);
                self.splice(buffer, event, &[(0, data.start)], out);
            }
        }
        self.envelope = Some(envelope);
    }

    /// The stream has ended without an event that said so.
    fn end(&mut self, out: &mut Vec<u8>) {
        self.begin();
        self.close(&Closes::everything(), None);
        self.added_events(out);
    }

    fn begin(&mut self) {
        self.work.edits.clear();
        self.work.scratch.clear();
        self.work.added.clear();
    }

    /// Works out the edits of one document. `places` are those of its lines, where it has several.
    fn document(&mut self, data: &[u8], places: &[(usize, usize)], last: bool) {
        self.begin();
        let mut work = std::mem::take(&mut self.work);
        if work.dom.read(data) {
            self.family.plan(data, &mut work.dom, &mut work.plan);
            if last {
                work.plan.closes.all = true;
            }
            let number: Option<u64> =
                work.plan.sequence.and_then(|(start, end)| std::str::from_utf8(&data[start..end]).ok()?.parse().ok());
            if number.is_some() && number < self.last_number {
                // Another response on the same connection.
                self.added = 0;
            }
            self.last_number = number.or(self.last_number);
            work.ends.clear();
            if !work.plan.closes.is_empty() {
                let leaves = work.plan.leaves.iter().enumerate();
                work.ends.extend(
                    leaves.filter_map(|(index, leaf)| Some((leaf.id.filter(|id| work.plan.closes.ends(*id))?, index))),
                );
            }
            for &(call, (start, end)) in &work.plan.names {
                if self.names.len() < self.limits.channels {
                    self.names.insert(call, String::from_utf8_lossy(&data[start..end.min(start + NAME)]).into_owned());
                }
            }
            for index in 0..work.plan.leaves.len() {
                let leaf = work.plan.leaves[index];
                // A string over two lines is none that a reader takes.
                if line_at(places, leaf.start) == line_at(places, leaf.end) {
                    self.leaf(data, index, leaf, &mut work);
                }
            }
            self.look_around(data, &mut work);
            let closes = std::mem::take(&mut work.plan.closes);
            self.work = work;
            self.close(&closes, number);
            self.work.plan.closes = closes;
            if let (Some((start, end)), Some(number), true) = (self.work.plan.sequence, number, self.added > 0) {
                let from = self.work.scratch.len();
                self.work.scratch.extend_from_slice((number + self.added).to_string().as_bytes());
                self.work.edits.push((start..end, from..self.work.scratch.len()));
                self.work.edits.sort_by_key(|(range, _)| range.start);
            }
            return;
        }
        self.work = work;
        let done = data.trim_ascii() == b"[DONE]";
        if !done && !data.trim_ascii().is_empty() {
            self.stats.unread += 1;
            self.stats.unrestored += self.table.count(data);
        }
        if done || last {
            self.close(&Closes::everything(), None);
        }
    }

    /// Restores one string of a document.
    fn leaf(&mut self, data: &[u8], index: usize, leaf: Leaf, work: &mut Work) {
        let raw = &data[leaf.start..leaf.end];
        let id = leaf.id.filter(|id| self.live.contains_key(id) || self.live.len() < self.limits.channels);
        if let Some(id) = id.filter(|id| id.part == Part::Thinking) {
            let live = self.live.entry(id).or_insert_with(|| Live::new(leaf.form));
            work.text.clear();
            json_unescape(raw, &mut work.text);
            self.stats.unrestored += self.table.automaton.count(&mut live.thinking, &work.text);
            return;
        }
        let from = work.scratch.len();
        let mut counts;
        if let Some(id) = id {
            let live = self.live.entry(id).or_insert_with(|| {
                let mut live = Live::new(leaf.form);
                live.channel.of_tool(self.names.get(&(id.outer, id.inner)).map_or("", String::as_str));
                live
            });
            counts = live.channel.push(raw, &self.table, &self.guard, &mut work.scratch);
            if work.ends.get(&id) == Some(&index) {
                counts += live.channel.finish(&self.table, &self.guard, &mut work.scratch);
            }
            live.keep(raw, &work.scratch[from..], counts, self.limits.note_bytes, &mut self.room);
            if live.channel.held() > 0 {
                self.family.context(data, &work.dom, &mut live.context);
            }
        } else {
            let whole = work.whole.get_or_insert_with(|| Channel::new(leaf.form));
            whole.reset(leaf.form);
            if leaf.form != Form::Text {
                whole.of_tool(&String::from_utf8_lossy(&data[leaf.tool.0..leaf.tool.1]));
            }
            if leaf.form == Form::Tool {
                let (before, beyond) = around(data, leaf, &work.dom);
                whole.of_argument(&String::from_utf8_lossy(&data[leaf.key.0..leaf.key.1]), &before, beyond);
            }
            counts = whole.push(raw, &self.table, &self.guard, &mut work.scratch);
            counts += whole.finish(&self.table, &self.guard, &mut work.scratch);
            if counts.restored > 0 || self.table.knows(raw) {
                let restored = &work.scratch[from..];
                self.note(raw, restored, leaf.form);
            }
        }
        self.count(counts);
        if work.scratch[from..] == *raw {
            work.scratch.truncate(from);
        } else {
            work.edits.push((leaf.start..leaf.end, from..work.scratch.len()));
        }
    }

    fn count(&mut self, counts: Counts) {
        self.stats.restored += counts.restored;
        self.stats.withheld += counts.withheld;
        self.stats.unrestored += counts.withheld;
    }

    /// Counts the pseudonyms that stand where nothing is restored.
    fn look_around(&mut self, data: &[u8], work: &mut Work) {
        let mut index = 0;
        while let Some(node) = work.dom.nodes.get(index) {
            index += 1;
            if node.named && !node.name_taken {
                self.stats.unrestored += self.table.count(&data[node.name.0..node.name.1]);
            }
            if node.taken {
                index = node.after;
            } else if node.sort == Sort::String {
                let raw = &data[node.start..node.end];
                if memchr::memchr(b'\\', raw).is_some() {
                    work.text.clear();
                    json_unescape(raw, &mut work.text);
                    self.stats.unrestored += self.table.count(&work.text);
                } else {
                    self.stats.unrestored += self.table.count(raw);
                }
            }
        }
    }

    /// Ends the texts that `closes` names; what they hold becomes documents of their own.
    fn close(&mut self, closes: &Closes, number: Option<u64>) {
        if closes.is_empty() {
            return;
        }
        self.names.retain(|(outer, _), _| !closes.ends_all(*outer));
        if self.live.is_empty() {
            return;
        }
        let mut ended: Vec<Id> = self.live.keys().copied().filter(|id| closes.ends(*id)).collect();
        ended.sort_by_key(|id| (id.outer, id.inner, id.part as u8));
        for id in ended {
            let Some(mut live) = self.live.remove(&id) else { continue };
            if live.channel.held() > 0 {
                let mut held = Vec::new();
                let counts = live.channel.finish(&self.table, &self.guard, &mut held);
                self.count(counts);
                live.keep(b"", &held, counts, self.limits.note_bytes, &mut self.room);
                // Without an event that ends the text, the number after the last.
                let number = number.or(self.last_number.map(|number| number + 1)).map(|number| number + self.added);
                let from = self.work.scratch.len();
                self.family.write(id, &live.context, &held, number, &mut self.work.scratch);
                self.work.added.push((id, from..self.work.scratch.len()));
                self.added += 1;
                self.stats.added += 1;
            }
            self.room += live.kept();
            if live.overlong {
                self.stats.unnoted += 1;
            } else if live.touched || self.table.knows(&live.before) {
                self.note(&live.before, &live.after, live.channel.form());
            }
        }
    }

    fn note(&mut self, before: &[u8], after: &[u8], form: Form) {
        let bytes = before.len() + after.len();
        if before.len() > self.limits.note_bytes || self.note_bytes + bytes > 8 * self.limits.note_bytes {
            self.stats.unnoted += 1;
            return;
        }
        self.note_bytes += bytes;
        let plain = |raw: &[u8]| {
            let mut text = Vec::new();
            json_unescape(raw, &mut text);
            String::from_utf8_lossy(&text).into_owned()
        };
        let note = Note { produced: plain(before), restored: plain(after), arguments: form == Form::Arguments };
        self.notes.push(note);
    }

    fn added_documents(&mut self) -> Vec<Vec<u8>> {
        self.work.added.iter().map(|(_, range)| self.work.scratch[range.clone()].to_vec()).collect()
    }

    fn added_events(&mut self, out: &mut Vec<u8>) {
        let end = self.framer.line_end;
        for (id, range) in &self.work.added {
            let name = self.family.event(*id);
            if self.framer.named && !name.is_empty() {
                for part in [b"event: ", name.as_bytes(), end] {
                    out.extend_from_slice(part);
                }
            }
            for part in [b"data: ", &self.work.scratch[range.clone()], end, end] {
                out.extend_from_slice(part);
            }
        }
    }

    /// Writes `event` of `buffer` with the edits made. `places`: where the document's lines are, each as its place in
    /// the document and in the buffer.
    fn splice(&self, buffer: &[u8], event: Range<usize>, places: &[(usize, usize)], out: &mut Vec<u8>) {
        let mut at = event.start;
        for (range, text) in &self.work.edits {
            let line = line_at(places, range.start).and_then(|line| places.get(line));
            let shift = |place: usize| line.map_or(place, |(joined, start)| place - joined + start);
            out.extend_from_slice(&buffer[at..shift(range.start)]);
            out.extend_from_slice(&self.work.scratch[text.clone()]);
            at = shift(range.end);
        }
        out.extend_from_slice(&buffer[at..event.end]);
    }
}

/// What stands in the list around a string, each string before and behind it.
fn around(data: &[u8], leaf: Leaf, dom: &Dom) -> (String, String) {
    let (mut before, mut beyond) = (String::new(), String::new());
    let list = leaf.list.and_then(|list| Some((list, dom.nodes.get(list)?)));
    let Some((list, node)) = list.filter(|(list, node)| node.after - list < LIST) else { return (before, beyond) };
    for other in dom.nodes[list + 1..node.after].iter().filter(|other| other.sort == Sort::String) {
        let mut text = Vec::new();
        json_unescape(&data[other.start..other.end], &mut text);
        let text = String::from_utf8_lossy(&text);
        if other.end < leaf.start {
            before.push_str(&text);
            before.push(' ');
        } else if other.start > leaf.end {
            beyond.push_str(&text);
            beyond.push(' ');
        }
    }
    (before, beyond)
}

/// The number of the line that byte `at` of the document is in; none where it has one line.
fn line_at(places: &[(usize, usize)], at: usize) -> Option<usize> {
    places.partition_point(|(joined, _)| *joined <= at).checked_sub(1)
}

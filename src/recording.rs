//! `--record`: exchanges go to a session file, beside the traffic.
//!
//! ```text
//! intake -> Tape (bytes as they pass) -> queue, bounded by bytes -> thread: mask, cut into pieces, append
//! ```
//!
//! Handing over never waits: what the queue cannot take, or the disk, is dropped, counted and shown. A request is
//! written as soon as it is complete, its answer when the exchange ends. Whatever is written whole survives the
//! process.

mod keep;
mod tape;

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use self::tape::Tape;
use crate::engine::{Engine, Request};
use crate::inventory::Inventory;
use crate::session::files::SentFile;
pub use crate::session::flow::Bodies;
use crate::session::flow::{Exchange, Message, Millis};
use crate::session::store::{About, SessionError, SessionReader, SessionWriter};
use crate::wire::head::RequestHead;

/// Bytes that wait for the writer before further exchanges are dropped.
const QUEUE: usize = 128 << 20;
/// Entries after which those who wait are told.
const MOST_AT_ONCE: u64 = 64;
/// What an entry costs beside its bytes.
const ENTRY: usize = 512;

/// How the file is written.
pub struct Plan {
    pub file: PathBuf,
    pub bodies: Bodies,
    /// From here on the file is set aside and another begun.
    pub most_bytes: u64,
    /// Files that were set aside are removed when they are older.
    pub most_age: Duration,
    pub session: String,
    pub policy: String,
    pub policy_text: String,
    /// Requests are refused while nothing can be written.
    pub required: bool,
    pub engine: Arc<Engine>,
    /// Says which files of a tree were in what passes.
    pub inventory: Option<Inventory>,
}

/// Why a recording cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("--record: {file} is {source}; name another file")]
    Foreign { file: String, source: SessionError },
    #[error("--record: {file} cannot be written: {source}")]
    Io { file: String, source: io::Error },
}

/// Counters that a summary shows.
#[derive(Debug, Default)]
pub struct RecordCounters {
    pub exchanges: AtomicU64,
    /// What the queue or the disk could not take.
    pub dropped: AtomicU64,
    /// Bodies that could not be masked and were left out.
    pub unmasked: AtomicU64,
    pub bytes: AtomicU64,
}

enum Entry {
    Request(Box<Exchange>),
    End(Box<Exchange>),
    Line { flow: String, line: String },
    Engine(Arc<Engine>),
    Sent(SyncSender<Option<(Vec<SentFile>, String)>>),
    Finish(SyncSender<()>),
}

/// The handle that the proxy holds. Cheap to clone; never waits.
#[derive(Clone)]
pub struct SessionTape {
    queue: Sender<(Entry, usize)>,
    waiting: Arc<AtomicUsize>,
    pub counters: Arc<RecordCounters>,
    limit: usize,
    required: bool,
    /// What is kept of what comes by this handle; none: what the plan says.
    bodies: Option<Bodies>,
    failing: Arc<AtomicBool>,
    /// Entries handed over, and those of them that are written.
    handed: Arc<AtomicU64>,
    done: Arc<(Mutex<u64>, Condvar)>,
    /// The greatest number among the ids that the file has already.
    pub last_flow: u64,
}

impl SessionTape {
    fn hand_over(&self, entry: Entry, bytes: usize) {
        let bytes = bytes + ENTRY;
        if self.waiting.load(Ordering::Relaxed) + bytes > QUEUE {
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
        self.handed.fetch_add(1, Ordering::SeqCst);
        if self.queue.send((entry, bytes)).is_err() {
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn line(&self, flow: &str, line: String) {
        let bytes = line.len();
        self.hand_over(Entry::Line { flow: flow.to_owned(), line }, bytes);
    }

    /// After a reload: what masks from now on.
    pub fn engine(&self, engine: Arc<Engine>) {
        self.hand_over(Entry::Engine(engine), 0);
    }

    /// Stands for all that was handed over so far.
    pub fn mark(&self) -> u64 {
        self.handed.load(Ordering::SeqCst)
    }

    /// Whether all up to `mark` is in the file, or was dropped with a word; waits for it, `longest` at most.
    pub fn reached(&self, mark: u64, longest: Duration) -> bool {
        let (done, changed) = &*self.done;
        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
        if !longest.is_zero() {
            let waited = changed.wait_timeout_while(done, longest, |done| *done < mark);
            done = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *done >= mark
    }

    /// The files of the working tree that were in what passed so far, and what to say of them; none where nobody asked.
    pub fn inventory(&self) -> Option<(Vec<SentFile>, String)> {
        let (list, told) = mpsc::sync_channel(1);
        self.hand_over(Entry::Sent(list), 0);
        told.recv().ok().flatten()
    }

    /// For a summary.
    pub fn note(&self) -> String {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (exchanges, dropped, unmasked) =
            (read(&self.counters.exchanges), read(&self.counters.dropped), read(&self.counters.unmasked));
        let mut note = format!("recorded: {exchanges} exchanges, {} bytes", read(&self.counters.bytes));
        if unmasked > 0 {
            note.push_str(&format!(
                "; of {unmasked} messages the body was left out, since not all of it could be masked"
            ));
        }
        if dropped > 0 {
            note.push_str(&format!("; {dropped} records were dropped"));
        }
        note
    }

    pub fn dropped_any(&self) -> bool {
        self.counters.dropped.load(Ordering::Relaxed) > 0
    }

    /// Waits until everything handed over is written. False if that took too long.
    pub fn finish(&self) -> bool {
        let (done, wait) = mpsc::sync_channel(1);
        self.handed.fetch_add(1, Ordering::SeqCst);
        self.queue.send((Entry::Finish(done), 0)).is_ok() && wait.recv_timeout(Duration::from_secs(20)).is_ok()
    }

    /// Whether a request has to be refused: it must be recorded, and would not be. What is recorded of the refusal tells when that
    /// is over.
    fn refuses(&self) -> bool {
        let full = self.waiting.load(Ordering::Relaxed) > QUEUE / 10 * 9;
        self.required && (full || self.failing.load(Ordering::Relaxed))
    }

    /// A handle for exchanges of which other parts are kept than the plan says.
    pub fn keeping(self, bodies: Bodies) -> Self {
        Self { bodies: Some(bodies), ..self }
    }

    /// Begins to record one exchange.
    pub fn flow(&self, id: &str, request: &Request) -> Tape {
        let exchange = Exchange {
            id: id.to_owned(),
            started: Some(now()),
            host: request.host.clone(),
            port: request.port,
            secure: request.secure,
            request: Message { head: request.head.raw().clone(), ..Message::default() },
            bodies: self.bodies,
            ..Exchange::default()
        };
        Tape::of(self.clone(), exchange)
    }
}

fn now() -> Millis {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as Millis)
}

/// Opens or makes the file and starts its thread. `limit`: most bytes of one body.
pub fn start(plan: Plan, limit: usize) -> Result<SessionTape, RecordError> {
    let sink = Sink::open(plan)?;
    let (queue, entries) = mpsc::channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let counters = sink.counters.clone();
    let (required, failing) = (sink.plan.required, sink.failing.clone());
    let last_flow = sink.last_flow;
    let held = waiting.clone();
    let done = Arc::new((Mutex::new(0), Condvar::new()));
    let written = done.clone();
    let file = sink.plan.file.display().to_string();
    let spawned = std::thread::Builder::new().name("session".into()).spawn(move || sink.run(&entries, &held, &written));
    spawned.map_err(|source| RecordError::Io { file, source })?;
    Ok(SessionTape {
        queue,
        waiting,
        counters,
        limit,
        handed: Arc::default(),
        done,
        last_flow,
        required,
        bodies: None,
        failing,
    })
}

struct Sink {
    plan: Plan,
    file: File,
    writer: SessionWriter,
    /// Of the file, all of it sound.
    length: u64,
    failing: Arc<AtomicBool>,
    /// Bytes of the longest record that could not be written.
    wanted: u64,
    counters: Arc<RecordCounters>,
    last_flow: u64,
}

impl Sink {
    fn open(plan: Plan) -> Result<Self, RecordError> {
        let named = || plan.file.display().to_string();
        let wrong = |source| RecordError::Io { file: named(), source };
        let mut file = owned(&plan.file).map_err(wrong)?;
        let counters = Arc::new(RecordCounters::default());
        if file.metadata().map_err(wrong)?.len() == 0 {
            let (writer, first) = SessionWriter::begin(&plan.about(None));
            file.write_all(&first).map_err(wrong)?;
            return Ok(Self {
                plan,
                file,
                writer,
                length: first.len() as u64,
                failing: Arc::default(),
                wanted: 0,
                counters,
                last_flow: 0,
            });
        }
        // Somebody's file is not written into; one of ours goes on behind its last sound record.
        let reader = SessionReader::open(&file).map_err(|source| RecordError::Foreign { file: named(), source })?;
        let last_flow = reader.ids().filter_map(|id| id.parse().ok()).max().unwrap_or(0);
        let scan = reader.scan;
        if let Some(damage) = &scan.damage {
            let torn = damage.reason.contains("ends within");
            if !torn {
                let source =
                    io::Error::new(io::ErrorKind::InvalidData, format!("{} at byte {}", damage.reason, damage.offset));
                return Err(RecordError::Io { file: named(), source });
            }
            tracing::warn!(file = %plan.file.display(), bytes = scan.length - scan.position.end, "the session ended in a torn record, which is cut off");
            file.set_len(scan.position.end).map_err(wrong)?;
        }
        if scan.about.bodies != plan.bodies.name() {
            let said = format!("a session with bodies \"{}\", not \"{}\"", scan.about.bodies, plan.bodies.name());
            return Err(RecordError::Io { file: named(), source: io::Error::new(io::ErrorKind::AlreadyExists, said) });
        }
        file.seek(SeekFrom::Start(scan.position.end)).map_err(wrong)?;
        let writer = SessionWriter::resume(&scan);
        Ok(Self {
            plan,
            file,
            writer,
            length: scan.position.end,
            failing: Arc::default(),
            wanted: 0,
            counters,
            last_flow,
        })
    }

    fn run(mut self, entries: &Receiver<(Entry, usize)>, waiting: &AtomicUsize, done: &(Mutex<u64>, Condvar)) {
        let mut lines: Vec<(String, Vec<String>)> = Vec::new();
        while let Ok((first, bytes)) = entries.recv() {
            waiting.fetch_sub(bytes, Ordering::Relaxed);
            let mut entry = Some(first);
            let mut taken = 1;
            // Lines that wait together are written together.
            loop {
                match entry.take() {
                    Some(Entry::Line { flow, line }) => match lines.last_mut().filter(|(id, _)| *id == flow) {
                        Some((_, list)) => list.push(line),
                        None => lines.push((flow, vec![line])),
                    },
                    other => {
                        self.lines(&mut lines);
                        if let Some(other) = other {
                            self.take(other);
                        }
                    }
                }
                match entries.try_recv() {
                    Ok((next, bytes)) => {
                        waiting.fetch_sub(bytes, Ordering::Relaxed);
                        entry = Some(next);
                        taken += 1;
                    }
                    Err(_) => break,
                }
                if taken == MOST_AT_ONCE {
                    break;
                }
            }
            if let Some(rest) = entry {
                match rest {
                    Entry::Line { flow, line } => lines.push((flow, vec![line])),
                    other => {
                        self.lines(&mut lines);
                        self.take(other);
                    }
                }
            }
            self.lines(&mut lines);
            *done.0.lock().unwrap_or_else(PoisonError::into_inner) += taken;
            done.1.notify_all();
        }
    }

    fn lines(&mut self, lines: &mut Vec<(String, Vec<String>)>) {
        for (flow, list) in lines.drain(..) {
            self.append(|writer| writer.lines(&flow, list.clone()));
        }
    }

    fn take(&mut self, entry: Entry) {
        match entry {
            Entry::Request(mut exchange) => {
                self.counters.exchanges.fetch_add(1, Ordering::Relaxed);
                self.take_inventory(&exchange);
                self.keep_request(&mut exchange);
                self.append(|writer| writer.request(&exchange));
            }
            Entry::End(mut exchange) => {
                self.take_inventory(&exchange);
                self.keep_end(&mut exchange);
                self.append(|writer| writer.end(&exchange));
                if self.length >= self.plan.most_bytes {
                    self.set_aside();
                }
            }
            Entry::Engine(engine) => self.plan.engine = engine,
            Entry::Line { flow, line } => self.append(|writer| writer.lines(&flow, vec![line.clone()])),
            Entry::Sent(list) => {
                let inventory = self.plan.inventory.as_mut();
                let told = inventory.map(|inventory| {
                    let sent = inventory.sent();
                    let note = inventory.note_of(&sent);
                    (sent, note)
                });
                let _ = list.send(told);
            }
            Entry::Finish(done) => {
                let _ = self.file.sync_data();
                let _ = done.send(());
            }
        }
    }

    fn take_inventory(&mut self, exchange: &Exchange) {
        let Some(inventory) = &mut self.plan.inventory else { return };
        // The end of an exchange comes without the head of its request.
        let request = match exchange.request.head.is_empty() {
            true => {
                let head = RequestHead::from_parts("GET", "/", std::iter::empty());
                Arc::new(Request { host: exchange.host.clone(), port: 443, secure: true, head })
            }
            false => match exchange.request() {
                Ok(request) => request,
                Err(_) => return,
            },
        };
        for part in exchange.parts() {
            inventory.note(&exchange.id, &request, part);
        }
    }

    /// Appends what `write` gives, whole or not at all.
    fn append(&mut self, write: impl Fn(&mut SessionWriter) -> Vec<u8>) {
        let before = self.writer.clone_state();
        let bytes = write(&mut self.writer);
        let written = self.file.seek(SeekFrom::Start(self.length)).and_then(|_| self.file.write_all(&bytes));
        match written {
            Ok(()) => {
                // A small record may find room where the one that was lost would not.
                if self.failing.load(Ordering::Relaxed) && has_room(&self.file, self.wanted) {
                    self.failing.store(false, Ordering::Relaxed);
                    self.wanted = 0;
                    tracing::info!(file = %self.plan.file.display(), "the session is written again");
                }
                self.length += bytes.len() as u64;
                self.counters.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            }
            Err(error) => {
                // Half a record would be torn: the file ends where it ended before.
                let _ = self.file.set_len(self.length);
                self.writer.restore(before);
                self.counters.dropped.fetch_add(1, Ordering::Relaxed);
                self.wanted = self.wanted.max(bytes.len() as u64);
                if !self.failing.swap(true, Ordering::Relaxed) {
                    tracing::error!(file = %self.plan.file.display(), %error, "the session cannot be written; what comes is dropped and counted");
                }
            }
        }
    }

    /// Renames the file and begins another; those set aside long ago are removed.
    fn set_aside(&mut self) {
        let stamp = crate::record::timestamp(SystemTime::now());
        let stamp: String = stamp.chars().filter(char::is_ascii_alphanumeric).collect();
        let mut aside = self.plan.file.clone().into_os_string();
        aside.push(format!(".{stamp}"));
        let begun =
            std::fs::rename(&self.plan.file, &aside).and_then(|()| owned(&self.plan.file)).and_then(|mut file| {
                let (writer, first) = SessionWriter::begin(&self.plan.about(Some(self.writer.chain())));
                file.write_all(&first)?;
                Ok((writer, file, first.len() as u64))
            });
        match begun {
            Ok((writer, file, length)) => (self.writer, self.file, self.length) = (writer, file, length),
            Err(error) => {
                tracing::error!(file = %self.plan.file.display(), %error, "the session cannot be set aside; it grows on")
            }
        }
        // It is of the file that was set aside; a new one is made when it is asked for.
        let _ = crate::index::forget(&self.plan.file);
        self.forget_old();
    }

    fn forget_old(&self) {
        let Some(name) = self.plan.file.file_name().and_then(|name| name.to_str()) else { return };
        let folder = self.plan.file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let Ok(entries) = std::fs::read_dir(folder.unwrap_or(Path::new("."))) else { return };
        for entry in entries.flatten() {
            let aside = entry.file_name().to_str().is_some_and(|other| {
                other.strip_prefix(name).and_then(|rest| rest.strip_prefix('.')).is_some_and(is_stamp)
            });
            let old = || entry.metadata().and_then(|found| found.modified()).ok().and_then(|at| at.elapsed().ok());
            if aside && old().is_some_and(|age| age > self.plan.most_age) {
                let _ = std::fs::remove_file(entry.path());
                let _ = crate::index::forget(&entry.path());
            }
        }
    }
}

/// Whether the disk has room for so many bytes, as far as the system tells.
#[allow(clippy::useless_conversion, reason = "the types are other ones on other systems")]
fn has_room(file: &File, bytes: u64) -> bool {
    #[cfg(unix)]
    if let Ok(disk) = nix::sys::statvfs::fstatvfs(file) {
        return u64::from(disk.blocks_available()).saturating_mul(u64::from(disk.fragment_size())) >= bytes;
    }
    let _ = (file, bytes);
    true
}

/// `20261126T233600123Z`
fn is_stamp(text: &str) -> bool {
    text.len() == 19 && text.ends_with('Z') && text.as_bytes()[8] == b'T'
}

impl Plan {
    fn about(&self, follows: Option<String>) -> About {
        About {
            session: self.session.clone(),
            started: now(),
            generator: concat!("divulge ", env!("CARGO_PKG_VERSION")).to_owned(),
            bodies: self.bodies.name().to_owned(),
            policy: self.policy.clone(),
            policy_text: self.policy_text.clone(),
            follows,
            from: Vec::new(),
        }
    }
}

/// For reading and writing, its owner's alone; what is there stays.
fn owned(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).read(true).write(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(file)
}

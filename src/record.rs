//! What was found goes from the proxy to whoever wants it: a findings file, live viewers, the summary.
//!
//! A bounded queue and one thread. Handing over never waits: what the queue cannot take is dropped, counted
//! and shown, and the request goes on.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crate::engine::line::{LineContext, finding_line, flow_line};
use crate::engine::{Finding, FlowSummary, Severity};
use crate::gateway::spool::SpoolWriter;
use crate::metrics::Metrics;
use crate::recording::SessionTape;
use crate::report::tally::Tally;
use crate::session::files::SentFile;

/// Batches that wait for the writer before further ones are dropped.
const QUEUE: usize = 16 * 1024;
/// Lines that one slow viewer may be behind.
const VIEWER_QUEUE: usize = 1024;

/// What every line of one flow says about it.
#[derive(Clone, Debug)]
pub struct FlowMeta {
    pub flow: String,
    pub host: String,
    pub method: Option<String>,
    /// Without the query.
    pub path: Option<String>,
    pub client: Option<String>,
    pub client_version: Option<String>,
    /// Whom a gateway knows its sender as, and the group of it.
    pub user: Option<Arc<str>>,
    pub group: Option<Arc<str>>,
}

/// Counters that a status line shows while the proxy runs.
#[derive(Debug, Default)]
pub struct Counters {
    pub flows: AtomicU64,
    pub active: AtomicU64,
    pub tunnels: AtomicU64,
    pub tunnelled_bytes: AtomicU64,
    pub unread_bytes: AtomicU64,
    pub findings: AtomicU64,
    /// Batches that the queue could not take.
    pub dropped: AtomicU64,
    /// Inspections that failed (a bug of ours, an overload): the audit is incomplete.
    pub failed_inspections: AtomicU64,
    /// 0 nothing, 1 low, 2 medium, 3 high.
    worst: AtomicU64,
}

impl Counters {
    fn note_severity(&self, severity: Severity) {
        let rank = match severity {
            Severity::Low => 1,
            Severity::Medium => 2,
            Severity::High => 3,
        };
        self.worst.fetch_max(rank, Ordering::Relaxed);
    }

    pub fn reached(&self, severity: Severity) -> bool {
        let rank = match severity {
            Severity::Low => 1,
            Severity::Medium => 2,
            Severity::High => 3,
        };
        self.worst.load(Ordering::Relaxed) >= rank
    }
}

/// A connection whose content was not read.
#[derive(Clone, Debug)]
pub struct Tunnel {
    pub host: String,
    pub port: u16,
    pub sent: u64,
    pub received: u64,
    /// `not intercepted`, `out of the CA's scope`, `not TLS` …
    pub reason: &'static str,
}

enum Entry {
    Findings { meta: Arc<FlowMeta>, time: SystemTime, findings: Vec<Finding> },
    Closed { meta: Arc<FlowMeta>, time: SystemTime, summary: Box<FlowSummary> },
    Tunnel(Tunnel),
    Files(Vec<SentFile>),
    Flush(SyncSender<()>),
}

pub struct RecorderParts {
    pub session: String,
    /// `-` is standard output.
    pub findings: Option<PathBuf>,
    pub reveal: bool,
    pub digest_key: [u8; 32],
    /// Add up what is seen, for a summary at the end.
    pub tally: bool,
    /// The session file takes the lines too.
    pub tape: Option<SessionTape>,
    /// So do sinks, by way of the disk.
    pub spool: Option<SpoolWriter>,
}

/// The handle that the proxy holds. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    queue: SyncSender<Entry>,
    pub counters: Arc<Counters>,
    pub metrics: Arc<Metrics>,
    /// The name of this run, as every line tells it.
    pub session: Arc<str>,
    viewers: Arc<Viewers>,
    wanted: bool,
}

/// Keeps the writer thread; [`RecordKeeper::finish`] waits for it.
pub struct RecordKeeper {
    queue: SyncSender<Entry>,
    tally: Arc<Mutex<Tally>>,
    failed: Arc<AtomicBool>,
    _thread: JoinHandle<()>,
}

#[derive(Default)]
struct Viewers {
    list: Mutex<Vec<tokio::sync::mpsc::Sender<Arc<str>>>>,
    any: AtomicBool,
}

impl Viewers {
    fn send(&self, line: &str) {
        let line: Arc<str> = line.into();
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        // A viewer that does not read loses lines, never the proxy's time; one that is gone is forgotten.
        list.retain(|viewer| {
            !matches!(viewer.try_send(line.clone()), Err(tokio::sync::mpsc::error::TrySendError::Closed(_)))
        });
        self.any.store(!list.is_empty(), Ordering::Relaxed);
    }
}

/// Opens `--findings`: `-` is standard output, a file is its owner's alone.
pub fn findings_file(path: &Path) -> io::Result<Box<dyn Write + Send>> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(io::stdout()));
    }
    let mut options = std::fs::OpenOptions::new();
    options.create(true).write(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    Ok(Box::new(io::BufWriter::new(options.open(path)?)))
}

/// Opens the findings file and starts the writer.
pub fn start(parts: RecorderParts) -> io::Result<(Recorder, RecordKeeper)> {
    let out = parts.findings.as_deref().map(findings_file).transpose()?;
    let (queue, entries) = mpsc::sync_channel(QUEUE);
    let session: Arc<str> = parts.session.as_str().into();
    let counters = Arc::new(Counters::default());
    let viewers = Arc::new(Viewers::default());
    let tally = Arc::new(Mutex::new(Tally::new()));
    let failed = Arc::new(AtomicBool::new(false));
    let wanted = out.is_some() || parts.tally || parts.tape.is_some() || parts.spool.is_some();
    let writer = Writer {
        out,
        parts,
        viewers: viewers.clone(),
        tally: tally.clone(),
        failed: failed.clone(),
        ended: VecDeque::new(),
        lines: 0,
    };
    let thread = std::thread::Builder::new().name("recorder".into()).spawn(move || writer.run(entries))?;
    let metrics = Arc::new(Metrics::default());
    let recorder = Recorder { queue: queue.clone(), counters, metrics, session, viewers, wanted };
    Ok((recorder, RecordKeeper { queue, tally, failed, _thread: thread }))
}

impl Recorder {
    /// Hands findings over. Never waits.
    pub fn note(&self, meta: &Arc<FlowMeta>, findings: Vec<Finding>) {
        if findings.is_empty() {
            return;
        }
        self.counters.findings.fetch_add(findings.len() as u64, Ordering::Relaxed);
        for finding in &findings {
            self.counters.note_severity(finding.severity);
            self.metrics.finding(finding);
        }
        if self.is_wanted() {
            self.hand_over(Entry::Findings { meta: meta.clone(), time: SystemTime::now(), findings });
        }
    }

    pub fn closed(&self, meta: &Arc<FlowMeta>, summary: FlowSummary) {
        let unread = summary.bytes_sent.saturating_sub(summary.bytes_read);
        self.counters.unread_bytes.fetch_add(unread, Ordering::Relaxed);
        self.metrics.unread_bytes.inc_by(unread);
        if self.is_wanted() {
            self.hand_over(Entry::Closed { meta: meta.clone(), time: SystemTime::now(), summary: Box::new(summary) });
        }
    }

    /// What was sent from the disk, told once at the end.
    pub fn files(&self, files: Vec<SentFile>) {
        if self.is_wanted() && !files.is_empty() {
            self.hand_over(Entry::Files(files));
        }
    }

    pub fn tunnel(&self, tunnel: Tunnel) {
        self.counters.tunnels.fetch_add(1, Ordering::Relaxed);
        self.counters.tunnelled_bytes.fetch_add(tunnel.sent + tunnel.received, Ordering::Relaxed);
        if self.is_wanted() {
            self.hand_over(Entry::Tunnel(tunnel));
        }
    }

    /// Lines for one live viewer from now on.
    pub fn watch(&self) -> tokio::sync::mpsc::Receiver<Arc<str>> {
        let (sender, receiver) = tokio::sync::mpsc::channel(VIEWER_QUEUE);
        self.viewers.list.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        self.viewers.any.store(true, Ordering::Relaxed);
        receiver
    }

    fn is_wanted(&self) -> bool {
        self.wanted || self.viewers.any.load(Ordering::Relaxed)
    }

    fn hand_over(&self, entry: Entry) {
        match self.queue.try_send(entry) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.counters.dropped.fetch_add(1, Ordering::Relaxed);
                self.metrics.dropped.inc();
            }
        }
    }
}

impl RecordKeeper {
    /// Waits until everything handed over so far is written. False if that failed or took too long.
    pub fn finish(&self) -> bool {
        let (done, wait) = mpsc::sync_channel(1);
        if self.queue.send(Entry::Flush(done)).is_err() {
            return false;
        }
        wait.recv_timeout(Duration::from_secs(10)).is_ok() && !self.failed.load(Ordering::Relaxed)
    }

    /// What was seen so far, added up.
    pub fn tally(&self) -> Tally {
        std::mem::take(&mut *self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Writer {
    out: Option<Box<dyn Write + Send>>,
    parts: RecorderParts,
    viewers: Arc<Viewers>,
    tally: Arc<Mutex<Tally>>,
    failed: Arc<AtomicBool>,
    ended: VecDeque<Ended>,
    /// Counted, for their ids.
    lines: u64,
}

/// Lines that are written wait no longer than this for whoever follows the file, however busy it is.
const VISIBLE: Duration = Duration::from_millis(100);

/// How long the end of a flow is held back at the very end of all.
const LAST_WAIT: Duration = Duration::from_secs(8);

/// A session this far behind has lost records, and counted them: no line waits for it any more.
const MOST_ENDED: usize = 50_000;

/// The line that says a flow is over, until the session has the flow.
struct Ended {
    mark: u64,
    line: String,
}

impl Writer {
    fn run(mut self, entries: mpsc::Receiver<Entry>) {
        let mut flushed = Instant::now();
        loop {
            let entry = match entries.try_recv() {
                Ok(entry) => entry,
                Err(mpsc::TryRecvError::Disconnected) => break,
                Err(mpsc::TryRecvError::Empty) => {
                    // Nothing more at once: whoever follows the file sees all of it now.
                    self.release(Duration::ZERO);
                    self.flush();
                    flushed = Instant::now();
                    let next = match self.ended.is_empty() {
                        true => entries.recv().ok(),
                        false => match entries.recv_timeout(VISIBLE / 10) {
                            Err(mpsc::RecvTimeoutError::Timeout) => continue,
                            next => next.ok(),
                        },
                    };
                    match next {
                        Some(entry) => entry,
                        None => break,
                    }
                }
            };
            self.take(entry);
            if flushed.elapsed() >= VISIBLE {
                self.release(Duration::ZERO);
                self.flush();
                flushed = Instant::now();
            }
        }
        self.finish();
    }

    fn take(&mut self, entry: Entry) {
        match entry {
            Entry::Findings { meta, time, findings } => {
                let time = timestamp(time);
                for finding in &findings {
                    if let Some(line) = self.line(|context| finding_line(finding, context), &meta, &time) {
                        self.put(line);
                    }
                }
                if self.parts.tally {
                    let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
                    for finding in &findings {
                        tally.finding(&meta.host, finding, self.parts.reveal);
                    }
                }
            }
            Entry::Closed { meta, time, summary } => {
                if let Some(line) = self.line(|context| flow_line(&summary, context), &meta, &timestamp(time)) {
                    match &self.parts.tape {
                        // A flow's line says that it is over: by then it is in the session too, whatever comes.
                        Some(tape) => self.ended.push_back(Ended { mark: tape.mark(), line }),
                        None => self.put(line),
                    }
                }
                if self.parts.tally {
                    let client = meta.client.as_deref().map(|client| (client, meta.client_version.as_deref()));
                    let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
                    tally.flow(&meta.host, client, &summary, self.parts.reveal);
                }
            }
            Entry::Tunnel(tunnel) => {
                if self.parts.tally {
                    let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
                    tally.tunnel(&tunnel.host, tunnel.sent + tunnel.received, tunnel.reason);
                }
            }
            Entry::Files(files) => {
                self.release(LAST_WAIT);
                let time = timestamp(SystemTime::now());
                for file in files {
                    let line = file.line(&time, &self.parts.session);
                    if let Some(tape) = &self.parts.tape {
                        tape.line(&file.flow, line.clone());
                    }
                    self.put(line);
                    self.tally.lock().unwrap_or_else(PoisonError::into_inner).file(file);
                }
            }
            Entry::Flush(done) => {
                self.finish();
                let _ = done.send(());
            }
        }
    }

    /// Writes the ends of the flows that the session has, and waits for those it has not, `longest` at most.
    fn release(&mut self, longest: Duration) {
        let start = Instant::now();
        while let (Some(first), Some(tape)) = (self.ended.front(), &self.parts.tape) {
            let room = self.ended.len() < MOST_ENDED;
            if room && !tape.reached(first.mark, longest.saturating_sub(start.elapsed())) {
                return;
            }
            if let Some(ended) = self.ended.pop_front() {
                self.put(ended.line);
            }
        }
    }

    /// Everything that was handed over is written.
    fn finish(&mut self) {
        self.release(LAST_WAIT);
        // A session that hangs loses its own lines, not these.
        for ended in std::mem::take(&mut self.ended) {
            self.put(ended.line);
        }
        self.flush();
    }

    /// The line as the session keeps it is handed over; the one for screen and file is returned, if any is wanted.
    fn line(&mut self, line: impl Fn(&LineContext<'_>) -> String, meta: &FlowMeta, time: &str) -> Option<String> {
        self.lines += 1;
        let id = format!("{}-{}", self.parts.session, self.lines);
        let context = LineContext {
            time,
            session: &self.parts.session,
            flow: &meta.flow,
            host: &meta.host,
            method: meta.method.as_deref(),
            path: meta.path.as_deref(),
            client: meta.client.as_deref(),
            client_version: meta.client_version.as_deref(),
            id: self.parts.spool.is_some().then_some(&id),
            user: meta.user.as_deref(),
            group: meta.group.as_deref(),
            reveal: self.parts.reveal,
            digest_key: &self.parts.digest_key,
        };
        if let Some(tape) = &self.parts.tape {
            // What is kept is masked whatever the screen shows.
            tape.line(&meta.flow, line(&LineContext { reveal: false, ..context }));
        }
        let masked = self.parts.spool.is_some().then(|| line(&LineContext { reveal: false, ..context }));
        let shown = self.out.is_some() || self.viewers.any.load(Ordering::Relaxed);
        let shown = shown.then(|| line(&context));
        if let (Some(spool), Some(masked)) = (&mut self.parts.spool, masked) {
            spool.append(&masked);
        }
        shown
    }

    fn put(&mut self, mut line: String) {
        if self.viewers.any.load(Ordering::Relaxed) {
            self.viewers.send(&line);
        }
        if let Some(out) = &mut self.out {
            line.push('\n');
            if let Err(error) = out.write_all(line.as_bytes()) {
                self.fail(&error);
            }
        }
    }

    fn flush(&mut self) {
        if self.parts.spool.as_mut().is_some_and(|spool| !spool.flush()) {
            self.failed.store(true, Ordering::Relaxed);
        }
        if let Some(Err(error)) = self.out.as_mut().map(|out| out.flush()) {
            self.fail(&error);
        }
    }

    fn fail(&mut self, error: &io::Error) {
        if !self.failed.swap(true, Ordering::Relaxed) {
            tracing::error!(%error, "findings can no longer be written; the audit is incomplete");
        }
    }
}

/// RFC 3339 in UTC with milliseconds.
pub fn timestamp(time: SystemTime) -> String {
    let t = time::OffsetDateTime::from(time);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        t.year(),
        u8::from(t.month()),
        t.day(),
        t.hour(),
        t.minute(),
        t.second(),
        t.millisecond()
    )
}

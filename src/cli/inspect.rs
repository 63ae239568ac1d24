//! `divulge inspect FILE…`: audits captured requests as the proxy would have, with no network at all.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::start::{self, StartError};
use super::{ConfigFile, INCOMPLETE, WRONG_USAGE, fail, printable, start_log};
use crate::config::Options;
use crate::engine::{
    Engine, EngineParts, Facts, Finding, FlowSummary, Lesson, LineContext, Location, OnError, Outgoing, Part, Refusal,
    Root, Severity, Templates, Unit, finding_line, flow_line,
};
use crate::record;
use crate::report::text::{Style, Tally};
use crate::session::raw::Captured;

/// Audits captured requests offline: `*.http` files (request line, headers, empty line, body) or folders of
/// them. The flow's id is the file's stem.
#[derive(clap::Args, Clone, Debug)]
#[command(
    after_help = "Examples:\n  divulge inspect capture/\n  divulge inspect --policy strict --emit out capture/\n  divulge inspect --facts facts.json --findings - request.http\n\nThe exit status is 0 also where something was found; 1 where --fail-on is reached, 2 for wrong usage,\n3 where a file could not be read."
)]
pub struct Args {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    options: Options,
    /// Write each request as the policy would send it to `DIR/<flow>.http`
    #[arg(long, value_name = "DIR")]
    emit: Option<PathBuf>,
    /// Captured requests, or folders of them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Files of one turn of all workers: what bounds the memory.
const BATCH: usize = 64;
/// Requests of which one can be unlike the others.
const WORTH_COMPARING: usize = 3;
/// Fewer files are done before a progress bar is read.
const WORTH_A_BAR: usize = 40;

pub fn run(args: Args) -> ExitCode {
    let options = match args.options.with_file(args.config.config.as_deref()) {
        Ok(options) => options,
        Err(error) => return fail(WRONG_USAGE, &error),
    };
    start_log(&options);
    let inspection = match Inspection::prepare(&options, &args.files, args.emit) {
        Ok(inspection) => inspection,
        Err(error) => return fail(WRONG_USAGE, &error),
    };
    match inspection.run(&options) {
        Ok(code) => code,
        // Whoever read the results has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(INCOMPLETE, &error),
    }
}

struct Inspection {
    engine: Arc<Engine>,
    digest_key: [u8; 32],
    session: String,
    body_limit: usize,
    reveal: bool,
    emit: Option<PathBuf>,
    files: Vec<PathBuf>,
}

/// What one file came to.
struct Inspected {
    host: String,
    client: Option<(String, Option<String>)>,
    findings: Vec<Finding>,
    summary: FlowSummary,
    /// JSON lines, if they are wanted.
    lines: String,
    /// The request as it would leave.
    outgoing: Option<Bytes>,
    refusal: Option<Refusal>,
    /// What is wrong with the framing.
    damage: Option<String>,
}

impl Inspection {
    fn prepare(options: &Options, files: &[PathBuf], emit: Option<PathBuf>) -> Result<Self, StartError> {
        let policy = start::policy(options)?;
        for warning in policy.warnings() {
            tracing::warn!("{warning}");
        }
        let facts = match &options.facts {
            Some(path) => {
                let text = start::read(path)?;
                Facts::parse(&path.display().to_string(), &text).map_err(|e| StartError::Wrong(e.to_string()))?
            }
            // A capture is not always of this machine.
            None => Facts::default(),
        };
        let digest_key = start::digest_key(&options.state_dir()?);
        let engine = Engine::new(EngineParts {
            rules: start::rules(options)?,
            facts,
            on_error: options.on_error(start::enforces(&policy)),
            policy,
            digest_key,
            limits: Default::default(),
        });
        let files = captures(files)?;
        if let Some(folder) = &emit {
            refuse_collisions(&files, folder)?;
            fs::create_dir_all(folder)
                .map_err(|e| StartError::Wrong(format!("--emit: {}: cannot be made: {e}", folder.display())))?;
        }
        Ok(Self {
            engine: Arc::new(engine),
            digest_key,
            session: start::session_id(),
            body_limit: options.body_limit()?.0,
            reveal: options.reveal,
            emit,
            files,
        })
    }

    fn run(self, options: &Options) -> io::Result<ExitCode> {
        let mut findings = match &options.findings {
            None => None,
            Some(path) => Some(record::findings_file(path)?),
        };
        let to_stdout = options.findings.as_deref() == Some(Path::new("-"));
        let mut tally = Tally::new();
        let mut worst = None;
        let mut damaged = 0;
        let mut withheld = BTreeMap::new();
        self.compare_among_themselves();
        let progress = progress(self.files.len(), options.quiet);
        for batch in self.files.chunks(BATCH) {
            for (path, inspected) in batch.iter().zip(self.inspect(batch, findings.is_some())) {
                progress.inc(1);
                let inspected = match inspected {
                    Ok(inspected) => inspected,
                    Err(error) => {
                        damaged += 1;
                        progress
                            .suspend(|| eprintln!("divulge: {}", printable(&format!("{}: {error}", path.display()))));
                        continue;
                    }
                };
                if let Some(damage) = &inspected.damage {
                    damaged += 1;
                    let said = format!("{}: {damage}; audited as far as it goes", path.display());
                    progress.suspend(|| eprintln!("divulge: {}", printable(&said)));
                }
                if let Some(out) = &mut findings {
                    out.write_all(inspected.lines.as_bytes())?;
                }
                for finding in &inspected.findings {
                    worst = worst.max(Some(finding.severity));
                    tally.finding(&inspected.host, finding, self.reveal);
                }
                let client = inspected.client.as_ref().map(|(name, version)| (name.as_str(), version.as_deref()));
                tally.flow(&inspected.host, client, &inspected.summary, self.reveal);
                if let Some(refusal) = &inspected.refusal {
                    *withheld.entry(refusal.message.clone()).or_insert(0u64) += 1;
                }
                self.write_out(path, inspected.outgoing.as_ref())?;
            }
        }
        progress.finish_and_clear();
        if let Some(out) = &mut findings {
            out.flush()?;
        }
        for (message, count) in withheld {
            tally.note(format!("withheld ×{count}: {message}"));
        }
        if !to_stdout && !options.quiet {
            let mut stdout = io::stdout().lock();
            let color = options.color.unwrap_or_default().wanted(stdout.is_terminal());
            let width = crossterm::terminal::size().map_or(120, |(columns, _)| usize::from(columns).max(60));
            stdout.write_all(tally.render(&Style { color, width, reveal: self.reveal }).as_bytes())?;
        }
        Ok(status(options.fail_on(), worst, damaged))
    }

    /// Learns from all files how each client spells its own text, so that one which differs is seen.
    fn compare_among_themselves(&self) {
        if self.files.len() < WORTH_COMPARING {
            return;
        }
        let mut templates = Templates::default();
        for batch in self.files.chunks(BATCH) {
            // What cannot be read is reported when it is inspected.
            for lesson in on_all_cores(batch, |path| self.lesson(path)).into_iter().flatten() {
                templates.learn(lesson, 0);
            }
        }
        self.engine.set_templates(Arc::new(templates.among_themselves()));
    }

    fn lesson(&self, path: &Path) -> Option<Lesson> {
        let captured = Captured::read(fs::read(path).ok()?.into()).ok()?;
        let part = if captured.body().len() <= self.body_limit { captured.part() } else { Part::Head };
        Some(self.engine.lesson(&Unit { request: &captured.request, part }))
    }

    /// Inspects `batch` on all cores; the results come in its order.
    fn inspect(&self, batch: &[PathBuf], lines: bool) -> Vec<Result<Inspected, String>> {
        on_all_cores(batch, |path| self.inspect_file(path, lines))
    }

    fn inspect_file(&self, path: &Path, lines: bool) -> Result<Inspected, String> {
        let raw = fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
        let captured = Captured::read(raw.into()).map_err(|error| {
            format!("{error}; expected a raw HTTP request: request line, headers, empty line, body")
        })?;
        let mut flow = self.engine.open(flow_id(path), captured.request.clone());
        let (mut findings, mut outgoing) = self.audit(&mut flow, &captured);
        let mut trailers = Outgoing::Unchanged(Bytes::new());
        if let Some(part) = captured.trailers() {
            let audit = flow.audit(part);
            findings.extend(audit.findings);
            match audit.outgoing {
                Outgoing::Withheld(refusal) => outgoing = Outgoing::Withheld(refusal),
                may_leave => trailers = may_leave,
            }
        }
        let path_shown = flow.path(self.reveal);
        let client = flow.client().map(|(name, version)| (name.to_owned(), version.map(str::to_owned)));
        let id = flow.id().to_owned();
        let summary = flow.close();
        let mut text = String::new();
        if lines {
            let time = record::timestamp(SystemTime::now());
            let context = LineContext {
                time: &time,
                session: &self.session,
                flow: &id,
                host: &captured.request.host,
                method: Some(captured.request.head.method()),
                path: Some(&path_shown),
                client: client.as_ref().map(|(name, _)| name.as_str()),
                client_version: client.as_ref().and_then(|(_, version)| version.as_deref()),
                reveal: self.reveal,
                digest_key: &self.digest_key,
            };
            for finding in &findings {
                text.push_str(&finding_line(finding, &context));
                text.push('\n');
            }
            text.push_str(&flow_line(&summary, &context));
            text.push('\n');
        }
        let written = self.emit.as_ref().and_then(|_| captured.outgoing_with(&outgoing, &trailers));
        let refusal = match outgoing {
            Outgoing::Withheld(refusal) => Some(refusal),
            _ => None,
        };
        let host = captured.request.host.clone();
        Ok(Inspected {
            host,
            client,
            findings,
            summary,
            lines: text,
            outgoing: written,
            refusal,
            damage: captured.damage(),
        })
    }

    /// As the proxy does: a body over the limit is not read, and `--on-error` says whether it may leave.
    fn audit(&self, flow: &mut crate::engine::Flow, captured: &Captured) -> (Vec<Finding>, Outgoing) {
        let body = captured.body();
        if body.len() <= self.body_limit {
            let audit = flow.audit(captured.part());
            return (audit.findings, audit.outgoing);
        }
        let audit = flow.audit(Part::Head);
        let mut findings = audit.findings;
        let location = Location { root: Root::Body, steps: Vec::new() };
        findings.push(flow.unread(location, body.len() as u64, "limit"));
        let outgoing = match audit.outgoing {
            Outgoing::Withheld(refusal) => Outgoing::Withheld(refusal),
            _ if self.engine.on_error() == OnError::Closed => {
                flow.withhold();
                let message =
                    format!("the request body is longer than {} bytes and may not pass unread", self.body_limit);
                Outgoing::Withheld(Refusal { reason: "limit", message })
            }
            Outgoing::Rewritten(mut rewritten) => {
                rewritten.payload = body.clone();
                Outgoing::Rewritten(rewritten)
            }
            Outgoing::Unchanged(_) => Outgoing::Unchanged(body.clone()),
        };
        (findings, outgoing)
    }

    fn write_out(&self, path: &Path, outgoing: Option<&Bytes>) -> io::Result<()> {
        let Some(folder) = &self.emit else { return Ok(()) };
        let target = folder.join(format!("{}.http", flow_id(path)));
        let named = |error: io::Error| io::Error::new(error.kind(), format!("--emit: {}: {error}", target.display()));
        let Some(bytes) = outgoing else {
            // A withheld request has no bytes; those of an earlier run would look like some.
            return match fs::remove_file(&target) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(named(error)),
                _ => Ok(()),
            };
        };
        let mut options = fs::OpenOptions::new();
        options.create(true).write(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&target).and_then(|mut file| file.write_all(bytes)).map_err(named)
    }
}

/// What `work` makes of each of `paths`, in their order.
fn on_all_cores<T: Send>(paths: &[PathBuf], work: impl Fn(&Path) -> T + Sync) -> Vec<T> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(paths.len());
    if workers <= 1 {
        return paths.iter().map(|path| work(path)).collect();
    }
    let next = AtomicUsize::new(0);
    let mut results: Vec<(usize, T)> = std::thread::scope(|scope| {
        let work = || {
            let mut done = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(path) = paths.get(index) else { return done };
                done.push((index, work(path)));
            }
        };
        let handles: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        handles.into_iter().flat_map(|handle| handle.join().unwrap_or_default()).collect()
    });
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

fn status(fail_on: Option<Severity>, worst: Option<Severity>, damaged: usize) -> ExitCode {
    if fail_on.is_some_and(|least| worst.is_some_and(|worst| worst >= least)) {
        return ExitCode::from(1);
    }
    if damaged > 0 { ExitCode::from(INCOMPLETE) } else { ExitCode::SUCCESS }
}

/// The files themselves, and the `*.http` files of folders, sorted.
fn captures(given: &[PathBuf]) -> Result<Vec<PathBuf>, StartError> {
    let wrong =
        |path: &Path, error: io::Error| StartError::Wrong(format!("{}: cannot be read: {error}", path.display()));
    let mut files = Vec::new();
    for path in given {
        if !fs::metadata(path).map_err(|error| wrong(path, error))?.is_dir() {
            files.push(path.clone());
            continue;
        }
        let before = files.len();
        let mut open = vec![path.clone()];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(&folder).map_err(|error| wrong(&folder, error))? {
                let entry = entry.map_err(|error| wrong(&folder, error))?;
                let kind = entry.file_type().map_err(|error| wrong(&entry.path(), error))?;
                // A link to a folder may lead in a circle; one to a file is a file.
                if kind.is_dir() {
                    open.push(entry.path());
                } else if entry.path().extension() == Some(OsStr::new("http")) {
                    files.push(entry.path());
                }
            }
        }
        if files.len() == before {
            return Err(StartError::Wrong(format!("{}: no captured requests (*.http) there", path.display())));
        }
        files[before..].sort();
    }
    Ok(files)
}

fn flow_id(path: &Path) -> String {
    path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Each flow has a file of its own, and none is a file that is read.
fn refuse_collisions(files: &[PathBuf], folder: &Path) -> Result<(), StartError> {
    let mut ids = BTreeMap::new();
    for path in files {
        if let Some(first) = ids.insert(flow_id(path), path) {
            let (first, second) = (first.display(), path.display());
            return Err(StartError::Wrong(format!("--emit: {first} and {second} would be written to the same file")));
        }
        let target = folder.join(format!("{}.http", flow_id(path)));
        if let (Ok(target), Ok(source)) = (fs::canonicalize(&target), fs::canonicalize(path))
            && target == source
        {
            return Err(StartError::Wrong(format!(
                "--emit: {} would be overwritten; name another folder",
                path.display()
            )));
        }
    }
    Ok(())
}

fn progress(files: usize, quiet: bool) -> ProgressBar {
    if quiet || files < WORTH_A_BAR || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(files as u64), ProgressDrawTarget::stderr());
    // The template is a constant; without it the bar has its plain form.
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} requests · {elapsed} · {eta} left") {
        bar.set_style(style);
    }
    bar
}

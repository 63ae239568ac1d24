//! `divulge inspect FILE…`: audits captured requests as the proxy would have, with no network at all.

mod diff;
mod export;
mod kept;
mod lookup;
mod rearrange;
pub(super) mod session;
pub(super) mod source;
mod workers;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use self::diff::{Change, Of, Summary};
use self::rearrange::By;
use self::source::{Source, sources_with};
use self::workers::in_order;
use super::rules::table;
use super::start::engine::{KeptPseudonyms, engine_with};
use super::start::{self, StartError};
use super::{ConfigFile, INCOMPLETE, WRONG_USAGE, fail, printable, start_log};
use crate::config::Options;
use crate::engine::{
    Detector, Engine, Evidence, Facts, Finding, FlowSummary, Lesson, LineContext, Outgoing, Part, Refusal, Severity,
    Templates, Unit, finding_line, flow_line,
};
use crate::index::Query;
use crate::inventory::Inventory;
use crate::record;
use crate::report::compare::Look;
use crate::report::tally::Tally;
use crate::report::text::Style;
use crate::session::audit::{Audited, audit};
use crate::session::files::SentFile;

/// Audits captured requests offline: `*.http` files (request line, headers, empty line, body; the flow's id is the
/// file's stem), folders of them, own sessions, HTTP archives and flow files of mitmproxy.
#[derive(clap::Args, Clone, Debug)]
#[command(
    group = clap::ArgGroup::new("looked_up").args(["list", "find"]).multiple(false),
    after_help = "Examples:\n  divulge inspect capture/\n  divulge inspect --policy strict --emit out capture/\n  divulge inspect --policy strict --diff work.session\n  divulge inspect --facts facts.json --findings - request.http\n\nThe exit status is 0 also where something was found; 1 where --fail-on is reached, 2 for wrong usage,\n3 where a file could not be read."
)]
pub struct Args {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    options: Options,
    /// Write each request as the policy would send it to `DIR/<flow>.http`
    #[arg(long, value_name = "DIR")]
    emit: Option<PathBuf>,
    /// Show request by request, leaf by leaf, what the policy would have changed, and what it decides otherwise than was
    /// decided when the session was recorded
    #[arg(long)]
    diff: bool,
    /// Say of every finding of this flow which rule of the policy decided it
    #[arg(long, value_name = "FLOW", conflicts_with = "diff")]
    explain: Option<String>,
    /// Verify the chain of sessions, and recompute the certificates of those with full bodies
    #[arg(long, conflicts_with_all = ["emit", "explain", "diff", "find", "erase"])]
    verify: bool,
    /// Say in which flows of sessions this value left, without it being in them
    #[arg(long, value_name = "VALUE", conflicts_with_all = ["emit", "explain", "diff", "erase"])]
    find: Option<String>,
    /// List the flows of sessions with what was found in them, by the index beside each (FILE.idx)
    #[arg(long, conflicts_with_all = ["emit", "explain", "diff", "find", "erase", "verify"])]
    list: bool,
    /// With --list or --find: to this host alone (a glob)
    #[arg(long, value_name = "GLOB", requires = "looked_up")]
    host: Option<String>,
    /// With --list or --find: where this kind was found (a glob)
    #[arg(long, value_name = "GLOB", requires = "looked_up")]
    kind: Option<String>,
    /// Take these flows (ids, or globs of them) out of sessions for good; repeatable
    #[arg(long, value_name = "FLOW", conflicts_with_all = ["emit", "explain", "diff"])]
    erase: Vec<String>,
    /// Put sessions together into a new one, their flows in the order they began
    #[arg(long, value_name = "OUT", conflicts_with_all = ["emit", "explain", "diff", "list", "find", "erase", "verify"])]
    merge: Option<PathBuf>,
    /// Take sessions apart: each part a session in this folder
    #[arg(long, value_name = "DIR", conflicts_with_all = ["emit", "explain", "diff", "list", "find", "erase", "verify", "merge"])]
    split: Option<PathBuf>,
    /// What makes a part of --split
    #[arg(long, value_enum, default_value_t, requires = "split")]
    by: By,
    /// Write everything as one HTTP archive (HAR 1.2)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["emit", "explain", "diff", "find", "erase", "verify"])]
    har: Option<PathBuf>,
    /// Print this flow as a curl command
    #[arg(long, value_name = "FLOW", conflicts_with_all = ["emit", "explain", "diff", "find", "erase", "verify", "har"])]
    curl: Option<String>,
    /// Say which files of this folder were sent, to which host, and how much of each
    #[arg(long, value_name = "DIR", conflicts_with_all = ["emit", "explain", "diff", "find", "erase", "verify"])]
    inventory: Option<PathBuf>,
    /// Secrets of TLS for captured packets, as programs write them for SSLKEYLOGFILE
    #[arg(long, value_name = "FILE")]
    key_log: Option<PathBuf>,
    /// Captured requests, folders of them, sessions, packets (pcapng), HTTP archives (HAR), flow files of mitmproxy
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Requests of which one can be unlike the others.
const WORTH_COMPARING: usize = 3;
/// Fewer files are done before a progress bar is read.
const WORTH_A_BAR: usize = 40;

pub fn run(args: Args) -> ExitCode {
    let options = match args.options.clone().with_file(args.config.config.as_deref()) {
        Ok(options) => options,
        Err(error) => return fail(WRONG_USAGE, &error),
    };
    start_log(&options);
    if args.verify {
        return kept::verify(&options, &args.files);
    }
    let narrowed = Query { host: args.host.clone(), kind: args.kind.clone(), values: Vec::new() };
    if args.list {
        return lookup::list(&args.files, &narrowed);
    }
    if let Some(value) = &args.find {
        return lookup::find(&options, &args.files, value, &narrowed);
    }
    if let Some(out) = &args.merge {
        return rearrange::merge(&args.files, out);
    }
    if let Some(folder) = &args.split {
        return rearrange::split(&args.files, folder, args.by);
    }
    if let Some(file) = &args.har {
        return export::har(&args.files, file);
    }
    if let Some(flow) = &args.curl {
        return export::as_curl(&args.files, flow);
    }
    if !args.erase.is_empty() {
        return kept::erase(&args.files, &args.erase);
    }
    let inspection = match Inspection::prepare(&options, &args) {
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
    kept: KeptPseudonyms,
    digest_key: [u8; 32],
    session: String,
    body_limit: usize,
    reveal: bool,
    emit: Option<PathBuf>,
    explain: Option<String>,
    /// How changes are printed, where they are asked for.
    diff: Option<Look>,
    inventory: Option<Inventory>,
    files: Vec<Source>,
    /// Requests of which only what was found live is known.
    masked: Vec<Source>,
}

/// What every line of one flow says about it.
struct Named {
    time: String,
    id: String,
    host: String,
    method: String,
    path: String,
    client: Option<(String, Option<String>)>,
}

/// What one file came to.
struct Inspected {
    named: Named,
    findings: Vec<Finding>,
    summary: FlowSummary,
    /// JSON lines, if they are wanted.
    lines: String,
    /// The request as it would leave.
    outgoing: Option<Bytes>,
    refusal: Option<Refusal>,
    change: Option<Change>,
    /// What is wrong with the framing.
    damage: Option<String>,
}

impl Inspected {
    /// Bytes that it holds until its turn comes.
    fn weight(&self) -> usize {
        let turn = self.summary.turn.as_ref().map_or(0, |(_, body)| body.len());
        let change = self.change.as_ref().map_or(0, Change::weight);
        turn + change + self.lines.len() + self.outgoing.as_ref().map_or(0, Bytes::len) + self.findings.len() * 512
    }
}

impl Inspection {
    fn prepare(options: &Options, args: &Args) -> Result<Self, StartError> {
        let facts = match &options.facts {
            Some(path) => {
                let text = start::read(path)?;
                Facts::parse(&path.display().to_string(), &text).map_err(|e| StartError::Wrong(e.to_string()))?
            }
            // A capture is not always of this machine.
            None => Facts::default(),
        };
        let digest_key = start::digest_key(&options.state_dir()?);
        let mut kept = KeptPseudonyms::default();
        let engine = engine_with(options, digest_key, facts, &mut kept)?;
        let (emit, explain) = (args.emit.clone(), args.explain.clone());
        let files = sources_with(&args.files, args.key_log.as_deref())?;
        let (masked, files): (Vec<Source>, Vec<Source>) = files.into_iter().partition(|source| source.kept().is_some());
        let asked = [
            (options.policy.is_some(), "--policy"),
            (options.facts.is_some(), "--facts"),
            (!options.rules.is_empty(), "--rules"),
            (emit.is_some(), "--emit"),
            (explain.is_some(), "--explain"),
            (args.diff, "--diff"),
        ];
        let masked = match asked.into_iter().find(|(asked, _)| *asked) {
            None => masked,
            Some((_, option)) => kept::left_out(option, masked, &files)?,
        };
        if let Some(flow) = &explain
            && !files.iter().any(|source| source.id() == *flow)
        {
            let known: Vec<String> = files.iter().take(8).map(Source::id).collect();
            let message = format!("--explain: no flow is called {flow}; there are {}", known.join(", "));
            return Err(StartError::Wrong(message));
        }
        if let Some(folder) = &emit {
            refuse_collisions(&files, folder)?;
            fs::create_dir_all(folder)
                .map_err(|e| StartError::Wrong(format!("--emit: {}: cannot be made: {e}", folder.display())))?;
        }
        Ok(Self {
            engine: Arc::new(engine),
            kept,
            digest_key,
            session: start::session_id(),
            body_limit: options.body_limit()?.0,
            reveal: options.reveal,
            emit,
            explain,
            diff: args.diff.then(|| Look { color: wants_color(options) }),
            inventory: start::inventory(args.inventory.as_deref(), &digest_key)?,
            files,
            masked,
        })
    }

    fn run(mut self, options: &Options) -> io::Result<ExitCode> {
        let mut findings = match &options.findings {
            None => None,
            Some(path) => Some(record::findings_file(path)?),
        };
        let to_stdout = options.findings.as_deref() == Some(Path::new("-"));
        let mut tally = Tally::new();
        let mut worst = None;
        let mut damaged = 0;
        let mut withheld = BTreeMap::new();
        let mut explained = String::new();
        let mut changes = Summary::default();
        let progress = progress(self.files.len() * if self.compares() { 2 } else { 1 }, options.quiet);
        self.compare_among_themselves(&progress);
        let lines = findings.is_some();
        let work = |source: &Source| self.inspect_file(source, lines);
        let complain = |said: &str| progress.suspend(|| eprintln!("divulge: {}", printable(said)));
        in_order(
            &self.files,
            work,
            |inspected| inspected.as_ref().map_or(0, Inspected::weight),
            |source, inspected| {
                progress.inc(1);
                let inspected = inspected.unwrap_or_else(|| Err("the inspection failed".to_owned()));
                let mut inspected = match inspected {
                    Ok(inspected) => inspected,
                    Err(error) => {
                        damaged += 1;
                        complain(&format!("{}: {error}", source.name()));
                        return Ok(());
                    }
                };
                if let Some(damage) = source.damage() {
                    damaged += 1;
                    complain(&format!("{}: {damage}; what is before it is audited", source.path().display()));
                }
                if let Some(damage) = &inspected.damage {
                    damaged += 1;
                    complain(&format!("{}: {damage}; audited as far as it goes", source.name()));
                }
                // Turn by turn, in their order.
                inspected.summary.place(self.engine.vault(), || {});
                if let Some(out) = &mut findings {
                    out.write_all(inspected.lines.as_bytes())?;
                    writeln!(out, "{}", flow_line(&inspected.summary, &self.context(&inspected.named)))?;
                }
                if self.explain.as_deref() == Some(&*source.id()) {
                    explained = self.explanation(&inspected);
                }
                if let Some(change) = inspected.change.take() {
                    let text = changes.add(change);
                    if !to_stdout {
                        progress.suspend(|| io::stdout().lock().write_all(text.as_bytes()))?;
                    }
                }
                for finding in &inspected.findings {
                    worst = worst.max(Some(finding.severity));
                    tally.finding(&inspected.named.host, finding, self.reveal);
                }
                let client = inspected.named.client.as_ref().map(|(name, version)| (name.as_str(), version.as_deref()));
                tally.flow(&inspected.named.host, client, &inspected.summary, self.reveal);
                if let Some(refusal) = &inspected.refusal {
                    *withheld.entry(refusal.message.clone()).or_insert(0u64) += 1;
                }
                self.write_out(source, inspected.outgoing.as_ref())
            },
        )?;
        for source in &self.masked {
            if let Some(damage) = source.damage() {
                damaged += 1;
                eprintln!("divulge: {}", printable(&format!("{}: {damage}", source.path().display())));
            }
            for line in source.lines() {
                let Ok(value) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
                worst = worst.max(serde_json::from_value(value["severity"].clone()).ok());
                tally.line(&value);
                if let Some(out) = &mut findings {
                    writeln!(out, "{line}")?;
                }
            }
        }
        if let Some(source) = self.masked.first() {
            let bodies = source.kept().unwrap_or_default();
            tally.note(format!("bodies were recorded {bodies}: these are the findings of the recording"));
        }
        progress.finish_and_clear();
        if let Some(mut inventory) = self.inventory.take() {
            let sent = self.sent_from(&mut inventory);
            tally.note(inventory.note_of(&sent));
            let time = record::timestamp(SystemTime::now());
            for file in sent {
                if let Some(out) = &mut findings {
                    writeln!(out, "{}", file.line(&time, &self.session))?;
                }
                tally.file(file);
            }
        }
        self.kept.finish();
        if let Some(out) = &mut findings {
            out.flush()?;
        }
        for (message, count) in withheld {
            tally.note(format!("withheld ×{count}: {message}"));
        }
        if self.explain.is_some() {
            if !to_stdout {
                io::stdout().lock().write_all(printable(&explained).as_bytes())?;
            }
        } else if self.diff.is_some() {
            if !to_stdout {
                let text = changes.render(&self.recorded_under(), self.engine.policy().name());
                io::stdout().lock().write_all(text.as_bytes())?;
            }
        } else if !to_stdout && !options.quiet {
            let mut stdout = io::stdout().lock();
            let color = wants_color(options);
            let width = crossterm::terminal::size().map_or(120, |(columns, _)| usize::from(columns).max(60));
            stdout.write_all(tally.render(&Style { color, width, reveal: self.reveal }).as_bytes())?;
        }
        Ok(status(options.fail_on(), worst, damaged))
    }

    /// The policies of the sessions that are read.
    fn recorded_under(&self) -> String {
        let mut names: Vec<&str> = self.files.iter().filter_map(Source::policy).collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() { "as captured".to_owned() } else { names.join(", ") }
    }

    /// Why each finding of a request was treated as it was.
    fn explanation(&self, inspected: &Inspected) -> String {
        let policy = self.engine.policy();
        let mut rows = vec![["LOCATION", "KIND", "VALUE", "SURE", "ACTION", "DECIDED BY"].map(str::to_owned)];
        rows.extend(inspected.findings.iter().map(|finding| {
            let location = match &finding.shown_location {
                Some(masked) if !self.reveal => masked.to_string(),
                _ => finding.location.to_string(),
            };
            let plain = self.reveal || finding.detector == Detector::Unread;
            let value = if plain { finding.value.to_string() } else { Evidence::of(&finding.value).to_string() };
            let action = match finding.would {
                Some(would) => format!("log (would {})", would.name()),
                None => finding.action.name().to_owned(),
            };
            let by = match finding.decided_by.as_deref() {
                Some(rule) => match policy.line_of(rule) {
                    Some(line) => format!("{} line {line}: {rule}", policy.name()),
                    None => rule.to_owned(),
                },
                None => format!("no rule of {}: what its rule pack proposes", policy.name()),
            };
            [location, finding.kind.to_string(), value, format!("{:.2}", finding.confidence), action, by]
        }));
        table(&rows)
    }

    /// The files of the tree that the captured requests hold, masked ones too.
    fn sent_from(&self, inventory: &mut Inventory) -> Vec<SentFile> {
        for source in self.files.iter().chain(&self.masked) {
            // What cannot be read was reported when it was inspected.
            let Ok(exchange) = source.asked() else { continue };
            let Ok(request) = exchange.request() else { continue };
            for part in exchange.parts() {
                inventory.note(&exchange.id, &request, part);
            }
        }
        inventory.sent()
    }

    fn compares(&self) -> bool {
        self.files.len() >= WORTH_COMPARING
    }

    /// Learns from all files how each client spells its own text, so that one which differs is seen.
    fn compare_among_themselves(&self, progress: &ProgressBar) {
        if !self.compares() {
            return;
        }
        let mut templates = Templates::default();
        // What cannot be read is reported when it is inspected.
        let learned = in_order(
            &self.files,
            |source| self.lesson(source),
            |_| 0,
            |_, lesson| {
                progress.inc(1);
                if let Some(lesson) = lesson.flatten() {
                    templates.learn(lesson, 0);
                }
                Ok::<_, std::convert::Infallible>(())
            },
        );
        let Ok(()) = learned;
        self.engine.set_templates(Arc::new(templates.among_themselves()));
    }

    fn lesson(&self, source: &Source) -> Option<Lesson> {
        let captured = source.load().ok()?.captured;
        let part = if captured.body().len() <= self.body_limit { captured.part() } else { Part::Head };
        Some(self.engine.lesson(&Unit { request: &captured.request, part }))
    }

    fn inspect_file(&self, source: &Source, lines: bool) -> Result<Inspected, String> {
        let mut loaded = source.load()?;
        let captured = loaded.captured.clone();
        let steps = std::mem::take(&mut loaded.steps);
        let kept = if self.diff.is_some() { steps.clone() } else { Vec::new() };
        let mut flow = self.engine.open(source.id(), captured.request.clone());
        let audited = audit(&mut flow, steps, self.body_limit, self.engine.on_error());
        let named = Named {
            path: flow.path(self.reveal),
            client: flow.client().map(|(name, version)| (name.to_owned(), version.map(str::to_owned))),
            id: flow.id().to_owned(),
            host: captured.request.host.clone(),
            method: captured.request.head.method().to_owned(),
            time: record::timestamp(SystemTime::now()),
        };
        let summary = flow.close();
        let change = self.diff.map(|look| {
            let (host, reveal) = (&*named.host, self.reveal);
            let of =
                Of { source, loaded: &loaded, steps: &kept, audited: &audited, summary: &summary, host, reveal, look };
            of.change()
        });
        let Audited { findings, outgoing, trailers, .. } = audited;
        let mut text = String::new();
        if lines {
            for finding in &findings {
                text.push_str(&finding_line(finding, &self.context(&named)));
                text.push('\n');
            }
        }
        let written = self.emit.as_ref().and_then(|_| captured.outgoing_with(&outgoing, &trailers));
        let refusal = match outgoing {
            Outgoing::Withheld(refusal) => Some(refusal),
            _ => None,
        };
        let damage = loaded.damage;
        Ok(Inspected { named, findings, summary, lines: text, outgoing: written, refusal, change, damage })
    }

    fn context<'a>(&'a self, named: &'a Named) -> LineContext<'a> {
        LineContext {
            time: &named.time,
            session: &self.session,
            flow: &named.id,
            host: &named.host,
            method: Some(&named.method),
            path: Some(&named.path),
            client: named.client.as_ref().map(|(name, _)| name.as_str()),
            client_version: named.client.as_ref().and_then(|(_, version)| version.as_deref()),
            id: None,
            user: None,
            group: None,
            reveal: self.reveal,
            digest_key: &self.digest_key,
        }
    }

    fn write_out(&self, source: &Source, outgoing: Option<&Bytes>) -> io::Result<()> {
        let Some(folder) = &self.emit else { return Ok(()) };
        let target = folder.join(format!("{}.http", source.id()));
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

fn wants_color(options: &Options) -> bool {
    options.color.unwrap_or_default().wanted(io::stdout().is_terminal())
}

fn status(fail_on: Option<Severity>, worst: Option<Severity>, damaged: usize) -> ExitCode {
    if fail_on.is_some_and(|least| worst.is_some_and(|worst| worst >= least)) {
        return ExitCode::from(1);
    }
    if damaged > 0 { ExitCode::from(INCOMPLETE) } else { ExitCode::SUCCESS }
}

/// Each flow has a file of its own, and none is a file that is read.
fn refuse_collisions(sources: &[Source], folder: &Path) -> Result<(), StartError> {
    let mut ids = BTreeMap::new();
    for source in sources {
        let path = source.path();
        if let Some(first) = ids.insert(source.id(), source) {
            let (first, second) = (first.name(), source.name());
            return Err(StartError::Wrong(format!("--emit: {first} and {second} would be written to the same file")));
        }
        let target = folder.join(format!("{}.http", source.id()));
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
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent}% of {len} steps · {elapsed} · {eta} left") {
        bar.set_style(style);
    }
    bar
}

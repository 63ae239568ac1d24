//! `divulge report FILE`: what was found, as a page, a table or a file for other programs.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;

use super::{INCOMPLETE, WRONG_USAGE, fail, printable, start};
use crate::config::ColorOption;
use crate::probe::result::ProbeResult;
use crate::report::bill::{self, Bill};
use crate::report::compare::Look;
use crate::report::lines::{Line, LineError};
use crate::report::model::{self, Report};
use crate::report::text::Style;
use crate::report::{html, json, markdown, sarif, summary};
use crate::session::store::{MAGIC, SessionReader};

/// Shows what was found: who received what, from where in which request, and what was done about it.
#[derive(clap::Args, Clone, Debug)]
#[command(
    after_help = "Examples:\n  divulge run --findings out.jsonl -- claude\n  divulge report out.jsonl\n  divulge report out.jsonl --format html --out report.html\n  divulge report out.jsonl --format bill --out bill.json\n  divulge report new.jsonl --since bill.json\n\nThe exit status is 2 for wrong usage and 3 where lines could not be used."
)]
pub struct Args {
    /// A session (--record), findings as JSON Lines (--findings; - is standard input), or the result of a probe (--out)
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What to make of them
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Write it here instead of to standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Mark the hosts that this earlier bill, or these earlier findings, do not know
    #[arg(long, value_name = "FILE")]
    since: Option<PathBuf>,
    /// Colours in text
    #[arg(long, value_enum, default_value_t = ColorOption::Auto)]
    color: ColorOption,
    /// Rule packs beside the built-in ones: a folder of TOML files; repeatable
    #[arg(long = "rules", value_name = "DIR", env = "DIVULGE_RULES", value_delimiter = ':')]
    rules: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Format {
    /// A table for the terminal
    Text,
    /// All of it as one document
    Json,
    /// One page that needs nothing else
    Html,
    /// Tables for an issue or a wiki
    Markdown,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// The fingerprint bill of materials: fields without values, to compare releases
    Bill,
}

/// The longest line that is read; beyond it a line is not used.
const LONGEST_LINE: usize = 64 << 20;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    #[error("{}: cannot be read", .0.display())]
    Read(PathBuf, #[source] io::Error),
    #[error("{}: {what}; expected {expected}", path.display())]
    Sort { path: PathBuf, what: String, expected: &'static str },
}

const EXPECTED: &str = "a session (`divulge run --record FILE`) or findings as JSON Lines (`--findings FILE` of `run`, `serve` \
    and `inspect`)";

pub fn run(args: Args) -> ExitCode {
    if args.file.is_file() && is_probe(&args.file) {
        return probe(&args);
    }
    let rules = match start::engine::rules_of(&args.rules) {
        Ok(rules) => rules,
        Err(error) => return fail(WRONG_USAGE, &error),
    };
    let mut report = model::builder::Builder::default();
    let mut bill = bill::Builder::default();
    let wants_bill = args.format == Format::Bill;
    let read = for_each_line(&args.file, EXPECTED, |line| {
        if wants_bill && let Ok(line) = &line {
            bill.add(line);
        }
        // Of a bill the report counts the lines that cannot be used, and no more.
        if !wants_bill || line.is_err() {
            report.add(line);
        }
    });
    let torn = match read {
        Ok(torn) => torn,
        Err(error) => return fail(WRONG_USAGE, &error),
    };
    let mut report = report.finish();
    report.damage.file = torn;
    if let Some(path) = &args.since {
        match bill_of(path) {
            Ok(earlier) => report.mark_new(|name| earlier.hosts.iter().any(|host| host.host == name)),
            Err(error) => return fail(WRONG_USAGE, &error),
        }
    }
    report.mark_unlisted(|host| rules.is_ai_host(host) || rules.is_telemetry_host(host));
    let bill = bill.finish();
    if report.revealed || bill.revealed {
        eprintln!("divulge: the findings were written with --reveal: the report may hold values in clear");
    }
    let text = match args.format {
        Format::Text => summary::render(&report, &style(args.color, args.out.is_some())),
        Format::Json => json::render(&report),
        Format::Html => html::render(&report),
        Format::Markdown => markdown::render(&report),
        Format::Sarif => sarif::render(&report, &rules),
        Format::Bill => bill.json(),
    };
    if let Err(error) = write(args.out.as_deref(), &text) {
        return fail(INCOMPLETE, &error);
    }
    said_of_damage(&args.file, &report)
}

fn is_probe(path: &Path) -> bool {
    let mut start = [0; 4096];
    let read = File::open(path).and_then(|mut file| file.read(&mut start)).unwrap_or(0);
    ProbeResult::says_so(&String::from_utf8_lossy(&start[..read]))
}

/// The result of a probe, read from a file.
pub(super) fn probe_of(path: &Path) -> Result<ProbeResult, InputError> {
    let text = std::fs::read_to_string(path).map_err(|error| InputError::Read(path.to_owned(), error))?;
    ProbeResult::parse(&text).map_err(|error| InputError::Sort {
        path: path.to_owned(),
        what: error.to_string(),
        expected: "the result of a probe, as `divulge probe --out FILE` writes it",
    })
}

fn probe(args: &Args) -> ExitCode {
    use crate::report::probe;
    let result = match probe_of(&args.file) {
        Ok(result) => result,
        Err(error) => return fail(WRONG_USAGE, &error),
    };
    let text = match (args.format, &result.bill) {
        (Format::Text, _) => probe::text::render(&result, Look { color: style(args.color, args.out.is_some()).color }),
        (Format::Json, _) => result.json(),
        (Format::Html, _) => probe::html::render(&result),
        (Format::Markdown, _) => probe::markdown::render(&result),
        (Format::Bill, Some(bill)) => bill.json(),
        (Format::Bill | Format::Sarif, _) => {
            let format = if args.format == Format::Sarif { "sarif" } else { "bill" };
            let what = format!("the result of a probe without what --format {format} is made of");
            let expected = "a session or findings for that";
            return fail(WRONG_USAGE, &InputError::Sort { path: args.file.clone(), what, expected });
        }
    };
    match write(args.out.as_deref(), &text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(INCOMPLETE, &error),
    }
}

/// What could not be used is told on standard error too, whatever the format says of it.
fn said_of_damage(path: &Path, report: &Report) -> ExitCode {
    let damage = &report.damage;
    if damage.lines == 0 && damage.file.is_none() {
        return ExitCode::SUCCESS;
    }
    if let Some(problem) = &damage.file {
        eprintln!("divulge: {}", printable(&format!("{}: {problem}", path.display())));
    }
    for (number, problem) in damage.first.iter().take(3) {
        eprintln!("divulge: {}", printable(&format!("{}: line {number} is not used: {problem}", path.display())));
    }
    if damage.lines > 3 {
        eprintln!("divulge: {} lines in all are not used", damage.lines);
    }
    ExitCode::from(INCOMPLETE)
}

fn style(color: ColorOption, to_file: bool) -> Style {
    let terminal = !to_file && io::stdout().is_terminal();
    let width = crossterm::terminal::size().map_or(120, |(columns, _)| usize::from(columns).max(60));
    Style { color: color.wanted(terminal), width: if terminal { width } else { 120 }, ..Style::default() }
}

/// Writes a result: to a file that is its owner's alone, or to standard output.
pub(super) fn write(path: Option<&Path>, text: &str) -> io::Result<()> {
    let Some(path) = path.filter(|path| path.as_os_str() != "-") else {
        return match io::stdout().lock().write_all(text.as_bytes()) {
            // Whoever read the results has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result,
        };
    };
    let mut options = std::fs::OpenOptions::new();
    options.create(true).write(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let named = |error: io::Error| io::Error::new(error.kind(), format!("--out: {}: {error}", path.display()));
    options.open(path).and_then(|mut file| file.write_all(text.as_bytes())).map_err(named)
}

/// Hands out every line of `path`, a session or findings, empty ones aside. Says what is wrong with a session as a whole.
///
/// What a file is, its first line says: one that holds none of ours ends the reading, in a later place it is damage.
pub(super) fn for_each_line(
    path: &Path,
    expected: &'static str,
    mut take: impl FnMut(Result<Line, LineError>),
) -> Result<Option<String>, InputError> {
    let unread = |error| InputError::Read(path.to_owned(), error);
    let mut source: Box<dyn BufRead> = match path.as_os_str() == "-" {
        true => Box::new(io::stdin().lock()),
        false => {
            if path.is_dir() {
                let (path, what) = (path.to_owned(), "a folder".to_owned());
                return Err(InputError::Sort { path, what, expected });
            }
            let mut file = File::open(path).map_err(unread)?;
            let mut start = Vec::new();
            (&mut file).take(MAGIC.len() as u64).read_to_end(&mut start).map_err(unread)?;
            // One of another version is told from there.
            if start.starts_with(b"divulge session ") {
                return session_lines(path, file, expected, take);
            }
            file.rewind().map_err(unread)?;
            Box::new(BufReader::new(file))
        }
    };
    let mut any = false;
    let mut refused = Vec::new();
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let read = (&mut source).take(LONGEST_LINE as u64).read_until(b'\n', &mut bytes).map_err(unread)?;
        if read == 0 {
            break;
        }
        let whole = bytes.ends_with(b"\n") || read < LONGEST_LINE;
        let line = if whole { parsed(&bytes) } else { skip_line(&mut source).map_err(unread).map(|()| long())? };
        let Some(line) = line else { continue };
        if line.is_ok() && !any {
            any = true;
            refused.drain(..).for_each(|error| take(Err(error)));
        }
        match line {
            line if any => take(line),
            Err(error) => {
                // A few broken lines may stand before the first good one; a file without any is another file.
                refused.push(error);
                if refused.len() >= MOST_REFUSED {
                    return Err(another(path, &bytes_of_start(path), &refused[0], expected));
                }
            }
            Ok(_) => {}
        }
    }
    match refused.first() {
        Some(first) if !any => Err(another(path, &bytes_of_start(path), first, expected)),
        _ => Ok(None),
    }
}

fn session_lines(
    path: &Path,
    file: File,
    expected: &'static str,
    mut take: impl FnMut(Result<Line, LineError>),
) -> Result<Option<String>, InputError> {
    let sort = |error: crate::session::store::SessionError| InputError::Sort {
        path: path.to_owned(),
        what: error.to_string(),
        expected,
    };
    let mut session = SessionReader::open(file).map_err(sort)?;
    for index in 0..session.len() {
        for line in session.lines(index).map_err(sort)? {
            take(Line::parse(&line));
        }
    }
    let damage = session.scan.damage.as_ref();
    Ok(damage
        .map(|damage| format!("damaged at byte {}: {}; what stands before it is used", damage.offset, damage.reason)))
}

/// Lines without a good one after which a file is taken for another sort of file.
const MOST_REFUSED: usize = 1000;

fn parsed(bytes: &[u8]) -> Option<Result<Line, LineError>> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.trim().is_empty() => None,
        // A mark of the byte order is no part of the first line.
        Ok(text) => Some(Line::parse(text.trim_start_matches('\u{feff}'))),
        Err(_) => Some(Err(LineError::NotText)),
    }
}

fn long() -> Option<Result<Line, LineError>> {
    Some(Err(LineError::Long(LONGEST_LINE)))
}

fn skip_line(source: &mut dyn BufRead) -> io::Result<()> {
    loop {
        let (used, done) = {
            let buffer = source.fill_buf()?;
            match memchr::memchr(b'\n', buffer) {
                Some(at) => (at + 1, true),
                None => (buffer.len(), buffer.is_empty()),
            }
        };
        source.consume(used);
        if done {
            return Ok(());
        }
    }
}

fn bytes_of_start(path: &Path) -> Vec<u8> {
    let mut start = Vec::new();
    if path.as_os_str() != "-"
        && let Ok(file) = File::open(path)
    {
        // Only what it looks like is asked here.
        let _ = file.take(64 * 1024).read_to_end(&mut start);
    }
    start
}

/// Says what a file seems to be instead.
fn another(path: &Path, start: &[u8], first: &LineError, expected: &'static str) -> InputError {
    let text = String::from_utf8_lossy(start);
    let first_line = text.lines().next().unwrap_or("");
    let what = if says_bill(&text) {
        "this is a bill; `divulge diff A B` compares two of them".to_owned()
    } else if first_line.contains(" HTTP/1.") {
        "this is a raw HTTP request; `divulge inspect --findings FILE` makes findings of it".to_owned()
    } else if text.trim_start().starts_with('{') && text.contains("\"log\"") && text.contains("\"entries\"") {
        "this looks like a HAR file; `divulge inspect --findings FILE` makes findings of it".to_owned()
    } else {
        format!("no findings are in it (line 1: {first})")
    };
    InputError::Sort { path: path.to_owned(), what, expected }
}

/// Whether the start of a file is that of a bill.
fn says_bill(start: &str) -> bool {
    start.contains("\"type\": \"bill\"") || start.contains("\"type\":\"bill\"")
}

/// The bill that a file is, or that its findings make.
pub(super) fn bill_of(path: &Path) -> Result<Bill, InputError> {
    const EXPECTED: &str = "a bill (`divulge report --format bill`), a session or findings as JSON Lines";
    let unread = |error| InputError::Read(path.to_owned(), error);
    if path.is_dir() {
        return Err(InputError::Sort { path: path.to_owned(), what: "a folder".to_owned(), expected: EXPECTED });
    }
    let mut start = [0; 512];
    let mut file = File::open(path).map_err(unread)?;
    let read = file.read(&mut start).map_err(unread)?;
    // A bill is one document over many lines, findings are one document a line.
    let head = String::from_utf8_lossy(&start[..read]);
    if ProbeResult::says_so(&head) {
        return probe_of(path)?.bill.ok_or_else(|| InputError::Sort {
            path: path.to_owned(),
            what: "the result of a probe without a bill".to_owned(),
            expected: EXPECTED,
        });
    }
    if says_bill(&head) {
        let text = std::fs::read_to_string(path).map_err(unread)?;
        return Bill::parse(&text).map_err(|error| InputError::Sort {
            path: path.to_owned(),
            what: error.to_string(),
            expected: EXPECTED,
        });
    }
    let mut bill = bill::Builder::default();
    let mut bad = 0;
    let torn = for_each_line(path, EXPECTED, |line| match line {
        Ok(line) => bill.add(&line),
        Err(_) => bad += 1,
    })?;
    if let Some(problem) = torn {
        eprintln!("divulge: {}", printable(&format!("{}: {problem}", path.display())));
    }
    if bad > 0 {
        let said = format!("{}: {bad} lines are not used; `divulge report` names them", path.display());
        eprintln!("divulge: {}", printable(&said));
    }
    Ok(bill.finish())
}

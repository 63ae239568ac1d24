//! `divulge diff A B`: two requests, bills or sets of findings side by side.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::ValueEnum;

use super::inspect::source::sources;
use super::report::{InputError, bill_of, write};
use super::{INCOMPLETE, WRONG_USAGE, fail, printable, start};
use crate::config::ColorOption;
use crate::engine::rules::RuleSet;
use crate::engine::{DecodeLimits, Engine, EngineParts, Facts, OnError, Policy};
use crate::probe::result::ProbeResult;
use crate::report::compare::{Look, bills, probes, requests};
use crate::session::Format as CaptureFormat;
use crate::session::raw::Captured;

/// Shows what differs between two sides: raw requests (`*.http`), HTTP archives, flow files of mitmproxy, packets, or folders of
/// repeats of these, from which is learned what varies by itself; bills (`divulge report --format bill`), results of two probes
/// (`divulge probe --out FILE`), sessions or findings.
///
/// Requests are shown as they are, credentials masked: they are captures of your own.
#[derive(clap::Args, Clone, Debug)]
#[command(
    after_help = "Examples:\n  divulge diff old.http new.http\n  divulge diff repeats-of-old/ repeats-of-new/\n  divulge diff --fail-on new bill-2.1.168.json bill-2.1.169.json\n  divulge diff --requests old.session new.session\n  divulge diff browser.har proxy.mitm\n  divulge diff three-runs-of-old/ three-runs-of-new/\n\nThe exit status is 0 also where something differs; 1 where --fail-on is reached, 2 for wrong usage."
)]
pub struct Args {
    /// A request, a folder of its repeats, a bill, the result of a probe, a session, or findings
    #[arg(value_name = "A")]
    a: PathBuf,
    /// The same sort of thing, later
    #[arg(value_name = "B")]
    b: PathBuf,
    /// Exit with 1 where B has what A has not
    #[arg(long, value_enum, value_name = "WHAT")]
    fail_on: Option<FailOn>,
    /// Of two sessions, compare the requests themselves rather than what was found in them
    #[arg(long)]
    requests: bool,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Show credentials in requests, for your own eyes
    #[arg(long)]
    reveal: bool,
    /// Colours in text
    #[arg(long, value_enum, default_value_t = ColorOption::Auto)]
    color: ColorOption,
    /// Rule packs beside the built-in ones, for the credentials they know; repeatable
    #[arg(long = "rules", value_name = "DIR", env = "DIVULGE_RULES", value_delimiter = ':')]
    rules: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum FailOn {
    /// A field, a kind of fact, a host or a request
    New,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Exit status where `--fail-on` is reached.
const REACHED: u8 = 1;
/// The longest file that is read as a request.
const LONGEST_REQUEST: u64 = 256 << 20;

pub fn run(args: Args) -> ExitCode {
    let (text, new) = match compared(&args) {
        Ok(compared) => compared,
        Err(Problem::Input(error)) => return fail(WRONG_USAGE, &error),
        Err(Problem::Start(error)) => return fail(WRONG_USAGE, &error),
    };
    if let Err(error) = write(None, &text) {
        return fail(INCOMPLETE, &error);
    }
    if new && args.fail_on == Some(FailOn::New) { ExitCode::from(REACHED) } else { ExitCode::SUCCESS }
}

enum Problem {
    Input(InputError),
    Start(start::StartError),
}

impl From<InputError> for Problem {
    fn from(error: InputError) -> Self {
        Problem::Input(error)
    }
}

/// The comparison as it is printed, and whether there is anything new.
fn compared(args: &Args) -> Result<(String, bool), Problem> {
    let look = Look { color: args.color.wanted(io::stdout().is_terminal()) };
    let sorts = (sort_of(&args.a)?, sort_of(&args.b)?);
    if sorts == (Sort::Probe, Sort::Probe) && !args.requests {
        let comparison = probes::Comparison::of(&probe(&args.a)?, &probe(&args.b)?);
        let text = match args.format {
            Format::Text => comparison.render(look),
            Format::Json => json(&comparison),
        };
        return Ok((text, comparison.has_new()));
    }
    // The bill in a result may be compared with another one.
    let as_requests = match sorts {
        (Sort::Session, Sort::Session) => args.requests,
        (Sort::Findings | Sort::Probe, Sort::Findings | Sort::Probe) if args.requests => return Err(unlike(args)),
        (Sort::Findings | Sort::Probe, Sort::Findings | Sort::Probe | Sort::Session)
        | (Sort::Session, Sort::Findings | Sort::Probe)
            if !args.requests =>
        {
            false
        }
        (Sort::Findings | Sort::Probe, _) | (_, Sort::Findings | Sort::Probe) => return Err(unlike(args)),
        _ => true,
    };
    if !as_requests {
        let comparison = bills::Comparison::of(&bill_of(&args.a)?, &bill_of(&args.b)?);
        let text = match args.format {
            Format::Text => comparison.render(look),
            Format::Json => json(&comparison),
        };
        return Ok((text, comparison.has_new()));
    }
    let finder = match args.reveal {
        true => None,
        false => Some(finder(start::engine::rules_of(&args.rules).map_err(Problem::Start)?)),
    };
    let finder = finder.as_ref();
    let comparison = match sorts {
        (Sort::Requests, Sort::Requests) => {
            requests::Comparison::of(&repeats(&args.a, finder)?, &repeats(&args.b, finder)?)
        }
        _ => requests::Comparison::of_captures(&captures(&args.a, finder)?, &captures(&args.b, finder)?),
    };
    let text = match args.format {
        Format::Text => comparison.render(look),
        Format::Json => json(&comparison),
    };
    Ok((text, comparison.has_new()))
}

fn json(comparison: &impl serde::Serialize) -> String {
    let text =
        serde_json::to_string_pretty(comparison).expect("a comparison holds nothing but strings, numbers and lists");
    crate::engine::line::spelled_out(text) + "\n"
}

fn unlike(args: &Args) -> Problem {
    let what = match args.requests {
        true => "--requests compares two sessions or captures".to_owned(),
        false => format!("not the same sort of thing as {}", args.a.display()),
    };
    let expected =
        "requests and captures (or folders of them), two results of probes, or bills, sessions and files of findings";
    Problem::Input(InputError::Sort { path: args.b.clone(), what, expected })
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Sort {
    /// A raw request, or a folder of its repeats.
    Requests,
    Session,
    Probe,
    /// A capture of another tool, or a folder of captures that repeat each other.
    Capture,
    /// A bill or findings. What is none of all these is read as findings, and refused there.
    Findings,
}

fn sort_of(path: &Path) -> Result<Sort, InputError> {
    let unread = |error| InputError::Read(path.to_owned(), error);
    if path.is_dir() {
        return Ok(if captures_in(path).map_err(unread)?.is_empty() { Sort::Requests } else { Sort::Capture });
    }
    let mut start = Vec::new();
    fs::File::open(path).map_err(unread)?.take(64 * 1024).read_to_end(&mut start).map_err(unread)?;
    if start.starts_with(b"divulge session ") {
        return Ok(Sort::Session);
    }
    if ProbeResult::says_so(&String::from_utf8_lossy(&start)) {
        return Ok(Sort::Probe);
    }
    if CaptureFormat::sniff(&start).is_some() {
        return Ok(Sort::Capture);
    }
    let line = start.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let spoken = memchr::memmem::find(line, b" HTTP/").is_some();
    let is_request = spoken && line.first().is_some_and(u8::is_ascii_alphabetic);
    Ok(if is_request { Sort::Requests } else { Sort::Findings })
}

fn probe(path: &Path) -> Result<ProbeResult, InputError> {
    super::report::probe_of(path)
}

/// Files of a folder that are captures of several requests each, sorted.
fn captures_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let known = ["session", "har", "mitm", "flow", "flows", "pcapng", "pcap"];
    let files = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
    let named = |path: &PathBuf| known.iter().any(|known| path.extension() == Some(OsStr::new(known)));
    let mut files: Vec<PathBuf> = files.into_iter().filter(named).collect();
    files.sort();
    Ok(files)
}

/// The captures of a side: a file, or the files of a folder in the order of their names.
fn captures(path: &Path, finder: Option<&Arc<Engine>>) -> Result<Vec<Vec<requests::Request>>, Problem> {
    if sort_of(path)? == Sort::Requests {
        return Ok(vec![repeats(path, finder)?]);
    }
    let files = match path.is_dir() {
        true => captures_in(path).map_err(|error| InputError::Read(path.to_owned(), error))?,
        false => vec![path.to_owned()],
    };
    files.iter().map(|file| captured(file, finder)).collect()
}

/// The requests of one capture, as far as their bytes are kept.
fn captured(path: &Path, finder: Option<&Arc<Engine>>) -> Result<Vec<requests::Request>, Problem> {
    let sources = sources(&[path.to_owned()]).map_err(Problem::Start)?;
    let mut all = Vec::new();
    let mut unread = 0;
    for source in &sources {
        if let Some(damage) = source.damage() {
            eprintln!("divulge: {}", printable(&format!("{}: {damage}", path.display())));
        }
        let Some(captured) = source.asked().ok().and_then(|exchange| Captured::of(&exchange).ok()) else {
            unread += 1;
            continue;
        };
        let secrets = finder.map(|engine| secrets(engine, &captured)).unwrap_or_default();
        all.push(requests::Request { name: source.id(), captured, message: None, secrets });
    }
    if unread > 0 {
        let said = format!("{}: {unread} requests are not kept and not compared", path.display());
        eprintln!("divulge: {}", printable(&said));
    }
    Ok(all)
}

/// The repeats of a request: a file, or the files of a folder in the order of their names.
fn repeats(path: &Path, finder: Option<&Arc<Engine>>) -> Result<Vec<requests::Request>, InputError> {
    let unread = |error| InputError::Read(path.to_owned(), error);
    if !path.is_dir() {
        return Ok(vec![request(path, finder)?]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(unread)? {
        let file = entry.map_err(unread)?.path();
        if file.extension() == Some(OsStr::new("http")) {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(InputError::Sort {
            path: path.to_owned(),
            what: "no captured requests (*.http) are there".to_owned(),
            expected: "repeats of the same request",
        });
    }
    files.iter().map(|file| request(file, finder)).collect()
}

fn request(path: &Path, finder: Option<&Arc<Engine>>) -> Result<requests::Request, InputError> {
    const EXPECTED: &str = "a raw HTTP request: request line, headers, empty line, body";
    let unread = |error| InputError::Read(path.to_owned(), error);
    let sort = |what: String| InputError::Sort { path: path.to_owned(), what, expected: EXPECTED };
    let mut raw = Vec::new();
    fs::File::open(path).map_err(unread)?.take(LONGEST_REQUEST + 1).read_to_end(&mut raw).map_err(unread)?;
    if raw.len() as u64 > LONGEST_REQUEST {
        return Err(sort(format!("longer than {LONGEST_REQUEST} bytes")));
    }
    let captured = Captured::read(raw.into()).map_err(|error| sort(error.to_string()))?;
    let secrets = finder.map(|engine| secrets(engine, &captured)).unwrap_or_default();
    Ok(requests::Request { name: path.display().to_string(), captured, message: None, secrets })
}

/// An engine that knows credentials and changes nothing.
fn finder(rules: RuleSet) -> Arc<Engine> {
    Arc::new(Engine::new(EngineParts {
        rules,
        facts: Facts::default(),
        policy: Policy::preset("audit").expect("the preset is built in"),
        // Nothing that it digests or draws is shown.
        digest_key: [0; 32],
        limits: DecodeLimits::default(),
        on_error: OnError::Open,
    }))
}

fn secrets(engine: &Arc<Engine>, captured: &Captured) -> Vec<String> {
    let mut flow = engine.open(String::new(), captured.request.clone());
    let findings = flow.audit(captured.part()).findings;
    let mut secrets: Vec<String> = findings
        .iter()
        .filter(|finding| finding.kind.starts_with("secret."))
        .flat_map(|finding| [Some(&finding.value), finding.observed.as_ref()])
        .flatten()
        .map(|value| value.to_string())
        .filter(|value| !value.is_empty())
        .collect();
    // A value that holds another is masked first, or what is left of it would show.
    secrets.sort_by_key(|value| std::cmp::Reverse(value.len()));
    secrets.dedup();
    secrets
}

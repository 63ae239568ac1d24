//! `divulge diff A B`: two requests, bills or sets of findings side by side.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::ValueEnum;

use super::report::{InputError, bill_of, write};
use super::{INCOMPLETE, WRONG_USAGE, fail, printable, start};
use crate::config::ColorOption;
use crate::engine::rules::RuleSet;
use crate::engine::{DecodeLimits, Engine, EngineParts, Facts, OnError, Policy, Request};
use crate::report::compare::{Look, bills, requests};
use crate::session::raw::Captured;
use crate::session::store::{SessionError, SessionReader};

/// Shows what differs between two sides: raw requests (`*.http`, or folders of repeats, from which is learned what varies by
/// itself), bills (`divulge report --format bill`), sessions or findings.
///
/// Requests are shown as they are, credentials masked: they are captures of your own.
#[derive(clap::Args, Clone, Debug)]
#[command(
    after_help = "Examples:\n  divulge diff old.http new.http\n  divulge diff repeats-of-old/ repeats-of-new/\n  divulge diff --fail-on new bill-2.1.168.json bill-2.1.169.json\n  divulge diff --requests old.session new.session\n\nThe exit status is 0 also where something differs; 1 where --fail-on is reached, 2 for wrong usage."
)]
pub struct Args {
    /// A request, a folder of its repeats, a bill, a session, or findings
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
    let as_requests = match sorts {
        (Sort::Requests, Sort::Requests) => true,
        (Sort::Session, Sort::Session) => args.requests,
        (Sort::Requests, _) | (_, Sort::Requests) => return Err(unlike(args)),
        _ if args.requests => return Err(unlike(args)),
        _ => false,
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
        false => Some(finder(start::rules_of(&args.rules).map_err(Problem::Start)?)),
    };
    let (a, b) = (side(&args.a, finder.as_ref())?, side(&args.b, finder.as_ref())?);
    let comparison = match sort_of(&args.a)? {
        Sort::Session => requests::Comparison::of_sessions(&a, &b),
        _ => requests::Comparison::of(&a, &b),
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
        true => "--requests compares two sessions".to_owned(),
        false => format!("not the same sort of thing as {}", args.a.display()),
    };
    let expected = "two requests (or folders of them), or two bills, sessions or files of findings";
    Problem::Input(InputError::Sort { path: args.b.clone(), what, expected })
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Sort {
    Requests,
    Session,
    /// A bill or findings. What is none of all these is read as findings, and refused there.
    Findings,
}

fn sort_of(path: &Path) -> Result<Sort, InputError> {
    if path.is_dir() {
        return Ok(Sort::Requests);
    }
    let unread = |error| InputError::Read(path.to_owned(), error);
    let mut start = Vec::new();
    fs::File::open(path).map_err(unread)?.take(4096).read_to_end(&mut start).map_err(unread)?;
    if start.starts_with(b"divulge session ") {
        return Ok(Sort::Session);
    }
    let line = start.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let spoken = memchr::memmem::find(line, b" HTTP/").is_some();
    let is_request = spoken && line.first().is_some_and(u8::is_ascii_alphabetic);
    Ok(if is_request { Sort::Requests } else { Sort::Findings })
}

/// The requests of a side: a file, or the files of a folder in the order of their names.
fn side(path: &Path, finder: Option<&Arc<Engine>>) -> Result<Vec<requests::Request>, InputError> {
    let unread = |error| InputError::Read(path.to_owned(), error);
    if sort_of(path)? == Sort::Session {
        return recorded(path, finder);
    }
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
    Ok(requests::Request { name: path.display().to_string(), captured, secrets })
}

/// The requests of a session, as far as their bytes are kept.
fn recorded(path: &Path, finder: Option<&Arc<Engine>>) -> Result<Vec<requests::Request>, InputError> {
    let sort = |error: SessionError| InputError::Sort {
        path: path.to_owned(),
        what: error.to_string(),
        expected: "a session, as `divulge run --record FILE` keeps it",
    };
    let file = fs::File::open(path).map_err(|error| InputError::Read(path.to_owned(), error))?;
    let mut session = SessionReader::open(file).map_err(sort)?;
    let mut all = Vec::new();
    let mut unread = 0;
    for index in 0..session.len() {
        let (exchange, _) = session.exchange(index).map_err(sort)?;
        let raw = [&exchange.request.head[..], &exchange.request.body[..]].concat();
        let Ok(mut captured) = Captured::read(raw.into()) else {
            unread += 1;
            continue;
        };
        // Where it went is known better than the head says.
        captured.request = Arc::new(Request {
            host: exchange.host.clone(),
            port: exchange.port,
            secure: exchange.secure,
            head: captured.request.head.clone(),
        });
        let secrets = finder.map(|engine| secrets(engine, &captured)).unwrap_or_default();
        all.push(requests::Request { name: exchange.id, captured, secrets });
    }
    let damage = session.scan.damage.as_ref().map(|damage| format!("damaged at byte {}", damage.offset));
    let left_out = (unread > 0).then(|| format!("{unread} requests are not kept and not compared"));
    for said in [damage, left_out].into_iter().flatten() {
        eprintln!("divulge: {}", printable(&format!("{}: {said}", path.display())));
    }
    Ok(all)
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

//! `divulge replay FILE`: sends a captured session again, or answers a live client from it.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::inspect::session::Session;
use super::inspect::source::{self, Loaded, Source, sources};
use super::rules::table;
use super::start::engine::{KeptPseudonyms, engine_with};
use super::start::upstreams::dialer;
use super::start::{self, Plan, StartError, Started};
use super::{ConfigFile, INCOMPLETE, WRONG_USAGE, fail, printable, start_log};
use crate::config::{DialPolicy, Intercept, Options};
use crate::engine::facts::Facts;
use crate::engine::{Engine, Outgoing, Part};
use crate::proxy::listener;
use crate::proxy::upstream::{Dialer, Offer, Origin, Version};
use crate::replay::socket::{Play, play};
use crate::replay::{Counts, Question, Recorded};
use crate::session::audit::audit;
use crate::session::flow::{Step, WebSocketMessage};
use crate::session::raw::Captured;
use crate::wire::head::ResponseHead;
use crate::wire::limits::Limits;
use crate::wire::websocket::Side;

/// Sends a captured session again, or answers a client with its recorded responses. Nothing is sent anywhere that
/// was not named: one of --to, --offline and --serve must be given.
#[derive(clap::Args, Clone, Debug)]
#[command(
    after_help = "Examples:\n  divulge replay --offline work.session                    (the built-in upstream answers)\n  divulge replay --to https://localhost:8443 --rate 5 work.session\n  divulge replay --to https://test.example.com --policy strict work.session\n  divulge replay --serve --listen 127.0.0.1:8080 work.session   (a proxy whose upstream is the recording)\n\nNeeds requests that are kept whole: raw files, or sessions recorded with --record-bodies full."
)]
pub struct Args {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    options: Options,
    /// Send every request to this origin
    #[arg(long, value_name = "URL", conflicts_with_all = ["serve", "offline"])]
    to: Option<String>,
    /// Answer a live client: an intercepting proxy whose upstream is the recording
    #[arg(long, conflicts_with = "offline")]
    serve: bool,
    /// Requests a second [default: one after the other, as soon as each is answered]
    #[arg(long, value_name = "N", conflicts_with = "serve")]
    rate: Option<f64>,
    /// With the pauses of the recording: between requests, and with --serve those of the answers
    #[arg(long, conflicts_with = "rate")]
    paced: bool,
    /// Captured requests, folders of them, or sessions
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// How long an answer over a WebSocket is waited for.
const PATIENCE: Duration = Duration::from_secs(15);

pub fn run(args: Args) -> ExitCode {
    let options = match args.options.clone().with_file(args.config.config.as_deref()) {
        Ok(options) => options,
        Err(error) => return fail(WRONG_USAGE, &error),
    };
    start_log(&options);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(INCOMPLETE, &error),
    };
    runtime.block_on(async {
        if args.serve {
            return serve(&args, &options).await;
        }
        let to = match args.to.as_deref().map(origin).transpose() {
            Ok(to) => to,
            Err(error) => return fail(WRONG_USAGE, &error),
        };
        if to.is_none() && !options.offline {
            let error = StartError::Wrong("replay: name where to: --to URL, --offline, or --serve".to_owned());
            return fail(WRONG_USAGE, &error);
        }
        let list = match whole(sources(&args.files)) {
            Ok(list) => list,
            Err(error) => return fail(WRONG_USAGE, &error),
        };
        match send(&args, &options, &list, to).await {
            Ok(code) => code,
            Err(error) => fail(WRONG_USAGE, &error),
        }
    })
}

/// The requests that are kept whole, if there are any.
fn whole(list: Result<Vec<Source>, StartError>) -> Result<Vec<Source>, StartError> {
    let (other, whole): (Vec<Source>, Vec<Source>) = list?.into_iter().partition(|source| source.kept().is_some());
    let Some((first, bodies)) = other.first().and_then(|source| Some((source, source.kept()?))) else {
        return Ok(whole);
    };
    let path = first.path().display();
    if whole.is_empty() {
        return Err(StartError::Wrong(format!(
            "{path}: was recorded with bodies {bodies}, which cannot be sent again; record with --record-bodies full for that"
        )));
    }
    // Those of a group that is recorded otherwise.
    eprintln!("divulge: {path}: {} requests were recorded with bodies {bodies} and are left out", other.len());
    Ok(whole)
}

fn origin(url: &str) -> Result<Origin, StartError> {
    let wrong =
        || StartError::Wrong(format!("--to: `{url}` is no origin; expected https://HOST[:PORT] or http://HOST[:PORT]"));
    let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
    let secure = match scheme {
        "https" => true,
        "http" => false,
        _ => return Err(wrong()),
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#', '@']) {
        return Err(wrong());
    }
    let (host, port) = crate::config::split_authority(authority).ok_or_else(wrong)?;
    Ok(Origin { host: host.into(), port: port.unwrap_or(if secure { 443 } else { 80 }), secure })
}

/// Sends one after the other and says what came of each.
async fn send(args: &Args, options: &Options, list: &[Source], to: Option<Origin>) -> Result<ExitCode, StartError> {
    // Facts matter only where a policy edits; then they must be named, since a capture is not always of this machine.
    let mut kept = KeptPseudonyms::default();
    let engine = match options.policy {
        None => None,
        Some(_) => {
            let facts = match &options.facts {
                Some(path) => Facts::parse(&path.display().to_string(), &start::read(path)?)
                    .map_err(|error| StartError::Wrong(error.to_string()))?,
                None => Facts::default(),
            };
            let digest_key = start::digest_key(&options.state_dir()?);
            Some(Arc::new(engine_with(options, digest_key, facts, &mut kept)?))
        }
    };
    let own = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let dialer = dialer(options, own, DialPolicy::parse(options, own)?, None)?;
    let rate = match args.rate {
        Some(rate) if rate > 0.0 && rate <= 100_000.0 => Some(Duration::from_secs_f64(1.0 / rate)),
        Some(rate) => return Err(StartError::Wrong(format!("--rate: {rate} is not a number of requests a second"))),
        None => None,
    };
    let began = Instant::now();
    let mut rows = vec![["FLOW", "REQUEST", "TO", "RECORDED", "NOW", "BYTES", "TIME"].map(str::to_owned)];
    let (mut first, mut failed) = (None, 0);
    for (number, source) in list.iter().enumerate() {
        let loaded = match loaded(source) {
            Ok(loaded) => loaded,
            Err(error) => {
                failed += 1;
                eprintln!("divulge: {}", printable(&format!("{}: {error}", source.name())));
                continue;
            }
        };
        let due = match (rate, loaded.0.started.filter(|_| args.paced)) {
            (Some(pause), _) => began + pause * number as u32,
            (None, Some(at)) => began + Duration::from_millis(at.saturating_sub(*first.get_or_insert(at))),
            (None, None) => began,
        };
        tokio::time::sleep_until(due.into()).await;
        let request = loaded.0.captured.request.clone();
        let target = to.clone().unwrap_or(Origin {
            host: request.host.as_str().into(),
            port: request.port,
            secure: request.secure,
        });
        let asked =
            format!("{} {}", request.head.method(), request.head.target().split('?').next().unwrap_or_default());
        let recorded = loaded.0.status.map_or("-".to_owned(), |status| status.to_string());
        let started = Instant::now();
        let edited = outgoing(engine.as_ref(), source, loaded, options.body_limit()?.0);
        let sent = match edited {
            None => Ok(("withheld".to_owned(), 0)),
            Some((raw, None)) => {
                exchange(&dialer, &target, raw).await.map(|(status, bytes)| (status.to_string(), bytes))
            }
            Some((raw, Some(script))) => converse(&dialer, &target, &raw, &script, args.paced).await,
        };
        let (now, bytes) = sent.unwrap_or_else(|error| {
            failed += 1;
            (error, 0)
        });
        let took = format!("{} ms", started.elapsed().as_millis());
        rows.push([source.id(), asked, target.host.to_string(), recorded, now, bytes.to_string(), took]);
        if io::stderr().is_terminal() && !options.quiet {
            eprint!("\r{} of {} sent", number + 1, list.len());
        }
    }
    if io::stderr().is_terminal() && !options.quiet {
        eprint!("\r");
    }
    kept.finish();
    if !options.quiet {
        let _ = io::stdout().lock().write_all(printable(&table(&rows)).as_bytes());
    }
    Ok(if failed > 0 { ExitCode::from(INCOMPLETE) } else { ExitCode::SUCCESS })
}

/// One request, and the messages that went over it afterwards in both directions.
type Recording = (Loaded, Vec<WebSocketMessage>);

fn loaded(source: &Source) -> Result<Recording, String> {
    let loaded = source.load()?;
    let spoken = loaded.steps.iter().any(|step| matches!(step, Step::Audit(Part::Message { .. })));
    let messages = if spoken { source.exchange()?.messages } else { Vec::new() };
    Ok((loaded, messages))
}

/// The request as the policy would send it, and the conversation behind it; none where it would not.
fn outgoing(
    engine: Option<&Arc<Engine>>,
    source: &Source,
    (loaded, mut script): Recording,
    limit: usize,
) -> Option<(Captured, Option<Vec<WebSocketMessage>>)> {
    let spoken = |script: Vec<WebSocketMessage>| (!script.is_empty()).then_some(script);
    let Some(engine) = engine else { return Some((loaded.captured, spoken(script))) };
    let mut flow = engine.open(source.id(), loaded.captured.request.clone());
    let audited = audit(&mut flow, loaded.steps, limit, engine.on_error());
    if matches!(audited.outgoing, Outgoing::Withheld(_)) {
        return None;
    }
    let mut edited = audited.messages.into_iter();
    for message in script.iter_mut().filter(|message| message.from_client) {
        message.data = edited.next()?;
    }
    let raw = loaded.captured.outgoing_with(&audited.outgoing, &audited.trailers)?;
    Captured::read(raw).ok().map(|captured| (captured, spoken(script)))
}

/// A WebSocket, opened and spoken over as in the recording: its status, and how many bytes came over it.
async fn converse(
    dialer: &Dialer,
    to: &Origin,
    captured: &Captured,
    script: &[WebSocketMessage],
    paced: bool,
) -> Result<(String, u64), String> {
    // The example of RFC 6455; it secures nothing.
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    let (target, host) = place(captured, to);
    let mut head = format!(
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
    )
    .into_bytes();
    let recorded = &captured.request.head;
    for field in recorded.fields() {
        let (name, value) = (recorded.bytes(field.name), recorded.bytes(field.value));
        let own = ["host", "content-length", "sec-websocket-version", "sec-websocket-key", "sec-websocket-extensions"];
        let known = own.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
        if !(known || is_hop(field.hop, name)) {
            head.extend([name, b": ", value, b"\r\n"].concat());
        }
    }
    head.extend_from_slice(b"\r\n");
    let dialled = dialer.dial(to, Offer::only(Version::Http1, false)).await.map_err(|error| error.to_string())?;
    let mut wire = dialled.wire;
    let text = |error: io::Error| error.to_string();
    wire.write_all(&head).await.map_err(text)?;
    wire.flush().await.map_err(text)?;
    let mut input = BytesMut::new();
    let answer = loop {
        let parsed = ResponseHead::parse(&mut input, "GET", true, &Limits::default());
        match parsed.map_err(|error| format!("no HTTP/1.1: {}", error.reason))? {
            Some(answer) if answer.status() == 101 || answer.status() >= 200 => break answer,
            Some(_) => {}
            None => {
                let read = tokio::time::timeout(PATIENCE, wire.read_buf(&mut input)).await;
                if read.map_err(|_| "no answer".to_owned())?.map_err(text)? == 0 {
                    return Err("the connection was closed without an answer".to_owned());
                }
            }
        }
    };
    if answer.status() != 101 {
        return Ok((answer.status().to_string(), 0));
    }
    let how = Play { side: Side::Client, paced, patience: PATIENCE };
    let played = play(wire, input, script, how).await.map_err(text)?;
    Ok((format!("101, {} sent, {} came", played.sent, played.received), played.bytes))
}

/// Where a request goes and what `host` says: they are the target's.
fn place<'a>(captured: &'a Captured, to: &Origin) -> (Cow<'a, str>, String) {
    let head = &captured.request.head;
    let target = head.path_and_query();
    let default = if to.secure { 443 } else { 80 };
    let host = if to.port == default { to.host.to_string() } else { format!("{}:{}", to.host, to.port) };
    (target, host)
}

/// Fields of one connection alone.
fn is_hop(hop: bool, name: &[u8]) -> bool {
    let own = ["connection", "upgrade", "expect", "transfer-encoding"];
    hop || name.to_ascii_lowercase().starts_with(b"proxy-")
        || own.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// One request on a connection of its own: its status, and how many bytes its answer has.
async fn exchange(dialer: &Dialer, to: &Origin, captured: Captured) -> Result<(u16, u64), String> {
    let head = &captured.request.head;
    let (target, host) = place(&captured, to);
    let mut request = http::Request::builder().method(head.method()).uri(&*target).header("host", host);
    for field in head.fields() {
        let (name, value) = (head.bytes(field.name), head.bytes(field.value));
        let own = ["host", "content-length"].iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
        if !own && !is_hop(field.hop, name) {
            request = request.header(name, value);
        }
    }
    let request = request.body(Full::<Bytes>::new(captured.body().clone())).map_err(|error| error.to_string())?;
    let dialled = dialer.dial(to, Offer::only(Version::Http1, false)).await.map_err(|error| error.to_string())?;
    let io = TokioIo::new(dialled.wire);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(io).await.map_err(|error| format!("no HTTP/1.1: {error}"))?;
    let driver = tokio::spawn(connection);
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let mut body = response.into_body();
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| format!("{status}, then {error}"))?;
            bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        Ok((status, bytes))
    };
    let answer = answer.await;
    driver.abort();
    answer
}

/// What the recordings ask and answer. Of one session it is in its index, so that starting takes no time the next time.
fn recorded(args: &Args) -> Result<Recorded, StartError> {
    let (list, mut index) = match &args.files[..] {
        [path] => match Session::indexed(path)? {
            Some((session, index)) => (source::recorded(&Arc::new(session)), Some(index)),
            None => (sources(&args.files)?, None),
        },
        _ => (sources(&args.files)?, None),
    };
    let list = whole(Ok(list))?;
    let known = index.as_ref().and_then(|index| index.questions().ok()).flatten();
    let questions = known.unwrap_or_else(|| {
        let asked = list.iter().enumerate();
        let asked: Vec<Question> = asked.filter_map(|(at, source)| Question::of(at, &source.asked().ok()?)).collect();
        if let Some(Err(error)) = index.as_mut().map(|index| index.note_questions(&asked)) {
            tracing::debug!(%error, "what is asked is not kept in the index");
        }
        asked
    });
    let load = move |at: usize| list.get(at).and_then(|source: &Source| source.exchange().ok());
    Ok(Recorded::of(questions, load, args.paced))
}

/// An intercepting proxy whose upstream is the recording.
async fn serve(args: &Args, options: &Options) -> ExitCode {
    let recorded = match recorded(args) {
        Ok(recorded) => Arc::new(recorded),
        Err(error) => return fail(WRONG_USAGE, &error),
    };
    let state = match options.state_dir() {
        Ok(state) => state,
        Err(error) => return fail(WRONG_USAGE, &error),
    };
    let authority = match super::serve::authority(options, &state) {
        Ok(authority) => authority,
        Err(error) => return fail(WRONG_USAGE, error.as_ref()),
    };
    let plan = Plan {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
        intercept: Intercept::All,
        tally: false,
        keep: false,
        gateway: false,
        recorded: Some(recorded.clone()),
        inventory: None,
    };
    let Started { shared, listener, address, keeper, kept, .. } = match start::start(options, plan, authority) {
        Ok(started) => started,
        Err(error) => return fail(WRONG_USAGE, &error),
    };
    let accepting = tokio::spawn(listener::run(shared.clone(), listener, std::future::pending()));
    println!("listening on {address}");
    let _ = io::stdout().flush();
    super::serve::stopped().await;
    accepting.abort();
    kept.finish();
    let written = keeper.finish();
    let Counts { same, alike, next, missing } = recorded.counted();
    if !options.quiet {
        let answered = same + alike + next;
        eprintln!(
            "divulge: {answered} requests answered from the recording ({same} by the same body, {alike} by the same but for \
             ids and numbers, {next} as the next to their endpoint), {missing} not in it"
        );
    }
    if written { ExitCode::SUCCESS } else { ExitCode::from(INCOMPLETE) }
}

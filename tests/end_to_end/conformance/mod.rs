//! HTTP/2 section by section, through a tunnel: what a server owes a client, and with which code it refuses what no
//! client may send (RFC 9113, RFC 7541). The cases and what satisfies them are those of the usual conformance suites.

use crate::common::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PADDED, PING, PREFACE, PRIORITY,
    PUSH_PROMISE, RST_STREAM, Raw, SETTINGS, WHOLE, WINDOW_UPDATE, WITH_PRIORITY, block, frame, string,
};
use crate::common::h2_upstream::Http2Upstream;
use crate::common::{Authority, Divulge, HOST, Route, soon, within};

mod frames;
mod messages;

type Field = (&'static str, &'static str);

const METHOD: Field = (":method", "GET");
const POST: Field = (":method", "POST");
const SCHEME: Field = (":scheme", "https");
const AUTHORITY: Field = (":authority", HOST);
const PATH: Field = (":path", "/");

// Codes of errors (RFC 9113, section 7).
const PROTOCOL: u32 = 1;
const FLOW: u32 = 3;
const CLOSED: u32 = 5;
const SIZE: u32 = 6;
const REFUSED: u32 = 7;
const COMPRESSION: u32 = 9;

/// What satisfies a case.
#[derive(Clone, Copy, Debug)]
enum Due {
    /// The connection ends, with one of these codes or without a word.
    Connection(&'static [u32]),
    /// The stream or the connection ends with one of these codes.
    Stream(&'static [u32]),
    /// A whole answer on stream 1.
    Answer,
    /// DATA of stream 1, first of so many octets.
    Data(usize),
    /// The acknowledgement of SETTINGS.
    SettingsAck,
    /// The answer to a PING with this payload.
    Pong(&'static [u8; 8]),
    /// The connection goes on: a PING is answered.
    Goes,
}

/// One case: what is sent, after an initial exchange unless `bare`, and in parts between which the other side works
/// off what came before.
struct Case {
    section: &'static str,
    name: &'static str,
    parts: Vec<Vec<u8>>,
    due: Due,
}

fn case(section: &'static str, name: &'static str, bytes: Vec<u8>, due: Due) -> Case {
    Case { section, name, parts: vec![bytes], due }
}

fn parted(section: &'static str, name: &'static str, parts: Vec<Vec<u8>>, due: Due) -> Case {
    Case { section, name, parts, due }
}

fn head(flags: u8, stream: u32, fields: &[Field]) -> Vec<u8> {
    frame(HEADERS, flags, stream, &block(fields))
}

fn get(stream: u32) -> Vec<u8> {
    head(WHOLE, stream, &[METHOD, SCHEME, AUTHORITY, PATH])
}

/// A POST whose body is still to come.
fn open(stream: u32) -> Vec<u8> {
    head(END_HEADERS, stream, &[POST, SCHEME, AUTHORITY, PATH])
}

fn with(fields: &[Field]) -> Vec<u8> {
    head(WHOLE, 1, &[&[METHOD, SCHEME, AUTHORITY, PATH], fields].concat())
}

fn data(flags: u8, stream: u32, bytes: &[u8]) -> Vec<u8> {
    frame(DATA, flags, stream, bytes)
}

fn settings(list: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> =
        list.iter().flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
    frame(SETTINGS, 0, 0, &payload)
}

fn window(stream: u32, by: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
}

fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

fn priority(stream: u32, on: u32) -> Vec<u8> {
    frame(PRIORITY, 0, stream, &[&on.to_be_bytes()[..], &[255]].concat())
}

fn all(parts: &[Vec<u8>]) -> Vec<u8> {
    parts.concat()
}

/// A good block of a GET, as bytes.
fn good() -> Vec<u8> {
    block(&[METHOD, SCHEME, AUTHORITY, PATH])
}

/// Whether what came satisfies `due`. None: more may come that does.
fn satisfied(due: Due, frames: &[Frame], ended: bool) -> Option<bool> {
    let sets = |code: u32, codes: &[u32]| codes.contains(&code);
    let pong =
        |payload: &[u8]| frames.iter().any(|got| got.kind == PING && got.flags & ACK != 0 && got.payload == payload);
    match due {
        Due::Connection(codes) => match frames.iter().find(|got| got.kind == GOAWAY) {
            // The library names PROTOCOL_ERROR where the standard has a finer word, and ends the connection all the same.
            Some(goaway) => (sets(goaway.code(), codes) || ended).then_some(true),
            None => ended.then_some(true),
        },
        Due::Stream(codes) => {
            match frames.iter().find(|got| matches!(got.kind, GOAWAY | RST_STREAM) && got.code() != 0) {
                Some(refusal) => (sets(refusal.code(), codes) || ended).then_some(true),
                None => ended.then_some(true),
            }
        }
        Due::Answer => {
            let refused = frames.iter().any(|got| matches!(got.kind, GOAWAY | RST_STREAM) && got.code() != 0);
            let answered = frames.iter().any(|got| got.kind == HEADERS && got.stream == 1 && got.status() == 200);
            let whole = frames
                .iter()
                .any(|got| matches!(got.kind, HEADERS | DATA) && got.stream == 1 && got.flags & END_STREAM != 0);
            if answered && whole { Some(true) } else { (refused || ended).then_some(false) }
        }
        Due::Data(octets) => {
            let came = frames.iter().any(|got| got.kind == DATA && got.stream == 1 && got.payload.len() == octets);
            if came { Some(true) } else { ended.then_some(false) }
        }
        Due::SettingsAck => match frames.iter().filter(|got| got.kind == SETTINGS && got.flags & ACK != 0).count() {
            2.. => Some(true),
            _ => ended.then_some(false),
        },
        Due::Pong(payload) if pong(payload) => Some(true),
        Due::Goes if pong(b"goes on?") => Some(true),
        Due::Pong(_) | Due::Goes => ended.then_some(false),
    }
}

async fn run(route: &Route, case: &Case, bare: bool) -> Option<String> {
    let wire = route.tls(&["h2"]).await;
    let mut client = if bare { Raw::silent(wire) } else { Raw::client(wire).await };
    let (last, first) = case.parts.split_last().expect("a case has a part");
    let mut frames = Vec::new();
    for part in first {
        client.send(part).await;
        // Until the answer is there, as far as the window lets it come.
        let asks = memchr::memmem::find(part, HOST.as_bytes()).is_some();
        if asks && memchr::memmem::find(part, &settings(&[(4, 0)])).is_none() {
            let answered = async {
                while let Some(got) = client.frame().await {
                    let came = got.kind == DATA || got.kind == HEADERS && got.flags & END_STREAM != 0;
                    frames.push(got);
                    if came {
                        break;
                    }
                }
            };
            soon("an answer", answered).await;
        }
    }
    client.send(last).await;
    if matches!(case.due, Due::Goes) {
        client.send(frame(PING, 0, 0, b"goes on?")).await;
    }
    let mut ended = false;
    let verdict = tokio::time::timeout(std::time::Duration::from_secs(5), async {
        loop {
            if let Some(verdict) = satisfied(case.due, &frames, ended) {
                return verdict;
            }
            match client.frame().await {
                Some(got) => frames.push(got),
                None => ended = true,
            }
        }
    })
    .await;
    let came = || {
        frames
            .iter()
            .map(|got| format!("{}:{}:{:x}:{}", got.kind, got.stream, got.flags, got.payload.len()))
            .collect::<Vec<_>>()
            .join(" ")
    };
    match verdict {
        Ok(true) => None,
        Ok(false) => {
            Some(format!("{} {}: not {:?}, but {} (ended: {ended})", case.section, case.name, case.due, came()))
        }
        Err(_) => Some(format!("{} {}: no {:?} within 5 s, but {}", case.section, case.name, case.due, came())),
    }
}

#[test]
fn http2_is_spoken_as_its_standard_says() {
    within(std::time::Duration::from_secs(90), async {
        let authority = Authority::new();
        let upstream = Http2Upstream::scripted(&authority, |mut stream| async move {
            if stream.read().await.complete {
                let text: &[u8] = if stream.seen.method == "HEAD" { b"" } else { b"some text of some length" };
                stream.ok(&[("content-type", "text/plain")], text, None).await;
            }
        })
        .await;
        let mut divulge = Divulge::before(&authority, upstream.address).await;
        let route = Route::through(&divulge);
        let cases: Vec<Case> = [frames::streams(), frames::frames(), messages::messages(), messages::compression()]
            .into_iter()
            .flatten()
            .collect();
        let mut wrong = Vec::new();
        for case in &cases {
            wrong.extend(run(&route, case, false).await);
        }
        for case in &messages::prefaces() {
            wrong.extend(run(&route, case, true).await);
        }
        let count = cases.len() + messages::prefaces().len();
        assert!(wrong.is_empty(), "{} of {count} failed:\n{}", wrong.len(), wrong.join("\n"));
        divulge.assert_well();
    });
}

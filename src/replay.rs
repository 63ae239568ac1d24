//! A recorded session as an upstream: a live client is answered with what the provider answered then.
//!
//! ```text
//! request -> method, host, path -> the recorded one with the same body
//!                               -> else with the same body, ids and numbers aside
//!                               -> else the next one not answered yet -> else the last one again
//! ```
//!
//! Bodies are read when they are asked for. Never: a connection out. What was not recorded is answered 404 and counted.

mod pace;
mod question;
pub mod socket;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::pace::{Paced, head_due};
pub use self::question::Question;
use self::question::{WEBSOCKET, asked, digest, path_of};
use self::socket::{Play, play};
use crate::offline::{Version, websocket};
use crate::session::flow::{Exchange, Message};
use crate::session::http::uncoded;
use crate::wire::websocket::Side;

/// How long a client may think before it says what it said in the recording.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Method, host and path without its query.
type Key = (String, String, String);
type Load = Box<dyn Fn(usize) -> Option<Exchange> + Send + Sync>;

/// Answers by what was asked.
pub struct Recorded {
    answers: Mutex<HashMap<Key, Vec<Answer>>>,
    load: Load,
    paced: bool,
    counts: [AtomicU64; 4],
}

/// How a request was found in the recording.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Found {
    /// With the same body.
    Same,
    /// With the same body but for ids and numbers.
    Alike,
    /// As the next one, or the last, to the same endpoint.
    Next,
    Not,
}

impl Found {
    fn name(self) -> &'static str {
        match self {
            Found::Same => "the same body",
            Found::Alike => "the same body but for ids and numbers",
            Found::Next => "the next to its endpoint",
            Found::Not => "not in the recording",
        }
    }
}

/// Requests by how they were found in the recording.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Counts {
    pub same: u64,
    pub alike: u64,
    pub next: u64,
    pub missing: u64,
}

struct Answer {
    exactly: [u8; 32],
    /// Ids and numbers aside.
    asked: [u8; 32],
    index: usize,
    used: bool,
}

impl Recorded {
    /// `load` reads the exchange of that number; `paced`: answers come as they came then.
    pub fn of(
        questions: impl IntoIterator<Item = Question>,
        load: impl Fn(usize) -> Option<Exchange> + Send + Sync + 'static,
        paced: bool,
    ) -> Self {
        let mut answers: HashMap<Key, Vec<Answer>> = HashMap::new();
        for Question { index, method, host, path, exactly, asked } in questions {
            answers.entry((method, host, path)).or_default().push(Answer { exactly, asked, index, used: false });
        }
        let (answers, load) = (Mutex::new(answers), Box::new(load));
        Self { answers, load, paced, counts: Default::default() }
    }

    pub fn counted(&self) -> Counts {
        let [same, alike, next, missing] = [0, 1, 2, 3].map(|at| self.counts[at].load(Ordering::Relaxed));
        Counts { same, alike, next, missing }
    }

    /// The recorded exchange that answers this request. `encoding`: its content coding.
    fn matching(
        &self,
        method: &str,
        host: &str,
        target: &str,
        body: &Bytes,
        encoding: Option<&[u8]>,
    ) -> Option<Exchange> {
        let key = (method.to_owned(), host.to_owned(), path_of(target));
        let (exactly, asked) = (digest(body), asked(&uncoded(body, encoding)));
        let (index, found) = self.find(&key, exactly, asked).unzip();
        let exchange = index.and_then(|index| (self.load)(index));
        let found = found.filter(|_| exchange.is_some()).unwrap_or(Found::Not);
        self.counts[found as usize].fetch_add(1, Ordering::Relaxed);
        match found {
            Found::Not => tracing::warn!(method, host, path = key.2, "{}", found.name()),
            _ => tracing::debug!(method, host, path = key.2, "answered: {}", found.name()),
        }
        exchange
    }

    /// Where in the recording the request stands, and how that is known.
    fn find(&self, key: &Key, exactly: [u8; 32], asked: [u8; 32]) -> Option<(usize, Found)> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let list = answers.get_mut(key)?;
        let first = |fits: &dyn Fn(&Answer) -> bool| list.iter().position(fits);
        let (at, found) = None
            .or_else(|| Some((first(&|answer| !answer.used && answer.exactly == exactly)?, Found::Same)))
            .or_else(|| Some((first(&|answer| answer.exactly == exactly)?, Found::Same)))
            .or_else(|| Some((first(&|answer| !answer.used && answer.asked == asked)?, Found::Alike)))
            .or_else(|| Some((first(&|answer| answer.asked == asked)?, Found::Alike)))
            .or_else(|| Some((first(&|answer| !answer.used)?, Found::Next)))
            .or_else(|| Some((list.len().checked_sub(1)?, Found::Next)))?;
        let answer = list.get_mut(at)?;
        answer.used = true;
        Some((answer.index, found))
    }

    async fn answer(
        &self,
        method: &str,
        host: &str,
        target: &str,
        body: &Bytes,
        encoding: Option<&[u8]>,
    ) -> Response<Paced> {
        let asked = Instant::now();
        let answer = self.matching(method, host, target, body, encoding).and_then(|exchange| exchange.response);
        let Some(answer) = answer else { return not_recorded() };
        let body = match self.paced {
            true => {
                tokio::time::sleep_until(head_due(&answer, asked)).await;
                Paced::as_recorded(&answer, asked)
            }
            false => Paced::at_once(answer.body.clone()),
        };
        let mut response = Response::new(body);
        let status = answer.status().and_then(|status| StatusCode::from_u16(status).ok());
        *response.status_mut() = status.unwrap_or(StatusCode::BAD_GATEWAY);
        *response.headers_mut() = fields(&answer);
        response
    }

    /// Accepts a WebSocket and plays the server of the recorded one in `sockets`.
    fn accept(
        self: &Arc<Self>,
        request: &mut Request<Incoming>,
        host: &str,
        sockets: &Mutex<JoinSet<()>>,
    ) -> Response<Paced> {
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str()).to_owned();
        let (status, headers) = websocket::handshake(request);
        let mut response = Response::new(Paced::at_once(Bytes::new()));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        if status == StatusCode::UPGRADE_REQUIRED {
            return response;
        }
        let Some(exchange) = self.matching(WEBSOCKET, host, &target, &Bytes::new(), None) else {
            return not_recorded();
        };
        if let Some(answer) = &exchange.response {
            // What it agreed on is agreed on anew, and without compression.
            let own = ["sec-websocket-accept", "sec-websocket-extensions"];
            for (name, value) in fields(answer).iter().filter(|(name, _)| !own.contains(&name.as_str())) {
                response.headers_mut().append(name.clone(), value.clone());
            }
        }
        let upgraded = hyper::upgrade::on(request);
        let how = Play { side: Side::Server, paced: self.paced, patience: PATIENCE };
        sockets.lock().unwrap_or_else(PoisonError::into_inner).spawn(async move {
            if let Ok(upgraded) = upgraded.await {
                // The peer going away ends the socket like any other close.
                let _ = play(TokioIo::new(upgraded), BytesMut::new(), &exchange.messages, how).await;
            }
        });
        response
    }
}

/// The fields of a recorded answer. Framing is the connection's own.
fn fields(answer: &Message) -> HeaderMap {
    let framing = ["connection", "content-length", "keep-alive", "transfer-encoding", "trailer", "upgrade"];
    let mut headers = HeaderMap::new();
    for (name, value) in answer.fields() {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
            && !framing.contains(&name.as_str())
        {
            headers.append(name, value);
        }
    }
    headers
}

fn not_recorded() -> Response<Paced> {
    let text = r#"{"error":{"type":"not_found_error","message":"divulge replay: no such request was recorded"}}"#;
    let mut response = Response::new(Paced::at_once(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    response.headers_mut().insert("x-divulge-error", HeaderValue::from_static("not-recorded"));
    response
}

/// Serves one in-memory upstream connection until it ends. `host` is the name that the client asked for.
pub async fn serve<IO>(io: IO, host: String, version: Version, recorded: Arc<Recorded>) -> hyper::Result<()>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let host: Arc<str> = host.into();
    // They end with the connection: dropping the set stops them.
    let sockets: Arc<Mutex<JoinSet<()>>> = Arc::default();
    let upgraded = sockets.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (host, recorded, sockets) = (host.clone(), recorded.clone(), sockets.clone());
        async move {
            if websocket::wanted(&request) {
                return Ok::<_, Infallible>(recorded.accept(&mut request, &host, &sockets));
            }
            let (head, body) = request.into_parts();
            // A client that goes away ends the connection; there is nobody to answer then.
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
            let encoding = head.headers.get("content-encoding").map(HeaderValue::as_bytes);
            Ok(recorded.answer(head.method.as_str(), &host, target, &body, encoding).await)
        }
    });
    let io = TokioIo::new(io);
    let served = match version {
        Version::Http1 => {
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.max_headers(256).serve_connection(io, service).with_upgrades().await
        }
        Version::Http2 => {
            let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            builder.enable_connect_protocol().max_header_list_size(256 * 1024).serve_connection(io, service).await
        }
    };
    // Over HTTP/1.1 the socket has the connection from here on.
    let mut left = std::mem::take(&mut *upgraded.lock().unwrap_or_else(PoisonError::into_inner));
    while left.join_next().await.is_some() {}
    served
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::{Counts, Question, Recorded};
    use crate::session::flow::{Exchange, Message};

    fn exchange(target: &str, body: &str, said: &str) -> Exchange {
        let head = format!("POST {target} HTTP/1.1\r\nHost: api.example.com\r\n\r\n");
        Exchange {
            host: "api.example.com".into(),
            port: 443,
            secure: true,
            request: Message { head: head.into(), body: body.to_owned().into(), ..Message::default() },
            response: Some(Message {
                head: "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nX-A: b\r\n\r\n".into(),
                body: said.to_owned().into(),
                ..Message::default()
            }),
            ..Exchange::default()
        }
    }

    #[tokio::test]
    async fn the_same_question_gets_its_answer_and_others_the_next() {
        let list = [exchange("/v1/a?x=1", "one 17", "A"), exchange("/v1/a", "two", "B"), exchange("/v1/b", "", "C")];
        let questions: Vec<Question> =
            list.iter().enumerate().filter_map(|(index, exchange)| Question::of(index, exchange)).collect();
        let recorded = Recorded::of(questions, move |index| list.get(index).cloned(), false);
        for (target, body, expected) in [
            ("/v1/a?x=2", "two", "B"),
            // Numbers aside.
            ("/v1/a", "one 99", "A"),
            // The last one again.
            ("/v1/a", "never asked", "B"),
        ] {
            let response = recorded.answer("POST", "api.example.com", target, &body.into(), None).await;
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), expected);
        }
        let response = recorded.answer("POST", "api.example.com", "/v1/b", &"".into(), None).await;
        assert_eq!(response.headers().len(), 1, "framing is the connection's own");
        assert_eq!(recorded.answer("POST", "api.example.com", "/v1/c", &"".into(), None).await.status(), 404);
        assert_eq!(recorded.counted(), Counts { same: 2, alike: 1, next: 1, missing: 1 });
    }
}

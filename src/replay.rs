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
    answered: AtomicU64,
    missing: AtomicU64,
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
        Self { answers, load, paced, answered: AtomicU64::new(0), missing: AtomicU64::new(0) }
    }

    /// Requests that were answered, and those that were not in the recording.
    pub fn counted(&self) -> (u64, u64) {
        (self.answered.load(Ordering::Relaxed), self.missing.load(Ordering::Relaxed))
    }

    /// The recorded exchange that answers this request.
    fn matching(&self, method: &str, host: &str, target: &str, body: &[u8]) -> Option<Exchange> {
        let key = (method.to_owned(), host.to_owned(), path_of(target));
        let index = {
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            let (exactly, asked) = (digest(body), asked(body));
            let list = answers.get_mut(&key).map(Vec::as_mut_slice).unwrap_or_default();
            let at = (list.iter().position(|answer| !answer.used && answer.exactly == exactly))
                .or_else(|| list.iter().position(|answer| answer.exactly == exactly))
                .or_else(|| list.iter().position(|answer| !answer.used && answer.asked == asked))
                .or_else(|| list.iter().position(|answer| answer.asked == asked))
                .or_else(|| list.iter().position(|answer| !answer.used))
                .or(list.len().checked_sub(1));
            at.and_then(|at| list.get_mut(at)).map(|answer| {
                answer.used = true;
                answer.index
            })
        };
        let exchange = index.and_then(|index| (self.load)(index));
        match exchange {
            Some(_) => self.answered.fetch_add(1, Ordering::Relaxed),
            None => {
                tracing::warn!(method, host, path = key.2, "not in the recording");
                self.missing.fetch_add(1, Ordering::Relaxed)
            }
        };
        exchange
    }

    async fn answer(&self, method: &str, host: &str, target: &str, body: &[u8]) -> Response<Paced> {
        let asked = Instant::now();
        let answer = self.matching(method, host, target, body).and_then(|exchange| exchange.response);
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
        let Some(exchange) = self.matching(WEBSOCKET, host, &target, &[]) else { return not_recorded() };
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
            Ok(recorded.answer(head.method.as_str(), &host, target, &body).await)
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

    use super::{Question, Recorded};
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
            let response = recorded.answer("POST", "api.example.com", target, body.as_bytes()).await;
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), expected);
        }
        let response = recorded.answer("POST", "api.example.com", "/v1/b", b"").await;
        assert_eq!(response.headers().len(), 1, "framing is the connection's own");
        assert_eq!(recorded.answer("POST", "api.example.com", "/v1/c", b"").await.status(), 404);
        assert_eq!(recorded.counted(), (4, 1));
    }
}

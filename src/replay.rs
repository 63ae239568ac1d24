//! A recorded session as an upstream: a live client is answered with what the provider answered then.
//!
//! ```text
//! request -> method, host, path -> the recorded one with the same body
//!                               -> else with the same body, ids and numbers aside
//!                               -> else the next one not answered yet -> else the last one again
//! ```
//!
//! Never: a connection out. What was not recorded is answered 404 and counted.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::offline::Version;
use crate::session::flow::Exchange;

/// Method, host and path without its query.
type Key = (String, String, String);

/// Answers by what was asked.
#[derive(Default)]
pub struct Recorded {
    answers: Mutex<HashMap<Key, Vec<Answer>>>,
    answered: AtomicU64,
    missing: AtomicU64,
}

struct Answer {
    exactly: [u8; 32],
    /// Ids and numbers aside.
    asked: [u8; 32],
    status: u16,
    fields: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
    used: bool,
}

impl Recorded {
    /// Of exchanges in their order. Those without an answer are left out.
    pub fn of(exchanges: impl Iterator<Item = Exchange>) -> Self {
        let mut answers: HashMap<Key, Vec<Answer>> = HashMap::new();
        for exchange in exchanges {
            let Ok(request) = exchange.request() else { continue };
            let Some(response) = &exchange.response else { continue };
            let Some(status) = response.status().filter(|status| *status >= 200) else { continue };
            let fields = response.fields().filter_map(|(name, value)| {
                let name = HeaderName::from_bytes(name).ok()?;
                // Framing is the connection's own.
                let framing = ["connection", "content-length", "keep-alive", "transfer-encoding", "trailer", "upgrade"];
                (!framing.contains(&name.as_str())).then_some((name, HeaderValue::from_bytes(value).ok()?))
            });
            let answer = Answer {
                exactly: Sha256::digest(&exchange.request.body).into(),
                asked: asked(&exchange.request.body),
                status,
                fields: fields.collect(),
                body: response.body.clone(),
                used: false,
            };
            let path = path_of(request.head.target());
            answers.entry((request.head.method().to_owned(), exchange.host.clone(), path)).or_default().push(answer);
        }
        Self { answers: Mutex::new(answers), ..Self::default() }
    }

    /// Requests that were answered, and those that were not in the recording.
    pub fn counted(&self) -> (u64, u64) {
        (self.answered.load(Ordering::Relaxed), self.missing.load(Ordering::Relaxed))
    }

    fn answer(&self, method: &str, host: &str, target: &str, body: &[u8]) -> Response<Full<Bytes>> {
        let key = (method.to_owned(), host.to_owned(), path_of(target));
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = asked(body);
        let list = answers.get_mut(&key).map(Vec::as_mut_slice).unwrap_or_default();
        let exactly: [u8; 32] = Sha256::digest(body).into();
        let at = (list.iter().position(|answer| !answer.used && answer.exactly == exactly))
            .or_else(|| list.iter().position(|answer| answer.exactly == exactly))
            .or_else(|| list.iter().position(|answer| !answer.used && answer.asked == asked))
            .or_else(|| list.iter().position(|answer| answer.asked == asked))
            .or_else(|| list.iter().position(|answer| !answer.used))
            .or(list.len().checked_sub(1));
        let Some(answer) = at.and_then(|at| list.get_mut(at)) else {
            self.missing.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(method, host, path = key.2, "not in the recording");
            let text =
                r#"{"error":{"type":"not_found_error","message":"divulge replay: no such request was recorded"}}"#;
            let mut response = Response::new(Full::from(text));
            *response.status_mut() = StatusCode::NOT_FOUND;
            response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
            response.headers_mut().insert("x-divulge-error", HeaderValue::from_static("not-recorded"));
            return response;
        };
        answer.used = true;
        self.answered.fetch_add(1, Ordering::Relaxed);
        let mut response = Response::new(Full::new(answer.body.clone()));
        *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
        let mut headers = HeaderMap::with_capacity(answer.fields.len());
        for (name, value) in &answer.fields {
            headers.append(name.clone(), value.clone());
        }
        *response.headers_mut() = headers;
        response
    }
}

fn path_of(target: &str) -> String {
    let target = target.split_once("://").map_or(target, |(_, rest)| rest.find('/').map_or("/", |at| &rest[at..]));
    target.split(['?', '#']).next().unwrap_or(target).to_owned()
}

/// What is asked, ids and numbers aside: they differ from run to run.
fn asked(body: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut at = 0;
    while at < body.len() {
        let run = body[at..].iter().take_while(|byte| byte.is_ascii_hexdigit() || **byte == b'-').count();
        let digits = body[at..at + run].iter().filter(|byte| byte.is_ascii_digit()).count();
        match run {
            0 => {
                hash.update(&body[at..=at]);
                at += 1;
            }
            run if digits > 0 && (digits == run || run >= 8) => {
                hash.update(b"#");
                at += run;
            }
            run => {
                hash.update(&body[at..at + run]);
                at += run;
            }
        }
    }
    hash.finalize().into()
}

/// Serves one in-memory upstream connection until it ends. `host` is the name that the client asked for.
pub async fn serve<IO>(io: IO, host: String, version: Version, recorded: Arc<Recorded>) -> hyper::Result<()>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let host: Arc<str> = host.into();
    let service = service_fn(move |request: Request<Incoming>| {
        let (host, recorded) = (host.clone(), recorded.clone());
        async move {
            let (head, body) = request.into_parts();
            // A client that goes away ends the connection; there is nobody to answer then.
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
            Ok::<_, Infallible>(recorded.answer(head.method.as_str(), &host, target, &body))
        }
    });
    let io = TokioIo::new(io);
    match version {
        Version::Http1 => {
            hyper::server::conn::http1::Builder::new().max_headers(256).serve_connection(io, service).await
        }
        Version::Http2 => {
            let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            builder.max_header_list_size(256 * 1024).serve_connection(io, service).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Recorded, asked};
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

    #[test]
    fn the_same_question_gets_its_answer_and_others_the_next() {
        let list = [exchange("/v1/a?x=1", "one 17", "A"), exchange("/v1/a", "two", "B"), exchange("/v1/b", "", "C")];
        let recorded = Recorded::of(list.into_iter());
        let ask = |target: &str, body: &str| {
            let response = recorded.answer("POST", "api.example.com", target, body.as_bytes());
            (response.status().as_u16(), format!("{:?}", response.body()), response.headers().len())
        };
        assert!(ask("/v1/a?x=2", "two").1.contains("\"B\""));
        assert!(ask("/v1/a", "one 99").1.contains("\"A\""), "numbers aside");
        assert!(ask("/v1/a", "never asked").1.contains("\"B\""), "the last one again");
        assert_eq!(ask("/v1/b", "").2, 1, "framing is the connection's own");
        assert_eq!(ask("/v1/c", "").0, 404);
        assert_eq!(recorded.counted(), (4, 1));
    }

    #[test]
    fn ids_and_numbers_make_no_other_question() {
        let one = asked(br#"{"id":"9f86d081-884c-4d65-9a2f-eaa0c55ad015","n":17,"text":"decade"}"#);
        assert_eq!(one, asked(br#"{"id":"1d0c65fb-1111-4d65-9a2f-eaa0c55ad015","n":4,"text":"decade"}"#));
        assert_ne!(one, asked(br#"{"id":"1d0c65fb-1111-4d65-9a2f-eaa0c55ad015","n":4,"text":"facade"}"#));
    }
}

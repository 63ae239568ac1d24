//! The built-in upstream behind `--offline`: answers as the provider would, and nothing leaves.
//!
//! ```text
//! request -> drained (request, skim) -> routed (route) -> answered (anthropic, chat, responses, gemini, service)
//!                                              \-> upgraded (websocket) -> responses
//! ```
//!
//! Routing goes by path first, because a client given another base URL speaks the same API to another
//! host. Answers are short and fixed and say that they are divulge's; of the request only the name of
//! the model comes back. A schema the request asks for is filled generically.
//!
//! Never: a connection out, a file, the clock, or a request held in memory (bodies of any size are
//! skimmed as they pass). Nothing is granted either: token endpoints answer "try again later", so that
//! a client keeps the credentials it has, and a conditional request is told that nothing changed, so
//! that it keeps what the real provider told it.
#![forbid(unsafe_code)]

mod answer;
mod anthropic;
mod chat;
mod gemini;
mod models;
mod request;
mod responses;
mod route;
mod schema;
mod service;
mod skim;
pub(crate) mod websocket;

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use http::{Method, Request};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tracing::debug;

use answer::Reply;
use request::{drain, skimmed};
use route::{Api, Route, route};

pub use answer::GREETING;

/// Which HTTP the connection carries. There is no TLS and no negotiation here: the caller mirrors what its client chose.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Version {
    Http1,
    Http2,
}

/// The connection could not be served to its end: the peer broke HTTP or went away.
#[derive(Debug, thiserror::Error)]
#[error("the offline upstream could not finish the connection")]
pub struct OfflineError(#[source] hyper::Error);

/// Most header fields of a request; assistants send some 30.
const HEADERS: usize = 256;
/// Most bytes of a header list over HTTP/2. Codex alone puts a JSON document into one field.
const HEADER_LIST: u32 = 256 * 1024;

/// The WebSockets of one connection. They end with it: dropping the set stops them.
type Sockets = Arc<Mutex<JoinSet<()>>>;

/// Serves one in-memory upstream connection until it ends. `host` is the name the client asked for.
///
/// Ends with an error only where the peer broke HTTP; a bad request is answered in the provider's shape.
pub async fn serve<IO>(io: IO, host: String, version: Version) -> Result<(), OfflineError>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let host: Arc<str> = host.into();
    let sockets = Sockets::default();
    let upgraded = sockets.clone();
    let service = service_fn(move |request| {
        let (host, sockets) = (host.clone(), sockets.clone());
        async move {
            let head = request.method() == Method::HEAD;
            let reply = answer(request, &host, &sockets).await;
            let reply = if head { answer::head_of(reply) } else { reply };
            debug!(%host, status = reply.status().as_u16(), "answered offline");
            Ok::<_, Infallible>(reply)
        }
    });
    let io = TokioIo::new(io);
    let served = match version {
        Version::Http1 => {
            hyper::server::conn::http1::Builder::new()
                .max_headers(HEADERS)
                .serve_connection(io, service)
                .with_upgrades()
                .await
        }
        Version::Http2 => {
            hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .enable_connect_protocol()
                .max_header_list_size(HEADER_LIST)
                .serve_connection(io, service)
                .await
        }
    };
    // Over HTTP/1.1 the socket has the connection from here on, and serving goes on until it closes.
    let mut left = std::mem::take(&mut *upgraded.lock().unwrap_or_else(PoisonError::into_inner));
    while left.join_next().await.is_some() {}
    served.map_err(OfflineError)
}

async fn answer(mut request: Request<Incoming>, host: &str, sockets: &Sockets) -> Reply {
    let route = route(&request, host);
    if websocket::wanted(&request) {
        return match route {
            Route::Model(Api::Responses) => websocket::accept(&mut request, sockets),
            _ => service::not_found(request.headers()),
        };
    }
    let (head, body) = request.into_parts();
    match route {
        // An open stream may be waiting for this answer before it ends.
        Route::Open => service::open_stream(&head),
        Route::Service => {
            drain(body).await;
            service::reply(&head, host)
        }
        Route::Models(family) => {
            drain(body).await;
            models::reply(&head, family)
        }
        Route::Model(api) => match skimmed(&head, body).await {
            Ok(asked) => api.reply(&asked),
            Err(fault) => api.family().error(fault.status(), &fault.to_string()),
        },
    }
}

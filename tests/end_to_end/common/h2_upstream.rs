//! A recording upstream for HTTP/2, on the `h2` crate.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::h2_client::{Fields, list, next_data, push};
use super::{Authority, HOST, soon};

/// One request as it arrived.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Seen {
    pub connection: usize,
    pub method: String,
    pub scheme: String,
    pub authority: String,
    pub path: String,
    pub protocol: Option<String>,
    pub fields: Fields,
    pub body: Vec<u8>,
    pub trailers: Fields,
    /// The request ended as its sender meant it.
    pub complete: bool,
}

/// One stream, in the hands of a script.
pub struct Stream {
    pub seen: Seen,
    pub body: RecvStream,
    pub respond: SendResponse<Bytes>,
    log: Log,
}

#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<Seen>>>);

impl Log {
    pub fn requests(&self) -> Vec<Seen> {
        self.0.lock().unwrap().clone()
    }

    pub async fn one(&self) -> Seen {
        soon("a request at the HTTP/2 upstream", async {
            loop {
                if let Some(seen) = self.requests().into_iter().next() {
                    return seen;
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        })
        .await
    }
}

impl Stream {
    /// Reads the request to its end and records it.
    pub async fn read(&mut self) -> Seen {
        let mut seen = self.seen.clone();
        seen.complete = true;
        while let Some(data) = next_data(&mut self.body).await {
            match data {
                Ok(data) => seen.body.extend_from_slice(&data),
                Err(_) => {
                    seen.complete = false;
                    break;
                }
            }
        }
        if seen.complete {
            seen.trailers = self.body.trailers().await.ok().flatten().as_ref().map(list).unwrap_or_default();
        }
        self.log.0.lock().unwrap().push(seen.clone());
        seen
    }

    /// Starts a 200 response with these fields.
    pub fn start(&mut self, fields: &[(&str, &str)]) -> SendStream<Bytes> {
        let mut response = Response::builder().status(200);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        self.respond.send_response(response.body(()).unwrap(), false).expect("the stream is open")
    }

    /// A whole 200 response.
    pub async fn ok(&mut self, fields: &[(&str, &str)], body: &[u8], trailers: Option<HeaderMap>) {
        let mut send = self.start(fields);
        let _ = push(&mut send, Bytes::copy_from_slice(body), trailers.is_none()).await;
        if let Some(trailers) = trailers {
            let _ = send.send_trailers(trailers);
        }
    }

    /// Waits until the other side resets the stream or its connection goes.
    pub async fn reset(send: &mut SendStream<Bytes>) -> String {
        match poll_fn(|context| send.poll_reset(context)).await {
            Ok(reason) => format!("{reason:?}"),
            Err(error) => error.to_string(),
        }
    }
}

type Script = Arc<dyn Fn(Stream) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// A listening HTTP/2 upstream; it ends with the test.
pub struct Http2Upstream {
    pub address: SocketAddr,
    pub log: Log,
    _tasks: JoinSet<()>,
}

impl Http2Upstream {
    /// Records, and answers 200 with the body `ok`.
    pub async fn recording(authority: &Authority) -> Self {
        Self::scripted(authority, |mut stream| async move {
            stream.read().await;
            stream.ok(&[("content-type", "text/plain")], b"ok", None).await;
        })
        .await
    }

    /// Runs `script` on every stream. Extended CONNECT is allowed.
    pub async fn scripted<F, S>(authority: &Authority, script: S) -> Self
    where
        S: Fn(Stream) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let script: Script = Arc::new(move |stream| Box::pin(script(stream)));
        let tls = TlsAcceptor::from(authority.server(&[HOST], &["h2"]));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let log = Log::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, tls, log.clone(), script));
        Self { address, log, _tasks: tasks }
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, log: Log, script: Script) {
    let mut connections = JoinSet::new();
    let mut count = 0;
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).unwrap();
        connections.spawn(serve(stream, tls.clone(), log.clone(), script.clone(), count));
        count += 1;
    }
}

async fn serve(stream: TcpStream, tls: TlsAcceptor, log: Log, script: Script, connection: usize) {
    let Ok(stream) = tls.accept(stream).await else { return };
    if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return;
    }
    let handshake = h2::server::Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(1 << 22)
        .max_header_list_size(1 << 20)
        .enable_connect_protocol()
        .handshake::<_, Bytes>(stream);
    let Ok(mut h2) = handshake.await else { return };
    let mut streams = JoinSet::new();
    while let Some(Ok((request, respond))) = h2.accept().await {
        let (head, body) = request.into_parts();
        let seen = describe(&Request::from_parts(head, ()), connection);
        streams.spawn(script(Stream { seen, body, respond, log: log.clone() }));
    }
    // The scripts of a connection that has gone are told so by their streams.
    while streams.join_next().await.is_some() {}
}

fn describe(request: &Request<()>, connection: usize) -> Seen {
    let uri = request.uri();
    Seen {
        connection,
        method: request.method().to_string(),
        scheme: uri.scheme_str().unwrap_or_default().to_owned(),
        authority: uri.authority().map(ToString::to_string).unwrap_or_default(),
        path: uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        protocol: request.extensions().get::<h2::ext::Protocol>().map(|name| name.as_str().to_owned()),
        fields: list(request.headers()),
        ..Seen::default()
    }
}

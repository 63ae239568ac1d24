//! A recording HTTP/1.1 upstream that is no HTTP library: it keeps what it was sent, byte for byte, and
//! answers whatever bytes the test hands it.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::server::Acceptor;

use super::wire::{Body, Wire, start_line};
use super::{Authority, HOST, soon};

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Which connection brought it, counted from 0.
    pub connection: usize,
    pub head: Vec<u8>,
    pub body: Body,
}

impl Seen {
    pub fn start_line(&self) -> String {
        start_line(&self.head)
    }

    pub fn field(&self, name: &str) -> Option<String> {
        super::wire::field(&self.head, name)
    }
}

/// What a client's hello asked for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Hello {
    pub sni: Option<String>,
    pub alpn: Vec<String>,
}

#[derive(Default)]
struct State {
    seen: Vec<Seen>,
    hellos: Vec<Hello>,
    failed_handshakes: usize,
    connections: usize,
}

/// What the upstream has recorded so far.
#[derive(Clone, Default)]
pub struct Log {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

impl Log {
    pub fn note(&self, seen: Seen) {
        self.change(|state| state.seen.push(seen));
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state.lock().unwrap());
        self.changed.notify_waiters();
        result
    }

    pub fn requests(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }

    pub fn hellos(&self) -> Vec<Hello> {
        self.state.lock().unwrap().hellos.clone()
    }

    pub fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }

    /// Waits until `count` requests are recorded.
    pub async fn wait(&self, count: usize) -> Vec<Seen> {
        soon(&format!("{count} requests at the upstream"), async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                let seen = self.requests();
                if seen.len() >= count {
                    return seen;
                }
                changed.await;
            }
        })
        .await
    }

    /// The only request there was.
    pub async fn one(&self) -> Seen {
        let mut seen = self.wait(1).await;
        assert_eq!(seen.len(), 1, "the upstream saw more than one request");
        seen.remove(0)
    }
}

/// One accepted connection, in the hands of a script.
pub struct Served {
    pub wire: Wire,
    pub log: Log,
    /// Counted from 0.
    pub connection: usize,
}

impl Served {
    /// The next request, recorded; none at the end of the connection.
    pub async fn request(&mut self) -> Option<Seen> {
        let head = self.wire.head().await?;
        let body = self.wire.body(&head, true).await;
        let seen = Seen { connection: self.connection, head, body };
        self.log.note(seen.clone());
        Some(seen)
    }

    /// Waits until the other side has gone, however it went.
    pub async fn gone(&mut self) {
        while self.wire.fill().await {}
    }
}

type Script = Arc<dyn Fn(Served) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// A listening upstream; it ends with the test.
pub struct Upstream {
    pub address: SocketAddr,
    pub log: Log,
    _tasks: JoinSet<()>,
}

impl Upstream {
    /// Answers every request with what `answer` makes of it, keeping the connection.
    pub async fn answering(
        authority: &Authority,
        answer: impl Fn(&Seen) -> Vec<u8> + Send + Sync + Clone + 'static,
    ) -> Self {
        Self::scripted(authority, &["http/1.1"], move |mut served| {
            let answer = answer.clone();
            async move {
                while let Some(seen) = served.request().await {
                    if !seen.body.complete || !served.wire.send(answer(&seen)).await {
                        return;
                    }
                }
            }
        })
        .await
    }

    /// Records, and answers 200 with the body `ok`.
    pub async fn recording(authority: &Authority) -> Self {
        Self::answering(authority, |_| ok("ok")).await
    }

    /// Answers 200 and forgets: for tests that last.
    pub async fn recording_nothing(authority: &Authority) -> Self {
        Self::scripted(authority, &["http/1.1"], |mut served| async move {
            while let Some(head) = served.wire.head().await {
                if !served.wire.body(&head, true).await.complete || !served.wire.send(ok("ok")).await {
                    return;
                }
            }
        })
        .await
    }

    /// Runs `script` on every connection to [`HOST`].
    pub async fn scripted<F, S>(authority: &Authority, alpn: &[&str], script: S) -> Self
    where
        S: Fn(Served) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start(Some(authority.server(&[HOST, "*.example.com"], alpn)), script).await
    }

    /// Runs `script` on every connection, without TLS.
    pub async fn plain<F, S>(script: S) -> Self
    where
        S: Fn(Served) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start(None, script).await
    }

    /// Runs `script` on every connection, behind `tls` if there is any.
    pub async fn start<F, S>(tls: Option<Arc<ServerConfig>>, script: S) -> Self
    where
        S: Fn(Served) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let script: Script = Arc::new(move |served| Box::pin(script(served)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let log = Log::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, tls, log.clone(), script));
        Self { address, log, _tasks: tasks }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

async fn accept(listener: TcpListener, tls: Option<Arc<ServerConfig>>, log: Log, script: Script) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, tls.clone(), log.clone(), script.clone()));
    }
}

async fn serve(stream: TcpStream, tls: Option<Arc<ServerConfig>>, log: Log, script: Script) {
    stream.set_nodelay(true).unwrap();
    let connection = log.change(|state| {
        state.connections += 1;
        state.connections - 1
    });
    let (wire, _hello) = match tls {
        None => (Wire::new(stream, None), Hello::default()),
        Some(config) => {
            let Ok(start) = LazyConfigAcceptor::new(Acceptor::default(), stream).await else {
                return log.change(|state| state.failed_handshakes += 1);
            };
            let hello = {
                let hello = start.client_hello();
                let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
                Hello {
                    sni: hello.server_name().map(str::to_owned),
                    alpn: hello.alpn().map(|list| list.map(text).collect()).unwrap_or_default(),
                }
            };
            log.change(|state| state.hellos.push(hello.clone()));
            let Ok(stream) = start.into_stream(config).await else {
                return log.change(|state| state.failed_handshakes += 1);
            };
            let alpn = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
            (Wire::new(stream, alpn.as_deref()), hello)
        }
    };
    script(Served { wire, log, connection }).await;
}

/// A plain 200 with `body`.
pub fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

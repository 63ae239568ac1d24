//! Lines into a table of PostgreSQL, each once: its id is the key.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{self, ChannelBinding, MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, Socket};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::gateway::sinks::SinkError;

const TABLE: &str = "\
CREATE TABLE IF NOT EXISTS divulge_lines (
    id         text PRIMARY KEY,
    time       timestamptz NOT NULL,
    type       text NOT NULL,
    session    text NOT NULL,
    flow       text NOT NULL,
    host       text NOT NULL,
    client     text,
    user_id    text,
    user_group text,
    kind       text,
    severity   text,
    action     text,
    verdict    text,
    line       jsonb NOT NULL
);
CREATE INDEX IF NOT EXISTS divulge_lines_time ON divulge_lines (time);
CREATE INDEX IF NOT EXISTS divulge_lines_kind ON divulge_lines (kind, time) WHERE kind IS NOT NULL;";

const INSERT: &str = "\
INSERT INTO divulge_lines
SELECT l->>'id', (l->>'time')::timestamptz, l->>'type', l->>'session', l->>'flow', l->>'host', l->>'client', l->>'user', l->>'group',
       l->>'kind', l->>'severity', l->>'action', l->>'verdict', l
FROM (SELECT text::jsonb AS l FROM unnest($1::text[]) AS text) AS lines
ON CONFLICT (id) DO NOTHING";

pub struct Database {
    url: String,
    tls: Arc<rustls::ClientConfig>,
    client: Option<Client>,
}

impl Database {
    pub fn new(url: String, tls: Arc<rustls::ClientConfig>) -> Self {
        Self { url, tls, client: None }
    }

    pub async fn send(&mut self, lines: &[String]) -> Result<(), SinkError> {
        let client = match self.client.take().filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => self.connect().await?,
        };
        client.execute(INSERT, &[&lines]).await.map_err(told)?;
        self.client = Some(client);
        Ok(())
    }

    async fn connect(&self) -> Result<Client, SinkError> {
        let config: tokio_postgres::Config = self.url.parse().map_err(told)?;
        let client = if config.get_ssl_mode() == SslMode::Disable {
            let (client, connection) = config.connect(tokio_postgres::NoTls).await.map_err(told)?;
            tokio::spawn(connection);
            client
        } else {
            let tls = Tls(self.tls.clone());
            let (client, connection) = config.connect(tls).await.map_err(told)?;
            tokio::spawn(connection);
            client
        };
        client.batch_execute(TABLE).await.map_err(told)?;
        Ok(client)
    }
}

/// TLS as to sinks of other kinds.
struct Tls(Arc<rustls::ClientConfig>);

struct Handshake(TlsConnector, ServerName<'static>);

struct Encrypted(TlsStream<Socket>);

impl MakeTlsConnect<Socket> for Tls {
    type Stream = Encrypted;
    type TlsConnect = Handshake;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<Handshake> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        Ok(Handshake(TlsConnector::from(self.0.clone()), name))
    }
}

impl TlsConnect<Socket> for Handshake {
    type Stream = Encrypted;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move { Ok(Encrypted(self.0.connect(self.1, socket).await?)) })
    }
}

impl tls::TlsStream for Encrypted {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// With its cause: the error itself only says `db error`. The URL, which may hold a password, is in neither.
fn told(error: tokio_postgres::Error) -> SinkError {
    match std::error::Error::source(&error) {
        Some(cause) => SinkError::of(format_args!("{error}: {cause}")),
        None => SinkError::of(error),
    }
}

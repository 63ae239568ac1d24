//! Lines posted to a URL: as they are (`application/x-ndjson`), or as OTLP logs in JSON, and counters as OTLP metrics. An answer
//! of 2xx is the receipt.

use std::path::Path;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::address::HttpAddress;
use super::{SinkError, SinkParts, otlp};
use crate::config::SettingsError;

/// Of an answer more is not read.
const ANSWER: usize = 64 * 1024;

pub struct Poster {
    to: HttpAddress,
    parts: SinkParts,
    token: Option<String>,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Poster {
    pub fn new(to: HttpAddress, parts: SinkParts) -> Result<Self, SettingsError> {
        let token = to.token_file.as_deref().map(token).transpose()?;
        Ok(Self { to, parts, token, connection: None })
    }

    pub async fn send(&mut self, lines: &[String]) -> Result<(), SinkError> {
        let (kind, body) = if self.to.otlp {
            ("application/json", otlp::logs(lines, &self.parts).to_string())
        } else {
            ("application/x-ndjson", lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect())
        };
        self.post(&self.to.path.clone(), kind, body).await
    }

    /// A body to `path` of the same server, over the connection that is held if there is one.
    pub async fn post(&mut self, path: &str, kind: &str, body: String) -> Result<(), SinkError> {
        let mut request = Request::post(path)
            .header(header::HOST, format!("{}:{}", self.to.host, self.to.port))
            .header(header::CONTENT_TYPE, kind)
            .header(header::USER_AGENT, concat!("divulge/", env!("CARGO_PKG_VERSION")));
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(SinkError::of)?;
        let mut held = self.connection.take();
        if let Some(connection) = &mut held
            && connection.ready().await.is_err()
        {
            held = None;
        }
        let mut connection = match held {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let answer = connection.send_request(request).await.map_err(SinkError::of)?;
        let status = answer.status();
        // Read to its end, so that the connection serves again.
        let read = Limited::new(answer.into_body(), ANSWER).collect().await;
        if !status.is_success() {
            return Err(SinkError(format!("it answers {status}")));
        }
        if read.is_ok() {
            self.connection = Some(connection);
        }
        Ok(())
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, SinkError> {
        let tcp = TcpStream::connect((self.to.host.as_str(), self.to.port)).await.map_err(SinkError::of)?;
        if !self.to.secure {
            let (sender, connection) = handshake(TokioIo::new(tcp)).await.map_err(SinkError::of)?;
            tokio::spawn(connection);
            return Ok(sender);
        }
        let name = ServerName::try_from(self.to.host.clone()).map_err(SinkError::of)?;
        let tls = TlsConnector::from(self.parts.tls.clone()).connect(name, tcp).await.map_err(SinkError::of)?;
        let (sender, connection) = handshake(TokioIo::new(tls)).await.map_err(SinkError::of)?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

fn token(path: &Path) -> Result<String, SettingsError> {
    let wrong = |why: String| SettingsError::option("--sink", format_args!("token-file: {}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| wrong(format!("cannot be read: {e}")))?;
    let token = text.trim();
    let fine = !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
    if fine { Ok(token.to_owned()) } else { Err(wrong("holds no token".into())) }
}

//! Syslog: RFC 5424 in datagrams (RFC 5426), over TCP (RFC 6587, counted) or TLS (RFC 5425).
//!
//! Syslog has no answers: what a connection took counts as delivered, and a batch during which it broke is sent again.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio_rustls::TlsConnector;

use super::SinkParts;
use super::address::{SyslogAddress, SyslogTransport};

trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

enum Link {
    Datagrams(UdpSocket),
    Stream(Box<dyn Stream>),
}

pub struct Syslog {
    to: SyslogAddress,
    parts: SinkParts,
    link: Option<Link>,
}

/// log audit (13) as facility.
const FACILITY: u8 = 13;
/// The number of private enterprises that documentation uses (RFC 5612).
const ENTERPRISE: u32 = 32473;

impl Syslog {
    pub fn new(to: SyslogAddress, parts: SinkParts) -> Self {
        Self { to, parts, link: None }
    }

    pub async fn send(&mut self, lines: &[String]) -> io::Result<()> {
        let mut link = match self.link.take() {
            Some(link) => link,
            None => self.connect().await?,
        };
        match &mut link {
            Link::Datagrams(socket) => {
                for line in lines {
                    socket.send(message(line, &self.parts.host).as_bytes()).await?;
                }
            }
            Link::Stream(stream) => {
                is_open(stream).await?;
                let mut text = String::new();
                for line in lines {
                    let message = message(line, &self.parts.host);
                    // Writing to a string cannot fail.
                    let _ = write!(text, "{} {message}", message.len());
                }
                stream.write_all(text.as_bytes()).await?;
                stream.flush().await?;
            }
        }
        self.link = Some(link);
        Ok(())
    }

    async fn connect(&self) -> io::Result<Link> {
        let to = (self.to.host.as_str(), self.to.port);
        if self.to.transport == SyslogTransport::Udp {
            let address = tokio::net::lookup_host(to).await?.next().ok_or(io::ErrorKind::NotFound)?;
            let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).await?;
            socket.connect(address).await?;
            return Ok(Link::Datagrams(socket));
        }
        let tcp = TcpStream::connect(to).await?;
        if self.to.transport == SyslogTransport::Tcp {
            return Ok(Link::Stream(Box::new(tcp)));
        }
        let name = ServerName::try_from(self.to.host.clone()).map_err(io::Error::other)?;
        let connector = TlsConnector::from(Arc::clone(&self.parts.tls));
        Ok(Link::Stream(Box::new(connector.connect(name, tcp).await?)))
    }
}

/// A server that has closed is noticed before it is written to: what it never read would count as delivered.
async fn is_open(stream: &mut Box<dyn Stream>) -> io::Result<()> {
    let mut byte = [0];
    tokio::select! {
        biased;
        read = stream.read(&mut byte) => match read? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        },
        () = std::future::ready(()) => Ok(()),
    }
}

/// One line as a message, with what filters ask for as structured data.
fn message(line: &str, host: &str) -> String {
    let value: Value = serde_json::from_str(line).unwrap_or_default();
    let text = |key: &str| value[key].as_str().unwrap_or_default();
    let severity = match text("severity") {
        "high" => 4,
        "medium" => 5,
        _ => 6,
    };
    let what = if value["type"] == "flow" { "FLOW" } else { "FINDING" };
    let mut data = format!("[divulge@{ENTERPRISE}");
    for key in ["id", "kind", "severity", "action", "host", "user", "group"] {
        if !text(key).is_empty() {
            let _ = write!(data, " {key}=\"{}\"", escaped(text(key)));
        }
    }
    let time = if text("time").is_empty() { "-" } else { text("time") };
    let priority = FACILITY * 8 + severity;
    format!("<{priority}>1 {time} {host} divulge {} {what} {data}] \u{feff}{line}", std::process::id())
}

/// RFC 5424, 6.3.3.
fn escaped(value: &str) -> String {
    value.chars().flat_map(|c| matches!(c, '"' | '\\' | ']').then_some('\\').into_iter().chain([c])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_the_form_of_rfc_5424() {
        let line = r#"{"id":"s-1","time":"2026-11-22T12:00:00.000Z","kind":"a]\"b","severity":"high"}"#;
        let message = message(line, "gw1");
        let head = "<108>1 2026-11-22T12:00:00.000Z gw1 divulge ";
        assert!(message.starts_with(head), "{message}");
        assert!(message.contains(r#" FINDING [divulge@32473 id="s-1" kind="a\]\"b" severity="high"] "#), "{message}");
        assert!(message.ends_with(&format!("\u{feff}{line}")));
    }
}

//! What goes wrong on the way, and whose fault it is: that decides the answer.

use std::fmt;
use std::io;

/// Why an upstream could not be reached or trusted. The word goes into `x-divulge-error`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UpstreamFault {
    Dns,
    Connect,
    Timeout,
    /// The address may not be dialled.
    Denied,
    /// The certificate or handshake was refused.
    Tls,
    /// The parent proxy failed.
    Proxy,
    /// The connection ended before a response.
    Closed,
    /// The response was malformed.
    Malformed,
}

impl UpstreamFault {
    pub fn word(self) -> &'static str {
        match self {
            UpstreamFault::Dns => "dns",
            UpstreamFault::Connect => "connect",
            UpstreamFault::Timeout => "timeout",
            UpstreamFault::Denied => "denied",
            UpstreamFault::Tls => "tls",
            UpstreamFault::Proxy => "parent-proxy",
            UpstreamFault::Closed => "closed",
            UpstreamFault::Malformed => "malformed-response",
        }
    }

    pub fn status(self) -> u16 {
        502
    }
}

#[derive(Clone, Debug)]
pub struct UpstreamError {
    pub fault: UpstreamFault,
    pub message: String,
}

impl UpstreamError {
    pub fn new(fault: UpstreamFault, message: impl Into<String>) -> Self {
        Self { fault, message: message.into() }
    }

    /// A failed handshake: an untrusted certificate says why.
    pub fn tls(error: io::Error) -> Self {
        use rustls::{CertificateError, Error};
        let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        let message = match cause {
            Some(Error::InvalidCertificate(CertificateError::Other(refusal))) => {
                format!("the upstream's certificate is refused: {refusal}")
            }
            _ => format!("TLS with the upstream failed: {error}"),
        };
        Self::new(UpstreamFault::Tls, message)
    }
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for UpstreamError {}

/// How an exchange ended before its end.
#[derive(Debug)]
pub enum ExchangeError {
    /// The client broke off or broke the protocol: nobody is left to answer.
    Client(io::Error),
    /// Answered already, or to be answered with this status; the connection closes.
    Refuse { status: u16, reason: &'static str },
    /// The upstream failed before the response head reached the client.
    Upstream(UpstreamError),
    /// Something failed after the response had begun: cut without a clean end.
    Cut(&'static str),
}

/// The answer to a request that got no upstream.
pub fn error_body(word: &str, message: &str) -> Vec<u8> {
    let body = serde_json::json!({
        "error": { "type": "divulge_error", "code": word, "message": format!("divulge: {message}") }
    });
    let mut bytes = body.to_string().into_bytes();
    bytes.push(b'\n');
    bytes
}

//! One client connection: plain proxy requests, then CONNECT, then what the tunnel turns out to carry.
//!
//! Each phase is a task of its own that ends when the next begins: the memory of a handshake is not kept
//! through an idle hour.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use rustls::ServerConfig;
use rustls::server::Acceptor;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;

use super::error::UpstreamError;
use super::half::Half;
use super::http1::{self, Http1, Intended};
use super::http2;
use super::stream::{ClientSocket, Wire};
use super::tally::Became;
use super::upstream::{Dialled, Offer, Origin, Version};
use super::{Decision, Peer, Shared, tunnel};
use crate::engine::{OnError, Severity};
use crate::metrics::Side;
use crate::suites;

/// A connection that was redirected to us: like a tunnel to where it was meant to go.
pub async fn redirected(shared: Arc<Shared>, tcp: TcpStream, peer: Peer, host: String, port: u16) {
    let _ = tcp.set_nodelay(true);
    tunnel(shared, peer, ClientSocket::new(tcp, Bytes::new()), host, port).await;
}

/// After CONNECT was answered: looks at what comes, and carries it accordingly.
///
/// Boxed, because a tunnel may carry HTTP again, which would make the type of the future contain itself.
pub fn tunnel(
    shared: Arc<Shared>,
    peer: Peer,
    client: ClientSocket,
    host: String,
    port: u16,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(classify(shared, peer, client, host, port))
}

async fn classify(shared: Arc<Shared>, peer: Peer, mut client: ClientSocket, host: String, port: u16) {
    let by_address = host.parse::<IpAddr>().is_ok();
    // An address says nothing about whose host it is: the ClientHello's name decides then.
    if !by_address {
        shared.note_around(&peer, &host);
    }
    if !by_address && let Decision::Tunnel(reason) = shared.decide(&peer, &host) {
        shared.tally.note(Became::Unread);
        return Box::pin(raw(&shared, client, Bytes::new(), &host, port, reason)).await;
    }
    let first = match first_bytes(&shared, &mut client).await {
        Ok(first) => first.freeze(),
        Err(_) => {
            shared.tally.note(Became::Silent);
            return;
        }
    };
    let client = {
        let (carrier, ahead) = client.into_parts();
        ClientSocket::new(carrier, if ahead.is_empty() { first.clone() } else { [&first[..], &ahead].concat().into() })
    };
    let opening = Opening::of(&first);
    // TLS to an address may name its host yet.
    if by_address && opening != Opening::Tls {
        shared.note_around(&peer, &host);
    }
    match opening {
        Opening::Tls => tokio::spawn(tls(shared, peer, client, host, port)),
        Opening::Text => tokio::spawn(plain_http(shared, peer, client, host, port, text(&first))),
        Opening::OldTls => tokio::spawn(refused(shared, peer, client, host, "a TLS hello that no HTTPS client sends")),
        Opening::Undecided => tokio::spawn(undecided(shared, peer, client, host)),
        Opening::Other => tokio::spawn(not_tls(shared, peer, client, host, port, "neither TLS nor HTTP")),
    };
}

/// What the first bytes of a tunnel say that it carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Opening {
    Tls,
    /// A handshake record or hello of SSL, which some servers still take, and which nobody here reads.
    OldTls,
    /// HTTP, or what a lenient server might take for it: read as HTTP, and refused where it is none.
    Text,
    Other,
    /// Too little came before the deadline or the end.
    Undecided,
}

impl Opening {
    fn of(first: &[u8]) -> Self {
        match first {
            // Handshake record of TLS 1.x (RFC 8446, section 5.1).
            [0x16, 0x03, ..] => Opening::Tls,
            // Another version; or a hello of SSL 2, whose length has the highest bit set (RFC 5246, appendix E.2).
            [0x16, _, ..] | [0x80..=0xff, _, 0x01, ..] => Opening::OldTls,
            [b'\t' | b'\r' | b'\n' | b' '..=b'~', _, _, ..] => Opening::Text,
            [_, _, _, ..] => Opening::Other,
            _ => Opening::Undecided,
        }
    }
}

/// What a tunnel of text is called in its finding.
fn text(first: &[u8]) -> &'static str {
    match &first[..first.len().min(3)] {
        b"SSH" => "SSH",
        b"PRI" => "HTTP/2 in clear text",
        [a, b, c] if [a, b, c].iter().all(|byte| byte.is_ascii_uppercase()) => "HTTP in clear text",
        _ => "text that is no HTTP",
    }
}

/// At least three bytes and whatever came with them, or what came until the deadline or the end.
async fn first_bytes(shared: &Shared, client: &mut ClientSocket) -> io::Result<BytesMut> {
    // A ClientHello fits.
    let mut first = BytesMut::with_capacity(2048);
    let read = async {
        while first.len() < 3 {
            if client.read_buf(&mut first).await? == 0 {
                return if first.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) };
            }
        }
        Ok(())
    };
    match tokio::time::timeout(shared.deadlines.head, read).await {
        Ok(Err(error)) => Err(error),
        Ok(Ok(())) | Err(_) => Ok(first),
    }
}

/// Bytes that nobody asked to read.
async fn raw(shared: &Arc<Shared>, client: ClientSocket, first: Bytes, host: &str, port: u16, reason: &'static str) {
    let dialled = tokio::time::timeout(shared.deadlines.connect, shared.dialer.transport(host, port)).await;
    match dialled {
        Ok(Ok(upstream)) if !shared.dialer.is_offline(host, port) => {
            tunnel::relay(shared, client, first, upstream, host, port, reason).await;
        }
        Ok(Ok(_)) => tracing::warn!(host, port, "a tunnel has no offline upstream: closed"),
        Ok(Err(error)) => tracing::warn!(host, port, %error, "tunnel not opened"),
        Err(_) => tracing::warn!(host, port, "tunnel not opened within the deadline"),
    }
}

/// A tunnel that was to be decrypted and cannot be: a finding always, passed on only under `--on-error open`.
async fn not_tls(shared: Arc<Shared>, peer: Peer, client: ClientSocket, host: String, port: u16, what: &'static str) {
    shared.tally.note(Became::Unread);
    shared.note_connection(&peer, &host, "audit.not_tls", Severity::Medium, 1.0, what);
    if shared.intake.on_error == OnError::Closed {
        tracing::warn!(host, port, what, "tunnel refused (--on-error closed)");
        return;
    }
    raw(&shared, client, Bytes::new(), &host, port, "not TLS").await;
}

/// A tunnel that was to be decrypted and whose client did not say what it carries. Never passed on: a client
/// that spoke only after the deadline would go unread.
async fn undecided(shared: Arc<Shared>, peer: Peer, client: ClientSocket, host: String) {
    refused(shared, peer, client, host, "the client did not say what the tunnel carries").await;
}

/// A tunnel that is never passed on, whatever `--on-error` says.
async fn refused(shared: Arc<Shared>, peer: Peer, client: ClientSocket, host: String, what: &'static str) {
    shared.tally.note(Became::Unread);
    shared.note_connection(&peer, &host, "audit.not_tls", Severity::Medium, 0.5, what);
    drop(client);
}

/// HTTP without TLS inside a tunnel: read like any other. What is no HTTP/1 ends at the first line.
async fn plain_http(
    shared: Arc<Shared>,
    peer: Peer,
    client: ClientSocket,
    host: String,
    port: u16,
    what: &'static str,
) {
    let origin = Origin { host: host.into(), port, secure: false };
    shared.tally.note(Became::Plain);
    shared.note_connection(&peer, &origin.host, "audit.not_tls", Severity::Medium, 1.0, what);
    let half = Half::new(Wire::ClientPlain(client));
    http1::serve(Http1::new(shared, peer, half, Intended::Origin { origin, silent: true, name: None }, None)).await;
}

async fn tls(shared: Arc<Shared>, peer: Peer, mut client: ClientSocket, host: String, port: u16) {
    client.start_recording();
    let hello = LazyConfigAcceptor::new(Acceptor::default(), client);
    let mut start = match tokio::time::timeout(shared.deadlines.head, hello).await {
        Ok(Ok(start)) => start,
        Ok(Err(error)) => {
            shared.tally.note(Became::Unread);
            shared.note_around(&peer, &host);
            shared.note_connection(&peer, &host, "audit.not_tls", Severity::Medium, 0.9, "a malformed ClientHello");
            tracing::debug!(host, %error, "malformed ClientHello");
            return;
        }
        Err(_) => {
            shared.tally.note(Became::Unread);
            shared.note_around(&peer, &host);
            shared.note_connection(
                &peer,
                &host,
                "audit.not_tls",
                Severity::Medium,
                0.9,
                "no ClientHello within the deadline",
            );
            return;
        }
    };
    let read = start.io.stop_recording();
    let sni = start.client_hello().server_name().map(str::to_ascii_lowercase);
    let offer = Offer::of(start.client_hello().alpn());
    let by_address = host.parse::<IpAddr>().is_ok();
    // A name in the ClientHello is whose certificate the client wants to see.
    let name: String = match &sni {
        Some(sni) if by_address => sni.clone(),
        _ => host.clone(),
    };
    shared.note_around(&peer, &name);
    let decision = shared.decide(&peer, &name);
    let (Decision::Intercept, Some(offer)) = (decision, offer) else {
        let reason = match decision {
            Decision::Tunnel(reason) => reason,
            Decision::Intercept => {
                shared.note_connection(
                    &peer,
                    &name,
                    "audit.not_tls",
                    Severity::Medium,
                    1.0,
                    "TLS that carries no HTTP (ALPN)",
                );
                if shared.intake.on_error == OnError::Closed {
                    shared.tally.note(Became::Unread);
                    return;
                }
                "TLS without HTTP"
            }
        };
        shared.tally.note(Became::Unread);
        let (tcp, ahead) = start.io.into_parts();
        let socket = ClientSocket::new(tcp, ahead);
        return Box::pin(raw(&shared, socket, read, &host, port, reason)).await;
    };
    if let Some(sni) = sni.as_deref().filter(|sni| *sni != name) {
        let observed = format!("the tunnel was opened for {name}, the ClientHello names {sni}");
        shared.note_connection(&peer, &name, "audit.identity", Severity::High, 1.0, &observed);
    }
    let origin = Origin { host: name.as_str().into(), port, secure: true };
    let upstream = Box::pin(reach(&shared, &origin, offer)).await;
    let (version, choice) = match &upstream {
        Reached::Known(choice) => (choice.unwrap_or(Version::Http1), *choice),
        Reached::Fresh(dialled) => (dialled.version(), dialled.choice),
        // A dropped handshake would look like a broken CA: finish it, then say 502.
        Reached::Failed(_) => (offer.first(), (offer != Offer::Silent).then(|| offer.first())),
    };
    let leaf_name = sni.as_deref().unwrap_or(&name);
    let config = match shared.authority.load().server_config(leaf_name, choice.map(Version::alpn)) {
        Ok(config) => config,
        Err(error) => {
            tracing::error!(host = leaf_name, %error, "no certificate could be made");
            shared.tally.note(Became::Unread);
            return;
        }
    };
    let config = match suites::prefers_chacha(start.client_hello().cipher_suites()) {
        true => in_its_order(&config),
        false => config,
    };
    let accept = async {
        let began = Instant::now();
        let accepted = tokio::time::timeout(shared.deadlines.head, start.into_stream(config)).await;
        let stream = accepted.map_err(|_| None)?.map_err(Some)?;
        shared.recorder.metrics.handshake(Side::Client, began.elapsed());
        Ok(Box::new(stream))
    };
    let silent = choice.is_none();
    // Beside the client's handshake, so that its first request waits for one of the two and not for both.
    let ahead = async { Ok(upstream.made_ready(&shared, &peer, &origin, version, silent).await) };
    let (stream, upstream) = match tokio::try_join!(accept, ahead) {
        Ok(both) => both,
        Err(refused) => {
            shared.tally.note(Became::Refused);
            if let Some(error) = refused {
                let (confidence, observed) = refusal(&error);
                shared.note_connection(&peer, &name, "audit.untrusted", Severity::Medium, confidence, &observed);
            }
            return;
        }
    };
    shared.tally.note(Became::Audited);
    let intended = Intended::Origin { origin, silent, name: sni.map(Arc::from) };
    let client = Wire::ClientTls(stream);
    match version {
        Version::Http1 => {
            tokio::spawn(http1::serve(Http1::new(shared, peer, Half::new(client), intended, upstream)));
        }
        Version::Http2 => {
            let upstream = upstream.map(|reached| reached.map(|half| half.io));
            tokio::spawn(http2::serve(shared, peer, client, intended, upstream));
        }
    }
}

/// The same, with the client's choice of a suite.
fn in_its_order(config: &ServerConfig) -> Arc<ServerConfig> {
    let mut config = config.clone();
    config.ignore_client_order = false;
    Arc::new(config)
}

/// What stands behind a name before the client is answered.
enum Reached {
    /// Its choice is remembered: the client is answered at once.
    Known(Option<Version>),
    Fresh(Box<Dialled>),
    Failed(UpstreamError),
}

impl Reached {
    /// The connection for the first request. One of HTTP/2 whose choice was remembered is found by its own room.
    async fn made_ready(
        self,
        shared: &Shared,
        peer: &Peer,
        origin: &Origin,
        version: Version,
        silent: bool,
    ) -> Option<Result<Half, UpstreamError>> {
        match self {
            Reached::Known(_) if version == Version::Http1 => {
                Some(Box::pin(shared.reach_http1(peer, origin, silent)).await)
            }
            Reached::Known(_) => None,
            Reached::Fresh(dialled) => Some(Ok(Half::new(dialled.wire))),
            Reached::Failed(error) => Some(Err(error)),
        }
    }
}

async fn reach(shared: &Shared, origin: &Origin, offer: Offer) -> Reached {
    if let Some(choice) = shared.dialer.known_choice(origin, offer) {
        return Reached::Known(choice);
    }
    match shared.dial(origin, offer).await {
        Ok(dialled) => Reached::Fresh(Box::new(dialled)),
        Err(error) => {
            tracing::warn!(host = %origin.host, port = origin.port, %error, "upstream not reached");
            Reached::Failed(error)
        }
    }
}

/// How a client refused our certificate, and how sure that is.
fn refusal(error: &io::Error) -> (f32, String) {
    let alert = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match alert {
        Some(rustls::Error::AlertReceived(alert)) => {
            (0.95, format!("the client refused our certificate: alert {alert:?}"))
        }
        Some(other) => (0.5, format!("the handshake failed: {other}")),
        None => (0.6, "the client broke off the handshake".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_is_classified_by_its_first_bytes() {
        for (first, opening) in [
            (&b"\x16\x03\x01"[..], Opening::Tls),
            (b"GET", Opening::Text),
            (b"PRI", Opening::Text),
            (b"SSH", Opening::Text),
            (b"get", Opening::Text),
            (b"G\0T", Opening::Text),
            (b"\r\nG", Opening::Text),
            (b"\x16\x02\x01", Opening::OldTls),
            (b"\x80\x2e\x01", Opening::OldTls),
            (b"\x00\x01\x02", Opening::Other),
            (b"\x05\x01\x00", Opening::Other),
            (b"\x16", Opening::Undecided),
            (b"", Opening::Undecided),
        ] {
            assert_eq!(Opening::of(first), opening, "{first:?}");
        }
    }
}

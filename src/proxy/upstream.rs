//! Connections to upstreams: which address, through which parent proxy, verified how, speaking what.
//!
//! An origin is dialled with exactly the ALPN that the client offered, and what it chooses is what the
//! client is given: nothing is translated. One `ClientConfig` per offer serves the whole process, since
//! session resumption lives in it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::BytesMut;
use quick_cache::sync::Cache;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use super::error::{UpstreamError, UpstreamFault};
use super::loopback::unpaced;
pub use super::origin::Origin;
use super::stream::{Transport, Wire};
use super::verify::{Crl, Excepted, UpstreamVerifier};
use crate::config::{AllowUntrusted, ConnectTo, DialPolicy, ProxyScheme, UpstreamProxy, numeric_address};
use crate::replay::Recorded;
use crate::suites;
use crate::wire::head::ResponseHead;
use crate::wire::limits::Limits;

/// The protocol spoken on a connection.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Version {
    Http1,
    Http2,
}

impl Version {
    pub fn alpn(self) -> &'static [u8] {
        match self {
            Version::Http1 => b"http/1.1",
            Version::Http2 => b"h2",
        }
    }
}

/// What a client offered by ALPN, of what we speak, in its order.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Offer {
    /// No ALPN extension at all.
    Silent,
    Http1,
    Http2,
    Http2Http1,
    Http1Http2,
}

impl Offer {
    const ALL: [Offer; 5] = [Offer::Silent, Offer::Http1, Offer::Http2, Offer::Http2Http1, Offer::Http1Http2];

    /// `None` if there is ALPN but nothing in it that we speak.
    pub fn of<'a>(alpn: Option<impl Iterator<Item = &'a [u8]>>) -> Option<Self> {
        let Some(alpn) = alpn else { return Some(Offer::Silent) };
        let mut known = alpn.filter(|p| *p == b"h2" || *p == b"http/1.1");
        let first = known.next()?;
        let second = known.find(|p| *p != first);
        Some(match (first == b"h2", second.is_some()) {
            (true, false) => Offer::Http2,
            (true, true) => Offer::Http2Http1,
            (false, false) => Offer::Http1,
            (false, true) => Offer::Http1Http2,
        })
    }

    /// The offer of a client that already speaks `version` to us: a reconnect may bring nothing else.
    pub fn only(version: Version, silent: bool) -> Self {
        match version {
            Version::Http2 => Offer::Http2,
            Version::Http1 if silent => Offer::Silent,
            Version::Http1 => Offer::Http1,
        }
    }

    fn protocols(self) -> &'static [Version] {
        match self {
            Offer::Silent => &[],
            Offer::Http1 => &[Version::Http1],
            Offer::Http2 => &[Version::Http2],
            Offer::Http2Http1 => &[Version::Http2, Version::Http1],
            Offer::Http1Http2 => &[Version::Http1, Version::Http2],
        }
    }

    pub fn first(self) -> Version {
        self.protocols().first().copied().unwrap_or(Version::Http1)
    }
}

/// An origin's choice for an offer: its ALPN, `None` where it sent none.
pub type Choice = Option<Version>;

/// A fresh connection.
pub struct Dialled {
    pub wire: Wire,
    pub choice: Choice,
    /// What an exception (`--allow-untrusted`) made of its certificate.
    pub overlooked: Option<String>,
}

impl Dialled {
    pub fn version(&self) -> Version {
        self.choice.unwrap_or(Version::Http1)
    }
}

pub struct Dialer {
    verifier: Arc<UpstreamVerifier>,
    exceptions: Vec<AllowUntrusted>,
    /// How often each exception was needed, in their order.
    needed: Vec<AtomicU64>,
    configs: ArcSwap<Configs>,
    connect_to: Vec<ConnectTo>,
    parent: Option<UpstreamProxy>,
    addresses: DialPolicy,
    own: Vec<SocketAddr>,
    deadline: Duration,
    offline: bool,
    recorded: Option<Arc<Recorded>>,
    /// What origins chose for an offer, so that a known one need not be dialled before the client is answered.
    choices: Cache<(Origin, Offer), Choice>,
}

/// How long a session may be resumed. A resumed one is not judged again, so this is how late the end of a certificate
/// can be noticed.
const RESUMABLE: Duration = Duration::from_secs(60 * 60);

/// One for each offer, in the order of [`Offer::ALL`], and one for a parent proxy. Sessions to be resumed live in
/// these.
struct Configs {
    origins: [Arc<rustls::ClientConfig>; 5],
    proxy: Arc<rustls::ClientConfig>,
    /// Since when sessions are kept in these.
    since: Instant,
}

impl Configs {
    /// The same without the sessions.
    fn forgetful(&self) -> Self {
        let forget = |config: &Arc<rustls::ClientConfig>| {
            let mut config = (**config).clone();
            config.resumption = rustls::client::Resumption::default();
            Arc::new(config)
        };
        Self { origins: self.origins.each_ref().map(forget), proxy: forget(&self.proxy), since: Instant::now() }
    }
}

pub struct DialerParts {
    pub verifier: UpstreamVerifier,
    /// Hosts whose certificates may be wrong.
    pub exceptions: Vec<AllowUntrusted>,
    pub connect_to: Vec<ConnectTo>,
    pub parent: Option<UpstreamProxy>,
    pub addresses: DialPolicy,
    /// Where we listen: never dialled.
    pub own: Vec<SocketAddr>,
    pub deadline: Duration,
    pub offline: bool,
    /// Answers in the place of every upstream.
    pub recorded: Option<Arc<Recorded>>,
}

impl Dialer {
    pub fn new(parts: DialerParts) -> Result<Self, rustls::Error> {
        let verifier = Arc::new(parts.verifier);
        let provider = Arc::new(suites::provider());
        let config = |offer: Option<Offer>| -> Result<Arc<rustls::ClientConfig>, rustls::Error> {
            let mut config = rustls::ClientConfig::builder_with_provider(provider.clone())
                .with_safe_default_protocol_versions()?
                .dangerous() // So named because a verifier could be careless.
                .with_custom_certificate_verifier(verifier.clone())
                .with_no_client_auth();
            if let Some(offer) = offer {
                config.alpn_protocols = offer.protocols().iter().map(|v| v.alpn().to_vec()).collect();
            }
            config.enable_sni = true;
            if let Some(log) = crate::key_log::of_environment() {
                config.key_log = log;
            }
            Ok(Arc::new(config))
        };
        let [a, b, c, d, e] = Offer::ALL;
        Ok(Self {
            configs: ArcSwap::from_pointee(Configs {
                origins: [config(Some(a))?, config(Some(b))?, config(Some(c))?, config(Some(d))?, config(Some(e))?],
                proxy: config(None)?,
                since: Instant::now(),
            }),
            verifier,
            needed: parts.exceptions.iter().map(|_| AtomicU64::new(0)).collect(),
            exceptions: parts.exceptions,
            connect_to: parts.connect_to,
            parent: parts.parent,
            addresses: parts.addresses,
            own: parts.own,
            deadline: parts.deadline,
            offline: parts.offline || parts.recorded.is_some(),
            recorded: parts.recorded,
            choices: Cache::new(4096),
        })
    }

    /// Other revocation lists from now on. Sessions are forgotten, since a resumed one is not judged again.
    pub fn set_crls(&self, crls: Vec<Crl>) {
        self.verifier.set_crls(crls);
        self.configs.store(Arc::new(self.configs.load().forgetful()));
    }

    /// Sessions older than an hour are forgotten with all others.
    fn configs(&self) -> Arc<Configs> {
        let configs = self.configs.load_full();
        if configs.since.elapsed() < RESUMABLE {
            return configs;
        }
        let fresh = Arc::new(configs.forgetful());
        self.configs.store(fresh.clone());
        fresh
    }

    pub fn is_offline(&self, host: &str, port: u16) -> bool {
        self.offline && !self.connect_to.iter().any(|rule| rule.fits(host, port))
    }

    /// What `origin` chose for `offer` the last time.
    pub fn known_choice(&self, origin: &Origin, offer: Offer) -> Option<Choice> {
        self.choices.get(&(origin.clone(), offer))
    }

    /// Connects to `origin` as a client with this offer would.
    pub async fn dial(&self, origin: &Origin, offer: Offer) -> Result<Dialled, UpstreamError> {
        let dialled = tokio::time::timeout(self.deadline, self.dial_now(origin, offer))
            .await
            .unwrap_or_else(|_| Err(UpstreamError::new(UpstreamFault::Timeout, "no connection within the deadline")))?;
        if origin.secure {
            self.choices.insert((origin.clone(), offer), dialled.choice);
        }
        Ok(dialled)
    }

    async fn dial_now(&self, origin: &Origin, offer: Offer) -> Result<Dialled, UpstreamError> {
        if self.is_offline(&origin.host, origin.port) {
            let choice = if origin.secure { offer.protocols().first().copied() } else { None };
            return Ok(Dialled { wire: self.built_in(origin, choice), choice, overlooked: None });
        }
        let transport = self.transport(&origin.host, origin.port).await?;
        if !origin.secure {
            return Ok(Dialled { wire: Wire::UpstreamPlain(transport), choice: None, overlooked: None });
        }
        let name = server_name(&origin.host)?;
        let mut config = self.configs().origins[offer as usize].clone();
        let excepted = self.excepted(&origin.host);
        if let Some(excepted) = &excepted {
            let mut own = (*config).clone();
            own.dangerous().set_certificate_verifier(excepted.clone());
            // A resumed session would not be judged, and so not be reported.
            own.resumption = rustls::client::Resumption::disabled();
            config = Arc::new(own);
        }
        let tls = TlsConnector::from(config).connect(name, transport).await.map_err(UpstreamError::tls)?;
        let choice = match tls.get_ref().1.alpn_protocol() {
            Some(b"h2") => Some(Version::Http2),
            Some(_) => Some(Version::Http1),
            None => None,
        };
        let overlooked = excepted.and_then(|excepted| excepted.noted());
        if overlooked.is_some()
            && let Some(at) = self.exceptions.iter().position(|exception| *exception.host == *origin.host)
        {
            self.needed[at].fetch_add(1, Ordering::Relaxed);
        }
        Ok(Dialled { wire: Wire::UpstreamTls(Box::new(tls)), choice, overlooked })
    }

    /// What the exceptions were good for, one line each, for a summary.
    pub fn exceptions_told(&self) -> Vec<String> {
        let needed = self.needed.iter().map(|count| count.load(Ordering::Relaxed));
        let tell = |(exception, count): (&AllowUntrusted, u64)| match count {
            0 => format!(
                "exception for {} until {}: not needed, its certificate was good or not asked for",
                exception.host, exception.until
            ),
            1 => format!(
                "exception for {} until {}: 1 connection in spite of its certificate",
                exception.host, exception.until
            ),
            count => {
                format!(
                    "exception for {} until {}: {count} connections in spite of its certificate",
                    exception.host, exception.until
                )
            }
        };
        self.exceptions.iter().zip(needed).map(tell).collect()
    }

    /// The judge of one connection to a host for which there is an exception.
    fn excepted(&self, host: &str) -> Option<Arc<Excepted>> {
        let exception = self.exceptions.iter().find(|exception| exception.host == host)?;
        Some(Arc::new(Excepted::new(self.verifier.clone(), exception.clone())))
    }

    /// A connection to the upstream that lives in this process.
    fn built_in(&self, origin: &Origin, choice: Choice) -> Wire {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let host = origin.host.to_string();
        let version = match choice {
            Some(Version::Http2) => crate::offline::Version::Http2,
            _ => crate::offline::Version::Http1,
        };
        if let Some(recorded) = self.recorded.clone() {
            tokio::spawn(async move {
                if let Err(error) = crate::replay::serve(theirs, host, version, recorded).await {
                    tracing::debug!(%error, "recorded upstream");
                }
            });
            return Wire::UpstreamPlain(Transport::Memory(ours));
        }
        tokio::spawn(async move {
            if let Err(error) = crate::offline::serve(theirs, host, version).await {
                tracing::debug!(%error, "offline upstream");
            }
        });
        Wire::UpstreamPlain(Transport::Memory(ours))
    }

    /// Bytes to `host:port`, through the parent proxy where there is one.
    pub async fn transport(&self, host: &str, port: u16) -> Result<Transport, UpstreamError> {
        let rule = self.connect_to.iter().find(|rule| rule.fits(host, port));
        let to_host = rule.and_then(|r| r.to_host.as_deref()).unwrap_or(host);
        let to_port = rule.and_then(|r| r.to_port).unwrap_or(port);
        let Some(parent) = &self.parent else {
            return Ok(Transport::Tcp(self.tcp(to_host, to_port, rule.is_some()).await?));
        };
        // A name is resolved where we do not see it; an address, however it is spelled, is judged here.
        if let Some(ip) = to_host.parse().ok().or_else(|| numeric_address(to_host).map(IpAddr::V4)) {
            self.check_address(SocketAddr::new(ip, to_port), rule.is_some())?;
        }
        let tcp = self.tcp(&parent.host, parent.port, true).await?;
        match parent.scheme {
            ProxyScheme::Http => {
                let mut tcp = tcp;
                connect_through(&mut tcp, parent, to_host, to_port).await?;
                Ok(Transport::Tcp(tcp))
            }
            ProxyScheme::Https => {
                let name = server_name(&parent.host)?;
                let mut tls = TlsConnector::from(self.configs().proxy.clone())
                    .connect(name, tcp)
                    .await
                    .map_err(|e| UpstreamError::new(UpstreamFault::Proxy, format!("parent proxy: {e}")))?;
                connect_through(&mut tls, parent, to_host, to_port).await?;
                Ok(Transport::ProxyTls(Box::new(tls)))
            }
            ProxyScheme::Socks5 => {
                let mut tcp = tcp;
                socks5(&mut tcp, parent, to_host, to_port).await?;
                Ok(Transport::Tcp(tcp))
            }
        }
    }

    /// `named`: the user gave this address, so that only what is never dialled is refused.
    async fn tcp(&self, host: &str, port: u16, named: bool) -> Result<TcpStream, UpstreamError> {
        let addresses: Vec<SocketAddr> = match host.parse::<IpAddr>() {
            Ok(ip) => vec![SocketAddr::new(ip, port)],
            Err(_) if is_below_localhost(host) => LOOPBACK.map(|ip| SocketAddr::new(ip, port)).to_vec(),
            Err(_) => tokio::net::lookup_host((host, port))
                .await
                .map_err(|e| UpstreamError::new(UpstreamFault::Dns, format!("name not resolved: {e}")))?
                .collect(),
        };
        let mut last = UpstreamError::new(UpstreamFault::Dns, "the name has no address");
        let share = self.deadline / (addresses.len().clamp(1, 4) as u32);
        for address in addresses {
            if let Err(refused) = self.check_address(address, named) {
                last = refused;
                continue;
            }
            match tokio::time::timeout(share, connect(address)).await {
                Ok(Ok(tcp)) => {
                    if self.is_ourselves(&tcp) {
                        return Err(UpstreamError::new(UpstreamFault::Denied, "that is this proxy itself"));
                    }
                    let _ = tcp.set_nodelay(true);
                    return Ok(tcp);
                }
                Ok(Err(e)) => last = UpstreamError::new(UpstreamFault::Connect, format!("connection failed: {e}")),
                Err(_) => last = UpstreamError::new(UpstreamFault::Timeout, "no connection within the deadline"),
            }
        }
        Err(last)
    }

    /// Listening on every address: each of this machine's leads here.
    fn is_ourselves(&self, tcp: &TcpStream) -> bool {
        if !self.own.iter().any(|own| own.ip().is_unspecified()) {
            return false;
        }
        let (Ok(peer), Ok(local)) = (tcp.peer_addr(), tcp.local_addr()) else { return false };
        peer.ip() == local.ip() && self.own.iter().any(|own| own.ip().is_unspecified() && peer.port() == own.port())
    }

    /// The address actually dialled is judged, not the name: a name can be made to resolve to anything.
    fn check_address(&self, address: SocketAddr, named: bool) -> Result<(), UpstreamError> {
        let ip = address.ip().to_canonical();
        if self.own.iter().any(|own| is_own(*own, ip, address.port())) {
            return Err(UpstreamError::new(UpstreamFault::Denied, "that is this proxy itself"));
        }
        let policy = if named { self.addresses.named() } else { self.addresses.clone() };
        if !policy.permits(ip) {
            return Err(UpstreamError::new(
                UpstreamFault::Denied,
                "the address may not be dialled (--dial-allow, --dial-deny)",
            ));
        }
        Ok(())
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    unpaced(&socket, address);
    socket.connect(address).await
}

const LOOPBACK: [IpAddr; 2] = [IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)];

/// Names that always mean this machine (RFC 6761, 6.3), so that no resolver is asked: it might not know them, or might
/// say otherwise. `localhost` itself is left to the machine, whose hosts file may know but one of its addresses.
fn is_below_localhost(host: &str) -> bool {
    const BELOW: &[u8] = b".localhost";
    let name = host.strip_suffix('.').unwrap_or(host).as_bytes();
    name.len() > BELOW.len() && name[name.len() - BELOW.len()..].eq_ignore_ascii_case(BELOW)
}

/// Whether `ip` and `port` lead to what listens at `own`.
fn is_own(own: SocketAddr, ip: IpAddr, port: u16) -> bool {
    let own_ip = own.ip().to_canonical();
    port == own.port() && (ip == own_ip || ip.is_unspecified() || (own_ip.is_unspecified() && ip.is_loopback()))
}

fn server_name(host: &str) -> Result<ServerName<'static>, UpstreamError> {
    ServerName::try_from(host.to_owned())
        .map_err(|_| UpstreamError::new(UpstreamFault::Dns, "not a host name that a certificate can carry"))
}

fn parent_error(e: io::Error) -> UpstreamError {
    UpstreamError::new(UpstreamFault::Proxy, format!("parent proxy: {e}"))
}

fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// CONNECT through an HTTP proxy.
async fn connect_through<S>(io: &mut S, parent: &UpstreamProxy, host: &str, port: u16) -> Result<(), UpstreamError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let target = authority(host, port);
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(user) = &parent.user {
        use base64::Engine as _;
        let pair = format!("{user}:{}", parent.password.as_deref().unwrap_or_default());
        let pair = base64::engine::general_purpose::STANDARD.encode(pair);
        request.push_str(&format!("Proxy-Authorization: Basic {pair}\r\n"));
    }
    request.push_str("\r\n");
    io.write_all(request.as_bytes()).await.map_err(parent_error)?;
    io.flush().await.map_err(parent_error)?;
    let refused = |why: String| UpstreamError::new(UpstreamFault::Proxy, format!("parent proxy {why}"));
    let mut buffer = BytesMut::with_capacity(1024);
    loop {
        // Byte by byte is slow but takes nothing of what follows the head, which belongs to TLS.
        let byte = io.read_u8().await.map_err(parent_error)?;
        buffer.extend_from_slice(&[byte]);
        if !buffer.ends_with(b"\r\n\r\n") {
            if buffer.len() > 16 * 1024 {
                return Err(refused("answered with an endless head".into()));
            }
            continue;
        }
        let head = ResponseHead::parse(&mut buffer, "CONNECT", false, &Limits::default())
            .map_err(|e| refused(format!("answered with a malformed head: {e}")))?;
        match head {
            Some(head) if head.is_interim() => continue,
            Some(head) if (200..300).contains(&head.status()) => return Ok(()),
            Some(head) => return Err(refused(format!("refused the tunnel with status {}", head.status()))),
            None => return Err(refused("answered with a malformed head".into())),
        }
    }
}

/// SOCKS5 with the name resolved by the proxy (RFC 1928, RFC 1929).
async fn socks5<S>(io: &mut S, parent: &UpstreamProxy, host: &str, port: u16) -> Result<(), UpstreamError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let refused = |why: &str| UpstreamError::new(UpstreamFault::Proxy, format!("SOCKS5 proxy {why}"));
    let greeting: &[u8] = if parent.user.is_some() { &[5, 2, 0, 2] } else { &[5, 1, 0] };
    io.write_all(greeting).await.map_err(parent_error)?;
    let mut answer = [0u8; 2];
    io.read_exact(&mut answer).await.map_err(parent_error)?;
    match (answer, &parent.user) {
        ([5, 0], _) => {}
        ([5, 2], Some(user)) => {
            let password = parent.password.as_deref().unwrap_or_default();
            let (Ok(user_len), Ok(password_len)) = (u8::try_from(user.len()), u8::try_from(password.len())) else {
                return Err(refused("takes no credentials of more than 255 bytes"));
            };
            let mut message = vec![1, user_len];
            message.extend_from_slice(user.as_bytes());
            message.push(password_len);
            message.extend_from_slice(password.as_bytes());
            io.write_all(&message).await.map_err(parent_error)?;
            io.read_exact(&mut answer).await.map_err(parent_error)?;
            if answer[1] != 0 {
                return Err(refused("refused the credentials"));
            }
        }
        ([5, _], _) => return Err(refused("accepts none of our ways to authenticate")),
        _ => return Err(refused("does not speak SOCKS5")),
    }
    let mut message = vec![5, 1, 0];
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(v4)) => {
            message.push(1);
            message.extend_from_slice(&v4.octets());
        }
        Ok(IpAddr::V6(v6)) => {
            message.push(4);
            message.extend_from_slice(&v6.octets());
        }
        Err(_) => {
            let len = u8::try_from(host.len()).map_err(|_| refused("takes no name of more than 255 bytes"))?;
            message.extend_from_slice(&[3, len]);
            message.extend_from_slice(host.as_bytes());
        }
    }
    message.extend_from_slice(&port.to_be_bytes());
    io.write_all(&message).await.map_err(parent_error)?;
    let mut head = [0u8; 4];
    io.read_exact(&mut head).await.map_err(parent_error)?;
    if head[0] != 5 || head[1] != 0 {
        return Err(refused(&format!("refused the connection (code {})", head[1])));
    }
    let rest = match head[3] {
        1 => 4 + 2,
        4 => 16 + 2,
        3 => usize::from(io.read_u8().await.map_err(parent_error)?) + 2,
        _ => return Err(refused("answered with an unknown address type")),
    };
    let mut bound = vec![0u8; rest];
    io.read_exact(&mut bound).await.map_err(parent_error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_keeps_what_we_speak_in_the_clients_order() {
        let of = |list: &[&'static [u8]]| Offer::of(Some(list.iter().copied()));
        assert_eq!(of(&[b"h2", b"http/1.1"]), Some(Offer::Http2Http1));
        assert_eq!(of(&[b"http/1.1", b"h2", b"http/1.1"]), Some(Offer::Http1Http2));
        assert_eq!(of(&[b"spdy/3", b"h2", b"h2"]), Some(Offer::Http2));
        assert_eq!(of(&[b"acme-tls/1"]), None);
        assert_eq!(Offer::of(None::<std::iter::Empty<&[u8]>>), Some(Offer::Silent));
    }

    #[test]
    fn names_below_localhost_are_this_machine() {
        for host in ["a.localhost", "a.b.LocalHost", "a.localhost."] {
            assert!(is_below_localhost(host), "{host}");
        }
        for host in ["localhost", ".localhost", "alocalhost", "a.localhost.example", "a.localhost..", "ä.localhos", ""]
        {
            assert!(!is_below_localhost(host), "{host}");
        }
    }
}

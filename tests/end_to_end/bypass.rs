//! Ways past the inspection that other proxies have left open: hellos cut small, tunnels that carry something else than
//! they seem to, tunnels that say nothing at first. Each is read, refused, or (where the policy lets pass what cannot be
//! read) a finding.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Sleep;

use crate::common::frames::{HEADERS, PREFACE, SETTINGS, WHOLE, block, frame};
use crate::common::upstream::Seen;
use crate::common::{Authority, Divulge, HOST, Route, Upstream, bounded, show, soon, within};

/// What must not leave unread.
const MARKER: &str = "zephyr-7f3a.example.com";

/// Sends its first write, a hello, in records and segments of other sizes.
struct Cut {
    stream: TcpStream,
    record: usize,
    segment: usize,
    /// What is left of the hello as it goes out, and its length as it came in.
    queue: Option<(VecDeque<u8>, usize)>,
    begun: bool,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Cut {
    fn new(stream: TcpStream, record: usize, segment: usize) -> Self {
        Self { stream, record, segment, queue: None, begun: false, pause: None }
    }

    /// The handshake message of one record in records of another size (RFC 8446, 5.1).
    fn framed_anew(&self, hello: &[u8]) -> VecDeque<u8> {
        let (head, message) = hello.split_at(5);
        assert_eq!((head[0], usize::from(head[3]) << 8 | usize::from(head[4])), (0x16, message.len()));
        let records = message.chunks(self.record.min(16_384)).flat_map(|piece| {
            let length = u16::try_from(piece.len()).unwrap().to_be_bytes();
            [&head[..3], &length, piece].concat()
        });
        records.collect()
    }
}

impl AsyncWrite for Cut {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !this.begun {
            this.begun = true;
            this.queue = Some((this.framed_anew(bytes), bytes.len()));
        }
        let Some((queue, length)) = &mut this.queue else {
            return Pin::new(&mut this.stream).poll_write(context, bytes);
        };
        loop {
            if let Some(pause) = &mut this.pause {
                ready!(pause.as_mut().poll(context));
                this.pause = None;
            }
            if queue.is_empty() {
                let length = *length;
                this.queue = None;
                return Poll::Ready(Ok(length));
            }
            let count = this.segment.min(queue.len());
            let next: Vec<u8> = queue.range(..count).copied().collect();
            let written = ready!(Pin::new(&mut this.stream).poll_write(context, &next))?;
            queue.drain(..written);
            // So that the next is a segment, and a read, of its own.
            this.pause = Some(Box::pin(tokio::time::sleep(Duration::from_millis(2))));
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

impl AsyncRead for Cut {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, into)
    }
}

#[test]
fn however_a_hello_is_cut_its_tunnel_is_read() {
    within(Duration::from_secs(60), async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let mut divulge = Divulge::before(&authority, upstream.address).await;
        let whole = usize::MAX;
        let mut wrong = Vec::new();
        for (record, segment) in [
            (whole, 1),
            (whole, 2),
            (whole, 7),
            (whole, 100),
            (1, whole),
            (1, 6),
            (3, 5),
            (10, whole),
            (64, 1000),
            (200, 201),
        ] {
            let stream = Cut::new(Route::through(&divulge).tcp().await, record, segment);
            // Only divulge's own CA is trusted: a tunnel that is not read ends here.
            match Route::through(&divulge).tls_over(stream, &["http/1.1"]).await {
                Err(error) => wrong.push(format!("records of {record}, segments of {segment}: {error}")),
                Ok(mut client) => {
                    client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
                    assert_eq!(client.response().await.status, 200);
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        divulge.assert_well();
    });
}

/// What becomes of a tunnel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    /// Nothing of it passes, whatever `--on-error` says.
    Refused,
    /// It is HTTP, and passes as HTTP does.
    Read,
    /// Nothing can be read: it passes under `--on-error open` alone, as a finding.
    Opaque,
}

/// What is sent into a tunnel, in parts with a pause beyond the deadline between them.
fn payloads(host: &str) -> Vec<(&'static str, Vec<Vec<u8>>, Fate)> {
    let get = format!("GET /?{MARKER} HTTP/1.1\r\nHost: {host}:443\r\n\r\n").into_bytes();
    let with = |start: &[u8]| vec![[start, MARKER.as_bytes(), b"\r\n\r\n"].concat()];
    let before = |start: &[u8]| vec![[start, &get[..]].concat()];
    let fields = block(&[(":method", "GET"), (":scheme", "http"), (":authority", host), (":path", MARKER)]);
    let h2c = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(HEADERS, WHOLE, 1, &fields)].concat();
    vec![
        ("HTTP in clear text", vec![get.clone()], Fate::Read),
        ("an empty line before HTTP", before(b"\r\n"), Fate::Read),
        ("a method in lower case", vec![get.to_ascii_lowercase()], Fate::Refused),
        ("two empty lines before HTTP", before(b"\r\n\r\n"), Fate::Refused),
        ("a space before HTTP", before(b" "), Fate::Refused),
        ("a line of a proxy protocol before HTTP", before(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"), Fate::Refused),
        ("NUL in a method", with(b"G\0T / HTTP/1.1\r\nHost: "), Fate::Refused),
        ("HTTP/0.9", with(b"GET /"), Fate::Refused),
        ("another tunnel", with(b"CONNECT other.example.com:443 HTTP/1.1\r\nHost: "), Fate::Refused),
        ("HTTP/2 in clear text", vec![h2c], Fate::Refused),
        ("SSH", with(b"SSH-2.0-OpenSSH_9.2 "), Fate::Refused),
        ("SMTP", with(b"EHLO "), Fate::Refused),
        ("a hello of SSL 2", with(b"\x80\x2e\x01\x03\x01\x00\x15"), Fate::Refused),
        ("a record of another version", with(b"\x16\x02\x00\x00\x40\x01"), Fate::Refused),
        ("a handshake without a hello", with(b"\x16\x03\x03\x00\x40\x02\x00\x00\x3c"), Fate::Refused),
        ("half a hello, and then silence", vec![b"\x16\x03\x01\x02\x00\x01".to_vec(), get.clone()], Fate::Refused),
        ("a single byte, and HTTP later", vec![b"G".to_vec(), get[1..].to_vec()], Fate::Refused),
        ("two bytes, and HTTP later", vec![b"GE".to_vec(), get[2..].to_vec()], Fate::Refused),
        ("silence, and HTTP later", vec![Vec::new(), get.clone()], Fate::Refused),
        ("a hello of SOCKS", with(b"\x05\x01\x00"), Fate::Opaque),
        ("a TLS record that is no handshake", with(b"\x17\x03\x03\x00\x40"), Fate::Opaque),
        ("bytes", with(&[0, 1, 2, 3, 250, 251]), Fate::Opaque),
    ]
}

#[test]
fn no_tunnel_passes_unread_unless_the_policy_says_so_and_then_it_is_a_finding() {
    within(Duration::from_secs(60), async {
        let authority = Authority::new();
        let upstream = Upstream::plain(|mut served| async move {
            if let Some(head) = served.wire.head().await {
                served.log.note(Seen { connection: served.connection, head, body: Default::default() });
                served.wire.send(crate::common::upstream::ok("ok")).await;
            }
        })
        .await;
        let mut wrong = Vec::new();
        for on_error in ["open", "closed"] {
            let before = upstream.log.requests().len();
            let mut divulge = Divulge::serve()
                .intercept("all")
                .trusting(&authority)
                .to(upstream.address)
                .facts(&[("host.fqdn", MARKER)])
                .arg("--head-timeout=1")
                .arg(format!("--on-error={on_error}"))
                .start()
                .await;
            let mut running = JoinSet::new();
            for number in 0..payloads(HOST).len() {
                // Findings are told apart by their hosts.
                let route = Route::through(&divulge).host(&host(number));
                running.spawn(async move {
                    let (name, parts, _) = payloads(&host(number)).swap_remove(number);
                    let mut stream = route.tcp().await;
                    for (number, part) in parts.iter().enumerate() {
                        if number > 0 {
                            tokio::time::sleep(Duration::from_millis(1300)).await;
                        }
                        let _ = stream.write_all(part).await;
                    }
                    let _ = stream.shutdown().await;
                    let _ = soon(name, stream.read_to_end(&mut Vec::new())).await;
                });
            }
            while let Some(ended) = running.join_next().await {
                ended.unwrap();
            }
            let mut passed = 0;
            for (number, (name, _, fate)) in payloads(HOST).into_iter().enumerate() {
                let host = host(number);
                divulge.wait_for(name, |line| line["kind"] == "audit.not_tls" && line["host"] == *host).await;
                if fate == Fate::Read {
                    divulge.wait_for(name, |line| line["kind"] == "host.fqdn" && line["host"] == *host).await;
                }
                passed += usize::from(fate == Fate::Read || (fate == Fate::Opaque && on_error == "open"));
            }
            let read = divulge.findings().iter().filter(|finding| finding["kind"] == "host.fqdn").count();
            let meant = payloads(HOST).iter().filter(|(_, _, fate)| *fate == Fate::Read).count();
            if read != meant {
                wrong.push(format!("{on_error}: {read} were read and not {meant}"));
            }
            let seen = upstream.log.requests().split_off(before);
            if seen.len() != passed {
                let shown: Vec<String> = seen.iter().map(|seen| show(&seen.head)).collect();
                wrong.push(format!("{on_error}: {} passed and not {passed}:\n{}", seen.len(), shown.join("\n")));
            }
            divulge.assert_well();
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

/// Of each payload.
fn host(number: usize) -> String {
    format!("c{number}.example.com")
}

#[test]
fn tls_that_is_not_for_http_passes_only_where_the_policy_lets_it_and_is_a_finding() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::scripted(&authority, &["imap"], |mut served| async move {
            served.wire.send("* OK\r\n").await;
            served.gone().await;
        })
        .await;
        for (on_error, passes) in [("open", true), ("closed", false)] {
            let divulge = Divulge::serve()
                .intercept("all")
                .trusting(&authority)
                .to(upstream.address)
                .arg(format!("--on-error={on_error}"))
                .start()
                .await;
            let opened = Route::through(&divulge).trusting(authority.file()).try_tls(&["imap"]).await;
            assert_eq!(opened.is_ok(), passes, "{on_error}");
            let finding = divulge.finding_of("audit.not_tls").await;
            assert_eq!(finding["host"], HOST, "{finding}");
        }
    });
}

#[test]
fn a_host_is_read_under_any_spelling_of_its_name() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let divulge = Divulge::serve().intercept(HOST).trusting(&authority).to(upstream.address).start().await;
        for target in ["api.example.com:443", "API.EXAMPLE.COM:443", "api.example.com.:443", "Api.Example.Com.:443"] {
            let stream = TcpStream::connect(divulge.address).await.unwrap();
            let stream = crate::common::route::connect_through(stream, target).await;
            let opened = Route::through(&divulge).tls_over(stream, &["http/1.1"]).await;
            let mut client = opened.unwrap_or_else(|error| panic!("{target}: not read: {error}"));
            client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
            assert_eq!(client.response().await.status, 200, "{target}");
        }
    });
}

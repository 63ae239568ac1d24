//! Malformed messages, each refused, and legal oddities, each taken.

use bytes::BytesMut;
use divulge::wire::{BodyReader, ForwardRequest, Framing, Limits, Progress, RequestHead, ResponseHead};

use crate::common::{cuts, forwarded, request, response, response_to, shown};
use crate::malformed::{CHUNKED, REQUESTS, RESPONSES, spelled};

/// Says of every case what went wrong, all at once.
fn report(failures: &[String]) {
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn malformed_requests_are_refused_however_they_arrive() {
    let mut failures = Vec::new();
    for (status, what, text) in REQUESTS {
        let bytes = spelled(text);
        match RequestHead::parse(&mut BytesMut::from(&bytes[..]), &Limits::default()) {
            Err(error) if error.status == *status => {}
            other => failures.push(format!("{what}: expected {status}, found {other:?} for {}", shown(&bytes))),
        }
        for pieces in cuts(&bytes) {
            let mut buffer = BytesMut::new();
            let refused = pieces.iter().any(|piece| {
                buffer.extend_from_slice(piece);
                RequestHead::parse(&mut buffer, &Limits::default()).is_err()
            });
            if !refused {
                failures.push(format!("{what}: taken when cut into {} pieces", pieces.len()));
            }
        }
    }
    report(&failures);
}

#[test]
fn malformed_responses_are_refused_however_they_arrive() {
    let mut failures = Vec::new();
    for (what, text) in RESPONSES {
        for pieces in cuts(text.as_bytes()) {
            let mut buffer = BytesMut::new();
            let status = pieces.iter().find_map(|piece| {
                buffer.extend_from_slice(piece);
                ResponseHead::parse(&mut buffer, "GET", false, &Limits::default()).err()
            });
            if status.map(|error| error.status) != Some(502) {
                failures.push(format!("{what}: {status:?} when cut into {} pieces", pieces.len()));
            }
        }
    }
    for rest in [
        "",
        "Upgrade: websocket\r\n",
        "Connection: Upgrade\r\n",
        "Connection: Upgrade\r\nUpgrade: h2c\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: websocket\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n",
    ] {
        let text = format!("HTTP/1.1 101 Switching Protocols\r\n{rest}\r\n");
        if response_to("GET", true, text.as_bytes()).is_ok() {
            failures.push(format!("a 101 that is no switch to WebSocket: {rest}"));
        }
    }
    report(&failures);
}

#[test]
fn malformed_chunks_are_refused_however_they_arrive() {
    let mut failures = Vec::new();
    for (what, text) in CHUNKED {
        for pieces in cuts(text.as_bytes()) {
            for taken in [false, true] {
                let mut reader = BodyReader::new(Framing::Chunked, Limits::default());
                let (mut input, mut out) = (BytesMut::new(), BytesMut::new());
                let refused = pieces.iter().any(|piece| {
                    input.extend_from_slice(piece);
                    let progress = match taken {
                        true => reader.take(&mut input, &mut out),
                        false => reader.pass(&mut input, &mut out, &mut |_| ()),
                    };
                    progress.is_err()
                });
                // What only lacks its end is cut when the connection closes.
                if !refused && reader.eof(true).is_ok() {
                    failures.push(format!("{what}: taken when cut into {} pieces", pieces.len()));
                }
            }
        }
    }
    report(&failures);
}

#[test]
fn floods_are_refused_and_what_is_just_below_is_taken() {
    let fields = |count: usize| {
        let lines: String = (1..count).map(|number| format!("A{number}: 1\r\n")).collect();
        format!("GET / HTTP/1.1\r\nHost: a.example.com\r\n{lines}\r\n")
    };
    assert_eq!(request(fields(200).as_bytes()).unwrap().fields().len(), 200);
    assert_eq!(request(fields(201).as_bytes()).unwrap_err().status, 431);

    let long = |length: usize| {
        let start = "GET / HTTP/1.1\r\nHost: a.example.com\r\nA: ";
        format!("{start}{}\r\n\r\n", "x".repeat(length - start.len() - 4))
    };
    let most = Limits::default().head_bytes;
    for (length, expected) in [(most, Ok(1)), (most + 1, Err(431)), (most * 3, Err(431))] {
        let text = long(length);
        for size in [1024, 1000, most, usize::MAX / 2] {
            let mut buffer = BytesMut::new();
            let mut found = Ok(0);
            for piece in text.as_bytes().chunks(size) {
                buffer.extend_from_slice(piece);
                found = match RequestHead::parse(&mut buffer, &Limits::default()) {
                    Ok(head) => Ok(usize::from(head.is_some())),
                    Err(error) => Err(error.status),
                };
                if found.is_err() {
                    break;
                }
            }
            assert_eq!(found, expected, "{length} bytes in pieces of {size}");
        }
    }
    let mut endless = BytesMut::from("HTTP/1.1 200 OK\r\nA: ");
    endless.extend_from_slice(&vec![b'x'; most]);
    assert_eq!(ResponseHead::parse(&mut endless, "GET", false, &Limits::default()).unwrap_err().status, 502);
    let options = "a,".repeat(33);
    let text = format!("GET / HTTP/1.1\r\nHost: a.example.com\r\nConnection: {options}\r\n\r\n");
    assert_eq!(request(text.as_bytes()).unwrap_err().status, 400);

    let body = |text: String| {
        let mut reader = BodyReader::new(Framing::Chunked, Limits::default());
        reader.pass(&mut BytesMut::from(text.as_bytes()), &mut BytesMut::new(), &mut |_| ())
    };
    assert!(body(format!("3;{}\r\nabc\r\n0\r\n\r\n", "a".repeat(4094))).is_ok());
    assert!(body(format!("3;{}\r\nabc\r\n0\r\n\r\n", "a".repeat(4095))).is_err());
    assert!(body(format!("3;{}", "a".repeat(4096))).is_err());
    assert!(body(format!("0\r\nA: {}\r\n\r\n", "a".repeat(16 * 1024 - 7))).is_ok());
    assert!(body(format!("0\r\nA: {}\r\n\r\n", "a".repeat(16 * 1024 - 6))).is_err());
    assert!(body(format!("0\r\n{}", "A: 1\r\n".repeat(201))).is_err());
}

/// Requests that are odd and legal: they leave byte for byte.
const ODD_REQUESTS: &[&str] = &[
    "patch /a HTTP/1.1\r\nHost: a.example.com\r\n\r\n",
    "M-SEARCH /a HTTP/1.1\r\nHost: a.example.com\r\n\r\n",
    "!#$%&'*+-.^_`|~ / HTTP/1.1\r\nHost: a.example.com\r\n\r\n",
    "GET /a<b>\"c\"{d}|e\\f^g`h HTTP/1.1\r\nHost: a.example.com\r\n\r\n",
    "GET //b.example.com/%00%zz?a=b?c=/../;x=[1] HTTP/1.1\r\nHost: a.example.com\r\n\r\n",
    "GET /?u=http://b.example.com/ HTTP/1.1\r\nHost: a.example.com\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: a.example.com\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "GET http://a.example.com/ HTTP/1.0\r\n\r\n",
    "CONNECT a.example.com:443 HTTP/1.0\r\n\r\n",
    "CONNECT a.example.com:443 HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: 0\r\n\r\n",
    "CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\r\n",
    "GET HTTP://A.example.com:80/ HTTP/1.1\r\nHost: a.example.com\r\n\r\n",
    "GET https://a.example.com/ HTTP/1.1\r\nHost: a.example.com:443\r\n\r\n",
    "GET / HTTP/1.1\r\nhost:a.example.com.:8080\t \r\n\r\n",
    "GET / HTTP/1.1\r\nHOST: 127.0.0.1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a_b.example.com\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.example.com\r\nEmpty:\r\nSpaces:    \r\nTabs:\t\t\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.example.com\r\nA: a\tb  c \t \r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.example.com\r\n!#$%&'*+-.^_`|~0: 1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.example.com\r\nCookie: a=1\r\ncookie: b=2\r\nX: 1\r\nCookie: c=3\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.example.com\r\nX_Under: 1\r\nX: \u{fc}\u{1f600}\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: 3\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.example.com\r\nContent-Length:0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.example.com\r\ncontent-LENGTH: \t 3 \r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: 123456789012345678\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.example.com\r\ntransfer-encoding:chunked\r\ntrailer: x-a\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.example.com\r\nExpect: 100-Continue\r\nContent-Length: 3\r\n\r\n",
    "POST / HTTP/1.0\r\nHost: a.example.com\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.example.com\r\nTe: Trailers\r\n\r\n",
];

#[test]
fn legal_oddities_are_taken_and_leave_as_they_came() {
    let mut failures = Vec::new();
    for text in ODD_REQUESTS {
        match request(text.as_bytes()) {
            Ok(head) => {
                let out = forwarded(&head, &ForwardRequest::default());
                if out != *text {
                    failures.push(format!("{} became {}", shown(text.as_bytes()), shown(out.as_bytes())));
                }
            }
            Err(error) => failures.push(format!("{}: {error}", shown(text.as_bytes()))),
        }
    }
    for text in [
        "HTTP/1.1 200 \r\n\r\n",
        "HTTP/1.1 200 \t Tr\u{e8}s bien \r\nA:\r\n\r\n",
        "HTTP/1.0 999 Denied\r\n\r\n",
        "HTTP/1.1 599 \r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nHost: a\r\nHost: b\r\nExpect: x\r\n\r\n",
        "HTTP/1.1 199 Odd\r\nContent-Length: 0\r\n\r\n",
    ] {
        if let Err(error) = response(text.as_bytes()) {
            failures.push(format!("{}: {error}", shown(text.as_bytes())));
        }
    }
    report(&failures);

    let blank = request(b"\r\nGET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n").unwrap();
    assert!(blank.raw().starts_with(b"GET"), "an empty line after a former body is dropped");
    let respelled = request(b"POST / HTTP/1.1\r\nHost: a.example.com\r\nTransfer-Encoding: cHunked \r\n\r\n").unwrap();
    assert_eq!(respelled.framing(), Framing::Chunked);
    let out = forwarded(&respelled, &ForwardRequest::default());
    assert!(out.ends_with("Transfer-Encoding: chunked \r\n\r\n"), "what not every server reads is respelled: {out}");
}

#[test]
fn legal_oddities_of_chunks_are_taken() {
    for (text, passed, data) in [
        ("0\r\n\r\n", "0\r\n\r\n", ""),
        ("000\r\n\r\n", "000\r\n\r\n", ""),
        ("0000000000000003\r\nabc\r\n0\r\n\r\n", "0000000000000003\r\nabc\r\n0\r\n\r\n", "abc"),
        (
            "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
            "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
            "01234567890123456789",
        ),
        ("3;a;b=c;d=\"e;\\\"\r\nabc\r\n", "", ""),
        ("3;a;b=c;d=\"e; \\\" \u{e4}\"\r\nabc\r\n0;last\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n", "abc"),
        (
            "2\r\n\r\n\r\n0\r\nX-Sum:1\r\nx-sum: \t2 \r\n\r\n",
            "2\r\n\r\n\r\n0\r\nX-Sum:1\r\nx-sum: \t2 \r\n\r\n",
            "\r\n",
        ),
    ] {
        let mut reader = BodyReader::new(Framing::Chunked, Limits::default());
        let mut out = BytesMut::new();
        let progress = reader.pass(&mut BytesMut::from(text.as_bytes()), &mut out, &mut |_| ());
        if passed.is_empty() {
            assert!(progress.is_err(), "{text}");
            continue;
        }
        assert_eq!((progress, &out[..]), (Ok(Progress::Done), passed.as_bytes()), "{text}");
        let mut taken = BytesMut::new();
        let mut reader = BodyReader::new(Framing::Chunked, Limits::default());
        assert_eq!(reader.take(&mut BytesMut::from(text.as_bytes()), &mut taken), Ok(Progress::Done));
        assert_eq!(&taken[..], data.as_bytes());
    }
}

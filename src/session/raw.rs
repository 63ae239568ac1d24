//! One request as a file: request line, fields, empty line, body.
//!
//! HTTP/1.1 spelling with CRLF or LF. The body is the rest of the file, in chunks only where the head says
//! so. What is not edited is written as it was read, byte for byte.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::flow::Exchange;
use super::http;
use crate::engine::{Outgoing, Part, Request, Rewritten};
use crate::wire::body::BodyReader;
use crate::wire::head::{Framing, HeadError, RequestHead};
use crate::wire::limits::Limits;

/// A captured request.
#[derive(Clone, Debug)]
pub struct Captured {
    pub request: Arc<Request>,
    /// All of the file.
    raw: Bytes,
    body_at: usize,
    /// The body without its chunks.
    body: Bytes,
    chunked: bool,
    /// The field lines behind the last chunk, without the empty line.
    trailers: Bytes,
}

impl Captured {
    pub fn read(raw: Bytes) -> Result<Self, HeadError> {
        let limits = Limits { head_bytes: 1024 * 1024, fields: 10_000, ..Limits::default() };
        let (head, body_at) = RequestHead::parse_captured(&raw, &limits)?;
        let rest = raw.slice(body_at..);
        let unchunked = match head.framing() {
            Framing::Chunked => unchunked(&rest, limits),
            _ => None,
        };
        let chunked = unchunked.is_some();
        let (unchunked, trailers) = unchunked.unzip();
        let authority = head.authority();
        let host = authority.as_ref().map(|authority| authority.host.to_ascii_lowercase()).unwrap_or_default();
        // Captures hold what was inside the encryption, so that is what they were unless they say otherwise.
        let secure = head.target_scheme() != Some("http");
        let port = authority.and_then(|authority| authority.port).unwrap_or(if secure { 443 } else { 80 });
        let request = Arc::new(Request { host, port, secure, head });
        // Tools that capture often undo the chunks and keep the field: then the rest is the body as it is.
        Ok(Self {
            request,
            body: unchunked.unwrap_or(rest),
            body_at,
            chunked,
            raw,
            trailers: trailers.unwrap_or_default(),
        })
    }

    /// A request that was recorded or imported: transfer codings are undone, and where it went is known.
    pub fn of(exchange: &Exchange) -> Result<Self, HeadError> {
        let (head, body) = (&exchange.request.head, &exchange.request.body);
        let limits = Limits { head_bytes: 1024 * 1024, fields: 10_000, ..Limits::default() };
        let (parsed, body_at) = RequestHead::parse_captured(head, &limits)?;
        let raw: Bytes = if body.is_empty() { head.clone() } else { [&head[..], &body[..]].concat().into() };
        let request =
            Request { host: exchange.host.clone(), port: exchange.port, secure: exchange.secure, head: parsed };
        let body = raw.slice(body_at..);
        Ok(Self { request: Arc::new(request), raw, body_at, body, chunked: false, trailers: Bytes::new() })
    }

    /// What is wrong with the framing of the file, in words: it is read as far as it goes all the same.
    pub fn damage(&self) -> Option<String> {
        let head = &self.request.head;
        let lengths: Vec<&[u8]> = head.all("content-length").collect();
        let coded = head.get("transfer-encoding").is_some();
        if coded && !lengths.is_empty() {
            return Some("both content-length and transfer-encoding are there".to_owned());
        }
        let hosts: Vec<&[u8]> = head.all("host").collect();
        if hosts.len() > 1 {
            return Some(format!("{} host fields are there", hosts.len()));
        }
        let rest = &self.raw[self.body_at..];
        // Tools that capture often undo the chunks: only what still begins with a size is broken.
        let sized = rest.split(|&byte| byte == b'\n').next().is_some_and(|line| {
            let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
            digits > 0 && matches!(line.get(digits), None | Some(b'\r' | b';'))
        });
        if head.framing() == Framing::Chunked && !self.chunked && sized {
            return Some("the chunks are broken".to_owned());
        }
        match lengths.as_slice() {
            [] => None,
            [first, others @ ..] if others.iter().any(|other| other != first) => {
                Some("the content-length fields disagree".to_owned())
            }
            [length, ..] => {
                let said = std::str::from_utf8(length).ok().and_then(|length| length.trim().parse::<usize>().ok());
                let there = self.body.len();
                (said != Some(there)).then(|| {
                    let said = said.map_or_else(|| "no number".to_owned(), |said| said.to_string());
                    format!("content-length says {said}, the body has {there} bytes")
                })
            }
        }
    }

    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The request as one unit of the audit.
    pub fn part(&self) -> Part {
        if self.body.is_empty() { Part::Head } else { Part::Document(self.body.clone()) }
    }

    /// The fields behind the body as a unit of their own, which comes last.
    pub fn trailers(&self) -> Option<Part> {
        (!self.trailers.is_empty()).then(|| Part::Trailers(self.trailers.clone()))
    }

    /// The file as it would leave; none where nothing may.
    pub fn outgoing(&self, outgoing: &Outgoing) -> Option<Bytes> {
        self.outgoing_with(outgoing, &Outgoing::Unchanged(self.trailers.clone()))
    }

    /// The same with what became of the trailers.
    pub fn outgoing_with(&self, outgoing: &Outgoing, trailers: &Outgoing) -> Option<Bytes> {
        let trailers = match trailers {
            Outgoing::Unchanged(_) => &self.trailers,
            Outgoing::Rewritten(rewritten) => &rewritten.payload,
            Outgoing::Withheld(_) => return None,
        };
        match outgoing {
            Outgoing::Unchanged(_) if trailers == &self.trailers => Some(self.raw.clone()),
            Outgoing::Unchanged(_) => {
                let as_it_is = Rewritten { head: Vec::new(), payload: self.body.clone() };
                Some(self.rewritten(&as_it_is, trailers))
            }
            Outgoing::Rewritten(rewritten) => Some(self.rewritten(rewritten, trailers)),
            Outgoing::Withheld(_) => None,
        }
    }

    fn rewritten(&self, rewritten: &Rewritten, trailers: &Bytes) -> Bytes {
        let head = &self.raw[..self.body_at];
        let mut out = Vec::with_capacity(self.raw.len() + 256);
        let mut at = 0;
        for edit in &rewritten.head {
            let range = edit.span.range();
            out.extend_from_slice(head.get(at..range.start).unwrap_or_default());
            out.extend_from_slice(&edit.bytes);
            at = range.end;
        }
        out.extend_from_slice(head.get(at..).unwrap_or_default());
        if rewritten.payload == self.body && trailers == &self.trailers {
            out.extend_from_slice(&self.raw[self.body_at..]);
        } else if self.chunked {
            if !rewritten.payload.is_empty() {
                out.extend_from_slice(format!("{:x}\r\n", rewritten.payload.len()).as_bytes());
                out.extend_from_slice(&rewritten.payload);
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(b"0\r\n");
            out.extend_from_slice(trailers);
            out.extend_from_slice(b"\r\n");
        } else {
            out.extend_from_slice(&rewritten.payload);
        }
        out.into()
    }
}

/// An exchange's request as such a file, which [`Captured::read`] reads as the same request.
///
/// The length is that of the body as it is here. What was not encrypted names its whole URL as target: the format has no
/// other place that says so.
pub fn write(exchange: &Exchange) -> Vec<u8> {
    let message = &exchange.request;
    let start = http::start_line(message);
    let (method, target, _) = http::request_line(message);
    let mut out = Vec::with_capacity(message.head.len() + message.body.len() + 64);
    if !exchange.secure && target.starts_with(b"/") {
        let host = message.field("host").filter(|host| http::authority(host).is_some());
        let named =
            if exchange.port == 80 { exchange.host.clone() } else { format!("{}:{}", exchange.host, exchange.port) };
        out.extend_from_slice(method);
        out.extend_from_slice(b" http://");
        out.extend_from_slice(host.unwrap_or(named.as_bytes()));
        out.extend_from_slice(&start[method.len() + 1..]);
    } else {
        out.extend_from_slice(start);
    }
    let rest = &message.head[start.len()..];
    let line_end: &[u8] = if rest.starts_with(b"\r\n") { b"\r\n" } else { b"\n" };
    out.extend_from_slice(line_end);
    let mut chunked = false;
    let mut length = false;
    for line in rest.split_inclusive(|&byte| byte == b'\n').skip(1) {
        let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
        if name.eq_ignore_ascii_case(b"content-length") {
            // Several would be damage to a reader, even if they agree.
            if !std::mem::replace(&mut length, true) {
                out.extend_from_slice(name);
                out.extend_from_slice(format!(": {}", message.body.len()).as_bytes());
                out.extend_from_slice(line_end);
            }
            continue;
        }
        chunked |= name.eq_ignore_ascii_case(b"transfer-encoding");
        out.extend_from_slice(line);
    }
    if chunked && !length {
        if !message.body.is_empty() {
            out.extend_from_slice(format!("{:x}\r\n", message.body.len()).as_bytes());
            out.extend_from_slice(&message.body);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"0\r\n");
        out.extend_from_slice(&message.trailers);
        out.extend_from_slice(b"\r\n");
    } else {
        out.extend_from_slice(&message.body);
    }
    out
}

/// The data of a chunked body and its trailers; none where the chunks are not what they should be.
fn unchunked(body: &Bytes, limits: Limits) -> Option<(Bytes, Bytes)> {
    let mut reader = BodyReader::new(Framing::Chunked, limits);
    let mut data = BytesMut::new();
    reader.take(&mut BytesMut::from(&body[..]), &mut data).ok()?;
    let trailers = reader.trailers().map(|trailers| trailers.raw().clone()).unwrap_or_default();
    reader.is_done().then(|| (data.freeze(), trailers))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::flow::Message;
    use crate::wire::head::HeadEdit;
    use crate::wire::span::Span;

    fn read(text: &str) -> Captured {
        Captured::read(Bytes::copy_from_slice(text.as_bytes())).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    #[test]
    fn line_ends_of_both_kinds_are_read_and_kept() {
        for text in [
            "POST /a HTTP/1.1\r\nHost: api.example.com:8443\r\n\r\n{}",
            "POST /a HTTP/1.1\nHost: api.example.com:8443\n\n{}",
        ] {
            let captured = read(text);
            assert_eq!((captured.request.host.as_str(), captured.request.port), ("api.example.com", 8443));
            assert_eq!(&captured.body()[..], b"{}");
            assert_eq!(captured.outgoing(&Outgoing::Unchanged(Bytes::new())).unwrap(), text);
        }
    }

    #[test]
    fn chunks_are_undone_only_where_they_are_declared_and_there() {
        let chunked = "POST / HTTP/1.1\r\nHost: a.example.com\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(&read(&format!("{chunked}2\r\n{{}}\r\n0\r\n\r\n")).body()[..], b"{}");
        assert_eq!(&read(&format!("{chunked}{{}}")).body()[..], b"{}");
        assert_eq!(&read("POST / HTTP/1.1\nHost: a.example.com\n\n2\r\n{}\r\n0\r\n\r\n").body().len(), &12);
    }

    #[test]
    fn trailers_are_a_unit_of_their_own_and_stay_where_they_are() {
        let head = "POST / HTTP/1.1\r\nHost: a.example.com\r\nTransfer-Encoding: chunked\r\n\r\n";
        let captured = read(&format!("{head}1\r\n{{\r\n1\r\n}}\r\n0\r\nX-Host: laptop\r\n\r\n"));
        let Some(Part::Trailers(trailers)) = captured.trailers() else { panic!("no trailers") };
        assert_eq!(trailers, "X-Host: laptop\r\n");
        let unchanged = Outgoing::Unchanged(Bytes::new());
        assert_eq!(captured.outgoing(&unchanged).unwrap(), captured.raw);
        let other =
            |payload: &'static str| Outgoing::Rewritten(Rewritten { head: Vec::new(), payload: payload.into() });
        assert_eq!(
            captured.outgoing_with(&unchanged, &other("X-Host: h\r\n")).unwrap(),
            format!("{head}2\r\n{{}}\r\n0\r\nX-Host: h\r\n\r\n")
        );
        assert_eq!(captured.outgoing(&other("[]")).unwrap(), format!("{head}2\r\n[]\r\n0\r\nX-Host: laptop\r\n\r\n"));
        assert!(read(&format!("{head}2\r\n{{}}\r\n0\r\n\r\n")).trailers().is_none());
    }

    #[test]
    fn framing_that_is_wrong_is_told() {
        for (head, body, said) in [
            ("Content-Length: 2\n", "{}", None),
            ("Content-Length: 9\n", "{}", Some("content-length says 9, the body has 2 bytes")),
            ("Content-Length: 1\n", "{}", Some("content-length says 1, the body has 2 bytes")),
            ("Transfer-Encoding: chunked\n", "2\r\n{}\r\n0\r\n\r\n", None),
            ("Transfer-Encoding: chunked\n", "{}", None),
            ("Transfer-Encoding: chunked\n", "ffff\r\n{}", Some("the chunks are broken")),
            ("", "{}", None),
        ] {
            let captured = read(&format!("POST / HTTP/1.1\nHost: a.example.com\n{head}\n{body}"));
            assert_eq!(captured.damage().as_deref(), said, "{head}{body}");
        }
    }

    #[test]
    fn an_exchange_is_written_as_what_reads_the_same() {
        let message = |head: &str| Message {
            head: head.to_owned().into(),
            body: "{\"a\":1}".into(),
            trailers: "x-end: 1\r\n".into(),
            ..Message::default()
        };
        let exchange = |secure, port, head: &str| Exchange {
            host: "a.example.com".into(),
            port,
            secure,
            request: message(head),
            ..Exchange::default()
        };
        for (secure, port, head) in [
            (true, 443, "POST /x HTTP/1.1\r\nHost: a.example.com\r\n\r\n"),
            (true, 443, "POST /x HTTP/1.1\nHost: a.example.com\nContent-Length: 99\n\n"),
            (
                true,
                8443,
                "POST /x HTTP/1.1\r\nHost: a.example.com:8443\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            ),
            (false, 80, "POST /x HTTP/1.1\r\nHost: a.example.com\r\nTransfer-Encoding: chunked\r\n\r\n"),
            (false, 81, "POST /x HTTP/1.1\r\nHost: a.example.com:81\r\nX:  1 \r\n\r\n"),
        ] {
            let one = exchange(secure, port, head);
            let file = write(&one);
            let text = String::from_utf8_lossy(&file).into_owned();
            let read = Captured::read(file.into()).unwrap();
            assert_eq!(
                (read.request.host.as_str(), read.request.port, read.request.secure),
                ("a.example.com", port, secure),
                "{text}"
            );
            assert_eq!((&read.body()[..], read.damage()), (&one.request.body[..], None), "{text}");
            assert_eq!(
                read.request.head.fields().len(),
                head.matches(": ").count() - usize::from(head.contains("Length: 1\r\nC")),
                "{text}"
            );
        }
    }

    #[test]
    fn edits_move_nothing_else() {
        let captured = read("POST /a HTTP/1.1\nHost: a.example.com\nX-Device: 1234\n\nbody");
        let start = 38;
        let rewritten = Rewritten {
            head: vec![HeadEdit { span: Span::of(start + 8..start + 14), bytes: b"0".to_vec() }],
            payload: "b".into(),
        };
        let out = captured.outgoing(&Outgoing::Rewritten(rewritten)).unwrap();
        assert_eq!(out.len(), captured.raw.len() - 5 - 3);
    }
}

//! The head of a response.

use bytes::{Bytes, BytesMut};

use super::control::{Control, Way};
use super::head::{Field, Framing, HeadError};
use super::lexer::{self, Lines};
use super::limits::Limits;
use super::parse;
use super::span::Span;

/// The head of a response as the upstream sent it.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    pub(super) raw: Bytes,
    pub(super) fields: Vec<Field>,
    reason: Span,
    status: u16,
    minor: u8,
    framing: Framing,
    keep_alive: bool,
}

impl ResponseHead {
    pub(super) const VERSION_BYTES: usize = 8;

    /// Takes one head off the front of `buffer`, without copying. `None`: more bytes are needed.
    ///
    /// How the body ends hangs on the request: on its method, and on whether it offered an upgrade. An
    /// error has the status 502.
    pub fn parse(
        buffer: &mut BytesMut,
        request_method: &str,
        upgrade_offered: bool,
        limits: &Limits,
    ) -> Result<Option<Self>, HeadError> {
        Self::take(buffer, request_method, upgrade_offered, limits).map_err(|error| HeadError { status: 502, ..error })
    }

    fn take(
        buffer: &mut BytesMut,
        request_method: &str,
        upgrade_offered: bool,
        limits: &Limits,
    ) -> Result<Option<Self>, HeadError> {
        let Some(window) = parse::window(buffer, limits) else { return Ok(None) };
        let Some((minor, status, reason, start)) = status_line(window)? else {
            return parse::unfinished(window, limits);
        };
        let mut control = Control::default();
        let mut fields = Vec::with_capacity(parse::FIELDS_EXPECTED);
        let note = |field: &mut Field, index: usize| control.note(window, field, index, Way::Response);
        let Some(end) = lexer::read_fields(window, start, Lines::Wire, limits.fields, &mut fields, note)? else {
            return parse::unfinished(window, limits);
        };
        control.mark_named(window, &mut fields);
        let framing = framing(&control, minor, status, request_method)?;
        if status == 101 {
            let websocket = control
                .upgrade
                .and_then(|index| fields.get(index as usize))
                .is_some_and(|field| field.value.of_bytes(window).eq_ignore_ascii_case(b"websocket"));
            if !upgrade_offered || !websocket || control.upgrades || !control.offers_upgrade || minor == 0 {
                return Err(HeadError::bad("a switch of protocols that was not asked for"));
            }
        }
        let persistent = !control.close && (minor >= 1 || control.keep_alive);
        let raw = buffer.split_to(end).freeze();
        let keep_alive = persistent && framing != Framing::UntilClose && status != 101;
        Ok(Some(Self { raw, fields, reason, status, minor, framing, keep_alive }))
    }

    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    pub fn status(&self) -> u16 {
        self.status
    }

    /// The words after the status, as sent.
    pub fn reason(&self) -> &[u8] {
        self.bytes(self.reason)
    }

    /// HTTP/1.`minor`.
    pub fn minor_version(&self) -> u8 {
        self.minor
    }

    /// Whether another response follows to the same request. A 101 is the last one.
    pub fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether the upstream takes another request after this response.
    pub fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    pub fn bytes(&self, span: Span) -> &[u8] {
        span.of_bytes(&self.raw)
    }

    /// The first field called `name`, in any case.
    pub fn get<'a>(&'a self, name: &'a str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// Every field called `name`, in any case, in the order they came.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.fields
            .iter()
            .filter(move |field| self.bytes(field.name).eq_ignore_ascii_case(name.as_bytes()))
            .map(|field| self.bytes(field.value))
    }
}

/// `HTTP/1.x NNN reason`: minor version, status, reason and the offset after the line.
fn status_line(raw: &[u8]) -> Result<Option<(u8, u16, Span, usize)>, HeadError> {
    /// Up to and with the space in front of the reason.
    const FIXED: usize = 13;
    for (at, &byte) in raw.iter().enumerate().take(FIXED) {
        let fits = match at {
            0..=6 => byte == b"HTTP/1."[at],
            7 => matches!(byte, b'0' | b'1'),
            8 | 12 => byte == b' ',
            9 => matches!(byte, b'1'..=b'9'),
            _ => byte.is_ascii_digit(),
        };
        if !fits {
            return Err(HeadError::bad("not an HTTP/1 status line"));
        }
    }
    let [.., minor, b' ', a, b, c, b' '] = raw.get(..FIXED).unwrap_or_default() else { return Ok(None) };
    let digit = |byte: &u8| u16::from(byte - b'0');
    let status = digit(a) * 100 + digit(b) * 10 + digit(c);
    let reason_end = lexer::text_end(raw, FIXED);
    let end = Lines::Wire.end(raw, reason_end)?;
    Ok(end.map(|end| (minor - b'0', status, Span::of(FIXED..reason_end), end)))
}

/// How the body ends (RFC 9112, section 6.3).
fn framing(control: &Control, minor: u8, status: u16, request_method: &str) -> Result<Framing, HeadError> {
    // Towards a proxy of our own: whatever such a head says of lengths, a tunnel follows.
    if request_method == "CONNECT" && (200..300).contains(&status) {
        return Ok(Framing::None);
    }
    control.check(minor)?;
    let length = control.length();
    if status < 200 || status == 204 {
        if control.chunked() || length.is_some_and(|length| length > 0) {
            return Err(HeadError::bad("a body announced with a status that has none"));
        }
        return Ok(Framing::None);
    }
    if status == 304 || request_method == "HEAD" {
        return Ok(Framing::None);
    }
    Ok(match length {
        _ if control.chunked() => Framing::Chunked,
        Some(0) => Framing::None,
        Some(length) => Framing::Length(length),
        None => Framing::UntilClose,
    })
}

//! Reading a request head: one pass, and then what a live request must also be.

use bytes::{Bytes, BytesMut};

use super::authority::Authority;
use super::control::{Control, Way};
use super::head::{Field, Framing, HeadError, RequestHead, TargetForm};
use super::lexer::{self, Lines};
use super::limits::Limits;
use super::span::Span;

impl RequestHead {
    /// Takes one head off the front of `buffer`, without copying. `None`: more bytes are needed.
    ///
    /// An empty line in front of it is dropped, as some clients send one after a body (RFC 9112, 2.2).
    pub fn parse(buffer: &mut BytesMut, limits: &Limits) -> Result<Option<Self>, HeadError> {
        let Some(window) = window(buffer, limits) else { return Ok(None) };
        let blank = if window.starts_with(b"\r\n") { 2 } else { 0 };
        let head = window.get(blank..).unwrap_or_default();
        if head == b"\r" && blank == 0 {
            return Ok(None);
        }
        let Some(draft) = Draft::read(head, Lines::Wire, limits)? else { return unfinished(window, limits) };
        draft.check(head)?;
        if blank > 0 {
            let _ = buffer.split_to(blank);
        }
        let raw = buffer.split_to(draft.end).freeze();
        Ok(Some(draft.bind(raw)))
    }

    /// Reads a head out of a captured file and says where its body begins. The bytes stay as they are.
    ///
    /// LF will do as line end, the empty line may be missing at the end of the file, and the version may
    /// be missing or another one. What only matters to a live connection is not refused: repeated or
    /// missing hosts, odd lengths.
    pub fn parse_captured(bytes: &Bytes, limits: &Limits) -> Result<(Self, usize), HeadError> {
        let window = bytes.get(..limits.head_bytes).unwrap_or(bytes);
        let draft = Draft::read(window, Lines::Captured, limits)
            .map_err(|error| HeadError { line: line_of(window, limits), ..error })?
            .filter(|draft| draft.end < window.len() || window.len() == bytes.len())
            .ok_or(HeadError::new(431, "the head is too long"))?;
        let end = draft.end;
        Ok((draft.bind(bytes.slice(..end)), end))
    }
}

/// A head read, not yet bound to its bytes.
struct Draft {
    method: Span,
    target: Span,
    fields: Vec<Field>,
    control: Control,
    form: TargetForm,
    minor: u8,
    end: usize,
}

impl TargetForm {
    pub(super) fn of(target: &[u8]) -> Self {
        match target {
            [b'/', ..] => Self::Origin,
            b"*" => Self::Asterisk,
            _ if memchr::memmem::find(target, b"://").is_some() => Self::Absolute,
            _ => Self::Authority,
        }
    }
}

/// Where in an absolute-form target the authority stands.
pub(super) fn authority_range(target: &[u8]) -> Option<std::ops::Range<usize>> {
    let start = memchr::memmem::find(target, b"://")? + 3;
    let end = lexer::run(target, start, |byte| byte != b'/' && byte != b'?');
    Some(start..end)
}

impl Draft {
    /// One pass over the head. `None`: more bytes are needed.
    fn read(raw: &[u8], lines: Lines, limits: &Limits) -> Result<Option<Self>, HeadError> {
        let way = if lines == Lines::Wire { Way::Request } else { Way::Captured };
        let method_end = lexer::run(raw, 0, lexer::is_token_byte);
        if method_end > METHOD_BYTES {
            return Err(HeadError::new(501, "the method is too long"));
        }
        match raw.get(method_end) {
            Some(b' ') if method_end > 0 => {}
            None if lines == Lines::Wire => return Ok(None),
            _ => return Err(HeadError::bad("not a method and a space")),
        }
        let start = method_end + 1;
        let target_end = lexer::run(raw, start, lexer::is_target_byte);
        let target = Span::of(start..target_end);
        let (minor, end) = match raw.get(target_end) {
            Some(b' ') if !target.is_empty() => match version(raw, target_end + 1, lines)? {
                Some(found) => found,
                None => return Ok(None),
            },
            None if lines == Lines::Wire => return Ok(None),
            Some(b'\r' | b'\n') | None if lines == Lines::Captured && !target.is_empty() => {
                match lines.end(raw, target_end)? {
                    Some(end) => (1, end),
                    None => return Ok(None),
                }
            }
            Some(b'#') => return Err(HeadError::bad("a fragment in the target")),
            Some(b'\r' | b'\n') => return Err(HeadError::bad("a request line without a version")),
            _ => return Err(HeadError::bad("not a target of visible ASCII and a space")),
        };
        let mut control = Control::default();
        let mut fields = Vec::with_capacity(FIELDS_EXPECTED);
        let note = |field: &mut Field, index: usize| control.note(raw, field, index, way);
        let Some(end) = lexer::read_fields(raw, end, lines, limits.fields, &mut fields, note)? else {
            return Ok(None);
        };
        control.mark_named(raw, &mut fields);
        let form = TargetForm::of(target.of_bytes(raw));
        Ok(Some(Self { method: Span::of(0..method_end), target, fields, control, form, minor, end }))
    }

    /// What a live request must also be: one that every recipient sends to the same place and ends at the
    /// same byte.
    fn check(&self, raw: &[u8]) -> Result<(), HeadError> {
        self.control.check(self.minor)?;
        let method = self.method.of_bytes(raw);
        let target = self.target.of_bytes(raw);
        // What these methods mean for framing must not hang on who ignores case.
        for name in [&b"CONNECT"[..], b"HEAD"] {
            if method != name && method.eq_ignore_ascii_case(name) {
                return Err(HeadError::new(501, "a method in the wrong case"));
            }
        }
        let body = self.control.request_framing() != Framing::None;
        if body && (method == b"CONNECT" || method == b"TRACE") {
            return Err(HeadError::bad("a body with a method that has none"));
        }
        let named = match self.form {
            TargetForm::Origin => None,
            TargetForm::Asterisk if method == b"OPTIONS" => None,
            TargetForm::Asterisk => return Err(HeadError::bad("an asterisk as target is for OPTIONS alone")),
            TargetForm::Authority if method == b"CONNECT" => match Authority::parse(target) {
                Some(authority) if authority.port.is_some() => Some((authority, authority.port.unwrap_or(443))),
                _ => return Err(HeadError::bad("the target of CONNECT is not a host and a port")),
            },
            TargetForm::Authority => return Err(HeadError::bad("the target is neither a path nor a URL")),
            TargetForm::Absolute => Some(absolute(target)?),
        };
        if method == b"CONNECT" && self.form != TargetForm::Authority {
            return Err(HeadError::bad("the target of CONNECT is not a host and a port"));
        }
        let Some(host) = self.control.host.and_then(|index| self.fields.get(index as usize)) else {
            return if self.minor == 0 { Ok(()) } else { Err(HeadError::bad("no host")) };
        };
        let Some(host) = Authority::parse(host.value.of_bytes(raw)) else {
            return Err(HeadError::bad("host is not a host with perhaps a port"));
        };
        match named {
            Some((target, default)) if !host.same(&target, default) => Err(HeadError::bad(HeadError::TWO_PLACES)),
            _ => Ok(()),
        }
    }

    fn bind(self, raw: Bytes) -> RequestHead {
        RequestHead {
            raw,
            method: self.method,
            target: self.target,
            framing: self.control.request_framing(),
            fields: self.fields,
            control: self.control,
            form: self.form,
            minor: self.minor,
        }
    }
}

/// The line of a captured head that cannot be read: the last of the shortest run of lines that fails.
fn line_of(raw: &[u8], limits: &Limits) -> u32 {
    let ends = memchr::memchr_iter(b'\n', raw).map(|end| end + 1).chain([raw.len()]);
    let fails = |end: usize| raw.get(..end).is_some_and(|part| Draft::read(part, Lines::Captured, limits).is_err());
    ends.zip(1..).find(|&(end, _)| fails(end)).map_or(0, |(_, line)| line)
}

/// No registered method has more than 17 characters.
const METHOD_BYTES: usize = 32;

/// Assistants send some twenty fields; one allocation then.
pub(super) const FIELDS_EXPECTED: usize = 32;

/// The authority of an absolute-form target and its scheme's port.
fn absolute(target: &[u8]) -> Result<(Authority<'_>, u16), HeadError> {
    let scheme = memchr::memmem::find(target, b"://").and_then(|end| target.get(..end)).unwrap_or_default();
    let port = if scheme.eq_ignore_ascii_case(b"http") {
        80
    } else if scheme.eq_ignore_ascii_case(b"https") {
        443
    } else {
        return Err(HeadError::bad("the target's scheme is neither http nor https"));
    };
    let authority = authority_range(target).and_then(|range| Authority::parse(target.get(range)?));
    authority
        .map(|authority| (authority, port))
        .ok_or(HeadError::bad("the target's host is not a host with perhaps a port"))
}

/// `HTTP/1.x` and its line end at `at`: the minor version and the offset after them.
fn version(raw: &[u8], at: usize, lines: Lines) -> Result<Option<(u8, usize)>, HeadError> {
    let rest = raw.get(at..).unwrap_or_default();
    let (minor, length) = match rest {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ (b'0' | b'1'), ..] => (minor - b'0', 8),
        // Tools print HTTP/2 requests in the shape of HTTP/1.1.
        [b'H', b'T', b'T', b'P', b'/', b'2' | b'3', b'.', b'0', ..] if lines == Lines::Captured => (1, 8),
        [b'H', b'T', b'T', b'P', b'/', b'2' | b'3', ..] if lines == Lines::Captured => (1, 6),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor, end, ..]
            if major.is_ascii_digit() && minor.is_ascii_digit() && matches!(end, b'\r' | b'\n') =>
        {
            return Err(HeadError::new(505, "an HTTP version other than 1.0 and 1.1"));
        }
        _ if b"HTTP/".starts_with(rest) || (rest.starts_with(b"HTTP/") && is_digits(&rest[5..])) => {
            return if lines == Lines::Wire { Ok(None) } else { Err(HeadError::bad("not an HTTP version")) };
        }
        _ => return Err(HeadError::bad("not an HTTP version")),
    };
    match raw.get(at + length) {
        Some(b'\r' | b'\n') | None => Ok(lines.end(raw, at + length)?.map(|end| (minor, end))),
        Some(_) => Err(HeadError::bad("more than a version at the end of the request line")),
    }
}

/// The start of `d.d`.
fn is_digits(rest: &[u8]) -> bool {
    match rest {
        [] => true,
        [major] => major.is_ascii_digit(),
        [major, dot] => major.is_ascii_digit() && *dot == b'.',
        [major, dot, minor] => major.is_ascii_digit() && *dot == b'.' && minor.is_ascii_digit(),
        _ => false,
    }
}

/// Above this an unfinished head is only read again when a line is complete: a client that sends it byte
/// by byte must not cost the square of its length.
const READ_AGAIN: usize = 16 * 1024;

/// The bytes of `buffer` that may hold a head, or `None` if there is no use in reading them yet.
pub(super) fn window<'a>(buffer: &'a [u8], limits: &Limits) -> Option<&'a [u8]> {
    let window = buffer.get(..limits.head_bytes).unwrap_or(buffer);
    let unfinished = window.len() > READ_AGAIN
        && window.len() < limits.head_bytes
        && !window.ends_with(b"\n")
        && memchr::memmem::find(window, b"\r\n\r\n").is_none();
    (!unfinished).then_some(window)
}

/// More bytes are needed, unless as many as a head may have are there already.
pub(super) fn unfinished<T>(window: &[u8], limits: &Limits) -> Result<Option<T>, HeadError> {
    if window.len() >= limits.head_bytes {
        return Err(HeadError::new(431, "the head is too long"));
    }
    Ok(None)
}

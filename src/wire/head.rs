//! The head of a request: the bytes as they came, and where its parts stand in them.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::authority::Authority;
use super::control::{Control, Way};
use super::parse;
use super::span::Span;

pub use super::forward::{ForwardRequest, ForwardResponse, TargetOut};
pub use super::response::ResponseHead;

/// Why a head is refused, and the status that says so to a client. A response that is refused is always
/// answered 502.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HeadError {
    /// 400, 417, 431, 501, 505, or 502.
    pub status: u16,
    pub reason: &'static str,
    /// Counted from 1, for captured files; 0 elsewhere.
    pub line: u32,
}

impl std::fmt::Display for HeadError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.line > 0 {
            write!(out, "line {}: ", self.line)?;
        }
        out.write_str(self.reason)
    }
}

impl std::error::Error for HeadError {}

impl HeadError {
    /// The reason where a URL as target and `Host` disagree: in a tunnel a question of identity, too.
    pub const TWO_PLACES: &'static str = "target and host name different places";

    pub(super) const fn new(status: u16, reason: &'static str) -> Self {
        Self { status, reason, line: 0 }
    }

    pub(super) const fn bad(reason: &'static str) -> Self {
        Self::new(400, reason)
    }
}

/// How the end of a body is found (RFC 9112, section 6).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framing {
    /// No body.
    None,
    /// `Content-Length`: exactly so many bytes.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// Responses only: everything until the connection closes.
    UntilClose,
}

/// One field line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Field {
    pub name: Span,
    /// Without the optional white space around it.
    pub value: Span,
    /// The whole line with its line end.
    pub line: Span,
    /// Belongs to this connection only and is not forwarded (RFC 9110, section 7.6.1).
    pub hop: bool,
}

/// One change to a head: `span` of its raw bytes becomes `bytes`. A span that covers a whole field line
/// with nothing in its place removes the field; an empty span at the start of a line inserts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HeadEdit {
    pub span: Span,
    pub bytes: Vec<u8>,
}

/// The four shapes of a target (RFC 9112, section 3.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TargetForm {
    /// `/v1/messages?beta=true`
    Origin,
    /// `http://example.com/v1/messages`, to a proxy.
    Absolute,
    /// `example.com:443`, with CONNECT alone.
    Authority,
    /// `*`, with OPTIONS alone.
    Asterisk,
}

/// What a client wants its connection to become. Other protocols are not offered to the upstream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Upgrade {
    /// RFC 6455, version 13.
    WebSocket,
}

/// The head of a request. `raw` is what the client sent, or, for HTTP/2, the same fields spelled as
/// HTTP/1.1 so that one set of spans serves both.
#[derive(Clone, Debug)]
pub struct RequestHead {
    pub(super) raw: Bytes,
    pub(super) method: Span,
    pub(super) target: Span,
    pub(super) fields: Vec<Field>,
    pub(super) framing: Framing,
    pub(super) control: Control,
    pub(super) form: TargetForm,
    pub(super) minor: u8,
}

impl RequestHead {
    /// A head spelled as HTTP/1.1 from parts that HTTP/2 carries apart. `target` is the path with its
    /// query; the authority must be given as a `host` field by the caller.
    pub fn from_parts<'a>(method: &str, target: &str, fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let mut raw = Vec::with_capacity(512);
        let mut put = |bytes: &[u8]| {
            let start = raw.len();
            raw.extend_from_slice(bytes);
            Span::of(start..raw.len())
        };
        let method = put(method.as_bytes());
        put(b" ");
        let target = put(target.as_bytes());
        put(b" HTTP/1.1\r\n");
        let mut list = Vec::with_capacity(24);
        for (name, value) in fields {
            let name = put(name);
            put(b": ");
            let value = put(value);
            let end = put(b"\r\n");
            list.push(Field { name, value, line: Span::new(name.start, end.end), hop: false });
        }
        put(b"\r\n");
        let mut control = Control::default();
        for (index, field) in list.iter_mut().enumerate() {
            // HTTP/2 has no hop-by-hop fields to find, and its frames say where a body ends.
            let _ = control.note(&raw, field, index, Way::Captured);
            field.hop = false;
        }
        let form = TargetForm::of(target.of_bytes(&raw));
        Self { raw: raw.into(), method, target, fields: list, framing: Framing::None, control, form, minor: 1 }
    }

    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    pub fn method(&self) -> &str {
        self.text(self.method)
    }

    pub fn method_span(&self) -> Span {
        self.method
    }

    pub fn target(&self) -> &str {
        self.text(self.target)
    }

    pub fn target_span(&self) -> Span {
        self.target
    }

    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// HTTP/1.`minor`.
    pub fn minor_version(&self) -> u8 {
        self.minor
    }

    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether the client wants to send another request on this connection.
    pub fn keep_alive(&self) -> bool {
        !self.control.close && (self.minor >= 1 || self.control.keep_alive)
    }

    /// Whether the client holds its body back until it is asked for it. HTTP/1.0 knows no such thing
    /// (RFC 9110, section 10.1.1).
    pub fn expects_continue(&self) -> bool {
        self.control.expects_continue && self.minor >= 1 && self.framing != Framing::None
    }

    pub fn target_form(&self) -> TargetForm {
        self.form
    }

    /// The `Host` field as sent. Missing in HTTP/1.0 alone.
    pub fn host_field(&self) -> Option<&str> {
        let field = self.fields.get(self.control.host? as usize)?;
        std::str::from_utf8(self.bytes(field.value)).ok()
    }

    /// Where the request wants to go: the target's authority, else `Host`.
    pub fn authority(&self) -> Option<Authority<'_>> {
        self.target_authority().or_else(|| Authority::parse(self.host_field()?.as_bytes()))
    }

    /// The authority in an absolute-form or authority-form target.
    pub fn target_authority(&self) -> Option<Authority<'_>> {
        Authority::parse(self.target().as_bytes().get(self.authority_range()?)?)
    }

    /// The scheme of an absolute-form target, as spelled.
    pub fn target_scheme(&self) -> Option<&str> {
        if self.form != TargetForm::Absolute {
            return None;
        }
        self.target().split_once("://").map(|(scheme, _)| scheme)
    }

    /// Whether target and `Host` name one place. They must: RFC 9112 (section 3.2.2) believes the target,
    /// many servers the field. `parse` has refused a disagreement already.
    pub fn host_agrees(&self) -> bool {
        let Some(target) = self.target_authority() else { return true };
        let Some(host) = self.host_field() else { return true };
        let Some(host) = Authority::parse(host.as_bytes()) else { return false };
        // CONNECT has no default port, but clients leave it out of `Host` where it is the scheme's.
        let default = match self.target_scheme() {
            Some(scheme) if scheme.eq_ignore_ascii_case("https") => 443,
            Some(_) => 80,
            None => target.port.unwrap_or(443),
        };
        host.same(&target, default)
    }

    /// What the connection shall become, if the request for it is whole and valid (RFC 6455, section 4.1).
    pub fn upgrade(&self) -> Option<Upgrade> {
        let offered = self.fields.get(self.control.upgrade? as usize)?;
        let whole = self.control.offers_upgrade
            && !self.control.upgrades
            && self.bytes(offered.value).eq_ignore_ascii_case(b"websocket")
            && self.method() == "GET"
            && self.minor == 1
            && self.form != TargetForm::Asterisk
            && self.framing == Framing::None
            && self.only("sec-websocket-version") == Some(b"13")
            && STANDARD.decode(self.only("sec-websocket-key")?).is_ok_and(|key| key.len() == 16);
        whole.then_some(Upgrade::WebSocket)
    }

    /// The value of a field that must not repeat.
    fn only<'a>(&'a self, name: &'a str) -> Option<&'a [u8]> {
        let mut values = self.all(name);
        let value = values.next()?;
        values.next().is_none().then_some(value)
    }

    /// Where in the target its authority stands.
    pub(super) fn authority_range(&self) -> Option<std::ops::Range<usize>> {
        let target = self.target();
        match self.form {
            TargetForm::Absolute => parse::authority_range(target.as_bytes()),
            TargetForm::Authority => Some(0..target.len()),
            TargetForm::Origin | TargetForm::Asterisk => None,
        }
    }

    /// The target without scheme and authority: what an origin is sent, whatever form the client chose (RFC 9112, 3.2.1).
    pub fn path_and_query(&self) -> Cow<'_, str> {
        let target = self.target();
        let rest = match (self.form, self.authority_range()) {
            (TargetForm::Absolute, Some(authority)) => target.get(authority.end..).unwrap_or_default(),
            _ => target,
        };
        match rest.as_bytes().first() {
            Some(b'?') => Cow::Owned(format!("/{rest}")),
            Some(_) => Cow::Borrowed(rest),
            None if self.method() == "OPTIONS" => Cow::Borrowed("*"),
            None => Cow::Borrowed("/"),
        }
    }

    pub fn bytes(&self, span: Span) -> &[u8] {
        span.of_bytes(&self.raw)
    }

    /// The first field called `name`, in any case.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let field = self.fields.iter().find(|field| self.bytes(field.name).eq_ignore_ascii_case(name.as_bytes()))?;
        Some(self.bytes(field.value))
    }

    /// Every field called `name`, in any case, in the order they came.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.fields
            .iter()
            .filter(move |field| self.bytes(field.name).eq_ignore_ascii_case(name.as_bytes()))
            .map(|field| self.bytes(field.value))
    }

    fn text(&self, span: Span) -> &str {
        // Method and target are visible ASCII: the parser refuses all else.
        std::str::from_utf8(span.of_bytes(&self.raw)).unwrap_or_default()
    }
}

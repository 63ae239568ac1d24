//! The fields that steer a connection rather than a server: framing, routing and hop-by-hop fields.
//!
//! They are noted while a head is read, in the same pass; only a `Connection` field that names others
//! needs a second look.

use super::head::{Field, Framing, HeadError};
use super::lexer::{is_token, trim};

/// A field name that this room acts on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Name {
    ContentLength,
    TransferEncoding,
    Host,
    Connection,
    Expect,
    Te,
    Upgrade,
    /// Hop-by-hop, and nothing to learn from it.
    Hop,
    /// `Content_Length`: some servers read an underscore as a hyphen.
    Lookalike,
    Other,
}

impl Name {
    fn of(name: &[u8]) -> Self {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        match name.len() {
            2 if is("te") => Self::Te,
            4 if is("host") => Self::Host,
            6 if is("expect") => Self::Expect,
            7 if is("upgrade") => Self::Upgrade,
            10 if is("connection") => Self::Connection,
            10 if is("keep-alive") => Self::Hop,
            14 if is("content-length") => Self::ContentLength,
            14 if is("http2-settings") => Self::Hop,
            14 if is("content_length") => Self::Lookalike,
            16 if is("proxy-connection") => Self::Hop,
            17 if is("transfer-encoding") => Self::TransferEncoding,
            17 if is("transfer_encoding") => Self::Lookalike,
            18 if is("proxy-authenticate") => Self::Hop,
            19 if is("proxy-authorization") => Self::Hop,
            25 if is("proxy-authentication-info") => Self::Hop,
            _ => Self::Other,
        }
    }
}

/// Fields that no trailer section may carry: they frame or route the message, say how to read its content
/// or who sends it, and all of that is settled before the content (RFC 9110, section 6.5.1).
pub fn forbidden_in_trailers(name: &[u8]) -> bool {
    const FORBIDDEN: [&str; 16] = [
        "authorization",
        "cache-control",
        "content-encoding",
        "content-range",
        "content-type",
        "cookie",
        "expires",
        "if-match",
        "if-none-match",
        "location",
        "max-forwards",
        "range",
        "set-cookie",
        "trailer",
        "vary",
        "www-authenticate",
    ];
    Name::of(name) != Name::Other || FORBIDDEN.iter().any(|other| name.eq_ignore_ascii_case(other.as_bytes()))
}

/// Whether some servers take the field for one that frames.
pub fn looks_like_framing(name: &[u8]) -> bool {
    Name::of(name) == Name::Lookalike
}

/// The length that the `Content-Length` fields of one message state.
pub fn length_of<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Result<Option<u64>, HeadError> {
    let mut length = None;
    for value in values {
        if length.is_some() {
            return Err(HeadError::bad("more than one content-length"));
        }
        length = Some(content_length(value).ok_or(HeadError::bad("content-length is not one plain number"))?);
    }
    Ok(length)
}

fn is_alt_svc(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"alt-svc")
}

/// Which way a head goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Way {
    Request,
    Response,
    /// A request out of a file: nothing is refused that only matters on a live connection.
    Captured,
}

/// What the steering fields of one head say. Fields are named by their place in the head.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Control {
    pub(super) host: Option<u32>,
    pub(super) upgrade: Option<u32>,
    pub(super) expects_continue: bool,
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    /// `Connection` holds `upgrade`.
    pub(super) offers_upgrade: bool,
    /// More than one `Upgrade` field, or one that lists several protocols.
    pub(super) upgrades: bool,
    length: Option<u64>,
    coding: Coding,
    /// `Connection` names fields of this head, perhaps.
    names_fields: bool,
    options: u8,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Coding {
    #[default]
    Identity,
    Chunked,
}

impl Control {
    /// `Connection` options in one head beyond which nobody means well.
    const OPTIONS: u8 = 32;

    /// Takes note of one field and marks it as hop-by-hop where it is.
    pub(super) fn note(&mut self, raw: &[u8], field: &mut Field, index: usize, way: Way) -> Result<(), HeadError> {
        let index = index as u32;
        let value = field.value.of_bytes(raw);
        match Name::of(field.name.of_bytes(raw)) {
            // An invitation to HTTP/3 (RFC 7838): a client that took it would go around us.
            Name::Other if way == Way::Response && is_alt_svc(field.name.of_bytes(raw)) => field.hop = true,
            Name::Other => {}
            Name::Hop => field.hop = true,
            Name::ContentLength => {
                if way == Way::Captured {
                    self.length = self.length.or(content_length(value));
                    return Ok(());
                }
                if self.length.is_some() {
                    return Err(HeadError::bad("more than one content-length"));
                }
                let Some(length) = content_length(value) else {
                    return Err(HeadError::bad("content-length is not one plain number"));
                };
                self.length = Some(length);
            }
            Name::TransferEncoding => match transfer_coding(value) {
                Ok(()) if self.coding == Coding::Chunked && way != Way::Captured => {
                    return Err(HeadError::bad("more than one transfer-encoding"));
                }
                Ok(()) => self.coding = Coding::Chunked,
                Err(_) if way == Way::Captured => {}
                Err(error) => return Err(error),
            },
            Name::Host if way == Way::Response => {}
            Name::Host => {
                if self.host.is_some() && way != Way::Captured {
                    return Err(HeadError::bad("more than one host"));
                }
                self.host = self.host.or(Some(index));
            }
            Name::Connection => {
                field.hop = true;
                self.note_options(value, way)?;
            }
            Name::Expect if way == Way::Request => {
                if self.expects_continue || !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(HeadError::new(417, "an expectation other than one 100-continue"));
                }
                self.expects_continue = true;
            }
            Name::Expect => {}
            // We forward trailers, so that promise may be passed on. Transfer codings end here.
            Name::Te => field.hop = !value.eq_ignore_ascii_case(b"trailers"),
            Name::Upgrade => {
                field.hop = true;
                self.upgrades |= self.upgrade.is_some() || !is_token(value);
                self.upgrade = Some(index);
            }
            Name::Lookalike if way == Way::Captured => {}
            Name::Lookalike => return Err(HeadError::bad("a framing field spelled with an underscore")),
        }
        Ok(())
    }

    fn note_options(&mut self, value: &[u8], way: Way) -> Result<(), HeadError> {
        for option in value.split(|&byte| byte == b',').map(trim).filter(|option| !option.is_empty()) {
            if way == Way::Captured && !is_token(option) {
                continue;
            }
            self.options += 1;
            if !is_token(option) || self.options > Self::OPTIONS {
                return Err(HeadError::bad("a connection field that is not a short list of tokens"));
            }
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.offers_upgrade = true;
            } else {
                match Name::of(option) {
                    // Dropping any of these would change what the message is.
                    Name::ContentLength | Name::TransferEncoding | Name::Host | Name::Expect
                        if way != Way::Captured =>
                    {
                        return Err(HeadError::bad("connection names a field that is not for this connection alone"));
                    }
                    Name::Other => self.names_fields = true,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Marks the fields that `Connection` names. Nothing to do for nearly every head.
    pub(super) fn mark_named(&self, raw: &[u8], fields: &mut [Field]) {
        if !self.names_fields {
            return;
        }
        let mut named: Vec<&[u8]> = Vec::new();
        for field in fields.iter() {
            if Name::of(field.name.of_bytes(raw)) == Name::Connection {
                named.extend(field.value.of_bytes(raw).split(|&byte| byte == b',').map(trim));
            }
        }
        // `Trailer` describes the body that is forwarded with its trailers.
        named.retain(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"trailer"));
        for field in fields.iter_mut() {
            let name = field.name.of_bytes(raw);
            if Name::of(name) == Name::Other && named.iter().any(|other| name.eq_ignore_ascii_case(other)) {
                field.hop = true;
            }
        }
    }

    pub(super) fn length(&self) -> Option<u64> {
        self.length
    }

    pub(super) fn chunked(&self) -> bool {
        self.coding == Coding::Chunked
    }

    /// Length and transfer coding beside each other are the oldest way to smuggle a request (RFC 9112, 11.2).
    pub(super) fn check(&self, minor: u8) -> Result<(), HeadError> {
        if self.chunked() && self.length.is_some() {
            return Err(HeadError::bad("content-length beside transfer-encoding"));
        }
        if self.chunked() && minor == 0 {
            return Err(HeadError::bad("transfer-encoding in HTTP/1.0"));
        }
        Ok(())
    }

    /// How a request's body ends (RFC 9112, section 6.3).
    pub(super) fn request_framing(&self) -> Framing {
        match self.length {
            _ if self.chunked() => Framing::Chunked,
            None | Some(0) => Framing::None,
            Some(length) => Framing::Length(length),
        }
    }
}

/// The number in `value`: digits alone, no leading zero, small enough for every recipient's signed 64 bits.
fn content_length(value: &[u8]) -> Option<u64> {
    let plain = match value {
        [b'0'] => true,
        [b'1'..=b'9', ..] => value.len() <= 18 && value.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let fold = |number: u64, &digit: &u8| number * 10 + u64::from(digit - b'0');
    plain.then(|| value.iter().fold(0, fold))
}

/// `chunked`, alone, is the one transfer coding; nobody sends another.
fn transfer_coding(value: &[u8]) -> Result<(), HeadError> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let codings = || value.split(|&byte| byte == b',').map(trim);
    let known = codings().filter(|coding| coding.eq_ignore_ascii_case(b"chunked")).count();
    let last = codings().next_back().unwrap_or_default();
    if known == 1 && last.eq_ignore_ascii_case(b"chunked") && codings().all(is_token) {
        return Err(HeadError::new(501, "a transfer coding other than chunked"));
    }
    Err(HeadError::bad("transfer-encoding is not chunked"))
}

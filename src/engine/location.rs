//! Where a value sits in a request: `header:/user-agent`, `body!json:/messages/0/id`.
//!
//! A root, then the decoding steps, outermost first; all counts from 0. Printed forms: `docs/findings.md`.

use std::fmt;
use std::sync::Arc;

/// Where in the message the outermost bytes stand.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Root {
    /// `path:/<segment>`
    Path(u32),
    /// `query`
    Query,
    /// `header:/<lower-case name>` and `[k]` for the k-th repeat (`k` > 0).
    Header { name: Box<str>, repeat: u32 },
    /// `trailer:/<name>`
    Trailer(Box<str>),
    /// `head`: the order or case of the fields.
    Head,
    /// `body`
    Body,
    /// `ws:/<n>`: the n-th message of the client.
    Message(u64),
}

/// One step inwards. Names are shared by all that is found at one place.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Step {
    Gzip,
    Deflate,
    Zlib,
    Br,
    Zstd,
    B64,
    B64Url,
    Hex,
    Url,
    Html,
    /// `!qp`: quoted-printable.
    QuotedPrintable,
    Qoder,
    /// `!jwt:/0` (header) or `!jwt:/1` (claims)
    Jwt(u8),
    Cookie(Arc<str>),
    /// `!event:/<n>`: the n-th message of an AWS event stream.
    Event(u64),
    /// `!header:/<lower-case name>`: a header of what the steps so far hold: an event, a part, gRPC-Web trailers.
    Header(Arc<str>),
    /// RFC 6901 pointer into the decoded document, unescaped names joined later: kept as printed (`/a/b~10`).
    Json(Arc<str>),
    /// `!msgpack:/a/0`: a pointer, as in JSON.
    MsgPack(Arc<str>),
    Form(Arc<str>),
    Multipart(Arc<str>),
    Lines(u64),
    Frame(u64),
    /// `/1/5.1/7`
    Pb(Arc<str>),
    /// `@a-b`: bytes of the decoded leaf.
    Window(u32, u32),
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Location {
    pub root: Root,
    pub steps: Vec<Step>,
}

impl Location {
    /// The place of a value that fills all of what was decoded: an encoding of the bare value is no step of its own.
    /// What the message itself says of its coding stays: content codings, and the compression of a frame.
    pub fn leave_encodings(&mut self) {
        while let Some((last, before)) = self.steps.split_last() {
            let says_itself = match before.last() {
                Some(Step::Frame(_)) => true,
                _ => self.root == Root::Body && before.iter().all(Step::compresses),
            };
            match last {
                Step::B64 | Step::B64Url | Step::Hex | Step::Url | Step::Html | Step::QuotedPrintable => {}
                step if step.compresses() && !says_itself => {}
                _ => return,
            }
            self.steps.pop();
        }
    }
}

impl Step {
    /// The name that the message gave this place, or the names.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Step::Json(name)
            | Step::MsgPack(name)
            | Step::Form(name)
            | Step::Cookie(name)
            | Step::Multipart(name)
            | Step::Header(name) => Some(name),
            _ => None,
        }
    }

    /// Bytes that it takes.
    pub(super) fn weight(&self) -> usize {
        size_of::<Self>() + self.name().map_or(0, str::len)
    }

    fn compresses(&self) -> bool {
        matches!(self, Step::Gzip | Step::Deflate | Step::Zlib | Step::Br | Step::Zstd)
    }
}

/// Writes a name with `~ / ! @` escaped as `~0 ~1 ~2 ~3`.
pub fn write_name(name: &str, out: &mut impl fmt::Write) -> fmt::Result {
    let mut rest = name;
    while let Some(at) = rest.bytes().position(|byte| matches!(byte, b'~' | b'/' | b'!' | b'@')) {
        let (plain, from) = rest.split_at(at);
        out.write_str(plain)?;
        out.write_str(match from.as_bytes()[0] {
            b'~' => "~0",
            b'/' => "~1",
            b'!' => "~2",
            _ => "~3",
        })?;
        rest = &from[1..];
    }
    out.write_str(rest)
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.root {
            Root::Path(segment) => write!(f, "path:/{segment}")?,
            Root::Query => f.write_str("query")?,
            Root::Header { name, repeat } => {
                f.write_str("header:/")?;
                write_name(name, f)?;
                if *repeat > 0 {
                    write!(f, "[{repeat}]")?;
                }
            }
            Root::Trailer(name) => {
                f.write_str("trailer:/")?;
                write_name(name, f)?;
            }
            Root::Head => f.write_str("head")?,
            Root::Body => f.write_str("body")?,
            Root::Message(n) => write!(f, "ws:/{n}")?,
        }
        for step in &self.steps {
            step.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut named = |label: &str, name: &str| {
            f.write_str(label)?;
            write_name(name, f)
        };
        match self {
            Step::Cookie(name) => named("!cookie:/", name),
            Step::Form(name) => named("!form:/", name),
            Step::Header(name) => named("!header:/", name),
            Step::Multipart(name) => named("!multipart:/", name),
            Step::Gzip => f.write_str("!gzip"),
            Step::Deflate => f.write_str("!deflate"),
            Step::Zlib => f.write_str("!zlib"),
            Step::Br => f.write_str("!br"),
            Step::Zstd => f.write_str("!zstd"),
            Step::B64 => f.write_str("!b64"),
            Step::B64Url => f.write_str("!b64url"),
            Step::Hex => f.write_str("!hex"),
            Step::Url => f.write_str("!url"),
            Step::Html => f.write_str("!html"),
            Step::QuotedPrintable => f.write_str("!qp"),
            Step::Qoder => f.write_str("!qoder"),
            Step::Jwt(part) => write!(f, "!jwt:/{part}"),
            Step::Event(n) => write!(f, "!event:/{n}"),
            Step::Json(pointer) => {
                f.write_str("!json:")?;
                f.write_str(pointer)
            }
            Step::MsgPack(pointer) => {
                f.write_str("!msgpack:")?;
                f.write_str(pointer)
            }
            Step::Lines(n) => write!(f, "!lines:/{n}"),
            Step::Frame(n) => write!(f, "!frame:/{n}"),
            Step::Pb(path) => write!(f, "!pb:{path}"),
            Step::Window(start, end) => write!(f, "@{start}-{end}"),
        }
    }
}

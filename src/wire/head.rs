//! The head of a message: the bytes as they came, and where its parts stand in them.

use bytes::Bytes;

use super::span::Span;

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

/// The head of a request. `raw` is what the client sent, or, for HTTP/2, the same fields spelled as
/// HTTP/1.1 so that one set of spans serves both.
#[derive(Clone, Debug)]
pub struct RequestHead {
    pub(crate) raw: Bytes,
    pub(crate) method: Span,
    pub(crate) target: Span,
    pub(crate) minor: u8,
    pub(crate) fields: Vec<Field>,
    pub(crate) framing: Framing,
}

/// One change to a head: `span` of its raw bytes becomes `bytes`. A span that covers a whole field line
/// with nothing in its place removes the field.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HeadEdit {
    pub span: Span,
    pub bytes: Vec<u8>,
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
        Self { raw: raw.into(), method, target, minor: 1, fields: list, framing: Framing::None }
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

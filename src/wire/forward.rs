//! A head as it goes on: runs of kept lines copied, hop-by-hop lines left out, edits applied.

use bytes::{BufMut, BytesMut};

use super::head::{Field, HeadEdit, RequestHead, TargetForm};
use super::response::ResponseHead;
use super::span::Span;

/// How the target is spelled on the way up.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TargetOut {
    #[default]
    AsIs,
    /// An absolute-form target becomes the path that an origin expects. Others stay.
    Origin,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct ForwardRequest {
    pub target: TargetOut,
    /// Offer the upgrade upstream: `Upgrade` stays, `Connection` names it alone.
    pub upgrade: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct ForwardResponse {
    /// A body that ends with the connection is re-framed as chunked, so that a truncated one does not
    /// look complete to the client.
    pub chunked: bool,
    /// A chunked body is sent plain and ends with the connection: HTTP/1.0 knows no chunks.
    pub unchunked: bool,
    /// Tell the client that this was the last response here.
    pub close: bool,
    /// A 101 that was asked for: `Upgrade` stays, `Connection` names it alone.
    pub upgrade: bool,
    /// Another body leaves than came, its content coding undone: what told of the old one goes.
    pub decoded: bool,
}

/// Fields that tell of the bytes of a body (RFC 9110, sections 8.4, 8.6, 14.3; RFC 9530; RFC 1864).
pub const OF_THE_BODY: &[&str] =
    &["content-length", "content-encoding", "content-md5", "content-digest", "repr-digest", "digest", "accept-ranges"];

/// Copies a head from front to back, applying edits on the way.
struct Copier<'a> {
    raw: &'a [u8],
    edits: std::slice::Iter<'a, HeadEdit>,
    next: Option<&'a HeadEdit>,
    /// Nothing before it is still to be copied.
    at: usize,
    out: &'a mut BytesMut,
}

impl<'a> Copier<'a> {
    fn new(raw: &'a [u8], edits: &'a [HeadEdit], out: &'a mut BytesMut) -> Self {
        let mut edits = edits.iter();
        let next = edits.next();
        Self { raw, edits, next, at: 0, out }
    }

    /// Copies up to `end` with the edits that begin there or before.
    fn copy_to(&mut self, end: usize) {
        while let Some(edit) = self.next.filter(|edit| (edit.span.start as usize) < end) {
            let span = edit.span.range();
            if span.start >= self.at {
                self.out.put_slice(self.raw.get(self.at..span.start).unwrap_or_default());
                self.out.put_slice(&edit.bytes);
                self.at = span.end;
            }
            self.next = self.edits.next();
        }
        if self.at < end {
            self.out.put_slice(self.raw.get(self.at..end).unwrap_or_default());
            self.at = end;
        }
    }

    /// Leaves out what stands before `end`, edits to it as well. What is inserted in front of it stays.
    fn skip_to(&mut self, end: usize) {
        while let Some(edit) = self.next.filter(|edit| (edit.span.start as usize) < end) {
            if edit.span.is_empty() && edit.span.start as usize == self.at {
                self.out.put_slice(&edit.bytes);
            }
            self.next = self.edits.next();
        }
        self.at = self.at.max(end);
    }

    /// Copies the fields that are kept. With `upgrade` also those that ask for it.
    fn copy_fields(&mut self, fields: &[Field], upgrade: bool, decoded: bool) {
        let mut connected = false;
        for field in fields {
            if decoded && field.is_of_the_body(self.raw) {
                self.copy_to(field.line.start as usize);
                self.skip_to(field.line.end as usize);
                continue;
            }
            if !field.hop {
                self.settle_coding(field);
                continue;
            }
            let line = field.line.range();
            let name = field.name.of_bytes(self.raw);
            self.copy_to(line.start);
            if upgrade && name.eq_ignore_ascii_case(b"upgrade") {
                continue;
            }
            if upgrade && name.eq_ignore_ascii_case(b"connection") && !connected {
                connected = true;
                if field.value.of_bytes(self.raw).eq_ignore_ascii_case(b"upgrade") {
                    continue;
                }
                self.out.put_slice(name);
                self.out.put_slice(b": Upgrade\r\n");
            }
            self.skip_to(line.end);
        }
    }

    /// `Chunked` is `chunked`, but not to every server: the one field that leaves respelled.
    fn settle_coding(&mut self, field: &Field) {
        let value = field.value.of_bytes(self.raw);
        let odd = field.name.len() == b"transfer-encoding".len()
            && value != b"chunked"
            && value.eq_ignore_ascii_case(b"chunked")
            && field.name.of_bytes(self.raw).eq_ignore_ascii_case(b"transfer-encoding");
        if odd {
            self.copy_to(field.value.start as usize);
            self.out.put_slice(b"chunked");
            self.skip_to(field.value.end as usize);
        }
    }
}

impl RequestHead {
    /// Appends the head as it goes upstream. `edits` are in order and do not overlap; one that touches a
    /// line which is not forwarded is dropped with it.
    pub fn write(&self, edits: &[HeadEdit], how: &ForwardRequest, out: &mut BytesMut) {
        out.reserve(self.raw.len() + edits.iter().map(|edit| edit.bytes.len()).sum::<usize>());
        let mut copier = Copier::new(&self.raw, edits, out);
        if how.target == TargetOut::Origin && self.form == TargetForm::Absolute {
            self.write_origin_target(&mut copier);
        }
        copier.copy_fields(&self.fields, how.upgrade, false);
        copier.copy_to(self.raw.len());
    }

    /// The request line with only the path of its target, and a `Host` if there was none: the authority
    /// must reach the origin in one of the two.
    fn write_origin_target(&self, copier: &mut Copier<'_>) {
        let Some(authority) = self.authority_range() else { return };
        let target = self.target.range();
        copier.copy_to(target.start);
        copier.skip_to(target.start + authority.end);
        match self.raw.get(target.start + authority.end) {
            Some(b'/') => {}
            Some(b'?') => copier.out.put_u8(b'/'),
            _ if self.method() == "OPTIONS" => copier.out.put_u8(b'*'),
            _ => copier.out.put_u8(b'/'),
        }
        if self.host_field().is_none() {
            let line_end = memchr::memchr(b'\n', &self.raw).map_or(self.raw.len(), |end| end + 1);
            copier.copy_to(line_end);
            copier.out.put_slice(b"Host: ");
            copier.out.put_slice(self.target().as_bytes().get(authority).unwrap_or_default());
            copier.out.put_slice(b"\r\n");
        }
    }
}

impl ResponseHead {
    /// Appends the head as it goes to the client, under our own HTTP version (RFC 9110, section 2.5).
    pub fn write(&self, how: &ForwardResponse, out: &mut BytesMut) {
        const ADDED: usize = 64;
        out.reserve(self.raw.len() + ADDED);
        let mut copier = Copier::new(&self.raw, &[], out);
        copier.out.put_slice(b"HTTP/1.1");
        copier.skip_to(Self::VERSION_BYTES);
        if how.unchunked {
            for field in &self.fields {
                let name = field.name.of_bytes(&self.raw);
                let old = how.decoded && field.is_of_the_body(&self.raw);
                if field.hop
                    || old
                    || name.eq_ignore_ascii_case(b"transfer-encoding")
                    || name.eq_ignore_ascii_case(b"trailer")
                {
                    copier.copy_to(field.line.start as usize);
                    copier.skip_to(field.line.end as usize);
                }
            }
        } else {
            copier.copy_fields(&self.fields, how.upgrade, how.decoded);
        }
        const LINE_END: usize = 2;
        copier.copy_to(self.raw.len().saturating_sub(LINE_END));
        if how.chunked {
            copier.out.put_slice(b"Transfer-Encoding: chunked\r\n");
        }
        if how.close || how.unchunked {
            copier.out.put_slice(b"Connection: close\r\n");
        }
        copier.out.put_slice(b"\r\n");
    }
}

impl Field {
    fn is_of_the_body(&self, raw: &[u8]) -> bool {
        let name = self.name.of_bytes(raw);
        OF_THE_BODY.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
            // Said anew by whoever frames the new body.
            || name.eq_ignore_ascii_case(b"transfer-encoding")
    }

    /// The span of a whole field line, for an edit that removes it.
    pub fn removal(&self) -> HeadEdit {
        HeadEdit { span: Span::new(self.line.start, self.line.end), bytes: Vec::new() }
    }
}

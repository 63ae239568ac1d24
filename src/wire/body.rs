//! Bodies: read under one framing, passed on under the same, or written anew.
//!
//! ```text
//! input --pass--> the same body, chunk extensions dropped    (the tap sees the data)
//! input --take--> data alone                                 (held, decoded, edited) --BodyWriter--> out
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::control;
use super::head::{Field, Framing};
use super::lexer::{self, Lines};
use super::limits::Limits;

/// Why a body cannot be trusted to end where it seems to. What was passed on by then is cut off, never
/// ended as if it were complete.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{reason}")]
pub struct BodyError {
    pub reason: &'static str,
}

const fn bad<T>(reason: &'static str) -> Result<T, BodyError> {
    Err(BodyError { reason })
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// All input is used but for the start of what cannot be read yet.
    NeedMore,
    /// The body is whole. What is left of the input belongs to the next message.
    Done,
}

/// The fields after the last chunk, spelled as sent.
#[derive(Clone, Debug)]
pub struct Trailers {
    raw: Bytes,
    fields: Vec<Field>,
}

impl Trailers {
    /// Field lines without the empty line; none where they are no fields that may stand there.
    pub fn read(raw: &[u8], limits: &Limits) -> Option<Self> {
        let section = [raw, LINE_END].concat();
        match read_trailers(&section, limits) {
            Ok(Some((trailers, length))) if length == section.len() => trailers,
            _ => None,
        }
    }

    /// The field lines without the empty line.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// Spans of [`Trailers::raw`].
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Name and value of each field, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|field| (field.name.of_bytes(&self.raw), field.value.of_bytes(&self.raw)))
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// So many bytes of a body with a length.
    Length(u64),
    UntilClose,
    ChunkSize,
    /// So many bytes of a chunk.
    Chunk(u64),
    ChunkEnd,
    Trailers,
    Done,
}

/// What stands at the front of the input.
enum Piece {
    /// So many bytes of data.
    Data(usize),
    /// The line in front of a chunk: so many digits in so many bytes.
    Size {
        digits: usize,
        line: usize,
    },
    /// So many bytes of other framing.
    Frame(usize),
    NeedMore,
    Done,
}

/// Finds data and end of one body.
#[derive(Debug)]
pub struct BodyReader {
    state: State,
    limits: Limits,
    trailers: Option<Trailers>,
    data_bytes: u64,
}

impl BodyReader {
    pub fn new(framing: Framing, limits: Limits) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkSize,
            Framing::UntilClose => State::UntilClose,
        };
        Self { state, limits, trailers: None, data_bytes: 0 }
    }

    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Bytes of data seen, framing left out.
    pub fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// Known when the body is done, if it had any.
    pub fn trailers(&self) -> Option<&Trailers> {
        self.trailers.as_ref()
    }

    /// Moves the body from `input` to `out`, its framing checked and rebuilt: chunks keep their bounds and
    /// lose their extensions. `tap` sees the data alone.
    ///
    /// A whole input that needs no change is moved, not copied, when `out` is empty.
    pub fn pass(
        &mut self,
        input: &mut BytesMut,
        out: &mut BytesMut,
        tap: &mut dyn FnMut(&[u8]),
    ) -> Result<Progress, BodyError> {
        let mut at = 0;
        // Bytes from here to `at` leave as they came.
        let mut same = 0;
        let progress = loop {
            let rest = input.get(at..).unwrap_or_default();
            match self.next(rest)? {
                Piece::Data(length) => {
                    tap(rest.get(..length).unwrap_or_default());
                    at += length;
                }
                Piece::Frame(length) => at += length,
                Piece::Size { digits, line } => {
                    if line != digits + LINE_END.len() {
                        out.put_slice(input.get(same..at + digits).unwrap_or_default());
                        out.put_slice(LINE_END);
                        same = at + line;
                    }
                    at += line;
                }
                Piece::NeedMore => break Progress::NeedMore,
                Piece::Done => break Progress::Done,
            }
        };
        if same == 0 && at == input.len() && out.is_empty() {
            std::mem::swap(input, out);
        } else {
            out.put_slice(input.get(same..at).unwrap_or_default());
            input.advance(at);
        }
        Ok(progress)
    }

    /// Moves the data alone from `input` to the end of `data`.
    pub fn take(&mut self, input: &mut BytesMut, data: &mut BytesMut) -> Result<Progress, BodyError> {
        loop {
            match self.next(input)? {
                Piece::Data(length) if length == input.len() && data.is_empty() => std::mem::swap(input, data),
                Piece::Data(length) => {
                    data.put_slice(input.get(..length).unwrap_or_default());
                    input.advance(length);
                }
                Piece::Frame(length) | Piece::Size { line: length, .. } => input.advance(length),
                Piece::NeedMore => return Ok(Progress::NeedMore),
                Piece::Done => return Ok(Progress::Done),
            }
        }
    }

    /// The peer sends no more. `clean_close`: it said so (close_notify, or a FIN without TLS), so nobody cut
    /// the connection. Only then may a body that ends with it be whole.
    pub fn eof(&mut self, clean_close: bool) -> Result<(), BodyError> {
        match self.state {
            State::Done => Ok(()),
            State::UntilClose if clean_close => {
                self.state = State::Done;
                Ok(())
            }
            State::UntilClose => bad("the connection was cut before the body's end"),
            _ => bad("the connection closed before the body's end"),
        }
    }

    fn next(&mut self, rest: &[u8]) -> Result<Piece, BodyError> {
        match self.state {
            State::Done => Ok(Piece::Done),
            State::Length(left) => Ok(self.data(rest, left, State::Length, State::Done)),
            State::Chunk(left) => Ok(self.data(rest, left, State::Chunk, State::ChunkEnd)),
            State::UntilClose => Ok(self.data(rest, u64::MAX, |_| State::UntilClose, State::UntilClose)),
            State::ChunkEnd => match rest {
                [] | [b'\r'] => Ok(Piece::NeedMore),
                [b'\r', b'\n', ..] => {
                    self.state = State::ChunkSize;
                    Ok(Piece::Frame(LINE_END.len()))
                }
                _ => bad("a chunk does not end where its size says"),
            },
            State::ChunkSize => match chunk_line(rest, self.limits.chunk_line)? {
                Some(found) => {
                    self.state = if found.size == 0 { State::Trailers } else { State::Chunk(found.size) };
                    Ok(Piece::Size { digits: found.digits, line: found.line })
                }
                None => Ok(Piece::NeedMore),
            },
            State::Trailers => match read_trailers(rest, &self.limits)? {
                Some((trailers, length)) => {
                    self.trailers = trailers;
                    self.state = State::Done;
                    Ok(Piece::Frame(length))
                }
                None => Ok(Piece::NeedMore),
            },
        }
    }

    /// Data at the front of `rest`, of which `left` bytes are still to come.
    fn data(&mut self, rest: &[u8], left: u64, more: impl Fn(u64) -> State, end: State) -> Piece {
        if rest.is_empty() {
            return Piece::NeedMore;
        }
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
        let left = left - length as u64;
        self.state = if left == 0 { end } else { more(left) };
        self.data_bytes += length as u64;
        Piece::Data(length)
    }
}

const LINE_END: &[u8] = b"\r\n";

struct ChunkLine {
    size: u64,
    digits: usize,
    line: usize,
}

/// `1a;name=value CRLF`. One spelling: up to 16 hexadecimal digits, nothing around them but extensions.
fn chunk_line(rest: &[u8], most: usize) -> Result<Option<ChunkLine>, BodyError> {
    /// More than any disk holds, and far from where a recipient's arithmetic wraps.
    const LARGEST: u64 = 1 << 60;
    const DIGITS: usize = 16;
    let mut size = 0u64;
    let mut digits = 0;
    while let Some(digit) = rest.get(digits).and_then(|&byte| char::from(byte).to_digit(16)) {
        if digits == DIGITS {
            return bad("a chunk size of more than 16 digits");
        }
        size = size << 4 | u64::from(digit);
        digits += 1;
    }
    if digits == 0 && !rest.is_empty() {
        return bad("a chunk size is not a hexadecimal number");
    }
    if size > LARGEST {
        return bad("a chunk size beyond all reason");
    }
    let end = extensions_end(rest, digits)?;
    if end.unwrap_or(rest.len()) > most {
        return bad("the line of a chunk size is too long");
    }
    let Some(end) = end else { return Ok(None) };
    match (rest.get(end), rest.get(end + 1)) {
        (Some(b'\r'), Some(b'\n')) => Ok(Some(ChunkLine { size, digits, line: end + LINE_END.len() })),
        (Some(b'\r'), None) => Ok(None),
        _ => bad("the line of a chunk size ends badly"),
    }
}

/// Where the extensions that begin at `at` end: `*( ";" token [ "=" ( token / quoted-string ) ] )`, without
/// the white space that RFC 9112 (section 7.1.1) calls bad. `None`: more bytes are needed.
fn extensions_end(rest: &[u8], mut at: usize) -> Result<Option<usize>, BodyError> {
    const BAD: &str = "a chunk extension is not a name with perhaps a value";
    loop {
        match rest.get(at) {
            None => return Ok(None),
            Some(b';') => {}
            Some(_) => return Ok(Some(at)),
        }
        let name = at + 1;
        at = lexer::run(rest, name, lexer::is_token_byte);
        match rest.get(at) {
            None => return Ok(None),
            Some(_) if at == name => return bad(BAD),
            Some(b'=') => at += 1,
            Some(_) => continue,
        }
        let value = at;
        if rest.get(at) == Some(&b'"') {
            match quoted_end(rest, at)? {
                Some(end) => at = end,
                None => return Ok(None),
            }
        } else {
            at = lexer::run(rest, at, lexer::is_token_byte);
            if at == value && at < rest.len() {
                return bad(BAD);
            }
        }
    }
}

/// The offset after the quoted string that begins at `at`.
fn quoted_end(rest: &[u8], at: usize) -> Result<Option<usize>, BodyError> {
    let mut at = at + 1;
    loop {
        at = lexer::run(rest, at, |byte| byte == b'\t' || (byte >= b' ' && !matches!(byte, b'"' | b'\\' | 0x7f)));
        match (rest.get(at), rest.get(at + 1)) {
            (Some(b'"'), _) => return Ok(Some(at + 1)),
            (None, _) | (Some(b'\\'), None) => return Ok(None),
            (Some(b'\\'), Some(&byte)) if byte == b'\t' || (byte >= b' ' && byte != 0x7f) => at += 2,
            _ => return bad("a control byte in a chunk extension"),
        }
    }
}

/// The trailer section at the front of `rest` and its length with the empty line. `None`: more bytes are
/// needed.
fn read_trailers(rest: &[u8], limits: &Limits) -> Result<Option<(Option<Trailers>, usize)>, BodyError> {
    const READ_AGAIN: usize = 1024;
    let window = rest.get(..limits.trailer_bytes).unwrap_or(rest);
    if window.len() > READ_AGAIN
        && window.len() < limits.trailer_bytes
        && !window.ends_with(b"\n")
        && memchr::memmem::find(window, b"\r\n\r\n").is_none()
    {
        return Ok(None);
    }
    let mut fields = Vec::new();
    let end = lexer::read_fields(window, 0, Lines::Wire, limits.fields, &mut fields, |_, _| Ok(()))
        .map_err(|error| BodyError { reason: error.reason })?;
    let Some(end) = end else {
        return if window.len() < limits.trailer_bytes { Ok(None) } else { bad("the trailers are too long") };
    };
    if fields.iter().any(|field| control::forbidden_in_trailers(field.name.of_bytes(window))) {
        return bad("a field among the trailers that belongs into the head");
    }
    let lines = window.get(..end - LINE_END.len()).unwrap_or_default();
    let trailers = (!fields.is_empty()).then(|| Trailers { raw: Bytes::copy_from_slice(lines), fields });
    Ok(Some((trailers, end)))
}

/// Writes a body anew under the framing that its head announces.
#[derive(Debug)]
pub struct BodyWriter {
    framing: Framing,
    /// Bytes that the announced length still asks for.
    left: u64,
    overrun: bool,
}

impl BodyWriter {
    pub fn new(framing: Framing) -> Self {
        let left = match framing {
            Framing::Length(length) => length,
            Framing::None => 0,
            Framing::Chunked | Framing::UntilClose => u64::MAX,
        };
        Self { framing, left, overrun: false }
    }

    /// Appends data; one chunk where the body is chunked. Never more than was announced.
    pub fn data(&mut self, data: &[u8], out: &mut BytesMut) {
        if data.is_empty() {
            return;
        }
        match self.framing {
            Framing::Chunked => {
                const SIZE_BYTES: usize = 16 + 2 * LINE_END.len();
                out.reserve(data.len() + SIZE_BYTES);
                out.put_slice(format!("{:x}\r\n", data.len()).as_bytes());
                out.put_slice(data);
                out.put_slice(LINE_END);
            }
            Framing::UntilClose => out.put_slice(data),
            Framing::None | Framing::Length(_) => {
                let fits = usize::try_from(self.left).unwrap_or(usize::MAX).min(data.len());
                self.overrun |= fits < data.len();
                self.left -= fits as u64;
                out.put_slice(data.get(..fits).unwrap_or_default());
            }
        }
    }

    /// Appends the end. An error when another number of bytes was written than announced: the connection
    /// must be closed then, as the recipient waits for the rest.
    pub fn end(&mut self, trailers: Option<&Trailers>, out: &mut BytesMut) -> Result<(), BodyError> {
        match self.framing {
            Framing::Chunked => {
                out.put_slice(b"0\r\n");
                out.put_slice(trailers.map_or(&[][..], |trailers| trailers.raw()));
                out.put_slice(LINE_END);
                Ok(())
            }
            Framing::UntilClose => Ok(()),
            Framing::None | Framing::Length(_) if self.left > 0 || self.overrun => {
                bad("another number of bytes than announced")
            }
            Framing::None | Framing::Length(_) => Ok(()),
        }
    }
}

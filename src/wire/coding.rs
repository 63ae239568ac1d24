//! Undoes the content coding of a body that streams (RFC 9110, section 8.4): what has come is given out at once.

use std::io::{self, Write};

use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

/// Most bytes that one piece of a body may turn into. What streams comes in windows of 64 KiB, and texts are seldom packed
/// to less than a hundredth.
const MOST: usize = 16 << 20;
/// Pieces are undone in parts of so many bytes, so that a bomb is stopped in the first that shows it.
const PART: usize = 4096;
/// Most codings on top of one another. Nobody sends more than one.
pub const CODINGS: usize = 4;

/// One content coding, undone piece by piece.
pub struct Undoing(State);

enum State {
    /// Zlib or raw: known from the first two bytes.
    Deflate(Vec<u8>),
    Gzip(MultiGzDecoder<Sink>),
    Zlib(ZlibDecoder<Sink>),
    Raw(DeflateDecoder<Sink>),
    Br(Box<brotli::DecompressorWriter<Sink>>),
    Zstd(zstd::stream::write::Decoder<'static, Sink>),
}

/// Takes what was decoded, as far as there is room.
#[derive(Default)]
struct Sink(Vec<u8>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MOST {
            return Err(too_much());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Undoing {
    /// What undoes `coding`, one name of `Content-Encoding`; none for codings that are not known.
    pub fn of(coding: &str) -> Option<Self> {
        let state = match coding.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => State::Gzip(MultiGzDecoder::new(Sink::default())),
            "deflate" => State::Deflate(Vec::new()),
            "br" => State::Br(Box::new(brotli::DecompressorWriter::new(Sink::default(), 4096))),
            "zstd" => State::Zstd(zstd::stream::write::Decoder::new(Sink::default()).ok()?),
            _ => return None,
        };
        Some(Self(state))
    }

    /// Undoes the next piece and appends what comes out.
    pub fn push(&mut self, data: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        if let State::Deflate(begun) = &mut self.0 {
            begun.extend_from_slice(data);
            let [first, second, ..] = begun[..] else { return Ok(()) };
            // Senders of `deflate` mean either (RFC 9110, section 8.4.1.2).
            let zlib = first & 15 == 8 && u16::from_be_bytes([first, second]) % 31 == 0;
            let begun = std::mem::take(begun);
            self.0 = match zlib {
                true => State::Zlib(ZlibDecoder::new(Sink::default())),
                false => State::Raw(DeflateDecoder::new(Sink::default())),
            };
            return self.push(&begun, out);
        }
        let before = out.len();
        for part in data.chunks(PART) {
            self.push_part(part, out)?;
            if out.len() - before > MOST {
                return Err(too_much());
            }
        }
        Ok(())
    }

    fn push_part(&mut self, data: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let sink = match &mut self.0 {
            State::Deflate(_) => return Ok(()),
            State::Gzip(decoder) => through(decoder, data).map(|()| decoder.get_mut()),
            State::Zlib(decoder) => through(decoder, data).map(|()| decoder.get_mut()),
            State::Raw(decoder) => through(decoder, data).map(|()| decoder.get_mut()),
            State::Br(decoder) => through(decoder, data).map(|()| decoder.get_mut()),
            State::Zstd(decoder) => through(decoder, data).map(|()| decoder.get_mut()),
        }?;
        out.append(&mut sink.0);
        Ok(())
    }

    /// The end of the body: an error where the coding had not come to its own.
    pub fn finish(&mut self) -> io::Result<()> {
        match &mut self.0 {
            State::Deflate(begun) if begun.is_empty() => Ok(()),
            State::Deflate(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            State::Gzip(decoder) => decoder.try_finish(),
            State::Zlib(decoder) => decoder.try_finish(),
            State::Raw(decoder) => decoder.try_finish(),
            State::Br(decoder) => decoder.close(),
            State::Zstd(decoder) => decoder.flush(),
        }
    }
}

fn too_much() -> io::Error {
    io::Error::other("too much comes out of too little")
}

fn through(decoder: &mut impl Write, data: &[u8]) -> io::Result<()> {
    decoder.write_all(data)?;
    decoder.flush()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;

    use super::Undoing;

    const PIECES: [&str; 3] = ["data: {\"a\":1}\n\n", "data: {\"b\":\"grüße\"}\n\n", "data: [DONE]\n\n"];

    /// Each piece flushed by itself, as a server that streams does.
    fn encoded(coding: &str) -> Vec<Vec<u8>> {
        fn pieces<W: Write>(
            mut encoder: W,
            taken: impl Fn(&mut W) -> Vec<u8>,
            end: impl Fn(W) -> Vec<u8>,
        ) -> Vec<Vec<u8>> {
            let mut out: Vec<Vec<u8>> = PIECES
                .iter()
                .map(|piece| {
                    encoder.write_all(piece.as_bytes()).unwrap();
                    encoder.flush().unwrap();
                    taken(&mut encoder)
                })
                .collect();
            out.push(end(encoder));
            out
        }
        match coding {
            "gzip" => pieces(
                flate2::write::GzEncoder::new(Vec::new(), Compression::default()),
                |encoder| std::mem::take(encoder.get_mut()),
                |encoder| encoder.finish().unwrap(),
            ),
            "deflate" => pieces(
                flate2::write::ZlibEncoder::new(Vec::new(), Compression::default()),
                |encoder| std::mem::take(encoder.get_mut()),
                |encoder| encoder.finish().unwrap(),
            ),
            "raw" => pieces(
                flate2::write::DeflateEncoder::new(Vec::new(), Compression::default()),
                |encoder| std::mem::take(encoder.get_mut()),
                |encoder| encoder.finish().unwrap(),
            ),
            "br" => pieces(
                brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22),
                |encoder| std::mem::take(encoder.get_mut()),
                |encoder| encoder.into_inner(),
            ),
            _ => pieces(
                zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap(),
                |encoder| std::mem::take(encoder.get_mut()),
                |encoder| encoder.finish().unwrap(),
            ),
        }
    }

    #[test]
    fn what_has_come_is_given_out_at_once_in_every_coding() {
        for coding in ["gzip", "deflate", "raw", "br", "zstd"] {
            let mut undoing = Undoing::of(if coding == "raw" { "deflate" } else { coding }).unwrap();
            for (number, piece) in encoded(coding).iter().enumerate() {
                let mut out = Vec::new();
                undoing.push(piece, &mut out).unwrap_or_else(|error| panic!("{coding} {number}: {error}"));
                assert_eq!(
                    String::from_utf8_lossy(&out),
                    PIECES.get(number).copied().unwrap_or(""),
                    "{coding} {number}"
                );
            }
            undoing.finish().unwrap_or_else(|error| panic!("{coding}: {error}"));
            let whole = encoded(coding).concat();
            let mut undoing = Undoing::of(if coding == "raw" { "deflate" } else { coding }).unwrap();
            let mut out = Vec::new();
            for byte in &whole {
                undoing.push(std::slice::from_ref(byte), &mut out).unwrap();
            }
            assert_eq!(String::from_utf8_lossy(&out), PIECES.concat(), "{coding} byte by byte");
        }
        assert!(Undoing::of("compress").is_none());
    }

    #[test]
    fn what_is_spoilt_or_grows_beyond_all_bounds_is_an_error() {
        let mut out = Vec::new();
        assert!(Undoing::of("gzip").unwrap().push(b"no gzip at all", &mut out).is_err());
        let mut bomb = flate2::write::GzEncoder::new(Vec::new(), Compression::best());
        for _ in 0..80 {
            bomb.write_all(&vec![0; 1 << 20]).unwrap();
        }
        let bomb = bomb.finish().unwrap();
        assert!(Undoing::of("gzip").unwrap().push(&bomb, &mut out).is_err());
        assert!(out.len() <= 2 * super::MOST, "what came out before is bounded: {}", out.len());
        let mut cut = Undoing::of("gzip").unwrap();
        cut.push(&encoded("gzip")[0], &mut out).unwrap();
        assert!(cut.finish().is_err());
    }
}

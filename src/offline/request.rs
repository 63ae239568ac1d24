//! Takes a request in: drains its body in flat memory, undoing the content coding on the way.

use std::io::{self, Write};

use http::request::Parts;
use http::{HeaderMap, StatusCode, Uri, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::answer::tokens;
use super::skim::{Members, Skim};

/// Most bytes one body may decode to. Providers refuse conversations far smaller; more is a bomb.
const DECODED: u64 = 256 * 1024 * 1024;

/// What an answer may depend on.
#[derive(Debug)]
pub struct Asked {
    pub uri: Uri,
    pub members: Members,
    /// The size of the decoded document: a stand-in for its tokens.
    pub bytes: u64,
}

impl Asked {
    /// The model as the request names it.
    pub fn model(&self) -> &str {
        self.members.text("model").unwrap_or("divulge-offline")
    }

    pub fn tokens(&self) -> u64 {
        tokens(self.bytes)
    }
}

/// Why a request cannot be answered as asked.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("The request body is not valid JSON.")]
    NotJson,
    #[error("The request body does not match its content-encoding.")]
    Coding,
    #[error("The content-encoding of the request is not supported.")]
    UnknownCoding,
    #[error("The request body is too large.")]
    TooLarge,
    #[error("The request body ended early.")]
    Cut,
}

impl Fault {
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotJson | Self::Coding | Self::Cut => StatusCode::BAD_REQUEST,
            Self::UnknownCoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        }
    }
}

/// Reads the body to its end and keeps nothing. A client that breaks off learns of it from the connection.
pub async fn drain(mut body: Incoming) {
    while let Some(Ok(_)) = body.frame().await {}
}

/// Reads the body to its end and keeps what an answer depends on.
///
/// Also a faulty body is read to its end: refusing in the middle of an upload loses the answer in a reset.
pub async fn skimmed(head: &Parts, mut body: Incoming) -> Result<Asked, Fault> {
    let mut decoder = Decoder::of(&head.headers);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Fault::Cut)?;
        if let (Ok(bytes), Ok(open)) = (frame.into_data(), &mut decoder)
            && let Err(fault) = open.push(&bytes)
        {
            decoder = Err(fault);
        }
    }
    let skim = decoder?.finish()?;
    let bytes = skim.bytes();
    let members = skim.finish().map_err(|_| Fault::NotJson)?;
    Ok(Asked { uri: head.uri.clone(), members, bytes })
}

/// Most codings on top of each other; nobody sends more than two.
const CODINGS: usize = 4;

/// Undoes content codings as bytes arrive: each coding writes what it undoes into the one below.
enum Decoder {
    Plain(Skim),
    Gzip(Box<flate2::write::MultiGzDecoder<Decoder>>),
    Zlib(Box<flate2::write::ZlibDecoder<Decoder>>),
    Br(Box<brotli::DecompressorWriter<Decoder>>),
    Zstd(Box<zstd::stream::write::Decoder<'static, Decoder>>),
}

impl Decoder {
    fn of(headers: &HeaderMap) -> Result<Self, Fault> {
        let mut decoder = Self::Plain(Skim::default());
        let mut codings = 0;
        // Listed in the order applied (RFC 9110, 8.4): the last one is undone first, so it ends up outermost.
        for line in headers.get_all(header::CONTENT_ENCODING) {
            for coding in line.to_str().map_err(|_| Fault::UnknownCoding)?.split(',') {
                codings += 1;
                if codings > CODINGS {
                    return Err(Fault::UnknownCoding);
                }
                decoder = match coding.trim().to_ascii_lowercase().as_str() {
                    "" | "identity" => decoder,
                    "gzip" | "x-gzip" => Self::Gzip(Box::new(flate2::write::MultiGzDecoder::new(decoder))),
                    "deflate" => Self::Zlib(Box::new(flate2::write::ZlibDecoder::new(decoder))),
                    "br" => Self::Br(Box::new(brotli::DecompressorWriter::new(decoder, 4096))),
                    "zstd" => match zstd::stream::write::Decoder::new(decoder) {
                        Ok(opened) => Self::Zstd(Box::new(opened)),
                        Err(_) => return Err(Fault::UnknownCoding),
                    },
                    _ => return Err(Fault::UnknownCoding),
                };
            }
        }
        Ok(decoder)
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.write_all(bytes).map_err(fault)
    }

    fn finish(self) -> Result<Skim, Fault> {
        match self {
            Self::Plain(skim) => Ok(skim),
            Self::Gzip(gzip) => gzip.finish().map_err(fault)?.finish(),
            Self::Zlib(zlib) => zlib.finish().map_err(fault)?.finish(),
            Self::Br(br) => br.into_inner().map_err(|_| Fault::Coding)?.finish(),
            Self::Zstd(mut zstd) => {
                zstd.flush().map_err(fault)?;
                zstd.into_inner().finish()
            }
        }
    }
}

impl Write for Decoder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(skim) if skim.bytes() > DECODED => Err(io::ErrorKind::FileTooLarge.into()),
            Self::Plain(skim) => skim.write(bytes),
            Self::Gzip(gzip) => gzip.write(bytes),
            Self::Zlib(zlib) => zlib.write(bytes),
            Self::Br(br) => br.write(bytes),
            Self::Zstd(zstd) => zstd.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Gzip(gzip) => gzip.flush(),
            Self::Zlib(zlib) => zlib.flush(),
            Self::Br(br) => br.flush(),
            Self::Zstd(zstd) => zstd.flush(),
        }
    }
}

fn fault(error: io::Error) -> Fault {
    if error.kind() == io::ErrorKind::FileTooLarge { Fault::TooLarge } else { Fault::Coding }
}

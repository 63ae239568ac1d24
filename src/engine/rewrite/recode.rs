//! Encodings that have to be made again as a whole: base64 and compression.

use std::io::Write;
use std::ops::Range;

use flate2::{Compress, Compression, FlushCompress, Status};

use super::splice::{Splice, moved};
use crate::engine::decode::{Codec, Member, encode_base64, qoder, undo_codec};

/// The quality at which brotli is about as fast as gzip and about as small as at its slowest.
const BROTLI_QUALITY: u32 = 5;
const BROTLI_WINDOW: u32 = 22;

/// `content` (what `splices` made) in the encoding that `coded` is in.
pub(crate) fn encode(codec: &Codec, coded: &[u8], splices: &[Splice], content: &[u8]) -> Option<Vec<u8>> {
    match codec {
        Codec::Base64(spelling) => Some(encode_base64(content, *spelling)),
        Codec::Reversed(spelling) => {
            let mut text = encode_base64(content, *spelling);
            text.reverse();
            Some(text)
        }
        Codec::Qoder { exchanged } => Some(qoder::encode(content, *exchanged)),
        Codec::Gzip(members) => members_again(members, coded, splices, content, |member, part, out| {
            let header = coded.get(member.header.range())?;
            out.extend_from_slice(header);
            deflate(part, gzip_level(header), out)?;
            if let Some(trailer) = member.wrong_trailer {
                out.extend_from_slice(coded.get(trailer.range())?);
                return Some(());
            }
            out.extend(crc32fast::hash(part).to_le_bytes());
            out.extend((part.len() as u32).to_le_bytes());
            Some(())
        }),
        Codec::Zstd(members) => members_again(members, coded, splices, content, |member, part, out| {
            let checksum = coded.get(member.coded.start as usize + 4).is_some_and(|flags| flags & 4 != 0);
            let mut encoder = zstd::Encoder::new(out, 0).ok()?;
            encoder.include_checksum(checksum).ok()?;
            encoder.set_pledged_src_size(Some(part.len() as u64)).ok()?;
            encoder.write_all(part).ok()?;
            encoder.finish().ok()?;
            Some(())
        }),
        Codec::Zlib { level, end } => {
            let levels = [1, 3, 6, 9];
            let mut out = match coded.get(..2)? {
                // A smaller window than the encoder's would be wrong now.
                [first, second] if first >> 4 == 7 => vec![*first, *second],
                _ => vec![0x78, 0x9c],
            };
            deflate(content, levels[usize::from(*level & 3)], &mut out)?;
            out.extend(adler32(content).to_be_bytes());
            out.extend_from_slice(coded.get(*end..)?);
            Some(out)
        }
        Codec::Deflate { end } => {
            let mut out = Vec::new();
            deflate(content, 6, &mut out)?;
            out.extend_from_slice(coded.get(*end..)?);
            Some(out)
        }
        Codec::Br => {
            let mut out = Vec::new();
            let mut encoder = brotli::CompressorWriter::new(&mut out, 4096, BROTLI_QUALITY, BROTLI_WINDOW);
            encoder.write_all(content).ok()?;
            encoder.flush().ok()?;
            drop(encoder);
            Some(out)
        }
        Codec::Identity
        | Codec::AwsChunked
        | Codec::Percent
        | Codec::Html
        | Codec::QuotedPrintable
        | Codec::Hex { .. } => None,
    }
}

/// What `coded` decodes to, read anew.
pub(super) fn decode(codec: &Codec, coded: &[u8]) -> Option<Vec<u8>> {
    undo_codec(codec, coded)
}

/// Members that no splice touches as they came, the others made again.
fn members_again(
    members: &[Member],
    coded: &[u8],
    splices: &[Splice],
    content: &[u8],
    make: impl Fn(&Member, &[u8], &mut Vec<u8>) -> Option<()>,
) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(coded.len());
    let mut start = 0;
    // Text added between two members goes to the first that has any, or the last.
    let last = members.iter().rposition(|member| !member.content.is_empty()).unwrap_or_default();
    for (index, member) in members.iter().enumerate() {
        let Range { start: from, end: to } = member.content.range();
        let end = match index {
            _ if member.content.is_empty() && index != last => start,
            _ if index == last => content.len(),
            _ => moved(splices, to).max(start),
        };
        let touched = splices.iter().any(|splice| {
            let (a, b) = (splice.range.start, splice.range.end);
            (a < to && from < b) || (a == b && from <= a && (a < to || (index == last && a == to)))
        });
        let same_length = end - start == member.content.len();
        if touched || !same_length {
            make(member, content.get(start..end)?, &mut out)?;
        } else {
            out.extend_from_slice(coded.get(member.coded.range())?);
        }
        start = end;
    }
    let tail = members.last().map_or(0, |member| member.coded.end as usize);
    out.extend_from_slice(coded.get(tail..)?);
    Some(out)
}

/// What the encoder said of its effort (RFC 1952, XFL).
fn gzip_level(header: &[u8]) -> u32 {
    match header.get(8) {
        Some(2) => 9,
        Some(4) => 1,
        _ => 6,
    }
}

fn deflate(content: &[u8], level: u32, out: &mut Vec<u8>) -> Option<()> {
    let mut compress = Compress::new(Compression::new(level), false);
    loop {
        let taken = compress.total_in() as usize;
        out.reserve((content.len() - taken) / 2 + 1024);
        match compress.compress_vec(&content[taken..], out, FlushCompress::Finish).ok()? {
            Status::StreamEnd => return Some(()),
            Status::Ok | Status::BufError => {}
        }
    }
}

/// RFC 1950, section 8.2.
fn adler32(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (1u32, 0u32);
    // So many can be summed before the remainder has to be taken.
    for chunk in bytes.chunks(5552) {
        for &byte in chunk {
            a += u32::from(byte);
            b += a;
        }
        a %= 65521;
        b %= 65521;
    }
    b << 16 | a
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::{Splice, decode, encode};
    use crate::engine::decode::undo_all;
    use crate::engine::rewrite::splice::{apply, order};

    fn compressed(coding: &str, part: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match coding {
            "gzip" => {
                let mut encoder = flate2::GzBuilder::new().mtime(7).comment("c").write(&mut out, Default::default());
                encoder.write_all(part).unwrap();
                encoder.finish().unwrap();
            }
            "zlib" => {
                let mut encoder = flate2::write::ZlibEncoder::new(&mut out, flate2::Compression::best());
                encoder.write_all(part).unwrap();
                encoder.finish().unwrap();
            }
            "deflate" => {
                let mut encoder = flate2::write::DeflateEncoder::new(&mut out, flate2::Compression::fast());
                encoder.write_all(part).unwrap();
                encoder.finish().unwrap();
            }
            "br" => brotli::CompressorWriter::new(&mut out, 4096, 4, 20).write_all(part).unwrap(),
            _ => out = zstd::encode_all(part, 3).unwrap(),
        }
        out
    }

    proptest! {
        #[test]
        fn what_is_made_again_decodes_to_the_edited_content(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..5),
            cuts in prop::collection::vec((any::<prop::sample::Index>(), 0usize..9, "[a-z]{0,6}"), 0..4),
        ) {
            for coding in ["gzip", "zlib", "deflate", "br", "zstd"] {
                let many = matches!(coding, "gzip" | "zstd");
                let parts = if many { parts.clone() } else { vec![parts.concat()] };
                let coded: Vec<u8> = parts.iter().flat_map(|part| compressed(coding, part)).collect();
                let content = parts.concat();
                let (read, codec) = undo_all(coding, &coded).unwrap();
                prop_assert_eq!(&read, &content);
                let mut splices: Vec<Splice> = cuts.iter().map(|(at, length, text)| {
                    let start = at.index(content.len() + 1);
                    let range = start..(start + length).min(content.len());
                    Splice { leaf: range.clone(), range, bytes: text.clone().into(), edits: vec![0] }
                }).collect();
                if order(&mut splices).is_err() {
                    continue;
                }
                let edited = apply(&content, &splices);
                let again = encode(&codec, &coded, &splices, &edited).unwrap();
                prop_assert_eq!(decode(&codec, &again).unwrap(), edited);
                if many && splices.is_empty() {
                    prop_assert_eq!(again, coded);
                }
            }
        }
    }
}

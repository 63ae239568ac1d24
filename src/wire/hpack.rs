//! HPACK, read (RFC 7541): the fields of HTTP/2.

use std::collections::VecDeque;
use std::sync::LazyLock;

/// Name and value.
type Pair = (Vec<u8>, Vec<u8>);

/// Why a block cannot be read; the table is of no use then, and so are all blocks behind it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Broken;

/// The dynamic table of one direction.
#[derive(Debug)]
pub struct Decoder {
    /// The newest first.
    table: VecDeque<Pair>,
    bytes: usize,
    limit: usize,
    /// So many more bytes of fields may come out: one byte may stand for a whole entry of the table, over and over.
    budget: usize,
}

/// What a table may be made to hold, whatever the settings say.
const MOST_TABLE: usize = 64 << 10;

impl Decoder {
    /// `budget`: most bytes of fields that may come out.
    pub fn new(budget: usize) -> Self {
        Self { table: VecDeque::new(), bytes: 0, limit: 4096, budget }
    }

    pub fn read(&mut self, block: &[u8]) -> Result<Vec<Pair>, Broken> {
        let mut rest = block;
        let mut fields = Vec::new();
        while let Some(&first) = rest.first() {
            let (keep, bits) = match first {
                0x80.. => {
                    let index = number(&mut rest, 7)?;
                    let field = self.entry(index)?;
                    self.spend(&field)?;
                    fields.push(field);
                    continue;
                }
                0x40.. => (true, 6),
                0x20.. => {
                    self.limit = number(&mut rest, 5)?;
                    if self.limit > MOST_TABLE {
                        return Err(Broken);
                    }
                    self.shrink(0);
                    continue;
                }
                _ => (false, 4),
            };
            let name = match number(&mut rest, bits)? {
                0 => string(&mut rest)?,
                index => self.entry(index)?.0,
            };
            let field = (name, string(&mut rest)?);
            self.spend(&field)?;
            if keep {
                self.shrink(size(&field));
                if size(&field) <= self.limit {
                    self.bytes += size(&field);
                    self.table.push_front(field.clone());
                }
            }
            fields.push(field);
        }
        Ok(fields)
    }

    fn entry(&self, index: usize) -> Result<Pair, Broken> {
        let index = index.checked_sub(1).ok_or(Broken)?;
        match STATIC.get(index) {
            Some((name, value)) => Ok((name.as_bytes().to_vec(), value.as_bytes().to_vec())),
            None => self.table.get(index - STATIC.len()).cloned().ok_or(Broken),
        }
    }

    fn spend(&mut self, field: &Pair) -> Result<(), Broken> {
        self.budget = self.budget.checked_sub(size(field)).ok_or(Broken)?;
        Ok(())
    }

    /// Makes room for so many bytes.
    fn shrink(&mut self, room: usize) {
        while self.bytes + room > self.limit {
            let Some(oldest) = self.table.pop_back() else { return };
            self.bytes -= size(&oldest);
        }
    }
}

/// RFC 7541, 4.1.
fn size((name, value): &Pair) -> usize {
    name.len() + value.len() + 32
}

pub(super) fn number(rest: &mut &[u8], bits: u32) -> Result<usize, Broken> {
    let (&first, mut after) = rest.split_first().ok_or(Broken)?;
    let mask = (1usize << bits) - 1;
    let mut value = usize::from(first) & mask;
    if value == mask {
        let mut shift = 0;
        loop {
            let (&byte, next) = after.split_first().ok_or(Broken)?;
            after = next;
            // More than 28 bits are of nobody who means well.
            if shift > 21 {
                return Err(Broken);
            }
            value += usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *rest = after;
    Ok(value)
}

fn string(rest: &mut &[u8]) -> Result<Vec<u8>, Broken> {
    let (coded, text) = raw_string(rest)?;
    if coded { huffman(text) } else { Ok(text.to_vec()) }
}

/// A string as it stands, and whether it is in Huffman's code.
pub(super) fn raw_string<'a>(rest: &mut &'a [u8]) -> Result<(bool, &'a [u8]), Broken> {
    let coded = rest.first().is_some_and(|first| first & 0x80 != 0);
    let length = number(rest, 7)?;
    let (text, after) = rest.split_at_checked(length).ok_or(Broken)?;
    *rest = after;
    Ok((coded, text))
}

/// Huffman's code, to be read: it is canonical, so of codes of one length each is one more than that of the symbol
/// before.
struct Code {
    /// In the order of their codes.
    symbols: Vec<u16>,
    /// For each length the first code, how many there are, and where their symbols begin.
    lengths: [(u32, u32, u32); 31],
}

static CODE: LazyLock<Code> = LazyLock::new(|| {
    let mut symbols: Vec<u16> = (0..LENGTHS.len() as u16).collect();
    symbols.sort_by_key(|&symbol| LENGTHS[usize::from(symbol)]);
    let mut lengths = [(0u32, 0u32, 0u32); 31];
    let (mut code, mut begin) = (0u32, 0u32);
    for (length, place) in lengths.iter_mut().enumerate() {
        let count = LENGTHS.iter().filter(|&&known| usize::from(known) == length).count() as u32;
        code <<= 1;
        *place = (code, count, begin);
        code += count;
        begin += count;
    }
    Code { symbols, lengths }
});

pub(super) fn huffman(text: &[u8]) -> Result<Vec<u8>, Broken> {
    let Code { symbols, lengths } = &*CODE;
    let mut out = Vec::with_capacity(text.len() * 8 / 5);
    let (mut code, mut length) = (0u32, 0usize);
    for byte in text {
        for bit in (0..8).rev() {
            code = code << 1 | u32::from(byte >> bit & 1);
            length += 1;
            let Some(&(first, count, begin)) = lengths.get(length) else { return Err(Broken) };
            if code.wrapping_sub(first) < count {
                let symbol = symbols[(begin + code - first) as usize];
                // The end is never sent.
                out.push(u8::try_from(symbol).map_err(|_| Broken)?);
                (code, length) = (0, 0);
            }
        }
    }
    // What is left is padding: the start of the end, all ones.
    let padding = (1u32 << length.min(31)) - 1;
    if length < 8 && code == padding { Ok(out) } else { Err(Broken) }
}

/// Bits of the code of each byte, and of the end (RFC 7541, appendix B).
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// RFC 7541, appendix A.
#[rustfmt::skip]
pub(super) const STATIC: [(&str, &str); 61] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"),
    (":scheme", "http"), (":scheme", "https"), (":status", "200"), (":status", "204"), (":status", "206"),
    (":status", "304"), (":status", "400"), (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""), ("accept", ""),
    ("access-control-allow-origin", ""), ("age", ""), ("allow", ""), ("authorization", ""), ("cache-control", ""),
    ("content-disposition", ""), ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""), ("date", ""), ("etag", ""),
    ("expect", ""), ("expires", ""), ("from", ""), ("host", ""), ("if-match", ""), ("if-modified-since", ""),
    ("if-none-match", ""), ("if-range", ""), ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""),
    ("location", ""), ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
    ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""), ("via", ""),
    ("www-authenticate", ""),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Decoder;

    fn read(decoder: &mut Decoder, hex: &str) -> Vec<(String, String)> {
        let hex: String = hex.split_whitespace().collect();
        let block: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        decoder.read(&block).unwrap().into_iter().map(|(name, value)| (text(name), text(value))).collect()
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// RFC 7541, C.4 and C.6: three requests, and three responses that push one another out of the table.
    #[test]
    fn the_examples_of_the_rfc_are_read() {
        let mut decoder = Decoder::new(1 << 20);
        let start = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")];
        assert_eq!(read(&mut decoder, "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff"), pairs(&start));
        let second = [&start[..], &[("cache-control", "no-cache")]].concat();
        assert_eq!(read(&mut decoder, "8286 84be 5886 a8eb 1064 9cbf"), pairs(&second));
        let third = [
            (":method", "GET"),
            (":scheme", "https"),
            (":path", "/index.html"),
            (":authority", "www.example.com"),
            ("custom-key", "custom-value"),
        ];
        assert_eq!(read(&mut decoder, "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf"), pairs(&third));

        let mut decoder = Decoder::new(1 << 20);
        decoder.limit = 256;
        let first = [
            (":status", "302"),
            ("cache-control", "private"),
            ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
            ("location", "https://www.example.com"),
        ];
        assert_eq!(
            read(
                &mut decoder,
                "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3"
            ),
            pairs(&first)
        );
        let second = [&[(":status", "307")][..], &first[1..]].concat();
        assert_eq!(read(&mut decoder, "4883 640e ffc1 c0bf"), pairs(&second));
        assert_eq!((decoder.table.len(), decoder.bytes), (4, 222));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much(blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..6)) {
            let mut decoder = Decoder::new(1 << 20);
            for block in blocks {
                let _ = decoder.read(&block);
                prop_assert!(decoder.bytes <= super::MOST_TABLE);
            }
        }
    }
}

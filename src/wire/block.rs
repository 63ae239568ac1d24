//! Blocks of fields, read only as far as their pseudo-headers: what they are and what matters of two values.

use std::collections::VecDeque;

use super::hpack::{self, Broken, STATIC};

/// The pseudo-headers of a block of fields.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    pub(super) status: bool,
    /// Any but `:status`.
    pub(super) of_requests: bool,
    /// In `:path`.
    pub(super) fragment: bool,
    /// The status is that of an interim response.
    pub(super) interim: bool,
}

impl Found {
    pub(super) fn pseudo(self) -> bool {
        self.status || self.of_requests
    }

    fn note(&mut self, name: Kind, marked: bool) {
        match name {
            Kind::Plain => {}
            Kind::Status => {
                self.status = true;
                self.interim |= marked;
            }
            Kind::Path => {
                self.of_requests = true;
                self.fragment |= marked;
            }
            Kind::Pseudo => self.of_requests = true,
        }
    }
}

/// The dynamic table, of which only lengths are kept, which names are those of pseudo-headers, and of two of these what
/// matters of their values.
#[derive(Debug)]
pub(super) struct Table {
    /// The newest first.
    entries: VecDeque<Entry>,
    bytes: usize,
    limit: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    name: Name,
    size: usize,
    /// A path with a fragment, an interim status.
    marked: bool,
}

#[derive(Clone, Copy, Debug)]
struct Name {
    kind: Kind,
    length: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Path,
    Status,
    /// Another pseudo-header.
    Pseudo,
    Plain,
}

impl Default for Table {
    fn default() -> Self {
        Self { entries: VecDeque::new(), bytes: 0, limit: Self::MOST }
    }
}

impl Table {
    /// Beside the name and the value of an entry (RFC 7541, section 4.1).
    const OVERHEAD: usize = 32;
    /// What our settings allow.
    const MOST: usize = 4096;

    pub(super) fn read(&mut self, block: &[u8]) -> Result<Found, Broken> {
        let mut rest = block;
        let mut found = Found::default();
        while let Some(&first) = rest.first() {
            match first {
                0x80.. => {
                    let entry = self.entry(hpack::number(&mut rest, 7)?)?;
                    found.note(entry.name.kind, entry.marked);
                }
                0x20..0x40 => {
                    self.limit = hpack::number(&mut rest, 5)?;
                    if self.limit > Self::MOST {
                        return Err(Broken);
                    }
                    self.make_room(0);
                }
                _ => {
                    let keep = first & 0x40 != 0;
                    let name = match hpack::number(&mut rest, if keep { 6 } else { 4 })? {
                        0 => Name::read(&mut rest, keep)?,
                        index => self.entry(index)?.name,
                    };
                    let (coded, value) = hpack::raw_string(&mut rest)?;
                    let marked = name.kind.marks(coded, value)?;
                    found.note(name.kind, marked);
                    if keep {
                        let size = name.length + length(coded, value, keep)? + Self::OVERHEAD;
                        self.insert(Entry { name, size, marked });
                    }
                }
            }
        }
        Ok(found)
    }

    #[cfg(test)]
    pub(super) fn within_bounds(&self) -> bool {
        self.bytes <= Self::MOST
    }

    fn entry(&self, index: usize) -> Result<Entry, Broken> {
        let index = index.checked_sub(1).ok_or(Broken)?;
        match STATIC.get(index) {
            Some((name, value)) => Ok(Entry {
                name: Name { kind: Kind::of(name.as_bytes()), length: name.len() },
                size: name.len() + value.len() + Self::OVERHEAD,
                // No path of the static table has a fragment, and no status is that of an interim response.
                marked: false,
            }),
            None => self.entries.get(index - STATIC.len()).copied().ok_or(Broken),
        }
    }

    fn insert(&mut self, entry: Entry) {
        self.make_room(entry.size);
        if entry.size <= self.limit {
            self.bytes += entry.size;
            self.entries.push_front(entry);
        }
    }

    fn make_room(&mut self, room: usize) {
        while self.bytes + room > self.limit {
            let Some(oldest) = self.entries.pop_back() else { return };
            self.bytes -= oldest.size;
        }
    }
}

impl Name {
    fn read(rest: &mut &[u8], kept: bool) -> Result<Self, Broken> {
        let (coded, text) = hpack::raw_string(rest)?;
        let kind = match begins_with_colon(coded, text) {
            false => Kind::Plain,
            true if coded => Kind::of(&hpack::huffman(text)?),
            true => Kind::of(text),
        };
        Ok(Self { kind, length: length(coded, text, kept)? })
    }
}

impl Kind {
    fn of(name: &[u8]) -> Self {
        match name {
            b":path" => Self::Path,
            b":status" => Self::Status,
            [b':', ..] => Self::Pseudo,
            _ => Self::Plain,
        }
    }

    /// Whether a value is one that matters: a path ends where a fragment begins (RFC 9113, section 8.3.1), and another
    /// response follows one whose status is 1xx.
    fn marks(self, coded: bool, value: &[u8]) -> Result<bool, Broken> {
        let holds = |value: &[u8]| match self {
            Self::Path => value.contains(&b'#'),
            Self::Status => value.first() == Some(&b'1'),
            Self::Pseudo | Self::Plain => false,
        };
        match self {
            Self::Path | Self::Status if coded => Ok(holds(&hpack::huffman(value)?)),
            _ => Ok(holds(value)),
        }
    }
}

/// The code of a colon is 1011100.
fn begins_with_colon(coded: bool, text: &[u8]) -> bool {
    text.first().is_some_and(|&first| if coded { first >> 1 == 0b101_1100 } else { first == b':' })
}

/// The length of a string when it is read; of one that is not kept nobody asks.
fn length(coded: bool, text: &[u8], kept: bool) -> Result<usize, Broken> {
    if coded && kept { Ok(hpack::huffman(text)?.len()) } else { Ok(text.len()) }
}

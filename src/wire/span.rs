//! A range of bytes, small enough to keep one for every field of a head.

use std::ops::Range;

/// Bytes `start..end` of a buffer that the owner of the span knows.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    pub const fn new(start: u32, end: u32) -> Self {
        Self { start, end }
    }

    /// The span of `range`. Buffers that are addressed by spans are bounded far below 4 GiB.
    pub fn of(range: Range<usize>) -> Self {
        Self { start: range.start as u32, end: range.end as u32 }
    }

    pub const fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    pub const fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    pub const fn is_empty(self) -> bool {
        self.end <= self.start
    }

    /// The bytes of `buffer` that this span names.
    pub fn of_bytes(self, buffer: &[u8]) -> &[u8] {
        &buffer[self.range()]
    }

    pub const fn contains(self, other: Span) -> bool {
        self.start <= other.start && other.end <= self.end
    }
}

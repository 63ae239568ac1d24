//! How much of a message is held before it is refused.

/// Bounds on what one peer may make us hold. A head or body beyond them is refused, never cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Most bytes of a head, with its empty line. Answered 431.
    pub head_bytes: usize,
    /// Most field lines of a head or of a trailer section. Answered 431.
    pub fields: usize,
    /// Most bytes of the line in front of a chunk: its size and extensions.
    pub chunk_line: usize,
    /// Most bytes of the fields after the last chunk.
    pub trailer_bytes: usize,
    /// Most interim responses (1xx) to one request. Counted by whoever carries the exchange.
    pub interim: usize,
    /// Most bytes of one envelope, line or WebSocket message held for inspection. A longer one passes in
    /// pieces and is reported unread.
    pub frame_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 64 * 1024,
            fields: 200,
            chunk_line: 4096,
            trailer_bytes: 16 * 1024,
            interim: 20,
            frame_bytes: 32 * 1024 * 1024,
        }
    }
}

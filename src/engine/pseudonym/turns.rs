//! How much of a conversation leaves as it left in the turn before: what a provider's prompt cache can serve.

use bytes::Bytes;

/// Conversations that are remembered, and bytes of them.
const MOST: usize = 16;
const MOST_BYTES: usize = 16 << 20;
/// Two requests that have less in common than this are of two conversations.
const SHORTEST: usize = 64;

struct Turn {
    host: Box<str>,
    path: Box<str>,
    body: Bytes,
}

/// The last body of each conversation as it left, the newest last. In memory alone.
#[derive(Default)]
pub(super) struct Turns {
    list: Vec<Turn>,
    bytes: usize,
}

impl Turns {
    /// Takes the body of the next turn, and gives the length of what it begins with that its conversation's previous turn
    /// began with too; none where no such turn is known.
    pub fn next(&mut self, host: &str, path: &str, body: &Bytes) -> Option<u64> {
        let same = self.list.iter().enumerate().filter(|(_, turn)| *turn.host == *host && *turn.path == *path);
        let best =
            same.map(|(at, turn)| (common(&turn.body, body), at)).max().filter(|(length, _)| *length >= SHORTEST);
        if let Some((_, at)) = best {
            let before = self.list.remove(at);
            self.bytes -= before.body.len();
        }
        if body.len() <= MOST_BYTES {
            self.bytes += body.len();
            self.list.push(Turn { host: host.into(), path: path.into(), body: body.clone() });
        }
        while self.list.len() > MOST || self.bytes > MOST_BYTES {
            self.bytes -= self.list.remove(0).body.len();
        }
        best.map(|(length, _)| length as u64)
    }
}

/// How many bytes both begin with.
fn common(one: &[u8], other: &[u8]) -> usize {
    const BLOCK: usize = 64;
    let blocks = one.chunks_exact(BLOCK).zip(other.chunks_exact(BLOCK)).take_while(|(one, other)| one == other).count();
    let from = blocks * BLOCK;
    from + one[from..].iter().zip(&other[from..]).take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{MOST, Turns};

    fn body(turns: &[&str]) -> Bytes {
        let system = "s".repeat(100);
        format!("{{\"system\":\"{system}\",\"messages\":[{}]}}", turns.join(",")).into()
    }

    #[test]
    fn a_turn_is_told_by_what_it_has_in_common_with_the_one_before() {
        let mut turns = Turns::default();
        let (one, two) = (body(&["\"a\""]), body(&["\"a\"", "\"b\""]));
        assert_eq!(turns.next("h", "/v1/messages", &one), None);
        assert_eq!(
            turns.next("h", "/v1/messages", &two),
            Some(one.len() as u64 - 2),
            "all but the ends of list and object"
        );
        assert_eq!(turns.next("h", "/v1/messages", &two), Some(two.len() as u64));
        assert_eq!(turns.next("h", "/v1/other", &two), None);
        assert_eq!(turns.next("h", "/v1/messages", &Bytes::from_static(b"{\"system\":\"x\"}")), None);
    }

    #[test]
    fn only_so_many_are_remembered() {
        let mut turns = Turns::default();
        for number in 0..3 * MOST {
            turns.next("h", &format!("/{number}"), &body(&[]));
        }
        assert_eq!(turns.list.len(), MOST);
        assert_eq!(turns.bytes, MOST * body(&[]).len());
        assert_eq!(turns.next("h", &format!("/{}", 3 * MOST - 1), &body(&[])), Some(body(&[]).len() as u64));
    }
}

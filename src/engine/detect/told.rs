//! What long texts came to where they stood before.
//!
//! ```text
//! text as it is spelled, where it stands, whose words it holds -> digest -> rules and facts that were found, by their windows
//! ```
//!
//! A conversation is sent whole with every turn. A text that stands where it stood (whichever message of the list that is) comes to
//! what it came to: then its escapes need not be undone, nor anything be looked for in it. Kept are numbers of rules and facts and
//! where they stand, never a text.

use std::ops::Range;
use std::sync::Arc;

use super::facts::ToldFact;
use super::region::Region;
use crate::engine::digest::{Digest, DigestKey};
use crate::engine::remembered::Remembered;
use crate::engine::visit::{Leaf, Place, Segment, Target};

/// Bytes of the newer half of what is kept.
const HALF: usize = 4 << 20;

/// By what a text and its place are known.
pub(crate) type Key = (Digest, Digest);

pub(super) struct Tales(Remembered<Key, Arc<Told>>);

/// What one text came to at its place.
#[derive(Default)]
pub(crate) struct Told {
    pub rules: Box<[ToldRule]>,
    pub facts: Box<[ToldFact]>,
    /// It holds blocks that the client put between a person's words.
    pub blocks: bool,
}

/// A finding of a rule.
pub(crate) struct ToldRule {
    pub rule: u16,
    /// In the decoded text.
    pub window: Range<usize>,
    pub confidence: f32,
    pub unsigned: bool,
}

/// What stands in a window of a leaf.
pub(crate) struct Excerpt<'a> {
    pub text: &'a [u8],
    /// It is all of the leaf.
    pub whole: bool,
    pub target: Target,
}

impl<'a> Excerpt<'a> {
    /// None beyond the leaf's end.
    pub fn of(leaf: &Leaf<'a>, window: &Range<usize>) -> Option<Self> {
        let text = leaf.text.get(window.clone())?;
        Some(Self { text, whole: text.len() == leaf.text.len(), target: leaf.target })
    }
}

impl Default for Tales {
    fn default() -> Self {
        Self(Remembered::new(HALF))
    }
}

impl Tales {
    pub fn get(&self, key: Key) -> Option<Arc<Told>> {
        self.0.get(key)
    }

    pub fn put(&self, key: Key, told: Told) {
        let weight = size_of::<Told>() + size_of_val(&told.rules[..]) + size_of_val(&told.facts[..]);
        self.0.put(key, Arc::new(told), weight);
    }
}

impl Told {
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.facts.is_empty()
    }
}

/// What holds for all texts of a request.
#[derive(Clone, Copy)]
pub(super) struct Whole {
    /// Which rules look at it, and what part of it is walked.
    pub about: u64,
    /// Elements of lists are told apart.
    pub numbered: bool,
}

/// All that findings depend on beside the text: the name that it bears, its place, whose words stand there, and what stands
/// `beside` it in a list.
#[derive(Default)]
pub(super) struct Context {
    /// The last one: that of an element of a list is mostly that of the one before.
    last: Option<(Parts, Digest)>,
}

impl Context {
    /// None for what stands too deep.
    pub fn of(
        &mut self,
        key: &DigestKey,
        name: &str,
        place: &dyn Place,
        region: Region,
        beside: &[u8],
        whole: Whole,
    ) -> Option<Digest> {
        let mut parts = Parts { room: [0; ROOM], used: 0 };
        parts.put(name.as_bytes())?;
        parts.put(beside)?;
        parts.put(&[place.depth().min(255) as u8, region as u8])?;
        for segment in place.pointer() {
            match segment {
                Segment::Name(name) => parts.put(name.as_bytes())?,
                // No name begins so.
                Segment::Index(index) if whole.numbered => {
                    parts.put(&[0xff])?;
                    parts.put(&index.to_le_bytes())?;
                }
                Segment::Index(_) => parts.put(&[0xff])?,
            }
        }
        if let Some((last, digest)) = &self.last
            && last.bytes() == parts.bytes()
        {
            return Some(*digest);
        }
        let digest = key.of(&[parts.bytes()], whole.about);
        self.last = Some((parts, digest));
        Some(digest)
    }
}

/// Bytes of all parts of a context.
const ROOM: usize = 384;

/// One behind the other, each with its length.
struct Parts {
    room: [u8; ROOM],
    used: usize,
}

impl Parts {
    fn bytes(&self) -> &[u8] {
        &self.room[..self.used]
    }

    fn put(&mut self, part: &[u8]) -> Option<()> {
        let length = u8::try_from(part.len()).ok()?;
        let room = self.room.get_mut(self.used..self.used + 1 + part.len())?;
        room[0] = length;
        room[1..].copy_from_slice(part);
        self.used += room.len();
        Some(())
    }
}

//! Whose words stand in a message, where the API leaves it to its role.

use super::region::Region;
use crate::engine::visit::{Leaf, LeafKind, Place, Segment};

/// The role of the message that is being read, where it stands before the content.
#[derive(Default)]
pub(super) struct Role {
    index: u64,
    region: Option<Region>,
}

impl Role {
    pub(super) fn note(&mut self, leaf: &Leaf<'_>, place: &dyn Place) {
        if leaf.name != "role" || leaf.kind != LeafKind::JsonString {
            return;
        }
        let Some(index) = message_index(place.pointer()) else { return };
        self.index = index;
        self.region = match leaf.text {
            b"system" | b"developer" => Some(Region::System),
            // A model repeats what it has read.
            b"tool" | b"function" | b"assistant" | b"model" => Some(Region::ToolResult),
            _ => None,
        };
    }

    /// The message that was last read is a system's.
    pub(super) fn is_system(&self) -> bool {
        self.region == Some(Region::System)
    }

    pub(super) fn of(&self, pointer: &[Segment<'_>]) -> Option<Region> {
        self.region.filter(|_| message_index(pointer) == Some(self.index))
    }
}

fn message_index(pointer: &[Segment<'_>]) -> Option<u64> {
    let at = pointer.iter().position(|segment| matches!(segment, Segment::Name("messages" | "input" | "contents")))?;
    match pointer.get(at + 1) {
        Some(Segment::Index(index)) => Some(*index),
        _ => None,
    }
}

//! A text of a response that is not at its end.

use super::automaton::{ROOT, State};
use super::channel::{Channel, Counts, Form};

pub(super) struct Live {
    pub channel: Channel,
    /// As spelled, before and after.
    pub before: Vec<u8>,
    pub after: Vec<u8>,
    pub overlong: bool,
    pub touched: bool,
    pub context: Vec<u8>,
    pub thinking: State,
}

impl Live {
    pub fn new(form: Form) -> Self {
        Self {
            channel: Channel::new(form),
            before: Vec::new(),
            after: Vec::new(),
            overlong: false,
            touched: false,
            context: Vec::new(),
            thinking: ROOT,
        }
    }

    /// Keeps what came and what went for the ledger, as far as there is room.
    pub fn keep(&mut self, before: &[u8], after: &[u8], counts: Counts, most: usize, room: &mut usize) {
        self.touched |= counts.restored > 0;
        let more = before.len() + after.len();
        if self.overlong || self.before.len() + before.len() > most || more > *room {
            self.overlong = true;
            *room += self.kept();
            (self.before, self.after) = (Vec::new(), Vec::new());
        } else {
            *room -= more;
            self.before.extend_from_slice(before);
            self.after.extend_from_slice(after);
        }
    }

    pub fn kept(&self) -> usize {
        self.before.len() + self.after.len()
    }
}

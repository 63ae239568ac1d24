//! Which format a captured file has, told from its first bytes.

use bytes::Bytes;

use super::damage::Damage;
use super::flow::Exchange;
use super::{har, mitmproxy};

/// A format of captures that others write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    Har,
    /// `mitmdump -w`.
    Mitmproxy,
}

impl Format {
    /// None for what is none of them; a request in a file of its own is one of these too, and knows no mark.
    pub fn sniff(file: &[u8]) -> Option<Self> {
        if har::is_har(file) {
            return Some(Self::Har);
        }
        mitmproxy::is_flows(file).then_some(Self::Mitmproxy)
    }

    /// Gives every exchange of `file` to `each` in its order, and says what could not be read.
    pub fn read(self, file: &Bytes, each: &mut dyn FnMut(Exchange)) -> Vec<Damage> {
        match self {
            Self::Har => har::read(file, each),
            Self::Mitmproxy => mitmproxy::read(file, each),
        }
    }
}

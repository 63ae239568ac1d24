//! Which format a captured file has, told from its first bytes.

use bytes::Bytes;

use super::damage::Damage;
use super::flow::Exchange;
use super::{har, mitmproxy, pcap};

/// A format of captures that others write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    Har,
    /// `mitmdump -w`.
    Mitmproxy,
    /// Packets, with keys in the file or without.
    Pcap,
}

impl Format {
    /// None for what is none of them; a request in a file of its own is one of these too, and knows no mark.
    pub fn sniff(file: &[u8]) -> Option<Self> {
        if pcap::is_capture(file) {
            return Some(Self::Pcap);
        }
        if har::is_har(file) {
            return Some(Self::Har);
        }
        mitmproxy::is_flows(file).then_some(Self::Mitmproxy)
    }

    /// Gives every exchange of `file` to `each` in its order, and says what could not be read. `key_log`: secrets of TLS
    /// for captured packets, the text that programs write for `SSLKEYLOGFILE`; empty for other formats.
    pub fn read(self, file: &Bytes, key_log: &[u8], each: &mut dyn FnMut(Exchange)) -> Vec<Damage> {
        match self {
            Self::Har => har::read(file, each),
            Self::Mitmproxy => mitmproxy::read(file, each),
            Self::Pcap => pcap::read(file, key_log, each),
        }
    }
}

//! Requests to the kernel over netlink: a socket, messages, attributes. What the room needs and no more, so that no
//! program (`ip`, `nft`) has to be installed where it is built.

use std::io;

use socket2::{Domain, Protocol, Socket, Type};

/// `AF_NETLINK`.
const FAMILY: i32 = 16;
/// `NETLINK_ROUTE` and `NETLINK_NETFILTER`.
pub const ROUTE: i32 = 0;
pub const NETFILTER: i32 = 12;

const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
pub const NLM_F_EXCL: u16 = 0x200;
pub const NLM_F_CREATE: u16 = 0x400;
pub const NLM_F_APPEND: u16 = 0x800;
const NLMSG_ERROR: u16 = 2;
const NLA_F_NESTED: u16 = 0x8000;
/// Length, type, flags, sequence number, port.
const HEADER: usize = 16;

/// Attributes, one after the other: length, type, value, padding to four bytes.
#[derive(Clone, Debug, Default)]
pub struct Attributes(Vec<u8>);

impl Attributes {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn put(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len() + 4).expect("attributes are built from short values");
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// Netfilter's numbers are in network order.
    pub fn number(self, kind: u16, value: u32) -> Self {
        self.put(kind, &value.to_be_bytes())
    }

    /// With the zero at its end.
    pub fn name(self, kind: u16, value: &str) -> Self {
        self.put(kind, &[value.as_bytes(), b"\0"].concat())
    }

    pub fn nest(self, kind: u16, inside: Attributes) -> Self {
        self.put(kind | NLA_F_NESTED, &inside.0)
    }

    /// An attribute that holds a structure and attributes of its own.
    pub fn put_with(self, kind: u16, fixed: &[u8], inside: Attributes) -> Self {
        self.put(kind, &[fixed, &inside.0].concat())
    }
}

/// One request.
pub struct Message {
    kind: u16,
    flags: u16,
    acknowledged: bool,
    body: Vec<u8>,
}

impl Message {
    /// `fixed` is the structure that stands before the attributes.
    pub fn new(kind: u16, flags: u16, fixed: &[u8], attributes: Attributes) -> Self {
        Self { kind, flags, acknowledged: true, body: [fixed, &attributes.0].concat() }
    }

    /// The marks around a batch are not acknowledged.
    pub fn mark(kind: u16, fixed: &[u8]) -> Self {
        Self { kind, flags: 0, acknowledged: false, body: fixed.to_vec() }
    }
}

/// A socket to one of the kernel's families.
pub struct Link(Socket);

impl Link {
    pub fn open(family: i32) -> io::Result<Self> {
        Ok(Self(Socket::new(Domain::from(FAMILY), Type::RAW, Some(Protocol::from(family)))?))
    }

    /// Sends the messages together and waits until each is acknowledged. The kernel handles them before the call to
    /// send returns, so nothing is ever waited for long.
    pub fn request(&self, messages: &[Message]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for (sequence, message) in (1u32..).zip(messages) {
            let length = (HEADER + message.body.len()) as u32;
            let flags = NLM_F_REQUEST | message.flags | if message.acknowledged { NLM_F_ACK } else { 0 };
            bytes.extend_from_slice(&length.to_ne_bytes());
            bytes.extend_from_slice(&message.kind.to_ne_bytes());
            bytes.extend_from_slice(&flags.to_ne_bytes());
            bytes.extend_from_slice(&sequence.to_ne_bytes());
            bytes.extend_from_slice(&0u32.to_ne_bytes());
            bytes.extend_from_slice(&message.body);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        self.0.send(&bytes)?;
        let mut missing = messages.iter().filter(|message| message.acknowledged).count();
        while missing > 0 {
            let mut space = vec![0u8; 16 * 1024];
            let n = io::Read::read(&mut &self.0, &mut space)?;
            for outcome in outcomes(&space[..n]) {
                outcome?;
                missing = missing.saturating_sub(1);
            }
        }
        Ok(())
    }
}

/// The acknowledgements in one answer: an error message each, with the number 0 where all is well.
fn outcomes(mut bytes: &[u8]) -> Vec<io::Result<()>> {
    let mut found = Vec::new();
    while let Some((header, body)) = bytes.split_at_checked(HEADER) {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        if kind == NLMSG_ERROR
            && let Some(code) = body.first_chunk::<4>()
        {
            let code = i32::from_ne_bytes(*code);
            found.push(if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) });
        }
        bytes = bytes.get(length.max(HEADER).next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_say_their_own_length() {
        let bytes = Attributes::new().put(1, b"lo\0").number(2, 7).0;
        let mut expected = Vec::new();
        expected.extend_from_slice(&7u16.to_ne_bytes());
        expected.extend_from_slice(&1u16.to_ne_bytes());
        expected.extend_from_slice(b"lo\0\0");
        expected.extend_from_slice(&8u16.to_ne_bytes());
        expected.extend_from_slice(&2u16.to_ne_bytes());
        expected.extend_from_slice(&[0, 0, 0, 7]);
        assert_eq!(bytes, expected);
    }

    #[test]
    fn an_error_is_told_from_an_acknowledgement() {
        let message = |code: i32| {
            let mut bytes = 36u32.to_ne_bytes().to_vec();
            bytes.extend_from_slice(&NLMSG_ERROR.to_ne_bytes());
            bytes.resize(HEADER, 0);
            bytes.extend_from_slice(&code.to_ne_bytes());
            bytes.resize(36, 0);
            bytes
        };
        let found = outcomes(&[message(0), message(-1)].concat());
        assert!(found[0].is_ok());
        assert_eq!(found[1].as_ref().unwrap_err().raw_os_error(), Some(1));
        assert_eq!(found.len(), 2);
        assert!(outcomes(&message(0)[..20]).len() <= 1, "a cut answer is no reason to panic");
    }
}

//! Packets out of a file: classic pcap, and pcapng (draft-ietf-opsawg-pcapng).

use bytes::Bytes;

use super::keys::Keys;
use crate::session::damage::Damages;
use crate::session::flow::Millis;

/// What was captured of one packet.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    /// The type of its outermost header (LINKTYPE_…).
    pub link: u32,
    pub at: Option<Millis>,
    /// Where it stands in the file.
    pub offset: usize,
    pub data: Bytes,
}

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;
const SECRETS: u32 = 10;
const TLS_KEY_LOG: u32 = 0x544c_534b;

pub(in crate::session) fn is_capture(file: &[u8]) -> bool {
    file.starts_with(&SECTION.to_be_bytes()) || Classic::of(file).is_some()
}

pub(super) fn read(file: &Bytes, keys: &mut Keys, damages: &mut Damages, each: &mut dyn FnMut(Packet)) {
    match Classic::of(file) {
        Some(classic) => classic.read(file, damages, each),
        None => blocks(file, keys, damages, each),
    }
}

#[derive(Clone, Copy)]
enum Order {
    Big,
    Little,
}

impl Order {
    fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let bytes = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(if matches!(self, Self::Big) { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let bytes = bytes.get(at..at + 2)?.try_into().ok()?;
        Some(if matches!(self, Self::Big) { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }
}

/// The head of a classic file.
struct Classic {
    order: Order,
    /// Parts of a second in which times are counted below it.
    fraction: u64,
    link: u32,
}

impl Classic {
    const HEAD: usize = 24;
    const RECORD: usize = 16;

    fn of(file: &[u8]) -> Option<Self> {
        let (order, fraction) = match file.get(..4)? {
            [0xa1, 0xb2, 0xc3, 0xd4] => (Order::Big, 1_000_000),
            [0xd4, 0xc3, 0xb2, 0xa1] => (Order::Little, 1_000_000),
            [0xa1, 0xb2, 0x3c, 0x4d] => (Order::Big, 1_000_000_000),
            [0x4d, 0x3c, 0xb2, 0xa1] => (Order::Little, 1_000_000_000),
            _ => return None,
        };
        // The upper bits say whether a check sequence follows each frame.
        Some(Self { order, fraction, link: order.u32(file, 20)? & 0x0fff_ffff })
    }

    fn read(&self, file: &Bytes, damages: &mut Damages, each: &mut dyn FnMut(Packet)) {
        let mut at = Self::HEAD;
        while at < file.len() {
            let field = |index: usize| self.order.u32(file, at + 4 * index);
            let (Some(seconds), Some(rest), Some(length)) = (field(0), field(1), field(2)) else {
                return damages.lost_at(at, "the file ends in the head of a packet");
            };
            let start = at + Self::RECORD;
            let end = start.saturating_add(length as usize);
            if start > file.len() || end > file.len() {
                return damages.lost_at(at, "the file ends in a packet");
            }
            let millis = u64::from(seconds) * 1000 + u64::from(rest) * 1000 / self.fraction;
            let at_time = (seconds > 0).then_some(millis);
            each(Packet { link: self.link, at: at_time, offset: at, data: file.slice(start..end) });
            at = end;
        }
    }
}

struct Interface {
    link: u32,
    /// Ticks a second; zero for more than are counted in 64 bits.
    ticks: u64,
    /// Seconds to add.
    shift: i64,
}

fn blocks(file: &Bytes, keys: &mut Keys, damages: &mut Damages, each: &mut dyn FnMut(Packet)) {
    let mut order = Order::Little;
    let mut interfaces: Vec<Interface> = Vec::new();
    let mut at = 0;
    while at < file.len() {
        if file.get(at..at + 4) == Some(&SECTION.to_be_bytes()) {
            match file.get(at + 8..at + 12) {
                Some([0x1a, 0x2b, 0x3c, 0x4d]) => order = Order::Big,
                Some([0x4d, 0x3c, 0x2b, 0x1a]) => order = Order::Little,
                _ => {}
            }
            interfaces.clear();
        }
        let Some((kind, end)) = block(file, at, order) else {
            match (at + 1..file.len().saturating_sub(12)).find(|&next| is_block(file, next, order)) {
                Some(next) => {
                    damages.lost_at(at, format!("a block whose length is wrong; read on at offset {next}"));
                    at = next;
                    continue;
                }
                None => return damages.lost_at(at, "the file ends in a block, or its length is wrong"),
            }
        };
        let body = file.slice(at + 8..end - 4);
        let packet = |interface: usize, ticks: Option<u64>, start: usize, length: usize| {
            let interface = interfaces.get(interface)?;
            let data = body.slice(start..start.checked_add(length).filter(|&end| end <= body.len())?);
            Some(Packet { link: interface.link, at: ticks.and_then(|ticks| interface.millis(ticks)), offset: at, data })
        };
        let u32_at = |at| order.u32(&body, at);
        let ticks = || Some(u64::from(u32_at(4)?) << 32 | u64::from(u32_at(8)?));
        let found = match kind {
            INTERFACE => {
                interfaces.extend(Interface::read(&body, order));
                None
            }
            ENHANCED_PACKET => {
                u32_at(12).map(|length| packet(u32_at(0).unwrap_or(0) as usize, ticks(), 20, length as usize))
            }
            OBSOLETE_PACKET => {
                let interface = order.u16(&body, 0).unwrap_or(0);
                u32_at(12).map(|length| packet(interface.into(), ticks(), 20, length as usize))
            }
            SIMPLE_PACKET => u32_at(0).map(|length| packet(0, None, 4, (length as usize).min(body.len() - 4))),
            SECRETS => {
                if u32_at(0) == Some(TLS_KEY_LOG) {
                    let length = u32_at(4).unwrap_or(0) as usize;
                    keys.add(body.get(8..8usize.saturating_add(length)).unwrap_or_default());
                }
                None
            }
            _ => None,
        };
        match found {
            Some(Some(packet)) => each(packet),
            Some(None) => damages.lost_at(at, "a packet longer than its block, or of no known interface"),
            None => {}
        }
        at = end;
    }
}

/// Kind and end of the block at `at`.
fn block(file: &[u8], at: usize, order: Order) -> Option<(u32, usize)> {
    let (kind, length) = (order.u32(file, at)?, order.u32(file, at + 4)? as usize);
    let end = at.checked_add(length).filter(|&end| end <= file.len())?;
    (length >= 12 && length.is_multiple_of(4)).then_some((kind, end))
}

/// Whether a block of a kind that is read stands there, its length on both of its ends.
fn is_block(file: &[u8], at: usize, order: Order) -> bool {
    block(file, at, order).is_some_and(|(kind, end)| {
        matches!(kind, SECTION | INTERFACE | ENHANCED_PACKET | SIMPLE_PACKET | SECRETS)
            && order.u32(file, end - 4) == order.u32(file, at + 4)
    })
}

impl Interface {
    fn read(body: &[u8], order: Order) -> Option<Self> {
        let mut found = Self { link: order.u16(body, 0)?.into(), ticks: 1_000_000, shift: 0 };
        let mut at = 8;
        while let (Some(code), Some(length)) = (order.u16(body, at), order.u16(body, at + 2)) {
            let length = usize::from(length);
            let Some(value) = body.get(at + 4..at + 4 + length) else { break };
            match (code, value) {
                (0, _) => break,
                // Negative powers of two, or of ten.
                (9, &[bits]) if bits & 0x80 != 0 => found.ticks = 1u64.checked_shl((bits & 0x7f).into()).unwrap_or(0),
                (9, &[digits]) => found.ticks = 10u64.checked_pow(digits.into()).unwrap_or(0),
                (14, value) if value.len() == 8 => {
                    let (first, second) = (order.u32(value, 0)?, order.u32(value, 4)?);
                    let (high, low) = if matches!(order, Order::Big) { (first, second) } else { (second, first) };
                    found.shift = (u64::from(high) << 32 | u64::from(low)) as i64;
                }
                _ => {}
            }
            at += 4 + length.next_multiple_of(4);
        }
        Some(found)
    }

    fn millis(&self, ticks: u64) -> Option<Millis> {
        let millis = (u128::from(ticks) * 1000).checked_div(self.ticks.into())?;
        let millis = i128::try_from(millis).ok()? + i128::from(self.shift) * 1000;
        millis.try_into().ok()
    }
}

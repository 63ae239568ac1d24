//! Segments of TCP out of packets.

use std::net::IpAddr;

use bytes::Bytes;

use super::packets::Packet;

pub(super) type End = (IpAddr, u16);

#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub from: End,
    pub to: End,
    pub sequence: u32,
    pub syn: bool,
    pub ack: bool,
    pub fin: bool,
    pub reset: bool,
    pub data: Bytes,
}

/// Packets that may hold something and are not read: how many, and where the first stands.
#[derive(Default)]
pub(super) struct Counts {
    fragments: (u64, usize),
    quic: (u64, usize),
    link: (u64, usize),
    cut: (u64, usize),
}

impl Counts {
    fn count(place: &mut (u64, usize), packet: &Packet) {
        if place.0 == 0 {
            place.1 = packet.offset;
        }
        place.0 += 1;
    }

    pub fn unread(&self) -> impl Iterator<Item = (u64, usize, &'static str)> {
        let all = [
            (self.fragments, "fragments of IP"),
            (self.quic, "HTTP/3 (UDP on port 443)"),
            (self.link, "packets of an unknown kind of link"),
            (self.cut, "packets that are cut in their heads"),
        ];
        all.into_iter().filter(|((count, _), _)| *count > 0).map(|((count, first), what)| (count, first, what))
    }
}

/// The segment in `packet`; none where it holds none.
pub(super) fn segment(packet: &Packet, counts: &mut Counts) -> Option<Segment> {
    let data = &packet.data;
    let start = match packet.link {
        // Ethernet, with tags of virtual networks.
        1 => {
            let mut at = 12;
            while matches!(data.get(at..at + 2), Some([0x81 | 0x91, 0x00] | [0x88, 0xa8])) {
                at += 4;
            }
            match data.get(at..at + 2) {
                Some([0x08, 0x00] | [0x86, 0xdd]) => at + 2,
                _ => return None,
            }
        }
        // BSD loopback: a family that every system numbers in its own way; the version stands in the packet too.
        0 | 108 => 4,
        12 | 14 | 101 | 228 | 229 => 0,
        // Linux cooked.
        113 => 16,
        276 => 20,
        _ => {
            Counts::count(&mut counts.link, packet);
            return None;
        }
    };
    let found = match data.get(start)? >> 4 {
        4 => v4(packet, start, counts),
        6 => v6(packet, start, counts),
        _ => return None,
    };
    match found {
        Some((6, from, to, data)) => {
            let segment = tcp(from, to, &data);
            if segment.is_none() {
                Counts::count(&mut counts.cut, packet);
            }
            segment
        }
        Some((17, _, _, data)) => {
            let ports = [data.get(..2)?, data.get(2..4)?];
            // Short ones are keep-alives of something else.
            if ports.contains(&&443u16.to_be_bytes()[..]) {
                Counts::count(&mut counts.quic, packet);
            }
            None
        }
        _ => None,
    }
}

/// Protocol, addresses, and what is in the packet.
type Inside = (u8, IpAddr, IpAddr, Bytes);

fn v4(packet: &Packet, start: usize, counts: &mut Counts) -> Option<Inside> {
    let data = &packet.data;
    let head = data.get(start..start + 20)?;
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    // More fragments, or not the first.
    if u16::from_be_bytes([head[6], head[7]]) & 0x3fff != 0 {
        Counts::count(&mut counts.fragments, packet);
        return None;
    }
    let address = |at: usize| head.get(at..at + 4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()).map(IpAddr::from);
    let first = start + usize::from(head[0] & 15) * 4;
    // Cards that cut segments themselves leave the length out.
    let end = if length == 0 { data.len() } else { (start + length).min(data.len()) };
    (first <= end).then(|| Some((head[9], address(12)?, address(16)?, data.slice(first..end))))?
}

fn v6(packet: &Packet, start: usize, counts: &mut Counts) -> Option<Inside> {
    let data = &packet.data;
    let head = data.get(start..start + 40)?;
    let address =
        |at: usize| head.get(at..at + 16).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok()).map(IpAddr::from);
    let length = usize::from(u16::from_be_bytes([head[4], head[5]]));
    let end = if length == 0 { data.len() } else { (start + 40 + length).min(data.len()) };
    let mut next = head[6];
    let mut at = start + 40;
    // Each extension is eight bytes at least, so this ends.
    while matches!(next, 0 | 43 | 44 | 60) {
        let extension = data.get(at..at + 8)?;
        if next == 44 {
            if u16::from_be_bytes([extension[2], extension[3]]) & 0xfff9 != 0 {
                Counts::count(&mut counts.fragments, packet);
                return None;
            }
            at += 8;
        } else {
            at += 8 + usize::from(extension[1]) * 8;
        }
        next = extension[0];
    }
    (at <= end).then(|| Some((next, address(8)?, address(24)?, data.slice(at..end))))?
}

fn tcp(from: IpAddr, to: IpAddr, data: &Bytes) -> Option<Segment> {
    let head = data.get(..20)?;
    let port = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let start = usize::from(head[12] >> 4) * 4;
    let flag = |bit: u8| head[13] & bit != 0;
    (start >= 20 && start <= data.len()).then(|| Segment {
        from: (from, port(0)),
        to: (to, port(2)),
        sequence: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
        fin: flag(1),
        syn: flag(2),
        reset: flag(4),
        ack: flag(16),
        data: data.slice(start..),
    })
}

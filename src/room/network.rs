//! The network of a room, built from the inside: loopback, perhaps an invented interface, and a redirect of every
//! connection to the sockets that are handed out.
//!
//! ```text
//! TCP to any address  -> route `local default dev lo` -> nat redirect -> door
//! UDP to port 53      ->              "               -> nat redirect -> resolver
//! any other datagram  ->              "               -> nobody listens: refused by the kernel, seen by the tap
//! ```
//!
//! All addresses are local to the room (the "AnyIP" route), so nothing needs a gateway, and nothing can leave even where a
//! rule is missing. The original destination of a redirected connection is asked of the kernel (`SO_ORIGINAL_DST`).

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use nix::sched::{CloneFlags, setns, unshare};
use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};

use super::Interface;
use super::control::Opened;
use super::layout::Layout;
use super::netlink::{Attributes, Link, Message, NETFILTER, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, ROUTE};
use super::step::{Step, Stepped};

/// `lo` is the first device of every network namespace.
const LOOPBACK: i32 = 1;
/// Where connections are met when the kernel has no address translation: the ports that are usual for HTTP and its
/// proxies. Others are refused there.
const USUAL_PORTS: [u16; 12] = [80, 443, 3000, 3128, 4318, 5000, 8000, 8080, 8443, 8888, 9090, 9443];

/// The sockets that are handed out, in the order that [`Opened`] describes, and what was missing.
pub struct Network {
    pub sockets: Vec<OwnedFd>,
    pub opened: Opened,
    /// Kept open: the other end of the invented interface lives in it.
    pub beside: Option<File>,
}

/// Builds the network in the namespace of this process, which must be new.
pub fn build(layout: &Layout) -> Result<Network, Step> {
    let beside = match &layout.interface {
        Some(interface) => Some(interface_device(interface)?),
        None => None,
    };
    let link = Link::open(ROUTE).step("open a netlink socket")?;
    link.request(&[up(LOOPBACK)]).step("raise loopback")?;
    let preferred = match &layout.interface {
        Some(interface) => {
            address(&link, interface)?;
            interface.address
        }
        None => Ipv4Addr::LOCALHOST.into(),
    };
    link.request(&[everything_is_local(preferred)]).step("route every IPv4 address to loopback")?;
    let ipv6 = link.request(&[everything_is_local(Ipv6Addr::UNSPECIFIED.into())]).is_ok();
    if let Some(gateway) = layout.interface.as_ref().and_then(gateway_of) {
        // For those who look at the table: the local route stands before it.
        link.request(&[default_route(gateway, layout.interface.as_ref())]).step("add a default route")?;
    }

    let mut network = Network {
        sockets: Vec::new(),
        opened: Opened { doors: 0, translated: true, resolvers: 0, tap: false, missing: Vec::new() },
        beside: beside.flatten(),
    };
    let proxy = listen((Ipv4Addr::LOCALHOST, 0).into()).step("listen for the explicit proxy")?;
    network.sockets.push(proxy);
    let families: &[IpAddr] = match ipv6 {
        true => &[IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)],
        false => &[IpAddr::V4(Ipv4Addr::LOCALHOST)],
    };
    if !ipv6 {
        network.opened.missing.push("the kernel has no IPv6: connections over it fail uncounted".to_owned());
    }
    let mut doors = Vec::new();
    for &family in families {
        let door = listen((family, 0).into()).step("listen for redirected connections")?;
        let port = local_port(&door).step("the port of redirected connections")?;
        let redirected = match layout.untranslated {
            true => Err(io::ErrorKind::Unsupported.into()),
            false => redirect(family, port, layout),
        };
        if let Err(error) = redirected {
            network.opened.translated = false;
            network.opened.missing.push(format!(
                "the kernel has no address translation (nf_tables with nat: {error}); only connections to the ports {} are met",
                USUAL_PORTS.map(|port| port.to_string()).join(" ")
            ));
            break;
        }
        doors.push(door);
    }
    if !network.opened.translated {
        doors = usual_doors(ipv6)?;
    }
    network.opened.doors = doors.len();
    network.sockets.extend(doors);
    for &family in families {
        let resolver = datagrams((family, 53).into()).step("listen for DNS (UDP port 53)")?;
        network.sockets.push(resolver);
        network.opened.resolvers += 1;
    }
    match tap() {
        Ok(tap) => {
            network.sockets.push(tap);
            network.opened.tap = true;
        }
        Err(error) => network
            .opened
            .missing
            .push(format!("datagrams are refused but not counted: the kernel has no packet sockets ({error})")),
    }
    Ok(network)
}

fn listen(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn datagrams(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn local_port(socket: &OwnedFd) -> io::Result<u16> {
    let address: SockAddr = socket2::SockRef::from(socket).local_addr()?;
    address.as_socket().map(|address| address.port()).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// Doors at the usual ports, for any address: the address that was meant is the one that the connection has.
fn usual_doors(ipv6: bool) -> Result<Vec<OwnedFd>, Step> {
    let mut any: Vec<IpAddr> = vec![Ipv4Addr::UNSPECIFIED.into()];
    if ipv6 {
        any.push(Ipv6Addr::UNSPECIFIED.into());
    }
    let mut doors = Vec::new();
    for port in USUAL_PORTS.into_iter().chain([53]) {
        for &address in &any {
            doors.push(listen((address, port).into()).step("listen at the usual ports")?);
        }
    }
    Ok(doors)
}

// --- routing -------------------------------------------------------------------------------------------------------

const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// `struct ifinfomsg`: family, type, index, flags, mask of flags.
fn device(index: i32, flags: u32) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    bytes.extend_from_slice(&index.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes
}

fn up(index: i32) -> Message {
    /// `IFF_UP`.
    const UP: u32 = 1;
    Message::new(RTM_NEWLINK, 0, &device(index, UP), Attributes::new())
}

fn index_of(name: &str) -> io::Result<i32> {
    Ok(nix::net::if_::if_nametoindex(name)? as i32)
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn family_of(address: IpAddr) -> u8 {
    if address.is_ipv4() { AF_INET } else { AF_INET6 }
}

/// Gives the invented interface its address and raises it.
fn address(link: &Link, interface: &Interface) -> Result<(), Step> {
    const IFA_ADDRESS: u16 = 1;
    const IFA_LOCAL: u16 = 2;
    let index = index_of(&interface.name).step("find the invented interface")?;
    let octets = octets(interface.address);
    let prefix = if interface.address.is_ipv4() { 24 } else { 64 };
    // `struct ifaddrmsg`: family, prefix, flags, scope, index.
    let mut fixed = vec![family_of(interface.address), prefix, 0, 0];
    fixed.extend_from_slice(&index.to_ne_bytes());
    let attributes = Attributes::new().put(IFA_LOCAL, &octets).put(IFA_ADDRESS, &octets);
    link.request(&[Message::new(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &fixed, attributes)])
        .step("give the invented interface its address")?;
    link.request(&[up(index)]).step("raise the invented interface")
}

/// `struct rtmsg`: family, lengths of destination and source, service, table, protocol, scope, type, flags.
fn route(family: u8, table: u8, scope: u8, kind: u8) -> Vec<u8> {
    const BOOT: u8 = 3;
    vec![family, 0, 0, 0, table, BOOT, scope, kind, 0, 0, 0, 0]
}

const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PREFSRC: u16 = 7;

fn everything_is_local(source: IpAddr) -> Message {
    const TABLE_LOCAL: u8 = 255;
    const SCOPE_HOST: u8 = 254;
    const LOCAL: u8 = 2;
    let mut attributes = Attributes::new().put(RTA_OIF, &LOOPBACK.to_ne_bytes());
    let family = match source {
        IpAddr::V4(source) => {
            attributes = attributes.put(RTA_PREFSRC, &source.octets());
            AF_INET
        }
        IpAddr::V6(_) => AF_INET6,
    };
    Message::new(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &route(family, TABLE_LOCAL, SCOPE_HOST, LOCAL), attributes)
}

/// The first address of the interface's network.
pub fn gateway_of(interface: &Interface) -> Option<Ipv4Addr> {
    let IpAddr::V4(address) = interface.address else { return None };
    let [a, b, c, d] = address.octets();
    Some(Ipv4Addr::new(a, b, c, if d == 1 { 254 } else { 1 }))
}

fn default_route(gateway: Ipv4Addr, interface: Option<&Interface>) -> Message {
    const TABLE_MAIN: u8 = 254;
    const UNICAST: u8 = 1;
    let mut attributes = Attributes::new().put(RTA_GATEWAY, &gateway.octets());
    if let Some(index) = interface.and_then(|interface| index_of(&interface.name).ok()) {
        attributes = attributes.put(RTA_OIF, &index.to_ne_bytes());
    }
    Message::new(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &route(AF_INET, TABLE_MAIN, 0, UNICAST), attributes)
}

// --- the invented interface ----------------------------------------------------------------------------------------

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;

/// Makes the device: of the kind `dummy`, or where the kernel has none, one end of a pair whose other end is in a
/// namespace beside the room, which is then given back to be kept.
fn interface_device(interface: &Interface) -> Result<Option<File>, Step> {
    let mac = interface.mac_octets().step("read the invented interface's MAC")?;
    let named = || Attributes::new().name(IFLA_IFNAME, &interface.name).put(IFLA_ADDRESS, &mac);
    let create = |attributes| Message::new(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &device(0, 0), attributes);
    let link = Link::open(ROUTE).step("open a netlink socket")?;
    let dummy = named().nest(IFLA_LINKINFO, Attributes::new().put(IFLA_INFO_KIND, b"dummy"));
    if link.request(&[create(dummy)]).is_ok() {
        return Ok(None);
    }
    let space = || File::open("/proc/self/ns/net");
    let beside = space().step("find the namespace beside the room")?;
    unshare(CloneFlags::CLONE_NEWNET).step("make a second network namespace")?;
    let room = space().step("find the room's network namespace")?;
    /// `VETH_INFO_PEER`.
    const PEER: u16 = 1;
    let peer = Attributes::new().name(IFLA_IFNAME, "peer").put(IFLA_NET_NS_FD, &raw(&beside).to_ne_bytes());
    let data = Attributes::new().put_with(PEER, &device(0, 0), peer);
    let pair = Attributes::new().put(IFLA_INFO_KIND, b"veth").nest(IFLA_INFO_DATA, data);
    let link = Link::open(ROUTE).step("open a netlink socket")?;
    link.request(&[create(named().nest(IFLA_LINKINFO, pair))])
        .step("make the invented interface (the kernel has neither the device `dummy` nor `veth`)")?;
    setns(&beside, CloneFlags::CLONE_NEWNET).step("enter the namespace beside the room")?;
    let raised = Link::open(ROUTE).and_then(|link| link.request(&[up(index_of("peer")?)]));
    setns(&room, CloneFlags::CLONE_NEWNET).step("return to the room's network namespace")?;
    raised.step("raise the other end of the invented interface")?;
    Ok(Some(beside))
}

fn raw(file: &File) -> i32 {
    std::os::fd::AsRawFd::as_raw_fd(&file.as_fd())
}

// --- address translation -------------------------------------------------------------------------------------------

/// `NFNL_SUBSYS_NFTABLES`.
const NFTABLES: u16 = 10;
const TABLE: &str = "divulge";
const CHAIN: &str = "out";
const REGISTER: u32 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Table, chain and rules of one family, as one transaction.
fn redirect(family: IpAddr, door: u16, layout: &Layout) -> io::Result<()> {
    let own = layout.interface.as_ref().map(|interface| interface.address);
    let mut rules = vec![[protocol(UDP), to_port(53), redirect_to(53)].concat()];
    for &port in &layout.caught {
        rules.push([protocol(TCP), to_port(port), redirect_to(door)].concat());
    }
    rules.push([to_loopback(family), accept()].concat());
    if let Some(own) = own.filter(|own| own.is_ipv4() == family.is_ipv4()) {
        rules.push([to_address(own), accept()].concat());
    }
    rules.push([protocol(TCP), redirect_to(door)].concat());

    let netfilter = |kind: u16, flags: u16, attributes| {
        let fixed = [family_of(family), 0, 0, 0];
        Message::new(NFTABLES << 8 | kind, flags, &fixed, attributes)
    };
    // `struct nfgenmsg`: the subsystem that the batch is for, in network order.
    let subsystem = [0, 0, 0, NFTABLES as u8];
    let (begin, end) = (16, 17);
    let (new_table, new_chain, new_rule) = (0, 3, 6);
    /// `NF_INET_LOCAL_OUT`, and the priority of destination translation.
    const OUTPUT: u32 = 3;
    const DSTNAT: i32 = -100;
    let hook = Attributes::new().number(1, OUTPUT).number(2, DSTNAT as u32);
    let chain = Attributes::new().name(1, TABLE).name(3, CHAIN).nest(4, hook).name(7, "nat");
    let mut batch = vec![
        Message::mark(begin, &subsystem),
        netfilter(new_table, NLM_F_CREATE, Attributes::new().name(1, TABLE)),
        netfilter(new_chain, NLM_F_CREATE, chain),
    ];
    for expressions in rules {
        let list = expressions.into_iter().fold(Attributes::new(), |list, one| list.nest(1, one));
        let rule = Attributes::new().name(1, TABLE).name(2, CHAIN).nest(4, list);
        batch.push(netfilter(new_rule, NLM_F_CREATE | NLM_F_APPEND, rule));
    }
    batch.push(Message::mark(end, &subsystem));
    Link::open(NETFILTER)?.request(&batch)
}

type Expressions = Vec<Attributes>;

fn expression(name: &str, data: Attributes) -> Attributes {
    Attributes::new().name(1, name).nest(2, data)
}

fn equals(value: &[u8]) -> Attributes {
    const EQUAL: u32 = 0;
    let data = Attributes::new().put(1, value);
    expression("cmp", Attributes::new().number(1, REGISTER).number(2, EQUAL).nest(3, data))
}

/// The transport protocol, IPv6 extension headers skipped.
fn protocol(number: u8) -> Expressions {
    /// `NFT_META_L4PROTO`.
    const L4PROTO: u32 = 16;
    vec![expression("meta", Attributes::new().number(2, L4PROTO).number(1, REGISTER)), equals(&[number])]
}

fn payload(base: u32, offset: u32, length: u32) -> Attributes {
    expression("payload", Attributes::new().number(1, REGISTER).number(2, base).number(3, offset).number(4, length))
}

const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;

fn to_port(port: u16) -> Expressions {
    vec![payload(TRANSPORT_HEADER, 2, 2), equals(&port.to_be_bytes())]
}

fn to_address(address: IpAddr) -> Expressions {
    let (offset, length) = if address.is_ipv4() { (16, 4) } else { (24, 16) };
    vec![payload(NETWORK_HEADER, offset, length), equals(&octets(address))]
}

/// 127.0.0.0/8 or ::1.
fn to_loopback(family: IpAddr) -> Expressions {
    match family {
        IpAddr::V4(_) => vec![payload(NETWORK_HEADER, 16, 1), equals(&[127])],
        IpAddr::V6(_) => to_address(Ipv6Addr::LOCALHOST.into()),
    }
}

fn accept() -> Expressions {
    const ACCEPT: u32 = 1;
    let verdict = Attributes::new().nest(2, Attributes::new().number(1, ACCEPT));
    vec![expression("immediate", Attributes::new().number(1, 0).nest(2, verdict))]
}

fn redirect_to(port: u16) -> Expressions {
    let value = Attributes::new().put(1, &port.to_be_bytes());
    vec![
        expression("immediate", Attributes::new().number(1, REGISTER).nest(2, value)),
        expression("redir", Attributes::new().number(1, REGISTER)),
    ]
}

// --- the tap -------------------------------------------------------------------------------------------------------

/// A socket that sees what is sent: datagrams, pings, and the first packet of each connection.
fn tap() -> io::Result<OwnedFd> {
    /// `AF_PACKET`, and `ETH_P_ALL` in network order.
    const PACKET: i32 = 17;
    const ALL: u16 = 3;
    let socket = Socket::new(Domain::from(PACKET), Type::DGRAM, Some(Protocol::from(i32::from(ALL.to_be()))))?;
    let _ = socket.set_recv_buffer_size(4 * 1024 * 1024);
    socket.attach_filter(&tap_filter())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Outgoing packets only (loopback shows each twice): UDP, ICMP, SCTP, and TCP segments that have SYN without ACK.
fn tap_filter() -> Vec<SockFilter> {
    const LOAD: u16 = 0x30; // one byte at k
    const LOAD_AT_X: u16 = 0x50; // one byte at X + k
    const HEADER_LENGTH: u16 = 0xb1; // X = 4 * (byte at k & 15)
    const AND: u16 = 0x54;
    const EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const PACKET_TYPE: u32 = 0xffff_f004;
    const OUTGOING: u32 = 4;
    const KEPT_BYTES: u32 = 96;
    let at = |code, k| SockFilter::new(code, 0, 0, k);
    let when = |k, yes, no| SockFilter::new(EQUAL, yes, no, k);
    vec![
        at(LOAD, PACKET_TYPE),
        when(OUTGOING, 0, 20), // else drop
        at(LOAD, 0),
        at(AND, 0xf0),
        when(0x40, 0, 8), // else IPv6
        at(LOAD, 9),
        when(17, 16, 0), // keep
        when(1, 15, 0),
        when(132, 14, 0),
        when(6, 0, 12), // else drop
        at(HEADER_LENGTH, 0),
        at(LOAD_AT_X, 13),
        SockFilter::new(0x05, 0, 0, 7), // both families judge the flags
        when(0x60, 0, 8),               // else drop
        at(LOAD, 6),
        when(17, 7, 0), // keep
        when(58, 6, 0),
        when(132, 5, 0),
        when(6, 0, 3), // else drop
        at(LOAD, 40 + 13),
        at(AND, 0x12),
        when(0x02, 1, 0),
        at(RETURN, 0),
        at(RETURN, KEPT_BYTES),
    ]
}

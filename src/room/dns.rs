//! The resolver of a room: every name has an address, invented and remembered, so that a connection to the address can be
//! named again; every question is noted.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use simple_dns::rdata::{A, AAAA, PTR, RData};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, RCODE, ResourceRecord, TYPE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::account::Keeper;

/// Benchmarking networks (RFC 2544 and RFC 5180): nobody's, and no client takes them for private.
const FIRST_V4: u32 = u32::from_be_bytes([198, 18, 0, 1]);
const FIRST_V6: u128 = 0x2001_0002_0000_0000_0000_0000_0000_0000;
/// What fits into 198.18.0.0/15.
const MOST_NAMES: usize = 131_000;
const SECONDS_TO_LIVE: u32 = 60;

/// Names, and the addresses that stand for them.
#[derive(Default)]
pub struct Names {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    numbers: HashMap<String, u32>,
    list: Vec<String>,
}

impl Names {
    fn number(&self, name: &str) -> Option<u32> {
        let mut known = self.lock();
        if let Some(number) = known.numbers.get(name) {
            return Some(*number);
        }
        if known.list.len() >= MOST_NAMES {
            return None;
        }
        let number = known.list.len() as u32;
        known.list.push(name.to_owned());
        known.numbers.insert(name.to_owned(), number);
        Some(number)
    }

    /// The name that `address` was invented for.
    pub fn name_of(&self, address: IpAddr) -> Option<String> {
        let number = match address {
            IpAddr::V4(address) => u32::from(address).checked_sub(FIRST_V4)?,
            IpAddr::V6(address) => match address.to_ipv4_mapped() {
                Some(address) => u32::from(address).checked_sub(FIRST_V4)?,
                None => u32::try_from(u128::from(address).checked_sub(FIRST_V6)?.checked_sub(1)?).ok()?,
            },
        };
        self.lock().list.get(number as usize).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn v4(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(FIRST_V4 + number)
}

fn v6(number: u32) -> Ipv6Addr {
    Ipv6Addr::from(FIRST_V6 + 1 + u128::from(number))
}

/// Answers questions.
pub struct Resolver {
    pub names: Arc<Names>,
    pub keeper: Arc<Keeper>,
    /// Whether connections over IPv6 arrive anywhere.
    pub ipv6: bool,
}

impl Resolver {
    /// Answers datagrams until the room is gone.
    pub async fn serve(self: Arc<Self>, socket: OwnedFd) -> io::Result<()> {
        let socket = UdpSocket::from_std(socket.into())?;
        let mut question = [0u8; 4096];
        loop {
            let (n, asker) = match socket.recv_from(&mut question).await {
                Ok(received) => received,
                // Of an answer that nobody waited for.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                Err(error) => return Err(error),
            };
            if let Some(answer) = self.answer(&question[..n]) {
                let _ = socket.send_to(&answer, asker).await;
            }
        }
    }

    /// The same over a connection, where each message has its length before it (RFC 1035, 4.2.2).
    pub async fn serve_connection(self: Arc<Self>, mut stream: TcpStream) -> io::Result<()> {
        /// RFC 7766 asks for some seconds.
        const IDLE: Duration = Duration::from_secs(10);
        loop {
            let Ok(length) = tokio::time::timeout(IDLE, stream.read_u16()).await else { return Ok(()) };
            let mut question = vec![0; usize::from(length?)];
            if tokio::time::timeout(IDLE, stream.read_exact(&mut question)).await.is_err() {
                return Ok(());
            }
            let Some(answer) = self.answer(&question) else { return Ok(()) };
            stream.write_u16(answer.len() as u16).await?;
            stream.write_all(&answer).await?;
        }
    }

    /// None for what is no question.
    fn answer(&self, question: &[u8]) -> Option<Vec<u8>> {
        let asked = Packet::parse(question).ok()?;
        if asked.has_flags(PacketFlag::RESPONSE) {
            return None;
        }
        let mut reply = Packet::new_reply(asked.id());
        reply.set_flags(PacketFlag::RECURSION_AVAILABLE);
        if asked.has_flags(PacketFlag::RECURSION_DESIRED) {
            reply.set_flags(PacketFlag::RECURSION_DESIRED);
        }
        for one in &asked.questions {
            let name = one.qname.to_string().to_ascii_lowercase();
            self.keeper.name(&name, kind(one.qtype));
            reply.questions.push(one.clone());
            if !matches!(one.qclass, QCLASS::CLASS(CLASS::IN) | QCLASS::ANY) {
                continue;
            }
            match self.record(&name, one.qtype) {
                Ok(Some(data)) => {
                    reply.answers.push(ResourceRecord::new(one.qname.clone(), CLASS::IN, SECONDS_TO_LIVE, data));
                }
                Ok(None) => {}
                Err(code) => *reply.rcode_mut() = code,
            }
        }
        reply.build_bytes_vec().ok()
    }

    fn record(&self, name: &str, kind: QTYPE) -> Result<Option<RData<'static>>, RCODE> {
        let number = || self.names.number(name).ok_or(RCODE::ServerFailure);
        Ok(match kind {
            QTYPE::TYPE(TYPE::PTR) => {
                let name = reversed(name).and_then(|address| self.names.name_of(address)).ok_or(RCODE::NameError)?;
                Some(RData::PTR(PTR(Name::new(&name).map_err(|_| RCODE::ServerFailure)?.into_owned())))
            }
            QTYPE::TYPE(TYPE::A) | QTYPE::ANY => Some(RData::A(A::from(v4(number()?)))),
            QTYPE::TYPE(TYPE::AAAA) if self.ipv6 => Some(RData::AAAA(AAAA::from(v6(number()?)))),
            // Nothing of that kind, which is no failure.
            _ => None,
        })
    }
}

fn kind(kind: QTYPE) -> String {
    match kind {
        QTYPE::TYPE(TYPE::Unknown(number)) => format!("TYPE{number}"),
        QTYPE::TYPE(kind) => format!("{kind:?}"),
        QTYPE::ANY => "ANY".to_owned(),
        other => format!("{other:?}"),
    }
}

/// The address that a name below `in-addr.arpa` or `ip6.arpa` asks about.
fn reversed(name: &str) -> Option<IpAddr> {
    if let Some(octets) = name.strip_suffix(".in-addr.arpa") {
        let octets: Vec<&str> = octets.split('.').rev().collect();
        return octets.join(".").parse::<Ipv4Addr>().ok().map(IpAddr::from);
    }
    let digits: String = name.strip_suffix(".ip6.arpa")?.split('.').rev().collect();
    (digits.len() == 32).then(|| u128::from_str_radix(&digits, 16).ok()).flatten().map(|n| Ipv6Addr::from(n).into())
}

#[cfg(test)]
mod tests {
    use simple_dns::Question;

    use super::*;

    fn resolver() -> Resolver {
        Resolver { names: Arc::default(), keeper: Arc::default(), ipv6: true }
    }

    fn ask(resolver: &Resolver, name: &str, kind: TYPE) -> (Vec<RData<'static>>, RCODE) {
        let mut packet = Packet::new_query(7);
        let name = Name::new(name).unwrap().into_owned();
        packet.questions.push(Question::new(name, QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN), false));
        let answer = resolver.answer(&packet.build_bytes_vec().unwrap()).unwrap();
        let answer = Packet::parse(&answer).unwrap();
        assert_eq!(answer.id(), 7);
        (answer.answers.iter().map(|record| record.rdata.clone().into_owned()).collect(), answer.rcode())
    }

    #[test]
    fn a_name_keeps_its_address_and_the_address_its_name() {
        let resolver = resolver();
        let (first, _) = ask(&resolver, "api.example.com", TYPE::A);
        let (other, _) = ask(&resolver, "other.example.com", TYPE::A);
        assert_ne!(first, other);
        assert_eq!(ask(&resolver, "API.example.com", TYPE::A).0, first);
        let [RData::A(address)] = &first[..] else { panic!("{first:?}") };
        let address = IpAddr::from(Ipv4Addr::from(address.address));
        assert_eq!(resolver.names.name_of(address).as_deref(), Some("api.example.com"));
        let (v6, _) = ask(&resolver, "other.example.com", TYPE::AAAA);
        let [RData::AAAA(address)] = &v6[..] else { panic!("{v6:?}") };
        let address = IpAddr::from(Ipv6Addr::from(address.address));
        assert_eq!(resolver.names.name_of(address).as_deref(), Some("other.example.com"));
        assert_eq!(resolver.names.name_of("192.0.2.1".parse().unwrap()), None);
        assert_eq!(resolver.keeper.account(|_| None).distinct_names(), 2);
    }

    #[test]
    fn other_kinds_get_an_empty_answer_and_unknown_addresses_no_name() {
        let resolver = resolver();
        assert_eq!(ask(&resolver, "api.example.com", TYPE::TXT), (Vec::new(), RCODE::NoError));
        assert_eq!(ask(&resolver, "1.2.0.192.in-addr.arpa", TYPE::PTR), (Vec::new(), RCODE::NameError));
        ask(&resolver, "api.example.com", TYPE::A);
        let (names, _) = ask(&resolver, "1.0.18.198.in-addr.arpa", TYPE::PTR);
        assert_eq!(names.len(), 1);
    }

    #[test]
    fn what_is_no_question_gets_no_answer() {
        assert_eq!(resolver().answer(b"\0\x01"), None);
        assert_eq!(resolver().answer(&[0xff; 300]), None);
    }
}

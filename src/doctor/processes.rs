//! Which process of a running command connects where: to the proxy, or around it.
//!
//! Who connects to the proxy is asked when the connection is there, so none is missed. What goes elsewhere is looked for in
//! `/proc` while the command runs: a connection shorter than a look may be missed. In a sealed room that arrives here as well,
//! and none is missed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What one process did.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Seen {
    /// The program, and whose child it is.
    pub name: String,
    pub is_child: bool,
    /// The program with its options and files; what else it was given is left out.
    pub command: String,
    /// Its parent, by number and name.
    pub parent: Option<(u32, String)>,
    /// Connections to the proxy, by the host that was asked for.
    pub proxied: BTreeMap<String, usize>,
    /// Where else, loopback aside.
    pub around: BTreeSet<SocketAddr>,
    /// Connections around the proxy that a room met, by the host that they were meant for.
    pub met: BTreeMap<String, usize>,
}

/// Whose processes are watched.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Whose {
    #[default]
    Nobody,
    /// Those of this command.
    Command(u32),
    /// Those of the room that this process has built, whose command has not been seen yet, or has.
    Room(Option<u32>),
}

/// Collects over many looks.
#[derive(Debug, Default)]
pub struct Watch {
    pub seen: BTreeMap<u32, Seen>,
    pub whose: Whose,
}

impl Watch {
    /// Looks once at what the watched processes are connected to.
    #[cfg(target_os = "linux")]
    pub fn look(&mut self, proxy: SocketAddr) {
        let Whose::Command(root) = self.whose else { return };
        let sockets: HashMap<u64, SocketAddr> =
            table(root).into_iter().map(|socket| (socket.inode, socket.remote)).collect();
        for pid in tree(root) {
            for inode in inodes(pid) {
                let Some(&remote) = sockets.get(&inode) else { continue };
                if remote != proxy && !remote.ip().is_loopback() && !remote.ip().is_unspecified() {
                    self.seen_of(pid, root).around.insert(remote);
                }
            }
        }
    }

    /// Notes that the process behind `client` asked `proxy` for `host`.
    #[cfg(target_os = "linux")]
    pub fn proxied(&mut self, client: SocketAddr, proxy: SocketAddr, host: &str) {
        if let Some(seen) = self.owner(client, proxy) {
            *seen.proxied.entry(host.to_owned()).or_default() += 1;
        }
    }

    /// Notes that the process behind `client` went around the proxy to `host`, where a room met it.
    #[cfg(target_os = "linux")]
    pub fn met(&mut self, client: SocketAddr, host: &str) {
        if let Some(seen) = self.owner(client, client) {
            *seen.met.entry(host.to_owned()).or_default() += 1;
        }
    }

    /// The process that has the socket at `client`.
    #[cfg(target_os = "linux")]
    fn owner(&mut self, client: SocketAddr, proxy: SocketAddr) -> Option<&mut Seen> {
        /// The table skips rows while sockets come and go.
        const LOOKS: usize = 3;
        let listed = |pid| table(pid).into_iter().find(|socket| socket.local == client).map(|socket| socket.inode);
        let (root, pids, inode) = match self.whose {
            Whose::Nobody => return None,
            Whose::Command(root) => {
                let inode = crate::sockets::inode(client, proxy).map(u64::from).or_else(|| listed(root));
                (root, tree(root), inode)
            }
            Whose::Room(known) => {
                // Ourselves, and the two processes that hold the room up.
                let pids: Vec<u32> = tree(std::process::id()).into_iter().skip(3).collect();
                let root = known.or(pids.first().copied())?;
                self.whose = Whose::Room(Some(root));
                let inode = (0..LOOKS).find_map(|_| pids.iter().find_map(|pid| listed(*pid)));
                (root, pids, inode)
            }
        };
        let inode = inode?;
        let pid = pids.into_iter().find(|pid| inodes(*pid).contains(&inode))?;
        Some(self.seen_of(pid, root))
    }

    #[cfg(target_os = "linux")]
    fn seen_of(&mut self, pid: u32, root: u32) -> &mut Seen {
        let seen = self.seen.entry(pid).or_default();
        // A shell becomes the program that it runs.
        if let Some(name) = name_of(pid) {
            seen.name = name;
        }
        if let Some(command) = std::fs::read(format!("/proc/{pid}/cmdline")).ok().filter(|line| !line.is_empty()) {
            seen.command = shown(&String::from_utf8_lossy(&command));
        }
        seen.is_child = pid != root;
        if seen.is_child && seen.parent.is_none() {
            seen.parent = parent_of(pid).and_then(|parent| Some((parent, name_of(parent)?)));
        }
        seen
    }

    #[cfg(not(target_os = "linux"))]
    pub fn look(&mut self, _: SocketAddr) {}

    #[cfg(not(target_os = "linux"))]
    pub fn proxied(&mut self, _: SocketAddr, _: SocketAddr, _: &str) {}

    #[cfg(not(target_os = "linux"))]
    pub fn met(&mut self, _: SocketAddr, _: &str) {}
}

/// Arguments that are shown of a command.
const SHOWN: usize = 6;
/// Of one of them, characters.
const LONGEST: usize = 60;

/// A command line without what may be a secret or a prompt: the program, options without their values, and files.
fn shown(line: &str) -> String {
    let mut arguments = line.split('\0').filter(|argument| !argument.is_empty());
    let program = arguments.next().and_then(|program| program.rsplit('/').next()).unwrap_or_default();
    let one = |argument: &str| -> String {
        let option = argument.split_once('=').map_or(argument, |(name, _)| name);
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        let is_file = argument.contains('/') && !argument.contains("//") && argument.chars().all(plain);
        match argument {
            // What a browser's helper is.
            _ if argument.starts_with("--type=") && argument.chars().skip(7).all(plain) => argument.to_owned(),
            _ if option.starts_with('-') && option.chars().all(plain) => option.to_owned(),
            _ if is_file && argument.len() <= LONGEST => argument.to_owned(),
            _ => "…".to_owned(),
        }
    };
    let mut words = vec![program.chars().take(LONGEST).collect::<String>()];
    let mut left = 0;
    for argument in arguments.map(one) {
        // An option that is as long as a key may hold one.
        let argument = if argument.len() > LONGEST { "…".to_owned() } else { argument };
        match words.len() <= SHOWN {
            true if argument == "…" && words.last().is_some_and(|last| last == "…") => {}
            true => words.push(argument),
            false => left += 1,
        }
    }
    if left > 0 && words.last().is_some_and(|last| last != "…") {
        words.push("…".to_owned());
    }
    words.join(" ")
}

#[cfg(target_os = "linux")]
fn name_of(pid: u32) -> Option<String> {
    Some(std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim().to_owned())
}

/// From `/proc/PID/stat`: the name in brackets may hold anything.
#[cfg(target_os = "linux")]
fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok())
}

/// A process and its descendants.
#[cfg(target_os = "linux")]
fn tree(root: u32) -> Vec<u32> {
    let mut parents: Vec<(u32, u32)> = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        parents.extend(parent_of(pid).map(|parent| (pid, parent)));
    }
    let mut tree = vec![root];
    let mut at = 0;
    while let Some(&one) = tree.get(at) {
        tree.extend(parents.iter().filter(|(_, parent)| *parent == one).map(|(pid, _)| *pid));
        at += 1;
    }
    tree
}

/// A connection in a table of `/proc/net`.
#[derive(Debug, Eq, PartialEq)]
struct Socket {
    local: SocketAddr,
    remote: SocketAddr,
    inode: u64,
}

/// The connections of the network that a process is in.
#[cfg(target_os = "linux")]
fn table(pid: u32) -> Vec<Socket> {
    let read = |table| std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
    ["tcp", "tcp6"].into_iter().flat_map(|table| connections(&read(table))).collect()
}

/// The inodes of a process's sockets.
#[cfg(target_os = "linux")]
fn inodes(pid: u32) -> Vec<u64> {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let target = |entry: std::fs::DirEntry| std::fs::read_link(entry.path()).ok();
    files
        .filter_map(target)
        .filter_map(|target| target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok())
        .collect()
}

fn connections(table: &str) -> Vec<Socket> {
    let read = |line: &str| {
        let mut fields = line.split_whitespace();
        let (local, remote) = (address(fields.nth(1)?)?, address(fields.next()?)?);
        // `st`: 0A listens.
        if fields.next()? == "0A" {
            return None;
        }
        Some(Socket { local, remote, inode: fields.nth(5)?.parse().ok()? })
    };
    table.lines().skip(1).filter_map(read).collect()
}

/// `0100007F:1F90`: words of four bytes in the machine's order, then the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip: IpAddr = match address.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let mut bytes = [0; 16];
            for index in 0..4 {
                bytes[index * 4..index * 4 + 4].copy_from_slice(&word(index)?);
            }
            Ipv6Addr::from(bytes).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(all(test, target_os = "linux", target_endian = "little"))]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::{Watch, Whose, connections, shown};

    #[test]
    fn a_command_is_shown_without_what_it_was_told() {
        for (line, expected) in [
            ("/usr/bin/node\0/opt/app/cli.js\0-p\0say hi to Ann\0", "node /opt/app/cli.js -p …"),
            ("curl\0-s\0--oauth2-bearer=abc\0https://ann:pw@example.com/x\0", "curl -s --oauth2-bearer …"),
            ("/opt/Code/code\0--type=utility\0--key=x\0", "code --type=utility --key"),
            ("a\0b\0c\0-d\0-e\0-f\0-g\0-h\0-i\0", "a … -d -e -f -g -h …"),
        ] {
            assert_eq!(shown(line), expected);
        }
    }

    #[test]
    fn a_table_is_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0\n   1: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 12 1 0\n   2: 00000000000000000000000000000000:C351 0000000000000000FFFF00000100A8C0:01BB 02 00000000:00000000 00:00000000 00000000     0        0 13 1 0\n";
        let found: Vec<(u64, String, u16)> =
            connections(table).iter().map(|one| (one.inode, one.remote.to_string(), one.local.port())).collect();
        assert_eq!(found, [(12, "127.0.0.1:8080".to_owned(), 50000), (13, "192.168.0.1:443".to_owned(), 50001)]);
    }

    #[test]
    fn this_very_process_is_seen_with_its_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = listener.local_addr().unwrap();
        let stream = TcpStream::connect(proxy).unwrap();
        let me = std::process::id();
        let mut watch = Watch { whose: Whose::Command(me), ..Watch::default() };
        watch.look(proxy);
        assert!(watch.seen.is_empty(), "loopback is not around: {watch:?}");
        let local = stream.local_addr().unwrap();
        let listed = super::table(me).into_iter().find(|socket| socket.local == local).map(|socket| socket.inode);
        assert_eq!(crate::sockets::inode(local, proxy).map(u64::from), listed);
        watch.proxied(local, proxy, "api.example.com");
        let seen = &watch.seen[&me];
        assert_eq!((seen.proxied["api.example.com"], seen.is_child), (1, false));
    }
}

//! Rules for nftables that take connections of clients to the ports for redirected ones. Text in, text out: who loads them is
//! the one who runs the router.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::config::SettingsError;

/// How connections come to the port.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Mode {
    /// The destination is rewritten; the port is that of --transparent.
    Redirect,
    /// Nothing is rewritten; the port is that of --tproxy.
    Tproxy,
}

/// Which connections are taken, and where to.
#[derive(Clone, Debug)]
pub struct Plan {
    pub mode: Mode,
    /// Where divulge listens for them.
    pub port: SocketAddr,
    /// Devices that clients are on; none for any.
    pub interfaces: Vec<String>,
    /// Addresses of clients; none for any.
    pub sources: Vec<IpNet>,
    /// Addresses that they connect to; none for any.
    pub destinations: Vec<IpNet>,
    /// Of packets, and the table of routes for them: TPROXY only.
    pub mark: u32,
    pub routes: u32,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Family {
    V4,
    V6,
}

impl Family {
    /// As nftables says it.
    fn word(self) -> &'static str {
        match self {
            Family::V4 => "ip",
            Family::V6 => "ip6",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        }
    }
}

impl Plan {
    /// What cannot work is said before it is loaded.
    pub fn check(&self) -> Result<(), SettingsError> {
        if self.interfaces.is_empty() && self.sources.is_empty() {
            let why = "say whose connections are taken: by the device that clients are on, or by --allow-from CIDR";
            return Err(SettingsError::option("--interface", why));
        }
        let fine = |name: &String| {
            (1..16).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic() && !b"/\"\\".contains(&b))
        };
        if let Some(name) = self.interfaces.iter().find(|name| !fine(name)) {
            let why = format!("`{}` is no name of a network device", name.escape_debug());
            return Err(SettingsError::option("--interface", why));
        }
        if self.mode == Mode::Redirect && self.port.ip().is_loopback() {
            let why = format!(
                "{}: what is redirected does not arrive at loopback; listen on [::]:{}",
                self.port,
                self.port.port()
            );
            return Err(SettingsError::option("--transparent", why));
        }
        if self.families().next().is_none() {
            let why = "addresses and port are of different families: no connection would be taken";
            return Err(SettingsError::option("--allow-from", why));
        }
        Ok(())
    }

    /// What passes unaudited although it may look otherwise.
    pub fn left_out(&self) -> Option<String> {
        let missing = [Family::V4, Family::V6].into_iter().find(|family| self.matches(*family).is_none())?;
        Some(format!(
            "{0} is not taken: the port or the addresses leave it out. Clients that have {0} go around the audit",
            missing.name()
        ))
    }

    /// A file for `nft -f`. Loaded again it replaces what it made.
    pub fn rules(&self) -> String {
        let mut text =
            String::from("# Made by `divulge nftables`; load with `nft -f FILE`, which replaces an earlier one.\n");
        if let Some(left_out) = self.left_out() {
            let _ = writeln!(text, "# {left_out}.");
        }
        if self.mode == Mode::Tproxy {
            text.push_str("# Packets with the mark need routes: `divulge nftables --routes`.\n");
        }
        let (name, hook) = match self.mode {
            Mode::Redirect => ("redirected", "type nat hook prerouting priority dstnat"),
            Mode::Tproxy => ("taken", "type filter hook prerouting priority mangle"),
        };
        // Made if it is not there, so that it can be removed whatever there was.
        let _ = writeln!(text, "table inet divulge\ndelete table inet divulge\ntable inet divulge {{");
        let _ = writeln!(text, "  chain {name} {{\n    {hook}; policy accept;");
        for (family, matches) in self.families() {
            let _ = writeln!(text, "    {matches} tcp dport 443 {}", self.verdict(family));
        }
        // HTTP/3 would go around; clients fall back when it is refused at once.
        text.push_str("  }\n  chain no_quic {\n    type filter hook forward priority filter; policy accept;\n");
        for (_, matches) in self.families() {
            let _ = writeln!(text, "    {matches} udp dport 443 reject");
        }
        text.push_str("  }\n}\n");
        text
    }

    /// Commands for packets with the mark: TPROXY only.
    pub fn route_commands(&self) -> String {
        let (mark, table) = (self.mark, self.routes);
        let mut text = String::new();
        if self.mode == Mode::Redirect {
            return text;
        }
        for (family, _) in self.families() {
            let (ip, all) = match family {
                Family::V4 => ("ip", "0.0.0.0/0"),
                Family::V6 => ("ip -6", "::/0"),
            };
            let _ = writeln!(text, "{ip} rule add fwmark {mark} lookup {table}");
            let _ = writeln!(text, "{ip} route add local {all} dev lo table {table}");
        }
        text
    }

    fn families(&self) -> impl Iterator<Item = (Family, String)> {
        [Family::V4, Family::V6].into_iter().filter_map(|family| Some((family, self.matches(family)?)))
    }

    /// What picks connections of this family, unless there are none.
    fn matches(&self, family: Family) -> Option<String> {
        let served = match self.port.ip() {
            IpAddr::V4(_) => family == Family::V4,
            IpAddr::V6(ip) => family == Family::V6 || ip.is_unspecified(),
        };
        let mut words = Vec::new();
        if !self.interfaces.is_empty() {
            let names: Vec<String> = self.interfaces.iter().map(|name| format!("\"{name}\"")).collect();
            words.push(format!("iifname {{ {} }}", names.join(", ")));
        }
        words.push(format!("meta nfproto {}", family.name().to_ascii_lowercase()));
        words.extend(among(family, "saddr", &self.sources)?);
        words.extend(among(family, "daddr", &self.destinations)?);
        served.then(|| words.join(" "))
    }

    fn verdict(&self, family: Family) -> String {
        let (word, number) = (family.word(), self.port.port());
        let to = match self.port.ip() {
            ip if ip.is_unspecified() => format!(":{number}"),
            _ => self.port.to_string(),
        };
        match self.mode {
            Mode::Redirect if to.starts_with(':') => format!("redirect to {to}"),
            // A port of one address alone: redirect would choose the device's first.
            Mode::Redirect => format!("dnat {word} to {to}"),
            Mode::Tproxy => format!("tproxy {word} to {to} meta mark set {} accept", self.mark),
        }
    }
}

/// The match for those of `list` that are of `family`: `Some(None)` where every address is meant, `None` where none is.
fn among(family: Family, side: &str, list: &[IpNet]) -> Option<Option<String>> {
    if list.is_empty() {
        return Some(None);
    }
    // Sets of nftables do not take ranges that overlap.
    let ranges: Vec<String> = match family {
        Family::V4 => {
            Ipv4Net::aggregate(&list.iter().filter_map(of_four).collect()).iter().map(ToString::to_string).collect()
        }
        Family::V6 => {
            Ipv6Net::aggregate(&list.iter().filter_map(of_six).collect()).iter().map(ToString::to_string).collect()
        }
    };
    match &ranges[..] {
        [] => None,
        [one] if one.ends_with("/0") => Some(None),
        _ => Some(Some(format!("{} {side} {{ {} }}", family.word(), ranges.join(", ")))),
    }
}

fn of_four(net: &IpNet) -> Option<Ipv4Net> {
    match net {
        IpNet::V4(net) => Some(net.trunc()),
        IpNet::V6(_) => None,
    }
}

fn of_six(net: &IpNet) -> Option<Ipv6Net> {
    match net {
        IpNet::V6(net) => Some(net.trunc()),
        IpNet::V4(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(mode: Mode, port: &str, sources: &[&str]) -> Plan {
        Plan {
            mode,
            port: port.parse().unwrap(),
            interfaces: vec!["clients".into()],
            sources: sources.iter().map(|text| text.parse().unwrap()).collect(),
            destinations: Vec::new(),
            mark: 1,
            routes: 100,
        }
    }

    #[test]
    fn both_families_are_taken_and_only_from_those_who_may() {
        let plan = plan(Mode::Redirect, "[::]:9443", &["10.1.2.3/8", "10.0.0.0/16", "fd00::/8"]);
        plan.check().unwrap();
        assert_eq!(plan.left_out(), None);
        let rules = plan.rules();
        for line in [
            "iifname { \"clients\" } meta nfproto ipv4 ip saddr { 10.0.0.0/8 } tcp dport 443 redirect to :9443",
            "iifname { \"clients\" } meta nfproto ipv6 ip6 saddr { fd00::/8 } tcp dport 443 redirect to :9443",
            "iifname { \"clients\" } meta nfproto ipv4 ip saddr { 10.0.0.0/8 } udp dport 443 reject",
        ] {
            assert!(rules.lines().any(|found| found.trim() == line), "{line} is not among\n{rules}");
        }
        assert_eq!(plan.route_commands(), "");
    }

    #[test]
    fn tproxy_marks_and_has_routes_and_a_port_of_one_family_takes_that_alone() {
        let both = plan(Mode::Tproxy, "[::]:9444", &["0.0.0.0/0", "::/0"]);
        assert!(both.rules().contains("meta nfproto ipv6 tcp dport 443 tproxy ip6 to :9444 meta mark set 1 accept"));
        assert_eq!(both.route_commands().lines().count(), 4);
        let four = plan(Mode::Tproxy, "192.0.2.1:9444", &[]);
        assert!(four.rules().contains("tproxy ip to 192.0.2.1:9444 "));
        assert!(!four.rules().contains("ip6 to"));
        assert!(four.left_out().unwrap().contains("IPv6"), "{:?}", four.left_out());
    }

    #[test]
    fn what_cannot_work_is_said() {
        let nobody = Plan { interfaces: Vec::new(), ..plan(Mode::Redirect, "[::]:1", &[]) };
        let loopback = plan(Mode::Redirect, "127.0.0.1:1", &[]);
        let mixed = plan(Mode::Redirect, "0.0.0.0:1", &["fd00::/8"]);
        let quoted = Plan { interfaces: vec!["a\" accept".into()], ..plan(Mode::Redirect, "[::]:1", &[]) };
        for (plan, option) in
            [(nobody, "--interface"), (loopback, "--transparent"), (mixed, "--allow-from"), (quoted, "--interface")]
        {
            assert!(plan.check().unwrap_err().to_string().contains(option), "{plan:?}");
        }
    }
}

//! The settings of a gateway: who may use the proxy, which ways lead in, what a group gets. On the command line of `serve`,
//! and the tables `[gateway]` and `[group.NAME]` of the settings file.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Deserialize;

use super::{RecordBodies, SettingsError};

/// `[group.NAME]`, by name.
pub type Groups = BTreeMap<String, GroupOptions>;

/// The table `[gateway]`; every key is also an option of `serve`.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[command(next_help_heading = "Options of a gateway, also keys of the table [gateway] of the settings file")]
pub struct GatewayOptions {
    /// Addresses that may use the proxy; repeatable. Everything else is closed without a word
    #[arg(long, value_name = "CIDR", env = "DIVULGE_ALLOW_FROM", value_delimiter = ',')]
    pub allow_from: Vec<String>,

    /// Users that may use the proxy, one a line as `divulge user add` writes them
    #[arg(long, value_name = "FILE", env = "DIVULGE_USERS")]
    pub users: Option<PathBuf>,

    /// Public keys (JWKS) of the identity provider whose signed tokens are taken
    #[arg(long, value_name = "FILE", env = "DIVULGE_JWKS")]
    pub jwks: Option<PathBuf>,

    /// The issuer that a token must name (claim iss)
    #[arg(long, value_name = "URL", env = "DIVULGE_JWT_ISSUER", requires = "jwks")]
    pub jwt_issuer: Option<String>,

    /// The audience that a token must name (claim aud)
    #[arg(long, value_name = "TEXT", env = "DIVULGE_JWT_AUDIENCE", requires = "jwks")]
    pub jwt_audience: Option<String>,

    /// The claim that holds the user's groups [default: groups]
    #[arg(long, value_name = "CLAIM", env = "DIVULGE_JWT_GROUPS", requires = "jwks")]
    pub jwt_groups: Option<String>,

    /// The claim that holds the user's name [default: sub]
    #[arg(long, value_name = "CLAIM", env = "DIVULGE_JWT_NAME", requires = "jwks")]
    pub jwt_name: Option<String>,

    /// The proxy's own certificate chain (PEM): clients may then speak TLS to the proxy itself
    #[arg(long, value_name = "FILE", env = "DIVULGE_TLS_CERT", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// The private key of --tls-cert (PEM)
    #[arg(long, value_name = "FILE", env = "DIVULGE_TLS_KEY", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// Client certificates that these CAs (PEM) issued name the user (CN) and the groups (OU)
    #[arg(long, value_name = "FILE", env = "DIVULGE_CLIENT_CA", requires = "tls_cert")]
    pub client_ca: Option<PathBuf>,

    /// How a user stands in findings: digest (keyed, of the name), name, or none [default: digest]
    #[arg(long, value_name = "digest|name|none", env = "DIVULGE_IDENTITY")]
    pub identity: Option<IdentityShown>,

    /// Balancers whose connections begin with the PROXY protocol (version 2); repeatable
    #[arg(long, value_name = "CIDR", env = "DIVULGE_PROXY_PROTOCOL_FROM", value_delimiter = ',')]
    pub proxy_protocol_from: Vec<String>,

    /// A second port, for connections that the system redirects here (nftables redirect); Linux
    #[arg(long, value_name = "ADDR:PORT", env = "DIVULGE_TRANSPARENT")]
    pub transparent: Option<String>,

    /// The same for TPROXY rules, which keep the address that was meant; Linux, needs CAP_NET_ADMIN
    #[arg(long, value_name = "ADDR:PORT", env = "DIVULGE_TPROXY")]
    pub tproxy: Option<String>,

    /// Clients may name a provider by a path of the proxy: http://PROXY/anthropic/v1/messages. A changed base URL can change what a
    /// client sends
    #[arg(long, env = "DIVULGE_REVERSE", value_parser = clap::builder::BoolishValueParser::new())]
    pub reverse: bool,

    /// The name of the proxy in /proxy.pac [default: the host that the request for it names]
    #[arg(long, value_name = "HOST:PORT", env = "DIVULGE_PAC_PROXY")]
    pub pac_proxy: Option<String>,

    /// Port of health, metrics and API, never reachable through the proxy
    #[arg(long, value_name = "ADDR:PORT", env = "DIVULGE_ADMIN")]
    pub admin: Option<String>,

    /// Names by which the admin port may be asked for beside its address; repeatable
    #[arg(long, value_name = "HOST", env = "DIVULGE_ADMIN_HOST", value_delimiter = ',')]
    pub admin_host: Vec<String>,

    /// Where findings go as well: file:, syslog+udp:, syslog+tcp:, syslog+tls:, https:, otlp+https:, nats:, postgres:; repeatable
    #[arg(long, value_name = "URL", env = "DIVULGE_SINK", value_delimiter = ',')]
    pub sink: Vec<String>,

    /// Bucket whose policies and rules are mirrored into the folder `fleet` of the state folder: nats://HOST:PORT/BUCKET
    #[arg(long, value_name = "URL", env = "DIVULGE_FLEET")]
    pub fleet: Option<String>,

    /// Most bytes of findings kept on disk for sinks that cannot be reached [default: 268435456]
    #[arg(long, value_name = "BYTES", env = "DIVULGE_SPOOL_LIMIT")]
    pub spool_limit: Option<u64>,

    /// Seconds that streams may go on after a signal to stop [default: 10]
    #[arg(long, value_name = "SECONDS", env = "DIVULGE_DRAIN")]
    pub drain: Option<u64>,
}

/// The table `[group.NAME]`: what differs for users of this group.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct GroupOptions {
    pub policy: Option<String>,
    pub intercept: Vec<String>,
    /// What --record keeps of this group's bodies, instead of --record-bodies.
    pub record_bodies: Option<RecordBodies>,
    /// Requests of one user within a minute.
    pub requests_per_minute: Option<u32>,
}

/// How much of a user's name findings tell.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum IdentityShown {
    #[default]
    Digest,
    Name,
    None,
}

impl GatewayOptions {
    /// Fills what the command line and the environment left open from the settings file.
    pub(super) fn fill(&mut self, file: GatewayOptions) {
        macro_rules! fill {
            (option: $($field:ident)*; list: $($list:ident)*; switch: $($switch:ident)*) => {
                $(if self.$field.is_none() { self.$field = file.$field; })*
                $(if self.$list.is_empty() { self.$list = file.$list; })*
                $(self.$switch |= file.$switch;)*
            };
        }
        fill!(
            option: users jwks jwt_issuer jwt_audience jwt_groups jwt_name tls_cert tls_key client_ca identity transparent tproxy
                pac_proxy admin fleet spool_limit drain;
            list: allow_from proxy_protocol_from admin_host sink;
            switch: reverse
        );
    }

    /// Whether clients have to say who they are.
    pub fn authenticates(&self) -> bool {
        self.users.is_some() || self.jwks.is_some() || self.client_ca.is_some()
    }

    /// A proxy that anybody may use is one that anybody will use.
    pub fn check_open(&self, listen: SocketAddr) -> Result<(), SettingsError> {
        if listen.ip().is_loopback() || self.authenticates() || !self.allow_from.is_empty() {
            return Ok(());
        }
        Err(SettingsError::option(
            "--listen",
            format_args!(
                "{listen} is reachable from other machines, and anybody could use the proxy: say who may, by --allow-from CIDR, \
                 --users FILE, --jwks FILE or --client-ca FILE, or listen on 127.0.0.1"
            ),
        ))
    }

    /// At least a few segments.
    pub fn spool_limit(&self) -> u64 {
        self.spool_limit.unwrap_or(256 << 20).max(64 * 1024)
    }

    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.drain.unwrap_or(10).min(86_400))
    }
}

/// Ranges of addresses, of which a single address is the smallest.
pub fn ranges(option: &'static str, list: &[String]) -> Result<Vec<ipnet::IpNet>, SettingsError> {
    list.iter()
        .map(|text| {
            text.parse::<ipnet::IpNet>()
                .or_else(|_| text.parse::<IpAddr>().map(ipnet::IpNet::from))
                .map_err(|_| SettingsError::option(option, format_args!("`{text}` is not a CIDR such as 10.0.0.0/8")))
        })
        .collect()
}

/// `ADDR:PORT` of an option.
pub fn address(option: &'static str, text: &str) -> Result<SocketAddr, SettingsError> {
    let text = text.strip_prefix("localhost:").map_or(text.to_owned(), |port| format!("127.0.0.1:{port}"));
    text.parse()
        .map_err(|_| SettingsError::option(option, format_args!("`{text}` is not ADDR:PORT, such as 127.0.0.1:9090")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_loopback_somebody_must_be_named() {
        let everywhere: SocketAddr = "0.0.0.0:8080".parse().unwrap();
        let open = GatewayOptions::default();
        assert!(open.check_open("127.0.0.1:8080".parse().unwrap()).is_ok());
        assert!(open.check_open("[::1]:8080".parse().unwrap()).is_ok());
        assert!(open.check_open(everywhere).unwrap_err().to_string().contains("--allow-from"));
        let ranged = GatewayOptions { allow_from: vec!["10.0.0.0/8".into()], ..GatewayOptions::default() };
        assert!(ranged.check_open(everywhere).is_ok());
        let known = GatewayOptions { users: Some("users".into()), ..GatewayOptions::default() };
        assert!(known.check_open(everywhere).is_ok());
    }
}

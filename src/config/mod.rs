//! Settings: command line, then environment, then the settings file, then the defaults. Read once, checked,
//! handed down; never global.

mod gateway;
mod route;
mod untrusted;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Deserialize;

use crate::engine::{OnError, Severity};

pub use gateway::{GatewayOptions, GroupOptions, Groups, IdentityShown, address, ranges};
pub use route::{ConnectTo, DialPolicy, ProxyScheme, UpstreamProxy, numeric_address, split_authority};
pub use untrusted::AllowUntrusted;

/// What is wrong with the settings, and what was expected: exit status 2.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("{file}: {message}")]
    File { file: String, message: String },
    #[error("{option}: {message}")]
    Option { option: &'static str, message: String },
}

impl SettingsError {
    pub fn option(option: &'static str, message: impl fmt::Display) -> Self {
        Self::Option { option, message: message.to_string() }
    }

    pub fn file(file: &Path, message: impl fmt::Display) -> Self {
        Self::File { file: file.display().to_string(), message: message.to_string() }
    }
}

/// The options that `run`, `serve`, `probe` (and `inspect`, `replay`) share. Every one is also a key of the
/// settings file and a variable `DIVULGE_…`.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[command(next_help_heading = "Options that are also keys of the settings file")]
pub struct Options {
    /// Where to listen [default: 127.0.0.1:8080 for serve, a free loopback port for run]
    #[arg(long, value_name = "ADDR:PORT", env = "DIVULGE_LISTEN")]
    pub listen: Option<String>,

    /// Folder for the CA, sessions and aliases [default: $XDG_DATA_HOME/divulge]
    #[arg(long, value_name = "DIR", env = "DIVULGE_STATE")]
    pub state: Option<PathBuf>,

    /// Name constraints of the persistent CA, fixed when it is made: packs, any, or a DNS suffix
    #[arg(long, value_name = "packs|any|SUFFIX", env = "DIVULGE_CA_SCOPE")]
    pub ca_scope: Option<String>,

    /// A CA certificate of one's own (PEM) instead of the state folder's
    #[arg(long, value_name = "FILE", env = "DIVULGE_CA_CERT", requires = "ca_key")]
    pub ca_cert: Option<PathBuf>,

    /// The private key of --ca-cert (PEM)
    #[arg(long, value_name = "FILE", env = "DIVULGE_CA_KEY", requires = "ca_cert")]
    pub ca_key: Option<PathBuf>,

    /// audit (log only), balanced, strict, or a TOML file [default: audit]
    #[arg(long, value_name = "NAME|FILE", env = "DIVULGE_POLICY")]
    pub policy: Option<String>,

    /// More rule packs beside the built-in ones; repeatable
    #[arg(long, value_name = "DIR", env = "DIVULGE_RULES", value_delimiter = ':')]
    pub rules: Vec<PathBuf>,

    /// Host facts instead of this machine's own: a JSON list of {"kind","value"}
    #[arg(long, value_name = "FILE", env = "DIVULGE_FACTS")]
    pub facts: Option<PathBuf>,

    /// Pinned pseudonyms, used both ways: a JSON list of {"real","pseudo"}
    #[arg(long, value_name = "FILE", env = "DIVULGE_ALIASES")]
    pub aliases: Option<PathBuf>,

    /// Hosts to decrypt: ai, all, or a glob; repeatable [default: all for run, ai for serve]
    #[arg(long, value_name = "ai|all|GLOB", env = "DIVULGE_INTERCEPT", value_delimiter = ',')]
    pub intercept: Vec<String>,

    /// Dial ADDR:PORT for HOST:PORT, as in curl (empty HOST or PORT: any); repeatable
    #[arg(long, value_name = "HOST:PORT:ADDR:PORT", env = "DIVULGE_CONNECT_TO", value_delimiter = ',')]
    pub connect_to: Vec<String>,

    /// Certificates trusted for upstreams beside the platform's roots (PEM)
    #[arg(long, value_name = "FILE", env = "DIVULGE_UPSTREAM_CA")]
    pub upstream_ca: Option<PathBuf>,

    /// Revocation lists for upstreams (PEM or DER); repeatable
    #[arg(long, value_name = "FILE", env = "DIVULGE_CRL", value_delimiter = ':')]
    pub crl: Vec<PathBuf>,

    /// Use this host until that day although its certificate is refused, and report it; repeatable
    #[arg(long, value_name = "HOST=YYYY-MM-DD", env = "DIVULGE_ALLOW_UNTRUSTED", value_delimiter = ',')]
    pub allow_untrusted: Vec<String>,

    /// Addresses that may be dialled although they are denied otherwise; repeatable
    #[arg(long, value_name = "CIDR", env = "DIVULGE_DIAL_ALLOW", value_delimiter = ',')]
    pub dial_allow: Vec<String>,

    /// Addresses that may not be dialled; repeatable
    #[arg(long, value_name = "CIDR", env = "DIVULGE_DIAL_DENY", value_delimiter = ',')]
    pub dial_deny: Vec<String>,

    /// Parent proxy: http://, https:// or socks5://, with credentials where needed
    #[arg(long, value_name = "URL", env = "DIVULGE_UPSTREAM_PROXY")]
    pub upstream_proxy: Option<String>,

    /// Nothing leaves: a built-in upstream answers as the provider would
    #[arg(long, env = "DIVULGE_OFFLINE", value_parser = clap::builder::BoolishValueParser::new())]
    pub offline: bool,

    /// Key `sealed` of the settings file; on the command line only `run` has it.
    #[arg(skip)]
    pub sealed: bool,

    /// What is audited lives in a sealed room: set by the commands that build one.
    #[arg(skip)]
    #[serde(skip)]
    pub in_room: bool,

    /// Table `gateway` of the settings file; on the command line only `serve` has its options.
    #[arg(skip)]
    pub gateway: GatewayOptions,

    /// Tables `group.NAME` of the settings file.
    #[arg(skip)]
    pub group: Groups,

    /// Findings as JSON Lines, written as they are found; - is standard output
    #[arg(long, value_name = "FILE|-", env = "DIVULGE_FINDINGS")]
    pub findings: Option<PathBuf>,

    /// Keep the session in this file
    #[arg(long, value_name = "FILE", env = "DIVULGE_RECORD")]
    pub record: Option<PathBuf>,

    /// What --record keeps of bodies: masked, full, or none [default: masked]
    #[arg(long, value_name = "masked|full|none", env = "DIVULGE_RECORD_BODIES")]
    pub record_bodies: Option<RecordBodies>,

    /// Bytes from which on a session file is set aside and another begun [default: 1073741824]
    #[arg(long, value_name = "BYTES", env = "DIVULGE_RECORD_LIMIT", hide_short_help = true)]
    pub record_limit: Option<u64>,

    /// Days after which session files that were set aside are removed [default: 30]
    #[arg(long, value_name = "DAYS", env = "DIVULGE_RECORD_AGE", hide_short_help = true)]
    pub record_age: Option<u64>,

    /// Refuse requests while the session cannot be written, rather than let them pass unrecorded
    #[arg(long, env = "DIVULGE_RECORD_REQUIRED", value_parser = clap::builder::BoolishValueParser::new(), requires = "record", hide_short_help = true)]
    pub record_required: bool,

    /// Raw values in findings, for your own eyes
    #[arg(long, env = "DIVULGE_REVEAL", value_parser = clap::builder::BoolishValueParser::new())]
    pub reveal: bool,

    /// What a request gets that hits a limit or cannot be undone [default: open for policy audit, else closed]
    #[arg(long, value_name = "open|closed", env = "DIVULGE_ON_ERROR")]
    pub on_error: Option<OnErrorOption>,

    /// Most bytes of one body held in memory [default: 33554432]
    #[arg(long, value_name = "BYTES", env = "DIVULGE_BODY_LIMIT")]
    pub body_limit: Option<u64>,

    /// Most large bodies inspected at the same time [default: twice the processors]
    #[arg(long, value_name = "N", env = "DIVULGE_INSPECTIONS", hide_short_help = true)]
    pub inspections: Option<u64>,

    /// Exit status 1 for findings at or above this severity
    #[arg(long, value_name = "low|medium|high", env = "DIVULGE_FAIL_ON")]
    pub fail_on: Option<SeverityOption>,

    /// Only errors on standard error
    #[arg(long, short, env = "DIVULGE_QUIET", value_parser = clap::builder::BoolishValueParser::new())]
    pub quiet: bool,

    /// Colours: auto, always or never [default: auto]
    #[arg(long, value_name = "WHEN", env = "DIVULGE_COLOR")]
    pub color: Option<ColorOption>,

    /// Form of the log on standard error [default: text]
    #[arg(long, value_name = "text|json", env = "DIVULGE_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,

    /// Seconds a request head (and a ClientHello) may take [default: 20]
    #[arg(long, value_name = "SECONDS", env = "DIVULGE_HEAD_TIMEOUT", hide_short_help = true)]
    pub head_timeout: Option<f64>,

    /// Seconds for an upstream's connection and handshake together [default: 7]
    #[arg(long, value_name = "SECONDS", env = "DIVULGE_CONNECT_TIMEOUT", hide_short_help = true)]
    pub connect_timeout: Option<f64>,

    /// Seconds a request body may stand still [default: 25]
    #[arg(long, value_name = "SECONDS", env = "DIVULGE_BODY_TIMEOUT", hide_short_help = true)]
    pub body_timeout: Option<f64>,

    /// Seconds until the response head [default: 600]
    #[arg(long, value_name = "SECONDS", env = "DIVULGE_RESPONSE_TIMEOUT", hide_short_help = true)]
    pub response_timeout: Option<f64>,

    /// Seconds a stream, tunnel or kept connection may be idle [default: 900]
    #[arg(long, value_name = "SECONDS", env = "DIVULGE_IDLE_TIMEOUT", hide_short_help = true)]
    pub idle_timeout: Option<f64>,
}

#[derive(Clone, Copy, Debug, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum OnErrorOption {
    Open,
    Closed,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum RecordBodies {
    #[default]
    Masked,
    Full,
    None,
}

#[derive(Clone, Copy, Debug, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum SeverityOption {
    Low,
    Medium,
    High,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ColorOption {
    #[default]
    Auto,
    Always,
    Never,
}

impl ColorOption {
    /// Whether to colour what goes to a stream that is a terminal or not. `NO_COLOR` counts under `auto`.
    pub fn wanted(self, terminal: bool) -> bool {
        match self {
            ColorOption::Always => true,
            ColorOption::Never => false,
            ColorOption::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

impl Options {
    /// Fills what neither the command line nor the environment gave from the settings file.
    pub fn with_file(mut self, config: Option<&Path>) -> Result<Self, SettingsError> {
        let (path, required) = match config {
            Some(path) => (path.to_owned(), true),
            None => match default_config_file() {
                Some(path) => (path, false),
                None => return Ok(self),
            },
        };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !required => return Ok(self),
            Err(e) => return Err(SettingsError::file(&path, format_args!("cannot be read: {e}"))),
        };
        let file: Options = toml::from_str(&text).map_err(|e| {
            let start = e.span().map_or(0, |span| span.start.min(text.len()));
            let line = text[..start].matches('\n').count();
            // The key, never the rest of the line: it may hold a password.
            let key = text.lines().nth(line).and_then(|line| line.split_once('=')).map(|(key, _)| key.trim());
            let key = key.map(|key| format!("`{key}`: ")).unwrap_or_default();
            SettingsError::file(&path, format_args!("line {}: {key}{}", line + 1, e.message()))
        })?;
        macro_rules! fill {
            (option: $($field:ident)*; list: $($list:ident)*; switch: $($switch:ident)*) => {
                $(if self.$field.is_none() { self.$field = file.$field; })*
                $(if self.$list.is_empty() { self.$list = file.$list; })*
                $(self.$switch |= file.$switch;)*
            };
        }
        fill!(
            option: listen state ca_scope ca_cert ca_key policy facts aliases upstream_ca upstream_proxy findings record record_bodies record_limit record_age on_error body_limit inspections
                fail_on color log_format head_timeout connect_timeout body_timeout response_timeout idle_timeout;
            list: rules intercept connect_to crl allow_untrusted dial_allow dial_deny;
            switch: offline sealed reveal quiet record_required
        );
        self.gateway.fill(file.gateway);
        self.group = file.group;
        Ok(self)
    }

    pub fn state_dir(&self) -> Result<PathBuf, SettingsError> {
        state_dir(self.state.as_deref())
    }

    pub fn listen(&self, default: SocketAddr) -> Result<SocketAddr, SettingsError> {
        let Some(text) = &self.listen else { return Ok(default) };
        let text = text.strip_prefix(':').map_or(text.clone(), |port| format!("127.0.0.1:{port}"));
        let text = if let Some(rest) = text.strip_prefix("localhost:") { format!("127.0.0.1:{rest}") } else { text };
        text.parse().map_err(|_| {
            SettingsError::option("--listen", format_args!("`{text}` is not ADDR:PORT, such as 127.0.0.1:8080"))
        })
    }

    pub fn connect_to(&self) -> Result<Vec<ConnectTo>, SettingsError> {
        self.connect_to.iter().map(|text| text.parse()).collect()
    }

    pub fn allow_untrusted(&self) -> Result<Vec<AllowUntrusted>, SettingsError> {
        let now = time::OffsetDateTime::now_utc();
        self.allow_untrusted.iter().map(|text| AllowUntrusted::parse(text, now)).collect()
    }

    pub fn intercept(&self, default: Intercept) -> Result<Vec<Intercept>, SettingsError> {
        if self.intercept.is_empty() {
            return Ok(vec![default]);
        }
        Ok(self.intercept.iter().map(|text| Intercept::parse(text)).collect())
    }

    pub fn body_limit(&self) -> Result<BodyLimit, SettingsError> {
        match self.body_limit {
            None => Ok(BodyLimit::default()),
            Some(n @ 1..=4_294_967_295) => Ok(BodyLimit(n as usize)),
            Some(n) => {
                Err(SettingsError::option("--body-limit", format_args!("{n} is not between 1 and 4294967295 bytes")))
            }
        }
    }

    pub fn inspections(&self) -> Result<usize, SettingsError> {
        match self.inspections {
            None => Ok(2 * std::thread::available_parallelism().map_or(1, usize::from)),
            Some(n @ 1..=1024) => Ok(n as usize),
            Some(n) => Err(SettingsError::option("--inspections", format_args!("{n} is not between 1 and 1024"))),
        }
    }

    pub fn on_error(&self, policy_edits: bool) -> OnError {
        match self.on_error {
            Some(OnErrorOption::Open) => OnError::Open,
            Some(OnErrorOption::Closed) => OnError::Closed,
            None if policy_edits => OnError::Closed,
            None => OnError::Open,
        }
    }

    pub fn fail_on(&self) -> Option<Severity> {
        self.fail_on.map(|severity| match severity {
            SeverityOption::Low => Severity::Low,
            SeverityOption::Medium => Severity::Medium,
            SeverityOption::High => Severity::High,
        })
    }

    pub fn deadlines(&self) -> Result<Deadlines, SettingsError> {
        let read = |option: &'static str, given: Option<f64>, default: Duration| match given {
            None => Ok(default),
            Some(seconds) if seconds > 0.0 && seconds <= 86_400.0 * 7.0 => Ok(Duration::from_secs_f64(seconds)),
            Some(seconds) => Err(SettingsError::option(
                option,
                format_args!("{seconds} is not a number of seconds above 0, at most a week"),
            )),
        };
        let d = Deadlines::default();
        Ok(Deadlines {
            head: read("--head-timeout", self.head_timeout, d.head)?,
            connect: read("--connect-timeout", self.connect_timeout, d.connect)?,
            body: read("--body-timeout", self.body_timeout, d.body)?,
            response: read("--response-timeout", self.response_timeout, d.response)?,
            idle: read("--idle-timeout", self.idle_timeout, d.idle)?,
        })
    }
}

/// The state folder that was named, else `$XDG_DATA_HOME/divulge`.
pub fn state_dir(named: Option<&Path>) -> Result<PathBuf, SettingsError> {
    use etcetera::BaseStrategy;
    if let Some(dir) = named {
        return Ok(dir.to_owned());
    }
    etcetera::choose_base_strategy().map(|dirs| dirs.data_dir().join("divulge")).map_err(|_| {
        SettingsError::option("--state", "there is no home folder (HOME is not set): name one with --state DIR")
    })
}

/// `$XDG_CONFIG_HOME/divulge/config.toml`.
pub fn default_config_file() -> Option<PathBuf> {
    use etcetera::BaseStrategy;
    Some(etcetera::choose_base_strategy().ok()?.config_dir().join("divulge").join("config.toml"))
}

/// Most bytes of one document held in memory; what `--on-error` says happens to a longer one, and it is reported.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BodyLimit(pub usize);

impl Default for BodyLimit {
    fn default() -> Self {
        Self(32 * 1024 * 1024)
    }
}

/// How long each phase may take.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// First byte, ClientHello, request head.
    pub head: Duration,
    /// Upstream connection and handshake together.
    pub connect: Duration,
    /// A request body that stands still.
    pub body: Duration,
    /// Until the response head: models think.
    pub response: Duration,
    /// A stream, tunnel or kept connection on which nothing moves.
    pub idle: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(20),
            connect: Duration::from_secs(7),
            body: Duration::from_secs(25),
            response: Duration::from_secs(600),
            idle: Duration::from_secs(900),
        }
    }
}

/// Which hosts are decrypted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Intercept {
    /// The hosts of the rule packs.
    Ai,
    All,
    /// `*.example.com`, `api.example.*`: `*` is any run of characters.
    Glob(String),
}

impl Intercept {
    pub fn parse(text: &str) -> Self {
        match text {
            "ai" => Intercept::Ai,
            "all" => Intercept::All,
            glob => Intercept::Glob(glob.to_ascii_lowercase()),
        }
    }
}

/// Whether `text` fits `glob`, in which `*` stands for any run of characters.
pub fn glob_fits(glob: &str, text: &str) -> bool {
    let mut parts = glob.split('*');
    let Some(first) = parts.next() else { return false };
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_fits_whole_names_only() {
        for (glob, text, fits) in [
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "example.com", false),
            ("api.*.com", "api.example.com", true),
            ("api", "api.example.com", false),
            ("*", "", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "acb", false),
            ("*aa", "aa", true),
            ("a*a", "a", false),
        ] {
            assert_eq!(glob_fits(glob, text), fits, "{glob} {text}");
        }
    }
}

//! A sink as the settings name it: a URL.

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use sha2::{Digest, Sha256};

use crate::config::SettingsError;
use crate::engine::line::hex;

/// Seconds between two reports of metrics, where the URL does not say.
const METRICS_INTERVAL: u64 = 60;

/// `syslog+udp://HOST:PORT` and the like.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SyslogAddress {
    pub transport: SyslogTransport,
    pub host: String,
    pub port: u16,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SyslogTransport {
    Udp,
    Tcp,
    Tls,
}

/// A URL that lines are posted to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HttpAddress {
    pub secure: bool,
    pub host: String,
    pub port: u16,
    pub path: String,
    /// Of a token that goes with every request.
    pub token_file: Option<PathBuf>,
    /// As OTLP logs rather than as lines.
    pub otlp: bool,
    /// How often OTLP metrics go beside the logs; zero for never.
    pub metrics_interval: Option<Duration>,
}

/// `nats://HOST:PORT[,HOST:PORT…]/SUBJECT`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NatsAddress {
    pub servers: Vec<String>,
    pub subject: String,
    /// A file of credentials as the server's tools write it.
    pub credentials: Option<PathBuf>,
    /// On how many nodes a stream or bucket is kept that is made here.
    pub replicas: usize,
}

#[derive(Clone, Eq, PartialEq)]
pub enum SinkAddress {
    File {
        path: PathBuf,
        most_bytes: u64,
        keep: usize,
    },
    Syslog(SyslogAddress),
    Http(HttpAddress),
    Nats(NatsAddress),
    /// The URL as its driver reads it; it may hold a password.
    Postgres(String),
    /// The folder of the files.
    Parquet(PathBuf),
}

impl SinkAddress {
    pub fn parse(text: &str) -> Result<Self, SettingsError> {
        let wrong = |why: &str| {
            SettingsError::option(
                "--sink",
                format_args!(
                    "{why}; expected file:/PATH, syslog+udp://HOST:PORT, syslog+tcp://…, syslog+tls://…, https://…, \
                     otlp+https://HOST:PORT, nats://HOST:PORT/SUBJECT, postgres://USER@HOST/DATABASE or parquet:/FOLDER"
                ),
            )
        };
        let (scheme, rest) = text.split_once(':').ok_or_else(|| wrong("a sink is a URL"))?;
        if matches!(scheme, "postgres" | "postgresql") {
            return Ok(SinkAddress::Postgres(text.to_owned()));
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut parameters = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            parameters.push(pair.split_once('=').ok_or_else(|| wrong("a parameter is NAME=VALUE"))?);
        }
        let mut take = |name: &str| {
            let at = parameters.iter().position(|(found, _)| *found == name)?;
            Some(parameters.swap_remove(at).1)
        };
        let address = match scheme {
            "file" => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                if path.is_empty() {
                    return Err(wrong("the path is missing"));
                }
                let number = |name: &str, given: Option<&str>, default: u64| match given {
                    None => Ok(default),
                    Some(text) => text.parse().map_err(|_| wrong(&format!("`{name}` is no number"))),
                };
                let most_bytes = number("max-bytes", take("max-bytes"), 100 << 20)?;
                let keep = number("keep", take("keep"), 10)?.min(1000) as usize;
                SinkAddress::File { path: path.into(), most_bytes, keep }
            }
            "parquet" => match rest.strip_prefix("//").unwrap_or(rest) {
                "" => return Err(wrong("the folder is missing")),
                folder => SinkAddress::Parquet(folder.into()),
            },
            "nats" => {
                let (servers, subject) = rest.trim_start_matches('/').split_once('/').unwrap_or((rest, ""));
                let servers = servers.trim_start_matches('/').split(',').filter(|server| !server.is_empty());
                let servers: Vec<String> = servers.map(|server| format!("nats://{server}")).collect();
                if servers.is_empty() {
                    return Err(wrong("the server is missing"));
                }
                let subject = if subject.is_empty() { "divulge.findings" } else { subject };
                let credentials = take("credentials").map(PathBuf::from);
                let replicas = match take("replicas").map(str::parse) {
                    None => 1,
                    Some(Ok(number @ 1..=5)) => number,
                    Some(_) => return Err(wrong("`replicas` is none of 1 to 5")),
                };
                SinkAddress::Nats(NatsAddress { servers, subject: subject.to_owned(), credentials, replicas })
            }
            _ => {
                let uri: Uri = format!("x:{rest}").parse().map_err(|_| wrong("the address is malformed"))?;
                let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
                let authority = authority.ok_or_else(|| {
                    wrong("the host is missing, or credentials stand before it (token-file=FILE names one)")
                })?;
                let host = authority.host().trim_matches(['[', ']']).to_owned();
                let port = |default: u16| authority.port_u16().unwrap_or(default);
                let syslog = |transport, default| {
                    SinkAddress::Syslog(SyslogAddress { transport, host: host.clone(), port: port(default) })
                };
                let path = uri.path();
                let interval = match take("metrics-interval") {
                    None => METRICS_INTERVAL,
                    Some(_) if !scheme.starts_with("otlp") => {
                        return Err(wrong("`metrics-interval` is for otlp alone"));
                    }
                    Some(text) => text.parse().map_err(|_| wrong("`metrics-interval` is no number of seconds"))?,
                };
                let mut posted = |secure: bool, otlp: bool| {
                    let default = match (otlp, secure) {
                        (true, _) => 4318,
                        (false, true) => 443,
                        (false, false) => 80,
                    };
                    let path = if otlp && path == "/" { "/v1/logs" } else { path };
                    SinkAddress::Http(HttpAddress {
                        secure,
                        host: host.clone(),
                        port: port(default),
                        path: path.to_owned(),
                        token_file: take("token-file").map(PathBuf::from),
                        otlp,
                        metrics_interval: otlp.then_some(Duration::from_secs(interval)),
                    })
                };
                match scheme {
                    "syslog+udp" => syslog(SyslogTransport::Udp, 514),
                    "syslog+tcp" => syslog(SyslogTransport::Tcp, 601),
                    "syslog+tls" => syslog(SyslogTransport::Tls, 6514),
                    "http" => posted(false, false),
                    "https" => posted(true, false),
                    "otlp+http" => posted(false, true),
                    "otlp+https" => posted(true, true),
                    _ => return Err(wrong("the kind of sink is not known")),
                }
            }
        };
        match parameters.first() {
            Some((name, _)) => Err(wrong(&format!("the parameter `{}` is not known", name.escape_debug()))),
            None => Ok(address),
        }
    }

    /// By which its place in the spool is kept: the same for the same settings.
    pub fn name(&self) -> String {
        let text = match self {
            SinkAddress::File { path, .. } => format!("file:{}", path.display()),
            SinkAddress::Syslog(to) => format!("{to:?}"),
            SinkAddress::Http(to) => format!("{}:{}{}{}", to.host, to.port, to.path, to.otlp),
            SinkAddress::Nats(to) => format!("{}/{}", to.servers.join(","), to.subject),
            SinkAddress::Postgres(url) => url.clone(),
            SinkAddress::Parquet(folder) => format!("parquet:{}", folder.display()),
        };
        hex(&Sha256::digest(text.as_bytes())[..8])
    }

    /// For people.
    pub fn shown(&self) -> String {
        match self {
            SinkAddress::File { path, .. } => format!("file:{}", path.display()),
            SinkAddress::Syslog(to) => format!("syslog to {}:{}", to.host, to.port),
            SinkAddress::Http(to) => {
                format!("{} to {}:{}{}", if to.otlp { "OTLP" } else { "HTTP" }, to.host, to.port, to.path)
            }
            SinkAddress::Postgres(_) => "PostgreSQL".to_owned(),
            SinkAddress::Parquet(folder) => format!("Parquet in {}", folder.display()),
            SinkAddress::Nats(to) => format!("NATS {} at {}", to.subject, to.servers.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sinks_are_urls() {
        let file = SinkAddress::parse("file:/var/log/x.jsonl?max-bytes=1000&keep=2").unwrap();
        assert!(file == SinkAddress::File { path: "/var/log/x.jsonl".into(), most_bytes: 1000, keep: 2 });
        let SinkAddress::Syslog(tls) = SinkAddress::parse("syslog+tls://[::1]").unwrap() else { panic!("no syslog") };
        assert_eq!((tls.host.as_str(), tls.port, tls.transport), ("::1", 6514, SyslogTransport::Tls));
        let SinkAddress::Http(otlp) = SinkAddress::parse("otlp+http://collector.example.com").unwrap() else {
            panic!("no HTTP")
        };
        assert_eq!((otlp.port, otlp.path.as_str(), otlp.otlp), (4318, "/v1/logs", true));
        assert_eq!(otlp.metrics_interval, Some(Duration::from_secs(60)));
        let SinkAddress::Nats(nats) = SinkAddress::parse("nats://a:4222,b:4222").unwrap() else { panic!("no NATS") };
        assert_eq!((nats.servers.len(), nats.subject.as_str()), (2, "divulge.findings"));
        assert!(SinkAddress::parse("parquet:/var/x").unwrap() == SinkAddress::Parquet("/var/x".into()));
        for wrong in [
            "x",
            "parquet:",
            "ftp://a",
            "https://user:secret@host/",
            "file:",
            "https://h/?x=1",
            "https://h/?metrics-interval=5",
            "otlp+http://h/?metrics-interval=x",
            "file:/a?keep=x",
            "nats://",
            "nats://a?replicas=0",
        ] {
            let error = SinkAddress::parse(wrong).err().unwrap_or_else(|| panic!("{wrong} was taken")).to_string();
            assert!(error.contains("--sink") && !error.contains("secret"), "{error}");
        }
    }
}

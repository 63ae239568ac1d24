//! What `run` gives its child so that the child meets the proxy and trusts its CA: variables and the files
//! they name.
//!
//! Variables that replace a trust store get a bundle of the platform's roots and ours, never ours alone: a
//! child that reaches a tunnelled or local server still has to verify it. Only certificates are written.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tempfile::TempDir;

use crate::ca;

/// Changes to the environment of a child.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ChildEnvironment {
    pub set: Vec<(OsString, OsString)>,
    pub remove: Vec<OsString>,
    /// For the user: what of the environment they had was overridden, a sentence each.
    pub notes: Vec<String>,
}

/// Read by one runtime or another as the file of trusted roots: each gets the bundle.
const BUNDLES: [&str; 18] = [
    "SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
    "AWS_CA_BUNDLE",
    "DENO_CERT",
    "CODEX_CA_CERTIFICATE",
    "HTTPLIB2_CA_CERTS",
    "PERL_LWP_SSL_CA_FILE",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "NPM_CONFIG_CAFILE",
    "YARN_HTTPS_CA_FILE_PATH",
    "NIX_SSL_CERT_FILE",
    "UV_SSL_CERT_FILE",
];

const PROXIES: [&str; 6] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"];

/// One tool's own proxy settings: they win over [`PROXIES`], so they go where somebody has set them.
const OWN_PROXIES: [&str; 17] = [
    "npm_config_proxy",
    "npm_config_https_proxy",
    "npm_config_noproxy",
    "NPM_CONFIG_PROXY",
    "NPM_CONFIG_HTTPS_PROXY",
    "NPM_CONFIG_NOPROXY",
    "YARN_HTTP_PROXY",
    "YARN_HTTPS_PROXY",
    "CARGO_HTTP_PROXY",
    "PIP_PROXY",
    "GLOBAL_AGENT_HTTP_PROXY",
    "GLOBAL_AGENT_HTTPS_PROXY",
    "GLOBAL_AGENT_NO_PROXY",
    "grpc_proxy",
    "no_grpc_proxy",
    "WS_PROXY",
    "WSS_PROXY",
];

/// What is never proxied: local servers of the child's own.
const LOOPBACK: &str = "localhost,127.0.0.1,::1";

/// The variables for a child whose traffic `proxy` audits. `parent` looks up a variable of the environment
/// the child would have inherited.
pub fn for_child(
    proxy: SocketAddr,
    bundle: &Path,
    java_store: Option<&Path>,
    parent: &impl Fn(&str) -> Option<OsString>,
) -> ChildEnvironment {
    let mut child = ChildEnvironment::default();
    let url = OsString::from(format!("http://{proxy}"));
    let filled = |name: &str| parent(name).filter(|value| !value.is_empty());

    let mut replaced = Vec::new();
    for name in PROXIES {
        if let Some(had) = filled(name).filter(|had| *had != url) {
            let had = without_credentials(&had.to_string_lossy());
            if !replaced.iter().any(|(_, value)| *value == had) {
                replaced.push((name, had));
            }
        }
        child.set(name, &url);
    }
    for (name, had) in replaced {
        child
            .notes
            .push(format!("{name} was {had} and now is the audit; --upstream-proxy {had} keeps that route behind it"));
    }

    let mut exempt: Vec<String> = Vec::new();
    for name in ["NO_PROXY", "no_proxy"] {
        let had = filled(name).unwrap_or_default();
        for entry in had.to_string_lossy().split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty()) {
            if !is_loopback(entry) && !exempt.iter().any(|seen| seen == entry) {
                exempt.push(entry.to_owned());
            }
        }
        child.set(name, LOOPBACK);
    }
    if !exempt.is_empty() {
        child.notes.push(format!("NO_PROXY had named more, which is audited now too: {}", exempt.join(", ")));
    }

    for name in OWN_PROXIES {
        if filled(name).is_some() {
            child.remove.push(name.into());
            child.notes.push(format!("{name} would lead around the audit and is not passed on"));
        }
    }

    for name in BUNDLES {
        child.set(name, bundle);
    }
    // npm reads both cases and takes the lower one first.
    if filled("npm_config_cafile").is_some() {
        child.set("npm_config_cafile", bundle);
    }
    child.set("DENO_TLS_CA_STORE", "system,mozilla");
    child.set("NODE_USE_ENV_PROXY", "1");
    if let Some(value) = filled("NODE_TLS_REJECT_UNAUTHORIZED").filter(|value| value == "0") {
        let value = value.to_string_lossy();
        child
            .notes
            .push(format!("NODE_TLS_REJECT_UNAUTHORIZED={value} is passed on: Node verifies nobody's certificate"));
    }
    child.java(proxy, java_store, filled("JAVA_TOOL_OPTIONS"));
    child
}

impl ChildEnvironment {
    fn set(&mut self, name: &str, value: impl AsRef<OsStr>) {
        self.set.push((name.into(), value.as_ref().to_owned()));
    }

    /// Java reads properties only. Ours go last, because the last of two wins; what was there stays.
    fn java(&mut self, proxy: SocketAddr, store: Option<&Path>, had: Option<OsString>) {
        let mut options = had.unwrap_or_default();
        let before = options.to_string_lossy().into_owned();
        let mut add = |name: &str, value: &OsStr| {
            if before.contains(&format!("-D{name}=")) {
                self.notes
                    .push(format!("JAVA_TOOL_OPTIONS had its own {name}, which the audit's follows and overrides"));
            }
            if !options.is_empty() {
                options.push(" ");
            }
            // Options are split at white space unless quoted.
            let quote = if value.to_string_lossy().contains(char::is_whitespace) { "\"" } else { "" };
            options.push(format!("{quote}-D{name}="));
            options.push(value);
            options.push(quote);
        };
        let (host, port) = (proxy.ip().to_string(), proxy.port().to_string());
        for scheme in ["http", "https"] {
            add(&format!("{scheme}.proxyHost"), OsStr::new(&host));
            add(&format!("{scheme}.proxyPort"), OsStr::new(&port));
        }
        add("http.nonProxyHosts", OsStr::new("localhost|127.*|[::1]"));
        if let Some(store) = store {
            add("javax.net.ssl.trustStore", store.as_os_str());
            add("javax.net.ssl.trustStoreType", OsStr::new("PKCS12"));
        }
        self.set("JAVA_TOOL_OPTIONS", options);
    }
}

/// `localhost`, `.localhost`, `127.0.0.1:8080`, `127.0.0.0/8`, `[::1]` …
fn is_loopback(entry: &str) -> bool {
    let entry = entry.to_ascii_lowercase();
    let bare = entry.trim_start_matches(['*', '.']);
    let host = match bare.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None if bare.matches(':').count() == 1 => bare.split(':').next().unwrap_or_default(),
        None => bare,
    };
    let (address, prefix) = match host.split_once('/') {
        Some((address, prefix)) => (address, prefix.parse::<u8>().ok()),
        None => (host, Some(128)),
    };
    match address.parse::<std::net::IpAddr>() {
        // A network counts only if all of it is loopback.
        Ok(std::net::IpAddr::V4(v4)) => v4.is_loopback() && prefix.is_some_and(|bits| bits >= 8),
        Ok(std::net::IpAddr::V6(v6)) => v6.is_loopback() && prefix == Some(128),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

/// `http://user:secret@proxy.example.com:3128` without what stands before the `@`.
pub(crate) fn without_credentials(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    // A password may hold an unescaped slash: nothing before the last `@` is shown.
    let host = match rest.rfind('@') {
        Some(at) => &rest[at + 1..],
        None => &rest[..authority_end],
    };
    let host: String = host.chars().filter(|c| !c.is_control()).collect();
    if scheme.is_empty() { host } else { format!("{scheme}://{host}") }
}

/// The files that a child's variables name, in a folder only its owner may enter. Gone with the value.
pub struct TrustFiles {
    dir: TempDir,
    /// The platform's roots, what the parent's variables named, and the CA: PEM.
    pub bundle: PathBuf,
    /// The CA alone: PEM.
    pub ca: PathBuf,
    /// The bundle for Java: PKCS #12, no password.
    pub java: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    #[error("cannot write the trusted certificates to {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot make a temporary folder in {} (TMPDIR chooses another)", path.display())]
    Folder { path: PathBuf, source: io::Error },
}

impl TrustFiles {
    /// `ca_pem` is trusted beside the platform's roots and whatever the parent's variables already named.
    pub fn write(ca_pem: &str, parent: &impl Fn(&str) -> Option<OsString>) -> Result<TrustFiles, EnvironmentError> {
        let roots = roots(ca_pem, parent);
        let mut builder = tempfile::Builder::new();
        builder.prefix("divulge-");
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
        let dir =
            builder.tempdir().map_err(|source| EnvironmentError::Folder { path: std::env::temp_dir(), source })?;
        let write = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            fs::File::create_new(&path)
                .and_then(|mut file| file.write_all(bytes))
                .map(|()| path.clone())
                .map_err(|source| EnvironmentError::Write { path, source })
        };
        let bundle: String = roots.iter().map(ca::encode_pem).collect();
        Ok(TrustFiles {
            bundle: write("bundle.pem", bundle.as_bytes())?,
            ca: write("ca.pem", ca_pem.as_bytes())?,
            java: write("trust.p12", &ca::pkcs12(&roots))?,
            dir,
        })
    }

    pub fn folder(&self) -> &Path {
        self.dir.path()
    }
}

/// The same files for programs that are started by themselves: in the state folder, made again each time they are asked for.
pub struct KeptTrust {
    pub bundle: PathBuf,
    pub java: PathBuf,
}

impl KeptTrust {
    /// Where they are.
    pub fn folder(state: &Path) -> PathBuf {
        state.join("trust")
    }

    /// Trusts `ca_pem` beside the platform's roots and what the environment names, older files of these aside: a CA that was
    /// replaced is not trusted on.
    pub fn write(
        state: &Path,
        ca_pem: &str,
        parent: &impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, EnvironmentError> {
        let folder = Self::folder(state);
        let others = |name: &str| parent(name).filter(|value| !Path::new(value).starts_with(&folder));
        let roots = roots(ca_pem, &others);
        let bundle: String = roots.iter().map(ca::encode_pem).collect();
        fs::create_dir_all(&folder).map_err(|source| EnvironmentError::Write { path: folder.clone(), source })?;
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.join(name);
            // Whole or not at all: a program may be reading.
            tempfile::NamedTempFile::new_in(&folder)
                .and_then(|mut file| {
                    file.write_all(bytes)?;
                    #[cfg(unix)]
                    file.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
                    file.persist(&path).map_err(|error| error.error)
                })
                .map(|_| path.clone())
                .map_err(|source| EnvironmentError::Write { path, source })
        };
        Ok(Self { bundle: write("bundle.pem", bundle.as_bytes())?, java: write("trust.p12", &ca::pkcs12(&roots))? })
    }
}

/// Where distributions keep their roots, for when `SSL_CERT_FILE` hides them from the platform's loader.
const PLATFORM_BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Ours first, then all others, none twice.
fn roots(ca_pem: &str, parent: &impl Fn(&str) -> Option<OsString>) -> Vec<CertificateDer<'static>> {
    let mut seen = HashSet::new();
    let mut roots = Vec::new();
    let mut add = |certificate: CertificateDer<'static>| {
        if seen.insert(certificate.to_vec()) {
            roots.push(certificate);
        }
    };
    CertificateDer::pem_slice_iter(ca_pem.as_bytes()).flatten().for_each(&mut add);
    for name in BUNDLES {
        let Some(path) = parent(name).map(PathBuf::from) else { continue };
        certificates_in(&path).into_iter().for_each(&mut add);
    }
    rustls_native_certs::load_native_certs().certs.into_iter().for_each(&mut add);
    if parent("SSL_CERT_FILE").is_some() || parent("SSL_CERT_DIR").is_some() {
        let platform = PLATFORM_BUNDLES.iter().map(Path::new).find(|path| path.is_file());
        platform.map(certificates_in).unwrap_or_default().into_iter().for_each(&mut add);
    }
    roots
}

/// The certificates of a PEM file, or of the files of a folder (which `REQUESTS_CA_BUNDLE` may be). A file
/// that cannot be read gave its reader nothing either.
fn certificates_in(path: &Path) -> Vec<CertificateDer<'static>> {
    /// Far more than all public roots.
    const LIMIT: u64 = 16 * 1024 * 1024;

    let files: Vec<PathBuf> = match fs::metadata(path) {
        Ok(found) if found.is_file() => vec![path.to_owned()],
        Ok(found) if found.is_dir() => {
            fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
        }
        _ => Vec::new(),
    };
    let mut certificates = Vec::new();
    for file in files.into_iter().filter(|file| file.is_file()) {
        let mut bytes = Vec::new();
        if fs::File::open(&file).and_then(|file| file.take(LIMIT).read_to_end(&mut bytes)).is_ok() {
            certificates.extend(CertificateDer::pem_slice_iter(&bytes).flatten());
        }
    }
    certificates
}

#[cfg(all(test, unix))]
mod tests;

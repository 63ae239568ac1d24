//! Which settings each assistant reads.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::json::quoted;

/// One assistant that can be set up.
pub struct Assistant {
    pub id: &'static str,
    pub title: &'static str,
    edits: fn(&Place) -> Vec<Edit>,
    /// What the settings cannot do; for the user.
    pub note: &'static str,
}

/// Where settings go, and what they name.
pub struct Place {
    pub home: PathBuf,
    /// `$XDG_CONFIG_HOME`, `~/Library/Application Support` or `%APPDATA%`.
    pub config: PathBuf,
    pub proxy: SocketAddr,
    /// The platform's roots and our CA.
    pub bundle: PathBuf,
    /// A script that sets all variables.
    pub script: PathBuf,
}

/// What is to stand in a file.
#[derive(Clone, Debug)]
pub enum Edit {
    /// A member of a JSON file, its value as JSON.
    Member { file: PathBuf, path: Vec<String>, value: String },
    /// Lines in a marked block. `own`: the file is ours alone.
    Block { file: PathBuf, lines: String },
}

impl Edit {
    pub fn file(&self) -> &Path {
        match self {
            Self::Member { file, .. } | Self::Block { file, .. } => file,
        }
    }
}

pub const ASSISTANTS: &[Assistant] = &[
    Assistant { id: "claude-code", title: "Claude Code", edits: claude, note: "" },
    Assistant { id: "codex", title: "Codex", edits: |place| dotenv(place, ".codex"), note: "" },
    Assistant {
        id: "gemini-cli",
        title: "Gemini CLI",
        edits: |place| [dotenv(place, ".gemini"), shell(place)].concat(),
        note: "Node reads its trusted certificates when it starts: open a new shell before the next `gemini`",
    },
    Assistant {
        id: "qwen-code",
        title: "Qwen Code",
        edits: |place| [dotenv(place, ".qwen"), shell(place)].concat(),
        note: "Node reads its trusted certificates when it starts: open a new shell before the next `qwen`",
    },
    Assistant {
        id: "opencode",
        title: "OpenCode",
        edits: shell,
        note: "OpenCode reads the environment alone: open a new shell before the next `opencode`",
    },
    Assistant {
        id: "copilot",
        title: "GitHub Copilot (VS Code and CLI)",
        edits: |place| [editor(place, "Code"), shell(place)].concat(),
        note: "VS Code trusts the system's store: `divulge ca install`, then start it again",
    },
    Assistant {
        id: "cursor",
        title: "Cursor",
        edits: cursor,
        note: "Cursor trusts the system's store: `divulge ca install`, then start it again. Parts of it go around every proxy setting; only a gateway sees those",
    },
    Assistant {
        id: "qoder",
        title: "Qoder (IDE and CLI)",
        edits: |place| [editor(place, "Qoder"), shell(place)].concat(),
        note: "The IDE trusts the system's store: `divulge ca install`. Its OpenTelemetry and a helper process go around every proxy setting; only a gateway sees those",
    },
    Assistant {
        id: "trae",
        title: "Trae",
        edits: |place| editor(place, "Trae"),
        note: "Trae trusts the system's store: `divulge ca install`, then start it again",
    },
    Assistant {
        id: "comate",
        title: "Baidu Comate (in VS Code)",
        edits: |place| editor(place, "Code"),
        note: "Its engine is a process of its own; `divulge doctor` tells whether it follows",
    },
    Assistant { id: "shell", title: "everything started from a shell", edits: shell, note: "Open a new shell" },
];

/// The names of all of them.
pub fn names() -> String {
    ASSISTANTS.iter().map(|assistant| assistant.id).collect::<Vec<_>>().join(", ")
}

impl Assistant {
    pub fn named(id: &str) -> Option<&'static Assistant> {
        ASSISTANTS.iter().find(|assistant| assistant.id == id)
    }

    pub fn edits(&self, place: &Place) -> Vec<Edit> {
        (self.edits)(place)
    }
}

impl Place {
    /// What the child of an assistant needs too, such as git and npm: proxies and trust.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let (url, bundle) = (format!("http://{}", self.proxy), self.bundle.display().to_string());
        let proxies = ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"].map(|name| (name, url.clone()));
        let exempt = ["NO_PROXY", "no_proxy"].map(|name| (name, "localhost,127.0.0.1,::1".to_owned()));
        let trust = [
            "NODE_EXTRA_CA_CERTS",
            "SSL_CERT_FILE",
            "REQUESTS_CA_BUNDLE",
            "CURL_CA_BUNDLE",
            "GIT_SSL_CAINFO",
            "PIP_CERT",
            "CARGO_HTTP_CAINFO",
        ]
        .map(|name| (name, bundle.clone()));
        let node = [("NODE_USE_ENV_PROXY", "1".to_owned())];
        proxies.into_iter().chain(exempt).chain(trust).chain(node).collect()
    }
}

fn member(file: &Path, path: &[&str], value: String) -> Edit {
    Edit::Member { file: file.to_owned(), path: path.iter().map(|&name| name.to_owned()).collect(), value }
}

/// Claude Code sets these before it opens a connection, and passes them on (settings.json, `env`).
fn claude(place: &Place) -> Vec<Edit> {
    let file = place.home.join(".claude/settings.json");
    place.variables().into_iter().map(|(name, value)| member(&file, &["env", name], quoted(&value))).collect()
}

/// A file of variables that the assistant reads when it starts.
fn dotenv(place: &Place, folder: &str) -> Vec<Edit> {
    let lines: Vec<String> = place.variables().iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    vec![Edit::Block { file: place.home.join(folder).join(".env"), lines: lines.join("\n") }]
}

/// Editors of the family of VS Code: the proxy is a setting, trust is the system's.
fn editor(place: &Place, name: &str) -> Vec<Edit> {
    let file = place.config.join(name).join("User/settings.json");
    vec![
        member(&file, &["http.proxy"], quoted(&format!("http://{}", place.proxy))),
        member(&file, &["http.proxySupport"], quoted("override")),
        member(&file, &["http.systemCertificates"], "true".to_owned()),
    ]
}

fn cursor(place: &Place) -> Vec<Edit> {
    let mut edits = editor(place, "Cursor");
    // Over HTTP/2 it goes around the proxy.
    edits.push(member(edits[0].file(), &["cursor.general.disableHttp2"], "true".to_owned()));
    edits
}

/// The profiles that are there, and `.profile` in any case; fish has a folder for such files.
fn shell(place: &Place) -> Vec<Edit> {
    let script = place.script.display();
    let lines = format!("[ -r \"{script}\" ] && . \"{script}\"");
    let there = |name: &&str| place.home.join(name).exists();
    let profiles = [".bashrc", ".bash_profile", ".zshrc", ".zprofile"];
    let files = std::iter::once(".profile").chain(profiles.into_iter().filter(there));
    let mut edits: Vec<Edit> =
        files.map(|name| Edit::Block { file: place.home.join(name), lines: lines.clone() }).collect();
    if place.config.join("fish").is_dir() {
        let lines: Vec<String> =
            place.variables().iter().map(|(name, value)| format!("set -gx {name} '{value}'")).collect();
        edits.push(Edit::Block { file: place.config.join("fish/conf.d/divulge.fish"), lines: lines.join("\n") });
    }
    edits
}

//! The person: account, git identity, working habits, and the ids that tools have given them.

use std::path::{Path, PathBuf};

use super::{Credential, Facts, Machine, read_text};

/// `user.*` and `path.home`, `path.cwd`, `path.tmp`.
pub(super) fn user(machine: &Machine<'_>, facts: &mut Facts) {
    for name in ["USER", "LOGNAME", "USERNAME", "SUDO_USER"] {
        facts.add("user.name", machine.variable(name).unwrap_or_default());
    }
    if let Some(domain) = machine.variable("USERDOMAIN") {
        facts.add("net.domain", domain);
    }
    facts.add("user.email", machine.variable("EMAIL").unwrap_or_default());
    if let Some(home) = machine.home() {
        facts.add("path.home", home.to_string_lossy());
        if let Ok(real) = home.canonicalize() {
            facts.add("path.home", real.to_string_lossy());
        }
    }
    #[cfg(unix)]
    account(machine, facts);
    if machine.commands
        && let Ok(folder) = std::env::current_dir()
    {
        facts.add("path.cwd", folder.to_string_lossy());
    }
    // The shell's own name for the folder, links kept.
    facts.add("path.cwd", machine.variable("PWD").unwrap_or_default());
    for name in ["TMPDIR", "TEMP", "XDG_RUNTIME_DIR"] {
        facts.add("path.tmp", machine.variable(name).unwrap_or_default().trim_end_matches('/'));
    }
}

/// The account's line in `/etc/passwd`. Accounts of a directory service are asked for by `getent`.
#[cfg(unix)]
fn account(machine: &Machine<'_>, facts: &mut Facts) {
    let uid = nix::unistd::getuid().as_raw().to_string();
    facts.add("user.uid", &uid);
    let passwd = machine.read("/etc/passwd").unwrap_or_default();
    let of_user = |line: &&str| line.split(':').nth(2) == Some(uid.as_str());
    let line = match passwd.lines().find(of_user) {
        Some(line) => line.to_owned(),
        None => machine.ask("getent", &["passwd", &uid]).unwrap_or_default(),
    };
    let fields: Vec<&str> = line.split(':').collect();
    if let [name, _, _, _, gecos, home, shell, ..] = fields[..] {
        facts.add("user.name", name);
        // Full name, room, phones: GECOS is a list.
        let full = gecos.split(',').next().unwrap_or_default();
        if full != name {
            facts.add("user.fullname", full);
        }
        facts.add("path.home", home);
        facts.add("env.shell", shell);
    }
    if cfg!(target_os = "macos") {
        facts.add("user.fullname", machine.ask("id", &["-F"]).unwrap_or_default());
    }
}

/// `git.*` of the working folder, and `path.project`.
pub(super) fn git(machine: &Machine<'_>, facts: &mut Facts) {
    for (kind, names) in [
        ("git.name", ["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"]),
        ("git.email", ["GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"]),
    ] {
        facts.add_all(kind, names.iter().filter_map(|name| machine.variable(name)));
    }
    // All scopes at once; `-z` because values may span lines.
    let settings = machine.ask("git", &["config", "--list", "-z"]).unwrap_or_default();
    for setting in settings.split('\0') {
        let Some((name, value)) = setting.split_once('\n') else { continue };
        match name {
            "user.name" => facts.add("git.name", value),
            "user.email" => {
                facts.add("git.email", value);
                facts.add("user.email", value);
            }
            _ if name.starts_with("remote.") && (name.ends_with(".url") || name.ends_with(".pushurl")) => {
                remote(value, facts);
            }
            _ => {}
        }
    }
    facts.add("path.project", machine.ask("git", &["rev-parse", "--show-toplevel"]).unwrap_or_default());
    facts.add("git.branch", machine.ask("git", &["symbolic-ref", "--short", "-q", "HEAD"]).unwrap_or_default());
    // A repository's own settings must not start a program to check signatures with.
    let last = ["-c", "log.showSignature=false", "log", "-1", "--format=%H%n%h%n%s"];
    let last = machine.ask("git", &last).unwrap_or_default();
    facts.add_all("git.commit", last.lines());
}

/// A remote as it stands (without a password in it), and as clients shorten it: `host/owner/name`, `owner/name`.
fn remote(url: &str, facts: &mut Facts) {
    let (scheme, rest) = url.split_once("://").map_or((None, url), |(scheme, rest)| (Some(scheme), rest));
    let (user, location) = rest.rsplit_once('@').map_or((None, rest), |(user, location)| (Some(user), location));
    match (scheme, user) {
        // Of `https://token@host/…` the token is nobody's name.
        (Some(scheme), Some(user)) if user.contains(':') || scheme.starts_with("http") => {
            facts.add("git.remote", format!("{scheme}://{location}"));
        }
        _ => facts.add("git.remote", url),
    }
    let Some((host, path)) = location.split_once(if scheme.is_some() { '/' } else { ':' }) else { return };
    // A local path is not shortened, nor a drive letter taken for a host.
    if host.len() < 2 || host.contains('/') {
        return;
    }
    let host = host.split(':').next().unwrap_or(host);
    let path = path.trim_start_matches('/').trim_end_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    facts.add("git.remote", format!("{host}/{path}"));
    facts.add("git.remote", path);
}

/// `env.*`, `net.proxy` and `api.base_host`: what the session's variables say.
pub(super) fn environment(machine: &Machine<'_>, facts: &mut Facts) {
    for (kind, names) in [
        ("env.shell", &["SHELL", "ComSpec"][..]),
        ("env.term", &["TERM", "TERM_PROGRAM", "TERM_PROGRAM_VERSION", "LC_TERMINAL", "TERMINAL_EMULATOR"]),
        ("env.editor", &["EDITOR", "VISUAL", "GIT_EDITOR"]),
        (
            "env.vars",
            &[
                "XDG_CURRENT_DESKTOP",
                "DESKTOP_SESSION",
                "WSL_DISTRO_NAME",
                "VIRTUAL_ENV",
                "CONDA_DEFAULT_ENV",
                "AWS_PROFILE",
                "KUBECONFIG",
            ],
        ),
    ] {
        facts.add_all(kind, names.iter().filter_map(|name| machine.variable(name)));
    }
    // The value is often only `true`, so the variable itself is the fact.
    for name in [
        "GITHUB_ACTIONS",
        "GITLAB_CI",
        "BUILDKITE",
        "CIRCLECI",
        "JENKINS_URL",
        "TF_BUILD",
        "TEAMCITY_VERSION",
        "CODESPACES",
        "GITPOD_WORKSPACE_ID",
    ] {
        if let Some(value) = machine.variable(name) {
            facts.add("env.ci", name);
            if value.len() > 4 {
                facts.add("env.ci", value);
            }
        }
    }
    for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        if let Some(authority) = machine.variable(name).as_deref().and_then(authority) {
            facts.add("net.proxy", authority);
        }
    }
    for name in [
        "ANTHROPIC_BASE_URL",
        "OPENAI_BASE_URL",
        "OPENAI_API_BASE",
        "GOOGLE_GEMINI_BASE_URL",
        "AZURE_OPENAI_ENDPOINT",
        "OLLAMA_HOST",
    ] {
        if let Some(authority) = machine.variable(name).as_deref().and_then(authority) {
            facts.add("api.base_host", authority);
        }
    }
    // Address and port of the client, then of this host.
    for name in ["SSH_CONNECTION", "SSH_CLIENT"] {
        let value = machine.variable(name).unwrap_or_default();
        facts.add_all("net.ip.local", value.split(' ').filter(|part| part.parse::<std::net::IpAddr>().is_ok()));
    }
}

/// Variables of base URLs, and of the credentials that are meant for them.
const CREDENTIALS: &[(&str, &[&str])] = &[
    ("ANTHROPIC_BASE_URL", &["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"]),
    ("OPENAI_BASE_URL", &["OPENAI_API_KEY"]),
    ("OPENAI_API_BASE", &["OPENAI_API_KEY"]),
    ("GOOGLE_GEMINI_BASE_URL", &["GEMINI_API_KEY", "GOOGLE_API_KEY"]),
    ("AZURE_OPENAI_ENDPOINT", &["AZURE_OPENAI_API_KEY"]),
    ("DASHSCOPE_BASE_URL", &["DASHSCOPE_API_KEY"]),
    ("DEEPSEEK_BASE_URL", &["DEEPSEEK_API_KEY"]),
    ("OPENROUTER_BASE_URL", &["OPENROUTER_API_KEY"]),
    ("MISTRAL_BASE_URL", &["MISTRAL_API_KEY"]),
    ("XAI_BASE_URL", &["XAI_API_KEY"]),
    ("COPILOT_PROVIDER_BASE_URL", &["COPILOT_PROVIDER_API_KEY"]),
];

pub(super) fn credentials(machine: &Machine<'_>) -> Vec<Credential> {
    let mut found = Vec::new();
    for (base, names) in CREDENTIALS {
        let Some(base) = machine.variable(base) else { continue };
        let Some(host) = authority(&base) else { continue };
        for value in names.iter().filter_map(|name| machine.variable(name)) {
            // `none` and `dummy` stand where a program wants something and a gateway does not.
            if value.len() >= 12 {
                found.push(Credential { value, host: host.to_owned() });
            }
        }
    }
    found
}

/// `host:port` of a URL, without credentials.
fn authority(url: &str) -> Option<&str> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, location)| location);
    rest.split(['/', '?', '#']).next().filter(|authority| !authority.is_empty())
}

/// Where tools keep the ids they send: a path from the home folder, and the members of its JSON. A path
/// without members holds the id alone.
const INSTALLS: [(&str, &[(&str, &str)]); 10] = [
    (
        ".claude.json",
        &[
            ("/userID", "id.device"),
            ("/anonymousId", "id.anon"),
            ("/oauthAccount/accountUuid", "id.account"),
            ("/oauthAccount/organizationUuid", "id.org"),
            ("/oauthAccount/emailAddress", "user.email"),
        ],
    ),
    (".codex/installation_id", &[("", "id.install")]),
    (".gemini/installation_id", &[("", "id.install")]),
    (".gemini/google_accounts.json", &[("/active", "user.email")]),
    (".qwen/installation_id", &[("", "id.install")]),
    (".config/Microsoft/DeveloperTools/deviceid", &[("", "id.device")]),
    (".config/Code/User/globalStorage/storage.json", VSCODE),
    (".config/Cursor/User/globalStorage/storage.json", VSCODE),
    ("Library/Application Support/Code/User/globalStorage/storage.json", VSCODE),
    ("AppData/Roaming/Code/User/globalStorage/storage.json", VSCODE),
];

const VSCODE: &[(&str, &str)] = &[
    ("/telemetry.machineId", "id.vscode_machine"),
    ("/telemetry.macMachineId", "id.vscode_machine"),
    ("/telemetry.devDeviceId", "id.device"),
    ("/telemetry.sqmId", "id.device"),
];

/// `id.*` that assistants and editors have put on this machine.
pub(super) fn installs(machine: &Machine<'_>, facts: &mut Facts) {
    let Some(home) = machine.home() else { return };
    for (path, members) in INSTALLS {
        let file = within(&machine.root, &home).join(path);
        let Some(text) = read_text(&file) else { continue };
        if let [("", kind)] = members {
            facts.add(kind, text);
            continue;
        }
        let Ok(document) = serde_json::from_str::<serde_json::Value>(&text) else { continue };
        for (pointer, kind) in members {
            if let Some(value) = document.pointer(pointer).and_then(|value| value.as_str()) {
                facts.add(kind, value);
            }
        }
    }
}

/// `path` under another root than `/`.
fn within(root: &Path, path: &Path) -> PathBuf {
    match path.strip_prefix("/") {
        Ok(relative) => root.join(relative),
        Err(_) => path.to_owned(),
    }
}

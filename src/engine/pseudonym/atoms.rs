//! The parts of a value that say whose it is; the rest stays, so that paths and addresses go on working.
//!
//! ```text
//! /home/ann/work               ann
//! /srv/acme/billing/src        acme, billing
//! ann.lee@mail.acme.example    ann.lee, mail, acme
//! build-7.acme.example         build-7, acme
//! git@git.acme.example:ops/billing.git    git, acme, ops, billing
//! ```

use std::ops::Range;

use super::mint::Sort;

/// Where an atom stands and what it is.
pub(super) type Atom = (Range<usize>, &'static str);

/// Domains that everybody's mail and code are at say nothing.
const PUBLIC: &[&str] = &[
    "gmail.com",
    "outlook.com",
    "hotmail.com",
    "live.com",
    "yahoo.com",
    "icloud.com",
    "proton.me",
    "protonmail.com",
    "qq.com",
    "163.com",
    "126.com",
    "foxmail.com",
    "gmx.de",
    "github.com",
    "gitlab.com",
    "bitbucket.org",
    "gitee.com",
    "codeberg.org",
    "users.noreply.github.com",
    "ssh.dev.azure.com",
    "dev.azure.com",
];

/// Labels below a country, and of networks at home.
const COMMON: &[&str] = &[
    "co",
    "com",
    "org",
    "net",
    "ac",
    "gov",
    "edu",
    "or",
    "ne",
    "www",
    "local",
    "lan",
    "home",
    "internal",
    "localdomain",
    "localhost",
    "example",
];

/// Homes that are nobody's.
const NOBODY: &[&str] = &["user", "Shared", "Public", "Default", "root"];

/// Folders that every machine has: what is in them says nothing of its owner.
const SYSTEM: &[&str] = &[
    "usr",
    "bin",
    "sbin",
    "lib",
    "lib64",
    "etc",
    "dev",
    "proc",
    "sys",
    "run",
    "nix",
    "System",
    "Library",
    "Applications",
    "Windows",
    "Program Files",
    "Program Files (x86)",
    "root",
    "~",
];

/// Names of folders that many have their work in.
const USUAL: &[&str] = &[
    "srv",
    "opt",
    "tmp",
    "var",
    "mnt",
    "media",
    "data",
    "private",
    "Volumes",
    "home",
    "Users",
    "workspace",
    "workspaces",
    "work",
    "project",
    "projects",
    "src",
    "source",
    "code",
    "repo",
    "repos",
    "git",
    "app",
    "apps",
    "build",
    "builds",
    "dev",
    "www",
    "lib",
    "local",
    "folders",
    "vscode",
    "worktrees",
];

/// A path of which the project's folder is an atom as well.
pub(in crate::engine) const FOLDERS: &str = "path.folders";

/// Of a path outside any home, the first folders that are not everybody's: the owner and the project.
const OWN_FOLDERS: usize = 2;

/// The atoms of `value` in order. None where it is an atom itself.
pub(super) fn of(kind: &str, value: &str) -> Option<Vec<Atom>> {
    let mut out = Vec::new();
    match kind {
        "path.tmp" => {}
        _ if kind.starts_with("path.") => home(value, kind, &mut out),
        "git.remote" => remote(value, &mut out),
        "user.email" | "git.email" | "id.account" if value.contains('@') => email(value, 0, &mut out),
        "host.name" | "host.fqdn" | "net.domain" | "net.hostname_dns" if value.contains('.') => {
            labels(value, 0, &mut out)
        }
        "user.fullname" | "user.name" | "git.name" | "net.ssid" if value.contains(char::is_whitespace) => {
            let mut at = 0;
            for word in value.split_inclusive(char::is_whitespace) {
                let core = word.trim_end_matches(|c: char| !c.is_alphanumeric());
                out.push((at..at + core.len(), "user.fullname"));
                at += word.len();
            }
        }
        _ => return None,
    }
    Some(out)
}

fn home(value: &str, kind: &str, out: &mut Vec<Atom>) {
    const MARKS: &[&str] = &[
        "/home/",
        "/Users/",
        "\\Users\\",
        "\\\\Users\\\\",
        "\\home\\",
        "/Documents and Settings/",
        "\\Documents and Settings\\",
    ];
    let found = MARKS
        .iter()
        .filter_map(|mark| Some((value.find(mark)?, *mark)))
        .min_by_key(|(at, mark)| (*at, usize::MAX - mark.len()));
    let (start, end) = match found {
        Some((at, mark)) => {
            let start = at + mark.len();
            (start, value[start..].find(['/', '\\']).map_or(value.len(), |length| start + length))
        }
        // A path with its separators turned into hyphens.
        None => {
            let Some(mark) = ["-home-", "-Users-"].iter().find(|mark| value.starts_with(**mark)) else {
                let folder = matches!(kind, FOLDERS | "path.home" | "path.cwd" | "path.project");
                return own_folders(value, 0, OWN_FOLDERS, folder, out);
            };
            (mark.len(), value[mark.len()..].find('-').map_or(value.len(), |length| mark.len() + length))
        }
    };
    if !NOBODY.contains(&&value[start..end]) {
        out.push((start..end, "user.name"));
    }
    if kind == FOLDERS && end < value.len() {
        own_folders(value, end, 1, false, out);
    }
}

/// The first `most` folders after `from` that are not everybody's, in a path or in one with its separators turned into
/// hyphens. `folder`: the path is one itself, and no file.
fn own_folders(value: &str, from: usize, most: usize, folder: bool, out: &mut Vec<Atom>) {
    let bare = value.strip_prefix("file://").unwrap_or(value);
    let base = value.len() - bare.len();
    let drive = bare.as_bytes().get(1) == Some(&b':');
    let separators: &[char] = match bare.as_bytes().first() {
        Some(b'-') => &['-'],
        Some(b'/') => &['/'],
        _ if drive || from > 0 => &['/', '\\'],
        _ => return,
    };
    let mut at = from.max(base + if drive { 2 } else { 0 });
    let mut first = from == 0;
    let mut left = most;
    for segment in value[at..].split(separators) {
        let (start, end) = (at, at + segment.len());
        at = end + 1;
        if segment.is_empty() {
            continue;
        }
        if std::mem::replace(&mut first, false) && SYSTEM.contains(&segment) {
            return;
        }
        // A file's name is the work itself; a hidden folder names a program.
        let file = !folder && end == value.len() && segment.rsplit_once('.').is_some_and(|(name, _)| !name.is_empty());
        let usual = USUAL.iter().any(|usual| usual.eq_ignore_ascii_case(segment));
        let name = Sort::of("path.project", segment) == Some(Sort::Name);
        if segment.len() < 3 || usual || file || segment.starts_with('.') || !name {
            continue;
        }
        out.push((start..end, "path.project"));
        left -= 1;
        if left == 0 {
            return;
        }
    }
}

fn email(value: &str, base: usize, out: &mut Vec<Atom>) {
    let Some((local, domain)) = value.rsplit_once('@') else { return };
    out.push((base..base + local.len(), "user.email"));
    labels(domain, base + local.len() + 1, out);
}

/// All labels but the last and those that many have.
fn labels(domain: &str, base: usize, out: &mut Vec<Atom>) {
    if PUBLIC.contains(&domain.to_ascii_lowercase().as_str()) || domain.parse::<std::net::IpAddr>().is_ok() {
        return;
    }
    let mut at = base;
    let last = domain.trim_end_matches('.').rfind('.').map_or(base, |dot| base + dot + 1);
    for label in domain.split('.') {
        if at < last && !COMMON.contains(&label.to_ascii_lowercase().as_str()) {
            out.push((at..at + label.len(), "host.name"));
        }
        at += label.len() + 1;
    }
}

/// `scheme://user@host:port/path` or `user@host:path`.
fn remote(value: &str, out: &mut Vec<Atom>) {
    let start = value.find("://").map_or(0, |at| at + 3);
    let authority_end = match start {
        0 => value.find(':'),
        _ => value[start..].find('/').map(|length| start + length),
    };
    let Some(authority_end) = authority_end else { return home(value, "git.remote", out) };
    let authority = &value[start..authority_end];
    let host_start = authority.rfind('@').map_or(0, |at| at + 1);
    let user = &authority[..host_start.saturating_sub(1)];
    if !user.is_empty() && user != "git" && !user.contains(':') {
        out.push((start..start + user.len(), "user.name"));
    }
    let host = &authority[host_start..];
    let host = host.split(':').next().unwrap_or_default();
    labels(host, start + host_start, out);
    let mut at = authority_end + 1;
    for segment in value[at..].split('/') {
        let core = segment.strip_suffix(".git").unwrap_or(segment);
        if !core.is_empty() && !core.bytes().all(|byte| byte.is_ascii_digit()) {
            out.push((at..at + core.len(), "git.remote"));
        }
        at += segment.len() + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn what_says_whose_a_value_is_is_found_in_it() {
        for (kind, value, expected) in [
            ("path.home", "/home/ann/work", "ann"),
            ("path.cwd", r"C:\Users\Ann\src", "Ann"),
            ("path.cwd", r"C:\\Users\\Ann\\src", "Ann"),
            ("path.cwd", "/mnt/c/Users/ann", "ann"),
            ("path.project", "-home-ann-work-billing", "ann"),
            ("path.cwd", "/srv/billing", "billing"),
            (super::FOLDERS, "/home/ann/work/billing/src/main.rs", "ann billing"),
            (super::FOLDERS, r"C:\Users\Ann\src\acme", "Ann acme"),
            (super::FOLDERS, "-home-ann-work-billing", "ann billing"),
            (super::FOLDERS, "/home/ann/.cache/x", "ann"),
            (super::FOLDERS, "/home/user/acme", "acme"),
            ("path.project", "/srv/acme/billing/src/api/main.rs", "acme billing"),
            ("path.home", "/tmp/home.x7/acme", "home.x7 acme"),
            ("path.tmp", "/tmp/acme", ""),
            ("path.project", "-srv-acme-billing", "acme billing"),
            ("path.cwd", r"D:\work\acme\x", "acme"),
            ("path.exec", "/usr/local/acme/bin/node", ""),
            ("path.cwd", "/root/billing", ""),
            ("path.cwd", "/workspace", ""),
            ("path.cwd", "src/main.rs", ""),
            ("path.home", "/Users/Shared/x", ""),
            ("git.email", "ann.lee@mail.acme.example", "ann.lee mail acme"),
            ("git.email", "ann@gmail.com", "ann"),
            ("host.fqdn", "build-7.acme.co.uk", "build-7 acme"),
            ("host.name", "anns-laptop.local", "anns-laptop"),
            ("user.fullname", "Ann M. Lee", "Ann M Lee"),
            ("git.remote", "git@git.acme.example:ops/billing.git", "git acme ops billing"),
            ("git.remote", "https://ann@github.com/ann/billing", "ann ann billing"),
            ("git.remote", "ssh://git@code.acme.example:2222/ops/billing.git", "code acme ops billing"),
        ] {
            let found: Vec<_> = of(kind, value).unwrap().into_iter().map(|(range, _)| &value[range]).collect();
            assert_eq!(found.join(" "), expected, "{kind} {value}");
        }
        assert!(of("host.name", "build-7").is_none(), "an atom itself");
    }
}

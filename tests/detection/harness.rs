//! Requests of one client in which the words of the client itself are always the same, and one in which they are not
//! quite: an apostrophe, a space, an order, that only a comparison shows.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use divulge::engine::{Engine, Finding, Templates};
use divulge::session::raw::Captured;

use crate::carrier::whole;
use crate::document::{Node, compact, prose, spaced};
use crate::random::Rng;
use crate::score::{self, Count, Outcome, without_window};

/// What a client sends again and again, and what is to be said of one more such request.
pub struct Case {
    pub name: &'static str,
    pub learning: Vec<Vec<u8>>,
    pub marked: Vec<u8>,
    /// The same request without the mark.
    pub plain: Vec<u8>,
    pub expected: Expected,
}

/// Any of the kinds at any of the places; a place may also be given with a window, or be the start of a longer one
/// where it ends in `*`. No kinds: nothing may be found.
pub struct Expected {
    pub kinds: &'static [&'static str],
    pub places: Vec<String>,
}

/// A request before it is spelled.
struct Draft {
    line: &'static str,
    host: &'static str,
    fields: Vec<(String, String)>,
    body: Node,
    spaced: bool,
}

impl Draft {
    fn raw(&self) -> Vec<u8> {
        let body = if self.spaced { spaced(&self.body) } else { compact(&self.body) };
        let mut raw = format!("{} HTTP/1.1\r\nHost: {}\r\n", self.line, self.host);
        self.fields.iter().for_each(|(name, value)| raw.push_str(&format!("{name}: {value}\r\n")));
        raw.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        raw.into_bytes()
    }
}

const RULES: &[&str] = &[
    "You're an assistant for code that runs in a terminal. Help with the user's task and don't guess at what you can't see.",
    "# Tone\n- Keep it short; it's better to answer in one line than in ten.\n- Don't praise, don't apologise, and never say \"as an AI\".\n- If you're unsure, say so - it isn't a failure.",
    "# Work\n1. Read the file before you change it, even if you think you know what's in it.\n2. Run the tests that cover the change... and only those.\n3. Don't commit unless you're asked to; that's the user's call.",
    "Dates are written as in 2026-01-31; a r\u{e9}sum\u{e9} of the work comes last. Use \"\u{2713}\" for what's done.",
];

const TOOLS: &[(&str, &str)] = &[
    (
        "Read",
        "Reads a file from the disk. It's an error if the file doesn't exist. Don't read folders - list them instead.",
    ),
    ("Edit", "Replaces text in a file. The old text must be there exactly once, or the tool won't change anything."),
    ("Run", "Runs a command in the user's shell. Don't start anything that waits for input; it'll never end."),
];

/// What differs from one request to the next.
struct Slots {
    date: String,
    folder: String,
    branch: String,
    commits: Vec<String>,
    said: Vec<String>,
    notes: String,
}

fn slots(rng: &mut Rng) -> Slots {
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

const SOMETIMES: &str = "X-Retry-Count";

/// A field that is in every request.
fn lasting(rng: &mut Rng, draft: &Draft) -> usize {
    let all: Vec<usize> = (0..draft.fields.len()).filter(|&at| draft.fields[at].0 != SOMETIMES).collect();
    all[rng.below(all.len())]
}

/// Every text of a document with its pointer.
fn texts<'n>(node: &'n mut Node, at: &str, out: &mut Vec<(String, &'n mut String)>) {
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

/// Replaces one of the places at which `from` stands in the client's own words.
fn replace(rng: &mut Rng, draft: &mut Draft, from: &str, to: &str) -> Option<String> {
    let mut all = Vec::new();
    texts(&mut draft.body, "", &mut all);
    let mut spots = Vec::new();
    for (index, (pointer, text)) in all.iter().enumerate() {
        // In the templates alone; what stands in the slots is whoever's.
        let templates = RULES.iter().chain(TOOLS.iter().map(|(_, text)| text)).chain(FIXED);
        for template in templates.filter(|_| pointer != "/model") {
            let Some(start) = text.find(template) else { continue };
            spots.extend(template.match_indices(from).map(|(at, _)| (index, start + at)));
        }
    }
    let &(index, at) = spots.get(rng.below(spots.len()))?;
    let (pointer, text) = &mut all[index];
    text.replace_range(at..at + from.len(), to);
    Some(format!("body!json:{pointer}"))
}

/// The parts of the environment and the reminder that stand between slots.
const FIXED: &[&str] = &[
    "Here's what is known of the environment you're in:\n<env>",
    "Today's date: ",
    "and that's where changes go. Recent commits:",
    "The user's own notes follow. Don't mention them unless they're relevant.\nToday's date is ",
];

type Mark = fn(&mut Rng, &mut Draft) -> Option<Expected>;

const MARKS: &[(&str, Mark)] = &[
    ("apostrophe", |rng, draft| {
        let to = rng.pick(&["\u{2019}", "\u{2bc}", "\u{2b9}", "\u{2032}", "`", "\u{b4}", "\u{ff07}", "\u{2018}"]);
        swap(rng, draft, "'", to, &["cov.apostrophe"])
    }),
    ("quotation mark", |rng, draft| {
        swap(rng, draft, "\"", rng.clone().pick(&["\u{201c}", "\u{201d}", "\u{2033}"]), ANY)
    }),
    ("date separator", date_separator),
    ("space", |rng, draft| {
        let to = rng.pick(&["\u{a0}", "\u{202f}", "\u{2009}", "\u{2002}", "\u{2004}", "\u{205f}", "\u{3000}"]);
        swap(rng, draft, " ", to, &["cov.space"])
    }),
    ("two spaces", |rng, draft| swap(rng, draft, " ", "  ", &["cov.space"])),
    ("look-alike letter", |rng, draft| {
        let (from, to) = *[
            ("a", "\u{430}"),
            ("e", "\u{435}"),
            ("o", "\u{43e}"),
            ("c", "\u{441}"),
            ("p", "\u{440}"),
            ("o", "\u{3bf}"),
            ("i", "\u{456}"),
        ]
        .get(rng.below(7))?;
        swap(rng, draft, from, to, &["cov.homoglyph"])
    }),
    ("look-alike sign", |rng, draft| {
        let (from, to) = *[
            (";", "\u{37e}"),
            (":", "\u{a789}"),
            (".", "\u{2024}"),
            ("-", "\u{2010}"),
            ("-", "\u{2212}"),
            ("-", "\u{2013}"),
            ("...", "\u{2026}"),
            (",", "\u{201a}"),
            ("#", "\u{ff03}"),
            (".", "\u{ff0e}"),
        ]
        .get(rng.below(10))?;
        swap(rng, draft, from, to, ANY)
    }),
    ("unseen between words", |rng, draft| {
        let to = format!(" {}", rng.pick(&["\u{200b}", "\u{200c}", "\u{2060}", "\u{feff}", "\u{ad}"]));
        swap(rng, draft, " ", &to, &["cov.zero_width"])
    }),
    ("white space at a line's end", |rng, draft| {
        let to = rng.pick(&[" \n", "\t\n", "  \n"]);
        swap(rng, draft, "\n", to, &["cov.trailing_ws", "cov.space"])
    }),
    ("line end", |rng, draft| swap(rng, draft, "\n", "\r\n", ANY)),
    ("decomposed letter", |rng, draft| swap(rng, draft, "\u{e9}", "e\u{301}", &["cov.nfd"])),
    ("selector on a sign", |rng, draft| {
        swap(rng, draft, "\u{2713}", rng.clone().pick(&["\u{2713}\u{fe0e}", "\u{2713}\u{fe0f}"]), &["cov.varsel"])
    }),
    ("order of headers", |rng, draft| {
        let at = lasting(rng, draft);
        let next = (at + 1..draft.fields.len()).find(|&next| draft.fields[next].0 != SOMETIMES)?;
        draft.fields.swap(at, next);
        Some(Expected { kinds: &["cov.header_order"], places: vec!["head".into()] })
    }),
    ("case of a header", |rng, draft| {
        let at = lasting(rng, draft);
        let name = draft.fields[at].0.clone();
        draft.fields[at].0 = if rng.percent(50) { name.to_uppercase() } else { name.to_lowercase() };
        if draft.fields[at].0 == name {
            draft.fields[at].0 = name.to_uppercase();
        }
        Some(Expected {
            kinds: &["cov.header_case"],
            places: vec!["head".into(), format!("header:/{}", name.to_lowercase())],
        })
    }),
    ("order of members", |rng, draft| {
        let Node::Object(members) = &mut draft.body else { return None };
        let lasting: Vec<usize> = (0..members.len()).filter(|&at| members[at].0 != "metadata").collect();
        let pair = rng.between(0, lasting.len() - 2);
        members.swap(lasting[pair], lasting[pair + 1]);
        Some(Expected { kinds: &["cov.key_order"], places: vec!["body*".into()] })
    }),
    ("white space in JSON", |_, draft| {
        draft.spaced = !draft.spaced;
        Some(Expected { kinds: &["cov.json_ws"], places: vec!["body*".into()] })
    }),
    ("spelling of a number", |rng, draft| {
        let Node::Object(members) = &mut draft.body else { return None };
        let (_, value) = members.iter_mut().find(|(name, _)| name == "temperature")?;
        *value = Node::Bare(rng.pick(&["1.0", "1e0", "1.00"]).into());
        Some(Expected { kinds: &["cov.number"], places: vec!["body!json:/temperature".into()] })
    }),
    ("nothing", |_, _| Some(Expected { kinds: &[], places: Vec::new() })),
];

/// It is text of the client that deviates; by which name is left open.
const ANY: &[&str] = &["cov."];

fn swap(rng: &mut Rng, draft: &mut Draft, from: &str, to: &str, kinds: &'static [&'static str]) -> Option<Expected> {
    let place = replace(rng, draft, from, to)?;
    Some(Expected { kinds, places: vec![place] })
}

/// Both separators of the date of today, or of the one that the rules mention.
fn date_separator(rng: &mut Rng, draft: &mut Draft) -> Option<Expected> {
    let to = rng.pick(&["/", ".", "\u{2010}", "\u{2011}", "\u{2013}", "\u{2212}", "\u{2215}"]);
    let mut all = Vec::new();
    texts(&mut draft.body, "", &mut all);
    let mut spots = Vec::new();
    for (index, (_, text)) in all.iter().enumerate() {
        for lead in ["Today's date: ", "Today's date is ", "written as in "] {
            spots.extend(text.find(lead).map(|at| (index, at + lead.len())));
        }
    }
    let &(index, at) = spots.get(rng.below(spots.len()))?;
    let (pointer, text) = &mut all[index];
    let date = text.get(at..at + 10)?.replace('-', to);
    text.replace_range(at..at + 10, &date);
    Some(Expected { kinds: &["cov.date_sep"], places: vec![format!("body!json:{pointer}")] })
}

/// The `number`-th case.
pub fn case(rng: &mut Rng) -> Case {
    let client =
        *[messages as fn(&mut Rng, &Slots) -> Draft, responses, unknown].get(rng.below(3)).unwrap_or(&(messages as _));
    let count = rng.between(3, 6);
    let draw = |rng: &mut Rng| {
        let slots = slots(rng);
        client(rng, &slots)
    };
    let learning = (0..count).map(|_| draw(rng).raw()).collect();
    loop {
        let mut draft = draw(rng);
        let plain = draft.raw();
        let (name, mark) = MARKS[rng.below(MARKS.len())];
        if let Some(expected) = mark(rng, &mut draft) {
            return Case { name, learning, marked: draft.raw(), plain, expected };
        }
    }
}

/// What a request shows to one who has seen the others. The engine learns, so that one serves all cases.
fn compared(engine: &Arc<Engine>, case: &Case) -> Vec<Finding> {
    engine.set_templates(Arc::default());
    let mut templates = Templates::default();
    for earlier in &case.learning {
        let captured = Captured::read(Bytes::copy_from_slice(earlier)).expect("a generated head is well formed");
        let mut flow = engine.open("earlier".into(), captured.request.clone());
        flow.audit(captured.part());
        templates.learn(flow.close().lesson, 0);
    }
    engine.set_templates(Arc::new(templates));
    let mut findings = score::audit(engine, &whole(case.marked.clone(), Vec::new()));
    findings.retain(|finding| finding.kind.starts_with("cov."));
    findings
}

impl Expected {
    fn is_met_by(&self, finding: &Finding) -> bool {
        self.kinds.iter().any(|kind| *finding.kind == **kind || (kind.ends_with('.') && finding.kind.starts_with(kind)))
    }

    fn is_at(&self, finding: &Finding) -> bool {
        let location = without_window(&finding.location.to_string());
        self.places.iter().any(|place| match place.strip_suffix('*') {
            Some(start) => location.starts_with(start),
            None => location == *place,
        })
    }
}

#[test]
fn a_mark_in_the_clients_own_words_is_seen_beside_its_other_requests() {
    let run = crate::Run::new(24);
    let mut by_mark: BTreeMap<&str, Count> = BTreeMap::new();
    let (mut all, mut clean, mut wrong) = (Count::default(), 0, 0);
    let (mut misses, mut beside) = (Vec::new(), Vec::new());
    let engine = Arc::new(score::bare().with_templates(Arc::default(), true));
    for &number in &run.cases {
        let case = case(&mut Rng::of_case(run.seed ^ 0x4a55, number));
        let found = compared(&engine, &case);
        if run.verbose {
            case.learning.iter().chain([&case.marked]).for_each(|raw| println!("{}\n", String::from_utf8_lossy(raw)));
            println!("expected {:?} at {:?}", case.expected.kinds, case.expected.places);
        }
        let told = || found.iter().map(score::told).collect::<Vec<_>>();
        let others = found.iter().filter(|finding| !case.expected.is_met_by(finding) || !case.expected.is_at(finding));
        if others.clone().next().is_some() {
            beside.push(format!("case {number}, {}: {:?}", case.name, others.map(score::told).collect::<Vec<_>>()));
            wrong += usize::from(case.expected.kinds.is_empty());
        }
        if case.expected.kinds.is_empty() {
            clean += 1;
            continue;
        }
        let named = found.iter().filter(|finding| case.expected.is_met_by(finding));
        let outcome = named
            .map(|finding| if case.expected.is_at(finding) { Outcome::Placed } else { Outcome::Misplaced })
            .max()
            .unwrap_or(Outcome::Missed);
        all.add(outcome);
        by_mark.entry(case.name).or_default().add(outcome);
        if outcome != Outcome::Placed {
            let place = &case.expected.places[0];
            misses.push(format!(
                "case {number}: {outcome:?} {} at {place}: {}; found {:?}",
                case.name,
                case.change(),
                told()
            ));
        }
    }
    println!("\n{:28} {:>8} {:>8} {:>8} {:>8}", "mark in a client's words", "planted", "found", "placed", "recall");
    for (name, count) in &by_mark {
        println!("{name:28} {:8} {:8} {:8} {:8.4}", count.planted, count.found, count.placed, count.recall());
    }
    println!(
        "in all: {} of {}, recall {:.4}; of {clean} requests without a mark {wrong} wrong",
        all.placed,
        all.planted,
        all.recall()
    );
    let listed = crate::setting("DIVULGE_DETECTION_MISSES", 30) as usize;
    for (title, list) in [("missed", &misses), ("found where there is none", &beside)] {
        println!("{title}: {}", list.len());
        crate::spread(list, listed).for_each(|text| println!("  {text}"));
    }
    if !run.verbose {
        let clean = 1.0 - score::share(beside.len(), run.cases.len());
        crate::demand(&[
            ("recall of marks in a client's words", all.recall(), 0.98),
            ("requests without a false mark", clean, 0.998),
        ]);
    }
}

impl Case {
    /// What the mark did, a little of what is around it.
    fn change(&self) -> String {
        let same = self.marked.iter().zip(&self.plain).skip_while(|(a, b)| a == b || a.is_ascii_digit()).count();
        let start = self.marked.len().min(self.plain.len()) - same;
        let window = start.saturating_sub(30)..(start + 30).min(self.marked.len());
        String::from_utf8_lossy(&self.marked[window]).escape_debug().to_string()
    }
}

//! Clients whose words are drawn anew for each case, so that nothing can be made to fit them; what varies in their
//! requests, and what people change around them.

use crate::document::{Node, compact};
use crate::random::Rng;

/// A part of a client's text.
#[derive(Clone)]
pub enum Piece {
    Fixed(String),
    Slot(Slot),
}

#[derive(Clone, Copy, Eq, PartialEq)]
pub enum Slot {
    Folder,
    Date,
    Branch,
    Person,
    Version,
    Status,
    Model,
    /// A file with rules that people wrote.
    Rules,
}

#[derive(Clone)]
pub struct Tool {
    pub name: String,
    pub says: String,
    pub required: Vec<String>,
}

/// One request of a client, or all of them.
#[derive(Clone)]
pub struct Draft {
    pub system: Vec<Piece>,
    pub reminder: Vec<Piece>,
    pub tools: Vec<Tool>,
    shape: usize,
    agent: String,
    pub said: Vec<String>,
    pub extras: Vec<(String, Node)>,
    pub fields: Vec<(String, String)>,
}

/// What is the same in some requests and changes now and then.
#[derive(Clone)]
pub struct World {
    folder: String,
    person: String,
    branch: String,
    model: String,
    pub rules: Vec<String>,
}

const VERBS: &[&str] =
    &["check", "read", "rename", "explain", "measure", "describe", "replace", "compare", "collect", "test"];
const NOUNS: &[&str] =
    &["file", "report", "command", "folder", "answer", "change", "module", "table", "request", "note"];
const KINDS: &[&str] = &["short", "plain", "useful", "broken", "long", "careful", "new", "simple", "odd", "private"];
const ENDS: &[&str] = &["at once", "before the end", "with care", "in one step", "without noise", "when it's needed"];
const MORE: &[&str] = &[
    "The user's colour settings count as given",
    "Don't summarise what's already there",
    "It isn't an error while nothing has failed",
    "Recognise the behaviour that's asked for",
    "You can't organize what you haven't seen",
    "Answers shouldn't be longer than they've to be",
];

/// Pairs of words that say the same.
pub const SAME: &[(&str, &str)] = &[
    ("check", "verify"),
    ("read", "open"),
    ("explain", "clarify"),
    ("replace", "exchange"),
    ("short", "brief"),
    ("useful", "helpful"),
    ("broken", "faulty"),
    ("odd", "strange"),
    ("answer", "reply"),
    ("before", "until"),
    ("needed", "wanted"),
    ("folder", "directory"),
    ("and", "or"),
    ("the", "each"),
];

fn sentence(rng: &mut Rng) -> String {
    let (a, b) = (rng.pick(VERBS), rng.pick(VERBS));
    let (n, m, o) = (rng.pick(NOUNS), rng.pick(NOUNS), rng.pick(NOUNS));
    let (k, l, e) = (rng.pick(KINDS), rng.pick(KINDS), rng.pick(ENDS));
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    match rng.below(8) {
        0 => format!("{} the {k} {n}, then {b} its {l} {m} {e}", capital(a)),
        1 => format!("If the {n} isn't {k}, {a} it {e} and {b} the {m}"),
        2 => format!("Don't {a} a {k} {n} that you can't {b} {e}"),
        3 => format!("A {n} that's {k} and {l}, or a {m}, goes to the {o} {e}"),
        4 => format!("Never {a} {n}, {m}, {o} in that order unless the user's {k} {e}"),
        5 => format!("You should {a} each {k} {n} so that the {m} can {b} it {e}"),
        6 => format!("{} \"{n}\" - not \"{m}\" - for a {k} {o}; it's {l}... {e}", capital(a)),
        _ => rng.pick(MORE).to_owned(),
    }
}

fn fixed(text: impl Into<String>) -> Piece {
    Piece::Fixed(text.into())
}

/// The words of a client.
pub fn client(rng: &mut Rng) -> Draft {
    let mut system =
        vec![fixed(format!("You are {}, an assistant for programmers. {}.\n\n", rng.coined(3), sentence(rng)))];
    for _ in 0..rng.between(2, 5) {
        let name = rng.coined(2);
        let mut text = format!("# {}{}\n", name[..1].to_uppercase(), &name[1..]);
        if rng.percent(50) {
            (0..rng.between(3, 7)).for_each(|_| text.push_str(&format!("- {}.\n", sentence(rng))));
        } else {
            let lines: Vec<String> = (0..rng.between(2, 5)).map(|_| sentence(rng) + ".").collect();
            text.push_str(&(lines.join(" ") + "\n"));
        }
        system.push(fixed(text + "\n"));
        if rng.percent(40) {
            let (slot, lead, tail) = match rng.below(4) {
                0 => (Slot::Branch, "Work happens on the branch ", " and that's where it stays"),
                1 => (Slot::Person, "This is ", "'s machine, so ask before you change it"),
                2 => (Slot::Date, "It's now ", ", and the user's calendar says the same"),
                _ => (Slot::Model, "You are run by the model named ", ". Don't mention it to anyone"),
            };
            system.extend([fixed(lead), Piece::Slot(slot), fixed(format!("{tail}. {}.\n\n", sentence(rng)))]);
        }
    }
    system.extend([
        fixed("Here's what's known of the place you're in:\n<env>\nWorking directory: "),
        Piece::Slot(Slot::Folder),
        fixed("\nIs it a repository: yes\nProgram's version: "),
        Piece::Slot(Slot::Version),
        fixed("\nToday's date: "),
        Piece::Slot(Slot::Date),
        fixed(format!("\n</env>\n\n{}. {}.\n", sentence(rng), sentence(rng))),
    ]);
    if rng.percent(40) {
        system.extend([fixed("\nState of the repository when it was last looked at:\n"), Piece::Slot(Slot::Status)]);
    }
    if rng.percent(40) {
        system.extend([fixed("\n# AGENTS.md\n\n"), Piece::Slot(Slot::Rules)]);
    }
    let reminder = vec![
        fixed(format!("As you answer, you can use what follows. {}.\nContents of ", sentence(rng))),
        Piece::Slot(Slot::Folder),
        fixed("/AGENTS.md (the project's rules):\n\n"),
        Piece::Slot(Slot::Rules),
        fixed(format!("\n\nIMPORTANT: it's not certain that this matters here. {}.", sentence(rng))),
    ];
    let tools = (0..rng.between(3, 7)).map(|_| Tool {
        name: rng.coined(3),
        says: (0..rng.between(2, 5)).map(|_| sentence(rng) + ".").collect::<Vec<_>>().join(" "),
        required: (0..rng.between(2, 4)).map(|_| rng.coined(2)).collect(),
    });
    Draft {
        system,
        reminder,
        tools: tools.collect(),
        shape: rng.below(3),
        agent: format!("{}/{}.{}.0", rng.coined(2), rng.between(0, 5), rng.between(0, 20)),
        said: Vec::new(),
        extras: Vec::new(),
        fields: Vec::new(),
    }
}

/// A machine and a project on it.
pub fn world(rng: &mut Rng) -> World {
    World {
        folder: format!("/home/{}/{}", rng.coined(2), rng.coined(2)),
        person: rng.pick(&["Ann", "Bo", "Olena", "J\u{fc}rgen", "D\u{2019}Arcy", "nobody"]).to_owned(),
        branch: rng.pick(&["main", "dev", "release", "feature/x-1", "fix/it's"]).to_owned(),
        model: rng.pick(&["large", "small", "Large 5.1", "tiny-2"]).to_owned(),
        rules: (0..rng.between(3, 9))
            .map(|_| match rng.below(3) {
                0 => format!("- {}", sentence(rng)),
                1 => format!("We don{}t {} here.", rng.pick(&["'", "\u{2019}"]), rng.pick(VERBS)),
                _ => format!("{} {}, {}", rng.coined(2), rng.coined(2), sentence(rng)),
            })
            .collect(),
    }
}

fn fill(rng: &mut Rng, world: &World, slot: Slot, date: &str) -> String {
    match slot {
        Slot::Folder => world.folder.clone(),
        Slot::Date => date.to_owned(),
        Slot::Branch => world.branch.clone(),
        Slot::Person => world.person.clone(),
        Slot::Version => format!("{}.{}.{}", rng.below(3), rng.below(20), rng.below(9)),
        Slot::Model => world.model.clone(),
        Slot::Rules => world.rules.join("\n"),
        Slot::Status => (0..rng.between(0, 5))
            .map(|_| format!("{} src/{}.rs\n", rng.pick(&[" M", "M ", "MM", "??", "A ", "D "]), rng.pick(NOUNS)))
            .collect(),
    }
}

/// A request of the client on a machine, as it is sent.
pub fn request(rng: &mut Rng, draft: &Draft, world: &World) -> Vec<u8> {
    let date = format!("2026-{:02}-{:02}", rng.between(1, 12), rng.between(1, 28));
    let mut whole = |pieces: &[Piece]| -> String {
        pieces
            .iter()
            .map(|piece| match piece {
                Piece::Fixed(text) => text.clone(),
                Piece::Slot(slot) => fill(rng, world, *slot, &date),
            })
            .collect()
    };
    let system = whole(&draft.system);
    let reminder = format!("<system-reminder>\n{}\n</system-reminder>", whole(&draft.reminder));
    let text = |text: &str| Node::object([("type", Node::text("text")), ("text", Node::text(text))]);
    let names = |list: &[String]| Node::Array(list.iter().map(|name| Node::text(&**name)).collect());
    let schema = |tool: &Tool| Node::object([("type", Node::text("object")), ("required", names(&tool.required))]);
    let says = |tool: &Tool| [("name", Node::text(&*tool.name)), ("description", Node::text(&*tool.says))];
    let mut first = vec![text(&reminder)];
    first.extend(draft.said.iter().map(|said| text(said)));
    let user = Node::object([("role", Node::text("user")), ("content", Node::Array(first))]);
    let (line, mut members) = match draft.shape {
        0 => {
            let tools = draft.tools.iter().map(|tool| {
                let [name, says] = says(tool);
                Node::object([name, says, ("input_schema", schema(tool))])
            });
            let members = vec![
                ("model", Node::text("large-5")),
                ("system", Node::Array(vec![text(&system)])),
                ("messages", Node::Array(vec![user])),
                ("tools", Node::Array(tools.collect())),
            ];
            ("POST /v1/messages", members)
        }
        1 => {
            let tools = draft.tools.iter().map(|tool| {
                let [name, says] = says(tool);
                let function = Node::object([name, says, ("parameters", schema(tool))]);
                Node::object([("type", Node::text("function")), ("function", function)])
            });
            let words = Node::object([("role", Node::text("system")), ("content", Node::text(&*system))]);
            let members = vec![
                ("model", Node::text("coder")),
                ("messages", Node::Array(vec![words, user])),
                ("tools", Node::Array(tools.collect())),
            ];
            ("POST /v1/chat/completions", members)
        }
        _ => {
            let tools = draft.tools.iter().map(|tool| {
                let [name, says] = says(tool);
                Node::object([name, says, ("parameters", schema(tool))])
            });
            let part = |text: &str| Node::Array(vec![Node::object([("text", Node::text(text))])]);
            let said: Vec<&str> = std::iter::once(&*reminder).chain(draft.said.iter().map(|said| &**said)).collect();
            let contents =
                said.into_iter().map(|said| Node::object([("role", Node::text("user")), ("parts", part(said))]));
            let members = vec![
                ("contents", Node::Array(contents.collect())),
                ("systemInstruction", Node::object([("parts", part(&system))])),
                ("tools", Node::Array(vec![Node::object([("functionDeclarations", Node::Array(tools.collect()))])])),
            ];
            ("POST /v1beta/models/pro:generateContent", members)
        }
    };
    let mut members: Vec<(String, Node)> = members.drain(..).map(|(name, value)| (name.to_owned(), value)).collect();
    for (name, value) in &draft.extras {
        members.push((name.clone(), value.clone()));
    }
    let body = compact(&Node::Object(members));
    let mut raw = format!(
        "{line} HTTP/1.1\r\nHost: llm.example.com\r\nUser-Agent: {}\r\nAccept-Encoding: gzip, br, zstd\r\n",
        draft.agent
    );
    draft.fields.iter().for_each(|(name, value)| raw.push_str(&format!("{name}: {value}\r\n")));
    raw.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    raw.into_bytes()
}

type Mark = fn(&mut Rng, &mut Draft) -> Option<&'static [&'static str]>;

const SPACES: &[&str] = &["cov.space", "cov.zero_width", "cov.trailing_ws"];

/// Where `from` stands in the fixed words of the system prompt or a tool.
fn swap(rng: &mut Rng, draft: &mut Draft, from: &str, to: &str) -> bool {
    let mut spots = Vec::new();
    let mut texts: Vec<&mut String> = draft.tools.iter_mut().map(|tool| &mut tool.says).collect();
    // Of sentences and words only the client's own text is asked.
    let whole = matches!(from, "'" | " " | "a");
    // What stands behind a person's file cannot be told from it where there is one project.
    let own = usize::from(whole);
    texts.extend(draft.system.iter_mut().chain(&mut draft.reminder[..own]).filter_map(|piece| match piece {
        Piece::Fixed(text) => Some(text),
        Piece::Slot(_) => None,
    }));
    for (index, text) in texts.iter().enumerate() {
        let whole = |at: usize| {
            let beside = |c: Option<char>| c.is_some_and(char::is_alphabetic);
            let letters = from.starts_with(char::is_alphabetic);
            !letters || !beside(text[..at].chars().next_back()) && !beside(text[at + from.len()..].chars().next())
        };
        spots.extend(text.match_indices(from).filter(|(at, _)| whole(*at)).map(|(at, _)| (index, at)));
    }
    let Some(&(index, at)) = spots.get(rng.below(spots.len())) else { return false };
    texts[index].replace_range(at..at + from.len(), to);
    true
}

/// The fixed piece before or after a slot of the system prompt, with its neighbour.
fn beside(rng: &mut Rng, draft: &mut Draft, before: bool) -> Option<(usize, Slot)> {
    let all: Vec<(usize, Slot)> = draft
        .system
        .iter()
        .enumerate()
        .filter_map(|(at, piece)| match piece {
            // What people wrote ends as they please.
            Piece::Slot(slot) if !matches!(slot, Slot::Rules | Slot::Status) => {
                Some((if before { at - 1 } else { at + 1 }, *slot))
            }
            _ => None,
        })
        .filter(|(at, _)| matches!(draft.system.get(*at), Some(Piece::Fixed(_))))
        .collect();
    all.get(rng.below(all.len())).copied()
}

fn fixed_at(draft: &mut Draft, at: usize) -> &mut String {
    match &mut draft.system[at] {
        Piece::Fixed(text) => text,
        Piece::Slot(_) => panic!("a piece that is fixed"),
    }
}

/// The lines of one list of the system prompt, exchanged by `change`; whether there is one long enough.
fn lines(rng: &mut Rng, draft: &mut Draft, change: impl Fn(&mut Rng, &mut Vec<String>)) -> Option<()> {
    let lists: Vec<usize> = (0..draft.system.len())
        .filter(|&at| matches!(&draft.system[at], Piece::Fixed(text) if text.matches("\n- ").count() >= 3))
        .collect();
    let &at = lists.get(rng.below(lists.len()))?;
    let text = fixed_at(draft, at);
    let mut all: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    let distinct = all.iter().collect::<std::collections::HashSet<_>>().len();
    if distinct < all.len() {
        return None;
    }
    let end = all.pop()?;
    let mut items = all.split_off(1);
    change(rng, &mut items);
    *text = all.concat() + &items.concat() + &end;
    Some(())
}

pub const ANY_WORD: &str = "another word";

pub const MARKS: &[(&str, Mark)] = &[
    ("apostrophe", |rng, draft| swap(rng, draft, "'", "\u{2019}").then_some(&["cov.apostrophe"])),
    ("space", |rng, draft| swap(rng, draft, " ", rng.clone().pick(&["\u{a0}", "  ", "\u{2009}"])).then_some(SPACES)),
    ("letter", |rng, draft| swap(rng, draft, "a", "\u{430}").then_some(&["cov.homoglyph"])),
    ("comma left out", |rng, draft| swap(rng, draft, ", ", " ").then_some(&["cov.word"])),
    ("comma for a word's end", |rng, draft| swap(rng, draft, " and ", ", and ").then_some(&["cov.word"])),
    ("full stop at a line's end", |rng, draft| swap(rng, draft, ".\n", "\n").then_some(&["cov.word"])),
    ("space before a slot", |rng, draft| {
        let (at, _) = beside(rng, draft, true)?;
        let text = fixed_at(draft, at);
        text.pop().filter(|last| *last == ' ')?;
        text.push_str(rng.pick(&["\u{a0}", "  ", "\u{202f}", " \u{200b}"]));
        Some(SPACES)
    }),
    ("space one word before a slot", |rng, draft| {
        let (at, _) = beside(rng, draft, true)?;
        let text = fixed_at(draft, at);
        let last = text.trim_end().rfind(' ')?;
        text.replace_range(last..last + 1, rng.pick(&["\u{a0}", "  ", "\u{202f}", " \u{2060}"]));
        Some(SPACES)
    }),
    ("sign after a slot", |rng, draft| {
        let (at, slot) = beside(rng, draft, false)?;
        let text = fixed_at(draft, at);
        let (from, to, kinds): (_, _, &[&str]) = match slot {
            Slot::Person => ("'", "\u{2019}", &["cov.apostrophe"]),
            Slot::Branch => (" ", "\u{a0}", SPACES),
            Slot::Folder | Slot::Version | Slot::Date if text.starts_with('\n') => ("\n", " \n", SPACES),
            Slot::Date => (", ", ",\u{a0}", SPACES),
            _ => (". ", ".\u{2002}", SPACES),
        };
        text.starts_with(from).then(|| text.replace_range(..from.len(), to))?;
        Some(kinds)
    }),
    ("space one word after a slot", |rng, draft| {
        let (at, _) = beside(rng, draft, false)?;
        let text = fixed_at(draft, at);
        let first = text.char_indices().skip(3).find(|(_, c)| *c == ' ')?.0;
        text.replace_range(first..first + 1, rng.pick(&["\u{a0}", "  ", "\u{202f}"]));
        Some(SPACES)
    }),
    ("spelling of a word", |rng, draft| {
        let (from, to) = *[
            ("colour", "color"),
            ("summarise", "summarize"),
            ("behaviour", "behavior"),
            ("organize", "organise"),
            ("Recognise", "Recognize"),
            ("while", "whilst"),
        ]
        .get(rng.below(6))?;
        swap(rng, draft, from, to).then_some(&["cov.word"])
    }),
    (ANY_WORD, |rng, draft| {
        let &(from, to) = SAME.get(rng.below(SAME.len()))?;
        swap(rng, draft, from, to).then_some(&["cov.word"])
    }),
    ("a capital", |rng, draft| {
        let from = rng.pick(NOUNS);
        swap(rng, draft, from, &(from[..1].to_uppercase() + &from[1..])).then_some(&["cov.word"])
    }),
    ("order of lines", |rng, draft| {
        lines(rng, draft, |rng, lines| {
            let at = rng.below(lines.len() - 1);
            lines.swap(at, at + 1);
        })?;
        Some(&["cov.list_order"])
    }),
    ("a line elsewhere", |rng, draft| {
        lines(rng, draft, |_, lines| lines.rotate_left(1))?;
        Some(&["cov.list_order"])
    }),
    ("order of items", |rng, draft| {
        let from = [rng.pick(NOUNS), rng.pick(NOUNS)];
        let (one, other) = (format!("{}, {}", from[0], from[1]), format!("{}, {}", from[1], from[0]));
        (one != other && swap(rng, draft, &one, &other)).then_some(&["cov.list_order"])
    }),
    ("a line left out", |rng, draft| {
        lines(rng, draft, |rng, lines| drop(lines.remove(rng.below(lines.len()))))?;
        Some(&["cov.presence"])
    }),
    ("a line more", |rng, draft| {
        lines(rng, draft, |rng, lines| {
            let at = rng.between(0, lines.len());
            lines.insert(at, format!("- {} {}.\n", rng.coined(3), sentence(rng)));
        })?;
        Some(&["cov.presence"])
    }),
    ("order of tools", |rng, draft| {
        let at = rng.below(draft.tools.len() - 1);
        draft.tools.swap(at, at + 1);
        Some(&["cov.list_order"])
    }),
    ("order of names", |rng, draft| {
        let at = rng.below(draft.tools.len());
        let names = &mut draft.tools[at].required;
        names.swap(0, 1);
        (names[0] != names[1]).then_some(&["cov.list_order"])
    }),
];

type Change = fn(&mut Rng, &mut Draft, &mut World);

/// What people and settings change, from one request to the next.
pub const CHANGES: &[(&str, Change)] = &[
    ("another machine", |rng, _, other| *other = world(rng)),
    ("another branch", |rng, _, world| world.branch = rng.pick(&["main", "dev", "next", "rewrite"]).to_owned()),
    ("another model", |rng, _, world| world.model = rng.pick(&["medium", "huge", "Large 6", "tiny"]).to_owned()),
    ("a comma in a person's file", |_, _, world| {
        let line = &mut world.rules[0];
        *line = line.replacen(' ', ", ", 1);
    }),
    ("a word in a person's file", |rng, _, world| {
        let at = rng.below(world.rules.len());
        let words: Vec<&str> = world.rules[at].split(' ').collect();
        let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        let which = rng.below(words.len());
        words[which] = rng.coined(2);
        world.rules[at] = words.join(" ");
    }),
    ("lines in a person's file", |rng, _, world| {
        let at = rng.below(world.rules.len() - 1);
        world.rules.swap(at, at + 1);
    }),
    ("a line more in a person's file", |rng, _, world| {
        let at = rng.between(0, world.rules.len());
        world.rules.insert(at, sentence(rng) + ".");
    }),
    ("a line fewer in a person's file", |rng, _, world| {
        let at = rng.below(world.rules.len());
        world.rules.remove(at);
    }),
    ("a tool fewer", |rng, draft, _| {
        let at = rng.below(draft.tools.len());
        draft.tools.remove(at);
    }),
    ("tools of a server", |rng, draft, _| {
        let at = rng.between(0, draft.tools.len());
        let tool = Tool {
            name: format!("mcp__{}", rng.coined(2)),
            says: sentence(rng) + ".",
            required: vec![rng.coined(2), rng.coined(2)],
        };
        draft.tools.insert(at, tool);
    }),
    ("a field more", |rng, draft, _| {
        let (name, value) = *[("metadata", "{}"), ("temperature", "0.7"), ("stream", "true"), ("thinking", "null")]
            .get(rng.below(4))
            .unwrap_or(&("seed", "1"));
        draft.extras.push((name.into(), Node::Bare(value.into())));
    }),
    ("a header more", |rng, draft, _| draft.fields.push((rng.pick(&["X-Retry", "X-Trace"]).into(), rng.hex(8)))),
    ("other words of a person", |rng, draft, _| {
        draft.said = vec![format!("it\u{2019}s {}, {}", sentence(rng), rng.coined(3)), sentence(rng)];
    }),
    ("nothing", |_, _, _| {}),
];

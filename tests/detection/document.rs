//! JSON documents around leaves, written out by hand so that any spelling can be had.

use crate::load::Load;
use crate::random::Rng;

/// A member or element as it is spelled.
#[derive(Clone)]
pub enum Node {
    /// A number, `true`, `null`.
    Bare(String),
    Text(String),
    /// A text with an escape for every character.
    Escaped(String),
    Object(Vec<(String, Node)>),
    Array(Vec<Node>),
}

impl Node {
    pub fn text(text: impl Into<String>) -> Self {
        Node::Text(text.into())
    }

    pub fn object<const N: usize>(members: [(&str, Node); N]) -> Self {
        Node::Object(members.into_iter().map(|(name, node)| (name.to_owned(), node)).collect())
    }

    pub fn of(load: &Load) -> Self {
        match load.escaped {
            true => Node::Escaped(load.text().to_owned()),
            false => Node::Text(load.text().to_owned()),
        }
    }
}

/// A document of some depth that holds every load, and the pointer to each as locations print it.
pub fn json(rng: &mut Rng, loads: &[Load]) -> (String, Vec<String>) {
    let mut pointers = vec![String::new(); loads.len()];
    let all: Vec<usize> = (0..loads.len()).collect();
    let depth = rng.between(0, 4);
    let root = if rng.percent(10) {
        array(rng, loads, &all, depth, "", &mut pointers)
    } else {
        object(rng, loads, &all, depth, "", &mut pointers)
    };
    let style = Style::draw(rng);
    (spell(&root, style), pointers)
}

fn object(rng: &mut Rng, loads: &[Load], held: &[usize], depth: usize, at: &str, pointers: &mut [String]) -> Node {
    let mut members: Vec<(String, Node)> = Vec::new();
    for _ in 0..rng.between(0, 3) {
        let member = filler(rng);
        if members.iter().all(|(name, _)| *name != member.0) {
            members.push(member);
        }
    }
    let mut deeper = Vec::new();
    for &index in held {
        let load = &loads[index];
        // Under its own name here, or further inside.
        if (depth == 0 || rng.percent(25)) && members.iter().all(|(name, _)| *name != load.name) {
            pointers[index] = format!("{at}/{}", escape(&load.name));
            let place = rng.below(members.len() + 1);
            members.insert(place, (load.name.clone(), Node::of(load)));
        } else {
            deeper.push(index);
        }
    }
    if !deeper.is_empty() {
        let mut name = rng.pick(AROUND).to_owned();
        while members.iter().any(|(other, _)| *other == name) {
            name.push('2');
        }
        let inner = format!("{at}/{}", escape(&name));
        let depth = depth.saturating_sub(1);
        let node = if rng.percent(25) {
            array(rng, loads, &deeper, depth, &inner, pointers)
        } else {
            object(rng, loads, &deeper, depth, &inner, pointers)
        };
        let place = rng.below(members.len() + 1);
        members.insert(place, (name, node));
    }
    Node::Object(members)
}

fn array(rng: &mut Rng, loads: &[Load], held: &[usize], depth: usize, at: &str, pointers: &mut [String]) -> Node {
    let mut elements: Vec<Node> = (0..rng.between(0, 2)).map(|_| filler(rng).1).collect();
    let mut deeper = Vec::new();
    for &index in held {
        // An element has no name of its own.
        if !loads[index].needs_name && rng.percent(60) {
            pointers[index] = format!("{at}/{}", elements.len());
            elements.push(Node::of(&loads[index]));
        } else {
            deeper.push(index);
        }
    }
    if !deeper.is_empty() {
        let inner = format!("{at}/{}", elements.len());
        let node = object(rng, loads, &deeper, depth.saturating_sub(1), &inner, pointers);
        elements.push(node);
    }
    elements.extend((0..rng.between(0, 2)).map(|_| filler(rng).1));
    Node::Array(elements)
}

const AROUND: &[&str] = &[
    "properties",
    "attrs",
    "metadata",
    "event",
    "a",
    "items",
    "params",
    "tags",
    "x/y",
    "content",
    "inner~z",
    "meta data",
    "n!1",
    "m@2",
];

/// A member that says nothing about the machine.
pub fn filler(rng: &mut Rng) -> (String, Node) {
    let node = match rng.below(9) {
        0 => Node::Bare(rng.between(100, 99_999).to_string()),
        1 => Node::Bare(format!("{}.{}e{}", rng.between(1, 9), rng.between(10, 99), rng.between(1, 9))),
        2 => Node::Bare(rng.pick(&["true", "false", "null"]).to_owned()),
        3 => Node::text(rng.hex(40)),
        4 => Node::text(rng.uuid()),
        5 => Node::text(prose(rng)),
        6 => Node::Array((0..rng.between(0, 4)).map(|_| Node::Bare(rng.between(0, 99).to_string())).collect()),
        7 => Node::object([("type", Node::text("text")), ("text", Node::text(prose(rng)))]),
        _ => Node::text(rng.pick(&["message", "start", "completed", "gpt-large", "eu-1", "session.end"])),
    };
    let name = rng.pick(&[
        "seq",
        "kind",
        "stream",
        "temperature",
        "event_name",
        "trace",
        "text",
        "scores",
        "flag",
        "hash",
        "duration_ms",
        "model",
    ]);
    (name.to_owned(), node)
}

pub fn prose(rng: &mut Rng) -> String {
    let words = [
        "the", "function", "returns", "a", "list", "of", "every", "open", "request", "and", "closes", "them", "when",
        "nothing", "is", "left", "please", "rename", "this", "variable", "so", "that", "tests", "pass", "größer",
        "naïve", "if", "it's", "empty",
    ];
    (0..rng.between(4, 24)).map(|_| rng.pick(&words)).collect::<Vec<_>>().join(" ")
}

/// A name inside a pointer, as locations print it.
pub fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1").replace('!', "~2").replace('@', "~3")
}

#[derive(Clone, Copy)]
struct Style {
    indent: bool,
    after_colon: bool,
    slashes: bool,
    ascii: bool,
}

impl Style {
    fn draw(rng: &mut Rng) -> Self {
        Self { indent: rng.percent(20), after_colon: rng.percent(30), slashes: rng.percent(10), ascii: rng.percent(20) }
    }
}

/// As most clients write it.
pub fn compact(node: &Node) -> String {
    spell(node, Style { indent: false, after_colon: false, slashes: false, ascii: false })
}

/// With a space after each colon and comma.
pub fn spaced(node: &Node) -> String {
    spell(node, Style { indent: false, after_colon: true, slashes: false, ascii: false })
}

fn spell(node: &Node, style: Style) -> String {
    let mut out = String::new();
    write(node, style, 0, &mut out);
    out
}

fn write(node: &Node, style: Style, depth: usize, out: &mut String) {
    let line = |out: &mut String, depth: usize| {
        if style.indent {
            out.push('\n');
            out.extend(std::iter::repeat_n("  ", depth));
        }
    };
    match node {
        Node::Bare(text) => out.push_str(text),
        Node::Text(text) => quoted(text, style, out),
        Node::Escaped(text) => {
            out.push('"');
            for unit in text.encode_utf16() {
                out.push_str(&format!("\\u{unit:04x}"));
            }
            out.push('"');
        }
        Node::Object(members) => {
            out.push('{');
            for (index, (name, value)) in members.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                line(out, depth + 1);
                quoted(name, style, out);
                out.push_str(if style.after_colon { ": " } else { ":" });
                write(value, style, depth + 1, out);
            }
            line(out, depth);
            out.push('}');
        }
        Node::Array(elements) => {
            out.push('[');
            for (index, value) in elements.iter().enumerate() {
                if index > 0 {
                    out.push_str(if style.after_colon && !style.indent { ", " } else { "," });
                }
                line(out, depth + 1);
                write(value, style, depth + 1, out);
            }
            line(out, depth);
            out.push(']');
        }
    }
}

fn quoted(text: &str, style: Style, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '/' if style.slashes => out.push_str("\\/"),
            c if c < ' ' || c == '\u{7f}' || (style.ascii && !c.is_ascii()) => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04X}"));
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

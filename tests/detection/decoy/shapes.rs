//! Requests of assistants of all kinds that carry what a person or a tool brought.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::carrier::post;
use crate::document::{Node, compact, prose};
use crate::load::compressed;
use crate::random::Rng;

pub fn request(rng: &mut Rng, texts: Vec<String>) -> Vec<u8> {
    match rng.below(14) {
        0 => post(rng, "text/plain; charset=utf-8", "", format!("Summarise:\n\n{}", texts.join("\n\n")).as_bytes()),
        1 => uploaded(rng, texts),
        2 => files_as_parts(rng, &texts),
        3 | 4 => chat(rng, texts),
        5 => responses(rng, texts),
        6 => contents(rng, texts),
        7 => embeddings(rng, texts),
        8 => completion(rng, texts),
        _ => messages(rng, texts),
    }
}

fn json(rng: &mut Rng, root: &Node) -> Vec<u8> {
    post(rng, "application/json", "", compact(root).as_bytes())
}

fn text(text: impl Into<String>) -> Node {
    Node::object([("type", Node::text("text")), ("text", Node::text(text))])
}

fn turn(role: &str, content: Node) -> Node {
    Node::object([("role", Node::text(role)), ("content", content)])
}

fn said(rng: &mut Rng, text: &str) -> String {
    match rng.below(3) {
        0 => format!("{}:\n\n{text}\n", prose(rng)),
        1 => format!("Please look at this.\n```\n{text}\n```\n"),
        _ => text.to_owned(),
    }
}

fn uploaded(rng: &mut Rng, texts: Vec<String>) -> Vec<u8> {
    let file = |(index, text)| {
        Node::object([("path", Node::text(format!("src/file{index}.txt"))), ("content", Node::Text(text))])
    };
    let files: Vec<Node> = texts.into_iter().enumerate().map(file).collect();
    let text = compact(&Node::object([("files", Node::Array(files)), ("dry", Node::Bare("false".into()))]));
    post(rng, "application/json", "content-encoding: gzip\r\n", &compressed("!gzip", text.as_bytes()))
}

fn files_as_parts(rng: &mut Rng, texts: &[String]) -> Vec<u8> {
    let boundary = "----decoy0123456789";
    let mut body = String::new();
    for (index, text) in texts.iter().enumerate() {
        body.push_str(&format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file{index}\"; filename=\"notes{index}.txt\"\r\nContent-Type: text/plain\r\n\r\n{text}\r\n"
        ));
    }
    body.push_str(&format!("--{boundary}--\r\n"));
    post(rng, &format!("multipart/form-data; boundary={boundary}"), "", body.as_bytes())
}

/// Messages as of Anthropic, now and then with an image.
fn messages(rng: &mut Rng, texts: Vec<String>) -> Vec<u8> {
    let mut turns = Vec::new();
    for one in texts {
        let id = format!("toolu_{}", rng.hex(24));
        let said = said(rng, &one);
        if rng.percent(50) {
            let mut parts = vec![text(said)];
            if rng.percent(15) {
                let bytes = [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec(), rng.bytes(900)].concat();
                let source = Node::object([
                    ("type", Node::text("base64")),
                    ("media_type", Node::text("image/png")),
                    ("data", Node::text(STANDARD.encode(bytes))),
                ]);
                parts.push(Node::object([("type", Node::text("image")), ("source", source)]));
            }
            let content = match (parts.len(), parts.pop()) {
                (1, Some(Node::Object(mut members))) => members.pop().map_or_else(|| Node::text(""), |(_, text)| text),
                (_, last) => Node::Array(parts.into_iter().chain(last).collect()),
            };
            turns.push(turn("user", content));
            continue;
        }
        let read = Node::object([
            ("type", Node::text("tool_use")),
            ("id", Node::text(&*id)),
            ("name", Node::text("Read")),
            ("input", Node::object([("limit", Node::Bare("2000".into()))])),
        ]);
        let result = Node::object([
            ("type", Node::text("tool_result")),
            ("tool_use_id", Node::text(id)),
            ("content", Node::Text(said)),
        ]);
        turns.push(turn("assistant", Node::Array(vec![read])));
        turns.push(turn("user", Node::Array(vec![result])));
    }
    let root = Node::object([
        ("model", Node::text("large-1")),
        ("system", Node::text("You are a helpful assistant for code.")),
        ("messages", Node::Array(turns)),
        ("stream", Node::Bare("true".into())),
    ]);
    json(rng, &root)
}

/// Chat completions, results of tools in messages of their own.
fn chat(rng: &mut Rng, texts: Vec<String>) -> Vec<u8> {
    let mut turns = vec![turn("system", Node::text("You help with code. Answer in the language of the question."))];
    for one in texts {
        let said = said(rng, &one);
        match rng.below(3) {
            0 => turns.push(turn("user", Node::Text(said))),
            1 => turns.push(turn("user", Node::Array(vec![text(prose(rng)), text(said)]))),
            _ => {
                let id = format!("call_{}", rng.hex(24));
                let function =
                    Node::object([("name", Node::text("read")), ("arguments", Node::text("{\"limit\":200}"))]);
                let call =
                    Node::object([("id", Node::text(&*id)), ("type", Node::text("function")), ("function", function)]);
                turns.push(Node::object([("role", Node::text("assistant")), ("tool_calls", Node::Array(vec![call]))]));
                turns.push(Node::object([
                    ("role", Node::text("tool")),
                    ("tool_call_id", Node::text(id)),
                    ("content", Node::Text(said)),
                ]));
            }
        }
        turns.push(turn("assistant", Node::Text(prose(rng))));
    }
    let root = Node::object([
        ("model", Node::text("coder-2")),
        ("messages", Node::Array(turns)),
        ("temperature", Node::Bare("0.2".into())),
    ]);
    json(rng, &root)
}

fn responses(rng: &mut Rng, texts: Vec<String>) -> Vec<u8> {
    let mut input = Vec::new();
    for one in texts {
        let said = said(rng, &one);
        input.push(match rng.percent(50) {
            true => {
                let part = Node::object([("type", Node::text("input_text")), ("text", Node::Text(said))]);
                Node::object([
                    ("type", Node::text("message")),
                    ("role", Node::text("user")),
                    ("content", Node::Array(vec![part])),
                ])
            }
            false => Node::object([
                ("type", Node::text("function_call_output")),
                ("call_id", Node::text(format!("call_{}", rng.hex(24)))),
                ("output", Node::Text(said)),
            ]),
        });
    }
    let root = Node::object([
        ("model", Node::text("code-6")),
        ("instructions", Node::text("You are a coding agent. Be brief.")),
        ("input", Node::Array(input)),
        ("store", Node::Bare("false".into())),
    ]);
    json(rng, &root)
}

/// As of Gemini.
fn contents(rng: &mut Rng, texts: Vec<String>) -> Vec<u8> {
    let mut list = Vec::new();
    for one in texts {
        let said = said(rng, &one);
        let part = match rng.percent(50) {
            true => Node::object([("text", Node::Text(said))]),
            false => {
                let response = Node::object([("output", Node::Text(said))]);
                let answer = Node::object([("name", Node::text("read_file")), ("response", response)]);
                Node::object([("functionResponse", answer)])
            }
        };
        list.push(Node::object([("role", Node::text("user")), ("parts", Node::Array(vec![part]))]));
    }
    json(rng, &Node::object([("contents", Node::Array(list))]))
}

fn embeddings(rng: &mut Rng, texts: Vec<String>) -> Vec<u8> {
    let input = texts.into_iter().map(Node::Text).collect();
    json(rng, &Node::object([("model", Node::text("embed-3")), ("input", Node::Array(input))]))
}

/// What stands before and after the cursor, and a file beside it.
fn completion(rng: &mut Rng, texts: Vec<String>) -> Vec<u8> {
    let all = texts.join("\n");
    let cut = (0..=rng.below(all.len() + 1)).rev().find(|&at| all.is_char_boundary(at)).unwrap_or_default();
    let near = Node::object([("path", Node::text("src/near.ts")), ("snippet", Node::Text(prose(rng)))]);
    let root = Node::object([
        ("prompt", Node::text(&all[..cut])),
        ("suffix", Node::text(&all[cut..])),
        ("max_tokens", Node::Bare("64".into())),
        ("extra", Node::object([("snippets", Node::Array(vec![near]))])),
    ]);
    json(rng, &root)
}

//! Requests in which there is nothing to find, full of what looks like it: code, documentation, lock files, lists, other
//! people's machines. Where the machine's own values are words that everybody uses, they stand here as those words.

mod files;
mod lists;
mod strangers;

use crate::carrier::{Sent, post, whole};
use crate::document::{Node, compact, prose};
use crate::load::compressed;
use crate::machine::Known;
use crate::random::Rng;

pub type Decoy = fn(&mut Rng, &[Known]) -> String;

const DECOYS: &[&[(&str, Decoy)]] = &[files::DECOYS, lists::DECOYS, strangers::DECOYS];

/// A request made of decoys.
pub fn request(rng: &mut Rng, facts: &[Known]) -> (Sent, Vec<&'static str>) {
    let all = DECOYS.concat();
    let mut names = Vec::new();
    let mut texts = Vec::new();
    // Mostly alone, so that a row of the table tells about one.
    for _ in 0..*[1, 1, 1, 1, 2, 3].get(rng.below(6)).unwrap_or(&1) {
        let (name, make) = all[rng.below(all.len())];
        names.push(name);
        texts.push(make(rng, facts));
    }
    let raw = match rng.below(8) {
        0 => post(rng, "text/plain; charset=utf-8", "", texts.join("\n\n").as_bytes()),
        1 => {
            let files: Vec<Node> = texts
                .into_iter()
                .enumerate()
                .map(|(index, text)| {
                    Node::object([("path", Node::text(format!("src/file{index}.txt"))), ("content", Node::Text(text))])
                })
                .collect();
            let text = compact(&Node::object([("files", Node::Array(files)), ("dry", Node::Bare("false".into()))]));
            post(rng, "application/json", "content-encoding: gzip\r\n", &compressed("!gzip", text.as_bytes()))
        }
        2 => {
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
        _ => conversation(rng, texts),
    };
    (whole(raw, Vec::new()), names)
}

fn conversation(rng: &mut Rng, texts: Vec<String>) -> Vec<u8> {
    let mut messages = Vec::new();
    for text in texts {
        let id = format!("toolu_{}", rng.hex(24));
        let said = match rng.below(3) {
            0 => format!("{}:\n\n{text}\n", prose(rng)),
            1 => format!("Please look at this.\n```\n{text}\n```\n"),
            _ => text,
        };
        let read = Node::object([
            ("type", Node::text("tool_use")),
            ("id", Node::text(&*id)),
            ("name", Node::text("Read")),
            ("input", Node::object([("limit", Node::Bare("2000".into()))])),
        ]);
        if rng.percent(50) {
            messages.push(Node::object([("role", Node::text("user")), ("content", Node::Text(said))]));
        } else {
            let result = Node::object([
                ("type", Node::text("tool_result")),
                ("tool_use_id", Node::text(id)),
                ("content", Node::Text(said)),
            ]);
            messages.push(Node::object([("role", Node::text("assistant")), ("content", Node::Array(vec![read]))]));
            messages.push(Node::object([("role", Node::text("user")), ("content", Node::Array(vec![result]))]));
        }
    }
    let root = Node::object([
        ("model", Node::text("large-1")),
        ("system", Node::text("You are a helpful assistant for code.")),
        ("messages", Node::Array(messages)),
        ("stream", Node::Bare("true".into())),
    ]);
    post(rng, "application/json", "", compact(&root).as_bytes())
}

fn own<'a>(facts: &'a [Known], kind: &str) -> &'a str {
    facts.iter().find(|known| known.kind == kind).map_or("", |known| &*known.value)
}

//! Whose words a leaf holds.
//!
//! The same line means different things in an assistant's own prompt and in a file that it quotes: the
//! first describes this machine, the second may describe any.

use crate::engine::location::{Location, Root, Step};
use crate::engine::visit::{Leaf, LeafKind};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Region {
    /// Telemetry, settings, headers: written by the client about itself.
    Client,
    /// A system prompt.
    System,
    /// Turns of a conversation: the client's, the person's and the model's words mixed.
    Conversation,
    /// What a tool returned: files, web pages, command output.
    ToolResult,
    /// Declarations of tools.
    Tools,
}

impl Region {
    /// Named members of model requests: Anthropic, OpenAI Chat and Responses, Gemini, and wrappers of them.
    pub fn of(location: &Location) -> Self {
        if matches!(location.root, Root::Header { .. } | Root::Path(_) | Root::Query | Root::Head | Root::Trailer(_)) {
            return Self::Client;
        }
        let Some(pointer) = location.steps.iter().find_map(|step| match step {
            Step::Json(pointer) => Some(&**pointer),
            _ => None,
        }) else {
            return Self::Client;
        };
        Self::of_steps(pointer.split('/').skip(1))
    }

    /// Of the names and numbers that lead to a value of a JSON document.
    pub fn of_steps<'p>(mut steps: impl Iterator<Item = &'p str>) -> Self {
        let mut depth = 0;
        let mut around = "";
        while let Some(step) = steps.next() {
            depth += 1;
            // A wrapper holds a model's request; the variables of a query do not.
            let top = depth == 1 || matches!(around, "request" | "body" | "response" | "payload" | "params");
            around = step;
            match step {
                "system" | "systemInstruction" | "system_instruction" | "instructions" | "developer" => {
                    return Self::System;
                }
                "tools" | "functions" | "tool_choice" | "toolConfig" | "response_format" | "input_schema"
                | "inputSchema" => {
                    // What a search is told of the place of whoever asks (Anthropic, OpenAI; Gemini's `toolConfig`).
                    let placed = |step: &&str| matches!(*step, "user_location" | "userLocation" | "retrievalConfig");
                    let declared = |step: &&str| matches!(*step, "properties" | "input_schema" | "inputSchema");
                    let first = steps.find(|step| placed(step) || declared(step));
                    return if first.is_some_and(|step| placed(&step)) { Self::Client } else { Self::Tools };
                }
                "messages" | "contents" | "conversation" | "history" | "turns" | "documents" | "snippets" | "input"
                | "prompt" | "prefix" | "suffix" | "files"
                    if top || matches!(step, "messages" | "contents") =>
                {
                    let mut contents = 0;
                    let nested = steps.any(|step| {
                        contents += usize::from(step == "content");
                        contents > 1
                            || matches!(
                                step,
                                "output" | "functionResponse" | "function_response" | "tool_result" | "toolResult"
                            )
                    });
                    return if nested { Self::ToolResult } else { Self::Conversation };
                }
                _ if depth >= 3 => break,
                _ => {}
            }
        }
        Self::Client
    }

    /// People, models and files speak here, not the client alone.
    pub fn is_shared(self) -> bool {
        matches!(self, Self::Conversation | Self::ToolResult | Self::Tools)
    }
}

/// Whether a member of a document stands there that was encoded before it was put into another, or of one inside two others:
/// programs write that, not people. What was read into a text, `{"output": "{…}"}`, is a file's.
pub(super) fn is_packed(location: &Location) -> bool {
    let document = |step: &Step| matches!(step, Step::Json(_));
    let Some((last, around)) = location.steps.split_last() else { return false };
    let Some(first) = around.iter().position(document) else { return false };
    let between = &around[first + 1..];
    let compressed = |step: &Step| matches!(step, Step::Gzip | Step::Zlib | Step::Deflate | Step::Br | Step::Zstd);
    if between.iter().chain([last]).any(compressed) {
        return true;
    }
    let plain = |step: &Step| matches!(step, Step::Lines(_) | Step::Window(..)) || holds_text(step);
    document(last) && between.iter().any(|step| !plain(step))
}

/// Whether the member called so is a text that somebody hands on.
fn holds_text(step: &Step) -> bool {
    const NAMES: &[&str] = &[
        "content", "contents", "text", "output", "stdout", "source", "code", "doc", "document", "diff", "patch",
        "snippet",
    ];
    let Step::Json(pointer) = step else { return false };
    pointer.rsplit('/').next().is_some_and(|name| NAMES.contains(&name))
}

/// Whether a document stands there that was put into another as a text, or uploaded: somebody's file.
pub(super) fn is_filed(location: &Location) -> bool {
    let Some((Step::Json(_), around)) = location.steps.split_last() else { return false };
    around.last().is_some_and(|step| holds_text(step) || is_upload(step))
}

/// Whether a leaf is a text of several lines that somebody hands on: a file, a page, an answer. What a client says of itself it
/// says in members.
pub(super) fn is_document(leaf: &Leaf<'_>) -> bool {
    const LINES: usize = 3;
    /// Where the lines are looked for.
    const HEAD: usize = 1024;
    let holds = matches!(
        leaf.kind,
        LeafKind::JsonString | LeafKind::Text | LeafKind::MultipartText | LeafKind::FormValue | LeafKind::PbString
    );
    holds && memchr::memchr_iter(b'\n', &leaf.text[..leaf.text.len().min(HEAD)]).nth(LINES - 1).is_some()
}

/// Whether the text of a file stands there that somebody uploads.
pub(super) fn is_uploaded(location: &Location) -> bool {
    location.steps.last().is_some_and(is_upload)
}

fn is_upload(step: &Step) -> bool {
    let Step::Multipart(part) = step else { return false };
    ["file", "document", "attachment", "upload"].iter().any(|name| part.to_ascii_lowercase().starts_with(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_of_every_api_family_are_told_apart() {
        for (pointer, region) in [
            ("/system/0/text", Region::System),
            ("/systemInstruction/parts/0/text", Region::System),
            ("/request/systemInstruction/parts/0/text", Region::System),
            ("/instructions", Region::System),
            ("/messages/0/content", Region::Conversation),
            ("/messages/0/content/1/text", Region::Conversation),
            ("/messages/2/content/0/content/0/text", Region::ToolResult),
            ("/input/4/output", Region::ToolResult),
            ("/contents/3/parts/0/functionResponse/response/output", Region::ToolResult),
            ("/tools/3/input_schema/properties/timezone/default", Region::Tools),
            ("/tools/0/user_location/timezone", Region::Client),
            ("/tools/1/input_schema/properties/user_location/default", Region::Tools),
            ("/toolConfig/retrievalConfig/latLng/latitude", Region::Client),
            ("/events/0/event_data/env/platform", Region::Client),
            ("/metadata/user_id", Region::Client),
        ] {
            let location = Location { root: Root::Body, steps: vec![Step::Json(pointer.into())] };
            assert_eq!(Region::of(&location), region, "{pointer}");
        }
    }

    #[test]
    fn what_was_encoded_inside_a_document_is_a_program_s() {
        let json = |pointer: &str| Step::Json(pointer.into());
        for (steps, packed) in [
            (vec![json("/messages/0/content"), Step::B64, json("/arch")], true),
            (vec![json("/messages/0/content"), Step::B64, Step::Gzip, json("/arch")], true),
            (vec![json("/messages/0/content"), json("/arch")], false),
            (vec![json("/messages/0/content"), json("/event"), json("/arch")], true),
            (vec![json("/messages/0/content"), Step::B64], false),
            (vec![Step::Gzip, json("/messages/0/content")], false),
        ] {
            assert_eq!(is_packed(&Location { root: Root::Body, steps: steps.clone() }), packed, "{steps:?}");
        }
    }

    #[test]
    fn a_document_that_was_put_into_a_text_is_a_file_s() {
        let json = |pointer: &str| Step::Json(pointer.into());
        let part = |name: &str| Step::Multipart(name.into());
        for (steps, filed) in [
            (vec![json("/params/arguments/content"), json("/timezone")], true),
            (vec![Step::Gzip, json("/input/1/output"), json("/cpu")], true),
            (vec![part("file"), json("/os")], true),
            (vec![part("event"), json("/os")], false),
            (vec![json("/events/0/payload"), json("/timezone")], false),
            (vec![json("/params/arguments/content")], false),
        ] {
            assert_eq!(is_filed(&Location { root: Root::Body, steps: steps.clone() }), filed, "{steps:?}");
        }
    }

    #[test]
    fn several_lines_are_a_document() {
        let target = crate::engine::visit::Target {
            layer: crate::engine::visit::LayerId(0),
            raw: crate::wire::span::Span::of(0..0),
            spelling: crate::engine::visit::Spelling::Raw,
        };
        for (kind, text, document) in [
            (LeafKind::JsonString, "FROM node\nENV TZ=Europe/Vienna\nUSER dev\n", true),
            (LeafKind::JsonString, "zone\nEurope/Vienna", false),
            (LeafKind::Header, "a\nb\nc\nd", false),
        ] {
            let leaf = Leaf { kind, name: "", text: text.as_bytes(), runs: &[], target };
            assert_eq!(is_document(&leaf), document, "{text}");
        }
    }
}

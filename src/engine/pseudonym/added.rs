//! Documents that carry more of a text: what waited when the text ended.

use super::dom::{Dom, Sort};
use super::family::{Family, Id, Part};

impl Family {
    /// What an added document takes over from `data`, the last that went into the text: members as they stand.
    pub(super) fn context(self, data: &[u8], dom: &Dom, out: &mut Vec<u8>) {
        let names: &[&str] = match self {
            Family::Anthropic => &[],
            Family::Chat => &["id", "object", "created", "model", "system_fingerprint"],
            Family::Responses => &["item_id", "output_index", "content_index"],
            Family::Gemini => &["modelVersion", "responseId"],
        };
        out.clear();
        let root = match self {
            Family::Gemini => dom.get(data, 0, "response").unwrap_or(0),
            _ => 0,
        };
        for name in names {
            let Some(node) = dom.get(data, root, name).map(|node| dom.nodes[node]) else { continue };
            let quotes = usize::from(node.sort == Sort::String);
            out.extend_from_slice(format!("\"{name}\":").as_bytes());
            out.extend_from_slice(&data[node.start - quotes..node.end + quotes]);
            out.push(b',');
        }
        if self == Family::Gemini && root != 0 {
            // So that the document is wrapped again.
            out.insert(0, b'!');
        }
    }

    /// The type of an event that carries more of `id`; empty where the family does not name its events.
    pub(super) fn event(self, id: Id) -> &'static str {
        match (self, id.part) {
            (Family::Anthropic, _) => "content_block_delta",
            (Family::Responses, Part::Refusal) => "response.refusal.delta",
            (Family::Responses, Part::Arguments) => "response.function_call_arguments.delta",
            (Family::Responses, Part::Input) => "response.custom_tool_call_input.delta",
            (Family::Responses, Part::McpArguments) => "response.mcp_call_arguments.delta",
            (Family::Responses, Part::Code) => "response.code_interpreter_call_code.delta",
            (Family::Responses, _) => "response.output_text.delta",
            _ => "",
        }
    }

    /// A document that carries `text` (as spelled in a JSON string) of `id`.
    pub(super) fn write(self, id: Id, context: &[u8], text: &[u8], sequence: Option<u64>, out: &mut Vec<u8>) {
        let (context, wrapped) = match context.strip_prefix(b"!") {
            Some(context) => (context, true),
            None => (context, false),
        };
        let (outer, inner) = (id.outer, id.inner);
        let (head, tail) = match (self, id.part) {
            (Family::Anthropic, Part::Arguments) => (
                format!(
                    r#"{{"type":"content_block_delta","index":{outer},"delta":{{"type":"input_json_delta","partial_json":""#
                ),
                "\"}}",
            ),
            (Family::Anthropic, _) => (
                format!(r#"{{"type":"content_block_delta","index":{outer},"delta":{{"type":"text_delta","text":""#),
                "\"}}",
            ),
            (Family::Chat, part) => {
                let delta = match part {
                    Part::Refusal => r#""refusal":""#.to_owned(),
                    Part::Function => r#""function_call":{"arguments":""#.to_owned(),
                    Part::Arguments => format!(r#""tool_calls":[{{"index":{inner},"function":{{"arguments":""#),
                    Part::Input => format!(r#""tool_calls":[{{"index":{inner},"custom":{{"input":""#),
                    _ => r#""content":""#.to_owned(),
                };
                let tail = match part {
                    Part::Function => "\"}},\"finish_reason\":null}]}",
                    Part::Arguments | Part::Input => "\"}}]},\"finish_reason\":null}]}",
                    _ => "\"},\"finish_reason\":null}]}",
                };
                (format!(r#""choices":[{{"index":{outer},"delta":{{{delta}"#), tail)
            }
            (Family::Responses, part) => {
                let text = if part == Part::Text { r#""logprobs":[],"# } else { "" };
                let sequence = sequence.map_or(String::new(), |number| format!(r#""sequence_number":{number},"#));
                (format!(r#"{text}{sequence}"delta":""#), "\"}")
            }
            (Family::Gemini, _) => (
                format!(r#""candidates":[{{"index":{outer},"content":{{"role":"model","parts":[{{"text":""#),
                "\"}]}}]}",
            ),
        };
        if wrapped {
            out.extend_from_slice(b"{\"response\":");
        }
        match self {
            Family::Anthropic => {}
            Family::Responses => {
                out.extend_from_slice(format!(r#"{{"type":"{}","#, self.event(id)).as_bytes());
                out.extend_from_slice(context);
            }
            _ => {
                out.push(b'{');
                out.extend_from_slice(context);
            }
        }
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(text);
        out.extend_from_slice(tail.as_bytes());
        if wrapped {
            out.push(b'}');
        }
    }
}

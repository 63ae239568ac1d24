//! OpenAI Responses: `…/responses` streamed and not, and the same events as WebSocket messages.
//!
//! Shapes: <https://platform.openai.com/docs/api-reference/responses>, `…/responses-streaming`. Over a
//! WebSocket the client sends `{"type":"response.create",…}`; with `"generate":false` it only warms the
//! connection up, and the response ends without any output.

use http::StatusCode;
use serde_json::{Value, json};

use super::answer::{self, CREATED, Content, Reply, event, id, pieces, tool};
use super::chat::{error, error_object};
use super::request::Asked;
use super::skim::Members;

pub fn over_http(asked: &Asked) -> Reply {
    if let Some(missing) = missing(&asked.members) {
        return error(StatusCode::BAD_REQUEST, missing);
    }
    let response = Response::new(asked);
    if asked.members.is_true("stream") {
        answer::events(response.events().iter().map(|data| event(data["type"].as_str(), data)))
    } else {
        answer::json(StatusCode::OK, &response.completed())
    }
}

/// The messages that answer one message of a WebSocket client.
pub fn over_socket(asked: &Asked) -> Vec<Value> {
    let fault = match asked.members.text("type") {
        Some("response.create") => missing(&asked.members),
        Some(_) => Some("Unknown message type; expected 'response.create'."),
        None => Some("Missing required parameter: 'type'."),
    };
    match fault {
        Some(message) => vec![fault_message(StatusCode::BAD_REQUEST, message)],
        None => Response::new(asked).events(),
    }
}

/// An error as a WebSocket message.
pub fn fault_message(status: StatusCode, message: &str) -> Value {
    let mut fault = error_object(status, message);
    fault["type"] = "error".into();
    fault["status"] = status.as_u16().into();
    fault
}

fn missing(members: &Members) -> Option<&'static str> {
    if !members.has("model") {
        Some("Missing required parameter: 'model'.")
    } else if !members.has("input") {
        Some("Missing required parameter: 'input'.")
    } else {
        None
    }
}

/// The function named by `tool_choice`, a document of `text.format`, or the greeting.
fn content(asked: &Asked) -> Content {
    let choice = asked.members.get("tool_choice");
    if let Some(name) = choice.filter(|choice| choice["type"] == "function").and_then(|choice| choice["name"].as_str())
    {
        return Content::call(name, tool(asked, name).and_then(|tool| tool.get("parameters")));
    }
    match asked.members.get("text").and_then(|text| text.get("format")) {
        Some(format) if format["type"] == "json_schema" => Content::text(format.get("schema")),
        Some(format) if format["type"] == "json_object" => Content::text(Some(&json!({"type": "object"}))),
        _ => Content::text(None),
    }
}

struct Response<'a> {
    asked: &'a Asked,
    id: String,
    item: String,
    /// None for a response that only warms up.
    content: Option<Content>,
}

impl<'a> Response<'a> {
    fn new(asked: &'a Asked) -> Self {
        let warming = asked.members.get("generate") == Some(&Value::Bool(false));
        let content = (!warming).then(|| content(asked));
        let item = id(if matches!(content, Some(Content::Call { .. })) { "fc_" } else { "msg_" });
        Self { asked, id: id("resp_"), item, content }
    }

    fn object(&self, status: &str, output: Value, usage: Value) -> Value {
        json!({
            "id": self.id,
            "object": "response",
            "created_at": CREATED,
            "status": status,
            "background": false,
            "error": null,
            "incomplete_details": null,
            "instructions": null,
            "max_output_tokens": null,
            "model": self.asked.model(),
            "output": output,
            "parallel_tool_calls": true,
            "previous_response_id": null,
            "reasoning": {"effort": null, "summary": null},
            "store": false,
            "temperature": 1.0,
            "text": {"format": {"type": "text"}},
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "truncation": "disabled",
            "usage": usage,
            "user": null,
            "metadata": {},
        })
    }

    fn completed(&self) -> Value {
        let input = self.asked.tokens();
        let (output, tokens) = match &self.content {
            Some(content) => (json!([self.item("completed", content, true)]), content.tokens()),
            None => (json!([]), 0),
        };
        let usage = json!({
            "input_tokens": input,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": input.saturating_add(tokens),
        });
        self.object("completed", output, usage)
    }

    /// The one item of the output, empty as it begins and filled as it ends.
    fn item(&self, status: &str, content: &Content, filled: bool) -> Value {
        match content {
            Content::Text(text) => {
                let parts = if filled { json!([part(text)]) } else { json!([]) };
                json!({"id": self.item, "type": "message", "status": status, "role": "assistant", "content": parts})
            }
            Content::Call { name, arguments } => {
                let arguments = if filled { arguments.to_string() } else { String::new() };
                // One call in an answer: its identifier may be the item's.
                let call = self.item.replacen("fc_", "call_", 1);
                json!({"id": self.item, "type": "function_call", "status": status, "call_id": call, "name": name, "arguments": arguments})
            }
        }
    }

    /// All events in order, numbered from 0.
    fn events(&self) -> Vec<Value> {
        let begun = self.object("in_progress", json!([]), Value::Null);
        let mut events = vec![
            json!({"type": "response.created", "response": begun}),
            json!({"type": "response.in_progress", "response": begun}),
        ];
        if let Some(content) = &self.content {
            events.push(json!({"type": "response.output_item.added", "output_index": 0, "item": self.item("in_progress", content, false)}));
            match content {
                Content::Text(text) => self.text(text, &mut events),
                Content::Call { arguments, .. } => {
                    let arguments = arguments.to_string();
                    events.push(json!({"type": "response.function_call_arguments.delta", "item_id": self.item, "output_index": 0, "delta": arguments}));
                    events.push(json!({"type": "response.function_call_arguments.done", "item_id": self.item, "output_index": 0, "arguments": arguments}));
                }
            }
            events.push(json!({"type": "response.output_item.done", "output_index": 0, "item": self.item("completed", content, true)}));
        }
        events.push(json!({"type": "response.completed", "response": self.completed()}));
        for (number, event) in events.iter_mut().enumerate() {
            event["sequence_number"] = number.into();
        }
        events
    }

    fn text(&self, text: &str, events: &mut Vec<Value>) {
        let mut push = |kind: &str, name: &str, value: Value| {
            events
                .push(json!({"type": kind, "item_id": self.item, "output_index": 0, "content_index": 0, name: value}));
        };
        push("response.content_part.added", "part", part(""));
        for piece in pieces(text) {
            push("response.output_text.delta", "delta", piece.into());
        }
        push("response.output_text.done", "text", text.into());
        push("response.content_part.done", "part", part(text));
    }
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

//! OpenAI Chat Completions: `…/chat/completions` streamed and not. DashScope's compatible mode and most
//! gateways speak the same.
//!
//! Shapes: <https://platform.openai.com/docs/api-reference/chat>.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::answer::{self, CREATED, Content, Reply, event, id, pieces, tool};
use super::request::Asked;

pub fn completions(asked: &Asked) -> Reply {
    // Azure names the model in the path.
    if !asked.members.has("model") && !asked.uri.path().contains("/deployments/") {
        return error(StatusCode::BAD_REQUEST, "you must provide a model parameter");
    }
    if !asked.members.has("messages") {
        return error(StatusCode::BAD_REQUEST, "Missing required parameter: 'messages'.");
    }
    let content = content(asked);
    if asked.members.is_true("stream") {
        answer::events(stream(asked, &content))
    } else {
        answer::json(StatusCode::OK, &completion(asked, &content))
    }
}

/// An error as both APIs of OpenAI spell it.
pub fn error(status: StatusCode, message: &str) -> Reply {
    answer::json(status, &error_object(status, message))
}

pub fn error_object(status: StatusCode, message: &str) -> Value {
    let kind = if status.is_server_error() { "server_error" } else { "invalid_request_error" };
    json!({"error": {"message": message, "type": kind, "param": null, "code": null}})
}

/// The function named by `tool_choice`, a document of `response_format`, or the greeting.
fn content(asked: &Asked) -> Content {
    let choice = asked.members.get("tool_choice");
    if let Some(name) = choice.and_then(|choice| choice.pointer("/function/name")).and_then(Value::as_str) {
        return Content::call(name, tool(asked, name).and_then(|tool| tool.pointer("/function/parameters")));
    }
    match asked.members.get("response_format") {
        Some(format) if format["type"] == "json_schema" => Content::text(format.pointer("/json_schema/schema")),
        Some(format) if format["type"] == "json_object" => Content::text(Some(&json!({"type": "object"}))),
        _ => Content::text(None),
    }
}

fn usage(asked: &Asked, content: &Content) -> Value {
    let (prompt, completion) = (asked.tokens(), content.tokens());
    json!({"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt.saturating_add(completion)})
}

fn finish_reason(content: &Content) -> &'static str {
    match content {
        Content::Text(_) => "stop",
        Content::Call { .. } => "tool_calls",
    }
}

fn calls(name: &str, arguments: &Value) -> Value {
    json!([{"index": 0, "id": id("call_"), "type": "function", "function": {"name": name, "arguments": arguments.to_string()}}])
}

fn completion(asked: &Asked, content: &Content) -> Value {
    let message = match content {
        Content::Text(text) => json!({"role": "assistant", "content": text, "refusal": null}),
        Content::Call { name, arguments } => {
            json!({"role": "assistant", "content": null, "refusal": null, "tool_calls": calls(name, arguments)})
        }
    };
    json!({
        "id": id("chatcmpl-"),
        "object": "chat.completion",
        "created": CREATED,
        "model": asked.model(),
        "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason(content)}],
        "usage": usage(asked, content),
        "system_fingerprint": null,
    })
}

fn stream(asked: &Asked, content: &Content) -> Vec<Bytes> {
    let id = id("chatcmpl-");
    let chunk = |choices: Value, usage: Value| {
        let mut chunk = json!({
            "id": id,
            "object": "chat.completion.chunk",
            "created": CREATED,
            "model": asked.model(),
            "system_fingerprint": null,
            "choices": choices,
        });
        if !usage.is_null() {
            chunk["usage"] = usage;
        }
        event(None, &chunk)
    };
    let delta = |delta: Value, finish: Value| {
        chunk(json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]), Value::Null)
    };
    let mut all = Vec::new();
    match content {
        Content::Text(text) => {
            all.push(delta(json!({"role": "assistant", "content": "", "refusal": null}), Value::Null));
            all.extend(pieces(text).map(|piece| delta(json!({"content": piece}), Value::Null)));
        }
        Content::Call { name, arguments } => {
            all.push(delta(
                json!({"role": "assistant", "content": null, "tool_calls": calls(name, arguments)}),
                Value::Null,
            ));
        }
    }
    all.push(delta(json!({}), finish_reason(content).into()));
    if asked.members.get("stream_options").is_some_and(|options| options["include_usage"] == true) {
        all.push(chunk(json!([]), usage(asked, content)));
    }
    all.push(Bytes::from_static(b"data: [DONE]\n\n"));
    all
}

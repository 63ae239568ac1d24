//! Anthropic Messages: `/v1/messages` streamed and not, `/v1/messages/count_tokens`.
//!
//! Shapes: <https://docs.claude.com/en/api/messages>, `…/messages-streaming`, `…/errors`.

use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::answer::{self, Content, Reply, event, id, pieces, tool};
use super::request::Asked;

pub fn messages(asked: &Asked) -> Reply {
    // Vertex names the model in the path and the way of answering in the method.
    let vertex = asked.uri.path().ends_with("awPredict");
    if !vertex && !asked.members.has("model") {
        return error(StatusCode::BAD_REQUEST, "model: Field required");
    }
    if !asked.members.has("messages") {
        return error(StatusCode::BAD_REQUEST, "messages: Field required");
    }
    let content = content(asked);
    let mut reply = if asked.members.is_true("stream") {
        answer::events(stream(asked, &content))
    } else {
        answer::json(StatusCode::OK, &message(asked, vec![block(&content)], stop_reason(&content), content.tokens()))
    };
    identify(&mut reply);
    reply
}

pub fn count_tokens(asked: &Asked) -> Reply {
    if !asked.members.has("messages") {
        return error(StatusCode::BAD_REQUEST, "messages: Field required");
    }
    let mut reply = answer::json(StatusCode::OK, &json!({"input_tokens": asked.tokens()}));
    identify(&mut reply);
    reply
}

pub fn error(status: StatusCode, message: &str) -> Reply {
    let kind = match status {
        StatusCode::NOT_FOUND => "not_found_error",
        StatusCode::PAYLOAD_TOO_LARGE => "request_too_large",
        status if status.is_server_error() => "api_error",
        _ => "invalid_request_error",
    };
    let mut reply = answer::json(status, &json!({"type": "error", "error": {"type": kind, "message": message}}));
    identify(&mut reply);
    reply
}

/// Every answer of the API carries the identifier support asks for.
fn identify(reply: &mut Reply) {
    if let Ok(value) = HeaderValue::from_str(&id("req_")) {
        reply.headers_mut().insert("request-id", value);
    }
}

/// The tool named by `tool_choice`, a document of the schema asked for, or the greeting.
fn content(asked: &Asked) -> Content {
    let choice = asked.members.get("tool_choice");
    if let Some(name) = choice.filter(|choice| choice["type"] == "tool").and_then(|choice| choice["name"].as_str()) {
        return Content::call(name, tool(asked, name).and_then(|tool| tool.get("input_schema")));
    }
    let format = asked.members.get("output_config").and_then(|config| config.get("format"));
    let format = format.or_else(|| asked.members.get("output_format"));
    Content::text(format.and_then(|format| format.get("schema")))
}

fn stop_reason(content: &Content) -> &'static str {
    match content {
        Content::Text(_) => "end_turn",
        Content::Call { .. } => "tool_use",
    }
}

fn block(content: &Content) -> Value {
    match content {
        Content::Text(text) => json!({"type": "text", "text": text}),
        Content::Call { name, arguments } => {
            json!({"type": "tool_use", "id": id("toolu_"), "name": name, "input": arguments})
        }
    }
}

fn message(asked: &Asked, content: Vec<Value>, stop_reason: impl Into<Value>, output_tokens: u64) -> Value {
    json!({
        "id": id("msg_"),
        "type": "message",
        "role": "assistant",
        "model": asked.model(),
        "content": content,
        "stop_reason": stop_reason.into(),
        "stop_sequence": null,
        "usage": {
            "input_tokens": asked.tokens(),
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": output_tokens,
            "service_tier": "standard",
        },
    })
}

fn stream(asked: &Asked, content: &Content) -> Vec<bytes::Bytes> {
    let (opened, deltas): (Value, Vec<Value>) = match content {
        Content::Text(text) => (
            json!({"type": "text", "text": ""}),
            pieces(text).map(|piece| json!({"type": "text_delta", "text": piece})).collect(),
        ),
        Content::Call { name, arguments } => (
            json!({"type": "tool_use", "id": id("toolu_"), "name": name, "input": {}}),
            vec![json!({"type": "input_json_delta", "partial_json": arguments.to_string()})],
        ),
    };
    let mut all = vec![
        json!({"type": "message_start", "message": message(asked, Vec::new(), Value::Null, 1)}),
        json!({"type": "content_block_start", "index": 0, "content_block": opened}),
        json!({"type": "ping"}),
    ];
    all.extend(deltas.into_iter().map(|delta| json!({"type": "content_block_delta", "index": 0, "delta": delta})));
    all.push(json!({"type": "content_block_stop", "index": 0}));
    all.push(json!({
        "type": "message_delta",
        "delta": {"stop_reason": stop_reason(content), "stop_sequence": null},
        "usage": {"output_tokens": content.tokens()},
    }));
    all.push(json!({"type": "message_stop"}));
    all.iter().map(|data| event(data["type"].as_str(), data)).collect()
}

//! Gemini: `:generateContent`, `:streamGenerateContent`, `:countTokens`, of the API, Vertex and Code Assist.
//!
//! Shapes: <https://ai.google.dev/api/generate-content>. A stream is server-sent events with `alt=sse`
//! and one long JSON array without.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::answer::{self, Reply, id, pieces, tokens};
use super::request::Asked;
use super::route::{GeminiCall, GeminiMethod};

pub fn reply(call: &GeminiCall, asked: &Asked) -> Reply {
    // Code Assist wraps the request; counting may wrap it too.
    let inner = asked.members.get("request");
    if !asked.members.has("contents") && !asked.members.has("request") && !asked.members.has("generateContentRequest") {
        return error(StatusCode::BAD_REQUEST, "* GenerateContentRequest.contents: contents is not specified\n");
    }
    if call.method == GeminiMethod::CountTokens {
        return answer::json(StatusCode::OK, &json!({"totalTokens": asked.tokens()}));
    }
    let config = match inner {
        Some(inner) => inner.get("generationConfig"),
        None => asked.members.get("generationConfig"),
    };
    let answer = Answer { call, asked, text: text(config), id: id("") };
    match (call.method, sse(asked)) {
        (GeminiMethod::Stream, true) => {
            // Gemini ends its lines with CRLF, unlike the others.
            let events = answer.pieces().into_iter().map(|piece| Bytes::from(format!("data: {piece}\r\n\r\n")));
            answer::events(events)
        }
        (GeminiMethod::Stream, false) => {
            let pieces = answer.pieces();
            let last = pieces.len().saturating_sub(1);
            let array = pieces.into_iter().enumerate().map(|(n, piece)| {
                let (before, after) = (if n == 0 { "[" } else { "," }, if n == last { "]\n" } else { "\r\n" });
                Bytes::from(format!("{before}{piece}{after}"))
            });
            answer::streamed("application/json; charset=UTF-8", array)
        }
        _ => answer::json(StatusCode::OK, &answer.whole()),
    }
}

pub fn error(status: StatusCode, message: &str) -> Reply {
    let name = match status {
        StatusCode::NOT_FOUND => "NOT_FOUND",
        status if status.is_server_error() => "UNAVAILABLE",
        _ => "INVALID_ARGUMENT",
    };
    answer::json(status, &json!({"error": {"code": status.as_u16(), "message": message, "status": name}}))
}

fn sse(asked: &Asked) -> bool {
    asked.uri.query().unwrap_or_default().split('&').any(|pair| pair == "alt=sse")
}

/// JSON where it is asked for, by schema (both spellings) or only by type; else the greeting.
fn text(config: Option<&Value>) -> String {
    let config = config.unwrap_or(&Value::Null);
    let schema = ["responseSchema", "responseJsonSchema", "_responseJsonSchema"];
    if let Some(schema) = schema.iter().find_map(|name| config.get(*name)) {
        return answer::text(Some(schema));
    }
    match config["responseMimeType"].as_str() {
        Some("application/json") => answer::text(Some(&json!({"type": "object"}))),
        _ => answer::text(None),
    }
}

struct Answer<'a> {
    call: &'a GeminiCall,
    asked: &'a Asked,
    text: String,
    id: String,
}

impl Answer<'_> {
    fn whole(&self) -> Value {
        self.chunk(&self.text, true)
    }

    fn pieces(&self) -> Vec<Value> {
        let pieces: Vec<&str> = pieces(&self.text).collect();
        let last = pieces.len().saturating_sub(1);
        pieces.iter().enumerate().map(|(n, piece)| self.chunk(piece, n == last)).collect()
    }

    fn chunk(&self, text: &str, last: bool) -> Value {
        let (prompt, written) = (self.asked.tokens(), tokens(self.text.len() as u64));
        let mut candidate = json!({"content": {"parts": [{"text": text}], "role": "model"}, "index": 0});
        if last {
            candidate["finishReason"] = "STOP".into();
        }
        let chunk = json!({
            "candidates": [candidate],
            "usageMetadata": {
                "promptTokenCount": prompt,
                "candidatesTokenCount": written,
                "totalTokenCount": prompt.saturating_add(written),
            },
            "modelVersion": self.call.model.as_deref().unwrap_or_else(|| self.asked.model()),
            "responseId": self.id,
        });
        if self.call.wrapped { json!({"response": chunk}) } else { chunk }
    }
}

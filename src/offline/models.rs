//! Lists of models: one entry, since whatever model a client names is answered.

use http::StatusCode;
use http::request::Parts;
use serde_json::{Value, json};

use super::answer::{self, CREATED, Reply};
use super::route::Family;

const MODEL: &str = "divulge-offline";

pub fn reply(head: &Parts, family: Family) -> Reply {
    let path = head.uri.path().trim_end_matches('/');
    let document = match path.rsplit('/').next() {
        // One model by name: it exists.
        Some(name) if name != "models" => model(family, name),
        _ => list(family, path),
    };
    answer::json(StatusCode::OK, &document)
}

fn model(family: Family, name: &str) -> Value {
    match family {
        Family::Anthropic => {
            json!({"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"})
        }
        Family::OpenAi => json!({"id": name, "object": "model", "created": CREATED, "owned_by": "divulge"}),
        Family::Gemini => json!({
            "name": format!("models/{name}"),
            "displayName": name,
            "inputTokenLimit": 1_048_576,
            "outputTokenLimit": 65_536,
            "supportedGenerationMethods": ["generateContent", "countTokens"],
        }),
    }
}

fn list(family: Family, path: &str) -> Value {
    let entry = model(family, MODEL);
    match family {
        Family::Anthropic => json!({"data": [entry], "has_more": false, "first_id": MODEL, "last_id": MODEL}),
        // Codex keeps the list it was built with when this one is empty.
        Family::OpenAi if path.ends_with("/codex/models") => json!({"models": []}),
        Family::OpenAi => json!({"object": "list", "data": [entry]}),
        Family::Gemini => json!({"models": [entry]}),
    }
}

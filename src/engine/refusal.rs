//! The answer to a request that was withheld, in the shape its client can read.

use serde_json::json;

use super::audit::{Refusal, Request};

/// Whose error object a client expects.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ApiShape {
    Anthropic,
    OpenAi,
    Gemini,
    /// gRPC: no body, `grpc-status: 7` (permission denied) in the head or trailers.
    Grpc,
    /// Connect (unary): a JSON error; a stream ends with the same object in its last envelope.
    Connect,
    Plain,
}

impl Refusal {
    /// The shape that the client of `request` reads: by how the request is made, then by where it goes.
    pub fn shape_for(request: &Request) -> ApiShape {
        let head = &request.head;
        let kind = head.get("content-type").unwrap_or_default().to_ascii_lowercase();
        if kind.starts_with(b"application/grpc") {
            return ApiShape::Grpc;
        }
        if kind.starts_with(b"application/connect+") || head.get("connect-protocol-version").is_some() {
            return ApiShape::Connect;
        }
        if head.get("anthropic-version").is_some() {
            return ApiShape::Anthropic;
        }
        if head.get("x-goog-api-key").is_some() || head.get("x-goog-api-client").is_some() {
            return ApiShape::Gemini;
        }
        let path = head.target().split('?').next().unwrap_or_default();
        let ends = |tails: &[&str]| tails.iter().any(|tail| path.ends_with(tail));
        if ends(&["/v1/messages", "/v1/messages/count_tokens", "/v1/complete"]) {
            return ApiShape::Anthropic;
        }
        if ends(&["/chat/completions", "/responses", "/embeddings", "/completions", "/v1/models"]) {
            return ApiShape::OpenAi;
        }
        if path.contains(":generateContent") || path.contains(":streamGenerateContent") || path.contains(":countTokens")
        {
            return ApiShape::Gemini;
        }
        match &*request.host {
            host if belongs(host, "anthropic.com") => ApiShape::Anthropic,
            host if belongs(host, "openai.com") => ApiShape::OpenAi,
            host if belongs(host, "generativelanguage.googleapis.com") => ApiShape::Gemini,
            _ => ApiShape::Plain,
        }
    }

    /// The media type and the body of the answer; the status is 403.
    pub fn body(&self, shape: ApiShape) -> (&'static str, Vec<u8>) {
        let message = &self.message;
        let body = match shape {
            ApiShape::Anthropic => {
                json!({"type": "error", "error": {"type": "permission_error", "message": message}})
            }
            ApiShape::OpenAi => json!({"error": {
                "message": message, "type": "invalid_request_error", "param": null, "code": "divulge_blocked",
            }}),
            ApiShape::Gemini => {
                json!({"error": {"code": 403, "message": message, "status": "PERMISSION_DENIED"}})
            }
            ApiShape::Connect => json!({"code": "permission_denied", "message": message}),
            ApiShape::Grpc => return ("application/grpc", Vec::new()),
            ApiShape::Plain => json!({"error": {"reason": self.reason, "message": message}}),
        };
        ("application/json", body.to_string().into_bytes())
    }
}

/// `host` is `domain` or below it.
fn belongs(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::head::RequestHead;

    fn shape(host: &str, target: &str, fields: &[(&str, &str)]) -> ApiShape {
        let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let head = RequestHead::from_parts("POST", target, fields);
        Refusal::shape_for(&Request { host: host.to_owned(), port: 443, secure: true, head })
    }

    #[test]
    fn the_shape_follows_the_request_wherever_it_goes() {
        use ApiShape::*;
        for (host, target, fields, expected) in [
            ("api.anthropic.com", "/v1/messages?beta=true", &[][..], Anthropic),
            ("gateway.example.com", "/llm", &[("anthropic-version", "2023-06-01")][..], Anthropic),
            ("gateway.example.com", "/openai/v1/chat/completions", &[][..], OpenAi),
            ("api.openai.com", "/v1/files", &[][..], OpenAi),
            ("gateway.example.com", "/v1beta/models/m:streamGenerateContent?alt=sse", &[][..], Gemini),
            ("api.example.com", "/s.S/Run", &[("content-type", "application/connect+proto")][..], Connect),
            ("api.example.com", "/s.S/Run", &[("content-type", "application/grpc+proto")][..], Grpc),
            ("notanthropic.com", "/v1/events", &[][..], Plain),
        ] {
            assert_eq!(shape(host, target, fields), expected, "{host}{target}");
        }
    }

    #[test]
    fn every_body_is_json_that_holds_the_message() {
        let refusal = Refusal { reason: "policy", message: "policy \"strict\" blocks id.device".to_owned() };
        for shape in [ApiShape::Anthropic, ApiShape::OpenAi, ApiShape::Gemini, ApiShape::Connect, ApiShape::Plain] {
            let (kind, body) = refusal.body(shape);
            assert_eq!(kind, "application/json");
            let body: serde_json::Value = serde_json::from_slice(&body).expect("a refusal is JSON");
            assert!(body.to_string().contains("blocks id.device"), "{shape:?}");
        }
    }
}

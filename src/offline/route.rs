//! Which part of the upstream answers a request.
//!
//! By method and path, whatever the host: a base URL of one's own speaks the same API elsewhere, often
//! under a prefix. The host decides only between APIs that share a path.

use http::{HeaderMap, Method, Request, StatusCode, header};

use super::answer::Reply;
use super::request::Asked;
use super::{anthropic, chat, gemini, responses};

/// Whose shapes an answer takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Family {
    Anthropic,
    OpenAi,
    Gemini,
}

impl Family {
    /// An error in this API's shape.
    pub fn error(self, status: StatusCode, message: &str) -> Reply {
        match self {
            Self::Anthropic => anthropic::error(status, message),
            Self::OpenAi => chat::error(status, message),
            Self::Gemini => gemini::error(status, message),
        }
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Route {
    Model(Api),
    Models(Family),
    /// gRPC and Connect streams: their request may stay open until an answer comes.
    Open,
    /// All else: settings, feature switches, telemetry, the unknown.
    Service,
}

/// A call of a model.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Api {
    /// Anthropic Messages, also as Vertex spells it.
    Messages,
    CountTokens,
    /// OpenAI Chat Completions, also DashScope's compatible mode.
    Chat,
    /// OpenAI Responses, over HTTP or as a WebSocket.
    Responses,
    Gemini(GeminiCall),
}

impl Api {
    pub fn reply(&self, asked: &Asked) -> Reply {
        match self {
            Self::Messages => anthropic::messages(asked),
            Self::CountTokens => anthropic::count_tokens(asked),
            Self::Chat => chat::completions(asked),
            Self::Responses => responses::over_http(asked),
            Self::Gemini(call) => gemini::reply(call, asked),
        }
    }

    pub fn family(&self) -> Family {
        match self {
            Self::Messages | Self::CountTokens => Family::Anthropic,
            Self::Chat | Self::Responses => Family::OpenAi,
            Self::Gemini(_) => Family::Gemini,
        }
    }
}

/// One call of the Gemini API: `…/models/<model>:<method>`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GeminiCall {
    /// As the path names it; Code Assist names it in the body.
    pub model: Option<String>,
    pub method: GeminiMethod,
    /// Code Assist (`/v1internal:`) wraps request and response once more.
    pub wrapped: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GeminiMethod {
    Generate,
    Stream,
    CountTokens,
}

pub fn route<B>(request: &Request<B>, host: &str) -> Route {
    let path = request.uri().path().trim_end_matches('/');
    let headers = request.headers();
    if open(headers) {
        return Route::Open;
    }
    let method = request.method();
    if method == Method::POST {
        if path.ends_with("/messages/count_tokens") {
            return Route::Model(Api::CountTokens);
        }
        if path.ends_with("/v1/messages") || (path.ends_with("/messages") && headers.contains_key("anthropic-version"))
        {
            return Route::Model(Api::Messages);
        }
        if path.ends_with("/chat/completions") {
            return Route::Model(Api::Chat);
        }
        if path.ends_with("/responses") {
            return Route::Model(Api::Responses);
        }
        return by_method(path).unwrap_or(Route::Service);
    }
    // A WebSocket begins as GET over HTTP/1.1 and as an extended CONNECT over HTTP/2 (RFC 8441).
    if (method == Method::GET || method == Method::CONNECT) && path.ends_with("/responses") {
        return Route::Model(Api::Responses);
    }
    if method == Method::GET && models(path) {
        return Route::Models(whose_models(path, headers, host));
    }
    Route::Service
}

/// `…/models/<model>:<method>` of Gemini and Vertex, `/v1internal:<method>` of Code Assist.
fn by_method(path: &str) -> Option<Route> {
    let (resource, method) = path.rsplit('/').next()?.rsplit_once(':')?;
    let method = match method {
        // Vertex serves Anthropic's models under its own names of the methods.
        "rawPredict" | "streamRawPredict" => return Some(Route::Model(Api::Messages)),
        "generateContent" => GeminiMethod::Generate,
        "streamGenerateContent" => GeminiMethod::Stream,
        "countTokens" => GeminiMethod::CountTokens,
        _ => return None,
    };
    let wrapped = resource == "v1internal";
    let model = (!wrapped).then(|| resource.to_owned());
    Some(Route::Model(Api::Gemini(GeminiCall { model, method, wrapped })))
}

/// `/v1/models`, `/v1beta/models/x`, `/compatible-mode/v1/models`; `/backend-api/codex/models` is another list.
fn models(path: &str) -> bool {
    let mut from_end = path.rsplit('/');
    let (last, before, earlier) = (from_end.next(), from_end.next(), from_end.next());
    let version = |part: Option<&str>| {
        part.is_some_and(|part| part.starts_with('v') && part[1..].starts_with(|c: char| c.is_ascii_digit()))
    };
    (last == Some("models") && (version(before) || before == Some("codex")))
        || (before == Some("models") && version(earlier))
}

fn whose_models(path: &str, headers: &HeaderMap, host: &str) -> Family {
    if headers.contains_key("anthropic-version") || headers.contains_key("x-api-key") || host.contains("anthropic") {
        Family::Anthropic
    } else if path.contains("/v1beta") || headers.contains_key("x-goog-api-key") || host.ends_with("googleapis.com") {
        Family::Gemini
    } else {
        Family::OpenAi
    }
}

fn open(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.starts_with("application/grpc") || kind.starts_with("application/connect+")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routed(method: &str, path: &str, headers: &[(&str, &str)], host: &str) -> Route {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        route(&request.body(()).unwrap(), host)
    }

    fn gemini(model: Option<&str>, method: GeminiMethod) -> Route {
        Route::Model(Api::Gemini(GeminiCall { model: model.map(str::to_owned), method, wrapped: model.is_none() }))
    }

    #[test]
    fn paths_lead_to_their_api_on_any_host_and_under_any_prefix() {
        let version: &[_] = &[("anthropic-version", "2023-06-01")];
        for (method, path, headers, host, expected) in [
            ("POST", "/v1/messages?beta=true", version, "api.anthropic.com", Route::Model(Api::Messages)),
            ("POST", "/gateway/anthropic/v1/messages", &[][..], "llm.example.com", Route::Model(Api::Messages)),
            ("POST", "/api/messages", version, "llm.example.com", Route::Model(Api::Messages)),
            ("POST", "/api/messages", &[], "chat.example.com", Route::Service),
            ("POST", "/v1/messages/count_tokens", &[], "example.com", Route::Model(Api::CountTokens)),
            (
                "POST",
                "/v1/projects/p/locations/l/publishers/anthropic/models/m:streamRawPredict",
                &[],
                "example.com",
                Route::Model(Api::Messages),
            ),
            ("POST", "/compatible-mode/v1/chat/completions", &[], "dashscope.aliyuncs.com", Route::Model(Api::Chat)),
            (
                "POST",
                "/openai/deployments/d/chat/completions?api-version=1",
                &[],
                "example.com",
                Route::Model(Api::Chat),
            ),
            ("POST", "/backend-api/codex/responses", &[], "chatgpt.com", Route::Model(Api::Responses)),
            ("GET", "/v1/responses", &[], "api.openai.com", Route::Model(Api::Responses)),
            (
                "POST",
                "/v1beta/models/m-1:generateContent",
                &[],
                "example.com",
                gemini(Some("m-1"), GeminiMethod::Generate),
            ),
            (
                "POST",
                "/v1beta/models/m:1:streamGenerateContent?alt=sse",
                &[],
                "example.com",
                gemini(Some("m:1"), GeminiMethod::Stream),
            ),
            ("POST", "/v1internal:countTokens", &[], "example.com", gemini(None, GeminiMethod::CountTokens)),
            ("GET", "/v1/models", &[], "api.openai.com", Route::Models(Family::OpenAi)),
            ("GET", "/v1/models/m", version, "example.com", Route::Models(Family::Anthropic)),
            ("GET", "/v1beta/models/m", &[], "example.com", Route::Models(Family::Gemini)),
            ("GET", "/backend-api/codex/models?client_version=1", &[], "chatgpt.com", Route::Models(Family::OpenAi)),
            ("GET", "/catalog/models", &[], "example.com", Route::Service),
            (
                "POST",
                "/agent.v1.AgentService/Run",
                &[("content-type", "application/connect+proto")],
                "example.com",
                Route::Open,
            ),
            ("POST", "/v1/logs", &[], "example.com", Route::Service),
        ] {
            assert_eq!(routed(method, path, headers, host), expected, "{method} {path} on {host}");
        }
    }
}

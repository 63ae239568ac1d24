//! Everything around the model: settings, feature switches, telemetry, and requests nobody knows.
//!
//! Successes are empty and change nothing: no feature is switched, no policy or setting is granted or
//! taken away. Where an empty success would overwrite what the real provider gave (a cached setting, a
//! token), the answer is instead "not modified" or "try again later".

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::json;

use super::answer::{self, Reply};
use super::route::Family;

/// Which paths an entry answers.
enum Path {
    /// The path ends so.
    End(&'static str),
    /// The path holds this anywhere.
    Part(&'static str),
}

impl Path {
    fn fits(&self, path: &str) -> bool {
        match self {
            Self::End(end) => path.ends_with(end),
            Self::Part(part) => path.contains(part),
        }
    }
}

use Path::{End, Part};

/// Services whose clients look at the answer: path, status, document. The first that fits answers.
const KNOWN: &[(Path, u16, &str)] = &[
    // Anthropic: GrowthBook evaluation, start-up data, organisation switches.
    (
        Part("/api/eval/"),
        200,
        r#"{"status":200,"features":{},"experiments":[],"dateUpdated":"2026-01-01T00:00:00.000Z"}"#,
    ),
    (
        Part("/api/features/"),
        200,
        r#"{"status":200,"features":{},"experiments":[],"dateUpdated":"2026-01-01T00:00:00.000Z"}"#,
    ),
    (End("/api/claude_cli/bootstrap"), 200, r#"{"client_data":{},"additional_model_options":[]}"#),
    // No settings are managed: that is a 404 there.
    (
        End("/api/claude_code/settings"),
        404,
        r#"{"type":"error","error":{"type":"not_found_error","message":"Not found"}}"#,
    ),
    (End("/api/claude_code/policy_limits"), 200, r#"{"restrictions":{}}"#),
    // Kept for a day by the client, so it must not switch on what an organisation switched off.
    (End("/organizations/metrics_enabled"), 200, r#"{"metrics_logging_enabled":false}"#),
    (End("/api/claude_code_penguin_mode"), 200, r#"{"enabled":false,"disabled_reason":null}"#),
    (Part("/mcp-registry/v0/servers"), 200, r#"{"servers":[],"metadata":{"count":0}}"#),
    (Part("/api/directory/servers"), 200, r#"{"servers":[],"next_cursor":null}"#),
    (End("/api/hello"), 200, r#"{"message":"hello"}"#),
    (End("/v1/oauth/hello"), 200, r#"{"message":"hello"}"#),
    // Statsig.
    (End("/v1/rgstr"), 202, r#"{"success":true}"#),
    (End("/v1/log_event"), 202, r#"{"success":true}"#),
    (End("/v1/sdk_exception"), 202, r#"{"success":true}"#),
    (
        End("/v1/initialize"),
        200,
        r#"{"feature_gates":{},"dynamic_configs":{},"layer_configs":{},"sdkParams":{},"has_updates":true,"generator":"divulge-offline","time":0,"hash_used":"djb2"}"#,
    ),
    (Part("/v1/download_config_specs"), 200, r#"{"has_updates":false}"#),
    (Part("/v2/download_config_specs"), 200, r#"{"has_updates":false}"#),
    // Codex: workspace and plug-in lists.
    (End("/backend-api/plugins/list"), 200, r#"{"plugins":[]}"#),
    (End("/backend-api/plugins/featured"), 200, "[]"),
    // Datadog takes logs and RUM with 202.
    (End("/api/v2/logs"), 202, "{}"),
    (End("/api/v2/rum"), 202, "{}"),
    // Sentry, by project.
    (End("/envelope"), 200, r#"{"id":"00000000000000000000000000000000"}"#),
    (End("/store"), 200, r#"{"id":"00000000000000000000000000000000"}"#),
    // Application Insights; Segment; PostHog.
    (End("/v2/track"), 200, r#"{"itemsReceived":1,"itemsAccepted":1,"errors":[]}"#),
    (End("/v2.1/track"), 200, r#"{"itemsReceived":1,"itemsAccepted":1,"errors":[]}"#),
    (End("/v1/batch"), 200, r#"{"success":true}"#),
    (End("/v1/track"), 200, r#"{"success":true}"#),
    (End("/capture"), 200, r#"{"status":1}"#),
];

/// Endpoints that renew credentials. A refusal would log the user out and a made-up token would
/// replace the real one; this is the one answer that leaves both alone.
const TOKENS: &[&str] = &["/oauth/token", "/oauth2/token", "/v1/token", "/oauth2/v4/token", "/jobToken/exchange"];

pub fn reply(head: &Parts, host: &str) -> Reply {
    let path = head.uri.path().trim_end_matches('/');
    let headers = &head.headers;
    let reading = matches!(head.method, Method::GET | Method::HEAD);
    if reading && (headers.contains_key(header::IF_NONE_MATCH) || headers.contains_key(header::IF_MODIFIED_SINCE)) {
        return answer::empty(StatusCode::NOT_MODIFIED);
    }
    if TOKENS.iter().any(|end| path.ends_with(end)) || (host == "oauth2.googleapis.com" && path == "/token") {
        return later();
    }
    // Clearcut answers with an array: the time to the next batch in milliseconds first.
    if path == "/log" && head.uri.query().unwrap_or_default().contains("format=json") {
        return answer::typed(
            StatusCode::OK,
            "application/json; charset=UTF-8",
            Bytes::from_static(b"[\"900000\",null,[]]"),
        );
    }
    if let Some((_, status, document)) = KNOWN.iter().find(|(known, ..)| known.fits(path)) {
        let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::OK);
        return answer::typed(status, "application/json", Bytes::from_static(document.as_bytes()));
    }
    match head.method {
        Method::GET | Method::HEAD if path.ends_with("generate_204") => answer::empty(StatusCode::NO_CONTENT),
        Method::GET | Method::HEAD | Method::CONNECT => not_found(headers),
        Method::OPTIONS => answer::empty(StatusCode::NO_CONTENT),
        // Git over HTTP pushes and fetches by POST, to a repository that is not here.
        _ if path.ends_with("/git-upload-pack") || path.ends_with("/git-receive-pack") => not_found(headers),
        _ => taken(headers),
    }
}

/// An empty success in the form the client sent or asks for.
fn taken(headers: &HeaderMap) -> Reply {
    let sent = text(headers, header::CONTENT_TYPE);
    let asked = text(headers, header::ACCEPT);
    // An empty protobuf message is no bytes at all: all fields at their defaults (OTLP, Connect unary).
    for form in ["application/x-protobuf", "application/protobuf", "application/proto"] {
        if sent.starts_with(form) {
            return answer::typed(StatusCode::OK, form, Bytes::new());
        }
    }
    if asked.contains("json") || sent.contains("json") || asked.is_empty() || asked.contains("*/*") {
        answer::typed(StatusCode::OK, "application/json", Bytes::from_static(b"{}"))
    } else {
        answer::empty(StatusCode::NO_CONTENT)
    }
}

/// 404, as JSON where the client asks for JSON.
pub fn not_found(headers: &HeaderMap) -> Reply {
    let family = if headers.contains_key("anthropic-version") { Family::Anthropic } else { Family::OpenAi };
    if text(headers, header::ACCEPT).contains("json") {
        family.error(StatusCode::NOT_FOUND, "Not found")
    } else {
        answer::typed(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", Bytes::from_static(b"Not found\n"))
    }
}

/// 503 in the shape of OAuth (RFC 6749, 5.2).
fn later() -> Reply {
    let fault = json!({
        "error": "temporarily_unavailable",
        "error_description": "divulge's offline upstream renews no credentials",
    });
    answer::json(StatusCode::SERVICE_UNAVAILABLE, &fault)
}

/// "Not implemented" to a gRPC call or Connect stream, at once: the client may wait for an answer
/// before it ends its request. The rest of the request is left to the connection.
pub fn open_stream(head: &Parts) -> Reply {
    let kind = text(&head.headers, header::CONTENT_TYPE);
    if kind.starts_with("application/connect+") {
        // An end-of-stream envelope (flag 2) with the error inside; the HTTP status of a stream is always 200.
        let fault =
            br#"{"error":{"code":"unimplemented","message":"divulge's offline upstream does not know this call"}}"#;
        let mut envelope = vec![2];
        envelope.extend_from_slice(&u32::try_from(fault.len()).unwrap_or_default().to_be_bytes());
        envelope.extend_from_slice(fault);
        let kind = if kind.starts_with("application/connect+json") {
            "application/connect+json"
        } else {
            "application/connect+proto"
        };
        return answer::typed(StatusCode::OK, kind, Bytes::from(envelope));
    }
    let mut reply = answer::typed(StatusCode::OK, "application/grpc", Bytes::new());
    reply.headers_mut().insert("grpc-status", HeaderValue::from_static("12"));
    reply
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

//! Look-alikes of what `--findings` writes, for the tests of all formats.

use super::Report;
use crate::report::lines::Line;

/// One finding of flow `flow` with `extra` members laid over it.
pub fn finding(flow: &str, extra: serde_json::Value) -> String {
    let line = serde_json::json!({
        "schema": 1, "type": "finding", "time": "2026-11-22T12:00:00.000Z", "session": "s1", "flow": flow,
        "host": "api.example.com", "method": "POST", "path": "/v1/messages", "client": "claude-code",
        "client_version": "2.1.169", "kind": "id.device", "location": "body!json:/metadata/user_id",
        "layers": ["json"], "detector": "rule", "rule": "claude.device-id", "severity": "high", "confidence": 0.95,
        "value": "9f86… (64 bytes)", "value_hmac": "aa11", "action": "log", "replacement": null,
        "part": "body", "span": [10, 74]
    });
    laid_over(line, extra)
}

pub fn flow(flow: &str, extra: serde_json::Value) -> String {
    let line = serde_json::json!({
        "schema": 1, "type": "flow", "time": "2026-11-22T12:00:01.500Z", "session": "s1", "flow": flow,
        "host": "api.example.com", "method": "POST", "path": "/v1/messages", "client": "claude-code",
        "client_version": "2.1.169", "bytes_sent": 1000, "bytes_read": 900,
        "unread": [{"location": "body!json:/blob", "bytes": 100, "reason": "opaque", "entropy": 7.9}],
        "kinds": {"id.device": 1}, "verdict": "forwarded"
    });
    laid_over(line, extra)
}

fn laid_over(mut line: serde_json::Value, extra: serde_json::Value) -> String {
    if let (Some(line), serde_json::Value::Object(extra)) = (line.as_object_mut(), extra) {
        line.extend(extra);
    }
    line.to_string()
}

/// Two hosts, two flows, one of them edited.
pub fn lines() -> Vec<String> {
    let telemetry = serde_json::json!({
        "host": "telemetry.example.net", "kind": "os.kernel", "location": "body!gzip!json:/events/3/env/kernel",
        "severity": "medium", "value": "… (8 bytes)", "value_hmac": "bb22", "path": "/e/12345",
        "rule": null, "detector": "fact", "action": "redact", "replacement": "… (1 bytes)",
        "time": "2026-11-22T12:01:00Z"
    });
    let again = serde_json::json!({"location": "body!gzip!json:/events/9/env/kernel"});
    let merged = |a: &serde_json::Value, b: &serde_json::Value| {
        let mut merged = a.clone();
        if let (Some(into), Some(from)) = (merged.as_object_mut(), b.as_object()) {
            into.extend(from.clone());
        }
        merged
    };
    let edited = serde_json::json!({
        "host": "telemetry.example.net", "path": "/e/12345", "verdict": "edited", "unread": [],
        "bytes_read": 1000, "time": "2026-11-22T12:01:01Z",
        "certificate": {"edits": [
            {"location": "body!gzip!json:/events/3/env/kernel", "old_len": 8, "new_len": 1},
            {"location": "body!gzip!json:/events/9/env/kernel", "old_len": 8, "new_len": 1}
        ], "rest_before": "cc", "rest_after": "cc", "integrity": [], "prefix": null}
    });
    vec![
        finding("f1", serde_json::json!({})),
        flow("f1", serde_json::json!({})),
        finding("f2", telemetry.clone()),
        finding("f2", merged(&telemetry, &again)),
        flow("f2", edited),
    ]
}

pub fn report() -> Report {
    of(&lines())
}

pub fn of(lines: &[String]) -> Report {
    Report::of(lines.iter().map(|line| Line::parse(line)))
}

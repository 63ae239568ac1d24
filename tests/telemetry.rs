//! Whole requests in the shapes of telemetry services: what is found, and where it is said to be.

use std::sync::Arc;

use bytes::Bytes;
use divulge::engine::{DecodeLimits, Engine, EngineParts, Facts, OnError, Part, Policy, Request, RuleSet};
use divulge::wire::head::RequestHead;

fn engine(facts: &[(&str, &str)], policy: &str) -> Arc<Engine> {
    Arc::new(Engine::new(EngineParts {
        rules: RuleSet::builtin(),
        facts: Facts::of(facts.iter().map(|&(kind, value)| (kind.to_owned(), value.to_owned()))),
        policy: Policy::preset(policy).unwrap(),
        digest_key: [7; 32],
        limits: DecodeLimits::default(),
        on_error: OnError::Open,
    }))
}

/// `kind at location` of each finding.
fn found(facts: &[(&str, &str)], fields: &[(&str, &str)], body: &[u8]) -> Vec<String> {
    let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let head = RequestHead::from_parts("POST", "/v1/logs", fields);
    let request = Arc::new(Request { host: "telemetry.example.com".into(), port: 443, secure: true, head });
    let mut flow = engine(facts, "audit").open("1".into(), request);
    let audit = flow.audit(Part::Document(Bytes::copy_from_slice(body)));
    audit.findings.iter().map(|finding| format!("{} at {}", finding.kind, finding.location)).collect()
}

#[track_caller]
fn has(found: &[String], expected: &str) {
    assert!(found.iter().any(|found| found == expected), "no {expected} in {found:#?}");
}

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

/// A protobuf field with a length.
fn pb(number: u8, value: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, value.len() as u8 | 0x80, (value.len() >> 7) as u8], value].concat()
}

#[test]
fn attributes_are_found_by_the_names_beside_them() {
    let body = br#"{"resourceLogs":[{"resource":{"attributes":[
        {"key":"host.name","value":{"stringValue":"ws-17.corp.example"}},
        {"key":"tz_name","value":{"stringValue":"Asia/Shanghai"}},
        {"key":"host.user","value":{"stringValue":"dev"}}]}}]}"#;
    let found = self::found(&[("user.name", "dev")], JSON, body);
    has(&found, "tz.iana at body!json:/resourceLogs/0/resource/attributes/1/value/stringValue");
    has(&found, "user.name at body!json:/resourceLogs/0/resource/attributes/2/value/stringValue");

    let pair = |key: &str, value: &str| pb(1, &[pb(1, key.as_bytes()), pb(2, &pb(1, value.as_bytes()))].concat());
    let attributes = [pair("tz_name", "Asia/Shanghai"), pair("locale", "zh_CN.UTF-8"), pair("user.name", "dev")];
    let body = pb(1, &pb(1, &attributes.concat()));
    let found = self::found(&[("user.name", "dev")], &[("content-type", "application/x-protobuf")], &body);
    has(&found, "tz.iana at body!pb:/1/1/1/2/1");
    has(&found, "locale.posix at body!pb:/1/1/1.1/2/1");
    has(&found, "user.name at body!pb:/1/1/1.2/2/1");
}

#[test]
fn pairs_in_one_value_are_found_under_their_own_names() {
    let body = br#"[{"ddtags":"env:prod,timezone:Asia/Shanghai,user:dev","message":"started"}]"#;
    let found = self::found(&[("user.name", "dev")], JSON, body);
    has(&found, "tz.iana at body!json:/0/ddtags@18-31");
    has(&found, "user.name at body!json:/0/ddtags@37-40");
    let fields = [("x-acme-client", "os=linux; tz=\"Asia/Shanghai\""), ("baggage", "username=dev,session=1")];
    let found = self::found(&[("user.name", "dev")], &fields, b"{}");
    has(&found, "tz.iana at header:/x-acme-client@14-27");
    has(&found, "user.name at header:/baggage@9-12");
}

#[test]
fn the_values_of_batches_and_wrapped_events_are_found() {
    let segment = br#"{"batch":[{"type":"track","context":{"timezone":"Asia/Shanghai","locale":"zh-CN"},"anonymousId":"7c9e6679-7425-40de-944b-e07fc1f90ae7"}]}"#;
    let found = self::found(&[], JSON, segment);
    has(&found, "tz.iana at body!json:/batch/0/context/timezone");
    has(&found, "id.anon at body!json:/batch/0/anonymousId");
    let statsig = br#"{"events":[{"eventName":"start","user":{"userID":"7c9e6679-7425-40de-944b-e07fc1f90ae7","custom":{"timezone":"Asia/Shanghai"}}}],
        "statsigMetadata":{"stableID":"1b4e28ba-2fa1-41d2-883f-0016d3cca427","sessionID":"1b4e28ba-2fa1-41d2-883f-0016d3cca428"}}"#;
    let found = self::found(&[], JSON, statsig);
    has(&found, "tz.iana at body!json:/events/0/user/custom/timezone");
    has(&found, "id.session at body!json:/statsigMetadata/sessionID");
    let sentry = b"{\"event_id\":\"9ec7\"}\n{\"type\":\"event\"}\n{\"server_name\":\"ws17\",\"contexts\":{\"culture\":{\"timezone\":\"Asia/Shanghai\"}}}\n";
    let found = self::found(&[("host.name", "ws17")], &[("content-type", "application/x-sentry-envelope")], sentry);
    has(&found, "host.name at body!lines:/2!json:/server_name");
    has(&found, "tz.iana at body!lines:/2!json:/contexts/culture/timezone");
}

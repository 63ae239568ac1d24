//! The engine as a library: one request in, what it gives away and what may leave out.
//!
//!     cargo run --no-default-features --example engine
//!
//! Nothing here opens a socket or reads the machine: rules, facts and policy are all that the engine knows.

use std::sync::Arc;

use divulge::engine::{
    DecodeLimits, Engine, EngineParts, Facts, OnError, Outgoing, Part, Policy, Request, RuleSet, Verdict,
};
use divulge::wire::head::RequestHead;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // What must not leave unseen. `divulge` collects these from the machine; here they are written down.
    let facts = Facts::parse(
        "facts.json",
        r#"[{"kind": "user.name", "value": "jorinde"},
            {"kind": "net.mac", "value": "00:1b:44:11:3a:b7"},
            {"kind": "tz.iana", "value": "Asia/Shanghai"}]"#,
    )?;
    let engine = Arc::new(Engine::new(EngineParts {
        rules: RuleSet::builtin(),
        facts,
        policy: Policy::preset("balanced").ok_or("no such policy")?,
        // Links equal values and draws their stand-ins: random, and kept, in earnest.
        digest_key: [7; 32],
        limits: DecodeLimits::default(),
        on_error: OnError::Closed,
    }));

    // The zone stands in base64, and the machine id is a digest of the network card's address.
    let body = r#"{"event":"start","ctx":"eyJ0eiI6IkFzaWEvU2hhbmdoYWkiLCJjd2QiOiIvaG9tZS9qb3JpbmRlL3NyYyJ9","machineId":"f2258f67f0af67f122a6299e2f867ebeb96c8049ec4a68ca6650f84d46eef298"}"#;
    let length = body.len().to_string();
    let fields = [("host", "telemetry.example.com"), ("content-type", "application/json"), ("content-length", &length)];
    let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let head = RequestHead::from_parts("POST", "/v1/events", fields);
    let request = Arc::new(Request { host: "telemetry.example.com".into(), port: 443, secure: true, head });

    // A body that stays open is audited frame by frame (`Part::Frame`); this one is whole.
    let mut flow = engine.open("1".to_owned(), request);
    let audit = flow.audit(Part::Document(body.into()));
    for finding in &audit.findings {
        println!(
            "{:<14} {:<42} {:<10} {:.2} {}",
            finding.kind,
            finding.location.to_string(),
            finding.detector.name(),
            finding.confidence,
            finding.action.name(),
        );
    }
    println!("read {} of {} bytes", audit.bytes_read, audit.bytes_sent);
    if let Outgoing::Rewritten(rewritten) = &audit.outgoing {
        println!("leaves as {}", String::from_utf8_lossy(&rewritten.payload));
    }
    let summary = flow.close();
    assert_eq!(summary.verdict, Verdict::Edited);
    Ok(())
}

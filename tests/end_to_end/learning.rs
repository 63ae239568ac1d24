//! What `divulge serve` learns of clients: kept from one run to the next, and compared with.

use std::path::PathBuf;

use crate::common::{Authority, Divulge, Route, Upstream, bounded};

const SYSTEM: &str =
    "You are a helper. Don't guess; it's the user's project. Say what isn't known, and what you can't do.";

/// One request of an invented client.
async fn send(divulge: &Divulge, roots: PathBuf, system: &str, asked: &str) {
    let body = serde_json::json!({"model": "m-1", "system": system, "messages": [{"role": "user", "content": asked}]});
    let body = body.to_string();
    let mut client = Route::through(divulge).trusting(roots).http1().await;
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: examplecoder/1.2.3\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    client.send(format!("{head}{body}")).await;
    assert_eq!(client.response().await.status, 200);
}

#[test]
fn what_one_run_learned_the_next_one_compares_with() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let mut first = Divulge::before(&authority, upstream.address).await;
        for asked in ["fix it", "it\u{2019}s broken", "why?"] {
            send(&first, first.ca_file(), SYSTEM, asked).await;
        }
        assert!(first.terminate().await.success(), "{}", first.errors());
        let kept = std::fs::read_to_string(first.state().join("templates.json")).expect("what was learned is kept");
        assert!(!kept.contains("helper") && !kept.contains("broken"), "text is kept: {kept}");

        let again = Divulge::serve().intercept("all").trusting(&authority).to(upstream.address);
        let again = again.state(&first.state()).start().await;
        send(&again, first.ca_file(), &SYSTEM.replacen("isn't", "isn\u{2019}t", 1), "go on").await;
        let mark = again.wait_for("the apostrophe", |line| line["detector"] == "template").await;
        assert_eq!(
            (mark["kind"].as_str(), mark["confidence"].as_f64(), mark["bits"].as_f64()),
            (Some("cov.apostrophe"), Some(0.9), Some(3.0)),
            "{mark}"
        );
    });
}

#[test]
fn a_damaged_file_is_a_warning_and_the_proxy_serves() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let mut first = Divulge::before(&authority, upstream.address).await;
        first.terminate().await;
        std::fs::write(first.state().join("templates.json"), "{\"format\":1,").expect("the file can be written");
        let again = Divulge::serve().intercept("all").trusting(&authority).to(upstream.address);
        let again = again.state(&first.state()).start().await;
        again.wait_for_error("learning starts anew").await;
        send(&again, first.ca_file(), SYSTEM, "fix it").await;
    });
}

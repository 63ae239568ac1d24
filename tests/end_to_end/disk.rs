//! A session on a disk that fills up: what is lost is counted and shown, and writing goes on when there is room.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::common::{Authority, Divulge, HOST, Route, Upstream, bounded};

/// Whether file systems can be mounted here, in a namespace.
fn namespaces() -> bool {
    let probe = "mount -t tmpfs tmpfs /mnt";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", probe]).stderr(Stdio::null());
    let can = command.status().is_ok_and(|status| status.success());
    if !can {
        eprintln!("left out: no mount namespace can be made here");
    }
    can
}

async fn ask(divulge: &Divulge, bytes: usize) -> (u16, Option<String>) {
    let mut client = Route::through(divulge).http1().await;
    // Does not compress to nothing.
    let mut state = bytes as u64 + 1;
    let noise = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'a' + (state >> 33) as u8 % 26)
    };
    let body: String = (0..bytes).map(noise).collect();
    let head =
        format!("POST /v1/x HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: text/plain\r\nContent-Length: {bytes}\r\n\r\n");
    client.send(head + &body).await;
    let response = client.response().await;
    (response.status, response.field("x-divulge-block"))
}

/// A proxy that records on a disk of 512 KiB, and a file that fills it.
async fn recording(authority: &Authority, upstream: &Upstream, more: &[&str]) -> (Divulge, PathBuf) {
    let mut serve = Divulge::serve().intercept("all").trusting(authority).to(upstream.address).facts(&[]);
    let disk = serve.beside("disk");
    serve = serve.small_disk("disk", 512);
    serve = serve.arg("--record-bodies=full").arg(format!("--record={}", disk.join("a.session").display()));
    for argument in more {
        serve = serve.arg(*argument);
    }
    let divulge = serve.start().await;
    // Its own view of the disk.
    let seen = PathBuf::from(format!("/proc/{}/root{}", divulge.pid(), disk.display()));
    (divulge, seen)
}

#[test]
fn a_full_disk_costs_records_and_no_request_and_has_room_again() {
    if !namespaces() {
        return;
    }
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let (mut divulge, disk) = recording(&authority, &upstream, &[]).await;
        assert_eq!(ask(&divulge, 1000).await.0, 200);
        std::fs::write(disk.join("ballast"), vec![1; 400_000]).unwrap();
        // More than is left: each passes all the same.
        for bytes in [200_000, 200_001] {
            assert_eq!(ask(&divulge, bytes).await.0, 200);
        }
        divulge.wait_for_error("the session cannot be written").await;
        std::fs::remove_file(disk.join("ballast")).unwrap();
        assert_eq!(ask(&divulge, 1001).await.0, 200);
        divulge.wait_for_error("the session is written again").await;
        let kept = disk.join("a.session");
        let copy = divulge.folder.path().join("copy.session");
        divulge.wait_for("the last flow", |line| line["flow"] == "000004" && line["type"] == "flow").await;
        std::fs::copy(&kept, &copy).unwrap();
        // Records are missing: the audit is not complete, and says so.
        assert_eq!(divulge.terminate().await.code(), Some(3), "{}", divulge.errors());
        assert!(divulge.errors().contains("records were dropped"), "{}", divulge.errors());

        let mut reader = divulge::session::store::SessionReader::open(std::fs::File::open(copy).unwrap()).unwrap();
        assert_eq!(reader.scan.damage, None, "no half of a record is left");
        let at = reader.ids().position(|id| id == "000004").expect("what came after it is kept");
        let (exchange, damages) = reader.exchange(at).unwrap();
        assert_eq!((exchange.request.body.len(), damages), (1001, Vec::new()));
    });
}

#[test]
fn a_gateway_may_refuse_what_it_cannot_record() {
    if !namespaces() {
        return;
    }
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let (divulge, disk) = recording(&authority, &upstream, &["--record-required"]).await;
        assert_eq!(ask(&divulge, 1000).await.0, 200);
        std::fs::write(disk.join("ballast"), vec![1; 490_000]).unwrap();
        // The one that finds the disk full was let pass before that was known.
        ask(&divulge, 200_000).await;
        divulge.wait_for_error("the session cannot be written").await;
        let before = upstream.log.requests().len();
        assert_eq!(ask(&divulge, 60_000).await, (403, Some("recording".to_owned())));
        assert_eq!(upstream.log.requests().len(), before, "nothing left");
        std::fs::remove_file(disk.join("ballast")).unwrap();
        // What is recorded of a refusal shows that there is room.
        ask(&divulge, 10).await;
        divulge.wait_for_error("the session is written again").await;
        assert_eq!(ask(&divulge, 1000).await.0, 200);
    });
}

//! The CA's key: where it lies, and where it must not.

use base64::Engine;

use crate::common::divulge::{self, run};
use crate::common::{Authority, Divulge, HOST, Route, Upstream, bounded, show};

/// Spellings of the private half of a key file: its own lines, and the secret number in hex and base64.
fn spellings(pem: &str) -> Vec<Vec<u8>> {
    let (_, key) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
    // The secret number of P-256 in PKCS#8: an OCTET STRING of 32 bytes behind `INTEGER 1`.
    let at = key.contents.windows(5).position(|bytes| bytes == [2, 1, 1, 4, 32]).expect("a P-256 key") + 5;
    let secret = &key.contents[at..at + 32];
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let base64 = base64::engine::general_purpose::STANDARD_NO_PAD.encode(secret);
    let mut all: Vec<Vec<u8>> =
        pem.lines().filter(|line| line.len() == 64).map(|line| line.as_bytes().to_vec()).collect();
    all.extend([secret.to_vec(), hex.to_ascii_uppercase().into_bytes(), hex.into_bytes(), base64.into_bytes()]);
    all
}

/// All files under `folder` that hold one of the `spellings`.
fn holders(folder: &std::path::Path, spellings: &[Vec<u8>]) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holders(&path, spellings));
        } else if let Ok(bytes) = std::fs::read(&path)
            && spellings.iter().any(|secret| memchr::memmem::find(&bytes, secret).is_some())
        {
            found.push(path);
        }
    }
    found
}

#[test]
fn the_key_lies_in_its_file_and_nowhere_else() {
    bounded(async {
        let authority = Authority::new();
        let upstream = Upstream::recording(&authority).await;
        let mut divulge = Divulge::serve()
            .intercept("all")
            .trusting(&authority)
            .to(upstream.address)
            .arg("--reveal")
            .arg("--log-format=json")
            .variable("DIVULGE_LOG", "trace")
            .start()
            .await;
        let mut client = Route::through(&divulge).http1().await;
        client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        assert_eq!(client.response().await.status, 200);
        let state = format!("--state={}", divulge.state().display());
        let mut said = String::new();
        for command in [&["ca", "show", &state][..], &["ca", "export", &state]] {
            let ended = run(command).await;
            assert_eq!(ended.code, Some(0), "{}", ended.err);
            said.push_str(&ended.out);
            said.push_str(&ended.err);
        }
        divulge.terminate().await;
        said.push_str(&divulge.errors());
        let key = divulge.state().join("ca.key");
        let spellings = spellings(&std::fs::read_to_string(&key).unwrap());
        assert_eq!(holders(divulge.folder.path(), &spellings), [key]);
        for secret in spellings {
            assert!(memchr::memmem::find(said.as_bytes(), &secret).is_none(), "told: {}", show(&secret));
        }
    });
}

#[test]
fn rotation_and_removal_leave_nothing_of_the_old_key() {
    bounded(async {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let option = format!("--state={}", state.display());
        let key = state.join("ca.key");
        assert_eq!(run(&["ca", "init", &option]).await.code, Some(0));
        let old = spellings(&std::fs::read_to_string(&key).unwrap());
        let old_certificate = std::fs::read(state.join("ca.pem")).unwrap();
        let rotated = run(&["ca", "rotate", &option]).await;
        assert_eq!(rotated.code, Some(0), "{}", rotated.err);
        assert_eq!(holders(folder.path(), &old), Vec::<std::path::PathBuf>::new());
        assert_ne!(std::fs::read(state.join("ca.pem")).unwrap(), old_certificate);
        let new = spellings(&std::fs::read_to_string(&key).unwrap());
        let removed = run(&["ca", "uninstall", "--delete", "--only=browsers", &option]).await;
        assert_eq!(removed.code, Some(0), "{}{}", removed.out, removed.err);
        assert_eq!(holders(folder.path(), &new), Vec::<std::path::PathBuf>::new());
        let left: Vec<_> = std::fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.is_empty(), "{left:?}");
    });
}

#[test]
#[cfg(target_os = "linux")]
fn a_crash_leaves_no_core_dump() {
    use std::os::unix::process::ExitStatusExt;
    bounded(async {
        let folder = tempfile::tempdir().unwrap();
        let script = |body: &str| {
            let mut command = tokio::process::Command::new("sh");
            command.args(["-c", &format!("ulimit -c unlimited 2>/dev/null; {body}"), divulge::BINARY]);
            command.current_dir(folder.path()).env("HOME", folder.path()).kill_on_drop(true);
            command
        };
        let control = script("kill -ABRT $$").status().await.unwrap();
        if !control.core_dumped() {
            eprintln!("this system makes no core dumps");
            return;
        }
        for command in [
            "exec \"$0\" run --quiet -- sh -c 'kill -ABRT $PPID'",
            "\"$0\" serve --listen=127.0.0.1:0 --state=state > out & until grep -q listening out; do sleep 0.1; done; kill -ABRT $!; wait $!",
        ] {
            for entry in std::fs::read_dir(folder.path()).unwrap() {
                let path = entry.unwrap().path();
                if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("core")) {
                    std::fs::remove_file(path).unwrap();
                }
            }
            let status = script(command).status().await.unwrap();
            let aborted = status.signal() == Some(6) || status.code() == Some(128 + 6);
            assert!(aborted && !status.core_dumped(), "{command}: {status}");
            let cores: Vec<_> = std::fs::read_dir(folder.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .filter(|name| name.to_string_lossy().starts_with("core"))
                .collect();
            assert!(cores.is_empty(), "{command}: {cores:?}");
        }
    });
}

use std::io::Write;

use super::*;
use crate::session::flow::{Exchange, Message};
use crate::session::store::{SessionReader, SessionWriter};

struct Written {
    folder: tempfile::TempDir,
    writer: SessionWriter,
    flows: usize,
}

impl Written {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (writer, first) = SessionWriter::begin(&About { bodies: "full".into(), ..About::default() });
        std::fs::write(folder.path().join("a.session"), first).unwrap();
        Self { folder, writer, flows: 0 }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("a.session")
    }

    fn append(&mut self, bytes: &[u8]) {
        OpenOptions::new().append(true).open(self.path()).unwrap().write_all(bytes).unwrap();
    }

    /// One flow to `host` in which `kind` was found with the digest `value`.
    fn flow(&mut self, host: &str, kind: &str, value: &str) {
        self.flows += 1;
        let id = format!("{:06}", self.flows);
        let head = format!("POST /v1/{} HTTP/1.1\r\nHost: {host}\r\n\r\n", self.flows);
        let exchange = Exchange {
            id: id.clone(),
            started: Some(1000 * self.flows as u64),
            host: host.into(),
            request: Message { head: head.into(), body: format!("body {id}").into(), ..Message::default() },
            ..Exchange::default()
        };
        let lines = [
            serde_json::json!({"flow": id, "host": host, "kind": kind, "value_hmac": value, "location": "body"}),
            serde_json::json!({"type": "flow", "flow": id, "host": host, "method": "POST", "path": "/v1", "verdict": "forwarded", "bytes_sent": 11}),
        ];
        let lines = lines.iter().map(Value::to_string).collect();
        let bytes =
            [self.writer.request(&exchange), self.writer.lines(&id, lines), self.writer.end(&exchange)].concat();
        self.append(&bytes);
    }

    fn found(&self, query: &Query) -> Vec<String> {
        let mut flows = Vec::new();
        let index = Index::of(&self.path()).unwrap();
        let each = &mut |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap();
            flows.push(format!("{} {}", line["flow"].as_str().unwrap(), line["kind"].as_str().unwrap()));
        };
        index.findings(query, each).unwrap();
        flows
    }

    /// The index says of every flow what the session says.
    fn assert_agrees(&self) {
        let mut scanned = SessionReader::open(File::open(self.path()).unwrap()).unwrap();
        let scan = std::sync::Arc::new(Index::of(&self.path()).unwrap().scan().unwrap());
        let mut looked_up = SessionReader::with(File::open(self.path()).unwrap(), scan, 1 << 20);
        assert_eq!(scanned.len(), looked_up.len());
        for at in 0..scanned.len() {
            let (one, other) = (scanned.exchange(at).unwrap(), looked_up.exchange(at).unwrap());
            assert_eq!(one, other);
        }
        assert_eq!(scanned.scan.chain(), looked_up.scan.chain());
        assert_eq!(scanned.scan.damage, looked_up.scan.damage);
    }
}

fn by_value(value: &str) -> Query {
    Query { values: vec![value.to_owned()], ..Query::default() }
}

fn by_kind(glob: &str) -> Query {
    Query { kind: Some(glob.to_owned()), ..Query::default() }
}

#[test]
fn findings_are_looked_up_by_value_kind_and_host_as_the_session_grows() {
    let mut session = Written::new();
    session.flow("a.example.com", "host.fqdn", "one");
    session.flow("b.example.com", "id.device", "two");
    assert_eq!(session.found(&by_value("one")), ["000001 host.fqdn"]);
    session.flow("a.example.com", "id.install", "one");
    assert_eq!(session.found(&by_value("one")), ["000001 host.fqdn", "000003 id.install"]);
    assert_eq!(session.found(&by_kind("id.*")), ["000002 id.device", "000003 id.install"]);
    let host = Query { host: Some("b.*".into()), ..Query::default() };
    assert_eq!(session.found(&host), ["000002 id.device"]);
    assert_eq!(session.found(&by_kind("tz.*")), [""; 0]);
    let flows = Index::of(&session.path()).unwrap().flows(&by_kind("id.*")).unwrap();
    let said: Vec<_> = flows.iter().map(|flow| (flow.index, &*flow.host, &*flow.verdict, flow.bytes_sent)).collect();
    assert_eq!(said, [(1, "b.example.com", "forwarded", 11), (2, "a.example.com", "forwarded", 11)]);
    session.assert_agrees();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(path_of(&session.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "its owner's alone");
    }
}

#[test]
fn a_damaged_or_foreign_or_stale_index_never_answers() {
    let mut session = Written::new();
    for number in 0..40 {
        session.flow("a.example.com", "host.fqdn", &format!("value {number}"));
    }
    assert_eq!(session.found(&by_value("value 7")), ["000008 host.fqdn"]);
    let index = path_of(&session.path());
    let sound = std::fs::read(&index).unwrap();

    // Pages overwritten, the end cut off, an older layout: built anew.
    let mut torn = sound.clone();
    torn[4096..12_288].fill(0xff);
    std::fs::write(&index, &torn).unwrap();
    assert_eq!(session.found(&by_value("value 7")), ["000008 host.fqdn"]);
    std::fs::write(&index, &sound[..sound.len() / 2]).unwrap();
    assert_eq!(session.found(&by_value("value 7")), ["000008 host.fqdn"]);
    Connection::open(&index).unwrap().pragma_update(None, "user_version", 0).unwrap();
    assert_eq!(session.found(&by_value("value 7")), ["000008 host.fqdn"]);
    session.assert_agrees();

    // Of another session, which stands under the same name now.
    let mut other = Written::new();
    other.flow("c.example.com", "id.device", "value 7");
    std::fs::copy(other.path(), session.path()).unwrap();
    assert_eq!(session.found(&by_value("value 7")), ["000001 id.device"]);
    session.assert_agrees();

    // What is not ours is left as it is, and the answer is right all the same.
    for foreign in [b"a diary".to_vec(), {
        let mut other = sound.clone();
        other[68..72].fill(0);
        other
    }] {
        std::fs::write(&index, &foreign).unwrap();
        assert_eq!(session.found(&by_value("value 7")), ["000001 id.device"]);
        assert!(std::fs::read(&index).unwrap() == foreign, "it was written into");
    }
}

#[test]
fn a_torn_session_is_indexed_up_to_its_tear_and_on_from_there() {
    let mut session = Written::new();
    session.flow("a.example.com", "host.fqdn", "one");
    let whole = std::fs::metadata(session.path()).unwrap().len();
    session.flow("a.example.com", "host.fqdn", "one");
    let all = std::fs::read(session.path()).unwrap();
    std::fs::write(session.path(), &all[..whole as usize + 9]).unwrap();
    assert_eq!(session.found(&by_value("one")).len(), 1);
    let damage = Index::of(&session.path()).unwrap().damage().unwrap().unwrap();
    assert_eq!(damage.offset, whole);
    session.assert_agrees();
    std::fs::write(session.path(), &all).unwrap();
    assert_eq!(session.found(&by_value("one")).len(), 2);
    assert_eq!(Index::of(&session.path()).unwrap().damage().unwrap(), None);
    session.assert_agrees();
}

#[test]
fn what_requests_ask_is_noted_until_the_session_grows() {
    let mut session = Written::new();
    session.flow("a.example.com", "host.fqdn", "one");
    let list = vec![Question {
        index: 0,
        method: "POST".into(),
        host: "a.example.com".into(),
        path: "/v1/1".into(),
        exactly: [1; 32],
        asked: [2; 32],
    }];
    let mut index = Index::of(&session.path()).unwrap();
    assert_eq!(index.questions().unwrap(), None);
    index.note_questions(&list).unwrap();
    drop(index);
    assert_eq!(Index::of(&session.path()).unwrap().questions().unwrap(), Some(list));
    session.flow("a.example.com", "host.fqdn", "two");
    assert_eq!(Index::of(&session.path()).unwrap().questions().unwrap(), None);
}

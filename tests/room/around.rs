//! Clients that know nothing of a proxy: all that they send is met, named and counted.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use divulge::room::Way;
use serde_json::Value;

use super::{built, divulge, plan, printed, runtime, shell};

/// What `divulge run --sealed --offline` said of one command.
struct Run {
    printed: String,
    told: String,
    lines: Vec<Value>,
}

impl Run {
    fn of(command: &[&str]) -> Self {
        Self::by(Command::new(divulge()), command)
    }

    /// `start` is divulge, or what starts it.
    fn by(mut start: Command, command: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let output = start
            .args(["run", "--sealed", "--offline", "--findings", "/dev/stderr", "--state"])
            .arg(folder.path())
            .arg("--")
            .args(command)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{told}");
        let lines = told.lines().filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap());
        Run { printed: String::from_utf8(output.stdout).unwrap(), lines: lines.collect(), told }
    }

    /// Hosts that requests went to.
    fn requests(&self) -> Vec<&str> {
        let mut hosts: Vec<&str> =
            self.lines.iter().filter(|line| line["type"] == "flow").filter_map(|line| line["host"].as_str()).collect();
        hosts.sort_unstable();
        hosts
    }

    /// Hosts with a finding of this kind, as often as it was found.
    fn found(&self, kind: &str) -> Vec<&str> {
        let mut hosts: Vec<&str> =
            self.lines.iter().filter(|line| line["kind"] == kind).filter_map(|line| line["host"].as_str()).collect();
        hosts.sort_unstable();
        hosts
    }

    fn room(&self) -> &str {
        self.told.lines().find(|line| line.starts_with("room: ")).unwrap_or_else(|| panic!("{}", self.told))
    }
}

/// Goes around the proxy in every way: by name, by address, over IPv4 and IPv6, without TLS, without HTTP, by datagrams.
const CLIENT: &str = r#"
import os, socket, ssl
context = ssl.create_default_context(cafile=os.environ['SSL_CERT_FILE'])
def get(address, name, tls=True, port=443):
    stream = socket.create_connection((address, port), 20)
    if tls:
        stream = context.wrap_socket(stream, server_hostname=name)
    stream.sendall(f'GET /v1/models HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n'.encode())
    print(name, stream.recv(100).split(b'\r\n')[0].decode())
for family in (socket.AF_INET, socket.AF_INET6):
    get(socket.getaddrinfo('api.anthropic.com', 443, family)[0][4][0], 'api.anthropic.com')
get('203.0.113.9', 'four.example.com')
get('2001:db8::9', 'six.example.com')
get('plain.example.com', 'plain.example.com', tls=False, port=8123)
raw = socket.create_connection(('203.0.113.10', 9999), 20)
raw.sendall(b'\0\1\2\3')
try:
    print('raw', raw.recv(10))
except ConnectionResetError:
    print('raw', b'')
for address, port in (('203.0.113.1', 443), ('203.0.113.1', 443), ('2001:db8::1', 443), ('203.0.113.1', 123)):
    datagram = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET, socket.SOCK_DGRAM)
    datagram.connect((address, port))
    datagram.send(b'x')
    datagram.settimeout(20)
    try:
        print('udp', datagram.recv(10))
    except ConnectionRefusedError:
        print('udp refused')
"#;

fn judge(run: &Run) {
    let printed = "api.anthropic.com HTTP/1.1 200 OK\napi.anthropic.com HTTP/1.1 200 OK\nfour.example.com HTTP/1.1 200 OK\n\
                   six.example.com HTTP/1.1 200 OK\nplain.example.com HTTP/1.1 200 OK\nraw b''\n";
    assert_eq!(run.printed, format!("{printed}{}", "udp refused\n".repeat(4)), "{}", run.told);
    let hosts = ["api.anthropic.com", "api.anthropic.com", "four.example.com", "plain.example.com", "six.example.com"];
    assert_eq!(run.requests(), hosts);
    let mut around = hosts.to_vec();
    around.push("203.0.113.10");
    let around: Vec<&str> = around.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    assert_eq!(run.found("audit.bypass"), around, "once for each host");
    assert_eq!(run.found("audit.not_tls"), ["203.0.113.10", "plain.example.com"]);
    assert_eq!(
        run.room(),
        "room: 6 connections, 4 audited, 1 plain text, 1 unread, 6 around the proxy, 2 DNS names, 3 UDP refused, \
         1 other datagram refused"
    );
}

#[test]
fn a_client_that_knows_no_proxy_is_audited_by_name_and_by_address() {
    judge(&Run::of(&["/usr/bin/python3", "-c", CLIENT]));
}

/// The same by a user without any right, where the tests run as root.
#[test]
fn an_unprivileged_user_has_the_same_room() {
    if !nix::unistd::geteuid().is_root() {
        return judge(&Run::of(&["/usr/bin/python3", "-c", CLIENT]));
    }
    let folder = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777))
        .tempdir_in("/tmp")
        .unwrap();
    let program = folder.path().join("divulge");
    std::fs::copy(divulge(), &program).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=4321", "--regid=4321", "--clear-groups", "env", "-i", "PATH=/usr/bin:/bin"])
        .arg(format!("HOME={}", folder.path().join("home").display()))
        .arg(&program)
        .args(["run", "--sealed", "--offline", "--findings", "/dev/null", "--", "/usr/bin/python3", "-c", CLIENT])
        .current_dir("/tmp")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(
        told.contains("\nroom: 6 connections, 4 audited, 1 plain text, 1 unread, 6 around the proxy, 2 DNS names"),
        "{told}"
    );
}

#[test]
fn curl_and_node_without_proxy_variables_are_audited() {
    let curl = Run::of(&[
        "curl",
        "-sS",
        "--noproxy",
        "*",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "https://curl.example.com/",
    ]);
    assert_eq!(
        (curl.requests(), curl.found("audit.bypass")),
        (vec!["curl.example.com"], vec!["curl.example.com"]),
        "{}",
        curl.told
    );
    let script = "fetch('https://node.example.com/a').then(a => console.log(a.status))";
    let node = Run::of(&["env", "-u", "NODE_USE_ENV_PROXY", "node", "-e", script]);
    assert_eq!(
        (node.requests(), node.found("audit.bypass")),
        (vec!["node.example.com"], vec!["node.example.com"]),
        "{}",
        node.told
    );
}

#[test]
fn a_client_of_the_proxy_is_no_bypass() {
    let run = Run::of(&["curl", "-sS", "-o", "/dev/null", "https://curl.example.com/"]);
    assert_eq!(run.requests(), ["curl.example.com"]);
    assert!(run.found("audit.bypass").is_empty());
    assert_eq!(run.room(), "room: 1 connection, 1 audited, 0 DNS names, 0 UDP refused");
}

#[test]
fn the_real_working_folder_is_there_and_the_real_home_is_not() {
    let inside = "pwd; test -e Cargo.toml && echo project; ls -A ~ | grep -v -e '^[.]\\(pyenv\\|nvm\\|cargo\\|rustup\\|local\\)$'; echo left >~/left; hostname";
    let run = Run::of(&["sh", "-c", inside]);
    let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
    assert_eq!(run.printed, format!("{}\nproject\n{host}\n", env!("CARGO_MANIFEST_DIR")));
    assert!(!std::env::home_dir().unwrap().join("left").exists());

    // A folder of one's own is kept.
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(divulge())
        .args(["run", "--quiet", "--sealed", "--offline", "--room-home"])
        .arg(folder.path())
        .args(["--", "sh", "-c", "echo kept >~/kept"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::fs::read_to_string(folder.path().join("kept")).unwrap(), "kept\n");
}

#[test]
fn wrong_settings_of_the_room_are_told() {
    for (options, expected) in [
        (&["--room-home", "/nonexistent"][..], "--room-home /nonexistent is no folder"),
        (&["--room-show", "/nonexistent"], "--room-show /nonexistent is not there"),
    ] {
        let output =
            Command::new(divulge()).args(["run", "--sealed"]).args(options).args(["--", "true"]).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(expected), "{told}");
    }
}

/// The door, driven from a program that has no proxy: the destination is the one that was meant.
#[test]
fn the_door_tells_where_a_connection_was_meant_to_go() {
    let script =
        "exec 3<>/dev/tcp/203.0.113.7/4242; exec 4<>/dev/tcp/named.example.com/25; exec 5<>/dev/tcp/127.0.0.1/7777";
    runtime().block_on(async {
        let options = divulge::room::RoomOptions { catch: vec![7777], ..super::options() };
        let room = divulge::room::Room::build_with(plan(), options).await.unwrap_or_else(|error| panic!("{error}"));
        let command = ["bash".into(), "-c".into(), script.into()];
        let (outcome, met) = tokio::join!(room.run(&command), async {
            let mut met = Vec::new();
            for _ in 0..3 {
                let (_, destination) = room.door().accept().await.unwrap();
                let name = room.door().name_of(destination.ip());
                met.push((name.unwrap_or_else(|| destination.ip().to_string()), destination.port()));
            }
            met
        });
        printed(&outcome);
        let expected = [("203.0.113.7", 4242), ("named.example.com", 25), ("127.0.0.1", 7777)];
        assert_eq!(met, expected.map(|(host, port)| (host.to_owned(), port)));
        let account = room.account();
        assert_eq!(account.connected(Way::Redirected), 3);
        assert_eq!(account.connected(Way::Explicit), 0);
    });
}

/// As on a kernel without address translation.
#[test]
fn the_usual_ports_are_met_without_a_redirect() {
    let script = "exec 3<>/dev/tcp/named.example.com/443; exec 4<>/dev/tcp/203.0.113.7/8080; \
                  (exec 5<>/dev/tcp/203.0.113.7/4242) 2>/dev/null || echo refused";
    runtime().block_on(async {
        let options = divulge::room::RoomOptions { untranslated: true, ..super::options() };
        let room = divulge::room::Room::build_with(plan(), options).await.unwrap_or_else(|error| panic!("{error}"));
        let divulge::room::Strength::Weak(missing) = room.holds() else { panic!("it says that it is full") };
        assert!(missing.contains("only connections to the ports 80 443"), "{missing}");
        let command = ["bash".into(), "-c".into(), script.into()];
        let (outcome, met) = tokio::join!(room.run(&command), async {
            let mut met = Vec::new();
            for _ in 0..2 {
                let (_, destination) = room.door().accept().await.unwrap();
                let name = room.door().name_of(destination.ip());
                met.push((name.unwrap_or_else(|| destination.ip().to_string()), destination.port()));
            }
            met
        });
        assert_eq!(printed(&outcome), "refused\n");
        assert_eq!(met, [("named.example.com".to_owned(), 443), ("203.0.113.7".to_owned(), 8080)]);
    });
}

/// The proxy stands outside: it is no way to what listens there.
#[test]
fn services_of_the_machine_are_not_reached_through_the_proxy() {
    let outside = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", outside.local_addr().unwrap());
    let fetch = ["curl", "-sS", "--noproxy", "", "-o", "/dev/null", "-w", "%{http_code}", &url];
    let output = Command::new(divulge()).args(["run", "--quiet", "--sealed", "--"]).args(fetch).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "502", "{}", String::from_utf8_lossy(&output.stderr));
    outside.set_nonblocking(true).unwrap();
    assert_eq!(outside.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn a_question_to_any_resolver_is_answered_and_noted() {
    const QUESTIONS: &str = r"
import socket, struct
question = struct.pack('>HHHHHH', 7, 0x100, 1, 0, 0, 0) + b'\x05other\x07example\x03com\0\0\1\0\1'
datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagram.settimeout(20)
datagram.sendto(question, ('8.8.8.8', 53))
answer, sender = datagram.recvfrom(500)
print(sender[0], socket.inet_ntoa(answer[-4:]))
stream = socket.create_connection(('9.9.9.9', 53), 20)
stream.sendall(struct.pack('>H', len(question)) + question)
answer = b''
while len(answer) < 2 or len(answer) < 2 + int.from_bytes(answer[:2], 'big'):
    answer += stream.recv(500)
print(socket.inet_ntoa(answer[-4:]))
";
    runtime().block_on(async {
        let room = built(plan()).await;
        // Questions over a connection come through the door, which somebody must keep.
        let command = ["/usr/bin/python3".into(), "-c".into(), QUESTIONS.into()];
        let outcome = tokio::select! {
            outcome = room.run(&command) => outcome,
            met = room.door().accept() => panic!("{met:?}"),
        };
        assert_eq!(printed(&outcome), "8.8.8.8 198.18.0.1\n198.18.0.1\n");
        let account = room.account();
        let [asked] = &account.names[..] else { panic!("{account:?}") };
        assert_eq!((asked.name.as_str(), asked.kind.as_str(), asked.count), ("other.example.com", "A", 2));
    });
}

/// What is installed below the home is shown, where the command needs it.
#[test]
fn a_client_installed_in_a_folder_of_the_home_runs() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let modules = folder.path().join("lib/node_modules/client");
    std::fs::create_dir_all(&modules).unwrap();
    std::fs::write(modules.join("cli.sh"), "#!/bin/sh\ncat \"$(dirname \"$(readlink -f \"$0\")\")/text\"\n").unwrap();
    std::fs::write(modules.join("text"), "from its own folder\n").unwrap();
    std::fs::set_permissions(modules.join("cli.sh"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::create_dir(folder.path().join("bin")).unwrap();
    std::os::unix::fs::symlink("../lib/node_modules/client/cli.sh", folder.path().join("bin/client")).unwrap();
    let mut planned = plan();
    let path: PathBuf = folder.path().join("bin");
    planned.environment[0].1 = format!("{}:/usr/bin:/bin", path.display());
    runtime().block_on(async {
        let room = built(planned).await;
        assert_eq!(printed(&room.run(&["client".into()]).await), "from its own folder\n");
        let seen = printed(&room.run(&shell(&format!("ls -A {}", folder.path().display()))).await);
        assert_eq!(seen, "bin\nlib\n");
    });
}

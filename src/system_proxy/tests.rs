//! Whole stories with real processes: a stand-in for `serve`, guards, and the desktop's tools, which are
//! stood in for by shell scripts, and by the real gsettings under a session bus of its own.
//!
//! A test that is ignored is a process of such a story: the test program starts itself again for it.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use super::*;
use crate::ca::test_server::have;

const GSETTINGS: &str = r#"#!/bin/sh
# gsettings get|set|reset SCHEMA KEY [VALUE]: a file a key, defaults where there is none.
file="$STORE/$2.$3"
case "$1 $2 $3" in
"get org.gnome.system.proxy mode") default="'none'" ;;
"get "*" port") default=8080 ;;
"get "*" use-authentication") default=false ;;
"get "*" ignore-hosts") default="['localhost', '127.0.0.0/8', '::1']" ;;
"get "*) default="''" ;;
esac
case "$1" in
get) cat "$file" 2>/dev/null || echo "$default" ;;
set) echo "$4" >"$file" ;;
reset) rm -f "$file" ;;
esac
"#;

/// `kreadconfig6 --file F --group G --key K --default D` and `kwriteconfig6 … --key K -- V | --delete ""`.
const KREADCONFIG: &str = "#!/bin/sh\ncat \"$STORE/kde.$6\" 2>/dev/null || echo \"$8\"\n";
const KWRITECONFIG: &str =
    "#!/bin/sh\nif [ \"$7\" = --delete ]; then rm -f \"$STORE/kde.$6\"; else echo \"$8\" >\"$STORE/kde.$6\"; fi\n";

/// This program as one of the ignored tests below.
fn again(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("system_proxy::tests::{test}"), "--ignored", "--nocapture"]);
    command
}

fn folder() -> PathBuf {
    PathBuf::from(std::env::var_os("DIVULGE_TEST_STATE").unwrap())
}

#[test]
#[ignore = "a process of other tests: the guard"]
fn guard_process() {
    guard(&folder(), Duration::from_secs(3)).unwrap();
}

#[test]
#[ignore = "a process of other tests: stands in for serve"]
fn serve_process() {
    let state = folder();
    let _ = fs::remove_file(state.join("watch.sock"));
    let watch = UnixListener::bind(state.join("watch.sock")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    std::thread::spawn(move || watch.incoming().flatten().for_each(std::mem::forget));
    println!("\nlistening on {}", listener.local_addr().unwrap());
    listener.incoming().flatten().for_each(drop);
}

struct Serve(Child, SocketAddr);

impl Serve {
    fn start(state: &Path) -> Serve {
        let mut child = again("serve_process").env("DIVULGE_TEST_STATE", state).stdout(Stdio::piped()).spawn().unwrap();
        let lines = io::BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.map_while(Result::ok).find(|line| line.starts_with("listening on ")).unwrap();
        Serve(child, line["listening on ".len()..].parse().unwrap())
    }

    /// SIGKILL: it gets to do nothing more.
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn turn_on(state: &Path, listen: SocketAddr) -> Result<Option<Child>, SystemProxyError> {
    let mut guard = again("guard_process");
    guard.env("DIVULGE_TEST_STATE", state);
    on(state, listen, guard)
}

/// All settings of all desktops.
fn settings() -> Vec<(String, Option<String>)> {
    let mut all = Vec::new();
    for desktop in Desktop::all() {
        for (key, _) in desktop.wanted("127.0.0.1:1".parse().unwrap()).unwrap() {
            let value = desktop.get(&key).unwrap();
            all.push((format!("{} {key}", desktop.name()), value));
        }
    }
    assert!(all.len() >= 7, "{all:?}");
    all
}

fn autostart() -> bool {
    login_entry().unwrap().exists()
}

#[test]
#[ignore = "a process of other tests: the whole story on the desktop that its environment gives"]
fn story() {
    let state = folder();
    let gnome = Desktop::all().remove(0);
    // A user who had a proxy of their own, half set up.
    gnome.set("org.gnome.system.proxy.http host", Some("'proxy.example.com'")).unwrap();
    gnome.set("org.gnome.system.proxy.http port", Some("3128")).unwrap();
    gnome.set("org.gnome.system.proxy ignore-hosts", Some("['localhost', '*.example.org']")).unwrap();
    let before = settings();

    // Nothing is changed for a proxy that is not there.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(matches!(turn_on(&state, free), Err(SystemProxyError::NotServing { .. })));
    assert_eq!((settings(), status(&state).unwrap()), (before.clone(), Status::Off));

    // On, on again, off, off again.
    let mut serve = Serve::start(&state);
    let mut watching = turn_on(&state, serve.1).unwrap().unwrap();
    assert_eq!(status(&state).unwrap(), Status::On { listen: serve.1 });
    assert_eq!(gnome.get("org.gnome.system.proxy mode").unwrap().unwrap(), "'manual'");
    assert_eq!(gnome.get("org.gnome.system.proxy.https port").unwrap().unwrap(), serve.1.port().to_string());
    assert!(autostart());
    assert!(turn_on(&state, serve.1).unwrap().is_none());
    assert!(off(&state).unwrap());
    assert_eq!((settings(), status(&state).unwrap()), (before.clone(), Status::Off));
    assert!(!off(&state).unwrap() && !autostart());
    assert!(watching.wait().unwrap().success(), "a guard with nothing to guard ends");

    // Serve is killed: the guard puts everything back.
    let mut watching = turn_on(&state, serve.1).unwrap().unwrap();
    assert_ne!(settings(), before);
    serve.kill();
    assert!(watching.wait().unwrap().success());
    assert_eq!((settings(), status(&state).unwrap()), (before.clone(), Status::Off));
    assert!(!autostart());

    // Guard and serve are both killed: status tells, off mends.
    let mut serve = Serve::start(&state);
    let mut watching = turn_on(&state, serve.1).unwrap().unwrap();
    watching.kill().unwrap();
    watching.wait().unwrap();
    assert_eq!(status(&state).unwrap(), Status::LeftOver { listen: serve.1, serving: true });
    serve.kill();
    assert_eq!(status(&state).unwrap(), Status::LeftOver { listen: serve.1, serving: false });
    // As at the next login.
    let mut at_login = again("guard_process");
    assert!(at_login.env("DIVULGE_TEST_STATE", &state).status().unwrap().success());
    assert_eq!((settings(), status(&state).unwrap()), (before.clone(), Status::Off));

    // What the user changes meanwhile is theirs.
    let serve = Serve::start(&state);
    let mut watching = turn_on(&state, serve.1).unwrap().unwrap();
    gnome.set("org.gnome.system.proxy mode", Some("'auto'")).unwrap();
    off(&state).unwrap();
    watching.wait().unwrap();
    assert_eq!(gnome.get("org.gnome.system.proxy mode").unwrap().unwrap(), "'auto'");
    assert_eq!(gnome.get("org.gnome.system.proxy.http host").unwrap().unwrap(), "'proxy.example.com'");
}

fn told(mut story: Command) {
    let output = story.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let passed = output.status.success() && text.contains("1 passed");
    assert!(passed, "{text}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn settings_come_back_whoever_dies_on_gnome_and_kde() {
    let dir = tempfile::tempdir().unwrap();
    let (tools, store, state) = (dir.path().join("bin"), dir.path().join("store"), dir.path().join("state"));
    for folder in [&tools, &store, &state] {
        fs::create_dir(folder).unwrap();
    }
    for (name, text) in [("gsettings", GSETTINGS), ("kreadconfig6", KREADCONFIG), ("kwriteconfig6", KWRITECONFIG)] {
        fs::write(tools.join(name), text).unwrap();
        fs::set_permissions(tools.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut story = again("story");
    story.env_clear().env("PATH", format!("{}:/usr/bin:/bin", tools.display())).env("STORE", &store);
    story.env("HOME", dir.path()).env("DIVULGE_TEST_STATE", &state);
    told(story);
    let left: Vec<_> = fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["watch.sock"], "only the killed stand-in leaves something");
}

#[test]
fn settings_come_back_whoever_dies_with_the_real_gsettings() {
    if !have("dbus-run-session") || !have("gsettings") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    fs::create_dir(&state).unwrap();
    let mut story = Command::new("dbus-run-session");
    let itself = again("story");
    story.arg("--").arg(itself.get_program()).args(itself.get_args());
    story.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", dir.path()).env("XDG_RUNTIME_DIR", dir.path());
    told({
        story.env("DIVULGE_TEST_STATE", &state);
        story
    });
}

#[test]
fn a_path_in_the_login_entry_is_quoted_as_desktops_read_it() {
    assert_eq!(exec_quoted(Path::new("/a b/100%/$x\"\\")), r#""/a b/100%%/\\$x\\"\\\\""#);
}

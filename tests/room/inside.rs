//! What a command sees in a room.

use divulge::room::{Room, RoomError, RoomOptions, Strength};

use super::{built, divulge, options, plan, printed, runtime, shell};

/// One fact a line, `name=value`.
const PROBE: &str = r#"
echo "hostname=$(hostname)"
echo "nodename=$(uname -n)"
echo "hostname file=$(cat /etc/hostname)"
echo "hosts=$(grep -c kanarienvogel-host /etc/hosts)"
echo "machine id=$(cat /etc/machine-id) $(cat /var/lib/dbus/machine-id)"
echo "zone=$(cat /etc/timezone) $(readlink /etc/localtime) $(date +%z)"
echo "user=$(id -un) $(id -u) $(getent passwd kanaria)"
echo "home=$HOME $(ls -A "$HOME" | tr '\n' ' ')"
echo "cwd=$(pwd)"
echo "devices=$(ls /sys/class/net | tr '\n' ' ')"
echo "mac=$(cat /sys/class/net/eth0/address)"
echo "person=$(git config user.name) <$(git config user.email)>"
echo "remote=$(git remote get-url origin)"
echo "branch=$(git rev-parse --abbrev-ref HEAD)"
echo "commit=$(git log --format='%an <%ae> %s')"
echo "changes=$(git status --porcelain | wc -l)"
echo "rights=$(grep CapEff /proc/self/status | cut -f2)"
echo "environment=$(env | cut -d= -f1 | sort | tr '\n' ' ')"
echo "serial=$(cat /sys/devices/virtual/dmi/id/product_serial 2>/dev/null | cut -c1-4)"
"#;

#[test]
fn a_command_finds_the_planned_facts_and_no_others() {
    runtime().block_on(async {
        let room = built(plan()).await;
        let seen = printed(&room.run(&shell(PROBE)).await);
        let fact = |name: &str| {
            let found = seen.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            found.unwrap_or_else(|| panic!("no {name} in {seen}")).trim().to_owned()
        };
        let id = "c0ffee00c0ffee00c0ffee00c0ffee00";
        let expected = [
            ("hostname", "kanarienvogel-host".to_owned()),
            ("nodename", "kanarienvogel-host".to_owned()),
            ("hostname file", "kanarienvogel-host".to_owned()),
            ("hosts", "1".to_owned()),
            ("machine id", format!("{id} {id}")),
            ("zone", "Asia/Kathmandu /usr/share/zoneinfo/Asia/Kathmandu +0545".to_owned()),
            ("home", "/home/kanaria .gitconfig projekt".to_owned()),
            ("cwd", "/home/kanaria/projekt".to_owned()),
            ("devices", "eth0 lo".to_owned()),
            ("mac", "02:ca:4a:17:00:01".to_owned()),
            ("person", "Kanaria Vogelsang <kanaria@vogelsang.example.com>".to_owned()),
            ("remote", "git@git.example.com:vogelsang/projekt.git".to_owned()),
            ("branch", "feature/nest".to_owned()),
            ("commit", "Kanaria Vogelsang <kanaria@vogelsang.example.com> Begin".to_owned()),
            ("changes", "0".to_owned()),
            ("rights", "0000000000000000".to_owned()),
            // The shell sets PWD (and some set more of their own kind).
            ("environment", "CANARY HOME LOGNAME PATH PWD USER".to_owned()),
        ];
        let wrong: Vec<String> = expected
            .iter()
            .filter(|(name, value)| fact(name) != *value)
            .map(|(name, value)| format!("{name}: expected {value:?}, found {:?}", fact(name)))
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(fact("user").starts_with("kanaria 1000 kanaria:x:1000:1000::/home/kanaria:/bin/"), "{}", fact("user"));
        // Not every machine has the folder.
        assert!(["", "CNRY"].contains(&fact("serial").as_str()), "{}", fact("serial"));
    });
}

#[test]
fn the_address_that_a_client_finds_out_for_itself_is_the_planned_one() {
    const OWN_ADDRESS: &str = "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
                               s.connect(('192.0.2.1', 9))\nprint(s.getsockname()[0])";
    runtime().block_on(async {
        let room = built(plan()).await;
        let outcome = room.run(&["/usr/bin/python3".into(), "-c".into(), OWN_ADDRESS.into()]).await;
        assert_eq!(printed(&outcome).trim(), "10.77.88.99");
    });
}

#[test]
fn nothing_of_the_person_or_of_services_is_readable() {
    let own = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let shared = tempfile::tempdir().unwrap();
    let secrets = [own.path().join("secret"), shared.path().join("secret")];
    for secret in &secrets {
        std::fs::write(secret, "the real one").unwrap();
    }
    let home = std::env::home_dir().unwrap();
    let script = format!(
        "cat {} {} 2>/dev/null; for f in /etc/shadow /etc/sudoers /root/.bashrc {home}/.bashrc; do test ! -e $f || echo \"$f\"; done\n\
         find / -xdev -type s 2>/dev/null\n\
         cat /proc/1/environ 2>/dev/null\n\
         ls -d /proc/[0-9]* | wc -l\n\
         touch /usr/written 2>/dev/null && echo 'the system can be written'\ntrue",
        secrets[0].display(),
        secrets[1].display(),
        home = home.display(),
    );
    runtime().block_on(async {
        let room = built(plan()).await;
        let seen = printed(&room.run(&shell(&script)).await);
        let lines: Vec<&str> = seen.lines().collect();
        // Process 1, the shell, ls and wc: those of the machine are not among them.
        let [processes] = lines[..] else { panic!("{seen}") };
        assert!(processes.trim().parse::<u32>().unwrap() <= 5, "{seen}");
    });
}

/// Sockets that no namespace holds, and descriptors that divulge itself was given.
#[test]
fn no_other_way_out_is_open() {
    const SOCKETS: &str = "import socket\nfor family in (31, 38, 40, 42):\n    try:\n        socket.socket(family, \
                           socket.SOCK_STREAM)\n        print('open', family)\n    except OSError as error:\n        \
                           print(error.errno)";
    runtime().block_on(async {
        let room = built(plan()).await;
        let outcome = room.run(&["/usr/bin/python3".into(), "-c".into(), SOCKETS.into()]).await;
        assert_eq!(printed(&outcome), "97\n".repeat(4));
    });
    let output = std::process::Command::new("bash")
        .arg("-c")
        .arg("exec 9</etc/passwd; exec \"$0\" run --quiet --sealed --offline -- ls /proc/self/fd")
        .arg(divulge())
        .output()
        .unwrap();
    // The three streams, and the folder that ls reads.
    assert_eq!(String::from_utf8_lossy(&output.stdout), "0\n1\n2\n3\n", "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_home_leaves_no_trace_in_the_next_room() {
    runtime().block_on(async {
        for _ in 0..2 {
            let room = built(plan()).await;
            let seen = printed(&room.run(&shell("cat ~/left 2>/dev/null; echo here >~/left; cat ~/left")).await);
            assert_eq!(seen, "here\n");
        }
    });
}

#[test]
fn the_setup_runs_in_the_home_before_the_command_and_stops_it_where_it_fails() {
    runtime().block_on(async {
        let mut planned = plan();
        planned.setup = Some("mkdir .client; echo \"$CANARY\" >.client/settings".into());
        let room = built(planned.clone()).await;
        let seen = printed(&room.run(&shell("cat ~/.client/settings")).await);
        assert_eq!(seen, "in the coal mine\n");

        planned.setup = Some("echo wrong >&2; false".into());
        let outcome = built(planned).await.run(&shell("echo never")).await;
        assert_eq!((outcome.status, &outcome.printed[..], &outcome.errors[..]), (Some(1), &b""[..], &b"wrong\n"[..]));
    });
}

#[test]
fn a_terminal_is_there_when_it_is_planned() {
    let script = "test -t 0 && test -t 1 && tty && echo controlling >/dev/tty";
    runtime().block_on(async {
        let mut planned = plan();
        planned.terminal = true;
        let outcome = built(planned).await.run(&shell(script)).await;
        assert_eq!(printed(&outcome), "/dev/pts/0\r\ncontrolling\r\n");

        let outcome =
            built(plan()).await.run(&shell("test -t 0 || { echo 'stdin is not a terminal' >&2; exit 1; }")).await;
        assert!(outcome.wanted_terminal, "{outcome:?}");
    });
}

#[test]
fn a_plan_that_cannot_be_built_is_told_apart_from_a_room_that_cannot() {
    let wrong = |change: fn(&mut divulge::room::Plan)| {
        let mut planned = plan();
        change(&mut planned);
        runtime().block_on(async {
            match Room::build_with(planned, options()).await {
                Err(RoomError::Plan(message)) => message,
                Err(error) => panic!("{error}"),
                Ok(_) => panic!("it was built"),
            }
        })
    };
    assert!(wrong(|plan| plan.timezone = "Mars/Olympus".into()).contains("Mars/Olympus"));
    assert!(wrong(|plan| plan.home = "/".into()).contains("home folder"));
    assert!(wrong(|plan| plan.cwd = "/home/../etc".into()).contains("working folder"));
    assert!(wrong(|plan| plan.hostname = "a b".into()).contains("host name"));
    assert!(wrong(|plan| plan.interface.as_mut().unwrap().mac = "02:00".into()).contains("MAC"));
    assert!(wrong(|plan| plan.git.branch = "a//b".into()).contains("branch"));

    let options = RoomOptions { init: Some("/nonexistent/divulge".into()), ..RoomOptions::default() };
    let error = runtime().block_on(Room::build_with(plan(), options)).err().expect("there is no such program");
    assert!(error.to_string().contains("did not start"), "{error}");
}

/// What is left where a kernel has no namespaces: a home and an environment, and only if that was allowed.
#[test]
fn a_room_without_walls_is_built_only_where_it_is_allowed() {
    let without = RoomOptions { init: Some("/bin/false".into()), ..RoomOptions::default() };
    runtime().block_on(async {
        let refused = Room::build_with(plan(), without.clone()).await.err().expect("false builds no room");
        assert!(refused.to_string().contains("ended while it was built"), "{refused}");

        let allowed = RoomOptions { allow_open_network: true, ..without };
        let mut planned = plan();
        planned.setup = Some("echo here >~/settings".into());
        planned.time_limit = std::time::Duration::from_millis(500);
        let room = Room::build_with(planned, allowed).await.unwrap_or_else(|error| panic!("{error}"));
        assert!(!room.is_sealed());
        assert!(matches!(room.holds(), Strength::Weak(_)));
        let script = "cat ~/settings; echo $CANARY; git remote get-url origin; ls -A ~ | tr '\\n' ' '";
        let seen = printed(&room.run(&shell(script)).await);
        assert_eq!(seen, "here\nin the coal mine\ngit@git.example.com:vogelsang/projekt.git\n.gitconfig settings ");
        let late = room.run(&shell("sleep 1000 & wait")).await;
        assert!(late.timed_out, "{late:?}");
    });
}

#[test]
fn this_machine_says_how_well_a_room_holds() {
    match Room::strength_by(divulge()) {
        Strength::Full => {}
        Strength::Weak(missing) => panic!("the other tests need a full room: {missing}"),
    }
}

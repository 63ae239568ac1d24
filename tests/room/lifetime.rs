//! Rooms end, with all that runs in them.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{built, divulge, plan, printed, runtime, shell};

#[test]
fn a_command_that_outlives_its_time_is_ended_with_its_whole_tree() {
    runtime().block_on(async {
        let mut planned = plan();
        planned.time_limit = Duration::from_millis(500);
        let room = built(planned).await;
        let outcome = room.run(&shell("echo begun; setsid sleep 1000 & (sleep 1000 & wait) & wait")).await;
        assert!(outcome.timed_out, "{outcome:?}");
        assert_eq!((outcome.status, &outcome.printed[..]), (Some(128 + 9), &b"begun\n"[..]));
        // Process 1 is left, and what looks.
        let left = printed(&room.run(&shell("grep -l sleep /proc/[0-9]*/comm; true")).await);
        assert_eq!(left, "");
    });
}

#[test]
fn what_a_command_leaves_running_ends_with_it() {
    runtime().block_on(async {
        let room = built(plan()).await;
        let outcome = room.run(&shell("setsid sleep 1000 & echo done")).await;
        assert!(!outcome.timed_out);
        assert_eq!(printed(&outcome), "done\n");
        let left = printed(
            &room.run(&shell("grep -l sleep /proc/[0-9]*/comm; grep State:.Z /proc/[0-9]*/status; true")).await,
        );
        assert_eq!(left, "");
    });
}

#[test]
fn what_is_printed_without_end_is_kept_to_a_bound() {
    runtime().block_on(async {
        let room = built(plan()).await;
        let outcome = room.run(&shell("head -c 20000000 /dev/zero; echo end >&2")).await;
        assert_eq!((outcome.status, outcome.printed.len(), &outcome.errors[..]), (Some(0), 4 << 20, &b"end\n"[..]));
    });
}

#[test]
fn the_status_says_how_a_command_ended() {
    runtime().block_on(async {
        let room = built(plan()).await;
        for (script, status) in [("exit 7", 7), ("kill -TERM $$", 128 + 15)] {
            assert_eq!(room.run(&shell(script)).await.status, Some(status), "{script}");
        }
        let outcome = room.run(&["no-such-program".into()]).await;
        assert_eq!(outcome.status, Some(127));
        assert!(String::from_utf8_lossy(&outcome.errors).contains("not found"), "{outcome:?}");
    });
}

#[test]
fn a_room_that_is_dropped_takes_its_processes_along() {
    let marker = format!("86399.{}", std::process::id());
    let running = || {
        std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
            std::fs::read(entry.path().join("cmdline"))
                .is_ok_and(|line| line.windows(marker.len()).any(|w| w == marker.as_bytes()))
        })
    };
    runtime().block_on(async {
        let room = built(plan()).await;
        // The run is given up half-way, and then the room.
        let command = shell(&format!("sleep {marker} & exec sleep {marker}"));
        let cut_short = tokio::time::timeout(Duration::from_secs(1), room.run(&command)).await;
        assert!(cut_short.is_err());
        drop(room);
        assert!(!running());
    });
}

/// Whoever ends a room from outside: it is told apart from a command that ends.
#[test]
fn a_room_that_ends_before_its_command_says_how() {
    let children = |of: u32| -> Vec<u32> {
        let tasks = std::fs::read_dir(format!("/proc/{of}/task")).unwrap().flatten();
        let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
        lists.flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<u32>>()).collect()
    };
    runtime().block_on(async {
        let room = built(plan()).await;
        // Of this process alone: another test may have a room of its own in another one.
        let outer = children(std::process::id());
        let first: Vec<u32> = outer.iter().flat_map(|&outer| children(outer)).collect();
        assert_eq!((outer.len(), first.len()), (1, 1));
        let command = shell("echo begun; exec sleep 1000");
        let ends = async {
            // Once the command runs the first process has a child.
            while children(first[0]).is_empty() {
                tokio::task::yield_now().await;
            }
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(first[0] as i32), nix::sys::signal::Signal::SIGKILL)
                .unwrap();
        };
        let (outcome, ()) = tokio::join!(room.run(&command), ends);
        assert_eq!((outcome.status, outcome.lost.as_deref()), (None, Some("its first process was ended by signal 9")));
        let after = room.run(&shell("true")).await;
        assert_eq!((after.status, after.lost), (None, outcome.lost));
    });
}

/// The kernel takes the thread that started a process for its parent; those of the runtime come and go.
#[test]
fn a_room_outlives_the_thread_that_built_it() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_keep_alive(Duration::from_millis(1))
        .enable_all()
        .build()
        .unwrap();
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    runtime.block_on(async {
        let before = threads();
        let room = built(plan()).await;
        // The one that reads what the room tells stays.
        while threads() > before + 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(printed(&room.run(&shell("echo still here")).await), "still here\n");
    });
}

/// `DIVULGE_ROOM_ROUNDS=200 cargo nextest run --release --test room rooms_one_after --no-capture` says what a room costs.
#[test]
fn rooms_one_after_the_other_leave_nothing() {
    let rounds: u32 = std::env::var("DIVULGE_ROOM_ROUNDS").map_or(5, |rounds| rounds.parse().unwrap());
    let open_files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let children = || std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    runtime().block_on(async {
        drop(built(plan()).await);
        let before = open_files();
        let (mut building, mut running, mut ending) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        for _ in 0..rounds {
            let start = std::time::Instant::now();
            let room = built(plan()).await;
            building += start.elapsed();
            let outcome = room.run(&["true".into()]).await;
            running += outcome.elapsed;
            assert_eq!(printed(&outcome), "");
            let start = std::time::Instant::now();
            drop(room);
            ending += start.elapsed();
        }
        println!(
            "a room: {:?} to build, {:?} to run true, {:?} to end",
            building / rounds,
            running / rounds,
            ending / rounds
        );
        // The runtime closes what aborted tasks held once it gets to them.
        tokio::time::timeout(Duration::from_secs(20), async {
            while open_files() > before {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("{before} open files became {}", open_files()));
        assert_eq!(children(), "");
    });
}

/// Nobody is there to tidy up: the kernel does.
#[test]
fn a_killed_divulge_leaves_no_process_behind() {
    let mut child = Command::new(divulge())
        .args(["run", "--quiet", "--sealed", "--offline", "--", "sh", "-c", "echo begun; sleep 1000 & sleep 1000"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut printed = child.stdout.take().unwrap();
    let mut begun = [0u8; 6];
    printed.read_exact(&mut begun).unwrap();
    assert_eq!(&begun, b"begun\n");
    child.kill().unwrap();
    child.wait().unwrap();
    // The end comes when the last process that could write has ended.
    assert_eq!(printed.read_to_end(&mut Vec::new()).unwrap(), 0);
}

#[test]
fn two_rooms_side_by_side_do_not_meet() {
    const SERVER: &str = "import socket\ns = socket.create_server(('127.0.0.1', 4321))\n\
                          c = socket.create_connection(('127.0.0.1', 4321))\ns.accept()\n\
                          print(socket.gethostname(), socket.gethostbyname('one.example.com'))";
    runtime().block_on(async {
        let mut other = plan();
        other.hostname = "zeisig-host".into();
        let (one, other) = tokio::join!(built(plan()), built(other));
        let python = ["/usr/bin/python3".into(), "-c".into(), SERVER.into()];
        let (first, second) = tokio::join!(one.run(&python), other.run(&python));
        assert_eq!(printed(&first), "kanarienvogel-host 198.18.0.1\n");
        assert_eq!(printed(&second), "zeisig-host 198.18.0.1\n");
        for room in [one, other] {
            let account = room.account();
            assert_eq!(account.names.len(), 1, "{account:?}");
            assert!(account.connections.is_empty() && account.datagrams.is_empty(), "{account:?}");
        }
    });
}

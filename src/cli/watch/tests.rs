use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::board::{Board, shown};
use super::view::View;
use super::*;

const STATUS: &str = r#"{"type":"status","listen":"127.0.0.1:8080","uptime_s":3725,"flows":7,"active":2,"tunnelled":3,"unread_bytes":2048,"policy":"balanced","on_error":"closed","new":1}"#;
const FINDING: &str = r#"{"schema":1,"time":"2026-11-22T10:11:12.123Z","flow":"f1","host":"api.example.com","kind":"id.device","location":"body!json:/metadata/device","severity":"high","value":"9f86… (64 bytes)","action":"log","would":"redact"}"#;
const FLOW: &str = r#"{"type":"flow","time":"2026-11-22T10:11:13.000Z","flow":"f1","host":"telemetry.example.com","method":"POST","path":"/v1/events","bytes_sent":2000,"bytes_read":1999,"unread":[{"location":"body","bytes":1,"reason":"opaque"}],"kinds":{"id.device":2,"tz.iana":1},"verdict":"edited"}"#;

fn screen(view: &mut View, board: &Board) -> String {
    let mut terminal = Terminal::new(TestBackend::new(150, 30)).unwrap();
    terminal.draw(|frame| view.draw(board, frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let cells = buffer.content().iter().map(|cell| cell.symbol()).collect::<Vec<_>>();
    cells.chunks(150).map(|row| row.concat().trim_end().to_owned() + "\n").collect()
}

fn press(view: &mut View, board: &mut Board, keys: &str) {
    for c in keys.chars() {
        let code = match c {
            '\n' => KeyCode::Enter,
            '\t' => KeyCode::Tab,
            '\u{1b}' => KeyCode::Esc,
            '\u{2193}' => KeyCode::Down,
            c => KeyCode::Char(c),
        };
        assert!(!view.press(KeyEvent::new(code, KeyModifiers::NONE), board), "{c:?} left");
    }
}

fn board(lines: &[&str]) -> Board {
    let mut board = Board::default();
    lines.iter().for_each(|line| board.take(line));
    board
}

#[test]
fn status_flows_findings_and_unread_hosts_are_on_the_screen() {
    let screen = screen(&mut View::default(), &board(&[STATUS, FINDING, FLOW]));
    for expected in [
        "on 127.0.0.1:8080  policy balanced  on error closed  up 1h 02m",
        "flows 7 (2 active)  tunnelled 3  unread 2.0 KiB  findings seen 1: 1 high",
        "10:11:12 high     id.device",
        "body!json:/metadata/device",
        "9f86… (64 bytes)",
        "(redact)",
        "POST /v1/events",
        "99%",
        "edited 1  withheld 0",
        "opaque",
        "q quit",
    ] {
        assert!(screen.contains(expected), "{expected:?} is not in\n{screen}");
    }
}

#[test]
fn a_filter_keeps_the_rows_that_contain_it() {
    let mut board = board(&[FINDING, &FINDING.replace("id.device", "tz.iana"), FLOW]);
    let mut view = View::default();
    press(&mut view, &mut board, "/TZ.\n");
    let filtered = screen(&mut view, &board);
    assert!(
        filtered.contains("tz.iana") && filtered.contains("findings (1)") && filtered.contains("flows (0)"),
        "{filtered}"
    );
    press(&mut view, &mut board, "\u{1b}");
    assert!(screen(&mut view, &board).contains("findings (2)"));
    // While typing, q is a letter.
    press(&mut view, &mut board, "/q\u{1b}");
}

#[test]
fn a_pause_holds_the_rows_and_counts_what_passes() {
    let mut board = board(&[FINDING]);
    let mut view = View::default();
    press(&mut view, &mut board, "p");
    board.take(FINDING);
    board.take(FLOW);
    let paused = screen(&mut view, &board);
    assert!(
        paused.contains("findings (1)") && paused.contains("paused, 2 missed") && paused.contains("seen 2"),
        "{paused}"
    );
    press(&mut view, &mut board, "p");
    board.take(FINDING);
    assert!(screen(&mut view, &board).contains("findings (2)"));
}

#[test]
fn nothing_that_a_client_sends_reaches_the_terminal_as_a_command() {
    let hostile = FINDING.replace("id.device", r"k\u001b[2J\u0007\u202e\u0085\u200b\udb40\udc41");
    let board = board(&[&hostile, &FLOW.replace("telemetry.example.com", r"h\r\n\t\u009b31m")]);
    let screen = screen(&mut View::default(), &board);
    for c in ['\u{1b}', '\u{7}', '\u{202e}', '\u{85}', '\u{9b}', '\u{200b}', '\u{e0041}', '\r', '\t'] {
        assert!(!screen.contains(c), "{c:?} is on the screen");
    }
    assert_eq!(shown("a\u{1b}[31mb\u{feff}ä中"), "a\\u{1b}[31mb\\u{feff}ä中");
    assert!(shown(&"x".repeat(10_000)).len() < 600);
}

#[test]
fn lines_that_are_nothing_known_are_left_out_and_rows_are_bounded() {
    let mut board =
        board(&["", "{", "[]", "null", "{\"type\":\"flow\"}", "{\"type\":\"status\",\"flows\":\"x\"}", "{\"kind\":7}"]);
    assert_eq!(board.flows.len(), 1);
    for _ in 0..5000 {
        board.take(FINDING);
    }
    assert_eq!((board.findings.len(), board.totals.findings), (2000, 5001));
    for n in 0..2000 {
        board.take(&FLOW.replace("telemetry", &format!("h{n}")));
    }
    assert!(board.unread.len() <= 500);
}

#[test]
fn any_key_on_any_size_of_screen_does_no_harm() {
    let mut board = board(&[STATUS, FINDING, FLOW]);
    let mut view = View::default();
    for (width, height) in [(0, 0), (1, 1), (20, 3), (80, 24), (400, 100)] {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        for code in [
            KeyCode::Tab,
            KeyCode::Down,
            KeyCode::PageDown,
            KeyCode::End,
            KeyCode::Up,
            KeyCode::Home,
            KeyCode::BackTab,
            KeyCode::F(1),
        ] {
            view.press(KeyEvent::new(code, KeyModifiers::NONE), &mut board);
            terminal.draw(|frame| view.draw(&board, frame)).unwrap();
        }
    }
    assert!(view.press(KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE), &mut board));
    assert!(view.press(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL), &mut board));
}

#[test]
fn where_nothing_serves_the_message_says_what_to_start() {
    let dir = tempfile::tempdir().unwrap();
    let message = watch(dir.path()).unwrap_err().to_string();
    assert!(message.contains("divulge serve") && message.contains("--state"), "{message}");
    // Left by a process that was killed.
    drop(std::os::unix::net::UnixListener::bind(dir.path().join("watch.sock")).unwrap());
    assert!(matches!(watch(dir.path()), Err(WatchError::NotRunning { .. })));
}

#[test]
fn lines_come_whole_and_an_endless_one_is_skipped() {
    let mut text = b"one\ntw\xff\n".to_vec();
    text.extend(vec![b'x'; 3 << 20]);
    text.extend(b"\nthree\nhalf");
    let mut lines = Vec::new();
    read_lines(&text[..], |line| {
        lines.push(line);
        true
    });
    assert_eq!(lines, ["one\n", "tw\u{fffd}\n", "three\n"]);
}

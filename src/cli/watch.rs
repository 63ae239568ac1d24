//! `divulge watch`: what a running `serve` sees, live.
//!
//! Reads the JSON Lines of `STATE/watch.sock`: findings, flows, and a status once a second. On a terminal they
//! become a board; anywhere else they are passed on as they come. Never slows `serve` down: what a watcher
//! does not take in time is dropped there.

mod board;
mod view;

use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;

use super::{INCOMPLETE, StateFolder, WRONG_USAGE, fail};

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    state: StateFolder,
}

pub fn run(args: Args) -> ExitCode {
    let state = match args.state.options().and_then(|options| options.state_dir()) {
        Ok(state) => state,
        Err(error) => return fail(WRONG_USAGE, &error),
    };
    match watch(&state) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of a pipe had enough.
        Err(WatchError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(INCOMPLETE, &error),
    }
}

#[derive(Debug, thiserror::Error)]
enum WatchError {
    #[error("no divulge serves from {state}: start `divulge serve`, or name its folder with --state DIR")]
    NotRunning { state: String },
    #[error("cannot reach the divulge that serves from {state}")]
    Unreachable { state: String, source: io::Error },
    #[error("cannot write what is seen")]
    Output(#[source] io::Error),
    #[cfg(not(unix))]
    #[error("watch needs a Unix socket, which this system has not")]
    Unsupported,
}

#[cfg(unix)]
fn watch(state: &Path) -> Result<(), WatchError> {
    let stream = connect(state)?;
    if io::stdout().is_terminal() && io::stdin().is_terminal() {
        on_terminal(stream).map_err(WatchError::Output)
    } else {
        io::copy(&mut &stream, &mut io::stdout().lock()).map(|_| ()).map_err(WatchError::Output)
    }
}

#[cfg(not(unix))]
fn watch(_: &Path) -> Result<(), WatchError> {
    Err(WatchError::Unsupported)
}

#[cfg(unix)]
fn connect(state: &Path) -> Result<std::os::unix::net::UnixStream, WatchError> {
    let shown = || super::printable(&state.display().to_string());
    std::os::unix::net::UnixStream::connect(state.join("watch.sock")).map_err(|source| match source.kind() {
        // A socket without a listener was left by a process that was killed.
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => WatchError::NotRunning { state: shown() },
        _ => WatchError::Unreachable { state: shown(), source },
    })
}

#[cfg(unix)]
fn on_terminal(stream: std::os::unix::net::UnixStream) -> io::Result<()> {
    use std::sync::mpsc;
    use std::time::Duration;

    use ratatui::crossterm::event::{self, Event, KeyEventKind};

    // Bounded: a screen that is slower than the traffic makes `serve` drop lines, not this process grow.
    let (sender, lines) = mpsc::sync_channel(1024);
    std::thread::spawn(move || read_lines(stream, |line| sender.send(line).is_ok()));
    let mut board = board::Board::default();
    let mut view = view::View::default();
    let mut terminal = ratatui::try_init()?;
    let result = loop {
        loop {
            match lines.try_recv() {
                Ok(line) => board.take(&line),
                Err(mpsc::TryRecvError::Empty) => break,
                Err(mpsc::TryRecvError::Disconnected) => {
                    board.ended = true;
                    break;
                }
            }
        }
        if let Err(error) = terminal.draw(|frame| view.draw(&board, frame)) {
            break Err(error);
        }
        match event::poll(Duration::from_millis(100)) {
            Ok(false) => {}
            Ok(true) => match event::read() {
                Ok(Event::Key(key)) if key.kind != KeyEventKind::Release && view.press(key, &mut board) => break Ok(()),
                Ok(_) => {}
                Err(error) => break Err(error),
            },
            Err(error) => break Err(error),
        }
    };
    ratatui::try_restore()?;
    result
}

/// Hands over each line until the stream ends or `take` has enough. Lines longer than a mebibyte are skipped.
#[cfg(unix)]
fn read_lines(stream: impl io::Read, mut take: impl FnMut(String) -> bool) {
    use std::io::{BufRead, Read};

    const LONGEST: u64 = 1024 * 1024;

    let mut reader = io::BufReader::new(stream);
    let mut skipping = false;
    loop {
        let mut line = Vec::new();
        match reader.by_ref().take(LONGEST).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let whole = line.last() == Some(&b'\n');
        if whole && !skipping && !take(String::from_utf8_lossy(&line).into_owned()) {
            return;
        }
        skipping = !whole;
    }
}

#[cfg(all(test, unix))]
mod tests;

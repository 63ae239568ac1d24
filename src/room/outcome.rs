//! How a run in a room ended.

use std::time::Duration;

/// Most bytes of each stream that are kept.
pub const MOST_BYTES: usize = 4 * 1024 * 1024;

#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The command's own, 128 + n where signal n ended it, 127 and 126 where it could not be started; none where the room
    /// ended before it.
    pub status: Option<i32>,
    /// Why the room ended before the command, or the command could not be handed to it.
    pub lost: Option<String>,
    pub timed_out: bool,
    /// It failed and said that it misses a terminal.
    pub wanted_terminal: bool,
    /// Standard output (and standard error, on a terminal), up to 4 MiB.
    pub printed: Vec<u8>,
    pub errors: Vec<u8>,
    pub elapsed: Duration,
}

impl Outcome {
    /// Judges by what was printed, as a person would.
    pub fn judge(&mut self, terminal: bool) {
        const SAYINGS: [&str; 8] = [
            "not a terminal",
            "not a tty",
            "isn't a tty",
            "raw mode is not supported",
            "requires a terminal",
            "needs a terminal",
            "requires a tty",
            "interactive terminal",
        ];
        if terminal || self.status == Some(0) {
            return;
        }
        let said = [self.printed.as_slice(), self.errors.as_slice()]
            .map(|bytes| String::from_utf8_lossy(bytes).to_ascii_lowercase());
        self.wanted_terminal = SAYINGS.iter().any(|saying| said.iter().any(|text| text.contains(saying)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_misses_a_terminal_is_known_by_what_it_says() {
        let outcome = |status, errors: &str| {
            let mut outcome = Outcome { status: Some(status), errors: errors.into(), ..Outcome::default() };
            outcome.judge(false);
            outcome.wanted_terminal
        };
        assert!(outcome(1, "Error: stdin is not a terminal"));
        assert!(outcome(1, "Raw mode is not supported on the current process.stdin"));
        assert!(!outcome(0, "warning: stdin is not a terminal"));
        assert!(!outcome(1, "no such file"));
    }
}

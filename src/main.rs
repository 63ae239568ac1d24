//! Calls one command.

use std::process::ExitCode;

fn main() -> ExitCode {
    divulge::cli::main()
}

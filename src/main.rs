//! Calls one command.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    divulge::cli::main()
}

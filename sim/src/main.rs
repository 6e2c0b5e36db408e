//! `seedbank-sim`: runs scenarios under virtual time and says what came of them.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run(std::env::args_os())
}

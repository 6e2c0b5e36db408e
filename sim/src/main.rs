//! `seedbank-sim`: runs scenarios under virtual time and says what came of them.

use std::process::ExitCode;

fn main() -> ExitCode {
    seedbank_sim::cli::run(std::env::args_os())
}

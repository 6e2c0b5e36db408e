//! The command line: what was asked for, what is printed, and exit codes.
//!
//! `args` is the command tree; the other files hold the commands. The simulator's library does no
//! I/O: files and the wall clock are here.

mod args;
mod attempt;
mod calibrate;
mod compare;
mod cost;
mod demo;
mod files;
pub mod front;
mod parquet;
mod play;
mod progress;
mod report;
mod spread;
mod summary;
mod sweep;
mod twin;
mod verify;
mod workers;

use std::ffi::OsString;
use std::fmt;
use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;
use std::sync::OnceLock;

use clap::Parser as _;

use args::{SimArgs, SimCommand};

/// The command was understood and could not be done.
const FAILED: u8 = 1;
/// It was not understood, or its scenario is none.
const USAGE: u8 = 2;
/// It was done, and a claim does not hold.
const REFUTED: u8 = 8;

/// Why a command failed.
#[derive(Debug)]
pub struct SimFailure {
    code: u8,
    problem: String,
}

impl SimFailure {
    fn usage(problem: impl fmt::Display) -> Self {
        Self {
            code: USAGE,
            problem: problem.to_string(),
        }
    }

    fn new(problem: impl fmt::Display) -> Self {
        Self {
            code: FAILED,
            problem: problem.to_string(),
        }
    }
}

impl SimFailure {
    /// Whether what was asked for is no scenario or no design; otherwise it could not be done.
    pub fn is_usage(&self) -> bool {
        self.code == USAGE
    }
}

impl fmt::Display for SimFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl std::error::Error for SimFailure {}

/// Runs one command line.
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args = match SimArgs::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => {
            // Help goes to standard output, mistakes to standard error; a closed pipe is none.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(USAGE));
        }
    };
    let done = match args.command {
        SimCommand::Run(options) => play::run(&options),
        SimCommand::Sweep(options) => sweep::run(&options),
        SimCommand::Compare(options) => compare::run(&options),
        SimCommand::Report(options) => report::run(&options),
        SimCommand::Verify(options) => verify::run(&options),
        SimCommand::Calibrate(options) => calibrate::run(&options),
        SimCommand::List => play::list(),
        SimCommand::New(options) => play::new(&options),
        SimCommand::Demo { rng_seed } => demo::run(rng_seed),
        SimCommand::Spread(options) => spread::run(&options),
    };
    let unsaid = || UNSAID.get().map_or(Ok(()), |why| Err(SimFailure::new(why)));
    match done.and_then(|()| unsaid()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.problem.is_empty() {
                let _ = writeln!(std::io::stderr(), "seedbank-sim: {}", failure.problem);
            }
            ExitCode::from(failure.code)
        }
    }
}

/// Why a line could not be printed, if one could not.
static UNSAID: OnceLock<String> = OnceLock::new();

/// Prints a line. What cannot be printed fails the command at its end.
fn say(text: impl fmt::Display) {
    let said = writeln!(std::io::stdout(), "{text}");
    match said.map_err(|error| (error.kind(), error)) {
        // A reader that has gone away has read enough.
        Ok(()) | Err((ErrorKind::BrokenPipe, _)) => {}
        Err((_, error)) => {
            let _ = UNSAID.set(format!("standard output: {error}"));
        }
    }
}

//! `seedbank-sim`: runs scenarios under virtual time and says what came of them.

use std::process::ExitCode;

/// Worlds are many small pieces all over memory: huge pages, which it asks for, save a sixth of the
/// time (docs/FIGURES.md).
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    seedbank_sim::cli::run(std::env::args_os())
}

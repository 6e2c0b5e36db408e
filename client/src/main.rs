//! `seedbank`: arguments and terminal in, exit code out; everything else is in the library.

use std::process::ExitCode;

use seedbank_client::cli::{self, Io};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let code = cli::run(std::env::args_os(), &mut Io::of_process()).await;
    ExitCode::from(code)
}

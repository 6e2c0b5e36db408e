//! What is said where nothing more can be written.

#![cfg(target_os = "linux")]

use std::fs::OpenOptions;
use std::process::{Command, Stdio};

#[test]
fn results_that_cannot_be_printed_are_a_failure() {
    let list = |stdout: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seedbank-sim"));
        let done = command.arg("list").stdout(stdout).output().unwrap();
        (done.status.code(), String::from_utf8(done.stderr).unwrap())
    };
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (code, said) = list(full.into());
    assert_eq!(code, Some(1));
    assert!(
        said.starts_with("seedbank-sim: standard output: "),
        "{said}"
    );
    let (code, said) = list(Stdio::null());
    assert_eq!((code, said.as_str()), (Some(0), ""));
}

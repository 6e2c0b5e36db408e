//! The set-up scripts, with a cargo that only pretends: RocksDB itself is never compiled here.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use seedbank_tests::repository;

/// Writes its arguments and what it sees of the archive's variables to `calls`, then leaves the
/// archive where librocksdb-sys would, unless told to fail.
const CARGO: &str = r#"#!/usr/bin/env bash
echo "$* ${ROCKSDB_LIB_DIR-unset}" >>"$CALLS"
[ -z "${FAIL:-}" ] || exit 101
out=$CARGO_TARGET_DIR/release/build/librocksdb-sys-0/out
mkdir -p "$out" && echo archive >"$out/librocksdb.a"
"#;

fn librocksdb(at: &Path, fail: &str) -> Output {
    let bin = at.join("bin");
    fs::create_dir_all(&bin).unwrap();
    fs::write(bin.join("cargo"), CARGO).unwrap();
    fs::set_permissions(bin.join("cargo"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap();
    Command::new(repository::root().join(".ci/librocksdb"))
        .args([at.join("archive"), at.join("build")])
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("CALLS", at.join("calls"))
        .env("FAIL", fail)
        .env("ROCKSDB_LIB_DIR", "not built yet")
        .output()
        .unwrap()
}

fn calls(at: &Path) -> Vec<String> {
    fs::read_to_string(at.join("calls"))
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn rocksdb_is_compiled_once_and_never_twice() {
    let at = tempfile::tempdir().unwrap();

    let first = librocksdb(at.path(), "");
    assert!(first.status.success(), "{first:?}");
    let said = String::from_utf8(first.stdout).unwrap();
    assert!(
        said.contains("compiling RocksDB") && said.contains("ten minutes"),
        "{said}"
    );

    let second = librocksdb(at.path(), "");
    assert!(
        second.status.success() && second.stdout.is_empty(),
        "{second:?}"
    );
    let calls = calls(at.path());
    assert_eq!(calls.len(), 1);
    assert!(
        calls[0].ends_with(" unset"),
        "the build must not look for its own result: {calls:?}"
    );
    assert!(
        !at.path().join("build").exists(),
        "the objects are of no further use"
    );
}

#[test]
fn a_failed_compilation_leaves_no_archive_and_is_tried_again() {
    let at = tempfile::tempdir().unwrap();
    assert_eq!(librocksdb(at.path(), "yes").status.code(), Some(101));
    assert!(!at.path().join("archive/librocksdb.a").exists());
    assert!(librocksdb(at.path(), "").status.success());
    assert!(at.path().join("archive/librocksdb.a").exists());
}

//! The set-up scripts, with tools that only pretend: RocksDB itself is never compiled here.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use seedbank_tests::repository;
use tempfile::TempDir;

/// Names the two crates in `registry` when asked for metadata. Else writes its arguments and what
/// it sees of the archive's variables to `calls`, then leaves the archive where librocksdb-sys
/// would, unless told to fail.
const CARGO: &str = r#"#!/usr/bin/env bash
if [ "$1" = metadata ]; then
    for crate in "$AT"/registry/*; do echo "{\"manifest_path\":\"$crate/Cargo.toml\"}"; done
    exit
fi
echo "$* ${ROCKSDB_LIB_DIR-unset}" >>"$AT/calls"
[ -z "${FAIL:-}" ] || exit 101
out=$CARGO_TARGET_DIR/release/build/librocksdb-sys-0/out
mkdir -p "$out" && echo "by cargo" >"$out/librocksdb.a"
"#;

fn program(folder: &Path, name: &str, text: &str) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join(name), text).unwrap();
    fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755)).unwrap();
}

/// A script of `.ci`, which finds the programs in `at/bin` first.
fn script(name: &str, at: &Path) -> Command {
    let path = std::env::var("PATH").unwrap();
    let mut command = Command::new(repository::root().join(".ci").join(name));
    command
        .env("PATH", format!("{}:{path}", at.join("bin").display()))
        .env("AT", at);
    command
}

fn librocksdb(at: &Path, fail: &str) -> Output {
    program(&at.join("bin"), "cargo", CARGO);
    script("librocksdb", at)
        .args([at.join("archive"), at.join("build")])
        .env("FAIL", fail)
        .env("ROCKSDB_LIB_DIR", "not built yet")
        .output()
        .unwrap()
}

/// A registry with the crate that the recipe is for, of as many sources as given.
fn with_sources(sources: &[(&str, &str)]) -> TempDir {
    let at = tempfile::tempdir().unwrap();
    let registry = at.path().join("registry");
    let rocksdb = registry.join(format!("librocksdb-sys-{}", locked_version()));
    fs::create_dir_all(registry.join("lz4-sys-1.0.0")).unwrap();
    fs::create_dir_all(rocksdb.join("rocksdb/util")).unwrap();
    let mut list = String::from("util/build_version.cc\n");
    for (name, text) in sources {
        fs::write(rocksdb.join("rocksdb").join(name), text).unwrap();
        list.push_str(&format!("{name}\n"));
    }
    fs::write(rocksdb.join("rocksdb_lib_sources.txt"), list).unwrap();
    fs::write(rocksdb.join("build_version.cc"), "int build_version;\n").unwrap();
    at
}

fn locked_version() -> String {
    let lock = fs::read_to_string(repository::root().join("Cargo.lock")).unwrap();
    let (_, after) = lock.split_once("name = \"librocksdb-sys\"").unwrap();
    after.split('"').nth(1).unwrap().to_owned()
}

fn calls(at: &Path) -> Vec<String> {
    fs::read_to_string(at.join("calls"))
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect()
}

fn archive(at: &Path) -> String {
    let bytes = fs::read(at.join("archive/librocksdb.a")).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn rocksdb_is_compiled_once_and_never_twice() {
    let at = with_sources(&[
        (
            "one.cc",
            "#include <vector>\nint one() { return sizeof(std::vector<uint8_t>); }\n",
        ),
        (
            "two.cc",
            "#ifndef LZ4\n#error not as build.rs has it\n#endif\nint two;\n",
        ),
    ]);

    let first = librocksdb(at.path(), "");
    assert!(first.status.success(), "{first:?}");
    let said = String::from_utf8(first.stdout).unwrap();
    assert!(
        said.contains("compiling RocksDB") && said.contains("minutes"),
        "{said}"
    );
    for symbol in ["one", "two", "build_version"] {
        assert!(archive(at.path()).contains(symbol), "{symbol} is not in it");
    }
    assert_eq!(calls(at.path()), [""; 0], "cargo compiled nothing");
    assert!(
        !at.path().join("build").exists(),
        "the objects are of no further use"
    );

    let second = librocksdb(at.path(), "");
    assert!(
        second.status.success() && second.stdout.is_empty(),
        "{second:?}"
    );
}

#[test]
fn cargo_compiles_rocksdb_where_the_recipe_does_not_work() {
    let broken = with_sources(&[("one.cc", "#error does not go together\n")]);
    let another = tempfile::tempdir().unwrap(); // of which the recipe knows nothing
    for at in [broken, another] {
        let output = librocksdb(at.path(), "");
        assert!(output.status.success(), "{output:?}");
        assert_eq!(archive(at.path()), "by cargo\n");
        let calls = calls(at.path());
        assert_eq!(calls.len(), 1);
        assert!(
            calls[0].ends_with(" unset"),
            "the build must not look for its own result: {calls:?}"
        );
        assert!(!at.path().join("build").exists());
    }
}

#[test]
fn a_failed_compilation_leaves_no_archive_and_is_tried_again() {
    let at = tempfile::tempdir().unwrap();
    assert_eq!(librocksdb(at.path(), "yes").status.code(), Some(101));
    assert!(!at.path().join("archive/librocksdb.a").exists());
    assert!(librocksdb(at.path(), "").status.success());
    assert!(at.path().join("archive/librocksdb.a").exists());
}

#[test]
fn the_recipe_is_for_the_locked_rocksdb_and_its_features() {
    let root = repository::root();
    let script = fs::read_to_string(root.join(".ci/librocksdb")).unwrap();
    let recipe = format!("recipe=librocksdb-sys-{}\n", locked_version());
    assert!(script.contains(&recipe), "read its build.rs: {recipe}");
    let workspace = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let features = r#"default-features = false, features = ["lz4", "bindgen-runtime"]"#;
    assert!(
        workspace.contains(features),
        "flags name what {features} does"
    );
}

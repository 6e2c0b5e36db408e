//! The set-up scripts, with tools that only pretend: RocksDB itself is never compiled here.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
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

/// Says that nobody here is root.
const ID: &str = "#!/bin/sh\necho 1000\n";

const NOTHING: &str = "#!/bin/sh\n";

/// The first bytes of a library for machines of 64 bits, which is all that anybody reads.
const ELF_64: &[u8] = b"\x7fELF\x02";
const ELF_32: &[u8] = b"\x7fELF\x01";

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

/// What `.ci/libclang` finds on a machine that has these files, each with these first bytes.
fn libclang(files: &[(&str, &[u8])]) -> Option<String> {
    let machine = tempfile::tempdir().unwrap();
    for (path, bytes) in files {
        let path = machine.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    // A symbolic link to nothing, as a removed package may leave it.
    fs::create_dir_all(machine.path().join("usr/lib")).unwrap();
    symlink("gone.so.1", machine.path().join("usr/lib/libclang.so")).unwrap();
    let output = script("libclang", machine.path())
        .arg(machine.path())
        .env_remove("LIBCLANG_PATH")
        .output()
        .unwrap();
    let found = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.success(), !found.is_empty());
    let name = Path::new(found.trim()).file_name()?;
    Some(name.to_str().unwrap().to_owned())
}

#[test]
fn libclang_is_what_bindgen_would_load() {
    for path in [
        "usr/lib/llvm-14/lib/libclang.so.1",
        "usr/lib/llvm-14/lib/libclang.so",
        "usr/lib/x86_64-linux-gnu/libclang-14.so.13",
        "usr/lib64/libclang-19.so",
        "usr/local/lib/libclang.so.13",
    ] {
        let name = path.rsplit('/').next().map(str::to_owned);
        assert_eq!(libclang(&[(path, ELF_64)]), name, "{path}");
    }
}

#[test]
fn libclang_is_not_what_only_begins_like_it() {
    let others: [(&str, &[u8]); 6] = [
        ("usr/lib/llvm-14/lib/libclang-cpp.so.14", ELF_64),
        ("usr/lib/x86_64-linux-gnu/libclang-cpp.so.14", ELF_64),
        ("usr/lib/llvm-14/lib/libclangBasic.a", b"!<arch>"),
        ("usr/lib/i386-linux-gnu/libclang-14.so.13", ELF_32),
        ("usr/lib/llvm-14/lib/libclang.so.1", b"a text"),
        ("opt/llvm/lib/libclang.so", ELF_64),
    ];
    assert_eq!(libclang(&others), None);
}

/// `.ci/packages` for a user who is not root, where the only libclang is a libclang-cpp.
fn packages_of_a_plain_user(at: &Path, sudo: bool) -> Output {
    for name in ["cargo", "cc", "g++", "apt-get"] {
        program(&at.join("bin"), name, NOTHING);
    }
    program(&at.join("bin"), "id", ID);
    if sudo {
        program(&at.join("bin"), "sudo", NOTHING);
    }
    let libraries = at.join("lib");
    fs::create_dir_all(&libraries).unwrap();
    fs::write(libraries.join("libclang-cpp.so.14"), ELF_64).unwrap();
    for name in ["bash", "dirname", "head", "od", "getconf"] {
        let found = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(name));
        let found = found.iter().find(|path| path.exists()).unwrap();
        let _ = symlink(found, at.join("bin").join(name));
    }
    script("packages", at)
        .arg("rocksdb")
        .env("PATH", at.join("bin"))
        .env("LIBCLANG_PATH", libraries)
        .output()
        .unwrap()
}

#[test]
fn who_is_not_root_gets_the_one_line_to_run() {
    let at = tempfile::tempdir().unwrap();
    for (sudo, start) in [(false, "  su -c '"), (true, "  sudo sh -c '")] {
        let output = packages_of_a_plain_user(at.path(), sudo);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        let line = said.lines().last().unwrap();
        assert!(line.starts_with(start), "{said}");
        assert!(
            line.contains("apt-get update && apt-get install -y"),
            "{said}"
        );
        assert!(line.ends_with(" libclang-dev'"), "{said}");
    }
}

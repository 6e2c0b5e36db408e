//! The files of this repository, as a reader of the tree sees them: what the tidy test judges.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};

/// Folders that are not part of the tree: git's own, build output, interpreter caches.
const SKIPPED: [&str; 3] = [".git", "target", "__pycache__"];

/// The folder that holds the workspace's `Cargo.toml`.
///
/// Asked for when the test runs: clones share one target folder, so a path that was fixed when the
/// test was compiled may be another clone's.
#[must_use]
pub fn root() -> PathBuf {
    let tests = std::env::var_os("CARGO_MANIFEST_DIR").expect("tests are run by cargo");
    Path::new(&tests)
        .parent()
        .expect("this crate is a folder of the workspace")
        .to_owned()
}

/// The folder of the profile that this test was built with: programs lie here, tests in `deps`.
///
/// # Errors
/// When this is not a test that cargo built.
pub fn built() -> Result<PathBuf> {
    let exe = std::env::current_exe()?;
    let profile = exe
        .parent()
        .and_then(Path::parent)
        .context("a test lies in PROFILE/deps")?;
    Ok(profile.to_owned())
}

/// A program of ours, built with the same profile as this test.
///
/// # Errors
/// When it is not built, or older than one of its sources: cargo builds no program for the tests
/// of another crate, so a forgotten build would test yesterday's.
pub fn program(name: &str) -> Result<PathBuf> {
    let program = built()?.join(name);
    let built_at = modified(&program).with_context(|| format!("{name}: run `make build`"))?;
    // Cargo lists a program's sources beside it, in the manner of make.
    let sources = fs::read_to_string(program.with_extension("d"))?;
    for source in sources.split_whitespace().skip(1) {
        let changed = modified(Path::new(source)).is_ok_and(|changed| changed > built_at);
        ensure!(!changed, "{name} is older than {source}: run `make build`");
    }
    Ok(program)
}

fn modified(path: &Path) -> Result<SystemTime> {
    fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .with_context(|| path.display().to_string())
}

/// Every file below `root`, as a path relative to it, in the order of their names.
///
/// # Errors
/// When a folder cannot be read.
pub fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in folder
            .read_dir()
            .with_context(|| format!("reading {}", folder.display()))?
        {
            let entry = entry?;
            if SKIPPED.iter().any(|skipped| entry.file_name() == *skipped) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                found.push(entry.path().strip_prefix(root)?.to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

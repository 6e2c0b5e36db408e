//! The files of this repository, as a reader of the tree sees them: what the tidy test judges.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Folders that are not part of the tree: git's own, build output, interpreter caches.
const SKIPPED: [&str; 3] = [".git", "target", "__pycache__"];

/// The folder that holds the workspace's `Cargo.toml`.
#[must_use]
pub fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests
        .parent()
        .expect("this crate is a folder of the workspace")
        .to_owned()
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

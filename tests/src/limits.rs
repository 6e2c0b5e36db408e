//! What the system lets a process have, and what it has of it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises this process's limit of open files to `count`.
///
/// # Errors
/// When the system allows no more, even if asked.
pub fn raise_open_files(count: u64) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= count) {
        return Ok(());
    }
    let most = limit.maximum.unwrap_or(u64::MAX);
    ensure!(most >= count, "{count} open files wanted, {most} allowed");
    let raised = Rlimit {
        current: Some(count),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).context("raising the limit of open files")
}

/// Bytes of a process's memory that no file stands behind (`RssAnon`).
///
/// # Errors
/// When there is no such process.
pub fn anonymous_bytes(process: u32) -> Result<u64> {
    status_bytes(process, "RssAnon:")
}

/// The most bytes of memory that a process had at once (`VmHWM`).
///
/// # Errors
/// When there is no such process.
pub fn peak_bytes(process: u32) -> Result<u64> {
    status_bytes(process, "VmHWM:")
}

fn status_bytes(process: u32, key: &str) -> Result<u64> {
    let status = fs::read_to_string(folder_of(process)?.join("status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib: u64 = kib.with_context(|| format!("no {key}"))?.parse()?;
    Ok(kib << 10)
}

/// Where the system says what it knows of a process of our namespace: `/proc` is the machine's,
/// with its numbers.
///
/// # Errors
/// When there is no such process.
pub(crate) fn folder_of(process: u32) -> Result<PathBuf> {
    let own = fs::read_link("/proc/self/ns/pid")?;
    let number = process.to_string();
    for entry in fs::read_dir("/proc")?.flatten() {
        let folder = entry.path();
        // Others' processes, and those that have ended by now, are not ours to read.
        if !fs::read_link(folder.join("ns/pid")).is_ok_and(|namespace| namespace == own) {
            continue;
        }
        let status = fs::read_to_string(folder.join("status")).unwrap_or_default();
        let mut numbers = status
            .lines()
            .filter_map(|line| line.strip_prefix("NSpid:"));
        if numbers.any(|line| line.split_whitespace().last() == Some(&*number)) {
            return Ok(folder);
        }
    }
    bail!("no process {process}")
}

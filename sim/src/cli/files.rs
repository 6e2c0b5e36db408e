//! Files and the wall clock, which the simulator itself knows nothing of.

#![expect(
    clippy::disallowed_types,
    reason = "the command line reads scenarios, writes results and tells how long it took"
)]

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use seedbank_sim::frame::Frame;
use seedbank_sim::play::PlayOutcome;
use seedbank_sim::scenario::ScenarioFiles;

use super::{SimFailure, parquet};

/// Longest scenario that is read.
const SCENARIO_LEN_MAX: u64 = 16 << 20;

/// What a folder has results of.
const DESIGN: &str = "design.json";
/// What results are of; written last.
const MANIFEST: &str = "manifest.json";
/// Where what came of each run is kept.
const PARTS: &str = "parts";

/// How long something takes.
#[derive(Debug)]
pub(super) struct WallClock(Instant);

/// A folder that was made for results.
#[derive(Debug)]
pub(super) struct OutFolder {
    path: PathBuf,
}

impl WallClock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

impl OutFolder {
    /// A new folder: results of two runs are never mixed.
    pub(super) fn make(path: &Path) -> Result<Self, SimFailure> {
        fs::create_dir(path).map_err(|error| failed(path, &error))?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// A folder that is there.
    pub(super) fn open(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// A new folder for what came of several runs.
    pub(super) fn make_for_runs(path: &Path) -> Result<Self, SimFailure> {
        let folder = Self::make(path)?;
        let parts = path.join(PARTS);
        fs::create_dir(&parts).map_err(|error| failed(&parts, &error))?;
        Ok(folder)
    }

    /// Writes what results are of, last: a folder that has a manifest is whole.
    pub(super) fn put_manifest(&self, manifest: &serde_json::Value) -> Result<(), SimFailure> {
        self.put(MANIFEST, &format!("{manifest:#}\n"))
    }

    /// Writes every file; the manifest last, so that a folder with one is whole.
    pub(super) fn write(
        &self,
        played: &PlayOutcome,
        manifest: &serde_json::Value,
    ) -> Result<(), SimFailure> {
        self.put(
            "scenario.toml",
            manifest["scenario"].as_str().unwrap_or_default(),
        )?;
        self.put("peers.csv", &played.peers_frame().to_csv())?;
        self.put("fetches.csv", &played.fetches_frame().to_csv())?;
        self.put("series.csv", &played.series_frame().to_csv())?;
        self.put("unchokes.csv", &played.unchokes_frame().to_csv())?;
        self.put_manifest(manifest)
    }

    /// The folder, which may be there already if it is of the same design.
    pub(super) fn resume(path: &Path, design: &str, go_on: bool) -> Result<Self, SimFailure> {
        let folder = Self {
            path: path.to_owned(),
        };
        match fs::create_dir(path) {
            Ok(()) => folder.put(DESIGN, design)?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists && go_on => {
                let found = read(&path.join(DESIGN))?;
                if found != design {
                    return Err(SimFailure::usage(format_args!(
                        "{}: has the results of another design",
                        path.display()
                    )));
                }
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Err(SimFailure::usage(format_args!(
                    "{}: is there already; --resume goes on with it",
                    path.display()
                )));
            }
            Err(error) => return Err(failed(path, &error)),
        }
        fs::create_dir_all(path.join(PARTS)).map_err(|error| failed(path, &error))?;
        Ok(folder)
    }

    /// Writes a text under another name first: nothing half-written is left as if it were whole.
    pub(super) fn put(&self, name: &str, text: &str) -> Result<(), SimFailure> {
        self.put_by(name, |file| file.write_all(text.as_bytes()))
    }

    /// The same for whatever writes to a file.
    pub(super) fn put_by(
        &self,
        name: &str,
        write: impl FnOnce(&mut File) -> std::io::Result<()>,
    ) -> Result<(), SimFailure> {
        let path = self.path.join(name);
        let part = self.path.join(format!("{name}.unfinished"));
        let written = File::create(&part).and_then(|mut file| {
            write(&mut file)?;
            file.sync_all()?;
            fs::rename(&part, &path)
        });
        written.map_err(|error| {
            // What is there is of no use; if it cannot be removed either, its name says so.
            let _ = fs::remove_file(&part);
            failed(&path, &error)
        })
    }

    /// The design that a sweep's folder has results of.
    pub(super) fn design(&self) -> Result<String, SimFailure> {
        read(&self.path.join(DESIGN))
    }

    /// What was kept of a run; `None` if there is nothing whole.
    pub(super) fn part(&self, id: &str) -> Option<String> {
        fs::read_to_string(self.path.join(part_name(id))).ok()
    }

    /// Keeps what came of a run.
    pub(super) fn put_part(&self, id: &str, text: &str) -> Result<(), SimFailure> {
        self.put(&part_name(id), text)
    }
}

/// The text of a node's log, which may be long; `None` of a folder, and of what is no text.
pub(super) fn read_text(path: &Path) -> Result<Option<String>, SimFailure> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8(bytes).ok()),
        Err(error) if error.kind() == ErrorKind::IsADirectory => Ok(None),
        Err(error) => Err(failed(path, &error)),
    }
}

/// The text of a scenario, or of a design.
pub(super) fn read(path: &Path) -> Result<String, SimFailure> {
    let len = fs::metadata(path)
        .map_err(|error| failed(path, &error))?
        .len();
    if len > SCENARIO_LEN_MAX {
        return Err(SimFailure::usage(format_args!(
            "{}: {len} bytes are too many",
            path.display()
        )));
    }
    fs::read_to_string(path).map_err(|error| failed(path, &error))
}

/// The texts of files that a scenario names, beside it; those that are not there are left out.
pub(super) fn beside(scenario: &Path, names: Vec<String>) -> Result<ScenarioFiles, SimFailure> {
    let folder = scenario.parent().unwrap_or(Path::new(""));
    let mut texts = ScenarioFiles::new();
    for name in names {
        let path = folder.join(&name);
        if fs::exists(&path).map_err(|error| failed(&path, &error))? {
            texts.insert(name, read(&path)?);
        }
    }
    Ok(texts)
}

/// What a folder has results of.
pub(super) fn read_manifest(folder: &Path) -> Result<String, SimFailure> {
    let path = folder.join(MANIFEST);
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let found = folder.is_dir();
            Err(SimFailure::usage(match found {
                true => format!(
                    "{}: has no {MANIFEST}: no run, sweep or comparison was finished there",
                    folder.display()
                ),
                false => format!("{}: there is no such folder", folder.display()),
            }))
        }
        read => read.map_err(|error| failed(&path, &error)),
    }
}

/// Rows of a CSV file of ours.
pub(super) fn read_csv(path: &Path) -> Result<Frame, SimFailure> {
    let text = fs::read_to_string(path).map_err(|error| failed(path, &error))?;
    let cut_off = |line| SimFailure::new(format_args!("{}: ends in line {line}", path.display()));
    Frame::of_csv(&text).map_err(cut_off)
}

/// Rows of a Parquet file of ours, as many at a time as were written together.
pub(super) fn read_parquet(
    path: &Path,
    take: impl FnMut(Frame) -> std::io::Result<()>,
) -> Result<(), SimFailure> {
    let read = File::open(path).and_then(|file| parquet::read(file, take));
    read.map_err(|error| failed(path, &error))
}

/// The command line as it was typed, so that a shell understands it.
pub(super) fn typed() -> String {
    let words = std::env::args_os().skip(1);
    let words = words.map(|word| quoted(&word.to_string_lossy()));
    let words = std::iter::once("seedbank-sim".to_owned()).chain(words);
    words.collect::<Vec<_>>().join(" ")
}

/// A word for a shell.
pub(super) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

/// Writes a file that is not there yet.
pub(super) fn write_new(path: &Path, text: &str) -> Result<(), SimFailure> {
    let mut file = File::create_new(path).map_err(|error| failed(path, &error))?;
    let written = file.write_all(text.as_bytes());
    written.and_then(|()| file.sync_all()).map_err(|error| {
        // Half a scenario is none.
        let _ = fs::remove_file(path);
        failed(path, &error)
    })
}

pub(super) fn failed(path: &Path, error: &std::io::Error) -> SimFailure {
    SimFailure::new(format_args!("{}: {error}", path.display()))
}

fn part_name(id: &str) -> String {
    format!("{PARTS}/{id}.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_whole_is_not_there_and_what_was_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let out = OutFolder::open(folder.path());
        let half = |file: &mut File| {
            file.write_all(b"half")?;
            Err(ErrorKind::StorageFull.into())
        };
        let failure = out.put_by("peers.csv", half).unwrap_err();
        assert!(failure.problem.contains("peers.csv: "), "{failure:?}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        out.put("peers.csv", "whole").unwrap();
        out.put_by("peers.csv", half).unwrap_err();
        let kept = fs::read_to_string(folder.path().join("peers.csv"));
        assert_eq!(kept.unwrap(), "whole");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(quoted("run.duration=2h"), "run.duration=2h");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(quoted(""), "''");
    }
}

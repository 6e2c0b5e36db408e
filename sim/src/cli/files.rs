//! Files and the wall clock, which the simulator itself knows nothing of.

#![expect(
    clippy::disallowed_types,
    reason = "the command line reads scenarios, writes results and tells how long it took"
)]

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use seedbank_sim::play::PlayOutcome;

use super::SimFailure;

/// Longest scenario that is read.
const SCENARIO_LEN_MAX: u64 = 16 << 20;

/// What a folder has results of.
const DESIGN: &str = "design.json";
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

    /// Writes every file; the manifest last, so that a folder with one is whole.
    pub(super) fn write(
        &self,
        played: &PlayOutcome,
        manifest: &serde_json::Value,
    ) -> Result<(), SimFailure> {
        self.put("peers.csv", &played.peers_frame().to_csv())?;
        self.put("series.csv", &played.series_frame().to_csv())?;
        self.put("manifest.json", &format!("{manifest:#}\n"))
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

    /// What was kept of a run; `None` if there is nothing whole.
    pub(super) fn part(&self, id: &str) -> Option<String> {
        fs::read_to_string(self.path.join(part_name(id))).ok()
    }

    /// Keeps what came of a run.
    pub(super) fn put_part(&self, id: &str, text: &str) -> Result<(), SimFailure> {
        self.put(&part_name(id), text)
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

/// Writes a file that is not there yet.
pub(super) fn write_new(path: &Path, text: &str) -> Result<(), SimFailure> {
    let mut file = File::create_new(path).map_err(|error| failed(path, &error))?;
    file.write_all(text.as_bytes())
        .map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &std::io::Error) -> SimFailure {
    SimFailure::new(format_args!("{}: {error}", path.display()))
}

fn part_name(id: &str) -> String {
    format!("{PARTS}/{id}.json")
}

//! Files and the wall clock, which the simulator itself knows nothing of.

#![expect(
    clippy::disallowed_types,
    reason = "the command line reads scenarios, writes results and tells how long it took"
)]

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use seedbank_sim::play::Played;

use super::Failure;

/// Longest scenario that is read.
const SCENARIO_LEN_MAX: u64 = 16 << 20;

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
    pub(super) fn make(path: &Path) -> Result<Self, Failure> {
        fs::create_dir(path).map_err(|error| failed(path, &error))?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// Writes every file; the manifest last, so that a folder with one is whole.
    pub(super) fn write(
        &self,
        played: &Played,
        manifest: &serde_json::Value,
    ) -> Result<(), Failure> {
        self.put("peers.csv", &played.peers_frame().to_csv())?;
        self.put("series.csv", &played.series_frame().to_csv())?;
        self.put("manifest.json", &format!("{manifest:#}\n"))
    }

    /// Under another name first: nothing half-written is left as if it were whole.
    fn put(&self, name: &str, text: &str) -> Result<(), Failure> {
        let path = self.path.join(name);
        let part = self.path.join(format!("{name}.part"));
        let written = fs::write(&part, text).and_then(|()| {
            File::open(&part)?.sync_all()?;
            fs::rename(&part, &path)
        });
        written.map_err(|error| {
            // What is there is of no use; if it cannot be removed either, its name says so.
            let _ = fs::remove_file(&part);
            failed(&path, &error)
        })
    }
}

/// A scenario's text.
pub(super) fn read(name: &str) -> Result<String, Failure> {
    let path = Path::new(name);
    let len = fs::metadata(path)
        .map_err(|error| failed(path, &error))?
        .len();
    if len > SCENARIO_LEN_MAX {
        return Err(Failure::usage(format_args!(
            "{name}: {len} bytes are no scenario"
        )));
    }
    fs::read_to_string(path).map_err(|error| failed(path, &error))
}

/// Writes a file that is not there yet.
pub(super) fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let mut file = File::create_new(path).map_err(|error| failed(path, &error))?;
    file.write_all(text.as_bytes())
        .map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format_args!("{}: {error}", path.display()))
}

//! One scenario's network and folders, inside its namespace: addresses for clients, and a tracker.

use std::cell::Cell;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use crate::content::{Content, Plan};
use crate::link::{Links, batch};
use crate::process::tail;
use crate::torrent::Torrent;
use crate::tracker::Tracker;

/// Every client listens here, each on its own address.
pub const PORT: u16 = 6881;

/// Addresses that exist besides the harness's own.
const CLIENTS_MAX: u8 = 40;

/// The address of the harness, and of its tracker. Not of loopback: Transmission dials no 127/8.
const HARNESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// Set to keep the files of scenarios that succeed.
const KEEP: &str = "SEEDBANK_TEST_KEEP";

/// What a scenario is given.
#[derive(Debug)]
pub struct Net {
    /// Introduces the clients to each other, unless told otherwise.
    pub tracker: Arc<Tracker>,
    /// Machines behind links of their own.
    pub links: Links,
    folder: PathBuf,
    sockets: TempDir,
    last: Cell<u8>,
}

impl Net {
    /// Sets up the network of the namespace that this process is in, and an empty folder.
    pub(crate) fn start(name: &str) -> Result<Self> {
        bring_up()?;
        let folder = output()?.join(name.replace("::", "-"));
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let tracker = Arc::new(Tracker::start(HARNESS)?);
        let sockets = tempfile::tempdir()?;
        let last = Cell::new(HARNESS.octets()[3]);
        Ok(Self {
            tracker,
            links: Links::default(),
            folder,
            sockets,
            last,
        })
    }

    /// An address that nobody else has.
    ///
    /// # Panics
    /// After 40 of them.
    pub fn address(&self) -> Ipv4Addr {
        assert!(
            self.last.get() <= CLIENTS_MAX,
            "a scenario has at most {CLIENTS_MAX} clients"
        );
        self.last.set(self.last.get() + 1);
        Ipv4Addr::new(10, 77, 0, self.last.get())
    }

    /// As [`Net::address`], with the port on which clients listen.
    pub fn listen_addr(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.address(), PORT)
    }

    /// A folder of this scenario, made if it is not there. Removed when the scenario succeeds.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// A path for a unix socket: theirs are at most 107 bytes long, and folders here may be deep.
    #[must_use]
    pub fn socket(&self, name: &str) -> PathBuf {
        self.sockets.path().join(format!("{name}.sock"))
    }

    /// A torrent of this content, announced to our HTTP tracker. The content is written by the
    /// first scenario that wants it and read by all others, in this run and the next.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn torrent(&self, plan: Plan) -> Result<Torrent> {
        let shared = output()?.join("content");
        fs::create_dir_all(&shared)?;
        let lock = File::create(shared.join(format!("{}.lock", plan.name)))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        let content = match Content::read(plan.clone(), &shared) {
            Ok(content) => content,
            Err(_) => Content::write(plan, &shared)?,
        };
        Torrent::write(&content, &self.tracker.http_url(), &self.folder)
    }

    /// A folder in which a seed finds the content: links to the shared files.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn seed_folder(&self, name: &str, content: &Content) -> Result<PathBuf> {
        let folder = self.folder(name)?;
        content.link_into(&folder)?;
        Ok(folder)
    }

    /// Removes what the scenario left behind. A failed one keeps it, to be looked at; so does
    /// every one when [`KEEP`] is in the environment.
    pub(crate) fn succeed(self) {
        if std::env::var_os(KEEP).is_some() {
            return;
        }
        // Left-overs are overwritten by the next run anyway.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        if std::thread::panicking() {
            show_logs(&self.folder);
        }
    }
}

/// The end of every log in a failed scenario's folder.
fn show_logs(folder: &Path) {
    eprintln!("the scenario's files are kept in {}", folder.display());
    for path in folder
        .read_dir()
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
    {
        if path.extension().is_some_and(|extension| extension == "log") {
            let log = fs::read(&path).unwrap_or_default();
            eprintln!(
                "---- {}\n{}",
                path.display(),
                tail(&String::from_utf8_lossy(&log))
            );
        }
    }
}

/// Where the tests keep files: beside the build output, on a disk that has room for content.
fn output() -> Result<PathBuf> {
    Ok(crate::repository::built()?
        .parent()
        .context("a profile lies in the target folder")?
        .join("seedbank-tests"))
}

fn bring_up() -> Result<()> {
    let mut commands = String::from("link set lo up\n");
    for last in HARNESS.octets()[3]..=CLIENTS_MAX + 1 {
        commands.push_str(&format!("addr add 10.77.0.{last}/32 dev lo\n"));
    }
    batch(Command::new("ip"), &commands)
}

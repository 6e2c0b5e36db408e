//! Real BitTorrent clients behind one interface: seed this, fetch that, how far, any complaint?

use std::net::SocketAddrV4;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::content::EmptyFiles;
use crate::poll::poll;
use crate::torrent::Torrent;

mod aria2;
mod libtorrent;
mod transmission;

pub use aria2::Aria2;
pub use libtorrent::{Libtorrent, Options as LibtorrentOptions};
pub use transmission::Transmission;

/// What a client may take to check files that are all there; 256 MiB on a busy machine.
const CHECK_MAX: Duration = Duration::from_secs(120);

/// How a torrent is named to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// By its metainfo file.
    File,
    /// By a magnet link; the metainfo must come from peers (BEP 9).
    Magnet,
}

/// How far a client is with its one torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Verified bytes.
    pub have: u64,
    pub total: u64,
    /// Payload since the client started, as it counts itself.
    pub sent: u64,
    pub received: u64,
    /// Every piece is verified, by the client's own word.
    pub complete: bool,
}

/// A peer as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerView {
    /// The remote end; its port is the listening one only if we dialled.
    pub addr: SocketAddrV4,
    pub chokes_us: bool,
    pub we_choke: bool,
}

/// One client with one torrent. Dropping it kills the program.
pub trait Client {
    /// For messages.
    fn name(&self) -> &str;

    /// Where it listens for peers.
    fn addr(&self) -> SocketAddrV4;

    /// Whether it creates the files of no bytes that a torrent names.
    fn makes_empty_files(&self) -> bool {
        true
    }

    /// Adds `torrent`, whose files are all below `folder`.
    ///
    /// # Errors
    /// When the client refuses it.
    fn add_seed(&mut self, torrent: &Torrent, folder: &Path) -> Result<()>;

    /// Adds `torrent` to be fetched into `folder` from `peers`, the only ones that it is told of;
    /// with none, from whomever else announces the torrent.
    ///
    /// # Errors
    /// When the client refuses it.
    fn leech(
        &mut self,
        torrent: &Torrent,
        source: Source,
        folder: &Path,
        peers: &[SocketAddrV4],
    ) -> Result<()>;

    /// How far it is.
    ///
    /// # Errors
    /// When the client has died or does not answer.
    fn progress(&mut self) -> Result<Progress>;

    /// Whom it is connected to.
    ///
    /// # Errors
    /// As [`Client::progress`].
    fn peers(&mut self) -> Result<Vec<PeerView>>;

    /// Every protocol error and every failed piece that it noticed so far.
    ///
    /// # Errors
    /// When its log cannot be read.
    fn complaints(&mut self) -> Result<Vec<String>>;

    /// Adds a torrent and waits until the client has checked that it is all there.
    ///
    /// # Errors
    /// When it does not get there.
    fn seed(&mut self, torrent: &Torrent, folder: &Path) -> Result<()> {
        self.add_seed(torrent, folder)?;
        let what = format!("{} checking its files", self.name());
        poll(CHECK_MAX, &what, || {
            Ok(self.progress()?.complete.then_some(()))
        })
    }

    /// Checks every byte of what it fetched into `folder`.
    ///
    /// # Errors
    /// Names the first file that is missing or differs.
    fn verify(&self, torrent: &Torrent, folder: &Path) -> Result<()> {
        let empty = if self.makes_empty_files() {
            EmptyFiles::Made
        } else {
            EmptyFiles::MayLack
        };
        torrent
            .content
            .verify(folder, empty)
            .with_context(|| self.name().to_owned())
    }
}

/// Waits until all `clients` are complete, and says when each was, from now.
///
/// # Errors
/// When one dies, or not all are complete within `limit`; says how far each came.
pub fn await_complete(clients: &mut [&mut dyn Client], limit: Duration) -> Result<Vec<Duration>> {
    let begin = Instant::now();
    let mut done: Vec<Option<Duration>> = vec![None; clients.len()];
    let waited = poll(limit, "all clients complete", || {
        for (client, done) in clients.iter_mut().zip(&mut done) {
            if done.is_none() && client.progress()?.complete {
                *done = Some(begin.elapsed());
            }
        }
        Ok(done.iter().copied().collect::<Option<Vec<_>>>())
    });
    waited.with_context(|| {
        let describe = |client: &mut &mut dyn Client| match client.progress() {
            Ok(progress) => format!("{}: {} of {}", client.name(), progress.have, progress.total),
            Err(error) => format!("{}: {error}", client.name()),
        };
        clients
            .iter_mut()
            .map(describe)
            .collect::<Vec<_>>()
            .join(", ")
    })
}

/// Fails if any of `clients` has noticed a protocol error or a failed piece.
///
/// # Errors
/// Lists them all.
pub fn ensure_no_complaints(clients: &mut [&mut dyn Client]) -> Result<()> {
    let mut all = Vec::new();
    for client in clients {
        let name = client.name().to_owned();
        all.extend(
            client
                .complaints()?
                .into_iter()
                .map(|line| format!("{name}: {line}")),
        );
    }
    ensure!(all.is_empty(), "complaints:\n  {}", all.join("\n  "));
    Ok(())
}

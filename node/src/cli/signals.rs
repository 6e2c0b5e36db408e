//! The signals that ask a command to end: Ctrl-C, `kill`, and a terminal that is closed.

use std::fs;
use std::future::pending;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Where Linux says which signals this process ignores.
const STATUS: &str = "/proc/self/status";

/// Listens from its making on, so that no signal is missed in between.
#[derive(Debug)]
pub(super) struct Signals {
    interrupted: Signal,
    terminated: Signal,
    /// `None` where `nohup` has taken it out of use.
    hung_up: Option<Signal>,
}

impl Signals {
    /// Listens; wants a runtime around it.
    pub(super) fn listen() -> io::Result<Self> {
        let hung_up = if ignores_hangup() {
            None
        } else {
            Some(signal(SignalKind::hangup())?)
        };
        Ok(Self {
            interrupted: signal(SignalKind::interrupt())?,
            terminated: signal(SignalKind::terminate())?,
            hung_up,
        })
    }

    /// Waits for the next signal, and gives a word for it.
    pub(super) async fn next(&mut self) -> &'static str {
        let Self {
            interrupted,
            terminated,
            hung_up,
        } = self;
        let hung_up = async {
            match hung_up {
                Some(hung_up) => hung_up.recv().await,
                None => pending().await,
            }
        };
        tokio::select! {
            _ = interrupted.recv() => "interrupted",
            _ = terminated.recv() => "terminated",
            _ = hung_up => "hung up",
        }
    }

    /// Waits for the next Ctrl-C.
    pub(super) async fn interrupted(&mut self) {
        self.interrupted.recv().await;
    }
}

/// Whether this process was started with SIGHUP ignored, as `nohup` does: to listen would undo
/// it. Where no file says so, it is not ignored.
fn ignores_hangup() -> bool {
    let status = fs::read_to_string(STATUS).unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Signal 1 is the lowest bit.
    ignored.is_some_and(|mask| mask & 1 == 1)
}

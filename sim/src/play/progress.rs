//! How far a play is, for who waits for it.

use seedbank_ledger::{Duration, Instant};

use super::{BEGIN, Play};

/// How far a play is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlayProgress {
    /// Virtual time so far.
    pub now: Duration,
    /// Virtual time at which it ends, whoever is not done.
    pub end: Duration,
    /// Peers that want something, or will.
    pub wanting: usize,
    /// Those of them who have it, or left without.
    pub done: usize,
    /// Payload sent by the last row of the series, in bytes.
    pub uploaded: u64,
    /// Payload that all peers come for, in bytes.
    pub wanted: u64,
    /// Events handled.
    pub handled: u64,
}

impl PlayProgress {
    /// How much of it is done, from 0 to 1, by whichever of time, peers and payload is nearest to
    /// its end.
    pub fn share(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a share to show")]
        let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
        let count = |count: usize| u64::try_from(count).expect("few");
        let time = share(self.now.as_nanos(), self.end.as_nanos());
        let peers = share(count(self.done), count(self.wanting));
        // What is sent in vain is not known here: of payload alone it is never quite done.
        let payload = share(self.uploaded, self.wanted).min(0.99);
        time.max(peers).max(payload).min(1.0)
    }
}

impl Play<'_> {
    pub(super) fn progress(&self, wanting: usize, end: Instant) -> PlayProgress {
        let row = self.series.last();
        PlayProgress {
            now: self.world.now().since(BEGIN),
            end: end.since(BEGIN),
            wanting,
            done: wanting.saturating_sub(self.waiting),
            uploaded: row.map_or(0, |row| row.uploaded),
            wanted: (0..self.guests.len()).map(|guest| self.wanted(guest)).sum(),
            handled: self.world.handled(),
        }
    }
}

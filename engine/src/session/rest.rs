//! When nobody need come back each half second: nothing has happened for a while, and nothing that
//! is waited for is near.
//!
//! A rest leaves out what would have changed nothing, and ends on the grid of half seconds and of
//! choke rounds that a session without it keeps to: what is sent, and when, is the same with it.

use seedbank_ledger::{Duration, Instant};

use crate::interface::input::{Input, PeerEvent};
use crate::session::announce::PEERS_FEW;
use crate::session::peer::{Link, Peer};
use crate::session::torrent::{Content, Torrent};
use crate::session::{HOUSEKEEPING, Session};
use crate::transfer::choker::OPTIMISTIC_TURN;
use crate::wire::message::Message;

/// Time in which nothing may have happened: longer than rates, dwell and turns of the choker last,
/// so that its last round was about what is so now.
const STILL: Duration = OPTIMISTIC_TURN;
/// Longest rest. Keep-alives end most by then, and a driver need not wait for the end of time.
const REST_MAX: Duration = Duration::from_secs(100);

/// Where a session is between two rounds of housekeeping.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rest {
    /// When something happened last that another round may follow from.
    stirred_at: Instant,
    /// Nothing is due before then, if nothing happens.
    until: Option<Instant>,
}

impl Rest {
    /// Something has just happened.
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            stirred_at: now,
            until: None,
        }
    }

    /// Nothing is due before then.
    pub(super) const fn until(&self) -> Option<Instant> {
        self.until
    }
}

impl Session {
    /// Something happens: what is due because of it is looked at with the next round.
    pub(super) fn stir(&mut self, now: Instant) {
        self.end_rest(now);
        self.rest.stirred_at = now;
    }

    /// Goes on from a rest as if every round of it had come and found nothing to do.
    pub(super) fn end_rest(&mut self, now: Instant) {
        let Some(until) = self.rest.until.take() else {
            return;
        };
        let next = next_on_grid(self.housekeeping_at, HOUSEKEEPING, now);
        self.housekeeping_at = next.min(until);
        // Without anybody connected there are no rounds, and the first who comes has one at once.
        if !self.peers.is_empty() {
            self.choker.skip_rounds(now.min(until));
        }
    }

    /// After a round of housekeeping: rests if nothing is due for longer than until the next.
    pub(super) fn rest(&mut self, now: Instant) {
        let is_still = now.since(self.rest.stirred_at) > STILL;
        if !is_still || self.is_busy(now) {
            return;
        }
        let dues = self.peers.values().filter_map(Peer::live).map(due_of);
        let dues = dues.chain(self.torrents.values().map(|one| due_at(one, now)));
        let due = dues.min().unwrap_or(Instant::MAX).min(now.after(REST_MAX));
        let due = self.totals_at.map_or(due, |at| at.min(due));
        if due > self.housekeeping_at {
            let before = Instant::from_nanos(due.as_nanos() - 1);
            let until = next_on_grid(self.housekeeping_at, HOUSEKEEPING, before);
            self.rest.until = Some(until);
        }
    }

    /// Whether each round may find something to do, however still it is.
    fn is_busy(&self, now: Instant) -> bool {
        let waits = self.finishing.is_some()
            || self.uplink.is_some()
            || self.upload_refill.is_some()
            || self.download_refill.is_some()
            || self.udp_trackers.next_timeout().is_some()
            || self.choker.unchoked_count() > 0
            || self.market.is_planning();
        waits
            || self.peers.values().any(is_eventful)
            || self
                .torrents
                .values()
                .any(|one| self.is_searching(one, now))
    }

    /// Whether a torrent looks for peers or for what it is, and may do so at any time.
    fn is_searching(&self, torrent: &Torrent, now: Instant) -> bool {
        if !torrent.is_active() {
            return false;
        }
        let is_lonely =
            torrent.peers.len() < PEERS_FEW && torrent.trackers.next_timeout().is_some();
        let is_magnet = matches!(torrent.content, Content::Unknown(_));
        let has_addresses = || torrent.addresses.is_due(now);
        is_magnet
            || !torrent.is_seed() && (is_lonely || has_addresses())
            // An address that is banned may be dialled when its ban ends.
            || self.bans.any(now) && has_addresses()
    }
}

/// Whether input says something that a round of housekeeping or of chokes may follow from.
pub(super) fn stirs(input: &Input) -> bool {
    let is_silence = |event: &PeerEvent| matches!(event, PeerEvent::Message(Message::KeepAlive));
    let is_quiet = match input {
        Input::Received { events, .. } => events.iter().all(is_silence),
        other => matches!(other, Input::Tick | Input::Clock(_)),
    };
    !is_quiet
}

/// Whether a connection wants something, is served, is asked, or is let go.
fn is_eventful(peer: &Peer) -> bool {
    let Some(link) = peer.live() else {
        return false;
    };
    let may_ask = link.interesting && !link.choking_us;
    let is_served = !link.upload.queue.is_empty() || link.upload.drain_left.is_some();
    let wants = link.interested_since.is_some() && !link.is_seed;
    may_ask || is_served || wants || link.download.pipeline.next_check().is_some()
}

/// When a connection on which nothing happens is looked at.
fn due_of(link: &Link) -> Instant {
    let proof = link.prove_until.unwrap_or(Instant::MAX);
    link.keep_alive_at().min(proof)
}

/// When a torrent that looks for nobody is looked at.
fn due_at(torrent: &Torrent, now: Instant) -> Instant {
    let announce = torrent.trackers.next_timeout();
    let dial = torrent.addresses.next_due(now);
    let dial = dial.filter(|_| torrent.is_active());
    announce
        .into_iter()
        .chain(dial)
        .min()
        .unwrap_or(Instant::MAX)
}

/// The first instant after `now` that is some times `step` after `at`; `at` if that is later.
pub(super) fn next_on_grid(at: Instant, step: Duration, now: Instant) -> Instant {
    if at > now {
        return at;
    }
    let passed = now.since(at).as_nanos() / step.as_nanos();
    at.after(step.times(passed + 1))
}

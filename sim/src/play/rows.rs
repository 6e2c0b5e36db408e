//! What is told of a play: a row for every peer, and one for every stretch of time.

use seedbank_ledger::charts::node::{BalanceReason, ExplanationLine};
use seedbank_ledger::{Instant, UnixTime};

use super::{Play, PlayOutcome};
use crate::frame::Frame;

/// What became of a peer. Times are seconds of virtual time since the run began.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerRow {
    /// Its population.
    pub population: String,
    /// Which of it, from 0.
    pub index: u64,
    /// Which of the identities of its line, from 0.
    pub identity: u64,
    /// Bytes per second that it can send.
    pub uplink: u64,
    /// Bytes per second that it can receive.
    pub downlink: u64,
    /// When it came; `None` if the run ended first.
    pub joined: Option<f64>,
    /// When it had everything; `None` if it never had, or came with it.
    pub done: Option<f64>,
    /// When it left; `None` if it was there at the end.
    pub left: Option<f64>,
    /// Payload that it sent, in bytes.
    pub uploaded: u64,
    /// Payload that it received, in bytes.
    pub downloaded: u64,
    /// Payload that it received in vain, in bytes.
    pub wasted: u64,
    /// Credit that it was granted, in micro-credits.
    pub granted: u64,
    /// Credit that it signed away by receipts, in micro-credits.
    pub spent: u64,
    /// Credit that was signed to it by receipts, in micro-credits.
    pub earned: u64,
    /// Bytes that it signed for, for credit.
    pub bought: u64,
    /// Bytes that were signed for to it, for credit.
    pub sold: u64,
    /// Bytes that it served as paid and that were never paid for.
    pub unpaid: u64,
    /// Keys that it had, one after the other.
    pub keys: u64,
    /// Why its boost was refused.
    pub boost_refused: Option<String>,
}

/// The swarm at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SeriesRow {
    /// Seconds since the run began.
    pub time: f64,
    /// Peers that want something.
    pub leechers: u64,
    /// Peers that have everything.
    pub seeds: u64,
    /// Payload sent so far by all, in bytes.
    pub uploaded: u64,
}

impl PeerRow {
    /// Seconds from its coming until it had everything.
    pub fn took(&self) -> Option<f64> {
        Some(self.done? - self.joined?)
    }
}

fn seconds(at: Instant) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a time to read, of at most 2^53 ns"
    )]
    let nanos = at.as_nanos() as f64;
    nanos / 1e9
}

impl Play<'_> {
    pub(super) fn series_row(&self) -> SeriesRow {
        let (mut leechers, mut seeds, mut uploaded) = (0, 0, 0);
        for (place, guest) in self.guests.iter().enumerate() {
            uploaded += self.moved(place)[0];
            if guest.is_there() {
                let wants = guest.done_at.is_none() && self.wants(place);
                leechers += u64::from(wants);
                seeds += u64::from(!wants);
            }
        }
        SeriesRow {
            time: seconds(self.world.now()),
            leechers,
            seeds,
            uploaded,
        }
    }

    pub(super) fn peer_row(&self, place: usize) -> PeerRow {
        let guest = &self.guests[place];
        let population = &self.scenario.populations[guest.population];
        let nodes = guest.former.iter().chain(&guest.node);
        let lines: Vec<ExplanationLine> = nodes
            .flat_map(|node| {
                let ledger = self.world.node(*node).books.ledger();
                let told = ledger.explain(UnixTime::from_secs(0));
                told.expect("memory does not fail").lines
            })
            .collect();
        let sum = |reason, of: fn(&ExplanationLine) -> u64| {
            let lines = lines.iter().filter(|line| line.reason == reason);
            lines.map(of).sum::<u64>()
        };
        let amount = |reason| sum(reason, |line| line.amount.get());
        let bytes = |reason| sum(reason, |line| line.bytes.get());
        let [uploaded, downloaded, wasted] = guest.moved;
        PeerRow {
            population: population.name.clone(),
            index: guest.index,
            identity: guest.identity,
            uplink: guest.link.uplink,
            downlink: guest.link.downlink.unwrap_or(u64::MAX),
            joined: guest.joined_at.map(seconds),
            done: guest.done_at.map(seconds),
            left: guest.left_at.map(seconds),
            uploaded,
            downloaded,
            wasted,
            granted: amount(BalanceReason::Granted),
            spent: amount(BalanceReason::Spent),
            earned: amount(BalanceReason::Earned),
            bought: bytes(BalanceReason::Spent),
            sold: bytes(BalanceReason::Earned),
            unpaid: bytes(BalanceReason::GivenUnsigned),
            keys: 1 + guest.former.len() as u64,
            boost_refused: guest.boost_refused.clone(),
        }
    }
}

impl PlayOutcome {
    /// A row for every peer.
    pub fn peers_frame(&self) -> Frame {
        let rows = &self.peers;
        Frame::default()
            .text("population", rows, |row| row.population.clone())
            .whole("index", rows, |row| row.index)
            .whole("uplink", rows, |row| row.uplink)
            .whole("downlink", rows, |row| row.downlink)
            .number("joined_s", rows, |row| row.joined)
            .number("done_s", rows, |row| row.done)
            .number("left_s", rows, |row| row.left)
            .whole("uploaded", rows, |row| row.uploaded)
            .whole("downloaded", rows, |row| row.downloaded)
            .whole("wasted", rows, |row| row.wasted)
            .whole("granted", rows, |row| row.granted)
            .whole("spent", rows, |row| row.spent)
            .whole("earned", rows, |row| row.earned)
            .whole("identity", rows, |row| row.identity)
            .whole("bought", rows, |row| row.bought)
            .whole("sold", rows, |row| row.sold)
            .whole("unpaid", rows, |row| row.unpaid)
            .whole("keys", rows, |row| row.keys)
            .text("boost_refused", rows, |row| {
                row.boost_refused.clone().unwrap_or_default()
            })
    }

    /// A row for every stretch of time.
    pub fn series_frame(&self) -> Frame {
        let rows = &self.series;
        Frame::default()
            .number("time_s", rows, |row| Some(row.time))
            .whole("leechers", rows, |row| row.leechers)
            .whole("seeds", rows, |row| row.seeds)
            .whole("uploaded", rows, |row| row.uploaded)
    }

    /// Seconds that each of a population took who is done, the fewest first.
    pub fn took(&self, population: &str) -> Vec<f64> {
        let rows = self.peers.iter().filter(|row| row.population == population);
        let mut took: Vec<f64> = rows.filter_map(PeerRow::took).collect();
        took.sort_unstable_by(f64::total_cmp);
        took
    }

    /// BLAKE3 over every row, as hex: the same whenever, and wherever, the scenario is played.
    pub fn state_hash(&self) -> String {
        let text = self.peers_frame().to_csv() + &self.series_frame().to_csv();
        blake3::hash(text.as_bytes()).to_hex().to_string()
    }
}

//! What is told of a play: a row for every peer, and one for every stretch of time.

use std::collections::BTreeSet;

use seedbank_ledger::charts::node::{BalanceReason, ExplanationLine};
use seedbank_ledger::{Instant, MicroCredits, UnixTime};

use super::roll::Participant;
use super::{BEGIN, Play, PlayOutcome, unchokes};
use crate::frame::Frame;
use crate::stats::{GIB, gini, weighted_quantiles};

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
    /// When its first piece was verified; `None` if none was.
    pub first_piece: Option<f64>,
    /// When it had everything; `None` if it never had, or came with it.
    pub done: Option<f64>,
    /// When it left; `None` if it was there at the end.
    pub left: Option<f64>,
    /// Payload that it came for, in bytes; 0 if it came with everything.
    pub wanted: u64,
    /// Payload that it sent, in bytes.
    pub uploaded: u64,
    /// Payload that it received, in bytes.
    pub downloaded: u64,
    /// Payload that it received in vain, in bytes.
    pub wasted: u64,
    /// Payload that it sent and was signed credit for, in bytes.
    pub paid_sent: u64,
    /// Payload that it received and signed credit away for, in bytes.
    pub paid_received: u64,
    /// Credit that it was granted, in micro-credits; it may not have heard of the last yet.
    pub granted: u64,
    /// Credit that it signed away by receipts, in micro-credits.
    pub spent: u64,
    /// Credit that was signed to it by receipts, in micro-credits.
    pub earned: u64,
    /// Bytes that it served as paid and that were never paid for.
    pub unpaid: u64,
    /// Keys that it had, one after the other.
    pub keys: u64,
    /// Why its boost was refused.
    pub boost_refused: Option<String>,
}

/// What became of a torrent that a peer set out to fetch. Times are seconds since the run began.
#[derive(Clone, Debug, PartialEq)]
pub struct FetchRow {
    /// The peer's population.
    pub population: String,
    /// Which of it, from 0.
    pub index: u64,
    /// The torrent.
    pub torrent: String,
    /// When it set out.
    pub begun: f64,
    /// When it had everything; `None` if it never had.
    pub done: Option<f64>,
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
    /// Bytes per second that those who are there can send.
    pub uplink: u64,
    /// Payload that boosts paid for so far, in bytes.
    pub paid: u64,
    /// What boosts signed away for it, in micro-credits.
    pub spent: u64,
    /// Credit of all who came, in micro-credits: what is signed away is its payee's.
    pub held: u64,
    /// Gini coefficient of that credit among them; `None` if there is none.
    pub held_gini: Option<f64>,
    /// What payers paid for a GiB since the row before, each in the mean: what a tenth, a half and
    /// nine tenths of that payload cost at most, in micro-credits; `None` if nobody paid.
    pub price: Option<[f64; 3]>,
    /// Copies, among those who are online, of the rarest piece of what somebody is fetching; `None`
    /// if nobody is, and in the flow tier, which has no pieces.
    pub rarest_copies: Option<u64>,
}

/// A peer's credit at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CreditSnapshot {
    /// Bytes that its boosts paid for.
    paid: u64,
    /// What they signed away for them, in micro-credits.
    spent: u64,
    /// What is its own, in micro-credits.
    held: u64,
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
    let nanos = at.since(BEGIN).as_nanos() as f64;
    nanos / 1e9
}

/// Shares of the payload of which prices are told.
pub(crate) const PRICE_SHARES: [f64; 3] = [0.1, 0.5, 0.9];

/// What a GiB cost, in micro-credits, and bytes that were paid for, by bytes and micro-credits so
/// far; `None` if there were none.
pub(crate) fn price_of(before: [u64; 2], now: [u64; 2]) -> Option<(f64, f64)> {
    let more = |place: usize| now[place].saturating_sub(before[place]);
    #[expect(clippy::cast_precision_loss, reason = "a price to read")]
    let [bytes, spent] = [more(0) as f64, more(1) as f64];
    (bytes > 0.0).then(|| (spent / bytes * GIB, bytes))
}

impl Play<'_> {
    pub(super) fn series_row(&mut self) -> SeriesRow {
        self.see_unchokes();
        let (mut leechers, mut seeds, mut uploaded, mut uplink) = (0, 0, 0, 0);
        let mut purses: Vec<CreditSnapshot> = Vec::new();
        let mut bought = Vec::new();
        for place in 0..self.guests.len() {
            uploaded += self.moved(place)[0];
            let guest = &self.guests[place];
            if guest.joined_at.is_some() {
                let purse = self.purse(place);
                let before = std::mem::replace(&mut self.bought[place], [purse.paid, purse.spent]);
                bought.extend(price_of(before, self.bought[place]));
                purses.push(purse);
            }
            let guest = &self.guests[place];
            if guest.is_there() {
                uplink += guest.link.uplink;
                let wants = guest.done_at.is_none() && self.wants(place);
                leechers += u64::from(wants);
                seeds += u64::from(!wants);
            }
        }
        let sum = |of: fn(&CreditSnapshot) -> u64| purses.iter().map(of).sum();
        #[expect(clippy::cast_precision_loss, reason = "a coefficient to read")]
        let held: Vec<f64> = purses.iter().map(|purse| purse.held as f64).collect();
        SeriesRow {
            time: seconds(self.world.now()),
            leechers,
            seeds,
            uploaded,
            uplink,
            paid: sum(|purse| purse.paid),
            spent: sum(|purse| purse.spent),
            held: sum(|purse| purse.held),
            held_gini: gini(&held),
            price: weighted_quantiles(&bought, PRICE_SHARES),
            rarest_copies: self.rarest_copies(),
        }
    }

    fn rarest_copies(&self) -> Option<u64> {
        let online = || self.guests.iter().filter(|guest| guest.is_online());
        let wanted: BTreeSet<usize> = online().filter_map(Participant::fetching).collect();
        let copies = wanted.into_iter().map(|torrent| {
            let torrent_id = self.metainfos[torrent].torrent_id();
            let count = self.metainfos[torrent].geometry.piece_count() as usize;
            let (mut whole, mut copies) = (0, vec![0_u64; count]);
            for node in online().filter_map(|guest| guest.node) {
                match self.world.node(node).disk.get(&torrent_id) {
                    Some(disk) if disk.len() == count => whole += 1,
                    Some(disk) => disk.iter().for_each(|piece| copies[piece.as_usize()] += 1),
                    None => {}
                }
            }
            whole + copies.into_iter().min().unwrap_or_default()
        });
        copies.min()
    }

    /// Notes whom leechers serve.
    fn see_unchokes(&mut self) {
        let leeches = |guest: &Participant| guest.is_online() && guest.fetching().is_some();
        let guests = || self.guests.iter().enumerate();
        let there = || guests().filter(|(_, guest)| leeches(guest));
        let places = || there().map(|(place, _)| place);
        let pairs = there().flat_map(|(giver, guest)| {
            let node = guest.node.expect("it is online");
            let takers = self.world.unchoked_by(node);
            let takers = takers.filter_map(|node| self.places.get(&node).copied());
            takers.map(move |taker| (giver, taker))
        });
        let pairs = pairs.filter(|(_, taker)| leeches(&self.guests[*taker]));
        self.unchokes.see(places(), places(), pairs);
    }

    /// What a guest has by its session's word, and what its boosts bought.
    pub(super) fn purse(&self, place: usize) -> CreditSnapshot {
        let guest = &self.guests[place];
        let node = guest.node.filter(|_| guest.is_online());
        let session = node.and_then(|node| self.world.node(node).session.as_ref());
        let Some(session) = session.filter(|_| self.network.is_some()) else {
            return guest.purse;
        };
        let wallet = session.wallet();
        let free = wallet.available.saturating_add(wallet.claimable);
        let (mut paid, mut spent, mut held) = (0, MicroCredits::ZERO, free);
        for boost in session.boosts() {
            paid += boost.report.paid.get();
            spent = spent.saturating_add(boost.spent);
            held = held.saturating_add(boost.locked);
        }
        CreditSnapshot {
            paid,
            spent: spent.get(),
            held: held.get(),
        }
    }

    pub(super) fn fetch_rows(&self) -> Vec<FetchRow> {
        let each = self.guests.iter().flat_map(|guest| {
            let population = &self.scenario.populations[guest.population];
            guest.fetches.iter().map(move |fetch| FetchRow {
                population: population.name.clone(),
                index: guest.index,
                torrent: self.scenario.torrents[fetch.torrent].name.clone(),
                begun: seconds(fetch.begun_at),
                done: fetch.done_at.map(seconds),
            })
        });
        each.collect()
    }

    pub(super) fn peer_row(&self, place: usize, moved: [u64; 3]) -> PeerRow {
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
        let [uploaded, downloaded, wasted] = moved;
        let nodes = guest.former.iter().chain(&guest.node);
        let first_piece = nodes
            .filter_map(|node| self.world.node(*node).first_piece)
            .min();
        PeerRow {
            population: population.name.clone(),
            index: guest.index,
            identity: guest.identity,
            uplink: guest.link.uplink,
            downlink: guest.link.downlink.unwrap_or(u64::MAX),
            joined: guest.joined_at.map(seconds),
            first_piece: first_piece.map(seconds),
            done: guest.done_at.map(seconds),
            left: guest.left_at.map(seconds),
            wanted: self.wanted(place),
            uploaded,
            downloaded,
            wasted,
            paid_sent: bytes(BalanceReason::Earned),
            paid_received: bytes(BalanceReason::Spent),
            granted: guest.granted,
            spent: amount(BalanceReason::Spent),
            earned: amount(BalanceReason::Earned),
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
            .number("first_piece_s", rows, |row| row.first_piece)
            .number("done_s", rows, |row| row.done)
            .number("left_s", rows, |row| row.left)
            .whole("wanted", rows, |row| row.wanted)
            .whole("uploaded", rows, |row| row.uploaded)
            .whole("downloaded", rows, |row| row.downloaded)
            .whole("wasted", rows, |row| row.wasted)
            .whole("paid_sent", rows, |row| row.paid_sent)
            .whole("paid_received", rows, |row| row.paid_received)
            .whole("granted", rows, |row| row.granted)
            .whole("spent", rows, |row| row.spent)
            .whole("earned", rows, |row| row.earned)
            .whole("identity", rows, |row| row.identity)
            .whole("unpaid", rows, |row| row.unpaid)
            .whole("keys", rows, |row| row.keys)
            .text("boost_refused", rows, |row| {
                row.boost_refused.clone().unwrap_or_default()
            })
    }

    /// A row for everything that somebody set out to fetch.
    pub fn fetches_frame(&self) -> Frame {
        let rows = &self.fetches;
        Frame::default()
            .text("population", rows, |row| row.population.clone())
            .whole("index", rows, |row| row.index)
            .text("torrent", rows, |row| row.torrent.clone())
            .number("begun_s", rows, |row| Some(row.begun))
            .number("done_s", rows, |row| row.done)
    }

    /// A row for every stretch of time.
    pub fn series_frame(&self) -> Frame {
        let rows = &self.series;
        Frame::default()
            .number("time_s", rows, |row| Some(row.time))
            .whole("leechers", rows, |row| row.leechers)
            .whole("seeds", rows, |row| row.seeds)
            .whole("uploaded", rows, |row| row.uploaded)
            .whole("uplink", rows, |row| row.uplink)
            .whole("paid", rows, |row| row.paid)
            .whole("spent", rows, |row| row.spent)
            .whole("held", rows, |row| row.held)
            .number("held_gini", rows, |row| row.held_gini)
            .number("price_p10", rows, |row| Some(row.price?[0]))
            .number("price_p50", rows, |row| Some(row.price?[1]))
            .number("price_p90", rows, |row| Some(row.price?[2]))
            .number("rarest_copies", rows, |row| {
                #[expect(clippy::cast_precision_loss, reason = "as many as peers, at most")]
                let copies = |copies: u64| copies as f64;
                row.rarest_copies.map(copies)
            })
    }

    /// How often leechers of one group of capacities were seen to serve those of another.
    pub fn unchokes_frame(&self) -> Frame {
        unchokes::frame(&self.unchokes)
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
        // One table after the other: those of a million peers are long.
        let frames = [
            Self::peers_frame,
            Self::fetches_frame,
            Self::series_frame,
            Self::unchokes_frame,
        ];
        let mut hasher = blake3::Hasher::new();
        for frame in frames {
            frame(self).each_csv_line(|line| {
                hasher.update(line.as_bytes());
            });
        }
        hasher.finalize().to_hex().to_string()
    }
}

//! Peers as reports count them: read from rows, and summed up by population.

use std::collections::BTreeSet;

use super::ReportError;
use crate::frame::Frame;
use crate::measure::cut_warm_up;
use crate::scenario::Scenario;
use crate::stats::{Estimate, Lifetime, finished_by};

/// Names of populations of which peers come one by one.
pub(super) type OpenPopulations = BTreeSet<String>;

/// Those of a scenario.
pub(super) fn open_populations(scenario: &Scenario) -> OpenPopulations {
    let plans = scenario.populations.iter().filter(|plan| plan.is_open());
    plans.map(|plan| plan.name.clone()).collect()
}

/// A row of `peers`, as far as reports need it. Times are seconds, amounts bytes and micro-credits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct PeerFacts {
    /// Which of its [`PeerTable::names`].
    pub(super) population: usize,
    pub(super) index: f64,
    pub(super) uplink: f64,
    pub(super) downlink: f64,
    pub(super) joined: Option<f64>,
    pub(super) first_piece: Option<f64>,
    pub(super) done: Option<f64>,
    pub(super) left: Option<f64>,
    pub(super) wanted: f64,
    pub(super) uploaded: f64,
    pub(super) downloaded: f64,
    pub(super) wasted: f64,
    pub(super) paid_sent: f64,
    pub(super) paid_received: f64,
    pub(super) granted: f64,
    pub(super) spent: f64,
    pub(super) earned: f64,
}

/// Peers, and what their populations are called.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct PeerTable {
    pub(super) names: Vec<String>,
    pub(super) peers: Vec<PeerFacts>,
}

/// What became of a population in one run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct PopulationFacts {
    pub(super) count: usize,
    pub(super) came: usize,
    /// Of those who came for something: until they had it, or were seen last; without the warm-up.
    pub(super) lifetimes: Vec<Lifetime>,
    /// How many came for something, and how many of them have it.
    pub(super) wanting: usize,
    pub(super) finished: usize,
    /// How many of those who came first are left out of `lifetimes`.
    pub(super) warm_up: usize,
    pub(super) uploaded: f64,
    pub(super) downloaded: f64,
    pub(super) wasted: f64,
    pub(super) paid_sent: f64,
    pub(super) paid_received: f64,
    pub(super) granted: f64,
    pub(super) spent: f64,
    pub(super) earned: f64,
}

impl PeerTable {
    /// Reads rows.
    ///
    /// # Errors
    /// If a column is missing, as in results of another version.
    pub(super) fn read(frame: &Frame) -> Result<Self, ReportError> {
        let texts = |name| frame.texts(name).ok_or(ReportError::Column(name));
        let numbers = |name| frame.numbers(name).ok_or(ReportError::Column(name));
        let amounts = |name| {
            let cells = numbers(name)?.into_iter();
            Ok(cells.map(Option::unwrap_or_default).collect::<Vec<f64>>())
        };
        let populations = texts("population")?;
        let [joined, first_piece, done, left] = [
            numbers("joined_s")?,
            numbers("first_piece_s")?,
            numbers("done_s")?,
            numbers("left_s")?,
        ];
        let [index, uplink, downlink] =
            [amounts("index")?, amounts("uplink")?, amounts("downlink")?];
        let [wanted, uploaded, downloaded, wasted] = [
            amounts("wanted")?,
            amounts("uploaded")?,
            amounts("downloaded")?,
            amounts("wasted")?,
        ];
        let [paid_sent, paid_received] = [amounts("paid_sent")?, amounts("paid_received")?];
        let [granted, spent, earned] = [amounts("granted")?, amounts("spent")?, amounts("earned")?];
        let mut table = Self::default();
        for (row, name) in populations.iter().enumerate() {
            let population = table.number_of(name);
            table.peers.push(PeerFacts {
                population,
                index: index[row],
                uplink: uplink[row],
                downlink: downlink[row],
                joined: joined[row],
                first_piece: first_piece[row],
                done: done[row],
                left: left[row],
                wanted: wanted[row],
                uploaded: uploaded[row],
                downloaded: downloaded[row],
                wasted: wasted[row],
                paid_sent: paid_sent[row],
                paid_received: paid_received[row],
                granted: granted[row],
                spent: spent[row],
                earned: earned[row],
            });
        }
        Ok(table)
    }

    /// The number of a population; a new one, if it has none yet.
    fn number_of(&mut self, name: &str) -> usize {
        let known = self.names.iter().position(|known| known == name);
        known.unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        })
    }

    /// Those of a population.
    pub(super) fn of(&self, population: usize) -> impl Iterator<Item = &PeerFacts> {
        let of = move |peer: &&PeerFacts| peer.population == population;
        self.peers.iter().filter(of)
    }

    /// What became of every population by the end of the run; of those in `open` peers came one by
    /// one.
    pub(super) fn populations(&self, end: f64, open: &OpenPopulations) -> Vec<PopulationFacts> {
        let mut all = vec![PopulationFacts::default(); self.names.len()];
        let mut arrived: Vec<&PeerFacts> = self.peers.iter().collect();
        let joined = |peer: &PeerFacts| peer.joined.unwrap_or(f64::INFINITY);
        arrived.sort_by(|a, b| joined(a).total_cmp(&joined(b)));
        for peer in arrived {
            all[peer.population].add(peer, end);
        }
        for (facts, name) in all.iter_mut().zip(&self.names) {
            facts.warm_up = cut_warm_up(&mut facts.lifetimes, open.contains(name));
        }
        all
    }
}

impl PeerFacts {
    /// From coming until it had everything, or was seen last; `None` of who came for nothing, or
    /// did not come.
    pub(super) fn lifetime(&self, end: f64) -> Option<Lifetime> {
        self.until(self.done, end)
    }

    /// The same until its first piece.
    pub(super) fn until_first_piece(&self, end: f64) -> Option<Lifetime> {
        self.until(self.first_piece, end)
    }

    /// Bytes per second that it received from coming until it was done, or seen last.
    pub(super) fn download_rate(&self, end: f64) -> Option<f64> {
        let lifetime = self.lifetime(end).filter(|lifetime| lifetime.time > 0.0)?;
        let bytes = if lifetime.finished {
            self.wanted
        } else {
            self.downloaded
        };
        Some(bytes / lifetime.time)
    }

    /// What is its own in the end, in micro-credits.
    pub(super) fn balance(&self) -> f64 {
        (self.granted + self.earned - self.spent).max(0.0)
    }

    fn until(&self, moment: Option<f64>, end: f64) -> Option<Lifetime> {
        let joined = self.joined.filter(|_| self.wanted > 0.0)?;
        let last = moment.or(self.left).unwrap_or(end);
        Some(Lifetime {
            time: (last - joined).max(0.0),
            finished: moment.is_some(),
        })
    }
}

impl PopulationFacts {
    fn add(&mut self, peer: &PeerFacts, end: f64) {
        self.count += 1;
        self.came += usize::from(peer.joined.is_some());
        if let Some(lifetime) = peer.lifetime(end) {
            self.wanting += 1;
            self.finished += usize::from(lifetime.finished);
            self.lifetimes.push(lifetime);
        }
        self.uploaded += peer.uploaded;
        self.downloaded += peer.downloaded;
        self.wasted += peer.wasted;
        self.paid_sent += peer.paid_sent;
        self.paid_received += peer.paid_received;
        self.granted += peer.granted;
        self.spent += peer.spent;
        self.earned += peer.earned;
    }

    /// Whether somebody came for something.
    pub(super) fn wants(&self) -> bool {
        self.wanting > 0
    }

    /// Those who came for something and never had it, or were not seen having it.
    pub(super) fn censored(&self) -> usize {
        self.wanting - self.finished
    }

    /// Seconds after which this share has finished, if so many did.
    pub(super) fn finished_by(&self, share: f64) -> Option<f64> {
        finished_by(&self.lifetimes, share)
    }

    /// Mean of the seconds that those took who finished.
    pub(super) fn mean(&self) -> Option<f64> {
        let finished = self.lifetimes.iter().filter(|lifetime| lifetime.finished);
        let times: Vec<f64> = finished.map(|lifetime| lifetime.time).collect();
        Estimate::of(&times).map(|estimate| estimate.mean)
    }
}

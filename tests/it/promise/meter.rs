//! What has arrived of what the seeder sends to whom, moment by moment: its kernel knows. What the
//! seeder itself counts is in its sockets by then: a block more or less there is a thirtieth of a
//! second's worth at 4 Mbit/s.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use seedbank_tests::daemon::{Daemon, number};
use seedbank_tests::link::Link;
use seedbank_tests::poll::poll;

/// What had arrived by a moment, in bytes.
#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Duration,
    payer: u64,
    others: u64,
}

/// What arrived per second over a while, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates {
    pub(super) payer: f64,
    pub(super) others: f64,
}

/// Reads what a seeder says of its connections.
pub(super) struct Meter<'a> {
    seeder: &'a Daemon,
    way_out: &'a Link,
    payer: IpAddr,
    hash: String,
    begin: Instant,
    /// Bytes that arrived on each connection so far.
    arrived: BTreeMap<SocketAddr, u64>,
    readings: Vec<Reading>,
    /// When the payer's bid was first in force with something sent for it, and when it was not any
    /// more, by turns.
    turns: Vec<Duration>,
    /// What the payer had when its bid came into force.
    before: Option<u64>,
}

impl Rates {
    pub(super) fn sum(self) -> f64 {
        self.payer + self.others
    }

    /// The payer's part.
    pub(super) fn share(self) -> f64 {
        self.payer / self.sum()
    }
}

impl<'a> Meter<'a> {
    pub(super) fn new(seeder: &'a Daemon, way_out: &'a Link, payer: IpAddr, hash: String) -> Self {
        Self {
            seeder,
            way_out,
            payer,
            hash,
            begin: Instant::now(),
            arrived: BTreeMap::new(),
            readings: Vec::new(),
            turns: Vec::new(),
            before: None,
        }
    }

    /// Since the meter began.
    pub(super) fn now(&self) -> Duration {
        self.begin.elapsed()
    }

    /// Reads until `done` says so.
    pub(super) fn watch(
        &mut self,
        limit: Duration,
        what: &str,
        mut done: impl FnMut(&Self) -> Result<bool>,
    ) -> Result<()> {
        poll(limit, what, || {
            self.read()?;
            Ok(done(self)?.then_some(()))
        })
    }

    /// Reads until that moment is past.
    pub(super) fn watch_until(&mut self, end: Duration) -> Result<()> {
        let limit = end + Duration::from_secs(60);
        self.watch(limit, "the moment", |meter| Ok(meter.readings_end() > end))
    }

    fn readings_end(&self) -> Duration {
        self.readings.last().map_or(Duration::ZERO, |last| last.at)
    }

    /// Whether anything was sent.
    pub(super) fn anything(&self) -> bool {
        let last = self.readings.last();
        last.is_some_and(|last| last.payer + last.others > 0)
    }

    /// When the payer's first paid byte was sent, its bid gone, the next first byte sent...
    pub(super) fn turns(&self) -> &[Duration] {
        &self.turns
    }

    fn read(&mut self) -> Result<()> {
        let answer = self.seeder.cli(&["peers", &self.hash])?;
        let mut bids = false;
        let mut uploaded = 0;
        for peer in answer["peers"].as_array().context("no peers")? {
            let address: SocketAddr = peer["address"].as_str().context("no address")?.parse()?;
            if address.ip() == self.payer {
                uploaded += number(peer, "uploaded_bytes")?;
                bids |= number(peer, "bid_microcredits_per_gib")? > 0;
            }
        }
        self.ask_kernel()?;
        let sum = |payer: bool| -> u64 {
            let of = |(from, _): &(&SocketAddr, &u64)| (from.ip() == self.payer) == payer;
            self.arrived.iter().filter(of).map(|(_, bytes)| bytes).sum()
        };
        let reading = Reading {
            at: self.now(),
            payer: sum(true),
            others: sum(false),
        };
        self.readings.push(reading);
        self.take_turns(bids, uploaded, reading.at);
        Ok(())
    }

    /// What was acknowledged on each connection, behind a lost segment too.
    fn ask_kernel(&mut self) -> Result<()> {
        let asked = self.way_out.command("ss").arg("-HOtin").output()?;
        ensure!(asked.status.success(), "ss (package iproute2)");
        for line in String::from_utf8(asked.stdout)?.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let Some(peer) = words.get(4) else {
                continue;
            };
            let peer: SocketAddr = peer.parse()?;
            let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
            let figure = |name: &str| {
                let figures = words.iter().filter_map(|word| word.split_once(':'));
                let mut of_name = figures.filter(|(figure, _)| *figure == name);
                of_name.next().map_or(Ok(0), |(_, value)| value.parse())
            };
            let bytes: u64 = figure("bytes_acked")? + figure("sacked")? * figure("mss")?;
            let most = self.arrived.entry(peer).or_default();
            *most = bytes.max(*most);
        }
        Ok(())
    }

    fn take_turns(&mut self, bids: bool, uploaded: u64, at: Duration) {
        let pays = self.turns.len() % 2 == 1;
        match (pays, bids, self.before) {
            (false, true, None) => self.before = Some(uploaded),
            (false, true, Some(before)) if uploaded > before => {
                self.turns.push(at);
                self.before = None;
            }
            (false, false, Some(_)) => self.before = None,
            (true, false, _) => self.turns.push(at),
            _ => {}
        }
    }

    /// What arrived per second from `start` to `end`, both read.
    pub(super) fn rates(&self, start: Duration, end: Duration) -> Result<Rates> {
        let (first, last) = (self.sent_by(start)?, self.sent_by(end)?);
        let secs = (end - start).as_secs_f64();
        Ok(Rates {
            payer: (last.0 - first.0) / secs,
            others: (last.1 - first.1) / secs,
        })
    }

    /// At the payer and at the others by that moment, between two readings along a line.
    fn sent_by(&self, at: Duration) -> Result<(f64, f64)> {
        let after = self.readings.partition_point(|reading| reading.at < at);
        let [.., before] = &self.readings[..after] else {
            anyhow::bail!("{at:?} is before the first reading");
        };
        let after = self.readings.get(after).context("not read yet")?;
        let part = (at - before.at).as_secs_f64() / (after.at - before.at).as_secs_f64();
        let between = |from: u64, to: u64| from as f64 + (to - from) as f64 * part;
        Ok((
            between(before.payer, after.payer),
            between(before.others, after.others),
        ))
    }
}

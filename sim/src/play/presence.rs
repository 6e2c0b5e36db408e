//! When guests are there: how long they wait, when they are offline, and when they leave for good.

use std::net::SocketAddr;

use seedbank_engine::interface::command::Command;
use seedbank_ledger::{Duration, Instant};

use super::{GOODBYE, Item, Play};
use crate::scenario::SeedingPlan;
use crate::streams::Purpose;

/// Between two looks at how much somebody has uploaded.
const LOOK_EVERY: Duration = Duration::from_secs(5);

impl Play<'_> {
    /// A guest that has just joined: when it loses patience, and when it goes offline first.
    pub(super) fn plan_to_stay(&mut self, guest: usize) {
        let there = &self.guests[guest];
        let population = &self.scenario.populations[there.population];
        let draw = |purpose| self.streams.draw(purpose, &population.name, there.index);
        let now = self.world.now();
        if let Some(patience) = population.patience.filter(|_| self.wants(guest)) {
            let waits = patience.draw(&mut draw(Purpose::Patience));
            self.plan(now.after(waits), Item::GivesUp(guest));
        }
        self.plan_to_go_offline(guest);
    }

    /// How long a guest is online this time. Each time has a stream of its own.
    pub(super) fn plan_to_go_offline(&mut self, guest: usize) {
        let there = &self.guests[guest];
        let population = &self.scenario.populations[there.population];
        let Some(churn) = population.churn else {
            return;
        };
        let name = format!("{} {}", population.name, there.lives);
        let mut rng = self.streams.draw(Purpose::Churn, &name, there.index);
        let stays = churn.online.draw(&mut rng);
        self.plan(self.world.now().after(stays), Item::GoesOffline(guest));
    }

    /// A guest has everything since `at`: when it leaves.
    pub(super) fn plan_to_leave(&mut self, guest: usize, at: Instant) {
        let there = &self.guests[guest];
        let population = &self.scenario.populations[there.population];
        match population.seeding {
            SeedingPlan::Forever => {}
            SeedingPlan::For { time } => {
                let name = &population.name;
                let mut rng = self.streams.draw(Purpose::Seeding, name, there.index);
                self.plan(at.after(time.draw(&mut rng)), Item::Leaves(guest));
            }
            SeedingPlan::Ratio { at_most, .. } => {
                self.plan(at.after(at_most.0), Item::Leaves(guest));
                self.plan(at.after(LOOK_EVERY), Item::Looks(guest));
            }
        }
    }

    /// Whether a seed has uploaded what it wanted to.
    pub(super) fn look(&mut self, guest: usize) {
        if !self.guests[guest].is_there() {
            return;
        }
        let there = &self.guests[guest];
        let population = &self.scenario.populations[there.population];
        let SeedingPlan::Ratio { percent, .. } = population.seeding else {
            return;
        };
        let torrents = there.fetches.iter().map(|fetch| fetch.torrent);
        let lens = torrents.map(|place| u128::from(self.scenario.torrents[place].length.0));
        let wanted = lens.sum::<u128>() * u128::from(percent) / 100;
        let [uploaded, ..] = self.moved(guest);
        if u128::from(uploaded) >= wanted {
            self.leave(guest);
        } else {
            self.plan(self.world.now().after(LOOK_EVERY), Item::Looks(guest));
        }
    }

    /// A guest leaves without what it came for, if it still has not got it.
    pub(super) fn give_up(&mut self, guest: usize) {
        if self.guests[guest].done_at.is_none() {
            self.leave(guest);
        }
    }

    /// A guest leaves for good.
    pub(super) fn leave(&mut self, guest: usize) {
        if !self.guests[guest].is_there() {
            return;
        }
        if self.guests[guest].done_at.is_none() && self.wants(guest) {
            self.waiting -= 1;
        }
        self.say_goodbye(guest);
        self.guests[guest].left_at = Some(self.world.now());
    }

    /// A guest goes, and comes back later.
    pub(super) fn go_offline(&mut self, guest: usize) {
        if !self.guests[guest].is_online() {
            return;
        }
        self.say_goodbye(guest);
        let there = &mut self.guests[guest];
        there.is_offline = true;
        let there = &self.guests[guest];
        let population = &self.scenario.populations[there.population];
        let churn = population.churn.expect("who goes offline has a plan");
        let name = format!("{} off {}", population.name, there.lives);
        let mut rng = self.streams.draw(Purpose::Churn, &name, there.index);
        let away = churn.offline.draw(&mut rng).max(GOODBYE.times(2));
        self.plan(self.world.now().after(away), Item::ComesOnline(guest));
    }

    /// Ends a session as its owner would, if it runs.
    fn say_goodbye(&mut self, guest: usize) {
        let there = &self.guests[guest];
        let life = there.lives;
        let Some(node) = there.node.filter(|_| there.is_online()) else {
            return;
        };
        self.guests[guest].purse = self.purse(guest);
        self.guests[guest].moved = self.moved(guest);
        let said = self.world.command(node, Command::Shutdown);
        said.expect("whoever is there can leave");
        self.plan(self.world.now().after(GOODBYE), Item::Gone(guest, life));
    }

    /// A session that was ended is over, unless another has begun.
    pub(super) fn gone(&mut self, guest: usize, life: u64) {
        let there = &self.guests[guest];
        if let Some(node) = there.node.filter(|_| there.lives == life) {
            self.world.crash(node);
        }
    }

    /// A guest that was offline starts again with its pieces, its books and its torrents.
    pub(super) fn come_online(&mut self, guest: usize) {
        let there = &self.guests[guest];
        let Some(node) = there.node.filter(|_| there.is_there() && there.is_offline) else {
            return;
        };
        self.guests[guest].is_offline = false;
        let prepared = self.prepare(guest);
        self.start(guest, node, prepared);
        let restored = self.world.restore(node);
        restored.expect("what was taken once is taken again");
        let torrents: Vec<usize> = (0..self.metainfos.len())
            .filter(|place| {
                let torrent_id = self.metainfos[*place].torrent_id();
                self.world.node(node).records.contains_key(&torrent_id)
            })
            .collect();
        for torrent in torrents {
            let known = self.known_to(guest, torrent).into_iter();
            let peers: Vec<SocketAddr> = known.map(|peer| self.world.node(peer).addr).collect();
            let torrent_id = self.metainfos[torrent].torrent_id();
            let told = self
                .world
                .command(node, Command::AddPeers { torrent_id, peers });
            told.expect("a torrent that was restored");
        }
        if self.wants(guest) && self.guests[guest].done_at.is_none() {
            match self.guests[guest].fetching() {
                Some(_) => self.boost(guest),
                None => self.fetch_next(guest),
            }
        }
        self.plan_to_go_offline(guest);
    }
}

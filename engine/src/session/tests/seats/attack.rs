//! Players that bought a piece each and then hold a place, or a price, for nothing.

use std::collections::BTreeMap;

use super::*;

/// Who attacks comes behind three honest payers and two peers that pay nothing.
const FIRST: usize = 5;
/// How long a newcomer that outbids everybody honest waits at most for two mebibytes.
const WAIT_MAX_SECS: u64 = 60;
const NEWCOMER: u8 = 10;
/// Steps for which a blinker keeps a connection: less than a silent holder is given.
const BLINK_STEPS: u64 = 20;

impl Scene {
    /// Players that pay for one piece and a little more, one after another, then ask for nothing.
    fn join_parkers(&mut self, count: u8, bid: u64) {
        for number in 0..count {
            self.market.settle();
            self.join_bidding(20 + number, Play::Park, bid);
            let index = self.players.len() - 1;
            self.run_with(20, |scene| {
                if scene.players[index].asked < scene.blocks_per_piece {
                    scene.ask(index, 16);
                }
                let bytes = Bytes::new(scene.paid_total(index));
                let cost = Rate::new(bid).cost_ceil(bytes).expect("small").get();
                if cost > scene.players[index].signed {
                    scene.sign(index, cost);
                }
            });
        }
    }

    fn is_seated(&self, index: usize) -> bool {
        self.market.class(self.players[index].peer) == Some(Class::Paid)
    }

    /// The player's connection ends and it comes back at once.
    pub(super) fn reconnect(&mut self, index: usize) {
        self.market.settle();
        let Player {
            peer, secret, bid, ..
        } = self.players[index];
        self.market.rig.close(peer);
        self.players[index].peer = self.market.bidder(secret.into(), bid);
    }

    /// Seconds until a newcomer that bids twice what the honest do has bought two mebibytes.
    fn newcomer_waits(&mut self, mut act: impl FnMut(&mut Self)) -> Option<u64> {
        self.market.settle();
        self.join_bidding(NEWCOMER, Play::Honest, 2 * HONEST_BID);
        let newcomer = self.players.len() - 1;
        (0..WAIT_MAX_SECS).find(|_| {
            self.run_with(1, &mut act);
            self.paid_total(newcomer) >= 2 * MIB
        })
    }
}

/// Holds a seat for two seconds, then comes back on another connection.
fn blink(since: &mut BTreeMap<usize, u64>, scene: &mut Scene, players: std::ops::Range<usize>) {
    for index in players {
        let held = since.entry(index).or_default();
        *held = if scene.is_seated(index) { *held + 1 } else { 0 };
        if *held > BLINK_STEPS {
            *held = 0;
            scene.reconnect(index);
        }
    }
}

#[test]
fn a_newcomer_is_tried_beside_parkers_that_bought_a_piece_each() {
    let mut scene = Scene::new(Play::Plain, 0, 16);
    scene.join_parkers(6, HIGH_BID);
    let waits = scene.newcomer_waits(|_| {});
    assert!(waits.is_some(), "not in {WAIT_MAX_SECS} s");
}

#[test]
fn a_newcomer_is_tried_beside_parkers_that_reconnect() {
    let mut scene = Scene::new(Play::Plain, 0, 16);
    scene.join_parkers(2, HIGH_BID);
    let mut since = BTreeMap::new();
    let mut act = |scene: &mut Scene| blink(&mut since, scene, FIRST..FIRST + 2);
    scene.run_with(30, &mut act);
    let waits = scene.newcomer_waits(act);
    assert!(waits.is_some(), "not in {WAIT_MAX_SECS} s");
}

/// A block costs more at that bid than any of their locks has.
#[test]
fn parkers_that_bid_what_they_cannot_pay_make_no_clearing_price() {
    let mut scene = Scene::empty(PaidRule::UniformPrice, 16);
    for (secret, bid) in [(1, 100_000), (2, 90_000), (3, 80_000)] {
        scene.join_bidding(secret, Play::Honest, bid);
    }
    scene.join(4, Play::Plain);
    scene.run(10);
    scene.join_parkers(8, 110_000);
    for index in 4..12 {
        let signed = scene.players[index].signed;
        scene.sign(index, signed + 10);
        scene.bid(index, 1 << 49);
    }
    scene.run(20);
    let mut above = 0;
    for _ in 0..60 {
        scene.run(1);
        let price = scene.market.rig.session.choker.clearing_price();
        above += u64::from(price > Some(Rate::new(100_000)));
    }
    assert!(above <= 10, "{above} of 60 s above every honest bid");
}

/// A key that bought for a while and then bids just below those who win stands as the highest
/// losing bid: under `uniform_price` it costs them what they bid at most, and nobody can tell it
/// from a payer that lost.
#[test]
fn a_shill_raises_the_clearing_price_to_no_more_than_the_lowest_bid_that_wins() {
    let mut scene = Scene::empty(PaidRule::UniformPrice, 16);
    for (secret, bid) in [(1, 100_000), (2, 90_000), (3, 80_000)] {
        scene.join_bidding(secret, Play::Honest, bid);
    }
    scene.join(4, Play::Plain);
    scene.run(10);
    scene.join_bidding(20, Play::Honest, 110_000);
    let shill = scene.players.len() - 1;
    let mut prices = Vec::new();
    for second in 0..90 {
        if second == 30 {
            scene.bid(shill, 89_000);
        }
        scene.run(1);
        scene.market.settle();
        prices.extend(scene.market.rig.session.choker.clearing_price());
    }
    assert!(
        prices.iter().all(|price| *price <= Rate::new(90_000)),
        "{prices:?}"
    );
    assert_eq!(prices.last(), Some(&Rate::new(89_000)));
}

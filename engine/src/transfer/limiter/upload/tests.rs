//! Tests of `upload.rs`.

use super::*;
use crate::rng::Rng;
use crate::transfer::limiter::{BURST, ByClass};
use proptest::prelude::*;
use seedbank_ledger::Duration;

const TORRENT: TorrentId = TorrentId([1; 20]);
const SLOW_TORRENT: TorrentId = TorrentId([2; 20]);
const RATE: u64 = 4 << 20;

fn at_ms(ms: u64) -> Instant {
    Instant::ZERO.after(Duration::from_millis(ms))
}

fn served(side: UploadSide, weight: u64) -> UploadPeer {
    UploadPeer {
        torrent: TORRENT,
        side,
        weight,
    }
}

/// An upload queue in front of peers that each want full blocks whenever `ready` says so.
struct Rig {
    queue: UploadQueue,
    sent: BTreeMap<u64, u64>,
    now: Instant,
}

impl Rig {
    fn new(peers: &[(u64, UploadPeer)]) -> Self {
        let mut queue = UploadQueue::new(30);
        queue.limiter_mut().set_node_rate(Some(RATE), Instant::ZERO);
        for (peer, how) in peers {
            queue.set_peer(PeerIndex(*peer), *how);
        }
        Self {
            queue,
            sent: BTreeMap::new(),
            now: Instant::ZERO,
        }
    }

    fn run(&mut self, duration: Duration, mut ready: impl FnMut(u64, Instant) -> bool) {
        let end = self.now.after(duration);
        while self.now < end {
            let peers: Vec<PeerIndex> = self.queue.peers.keys().copied().collect();
            for peer in &peers {
                let wanted = ready(peer.0, self.now).then_some(BLOCK_LEN);
                self.queue.set_wanted(*peer, wanted);
            }
            while let Some((peer, len)) = self.queue.next(self.now) {
                *self.sent.entry(peer.0).or_default() += u64::from(len);
                let wanted = ready(peer.0, self.now).then_some(BLOCK_LEN);
                self.queue.set_wanted(peer, wanted);
            }
            let next = self.queue.next_refill(self.now);
            self.now = next.unwrap_or_else(|| self.now.after(LUMP)).min(end);
        }
    }

    fn sent(&self, peer: u64) -> u64 {
        self.sent.get(&peer).copied().unwrap_or(0)
    }

    fn total(&self) -> u64 {
        self.sent.values().sum()
    }
}

fn assert_share(part: u64, whole: u64, percent: u64) {
    let got = part * 10_000 / whole;
    assert!(
        got.abs_diff(percent * 100) <= 100,
        "{got} of 10000 is not {percent} %"
    );
}

#[test]
fn two_busy_classes_share_70_to_30_within_one_percent() {
    let mut rig = Rig::new(&[
        (0, served(UploadSide::Paid, 1)),
        (1, served(UploadSide::Open, 1)),
        (2, served(UploadSide::Open, 1)),
        (3, served(UploadSide::Open, 1)),
    ]);
    rig.run(Duration::from_secs(60), |_, _| true);
    assert_share(rig.sent(0), rig.total(), 70);
    assert_share(rig.sent(1), rig.total(), 10);
    assert_share(rig.total(), RATE * 60, 100);
}

#[test]
fn shares_inside_a_class_follow_the_weights() {
    let mut rig = Rig::new(&[
        (0, served(UploadSide::Paid, 1_000_000)),
        (1, served(UploadSide::Paid, 3_000_000)),
        (2, served(UploadSide::Open, 7)),
    ]);
    rig.run(Duration::from_secs(60), |_, _| true);
    assert_share(rig.sent(1), rig.sent(0) + rig.sent(1), 75);
    assert_share(rig.sent(2), rig.total(), 30);
}

#[test]
fn a_class_alone_gets_the_whole_rate() {
    for side in [UploadSide::Paid, UploadSide::Open] {
        let mut rig = Rig::new(&[(0, served(side, 1)), (1, served(UploadSide::Paid, 1))]);
        rig.run(Duration::from_secs(30), |peer, _| peer == 0);
        assert_share(rig.sent(0), RATE * 30, 100);
    }
}

#[test]
fn a_peer_that_is_slow_to_ask_does_not_idle_its_class() {
    let mut rig = Rig::new(&[
        (0, served(UploadSide::Paid, 1)),
        (1, served(UploadSide::Paid, 1)),
        (2, served(UploadSide::Open, 1)),
    ]);
    // Peer 0 takes two blocks a second at most.
    let mut allowed_at = Instant::ZERO;
    rig.run(Duration::from_secs(60), |peer, now| {
        let ready = peer != 0 || now >= allowed_at;
        if peer == 0 && ready {
            allowed_at = now.after(Duration::from_millis(500));
        }
        ready
    });
    assert!(rig.sent(0) <= 61 * 2 * u64::from(BLOCK_LEN) * 2);
    assert_share(rig.sent(0) + rig.sent(1), rig.total(), 70);
    assert_share(rig.total(), RATE * 60, 100);
}

#[test]
fn short_gaps_between_requests_do_not_cost_the_paid_class_its_share() {
    let mut rig = Rig::new(&[
        (0, served(UploadSide::Paid, 1)),
        (1, served(UploadSide::Open, 1)),
    ]);
    let mut rng = Rng::new(5);
    rig.run(Duration::from_secs(60), |peer, _| {
        peer == 1 || rng.chance(9, 10)
    });
    let percent = rig.sent(0) * 100 / rig.total();
    assert!((65..=70).contains(&percent), "{percent} %");
}

#[test]
fn idling_saves_up_no_more_than_a_burst() {
    let mut rig = Rig::new(&[
        (0, served(UploadSide::Paid, 1)),
        (1, served(UploadSide::Paid, 1)),
    ]);
    rig.run(Duration::from_secs(30), |peer, _| peer == 1);
    let before = rig.sent(1);
    rig.run(Duration::from_secs(2), |_, _| true);
    let catch_up = rig.sent(0) - (rig.sent(1) - before);
    assert!(
        catch_up <= RATE / 4 + u64::from(2 * BLOCK_LEN),
        "{catch_up}"
    );
}

#[test]
fn a_torrent_without_tokens_does_not_hold_up_the_others() {
    let slow = UploadPeer {
        torrent: SLOW_TORRENT,
        ..served(UploadSide::Paid, 1)
    };
    let mut rig = Rig::new(&[(0, slow), (1, served(UploadSide::Open, 1))]);
    let limiter = rig.queue.limiter_mut();
    limiter.set_torrent_rate(SLOW_TORRENT, Some(100_000), Instant::ZERO);
    rig.run(Duration::from_secs(60), |_, _| true);
    let burst = u64::from(crate::transfer::limiter::BURST_BYTES_MIN);
    assert!(rig.sent(0) <= 100_000 * 60 + burst);
    assert_share(rig.sent(0), 100_000 * 60, 100);
    assert_share(rig.total(), RATE * 60, 100);
}

#[test]
fn the_largest_weight_starves_nobody_else_s_class() {
    let mut rig = Rig::new(&[
        (0, served(UploadSide::Paid, u64::MAX)),
        (1, served(UploadSide::Open, 0)),
    ]);
    rig.queue.set_open_share(0);
    rig.run(Duration::from_secs(60), |_, _| true);
    assert_share(rig.sent(1), rig.total(), 1);
}

#[test]
fn a_change_of_class_counts_from_then_on() {
    let mut rig = Rig::new(&[
        (0, served(UploadSide::Open, 1)),
        (1, served(UploadSide::Open, 1)),
    ]);
    rig.run(Duration::from_secs(20), |_, _| true);
    let before = (rig.sent(0), rig.total());
    rig.queue
        .set_peer(PeerIndex(0), served(UploadSide::Paid, 1));
    rig.run(Duration::from_secs(20), |_, _| true);
    assert_share(before.0, before.1, 50);
    assert_share(rig.sent(0) - before.0, rig.total() - before.1, 70);
    rig.queue.remove_peer(PeerIndex(0));
    rig.queue.set_wanted(PeerIndex(0), Some(1));
    assert!(!rig.queue.is_wanted(UploadSide::Paid));
}

#[test]
fn without_a_limit_nobody_waits_and_the_order_keeps_the_shares() {
    let mut queue = UploadQueue::new(30);
    queue.set_peer(PeerIndex(0), served(UploadSide::Paid, 1));
    queue.set_peer(PeerIndex(1), served(UploadSide::Open, 1));
    let mut paid_blocks = 0;
    for _ in 0..10_000 {
        queue.set_wanted(PeerIndex(0), Some(BLOCK_LEN));
        queue.set_wanted(PeerIndex(1), Some(BLOCK_LEN));
        let (peer, _) = queue.next(Instant::ZERO).expect("never waits");
        paid_blocks += u64::from(peer == PeerIndex(0));
    }
    assert_share(paid_blocks, 10_000, 70);
    queue.set_wanted(PeerIndex(0), None);
    queue.set_wanted(PeerIndex(1), None);
    assert_eq!(queue.next(Instant::ZERO), None);
    assert_eq!(queue.next_refill(Instant::ZERO), None);
}

#[test]
fn a_short_block_does_not_slip_past_a_long_one() {
    let mut rig = Rig::new(&[
        (0, served(UploadSide::Open, 1)),
        (1, served(UploadSide::Open, 1)),
    ]);
    rig.queue
        .limiter_mut()
        .set_node_rate(Some(10_000), Instant::ZERO);
    let mut long_sent = 0_u64;
    for ms in 0..200_000 {
        rig.queue.set_wanted(PeerIndex(0), Some(BLOCK_LEN));
        rig.queue.set_wanted(PeerIndex(1), Some(10));
        while let Some((peer, len)) = rig.queue.next(at_ms(ms)) {
            long_sent += u64::from(len) * u64::from(peer == PeerIndex(0));
            rig.queue.set_wanted(PeerIndex(1), Some(10));
        }
    }
    assert!(long_sent >= 900_000, "{long_sent}");
}

proptest! {
    /// Random readiness, random blocks: the node never exceeds its rate, and it is never idle while
    /// somebody wants a block and tokens are there.
    #[test]
    fn rate_and_work_conservation_hold_in_any_schedule(
        rng_seed in any::<u64>(), peer_count in 1_u64..10, rate in 20_000_u64..2_000_000,
    ) {
        let mut rng = Rng::new(rng_seed);
        let mut queue = UploadQueue::new(30);
        queue.limiter_mut().set_node_rate(Some(rate), Instant::ZERO);
        let burst = (rate * BURST.as_millis() / 1_000).max(u64::from(2 * BLOCK_LEN));
        let mut now = Instant::ZERO;
        let mut sent = 0;
        for _ in 0..300 {
            now = now.after(Duration::from_nanos(rng.below(60_000_000)));
            let peer = PeerIndex(rng.below(peer_count));
            let side = if rng.chance(1, 2) { UploadSide::Paid } else { UploadSide::Open };
            match rng.below(6) {
                0 => queue.set_peer(peer, served(side, rng.below(5))),
                1 => queue.remove_peer(peer),
                _ => {
                    let len = u32::try_from(1 + rng.below(u64::from(BLOCK_LEN))).unwrap();
                    queue.set_wanted(peer, Some(len));
                }
            }
            while let Some((_, len)) = queue.next(now) {
                sent += u64::from(len);
            }
            queue.check_invariants();
            let wanted = queue.is_wanted(UploadSide::Paid) || queue.is_wanted(UploadSide::Open);
            let left = queue.limiter.node.as_mut().unwrap().available(now);
            prop_assert!(!wanted || left < u64::from(BLOCK_LEN));
            let bound = u128::from(rate) * u128::from(now.as_nanos()) / 1_000_000_000;
            prop_assert!(u128::from(sent) <= bound + u128::from(burst));
        }
    }
}

proptest! {
    /// The split as a fluid is what blocks come to: both classes are backlogged, or one wants less
    /// than its share.
    #[test]
    fn blocks_are_shared_as_the_fluid_is(
        percent in 0_u8..=100, open_every in 1_u64..5, paid_every in 1_u64..5,
    ) {
        let mut queue = UploadQueue::new(percent);
        let side_of = |peer: u64| if peer == 0 { UploadSide::Paid } else { UploadSide::Open };
        for peer in 0..2 {
            queue.set_peer(PeerIndex(peer), UploadPeer {
                torrent: TorrentId([1; 20]), side: side_of(peer), weight: 1,
            });
        }
        // A block leaves in every step; a class may want one in so many of them only.
        let steps = 12_000;
        let mut sent = [0_u64; 2];
        let mut due = [0_u64; 2];
        for step in 0..steps {
            for (peer, every) in [(0, paid_every), (1, open_every)] {
                due[peer] += u64::from(step % every == 0);
                let wanted = (due[peer] > sent[peer]).then_some(BLOCK_LEN);
                queue.set_wanted(PeerIndex(peer as u64), wanted);
            }
            if let Some((peer, _)) = queue.next(Instant::ZERO) {
                sent[usize::from(peer.0 == 1)] += 1;
            }
        }
        let wanted = ByClass { paid: steps / paid_every, open: steps / open_every };
        let split = ClassShares::new(percent).split(steps, wanted);
        prop_assert!(split.paid.abs_diff(sent[0]) <= 150, "{split:?} {sent:?}");
        prop_assert!(split.open.abs_diff(sent[1]) <= 150, "{split:?} {sent:?}");
        prop_assert!(split.paid + split.open <= steps);
    }
}

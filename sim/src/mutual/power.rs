//! The power fails while two pay each other: no entry is lost or doubled, and both books agree.

use seedbank_ledger::store::{Memory, Store as _};
use seedbank_ledger::{Bytes, Duration, Rate, Sequence};

use super::{ONE, OTHER, Played, SWARM_MAX, UPLINK, halves, settlement_keys};
use crate::network::NodeIndex;
use crate::swarm::after;
use crate::world::World;

const RNG_SEED: u64 = 5;
/// How long a node's rows may stay unsynced.
const SYNC_EVERY: Duration = Duration::from_millis(900);
/// What a line carries in that time.
const FORGOTTEN_MAX: Bytes = Bytes::new(UPLINK);
/// By then all is settled.
const SETTLED_MAX: Duration = Duration::from_secs(1_500);
/// A lock's time and half of its grace, and a bit.
const CLAIMED_MAX: Duration = Duration::from_secs(14 * 3_600);

/// One loss of power.
#[derive(Clone, Copy, Debug)]
struct PowerCut {
    place: PowerOf,
    /// After so many batches were written there.
    writes: u64,
    /// Of what was not synced then, so much is found again.
    survives: Survivors,
}

/// Whose power it is.
#[derive(Clone, Copy, Debug)]
enum PowerOf {
    Member(NodeIndex),
    Settlement,
}

/// What a disk has of batches that were written and not synced.
#[derive(Clone, Copy, Debug)]
enum Survivors {
    Nothing,
    Half,
    Everything,
}

impl PowerOf {
    fn store(self, world: &World) -> &Memory {
        match self {
            Self::Member(node) => world.node(node).books.store(),
            Self::Settlement => world.settlement.as_ref().expect("there is one").store(),
        }
    }

    /// Every entry that was acknowledged.
    fn entries(self, world: &World) -> Vec<Vec<u8>> {
        match self {
            Self::Member(node) => world.node(node).books.bytes(),
            Self::Settlement => {
                let ledger = world.settlement.as_ref().expect("there is one").ledger();
                let entries = ledger.entries(Sequence::ZERO, 1_000);
                let entries = entries.expect("memory does not fail");
                entries.iter().map(|entry| entry.to_bytes()).collect()
            }
        }
    }
}

impl Played {
    /// The power is cut: of the batches that were not synced the first `survivors` are there when
    /// it is up again. Verified pieces stay, as they are hashed again anyway.
    fn lose_power(&mut self, place: PowerOf, survivors: usize) {
        let unix = self.world.unix();
        match place {
            PowerOf::Member(node) => {
                let books = &mut self.world.node_mut(node).books;
                *books = books.after_power_cut(survivors, unix);
                self.restart(node, RNG_SEED);
            }
            PowerOf::Settlement => {
                let settlement = self.world.settlement.as_mut().expect("there is one");
                *settlement = settlement.after_power_cut(settlement_keys(), survivors);
            }
        }
    }

    /// Lets things happen until the cut is due; false if it never is. Members sync as daemons do.
    fn run_until_due(&mut self, cut: &PowerCut) -> bool {
        let due = cut.place.store(&self.world).writes() + cut.writes;
        let settled = after(&self.world, SETTLED_MAX);
        self.boost(ONE, Rate::PAR, "a");
        self.boost(OTHER, Rate::PAR, "a");
        while self.world.now() <= settled {
            let there = |world: &World| cut.place.store(world).writes() >= due;
            let next_sync = after(&self.world, SYNC_EVERY);
            if self.world.run_until(next_sync, there).is_done() {
                return true;
            }
            for node in [ONE, OTHER] {
                let synced = self.world.node(node).books.store().sync();
                synced.expect("memory does not fail");
            }
        }
        false
    }

    /// A lock that is not closed early (docs/RULES.md, P5) has its receipts claimed when that is
    /// due, and its payer hears of it then.
    fn claim_the_rest(&mut self) {
        let until = after(&self.world, CLAIMED_MAX);
        let is_even = |played: &Self| {
            let mut booked = played.booked().into_iter();
            booked.all(|[spent, earned]| spent.amount == earned.amount)
        };
        while !is_even(self) && self.world.now() < until {
            self.world.run_for(Duration::from_secs(3_600));
        }
    }

    /// What both have paid; asserts that their books have the same.
    fn paid_by_both(&self) -> u64 {
        let paid = self.booked().map(|[spent, earned]| {
            assert_eq!(spent.amount, earned.amount, "both books have the same");
            // Of what it no longer knows to have served a payee books no bytes.
            let unknown = spent.bytes.checked_sub(earned.bytes);
            let is_little = unknown.is_some_and(|bytes| bytes <= FORGOTTEN_MAX);
            assert!(is_little, "{spent:?} {earned:?}");
            spent.amount.get()
        });
        paid.iter().sum()
    }
}

/// Plays the economy with the cut, until all is settled. What both paid; `None` if there never were
/// so many writes.
fn play_with(cut: &PowerCut) -> Option<u64> {
    let mut played = halves(12 << 20, 128 << 10, RNG_SEED).begin();
    for place in [
        PowerOf::Member(ONE),
        PowerOf::Member(OTHER),
        PowerOf::Settlement,
    ] {
        place.store(&played.world).remember_unsynced();
    }
    if !played.run_until_due(cut) {
        return None;
    }
    let acknowledged = cut.place.entries(&played.world);
    let unsynced = cut.place.store(&played.world).unsynced_count();
    let survivors = match cut.survives {
        Survivors::Nothing => 0,
        Survivors::Half => unsynced / 2,
        Survivors::Everything => unsynced,
    };
    played.lose_power(cut.place, survivors);
    let begun = played.world.now();
    while !played.is_complete() {
        let took = played.world.now().since(begun);
        assert!(took < SWARM_MAX, "both are complete: {cut:?}");
        played.world.run_for(Duration::from_secs(1));
    }
    played.settle();
    played.claim_the_rest();
    let entries = cut.place.entries(&played.world);
    assert!(
        entries.starts_with(&acknowledged),
        "an entry is lost: {cut:?}"
    );
    played.check_conserved();
    Some(played.paid_by_both())
}

/// No entry is lost or doubled, and after SYNC both books agree, wherever the power fails.
#[test]
fn books_agree_after_a_power_cut_at_any_write() {
    for place in [
        PowerOf::Member(ONE),
        PowerOf::Member(OTHER),
        PowerOf::Settlement,
    ] {
        for survives in [Survivors::Nothing, Survivors::Half, Survivors::Everything] {
            let cut = |writes| PowerCut {
                place,
                writes,
                survives,
            };
            let paid: Vec<u64> = (1..).map_while(|writes| play_with(&cut(writes))).collect();
            let [least, most] = [paid.iter().min(), paid.iter().max()];
            println!(
                "{place:?}, {survives:?}: {} cuts, {least:?} to {most:?} paid",
                paid.len()
            );
            assert!(paid.len() >= 5, "{} writes", paid.len());
        }
    }
}

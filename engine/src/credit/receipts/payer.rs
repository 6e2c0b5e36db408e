//! What we owe one payee and how it is signed: `due`, `signed`, and its locks (S1 to S4).

use std::collections::BTreeMap;

use seedbank_ledger::signed::lock::{Lock, LockId};
use seedbank_ledger::signed::receipt::SignedReceipt;
use seedbank_ledger::{Bytes, Identity, MicroCredits, Rate, RawCost};

use crate::credit::receipts::clock::Now;
use crate::credit::receipts::copies::Earned;
use crate::credit::receipts::limits::LOCKS_CLOSED_MAX;
use crate::credit::receipts::open_pieces::OpenPieces;
use crate::credit::receipts::paying::PayingLock;
use crate::credit::receipts::shares::{RawShare, Shares};
#[cfg(feature = "mutants")]
use crate::mutants;
use crate::units::TorrentId;
use crate::wire::receipt::Quote;

/// Our side of a pair as payer, over all connections, torrents and locks.
#[derive(Clone, Debug, Default)]
pub struct Payer {
    due: RawCost,
    signed: MicroCredits,
    /// Locks of ours for it, oldest first; closed ones until their credit has returned.
    pub locks: BTreeMap<LockId, PayingLock>,
    /// Pieces open at it.
    pub pieces: OpenPieces,
    /// What it was owed for what was needed, and for copies.
    pub earned: Earned,
    /// The window it quoted last.
    pub window: Bytes,
    /// What it said that it wrote off of us, while it is connected.
    written_off: Option<Bytes>,
    unsigned_bytes: Bytes,
    shares: Shares,
    /// Newest lock that was forgotten; older ones that it shows are not believed to be new.
    forgotten: Option<LockId>,
}

/// What one signature came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signing {
    /// Locks with a new receipt.
    pub locks: Vec<LockId>,
    /// What was spent on which torrent, and on how many bytes of it.
    pub spent: Vec<(TorrentId, Bytes, MicroCredits)>,
}

impl Payer {
    /// As stored. `signed` never exceeds `due`.
    pub fn stored(due: RawCost, signed: MicroCredits) -> Self {
        Self {
            due: due.max(RawCost::of(signed)),
            signed,
            ..Self::default()
        }
    }

    /// A verified block that has a price: it is owed (S1).
    pub fn owe(&mut self, torrent_id: TorrentId, len: Bytes, rate: Rate) {
        let raw = rate.raw_cost(len);
        #[cfg(feature = "mutants")]
        let raw = mutants::due(raw);
        self.due = self.due.saturating_add(raw);
        self.check_due();
        self.unsigned_bytes = self.unsigned_bytes.saturating_add(len);
        self.shares.add(RawShare {
            torrent_id,
            bytes: len,
            raw,
        });
    }

    /// The payee's QUOTE came. True if it says that more was written off, so that more may be asked
    /// for.
    pub fn quoted(&mut self, quote: &Quote) -> bool {
        self.window = quote.window;
        let known = self.written_off.unwrap_or(quote.written_off);
        self.written_off = Some(known.max(quote.written_off));
        let more = quote.written_off.saturating_sub(known);
        self.pieces.written_off(more);
        !more.is_zero()
    }

    /// The last connection is gone: the payee may come back with nothing on its books, so that what
    /// came to nothing counts no more, and what it wrote off is counted anew.
    pub fn disconnected(&mut self) {
        self.written_off = None;
        self.pieces.forget_undue();
    }

    /// Signs what is owed: on the oldest lock with room first, never above a lock's amount; what
    /// finds no room waits. `None` if nothing can be signed.
    pub fn sign(&mut self, by: &Identity, now: Now) -> Option<Signing> {
        let owed = self.owed();
        let mut left = owed;
        let mut steps = Vec::new();
        for (id, lock) in &self.locks {
            let step = lock.room().min(left);
            if lock.is_signable(now) && (lock.is_crossed() || !step.is_zero()) {
                left = left.saturating_sub(step);
                steps.push((*id, step));
            }
        }
        let (last, _) = *steps.last()?;
        assert!(left <= owed, "no more is signed than is owed");
        let signed_before = self.signed;
        let mut spent = Vec::new();
        for (id, step) in &steps {
            let lock = self.locks.get_mut(id).expect("a step is of a lock here");
            // Bytes are a statistic; they go to the lock that pays the last micro-credit.
            let bytes = if *id == last {
                std::mem::take(&mut self.unsigned_bytes)
            } else {
                Bytes::ZERO
            };
            lock.sign(by, bytes, *step, now.at);
            self.signed = self.signed.saturating_add(*step);
            if step.is_zero() {
                continue;
            }
            for (share, amount) in self.shares.spend(*step) {
                let none = Bytes::ZERO;
                lock.summary.attribute(share.torrent_id, none, share.raw);
                spent.push((share, amount));
            }
        }
        let rise = self.signed.saturating_sub(signed_before);
        assert_eq!(
            rise,
            owed.saturating_sub(left),
            "what is signed is the sum over locks"
        );
        self.check_due();
        let lock = self.locks.get_mut(&last).expect("a step is of a lock here");
        for (share, _) in &spent {
            let free = RawCost::ZERO;
            lock.summary.attribute(share.torrent_id, share.bytes, free);
        }
        Some(Signing {
            locks: steps.into_iter().map(|(id, _)| id).collect(),
            spent: spent
                .into_iter()
                .filter(|(share, amount)| !amount.is_zero() || !share.bytes.is_zero())
                .map(|(share, amount)| (share.torrent_id, share.bytes, amount))
                .collect(),
        })
    }

    /// The payee shows a receipt of ours, whose signature holds (S4). True if we had forgotten it.
    pub fn adopt(&mut self, lock_id: LockId, proof: SignedReceipt, now: Now) -> bool {
        let Some(lock) = self.locks.get_mut(&lock_id) else {
            return false;
        };
        let before = lock.receipt;
        let rise = lock.adopt(proof, now.at);
        let changed = lock.receipt != before;
        self.raise(rise);
        changed || !rise.is_zero()
    }

    /// The settlement node tells what was claimed on a lock. True if more than we knew to be
    /// signed.
    pub fn claimed(&mut self, lock_id: LockId, claimed: MicroCredits) -> bool {
        let Some(lock) = self.locks.get_mut(&lock_id) else {
            return false;
        };
        let rise = lock.claimed(claimed);
        self.raise(rise);
        !rise.is_zero()
    }

    /// Whether a lock may be taken for one that we forgot in a restore.
    pub fn may_learn(&self, lock_id: LockId) -> bool {
        self.forgotten.is_none_or(|forgotten| lock_id > forgotten)
    }

    /// Forgets the oldest closed locks past a bound, whose rows stay, and locks whose credit has
    /// returned, which it gives back: nothing of them is wanted ever again.
    pub fn forget_old_locks(&mut self, now: Now) -> Vec<Lock> {
        let mut closed = self.locks.values().filter(|lock| !lock.is_open()).count();
        let mut over = Vec::new();
        let mut returned = Vec::new();
        for (id, lock) in &self.locks {
            if now.unix > lock.lock.body.returns_at() {
                returned.push(lock.lock.body);
            } else if !lock.is_open() && closed > LOCKS_CLOSED_MAX {
                over.push(*id);
            } else {
                continue;
            }
            closed = closed.saturating_sub(usize::from(!lock.is_open()));
        }
        for id in over
            .into_iter()
            .chain(returned.iter().map(|lock| lock.lock_id))
        {
            self.locks.remove(&id);
            self.forgotten = self.forgotten.max(Some(id));
        }
        returned
    }

    /// Σ bytes × rate of everything verified that it served in the paid class.
    pub fn due(&self) -> RawCost {
        self.due
    }

    /// Σ amounts over all locks ever.
    pub fn signed(&self) -> MicroCredits {
        self.signed
    }

    /// What is due and not signed.
    pub fn owed(&self) -> MicroCredits {
        let due = self.due.floor().unwrap_or(MicroCredits::MAX);
        due.saturating_sub(self.signed)
    }

    /// Asserts that no more is signed than due.
    pub fn check_invariants(&self) {
        self.check_due();
        self.pieces.check_invariants();
        self.locks.values().for_each(PayingLock::check_invariants);
        for (id, lock) in &self.locks {
            assert_eq!(*id, lock.lock.body.lock_id, "a lock lies under its number");
        }
    }

    fn check_due(&self) {
        assert!(
            RawCost::of(self.signed) <= self.due,
            "no more is signed than due"
        );
    }

    /// `max`, never a sum of differences of due: what is proven to be signed was due.
    fn raise(&mut self, rise: MicroCredits) {
        self.signed = self.signed.saturating_add(rise);
        self.due = self.due.max(RawCost::of(self.signed));
        self.check_due();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seedbank_ledger::signed::Body as _;
    use seedbank_ledger::signed::order::OrderHash;
    use seedbank_ledger::{Instant, NetworkId, UnixTime};

    const NOW: Now = Now {
        at: Instant::ZERO,
        unix: UnixTime::from_secs(1_000),
    };
    /// One micro-credit per byte.
    const RATE: Rate = Rate::new(1 << 30);

    fn lock(id: u64, amount: u64) -> PayingLock {
        let body = Lock {
            network_id: NetworkId::from_bytes([1; 32]),
            lock_id: LockId::new(id),
            opening_order: OrderHash::from_bytes([0x0d; 32]),
            payer: me().id(),
            payee: Identity::from_secret([2; 32]).id(),
            amount: MicroCredits::new(amount),
            expires_at: UnixTime::from_secs(4_600),
            grace_secs: 86_400,
        };
        PayingLock::new(body.sign(&Identity::from_secret([3; 32])))
    }

    fn me() -> Identity {
        Identity::from_secret([1; 32])
    }

    fn payer(locks: &[(u64, u64)]) -> Payer {
        let mut payer = Payer::default();
        for (id, amount) in locks {
            let lock_id = LockId::new(*id);
            payer.locks.insert(lock_id, lock(*id, *amount));
        }
        payer
    }

    fn signed(payer: &Payer) -> Vec<u64> {
        payer.locks.values().map(|lock| lock.signed.get()).collect()
    }

    #[test]
    fn due_is_signed_on_the_oldest_lock_with_room_and_the_rest_on_the_next() {
        let mut payer = payer(&[(7, 10), (8, 100)]);
        payer.owe(TorrentId([0; 20]), Bytes::new(25), RATE);
        let signing = payer.sign(&me(), NOW).expect("something is due");
        assert_eq!(signed(&payer), [10, 15]);
        // The bytes go with the first lock that pays for them.
        let spent = |bytes, amount| {
            (
                TorrentId([0; 20]),
                Bytes::new(bytes),
                MicroCredits::new(amount),
            )
        };
        assert_eq!(signing.spent, [spent(25, 10), spent(0, 15)]);
        assert_eq!(payer.sign(&me(), NOW), None);
    }

    #[test]
    fn what_finds_no_room_waits() {
        let mut payer = payer(&[(7, 10)]);
        payer.owe(TorrentId([0; 20]), Bytes::new(25), RATE);
        payer.sign(&me(), NOW).expect("there is some room");
        assert_eq!(payer.owed(), MicroCredits::new(15));
        assert_eq!(payer.sign(&me(), NOW), None);
        payer.locks.insert(LockId::new(8), lock(8, 100));
        payer.sign(&me(), NOW).expect("there is room again");
        assert_eq!(signed(&payer), [10, 15]);
    }

    #[test]
    fn nothing_is_signed_after_a_quarter_of_the_grace() {
        let mut payer = payer(&[(7, 100)]);
        payer.owe(TorrentId([0; 20]), Bytes::new(5), RATE);
        let late = Now {
            unix: UnixTime::from_secs(4_600 + 21_601),
            ..NOW
        };
        assert_eq!(payer.sign(&me(), late), None);
        let just = Now {
            unix: UnixTime::from_secs(4_600 + 21_600),
            ..NOW
        };
        assert!(payer.sign(&me(), just).is_some());
    }

    #[test]
    fn f19_a_proof_is_never_added_to_what_is_due() {
        let mut payer = payer(&[(7, 100)]);
        payer.owe(TorrentId([0; 20]), Bytes::new(40), RATE);
        assert!(payer.claimed(LockId::new(7), MicroCredits::new(40)));
        assert_eq!(payer.owed(), MicroCredits::ZERO);
        assert_eq!(payer.due(), RawCost::of(MicroCredits::new(40)));
        assert!(payer.claimed(LockId::new(7), MicroCredits::new(60)));
        assert_eq!(payer.due(), RawCost::of(MicroCredits::new(60)));
        payer.check_invariants();
    }

    #[test]
    fn a_lock_that_was_forgotten_is_not_learned_again() {
        let mut payer = payer(&[(7, 100)]);
        assert!(payer.may_learn(LockId::new(7)));
        let returned = Now {
            unix: UnixTime::from_secs(4_600 + 86_401),
            ..NOW
        };
        payer.forget_old_locks(returned);
        assert!(payer.locks.is_empty());
        assert!(!payer.may_learn(LockId::new(7)));
        assert!(payer.may_learn(LockId::new(8)));
    }
}

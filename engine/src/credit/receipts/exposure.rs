//! The queue F: blocks granted in the paid class and not yet paid (P1, P2, P4).
//!
//! What is paid clears the lowest rate first, among equals the oldest. Were it the oldest first, a
//! payer that cut its bid could have all it owes at the new price signed and be refused for what it
//! owes at the old one, and two honest nodes would wait for each other.
//!
//! A payer signs whole micro-credits of a sum that it floors once, so up to 2³⁰ − 1 of the raw
//! value is always missing. The queue lends it that much from the start: a block is cleared when
//! the credit, loan included, reaches its raw cost, and what is left of the loan is carried for
//! ever.

use std::collections::{BTreeMap, VecDeque};

use seedbank_ledger::{Bytes, MicroCredits, Rate, RawCost};

use crate::credit::receipts::limits::EXPOSURE_BLOCKS_MAX;
use crate::units::TorrentId;

/// One block granted in the paid class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaidBlock {
    /// Of which torrent.
    pub torrent_id: TorrentId,
    /// Its length.
    pub len: Bytes,
    /// What it costs.
    pub rate: Rate,
}

/// What a rise of the amount paid did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cleared {
    /// Blocks that are paid now, lowest rate first.
    pub blocks: Vec<PaidBlock>,
    /// Blocks that are paid now after they were written off, oldest first.
    pub recovered: Vec<PaidBlock>,
}

/// What a write-off did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WrittenOff {
    /// Bytes that left F unpaid.
    pub bytes: Bytes,
    /// The highest rate among them.
    pub rate_most: Rate,
    /// Blocks that their absence leaves paid.
    pub paid: Vec<PaidBlock>,
}

/// F, and what is needed to clear it.
#[derive(Clone, Debug)]
pub struct Exposure {
    /// By rate, then in the order in which they were granted.
    queue: BTreeMap<(Rate, u64), PaidBlock>,
    granted_count: u64,
    bytes: Bytes,
    raw: RawCost,
    /// Paid, or lent, and not used to clear a block yet.
    credit: RawCost,
    /// Written off in this run; a late payment still clears them before it counts as a tip.
    written_off: VecDeque<PaidBlock>,
}

/// Less than one micro-credit, lent to every payer for good.
pub const LOAN: RawCost = RawCost::new((1 << 30) - 1);

impl Exposure {
    /// An empty queue with `credit` left over from the last run; [`LOAN`] for a new pair.
    ///
    /// More than the loan is a surplus that found F empty: a tip.
    pub fn new(credit: RawCost) -> Self {
        Self {
            queue: BTreeMap::new(),
            granted_count: 0,
            bytes: Bytes::ZERO,
            raw: RawCost::ZERO,
            credit: credit.min(LOAN),
            written_off: VecDeque::new(),
        }
    }

    /// Adds a granted block; returns what is paid at once, because less than 1 µcr is missing.
    ///
    /// # Panics
    /// If the queue is full: [`Self::has_room`] is asked first.
    pub fn push(&mut self, block: PaidBlock) -> Vec<PaidBlock> {
        assert!(self.has_room(), "a full exposure queue takes no block");
        self.bytes = self.bytes.saturating_add(block.len);
        self.raw = self.raw.saturating_add(block.raw());
        self.queue.insert((block.rate, self.granted_count), block);
        self.granted_count += 1;
        assert!(
            self.queue.len() <= EXPOSURE_BLOCKS_MAX,
            "the exposure queue has a bound"
        );
        self.clear()
    }

    /// Removes the newest block of this length and rate, whose grant was taken back, and returns
    /// what its absence leaves paid. Nothing happens if there is none: it was paid, or written off.
    pub fn take_back(&mut self, len: Bytes, rate: Rate) -> Vec<PaidBlock> {
        let mut alike = self.queue.range((rate, 0)..=(rate, u64::MAX)).rev();
        let found = alike.find(|(_, block)| block.len == len);
        let found = found.map(|(place, _)| *place);
        if let Some(block) = found.and_then(|place| self.queue.remove(&place)) {
            self.forget(block);
        }
        self.clear()
    }

    /// Counts a rise of the amount paid: clears F lowest rate first, then what was written off,
    /// oldest first; a surplus is a tip.
    pub fn pay(&mut self, rise: MicroCredits) -> Cleared {
        self.credit = self.credit.saturating_add(RawCost::of(rise));
        let blocks = self.clear();
        let mut cleared = Cleared {
            blocks,
            recovered: Vec::new(),
        };
        if !self.queue.is_empty() {
            return cleared;
        }
        while let Some(block) = self.written_off.pop_front() {
            if self.credit < block.raw() {
                self.written_off.push_front(block);
                break;
            }
            self.credit = self.credit.saturating_sub(block.raw());
            cleared.recovered.push(block);
        }
        if self.written_off.is_empty() {
            self.credit = self.credit.min(LOAN);
        }
        assert!(
            cleared.recovered.is_empty() || self.is_empty(),
            "F is paid before what was lost"
        );
        self.check_sums();
        cleared
    }

    /// Takes the oldest blocks out of F because nobody paid, whole ones of at most `most` bytes
    /// together. The shortage is carried.
    pub fn write_off(&mut self, most: Bytes) -> WrittenOff {
        let mut oldest: Vec<(Rate, u64)> = self.queue.keys().copied().collect();
        oldest.sort_unstable_by_key(|(_, granted)| *granted);
        let mut bytes = Bytes::ZERO;
        let mut rate_most = Rate::ZERO;
        for place in oldest {
            let block = self.queue[&place];
            let more = bytes.saturating_add(block.len);
            if more > most {
                break;
            }
            bytes = more;
            rate_most = rate_most.max(block.rate);
            self.queue.remove(&place);
            self.forget(block);
            self.written_off.push_back(block);
        }
        let excess = self.written_off.len().saturating_sub(EXPOSURE_BLOCKS_MAX);
        self.written_off.drain(..excess);
        let paid = self.clear();
        WrittenOff {
            bytes,
            rate_most,
            paid,
        }
    }

    /// E: the bytes in F.
    pub fn bytes(&self) -> Bytes {
        self.bytes
    }

    /// Whether everything granted was paid or taken back.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether one more block may be remembered, whatever the window.
    pub fn has_room(&self) -> bool {
        self.queue.len() < EXPOSURE_BLOCKS_MAX
    }

    /// What must still be paid to clear F and one more block; `None` if no amount is enough.
    pub fn cost_with(&self, len: Bytes, rate: Rate) -> Option<MicroCredits> {
        let all = self.raw.saturating_add(rate.raw_cost(len));
        all.saturating_sub(self.credit).ceil()
    }

    /// To be stored: credit that cleared no block yet, loan included.
    pub fn credit(&self) -> RawCost {
        self.credit
    }

    /// Asserts that the sums are those of the queue and that nothing payable waits.
    pub fn check_invariants(&self) {
        let bytes = self.queue.values().map(|block| block.len.get()).sum();
        assert_eq!(self.bytes, Bytes::new(bytes), "E is the bytes in F");
        let raw = self.queue.values().map(|block| block.raw().get()).sum();
        assert_eq!(self.raw, RawCost::new(raw), "U is the cost of F");
        assert!(
            self.queue.len() <= EXPOSURE_BLOCKS_MAX,
            "the exposure queue has a bound"
        );
        if let Some((_, first)) = self.queue.first_key_value() {
            assert!(self.credit < first.raw(), "the next block is not paid");
        }
    }

    /// Asserts, at every change of F, what is known of its sums. O(1).
    fn check_sums(&self) {
        let Some((_, first)) = self.queue.first_key_value() else {
            assert_eq!(self.bytes, Bytes::ZERO, "E of an empty F is zero");
            assert_eq!(self.raw, RawCost::ZERO, "U of an empty F is zero");
            return;
        };
        assert!(self.bytes >= first.len, "E holds the next block");
        assert!(self.raw >= first.raw(), "U holds the next block");
        assert!(self.credit < first.raw(), "the next block is not paid");
    }

    fn clear(&mut self) -> Vec<PaidBlock> {
        let mut cleared = Vec::new();
        while let Some(first) = self.queue.first_entry() {
            let block = *first.get();
            if self.credit < block.raw() {
                break;
            }
            first.remove();
            self.forget(block);
            self.credit = self.credit.saturating_sub(block.raw());
            cleared.push(block);
        }
        self.check_sums();
        cleared
    }

    fn forget(&mut self, block: PaidBlock) {
        assert!(self.bytes >= block.len, "what leaves F is in E");
        assert!(self.raw >= block.raw(), "what leaves F is in U");
        self.bytes = self.bytes.saturating_sub(block.len);
        self.raw = self.raw.saturating_sub(block.raw());
    }
}

impl PaidBlock {
    fn raw(&self) -> RawCost {
        self.rate.raw_cost(self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;
    const BLOCK: u64 = 16_384;

    fn block(rate: u64) -> PaidBlock {
        PaidBlock {
            torrent_id: TorrentId([0; 20]),
            len: Bytes::new(BLOCK),
            rate: Rate::new(rate),
        }
    }

    /// A rate at which a block costs `amount`.
    fn costing(amount: u64) -> PaidBlock {
        block(amount * (GIB / BLOCK))
    }

    fn micro(amount: u64) -> MicroCredits {
        MicroCredits::new(amount)
    }

    #[test]
    fn a_rise_clears_the_lowest_rate_first() {
        let mut exposure = Exposure::new(LOAN);
        exposure.push(costing(20));
        exposure.push(costing(10));
        assert_eq!(exposure.pay(micro(9)).blocks, []);
        assert_eq!(exposure.pay(micro(1)).blocks, [costing(10)]);
        assert_eq!(exposure.bytes(), Bytes::new(BLOCK));
        assert_eq!(exposure.pay(micro(25)).blocks, [costing(20)]);
        assert!(exposure.is_empty());
        exposure.push(costing(5));
        assert!(
            !exposure.is_empty(),
            "a surplus that found F empty was a tip"
        );
        exposure.check_invariants();
    }

    #[test]
    fn a_payer_who_floors_its_sum_once_always_clears_everything() {
        let mut exposure = Exposure::new(LOAN);
        let mut raw = RawCost::ZERO;
        let mut signed = MicroCredits::ZERO;
        for step in 0..1_000 {
            let grant = block(70_000 + step * 977);
            exposure.push(grant);
            raw = raw.saturating_add(grant.raw());
            let due = raw.floor().expect("small");
            exposure.pay(due.checked_sub(signed).expect("due grows"));
            signed = due;
            assert!(exposure.is_empty(), "step {step}");
        }
    }

    #[test]
    fn the_shortage_is_carried_through_a_write_off() {
        let mut exposure = Exposure::new(LOAN);
        let half = block(GIB / BLOCK / 2);
        assert_eq!(exposure.push(half), [half], "half a micro-credit is lent");
        exposure.push(half);
        assert_eq!(exposure.write_off(Bytes::MAX).bytes, Bytes::new(BLOCK));
        exposure.push(half);
        assert!(!exposure.is_empty(), "the loan is used up");
        assert_eq!(exposure.credit(), RawCost::new((1 << 29) - 1));
    }

    #[test]
    fn a_late_payment_clears_what_was_written_off_before_it_is_a_tip() {
        let mut exposure = Exposure::new(LOAN);
        exposure.push(costing(10));
        exposure.push(costing(10));
        exposure.write_off(Bytes::MAX);
        let cleared = exposure.pay(micro(10));
        assert_eq!(cleared.recovered, [costing(10)]);
        assert_eq!(cleared.blocks, []);
        exposure.push(costing(30));
        assert_eq!(exposure.pay(micro(30)).blocks, [costing(30)]);
        assert_eq!(exposure.pay(micro(99)).recovered, [costing(10)]);
        assert_eq!(exposure.credit(), LOAN);
    }

    #[test]
    fn a_grant_taken_back_leaves_no_exposure() {
        let mut exposure = Exposure::new(LOAN);
        let short = PaidBlock {
            len: Bytes::new(BLOCK / 4),
            ..costing(20)
        };
        exposure.push(costing(10));
        exposure.push(short);
        exposure.pay(micro(5));
        let paid = exposure.take_back(Bytes::new(BLOCK), costing(10).rate);
        assert_eq!(paid, [short], "what was paid covers the block behind");
        assert!(exposure.is_empty());
        assert_eq!(exposure.take_back(Bytes::new(1), Rate::PAR), []);
        exposure.check_invariants();
    }

    #[test]
    fn a_write_off_takes_whole_blocks_the_oldest_first() {
        let mut exposure = Exposure::new(LOAN);
        exposure.push(costing(30));
        exposure.push(costing(10));
        exposure.push(costing(20));
        let off = exposure.write_off(Bytes::new(2 * BLOCK + 1));
        assert_eq!(off.bytes, Bytes::new(2 * BLOCK));
        assert_eq!(exposure.pay(micro(20)).blocks, [costing(20)]);
        assert!(exposure.is_empty());
        exposure.check_invariants();
    }

    #[test]
    fn the_cost_asked_to_be_covered_counts_what_was_paid_in_part() {
        let mut exposure = Exposure::new(LOAN);
        exposure.push(costing(10));
        exposure.pay(micro(4));
        let next = costing(7);
        assert_eq!(exposure.cost_with(next.len, next.rate), Some(micro(13)));
        assert_eq!(exposure.cost_with(Bytes::MAX, Rate::MAX), None);
    }
}

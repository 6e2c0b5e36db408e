//! How much is paid for blocks that somebody had brought before (S1).
//!
//! A payee that was asked for such a block may be honest: its block crossed our cancel. It may as
//! well have kept the request until another brought the block. What is paid for copies is therefore
//! a part of what a payee earned by blocks that were needed, and a little beside it in a torrent,
//! however many keys share that.

use std::collections::BTreeMap;

use seedbank_ledger::{Bytes, RawCost};

use crate::credit::receipts::limits::{COPIES_LEN, COPIES_SHARE};
use crate::units::TorrentId;

/// What one payee was owed, over all torrents.
#[derive(Clone, Copy, Debug, Default)]
pub struct Earned {
    /// For blocks that were needed.
    needed: RawCost,
    /// For copies, within its own part.
    copies: RawCost,
}

/// What is left of what a torrent's copies may cost beside that.
#[derive(Clone, Debug, Default)]
pub struct Copies {
    used: BTreeMap<TorrentId, Bytes>,
}

impl Earned {
    /// A block of it that was needed is owed.
    pub fn needed(&mut self, raw: RawCost) {
        self.needed = self.needed.saturating_add(raw);
    }

    /// Whether a copy is paid from its own part, which is used for it.
    pub fn takes_copy(&mut self, raw: RawCost) -> bool {
        let part = RawCost::new(self.needed.get() / COPIES_SHARE);
        let copies = self.copies.saturating_add(raw);
        let fits = copies <= part;
        if fits {
            self.copies = copies;
        }
        fits
    }
}

impl Copies {
    /// Whether a copy is paid from what is anybody's, which is used for it.
    pub fn take(&mut self, torrent_id: TorrentId, len: Bytes) -> bool {
        let used = self.used.entry(torrent_id).or_default();
        let sum = used.saturating_add(len);
        let fits = sum <= COPIES_LEN;
        if fits {
            *used = sum;
        }
        fits
    }

    /// A torrent is gone.
    pub fn forget(&mut self, torrent_id: TorrentId) {
        self.used.remove(&torrent_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: Bytes = Bytes::new(1 << 14);

    #[test]
    fn a_payee_is_paid_copies_for_a_part_of_what_it_brought_and_each_part_once() {
        let mut earned = Earned::default();
        let raw = RawCost::new(1_000);
        assert!(!earned.takes_copy(raw));
        (0..2 * COPIES_SHARE).for_each(|_| earned.needed(raw));
        assert!(earned.takes_copy(raw));
        assert!(earned.takes_copy(raw));
        assert!(!earned.takes_copy(raw));
    }

    #[test]
    fn beside_that_a_torrent_has_a_few_for_anybody() {
        let mut copies = Copies::default();
        let torrent_id = TorrentId([1; 20]);
        let count = (0..100).filter(|_| copies.take(torrent_id, BLOCK)).count();
        assert_eq!(count, 16);
        assert!(copies.take(TorrentId([2; 20]), BLOCK));
        copies.forget(torrent_id);
        assert!(copies.take(torrent_id, BLOCK));
    }
}

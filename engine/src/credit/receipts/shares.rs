//! Which torrent each signed micro-credit was spent on: budgets hold to the micro-credit (S5).

use std::collections::VecDeque;

use seedbank_ledger::{Bytes, MicroCredits, RawCost};

use crate::units::TorrentId;

/// Verified value that is not signed yet, by torrent, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Shares {
    queue: VecDeque<RawShare>,
    /// Less than a micro-credit of what was due and fell to nobody yet.
    rest: RawCost,
}

/// A torrent's part of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawShare {
    /// Which torrent.
    pub torrent_id: TorrentId,
    /// Its bytes.
    pub bytes: Bytes,
    /// Its raw value.
    pub raw: RawCost,
}

impl Shares {
    /// More of a torrent was verified. At most one share per torrent waits.
    pub fn add(&mut self, share: RawShare) {
        let known = self
            .queue
            .iter_mut()
            .find(|known| known.torrent_id == share.torrent_id);
        match known {
            Some(known) => {
                known.bytes = known.bytes.saturating_add(share.bytes);
                known.raw = known.raw.saturating_add(share.raw);
            }
            None => self.queue.push_back(share),
        }
    }

    /// `amount` was signed: splits it over the torrents, to the micro-credit. What was due before
    /// this run falls to no torrent.
    pub fn spend(&mut self, amount: MicroCredits) -> Vec<(RawShare, MicroCredits)> {
        let mut left = amount;
        let mut spent = Vec::new();
        while let Some(mut share) = self.queue.pop_front() {
            let raw = self.rest.saturating_add(share.raw);
            let whole = raw.floor().unwrap_or(MicroCredits::MAX);
            if whole > left {
                let raw_left = raw.saturating_sub(RawCost::of(left));
                let paid = RawShare {
                    raw: RawCost::of(left),
                    ..share
                };
                self.rest = RawCost::ZERO;
                assert!(
                    paid.raw <= raw,
                    "no torrent pays more than its share and the rest"
                );
                share.raw = raw_left;
                share.bytes = Bytes::ZERO;
                self.queue.push_front(share);
                spent.push((paid, left));
                return spent;
            }
            self.rest = raw.saturating_sub(RawCost::of(whole));
            assert!(whole <= left, "shares add up to at most what was signed");
            left = left.saturating_sub(whole);
            spent.push((share, whole));
        }
        spent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(torrent: u8, raw: u128) -> RawShare {
        RawShare {
            torrent_id: TorrentId([torrent; 20]),
            bytes: Bytes::new(1),
            raw: RawCost::new(raw),
        }
    }

    #[test]
    fn shares_add_up_to_what_was_signed() {
        let unit = 1 << 30;
        let mut shares = Shares::default();
        shares.add(share(1, unit + unit / 2));
        shares.add(share(2, unit / 2));
        shares.add(share(3, 5 * unit));
        let spent = shares.spend(MicroCredits::new(4));
        let amounts: Vec<u64> = spent.iter().map(|(_, amount)| amount.get()).collect();
        assert_eq!(amounts, [1, 1, 2]);
        let rest = shares.spend(MicroCredits::new(3));
        assert_eq!(rest.len(), 1);
        assert_eq!(rest[0].1, MicroCredits::new(3));
        assert_eq!(shares.spend(MicroCredits::new(9)), []);
    }
}

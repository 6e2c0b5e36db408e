//! When a channel's change is due in the ledger, and which torrents it belongs to
//! (docs/RULES.md, summaries).
//!
//! Attribution is local and never signed: shares are floored one by one, so their sum never exceeds
//! what the receipt says.

use std::collections::BTreeMap;

use seedbank_ledger::charts::node::{Attribution, ChannelSummary};
use seedbank_ledger::signed::channel::Channel;
use seedbank_ledger::signed::receipt::SignedReceipt;
use seedbank_ledger::{Bytes, Instant, MicroCredits, RawCost};

use crate::credit::receipts::incoming::totals;
use crate::credit::receipts::limits::{ATTRIBUTION_MAX, SUMMARY_DELAY, SUMMARY_STEP};
use crate::units::TorrentId;

/// Change of one channel since its last summary.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    since: Option<Instant>,
    /// What no summary has told of yet, by torrent; less than a micro-credit stays behind.
    shares: BTreeMap<TorrentId, TorrentShare>,
    /// Totals of the receipt as last summarised in this run.
    told: (Bytes, MicroCredits),
}

#[derive(Clone, Copy, Debug, Default)]
struct TorrentShare {
    bytes: Bytes,
    raw: RawCost,
}

impl TorrentShare {
    /// Whether nothing of it can be told: less than a byte and a micro-credit.
    fn is_dust(&self) -> bool {
        self.bytes.is_zero() && self.raw < RawCost::of(MicroCredits::new(1))
    }
}

impl Summary {
    /// After a start: whether the ledger knows of `receipt` is unknown, so it is told once more.
    /// What it was for was forgotten.
    pub fn stored(receipt: Option<&SignedReceipt>, now: Instant) -> Self {
        Self {
            since: receipt.map(|_| now),
            shares: BTreeMap::new(),
            told: totals(receipt),
        }
    }

    /// `bytes` of a torrent, worth `raw`, are part of the next change.
    pub fn attribute(&mut self, torrent_id: TorrentId, bytes: Bytes, raw: RawCost) {
        if self.shares.len() >= ATTRIBUTION_MAX && !self.shares.contains_key(&torrent_id) {
            let mut shares = self.shares.iter();
            let Some(dust) = shares.find(|(_, share)| share.is_dust()).map(|(id, _)| *id) else {
                return;
            };
            self.shares.remove(&dust);
        }
        let share = self.shares.entry(torrent_id).or_default();
        share.bytes = share.bytes.saturating_add(bytes);
        share.raw = share.raw.saturating_add(raw);
        assert!(
            self.shares.len() <= ATTRIBUTION_MAX,
            "shares of a summary are bounded"
        );
    }

    /// The channel has a newer receipt.
    pub fn changed(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// When the change is due in the ledger.
    pub fn due_at(&self, receipt: Option<&SignedReceipt>) -> Option<Instant> {
        let since = self.since?;
        let grown = totals(receipt).0.saturating_sub(self.told.0);
        if grown >= SUMMARY_STEP {
            return Some(since);
        }
        Some(since.after(SUMMARY_DELAY))
    }

    /// The entry to append, if anything changed; the next one starts from here. `served` are the
    /// bytes that this node as payee served and no entry tells of; what the receipt tells of is
    /// taken off. Of a payer it is not looked at.
    pub fn take(
        &mut self,
        channel: Channel,
        receipt: Option<&SignedReceipt>,
        lock_amount: MicroCredits,
        served: &mut Bytes,
    ) -> Option<ChannelSummary> {
        self.since.take()?;
        let receipt = *receipt?;
        let (bytes, amount) = totals(Some(&receipt));
        let grown = bytes.saturating_sub(self.told.0);
        let worth = amount.min(lock_amount);
        let rise = worth.saturating_sub(self.told.1.min(lock_amount));
        let attribution = self.split(grown, rise);
        let served_then = *served;
        *served = served_then.saturating_sub(grown);
        self.told = (bytes, amount);
        Some(ChannelSummary {
            channel,
            receipt,
            lock_amount,
            served: served_then,
            attribution,
        })
    }

    /// Splits a change over the torrents; what it is too small for stays for the next. Bytes that
    /// were served and not acknowledged yet may be anybody's, so each torrent has its part of them.
    fn split(&mut self, grown: Bytes, rise: MicroCredits) -> Vec<Attribution> {
        let (mut bytes_left, mut amount_left) = (grown, rise);
        let shares = self.shares.values();
        let waiting = shares.fold(Bytes::ZERO, |sum, share| sum.saturating_add(share.bytes));
        let mut attribution = Vec::new();
        for (torrent_id, share) in &mut self.shares {
            let bytes = part(share.bytes, grown, waiting).min(bytes_left);
            let amount = share.raw.floor().unwrap_or(MicroCredits::MAX);
            let amount = amount.min(amount_left);
            bytes_left = bytes_left.saturating_sub(bytes);
            amount_left = amount_left.saturating_sub(amount);
            share.bytes = share.bytes.saturating_sub(bytes);
            share.raw = share.raw.saturating_sub(RawCost::of(amount));
            if !bytes.is_zero() || !amount.is_zero() {
                attribution.push(Attribution {
                    subject: torrent_id.0,
                    bytes,
                    amount,
                });
            }
        }
        self.shares
            .retain(|_, share| !share.bytes.is_zero() || share.raw > RawCost::ZERO);
        attribution
    }
}

/// The part of `grown` that falls to `share` of `waiting`, rounded down; all of it if all is grown.
fn part(share: Bytes, grown: Bytes, waiting: Bytes) -> Bytes {
    if waiting <= grown {
        return share;
    }
    let scaled = u128::from(share.get()).saturating_mul(u128::from(grown.get()));
    let part = scaled.checked_div(u128::from(waiting.get()));
    let part = part.and_then(|part| u64::try_from(part).ok());
    Bytes::new(part.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use seedbank_ledger::signed::Body as _;
    use seedbank_ledger::signed::channel::ChannelKind;
    use seedbank_ledger::signed::receipt::Receipt;
    use seedbank_ledger::{Identity, NetworkId};

    const LOCK: MicroCredits = MicroCredits::new(1_000);
    /// Half a micro-credit.
    const HALF: RawCost = RawCost::new(1 << 29);

    fn torrent(byte: u8) -> TorrentId {
        TorrentId([byte; 20])
    }

    /// What is told of a receipt of these totals: bytes and credit by torrent.
    fn told(summary: &mut Summary, bytes: u64, amount: u64) -> Vec<(u8, u64, u64)> {
        let payer = Identity::from_secret([1; 32]);
        let channel = Channel {
            network_id: NetworkId::from_bytes([0; 32]),
            kind: ChannelKind::Acknowledgement,
            payer: payer.id(),
            payee: Identity::from_secret([2; 32]).id(),
        };
        let receipt = Receipt {
            network_id: channel.network_id,
            channel_id: channel.id(),
            bytes: Bytes::new(bytes),
            amount: MicroCredits::new(amount),
        };
        summary.changed(Instant::ZERO);
        let mut served = Bytes::MAX;
        let entry = summary.take(channel, Some(&receipt.sign(&payer)), LOCK, &mut served);
        let shares = entry.expect("it has changed").attribution;
        let shares = shares.iter();
        shares
            .map(|share| (share.subject[0], share.bytes.get(), share.amount.get()))
            .collect()
    }

    #[test]
    fn no_micro_credit_is_lost_between_summaries() {
        let mut summary = Summary::default();
        summary.attribute(torrent(1), Bytes::new(1), HALF);
        assert_eq!(told(&mut summary, 1, 0), [(1, 1, 0)]);
        summary.attribute(torrent(1), Bytes::new(1), HALF);
        assert_eq!(told(&mut summary, 2, 1), [(1, 1, 1)]);
        assert!(summary.shares.is_empty());
    }

    #[test]
    fn what_is_acknowledged_later_is_told_later() {
        let mut summary = Summary::default();
        summary.attribute(torrent(1), Bytes::new(300), RawCost::ZERO);
        summary.attribute(torrent(2), Bytes::new(100), RawCost::ZERO);
        assert_eq!(told(&mut summary, 200, 0), [(1, 150, 0), (2, 50, 0)]);
        assert_eq!(told(&mut summary, 400, 0), [(1, 150, 0), (2, 50, 0)]);
    }

    #[test]
    fn more_torrents_than_a_summary_holds_never_stop_the_count() {
        let mut summary = Summary::default();
        for byte in 0..=64 {
            summary.attribute(torrent(byte), Bytes::new(1), HALF);
        }
        assert_eq!(told(&mut summary, 65, 32).len(), ATTRIBUTION_MAX);
        // What is left of them makes room.
        summary.attribute(torrent(99), Bytes::new(7), HALF);
        assert_eq!(told(&mut summary, 72, 32), [(99, 7, 0)]);
    }
}

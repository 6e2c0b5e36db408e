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
    shares: BTreeMap<TorrentId, TorrentShare>,
    /// Totals of the receipt as last summarised in this run.
    told: (Bytes, MicroCredits),
}

#[derive(Clone, Copy, Debug, Default)]
struct TorrentShare {
    bytes: Bytes,
    raw: RawCost,
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
            return;
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

    /// The entry to append, if anything changed; the next one starts from here.
    pub fn take(
        &mut self,
        channel: Channel,
        receipt: Option<&SignedReceipt>,
        lock_amount: MicroCredits,
    ) -> Option<ChannelSummary> {
        self.since.take()?;
        let receipt = *receipt?;
        let (bytes, amount) = totals(Some(&receipt));
        let mut bytes_left = bytes.saturating_sub(self.told.0);
        let counted = amount.min(lock_amount);
        let mut amount_left = counted.saturating_sub(self.told.1.min(lock_amount));
        let mut attribution = Vec::new();
        for (torrent_id, share) in std::mem::take(&mut self.shares) {
            let bytes = share.bytes.min(bytes_left);
            let amount = share.raw.floor().unwrap_or(MicroCredits::MAX);
            let amount = amount.min(amount_left);
            assert!(
                bytes <= bytes_left,
                "shares are at most the bytes of the change"
            );
            assert!(
                amount <= amount_left,
                "shares are at most the credit of the change"
            );
            bytes_left = bytes_left.saturating_sub(bytes);
            amount_left = amount_left.saturating_sub(amount);
            attribution.push(Attribution {
                subject: torrent_id.0,
                bytes,
                amount,
            });
        }
        self.told = (bytes, amount);
        Some(ChannelSummary {
            channel,
            receipt,
            lock_amount,
            attribution,
        })
    }
}

//! When a channel's change is due in the ledger, and which torrents it belongs to
//! (docs/RULES.md, summaries).
//!
//! Attribution is local and never signed: shares are floored one by one, so their sum never exceeds
//! what the receipt says.

use seedbank_ledger::charts::node::{Attribution, ChannelSummary};
use seedbank_ledger::signed::channel::Channel;
use seedbank_ledger::signed::receipt::SignedReceipt;
use seedbank_ledger::{Bytes, Instant, MicroCredits, RawCost};

use crate::credit::receipts::incoming::totals;
use crate::credit::receipts::limits::{
    ATTRIBUTION_MAX, SUMMARY_BYTES_MIN, SUMMARY_DELAY, SUMMARY_DELAY_MAX, SUMMARY_SHARE,
    SUMMARY_STEP,
};
use crate::units::TorrentId;

/// Change of one channel since its last summary.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    since: Option<Instant>,
    /// What no summary has told of yet, in order of torrents, of which most pairs share one; less
    /// than a micro-credit stays behind.
    shares: Vec<TorrentShare>,
    /// Totals of the receipt as last summarised in this run.
    told: (Bytes, MicroCredits),
    /// After a start: the ledger may know of less than `told`.
    is_unsure: bool,
}

/// A channel as it stands, for a summary to be made of it.
#[derive(Clone, Copy, Debug)]
pub struct Summarised {
    /// Totals of its newest receipt; zero without one.
    pub totals: (Bytes, MicroCredits),
    /// What its lock holds; zero of an acknowledgement channel.
    pub lock_amount: MicroCredits,
    /// Bytes that this node as payee served and no entry tells of: no more are booked, whatever
    /// the receipt claims. [`Bytes::MAX`] of a payer.
    pub served: Bytes,
}

#[derive(Clone, Copy, Debug)]
struct TorrentShare {
    torrent_id: TorrentId,
    bytes: Bytes,
    raw: RawCost,
}

impl TorrentShare {
    const fn new(torrent_id: TorrentId) -> Self {
        Self {
            torrent_id,
            bytes: Bytes::ZERO,
            raw: RawCost::ZERO,
        }
    }

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
            shares: Vec::new(),
            told: totals(receipt),
            is_unsure: receipt.is_some(),
        }
    }

    /// `bytes` of a torrent, worth `raw`, are part of the next change.
    pub fn attribute(&mut self, torrent_id: TorrentId, bytes: Bytes, raw: RawCost) {
        let place = |shares: &[TorrentShare]| {
            shares.binary_search_by_key(&torrent_id, |share| share.torrent_id)
        };
        let mut found = place(&self.shares);
        if found.is_err() && self.shares.len() >= ATTRIBUTION_MAX {
            let Some(dust) = self.shares.iter().position(TorrentShare::is_dust) else {
                return;
            };
            self.shares.remove(dust);
            found = place(&self.shares);
        }
        let place = found.unwrap_or_else(|place| {
            self.shares.reserve_exact(1);
            self.shares.insert(place, TorrentShare::new(torrent_id));
            place
        });
        let share = &mut self.shares[place];
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

    /// When the change is due in the ledger; `None` while it would book nothing. A payer may claim
    /// any number of bytes, so that of those it claims only what was served hurries an entry; and
    /// an entry is for ever, so that one about little waits for more.
    pub fn due_at(&self, of: Summarised) -> Option<Instant> {
        let since = self.since?;
        let (bytes, rise) = self.growth(of);
        let bytes = bytes.min(of.served);
        if bytes.is_zero() && rise.is_zero() && !self.is_unsure {
            return None;
        }
        if bytes >= SUMMARY_STEP {
            return Some(since);
        }
        let is_worth_it = bytes >= SUMMARY_BYTES_MIN || is_share(rise, of.lock_amount);
        let delay = match is_worth_it || self.is_unsure {
            true => SUMMARY_DELAY,
            false => SUMMARY_DELAY_MAX,
        };
        Some(since.after(delay))
    }

    /// Whether an entry is to be made at `at`; at `None`, whenever there is a newer receipt, also
    /// if it books nothing.
    pub fn is_due(&self, of: Summarised, at: Option<Instant>) -> bool {
        match at {
            Some(at) => self.due_at(of).is_some_and(|due| at >= due),
            None => self.since.is_some(),
        }
    }

    /// The entry to append, if anything changed, and by how many bytes the receipt grew: so many of
    /// those served are told of now. The next one starts from here.
    pub fn take(
        &mut self,
        channel: Channel,
        receipt: Option<SignedReceipt>,
        of: Summarised,
    ) -> Option<(ChannelSummary, Bytes)> {
        self.since.take()?;
        let receipt = receipt?;
        let (grown, rise) = self.growth(of);
        let attribution = self.split(grown, rise);
        self.told = of.totals;
        self.is_unsure = false;
        let summary = ChannelSummary {
            channel,
            receipt,
            lock_amount: of.lock_amount,
            served: of.served,
            attribution,
        };
        Some((summary, grown))
    }

    /// By how much the receipt grew since the last summary: bytes as it claims them, and credit as
    /// far as the lock holds it.
    fn growth(&self, of: Summarised) -> (Bytes, MicroCredits) {
        let (bytes, amount) = of.totals;
        let worth = amount.min(of.lock_amount);
        let rise = worth.saturating_sub(self.told.1.min(of.lock_amount));
        (bytes.saturating_sub(self.told.0), rise)
    }

    /// Splits a change over the torrents; what it is too small for stays for the next. Bytes that
    /// were served and not acknowledged yet may be anybody's, so each torrent has its part of them.
    fn split(&mut self, grown: Bytes, rise: MicroCredits) -> Vec<Attribution> {
        let (mut bytes_left, mut amount_left) = (grown, rise);
        let shares = self.shares.iter();
        let waiting = shares.fold(Bytes::ZERO, |sum, share| sum.saturating_add(share.bytes));
        let mut attribution = Vec::new();
        for share in &mut self.shares {
            let bytes = part(share.bytes, grown, waiting).min(bytes_left);
            let amount = share.raw.floor().unwrap_or(MicroCredits::MAX);
            let amount = amount.min(amount_left);
            bytes_left = bytes_left.saturating_sub(bytes);
            amount_left = amount_left.saturating_sub(amount);
            share.bytes = share.bytes.saturating_sub(bytes);
            share.raw = share.raw.saturating_sub(RawCost::of(amount));
            if !bytes.is_zero() || !amount.is_zero() {
                attribution.push(Attribution {
                    subject: share.torrent_id.0,
                    bytes,
                    amount,
                });
            }
        }
        self.shares
            .retain(|share| !share.bytes.is_zero() || share.raw > RawCost::ZERO);
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

/// Whether credit is as much of what a lock holds as is worth an entry.
fn is_share(rise: MicroCredits, lock_amount: MicroCredits) -> bool {
    !rise.is_zero() && rise.get() >= lock_amount.get() / SUMMARY_SHARE
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

    fn channel() -> Channel {
        let [payer, payee] = [1, 2].map(|secret| Identity::from_secret([secret; 32]).id());
        Channel {
            network_id: NetworkId::from_bytes([0; 32]),
            kind: ChannelKind::Acknowledgement,
            payer,
            payee,
        }
    }

    /// A channel whose newest receipt has these totals.
    fn standing(bytes: u64, amount: u64, served: u64) -> Summarised {
        Summarised {
            totals: (Bytes::new(bytes), MicroCredits::new(amount)),
            lock_amount: LOCK,
            served: Bytes::new(served),
        }
    }

    /// That receipt.
    fn receipt(of: Summarised) -> SignedReceipt {
        let (bytes, amount) = of.totals;
        let body = Receipt {
            network_id: channel().network_id,
            channel_id: channel().id(),
            bytes,
            amount,
        };
        body.sign(&Identity::from_secret([1; 32]))
    }

    /// What is told of a receipt of these totals: bytes and credit by torrent.
    fn told(summary: &mut Summary, bytes: u64, amount: u64) -> Vec<(u8, u64, u64)> {
        summary.changed(Instant::ZERO);
        let of = standing(bytes, amount, u64::MAX);
        let taken = summary.take(channel(), Some(receipt(of)), of);
        let (entry, _) = taken.expect("it has changed");
        let shares = entry.attribution.iter();
        shares
            .map(|share| (share.subject[0], share.bytes.get(), share.amount.get()))
            .collect()
    }

    #[test]
    fn an_entry_is_hurried_by_what_was_served_and_not_by_what_is_claimed() {
        let step = SUMMARY_STEP.get();
        let delayed = Some(Instant::ZERO.after(SUMMARY_DELAY));
        let due = |bytes, amount, served| {
            let mut summary = Summary::default();
            summary.changed(Instant::ZERO);
            summary.due_at(standing(bytes, amount, served))
        };
        assert_eq!(due(step, 0, step), Some(Instant::ZERO));
        assert_eq!(due(step, 0, step - 1), delayed);
        assert_eq!(due(step - 1, 0, step), delayed);
        assert_eq!(due(u64::MAX, 0, 0), None, "it would book nothing");
        let put_off = Some(Instant::ZERO.after(SUMMARY_DELAY_MAX));
        let least = SUMMARY_BYTES_MIN.get();
        assert_eq!(due(least, 0, least), delayed);
        assert_eq!(due(least, 0, least - 1), put_off, "little is not worth it");
        assert_eq!(due(0, LOCK.get() / SUMMARY_SHARE, 0), delayed);
        assert_eq!(due(0, LOCK.get() / SUMMARY_SHARE - 1, 0), put_off);
        // More than the lock holds is worth nothing more.
        let mut summary = Summary::default();
        told(&mut summary, 0, LOCK.get());
        summary.changed(Instant::ZERO);
        let over = standing(0, LOCK.get() + 1, 0);
        assert_eq!(summary.due_at(over), None);
        assert!(summary.is_due(over, None), "before a line about the lock");
    }

    #[test]
    fn after_a_start_a_channel_is_summarised_whatever_it_would_book() {
        let of = standing(1, 1, 0);
        let mut summary = Summary::stored(Some(&receipt(of)), Instant::ZERO);
        let delayed = Some(Instant::ZERO.after(SUMMARY_DELAY));
        assert_eq!(summary.due_at(of), delayed);
        assert!(summary.take(channel(), Some(receipt(of)), of).is_some());
        assert_eq!(summary.due_at(of), None);
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

//! The newest receipt held on a channel, and a newer one that waits to be verified (P3).
//!
//! A signature costs 31 µs, so a burst is coalesced: only its newest receipt is verified, after
//! 64 KiB or a second, or when somebody must know now. None is dropped.

use seedbank_ledger::signed::receipt::{Receipt, SignedReceipt};
use seedbank_ledger::{Bytes, Instant, MicroCredits};

use crate::credit::receipts::limits::{RECEIPT_DELAY, RECEIPT_GAP, RECEIPT_STEP};
use crate::units::PeerIndex;

/// How a receipt compares with the newest one known: both totals only grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Both totals at least as high, one higher.
    Newer,
    /// Neither total higher.
    Known,
    /// One total higher, the other lower: one side has lost something.
    Crossed,
}

/// What became of a receipt that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// It says nothing new.
    Known,
    /// It contradicts the one held.
    Crossed,
    /// It contradicts the one that waits: verify that first, then offer this again.
    Behind,
    /// It waits.
    Waits,
    /// It is to be verified now.
    Due,
}

/// A receipt that waits.
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    /// The newest of its burst.
    pub receipt: SignedReceipt,
    /// Who sent it.
    pub from: PeerIndex,
    /// When it is verified at the latest.
    pub due_at: Instant,
}

/// The receiving end of a channel.
#[derive(Clone, Debug, Default)]
pub struct Incoming {
    held: Option<SignedReceipt>,
    pending: Option<Box<Pending>>,
    verified_at: Option<Instant>,
}

impl Freshness {
    /// Compares `offered` with `known`.
    pub fn of(offered: &Receipt, known: Option<&SignedReceipt>) -> Self {
        let (bytes, amount) = totals(known);
        if offered.bytes <= bytes && offered.amount <= amount {
            Self::Known
        } else if offered.bytes >= bytes && offered.amount >= amount {
            Self::Newer
        } else {
            Self::Crossed
        }
    }
}

impl Incoming {
    /// As stored.
    pub fn stored(held: Option<SignedReceipt>) -> Self {
        Self {
            held,
            ..Self::default()
        }
    }

    /// Compares a receipt that came with what is held and what waits, and keeps it if it is newer.
    pub fn offer(&mut self, receipt: SignedReceipt, from: PeerIndex, now: Instant) -> Offered {
        match Freshness::of(&receipt.body, self.held.as_ref()) {
            Freshness::Known => return Offered::Known,
            Freshness::Crossed => return Offered::Crossed,
            Freshness::Newer => {}
        }
        if let Some(pending) = &self.pending {
            match Freshness::of(&receipt.body, Some(&pending.receipt)) {
                // Equal totals may carry another signature: only the first is looked at.
                Freshness::Known => return Offered::Known,
                Freshness::Crossed => return Offered::Behind,
                Freshness::Newer => {}
            }
        }
        let due_at = self.due_at(&receipt, now);
        self.pending = Some(Box::new(Pending {
            receipt,
            from,
            due_at,
        }));
        if now >= due_at {
            Offered::Due
        } else {
            Offered::Waits
        }
    }

    /// Takes the waiting receipt, to verify it now.
    pub fn take(&mut self) -> Option<Pending> {
        self.pending.take().map(|pending| *pending)
    }

    /// The receipt was verified: it is held from now.
    ///
    /// # Panics
    /// If it is not newer than the one held: [`Self::offer`] was asked first.
    pub fn accept(&mut self, receipt: SignedReceipt, now: Instant) {
        assert_eq!(
            Freshness::of(&receipt.body, self.held.as_ref()),
            Freshness::Newer,
            "L4: a channel's totals never decrease"
        );
        self.held = Some(receipt);
        self.verified_at = Some(now);
    }

    /// The newest verified receipt.
    pub fn held(&self) -> Option<&SignedReceipt> {
        self.held.as_ref()
    }

    /// When the waiting receipt is verified at the latest.
    pub fn wakes_at(&self) -> Option<Instant> {
        self.pending.as_ref().map(|pending| pending.due_at)
    }

    fn due_at(&self, receipt: &SignedReceipt, now: Instant) -> Instant {
        let grown = receipt.body.bytes.saturating_sub(totals(self.held()).0);
        let due_at = if grown >= RECEIPT_STEP {
            self.verified_at.map_or(now, |at| at.after(RECEIPT_GAP))
        } else {
            now.after(RECEIPT_DELAY)
        };
        // A burst must not put the verification off again and again.
        self.wakes_at().map_or(due_at, |before| before.min(due_at))
    }
}

/// Both totals of a receipt; zero for none.
pub fn totals(receipt: Option<&SignedReceipt>) -> (Bytes, MicroCredits) {
    receipt.map_or((Bytes::ZERO, MicroCredits::ZERO), |receipt| {
        (receipt.body.bytes, receipt.body.amount)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use seedbank_ledger::signed::Body as _;
    use seedbank_ledger::signed::channel::ChannelId;
    use seedbank_ledger::{Duration, Identity, NetworkId};

    const FROM: PeerIndex = PeerIndex(1);

    fn receipt(bytes: u64, amount: u64) -> SignedReceipt {
        let body = Receipt {
            network_id: NetworkId::from_bytes([1; 32]),
            channel_id: ChannelId::from_bytes([2; 32]),
            bytes: Bytes::new(bytes),
            amount: MicroCredits::new(amount),
        };
        body.sign(&Identity::from_secret([1; 32]))
    }

    fn at(ms: u64) -> Instant {
        Instant::ZERO.after(Duration::from_millis(ms))
    }

    #[test]
    fn f9_a_receipt_that_raises_one_total_by_one_is_newer() {
        let held = receipt(10, 10);
        let of = |bytes, amount| Freshness::of(&receipt(bytes, amount).body, Some(&held));
        assert_eq!(of(10, 11), Freshness::Newer);
        assert_eq!(of(11, 10), Freshness::Newer);
        assert_eq!(of(10, 10), Freshness::Known);
        assert_eq!(of(9, 9), Freshness::Known);
        assert_eq!(of(11, 9), Freshness::Crossed);
        assert_eq!(of(9, 11), Freshness::Crossed);
        assert_eq!(Freshness::of(&receipt(0, 0).body, None), Freshness::Known);
    }

    #[test]
    fn f9_a_small_last_receipt_waits_a_second_and_is_not_dropped() {
        let mut incoming = Incoming::default();
        assert_eq!(
            incoming.offer(receipt(10, 0), FROM, at(500)),
            Offered::Waits
        );
        assert_eq!(
            incoming.offer(receipt(11, 0), FROM, at(900)),
            Offered::Waits
        );
        assert_eq!(
            incoming.wakes_at(),
            Some(at(1_500)),
            "a burst delays nothing"
        );
        let pending = incoming.take().expect("it waits");
        assert_eq!(pending.receipt, receipt(11, 0));
        incoming.accept(pending.receipt, at(1_500));
        assert_eq!(
            incoming.offer(receipt(11, 0), FROM, at(1_501)),
            Offered::Known
        );
        assert_eq!(
            incoming.offer(receipt(10, 1), FROM, at(1_501)),
            Offered::Crossed
        );
    }

    #[test]
    fn a_large_step_is_verified_at_once_but_not_every_millisecond() {
        let mut incoming = Incoming::default();
        let step = RECEIPT_STEP.get();
        assert_eq!(
            incoming.offer(receipt(step, 1), FROM, at(100)),
            Offered::Due
        );
        let pending = incoming.take().expect("it waits");
        incoming.accept(pending.receipt, at(100));
        assert_eq!(
            incoming.offer(receipt(2 * step, 2), FROM, at(101)),
            Offered::Waits
        );
        assert_eq!(incoming.wakes_at(), Some(at(120)));
        assert_eq!(
            incoming.offer(receipt(3 * step, 1), FROM, at(102)),
            Offered::Behind
        );
    }
}

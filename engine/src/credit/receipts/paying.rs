//! A lock that we pay somebody from: what we signed on it, and how it comes to its end.

use std::collections::BTreeSet;

use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::channel::ChannelId;
use seedbank_ledger::signed::lock::SignedLock;
use seedbank_ledger::signed::receipt::{Receipt, SignedReceipt};
use seedbank_ledger::tally::LockRow;
use seedbank_ledger::{Bytes, Identity, Instant, MicroCredits};

use crate::credit::receipts::clock::Now;
use crate::credit::receipts::incoming::{Freshness, totals};
use crate::credit::receipts::summary::{Summarised, Summary};
use crate::wire::receipt::LockFault;

/// Where a lock of ours stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paying {
    /// Receipts are signed on it.
    Open,
    /// No boost wants it: its close is asked for once no paid block of this payee is under way or
    /// waits to be verified. What became due after CLOSE could not be signed.
    Ending,
    /// CLOSE was sent, or will be on the next connection: nothing more is signed.
    CloseAsked,
    /// The payee says that it is closed: nothing is signed, unless it shows the lock open again (it
    /// may have been restored from a backup) or the settlement node says that it is closed indeed.
    Refused,
    /// The settlement node says that it is closed.
    Closed,
}

/// A lock of which we are the payer.
#[derive(Clone, Debug)]
pub struct PayingLock {
    /// Its newest certificate.
    pub lock: SignedLock,
    /// Name of its channel.
    pub channel_id: ChannelId,
    /// Our newest receipt on it.
    pub receipt: Option<SignedReceipt>,
    /// What we signed on it: the receipt's amount, or what was claimed if that is more.
    pub signed: MicroCredits,
    /// Bytes we signed for on it, as far as we know.
    pub bytes: Bytes,
    /// Paid out, as far as we know.
    pub claimed: MicroCredits,
    /// Where it stands.
    pub state: Paying,
    /// The newest receipt that the payee has shown us (SYNC); a proof that it holds it.
    pub held: (Bytes, MicroCredits),
    /// Why the payee serves nothing on it: whatever it said of the newest certificate.
    faults: BTreeSet<LockFault>,
    /// Change since the last summary.
    pub summary: Summary,
}

impl PayingLock {
    /// A lock that is new to us.
    pub fn new(lock: SignedLock) -> Self {
        Self {
            channel_id: lock.body.channel().id(),
            lock,
            receipt: None,
            signed: MicroCredits::ZERO,
            bytes: Bytes::ZERO,
            claimed: MicroCredits::ZERO,
            state: Paying::Open,
            held: (Bytes::ZERO, MicroCredits::ZERO),
            faults: BTreeSet::new(),
            summary: Summary::default(),
        }
    }

    /// A lock as stored, with its newest receipt.
    pub fn stored(row: &LockRow, receipt: Option<SignedReceipt>, now: Instant) -> Self {
        let mut lock = Self::new(row.lock);
        lock.state = match (row.closed, row.close_asked) {
            (true, _) => Paying::Closed,
            (false, true) => Paying::CloseAsked,
            (false, false) => Paying::Open,
        };
        let (bytes, signed) = totals(receipt.as_ref());
        lock.bytes = bytes;
        lock.summary = Summary::stored(receipt.as_ref(), now);
        lock.receipt = receipt;
        lock.claimed = row.claimed;
        lock.signed = signed.max(row.claimed);
        lock
    }

    /// The row to store.
    pub fn row(&self) -> LockRow {
        LockRow {
            lock: self.lock,
            claimed: self.claimed,
            closed: self.state == Paying::Closed,
            close_asked: match self.state {
                Paying::Open | Paying::Ending | Paying::Refused => false,
                Paying::CloseAsked | Paying::Closed => true,
            },
        }
    }

    /// What may still be signed on it.
    pub fn room(&self) -> MicroCredits {
        self.lock.body.amount.saturating_sub(self.signed)
    }

    /// Whether the settlement node still counts it as open, as far as we know.
    pub fn is_open(&self) -> bool {
        self.state != Paying::Closed
    }

    /// Whether due may be signed on it: up to a quarter of the grace (docs/RULES.md, S4).
    pub fn is_signable(&self, now: Now) -> bool {
        let quarter_grace = u64::from(self.lock.body.grace_secs / 4);
        let ends = self.lock.body.expires_at.plus_secs(quarter_grace);
        match self.state {
            Paying::Open | Paying::Ending => now.unix <= ends,
            Paying::CloseAsked | Paying::Refused | Paying::Closed => false,
        }
    }

    /// Signs a receipt that is `bytes` and `amount` more than the last.
    pub fn sign(&mut self, by: &Identity, bytes: Bytes, amount: MicroCredits, now: Instant) {
        self.bytes = self.bytes.saturating_add(bytes);
        assert!(
            amount <= self.room(),
            "nothing is signed above a lock's amount"
        );
        self.signed = self.signed.saturating_add(amount);
        let body = Receipt {
            network_id: self.lock.body.network_id,
            channel_id: self.channel_id,
            bytes: self.bytes,
            amount: self.signed,
        };
        let (bytes_before, amount_before) = totals(self.receipt.as_ref());
        assert!(
            body.bytes >= bytes_before,
            "L4: a channel's bytes never decrease"
        );
        assert!(
            body.amount >= amount_before,
            "L4: a channel's amount never decreases"
        );
        self.receipt = Some(body.sign(by));
        self.summary.changed(now);
        self.check_invariants();
    }

    /// Takes over a receipt of ours that the payee has shown and whose signature holds; returns how
    /// much more was signed than we knew.
    pub fn adopt(&mut self, proof: SignedReceipt, now: Instant) -> MicroCredits {
        let rise = proof.body.amount.saturating_sub(self.signed);
        self.signed = self.signed.saturating_add(rise);
        self.bytes = self.bytes.max(proof.body.bytes);
        if Freshness::of(&proof.body, self.receipt.as_ref()) == Freshness::Newer {
            self.receipt = Some(proof);
            self.summary.changed(now);
        }
        self.check_invariants();
        rise
    }

    /// The settlement node says that so much was claimed: so much was signed, whatever we remember.
    /// Returns how much more that is.
    pub fn claimed(&mut self, claimed: MicroCredits) -> MicroCredits {
        self.claimed = self.claimed.max(claimed);
        let rise = claimed.saturating_sub(self.signed);
        self.signed = self.signed.saturating_add(rise);
        self.check_invariants();
        rise
    }

    /// Asserts that what was signed is at least what is known to be. O(1).
    pub fn check_invariants(&self) {
        let (bytes, amount) = totals(self.receipt.as_ref());
        assert!(bytes <= self.bytes, "a receipt's bytes were signed");
        assert!(amount <= self.signed, "a receipt's amount was signed");
        assert!(self.claimed <= self.signed, "what was claimed was signed");
    }

    /// Whether our newest receipt crosses one that the payee holds: it must be signed again.
    pub fn is_crossed(&self) -> bool {
        self.receipt.is_some() && totals(self.receipt.as_ref()).0 < self.bytes
    }

    /// Whether the payee may not hold our newest receipt.
    pub fn is_undelivered(&self) -> bool {
        let (bytes, amount) = totals(self.receipt.as_ref());
        bytes > self.held.0 || amount > self.held.1
    }

    /// No boost wants it any more.
    pub fn end(&mut self) {
        if self.state == Paying::Open {
            self.state = Paying::Ending;
        }
    }

    /// A boost wants it again, if its close was not asked for yet.
    pub fn keep(&mut self) {
        if self.state == Paying::Ending {
            self.state = Paying::Open;
        }
    }

    /// A newer certificate.
    pub fn renew(&mut self, lock: SignedLock) {
        self.lock = lock;
        self.faults.clear();
    }

    /// The payee says why it serves nothing on it. True if it had not said so of this certificate.
    pub fn blame(&mut self, fault: LockFault) -> bool {
        self.faults.insert(fault)
    }

    /// The payee says that it is closed. True if that changes what we do.
    pub fn refuse(&mut self) -> bool {
        match self.state {
            Paying::Open | Paying::Ending => {
                self.state = Paying::Refused;
                true
            }
            Paying::CloseAsked | Paying::Refused | Paying::Closed => false,
        }
    }

    /// The payee shows it open.
    pub fn reopen(&mut self) {
        if self.state == Paying::Refused {
            self.state = Paying::Open;
        }
    }

    /// Its channel, for its summary.
    pub fn summarised(&self) -> Summarised {
        Summarised {
            totals: totals(self.receipt.as_ref()),
            lock_amount: self.lock.body.amount,
            served: Bytes::MAX,
        }
    }

    /// When time alone asks for something here.
    pub fn wakes_at(&self, now: Now) -> Option<Instant> {
        let summary = self.summary.due_at(self.summarised());
        let gone = now.instant_of(self.lock.body.returns_at().plus_secs(1));
        [summary, Some(gone)].into_iter().flatten().min()
    }
}

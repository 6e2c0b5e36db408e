//! Claims: a payee is paid from a lock what its payer's receipt is worth.
//!
//! A claim has no nonce: it pays min(receipt.amount, lock.amount) − claimed, so the same claim
//! again pays nothing and is answered with the entry that paid. A refused claim leaves nothing.
//! Checks, in this order: `WrongNetwork`, `BadSignature` (the payee's), `BadAmount` (a receipt of
//! 0), `LockUnknown`, `LockClosed` (closed, or past expiry and grace), `NotParty` (not the lock's
//! payee), `BadReceipt` (another channel or network, or not the payer's signature),
//! `ReceiptRegressed` (a total below that of the newest claim on this lock).

use crate::account::AccountId;
use crate::charts::network::change::{Change, lock};
use crate::charts::network::chart::{NetworkChart, refused};
use crate::charts::network::rows::EscrowRow;
use crate::ledger::{LedgerError, Outcome, Position, Verdict};
use crate::refusal::Refusal;
use crate::signed::claim::SignedClaim;
use crate::state::State;

impl NetworkChart {
    /// Decides on a claim.
    pub(super) fn apply_claim(
        &self,
        state: &mut State<'_>,
        at: Position,
        claim: &SignedClaim,
    ) -> Result<Verdict, LedgerError> {
        let body = &claim.body;
        let receipt = &body.receipt.body;
        if body.network_id != self.network_id() {
            return Ok(refused(Refusal::WrongNetwork));
        }
        if claim.verify_by(self.scheme(), &body.payee).is_err() {
            return Ok(refused(Refusal::BadSignature));
        }
        if receipt.amount.is_zero() {
            return Ok(refused(Refusal::BadAmount));
        }
        let Some(known) = lock(state, body.lock_id)? else {
            return Ok(refused(Refusal::LockUnknown));
        };
        if known.closed || at.time > known.returns_at() {
            return Ok(refused(Refusal::LockClosed));
        }
        if body.payee != known.payee {
            return Ok(refused(Refusal::NotParty));
        }
        if !self.is_receipt_of(claim, &known) {
            return Ok(refused(Refusal::BadReceipt));
        }
        if receipt.bytes < known.receipt_bytes || receipt.amount < known.receipt_amount {
            return Ok(refused(Refusal::ReceiptRegressed));
        }
        let worth = receipt.amount.min(known.amount);
        let paid = worth.saturating_sub(known.claimed);
        if paid.is_zero() {
            return Ok(Verdict::Answer(known.claimed_by.map_or(
                Outcome::Refused(Refusal::AlreadyDone),
                |sequence| Outcome::Known {
                    sequence,
                    refusal: None,
                },
            )));
        }
        let paid_out = EscrowRow {
            claimed: worth,
            receipt_bytes: receipt.bytes,
            receipt_amount: receipt.amount,
            claimed_by: Some(at.sequence),
            ..known
        };
        Change::moving(
            AccountId::Escrow(body.lock_id),
            AccountId::Available(known.payee),
            paid,
            &[known.payer, known.payee],
        )
        .with_lock(body.lock_id, Some(known), paid_out)
        .enter(state, at, None)
    }

    fn is_receipt_of(&self, claim: &SignedClaim, lock: &EscrowRow) -> bool {
        let receipt = &claim.body.receipt;
        let channel = lock.body(self.network_id(), claim.body.lock_id).channel();
        receipt.body.network_id == channel.network_id
            && receipt.body.channel_id == channel.id()
            && receipt.verify_by(self.scheme(), &channel.payer).is_ok()
    }
}

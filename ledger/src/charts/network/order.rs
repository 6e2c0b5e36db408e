//! Orders: seven kinds, each checked in the order of the refusals' codes.
//!
//! An order for another network, badly signed, or with a nonce that is not the next, changes
//! nothing and leaves nothing. Nor does one of an account without standing (docs/RULES.md, standing
//! in a network): it is refused as `Expired` or else for `NoStanding`. Any other consumes its nonce
//! and leaves an entry, with a refusal if a rule says no:
//!
//! | kind | refused for, in this order |
//! |---|---|
//! | all | `Expired`: settlement time > `valid_until` |
//! | Transfer | `BadAmount` (< the limit), `InsufficientCredit`, `SameParty`,
//! `KeyRotated` (either side), `BadKey` (receiver) |
//! | `OpenLock` | `BadAmount` (0, or > the limit), `InsufficientCredit`, `SameParty`, `LockExists`
//! (the pair has a live one), `BadLifetime` (0, or > the limit), `KeyRotated` (either side),
//! `BadKey` (payee) |
//! | `TopUp` | `BadAmount` (amount and ttl both 0, or the new total > the limit),
//! `InsufficientCredit`, `LockUnknown`, `LockClosed` (closed, or settlement time > `expires_at`),
//! `NotParty` (not the payer), `LockExists` (the pair has a newer lock), `BadLifetime` (> the
//! limit), `KeyRotated` (payer) |
//! | `CloseLock` | `LockUnknown`, `LockClosed` (closed, or past expiry and grace), `NotParty` (not
//! the payee) |
//! | `RotateKey` | `SameParty`, `KeyRotated` (handed over before: to another key, or nothing is
//! available; not handed over before: `to` was), `BadKey` (`to`) |
//! | Grant | `NotIssuer`, `BadAmount` (0, or > the limit), `Overflow` (supply past
//! [`SUPPLY_MAX`](super::SUPPLY_MAX)), `KeyRotated` (either side), `BadKey` (receiver) |
//! | Burn | `NotIssuer`, `BadAmount` (0), `InsufficientCredit`, `KeyRotated` |
//!
//! A handed-over account keeps its open locks and what returns from them: it may still close locks
//! it is paid from, and hand over again, to the same key only, what has come in since.

use crate::account::AccountId;
use crate::charts::network::SUPPLY_MAX;
use crate::charts::network::change::{
    Change, ChangeStop, available, lock, owner, put_owner, refuse_if,
};
use crate::charts::network::chart::{NetworkChart, refused, supply};
use crate::charts::network::rows::{
    EscrowRow, NewestLockRow, NonceRow, OwnerRow, nonce_key, pair_key,
};
use crate::identity::NodeId;
use crate::ledger::{LedgerError, Outcome, Position, Verdict};
use crate::refusal::Refusal;
use crate::signed::lock::LockId;
use crate::signed::order::{OrderHash, OrderKind, SignedOrder};
use crate::state::State;
use crate::statement::Operation;
use crate::store::Table;
use crate::units::{Bytes, MicroCredits};

impl NetworkChart {
    /// Decides on an order.
    pub(super) fn apply_order(
        &self,
        state: &mut State<'_>,
        at: Position,
        order: &SignedOrder,
    ) -> Result<Verdict, LedgerError> {
        let body = &order.body;
        if body.network_id != self.network_id() {
            return Ok(refused(Refusal::WrongNetwork));
        }
        if order.verify_by(self.scheme(), &body.account).is_err() {
            return Ok(refused(Refusal::BadSignature));
        }
        let known: Option<OwnerRow> = state.row(body.account.as_bytes())?;
        let mut account = known.unwrap_or_default();
        if body.nonce <= account.nonce {
            return answered(state, order);
        }
        if Some(body.nonce) != account.nonce.checked_add(1) {
            return Ok(refused(Refusal::WrongNonce));
        }
        if known.is_none() && !self.genesis_file().is_issuer(&body.account) {
            // Settlement time never goes back: what is late now is refused for good.
            let is_late = at.time > body.valid_until;
            return Ok(refused(match is_late {
                true => Refusal::Expired,
                false => Refusal::NoStanding,
            }));
        }
        let decision = Ordered {
            chart: self,
            state,
            at,
            account: body.account,
            owner: account,
        };
        let (change, refusal) = match decision.decide(order) {
            Ok(change) => (change, None),
            Err(ChangeStop::Refused(refusal)) => (Change::none(body.account), Some(refusal)),
            Err(ChangeStop::Failed(error)) => return Err(error),
        };
        account.nonce = body.nonce;
        put_owner(state, &body.account, &account);
        let key = nonce_key(&body.account, body.nonce);
        state.put_row(key, &NonceRow(at.sequence));
        let verdict = change.enter(state, at, refusal)?;
        let after = owner(state, &body.account)?;
        assert_eq!(
            after.nonce, body.nonce,
            "an order that is entered uses its nonce"
        );
        assert_eq!(
            after.newest,
            Some(at.sequence),
            "an order is a line of its account"
        );
        Ok(verdict)
    }
}

/// The answer to an order whose nonce is used: that of the order that used it.
fn answered(state: &State<'_>, order: &SignedOrder) -> Result<Verdict, LedgerError> {
    let key = nonce_key(&order.body.account, order.body.nonce);
    let Some(NonceRow(sequence)) = state.row(&key)? else {
        // Nonce 0 is never used.
        return Ok(refused(Refusal::WrongNonce));
    };
    let missing = || LedgerError::missing(Table::Nonce, &key);
    let entry = state.entry(sequence)?.ok_or_else(missing)?;
    let operation = Operation::from_bytes(entry.kind, &entry.cause)
        .map_err(|error| LedgerError::row(Table::Entry, &sequence.get().to_be_bytes(), error))?;
    match operation {
        Operation::Order(first) if first.body == order.body => {
            Ok(Verdict::Answer(Outcome::Known {
                sequence,
                refusal: entry.refusal,
            }))
        }
        Operation::Order(first) => Ok(Verdict::Answer(Outcome::NonceUsed {
            sequence,
            order: Box::new(first),
        })),
        Operation::Claim(_) | Operation::Expiry(_) => Err(missing()),
    }
}

/// An order with a good signature and the next nonce.
struct Ordered<'a, 'b> {
    chart: &'a NetworkChart,
    state: &'a State<'b>,
    at: Position,
    account: NodeId,
    owner: OwnerRow,
}

impl Ordered<'_, '_> {
    fn decide(&self, order: &SignedOrder) -> Result<Change, ChangeStop> {
        refuse_if(self.at.time > order.body.valid_until, Refusal::Expired)?;
        match order.body.kind {
            OrderKind::Transfer { to, amount } => self.transfer(to, amount),
            OrderKind::OpenLock {
                payee,
                amount,
                ttl_secs,
            } => self.open_lock(order.body.hash(), payee, amount, ttl_secs),
            OrderKind::TopUp {
                lock_id,
                amount,
                ttl_secs,
            } => self.top_up(lock_id, amount, ttl_secs),
            OrderKind::CloseLock { lock_id } => self.close_lock(lock_id),
            OrderKind::RotateKey { to } => self.rotate_key(to),
            OrderKind::Grant { to, amount } => self.grant(to, amount),
            OrderKind::Burn { amount } => self.burn(amount),
        }
    }

    fn transfer(&self, to: NodeId, amount: MicroCredits) -> Result<Change, ChangeStop> {
        let amount_min = MicroCredits::new(self.chart.limits().transfer_microcredits_min);
        refuse_if(amount < amount_min, Refusal::BadAmount)?;
        self.check_available(amount)?;
        refuse_if(to == self.account, Refusal::SameParty)?;
        self.check_rotated(Some(to))?;
        check_key(&to)?;
        Ok(Change::moving(
            AccountId::Available(self.account),
            AccountId::Available(to),
            amount,
            &[self.account, to],
        ))
    }

    fn open_lock(
        &self,
        opening_order: OrderHash,
        payee: NodeId,
        amount: MicroCredits,
        ttl_secs: u32,
    ) -> Result<Change, ChangeStop> {
        let limits = self.chart.limits();
        let amount_max = MicroCredits::new(limits.lock_microcredits_max);
        refuse_if(amount.is_zero() || amount > amount_max, Refusal::BadAmount)?;
        self.check_available(amount)?;
        refuse_if(payee == self.account, Refusal::SameParty)?;
        if let Some(newest) = self.newest_lock(&payee)?
            && let Some(newest) = lock(self.state, newest)?
        {
            refuse_if(newest.is_live(self.at.time), Refusal::LockExists)?;
        }
        refuse_if(
            ttl_secs == 0 || ttl_secs > limits.lock_ttl_secs_max,
            Refusal::BadLifetime,
        )?;
        self.check_rotated(Some(payee))?;
        check_key(&payee)?;
        let lock_id = LockId::new(self.at.sequence.get());
        let opened = EscrowRow {
            opening_order,
            payer: self.account,
            payee,
            amount,
            expires_at: self.at.time.plus_secs(u64::from(ttl_secs)),
            grace_secs: limits.lock_grace_secs,
            claimed: MicroCredits::ZERO,
            closed: false,
            receipt_bytes: Bytes::ZERO,
            receipt_amount: MicroCredits::ZERO,
            claimed_by: None,
        };
        Ok(self
            .reserve(lock_id, amount)
            .with_lock(lock_id, None, opened))
    }

    fn top_up(
        &self,
        lock_id: LockId,
        amount: MicroCredits,
        ttl_secs: u32,
    ) -> Result<Change, ChangeStop> {
        let limits = self.chart.limits();
        let known = lock(self.state, lock_id)?;
        let before = known.map_or(MicroCredits::ZERO, |lock| lock.amount);
        let total = before.checked_add(amount);
        let amount_max = MicroCredits::new(limits.lock_microcredits_max);
        let total = total.filter(|total| *total <= amount_max);
        refuse_if(amount.is_zero() && ttl_secs == 0, Refusal::BadAmount)?;
        let total = total.ok_or(Refusal::BadAmount)?;
        self.check_available(amount)?;
        let known = known.ok_or(Refusal::LockUnknown)?;
        let is_over = known.closed || self.at.time > known.expires_at;
        refuse_if(is_over, Refusal::LockClosed)?;
        refuse_if(known.payer != self.account, Refusal::NotParty)?;
        let newest = self.newest_lock(&known.payee)?;
        refuse_if(newest != Some(lock_id), Refusal::LockExists)?;
        refuse_if(ttl_secs > limits.lock_ttl_secs_max, Refusal::BadLifetime)?;
        self.check_rotated(None)?;
        let expires_at = self.at.time.plus_secs(u64::from(ttl_secs));
        let topped_up = EscrowRow {
            amount: total,
            expires_at: expires_at.max(known.expires_at),
            ..known
        };
        let change = self.reserve(lock_id, amount);
        Ok(change.with_lock(lock_id, Some(known), topped_up))
    }

    fn close_lock(&self, lock_id: LockId) -> Result<Change, ChangeStop> {
        let known = lock(self.state, lock_id)?.ok_or(Refusal::LockUnknown)?;
        let is_over = known.closed || self.at.time > known.returns_at();
        refuse_if(is_over, Refusal::LockClosed)?;
        refuse_if(known.payee != self.account, Refusal::NotParty)?;
        Ok(returned(lock_id, known))
    }

    fn rotate_key(&self, to: NodeId) -> Result<Change, ChangeStop> {
        refuse_if(to == self.account, Refusal::SameParty)?;
        let all = available(self.state, &self.account)?;
        let is_barred = match self.owner.rotated_to {
            // What moves nothing any more would be a line of the successor's that costs nobody.
            Some(successor) => successor != to || all.is_zero(),
            None => owner(self.state, &to)?.rotated_to.is_some(),
        };
        refuse_if(is_barred, Refusal::KeyRotated)?;
        check_key(&to)?;
        let change = Change::moving(
            AccountId::Available(self.account),
            AccountId::Available(to),
            all,
            &[self.account, to],
        );
        Ok(Change {
            rotated: Some((self.account, to)),
            ..change
        })
    }

    fn grant(&self, to: NodeId, amount: MicroCredits) -> Result<Change, ChangeStop> {
        self.check_issuer()?;
        let amount_max = MicroCredits::new(self.chart.limits().grant_microcredits_max);
        refuse_if(amount.is_zero() || amount > amount_max, Refusal::BadAmount)?;
        let supply = supply(self.state)?.checked_add(amount);
        refuse_if(
            supply.is_none_or(|supply| supply > SUPPLY_MAX),
            Refusal::Overflow,
        )?;
        self.check_rotated(Some(to))?;
        check_key(&to)?;
        Ok(Change::moving(
            AccountId::Issuer,
            AccountId::Available(to),
            amount,
            &[self.account, to],
        ))
    }

    fn burn(&self, amount: MicroCredits) -> Result<Change, ChangeStop> {
        self.check_issuer()?;
        refuse_if(amount.is_zero(), Refusal::BadAmount)?;
        self.check_available(amount)?;
        self.check_rotated(None)?;
        Ok(Change::moving(
            AccountId::Available(self.account),
            AccountId::Burned,
            amount,
            &[self.account],
        ))
    }

    fn check_issuer(&self) -> Result<(), ChangeStop> {
        let is_issuer = self.chart.genesis_file().is_issuer(&self.account);
        refuse_if(!is_issuer, Refusal::NotIssuer)
    }

    fn check_available(&self, amount: MicroCredits) -> Result<(), ChangeStop> {
        let available = available(self.state, &self.account)?;
        refuse_if(available < amount, Refusal::InsufficientCredit)
    }

    /// Refuses an account that was handed over, on this side or the other.
    fn check_rotated(&self, other: Option<NodeId>) -> Result<(), ChangeStop> {
        refuse_if(self.owner.rotated_to.is_some(), Refusal::KeyRotated)?;
        match other {
            Some(other) => {
                let other = owner(self.state, &other)?;
                refuse_if(other.rotated_to.is_some(), Refusal::KeyRotated)
            }
            None => Ok(()),
        }
    }

    fn newest_lock(&self, payee: &NodeId) -> Result<Option<LockId>, LedgerError> {
        let pair: Option<NewestLockRow> = self.state.row(&pair_key(&self.account, payee))?;
        Ok(pair.map(|NewestLockRow(lock_id)| lock_id))
    }

    fn reserve(&self, lock_id: LockId, amount: MicroCredits) -> Change {
        Change::moving(
            AccountId::Available(self.account),
            AccountId::Escrow(lock_id),
            amount,
            &[self.account],
        )
    }
}

/// Refuses a receiver that can never sign for what it is given.
fn check_key(receiver: &NodeId) -> Result<(), ChangeStop> {
    refuse_if(receiver.check().is_err(), Refusal::BadKey)
}

/// A lock ends: what is left of it returns to its payer.
pub(super) fn returned(lock_id: LockId, known: EscrowRow) -> Change {
    let closed = EscrowRow {
        closed: true,
        ..known
    };
    Change::moving(
        AccountId::Escrow(lock_id),
        AccountId::Available(known.payer),
        known.left(),
        &[known.payer, known.payee],
    )
    .with_lock(lock_id, Some(known), closed)
}

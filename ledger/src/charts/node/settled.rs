//! Certified lines of this node's account: checked, derived again, and copied.
//!
//! The certificate covers sequence, time, the account's credit afterwards, and by the entry's hash
//! the operation, its refusal and what it moved. What of it is this node's is derived here from the
//! operation and the locks known so far, and the line is refused if it differs, or if the account
//! would not end at the certified credit.

use crate::account::{AccountId, Side};
use crate::charts::node::channel::{Role, book, refused};
use crate::charts::node::rows::{
    BookedChannelRow, CURSOR_KEY, CursorRow, MEMBERSHIP_KEY, NodeLockRow, SeenRow, lock_key,
};
use crate::charts::node::{Membership, NodeChart};
use crate::identity::{NodeId, SignatureScheme};
use crate::ledger::{LedgerError, Outcome, Position, Verdict};
use crate::posting::Postings;
use crate::refusal::Refusal;
use crate::signed::channel::ChannelId;
use crate::signed::claim::SignedClaim;
use crate::signed::lock::LockId;
use crate::signed::order::{OrderHash, OrderKind, SignedOrder};
use crate::state::{State, sequence_key};
use crate::statement::{LockStatus, Operation, StatementLine};
use crate::units::{Bytes, MicroCredits};

/// What a line does to this ledger.
#[derive(Default)]
struct Effect {
    postings: Postings,
    /// Credit that the operation moved; must be what the line says.
    moved: MicroCredits,
    lock: Option<(LockId, NodeLockRow)>,
    channel: Option<(ChannelId, BookedChannelRow)>,
}

/// Why a line is not copied.
enum LineStop {
    Refused(Refusal),
    Failed(LedgerError),
}

impl From<Refusal> for LineStop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<LedgerError> for LineStop {
    fn from(error: LedgerError) -> Self {
        Self::Failed(error)
    }
}

/// Decides on a line.
pub(super) fn apply(
    chart: &NodeChart,
    state: &mut State<'_>,
    at: Position,
    line: &StatementLine,
) -> Result<Verdict, LedgerError> {
    let Some(membership) = state.row::<Membership>(MEMBERSHIP_KEY)? else {
        return Ok(refused(Refusal::WrongNetwork));
    };
    let copy = Copy {
        owner: chart.owner(),
        scheme: chart.scheme(),
        membership,
        at,
        line,
    };
    match copy.run(state) {
        Ok(verdict) => Ok(verdict),
        Err(LineStop::Refused(refusal)) => Ok(refused(refusal)),
        Err(LineStop::Failed(error)) => Err(error),
    }
}

/// One line on its way into the ledger.
struct Copy<'a> {
    owner: NodeId,
    scheme: &'a dyn SignatureScheme,
    membership: Membership,
    at: Position,
    line: &'a StatementLine,
}

impl Copy<'_> {
    fn run(&self, state: &mut State<'_>) -> Result<Verdict, LineStop> {
        let certificate = &self.line.certificate.body;
        let membership = &self.membership;
        self.line.verify(
            self.scheme,
            membership.network_id,
            &membership.settlement,
            &self.owner,
        )?;
        let cursor: Option<CursorRow> = state.row(CURSOR_KEY)?;
        if let Some(cursor) = cursor
            && certificate.sequence <= cursor.sequence
        {
            return self.known(state);
        }
        let follows = self.line.previous == cursor.map(|cursor| cursor.sequence);
        let is_later = cursor.is_none_or(|cursor| certificate.time >= cursor.time);
        if !follows || !is_later {
            return Err(Refusal::OutOfOrder.into());
        }
        let effect = self.effect(state)?;
        let available = available_after(state, &effect.postings)?;
        let agrees = effect.moved == self.line.amount
            && available == Some(u128::from(certificate.available_after.get()));
        if !agrees || !state.post(&effect.postings)? {
            return Err(Refusal::OutOfOrder.into());
        }
        self.remember(state, &effect);
        assert_eq!(
            Some(state.balance(&AccountId::Network)?),
            available,
            "the account ends at the certified credit"
        );
        Ok(Verdict::Enter {
            refusal: self.line.refusal,
            postings: effect.postings,
        })
    }

    fn remember(&self, state: &mut State<'_>, effect: &Effect) {
        let certificate = &self.line.certificate.body;
        let cursor = CursorRow {
            sequence: certificate.sequence,
            time: certificate.time,
        };
        let seen = SeenRow {
            entry_hash: certificate.entry_hash,
            entry: self.at.sequence,
        };
        state.put_row(CURSOR_KEY.to_vec(), &cursor);
        state.put_row(sequence_key(certificate.sequence), &seen);
        if let Some((lock_id, lock)) = &effect.lock {
            lock.check_invariants();
            state.put_row(lock_key(*lock_id), lock);
        }
        if let Some((channel_id, channel)) = &effect.channel {
            channel.check_invariants();
            state.put_row(channel_id.as_bytes().to_vec(), channel);
        }
    }

    /// The answer to a line whose sequence has passed: the copy, or a contradiction.
    fn known(&self, state: &State<'_>) -> Result<Verdict, LineStop> {
        let certificate = &self.line.certificate.body;
        let seen: Option<SeenRow> = state.row(&sequence_key(certificate.sequence))?;
        match seen {
            Some(seen) if seen.entry_hash == certificate.entry_hash => {
                Ok(Verdict::Answer(Outcome::Known {
                    sequence: seen.entry,
                    refusal: self.line.refusal,
                }))
            }
            Some(_) | None => Err(Refusal::OutOfOrder.into()),
        }
    }

    fn effect(&self, state: &State<'_>) -> Result<Effect, LineStop> {
        match (&self.line.operation, self.line.refusal) {
            (Operation::Order(order), Some(_)) if order.body.account == self.owner => {
                Ok(Effect::default())
            }
            (_, Some(_)) => Err(Refusal::OutOfOrder.into()),
            (Operation::Order(order), None) => self.order(state, order),
            (Operation::Claim(claim), None) => self.claim(state, claim),
            (Operation::Expiry(lock_id), None) => self.end(state, *lock_id),
        }
    }

    fn order(&self, state: &State<'_>, order: &SignedOrder) -> Result<Effect, LineStop> {
        let is_mine = order.body.account == self.owner;
        let moved = |from, to, amount| {
            Ok(Effect {
                postings: Postings::new().credit(from, to, amount),
                moved: amount,
                ..Effect::default()
            })
        };
        match order.body.kind {
            OrderKind::Transfer { amount, .. } if is_mine => {
                moved(AccountId::Network, AccountId::Sent, amount)
            }
            OrderKind::Transfer { to, amount } if to == self.owner => {
                moved(AccountId::Received, AccountId::Network, amount)
            }
            OrderKind::RotateKey { .. } if is_mine => {
                moved(AccountId::Network, AccountId::Sent, self.line.amount)
            }
            OrderKind::RotateKey { to } if to == self.owner => {
                moved(AccountId::Received, AccountId::Network, self.line.amount)
            }
            OrderKind::Grant { to, amount } if to == self.owner => {
                moved(AccountId::Granted, AccountId::Network, amount)
            }
            // The issuer's own line of a grant to somebody else: nothing of the issuer's own moved.
            OrderKind::Grant { amount, .. } if is_mine => Ok(Effect {
                moved: amount,
                ..Effect::default()
            }),
            OrderKind::Burn { amount } if is_mine => {
                moved(AccountId::Network, AccountId::Burned, amount)
            }
            OrderKind::OpenLock { payee, amount, .. } if is_mine => {
                self.open_lock(state, order.body.hash(), payee, amount)
            }
            OrderKind::TopUp {
                lock_id, amount, ..
            } if is_mine => self.top_up(state, lock_id, amount),
            OrderKind::CloseLock { lock_id } => self.end(state, lock_id),
            OrderKind::Transfer { .. }
            | OrderKind::RotateKey { .. }
            | OrderKind::Grant { .. }
            | OrderKind::Burn { .. }
            | OrderKind::OpenLock { .. }
            | OrderKind::TopUp { .. } => Err(Refusal::NotParty.into()),
        }
    }

    fn open_lock(
        &self,
        state: &State<'_>,
        opening_order: OrderHash,
        payee: NodeId,
        amount: MicroCredits,
    ) -> Result<Effect, LineStop> {
        let lock_id = LockId::new(self.line.certificate.body.sequence.get());
        let status = self.status(lock_id)?;
        let lock = &status.lock.body;
        let agrees = (lock.payer, lock.payee, lock.amount) == (self.owner, payee, amount)
            && lock.opening_order == opening_order;
        let known: Option<NodeLockRow> = state.row(&lock_key(lock_id))?;
        if !agrees || known.is_some() || status.closed || !status.claimed.is_zero() {
            return Err(Refusal::OutOfOrder.into());
        }
        Ok(Effect {
            postings: reserve(lock_id, amount),
            moved: amount,
            lock: Some((lock_id, NodeLockRow::new(lock))),
            channel: None,
        })
    }

    fn top_up(
        &self,
        state: &State<'_>,
        lock_id: LockId,
        amount: MicroCredits,
    ) -> Result<Effect, LineStop> {
        let status = self.status(lock_id)?;
        let known: NodeLockRow = state.row(&lock_key(lock_id))?.ok_or(Refusal::LockUnknown)?;
        let total = known.amount.checked_add(amount).ok_or(Refusal::Overflow)?;
        let lock = &status.lock.body;
        let agrees = (lock.amount, lock.opening_order) == (total, known.opening_order);
        if !agrees || known.closed {
            return Err(Refusal::OutOfOrder.into());
        }
        let lock = NodeLockRow {
            amount: total,
            ..known
        };
        Ok(Effect {
            postings: reserve(lock_id, amount),
            moved: amount,
            lock: Some((lock_id, lock)),
            channel: None,
        })
    }

    fn claim(&self, state: &State<'_>, claim: &SignedClaim) -> Result<Effect, LineStop> {
        let lock_id = claim.body.lock_id;
        let status = self.status(lock_id)?;
        let lock = &status.lock.body;
        let (role, known) = self.known_lock(state, lock_id, &status)?;
        let signed = &claim.body.receipt;
        let channel = lock.channel();
        if claim.body.payee != lock.payee {
            return Err(Refusal::NotParty.into());
        }
        let signer = &lock.payer;
        if signed.body.channel_id != channel.id() || signed.verify_by(self.scheme, signer).is_err()
        {
            return Err(Refusal::BadReceipt.into());
        }
        let worth = signed.body.amount.min(lock.amount);
        let paid = worth
            .checked_sub(known.claimed)
            .ok_or(Refusal::OutOfOrder)?;
        if known.closed || status.claimed != worth {
            return Err(Refusal::OutOfOrder.into());
        }
        let before: BookedChannelRow = state
            .row(signed.body.channel_id.as_bytes())?
            .unwrap_or_default();
        // The claim may be ahead of the last summary: book what is missing first, but for bytes of
        // which this node did not say that it served them. The payee may have seen a top-up that is
        // younger than this line; a lock never becomes smaller.
        let seen: Option<NodeLockRow> = state.row(&lock_key(lock_id))?;
        let booked_on = NodeLockRow {
            amount: seen.map_or(known.amount, |seen| seen.amount.max(known.amount)),
            ..known
        };
        let booking = book(
            before,
            self.at,
            (role, Bytes::ZERO),
            (&channel, &signed.body),
            Some(&booked_on),
        );
        let (from, to) = match role {
            Role::Payer => (AccountId::Signed(lock_id), AccountId::Spent),
            Role::Payee => (AccountId::Claimable(lock_id), AccountId::Network),
        };
        let lock = NodeLockRow {
            claimed: worth,
            ..booked_on
        };
        Ok(Effect {
            postings: booking.postings.credit(from, to, paid),
            moved: paid,
            lock: Some((lock_id, lock)),
            channel: booking
                .changed
                .then_some((signed.body.channel_id, booking.row)),
        })
    }

    /// A lock ended: what is left returns to its payer, and what its payee did not claim is lost to
    /// it.
    fn end(&self, state: &State<'_>, lock_id: LockId) -> Result<Effect, LineStop> {
        let status = self.status(lock_id)?;
        let (role, known) = self.known_lock(state, lock_id, &status)?;
        let left = known.amount.checked_sub(known.claimed);
        let left = left.ok_or(Refusal::OutOfOrder)?;
        if known.closed || !status.closed || status.claimed != known.claimed {
            return Err(Refusal::OutOfOrder.into());
        }
        let all_of = |account| -> Result<MicroCredits, LineStop> {
            let balance = u64::try_from(state.balance(&account)?);
            let balance = balance.map_err(|_| LedgerError::Overflow { account })?;
            Ok(MicroCredits::new(balance))
        };
        let postings = match role {
            Role::Payer => {
                let (locked, signed) = (AccountId::Locked(lock_id), AccountId::Signed(lock_id));
                Postings::new()
                    .credit(locked, AccountId::Network, all_of(locked)?)
                    .credit(signed, AccountId::Network, all_of(signed)?)
            }
            Role::Payee => {
                let claimable = AccountId::Claimable(lock_id);
                Postings::new().credit(claimable, AccountId::Forfeited, all_of(claimable)?)
            }
        };
        let lock = NodeLockRow {
            closed: true,
            ..known
        };
        Ok(Effect {
            postings,
            moved: left,
            lock: Some((lock_id, lock)),
            channel: None,
        })
    }

    /// This node's side of a lock and what it knows of it, brought up to the certified amount.
    fn known_lock(
        &self,
        state: &State<'_>,
        lock_id: LockId,
        status: &LockStatus,
    ) -> Result<(Role, NodeLockRow), LineStop> {
        let lock = &status.lock.body;
        let role = Role::of(&self.owner, &lock.payer, &lock.payee).ok_or(Refusal::NotParty)?;
        let known: Option<NodeLockRow> = state.row(&lock_key(lock_id))?;
        if known.is_some_and(|known| known.opening_order != lock.opening_order) {
            return Err(Refusal::OutOfOrder.into());
        }
        let known = match (known, role) {
            (Some(known), Role::Payer) => {
                if known.amount != lock.amount {
                    return Err(Refusal::OutOfOrder.into());
                }
                known
            }
            // A payee is told of locks by payers and not of every top-up.
            (Some(known), Role::Payee) => NodeLockRow {
                amount: lock.amount,
                ..known
            },
            (None, Role::Payer) => return Err(Refusal::LockUnknown.into()),
            (None, Role::Payee) => NodeLockRow::new(lock),
        };
        Ok((role, known))
    }

    /// The status of the lock that the line is about.
    fn status(&self, lock_id: LockId) -> Result<LockStatus, LineStop> {
        match self.line.lock {
            Some(status) if status.lock.body.lock_id == lock_id => Ok(status),
            Some(_) | None => Err(Refusal::OutOfOrder.into()),
        }
    }
}

fn reserve(lock_id: LockId, amount: MicroCredits) -> Postings {
    Postings::new().credit(AccountId::Network, AccountId::Locked(lock_id), amount)
}

/// What the account at the settlement node would hold after `postings`; `None` below zero.
fn available_after(state: &State<'_>, postings: &Postings) -> Result<Option<u128>, LedgerError> {
    let before = state.balance(&AccountId::Network)?;
    let sum = |side| {
        postings
            .iter()
            .filter(|posting| posting.account == AccountId::Network && posting.side == side)
            .fold(0, |sum, posting| {
                u128::saturating_add(sum, posting.amount.into())
            })
    };
    Ok(before
        .saturating_add(sum(Side::Credit))
        .checked_sub(sum(Side::Debit)))
}

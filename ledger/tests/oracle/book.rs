//! A second opinion on the network ledger: its rules as the documents state them, in plain numbers.
//!
//! Written from docs/PROTOCOL.md, the glossary and the public types' own words, without a look at
//! the code it judges. It knows no bytes, no keys and no rows: whoever drives it says what was
//! forged. Every reason to refuse is collected, and the one with the lowest code must be the
//! answer, because refusals are "in the order in which they are checked".

use std::collections::{BTreeMap, BTreeSet};

use seedbank_ledger::refusal::Refusal;

/// Who takes part, by number.
pub(crate) type Party = u8;

/// What a genesis file bounds.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    pub(crate) issuers: Vec<Party>,
    pub(crate) ttl_max: u128,
    pub(crate) grace: u128,
    pub(crate) lock_max: u128,
    pub(crate) grant_max: u128,
    pub(crate) transfer_min: u64,
    /// Who has a key that no secret belongs to.
    pub(crate) nobodies: std::ops::Range<Party>,
}

/// What an order asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Transfer(Party, u64),
    OpenLock(Party, u64, u32),
    TopUp(u64, u64, u32),
    CloseLock(u64),
    RotateKey(Party),
    Grant(Party, u64),
    Burn(u64),
}

/// An order, and whether it is what it says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OrderTry {
    pub(crate) account: Party,
    pub(crate) nonce: u64,
    pub(crate) valid_until: u64,
    pub(crate) wish: Wish,
    pub(crate) memo: u8,
    pub(crate) is_other_network: bool,
    /// Signed by somebody else, or changed afterwards.
    pub(crate) is_forged: bool,
}

/// A claim and its receipt, and whether they are what they say they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClaimTry {
    pub(crate) lock: u64,
    pub(crate) payee: Party,
    pub(crate) is_other_network: bool,
    pub(crate) is_forged: bool,
    /// Payer, payee and lock of the receipt's channel; `None`: no lock's channel at all.
    pub(crate) channel: Option<(Party, Party, u64)>,
    pub(crate) receipt_signer: Party,
    pub(crate) is_receipt_bad: bool,
    pub(crate) bytes: u64,
    pub(crate) amount: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Try {
    Order(OrderTry),
    Claim(ClaimTry),
    /// Somebody asks for a lock's expiry.
    Expiry(u64),
}

/// What must come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Entered(u64, Option<Refusal>),
    Known(u64, Option<Refusal>),
    NonceUsed(u64),
    Refused(Refusal),
    /// Refused without an entry; no document says by which code.
    RefusedSomehow,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    pub(crate) available: u128,
    pub(crate) nonce: u64,
    /// Nonce → the order that used it, its entry and what came of it.
    used: BTreeMap<u64, (OrderTry, u64, Option<Refusal>)>,
    pub(crate) heir: Option<Party>,
    /// What its statement must say: entry, credit moved, credit afterwards.
    pub(crate) lines: Vec<Line>,
}

/// What a line of a statement must say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) sequence: u64,
    pub(crate) amount: u128,
    pub(crate) available_after: u128,
    pub(crate) refusal: Option<Refusal>,
}

#[derive(Clone, Debug)]
pub(crate) struct LockBook {
    pub(crate) payer: Party,
    pub(crate) payee: Party,
    pub(crate) amount: u128,
    pub(crate) claimed: u128,
    pub(crate) escrow: u128,
    pub(crate) expires_at: u128,
    pub(crate) is_closed: bool,
    newest: Option<(u64, u64, u64)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Book {
    bounds: Bounds,
    pub(crate) accounts: BTreeMap<Party, Account>,
    pub(crate) locks: BTreeMap<u64, LockBook>,
    /// Who ever held credit, was handed an account or is party to a lock.
    standing: BTreeSet<Party>,
    pub(crate) granted: u128,
    pub(crate) burned: u128,
    pub(crate) next: u64,
    pub(crate) time: u64,
    /// How many of the newest entries are ends of locks.
    ends_in_a_row: usize,
}

/// Ends of locks that stand in a row before an order or claim, if so many have fallen due.
const BEFORE_EACH: usize = 8;
/// Those that an empty group enters; how many that is, is nobody's business but the ledger's.
const IN_A_BATCH: usize = 256;

pub(crate) const SUPPLY_MAX: u128 = (1 << 63) - 1;

/// Every reason to refuse; the first is the answer.
#[derive(Default)]
struct Reasons(BTreeSet<Refusal>);

impl Reasons {
    fn add_if(&mut self, reason: Refusal, holds: bool) {
        if holds {
            self.0.insert(reason);
        }
    }
}

impl Book {
    pub(crate) fn new(bounds: Bounds, now: u64) -> Self {
        Self {
            bounds,
            accounts: BTreeMap::new(),
            locks: BTreeMap::new(),
            standing: BTreeSet::new(),
            granted: 0,
            burned: 0,
            next: 1,
            time: now,
            ends_in_a_row: 0,
        }
    }

    pub(crate) fn account(&self, party: Party) -> Account {
        self.accounts.get(&party).cloned().unwrap_or_default()
    }

    pub(crate) fn reserved(&self, party: Party) -> u128 {
        let own = self.locks.values().filter(|lock| lock.payer == party);
        own.map(|lock| lock.escrow).sum()
    }

    /// Carries out a group. Settlement time never goes back, and of what fell due a little comes
    /// before each; if nobody asks for anything, more.
    pub(crate) fn submit(&mut self, now: u64, group: &[Try]) -> Vec<Answer> {
        let now = now.max(self.time);
        if group.is_empty() {
            self.expire(now, IN_A_BATCH);
        }
        let mut answers = Vec::new();
        for attempt in group {
            self.expire(now, BEFORE_EACH - self.ends_in_a_row.min(BEFORE_EACH));
            answers.push(self.one(now, attempt));
        }
        answers
    }

    fn expire(&mut self, now: u64, most: usize) {
        let grace = self.bounds.grace;
        let mut due: Vec<(u128, u64)> = self
            .locks
            .iter()
            .filter(|(_, lock)| !lock.is_closed)
            .map(|(number, lock)| (end_of(lock, grace), *number))
            .filter(|(end, _)| *end < u128::from(now))
            .collect();
        due.sort_unstable();
        let in_a_row = self.ends_in_a_row;
        for (count, (_, number)) in (1..=most).zip(due) {
            let returned = self.end(number);
            let lock = &self.locks[&number];
            let parties = [lock.payer, lock.payee];
            self.enter(now, &parties, returned, None);
            self.ends_in_a_row = in_a_row + count;
        }
    }

    /// Closes a lock; what is left goes back to the payer.
    fn end(&mut self, number: u64) -> u128 {
        let lock = self.locks.get_mut(&number).unwrap();
        let (payer, left) = (lock.payer, lock.escrow);
        lock.escrow = 0;
        lock.is_closed = true;
        self.add(payer, left);
        left
    }

    fn add(&mut self, party: Party, amount: u128) {
        self.accounts.entry(party).or_default().available += amount;
    }

    fn take(&mut self, party: Party, amount: u128) {
        let account = self.accounts.entry(party).or_default();
        account.available = account.available.checked_sub(amount).unwrap();
    }

    fn enter(
        &mut self,
        now: u64,
        parties: &[Party],
        amount: u128,
        refusal: Option<Refusal>,
    ) -> u64 {
        let sequence = self.next;
        self.next += 1;
        self.time = now;
        self.ends_in_a_row = 0;
        let touched: BTreeSet<Party> = parties.iter().copied().collect();
        for party in touched {
            let account = self.accounts.entry(party).or_default();
            account.lines.push(Line {
                sequence,
                amount,
                available_after: account.available,
                refusal,
            });
        }
        sequence
    }

    fn one(&mut self, now: u64, attempt: &Try) -> Answer {
        match attempt {
            Try::Order(order) => self.order(now, order),
            Try::Claim(claim) => self.claim(now, claim),
            Try::Expiry(_) => Answer::RefusedSomehow,
        }
    }

    fn order(&mut self, now: u64, order: &OrderTry) -> Answer {
        // What nobody has signed can use up nobody's nonce.
        if order.is_other_network {
            return Answer::Refused(Refusal::WrongNetwork);
        }
        if order.is_forged {
            return Answer::Refused(Refusal::BadSignature);
        }
        let account = self.account(order.account);
        if let Some((used_by, sequence, refusal)) = account.used.get(&order.nonce) {
            return if used_by == order {
                Answer::Known(*sequence, *refusal)
            } else {
                Answer::NonceUsed(*sequence)
            };
        }
        if order.nonce != account.nonce + 1 {
            return Answer::Refused(Refusal::WrongNonce);
        }
        if !self.has_standing(order.account) {
            // Nothing is entered of it, late or not.
            let is_late = now > order.valid_until;
            return Answer::Refused(match is_late {
                true => Refusal::Expired,
                false => Refusal::NoStanding,
            });
        }
        let refusal = self.reasons(now, order).first().copied();
        self.accounts.entry(order.account).or_default().nonce = order.nonce;
        let sequence = self.next;
        let (parties, amount) = match refusal {
            None => self.carry_out(now, order),
            Some(_) => (vec![order.account], 0),
        };
        assert_eq!(self.enter(now, &parties, amount, refusal), sequence);
        let account = self.accounts.get_mut(&order.account).unwrap();
        account
            .used
            .insert(order.nonce, (*order, sequence, refusal));
        Answer::Entered(sequence, refusal)
    }

    /// Every reason to refuse a well-signed order with the right nonce.
    fn reasons(&self, now: u64, order: &OrderTry) -> BTreeSet<Refusal> {
        let me = order.account;
        let has = self.account(me).available;
        let mut reasons = Reasons::default();
        reasons.add_if(Refusal::Expired, now > order.valid_until);
        if let Wish::Transfer(to, _)
        | Wish::OpenLock(to, ..)
        | Wish::RotateKey(to)
        | Wish::Grant(to, _) = order.wish
        {
            reasons.add_if(Refusal::BadKey, self.bounds.nobodies.contains(&to));
        }
        match order.wish {
            Wish::Transfer(to, amount) => {
                reasons.add_if(Refusal::BadAmount, amount < self.bounds.transfer_min);
                reasons.add_if(Refusal::InsufficientCredit, u128::from(amount) > has);
                reasons.add_if(Refusal::SameParty, to == me);
                reasons.add_if(Refusal::KeyRotated, self.is_gone(me) || self.is_gone(to));
            }
            Wish::OpenLock(payee, amount, ttl) => {
                self.reasons_to_open(&mut reasons, now, (me, payee), (amount.into(), ttl));
            }
            Wish::TopUp(number, amount, ttl) => {
                self.reasons_to_top_up(&mut reasons, now, (me, number), (amount.into(), ttl));
            }
            Wish::CloseLock(number) => match self.locks.get(&number) {
                None => reasons.add_if(Refusal::LockUnknown, true),
                Some(lock) => {
                    let is_over = lock.is_closed || self.has_ended(lock, now);
                    reasons.add_if(Refusal::LockClosed, is_over);
                    reasons.add_if(Refusal::NotParty, lock.payee != me);
                }
            },
            Wish::RotateKey(to) => {
                reasons.add_if(Refusal::SameParty, to == me);
                // What came in since may follow, to the same key.
                let is_barred = match self.account(me).heir {
                    Some(heir) => heir != to || has == 0,
                    None => self.is_gone(to),
                };
                reasons.add_if(Refusal::KeyRotated, is_barred);
            }
            Wish::Grant(to, amount) => {
                let amount = u128::from(amount);
                reasons.add_if(Refusal::NotIssuer, !self.bounds.issuers.contains(&me));
                reasons.add_if(Refusal::BadAmount, amount == 0);
                reasons.add_if(Refusal::BadAmount, amount > self.bounds.grant_max);
                let supply = self.granted - self.burned;
                reasons.add_if(Refusal::Overflow, supply + amount > SUPPLY_MAX);
                reasons.add_if(Refusal::KeyRotated, self.is_gone(me) || self.is_gone(to));
            }
            Wish::Burn(amount) => {
                reasons.add_if(Refusal::NotIssuer, !self.bounds.issuers.contains(&me));
                reasons.add_if(Refusal::BadAmount, amount == 0);
                reasons.add_if(Refusal::InsufficientCredit, u128::from(amount) > has);
                reasons.add_if(Refusal::KeyRotated, self.is_gone(me));
            }
        }
        reasons.0
    }

    fn reasons_to_open(
        &self,
        reasons: &mut Reasons,
        now: u64,
        (me, payee): (Party, Party),
        (amount, ttl): (u128, u32),
    ) {
        reasons.add_if(Refusal::BadAmount, amount == 0);
        reasons.add_if(Refusal::BadAmount, amount > self.bounds.lock_max);
        reasons.add_if(
            Refusal::InsufficientCredit,
            amount > self.account(me).available,
        );
        reasons.add_if(Refusal::SameParty, payee == me);
        reasons.add_if(Refusal::LockExists, self.live(now, me, payee));
        reasons.add_if(Refusal::BadLifetime, ttl == 0);
        reasons.add_if(Refusal::BadLifetime, u128::from(ttl) > self.bounds.ttl_max);
        reasons.add_if(Refusal::KeyRotated, self.is_gone(me) || self.is_gone(payee));
    }

    fn reasons_to_top_up(
        &self,
        reasons: &mut Reasons,
        now: u64,
        (me, number): (Party, u64),
        (amount, ttl): (u128, u32),
    ) {
        reasons.add_if(Refusal::BadAmount, amount == 0 && ttl == 0);
        reasons.add_if(Refusal::BadAmount, amount > self.bounds.lock_max);
        reasons.add_if(
            Refusal::InsufficientCredit,
            amount > self.account(me).available,
        );
        reasons.add_if(Refusal::BadLifetime, u128::from(ttl) > self.bounds.ttl_max);
        reasons.add_if(Refusal::KeyRotated, self.is_gone(me));
        let Some(lock) = self.locks.get(&number) else {
            reasons.add_if(Refusal::LockUnknown, true);
            return;
        };
        reasons.add_if(
            Refusal::BadAmount,
            lock.amount + amount > self.bounds.lock_max,
        );
        reasons.add_if(Refusal::LockClosed, lock.is_closed || is_past(lock, now));
        reasons.add_if(Refusal::NotParty, lock.payer != me);
        // Stricter than "a live one": a lock that has a successor stays behind.
        let pair = (lock.payer, lock.payee);
        let mut newer = self.locks.range(number + 1..);
        let another = newer.any(|(_, lock)| (lock.payer, lock.payee) == pair);
        reasons.add_if(Refusal::LockExists, another);
    }

    /// Whether its grace is over too, and its end entered or waiting to be.
    fn has_ended(&self, lock: &LockBook, now: u64) -> bool {
        end_of(lock, self.bounds.grace) < u128::from(now)
    }

    fn has_standing(&self, party: Party) -> bool {
        self.bounds.issuers.contains(&party) || self.standing.contains(&party)
    }

    fn is_gone(&self, party: Party) -> bool {
        self.account(party).heir.is_some()
    }

    /// Whether a live lock of the pair exists: open, unexpired, not all claimed.
    fn live(&self, now: u64, payer: Party, payee: Party) -> bool {
        self.locks.values().any(|lock| {
            (lock.payer, lock.payee) == (payer, payee)
                && !lock.is_closed
                && !is_past(lock, now)
                && lock.claimed < lock.amount
        })
    }

    fn carry_out(&mut self, now: u64, order: &OrderTry) -> (Vec<Party>, u128) {
        let me = order.account;
        if let Wish::Transfer(other, _)
        | Wish::OpenLock(other, ..)
        | Wish::RotateKey(other)
        | Wish::Grant(other, _) = order.wish
        {
            self.standing.insert(other);
        }
        match order.wish {
            Wish::Transfer(to, amount) => {
                self.take(me, amount.into());
                self.add(to, amount.into());
                (vec![me, to], amount.into())
            }
            Wish::OpenLock(payee, amount, ttl) => {
                self.take(me, amount.into());
                let lock = LockBook {
                    payer: me,
                    payee,
                    amount: amount.into(),
                    claimed: 0,
                    escrow: amount.into(),
                    expires_at: u128::from(now.saturating_add(ttl.into())),
                    is_closed: false,
                    newest: None,
                };
                // A lock's number is the sequence of the entry that opened it.
                self.locks.insert(self.next, lock);
                (vec![me], amount.into())
            }
            Wish::TopUp(number, amount, ttl) => {
                self.take(me, amount.into());
                let lock = self.locks.get_mut(&number).unwrap();
                lock.amount += u128::from(amount);
                lock.escrow += u128::from(amount);
                let renewed = u128::from(now.saturating_add(ttl.into()));
                lock.expires_at = lock.expires_at.max(renewed);
                (vec![me], amount.into())
            }
            Wish::CloseLock(number) => {
                let left = self.end(number);
                let payer = self.locks[&number].payer;
                (vec![me, payer], left)
            }
            Wish::RotateKey(to) => {
                let all = self.account(me).available;
                self.take(me, all);
                self.add(to, all);
                self.accounts.get_mut(&me).unwrap().heir = Some(to);
                (vec![me, to], all)
            }
            Wish::Grant(to, amount) => {
                self.granted += u128::from(amount);
                self.add(to, amount.into());
                (vec![me, to], amount.into())
            }
            Wish::Burn(amount) => {
                self.burned += u128::from(amount);
                self.take(me, amount.into());
                (vec![me], amount.into())
            }
        }
    }

    fn claim(&mut self, now: u64, claim: &ClaimTry) -> Answer {
        let mut reasons = Reasons::default();
        reasons.add_if(Refusal::WrongNetwork, claim.is_other_network);
        reasons.add_if(Refusal::BadSignature, claim.is_forged);
        reasons.add_if(Refusal::BadAmount, claim.amount == 0);
        let lock = self.locks.get(&claim.lock).cloned();
        match &lock {
            None => reasons.add_if(Refusal::LockUnknown, true),
            Some(lock) => {
                let is_over = lock.is_closed || self.has_ended(lock, now);
                reasons.add_if(Refusal::LockClosed, is_over);
                reasons.add_if(Refusal::NotParty, claim.payee != lock.payee);
                let channel = Some((lock.payer, lock.payee, claim.lock));
                reasons.add_if(Refusal::BadReceipt, claim.channel != channel);
                reasons.add_if(Refusal::BadReceipt, claim.receipt_signer != lock.payer);
                reasons.add_if(Refusal::BadReceipt, claim.is_receipt_bad);
                let (bytes, amount) = lock.newest.map_or((0, 0), |newest| (newest.0, newest.1));
                let is_back = claim.bytes < bytes || claim.amount < amount;
                reasons.add_if(Refusal::ReceiptRegressed, is_back);
            }
        }
        if let Some(reason) = reasons.0.first() {
            return Answer::Refused(*reason);
        }
        let mut lock = lock.unwrap();
        let due = lock.amount.min(claim.amount.into()) - lock.claimed;
        // Idempotent: what says nothing new and pays nothing is answered with the claim of then.
        if due == 0 {
            let (_, _, sequence) = lock.newest.unwrap();
            return Answer::Known(sequence, None);
        }
        lock.claimed += due;
        lock.escrow -= due;
        lock.newest = Some((claim.bytes, claim.amount, self.next));
        let parties = [lock.payer, lock.payee];
        self.add(lock.payee, due);
        self.locks.insert(claim.lock, lock);
        Answer::Entered(self.enter(now, &parties, due, None), None)
    }
}

/// Past its expiry. Every end of the protocol is inclusive: at `expires_at` a lock lives, at the
/// end of its grace it can be claimed from, at `valid_until` an order holds.
fn is_past(lock: &LockBook, now: u64) -> bool {
    u128::from(now) > lock.expires_at
}

/// When what is left returns. Time is held at its end.
fn end_of(lock: &LockBook, grace: u128) -> u128 {
    (lock.expires_at + grace).min(u64::MAX.into())
}

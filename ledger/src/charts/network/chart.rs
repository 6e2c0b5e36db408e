//! The rules of the network chart, and what its rows promise each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::account::AccountId;
use crate::charts::network::change::lock;
use crate::charts::network::order::returned;
use crate::charts::network::rows::{
    EscrowRow, OwnerRow, StatementRow, expiry_key, expiry_key_at, lock_key,
};
use crate::entry::EntryKind;
use crate::genesis::{Genesis, Limits};
use crate::identity::{Identity, NetworkId, NodeId, SignatureScheme};
use crate::layout::LayoutError;
use crate::ledger::check::{CheckError, for_each_account};
use crate::ledger::{Chart, HEAD_KEY, Head, LedgerError, Outcome, Position, Verdict};
use crate::posting::Postings;
use crate::refusal::Refusal;
use crate::signed::head::HeadSigner;
use crate::signed::lock::LockId;
use crate::state::{Row as _, State, sequence_key};
use crate::statement::Operation;
use crate::store::{KeyValue, Table, for_each};
use crate::time::UnixTime;
use crate::units::{MicroCredits, Sequence};

/// The network chart of one genesis.
#[derive(Clone, Debug)]
pub struct NetworkChart {
    genesis: Genesis,
    network_id: NetworkId,
    settlement: Arc<Identity>,
}

/// What an entry of a network ledger is caused by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkCause {
    /// The network was founded; the genesis file.
    Genesis(String),
    /// An order, a claim, or the passing of a lock's time.
    Operation(Box<Operation>),
}

impl NetworkChart {
    /// The chart of the network of `genesis`, whose settlement node has the key `settlement` and
    /// checks signatures by its scheme.
    pub(super) fn new(genesis: Genesis, settlement: Arc<Identity>) -> Self {
        Self {
            network_id: genesis.network_id(),
            genesis,
            settlement,
        }
    }

    /// Which network.
    pub fn network_id(&self) -> NetworkId {
        self.network_id
    }

    /// Its genesis file.
    pub fn genesis_file(&self) -> &Genesis {
        &self.genesis
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.genesis.limits
    }

    /// What certifies lines and signs locks and heads.
    pub(super) fn settlement(&self) -> &Identity {
        &self.settlement
    }

    pub(super) fn share_settlement(&self) -> Arc<Identity> {
        Arc::clone(&self.settlement)
    }

    pub(super) fn scheme(&self) -> &dyn SignatureScheme {
        self.settlement.scheme()
    }

    /// A lock's time has passed: what is left returns to its payer.
    fn apply_expiry(
        state: &mut State<'_>,
        at: Position,
        lock_id: LockId,
    ) -> Result<Verdict, LedgerError> {
        match lock(state, lock_id)? {
            None => Ok(refused(Refusal::LockUnknown)),
            Some(known) if known.closed => Ok(refused(Refusal::LockClosed)),
            Some(known) if at.time <= known.returns_at() => Ok(refused(Refusal::BadLifetime)),
            Some(known) => returned(lock_id, known).enter(state, at, None),
        }
    }
}

impl Chart for NetworkChart {
    type Cause = NetworkCause;

    const NAME: &'static str = "network";

    fn genesis(&self) -> NetworkCause {
        NetworkCause::Genesis(self.genesis.text.clone())
    }

    fn head_signer(&self) -> Option<HeadSigner<'_>> {
        Some(HeadSigner {
            network_id: self.network_id,
            key: &self.settlement,
        })
    }

    fn kind(cause: &NetworkCause) -> EntryKind {
        match cause {
            NetworkCause::Genesis(_) => EntryKind::Genesis,
            NetworkCause::Operation(operation) => operation.kind(),
        }
    }

    fn encode(cause: &NetworkCause) -> Vec<u8> {
        match cause {
            NetworkCause::Genesis(text) => text.as_bytes().to_vec(),
            NetworkCause::Operation(operation) => operation.to_bytes(),
        }
    }

    fn decode(kind: EntryKind, bytes: &[u8]) -> Result<NetworkCause, LayoutError> {
        if kind == EntryKind::Genesis {
            let text = String::from_utf8(bytes.to_vec()).map_err(|_| LayoutError::Value {
                field: "genesis text",
                value: 1,
            })?;
            return Ok(NetworkCause::Genesis(text));
        }
        Operation::from_bytes(kind, bytes)
            .map(|operation| NetworkCause::Operation(Box::new(operation)))
    }

    fn due(
        &self,
        state: &State<'_>,
        now: UnixTime,
        limit: usize,
    ) -> Result<Vec<NetworkCause>, LedgerError> {
        let from = expiries_from(state)?;
        let until = expiry_key_at(now, LockId::new(0));
        let expiry = |(key, _): &KeyValue| {
            let (returns_at, lock_id) = read_expiry(key)?;
            assert!(returns_at < now, "a lock ends when its time has passed");
            let expiry = Box::new(Operation::Expiry(lock_id));
            Ok(NetworkCause::Operation(expiry))
        };
        let due = state.first(Table::Expiry, (&from, &until), limit)?;
        due.iter().map(expiry).collect()
    }

    fn refuse_asked(cause: &NetworkCause) -> Option<Refusal> {
        match cause {
            NetworkCause::Operation(operation) => match operation.as_ref() {
                Operation::Expiry(_) => Some(Refusal::NotParty),
                Operation::Order(_) | Operation::Claim(_) => None,
            },
            NetworkCause::Genesis(_) => None,
        }
    }

    fn apply(
        &self,
        state: &mut State<'_>,
        at: Position,
        cause: &NetworkCause,
    ) -> Result<Verdict, LedgerError> {
        match cause {
            NetworkCause::Genesis(text) => {
                let begins = at.sequence == Sequence::ZERO && *text == self.genesis.text;
                Ok(if begins {
                    Verdict::Enter {
                        refusal: None,
                        postings: Postings::new(),
                    }
                } else {
                    refused(Refusal::WrongNetwork)
                })
            }
            NetworkCause::Operation(operation) => match operation.as_ref() {
                Operation::Order(order) => self.apply_order(state, at, order),
                Operation::Claim(claim) => self.apply_claim(state, at, claim),
                Operation::Expiry(lock_id) => Self::apply_expiry(state, at, *lock_id),
            },
        }
    }

    fn check_invariants(&self, state: &State<'_>) -> Result<(), CheckError> {
        check_supply(state)?;
        let reserved = check_locks(state)?;
        check_statements(state, &reserved)
    }
}

/// A refusal that leaves no entry.
pub(super) fn refused(refusal: Refusal) -> Verdict {
    Verdict::Answer(Outcome::Refused(refusal))
}

/// Credit in being: granted and not burned.
pub(super) fn supply(state: &State<'_>) -> Result<MicroCredits, LedgerError> {
    let account = AccountId::Issuer;
    let granted = state.balance(&account)?;
    let burned = state.balance(&AccountId::Burned)?;
    let supply = granted
        .checked_sub(burned)
        .ok_or(LedgerError::BelowZero { account })?;
    u64::try_from(supply)
        .map(MicroCredits::new)
        .map_err(|_| LedgerError::Overflow { account })
}

/// Where the first expiry can stand. All before it were entered, and a store that steps over what
/// they left behind does so for every group: 24 h of closed and renewed locks. They are entered in
/// the order of their keys, and no lock comes to end before settlement time.
fn expiries_from(state: &State<'_>) -> Result<Vec<u8>, LedgerError> {
    let head: Option<Head> = state.row(HEAD_KEY)?;
    let last = head.and_then(|head| head.last());
    let last = last.map(|last| state.entry(last)).transpose()?.flatten();
    let Some(last) = last else {
        // An auditor's replay keeps no entries.
        return Ok(Vec::new());
    };
    let before = last.sequence.get().checked_sub(1).map(Sequence::new);
    let before = before.map(|before| state.entry(before)).transpose()?;
    let time = last.time;
    let mut newest = [Some(last), before.flatten()].into_iter().flatten();
    let Some(expiry) = newest.find(|entry| entry.kind == EntryKind::LockExpiry) else {
        // Nothing that had fallen due by the last was left: some of it would stand before it.
        return Ok(expiry_key_at(time, LockId::new(0)));
    };
    // The rest of what fell due with it may wait still, behind it.
    let unreadable = |error| LedgerError::row(Table::Entry, &sequence_key(expiry.sequence), error);
    let operation = Operation::from_bytes(expiry.kind, &expiry.cause).map_err(unreadable)?;
    let Operation::Expiry(lock_id) = operation else {
        return Ok(Vec::new());
    };
    let known = lock(state, lock_id)?;
    let known = known.ok_or_else(|| LedgerError::missing(Table::Lock, &lock_key(lock_id)))?;
    Ok(expiry_key(lock_id, &known))
}

fn read_expiry(key: &[u8]) -> Result<(UnixTime, LockId), LedgerError> {
    let mut reader = crate::layout::Reader::new(key);
    let mut number = || reader.array().map(u64::from_be_bytes);
    let parts = number().and_then(|time| Ok((time, number()?)));
    let (returns_at, lock_id) =
        parts.map_err(|error| LedgerError::row(Table::Expiry, key, error))?;
    Ok((UnixTime::from_secs(returns_at), LockId::new(lock_id)))
}

fn same(
    invariant: &'static str,
    about: impl Into<String>,
    left: u128,
    right: u128,
) -> Result<(), CheckError> {
    if left == right {
        return Ok(());
    }
    Err(CheckError::Invariant {
        invariant,
        about: about.into(),
        left,
        right,
    })
}

/// L1: supply is what accounts and locks hold, and within its bound.
fn check_supply(state: &State<'_>) -> Result<(), CheckError> {
    let mut held = 0_u128;
    for any in [
        AccountId::Available(NodeId::from_bytes([0; 32])),
        AccountId::Escrow(LockId::new(0)),
    ] {
        for_each_account(state, &[any.code()], |account, row| {
            let balance = row
                .balance(&account)
                .ok_or(LedgerError::BelowZero { account })?;
            held = held.saturating_add(balance);
            Ok::<(), CheckError>(())
        })?;
    }
    let supply = supply(state)?;
    same("L1", "supply and holdings", supply.get().into(), held)?;
    let within = u128::from(supply <= super::SUPPLY_MAX);
    same("L1", "supply within its bound", within, 1)
}

/// L3, that escrow holds what is left of each lock, and that each open lock will expire. Returns
/// what each party to a lock has in open locks of its own.
fn check_locks(state: &State<'_>) -> Result<BTreeMap<NodeId, u128>, CheckError> {
    let mut open: u128 = 0;
    let mut reserved = BTreeMap::new();
    for_each(state.store(), Table::Lock, &[], |key, value| {
        let lock = EscrowRow::from_bytes(value)
            .map_err(|error| LedgerError::row(Table::Lock, key, error))?;
        let lock_id = LockId::new(key.try_into().map_or(0, u64::from_be_bytes));
        let about = |what: &str| format!("{what} of lock {lock_id}");
        let (claimed, amount) = (lock.claimed.get().into(), lock.amount.get().into());
        same("L3", about("claimed"), claimed, claimed.min(amount))?;
        let worth = lock.receipt_amount.min(lock.amount).get().into();
        same("L3", about("receipts"), claimed, claimed.min(worth))?;
        let escrow = state.balance(&AccountId::Escrow(lock_id))?;
        same("L3", about("escrow"), escrow, lock.left().get().into())?;
        let waits = state.get(Table::Expiry, &expiry_key(lock_id, &lock))?;
        let waits = u128::from(waits.is_some());
        same("L3", about("expiry"), waits, u128::from(!lock.closed))?;
        open = open.saturating_add(waits);
        let sum: &mut u128 = reserved.entry(lock.payer).or_default();
        *sum = sum.saturating_add(lock.left().get().into());
        reserved.entry(lock.payee).or_default();
        Ok::<(), CheckError>(())
    })?;
    let mut waiting: u128 = 0;
    for_each(state.store(), Table::Expiry, &[], |_, _| {
        waiting = waiting.saturating_add(1);
        Ok::<(), CheckError>(())
    })?;
    same("L3", "open locks and expiries", open, waiting)?;
    Ok(reserved)
}

/// L6: every line that can be certified has its entry, and each account's newest line is its
/// newest; that accounts know what they have in locks; and that those have rows that have lines or
/// are party to a lock, and nobody else.
fn check_statements(
    state: &State<'_>,
    reserved: &BTreeMap<NodeId, u128>,
) -> Result<(), CheckError> {
    let mut reserving: u128 = 0;
    for_each(state.store(), Table::Owner, &[], |account, value| {
        let owner = OwnerRow::from_bytes(value)
            .map_err(|error| LedgerError::row(Table::Owner, account, error))?;
        let key = account.try_into().map(NodeId::from_bytes).ok();
        let in_locks = key.and_then(|key| reserved.get(&key)).copied();
        let known = u128::from(owner.reserved.get());
        same("L3", "reserved", known, in_locks.unwrap_or_default())?;
        reserving = reserving.saturating_add(known);
        let mut newest = None;
        for_each(state.store(), Table::Statement, account, |key, value| {
            let row = StatementRow::from_bytes(value)
                .map_err(|error| LedgerError::row(Table::Statement, key, error))?;
            let sequence = key
                .last_chunk()
                .map(|number| Sequence::new(u64::from_be_bytes(*number)))
                .unwrap_or_default();
            if state.entry(sequence)?.is_none() {
                return Err(LedgerError::missing(Table::Entry, &sequence_key(sequence)).into());
            }
            let (said, is) = (row.previous.is_some(), newest.is_some());
            let about = || format!("previous line of {}", crate::hex::encode(key));
            same("L6", about(), said.into(), is.into())?;
            let number = |sequence: Option<Sequence>| sequence.unwrap_or_default().get().into();
            same("L6", about(), number(row.previous), number(newest))?;
            newest = Some(sequence);
            Ok::<(), CheckError>(())
        })?;
        let has_standing = newest.is_some() || in_locks.is_some();
        if newest == owner.newest && has_standing {
            Ok(())
        } else {
            Err(CheckError::Row {
                table: Table::Owner,
                key: crate::hex::encode(account),
            })
        }
    })?;
    for party in reserved.keys() {
        if state.get(Table::Owner, party.as_bytes())?.is_none() {
            return Err(LedgerError::missing(Table::Owner, party.as_bytes()).into());
        }
    }
    let in_locks = reserved
        .values()
        .fold(0, |sum, left| u128::saturating_add(sum, *left));
    same("L3", "all reserved", reserving, in_locks)
}

//! Laws that hold for every history: random orders, claims and waits, made without regard to what
//! would be accepted, on accounts, locks and amounts few enough to collide.

use proptest::prelude::*;
use seedbank_ledger::charts::network::{NetworkLedger, SUPPLY_MAX};
use seedbank_ledger::charts::node::NodeCommand;
use seedbank_ledger::entry::EntryHash;
use seedbank_ledger::ledger::Outcome;
use seedbank_ledger::signed::lock::LockId;
use seedbank_ledger::signed::order::OrderKind;
use seedbank_ledger::statement::Operation;
use seedbank_ledger::store::{Memory, Store, StoreRead, Table};
use seedbank_ledger::{Bytes, Sequence, UnixTime};

use crate::world::{
    START, World, channel, claim, cr, genesis, id, identity, lines, open_network, open_node, order,
    receipt,
};

const ACCOUNTS: u8 = 5;

/// One thing that somebody tries.
#[derive(Clone, Debug)]
pub(crate) enum Try {
    /// An order with the account's next nonce, or an earlier or later one.
    Order {
        account: u8,
        nonce_shift: i8,
        kind: Kind,
    },
    /// A claim on a lock with some receipt.
    Claim {
        lock: u8,
        payer: u8,
        payee: u8,
        bytes: u64,
        amount: u64,
    },
    /// The newest claim again.
    ClaimAgain,
    /// Time passes.
    Wait(u64),
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Transfer(u8, u64),
    OpenLock(u8, u64, u32),
    TopUp(u8, u64, u32),
    CloseLock(u8),
    RotateKey(u8),
    Grant(u8, u64),
    Burn(u64),
}

fn amount() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0..120_u64, 1 => Just(SUPPLY_MAX.get()), 1 => any::<u64>()]
}

fn kind() -> impl Strategy<Value = Kind> {
    let account = || 0..ACCOUNTS + 1;
    let ttl = || prop_oneof![Just(0_u32), 1..20_u32, Just(3_600), any::<u32>()];
    prop_oneof![
        4 => (account(), amount()).prop_map(|(to, amount)| Kind::Transfer(to, amount)),
        6 => (account(), amount(), ttl())
            .prop_map(|(to, amount, ttl)| Kind::OpenLock(to, amount, ttl)),
        3 => (any::<u8>(), amount(), ttl())
            .prop_map(|(lock, amount, ttl)| Kind::TopUp(lock, amount, ttl)),
        3 => any::<u8>().prop_map(Kind::CloseLock),
        1 => account().prop_map(Kind::RotateKey),
        4 => (account(), amount()).prop_map(|(to, amount)| Kind::Grant(to, amount)),
        1 => amount().prop_map(Kind::Burn),
    ]
}

fn attempt() -> impl Strategy<Value = Try> {
    let shift = prop_oneof![18 => Just(0_i8), 1 => Just(-1), 1 => Just(1)];
    let account = || 0..ACCOUNTS;
    prop_oneof![
        12 => (account(), shift, kind()).prop_map(|(account, nonce_shift, kind)| Try::Order {
            account,
            nonce_shift,
            kind
        }),
        8 => (any::<u8>(), account(), account(), 0..50_u64, 0..150_u64).prop_map(
            |(lock, payer, payee, bytes, amount)| Try::Claim { lock, payer, payee, bytes, amount }
        ),
        1 => Just(Try::ClaimAgain),
        3 => prop_oneof![0..30_u64, Just(90_000)].prop_map(Try::Wait),
    ]
}

pub(crate) fn attempts() -> impl Strategy<Value = Vec<Try>> {
    prop::collection::vec(attempt(), 1..60)
}

/// A history in full: when, and what.
pub(crate) type History = Vec<(UnixTime, Operation)>;

/// Tries everything on a network in which each account but the last has 100, checking the rows
/// after each attempt; says what was tried in full.
pub(crate) fn run(tries: &[Try]) -> (World, History) {
    let mut world = World::new();
    let mut history = History::new();
    let mut locks = vec![LockId::new(0)];
    let mut claimed = None;
    for account in 0..ACCOUNTS - 1 {
        let grant = order(0, u64::from(account) + 1, crate::world::grant(account, 100));
        step(&mut world, &mut history, Operation::Order(grant));
    }
    for attempt in tries {
        let pick = |choice: u8| locks[usize::from(choice) % locks.len()];
        match attempt {
            Try::Wait(secs) => world.now = world.now.plus_secs(*secs),
            Try::Order {
                account,
                nonce_shift,
                kind,
            } => {
                // Half of the closes are the payee's; the rest anybody's.
                let account = match kind {
                    Kind::CloseLock(lock) if lock % 2 == 0 => {
                        parties(&world, pick(*lock)).map_or(*account, |(_, payee)| payee)
                    }
                    _ => *account,
                };
                let nonce = world.network.account(&id(account)).unwrap().nonce + 1;
                let nonce = nonce.saturating_add_signed((*nonce_shift).into());
                let order = Operation::Order(order(account, nonce, order_kind(kind, pick)));
                let outcome = step(&mut world, &mut history, order);
                if let (
                    Kind::OpenLock(..),
                    Outcome::Entered {
                        sequence,
                        refusal: None,
                    },
                ) = (kind, outcome)
                {
                    locks.push(LockId::new(sequence.get()));
                }
            }
            Try::Claim {
                lock,
                payer,
                payee,
                bytes,
                amount,
            } => {
                let lock_id = pick(*lock);
                // Half of them by the lock's own parties; the rest by whoever.
                let (payer, payee) = parties(&world, lock_id)
                    .filter(|_| lock % 2 == 0)
                    .unwrap_or((*payer, *payee));
                let channel = channel(&world.network, lock_id, payer, payee);
                let receipt = receipt(&channel, payer, *bytes, *amount);
                let claim = Operation::Claim(claim(lock_id, payee, receipt));
                claimed = Some(claim.clone());
                step(&mut world, &mut history, claim);
            }
            Try::ClaimAgain => {
                if let Some(claim) = claimed.clone() {
                    step(&mut world, &mut history, claim);
                }
            }
        }
    }
    (world, history)
}

fn step(world: &mut World, history: &mut History, operation: Operation) -> Outcome {
    history.push((world.now, operation.clone()));
    world.one(operation)
}

fn parties(world: &World, lock_id: LockId) -> Option<(u8, u8)> {
    let lock = world.network.lock(lock_id).unwrap()?.lock.body;
    let number = |key| (0..=ACCOUNTS).find(|account| id(*account) == key);
    Some((number(lock.payer)?, number(lock.payee)?))
}

fn order_kind(kind: &Kind, pick: impl Fn(u8) -> LockId) -> OrderKind {
    match *kind {
        Kind::Transfer(to, amount) => OrderKind::Transfer {
            to: id(to),
            amount: cr(amount),
        },
        Kind::OpenLock(payee, amount, ttl_secs) => OrderKind::OpenLock {
            payee: id(payee),
            amount: cr(amount),
            ttl_secs,
        },
        Kind::TopUp(lock, amount, ttl_secs) => OrderKind::TopUp {
            lock_id: pick(lock),
            amount: cr(amount),
            ttl_secs,
        },
        Kind::CloseLock(lock) => OrderKind::CloseLock {
            lock_id: pick(lock),
        },
        Kind::RotateKey(to) => OrderKind::RotateKey { to: id(to) },
        Kind::Grant(to, amount) => OrderKind::Grant {
            to: id(to),
            amount: cr(amount),
        },
        Kind::Burn(amount) => OrderKind::Burn { amount: cr(amount) },
    }
}

/// Carries out a history in groups whose sizes come from `sizes` in turn, never across a change of
/// time.
pub(crate) fn replay<S: Store + Clone + 'static>(
    store: S,
    history: &History,
    sizes: &[usize],
) -> NetworkLedger<S> {
    let mut network = NetworkLedger::found(store, genesis(), identity(200), START).unwrap();
    let mut sizes = sizes.iter().copied().cycle();
    let mut rest = history.as_slice();
    while let Some((now, _)) = rest.first() {
        let same_time = rest.iter().take_while(|(time, _)| time == now).count();
        let size = sizes.next().unwrap_or(1).clamp(1, same_time);
        let (group, later) = rest.split_at(size);
        let group: Vec<_> = group
            .iter()
            .map(|(_, operation)| operation.clone())
            .collect();
        network.append(*now, &group).unwrap();
        rest = later;
    }
    network
}

/// Every row of every table, but for the signed heads: there is one for each group.
pub(crate) fn rows(store: &impl StoreRead) -> Vec<(Table, Vec<u8>, Vec<u8>)> {
    let table = |&table: &Table| {
        let rows = store.scan(table, &[], None, usize::MAX).unwrap();
        rows.into_iter()
            .map(move |(key, value)| (table, key, value))
    };
    let ungrouped = |table: &&Table| **table != Table::SignedHead;
    Table::ALL
        .iter()
        .filter(ungrouped)
        .flat_map(table)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48, failure_persistence: None, ..Default::default()
    })]

    /// L5: the same history gives the same bytes, however it is grouped, and replays to itself.
    #[test]
    fn grouping_changes_no_byte(
        tries in attempts(),
        sizes in prop::collection::vec(1..9_usize, 1..5),
    ) {
        let (world, history) = run(&tries);
        let report = world.network.check().unwrap();
        prop_assert_eq!(report.head, world.network.head());
        let grouped = Memory::new();
        replay(grouped.clone(), &history, &sizes).check_invariants().unwrap();
        prop_assert_eq!(rows(&grouped), rows(&world.store));
    }

    /// L1, told from the entries alone: what was granted is what accounts and locks hold.
    #[test]
    fn supply_is_conserved(tries in attempts()) {
        let (world, _) = run(&tries);
        let supply = world.network.supply().unwrap();
        let held: u64 = (0..=ACCOUNTS)
            .map(|account| world.network.account(&id(account)).unwrap())
            .map(|status| status.available.get() + status.reserved.get())
            .sum();
        prop_assert_eq!(supply.total.get(), held);
        prop_assert_eq!(supply.granted, supply.burned + u128::from(held));
    }

    /// A node that copies its lines, in any portions, has what the network says it has; and what it
    /// books of receipts before or after changes none of that.
    #[test]
    fn node_ledgers_agree_with_the_network(
        tries in attempts(),
        portion in 1..7_usize,
        booked in prop::collection::vec((any::<u8>(), 0..50_u64, 0..150_u64), 0..8),
    ) {
        let (mut world, _) = run(&tries);
        for account in 0..=ACCOUNTS {
            let mut ledger = open_node(Memory::new(), account);
            for group in lines(&world.network, account, None).chunks(portion) {
                ledger.append(START, group).unwrap();
                book_some(&world, &mut ledger, account, &booked);
            }
            ledger.check_invariants().unwrap();
            ledger.check().unwrap();
            let balance = ledger.balance().unwrap();
            let status = world.network.account(&id(account)).unwrap();
            prop_assert_eq!(balance.available, status.available);
            let reserved = balance.locked.get() + balance.signed.get();
            prop_assert_eq!(reserved, status.reserved.get());
        }
        world.pass(100_000_000_000);
        for account in 0..=ACCOUNTS {
            let balance = world.node(account).balance().unwrap();
            prop_assert_eq!(balance.total(), Some(balance.available));
        }
    }

    /// What a hostile disk or peer sends is an entry, or an error; never a panic, never two
    /// readings.
    #[test]
    fn entries_have_one_reading(
        tries in attempts(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let (world, _) = run(&tries);
        let entries = world.network.entries(Sequence::ZERO, usize::MAX).unwrap();
        let mut previous = EntryHash::NONE;
        for entry in entries {
            prop_assert_eq!(entry.prev_hash, previous);
            let mut bytes = entry.to_bytes();
            previous = EntryHash::of(&bytes);
            for (index, value) in &flips {
                let at = index.index(bytes.len());
                bytes[at] = *value;
            }
            if let Ok(read) = seedbank_ledger::entry::Entry::from_bytes(&bytes) {
                prop_assert_eq!(read.to_bytes(), bytes);
            }
        }
    }
}

/// The laws above are worth what their histories reach: every kind of entry and every refusal that
/// a well-signed order or claim can meet.
#[test]
fn random_histories_reach_every_rule() {
    use proptest::strategy::ValueTree as _;
    use seedbank_ledger::entry::EntryKind;
    use seedbank_ledger::refusal::Refusal;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut kinds = std::collections::BTreeSet::new();
    let mut refusals = std::collections::BTreeSet::new();
    for _ in 0..80 {
        let tries = attempts().new_tree(&mut runner).unwrap().current();
        let (world, history) = run(&tries);
        for entry in world.network.entries(Sequence::ZERO, usize::MAX).unwrap() {
            if entry.refusal.is_none() {
                kinds.insert(entry.kind);
            }
            refusals.extend(entry.refusal);
        }
        // What left no entry: ask again, at the end.
        let mut network = open_network(world.store.backup());
        for (now, operation) in history {
            let outcome = network.append(now, &[operation]).unwrap().remove(0);
            refusals.extend(outcome.refusal());
        }
    }
    let unreached: Vec<_> = Refusal::ALL
        .iter()
        .copied()
        .filter(|refusal| !refusals.contains(refusal))
        .collect();
    assert_eq!(
        unreached,
        [
            // Signed for another network, badly, or too late: `network.rs` has these.
            Refusal::WrongNetwork,
            Refusal::BadSignature,
            Refusal::Expired,
            // Never of a network ledger, or never entered.
            Refusal::AlreadyDone,
            Refusal::BadCertificate,
            Refusal::OutOfOrder,
            Refusal::LockExhausted,
            // Of a receiver that nobody can be: `network.rs` has it.
            Refusal::BadKey,
        ]
    );
    assert_eq!(kinds.len(), 10, "{kinds:?}");
    assert!(kinds.contains(&EntryKind::LockExpiry));
}

fn book_some(
    world: &World,
    ledger: &mut seedbank_ledger::charts::node::NodeLedger<Memory>,
    account: u8,
    booked: &[(u8, u64, u64)],
) {
    for (choice, bytes, amount) in booked {
        let lock_id = LockId::new(u64::from(*choice) % world.network.head().next.get());
        let Some((payer, payee)) = parties(world, lock_id) else {
            continue;
        };
        let channel = channel(&world.network, lock_id, payer, payee);
        let summary = seedbank_ledger::charts::node::ChannelSummary {
            channel,
            receipt: receipt(&channel, payer, *bytes, *amount),
            lock_amount: cr(u64::from(*choice)),
            served: Bytes::MAX,
            attribution: Vec::new(),
        };
        let write_off = NodeCommand::WriteOff {
            peer: id(account.wrapping_add(1)),
            bytes: Bytes::new(*bytes),
        };
        let summary = NodeCommand::ChannelSummary(Box::new(summary));
        ledger.append(START, &[summary, write_off]).unwrap();
    }
}

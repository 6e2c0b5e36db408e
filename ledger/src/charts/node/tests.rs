//! Tests of `node.rs`.

use super::*;
use crate::identity::Identity;
use crate::refusal::Refusal;
use crate::signed::Body as _;
use crate::signed::channel::ChannelKind;
use crate::signed::order::OrderHash;
use crate::signed::receipt::Receipt;
use crate::store::Memory;

const NOW: UnixTime = UnixTime::from_secs(1_000);

fn identity(number: u8) -> Identity {
    Identity::from_secret([number; 32])
}

fn open(store: &Memory, owner: u8) -> NodeLedger<Memory> {
    NodeLedger::open(store.clone(), identity(owner).id(), None, NOW).unwrap()
}

fn acknowledgement(payer: u8, payee: u8, bytes: u64) -> ChannelSummary {
    let channel = Channel {
        network_id: NetworkId::from_bytes([0; 32]),
        kind: ChannelKind::Acknowledgement,
        payer: identity(payer).id(),
        payee: identity(payee).id(),
    };
    let receipt = Receipt {
        network_id: channel.network_id,
        channel_id: channel.id(),
        bytes: Bytes::new(bytes),
        amount: MicroCredits::ZERO,
    };
    ChannelSummary {
        channel,
        receipt: receipt.sign(&identity(payer)),
        lock_amount: MicroCredits::ZERO,
        served: Bytes::MAX,
        attribution: vec![Attribution {
            subject: [9; 20],
            bytes: Bytes::new(1),
            amount: MicroCredits::ZERO,
        }],
    }
}

fn command(summary: ChannelSummary) -> NodeCommand {
    NodeCommand::ChannelSummary(Box::new(summary))
}

fn one(ledger: &mut NodeLedger<Memory>, command: NodeCommand) -> Outcome {
    ledger.append(NOW, &[command]).unwrap().remove(0)
}

#[test]
fn an_acknowledgement_is_booked_once_and_only_its_growth() {
    let mut ledger = open(&Memory::new(), 1);
    let peer = identity(2).id();
    let first = one(&mut ledger, command(acknowledgement(2, 1, 100)));
    assert!(matches!(first, Outcome::Entered { refusal: None, .. }));
    let again = one(&mut ledger, command(acknowledgement(2, 1, 100)));
    assert!(matches!(again, Outcome::Known { .. }));
    one(&mut ledger, command(acknowledgement(2, 1, 150)));
    one(&mut ledger, command(acknowledgement(1, 2, 7)));
    let unpaid = NodeCommand::WriteOff {
        peer,
        bytes: Bytes::new(3),
    };
    one(&mut ledger, unpaid);
    let bytes = PeerBytes {
        taken: Bytes::new(7),
        given: Bytes::new(150),
        unsigned: Bytes::new(3),
    };
    assert_eq!(ledger.peer_bytes(&peer), Ok(bytes));
    let lines = ledger.explain(UnixTime::ZERO).unwrap().lines;
    let shown: Vec<_> = lines
        .iter()
        .map(|line| (line.reason, line.bytes.get(), line.entry_count))
        .collect();
    assert_eq!(
        shown,
        [
            (BalanceReason::GivenAcknowledged, 150, 2),
            (BalanceReason::TakenAcknowledged, 7, 1),
            (BalanceReason::GivenUnsigned, 3, 1)
        ]
    );
    assert_eq!(ledger.check().unwrap().entry_count, 5);
}

#[test]
fn what_is_not_signed_or_not_mine_is_refused_and_leaves_nothing() {
    let mut ledger = open(&Memory::new(), 1);
    let head = ledger.head();
    let mut forged = acknowledgement(2, 1, 5);
    forged.receipt.body.bytes = Bytes::new(6);
    let mut paid = acknowledgement(2, 1, 5);
    paid.receipt.body.amount = MicroCredits::new(1);
    paid.receipt = paid.receipt.body.sign(&identity(2));
    let mut overdone = acknowledgement(2, 1, 5);
    overdone.attribution[0].bytes = Bytes::new(6);
    let mut lock = acknowledgement(2, 1, 5);
    lock.channel.kind = ChannelKind::Lock(LockId::new(1), OrderHash::from_bytes([2; 32]));
    for (summary, refusal) in [
        (forged, Refusal::BadReceipt),
        (paid, Refusal::BadReceipt),
        (overdone, Refusal::Overflow),
        (lock, Refusal::WrongNetwork),
        (acknowledgement(2, 3, 5), Refusal::NotParty),
        (acknowledgement(1, 1, 5), Refusal::SameParty),
    ] {
        assert_eq!(
            one(&mut ledger, command(summary)),
            Outcome::Refused(refusal)
        );
    }
    assert_eq!(ledger.head(), head);
}

#[test]
fn a_ledger_reopens_where_it_was_and_only_for_its_owner() {
    let store = Memory::new();
    let mut ledger = open(&store, 1);
    one(&mut ledger, command(acknowledgement(2, 1, 100)));
    let head = ledger.head();
    drop(ledger);
    assert_eq!(open(&store, 1).head(), head);
    let other = NodeLedger::open(store, identity(2).id(), None, NOW);
    assert!(matches!(other, Err(OpenError::OtherGenesis { .. })));
}

#[test]
fn a_failed_write_shows_nothing_and_poisons() {
    let store = Memory::new();
    let mut ledger = open(&store, 1);
    let head = ledger.head();
    store.fail_after(0);
    let group = [command(acknowledgement(2, 1, 100))];
    let first = ledger.append(NOW, &group).unwrap_err();
    assert_eq!(ledger.append(NOW, &[]), Err(first));
    assert_eq!(ledger.head(), head);
    assert_eq!(open(&store.backup(), 1).head(), head);
}

#[test]
fn a_changed_row_or_entry_is_found() {
    use crate::store::{Batch, Durability, Store as _, Table};
    let store = Memory::new();
    let mut ledger = open(&store, 1);
    one(&mut ledger, command(acknowledgement(2, 1, 100)));
    one(&mut ledger, command(acknowledgement(1, 2, 100)));
    ledger.check().unwrap();
    for table in [Table::Account, Table::Channel, Table::Entry] {
        let store = store.backup();
        let ledger = open(&store, 1);
        let (key, mut value) = store.scan(table, &[], None, 2).unwrap().remove(1);
        let middle = value.len() / 2;
        value[middle] ^= 1;
        let mut batch = Batch::new();
        batch.put(table, key, value);
        store.write(&batch, Durability::Synced).unwrap();
        assert!(ledger.check().is_err(), "{table} was changed");
    }
}

#[test]
fn a_network_is_joined_once() {
    let store = Memory::new();
    let owner = identity(1).id();
    let mut network = Membership {
        network_id: NetworkId::from_bytes([1; 32]),
        settlement: identity(9).id(),
    };
    drop(open(&store, 1));
    let ledger = NodeLedger::open(store.clone(), owner, Some(network), NOW).unwrap();
    assert_eq!(ledger.membership(), Ok(Some(network)));
    ledger.check().unwrap();
    network.network_id = NetworkId::from_bytes([2; 32]);
    let other = NodeLedger::open(store, owner, Some(network), NOW);
    assert!(matches!(other, Err(OpenError::OtherNetwork { .. })));
}

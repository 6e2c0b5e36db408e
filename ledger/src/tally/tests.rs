//! Tests of `tally.rs`.

use super::*;
use crate::identity::{Identity, NetworkId};
use crate::signed::Body as _;
use crate::signed::channel::ChannelKind;
use crate::signed::lock::{Lock, LockId};
use crate::signed::order::{Order, OrderHash, OrderKind};
use crate::signed::receipt::Receipt;
use crate::store::{Memory, Table};

fn rows() -> Vec<TallyRow> {
    let signer = Identity::from_secret([1; 32]);
    let network_id = NetworkId::from_bytes([7; 32]);
    let payee = NodeId::from_bytes([2; 32]);
    let channel = Channel {
        network_id,
        kind: ChannelKind::Lock(LockId::new(3), OrderHash::from_bytes([4; 32])),
        payer: signer.id(),
        payee,
    };
    let receipt = Receipt {
        network_id,
        channel_id: channel.id(),
        bytes: Bytes::new(4),
        amount: MicroCredits::new(5),
    };
    let lock = Lock {
        network_id,
        lock_id: LockId::new(3),
        opening_order: OrderHash::from_bytes([4; 32]),
        payer: signer.id(),
        payee,
        amount: MicroCredits::new(6),
        expires_at: UnixTime::from_secs(7),
        grace_secs: 8,
    };
    let order = Order {
        network_id,
        account: signer.id(),
        nonce: 1,
        valid_until: UnixTime::from_secs(9),
        kind: OrderKind::CloseLock {
            lock_id: LockId::new(3),
        },
        memo_hash: [0; 32],
    };
    vec![
        TallyRow::Receipt(ChannelRow {
            channel,
            receipt: receipt.sign(&signer),
        }),
        TallyRow::Pair(PairRow {
            peer: payee,
            due: RawCost::new(u128::MAX),
            signed: MicroCredits::new(1),
            paid: MicroCredits::new(2),
            paid_carry: RawCost::new(3),
            paid_bytes: Bytes::new(4),
            lost: Bytes::new(5),
            backoff_level: 6,
            backoff_until: UnixTime::from_secs(7),
        }),
        TallyRow::Lock(LockRow {
            lock: lock.sign(&signer),
            claimed: MicroCredits::new(1),
            closed: false,
            close_asked: true,
        }),
        TallyRow::Order(OrderRow {
            order: order.sign(&signer),
            answered: false,
        }),
        TallyRow::Boost {
            id: 1,
            bytes: Some(vec![1; BOOST_LEN_MAX]),
        },
    ]
}

#[test]
fn rows_load_as_they_were_written() {
    let store = Memory::new();
    let tally = Tally::new(store.clone());
    let rows = rows();
    tally.write(&rows).unwrap();
    tally.write(&rows).unwrap();
    tally.sync().unwrap();
    assert_eq!(Tally::new(store).load(), Ok(rows));
}

#[test]
fn a_removed_boost_is_gone() {
    let tally = Tally::new(Memory::new());
    tally.write(&rows()).unwrap();
    let gone = TallyRow::Boost { id: 1, bytes: None };
    tally.write(&[gone]).unwrap();
    assert_eq!(tally.load().unwrap().len(), 4);
}

#[test]
fn l12_what_is_gone_leaves_no_row() {
    let tally = Tally::new(Memory::new());
    tally.write(&rows()).unwrap();
    let key_of = |row: &TallyRow| match row {
        TallyRow::Receipt(row) => Some(TallyKey::Receipt(row.channel)),
        TallyRow::Pair(row) => Some(TallyKey::Pair(row.peer)),
        TallyRow::Lock(row) => Some(TallyKey::Lock(row.lock.body.lock_id)),
        TallyRow::Order(_) | TallyRow::Boost { .. } | TallyRow::Gone(_) => None,
    };
    let gone: Vec<TallyRow> = rows()
        .iter()
        .filter_map(key_of)
        .map(TallyRow::Gone)
        .collect();
    assert_eq!(gone.len(), 3);
    tally.write(&gone).unwrap();
    let left = tally.load().unwrap();
    assert!(left.iter().all(|row| key_of(row).is_none()), "{left:?}");
    assert_eq!(left.len(), rows().len() - 3);
}

#[test]
fn a_row_under_another_key_or_cut_short_does_not_load() {
    for row in rows() {
        let (table, key) = row.place();
        let value = row.value().unwrap();
        assert_eq!(TallyRow::from_bytes(table, &key, &value), Ok(row));
        assert!(TallyRow::from_bytes(table, b"", &value).is_err());
        if table != Table::TallyBoost {
            for len in 0..value.len() {
                assert!(TallyRow::from_bytes(table, &key, &value[..len]).is_err());
            }
        }
    }
}

#[test]
fn a_pair_with_more_signed_than_due_does_not_load() {
    let row = rows().remove(1);
    let (table, key) = row.place();
    let mut value = row.value().unwrap();
    value[32..48].fill(0);
    assert_eq!(
        TallyRow::from_bytes(table, &key, &value),
        Err(crate::layout::LayoutError::Value {
            field: "signed",
            value: 1
        })
    );
}

//! What lies in stores and files: entries, causes, rows, marks, and the genesis of a network.

use seedbank_ledger::Genesis;
use seedbank_ledger::account::{AccountId, AccountRow};
use seedbank_ledger::charts::network::NetworkChart;
use seedbank_ledger::charts::node::{ChannelSummary, NodeChart};
use seedbank_ledger::entry::{ENTRY_LEN_MAX, Entry, EntryHash, EntryKind};
use seedbank_ledger::genesis::{GENESIS_LEN_MAX, ISSUER_COUNT_MAX, NAME_LEN_MAX};
use seedbank_ledger::ledger::Chart as _;
use seedbank_ledger::mark::MarkSlot;
use seedbank_ledger::statement::LockStatus;

/// Behind one byte that says what: each has one byte string and no other.
pub(crate) fn books(bytes: &[u8]) -> bool {
    let Some((what, rest)) = bytes.split_first() else {
        return false;
    };
    match what {
        0 => entry(rest),
        1 => one_reading(rest, AccountId::from_bytes, AccountId::to_bytes),
        2 => one_reading(rest, AccountRow::from_bytes, AccountRow::to_bytes),
        3 => one_reading(rest, LockStatus::from_bytes, LockStatus::to_bytes),
        4 => one_reading(rest, ChannelSummary::from_bytes, ChannelSummary::to_bytes),
        5 => MarkSlot::newest(rest).is_some(),
        code => EntryKind::from_code(code & 0x0f).is_some_and(|kind| {
            let node = |bytes: &[u8]| NodeChart::decode(kind, bytes);
            let network = |bytes: &[u8]| NetworkChart::decode(kind, bytes);
            one_reading(rest, node, NodeChart::encode)
                | one_reading(rest, network, NetworkChart::encode)
        }),
    }
}

fn one_reading<T, E>(
    bytes: &[u8],
    read: impl Fn(&[u8]) -> Result<T, E>,
    write: impl Fn(&T) -> Vec<u8>,
) -> bool {
    let Ok(value) = read(bytes) else {
        return false;
    };
    assert_eq!(write(&value), bytes);
    true
}

/// An entry's postings balance, and any other byte gives it another hash.
fn entry(bytes: &[u8]) -> bool {
    let Ok(entry) = Entry::from_bytes(bytes) else {
        return false;
    };
    assert_eq!(entry.to_bytes(), bytes);
    assert!(bytes.len() <= ENTRY_LEN_MAX && entry.postings.is_balanced());
    let mut other = bytes.to_vec();
    other[crate::drawn(bytes, bytes.len())] ^= 1;
    assert_ne!(EntryHash::of(&other), EntryHash::of(bytes));
    true
}

/// A genesis file is its exact text; what it says is within the bounds of a network.
pub(crate) fn genesis(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let Ok(genesis) = Genesis::parse(text) else {
        return false;
    };
    assert_eq!(genesis.text, text);
    assert!(text.len() <= GENESIS_LEN_MAX);
    assert_eq!(Genesis::parse(&genesis.text).as_ref(), Ok(&genesis));
    let other = Genesis::parse(&format!("{text}\n")).map(|genesis| genesis.network_id());
    assert!(other != Ok(genesis.network_id()));
    for name in [&genesis.name, &genesis.unit] {
        assert!((1..=NAME_LEN_MAX).contains(&name.len()) && !name.contains(char::is_control));
    }
    assert!((1..=ISSUER_COUNT_MAX).contains(&genesis.issuers.len()));
    let mut keys = genesis.issuers.iter().chain([&genesis.settlement]);
    assert!(keys.all(|key| key.check().is_ok()));
    true
}

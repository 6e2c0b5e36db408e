//! Every decoder: what parses has one byte string and no other, and nothing panics.

use proptest::prelude::*;
use seedbank_ledger::account::{AccountId, AccountRow};
use seedbank_ledger::charts::network::NetworkChart;
use seedbank_ledger::charts::node::{
    Attribution, ChannelSummary, NodeCause, NodeChart, NodeCommand,
};
use seedbank_ledger::entry::{Entry, EntryKind};
use seedbank_ledger::ledger::Chart;
use seedbank_ledger::posting::Postings;
use seedbank_ledger::signed::auth::Auth;
use seedbank_ledger::signed::certificate::Certificate;
use seedbank_ledger::signed::claim::Claim;
use seedbank_ledger::signed::lock::{Lock, LockId};
use seedbank_ledger::signed::order::Order;
use seedbank_ledger::signed::receipt::Receipt;
use seedbank_ledger::signed::{Body, Signed};
use seedbank_ledger::statement::{LockStatus, Operation, StatementLine};
use seedbank_ledger::{Bytes, Genesis, MicroCredits};

use crate::laws::{attempts, run};
use crate::world::{NO_ORDER, channel_of, id, receipt};

fn bytes(len: usize) -> impl Strategy<Value = Vec<u8>> {
    // Small values and zeros are what flags, kinds and unused fields are made of.
    let byte = prop_oneof![4 => any::<u8>(), 3 => Just(0_u8), 3 => 0..18_u8];
    prop::collection::vec(byte, len.saturating_sub(1)..=len.saturating_add(1))
}

/// Whatever parses writes the same bytes.
fn one_reading<T, E>(
    bytes: &[u8],
    read: impl Fn(&[u8]) -> Result<T, E>,
    write: impl Fn(&T) -> Vec<u8>,
) {
    if let Ok(value) = read(bytes) {
        assert_eq!(write(&value), bytes);
    }
}

fn signed<B: Body>(bytes: &[u8]) {
    let exact = bytes.get(..B::LEN + 64).unwrap_or(bytes);
    one_reading(bytes, B::from_bytes, B::to_bytes);
    one_reading(exact, Signed::<B>::from_bytes, Signed::to_bytes);
    let body = bytes.get(..B::LEN).unwrap_or(bytes);
    one_reading(body, B::from_bytes, B::to_bytes);
}

fn kinds() -> impl Iterator<Item = EntryKind> {
    (0..=u8::MAX).filter_map(EntryKind::from_code)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512, failure_persistence: None, ..Default::default()
    })]

    #[test]
    fn garbage_is_an_error_or_reads_back(
        garbage in prop_oneof![
            bytes(32), bytes(144), bytes(229), bytes(280), bytes(600), bytes(2_600)
        ]
    ) {
        signed::<Auth>(&garbage);
        signed::<Receipt>(&garbage);
        signed::<Lock>(&garbage);
        signed::<Order>(&garbage);
        signed::<Claim>(&garbage);
        signed::<Certificate>(&garbage);
        one_reading(&garbage, AccountId::from_bytes, AccountId::to_bytes);
        one_reading(&garbage, AccountRow::from_bytes, AccountRow::to_bytes);
        one_reading(&garbage, Entry::from_bytes, Entry::to_bytes);
        one_reading(&garbage, StatementLine::from_bytes, StatementLine::to_bytes);
        one_reading(&garbage, LockStatus::from_bytes, LockStatus::to_bytes);
        one_reading(&garbage, ChannelSummary::from_bytes, ChannelSummary::to_bytes);
        for kind in kinds() {
            one_reading(&garbage, |bytes| Operation::from_bytes(kind, bytes), Operation::to_bytes);
            one_reading(&garbage, |bytes| NodeChart::decode(kind, bytes), NodeChart::encode);
            one_reading(&garbage, |bytes| NetworkChart::decode(kind, bytes), NetworkChart::encode);
        }
        let mut reader = seedbank_ledger::layout::Reader::new(&garbage);
        if let Ok(postings) = Postings::read(&mut reader) {
            prop_assert!(postings.is_balanced());
        }
    }

    #[test]
    fn a_genesis_text_is_an_error_or_kept(text in "[a-z_ =\"\\[\\]0-9\n#.]{0,200}") {
        if let Ok(genesis) = Genesis::parse(&text) {
            prop_assert_eq!(genesis.text, text);
        }
    }

    #[test]
    fn a_summary_reads_back(
        bytes in any::<u64>(),
        amount in any::<u64>(),
        (lock_amount, served) in any::<(u64, u64)>(),
        shares in prop::collection::vec((any::<[u8; 20]>(), any::<u64>(), any::<u64>()), 0..=64),
    ) {
        let channel = channel_of(LockId::new(amount), NO_ORDER, 1, 2);
        let attribution = shares.into_iter().map(|(subject, bytes, amount)| Attribution {
            subject,
            bytes: Bytes::new(bytes),
            amount: MicroCredits::new(amount),
        });
        let summary = ChannelSummary {
            channel,
            receipt: receipt(&channel, 1, bytes, amount),
            lock_amount: MicroCredits::new(lock_amount),
            served: Bytes::new(served),
            attribution: attribution.collect(),
        };
        prop_assert_eq!(ChannelSummary::from_bytes(&summary.to_bytes()), Ok(summary.clone()));
        let cause = NodeCause::Command(NodeCommand::ChannelSummary(Box::new(summary)));
        let encoded = NodeChart::encode(&cause);
        prop_assert_eq!(NodeChart::decode(NodeChart::kind(&cause), &encoded), Ok(cause));
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 12, failure_persistence: None, ..Default::default()
    })]

    #[test]
    fn lines_and_entries_read_back_and_stay_within_their_bounds(tries in attempts()) {
        let (world, _) = run(&tries);
        for account in 0..6 {
            for line in world.network.statement(&id(account), None, 999).unwrap() {
                let bytes = line.to_bytes();
                prop_assert!(bytes.len() <= StatementLine::LEN_MAX);
                prop_assert_eq!(StatementLine::from_bytes(&bytes), Ok(line));
                for len in 0..bytes.len() {
                    prop_assert!(StatementLine::from_bytes(&bytes[..len]).is_err());
                }
            }
        }
        for entry in world.network.entries(Default::default(), 999).unwrap() {
            prop_assert_eq!(Entry::from_bytes(&entry.to_bytes()), Ok(entry.clone()));
            let cause = world.network.cause(&entry).unwrap();
            prop_assert_eq!(NetworkChart::encode(&cause), entry.cause);
        }
    }
}

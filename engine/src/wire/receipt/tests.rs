//! Receipt messages: there and back, bounded, and strict about what is malformed.

use proptest::prelude::*;
use seedbank_ledger::signed::Signed;
use seedbank_ledger::signed::lock::Lock;
use seedbank_ledger::signed::order::OrderHash;
use seedbank_ledger::signed::receipt::Receipt;
use seedbank_ledger::{NetworkId, UnixTime};

use super::*;
use crate::content::bencode::{Dict, Value};

fn receipts() -> impl Strategy<Value = SignedReceipt> {
    any::<([u8; 32], [u8; 32], u64, u64, u8)>().prop_map(|(network, channel, bytes, amount, s)| {
        Signed {
            body: Receipt {
                network_id: NetworkId::from_bytes(network),
                channel_id: ChannelId::from_bytes(channel),
                bytes: Bytes::new(bytes),
                amount: MicroCredits::new(amount),
            },
            signature: Signature::from_bytes([s; 64]),
        }
    })
}

fn lock(id: u64, amount: u64) -> SignedLock {
    Signed {
        body: Lock {
            network_id: NetworkId::from_bytes([1; 32]),
            lock_id: LockId::new(id),
            opening_order: OrderHash::from_bytes([7; 32]),
            payer: NodeId::from_bytes([2; 32]),
            payee: NodeId::from_bytes([3; 32]),
            amount: MicroCredits::new(amount),
            expires_at: UnixTime::from_secs(4),
            grace_secs: 5,
        },
        signature: Signature::from_bytes([6; 64]),
    }
}

fn quotes() -> impl Strategy<Value = Quote> {
    let rate = prop_oneof![Just(u64::MAX), any::<u64>()].prop_map(Rate::new);
    (0..3, rate, any::<[u64; 2]>()).prop_map(|(state, rate, bytes)| {
        let [window, written_off] = bytes.map(Bytes::new);
        let state = match state {
            0 => return Quote::open(window, written_off),
            1 => QuoteState::Queued,
            _ => QuoteState::Paid,
        };
        Quote {
            state,
            rate,
            window,
            written_off,
        }
    })
}

fn syncs() -> impl Strategy<Value = Vec<SyncEntry>> {
    let receipt = || prop::option::of(receipts());
    let entry = (
        receipt(),
        receipt(),
        prop::option::of(any::<u64>()),
        any::<bool>(),
    );
    prop::collection::btree_map(prop::option::of(any::<u64>()), entry, 0..=24).prop_map(|entries| {
        let entries = entries.into_iter();
        let entries = entries.map(|(id, (held, sent, amount, closed))| SyncEntry {
            lock_id: id.map(LockId::new),
            held,
            sent,
            lock: id.zip(amount).map(|(id, amount)| lock(id, amount)),
            closed: closed && id.is_some(),
        });
        entries.collect()
    })
}

fn messages() -> impl Strategy<Value = ReceiptMessage> {
    let keys = prop::collection::vec(any::<[u8; 32]>(), 0..=16);
    let names = any::<([u8; 32], [u8; 32])>();
    let hello = (any::<(u32, [u8; 16], Option<u64>, u64)>(), names, keys);
    prop_oneof![
        hello.prop_map(|((version, nonce, rate, window), names, keys)| {
            ReceiptMessage::Hello(Hello {
                version,
                nonce,
                node_id: NodeId::from_bytes(names.0),
                network_id: NetworkId::from_bytes(names.1),
                settlement_keys: keys.into_iter().map(NodeId::from_bytes).collect(),
                rate_min: rate.map(Rate::new),
                window: Bytes::new(window),
            })
        }),
        any::<u8>().prop_map(|byte| ReceiptMessage::Auth(Signature::from_bytes([byte; 64]))),
        any::<u64>().prop_map(|rate| ReceiptMessage::Bid(Rate::new(rate))),
        quotes().prop_map(ReceiptMessage::Quote),
        any::<(u64, u64)>().prop_map(|(id, n)| ReceiptMessage::Lock(Box::new(lock(id, n)))),
        receipts().prop_map(ReceiptMessage::Receipt),
        syncs().prop_map(ReceiptMessage::Sync),
        (any::<u64>(), prop::option::of(receipts())).prop_map(|(id, newest)| {
            let lock_id = LockId::new(id);
            ReceiptMessage::Close { lock_id, newest }
        }),
        (any::<u64>(), "[a-zé]{0,70}").prop_map(|(amount, note)| ReceiptMessage::Tip {
            amount: MicroCredits::new(amount),
            note,
        }),
        (0..20_u32, 0..5_u32, prop::option::of(any::<[u8; 32]>())).prop_map(
            |(code, fault, channel)| {
                ReceiptMessage::Error {
                    code: ErrorCode::from_number(code, LockFault::from_number(fault)),
                    channel_id: channel.map(ChannelId::from_bytes),
                }
            }
        ),
    ]
}

proptest! {
    #[test]
    fn decoding_undoes_encoding(message in messages()) {
        let bytes = message.encode();
        prop_assert!(bytes.len() <= MESSAGE_LEN_MAX);
        prop_assert_eq!(ReceiptMessage::decode(&bytes), Ok(message));
    }

    #[test]
    fn a_message_cut_short_or_prolonged_is_refused(
        message in messages(), cut: prop::sample::Index
    ) {
        let bytes = message.encode();
        prop_assert!(ReceiptMessage::decode(&bytes[..cut.index(bytes.len())]).is_err());
        let longer = [&bytes[..], b"e"].concat();
        prop_assert!(ReceiptMessage::decode(&longer).is_err());
    }

    #[test]
    fn a_changed_byte_never_panics(message in messages(), at: prop::sample::Index, byte: u8) {
        let mut bytes = message.encode();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(message) = ReceiptMessage::decode(&bytes) {
            prop_assert_eq!(ReceiptMessage::decode(&message.encode()), Ok(message));
        }
    }

    #[test]
    fn error_codes_keep_their_numbers(number: u32) {
        prop_assert_eq!(ErrorCode::from_number(number, LockFault::Time).number(), number);
        prop_assert_eq!(ErrorCode::from_number(number % 16, LockFault::Time).number(), number % 16);
    }
}

fn field(dict: Dict) -> Option<&'static str> {
    match ReceiptMessage::decode(&dict.encode()) {
        Err(ReceiptMessageError::Field(key)) => Some(key),
        Err(ReceiptMessageError::TooMany { key, .. } | ReceiptMessageError::Layout { key, .. }) => {
            Some(key)
        }
        Ok(_) | Err(_) => None,
    }
}

fn of_type(t: u64) -> Dict {
    Dict::new().with("t", t)
}

#[test]
fn messages_look_as_documented() {
    let bid = ReceiptMessage::Bid(Rate::new(7)).encode();
    assert_eq!(bid, b"d2:rai7e1:ti2ee");
    let open = ReceiptMessage::Quote(Quote::open(Bytes::new(9), Bytes::new(5))).encode();
    assert_eq!(open, b"d2:sti0e1:ti3e2:wii9e2:woi5ee");
    let uncapped = Quote {
        state: QuoteState::Paid,
        rate: Rate::MAX,
        window: Bytes::new(9),
        written_off: Bytes::ZERO,
    };
    let uncapped = ReceiptMessage::Quote(uncapped).encode();
    assert_eq!(uncapped, b"d2:sti2e1:ti3e2:wii9e2:woi0ee");
    let tip = ReceiptMessage::Tip {
        amount: MicroCredits::new(5),
        note: "hi".to_owned(),
    };
    assert_eq!(tip.encode(), b"d2:ami5e2:nt2:hi1:ti8ee");
    let full = lock(u64::MAX, u64::MAX);
    assert_eq!(full.to_bytes().len(), 220);
}

#[test]
fn unknown_types_are_told_from_malformed_ones_and_unknown_keys_ignored() {
    let later = ReceiptMessage::decode(&of_type(77).encode());
    assert_eq!(later, Err(ReceiptMessageError::Type(77)));
    assert_eq!(field(Dict::new()), Some("t"));
    let bid = of_type(2).with("ra", 1_u8).with("zz", Dict::new());
    let expected = ReceiptMessage::Bid(Rate::new(1));
    assert_eq!(ReceiptMessage::decode(&bid.encode()), Ok(expected));
    let long = vec![b'd'; MESSAGE_LEN_MAX + 1];
    let error = ReceiptMessage::decode(&long);
    assert!(matches!(error, Err(ReceiptMessageError::TooLong { .. })));
}

#[test]
fn malformed_fields_are_named() {
    let hello = || {
        of_type(0)
            .with("v", 1_u8)
            .with("no", &[0; 16][..])
            .with("pk", &[0; 32][..])
            .with("net", &[0; 32][..])
            .with("is", Vec::<Value>::new())
            .with("ra", 1_u8)
            .with("wi", 1_u8)
    };
    assert_eq!(field(hello()), None);
    assert_eq!(field(hello().with("ra", -1_i64)), Some("ra"));
    assert_eq!(field(hello().with("v", -1_i64)), Some("v"));
    assert_eq!(field(hello().with("v", u64::MAX)), Some("v"));
    assert_eq!(field(hello().with("no", &[0; 15][..])), Some("no"));
    assert_eq!(field(hello().with("pk", &[0; 31][..])), Some("pk"));
    assert_eq!(field(hello().with("net", &[0; 33][..])), Some("net"));
    assert_eq!(field(hello().with("is", vec![Value::Int(1)])), Some("is"));
    let many = vec![Value::from(&[0; 32][..]); 17];
    assert_eq!(field(hello().with("is", many)), Some("is"));
    assert_eq!(field(of_type(1).with("sg", &[0; 63][..])), Some("sg"));
    assert_eq!(
        field(of_type(2).with("ra", Value::Int(1 << 64))),
        Some("ra")
    );
    assert_eq!(
        field(of_type(3).with("st", 3_u8).with("wi", 1_u8)),
        Some("st")
    );
    assert_eq!(field(of_type(4)), Some("lk"));
    assert_eq!(field(of_type(4).with("lk", &[0; 219][..])), Some("lk"));
    assert_eq!(field(of_type(5).with("rc", &[0; 145][..])), Some("rc"));
    assert_eq!(
        field(of_type(8).with("am", 1_u8).with("nt", &[b'x'; 141][..])),
        Some("nt")
    );
    assert_eq!(
        field(of_type(8).with("am", 1_u8).with("nt", &[0xff][..])),
        Some("nt")
    );
    assert_eq!(
        field(of_type(9).with("er", 1_u8).with("ch", &[0; 31][..])),
        Some("ch")
    );
}

#[test]
fn a_sync_is_bounded_and_consistent() {
    let sync = |entries: Vec<Dict>| {
        let entries: Vec<Value> = entries.into_iter().map(Value::from).collect();
        of_type(6).with("cs", entries)
    };
    let on_lock = |id: u64| Dict::new().with("k", 1_u8).with("id", id);
    let signed = |id| lock(id, 1).to_bytes();
    assert_eq!(field(sync(vec![])), None);
    assert_eq!(field(sync((0..24).map(on_lock).collect())), None);
    assert_eq!(field(sync((0..25).map(on_lock).collect())), Some("cs"));
    assert_eq!(field(sync(vec![on_lock(1), on_lock(1)])), Some("cs"));
    assert_eq!(field(sync(vec![Dict::new().with("k", 2_u8)])), Some("k"));
    assert_eq!(field(sync(vec![Dict::new().with("k", 1_u8)])), Some("id"));
    assert_eq!(field(sync(vec![on_lock(1).with("lk", &*signed(1))])), None);
    assert_eq!(
        field(sync(vec![on_lock(1).with("lk", &*signed(2))])),
        Some("lk")
    );
    let acknowledgement = || Dict::new().with("k", 0_u8);
    assert_eq!(field(sync(vec![acknowledgement()])), None);
    assert_eq!(
        field(sync(vec![acknowledgement().with("cl", 1_u8)])),
        Some("lk")
    );
}

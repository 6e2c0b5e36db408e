//! Bencode: what is refused, what spans are kept, and that decoding undoes encoding.

use proptest::prelude::*;

use super::*;

fn value_of(node: Element<'_>) -> Value {
    if let Some(number) = node.digits() {
        return Value::Int(number.parse().unwrap());
    }
    if let Some(bytes) = node.as_bytes() {
        return bytes.into();
    }
    if let Some(items) = node.items() {
        return Value::List(items.map(value_of).collect());
    }
    let entries = node.entries().expect("there is no fifth kind");
    Value::Dict(entries.fold(Dict::new(), |dict, (key, value)| {
        dict.with(key, value_of(value))
    }))
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Value::Bytes),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            prop::collection::btree_map(prop::collection::vec(any::<u8>(), 0..5), inner, 0..6)
                .prop_map(|entries| Value::Dict(Dict(entries))),
        ]
    })
}

/// Bytes that look like bencode often enough to get past the first byte.
fn almost() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(
        prop_oneof![prop::sample::select(&b"dlie0123456789:-a"[..]), any::<u8>()],
        0..60,
    )
}

/// Walks everything a caller can reach.
fn walk(node: Element<'_>) -> usize {
    let _ = (node.as_i64(), node.as_u64(), node.as_str(), node.get("a"));
    let inside: usize = node.items().into_iter().flatten().map(walk).sum();
    let entries = node.entries().into_iter().flatten();
    1 + inside + entries.map(|(_, value)| walk(value)).sum::<usize>()
}

proptest! {
    #[test]
    fn decoding_undoes_encoding(value in values()) {
        let bytes = value.encode();
        let document = decode(&bytes, &DecodeLimits::MESSAGE).unwrap();
        prop_assert_eq!(document.root().raw(), &bytes[..]);
        prop_assert_eq!(value_of(document.root()), value);
    }

    #[test]
    fn every_prefix_of_a_value_is_truncated(value in values()) {
        let bytes = value.encode();
        for len in 0..bytes.len() {
            let result = decode(&bytes[..len], &DecodeLimits::MESSAGE);
            let cut = matches!(
                result,
                Err(DecodeError::Truncated { .. } | DecodeError::StringLength { .. })
            );
            prop_assert!(cut, "{:?}", result);
        }
    }

    #[test]
    fn garbage_never_panics(bytes in almost()) {
        if let Ok(document) = decode_prefix(&bytes, &DecodeLimits::MESSAGE) {
            walk(document.root());
            let whole = [document.root().raw(), document.rest()].concat();
            prop_assert_eq!(whole, bytes);
        }
    }
}

#[test]
fn deep_nesting_is_refused_without_recursion() {
    for open in ["l", "d1:a"] {
        let bytes = open.repeat(200_000);
        let result = decode(bytes.as_bytes(), &DecodeLimits::METAINFO);
        assert!(matches!(result, Err(DecodeError::Depth { max: 100, .. })));
    }
    let bytes = ["l".repeat(200_000), "e".repeat(200_000)].concat();
    let lax = DecodeLimits {
        depth_max: usize::MAX,
        tokens_max: usize::MAX,
    };
    assert!(decode(bytes.as_bytes(), &lax).is_ok());
}

#[test]
fn tokens_are_bounded() {
    let bytes = format!("l{}e", "le".repeat(16));
    let limits = |tokens_max| DecodeLimits {
        depth_max: 2,
        tokens_max,
    };
    assert!(decode(bytes.as_bytes(), &limits(17)).is_ok());
    let result = decode(bytes.as_bytes(), &limits(16));
    assert_eq!(result.unwrap_err(), DecodeError::Tokens { max: 16 });
}

#[test]
fn malformed_values_are_refused() {
    for bad in [
        "",
        "i",
        "ie",
        "i-e",
        "i-0e",
        "i00e",
        "i03e",
        "i-03e",
        "i1",
        "i1x",
        "i+1e",
        "i 1e",
        "1",
        "1:",
        "01:a",
        "00:",
        "-1:a",
        "1a",
        "2:a",
        "l",
        "d",
        "e",
        "x",
        "d1:ae",
        "di1ei2ee",
        "dlelee",
        "ddelee",
        "99999999999999999999:",
        "99999999999999999999:a",
        "i1ei2e",
        "lee",
        "d1:a1:be1",
    ] {
        assert!(
            decode(bad.as_bytes(), &DecodeLimits::MESSAGE).is_err(),
            "{bad}"
        );
    }
}

#[test]
fn unsorted_and_repeated_keys_are_read_and_the_first_wins() {
    let document = decode(b"d1:bi1e1:ai2e1:bi3ee", &DecodeLimits::MESSAGE).unwrap();
    assert_eq!(document.root().get("b").unwrap().as_i64(), Some(1));
    assert_eq!(document.root().get("a").unwrap().as_i64(), Some(2));
    assert!(document.root().get("c").is_none());
}

#[test]
fn integers_past_64_bits_are_integers_without_a_value() {
    let bytes = b"li99999999999999999999ei-9223372036854775809ei18446744073709551615ee";
    let document = decode(bytes, &DecodeLimits::MESSAGE).unwrap();
    let items: Vec<_> = document.root().items().unwrap().collect();
    assert!(items.iter().all(Element::is_int));
    assert_eq!(items[0].as_u64(), None);
    assert_eq!(items[1].as_i64(), None);
    assert_eq!(items[2].as_u64(), Some(u64::MAX));
    assert_eq!(items[2].as_i64(), None);
}

#[test]
fn spans_are_exact_inside_nested_values() {
    let document =
        decode_prefix(b"d4:infod1:xli1e2:abee1:yi7eeREST", &DecodeLimits::MESSAGE).unwrap();
    let info = document.root().get("info").unwrap();
    assert_eq!(info.raw(), b"d1:xli1e2:abee");
    assert_eq!(document.root().get("y").unwrap().as_u64(), Some(7));
    assert_eq!(document.rest(), b"REST");
}

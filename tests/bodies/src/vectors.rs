//! The vectors of `tests/vectors`, as bytes.

use serde_json::Value;

/// One file of vectors.
pub(crate) fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("vectors are JSON")
}

/// Every field `name` of the list `list`, of those with this verdict.
pub(crate) fn with_verdict<'a>(file: &'a Value, list: &str, verdict: &str) -> Vec<&'a Value> {
    let found = file[list].as_array().expect("a list of vectors").iter();
    found.filter(|one| one["verdict"] == verdict).collect()
}

/// A field that is hex.
pub(crate) fn bytes(vector: &Value, field: &str) -> Vec<u8> {
    hex::decode(vector[field].as_str().unwrap_or_default()).expect("hex")
}

/// The same, of `N` bytes.
pub(crate) fn array<const N: usize>(vector: &Value, field: &str) -> [u8; N] {
    bytes(vector, field)
        .try_into()
        .expect("a field of this length")
}

pub(crate) const LINE: &str = include_str!("../../vectors/line.json");
pub(crate) const LINK: &str = include_str!("../../vectors/link.json");
pub(crate) const MESSAGES: &str = include_str!("../../vectors/messages.json");
pub(crate) const OFFERS: &str = include_str!("../../vectors/offers.json");
pub(crate) const GENESIS: &str = include_str!("../../vectors/genesis.json");
pub(crate) const BOOKING: &str = include_str!("../../vectors/booking.json");

/// The files of the nine signed objects, by the order of `signed::OBJECTS`.
pub(crate) const SIGNED: [&str; 9] = [
    include_str!("../../vectors/answer.json"),
    include_str!("../../vectors/auth.json"),
    include_str!("../../vectors/cert.json"),
    include_str!("../../vectors/claim.json"),
    include_str!("../../vectors/head.json"),
    include_str!("../../vectors/lock.json"),
    include_str!("../../vectors/order.json"),
    include_str!("../../vectors/read.json"),
    include_str!("../../vectors/receipt.json"),
];

//! The nine signed objects: one byte string each, and no byte of it is anybody's but the signer's.

use std::sync::LazyLock;

use seedbank_ledger::signed::answer::AnswerSeal;
use seedbank_ledger::signed::auth::Auth;
use seedbank_ledger::signed::certificate::Certificate;
use seedbank_ledger::signed::claim::Claim;
use seedbank_ledger::signed::head::LedgerHead;
use seedbank_ledger::signed::lock::Lock;
use seedbank_ledger::signed::order::Order;
use seedbank_ledger::signed::read::ReadRequest;
use seedbank_ledger::signed::receipt::Receipt;
use seedbank_ledger::signed::{Body, Signed};
use seedbank_ledger::{Identity, NodeId};

use crate::vectors;

/// What is done with the bytes of one kind of object.
type Judge = fn(&[u8], &[u8]) -> bool;

const OBJECTS: [Judge; 9] = [
    judge::<AnswerSeal>,
    judge::<Auth>,
    judge::<Certificate>,
    judge::<Claim>,
    judge::<LedgerHead>,
    judge::<Lock>,
    judge::<Order>,
    judge::<ReadRequest>,
    judge::<Receipt>,
];

static SIGNER: LazyLock<(NodeId, [Vec<u8>; 9])> = LazyLock::new(|| {
    let identity = Identity::from_secret([0x51; 32]);
    let bodies = vectors::SIGNED.map(|file| {
        let file = vectors::parsed(file);
        vectors::bytes(vectors::with_verdict(&file, "vectors", "valid")[0], "body")
    });
    let [a, b, c, d, e, f, g, h, i] = bodies.each_ref();
    let signed = [
        sign::<AnswerSeal>(a, &identity),
        sign::<Auth>(b, &identity),
        sign::<Certificate>(c, &identity),
        sign::<Claim>(d, &identity),
        sign::<LedgerHead>(e, &identity),
        sign::<Lock>(f, &identity),
        sign::<Order>(g, &identity),
        sign::<ReadRequest>(h, &identity),
        sign::<Receipt>(i, &identity),
    ];
    (identity.id(), signed)
});

fn sign<B: Body>(body: &[u8], by: &Identity) -> Vec<u8> {
    let body = B::from_bytes(body).expect("a valid vector");
    body.sign(by).to_bytes()
}

/// Which object, and from 128 on, changes of a genuine one: two bytes for where, one for what is
/// flipped there. Else the bytes are the object.
pub(crate) fn signed(bytes: &[u8]) -> bool {
    let Some((which, rest)) = bytes.split_first() else {
        return false;
    };
    let kind = usize::from(which & 0x7f) % OBJECTS.len();
    let genuine = &SIGNER.1[kind];
    match which & 0x80 {
        0 => OBJECTS[kind](rest, genuine),
        _ => OBJECTS[kind](&edited(genuine, rest), genuine),
    }
}

/// `bytes` with some of its bits flipped: by three bytes of `edits` each, where and which.
pub(crate) fn edited(bytes: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for [high, low, bits] in edits.as_chunks().0 {
        let at = usize::from(u16::from_be_bytes([*high, *low])) % bytes.len();
        bytes[at] ^= bits;
    }
    bytes
}

/// What parses has one byte string, and is the signer's only if it is the genuine one.
fn judge<B: Body>(bytes: &[u8], genuine: &[u8]) -> bool {
    let Ok(signed) = Signed::<B>::from_bytes(bytes) else {
        assert_ne!(bytes, genuine);
        let body = bytes.get(..B::LEN).unwrap_or(bytes);
        return B::from_bytes(body).is_ok_and(|read| read.to_bytes() == body);
    };
    assert_eq!(signed.to_bytes(), bytes);
    assert_eq!(signed.body.signing_bytes().len(), 16 + B::LEN);
    assert_eq!(signed.verify(&SIGNER.0).is_ok(), bytes == genuine);
    true
}

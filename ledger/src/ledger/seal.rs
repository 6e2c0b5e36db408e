//! An entry becomes bytes, and a group becomes a batch: what both must be before they are written.

use super::{Chart, HEAD_KEY, Head};
use crate::entry::{ENTRY_LEN_MAX, Entry, EntryHash};
use crate::posting::Postings;
use crate::refusal::Refusal;
use crate::signed::head::{LedgerHead, SignedHead};
use crate::state::{Row as _, sequence_key};
use crate::store::{Batch, Table};
use crate::time::UnixTime;

/// The bytes of the entry that follows `head`.
pub(super) fn seal<C: Chart>(
    head: Head,
    time: UnixTime,
    cause: &C::Cause,
    refusal: Option<Refusal>,
    postings: Postings,
) -> Vec<u8> {
    assert!(time >= head.time, "ledger time never goes back");
    let entry = Entry {
        sequence: head.next,
        time,
        prev_hash: head.hash,
        kind: C::kind(cause),
        refusal,
        cause: C::encode(cause),
        postings,
    };
    let read = C::decode(entry.kind, &entry.cause);
    assert_eq!(
        read.as_ref(),
        Ok(cause),
        "a cause reads back as it is entered"
    );
    let bytes = entry.to_bytes();
    assert!(bytes.len() <= ENTRY_LEN_MAX, "an entry fits its bound");
    assert_eq!(
        Entry::from_bytes(&bytes),
        Ok(entry),
        "an entry reads back as it is written"
    );
    bytes
}

/// Asserts, before a group is written, that the batch holds its entries and its head, signed if it
/// is to be, and no others. O(batch).
pub(super) fn assert_batch(
    batch: &Batch,
    (before, head): (Head, Head),
    signed: Option<LedgerHead>,
) {
    let mut next = before.next;
    for (table, key, value) in batch.iter() {
        if table == Table::Entry {
            assert_eq!(
                key,
                sequence_key(next),
                "entries follow the head without a gap"
            );
            assert!(value.is_some(), "no entry is taken away");
            next = next.next();
        }
    }
    assert_eq!(next, head.next, "the head ends where the entries end");
    let written = batch.change(Table::Meta, HEAD_KEY).flatten();
    assert_eq!(
        written.map(Head::from_bytes),
        Some(Ok(head)),
        "the head written is the head computed"
    );
    let written = batch.change(Table::SignedHead, &sequence_key(head.next));
    let written = written
        .flatten()
        .map(|bytes| SignedHead::from_bytes(bytes).map(|signed| signed.body));
    assert_eq!(
        written,
        signed.map(Ok),
        "the head signed is the head computed"
    );
    let last = sequence_key(head.last().expect("an entry was made"));
    let last = batch.change(Table::Entry, &last).flatten();
    assert_eq!(
        last.map(EntryHash::of),
        Some(head.hash),
        "the head names the last entry"
    );
}

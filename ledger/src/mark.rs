//! The high-water mark of a network ledger: its newest signed head, kept outside its store.
//!
//! A store's log can lose acknowledged entries without a word: a damaged write-ahead log is cut off
//! where the damage begins. So a file of two slots, each with a checksum, says how far the ledger
//! went and how far its clock. A slot is written over while the other one stands: whatever a crash
//! leaves of it, the mark is the new one or the one before, and as the store is synced first, the
//! ledger goes as far. This file knows bytes; the node reads and writes them.

use std::fmt;

use crate::clock::ClockState;
use crate::layout::{LayoutError, Reader, Writer};
use crate::signed::Body as _;
use crate::signed::head::{LedgerHead, SignedHead};
use crate::store::StoreError;

/// Bytes of a slot.
pub const SLOT_LEN: usize =
    TAG.len() + 8 + LedgerHead::LEN + SIGNATURE_LEN + ClockState::LEN + CHECKSUM_LEN;

/// Where the second slot begins, so that no write to one touches a block of the other.
pub const SLOT_STRIDE: usize = 4_096;

/// Bytes of the file, all of them written when it is made.
pub const FILE_LEN: usize = 2 * SLOT_STRIDE;

const TAG: &[u8; 8] = b"sb1/mark";
const SIGNATURE_LEN: usize = 64;
const CHECKSUM_LEN: usize = 32;

const _: () = assert!(SLOT_LEN < SLOT_STRIDE, "a slot fits its place");

/// Keeps the end of a network ledger where the ledger's own store cannot lose it.
pub trait HighWater: fmt::Debug + Send {
    /// Makes `head` durable. Called after the group is synced and before it is answered; an error
    /// ends the ledger.
    fn raise(&mut self, head: &SignedHead) -> Result<(), StoreError>;
}

/// What is kept of a network ledger outside its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What was acknowledged.
    pub head: SignedHead,
    /// Settlement time.
    pub clock: ClockState,
}

/// A mark as it lies in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkSlot {
    /// One more than that of the mark before; even ones lie in the first slot.
    generation: u64,
    /// The mark.
    pub mark: Mark,
}

impl MarkSlot {
    /// The first mark of a file.
    pub fn first(mark: Mark) -> Self {
        let generation = 0;
        Self { generation, mark }
    }

    /// What to write over the older slot, now that `mark` holds.
    #[must_use]
    pub fn followed_by(&self, mark: Mark) -> Self {
        let generation = self.generation.saturating_add(1);
        Self { generation, mark }
    }

    /// The newest mark of a file; `None` if neither slot holds one.
    pub fn newest(file: &[u8]) -> Option<Self> {
        let slots = file.chunks(SLOT_STRIDE).take(2);
        let slots = slots.filter_map(|slot| Self::from_bytes(slot.get(..SLOT_LEN)?).ok());
        slots.max_by_key(|slot| slot.generation)
    }

    /// Where in the file it goes.
    pub fn offset(&self) -> usize {
        if self.generation.is_multiple_of(2) {
            0
        } else {
            SLOT_STRIDE
        }
    }

    /// Its bytes, [`SLOT_LEN`] of them.
    pub fn to_bytes(&self) -> Vec<u8> {
        let out = Writer::new().bytes(TAG).u64(self.generation);
        let out = self.mark.clock.write(self.mark.head.write(out));
        let body = out.finish();
        let checksum = blake3::hash(&body);
        let bytes = Writer::new().bytes(&body).bytes(checksum.as_bytes());
        let bytes = bytes.finish();
        assert_eq!(bytes.len(), SLOT_LEN, "a slot has one length");
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        let unsound = |field| LayoutError::Value { field, value: 0 };
        let (body, checksum) = bytes
            .split_last_chunk::<CHECKSUM_LEN>()
            .ok_or_else(|| unsound("slot"))?;
        if blake3::hash(body).as_bytes() != checksum {
            return Err(unsound("checksum"));
        }
        let mut reader = Reader::new(body);
        if reader.array()? != *TAG {
            return Err(unsound("tag"));
        }
        let slot = Self {
            generation: reader.u64()?,
            mark: Mark {
                head: SignedHead::read(&mut reader)?,
                clock: ClockState::read(&mut reader)?,
            },
        };
        reader.end()?;
        Ok(slot)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::entry::EntryHash;
    use crate::identity::{Identity, NetworkId};
    use crate::time::UnixTime;

    fn mark(size: u64) -> Mark {
        let head = LedgerHead {
            network_id: NetworkId::from_bytes([7; 32]),
            size,
            entry_hash: EntryHash::of(&size.to_le_bytes()),
            time: UnixTime::from_secs(1_000 + size),
        };
        Mark {
            head: head.sign(&Identity::from_secret([1; 32])),
            clock: ClockState::starting_at(head.time),
        }
    }

    /// A file in which each of the marks was written in turn, and the newest of them.
    fn written(count: u64) -> (Vec<u8>, MarkSlot) {
        let mut file = vec![0; FILE_LEN];
        let mut slot = MarkSlot::first(mark(1));
        write(&mut file, &slot);
        for size in 2..=count {
            slot = slot.followed_by(mark(size));
            write(&mut file, &slot);
        }
        (file, slot)
    }

    fn write(file: &mut [u8], slot: &MarkSlot) {
        let from = slot.offset();
        file[from..from + SLOT_LEN].copy_from_slice(&slot.to_bytes());
    }

    #[test]
    fn the_newest_mark_is_read_back() {
        for count in 1..6 {
            let (file, slot) = written(count);
            assert_eq!(MarkSlot::newest(&file), Some(slot));
        }
        assert_eq!(MarkSlot::newest(&[0; FILE_LEN]), None);
        assert_eq!(MarkSlot::newest(&[]), None);
    }

    #[test]
    fn a_mark_that_goes_back_by_consent_is_the_newest_all_the_same() {
        let (mut file, slot) = written(9);
        let less = slot.followed_by(mark(2));
        write(&mut file, &less);
        assert_eq!(MarkSlot::newest(&file), Some(less));
    }

    proptest! {
        /// A write that was torn anywhere, in whatever order its bytes reached the disk, leaves the
        /// mark before it or is whole.
        #[test]
        fn a_torn_write_leaves_the_mark_before(
            count in 1..5_u64,
            kept in prop::collection::vec(any::<bool>(), SLOT_LEN),
        ) {
            let (mut file, before) = written(count);
            let next = before.followed_by(mark(count + 1));
            let place = next.offset()..next.offset() + SLOT_LEN;
            let bytes = next.to_bytes().into_iter().zip(kept);
            for (to, (from, kept)) in file[place.clone()].iter_mut().zip(bytes) {
                if kept {
                    *to = from;
                }
            }
            let is_whole = file[place] == next.to_bytes();
            let expected = if is_whole { next } else { before };
            prop_assert_eq!(MarkSlot::newest(&file), Some(expected));
        }

        /// No flipped bit makes another mark: the one before it stands, or the same.
        #[test]
        fn a_flipped_bit_invents_nothing(count in 2..5_u64, bit in 0..FILE_LEN * 8) {
            let (mut file, newest) = written(count);
            file[bit / 8] ^= 1 << (bit % 8);
            let found = MarkSlot::newest(&file).unwrap();
            let known = [mark(count), mark(count - 1)];
            prop_assert!(known.contains(&found.mark));
            let in_newest = (newest.offset()..newest.offset() + SLOT_LEN).contains(&(bit / 8));
            prop_assert_eq!(found == newest, !in_newest);
        }

        /// Any bytes at all are no mark.
        #[test]
        fn noise_is_no_mark(noise in prop::collection::vec(any::<u8>(), 0..FILE_LEN + 9)) {
            prop_assert_eq!(MarkSlot::newest(&noise), None);
        }
    }
}

//! Transaction ids of announces (BEP 15): all that tells a tracker's answer from a forged one.

use seedbank_ledger::Identity;

/// Numbers that nobody can guess who does not have this node's key, another row at every start.
pub(crate) struct TransactionIds {
    key: [u8; 32],
    drawn_count: u64,
}

impl TransactionIds {
    /// `salt` is another number at every start.
    pub(crate) fn new(identity: &Identity, salt: u64) -> Self {
        let mut message = b"sb1/transactions".to_vec();
        message.extend_from_slice(&salt.to_le_bytes());
        // A signature that is never sent, over a tag of its own.
        let secret = identity.sign(&message);
        Self {
            key: blake3::derive_key("seedbank v1 transaction ids", secret.as_bytes()),
            drawn_count: 0,
        }
    }

    /// The next number.
    pub(crate) fn draw(&mut self) -> u32 {
        self.drawn_count += 1;
        let hash = blake3::keyed_hash(&self.key, &self.drawn_count.to_le_bytes());
        let front = hash.as_bytes().first_chunk();
        u32::from_le_bytes(*front.expect("a hash is longer than 4 bytes"))
    }
}

impl std::fmt::Debug for TransactionIds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransactionIds").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn row(secret: u8, salt: u64) -> Vec<u32> {
        let mut ids = TransactionIds::new(&Identity::from_secret([secret; 32]), salt);
        (0..100).map(|_| ids.draw()).collect()
    }

    #[test]
    fn rows_differ_by_key_and_start_and_repeat_for_both() {
        assert_eq!(row(1, 1), row(1, 1));
        assert_ne!(row(1, 1), row(2, 1));
        assert_ne!(row(1, 1), row(1, 2));
        let distinct: BTreeSet<u32> = row(1, 1).into_iter().collect();
        assert_eq!(distinct.len(), 100);
    }
}

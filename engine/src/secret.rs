//! Numbers that nobody can guess who does not have this node's key, and that tell nobody of each
//! other. What may be guessed is drawn by `rng`.

use seedbank_ledger::Identity;

/// A row of them: another for every purpose, and at every start.
pub(crate) struct SecretDraws {
    key: [u8; 32],
    drawn_count: u64,
}

impl SecretDraws {
    /// The row of a purpose, which goes with a tag of its own; `salt` is another number at every
    /// start.
    pub(crate) fn new(identity: &Identity, tag: [u8; 16], purpose: &str, salt: u64) -> Self {
        // Of the key itself, not of a signature: what is drawn is the same by whatever scheme.
        let mut material = identity.secret().to_vec();
        material.extend_from_slice(&tag);
        material.extend_from_slice(&salt.to_le_bytes());
        Self {
            key: blake3::derive_key(purpose, &material),
            drawn_count: 0,
        }
    }

    /// The next one.
    pub(crate) fn draw(&mut self) -> [u8; 32] {
        self.drawn_count += 1;
        *blake3::keyed_hash(&self.key, &self.drawn_count.to_le_bytes()).as_bytes()
    }
}

impl std::fmt::Debug for SecretDraws {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretDraws").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn row(secret: u8, tag: &[u8; 16], salt: u64) -> Vec<[u8; 32]> {
        let identity = Identity::from_secret([secret; 32]);
        let mut draws = SecretDraws::new(&identity, *tag, "seedbank v1 test", salt);
        (0..100).map(|_| draws.draw()).collect()
    }

    #[test]
    fn rows_differ_by_key_purpose_and_start_and_repeat_for_all_three() {
        let tags = [b"sb1/transactions", b"sb1/something000"];
        assert_eq!(row(1, tags[0], 1), row(1, tags[0], 1));
        assert_ne!(row(1, tags[0], 1), row(2, tags[0], 1));
        assert_ne!(row(1, tags[0], 1), row(1, tags[1], 1));
        assert_ne!(row(1, tags[0], 1), row(1, tags[0], 2));
        let distinct: BTreeSet<[u8; 32]> = row(1, tags[0], 1).into_iter().collect();
        assert_eq!(distinct.len(), 100);
    }
}

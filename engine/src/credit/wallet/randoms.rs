//! What makes each question another one, so that no answer to an earlier one fits it.

use seedbank_ledger::Identity;

/// 16 bytes for each question, which nobody without the key can foresee.
#[derive(Clone)]
pub(super) struct Randoms {
    key: [u8; 32],
    drawn_count: u64,
}

impl Randoms {
    /// `salt` is another number at every start.
    pub(super) fn new(identity: &Identity, salt: u64) -> Self {
        let mut message = b"sb1/randoms\0\0\0\0\0".to_vec();
        message.extend_from_slice(&salt.to_le_bytes());
        // A signature that is never sent, over a tag of its own.
        let secret = identity.sign(&message);
        Self {
            key: blake3::derive_key("seedbank v1 question randoms", secret.as_bytes()),
            drawn_count: 0,
        }
    }

    /// The next ones.
    pub(super) fn draw(&mut self) -> [u8; 16] {
        self.drawn_count += 1;
        let hash = blake3::keyed_hash(&self.key, &self.drawn_count.to_le_bytes());
        let front = hash.as_bytes().first_chunk();
        *front.expect("a hash is longer than 16 bytes")
    }
}

impl std::fmt::Debug for Randoms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Randoms({})", self.drawn_count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_start_and_question_has_its_own() {
        let [one, other] = [1, 2].map(|secret| Identity::from_secret([secret; 32]));
        let mut first = Randoms::new(&one, 7);
        let mut drawn = vec![first.draw(), first.draw()];
        drawn.push(Randoms::new(&one, 8).draw());
        drawn.push(Randoms::new(&other, 7).draw());
        for (at, random) in drawn.iter().enumerate() {
            assert!(!drawn[..at].contains(random));
        }
        assert_eq!(Randoms::new(&one, 7).draw(), drawn[0], "a run replays");
    }
}

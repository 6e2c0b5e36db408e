//! Signatures that a world counts instead of making: what they cost a real node is known
//! (docs/FIGURES.md), and a simulated swarm would spend its time on little else.
//!
//! Names are the same under both (docs/adr/0005-signature-scheme.md), so that a run with counted
//! signatures takes the decisions of one with real ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use seedbank_ledger::identity::{Ed25519, SecretKey, SignatureError, SignatureScheme};
use seedbank_ledger::{NodeId, Signature};

/// How the nodes of a world sign. All of one world sign alike, or they do not believe each other.
#[derive(Clone, Debug, Default)]
pub enum Signatures {
    /// By Ed25519, as every real node does.
    #[default]
    Real,
    /// By a keyed hash that anybody could make, and counted.
    Counted(Arc<SignatureCount>),
}

/// A scheme that counts: a signature is BLAKE3 of the message, keyed with the public key.
#[derive(Debug, Default)]
pub struct SignatureCount {
    signed: AtomicU64,
    verified: AtomicU64,
}

impl Signatures {
    /// Counted, from zero.
    pub fn counted() -> Self {
        Self::Counted(Arc::default())
    }

    /// The scheme itself.
    pub fn scheme(&self) -> Arc<dyn SignatureScheme> {
        match self {
            Self::Real => Arc::new(Ed25519),
            Self::Counted(count) => Arc::clone(count) as Arc<dyn SignatureScheme>,
        }
    }
}

impl SignatureCount {
    /// Signatures made so far.
    pub fn signed(&self) -> u64 {
        self.signed.load(Ordering::Relaxed)
    }

    /// Signatures checked so far.
    pub fn verified(&self) -> u64 {
        self.verified.load(Ordering::Relaxed)
    }
}

impl SignatureScheme for SignatureCount {
    fn sign(&self, key: &SecretKey, message: &[u8]) -> Signature {
        self.signed.fetch_add(1, Ordering::Relaxed);
        keyed_hash(&key.id(), message)
    }

    fn verify(
        &self,
        key: &NodeId,
        message: &[u8],
        signature: &Signature,
    ) -> Result<(), SignatureError> {
        self.verified.fetch_add(1, Ordering::Relaxed);
        match keyed_hash(key, message) == *signature {
            true => Ok(()),
            false => Err(SignatureError::Mismatch(*key)),
        }
    }
}

fn keyed_hash(key: &NodeId, message: &[u8]) -> Signature {
    let mut bytes = [0; 64];
    let hash = blake3::keyed_hash(key.as_bytes(), message);
    bytes[..32].copy_from_slice(hash.as_bytes());
    Signature::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spread::Spread;

    #[test]
    fn a_swarm_that_counts_its_signatures_does_what_one_that_makes_them_does() {
        let spread = |signatures| Spread {
            leecher_count: 5,
            total_len: 4 << 20,
            piece_len: 64 << 10,
            signatures,
            ..Spread::default()
        };
        let count = Arc::new(SignatureCount::default());
        let counted = spread(Signatures::Counted(Arc::clone(&count))).run();
        assert_eq!(counted, spread(Signatures::Real).run());
        assert!(counted.is_ok());
        assert!(count.signed() > 0);
        assert!(count.verified() > 0);
    }
}

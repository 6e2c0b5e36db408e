//! How a key signs and a signature is checked: Ed25519, and the seam for a simulator's own way.
//!
//! Verifying is what a simulated swarm would spend its time on, so a simulator may sign with
//! something cheap and count. Nothing but [`Ed25519`] is ever used in a node: see
//! docs/adr/0005-signature-scheme.md.

use std::fmt;

use ed25519_dalek::{Signer as _, SigningKey};

use crate::identity::{NodeId, Signature, SignatureError};

/// A way to sign and to verify.
///
/// A scheme decides about signatures and not about names: a key is an Ed25519 key under every
/// scheme, so that the same secrets give the same accounts, genesis file and order of peers.
pub trait SignatureScheme: fmt::Debug + Send + Sync {
    /// Signs `message`. Deterministic: signatures stand in stored and certified bytes.
    fn sign(&self, key: &SecretKey, message: &[u8]) -> Signature;

    /// Checks that `signature` over `message` is `key`'s.
    fn verify(
        &self,
        key: &NodeId,
        message: &[u8],
        signature: &Signature,
    ) -> Result<(), SignatureError>;
}

/// RFC 8032, with strict verification: the scheme of every node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ed25519;

impl SignatureScheme for Ed25519 {
    fn sign(&self, key: &SecretKey, message: &[u8]) -> Signature {
        Signature(key.key.sign(message).to_bytes())
    }

    fn verify(
        &self,
        key: &NodeId,
        message: &[u8],
        signature: &Signature,
    ) -> Result<(), SignatureError> {
        key.verify(message, signature)
    }
}

/// A secret key and its public half, as a scheme is handed it. Zeroised when dropped.
pub struct SecretKey {
    key: SigningKey,
    id: NodeId,
}

impl SecretKey {
    /// From the 32 secret bytes of RFC 8032 §5.1.5.
    pub(super) fn new(secret: [u8; 32]) -> Self {
        let key = SigningKey::from_bytes(&secret);
        let id = NodeId(key.verifying_key().to_bytes());
        Self { key, id }
    }

    /// The public half.
    pub fn id(&self) -> NodeId {
        self.id
    }

    pub(super) fn to_bytes(&self) -> [u8; 32] {
        self.key.to_bytes()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({:?})", self.id)
    }
}

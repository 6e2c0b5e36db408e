//! Keys, signatures and who somebody is: Ed25519 with strict verification (RFC 8032).
//!
//! A node is its public key. Signed bytes are always a 16-byte tag followed by a fixed body, made
//! by the objects in `signed/`; nothing here knows what they mean. `identity/scheme.rs` is the seam
//! at which a simulator may sign otherwise.

mod scheme;

use std::fmt;
use std::sync::Arc;

use ed25519_dalek::VerifyingKey;

pub use scheme::{Ed25519, SecretKey, SignatureScheme};

/// A 32-byte value shown as lower-case hex.
macro_rules! hex_array {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name([u8; $len]);

        /// By bytes, as the derived order would be; of most pairs the first word decides.
        impl Ord for $name {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                let front = |of: &Self| of.0.first_chunk().copied().map(u64::from_be_bytes);
                front(self).cmp(&front(other)).then_with(|| self.0.cmp(&other.0))
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl $name {
            /// From raw bytes.
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The raw bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// From lower- or upper-case hex of exactly the right length.
            pub fn from_hex(text: &str) -> Option<Self> {
                crate::hex::decode(text).map(Self)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                crate::hex::write(f, &self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}(", stringify!($name))?;
                let front = self.0.first_chunk::<4>().expect("a hash is longer than 4 bytes");
                crate::hex::write(f, front)?;
                f.write_str("…)")
            }
        }
    };
}
pub(crate) use hex_array;

hex_array! {
    /// A node's Ed25519 public key: its name in every receipt, lock and account.
    NodeId, 32
}
hex_array! {
    /// BLAKE3 of a network's genesis file: which community's credit this is.
    NetworkId, 32
}
hex_array! {
    /// A 64-byte Ed25519 signature.
    Signature, 64
}

/// Why a signature was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The key is no point of the curve, or one of small order.
    #[error("{0} is not a usable Ed25519 key")]
    Key(NodeId),
    /// The signature does not match, or is malleable or of small order.
    #[error("signature by {0} does not match")]
    Mismatch(NodeId),
}

impl NodeId {
    /// Checks that this is a key that somebody can hold: a canonical point of the curve, not of
    /// small order. No secret makes any other, so what such a key is given is gone; asked of every
    /// receiver, at the edges and by the network ledger.
    pub fn check(&self) -> Result<(), SignatureError> {
        self.point().map(|_| ())
    }

    /// Checks `signature` over `message` by RFC 8032 with the strict rules of `verify_strict`:
    /// no small-order key, no small-order R, canonical scalars. 31 µs. This is [`Ed25519`] itself;
    /// a state machine asks the scheme that it was given.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), SignatureError> {
        let key = self.point()?;
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        key.verify_strict(message, &signature)
            .map_err(|_| SignatureError::Mismatch(*self))
    }

    fn point(&self) -> Result<VerifyingKey, SignatureError> {
        match VerifyingKey::from_bytes(&self.0) {
            Ok(key) if !key.is_weak() && self.is_canonical() => Ok(key),
            Ok(_) | Err(_) => Err(SignatureError::Key(*self)),
        }
    }

    /// Whether the y coordinate is below 2²⁵⁵ − 19. Libraries differ on keys that are not, and a
    /// ledger must not depend on the library.
    fn is_canonical(&self) -> bool {
        let [first, middle @ .., last] = &self.0;
        let is_past_the_prime =
            *first >= 0xed && last & 0x7f == 0x7f && middle.iter().all(|byte| *byte == 0xff);
        !is_past_the_prime
    }
}

/// A node's signing key, and the scheme by which it signs and believes others. Zeroised when
/// dropped; never printed.
pub struct Identity {
    key: SecretKey,
    scheme: Arc<dyn SignatureScheme>,
}

impl Identity {
    /// From the 32 secret bytes of RFC 8032 §5.1.5, which the caller draws or loads. Signs and
    /// verifies by [`Ed25519`].
    pub fn from_secret(secret: [u8; 32]) -> Self {
        Self {
            key: SecretKey::new(secret),
            scheme: Arc::new(Ed25519),
        }
    }

    /// The same key under another scheme; for simulators and tests only, and clippy refuses it
    /// elsewhere (docs/adr/0005-signature-scheme.md).
    pub fn with_scheme(secret: [u8; 32], scheme: Arc<dyn SignatureScheme>) -> Self {
        Self {
            key: SecretKey::new(secret),
            scheme,
        }
    }

    /// The public half.
    pub fn id(&self) -> NodeId {
        self.key.id()
    }

    /// The secret bytes, for the key file and for keys that are derived from them, and nothing
    /// else.
    pub fn secret(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// The scheme by which whoever holds this identity checks what others signed.
    pub fn scheme(&self) -> &dyn SignatureScheme {
        self.scheme.as_ref()
    }

    /// The same scheme, for a state machine of this identity's that verifies and does not sign.
    pub fn share_scheme(&self) -> Arc<dyn SignatureScheme> {
        Arc::clone(&self.scheme)
    }

    /// Signs `message`. By Ed25519 deterministic (RFC 8032) and 13 µs.
    pub fn sign(&self, message: &[u8]) -> Signature {
        self.scheme.sign(&self.key, message)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({:?}, {:?})", self.id(), self.scheme)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_has_one_key() {
        // y = 3 is a point of large order; p + 3 is the same y, written past the prime.
        let mut canonical = [0; 32];
        canonical[0] = 3;
        let mut past_prime = [0xff; 32];
        past_prime[0] = 0xed + 3;
        past_prime[31] = 0x7f;
        assert_eq!(NodeId::from_bytes(canonical).check(), Ok(()));
        let key = NodeId::from_bytes(past_prime);
        assert_eq!(key.check(), Err(SignatureError::Key(key)));
    }

    /// All points of small order (the orders 1, 2, 4, 4, 8, 8, 8, 8), the other ways to write those
    /// of them that have any, and y = 2, which no point has.
    #[test]
    fn a_key_that_nobody_can_hold_is_refused_however_it_is_written() {
        let order_8 = [
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        ];
        let mut keys: Vec<NodeId> = order_8
            .iter()
            .filter_map(|key| NodeId::from_hex(key))
            .collect();
        assert_eq!(keys.len(), order_8.len());
        let written = |first: u8, middle: u8, last: u8| {
            let mut key = [middle; 32];
            (key[0], key[31]) = (first, last);
            NodeId::from_bytes(key)
        };
        for sign in [0x00, 0x80] {
            keys.extend([0, 1, 2].map(|y| written(y, 0, sign)));
            // y = p − 1 is canonical, p and p + 1 are 0 and 1 once more.
            keys.extend([0xec, 0xed, 0xee].map(|y| written(y, 0xff, 0x7f | sign)));
        }
        for key in keys {
            assert_eq!(key.check(), Err(SignatureError::Key(key)));
        }
        assert_eq!(Identity::from_secret([1; 32]).id().check(), Ok(()));
    }
}

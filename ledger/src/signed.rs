//! The nine signed objects of docs/PROTOCOL.md §2, their canonical bytes and their signatures.
//!
//! Signed bytes are a 16-byte zero-padded ASCII tag followed by a fixed little-endian body: no
//! protobuf, no JSON, no floats, no info hash. Each object has a file below; `channel.rs` names the
//! channel a receipt belongs to.

pub mod answer;
pub mod auth;
pub mod certificate;
pub mod channel;
pub mod claim;
pub mod head;
pub mod lock;
pub mod order;
pub mod read;
pub mod receipt;

use crate::identity::{Ed25519, Identity, NodeId, Signature, SignatureError, SignatureScheme};
use crate::layout::{LayoutError, Reader, Writer};

/// A body with one canonical byte string, signed under a tag of its own.
pub trait Body: Sized {
    /// ASCII tag, at most 16 bytes; zero-padded in front of the body.
    const TAG: &'static str;
    /// Length of the body in bytes.
    const LEN: usize;

    /// Appends the body's fields.
    fn write(&self, out: Writer) -> Writer;

    /// Reads the body's fields.
    fn read(from: &mut Reader<'_>) -> Result<Self, LayoutError>;

    /// The body alone, [`Self::LEN`] bytes.
    fn to_bytes(&self) -> Vec<u8> {
        let bytes = self.write(Writer::new()).finish();
        assert_eq!(
            bytes.len(),
            Self::LEN,
            "a {} body has one length",
            Self::TAG
        );
        bytes
    }

    /// Parses a body of exactly [`Self::LEN`] bytes.
    fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut reader = Reader::new(bytes);
        let body = Self::read(&mut reader)?;
        reader.end()?;
        Ok(body)
    }

    /// The exact bytes that are signed: tag and body.
    fn signing_bytes(&self) -> Vec<u8> {
        let mut tag = [0; 16];
        tag.iter_mut()
            .zip(Self::TAG.bytes())
            .for_each(|(to, from)| *to = from);
        self.write(Writer::new().bytes(&tag)).finish()
    }

    /// Signs this body.
    fn sign(self, by: &Identity) -> Signed<Self> {
        let signature = by.sign(&self.signing_bytes());
        Signed {
            body: self,
            signature,
        }
    }
}

/// A body and a signature over it, which nothing has checked until [`Signed::verify`] or
/// [`Signed::verify_by`] says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed<B> {
    /// What is signed.
    pub body: B,
    /// The signature over [`Body::signing_bytes`].
    pub signature: Signature,
}

impl<B: Body> Signed<B> {
    /// Checks the signature strictly by [`Ed25519`], as `by`'s. 31 µs.
    pub fn verify(&self, by: &NodeId) -> Result<(), SignatureError> {
        self.verify_by(&Ed25519, by)
    }

    /// Checks the signature by `scheme`, as `by`'s: for state machines, each of which was given its
    /// scheme with its identity or when it was opened.
    pub fn verify_by(
        &self,
        scheme: &dyn SignatureScheme,
        by: &NodeId,
    ) -> Result<(), SignatureError> {
        scheme.verify(by, &self.body.signing_bytes(), &self.signature)
    }

    /// Body and signature, `LEN + 64` bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.write(Writer::new()).finish()
    }

    /// Appends body and signature.
    pub fn write(&self, out: Writer) -> Writer {
        self.body.write(out).bytes(self.signature.as_bytes())
    }

    /// Parses exactly `LEN + 64` bytes; the signature is not checked.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut reader = Reader::new(bytes);
        let signed = Self::read(&mut reader)?;
        reader.end()?;
        Ok(signed)
    }

    /// Reads body and signature; the signature is not checked.
    pub fn read(from: &mut Reader<'_>) -> Result<Self, LayoutError> {
        let body = B::read(from)?;
        let signature = Signature::from_bytes(from.array()?);
        Ok(Self { body, signature })
    }
}

//! A settlement node's word for an answer: whoever carries it can delay it and nothing else.

use crate::identity::{NetworkId, hex_array};
use crate::layout::{LayoutError, Reader, Writer};
use crate::signed::{Body, Signed};

hex_array! {
    /// BLAKE3 of a request's bytes, the 16 random ones in it included.
    RequestHash, 32
}

hex_array! {
    /// BLAKE3 of an answer's bytes.
    AnswerHash, 32
}

/// The body a settlement node signs beside each answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerSeal {
    /// Which network's ledger answers.
    pub network_id: NetworkId,
    /// To what.
    pub request_hash: RequestHash,
    /// 0, or in a watch 0, 1, 2… without gaps.
    pub index: u64,
    /// What is answered.
    pub answer_hash: AnswerHash,
}

/// A seal with the settlement node's signature.
pub type SignedAnswer = Signed<AnswerSeal>;

impl Body for AnswerSeal {
    const TAG: &'static str = "sb1/answer";
    const LEN: usize = 104;

    fn write(&self, out: Writer) -> Writer {
        out.bytes(self.network_id.as_bytes())
            .bytes(self.request_hash.as_bytes())
            .u64(self.index)
            .bytes(self.answer_hash.as_bytes())
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, LayoutError> {
        Ok(Self {
            network_id: NetworkId::from_bytes(from.array()?),
            request_hash: RequestHash::from_bytes(from.array()?),
            index: from.u64()?,
            answer_hash: AnswerHash::from_bytes(from.array()?),
        })
    }
}

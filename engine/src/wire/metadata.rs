//! `ut_metadata` (BEP 9): the `info` dictionary in pieces of 16 KiB, for those who have a magnet.

use crate::content::bencode::{self, DecodeError, Dict};
use crate::content::metainfo::INFO_LEN_MAX;

/// Bytes in every metadata piece but the last.
pub const METADATA_PIECE_LEN: u32 = 16 * 1024;

/// One `ut_metadata` message. Pieces are as the peer counts them: check them against the size that
/// was agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataMessage {
    /// The sender asks for a piece.
    Request {
        /// Which, from 0.
        piece: u32,
    },
    /// A piece.
    Data {
        /// Which, from 0.
        piece: u32,
        /// Bytes of all pieces, 1 to 10 MiB; the sender's claim.
        total_size: u32,
        /// Its bytes, 1 to 16 KiB; they follow the dictionary.
        data: Vec<u8>,
    },
    /// The sender does not give a piece.
    Reject {
        /// Which, from 0.
        piece: u32,
    },
}

/// Why a payload is no `ut_metadata` message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// Not bencoded.
    #[error("ut_metadata message {0}")]
    Bencode(#[from] DecodeError),
    /// A key is missing or holds a value out of range.
    #[error("ut_metadata message has no usable {0:?}")]
    Field(&'static str),
    /// The piece has no bytes or too many.
    #[error("ut_metadata message has {len} bytes of data, 1 to {METADATA_PIECE_LEN} expected")]
    DataLength {
        /// Bytes found.
        len: usize,
    },
}

const REQUEST: u8 = 0;
const DATA: u8 = 1;
const REJECT: u8 = 2;

impl MetadataMessage {
    /// The payload to send under the peer's id.
    pub fn encode(&self) -> Vec<u8> {
        let dict = |kind: u8, piece: &u32| Dict::new().with("msg_type", kind).with("piece", *piece);
        match self {
            Self::Request { piece } => dict(REQUEST, piece).encode(),
            Self::Reject { piece } => dict(REJECT, piece).encode(),
            Self::Data {
                piece,
                total_size,
                data,
            } => {
                let dict = dict(DATA, piece).with("total_size", *total_size);
                [dict.encode(), data.clone()].concat()
            }
        }
    }

    /// Reads a payload. `None` for a message type that we do not know, which BEP 9 wants ignored.
    pub fn decode(payload: &[u8]) -> Result<Option<Self>, MetadataError> {
        let document = bencode::decode_prefix(payload, &bencode::DecodeLimits::MESSAGE)?;
        let root = document.root();
        let number = |key| {
            let value = root.get(key).and_then(|value| value.as_u64());
            value.ok_or(MetadataError::Field(key))
        };
        let kind = number("msg_type")?;
        let piece = u32::try_from(number("piece")?);
        let piece = piece.map_err(|_| MetadataError::Field("piece"))?;
        Ok(match u8::try_from(kind) {
            Ok(REQUEST) => Some(Self::Request { piece }),
            Ok(REJECT) => Some(Self::Reject { piece }),
            Ok(DATA) => {
                let total_size = u32::try_from(number("total_size")?)
                    .ok()
                    .filter(|size| (1..=INFO_LEN_MAX).contains(size))
                    .ok_or(MetadataError::Field("total_size"))?;
                Some(Self::Data {
                    piece,
                    total_size,
                    data: data(document.rest())?,
                })
            }
            _ => None,
        })
    }
}

/// Number of metadata pieces of an `info` dictionary of so many bytes.
pub fn metadata_piece_count(total_size: u32) -> u32 {
    total_size.div_ceil(METADATA_PIECE_LEN)
}

/// Bytes of one metadata piece; `None` past the end.
pub fn metadata_piece_len(total_size: u32, piece: u32) -> Option<u32> {
    let begin = piece.checked_mul(METADATA_PIECE_LEN)?;
    let left = total_size.checked_sub(begin)?;
    (left > 0).then(|| left.min(METADATA_PIECE_LEN))
}

fn data(bytes: &[u8]) -> Result<Vec<u8>, MetadataError> {
    match u32::try_from(bytes.len()) {
        Ok(1..=METADATA_PIECE_LEN) => Ok(bytes.to_vec()),
        _ => Err(MetadataError::DataLength { len: bytes.len() }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_are_those_of_bep_9() {
        let request = MetadataMessage::Request { piece: 3 };
        assert_eq!(request.encode(), b"d8:msg_typei0e5:piecei3ee");
        let data = MetadataMessage::Data {
            piece: 0,
            total_size: 34_256,
            data: b"dd".to_vec(),
        };
        assert_eq!(
            data.encode(),
            b"d8:msg_typei1e5:piecei0e10:total_sizei34256eedd"
        );
        let reject = MetadataMessage::Reject { piece: u32::MAX };
        for message in [request, data, reject] {
            assert_eq!(
                MetadataMessage::decode(&message.encode()),
                Ok(Some(message))
            );
        }
    }

    #[test]
    fn malformed_messages_are_refused_and_unknown_ones_ignored() {
        for payload in [
            &b""[..],
            b"le",
            b"de",
            b"d8:msg_typei0ee",
            b"d8:msg_typei0e5:piecei-1ee",
            b"d8:msg_typei0e5:piecei4294967296ee",
            b"d8:msg_typei1e5:piecei0eexx",
            b"d8:msg_typei1e5:piecei0e10:total_sizei0eexx",
            b"d8:msg_typei1e5:piecei0e10:total_sizei99999999999eexx",
            b"d8:msg_typei1e5:piecei0e10:total_sizei5ee",
        ] {
            assert!(MetadataMessage::decode(payload).is_err(), "{payload:?}");
        }
        let long = [
            &b"d8:msg_typei1e5:piecei0e10:total_sizei5ee"[..],
            &[0; 16_385],
        ]
        .concat();
        let error = MetadataMessage::decode(&long);
        assert_eq!(error, Err(MetadataError::DataLength { len: 16_385 }));
        for kind in [3_u64, 256, u64::MAX] {
            let payload = format!("d8:msg_typei{kind}e5:piecei0ee");
            assert_eq!(MetadataMessage::decode(payload.as_bytes()), Ok(None));
        }
    }

    #[test]
    fn the_last_metadata_piece_may_be_short() {
        assert_eq!(metadata_piece_count(16_385), 2);
        assert_eq!(metadata_piece_len(16_385, 0), Some(16_384));
        assert_eq!(metadata_piece_len(16_385, 1), Some(1));
        assert_eq!(metadata_piece_len(16_384, 1), None);
        assert_eq!(metadata_piece_len(16_384, u32::MAX), None);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes: Vec<u8>) {
            let _ = MetadataMessage::decode(&bytes);
        }
    }
}

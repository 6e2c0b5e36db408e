//! The 68 bytes that open a connection (BEP 3), with the reserved bits of BEP 4.

use crate::units::{ClientId, InfoHash};

/// Bytes of a handshake.
pub const HANDSHAKE_LEN: usize = 68;

/// A parsed handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// Which torrent.
    pub info_hash: InfoHash,
    /// The sender's self-chosen name.
    pub client_id: ClientId,
    /// Bit 20: the extension protocol (BEP 10).
    pub extended: bool,
    /// Bit 2: the Fast Extension (BEP 6).
    pub fast: bool,
}

const PROTOCOL: &[u8; 19] = b"BitTorrent protocol";
const EXTENDED_BYTE: usize = 5;
const EXTENDED_BIT: u8 = 0x10;
const FAST_BYTE: usize = 7;
const FAST_BIT: u8 = 0x04;

/// Why 68 bytes are not a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// Another protocol, or an encrypted connection.
    #[error("the first 20 bytes are not those of BitTorrent")]
    Protocol,
}

impl Handshake {
    /// The bytes to send.
    pub fn encode(&self) -> [u8; HANDSHAKE_LEN] {
        let mut reserved = [0; 8];
        if self.extended {
            reserved[EXTENDED_BYTE] |= EXTENDED_BIT;
        }
        if self.fast {
            reserved[FAST_BYTE] |= FAST_BIT;
        }
        let mut bytes = [0; HANDSHAKE_LEN];
        bytes[0] = 19;
        bytes[1..20].copy_from_slice(PROTOCOL);
        bytes[20..28].copy_from_slice(&reserved);
        bytes[28..48].copy_from_slice(&self.info_hash.0);
        bytes[48..].copy_from_slice(&self.client_id.0);
        bytes
    }

    /// Reads a handshake; reserved bits that we do not know are ignored.
    pub fn decode(bytes: &[u8; HANDSHAKE_LEN]) -> Result<Self, HandshakeError> {
        if bytes[0] != 19 || bytes[1..20] != *PROTOCOL {
            return Err(HandshakeError::Protocol);
        }
        let array = |at: usize| -> [u8; 20] {
            bytes[at..at + 20]
                .try_into()
                .expect("a slice of 20 is an array of 20")
        };
        Ok(Self {
            info_hash: InfoHash(array(28)),
            client_id: ClientId(array(48)),
            extended: bytes[20 + EXTENDED_BYTE] & EXTENDED_BIT != 0,
            fast: bytes[20 + FAST_BYTE] & FAST_BIT != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn decoding_undoes_encoding(
            info_hash: [u8; 20], client_id: [u8; 20], extended: bool, fast: bool
        ) {
            let handshake = Handshake {
                info_hash: InfoHash(info_hash),
                client_id: ClientId(client_id),
                extended,
                fast,
            };
            prop_assert_eq!(Handshake::decode(&handshake.encode()), Ok(handshake));
        }
    }

    #[test]
    fn unknown_reserved_bits_are_ignored() {
        let mut bytes = [0xff; HANDSHAKE_LEN];
        bytes[..20].copy_from_slice(b"\x13BitTorrent protocol");
        let handshake = Handshake::decode(&bytes).unwrap();
        assert!(handshake.extended && handshake.fast);
        bytes[20..28].copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xef, 0xff, 0xfb]);
        let handshake = Handshake::decode(&bytes).unwrap();
        assert!(!handshake.extended && !handshake.fast);
    }

    #[test]
    fn the_bits_are_those_of_bep_4() {
        let handshake = Handshake {
            info_hash: InfoHash([1; 20]),
            client_id: ClientId([2; 20]),
            extended: true,
            fast: true,
        };
        let expected = format!(
            "13{}{}{}{}",
            hex::encode("BitTorrent protocol"),
            "0000000000100004",
            "01".repeat(20),
            "02".repeat(20)
        );
        assert_eq!(hex::encode(handshake.encode()), expected);
    }

    #[test]
    fn another_protocol_is_refused() {
        let bytes = [0x13; HANDSHAKE_LEN];
        assert_eq!(Handshake::decode(&bytes), Err(HandshakeError::Protocol));
    }
}

//! The extended handshake (BEP 10), with `upload_only` (BEP 21) and the `Sb_receipt` dictionary.
//!
//! It is read leniently: what is missing, of another type or out of range is as if it were not
//! there, because clients differ and none of it decides anything by itself.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::content::bencode::{self, DecodeError, Dict, Element, Value};
use crate::content::metainfo::INFO_LEN_MAX;
use crate::text::printable;

/// The id of the extended handshake itself.
pub const HANDSHAKE_ID: u8 = 0;
/// Under which id others send us `ut_metadata` messages (BEP 9).
pub const UT_METADATA_ID: u8 = 1;
/// Under which id others send us `Sb_receipt` messages (docs/PROTOCOL.md).
pub const RECEIPT_ID: u8 = 2;
/// Name of the metadata extension (BEP 9).
pub const UT_METADATA: &str = "ut_metadata";
/// Name of the receipt protocol, in `m` and at the top level.
pub const RECEIPT: &str = "Sb_receipt";
/// The version of the receipt protocol that we speak.
pub const RECEIPT_VERSION: u32 = 1;

const NAMES_MAX: usize = 64;
const NAME_LEN_MAX: usize = 64;
const CLIENT_CHARS_MAX: usize = 64;

/// What a peer says of itself. Sent again it adds to what was said: [`Self::merge`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtendedHandshake {
    /// `m`: under which id the sender takes which extension; 0 is an extension switched off. At
    /// most 64.
    pub extensions: BTreeMap<String, u8>,
    /// `v`: what the sender calls itself, made printable and at most 64 characters; its own claim.
    pub client: Option<String>,
    /// `p`: the port on which the sender listens.
    pub port: Option<u16>,
    /// `reqq`: requests that the sender keeps without dropping any.
    pub request_queue: Option<u32>,
    /// `yourip`: our address as the sender sees it; a hint at best.
    pub your_ip: Option<IpAddr>,
    /// `metadata_size`: bytes of the `info` dictionary, 1 to 10 MiB; a claim until it is verified.
    pub metadata_size: Option<u32>,
    /// `upload_only` (BEP 21): the sender wants nothing.
    pub upload_only: Option<bool>,
    /// `Sb_receipt`: the sender speaks the receipt protocol.
    pub receipt: Option<ReceiptOffer>,
}

/// The top-level `Sb_receipt` dictionary: an offer to exchange receipts. Whose, HELLO says to those
/// who take it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiptOffer {
    /// `v`: version of the protocol.
    pub version: u32,
}

impl ExtendedHandshake {
    /// The payload to send under id 0.
    pub fn encode(&self) -> Vec<u8> {
        let names = self.extensions.iter();
        let m = names.fold(Dict::new(), |m, (name, id)| m.with(name, *id));
        let receipt = self
            .receipt
            .map(|offer| Dict::new().with("v", offer.version));
        let your_ip = self.your_ip.map(|ip| match ip {
            IpAddr::V4(ip) => Value::from(&ip.octets()[..]),
            IpAddr::V6(ip) => Value::from(&ip.octets()[..]),
        });
        Dict::new()
            .with("m", m)
            .with_some("v", self.client.as_deref())
            .with_some("p", self.port)
            .with_some("reqq", self.request_queue)
            .with_some("yourip", your_ip)
            .with_some("metadata_size", self.metadata_size)
            .with_some("upload_only", self.upload_only.map(u8::from))
            .with_some(RECEIPT, receipt)
            .encode()
    }

    /// Reads a payload sent under id 0. Only what is no bencoded dictionary at all is an error;
    /// bytes behind the dictionary are ignored.
    pub fn decode(payload: &[u8]) -> Result<Self, ExtendedError> {
        let document = bencode::decode_prefix(payload, &bencode::DecodeLimits::MESSAGE)?;
        let root = document.root();
        if root.entries().is_none() {
            return Err(ExtendedError::NotADictionary);
        }
        let number = |key| root.get(key).and_then(|value| value.as_u64());
        let text = |key| root.get(key).and_then(|value| value.as_bytes());
        Ok(Self {
            extensions: root.get("m").map(extensions).unwrap_or_default(),
            client: text("v").map(|bytes| printable(bytes, CLIENT_CHARS_MAX)),
            port: number("p")
                .and_then(|port| u16::try_from(port).ok())
                .filter(|port| *port != 0),
            request_queue: number("reqq").map(|count| u32::try_from(count).unwrap_or(u32::MAX)),
            your_ip: text("yourip").and_then(address),
            metadata_size: number("metadata_size")
                .and_then(|size| u32::try_from(size).ok())
                .filter(|size| (1..=INFO_LEN_MAX).contains(size)),
            upload_only: root
                .get("upload_only")
                .filter(Element::is_int)
                .map(|value| value.as_i64() != Some(0)),
            receipt: root.get(RECEIPT).and_then(offer),
        })
    }

    /// The id under which the sender takes an extension; `None` if it does not, or no longer does.
    pub fn id_of(&self, name: &str) -> Option<u8> {
        self.extensions.get(name).copied().filter(|id| *id != 0)
    }

    /// Adds what a later handshake of the same peer says. Entries it does not repeat stay, id 0
    /// switches an extension off.
    pub fn merge(&mut self, later: Self) {
        for (name, id) in later.extensions {
            if self.extensions.len() < NAMES_MAX || self.extensions.contains_key(&name) {
                self.extensions.insert(name, id);
            }
        }
        self.client = later.client.or(self.client.take());
        self.port = later.port.or(self.port);
        self.request_queue = later.request_queue.or(self.request_queue);
        self.your_ip = later.your_ip.or(self.your_ip);
        self.metadata_size = later.metadata_size.or(self.metadata_size);
        self.upload_only = later.upload_only.or(self.upload_only);
        self.receipt = later.receipt.or(self.receipt);
    }
}

/// Why a payload is no extended handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExtendedError {
    /// Not bencoded.
    #[error("extended handshake {0}")]
    Bencode(#[from] DecodeError),
    /// Some other value.
    #[error("extended handshake is no dictionary")]
    NotADictionary,
}

fn extensions(m: Element<'_>) -> BTreeMap<String, u8> {
    let mut extensions = BTreeMap::new();
    for (name, id) in m.entries().into_iter().flatten() {
        let name = std::str::from_utf8(name).ok();
        let id = id.as_u64().and_then(|id| u8::try_from(id).ok());
        if let (Some(name), Some(id)) = (name, id)
            && name.len() <= NAME_LEN_MAX
            && extensions.len() < NAMES_MAX
        {
            // The first of a repeated key wins, here as everywhere.
            extensions.entry(name.to_owned()).or_insert(id);
        }
    }
    extensions
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(octets.into());
    }
    let octets = <[u8; 16]>::try_from(bytes).ok()?;
    Some(IpAddr::from(octets).to_canonical())
}

fn offer(dict: Element<'_>) -> Option<ReceiptOffer> {
    Some(ReceiptOffer {
        version: u32::try_from(dict.get("v")?.as_u64()?).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(payload: &[u8]) -> ExtendedHandshake {
        ExtendedHandshake::decode(payload).unwrap()
    }

    fn full() -> ExtendedHandshake {
        ExtendedHandshake {
            extensions: [(UT_METADATA, UT_METADATA_ID), (RECEIPT, RECEIPT_ID)]
                .map(|(name, id)| (name.to_owned(), id))
                .into(),
            client: Some("Seedbank 0.1".to_owned()),
            port: Some(6881),
            request_queue: Some(500),
            your_ip: Some(IpAddr::from([10, 0, 0, 1])),
            metadata_size: Some(12_345),
            upload_only: Some(true),
            receipt: Some(ReceiptOffer {
                version: RECEIPT_VERSION,
            }),
        }
    }

    #[test]
    fn decoding_undoes_encoding() {
        assert_eq!(decode(&full().encode()), full());
        let empty = ExtendedHandshake::default();
        assert_eq!(empty.encode(), b"d1:mdee");
        assert_eq!(decode(b"d1:mdee"), empty);
    }

    #[test]
    fn what_is_missing_wrong_or_out_of_range_is_as_if_absent() {
        for payload in [
            &b"de"[..],
            b"d1:mi1ee",
            b"d1:md11:ut_metadatai-1eee",
            b"d1:md11:ut_metadatai256eee",
            b"d1:md11:ut_metadata1:1ee",
            b"d1:pi0ee",
            b"d1:pi65536ee",
            b"d1:p4:6881e",
            b"d13:metadata_sizei0ee",
            b"d13:metadata_sizei-5ee",
            b"d13:metadata_sizei10485761ee",
            b"d13:metadata_sizei99999999999999999999999ee",
            b"d6:yourip3:abce",
            b"d4:reqqi-1ee",
            b"d11:upload_only3:yese",
            b"d10:Sb_receiptd1:vi-1eee",
            b"d10:Sb_receipti1ee",
        ] {
            assert_eq!(decode(payload), ExtendedHandshake::default(), "{payload:?}");
        }
        let huge = decode(b"d4:reqqi9999999999ee");
        assert_eq!(huge.request_queue, Some(u32::MAX));
    }

    #[test]
    fn what_is_no_dictionary_is_an_error() {
        for payload in [&b""[..], b"le", b"i1e", b"d", b"d1:m", b"xyz"] {
            assert!(ExtendedHandshake::decode(payload).is_err(), "{payload:?}");
        }
        let deep = "d1:a".repeat(100_000);
        assert!(ExtendedHandshake::decode(deep.as_bytes()).is_err());
    }

    #[test]
    fn names_are_bounded_in_number_and_length() {
        let many = (0..200).fold(Dict::new(), |m, i| m.with(format!("x{i}"), 3_u8));
        let many = many.with("n".repeat(65), 4_u8);
        let payload = Dict::new().with("m", many).encode();
        let mut handshake = decode(&payload);
        assert_eq!(handshake.extensions.len(), 64);
        assert!(handshake.extensions.keys().all(|name| name.len() <= 64));
        handshake.merge(full());
        assert_eq!(handshake.extensions.len(), 64);
    }

    #[test]
    fn a_client_name_is_made_printable() {
        let long = "x".repeat(1000);
        let payload = Dict::new().with("v", &*format!("\x1b[2J{long}")).encode();
        let client = decode(&payload).client.unwrap();
        assert!(client.starts_with("[2Jx"));
        assert_eq!(client.chars().count(), 64);
    }

    #[test]
    fn a_repeated_handshake_adds_and_zero_switches_off() {
        let mut handshake = full();
        handshake.merge(decode(b"d1:md10:Sb_receipti0eee"));
        assert_eq!(handshake.id_of(RECEIPT), None);
        assert_eq!(handshake.id_of(UT_METADATA), Some(UT_METADATA_ID));
        assert_eq!(handshake.port, Some(6881));
        handshake.merge(decode(b"d1:md10:Sb_receipti9ee1:pi1ee"));
        assert_eq!(handshake.id_of(RECEIPT), Some(9));
        assert_eq!(handshake.port, Some(1));
    }

    #[test]
    fn a_mapped_address_is_canonical() {
        let ip: std::net::Ipv6Addr = "::ffff:1.2.3.4".parse().unwrap();
        let payload = Dict::new().with("yourip", &ip.octets()[..]).encode();
        assert_eq!(decode(&payload).your_ip, Some(IpAddr::from([1, 2, 3, 4])));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes: Vec<u8>) {
            let _ = ExtendedHandshake::decode(&bytes);
        }
    }
}

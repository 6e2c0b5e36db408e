//! What peers send: handshakes, messages, and what is inside extended ones.

use std::sync::LazyLock;

use seedbank_engine::content::bitfield::Bitfield;
use seedbank_engine::wire::codec::{self, Decoded, FrameLimits, PIECE_HEADER_LEN, WireError};
use seedbank_engine::wire::extended::{
    ExtendedHandshake, HANDSHAKE_ID, RECEIPT_ID, UT_METADATA_ID,
};
use seedbank_engine::wire::handshake::{HANDSHAKE_LEN, Handshake};
use seedbank_engine::wire::message::Message;
use seedbank_engine::wire::metadata::MetadataMessage;
use seedbank_engine::wire::receipt::{MESSAGE_LEN_MAX, ReceiptMessage};
use seedbank_ledger::signed::{Body, Signed};
use seedbank_ledger::{Identity, NodeId};

use crate::content::check_text;

/// Somebody who has signed none of this.
static STRANGER: LazyLock<NodeId> = LazyLock::new(|| Identity::from_secret([0xf5; 32]).id());

/// A handshake is written as it was read, but for reserved bits that we do not know.
pub(crate) fn handshake(bytes: &[u8]) -> bool {
    let Some(bytes) = bytes.first_chunk::<HANDSHAKE_LEN>() else {
        return false;
    };
    let Ok(handshake) = Handshake::decode(bytes) else {
        return false;
    };
    let written = handshake.encode();
    assert_eq!(Handshake::decode(&written), Ok(handshake));
    assert_eq!(written[..20], bytes[..20]);
    assert_eq!(written[28..], bytes[28..]);
    let reserved = written[20..28].iter().zip(&bytes[20..28]);
    assert!(
        reserved
            .into_iter()
            .all(|(ours, theirs)| ours & !theirs == 0)
    );
    true
}

/// A stream of messages, behind two bytes that say for how many pieces, 0 for not known yet. Each
/// is written as it was read, and a part of it is asked to go on or refused for the same reason.
pub(crate) fn message(bytes: &[u8]) -> bool {
    let Some((count, mut buf)) = bytes.split_first_chunk::<2>() else {
        return false;
    };
    let piece_count = u32::from(u16::from_be_bytes(*count));
    let limits = match piece_count {
        0 => FrameLimits::DEFAULT,
        count => FrameLimits::for_pieces(count),
    };
    let longest = limits
        .bitfield_max
        .max(limits.extended_max + 1)
        .max(limits.unknown_max)
        + 5;
    let mut accepted = false;
    while !buf.is_empty() {
        let decoded = codec::decode(buf, &limits);
        check_parts(buf, &limits, &decoded);
        let len = match decoded {
            Err(_) => return accepted,
            Ok(Decoded::Need(len)) => {
                assert!(len > buf.len() && len <= longest, "{len} bytes");
                return accepted;
            }
            Ok(Decoded::Message { message, len }) => {
                let mut written = Vec::new();
                message.encode(&mut written);
                assert_eq!(written, buf[..len]);
                inside(&message, piece_count);
                len
            }
            Ok(Decoded::Skip { len }) => {
                assert!(len <= limits.unknown_max + 5);
                len
            }
            Ok(Decoded::Piece { block, header_len }) => {
                assert_eq!(header_len, PIECE_HEADER_LEN);
                assert_eq!(codec::piece_header(&block), buf[..header_len]);
                let payload = usize::try_from(block.len).expect("32 bits");
                assert!((1..=16 * 1024).contains(&payload));
                buf.len().min(header_len + payload)
            }
        };
        accepted = true;
        buf = &buf[len..];
    }
    accepted
}

/// What the first bytes of a message come to, given what all of it comes to.
fn check_parts(buf: &[u8], limits: &FrameLimits, whole: &Result<Decoded, WireError>) {
    let few = 0..buf.len().min(PIECE_HEADER_LEN + 1);
    for cut in few.chain(buf.len().checked_sub(1)) {
        let part = codec::decode(&buf[..cut], limits);
        let needed = match whole {
            Err(_) | Ok(Decoded::Need(_)) => usize::MAX,
            Ok(Decoded::Message { len, .. } | Decoded::Skip { len }) => *len,
            Ok(Decoded::Piece { header_len, .. }) => *header_len,
        };
        match part {
            Ok(Decoded::Need(len)) => assert!(cut < len && len <= needed, "{len} bytes at {cut}"),
            other => assert_eq!(&other, whole, "at {cut}"),
        }
    }
}

/// What is inside a message.
fn inside(message: &Message, piece_count: u32) {
    match message {
        Message::Bitfield(bytes) => {
            if let Ok(bitfield) = Bitfield::from_wire(bytes, piece_count) {
                assert!(bitfield.count() <= piece_count);
                let set = (0..piece_count).filter(|piece| {
                    let piece = seedbank_engine::units::PieceIndex::unchecked(*piece);
                    bitfield.get(piece)
                });
                assert_eq!(u32::try_from(set.count()), Ok(bitfield.count()));
            }
        }
        Message::Extended { id, payload } => {
            match *id {
                HANDSHAKE_ID => handshake_dict(payload),
                UT_METADATA_ID => metadata(payload),
                RECEIPT_ID => receipt(payload),
                _ => false,
            };
        }
        Message::KeepAlive
        | Message::Choke
        | Message::Unchoke
        | Message::Interested
        | Message::NotInterested
        | Message::Have(_)
        | Message::Request(_)
        | Message::Cancel(_)
        | Message::Port(_)
        | Message::Suggest(_)
        | Message::HaveAll
        | Message::HaveNone
        | Message::Reject(_)
        | Message::AllowedFast(_) => {}
    }
}

/// An extended handshake, or a `ut_metadata` message; behind one byte that says which.
pub(crate) fn extended(bytes: &[u8]) -> bool {
    match bytes.split_first() {
        Some((0, payload)) => handshake_dict(payload),
        Some((1, payload)) => metadata(payload),
        Some(_) | None => false,
    }
}

/// What a peer says of itself is bounded, written again it is the same, and said twice it adds
/// nothing.
fn handshake_dict(payload: &[u8]) -> bool {
    let Ok(handshake) = ExtendedHandshake::decode(payload) else {
        return false;
    };
    assert!(handshake.extensions.len() <= 64);
    assert!(handshake.extensions.keys().all(|name| name.len() <= 64));
    if let Some(client) = &handshake.client {
        check_text(client, 64);
    }
    assert!(handshake.port != Some(0) && handshake.metadata_size != Some(0));
    let written = handshake.encode();
    assert_eq!(ExtendedHandshake::decode(&written).as_ref(), Ok(&handshake));
    let mut said = ExtendedHandshake::default();
    for _ in 0..2 {
        said.merge(handshake.clone());
        assert_eq!(said, handshake);
    }
    true
}

fn metadata(payload: &[u8]) -> bool {
    match MetadataMessage::decode(payload) {
        Ok(Some(message)) => {
            let written = message.encode();
            assert!(written.len() <= payload.len());
            assert_eq!(MetadataMessage::decode(&written), Ok(Some(message)));
            true
        }
        Ok(None) => true,
        Err(_) => false,
    }
}

/// A receipt message is written again as the same; what is signed in it, nobody else has signed.
pub(crate) fn receipt(payload: &[u8]) -> bool {
    let Ok(message) = ReceiptMessage::decode(payload) else {
        return false;
    };
    let written = message.encode();
    assert!(written.len() <= payload.len() && written.len() <= MESSAGE_LEN_MAX);
    match &message {
        ReceiptMessage::Lock(lock) => unsigned(lock),
        ReceiptMessage::Receipt(receipt) => unsigned(receipt),
        ReceiptMessage::Close { newest, .. } => newest.iter().for_each(unsigned),
        ReceiptMessage::Sync(entries) => {
            for entry in entries {
                entry.held.iter().chain(&entry.sent).for_each(unsigned);
                entry.lock.iter().for_each(unsigned);
            }
        }
        ReceiptMessage::Tip { note, .. } => check_text(note, 140),
        ReceiptMessage::Hello(_)
        | ReceiptMessage::Auth(_)
        | ReceiptMessage::Bid(_)
        | ReceiptMessage::Quote(_)
        | ReceiptMessage::Error { .. } => {}
    }
    assert_eq!(ReceiptMessage::decode(&written), Ok(message));
    true
}

fn unsigned<B: Body>(signed: &Signed<B>) {
    assert!(signed.verify(&STRANGER).is_err());
    let again = Signed::<B>::from_bytes(&signed.to_bytes());
    assert!(again.is_ok_and(|again| again.to_bytes() == signed.to_bytes()));
}

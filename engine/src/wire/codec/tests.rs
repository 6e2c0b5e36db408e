//! The codec: every message there and back, whole, byte by byte, and malformed.

use proptest::prelude::*;

use super::*;

fn blocks() -> impl Strategy<Value = Block> {
    any::<[u32; 3]>().prop_map(|[piece, begin, len]| Block {
        piece: PieceIndex::unchecked(piece),
        begin,
        len,
    })
}

fn messages() -> impl Strategy<Value = Message> {
    let piece = || any::<u32>().prop_map(PieceIndex::unchecked);
    let bytes = || prop::collection::vec(any::<u8>(), 0..50);
    prop_oneof![
        prop::sample::select(vec![
            Message::KeepAlive,
            Message::Choke,
            Message::Unchoke,
            Message::Interested,
            Message::NotInterested,
            Message::HaveAll,
            Message::HaveNone,
        ]),
        piece().prop_map(Message::Have),
        piece().prop_map(Message::Suggest),
        piece().prop_map(Message::AllowedFast),
        blocks().prop_map(Message::Request),
        blocks().prop_map(Message::Cancel),
        blocks().prop_map(Message::Reject),
        bytes().prop_map(Message::Bitfield),
        any::<u16>().prop_map(Message::Port),
        (any::<u8>(), bytes()).prop_map(|(id, payload)| Message::Extended { id, payload }),
    ]
}

proptest! {
    #[test]
    fn a_message_is_the_same_whole_and_byte_by_byte(
        message in messages(), rest in prop::collection::vec(any::<u8>(), 0..9)
    ) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        let len = bytes.len();
        for have in 0..len {
            let decoded = decode(&bytes[..have], &FrameLimits::DEFAULT).unwrap();
            let Decoded::Need(need) = decoded else {
                return Err(TestCaseError::fail(format!("{decoded:?} of {have} bytes")));
            };
            prop_assert!(have < need && need <= len);
        }
        bytes.extend(rest);
        let expected = Decoded::Message { message, len };
        prop_assert_eq!(decode(&bytes, &FrameLimits::DEFAULT), Ok(expected));
    }

    #[test]
    fn a_piece_is_known_by_its_header(piece: u32, begin: u32, len in 1..=BLOCK_LEN) {
        let piece = PieceIndex::unchecked(piece);
        let block = Block { piece, begin, len };
        let header = piece_header(&block);
        let expected = Decoded::Piece { block, header_len: 13 };
        prop_assert_eq!(decode(&header, &FrameLimits::DEFAULT), Ok(expected));
        for have in 5..13 {
            let decoded = decode(&header[..have], &FrameLimits::DEFAULT);
            prop_assert_eq!(decoded, Ok(Decoded::Need(13)));
        }
    }

    #[test]
    fn garbage_never_panics_and_never_asks_for_more_than_the_limits(
        len in prop_oneof![0_u32..20, any::<u32>()], body: Vec<u8>
    ) {
        let mut bytes = len.to_be_bytes().to_vec();
        bytes.extend(body);
        match decode(&bytes, &FrameLimits::DEFAULT) {
            Ok(Decoded::Need(need)) => {
                prop_assert!(bytes.len() < need && need <= 4 + 1 + 256 * 1024);
            }
            Ok(Decoded::Message { len, .. } | Decoded::Skip { len }) => {
                prop_assert!(len <= bytes.len());
            }
            Ok(Decoded::Piece { block, .. }) => {
                prop_assert!((1..=BLOCK_LEN).contains(&block.len));
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}

/// What a connection task makes of a stream that arrives in the given cuts: messages and blocks in
/// order, with the payload of each block.
fn read(stream: &[u8], cuts: &[usize]) -> Result<Vec<String>, WireError> {
    let mut events = Vec::new();
    let mut buf = Vec::new();
    let mut rest = stream;
    let mut cuts = cuts.iter().cycle();
    while !rest.is_empty() {
        let cut = cuts.next().copied().unwrap_or(1).clamp(1, rest.len());
        buf.extend_from_slice(&rest[..cut]);
        rest = &rest[cut..];
        loop {
            let len = match decode(&buf, &FrameLimits::DEFAULT)? {
                Decoded::Need(_) => break,
                Decoded::Message { message, len } => {
                    events.push(format!("{message:?}"));
                    len
                }
                Decoded::Skip { len } => len,
                Decoded::Piece { block, header_len } => {
                    let end = header_len + usize::try_from(block.len).unwrap();
                    let Some(payload) = buf.get(header_len..end) else {
                        break;
                    };
                    events.push(format!("{block:?} {payload:?}"));
                    end
                }
            };
            buf.drain(..len);
        }
    }
    assert!(buf.is_empty(), "the stream ends with a message");
    Ok(events)
}

proptest! {
    #[test]
    fn a_stream_is_read_alike_however_it_is_cut(
        parts in prop::collection::vec((messages(), 0_u32..40, any::<bool>()), 0..12),
        cuts in prop::collection::vec(1_usize..60, 1..20),
    ) {
        let mut stream = Vec::new();
        let mut count = 0;
        for (message, len, unknown) in parts {
            message.encode(&mut stream);
            count += 1;
            if len > 0 {
                let piece = PieceIndex::unchecked(len);
                let header = piece_header(&Block { piece, begin: 0, len });
                stream.extend_from_slice(&header);
                stream.extend((0..len).map(|byte| byte.to_le_bytes()[0]));
                count += 1;
            }
            if unknown {
                stream.extend([0, 0, 0, 3, 200, 1, 2]);
            }
        }
        let whole = read(&stream, &[usize::MAX]).unwrap();
        prop_assert_eq!(whole.len(), count);
        prop_assert_eq!(read(&stream, &cuts).unwrap(), whole);
    }
}

fn frame(len: u32, id: u8) -> Vec<u8> {
    [&len.to_be_bytes()[..], &[id]].concat()
}

#[test]
fn lengths_are_judged_before_anything_is_buffered() {
    let limits = FrameLimits::for_pieces(20);
    for (id, good, bad) in [
        (0, 1, vec![2, 5, u32::MAX]),
        (4, 5, vec![1, 4, 6]),
        (5, 4, vec![5, u32::MAX]),
        (6, 13, vec![12, 14]),
        (7, 16_393, vec![1, 9, 16_394]),
        (9, 3, vec![2, 5]),
        (14, 1, vec![5]),
        (20, 131_074, vec![1, 131_075, u32::MAX]),
        (99, 16_385, vec![16_386]),
    ] {
        assert!(decode(&frame(good, id), &limits).is_ok(), "{id} {good}");
        for len in bad {
            assert!(decode(&frame(len, id), &limits).is_err(), "{id} {len}");
        }
    }
}

#[test]
fn unknown_ids_are_skipped_once_they_are_whole() {
    let mut bytes = frame(3, 21);
    assert_eq!(decode(&bytes, &FrameLimits::DEFAULT), Ok(Decoded::Need(7)));
    bytes.extend([1, 2, 3]);
    assert_eq!(
        decode(&bytes, &FrameLimits::DEFAULT),
        Ok(Decoded::Skip { len: 7 })
    );
}

#[test]
fn a_request_is_laid_out_as_in_bep_3() {
    let mut bytes = Vec::new();
    let block = Block {
        piece: PieceIndex::unchecked(1),
        begin: 0x4000,
        len: 0x4000,
    };
    Message::Request(block).encode(&mut bytes);
    assert_eq!(hex::encode(bytes), "0000000d06000000010000400000004000");
    assert_eq!(
        hex::encode(piece_header(&block)),
        "00004009070000000100004000"
    );
}

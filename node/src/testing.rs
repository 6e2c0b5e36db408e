//! Things that several tests of this crate make.

use seedbank_engine::content::metainfo::{FileEntry, Metainfo};
use seedbank_engine::discovery::tracker::{AnnounceEvent, AnnounceRequest};
use seedbank_engine::units::{ClientId, Geometry, InfoHash};
use sha1::{Digest as _, Sha1};

/// `len` bytes that differ from block to block.
pub(crate) fn content(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// A single-file torrent called `torrent` with these bytes.
pub(crate) fn metainfo_of(bytes: &[u8], piece_len: u32) -> Metainfo {
    let total_len = u64::try_from(bytes.len()).unwrap();
    let chunk = usize::try_from(piece_len).unwrap();
    Metainfo {
        info_hash: InfoHash([7; 20]),
        info_bytes: Vec::new(),
        name: "torrent".to_owned(),
        name_original: None,
        geometry: Geometry::new(total_len, piece_len).unwrap(),
        piece_hashes: bytes
            .chunks(chunk)
            .map(|piece| Sha1::digest(piece).into())
            .collect(),
        files: vec![FileEntry {
            path: vec!["torrent".to_owned()],
            original: None,
            offset: 0,
            len: total_len,
            pad: false,
        }],
        multi_file: false,
        trackers: Vec::new(),
        private: false,
        comment: None,
        created_by: None,
        creation_date: None,
    }
}

/// What a torrent that starts tells its trackers.
pub(crate) fn announce_request() -> AnnounceRequest {
    AnnounceRequest {
        info_hash: InfoHash(*b"abcdefghij0123456789"),
        client_id: ClientId(*b"-Sb0001-abcdefghijkl"),
        port: 6881,
        uploaded: 1,
        downloaded: 2,
        left: 3,
        event: AnnounceEvent::Started,
        num_want: 50,
        key: 7,
    }
}

//! What we are called to the peers and trackers of a torrent: so that who meets us in one cannot
//! tell us from it in another.

use seedbank_ledger::Identity;

use crate::secret::SecretDraws;
use crate::units::ClientId;

/// How every name begins (BEP 20).
const CLIENT_PREFIX: &[u8; 8] = b"-Sb0001-";
/// What follows is twelve of these, which say nothing about us.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Draws names.
#[derive(Debug)]
pub(super) struct OwnNames(SecretDraws);

/// What we are called in one torrent, until it is removed or the node ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnName {
    /// By peers and trackers.
    pub(crate) client_id: ClientId,
    /// By trackers alone, which know us by it behind a new address (BEP 7).
    pub(crate) announce_key: u32,
}

impl OwnNames {
    /// `salt` is another number at every start.
    pub(super) fn new(identity: &Identity, salt: u64) -> Self {
        let purpose = "seedbank v1 names in torrents";
        Self(SecretDraws::new(
            identity,
            *b"sb1/names\0\0\0\0\0\0\0",
            purpose,
            salt,
        ))
    }

    /// The name in another torrent.
    pub(super) fn draw(&mut self) -> OwnName {
        let drawn = self.0.draw();
        let (key, letters) = drawn.split_first_chunk().expect("32 bytes are more than 4");
        let mut id = [0; 20];
        id[..8].copy_from_slice(CLIENT_PREFIX);
        for (place, byte) in id[8..].iter_mut().zip(letters) {
            *place = ALPHABET[usize::from(byte % 32)];
        }
        OwnName {
            client_id: ClientId(id),
            announce_key: u32::from_le_bytes(*key),
        }
    }
}

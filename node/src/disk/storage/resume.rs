//! Fast resume: what was verified, and how the files looked then.
//!
//! A file whose size or time of change differs is verified again; so is one that was being written
//! when the node was killed, because its time of change is later than the record's.

use serde::{Deserialize, Serialize};

use crate::disk::storage::{FileStamp, Storage};
use seedbank_engine::content::bitfield::Bitfield;

/// What a resume file remembers about a torrent's data. That there is one is a claim: the files
/// were looked at, those that have a stamp are the torrent's own, and the others are its to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResumeData {
    /// Verified pieces as a bitfield in hex.
    pub(crate) have: String,
    /// How each file looked after the last of those pieces was written; `None` for one that was
    /// not there, or was not the torrent's own.
    pub(crate) files: Vec<Option<FileStamp>>,
}

impl ResumeData {
    /// A record of now. `have` must have been read before this is called: a piece written since
    /// changes a file's stamp, never the other way round.
    pub(crate) fn of(storage: &Storage, have: &Bitfield) -> Self {
        Self {
            have: crate::host::hex::encode(have.as_wire()),
            files: storage.own_stamps(),
        }
    }

    /// The verified pieces all of whose files look as they did; no piece if the record does not
    /// fit the torrent.
    pub(crate) fn trusted(&self, storage: &Storage) -> Bitfield {
        let geometry = storage.metainfo().geometry;
        let bitmap = crate::host::hex::decode(&self.have)
            .and_then(|bytes| Bitfield::from_wire(&bytes, geometry.piece_count()).ok());
        let Some(mut have) = bitmap else {
            return Bitfield::none(geometry.piece_count());
        };
        let now = storage.stamps();
        let files = &storage.metainfo().files;
        if self.files.len() != files.len() {
            return Bitfield::none(geometry.piece_count());
        }
        for piece in geometry.pieces() {
            let changed = have.get(piece)
                && storage.segments(piece).any(|segment| {
                    !segment.pad
                        && (now[segment.file].is_none()
                            || now[segment.file] != self.files[segment.file])
                });
            if changed {
                have.clear(piece);
            }
        }
        have
    }
}

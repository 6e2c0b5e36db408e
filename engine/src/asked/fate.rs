//! What becomes of a block that arrives.

use crate::units::TorrentId;

/// What the data plane did with a block that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockFate {
    /// Copied into the leased buffer.
    Stored,
    /// Already there, and equal to what is there (in the lease, or verified on disk).
    Equal,
    /// Already there, and different.
    Different,
    /// Its buffer was given up before the session heard of it, or there was none: of no use to
    /// anybody, and with nothing to compare it with, proof of nothing.
    Void,
    /// Nobody asked this peer for it; dropped.
    Unrequested,
}

/// What a data plane finds where a block belongs: in its lease, or without one on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A lease that lacked it, and has it now.
    Missing,
    /// The block.
    Present {
        /// Whether the same bytes came now.
        equal: bool,
    },
    /// No lease and no verified piece: the buffer was given up since.
    Nothing,
}

impl BlockFate {
    /// What becomes of a block. `asked` is for which torrent it was asked of this peer, or `None`;
    /// only if it was does `find` run, which looks for its place there and stores it if it is
    /// missing.
    pub fn decide(asked: Option<TorrentId>, find: impl FnOnce(TorrentId) -> Found) -> Self {
        match asked {
            Some(torrent) => Self::of(find(torrent)),
            None => Self::Unrequested,
        }
    }

    /// What becomes of a block that was asked for.
    pub const fn of(found: Found) -> Self {
        match found {
            Found::Missing => Self::Stored,
            Found::Present { equal: true } => Self::Equal,
            Found::Present { equal: false } => Self::Different,
            Found::Nothing => Self::Void,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_nobody_asked_for_is_never_looked_at() {
        let fate = BlockFate::decide(None, |_| panic!("stored"));
        assert_eq!(fate, BlockFate::Unrequested);
    }

    #[test]
    fn what_is_found_decides_what_was_asked_for() {
        for (found, fate) in [
            (Found::Missing, BlockFate::Stored),
            (Found::Present { equal: true }, BlockFate::Equal),
            (Found::Present { equal: false }, BlockFate::Different),
            (Found::Nothing, BlockFate::Void),
        ] {
            assert_eq!(BlockFate::decide(Some(TorrentId([1; 20])), |_| found), fate);
        }
    }
}

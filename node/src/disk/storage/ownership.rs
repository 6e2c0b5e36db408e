//! Whose a file is that lies where a torrent would have one: nothing that is not the torrent's own
//! is written to, or deleted.
//!
//! A record of an earlier check is a claim: files that were not there then are ours to make. That
//! record is written before the first byte is, so that a node that was killed in between knows its
//! own files again.

/// A file found in a torrent's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FoundFile {
    /// Bytes it has.
    pub(super) len: u64,
    /// Bytes the torrent says it has.
    pub(super) expected_len: u64,
    /// Whether any byte of it was ever written: a file made ahead of its content holds none.
    pub(super) holds_data: bool,
    /// What the torrent's record says of it.
    pub(super) recorded: Recorded,
    /// How many of the pieces in it match their hash.
    pub(super) matches: Matches,
}

/// What a torrent's record says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recorded {
    /// There is no record.
    Nothing,
    /// It was not there.
    Missing,
    /// It was there, and the torrent's own.
    Own,
}

/// How many of the pieces in a file match their hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Matches {
    None,
    Some,
    All,
}

/// Whether the torrent may take the file for its own.
pub(super) fn is_own(found: FoundFile) -> bool {
    if found.recorded == Recorded::Own {
        return true;
    }
    if !found.holds_data {
        return found.len <= found.expected_len;
    }
    // Made by us after the record, which makes files in their full length.
    if found.recorded == Recorded::Missing && found.len == found.expected_len {
        return true;
    }
    match found.matches {
        Matches::None => false,
        Matches::Some => found.len <= found.expected_len,
        // Nothing will be written to it, however long it is.
        Matches::All => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of another, as long as ours.
    const FOREIGN: FoundFile = FoundFile {
        len: 100,
        expected_len: 100,
        holds_data: true,
        recorded: Recorded::Nothing,
        matches: Matches::None,
    };

    #[test]
    fn a_file_of_which_nothing_matches_is_not_ours_unless_the_record_says_so() {
        assert!(!is_own(FOREIGN));
        let known = |recorded, len| {
            is_own(FoundFile {
                recorded,
                len,
                ..FOREIGN
            })
        };
        assert!(known(Recorded::Own, 100) && known(Recorded::Own, 7));
        assert!(
            known(Recorded::Missing, 100),
            "made, and killed before it was recorded"
        );
        assert!(
            !known(Recorded::Missing, 7),
            "put there by somebody else since"
        );
    }

    #[test]
    fn data_that_matches_is_adopted_and_files_that_hold_none_are_free() {
        let file = |matches, len| {
            is_own(FoundFile {
                matches,
                len,
                ..FOREIGN
            })
        };
        assert!(file(Matches::Some, 100) && file(Matches::Some, 60));
        assert!(!file(Matches::Some, 101), "the rest would be overwritten");
        assert!(file(Matches::All, 101), "nothing would be");
        let empty = |len| {
            is_own(FoundFile {
                holds_data: false,
                len,
                ..FOREIGN
            })
        };
        assert!(empty(0) && empty(100));
        assert!(!empty(101), "made for something larger");
    }
}

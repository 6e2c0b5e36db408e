//! Where a torrent's bytes live: from a range of the torrent to ranges of its files.

use seedbank_engine::content::metainfo::FileEntry;

/// Part of a range that lies in one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Position among the torrent's files.
    pub(crate) file: usize,
    /// First byte in that file.
    pub(crate) offset: u64,
    /// Bytes, at least 1.
    pub(crate) len: usize,
    /// A pad file: never on disk, reads as zeros (BEP 47).
    pub(crate) pad: bool,
}

/// The segments of `len` bytes from `offset` on, in order; zero-length files own none.
///
/// # Panics
/// If the range ends past the last file; callers hold checked pieces and blocks.
pub(crate) fn segments(
    files: &[FileEntry],
    offset: u64,
    len: usize,
) -> impl Iterator<Item = Segment> {
    let mut index = files.partition_point(|file| file.offset + file.len <= offset);
    let mut at = offset;
    let mut left = len;
    std::iter::from_fn(move || {
        while left > 0 {
            let file = files.get(index).expect("a range lies inside its torrent");
            let inside = at - file.offset;
            let here = usize::try_from(file.len - inside).map_or(left, |here| here.min(left));
            let segment = Segment {
                file: index,
                offset: inside,
                len: here,
                pad: file.pad,
            };
            at += u64::try_from(here).expect("a length fits u64");
            left -= here;
            index += 1;
            if here > 0 {
                return Some(segment);
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files of these lengths in a row; a negative length is a pad file.
    fn files(lens: &[i64]) -> Vec<FileEntry> {
        let mut offset = 0;
        let mut files = Vec::new();
        for (index, len) in lens.iter().enumerate() {
            files.push(FileEntry {
                path: vec![format!("{index}")],
                original: None,
                offset,
                len: len.unsigned_abs(),
                pad: *len < 0,
            });
            offset += len.unsigned_abs();
        }
        files
    }

    fn flat(segments: impl Iterator<Item = Segment>) -> Vec<(usize, u64, usize, bool)> {
        segments
            .map(|segment| (segment.file, segment.offset, segment.len, segment.pad))
            .collect()
    }

    #[test]
    fn a_range_crosses_files_pads_and_empty_files() {
        let files = files(&[10, 0, -6, 0, 5, 20]);
        assert_eq!(
            flat(segments(&files, 8, 15)),
            [
                (0, 8, 2, false),
                (2, 0, 6, true),
                (4, 0, 5, false),
                (5, 0, 2, false)
            ]
        );
        assert_eq!(flat(segments(&files, 10, 1)), [(2, 0, 1, true)]);
        assert_eq!(flat(segments(&files, 0, 10)), [(0, 0, 10, false)]);
        assert_eq!(flat(segments(&files, 40, 1)), [(5, 19, 1, false)]);
        assert_eq!(flat(segments(&files, 40, 0)), []);
    }

    #[test]
    fn every_byte_belongs_to_exactly_one_segment() {
        let files = files(&[3, -1, 0, 7, 2, 0, 0, 4]);
        for start in 0..17 {
            for len in 0..=(17 - start) {
                let total: usize = segments(&files, start, usize::try_from(len).unwrap())
                    .map(|segment| segment.len)
                    .sum();
                assert_eq!(u64::try_from(total).unwrap(), len);
            }
        }
    }
}

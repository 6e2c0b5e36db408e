//! Makes a torrent of a file or a folder: finds the files, hashes the pieces.
//!
//! Blocking; run it on a thread that may wait. Links are passed over, as are files that are
//! neither plain files nor folders.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use seedbank_engine::content::metainfo::build::{
    DraftContent, DraftFile, MetainfoDraft, PIECE_LEN_LARGEST, piece_len_for,
};
use seedbank_engine::content::metainfo::{INFO_LEN_MAX, Metainfo, MetainfoError};
use sha1::{Digest as _, Sha1};

/// Most files of a torrent that is made here.
const FILES_MAX: usize = 100_000;
/// Deepest folder below the torrent's.
const DEPTH_MAX: usize = 32;
/// Bytes read at a time.
const READ_LEN: usize = 1024 * 1024;

/// A torrent to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateRequest {
    /// File or folder.
    pub path: PathBuf,
    /// Announce URLs, each a tier of its own.
    pub trackers: Vec<String>,
    /// No peers but from its trackers.
    pub private: bool,
    /// Text for people.
    pub comment: Option<String>,
    /// Bytes in a piece; `None` to choose by size.
    pub piece_len: Option<u32>,
}

/// Why a torrent was not made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// A file or folder cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file was changed while it was read.
    #[error("{} was {expected} bytes long and is not any more", path.display())]
    Changed {
        /// Which.
        path: PathBuf,
        /// Its length when it was found.
        expected: u64,
    },
    /// A name is no UTF-8.
    #[error("{}: the name is not UTF-8", .0.display())]
    Name(PathBuf),
    /// Too many files, or folders too deep.
    #[error(
        "{}: too many: at most {FILES_MAX} files, and folders {DEPTH_MAX} deep, are allowed",
        .0.display()
    )]
    TooMany(PathBuf),
    /// The torrent file would be too long: too many pieces, or too many names.
    #[error(
        "{pieces} pieces and {files} files make a torrent file of {len} bytes, at most \
         {INFO_LEN_MAX} allowed{}",
        advice(*longer)
    )]
    TooLong {
        /// What it would have.
        len: usize,
        /// Pieces of the length asked for, or chosen.
        pieces: u32,
        /// Files.
        files: usize,
        /// The shortest length of pieces that would help, if any would.
        longer: Option<u32>,
    },
    /// What comes out is no torrent.
    #[error(transparent)]
    Metainfo(#[from] MetainfoError),
    /// The caller lost interest.
    #[error("cancelled")]
    Cancelled,
}

/// Makes a torrent. `progress` is told bytes hashed and bytes in all; false ends the work.
pub fn create_metainfo(
    request: &CreateRequest,
    created_by: &str,
    creation_date: Option<u64>,
    mut progress: impl FnMut(u64, u64) -> bool,
) -> Result<Metainfo, CreateError> {
    let root = &request.path;
    let name = root
        .file_name()
        .ok_or_else(|| CreateError::Name(root.clone()))?;
    let name = name
        .to_str()
        .ok_or_else(|| CreateError::Name(root.clone()))?;
    let metadata = std::fs::metadata(root).map_err(|error| io_error(root, error))?;
    let (content, files) = if metadata.is_dir() {
        let mut found = Vec::new();
        find(root, &mut Vec::new(), &mut found)?;
        found.sort_by(|a, b| a.path.cmp(&b.path));
        let paths = found.iter().map(|file| {
            let path = file
                .path
                .iter()
                .fold(root.clone(), |path, part| path.join(part));
            (path, file.len)
        });
        let paths = paths.collect();
        (DraftContent::Folder(found), paths)
    } else {
        (
            DraftContent::File(metadata.len()),
            vec![(root.clone(), metadata.len())],
        )
    };
    let mut draft = MetainfoDraft {
        name: name.to_owned(),
        content,
        piece_len: 0,
        trackers: request
            .trackers
            .iter()
            .map(|url| vec![url.clone()])
            .collect(),
        private: request.private,
        comment: request.comment.clone(),
        created_by: Some(created_by.to_owned()),
        creation_date,
    };
    let total = draft.total_len();
    draft.piece_len = request.piece_len.unwrap_or_else(|| piece_len_for(total));
    // Found out before the work rather than after it.
    rehearse(&draft, files.len())?;
    let hashes = hash(&files, draft.piece_len, |done| progress(done, total))?;
    Ok(draft.finish(&hashes)?)
}

/// Makes the torrent with hashes of zeros, which fails as it would with the right ones.
fn rehearse(draft: &MetainfoDraft, files: usize) -> Result<(), CreateError> {
    let count = draft.geometry().map_or(0, |pieces| pieces.piece_count());
    let hashes = vec![[0; 20]; usize::try_from(count).expect("pieces fit memory")];
    match draft.finish(&hashes) {
        Ok(_) => Ok(()),
        Err(MetainfoError::TooLong { len, .. }) => {
            let names = len.saturating_sub(hashes.as_flattened().len());
            Err(CreateError::TooLong {
                len,
                pieces: count,
                files,
                longer: piece_len_that_fits(draft.total_len(), draft.piece_len, names),
            })
        }
        Err(MetainfoError::TooManyPieces { count }) => Err(CreateError::TooLong {
            len: usize::try_from(count.saturating_mul(20)).unwrap_or(usize::MAX),
            pieces: u32::try_from(count).unwrap_or(u32::MAX),
            files,
            longer: piece_len_that_fits(draft.total_len(), draft.piece_len, 0),
        }),
        Err(error) => Err(error.into()),
    }
}

/// The shortest length of pieces above `piece_len` with which hashes and so many other bytes fit a
/// torrent file.
fn piece_len_that_fits(total_len: u64, piece_len: u32, others: usize) -> Option<u32> {
    let fits = |len: &u32| {
        let hashes = total_len.div_ceil(u64::from(*len)).saturating_mul(20);
        let others = u64::try_from(others).unwrap_or(u64::MAX);
        hashes.saturating_add(others) <= u64::from(INFO_LEN_MAX)
    };
    let longer = std::iter::successors(piece_len.checked_mul(2), |len| len.checked_mul(2));
    longer
        .take_while(|len| *len <= PIECE_LEN_LARGEST)
        .find(fits)
}

fn advice(longer: Option<u32>) -> String {
    match longer {
        Some(len) => format!(": make the pieces {} KiB or longer", len / 1024),
        None => ": make several torrents of it".to_owned(),
    }
}

/// Adds every plain file below `folder`, whose components below the root are `below`.
fn find(
    folder: &Path,
    below: &mut Vec<String>,
    found: &mut Vec<DraftFile>,
) -> Result<(), CreateError> {
    let entries = std::fs::read_dir(folder).map_err(|error| io_error(folder, error))?;
    for entry in entries {
        let entry = entry.map_err(|error| io_error(folder, error))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(|error| io_error(&path, error))?;
        let name = entry.file_name().into_string();
        let name = name.map_err(|_| CreateError::Name(path.clone()))?;
        below.push(name);
        if below.len() > DEPTH_MAX || found.len() >= FILES_MAX {
            return Err(CreateError::TooMany(path));
        }
        if kind.is_dir() {
            find(&path, below, found)?;
        } else if kind.is_file() {
            let metadata = entry.metadata().map_err(|error| io_error(&path, error))?;
            let len = metadata.len();
            found.push(DraftFile {
                path: below.clone(),
                len,
            });
        }
        below.pop();
    }
    Ok(())
}

/// SHA-1 of every piece of these files in a row.
fn hash(
    files: &[(PathBuf, u64)],
    piece_len: u32,
    mut progress: impl FnMut(u64) -> bool,
) -> Result<Vec<[u8; 20]>, CreateError> {
    let piece_len = usize::try_from(piece_len).expect("a piece fits memory");
    let mut buffer = vec![0; READ_LEN];
    let mut hashes = Vec::new();
    let mut hasher = Sha1::new();
    let mut in_piece = 0;
    let mut done = 0;
    for (path, expected) in files {
        let changed = || CreateError::Changed {
            path: path.clone(),
            expected: *expected,
        };
        let mut file = File::open(path).map_err(|error| io_error(path, error))?;
        let mut left = *expected;
        loop {
            let len = file
                .read(&mut buffer)
                .map_err(|error| io_error(path, error))?;
            if len == 0 {
                break;
            }
            let read = u64::try_from(len).expect("a length fits u64");
            left = left.checked_sub(read).ok_or_else(changed)?;
            done += read;
            let mut rest = &buffer[..len];
            while !rest.is_empty() {
                let here = rest.len().min(piece_len - in_piece);
                hasher.update(&rest[..here]);
                rest = &rest[here..];
                in_piece += here;
                if in_piece == piece_len {
                    hashes.push(hasher.finalize_reset().into());
                    in_piece = 0;
                }
            }
            if !progress(done) {
                return Err(CreateError::Cancelled);
            }
        }
        if left > 0 {
            return Err(changed());
        }
    }
    if in_piece > 0 {
        hashes.push(hasher.finalize().into());
    }
    Ok(hashes)
}

fn io_error(path: &Path, source: io::Error) -> CreateError {
    CreateError::Io {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::content;

    fn request(path: PathBuf) -> CreateRequest {
        CreateRequest {
            path,
            trackers: vec!["http://t/announce".to_owned()],
            private: false,
            comment: None,
            piece_len: Some(16_384),
        }
    }

    #[test]
    fn a_folder_becomes_a_torrent_of_its_plain_files_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("album");
        std::fs::create_dir_all(root.join("sub/deep")).unwrap();
        let bytes = content(50_000);
        std::fs::write(root.join("b"), &bytes[..20_000]).unwrap();
        std::fs::write(root.join("empty"), b"").unwrap();
        std::fs::write(root.join("sub/deep/a"), &bytes[20_000..]).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.join("link")).unwrap();
        let mut told = Vec::new();
        let metainfo = create_metainfo(&request(root), "test", None, |done, total| {
            told.push((done, total));
            true
        });
        let metainfo = metainfo.unwrap();
        assert_eq!(metainfo.name, "album");
        let paths: Vec<String> = metainfo
            .files
            .iter()
            .map(|file| file.path.join("/"))
            .collect();
        assert_eq!(paths, ["b", "empty", "sub/deep/a"]);
        let pieces = bytes.chunks(16_384);
        let expected: Vec<[u8; 20]> = pieces.map(|piece| Sha1::digest(piece).into()).collect();
        assert_eq!(metainfo.piece_hashes, expected);
        assert_eq!(told.last(), Some(&(50_000, 50_000)));
    }

    #[test]
    fn nothing_and_what_is_not_there_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty");
        std::fs::write(&empty, b"").unwrap();
        let made = |path| create_metainfo(&request(path), "test", None, |_, _| true);
        assert!(matches!(made(empty).unwrap_err(), CreateError::Metainfo(_)));
        let missing = folder.path().join("missing");
        assert!(matches!(made(missing).unwrap_err(), CreateError::Io { .. }));
    }

    #[test]
    fn a_torrent_file_that_would_be_too_long_is_found_out_before_the_work() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sparse");
        let file = File::create(&path).unwrap();
        // Reading this much would take minutes: that nothing is told shows that nothing was read.
        file.set_len(16_384 * 600_000).unwrap();
        let mut told = 0;
        let made = create_metainfo(&request(path), "test", None, |_, _| {
            told += 1;
            true
        });
        let error = made.unwrap_err();
        let CreateError::TooLong { pieces, longer, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!((*pieces, *longer, told), (600_000, Some(32_768), 0));
        let text = error.to_string();
        assert!(text.ends_with("make the pieces 32 KiB or longer"), "{text}");
    }

    #[test]
    fn a_caller_that_lost_interest_ends_the_work() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, content(100)).unwrap();
        let made = create_metainfo(&request(path), "test", None, |_, _| false);
        assert!(matches!(made.unwrap_err(), CreateError::Cancelled));
    }
}

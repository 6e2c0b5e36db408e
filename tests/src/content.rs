//! What the tests' torrents hold: files of random bytes, the same on every machine and run.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use sha1::{Digest, Sha1};

const CHUNK: usize = 1 << 20;

/// Which files, and how they are cut into pieces.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The torrent's name: the folder of the files, or the one file.
    pub name: &'static str,
    /// Path below `name` and length; one entry with an empty path is a single-file torrent.
    pub files: Vec<(&'static str, u64)>,
    pub piece_len: u64,
}

impl Plan {
    /// 256 MiB and a bit in eight files: odd last piece, an empty file, a nested folder, and file
    /// borders inside pieces and inside blocks.
    #[must_use]
    pub fn large() -> Self {
        Self {
            name: "large",
            files: vec![
                ("01 first.bin", 100 << 20),
                ("02 odd.bin", (60 << 20) + 12_345),
                ("empty", 0),
                ("inner/deep/03.bin", 90 << 20),
                ("inner/04 tiny.txt", 1),
                ("inner/05 small.bin", 16_383),
                ("z last.bin", (6 << 20) + 777),
            ],
            piece_len: 256 << 10,
        }
    }

    /// The same shapes in 8 MiB, for proofs of the rig and for short tests.
    #[must_use]
    pub fn small() -> Self {
        Self {
            name: "small",
            files: vec![
                ("a.bin", (5 << 20) + 1),
                ("empty", 0),
                ("inner/b.bin", (3 << 20) + 4_321),
                ("inner/deep/c.txt", 99),
            ],
            piece_len: 64 << 10,
        }
    }

    /// One file of `len` bytes.
    #[must_use]
    pub fn single(name: &'static str, len: u64, piece_len: u64) -> Self {
        Self {
            name,
            files: vec![("", len)],
            piece_len,
        }
    }

    /// Bytes in all files together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.files.iter().map(|(_, len)| len).sum()
    }
}

/// What a copy owes to the files of no bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmptyFiles {
    Made,
    /// Some clients never create them.
    MayLack,
}

/// A plan carried out: the files on disk, and the hashes that any copy must have.
#[derive(Debug, Clone)]
pub struct Content {
    pub plan: Plan,
    /// The folder that contains `plan.name`: where a seed looks for its files.
    pub folder: PathBuf,
    /// SHA-1 of every piece.
    pub pieces: Vec<[u8; 20]>,
    /// SHA-1 of every file, in the order of the plan.
    files: Vec<[u8; 20]>,
}

impl Content {
    /// Writes the files of `plan` below `folder`.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(plan: Plan, folder: &Path) -> Result<Self> {
        for (index, (path, len)) in plan.files.iter().enumerate() {
            let path = file_path(folder, plan.name, path);
            fs::create_dir_all(path.parent().context("a file lies in a folder")?)?;
            let mut file = File::create(&path)?;
            let mut random = Random::new(index);
            let mut chunk = vec![0; CHUNK];
            let mut left = *len;
            while left > 0 {
                let now = CHUNK.min(usize::try_from(left)?);
                random.fill(&mut chunk[..now]);
                file.write_all(&chunk[..now])?;
                left -= u64::try_from(now)?;
            }
        }
        Self::read(plan, folder)
    }

    /// Hashes the files of `plan` that lie below `folder`.
    ///
    /// # Errors
    /// When one is missing or of another length.
    pub fn read(plan: Plan, folder: &Path) -> Result<Self> {
        let mut pieces = Pieces::new(plan.piece_len);
        let mut files = Vec::new();
        for (path, len) in &plan.files {
            let path = file_path(folder, plan.name, path);
            files.push(hash(&path, *len, |chunk| pieces.update(chunk))?);
        }
        Ok(Self {
            plan,
            folder: folder.to_owned(),
            pieces: pieces.finish(),
            files,
        })
    }

    /// Makes the same files appear below `folder`, without a second copy of their bytes.
    ///
    /// # Errors
    /// When `folder` is on another file system.
    pub fn link_into(&self, folder: &Path) -> Result<()> {
        for (path, _) in &self.plan.files {
            let to = file_path(folder, self.plan.name, path);
            fs::create_dir_all(to.parent().context("a file lies in a folder")?)?;
            fs::hard_link(file_path(&self.folder, self.plan.name, path), to)?;
        }
        Ok(())
    }

    /// Checks every byte of a copy below `folder` against the hashes of the original.
    ///
    /// # Errors
    /// Names the first file that is missing, of another length, or of other bytes.
    pub fn verify(&self, folder: &Path, empty: EmptyFiles) -> Result<()> {
        for ((path, len), expected) in self.plan.files.iter().zip(&self.files) {
            let path = file_path(folder, self.plan.name, path);
            if *len == 0 && empty == EmptyFiles::MayLack && !path.exists() {
                continue;
            }
            let found = hash(&path, *len, |_| ())?;
            ensure!(found == *expected, "{}: the bytes differ", path.display());
        }
        Ok(())
    }
}

/// SHA-1 of a file that must be `len` bytes long; `each` sees the bytes as they pass.
fn hash(path: &Path, len: u64, mut each: impl FnMut(&[u8])) -> Result<[u8; 20]> {
    let mut file = File::open(path).with_context(|| path.display().to_string())?;
    let found = file.metadata()?.len();
    ensure!(found == len, "{}: {found} bytes, not {len}", path.display());
    let mut whole = Sha1::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = file.read(&mut chunk)?;
        if count == 0 {
            return Ok(whole.finalize().into());
        }
        whole.update(&chunk[..count]);
        each(&chunk[..count]);
    }
}

fn file_path(folder: &Path, name: &str, path: &str) -> PathBuf {
    let at = folder.join(name);
    if path.is_empty() { at } else { at.join(path) }
}

/// Hashes a stream of bytes piece by piece, across the borders of files.
struct Pieces {
    len: u64,
    filled: u64,
    hash: Sha1,
    done: Vec<[u8; 20]>,
}

impl Pieces {
    fn new(len: u64) -> Self {
        Self {
            len,
            filled: 0,
            hash: Sha1::new(),
            done: Vec::new(),
        }
    }

    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = usize::try_from(self.len - self.filled).expect("a piece fits memory");
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            self.hash.update(now);
            self.filled += u64::try_from(now.len()).expect("usize fits u64");
            if self.filled == self.len {
                self.close();
            }
            bytes = rest;
        }
    }

    fn close(&mut self) {
        self.done
            .push(std::mem::take(&mut self.hash).finalize().into());
        self.filled = 0;
    }

    fn finish(mut self) -> Vec<[u8; 20]> {
        if self.filled > 0 {
            self.close();
        }
        self.done
    }
}

/// Xorshift64*, one stream per file: fast, and no two files or pieces alike.
struct Random(u64);

impl Random {
    fn new(stream: usize) -> Self {
        let stream = u64::try_from(stream).expect("usize fits u64");
        Self(0x5eed_ba2c_0000_0001 ^ (stream << 20))
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for word in bytes.chunks_mut(8) {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            let next = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes();
            word.copy_from_slice(&next[..word.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use super::*;

    #[test]
    fn the_large_plan_is_over_256_mib_with_an_odd_last_piece() {
        let plan = Plan::large();
        assert!(plan.total() > 256 << 20);
        assert_ne!(plan.total() % plan.piece_len, 0);
        assert!(plan.files.iter().any(|(_, len)| *len == 0));
    }

    #[test]
    fn a_copy_with_one_other_byte_is_found_out() {
        let at = tempfile::tempdir().unwrap();
        let content = Content::write(Plan::small(), at.path()).unwrap();
        content.verify(at.path(), EmptyFiles::Made).unwrap();

        let path = at.path().join("small/inner/b.bin");
        let mut bytes = fs::read(&path).unwrap();
        bytes[1 << 20] ^= 1;
        fs::write(&path, bytes).unwrap();
        let error = content
            .verify(at.path(), EmptyFiles::Made)
            .unwrap_err()
            .to_string();
        assert!(error.contains("inner/b.bin"), "{error}");
    }

    #[test]
    fn pieces_run_across_files() {
        let at = tempfile::tempdir().unwrap();
        let content = Content::write(Plan::small(), at.path()).unwrap();
        let mut all = Vec::new();
        for (path, _) in &content.plan.files {
            all.extend(fs::read(at.path().join("small").join(path)).unwrap());
        }
        let len = usize::try_from(content.plan.piece_len).unwrap();
        let expected: Vec<[u8; 20]> = all
            .chunks(len)
            .map(|piece| Sha1::digest(piece).into())
            .collect();
        assert_eq!(content.pieces, expected);
    }
}

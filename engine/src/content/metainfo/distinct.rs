//! Files of one torrent that would be one on disk, told apart as libtorrent does: what comes later
//! is called `name.1.ext`, or has the next number that is free.
//!
//! Folders keep their names, and letters of ASCII are the same in either case, since the files may
//! be copied to where they are.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::content::metainfo::listing::Listed;
use crate::content::metainfo::path::{self, PathError};
use crate::content::metainfo::{MetainfoError, PATH_COMPONENT_MAX};

/// Most names that are tried in vain, over all files: what only a hostile torrent needs.
const TAKEN_NAMES_MAX: u32 = 500;

/// Gives every file a path of its own that is no folder of another's. Pad files are never on disk:
/// those of one length may share one. O(files log files), and few bytes for each.
pub(super) fn rename_duplicates(files: &mut [Listed<'_>]) -> Result<(), MetainfoError> {
    for (index, name) in renamed(files)? {
        let leaf = files[index].path.last_mut();
        *leaf.expect("no path is empty") = name;
    }
    Ok(())
}

/// The files that need another name, and that name, in the order of the list.
fn renamed(files: &[Listed<'_>]) -> Result<Vec<(usize, String)>, MetainfoError> {
    let mut paths = Paths::of(files);
    let in_the_way = paths.in_the_way();
    let mut renamed = Vec::new();
    let mut tries_left = TAKEN_NAMES_MAX;
    for (index, file) in files.iter().enumerate() {
        // A pad file without a path would lie outside the torrent's folder, were it made.
        if file.names.is_empty() {
            continue;
        }
        if !in_the_way[index] && !paths.given.contains_key(&key(&components(file))) {
            continue;
        }
        let Some(holder) = paths.holder(&components(file), index) else {
            continue;
        };
        if let PathHolder::File(other) = holder
            && file.pad
            && (true, file.len) == (files[other].pad, files[other].len)
        {
            continue;
        }
        let name = paths.free_name(index, &mut tries_left);
        let name = name.map_err(|error| path::error(&file.path, error))?;
        renamed.push((index, name));
    }
    Ok(renamed)
}

/// What has a path already.
#[derive(Clone, Copy, Debug)]
enum PathHolder {
    Folder,
    /// The file with this index.
    File(usize),
}

/// All paths of a torrent.
#[derive(Debug)]
struct Paths<'a> {
    files: &'a [Listed<'a>],
    /// Indices of all files, so that what lies in a folder comes right behind its path, and files
    /// of one path in their order, those outside the torrent's folder last.
    sorted: Vec<usize>,
    /// Keys of paths that files got instead of their own, and the indices of these files.
    given: BTreeMap<String, usize>,
}

impl<'a> Paths<'a> {
    fn of(files: &'a [Listed<'a>]) -> Self {
        let mut sorted: Vec<usize> = (0..files.len()).collect();
        sorted.sort_by(|a, b| {
            let [one, other] = [a, b].map(|index| &files[*index]);
            let paths = caseless(one).cmp(caseless(other));
            paths.then((one.names.is_empty(), a).cmp(&(other.names.is_empty(), b)))
        });
        Self {
            files,
            sorted,
            given: BTreeMap::new(),
        }
    }

    /// Finds a free path for a file whose own is not.
    fn free_name(&mut self, index: usize, tries_left: &mut u32) -> Result<String, PathError> {
        let mut path = components(&self.files[index]);
        let leaf = path.pop().expect("no path is empty");
        let (stem, extension) = leaf.split_at(leaf.rfind('.').unwrap_or(leaf.len()));
        for number in 1_u32.. {
            let name = format!("{stem}.{number}{extension}");
            let len = name.len();
            if len > PATH_COMPONENT_MAX {
                return Err(PathError::ComponentTooLong { len });
            }
            let path: Vec<&str> = path.iter().copied().chain([&*name]).collect();
            if self.holder(&path, index).is_none() {
                self.given.insert(key(&path), index);
                return Ok(name);
            }
            match tries_left.checked_sub(1) {
                Some(left) => *tries_left = left,
                None => break,
            }
        }
        Err(PathError::TooManyDuplicates)
    }

    /// Whether a file has the path of another or one that is a folder, for each file.
    fn in_the_way(&self) -> Vec<bool> {
        let mut in_the_way = vec![false; self.files.len()];
        for pair in self.sorted.windows(2) {
            if starts_with(&self.files[pair[1]], &components(&self.files[pair[0]])) {
                in_the_way[pair[0]] = true;
                in_the_way[pair[1]] = true;
            }
        }
        in_the_way
    }

    /// What has this path when it is the turn of the file with this index.
    fn holder(&self, path: &[&str], index: usize) -> Option<PathHolder> {
        if let Some(other) = self.given.get(&key(path)) {
            return Some(PathHolder::File(*other));
        }
        let file = |at: usize| {
            self.sorted
                .get(at)
                .map(|index| (*index, &self.files[*index]))
        };
        let wanted = || path.iter().map(|name| Caseless(name));
        let ordering = |index: &usize| caseless(&self.files[*index]).cmp(wanted());
        let begin = self.sorted.partition_point(|one| ordering(one).is_lt());
        let end = self.sorted.partition_point(|one| ordering(one).is_le());
        if file(end).is_some_and(|(_, file)| starts_with(file, path)) {
            return Some(PathHolder::Folder);
        }
        let (first, other) = file(begin).filter(|_| begin < end)?;
        (first < index && !other.names.is_empty()).then_some(PathHolder::File(first))
    }
}

fn components<'a>(file: &'a Listed<'_>) -> Vec<&'a str> {
    file.path.iter().map(String::as_str).collect()
}

/// One text for all paths that are one where case does not count.
fn key(path: &[&str]) -> String {
    path.join("/").to_ascii_lowercase()
}

fn caseless<'a>(file: &'a Listed<'_>) -> impl Iterator<Item = Caseless<'a>> {
    file.path.iter().map(|name| Caseless(name))
}

/// Whether a file has this path, or it is one of its folders.
fn starts_with(file: &Listed<'_>, path: &[&str]) -> bool {
    let begin = caseless(file).take(path.len());
    begin.eq(path.iter().map(|name| Caseless(name)))
}

/// A component; letters of ASCII are compared without their case.
#[derive(Clone, Copy, Debug)]
struct Caseless<'a>(&'a str);

impl Ord for Caseless<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let [one, other] = [self, other].map(|name| name.0.bytes());
        let lower = |byte: u8| byte.to_ascii_lowercase();
        one.map(lower).cmp(other.map(lower))
    }
}

impl PartialOrd for Caseless<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Caseless<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(other.0)
    }
}

impl Eq for Caseless<'_> {}

//! Which files two torrents would share on one disk.
//!
//! Names alone, as they are made on disk and compared byte by byte: what lies there is the
//! driver's to find out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::content::metainfo::Metainfo;
use crate::units::InfoHash;

/// A torrent and the folder that its files go to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed<'a> {
    pub(crate) metainfo: &'a Metainfo,
    pub(crate) dir: &'a Path,
}

/// Where torrents lie, so that one of thousands finds its few neighbours.
#[derive(Debug, Default)]
pub(crate) struct Places {
    roots: BTreeMap<PathBuf, BTreeSet<InfoHash>>,
}

impl Places {
    /// A torrent lies there.
    pub(crate) fn insert(&mut self, placed: Placed<'_>) {
        let torrents = self.roots.entry(placed.root()).or_default();
        torrents.insert(placed.metainfo.info_hash);
    }

    /// A torrent is gone.
    pub(crate) fn remove(&mut self, placed: Placed<'_>) {
        let root = placed.root();
        if let Some(torrents) = self.roots.get_mut(&root) {
            torrents.remove(&placed.metainfo.info_hash);
            if torrents.is_empty() {
                self.roots.remove(&root);
            }
        }
    }

    /// Torrents at the same place, around it and inside it: all that may have a file in common
    /// with this one, itself among them. O(depth log torrents), and what is found.
    pub(crate) fn near(&self, placed: Placed<'_>) -> Vec<InfoHash> {
        let root = placed.root();
        let around = root.ancestors().skip(1).filter_map(|at| self.roots.get(at));
        // In the order of paths, what lies in a folder comes right behind it.
        let from_here = self.roots.range(root.clone()..);
        let inside = from_here.take_while(|(at, _)| at.starts_with(&root));
        let inside = inside.map(|(_, torrents)| torrents);
        around.chain(inside).flatten().copied().collect()
    }
}

impl Placed<'_> {
    /// A path of `self` that `other` needs too, be it as a file or as a folder; `None` if they keep
    /// apart. O(files log files).
    pub(crate) fn clash(&self, other: Placed<'_>) -> Option<PathBuf> {
        let taken: BTreeSet<PathBuf> = other.paths().collect();
        self.paths().find(|path| {
            let in_folder_of_ours = taken.range(path.clone()..).next();
            path.ancestors().any(|at| taken.contains(at))
                || in_folder_of_ours.is_some_and(|other| other.starts_with(path))
        })
    }

    /// What all its paths begin with.
    fn root(&self) -> PathBuf {
        match self.metainfo.multi_file {
            true => self.dir.join(&self.metainfo.name),
            false => self.paths().next().unwrap_or_else(|| self.dir.into()),
        }
    }

    /// Its files on disk: all but pad files (BEP 47).
    fn paths(&self) -> impl Iterator<Item = PathBuf> {
        let folder = match self.metainfo.multi_file {
            true => self.dir.join(&self.metainfo.name),
            false => self.dir.to_owned(),
        };
        let files = self.metainfo.files.iter().filter(|file| !file.pad);
        files.map(move |file| folder.join(file.path.iter().collect::<PathBuf>()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::bencode::Dict;
    use crate::content::metainfo::build::{DraftContent, DraftFile, MetainfoDraft};

    fn torrent(name: &str, files: &[&str]) -> Metainfo {
        let file = |path: &&str| DraftFile {
            path: path.split('/').map(str::to_owned).collect(),
            len: 10,
        };
        let content = match files.is_empty() {
            true => DraftContent::File(10),
            false => DraftContent::Folder(files.iter().map(file).collect()),
        };
        let draft = MetainfoDraft {
            name: name.to_owned(),
            content,
            piece_len: 16_384,
            trackers: Vec::new(),
            private: false,
            comment: None,
            created_by: None,
            creation_date: None,
        };
        draft.finish(&[[1; 20]]).expect("a torrent")
    }

    fn clash(a: (&Metainfo, &str), b: (&Metainfo, &str)) -> Option<PathBuf> {
        let [a, b] = [a, b].map(|(metainfo, dir)| Placed {
            metainfo,
            dir: Path::new(dir),
        });
        let found = a.clash(b);
        assert_eq!(found.is_some(), b.clash(a).is_some(), "both ways");
        let mut places = Places::default();
        places.insert(b);
        assert!(found.is_none() || places.near(a) == [b.metainfo.info_hash]);
        places.remove(b);
        assert!(places.near(a).is_empty());
        found
    }

    #[test]
    fn one_path_is_one_file_whoever_names_it() {
        let (single, folder) = (torrent("a", &[]), torrent("a", &["x", "sub/y"]));
        let other = torrent("a", &["z", "sub/y"]);
        let apart = torrent("a", &["z", "sub/w"]);
        assert_eq!(clash((&single, "/d"), (&single, "/d")), Some("/d/a".into()));
        assert_eq!(clash((&single, "/d"), (&single, "/e")), None);
        let shared = clash((&folder, "/d"), (&other, "/d"));
        assert_eq!(shared, Some("/d/a/sub/y".into()));
        assert_eq!(clash((&folder, "/d"), (&apart, "/d")), None, "one folder");
        let upper = torrent("A", &[]);
        assert_eq!(clash((&single, "/d"), (&upper, "/d")), None, "by case");
    }

    #[test]
    fn names_count_as_they_are_made_and_not_as_they_are_listed() {
        let named = |name: &[u8]| {
            let info = Dict::new()
                .with("length", 10_u8)
                .with("name", name)
                .with("piece length", 16_384_u32)
                .with("pieces", &[1; 20][..]);
            let torrent = Dict::new().with("info", info).encode();
            Metainfo::from_bytes(&torrent).expect("a torrent")
        };
        let plain = named(b"a_b");
        let other = named(b"a\x01/b");
        assert_ne!(plain.info_hash, other.info_hash);
        let shared = clash((&plain, "/d"), (&other, "/d"));
        assert_eq!(shared, Some("/d/a_b".into()));
        let apart = named(b"a/b");
        assert_eq!(clash((&plain, "/d"), (&apart, "/d")), None);
    }

    #[test]
    fn a_file_where_another_needs_a_folder_is_a_clash_across_folders_too() {
        let (single, folder) = (torrent("a", &[]), torrent("a", &["x", "sub/y"]));
        assert_eq!(
            clash((&folder, "/d"), (&single, "/d")),
            Some("/d/a/x".into())
        );
        let below = torrent("y", &[]);
        let shared = clash((&below, "/d/a/sub"), (&folder, "/d"));
        assert_eq!(shared, Some("/d/a/sub/y".into()));
        assert_eq!(clash((&below, "/d/a"), (&folder, "/d")), None);
    }
}

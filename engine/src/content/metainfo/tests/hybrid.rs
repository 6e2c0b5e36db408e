//! Hybrids: what libtorrent 2.1.1 takes and refuses, and what the refusal says.

use super::*;

const PIECE: u32 = 16_384;

fn leaf(len: u32) -> Dict {
    let root = (len > 0).then_some(&[9; 32][..]);
    let file = Dict::new()
        .with("length", len)
        .with_some("pieces root", root);
    Dict::new().with("", file)
}

fn tree(entries: &[(&str, Dict)]) -> Dict {
    let entries = entries.iter().cloned();
    entries.fold(Dict::new(), |tree, (name, entry)| tree.with(name, entry))
}

fn pad(len: u32) -> Dict {
    file(&[b".pad", b"x"], i64::from(len)).with("attr", "p")
}

fn hybrid(info: Dict, tree: Dict) -> Dict {
    info.with("meta version", 2_u8).with("file tree", tree)
}

/// What is wrong with a hybrid of these files, if anything is.
fn error(files: Vec<Dict>, hash_count: usize, tree: Dict) -> Option<HybridError> {
    error_of(hybrid(multi(hash_count, files), tree))
}

fn error_of(info: Dict) -> Option<HybridError> {
    match read(info) {
        Ok(_) => None,
        Err(MetainfoError::Hybrid(error)) => Some(error),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn halves_that_agree_are_read_as_version_1() {
    let single = hybrid(info(1).with("length", 5_u8), tree(&[("dir", leaf(5))]));
    assert_eq!(read(single).unwrap().files[0].path, ["dir"]);
    let ab = || tree(&[("a", leaf(5)), ("b", leaf(7))]);
    let [a, b] = [file(&[b"a"], 5), file(&[b"b"], 7)];
    let listed = vec![a.clone(), pad(PIECE - 5), b.clone()];
    assert_eq!(error(listed.clone(), 2, ab()), None);
    let metainfo = read(hybrid(multi(2, listed.clone()), ab())).unwrap();
    assert_eq!(metainfo.files.len(), 3);
    let padded = [listed, vec![pad(PIECE - 7)]].concat();
    assert_eq!(error(padded, 2, ab()), None, "the last file may be padded");
    let by_name = file(&[b"_____padding_file_0"], i64::from(PIECE - 5));
    assert_eq!(
        error(vec![a, by_name, b], 2, ab()),
        None,
        "as BitComet pads"
    );
    let deep = tree(&[("a", tree(&[("b", leaf(PIECE))])), ("c", leaf(1))]);
    let listed = vec![file(&[b"a", b"b"], i64::from(PIECE)), file(&[b"c"], 1)];
    assert_eq!(error(listed, 2, deep), None);
}

#[test]
fn empty_files_and_symlinks_count_and_their_names_do_not() {
    let link = Dict::new().with("attr", "l").with("length", 99_u8);
    let link = Dict::new().with("", link);
    let both = tree(&[("a", leaf(0)), ("b", leaf(7)), ("c", link)]);
    let listed_link = file(&[b"c"], 0).with("attr", "l");
    let listed = |name: &[u8]| vec![file(&[name], 0), file(&[b"b"], 7), listed_link.clone()];
    assert_eq!(error(listed(b"a"), 1, both.clone()), None);
    assert_eq!(error(listed(b"z"), 1, both.clone()), None);
    let fewer = error(listed(b"a")[..2].to_vec(), 1, both);
    // The padding of `b` may be missing, the link may not.
    assert_eq!(fewer, Some(HybridError::Count { listed: 2, tree: 4 }));
}

#[test]
fn a_name_is_compared_as_it_is_made() {
    let named = |name: &str| tree(&[(name, leaf(5))]);
    let listed = || vec![file(&[b"a\x01b/"], 5)];
    assert_eq!(error(listed(), 1, named("/a\x02b")), None);
    assert!(error(listed(), 1, named("ab")).is_some());
}

#[test]
fn halves_that_disagree_are_refused_with_what_differs() {
    let ab = || tree(&[("a", leaf(5)), ("b", leaf(7))]);
    let [a, b] = [file(&[b"a"], 5), file(&[b"b"], 7)];
    let between = pad(PIECE - 5);
    let differ = |index, files: &[&Dict], hashes| {
        let files = files.iter().map(|file| (*file).clone()).collect();
        match error(files, hashes, ab()) {
            Some(HybridError::File { index: found, .. }) => assert_eq!(found, index),
            other => panic!("{other:?}"),
        }
    };
    differ(1, &[&a, &b], 1);
    differ(0, &[&b, &pad(PIECE - 7), &a], 2);
    differ(2, &[&a, &pad(PIECE - 6), &b], 2);
    differ(2, &[&a, &between, &file(&[b"c"], 7)], 2);
    differ(2, &[&a, &between, &file(&[b"b"], 8)], 2);
    differ(2, &[&a, &between, &file(&[b"a", b"b"], 7)], 2);
    differ(1, &[&a, &file(&[b"x"], i64::from(PIECE - 5)), &b], 2);
    differ(2, &[&a, &between], 1);
    let more = vec![
        a.clone(),
        between.clone(),
        b.clone(),
        pad(PIECE - 7),
        a.clone(),
    ];
    let count = HybridError::Count { listed: 5, tree: 4 };
    assert_eq!(error(more, 3, ab()), Some(count));
    let longer = vec![a.clone(), between, b, pad(PIECE - 6)];
    let length = HybridError::Length {
        listed: 32_769,
        tree: 32_768,
    };
    assert_eq!(error(longer, 3, ab()), Some(length));
    let none = HybridError::Count { listed: 1, tree: 0 };
    assert_eq!(error(vec![a], 1, Dict::new()), Some(none));
    let single = |tree| error_of(hybrid(info(1).with("length", 5_u8), tree));
    assert!(single(tree(&[("dir", leaf(6))])).is_some());
    assert!(single(tree(&[("dir", tree(&[("dir", leaf(5))]))])).is_some());
    let said = single(tree(&[("x", leaf(5))])).unwrap().to_string();
    assert_eq!(
        said,
        "file 0 is \"dir\" of 5 bytes at byte 0 in the list and \"x\" of 5 bytes at byte 0 in the \
         file tree"
    );
}

#[test]
fn half_a_hybrid_is_refused() {
    let plain = || info(1).with("length", 5_u8);
    let agreeing = || tree(&[("dir", leaf(5))]);
    let version = |number: i64| plain().with("meta version", number);
    assert_eq!(error_of(version(2)), Some(HybridError::NoTree));
    assert_eq!(error_of(version(3)), Some(HybridError::Version(3)));
    assert_eq!(error_of(version(1)), None);
    assert_eq!(error_of(plain().with("meta version", "2")), None);
    let no_version = plain().with("file tree", agreeing());
    assert_eq!(error_of(no_version), Some(HybridError::NoVersion));
    for len in [20_000_u32, 8_192] {
        let odd = hybrid(plain(), agreeing()).with("piece length", len);
        assert_eq!(error_of(odd), Some(HybridError::PieceLen(len)));
    }
    let no_root = Dict::new().with("", Dict::new().with("length", 5_u8));
    let padding = leaf(0).with("", Dict::new().with("length", 0_u8).with("attr", "p"));
    for entry in [no_root, padding, leaf(5).with("x", leaf(5))] {
        let broken = error_of(hybrid(plain(), tree(&[("dir", entry)])));
        assert!(
            matches!(broken, Some(HybridError::Malformed { .. })),
            "{broken:?}"
        );
    }
    assert!(error_of(hybrid(plain(), tree(&[("", leaf(5))]))).is_some());
}

#[test]
fn version_2_alone_is_refused_by_name() {
    let bare = Dict::new().with("name", "dir").with("piece length", PIECE);
    let tree = || tree(&[("dir", leaf(5))]);
    let alone = read(hybrid(bare, tree()));
    assert_eq!(alone, Err(MetainfoError::VersionTwoOnly));
    let hashed = read(hybrid(info(1), tree()));
    assert_eq!(hashed, Err(MetainfoError::VersionTwoOnly));
}

//! Torrent files: good ones, hostile ones, and every way to cut one short.

use proptest::prelude::*;

use super::*;
use crate::content::bencode::Dict;

mod hybrid;
mod names;

fn path(names: &[&[u8]]) -> Value {
    let names: Vec<Value> = names.iter().map(|name| Value::from(*name)).collect();
    names.into()
}

fn file(names: &[&[u8]], len: i64) -> Dict {
    Dict::new().with("length", len).with("path", path(names))
}

fn info(hash_count: usize) -> Dict {
    Dict::new()
        .with("name", "dir")
        .with("piece length", 16_384_u32)
        .with("pieces", &*vec![7; hash_count * 20])
}

fn multi(hash_count: usize, files: Vec<Dict>) -> Dict {
    let files: Vec<Value> = files.into_iter().map(Value::from).collect();
    info(hash_count).with("files", files)
}

fn read(info: Dict) -> Result<Metainfo, MetainfoError> {
    Metainfo::from_bytes(&Dict::new().with("info", info).encode())
}

#[test]
fn a_single_file_is_called_like_the_torrent() {
    let metainfo = read(info(2).with("length", 20_000_u32)).unwrap();
    assert!(!metainfo.multi_file);
    assert_eq!(metainfo.files[0].path, ["dir"]);
    assert_eq!(metainfo.geometry.piece_count(), 2);
    assert_eq!(metainfo.piece_hashes, [[7; 20]; 2]);
}

#[test]
fn the_info_hash_is_over_the_bytes_as_they_came() {
    let bytes = b"d8:announce5:http:4:infod6:pieces20:aaaaaaaaaaaaaaaaaaaa4:name1:x\
        6:lengthi3e12:piece lengthi16384e4:name1:yee";
    let metainfo = Metainfo::from_bytes(bytes).unwrap();
    let info = bytes.strip_prefix(b"d8:announce5:http:4:info").unwrap();
    let info = info.strip_suffix(b"e").unwrap();
    assert_eq!(metainfo.info_bytes, info);
    assert_eq!(metainfo.info_hash, hash_of(info));
    assert_eq!(metainfo.name, "x", "the first of a repeated key wins");
    let again = Metainfo::from_bytes(&metainfo.to_bytes()).unwrap();
    assert_eq!(again, metainfo);
}

#[test]
fn a_known_torrent_has_its_known_hash() {
    let info = b"d6:lengthi3e4:name1:x12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae";
    let digest = Sha1::digest(info);
    assert_eq!(hash_of(info).to_string(), hex::encode(digest));
    assert_eq!(
        hash_of(b"abc").to_string(),
        "a9993e364706816aba3e25717850c26c9cd0d89d"
    );
}

#[test]
fn files_follow_each_other_and_may_be_empty_or_padding() {
    let pad = |len| file(&[b".pad", b"10"], len).with("attr", "p");
    let metainfo = read(multi(
        3,
        vec![
            file(&[b"a"], 16_374),
            pad(10),
            file(&[b"empty"], 0),
            file(&[b"b"], 16_374),
            pad(10),
            file(&[b"c", b"d"], 5).with("attr", "xh"),
        ],
    ))
    .unwrap();
    let offsets: Vec<u64> = metainfo.files.iter().map(|file| file.offset).collect();
    assert_eq!(offsets, [0, 16_374, 16_384, 16_384, 32_758, 32_768]);
    let pads: Vec<bool> = metainfo.files.iter().map(|file| file.pad).collect();
    assert_eq!(pads, [false, true, false, false, true, false]);
    assert_eq!(metainfo.geometry.total_len(), 32_773);
}

#[test]
fn a_pad_file_is_known_by_the_name_that_bitcomet_gives_it() {
    let files = [
        &b"_____padding_file_0_if you see this"[..],
        b"_____padding_file",
        b"a",
    ];
    let files = files.map(|name| file(&[b"sub", name], 5));
    let metainfo = read(multi(1, files.to_vec())).unwrap();
    let pads: Vec<bool> = metainfo.files.iter().map(|file| file.pad).collect();
    assert_eq!(pads, [true, false, false]);
}

#[test]
fn a_symlink_is_left_out_whatever_it_says() {
    let link = Dict::new()
        .with("attr", "l")
        .with("length", 1_000_000_u32)
        .with("path", path(&[b"..", b"etc"]))
        .with("symlink path", path(&[b"..", b"..", b"etc"]));
    let metainfo = read(multi(1, vec![file(&[b"a"], 5), link])).unwrap();
    assert_eq!(metainfo.files.len(), 1);
    assert_eq!(metainfo.geometry.total_len(), 5);
}

#[test]
fn lengths_and_hashes_must_agree() {
    let single = |hashes, len: i64| read(info(hashes).with("length", len));
    assert!(single(1, 16_384).is_ok());
    assert!(matches!(
        single(1, 16_385),
        Err(MetainfoError::PieceHashes { .. })
    ));
    assert!(matches!(
        single(2, 16_384),
        Err(MetainfoError::PieceHashes { .. })
    ));
    assert_eq!(single(0, 0), Err(MetainfoError::Empty));
    assert_eq!(single(1, -1), Err(MetainfoError::Malformed("length")));
    assert_eq!(single(1, i64::MAX), Err(MetainfoError::TotalTooLong));
    let half = 1 << 47;
    let files = vec![file(&[b"a"], half), file(&[b"b"], half), file(&[b"c"], 1)];
    assert_eq!(read(multi(1, files)), Err(MetainfoError::TotalTooLong));
    let many = single(1, 1 << 40);
    assert_eq!(many, Err(MetainfoError::TooManyPieces { count: 1 << 26 }));
    for len in [0_i64, -1, 1 << 30, 1 << 33] {
        let info = info(1).with("length", 5_u8).with("piece length", len);
        assert_eq!(read(info), Err(MetainfoError::Malformed("piece length")));
    }
    let ragged = info(0).with("length", 5_u8).with("pieces", &[7; 21][..]);
    assert!(matches!(
        read(ragged),
        Err(MetainfoError::PieceHashes { .. })
    ));
}

#[test]
fn odd_piece_lengths_are_fine() {
    let metainfo = read(info(3).with("length", 25_u8).with("piece length", 10_u8)).unwrap();
    assert_eq!(metainfo.geometry.piece_count(), 3);
}

#[test]
fn what_is_missing_or_of_another_type_is_named() {
    assert_eq!(
        Metainfo::from_bytes(b"de"),
        Err(MetainfoError::Missing("info"))
    );
    assert_eq!(
        Metainfo::from_bytes(b"le"),
        Err(MetainfoError::NotADictionary)
    );
    assert_eq!(
        Metainfo::from_bytes(b"d4:infolee"),
        Err(MetainfoError::Malformed("info"))
    );
    assert_eq!(read(Dict::new()), Err(MetainfoError::Missing("pieces")));
    assert_eq!(read(info(1)), Err(MetainfoError::Missing("length")));
    let both = multi(1, vec![file(&[b"a"], 5)]).with("length", 5_u8);
    assert_eq!(read(both), Err(MetainfoError::SingleAndMulti));
    let long = vec![b'x'; 11 * 1024 * 1024 + 1];
    let error = Metainfo::from_bytes(&long);
    assert!(matches!(error, Err(MetainfoError::TooLong { .. })));
}

#[test]
fn tiers_come_before_announce_and_are_bounded() {
    let torrent = |dict: Dict| {
        let info = info(1).with("length", 5_u8);
        Metainfo::from_bytes(&dict.with("info", info).encode()).unwrap()
    };
    let one = torrent(Dict::new().with("announce", "http://a/"));
    assert_eq!(one.trackers, [["http://a/"]]);
    let list: Vec<Value> = vec![
        path(&[]),
        path(&[b"http://b/", b"\xff", b"", b" udp://c:1 "]),
        Value::Int(3),
        path(&[&[b'x'; 2049]]),
        path(&[b"http://d/"]),
    ];
    let tiers = torrent(
        Dict::new()
            .with("announce", "http://a/")
            .with("announce-list", list),
    );
    assert_eq!(
        tiers.trackers,
        [vec!["http://b/", "udp://c:1"], vec!["http://d/"]]
    );
    let many: Vec<Value> = (0..300).map(|_| path(&[b"http://e/"])).collect();
    let many = torrent(Dict::new().with("announce-list", many));
    assert_eq!(many.trackers.len(), TRACKERS_MAX);
}

#[test]
fn a_torrent_cut_short_anywhere_is_an_error() {
    let metainfo = read(multi(1, vec![file(&[b"a"], 5), file(&[b"b", b"c"], 6)])).unwrap();
    let bytes = metainfo.to_bytes();
    for len in 0..bytes.len() {
        assert!(Metainfo::from_bytes(&bytes[..len]).is_err(), "{len}");
    }
    let info_hash = metainfo.info_hash;
    let info = &metainfo.info_bytes;
    assert!(Metainfo::from_info(info, info_hash).is_ok());
    assert!(matches!(
        Metainfo::from_info(&info[1..], info_hash),
        Err(MetainfoError::InfoHash { .. })
    ));
}

#[test]
fn what_follows_the_file_is_left_out_and_nothing_may_follow_info() {
    let metainfo = read(multi(1, vec![file(&[b"a"], 5)])).unwrap();
    let bytes = metainfo.to_bytes();
    for tail in [&b"\n"[..], b" \r\n", b"\0", b"e", b"de", b"i5", b"<html>"] {
        let longer = [&bytes, tail].concat();
        assert_eq!(Metainfo::from_bytes(&longer), Ok(metainfo.clone()));
        let info = [&metainfo.info_bytes, tail].concat();
        assert_eq!(
            Metainfo::from_info(&info, hash_of(&info)),
            Err(DecodeError::Trailing(tail.len()).into())
        );
    }
    let before = [b"\n", &bytes[..]].concat();
    assert!(Metainfo::from_bytes(&before).is_err(), "but nothing before");
    let room = usize::try_from(TORRENT_LEN_MAX).unwrap() - bytes.len();
    let longest = [&bytes[..], &vec![b'\n'; room]].concat();
    assert!(Metainfo::from_bytes(&longest).is_ok());
    let longer = [&longest[..], b"\n"].concat();
    let error = Metainfo::from_bytes(&longer);
    assert!(matches!(error, Err(MetainfoError::TooLong { .. })));
}

/// What peers send to a magnet within its limits is kept in a torrent file, with all that may stand
/// around it, and has to be read again from there.
#[test]
fn the_largest_dictionary_that_peers_may_send_is_read_again_from_its_file() {
    let plain = || info(1).with("length", 5_u8);
    let raw = |bytes: Vec<u8>| plain().with("x", Value::Raw(bytes));
    let nested = |depth: usize| raw([vec![b'l'; depth], vec![b'e'; depth]].concat());
    let many = |count: usize| raw([&b"l"[..], &b"0:".repeat(count), b"e"].concat());
    let long = |len: usize| plain().with("x", &*vec![0; len]);
    // Beside what is in the lists, the dictionary is one deep and has eleven values.
    let room = usize::try_from(INFO_LEN_MAX).unwrap() - plain().encode().len() - 3 - 9;
    for (largest, larger) in [
        (nested(99), nested(100)),
        (many(2_999_989), many(2_999_990)),
        (long(room), long(room + 1)),
    ] {
        let info = largest.encode();
        let metainfo = Metainfo {
            trackers: vec![vec!["\u{e9}".repeat(TRACKER_URL_MAX / 2)]; TRACKERS_MAX],
            comment: Some("\u{1f600}".repeat(TEXT_MAX)),
            created_by: Some("\u{1f600}".repeat(TEXT_MAX)),
            creation_date: Some(u64::MAX),
            ..Metainfo::from_info(&info, hash_of(&info)).unwrap()
        };
        let again = Metainfo::from_bytes(&metainfo.to_bytes());
        assert_eq!(again.as_ref().err(), None);
        assert!(again == Ok(metainfo), "another torrent");
        let info = larger.encode();
        assert!(Metainfo::from_info(&info, hash_of(&info)).is_err());
        assert!(read(larger).is_err(), "nor in a file");
    }
}

#[test]
fn hostile_bencode_is_an_error() {
    for bytes in [
        "d4:info".to_owned() + &"l".repeat(200_000),
        "d4:info".to_owned() + &"d1:a".repeat(200_000),
        "d4:infod6:pieces99999999999999999999:".to_owned(),
        "99999999999999999999:".to_owned(),
        "d4:infod5:filesl".to_owned() + &"le".repeat(1_600_000) + "eee",
    ] {
        assert!(Metainfo::from_bytes(bytes.as_bytes()).is_err());
    }
}

proptest! {
    #[test]
    fn a_changed_byte_never_panics(at: prop::sample::Index, byte: u8) {
        let files = vec![file(&[b"a"], 5), file(&[b"b", b"c"], 6).with("attr", "p")];
        let list: Vec<Value> = vec![path(&[b"http://b/"])];
        let torrent = Dict::new()
            .with("announce-list", list)
            .with("creation date", 5_u8)
            .with("info", multi(1, files));
        let mut bytes = torrent.encode();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(metainfo) = Metainfo::from_bytes(&bytes) {
            prop_assert_eq!(Metainfo::from_bytes(&metainfo.to_bytes()), Ok(metainfo));
        }
    }
}

//! Names: what libtorrent makes of them (`tests/vectors/names.txt`), and that whatever is listed
//! stays in its folder.

use std::collections::BTreeSet;

use super::*;

/// Made by libtorrent 2.1.1; `tests/vectors/names.py` writes it again.
const VECTORS: &str = include_str!("../../../../../tests/vectors/names.txt");

/// A component as the vectors write it: `\xNN` is a byte, `\e` none.
fn bytes(text: &str) -> Vec<u8> {
    let mut parts = text.split('\\');
    let mut out = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        let rest = match part.strip_prefix('x') {
            Some(digits) => {
                out.push(u8::from_str_radix(&digits[..2], 16).unwrap());
                &digits[2..]
            }
            None => part.strip_prefix('e').unwrap(),
        };
        out.extend_from_slice(rest.as_bytes());
    }
    out
}

fn components(text: &str) -> Vec<Vec<u8>> {
    text.split('/').map(bytes).collect()
}

fn bytes_of(path: &[String]) -> Vec<Vec<u8>> {
    path.iter().map(|name| name.as_bytes().to_vec()).collect()
}

/// A file as the vectors write it.
fn listed(text: &str) -> Dict {
    let (head, path) = match text.split_once(':') {
        Some((head, path)) => (head, Some(components(path))),
        None => (text, None),
    };
    let len = head.trim_end_matches(char::is_alphabetic);
    let attr = Some(&head[len.len()..]).filter(|attr| !attr.is_empty());
    let path = path.map(|path| {
        path.iter()
            .map(|name| Value::from(&**name))
            .collect::<Vec<_>>()
    });
    Dict::new()
        .with("length", len.parse::<u32>().unwrap())
        .with_some("attr", attr)
        .with_some("path", path)
}

fn read_component(name: &[u8]) -> Metainfo {
    read(multi(1, vec![file(&[name], 5)])).unwrap()
}

fn path_error(info: Dict) -> Option<PathError> {
    match read(info) {
        Ok(_) => None,
        Err(MetainfoError::Path { error, .. }) => Some(error),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn names_become_what_libtorrent_makes_of_them() {
    let mut counts = [0; 4];
    for line in VECTORS.lines().filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["component", name, made] => {
                let metainfo = read_component(&bytes(name));
                assert_eq!(metainfo.files[0].path, [text(made)], "{line}");
                counts[0] += 1;
            }
            ["single", name, made] => {
                let found = read(info(1).with("length", 5_u8).with("name", &*bytes(name)));
                let path = found.ok().map(|found| found.files[0].path.clone());
                let expected = (made != "!").then(|| vec![text(made)]);
                assert_eq!(path, expected, "{line}");
                counts[1] += 1;
            }
            ["folder", name, made] => {
                let listed = multi(1, vec![file(&[b"a"], 5)]);
                let found = read(listed.with("name", &*bytes(name))).unwrap();
                let expected = match made {
                    "#" => found.info_hash.to_string(),
                    made => text(made),
                };
                assert_eq!(found.name, expected, "{line}");
                counts[2] += 1;
            }
            ["files", .., "!"] => {
                let (files, _) = line[6..].split_once(" = ").unwrap();
                let files = files.split(' ').map(listed).collect();
                assert!(read(multi(1, files)).is_err(), "{line}");
                counts[3] += 1;
            }
            ["files", ..] => {
                let (files, made) = line[6..].split_once(" = ").unwrap();
                let found = read(multi(1, files.split(' ').map(listed).collect())).unwrap();
                let found: Vec<_> = found
                    .files
                    .iter()
                    .map(|file| bytes_of(&file.path))
                    .collect();
                let made: Vec<_> = made.split(' ').map(components).collect();
                assert_eq!(found, made, "{line}");
                counts[3] += 1;
            }
            _ => assert!(line.starts_with('#'), "{line}"),
        }
    }
    assert!(counts.iter().all(|count| *count > 35), "{counts:?}");
}

fn text(name: &str) -> String {
    String::from_utf8(bytes(name)).unwrap()
}

#[test]
fn the_name_as_it_is_listed_stays_with_a_file_that_got_another() {
    let files = vec![
        file(&[b"a", b"b"], 1),
        file(&[b"a", b"B"], 1),
        file(&[b"..", b"\xff"], 1),
        Dict::new().with("length", 1_u8).with("attr", "p"),
    ];
    let metainfo = read(multi(1, files).with("name", "x\u{202e}y/")).unwrap();
    let originals: Vec<_> = metainfo
        .files
        .iter()
        .map(|file| file.original.clone())
        .collect();
    let listed = |names: &[&[u8]]| Some(names.iter().map(|name| name.to_vec()).collect());
    assert_eq!(
        originals,
        [
            None,
            listed(&[b"a", b"B"]),
            listed(&[b"..", b"\xff"]),
            listed(&[])
        ]
    );
    assert_eq!(metainfo.name, "xy");
    let name = "x\u{202e}y/".as_bytes().to_vec();
    assert_eq!(metainfo.name_original, Some(name.clone()));
    let plain = read(multi(1, vec![file(&[b"a"], 5)])).unwrap();
    assert_eq!(plain.name_original, None);
    let single = read(info(1).with("length", 5_u8).with("name", &*name)).unwrap();
    assert_eq!(single.files[0].original, Some(vec![name]));
}

#[test]
fn paths_that_lead_elsewhere_lead_into_the_folder() {
    for (names, path) in [
        (&[&b".."[..], b"x"][..], &["_", "x"][..]),
        (&[b"a", b"..", b"..", b"x"], &["a", "_", "_", "x"]),
        (&[b"/etc", b"passwd"], &["etc", "passwd"]),
        (&[b"a/../../b"], &["a....b"]),
        (&[b"..\\..\\x"], &["....x"]),
        (&[b"a\0b"], &["ab"]),
        (&[b"a", b"", b"b"], &["a", "_", "b"]),
    ] {
        let metainfo = read(multi(1, vec![file(names, 5)])).unwrap();
        assert_eq!(metainfo.files[0].path, path, "{names:?}");
    }
}

/// What no name can be made of, or what nobody needs.
#[test]
fn a_path_without_components_or_with_too_many_is_refused() {
    let of_file = |names: &[&[u8]]| path_error(multi(1, vec![file(names, 5)]));
    assert_eq!(of_file(&[]), Some(PathError::Empty));
    assert_eq!(of_file(&[&b"a"[..]; 100]), None);
    assert_eq!(
        of_file(&[&b"a"[..]; 101]),
        Some(PathError::TooDeep { count: 101 })
    );
    for name in ["", "/", ".", "..", "./.", "\u{200e}"] {
        let single = info(1).with("length", 5_u8).with("name", name);
        assert_eq!(path_error(single), Some(PathError::Empty), "{name:?}");
    }
    let same = |count| multi(1, vec![file(&[b"a"], 1); count]);
    assert_eq!(path_error(same(33)), None);
    assert_eq!(path_error(same(34)), Some(PathError::TooManyDuplicates));
}

/// libtorrent gives two files one path in the first case and makes none in the second.
#[test]
fn where_libtorrent_fails_files_stay_apart_and_can_be_made() {
    let files = vec![file(&[b"a"], 1), file(&[b"a"], 1), file(&[b"a.1"], 1)];
    let found = read(multi(1, files)).unwrap().files;
    let paths: Vec<_> = found.iter().map(|file| file.path.concat()).collect();
    assert_eq!(paths, ["a", "a.1", "a.1.1"]);
    let long = read_component(&[1; 300]);
    assert_eq!(long.files[0].path, ["_".repeat(240)]);
    let most = read_component(&[1; 255]);
    assert_eq!(most.files[0].path, ["_".repeat(255)]);
    let twice = multi(1, vec![file(&[&[1; 255]], 1); 2]);
    let error = PathError::ComponentTooLong { len: 257 };
    assert_eq!(path_error(twice), Some(error));
}

/// Everything that a file may be opened by.
fn assert_safe(metainfo: &Metainfo) {
    let paths = metainfo.files.iter().flat_map(|file| &file.path);
    for name in paths.chain([&metainfo.name]) {
        assert!((1..=PATH_COMPONENT_MAX).contains(&name.len()), "{name:?}");
        assert!(name != "." && name != "..");
        assert!(!name.contains(['/', '\\']), "{name:?}");
        assert!(!name.contains(char::is_control), "{name:?}");
    }
    let mut files = BTreeSet::new();
    let mut folders = BTreeSet::new();
    for file in metainfo.files.iter().filter(|file| !file.pad) {
        assert!((1..=PATH_DEPTH_MAX).contains(&file.path.len()));
        let path: Vec<String> = file
            .path
            .iter()
            .map(|name| name.to_ascii_lowercase())
            .collect();
        folders.extend((1..path.len()).map(|len| path[..len].to_vec()));
        assert!(files.insert(path), "{:?} twice", file.path);
    }
    assert!(files.is_disjoint(&folders), "{files:?} {folders:?}");
}

fn any_name() -> impl Strategy<Value = Vec<u8>> {
    let parts: [&[u8]; 11] = [
        b"a",
        b"A",
        b".",
        b"/",
        b"\\",
        b"\0",
        b".1",
        b"\xe2\x80\x8f",
        b"\xe2",
        b"\xff",
        b"~",
    ];
    let part = prop::sample::select(parts.to_vec());
    let hostile = prop::collection::vec(part, 0..4).prop_map(|parts| parts.concat());
    let long = (200_usize..400, any::<u8>(), any::<u8>()).prop_map(|(len, byte, last)| {
        let mut name = vec![byte; len];
        name.push(last);
        name
    });
    prop_oneof![8 => hostile, 1 => any::<Vec<u8>>(), 1 => long]
}

proptest! {
    #[test]
    fn no_list_of_names_leads_out_of_the_folder_or_to_one_file_twice(
        name in any_name(),
        paths in prop::collection::vec((prop::collection::vec(any_name(), 1..4), 0_u8..5), 1..12),
    ) {
        let files = paths.iter().map(|(names, kind)| {
            let names: Vec<&[u8]> = names.iter().map(|name| &**name).collect();
            let attr = [Some("p"), Some("l")].get(usize::from(*kind)).copied().flatten();
            file(&names, 5).with_some("attr", attr)
        });
        let list = multi(1, files.collect()).with("name", &*name);
        match read(list) {
            Ok(metainfo) => {
                assert_safe(&metainfo);
                let again = Metainfo::from_info(&metainfo.info_bytes, metainfo.info_hash);
                prop_assert_eq!(again, Ok(metainfo), "the same names every time");
            }
            Err(error) => prop_assert!(
                matches!(error, MetainfoError::Empty | MetainfoError::Path { .. }),
                "{error}"
            ),
        }
        if let Ok(metainfo) = read(info(1).with("length", 5_u8).with("name", &*name)) {
            assert_safe(&metainfo);
        }
    }
}

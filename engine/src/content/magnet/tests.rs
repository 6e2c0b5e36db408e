//! Magnet links: forms found in the wild, and what is refused.

use proptest::prelude::*;

use super::*;

const HEX: &str = "c12fe1c06bba254a9dc9f519b335aa7c1367a88a";
const BASE32: &str = "YEX6DQDLXISUVHOJ6UM3GNNKPQJWPKEK";

fn parse(rest: &str) -> Result<Magnet, MagnetError> {
    Magnet::parse(&format!("magnet:?{rest}"))
}

#[test]
fn hex_and_base32_in_either_case_name_the_same_torrent() {
    for digits in [HEX, &HEX.to_uppercase(), BASE32, &BASE32.to_lowercase()] {
        let magnet = parse(&format!("xt=urn:btih:{digits}")).unwrap();
        assert_eq!(magnet.info_hash.to_string(), HEX);
    }
    let magnet = Magnet::parse(&format!(" MAGNET:?xt=URN:BTIH:{HEX}\n")).unwrap();
    assert_eq!(magnet.info_hash.to_string(), HEX);
}

#[test]
fn a_full_link_is_read() {
    let magnet = parse(&format!(
        "xt=urn:btmh:1220aa&xt=urn:btih:{HEX}&dn=a+b%20%C3%A9%0A&tr=http%3A%2F%2Fa%2Fx%3Fk%3D1\
         &tr.1=udp://b:80&tr=udp://b:80&tr=&x.pe=1.2.3.4:5&x.pe=[::1]:6&x.pe=host:7&x.pe=1.2.3.4:0\
         &so=1&xl=5&&novalue"
    ))
    .unwrap();
    assert_eq!(magnet.name.as_deref(), Some("a b é"));
    assert_eq!(magnet.trackers, ["http://a/x?k=1", "udp://b:80"]);
    let peers: Vec<String> = magnet.peers.iter().map(ToString::to_string).collect();
    assert_eq!(peers, ["1.2.3.4:5", "[::1]:6"]);
}

#[test]
fn what_names_no_torrent_or_two_is_refused() {
    assert_eq!(Magnet::parse("http://x"), Err(MagnetError::Scheme));
    assert_eq!(Magnet::parse("magnet:"), Err(MagnetError::Scheme));
    assert_eq!(Magnet::parse("magnet£?"), Err(MagnetError::Scheme));
    assert_eq!(parse(""), Err(MagnetError::NoTopic));
    assert_eq!(parse("xt=urn:sha1:aa"), Err(MagnetError::NoTopic));
    for digits in [
        "",
        "zz",
        &HEX[1..],
        &HEX.replace('c', "g"),
        &BASE32.replace('Y', "1"),
    ] {
        let error = parse(&format!("xt=urn:btih:{digits}"));
        assert_eq!(error, Err(MagnetError::InfoHash(digits.to_owned())));
    }
    let other = HEX.replace('c', "d");
    let two = parse(&format!("xt.1=urn:btih:{HEX}&xt.2=urn:btih:{other}"));
    assert!(matches!(two, Err(MagnetError::TwoTopics { .. })));
    assert!(parse(&format!("xt=urn:btih:{HEX}&xt=urn:btih:{BASE32}")).is_ok());
    for escape in ["%", "%2", "%zz", "%é"] {
        let error = parse(&format!("xt=urn:btih:{HEX}&dn={escape}"));
        assert!(matches!(error, Err(MagnetError::Escape(_))), "{escape}");
    }
}

#[test]
fn a_link_of_version_2_alone_says_so() {
    let hash = "ab".repeat(32);
    for rest in [
        format!("xt=urn:btmh:1220{hash}"),
        format!("dn=a&xt.1=URN:BTMH:1220{hash}&tr=http://a/"),
    ] {
        assert_eq!(parse(&rest), Err(MagnetError::VersionTwoOnly), "{rest}");
        let hybrid = parse(&format!("{rest}&xt.2=urn:btih:{HEX}")).unwrap();
        assert_eq!(hybrid.info_hash.to_string(), HEX);
    }
    let error = MagnetError::VersionTwoOnly.to_string();
    assert!(error.contains("version 2 only"), "{error}");
    assert_eq!(parse("dn=urn:btmh:1220"), Err(MagnetError::NoTopic));
}

#[test]
fn links_and_lists_are_bounded() {
    let long = format!(
        "magnet:?xt=urn:btih:{HEX}&dn={}",
        "x".repeat(MAGNET_LEN_MAX)
    );
    assert!(matches!(
        Magnet::parse(&long),
        Err(MagnetError::TooLong { .. })
    ));
    let many: String = (0..500)
        .map(|i| format!("&tr=http://{i}/&x.pe=1.2.3.4:{}", i + 1))
        .collect();
    let magnet = parse(&format!("xt=urn:btih:{HEX}{many}&dn={}", "é".repeat(1000))).unwrap();
    assert_eq!(magnet.trackers.len(), TRACKERS_MAX);
    assert_eq!(magnet.peers.len(), PEERS_MAX);
    assert_eq!(magnet.name.unwrap().chars().count(), 255);
}

/// Escaped, the trackers of such a link would be three times as long as a link may be.
#[test]
fn the_longest_link_can_be_written_again() {
    let mut link = format!("magnet:?xt=urn:btih:{HEX}&dn=x&x.pe=[::1]:6");
    for number in 0.. {
        let url = format!("&tr={number}{}", ":".repeat(2_000));
        if link.len() + url.len() > MAGNET_LEN_MAX {
            break;
        }
        link.push_str(&url);
    }
    let magnet = Magnet::parse(&link).unwrap();
    assert_eq!(magnet.trackers.len(), 10, "as many as there is room for");
    assert_eq!(Magnet::parse(&magnet.to_string()), Ok(magnet));
}

#[test]
fn a_peer_has_no_interface_of_ours() {
    let magnet = parse(&format!("xt=urn:btih:{HEX}&x.pe=[fe80::1%255]:80")).unwrap();
    assert_eq!(magnet.peers, ["[fe80::1]:80".parse().unwrap()]);
    assert_eq!(Magnet::parse(&magnet.to_string()), Ok(magnet));
}

proptest! {
    #[test]
    fn parsing_undoes_printing(
        info_hash: [u8; 20],
        name in prop::option::of("[a-zA-Zé&%=+# ]{1,20}"),
        trackers in prop::collection::btree_set("[a-z:/?&=%+#é]{1,20}", 0..4),
        peers in prop::collection::vec((any::<std::net::IpAddr>(), 1_u16..), 0..4),
    ) {
        let magnet = Magnet {
            info_hash: InfoHash(info_hash),
            name,
            trackers: trackers.into_iter().collect(),
            peers: peers.into_iter().map(SocketAddr::from).collect(),
        };
        prop_assert_eq!(Magnet::parse(&magnet.to_string()), Ok(magnet));
    }

    #[test]
    fn garbage_never_panics(text in ".*", digits in "[%&=.xtrdnpe0-9é]{0,60}") {
        let _ = Magnet::parse(&text);
        let _ = parse(&text);
        let _ = parse(&digits);
    }
}

//! Who has to go when somebody comes.

use super::*;

fn host(number: u8) -> Host {
    Host::of([45, 0, 0, number].into())
}

fn this_machine() -> Host {
    Host::of([127, 0, 0, 1].into())
}

/// Lets somebody knock, and whoever must go leave; whether the newcomer stays.
fn knock(entrance: &mut Entrance, peer: u64, host: Host) -> bool {
    let peer = PeerIndex(peer);
    let gone = entrance.knocked(peer, host);
    gone.into_iter().for_each(|gone| entrance.left(gone));
    entrance.check_invariants();
    entrance.check_bounds();
    gone != Some(peer)
}

#[test]
fn one_address_has_eight_connections_and_its_oldest_pending_one_yields() {
    let mut entrance = Entrance::new(200);
    for peer in 0..8 {
        assert!(knock(&mut entrance, peer, host(1)));
    }
    assert_eq!(entrance.knocked(PeerIndex(8), host(1)), Some(PeerIndex(0)));
    entrance.left(PeerIndex(0));
    (1..=8).for_each(|peer| entrance.met(PeerIndex(peer)));
    assert!(!knock(&mut entrance, 9, host(1)), "nobody is pending");
    assert!(!entrance.may_join(host(1)));
    assert!(knock(&mut entrance, 10, host(2)), "another address");
    let prefix = |end| Host::of(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, end).into());
    for end in 0..16 {
        assert!(knock(&mut entrance, 100 + u64::from(end), prefix(end)));
        entrance.met(PeerIndex(100 + u64::from(end)));
    }
    assert!(!knock(&mut entrance, 200, prefix(99)), "one /64 is one");
}

#[test]
fn this_machine_is_not_bounded_by_its_address() {
    let mut entrance = Entrance::new(200);
    for peer in 0..100 {
        assert!(knock(&mut entrance, peer, this_machine()));
        entrance.met(PeerIndex(peer));
    }
    assert!(entrance.may_join(this_machine()));
    assert_eq!(entrance.crowd(this_machine()), 1);
}

#[test]
fn of_too_many_pending_the_oldest_of_the_largest_crowd_yields() {
    let mut entrance = Entrance::new(64);
    // 8 of one address, 24 of one each.
    (0..8).for_each(|peer| assert!(knock(&mut entrance, peer, host(0))));
    (1..=24)
        .for_each(|number| assert!(knock(&mut entrance, 100 + u64::from(number), host(number))));
    for round in 0..7 {
        let newcomer = PeerIndex(200 + round);
        let from = host(100 + u8::try_from(round).unwrap());
        assert_eq!(entrance.knocked(newcomer, from), Some(PeerIndex(round)));
        entrance.left(PeerIndex(round));
    }
    // Now all have one: the oldest of all, which is the last of the crowd.
    assert_eq!(
        entrance.knocked(PeerIndex(300), host(200)),
        Some(PeerIndex(7))
    );
}

#[test]
fn those_that_say_nothing_take_no_place_of_those_that_do() {
    let mut entrance = Entrance::new(8);
    (0..32).for_each(|peer| assert!(knock(&mut entrance, peer, this_machine())));
    assert_eq!(entrance.room(), Room::Free);
    assert_eq!(entrance.free_count(), 8);
}

#[test]
fn a_quarter_of_the_places_is_for_dials() {
    let mut entrance = Entrance::new(8);
    for peer in 0..6 {
        assert_eq!(entrance.room(), Room::Free);
        knock(&mut entrance, peer, this_machine());
        entrance.met(PeerIndex(peer));
    }
    assert_eq!(entrance.room(), Room::ForIncoming);
    assert_eq!(entrance.free_count(), 2);
    assert!(entrance.dialled(PeerIndex(10), host(1)));
    assert!(entrance.dialled(PeerIndex(11), host(2)));
    assert!(!entrance.dialled(PeerIndex(12), host(3)), "none is left");
    entrance.left(PeerIndex(12));
    entrance.left(PeerIndex(0));
    assert_eq!(entrance.room(), Room::Free);
    assert!(entrance.dialled(PeerIndex(13), host(3)));
    assert_eq!(entrance.room(), Room::ForAny);
    entrance.check_bounds();
}

fn idle(peer: u64, secs: u64) -> Usefulness {
    Usefulness {
        peer: PeerIndex(peer),
        crowd: 1,
        idle: Duration::from_secs(secs),
        is_useless: false,
        is_wanted: true,
    }
}

fn goes(peers: &[Usefulness], crowd: usize) -> Option<u64> {
    least_useful(peers.iter().copied(), crowd).map(|peer| peer.0)
}

#[test]
fn who_moved_payload_of_late_stays() {
    assert_eq!(goes(&[idle(1, 119), idle(2, 5)], 1), None);
    assert_eq!(goes(&[idle(1, 120), idle(2, 5)], 1), Some(1));
    assert_eq!(goes(&[], 1), None);
}

#[test]
fn the_useless_go_before_a_crowd_and_a_crowd_before_the_idle() {
    let useless = Usefulness {
        is_useless: true,
        ..idle(1, 130)
    };
    let crowd = Usefulness {
        crowd: 8,
        ..idle(2, 130)
    };
    let unwanted = Usefulness {
        is_wanted: false,
        ..idle(3, 130)
    };
    let older = idle(4, 900);
    assert_eq!(goes(&[useless, crowd, unwanted, older], 1), Some(1));
    assert_eq!(goes(&[crowd, unwanted, older], 1), Some(2));
    assert_eq!(goes(&[unwanted, older], 1), Some(3));
    assert_eq!(goes(&[older, idle(5, 130)], 1), Some(4));
}

#[test]
fn who_just_came_goes_only_for_a_smaller_crowd() {
    let fresh = Usefulness {
        crowd: 3,
        ..idle(1, 0)
    };
    assert_eq!(goes(&[fresh], 2), Some(1));
    assert_eq!(goes(&[fresh], 3), None);
    let alone = idle(2, 0);
    assert_eq!(goes(&[alone], 1), None, "one from each of many addresses");
}

//! Strangers at the door: silent, many, under another's name, and liars.

use std::net::SocketAddr;

use super::market::Market;
use super::rig::{config, events, metainfo, piece, secs};
use super::{Remote, Rig};
use crate::interface::command::Command;
use crate::interface::config::{Policy, SessionConfig};
use crate::interface::event::SessionEvent;
use crate::session::entrance::{Entrance, PENDING_MIN, V4_CONNECTIONS_MAX};
use crate::units::{BLOCK_LEN, ClientId, PeerIndex, TorrentId};
use crate::wire::message::Message;

/// A port of a host of this number.
fn from(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([45, 0, 0, host], port))
}

/// A seed with places for so many.
fn seeding(connections_max: usize) -> (Rig, TorrentId) {
    let mut rig = Rig::with(SessionConfig {
        connections_max,
        ..config()
    });
    let torrent = rig.seed(&metainfo("t", 2, 2));
    (rig, torrent)
}

/// Whoever has just connected says who it is, unless it was closed.
fn shake_if_open(rig: &mut Rig, peer: PeerIndex, torrent: TorrentId, name: u8) -> bool {
    if !rig.is_closing(peer) {
        rig.shake(peer, torrent, Remote::modern(name));
    }
    !rig.is_closing(peer)
}

fn live_count(rig: &Rig) -> usize {
    rig.session.peers(None).len()
}

#[test]
fn n3_two_hundred_silent_sockets_of_one_address_keep_nobody_out() {
    for silent in [from(9, 0).ip(), [127, 0, 0, 1].into()] {
        let (mut rig, torrent) = seeding(50);
        let leeching = rig.leech(&metainfo("wanted", 2, 2));
        for port in 1..=200 {
            rig.accept_from(SocketAddr::new(silent, port));
        }
        let open = rig.plane.wires.values().filter(|wire| !wire.closing);
        assert!(open.count() <= PENDING_MIN, "those that wait are bounded");
        rig.close_closing();
        for host in 0..30 {
            let honest = rig.accept_from(from(100 + host, 7_000));
            assert!(shake_if_open(&mut rig, honest, torrent, host), "{host}");
            rig.close_closing();
        }
        let peers = (0..20).map(|host| from(200 + host, 7_000)).collect();
        rig.command(Command::AddPeers {
            torrent_id: leeching,
            peers,
        });
        rig.advance(secs(1));
        assert_eq!(rig.plane.dials.len(), 10, "and we dial as ever");
    }
}

#[test]
fn n3_one_address_has_so_many_connections_and_no_more() {
    let (mut rig, torrent) = seeding(50);
    for port in 1..=100 {
        let peer = rig.accept_from(from(9, port));
        shake_if_open(&mut rig, peer, torrent, u8::try_from(port).unwrap());
        rig.close_closing();
    }
    assert_eq!(live_count(&rig), V4_CONNECTIONS_MAX);
    let peers = (1..=100).map(|port| from(9, 7_000 + port)).collect();
    rig.command(Command::AddPeers {
        torrent_id: torrent,
        peers,
    });
    rig.advance(secs(1));
    assert!(rig.plane.dials.is_empty(), "nor is it dialled");
}

#[test]
fn n3_places_for_dials_are_not_taken_by_those_that_come() {
    let (mut rig, torrent) = seeding(16);
    let leeching = rig.leech(&metainfo("wanted", 2, 2));
    for host in 0..50 {
        let peer = rig.accept_from(from(host, 7_000));
        shake_if_open(&mut rig, peer, torrent, host);
        rig.close_closing();
    }
    assert_eq!(live_count(&rig), 12);
    let peers = (100..120).map(|host| from(host, 7_000)).collect();
    rig.command(Command::AddPeers {
        torrent_id: leeching,
        peers,
    });
    for name in 200..204 {
        let dialled = rig.dialled();
        assert!(shake_if_open(&mut rig, dialled, leeching, name));
    }
    rig.advance(secs(1));
    assert!(rig.plane.dials.is_empty());
    assert_eq!(live_count(&rig), 16);
}

/// 50 that came for one torrent leave its addresses worth a try.
#[test]
fn n3_a_torrent_whose_peers_came_by_themselves_still_dials() {
    let (mut rig, _) = seeding(200);
    let torrent = rig.leech(&metainfo("wanted", 2, 2));
    for host in 0..60 {
        let peer = rig.accept_from(from(host, 7_000));
        assert!(shake_if_open(&mut rig, peer, torrent, host));
    }
    let peers = (100..130).map(|host| from(host, 7_000)).collect();
    rig.command(Command::AddPeers {
        torrent_id: torrent,
        peers,
    });
    let mut dialled = 0;
    for _ in 0..20 {
        while !rig.plane.dials.is_empty() {
            let peer = rig.dialled();
            dialled += 1;
            shake_if_open(&mut rig, peer, torrent, 100 + dialled);
        }
        rig.advance(secs(1));
    }
    assert_eq!(dialled, 12);
}

#[test]
fn n3_idle_peers_make_room_and_those_that_are_served_do_not() {
    let (mut rig, torrent) = seeding(8);
    let served = rig.accept_from(from(1, 7_000));
    rig.shake(served, torrent, Remote::modern(1));
    let idle: Vec<PeerIndex> = (2..=6)
        .map(|host| {
            let peer = rig.accept_from(from(host, 7_000));
            assert!(shake_if_open(&mut rig, peer, torrent, host));
            peer
        })
        .collect();
    let early = rig.accept_from(from(100, 7_000));
    assert!(!shake_if_open(&mut rig, early, torrent, 100));
    rig.says(served, [Message::Interested]);
    for _ in 0..130 {
        rig.advance(secs(1));
        if rig.wire(served).unchoked {
            rig.says(served, [super::rig::request(0, 0)]);
            rig.send_all(served);
        }
    }
    rig.close_closing();
    for host in 101..106 {
        let peer = rig.accept_from(from(host, 7_000));
        assert!(shake_if_open(&mut rig, peer, torrent, host), "{host}");
    }
    assert!(idle.iter().all(|peer| rig.is_closing(*peer)));
    assert!(!rig.is_closing(served));
    let late = rig.accept_from(from(120, 7_000));
    assert!(!shake_if_open(&mut rig, late, torrent, 120), "all are new");
}

/// Of six connections of one key, idle for two minutes, how many keep their places when six others
/// come. It gave us so many blocks before.
fn places_kept(blocks: u32) -> usize {
    let mut market = Market::new(Policy::default());
    let rig = &mut market.rig;
    rig.session.entrance = Entrance::new(8);
    let wanted = rig.leech(&metainfo("wanted", blocks + 8, 1));
    let crowd: Vec<PeerIndex> = (1..=6)
        .map(|host| {
            let peer = market.rig.accept_from(from(host, 7_000));
            market.rig.shake(peer, wanted, Remote::modern(host));
            market.prove(peer, 1, None);
            peer
        })
        .collect();
    let rig = &mut market.rig;
    let have = (0..blocks).map(|index| Message::Have(piece(index)));
    rig.says(crowd[0], have.chain([Message::Unchoke]));
    while rig.answer_all(crowd[0], true) > 0 {
        rig.hash_all();
    }
    assert_eq!(rig.torrent(wanted).piece_have_count, blocks);
    rig.advance(secs(130));
    let credit = rig.session.market.peer(crowd[0]);
    assert_eq!(credit.standing, i64::from(blocks * BLOCK_LEN));
    for host in 101..=106 {
        let peer = rig.accept_from(from(host, 7_000));
        shake_if_open(rig, peer, market.torrent, host);
    }
    let kept = crowd.iter().filter(|peer| !rig.is_closing(**peer));
    kept.count()
}

#[test]
fn n3_a_key_keeps_one_place_and_only_if_it_gave_a_mebibyte() {
    assert_eq!(places_kept(1), 0);
    assert_eq!(places_kept(63), 0);
    assert_eq!(places_kept(64), 1);
}

#[test]
fn n3_a_crowd_of_one_address_yields_to_somebody_else() {
    let (mut rig, torrent) = seeding(8);
    let crowd: Vec<PeerIndex> = (1..=6)
        .map(|port| {
            let peer = rig.accept_from(from(9, port));
            let name = u8::try_from(port).unwrap();
            assert!(shake_if_open(&mut rig, peer, torrent, name));
            peer
        })
        .collect();
    for host in 10..20 {
        let peer = rig.accept_from(from(host, 7_000));
        let stays = shake_if_open(&mut rig, peer, torrent, host);
        assert_eq!(stays, host < 15, "one of the crowd is as good as another");
        rig.close_closing();
    }
    let left = crowd.iter().filter(|peer| rig.view(**peer).is_some());
    assert_eq!(left.count(), 1);
}

#[test]
fn n3_a_full_table_turns_over_for_addresses_that_wait() {
    let mut rig = Rig::with(SessionConfig {
        connections_max: 4,
        ..config()
    });
    let torrent = rig.leech(&metainfo("t", 2, 2));
    let peers = (1..=6).map(|host| from(host, 7_000)).collect();
    rig.command(Command::AddPeers {
        torrent_id: torrent,
        peers,
    });
    for name in 1..=4 {
        let peer = rig.dialled();
        assert!(shake_if_open(&mut rig, peer, torrent, name));
    }
    rig.advance(secs(110));
    assert!(rig.plane.dials.is_empty(), "all have their chance");
    rig.advance(secs(50));
    let closing = rig.plane.wires.values().filter(|wire| wire.closing);
    assert!((1..=2).contains(&closing.count()), "one in 30 s goes");
    rig.close_closing();
    rig.advance(secs(1));
    assert!(!rig.plane.dials.is_empty());
}

/// Somebody from elsewhere says the id of a peer that we dialled, or that came.
#[test]
fn n4_nobody_is_thrown_out_by_whoever_says_its_id() {
    for receipts in [false, true] {
        for is_dialled in [false, true] {
            let mut rig = Rig::with(SessionConfig {
                receipts,
                ..config()
            });
            let torrent = rig.leech(&metainfo("t", 2, 2));
            let remote = Remote {
                client_id: ClientId([0xff; 20]),
                ..Remote::modern(1)
            };
            let honest = match is_dialled {
                true => super::greeting::dial(&mut rig, torrent, "45.0.0.1:7000"),
                false => rig.accept_from(from(1, 7_000)),
            };
            rig.shake(honest, torrent, remote);
            for port in 1..=3 {
                let liar = rig.accept_from(from(2, port));
                rig.shake(liar, torrent, remote);
                assert!(!rig.is_closing(honest), "thrown out at once");
                rig.says(honest, [Message::KeepAlive]);
                rig.advance(secs(11));
                assert!(!rig.is_closing(honest), "thrown out in time");
                assert_eq!(rig.is_closing(liar), port > 1, "one host is one");
                rig.close_closing();
            }
            let neighbour = rig.accept_from(from(1, 9));
            rig.shake(neighbour, torrent, remote);
            rig.advance(secs(11));
            assert!(!rig.is_closing(honest) && rig.is_closing(neighbour));
        }
    }
}

/// The same id under two keys is two nodes; under one key it is one.
#[test]
fn n4_a_key_decides_who_is_whom() {
    let mut market = Market::new(Policy::default());
    let first = market.proven(1, 1);
    let other = market.proven(2, 1);
    let again = market.proven(1, 1);
    market.rig.advance(secs(11));
    let closing = [first, other, again].map(|peer| market.rig.is_closing(peer));
    assert_eq!(closing, [true, false, false], "the newer dial of one side");
}

/// A connection to ourselves is closed, and nobody else with it.
#[test]
fn n4_our_own_id_cuts_nobody() {
    let (mut rig, torrent) = seeding(50);
    let honest = rig.accept_from(from(1, 7_000));
    rig.shake(honest, torrent, Remote::modern(1));
    let liar = rig.accept_from(from(2, 7_000));
    let ours = Remote {
        client_id: rig.own_id(torrent),
        ..Remote::modern(2)
    };
    rig.shake(liar, torrent, ours);
    assert!(rig.is_closing(liar) && !rig.is_closing(honest));
}

/// Sends nothing but false data; whether it was closed for it.
fn lies(rig: &mut Rig, peer: PeerIndex, torrent: TorrentId, name: u8) -> bool {
    rig.shake(peer, torrent, Remote::modern(name));
    rig.says(peer, [Message::HaveAll, Message::Unchoke]);
    rig.answer_all(peer, false);
    rig.hash_all();
    rig.is_closing(peer)
}

#[test]
fn i3_who_is_proven_to_send_false_data_is_not_met_again_for_an_hour() {
    let mut rig = Rig::new();
    let torrent = rig.leech(&metainfo("t", 1, 4));
    let liar = super::greeting::dial(&mut rig, torrent, "45.0.0.1:7000");
    rig.take();
    assert!(lies(&mut rig, liar, torrent, 1));
    let told = events(&rig.take())
        .into_iter()
        .find_map(|event| match event {
            SessionEvent::PeerMisbehaved { what, .. } => Some(what),
            _ => None,
        });
    let told = told.expect("an event");
    assert!(told.contains("hash") && told.contains("banned"), "{told}");
    rig.close(liar);
    let wasted = rig.torrent(torrent).wasted;
    for _ in 0..58 {
        rig.advance(secs(60));
        let back = rig.accept_from(from(1, 30_000));
        assert!(rig.is_closing(back), "nor let in, from any port");
        rig.close(back);
    }
    assert!(rig.plane.dials.is_empty(), "not dialled");
    assert_eq!(rig.torrent(torrent).wasted, wasted);
    let honest = rig.accept_from(from(2, 7_000));
    assert!(!rig.is_closing(honest), "another address");
    rig.advance(secs(180));
    assert_eq!(rig.plane.dials.len(), 1, "a ban ends");
    let back = rig.accept_from(from(1, 30_000));
    assert!(!rig.is_closing(back));
}

#[test]
fn i3_of_this_machine_only_the_place_that_was_dialled_is_banned() {
    let mut rig = Rig::new();
    let torrent = rig.leech(&metainfo("t", 1, 4));
    let liar = super::greeting::dial(&mut rig, torrent, "127.0.0.1:7000");
    assert!(lies(&mut rig, liar, torrent, 1));
    rig.close(liar);
    rig.advance(secs(600));
    assert!(rig.plane.dials.is_empty());
    let other = super::greeting::dial(&mut rig, torrent, "127.0.0.1:7001");
    assert!(!rig.is_closing(other));
}

/// Slips one bad block into each piece, and leaves the rest to others.
#[test]
fn i3_who_spoils_pieces_that_others_complete_spoils_one() {
    let mut rig = Rig::new();
    let torrent = rig.leech(&metainfo("t", 60, 4));
    let liar = rig.join_seed(torrent, 1);
    let mut failed = 0;
    let mut honest = None;
    for _ in 0..400 {
        if let Some(block) = rig.wire(liar).owed.keys().next().copied() {
            rig.block(liar, block, false);
            rig.says(liar, [Message::Choke]);
            let owed: Vec<_> = rig.wire(liar).owed.keys().copied().collect();
            rig.says(liar, owed.into_iter().map(Message::Reject));
        }
        let honest = *honest.get_or_insert_with(|| rig.join_seed(torrent, 2));
        for _ in 0..4 {
            if let Some(block) = rig.wire(honest).owed.keys().next().copied() {
                rig.block(honest, block, true);
            }
        }
        rig.hash_all();
        assert!(!rig.is_closing(honest));
        let outputs = events(&rig.take());
        let is_failure = |event: &&SessionEvent| matches!(event, SessionEvent::PieceFailed { .. });
        failed += outputs.iter().filter(is_failure).count();
        rig.says(liar, [Message::Unchoke]);
        rig.advance(secs(1));
    }
    assert_eq!(failed, 1);
    assert_eq!(rig.torrent(torrent).piece_have_count, 60);
}

#[test]
fn i3_a_liar_that_leaves_before_the_hash_is_known_is_banned_too() {
    let mut rig = Rig::new();
    let torrent = rig.leech(&metainfo("t", 1, 4));
    let liar = super::greeting::dial(&mut rig, torrent, "45.0.0.1:7000");
    rig.shake(liar, torrent, Remote::modern(1));
    rig.says(liar, [Message::HaveAll, Message::Unchoke]);
    rig.answer_all(liar, false);
    rig.close(liar);
    rig.hash_all();
    rig.advance(secs(60));
    assert!(rig.plane.dials.is_empty());
    let back = rig.accept_from(from(1, 30_000));
    assert!(rig.is_closing(back));
}

/// A seed from elsewhere that lets us ask.
fn seed_from(rig: &mut Rig, torrent: TorrentId, addr: SocketAddr, name: u8) -> PeerIndex {
    let peer = rig.accept_from(addr);
    if !rig.is_closing(peer) {
        rig.shake(peer, torrent, Remote::modern(name));
        rig.says(peer, [Message::HaveAll, Message::Unchoke]);
    }
    peer
}

/// Up to four blocks come from each of these, true ones; how many pieces failed meanwhile.
fn go_on(rig: &mut Rig, honest: PeerIndex) -> usize {
    for _ in 0..4 {
        if let Some(block) = rig.wire(honest).owed.keys().next().copied() {
            rig.block(honest, block, true);
        }
    }
    rig.hash_all();
    assert!(!rig.is_closing(honest), "nobody honest is blamed");
    let outputs = events(&rig.take());
    let is_failure = |event: &&SessionEvent| matches!(event, SessionEvent::PieceFailed { .. });
    outputs.iter().filter(is_failure).count()
}

/// Is new each time: spoils a piece that others complete, goes, and comes back.
#[test]
fn i3_who_spoils_a_piece_and_comes_back_is_still_on_parole() {
    let mut rig = Rig::new();
    let torrent = rig.leech(&metainfo("t", 60, 4));
    let mut honest = None;
    let (mut failed, mut refused) = (0, 0);
    for round in 0..200 {
        let liar = seed_from(&mut rig, torrent, from(2, 7_000 + round), 1);
        if rig.is_closing(liar) {
            refused += 1;
        } else if let Some(block) = rig.wire(liar).owed.keys().next().copied() {
            rig.block(liar, block, false);
        }
        rig.close(liar);
        let honest = *honest.get_or_insert_with(|| seed_from(&mut rig, torrent, from(1, 7_000), 2));
        failed += go_on(&mut rig, honest);
        rig.advance(secs(1));
    }
    assert!(
        failed <= 2,
        "{failed} pieces spoiled by one host, refused {refused} times"
    );
    assert_eq!(rig.torrent(torrent).piece_have_count, 60);
}

/// Lets what it is asked for wait until somebody else fetches it, and answers then.
#[test]
fn i3_who_answers_late_into_what_others_fetch_spoils_a_few_pieces_and_goes() {
    let mut rig = Rig::new();
    let torrent = rig.leech(&metainfo("t", 60, 4));
    let liar = seed_from(&mut rig, torrent, from(2, 7_000), 1);
    let mut honest = None;
    let mut failed = 0;
    for _ in 0..400 {
        let honest = *honest.get_or_insert_with(|| seed_from(&mut rig, torrent, from(1, 7_000), 2));
        if !rig.is_closing(liar) {
            // No REJECT: it may still answer.
            rig.says(liar, [Message::Choke]);
            let fetched = rig.wire(honest).owed.keys();
            let fetched: Vec<_> = fetched.map(|block| block.piece).collect();
            let mut owed = rig.wire(liar).owed.keys();
            let late = owed.find(|block| fetched.contains(&block.piece)).copied();
            if let Some(block) = late {
                rig.block(liar, block, false);
            }
        }
        failed += go_on(&mut rig, honest);
        if !rig.is_closing(liar) {
            rig.says(liar, [Message::Unchoke]);
        }
        rig.advance(secs(1));
    }
    assert!(failed <= 2, "{failed} pieces spoiled");
    assert!(rig.is_closing(liar));
    assert_eq!(rig.torrent(torrent).piece_have_count, 60);
}

/// A client id can be read from anybody's handshake, and what proves nothing keeps nobody out.
#[test]
fn n4_nobody_is_kept_out_by_whoever_said_its_id_first() {
    for receipts in [false, true] {
        for is_dialled in [false, true] {
            let mut rig = Rig::with(SessionConfig {
                receipts,
                ..config()
            });
            let torrent = rig.leech(&metainfo("t", 2, 2));
            for host in 2..=4 {
                let liar = rig.accept_from(from(host, 7_000));
                rig.shake(liar, torrent, Remote::modern(1));
            }
            rig.advance(secs(11));
            let honest = match is_dialled {
                true => super::greeting::dial(&mut rig, torrent, "45.0.0.1:7000"),
                false => rig.accept_from(from(1, 7_000)),
            };
            rig.shake(honest, torrent, Remote::modern(1));
            rig.advance(secs(11));
            assert!(!rig.is_closing(honest));
        }
    }
}

/// AUTH can be passed on: a stranger between us and a peer proves that peer's key and says its id,
/// before the peer comes or after.
#[test]
fn n4_whoever_passes_auth_on_throws_nobody_out_and_keeps_nobody_out() {
    for relay_first in [false, true] {
        for is_dialled in [false, true] {
            let mut market = Market::new(Policy::default());
            let torrent = market.torrent;
            let meet = |market: &mut Market, host: u8| {
                let dials = is_dialled && (host == 2) == relay_first;
                let peer = match dials {
                    true => {
                        let at = format!("45.0.0.{host}:7000");
                        super::greeting::dial(&mut market.rig, torrent, &at)
                    }
                    false => market.rig.accept_from(from(host, 7_000)),
                };
                market.rig.shake(peer, torrent, Remote::modern(1));
                market.prove(peer, 1, None);
                market.settle();
                peer
            };
            let hosts = if relay_first { [2, 1] } else { [1, 2] };
            let older = meet(&mut market, hosts[0]);
            market.rig.advance(secs(20));
            let newer = meet(&mut market, hosts[1]);
            market.rig.advance(secs(20));
            assert!(!market.rig.is_closing(older), "thrown out");
            assert!(!market.rig.is_closing(newer), "kept out");
            let key = market.rig.session.market.peer(older).node_id;
            assert_eq!(market.rig.session.market.peer(newer).node_id, key);
            assert!(key.is_some());
        }
    }
}

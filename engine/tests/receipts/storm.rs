//! A thousand reconnects, failed pieces, cancelled and duplicated blocks between honest nodes.

use seedbank_engine::units::PeerIndex;
use seedbank_ledger::Duration;

use crate::node::Play;
use crate::world::World;

/// Connections that come and go.
const RECONNECTS: usize = 1_000;

#[test]
fn a_thousand_reconnects_between_honest_nodes_leave_no_exposure_and_equal_books() {
    let mut world = World::new(4_711, &[Play::Honest, Play::Honest], 1_500);
    world.seed(0, 0);
    world.seed(1, 1);
    // One block in two hundred is spoilt on the way: one piece in seventy fails.
    world.spoilt_per_mille = 5;
    world.warm_up();
    let mut reconnects = 0;
    while reconnects < RECONNECTS {
        some_traffic(&mut world);
        if world.rng.chance(1, 50) {
            world.pass(Duration::from_secs(70));
        }
        let Some(peer) = world.links.keys().next().copied() else {
            continue;
        };
        let side = world.rng.index(2);
        world.close(peer, side);
        world.close(peer, 1 - side);
        reconnects += 1;
        world.check();
    }
    world.drain_all(6_000);
    world.quiesce(crate::QUIET_SECS);
    world.check_end();
    let wasted = world
        .nodes
        .iter()
        .flat_map(|node| node.written_off.values());
    println!(
        "{} blocks paid, {:?} open, {} bytes written off",
        world.blocks_paid,
        world.blocks_open,
        wasted.sum::<u64>()
    );
    assert!(world.blocks_paid > 1_000, "{} blocks", world.blocks_paid);
}

/// A few rounds on whatever is connected, with cancels and duplicates; the first ones open what is
/// new.
fn some_traffic(world: &mut World) {
    world.connect_all();
    for round in 0..9 {
        for index in 0..world.nodes.len() {
            let peers: Vec<PeerIndex> = world.nodes[index].peers.keys().copied().collect();
            for peer in peers {
                if round >= 3 {
                    some_blocks(world, index, peer);
                }
                if round == 6 {
                    world.cancel(index, peer);
                }
                world.write(index, peer, 12);
            }
            if round == 3 {
                world.fund_and_bid(index, 0);
            }
            while !world.nodes[index].asks.is_empty() {
                world.settle(index);
            }
        }
        let links: Vec<PeerIndex> = world.links.keys().copied().collect();
        for peer in links {
            world.deliver(peer, 0, 12);
            world.deliver(peer, 1, 12);
        }
        world.pass(Duration::from_millis(60));
    }
}

fn some_blocks(world: &mut World, index: usize, peer: PeerIndex) {
    world.rechoke(index, peer, true, true);
    let end_game = world.rng.chance(1, 10);
    for _ in 0..2 {
        world.request(index, peer, end_game);
        world.serve(index, peer);
    }
}

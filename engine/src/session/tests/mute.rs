//! End game beside peers that have everything, let us ask and never answer.

use std::collections::VecDeque;

use seedbank_ledger::Instant;

use super::rig::{config, draft, millis};
use super::{Remote, Rig};
use crate::interface::config::SessionConfig;
use crate::interface::output::Output;
use crate::interface::view::TorrentState;
use crate::units::{BLOCK_LEN, Block, PeerIndex};
use crate::wire::message::Message;

const LEN: u64 = 12 << 20;
/// Bytes a second of the one seed that answers.
const SEED_RATE: u64 = 4 << 20;
/// Half a round trip to it.
const DELAY_MS: u64 = 25;
const STEP_MS: u64 = 5;
/// Nobody needs longer.
const MS_MAX: u64 = 120_000;

/// What the mute peers are like.
#[derive(Clone, Copy, Debug)]
struct Mutes {
    count: u8,
    fast: bool,
    /// Blocks that each sends before it falls silent.
    blocks: usize,
}

/// One seed behind a line: what it is asked for reaches it later, and leaves it at its rate.
struct Line {
    seed: PeerIndex,
    asked: VecDeque<(Instant, Block)>,
    arriving: VecDeque<(Instant, Block)>,
    free_at: Instant,
}

impl Line {
    /// Moves what is due by now; blocks that arrive, in order.
    fn run(&mut self, now: Instant) -> Vec<Block> {
        while let Some((at, block)) = self.asked.pop_front_if(|(at, _)| *at <= now) {
            let nanos = u64::from(block.len) * 1_000_000_000 / SEED_RATE;
            let sent_at = self.free_at.max(at);
            self.free_at = sent_at.after(seedbank_ledger::Duration::from_nanos(nanos));
            let at = self.free_at.after(millis(DELAY_MS));
            self.arriving.push_back((at, block));
        }
        let due = std::iter::from_fn(|| self.arriving.pop_front_if(|(at, _)| *at <= now));
        due.map(|(_, block)| block).collect()
    }

    /// Takes what the session asks of the seed, and what it takes back.
    fn hear(&mut self, outputs: &[Output], now: Instant) {
        for output in outputs {
            match output {
                Output::Request { peer, blocks } if *peer == self.seed => {
                    let at = now.after(millis(DELAY_MS));
                    self.asked.extend(blocks.iter().map(|block| (at, *block)));
                }
                Output::Cancel { peer, .. } => assert_ne!(*peer, self.seed, "who else sends?"),
                _ => {}
            }
        }
    }
}

/// Milliseconds to fetch everything, if it ends.
fn fetch(mutes: Mutes, piece_len: u32, rng_seed: u64) -> Option<u64> {
    let mut rig = Rig::with(SessionConfig {
        rng_seed,
        lease_bytes_max: 64 << 20,
        ..config()
    });
    let torrent_id = rig.leech(&draft("wanted", LEN, piece_len));
    let mut silent = Vec::new();
    for name in 0..mutes.count {
        let mut remote = Remote::modern(name + 2);
        remote.fast = mutes.fast;
        let peer = rig.join(torrent_id, remote);
        let all = Message::Bitfield(all_pieces(LEN, piece_len));
        rig.says(
            peer,
            [
                if mutes.fast { Message::HaveAll } else { all },
                Message::Unchoke,
            ],
        );
        for _ in 0..mutes.blocks {
            let block = rig.wire(peer).owed.keys().next().copied();
            rig.block(peer, block.expect("it is asked"), true);
        }
        silent.push(peer);
    }
    let seed = rig.join_seed(torrent_id, 1);
    let mut line = Line {
        seed,
        asked: VecDeque::new(),
        arriving: VecDeque::new(),
        free_at: rig.now,
    };
    for step in 0..MS_MAX / STEP_MS {
        line.hear(&rig.take(), rig.now);
        for block in line.run(rig.now) {
            rig.block(seed, block, true);
        }
        rig.hash_all();
        if rig.state(torrent_id) == TorrentState::Seeding {
            return Some(step * STEP_MS);
        }
        rig.advance(millis(STEP_MS));
    }
    None
}

fn all_pieces(len: u64, piece_len: u32) -> Vec<u8> {
    let count = u32::try_from(len.div_ceil(piece_len.into())).expect("few");
    crate::content::bitfield::Bitfield::all(count).to_wire()
}

#[test]
fn i1_end_game_is_as_fast_beside_peers_that_never_answer() {
    let mut faults = Vec::new();
    for piece_len in [4 * BLOCK_LEN, 16 * BLOCK_LEN, 256 * BLOCK_LEN] {
        for (fast, blocks) in [(true, 0), (false, 0), (true, 6), (false, 6)] {
            let mutes = |count| Mutes {
                count,
                fast,
                blocks,
            };
            let alone = fetch(mutes(0), piece_len, 1).expect("a seed is enough");
            for count in 1..=12 {
                let took = fetch(mutes(count), piece_len, 1);
                if took.is_none_or(|took| took * 2 > alone * 3) {
                    faults.push((piece_len, mutes(count), took, alone));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

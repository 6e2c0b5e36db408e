//! What payees gain that send what is not needed: a payer over real sessions, receipts and locks,
//! and payees that stall, drip, choke, reject, come back under other keys and send blocks that
//! somebody else has brought.

mod buyer;

use buyer::{Buyer, Script, Swarm};

const COUNTS: [usize; 4] = [1, 2, 5, 20];
const HOSTILE: [Script; 5] = [
    Script::Echo,
    Script::Hold,
    Script::Flip,
    Script::Stall,
    Script::Draw,
];
/// Blocks of a torrent that are paid for whoever sends them again, and the part of what a payee
/// earned (docs/RULES.md, S1).
const FOR_ANYBODY: u64 = 16;
const SHARE: u64 = 16;
/// An honest payee alone sends it all in 13 s.
const BESIDE_SECS_MAX: u64 = 60;

/// Every script and number of payees on torrents of these pieces and blocks, each once a seed.
fn play(shapes: &[(u32, u32)], seeds: &[u64]) {
    let mut faults = Vec::new();
    println!("| torrent | script | payees | seed | copies sent | paid | most | of | s |");
    for (pieces, blocks) in shapes {
        for script in HOSTILE {
            for count in COUNTS {
                for rng_seed in seeds {
                    let swarm = Swarm {
                        pieces: *pieces,
                        blocks: *blocks,
                        count,
                        script,
                        rng_seed: *rng_seed,
                    };
                    let outcome = Buyer::new(swarm).run();
                    let most = outcome.blocks / SHARE + FOR_ANYBODY;
                    println!(
                        "| {pieces} x {blocks} | {script:?} | {count} | {rng_seed} | {} | {} \
                         | {most} | {} | {:?} |",
                        outcome.sent, outcome.gain, outcome.blocks, outcome.secs
                    );
                    if outcome.gain > most {
                        faults.push(format!("{swarm:?}: {outcome:?}"));
                    }
                }
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn who_sends_what_is_there_gains_a_sixteenth_and_sixteen_blocks_at_most() {
    play(&[(1, 16), (4, 64)], &[1]);
}

#[test]
#[ignore = "a table; minutes, with --nocapture"]
fn long_form() {
    play(&[(1, 16), (4, 64), (64, 16), (2, 1_024)], &[1, 2]);
}

/// Their blocks cross our cancels.
#[test]
fn honest_payees_are_paid_for_every_block_they_send() {
    for count in COUNTS {
        let swarm = Swarm {
            pieces: 16,
            blocks: 16,
            count,
            script: Script::Honest,
            rng_seed: 1,
        };
        let outcome = Buyer::new(swarm).run();
        println!("honest: {count} payees: {outcome:?}");
        assert!(outcome.secs.is_some(), "{count} payees: {outcome:?}");
        assert!(outcome.gain >= outcome.sent, "{count} payees: {outcome:?}");
    }
}

/// Payees that stall, quote nothing or nonsense, or choke for good, under one key after another,
/// beside one that is honest: what is due to all of them together is what came, and the torrent is
/// complete almost as soon as if they were not there.
fn beside_an_honest_payee(count: usize, seeds: std::ops::Range<u64>) {
    let mut faults = Vec::new();
    for script in [
        Script::Mute,
        Script::Zero,
        Script::Nonsense,
        Script::ChokeForGood,
    ] {
        for rng_seed in seeds.clone() {
            let swarm = Swarm {
                pieces: 32,
                blocks: 16,
                count,
                script,
                rng_seed,
            };
            let outcome = Buyer::new(swarm).run();
            println!("{script:?}, {count} payees, seed {rng_seed}: {outcome:?}");
            let most = outcome.blocks / SHARE + FOR_ANYBODY;
            let is_done = outcome.secs.is_some_and(|secs| secs <= BESIDE_SECS_MAX);
            if outcome.gain > most || !is_done {
                faults.push(format!("{swarm:?}: {outcome:?}"));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn payees_with_whims_are_owed_for_what_came_and_hold_nobody_up() {
    beside_an_honest_payee(2, 1..4);
    beside_an_honest_payee(5, 1..4);
}

#[test]
#[ignore = "minutes, with --nocapture"]
fn long_form_of_whims() {
    for count in [2, 3, 5, 9] {
        beside_an_honest_payee(count, 100..150);
    }
}

/// A payee that holds a piece brings a block of it now and then. When the other one is asked for
/// the rest, too, it sends each of them once it is there.
#[test]
fn what_was_there_already_keeps_no_place() {
    let swarm = Swarm {
        pieces: 3,
        blocks: 64,
        count: 2,
        script: Script::Echo,
        rng_seed: 1,
    };
    let mut buyer = Buyer::new(swarm);
    buyer.unchoke_all();
    for step in 0..720 {
        if step % 4 == 0 {
            buyer.sends(0, 1, false);
        }
        if step < 500 && step % 190 == 0 {
            buyer.sends(1, 1, false);
        }
        buyer.sends(1, usize::MAX, true);
        buyer.wait();
    }
    assert!(!buyer.is_complete());
    assert!(buyer.is_bid_on(0), "it brings what is missing");
    assert!(!buyer.is_bid_on(1), "it brings what is there");
}

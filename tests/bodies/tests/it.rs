//! Every body over its seeds and over mutations of them, the same ones in every run.

use seedbank_bodies::{TARGETS, Target};
use seedbank_engine::rng::Rng;

/// Mutations of each target.
const ROUNDS: usize = 2_000;

/// Bytes that decide something somewhere.
const SALT: &[u8] = b"\0\x01\x7f\x80\xff0919:-eidl./\\%&=?#@[]\t\n\" .";

#[test]
fn every_promise_holds_of_seeds_and_of_mutations_of_them() {
    for target in TARGETS {
        let seeds = (target.seeds)();
        let taken = seeds.iter().filter(|seed| tried(target, seed)).count();
        assert!(taken > 0, "{}: no seed is accepted", target.name);
        let mut rng = Rng::new(0x5eed);
        let (mut accepted, mut refused) = (0, 0);
        for _ in 0..ROUNDS {
            let mutant = mutant(&seeds, target.len_max, &mut rng);
            match tried(target, &mutant) {
                true => accepted += 1,
                false => refused += 1,
            }
        }
        let name = target.name;
        assert!(
            accepted > 0 && refused > 0,
            "{name}: {accepted} accepted, {refused} refused"
        );
    }
}

#[test]
fn no_input_at_all_breaks_no_promise() {
    for target in TARGETS {
        for len in 0..300 {
            tried(target, &vec![0; len]);
            tried(target, &vec![0xff; len]);
        }
    }
}

/// Gives the bytes to a target, and shows them if a promise is broken.
fn tried(target: &Target, bytes: &[u8]) -> bool {
    let outcome = std::panic::catch_unwind(|| (target.body)(bytes));
    outcome.unwrap_or_else(|_| panic!("{}: \"{}\"", target.name, bytes.escape_ascii()))
}

/// A seed with one to eight changes.
fn mutant(seeds: &[Vec<u8>], len_max: usize, rng: &mut Rng) -> Vec<u8> {
    let mut bytes = seeds[rng.index(seeds.len())].clone();
    for _ in 0..=rng.index(8) {
        let at = rng.index(bytes.len() + 1);
        let end = (at + rng.index(9)).min(bytes.len());
        match rng.index(6) {
            0 => drop(bytes.drain(at..end)),
            1 => bytes.truncate(at),
            2 => bytes.insert(at, SALT[rng.index(SALT.len())]),
            3 => {
                let piece = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, piece));
            }
            4 => {
                let other = &seeds[rng.index(seeds.len())];
                let from = rng.index(other.len() + 1);
                drop(bytes.splice(at.., other[from..].iter().copied()));
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = match rng.chance(1, 2) {
                        true => *byte ^ (1 << rng.index(8)),
                        false => SALT[rng.index(SALT.len())],
                    };
                }
            }
        }
    }
    bytes.truncate(len_max);
    bytes
}

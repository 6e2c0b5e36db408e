//! Windows (docs/PROTOCOL.md §5, P1), reckoned here by the text and judged by the code.

use serde_json::{Value, json};

const MIB: u64 = 1 << 20;
const GIB: u128 = 1 << 30;

pub(super) fn made() -> Value {
    let par = 1_000_000;
    let cases = [
        ("a new key", 256 * 1024, 0, par, 0),
        ("a new key and a long piece", 16 * MIB, 0, par, 0),
        ("a piece that no window holds", 512 * MIB, 0, par, 0),
        ("no piece length known", 0, 0, par, 0),
        ("one micro-credit at par", 256 * 1024, 1, par, 16_384),
        ("a first piece at par", 256 * 1024, 244, par, 256 * 1024),
        ("up to two pieces", 4 * MIB, 4_000, par, 3 * MIB),
        ("and then slowly", 4 * MIB, 20_000, par, 20 * MIB),
        (
            "never below a mebibyte then",
            16 * 1024,
            2_000,
            par,
            2 * MIB,
        ),
        ("the largest", 64 * MIB, 1 << 40, par, 1 << 50),
        (
            "cheap bytes are worth little",
            256 * 1024,
            1_000,
            1_000 * par,
            1 << 30,
        ),
        (
            "few bytes cleared for much",
            256 * 1024,
            1 << 40,
            par,
            65_536,
        ),
        ("without a bid", 256 * 1024, 1_000_000, 0, 1 << 30),
        ("the highest bid", 4 * MIB, 1 << 50, 1 << 50, 1 << 40),
        ("every sum at its end", u64::MAX, u64::MAX, 1, u64::MAX),
    ];
    let vectors = cases.map(|(name, piece_len, paid, rate, cleared)| {
        let history = history(paid, rate).min(u128::from(cleared));
        let window = window(u128::from(piece_len), history);
        let lock_least = (window * u128::from(rate)).div_ceil(GIB);
        json!({
            "name": name,
            "piece_len": piece_len,
            "paid": paid,
            "rate": rate,
            "cleared": cleared,
            "history": u64::try_from(history).expect("at most what was cleared"),
            "window": u64::try_from(window).expect("at most 80 MiB"),
            "lock_least": u64::try_from(lock_least).expect("below 2^64"),
        })
    });
    json!({ "vectors": vectors })
}

fn history(paid: u64, rate: u64) -> u128 {
    match rate {
        0 => 0,
        rate => u128::from(paid) * GIB / u128::from(rate),
    }
}

fn window(piece_len: u128, history: u128) -> u128 {
    let mib = u128::from(MIB);
    let piece = piece_len.min(64 * mib);
    let grown = (2 * piece_len).clamp(mib, 64 * mib) + (history / 16).min(16 * mib);
    (piece + history).min(grown)
}

//! What blocks cost (docs/PROTOCOL.md §4): the order of one connection's stream as the payer has
//! it, reckoned here by the text and judged by an exchange.

use std::collections::BTreeMap;

use seedbank_engine::asked::BlockFate;
use seedbank_engine::credit::receipts::limits::Window;
use seedbank_engine::units::{BLOCK_LEN, Block, PeerIndex};
use seedbank_engine::wire::receipt::{Quote, QuoteState, ReceiptMessage};
use seedbank_ledger::tally::TallyRow;
use seedbank_ledger::{Bytes, Rate};
use serde_json::{Value, json};

use super::{number, text};
use crate::duo::{Duo, PAYEE, PAYER, PIECE_LEN, block};

/// What happens at the payer, in the order of its stream.
#[derive(Clone, Copy)]
enum Step {
    /// It sends BID.
    Bid(u64),
    /// QUOTE comes: state, cap.
    Quote(u64, Option<u64>),
    /// It sends REQUEST for a block of 16 KiB.
    Request(u32),
    /// PIECE comes.
    Piece(u32),
    /// REJECT comes.
    Reject(u32),
}

use Step::{Bid, Piece, Quote as Quoted, Reject, Request};

/// A block costs 16 µcr at this rate.
const UNIT: u64 = 1 << 20;

/// The most that a QUOTE of the paid class can say: no cap.
const PAID: Step = Quoted(2, None);

const CASES: [(&str, &[Step]); 11] = [
    ("nothing was said", &[Request(0), Piece(0)]),
    ("a bid and no quote", &[Bid(UNIT), Request(0), Piece(0)]),
    (
        "a bid, then a quote",
        &[Bid(UNIT), PAID, Request(0), Piece(0)],
    ),
    (
        "the bid at the request counts, not the one at the piece",
        &[
            Bid(UNIT),
            PAID,
            Request(0),
            Bid(9 * UNIT),
            Piece(0),
            Request(1),
            Piece(1),
        ],
    ),
    (
        "the quote at the piece counts, not the one at the request",
        &[
            Bid(UNIT),
            Request(0),
            PAID,
            Piece(0),
            Request(1),
            Quoted(0, None),
            Piece(1),
        ],
    ),
    (
        "a cap below the bid",
        &[
            Bid(5 * UNIT),
            Quoted(2, Some(3 * UNIT)),
            Request(0),
            Piece(0),
        ],
    ),
    (
        "a cap above the bid",
        &[
            Bid(2 * UNIT),
            Quoted(2, Some(3 * UNIT)),
            Request(0),
            Piece(0),
        ],
    ),
    (
        "the highest cap is none",
        &[
            Bid(2 * UNIT),
            Quoted(2, Some(u64::MAX)),
            Request(0),
            Piece(0),
        ],
    ),
    (
        "queued and open cost nothing, whatever else they say",
        &[
            Bid(UNIT),
            Request(0),
            Quoted(1, Some(UNIT)),
            Piece(0),
            Request(1),
            Quoted(0, None),
            Piece(1),
            Request(2),
            PAID,
            Piece(2),
        ],
    ),
    (
        "BID 0 ends it for what is requested from then on",
        &[
            Bid(UNIT),
            PAID,
            Request(0),
            Bid(0),
            Request(1),
            Piece(0),
            Piece(1),
        ],
    ),
    (
        "a rejected request costs nothing, and sums are floored once",
        &[
            Bid(UNIT + 40_000),
            PAID,
            Request(0),
            Request(1),
            Reject(0),
            Piece(1),
            Bid(UNIT + 50_000),
            Request(0),
            Piece(0),
            Request(2),
            Piece(2),
        ],
    ),
];

pub(super) fn made() -> Value {
    let vectors = CASES.map(|(name, steps)| vector(name, steps));
    json!({ "block_len": BLOCK_LEN, "vectors": vectors })
}

fn vector(name: &str, steps: &[Step]) -> Value {
    let (mut bid, mut cap) = (0, 0);
    let mut bids = BTreeMap::new();
    let (mut raw, mut rates) = (0, Vec::new());
    for step in steps {
        match *step {
            Bid(rate) => bid = rate,
            Quoted(2, said) => cap = said.unwrap_or(u64::MAX),
            Quoted(..) => cap = 0,
            Request(index) => drop(bids.insert(index, bid)),
            Reject(index) => drop(bids.remove(&index)),
            Piece(index) => {
                let rate = cap.min(bids.remove(&index).expect("it was requested"));
                raw += u128::from(rate) * u128::from(BLOCK_LEN);
                rates.push(json!({ "block": index, "rate": rate }));
            }
        }
    }
    json!({
        "name": name,
        "steps": steps.iter().map(shown).collect::<Vec<_>>(),
        "costs": rates,
        "raw": raw.to_string(),
        "due": u64::try_from(raw >> 30).expect("small"),
    })
}

fn shown(step: &Step) -> Value {
    match *step {
        Bid(rate) => json!({ "bid": rate }),
        Quoted(state, None) => json!({ "quote": { "st": state } }),
        Quoted(state, Some(cap)) => json!({ "quote": { "st": state, "ra": cap } }),
        Request(index) => json!({ "request": index }),
        Piece(index) => json!({ "piece": index }),
        Reject(index) => json!({ "reject": index }),
    }
}

/// Plays the steps to an exchange whose blocks are all verified at the end.
pub(super) fn judge(vector: &Value) {
    let name = text(vector, "name");
    let mut duo = Duo::with_window(Window::V1);
    duo.fund(1_000_000);
    let peer = duo.connect();
    for step in vector["steps"].as_array().expect("steps") {
        let before = raw(&duo);
        play(&mut duo, peer, step);
        assert_eq!(raw(&duo), before, "{name}: nothing is due unverified");
    }
    for piece in 0..2 {
        duo.verify(piece);
    }
    assert_eq!(raw(&duo).to_string(), text(vector, "raw"), "{name}");
    let payer = duo.payer();
    let due = payer.owed.saturating_add(payer.signed);
    assert_eq!(due.get(), number(vector, "due"), "{name}");
    assert_eq!(duo.violations, [], "{name}");
}

fn play(duo: &mut Duo, peer: PeerIndex, step: &Value) {
    let index = |field: &str| step[field].as_u64().map(place);
    let now = duo.now;
    if let Some(rate) = step["bid"].as_u64() {
        duo.pass(2);
        duo.bid(peer, Rate::new(rate));
    } else if let Some(block) = index("request") {
        duo.nodes[PAYER].request(peer, block, PIECE_LEN);
    } else if let Some(block) = index("piece") {
        let payer = &mut duo.nodes[PAYER];
        payer.block_came(peer, block, BlockFate::Stored, false, now);
        duo.pump();
    } else if let Some(block) = index("reject") {
        duo.nodes[PAYER].refused(peer, block, now);
        duo.pump();
    } else {
        let quote = &step["quote"];
        let window = Bytes::new(1 << 20);
        let rate = quote["ra"].as_u64().map_or(Rate::MAX, Rate::new);
        let said = match number(quote, "st") {
            0 => Quote::open(window, Bytes::ZERO),
            state => Quote {
                state: if state == 1 {
                    QuoteState::Queued
                } else {
                    QuoteState::Paid
                },
                rate,
                window,
                written_off: Bytes::ZERO,
            },
        };
        duo.say(PAYEE, peer, ReceiptMessage::Quote(said));
    }
}

fn place(index: u64) -> Block {
    let index = u32::try_from(index).expect("small");
    let per_piece = PIECE_LEN / BLOCK_LEN;
    block(index / per_piece, index % per_piece)
}

/// What the payer owes, before it is divided.
fn raw(duo: &Duo) -> u128 {
    let payee = duo.id(PAYEE);
    let rows = duo.nodes[PAYER].exchange.rows();
    let due = rows.iter().find_map(|row| match row {
        TallyRow::Pair(row) if row.peer == payee => Some(row.due.get()),
        _ => None,
    });
    due.unwrap_or(0)
}

//! The production choker as an auctioneer: k seats at the highest losing bid (row 13).

use seedbank_engine::rng::Rng;
use seedbank_engine::transfer::choker::{Candidate, Choker, Class, PaidRule, ROUND, SlotPolicy};
use seedbank_engine::units::PeerIndex;
use seedbank_ledger::{Instant, NodeId, Rate};

use super::{RowForm, ValidationRow};
use crate::stats::whole;

/// Five slots, of which one is optimistic and one for trying somebody, leave three seats.
const SLOTS: usize = 5;
const SEATS: u64 = 3;
/// Bidders of each case.
const BIDDERS: usize = 6;
/// Lowest bid that counts.
const ASK: u64 = 1_000;
/// Rounds before seats are as bids say, and rounds that are looked at.
const SETTLING: u32 = 6;
const LOOKED_AT: u32 = 4;

/// What the choker made of bids, round by round.
#[derive(Clone, Debug, Default)]
struct ClearedRound {
    /// Rounds in which each had a seat.
    seated: Vec<u64>,
    /// What each paid for them.
    paid: Vec<u64>,
    rounds: u64,
}

/// Row 13: bidding what a seat is worth is best, and all pay the highest losing bid.
pub(super) fn truthfulness(form: RowForm) -> Vec<ValidationRow> {
    let cases = if form == RowForm::Short { 8 } else { 60 };
    let mut rng = Rng::new(13);
    let (mut better, mut replies, mut rounds) = (0, 0, 0);
    let (mut revenue, mut expected) = (0, 0);
    for _ in 0..cases {
        // Values in thousands and bids between them: nobody bids the same.
        let mut values: Vec<u64> = (2..20).map(|value| value * 1_000).collect();
        rng.shuffle(&mut values);
        values.truncate(BIDDERS);
        let honest = clear(&values);
        rounds += honest.rounds;
        revenue += honest.paid.iter().sum::<u64>();
        let mut sorted = values.clone();
        sorted.sort_unstable_by(|one, other| other.cmp(one));
        expected += SEATS * u64::from(LOOKED_AT) * sorted[3];
        for bidder in 0..BIDDERS {
            let gain = |cleared: &ClearedRound| {
                let worth = cleared.seated[bidder] * values[bidder];
                i128::from(worth) - i128::from(cleared.paid[bidder])
            };
            for bid in (500..21_000).step_by(1_000) {
                let mut bids = values.clone();
                bids[bidder] = bid;
                let otherwise = clear(&bids);
                rounds += otherwise.rounds;
                replies += 1;
                better += u64::from(gain(&otherwise) > gain(&honest));
            }
        }
    }
    let row = |id, what| {
        ValidationRow::production(id, what, [("rounds decided", rounds), ("replies", replies)])
    };
    vec![
        row("13a", "replies better than one's value, uniform price").pair(0.0, whole(better)),
        row("13b", "revenue of k seats at the highest losing bid")
            .pair(whole(expected), whole(revenue)),
    ]
}

/// Rounds of a choker whose payers all use their seats and pay.
fn clear(bids: &[u64]) -> ClearedRound {
    let policy = SlotPolicy {
        slots: SLOTS,
        open_share_percent: 20,
        rule: PaidRule::UniformPrice,
        rate_min: Rate::new(ASK),
    };
    let mut choker = Choker::new(policy, Instant::ZERO);
    let mut now = Instant::ZERO;
    // Somebody wants the open slot.
    let mut candidates = vec![candidate(0, 0)];
    candidates.extend((1..).zip(bids).map(|(number, bid)| candidate(number, *bid)));
    let mut cleared = ClearedRound {
        seated: vec![0; bids.len()],
        paid: vec![0; bids.len()],
        rounds: 0,
    };
    for round in 0..SETTLING + LOOKED_AT {
        now = now.after(ROUND);
        let _ = choker.decide(now, &candidates);
        cleared.rounds += 1;
        if round < SETTLING {
            continue;
        }
        for (place, candidate) in candidates.iter().skip(1).enumerate() {
            let decision = choker.decision(candidate.peer);
            let Some(paid) = decision.filter(|it| it.class == Some(Class::Paid)) else {
                continue;
            };
            cleared.seated[place] += 1;
            let price = paid.cap.map_or(candidate.bid, |cap| cap.min(candidate.bid));
            cleared.paid[place] += price.get();
        }
    }
    cleared
}

fn candidate(number: u64, bid: u64) -> Candidate {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&number.to_le_bytes());
    Candidate {
        seeding: true,
        interested_since: Some(Instant::ZERO),
        key: Some(NodeId::from_bytes(key)),
        bid: Rate::new(bid),
        pays: bid > 0,
        has_paid: true,
        paid_recently: 1 << 20,
        paid_bytes: 1 << 30,
        window: 1 << 20,
        ..Candidate::new(PeerIndex(number))
    }
}

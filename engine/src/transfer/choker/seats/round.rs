//! Seats as a choker plans them from its rows, and as they are kept by who drives many chokers.

use std::collections::BTreeMap;

use seedbank_ledger::{Instant, Rate};

use super::{Holder, SeatPlan, SeatRow, SeatTerms, Seats};
use crate::transfer::choker::{Candidate, RankRow, SlotPolicy};

/// What seats are planned by besides the peers.
#[derive(Clone, Copy, Debug)]
pub struct RoundTerms<'a> {
    /// What the owner decided.
    pub policy: &'a SlotPolicy,
    /// Bytes per second that the paid class can have; `None` while nobody knows.
    pub paid_rate: Option<u64>,
    /// Peers that hold a slot, those included that are no rows.
    pub unchoked: usize,
    /// A round is decided; otherwise what need not wait for one.
    pub is_round: bool,
    /// When.
    pub now: Instant,
}

/// Decides about the paid seats of a choker to which these are connected.
pub fn plan_seats(seats: &mut Seats, rows: &[RankRow], round: &RoundTerms<'_>) -> SeatPlan {
    let &RoundTerms {
        policy,
        is_round,
        now,
        ..
    } = round;
    let is_open = |row: &&RankRow| {
        let candidate = &row.candidate;
        candidate.refusal().is_none() && !candidate.is_payer(policy)
    };
    let for_sale = policy.for_sale(rows.iter().filter(is_open).count());
    // A round gives every slot anew but those within dwell and the seats themselves.
    let stays = |row: &RankRow| {
        let holds = row.choke.holds(now) && row.candidate.torrent_active;
        let is_kept = holds || seats.holds(row.candidate.peer);
        row.choke.is_unchoked() && (is_kept || !is_round)
    };
    let seat_row = |row: &RankRow| SeatRow {
        candidate: row.candidate,
        pays: row.candidate.refusal().is_none() && row.candidate.is_payer(policy),
        has_slot: stays(row),
        waiting_since: row.waiting_since(),
    };
    let seat_rows: Vec<SeatRow> = rows.iter().map(seat_row).collect();
    let taken = match is_round {
        true => seat_rows.iter().filter(|row| row.has_slot).count(),
        false => round.unchoked,
    };
    let mut terms = SeatTerms {
        for_sale,
        room: 0,
        is_round,
        paid_rate: round.paid_rate,
    };
    // Between rounds somebody who pays may exceed the slots by one.
    let over = if is_round { terms.beyond_max() } else { 1 };
    terms.room = policy.slots.saturating_add(over).saturating_sub(taken);
    seats.decide(&seat_rows, &terms, now)
}

/// A seat as whoever drives many chokers keeps it between two decisions. What is remembered of
/// seats that were lost is not kept: it is there against payers that do not pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeatRecord {
    /// Its holder, as it was last seen.
    pub last: Candidate,
    /// Since when it holds it.
    pub since: Instant,
    /// Its price when it was seated.
    pub first_price: Rate,
    /// Its price.
    pub price: Rate,
    /// When it was last seen not late, or else was seated.
    pub on_time_at: Instant,
}

impl Seats {
    /// Seats that were kept elsewhere.
    pub fn resume(records: impl IntoIterator<Item = SeatRecord>) -> Self {
        let holder = |record: SeatRecord| Holder {
            since: record.since,
            first_price: record.first_price,
            price: record.price,
            on_time_at: record.on_time_at,
            last: record.last,
        };
        let records = records.into_iter();
        Self {
            holders: records
                .map(|record| (record.last.peer, holder(record)))
                .collect(),
            past: BTreeMap::new(),
        }
    }

    /// Every seat that is held, in order of peers.
    pub fn records(&self) -> impl Iterator<Item = SeatRecord> + '_ {
        self.holders.values().map(|holder| SeatRecord {
            last: holder.last,
            since: holder.since,
            first_price: holder.first_price,
            price: holder.price,
            on_time_at: holder.on_time_at,
        })
    }
}

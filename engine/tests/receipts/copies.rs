//! By the rule's own words, which copies are due (docs/RULES.md, S1).

use std::collections::BTreeMap;

use seedbank_engine::units::TorrentId;
use seedbank_ledger::{Bytes, NodeId, Rate, RawCost};

/// A block that came and waits for its piece.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owed {
    pub(crate) payee: NodeId,
    pub(crate) len: Bytes,
    pub(crate) rate: Rate,
    pub(crate) came: Came,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// It was missing.
    Needed,
    /// It was there, and is due all the same.
    CopyDue,
    /// It was there.
    CopyUndue,
}

/// By payer and payee, or payer and torrent.
#[derive(Default)]
pub(crate) struct Copies {
    needed: BTreeMap<(NodeId, NodeId), u128>,
    due: BTreeMap<(NodeId, NodeId), u128>,
    shared: BTreeMap<(NodeId, TorrentId), u64>,
    /// Price of copies of verified blocks that are not due.
    pub(crate) undue: BTreeMap<(NodeId, NodeId), RawCost>,
}

impl Copies {
    /// A copy comes at this price.
    pub(crate) fn came(
        &mut self,
        payer: NodeId,
        payee: NodeId,
        torrent_id: TorrentId,
        (len, rate): (Bytes, Rate),
    ) -> Owed {
        let pair = (payer, payee);
        let cost = rate.raw_cost(len).get();
        let needed = self.needed.get(&pair).copied().unwrap_or(0);
        let due = self.due.entry(pair).or_default();
        let shared = self.shared.entry((payer, torrent_id)).or_default();
        let came = if *due + cost <= needed / 16 {
            *due += cost;
            Came::CopyDue
        } else if *shared + len.get() <= 16 * 16_384 && !rate.is_zero() {
            *shared += len.get();
            Came::CopyDue
        } else {
            Came::CopyUndue
        };
        Owed {
            payee,
            len,
            rate,
            came,
        }
    }

    /// It is verified.
    pub(crate) fn verified(&mut self, payer: NodeId, owed: &Owed) {
        let pair = (payer, owed.payee);
        let raw = owed.rate.raw_cost(owed.len);
        match owed.came {
            Came::Needed => *self.needed.entry(pair).or_default() += raw.get(),
            Came::CopyDue => {}
            Came::CopyUndue => {
                let undue = self.undue.entry(pair).or_default();
                *undue = undue.saturating_add(raw);
            }
        }
    }
}

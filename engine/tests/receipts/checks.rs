//! What must hold after every step, and at the end.

use seedbank_ledger::tally::TallyRow;
use seedbank_ledger::{NodeId, RawCost};

use crate::node::{Node, Play, RowKey};
use crate::world::{PIECE_LEN_MAX, WINDOW, World};

/// What a node may have served in the second in which it went down.
const SERVED_UNACKNOWLEDGED_MAX: u32 = 1 << 20;

impl World {
    /// After every step: L1 to L4, L7, and that nobody pays for what it did not get.
    pub(crate) fn check(&self) {
        self.settlement.check();
        self.check_claims();
        for node in &self.nodes {
            node.exchange.check_invariants();
            // What is in memory and matters was written.
            for row in node.exchange.rows() {
                if let TallyRow::Receipt(row) = &row {
                    let stored = node.store.get(&RowKey::Receipt(row.channel));
                    assert_eq!(
                        stored,
                        Some(&TallyRow::Receipt(*row)),
                        "a receipt is written before it is used"
                    );
                }
            }
        }
        self.check_charges();
        self.check_first_run();
        assert_eq!(
            self.truth.underpriced, 0,
            "bytes left a paid seat below its price"
        );
    }

    /// Of nodes that never went down: what is due is exactly what stream order says, and whatever
    /// was granted in the paid class is paid, exposed or written off.
    fn check_first_run(&self) {
        let never_down = self.nodes.iter().filter(|node| node.starts == 1);
        for node in never_down {
            for row in node.exchange.rows() {
                let TallyRow::Pair(row) = row else {
                    continue;
                };
                let as_payer = (node.id(), row.peer);
                let verified = self.truth.verified.get(&as_payer);
                if !node.play.is_past_its_books() {
                    // Otherwise its due follows what it signed without owing it.
                    let undue = self.truth.copies.undue.get(&as_payer);
                    let undue = undue.copied().unwrap_or_default();
                    let verified = verified.copied().unwrap_or_default();
                    assert_eq!(row.due, verified.saturating_sub(undue));
                }
                let as_payee = (row.peer, node.id());
                let granted = self.truth.granted.get(&as_payee).copied().unwrap_or(0);
                let view = node.exchange.pair(row.peer).expect("it has a row");
                let written_off = node.written_off.get(&row.peer).copied().unwrap_or(0);
                let accounted = row.paid_bytes.get() + view.exposure.get() + written_off;
                assert!(granted <= accounted, "granted {granted}: {view:?}");
            }
        }
    }

    /// What a key that does not pay as it should got of an honest payee for nothing, at most: what
    /// is forgiven, one window, and one more for each back-off that is over (docs/RULES.md, what
    /// others can gain). All keys together whose credit came back before its time got no more than
    /// an eighth of what each paid for, and what is lent to all of them.
    /// For schedules in which nobody starts again. Returns the most that was gained, in hundredths
    /// of a window.
    pub(crate) fn check_gain(&self) -> u64 {
        let mut gained = 0;
        for payee in self.nodes.iter().filter(|node| node.play == Play::Honest) {
            let mut harvested = 0;
            let payers = self.nodes.iter().filter(|node| node.play != Play::Honest);
            let keys = payers.flat_map(|node| node.ids().into_iter().map(|id| (node.play, id)));
            for (play, key) in keys {
                let pair = (key, payee.id());
                let granted = self.truth.granted.get(&pair).copied().unwrap_or(0);
                let back_offs = self.truth.back_offs.get(&pair);
                let (is_backing_off, back_offs) = back_offs.copied().unwrap_or_default();
                let view = payee.exchange.pair(key);
                let cleared = view.map_or(0, |view| view.paid_bytes.get());
                let unpaid = granted.saturating_sub(cleared);
                let window = self.window_most(cleared);
                let forgiven = u64::from(PIECE_LEN_MAX) + cleared / 32;
                let windows = back_offs + u64::from(!is_backing_off);
                let most = forgiven + windows * window;
                assert!(
                    unpaid <= most,
                    "{play:?} got {unpaid} bytes of {granted} for nothing, of at most {most}"
                );
                if self.is_credit_back(pair) {
                    harvested += unpaid.saturating_sub(cleared / 8);
                }
                gained = gained.max(unpaid * 100 / window.max(1));
            }
            let most = self.lent_most(payee);
            assert!(
                harvested <= most,
                "keys got {harvested} bytes for nothing, of at most {most}, and their credit back"
            );
        }
        gained
    }

    /// The most that a payee lends: at once, over the time that passed, and of what all paid for.
    fn lent_most(&self, payee: &Node) -> u64 {
        let pairs = payee.exchange.pairs();
        let paid: u64 = pairs.map(|(_, view)| view.paid_bytes.get()).sum();
        let secs = self.now.as_nanos() / 1_000_000_000;
        let most = WINDOW.max.get();
        most + most * secs / 86_400 + paid / 32
    }

    /// The most that P1 lets anybody owe who paid for so much; where a window fell, one piece more.
    fn window_most(&self, cleared: u64) -> u64 {
        let piece = u64::from(PIECE_LEN_MAX);
        let full = (2 * piece).clamp(WINDOW.min.get(), WINDOW.max.get());
        let bonus = (cleared / 16).min(WINDOW.bonus_max.get());
        let fall = if cleared > 0 { piece } else { 0 };
        (piece + cleared).min(full + bonus) + fall
    }

    /// Whether every lock of a payer for a payee was closed before its time.
    fn is_credit_back(&self, (payer, payee): (NodeId, NodeId)) -> bool {
        let unix = self.unix();
        let locks = self.settlement.locks.values();
        let mut locks = locks
            .filter(|status| status.lock.body.payer == payer && status.lock.body.payee == payee)
            .peekable();
        locks.peek().is_some()
            && locks.all(|status| status.closed && unix <= status.lock.body.returns_at())
    }

    /// L3: nothing is paid out above what was signed and what is locked.
    pub(crate) fn check_claims(&self) {
        for (lock_id, status) in &self.settlement.locks {
            let signed = self.truth.signed.get(lock_id);
            let signed = signed.map_or(0, |(_, _, amount)| *amount);
            assert!(
                status.claimed.get() <= signed,
                "claimed {} of {signed} signed on {lock_id}",
                status.claimed
            );
        }
    }

    /// Σ ever signed ≤ value of verified blocks, for every honest payer, restored or not.
    fn check_charges(&self) {
        let payers = self.nodes.iter();
        for payer in payers.filter(|node| !node.play.is_past_its_books()) {
            for payee in self.nodes.iter().flat_map(Node::ids) {
                let pair = (payer.id(), payee);
                let signed: u64 = self
                    .truth
                    .signed
                    .values()
                    .filter(|(by, to, _)| (*by, *to) == pair)
                    .map(|(_, _, amount)| *amount)
                    .sum();
                let verified = self.truth.verified.get(&pair).copied().unwrap_or_default();
                assert!(
                    RawCost::new(u128::from(signed) << 30) <= verified,
                    "signed {signed} for {} verified",
                    verified.get() >> 30
                );
            }
        }
    }

    /// Everything about locks and pairs, for the person who replays a failure.
    pub(crate) fn describe(&self) -> String {
        let mut text = format!("at {}\n", self.now);
        for (index, node) in self.nodes.iter().enumerate() {
            text += &format!(
                "node {index}, starts {}, {} asks, {} pieces, holders {:?}\n",
                node.starts,
                node.asks.len(),
                node.have.len(),
                node.leases
                    .iter()
                    .map(|(k, l)| (k.1, l.holder, l.blocks.iter().flatten().count()))
                    .collect::<Vec<_>>(),
            );
            for (peer, state) in &node.peers {
                text += &format!(
                    "  {peer:?} to {} fast {} unchoked us {} asked {} quoted {:?} bid {}\n",
                    state.remote,
                    state.fast,
                    state.unchoked_us,
                    state.requested.len(),
                    node.exchange.quoted(*peer),
                    node.exchange.own_bid(*peer),
                );
            }
            for (_, view) in node.exchange.pairs() {
                text += &format!("  {view:?}\n");
            }
            for lock in node.exchange.paying_locks() {
                let (id, amount) = (lock.lock.body.lock_id, lock.lock.body.amount);
                text += &format!(
                    "  pays {id}: {} of {amount}, {:?}\n",
                    lock.signed, lock.state
                );
            }
            for lock in node.exchange.earning_locks() {
                let (id, worth) = (lock.lock.body.lock_id, lock.worth());
                text += &format!(
                    "  earns {id}: {worth}, {:?} {}\n",
                    lock.state, lock.close_asked
                );
            }
        }
        for (id, status) in &self.settlement.locks {
            let (claimed, closed) = (status.claimed, status.closed);
            text += &format!("lock {id}: claimed {claimed}, closed {closed}\n");
        }
        text
    }

    /// At the end of an honest run: everything is there, exposure is zero, nobody is in default,
    /// and both sides' books agree.
    pub(crate) fn check_end(&self) {
        for (lock_id, status) in self.settlement.locks.iter().filter(|(_, s)| s.closed) {
            let signed = self.truth.signed.get(lock_id);
            let signed = signed.map_or(0, |(_, _, amount)| *amount);
            let body = status.lock.body;
            let ends = [body.payer, body.payee];
            let mut forgetful = self.nodes.iter().filter(|node| ends.contains(&node.id()));
            if forgetful.any(|node| node.restored) {
                // A receipt that died on its way and that its signer has forgotten is lost, and a
                // payee that forgot a close may serve one window on the closed lock (F14).
                continue;
            }
            assert_eq!(
                status.claimed.get(),
                signed,
                "what was signed on {lock_id} was claimed before it was closed"
            );
        }
        for (index, node) in self.nodes.iter().enumerate() {
            assert!(self.is_complete(index), "node {index} is complete");
            for (key, view) in node.exchange.pairs() {
                assert_eq!(view.exposure.get(), 0, "exposure returns to zero: {view:?}");
                assert!(!view.backing_off, "nobody ends in default: {view:?}");
                assert_eq!(view.owed.get(), 0, "nothing stays unsigned: {view:?}");
                let other = self.nodes.iter().find(|other| other.id() == key);
                let other = other.expect("keys are of nodes");
                let mirror = other.exchange.pair(node.id());
                let mirror = mirror.map_or(0, |mirror| mirror.standing);
                // Who served and went down before that was acknowledged no longer knows that it
                // served: an acknowledgement of more than it knows of does not count.
                let lost = view.standing + mirror;
                let starts = i64::try_from(node.starts + other.starts - 2).expect("a few");
                let lost_max = starts * i64::from(SERVED_UNACKNOWLEDGED_MAX);
                assert!(
                    (0..=lost_max).contains(&lost),
                    "acknowledgements agree: {lost}"
                );
            }
            for lock in node.exchange.paying_locks().filter(|lock| lock.is_open()) {
                let lock_id = lock.lock.body.lock_id;
                if self.settlement.locks[&lock_id].closed {
                    continue;
                }
                let payee = lock.lock.body.payee;
                let payee = self.nodes.iter().find(|other| other.id() == payee);
                let payee = payee.expect("keys are of nodes");
                let held = payee
                    .exchange
                    .earning_locks()
                    .find(|held| held.lock.body.lock_id == lock_id);
                let held = held.and_then(|held| held.incoming.held());
                assert_eq!(held, lock.receipt.as_ref(), "books agree on {lock_id}");
            }
        }
    }
}

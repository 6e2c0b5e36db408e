//! Who is unchoked: slots, rounds and reasons (docs/RULES.md, BEP 3).
//!
//! [`rank`] decides a round and is a pure function of plain rows; [`Choker`] keeps what must be
//! remembered between rounds and turns rankings into changes. How fast an unchoked peer is served
//! is decided in `limiter.rs`, at what price by the receipt protocol.

mod candidate;
mod policy;
mod rank;
mod ranker;
mod seats;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use seedbank_ledger::{Duration, Instant, Rate};

use crate::units::PeerIndex;

pub use candidate::Candidate;
pub use policy::{PaidRule, SlotPolicy};
pub use rank::{RankRow, RankScratch, RankTerms, Ranking, rank, rank_into};
pub use ranker::{RankChoice, Ranker, WEIGHT_MAX};
pub use seats::{Loss, RoundTerms, SeatPlan, SeatRecord, SeatRow, SeatTerms, Seats, plan_seats};

/// Time between two rounds.
pub const ROUND: Duration = Duration::from_secs(10);
/// Least time between two rounds when paid orders ask for one early.
pub const ROUND_MIN: Duration = Duration::from_secs(1);
/// Least time in a state. Clients of the aria2 family hang up on two flips within 5 s.
pub const DWELL: Duration = Duration::from_secs(10);
/// How long an optimistic unchoke lasts (BEP 3).
pub const OPTIMISTIC_TURN: Duration = Duration::from_secs(30);
/// How long a peer holds a slot that it got for waiting, while others wait. A turn is time and not
/// bytes: with bytes, the slower a peer, the longer it would stay.
pub const WAITED_TURN: Duration = Duration::from_secs(60);
/// The same for a peer that takes less than [`IDLE_RATE_MAX`].
pub const IDLE_TURN: Duration = Duration::from_secs(20);
/// Bytes per second below which a peer is thought not to use its slot.
pub const IDLE_RATE_MAX: u64 = 1_024;
/// Bytes per second from which a peer counts as giving: fewer are not worth a slot of tit-for-tat.
pub const RECIPROCAL_RATE_MIN: u64 = 1_024;
/// Most address groups whose last turn is remembered.
pub const GROUPS_MAX: usize = 4_096;

/// Why a peer is unchoked or choked: shown to users for every decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Unchoked: pays, and its bid is among the highest.
    Paid,
    /// Unchoked: on the owner's list of friends.
    Friend,
    /// Unchoked: gives us data at one of the best rates.
    Reciprocal,
    /// Unchoked: has acknowledged more service to us than we to it.
    Standing,
    /// Unchoked: seeding, waited longest.
    Waited,
    /// Unchoked: optimistic slot.
    Optimistic,
    /// Unchoked: a slot was free.
    FreeSlot,
    /// Stays unchoked: unchoked less than 10 s ago.
    Dwell,
    /// Stays choked: choked less than 10 s ago.
    JustChoked,
    /// Choked: every slot went to somebody ranked higher.
    Outranked,
    /// Choked: had a paid seat and lost it by its own doing. It rests before it may have another.
    SeatLost,
    /// Choked: not interested in anything we have.
    NotInterested,
    /// Choked: has sent nothing for too long although we asked (BEP 3).
    Snubbed,
    /// Choked: the torrent is stopped.
    TorrentStopped,
    /// Choked: is a seed itself.
    Seed,
}

/// On which side of the market an unchoked peer is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Pays or is a friend.
    Paid,
    /// Open: gives, has given, waited, or found a slot free.
    Reciprocal,
    /// Open: its turn of 30 s.
    Optimistic,
}

/// Whether a peer is unchoked, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choke {
    /// Choked.
    Choked {
        /// Since when; `None` if it never was unchoked.
        since: Option<Instant>,
    },
    /// Unchoked.
    Unchoked {
        /// Since when.
        since: Instant,
        /// In which class.
        class: Class,
        /// Since when in this class.
        class_since: Instant,
    },
}

/// What was decided about a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whom.
    pub peer: PeerIndex,
    /// Class if unchoked; `None` if choked.
    pub class: Option<Class>,
    /// Why.
    pub reason: Reason,
    /// Share of its class's bandwidth relative to the others in it, at least 1.
    pub weight: u64,
    /// Price of its paid seat: its bid when that was decided. Zero for friends and without one.
    pub price: Rate,
    /// Most a block costs there; `None` for no bound, or without a seat that has a price.
    pub cap: Option<Rate>,
}

/// A decision that differs from the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChokeChange {
    /// What holds now.
    pub decision: Decision,
    /// Choke or unchoke must be sent; otherwise only class, weight or reason changed.
    pub flipped: bool,
}

/// The choke state of every connected peer, and the round timer.
#[derive(Debug)]
pub struct Choker {
    policy: SlotPolicy,
    /// Another order of the open classes; a node has none.
    ranker: Option<Box<dyn Ranker>>,
    peers: BTreeMap<PeerIndex, PeerState>,
    /// When a member of a group last held an open slot.
    group_turns: BTreeMap<u64, Instant>,
    last_round: Instant,
    next_round: Instant,
    clearing_price: Option<Rate>,
    seats: Seats,
    /// Bytes per second that the paid class can have, as far as known.
    paid_rate: Option<u64>,
}

/// What paid seats have in common.
#[derive(Clone, Copy, Debug)]
struct PaidTerms {
    rule: PaidRule,
    /// Highest bid in them.
    highest: Rate,
    clearing_price: Option<Rate>,
}

#[derive(Clone, Copy, Debug)]
struct PeerState {
    choke: Choke,
    decision: Decision,
}

impl Decision {
    /// Outside the paid class: choked, or unchoked in an open class.
    const fn open(peer: PeerIndex, class: Option<Class>, reason: Reason) -> Self {
        Self {
            peer,
            class,
            reason,
            weight: 1,
            price: Rate::ZERO,
            cap: None,
        }
    }
}

impl PaidTerms {
    /// A paid seat. A friend's has no price; it weighs as much as the highest bid.
    fn decision(&self, candidate: &Candidate) -> Decision {
        let priced = !candidate.friend;
        let weight = match (self.rule, priced) {
            (PaidRule::Proportional, true) => candidate.bid,
            (PaidRule::Proportional, false) => self.highest,
            (PaidRule::TopK | PaidRule::UniformPrice, _) => Rate::ZERO,
        };
        Decision {
            peer: candidate.peer,
            class: Some(Class::Paid),
            reason: candidate.paid_reason(),
            weight: weight.get().max(1),
            price: if priced { candidate.bid } else { Rate::ZERO },
            cap: self.clearing_price.filter(|_| priced),
        }
    }
}

impl Choke {
    /// Whether it is unchoked.
    pub const fn is_unchoked(&self) -> bool {
        matches!(self, Self::Unchoked { .. })
    }

    /// What it is once this was decided: unchoked in a class, or choked.
    #[must_use]
    pub const fn becomes(self, class: Option<Class>, now: Instant) -> Self {
        match (self, class) {
            (Self::Choked { .. }, None) => self,
            (Self::Choked { .. }, Some(class)) => Self::Unchoked {
                since: now,
                class,
                class_since: now,
            },
            (Self::Unchoked { .. }, None) => Self::Choked { since: Some(now) },
            (Self::Unchoked { class: old, .. }, Some(class)) if old as u8 == class as u8 => self,
            (Self::Unchoked { since, .. }, Some(class)) => Self::Unchoked {
                since,
                class,
                class_since: now,
            },
        }
    }

    /// Unchoked less than [`DWELL`] ago: it must not be choked yet.
    pub fn holds(&self, now: Instant) -> bool {
        matches!(self, Self::Unchoked { since, .. } if now.since(*since) < DWELL)
    }

    /// Choked less than [`DWELL`] ago: it must not be unchoked yet, unless it pays.
    pub fn rests(&self, now: Instant) -> bool {
        matches!(self, Self::Choked { since: Some(since) } if now.since(*since) < DWELL)
    }
}

impl Choker {
    /// Nobody connected; the first round is due one [`ROUND`] after `now`.
    pub fn new(policy: SlotPolicy, now: Instant) -> Self {
        Self {
            policy,
            ranker: None,
            peers: BTreeMap::new(),
            group_turns: BTreeMap::new(),
            last_round: now,
            next_round: now.after(ROUND),
            clearing_price: None,
            seats: Seats::default(),
            paid_rate: None,
        }
    }

    /// Takes effect with the next round.
    pub fn set_policy(&mut self, policy: SlotPolicy) {
        self.policy = policy;
    }

    /// Has the open classes ranked by somebody else from the next round on; `None`: by [`rank`].
    /// Slots are then given away in rounds only.
    pub fn set_ranker(&mut self, ranker: Option<Box<dyn Ranker>>) {
        self.ranker = ranker;
    }

    /// What the paid class can have, in bytes per second; `None` while nobody knows.
    pub const fn set_paid_rate(&mut self, rate: Option<u64>) {
        self.paid_rate = rate;
    }

    /// Decides a round over all connected peers and returns what changed, in order of peers.
    ///
    /// Peers that are not among the candidates are forgotten. A call before [`Choker::next_round`]
    /// does no harm: dwell is kept all the same.
    pub fn decide(&mut self, now: Instant, candidates: &[Candidate]) -> Vec<ChokeChange> {
        let rows: Vec<RankRow> = candidates.iter().map(|one| self.row(one)).collect();
        let plan = self.plan_seats(&rows, true, now);
        let mut ranking = rank(&rows, &plan, &self.policy, now);
        if let Some(ranker) = &mut self.ranker {
            ranking = ranker::overrule(ranker.as_mut(), ranking, &rows, &self.policy, now);
        }
        let known = std::mem::take(&mut self.peers);
        self.clearing_price = ranking.clearing_price;
        let mut changes = Vec::new();
        for decision in ranking.decisions {
            let before = known.get(&decision.peer);
            changes.extend(self.apply(before.copied(), decision, now));
        }
        self.note_groups(candidates, now);
        assert_eq!(
            self.peers.len(),
            candidates.len(),
            "everybody is decided about"
        );
        self.last_round = now;
        self.next_round = now.after(ROUND);
        self.check_invariants();
        changes
    }

    /// Decides about the paid seats between rounds: prices follow bids, whoever may have a free
    /// seat gets it, and who does not use one yields it. Pass all connected peers.
    ///
    /// A newcomer may exceed the slots by one until the next round, and nobody else is choked for
    /// it. What has to wait for a round brings that forward, so that it comes within a second.
    pub fn decide_seats(&mut self, now: Instant, candidates: &[Candidate]) -> Vec<ChokeChange> {
        let rows: Vec<RankRow> = candidates.iter().map(|one| self.row(one)).collect();
        let plan = self.plan_seats(&rows, false, now);
        if plan.is_round_due {
            let soonest = now.max(self.last_round.after(ROUND_MIN));
            self.next_round = self.next_round.min(soonest);
        }
        let mut changes = Vec::new();
        let seated = || rows.iter().filter(|row| plan.holds(row.candidate.peer));
        let bids = seated().filter(|row| !row.candidate.friend);
        let uniform = self.policy.rule == PaidRule::UniformPrice;
        let clearing_price = self.clearing_price.or(Some(self.policy.rate_min));
        let terms = PaidTerms {
            rule: self.policy.rule,
            highest: bids.map(|row| row.candidate.bid).max().unwrap_or_default(),
            clearing_price: clearing_price.filter(|_| uniform),
        };
        for row in seated() {
            let decision = terms.decision(&row.candidate);
            let before = self.peers.get(&row.candidate.peer).copied();
            changes.extend(self.apply(before, decision, now));
        }
        let somebody_waits = rows.iter().any(|row| row.waits(now));
        let lost = rows
            .iter()
            .filter(|row| plan.lost.contains_key(&row.candidate.peer));
        for RankRow { candidate, .. } in lost {
            let is_free = self.unchoked_count() <= self.policy.slots && !somebody_waits;
            let (class, reason) = match candidate.refusal() {
                _ if is_free => (Some(Class::Reciprocal), Reason::FreeSlot),
                Some(reason) => (None, reason),
                None => (None, Reason::SeatLost),
            };
            changes.extend(self.decide_alone(candidate.peer, class, reason, now));
        }
        changes
    }

    /// Gives free slots to those among the candidates who have waited longest; at once, because a
    /// peer that finds a free slot should not wait for a round. A slot whose holder has lost
    /// interest is free as soon as somebody waits for it and the holder has had it for [`DWELL`].
    /// Pass all connected peers, or one that is not unchoked.
    pub fn admit_free(&mut self, now: Instant, candidates: &[Candidate]) -> Vec<ChokeChange> {
        if self.ranker.is_some() {
            return Vec::new();
        }
        let rows = || candidates.iter().map(|one| self.row(one));
        let mut waiting: Vec<RankRow> = rows().filter(|row| row.waits(now)).collect();
        waiting.sort_by_key(|row| (row.waiting_since(), row.candidate.peer));
        let free = self.policy.slots.saturating_sub(self.unchoked_count());
        let wanted = waiting.len().saturating_sub(free);
        let idle: Vec<(PeerIndex, Reason)> = rows()
            .filter(|row| row.choke.is_unchoked() && !row.choke.holds(now))
            .filter(|row| !self.seats.holds(row.candidate.peer))
            .filter_map(|row| Some((row.candidate.peer, row.candidate.refusal()?)))
            .take(wanted)
            .collect();
        let mut changes = Vec::new();
        for (peer, reason) in idle {
            changes.extend(self.decide_alone(peer, None, reason, now));
        }
        let free = self.policy.slots.saturating_sub(self.unchoked_count());
        for row in waiting.iter().take(free) {
            let (peer, class) = (row.candidate.peer, Some(Class::Reciprocal));
            changes.extend(self.decide_alone(peer, class, Reason::FreeSlot, now));
        }
        assert!(
            free == 0 || self.unchoked_count() <= self.policy.slots,
            "free slots are given away once"
        );
        changes
    }

    /// A decision about one peer between rounds.
    fn decide_alone(
        &mut self,
        peer: PeerIndex,
        class: Option<Class>,
        reason: Reason,
        now: Instant,
    ) -> Option<ChokeChange> {
        let before = self.peers.get(&peer).copied();
        self.apply(before, Decision::open(peer, class, reason), now)
    }

    /// A peer was told only now that it is choked, because what it was promised came first: its
    /// rest begins now. No effect on one that is not choked.
    pub fn choke_said(&mut self, peer: PeerIndex, now: Instant) {
        if let Some(PeerState {
            choke: Choke::Choked { since },
            ..
        }) = self.peers.get_mut(&peer)
        {
            *since = Some(now);
        }
    }

    /// Takes note of what a peer is like whose connection is about to be forgotten.
    pub fn leaves(&mut self, candidate: &Candidate) {
        self.seats.note(candidate);
    }

    /// Whether a peer held a paid seat after the last decision.
    pub fn is_seated(&self, peer: PeerIndex) -> bool {
        self.seats.holds(peer)
    }

    /// Whether anybody held a paid seat after the last decision.
    pub fn has_seated(&self) -> bool {
        !self.seats.is_empty()
    }

    /// Forgets a peer whose connection is gone; its slot is free.
    pub fn disconnected(&mut self, peer: PeerIndex) {
        self.peers.remove(&peer);
    }

    /// Rounds up to `now` would have changed nothing: goes on as if they had been.
    pub fn skip_rounds(&mut self, now: Instant) {
        if self.next_round <= now {
            let rounds = now.since(self.next_round).as_nanos() / ROUND.as_nanos();
            self.last_round = self.next_round.after(ROUND.times(rounds));
            self.next_round = self.last_round.after(ROUND);
        }
    }

    /// When [`Choker::decide`] is due.
    pub const fn next_round(&self) -> Instant {
        self.next_round
    }

    /// What holds for a peer; `None` before the first decision about it.
    pub fn decision(&self, peer: PeerIndex) -> Option<&Decision> {
        self.peers.get(&peer).map(|state| &state.decision)
    }

    /// Whether a peer is unchoked, and since when.
    pub fn choke(&self, peer: PeerIndex) -> Choke {
        let state = self.peers.get(&peer);
        state.map_or(Choke::Choked { since: None }, |state| state.choke)
    }

    /// What every paid peer is quoted under `uniform_price`; `None` under other rules.
    pub const fn clearing_price(&self) -> Option<Rate> {
        self.clearing_price
    }

    /// Peers that hold a slot.
    pub fn unchoked_count(&self) -> usize {
        self.peers
            .values()
            .filter(|state| state.choke.is_unchoked())
            .count()
    }

    /// Peers that hold a slot of this class.
    pub fn class_count(&self, class: Class) -> usize {
        let of_class = |state: &&PeerState| state.decision.class == Some(class);
        self.peers.values().filter(of_class).count()
    }

    /// Stops the program if the state contradicts itself.
    pub fn check_invariants(&self) {
        self.seats.check_invariants();
        for (peer, state) in &self.peers {
            let is_paid = state.decision.class == Some(Class::Paid);
            assert!(
                is_paid || !self.seats.holds(*peer),
                "who holds a paid seat is in the paid class"
            );
            assert_eq!(
                *peer, state.decision.peer,
                "a decision is filed under its peer"
            );
            let class = match state.choke {
                Choke::Choked { .. } => None,
                Choke::Unchoked {
                    since,
                    class,
                    class_since,
                } => {
                    assert!(
                        class_since >= since,
                        "a class does not begin before the unchoke"
                    );
                    Some(class)
                }
            };
            assert_eq!(class, state.decision.class, "state and decision agree");
            assert!(state.decision.weight > 0, "everybody has a share");
        }
        assert!(
            self.group_turns.len() <= GROUPS_MAX,
            "remembered groups are bounded"
        );
    }

    fn plan_seats(&mut self, rows: &[RankRow], is_round: bool, now: Instant) -> SeatPlan {
        let terms = RoundTerms {
            policy: &self.policy,
            paid_rate: self.paid_rate,
            unchoked: self.unchoked_count(),
            is_round,
            now,
        };
        plan_seats(&mut self.seats, rows, &terms)
    }

    fn row(&self, candidate: &Candidate) -> RankRow {
        let group_turn = candidate
            .group
            .and_then(|group| self.group_turns.get(&group));
        RankRow {
            candidate: *candidate,
            choke: self.choke(candidate.peer),
            group_turn: group_turn.copied(),
        }
    }

    fn apply(
        &mut self,
        before: Option<PeerState>,
        decision: Decision,
        now: Instant,
    ) -> Option<ChokeChange> {
        let choke = before.map_or(Choke::Choked { since: None }, |before| before.choke);
        let next = choke.becomes(decision.class, now);
        self.peers.insert(
            decision.peer,
            PeerState {
                choke: next,
                decision,
            },
        );
        assert_eq!(
            next.is_unchoked(),
            decision.class.is_some(),
            "who has a class is unchoked, and nobody else"
        );
        assert!(decision.weight > 0, "everybody has a share");
        assert!(
            !choke.holds(now) || decision.reason != Reason::Outranked,
            "nobody is outranked within dwell"
        );
        let flipped = choke.is_unchoked() != next.is_unchoked();
        let changed = before.is_none_or(|before| before.decision != decision);
        changed.then_some(ChokeChange { decision, flipped })
    }

    fn note_groups(&mut self, candidates: &[Candidate], now: Instant) {
        for candidate in candidates {
            let class = self
                .decision(candidate.peer)
                .and_then(|decision| decision.class);
            let (Some(group), Some(Class::Reciprocal | Class::Optimistic)) =
                (candidate.group, class)
            else {
                continue;
            };
            self.group_turns.insert(group, now);
        }
        while self.group_turns.len() > GROUPS_MAX {
            let oldest = self
                .group_turns
                .iter()
                .min_by_key(|(group, at)| (**at, **group));
            let oldest = oldest
                .map(|(group, _)| *group)
                .expect("more than the bound");
            self.group_turns.remove(&oldest);
        }
        assert!(
            self.group_turns.len() <= GROUPS_MAX,
            "remembered groups are bounded"
        );
    }
}

//! Who is there and who knows whom: flat arrays, of which others see a few bytes per peer.

use std::sync::atomic::{AtomicU32, Ordering};

use seedbank_engine::rng::Rng;
use seedbank_engine::transfer::choker::{Choke, Class};
use seedbank_ledger::Instant;

use super::content::Face;

/// No neighbour.
pub(super) const NOBODY: u32 = u32::MAX;
/// A moment that does not come.
pub(super) const NEVER: u64 = u64::MAX;
/// Set in a slot's class while something flows to its neighbour.
const FLOWS: u8 = 0x80;

/// Whether a peer is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Expected,
    There,
    /// Offline, and will come back.
    Away,
    Gone,
}

/// A peer. Amounts are units, those of lines units in a step, times nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct FlowPeer {
    pub(super) uplink: u64,
    pub(super) downlink: u64,
    /// What it has.
    pub(super) content: u64,
    /// What it had when it came.
    pub(super) brought: u64,
    pub(super) uploaded: u64,
    pub(super) comes_at: u64,
    /// When its first piece was whole.
    pub(super) first_at: u64,
    pub(super) done_at: u64,
    pub(super) left_at: u64,
    pub(super) population: u16,
    /// Slots from the first that were ever used.
    pub(super) degree: u16,
    /// In which step of a round it decides.
    pub(super) phase: u16,
    /// From how many it receives.
    pub(super) sources: u8,
    pub(super) presence: Presence,
}

impl FlowPeer {
    /// Whether it has come and not left; it may be offline.
    pub(super) fn is_there(&self) -> bool {
        matches!(self.presence, Presence::There | Presence::Away)
    }
}

/// What a peer knows of a neighbour. Milliseconds count from 1; 0 is never.
#[derive(Clone, Copy, Debug)]
pub(super) struct FlowSlot {
    pub(super) neighbour: u32,
    /// Since when the neighbour is interested in us.
    pub(super) interested_ms: u32,
    /// Since when it is choked or unchoked.
    turn_ms: u32,
    /// What came from it, less what went to it, in 4096ths of a piece.
    pub(super) standing: i32,
    /// Our slot at the neighbour.
    pub(super) reverse: u16,
    class: u8,
    /// Rounds since its class changed, counted while it is unchoked; the most there can be if it
    /// began with the unchoke.
    class_rounds: u8,
}

impl FlowSlot {
    const EMPTY: Self = Self {
        neighbour: NOBODY,
        interested_ms: 0,
        turn_ms: 0,
        standing: 0,
        reverse: 0,
        class: 0,
        class_rounds: 0,
    };

    /// In which class it is served.
    pub(super) fn class(&self) -> Option<Class> {
        match self.class & !FLOWS {
            1 => Some(Class::Paid),
            2 => Some(Class::Reciprocal),
            3 => Some(Class::Optimistic),
            _ => None,
        }
    }

    /// In which class something flows to it.
    pub(super) fn flowing(&self) -> Option<Class> {
        match self.class & FLOWS {
            0 => None,
            _ => self.class(),
        }
    }

    pub(super) fn set_flowing(&mut self, flows: bool) {
        self.class = self.class & !FLOWS | if flows { FLOWS } else { 0 };
    }

    /// As the engine's choker knows it. A class began so many rounds ago.
    pub(super) fn choke(&self, round_ms: u32, now_ms: u32) -> Choke {
        let turn = self.turn_ms.checked_sub(1).map(at_ms);
        let Some(class) = self.class() else {
            return Choke::Choked { since: turn };
        };
        let since = turn.unwrap_or(Instant::ZERO);
        let ago = u32::from(self.class_rounds).saturating_mul(round_ms);
        Choke::Unchoked {
            since,
            class,
            class_since: at_ms(now_ms.saturating_sub(ago)).max(since),
        }
    }

    /// Takes over what was decided at `now_ms`, in a round or between two.
    pub(super) fn decide(&mut self, class: Option<Class>, is_round: bool, now_ms: u32) {
        let before = self.class();
        if before.is_some() != class.is_some() {
            self.turn_ms = now_ms + 1;
        }
        self.class_rounds = match before == class {
            true => self.class_rounds.saturating_add(u8::from(is_round)),
            // With the unchoke, however long ago that was.
            false if before.is_none() => u8::MAX,
            false => u8::from(is_round),
        };
        self.class = match class {
            None => 0,
            Some(Class::Paid) => 1,
            Some(Class::Reciprocal) => 2,
            Some(Class::Optimistic) => 3,
        };
    }
}

/// Everybody, and what they know of each other.
#[derive(Debug)]
pub(super) struct FlowSwarm {
    pub(super) peers: Vec<FlowPeer>,
    pub(super) slots: Vec<FlowSlot>,
    /// What came from each neighbour since the last round, in 16384ths of a piece.
    pub(super) received: Vec<AtomicU32>,
    /// Slots of a peer.
    pub(super) stride: usize,
    /// What each has.
    pub(super) have: Vec<Face>,
    /// What each can give.
    pub(super) faces: Vec<Face>,
}

impl FlowSwarm {
    pub(super) fn new(peers: Vec<FlowPeer>, stride: usize) -> Self {
        let count = peers.len();
        Self {
            slots: vec![FlowSlot::EMPTY; count * stride],
            received: (0..count * stride).map(|_| AtomicU32::new(0)).collect(),
            stride,
            have: vec![Face::NONE; count],
            faces: vec![Face::NONE; count],
            peers,
        }
    }

    pub(super) fn slots_of(&self, peer: u32) -> &[FlowSlot] {
        let first = peer as usize * self.stride;
        &self.slots[first..first + usize::from(self.peers[peer as usize].degree)]
    }

    /// What came from a neighbour since the last round.
    pub(super) fn came(&self, peer: u32, slot: usize) -> u32 {
        self.received[peer as usize * self.stride + slot].load(Ordering::Relaxed)
    }

    /// Makes two peers known to each other; `false` if they are already, one is not there, or one
    /// has no room.
    pub(super) fn connect(&mut self, a: u32, b: u32) -> bool {
        let known = |at: &Self| at.slots_of(a).iter().any(|slot| slot.neighbour == b);
        let there = |peer: u32| self.peers[peer as usize].presence == Presence::There;
        if a == b || !there(a) || !there(b) || known(self) {
            return false;
        }
        let (Some(slot_a), Some(slot_b)) = (self.room(a), self.room(b)) else {
            return false;
        };
        for (peer, slot, other, reverse) in [(a, slot_a, b, slot_b), (b, slot_b, a, slot_a)] {
            let place = peer as usize * self.stride + usize::from(slot);
            self.slots[place] = FlowSlot {
                neighbour: other,
                reverse,
                ..FlowSlot::EMPTY
            };
            *self.received[place].get_mut() = 0;
            let degree = &mut self.peers[peer as usize].degree;
            *degree = (*degree).max(slot + 1);
        }
        true
    }

    /// A peer and its neighbours forget each other.
    pub(super) fn part(&mut self, peer: u32) {
        for slot in 0..usize::from(self.peers[peer as usize].degree) {
            let it = &mut self.slots[peer as usize * self.stride + slot];
            let (other, reverse) = (it.neighbour, it.reverse);
            *it = FlowSlot::EMPTY;
            if other != NOBODY {
                self.slots[other as usize * self.stride + usize::from(reverse)] = FlowSlot::EMPTY;
            }
        }
        self.peers[peer as usize].degree = 0;
        self.have[peer as usize] = Face::NONE;
        self.faces[peer as usize] = Face::NONE;
    }

    /// Makes a peer known to so many of these, at random.
    pub(super) fn meet(&mut self, peer: u32, others: &[u32], count: usize, rng: &mut Rng) {
        let mut left = count;
        // Few are known or have no room: a bound on tries that is hardly ever met.
        for _ in 0..count * 4 {
            if left == 0 || others.is_empty() {
                return;
            }
            left -= usize::from(self.connect(peer, others[rng.index(others.len())]));
        }
    }

    fn room(&self, peer: u32) -> Option<u16> {
        let slots = self.slots_of(peer);
        let free = slots.iter().position(|slot| slot.neighbour == NOBODY);
        let place = free.or_else(|| (slots.len() < self.stride).then_some(slots.len()))?;
        u16::try_from(place).ok()
    }
}

/// A moment by its milliseconds.
pub(super) fn at_ms(ms: u32) -> Instant {
    Instant::from_nanos(u64::from(ms) * 1_000_000)
}

//! Which block to ask whom for: rarest first, one lease per piece, end game, blame.
//!
//! The picker owns what peers say they have and the state of every block; it knows no sockets and
//! no prices. A piece is *unopened*, *open* (it has a buffer, leased to one peer or waiting for the
//! next), or *had*. `picker/pick.rs` decides, this file records. How many blocks to ask for at once
//! is decided in `pipeline.rs`.

mod askers;
mod invariants;
mod open;
mod parole;
mod pick;
mod rarity;
mod seed;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use seedbank_ledger::{Duration, Instant};

use crate::asked::BlockFate;
use crate::content::bitfield::Bitfield;
use crate::rng::Rng;
use crate::units::{Block, Geometry, PeerIndex, PieceIndex};
use open::OpenPiece;
pub use pick::{PickLimits, Picked};
use rarity::Rarity;

/// Pieces to verify before rarest first begins: any piece is worth having to trade with (BEP 3).
pub const RANDOM_FIRST_COUNT: u32 = 4;
/// A piece of which nothing came for so long may be handed on to another peer.
pub const STALL: Duration = Duration::from_secs(30);
/// How long a peer is not asked again for a piece of which it refused a block.
pub const REFUSAL_PAUSE: Duration = Duration::from_secs(30);
/// How long a peer that took part in a failed piece is not asked for it again, while another has
/// it.
pub const FAILURE_PAUSE: Duration = Duration::from_secs(60);
/// Peers asked for one block in end game, of those that count (`picker/askers.rs`).
pub const COPIES_MAX: usize = 3;
/// Pieces for which refusals and failures are remembered.
pub const BARS_MAX: usize = 4_096;

/// What came of a block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// Others that were asked for the same block: a Cancel is due to each.
    pub cancels: Vec<(PeerIndex, Block)>,
    /// Every block of its piece is there; the hash decides.
    pub piece_is_full: bool,
}

/// What came of a peer being asked no more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// Handed back part-filled: another peer may take these over.
    pub waiting: Vec<PieceIndex>,
    /// Their buffers are to be forgotten.
    pub dropped: Vec<PieceIndex>,
}

/// Who had a part in a piece that failed its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blame {
    /// Whoever sent a block of it, in order.
    pub contributors: Vec<PeerIndex>,
    /// There is only one: it sent bad data, or lied about what it has.
    pub certain: bool,
    /// What they sent came late, into what others fetched, and counted for nothing.
    pub late: bool,
}

/// The pieces of one torrent, and who is asked for what.
#[derive(Clone, Debug)]
pub struct Picker {
    geometry: Geometry,
    rng: Rng,
    have: Bitfield,
    /// Neither had nor open; the same set as `rarity`'s order.
    unopened: Bitfield,
    rarity: Rarity,
    /// Peers that had everything when they said what they have; not counted piece by piece.
    seed_count: usize,
    open: BTreeMap<PieceIndex, OpenPiece>,
    /// Bytes of all open pieces.
    lease_len: u64,
    /// Open pieces without a holder.
    waiting: BTreeSet<PieceIndex>,
    peers: BTreeMap<PeerIndex, Source>,
    bars: BTreeMap<PieceIndex, Bar>,
    /// Who shared a piece that failed: each fetches whole pieces alone until one matches.
    parole: BTreeSet<PeerIndex>,
}

/// A peer as a source of pieces.
#[derive(Clone, Debug)]
struct Source {
    has: Bitfield,
    counted_as_seed: bool,
    /// It is paid for what it sends.
    paid: bool,
    /// When it sent a block that was missing, last.
    brought_at: Option<Instant>,
    /// Pieces that it advised, oldest first.
    suggested: VecDeque<PieceIndex>,
    /// Pieces it has and we do not.
    wanted_count: u32,
    /// Of these, how many are unopened.
    unopened_count: u32,
    /// Open pieces that it holds, is asked for, or sent a block of.
    open: BTreeSet<PieceIndex>,
    open_len: u64,
}

/// Whom not to ask for a piece.
#[derive(Clone, Debug, Default)]
struct Bar {
    /// It failed: all of it must come from one peer.
    whole: bool,
    peers: BTreeMap<PeerIndex, (Instant, BarReason)>,
    /// How often each has lost it for being slow (`picker/parole.rs`).
    turns: BTreeMap<PeerIndex, u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BarReason {
    Refused,
    Failed,
}

impl Picker {
    /// For a torrent of which we `have` some pieces; every choice is drawn from `rng`.
    pub fn new(geometry: Geometry, have: Bitfield, mut rng: Rng) -> Self {
        assert_eq!(
            have.piece_count(),
            geometry.piece_count(),
            "one bit per piece"
        );
        let mut unopened = Bitfield::none(geometry.piece_count());
        let missing: Vec<PieceIndex> = have.iter_missing().collect();
        for piece in &missing {
            unopened.set(*piece);
        }
        let rarity = Rarity::new(geometry.piece_count(), missing, &mut rng);
        Self {
            geometry,
            rng,
            have,
            unopened,
            rarity,
            seed_count: 0,
            open: BTreeMap::new(),
            lease_len: 0,
            waiting: BTreeSet::new(),
            peers: BTreeMap::new(),
            bars: BTreeMap::new(),
            parole: BTreeSet::new(),
        }
    }

    /// A peer connected; it has nothing until it says so. No effect if it is known.
    pub fn join(&mut self, peer: PeerIndex) {
        self.peers.entry(peer).or_insert_with(|| Source {
            has: Bitfield::none(self.geometry.piece_count()),
            counted_as_seed: false,
            paid: false,
            brought_at: None,
            suggested: VecDeque::new(),
            wanted_count: 0,
            unopened_count: 0,
            open: BTreeSet::new(),
            open_len: 0,
        });
    }

    /// A peer is gone: what it held is handed back, and its pieces become rarer.
    pub fn leave(&mut self, peer: PeerIndex) -> Released {
        let released = self.release(peer);
        self.forget_pieces(peer);
        self.peers.remove(&peer);
        self.parole.remove(&peer);
        for bar in self.bars.values_mut() {
            bar.peers.remove(&peer);
            bar.turns.remove(&peer);
        }
        released
    }

    /// What a peer has, all at once (bitfield, `have_all`, `have_none`); replaces what it said
    /// before. A set for another number of pieces changes nothing. O(pieces), but O(1) from the
    /// order for a complete peer.
    pub fn set_pieces(&mut self, peer: PeerIndex, has: Bitfield) {
        if has.piece_count() != self.geometry.piece_count() || !self.peers.contains_key(&peer) {
            return;
        }
        self.forget_pieces(peer);
        let counted_as_seed = has.is_complete();
        let mut wanted_count = 0;
        let mut unopened_count = 0;
        for piece in has.iter() {
            wanted_count += u32::from(!self.have.get(piece));
            unopened_count += u32::from(self.unopened.get(piece));
            if !counted_as_seed {
                self.rarity.gained(piece, &mut self.rng);
            }
        }
        self.seed_count += usize::from(counted_as_seed);
        let source = self.peers.get_mut(&peer).expect("checked above");
        source.has = has;
        source.counted_as_seed = counted_as_seed;
        source.wanted_count = wanted_count;
        source.unopened_count = unopened_count;
        source.check_counts();
    }

    /// A peer has all of these, beside what it said before: for one that repeats itself. O(pieces)
    /// the first time; then O(1) for a piece that is new, and next to nothing for one that is not.
    pub fn add_pieces(&mut self, peer: PeerIndex, has: Bitfield) {
        let Some(source) = self.peers.get(&peer) else {
            return;
        };
        if source.has.is_empty() {
            return self.set_pieces(peer, has);
        }
        if has.piece_count() == self.geometry.piece_count() {
            let fresh: Vec<PieceIndex> = has.iter_beyond(&source.has).collect();
            for piece in fresh {
                self.add_piece(peer, piece);
            }
        }
    }

    /// A peer has one more piece; whether we want it.
    pub fn add_piece(&mut self, peer: PeerIndex, piece: PieceIndex) -> bool {
        let Some(source) = self.peers.get_mut(&peer) else {
            return false;
        };
        if !source.has.set(piece) {
            return false;
        }
        let is_wanted = !self.have.get(piece);
        source.wanted_count += u32::from(is_wanted);
        source.unopened_count += u32::from(self.unopened.get(piece));
        source.check_counts();
        self.rarity.gained(piece, &mut self.rng);
        is_wanted
    }

    /// Marks a peer as paid for what it sends: a piece is open at one such peer at a time.
    pub fn set_paid(&mut self, peer: PeerIndex, paid: bool) {
        if let Some(source) = self.peers.get_mut(&peer) {
            source.paid = paid;
        }
    }

    /// A block arrived. The session bills it; here it only counts towards its piece.
    pub fn received(
        &mut self,
        peer: PeerIndex,
        block: Block,
        fate: BlockFate,
        now: Instant,
    ) -> Arrival {
        let mut arrival = Arrival::default();
        let is_suspect = self.parole.contains(&peer);
        let Some((open, index)) = self.open_block(&block) else {
            return arrival;
        };
        let others = match fate {
            BlockFate::Unrequested => return arrival,
            _ if open.came_late(peer, index, fate, is_suspect) => return arrival,
            BlockFate::Stored | BlockFate::Equal => open.store(peer, index, now),
            BlockFate::Different => {
                open.contradicting.insert(peer);
                None
            }
            BlockFate::Void => None,
        };
        open.withdraw(peer, index);
        arrival.piece_is_full = open.is_full();
        if let Some(source) = self.peers.get_mut(&peer).filter(|_| others.is_some()) {
            source.brought_at = Some(now);
        }
        self.note_involvement(peer, block.piece);
        for other in others.into_iter().flatten() {
            self.note_involvement(other, block.piece);
            arrival.cancels.push((other, block));
        }
        arrival
    }

    /// A peer will not send a block: it rejected the request while we were unchoked, or the request
    /// timed out. Its lease on that piece is handed back, and it is not asked for it for a while.
    pub fn refused(&mut self, peer: PeerIndex, block: Block, now: Instant) -> Released {
        let mut released = Released::default();
        let Some((open, index)) = self.open_block(&block) else {
            return released;
        };
        if !open.withdraw(peer, index) {
            return released;
        }
        self.bar(
            peer,
            block.piece,
            BarReason::Refused,
            now.after(REFUSAL_PAUSE),
        );
        self.hand_back(peer, block.piece, &mut released);
        released
    }

    /// A peer will not answer this request, and is asked for the block again at once: it was asked
    /// under a bid that was raised since. The piece stays its own.
    pub fn asked_too_low(&mut self, peer: PeerIndex, block: Block) {
        if let Some((open, index)) = self.open_block(&block) {
            open.withdraw(peer, index);
        }
    }

    /// A peer is asked for nothing more for now: it choked us, is snubbed, or is gone. Pieces it
    /// held are handed back with what is in them; one that must come from a single peer is dropped.
    pub fn release(&mut self, peer: PeerIndex) -> Released {
        let mut released = Released::default();
        let pieces = self.peers.get(&peer).map(|source| source.open.clone());
        for piece in pieces.unwrap_or_default() {
            self.hand_back(peer, piece, &mut released);
        }
        released
    }

    /// A piece matched its hash and is written. No effect if we have it.
    pub fn verified(&mut self, piece: PieceIndex) {
        if piece.get() >= self.geometry.piece_count() || self.have.get(piece) {
            return;
        }
        self.end_parole(piece);
        self.close(piece);
        self.bars.remove(&piece);
        self.rarity.remove(piece);
        let was_missing = self.unopened.clear(piece) && self.have.set(piece);
        assert!(was_missing, "a piece is verified once");
        for source in self
            .peers
            .values_mut()
            .filter(|source| source.has.get(piece))
        {
            source.wanted_count -= 1;
            source.unopened_count -= 1;
            source.check_counts();
        }
        self.check_parts();
    }

    /// A full piece did not match its hash; its buffer is gone. It will be fetched whole from one
    /// other peer, if there is one. `None` if the piece was not full.
    pub fn failed(&mut self, piece: PieceIndex, now: Instant) -> Option<Blame> {
        let open = self.open.get(&piece)?;
        if !open.is_full() {
            return self.failed_for_what_came_late(piece, now);
        }
        let contributors: Vec<PeerIndex> = open.contributors().into_iter().collect();
        self.close(piece);
        for peer in &contributors {
            self.bar(*peer, piece, BarReason::Failed, now.after(FAILURE_PAUSE));
        }
        if let Some(bar) = self.bars.get_mut(&piece) {
            bar.whole = true;
        }
        let certain = contributors.len() == 1;
        if !certain {
            self.put_on_parole(&contributors);
        }
        Some(Blame {
            contributors,
            certain,
            late: false,
        })
    }

    /// The buffer of a piece is gone although it was not full: all of it is fetched again. Whether
    /// it was open.
    pub fn lost(&mut self, piece: PieceIndex) -> bool {
        let is_open = self.open.contains_key(&piece);
        self.close(piece);
        is_open
    }

    /// Gives up every open piece that is not full: their buffers are to be forgotten.
    pub fn drop_unfinished(&mut self) -> Vec<PieceIndex> {
        let unfinished = self.open.values().filter(|open| !open.is_full());
        let pieces: Vec<PieceIndex> = unfinished.map(|open| open.piece).collect();
        pieces.iter().for_each(|piece| self.close(*piece));
        pieces
    }

    /// Gives up every open piece: nobody will say what became of the full ones.
    pub fn drop_all(&mut self) -> Vec<PieceIndex> {
        let pieces: Vec<PieceIndex> = self.open.keys().copied().collect();
        pieces.iter().for_each(|piece| self.close(*piece));
        pieces
    }

    /// Gives up the waiting piece with the least in it, if no buffer can be leased otherwise: its
    /// buffer is to be forgotten.
    pub fn drop_waiting(&mut self) -> Option<PieceIndex> {
        let is_droppable = |piece: &&PieceIndex| {
            self.open
                .get(piece)
                .is_some_and(|open| !open.is_full() && !open.is_asked())
        };
        let filled = |piece: &&PieceIndex| self.open.get(piece).map(|open| open.stored_count);
        let piece = *self
            .waiting
            .iter()
            .filter(is_droppable)
            .min_by_key(filled)?;
        self.close(piece);
        Some(piece)
    }

    /// How the torrent is cut.
    pub const fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Pieces we have.
    pub const fn have(&self) -> &Bitfield {
        &self.have
    }

    /// Whether we have everything.
    pub fn is_complete(&self) -> bool {
        self.have.is_complete()
    }

    /// What a peer says it has; `None` for one that has not joined.
    pub fn pieces_of(&self, peer: PeerIndex) -> Option<&Bitfield> {
        self.peers.get(&peer).map(|source| &source.has)
    }

    /// Whether a peer has something that we lack.
    pub fn is_interesting(&self, peer: PeerIndex) -> bool {
        self.peers
            .get(&peer)
            .is_some_and(|source| source.wanted_count > 0)
    }

    /// Connected peers that have a piece.
    pub fn availability(&self, piece: PieceIndex) -> usize {
        self.seed_count + self.rarity.availability(piece)
    }

    /// Whether every missing piece is being worked on, so that blocks may be asked for twice.
    pub fn is_end_game(&self) -> bool {
        self.unopened.is_empty() && !self.is_complete()
    }

    /// Bytes of the pieces open at a peer: those it holds, is asked for, or has sent a block of,
    /// and that are not verified (docs/RULES.md, S2).
    pub fn open_len(&self, peer: PeerIndex) -> u64 {
        self.peers.get(&peer).map_or(0, |source| source.open_len)
    }

    /// Bytes of all leased buffers. O(1).
    pub const fn lease_len(&self) -> u64 {
        self.lease_len
    }

    /// Who holds the lease of a piece; `None` if it is not open, or is waiting.
    pub fn holder(&self, piece: PieceIndex) -> Option<PeerIndex> {
        self.open.get(&piece).and_then(|open| open.holder)
    }

    /// When the next piece is old enough to be handed on. Peers with nothing to do are then worth
    /// another [`Picker::pick`].
    pub fn next_stall(&self) -> Option<Instant> {
        let unfinished = self.open.values().filter(|open| !open.is_full());
        unfinished.map(|open| open.progress_at.after(STALL)).min()
    }

    /// The open piece of a block on the grid, and the block's index.
    fn open_block(&mut self, block: &Block) -> Option<(&mut OpenPiece, usize)> {
        let index = block.index()?;
        let open = self.open.get_mut(&block.piece)?;
        let expected = self.geometry.block(block.piece, index)?;
        (expected == *block).then_some((open, usize::try_from(index).ok()?))
    }

    fn hand_back(&mut self, peer: PeerIndex, piece: PieceIndex, released: &mut Released) {
        let Some(open) = self.open.get_mut(&piece).filter(|open| !open.is_full()) else {
            return;
        };
        open.withdraw_all(peer);
        if open.holder == Some(peer) {
            open.holder = None;
            let is_useless = open.stored_count == 0 || open.whole;
            if is_useless && !open.is_asked() {
                self.close(piece);
                released.dropped.push(piece);
                return;
            }
            self.waiting.insert(piece);
            released.waiting.push(piece);
        }
        self.note_involvement(peer, piece);
    }

    /// Unopened again: its buffer is no more.
    fn close(&mut self, piece: PieceIndex) {
        let Some(open) = self.open.remove(&piece) else {
            return;
        };
        assert!(
            self.lease_len >= u64::from(open.len),
            "what is closed was leased"
        );
        self.lease_len -= u64::from(open.len);
        self.waiting.remove(&piece);
        assert!(
            self.unopened.set(piece),
            "a piece that was open was not unopened"
        );
        self.rarity.insert(piece, &mut self.rng);
        for source in self.peers.values_mut() {
            source.unopened_count += u32::from(source.has.get(piece));
            if source.open.remove(&piece) {
                source.open_len -= u64::from(open.len);
            }
            source.check_counts();
        }
        self.check_parts();
    }

    fn open_at(&mut self, peer: PeerIndex, piece: PieceIndex, now: Instant) {
        let is_suspect = self.bars.get(&piece).is_some_and(|bar| bar.whole);
        let whole = is_suspect || self.parole.contains(&peer);
        let open = OpenPiece::new(piece, &self.geometry, peer, whole, now);
        self.lease_len += u64::from(open.len);
        let known = self.open.insert(piece, open);
        assert!(known.is_none(), "a piece is opened once");
        assert!(self.unopened.clear(piece), "what is opened was unopened");
        self.rarity.remove(piece);
        for source in self.peers.values_mut() {
            source.unopened_count -= u32::from(source.has.get(piece));
        }
        self.note_involvement(peer, piece);
        self.check_parts();
    }

    /// Records whether an open piece is open at this peer.
    fn note_involvement(&mut self, peer: PeerIndex, piece: PieceIndex) {
        let (Some(source), Some(open)) = (self.peers.get_mut(&peer), self.open.get(&piece)) else {
            return;
        };
        let len = u64::from(open.len);
        match open.involves(peer) {
            true if source.open.insert(piece) => source.open_len += len,
            false if source.open.remove(&piece) => source.open_len -= len,
            true | false => {}
        }
        source.check_counts();
    }

    fn forget_pieces(&mut self, peer: PeerIndex) {
        let Some(source) = self.peers.get_mut(&peer) else {
            return;
        };
        let nothing = Bitfield::none(self.geometry.piece_count());
        let had = std::mem::replace(&mut source.has, nothing);
        source.wanted_count = 0;
        source.unopened_count = 0;
        if std::mem::take(&mut source.counted_as_seed) {
            self.seed_count -= 1;
            return;
        }
        for piece in had.iter() {
            self.rarity.lost(piece, &mut self.rng);
        }
    }

    fn bar(&mut self, peer: PeerIndex, piece: PieceIndex, reason: BarReason, until: Instant) {
        if self.bars.len() >= BARS_MAX && !self.bars.contains_key(&piece) {
            self.bars.pop_first();
        }
        self.bars
            .entry(piece)
            .or_default()
            .peers
            .insert(peer, (until, reason));
        assert!(
            self.bars.len() <= BARS_MAX,
            "remembered refusals are bounded"
        );
    }
}

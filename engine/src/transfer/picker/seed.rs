//! Sparing a seed that is alone: what it suggests, and what others can send as well.
//!
//! Until a swarm has one copy, its only seed is the narrowest place in it. What it is asked for
//! should be what nobody else has, and no two should ask it for the same.

use seedbank_ledger::Instant;

use super::{Picker, Source};
use crate::transfer::suggest::SUGGESTED_MAX;
use crate::units::{Block, PeerIndex, PieceIndex};

impl Picker {
    /// A peer advises a piece of the torrent (BEP 6): of new pieces, that is the first to ask it
    /// for. Only the newest [`SUGGESTED_MAX`] are kept.
    pub fn suggested(&mut self, peer: PeerIndex, piece: PieceIndex) {
        let Some(source) = self.peers.get_mut(&peer) else {
            return;
        };
        if source.suggested.contains(&piece) {
            return;
        }
        if source.suggested.len() >= SUGGESTED_MAX {
            source.suggested.pop_front();
        }
        source.suggested.push_back(piece);
    }

    /// A peer that has everything, if there is one. O(peers).
    pub fn complete_peer(&self) -> Option<PeerIndex> {
        let complete = |(_, source): &(&PeerIndex, &Source)| source.has.is_complete();
        self.peers.iter().find(complete).map(|(peer, _)| *peer)
    }

    /// The peer that has everything, if there is one and we and the others have not. O(peers).
    pub fn only_seed(&self) -> Option<PeerIndex> {
        let seeds = self
            .peers
            .iter()
            .filter(|(_, source)| source.has.is_complete());
        let mut seeds = seeds.map(|(peer, _)| *peer);
        let seed = seeds.next().filter(|_| !self.is_complete())?;
        seeds.next().is_none().then_some(seed)
    }

    /// The only seed, if it holds a piece that `announcer` is the first other peer to have, nothing
    /// of it has come, and the seed is not paid.
    pub fn spared_for(&self, announcer: PeerIndex, piece: PieceIndex) -> Option<PeerIndex> {
        let open = self
            .open
            .get(&piece)
            .filter(|open| open.stored_count == 0)?;
        let seed = open
            .holder
            .filter(|_| self.rarity.availability(piece) == 1)?;
        let is_paid = self.peers.get(&seed).is_some_and(|source| source.paid);
        let is_spared = seed != announcer && !is_paid && self.only_seed() == Some(seed);
        is_spared.then_some(seed)
    }

    /// Gives up a piece of which nothing has come: its buffer is to be forgotten. Everybody who was
    /// asked for it, once per block: a Cancel is due to each.
    pub fn give_up(&mut self, piece: PieceIndex) -> Vec<(PeerIndex, Block)> {
        let Some(open) = self
            .open
            .get_mut(&piece)
            .filter(|open| open.stored_count == 0)
        else {
            return Vec::new();
        };
        let asked = open.withdraw_everybody();
        self.close(piece);
        let block = |(peer, index)| Some((peer, self.geometry.block(piece, index)?));
        asked.into_iter().filter_map(block).collect()
    }

    /// The oldest piece that the peer advised and nobody works on. Who is paid is asked for what is
    /// worth most to us, so that its word only decides between pieces that are equally rare.
    pub(super) fn choose_suggested(&self, peer: PeerIndex, now: Instant) -> Option<PieceIndex> {
        let source = self.peers.get(&peer)?;
        let availability = |piece: &PieceIndex| self.rarity.availability(*piece);
        let least = self.rarity.order().first().map(availability);
        let fits = |piece: &&PieceIndex| {
            self.unopened.get(**piece)
                && source.has.get(**piece)
                && self.may_ask(peer, **piece, now)
                && (!source.paid || Some(availability(piece)) == least)
        };
        source.suggested.iter().find(fits).copied()
    }

    /// Whether the peer is the only seed, is not paid, and nobody else has some unopened piece.
    pub fn is_spared(&self, peer: PeerIndex) -> bool {
        let rarest = self.rarity.order().first();
        let has_scarce = rarest.is_some_and(|piece| self.rarity.availability(*piece) == 0);
        has_scarce && !self.is_paid(peer) && self.only_seed() == Some(peer)
    }
}

//! What one peer was asked for and has not answered: the one answer to "was it asked?".
//!
//! The session keeps one per connection (`transfer/pipeline.rs`), with the bid in force as the tag;
//! each data plane keeps one beside the socket, because blocks get there first.

use std::collections::VecDeque;

use crate::spare::give_back;
use crate::units::Block;
use crate::wire::message::Message;

/// Most requests waited for; asking for more withdraws the oldest. Far more than a session asks
/// for: it is for data planes, which do not hear of it when the session stops waiting.
pub const WAITING_MAX: usize = 2_048;
/// Most requests withdrawn and not answered; of more, the oldest are forgotten.
pub const WITHDRAWN_MAX: usize = 1_024;

/// Requests in flight on one connection, each a block and a tag of the caller's.
///
/// A request is *waited for* until it is answered or *withdrawn*: cancelled, void by a choke, or
/// given up. What is withdrawn takes no room any more, but its block may still come. Each request
/// is answered once. An answer in order is O(1), any other a scan of what is in flight, and
/// withdrawing everything O(n).
#[derive(Clone, Debug)]
pub struct Requests<T> {
    /// In the order they were made.
    waiting: VecDeque<(Block, T)>,
    /// In the order they were withdrawn. Of several for one block these are older than any in
    /// `waiting`.
    withdrawn: VecDeque<(Block, T)>,
}

/// Whether [`Requests::heard`] makes something of this message: a driver that shares the record
/// with another thread need not lock it for any other.
pub const fn ends_requests(message: &Message) -> bool {
    matches!(message, Message::Reject(_) | Message::Choke)
}

impl<T> Requests<T> {
    /// Takes note of a request. Returns one that is forgotten for it, see [`WAITING_MAX`].
    pub fn ask(&mut self, block: Block, tag: T) -> Option<(Block, T)> {
        self.waiting.push_back((block, tag));
        if self.waiting.len() <= WAITING_MAX {
            return None;
        }
        let oldest = self.waiting.pop_front();
        self.withdrawn.extend(oldest);
        let forgotten = self.forget_one();
        self.check_invariants();
        forgotten
    }

    /// A request for this block was answered; the tag of the oldest. `None` if nobody asked.
    ///
    /// Several requests for one block match in order. If some are withdrawn and some waited for,
    /// one that is waited for takes the place of the oldest: the block is here, and from a peer
    /// without the Fast Extension no second answer will come.
    pub fn answered(&mut self, block: &Block) -> Option<T> {
        let Some(oldest) = take(&mut self.withdrawn, block) else {
            return take(&mut self.waiting, block);
        };
        if let Some(newer) = take(&mut self.waiting, block) {
            self.withdrawn.push_back((*block, newer));
        }
        Some(oldest)
    }

    /// Stops waiting for the oldest request for this block, if there is one: it was cancelled, or
    /// given up as lost. Returns a request that is forgotten for it, see [`WITHDRAWN_MAX`].
    pub fn withdraw(&mut self, block: &Block) -> Option<(Block, T)> {
        let tag = take(&mut self.waiting, block)?;
        self.withdrawn.push_back((*block, tag));
        let forgotten = self.forget_one();
        self.check_invariants();
        forgotten
    }

    /// Stops waiting for anything. Returns the requests that are forgotten for it.
    pub fn withdraw_all(&mut self) -> Vec<(Block, T)> {
        self.withdrawn.append(&mut self.waiting);
        let excess = self.withdrawn.len().saturating_sub(WITHDRAWN_MAX);
        let forgotten = self.withdrawn.drain(..excess).collect();
        assert!(self.waiting.is_empty(), "nothing is waited for any more");
        self.check_invariants();
        forgotten
    }

    /// The peer choked us. Without the Fast Extension that is the only answer its requests get,
    /// though a block may have crossed it; with it, each still gets its own (BEP 6). Returns the
    /// requests that are forgotten for it.
    pub fn choked(&mut self, fast: bool) -> Vec<(Block, T)> {
        match fast {
            true => Vec::new(),
            false => self.withdraw_all(),
        }
    }

    /// The peer sent a message. Returns the requests that will never bring a block now: rejected,
    /// or forgotten; none unless [`ends_requests`].
    pub fn heard(&mut self, message: &Message, fast: bool) -> Vec<(Block, T)> {
        let ended = match message {
            Message::Reject(block) => {
                let rejected = self.answered(block).map(|tag| (*block, tag));
                rejected.into_iter().collect()
            }
            Message::Choke => self.choked(fast),
            Message::KeepAlive
            | Message::Unchoke
            | Message::Interested
            | Message::NotInterested
            | Message::Have(_)
            | Message::Bitfield(_)
            | Message::Request(_)
            | Message::Cancel(_)
            | Message::Port(_)
            | Message::Suggest(_)
            | Message::HaveAll
            | Message::HaveNone
            | Message::AllowedFast(_)
            | Message::Extended { .. } => Vec::new(),
        };
        assert!(
            ended.is_empty() || ends_requests(message),
            "nothing else ends a request"
        );
        ended
    }

    /// Takes out everything: the connection is over. Of several for one block the oldest is first.
    pub fn drain(&mut self) -> impl Iterator<Item = (Block, T)> + '_ {
        self.withdrawn.drain(..).chain(self.waiting.drain(..))
    }

    /// Requests waited for, oldest first.
    pub fn waiting(&self) -> impl ExactSizeIterator<Item = &(Block, T)> {
        self.waiting.iter()
    }

    /// Requests withdrawn and not answered, in the order they were withdrawn.
    pub fn withdrawn(&self) -> impl ExactSizeIterator<Item = &(Block, T)> {
        self.withdrawn.iter()
    }

    /// The block of the oldest request that is waited for.
    pub fn first(&self) -> Option<Block> {
        self.waiting.front().map(|(block, _)| *block)
    }

    /// How many are waited for.
    pub fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    /// How many are in flight, waited for or withdrawn.
    pub fn count(&self) -> usize {
        self.waiting.len() + self.withdrawn.len()
    }

    /// Asserts the bounds.
    pub fn check_invariants(&self) {
        assert!(self.waiting.len() <= WAITING_MAX, "waiting is bounded");
        assert!(
            self.withdrawn.len() <= WITHDRAWN_MAX,
            "withdrawn is bounded"
        );
    }

    fn forget_one(&mut self) -> Option<(Block, T)> {
        let is_excess = self.withdrawn.len() > WITHDRAWN_MAX;
        is_excess.then(|| self.withdrawn.pop_front()).flatten()
    }
}

impl<T> Default for Requests<T> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            withdrawn: VecDeque::new(),
        }
    }
}

/// Takes the first request for a block; O(1) if it is at the front.
fn take<T>(requests: &mut VecDeque<(Block, T)>, block: &Block) -> Option<T> {
    let place = requests.iter().position(|(asked, _)| asked == block)?;
    let (_, tag) = requests.remove(place)?;
    give_back(requests);
    Some(tag)
}

#[cfg(test)]
mod tests;

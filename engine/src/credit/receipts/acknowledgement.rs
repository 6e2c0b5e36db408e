//! Acknowledgements: how much open-class service each side had from the other (docs/RULES.md).
//!
//! Not money: never claimable, never clears exposure. They run under the network of zeros whatever
//! networks the two nodes belong to, so that a pair has one channel each way for good.

use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::channel::{Channel, ChannelId, ChannelKind};
use seedbank_ledger::signed::receipt::{Receipt, SignedReceipt};
use seedbank_ledger::{Bytes, Identity, Instant, MicroCredits, NetworkId, NodeId, RawCost};

use crate::credit::receipts::incoming::{Freshness, Incoming, totals};
use crate::credit::receipts::limits::{ACKNOWLEDGE_DELAY, ACKNOWLEDGE_STEP, SUMMARY_STEP};
use crate::credit::receipts::summary::{Summarised, Summary};
use crate::units::TorrentId;

/// The network of acknowledgements and of nodes that belong to none.
pub const NO_NETWORK: NetworkId = NetworkId::from_bytes([0; 32]);

/// Both acknowledgement channels of a pair.
#[derive(Clone, Debug)]
pub struct Acknowledgements {
    me: NodeId,
    peer: NodeId,
    /// What we signed to the peer.
    pub ours: Outgoing,
    /// What the peer signed to us.
    pub theirs: Incoming,
    /// Id of the channel on which the peer signs.
    pub their_channel_id: ChannelId,
    /// Its change since the last summary.
    pub their_summary: Summary,
    /// Bytes served to the peer for nothing that no summary tells of.
    pub unbooked: Bytes,
    /// Bytes served to the peer for nothing that it has not acknowledged: it cannot acknowledge
    /// more. After a start, as many as a summary waits for may be unknown.
    unacknowledged: Bytes,
    /// What it acknowledged, of what it was served.
    acknowledged: Bytes,
    /// The peer's newest receipt is kept.
    is_theirs_kept: bool,
}

/// The channel on which we sign.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Its id.
    pub channel_id: ChannelId,
    /// Our newest receipt.
    pub receipt: Option<SignedReceipt>,
    /// Verified bytes that no receipt says yet, and since when.
    unsigned: Option<(Bytes, Instant)>,
    /// Change since the last summary.
    pub summary: Summary,
}

impl Acknowledgements {
    /// Of a pair without history.
    pub fn new(me: NodeId, peer: NodeId) -> Self {
        Self {
            me,
            peer,
            ours: Outgoing {
                channel_id: channel(me, peer).id(),
                receipt: None,
                unsigned: None,
                summary: Summary::default(),
            },
            their_channel_id: channel(peer, me).id(),
            theirs: Incoming::default(),
            their_summary: Summary::default(),
            unbooked: Bytes::ZERO,
            unacknowledged: Bytes::ZERO,
            acknowledged: Bytes::ZERO,
            is_theirs_kept: false,
        }
    }

    /// With the newest receipts as stored.
    #[must_use]
    pub fn stored(
        mut self,
        ours: Option<SignedReceipt>,
        theirs: Option<SignedReceipt>,
        now: Instant,
    ) -> Self {
        self.ours.summary = Summary::stored(ours.as_ref(), now);
        self.ours.receipt = ours;
        self.their_summary = Summary::stored(theirs.as_ref(), now);
        self.acknowledged = totals(theirs.as_ref()).0;
        self.is_theirs_kept = theirs.is_some();
        self.unacknowledged = SUMMARY_STEP;
        self.theirs = Incoming::stored(theirs);
        self.unbooked = SUMMARY_STEP;
        self
    }

    /// The channel on which we sign.
    pub const fn our_channel(&self) -> Channel {
        channel(self.me, self.peer)
    }

    /// The channel on which the peer signs.
    pub const fn their_channel(&self) -> Channel {
        channel(self.peer, self.me)
    }

    /// Open-class bytes were served to the peer, which may acknowledge them.
    pub fn served(&mut self, torrent_id: TorrentId, bytes: Bytes) {
        self.unbooked = self.unbooked.saturating_add(bytes);
        self.unacknowledged = self.unacknowledged.saturating_add(bytes);
        self.their_summary
            .attribute(torrent_id, bytes, RawCost::ZERO);
    }

    /// The peer's newer receipt, whose signature holds. It counts as far as it was served, and is
    /// kept once any of it counts.
    pub fn accept(&mut self, receipt: SignedReceipt, now: Instant) {
        let (before, _) = totals(self.theirs.held());
        let grown = receipt.body.bytes.saturating_sub(before);
        let counted = grown.min(self.unacknowledged);
        self.unacknowledged = self.unacknowledged.saturating_sub(counted);
        self.acknowledged = self.acknowledged.saturating_add(counted);
        self.theirs.accept(receipt, now);
        self.their_summary.changed(now);
        self.is_theirs_kept |= !counted.is_zero();
    }

    /// The peer's newest receipt, if it is kept.
    pub fn theirs_kept(&self) -> Option<&SignedReceipt> {
        self.theirs.held().filter(|_| self.is_theirs_kept)
    }

    /// Whether neither side ever had anything of the other, as far as is known.
    pub fn is_blank(&self) -> bool {
        let served = self.acknowledged.saturating_add(self.unacknowledged);
        self.gave_nothing() && served.is_zero()
    }

    /// Whether we never had anything of the other side, as far as is known.
    pub fn gave_nothing(&self) -> bool {
        self.ours.receipt.is_none() && self.ours.unsigned.is_none()
    }

    /// Their channel, for its summary.
    pub fn summarised(&self) -> Summarised {
        Summarised {
            totals: totals(self.theirs.held()),
            lock_amount: MicroCredits::ZERO,
            served: self.unbooked,
        }
    }

    /// Bytes I acknowledged to it minus bytes of mine that it acknowledged to me: what ranks it in
    /// my open classes. Held at the ends of its range.
    pub fn standing(&self) -> i64 {
        let (ours, _) = totals(self.ours.receipt.as_ref());
        let standing = i128::from(ours.get()) - i128::from(self.acknowledged.get());
        let bound = i128::from(i64::MAX);
        i64::try_from(standing.clamp(-bound, bound)).expect("clamped to its range")
    }
}

impl Outgoing {
    /// Open-class bytes of the peer's were verified.
    pub fn verified(&mut self, torrent_id: TorrentId, bytes: Bytes, now: Instant) {
        let (before, since) = self.unsigned.unwrap_or((Bytes::ZERO, now));
        self.unsigned = Some((before.saturating_add(bytes), since));
        self.summary.attribute(torrent_id, bytes, RawCost::ZERO);
    }

    /// When what was verified is to be signed.
    pub fn wakes_at(&self) -> Option<Instant> {
        let (bytes, since) = self.unsigned?;
        if bytes >= ACKNOWLEDGE_STEP {
            return Some(since);
        }
        Some(since.after(ACKNOWLEDGE_DELAY))
    }

    /// The channel, for its summary.
    pub fn summarised(&self) -> Summarised {
        Summarised {
            totals: totals(self.receipt.as_ref()),
            lock_amount: MicroCredits::ZERO,
            served: Bytes::MAX,
        }
    }

    /// Signs what was verified; `None` if nothing was.
    pub fn sign(&mut self, by: &Identity, now: Instant) -> Option<SignedReceipt> {
        let (more, _) = self.unsigned.take()?;
        let (bytes, amount) = totals(self.receipt.as_ref());
        assert!(amount.is_zero(), "an acknowledgement is no money");
        let body = Receipt {
            network_id: NO_NETWORK,
            channel_id: self.channel_id,
            bytes: bytes.saturating_add(more),
            amount: MicroCredits::ZERO,
        };
        self.receipt = Some(body.sign(by));
        self.summary.changed(now);
        self.receipt
    }

    /// The peer shows a receipt of ours, whose signature holds (S4). True if we had forgotten it.
    pub fn adopt(&mut self, proof: SignedReceipt, now: Instant) -> bool {
        let newer = Freshness::of(&proof.body, self.receipt.as_ref()) == Freshness::Newer;
        if newer {
            self.receipt = Some(proof);
            self.summary.changed(now);
        }
        newer
    }
}

const fn channel(payer: NodeId, payee: NodeId) -> Channel {
    Channel {
        network_id: NO_NETWORK,
        kind: ChannelKind::Acknowledgement,
        payer,
        payee,
    }
}

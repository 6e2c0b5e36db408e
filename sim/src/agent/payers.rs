//! Payers that want seats for less than they are worth.

use std::collections::{BTreeMap, BTreeSet};

use seedbank_engine::interface::command::Command;
use seedbank_engine::interface::config::{Policy, SessionConfig};
use seedbank_engine::interface::input::{Input, PeerEvent};
use seedbank_engine::interface::output::Output;
use seedbank_engine::units::PeerIndex;
use seedbank_engine::wire::message::Message;
use seedbank_engine::wire::receipt::{QuoteState, ReceiptMessage};
use seedbank_ledger::signed::channel::ChannelId;
use seedbank_ledger::{Bytes, Duration, Instant, Rate};

use super::messages::{
    payload_from, pays, receipt_in, receipt_message, receipt_to, receipts_heard,
};
use super::{Agent, Scene};
use crate::scenario::written::Percent;

/// How often a late payer looks at whether it is still served.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A dripper takes at least one part in so many of what it took at first.
const DRIP_PARTS: u64 = 4;

/// Bids high to be seated, withdraws that in turn, and pays by its low bid all the time.
#[derive(Debug)]
pub struct BidFlipper {
    every: Duration,
    factor: u64,
    is_high: bool,
    /// What its session bids.
    bids: BTreeMap<PeerIndex, Rate>,
}

impl BidFlipper {
    /// Bids so many times what its session does in every other stretch of this length.
    pub const fn new(every: Duration, factor: u64) -> Self {
        Self {
            every,
            factor,
            is_high: true,
            bids: BTreeMap::new(),
        }
    }

    fn said(&self, bid: Rate) -> ReceiptMessage {
        let factor = if self.is_high { self.factor } else { 1 };
        let high = bid.get().saturating_mul(factor);
        ReceiptMessage::Bid(Rate::new(high.min(1 << 50)))
    }
}

impl Agent for BidFlipper {
    fn input(&mut self, input: Input, _: &mut Scene<'_>) -> Option<Input> {
        if let Input::Closed { peer, .. } = &input {
            self.bids.remove(peer);
        }
        Some(input)
    }

    fn output(&mut self, output: Output, _: &mut Scene<'_>) -> Option<Output> {
        if let Output::Send { peer, message } = &output
            && let Some(ReceiptMessage::Bid(bid)) = receipt_in(message)
        {
            self.bids.insert(*peer, bid);
            return Some(receipt_to(*peer, &self.said(bid)));
        }
        Some(output)
    }

    fn tick_every(&self) -> Option<Duration> {
        Some(self.every)
    }

    fn tick(&mut self, scene: &mut Scene<'_>) {
        self.is_high = !self.is_high;
        for (peer, bid) in self.bids.iter().filter(|(_, bid)| !bid.is_zero()) {
            scene.say(receipt_to(*peer, &self.said(*bid)));
        }
    }
}

/// Takes just enough to hold its seats: less and less while it keeps them, half as much again when
/// it lost one.
#[derive(Debug)]
pub struct Dripper {
    first: u64,
    rate: u64,
    every: Duration,
    seated: BTreeSet<PeerIndex>,
    has_lost: bool,
}

impl Dripper {
    /// Takes so many bytes per second at first, and thinks again so often.
    pub const fn new(rate: u64, every: Duration) -> Self {
        Self {
            first: rate,
            rate,
            every,
            seated: BTreeSet::new(),
            has_lost: false,
        }
    }
}

impl Agent for Dripper {
    fn prepare(&self, _: &mut SessionConfig, policy: &mut Policy) {
        policy.download_limit = Some(self.rate);
    }

    fn input(&mut self, input: Input, _: &mut Scene<'_>) -> Option<Input> {
        for (peer, message) in receipts_heard(&input) {
            if let ReceiptMessage::Quote(quote) = message {
                match quote.state {
                    QuoteState::Paid => {
                        self.seated.insert(peer);
                    }
                    QuoteState::Open | QuoteState::Queued => {
                        self.has_lost |= self.seated.remove(&peer);
                    }
                }
            }
        }
        Some(input)
    }

    fn tick_every(&self) -> Option<Duration> {
        Some(self.every)
    }

    fn tick(&mut self, scene: &mut Scene<'_>) {
        let has_lost = std::mem::take(&mut self.has_lost);
        let rate = match (has_lost, self.seated.is_empty()) {
            (true, _) => self.rate.saturating_add(self.rate / 2),
            (false, false) => self.rate - self.rate / 10,
            (false, true) => self.rate,
        };
        self.rate = rate.max(self.first / DRIP_PARTS).max(1);
        scene.command(Command::SetPolicy(Policy {
            download_limit: Some(self.rate),
            ..scene.session.policy().clone()
        }));
    }
}

/// Keeps its receipts to itself until it owes a share of its window, or is served no longer, and
/// then sends the newest.
#[derive(Debug)]
pub struct LatePayer {
    share: Percent,
    patience: Duration,
    /// The newest receipt that was not sent, by connection and channel.
    held: BTreeMap<(PeerIndex, ChannelId), (Bytes, Output)>,
    /// Bytes of the newest receipt that was sent, by channel.
    said: BTreeMap<ChannelId, Bytes>,
    windows: BTreeMap<PeerIndex, Bytes>,
    served_at: BTreeMap<PeerIndex, Instant>,
}

impl LatePayer {
    /// Pays when it owes this share of what it may, or was sent nothing for so long.
    pub const fn new(share: Percent, patience: Duration) -> Self {
        Self {
            share,
            patience,
            held: BTreeMap::new(),
            said: BTreeMap::new(),
            windows: BTreeMap::new(),
            served_at: BTreeMap::new(),
        }
    }

    /// Whether so many bytes in all are too many to owe.
    fn is_due(&self, peer: PeerIndex, channel: ChannelId, bytes: Bytes) -> bool {
        let said = self.said.get(&channel).copied().unwrap_or_default();
        let window = self.windows.get(&peer).copied().unwrap_or_default();
        bytes.get().saturating_sub(said.get()) >= self.share.of(window.get())
    }
}

impl Agent for LatePayer {
    fn input(&mut self, input: Input, scene: &mut Scene<'_>) -> Option<Input> {
        if let Some(peer) = payload_from(&input) {
            self.served_at.insert(peer, scene.now);
        }
        for (peer, message) in receipts_heard(&input) {
            if let ReceiptMessage::Quote(quote) = message {
                self.windows.insert(peer, quote.window);
            }
        }
        if let Input::Closed { peer, .. } = &input {
            self.served_at.remove(peer);
            self.windows.remove(peer);
            self.held.retain(|(of, _), _| of != peer);
        }
        Some(input)
    }

    fn output(&mut self, output: Output, _: &mut Scene<'_>) -> Option<Output> {
        if let Output::Send { peer, message } = &output
            && let Some(ReceiptMessage::Receipt(receipt)) = receipt_in(message)
            && pays(&output)
        {
            let (channel, bytes) = (receipt.body.channel_id, receipt.body.bytes);
            if !self.is_due(*peer, channel, bytes) {
                self.held.insert((*peer, channel), (bytes, output));
                return None;
            }
            self.held.remove(&(*peer, channel));
            self.said.insert(channel, bytes);
        }
        Some(output)
    }

    fn tick_every(&self) -> Option<Duration> {
        Some(LOOK_EVERY)
    }

    fn tick(&mut self, scene: &mut Scene<'_>) {
        for (key, (bytes, receipt)) in std::mem::take(&mut self.held) {
            let served_at = self.served_at.get(&key.0);
            if served_at.is_some_and(|at| scene.now.since(*at) < self.patience) {
                self.held.insert(key, (bytes, receipt));
            } else {
                self.said.insert(key.1, bytes);
                scene.say(receipt);
            }
        }
    }
}

/// Bids all that its boost allows from the first moment on, whatever others bid: it believes that
/// everybody asks so much.
#[derive(Clone, Copy, Debug)]
pub struct Whale(pub Rate);

impl Agent for Whale {
    fn input(&mut self, mut input: Input, _: &mut Scene<'_>) -> Option<Input> {
        if let Input::Received { events, .. } = &mut input {
            for event in events {
                if let PeerEvent::Message(message) = event
                    && let Some(asked) = self.asked(message)
                {
                    *message = asked;
                }
            }
        }
        Some(input)
    }
}

impl Whale {
    /// A HELLO as it is heard.
    fn asked(&self, message: &Message) -> Option<Message> {
        let ReceiptMessage::Hello(mut hello) = receipt_in(message)? else {
            return None;
        };
        hello.rate_min = Some(hello.rate_min?.max(self.0));
        Some(receipt_message(&ReceiptMessage::Hello(hello)))
    }
}

//! A session with credit that wants a torrent: its account, its payees, its boost, and time.

use seedbank_ledger::signed::Body as _;
use seedbank_ledger::signed::order::{Order, OrderKind};
use seedbank_ledger::{Bytes, Identity, Instant, MicroCredits, Rate};

use crate::content::metainfo::Metainfo;
use crate::credit::event::CreditEvent;
use crate::credit::wallet::tests::settlement::Settlement;
use crate::interface::command::{BoostOrder, Command, CommandError};
use crate::interface::config::Policy;
use crate::interface::input::Input;
use crate::interface::view::{BoostView, WaitReason};
use crate::session::tests::market::{Market, identity_of};
use crate::session::tests::rig::{metainfo, millis};
use crate::units::{PeerIndex, TorrentId};
use crate::wire::message::Message;
use crate::wire::receipt::{Quote, QuoteState, ReceiptMessage};

/// What the buyer has.
pub(super) const CREDIT: u64 = 10_000_000;
/// What a payee asks that takes the boost's bid, which is par.
pub(super) const ASK: Rate = Rate::new(1_000);
/// The usual payee.
pub(super) const PAYEE: u8 = 20;
const STEP_MS: u64 = 100;
/// Blocks that come in a step from a payee that serves.
const STEP_BLOCKS: usize = 2;

/// The session and what is around it.
pub(super) struct Buyer {
    pub(super) market: Market,
    pub(super) torrent_id: TorrentId,
    /// The budget of the next boost.
    pub(super) max: u64,
    /// What the last boost was answered with.
    pub(super) reply: Result<(), CommandError>,
    /// When the reason began to hold.
    since: Instant,
    /// Who serves us.
    server: Option<PeerIndex>,
    boost_count: u32,
}

impl Buyer {
    /// A node with credit that has nothing of a torrent of 64 MiB in pieces of 256 KiB, and
    /// settlement time minus its clock in seconds.
    pub(super) fn new(mut ledger: Settlement, clock_off_secs: i64) -> Self {
        ledger.grant(own().id(), CREDIT);
        let mut market = Market::at(ledger, Policy::default());
        market.clock_off_secs = clock_off_secs;
        let torrent_id = market.rig.leech(&metainfo("wanted", 256, 16));
        let since = market.rig.now;
        let mut buyer = Self {
            market,
            torrent_id,
            max: 1_000_000,
            reply: Ok(()),
            since,
            server: None,
            boost_count: 0,
        };
        buyer.run(2_000);
        buyer
    }

    /// It wants another torrent.
    pub(super) fn want(&mut self, metainfo: &Metainfo) {
        self.torrent_id = self.market.rig.leech(metainfo);
    }

    /// A payee that has everything and chokes us.
    pub(super) fn payee(&mut self, ask: Rate) -> PeerIndex {
        self.market.payee(self.torrent_id, PAYEE, ask.get())
    }

    /// A boost that a payee serves as paid for a while, at the highest bid.
    pub(super) fn is_served(&mut self) -> PeerIndex {
        let peer = self.payee(Rate::PAR);
        self.quote(peer, QuoteState::Paid);
        self.market.rig.says(peer, [Message::Unchoke]);
        self.server = Some(peer);
        self.boost();
        self.run(10_000);
        assert_eq!(self.told(), [], "it works");
        assert_eq!(self.view().waiting, None, "it works");
        assert!(self.view().spent > MicroCredits::ZERO, "it pays");
        peer
    }

    /// The payee says in which class we are.
    pub(super) fn quote(&mut self, peer: PeerIndex, state: QuoteState) {
        let quote = Quote {
            state,
            rate: Rate::MAX,
            window: Bytes::new(1 << 20),
            written_off: Bytes::ZERO,
        };
        self.market.say(peer, &ReceiptMessage::Quote(quote));
    }

    /// Whoever serves us sends nothing more.
    pub(super) fn falls_silent(&mut self) {
        self.server = None;
        self.begins();
    }

    /// Places a boost of the torrent; the reason holds from now on, unless the row says otherwise.
    pub(super) fn boost(&mut self) {
        self.boost_count += 1;
        let order = BoostOrder {
            request_id: format!("boost {}", self.boost_count),
            torrent_id: self.torrent_id,
            max: MicroCredits::new(self.max),
            bid: Rate::PAR,
            time_to_live_secs: None,
        };
        self.begins();
        self.reply = self.market.rig.try_command(Command::Boost(order));
        self.market.settle();
    }

    /// The reason holds from now on.
    pub(super) fn begins(&mut self) {
        self.since = self.market.rig.now;
    }

    pub(super) fn set_policy(&mut self, change: fn(&mut Policy)) {
        let mut policy = Policy::default();
        change(&mut policy);
        self.market.rig.command(Command::SetPolicy(policy));
        self.market.settle();
    }

    /// Another node with the same key sends all the credit away.
    pub(super) fn is_robbed(&mut self) {
        let to = identity_of(99).id();
        let amount = MicroCredits::new(CREDIT);
        self.submit(&own(), OrderKind::Transfer { to, amount });
    }

    /// The settlement node says that there is a new line in the account.
    pub(super) fn hears_of_it(&mut self) {
        let ledger = self.market.ledger.as_ref().expect("it has one");
        let lines = ledger.statement(own().id()).lines;
        let newest = lines.last().expect("the transfer");
        let line = newest.certificate.body.sequence;
        self.market.rig.input(Input::LineEntered(line));
        self.market.settle();
    }

    /// The first order of an account, given elsewhere.
    pub(super) fn submit(&mut self, by: &Identity, kind: OrderKind) {
        let ledger = self.market.ledger.as_mut().expect("it has one");
        let order = Order {
            network_id: ledger.network().id,
            account: by.id(),
            nonce: 1,
            valid_until: ledger.time.plus_secs(600),
            kind,
            memo_hash: [0; 32],
        };
        let told = ledger.submit(order.sign(by));
        assert_eq!(told.refusal, None, "the order is good");
    }

    pub(super) fn run(&mut self, ms: u64) {
        for _ in 0..ms / STEP_MS {
            self.market.rig.advance(millis(STEP_MS));
            self.serve();
            self.market.settle();
        }
    }

    fn serve(&mut self) {
        let Some(peer) = self.server else { return };
        for _ in 0..STEP_BLOCKS {
            let owed = self.market.rig.wire(peer).owed.keys().next().copied();
            if let Some(block) = owed {
                self.market.rig.block(peer, block, true);
            }
        }
        self.market.rig.hash_all();
    }

    /// Every reason that was told of the last boost since it began to hold, and after how many
    /// milliseconds.
    pub(super) fn told(&self) -> Vec<(u64, WaitReason)> {
        let id = self.view().id;
        let told = self.market.told.iter().filter(|(at, _)| *at >= self.since);
        let waits = told.filter_map(|(at, event)| match event {
            CreditEvent::BoostWaiting { boost, waiting } if *boost == id => {
                Some((at.since(self.since).as_millis(), *waiting))
            }
            _ => None,
        });
        waits.collect()
    }

    /// The last boost, as it is listed.
    pub(super) fn view(&self) -> BoostView {
        let boosts = self.market.rig.session.boosts();
        boosts.into_iter().next_back().expect("one was placed")
    }
}

fn own() -> Identity {
    Identity::from_secret([7; 32])
}

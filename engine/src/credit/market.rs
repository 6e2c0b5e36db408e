//! [`Market`]: the credit of one node, over all its connections, torrents and boosts.
//!
//! The session tells it what happened to connections and asks it what a block costs; its parts tell
//! each other what they need, here, and everything that is to be done leaves through one queue.
//! `serving` and `fetching` hold what concerns single connections, `boosting` what the owner pays.

mod boosting;
mod fetching;
mod serving;

pub use boosting::{Facts, PayeeFacts};
pub use serving::{PeerCredit, UnderWay};

use std::collections::VecDeque;
use std::sync::Arc;

use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::{Identity, Instant, MicroCredits, NodeId, Rate, Sequence, UnixTime};

use crate::credit::boost::{BoostView, Boosts};
use crate::credit::network::Network;
use crate::credit::output::{CreditOutput, Errand, Notice};
use crate::credit::policy::{CreditError, CreditPolicy};
use crate::credit::receipts::earning::Earning;
use crate::credit::receipts::exchange::{Exchange, Setup, Terms};
use crate::credit::receipts::limits::{BOOK_GAP, Window};
use crate::credit::settlement::{Envelope, Unreachable};
use crate::credit::wallet::{Wallet, WalletBook, WalletView};
use crate::wire::extended::{RECEIPT_VERSION, ReceiptOffer};

/// What a market needs to know for its life.
#[derive(Debug)]
pub struct MarketSetup {
    /// This node.
    pub identity: Identity,
    /// Its network; without one there are acknowledgements only.
    pub network: Option<Network>,
    /// Speak the receipt protocol at all.
    pub receipts: bool,
    /// Another number at every start, so that no nonce or question is ever used twice.
    pub nonce_salt: u64,
}

/// The part of a node that deals in credit.
#[derive(Debug)]
pub struct Market {
    identity: Arc<Identity>,
    network: Option<Network>,
    /// Speak the receipt protocol at all.
    receipts: bool,
    policy: CreditPolicy,
    exchange: Exchange,
    wallet: Option<Wallet>,
    boosts: Boosts,
    /// The wall clock at an instant, as the driver told it last.
    told: (Instant, UnixTime),
    /// When receipts were booked on request last.
    booked_at: Option<Instant>,
    outputs: VecDeque<CreditOutput>,
}

impl Market {
    /// A market whose pairs, locks, orders and boosts are as `book` says.
    ///
    /// # Panics
    /// If a row does not read back; [`WalletBook::check`] says so first.
    pub fn new(setup: MarketSetup, book: &WalletBook, now: Instant) -> Self {
        let identity = Arc::new(setup.identity);
        let policy = CreditPolicy::default();
        let exchange = Setup {
            identity: Arc::clone(&identity),
            network: setup.network,
            terms: terms(&policy, setup.network.as_ref(), setup.receipts),
            window: Window::V1,
            nonce_salt: setup.nonce_salt,
        };
        let wallet = |network| {
            let identity = Arc::clone(&identity);
            Wallet::new(network, identity, book, setup.nonce_salt, now)
        };
        Self {
            exchange: Exchange::new(exchange, &book.rows, now, UnixTime::ZERO),
            wallet: setup.network.map(wallet),
            boosts: Boosts::restore(&book.rows).expect("the driver has checked the rows"),
            network: setup.network,
            receipts: setup.receipts,
            policy,
            told: (now, UnixTime::ZERO),
            booked_at: None,
            outputs: VecDeque::new(),
            identity,
        }
    }

    /// The next thing to do; never an errand. `None` when there is nothing until the next call.
    pub fn poll_output(&mut self) -> Option<CreditOutput> {
        let output = self.outputs.pop_front();
        assert!(
            !matches!(output, Some(CreditOutput::Errand(_))),
            "no errand leaves the market"
        );
        output
    }

    /// When [`Self::tick`] has something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        if !self.is_dated() {
            return None;
        }
        let wallet = self.wallet.as_ref().map(Wallet::next_timeout);
        [self.exchange.next_timeout(), wallet]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whatever time has made due.
    pub fn tick(&mut self, now: Instant) {
        if !self.is_dated() {
            return;
        }
        if self.exchange.next_timeout().is_some_and(|at| at <= now) {
            self.exchange.tick(now);
        }
        let unix = self.unix(now);
        if let Some(wallet) = &mut self.wallet
            && wallet.next_timeout() <= now
        {
            wallet.tick(now, unix);
        }
        self.route(now);
    }

    /// The wall clock at `now`; at start and at least once a minute.
    pub fn set_clock(&mut self, unix: UnixTime, now: Instant) {
        self.told = (now, unix);
        let settlement = match &mut self.wallet {
            Some(wallet) => {
                wallet.tick(now, unix);
                wallet.settlement_time(unix)
            }
            None => unix,
        };
        self.exchange.set_clock(now, settlement);
        self.apply_terms(now);
    }

    /// The owner decided otherwise.
    pub fn set_policy(&mut self, policy: CreditPolicy, now: Instant) {
        self.policy = policy;
        self.apply_terms(now);
    }

    /// The settlement node's answer to `request`.
    pub fn settled(&mut self, request: u64, answer: Result<Envelope, Unreachable>, now: Instant) {
        let unix = self.unix(now);
        if let Some(wallet) = &mut self.wallet {
            wallet.answer(request, answer, now, unix);
            let time = wallet.settlement_time(unix);
            self.exchange.set_clock(now, time);
        }
        self.route(now);
    }

    /// The settlement node is said to have entered this line of our account.
    pub fn line_entered(&mut self, line: Sequence, now: Instant) {
        self.tell_wallet(now, |wallet| wallet.line_entered(line, now));
        self.route(now);
    }

    /// This node's own ledger refused a settled line and ends at `newest`.
    pub fn line_refused(
        &mut self,
        line: Sequence,
        refusal: Refusal,
        newest: Option<Sequence>,
        now: Instant,
    ) {
        self.tell_wallet(now, |wallet| {
            wallet.line_refused(line, refusal, newest, now);
        });
        self.route(now);
    }

    /// Sends credit to another account; the nonce of the order.
    pub fn transfer(
        &mut self,
        request_id: &str,
        to: NodeId,
        amount: MicroCredits,
        now: Instant,
    ) -> Result<u64, CreditError> {
        let Some(wallet) = &mut self.wallet else {
            return Err(CreditError::NoSettlement);
        };
        let set_aside = self.boosts.set_aside();
        let nonce = wallet.transfer(request_id, (to, amount), set_aside, now)?;
        self.tell_wallet(now, |_| {});
        self.route(now);
        Ok(nonce)
    }

    /// Appends what the newest receipts on locks say and no entry does yet, so that whoever asks
    /// for the balance is told sums over entries (L8). At most once a second: an entry costs an
    /// fsync.
    pub fn book_receipts(&mut self, now: Instant) {
        if self.booked_at.is_some_and(|at| now < at.after(BOOK_GAP)) {
            return;
        }
        self.booked_at = Some(now);
        self.exchange.book_receipts(now);
        self.route(now);
    }

    /// The session ends: what is due is signed and claimed, and no new order is given.
    pub fn finish(&mut self, now: Instant) {
        self.exchange.finish(now);
        self.route(now);
        if let Some(wallet) = &mut self.wallet {
            wallet.shutdown();
        }
        self.route(now);
    }

    /// Whether nothing is under way at the settlement node, or it is out of reach.
    pub fn is_finished(&self) -> bool {
        self.wallet.as_ref().is_none_or(Wallet::is_quiet)
    }

    /// The lowest bid that is served as paid.
    pub fn ask(&self) -> Rate {
        self.policy.ask(self.network.as_ref())
    }

    /// This node's key.
    pub fn node_id(&self) -> NodeId {
        self.identity.id()
    }

    /// What the extended handshake says of receipts; `None` if they are not spoken.
    pub fn offer(&self) -> Option<ReceiptOffer> {
        self.receipts.then_some(ReceiptOffer {
            version: RECEIPT_VERSION,
        })
    }

    /// Every boost, oldest first.
    pub fn boosts(&self) -> Vec<BoostView> {
        self.boosts.views()
    }

    /// The account.
    pub fn wallet(&self) -> WalletView {
        let open = self.exchange.earning_locks();
        let open = open.filter(|lock| lock.state != Earning::Closed);
        let claimable = open.map(|lock| lock.worth().saturating_sub(lock.claimed));
        let claimable = claimable.fold(MicroCredits::ZERO, MicroCredits::saturating_add);
        self.wallet
            .as_ref()
            .map(|wallet| wallet.view(claimable, self.boosts.set_aside()))
            .unwrap_or_default()
    }

    /// The pairs, for tests.
    #[cfg(test)]
    pub(crate) fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    /// Asserts what must hold between any two calls.
    ///
    /// # Panics
    /// If a rule of ours is broken.
    pub fn check_invariants(&self) {
        self.exchange.check_invariants();
        self.boosts.check_invariants();
        if let Some(wallet) = &self.wallet {
            wallet.check_invariants();
        }
    }

    /// Whether the wall clock was told. Before, nothing can be dated, so nothing falls due: neither
    /// a claim nor the close of a lock of the run before.
    fn is_dated(&self) -> bool {
        self.told.1 != UnixTime::ZERO
    }

    fn unix(&self, now: Instant) -> UnixTime {
        let (at, unix) = self.told;
        unix.plus_secs(now.since(at).as_secs())
    }

    /// Settlement time, as far as known.
    fn settlement_time(&self, now: Instant) -> UnixTime {
        let unix = self.unix(now);
        self.wallet
            .as_ref()
            .map_or(unix, |wallet| wallet.settlement_time(unix))
    }

    fn apply_terms(&mut self, now: Instant) {
        let mut terms = terms(&self.policy, self.network.as_ref(), self.receipts);
        // With a clock that is off, or a key that was handed over, no lock is taken.
        terms.earn &= self.wallet.as_ref().is_none_or(Wallet::takes_locks);
        self.exchange.set_terms(terms);
        self.route(now);
    }

    /// Tells the wallet something, and lets it act on it.
    fn tell_wallet(&mut self, now: Instant, tell: impl FnOnce(&mut Wallet)) {
        let unix = self.unix(now);
        if let Some(wallet) = &mut self.wallet {
            tell(wallet);
            if unix != UnixTime::ZERO {
                wallet.tick(now, unix);
            }
        }
    }

    /// Hands on what the parts want of each other, until none wants anything; what is for others is
    /// queued. The exchange goes first: rows that follow from one output of the wallet come before
    /// its next.
    fn route(&mut self, now: Instant) {
        loop {
            let exchange = self.exchange.poll_output();
            let wallet = || self.wallet.as_mut().and_then(Wallet::poll_output);
            let Some(output) = exchange
                .or_else(wallet)
                .or_else(|| self.boosts.poll_output())
            else {
                return;
            };
            match output {
                CreditOutput::Errand(errand) => self.run(errand, now),
                CreditOutput::Send { .. }
                | CreditOutput::Tally(_)
                | CreditOutput::Append(_)
                | CreditOutput::Settle { .. }
                | CreditOutput::Event(_)
                | CreditOutput::Notice(_) => self.outputs.push_back(output),
            }
        }
    }

    /// What cannot be done for boosts is left undone: the next plan sees that.
    fn run(&mut self, errand: Errand, now: Instant) {
        match errand {
            Errand::AskLock(id) => self.tell_wallet(now, |wallet| wallet.ask_lock(id)),
            Errand::Claim(claim) => self.tell_wallet(now, |wallet| wallet.claim(claim)),
            Errand::CloseLock(id) => self.tell_wallet(now, |wallet| wallet.close_lock(id)),
            Errand::Spent {
                payee,
                torrent_id,
                bytes,
                amount,
            } => self.boosts.spent(payee, torrent_id, bytes, amount),
            Errand::LockTold(status) => {
                self.exchange.lock_status(&status, now);
                let changed = Notice::LockChanged(status.lock.body.lock_id);
                self.outputs.push_back(changed.into());
            }
            Errand::ClaimCertified { payer, claim } => {
                self.exchange.claim_certified(payer, &claim, now);
            }
            Errand::ClaimRegressed(lock_id) => self.exchange.claim_regressed(lock_id, now),
            Errand::OpenLock { payee, amount } => {
                if let Some(wallet) = &mut self.wallet {
                    let _ = wallet.open_lock(payee, amount, now);
                }
            }
            Errand::TopUp { lock_id, amount } => {
                if let Some(wallet) = &mut self.wallet {
                    let _ = wallet.top_up(lock_id, amount, now);
                }
            }
            Errand::EndLock { payee, lock_id } => self.exchange.end_lock(payee, lock_id, now),
            Errand::KeepLock { payee, lock_id } => {
                self.exchange.keep_lock(payee, lock_id);
            }
            Errand::Bid { peer, rate } => {
                self.exchange.place_bid(peer, rate, now);
                let paid = !rate.is_zero();
                self.outputs
                    .push_back(Notice::Bidding { peer, paid }.into());
            }
        }
    }
}

fn terms(policy: &CreditPolicy, network: Option<&Network>, receipts: bool) -> Terms {
    Terms {
        earn: policy.earn,
        spend: policy.spend,
        acknowledge: receipts,
        rate_min: policy.ask(network),
    }
}

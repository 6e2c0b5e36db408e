//! Views of the session as messages of the contract.

use prost_types::Timestamp;
use seedbank_engine::interface::config::{PaidRule, Policy};
use seedbank_engine::interface::view::{
    BoostQuote, BoostState, BoostView, FailureReason, FileView, PayeeView, PeerView, TorrentState,
    TrackerView, UnreachedView, WaitReason,
};
use seedbank_engine::text::escaped;
use seedbank_engine::transfer::choker::Reason;
use seedbank_ledger::charts::network::Supply;
use seedbank_ledger::refusal::Refusal;
use seedbank_ledger::{Bytes, Duration, Instant, NodeId, Rate, Sequence, UnixTime};
use seedbank_proto::v1;

pub(super) use crate::number::{bytes, count, credit, number, rate, small_count};
use crate::rpc::backend::{BalanceSheet, PlacedTorrent};

/// Most characters of a path as its torrent has it.
const ORIGINAL_PATH_MAX: usize = 512;

/// The wall-clock time at the driver's instant zero, to show instants as times.
#[derive(Clone, Copy, Debug)]
pub(super) struct WallTime(pub(super) UnixTime);

impl WallTime {
    fn time_of(self, instant: Instant) -> Timestamp {
        let since_start = instant.since(Instant::ZERO);
        time(self.0.plus_secs(Duration::as_secs(since_start)))
    }
}

pub(super) fn time(time: UnixTime) -> Timestamp {
    Timestamp {
        seconds: number(time.as_secs()),
        nanos: 0,
    }
}

pub(super) fn torrent(row: &PlacedTorrent, clock: WallTime) -> v1::Torrent {
    let view = &row.view;
    v1::Torrent {
        info_hash: view.torrent_id.to_string(),
        display_name: view.name.clone(),
        state: torrent_state(view.state).into(),
        error_message: view.error.clone().unwrap_or_default(),
        total_bytes: bytes(view.total),
        have_bytes: bytes(view.have),
        piece_count: small_count(view.piece_count),
        have_piece_count: small_count(view.piece_have_count),
        uploaded_bytes: bytes(view.uploaded),
        downloaded_bytes: bytes(view.downloaded),
        wasted_bytes: bytes(view.wasted),
        upload_bytes_per_second: bytes(view.upload_rate),
        download_bytes_per_second: bytes(view.download_rate),
        peer_count: small_count(view.peer_count),
        seed_count: small_count(view.seed_count),
        trackers: view
            .trackers
            .iter()
            .map(|one| tracker(one, clock))
            .collect(),
        download_dir: row.download_dir.display().to_string(),
        complete_time: view.completed_at.map(|at| clock.time_of(at)),
        ratio_thousandths: ratio(view.uploaded, view.downloaded, view.have),
        unreached: view.unreached.iter().map(unreached).collect(),
    }
}

fn unreached(view: &UnreachedView) -> v1::UnreachedPeers {
    v1::UnreachedPeers {
        reason: peer_failure(view.reason).into(),
        message: view.reason.to_string(),
        address_count: small_count(view.count),
        newest_addresses: view.newest.iter().map(ToString::to_string).collect(),
    }
}

fn peer_failure(reason: FailureReason) -> v1::PeerFailure {
    match reason {
        FailureReason::Refused => v1::PeerFailure::Refused,
        FailureReason::TimedOut => v1::PeerFailure::TimedOut,
        FailureReason::Unreachable => v1::PeerFailure::Unreachable,
        FailureReason::Closed => v1::PeerFailure::Closed,
        FailureReason::Silent => v1::PeerFailure::Silent,
        FailureReason::WrongProtocol => v1::PeerFailure::WrongProtocol,
        FailureReason::WrongTorrent => v1::PeerFailure::WrongTorrent,
        FailureReason::Own => v1::PeerFailure::Own,
        FailureReason::Duplicate => v1::PeerFailure::Duplicate,
        FailureReason::Local => v1::PeerFailure::Local,
    }
}

/// Sent for each byte received, in thousandths, rounded down; for each byte that is here if less
/// than a hundredth of them was received, as for a torrent that was made or brought here. `None` of
/// nothing.
pub(super) fn ratio(uploaded: Bytes, downloaded: Bytes, have: Bytes) -> Option<i64> {
    let received = downloaded.get();
    let base = if received < have.get() / 100 {
        have.get()
    } else {
        received
    };
    let thousandths = u128::from(uploaded.get()) * 1_000;
    let ratio = thousandths.checked_div(base.into())?;
    Some(i64::try_from(ratio).unwrap_or(i64::MAX))
}

pub(super) fn file(view: &FileView) -> v1::TorrentFile {
    v1::TorrentFile {
        path: view.path.join("/"),
        original_path: original_path(view),
        total_bytes: bytes(view.total),
        have_bytes: bytes(view.have),
    }
}

/// A path as its torrent has it, safe for a terminal; empty if the file is called so.
fn original_path(view: &FileView) -> String {
    let names = view.original.as_deref().unwrap_or_default();
    let names = names.iter().map(|name| escaped(name, ORIGINAL_PATH_MAX));
    let path = names.collect::<Vec<_>>().join("/");
    match path.char_indices().nth(ORIGINAL_PATH_MAX) {
        Some((end, _)) => format!("{}…", &path[..end]),
        None => path,
    }
}

fn tracker(view: &TrackerView, clock: WallTime) -> v1::Tracker {
    v1::Tracker {
        url: view.url.clone(),
        status_message: view.status.clone(),
        next_announce_time: view.next_announce.map(|at| clock.time_of(at)),
    }
}

pub(super) fn torrent_state(state: TorrentState) -> v1::TorrentState {
    match state {
        TorrentState::FetchingMetadata => v1::TorrentState::FetchingMetadata,
        TorrentState::Checking => v1::TorrentState::Checking,
        TorrentState::Downloading => v1::TorrentState::Downloading,
        TorrentState::Seeding => v1::TorrentState::Seeding,
        TorrentState::Stopped => v1::TorrentState::Stopped,
        TorrentState::Failed => v1::TorrentState::Failed,
    }
}

pub(super) fn peer(view: &PeerView) -> v1::Peer {
    v1::Peer {
        peer_id: view.peer.0.to_string(),
        info_hash: view.torrent_id.to_string(),
        address: view.addr.to_string(),
        incoming: view.incoming,
        client_name: view.client.clone(),
        public_key: view.node_id.map(|id| id.to_string()).unwrap_or_default(),
        have_piece_count: small_count(view.piece_have_count),
        interested: view.interested,
        interesting: view.interesting,
        unchoked_us: view.unchoked_us,
        unchoked: view.unchoked,
        unchoke_reason: view.reason.map(unchoke_reason).unwrap_or_default().into(),
        uploaded_bytes: bytes(view.uploaded),
        downloaded_bytes: bytes(view.downloaded),
        upload_bytes_per_second: bytes(view.upload_rate),
        download_bytes_per_second: bytes(view.download_rate),
        bid_microcredits_per_gib: rate(view.bid),
        own_bid_microcredits_per_gib: rate(view.own_bid),
        exposure_bytes: bytes(view.exposure),
        window_bytes: bytes(view.window),
        standing_bytes: view.standing,
        backing_off: view.backing_off,
    }
}

pub(super) fn unchoke_reason(reason: Reason) -> v1::UnchokeReason {
    match reason {
        Reason::Paid => v1::UnchokeReason::Paid,
        Reason::Friend => v1::UnchokeReason::Friend,
        Reason::Reciprocal => v1::UnchokeReason::Reciprocal,
        Reason::Standing => v1::UnchokeReason::Standing,
        Reason::Waited => v1::UnchokeReason::Waited,
        Reason::Optimistic => v1::UnchokeReason::Optimistic,
        Reason::FreeSlot => v1::UnchokeReason::FreeSlot,
        Reason::Dwell => v1::UnchokeReason::Dwell,
        Reason::JustChoked => v1::UnchokeReason::JustChoked,
        Reason::Outranked => v1::UnchokeReason::Outranked,
        Reason::SeatLost => v1::UnchokeReason::SeatLost,
        Reason::NotInterested => v1::UnchokeReason::NotInterested,
        Reason::Snubbed => v1::UnchokeReason::Snubbed,
        Reason::TorrentStopped => v1::UnchokeReason::TorrentStopped,
        Reason::Seed => v1::UnchokeReason::Seed,
    }
}

pub(super) fn boost(view: &BoostView) -> v1::Boost {
    v1::Boost {
        boost_id: view.id.to_string(),
        info_hash: view.torrent_id.to_string(),
        state: boost_state(view).into(),
        max_microcredits: credit(view.max),
        bid_microcredits_per_gib: rate(view.bid),
        spent_microcredits: credit(view.spent),
        locked_microcredits: credit(view.locked),
        free_microcredits: credit(view.free),
        create_time: Some(time(view.created_at)),
        expire_time: view.until.map(time),
        payees: view.payees.iter().map(payee).collect(),
        waiting_reason: view.waiting.map(waiting_reason).unwrap_or_default().into(),
        waiting_message: words_of(view.waiting),
        paid_bytes: bytes(view.report.paid),
        cost_microcredits_per_gib: view.report.cost_per_gib(view.spent).map(rate),
        before_bytes_per_second: view.report.rate_before.map(bytes),
        boosted_bytes_per_second: view.report.rate_boosted().map(bytes),
    }
}

fn payee(view: &PayeeView) -> v1::Payee {
    v1::Payee {
        public_key: view.node_id.to_string(),
        lock_id: view.lock_id.to_string(),
        amount_microcredits: credit(view.amount),
        signed_microcredits: credit(view.signed),
        return_time: Some(time(view.returns_at)),
    }
}

fn words_of(waiting: Option<WaitReason>) -> String {
    waiting
        .map(|waiting| waiting.to_string())
        .unwrap_or_default()
}

/// What a boost is doing; one that is active and buys nothing waits.
pub(super) fn boost_state(view: &BoostView) -> v1::BoostState {
    match view.state {
        BoostState::Active if view.waiting.is_some() => v1::BoostState::Waiting,
        BoostState::Active => v1::BoostState::Active,
        BoostState::Completed => v1::BoostState::Completed,
        BoostState::Exhausted => v1::BoostState::Exhausted,
        BoostState::Cancelled => v1::BoostState::Cancelled,
        BoostState::Expired => v1::BoostState::Expired,
    }
}

pub(super) fn waiting_reason(waiting: WaitReason) -> v1::BoostWaitingReason {
    use v1::BoostWaitingReason as Reason;
    match waiting {
        WaitReason::SpendingOff => Reason::SpendingOff,
        WaitReason::TorrentComplete => Reason::TorrentComplete,
        WaitReason::TorrentPrivate => Reason::TorrentPrivate,
        WaitReason::TorrentNotReady => Reason::TorrentNotReady,
        WaitReason::PieceTooLong { .. } => Reason::PieceTooLong,
        WaitReason::NoPeers => Reason::NoPeers,
        WaitReason::NobodyTakesPayment { .. } => Reason::NobodyTakesPayment,
        WaitReason::NobodyHasMissing { .. } => Reason::NobodyHasMissing,
        WaitReason::BelowAsk { .. } => Reason::BelowAsk,
        WaitReason::AnotherFirst { .. } => Reason::AnotherFirst,
        WaitReason::ClockOff { .. } => Reason::ClockOff,
        WaitReason::BelowSmallestLock { .. } => Reason::BelowSmallestLock,
        WaitReason::LocksTooSmall { .. } => Reason::LocksTooSmall,
        WaitReason::DayLimit { .. } => Reason::DayLimit,
        WaitReason::SettlementUnreachable => Reason::SettlementUnreachable,
        WaitReason::AccountClosed => Reason::AccountClosed,
        WaitReason::NoCredit { .. } => Reason::NoCredit,
        WaitReason::LockRefused => Reason::LockRefused,
        WaitReason::LockClosing => Reason::LockClosing,
        WaitReason::AllChoke { .. } => Reason::AllChoke,
        WaitReason::AllSilent { .. } => Reason::AllSilent,
        WaitReason::NotSeated { .. } => Reason::NotSeated,
    }
}

/// A duration as the contract has it.
fn span(span: Duration) -> prost_types::Duration {
    let nanos = span.as_nanos() % 1_000_000_000;
    prost_types::Duration {
        seconds: number(span.as_secs()),
        nanos: i32::try_from(nanos).unwrap_or_default(),
    }
}

pub(super) fn boost_quote(quote: &BoostQuote, bid: Rate) -> v1::QuoteBoostResponse {
    v1::QuoteBoostResponse {
        left_bytes: bytes(quote.left),
        bid_microcredits_per_gib: rate(bid),
        max_cost_microcredits: credit(quote.cost_max),
        payee_count: small_count(quote.payee_count),
        lowest_ask_microcredits_per_gib: rate(quote.ask_min),
        highest_ask_microcredits_per_gib: rate(quote.ask_max),
        smallest_lock_microcredits: credit(quote.lock_min),
        free_microcredits: credit(quote.available),
        waiting_reason: quote.waiting.map(waiting_reason).unwrap_or_default().into(),
        waiting_message: words_of(quote.waiting),
        unboosted_duration: quote.estimate.map(|estimate| span(estimate.unboosted)),
        boosted_duration: quote.estimate.map(|estimate| span(estimate.boosted)),
    }
}

pub(super) fn policy(policy: &Policy, par_price: Rate) -> v1::Policy {
    v1::Policy {
        earn: policy.credit.earn,
        spend: policy.credit.spend,
        min_rate_microcredits_per_gib: policy.credit.rate_min.map(rate),
        ask_microcredits_per_gib: rate(policy.credit.rate_min.unwrap_or(par_price)),
        open_share_percent: policy.open_share_percent.into(),
        paid_rule: paid_rule(policy.paid_rule).into(),
        slot_count: count(policy.slots),
        upload_limit_bytes_per_second: policy.upload_limit.map(number),
        download_limit_bytes_per_second: policy.download_limit.map(number),
        friends: policy
            .credit
            .friends
            .iter()
            .map(ToString::to_string)
            .collect(),
        max_spend_per_day_microcredits: policy.credit.spend_per_day_max.map(credit),
    }
}

fn paid_rule(rule: PaidRule) -> v1::PaidRule {
    match rule {
        PaidRule::TopK => v1::PaidRule::TopK,
        PaidRule::Proportional => v1::PaidRule::Proportional,
        PaidRule::UniformPrice => v1::PaidRule::UniformPrice,
    }
}

/// What a node has; `account` is its own.
pub(super) fn balance(sheet: &BalanceSheet, account: NodeId) -> v1::GetBalanceResponse {
    let holdings = &sheet.holdings;
    v1::GetBalanceResponse {
        free_microcredits: credit(holdings.available.free),
        set_aside_microcredits: credit(holdings.available.set_aside),
        pending_microcredits: credit(holdings.available.pending),
        locked_microcredits: credit(holdings.locked),
        signed_microcredits: credit(holdings.signed),
        claimable_microcredits: credit(holdings.claimable),
        sequence: number(sheet.head.unwrap_or(Sequence::ZERO).get()),
        as_of_time: sheet.as_of.map(|(_, at)| time(at)),
        settlement_reachable: sheet.settlement_reachable,
        account: account.to_string(),
        supply: sheet.supply.as_ref().map(supply),
    }
}

fn supply(supply: &Supply) -> v1::Supply {
    let wide = |sum: u128| i64::try_from(sum).unwrap_or(i64::MAX);
    v1::Supply {
        granted_microcredits: wide(supply.granted),
        burned_microcredits: wide(supply.burned),
        total_microcredits: credit(supply.total),
    }
}

/// Both sides number refusals alike; 0 is none.
pub(super) fn refusal(refusal: Option<Refusal>) -> v1::Refusal {
    refusal
        .and_then(|refusal| v1::Refusal::try_from(i32::from(refusal.code())).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use seedbank_engine::interface::view::{BoostEstimate, BoostReport};
    use seedbank_engine::units::TorrentId;
    use seedbank_ledger::MicroCredits;

    use super::*;

    const BELOW: WaitReason = WaitReason::BelowAsk {
        ask: Rate::new(3_000_000),
        bid: Rate::PAR,
    };

    fn view() -> BoostView {
        BoostView {
            id: 7,
            torrent_id: TorrentId([1; 20]),
            state: BoostState::Active,
            waiting: None,
            max: MicroCredits::new(10),
            bid: Rate::PAR,
            spent: MicroCredits::new(5),
            locked: MicroCredits::ZERO,
            free: MicroCredits::new(5),
            created_at: UnixTime::from_secs(1),
            until: None,
            payees: Vec::new(),
            report: BoostReport::default(),
        }
    }

    #[test]
    fn a_boost_that_buys_nothing_waits_and_says_why() {
        let working = boost(&view());
        assert_eq!(working.state(), v1::BoostState::Active);
        assert_eq!(
            working.waiting_reason(),
            v1::BoostWaitingReason::Unspecified
        );
        assert_eq!(working.waiting_message, "");
        let waiting = boost(&BoostView {
            waiting: Some(BELOW),
            ..view()
        });
        assert_eq!(waiting.state(), v1::BoostState::Waiting);
        assert_eq!(waiting.waiting_reason(), v1::BoostWaitingReason::BelowAsk);
        assert_eq!(
            waiting.waiting_message,
            "payees ask 3.000000 cr/GiB or more and the boost bids 1.000000 cr/GiB at most: \
             start one with a higher bid"
        );
    }

    #[test]
    fn what_a_boost_came_to_is_said_once_there_is_something_to_say() {
        let fresh = boost(&view());
        assert_eq!(fresh.cost_microcredits_per_gib, None);
        assert_eq!(fresh.before_bytes_per_second, None);
        assert_eq!(fresh.boosted_bytes_per_second, None);
        let came = boost(&BoostView {
            report: BoostReport {
                paid: Bytes::new(1 << 29),
                rate_before: Some(Bytes::new(100)),
                boosted: Bytes::new(2_500),
                boosted_ms: 10_000,
            },
            ..view()
        });
        assert_eq!(came.paid_bytes, 1 << 29);
        assert_eq!(came.cost_microcredits_per_gib, Some(10));
        assert_eq!(came.before_bytes_per_second, Some(100));
        assert_eq!(came.boosted_bytes_per_second, Some(250));
    }

    #[test]
    fn a_quote_has_an_estimate_only_if_something_was_measured() {
        let quote = BoostQuote {
            left: Bytes::new(1),
            cost_max: MicroCredits::new(1),
            payee_count: 2,
            ask_min: Rate::new(3),
            ask_max: Rate::new(4),
            lock_min: MicroCredits::new(5),
            available: MicroCredits::new(6),
            waiting: Some(BELOW),
            estimate: None,
        };
        let said = boost_quote(&quote, Rate::PAR);
        assert_eq!(said.lowest_ask_microcredits_per_gib, 3);
        assert_eq!(said.highest_ask_microcredits_per_gib, 4);
        assert_eq!(said.smallest_lock_microcredits, 5);
        assert_eq!(said.waiting_reason(), v1::BoostWaitingReason::BelowAsk);
        assert_eq!(said.boosted_duration, None);
        let estimate = Some(BoostEstimate {
            unboosted: Duration::from_secs(100),
            boosted: Duration::from_millis(40_500),
        });
        let said = boost_quote(&BoostQuote { estimate, ..quote }, Rate::PAR);
        let boosted = prost_types::Duration {
            seconds: 40,
            nanos: 500_000_000,
        };
        assert_eq!(said.boosted_duration, Some(boosted));
    }

    #[test]
    fn a_ratio_is_of_what_was_received_or_else_of_what_is_here() {
        let of = |up, down, have| ratio(Bytes::new(up), Bytes::new(down), Bytes::new(have));
        assert_eq!(of(300, 200, 200), Some(1_500));
        assert_eq!(of(1, 3, 3), Some(333));
        assert_eq!(of(300, 0, 1_000), Some(300), "made here");
        assert_eq!(of(300, 9, 1_000), Some(300), "all but a piece was here");
        assert_eq!(of(5, 0, 0), None);
        assert_eq!(of(u64::MAX, 1, 1), Some(i64::MAX));
    }
}
